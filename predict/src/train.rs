//! Training: walk forward over time, calibrate on predictions made before the outcome, judge on the newest stretch, fit on all.
//!
//! ```text
//! time      |── block 0 ──|── block 1 ──|── block 2 ──|── block 3 ──|
//! fold 1     learns         predicts
//! fold 2     learns ......................predicts
//! fold 3     learns ....................................predicts
//! judged                    calibration, threshold ──► evaluation of the family that goes into service
//! final      learns ................................................   calibration, threshold from blocks 1 to 3
//! ```
//! Rows whose horizon reaches into the block that is predicted are left out of learning (purge).

mod choose;
mod judge;
mod lifetime;
mod walk;

use store::TimeRange;

pub use choose::Compared;

use crate::dataset::{Examples, Labelled};
use crate::evaluate::{Evaluation, Ledger, Protocol};
use crate::features::{FeatureSet, Rows, features_over, learn_typical};
use crate::incident::{Incident, Incidents};
use crate::instruments;
use crate::model::{Family, Model};
use crate::telemetry::{Telemetry, TelemetryError, sample_distance};
use crate::window::{Grid, Horizon};
use choose::choose;
use judge::Judge;
use lifetime::lifetimes;
use walk::walk;

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
    /// L2 penalty of the logistic regression; what kinds of failure share is held back less.
    pub alpha: f64,
    /// Whether smartcore's trees are trained as well, which takes longer than all other families together.
    pub challenger: bool,
    /// The family in charge so far, which stays unless another is clearly better; none lets the simplest stay.
    pub incumbent: Option<Family>,
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
            incumbent: None,
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

/// L2 penalty of weights that belong to one signal. Found on four simulated fleets of ten days, where a third or three times
/// as much ranks rows a little worse, and a thirtieth loses a quarter of what ranking is worth.
const ALPHA: f64 = 3_000.0;

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
    /// Every alarm and incident of the newest block.
    pub ledger: Ledger,
    /// All families on the same rows, simplest first.
    pub compared: Vec<Compared>,
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
    let walked = walk(input, &prepared, progress)?;
    let judge = Judge::new(input, &incidents, &prepared);

    // What is judged is the model that goes into service, on the newest block, with everything fitted before it. Its family
    // was chosen on all blocks: where the blocks before the newest one would have chosen another, that is said.
    let newest = (SHARES.len() - 1) as u8;
    let all = choose(&walked, &judge, newest + 1, input.incumbent);
    let before = choose(&walked, &judge, newest, None);
    let judged = |head: usize| {
        let soon = &walked.soon[head];
        let (model, predictions) = judge.finish(&walked.scaler, soon, all.under_way);
        let (evaluation, ledger) = judge.evaluation(soon, all.under_way);
        (Model { evaluation, ..model }, predictions, ledger)
    };
    let (mut model, predictions, ledger) = judged(all.champion);
    if before.champion != all.champion {
        model.evaluation.led_before = Some(walked.soon[before.champion].family.name().to_owned());
    }
    let evaluation = model.evaluation.clone();
    let challenger = all.challenger.map(|head| {
        let (model, ..) = judged(head);
        let evaluation = model.evaluation.clone();
        (model, evaluation)
    });
    Ok(Trained {
        model,
        evaluation,
        challenger,
        predictions,
        ledger,
        compared: all.compared,
    })
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
        label_all(input, &set, incidents)?
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
    set.taught_ms = labelled.iter().map(|l| l.to - l.from).max().unwrap_or(0);
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

/// All hosts, each for as long as it was there: from when windows can be filled after its first sample to a horizon after its last
/// one, or after the last incident on it, since a host that failed for good is silent.
fn label_all(input: &TrainInput<'_>, set: &FeatureSet, incidents: &Incidents) -> Result<Vec<Labelled>, TrainError> {
    let range = input.range;
    let inventory = crate::features::Inventory::new(&set.signals, &input.telemetry.series(range)?);
    let w = set.windows();
    let warm_up = (w.middle + w.long / 3) as i64 * set.grid.step_ms;
    // Examples stand on round times, so that they fall together with the rounds of live scoring.
    let warm = |start: i64| -(-(start + warm_up)).div_euclid(input.stride_ms) * input.stride_ms;
    let all = warm(range.start.0)..range.end.0;
    let need = warm_up + SHARES.len() as i64 * (input.horizon.millis() + input.gap_ms);
    let too_short = |have: i64| TrainError::TooShort {
        have_hours: have as f64 / 3_600_000.0,
        need_hours: need as f64 / 3_600_000.0,
    };
    if inventory.hosts().next().is_none() {
        return Err(TrainError::NoSamples { range });
    }
    if range.end.0 - range.start.0 < need {
        return Err(too_short(range.end.0 - range.start.0));
    }
    let lifetimes = lifetimes(input.telemetry, range, input.stride_ms)?;
    let labelled = inventory.hosts().filter_map(|host| {
        let (first, last) = *lifetimes.get(host)?;
        let failed = incidents.of(host).and_then(|i| i.last_start(range.end.0));
        let last = last.max(failed.unwrap_or(last));
        // Hosts send at times of their own; those of the first stride were there from the beginning.
        let was_there = first - range.start.0 < input.stride_ms;
        Some(Labelled {
            host: host.to_owned(),
            from: if was_there { all.start } else { warm(first) },
            to: range.end.0.min(last + input.horizon.millis()),
            blocks: all.clone(),
        })
    });
    let labelled: Vec<Labelled> = labelled.filter(|l| l.from < l.to).collect();
    if labelled.is_empty() {
        let longest = lifetimes.values().map(|(first, last)| last - first).max();
        return Err(too_short(longest.unwrap_or(0)));
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

#[cfg(test)]
mod tests;
