//! Examples: rows of features with what became of them, split by time, sampled, and handed to learners as linfa datasets.

use std::collections::HashMap;
use std::ops::Range;

use linfa::Dataset;
use ndarray::{Array1, Array2, Ix1, ShapeBuilder};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use crate::bits;
use crate::features::Rows;
use crate::incident::{HostIncidents, Incidents, Outcome};

/// Standardised features are clipped here, or one wild value would outweigh everything (facts: prediction, 2.4).
const STANDARD_CLIP: f64 = 8.0;

/// Time in which a host's outcomes are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// The host.
    pub host: String,
    /// First instant.
    pub from: i64,
    /// First instant that is not known any more.
    pub to: i64,
    /// The time that its blocks are shares of: its own, or that of a fleet in which it was there for a while, so that no block
    /// of one host is learned from for an earlier one of another.
    pub blocks: Range<i64>,
}

impl Labelled {
    /// A host whose blocks are shares of its own time.
    #[must_use]
    pub const fn new(host: String, from: i64, to: i64) -> Self {
        let blocks = from..to;
        Self { host, from, to, blocks }
    }

    /// Times of its examples.
    #[must_use]
    pub fn times(&self, stride_ms: i64) -> Vec<i64> {
        (0..)
            .map(|i| self.from + i * stride_ms)
            .take_while(|t| *t < self.to)
            .collect()
    }

    /// Where block `k` of `shares` begins; block `shares.len()` begins at the end.
    ///
    /// `shares` ascend from 0: with `[0, 0.25, 0.5, 0.75]` there are four blocks of a quarter each. Blocks in which the host was not
    /// there are empty.
    #[must_use]
    pub(crate) fn block_start(&self, shares: &[f64], k: usize) -> i64 {
        shares.get(k).map_or(self.to, |share| {
            let Range { start, end } = self.blocks;
            let begins = start + ((end - start) as f64 * share) as i64;
            begins.max(self.from).min(self.to)
        })
    }
}

/// Rows with their outcomes.
#[derive(Clone, Debug)]
pub struct Examples {
    /// The features.
    pub rows: Rows,
    /// What became of each row when everything is known.
    pub outcomes: Vec<Outcome>,
    /// Which block of its host's time each row lies in.
    pub blocks: Vec<u8>,
    /// First instant of each block, by host (in the order of `rows.hosts`).
    starts: Vec<Vec<i64>>,
    /// First row of each host, in the same order.
    firsts: Vec<i64>,
    horizon_ms: i64,
}

impl Examples {
    /// Joins rows and incidents. `labelled` has every host of `rows`, with the time of its first row as `from`: a host that stands there
    /// several times has rows of several stretches. `shares` say where its blocks begin.
    #[must_use]
    pub fn new(
        rows: Rows,
        incidents: &Incidents,
        labelled: &[Labelled],
        shares: &[f64],
        gap_ms: i64,
        horizon_ms: i64,
    ) -> Self {
        let none = HostIncidents::default();
        let mut firsts = vec![i64::MAX; rows.hosts.len()];
        for (host, at) in rows.host.iter().zip(&rows.at) {
            let first = &mut firsts[*host as usize];
            *first = (*first).min(*at);
        }
        let stretches: HashMap<(&str, i64), &Labelled> =
            labelled.iter().map(|l| ((l.host.as_str(), l.from), l)).collect();
        let of_host: Vec<(&HostIncidents, Vec<i64>, i64)> = rows
            .hosts
            .iter()
            .zip(&firsts)
            .map(|(host, first)| {
                let known = stretches.get(&(host.as_str(), *first));
                let starts = known.map_or_else(Vec::new, |l| {
                    (0..shares.len()).map(|k| l.block_start(shares, k)).collect()
                });
                (
                    incidents.of(host).unwrap_or(&none),
                    starts,
                    known.map_or(i64::MIN, |l| l.to),
                )
            })
            .collect();
        let mut outcomes = Vec::with_capacity(rows.len());
        let mut blocks = Vec::with_capacity(rows.len());
        for (host, at) in rows.host.iter().zip(&rows.at) {
            let (incidents, starts, to) = &of_host[*host as usize];
            outcomes.push(incidents.outcome(*at, gap_ms, horizon_ms, *to));
            blocks.push(starts.partition_point(|s| s <= at).saturating_sub(1) as u8);
        }
        Self {
            rows,
            outcomes,
            blocks,
            starts: of_host.into_iter().map(|h| h.1).collect(),
            firsts,
            horizon_ms,
        }
    }

    /// Which of `rows.hosts` each stretch of time is, by host and first instant.
    pub(crate) fn stretches(&self) -> HashMap<(&str, i64), usize> {
        let hosts = self.rows.hosts.iter().map(String::as_str);
        hosts.zip(self.firsts.iter().copied()).zip(0..).collect()
    }

    /// Whether row `i` may teach a model that will be judged on block `block`: it lies before, and its horizon ends before
    /// that block begins, so that its outcome was known by then.
    #[must_use]
    pub fn known_before(&self, i: usize, block: u8) -> bool {
        let starts = &self.starts[self.rows.host[i] as usize];
        self.blocks[i] < block
            && starts
                .get(usize::from(block))
                .is_none_or(|start| self.rows.at[i] + self.horizon_ms <= *start)
    }
}

/// Which question a head answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Will an incident start within the horizon?
    Soon,
    /// Is one under way?
    UnderWay,
}

impl Task {
    /// The answer that an example teaches, if it teaches one.
    ///
    /// Rows shortly before an incident teach nothing about being within one.
    #[must_use]
    pub const fn answer(self, outcome: Outcome) -> Option<bool> {
        match (self, outcome) {
            (Self::Soon, Outcome::Failed { .. }) | (Self::UnderWay, Outcome::Inside) => Some(true),
            (_, Outcome::Survived) => Some(false),
            (Self::Soon, Outcome::Censored | Outcome::Inside)
            | (Self::UnderWay, Outcome::Censored | Outcome::Failed { .. }) => None,
        }
    }
}

/// Rows picked for training.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    pub(crate) picked: Vec<usize>,
    pub(crate) answers: Vec<bool>,
    /// How many rows stand behind each picked one, for the two answers.
    pub(crate) weights: [f64; 2],
}

impl Sample {
    /// Picks from `candidates`, which are rows with their answers: every positive up to a third of the cap, and negatives with
    /// the same chance for each. The same seed picks the same rows.
    pub(crate) fn draw(candidates: &[(usize, bool)], cap: usize, seed: u64) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let (yes, weight_yes) = reduce(of_answer(candidates, true), (cap / 3).max(1), &mut random);
        let left = cap.saturating_sub(yes.len()).max(1);
        let (no, weight_no) = reduce(of_answer(candidates, false), left, &mut random);
        Self::of(yes, no, [weight_no, weight_yes])
    }

    /// The same, but that half of the negatives are those which look most like positives: the ones of the highest `scores`, of
    /// which there is one for each candidate.
    ///
    /// Where failures are rare, a draw with the same chance for each holds hardly any of the rows that alarms are chosen from:
    /// near misses, and the hours before the horizon, of which it is one in thirty in a fleet that fails once in 200 host-days.
    /// What tells a failure from them can only be learned on them (in the manner of local case-control sampling, Fithian and
    /// Hastie 2014).
    pub(crate) fn draw_near(candidates: &[(usize, bool)], scores: &[f64], cap: usize, seed: u64) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let (yes, weight_yes) = reduce(of_answer(candidates, true), (cap / 3).max(1), &mut random);
        let left = cap.saturating_sub(yes.len()).max(1);
        let scored = candidates.iter().zip(scores);
        let mut negatives: Vec<(f64, usize)> = scored.filter(|(c, _)| !c.1).map(|(c, s)| (*s, c.0)).collect();
        negatives.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let all = negatives.len();
        let far = negatives.split_off((left / 2).min(all));
        let (far, _) = reduce(far.into_iter().map(|n| n.1).collect(), left - left / 2, &mut random);
        let no: Vec<usize> = negatives.into_iter().map(|n| n.1).chain(far).collect();
        let weight_no = all as f64 / no.len().max(1) as f64;
        Self::of(yes, no, [weight_no, weight_yes])
    }

    fn of(yes: Vec<usize>, no: Vec<usize>, weights: [f64; 2]) -> Self {
        let answers = yes.iter().map(|_| true).chain(no.iter().map(|_| false)).collect();
        Self {
            picked: yes.into_iter().chain(no).collect(),
            answers,
            weights,
        }
    }

    pub(crate) fn positives(&self) -> usize {
        self.answers.iter().filter(|a| **a).count()
    }

    /// What must be added to a learner's log odds, because it saw another mixture than there is (King and Zeng 2001).
    pub(crate) fn log_odds_shift(&self) -> f64 {
        (self.weights[1] / self.weights[0]).ln()
    }
}

fn of_answer(candidates: &[(usize, bool)], answer: bool) -> Vec<usize> {
    candidates.iter().filter(|c| c.1 == answer).map(|c| c.0).collect()
}

/// At most `most` of the rows, in order, and how many stand behind each.
fn reduce(mut rows: Vec<usize>, most: usize, random: &mut Xoshiro256PlusPlus) -> (Vec<usize>, f64) {
    let all = rows.len();
    if all > most {
        let (chosen, _) = rows.partial_shuffle(random, most);
        let mut chosen = chosen.to_vec();
        chosen.sort_unstable();
        rows = chosen;
    }
    let weight = all as f64 / rows.len().max(1) as f64;
    (rows, weight)
}

/// Mean and spread of every feature, as training saw them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    #[serde(with = "bits")]
    mean: Vec<f64>,
    /// One over the standard deviation, 0 for features that never changed.
    #[serde(with = "bits")]
    inverse: Vec<f64>,
}

impl Scaler {
    /// Learns from some rows, missing values left out.
    #[must_use]
    pub(crate) fn fit(rows: &Rows, picked: &[usize]) -> Self {
        let width = rows.width;
        let (mut n, mut sum, mut square) = (vec![0.0_f64; width], vec![0.0_f64; width], vec![0.0_f64; width]);
        for i in picked {
            for (j, v) in rows.row(*i).iter().enumerate() {
                if !v.is_nan() {
                    n[j] += 1.0;
                    sum[j] += f64::from(*v);
                }
            }
        }
        let mean: Vec<f64> = sum
            .iter()
            .zip(&n)
            .map(|(s, n)| if *n > 0.0 { s / n } else { 0.0 })
            .collect();
        for i in picked {
            for (j, v) in rows.row(*i).iter().enumerate() {
                if !v.is_nan() {
                    square[j] += (f64::from(*v) - mean[j]).powi(2);
                }
            }
        }
        let inverse = square
            .iter()
            .zip(&n)
            .map(|(s, n)| {
                let deviation = if *n > 1.0 { (s / n).sqrt() } else { 0.0 };
                // A feature that hardly ever changed would make a rare rounding error look like a storm.
                if deviation > 1e-6 { 1.0 / deviation } else { 0.0 }
            })
            .collect();
        Self { mean, inverse }
    }

    /// How many features it knows.
    #[must_use]
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// Standardised and clipped; a missing value becomes the mean, 0.
    pub(crate) fn apply(&self, row: &[f32], out: &mut Vec<f64>) {
        out.clear();
        out.extend(
            row.iter()
                .zip(self.mean.iter().zip(&self.inverse))
                .map(|(v, (mean, inverse))| {
                    if v.is_nan() {
                        0.0
                    } else {
                        ((f64::from(*v) - mean) * inverse).clamp(-STANDARD_CLIP, STANDARD_CLIP)
                    }
                }),
        );
    }

    /// Some features of the picked rows, standardised, as a linfa dataset: `(rows, features)` and one answer each.
    pub(crate) fn dataset(&self, rows: &Rows, sample: &Sample, features: &[usize]) -> Dataset<f64, bool, Ix1> {
        // Column by column in memory: gradients are sums down the columns, and linfa takes most of its time for them.
        let mut records = Array2::zeros((sample.picked.len(), features.len()).f());
        let mut row = Vec::with_capacity(rows.width);
        for (i, picked) in sample.picked.iter().enumerate() {
            self.apply(rows.row(*picked), &mut row);
            for (j, feature) in features.iter().enumerate() {
                records[(i, j)] = row[*feature];
            }
        }
        Dataset::new(records, Array1::from(sample.answers.clone()))
    }
}

/// The picked rows as they were measured, missing values as NaN, as a linfa dataset.
pub(crate) fn measured(rows: &Rows, sample: &Sample) -> Dataset<f32, bool, Ix1> {
    let mut records = Array2::zeros((sample.picked.len(), rows.width).f());
    for (i, picked) in sample.picked.iter().enumerate() {
        for (j, value) in rows.row(*picked).iter().enumerate() {
            records[(i, j)] = *value;
        }
    }
    Dataset::new(records, Array1::from(sample.answers.clone()))
}

#[cfg(test)]
mod tests;
