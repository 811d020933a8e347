//! Rollups as readers see them.

use std::sync::Arc;

use super::{Buckets, DAY_MS, FIVE_MINUTES_MS, HOUR_MS, end_of};
use crate::codec::rollups::Wanted;
use crate::deletion::Deleted;
use crate::error::StoreError;
use crate::histogram::Histograms;
use crate::part::Part;
use crate::series::{Samples, SeriesKey, TimeRange};

/// Up to when which buckets tell of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coarseness {
    hours_until_ms: i64,
    until_ms: i64,
}

impl Coarseness {
    /// Every instant is told by samples.
    pub const NONE: Self = Self {
        hours_until_ms: i64::MIN,
        until_ms: i64::MIN,
    };

    /// The last instant that rollups tell of, `None` where there are none.
    #[must_use]
    pub fn until_ms(&self) -> Option<i64> {
        (self.until_ms > i64::MIN).then_some(self.until_ms)
    }

    /// Length of the buckets that tell of an instant, in milliseconds; 0 where samples do.
    #[must_use]
    pub fn resolution_at(&self, at_ms: i64) -> i64 {
        if at_ms > self.until_ms || *self == Self::NONE {
            0
        } else if at_ms > self.hours_until_ms {
            FIVE_MINUTES_MS
        } else {
            HOUR_MS
        }
    }

    /// What rollups tell of a range, the coarser buckets first.
    fn rolled(&self, range: TimeRange) -> impl Iterator<Item = (i64, TimeRange)> {
        let (start, end) = (range.start.0, range.end.0);
        let hours = TimeRange::millis(start, end.min(self.hours_until_ms));
        let fine = TimeRange::millis(start.max(self.hours_until_ms.saturating_add(1)), end.min(self.until_ms));
        [(HOUR_MS, hours), (FIVE_MINUTES_MS, fine)]
            .into_iter()
            .filter(move |(_, part)| *self != Self::NONE && part.start <= part.end)
    }

    /// What samples tell of a range, `None` where that is nothing.
    pub(crate) fn raw(&self, range: TimeRange) -> Option<TimeRange> {
        if *self == Self::NONE {
            return Some(range);
        }
        let start = range.start.0.max(self.until_ms.saturating_add(1));
        (start <= range.end.0).then(|| TimeRange::millis(start, range.end.0))
    }
}

/// What is told of the samples in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolledColumn {
    /// How many there were.
    Count,
    /// Their sum.
    Sum,
    /// The least.
    Min,
    /// The greatest.
    Max,
}

impl RolledColumn {
    /// All, in the order in which they are written.
    pub(crate) const ALL: [Self; 4] = [Self::Count, Self::Sum, Self::Min, Self::Max];
}

/// Buckets of a series, a row each, ascending: those of an hour come before those of five minutes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rolled {
    /// Length of each, in milliseconds: it reaches from its end less this, which is not in it, to its end.
    pub resolution_ms: Vec<i64>,
    /// Last instant of each.
    pub ends: Vec<i64>,
    /// Samples in each, staleness markers not counted; at least one.
    pub counts: Vec<f64>,
    /// Their sum.
    pub sums: Vec<f64>,
    /// The least of them; NaN where none is a number.
    pub mins: Vec<f64>,
    /// The greatest of them, likewise.
    pub maxs: Vec<f64>,
}

impl Rolled {
    /// Number of buckets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// Parts of rollups, and up to when they tell of time.
#[derive(Debug)]
pub(crate) struct RolledParts {
    pub(crate) coarseness: Coarseness,
    /// With the length of their buckets: the coarser first, then by time.
    pub(crate) parts: Vec<(i64, Arc<Part>)>,
}

impl Default for RolledParts {
    fn default() -> Self {
        Self {
            coarseness: Coarseness::NONE,
            parts: Vec::new(),
        }
    }
}

impl RolledParts {
    /// `parts` in the order of the manifest.
    pub(crate) fn new(until_ms: i64, parts: Vec<(i64, Arc<Part>)>) -> Self {
        let fine = parts
            .iter()
            .filter(|(resolution_ms, _)| *resolution_ms == FIVE_MINUTES_MS);
        // Where there are buckets of five minutes they are read, from the beginning of their first day on.
        let hours_until_ms = match fine.map(|(_, part)| part.meta().t_min).min() {
            Some(first_end) => end_of(first_end, DAY_MS).saturating_sub(DAY_MS),
            _ => until_ms,
        };
        Self {
            coarseness: Coarseness {
                hours_until_ms: hours_until_ms.min(until_ms),
                until_ms,
            },
            parts,
        }
    }

    /// Hands the buckets of a series that end within `range` and are not deleted to `each`, with their length.
    fn buckets(
        &self,
        key: SeriesKey,
        range: TimeRange,
        wanted: Wanted,
        deleted: &Deleted,
        mut each: impl FnMut(i64, &mut Buckets),
    ) -> Result<(), StoreError> {
        let mut found = Buckets::default();
        for (resolution_ms, range) in self.coarseness.rolled(range) {
            for (_, part) in self.parts.iter().filter(|(of, _)| *of == resolution_ms) {
                let Some(row) = part.row_of(key) else { continue };
                found.clear();
                part.read_buckets(row, range, wanted, &mut found)?;
                deleted.take_out_buckets(key, part.meta().id, resolution_ms, &mut found);
                each(resolution_ms, &mut found);
            }
        }
        Ok(())
    }

    /// Appends the samples of a series that are kept within `range`.
    pub(crate) fn read(
        &self,
        key: SeriesKey,
        range: TimeRange,
        deleted: &Deleted,
        out: &mut Samples,
    ) -> Result<(), StoreError> {
        for (resolution_ms, within) in self.coarseness.rolled(range) {
            // Up to the end of the bucket that the last instant lies in.
            let ends = TimeRange::millis(within.start.0, end_of(within.end.0, resolution_ms));
            self.buckets(key, ends, Wanted::Kept, deleted, |_, found| {
                let kept = &found.kept;
                let from = kept.timestamps.partition_point(|t| *t < within.start.0);
                let to = kept.timestamps.partition_point(|t| *t <= within.end.0).max(from);
                out.timestamps.extend_from_slice(&kept.timestamps[from..to]);
                out.values.extend_from_slice(&kept.values[from..to]);
            })?;
        }
        Ok(())
    }

    /// Merges the histograms of a series that are kept within `range` into `out`.
    pub(crate) fn read_histograms(
        &self,
        key: SeriesKey,
        range: TimeRange,
        deleted: &Deleted,
        out: &mut Histograms,
    ) -> Result<(), StoreError> {
        for (resolution_ms, range) in self.coarseness.rolled(range) {
            let parts = self.parts.iter().filter(|(of, _)| *of == resolution_ms);
            for (_, part) in parts.filter(|(_, part)| part.may_have_histograms()) {
                let Some(row) = part.row_of(key) else { continue };
                let mut found = Histograms::default();
                part.read_histograms(row, range, &mut found)?;
                deleted.take_out_histograms(key, part.meta().id, &mut found);
                out.overlay(found);
            }
        }
        Ok(())
    }

    /// Whether any part of a series may have histograms.
    pub(crate) fn has_histograms(&self, key: SeriesKey) -> bool {
        let mut parts = self.parts.iter().filter(|(_, part)| part.may_have_histograms());
        parts.any(|(_, part)| part.row_of(key).is_some_and(|row| part.has_histograms(row)))
    }

    /// Appends one value of each bucket of a series that ends within `range`, at its end, and of how many samples it is.
    pub(crate) fn read_column(
        &self,
        key: SeriesKey,
        range: TimeRange,
        column: RolledColumn,
        deleted: &Deleted,
        out: &mut Samples,
        counts: &mut Vec<f64>,
    ) -> Result<(), StoreError> {
        self.buckets(key, range, Wanted::Column(column), deleted, |_, found| {
            let values = found.column(column);
            for i in (0..found.len()).filter(|i| found.counts[*i] > 0.0) {
                out.push(found.ends[i], values[i]);
                counts.push(found.counts[i]);
            }
        })
    }

    /// Appends the buckets of a series that end within `range`.
    pub(crate) fn read_rows(
        &self,
        key: SeriesKey,
        range: TimeRange,
        deleted: &Deleted,
        out: &mut Rolled,
    ) -> Result<(), StoreError> {
        self.buckets(key, range, Wanted::Columns, deleted, |resolution_ms, found| {
            for i in (0..found.len()).filter(|i| found.counts[*i] > 0.0) {
                out.resolution_ms.push(resolution_ms);
                out.ends.push(found.ends[i]);
                out.counts.push(found.counts[i]);
                out.sums.push(found.sums[i]);
                out.mins.push(found.mins[i]);
                out.maxs.push(found.maxs[i]);
            }
        })
    }
}
