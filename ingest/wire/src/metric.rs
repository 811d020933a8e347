//! A metric as its sender defines it: name, unit, kind, help.

use std::fmt;

/// How the values of a metric behave over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A value that stands for itself at each instant.
    Gauge,
    /// A sum that only grows until it starts again from zero: OTLP's cumulative monotonic sum.
    Counter,
    /// A sum that grows and shrinks: OTLP's cumulative sum that is not monotonic.
    UpDownCounter,
    /// Counts by bucket since the start: OTLP's cumulative explicit histogram.
    Histogram,
}

impl Kind {
    /// The kind's name in Prometheus' metadata.
    #[must_use]
    pub const fn prometheus(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge | Self::UpDownCounter => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::UpDownCounter => "updowncounter",
            Self::Histogram => "histogram",
        })
    }
}

/// A metric that this code base sends. The name is OpenTelemetry's (`system.cpu.time`), the unit UCUM's (`s`, `By`, `1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MetricDef {
    /// OpenTelemetry name, with dots.
    pub name: &'static str,
    /// UCUM unit; empty where there is none.
    pub unit: &'static str,
    /// How its values behave.
    pub kind: Kind,
    /// What it tells, in a sentence.
    pub help: &'static str,
}

impl MetricDef {
    /// The name under which Prometheus, and so the store, knows this metric.
    #[must_use]
    pub fn prometheus_name(&self) -> String {
        crate::prometheus_name(self.name, self.unit, self.kind)
    }
}
