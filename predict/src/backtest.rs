//! `foreshock backtest`: what training on a history would have been worth, on a data set or on one's own store.
//!
//! On a data set in the tidy form ([`crate::tidy`]) two folders may be given: one to train on and one to score, in which
//! the history of known hosts continues. Predictions are written as Parquet with the columns `host, timestamp,
//! probability, anomaly, alert`, which any evaluator can read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, StringArray, TimestampMillisecondArray};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use store::TimeRange;

use crate::evaluate::{Evaluation, Ledger, Protocol, Track, evaluate};
use crate::incident::Incidents;
use crate::telemetry::TelemetryError;
use crate::tidy::{Tidy, TidyError};
use crate::train::{Predictions, Progress, TrainError, TrainInput, Trained, predict, train};
use crate::window::{Grid, Horizon};

/// What to train on, what to score, and how.
#[derive(Clone, Debug)]
pub struct BacktestInput {
    /// The folder to train on.
    pub dataset: PathBuf,
    /// The folder to score with the model trained on all of `dataset`.
    pub score: Option<PathBuf>,
    /// How far ahead scores look.
    pub horizon: Horizon,
    /// The pause before the horizon begins to count, in milliseconds.
    pub gap_ms: i64,
    /// Distance of scores.
    pub stride_ms: i64,
    /// False alarms allowed per host-day.
    pub budget: f64,
    /// Whether smartcore's trees compete as well.
    pub challenger: bool,
    /// Most rows that one fit learns from.
    pub rows_max: usize,
    /// Drives every random choice.
    pub seed: u64,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Backtest {
    /// The model, its challenger, what it did on the newest quarter, and the walk-forward predictions of the last three.
    pub trained: Trained,
    /// Predictions for the folder to score.
    pub scored: Option<Predictions>,
    /// What they did, at the threshold chosen on the walk-forward predictions.
    pub evaluation: Option<Evaluation>,
    /// The same alarm by alarm and incident by incident; of the newest quarter where no folder was scored.
    pub ledger: Ledger,
}

/// A backtest could not be done.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// A data set could not be read.
    #[error("cannot read the data set")]
    Tidy(#[from] TidyError),
    /// Training failed.
    #[error("cannot train on the data set")]
    Train(#[from] TrainError),
    /// Scoring failed.
    #[error("cannot score the data set")]
    Score(#[from] TelemetryError),
    /// The predictions could not be written.
    #[error("cannot write {path}")]
    Write {
        /// Where to.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl BacktestError {
    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Tidy(e) => Some(e.hint()),
            Self::Train(e) => Some(e.hint()),
            Self::Score(_) | Self::Write { .. } => None,
        }
    }
}

/// Trains on one folder by walk-forward and scores the other.
///
/// # Errors
/// [`BacktestError`] says which step failed, and why.
pub fn backtest(input: &BacktestInput, progress: &mut dyn FnMut(Progress)) -> Result<Backtest, BacktestError> {
    progress(Progress {
        stage: "read",
        done: 0,
        total: 1,
    });
    let mut data = Tidy::read(&input.dataset)?;
    let later = input.score.as_deref().map(Tidy::read).transpose()?;
    progress(Progress {
        stage: "read",
        done: 1,
        total: 1,
    });
    let bounds = data.labelled.iter().map(|l| (l.from, l.to));
    let (from, to) = bounds.fold((i64::MAX, i64::MIN), |(from, to), l| (from.min(l.0), to.max(l.1)));
    let trained = {
        // Two days before the first label are enough to warm up the windows.
        let range = TimeRange::millis(from.saturating_sub(2 * 86_400_000), to);
        let train_input = TrainInput {
            horizon: input.horizon,
            gap_ms: input.gap_ms,
            stride_ms: input.stride_ms,
            grid: Grid::for_samples(data.step_ms),
            budget: input.budget,
            rows_max: input.rows_max,
            challenger: input.challenger,
            labelled: data.labelled.clone(),
            seed: input.seed,
            ..TrainInput::new(&data.telemetry, &data.incidents, range)
        };
        train(&train_input, progress)?
    };
    let Some(later) = later else {
        let ledger = trained.ledger.clone();
        return Ok(Backtest {
            trained,
            scored: None,
            evaluation: None,
            ledger,
        });
    };

    let wanted_on = later.labelled.clone();
    progress(Progress {
        stage: "score",
        done: 0,
        total: 1,
    });
    data.join(later);
    let incidents = Incidents::new(&data.incidents);
    // A host may be labelled in several stretches; its rows are wanted in order.
    let mut times: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    for l in &wanted_on {
        times
            .entry(l.host.clone())
            .or_default()
            .extend(l.times(input.stride_ms));
    }
    let wanted: Vec<(String, Vec<i64>)> = times.into_iter().map(|(h, t)| (h, t.into_iter().collect())).collect();
    let scored = predict(&trained.model, &data.telemetry, &incidents, &wanted)?;
    let mut of_host: BTreeMap<&str, (Vec<i64>, Vec<f64>)> = BTreeMap::new();
    for i in 0..scored.at.len() {
        let (at, p) = of_host.entry(scored.host[i].as_str()).or_default();
        at.push(scored.at[i]);
        p.push(scored.probability[i]);
    }
    let none = (Vec::new(), Vec::new());
    let tracks: Vec<Track<'_>> = wanted_on
        .iter()
        .map(|l| {
            let (at, probability) = of_host.get(l.host.as_str()).unwrap_or(&none);
            Track {
                host: &l.host,
                from: l.from,
                to: l.to,
                incidents: incidents.of(&l.host),
                at,
                probability,
            }
        })
        .collect();
    let protocol = Protocol {
        horizon_ms: input.horizon.millis(),
        gap_ms: input.gap_ms,
        stride_ms: input.stride_ms,
    };
    let ledger = Ledger::new(&tracks, trained.model.threshold, protocol, &incidents.kinds);
    let evaluation = evaluate(
        &tracks,
        None,
        Some(trained.model.threshold),
        protocol,
        input.budget,
        &incidents.kinds,
        input.seed,
    );
    progress(Progress {
        stage: "score",
        done: 1,
        total: 1,
    });
    Ok(Backtest {
        trained,
        scored: Some(scored),
        evaluation: Some(evaluation),
        ledger,
    })
}

/// Writes predictions as Parquet: `host`, `timestamp` (milliseconds UTC), `probability`, `anomaly`, `alert`.
///
/// # Errors
/// [`BacktestError::Write`] names the file.
pub fn write_predictions(path: &Path, predictions: &Predictions, threshold: f64) -> Result<(), BacktestError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| BacktestError::Write {
        path: path.to_owned(),
        source,
    };
    let columns: [(&str, ArrayRef); 5] = [
        ("host", Arc::new(StringArray::from_iter_values(&predictions.host))),
        (
            "timestamp",
            Arc::new(TimestampMillisecondArray::from(predictions.at.clone()).with_timezone("UTC")),
        ),
        (
            "probability",
            Arc::new(Float64Array::from(predictions.probability.clone())),
        ),
        ("anomaly", Arc::new(Float64Array::from(predictions.anomaly.clone()))),
        (
            "alert",
            Arc::new(BooleanArray::from_iter(
                predictions.probability.iter().map(|p| Some(*p >= threshold)),
            )),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).map_err(|e: ArrowError| failed(e.into()))?;
    let file = File::create(path).map_err(|e| failed(e.into()))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let write = || -> Result<(), ParquetError> {
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties))?;
        writer.write(&batch)?;
        writer.close()?;
        Ok(())
    };
    write().map_err(|e| failed(e.into()))
}

#[cfg(test)]
mod tests;
