//! Incidents: what people and systems say has failed, and what they say about it afterwards.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use predict::incident::{Incident, IncidentBook, IncidentError, Source, Verdict};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::number::rfc3339;
use crate::params::{Scope, Told, json_time};
use crate::problem::{Kind, Problem};
use crate::work::blocking;

/// An incident as it is declared. Times are RFC 3339 or seconds since 1970.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Declaration {
    id: Option<String>,
    host: String,
    device: Option<String>,
    start: Option<Value>,
    end: Option<Value>,
    kind: Option<String>,
    verdict: Option<Verdict>,
    summary: Option<String>,
}

/// What changes about an incident; `end` may also be `"now"`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    start: Option<Value>,
    end: Option<Value>,
    kind: Option<String>,
    verdict: Option<Verdict>,
    summary: Option<String>,
}

/// `GET /api/v1/incidents?start=&end=&host=`
pub(crate) async fn list(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let Scope { store, params, .. } = Scope::read(&app, request).await?;
    let (from, to) = (params.time("start", i64::MIN)?, params.time("end", i64::MAX)?);
    let host = params.get("host").map(str::to_owned);
    let found = blocking(move || Ok(IncidentBook::open(store.state())?.list(from, to)?)).await?;
    let wanted = found
        .iter()
        .filter(|incident| host.as_ref().is_none_or(|host| *host == incident.host));
    Ok(axum::Json(json!({ "incidents": wanted.map(incident_json).collect::<Vec<_>>() })).into_response())
}

/// `GET /api/v1/incidents/{id}`
pub(crate) async fn one(State(app): State<App>, Path(id): Path<String>, request: Request) -> Result<Response, Problem> {
    let store = Scope::read(&app, request).await?.store;
    let incident = blocking(move || Ok(IncidentBook::open(store.state())?.get(&id)?)).await?;
    Ok(axum::Json(incident_json(&incident)).into_response())
}

/// `POST /api/v1/incidents`
pub(crate) async fn declare(State(app): State<App>, told: Told<Declaration>) -> Result<Response, Problem> {
    let Told { store, body, .. } = told;
    let now = app.now();
    let time = |name, value: &Option<Value>| {
        let told = value.as_ref().filter(|value| !value.is_null());
        told.map(|value| json_time(name, value, now)).transpose()
    };
    let (started, end) = (time("start", &body.start)?, time("end", &body.end)?);
    let start = started.unwrap_or(now);
    let kind = body.kind.clone().unwrap_or_else(|| "unspecified".to_owned());
    // The same host, kind and second is the same incident: a button pressed twice, or a sender that tries again.
    let id = body
        .id
        .unwrap_or_else(|| format!("{}-{kind}-{}", body.host, start / 1000));
    let incident = Incident {
        id,
        host: body.host,
        device: body.device.filter(|device| !device.is_empty()),
        start,
        end,
        kind,
        source: Source::Declared,
        verdict: body.verdict.unwrap_or_default(),
        summary: body.summary.clone().unwrap_or_default(),
    };
    let location = format!("/api/v1/incidents/{}", crate::page::layout::encoded(&incident.id));
    let stands = blocking(move || {
        let new = &incident;
        // What is known and was not told now stays: a verdict and an end above all.
        let told = |known: &mut Incident| {
            known.host.clone_from(&new.host);
            known.device = new.device.clone().or(known.device.take());
            known.start = started.unwrap_or(known.start);
            known.end = new.end.or(known.end);
            known.kind = body.kind.unwrap_or(std::mem::take(&mut known.kind));
            known.verdict = body.verdict.unwrap_or(known.verdict);
            known.summary = body.summary.unwrap_or(std::mem::take(&mut known.summary));
        };
        Ok(IncidentBook::open(store.state())?.declare(new, told)?)
    })
    .await?;
    Ok((
        StatusCode::CREATED,
        [(LOCATION, location)],
        axum::Json(incident_json(&stands)),
    )
        .into_response())
}

/// `PATCH /api/v1/incidents/{id}`
pub(crate) async fn change(
    State(app): State<App>,
    Path(id): Path<String>,
    told: Told<Change>,
) -> Result<Response, Problem> {
    let Told { store, body, .. } = told;
    let now = app.now();
    let start = body
        .start
        .as_ref()
        .map(|value| json_time("start", value, now))
        .transpose()?;
    let end = body
        .end
        .as_ref()
        .map(|value| {
            if value.is_null() {
                Ok(None)
            } else {
                json_time("end", value, now).map(Some)
            }
        })
        .transpose()?;
    let changed = blocking(move || {
        let told = |incident: &mut Incident| {
            incident.start = start.unwrap_or(incident.start);
            incident.end = end.unwrap_or(incident.end);
            incident.kind = body.kind.unwrap_or(std::mem::take(&mut incident.kind));
            incident.verdict = body.verdict.unwrap_or(incident.verdict);
            incident.summary = body.summary.unwrap_or(std::mem::take(&mut incident.summary));
        };
        Ok(IncidentBook::open(store.state())?.change(&id, told)?)
    })
    .await?;
    Ok(axum::Json(incident_json(&changed)).into_response())
}

/// `DELETE /api/v1/incidents/{id}`
pub(crate) async fn delete(
    State(app): State<App>,
    Path(id): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let store = Scope::read(&app, request).await?.store;
    let wanted = id.clone();
    if blocking(move || Ok(IncidentBook::open(store.state())?.delete(&wanted)?)).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(IncidentError::Missing { id }.into())
    }
}

/// An incident as JSON.
pub(crate) fn incident_json(incident: &Incident) -> Value {
    json!({
        "id": incident.id,
        "host": incident.host,
        "device": incident.device,
        "start": rfc3339(incident.start),
        "end": incident.end.map(rfc3339),
        "kind": incident.kind,
        "source": incident.source.to_string(),
        "verdict": incident.verdict.to_string(),
        "summary": incident.summary,
    })
}

impl From<IncidentError> for Problem {
    fn from(error: IncidentError) -> Self {
        let kind = match &error {
            IncidentError::State(state) => state.kind().into(),
            IncidentError::Invalid { .. } => Kind::Invalid,
            IncidentError::Missing { .. } => Kind::NotFound,
        };
        Self::from_error(kind, &error).maybe_hint(error.hint())
    }
}
