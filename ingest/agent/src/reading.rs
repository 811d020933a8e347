//! From a probe to what is sent: one metric, one point at a time, without a list in between.

use std::fmt::Write as _;

use wire::DecodeError;
use wire::metric::MetricDef;
use wire::otlp::read::{self, Attributes, Data, ResourceMetrics};
use wire::otlp::write::RequestWriter;
use wire::otlp::write::logs::{LogsWriter, Record};

use crate::catalogue::Metric;
use crate::host::Host;
use crate::spool::BATCH_BYTES_MAX;

/// Takes readings: the writer of OTLP requests, or text for people and tests.
pub trait Sink {
    /// Ends the metric before and starts this one.
    fn metric(&mut self, metric: &'static MetricDef);

    /// A point of the open metric. Times are nanoseconds since 1970 UTC; a start of 0 means unknown.
    fn point(&mut self, attributes: &[(&str, &str)], start_unix_nanos: u64, time_unix_nanos: u64, value: f64);

    /// A point of the open histogram: how much fell into each bucket since its start, one bucket more than bounds.
    fn histogram(&mut self, attributes: &[(&str, &str)], time_unix_nanos: u64, since: &Histogram<'_>);

    /// Events, as one batch under an id: what is given again under the same id is the same batch.
    fn events(&mut self, id: &str, records: &[Record<'_>]);

    /// A batch of readings of a resource of its own, compressed as it is to be sent.
    fn batch(&mut self, batch: Vec<u8>);
}

/// What a histogram has gathered since its start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Histogram<'a> {
    /// When it began, nanoseconds since 1970 UTC.
    pub start_unix_nanos: u64,
    /// Of all values.
    pub sum: f64,
    /// Upper ends of the buckets but for the last one, which has none.
    pub bounds: &'a [f64],
    /// How many values fell into each.
    pub counts: &'a [u64],
}

/// Scope of all that the agent sends.
pub(crate) const SCOPE: &str = "foreshock.agent";

/// The OTLP requests of a round.
#[derive(Debug)]
pub(crate) struct Requests {
    readings: RequestWriter,
    events: LogsWriter,
    /// Requests of events with their ids.
    told: Vec<(String, Vec<u8>)>,
    /// Batches of other resources.
    batches: Vec<Vec<u8>>,
}

impl Requests {
    pub(crate) fn new(host: &Host) -> Self {
        let resource = host.attributes();
        Self {
            readings: RequestWriter::new(&resource, SCOPE),
            events: LogsWriter::new(&resource, SCOPE),
            told: Vec::new(),
            batches: Vec::new(),
        }
    }

    /// The metrics request with all points since this was last asked.
    pub(crate) fn readings(&mut self) -> Vec<u8> {
        self.readings.finish()
    }

    /// The logs requests since this was last asked, with their ids.
    pub(crate) fn events(&mut self) -> Vec<(String, Vec<u8>)> {
        std::mem::take(&mut self.told)
    }

    /// The batches of other resources since this was last asked.
    pub(crate) fn batches(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.batches)
    }
}

impl Sink for Requests {
    fn metric(&mut self, metric: &'static MetricDef) {
        self.readings.metric(metric);
    }

    fn point(&mut self, attributes: &[(&str, &str)], start_unix_nanos: u64, time_unix_nanos: u64, value: f64) {
        self.readings
            .point(attributes, start_unix_nanos, time_unix_nanos, value);
    }

    fn histogram(&mut self, attributes: &[(&str, &str)], time_unix_nanos: u64, since: &Histogram<'_>) {
        let Histogram {
            start_unix_nanos,
            sum,
            bounds,
            counts,
        } = *since;
        self.readings
            .histogram_point(attributes, start_unix_nanos, time_unix_nanos, sum, bounds, counts);
    }

    fn events(&mut self, id: &str, records: &[Record<'_>]) {
        for record in records {
            self.events.record(record);
        }
        self.told.push((id.to_owned(), self.events.finish()));
    }

    fn batch(&mut self, batch: Vec<u8>) {
        self.batches.push(batch);
    }
}

/// Readings as lines of text, `system.cpu.time{cpu.mode=user} 12.5 s`; events as `event gpu_xid{...} what the kernel said`.
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

    fn attributes(&mut self, attributes: &[(&str, &str)]) {
        for (i, (key, value)) in attributes.iter().enumerate() {
            self.text.push(if i == 0 { '{' } else { ',' });
            self.text.push_str(key);
            self.text.push('=');
            self.text.push_str(value);
        }
        if !attributes.is_empty() {
            self.text.push('}');
        }
    }
}

impl Sink for TextSink {
    fn metric(&mut self, metric: &'static MetricDef) {
        self.metric = Some(metric);
    }

    fn point(&mut self, attributes: &[(&str, &str)], _start_unix_nanos: u64, _time_unix_nanos: u64, value: f64) {
        let Some(metric) = self.metric else { return };
        self.text.push_str(metric.name);
        self.attributes(attributes);
        // Writing to a string cannot fail.
        writeln!(self.text, " {value} {}", metric.unit).unwrap_or_default();
    }

    fn histogram(&mut self, attributes: &[(&str, &str)], _time_unix_nanos: u64, since: &Histogram<'_>) {
        let Some(metric) = self.metric else { return };
        self.text.push_str(metric.name);
        self.attributes(attributes);
        let count: u64 = since.counts.iter().sum();
        // Writing to a string cannot fail.
        writeln!(self.text, " {count} of {} {}", since.sum, metric.unit).unwrap_or_default();
    }

    fn events(&mut self, _id: &str, records: &[Record<'_>]) {
        for record in records {
            self.text.push_str("event ");
            self.text.push_str(record.event_name);
            self.attributes(record.attributes);
            writeln!(self.text, " {}", record.body).unwrap_or_default();
        }
    }

    fn batch(&mut self, batch: Vec<u8>) {
        let body = zstd::bulk::decompress(&batch, BATCH_BYTES_MAX).unwrap_or_default();
        for resource in read::request(&body) {
            // What was written a moment ago can be read.
            if let Err(error) = resource.and_then(|resource| self.resource(&resource)) {
                writeln!(self.text, "# {error}").unwrap_or_default();
            }
        }
    }
}

impl TextSink {
    /// A resource of somebody else: who it is, as a comment, then its points.
    fn resource(&mut self, resource: &ResourceMetrics<'_>) -> Result<(), DecodeError> {
        self.text.push('#');
        self.put(&resource.resource)?;
        self.text.push('\n');
        for scope in resource.scopes() {
            for metric in scope?.metrics() {
                let metric = metric?;
                match &metric.data {
                    Some(Data::Gauge(points) | Data::Sum { points, .. }) => {
                        for point in points.numbers() {
                            let point = point?;
                            let value = point.value.filter(|_| !point.gone);
                            self.told(metric.name, &point.attributes, value.map(|value| value.to_string()))?;
                        }
                    }
                    Some(Data::Histogram { points, .. }) => {
                        for point in points.histograms() {
                            let point = point?;
                            let value = format!("{} of {}", point.count, point.sum.unwrap_or(f64::NAN));
                            self.told(metric.name, &point.attributes, (!point.gone).then_some(value))?;
                        }
                    }
                    Some(Data::Summary(points)) => {
                        for point in points.summaries() {
                            let point = point?;
                            let value = format!("{} of {}", point.count, point.sum);
                            self.told(metric.name, &point.attributes, (!point.gone).then_some(value))?;
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn told(&mut self, name: &str, attributes: &Attributes<'_>, value: Option<String>) -> Result<(), DecodeError> {
        self.text.push_str(name);
        self.put(attributes)?;
        // Writing to a string cannot fail.
        writeln!(self.text, " {}", value.as_deref().unwrap_or("gone")).unwrap_or_default();
        Ok(())
    }

    fn put(&mut self, attributes: &Attributes<'_>) -> Result<(), DecodeError> {
        let mut pairs = Vec::new();
        for attribute in attributes {
            let (key, value) = attribute?;
            let mut text = String::new();
            pairs.push((key, value.text(&mut text)?.to_owned()));
        }
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (*key, value.as_str())).collect();
        self.attributes(&pairs);
        Ok(())
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

    /// A point of the histogram started last, with a time of its own.
    pub fn histogram_at(&mut self, time_unix_nanos: u64, attributes: &[(&str, &str)], since: &Histogram<'_>) {
        self.points += 1;
        self.sink.histogram(attributes, time_unix_nanos, since);
    }

    /// Events, as one batch under an id by which the server knows it when it comes twice.
    pub fn events(&mut self, id: &str, records: &[Record<'_>]) {
        self.sink.events(id, records);
    }

    /// A batch of `points` points of a resource of its own, compressed as it is to be sent.
    pub fn batch(&mut self, batch: Vec<u8>, points: usize) {
        self.points += points;
        self.sink.batch(batch);
    }

    /// Points written so far.
    #[must_use]
    pub fn points(&self) -> usize {
        self.points
    }
}
