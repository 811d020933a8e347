//! Evaluates groups when they are due, keeps what is pending and firing, and writes the results back as series.

use std::collections::HashMap;
use std::time::Instant;

use store::promql::Engine;
use store::{METRIC_NAME, Matcher, State, StateError, Store, StoreError, TimeRange};

use super::alert::{ActiveAlert, Transition, TransitionKind, alert_series};
use super::evaluation::{External, Outcome, RuleHealth, RuleRun, evaluate, rule_ids};
use super::file::{Group, Rule, RuleKind};
use super::ledger::{self, Changes};
use super::made::reads_before;
use super::results::Results;
use super::state::AlertState;
use super::telemetry::{count_evaluation, count_transitions, measure_group};
use crate::board::RuleBook;

/// Evaluates rules over one tenant's store.
#[derive(Debug)]
pub struct Evaluator {
    groups: Vec<GroupRun>,
    /// Alerts of rules that are no more: they end at the next tick.
    orphans: Vec<ActiveAlert>,
    external_labels: Vec<(String, String)>,
    external_url: String,
}

#[derive(Debug)]
pub(super) struct GroupRun {
    pub(super) group: Group,
    /// The name, with the file where another file has a group of that name.
    key: String,
    pub(super) rules: Vec<RuleRun>,
    pub(super) evaluated_ms: Option<i64>,
    pub(super) seconds: f64,
    /// For each rule whether what was recorded before it has to be written first.
    reads_before: Vec<bool>,
    /// True until the first evaluation of this process.
    resumes: bool,
}

impl Evaluator {
    /// An evaluator that goes on where the last one in this state stopped.
    ///
    /// # Errors
    /// [`StateError`] when the state cannot be read.
    pub fn new(groups: Vec<Group>, state: &State) -> Result<Self, StateError> {
        ledger::open(state)?;
        let (alerts, evaluated) = ledger::read(state)?;
        let names: Vec<String> = groups.iter().map(|group| group.name.clone()).collect();
        let unique = |group: &Group| {
            let twins = names.iter().filter(|name| **name == group.name).count();
            if twins > 1 {
                format!("{}@{}", group.name, group.file)
            } else {
                group.name.clone()
            }
        };
        let mut runs: Vec<GroupRun> = groups
            .into_iter()
            .map(|group| {
                let key = unique(&group);
                let rules = rule_ids(&key, &group.rules).into_iter().map(RuleRun::new).collect();
                GroupRun {
                    evaluated_ms: evaluated.get(&key).copied(),
                    reads_before: reads_before(&group.rules),
                    group,
                    key,
                    rules,
                    seconds: 0.0,
                    resumes: true,
                }
            })
            .collect();
        mark_sole_writers(&mut runs);
        let mut orphans = Vec::new();
        for alert in alerts {
            match runs
                .iter_mut()
                .flat_map(|run| &mut run.rules)
                .find(|rule| rule.id == alert.rule)
            {
                Some(rule) => {
                    // Written before the restart: so that it is marked as ended when it is not written again.
                    rule.written.extend(alert_series(&alert).map(|(labels, _)| labels));
                    rule.alerts.insert(alert.fingerprint.clone(), alert);
                }
                None => orphans.push(alert),
            }
        }
        Ok(Self {
            groups: runs,
            orphans,
            external_labels: Vec::new(),
            external_url: String::new(),
        })
    }

    /// What templates know as `$externalLabels` and `$externalURL`.
    #[must_use]
    pub fn with_external(mut self, labels: Vec<(String, String)>, url: String) -> Self {
        self.external_labels = labels;
        self.external_url = url;
        self
    }

    /// Evaluates the groups that are due at `now_ms`, and answers every transition that was not acknowledged yet, also those
    /// from before a restart.
    ///
    /// Blocks on the store and on the state file. A group is due when its interval has passed; intervals that nobody asked
    /// about are skipped. A rule that cannot be evaluated, or whose series cannot be written, says so in its health and holds up
    /// nothing else.
    ///
    /// # Errors
    /// [`StateError`] when the outcome cannot be kept. The evaluator is then as if that group had not been evaluated.
    pub fn tick(&mut self, engine: &Engine, store: &Store, now_ms: i64) -> Result<Vec<Transition>, StateError> {
        self.end_orphans(store, now_ms)?;
        let Self {
            groups,
            external_labels,
            external_url,
            ..
        } = self;
        for run in groups {
            if run.is_due(now_ms) {
                let external = External {
                    labels: external_labels,
                    url: external_url,
                };
                run.evaluate(engine, store, now_ms, &external)?;
            }
        }
        ledger::transitions(store.state())
    }

    /// Forgets transitions that are in other hands now.
    ///
    /// # Errors
    /// [`StateError`] when that cannot be written: they are handed out again then.
    pub fn acknowledge(state: &State, transitions: &[Transition]) -> Result<(), StateError> {
        ledger::acknowledge(
            state,
            &transitions.iter().map(|transition| transition.id).collect::<Vec<_>>(),
        )
    }

    /// Alerts that are pending or firing, in order of their rules.
    pub fn alerts(&self) -> impl Iterator<Item = &ActiveAlert> {
        self.groups
            .iter()
            .flat_map(|run| &run.rules)
            .flat_map(|rule| rule.alerts.values())
    }

    /// All groups and rules with their alerts, for pages and answers.
    #[must_use]
    pub fn book(&self) -> RuleBook {
        RuleBook {
            groups: self.groups.iter().map(GroupRun::page).collect(),
        }
    }

    /// The rule with this id, and how far behind its group looks, milliseconds.
    pub(super) fn rule(&self, id: &str) -> Option<(&Rule, i64)> {
        self.groups.iter().find_map(|run| {
            let at = run.rules.iter().position(|rule| rule.id == id)?;
            Some((run.group.rules.get(at)?, run.group.query_offset_ms))
        })
    }

    fn end_orphans(&mut self, store: &Store, now_ms: i64) -> Result<(), StateError> {
        if self.orphans.is_empty() {
            return Ok(());
        }
        let mut changes = Changes::default();
        let mut ended = Outcome::default();
        for alert in &self.orphans {
            changes.dropped.push((alert.rule.clone(), alert.fingerprint.clone()));
            ended
                .series
                .extend(alert_series(alert).map(|(labels, _)| (labels, store::stale_nan())));
            if let AlertState::Firing { since_ms, fired_ms, .. } = alert.state {
                let state = AlertState::Resolved {
                    since_ms,
                    fired_ms,
                    resolved_ms: now_ms,
                };
                changes
                    .transitions
                    .push((TransitionKind::Resolved, ActiveAlert { state, ..alert.clone() }));
            }
        }
        ledger::write(store.state(), "", now_ms, &changes)?;
        self.orphans.clear();
        let mut results = Results::default();
        results.add(0, &ended);
        results.write(store, now_ms);
        if let Some(problem) = results.lost(0).problem() {
            tracing::warn!(problem, "alerts of rules that are no more end without a mark");
        }
        Ok(())
    }
}

fn mark_sole_writers(runs: &mut [GroupRun]) {
    let mut writers: HashMap<String, usize> = HashMap::new();
    for rule in runs
        .iter()
        .flat_map(|run| &run.group.rules)
        .filter(|rule| matches!(rule.kind, RuleKind::Record))
    {
        *writers.entry(rule.name.clone()).or_default() += 1;
    }
    for run in runs {
        for (rule, state) in run.group.rules.iter().zip(&mut run.rules) {
            state.records_alone = writers.get(&rule.name) == Some(&1);
        }
    }
}

/// Recorded series that are gathered before they are written.
const RECORDED_MAX: usize = 10_000;
/// How long a recorded sample is seen by selectors: the engine's lookback.
const RECORDED_KEPT_MS: i64 = 5 * 60_000;

impl GroupRun {
    /// Slots of the clock rather than time since the last evaluation, so that lateness does not add up.
    fn is_due(&self, now_ms: i64) -> bool {
        let interval = self.group.interval_ms;
        self.evaluated_ms
            .is_none_or(|last| now_ms.div_euclid(interval) != last.div_euclid(interval))
    }

    fn evaluate(
        &mut self,
        engine: &Engine,
        store: &Store,
        now_ms: i64,
        external: &External<'_>,
    ) -> Result<(), StateError> {
        let started = Instant::now();
        self.resume(store, now_ms);
        let mut changes = Changes::default();
        let mut outcomes = Vec::new();
        let at_ms = now_ms - self.group.query_offset_ms;
        let mut results = Results::default();
        let mut snapshot = store.snapshot();
        for ((rule, run), reads_before) in self.group.rules.iter().zip(&self.rules).zip(&self.reads_before) {
            if *reads_before || results.len() >= RECORDED_MAX {
                // An append waits for the disk: one for many rules rather than one for each.
                results.write(store, at_ms);
                snapshot = store.snapshot();
            }
            let outcome = evaluate((&self.group, rule, run), engine, &snapshot, now_ms, external);
            if let (RuleKind::Record, Ok(outcome)) = (&rule.kind, &outcome) {
                results.add(outcomes.len(), outcome);
            }
            outcomes.push(outcome);
        }
        results.write(store, at_ms);
        for (place, ((rule, run), outcome)) in self.group.rules.iter().zip(&self.rules).zip(&outcomes).enumerate() {
            let (RuleKind::Alert { .. }, Ok(outcome)) = (&rule.kind, outcome) else {
                continue;
            };
            results.add(place, outcome);
            changes.kept.extend(
                outcome
                    .alerts
                    .values()
                    .filter(|alert| run.alerts.get(&alert.fingerprint) != Some(alert))
                    .cloned(),
            );
            let gone = run
                .alerts
                .keys()
                .filter(|fingerprint| !outcome.alerts.contains_key(*fingerprint));
            changes
                .dropped
                .extend(gone.map(|fingerprint| (run.id.clone(), fingerprint.clone())));
            changes.transitions.extend(outcome.transitions.iter().cloned());
        }
        let has_alerts = outcomes
            .iter()
            .any(|outcome| outcome.as_ref().is_ok_and(|o| !o.alerts.is_empty()));
        if has_alerts || !changes.dropped.is_empty() || self.evaluated_ms.is_none() {
            ledger::write(store.state(), &self.key, now_ms, &changes)?;
        }
        count_transitions(&changes);
        // The state is durable: from here on the evaluation has happened.
        results.write(store, at_ms);
        for (place, (run, outcome)) in self.rules.iter_mut().zip(outcomes).enumerate() {
            match outcome {
                Ok(outcome) => run.accept(outcome, &results.lost(place), now_ms),
                Err(problem) => run.health = RuleHealth::Failed(problem),
            }
            if let RuleHealth::Failed(problem) = &run.health {
                tracing::warn!(rule = run.id, problem, "rule failed");
            }
            count_evaluation(&run.health);
        }
        self.evaluated_ms = Some(now_ms);
        self.resumes = false;
        self.seconds = started.elapsed().as_secs_f64();
        measure_group(self.seconds);
        Ok(())
    }

    /// The first evaluation of a process: time in which there was none counts neither for `for` nor for `keep_firing_for`.
    fn resume(&mut self, store: &Store, now_ms: i64) {
        let Some(last) = self.evaluated_ms.filter(|_| self.resumes) else {
            return;
        };
        self.resumes = false;
        let pause = now_ms - last - self.group.interval_ms;
        if pause > self.group.interval_ms {
            for alert in self.rules.iter_mut().flat_map(|rule| rule.alerts.values_mut()) {
                alert.state = alert.state.after_pause(pause);
            }
        }
        if let Err(error) = self.take_up(store, now_ms) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                group = self.key,
                error,
                "what was recorded before is not known, and ends without a mark"
            );
        }
    }

    /// What was recorded before and is not recorded again has ended, though nobody was there to see it.
    fn take_up(&mut self, store: &Store, now_ms: i64) -> Result<(), StoreError> {
        let snapshot = store.snapshot();
        let before = TimeRange::millis(now_ms - RECORDED_KEPT_MS, now_ms);
        for (rule, run) in self.group.rules.iter().zip(&mut self.rules) {
            if matches!(rule.kind, RuleKind::Record) && run.records_alone {
                let recorded = snapshot.select(&[Matcher::eq(METRIC_NAME, rule.name.as_str())], before)?;
                run.written = recorded.into_iter().map(|id| snapshot.labels(id)).collect();
            }
        }
        Ok(())
    }
}
