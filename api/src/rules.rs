//! Rules that are edited over the API, as Mimir's ruler has it, and replayed over history.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use serde_yaml_ng::Value as Yaml;

use crate::app::App;
use crate::number::rfc3339;
use crate::params::{Scope, Text, Told, json_time};
use crate::problem::{Kind, Problem};
use crate::rule::{Episode, Group, Replay, ReplayError, ReplayReport, Shelf, ShelfError, Shelved, load, replay};
use crate::work::{Length, blocking};

/// `GET /config/v1/rules`
pub(crate) async fn list(scope: Scope) -> Result<Response, Problem> {
    shown(scope, |_| true).await
}

/// `GET /config/v1/rules/{namespace}`
pub(crate) async fn namespace(Path(namespace): Path<String>, scope: Scope) -> Result<Response, Problem> {
    shown(scope, move |group| group.namespace == namespace).await
}

/// `GET /config/v1/rules/{namespace}/{group}`
pub(crate) async fn group(Path((namespace, name)): Path<(String, String)>, scope: Scope) -> Result<Response, Problem> {
    let groups = shelved(scope).await?;
    let found = groups
        .into_iter()
        .find(|group| group.namespace == namespace && group.name == name);
    let found = found.ok_or(ShelfError::Missing { namespace, name })?;
    Ok(yaml(found.body))
}

async fn shown(scope: Scope, is_wanted: impl Fn(&Shelved) -> bool + Send) -> Result<Response, Problem> {
    let mut namespaces: BTreeMap<String, Vec<Yaml>> = BTreeMap::new();
    for group in shelved(scope).await?.into_iter().filter(|group| is_wanted(group)) {
        let body = serde_yaml_ng::from_str(&group.body).map_err(|error| Problem::internal(error.to_string()))?;
        namespaces.entry(group.namespace).or_default().push(body);
    }
    if namespaces.is_empty() {
        return Err(Problem::not_found("no rule groups found")
            .hint("POST /config/v1/rules/{namespace} puts one there; those of files are at GET /api/v1/rules"));
    }
    let text = serde_yaml_ng::to_string(&namespaces).map_err(|error| Problem::internal(error.to_string()))?;
    Ok(yaml(text))
}

async fn shelved(scope: Scope) -> Result<Vec<Shelved>, Problem> {
    blocking(move || Ok(Shelf::open(scope.store.state())?.list()?)).await
}

fn yaml(text: String) -> Response {
    ([(CONTENT_TYPE, "application/yaml")], text).into_response()
}

/// `POST /config/v1/rules/{namespace}`: makes a group, or replaces the one of its name.
pub(crate) async fn put(
    State(app): State<App>,
    Path(namespace): Path<String>,
    text: Text,
) -> Result<Response, Problem> {
    let now = app.now();
    let fixed = app.groups();
    blocking(move || {
        let group = Shelf::open(text.store.state())?.put(&namespace, &text.body, &fixed, now)?;
        let rules = group.rules.len();
        tracing::info!(
            tenant = text.tenant,
            namespace,
            group = group.name,
            rules,
            "rules were changed over the API"
        );
        Ok(())
    })
    .await?;
    Ok(accepted())
}

/// `DELETE /config/v1/rules/{namespace}/{group}`
pub(crate) async fn delete(Path((namespace, name)): Path<(String, String)>, scope: Scope) -> Result<Response, Problem> {
    removed(scope, namespace, Some(name)).await
}

/// `DELETE /config/v1/rules/{namespace}`
pub(crate) async fn delete_namespace(Path(namespace): Path<String>, scope: Scope) -> Result<Response, Problem> {
    removed(scope, namespace, None).await
}

async fn removed(scope: Scope, namespace: String, name: Option<String>) -> Result<Response, Problem> {
    blocking(move || {
        let groups = Shelf::open(scope.store.state())?.remove(&namespace, name.as_deref())?;
        tracing::info!(
            tenant = scope.tenant,
            namespace,
            group = name,
            groups,
            "rules were deleted over the API"
        );
        Ok(())
    })
    .await?;
    Ok(accepted())
}

/// What Mimir answers.
fn accepted() -> Response {
    let body = json!({ "status": "success", "data": null, "errorType": "", "error": "" });
    (StatusCode::ACCEPTED, axum::Json(body)).into_response()
}

/// How long after its time a replay may still take to stop.
const GRACE: Duration = Duration::from_secs(10);

/// What is to be replayed. Times are RFC 3339, seconds since 1970, or `"now"`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayRequest {
    from: Value,
    to: Option<Value>,
    /// A rule file; without it the rules that are evaluated now.
    rules: Option<String>,
    /// Only groups of this name.
    group: Option<String>,
    /// Only rules of this name; what they read of others' records is then what is stored.
    rule: Option<String>,
}

/// `POST /api/v1/rules/replay`
pub(crate) async fn replayed(State(app): State<App>, told: Told<ReplayRequest>) -> Result<Response, Problem> {
    let Told { store, body, .. } = told;
    let now = app.now();
    let from_ms = json_time("from", &body.from, now)?;
    let to_ms = body.to.as_ref().map_or(Ok(now), |to| json_time("to", to, now))?;
    let engine = app.engine();
    let fixed = app.groups();
    let url = app.notifier().settings().external_url.clone();
    let timeout = app.limits().query_timeout;
    // It stops by itself, and says how far it came; only where it cannot is it cut off.
    let report = app.slots().run(Length::Any, timeout + GRACE, move |deadline| {
        let mut groups: Vec<Group> = match &body.rules {
            Some(text) => load(text, "rules").map_err(ShelfError::from)?,
            None => fixed
                .iter()
                .cloned()
                .chain(Shelf::open(store.state())?.groups()?)
                .collect(),
        };
        groups.retain(|group| body.group.as_ref().is_none_or(|name| *name == group.name));
        for group in &mut groups {
            group
                .rules
                .retain(|rule| body.rule.as_ref().is_none_or(|name| *name == rule.name));
        }
        if groups.iter().all(|group| group.rules.is_empty()) {
            return Err(Problem::not_found("there is no such rule").hint("GET /api/v1/rules lists them"));
        }
        let asked = Replay {
            groups: &groups,
            from_ms,
            to_ms,
            time_max: timeout,
            deadline: deadline.clone(),
        };
        Ok(replay(&asked, &engine, &store.snapshot(), &url)?)
    });
    Ok(axum::Json(report_json(&report.await?)).into_response())
}

/// What a replay found, as JSON.
#[must_use]
pub fn report_json(report: &ReplayReport) -> Value {
    let rules = report.rules.iter().map(|rule| {
        json!({
            "group": rule.group,
            "name": rule.name,
            "type": if rule.is_alert { "alerting" } else { "recording" },
            "fired": rule.fired,
            "passed": rule.passed,
            "firingSeconds": rule.firing_ms as f64 / 1000.0,
            "seriesMost": rule.series_most,
            "failedEvaluations": rule.failed,
            "error": rule.error,
            "episodes": rule.episodes.iter().map(episode_json).collect::<Vec<_>>(),
        })
    });
    json!({
        "from": rfc3339(report.from_ms),
        "to": rfc3339(report.to_ms),
        "stopped": report.stopped,
        "evaluations": report.evaluations,
        "rules": rules.collect::<Vec<_>>(),
    })
}

fn episode_json(episode: &Episode) -> Value {
    json!({
        "labels": episode.labels,
        "annotations": episode.annotations,
        "value": episode.value,
        "activeAt": rfc3339(episode.since_ms),
        "firedAt": rfc3339(episode.fired_ms),
        "resolvedAt": episode.resolved_ms.map(rfc3339),
    })
}

impl From<ShelfError> for Problem {
    fn from(error: ShelfError) -> Self {
        let kind = match &error {
            ShelfError::Rules(_) | ShelfError::Form { .. } | ShelfError::TooMany { .. } => Kind::Invalid,
            ShelfError::Taken { .. } | ShelfError::ReadOnly { .. } => Kind::Conflict,
            ShelfError::Missing { .. } => Kind::NotFound,
            ShelfError::State(state) => state.kind().into(),
        };
        Self::from_error(kind, &error).maybe_hint(error.hint())
    }
}

impl From<ReplayError> for Problem {
    fn from(error: ReplayError) -> Self {
        Self::from_error(Kind::Invalid, &error).maybe_hint(error.hint())
    }
}
