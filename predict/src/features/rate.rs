//! Counters to increases: per second for traffic, per block for rare events; a counter that falls has started again.

use store::Samples;

use super::columns::COUNTER_LOOKBACK;
use crate::telemetry::is_usable;
use crate::window::Grid;

/// For each block the increase per second, and the plain increase.
///
/// The increase of a block runs from the last sample before it to the last sample within it. A value below the one before
/// means that the counter started again from zero, so that the value itself is the increase (as Prometheus counts). A
/// sample whose predecessor is older than [`COUNTER_LOOKBACK`] blocks gives no increase.
pub(crate) fn increases(
    grid: Grid,
    first: i64,
    blocks: usize,
    samples: &Samples,
    rates: &mut Vec<f64>,
    events: &mut Vec<f64>,
) {
    rates.clear();
    rates.resize(blocks, f64::NAN);
    events.clear();
    events.resize(blocks, f64::NAN);
    let mut previous: Option<(i64, f64)> = None;
    let mut seconds = 0.0;
    let mut current = i64::MIN;
    for (t, v) in samples.iter() {
        if !is_usable(v) {
            continue;
        }
        let block = grid.block_of(t);
        if block != current {
            (current, seconds) = (block, 0.0);
        }
        if let Some((before, old)) = previous
            && t - before <= COUNTER_LOOKBACK * grid.step_ms
            && let Ok(i) = usize::try_from(block - first)
            && i < blocks
        {
            let increase = if v < old { v } else { v - old };
            seconds += (t - before) as f64 / 1e3;
            let sum = if events[i].is_nan() {
                increase
            } else {
                events[i] + increase
            };
            events[i] = sum;
            rates[i] = sum / seconds;
        }
        previous = Some((t, v));
    }
}

#[cfg(test)]
mod tests;
