//! What failures of different kinds have in common: how close the nearest limit is, whatever runs out; how many errors are
//! counted, whatever counts them; and how far signals have gone in the direction in which they turn bad.
//!
//! A young fleet has seen two full disks, three leaks and five kinds of errors on its GPUs, too few of each to learn its
//! signs from. A feature that all of them move learns from all of them.

use super::CLIP;
use super::baseline::{Aggregate, Recent, View};

/// Names, in the order of [`Pooled::features`].
pub(crate) const NAMES: [&str; LIMITS + EVENTS + 3 * WORSE] = [
    "limit_ttl",
    "limit_near",
    "events1",
    "events2",
    "events3",
    "events1_more",
    "events2_more",
    "worse_z_max",
    "worse_z_top3",
    "worse_z_mean",
    "worse_z1_max",
    "worse_z1_top3",
    "worse_z1_mean",
    "worse_z2_max",
    "worse_z2_top3",
    "worse_z2_mean",
    "worse_held_max",
    "worse_held_top3",
    "worse_held_mean",
    "worse_slope2_max",
    "worse_slope2_top3",
    "worse_slope2_mean",
    "worse_ewma_max",
    "worse_ewma_top3",
    "worse_ewma_mean",
];
/// How many of them are about limits, and how many about events.
pub(crate) const LIMITS: usize = 2;
pub(crate) const EVENTS: usize = 5;
/// Views of a column that are pooled by how bad they are.
const WORSE: usize = 6;

/// Collects over the columns of a host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pooled {
    /// The column whose limit is nearest, and the logarithm of the blocks until then.
    nearest: Option<(usize, f64)>,
    /// The column whose events stand out most against its own long window, and by how much.
    most: Option<(usize, f64)>,
    short: Events,
    middle: Events,
    long: Events,
    /// For each view, how far each column has gone in its bad direction.
    worse: [Vec<f64>; WORSE],
}

/// Events over some blocks.
#[derive(Clone, Copy, Debug, Default)]
struct Events {
    count: f64,
    /// The most blocks that one column was known for.
    blocks: u32,
}

impl Events {
    fn of(run: Aggregate) -> Self {
        Self {
            count: (run.mean * f64::from(run.n)).max(0.0),
            blocks: run.n,
        }
    }

    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.blocks = self.blocks.max(other.blocks);
    }

    /// `ln((1 + events) / (1 + events that the same time saw before))`.
    fn more_than(self, before: Self) -> f64 {
        if self.blocks == 0 || before.blocks == 0 {
            return f64::NAN;
        }
        let usual = before.count * f64::from(self.blocks) / f64::from(before.blocks);
        self.count.ln_1p() - usual.ln_1p()
    }

    fn log(self) -> f64 {
        if self.blocks == 0 { f64::NAN } else { self.count.ln_1p() }
    }
}

impl Pooled {
    /// A column with a limit: the logarithm of one and the blocks until it is reached, as in its own feature.
    pub(crate) fn limit(&mut self, column: usize, log_blocks: f64) {
        if !log_blocks.is_nan() && self.nearest.is_none_or(|(_, nearest)| log_blocks < nearest) {
            self.nearest = Some((column, log_blocks));
        }
    }

    /// A column of events.
    pub(crate) fn events(&mut self, column: usize, view: View<'_>, recent: Recent) {
        let long = Aggregate::merge(view.runs(view.windows.long, 0).iter());
        let (short, middle, long) = (Events::of(recent.short), Events::of(recent.middle), Events::of(long));
        self.short.add(short);
        self.middle.add(middle);
        self.long.add(long);
        let more = middle.more_than(long);
        if !more.is_nan() && self.most.is_none_or(|(_, most)| more > most) {
            self.most = Some((column, more));
        }
    }

    /// A column against its own past: `z`, `z1`, `z2`, `vol1`, `max1`, `min1`, then `slope1`, `slope2`, `day`, `ewma`, in
    /// usual spreads; `low` where low values are worse.
    pub(crate) fn deviation(&mut self, scores: &[f64; 6], slopes: &[f64; 4], low: bool) {
        let [z, z1, z2, _, most, least] = *scores;
        let [_, slope2, _, ewma] = *slopes;
        let sign = if low { -1.0 } else { 1.0 };
        // What the short window never fell below, or never rose above, has held.
        let held = if low { most } else { least };
        for (all, value) in self.worse.iter_mut().zip([z, z1, z2, held, slope2, ewma]) {
            if !value.is_nan() {
                // Logarithms, so that one storm does not outweigh several signals that agree.
                all.push((sign * value).clamp(0.0, CLIP).ln_1p());
            }
        }
    }

    /// Logarithm of the blocks to the nearest limit; how near it is against the horizon, 1 now, a half one horizon ahead, 0
    /// never; logarithms of the events of all columns in the short, middle and long window, and how many more they have
    /// become in the first two than in the long one; and of six views of each column the largest, the mean of the three
    /// largest and the mean of how bad they are. NaN where no column has a limit, counts events, or has a past.
    pub(crate) fn features(mut self, horizon_blocks: f64) -> [f64; NAMES.len()] {
        let ttl = self.nearest.map_or(f64::NAN, |(_, ttl)| ttl);
        let mut out = [f64::NAN; NAMES.len()];
        let (plain, worse) = out.split_at_mut(LIMITS + EVENTS);
        plain.copy_from_slice(&[
            ttl,
            horizon_blocks / (horizon_blocks + ttl.exp_m1()),
            self.short.log(),
            self.middle.log(),
            self.long.log(),
            self.short.more_than(self.long),
            self.middle.more_than(self.long),
        ]);
        for (out, all) in worse.chunks_exact_mut(3).zip(&mut self.worse) {
            if all.is_empty() {
                continue;
            }
            all.sort_by(|a, b| b.total_cmp(a));
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            out.copy_from_slice(&[all[0], mean(&all[..all.len().min(3)]), mean(all)]);
        }
        out
    }

    /// The column that the features of limits speak of.
    pub(crate) fn nearest(&self) -> Option<usize> {
        self.nearest.map(|(column, _)| column)
    }

    /// The column that the features of events speak of.
    pub(crate) fn most(&self) -> Option<usize> {
        self.most.map(|(column, _)| column)
    }
}

#[cfg(test)]
mod tests;
