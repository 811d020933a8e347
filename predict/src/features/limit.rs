//! Resources that run out: how long until the limit at the present pace.

use super::baseline::{Aggregate, Recent, View};

/// Blocks beyond which a limit is far away.
const FAR: f64 = 1e4;

/// Logarithm of the blocks until `limit` is reached at the pace of the middle window; `ln(1 + 10,000)` where it never is.
pub(crate) fn log_time_to_limit(view: View<'_>, recent: Recent, limit: f64) -> f64 {
    let w = view.windows;
    let before = Aggregate::merge(view.runs(w.short, w.middle).iter());
    let (Some(last), Some(now), Some(then)) = (view.last(), recent.short.mean(), before.mean()) else {
        return f64::NAN;
    };
    // The run ended where the grid has it, up to a run earlier than the middle window began.
    let pace = (now - then) / (w.middle + view.tail) as f64;
    // Slower than the whole range in 10,000 blocks is no pace at all.
    let blocks = if pace > limit / FAR { (limit - last) / pace } else { FAR };
    blocks.clamp(0.0, FAR).ln_1p()
}
