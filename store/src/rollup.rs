//! Rollups: what stays of samples when they have become too old to be kept one by one.
//!
//! ```text
//!  raw samples ───────────────── border ─────────────────► now
//!  <= border: buckets of 5 min and of 1 h in parts of their own     > border: parts and head
//! ```
//! The border is an end of a UTC day in the manifest and moves on once a day. The commit that moves it lists the rollups of the day: at every
//! instant a time is told by samples or by rollups, never by both. Samples at or before the border are no longer taken, or those of
//! a bucket could count twice.
//!
//! A bucket is named by its end and reaches from its end less the resolution (not in it) to its end (in it), as PromQL's ranges do: a range
//! that begins and ends at ends of buckets is exactly theirs. It says how many samples there were, their sum, least and greatest; and
//! some of the samples themselves are kept: the last one of each bucket, and those on either side of a counter's reset. A rate over
//! kept samples is the rate over all of them, but for where exactly a range begins and ends.

pub(crate) mod make;
pub(crate) mod merge;
pub(crate) mod read;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::histogram::Histograms;
use crate::metadata::{Metadata, MetricKind};
use crate::part::PartMeta;
use crate::promql::sum;
use crate::rollup::read::RolledColumn;
use crate::series::{Samples, TimeRange, is_stale};

/// Milliseconds of the finer buckets.
pub(crate) const FIVE_MINUTES_MS: i64 = 5 * 60_000;
/// Milliseconds of the coarser buckets.
pub(crate) const HOUR_MS: i64 = 60 * 60_000;
/// Both, the coarser one first: the order in which they tell of time.
pub(crate) const RESOLUTIONS: [i64; 2] = [HOUR_MS, FIVE_MINUTES_MS];
/// The border lies at ends of days.
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;

/// Resets within one bucket of a counter whose samples are all kept; of more the samples between them are told by one.
const RESETS_MAX: usize = 2;

/// How long rollups are kept; those of a resolution that has no time are not made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RollupOptions {
    /// Buckets of five minutes.
    pub five_minutes_ms: Option<i64>,
    /// Buckets of an hour.
    pub hour_ms: Option<i64>,
}

impl RollupOptions {
    /// How long buckets of this length are kept.
    pub(crate) fn keep_ms(&self, resolution_ms: i64) -> Option<i64> {
        match resolution_ms {
            FIVE_MINUTES_MS => self.five_minutes_ms,
            HOUR_MS => self.hour_ms,
            _ => None,
        }
    }

    /// The resolutions that are made.
    pub(crate) fn resolutions(&self) -> impl Iterator<Item = i64> {
        RESOLUTIONS.into_iter().filter(|r| self.keep_ms(*r).is_some())
    }
}

/// What the manifest knows of a part of rollups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RollupMeta {
    /// Length of its buckets.
    pub(crate) resolution_ms: i64,
    /// The part; its times are ends of buckets, and buckets count as samples.
    #[serde(flatten)]
    pub(crate) part: PartMeta,
}

/// Buckets of one series, ascending, and the samples of them that are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Buckets {
    /// The last instant of each.
    pub(crate) ends: Vec<i64>,
    /// Samples in it, without staleness markers; 0 where only a marker is kept.
    pub(crate) counts: Vec<f64>,
    /// Their sum.
    pub(crate) sums: Vec<f64>,
    /// The least; NaN where no sample is a number.
    pub(crate) mins: Vec<f64>,
    /// The greatest, likewise.
    pub(crate) maxs: Vec<f64>,
    /// Samples that are kept, of all buckets together.
    pub(crate) kept: Samples,
}

impl Buckets {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.ends.clear();
        for column in RolledColumn::ALL {
            self.column_mut(column).clear();
        }
        self.kept.clear();
    }

    /// A value of each bucket; empty where it was not wanted.
    pub(crate) fn column(&self, column: RolledColumn) -> &[f64] {
        match column {
            RolledColumn::Count => &self.counts,
            RolledColumn::Sum => &self.sums,
            RolledColumn::Min => &self.mins,
            RolledColumn::Max => &self.maxs,
        }
    }

    pub(crate) fn column_mut(&mut self, column: RolledColumn) -> &mut Vec<f64> {
        match column {
            RolledColumn::Count => &mut self.counts,
            RolledColumn::Sum => &mut self.sums,
            RolledColumn::Min => &mut self.mins,
            RolledColumn::Max => &mut self.maxs,
        }
    }

    /// Appends buckets that come after all of these.
    pub(crate) fn append(&mut self, later: &mut Self) {
        self.ends.append(&mut later.ends);
        for column in RolledColumn::ALL {
            self.column_mut(column).append(later.column_mut(column));
        }
        self.kept.timestamps.append(&mut later.kept.timestamps);
        self.kept.values.append(&mut later.kept.values);
    }

    /// Removes the buckets with these places, and the samples that are kept of them.
    fn remove(&mut self, places: std::ops::Range<usize>, resolution_ms: i64) {
        let (Some(&first), Some(&last)) = (self.ends.get(places.start), self.ends[..places.end].last()) else {
            return;
        };
        let kept = &mut self.kept;
        let from = kept.timestamps.partition_point(|t| *t <= first - resolution_ms);
        let to = kept.timestamps.partition_point(|t| *t <= last);
        kept.timestamps.drain(from..to);
        kept.values.drain(from..to);
        self.ends.drain(places.clone());
        for column in RolledColumn::ALL {
            let column = self.column_mut(column);
            // Those that were not wanted are empty.
            if !column.is_empty() {
                column.drain(places.clone());
            }
        }
    }

    /// A copy of the buckets with these places, and of the samples that are kept of them.
    pub(crate) fn slice(&self, places: std::ops::Range<usize>, resolution_ms: i64) -> Self {
        let mut some = self.clone();
        some.remove(places.end..self.len(), resolution_ms);
        some.remove(0..places.start, resolution_ms);
        some
    }

    /// Removes the buckets that do not end within `range`.
    pub(crate) fn keep(&mut self, range: TimeRange, resolution_ms: i64) {
        let to = self.ends.partition_point(|end| *end <= range.end.0);
        self.remove(to..self.len(), resolution_ms);
        let from = self.ends.partition_point(|end| *end < range.start.0);
        self.remove(0..from, resolution_ms);
    }

    /// Removes all buckets that reach into the time from `t_min` to `t_max`, whole; answers how many.
    pub(crate) fn remove_within(&mut self, t_min: i64, t_max: i64, resolution_ms: i64) -> usize {
        let from = self.ends.partition_point(|end| *end < t_min);
        let to = self
            .ends
            .partition_point(|end| end.saturating_sub(resolution_ms) < t_max)
            .max(from);
        if from < to {
            self.remove(from..to, resolution_ms);
        }
        to - from
    }

    /// Removes the buckets that end before `horizon`; answers how many.
    pub(crate) fn remove_before(&mut self, horizon: i64, resolution_ms: i64) -> usize {
        let to = self.ends.partition_point(|end| *end < horizon);
        if to > 0 {
            self.remove(0..to, resolution_ms);
        }
        to
    }
}

/// The end of the bucket that an instant lies in.
pub(crate) fn end_of(at_ms: i64, resolution_ms: i64) -> i64 {
    at_ms
        .saturating_add(resolution_ms - 1)
        .div_euclid(resolution_ms)
        .saturating_mul(resolution_ms)
}

/// How the values of a metric behave: what has to be kept of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// They grow, and begin again at zero.
    Counts,
    /// They go up and down.
    Varies,
    /// Nobody said.
    Unknown,
}

impl Behaviour {
    /// By what senders said of a metric, else by the ending of its name.
    pub(crate) fn of(metric: &str, known: &BTreeMap<String, Metadata>) -> Self {
        let counts = || {
            ["_total", "_sum", "_count", "_bucket"]
                .iter()
                .any(|ending| metric.ends_with(ending))
        };
        match known.get(metric).map(|metadata| metadata.kind) {
            Some(MetricKind::Counter) => Self::Counts,
            Some(MetricKind::Gauge) => Self::Varies,
            _ if counts() => Self::Counts,
            _ => Self::Unknown,
        }
    }
}

/// Appends the buckets of samples, which ascend and come after all that is in `out`.
pub(crate) fn roll_up(samples: &Samples, resolution_ms: i64, behaviour: Behaviour, out: &mut Buckets) {
    let (times, values) = (&samples.timestamps, &samples.values);
    // The last sample before the bucket that is no marker.
    let mut before = None;
    let mut from = 0;
    while from < times.len() {
        let end = end_of(times[from], resolution_ms);
        let to = from + times[from..].partition_point(|t| *t <= end);
        let live: Vec<usize> = (from..to).filter(|i| !is_stale(values[*i])).collect();
        out.ends.push(end);
        out.counts.push(live.len() as f64);
        out.sums.push(sum(live.iter().map(|i| values[*i])));
        let numbers = || live.iter().map(|i| values[*i]).filter(|v| !v.is_nan());
        out.mins.push(numbers().reduce(f64::min).unwrap_or(f64::NAN));
        out.maxs.push(numbers().reduce(f64::max).unwrap_or(f64::NAN));
        let mut kept = kept(values, before, &live, behaviour);
        if is_stale(values[to - 1]) {
            kept.push((to - 1, values[to - 1]));
        }
        kept.sort_by_key(|(place, _)| *place);
        kept.dedup_by_key(|(place, _)| *place);
        for (place, value) in kept {
            out.kept.push(times[place], value);
        }
        before = live.last().copied().or(before);
        from = to;
    }
}

/// The samples of one bucket that are kept, by their places, of `live`, those that are no markers; `before` is the last one before them.
fn kept(values: &[f64], before: Option<usize>, live: &[usize], behaviour: Behaviour) -> Vec<(usize, f64)> {
    let Some(&last) = live.last() else { return Vec::new() };
    let all: Vec<usize> = before.into_iter().chain(live.iter().copied()).collect();
    let resets: Vec<(usize, usize)> = all
        .windows(2)
        .map(|pair| (pair[0], pair[1]))
        .filter(|(a, b)| values[*b] < values[*a])
        .collect();
    let mut kept = Vec::new();
    if before.is_none() && behaviour == Behaviour::Counts {
        // What was before it is not known here: the counter may have begun again between the two.
        kept.push((live[0], values[live[0]]));
    }
    let as_it_is = |i: usize| (i, values[i]);
    match (behaviour, resets.as_slice()) {
        (Behaviour::Varies, _) | (_, []) => {}
        (Behaviour::Counts, resets) if resets.len() <= RESETS_MAX => {
            kept.extend(resets.iter().flat_map(|(a, b)| [as_it_is(*a), as_it_is(*b)]));
        }
        // One reset may be a counter's; more than that is not worth keeping of what is probably none.
        (Behaviour::Unknown, resets) if resets.len() > 1 => {}
        (_, [reset]) => kept.extend([as_it_is(reset.0), as_it_is(reset.1)]),
        (_, [first, between @ .., last]) => {
            // All that was counted from the first reset to the last one, told by one sample before that.
            let counted = sum(between.iter().chain([last]).map(|(peak, _)| values[*peak]));
            kept.extend([
                as_it_is(first.0),
                as_it_is(first.1),
                (last.0, counted),
                as_it_is(last.1),
            ]);
        }
    }
    kept.push(as_it_is(last));
    // The one before the bucket is kept with its own.
    kept.retain(|(place, _)| Some(*place) != before);
    kept
}

/// The histograms that are kept of `all`: the last one of each bucket, the very first one, as what was before it is not known here,
/// those on either side of a reset, and the marker that a bucket ends with.
pub(crate) fn thin_out(all: &Histograms, resolution_ms: i64) -> Histograms {
    let mut thin = Histograms::default();
    // The last one before the bucket that is no marker.
    let mut before: Option<usize> = None;
    let mut from = 0;
    while from < all.len() {
        let end = end_of(all.timestamps[from], resolution_ms);
        let to = from + all.timestamps[from..].partition_point(|t| *t <= end);
        let live: Vec<usize> = (from..to).filter(|i| !all.values[*i].is_stale()).collect();
        let known: Vec<usize> = before.into_iter().chain(live.iter().copied()).collect();
        let falls = known
            .windows(2)
            .filter(|pair| all.values[pair[1]].count < all.values[pair[0]].count);
        let mut kept: Vec<usize> = falls.take(RESETS_MAX).flatten().copied().collect();
        kept.extend(live.first().filter(|_| before.is_none()));
        kept.extend(live.last());
        kept.extend((to > from && all.values[to - 1].is_stale()).then_some(to - 1));
        // The one before the bucket is kept with its own.
        kept.retain(|place| *place >= from);
        kept.sort_unstable();
        kept.dedup();
        for place in kept {
            thin.push(all.timestamps[place], std::sync::Arc::clone(&all.values[place]));
        }
        before = live.last().copied().or(before);
        from = to;
    }
    thin
}
