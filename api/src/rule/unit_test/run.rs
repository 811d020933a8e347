//! One test: rules evaluated over its series, from time 0 to the last moment that it looks at.

use store::promql::{Engine, EngineOptions};

use super::compare;
use super::file::{TestFile, TestGroup};
use super::notation;
use crate::rule::evaluation::{External, RuleRun, evaluate, rule_ids};
use crate::rule::file::{Group, RuleKind};
use crate::rule::results::Lost;
use crate::rule::sheet::Sheet;
use crate::rule::state::AlertState;

/// Evaluations of all groups in one test, at most: more than a year of minutes.
const STEPS_MAX: i64 = 1_000_000;

/// A group as the test goes on.
struct Running<'a> {
    group: &'a Group,
    rules: Vec<RuleRun>,
}

/// Runs a test and answers what was not as expected.
///
/// # Errors
/// What is wrong with the test itself.
pub(super) fn run(file: &TestFile, test: &TestGroup, groups: &[Group]) -> Result<Vec<String>, String> {
    let step_ms = file.evaluation_interval_ms();
    let interval_ms = if test.interval.ms == 0 {
        step_ms
    } else {
        test.interval.ms
    };
    let mut sheet = Sheet::default();
    for input in &test.input_series {
        let place = |problem: String| format!("series {:?}: {problem}", input.series);
        let labels = notation::labels(&input.series).map_err(place)?;
        let values = notation::values(&input.values).map_err(place)?;
        let (samples, histograms) = notation::placed(values, interval_ms);
        sheet.put(labels, samples, histograms);
    }
    if let Some(nameless) = test.alert_rule_test.iter().find(|check| check.alertname.is_empty()) {
        return Err(format!(
            "an alert_rule_test at {} has no alertname",
            nameless.eval_time.text
        ));
    }
    let alert_times = test.alert_rule_test.iter().map(|check| check.eval_time.ms);
    let expr_times = test.promql_expr_test.iter().map(|check| check.eval_time.ms);
    let end_ms = alert_times.chain(expr_times).max().unwrap_or(0);
    if end_ms / step_ms > STEPS_MAX {
        return Err(format!(
            "from 0 to {end_ms} ms there are more than {STEPS_MAX} evaluations: choose a longer evaluation_interval"
        ));
    }
    let engine = Engine::new(EngineOptions {
        subquery_step_ms: step_ms,
        ..EngineOptions::default()
    });
    let external_labels: Vec<(String, String)> = test.external_labels.clone().into_iter().collect();
    let external = External {
        labels: &external_labels,
        url: &test.external_url,
    };
    let mut running: Vec<Running<'_>> = groups
        .iter()
        .map(|group| Running {
            group,
            rules: rule_ids(&group.name, &group.rules)
                .into_iter()
                .map(RuleRun::new)
                .collect(),
        })
        .collect();
    let mut failures = Vec::new();
    for at_ms in (0..=end_ms).step_by(usize::try_from(step_ms).map_err(|_| "evaluation_interval is too long")?) {
        sheet.see_until(at_ms);
        let problems = evaluate_all(&mut running, &engine, &mut sheet, at_ms, &external);
        if !problems.is_empty() {
            // What comes after would only follow from this.
            failures.extend(problems);
            return Ok(failures);
        }
        for check in &test.alert_rule_test {
            if (at_ms..at_ms + step_ms).contains(&check.eval_time.ms) {
                failures.extend(compare::alerts(check, firing(&running, &check.alertname)));
            }
        }
    }
    for check in &test.promql_expr_test {
        failures.extend(compare::samples(check, &engine, &sheet, file.fuzzy_compare));
    }
    Ok(failures)
}

/// Each rule in order, each seeing what those before it yielded; answers what cannot be evaluated.
fn evaluate_all(
    running: &mut [Running<'_>],
    engine: &Engine,
    sheet: &mut Sheet,
    at_ms: i64,
    external: &External<'_>,
) -> Vec<String> {
    let mut problems = Vec::new();
    for Running { group, rules } in running {
        for (rule, run) in group.rules.iter().zip(rules) {
            let mut step = || -> Result<(), String> {
                let outcome = evaluate((group, rule, run), engine, sheet, at_ms, external)?;
                for (labels, value) in &outcome.series {
                    let histogram = outcome.histograms.get(labels);
                    sheet.add(labels, at_ms - group.query_offset_ms, *value, histogram)?;
                }
                run.accept(outcome, &Lost::default(), at_ms);
                Ok(())
            };
            if let Err(problem) = step() {
                let seconds = at_ms as f64 / 1000.0;
                problems.push(format!(
                    "rule {} cannot be evaluated at {seconds} s: {problem}",
                    rule.name
                ));
            }
        }
    }
    problems
}

/// The alerts of this name that fire, of all groups.
fn firing(running: &[Running<'_>], name: &str) -> Vec<compare::Alert> {
    let rules = running
        .iter()
        .flat_map(|group| group.group.rules.iter().zip(&group.rules));
    rules
        .filter(|(rule, _)| rule.name == name && matches!(rule.kind, RuleKind::Alert { .. }))
        .flat_map(|(_, run)| run.alerts.values())
        .filter(|alert| matches!(alert.state, AlertState::Firing { .. }))
        .map(|alert| (alert.labels.clone(), alert.annotations.clone()))
        .collect()
}
