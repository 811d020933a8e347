//! Incidents of the past: how often, how long ago, and whether they come at this time of day.
//!
//! On real servers history says which host is a lemon, and daily repeats are the best sign there is on some fleets (facts:
//! prediction, 2.3). Only what had started by then is counted, and an end only once it had come.

use crate::incident::{HostIncidents, Incidents};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// Days over which repeats are looked for, and what each weighs against the one after it.
const REPEATS: i64 = 7;
const FADE: f64 = 0.75;

/// Of how long a history a count may be over: a count over the same days that training saw grew while it looked on, and so
/// would tell a time from another one, and not a host.
const SEEN: (i64, i64) = (2, 3);
/// How long a history has to be before it can tell hosts that never failed from those that will.
const EVER: i64 = 60 * DAY;

/// How far back one looks for what usually begins in the fleet.
const USUAL: i64 = 30 * DAY;

/// Which features of history a model uses: models keep those that they were trained with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum History {
    /// Counts over a week and a month, closeness of the last one, plain share of days with a repeat.
    #[default]
    Short,
    /// Counts from a day to ever, starts and ends apart, repeats that fade, also with half an hour around.
    Long,
    /// The same, and what has begun on other hosts within the hour, and on any host within a day or, if longer, the horizon.
    Fleet,
    /// The same, with what has begun in the fleet against what usually begins, since a count would tell how large the fleet is;
    /// and without what looks back further than training could see, since it would tell how long the record is.
    Relative,
}

const SHORT: [&str; 4] = ["incidents_7d", "incidents_30d", "since_last", "recurrence"];
const FLEET: [&str; 12] = [
    "incidents_1d",
    "incidents_7d",
    "incidents_30d",
    "incidents_90d",
    "incidents",
    "since_last",
    "since_end",
    "quiet",
    "recurrence",
    "recurrence_near",
    "others_1h",
    "fleet",
];
/// How many of them models had that knew the host alone.
const LONG: usize = 10;

impl History {
    /// Names, in the order of [`Self::features`].
    pub(crate) const fn names(self) -> &'static [&'static str] {
        let fleet: &'static [&'static str] = &FLEET;
        match self {
            Self::Short => &SHORT,
            Self::Long => fleet.split_at(LONG).0,
            Self::Fleet | Self::Relative => fleet,
        }
    }

    /// Counts as `ln(1 + n)`, closeness of the last start and end (1 just now, 0 long ago or never), days of quiet as a
    /// logarithm, and on how many of the last days one started in the same clock window `(t, t + horizon]`; of the fleet,
    /// `ln(1 + n)`, or `ln((1 + n) / (1 + usual))`.
    ///
    /// `taught` is how long a history the model learned from, in milliseconds; what looks back too far for it is 0.
    pub(crate) fn features(
        self,
        fleet: &Incidents,
        host: &str,
        at: i64,
        horizon: i64,
        taught: i64,
        out: &mut Vec<f32>,
    ) {
        let none = HostIncidents::default();
        let incidents = fleet.of(host).unwrap_or(&none);
        let seen = |span: i64| self != Self::Relative || span <= taught / SEEN.1 * SEEN.0;
        let if_seen = |span: i64, value: f32| if seen(span) { value } else { 0.0 };
        let count = |days: i64| {
            let n = incidents.starts_between(at - days * DAY, at);
            if_seen(days * DAY, (n as f64).ln_1p() as f32)
        };
        let days = |then: i64| (at - then) as f64 / DAY as f64;
        let closeness = |then: Option<i64>| then.map_or(0.0, |then| 1.0 / (1.0 + days(then))) as f32;
        let start = incidents.last_start(at);
        match self {
            Self::Short => {
                let share = repeats(incidents, at, horizon, 0, 1.0);
                out.extend([count(7), count(30), closeness(start), share]);
            }
            Self::Long | Self::Fleet | Self::Relative => {
                // Longer than anybody remembers counts as 400 days.
                let quiet = start.map_or(400.0, |s| days(s).min(400.0)).ln_1p() as f32;
                let ever = (incidents.starts_between(i64::MIN, at) as f64).ln_1p() as f32;
                out.extend([count(1), count(7), count(30), count(90), if_seen(EVER, ever)]);
                out.extend([
                    closeness(start),
                    closeness(incidents.last_end(at)),
                    if_seen(EVER, quiet),
                ]);
                out.push(repeats(incidents, at, horizon, 0, FADE));
                out.push(repeats(incidents, at, horizon, HOUR / 2, FADE));
            }
        }
        if matches!(self, Self::Fleet | Self::Relative) {
            let began = |span: i64| fleet.starts_between(at - span, at);
            let others = began(HOUR) - incidents.starts_between(at - HOUR, at);
            // Over no longer than the question asks for: a count that a young history still fills would tell its age.
            let recent = horizon.max(DAY);
            out.extend([(others, HOUR), (began(recent), recent)].map(|(n, span)| {
                let log = (n as f64).ln_1p();
                match self {
                    Self::Relative => log - fleet.usual_starts(at, span, USUAL).ln_1p(),
                    _ => log,
                }
            } as f32));
        }
    }
}

/// Weighted share of the last days on which an incident started within the clock window, `around` wider on both sides.
fn repeats(incidents: &HostIncidents, at: i64, horizon: i64, around: i64, fade: f64) -> f32 {
    // A horizon of a day or more says nothing about the time of day, and its window would reach past `at`.
    if horizon + around >= DAY {
        return 0.0;
    }
    let (mut weight, mut sum, mut all) = (1.0, 0.0, 0.0);
    for day in 1..=REPEATS {
        let then = at - day * DAY;
        if incidents.starts_between(then - around, then + horizon + around) > 0 {
            sum += weight;
        }
        all += weight;
        weight *= fade;
    }
    (sum / all) as f32
}

#[cfg(test)]
mod tests;
