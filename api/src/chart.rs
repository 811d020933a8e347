//! The chart of an alert, for chats that fetch the pictures in messages. What is drawn stands in the link, signed; see
//! `notify::link`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};

use crate::answer;
use crate::app::App;
use crate::problem::Problem;
use crate::work::blocking;

/// The picture's path, which needs no token but that in the link.
pub(crate) const PATH: &str = "/chart.png";

/// `GET /chart.png?t=`
pub(crate) async fn show(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let scope = answer::scope(&app, request).await?;
    let (notifier, now) = (Arc::clone(app.notifier()), app.now());
    let token = scope.params.get("t").unwrap_or_default().to_owned();
    let png = blocking(move || {
        let state = scope.store.state();
        Ok(notifier.outbox(state)?.chart(state, now, &token)?)
    })
    .await?;
    // Under this address there is never another one; the link is as confidential as the message.
    let headers = [
        (CONTENT_TYPE, "image/png"),
        (CACHE_CONTROL, "private, max-age=86400, immutable"),
    ];
    Ok((headers, png).into_response())
}
