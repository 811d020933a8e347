//! From a probe to what is sent: one metric, one point at a time, without a list in between.

use std::fmt::Write as _;

use wire::metric::MetricDef;
use wire::otlp::write::RequestWriter;

use crate::catalogue::Metric;

/// Takes readings: the writer of OTLP requests, or text for people and tests.
pub trait Sink {
    /// Ends the metric before and starts this one.
    fn metric(&mut self, metric: &'static MetricDef);

    /// A point of the open metric. Times are nanoseconds since 1970 UTC; a start of 0 means unknown.
    fn point(&mut self, attributes: &[(&str, &str)], start_unix_nanos: u64, time_unix_nanos: u64, value: f64);
}

impl Sink for RequestWriter {
    fn metric(&mut self, metric: &'static MetricDef) {
        Self::metric(self, metric);
    }

    fn point(&mut self, attributes: &[(&str, &str)], start_unix_nanos: u64, time_unix_nanos: u64, value: f64) {
        Self::point(self, attributes, start_unix_nanos, time_unix_nanos, value);
    }
}

/// Readings as lines of text, `system.cpu.time{cpu.mode=user} 12.5 s`.
#[derive(Debug, Default)]
pub struct TextSink {
    metric: Option<&'static MetricDef>,
    text: String,
}

impl TextSink {
    /// The lines so far.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Sink for TextSink {
    fn metric(&mut self, metric: &'static MetricDef) {
        self.metric = Some(metric);
    }

    fn point(&mut self, attributes: &[(&str, &str)], _start_unix_nanos: u64, _time_unix_nanos: u64, value: f64) {
        let Some(metric) = self.metric else { return };
        self.text.push_str(metric.name);
        for (i, (key, value)) in attributes.iter().enumerate() {
            self.text.push(if i == 0 { '{' } else { ',' });
            self.text.push_str(key);
            self.text.push('=');
            self.text.push_str(value);
        }
        if !attributes.is_empty() {
            self.text.push('}');
        }
        // Writing to a string cannot fail.
        writeln!(self.text, " {value} {}", metric.unit).unwrap_or_default();
    }
}

/// What a probe writes its readings to, with the time they carry.
pub struct Readings<'a> {
    sink: &'a mut dyn Sink,
    /// When the round began, nanoseconds since 1970 UTC.
    pub now: u64,
    /// When this host booted: the start of the kernel's counters.
    pub booted: u64,
    points: usize,
}

impl std::fmt::Debug for Readings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readings")
            .field("now", &self.now)
            .field("points", &self.points)
            .finish_non_exhaustive()
    }
}

impl<'a> Readings<'a> {
    /// Readings of one round.
    pub fn new(sink: &'a mut dyn Sink, now: u64, booted: u64) -> Self {
        Self {
            sink,
            now,
            booted,
            points: 0,
        }
    }

    /// Starts a metric.
    pub fn metric(&mut self, metric: &'static Metric) {
        self.sink.metric(&metric.def);
    }

    /// A metric of one point.
    pub fn single(&mut self, metric: &'static Metric, value: f64) {
        self.metric(metric);
        self.point(&[], value);
    }

    /// A point of the metric started last, at the round's time.
    pub fn point(&mut self, attributes: &[(&str, &str)], value: f64) {
        self.point_at(self.now, attributes, value);
    }

    /// A point with a time of its own, for probes that read in a thread of their own.
    pub fn point_at(&mut self, time_unix_nanos: u64, attributes: &[(&str, &str)], value: f64) {
        self.points += 1;
        self.sink.point(attributes, self.booted, time_unix_nanos, value);
    }

    /// Points written so far.
    #[must_use]
    pub fn points(&self) -> usize {
        self.points
    }
}
