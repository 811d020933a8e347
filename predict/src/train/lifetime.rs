//! From when to when each host was there: before its first sample and after its last one nothing can fail, and nothing be foretold.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rayon::prelude::*;
use store::{Samples, SeriesId, TimeRange, host_of};

use crate::telemetry::{Telemetry, TelemetryError};

/// Samples are looked for so much time at a time. Most hosts are there all the time, and known after the first and the last day.
const STRETCH_MS: i64 = 24 * 3_600_000;

/// Times of the first and the last sample of each host within `range`; a few samples near the ends of it may be overlooked, of
/// less than `close_ms` together.
///
/// # Errors
/// [`TelemetryError`] when samples cannot be read.
pub(super) fn lifetimes(
    telemetry: &dyn Telemetry,
    range: TimeRange,
    close_ms: i64,
) -> Result<BTreeMap<String, (i64, i64)>, TelemetryError> {
    let first = sides(telemetry, range, Side::First, close_ms)?;
    let mut last = sides(telemetry, range, Side::Last, close_ms)?;
    let both = |(host, first)| last.remove(&host).map(|last| (host, (first, last)));
    Ok(first.into_iter().filter_map(both).collect())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    First,
    Last,
}

impl Side {
    /// The stretch of `rest` that is looked at next, and what is left then.
    fn stretch(self, rest: TimeRange) -> (TimeRange, Option<TimeRange>) {
        let (start, end) = (rest.start.0, rest.end.0);
        if end - start < STRETCH_MS {
            return (rest, None);
        }
        let (some, others) = match self {
            Self::First => ((start, start + STRETCH_MS - 1), (start + STRETCH_MS, end)),
            Self::Last => ((end - STRETCH_MS + 1, end), (start, end - STRETCH_MS)),
        };
        (
            TimeRange::millis(some.0, some.1),
            Some(TimeRange::millis(others.0, others.1)),
        )
    }

    fn of(self, timestamps: &[i64]) -> Option<i64> {
        match self {
            Self::First => timestamps.first().copied(),
            Self::Last => timestamps.last().copied(),
        }
    }

    fn farther(self, a: i64, b: i64) -> i64 {
        match self {
            Self::First => a.min(b),
            Self::Last => a.max(b),
        }
    }

    /// How far `at` lies from this end of a stretch.
    fn distance(self, stretch: TimeRange, at: i64) -> i64 {
        match self {
            Self::First => at - stretch.start.0,
            Self::Last => stretch.end.0 - at,
        }
    }
}

fn sides(
    telemetry: &dyn Telemetry,
    range: TimeRange,
    side: Side,
    close_ms: i64,
) -> Result<HashMap<String, i64>, TelemetryError> {
    let all = telemetry.series(range)?;
    let mut wanted: BTreeSet<&str> = all.iter().filter_map(|s| host_of(&s.labels)).collect();
    let mut found = HashMap::new();
    let mut rest = Some(range);
    while let Some(next) = rest.filter(|_| !wanted.is_empty()) {
        let (stretch, others) = side.stretch(next);
        rest = others;
        let series = telemetry.series(stretch)?;
        let mut of_host: BTreeMap<&str, Vec<SeriesId>> = BTreeMap::new();
        for s in &series {
            if let Some(host) = host_of(&s.labels).filter(|host| wanted.contains(host)) {
                of_host.entry(host).or_default().push(s.id);
            }
        }
        let seen: Vec<(&str, Option<i64>)> = of_host
            .into_par_iter()
            .map(|(host, series)| Ok((host, farthest(telemetry, &series, stretch, side, close_ms)?)))
            .collect::<Result<_, TelemetryError>>()?;
        for (host, at) in seen {
            if let Some(at) = at {
                wanted.remove(host);
                found.insert(host.to_owned(), at);
            }
        }
    }
    Ok(found)
}

/// The first or the last sample of some series within `stretch`.
fn farthest(
    telemetry: &dyn Telemetry,
    series: &[SeriesId],
    stretch: TimeRange,
    side: Side,
    close_ms: i64,
) -> Result<Option<i64>, TelemetryError> {
    let mut samples = Samples::default();
    let mut farthest: Option<i64> = None;
    for id in series {
        samples.clear();
        telemetry.read(*id, stretch, &mut samples)?;
        if let Some(at) = side.of(&samples.timestamps) {
            let at = farthest.map_or(at, |known| side.farther(known, at));
            farthest = Some(at);
            // No other series can change much.
            if side.distance(stretch, at) < close_ms {
                break;
            }
        }
    }
    Ok(farthest)
}
