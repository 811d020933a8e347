//! Recent samples in memory, queryable as soon as they are durable.
//!
//! A [`Memtable`] only grows: one thread appends to it, many read. When it is flushed another one takes its place and it stays,
//! unchanged, until its parts are committed and the last snapshot that holds it is gone. Within a series, samples newer than
//! all before go into a compressed stream; late ones and overwrites go to a list in order of arrival and win over the stream.
//! Both only grow, so what a snapshot sees of a series is two numbers. They are written down ([`Seen`]) when the series changes
//! for the first time after a snapshot was taken, and only while one lives: memory without snapshots, and with ones that are
//! dropped soon, stays as if there were none.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockWriteGuard};

use crate::segmented::Segmented;
use crate::series::{Samples, SeriesId, TimeRange};
use crate::stream::{Stream, read_stream};

mod histograms;
#[cfg(test)]
mod tests;

use histograms::HistogramHead;
pub(crate) use histograms::HistogramSample;

/// Samples after which a stream is sealed: its state starts anew, and readers of a range skip whole streams.
const SEAL_SAMPLES: u32 = 120;
const _: () = assert!(SEAL_SAMPLES <= Stream::LEN_MAX);
/// Series in a block, which share a lock.
const BLOCK: usize = 256;
/// Blocks that come into being together.
const CHUNK: usize = 16;

/// Which snapshots live, as the writer must know it. Snapshots are numbered; those taken without a write between share a number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Epochs {
    /// The number that the next snapshot after a write gets.
    pub(crate) current: u64,
    /// Numbers of the living snapshots, ascending; practically always few.
    pub(crate) living: Vec<u64>,
}

/// Samples since the last flush, by series.
#[derive(Debug)]
pub(crate) struct Memtable {
    blocks: Segmented<RwLock<Block>>,
    histograms: HistogramHead,
    samples: AtomicU64,
    series: AtomicU64,
    bytes: AtomicU64,
    t_min: AtomicI64,
    t_max: AtomicI64,
}

/// Empty, or one slot a series.
type Block = Vec<Option<Box<HeadSeries>>>;

#[derive(Debug, Default)]
struct HeadSeries {
    open: Stream,
    // The epoch in which the series was written last.
    written: u64,
    // What snapshots of epochs before that one see, unless `more` says it for older ones; nothing where it has no samples. It
    // stands here since one snapshot that lives a while has it written down for every series that samples come in for.
    seen: Seen,
    // Samples in the sealed streams and in `open`.
    main: u32,
    more: Option<Box<More>>,
}

/// What most young series have none of.
#[derive(Debug, Default)]
struct More {
    sealed: Vec<Sealed>,
    // In order of arrival.
    late: Vec<(i64, f64)>,
    // What snapshots see that are older than those of `HeadSeries::seen`, ascending.
    seen: Vec<Seen>,
}

/// What snapshots up to number `upto`, down to the one before in the list, see of a series.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    upto: u64,
    main: u32,
    late: u32,
}

/// A stream that is full.
#[derive(Debug)]
struct Sealed {
    t_min: i64,
    t_max: i64,
    n: u32,
    bytes: Box<[u8]>,
}

impl Memtable {
    /// An empty one for series numbers below `max_series`.
    pub(crate) fn new(max_series: usize) -> Self {
        Self {
            blocks: Segmented::new(max_series.div_ceil(BLOCK), CHUNK),
            histograms: HistogramHead::default(),
            samples: AtomicU64::new(0),
            series: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            t_min: AtomicI64::new(i64::MAX),
            t_max: AtomicI64::new(i64::MIN),
        }
    }

    /// Appends samples. There is one writer at a time: the caller sees to it.
    pub(crate) fn append(&self, ids: &[SeriesId], timestamps: &[i64], values: &[f64], epochs: &Epochs) {
        let mut held: Option<(usize, RwLockWriteGuard<'_, Block>)> = None;
        let (mut series, mut bytes) = (0_u64, 0_isize);
        let (mut t_min, mut t_max) = (i64::MAX, i64::MIN);
        let columns = ids.iter().zip(timestamps).zip(values);
        for ((&id, &at), &value) in columns {
            let (number, slot) = (id.0 as usize / BLOCK, id.0 as usize % BLOCK);
            // Neighbours in a batch are neighbours here: the lock is taken once for many samples.
            if held.as_ref().is_none_or(|(n, _)| *n != number) {
                // The old lock goes before the new one is taken.
                drop(held.take());
                let Some(lock) = self.blocks.get_or_make(number) else {
                    continue;
                };
                let mut block = lock.write();
                if block.is_empty() {
                    block.resize_with(BLOCK, || None);
                    bytes += (BLOCK * size_of::<Option<Box<HeadSeries>>>()) as isize;
                }
                held = Some((number, block));
            }
            let Some((_, block)) = &mut held else { continue };
            let slot = &mut block[slot];
            if slot.is_none() {
                series += 1;
                bytes += size_of::<HeadSeries>() as isize;
            }
            bytes += slot.get_or_insert_default().push(at, value, epochs);
            t_min = t_min.min(at);
            t_max = t_max.max(at);
        }
        drop(held);
        self.samples.fetch_add(ids.len() as u64, Ordering::Relaxed);
        self.series.fetch_add(series, Ordering::Relaxed);
        // Wraps around for a negative number, as it should.
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.t_min.fetch_min(t_min, Ordering::Relaxed);
        self.t_max.fetch_max(t_max, Ordering::Relaxed);
    }

    /// Appends histograms. There is one writer at a time: the caller sees to it.
    pub(crate) fn append_histograms(&self, samples: &[HistogramSample], epochs: &Epochs) {
        self.histograms.append(samples, epochs.current);
        for sample in samples {
            self.t_min.fetch_min(sample.at_ms, Ordering::Relaxed);
            self.t_max.fetch_max(sample.at_ms, Ordering::Relaxed);
        }
    }

    /// The histograms, beside the samples that are plain numbers.
    pub(crate) fn histograms(&self) -> &HistogramHead {
        &self.histograms
    }

    /// Merges what snapshot number `epoch` sees of a series within `range` into what stands in `out` from `base` on, and wins
    /// over it: see [`merge`]. `None` where the memory is damaged.
    pub(crate) fn read(
        &self,
        id: SeriesId,
        range: TimeRange,
        epoch: u64,
        base: usize,
        out: &mut Samples,
    ) -> Option<()> {
        let (start, end) = (range.start.0, range.end.0);
        if !range.overlaps(self.t_min.load(Ordering::Relaxed), self.t_max.load(Ordering::Relaxed)) {
            return Some(());
        }
        let Some(lock) = self.blocks.get(id.0 as usize / BLOCK) else {
            return Some(());
        };
        // Copied under the lock, decoded after it: the writer waits for a few hundred bytes at most.
        let mut streams: Vec<(Box<[u8]>, u32)> = Vec::new();
        let mut late: Vec<(i64, f64)> = Vec::new();
        {
            let block = lock.read();
            let Some(Some(series)) = block.get(id.0 as usize % BLOCK) else {
                return Some(());
            };
            let (mut main, seen_late) = series.seen_by(epoch);
            for sealed in series.sealed() {
                let n = main.min(sealed.n);
                main -= n;
                if n > 0 && range.overlaps(sealed.t_min, sealed.t_max) {
                    streams.push((sealed.bytes.clone(), n));
                }
            }
            if main > 0 && range.overlaps(series.open.first(), series.open.last()) {
                streams.push((series.open.bytes().into(), main));
            }
            let seen = &series.late()[..seen_late as usize];
            late.extend(seen.iter().filter(|(at, _)| range.contains(*at)));
        }
        if out.len() == base && late.is_empty() {
            return streams
                .iter()
                .try_for_each(|(bytes, n)| read_stream(bytes, *n, start, end, out));
        }
        let mut main = Samples::default();
        streams
            .iter()
            .try_for_each(|(bytes, n)| read_stream(bytes, *n, start, end, &mut main))?;
        merge(out, base, &main);
        if !late.is_empty() {
            // Stable, so that of equal timestamps the one that arrived last stays last, and wins.
            late.sort_by_key(|(at, _)| *at);
            let mut sorted = Samples::default();
            for (i, &(at, value)) in late.iter().enumerate() {
                if late.get(i + 1).is_none_or(|(next, _)| *next != at) {
                    sorted.push(at, value);
                }
            }
            merge(out, base, &sorted);
        }
        Some(())
    }

    /// Series that have samples, ascending.
    pub(crate) fn ids(&self) -> Vec<SeriesId> {
        let mut ids = Vec::with_capacity(self.series.load(Ordering::Relaxed) as usize);
        for (number, block) in self.blocks.iter() {
            let block = block.read();
            let present = block.iter().enumerate().filter(|(_, series)| series.is_some());
            ids.extend(present.map(|(slot, _)| SeriesId((number * BLOCK + slot) as u32)));
        }
        if self.histograms.samples() > 0 {
            ids.extend(self.histograms.ids());
            ids.sort_unstable();
            ids.dedup();
        }
        ids
    }

    /// Stretches of time that hold all samples of a series, which is no longer written; they may overlap.
    pub(crate) fn stretches(&self, id: SeriesId) -> Vec<(i64, i64)> {
        let mut stretches = self.histograms.stretches(id);
        let Some(lock) = self.blocks.get(id.0 as usize / BLOCK) else {
            return stretches;
        };
        let block = lock.read();
        let Some(Some(series)) = block.get(id.0 as usize % BLOCK) else {
            return stretches;
        };
        stretches.extend(series.sealed().iter().map(|s| (s.t_min, s.t_max)));
        if !series.open.is_empty() {
            stretches.push((series.open.first(), series.open.last()));
        }
        stretches.extend(series.late().iter().map(|(at, _)| (*at, *at)));
        stretches
    }

    /// Samples that were appended, those that others overwrite included.
    pub(crate) fn samples(&self) -> u64 {
        self.samples.load(Ordering::Relaxed) + self.histograms.samples()
    }

    /// Series that have samples.
    pub(crate) fn series(&self) -> u64 {
        self.series.load(Ordering::Relaxed) + self.histograms.series()
    }

    /// Bytes of memory, counted.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed) + self.histograms.bytes()
    }

    /// First and last timestamp.
    pub(crate) fn bounds(&self) -> Option<(i64, i64)> {
        (self.samples() > 0).then(|| (self.t_min.load(Ordering::Relaxed), self.t_max.load(Ordering::Relaxed)))
    }
}

impl HeadSeries {
    /// Takes a sample and answers by how many bytes it grew.
    #[inline]
    fn push(&mut self, at: i64, value: f64, epochs: &Epochs) -> isize {
        let last = self.last_at();
        if last == Some(at) && self.holds_last(value) {
            // Sent again, as senders do that saw no answer.
            return 0;
        }
        let mut grown = 0;
        if self.written < epochs.current {
            grown += self.remember(epochs);
        }
        if last.is_some_and(|last| at <= last) {
            let late = &mut self.more(&mut grown).late;
            let before = late.capacity();
            if late.len() == before {
                late.reserve_exact((before / 2).max(4));
            }
            late.push((at, value));
            return grown + ((late.capacity() - before) * size_of::<(i64, f64)>()) as isize;
        }
        let before = self.open.capacity() as isize;
        self.open.push(at, value);
        self.main += 1;
        if self.open.len() >= SEAL_SAMPLES {
            grown += self.seal();
        }
        grown + self.open.capacity() as isize - before
    }

    /// The newest timestamp of the streams.
    fn last_at(&self) -> Option<i64> {
        if self.open.is_empty() {
            self.sealed().last().map(|sealed| sealed.t_max)
        } else {
            Some(self.open.last())
        }
    }

    /// Whether the newest sample of the streams is known to have this value, and nothing overwrote it.
    fn holds_last(&self, value: f64) -> bool {
        !self.open.is_empty() && self.late().is_empty() && self.open.last_value().to_bits() == value.to_bits()
    }

    fn late(&self) -> &[(i64, f64)] {
        self.more.as_ref().map_or(&[], |more| &more.late)
    }

    fn sealed(&self) -> &[Sealed] {
        self.more.as_ref().map_or(&[], |more| &more.sealed)
    }

    /// What a young series has none of, made, and by how much it grew.
    fn more(&mut self, grown: &mut isize) -> &mut More {
        if self.more.is_none() {
            *grown += size_of::<More>() as isize;
        }
        self.more.get_or_insert_default()
    }

    fn seal(&mut self) -> isize {
        let bytes: Box<[u8]> = self.open.bytes().into();
        let sealed = Sealed {
            t_min: self.open.first(),
            t_max: self.open.last(),
            n: self.open.len(),
            bytes,
        };
        let mut grown = sealed.bytes.len() as isize;
        let list = &mut self.more(&mut grown).sealed;
        let before = list.capacity();
        if list.len() == before {
            list.reserve_exact(2);
        }
        grown += ((list.capacity() - before) * size_of::<Sealed>()) as isize;
        list.push(sealed);
        self.open.reset();
        grown
    }

    /// Writes down what the living snapshots see, before the first change of this epoch.
    fn remember(&mut self, epochs: &Epochs) -> isize {
        let mut grown = 0;
        let visible = Seen {
            upto: epochs.current - 1,
            main: self.main,
            late: self.late().len() as u32,
        };
        let living = &epochs.living;
        let needed = self.main > 0 && living.last().is_some_and(|newest| *newest >= self.written);
        // Only what a living snapshot would look up stays, or one that lives long would gather every change since.
        let wanted = |above: u64, seen: &Seen| {
            let first = living.get(living.partition_point(|n| *n < above));
            first.is_some_and(|n| *n <= seen.upto)
        };
        let mut above = 0;
        if let Some(more) = self.more.as_mut().filter(|more| !more.seen.is_empty()) {
            let before = more.seen.capacity() as isize;
            more.seen.retain(|seen| {
                let wanted = wanted(above, seen);
                above = seen.upto + 1;
                wanted
            });
            if more.seen.is_empty() {
                more.seen = Vec::new();
            }
            grown += (more.seen.capacity() as isize - before) * size_of::<Seen>() as isize;
        }
        let last = self.seen;
        if last.main > 0 && !wanted(above, &last) {
            self.seen = Seen::default();
        } else if last.main > 0 && needed {
            let seen = &mut self.more(&mut grown).seen;
            let before = seen.capacity() as isize;
            seen.push(last);
            grown += (seen.capacity() as isize - before) * size_of::<Seen>() as isize;
        }
        if needed {
            self.seen = visible;
        }
        self.written = epochs.current;
        grown
    }

    /// How many samples of the streams and of the late list snapshot number `epoch` sees.
    fn seen_by(&self, epoch: u64) -> (u32, u32) {
        if epoch >= self.written {
            return (self.main, self.late().len() as u32);
        }
        let older = self.more.iter().flat_map(|more| &more.seen);
        let seen = older.chain([&self.seen]).find(|seen| seen.upto >= epoch);
        seen.map_or((0, 0), |seen| (seen.main, seen.late))
    }
}

/// Merges `newer`, ascending, into what stands in `out` from `base` on, ascending too; of equal timestamps the newer stays.
pub(crate) fn merge(out: &mut Samples, base: usize, newer: &Samples) {
    let (Some(&first), Some(&last)) = (newer.timestamps.first(), newer.timestamps.last()) else {
        return;
    };
    if out.timestamps[base..].last().is_none_or(|t| *t < first) {
        out.timestamps.extend_from_slice(&newer.timestamps);
        out.values.extend_from_slice(&newer.values);
        return;
    }
    if out.timestamps[base] > last {
        out.timestamps.splice(base..base, newer.timestamps.iter().copied());
        out.values.splice(base..base, newer.values.iter().copied());
        return;
    }
    // What is before the newer ones stays where it is.
    let kept = base + out.timestamps[base..].partition_point(|t| *t < first);
    let older = Samples {
        timestamps: out.timestamps.split_off(kept),
        values: out.values.split_off(kept),
    };
    let mut left = older.iter().peekable();
    for (at, value) in newer.iter() {
        while let Some((t, v)) = left.next_if(|(t, _)| *t < at) {
            out.push(t, v);
        }
        let _replaced = left.next_if(|(t, _)| *t == at);
        out.push(at, value);
    }
    for (t, v) in left {
        out.push(t, v);
    }
}
