//! Objectives: which share of events has to be good, over which time. An objective becomes ordinary rules: the share of bad events
//! over several spans, what is left of the error budget, and alerts on how fast it burns.
//!
//! The alerts are those of Google's SRE workbook (chapter "Alerting on SLOs", multiwindow, multi-burn-rate): one fires where a
//! part of the budget was burnt within a long span, and a short span says that it still burns.

use std::fmt::Write;

use serde_json::{Value, json};
use store::promql::parse_selector;
use store::{Labels, METRIC_NAME, MatchOp, host_of};

use super::duration;
use super::file::{Group, LoadError, load};

/// A target for a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    /// What it is called: the label `objective` of its series and alerts.
    pub name: String,
    /// The share of events that has to be good: above 0, below 1.
    pub target: f64,
    /// The time over which it is counted, such as `30d`: 1 to 90 days.
    pub window: String,
    /// What is counted.
    pub indicator: Indicator,
    /// Labels by which it is told apart: an objective for each of their values.
    pub by: Vec<String>,
    /// Whether a budget that burns at the fastest rates is an incident of the host that `by` tells apart, which prediction
    /// learns to see coming.
    pub outcome: bool,
}

/// What makes an event bad. Texts are selectors such as `http_requests_total{code=~"5.."}`.
#[derive(Debug, Clone, PartialEq)]
pub enum Indicator {
    /// A counter of bad events, and one of all.
    Errors {
        /// Bad ones.
        errors: String,
        /// All.
        total: String,
    },
    /// A classic histogram of durations, by its name without `_bucket`: longer than a bound of it is bad.
    Latency {
        /// The histogram.
        histogram: String,
        /// The bound in seconds.
        under_seconds: f64,
    },
    /// A gauge that is 1 while all is well and 0 while it is not.
    Up {
        /// The gauge.
        up: String,
    },
}

/// An objective that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ObjectiveError {
    /// A part of it is wrong.
    #[error("objective {name:?}: {problem}")]
    Wrong {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// Its rules cannot be read, which what was checked before should have kept from happening.
    #[error("the rules of objective {name:?} cannot be used")]
    Rules {
        /// Its name.
        name: String,
        /// Why.
        source: Box<LoadError>,
    },
}

const DAY_MS: i64 = 86_400_000;

/// An alert on the speed at which the budget burns.
struct Burn {
    /// The part of the budget that is burnt within `long` before it fires.
    share: f64,
    long: &'static str,
    short: &'static str,
    severity: &'static str,
}

/// The workbook's recommended parameters.
const BURNS: [Burn; 4] = [
    Burn {
        share: 0.02,
        long: "1h",
        short: "5m",
        severity: "critical",
    },
    Burn {
        share: 0.05,
        long: "6h",
        short: "30m",
        severity: "critical",
    },
    Burn {
        share: 0.1,
        long: "1d",
        short: "2h",
        severity: "warning",
    },
    Burn {
        share: 0.1,
        long: "3d",
        short: "6h",
        severity: "warning",
    },
];

/// A share of bad events above this needs no objective to be told; no threshold is higher, or it could not be reached.
const RATIO_MOST: f64 = 0.9;

impl Objective {
    /// Its rules, in two groups: what is looked at each minute, and what changes slowly.
    ///
    /// # Errors
    /// [`ObjectiveError`], with what is wrong.
    pub fn groups(&self) -> Result<Vec<Group>, ObjectiveError> {
        let text = self.rule_file()?;
        load(&text, &format!("objective {}", self.name)).map_err(|source| ObjectiveError::Rules {
            name: self.name.clone(),
            source: Box::new(source),
        })
    }

    /// Its rules as a rule file, to look at, test and replay.
    ///
    /// # Errors
    /// [`ObjectiveError::Wrong`], with what is wrong.
    pub fn rule_file(&self) -> Result<String, ObjectiveError> {
        let wrong = |problem: String| ObjectiveError::Wrong {
            name: self.name.clone(),
            problem,
        };
        let window_ms = self.check().map_err(wrong)?;
        let ratio = |span: &str| self.ratio(span).map_err(wrong);
        let mut spans: Vec<&str> = Vec::new();
        let mut alerts = Vec::new();
        for burn in &BURNS {
            let long_ms = duration::parse(burn.long).expect("the spans are constants");
            let rate = burn.share * window_ms as f64 / long_ms as f64;
            // Slower than this the budget is not used up within the window.
            if rate < 1.0 || long_ms >= window_ms {
                continue;
            }
            let more = [burn.long, burn.short].into_iter().filter(|span| !spans.contains(span));
            let more: Vec<&str> = more.collect();
            spans.extend(more);
            alerts.push(self.alert(burn, rate));
        }
        let record = |span: &str| -> Result<Value, ObjectiveError> {
            Ok(json!({
                "record": "foreshock_objective_error_ratio",
                "expr": ratio(span)?,
                "labels": { "objective": self.name, "span": span },
            }))
        };
        let mut rules = spans.iter().map(|span| record(span)).collect::<Result<Vec<_>, _>>()?;
        rules.extend(alerts);
        let budget = self.budget();
        let whole = self.series(&self.window);
        let slow = [
            json!({
                "record": "foreshock_objective_target_ratio",
                "expr": format!("vector({})", self.target),
                "labels": { "objective": self.name },
            }),
            record(&self.window)?,
            json!({
                "record": "foreshock_objective_budget_remaining_ratio",
                "expr": format!("1 - {whole} / {budget:e}"),
                "labels": { "objective": self.name, "span": "" },
            }),
            json!({
                "alert": "ErrorBudgetSpent",
                "expr": format!("{whole} > {budget:e}"),
                "labels": { "severity": "warning", "span": "" },
                "annotations": {
                    "summary": format!("{}: the error budget of {} is spent", self.name, self.window),
                    "description": format!(
                        "{{{{ $value | humanizePercentage }}}} of the events of the last {} were bad; {} may be.",
                        self.window,
                        percent(budget),
                    ),
                    "action": "Hold back changes that can wait, and work on what fails most.",
                    "runbook": "Compare foreshock_objective_error_ratio over its spans: is it one outage, or a steady loss?",
                },
            }),
        ];
        let groups = json!({ "groups": [
            { "name": format!("objective-{}", self.name), "interval": "1m", "rules": rules },
            { "name": format!("objective-{}-budget", self.name), "interval": "5m", "rules": slow },
        ] });
        serde_yaml_ng::to_string(&groups).map_err(|error| wrong(error.to_string()))
    }

    /// The share of events that may be bad, without what subtraction leaves at the far end.
    fn budget(&self) -> f64 {
        ((1.0 - self.target) * 1e12).round() / 1e12
    }

    /// The window in milliseconds, where all else is as it should be.
    fn check(&self) -> Result<i64, String> {
        let is_odd = |c: char| c.is_control() || c == '{' || c == '}';
        if self.name.is_empty() || self.name.len() > 100 || self.name.chars().any(is_odd) {
            return Err("its name has 1 to 100 bytes, without control characters and braces".to_owned());
        }
        if !(self.target > 0.0 && self.target < 1.0) {
            return Err(format!(
                "target {} is no share between 0 and 1, such as 0.999",
                self.target
            ));
        }
        let days = duration::parse(&self.window).filter(|ms| (DAY_MS..=90 * DAY_MS).contains(ms));
        let own = ["objective", "span", "severity", "alertname", METRIC_NAME];
        if let Some(label) = self
            .by
            .iter()
            .find(|label| own.contains(&label.as_str()) || !is_label(label))
        {
            return Err(format!("by: {label:?} is no label that it can be told apart by"));
        }
        let hosts = Labels::from_pairs(self.by.iter().map(|label| (label.as_str(), "a")));
        if self.outcome && host_of(&hosts).is_none() {
            return Err("outcome: `by` has to hold a label that names a host, such as host or instance".to_owned());
        }
        days.ok_or_else(|| format!("window {:?} is not one of 1 to 90 days, such as 30d", self.window))
    }

    /// The share of bad events in the last `span`; nothing where there were no events.
    fn ratio(&self, span: &str) -> Result<String, String> {
        let by = if self.by.is_empty() {
            String::new()
        } else {
            format!("by ({}) ", self.by.join(", "))
        };
        let rate = |selector: &str| format!("sum {by}(rate({selector}[{span}]))");
        match &self.indicator {
            Indicator::Errors { errors, total } => {
                let (errors, total) = (selector(errors)?.text("", None), selector(total)?.text("", None));
                let (errors, total) = (rate(&errors), rate(&total));
                // A counter of errors that nobody has counted up yet is not there: no errors.
                Ok(format!("({errors} or 0 * {total}) / ({total} > 0)"))
            }
            Indicator::Latency {
                histogram,
                under_seconds,
            } => {
                if !(under_seconds.is_finite() && *under_seconds > 0.0) {
                    return Err(format!("under_seconds {under_seconds} is no duration above 0"));
                }
                let histogram = selector(histogram)?;
                let good = rate(&histogram.text("_bucket", Some(*under_seconds)));
                let total = rate(&histogram.text("_count", None));
                Ok(format!("1 - {good} / ({total} > 0)"))
            }
            Indicator::Up { up } => {
                let up = selector(up)?.text("", None);
                Ok(format!("1 - avg {by}(avg_over_time({up}[{span}]))"))
            }
        }
    }

    /// The recorded share over `span`.
    fn series(&self, span: &str) -> String {
        let name = Value::from(self.name.as_str());
        format!("foreshock_objective_error_ratio{{objective={name}, span=\"{span}\"}}")
    }

    fn alert(&self, burn: &Burn, rate: f64) -> Value {
        let threshold = (rate * self.budget()).min(RATIO_MOST);
        let (long, short) = (self.series(burn.long), self.series(burn.short));
        let mut labels = json!({ "severity": burn.severity });
        if self.outcome && burn.severity == "critical" {
            labels[crate::outcome::LABEL] = "objective".into();
        }
        json!({
            "alert": "ErrorBudgetBurns",
            "expr": format!("{long} > {threshold:e} and ignoring (span) {short} > {threshold:e}"),
            "labels": labels,
            "annotations": {
                "summary": format!("{}: {{{{ $value | humanizePercentage }}}} of events fail, the error budget burns", self.name),
                "description": format!(
                    "Over the last {} so many events were bad that {} of the budget of {} ({} of all events) is used up in that time, \
                     and in the last {} it went on.",
                    burn.long, percent(burn.share), self.window, percent(self.budget()), burn.short,
                ),
                "action": "Find what changed when it began; roll it back, or take load off.",
                "runbook": "Compare foreshock_objective_error_ratio over its spans with deployments and the hosts' scores.",
            },
        })
    }
}

fn percent(share: f64) -> String {
    // As many digits as a target has.
    format!("{}%", (share * 1e8).round() / 1e6)
}

fn is_label(name: &str) -> bool {
    let mut chars = name.bytes();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == b'_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

/// A metric and conditions on its labels.
struct Selector {
    metric: String,
    conditions: Vec<String>,
}

fn selector(text: &str) -> Result<Selector, String> {
    let matchers = parse_selector(text).map_err(|error| format!("{text:?} is no selector: {error}"))?;
    let mut found = Selector {
        metric: String::new(),
        conditions: Vec::new(),
    };
    for matcher in matchers {
        if matcher.name == METRIC_NAME && matcher.op == MatchOp::Eq {
            found.metric = matcher.value;
            continue;
        }
        let op = match matcher.op {
            MatchOp::Eq => "=",
            MatchOp::Ne => "!=",
            MatchOp::Re => "=~",
            MatchOp::Nre => "!~",
        };
        found
            .conditions
            .push(format!("{}{op}{}", matcher.name, Value::from(matcher.value)));
    }
    if found.metric.is_empty() {
        return Err(format!("{text:?} names no metric"));
    }
    Ok(found)
}

impl Selector {
    /// With `suffix` on the metric's name and, for a bucket, its bound.
    fn text(&self, suffix: &str, bound: Option<f64>) -> String {
        let mut text = format!("{}{suffix}", self.metric);
        let mut conditions = self.conditions.clone();
        // OpenMetrics writes 1.0 where Prometheus' text format writes 1.
        conditions.extend(bound.map(|bound| {
            if bound.fract() == 0.0 {
                format!("le=~\"{bound}(\\\\.0)?\"")
            } else {
                format!("le=\"{bound}\"")
            }
        }));
        if !conditions.is_empty() {
            // Writing to a text cannot fail.
            write!(text, "{{{}}}", conditions.join(", ")).ok();
        }
        text
    }
}

#[cfg(test)]
mod tests;
