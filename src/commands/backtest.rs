//! `foreshock backtest`: what a model would have done on history that it had not seen.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use predict::Horizon;
use predict::backtest::{BacktestInput, backtest, write_predictions};
use predict::train::Predictions;
use predict::window::parse_duration;
use store::{StoreOptions, Tenants};

use super::simulate::progress;
use crate::clock::now_ms;
use crate::training::{self, Plan};

/// Most rows that one fit learns from.
const ROWS_MAX: usize = 25_000;

/// Show what alarms would have been raised over history, and what would have been missed.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Data directory whose history is judged, while no server runs on it.
    #[arg(long, value_name = "DIR", conflicts_with = "dataset", default_value_os_t = crate::default_data())]
    data: PathBuf,
    /// Whose history.
    #[arg(long, default_value = "default")]
    tenant: String,
    /// Instead of a data directory: a folder of tidy tables (series.parquet, or host.parquet and gpu.parquet, with incidents.csv and scoring.csv).
    #[arg(long, value_name = "DIR")]
    dataset: Option<PathBuf>,
    /// A second folder of that form, scored with the model that was trained on the first.
    #[arg(long, value_name = "DIR", requires = "dataset")]
    score: Option<PathBuf>,
    /// How far ahead scores look.
    #[arg(long, default_value = "1h")]
    horizon: Horizon,
    /// Distance of scores.
    #[arg(long, default_value = "5m", value_parser = parse_duration)]
    stride: i64,
    /// False alarms that a host may raise a day.
    #[arg(long, default_value_t = 0.5)]
    budget: f64,
    /// Drives every random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where predictions are written: those for --score, else the walk-forward ones.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Where the walk-forward predictions are written.
    #[arg(long, value_name = "FILE")]
    validation_out: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let bar = progress(0, "");
    let mut step = |step: predict::Progress| {
        bar.set_message(step.stage);
        bar.set_length(step.total as u64);
        bar.set_position(step.done as u64);
    };
    let (trained, scored, evaluation) = match &arguments.dataset {
        Some(dataset) => {
            let input = BacktestInput {
                horizon: arguments.horizon,
                stride_ms: arguments.stride,
                budget: arguments.budget,
                seed: arguments.seed,
                dataset: dataset.clone(),
                score: arguments.score.clone(),
                gap_ms: 0,
                challenger: true,
                rows_max: ROWS_MAX,
            };
            let done = backtest(&input, &mut step)?;
            (done.trained, done.scored, done.evaluation)
        }
        None => (on_store(arguments, &mut step)?, None, None),
    };
    bar.finish_and_clear();
    println!(
        "{}, on the newest quarter, which it had not seen:\n{}",
        trained.model.name, trained.evaluation
    );
    println!("{}", super::train::families(&trained.compared));
    if let Some(evaluation) = &evaluation {
        println!("on the folder to score:\n{evaluation}");
    }
    let threshold = trained.model.threshold;
    if let Some(path) = &arguments.out {
        write(path, scored.as_ref().unwrap_or(&trained.predictions), threshold)?;
    }
    if let Some(path) = &arguments.validation_out {
        write(path, &trained.predictions, threshold)?;
    }
    Ok(())
}

fn on_store(arguments: &Arguments, step: &mut dyn FnMut(predict::Progress)) -> Result<predict::Trained> {
    if arguments.stride != 300_000 {
        bail!("--stride applies to --dataset; a store is scored every 5 minutes, as the server trains");
    }
    let options = StoreOptions {
        background: false,
        ..StoreOptions::default()
    };
    let tenants = Tenants::open(&arguments.data, options)
        .with_context(|| format!("cannot open data directory {}", arguments.data.display()))?;
    let store = tenants.get(&arguments.tenant).with_context(|| {
        format!(
            "there is no tenant {:?}; there are: {}",
            arguments.tenant,
            tenants.names().join(", ")
        )
    })?;
    let plan = Plan {
        horizon: arguments.horizon,
        budget: arguments.budget,
        until_ms: now_ms(),
        seed: arguments.seed,
    };
    let trained = training::train_on(&store, plan, step)?;
    drop(store);
    tenants.close()?;
    Ok(trained)
}

fn write(path: &std::path::Path, predictions: &Predictions, threshold: f64) -> Result<()> {
    write_predictions(path, predictions, threshold)?;
    tracing::info!(path = %path.display(), rows = predictions.at.len(), "predictions are written");
    Ok(())
}
