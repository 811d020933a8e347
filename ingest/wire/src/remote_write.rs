//! Prometheus remote write 1.0: `prometheus.WriteRequest`, after and before its snappy block compression.

pub mod read;
pub mod write;

/// The `type` of a metric's metadata, by `prometheus.MetricMetadata.MetricType`.
pub(crate) const TYPES: [&str; 8] = [
    "unknown",
    "counter",
    "gauge",
    "histogram",
    "gaugehistogram",
    "summary",
    "info",
    "stateset",
];

#[cfg(test)]
mod tests;
