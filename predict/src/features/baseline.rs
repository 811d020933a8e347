//! A column against its own lagged past: how far it stands from what was usual, in units of what was usual.
//!
//! The baseline is the long window that ended one middle window ago, so that a slow drift does not hide itself by raising
//! its own mean (facts: prediction, 2.2).

use super::past::Runs;
use crate::window::Windows;

/// A run of blocks summed up: count, mean, sum of squared differences from the mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Aggregate {
    pub(crate) n: u32,
    pub(crate) mean: f64,
    pub(crate) m2: f64,
}

impl Aggregate {
    /// Of the values present; two passes, so that a large mean does not drown a small spread.
    pub(crate) fn of(values: &[f32]) -> Self {
        let (mut n, mut sum) = (0_u32, 0.0_f64);
        for v in values {
            if !v.is_nan() {
                n += 1;
                sum += f64::from(*v);
            }
        }
        if n == 0 {
            return Self::default();
        }
        let mean = sum / f64::from(n);
        let mut m2 = 0.0;
        for v in values {
            if !v.is_nan() {
                let d = f64::from(*v) - mean;
                m2 += d * d;
            }
        }
        Self { n, mean, m2 }
    }

    /// Several runs as one (Chan, Golub, LeVeque 1979).
    pub(crate) fn merge(parts: impl Iterator<Item = Self> + Clone) -> Self {
        let (mut n, mut sum) = (0_u32, 0.0);
        for p in parts.clone() {
            n += p.n;
            sum += p.mean * f64::from(p.n);
        }
        if n == 0 {
            return Self::default();
        }
        let mean = sum / f64::from(n);
        let m2 = parts
            .map(|p| p.m2 + f64::from(p.n) * (p.mean - mean) * (p.mean - mean))
            .sum();
        Self { n, mean, m2 }
    }

    pub(crate) fn mean(self) -> Option<f64> {
        (self.n > 0).then_some(self.mean)
    }

    pub(crate) fn deviation(self) -> f64 {
        if self.n == 0 {
            0.0
        } else {
            (self.m2 / f64::from(self.n)).max(0.0).sqrt()
        }
    }
}

/// One column up to its newest block: the newest blocks one by one, and the aligned runs that were complete by then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    values: &'a [f32],
    runs: Runs<'a>,
    /// Blocks since the last complete run.
    pub(crate) tail: usize,
    pub(crate) windows: Windows,
}

/// Aggregates of a column, one for each aligned run of `short` blocks; the column must begin at such a run.
pub(crate) fn aggregates(values: &[f32], short: usize) -> Vec<Aggregate> {
    values.chunks_exact(short).map(Aggregate::of).collect()
}

impl<'a> View<'a> {
    pub(crate) fn new(values: &'a [f32], runs: Runs<'a>, tail: usize, windows: Windows) -> Self {
        Self {
            values,
            runs,
            tail,
            windows,
        }
    }

    /// The last `n` blocks that ended `lag` blocks ago. Older blocks than [`Windows::recent`] are known as runs only.
    pub(crate) fn blocks(self, n: usize, lag: usize) -> &'a [f32] {
        debug_assert!(
            n + lag <= self.windows.recent(),
            "single blocks are kept for a while only"
        );
        let end = self.values.len().saturating_sub(lag);
        &self.values[end.saturating_sub(n)..end]
    }

    /// Runs that were complete `lag` blocks ago, `n` blocks of them. Both are whole numbers of runs.
    pub(crate) fn runs(self, n: usize, lag: usize) -> Runs<'a> {
        let short = self.windows.short;
        let end = self.runs.len().saturating_sub(lag / short);
        self.runs.slice(end.saturating_sub(n / short)..end)
    }

    /// The complete runs of the last `n` blocks and what came since: `n` to `n + short - 1` blocks as one.
    pub(crate) fn since(self, n: usize) -> Aggregate {
        let newest = Aggregate::of(self.blocks(self.tail, 0));
        Aggregate::merge(self.runs(n, 0).iter().chain([newest]))
    }

    /// The most that the column showed within the long window: as a mean over a run, or in a block since the last one.
    pub(crate) fn most(self) -> f64 {
        let runs = self.runs(self.windows.long, 0).iter().filter_map(Aggregate::mean);
        let newest = self.blocks(self.tail, 0).iter().map(|v| f64::from(*v));
        // f64::max ignores a NaN.
        runs.chain(newest).fold(f64::NAN, f64::max)
    }

    /// The newest value, at most a short window old.
    pub(crate) fn last(self) -> Option<f64> {
        self.blocks(self.windows.short, 0)
            .iter()
            .rev()
            .find(|v| !v.is_nan())
            .map(|v| f64::from(*v))
    }
}

/// What was usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Baseline {
    pub(crate) mean: f64,
    pub(crate) spread: f64,
}

/// The lagged baseline, or nothing before two short windows of it have been seen.
///
/// `floor` and `typical` keep the spread from vanishing: the resolution of the signal, and 2 % of the spread that the
/// signal has elsewhere in the fleet; 0.1 % of the mean as well.
pub(crate) fn baseline(view: View<'_>, floor: f64, typical: f64) -> Option<Baseline> {
    let w = view.windows;
    let long = Aggregate::merge(view.runs(w.long, w.middle).iter());
    if (long.n as usize) < 2 * w.short {
        return None;
    }
    let spread = long
        .deviation()
        .max(floor)
        .max(0.02 * typical)
        .max(1e-3 * long.mean.abs())
        .max(1e-9);
    Some(Baseline {
        mean: long.mean,
        spread,
    })
}

/// What the short and the middle window look like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recent {
    pub(crate) short: Aggregate,
    pub(crate) middle: Aggregate,
}

pub(crate) fn recent(view: View<'_>) -> Recent {
    let w = view.windows;
    Recent {
        short: Aggregate::of(view.blocks(w.short, 0)),
        middle: view.since(w.middle),
    }
}

/// `z`, `z1`, `z2`, `vol1`, `max1`, `min1`, in that order.
pub(crate) fn scores(view: View<'_>, recent: Recent, base: Baseline) -> [f64; 6] {
    let z = |v: Option<f64>| v.map_or(f64::NAN, |v| (v - base.mean) / base.spread);
    let (mut high, mut low) = (f32::NEG_INFINITY, f32::INFINITY);
    for v in view.blocks(view.windows.short, 0) {
        // A NaN compares false, so missing blocks change nothing.
        if *v > high {
            high = *v;
        }
        if *v < low {
            low = *v;
        }
    }
    let extreme = |v: f32| v.is_finite().then_some(f64::from(v));
    let volatility = if recent.short.n < 2 {
        f64::NAN
    } else {
        (recent.short.deviation() / base.spread).ln_1p()
    };
    [
        z(view.last()),
        z(recent.short.mean()),
        z(recent.middle.mean()),
        volatility,
        z(extreme(high)),
        z(extreme(low)),
    ]
}
