//! Writes remote-write requests, before their snappy block compression.

use crate::protobuf::{
    bytes_field_len, put_bytes_field, put_fixed64_field, put_message_key, put_varint, put_varint_field, varint_len,
};
use crate::remote_write::TYPES;

/// An integer native histogram to write; see [`super::histogram::Histogram`] for what its numbers mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NativeHistogram {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// Observations in all.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// -4 to 8, or -53.
    pub schema: i32,
    /// How far the bucket around zero reaches.
    pub zero_threshold: f64,
    /// Observations in it.
    pub zero_count: u64,
    /// Offset and length of runs of buckets, and the differences of their counts.
    pub positive: (Vec<(i32, u32)>, Vec<i64>),
    /// The same of negative observations.
    pub negative: (Vec<(i32, u32)>, Vec<i64>),
    /// Bounds of its own, for schema -53.
    pub bounds: Vec<f64>,
    /// 0 unknown, 1 counter reset, 2 no reset, 3 gauge.
    pub reset_hint: u8,
}

impl NativeHistogram {
    fn write(&self, out: &mut Vec<u8>) {
        let zigzag = |n: i64| ((n << 1) ^ (n >> 63)) as u64;
        put_varint_field(out, 1, self.count);
        put_fixed64_field(out, 3, self.sum.to_bits());
        put_varint_field(out, 4, zigzag(self.schema.into()));
        put_fixed64_field(out, 5, self.zero_threshold.to_bits());
        put_varint_field(out, 6, self.zero_count);
        let mut packed = Vec::new();
        for (number, (spans, deltas)) in [(8, &self.negative), (11, &self.positive)] {
            for &(offset, length) in spans {
                packed.clear();
                put_varint_field(&mut packed, 1, zigzag(offset.into()));
                put_varint_field(&mut packed, 2, length.into());
                put_bytes_field(out, number, &packed);
            }
            packed.clear();
            deltas.iter().for_each(|delta| put_varint(&mut packed, zigzag(*delta)));
            put_bytes_field(out, number + 1, &packed);
        }
        put_varint_field(out, 14, self.reset_hint.into());
        put_varint_field(out, 15, self.at_ms as u64);
        if !self.bounds.is_empty() {
            // Field 16 is the first whose key takes two bytes.
            let bytes: Vec<u8> = self.bounds.iter().flat_map(|bound| bound.to_le_bytes()).collect();
            put_varint(out, 16 << 3 | 2);
            put_varint(out, bytes.len() as u64);
            out.extend_from_slice(&bytes);
        }
    }
}

/// Builds the bytes of a `WriteRequest`.
///
/// ```
/// use foreshock_wire::remote_write::{read, write::RequestWriter};
/// let mut writer = RequestWriter::default();
/// writer.series(&[("__name__", "up"), ("job", "node")], &[(1_000, 1.0)]);
/// let body = writer.finish();
/// assert_eq!(read::request(&body).count(), 1);
/// ```
#[derive(Debug, Default)]
pub struct RequestWriter {
    out: Vec<u8>,
    scratch: Vec<u8>,
}

impl RequestWriter {
    /// Adds a series. The protocol wants labels sorted by name; they are written as they are given.
    pub fn series(&mut self, labels: &[(&str, &str)], samples: &[(i64, f64)]) -> &mut Self {
        let message = &mut self.scratch;
        message.clear();
        put_labels(message, labels);
        for &(at_ms, value) in samples {
            let at = at_ms as u64;
            put_message_key(message, 2, 9 + if at == 0 { 0 } else { 1 + varint_len(at) });
            put_fixed64_field(message, 1, value.to_bits());
            put_varint_field(message, 2, at);
        }
        put_bytes_field(&mut self.out, 1, message);
        self
    }

    /// Adds a series of native histograms.
    pub fn native_histograms(&mut self, labels: &[(&str, &str)], histograms: &[NativeHistogram]) -> &mut Self {
        let message = &mut self.scratch;
        message.clear();
        put_labels(message, labels);
        let mut bytes = Vec::new();
        for histogram in histograms {
            bytes.clear();
            histogram.write(&mut bytes);
            put_bytes_field(message, 4, &bytes);
        }
        put_bytes_field(&mut self.out, 1, message);
        self
    }

    /// Adds what a metric is. `kind` is Prometheus' word for it, such as `counter`.
    pub fn metadata(&mut self, metric: &str, kind: &str, help: &str, unit: &str) -> &mut Self {
        let message = &mut self.scratch;
        message.clear();
        if let Some(number) = TYPES.iter().position(|t| *t == kind).filter(|n| *n > 0) {
            put_varint(message, 1 << 3);
            put_varint(message, number as u64);
        }
        for (number, text) in [(2, metric), (4, help), (5, unit)] {
            if !text.is_empty() {
                put_bytes_field(message, number, text.as_bytes());
            }
        }
        put_bytes_field(&mut self.out, 3, message);
        self
    }

    /// How many bytes there are so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was added since the last [`RequestWriter::finish`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The request; the writer is empty afterwards.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

fn put_labels(message: &mut Vec<u8>, labels: &[(&str, &str)]) {
    for (name, value) in labels {
        put_message_key(message, 1, bytes_field_len(name.len()) + bytes_field_len(value.len()));
        put_bytes_field(message, 1, name.as_bytes());
        put_bytes_field(message, 2, value.as_bytes());
    }
}
