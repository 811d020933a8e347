//! `foreshock train`: a model from the history in a data directory.

use anyhow::Result;
use predict::train::Compared;

use super::history::History;
use super::simulate::progress;
use crate::clock::{now_ms, utc};
use crate::training;

/// Train a model on the history in a data directory, while no server runs on it. A running server trains by itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    history: History,
    /// False alarms that a host may raise a day.
    #[arg(long, default_value_t = 0.02)]
    budget: f64,
    /// Show what the model would have done, but do not keep it.
    #[arg(long)]
    dry_run: bool,
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let now = now_ms();
    let bar = progress(0, "");
    arguments.history.train(arguments.budget, now, &bar, |trained, store| {
        let model = &trained.model;
        println!(
            "{}: learned from {} to {}",
            model.name,
            utc(model.trained_from),
            utc(model.trained_to)
        );
        println!("{}", trained.evaluation);
        println!("{}", families(&trained.compared));
        if !arguments.dry_run {
            let id = training::keep(store, &trained, now)?;
            println!("kept as model {}", id.0);
        }
        Ok(())
    })
}

/// A line for each family on the same rows, which none of them had seen.
pub(super) fn families(compared: &[Compared]) -> String {
    let mut text =
        "families on history that they had not seen (PR-AUC, 90 % interval over events, incidents warned of):"
            .to_owned();
    for family in compared {
        let (low, high) = family.interval;
        text.push_str(&format!(
            "\n  {:<12} {:.3} [{low:.3}, {high:.3}] {:>4}{}",
            family.family.name(),
            family.pr_auc,
            family.warned,
            if family.leads { "  leads" } else { "" }
        ));
    }
    text
}
