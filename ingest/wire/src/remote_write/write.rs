//! Writes remote-write requests, before their snappy block compression.

use crate::protobuf::{
    bytes_field_len, put_bytes_field, put_fixed64_field, put_message_key, put_varint, put_varint_field, varint_len,
};
use crate::remote_write::TYPES;

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
        for (name, value) in labels {
            put_message_key(message, 1, bytes_field_len(name.len()) + bytes_field_len(value.len()));
            put_bytes_field(message, 1, name.as_bytes());
            put_bytes_field(message, 2, value.as_bytes());
        }
        for &(at_ms, value) in samples {
            let at = at_ms as u64;
            put_message_key(message, 2, 9 + if at == 0 { 0 } else { 1 + varint_len(at) });
            put_fixed64_field(message, 1, value.to_bits());
            put_varint_field(message, 2, at);
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
