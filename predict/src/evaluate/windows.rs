//! The canonical grid of a scored stretch, its alarms, and which incidents they met.

use crate::incident::HostIncidents;

/// Scores of one host over a stretch of time in which outcomes are known.
#[derive(Clone, Debug)]
pub struct Track<'a> {
    /// The host.
    pub host: &'a str,
    /// First instant that is judged.
    pub from: i64,
    /// First instant that is not; outcomes are known up to here.
    pub to: i64,
    /// Its incidents.
    pub incidents: Option<&'a HostIncidents>,
    /// Times of the scores, ascending.
    pub at: &'a [i64],
    /// The scores.
    pub probability: &'a [f64],
}

/// How tracks are judged.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    /// How far ahead a score looks.
    pub horizon_ms: i64,
    /// The pause before it begins to count.
    pub gap_ms: i64,
    /// Distance of the rows that are judged.
    pub stride_ms: i64,
}

impl Protocol {
    /// Alerts closer than this are one alarm: the horizon, at most an hour.
    #[must_use]
    pub fn refractory_ms(self) -> i64 {
        self.horizon_ms.min(3_600_000)
    }

    /// A score counts until it is this old.
    fn stale_ms(self) -> i64 {
        3 * self.stride_ms
    }
}

/// An incident that is a target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) host: usize,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) kind: u32,
}

/// What an alert track made of an incident.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Met {
    pub(crate) lead_ms: Option<i64>,
    pub(crate) detected: bool,
    pub(crate) delay_ms: Option<i64>,
}

/// All rows that are judged, host by host.
#[derive(Clone, Debug)]
pub(crate) struct Windows {
    protocol: Protocol,
    /// Start of each host's rows, and the end of all.
    bounds: Vec<usize>,
    host: Vec<u32>,
    t: Vec<i64>,
    pub(crate) p: Vec<f64>,
    pub(crate) inside: Vec<bool>,
    pub(crate) positive: Vec<bool>,
    censored: Vec<bool>,
    pub(crate) targets: Vec<Target>,
    pub(crate) host_days: f64,
}

/// One alarm: alerts that hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alarm {
    pub(crate) host: u32,
    pub(crate) at: i64,
    /// Whether an incident followed within the horizon or was under way.
    pub(crate) good: bool,
}

impl Windows {
    pub(crate) fn new(tracks: &[Track<'_>], protocol: Protocol) -> Self {
        let mut w = Self {
            protocol,
            bounds: vec![0],
            host: Vec::new(),
            t: Vec::new(),
            p: Vec::new(),
            inside: Vec::new(),
            positive: Vec::new(),
            censored: Vec::new(),
            targets: Vec::new(),
            host_days: 0.0,
        };
        for track in tracks {
            w.add(track);
        }
        w
    }

    fn add(&mut self, track: &Track<'_>) {
        let Protocol {
            horizon_ms,
            gap_ms,
            stride_ms,
        } = self.protocol;
        if track.to <= track.from {
            return;
        }
        let id = self.bounds.len() - 1;
        let n = usize::try_from((track.to - track.from + stride_ms - 1) / stride_ms).unwrap_or(0);
        let grid: Vec<i64> = (0..n as i64).map(|i| track.from + i * stride_ms).collect();
        let (mut inside, mut positive) = (vec![false; n], vec![false; n]);
        for span in track.incidents.map_or(&[][..], |i| i.spans()) {
            let before = |t: i64| grid.partition_point(|g| *g < t);
            inside[before(span.start)..before(span.end).max(before(span.start))].fill(true);
            positive[before(span.start - horizon_ms)..before(span.start - gap_ms)].fill(true);
            if !span.nested && !span.mitigated && (track.from..track.to).contains(&span.start) {
                self.targets.push(Target {
                    host: id,
                    start: span.start,
                    end: span.end.min(track.to),
                    kind: span.kind,
                });
            }
        }
        for (i, g) in grid.iter().enumerate() {
            let newest = track.at.partition_point(|t| t <= g);
            let known = newest
                .checked_sub(1)
                .filter(|j| g - track.at[*j] <= self.protocol.stale_ms());
            self.p.push(known.map_or(0.0, |j| {
                if track.probability[j].is_nan() {
                    0.0
                } else {
                    track.probability[j]
                }
            }));
            self.host.push(id as u32);
            self.t.push(*g);
            self.inside.push(inside[i]);
            self.positive.push(positive[i] && !inside[i]);
            self.censored.push(g + horizon_ms > track.to);
        }
        let outside = inside.iter().filter(|i| !**i).count();
        self.host_days += outside as f64 * stride_ms as f64 / 86_400_000.0;
        self.bounds.push(self.p.len());
    }

    /// Rows that ask a question whose answer is known: their outcomes and scores.
    pub(crate) fn judged(&self) -> (Vec<bool>, Vec<f64>) {
        (0..self.p.len())
            .filter(|i| !self.inside[*i] && !self.censored[*i])
            .map(|i| (self.positive[i], self.p[i]))
            .unzip()
    }

    /// Alerts closer than the refractory time are one alarm; one that stands is raised again every horizon.
    pub(crate) fn alarms(&self, alert: &[bool]) -> Vec<Alarm> {
        let refractory = self.protocol.refractory_ms();
        let mut alarms: Vec<Alarm> = Vec::new();
        let (mut previous, mut start, mut age): (Option<(u32, i64)>, i64, i64) = (None, 0, 0);
        for i in (0..alert.len()).filter(|i| alert[*i]) {
            let (host, t) = (self.host[i], self.t[i]);
            let fresh = previous.is_none_or(|(h, before)| h != host || t - before > refractory);
            if fresh {
                start = t;
            }
            let now = (t - start) / self.protocol.horizon_ms;
            if fresh || now != age {
                alarms.push(Alarm {
                    host,
                    at: t,
                    good: false,
                });
            }
            age = now;
            previous = Some((host, t));
            if let Some(last) = alarms.last_mut() {
                last.good |= self.positive[i] || self.inside[i];
            }
        }
        alarms
    }

    /// False alarms per host-day outside incidents.
    pub(crate) fn false_alarm_rate(&self, alert: &[bool]) -> f64 {
        let wrong = self.alarms(alert).iter().filter(|a| !a.good).count();
        wrong as f64 / self.host_days.max(1e-9)
    }

    /// What alerts, optionally turned around in time by a number of rows for each host, made of each incident.
    pub(crate) fn met(&self, alert: &[bool], shifts: Option<&[usize]>) -> Vec<Met> {
        let Protocol { horizon_ms, gap_ms, .. } = self.protocol;
        self.targets
            .iter()
            .map(|target| {
                let (a, b) = (self.bounds[target.host], self.bounds[target.host + 1]);
                let grid = &self.t[a..b];
                let n = b - a;
                let on = |i: usize| alert[a + shifts.map_or(i, |s| (i + n - s[target.host] % n) % n)];
                let before = |t: i64| grid.partition_point(|g| *g < t);
                let (from, to) = (before(target.start - horizon_ms), before(target.start - gap_ms));
                let onset = before(target.start);
                let first_early = (from..to).find(|i| on(*i));
                let first_inside = (onset..before(target.end).max(onset)).find(|i| on(*i));
                let standing = first_early.is_some() && on(onset.saturating_sub(1));
                Met {
                    lead_ms: first_early.map(|i| target.start - grid[i]),
                    detected: first_early.is_some() || first_inside.is_some(),
                    delay_ms: if standing {
                        Some(0)
                    } else {
                        first_inside.map(|i| grid[i] - target.start)
                    },
                }
            })
            .collect()
    }

    /// Rows of each host, for shifting.
    pub(crate) fn lengths(&self) -> Vec<usize> {
        self.bounds.windows(2).map(|w| w[1] - w[0]).collect()
    }

    /// The lowest threshold whose false-alarm rate, and that of every higher one, keeps the budget.
    pub(crate) fn threshold_for(&self, budget: f64) -> f64 {
        let mut outside: Vec<f64> = self
            .p
            .iter()
            .zip(&self.inside)
            .filter(|(_, i)| !**i)
            .map(|(p, _)| *p)
            .collect();
        if outside.is_empty() {
            return 1.0;
        }
        outside.sort_by(f64::total_cmp);
        let (low, high) = (1e-5_f64.ln(), 0.6_f64.ln());
        let mut candidates: Vec<f64> = (0..100)
            .map(|i| quantile(&outside, 1.0 - (low + (high - low) * f64::from(i) / 99.0).exp()))
            .collect();
        candidates.sort_by(|a, b| b.total_cmp(a));
        candidates.dedup();
        let mut best = candidates[0].next_up();
        for threshold in candidates.into_iter().take_while(|t| *t > 0.0) {
            let alert: Vec<bool> = self.p.iter().map(|p| *p >= threshold).collect();
            if self.false_alarm_rate(&alert) > budget {
                break;
            }
            best = threshold;
        }
        best
    }
}

/// The `q` quantile of ascending values, interpolated as numpy does by default.
pub(crate) fn quantile(ascending: &[f64], q: f64) -> f64 {
    let Some(last) = ascending.len().checked_sub(1) else {
        return f64::NAN;
    };
    let at = q.clamp(0.0, 1.0) * last as f64;
    let below = at.floor() as usize;
    let share = at - below as f64;
    let (a, b) = (ascending[below], ascending[(below + 1).min(last)]);
    // From the nearer end, so that thresholds have the same digits as numpy's.
    if share >= 0.5 {
        b - (b - a) * (1.0 - share)
    } else {
        a + (b - a) * share
    }
}
