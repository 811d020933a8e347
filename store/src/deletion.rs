//! Deleting by matcher: gone for every reader at once, gone from the disk when parts are rewritten.
//!
//! ```text
//! delete ─► flush (all that is acknowledged lies in parts) ─► manifest: keys, time, "parts below n" ─► readers' view
//!                                                               │ an hour later, or at once when asked
//!                                                               └► the parts in question are rewritten without the samples
//! ```
//! A deletion speaks of parts with smaller numbers than the next one had when it was made, so that samples that are written later
//! are untouched, also where they have the same timestamps. A part that is written afterwards, by a merge as well, holds nothing of
//! what was deleted: merges leave it out.
//!
//! The manifest is the only place where a deletion stands. One that is lost together with a damaged manifest comes to light again
//! in parts that were not rewritten yet.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::compaction::Plan;
use crate::error::StoreError;
use crate::histogram::Histograms;
use crate::manifest::Manifest;
use crate::part::{Part, PartId};
use crate::rollup::Buckets;
use crate::series::{Matcher, Samples, SeriesId, SeriesKey, TimeRange};
use crate::store::{Shared, View};

/// Parts are rewritten so long after a deletion: others may follow it, and one rewrite serves them all.
const GRACE_MS: i64 = 3_600_000;

/// Series that all deletions together may name until parts are rewritten: the manifest holds them.
const KEYS_MAX: usize = 200_000;

/// Samples that were deleted and may lie in parts still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deletion {
    /// Parts with smaller numbers are meant.
    pub(crate) before: u64,
    /// When it was made, by the clock.
    pub(crate) made_ms: i64,
    /// First and last instant that are meant.
    pub(crate) t_min: i64,
    pub(crate) t_max: i64,
    /// The series.
    #[serde(serialize_with = "hex", deserialize_with = "unhex")]
    pub(crate) keys: Vec<SeriesKey>,
}

/// 32 hexadecimal digits a key, in one text.
fn hex<S: Serializer>(keys: &[SeriesKey], serializer: S) -> Result<S::Ok, S::Error> {
    let text: String = keys.iter().map(|key| format!("{:032x}", key.0)).collect();
    serializer.serialize_str(&text)
}

fn unhex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SeriesKey>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = || serde::de::Error::custom("keys of series are not hexadecimal");
    if text.len() % 32 != 0 {
        return Err(wrong());
    }
    (0..text.len() / 32)
        .map(|i| {
            let digits = text.get(32 * i..32 * (i + 1)).ok_or_else(wrong)?;
            u128::from_str_radix(digits, 16).map(SeriesKey).map_err(|_| wrong())
        })
        .collect()
}

impl Deletion {
    fn concerns(&self, part: &Part) -> bool {
        let meta = part.meta();
        meta.id.0 < self.before
            && self.t_min <= meta.t_max
            && part.begins_ms() <= self.t_max
            && self.keys.iter().any(|key| part.row_of(*key).is_some())
    }
}

/// All deletions, as reading needs them.
#[derive(Debug, Default)]
pub(crate) struct Deleted {
    by_key: HashMap<SeriesKey, Vec<Span>>,
    /// For merges alone: samples before these instants are left out as well.
    horizons: HashMap<SeriesKey, i64>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    before: u64,
    t_min: i64,
    t_max: i64,
}

impl Deleted {
    pub(crate) fn new(deletions: &[Deletion]) -> Self {
        let mut by_key: HashMap<SeriesKey, Vec<Span>> = HashMap::new();
        for Deletion {
            before,
            t_min,
            t_max,
            keys,
            ..
        } in deletions
        {
            let span = Span {
                before: *before,
                t_min: *t_min,
                t_max: *t_max,
            };
            for key in keys {
                by_key.entry(*key).or_default().push(span);
            }
        }
        Self {
            by_key,
            horizons: HashMap::new(),
        }
    }

    /// The same, and all samples of these series before these instants.
    pub(crate) fn and_before(self, horizons: HashMap<SeriesKey, i64>) -> Self {
        Self { horizons, ..self }
    }

    /// Takes out what retention's rules drop; answers how many samples that were.
    pub(crate) fn take_out_old(&self, key: SeriesKey, samples: &mut Samples) -> usize {
        let Some(horizon) = self.horizons.get(&key) else {
            return 0;
        };
        let old = samples.timestamps.partition_point(|at| at < horizon);
        samples.timestamps.drain(..old);
        samples.values.drain(..old);
        old
    }

    /// Takes what was deleted out of the samples that `part` holds of a series: those of `samples` from place `from` on.
    #[inline]
    pub(crate) fn take_out(&self, key: SeriesKey, part: PartId, from: usize, samples: &mut Samples) {
        if self.by_key.is_empty() {
            return;
        }
        for span in self
            .by_key
            .get(&key)
            .into_iter()
            .flatten()
            .filter(|span| part.0 < span.before)
        {
            let first = from + samples.timestamps[from..].partition_point(|&at| at < span.t_min);
            let end = first + samples.timestamps[first..].partition_point(|&at| at <= span.t_max);
            samples.timestamps.drain(first..end);
            samples.values.drain(first..end);
        }
    }

    /// The same of histograms; answers how many were deleted, and how many retention's rules drop.
    pub(crate) fn take_out_histograms(
        &self,
        key: SeriesKey,
        part: PartId,
        histograms: &mut Histograms,
    ) -> (usize, usize) {
        let all = histograms.len();
        for span in self.by_key.get(&key).into_iter().flatten() {
            if part.0 < span.before {
                histograms.remove(span.t_min, span.t_max);
            }
        }
        let left = histograms.len();
        if let Some(horizon) = self.horizons.get(&key) {
            histograms.remove(i64::MIN, horizon.saturating_sub(1));
        }
        (all - left, left - histograms.len())
    }

    /// Takes out the buckets that a part of rollups holds of a series and that reach into what was deleted.
    pub(crate) fn take_out_buckets(&self, key: SeriesKey, part: PartId, resolution_ms: i64, buckets: &mut Buckets) {
        for span in self.by_key.get(&key).into_iter().flatten() {
            if part.0 < span.before {
                buckets.remove_within(span.t_min, span.t_max, resolution_ms);
            }
        }
    }

    /// Takes out the buckets that retention's rules drop: those that end before what they keep.
    pub(crate) fn take_out_old_buckets(&self, key: SeriesKey, resolution_ms: i64, buckets: &mut Buckets) {
        if let Some(horizon) = self.horizons.get(&key) {
            buckets.remove_before(*horizon, resolution_ms);
        }
    }

    /// Whether nothing is left of what `part`, of these bounds, may hold of a series.
    fn covers(&self, key: SeriesKey, part: &Part) -> bool {
        let meta = part.meta();
        let spans = self.by_key.get(&key).into_iter().flatten();
        spans
            .filter(|span| meta.id.0 < span.before)
            .any(|span| span.t_min <= part.begins_ms() && meta.t_max <= span.t_max)
    }
}

impl Shared {
    /// Deletes the samples within `range` of all series that meet any of `sets`; answers how many series had some there.
    pub(crate) fn delete(&self, sets: &[Vec<Matcher>], range: TimeRange) -> Result<u64, StoreError> {
        let flushing = self.open_for(&self.flushing)?;
        self.flush_held()?;
        let view = self.view();
        let mut found: Vec<(SeriesId, SeriesKey)> = Vec::new();
        for set in sets {
            let ids = self.table.select(set, range, self.table.len());
            found.extend(ids.into_iter().map(|id| (id, SeriesKey::of(self.table.canonical(id)))));
        }
        found.sort_unstable();
        found.dedup();
        let meant: HashSet<SeriesId> = found.iter().map(|(id, _)| *id).collect();
        let rolled = view.rolled.parts.iter().map(|(_, part)| part);
        let parts: Vec<&Arc<Part>> = view
            .parts
            .iter()
            .chain(rolled)
            .filter(|part| range.overlaps(part.begins_ms(), part.meta().t_max))
            .collect();
        found.retain(|(_, key)| parts.iter().any(|part| part.row_of(*key).is_some()));
        if found.is_empty() {
            self.exemplars.forget(&meant, range);
            return Ok(0);
        }
        let made_ms = self.options.clock.now_ms();
        self.change_deletions(|manifest| {
            let named = manifest
                .deletions
                .iter()
                .map(|deletion| deletion.keys.len())
                .sum::<usize>();
            if named + found.len() > KEYS_MAX {
                return Err(StoreError::TooManyDeleted {
                    series: found.len(),
                    limit: KEYS_MAX,
                });
            }
            manifest.deletions.push(Deletion {
                before: manifest.next_part,
                made_ms,
                t_min: range.start.0,
                t_max: range.end.0,
                keys: found.iter().map(|(_, key)| *key).collect(),
            });
            Ok(())
        })?;
        self.exemplars.forget(&meant, range);
        self.forget(found.iter().map(|(id, _)| *id), range);
        drop(flushing);
        Ok(found.len() as u64)
    }

    /// Series of which nothing is left do not show in lists of series and label values any more, until they are written again.
    fn forget(&self, ids: impl Iterator<Item = SeriesId>, range: TimeRange) {
        // With both held no sample is on its way between the bounds of its series and the head.
        let _wal = self.wal.lock();
        let _applying = self.commit.applying.lock();
        let active = Arc::clone(&self.view().active);
        for id in ids {
            if let Some(entry) = self.table.entry(id)
                && active.stretches(id).is_empty()
            {
                entry.forget_within(range);
            }
        }
    }

    /// At a start, after the parts' series are known and before the WAL is read.
    pub(crate) fn forget_deleted<'a, Parts: Iterator<Item = &'a Arc<Part>>>(
        table: &crate::series_table::SeriesTable,
        deletions: &[Deletion],
        parts: impl Fn() -> Parts,
    ) {
        let deleted = Deleted::new(deletions);
        for key in deleted.by_key.keys() {
            let mut holding = parts().filter(|part| part.row_of(*key).is_some());
            if let Some(entry) = table.find_by_key(*key).and_then(|id| table.entry(id))
                && holding.all(|part| deleted.covers(*key, part))
            {
                entry.forget_within(TimeRange::ALL);
            }
        }
    }

    /// Commits a manifest with other deletions and shows these to readers; after an error the old ones still hold. The manifest is
    /// held throughout, so that who deletes and who cleans up show theirs in the order in which they were committed.
    fn change_deletions(&self, change: impl FnOnce(&mut Manifest) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut manifest = self.manifest.lock();
        let mut next = manifest.clone();
        change(&mut next)?;
        next.commit(&self.dir)?;
        *manifest = next;
        let deleted = Arc::new(Deleted::new(&manifest.deletions));
        let mut gate = self.gate.lock();
        let mut view = View::clone(&gate.view);
        view.deleted = deleted;
        gate.view = Arc::new(view);
        gate.changed(i64::MIN);
        Ok(())
    }

    /// Rewrites every part that holds deleted samples, now.
    pub(crate) fn clean_deleted(&self) -> Result<(), StoreError> {
        let _compacting = self.open_for(&self.compacting)?;
        self.rewrite_deleted(i64::MAX)
    }

    /// Rewrites the parts that hold what was deleted a while ago. Called with `compacting` held.
    pub(crate) fn clean_deleted_due(&self, now_ms: i64) -> Result<(), StoreError> {
        self.rewrite_deleted(now_ms.saturating_sub(GRACE_MS))
    }

    fn rewrite_deleted(&self, made_until_ms: i64) -> Result<(), StoreError> {
        let deletions = self.manifest.lock().deletions.clone();
        if deletions.iter().all(|deletion| deletion.made_ms > made_until_ms) {
            return Ok(());
        }
        while !self.is_closed() {
            let parts = self.view().parts.clone();
            let unmergeable = self.unmergeable.lock().clone();
            let due = |part: &&Arc<Part>| {
                if unmergeable.contains(&part.meta().id) {
                    return false;
                }
                let mut due = deletions.iter().filter(|deletion| deletion.made_ms <= made_until_ms);
                due.any(|deletion| deletion.concerns(part))
            };
            let Some(part) = parts.iter().find(due) else { break };
            self.merge(&Plan {
                inputs: vec![part.meta().id],
                level: part.meta().level,
            })?;
        }
        self.rewrite_rollups(|part| {
            let mut due = deletions.iter().filter(|deletion| deletion.made_ms <= made_until_ms);
            due.any(|deletion| deletion.concerns(part))
        })?;
        // What concerns no part any more has done its work.
        let view = self.view();
        let rolled = || view.rolled.parts.iter().map(|(_, part)| part);
        let is_over = |deletion: &Deletion| !view.parts.iter().chain(rolled()).any(|part| deletion.concerns(part));
        if deletions.iter().any(is_over) {
            self.change_deletions(|manifest| {
                manifest
                    .deletions
                    .retain(|deletion| !deletions.contains(deletion) || !is_over(deletion));
                Ok(())
            })?;
        }
        Ok(())
    }
}
