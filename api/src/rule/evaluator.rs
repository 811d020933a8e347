//! Evaluates groups when they are due, keeps what is pending and firing, and writes the results back as series.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use store::promql::Engine;
use store::{Labels, LabelsBuf, METRIC_NAME, Matcher, State, StateError, Store, StoreError, TimeRange};

use super::alert::{ActiveAlert, Transition, TransitionKind, alert_series};
use super::evaluation::{External, Outcome, RuleHealth, RuleRun, evaluate, rule_ids};
use super::file::{Group, Rule, RuleKind};
use super::ledger::{self, Changes};
use super::made::reads_before;
use super::state::AlertState;
use super::telemetry::{count_evaluation, count_transitions, measure_group};
use crate::board::RuleBook;

/// A tick that could not keep or write what it found. A rule that cannot be evaluated is no such failure: see `RuleHealth`.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The state of alerts.
    #[error("the state of alerts cannot be kept")]
    State(#[from] StateError),
    /// The series.
    #[error("the results of rules cannot be written")]
    Store(#[from] StoreError),
}

impl RuleError {
    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::State(error) => error.hint(),
            Self::Store(_) => None,
        }
    }
}

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
    /// about are skipped.
    ///
    /// # Errors
    /// [`RuleError`] when the outcome cannot be kept. The evaluator is then as if that group had not been evaluated.
    pub fn tick(&mut self, engine: &Engine, store: &Store, now_ms: i64) -> Result<Vec<Transition>, RuleError> {
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
        Ok(ledger::transitions(store.state())?)
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

    fn end_orphans(&mut self, store: &Store, now_ms: i64) -> Result<(), RuleError> {
        if self.orphans.is_empty() {
            return Ok(());
        }
        let mut changes = Changes::default();
        let mut ended = Vec::new();
        for alert in &self.orphans {
            changes.dropped.push((alert.rule.clone(), alert.fingerprint.clone()));
            ended.extend(alert_series(alert).map(|(labels, _)| (labels, store::stale_nan())));
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
        write_series(store, now_ms, ended, &HashMap::new())
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
    ) -> Result<(), RuleError> {
        let started = Instant::now();
        self.resume(store, now_ms)?;
        let mut changes = Changes::default();
        let mut series = Vec::new();
        let mut outcomes = Vec::new();
        let at_ms = now_ms - self.group.query_offset_ms;
        let mut recorded = Recorded::default();
        let mut snapshot = store.snapshot();
        for ((rule, run), reads_before) in self.group.rules.iter().zip(&self.rules).zip(&self.reads_before) {
            if *reads_before || recorded.series.len() >= RECORDED_MAX {
                // An append waits for the disk: one for many rules rather than one for each.
                recorded.write(store, at_ms)?;
                snapshot = store.snapshot();
            }
            let outcome = evaluate((&self.group, rule, run), engine, &snapshot, now_ms, external);
            if let (RuleKind::Record, Ok(outcome)) = (&rule.kind, &outcome) {
                recorded.add(outcome);
            }
            outcomes.push(outcome);
        }
        recorded.write(store, at_ms)?;
        for ((rule, run), outcome) in self.group.rules.iter().zip(&self.rules).zip(&outcomes) {
            let (RuleKind::Alert { .. }, Ok(outcome)) = (&rule.kind, outcome) else {
                continue;
            };
            series.extend(outcome.series.iter().cloned());
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
        for (run, outcome) in self.rules.iter_mut().zip(outcomes) {
            match outcome {
                Ok(outcome) => run.accept(outcome, now_ms),
                Err(problem) => {
                    tracing::warn!(rule = run.id, problem, "rule cannot be evaluated");
                    run.health = RuleHealth::Failed(problem);
                }
            }
            count_evaluation(&run.health);
        }
        self.evaluated_ms = Some(now_ms);
        self.resumes = false;
        self.seconds = started.elapsed().as_secs_f64();
        measure_group(self.seconds);
        write_series(store, now_ms - self.group.query_offset_ms, series, &HashMap::new())
    }

    /// The first evaluation of a process: time in which there was none counts neither for `for` nor for `keep_firing_for`.
    fn resume(&mut self, store: &Store, now_ms: i64) -> Result<(), RuleError> {
        let Some(last) = self.evaluated_ms.filter(|_| self.resumes) else {
            return Ok(());
        };
        let pause = now_ms - last - self.group.interval_ms;
        if pause > self.group.interval_ms {
            for alert in self.rules.iter_mut().flat_map(|rule| rule.alerts.values_mut()) {
                alert.state = alert.state.after_pause(pause);
            }
        }
        // What was recorded before and is not recorded again has ended, though nobody was there to see it.
        let snapshot = store.snapshot();
        let before = TimeRange::millis(now_ms - RECORDED_KEPT_MS, now_ms);
        for (rule, run) in self.group.rules.iter().zip(&mut self.rules) {
            if matches!(rule.kind, RuleKind::Record) && run.records_alone {
                let recorded = snapshot.select(&[Matcher::eq(METRIC_NAME, rule.name.as_str())], before)?;
                run.written = recorded.into_iter().map(|id| snapshot.labels(id)).collect();
            }
        }
        self.resumes = false;
        Ok(())
    }
}

/// What recording rules of a group yielded and is not written yet.
#[derive(Default)]
struct Recorded {
    series: Vec<(Labels, f64)>,
    histograms: HashMap<Labels, Arc<store::Histogram>>,
}

impl Recorded {
    fn add(&mut self, outcome: &Outcome) {
        self.series.extend(outcome.series.iter().cloned());
        let histograms = outcome.histograms.iter();
        self.histograms
            .extend(histograms.map(|(labels, histogram)| (labels.clone(), Arc::clone(histogram))));
    }

    fn write(&mut self, store: &Store, at_ms: i64) -> Result<(), RuleError> {
        write_series(store, at_ms, std::mem::take(&mut self.series), &self.histograms)?;
        self.histograms.clear();
        Ok(())
    }
}

fn write_series(
    store: &Store,
    at_ms: i64,
    series: Vec<(Labels, f64)>,
    histograms: &HashMap<Labels, Arc<store::Histogram>>,
) -> Result<(), RuleError> {
    if series.is_empty() {
        return Ok(());
    }
    let mut batch = store.batch();
    let mut buffer = LabelsBuf::default();
    for (labels, value) in series {
        buffer.clear();
        for (name, text) in &labels {
            buffer.push(name, text);
        }
        let id = batch.series(&mut buffer)?;
        match histograms.get(&labels) {
            Some(histogram) => {
                if let Err(error) = batch.push_histogram(id, at_ms, store::Histogram::clone(histogram)) {
                    // Less than nothing in a bucket, as a difference of two histograms may have.
                    tracing::warn!(%labels, %error, "result of a rule cannot be stored");
                }
            }
            None => batch.push(id, at_ms, value),
        }
    }
    let appended = store.append(batch)?;
    for refused in &appended.refused {
        tracing::warn!(reason = ?refused.reason, count = refused.count, example = refused.example, "results of rules refused");
    }
    Ok(())
}
