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
use crate::error::StoreError;
use crate::manifest::Manifest;
use crate::part::{Part, PartId};
use crate::series::{Matcher, SeriesKey, TimeRange};
use crate::store::Shared;
use crate::telemetry::Telemetry;

/// Looking which series rules are about takes a moment: it is done so often, by the clock.
const RULES_EVERY_MS: i64 = 10 * 60 * 1000;

/// How long some series are kept, where that is less than the others.
#[derive(Clone, Debug)]
pub struct RetentionRule {
    /// Series that meet all of these.
    pub matchers: Vec<Matcher>,
    /// Samples that are older are dropped.
    pub keep_ms: i64,
}

/// Parts whose newest sample is older than `keep_ms` at `now`: take them out of the manifest, commit, then remove their files.
pub(crate) fn expired(manifest: &Manifest, now: i64, keep_ms: i64) -> Vec<PartId> {
    let horizon = now.saturating_sub(keep_ms);
    manifest
        .parts
        .iter()
        .filter(|part| part.t_max < horizon)
        .map(|part| part.id)
        .collect()
}

/// The parts that end first, until the others take no more than `bytes_max`. The last one stays: it is being added to.
pub(crate) fn oversized(manifest: &Manifest, bytes_max: u64) -> Vec<PartId> {
    let mut parts: Vec<_> = manifest.parts.iter().collect();
    parts.sort_by_key(|part| (part.t_max, part.id));
    let mut bytes: u64 = parts.iter().map(|part| part.bytes).sum();
    let mut gone = Vec::new();
    for part in parts.iter().take(parts.len().saturating_sub(1)) {
        if bytes <= bytes_max {
            break;
        }
        bytes -= part.bytes;
        gone.push(part.id);
    }
    gone
}

impl Shared {
    /// Drops whole parts that are too old or too much. Called with `compacting` held.
    pub(crate) fn drop_parts_due(&self, now_ms: i64) -> Result<(), StoreError> {
        if let Some(keep_ms) = self.options.retention_ms {
            let gone = expired(&self.manifest.lock(), now_ms, keep_ms);
            self.drop_parts(&gone, "time")?;
        }
        if let Some(bytes_max) = self.options.retention_bytes {
            let gone = oversized(&self.manifest.lock(), bytes_max);
            self.drop_parts(&gone, "size")?;
        }
        Ok(())
    }

    fn is_closing(&self) -> bool {
        self.commit.queue.lock().closed
    }

    fn drop_parts(&self, gone: &[PartId], reason: &'static str) -> Result<(), StoreError> {
        if gone.is_empty() {
            return Ok(());
        }
        let samples = {
            let manifest = self.manifest.lock();
            let dropped = manifest.parts.iter().filter(|part| gone.contains(&part.id));
            dropped.map(|part| part.samples).sum()
        };
        self.commit_manifest(gone, &[], None)?;
        self.publish(gone, Vec::new(), false);
        self.remove_parts(gone);
        self.count_dropped(samples, reason);
        tracing::info!(
            tenant = self.tenant,
            parts = gone.len(),
            samples,
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
            let due = |part: &&Arc<Part>| {
                let t_max = part.meta().t_max;
                horizons
                    .iter()
                    .any(|(key, horizon)| t_max < *horizon && part.row_of(*key).is_some())
            };
            let Some(part) = parts.iter().find(due).filter(|_| !self.is_closing()) else {
                break;
            };
            self.merge(&Plan {
                inputs: vec![part.meta().id],
                level: part.meta().level,
            })?;
        }
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
