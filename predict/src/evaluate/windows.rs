//! The canonical grid of a scored stretch, its alarms, and which incidents they met.

use std::collections::BTreeMap;

use crate::incident::HostIncidents;

const DAY_MS: i64 = 86_400_000;

/// A host and a day, counted from the epoch.
type Cell = (u32, i64);

/// One-sided 90 % of the normal distribution.
const UPPER_Z: f64 = 1.2816;

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
    /// Name of each host; one that is judged over several stretches has a name for each.
    pub(crate) hosts: Vec<String>,
    /// Start of each host's rows, and the end of all.
    bounds: Vec<usize>,
    host: Vec<u32>,
    t: Vec<i64>,
    pub(crate) p: Vec<f64>,
    pub(crate) inside: Vec<bool>,
    pub(crate) positive: Vec<bool>,
    /// Rows before an incident that was mitigated: an alarm there was right, and whether it would have failed nobody knows.
    unknown: Vec<bool>,
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
            hosts: Vec::new(),
            bounds: vec![0],
            host: Vec::new(),
            t: Vec::new(),
            p: Vec::new(),
            inside: Vec::new(),
            positive: Vec::new(),
            unknown: Vec::new(),
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
        let (mut inside, mut positive, mut unknown) = (vec![false; n], vec![false; n], vec![false; n]);
        for span in track.incidents.map_or(&[][..], |i| i.spans()) {
            let before = |t: i64| grid.partition_point(|g| *g < t);
            inside[before(span.start)..before(span.end).max(before(span.start))].fill(true);
            for row in before(span.start - horizon_ms)..before(span.start - gap_ms) {
                // Of several incidents within the horizon the first says what became of a row, as in training.
                unknown[row] |= span.mitigated && !positive[row];
                positive[row] = true;
            }
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
            self.unknown.push(unknown[i]);
            self.censored.push(g + horizon_ms > track.to);
        }
        let outside = inside.iter().filter(|i| !**i).count();
        self.host_days += outside as f64 * stride_ms as f64 / DAY_MS as f64;
        self.hosts.push(track.host.to_owned());
        self.bounds.push(self.p.len());
    }

    /// Days of host `id` outside incidents.
    pub(crate) fn days_of(&self, id: usize) -> f64 {
        let rows = self.bounds[id]..self.bounds[id + 1];
        let outside = self.inside[rows].iter().filter(|i| !**i).count();
        outside as f64 * self.protocol.stride_ms as f64 / DAY_MS as f64
    }

    /// The score of host `id` on the row at `at`; NaN where there is no such row.
    pub(crate) fn score_at(&self, id: u32, at: i64) -> f64 {
        let (from, to) = (self.bounds[id as usize], self.bounds[id as usize + 1]);
        let row = self.t[from..to].binary_search(&at);
        row.map_or(f64::NAN, |i| self.p[from + i])
    }

    /// Rows that ask a question whose answer is known: their outcomes and scores.
    pub(crate) fn judged(&self) -> (Vec<bool>, Vec<f64>) {
        (0..self.p.len())
            .filter(|i| !self.inside[*i] && !self.unknown[*i] && !self.censored[*i])
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

    /// The lowest threshold whose false-alarm rate, and that of every higher one, keeps the budget on these rows.
    pub(crate) fn threshold_for(&self, budget: f64) -> f64 {
        let candidates = self.candidates();
        let silent = candidates.first().map_or(1.0, |highest| highest.next_up());
        self.lowest(silent, candidates, |alarms| {
            let wrong = alarms.iter().filter(|a| !a.good).count();
            wrong as f64 / self.host_days.max(1e-9) <= budget
        })
    }

    /// The lowest threshold that can be expected to keep the budget on other rows: the upper bound of the false-alarm rate
    /// keeps it here ([`Self::false_alarms_at_most`]), and so does the rate of the newer half of the time by itself, which
    /// notices when alarms have become more. The same holds for every higher threshold; where it holds for none, the threshold
    /// lies above all scores outside incidents.
    pub(crate) fn threshold_within(&self, budget: f64) -> f64 {
        let outside = self.p.iter().zip(&self.inside).filter(|(_, i)| !**i).map(|(p, _)| *p);
        let silent = outside.reduce(f64::max).map_or(1.0, f64::next_up);
        let exposure = self.exposure();
        let (newer_from, newer_days) = self.newer_half();
        self.lowest(silent, self.candidates(), |alarms| {
            let newer = |a: &&Alarm| !a.good && a.at >= newer_from[a.host as usize];
            let newer = alarms.iter().filter(newer).count();
            self.false_alarms_at_most(alarms, &exposure) <= budget * self.host_days
                && newer as f64 <= budget * newer_days
        })
    }

    /// The upper bound of the number of false alarms: what nine of ten histories of this kind would stay under.
    ///
    /// False alarms come in clusters: one host raises many, and one event of the fleet many hosts'. So the variance is that of
    /// sums over hosts and over days together (Cameron, Gelbach, Miller 2011), and at least that of independent alarms.
    /// No false alarm at all is the most that history can show, and bounds nothing.
    fn false_alarms_at_most(&self, alarms: &[Alarm], exposure: &BTreeMap<Cell, f64>) -> f64 {
        let mut alarms_of: BTreeMap<Cell, f64> = BTreeMap::new();
        let mut wrong = 0.0;
        for alarm in alarms.iter().filter(|a| !a.good) {
            *alarms_of.entry((alarm.host, alarm.at.div_euclid(DAY_MS))).or_default() += 1.0;
            wrong += 1.0;
        }
        if wrong == 0.0 {
            return 0.0;
        }
        let rate = wrong / self.host_days.max(1e-9);
        let (mut hosts, mut days) = (BTreeMap::<u32, f64>::new(), BTreeMap::<i64, f64>::new());
        let mut both = 0.0;
        // An alarm outside incidents lies in a cell with exposure, since its own row counts there.
        for (cell, time) in exposure {
            let (host, day) = cell;
            let excess = alarms_of.get(cell).copied().unwrap_or(0.0) - rate * time;
            *hosts.entry(*host).or_default() += excess;
            *days.entry(*day).or_default() += excess;
            both += excess * excess;
        }
        let squares: f64 = hosts.values().chain(days.values()).map(|sum| sum * sum).sum();
        wrong + UPPER_Z * (squares - both).max(wrong).sqrt()
    }

    /// Days outside incidents in each cell.
    fn exposure(&self) -> BTreeMap<Cell, f64> {
        let mut cells = BTreeMap::new();
        for i in (0..self.t.len()).filter(|i| !self.inside[*i]) {
            *cells.entry((self.host[i], self.t[i].div_euclid(DAY_MS))).or_default() +=
                self.protocol.stride_ms as f64 / DAY_MS as f64;
        }
        cells
    }

    /// For each host the time from which on its rows are of the newer half, and the host-days outside incidents there.
    fn newer_half(&self) -> (Vec<i64>, f64) {
        let mut from = Vec::new();
        let mut rows = 0_usize;
        for host in self.bounds.windows(2) {
            let half = host[0] + (host[1] - host[0]) / 2;
            from.push(self.t.get(half).copied().unwrap_or(i64::MAX));
            rows += self.inside[half..host[1]].iter().filter(|i| !**i).count();
        }
        (from, rows as f64 * self.protocol.stride_ms as f64 / DAY_MS as f64)
    }

    /// Upper quantiles of the scores outside incidents, from high to low: the thresholds to choose from.
    fn candidates(&self) -> Vec<f64> {
        let mut outside: Vec<f64> = self
            .p
            .iter()
            .zip(&self.inside)
            .filter(|(_, i)| !**i)
            .map(|(p, _)| *p)
            .collect();
        if outside.is_empty() {
            return Vec::new();
        }
        outside.sort_by(f64::total_cmp);
        let (low, high) = (1e-5_f64.ln(), 0.6_f64.ln());
        let mut candidates: Vec<f64> = (0..100)
            .map(|i| quantile(&outside, 1.0 - (low + (high - low) * f64::from(i) / 99.0).exp()))
            .collect();
        candidates.sort_by(|a, b| b.total_cmp(a));
        candidates.dedup();
        candidates
    }

    /// The lowest of the descending candidates at which `keeps` holds for its alarms, and at every higher one; `silent` where
    /// it holds at none.
    fn lowest(&self, silent: f64, candidates: Vec<f64>, keeps: impl Fn(&[Alarm]) -> bool) -> f64 {
        let mut best = silent;
        for threshold in candidates.into_iter().take_while(|t| *t > 0.0) {
            let alert: Vec<bool> = self.p.iter().map(|p| *p >= threshold).collect();
            if !keeps(&self.alarms(&alert)) {
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
