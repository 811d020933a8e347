//! Which family leads: the simplest one that no other clearly beats, on incidents that none of them had seen.
//!
//! Neighbouring rows and incidents that begin together are one observation. So whole clusters of onsets are drawn again and
//! again, the same ones for every family, and a family counts as better when it wins most of these draws.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use super::judge::Judge;
use super::walk::{Output, Walked};
use crate::dataset::Task;
use crate::evaluate::{base_rate, pr_auc};
use crate::incident::Outcome;
use crate::model::Family;

/// Times that clusters are drawn.
const DRAWS: usize = 200;
/// Share of the draws that a family must win against a simpler one.
const WINS_MIN: f64 = 0.85;
/// Ranking within incidents is a plain matter; a simpler head stays unless another ranks this many times better.
const DETECTS_BETTER: f64 = 1.1;

/// What one family did on rows and incidents that it had not seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Which family.
    pub family: Family,
    /// Area under the precision-recall curve over rows.
    pub pr_auc: f64,
    /// The 90 % interval of it over clusters of onsets.
    pub interval: (f64, f64),
    /// Incidents warned of at the threshold that keeps the budget.
    pub warned: usize,
    /// Whether it leads.
    pub leads: bool,
}

/// Which outputs lead.
pub(super) struct Choice {
    pub(super) champion: usize,
    pub(super) challenger: Option<usize>,
    pub(super) under_way: Option<usize>,
    pub(super) compared: Vec<Compared>,
}

/// Chooses by the rows before block `until`.
pub(super) fn choose(walked: &Walked, judge: &Judge<'_>, until: u8) -> Choice {
    let under_way = under_way(walked, judge, until);
    let head = under_way.map(|u| &walked.under_way[u]);
    let rows: Vec<usize> = (0..judge.prepared.examples.outcomes.len())
        .filter(|i| judge.before(*i, until))
        // Only where every family said something can they be compared.
        .filter(|i| walked.soon.iter().all(|o| !o.raw[*i].is_nan()))
        .filter(|i| Task::Soon.answer(judge.prepared.examples.outcomes[*i]).is_some())
        .collect();
    let (cluster_of, clusters) = clusters(judge, &rows);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(judge.input.seed);
    let draws: Vec<Vec<f64>> = (0..DRAWS)
        .map(|_| {
            let mut times = vec![0.0; clusters];
            for _ in 0..clusters {
                times[random.random_range(0..clusters)] += 1.0;
            }
            times
        })
        .collect();

    let judged: Vec<(Vec<f64>, Compared)> = walked
        .soon
        .iter()
        .map(|output| {
            let (_, one) = judge.combine(output, head, until);
            let blocks = (1, usize::from(until));
            let curve = Curve::new(rows.iter().zip(&cluster_of).map(|(i, c)| (one[*i], *c)).collect());
            let mut areas: Vec<f64> = draws.iter().map(|d| curve.area(d)).collect();
            let drawn = areas.clone();
            areas.sort_by(f64::total_cmp);
            let at = |share: f64| areas[(share * (DRAWS - 1) as f64).round() as usize];
            let compared = Compared {
                family: output.family,
                pr_auc: curve.area(&vec![1.0; clusters]),
                interval: (at(0.05), at(0.95)),
                warned: judge.judge(&one, blocks, blocks).warned,
                leads: false,
            };
            (drawn, compared)
        })
        .collect();
    let mut champion = 0;
    for i in 1..judged.len() {
        if beats(&judged[i], &judged[champion]) {
            champion = i;
        }
    }
    let challenger = (0..judged.len())
        .filter(|i| *i != champion)
        .max_by(|a, b| judged[*a].1.pr_auc.total_cmp(&judged[*b].1.pr_auc));
    let mut compared: Vec<Compared> = judged.into_iter().map(|j| j.1).collect();
    if let Some(leader) = compared.get_mut(champion) {
        leader.leads = true;
    }
    Choice {
        champion,
        challenger,
        under_way,
        compared,
    }
}

/// Whether `a` ranks rows better in most draws, and warns of no fewer incidents for it.
fn beats(a: &(Vec<f64>, Compared), b: &(Vec<f64>, Compared)) -> bool {
    let wins = a.0.iter().zip(&b.0).filter(|(a, b)| a > b).count();
    wins as f64 >= WINS_MIN * DRAWS as f64 && a.1.warned + 1 + b.1.warned / 20 >= b.1.warned
}

/// The under-way head that ranks rows within incidents best; none where no family could be fitted.
fn under_way(walked: &Walked, judge: &Judge<'_>, until: u8) -> Option<usize> {
    let examples = &judge.prepared.examples;
    let quality = |output: &Output| {
        let (y, p): (Vec<bool>, Vec<f64>) = (0..examples.outcomes.len())
            .filter(|i| judge.before(*i, until) && !output.raw[*i].is_nan())
            .filter_map(|i| Task::UnderWay.answer(examples.outcomes[i]).map(|y| (y, output.raw[i])))
            .unzip();
        let area = pr_auc(&y, &p);
        if area.is_nan() { base_rate(&y) } else { area }
    };
    let mut best: Option<(usize, f64)> = None;
    for (i, output) in walked.under_way.iter().enumerate() {
        let quality = quality(output);
        if best.is_none_or(|(_, b)| quality > DETECTS_BETTER * b) {
            best = Some((i, quality));
        }
    }
    best.map(|(i, _)| i)
}

/// For each row the cluster of the onset that it lies before, if any; and how many clusters there are.
///
/// Onsets belong together, over all hosts, while each follows the one before within a horizon: one event of the fleet.
fn clusters(judge: &Judge<'_>, rows: &[usize]) -> (Vec<Option<u32>>, usize) {
    let examples = &judge.prepared.examples;
    let onset = |i: usize| match examples.outcomes[i] {
        Outcome::Failed { incident } => judge
            .incidents
            .of(&examples.rows.hosts[examples.rows.host[i] as usize])
            .and_then(|h| h.spans().get(incident))
            .map(|s| s.start),
        _ => None,
    };
    let onsets: Vec<Option<i64>> = rows.iter().map(|i| onset(*i)).collect();
    let mut starts: Vec<i64> = onsets.iter().flatten().copied().collect();
    starts.sort_unstable();
    starts.dedup();
    let horizon = judge.input.horizon.millis();
    let mut number = Vec::with_capacity(starts.len());
    for (i, start) in starts.iter().enumerate() {
        let next = match i.checked_sub(1) {
            None => 0,
            Some(before) => number[before] + u32::from(start - starts[before] > horizon),
        };
        number.push(next);
    }
    let of_row = onsets
        .iter()
        .map(|o| o.and_then(|o| starts.binary_search(&o).ok()).map(|k| number[k]))
        .collect();
    (of_row, number.last().map_or(1, |n| *n as usize + 1))
}

/// Rows in order of their score, negatives only counted: an area for any weights of clusters costs a walk over positives.
struct Curve {
    /// For each distinct score: negatives at it, and the clusters of the positives at it.
    steps: Vec<(f64, Vec<u32>)>,
    /// Negatives below the last positive count for nothing.
    positives: usize,
}

impl Curve {
    fn new(mut rows: Vec<(f64, Option<u32>)>) -> Self {
        rows.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut steps: Vec<(f64, Vec<u32>)> = Vec::new();
        let mut negatives = 0.0;
        let mut positives = 0;
        let mut start = 0;
        while start < rows.len() {
            let end = start + rows[start..].partition_point(|r| r.0 >= rows[start].0);
            let hits: Vec<u32> = rows[start..end].iter().filter_map(|r| r.1).collect();
            negatives += (end - start - hits.len()) as f64;
            if !hits.is_empty() {
                positives += hits.len();
                steps.push((negatives, hits));
                negatives = 0.0;
            }
            start = end;
        }
        Self { steps, positives }
    }

    /// Average precision where the positives of a cluster count as often as `weights` says.
    fn area(&self, weights: &[f64]) -> f64 {
        let (mut hits, mut seen, mut area) = (0.0, 0.0, 0.0);
        for (negatives, positives) in &self.steps {
            let gained: f64 = positives.iter().map(|c| weights[*c as usize]).sum();
            hits += gained;
            seen += negatives + gained;
            if gained > 0.0 {
                area += gained * hits / seen;
            }
        }
        if self.positives == 0 || hits == 0.0 {
            0.0
        } else {
            area / hits
        }
    }
}

#[cfg(test)]
mod tests;
