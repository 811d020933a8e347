//! What is too old, or too much, to keep.
//!
//! Parts go whole: samples live up to the length of their part longer than they must. What a rule drops earlier than the rest leaves
//! its part when that is merged, at the latest when all of the part is older than the rule keeps.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::compaction::Plan;
use crate::deletion::Deleted;
use crate::error::{ErrorKind, StoreError};
use crate::manifest::Manifest;
use crate::part::{Part, PartId};
use crate::rollup::{DAY_MS, RollupMeta, end_of};
use crate::series::{Matcher, SeriesKey, TimeRange};
use crate::store::Shared;
use crate::table::TableChange;
use crate::telemetry::Telemetry;

/// Looking which series rules are about takes a moment: it is done so often, by the clock.
const RULES_EVERY_MS: i64 = 10 * 60 * 1000;

/// Of all bytes that a tenant may have, rollups take one in so many at most.
const ROLLUPS_SHARE: u64 = 4;

/// How long some series are kept, where that is less than the others.
#[derive(Clone, Debug)]
pub struct RetentionRule {
    /// Series that meet all of these.
    pub matchers: Vec<Matcher>,
    /// Samples that are older are dropped.
    pub keep_ms: i64,
}

/// What is to go: parts and files of tables, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gone {
    pub(crate) parts: Vec<PartId>,
    pub(crate) tables: Vec<u64>,
}

impl Gone {
    fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.tables.is_empty()
    }
}

/// Parts and files whose newest sample or row is older than `keep_ms` at `now`: take them out of the manifest, commit, then remove their
/// files.
pub(crate) fn expired(manifest: &Manifest, now: i64, keep_ms: i64) -> Gone {
    let horizon = now.saturating_sub(keep_ms);
    let parts = manifest.parts.iter().filter(|part| part.t_max < horizon);
    let tables = manifest.tables.iter().filter(|file| file.t_max_ms() < horizon);
    Gone {
        parts: parts.map(|part| part.id).collect(),
        tables: tables.map(|file| file.id).collect(),
    }
}

/// The parts and files that end first, until the others take no more than `bytes_max`. The last one stays: it is being added to.
pub(crate) fn oversized(manifest: &Manifest, bytes_max: u64) -> Gone {
    let parts = manifest
        .parts
        .iter()
        .map(|part| (part.t_max, part.id.0, part.bytes, true));
    let tables = manifest.tables.iter();
    let tables = tables.map(|file| (file.t_max_ms(), file.id, file.bytes, false));
    let mut all: Vec<_> = parts.chain(tables).collect();
    all.sort_unstable();
    let mut bytes: u64 = all.iter().map(|(_, _, bytes, _)| bytes).sum();
    let mut gone = Gone::default();
    for (_, id, its, is_part) in all.iter().take(all.len().saturating_sub(1)) {
        if bytes <= bytes_max {
            break;
        }
        bytes -= its;
        if *is_part {
            gone.parts.push(PartId(*id));
        } else {
            gone.tables.push(*id);
        }
    }
    gone
}

/// The parts of rollups that end first, until the others take no more than `bytes_max`.
fn oversized_rollups(manifest: &Manifest, bytes_max: u64) -> Vec<RollupMeta> {
    let mut all: Vec<&RollupMeta> = manifest.rollups.iter().collect();
    all.sort_by_key(|meta| (meta.part.t_max, meta.resolution_ms));
    let mut bytes: u64 = all.iter().map(|meta| meta.part.bytes).sum();
    let too_many = |meta: &&&RollupMeta| {
        let gone = bytes > bytes_max;
        bytes -= if gone { meta.part.bytes } else { 0 };
        gone
    };
    all.iter().take_while(too_many).map(|meta| (*meta).clone()).collect()
}

impl Shared {
    /// Drops whole parts and files of tables that are too old or too much, after rolling up what is to be. Called with `compacting` held.
    pub(crate) fn drop_parts_due(&self, now_ms: i64) -> Result<(), StoreError> {
        self.each([
            // What needs little room comes first: on a full disk rolling up fails.
            &|| self.drop_old_rollups(now_ms),
            &|| self.drop_by_time(now_ms),
            &|| self.drop_rolled(),
            &|| self.drop_by_size(now_ms),
        ])
    }

    fn rolls_up(&self) -> bool {
        self.options.rollups.resolutions().next().is_some()
    }

    fn drop_by_time(&self, now_ms: i64) -> Result<(), StoreError> {
        let Some(keep_ms) = self.options.retention_ms else {
            return Ok(());
        };
        let mut gone = expired(&self.manifest.lock(), now_ms, keep_ms);
        if self.rolls_up() {
            // Those that are in rollups go later; the others wait for the end of their day.
            gone.parts.clear();
        }
        self.drop_parts(&gone, "time")?;
        self.roll_up_before(now_ms.saturating_sub(keep_ms))
    }

    fn drop_by_size(&self, now_ms: i64) -> Result<(), StoreError> {
        let Some(bytes_max) = self.options.retention_bytes else {
            return Ok(());
        };
        // Else what is old would fill the disk little by little, and nothing be left for what is new.
        let of_rollups = bytes_max / ROLLUPS_SHARE;
        let rolled: u64 = self.manifest.lock().rollups.iter().map(|meta| meta.part.bytes).sum();
        let left = bytes_max.saturating_sub(rolled.min(of_rollups));
        let gone = oversized(&self.manifest.lock(), left);
        let last = {
            let manifest = self.manifest.lock();
            let going = manifest.parts.iter().filter(|part| gone.parts.contains(&part.id));
            going.map(|part| part.t_max).max()
        };
        if let Some(last) = last.filter(|_| self.rolls_up()) {
            // All of the last day with them, or rollups would lack a part of it; but never the present one.
            match self.roll_up_before(end_of(last, DAY_MS).min(now_ms)) {
                // A disk that is full, or samples that cannot be read: then room for what is new comes first.
                Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Corrupt) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(
                        tenant = self.tenant,
                        error,
                        "samples are dropped for their size before they are rolled up"
                    );
                }
                rolled_up => rolled_up?,
            }
            self.drop_rolled()?;
        }
        let gone = oversized(&self.manifest.lock(), left);
        self.drop_parts(&gone, "size")?;
        let gone = oversized_rollups(&self.manifest.lock(), of_rollups);
        self.drop_rollups(&gone, "size")
    }

    /// Drops the parts of which rollups tell all.
    fn drop_rolled(&self) -> Result<(), StoreError> {
        let gone = {
            let manifest = self.manifest.lock();
            let rolled = manifest
                .parts
                .iter()
                .filter(|part| part.t_max <= manifest.rolled_until_ms);
            Gone {
                parts: rolled.map(|part| part.id).collect(),
                tables: Vec::new(),
            }
        };
        self.drop_parts(&gone, "rolled")
    }

    fn drop_parts(&self, gone: &Gone, reason: &'static str) -> Result<(), StoreError> {
        if gone.is_empty() {
            return Ok(());
        }
        let (samples, rows) = {
            let manifest = self.manifest.lock();
            let parts = manifest.parts.iter().filter(|part| gone.parts.contains(&part.id));
            let tables = manifest.tables.iter().filter(|file| gone.tables.contains(&file.id));
            (
                parts.map(|part| part.samples).sum(),
                tables.map(|file| file.rows).sum::<u64>(),
            )
        };
        let tables = TableChange {
            gone: gone.tables.clone(),
            new: Vec::new(),
        };
        let committed = self.commit_change(&gone.parts, &[], &tables, None)?;
        self.publish(&gone.parts, Vec::new(), false);
        self.tables.publish(&self.dir, &tables, false);
        drop(committed);
        self.remove_parts(&gone.parts);
        self.count_dropped(samples, reason);
        tracing::info!(
            tenant = self.tenant,
            parts = gone.parts.len(),
            samples,
            table_files = gone.tables.len(),
            rows,
            reason,
            "retention dropped parts"
        );
        Ok(())
    }

    pub(crate) fn count_dropped(&self, samples: u64, reason: &'static str) {
        if samples > 0 {
            self.counters.dropped(samples);
            Telemetry::get().dropped(&self.tenant_label, reason, samples);
        }
    }

    /// Before which instant the samples of a series are dropped by rules, for those that a rule is about.
    pub(crate) fn horizons(&self, now_ms: i64) -> HashMap<SeriesKey, i64> {
        let mut horizons = HashMap::new();
        for rule in &self.options.retention_rules {
            let horizon = now_ms.saturating_sub(rule.keep_ms);
            for id in self.table.select(&rule.matchers, TimeRange::ALL, self.table.len()) {
                let key = SeriesKey::of(self.table.canonical(id));
                let known = horizons.entry(key).or_insert(horizon);
                *known = horizon.max(*known);
            }
        }
        horizons
    }

    /// Rewrites parts that hold nothing but what a rule drops of one of its series. Called with `compacting` held.
    pub(crate) fn apply_rules(&self, now_ms: i64) -> Result<(), StoreError> {
        let last = self.rules_applied_ms.load(Ordering::Relaxed);
        if self.options.retention_rules.is_empty() || now_ms < last.saturating_add(RULES_EVERY_MS) {
            return Ok(());
        }
        let horizons = self.horizons(now_ms);
        // Each part once at most, also where the clock goes back meanwhile.
        for _ in 0..self.view().parts.len() {
            let parts = self.view().parts.clone();
            let unmergeable = self.unmergeable.lock().clone();
            let due = |part: &&Arc<Part>| {
                let t_max = part.meta().t_max;
                !unmergeable.contains(&part.meta().id)
                    && horizons
                        .iter()
                        .any(|(key, horizon)| t_max < *horizon && part.row_of(*key).is_some())
            };
            let Some(part) = parts.iter().find(due).filter(|_| !self.is_closed()) else {
                break;
            };
            self.merge(&Plan {
                inputs: vec![part.meta().id],
                level: part.meta().level,
            })?;
        }
        self.rewrite_rollups(|part| {
            let t_max = part.meta().t_max;
            let mut rules = horizons.iter();
            rules.any(|(key, horizon)| t_max < *horizon && part.row_of(*key).is_some())
        })?;
        self.rules_applied_ms.store(now_ms, Ordering::Relaxed);
        Ok(())
    }

    /// What a merge leaves out now. `manifest` is held since the number of the new part was taken.
    pub(crate) fn left_out(&self, manifest: &Manifest) -> Deleted {
        let now_ms = self.options.clock.now_ms();
        let deleted = Deleted::new(&manifest.deletions);
        if self.options.retention_rules.is_empty() {
            deleted
        } else {
            deleted.and_before(self.horizons(now_ms))
        }
    }
}
