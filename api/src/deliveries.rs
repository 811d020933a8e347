//! What was sent to receivers, and what they said.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::app::App;
use crate::notify::{Delivery, NotifyError, Outbox, Outcome};
use crate::number::rfc3339;
use crate::params::Scope;
use crate::problem::{Kind, Problem};
use crate::work::blocking;

/// `GET /api/v1/deliveries?limit=`
pub(crate) async fn list(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let Scope { store, params, .. } = Scope::read(&app, request).await?;
    let limit = params.limit("limit")?.unwrap_or(100).min(1000);
    let (found, waiting) =
        blocking(move || Ok((Outbox::log(store.state(), limit)?, Outbox::waiting(store.state())?))).await?;
    let deliveries: Vec<Value> = found.iter().map(delivery_json).collect();
    Ok(axum::Json(json!({ "waiting": waiting, "deliveries": deliveries })).into_response())
}

fn delivery_json(delivery: &Delivery) -> Value {
    let again = match delivery.outcome {
        Outcome::Again { at_ms } => Some(rfc3339(at_ms)),
        Outcome::Delivered | Outcome::Dead => None,
    };
    json!({
        "id": delivery.id,
        "at": rfc3339(delivery.at_ms),
        "receiver": delivery.receiver,
        "key": delivery.key,
        "what": delivery.what,
        "attempt": delivery.attempt,
        "outcome": delivery.outcome.name(),
        "again": again,
        "status": delivery.status,
        "text": delivery.text,
        "seconds": delivery.seconds,
    })
}

impl From<NotifyError> for Problem {
    fn from(error: NotifyError) -> Self {
        let kind = match &error {
            NotifyError::State(state) => state.kind().into(),
            _ => Kind::Internal,
        };
        Self::from_error(kind, &error).maybe_hint(error.hint())
    }
}
