//! Where a query reads series from.

use std::error::Error;

use crate::{Labels, Matcher, Samples, SeriesId, Snapshot, TimeRange};

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
}

/// Series in memory: for tests, and for evaluating rules over synthetic samples.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    // In label order.
    series: Vec<(Labels, Samples)>,
}

impl Memory {
    /// Sets the samples of a series, which have to be in time order; a series of the same labels is replaced.
    pub fn insert(&mut self, labels: Labels, samples: Samples) {
        match self.series.binary_search_by(|(known, _)| known.cmp(&labels)) {
            Ok(at) => self.series[at].1 = samples,
            Err(at) => self.series.insert(at, (labels, samples)),
        }
    }
}

impl Source for Memory {
    fn select(&self, matchers: &[Matcher], _range: TimeRange) -> Result<Vec<SeriesId>, SourceError> {
        let picked = self
            .series
            .iter()
            .enumerate()
            .filter(|(_, (labels, _))| matchers.iter().all(|m| m.matches_labels(labels)));
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
}
