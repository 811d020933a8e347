//! Acknowledgements: who has an alert in hand. It is then neither repeated nor passed on to the next one, until it ends.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::notify::Acknowledgement;
use crate::number::rfc3339;
use crate::params::{Scope, Told};
use crate::problem::Problem;
use crate::work::blocking;

/// Who says so, and what else; both may be left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    by: Option<String>,
    comment: Option<String>,
}

/// `POST /api/v1/alerts/{fingerprint}/acknowledge`
pub(crate) async fn acknowledge(
    State(app): State<App>,
    Path(fingerprint): Path<String>,
    told: Told<Wish>,
) -> Result<Response, Problem> {
    let Told { store, body, .. } = told;
    let (now, notifier) = (app.now(), Arc::clone(app.notifier()));
    let who = body.by.unwrap_or_default();
    let comment = body.comment.unwrap_or_default();
    let noted = blocking(move || {
        let outbox = notifier.outbox(store.state())?;
        Ok(outbox.acknowledge(store.state(), now, &[fingerprint], &who, &comment)?)
    })
    .await?;
    let shown: Vec<Value> = noted.iter().map(acknowledgement_json).collect();
    Ok(Json(json!({ "acknowledgements": shown })).into_response())
}

/// `DELETE /api/v1/alerts/{fingerprint}/acknowledge`
pub(crate) async fn take_back(
    State(app): State<App>,
    Path(fingerprint): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let store = Scope::read(&app, request).await?.store;
    let (now, notifier) = (app.now(), Arc::clone(app.notifier()));
    blocking(move || {
        let outbox = notifier.outbox(store.state())?;
        Ok(outbox.take_back(store.state(), now, &[fingerprint])?)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn acknowledgement_json(one: &Acknowledgement) -> Value {
    json!({
        "fingerprint": one.fingerprint,
        "since": rfc3339(one.starts_ms),
        "at": rfc3339(one.at_ms),
        "by": one.who,
        "comment": one.comment,
    })
}
