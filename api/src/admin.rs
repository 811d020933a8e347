//! What an operator does to the store and its tenants.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use store::Backup;

use crate::app::App;
use crate::params::DEFAULT_TENANT;
use crate::problem::{Kind, Problem};
use crate::prometheus::{Data, envelope};
use crate::work::blocking;

/// `POST /api/v1/admin/store/flush`: when it answers, all acknowledged samples of all tenants are in parts.
pub(crate) async fn flush(State(app): State<App>) -> Result<StatusCode, Problem> {
    let stores = app.tenants().stores();
    blocking(move || {
        stores.iter().try_for_each(|store| store.flush())?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// `POST /api/v1/admin/store/compact`: when it answers, there is nothing left to merge in any tenant.
pub(crate) async fn compact(State(app): State<App>) -> Result<StatusCode, Problem> {
    let stores = app.tenants().stores();
    blocking(move || {
        for store in &stores {
            store.flush()?;
            store.compact()?;
        }
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// `POST /api/v1/admin/store/backup`: when it answers, `<data>/backups/<name>` holds all tenants as they were when it was asked.
pub(crate) async fn backup(State(app): State<App>) -> Result<Response, Problem> {
    let made = make_backup(&app).await?;
    Ok(axum::Json(json!({
        "name": name_of(&made),
        "path": made.path,
        "tenants": made.tenants,
        "files": made.files,
        "bytes": made.bytes,
    }))
    .into_response())
}

/// `POST /api/v1/admin/tsdb/snapshot`: the same, as Prometheus answers it.
pub(crate) async fn snapshot(State(app): State<App>) -> Response {
    let made = make_backup(&app).await;
    envelope(made.map(|made| Data::from(json!({ "name": name_of(&made) }))))
}

async fn make_backup(app: &App) -> Result<Backup, Problem> {
    let now_ms = app.now();
    let name = jiff::Timestamp::from_millisecond(now_ms)
        .map_err(|error| Problem::internal(format!("the clock stands at {now_ms} ms: {error}")))?
        .strftime("%Y%m%dT%H%M%SZ")
        .to_string();
    let tenants = Arc::clone(app.tenants());
    blocking(move || Ok(tenants.backup(&tenants.backups_dir().join(name), &[], now_ms, &mut |_, _| {})?)).await
}

fn name_of(backup: &Backup) -> String {
    let name = backup.path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// `GET /api/v1/tenants`
pub(crate) async fn tenants(State(app): State<App>) -> Result<Response, Problem> {
    let stores = app.tenants().stores();
    let tenants = blocking(move || {
        let all = stores.iter().map(|store| {
            let stats = store.stats();
            json!({
                "name": store.tenant(),
                "series": stats.series,
                "head_samples": stats.head_samples,
                "parts": stats.parts,
                "part_samples": stats.part_samples,
                "part_bytes": stats.part_bytes,
                "wal_bytes": stats.wal_bytes,
            })
        });
        Ok(all.collect::<Vec<_>>())
    })
    .await?;
    Ok(axum::Json(json!({ "tenants": tenants })).into_response())
}

/// `DELETE /api/v1/tenants/{name}`: the tenant with all its samples, models and incidents.
pub(crate) async fn delete_tenant(State(app): State<App>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    if name == DEFAULT_TENANT {
        return Err(Problem::new(
            Kind::Conflict,
            "the default tenant cannot be deleted while the server runs",
        )
        .hint("stop the server and remove the data directory"));
    }
    let tenants = Arc::clone(app.tenants());
    let gone = name.clone();
    if !blocking(move || Ok(tenants.delete(&gone)?)).await? {
        return Err(Problem::not_found(format!("there is no tenant {name:?}")).hint("GET /api/v1/tenants lists them"));
    }
    app.board().forget(&name);
    Ok(StatusCode::NO_CONTENT)
}
