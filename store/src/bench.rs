//! The insides that `store/bench` measures: thin, without an API of their own, and only there with the feature `bench`.

use crate::chunk;
use crate::codec::timestamps;
use crate::histogram::Histogram;
use crate::index::Index;
use crate::metadata::Metadata;
use crate::series::{Labels, Matcher, Samples, SeriesId};
use crate::wal::record::{Columns, Decoder, Encoder, Sink, unframe};

/// One chunk, encoded and decoded.
#[derive(Debug)]
pub struct Chunk(chunk::Chunk);

impl Chunk {
    /// Compresses up to 4096 samples with the codec that suits them.
    #[must_use]
    pub fn encode(samples: &Samples) -> Self {
        let ts = timestamps::encode(&samples.timestamps);
        Self(chunk::encode_with(&samples.timestamps, &samples.values, ts))
    }

    /// Appends its samples to `out`; whether it could be read.
    pub fn decode(&self, out: &mut Samples) -> bool {
        let Self(chunk) = self;
        chunk::decode_into(&chunk.ts, chunk.codec, &chunk.values, chunk.n, out).is_ok()
    }

    /// Compressed bytes of timestamps and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.ts.len() + self.0.values.len()
    }
}

/// Records of the write-ahead log, as they are written and replayed.
#[derive(Debug)]
pub struct Log {
    encoder: Encoder,
    labels: Vec<Labels>,
    records: Vec<u8>,
}

impl Log {
    /// A segment without records, for series with these labels, which have the numbers 0 and up.
    #[must_use]
    pub fn new(labels: Vec<Labels>) -> Self {
        Self {
            encoder: Encoder::new(),
            labels,
            records: Vec::new(),
        }
    }

    /// Encodes a batch; answers how many bytes the segment has by then.
    pub fn encode(&mut self, ids: &[SeriesId], timestamps: &[i64], values: &[f64]) -> usize {
        let columns = Columns {
            ids,
            timestamps,
            values,
        };
        let labels = &self.labels;
        self.encoder
            .samples(columns, |id| labels[id.0 as usize].as_bytes(), &mut self.records);
        self.records.len()
    }

    /// Replays all records; answers the number of samples.
    #[must_use]
    pub fn replay(&self) -> u64 {
        struct Counted(u32, u64);
        impl Sink for Counted {
            fn series(&mut self, _canonical: &[u8]) -> Option<SeriesId> {
                self.0 += 1;
                Some(SeriesId(self.0 - 1))
            }
            fn sample(&mut self, _id: SeriesId, _at_ms: i64, _value: f64) {
                self.1 += 1;
            }
            fn histogram(&mut self, _id: SeriesId, _at_ms: i64, _value: Histogram) {
                self.1 += 1;
            }
            fn end_of_batch(&mut self) {}
            fn metadata(&mut self, _metric: String, _metadata: Metadata) {}
        }
        let mut counted = Counted(0, 0);
        let mut decoder = Decoder::default();
        let mut rest = self.records.as_slice();
        while let Some((record, next)) = unframe(rest) {
            if decoder.record(record, &mut counted).is_none() {
                break;
            }
            rest = next;
        }
        counted.1
    }
}

/// The index over labels.
#[derive(Debug, Default)]
pub struct Labelled {
    index: Index,
    labels: Vec<Labels>,
}

impl Labelled {
    /// Adds a series.
    pub fn insert(&mut self, labels: Labels) {
        let labels_of = |id: SeriesId| self.labels.get(id.0 as usize);
        self.index
            .insert(SeriesId(self.labels.len() as u32), &labels, labels_of);
        self.labels.push(labels);
    }

    /// How many series meet all matchers.
    #[must_use]
    pub fn select(&self, matchers: &[Matcher]) -> u64 {
        let labels_of = |id: SeriesId| self.labels.get(id.0 as usize);
        self.index.select(matchers, self.labels.len() as u32, labels_of).len()
    }
}
