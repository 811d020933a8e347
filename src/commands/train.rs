//! `foreshock train`: a model from the history in a data directory.

use std::path::PathBuf;

use anyhow::{Context, Result};
use predict::Horizon;
use predict::train::Compared;
use store::{StoreOptions, Tenants};

use super::simulate::progress;
use crate::clock::{now_ms, utc};
use crate::training::{self, Plan};

/// Train a model on the history in a data directory, while no server runs on it. A running server trains by itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Data directory.
    #[arg(long, value_name = "DIR", default_value_os_t = crate::default_data())]
    data: PathBuf,
    /// Whose history.
    #[arg(long, default_value = "default")]
    tenant: String,
    /// How far ahead scores shall look: 10m, 1h, 24h.
    #[arg(long, default_value = "1h")]
    horizon: Horizon,
    /// False alarms that a host may raise a day.
    #[arg(long, default_value_t = 0.02)]
    budget: f64,
    /// Drives every random choice: the same seed on the same data gives the same model.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Show what the model would have done, but do not keep it.
    #[arg(long)]
    dry_run: bool,
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
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
    let now = now_ms();
    let plan = Plan {
        horizon: arguments.horizon,
        budget: arguments.budget,
        until_ms: now,
        seed: arguments.seed,
    };
    let bar = progress(0, "");
    let trained = training::train_on(&store, plan, &mut |step| {
        bar.set_message(step.stage);
        bar.set_length(step.total as u64);
        bar.set_position(step.done as u64);
    })?;
    bar.finish_and_clear();
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
        let id = training::keep(&store, &trained, now)?;
        println!("kept as model {}", id.0);
    }
    drop(store);
    tenants.close()?;
    Ok(())
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
