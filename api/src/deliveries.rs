//! What was sent to receivers and what they said, how they fare, and what could not be delivered.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::app::App;
use crate::notify::{DeadLetter, Delivery, NotifyError, Outbox, Outcome, ReceiverStatus};
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

/// `GET /api/v1/deliveries/dead?limit=`
pub(crate) async fn dead(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let Scope { store, params, .. } = Scope::read(&app, request).await?;
    let limit = params.limit("limit")?.unwrap_or(100).min(1000);
    let found = blocking(move || Ok(Outbox::dead_letters(store.state(), limit)?)).await?;
    let letters: Vec<Value> = found.iter().map(dead_json).collect();
    Ok(axum::Json(json!({ "deadLetters": letters })).into_response())
}

/// `POST /api/v1/deliveries/dead/{id}/retry`
pub(crate) async fn retry(
    State(app): State<App>,
    Path(id): Path<i64>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let store = Scope::read(&app, request).await?.store;
    let (now, notifier) = (app.now(), std::sync::Arc::clone(app.notifier()));
    if !blocking(move || Ok(notifier.outbox(store.state())?.revive(store.state(), id, now)?)).await? {
        return Err(Problem::not_found(format!("there is no dead letter {id}"))
            .hint("GET /api/v1/deliveries/dead lists them; it may have been sent again already"));
    }
    app.notifier().ring();
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/v1/receivers`
pub(crate) async fn receivers(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let store = Scope::read(&app, request).await?.store;
    let notifier = std::sync::Arc::clone(app.notifier());
    let found = blocking(move || Ok(notifier.outbox(store.state())?.receivers_status(store.state())?)).await?;
    let receivers: Vec<Value> = found.iter().map(receiver_json).collect();
    Ok(axum::Json(json!({ "receivers": receivers })).into_response())
}

/// `POST /api/v1/receivers/{id}/test`: sends a test message now and answers what the receiver said. What it said is the
/// answer, also where it said no; `words` are the texts that its configuration made of the message.
pub(crate) async fn test(
    State(app): State<App>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let store = Scope::read(&app, request).await?.store;
    let outbox = app.notifier().outbox(store.state())?;
    let tested = outbox
        .test(store.state(), app.now(), app.notifier().client(), &id)
        .await?;
    let mut answer = delivery_json(&tested.delivery);
    answer["words"] = tested.words.into_iter().collect();
    Ok(axum::Json(answer).into_response())
}

fn dead_json(letter: &DeadLetter) -> Value {
    json!({
        "id": letter.id,
        "receiver": letter.receiver,
        "key": letter.key,
        "what": letter.what,
        "died": rfc3339(letter.died_ms),
        "attempts": letter.attempts,
        "reason": letter.reason,
    })
}

fn receiver_json(receiver: &ReceiverStatus) -> Value {
    json!({
        "id": receiver.id,
        "name": receiver.name,
        "kind": receiver.kind,
        "place": receiver.place,
        "fallback": receiver.fallback,
        "waiting": receiver.waiting,
        "failures": receiver.failures,
        "broken": receiver.broken,
        "until": receiver.until_ms.map(rfc3339),
        "delivered": receiver.delivered_ms.map(rfc3339),
    })
}

impl From<NotifyError> for Problem {
    fn from(error: NotifyError) -> Self {
        let kind = match &error {
            NotifyError::State(state) => state.kind().into(),
            NotifyError::Receiver { .. } | NotifyError::Alert { .. } => Kind::NotFound,
            NotifyError::Text { .. } => Kind::Invalid,
            NotifyError::Link { .. } => Kind::Forbidden,
            NotifyError::Random => Kind::Internal,
            NotifyError::Full { .. } => Kind::Unavailable,
        };
        Self::from_error(kind, &error).maybe_hint(error.hint())
    }
}
