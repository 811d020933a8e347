//! `foreshock backtest`: what a model would have done on history that it had not seen.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use predict::backtest::{Backtest, BacktestInput, backtest, write_predictions};
use predict::report::{Cost, Report};
use predict::train::Predictions;
use predict::window::parse_duration;

use super::history::{History, show};
use super::simulate::progress;
use crate::clock::now_ms;

/// Most rows that one fit learns from.
const ROWS_MAX: usize = 25_000;

/// Show what alarms would have been raised over history, and what would have been missed.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    history: History,
    /// Instead of a data directory: a folder of tidy tables (series.parquet, or host.parquet and gpu.parquet, with incidents.csv and scoring.csv).
    #[arg(long, value_name = "DIR", conflicts_with = "data")]
    dataset: Option<PathBuf>,
    /// A second folder of that form, scored with the model that was trained on the first.
    #[arg(long, value_name = "DIR", requires = "dataset")]
    score: Option<PathBuf>,
    /// Distance of scores.
    #[arg(long, default_value = "5m", value_parser = parse_duration)]
    stride: i64,
    /// False alarms that a host may raise a day.
    #[arg(long, default_value_t = 0.5)]
    budget: f64,
    /// Where predictions are written: those for --score, else the walk-forward ones.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Where the walk-forward predictions are written.
    #[arg(long, value_name = "FILE")]
    validation_out: Option<PathBuf>,
    /// Where a report is written that a browser shows: every alarm, every incident missed, and what both would have cost.
    #[arg(long, value_name = "FILE", alias = "report")]
    html: Option<PathBuf>,
    /// For the report: what an incident costs that nobody was warned of.
    #[arg(long, default_value_t = Cost::default().crash, value_parser = price)]
    cost_crash: f64,
    /// For the report: what acting on an alarm costs, in the same unit.
    #[arg(long, default_value_t = Cost::default().drain, value_parser = price)]
    cost_drain: f64,
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let done = judge(arguments)?;
    let trained = &done.trained;
    println!(
        "{}, on the newest quarter, which it had not seen:\n{}",
        trained.model.name, trained.evaluation
    );
    println!("{}", super::train::families(&trained.compared));
    if let Some(evaluation) = &done.evaluation {
        println!("on the folder to score:\n{evaluation}");
    }
    let threshold = trained.model.threshold;
    if let Some(path) = &arguments.out {
        write(path, done.scored.as_ref().unwrap_or(&trained.predictions), threshold)?;
    }
    if let Some(path) = &arguments.validation_out {
        write(path, &trained.predictions, threshold)?;
    }
    if let Some(path) = &arguments.html {
        let report = Report {
            about: &about(arguments),
            model: &trained.model.name,
            evaluation: done.evaluation.as_ref().unwrap_or(&trained.evaluation),
            ledger: &done.ledger,
            compared: &trained.compared,
            cost: Cost {
                crash: arguments.cost_crash,
                drain: arguments.cost_drain,
            },
        };
        std::fs::write(path, report.html()).with_context(|| format!("cannot write {}", path.display()))?;
        tracing::info!(path = %path.display(), "the report is written");
    }
    Ok(())
}

fn judge(arguments: &Arguments) -> Result<Backtest> {
    let bar = progress(0, "");
    let history = &arguments.history;
    let Some(dataset) = &arguments.dataset else {
        if arguments.stride != 300_000 {
            bail!("--stride applies to --dataset; a store is scored every 5 minutes, as the server trains");
        }
        return history.train(arguments.budget, now_ms(), &bar, |trained, _| {
            Ok(Backtest {
                ledger: trained.ledger.clone(),
                trained,
                scored: None,
                evaluation: None,
            })
        });
    };
    let input = BacktestInput {
        horizon: history.horizon,
        stride_ms: arguments.stride,
        budget: arguments.budget,
        seed: history.seed,
        dataset: dataset.clone(),
        score: arguments.score.clone(),
        gap_ms: 0,
        challenger: true,
        rows_max: ROWS_MAX,
    };
    let done = backtest(&input, &mut |step| show(&bar, step))?;
    bar.finish_and_clear();
    Ok(done)
}

/// Which history the report is about.
fn about(arguments: &Arguments) -> String {
    match (&arguments.score, &arguments.dataset) {
        (Some(folder), _) => format!("the folder {}", folder.display()),
        (None, Some(folder)) => format!("the newest quarter of {}", folder.display()),
        (None, None) => format!("the newest quarter of tenant {}", arguments.history.tenant),
    }
}

/// A cost: a number from 0.
fn price(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(price) if price.is_finite() && price >= 0.0 => Ok(price),
        _ => Err("a cost is a number from 0".to_owned()),
    }
}

fn write(path: &std::path::Path, predictions: &Predictions, threshold: f64) -> Result<()> {
    write_predictions(path, predictions, threshold)?;
    tracing::info!(path = %path.display(), rows = predictions.at.len(), "predictions are written");
    Ok(())
}
