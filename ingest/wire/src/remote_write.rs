//! Prometheus remote write: `prometheus.WriteRequest` (1.0) and `io.prometheus.write.v2.Request` (2.0), after and before their
//! compression.

pub mod histogram;
pub mod read;
pub mod v2;
pub mod write;

/// The `type` of a metric's metadata, by `prometheus.MetricMetadata.MetricType`; the numbers of 2.0 are the same.
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
