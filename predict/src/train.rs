//! Training: walk forward over time, calibrate on predictions made before the outcome, judge on the newest stretch, fit on all.
//!
//! ```text
//! time      |── block 0 ──|── block 1 ──|── block 2 ──|── block 3 ──|
//! fold 1     learns         predicts
//! fold 2     learns ......................predicts
//! fold 3     learns ....................................predicts
//! judged                    calibration, threshold ──► evaluation
//! final      learns ................................................   calibration, threshold from blocks 1 to 3
//! ```
//! Rows whose horizon reaches into the block that is predicted are left out of learning (purge).

use rayon::prelude::*;
use store::TimeRange;

use crate::calibration::{Calibration, logit};
use crate::dataset::{Examples, Labelled, Sample, Scaler, Task};
use crate::evaluate::{Evaluation, Protocol, Track, evaluate, pr_auc};
use crate::features::{FeatureSet, Rows, features_over, learn_typical};
use crate::incident::{Incident, Incidents, Outcome};
use crate::instruments;
use crate::model::{Estimator, FORMAT, Family, Head, Model};
use crate::telemetry::{Telemetry, TelemetryError, sample_distance};
use crate::window::{Grid, Horizon};

/// Where the walk-forward blocks begin, as shares of each host's labelled time.
pub(crate) const SHARES: [f64; 4] = [0.0, 0.25, 0.5, 0.75];

/// Fewer incidents than this teach nothing that carries over.
pub const INCIDENTS_MIN: usize = 6;

/// What to train on, and how.
#[derive(Clone)]
pub struct TrainInput<'a> {
    /// Where samples come from.
    pub telemetry: &'a dyn Telemetry,
    /// Incidents within the range.
    pub incidents: &'a [Incident],
    /// The history to use. Outcomes are known up to its end.
    pub range: TimeRange,
    /// How far ahead scores look.
    pub horizon: Horizon,
    /// The pause before the horizon begins to count, in milliseconds.
    pub gap_ms: i64,
    /// Distance of examples.
    pub stride_ms: i64,
    /// The grid of blocks.
    pub grid: Grid,
    /// False alarms allowed per host-day.
    pub budget: f64,
    /// Most rows that one fit learns from.
    pub rows_max: usize,
    /// L2 penalty of the logistic regression.
    pub alpha: f64,
    /// Whether a challenger of another family is trained as well.
    pub challenger: bool,
    /// Times in which outcomes are known, where they differ from host to host; empty: all of the range after warm-up.
    pub labelled: Vec<Labelled>,
    /// Drives every random choice.
    pub seed: u64,
}

impl std::fmt::Debug for TrainInput<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrainInput")
            .field("incidents", &self.incidents.len())
            .field("range", &self.range)
            .field("horizon", &self.horizon)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

impl<'a> TrainInput<'a> {
    /// Horizon of an hour, an example every five minutes, half a false alarm per host-day, and the grid that fits the
    /// samples.
    #[must_use]
    pub fn new(telemetry: &'a dyn Telemetry, incidents: &'a [Incident], range: TimeRange) -> Self {
        Self {
            telemetry,
            incidents,
            range,
            horizon: Horizon::HOUR,
            gap_ms: 0,
            stride_ms: 300_000,
            // Samples that cannot be read are reported by the training itself.
            grid: sample_distance(telemetry, range)
                .ok()
                .flatten()
                .map_or(Grid::MINUTE, Grid::for_samples),
            budget: 0.5,
            rows_max: 8_000,
            alpha: ALPHA,
            challenger: true,
            labelled: Vec::new(),
            seed: 1,
        }
    }

    fn protocol(&self) -> Protocol {
        Protocol {
            horizon_ms: self.horizon.millis(),
            gap_ms: self.gap_ms,
            stride_ms: self.stride_ms,
        }
    }
}

/// L2 penalty found on the development part of the synthetic fleet; a factor of ten either way changes little.
const ALPHA: f64 = 100.0;

/// How far training has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: &'static str,
    /// How much of it is done.
    pub done: usize,
    /// How much there is.
    pub total: usize,
}

/// A trained model with what it would have done, and its challenger.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The model.
    pub model: Model,
    /// What it did on the newest block, which it had not seen.
    pub evaluation: Evaluation,
    /// A model of another family, judged on the same block.
    pub challenger: Option<(Model, Evaluation)>,
    /// Scores of the judged and validated blocks, for a closer look.
    pub predictions: Predictions,
}

/// Scores that were made before the outcome was known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// Host of each score.
    pub host: Vec<String>,
    /// Time of each score.
    pub at: Vec<i64>,
    /// The score.
    pub probability: Vec<f64>,
    /// How unusual the host was as a whole, in usual spreads.
    pub anomaly: Vec<f64>,
}

/// Training could not be done.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Samples could not be read.
    #[error("cannot read the samples to train on")]
    Telemetry(#[from] TelemetryError),
    /// There are no series of hosts in the range.
    #[error("there are no samples of any host between {} and {} ms", range.start.0, range.end.0)]
    NoSamples {
        /// The range that was looked at.
        range: TimeRange,
    },
    /// The history is too short for windows and blocks.
    #[error("{have_hours:.1} hours of history are too short, {need_hours:.1} are needed")]
    TooShort {
        /// What there is.
        have_hours: f64,
        /// What is needed.
        need_hours: f64,
    },
    /// Too few incidents to learn from.
    #[error("{have} incidents are too few to learn from, {need} are needed")]
    TooFew {
        /// What there is.
        have: usize,
        /// What is needed.
        need: usize,
    },
    /// The learner failed.
    #[error("cannot fit the {family} model: {why}")]
    Fit {
        /// Which family.
        family: &'static str,
        /// What the learner said.
        why: String,
    },
}

impl TrainError {
    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Telemetry(_) => "check the store with `foreshock store verify`",
            Self::NoSamples { .. } => "check the time range, and that series carry a host label",
            Self::TooShort { .. } => {
                "wait for more history; until then anomaly scores, forecasts and hardware rules work"
            }
            Self::TooFew { .. } => {
                "declare or import past incidents; until there are enough, anomaly scores, forecasts and hardware rules work"
            }
            Self::Fit { .. } => "this is a fault of foreshock: please report it with the text above",
        }
    }

    /// `invalid`, `unavailable` or `internal`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Telemetry(_) => "unavailable",
            Self::NoSamples { .. } | Self::TooShort { .. } | Self::TooFew { .. } => "invalid",
            Self::Fit { .. } => "internal",
        }
    }
}

/// Trains a model, judges it, and fits it on everything.
///
/// # Errors
/// [`TrainError`] says what is missing.
pub fn train(input: &TrainInput<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Trained, TrainError> {
    let trained = train_all(input, progress);
    instruments::count_training(trained.is_ok());
    trained
}

fn train_all(input: &TrainInput<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Trained, TrainError> {
    let incidents = Incidents::new(input.incidents);
    let prepared = prepare(input, &incidents, progress)?;
    let families: &[Family] = if input.challenger {
        &[Family::Logistic, Family::ExtraTrees, Family::Unusual]
    } else {
        &[Family::Logistic]
    };
    let mut candidates = Vec::new();
    for family in families {
        candidates.push(fit_family(input, &incidents, &prepared, *family, progress)?);
    }
    // The logistic model is in charge unless what needs no incidents was clearly better on the blocks before the newest one, which
    // nobody chose by. Trees stay in the shadow until they are promoted by hand: on simulated fleets they rank rows better and
    // still warn of fewer incidents at the same budget, in validation as well as after it.
    let mut best = 0;
    for i in 1..candidates.len() {
        let eligible = candidates[i].model.family() != Family::ExtraTrees || candidates[best].validated.pr_auc.is_nan();
        if eligible && candidates[i].validated.beats(candidates[best].validated) {
            best = i;
        }
    }
    let champion = candidates.swap_remove(best);
    candidates.sort_by(|a, b| b.validated.pr_auc.total_cmp(&a.validated.pr_auc));
    Ok(Trained {
        evaluation: champion.model.evaluation.clone(),
        model: champion.model,
        predictions: champion.predictions,
        challenger: candidates
            .into_iter()
            .next()
            .map(|c| (c.model.clone(), c.model.evaluation)),
    })
}

/// How many times the validated PR-AUC of the model in charge another one needs, lest noise chooses.
const BETTER_BY: f64 = 1.5;

/// What a model did on the blocks before the newest one.
#[derive(Clone, Copy, Debug)]
struct Validated {
    /// Area under the precision-recall curve over rows; NaN where nothing was predicted.
    pr_auc: f64,
    /// Incidents warned of at the threshold that keeps the budget.
    warned: usize,
}

impl Validated {
    /// Whether this is clearly better: in rows and in incidents, which are what counts.
    fn beats(self, other: Self) -> bool {
        let ranks_better = self.pr_auc > BETTER_BY * other.pr_auc || (other.pr_auc.is_nan() && !self.pr_auc.is_nan());
        ranks_better && (self.warned >= other.warned + 2 || other.pr_auc.is_nan())
    }
}

/// A fitted model with what it did on validation.
struct Candidate {
    model: Model,
    predictions: Predictions,
    validated: Validated,
}

/// Features and outcomes of the whole history.
pub(crate) struct Prepared {
    pub(crate) set: FeatureSet,
    pub(crate) labelled: Vec<Labelled>,
    pub(crate) examples: Examples,
}

pub(crate) fn prepare(
    input: &TrainInput<'_>,
    incidents: &Incidents,
    progress: &mut dyn FnMut(Progress),
) -> Result<Prepared, TrainError> {
    let mut set = FeatureSet::discover(input.telemetry, input.range, input.grid)?;
    let labelled = if input.labelled.is_empty() {
        label_all(input, &set)?
    } else {
        input.labelled.clone()
    };
    let have = labelled
        .iter()
        .filter_map(|l| incidents.of(&l.host).map(|i| (l, i)))
        .flat_map(|(l, i)| {
            i.spans()
                .iter()
                .filter(|s| !s.nested && !s.mitigated && s.start >= l.from && s.start < l.to)
        })
        .count();
    if have < INCIDENTS_MIN {
        return Err(TrainError::TooFew {
            have,
            need: INCIDENTS_MIN,
        });
    }
    // Usual spreads come from the oldest quarter, so that later blocks are judged by what was known before them.
    let quarter = input.range.start.0 + (input.range.end.0 - input.range.start.0) / 4;
    set.typical = learn_typical(input.telemetry, &set, TimeRange::millis(input.range.start.0, quarter))?;
    let rows = rows(input, &set, incidents, &labelled, progress)?;
    let examples = Examples::new(
        rows,
        incidents,
        &labelled,
        &SHARES,
        input.gap_ms,
        input.horizon.millis(),
    );
    Ok(Prepared {
        set,
        labelled,
        examples,
    })
}

/// All hosts, from when windows can be filled to the end of the range.
fn label_all(input: &TrainInput<'_>, set: &FeatureSet) -> Result<Vec<Labelled>, TrainError> {
    let inventory = crate::features::Inventory::new(&set.signals, &input.telemetry.series(input.range)?);
    let w = set.windows();
    let warm_up = (w.middle + w.long / 3) as i64 * set.grid.step_ms;
    let (start, to) = (input.range.start.0 + warm_up, input.range.end.0);
    // Examples stand on round times, so that they fall together with the rounds of live scoring.
    let from = -(-start).div_euclid(input.stride_ms) * input.stride_ms;
    let hour = 3_600_000.0;
    let need = warm_up + SHARES.len() as i64 * (input.horizon.millis() + input.gap_ms);
    let labelled: Vec<Labelled> = inventory
        .hosts()
        .map(|host| Labelled {
            host: host.to_owned(),
            from,
            to,
        })
        .collect();
    if labelled.is_empty() {
        return Err(TrainError::NoSamples { range: input.range });
    }
    if to - input.range.start.0 < need {
        let have_hours = (to - input.range.start.0) as f64 / hour;
        return Err(TrainError::TooShort {
            have_hours,
            need_hours: need as f64 / hour,
        });
    }
    Ok(labelled)
}

/// Rows of all hosts, a few hosts at a time so that progress can be told.
pub(crate) fn rows(
    input: &TrainInput<'_>,
    set: &FeatureSet,
    incidents: &Incidents,
    labelled: &[Labelled],
    progress: &mut dyn FnMut(Progress),
) -> Result<Rows, TelemetryError> {
    let mut rows = Rows {
        width: set.len(),
        ..Rows::default()
    };
    let mut done = 0;
    for some in labelled.chunks(8) {
        let wanted: Vec<(String, Vec<i64>)> = some
            .iter()
            .map(|l| (l.host.clone(), l.times(input.stride_ms)))
            .collect();
        rows.append(features_over(input.telemetry, set, incidents, input.horizon, &wanted)?);
        done += some.len();
        progress(Progress {
            stage: "features",
            done,
            total: labelled.len(),
        });
    }
    Ok(rows)
}

/// Scores that a model gives to hosts at times of their own; hosts without samples have none.
///
/// # Errors
/// [`TelemetryError`] when samples cannot be read.
pub fn predict(
    model: &Model,
    telemetry: &dyn Telemetry,
    incidents: &Incidents,
    wanted: &[(String, Vec<i64>)],
) -> Result<Predictions, TelemetryError> {
    let anomaly = model.features.anomaly_index();
    let mut out = Predictions::default();
    for some in wanted.chunks(8) {
        let rows = features_over(telemetry, &model.features, incidents, model.horizon, some)?;
        for i in 0..rows.len() {
            out.host.push(rows.hosts[rows.host[i] as usize].clone());
            out.at.push(rows.at[i]);
            out.probability.push(model.probability(rows.row(i)).get());
            out.anomaly.push(f64::from(rows.row(i)[anomaly]));
        }
    }
    Ok(out)
}

/// Raw outputs of the two heads, NaN where no fold predicted.
struct Raw {
    soon: Vec<f64>,
    under_way: Vec<f64>,
}

/// How raw outputs become probabilities.
struct Calibrations {
    soon: Calibration,
    under_way: Calibration,
    last: Calibration,
}

impl Calibrations {
    /// Fits on the rows that `use_row` picks and some fold predicted.
    fn fit(examples: &Examples, raw: &Raw, use_row: impl Fn(usize) -> bool) -> Self {
        let fit = |task: Task, values: &[f64]| {
            let (x, y): (Vec<f64>, Vec<bool>) = (0..values.len())
                .filter(|i| use_row(*i))
                .filter_map(|i| task.answer(examples.outcomes[i]).map(|y| (values[i], y)))
                .unzip();
            Calibration::fit(&x, &y)
        };
        let soon = fit(Task::Soon, &raw.soon);
        let under_way = fit(Task::UnderWay, &raw.under_way);
        let larger: Vec<f64> = (0..raw.soon.len())
            .map(|i| larger(&soon, &under_way, raw.soon[i], raw.under_way[i]))
            .collect();
        let last = fit(Task::Soon, &larger);
        Self { soon, under_way, last }
    }

    fn probability(&self, raw: &Raw, i: usize) -> f64 {
        self.last
            .apply(larger(&self.soon, &self.under_way, raw.soon[i], raw.under_way[i]))
    }
}

/// Log odds of the larger head; NaN where nothing was predicted.
fn larger(soon: &Calibration, under_way: &Calibration, raw_soon: f64, raw_under_way: f64) -> f64 {
    if raw_soon.is_nan() {
        return f64::NAN;
    }
    let under_way = if raw_under_way.is_nan() {
        0.0
    } else {
        under_way.apply(raw_under_way)
    };
    logit(soon.apply(raw_soon).max(under_way))
}

fn fit_family(
    input: &TrainInput<'_>,
    incidents: &Incidents,
    prepared: &Prepared,
    family: Family,
    progress: &mut dyn FnMut(Progress),
) -> Result<Candidate, TrainError> {
    let Prepared {
        set,
        labelled,
        examples,
    } = prepared;
    let (raw, model) = learn(input, prepared, family, progress)?;
    let anomaly = set.anomaly_index();
    let n = examples.outcomes.len();

    // Judged as it would have been: calibration and threshold from the blocks before the newest one.
    let newest = (SHARES.len() - 1) as u8;
    let before = Calibrations::fit(examples, &raw, |i| {
        examples.blocks[i] < newest && examples.known_before(i, newest)
    });
    let judged: Vec<f64> = (0..n).map(|i| before.probability(&raw, i)).collect();
    let stretches = |p: &[f64], from: usize, to: usize| stretches(prepared, &raw, p, input.stride_ms, from, to);
    let judge = |test: &[Stretch<'_>], validation: &[Stretch<'_>]| {
        let (test, validation) = (tracks(test, incidents), tracks(validation, incidents));
        evaluate(
            &test,
            Some(&validation),
            None,
            input.protocol(),
            input.budget,
            &incidents.kinds,
            input.seed,
        )
    };
    let last = SHARES.len();
    let evaluation = judge(&stretches(&judged, last - 1, last), &stretches(&judged, 1, last - 1));

    let earlier = stretches(&judged, 1, last - 1);
    let validated = Validated {
        pr_auc: pr_auc_where(examples, &judged, |i| {
            examples.blocks[i] < newest && examples.known_before(i, newest)
        }),
        warned: judge(&earlier, &earlier).warned,
    };

    let all = Calibrations::fit(examples, &raw, |_| true);
    let scores: Vec<f64> = (0..n).map(|i| all.probability(&raw, i)).collect();
    let whole = stretches(&scores, 1, last);
    let threshold = judge(&whole, &whole).threshold;
    let picked: Vec<usize> = (0..n).filter(|i| !raw.soon[*i].is_nan()).collect();
    let predictions = Predictions {
        host: picked
            .iter()
            .map(|i| examples.rows.hosts[examples.rows.host[*i] as usize].clone())
            .collect(),
        at: picked.iter().map(|i| examples.rows.at[*i]).collect(),
        probability: picked.iter().map(|i| scores[*i]).collect(),
        anomaly: picked
            .iter()
            .map(|i| f64::from(examples.rows.row(*i)[anomaly]))
            .collect(),
    };
    let Fitted {
        scaler,
        soon,
        under_way,
    } = model;
    let model = Model {
        format: FORMAT,
        name: format!("{}-{}-{}", family.name(), input.horizon, input.range.end.0 / 1_000),
        code: env!("CARGO_PKG_VERSION").to_owned(),
        horizon: input.horizon,
        gap_ms: input.gap_ms,
        trained_from: input.range.start.0,
        trained_to: input.range.end.0,
        hosts: labelled.iter().map(|l| l.host.clone()).collect(),
        seed: input.seed,
        features: set.clone(),
        scaler,
        soon: Head {
            estimator: soon,
            calibration: all.soon,
        },
        under_way: under_way.map(|estimator| Head {
            estimator,
            calibration: all.under_way,
        }),
        calibration: all.last,
        threshold,
        evaluation,
    };
    Ok(Candidate {
        model,
        predictions,
        validated,
    })
}

/// Scores of one host over some of its blocks.
struct Stretch<'a> {
    host: &'a str,
    from: i64,
    to: i64,
    at: Vec<i64>,
    probability: Vec<f64>,
}

impl Stretch<'_> {
    fn track<'b>(&'b self, incidents: &'b Incidents) -> Track<'b> {
        Track {
            host: self.host,
            from: self.from,
            to: self.to,
            incidents: incidents.of(self.host),
            at: &self.at,
            probability: &self.probability,
        }
    }
}

fn tracks<'a>(stretches: &'a [Stretch<'_>], incidents: &'a Incidents) -> Vec<Track<'a>> {
    stretches.iter().map(|s| s.track(incidents)).collect()
}

/// The scores of every labelled host from the start of block `from` to the start of block `to`.
fn stretches<'a>(
    prepared: &'a Prepared,
    raw: &Raw,
    scores: &[f64],
    stride_ms: i64,
    from: usize,
    to: usize,
) -> Vec<Stretch<'a>> {
    let examples = &prepared.examples;
    let mut of_host: Vec<(Vec<i64>, Vec<f64>)> = vec![Default::default(); examples.rows.hosts.len()];
    for (i, score) in scores.iter().enumerate().filter(|(i, _)| !raw.soon[*i].is_nan()) {
        let (at, probability) = &mut of_host[examples.rows.host[i] as usize];
        at.push(examples.rows.at[i]);
        probability.push(*score);
    }
    prepared
        .labelled
        .iter()
        .map(|l| {
            let id = examples.rows.hosts.iter().position(|h| *h == l.host);
            let (at, probability) = id.map(|id| std::mem::take(&mut of_host[id])).unwrap_or_default();
            let start = l.block_start(&SHARES, from);
            Stretch {
                host: &l.host,
                // The first example of the block, so that judged rows and examples fall together.
                from: l.from + (start - l.from + stride_ms - 1).div_euclid(stride_ms) * stride_ms,
                to: l.block_start(&SHARES, to),
                at,
                probability,
            }
        })
        .collect()
}

/// A fitted fold, and for each row after it the row and the raw output of both heads.
type Fold = (Fitted, Vec<(usize, f64, f64)>);

struct Fitted {
    scaler: Scaler,
    soon: Estimator,
    under_way: Option<Estimator>,
}

/// Fits every fold and the final model; raw outputs are those that each fold predicted for the block after it.
fn learn(
    input: &TrainInput<'_>,
    prepared: &Prepared,
    family: Family,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Raw, Fitted), TrainError> {
    let examples = &prepared.examples;
    let n = examples.outcomes.len();
    let silent = prepared.set.silence_index();
    // A host that said nothing for a whole middle window teaches nothing.
    let spoke: Vec<bool> = (0..n)
        .map(|i| prepared.set.columns.is_empty() || examples.rows.row(i)[silent] < 1.0)
        .collect();
    let folds: Vec<u8> = (1..=SHARES.len() as u8).collect();
    let total = folds.len();
    progress(Progress {
        stage: family.name(),
        done: 0,
        total,
    });
    let fitted: Vec<Option<Fold>> = folds
        .par_iter()
        .map(|fold| {
            let usable = |i: usize| spoke[i] && examples.known_before(i, *fold);
            let Some(fitted) = fit_once(input, prepared, family, *fold, &usable)? else {
                return Ok(None);
            };
            let mut x = Vec::new();
            let predicted = (0..n)
                .filter(|i| examples.blocks[*i] == *fold && spoke[*i])
                .map(|i| {
                    fitted.scaler.apply(examples.rows.row(i), &mut x);
                    (
                        i,
                        fitted.soon.raw(&x),
                        fitted.under_way.as_ref().map_or(f64::NAN, |h| h.raw(&x)),
                    )
                })
                .collect();
            Ok(Some((fitted, predicted)))
        })
        .collect::<Result<_, TrainError>>()?;
    progress(Progress {
        stage: family.name(),
        done: total,
        total,
    });
    let mut raw = Raw {
        soon: vec![f64::NAN; n],
        under_way: vec![f64::NAN; n],
    };
    let mut last = None;
    for (fitted, predicted) in fitted.into_iter().flatten() {
        for (i, soon, under_way) in predicted {
            raw.soon[i] = soon;
            raw.under_way[i] = under_way;
        }
        last = Some(fitted);
    }
    let have = examples
        .outcomes
        .iter()
        .filter(|o| matches!(o, Outcome::Failed { .. }))
        .count();
    let last = last.ok_or(TrainError::TooFew {
        have: have.min(1),
        need: INCIDENTS_MIN,
    })?;
    Ok((raw, last))
}

/// Rows that a forest grows on: smartcore looks at every row for every feature that it tries.
const TREE_ROWS_MAX: usize = 6_000;

/// One fit of both heads on the rows that are usable, or nothing where there are too few failures among them.
fn fit_once(
    input: &TrainInput<'_>,
    prepared: &Prepared,
    family: Family,
    fold: u8,
    usable: &dyn Fn(usize) -> bool,
) -> Result<Option<Fitted>, TrainError> {
    /// Fewer rows before failures than this are one or two incidents.
    const POSITIVE_ROWS_MIN: usize = 5;
    let examples = &prepared.examples;
    let candidates = |task: Task| -> Vec<(usize, bool)> {
        (0..examples.outcomes.len())
            .filter(|i| usable(*i))
            .filter_map(|i| task.answer(examples.outcomes[i]).map(|y| (i, y)))
            .collect()
    };
    let seed = input.seed.wrapping_mul(1_000).wrapping_add(u64::from(fold));
    let rows_max = match family {
        Family::ExtraTrees => input.rows_max.min(TREE_ROWS_MAX),
        Family::Logistic | Family::Unusual => input.rows_max,
    };
    let soon = Sample::draw(&candidates(Task::Soon), rows_max, seed);
    if soon.positives() < POSITIVE_ROWS_MIN || soon.positives() == soon.answers.len() {
        return Ok(None);
    }
    let scaler = Scaler::fit(&examples.rows, &soon.picked);
    if family == Family::Unusual {
        let (feature, width) = (prepared.set.anomaly_index(), prepared.set.len());
        let soon = Estimator::Unusual { feature, width };
        return Ok(Some(Fitted {
            scaler,
            soon,
            under_way: None,
        }));
    }
    let fit = |family: Family, sample: &Sample| {
        let dataset = scaler.dataset(&examples.rows, sample);
        Estimator::fit(family, &dataset, input.alpha, sample.log_odds_shift(), seed).map_err(|why| TrainError::Fit {
            family: family.name(),
            why,
        })
    };
    let under_way = Sample::draw(&candidates(Task::UnderWay), input.rows_max / 2, seed ^ 1);
    let under_way = if under_way.positives() < POSITIVE_ROWS_MIN {
        None
    } else {
        // Being within an incident shows plainly; a line tells it as well as a forest and costs a tenth.
        Some(fit(Family::Logistic, &under_way)?)
    };
    Ok(Some(Fitted {
        soon: fit(family, &soon)?,
        under_way,
        scaler,
    }))
}

/// Area under the precision-recall curve over the rows that `use_row` picks, where something was predicted.
fn pr_auc_where(examples: &Examples, scores: &[f64], use_row: impl Fn(usize) -> bool) -> f64 {
    let (y, p): (Vec<bool>, Vec<f64>) = (0..scores.len())
        .filter(|i| use_row(*i) && !scores[*i].is_nan())
        .filter_map(|i| Task::Soon.answer(examples.outcomes[i]).map(|y| (y, scores[i])))
        .unzip();
    pr_auc(&y, &p)
}

#[cfg(test)]
mod tests;
