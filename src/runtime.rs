//! What happens as time passes: scoring rounds, rules, alerts. A tenant at a time, at times that the caller names.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use api::Board;
use api::notify::{Courier, Notification, Notifier, Outbox};
use api::rule::{Evaluator, Group, Shelf};
use predict::incident::{IncidentBook, IncidentError, Incidents};
use predict::live::{ForecastOptions, Round, Scorer};
use predict::registry::{ModelId, Registry};
use store::promql::Engine;
use store::{Clock, Store, Tenants};
use tokio::sync::watch;

use crate::availability;
use crate::clock::now_ms;
use crate::own_metrics::OwnMetrics;
use crate::scoring::{self, HORIZON, Writer};
use crate::training::Training;

/// The tenant that own metrics go to.
const OWN_TENANT: &str = api::DEFAULT_TENANT;
/// Between two looks at what is due.
const TICK: Duration = Duration::from_secs(1);
/// Own metrics are kept so often.
const OWN_METRICS_MS: i64 = 10_000;
/// How long after the wall clock finds a tenant it is first scored, unless rounds follow each other faster: its agents have each
/// sent by then, and whoever waited for a start to end was served.
const FIRST_ROUND_MS: i64 = 10_000;

/// Challengers are scored once in so many rounds: theirs is no hurry, and trees are slow.
const ROUNDS_PER_SHADOW: u64 = 10;
/// How often the availability of hosts is written.
const AVAILABILITY_MS: i64 = 3_600_000;
/// Whether a training is due is looked at so often.
const TRAINING_CHECK_MS: i64 = 10 * 60_000;

/// How tenants are run.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Between two scoring rounds.
    pub(crate) round_ms: i64,
    /// False alarms per host and day that a threshold may cost.
    pub(crate) budget_per_host_day: f64,
    /// The rules of every tenant.
    pub(crate) groups: Arc<[Group]>,
    /// Limits that no series carries.
    pub(crate) forecast: ForecastOptions,
}

/// Every tenant's runtime; opened when the tenant is first seen.
#[derive(Debug)]
pub(crate) struct Runtimes {
    tenants: Arc<Tenants>,
    engine: Arc<Engine>,
    board: Arc<Board>,
    own: OwnMetrics,
    settings: Settings,
    notifier: Arc<Notifier>,
    running: Mutex<HashMap<String, Arc<Mutex<TenantRuntime>>>>,
    /// Tenants whose time somebody else tells.
    held: Mutex<HashSet<String>>,
}

impl Runtimes {
    pub(crate) fn new(
        tenants: Arc<Tenants>,
        engine: Arc<Engine>,
        board: Arc<Board>,
        own: OwnMetrics,
        settings: Settings,
        notifier: Arc<Notifier>,
    ) -> Self {
        Self {
            tenants,
            engine,
            board,
            own,
            settings,
            notifier,
            running: Mutex::default(),
            held: Mutex::default(),
        }
    }

    /// Ticks every tenant that is not held, by the wall clock, until `stopping` turns true.
    pub(crate) fn run(&self, stopping: &watch::Receiver<bool>) {
        let mut own_due = 0;
        while !*stopping.borrow() {
            let now = now_ms();
            for tenant in self.tenants.names() {
                if *stopping.borrow() {
                    return;
                }
                if lock(&self.held).contains(&tenant) {
                    continue;
                }
                let first_round_ms = now + self.settings.round_ms.min(FIRST_ROUND_MS);
                if let Err(error) = self.advance_alone(&tenant, now, first_round_ms) {
                    tracing::error!(
                        tenant,
                        error = format!("{error:#}"),
                        "a round failed; the next one tries again"
                    );
                }
            }
            self.forget_deleted();
            if is_due(own_due, now, OWN_METRICS_MS) {
                own_due = now + OWN_METRICS_MS;
                if let Err(error) = self.keep_own_metrics(now) {
                    tracing::warn!(error = format!("{error:#}"), "own metrics were not kept");
                }
            }
            std::thread::sleep(TICK);
        }
    }

    /// Delivers what is due, for every tenant that is not held, until `stopping` turns true.
    pub(crate) async fn deliver(self: Arc<Self>, stopping: watch::Receiver<bool>) {
        let free = || {
            let names = self.tenants.names().into_iter();
            let free = names.filter(|tenant| !lock(&self.held).contains(tenant));
            free.filter_map(|tenant| Some((tenant.clone(), self.tenants.get(&tenant)?)))
                .collect()
        };
        Courier::new(Arc::clone(&self.notifier), Clock::new(now_ms))
            .run(free, stopping)
            .await;
    }

    /// From now on the caller tells this tenant's time, by [`Self::tick`] and [`Self::deliver_due`].
    pub(crate) fn hold(&self, tenant: &str) {
        lock(&self.held).insert(tenant.to_owned());
    }

    /// The wall clock tells this tenant's time again.
    pub(crate) fn release(&self, tenant: &str) {
        lock(&self.held).remove(tenant);
    }

    /// Everything that is due for `tenant` at `now_ms`: a scoring round, rules, alerts into the outbox.
    pub(crate) fn tick(&self, tenant: &str, now_ms: i64) -> Result<()> {
        self.advance(tenant, now_ms, now_ms)
    }

    /// As [`Self::tick`]; a tenant that was not running yet is first scored at `first_round_ms`.
    fn advance(&self, tenant: &str, now_ms: i64, first_round_ms: i64) -> Result<()> {
        let Some(runtime) = self.runtime(tenant, first_round_ms)? else {
            return Ok(());
        };
        lock(&runtime).tick(self, now_ms)
    }

    /// As [`Self::advance`]; a panic ends the tenant's runtime, which begins anew at the next tick, and nothing else.
    fn advance_alone(&self, tenant: &str, now_ms: i64, first_round_ms: i64) -> Result<()> {
        let advanced = catch_unwind(AssertUnwindSafe(|| self.advance(tenant, now_ms, first_round_ms)));
        advanced.unwrap_or_else(|panic| {
            lock(&self.running).remove(tenant);
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
            bail!("panicked: {}", said.unwrap_or("without a word"))
        })
    }

    /// Sends what is due for `tenant` at `now_ms`.
    pub(crate) async fn deliver_due(&self, tenant: &str, now_ms: i64) -> Result<()> {
        let Some(store) = self.tenants.get(tenant) else {
            return Ok(());
        };
        let outbox = self.notifier.outbox(store.state())?.of_tenant(store.tenant());
        outbox
            .deliver_due(store.state(), now_ms, self.notifier.client())
            .await
            .with_context(|| format!("tenant {tenant}"))?;
        Ok(())
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Drops every runtime, so that the stores can close.
    pub(crate) fn close(&self) {
        lock(&self.running).clear();
    }

    fn runtime(&self, tenant: &str, first_round_ms: i64) -> Result<Option<Arc<Mutex<TenantRuntime>>>> {
        let Some(store) = self.tenants.get(tenant) else {
            return Ok(None);
        };
        let mut running = lock(&self.running);
        if let Some(runtime) = running.get(tenant) {
            // A tenant that was deleted and written to again is another one.
            if Arc::ptr_eq(&lock(runtime).store, &store) {
                return Ok(Some(Arc::clone(runtime)));
            }
        }
        let runtime = TenantRuntime::open(store, first_round_ms, self).with_context(|| format!("tenant {tenant}"))?;
        let runtime = Arc::new(Mutex::new(runtime));
        running.insert(tenant.to_owned(), Arc::clone(&runtime));
        Ok(Some(runtime))
    }

    fn forget_deleted(&self) {
        let mut running = lock(&self.running);
        let gone: Vec<String> = running
            .keys()
            .filter(|name| self.tenants.get(name).is_none())
            .cloned()
            .collect();
        for tenant in gone {
            running.remove(&tenant);
            self.board.forget(&tenant);
        }
    }

    fn keep_own_metrics(&self, now_ms: i64) -> Result<()> {
        let store = self.tenants.get_or_create(OWN_TENANT)?;
        let mut writer = Writer::new(&store, now_ms);
        for sample in self.own.samples() {
            let labels: Vec<(&str, &str)> = sample.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            writer.add(&sample.name, &labels, sample.value)?;
        }
        writer.finish()?;
        Ok(())
    }
}

/// One tenant as time passes.
#[derive(Debug)]
struct TenantRuntime {
    store: Arc<Store>,
    scorer: Scorer,
    champion: Option<ModelId>,
    challengers: Vec<ModelId>,
    shadows: Vec<(ModelId, Scorer)>,
    evaluator: Evaluator,
    /// That of the rules which are edited over the API.
    rules_version: i64,
    outbox: Outbox,
    rounds: u64,
    round_due_ms: i64,
    training_due_ms: i64,
    availability_due_ms: i64,
    training: Training,
    round: Option<Round>,
}

impl TenantRuntime {
    fn open(store: Arc<Store>, first_round_ms: i64, parts: &Runtimes) -> Result<Self> {
        let settings = &parts.settings;
        let rules_version = Shelf::open(store.state())?.version()?;
        let evaluator = evaluator(&store, parts)?;
        let outbox = parts.notifier.outbox(store.state())?;
        outbox.reroute(store.state(), now_ms())?;
        let mut scorer = Scorer::new(None, HORIZON);
        scorer.set_forecast_options(settings.forecast);
        Ok(Self {
            store,
            scorer,
            champion: None,
            challengers: Vec::new(),
            shadows: Vec::new(),
            evaluator,
            rules_version,
            outbox,
            rounds: 0,
            round_due_ms: first_round_ms,
            training_due_ms: i64::MIN,
            availability_due_ms: i64::MIN,
            training: Training::default(),
            round: None,
        })
    }

    /// Does what is due. What fails keeps nothing else from being done: where there are no scores, rules must still be looked at.
    fn tick(&mut self, parts: &Runtimes, now_ms: i64) -> Result<()> {
        let mut failed = Vec::new();
        if is_due(self.round_due_ms, now_ms, parts.settings.round_ms) {
            // On a grid rather than from now on, so that lateness does not add up.
            self.round_due_ms = (now_ms.div_euclid(parts.settings.round_ms) + 1) * parts.settings.round_ms;
            failed.extend(self.score(parts, now_ms).context("scoring").err());
        }
        if is_due(self.training_due_ms, now_ms, TRAINING_CHECK_MS) {
            self.training_due_ms = now_ms + TRAINING_CHECK_MS;
            let budget = parts.settings.budget_per_host_day;
            let started = self.training.start_if_due(&self.store, budget, now_ms);
            failed.extend(started.context("starting a training").err());
        }
        failed.extend(self.alert(parts, now_ms).context("rules").err());
        let mut failed = failed.into_iter();
        let first = failed.next();
        for error in failed {
            tracing::error!(
                tenant = self.store.tenant(),
                error = format!("{error:#}"),
                "failed as well"
            );
        }
        first.map_or(Ok(()), Err)
    }

    fn score(&mut self, parts: &Runtimes, now_ms: i64) -> Result<()> {
        let incidents = IncidentBook::open(self.store.state())?.all()?;
        let known = Incidents::new(&incidents);
        self.take_champion()?;
        let snapshot = self.store.snapshot();
        self.scorer.set_incidents(known.clone());
        let round = self.scorer.round(&snapshot, now_ms)?;
        let open: Vec<_> = incidents
            .iter()
            .filter(|i| i.start <= now_ms && i.end.is_none_or(|end| end > now_ms))
            .collect();
        scoring::write_round(&self.store, now_ms, &round, self.scorer.model(), &open)?;
        if self.rounds.is_multiple_of(ROUNDS_PER_SHADOW) {
            for (_, shadow) in &mut self.shadows {
                shadow.set_incidents(known.clone());
                let round = shadow.round(&snapshot, now_ms)?;
                scoring::write_shadow(&self.store, now_ms, &round)?;
            }
        }
        if is_due(self.availability_due_ms, now_ms, AVAILABILITY_MS) {
            self.availability_due_ms = (now_ms.div_euclid(AVAILABILITY_MS) + 1) * AVAILABILITY_MS;
            let mut hosts: Vec<&str> = round.scores.iter().map(|score| score.host.as_str()).collect();
            hosts.extend(incidents.iter().map(|incident| incident.host.as_str()));
            hosts.sort_unstable();
            hosts.dedup();
            availability::write(&self.store, now_ms, &hosts, &incidents)?;
        }
        availability::write_measured(&self.store, now_ms)?;
        self.rounds += 1;
        parts.board.publish_round(self.store.tenant(), round.clone());
        self.round = Some(round);
        Ok(())
    }

    /// Puts the registry's champion and challengers in charge, where they have changed.
    fn take_champion(&mut self) -> Result<()> {
        let registry = Registry::open(self.store.state())?;
        let (champion, challengers) = (registry.champion_id(HORIZON)?, registry.challenger_ids(HORIZON)?);
        if champion != self.champion {
            self.scorer
                .set_model(registry.usable_champion(HORIZON)?.map(|(_, model)| model));
            self.champion = champion;
            tracing::info!(
                tenant = self.store.tenant(),
                model = self.scorer.model().map(|m| m.name.as_str()),
                "champion"
            );
        }
        if challengers != self.challengers {
            let mut known = std::mem::take(&mut self.shadows);
            // Those that stay keep what they know of the hosts.
            for (id, model) in registry.challengers(HORIZON)? {
                let shadow = match known.iter().position(|(other, _)| *other == id) {
                    Some(at) => known.swap_remove(at),
                    None => (id, Scorer::new(Some(model), HORIZON)),
                };
                self.shadows.push(shadow);
            }
            self.challengers = challengers;
        }
        Ok(())
    }

    /// Evaluates the rules that are due; what began or ended goes into the outbox before the evaluator forgets it.
    fn alert(&mut self, parts: &Runtimes, now_ms: i64) -> Result<()> {
        let version = Shelf::opened(self.store.state()).version()?;
        if version != self.rules_version {
            // What is pending or firing is in the state file, and goes on as after a restart.
            self.evaluator = evaluator(&self.store, parts)?;
            self.rules_version = version;
        }
        let transitions = self.evaluator.tick(&parts.engine, &self.store, now_ms)?;
        if !transitions.is_empty() {
            let mut trends = self.evaluator.trends(&parts.engine, &self.store, &transitions);
            for transition in &transitions {
                let notification = Notification::of(transition, self.round.as_ref())
                    .with_trend(trends.remove(&transition.alert.fingerprint))
                    .with_link(&parts.notifier.settings().external_url, self.store.tenant());
                let rule = &transition.alert.rule;
                self.outbox.enqueue(self.store.state(), now_ms, rule, &notification)?;
                match api::outcome::note(self.store.state(), &notification) {
                    // Handed out again, and told twice to an outbox that does not mind.
                    Err(IncidentError::State(error)) => return Err(error.into()),
                    Err(error) => tracing::warn!(alert = notification.title(), %error, "an alert is no outcome"),
                    Ok(()) => {}
                }
            }
            Evaluator::acknowledge(self.store.state(), &transitions)?;
            parts.notifier.ring();
        }
        parts.board.publish_rules(self.store.tenant(), self.evaluator.book());
        Ok(())
    }
}

/// Whether what is done every so often is due. What lies further ahead than that was due by a clock that has been set back since.
fn is_due(due_ms: i64, now_ms: i64, every_ms: i64) -> bool {
    now_ms >= due_ms || due_ms - now_ms > every_ms
}

/// An evaluator of the rules of files and of those that are edited over the API.
fn evaluator(store: &Store, parts: &Runtimes) -> Result<Evaluator> {
    let mut groups = parts.settings.groups.to_vec();
    groups.extend(Shelf::opened(store.state()).groups()?);
    let external_url = parts.notifier.settings().external_url.clone();
    Ok(Evaluator::new(groups, store.state())?.with_external(Vec::new(), external_url))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
