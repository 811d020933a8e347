//! Rules and alerts as Prometheus lists them.

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::{Data, envelope};
use crate::app::App;
use crate::board::{ActiveAlert, AlertState, RuleGroup, RuleStatus};
use crate::number;
use crate::params::{Params, Scope};
use crate::problem::Problem;

/// `GET /api/v1/rules`
pub(crate) async fn rules(State(app): State<App>, request: Request) -> Response {
    envelope(listed(&app, request, rules_json).await)
}

/// `GET /api/v1/alerts`
pub(crate) async fn alerts(State(app): State<App>, request: Request) -> Response {
    envelope(
        listed(&app, request, |groups, _| {
            let alerts = groups
                .iter()
                .flat_map(|group| &group.rules)
                .flat_map(|rule| &rule.alerts);
            let alerts: Vec<Value> = alerts.filter(|alert| is_active(alert)).map(alert_json).collect();
            Ok(json!({ "alerts": alerts }))
        })
        .await,
    )
}

async fn listed(
    app: &App,
    request: Request,
    json: impl Fn(&[RuleGroup], &Params) -> Result<Value, Problem>,
) -> Result<Data, Problem> {
    let scope = Scope::read(app, request).await?;
    let book = app.board().rules(&scope.tenant);
    json(&book.groups, &scope.params).map(Data::from)
}

fn rules_json(groups: &[RuleGroup], params: &Params) -> Result<Value, Problem> {
    let kind = params.get("type");
    if let Some(other) = kind.filter(|kind| !matches!(*kind, "alert" | "record")) {
        return Err(Problem::invalid(format!("not supported value {other:?}")));
    }
    let without_alerts = matches!(params.get("exclude_alerts"), Some("true" | "1"));
    let named =
        |list: &str, name: &str| params.all(list).next().is_none() || params.all(list).any(|wanted| wanted == name);
    let groups: Vec<Value> = groups
        .iter()
        .filter(|group| named("rule_group[]", &group.name) && named("file[]", &group.file))
        .filter_map(|group| {
            let rules: Vec<Value> = group
                .rules
                .iter()
                .filter(|rule| named("rule_name[]", &rule.name))
                .filter(|rule| kind.is_none_or(|kind| (kind == "alert") == rule.hold_seconds.is_some()))
                .map(|rule| rule_json(rule, group, without_alerts))
                .collect();
            // A group of which the filters leave nothing is left out, as in Prometheus.
            (!rules.is_empty() || group.rules.is_empty()).then(|| {
                json!({
                    "name": group.name,
                    "file": group.file,
                    "rules": rules,
                    "interval": number(group.interval_seconds),
                    "limit": 0,
                    "evaluationTime": group.evaluation_seconds,
                    "lastEvaluation": evaluated(group.last_evaluation_ms),
                })
            })
        })
        .collect();
    Ok(json!({ "groups": groups }))
}

fn rule_json(rule: &RuleStatus, group: &RuleGroup, without_alerts: bool) -> Value {
    let health = match (&rule.error, group.last_evaluation_ms) {
        (Some(_), _) => "err",
        (None, Some(_)) => "ok",
        (None, None) => "unknown",
    };
    let mut json = json!({
        "name": rule.name,
        "query": rule.query,
        "labels": rule.labels,
        "health": health,
        "evaluationTime": group.evaluation_seconds,
        "lastEvaluation": evaluated(group.last_evaluation_ms),
        "type": if rule.hold_seconds.is_some() { "alerting" } else { "recording" },
    });
    let Some(members) = json.as_object_mut() else {
        return json;
    };
    if let Some(error) = &rule.error {
        members.insert("lastError".to_owned(), error.as_str().into());
    }
    if let Some(hold) = rule.hold_seconds {
        let active: Vec<&ActiveAlert> = rule.alerts.iter().filter(|alert| is_active(alert)).collect();
        // The most urgent of its alerts gives the rule its state, as in Prometheus.
        let state = active
            .iter()
            .map(|alert| alert.state)
            .min()
            .unwrap_or(AlertState::Resolved);
        let alerts: Vec<Value> = if without_alerts {
            Vec::new()
        } else {
            active.into_iter().map(alert_json).collect()
        };
        members.extend(Map::from_iter([
            ("state".to_owned(), state.as_str().into()),
            ("duration".to_owned(), number(hold)),
            ("keepFiringFor".to_owned(), number(rule.keep_firing_seconds)),
            ("annotations".to_owned(), json!(rule.annotations)),
            ("alerts".to_owned(), alerts.into()),
        ]));
    }
    json
}

fn alert_json(alert: &ActiveAlert) -> Value {
    let labels: Map<String, Value> = alert
        .labels
        .iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    json!({
        "labels": labels,
        "annotations": alert.annotations,
        "state": alert.state.as_str(),
        "activeAt": number::rfc3339(alert.active_at_ms),
        // Go's 'e' with every digit: what Prometheus writes here and nowhere else.
        "value": exponent(alert.value),
    })
}

fn is_active(alert: &ActiveAlert) -> bool {
    alert.state != AlertState::Resolved
}

/// Without a fraction where there is none, as Go writes a float.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        (value as i64).into()
    } else {
        value.into()
    }
}

fn evaluated(at_ms: Option<i64>) -> String {
    // Go's zero time stands for "never".
    at_ms.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), number::rfc3339)
}

fn exponent(value: f64) -> String {
    let mut out = Vec::new();
    if value.is_finite() {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent
            .strip_prefix('-')
            .map_or(('+', exponent), |digits| ('-', digits));
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    number::plain(&mut out, value);
    String::from_utf8_lossy(&out).into_owned()
}
