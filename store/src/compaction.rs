//! Picks parts and merges them into larger ones: fewer files to look into, longer chunks.
//!
//! A sample is meant to be merged twice in its life, into a day and into thirty days; more would write more bytes than it saves.
//! A part belongs to the window in which the middle of its time lies, so that one which reaches a few seconds over a window's end,
//! as flushes do, still finds its place.
//!
//! Order of rank is kept: where a newer part overwrote samples of an older one, only parts that stand next to each other in rank,
//! as far as their times overlap, are merged, and the result ranks as the highest of them ([`PartMeta::rank`]).

#[cfg(test)]
mod tests;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use crate::deletion::Deleted;
use crate::histogram::Histograms;
use crate::manifest::Manifest;
use crate::part::{Level, Part, PartError, PartId, PartMeta, PartWriter, series_order};
use crate::{Labels, Samples, SeriesKey, TimeRange};

/// A window is merged this long after its end, so that late samples are mostly in.
const GRACE_MS: i64 = 3_600_000;

/// This many parts of a window that is not over yet are merged all the same: more files slow every query down.
const PARTS_MAX: usize = 16;

/// Most parts of one merge: each holds a file and a few buffers.
const MERGE_PARTS_MAX: usize = 64;

/// Chunks this much shorter than a series' samples would fill are worth a rewrite of a single part.
const CHUNKS_TOO_MANY: u64 = 3;

/// Samples that a chunk is made for; see `part::cut`.
const CHUNK_SAMPLES: u64 = 1440;

/// Parts to merge into one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The parts, by ascending rank.
    pub(crate) inputs: Vec<PartId>,
    /// Level of the part to make.
    pub(crate) level: Level,
}

/// The next merge that is due at `now` (milliseconds), `None` where all is in order. Ask again after each. Parts that are
/// `unmergeable` stay as they are.
pub(crate) fn plan(manifest: &Manifest, unmergeable: &HashSet<PartId>, now: i64) -> Option<Plan> {
    [Level::Day, Level::Month].into_iter().find_map(|level| {
        windows(manifest, unmergeable, level)
            .into_iter()
            .find_map(|(number, mut parts)| {
                let end = (number + 1).saturating_mul(level.window_ms());
                if now < end.saturating_add(GRACE_MS) {
                    // Parts that have a lower level to go to wait for that one.
                    parts.retain(|part| level == Level::Day || !fits(part, Level::Day));
                    if parts.len() < PARTS_MAX {
                        return None;
                    }
                }
                closed(manifest, parts, level)
            })
    })
}

/// As [`plan`], without waiting for days to be over: for a store that shall settle now.
pub(crate) fn plan_settled(manifest: &Manifest, unmergeable: &HashSet<PartId>, now: i64) -> Option<Plan> {
    let day = windows(manifest, unmergeable, Level::Day)
        .into_values()
        .find_map(|parts| closed(manifest, parts, Level::Day));
    day.or_else(|| plan(manifest, unmergeable, now))
}

/// What a merge made.
#[derive(Debug)]
pub(crate) struct Merged {
    /// The new part; none where nothing was left.
    pub(crate) part: Option<PartMeta>,
    /// Samples of the inputs that were deleted.
    pub(crate) deleted: u64,
    /// Samples of the inputs that retention's rules drop.
    pub(crate) expired: u64,
    /// Samples of the inputs that rollups tell of.
    pub(crate) rolled: u64,
}

/// What several parts hold of one series: those that are added later count where two have a timestamp. What was deleted and what rules
/// drop is left out.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    pub(crate) samples: Samples,
    pub(crate) histograms: Histograms,
    one: Samples,
    // Samples that were left out, of all series.
    deleted: u64,
    expired: u64,
}

impl Overlay {
    /// Begins the next series.
    pub(crate) fn clear(&mut self) {
        self.samples.clear();
        self.histograms.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.samples.is_empty() && self.histograms.is_empty()
    }

    /// Adds what `part` holds of series `row`, whose key is `key`, within `range`.
    ///
    /// # Errors
    /// [`PartError`] where it cannot be read.
    pub(crate) fn add(
        &mut self,
        part: &Part,
        row: u32,
        key: SeriesKey,
        range: TimeRange,
        deleted: &Deleted,
    ) -> Result<(), PartError> {
        let one = &mut self.one;
        one.clear();
        part.read(row, range, one)?;
        let all = one.len();
        deleted.take_out(key, part.meta().id, 0, one);
        self.deleted += (all - one.len()) as u64;
        self.expired += deleted.take_out_old(key, one) as u64;
        overlay(&mut self.samples, one);
        let mut newer = Histograms::default();
        part.read_histograms(row, range, &mut newer)?;
        let (taken, old) = deleted.take_out_histograms(key, part.meta().id, &mut newer);
        self.deleted += taken as u64;
        self.expired += old as u64;
        self.histograms.overlay(newer);
        Ok(())
    }
}

/// Merges parts into one of `level` with number `id`, series by series; where two hold a sample, the one of higher rank wins.
/// What was deleted, what rules drop and what rollups tell of, up to `rolled_until_ms`, is left out. Memory: one series of one window, and one row group of the new part.
///
/// # Errors
/// [`PartError`] where one cannot be read or the new one cannot be written, whose files are then gone.
pub(crate) fn merge(
    dir: &Path,
    tenant: &str,
    level: Level,
    parts: &[Arc<Part>],
    id: PartId,
    deleted: &Deleted,
    rolled_until_ms: i64,
) -> Result<Merged, PartError> {
    let mut parts: Vec<&Part> = parts.iter().map(Arc::as_ref).collect();
    parts.sort_by_key(|part| (part.meta().rank, part.meta().id));
    let rank = parts.last().map_or(id.0, |part| part.meta().rank);
    let mut writer = None;
    let mut rolled = 0;

    let mut heads = Vec::with_capacity(parts.len());
    for part in &parts {
        let mut series = part.series()?;
        heads.push((series.next().transpose()?, series));
    }
    let mut all = Overlay::default();
    while let Some((key, labels)) = next_series(heads.iter().filter_map(|(head, _)| head.as_ref())) {
        all.clear();
        for (part, (head, series)) in parts.iter().zip(&mut heads) {
            if let Some((row, _, _)) = head.take_if(|(_, head, _)| *head == key) {
                all.add(part, row, key, TimeRange::ALL, deleted)?;
                *head = series.next().transpose()?;
            }
        }
        let before = all.samples.len() + all.histograms.len();
        if rolled_until_ms > i64::MIN {
            let old = all.samples.timestamps.partition_point(|at| *at <= rolled_until_ms);
            all.samples.timestamps.drain(..old);
            all.samples.values.drain(..old);
            all.histograms.remove(i64::MIN, rolled_until_ms);
        }
        rolled += (before - all.samples.len() - all.histograms.len()) as u64;
        if !all.is_empty() {
            let writer = match &mut writer {
                Some(writer) => writer,
                None => writer.insert(PartWriter::create_ranked(dir, id, rank, level, tenant)?),
            };
            let row = writer.series(key, &labels)?;
            writer.mixed(row, &all.samples, &all.histograms)?;
        }
    }
    Ok(Merged {
        part: writer.map(PartWriter::finish).transpose()?,
        deleted: all.deleted,
        expired: all.expired,
        rolled,
    })
}

/// Merges `newer` into `older`; where both have a timestamp, `newer` wins. Both ascend.
pub(crate) fn overlay(older: &mut Samples, newer: &Samples) {
    let (Some(&first), Some(&last)) = (newer.timestamps.first(), newer.timestamps.last()) else {
        return;
    };
    // Mostly parts follow each other.
    let from = older.timestamps.partition_point(|&t| t < first);
    let to = older.timestamps.partition_point(|&t| t <= last);
    if from == to {
        older.timestamps.splice(from..from, newer.timestamps.iter().copied());
        older.values.splice(from..from, newer.values.iter().copied());
        return;
    }
    let mut between = Samples::default();
    let mut new = newer.iter().peekable();
    for (at, value) in older.timestamps[from..to]
        .iter()
        .copied()
        .zip(older.values[from..to].iter().copied())
    {
        while let Some((t, v)) = new.next_if(|&(t, _)| t < at) {
            between.push(t, v);
        }
        match new.next_if(|&(t, _)| t == at) {
            Some((t, v)) => between.push(t, v),
            None => between.push(at, value),
        }
    }
    new.for_each(|(t, v)| between.push(t, v));
    older.timestamps.splice(from..to, between.timestamps);
    older.values.splice(from..to, between.values);
}

/// The first series in order among those that come next in each part.
pub(crate) fn next_series<'a>(
    heads: impl Iterator<Item = &'a (u32, SeriesKey, Labels)>,
) -> Option<(SeriesKey, Labels)> {
    let (_, key, labels) = heads.min_by(|a, b| series_order(&a.2, &b.2))?;
    Some((*key, labels.clone()))
}

/// Parts below or at `level` by the number of the window that their middle lies in, by rank. A part that is longer than two windows
/// of the level waits for a higher one; beyond the highest, it stays as it is.
fn windows<'m>(
    manifest: &'m Manifest,
    unmergeable: &HashSet<PartId>,
    level: Level,
) -> BTreeMap<i64, Vec<&'m PartMeta>> {
    let mut windows: BTreeMap<i64, Vec<&PartMeta>> = BTreeMap::new();
    for part in manifest
        .parts
        .iter()
        .filter(|part| part.level <= level && fits(part, level) && !unmergeable.contains(&part.id))
    {
        let middle = part.t_min.midpoint(part.t_max);
        match windows.entry(middle.div_euclid(level.window_ms())) {
            Entry::Occupied(parts) => parts.into_mut().push(part),
            Entry::Vacant(place) => {
                place.insert(vec![part]);
            }
        }
    }
    windows
}

/// Whether a part is short enough for a level's window; one that reaches over an end still is.
fn fits(part: &PartMeta, level: Level) -> bool {
    part.t_max.saturating_sub(part.t_min) <= 2 * level.window_ms()
}

/// Whether a merge of these parts, all of one window, brings more than it costs.
fn worth_merging(parts: &[&PartMeta], level: Level) -> bool {
    match parts {
        [] => false,
        [part] => {
            // Its chunks may be much shorter than its series' samples would fill.
            let ideal: u64 = u64::from(part.series).max(part.samples.div_ceil(CHUNK_SAMPLES));
            part.level < level && part.chunks >= CHUNKS_TOO_MANY * ideal
        }
        parts => {
            // A little late data does not rewrite a whole merged window; it waits until there is more, or for the next level.
            let settled: u64 = parts
                .iter()
                .filter(|part| part.level == level)
                .map(|part| part.bytes)
                .max()
                .unwrap_or(0);
            let all: u64 = parts.iter().map(|part| part.bytes).sum();
            settled == 0 || parts.len() >= PARTS_MAX || (all - settled) * 4 >= settled
        }
    }
}

/// The first run of these parts that may be merged, as a plan. Between two parts of a run there is none in rank, left out of it,
/// that overwrote samples of one below it: merging around it would turn the older samples into the newer ones.
fn closed(manifest: &Manifest, mut parts: Vec<&PartMeta>, level: Level) -> Option<Plan> {
    parts.sort_by_key(|part| (part.rank, part.id));
    let mut runs: Vec<Vec<&PartMeta>> = Vec::new();
    for part in &parts {
        match runs.last_mut() {
            Some(run) if run.len() < MERGE_PARTS_MAX && !is_divided(manifest, run, part, &parts) => run.push(part),
            _ => runs.push(vec![part]),
        }
    }
    let run = runs.into_iter().find(|run| worth_merging(run, level))?;
    Some(Plan {
        inputs: run.iter().map(|part| part.id).collect(),
        level,
    })
}

/// Whether a part that is not among `candidates` stands in rank between `run` and `next`, above a part of the run that it overlaps.
fn is_divided(manifest: &Manifest, run: &[&PartMeta], next: &PartMeta, candidates: &[&PartMeta]) -> bool {
    manifest.parts.iter().any(|other| {
        (other.rank, other.id) < (next.rank, next.id)
            && candidates.iter().all(|part| part.id != other.id)
            && run.iter().any(|part| {
                (part.rank, part.id) < (other.rank, other.id) && part.t_min <= other.t_max && other.t_min <= part.t_max
            })
    })
}
