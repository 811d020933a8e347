//! From head to parts, and from parts to larger parts: everything that changes the manifest of an open store.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::compaction::{self, Plan};
use crate::disk;
use crate::error::StoreError;
use crate::head::Memtable;
use crate::histogram::Histograms;
use crate::identity::host_of;
use crate::manifest::{Found, Manifest, remove_part_files};
use crate::metadata;
use crate::part::{Level, Part, PartError, PartId, PartMeta, PartWriter};
use crate::series::{Labels, Samples, SeriesId, TimeRange};
use crate::store::{Frozen, Shared, View};
use crate::table::{self, Segments, TableChange};
use crate::telemetry::Telemetry;

/// Time that a part from the head covers, aligned to UTC.
const WINDOW_MS: i64 = Level::Flushed.window_ms();
/// A flush of samples from more windows than this writes the older ones by days, and what is older than as many days by months:
/// history that is brought in makes few parts, each of which costs two open files.
const WINDOWS_MAX: usize = 24;
/// A reader number that sees everything: what is flushed is no longer written.
const EVERYTHING: u64 = u64::MAX;

/// A series on its way into parts.
struct Ordered<'a> {
    id: SeriesId,
    labels: &'a Labels,
    stretches: Vec<(i64, i64)>,
}

impl Shared {
    /// Writes all acknowledged samples into parts.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        let _flushing = self.open_for(&self.flushing)?;
        self.flush_held()
    }

    /// Takes `compacting` or `flushing`: once a store is closed its directory may be another one's.
    pub(crate) fn open_for<'a>(&self, lock: &'a Mutex<()>) -> Result<MutexGuard<'a, ()>, StoreError> {
        let guard = lock.lock();
        if self.is_closed() {
            return Err(StoreError::Closed);
        }
        Ok(guard)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.commit.queue.lock().closed
    }

    /// As [`Shared::flush`], with `flushing` held.
    pub(crate) fn flush_held(&self) -> Result<(), StoreError> {
        // Left by a flush that failed: it comes first, so that there is never more than one.
        if let Some(frozen) = self.view().frozen.clone() {
            self.flush_frozen(&frozen)?;
        }
        if let Some(frozen) = self.freeze() {
            self.flush_frozen(&frozen)?;
        }
        Telemetry::get().sizes(&self.tenant_label, &self.stats());
        Ok(())
    }

    /// Puts an empty memtable in place of the active one, at a border between two WAL segments.
    fn freeze(&self) -> Option<Frozen> {
        // With both held, every record that was written is visible and none is being written.
        let mut wal = self.wal.lock();
        let _applying = self.commit.applying.lock();
        if self.view().active.samples() == 0 && !self.tables.has_rows() {
            return None;
        }
        self.tables.freeze();
        let active = Arc::new(Memtable::new(self.options.max_series));
        let active_since_ms = self.options.clock.now_ms();
        let wal_from_segment = wal.cut();
        let mut gate = self.gate.lock();
        let frozen = Frozen {
            memtable: Arc::clone(&gate.view.active),
            wal_from_segment,
        };
        let parts = gate.view.parts.clone();
        gate.view = Arc::new(View {
            parts,
            deleted: Arc::clone(&gate.view.deleted),
            rolled: Arc::clone(&gate.view.rolled),
            frozen: Some(frozen.clone()),
            active,
            active_since_ms,
        });
        Some(frozen)
    }

    fn flush_frozen(&self, frozen: &Frozen) -> Result<(), StoreError> {
        let described = self.metadata.lock().unsaved();
        if !described.is_empty() {
            metadata::save(&self.state, &described)?;
            self.metadata.lock().saved(&described);
        }
        let (mut metas, mut tables) = (Vec::new(), TableChange::default());
        let wal_from = frozen.wal_from_segment;
        let written = self
            .write_parts(&frozen.memtable, &mut metas)
            .and_then(|()| self.write_tables(wal_from, &mut tables));
        let parts = match written.and_then(|()| self.open_all(&metas)) {
            Ok(parts) => parts,
            Err(error) => {
                self.discard(&metas);
                table::file::remove(&self.dir, &tables.new);
                return Err(error);
            }
        };
        let committed = self.commit_change(&[], &metas, &tables, Some(wal_from))?;
        self.tables.publish(&self.dir, &tables, true);
        self.publish(&[], parts, true);
        drop(committed);
        let released = self.wal.lock().release_before(frozen.wal_from_segment);
        for path in released {
            // What stays is removed at the next start: the manifest says that it is not needed.
            if let Err(error) = disk::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove a WAL segment");
            }
        }
        Ok(())
    }

    /// Writes the rows of tables that were set apart. Files that are whole are in `change`, also after an error.
    fn write_tables(&self, wal_from_segment: u64, change: &mut TableChange) -> Result<(), StoreError> {
        let segments = Segments::range(self.manifest.lock().rows_from(), wal_from_segment);
        let take_id = || self.manifest.lock().take_id().0;
        let written = self
            .tables
            .write_frozen(&self.dir, &self.state, &segments, take_id, change);
        self.count_table_files(change);
        written
    }

    fn count_table_files(&self, change: &TableChange) {
        for meta in &change.new {
            self.counters.part_written(meta.bytes);
            Telemetry::get().part_written(&self.tenant_label, meta.bytes);
        }
    }

    /// Writes one part for each stretch of time that has samples; those that are whole are in `metas`, also after an error.
    fn write_parts(&self, memtable: &Memtable, metas: &mut Vec<PartMeta>) -> Result<(), StoreError> {
        let series = self.in_part_order(memtable);
        let (mut samples, mut histograms) = (Samples::default(), Histograms::default());
        for (level, range) in spans(&self.windows(memtable, &series, &mut samples)?) {
            let mut writer = None;
            for Ordered { id, labels, stretches } in &series {
                if !stretches.iter().any(|(t_min, t_max)| range.overlaps(*t_min, *t_max)) {
                    continue;
                }
                samples.clear();
                memtable
                    .read(*id, range, EVERYTHING, 0, &mut samples)
                    .ok_or(StoreError::DamagedHead(*id))?;
                histograms.clear();
                memtable
                    .histograms()
                    .read(*id, range, EVERYTHING, &mut histograms)
                    .ok_or(StoreError::DamagedHead(*id))?;
                if samples.is_empty() && histograms.is_empty() {
                    continue;
                }
                let writer = match &mut writer {
                    Some(writer) => writer,
                    None => {
                        let part = self.manifest.lock().take_id();
                        writer.insert(PartWriter::create(&self.dir, part, level, &self.tenant)?)
                    }
                };
                let row = writer.series(labels.key(), labels)?;
                writer.mixed(row, &samples, &histograms)?;
            }
            if let Some(writer) = writer {
                let meta = writer.finish()?;
                self.counters.part_written(meta.bytes);
                Telemetry::get().part_written(&self.tenant_label, meta.bytes);
                metas.push(meta);
            }
        }
        Ok(())
    }

    /// All series of a memtable as [`crate::part::series_order`] wants them, and the stretches of time that they have samples in.
    fn in_part_order(&self, memtable: &Memtable) -> Vec<Ordered<'_>> {
        let entries = memtable
            .ids()
            .into_iter()
            .filter_map(|id| Some((id, self.table.entry(id)?.labels())));
        // Metric and host are looked up once and not at each comparison.
        let mut keyed: Vec<_> = entries
            .map(|(id, labels)| ((labels.metric(), host_of(labels), labels), id))
            .collect();
        keyed.sort_unstable();
        let ordered = |((_, _, labels), id)| Ordered {
            id,
            labels,
            stretches: memtable.stretches(id),
        };
        keyed.into_iter().map(ordered).collect()
    }

    /// Numbers of the windows that have samples. Only stretches across a border are read for it.
    fn windows(
        &self,
        memtable: &Memtable,
        series: &[Ordered<'_>],
        samples: &mut Samples,
    ) -> Result<BTreeSet<i64>, StoreError> {
        let mut windows = BTreeSet::new();
        for Ordered { id, stretches, .. } in series {
            for &(t_min, t_max) in stretches {
                let (first, last) = (t_min.div_euclid(WINDOW_MS), t_max.div_euclid(WINDOW_MS));
                windows.extend([first, last]);
                if last - first > 1 {
                    samples.clear();
                    let range = TimeRange::millis(t_min, t_max);
                    memtable
                        .read(*id, range, EVERYTHING, 0, samples)
                        .ok_or(StoreError::DamagedHead(*id))?;
                    windows.extend(samples.timestamps.iter().map(|t| t.div_euclid(WINDOW_MS)));
                    let mut histograms = Histograms::default();
                    memtable
                        .histograms()
                        .read(*id, range, EVERYTHING, &mut histograms)
                        .ok_or(StoreError::DamagedHead(*id))?;
                    windows.extend(histograms.timestamps.iter().map(|t| t.div_euclid(WINDOW_MS)));
                }
            }
        }
        Ok(windows)
    }

    /// Rolls up and drops what is due, then merges parts until there is nothing left to merge.
    pub(crate) fn compact(&self) -> Result<(), StoreError> {
        let _compacting = self.open_for(&self.compacting)?;
        let now_ms = self.options.clock.now_ms();
        self.each([
            &|| self.drop_parts_due(now_ms),
            &|| self.merge_all(|manifest, unmergeable| compaction::plan_settled(manifest, unmergeable, now_ms)),
            &|| self.merge_due_rollups(),
            &|| self.merge_tables(now_ms),
        ])
    }

    /// Drops what is older than the retention at `now_ms`, and merges what is due.
    pub(crate) fn maintain(&self, now_ms: i64) -> Result<(), StoreError> {
        let _compacting = self.open_for(&self.compacting)?;
        self.each([
            // First, so that nothing is merged that goes.
            &|| self.drop_parts_due(now_ms),
            &|| self.merge_all(|manifest, unmergeable| compaction::plan(manifest, unmergeable, now_ms)),
            &|| self.clean_deleted_due(now_ms),
            &|| self.apply_rules(now_ms),
            &|| self.merge_due_rollups(),
            &|| self.merge_tables(now_ms),
        ])
    }

    /// Takes every step, also after one that failed, and answers the first error; later ones are logged.
    pub(crate) fn each<const N: usize>(
        &self,
        steps: [&dyn Fn() -> Result<(), StoreError>; N],
    ) -> Result<(), StoreError> {
        let mut result = Ok(());
        for error in steps.into_iter().filter_map(|step| step().err()) {
            if result.is_ok() {
                result = Err(error);
            } else {
                let error = &error as &dyn std::error::Error;
                tracing::error!(tenant = self.tenant, error, "a later step of maintenance failed, too");
            }
        }
        result
    }

    /// Merges as `plan` says, until it says no more. A store that closes waits for one merge at most.
    fn merge_all(&self, plan: impl Fn(&Manifest, &HashSet<PartId>) -> Option<Plan>) -> Result<(), StoreError> {
        while !self.is_closed() {
            let plan = plan(&self.manifest.lock(), &self.unmergeable.lock());
            match plan {
                Some(plan) => self.merge(&plan)?,
                None => break,
            }
        }
        Ok(())
    }

    /// Merges the files of tables that are due.
    fn merge_tables(&self, now_ms: i64) -> Result<(), StoreError> {
        while !self.is_closed() {
            let take_id = || self.manifest.lock().take_id().0;
            let Some(change) = self.tables.merge(&self.dir, now_ms, take_id)? else {
                break;
            };
            self.count_table_files(&change);
            let _committed = self.commit_change(&[], &[], &change, None)?;
            self.tables.publish(&self.dir, &change, false);
        }
        Ok(())
    }

    /// Puts one part in place of others. Where one of them is damaged it is left alone from then on, and nothing changes.
    pub(crate) fn merge(&self, plan: &Plan) -> Result<(), StoreError> {
        let inputs: Vec<Arc<Part>> = self
            .view()
            .parts
            .iter()
            .filter(|p| plan.inputs.contains(&p.meta().id))
            .map(Arc::clone)
            .collect();
        // Together: a deletion speaks of the parts that have their numbers by then, and of later ones nothing must be in them.
        let (id, deleted, border) = {
            let mut manifest = self.manifest.lock();
            let deleted = self.left_out(&manifest);
            (manifest.take_id(), deleted, manifest.rolled_until_ms)
        };
        let merged = match compaction::merge(&self.dir, &self.tenant, plan.level, &inputs, id, &deleted, border) {
            Ok(merged) => merged,
            Err(error) => {
                self.remove_parts(&[id]);
                return self.leave_alone(&plan.inputs, error);
            }
        };
        let metas: Vec<PartMeta> = merged.part.into_iter().collect();
        for meta in &metas {
            self.counters.part_written(meta.bytes);
            Telemetry::get().part_written(&self.tenant_label, meta.bytes);
        }
        let parts = match self.open_all(&metas) {
            Ok(parts) => parts,
            Err(error) => {
                self.discard(&metas);
                return Err(error);
            }
        };
        // Those that were read, and no others.
        let gone: Vec<PartId> = inputs.iter().map(|part| part.meta().id).collect();
        let committed = self.commit_change(&gone, &metas, &TableChange::default(), None)?;
        self.publish(&gone, parts, false);
        drop(committed);
        self.remove_parts(&gone);
        self.count_dropped(merged.deleted, "deleted");
        self.count_dropped(merged.expired, "rule");
        self.count_dropped(merged.rolled, "rolled");
        Ok(())
    }

    /// Takes note of the damaged one among `inputs`, so that the next plan is another one; gives any other error back.
    pub(crate) fn leave_alone(&self, inputs: &[PartId], error: PartError) -> Result<(), StoreError> {
        if !error.is_damage() {
            return Err(error.into());
        }
        let damaged = error.part().filter(|id| inputs.contains(id));
        tracing::error!(
            tenant = self.tenant,
            part = damaged.map(|id| id.0),
            error = &error as &dyn std::error::Error,
            "a damaged part is not merged any more: `foreshock store verify` tells what is wrong with it"
        );
        let named = damaged.as_slice();
        let left = if named.is_empty() { inputs } else { named };
        self.unmergeable.lock().extend(left);
        Ok(())
    }

    /// Opened before the commit: a part that cannot be read must not replace what it was made of.
    fn open_all(&self, metas: &[PartMeta]) -> Result<Vec<Arc<Part>>, StoreError> {
        metas
            .iter()
            .map(|meta| Ok(Arc::new(Part::open(&self.dir, meta)?)))
            .collect()
    }

    /// Takes parts and files of tables out of the manifest and puts `new` ones in. After an error nothing of it counts, and what
    /// is new is gone where it can be. The manifest stays held until the caller has shown readers the same: who goes by it finds
    /// in the view what it lists.
    pub(crate) fn commit_change(
        &self,
        gone: &[PartId],
        new: &[PartMeta],
        tables: &TableChange,
        wal_from_segment: Option<u64>,
    ) -> Result<MutexGuard<'_, Manifest>, StoreError> {
        let mut manifest = self.manifest.lock();
        let mut next: Manifest = manifest.clone();
        next.replace(gone, new.iter().cloned());
        next.tables.retain(|file| !tables.gone.contains(&file.id));
        next.tables.extend(tables.new.iter().cloned());
        next.wal_from_segment = wal_from_segment.unwrap_or(next.wal_from_segment);
        if let Err(error) = next.commit(&self.dir) {
            // It may have failed after the rename. Then a start goes by the new manifest, and its parts must be there.
            let is_old = match Manifest::find(&self.dir) {
                Ok(Found::Whole(found)) => found.parts == manifest.parts && found.tables == manifest.tables,
                // There never was one.
                Ok(Found::Missing) => true,
                Ok(Found::Damaged) | Err(_) => false,
            };
            if is_old {
                self.discard(new);
                table::file::remove(&self.dir, &tables.new);
            }
            return Err(error.into());
        }
        *manifest = next;
        Ok(manifest)
    }

    /// Shows readers what the manifest says, which is held since it was committed.
    pub(crate) fn publish(&self, gone: &[PartId], new: Vec<Arc<Part>>, flushed: bool) {
        let mut gate = self.gate.lock();
        let mut view = View::clone(&gate.view);
        let replaced = || {
            view.parts
                .iter()
                .map(|part| part.meta())
                .filter(|meta| gone.contains(&meta.id))
        };
        let fewer = replaced().map(|meta| meta.samples).sum::<u64>() > new.iter().map(|part| part.meta().samples).sum();
        if let Some(oldest_ms) = replaced().map(|meta| meta.t_min).min().filter(|_| fewer) {
            // Retention, or a rewrite without what was deleted.
            gate.changed(oldest_ms);
        }
        view.parts.retain(|part| !gone.contains(&part.meta().id));
        view.parts.extend(new);
        view.parts.sort_by_key(|part| (part.meta().rank, part.meta().id));
        if flushed {
            view.frozen = None;
        }
        gate.view = Arc::new(view);
    }

    /// Removes parts that no commit ever listed.
    fn discard(&self, metas: &[PartMeta]) {
        self.remove_parts(&metas.iter().map(|meta| meta.id).collect::<Vec<_>>());
    }

    /// Snapshots that hold one of the parts have its files open and go on reading.
    pub(crate) fn remove_parts(&self, ids: &[PartId]) {
        if let Err(error) = remove_part_files(&self.dir, ids) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "files of dropped parts stay until the next start"
            );
        }
    }
}

/// The stretches of time that a flush writes a part for each, ascending, of the windows that have samples.
fn spans(windows: &BTreeSet<i64>) -> Vec<(Level, TimeRange)> {
    let mut spans = Vec::new();
    let mut left: Vec<i64> = windows.iter().map(|window| window.saturating_mul(WINDOW_MS)).collect();
    let mut end = i64::MAX;
    for level in Level::ALL {
        let start_of = |at: i64| at.div_euclid(level.window_ms()).saturating_mul(level.window_ms());
        let mut count = 0;
        // The newest first; what is left over is for the next level.
        while let Some(start) = left.last().map(|&at| start_of(at)) {
            if count == WINDOWS_MAX && level != Level::Month {
                break;
            }
            left.truncate(left.partition_point(|&at| at < start));
            let last = start.saturating_add(level.window_ms() - 1).min(end);
            spans.push((level, TimeRange::millis(start, last)));
            end = start.saturating_sub(1);
            count += 1;
        }
    }
    spans.reverse();
    spans
}
