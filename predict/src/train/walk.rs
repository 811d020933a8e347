//! Walking forward: every family fitted on what was known before each block, and what it said about that block.

use linfa::traits::Fit as _;
use rayon::prelude::*;

use super::{Prepared, Progress, SHARES, TrainError, TrainInput};
use crate::dataset::{Examples, Sample, Scaler, Task, measured};
use crate::incident::Outcome;
use crate::model::{Boosting, Estimator, Family, Forest, ForestSize, Input, Isolation, Logistic, Penalty};
use crate::train::INCIDENTS_MIN;

/// Rows that smartcore's trees grow on: they look at every row for every feature that they try.
const TREE_ROWS_MAX: usize = 6_000;
/// Fewer rows before failures than this are one or two incidents.
const POSITIVE_ROWS_MIN: usize = 5;

/// How many times as high the logistic regression weighs features that several kinds of failure share: the nearest limit and
/// the events of all columns, and what all columns are reduced to besides. They are few and learn from every incident, so they
/// need holding back less than the hundreds that speak of one signal each. Found on four simulated fleets of ten days.
const POOLED_EASIER: f64 = 10.0;
const TOGETHER_EASIER: f64 = 3.0;
/// With more rows than this for each one that a fit may learn from, and fewer than one in so many before a failure, those that
/// matter are hardly among the ones drawn. (One in 5,000 is before a failure on a fleet that fails once in 200 host-days. Where
/// it is one in a hundred, drawing otherwise makes warnings fewer, as measured on two simulated fleets of ten days.)
const THIN: usize = 10;
const RARE: usize = 1_000;
/// L2 penalty of the few features of history, which hardly overfit.
const HISTORY_ALPHA: f64 = 10.0;

/// Families that answer "starts soon", simplest first, which wins ties; trees and the mean of all come after them.
const SOON: [Family; 6] = [
    Family::Isolation,
    Family::Unusual,
    Family::History,
    Family::Logistic,
    Family::Boosting,
    Family::Blend,
];
/// Families that answer "is under way", simplest first.
const UNDER_WAY: [Family; 3] = [Family::Isolation, Family::Unusual, Family::Logistic];

/// What one family said about one question.
pub(super) struct Output {
    pub(super) family: Family,
    /// Raw outputs on all rows, NaN where no fold predicted.
    pub(super) raw: Vec<f64>,
    /// The fit on everything.
    pub(super) last: Estimator,
}

/// All families on both questions.
pub(super) struct Walked {
    pub(super) soon: Vec<Output>,
    pub(super) under_way: Vec<Output>,
    /// Of the fit on everything.
    pub(super) scaler: Scaler,
}

/// One fold: its estimators by family, and their raw outputs on the rows of its block.
struct Fold {
    scaler: Scaler,
    rows: Vec<usize>,
    soon: Vec<(Option<Estimator>, Vec<f64>)>,
    under_way: Vec<(Option<Estimator>, Vec<f64>)>,
}

/// Fits every family on every fold, and on everything.
pub(super) fn walk(
    input: &TrainInput<'_>,
    prepared: &Prepared,
    progress: &mut dyn FnMut(Progress),
) -> Result<Walked, TrainError> {
    let examples = &prepared.examples;
    let n = examples.outcomes.len();
    let silent = prepared.set.silence_index();
    // A host that said nothing for a whole middle window teaches nothing.
    let spoke: Vec<bool> = (0..n)
        .map(|i| prepared.set.columns.is_empty() || examples.rows.row(i)[silent] < 1.0)
        .collect();
    let mut families = SOON.to_vec();
    if input.challenger {
        families.push(Family::ExtraTrees);
    }
    families.push(Family::Council);
    // Decided once, so that the fits of all folds speak in one scale.
    let thin = is_thin(examples, &spoke, input.rows_max);
    let folds: Vec<u8> = (1..=SHARES.len() as u8).collect();
    let told = |done| Progress {
        stage: "models",
        done,
        total: folds.len(),
    };
    progress(told(0));
    let fitted: Vec<Option<Fold>> = folds
        .par_iter()
        .map(|fold| fit_fold(input, prepared, &families, *fold, &spoke, thin))
        .collect::<Result<_, _>>()?;
    progress(told(folds.len()));

    type Said = (Vec<f64>, Option<Estimator>);
    let nothing = |families: &[Family]| -> Vec<Said> { families.iter().map(|_| (vec![f64::NAN; n], None)).collect() };
    let (mut soon, mut under_way) = (nothing(&families), nothing(&UNDER_WAY));
    let mut scaler = None;
    for fold in fitted.into_iter().flatten() {
        for (outputs, said) in [(&mut soon, fold.soon), (&mut under_way, fold.under_way)] {
            for ((all, last), (estimator, raw)) in outputs.iter_mut().zip(said) {
                for (i, value) in fold.rows.iter().zip(raw) {
                    all[*i] = value;
                }
                *last = estimator;
            }
        }
        scaler = Some(fold.scaler);
    }
    let spoke_up = |families: &[Family], said: Vec<Said>| -> Vec<Output> {
        families
            .iter()
            .zip(said)
            .filter(|(_, (raw, _))| raw.iter().any(|v| !v.is_nan()))
            .filter_map(|(family, (raw, last))| {
                Some(Output {
                    family: *family,
                    raw,
                    last: last?,
                })
            })
            .collect()
    };
    let (soon, under_way) = (spoke_up(&families, soon), spoke_up(&UNDER_WAY, under_way));
    match scaler {
        Some(scaler) if !soon.is_empty() => Ok(Walked {
            soon,
            under_way,
            scaler,
        }),
        _ => {
            let failed = |o: &&Outcome| matches!(o, Outcome::Failed { .. });
            let have = examples.outcomes.iter().filter(failed).count().min(1);
            Err(TrainError::TooFew {
                have,
                need: INCIDENTS_MIN,
            })
        }
    }
}

/// Whether failures are so rare, and rows so many, that a draw with the same chance for each row holds too few that look like
/// failures; by what was known before any block is judged.
fn is_thin(examples: &Examples, spoke: &[bool], rows_max: usize) -> bool {
    let all = spoke.iter().filter(|spoke| **spoke).count();
    let oldest = (0..spoke.len()).filter(|i| spoke[*i] && examples.known_before(*i, 1));
    let (mut rows, mut failing) = (0, 0);
    for i in oldest {
        rows += 1;
        failing += usize::from(matches!(examples.outcomes[i], Outcome::Failed { .. }));
    }
    all > THIN * rows_max && failing * RARE < rows
}

fn fit_fold(
    input: &TrainInput<'_>,
    prepared: &Prepared,
    families: &[Family],
    fold: u8,
    spoke: &[bool],
    thin: bool,
) -> Result<Option<Fold>, TrainError> {
    let examples = &prepared.examples;
    let n = examples.outcomes.len();
    let usable: Vec<usize> = (0..n)
        .filter(|i| spoke[*i] && examples.known_before(*i, fold))
        .collect();
    let candidates = |task: Task| -> Vec<(usize, bool)> {
        usable
            .iter()
            .filter_map(|i| task.answer(examples.outcomes[*i]).map(|y| (*i, y)))
            .collect()
    };
    let seed = input.seed.wrapping_mul(1_000).wrapping_add(u64::from(fold));
    let rows = candidates(Task::Soon);
    let fit = Fit {
        input,
        prepared,
        scaler: Scaler::fit(&examples.rows, &Sample::draw(&rows, input.rows_max, seed).picked),
        seed,
        thin,
    };
    if rows.len() < 2 * POSITIVE_ROWS_MIN {
        return Ok(None);
    }
    let mut soon: Vec<Option<Estimator>> = Vec::new();
    for family in families {
        let estimator = match family {
            Family::Blend | Family::Council => {
                let members: Vec<Estimator> = soon
                    .iter()
                    .flatten()
                    .filter(|e| family.members().contains(&e.family()))
                    .cloned()
                    .collect();
                let mean = Estimator::Blend(members);
                // With a member missing it can be another family's mean.
                (mean.members() > 1 && mean.family() == *family).then_some(mean)
            }
            family => fit.one(*family, Task::Soon, &rows)?,
        };
        soon.push(estimator);
    }
    let rows = candidates(Task::UnderWay);
    let mut under_way: Vec<Option<Estimator>> = Vec::new();
    for family in UNDER_WAY {
        let known = soon
            .iter()
            .flatten()
            .find(|e| e.family() == family && family.is_unsupervised());
        under_way.push(match known {
            Some(same) => Some(same.clone()),
            None => fit.one(family, Task::UnderWay, &rows)?,
        });
    }

    let judged: Vec<usize> = (0..n).filter(|i| examples.blocks[*i] == fold && spoke[*i]).collect();
    let mut standard = Vec::new();
    let mut said = vec![Vec::with_capacity(judged.len()); soon.len() + under_way.len()];
    for i in &judged {
        let row = examples.rows.row(*i);
        fit.scaler.apply(row, &mut standard);
        let x = Input {
            row,
            standard: &standard,
        };
        for (raw, estimator) in said.iter_mut().zip(soon.iter().chain(&under_way)) {
            raw.push(estimator.as_ref().map_or(f64::NAN, |e| e.raw(x)));
        }
    }
    let said_under_way = said.split_off(soon.len());
    Ok(Some(Fold {
        scaler: fit.scaler,
        rows: judged,
        soon: soon.into_iter().zip(said).collect(),
        under_way: under_way.into_iter().zip(said_under_way).collect(),
    }))
}

/// What the fits of one fold share.
struct Fit<'a> {
    input: &'a TrainInput<'a>,
    prepared: &'a Prepared,
    scaler: Scaler,
    seed: u64,
    /// See [`is_thin`].
    thin: bool,
}

impl Fit<'_> {
    /// Fits one family to one question, or nothing where there are too few failures to learn it from.
    fn one(&self, family: Family, task: Task, rows: &[(usize, bool)]) -> Result<Option<Estimator>, TrainError> {
        let (input, set, examples) = (self.input, &self.prepared.set, &self.prepared.examples);
        let width = set.len();
        let (most, seed) = match (task, family) {
            (Task::UnderWay, _) => (input.rows_max / 2, self.seed ^ 1),
            (Task::Soon, Family::ExtraTrees) => (input.rows_max.min(TREE_ROWS_MAX), self.seed),
            (Task::Soon, _) => (input.rows_max, self.seed),
        };
        let sample = Sample::draw(rows, most, seed);
        let failures = sample.positives();
        let learnable = failures >= POSITIVE_ROWS_MIN && failures < sample.answers.len();
        if !learnable && !family.is_unsupervised() {
            return Ok(None);
        }
        let shift = sample.log_odds_shift();
        let wrong = |why: String| TrainError::Fit {
            family: family.name(),
            why,
        };
        let history = set.history_range();
        let logistic = |sample: &Sample, features: &[usize], penalty: &Penalty| {
            let dataset = self.scaler.dataset(&examples.rows, sample, features);
            let shift = sample.log_odds_shift();
            Logistic::fit(dataset, features, width, penalty, shift).map_err(|e| wrong(e.to_string()))
        };
        Ok(match family {
            Family::Unusual if set.columns.is_empty() => None,
            Family::Unusual => Some(Estimator::Unusual {
                feature: set.anomaly_index(),
                width,
            }),
            Family::Isolation if set.columns.is_empty() => None,
            Family::Isolation => {
                let ordinary: Vec<&[f32]> = sample
                    .picked
                    .iter()
                    .zip(&sample.answers)
                    .filter(|(_, failed)| !**failed)
                    .map(|(i, _)| examples.rows.row(*i))
                    .collect();
                Some(Estimator::Isolation(
                    Isolation::fit(&ordinary, &set.deviations(), seed).map_err(wrong)?,
                ))
            }
            Family::History => Some(Estimator::History(logistic(
                &sample,
                &history.collect::<Vec<_>>(),
                &Penalty::of(HISTORY_ALPHA),
            )?)),
            Family::Logistic => {
                // Signs alone. An alarm that only repeats what somebody has declared detects nothing; and of a few incidents a
                // linear model learns that the hosts which had them have more, which drowns the signs on other hosts.
                let features: Vec<usize> = (0..width).filter(|f| !history.contains(f)).collect();
                if features.is_empty() {
                    return Ok(None);
                }
                let (pooled, together) = set.shared();
                let penalty = Penalty {
                    alpha: input.alpha,
                    easier: vec![(pooled, POOLED_EASIER), (together, TOGETHER_EASIER)],
                };
                let first = logistic(&sample, &features, &penalty)?;
                if task == Task::UnderWay || !self.thin {
                    return Ok(Some(Estimator::Logistic(first)));
                }
                // What the first fit mistakes for failures, the second learns to tell from them.
                let mut standard = Vec::new();
                let scores: Vec<f64> = rows
                    .iter()
                    .map(|(i, _)| {
                        self.scaler.apply(examples.rows.row(*i), &mut standard);
                        first.raw(&standard)
                    })
                    .collect();
                let near = Sample::draw_near(rows, &scores, most, seed);
                Some(Estimator::Logistic(logistic(&near, &features, &penalty)?))
            }
            Family::Boosting => {
                let fitted = Boosting::params()
                    .seed(seed)
                    .fit(&measured(&examples.rows, &sample))
                    .map_err(|e| wrong(e.to_string()))?;
                Some(Estimator::Boosting(fitted.shifted(shift)))
            }
            Family::ExtraTrees => {
                let all: Vec<usize> = (0..width).collect();
                let dataset = self.scaler.dataset(&examples.rows, &sample, &all);
                // Standard layout of the transposed is column by column of the original: no copy, and what trees scan.
                let columns = dataset.records().t();
                let columns = columns.as_standard_layout();
                let columns = columns
                    .as_slice()
                    .ok_or_else(|| wrong("columns do not lie one behind the other".to_owned()))?;
                let size = ForestSize {
                    trees: 50,
                    depth: 12,
                    leaf: 5,
                };
                let forest = Forest::fit(columns, width, &sample.answers, size, shift, seed).map_err(wrong)?;
                Some(Estimator::ExtraTrees(forest))
            }
            Family::Blend | Family::Council => None,
        })
    }
}

#[cfg(test)]
mod tests;
