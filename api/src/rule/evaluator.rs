//! Evaluates groups when they are due, keeps what is pending and firing, and writes the results back as series.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};
use store::promql::{Engine, QueryOptions, Value};
use store::{Labels, LabelsBuf, METRIC_NAME, Matcher, State, StateError, Store, StoreError, TimeRange};

use super::file::{Group, Rule, RuleKind};
use super::ledger::{self, Changes};
use super::state::AlertState;
use super::template::{Facts, Template};
use crate::board::{self, RuleBook, RuleGroup, RuleStatus};

/// An alert that is pending or firing, or was until now.
#[derive(Debug, Clone, PartialEq)]
pub struct ActiveAlert {
    /// Which rule raised it: group and name.
    pub rule: String,
    /// Identity of its labels, 16 hexadecimal digits, computed as Alertmanager does.
    pub fingerprint: String,
    /// With `alertname`.
    pub labels: BTreeMap<String, String>,
    /// Texts for people.
    pub annotations: BTreeMap<String, String>,
    /// The expression's value when it was evaluated last.
    pub value: f64,
    /// Where it stands.
    pub state: AlertState,
}

/// An alert that began to fire or ended. Handed out until it is acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// For [`Evaluator::acknowledge`].
    pub id: i64,
    /// When it happened, milliseconds UTC.
    pub at_ms: i64,
    /// What happened.
    pub kind: TransitionKind,
    /// The alert, as it was then.
    pub alert: ActiveAlert,
}

/// Begin or end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransitionKind {
    /// The alert fires.
    Fired,
    /// It ended.
    Resolved,
}

impl TransitionKind {
    /// `firing` or `resolved`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fired => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// How the last evaluation of a rule went.
#[derive(Debug, Clone, PartialEq, Eq)]
enum RuleHealth {
    Unknown,
    Ok,
    /// Its alerts stay as they were.
    Failed(String),
}

impl RuleHealth {
    const fn name(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::Failed(_) => "err",
        }
    }
}

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
struct GroupRun {
    group: Group,
    /// The name, with the file where another file has a group of that name.
    key: String,
    rules: Vec<RuleRun>,
    evaluated_ms: Option<i64>,
    seconds: f64,
    /// True until the first evaluation of this process.
    resumes: bool,
}

#[derive(Debug)]
struct RuleRun {
    id: String,
    health: RuleHealth,
    /// By fingerprint.
    alerts: BTreeMap<String, ActiveAlert>,
    /// Those that ended within the last [`RESOLVED_KEPT_MS`], for people who look.
    ended: Vec<ActiveAlert>,
    /// True for a recording rule whose metric no other rule records, so that all its series are this rule's.
    records_alone: bool,
    /// Series of the last evaluation, which are marked as ended when they are not in the next one.
    written: HashSet<Labels>,
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
                run.evaluate(engine, store, now_ms, external_labels, external_url)?;
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

/// The group, the name, and a number where a name stands more than once: what an alert is known by over restarts, also when
/// its expression is changed.
fn rule_ids(group: &str, rules: &[Rule]) -> Vec<String> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    rules
        .iter()
        .map(|rule| {
            let count = seen.entry(&rule.name).or_default();
            *count += 1;
            if *count == 1 {
                format!("{group}/{}", rule.name)
            } else {
                format!("{group}/{}#{count}", rule.name)
            }
        })
        .collect()
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

/// How long a recorded sample is seen by selectors: the engine's lookback.
const RECORDED_KEPT_MS: i64 = 5 * 60_000;

/// As long as Prometheus shows resolved alerts.
const RESOLVED_KEPT_MS: i64 = 15 * 60_000;

impl RuleRun {
    /// Keeps what ended now and forgets what ended long ago or came back.
    fn note_ended(&mut self, transitions: &[(TransitionKind, ActiveAlert)], now_ms: i64) {
        let ended = transitions.iter().filter(|(kind, _)| *kind == TransitionKind::Resolved);
        self.ended.extend(ended.map(|(_, alert)| alert.clone()));
        let alerts = &self.alerts;
        self.ended.retain(|alert| {
            let recent = matches!(alert.state, AlertState::Resolved { resolved_ms, .. } if now_ms - resolved_ms < RESOLVED_KEPT_MS);
            recent && !alerts.contains_key(&alert.fingerprint)
        });
    }

    fn new(id: String) -> Self {
        Self {
            id,
            health: RuleHealth::Unknown,
            alerts: BTreeMap::new(),
            ended: Vec::new(),
            records_alone: false,
            written: HashSet::new(),
        }
    }
}

impl GroupRun {
    fn page(&self) -> RuleGroup {
        RuleGroup {
            name: self.group.name.clone(),
            file: self.group.file.clone(),
            interval_seconds: self.group.interval_ms as f64 / 1000.0,
            last_evaluation_ms: self.evaluated_ms,
            evaluation_seconds: self.seconds,
            rules: self
                .group
                .rules
                .iter()
                .zip(&self.rules)
                .map(|(rule, run)| rule_page(rule, run))
                .collect(),
        }
    }

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
        external_labels: &[(String, String)],
        external_url: &str,
    ) -> Result<(), RuleError> {
        let started = Instant::now();
        self.resume(store, now_ms)?;
        let mut changes = Changes::default();
        let mut series = Vec::new();
        let mut outcomes = Vec::new();
        for (rule, run) in self.group.rules.iter().zip(&self.rules) {
            let facts = External {
                labels: external_labels,
                url: external_url,
            };
            let outcome = evaluated(&self.group, rule, run, engine, store, now_ms, &facts);
            if let (RuleKind::Record, Ok(outcome)) = (&rule.kind, &outcome) {
                // The next rule may read what this one records.
                let at_ms = now_ms - self.group.query_offset_ms;
                write_series(store, at_ms, outcome.series.clone(), &outcome.histograms)?;
            }
            outcomes.push(outcome);
        }
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
            run.health = match outcome {
                Ok(outcome) => {
                    run.alerts = outcome.alerts;
                    run.note_ended(&outcome.transitions, now_ms);
                    run.written = outcome
                        .series
                        .into_iter()
                        .filter(|(_, v)| !store::is_stale(*v))
                        .map(|(l, _)| l)
                        .collect();
                    RuleHealth::Ok
                }
                Err(problem) => {
                    tracing::warn!(rule = run.id, problem, "rule cannot be evaluated");
                    RuleHealth::Failed(problem)
                }
            };
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

fn rule_page(rule: &Rule, run: &RuleRun) -> RuleStatus {
    let texts = |texts: &[(String, Template)]| {
        texts
            .iter()
            .map(|(name, text)| (name.clone(), text.source().to_owned()))
            .collect::<BTreeMap<_, _>>()
    };
    let (hold, annotations) = match &rule.kind {
        RuleKind::Alert { hold, annotations } => (Some(*hold), texts(annotations)),
        RuleKind::Record => (None, BTreeMap::new()),
    };
    RuleStatus {
        name: rule.name.clone(),
        query: rule.expr.clone(),
        hold_seconds: hold.map(|hold| hold.for_ms as f64 / 1000.0),
        keep_firing_seconds: hold.map_or(0.0, |hold| hold.keep_firing_ms as f64 / 1000.0),
        labels: texts(&rule.labels),
        annotations,
        error: match &run.health {
            RuleHealth::Failed(problem) => Some(problem.clone()),
            RuleHealth::Unknown | RuleHealth::Ok => None,
        },
        alerts: run.alerts.values().chain(&run.ended).map(alert_page).collect(),
    }
}

fn alert_page(alert: &ActiveAlert) -> board::ActiveAlert {
    let (state, active_at_ms, fired_at_ms, resolved_at_ms) = match alert.state {
        AlertState::Quiet => (board::AlertState::Resolved, 0, None, None),
        AlertState::Pending { since_ms } => (board::AlertState::Pending, since_ms, None, None),
        AlertState::Firing { since_ms, fired_ms, .. } => (board::AlertState::Firing, since_ms, Some(fired_ms), None),
        AlertState::Resolved {
            since_ms,
            fired_ms,
            resolved_ms,
        } => (board::AlertState::Resolved, since_ms, Some(fired_ms), Some(resolved_ms)),
    };
    board::ActiveAlert {
        labels: Labels::from_pairs(alert.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
        annotations: alert.annotations.clone(),
        state,
        active_at_ms,
        fired_at_ms,
        resolved_at_ms,
        value: alert.value,
    }
}

struct External<'a> {
    labels: &'a [(String, String)],
    url: &'a str,
}

/// What one rule yields.
#[derive(Debug)]
struct Outcome {
    alerts: BTreeMap<String, ActiveAlert>,
    transitions: Vec<(TransitionKind, ActiveAlert)>,
    /// With staleness markers for those that ended.
    series: Vec<(Labels, f64)>,
    /// Of those series that are native histograms.
    histograms: HashMap<Labels, Arc<store::Histogram>>,
}

fn evaluated(
    group: &Group,
    rule: &Rule,
    run: &RuleRun,
    engine: &Engine,
    store: &Store,
    now_ms: i64,
    external: &External<'_>,
) -> Result<Outcome, String> {
    let at_ms = now_ms - group.query_offset_ms;
    let answer = engine
        .instant(&store.snapshot(), &rule.expr, at_ms, &QueryOptions::default())
        .map_err(|error| error.to_string())?;
    let mut histograms = HashMap::new();
    let vector: Vec<(Labels, f64)> = match answer.value {
        Value::Vector(points) => {
            let taken = points.into_iter().map(|point| match point.histogram {
                // As in Prometheus, an alert over a histogram has the value 0.
                Some(histogram) => {
                    histograms.insert(point.labels.clone(), histogram);
                    (point.labels, 0.0)
                }
                None => (point.labels, point.v),
            });
            taken.collect()
        }
        Value::Scalar { v, .. } => vec![(Labels::empty(), v)],
        Value::String { .. } | Value::Matrix(_) => {
            return Err("the expression yields neither a vector nor a scalar".to_owned());
        }
    };
    if group.limit > 0 && vector.len() > group.limit {
        return Err(format!(
            "{} series, but the group's limit is {}",
            vector.len(),
            group.limit
        ));
    }
    match &rule.kind {
        RuleKind::Record => recorded(rule, run, &vector, &histograms),
        RuleKind::Alert { hold, annotations } => {
            let mut holding: BTreeMap<String, ActiveAlert> = BTreeMap::new();
            for (labels, value) in &vector {
                let alert = raised(rule, run, labels, *value, annotations, external);
                if holding.insert(alert.fingerprint.clone(), alert).is_some() {
                    return Err("two series have the same labels once the alert's are added".to_owned());
                }
            }
            let mut outcome = Outcome {
                alerts: BTreeMap::new(),
                transitions: Vec::new(),
                series: Vec::new(),
                histograms: HashMap::new(),
            };
            let known: Vec<&String> = run
                .alerts
                .keys()
                .filter(|fingerprint| !holding.contains_key(*fingerprint))
                .collect();
            let gone: Vec<(ActiveAlert, bool)> = known
                .into_iter()
                .map(|fingerprint| (run.alerts[fingerprint].clone(), false))
                .collect();
            for (mut alert, holds) in holding.into_values().map(|alert| (alert, true)).chain(gone) {
                let before = run
                    .alerts
                    .get(&alert.fingerprint)
                    .map_or(AlertState::Quiet, |known| known.state);
                alert.state = hold.step(before, holds, now_ms);
                match (before, alert.state) {
                    (AlertState::Firing { .. }, AlertState::Firing { .. }) => {}
                    (_, AlertState::Firing { .. }) => outcome.transitions.push((TransitionKind::Fired, alert.clone())),
                    (_, AlertState::Resolved { .. }) => {
                        outcome.transitions.push((TransitionKind::Resolved, alert.clone()))
                    }
                    _ => {}
                }
                if alert.state.is_active() {
                    outcome.series.extend(alert_series(&alert));
                    outcome.alerts.insert(alert.fingerprint.clone(), alert);
                }
            }
            mark_ended(&mut outcome.series, &run.written);
            Ok(outcome)
        }
    }
}

fn recorded(
    rule: &Rule,
    run: &RuleRun,
    vector: &[(Labels, f64)],
    found: &HashMap<Labels, Arc<store::Histogram>>,
) -> Result<Outcome, String> {
    let mut seen = HashSet::new();
    let mut histograms = HashMap::new();
    let mut series = Vec::with_capacity(vector.len());
    for (labels, value) in vector {
        let added = rule.labels.iter().map(|(name, text)| (name.as_str(), text.source()));
        let named = Labels::from_pairs(labels.iter().chain(added).chain([(METRIC_NAME, rule.name.as_str())]));
        if !seen.insert(named.clone()) {
            return Err("two series have the same labels once the rule's are added".to_owned());
        }
        if let Some(histogram) = found.get(labels) {
            histograms.insert(named.clone(), Arc::clone(histogram));
        }
        series.push((named, *value));
    }
    mark_ended(&mut series, &run.written);
    Ok(Outcome {
        alerts: BTreeMap::new(),
        transitions: Vec::new(),
        series,
        histograms,
    })
}

fn mark_ended(series: &mut Vec<(Labels, f64)>, before: &HashSet<Labels>) {
    let now: HashSet<&Labels> = series.iter().map(|(labels, _)| labels).collect();
    let ended: Vec<Labels> = before.iter().filter(|labels| !now.contains(labels)).cloned().collect();
    series.extend(ended.into_iter().map(|labels| (labels, store::stale_nan())));
}

/// The alert that a series of the result raises, with its texts. Its state is still to be decided.
fn raised(
    rule: &Rule,
    run: &RuleRun,
    series: &Labels,
    value: f64,
    annotations: &[(String, Template)],
    external: &External<'_>,
) -> ActiveAlert {
    let facts = Facts {
        labels: series.iter().collect(),
        value,
        external_labels: external
            .labels
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect(),
        external_url: external.url,
    };
    let mut labels: BTreeMap<String, String> = series
        .iter()
        .filter(|(name, _)| *name != METRIC_NAME)
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    labels.extend(
        rule.labels
            .iter()
            .map(|(name, text)| (name.clone(), text.render(&facts))),
    );
    labels.insert("alertname".to_owned(), rule.name.clone());
    labels.retain(|_, value| !value.is_empty());
    ActiveAlert {
        rule: run.id.clone(),
        fingerprint: fingerprint(&labels),
        labels,
        annotations: annotations
            .iter()
            .map(|(name, text)| (name.clone(), text.render(&facts)))
            .collect(),
        value,
        state: AlertState::Quiet,
    }
}

/// Alertmanager's identity of a label set: FNV-1a over names and values in order, each followed by a byte of no text.
#[must_use]
pub(crate) fn fingerprint(labels: &BTreeMap<String, String>) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    const SEPARATOR: [u8; 1] = [255];
    let parts = labels
        .iter()
        .flat_map(|(name, value)| [name.as_bytes(), &SEPARATOR, value.as_bytes(), &SEPARATOR]);
    let hash = parts
        .flatten()
        .fold(OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME));
    format!("{hash:016x}")
}

/// Prometheus' own series about an alert: `ALERTS`, and since when as `ALERTS_FOR_STATE`.
fn alert_series(alert: &ActiveAlert) -> impl Iterator<Item = (Labels, f64)> + use<> {
    let pairs = || alert.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let since = alert.state.since_ms().unwrap_or(0) as f64 / 1000.0;
    let named = Labels::from_pairs(pairs().chain([(METRIC_NAME, "ALERTS"), ("alertstate", alert.state.name())]));
    let timed = Labels::from_pairs(pairs().chain([(METRIC_NAME, "ALERTS_FOR_STATE")]));
    [(named, 1.0), (timed, since.floor())].into_iter()
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

struct Instruments {
    evaluations: Counter<u64>,
    transitions: Counter<u64>,
    seconds: Histogram<f64>,
}

fn instruments() -> &'static Instruments {
    static INSTRUMENTS: OnceLock<Instruments> = OnceLock::new();
    INSTRUMENTS.get_or_init(|| {
        let meter = opentelemetry::global::meter("foreshock_api");
        Instruments {
            evaluations: meter
                .u64_counter("foreshock_api_rule_evaluations")
                .with_description("Evaluations of rules, by how they went")
                .build(),
            transitions: meter
                .u64_counter("foreshock_api_alert_transitions")
                .with_description("Alerts that began to fire or ended")
                .build(),
            seconds: meter
                .f64_histogram("foreshock_api_rule_group_seconds")
                .with_description("Time that the evaluation of a group of rules took")
                .build(),
        }
    })
}

fn count_evaluation(health: &RuleHealth) {
    instruments()
        .evaluations
        .add(1, &[KeyValue::new("outcome", health.name())]);
}

fn count_transitions(changes: &Changes) {
    for (kind, _) in &changes.transitions {
        instruments().transitions.add(1, &[KeyValue::new("to", kind.name())]);
    }
}

fn measure_group(seconds: f64) {
    instruments().seconds.record(seconds, &[]);
}
