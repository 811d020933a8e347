//! Models: which one alerts, which ones score in its shadow, and what each would have been worth.

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use predict::Horizon;
use predict::evaluate::Evaluation;
use predict::registry::{Entry, ModelId, Registry, RegistryError, Role};
use serde_json::{Value, json};
use store::Store;

use crate::app::App;
use crate::number::rfc3339;
use crate::params::{Scope, parameter};
use crate::problem::{Kind, Problem};
use crate::work::blocking;

/// A model with what it did on history that it had not seen; `Err` says why it cannot be read.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) entry: Entry,
    pub(crate) model: Result<Facts, String>,
}

/// What is shown of a model.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) hosts: usize,
    pub(crate) features: usize,
    pub(crate) code: String,
    pub(crate) threshold: f64,
    pub(crate) evaluation: Evaluation,
}

/// The models of a tenant: the champions first, then the newest.
pub(crate) fn models(store: &Store, limit: usize) -> Result<Vec<Judged>, Problem> {
    let registry = Registry::open(store.state())?;
    let mut entries = registry.list()?;
    entries.sort_by_key(|entry| entry.role != Role::Champion);
    entries.truncate(limit);
    let judged = entries.into_iter().map(|entry| {
        let model = registry.load(entry.id).map(|model| Facts {
            hosts: model.hosts.len(),
            features: model.features.len(),
            code: model.code,
            threshold: model.threshold,
            evaluation: model.evaluation,
        });
        Judged {
            entry,
            model: model.map_err(|error| Problem::from(error).detail().to_owned()),
        }
    });
    Ok(judged.collect())
}

/// What a role is called.
pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Champion => "champion",
        Role::Challenger => "challenger",
        Role::Retired => "retired",
    }
}

/// `GET /api/v1/models?limit=`
pub(crate) async fn list(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let Scope { store, params, .. } = Scope::read(&app, request).await?;
    let limit = params.limit("limit")?.unwrap_or(20).min(200);
    let found = blocking(move || models(&store, limit)).await?;
    Ok(axum::Json(json!({ "models": found.iter().map(judged_json).collect::<Vec<_>>() })).into_response())
}

/// `POST /api/v1/models/{id}/promote`
pub(crate) async fn promote(
    State(app): State<App>,
    Path(id): Path<i64>,
    request: Request,
) -> Result<Response, Problem> {
    let store = Scope::read(&app, request).await?.store;
    let now = app.now();
    blocking(move || Ok(Registry::open(store.state())?.promote(ModelId(id), now)?)).await?;
    Ok(axum::Json(json!({ "champion": id })).into_response())
}

/// `POST /api/v1/models/rollback?horizon=1h`
pub(crate) async fn rollback(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let Scope { store, params, .. } = Scope::read(&app, request).await?;
    let horizon = match params.get("horizon") {
        Some(text) => text
            .parse::<Horizon>()
            .map_err(|error| parameter("horizon", &error.to_string()))?,
        None => Horizon::HOUR,
    };
    let id = blocking(move || Ok(Registry::open(store.state())?.rollback(horizon)?)).await?;
    Ok(axum::Json(json!({ "champion": id.0 })).into_response())
}

fn judged_json(judged: &Judged) -> Value {
    let entry = &judged.entry;
    let mut json = json!({
        "id": entry.id.0,
        "name": entry.name,
        "family": entry.family,
        "horizon": entry.horizon.to_string(),
        "role": role_name(entry.role),
        "saved": rfc3339(entry.saved_ms),
        "trained_from": rfc3339(entry.trained_from_ms),
        "trained_to": rfc3339(entry.trained_to_ms),
    });
    let more = match &judged.model {
        Ok(facts) => json!({
            "hosts": facts.hosts,
            "features": facts.features,
            "code": facts.code,
            "threshold": facts.threshold,
            "evaluation": evaluation_json(&facts.evaluation),
        }),
        Err(why) => json!({ "error": why }),
    };
    if let (Some(members), Value::Object(more)) = (json.as_object_mut(), more) {
        members.extend(more);
    }
    json
}

fn evaluation_json(evaluation: &Evaluation) -> Value {
    let kinds: Vec<Value> = evaluation
        .by_kind
        .iter()
        .map(|kind| {
            json!({
                "kind": kind.kind,
                "incidents": kind.incidents,
                "warned": kind.warned,
                "detected": kind.detected,
                "unforeseeable": kind.unforeseeable,
                "median_lead_minutes": kind.median_lead_minutes,
            })
        })
        .collect();
    let bins: Vec<Value> = evaluation
        .reliability
        .iter()
        .map(|bin| json!({ "rows": bin.rows, "mean": bin.mean, "observed": bin.observed }))
        .collect();
    let ranges: Vec<Value> = evaluation
        .ranges
        .iter()
        .map(|range| {
            json!({
                "from": range.from,
                "to": range.to,
                "scores": range.scores,
                "foretold": range.foretold,
                "came_true": range.came_true,
            })
        })
        .collect();
    json!({
        "summary": evaluation.to_string(),
        "warns": evaluation.warns(),
        "from": rfc3339(evaluation.from),
        "to": rfc3339(evaluation.to),
        "hosts": evaluation.hosts,
        "host_days": evaluation.host_days,
        "incidents": evaluation.incidents,
        "warned": evaluation.warned,
        "detected_only": evaluation.detected_only,
        "missed": evaluation.missed,
        "unforeseeable": evaluation.unforeseeable,
        "alarms": evaluation.alarms,
        "false_alarms": evaluation.false_alarms,
        "chance_warned": evaluation.chance_warned,
        "leads_minutes": evaluation.leads_minutes,
        "pr_auc": evaluation.pr_auc,
        "base_rate": evaluation.base_rate,
        "brier_skill": evaluation.brier_skill,
        "calibration_error": evaluation.ece,
        "threshold": evaluation.threshold,
        "budget_per_host_day": evaluation.budget,
        "by_kind": kinds,
        "reliability": bins,
        "ranges": ranges,
        "led_before": evaluation.led_before,
    })
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        let kind = match &error {
            RegistryError::State(state) => state.kind().into(),
            RegistryError::Missing { .. } => Kind::NotFound,
            RegistryError::NoEarlier { .. } => Kind::Conflict,
            RegistryError::Model { .. } => Kind::Corrupt,
            RegistryError::Write { .. } => Kind::Internal,
        };
        Self::from_error(kind, &error).maybe_hint(error.hint())
    }
}
