//! Makes rollups of the days that samples are too old for, and moves the border.
//!
//! Memory: the samples of one series over up to thirty days, and a row group of each part that is written. Samples are read a series at a time, on the
//! thread that merges parts, after which the parts that hold nothing later are dropped.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::read::RolledParts;
use super::{Behaviour, Buckets, DAY_MS, RollupMeta, roll_up, thin_out};
use crate::compaction::{Overlay, next_series};
use crate::deletion::Deleted;
use crate::error::StoreError;
use crate::manifest::{Found, Manifest, remove_part_files};
use crate::metadata::Metadata;
use crate::part::{Level, Part, PartId, PartWriter, rollups_dir};
use crate::series::TimeRange;
use crate::store::{Shared, View};
use crate::telemetry::Telemetry;

impl Shared {
    /// Rolls up all whole days before `before_ms`, where rollups are made at all. Called with `compacting` held.
    pub(crate) fn roll_up_before(&self, before_ms: i64) -> Result<(), StoreError> {
        if self.options.rollups.resolutions().next().is_none() {
            return Ok(());
        }
        let target = before_ms.div_euclid(DAY_MS).saturating_mul(DAY_MS);
        if target <= self.manifest.lock().rolled_until_ms || !self.holds_until(target) {
            return Ok(());
        }
        // First nothing of that time is taken any more, then all that was taken goes into parts: nothing that was acknowledged is missed.
        self.taken_after_ms.fetch_max(target, Ordering::SeqCst);
        let rolled_up = self.flush().and_then(|()| self.roll_up_to(target));
        if rolled_up.is_err() {
            // What is not rolled up is taken as before.
            let border = self.manifest.lock().rolled_until_ms;
            self.taken_after_ms.store(border, Ordering::SeqCst);
        }
        rolled_up
    }

    fn roll_up_to(&self, target: i64) -> Result<(), StoreError> {
        while !self.is_closed() {
            let border = self.manifest.lock().rolled_until_ms;
            let Some(first) = self.first_after(border) else { break };
            // By whole days, and never over the end of a month's window, so that parts of rollups fit theirs.
            let start = border.max((first - 1).div_euclid(DAY_MS).saturating_mul(DAY_MS));
            if start >= target {
                break;
            }
            let window = Level::Month.window_ms();
            let end = target.min((start.div_euclid(window) + 1).saturating_mul(window));
            self.roll_up_days(start, end)?;
        }
        Ok(())
    }

    /// Whether any sample that is told one by one may lie at or before `until`.
    fn holds_until(&self, until: i64) -> bool {
        let view = self.view();
        let memtables = view.frozen.iter().map(|frozen| &frozen.memtable).chain([&view.active]);
        let mut starts = memtables
            .filter_map(|memtable| memtable.bounds())
            .map(|bounds| bounds.0);
        starts.any(|start| start <= until) || view.parts.iter().any(|part| part.meta().t_min <= until)
    }

    /// The first instant after the border of which a part may hold samples.
    fn first_after(&self, border: i64) -> Option<i64> {
        let view = self.view();
        let parts = view.parts.iter().map(|part| part.meta());
        let later = parts.filter(|meta| meta.t_max > border);
        later.map(|meta| meta.t_min.max(border.saturating_add(1))).min()
    }

    /// Rolls up the samples after `start` and up to `end`, and moves the border there.
    fn roll_up_days(&self, start: i64, end: i64) -> Result<(), StoreError> {
        let range = TimeRange::millis(start.saturating_add(1), end);
        let inputs: Vec<Arc<Part>> = self
            .view()
            .parts
            .iter()
            .filter(|part| range.overlaps(part.meta().t_min, part.meta().t_max))
            .map(Arc::clone)
            .collect();
        let known = self.metadata.lock().known().clone();
        let (ids, deleted) = {
            let mut manifest = self.manifest.lock();
            let resolutions = self.options.rollups.resolutions();
            let ids: Vec<(i64, PartId)> = resolutions.map(|r| (r, manifest.take_id())).collect();
            (ids, self.left_out(&manifest))
        };
        let level = if end - start > DAY_MS { Level::Month } else { Level::Day };
        let new = match write(&self.dir, &self.tenant, level, &inputs, &ids, range, &deleted, &known) {
            Ok(new) => new,
            Err(error) => {
                self.remove_rollups(ids.iter().map(|(_, id)| *id));
                return Err(error);
            }
        };
        let buckets: u64 = new.iter().map(|meta| meta.part.samples).sum();
        self.replace_rollups(&[], new, Some(end))?;
        tracing::info!(tenant = self.tenant, until_ms = end, buckets, "rolled samples up");
        Ok(())
    }

    /// Takes parts of rollups out of the manifest, puts others in, moves the border, and shows it to readers. After an error nothing of it counts.
    pub(crate) fn replace_rollups(
        &self,
        gone: &[PartId],
        new: Vec<RollupMeta>,
        border: Option<i64>,
    ) -> Result<(), StoreError> {
        for meta in &new {
            self.counters.part_written(meta.part.bytes);
            Telemetry::get().part_written(&self.tenant_label, meta.part.bytes);
        }
        let new_ids: Vec<PartId> = new.iter().map(|meta| meta.part.id).collect();
        // Opened before the commit: a part that cannot be read must not replace what it was made of.
        let dir = rollups_dir(&self.dir);
        let opened: Result<Vec<Arc<Part>>, StoreError> = new
            .iter()
            .map(|meta| Ok(Arc::new(Part::open(&dir, &meta.part)?)))
            .collect();
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.remove_rollups(new_ids);
                return Err(error);
            }
        };
        let (manifest, old_border, next) = {
            let mut manifest = self.manifest.lock();
            let mut next: Manifest = manifest.clone();
            next.rollups.retain(|meta| !gone.contains(&meta.part.id));
            next.rollups.extend(new);
            next.sort_rollups();
            next.rolled_until_ms = border.unwrap_or(next.rolled_until_ms);
            if let Err(error) = next.commit(&self.dir) {
                // It may have failed after the rename. Then a start goes by the new manifest, and its parts must be there.
                let is_old = match Manifest::find(&self.dir) {
                    Ok(Found::Whole(found)) => found.rollups == manifest.rollups,
                    Ok(Found::Missing) => true,
                    Ok(Found::Damaged) | Err(_) => false,
                };
                if is_old {
                    self.remove_rollups(new_ids);
                }
                return Err(error.into());
            }
            let old_border = std::mem::replace(&mut *manifest, next.clone()).rolled_until_ms;
            // Held until readers see the same, as everything that is committed.
            (manifest, old_border, next)
        };
        let mut gate = self.gate.lock();
        let mut view = View::clone(&gate.view);
        let by_id = |id: PartId| {
            let parts = view.rolled.parts.iter().map(|(_, part)| part);
            parts.chain(&opened).find(|part| part.meta().id == id).map(Arc::clone)
        };
        let parts = next
            .rollups
            .iter()
            .filter_map(|meta| Some((meta.resolution_ms, by_id(meta.part.id)?)))
            .collect();
        view.rolled = Arc::new(RolledParts::new(next.rolled_until_ms, parts));
        gate.view = Arc::new(view);
        // What merges of rollups leave out was deleted, or is too old.
        gate.changed(if border.is_some() { old_border } else { i64::MIN });
        drop(gate);
        drop(manifest);
        self.remove_rollups(gone.iter().copied());
        Ok(())
    }

    /// Removes files of parts of rollups that the manifest does not list. Snapshots that hold one have its files open.
    pub(crate) fn remove_rollups(&self, ids: impl IntoIterator<Item = PartId>) {
        let ids: Vec<PartId> = ids.into_iter().collect();
        if let Err(error) = remove_part_files(&rollups_dir(&self.dir), &ids) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "files of rollups stay until the next start");
        }
    }
}

/// Writes a part for each resolution of all samples of `inputs` within `range`; resolutions for which there are none have no part.
#[expect(clippy::too_many_arguments, reason = "all of them are what a part is made of")]
fn write(
    dir: &Path,
    tenant: &str,
    level: Level,
    inputs: &[Arc<Part>],
    ids: &[(i64, PartId)],
    range: TimeRange,
    deleted: &Deleted,
    known: &BTreeMap<String, Metadata>,
) -> Result<Vec<RollupMeta>, StoreError> {
    let mut inputs: Vec<&Part> = inputs.iter().map(Arc::as_ref).collect();
    inputs.sort_by_key(|part| (part.meta().rank, part.meta().id));
    let rollups = rollups_dir(dir);
    let mut writers: Vec<Option<PartWriter>> = ids.iter().map(|_| None).collect();
    let mut heads = Vec::with_capacity(inputs.len());
    for part in &inputs {
        let mut series = part.series()?;
        heads.push((series.next().transpose()?, series));
    }
    let mut overlay = Overlay::default();
    let mut buckets = Buckets::default();
    let mut unreadable = 0_u64;
    while let Some((key, labels)) = next_series(heads.iter().filter_map(|(head, _)| head.as_ref())) {
        overlay.clear();
        for (part, (head, series)) in inputs.iter().zip(&mut heads) {
            if let Some((row, _, _)) = head.take_if(|(_, head, _)| *head == key) {
                match overlay.add(part, row, key, range, deleted) {
                    // What cannot be read is in no rollup, and holds up none of the others.
                    Err(error) if error.is_damage() => {
                        if unreadable == 0 {
                            let error = &error as &dyn std::error::Error;
                            tracing::error!(tenant, error, "damaged samples are left out of rollups");
                        }
                        unreadable += 1;
                    }
                    added => added?,
                }
                *head = series.next().transpose()?;
            }
        }
        if overlay.is_empty() {
            continue;
        }
        let behaviour = Behaviour::of(labels.metric(), known);
        for ((resolution_ms, id), writer) in ids.iter().zip(&mut writers) {
            buckets.clear();
            roll_up(&overlay.samples, *resolution_ms, behaviour, &mut buckets);
            let histograms = thin_out(&overlay.histograms, *resolution_ms);
            let writer = match writer {
                Some(writer) => writer,
                None => writer.insert(PartWriter::create_rollup(&rollups, *id, level, tenant, *resolution_ms)?),
            };
            let row = writer.series(key, &labels)?;
            writer.rolled(row, &buckets, &histograms)?;
        }
    }
    if unreadable > 0 {
        tracing::error!(
            tenant,
            stretches = unreadable,
            "stretches of series that are left out of rollups"
        );
    }
    let mut metas = Vec::new();
    for ((resolution_ms, _), writer) in ids.iter().zip(writers) {
        if let Some(writer) = writer {
            metas.push(RollupMeta {
                resolution_ms: *resolution_ms,
                part: writer.finish()?,
            });
        }
    }
    Ok(metas)
}
