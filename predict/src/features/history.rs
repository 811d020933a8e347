//! Incidents of the past: how often, how long ago, and whether they come at this time of day.

use crate::incident::HostIncidents;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// Names, in the order of [`features`].
pub(crate) const NAMES: [&str; 4] = ["incidents_7d", "incidents_30d", "since_last", "recurrence"];

/// Counts over 7 and 30 days as `ln(1 + n)`, closeness of the last one (1 just now, 0 long ago), and the share of the
/// last seven days on which one started in the same clock window `(t, t + horizon]`.
///
/// Only incidents that had started by `at_ms` are looked at.
pub(crate) fn features(incidents: Option<&HostIncidents>, at_ms: i64, horizon_ms: i64) -> [f64; 4] {
    let Some(incidents) = incidents else { return [0.0; 4] };
    let started_within = |from: i64, to: i64| incidents.starts_between(from, to);
    let week = started_within(at_ms - 7 * DAY, at_ms);
    let month = started_within(at_ms - 30 * DAY, at_ms);
    let since = incidents.last_start(at_ms).map_or(0.0, |start| {
        let hours = (at_ms - start) as f64 / HOUR as f64;
        1.0 / (1.0 + hours / 24.0)
    });
    // A horizon of a day or more says nothing about the time of day.
    let recurrence = if horizon_ms >= DAY {
        0.0
    } else {
        (1..=7)
            .filter(|day| {
                let then = at_ms - day * DAY;
                // The clock window of earlier days can reach past `at_ms` only for horizons over a day.
                started_within(then, then + horizon_ms) > 0
            })
            .count() as f64
            / 7.0
    };
    [(week as f64).ln_1p(), (month as f64).ln_1p(), since, recurrence]
}
