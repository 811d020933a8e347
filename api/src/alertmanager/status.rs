//! What is running, with which configuration, and whom it can tell.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::app::App;
use crate::notify::NOBODY;
use crate::number::rfc3339;

/// The version of Alertmanager whose API this is; clients choose their ways by it.
const SPOKEN: &str = "0.28.0";

/// `GET /api/v2/status`
pub(crate) async fn status(State(app): State<App>) -> Response {
    let build = app.build();
    Json(json!({
        "cluster": { "name": "", "status": "disabled", "peers": [] },
        "versionInfo": {
            "version": SPOKEN,
            "branch": format!("foreshock-{}", build.version),
            "revision": build.revision,
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        },
        "config": { "original": app.notifier().settings().shown() },
        "uptime": rfc3339(app.started_ms()),
    }))
    .into_response()
}

/// `GET /api/v2/receivers`
pub(crate) async fn receivers(State(app): State<App>) -> Response {
    let mut names = app.notifier().settings().names();
    if names.is_empty() {
        names.push(NOBODY);
    }
    let shown: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
    Json(shown).into_response()
}
