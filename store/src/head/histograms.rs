//! Recent histograms in memory, beside the samples that are plain numbers.
//!
//! Per series a stream of [`row`]s, begun anew every [`SEAL_SAMPLES`]; late ones and overwrites stand in a list in order of arrival
//! and win. What a snapshot sees is what was written up to its number, so each stretch remembers the number it was written under.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::histogram::row::{self, Frame};
use crate::histogram::{Histogram, Histograms};
use crate::series::{SeriesId, TimeRange};

/// Histograms after which a stream begins anew: a reader of a range skips whole streams.
const SEAL_SAMPLES: usize = 120;

/// A histogram on its way into the store.
#[derive(Clone, Debug)]
pub(crate) struct HistogramSample {
    pub(crate) id: SeriesId,
    pub(crate) at_ms: i64,
    pub(crate) value: Arc<Histogram>,
}

/// Histograms since the last flush, by series.
#[derive(Debug, Default)]
pub(crate) struct HistogramHead {
    series: RwLock<HashMap<SeriesId, Series>>,
    samples: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Series {
    streams: Vec<Stream>,
    // Number of the write, time, histogram.
    late: Vec<(u64, i64, Arc<Histogram>)>,
    last: Option<(i64, Arc<Histogram>)>,
}

#[derive(Debug, Default)]
struct Stream {
    timestamps: Vec<i64>,
    rows: Vec<u8>,
    frame: Frame,
    // Numbers of writes, ascending, and how many histograms the stream held after each.
    written: Vec<(u64, u32)>,
}

impl HistogramHead {
    /// Appends histograms under number `epoch`. There is one writer at a time: the caller sees to it.
    pub(crate) fn append(&self, samples: &[HistogramSample], epoch: u64) {
        let mut bytes = 0_isize;
        let mut all = self.series.write();
        for sample in samples {
            let series = match all.entry(sample.id) {
                Entry::Occupied(series) => series.into_mut(),
                Entry::Vacant(place) => {
                    bytes += (size_of::<Series>() + size_of::<SeriesId>()) as isize;
                    place.insert(Series::default())
                }
            };
            bytes += series.push(sample.at_ms, &sample.value, epoch);
        }
        drop(all);
        self.samples.fetch_add(samples.len() as u64, Ordering::Relaxed);
        // Wraps around for a negative number, as it should.
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Merges what snapshot number `epoch` sees of a series within `range` into `out`, and wins over it. `None` where the memory is
    /// damaged.
    pub(crate) fn read(&self, id: SeriesId, range: TimeRange, epoch: u64, out: &mut Histograms) -> Option<()> {
        if self.samples() == 0 {
            return Some(());
        }
        let all = self.series.read();
        let Some(series) = all.get(&id) else { return Some(()) };
        let mut found = Histograms::default();
        for stream in &series.streams {
            stream.read(range, epoch, &mut found)?;
        }
        let mut late: Vec<(i64, Arc<Histogram>)> = series
            .late
            .iter()
            .filter(|(written, at, _)| *written <= epoch && range.contains(*at))
            .map(|(_, at, value)| (*at, Arc::clone(value)))
            .collect();
        drop(all);
        out.overlay(found);
        // Stable: of equal timestamps the one that arrived last stays last, and wins.
        late.sort_by_key(|(at, _)| *at);
        let mut sorted = Histograms::default();
        late.into_iter().for_each(|(at, value)| sorted.push(at, value));
        out.overlay(sorted);
        Some(())
    }

    /// Whether a series has histograms.
    pub(crate) fn contains(&self, id: SeriesId) -> bool {
        self.samples() > 0 && self.series.read().contains_key(&id)
    }

    /// Series that have histograms, in no order.
    pub(crate) fn ids(&self) -> Vec<SeriesId> {
        self.series.read().keys().copied().collect()
    }

    /// Stretches of time that hold all histograms of a series, which is no longer written; they may overlap.
    pub(crate) fn stretches(&self, id: SeriesId) -> Vec<(i64, i64)> {
        if self.samples() == 0 {
            return Vec::new();
        }
        let all = self.series.read();
        let Some(series) = all.get(&id) else { return Vec::new() };
        let streams = series
            .streams
            .iter()
            .filter_map(|s| Some((*s.timestamps.first()?, *s.timestamps.last()?)));
        streams.chain(series.late.iter().map(|(_, at, _)| (*at, *at))).collect()
    }

    /// Histograms that were appended, those that others overwrite included.
    pub(crate) fn samples(&self) -> u64 {
        self.samples.load(Ordering::Relaxed)
    }

    /// Series that have histograms.
    pub(crate) fn series(&self) -> u64 {
        if self.samples() == 0 {
            0
        } else {
            self.series.read().len() as u64
        }
    }

    /// Bytes of memory, counted.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Series {
    /// Takes a histogram and answers by how many bytes it grew.
    fn push(&mut self, at: i64, value: &Arc<Histogram>, epoch: u64) -> isize {
        if let Some((last, before)) = &self.last {
            if at == *last && self.late.is_empty() && before == value {
                // Sent again, as senders do that saw no answer.
                return 0;
            }
            if at <= *last {
                self.late.push((epoch, at, Arc::clone(value)));
                return (value.bytes() + size_of::<(u64, i64, Arc<Histogram>)>()) as isize;
            }
        }
        let kept = self.last.as_ref().map_or(0, |(_, value)| value.bytes());
        self.last = Some((at, Arc::clone(value)));
        let mut grown = value.bytes() as isize - kept as isize;
        if self.streams.last().is_none_or(|s| s.timestamps.len() >= SEAL_SAMPLES) {
            if let Some(full) = self.streams.last_mut() {
                let before = full.bytes();
                full.rows.shrink_to_fit();
                full.written.shrink_to_fit();
                grown -= (before - full.bytes()) as isize;
            }
            self.streams.push(Stream::default());
            grown += size_of::<Stream>() as isize;
        }
        if let Some(stream) = self.streams.last_mut() {
            let before = stream.bytes();
            stream.push(at, value, epoch);
            grown += (stream.bytes() - before) as isize;
        }
        grown
    }
}

impl Stream {
    fn push(&mut self, at: i64, value: &Histogram, epoch: u64) {
        self.timestamps.push(at);
        row::put(&mut self.rows, value, &mut self.frame);
        let count = self.timestamps.len() as u32;
        match self.written.last_mut() {
            Some((written, n)) if *written == epoch => *n = count,
            _ => self.written.push((epoch, count)),
        }
    }

    fn read(&self, range: TimeRange, epoch: u64, out: &mut Histograms) -> Option<()> {
        let (Some(&first), Some(&last)) = (self.timestamps.first(), self.timestamps.last()) else {
            return Some(());
        };
        if !range.overlaps(first, last) {
            return Some(());
        }
        let seen = self.written.partition_point(|(written, _)| *written <= epoch);
        let visible = seen.checked_sub(1).map_or(0, |i| self.written[i].1 as usize);
        let (mut rest, mut frame) = (self.rows.as_slice(), Frame::default());
        for &at in &self.timestamps[..visible] {
            if at > range.end.0 {
                break;
            }
            let value = row::take(&mut rest, &mut frame)?;
            if at >= range.start.0 {
                out.push(at, Arc::new(value));
            }
        }
        Some(())
    }

    fn bytes(&self) -> usize {
        self.rows.capacity()
            + self.timestamps.capacity() * size_of::<i64>()
            + self.written.capacity() * size_of::<(u64, u32)>()
    }
}
