//! The one place of the agent that reads the wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds since the Unix epoch, UTC.
#[expect(
    clippy::disallowed_methods,
    reason = "the agent stamps its readings; everything else takes time as an argument"
)]
pub(crate) fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Time until the next multiple of `interval`, shifted by `phase` (less than `interval`), seen from `now`.
///
/// Readings stay on one grid per host, however long each takes, and hosts with different phases do not all send at once.
pub(crate) fn until_next_tick(now_unix_nanos: u64, interval: Duration, phase: Duration) -> Duration {
    let step = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
    let phase = u64::try_from(phase.as_nanos()).unwrap_or(0) % step;
    let into = (now_unix_nanos % step + step - phase) % step;
    Duration::from_nanos(step - into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_fall_on_a_grid_that_the_phase_shifts() {
        let check = |now_ms: u64, interval_ms: u64, phase_ms: u64, expected_ms: u64| {
            let wait = until_next_tick(
                now_ms * 1_000_000,
                Duration::from_millis(interval_ms),
                Duration::from_millis(phase_ms),
            );
            assert_eq!(
                wait,
                Duration::from_millis(expected_ms),
                "{now_ms} {interval_ms} {phase_ms}"
            );
        };
        check(0, 1000, 0, 1000);
        check(1, 1000, 0, 999);
        check(10_999, 1000, 0, 1);
        check(10_000, 10_000, 300, 300);
        check(10_300, 10_000, 300, 10_000);
        check(10_299, 10_000, 300, 1);
    }
}
