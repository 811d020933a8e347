//! Availability: the share of a time in which a host had no incident, and how long alerts took, as series.

use anyhow::Result;
use api::notify::Outbox;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use predict::incident::{Incident, Verdict};
use store::Store;

use crate::scoring::Writer;

/// The share of the month so far, and of the last 30 days, in which no incident of the host was open.
const AVAILABILITY: &str = "foreshock_host_availability_ratio";
const DAY_MS: i64 = 86_400_000;

/// Writes the availability of these hosts at `now_ms`. What was noise, or mitigated, was no failure.
pub(crate) fn write(store: &Store, now_ms: i64, hosts: &[&str], incidents: &[Incident]) -> Result<()> {
    let spans = [("month", month_of(now_ms)), ("30d", now_ms - 30 * DAY_MS)];
    let mut writer = Writer::new(store, now_ms);
    for host in hosts {
        let own = || {
            incidents
                .iter()
                .filter(|i| i.host == *host && i.verdict == Verdict::Real)
        };
        for (span, from_ms) in spans {
            let down = own().map(|incident| (incident.start, incident.end.unwrap_or(now_ms)));
            let value = available(down.collect(), from_ms, now_ms);
            writer.add(AVAILABILITY, &[("host", host), ("span", span)], value)?;
        }
    }
    writer.finish()?;
    Ok(())
}

/// The share of the time between `from_ms` and `to_ms` that none of the spans covers.
fn available(mut down: Vec<(i64, i64)>, from_ms: i64, to_ms: i64) -> f64 {
    if to_ms <= from_ms {
        return 1.0;
    }
    down.sort_unstable();
    let (mut covered, mut until) = (0, from_ms);
    for (start, end) in down {
        let (start, end) = (start.max(until), end.min(to_ms));
        if end > start {
            covered += end - start;
            until = end;
        }
    }
    1.0 - covered as f64 / (to_ms - from_ms) as f64
}

/// When the month of that time began, in UTC.
fn month_of(now_ms: i64) -> i64 {
    let first = Timestamp::from_millisecond(now_ms)
        .map(|now| now.to_zoned(TimeZone::UTC))
        .and_then(|now| now.first_of_month())
        .and_then(|first| first.start_of_day());
    first.map_or(now_ms, |first| first.timestamp().as_millisecond())
}

/// Writes durations of alerts that came to be known since the last time.
pub(crate) fn write_measured(store: &Store, now_ms: i64) -> Result<()> {
    let measured = Outbox::measured(store.state())?;
    if measured.is_empty() {
        return Ok(());
    }
    let mut writer = Writer::new(store, now_ms);
    for (episode, measure) in &measured {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let labels = [
            ("alertname", episode.alert.clone()),
            ("host", text(&episode.host)),
            ("service", text(&episode.service)),
            ("severity", text(&episode.severity)),
        ];
        let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
        if let Some(seconds) = measure.of(episode) {
            writer.add(measure.metric(), &labels, seconds)?;
        }
    }
    // Durable before it is forgotten; written twice at worst, and then the same.
    writer.finish()?;
    Outbox::take_over(store.state(), &measured)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_overlap_count_once_and_only_within_the_time() {
        for (down, expected) in [
            (vec![], 1.0),
            (vec![(150, 160)], 0.9),
            (vec![(150, 160), (155, 165), (152, 153)], 0.85),
            (vec![(0, 110), (190, 500)], 0.8),
            (vec![(0, 99), (200, 300)], 1.0),
            (vec![(0, 1000)], 0.0),
        ] {
            assert_eq!(available(down.clone(), 100, 200), expected, "{down:?}");
        }
        assert_eq!(available(vec![(0, 1)], 5, 5), 1.0);
    }

    #[test]
    fn a_month_begins_on_its_first_day_in_utc() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        assert_eq!(month_of(at("2026-02-28T23:59:59Z")), at("2026-02-01T00:00:00Z"));
        assert_eq!(month_of(at("2026-03-01T00:00:00Z")), at("2026-03-01T00:00:00Z"));
    }
}
