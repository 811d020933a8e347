//! The one way to read: head and parts as they were at one instant.

use crate::error::StoreError;
use crate::series::{Labels, Matcher, Samples, SeriesId, SeriesKey, TimeRange};

/// Head and parts as they were at one instant; later appends, flushes and merges do not show in it. Cheap to take and to clone.
#[derive(Clone, Debug)]
pub struct Snapshot {}

impl Snapshot {
    /// Series that meet all `matchers` and may have samples within `range`, in the order of their labels.
    ///
    /// # Errors
    /// None at present; reading the index from disk may fail one day.
    pub fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<SeriesId>, StoreError> {
        let _ = (matchers, range);
        todo!()
    }

    /// The labels of a series that [`Snapshot::select`] gave out; no labels for any other number.
    #[must_use]
    pub fn labels(&self, id: SeriesId) -> Labels {
        let _ = id;
        todo!()
    }

    /// The key of a series that [`Snapshot::select`] gave out.
    #[must_use]
    pub fn key(&self, id: SeriesId) -> SeriesKey {
        let _ = id;
        todo!()
    }

    /// Appends the samples of a series within `range` to `out`: ascending, one a timestamp, the one written last.
    ///
    /// # Errors
    /// [`StoreError`] when a part cannot be read; `out` is then as it was.
    pub fn read(&self, id: SeriesId, range: TimeRange, out: &mut Samples) -> Result<(), StoreError> {
        let _ = (id, range, out);
        todo!()
    }

    /// Names of all labels of the series that meet `matchers`, sorted.
    ///
    /// # Errors
    /// As [`Snapshot::select`].
    pub fn label_names(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<String>, StoreError> {
        let _ = (matchers, range);
        todo!()
    }

    /// Values of label `name` of the series that meet `matchers`, sorted.
    ///
    /// # Errors
    /// As [`Snapshot::select`].
    pub fn label_values(&self, name: &str, matchers: &[Matcher], range: TimeRange) -> Result<Vec<String>, StoreError> {
        let _ = (name, matchers, range);
        todo!()
    }

    /// First and last timestamp of all samples, `None` where there are none.
    #[must_use]
    pub fn time_range(&self) -> Option<TimeRange> {
        todo!()
    }
}
