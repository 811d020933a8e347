//! The records of a WAL segment: series are defined once a segment, samples refer to them and to their last value in it.
//!
//! ```text
//! record   length u32 of kind and payload | CRC32C u32 of them | kind u8 | payload             (numbers little-endian)
//! series   count, then each: shared prefix, shared suffix, length of the middle, middle        canonical label bytes
//! samples  count | runs of series | runs of timestamps | bits of values (`stream`)
//! metadata kind, then metric, unit and help, each with its length
//! histograms  count, then each: series, timestamp, row (`histograms`)
//! rows     0, then name of the table, id of the batch (16 bytes or none), an Arrow stream, each with its length
//! ```
//! Numbers within payloads are LEB128, signed ones zigzag coded. The n-th series that a segment defines has the number n in
//! it. A run of series is: distance of its first number from the one after the last run, how many consecutive numbers, samples
//! of each. Timestamps are predicted (the first of a series: as the first of the series before; others: same step again) and
//! the errors run-length coded: correct predictions, then one error. An agent's push of one sample a series costs a few bytes
//! for all series and timestamps together.

use crate::histogram::Histogram;
use crate::metadata::{Metadata, MetricKind};
use crate::series::SeriesId;
use crate::stream::{BitReader, Bits, ValueState};

mod histograms;

pub(crate) const KIND_SERIES: u8 = 1;
pub(crate) const KIND_SAMPLES: u8 = 2;
pub(crate) const KIND_METADATA: u8 = 3;
pub(crate) const KIND_HISTOGRAMS: u8 = 4;
pub(crate) const KIND_ROWS: u8 = 5;

/// Length and checksum before each record.
pub(crate) const FRAME_BYTES: usize = 8;
/// A longer record is damage: batches are cut far below it.
pub(crate) const RECORD_BYTES_MAX: usize = 32 << 20;
/// Samples in one record; larger batches become several. At 19 bytes a sample at most this stays far below the limit.
const RECORD_SAMPLES_MAX: usize = 1 << 16;

/// Samples to write, as three columns of one length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns<'a> {
    pub(crate) ids: &'a [SeriesId],
    pub(crate) timestamps: &'a [i64],
    pub(crate) values: &'a [f64],
}

/// What the writer knows of a series within the present segment.
#[derive(Clone, Copy, Debug, Default)]
struct Context {
    // The context counts only if this is the encoder's present epoch.
    epoch: u32,
    number: u32,
    values: ValueState,
}

/// Contexts of a block.
const CONTEXTS: usize = 1024;

/// Writes records. What it remembers of series holds within one epoch: a new segment begins a new one, and so does a failed
/// write, after which nobody knows what the segment holds of the last values.
#[derive(Debug)]
pub(crate) struct Encoder {
    // By series, in blocks: one list of all of them would be twice as large whenever it has to grow.
    contexts: Vec<Box<[Context; CONTEXTS]>>,
    epoch: u32,
    // Series that the segment defines so far.
    defined: u32,
    // Canonical bytes of the series defined last.
    previous: Vec<u8>,
    payload: Vec<u8>,
    bits: Bits,
}

/// What the reader of a segment would know at this point.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mark {
    defined: u32,
    previous: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self {
            contexts: Vec::new(),
            epoch: 1,
            defined: 0,
            previous: Vec::new(),
            payload: Vec::new(),
            bits: Bits::default(),
        }
    }

    /// Forgets everything: a new segment begins.
    pub(crate) fn begin_segment(&mut self) {
        self.rewind(&Mark::default());
    }

    /// Where the encoder stands, to come back to when writing fails.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            defined: self.defined,
            previous: self.previous.clone(),
        }
    }

    /// Goes back to `mark`; series are defined anew when they are written next.
    pub(crate) fn rewind(&mut self, mark: &Mark) {
        self.epoch += 1;
        self.defined = mark.defined;
        self.previous.clone_from(&mark.previous);
    }

    /// Appends records of samples, and before them records of the series that the segment does not define yet.
    pub(crate) fn samples<'l>(
        &mut self,
        samples: Columns<'_>,
        labels_of: impl Fn(SeriesId) -> &'l [u8],
        out: &mut Vec<u8>,
    ) {
        for start in (0..samples.ids.len()).step_by(RECORD_SAMPLES_MAX) {
            let range = start..samples.ids.len().min(start + RECORD_SAMPLES_MAX);
            let part = Columns {
                ids: &samples.ids[range.clone()],
                timestamps: &samples.timestamps[range.clone()],
                values: &samples.values[range],
            };
            self.define(part.ids, &labels_of, out);
            self.write_samples(part, out);
        }
    }

    fn define<'l>(&mut self, ids: &[SeriesId], labels_of: &impl Fn(SeriesId) -> &'l [u8], out: &mut Vec<u8>) {
        self.payload.clear();
        let mut count = 0_u64;
        for &id in ids {
            let (block, slot) = (id.0 as usize / CONTEXTS, id.0 as usize % CONTEXTS);
            while self.contexts.len() <= block {
                self.contexts.push(Box::new([Context::default(); CONTEXTS]));
            }
            let context = &mut self.contexts[block][slot];
            if context.epoch == self.epoch {
                continue;
            }
            *context = Context {
                epoch: self.epoch,
                number: self.defined,
                values: ValueState::default(),
            };
            self.defined += 1;
            count += 1;
            let labels = labels_of(id);
            let prefix = labels.iter().zip(&self.previous).take_while(|(a, b)| a == b).count();
            let rest = labels.len().min(self.previous.len()) - prefix;
            let pairs = labels.iter().rev().zip(self.previous.iter().rev());
            let suffix = pairs.take(rest).take_while(|(a, b)| a == b).count();
            let middle = &labels[prefix..labels.len() - suffix];
            put_number(&mut self.payload, prefix as u64);
            put_number(&mut self.payload, suffix as u64);
            put_bytes(&mut self.payload, middle);
            self.previous.clear();
            self.previous.extend_from_slice(labels);
            if self.payload.len() > RECORD_BYTES_MAX / 2 {
                frame(out, KIND_SERIES, count, &self.payload, &[]);
                self.payload.clear();
                count = 0;
            }
        }
        if count > 0 {
            frame(out, KIND_SERIES, count, &self.payload, &[]);
        }
    }

    fn write_samples(&mut self, samples: Columns<'_>, out: &mut Vec<u8>) {
        let payload = &mut self.payload;
        payload.clear();
        let numbers = samples.ids.iter().map(|id| context(&mut self.contexts, *id).number);
        put_runs(payload, numbers);
        let mut predictor = Predictor::default();
        let mut correct = 0_u64;
        for (i, &at) in samples.timestamps.iter().enumerate() {
            let first = i == 0 || samples.ids[i] != samples.ids[i - 1];
            let error = at.wrapping_sub(predictor.predict(first));
            predictor.learn(first, at);
            if error == 0 {
                correct += 1;
            } else {
                put_number(payload, correct);
                put_signed(payload, error);
                correct = 0;
            }
        }
        if correct > 0 {
            put_number(payload, correct);
        }
        self.bits.clear();
        for (&id, &value) in samples.ids.iter().zip(samples.values) {
            context(&mut self.contexts, id).values.write(&mut self.bits, value);
        }
        frame(out, KIND_SAMPLES, samples.ids.len() as u64, payload, self.bits.bytes());
    }

    /// Appends a record of rows.
    pub(crate) fn rows(&mut self, (table, id, stream): (&str, &[u8], &[u8]), out: &mut Vec<u8>) {
        self.payload.clear();
        put_bytes(&mut self.payload, table.as_bytes());
        put_bytes(&mut self.payload, id);
        put_number(&mut self.payload, stream.len() as u64);
        frame(out, KIND_ROWS, 0, &self.payload, stream);
    }

    /// Appends a record of what a metric is.
    pub(crate) fn metadata(&mut self, metric: &str, metadata: &Metadata, out: &mut Vec<u8>) {
        self.payload.clear();
        for text in [metric, &metadata.unit, &metadata.help] {
            put_bytes(&mut self.payload, text.as_bytes());
        }
        let kind = MetricKind::ALL.iter().position(|k| *k == metadata.kind).unwrap_or(0);
        frame(out, KIND_METADATA, kind as u64, &self.payload, &[]);
    }
}

/// What is known of a series that is defined.
#[inline]
fn context(contexts: &mut [Box<[Context; CONTEXTS]>], id: SeriesId) -> &mut Context {
    &mut contexts[id.0 as usize / CONTEXTS][id.0 as usize % CONTEXTS]
}

/// Appends one record; `head` is the number that every payload starts with.
fn frame(out: &mut Vec<u8>, kind: u8, head: u64, payload: &[u8], tail: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_BYTES]);
    out.push(kind);
    put_number(out, head);
    out.extend_from_slice(payload);
    out.extend_from_slice(tail);
    let body = &out[start + FRAME_BYTES..];
    let (length, checksum) = (body.len() as u32, crc32c::crc32c(body));
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// The record at the start of `bytes`, kind and payload, and what follows it; `None` where there is no whole record.
pub(crate) fn unframe(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    if length == 0 || length > RECORD_BYTES_MAX {
        return None;
    }
    let (body, rest) = rest.split_at_checked(length)?;
    (crc32c::crc32c(body) == u32::from_le_bytes(*checksum)).then_some((body, rest))
}

/// What replaying a segment calls.
pub(crate) trait Sink {
    /// The series with these canonical label bytes, or `None` when it cannot be taken.
    fn series(&mut self, canonical: &[u8]) -> Option<SeriesId>;
    /// A sample.
    fn sample(&mut self, id: SeriesId, at_ms: i64, value: f64);
    /// A histogram.
    fn histogram(&mut self, id: SeriesId, at_ms: i64, value: Histogram);
    /// All samples of a record were handed over.
    fn end_of_batch(&mut self);
    /// What a metric is.
    fn metadata(&mut self, metric: String, metadata: Metadata);
    /// A segment begins.
    fn segment(&mut self, _number: u64) {}
    /// Rows of an append-only table.
    fn rows(&mut self, _table: &str, _id: &[u8], _stream: &[u8]) {}
}

/// Reads the records of one segment.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    series: Vec<Defined>,
    previous: Vec<u8>,
    // One record's samples, kept for their memory.
    numbers: Vec<u32>,
    timestamps: Vec<i64>,
}

#[derive(Debug)]
struct Defined {
    // Resolved when its first sample comes: a definition alone makes no series.
    id: Option<SeriesId>,
    labels: Box<[u8]>,
    values: ValueState,
}

impl Decoder {
    /// Hands the contents of a record with a good checksum to `sink`; `None` where they cannot be read nevertheless.
    pub(crate) fn record(&mut self, record: &[u8], sink: &mut impl Sink) -> Option<()> {
        let (&kind, mut rest) = record.split_first()?;
        let head = take_number(&mut rest)?;
        match kind {
            KIND_SERIES => self.define(head, rest),
            KIND_SAMPLES => self.samples(usize::try_from(head).ok()?, rest, sink),
            KIND_HISTOGRAMS => self.histograms(head, rest, sink),
            KIND_METADATA => {
                let mut text = || Some(std::str::from_utf8(take_bytes(&mut rest)?).ok()?.to_owned());
                let (metric, unit, help) = (text()?, text()?, text()?);
                let kind = MetricKind::ALL
                    .get(usize::try_from(head).ok()?)
                    .copied()
                    .unwrap_or_default();
                sink.metadata(metric, Metadata { kind, unit, help });
                Some(())
            }
            KIND_ROWS => {
                let table = std::str::from_utf8(take_bytes(&mut rest)?).ok()?;
                let (id, stream) = (take_bytes(&mut rest)?, take_bytes(&mut rest)?);
                sink.rows(table, id, stream);
                Some(())
            }
            // A kind of a later version that this one may pass over: it defines neither series nor samples.
            _ => Some(()),
        }
    }

    fn define(&mut self, count: u64, mut rest: &[u8]) -> Option<()> {
        for _ in 0..count {
            let prefix = usize::try_from(take_number(&mut rest)?).ok()?;
            let suffix = usize::try_from(take_number(&mut rest)?).ok()?;
            let middle = take_bytes(&mut rest)?;
            let tail = self.previous.len().checked_sub(suffix)?;
            let labels = [self.previous.get(..prefix)?, middle, &self.previous[tail..]].concat();
            self.previous.clone_from(&labels);
            self.series.push(Defined {
                id: None,
                labels: labels.into(),
                values: ValueState::default(),
            });
        }
        Some(())
    }

    fn samples(&mut self, count: usize, mut rest: &[u8], sink: &mut impl Sink) -> Option<()> {
        if count > RECORD_SAMPLES_MAX {
            return None;
        }
        self.numbers.clear();
        take_runs(&mut rest, count, &mut self.numbers)?;
        self.timestamps.clear();
        let mut predictor = Predictor::default();
        let first_of = |i: usize, numbers: &[u32]| i == 0 || numbers[i] != numbers[i - 1];
        while self.timestamps.len() < count {
            let correct = usize::try_from(take_number(&mut rest)?).ok()?;
            if correct > count - self.timestamps.len() {
                return None;
            }
            for _ in 0..correct {
                let first = first_of(self.timestamps.len(), &self.numbers);
                let at = predictor.predict(first);
                predictor.learn(first, at);
                self.timestamps.push(at);
            }
            if self.timestamps.len() < count {
                let first = first_of(self.timestamps.len(), &self.numbers);
                let at = predictor.predict(first).wrapping_add(take_signed(&mut rest)?);
                predictor.learn(first, at);
                self.timestamps.push(at);
            }
        }
        let mut bits = BitReader::new(rest);
        for (&number, &at) in self.numbers.iter().zip(&self.timestamps) {
            let series = self.series.get_mut(number as usize)?;
            let value = series.values.read(&mut bits)?;
            if series.id.is_none() {
                series.id = sink.series(&series.labels);
            }
            if let Some(id) = series.id {
                sink.sample(id, at, value);
            }
        }
        sink.end_of_batch();
        Some(())
    }
}

/// Guesses timestamps from those before in the same record.
#[derive(Debug, Default)]
struct Predictor {
    first: i64,
    last: i64,
    step: i64,
}

impl Predictor {
    fn predict(&self, first: bool) -> i64 {
        if first {
            self.first
        } else {
            self.last.wrapping_add(self.step)
        }
    }

    fn learn(&mut self, first: bool, at: i64) {
        if first {
            self.first = at;
        } else {
            self.step = at.wrapping_sub(self.last);
        }
        self.last = at;
    }
}

/// Runs of consecutive numbers that have equally many samples each.
#[derive(Debug, Default)]
struct Run {
    start: u32,
    length: u32,
    samples: u32,
}

fn put_runs(out: &mut Vec<u8>, mut numbers: impl Iterator<Item = u32>) {
    let Some(mut number) = numbers.next() else { return };
    let (mut samples, mut expected, mut run) = (1_u32, 0_i64, Run::default());
    loop {
        let next = numbers.next();
        if next == Some(number) {
            samples += 1;
            continue;
        }
        if run.length > 0 && number == run.start.wrapping_add(run.length) && samples == run.samples {
            run.length += 1;
        } else {
            run.put(out, &mut expected);
            run = Run {
                start: number,
                length: 1,
                samples,
            };
        }
        match next {
            Some(next) => (number, samples) = (next, 1),
            None => break,
        }
    }
    run.put(out, &mut expected);
}

impl Run {
    fn put(&self, out: &mut Vec<u8>, expected: &mut i64) {
        if self.length > 0 {
            put_signed(out, i64::from(self.start) - *expected);
            put_number(out, u64::from(self.length));
            put_number(out, u64::from(self.samples));
            *expected = i64::from(self.start) + i64::from(self.length);
        }
    }
}

fn take_runs(rest: &mut &[u8], count: usize, numbers: &mut Vec<u32>) -> Option<()> {
    let mut expected = 0_i64;
    while numbers.len() < count {
        let start = expected.checked_add(take_signed(rest)?)?;
        let length = take_number(rest)?;
        let samples = take_number(rest)?;
        if length.checked_mul(samples)? > (count - numbers.len()) as u64 || length == 0 || samples == 0 {
            return None;
        }
        for number in start..start + length as i64 {
            let number = u32::try_from(number).ok()?;
            numbers.extend(std::iter::repeat_n(number, samples as usize));
        }
        expected = start + length as i64;
    }
    Some(())
}

fn put_number(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn put_signed(out: &mut Vec<u8>, n: i64) {
    put_number(out, ((n << 1) ^ (n >> 63)) as u64);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut n = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(n);
        }
    }
    None
}

fn take_signed(rest: &mut &[u8]) -> Option<i64> {
    let n = take_number(rest)?;
    Some((n >> 1) as i64 ^ -((n & 1) as i64))
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_number(rest)?).ok()?;
    let (bytes, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(bytes)
}
