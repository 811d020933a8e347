//! Writes OTLP metrics requests, a few allocations a request.

pub mod logs;

use crate::metric::{Kind, MetricDef};
use crate::otlp::FLAG_NO_RECORDED_VALUE;
use crate::protobuf::{
    bytes_field_len, put_bytes_field, put_fixed64_field, put_message_key, put_varint_field, varint_len,
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
    kind: Option<Kind>,
    count: usize,
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
        self.kind = Some(kind);
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
        if !matches!(self.kind, Some(Kind::Gauge | Kind::Counter | Kind::UpDownCounter)) {
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
        if self.kind != Some(Kind::Histogram) || counts.len() != bounds.len() + 1 {
            debug_assert!(
                false,
                "a histogram point needs an open histogram and one count more than bounds"
            );
            return self;
        }
        let start = if start_unix_nano == 0 { 0 } else { 9 };
        let packed = |n: usize| if n == 0 { 0 } else { bytes_field_len(8 * n) };
        let length = start + 27 + packed(counts.len()) + packed(bounds.len()) + attributes_len(attributes);
        let out = &mut self.points;
        put_message_key(out, 1, length);
        if start_unix_nano != 0 {
            put_fixed64_field(out, 2, start_unix_nano);
        }
        put_fixed64_field(out, 3, time_unix_nano);
        put_fixed64_field(out, 4, counts.iter().fold(0, |all: u64, n| all.saturating_add(*n)));
        put_fixed64_field(out, 5, sum.to_bits());
        put_message_key(out, 6, 8 * counts.len());
        counts.iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        if !bounds.is_empty() {
            put_message_key(out, 7, 8 * bounds.len());
            bounds
                .iter()
                .for_each(|b| out.extend_from_slice(&b.to_bits().to_le_bytes()));
        }
        put_attributes(out, 9, attributes);
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
        let Some(kind) = self.kind.take() else { return };
        if self.points.is_empty() {
            return;
        }
        let (number, tail): (u32, usize) = match kind {
            Kind::Gauge => (5, 0),
            Kind::Counter => (7, 4),
            Kind::UpDownCounter => (7, 2),
            Kind::Histogram => (9, 2),
        };
        let data = self.points.len() + tail;
        put_message_key(&mut self.metrics, 2, self.header.len() + bytes_field_len(data));
        self.metrics.extend_from_slice(&self.header);
        put_message_key(&mut self.metrics, number, data);
        self.metrics.append(&mut self.points);
        if kind != Kind::Gauge {
            put_varint_field(&mut self.metrics, 2, CUMULATIVE);
        }
        if kind == Kind::Counter {
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

/// Length of a `KeyValue` with a text value.
fn attribute_len((key, value): (&str, &str)) -> usize {
    bytes_field_len(key.len()) + bytes_field_len(bytes_field_len(value.len()))
}

fn attributes_len(attributes: &[(&str, &str)]) -> usize {
    attributes.iter().map(|a| bytes_field_len(attribute_len(*a))).sum()
}

fn put_attributes(out: &mut Vec<u8>, number: u32, attributes: &[(&str, &str)]) {
    for &(key, value) in attributes {
        put_message_key(out, number, attribute_len((key, value)));
        put_bytes_field(out, 1, key.as_bytes());
        put_message_key(out, 2, 1 + varint_len(value.len() as u64) + value.len());
        put_bytes_field(out, 1, value.as_bytes());
    }
}
