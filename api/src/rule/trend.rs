//! How the value that an alert is about came to be what it is: the hours before it began to fire, for the chart in messages.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use promql_parser::parser::{BinaryExpr, Expr};
use serde::{Deserialize, Serialize};
use store::promql::{Deadline, Engine, EngineOptions, Line, QueryOptions, Value};
use store::{METRIC_NAME, Store};

use super::alert::{Transition, TransitionKind};
use super::evaluator::Evaluator;
use super::file::Rule;

/// Values of one series at equal steps. It is kept as JSON with the alert that it belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// Time of the first value, milliseconds UTC.
    pub start_ms: i64,
    /// Between two values.
    pub step_ms: i64,
    /// In order of time, with four digits; `None` where there is none.
    pub values: Vec<Option<f64>>,
    /// What the value was compared with, where that was one number.
    pub threshold: Option<f64>,
    /// In UCUM; empty where it is not known.
    pub unit: String,
}

/// As far as a chart goes back.
const SPAN_MS: i64 = 6 * 3_600_000;
const STEPS: i64 = 48;
/// Fewer values tell nothing.
const VALUES_MIN: usize = 3;
/// Rules whose history is looked at in one tick: where more fire at once, people read none of the charts.
const RULES_MAX: usize = 8;
/// What one look may cost. The message is worth more than the chart in it.
const TIME_MAX: Duration = Duration::from_millis(500);
const SAMPLES_MAX: usize = 2_000_000;

impl Evaluator {
    /// The hours before those of `transitions` that began to fire, by fingerprint: of the value that the rule compares, where it
    /// compares one, else of its expression's. Blocks on the store, for half a second at most; what takes longer is left out.
    #[must_use]
    pub fn trends(&self, engine: &Engine, store: &Store, transitions: &[Transition]) -> HashMap<String, Trend> {
        let mut fired: BTreeMap<&str, Vec<&Transition>> = BTreeMap::new();
        for transition in transitions.iter().filter(|one| one.kind == TransitionKind::Fired) {
            fired.entry(&transition.alert.rule).or_default().push(transition);
        }
        let mut trends = HashMap::new();
        if fired.is_empty() {
            return trends;
        }
        let snapshot = store.snapshot();
        let engine = Engine::new(EngineOptions {
            max_samples: SAMPLES_MAX,
            ..engine.options().clone()
        });
        let options = QueryOptions {
            deadline: Deadline::at(Instant::now() + TIME_MAX),
            ..QueryOptions::default()
        };
        for (id, transitions) in fired.into_iter().take(RULES_MAX) {
            let Some((rule, offset_ms)) = self.rule(id) else {
                continue;
            };
            let Some(watched) = Watched::of(&rule.expr) else {
                continue;
            };
            // They began at the same tick; those from before a restart may be older.
            let Some(end_ms) = transitions.iter().map(|one| one.at_ms - offset_ms).max() else {
                continue;
            };
            match watched.lines(&engine, &snapshot, end_ms, &options) {
                Ok((lines, threshold)) => trends.extend(transitions.iter().filter_map(|transition| {
                    let line = lines.iter().find(|line| is_of(line, rule, transition))?;
                    let trend = watched.trend(line, end_ms, threshold)?;
                    Some((transition.alert.fingerprint.clone(), trend))
                })),
                Err(problem) => tracing::debug!(rule = id, problem, "no chart for its alerts"),
            }
        }
        trends
    }
}

/// What an expression is about.
struct Watched {
    expr: String,
    compared_with: Option<String>,
    unit: &'static str,
}

impl Watched {
    fn of(expr: &str) -> Option<Self> {
        let parsed = store::promql::parse(expr).ok()?;
        let (side, compared_with) = side(&parsed);
        Some(Self {
            expr: side.to_string(),
            compared_with: compared_with.map(ToString::to_string),
            unit: unit(side),
        })
    }

    /// Its series over time, and the number that they are compared with at the end.
    fn lines(
        &self,
        engine: &Engine,
        source: &store::Snapshot,
        end_ms: i64,
        options: &QueryOptions,
    ) -> Result<(Vec<Line>, Option<f64>), String> {
        let step_ms = SPAN_MS / STEPS;
        let text = |error: store::promql::QueryError| error.to_string();
        let answer = engine.range(source, &self.expr, end_ms - SPAN_MS, end_ms, step_ms, options);
        let Value::Matrix(lines) = answer.map_err(text)?.value else {
            return Ok((Vec::new(), None));
        };
        let Some(compared_with) = &self.compared_with else {
            return Ok((lines, None));
        };
        let threshold = match engine
            .instant(source, compared_with, end_ms, options)
            .map_err(text)?
            .value
        {
            Value::Scalar { v, .. } => Some(v),
            Value::Vector(points) => match points.as_slice() {
                [point] if point.histogram.is_none() => Some(point.v),
                _ => None,
            },
            Value::String { .. } | Value::Matrix(_) => None,
        };
        Ok((lines, threshold.filter(|threshold| threshold.is_finite())))
    }

    /// `None` where there is nothing to see.
    fn trend(&self, line: &Line, end_ms: i64, threshold: Option<f64>) -> Option<Trend> {
        let step_ms = SPAN_MS / STEPS;
        let start_ms = end_ms - SPAN_MS;
        let mut values = vec![None; usize::try_from(STEPS).ok()? + 1];
        for (at_ms, value) in line.points.iter().filter(|(_, value)| value.is_finite()) {
            let step = usize::try_from((at_ms - start_ms) / step_ms).ok()?;
            *values.get_mut(step)? = Some(four_digits(*value));
        }
        // A series that is younger than the chart begins with its first value.
        let first = values.iter().position(Option::is_some)?;
        let known = || values.iter().flatten();
        if known().count() < VALUES_MIN || known().all(|value| Some(value) == known().next()) {
            return None;
        }
        Some(Trend {
            start_ms: start_ms + step_ms * i64::try_from(first).ok()?,
            step_ms,
            values: values.split_off(first),
            threshold: threshold.map(four_digits),
            unit: self.unit.to_owned(),
        })
    }
}

/// The side of a comparison that holds what is compared, and the other one. Of several conditions the first counts.
fn side(expr: &Expr) -> (&Expr, Option<&Expr>) {
    match expr {
        Expr::Paren(paren) => side(&paren.expr),
        Expr::Binary(BinaryExpr { lhs, rhs, op, .. }) if op.is_comparison_operator() => match **lhs {
            Expr::NumberLiteral(_) => (rhs, Some(lhs)),
            _ => (lhs, Some(rhs)),
        },
        Expr::Binary(BinaryExpr { lhs, op, .. }) if op.is_set_operator() => side(lhs),
        other => (other, None),
    }
}

/// The unit of a selector, or of an extreme or mean of it over time, by the ending of its metric's name.
fn unit(expr: &Expr) -> &'static str {
    const SAME: [&str; 5] = [
        "avg_over_time",
        "max_over_time",
        "min_over_time",
        "last_over_time",
        "quantile_over_time",
    ];
    let selector = match expr {
        Expr::Paren(paren) => return unit(&paren.expr),
        Expr::VectorSelector(selector) => selector,
        Expr::Call(call) if SAME.contains(&call.func.name) => match call.args.args.last().map(|arg| &**arg) {
            Some(Expr::MatrixSelector(matrix)) => &matrix.vs,
            _ => return "",
        },
        _ => return "",
    };
    let name = selector.name.as_deref().unwrap_or_default();
    const ENDINGS: [(&str, &str); 6] = [
        ("_probability", "1"),
        ("_ratio", "1"),
        ("_bytes", "By"),
        ("_seconds", "s"),
        ("_celsius", "Cel"),
        ("_watts", "W"),
    ];
    ENDINGS
        .iter()
        .find(|(ending, _)| name.ends_with(ending))
        .map_or("", |(_, unit)| unit)
}

/// Whether an alert came from this series: it bears its labels, except where the rule sets its own.
fn is_of(line: &Line, rule: &Rule, transition: &Transition) -> bool {
    line.labels.iter().all(|(name, value)| {
        let is_own = || name == METRIC_NAME || name == "alertname" || rule.labels.iter().any(|(own, _)| own == name);
        transition.alert.labels.get(name).is_some_and(|known| known == value) || is_own()
    })
}

/// More are noise in a picture, and a burden in the state file.
fn four_digits(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests;
