//! Whose history a command learns from or judges.

use std::path::PathBuf;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use predict::{Horizon, Progress, Trained};
use store::{Store, StoreOptions, Tenants};

use crate::training::{self, Plan};

/// One tenant in a data directory that no server holds.
#[derive(Debug, clap::Args)]
pub(super) struct History {
    /// Data directory, while no server runs on it.
    #[arg(long, value_name = "DIR", default_value_os_t = crate::default_data())]
    data: PathBuf,
    /// Whose history.
    #[arg(long, default_value = "default")]
    pub(super) tenant: String,
    /// How far ahead scores look: 10m, 1h, 24h.
    #[arg(long, default_value = "1h")]
    pub(super) horizon: Horizon,
    /// Drives every random choice: the same seed on the same data gives the same model.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
}

impl History {
    /// Trains on all of it up to `until_ms`, and hands the result and the store to `then` before the store is closed.
    pub(super) fn train<T>(
        &self,
        budget: f64,
        until_ms: i64,
        bar: &ProgressBar,
        then: impl FnOnce(Trained, &Store) -> Result<T>,
    ) -> Result<T> {
        let options = StoreOptions {
            background: false,
            ..StoreOptions::default()
        };
        let tenants = Tenants::open(&self.data, options)
            .with_context(|| format!("cannot open data directory {}", self.data.display()))?;
        let store = tenants.get(&self.tenant).with_context(|| {
            format!(
                "there is no tenant {:?}; there are: {}",
                self.tenant,
                tenants.names().join(", ")
            )
        })?;
        let plan = Plan {
            horizon: self.horizon,
            budget,
            until_ms,
            seed: self.seed,
        };
        let trained = training::train_on(&store, plan, &mut |step| show(bar, step))?;
        bar.finish_and_clear();
        let done = then(trained, store.as_ref())?;
        drop(store);
        tenants.close()?;
        Ok(done)
    }
}

/// Brings a bar to where training stands.
pub(super) fn show(bar: &ProgressBar, step: Progress) {
    bar.set_message(step.stage);
    bar.set_length(step.total as u64);
    bar.set_position(step.done as u64);
}
