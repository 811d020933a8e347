//! What a model would have been worth: incidents met, false alarms within their budget, chance beside it, calibration.
//!
//! Events are counted and not windows, and recall never stands without the level that chance would reach: the same alerts,
//! shifted in time (facts: prediction, 2.1).

mod ledger;
mod ranges;
mod windows;

use std::fmt;

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

pub use ledger::{AlarmEntry, HostEntry, IncidentEntry, Ledger};
pub use ranges::ScoreRange;
pub use windows::{Protocol, Track};

pub(crate) use windows::{Windows, quantile};

use crate::window::{Horizon, spoken_duration};

/// Times that the alert track is shifted to find the level of chance.
const PERMUTATIONS: usize = 20;

/// Warnings of a kind that chance gives more rarely than this are none of chance.
const BY_CHANCE: f64 = 0.05;

/// Bins of the reliability table.
const BINS: usize = 15;

/// What a model would have done on history that it had not seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// How far ahead the scores look, in milliseconds.
    pub horizon_ms: i64,
    /// First instant that was judged.
    pub from: i64,
    /// First instant that was not.
    pub to: i64,
    /// Hosts that were judged.
    pub hosts: usize,
    /// Time outside incidents that was judged.
    pub host_days: f64,
    /// Rows that were judged.
    pub rows: usize,
    /// Incidents that began.
    pub incidents: usize,
    /// Those with an alert within the horizon before them.
    pub warned: usize,
    /// Those with an alert only after they began.
    pub detected_only: usize,
    /// Those without any alert.
    pub missed: usize,
    /// Those of kinds that were never warned of, here or in validation.
    pub unforeseeable: usize,
    /// Alarms in all.
    pub alarms: usize,
    /// Alarms that no incident followed.
    pub false_alarms: usize,
    /// Incidents that the same alerts would warn of by chance.
    pub chance_warned: f64,
    /// Incidents that the same alerts would warn of or detect by chance.
    pub chance_detected: f64,
    /// Minutes between the first alert and the start, ascending.
    pub leads_minutes: Vec<f64>,
    /// Minutes between the start and the first alert after it, ascending, where the warning had not stood until then.
    pub delays_minutes: Vec<f64>,
    /// Area under the precision-recall curve over rows.
    pub pr_auc: f64,
    /// Share of rows that an incident followed: the PR-AUC of guessing.
    pub base_rate: f64,
    /// Share of the Brier score of the base rate that the model saves.
    pub brier_skill: f64,
    /// Expected calibration error over 15 bins of equal mass.
    pub ece: f64,
    /// Scores from here on alert.
    pub threshold: f64,
    /// False alarms per host-day that the threshold was chosen for.
    pub budget: f64,
    /// The same by kind of incident.
    pub by_kind: Vec<KindEvaluation>,
    /// Mean score and observed share of each bin of equal mass.
    pub reliability: Vec<ReliabilityBin>,
    /// What scores of each range came to; models from before it have none.
    #[serde(default)]
    pub ranges: Vec<ScoreRange>,
    /// The family that would lead by the history before this stretch, where it is another one: then the choice of the
    /// judged family knew these outcomes, and the same on new history may be a little worse.
    #[serde(default)]
    pub led_before: Option<String>,
}

/// Incidents of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KindEvaluation {
    /// The kind.
    pub kind: String,
    /// How many began.
    pub incidents: usize,
    /// Warned of.
    pub warned: usize,
    /// Warned of or detected.
    pub detected: usize,
    /// Whether alerts came before this kind no more often than by chance, here and in validation.
    pub unforeseeable: bool,
    /// Median minutes of warning.
    pub median_lead_minutes: Option<f64>,
}

/// One bin of the reliability table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Rows in the bin.
    pub rows: usize,
    /// Their mean score.
    pub mean: f64,
    /// The share of them that an incident followed.
    pub observed: f64,
}

impl Evaluation {
    /// False alarms per host-day.
    #[must_use]
    pub fn false_alarm_rate(&self) -> f64 {
        self.false_alarms as f64 / self.host_days.max(1e-9)
    }

    /// Share of incidents warned of.
    #[must_use]
    pub fn early_recall(&self) -> f64 {
        self.warned as f64 / self.incidents.max(1) as f64
    }

    /// Whether warnings came more often than by chance, so that the model may page ahead of incidents at all.
    ///
    /// Otherwise it is good for detection only. The bar is one more incident than chance and half as many again.
    #[must_use]
    pub fn warns(&self) -> bool {
        let warned = self.warned as f64;
        warned >= self.chance_warned + 1.0 && warned >= 1.5 * self.chance_warned
    }

    /// How many incidents were warned of or detected.
    #[must_use]
    pub const fn found(&self) -> usize {
        self.warned + self.detected_only
    }

    /// Whether incidents were warned of or detected more often than by chance, which does so in one of twenty histories.
    #[must_use]
    pub fn detects(&self) -> bool {
        let found = Tally {
            incidents: self.incidents,
            warned: self.found(),
        };
        !found.is_by_chance(self.chance_detected / self.incidents.max(1) as f64)
    }

    /// What came of the scores that one would act upon: `of 198 scores of 10 % and more 26 came true, 30 were foretold`.
    #[must_use]
    pub fn kept_promises(&self) -> String {
        ranges::kept_promises(&self.ranges)
    }

    /// Median minutes of warning.
    #[must_use]
    pub fn median_lead_minutes(&self) -> Option<f64> {
        (!self.leads_minutes.is_empty()).then(|| quantile(&self.leads_minutes, 0.5))
    }
}

/// Judges `tracks` at a threshold: a given one, or the one whose upper bound of false alarms keeps `budget` on `validation`,
/// or else the one that just keeps it on the tracks themselves.
///
/// `kinds` are the names that the incidents' kinds point to. `seed` drives the shifts that chance is measured with.
#[must_use]
pub fn evaluate(
    tracks: &[Track<'_>],
    validation: Option<&[Track<'_>]>,
    threshold: Option<f64>,
    protocol: Protocol,
    budget: f64,
    kinds: &[String],
    seed: u64,
) -> Evaluation {
    let judged = Windows::new(tracks, protocol);
    let validated = validation.map(|v| Windows::new(v, protocol));
    let threshold = threshold.unwrap_or_else(|| match &validated {
        Some(validated) => validated.threshold_within(budget),
        None => judged.threshold_for(budget),
    });
    let alert: Vec<bool> = judged.p.iter().map(|p| *p >= threshold).collect();
    let alarms = judged.alarms(&alert);
    let met = judged.met(&alert, None);

    let lengths = judged.lengths();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let (mut chance_warned, mut chance_detected) = (0.0, 0.0);
    for _ in 0..PERMUTATIONS {
        let shifts: Vec<usize> = lengths.iter().map(|n| random.random_range(1..(*n).max(2))).collect();
        let shifted = judged.met(&alert, Some(&shifts));
        chance_warned += shifted.iter().filter(|m| m.lead_ms.is_some()).count() as f64 / PERMUTATIONS as f64;
        chance_detected += shifted.iter().filter(|m| m.detected).count() as f64 / PERMUTATIONS as f64;
    }

    // What was warned of before counts as well, so that a single miss does not make a kind unforeseeable.
    let mut before = vec![Tally::default(); kinds.len()];
    if let Some(windows) = &validated {
        let alert: Vec<bool> = windows.p.iter().map(|p| *p >= threshold).collect();
        for (target, met) in windows.targets.iter().zip(windows.met(&alert, None)) {
            let tally = &mut before[target.kind as usize];
            tally.incidents += 1;
            tally.warned += usize::from(met.lead_ms.is_some());
        }
    }
    let chance_share = chance_warned / met.len().max(1) as f64;
    let by_kind: Vec<KindEvaluation> = kinds
        .iter()
        .enumerate()
        .filter_map(|(k, kind)| {
            let of_kind = || {
                judged
                    .targets
                    .iter()
                    .zip(&met)
                    .filter(move |(t, _)| t.kind as usize == k)
                    .map(|(_, m)| m)
            };
            let incidents = of_kind().count();
            let warned = of_kind().filter(|m| m.lead_ms.is_some()).count();
            let mut leads: Vec<f64> = of_kind().filter_map(|m| m.lead_ms).map(minutes).collect();
            leads.sort_by(f64::total_cmp);
            (incidents > 0).then(|| KindEvaluation {
                kind: kind.clone(),
                incidents,
                warned,
                detected: of_kind().filter(|m| m.detected).count(),
                unforeseeable: warned as f64 <= chance_share * incidents as f64
                    && before[k].and(incidents, warned).is_by_chance(chance_share),
                median_lead_minutes: (!leads.is_empty()).then(|| quantile(&leads, 0.5)),
            })
        })
        .collect();

    let (outcomes, scores) = judged.judged();
    let (ece, reliability) = reliability(&outcomes, &scores, BINS);
    let sorted = |values: Vec<f64>| {
        let mut values = values;
        values.sort_by(f64::total_cmp);
        values
    };
    let warned = met.iter().filter(|m| m.lead_ms.is_some()).count();
    let detected = met.iter().filter(|m| m.detected).count();
    Evaluation {
        horizon_ms: protocol.horizon_ms,
        from: tracks.iter().map(|t| t.from).min().unwrap_or(0),
        to: tracks.iter().map(|t| t.to).max().unwrap_or(0),
        hosts: lengths.len(),
        host_days: judged.host_days,
        rows: outcomes.len(),
        incidents: met.len(),
        warned,
        detected_only: detected - warned,
        missed: met.len() - detected,
        unforeseeable: by_kind.iter().filter(|k| k.unforeseeable).map(|k| k.incidents).sum(),
        alarms: alarms.len(),
        false_alarms: alarms.iter().filter(|a| !a.good).count(),
        chance_warned,
        chance_detected,
        leads_minutes: sorted(met.iter().filter_map(|m| m.lead_ms).map(minutes).collect()),
        delays_minutes: sorted(met.iter().filter_map(|m| m.delay_ms).map(minutes).collect()),
        pr_auc: pr_auc(&outcomes, &scores),
        base_rate: base_rate(&outcomes),
        brier_skill: brier_skill(&outcomes, &scores),
        ece,
        threshold,
        budget,
        by_kind,
        reliability,
        ranges: ranges::ranges(&outcomes, &scores),
        led_before: None,
    }
}

/// Incidents of a kind, and how many of them were warned of.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    incidents: usize,
    warned: usize,
}

impl Tally {
    const fn and(self, incidents: usize, warned: usize) -> Self {
        Self {
            incidents: self.incidents + incidents,
            warned: self.warned + warned,
        }
    }

    /// Whether so many warnings are what chance gives, where it warns of a share of the incidents: it gives as many or more
    /// in one of twenty histories. (In a long enough history of any kind one warning or other is a coincidence.)
    fn is_by_chance(self, share: f64) -> bool {
        let share = share.clamp(0.0, 1.0 - 1e-9);
        // The binomial distribution up to one less, term by term.
        let mut term = (1.0 - share).powi(self.incidents as i32);
        let mut fewer = 0.0;
        for k in 0..self.warned {
            fewer += term;
            term *= (self.incidents - k) as f64 / (k + 1) as f64 * share / (1.0 - share);
        }
        1.0 - fewer > BY_CHANCE
    }
}

/// A rate with two digits more than its budget has zeros in front: 0.47 beside 0.5, 0.0031 beside 0.003.
pub(crate) fn rate(rate: f64, budget: f64) -> String {
    let digits = if budget < 0.01 {
        4
    } else if budget < 0.1 {
        3
    } else {
        2
    };
    format!("{rate:.digits$}")
}

fn minutes(millis: i64) -> f64 {
    millis as f64 / 60_000.0
}

/// Share of outcomes that are failures.
#[must_use]
pub fn base_rate(outcomes: &[bool]) -> f64 {
    outcomes.iter().filter(|y| **y).count() as f64 / outcomes.len().max(1) as f64
}

/// Average precision: the sum over distinct scores of precision times the recall gained. NaN without failures.
#[must_use]
pub fn pr_auc(outcomes: &[bool], scores: &[f64]) -> f64 {
    let positives = outcomes.iter().filter(|y| **y).count();
    if positives == 0 {
        return f64::NAN;
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let (mut seen, mut hits, mut counted, mut area) = (0_usize, 0_usize, 0_usize, 0.0);
    for (i, row) in order.iter().enumerate() {
        seen += 1;
        hits += usize::from(outcomes[*row]);
        // Rows of one score come together or not at all.
        let last_of_score = order.get(i + 1).is_none_or(|next| scores[*next] != scores[*row]);
        if last_of_score && hits > counted {
            area += (hits - counted) as f64 / positives as f64 * hits as f64 / seen as f64;
            counted = hits;
        }
    }
    area
}

/// Share of the base rate's Brier score that the scores save: 1 is perfect, 0 knows nothing, below 0 misleads.
#[must_use]
pub fn brier_skill(outcomes: &[bool], scores: &[f64]) -> f64 {
    let base = base_rate(outcomes);
    let n = outcomes.len().max(1) as f64;
    let brier: f64 = outcomes
        .iter()
        .zip(scores)
        .map(|(y, p)| (p - f64::from(u8::from(*y))).powi(2))
        .sum::<f64>()
        / n;
    1.0 - brier / (base * (1.0 - base)).max(1e-12)
}

/// Expected calibration error over bins of equal mass, and the bins.
#[must_use]
pub fn reliability(outcomes: &[bool], scores: &[f64], bins: usize) -> (f64, Vec<ReliabilityBin>) {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let ascending: Vec<f64> = order.iter().map(|i| scores[*i]).collect();
    let mut edges: Vec<usize> = (1..bins)
        .map(|b| quantile(&ascending, b as f64 / bins as f64))
        .map(|q| ascending.partition_point(|p| *p < q))
        .collect();
    edges.dedup();
    edges.push(order.len());
    let (mut from, mut ece, mut table) = (0, 0.0, Vec::new());
    for to in edges {
        let rows = to - from;
        if rows > 0 {
            let mean = ascending[from..to].iter().sum::<f64>() / rows as f64;
            let observed = order[from..to].iter().filter(|i| outcomes[**i]).count() as f64 / rows as f64;
            ece += rows as f64 / order.len() as f64 * (mean - observed).abs();
            table.push(ReliabilityBin { rows, mean, observed });
        }
        from = to;
    }
    (ece, table)
}

impl fmt::Display for Evaluation {
    /// Plain sentences, misses included.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |n: usize, one: &'static str, many: &'static str| if n == 1 { one } else { many };
        if self.incidents == 0 {
            write!(
                f,
                "no incident began in {:.1} host-days, so nothing can be said about warnings",
                self.host_days
            )?;
        } else {
            write!(
                f,
                "of {} {} {} warned",
                self.incidents,
                plural(self.incidents, "incident", "incidents"),
                self.warned
            )?;
            if let Some(lead) = self.median_lead_minutes() {
                // Rounded as spoken durations are: the format would round halves to even.
                write!(f, " (lead {:.0} min median)", lead.round())?;
            }
            let hopeless: Vec<&str> = self
                .by_kind
                .iter()
                .filter(|k| k.unforeseeable)
                .map(|k| k.kind.as_str())
                .collect();
            // A kind that is never warned of may still be detected: those stay with the detected ones.
            let missed_hopeless: usize = self
                .by_kind
                .iter()
                .filter(|k| k.unforeseeable)
                .map(|k| k.incidents - k.detected)
                .sum();
            write!(f, ", {} only detected, {} missed", self.detected_only, self.missed)?;
            if !hopeless.is_empty() {
                write!(
                    f,
                    " ({} of the {} not warned of {} unforeseeable: {} gave no warning above chance)",
                    self.unforeseeable,
                    self.incidents - self.warned,
                    plural(self.unforeseeable, "was", "were"),
                    hopeless.join(", ")
                )?;
            }
            debug_assert!(missed_hopeless <= self.missed);
        }
        write!(
            f,
            "; {} false {} in {:.0} host-days; chance would have warned {:.1}",
            self.false_alarms,
            plural(self.false_alarms, "alarm", "alarms"),
            self.host_days,
            self.chance_warned
        )?;
        let horizon =
            Horizon::from_millis(self.horizon_ms).map_or_else(|| spoken_duration(self.horizon_ms), |h| h.to_string());
        f.write_str("\n")?;
        // Without an incident there is nothing to rank and no skill to have.
        if self.incidents > 0 {
            write!(
                f,
                "PR-AUC {:.3} where guessing gives {:.3}; Brier skill {:.2}; calibration error {:.3}; ",
                self.pr_auc, self.base_rate, self.brier_skill, self.ece
            )?;
        }
        write!(
            f,
            "horizon {horizon}; alert at {:.1} % for a budget of {} false alarms a host-day, actually {}",
            self.threshold * 100.0,
            self.budget,
            rate(self.false_alarm_rate(), self.budget)
        )?;
        if let Some(family) = &self.led_before {
            write!(
                f,
                "\nits family was chosen with this stretch in sight, {family} would lead without: on new history it may do a little worse"
            )?;
        }
        if self.incidents > 0 && !self.warns() {
            write!(
                f,
                "\nwarnings came no more often than by chance: use this model for detection only"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
