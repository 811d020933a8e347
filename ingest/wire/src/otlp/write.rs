//! Writes OTLP metrics requests, a few allocations a request.

pub mod logs;

use crate::metric::{Kind, MetricDef};
use crate::otlp::FLAG_NO_RECORDED_VALUE;
use crate::protobuf::{
    bytes_field_len, put_bytes_field, put_fixed64_field, put_message_key, put_varint, put_varint_field, varint_len,
};

/// Bits of Prometheus' staleness marker: a point of this value is sent as "no recorded value".
const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: u64 = 2;

/// Builds the bytes of an `ExportMetricsServiceRequest`.
///
/// Calls go resource by resource, metric by metric, point by point. A metric without points and a resource without metrics
/// leave no trace. The writer may be used again after [`RequestWriter::finish`]; it keeps its memory, its resource and its
/// scope.
///
/// ```
/// use foreshock_wire::metric::{Kind, MetricDef};
/// use foreshock_wire::otlp::write::RequestWriter;
///
/// const IO: MetricDef = MetricDef { name: "system.disk.io", unit: "By", kind: Kind::Counter, help: "Bytes moved" };
/// let mut writer = RequestWriter::new(&[("host.name", "db-1")], "foreshock.agent");
/// writer.metric(&IO).point(&[("disk.io.direction", "read")], 1, 2, 4096.0).point(&[("disk.io.direction", "write")], 1, 2, 0.0);
/// assert_eq!(writer.points(), 2);
/// let body: Vec<u8> = writer.finish();
/// assert!(writer.is_empty());
/// # assert!(!body.is_empty());
/// ```
#[derive(Debug, Default)]
pub struct RequestWriter {
    // Each level gathers the encoded children of the message that is open, because a message's length precedes it.
    done: Vec<u8>,
    metrics: Vec<u8>,
    points: Vec<u8>,
    resource: Vec<u8>,
    scope: Vec<u8>,
    // Name, description and unit of the open metric, encoded.
    header: Vec<u8>,
    open: Option<Data>,
    count: usize,
}

/// What the points of the open metric are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Data {
    Gauge,
    Sum { monotonic: bool },
    Histogram,
    Summary,
}

/// What was counted since the start: by buckets, or in a summary by quantiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distribution {
    /// Nanoseconds since 1970; `start` is when everything last stood at zero, 0 where unknown.
    pub start_unix_nano: u64,
    /// When it was read.
    pub time_unix_nano: u64,
    /// Of all values, where that is told.
    pub sum: Option<f64>,
    /// Whether the series has gone: buckets and quantiles then say which one it was, and numbers nothing.
    pub gone: bool,
}

impl RequestWriter {
    /// A writer whose first resource has these attributes. `scope` names what measures, such as `foreshock.agent`.
    #[must_use]
    pub fn new(resource: &[(&str, &str)], scope: &str) -> Self {
        let mut writer = Self::default();
        put_attributes(&mut writer.resource, 1, resource);
        if !scope.is_empty() {
            put_bytes_field(&mut writer.scope, 1, scope.as_bytes());
        }
        writer
    }

    /// Ends the resource before and starts one with these attributes; the scope stays.
    pub fn next_resource(&mut self, resource: &[(&str, &str)]) -> &mut Self {
        self.end_resource();
        self.resource.clear();
        put_attributes(&mut self.resource, 1, resource);
        self
    }

    /// Ends the metric before and starts this one.
    pub fn metric(&mut self, metric: &MetricDef) -> &mut Self {
        self.metric_named(metric.name, metric.unit, metric.kind, metric.help)
    }

    /// As [`RequestWriter::metric`], for metrics whose name is not known to the compiler.
    pub fn metric_named(&mut self, name: &str, unit: &str, kind: Kind, help: &str) -> &mut Self {
        self.end_metric();
        self.header.clear();
        for (number, text) in [(1, name), (2, help), (3, unit)] {
            if !text.is_empty() {
                put_bytes_field(&mut self.header, number, text.as_bytes());
            }
        }
        self.open = Some(match kind {
            Kind::Gauge => Data::Gauge,
            Kind::Counter => Data::Sum { monotonic: true },
            Kind::UpDownCounter => Data::Sum { monotonic: false },
            Kind::Histogram => Data::Histogram,
        });
        self
    }

    /// As [`RequestWriter::metric_named`], for a summary, which has no [`Kind`]: we make none, and pass on those of others.
    pub fn summary_named(&mut self, name: &str, unit: &str, help: &str) -> &mut Self {
        self.metric_named(name, unit, Kind::Histogram, help);
        self.open = Some(Data::Summary);
        self
    }

    /// Adds a point to the open metric; Prometheus' staleness marker becomes OTLP's "no recorded value".
    ///
    /// Times are nanoseconds since 1970. `start_unix_nano` is when a counter last stood at zero; 0 where unknown.
    /// Without an open metric, and for a histogram, nothing is written.
    pub fn point(
        &mut self,
        attributes: &[(&str, &str)],
        start_unix_nano: u64,
        time_unix_nano: u64,
        value: f64,
    ) -> &mut Self {
        if !matches!(self.open, Some(Data::Gauge | Data::Sum { .. })) {
            debug_assert!(false, "a number point needs an open metric of a number kind");
            return self;
        }
        let stale = value.to_bits() == STALE_NAN_BITS;
        let start = if start_unix_nano == 0 { 0 } else { 9 };
        // Time and value take nine bytes each; the flag two instead of the value.
        let length = start + 9 + if stale { 2 } else { 9 } + attributes_len(attributes);
        put_message_key(&mut self.points, 1, length);
        if start_unix_nano != 0 {
            put_fixed64_field(&mut self.points, 2, start_unix_nano);
        }
        put_fixed64_field(&mut self.points, 3, time_unix_nano);
        if !stale {
            put_fixed64_field(&mut self.points, 4, value.to_bits());
        }
        put_attributes(&mut self.points, 7, attributes);
        if stale {
            put_varint_field(&mut self.points, 8, u64::from(FLAG_NO_RECORDED_VALUE));
        }
        self.count += 1;
        self
    }

    /// Adds a point to the open histogram.
    ///
    /// `counts` has one number more than `bounds`: bucket `i` holds what lies in `(bounds[i-1], bounds[i]]`, the last one
    /// what lies above. The count is their sum. Without an open histogram nothing is written.
    pub fn histogram_point(
        &mut self,
        attributes: &[(&str, &str)],
        start_unix_nano: u64,
        time_unix_nano: u64,
        sum: f64,
        bounds: &[f64],
        counts: &[u64],
    ) -> &mut Self {
        let point = Distribution {
            start_unix_nano,
            time_unix_nano,
            sum: Some(sum),
            gone: false,
        };
        self.histogram_of(attributes, &point, bounds, counts)
    }

    /// As [`RequestWriter::histogram_point`], for one whose sum may be unknown, or that has gone.
    pub fn histogram_of(
        &mut self,
        attributes: &[(&str, &str)],
        point: &Distribution,
        bounds: &[f64],
        counts: &[u64],
    ) -> &mut Self {
        if self.open != Some(Data::Histogram) || counts.len() != bounds.len() + 1 {
            debug_assert!(
                false,
                "a histogram point needs an open histogram and one count more than bounds"
            );
            return self;
        }
        let packed = |n: usize| if n == 0 { 0 } else { bytes_field_len(8 * n) };
        let count = counts.iter().fold(0, |all: u64, n| all.saturating_add(*n));
        let length = point.len(count) + packed(counts.len()) + packed(bounds.len()) + attributes_len(attributes);
        let out = &mut self.points;
        put_message_key(out, 1, length);
        point.put(count, out);
        put_message_key(out, 6, 8 * counts.len());
        counts.iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        if !bounds.is_empty() {
            put_message_key(out, 7, 8 * bounds.len());
            bounds
                .iter()
                .for_each(|b| out.extend_from_slice(&b.to_bits().to_le_bytes()));
        }
        put_attributes(out, 9, attributes);
        point.put_gone(10, out);
        self.count += 1;
        self
    }

    /// Adds a point to the open summary: the number of values and, by share of them, the value that so many do not exceed.
    /// Without an open summary nothing is written.
    pub fn summary_point(
        &mut self,
        attributes: &[(&str, &str)],
        point: &Distribution,
        count: u64,
        quantiles: &[(f64, f64)],
    ) -> &mut Self {
        // A quantile and its value, each a key and eight bytes.
        const QUANTILE: usize = 18;
        if self.open != Some(Data::Summary) {
            debug_assert!(false, "a summary point needs an open summary");
            return self;
        }
        let length = point.len(count) + quantiles.len() * bytes_field_len(QUANTILE) + attributes_len(attributes);
        let out = &mut self.points;
        put_message_key(out, 1, length);
        point.put(count, out);
        for (quantile, value) in quantiles {
            put_message_key(out, 6, QUANTILE);
            put_fixed64_field(out, 1, quantile.to_bits());
            put_fixed64_field(out, 2, value.to_bits());
        }
        put_attributes(out, 7, attributes);
        point.put_gone(8, out);
        self.count += 1;
        self
    }

    /// How many points were written since the last [`RequestWriter::finish`].
    #[must_use]
    pub fn points(&self) -> usize {
        self.count
    }

    /// Whether no point was written since the last [`RequestWriter::finish`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// About how many bytes [`RequestWriter::finish`] would return now; at most some tens of bytes too few a resource.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.done.len() + self.metrics.len() + self.points.len()
    }

    /// The request with all points so far. An empty request has no bytes, which is a valid message.
    pub fn finish(&mut self) -> Vec<u8> {
        self.end_resource();
        self.count = 0;
        let capacity = self.done.len();
        std::mem::replace(&mut self.done, Vec::with_capacity(capacity))
    }

    fn end_metric(&mut self) {
        let Some(open) = self.open.take() else { return };
        if self.points.is_empty() {
            return;
        }
        let (number, tail): (u32, usize) = match open {
            Data::Gauge => (5, 0),
            Data::Sum { monotonic: true } => (7, 4),
            Data::Sum { monotonic: false } => (7, 2),
            Data::Histogram => (9, 2),
            Data::Summary => (11, 0),
        };
        let data = self.points.len() + tail;
        put_message_key(&mut self.metrics, 2, self.header.len() + bytes_field_len(data));
        self.metrics.extend_from_slice(&self.header);
        put_message_key(&mut self.metrics, number, data);
        self.metrics.append(&mut self.points);
        if tail > 0 {
            put_varint_field(&mut self.metrics, 2, CUMULATIVE);
        }
        if open == (Data::Sum { monotonic: true }) {
            put_varint_field(&mut self.metrics, 3, 1);
        }
    }

    fn end_resource(&mut self) {
        self.end_metric();
        if self.metrics.is_empty() {
            return;
        }
        let scope = if self.scope.is_empty() {
            0
        } else {
            bytes_field_len(self.scope.len())
        };
        let scope_metrics = scope + self.metrics.len();
        let resource = if self.resource.is_empty() {
            0
        } else {
            bytes_field_len(self.resource.len())
        };
        put_message_key(&mut self.done, 1, resource + bytes_field_len(scope_metrics));
        if resource > 0 {
            put_bytes_field(&mut self.done, 1, &self.resource);
        }
        put_message_key(&mut self.done, 2, scope_metrics);
        if scope > 0 {
            put_bytes_field(&mut self.done, 1, &self.scope);
        }
        self.done.append(&mut self.metrics);
    }
}

impl Distribution {
    /// Bytes that [`Distribution::put`] and [`Distribution::put_gone`] write.
    fn len(&self, count: u64) -> usize {
        let start = if self.start_unix_nano == 0 { 0 } else { 9 };
        let count = if count == 0 { 0 } else { 9 };
        let sum = if self.sum.is_some() { 9 } else { 0 };
        start + 9 + count + sum + if self.gone { 2 } else { 0 }
    }

    /// Times, count and sum: in a histogram's point and a summary's the same fields.
    fn put(&self, count: u64, out: &mut Vec<u8>) {
        if self.start_unix_nano != 0 {
            put_fixed64_field(out, 2, self.start_unix_nano);
        }
        put_fixed64_field(out, 3, self.time_unix_nano);
        if count != 0 {
            put_fixed64_field(out, 4, count);
        }
        if let Some(sum) = self.sum {
            put_fixed64_field(out, 5, sum.to_bits());
        }
    }

    fn put_gone(&self, number: u32, out: &mut Vec<u8>) {
        if self.gone {
            put_varint_field(out, number, u64::from(FLAG_NO_RECORDED_VALUE));
        }
    }
}

/// Attributes that the semantic conventions have as whole numbers; others are text.
const WHOLE: [&str; 1] = ["cpu.logical_number"];

/// The number, where the conventions want one and its digits are all that there is to the text.
fn whole(key: &str, value: &str) -> Option<u64> {
    if !WHOLE.contains(&key) {
        return None;
    }
    let plain = value.bytes().all(|byte| byte.is_ascii_digit()) && (value == "0" || !value.starts_with('0'));
    value.parse().ok().filter(|number| plain && *number <= i64::MAX as u64)
}

/// Length of an `AnyValue`.
fn value_len((key, value): (&str, &str)) -> usize {
    whole(key, value).map_or_else(|| bytes_field_len(value.len()), |number| 1 + varint_len(number))
}

/// Length of a `KeyValue`.
fn attribute_len((key, value): (&str, &str)) -> usize {
    bytes_field_len(key.len()) + bytes_field_len(value_len((key, value)))
}

fn attributes_len(attributes: &[(&str, &str)]) -> usize {
    attributes.iter().map(|a| bytes_field_len(attribute_len(*a))).sum()
}

fn put_attributes(out: &mut Vec<u8>, number: u32, attributes: &[(&str, &str)]) {
    for &(key, value) in attributes {
        put_message_key(out, number, attribute_len((key, value)));
        put_bytes_field(out, 1, key.as_bytes());
        put_message_key(out, 2, value_len((key, value)));
        match whole(key, value) {
            // One of several kinds: also zero is written.
            Some(number) => {
                put_varint(out, 3 << 3);
                put_varint(out, number);
            }
            None => put_bytes_field(out, 1, value.as_bytes()),
        }
    }
}
