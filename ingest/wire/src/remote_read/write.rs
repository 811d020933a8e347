//! Writes answers to remote reads.

use crate::protobuf::{put_bytes_field, put_fixed64_field, put_message_key, put_varint, put_varint_field, varint_len};
use crate::remote_read::chunk::{Chunk, Histogram};

/// Bytes of a frame beyond which the next chunk goes into another one, as Prometheus has it.
pub const FRAME_BYTES: usize = 1 << 20;

/// The `QueryResult` of one query: samples as they are.
#[derive(Debug, Default)]
pub struct ResultWriter {
    out: Vec<u8>,
    scratch: Vec<u8>,
}

impl ResultWriter {
    /// Adds a series: labels in order, numbers and histograms each in time order.
    pub fn series<'l>(
        &mut self,
        labels: &mut dyn Iterator<Item = (&'l str, &'l str)>,
        samples: &[(i64, f64)],
        histograms: &[Histogram],
    ) {
        self.scratch.clear();
        let message = &mut self.scratch;
        put_labels(message, labels);
        for &(at_ms, value) in samples {
            let at = at_ms as u64;
            put_message_key(message, 2, 9 + if at == 0 { 0 } else { 1 + varint_len(at) });
            put_fixed64_field(message, 1, value.to_bits());
            put_varint_field(message, 2, at);
        }
        let mut bytes = Vec::new();
        for histogram in histograms {
            bytes.clear();
            put_histogram(&mut bytes, histogram);
            put_bytes_field(message, 4, &bytes);
        }
        put_bytes_field(&mut self.out, 1, message);
    }

    /// How many bytes there are so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether no series was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Appends the result to a `ReadResponse`, in which results stand in the order of their queries.
    pub fn finish(self, response: &mut Vec<u8>) {
        put_bytes_field(response, 1, &self.out);
    }
}

/// A `ChunkedReadResponse` with chunks of one series, to be sent as a frame: its length as a varint, the CRC-32C of its bytes in
/// big-endian order, its bytes.
#[must_use]
pub fn chunks<'l>(
    query: usize,
    labels: &mut dyn Iterator<Item = (&'l str, &'l str)>,
    chunks: impl IntoIterator<Item = Chunk>,
) -> Vec<u8> {
    let mut series = Vec::new();
    put_labels(&mut series, labels);
    let mut message = Vec::new();
    for chunk in chunks {
        message.clear();
        put_varint_field(&mut message, 1, chunk.start_ms as u64);
        put_varint_field(&mut message, 2, chunk.end_ms as u64);
        put_varint_field(&mut message, 3, chunk.encoding as u64);
        put_bytes_field(&mut message, 4, &chunk.bytes);
        put_bytes_field(&mut series, 2, &message);
    }
    let mut out = Vec::with_capacity(series.len() + 16);
    put_bytes_field(&mut out, 1, &series);
    put_varint_field(&mut out, 2, query as u64);
    out
}

fn put_labels<'l>(message: &mut Vec<u8>, labels: &mut dyn Iterator<Item = (&'l str, &'l str)>) {
    let mut label = Vec::new();
    for (name, value) in labels {
        label.clear();
        put_bytes_field(&mut label, 1, name.as_bytes());
        put_bytes_field(&mut label, 2, value.as_bytes());
        put_bytes_field(message, 1, &label);
    }
}

/// `prometheus.Histogram` with counts that are floats.
fn put_histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    let zigzag = |n: i64| ((n << 1) ^ (n >> 63)) as u64;
    put_fixed64_field(out, 2, histogram.count.to_bits());
    put_fixed64_field(out, 3, histogram.sum.to_bits());
    put_varint_field(out, 4, zigzag(histogram.schema.into()));
    put_fixed64_field(out, 5, histogram.zero_threshold.to_bits());
    put_fixed64_field(out, 7, histogram.zero_count.to_bits());
    let mut packed = Vec::new();
    for (number, buckets) in [(8, &histogram.negative), (11, &histogram.positive)] {
        let mut end = 0_i64;
        let mut rest = buckets.as_slice();
        while let Some(&(first, _)) = rest.first() {
            let run = rest
                .iter()
                .enumerate()
                .take_while(|(i, (index, _))| i64::from(*index) == i64::from(first) + *i as i64);
            let length = run.count();
            packed.clear();
            put_varint_field(&mut packed, 1, zigzag(i64::from(first) - end));
            put_varint_field(&mut packed, 2, length as u64);
            put_bytes_field(out, number, &packed);
            end = i64::from(first) + length as i64;
            rest = &rest[length..];
        }
        packed.clear();
        buckets
            .iter()
            .for_each(|(_, count)| packed.extend_from_slice(&count.to_le_bytes()));
        put_bytes_field(out, number + 2, &packed);
    }
    put_varint_field(out, 14, histogram.reset_hint.into());
    put_varint_field(out, 15, histogram.at_ms as u64);
    if !histogram.bounds.is_empty() {
        packed.clear();
        histogram
            .bounds
            .iter()
            .for_each(|bound| packed.extend_from_slice(&bound.to_le_bytes()));
        // Field 16 is the first whose key takes two bytes.
        put_varint(out, 16 << 3 | 2);
        put_varint(out, packed.len() as u64);
        out.extend_from_slice(&packed);
    }
}
