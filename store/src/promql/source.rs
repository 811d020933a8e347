//! Where a query reads series from.

use std::error::Error;

use super::reuse::Versioned;
use crate::{Coarseness, Histograms, Labels, Matcher, RolledColumn, Samples, SeriesId, Snapshot, TimeRange};

/// A failure to read, boxed: what it is depends on the source.
pub type SourceError = Box<dyn Error + Send + Sync>;

/// Series as a query sees them: one unchanging state, shared by all threads of the query.
pub trait Source: Send + Sync {
    /// The series that meet all `matchers` and may have samples in `range`, in label order.
    ///
    /// # Errors
    /// Whatever keeps the source from being read.
    fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<SeriesId>, SourceError>;

    /// The labels of a selected series.
    fn labels(&self, id: SeriesId) -> Labels;

    /// Appends the samples of a selected series within `range` to `out`, in time order, one a timestamp.
    ///
    /// # Errors
    /// Whatever keeps the source from being read.
    fn read(&self, id: SeriesId, range: TimeRange, out: &mut Samples) -> Result<(), SourceError>;

    /// Whether a selected series may have native histograms beside, or instead of, numbers.
    fn has_histograms(&self, id: SeriesId) -> bool;

    /// Appends the histograms of a selected series within `range` to `out`, which is empty, in time order, one a timestamp.
    ///
    /// # Errors
    /// Whatever keeps the source from being read.
    fn read_histograms(&self, id: SeriesId, range: TimeRange, out: &mut Histograms) -> Result<(), SourceError>;

    /// Up to when rollups tell of time instead of samples.
    fn coarseness(&self) -> Coarseness {
        Coarseness::NONE
    }

    /// Appends one value of each bucket of rollups within `range`, at its end, then those of samples after them, and of how many
    /// samples each is; see [`Snapshot::read_column`]. Asked only where [`Source::coarseness`] says that there are rollups.
    ///
    /// # Errors
    /// Whatever keeps the source from being read.
    fn read_column(
        &self,
        id: SeriesId,
        range: TimeRange,
        column: RolledColumn,
        out: &mut Samples,
        counts: &mut Vec<f64>,
    ) -> Result<(), SourceError> {
        let base = out.len();
        self.read(id, range, out)?;
        counts.extend(out.values[base..].iter().map(|_| 1.0));
        if column == RolledColumn::Count {
            out.values[base..].fill(1.0);
        }
        Ok(())
    }

    /// What it knows of its changes, where it does: then answers of range queries can be kept.
    fn versioned(&self) -> Option<&dyn Versioned> {
        None
    }
}

impl Source for Snapshot {
    fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<SeriesId>, SourceError> {
        Ok(Self::select(self, matchers, range)?)
    }

    fn labels(&self, id: SeriesId) -> Labels {
        Self::labels(self, id)
    }

    fn read(&self, id: SeriesId, range: TimeRange, out: &mut Samples) -> Result<(), SourceError> {
        Ok(Self::read(self, id, range, out)?)
    }

    fn has_histograms(&self, id: SeriesId) -> bool {
        Self::has_histograms(self, id)
    }

    fn read_histograms(&self, id: SeriesId, range: TimeRange, out: &mut Histograms) -> Result<(), SourceError> {
        Ok(Self::read_histograms(self, id, range, out)?)
    }

    fn coarseness(&self) -> Coarseness {
        Self::coarseness(self)
    }

    fn read_column(
        &self,
        id: SeriesId,
        range: TimeRange,
        column: RolledColumn,
        out: &mut Samples,
        counts: &mut Vec<f64>,
    ) -> Result<(), SourceError> {
        Ok(Self::read_column(self, id, range, column, out, counts)?)
    }

    fn versioned(&self) -> Option<&dyn Versioned> {
        Some(self)
    }
}

/// Series in memory: for tests, and for evaluating rules over synthetic samples.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    // In label order.
    series: Vec<(Labels, Samples, Histograms)>,
}

impl Memory {
    /// Sets the samples of a series, which have to be in time order; a series of the same labels is replaced.
    pub fn insert(&mut self, labels: Labels, samples: Samples) {
        self.insert_mixed(labels, samples, Histograms::default());
    }

    /// Sets the numbers and the histograms of a series, each of which have to be in time order.
    pub fn insert_mixed(&mut self, labels: Labels, samples: Samples, histograms: Histograms) {
        match self.series.binary_search_by(|(known, ..)| known.cmp(&labels)) {
            Ok(at) => (self.series[at].1, self.series[at].2) = (samples, histograms),
            Err(at) => self.series.insert(at, (labels, samples, histograms)),
        }
    }
}

impl Source for Memory {
    fn select(&self, matchers: &[Matcher], _range: TimeRange) -> Result<Vec<SeriesId>, SourceError> {
        let picked = self
            .series
            .iter()
            .enumerate()
            .filter(|(_, (labels, ..))| matchers.iter().all(|m| m.matches_labels(labels)));
        Ok(picked.map(|(i, _)| SeriesId(i as u32)).collect())
    }

    fn labels(&self, id: SeriesId) -> Labels {
        self.series[id.0 as usize].0.clone()
    }

    fn read(&self, id: SeriesId, range: TimeRange, out: &mut Samples) -> Result<(), SourceError> {
        let samples = &self.series[id.0 as usize].1;
        let start = samples.timestamps.partition_point(|&t| t < range.start.0);
        let end = samples.timestamps.partition_point(|&t| t <= range.end.0);
        if start < end {
            out.timestamps.extend_from_slice(&samples.timestamps[start..end]);
            out.values.extend_from_slice(&samples.values[start..end]);
        }
        Ok(())
    }

    fn has_histograms(&self, id: SeriesId) -> bool {
        !self.series[id.0 as usize].2.is_empty()
    }

    fn read_histograms(&self, id: SeriesId, range: TimeRange, out: &mut Histograms) -> Result<(), SourceError> {
        out.clone_from(&self.series[id.0 as usize].2);
        out.keep(range.start.0, range.end.0);
        Ok(())
    }
}
