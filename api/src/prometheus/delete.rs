//! Deleting by matcher, as Prometheus' admin API does it.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::envelope;
use super::series::Asked;
use crate::app::App;
use crate::params::Scope;
use crate::problem::Problem;
use crate::work::blocking;

/// `POST, PUT /api/v1/admin/tsdb/delete_series`: when it answers, the samples from `start` to `end` of the series that `match[]`
/// names are gone for every reader.
pub(crate) async fn series(State(app): State<App>, request: Request) -> Response {
    let done = async {
        let scope = Scope::read(&app, request).await?;
        let asked = Asked::read(&scope.params)?;
        if asked.sets.is_empty() {
            return Err(Problem::invalid("no match[] parameter provided"));
        }
        blocking(move || {
            let series = scope.store.delete(&asked.sets, asked.range)?;
            tracing::info!(tenant = scope.tenant, series, "samples were deleted");
            Ok(())
        })
        .await
    };
    no_content(done.await)
}

/// `POST, PUT /api/v1/admin/tsdb/clean_tombstones`: when it answers, what was deleted is off the disk.
pub(crate) async fn clean(State(app): State<App>, request: Request) -> Response {
    let done = async {
        let Scope { store, .. } = Scope::read(&app, request).await?;
        blocking(move || Ok(store.clean_deleted()?)).await
    };
    no_content(done.await)
}

fn no_content(done: Result<(), Problem>) -> Response {
    match done {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(problem) => envelope(Err(problem)),
    }
}
