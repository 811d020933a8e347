//! Which family leads: the incumbent, or else the simplest one, unless another is clearly better on incidents that none of
//! them had seen: better at ranking rows or at warning of incidents within the budget, and no worse at the other.
//!
//! Neighbouring rows and incidents that begin together are one observation. So whole clusters of onsets are drawn again and
//! again, the same ones for every family, and a family counts as better when it wins most of these draws.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use super::judge::{Judge, UnderWay};
use super::walk::{Output, Walked};
use crate::calibration::STANDS_BACK;
use crate::dataset::Task;
use crate::evaluate::{base_rate, pr_auc};
use crate::incident::Outcome;
use crate::model::Family;

/// Times that clusters are drawn.
const DRAWS: usize = 200;
/// Share of the draws that a family must win by one measure against the one that leads so far.
const WINS_MIN: f64 = 0.9;
/// Share of the draws that it must win by the other measure, where a tie is half won: no worse, but for noise.
const NO_WORSE: f64 = 0.4;
/// With fewer separate events than this nothing that was learned from incidents takes the lead: what a few events have in
/// common is mostly their hour and their hosts (facts: prediction, 2.4 and 2.6).
const EVENTS_MIN: usize = 10;
/// Ranking within incidents is a plain matter; a simpler head stays unless another ranks this many times better.
const DETECTS_BETTER: f64 = 1.1;
/// PR-AUC that the under-way head needs to have a say: mostly one of four rows that it points at lies within an incident.
/// Below, it raises alarms that detect nothing, and warnings come later than they could.
const DETECTS_MIN: f64 = 0.25;

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
pub(super) struct Choice<'a> {
    pub(super) champion: usize,
    pub(super) challenger: Option<usize>,
    pub(super) under_way: Option<UnderWay<'a>>,
    pub(super) compared: Vec<Compared>,
}

/// What one family did in each draw of clusters.
struct Drawn {
    /// Areas under the precision-recall curve.
    areas: Vec<f64>,
    /// Incidents warned of.
    warned: Vec<f64>,
}

/// Chooses by the rows before block `until`; `incumbent` is the family that leads now, if one does.
pub(super) fn choose<'a>(walked: &'a Walked, judge: &Judge<'_>, until: u8, incumbent: Option<Family>) -> Choice<'a> {
    let under_way = under_way(walked, judge, until);
    let rows: Vec<usize> = (0..judge.prepared.examples.outcomes.len())
        .filter(|i| judge.before(*i, until))
        // Only where every family said something can they be compared.
        .filter(|i| walked.soon.iter().all(|o| !o.raw[*i].is_nan()))
        .filter(|i| Task::Soon.answer(judge.prepared.examples.outcomes[*i]).is_some())
        .collect();
    let scores: Vec<Vec<f64>> = walked
        .soon
        .iter()
        .map(|output| judge.combine(output, under_way, until).1)
        .collect();
    let blocks = (1, usize::from(until));
    let warned: Vec<Vec<(i64, bool)>> = scores.iter().map(|one| judge.warned(one, blocks)).collect();

    let onsets: Vec<Option<i64>> = rows.iter().map(|i| onset(judge, *i)).collect();
    let targets = warned.iter().flatten().map(|(start, _)| *start);
    let clusters = Clusters::new(
        onsets.iter().flatten().copied().chain(targets).collect(),
        judge.input.protocol().refractory_ms(),
    );
    let mut random = Xoshiro256PlusPlus::seed_from_u64(judge.input.seed);
    let draws: Vec<Vec<f64>> = (0..DRAWS)
        .map(|_| {
            let mut times = vec![0.0; clusters.count];
            for _ in 0..clusters.count {
                times[random.random_range(0..clusters.count)] += 1.0;
            }
            times
        })
        .collect();

    let (drawn, mut compared): (Vec<Drawn>, Vec<Compared>) = walked
        .soon
        .iter()
        .zip(&scores)
        .zip(&warned)
        .map(|((output, one), warned)| {
            let of_row = |onset: &Option<i64>| onset.and_then(|o| clusters.of(o));
            let curve = Curve::new(rows.iter().zip(&onsets).map(|(i, o)| (one[*i], of_row(o))).collect());
            let met: Vec<usize> = warned
                .iter()
                .filter(|(_, warned)| *warned)
                .filter_map(|(start, _)| clusters.of(*start))
                .map(|c| c as usize)
                .collect();
            let drawn = Drawn {
                areas: draws.iter().map(|d| curve.area(d)).collect(),
                warned: draws.iter().map(|d| met.iter().map(|c| d[*c]).sum()).collect(),
            };
            let mut areas = drawn.areas.clone();
            areas.sort_by(f64::total_cmp);
            let at = |share: f64| areas[(share * (DRAWS - 1) as f64).round() as usize];
            let compared = Compared {
                family: output.family,
                pr_auc: curve.area(&vec![1.0; clusters.count]),
                interval: (at(0.05), at(0.95)),
                warned: met.len(),
                leads: false,
            };
            (drawn, compared)
        })
        .unzip();
    let mut champion = incumbent
        .and_then(|family| compared.iter().position(|c| c.family == family))
        .unwrap_or(0);
    for (i, candidate) in drawn.iter().enumerate() {
        let earned = clusters.count >= EVENTS_MIN || compared[i].family.is_unsupervised();
        if earned && beats(candidate, &drawn[champion]) {
            champion = i;
        }
    }
    let challenger = (0..compared.len())
        .filter(|i| *i != champion)
        .max_by(|a, b| compared[*a].pr_auc.total_cmp(&compared[*b].pr_auc));
    if let Some(leader) = compared.get_mut(champion) {
        leader.leads = true;
    }
    Choice {
        champion,
        challenger,
        under_way: detecting(walked, judge, &walked.soon[champion], under_way, until),
        compared,
    }
}

/// Whether `a` is clearly better by one measure and no worse by the other.
fn beats(a: &Drawn, b: &Drawn) -> bool {
    let (ranks, warns) = (wins(&a.areas, &b.areas), wins(&a.warned, &b.warned));
    ranks.max(warns) >= WINS_MIN && ranks.min(warns) >= NO_WORSE
}

/// Share of the draws in which `a` is larger than `b`; a tie is half a draw.
fn wins(a: &[f64], b: &[f64]) -> f64 {
    let won = |(a, b): (&f64, &f64)| if a > b { 1.0 } else { f64::from(u8::from(a == b)) / 2.0 };
    a.iter().zip(b).map(won).sum::<f64>() / DRAWS as f64
}

/// The under-way head that ranks rows within incidents best; none where none ranks them well.
fn under_way<'a>(walked: &'a Walked, judge: &Judge<'_>, until: u8) -> Option<UnderWay<'a>> {
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
    best.filter(|(_, quality)| *quality >= DETECTS_MIN)
        .map(|(i, _)| UnderWay {
            output: &walked.under_way[i],
            stands_back: STANDS_BACK,
        })
}

/// The under-way head beside a head that says "starts soon": the one behind it, where that learned to warn, and does so more
/// often than chance. Where it does not, there is little to take from, and what is left to do is to detect: then the head with
/// which most incidents are found does not stand back, if these are more than by chance and no warning is lost.
fn detecting<'a>(
    walked: &'a Walked,
    judge: &Judge<'_>,
    soon: &Output,
    behind: Option<UnderWay<'a>>,
    until: u8,
) -> Option<UnderWay<'a>> {
    let blocks = (1, usize::from(until));
    let together = |under_way| judge.judge(&judge.combine(soon, under_way, until).1, blocks, blocks);
    let now = together(behind);
    if now.incidents == 0 || (now.warns() && !soon.family.is_unsupervised()) {
        return behind;
    }
    let warned = if now.warns() { now.warned } else { 0 };
    let mut best = (behind, now.found());
    for output in &walked.under_way {
        let head = UnderWay {
            output,
            stands_back: 0.0,
        };
        let with = together(Some(head));
        if with.detects() && with.warned >= warned && with.found() as f64 > DETECTS_BETTER * best.1 as f64 {
            best = (Some(head), with.found());
        }
    }
    best.0
}

/// The onset of the incident that row `i` lies before.
fn onset(judge: &Judge<'_>, i: usize) -> Option<i64> {
    let examples = &judge.prepared.examples;
    match examples.outcomes[i] {
        Outcome::Failed { incident } => judge
            .incidents
            .of(&examples.rows.hosts[examples.rows.host[i] as usize])
            .and_then(|h| h.spans().get(incident))
            .map(|s| s.start),
        _ => None,
    }
}

/// Onsets that belong together: over all hosts, each follows the one before within the time in which alerts are one alarm.
/// Such a cluster is one event of the fleet. (A horizon of days would tie everything that ever happened into one.)
struct Clusters {
    /// All onsets, ascending.
    starts: Vec<i64>,
    /// The cluster of each.
    number: Vec<u32>,
    /// At least 1, so that there is something to draw.
    count: usize,
}

impl Clusters {
    fn new(mut starts: Vec<i64>, together_ms: i64) -> Self {
        starts.sort_unstable();
        starts.dedup();
        let mut number: Vec<u32> = Vec::with_capacity(starts.len());
        for (i, start) in starts.iter().enumerate() {
            let next = match i.checked_sub(1) {
                None => 0,
                Some(before) => number[before] + u32::from(start - starts[before] > together_ms),
            };
            number.push(next);
        }
        let count = number.last().map_or(1, |n| *n as usize + 1);
        Self { starts, number, count }
    }

    fn of(&self, start: i64) -> Option<u32> {
        self.starts.binary_search(&start).ok().map(|k| self.number[k])
    }
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
