//! Training on a tenant's own history: by command, and by itself once there is something to learn from.

use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use predict::incident::IncidentBook;
use predict::registry::{Entry, ModelId, Registry};
use predict::train::INCIDENTS_MIN;
use predict::{Horizon, Progress, TrainInput, Trained, train};
use store::{Store, TimeRange};

use crate::clock::now_ms;
use crate::scoring::HORIZON;

/// A model this old is trained again.
const RETRAIN_MS: i64 = 24 * 3_600_000;
/// Most history that a training looks at.
const HISTORY_MS: i64 = 60 * 24 * 3_600_000;

/// What to train on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How far ahead scores look.
    pub(crate) horizon: Horizon,
    /// False alarms per host and day.
    pub(crate) budget: f64,
    /// Up to when outcomes are known.
    pub(crate) until_ms: i64,
    /// Drives every random choice.
    pub(crate) seed: u64,
}

/// Trains on what the store holds up to `plan.until_ms`, without keeping the result.
pub(crate) fn train_on(store: &Store, plan: Plan, progress: &mut dyn FnMut(Progress)) -> Result<Trained> {
    let incidents = IncidentBook::open(store.state())?.list(i64::MIN, plan.until_ms)?;
    // A champion that cannot be read defends nothing; a new one is what it takes.
    let champion = Registry::open(store.state())?.usable_champion(plan.horizon)?;
    let incumbent = champion.map(|(_, model)| model.family());
    let snapshot = store.snapshot();
    let oldest = snapshot
        .time_range()
        .map_or(plan.until_ms, |range| range.start.millis());
    // Of what is rolled up one sample a bucket is left: every signal would look as if it had gaps.
    let until_ms = snapshot.coarseness().until_ms();
    let oldest = until_ms.map_or(oldest, |until_ms| oldest.max(until_ms + 1));
    let range = TimeRange::millis(oldest.max(plan.until_ms - HISTORY_MS), plan.until_ms);
    let input = TrainInput {
        horizon: plan.horizon,
        budget: plan.budget,
        seed: plan.seed,
        incumbent,
        ..TrainInput::new(&snapshot, &incidents, range)
    };
    Ok(train(&input, progress)?)
}

/// Keeps a trained model and its challenger; puts the model in charge unless it has lost what the champion has. Old models go.
pub(crate) fn keep(store: &Store, trained: &Trained, now_ms: i64) -> Result<ModelId> {
    let registry = Registry::open(store.state())?;
    if let Some((challenger, _)) = &trained.challenger {
        registry.save(challenger, now_ms)?;
    }
    let id = registry.save(&trained.model, now_ms)?;
    let champion = registry.usable_champion(trained.model.horizon)?;
    let loses = champion.is_some_and(|(_, champion)| champion.evaluation.warns() && !trained.evaluation.warns());
    if loses {
        tracing::warn!(
            model = trained.model.name,
            "kept as a challenger: its warnings do not beat chance, the champion's did"
        );
    } else {
        registry.promote(id, now_ms)?;
    }
    let deleted = registry.prune(trained.model.horizon)?;
    if deleted > 0 {
        tracing::info!(deleted, "models that nobody goes back to any more were deleted");
    }
    Ok(id)
}

/// Training beside the rounds of a tenant, on a thread of its own, one at a time.
#[derive(Debug, Default)]
pub(crate) struct Training {
    running: Option<JoinHandle<()>>,
}

impl Training {
    /// Trains when the newest model is a day old, or when none can be used and enough incidents are known.
    pub(crate) fn start_if_due(&mut self, store: &Arc<Store>, budget: f64, now_ms: i64) -> Result<()> {
        if self.running.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Ok(());
        }
        let registry = Registry::open(store.state())?;
        let newest = newest_saved_ms(&registry.list()?, HORIZON).filter(|_| {
            registry
                .usable_champion(HORIZON)
                .is_ok_and(|champion| champion.is_some())
        });
        let incidents = IncidentBook::open(store.state())?
            .list(now_ms - HISTORY_MS, now_ms)?
            .len();
        if incidents < INCIDENTS_MIN || newest.is_some_and(|saved| now_ms - saved < RETRAIN_MS) {
            return Ok(());
        }
        let store = Arc::clone(store);
        let plan = Plan {
            horizon: HORIZON,
            budget,
            until_ms: now_ms,
            seed: 1,
        };
        let thread = std::thread::Builder::new()
            .name("foreshock-train".to_owned())
            .spawn(move || {
                if let Err(error) = train_and_keep(&store, plan) {
                    tracing::warn!(
                        tenant = store.tenant(),
                        error = format!("{error:#}"),
                        "no model was trained"
                    );
                }
            });
        self.running = Some(thread.context("cannot start the training thread")?);
        Ok(())
    }
}

/// When the newest model of a horizon was saved; one of another horizon says nothing about its age.
fn newest_saved_ms(models: &[Entry], horizon: Horizon) -> Option<i64> {
    let of_horizon = models.iter().filter(|entry| entry.horizon == horizon);
    of_horizon.map(|entry| entry.saved_ms).max()
}

fn train_and_keep(store: &Store, plan: Plan) -> Result<()> {
    let trained = train_on(store, plan, &mut |_| ())?;
    tracing::info!(
        tenant = store.tenant(),
        model = trained.model.name,
        "trained: {}",
        trained.evaluation
    );
    keep(store, &trained, now_ms()).map(drop)
}

#[cfg(test)]
mod tests;
