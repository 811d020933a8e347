//! One evaluation of one rule: a function of what is stored and of what the rule knew before.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use store::promql::{Engine, QueryOptions, Source, Value};
use store::{Labels, METRIC_NAME};

use super::alert::{ActiveAlert, TransitionKind, alert_series, fingerprint};
use super::file::{Group, Rule, RuleKind};
use super::results::Lost;
use super::state::AlertState;
use super::template::{Facts, Template};

/// What a rule knows from one evaluation to the next.
#[derive(Debug)]
pub(super) struct RuleRun {
    /// Group and name, see [`rule_ids`].
    pub(super) id: String,
    pub(super) health: RuleHealth,
    /// By fingerprint.
    pub(super) alerts: BTreeMap<String, ActiveAlert>,
    /// Those that ended within the last [`RESOLVED_KEPT_MS`], for people who look.
    pub(super) ended: Vec<ActiveAlert>,
    /// True for a recording rule whose metric no other rule records, so that all its series are this rule's.
    pub(super) records_alone: bool,
    /// Series that were written and not marked as ended: they are when an evaluation does not yield them.
    pub(super) written: HashSet<Labels>,
}

/// The group, the name, and a number where a name stands more than once: what an alert is known by over restarts, also when
/// its expression is changed.
pub(super) fn rule_ids(group: &str, rules: &[Rule]) -> Vec<String> {
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

/// As long as Prometheus shows resolved alerts.
const RESOLVED_KEPT_MS: i64 = 15 * 60_000;

/// How the last evaluation of a rule went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RuleHealth {
    Unknown,
    Ok,
    /// It could not be evaluated, so that its alerts stay as they were, or series of it could not be written.
    Failed(String),
}

impl RuleHealth {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::Failed(_) => "err",
        }
    }
}

impl RuleRun {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            health: RuleHealth::Unknown,
            alerts: BTreeMap::new(),
            ended: Vec::new(),
            records_alone: false,
            written: HashSet::new(),
        }
    }

    /// Takes over what an evaluation at `now_ms` yielded, `lost` of which was not written.
    pub(super) fn accept(&mut self, outcome: Outcome, lost: &Lost, now_ms: i64) {
        self.alerts = outcome.alerts;
        self.note_ended(&outcome.transitions, now_ms);
        let before = std::mem::take(&mut self.written);
        let open = outcome.series.into_iter().filter(|(labels, value)| {
            if lost.series.contains(labels) {
                // As open as it was: what is there of it still has to be ended, sooner or later.
                before.contains(labels)
            } else {
                !store::is_stale(*value)
            }
        });
        self.written = open.map(|(labels, _)| labels).collect();
        self.health = lost.problem().map_or(RuleHealth::Ok, RuleHealth::Failed);
    }

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
}

/// What templates know as `$externalLabels` and `$externalURL`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct External<'a> {
    pub(super) labels: &'a [(String, String)],
    pub(super) url: &'a str,
}

/// What one rule yields.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// By fingerprint: those that are pending or firing now.
    pub(super) alerts: BTreeMap<String, ActiveAlert>,
    pub(super) transitions: Vec<(TransitionKind, ActiveAlert)>,
    /// With staleness markers for those that ended.
    pub(super) series: Vec<(Labels, f64)>,
    /// Of those series that are native histograms.
    pub(super) histograms: HashMap<Labels, Arc<store::Histogram>>,
}

/// What `rule` yields at `now_ms`, given what it knew before; why, where it cannot be evaluated.
pub(super) fn evaluate(
    (group, rule, run): (&Group, &Rule, &RuleRun),
    engine: &Engine,
    source: &dyn Source,
    now_ms: i64,
    external: &External<'_>,
) -> Result<Outcome, String> {
    let (vector, histograms) = value_at(group, rule, engine, source, now_ms, &QueryOptions::default())?;
    follow((group, rule, run), &vector, &histograms, now_ms, external)
}

/// The value of a rule's expression when it is evaluated at `now_ms`.
pub(super) fn value_at(
    group: &Group,
    rule: &Rule,
    engine: &Engine,
    source: &dyn Source,
    now_ms: i64,
    options: &QueryOptions,
) -> Result<Vectors, String> {
    let at_ms = now_ms - group.query_offset_ms;
    let answer = engine.instant(source, &rule.expr, at_ms, options);
    vector_of(answer.map_err(|error| error.to_string())?.value)
}

/// The series of a value, and those of them that are histograms.
pub(super) type Vectors = (Vec<(Labels, f64)>, HashMap<Labels, Arc<store::Histogram>>);

pub(super) fn vector_of(value: Value) -> Result<Vectors, String> {
    let mut histograms = HashMap::new();
    let vector = match value {
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
    Ok((vector, histograms))
}

/// What follows for `rule` from the value that its expression has at `now_ms`.
pub(super) fn follow(
    (group, rule, run): (&Group, &Rule, &RuleRun),
    vector: &[(Labels, f64)],
    histograms: &HashMap<Labels, Arc<store::Histogram>>,
    now_ms: i64,
    external: &External<'_>,
) -> Result<Outcome, String> {
    if group.limit > 0 && vector.len() > group.limit {
        return Err(format!(
            "{} series, but the group's limit is {}",
            vector.len(),
            group.limit
        ));
    }
    match &rule.kind {
        RuleKind::Record => recorded(rule, run, vector, histograms),
        RuleKind::Alert { hold, annotations } => {
            let mut holding: BTreeMap<String, ActiveAlert> = BTreeMap::new();
            for (labels, value) in vector {
                let alert = raised(rule, run, labels, *value, annotations, external);
                if holding.insert(alert.fingerprint.clone(), alert).is_some() {
                    return Err("two series have the same labels once the alert's are added".to_owned());
                }
            }
            let mut outcome = Outcome::default();
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
        series,
        histograms,
        ..Outcome::default()
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
