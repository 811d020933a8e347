//! OTLP metrics and logs, protobuf encoding: `opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest` and its
//! like for logs.

pub mod read;
pub mod response;
pub mod write;

/// `AggregationTemporality` of sums and histograms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temporality {
    /// Not given, or a number that the specification does not know.
    Unspecified,
    /// Each point counts since the one before it.
    Delta,
    /// Each point counts since the start.
    Cumulative,
}

/// `DataPointFlags.FLAG_NO_RECORDED_VALUE`: the series has gone, Prometheus' staleness marker.
pub const FLAG_NO_RECORDED_VALUE: u32 = 1;

#[cfg(test)]
mod tests;
