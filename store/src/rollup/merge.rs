//! Merges parts of rollups into months, rewrites those that hold what was deleted, and drops what is too old.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::{Buckets, DAY_MS, RollupMeta};
use crate::codec::rollups::Wanted;
use crate::compaction::next_series;
use crate::deletion::Deleted;
use crate::error::StoreError;
use crate::histogram::Histograms;
use crate::manifest::Manifest;
use crate::part::{Level, Part, PartError, PartId, PartWriter, rollups_dir};
use crate::series::TimeRange;
use crate::store::Shared;

/// This many parts of a month that is not over are merged all the same.
const PARTS_MAX: usize = 16;

/// Parts of rollups that are to become one: of one resolution and one month. Those that are `unmergeable` stay as they are.
pub(crate) fn plan(manifest: &Manifest, unmergeable: &HashSet<PartId>) -> Option<Vec<PartId>> {
    let mut windows: BTreeMap<(i64, i64), Vec<&RollupMeta>> = BTreeMap::new();
    for meta in manifest
        .rollups
        .iter()
        .filter(|meta| !unmergeable.contains(&meta.part.id))
    {
        // The first end of a bucket lies within the window, never at its beginning.
        let window = (meta.part.t_min - 1).div_euclid(Level::Month.window_ms());
        windows.entry((meta.resolution_ms, window)).or_default().push(meta);
    }
    windows.into_iter().find_map(|((_, window), parts)| {
        let end = (window + 1).saturating_mul(Level::Month.window_ms());
        let is_over = manifest.rolled_until_ms >= end;
        let due = parts.len() >= PARTS_MAX || (is_over && parts.len() > 1);
        due.then(|| parts.iter().map(|meta| meta.part.id).collect())
    })
}

impl Shared {
    /// Merges the parts of rollups that are due. Called with `compacting` held.
    pub(crate) fn merge_due_rollups(&self) -> Result<(), StoreError> {
        while !self.is_closed() {
            let plan = plan(&self.manifest.lock(), &self.unmergeable.lock());
            match plan {
                Some(inputs) => self.merge_rollups(&inputs)?,
                None => break,
            }
        }
        Ok(())
    }

    /// Drops the parts of rollups that are too old.
    pub(crate) fn drop_old_rollups(&self, now_ms: i64) -> Result<(), StoreError> {
        let is_old = |meta: &&RollupMeta| {
            let keep_ms = self.options.rollups.keep_ms(meta.resolution_ms);
            keep_ms.is_some_and(|keep_ms| meta.part.t_max < now_ms.saturating_sub(keep_ms))
        };
        let gone: Vec<RollupMeta> = self.manifest.lock().rollups.iter().filter(is_old).cloned().collect();
        self.drop_rollups(&gone, "time")
    }

    /// Drops parts of rollups.
    pub(crate) fn drop_rollups(&self, gone: &[RollupMeta], reason: &'static str) -> Result<(), StoreError> {
        if gone.is_empty() {
            return Ok(());
        }
        let ids: Vec<PartId> = gone.iter().map(|meta| meta.part.id).collect();
        self.replace_rollups(&ids, Vec::new(), None)?;
        tracing::info!(
            tenant = self.tenant,
            parts = ids.len(),
            reason,
            "retention dropped parts of rollups"
        );
        Ok(())
    }

    /// Rewrites each part of rollups that is due, once.
    pub(crate) fn rewrite_rollups(&self, due: impl Fn(&Part) -> bool) -> Result<(), StoreError> {
        let ids: Vec<PartId> = {
            let (view, unmergeable) = (self.view(), self.unmergeable.lock());
            let parts = view.rolled.parts.iter();
            let parts = parts.filter(|(_, part)| due(part) && !unmergeable.contains(&part.meta().id));
            parts.map(|(_, part)| part.meta().id).collect()
        };
        for id in ids {
            if self.is_closed() {
                break;
            }
            self.merge_rollups(&[id])?;
        }
        Ok(())
    }

    /// Puts parts of rollups of one resolution together, which tell of different times; what was deleted and what rules drop is left out.
    pub(crate) fn merge_rollups(&self, inputs: &[PartId]) -> Result<(), StoreError> {
        let view = self.view();
        let parts: Vec<&(i64, Arc<Part>)> = view
            .rolled
            .parts
            .iter()
            .filter(|(_, part)| inputs.contains(&part.meta().id))
            .collect();
        let Some(resolution_ms) = parts.first().map(|part| part.0) else {
            return Ok(());
        };
        let parts: Vec<&Part> = parts.iter().map(|(_, part)| part.as_ref()).collect();
        let (id, deleted) = {
            let mut manifest = self.manifest.lock();
            (manifest.take_id(), self.left_out(&manifest))
        };
        let meta = match self.write_merged(&parts, resolution_ms, id, &deleted) {
            Ok(meta) => meta,
            Err(error) => {
                self.remove_rollups([id]);
                return self.leave_alone(inputs, error);
            }
        };
        self.replace_rollups(inputs, meta.into_iter().collect(), None)
    }

    fn write_merged(
        &self,
        parts: &[&Part],
        resolution_ms: i64,
        id: PartId,
        deleted: &Deleted,
    ) -> Result<Option<RollupMeta>, PartError> {
        let first = parts.iter().map(|part| part.begins_ms()).min().unwrap_or(0);
        let last = parts.iter().map(|part| part.meta().t_max).max().unwrap_or(0);
        let level = if last - first > DAY_MS {
            Level::Month
        } else {
            Level::Day
        };
        let mut writer = None;
        let mut heads = Vec::with_capacity(parts.len());
        for part in parts {
            let mut series = part.series()?;
            heads.push((series.next().transpose()?, series));
        }
        let (mut all, mut one) = (Buckets::default(), Buckets::default());
        while let Some((key, labels)) = next_series(heads.iter().filter_map(|(head, _)| head.as_ref())) {
            all.clear();
            let mut histograms = Histograms::default();
            // By time, as the view lists them.
            for (part, (head, series)) in parts.iter().zip(&mut heads) {
                if let Some((row, _, _)) = head.take_if(|(_, head, _)| *head == key) {
                    one.clear();
                    part.read_buckets(row, TimeRange::ALL, Wanted::All, &mut one)?;
                    deleted.take_out_buckets(key, part.meta().id, resolution_ms, &mut one);
                    deleted.take_out_old_buckets(key, resolution_ms, &mut one);
                    all.append(&mut one);
                    let mut later = Histograms::default();
                    part.read_histograms(row, TimeRange::ALL, &mut later)?;
                    deleted.take_out_histograms(key, part.meta().id, &mut later);
                    histograms.overlay(later);
                    *head = series.next().transpose()?;
                }
            }
            if !all.is_empty() || !histograms.is_empty() {
                let writer = match &mut writer {
                    Some(writer) => writer,
                    None => writer.insert(PartWriter::create_rollup(
                        &rollups_dir(&self.dir),
                        id,
                        level,
                        &self.tenant,
                        resolution_ms,
                    )?),
                };
                let row = writer.series(key, &labels)?;
                writer.rolled(row, &all, &histograms)?;
            }
        }
        let part = writer.map(PartWriter::finish).transpose()?;
        Ok(part.map(|part| RollupMeta { resolution_ms, part }))
    }
}
