//! Where a column is heading: window means against the windows before them, the day before, and fast against slow averages.

use super::baseline::{Aggregate, Baseline, Recent, View};

/// `slope1`, `slope2`, `day`, `ewma`, in that order, in units of the usual spread.
pub(crate) fn slopes(view: View<'_>, recent: Recent, base: Baseline) -> [f64; 4] {
    let w = view.windows;
    let against = |now: Aggregate, before: Aggregate| match (now.mean(), before.mean()) {
        (Some(now), Some(before)) => (now - before) / base.spread,
        _ => f64::NAN,
    };
    let short_before = Aggregate::of(view.blocks(w.short, w.short));
    let middle_before = Aggregate::merge(view.runs(w.middle, w.middle).iter());
    // The runs around the same time yesterday: the last complete one then, and the one before it.
    let yesterday = Aggregate::merge(view.runs(2 * w.short, w.day).iter());
    [
        against(recent.short, short_before),
        against(recent.middle, middle_before),
        against(recent.short, yesterday),
        (fast(view) - slow(view)) / base.spread,
    ]
}

/// Exponentially weighted mean with a half-life of half a short window, cut off where a block weighs under half a percent.
fn fast(view: View<'_>) -> f64 {
    let w = view.windows;
    let decay = 0.5_f64.powf(2.0 / w.short as f64);
    let (mut weight, mut sum, mut total) = (1.0, 0.0, 0.0);
    for v in view.blocks(4 * w.short, 0).iter().rev() {
        if !v.is_nan() {
            sum += weight * f64::from(*v);
            total += weight;
        }
        weight *= decay;
    }
    sum / total
}

/// The same with a half-life of one middle window, over aligned runs of four middle windows.
fn slow(view: View<'_>) -> f64 {
    let w = view.windows;
    let decay = 0.5_f64.powf(w.short as f64 / w.middle as f64);
    let (mut weight, mut sum, mut total) = (1.0, 0.0, 0.0);
    for run in view.runs(4 * w.middle, 0).iter().rev() {
        sum += weight * f64::from(run.n) * run.mean;
        total += weight * f64::from(run.n);
        weight *= decay;
    }
    sum / total
}
