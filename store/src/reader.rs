//! The one way to read: head and parts as they were at one instant.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::StoreError;
use crate::head::merge;
use crate::histogram::Histograms;
use crate::promql::{ResultCache, Versioned};
use crate::rollup::read::{Coarseness, Rolled, RolledColumn};
use crate::series::{Labels, Matcher, Samples, SeriesId, SeriesKey, TimeRange, is_stale};
use crate::series_table::Entry;
use crate::store::{Shared, View};

#[cfg(test)]
mod tests;

/// Head and parts as they were at one instant; later appends, flushes and merges do not show in it. Cheap to take and to clone.
///
/// While it lives, the files of its parts and the memory of its head stay: hold it as long as a query, not longer.
#[derive(Clone, Debug)]
pub struct Snapshot(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    view: Arc<View>,
    epoch: u64,
    // Series registered later do not exist for it.
    series: u32,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut living = self.shared.living.lock();
        if let Some(count) = living.get_mut(&self.epoch) {
            *count -= 1;
            if *count == 0 {
                living.remove(&self.epoch);
            }
        }
    }
}

impl Versioned for Snapshot {
    fn cache(&self) -> &ResultCache {
        &self.0.shared.results
    }

    fn version(&self) -> u64 {
        self.0.epoch
    }

    fn oldest_change_since(&self, version: u64) -> i64 {
        self.0.shared.gate.lock().changes.oldest_since(version)
    }
}

impl Snapshot {
    pub(crate) fn take(shared: &Arc<Shared>) -> Self {
        let (view, epoch) = {
            let mut gate = shared.gate.lock();
            if gate.written {
                gate.epoch += 1;
                gate.written = false;
            }
            let epoch = gate.epoch - 1;
            *shared.living.lock().entry(epoch).or_default() += 1;
            (Arc::clone(&gate.view), epoch)
        };
        Self(Arc::new(Inner {
            shared: Arc::clone(shared),
            view,
            epoch,
            series: shared.table.len(),
        }))
    }

    /// Series that meet all `matchers` and may have samples within `range`, in the order of their labels.
    ///
    /// # Errors
    /// None at present: the index is in memory.
    pub fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<SeriesId>, StoreError> {
        Ok(self.0.shared.table.select(matchers, range, self.0.series))
    }

    /// A bound on how many series have all of these labels, at any time: as many as have the rarest. It costs a look-up a label.
    #[must_use]
    pub fn series_at_most<'a>(&self, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> u64 {
        self.0.shared.table.at_most(labels).min(u64::from(self.0.series))
    }

    /// The labels of a series that [`Snapshot::select`] gave out; no labels for any other number.
    #[must_use]
    pub fn labels(&self, id: SeriesId) -> Labels {
        self.0
            .shared
            .table
            .entry(id)
            .map_or_else(Labels::empty, |entry| entry.labels().clone())
    }

    /// The key of a series that [`Snapshot::select`] gave out.
    #[must_use]
    pub fn key(&self, id: SeriesId) -> SeriesKey {
        SeriesKey::of(self.0.shared.table.canonical(id))
    }

    /// Appends the samples of a series within `range` to `out`: ascending, one a timestamp, the one written last.
    ///
    /// # Errors
    /// [`StoreError::Parts`] when a part cannot be read; `out` is then as it was.
    pub fn read(&self, id: SeriesId, range: TimeRange, out: &mut Samples) -> Result<(), StoreError> {
        let base = out.len();
        let result = self.read_after(id, range, out);
        if result.is_err() {
            out.timestamps.truncate(base);
            out.values.truncate(base);
        }
        result
    }

    fn read_after(&self, id: SeriesId, range: TimeRange, out: &mut Samples) -> Result<(), StoreError> {
        let Inner {
            shared, view, epoch, ..
        } = &*self.0;
        let Some(labels) = shared.table.entry(id).map(Entry::labels) else {
            return Ok(());
        };
        let rolled = &view.rolled;
        if rolled.coarseness.resolution_at(range.start.0) > 0 {
            rolled.read(labels.key(), range, &view.deleted, out)?;
        }
        let Some(range) = rolled.coarseness.raw(range) else {
            return Ok(());
        };
        // What is told by rollups comes before all samples.
        let base = out.len();
        let mut parts = view
            .parts
            .iter()
            .filter(|p| range.overlaps(p.meta().t_min, p.meta().t_max))
            .peekable();
        if parts.peek().is_some() {
            let key = labels.key();
            let mut newer = Samples::default();
            for part in parts {
                let Some(row) = part.row_of(key) else { continue };
                let id = part.meta().id;
                if out.len() == base {
                    part.read(row, range, out)?;
                    view.deleted.take_out(key, id, base, out);
                } else {
                    newer.clear();
                    part.read(row, range, &mut newer)?;
                    view.deleted.take_out(key, id, 0, &mut newer);
                    merge(out, base, &newer);
                }
            }
        }
        for memtable in view.frozen.iter().map(|frozen| &frozen.memtable).chain([&view.active]) {
            memtable
                .read(id, range, *epoch, base, out)
                .ok_or(StoreError::DamagedHead(id))?;
        }
        Ok(())
    }

    /// Whether a series may have histograms beside, or instead of, numbers; then [`Snapshot::read_histograms`] reads them.
    #[must_use]
    pub fn has_histograms(&self, id: SeriesId) -> bool {
        let Inner { shared, view, .. } = &*self.0;
        let Some(labels) = shared.table.entry(id).map(Entry::labels) else {
            return false;
        };
        let mut memtables = view.frozen.iter().map(|frozen| &frozen.memtable).chain([&view.active]);
        if memtables.any(|memtable| memtable.histograms().contains(id)) {
            return true;
        }
        if !view.rolled.parts.is_empty() && view.rolled.has_histograms(labels.key()) {
            return true;
        }
        let mut parts = view.parts.iter().filter(|part| part.may_have_histograms()).peekable();
        if parts.peek().is_none() {
            return false;
        }
        let key = labels.key();
        parts.any(|part| part.row_of(key).is_some_and(|row| part.has_histograms(row)))
    }

    /// Merges the histograms of a series within `range` into `out`: ascending, one a timestamp, the one written last.
    ///
    /// # Errors
    /// [`StoreError::Parts`] when a part cannot be read.
    pub fn read_histograms(&self, id: SeriesId, range: TimeRange, out: &mut Histograms) -> Result<(), StoreError> {
        let Inner {
            shared, view, epoch, ..
        } = &*self.0;
        let Some(labels) = shared.table.entry(id).map(Entry::labels) else {
            return Ok(());
        };
        let key = labels.key();
        view.rolled.read_histograms(key, range, &view.deleted, out)?;
        let Some(range) = view.rolled.coarseness.raw(range) else {
            return Ok(());
        };
        for part in view.parts.iter().filter(|part| part.may_have_histograms()) {
            let Some(row) = part.row_of(key) else { continue };
            let mut newer = Histograms::default();
            part.read_histograms(row, range, &mut newer)?;
            view.deleted.take_out_histograms(key, part.meta().id, &mut newer);
            out.overlay(newer);
        }
        for memtable in view.frozen.iter().map(|frozen| &frozen.memtable).chain([&view.active]) {
            memtable
                .histograms()
                .read(id, range, *epoch, out)
                .ok_or(StoreError::DamagedHead(id))?;
        }
        Ok(())
    }

    /// Up to when rollups tell of time instead of samples: [`Snapshot::read`] then gives the samples that were kept.
    #[must_use]
    pub fn coarseness(&self) -> Coarseness {
        self.0.view.rolled.coarseness
    }

    /// Appends one value of each bucket of a series that ends within `range`, at its end, then those of the samples after all
    /// buckets, one each: themselves, or 1 for [`RolledColumn::Count`]; to `counts`, of how many samples each of these values is.
    /// Staleness markers are left out.
    ///
    /// # Errors
    /// [`StoreError::Parts`] when a part cannot be read.
    pub fn read_column(
        &self,
        id: SeriesId,
        range: TimeRange,
        column: RolledColumn,
        out: &mut Samples,
        counts: &mut Vec<f64>,
    ) -> Result<(), StoreError> {
        let Inner { shared, view, .. } = &*self.0;
        let Some(labels) = shared.table.entry(id).map(Entry::labels) else {
            return Ok(());
        };
        view.rolled
            .read_column(labels.key(), range, column, &view.deleted, out, counts)?;
        let Some(range) = view.rolled.coarseness.raw(range) else {
            return Ok(());
        };
        let mut samples = Samples::default();
        self.read(id, range, &mut samples)?;
        for (at, value) in samples.iter().filter(|(_, value)| !is_stale(*value)) {
            out.push(at, if column == RolledColumn::Count { 1.0 } else { value });
            counts.push(1.0);
        }
        Ok(())
    }

    /// Appends the buckets of a series that end within `range`.
    ///
    /// # Errors
    /// [`StoreError::Parts`] when a part cannot be read.
    pub fn read_buckets(&self, id: SeriesId, range: TimeRange, out: &mut Rolled) -> Result<(), StoreError> {
        let Inner { shared, view, .. } = &*self.0;
        match shared.table.entry(id).map(Entry::labels) {
            Some(labels) => view.rolled.read_rows(labels.key(), range, &view.deleted, out),
            None => Ok(()),
        }
    }

    /// Names of all labels of the series that meet `matchers`, sorted.
    ///
    /// # Errors
    /// As [`Snapshot::select`].
    pub fn label_names(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<String>, StoreError> {
        let Inner { shared, series, .. } = &*self.0;
        if matchers.is_empty() {
            return Ok(shared.table.label_names(range, *series));
        }
        let ids = self.select(matchers, range)?;
        let labels = ids
            .iter()
            .filter_map(|id| shared.table.entry(*id))
            .flat_map(|entry| entry.labels().iter());
        let names: BTreeSet<&str> = labels.map(|(name, _)| name).collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    /// Values of label `name` of the series that meet `matchers`, sorted.
    ///
    /// # Errors
    /// As [`Snapshot::select`].
    pub fn label_values(&self, name: &str, matchers: &[Matcher], range: TimeRange) -> Result<Vec<&str>, StoreError> {
        let Inner { shared, series, .. } = &*self.0;
        if matchers.is_empty() {
            return Ok(shared.table.label_values(name, range, *series));
        }
        let ids = self.select(matchers, range)?;
        let entries = ids.iter().filter_map(|id| shared.table.entry(*id));
        let values: BTreeSet<&str> = entries.filter_map(|entry| entry.labels().get(name)).collect();
        Ok(values.into_iter().collect())
    }

    /// A bound on how many names of labels there are, or values of one, at any time.
    #[must_use]
    pub fn labels_at_most(&self, name: Option<&str>) -> u64 {
        self.0.shared.table.label_count(name) as u64
    }

    /// First and last timestamp of all samples, `None` where there are none.
    #[must_use]
    pub fn time_range(&self) -> Option<TimeRange> {
        let view = &self.0.view;
        let rolled = view.rolled.parts.iter().map(|(_, part)| part);
        let parts = view.parts.iter().chain(rolled);
        let parts = parts.map(|part| (part.begins_ms(), part.meta().t_max));
        let memtables = view.frozen.iter().map(|frozen| &frozen.memtable).chain([&view.active]);
        let bounds = parts.chain(memtables.filter_map(|memtable| memtable.bounds()));
        let (t_min, t_max) = bounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        Some(TimeRange::millis(t_min, t_max))
    }
}
