//! Alertmanager's API, version 2: what amtool, karma, Grafana's Alertmanager data source and Prometheus servers speak.
//!
//! Errors are a text as JSON, as these clients expect them, and not problem+json.

pub(crate) mod alerts;
pub(crate) mod silences;
pub(crate) mod status;

use axum::response::Response;
use store::Matcher;

use crate::notify::matcher;
use crate::params::Params;
use crate::problem::Problem;

/// What a handler answers.
type Answer = Result<Response, Refusal>;

/// A problem as this API tells it.
pub(crate) struct Refusal(Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl axum::response::IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.0.into_alertmanager()
    }
}

/// The matchers of the parameters `filter`, all of which must hold.
fn filters(params: &Params) -> Result<Vec<Matcher>, Problem> {
    let mut found = Vec::new();
    for text in params.all("filter") {
        found.extend(matcher::parse_list(text).map_err(Problem::invalid)?);
    }
    Ok(found)
}

/// A flag that is true unless it says otherwise.
fn flag(params: &Params, name: &str) -> Result<bool, Problem> {
    match params.get(name) {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(Problem::invalid(format!("{name} must be true or false, not {other:?}"))),
    }
}
