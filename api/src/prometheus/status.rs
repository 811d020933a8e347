//! What clients of Prometheus ask about the server itself.

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::json;
use store::TimeRange;

use super::cardinality::Cardinality;
use super::{Data, envelope};
use crate::app::App;
use crate::number;
use crate::params::Scope;
use crate::work::Length;

// The version of Prometheus whose API this is. Clients decide by it what they may ask (Grafana: label names by selector
// from 2.24 on), so our own version number would switch things off.
const COMPATIBLE_VERSION: &str = "3.5.0";

/// `GET /api/v1/status/buildinfo`
pub(crate) async fn buildinfo(State(app): State<App>) -> Response {
    let build = app.build();
    envelope(Ok(Data::from(json!({
        "version": COMPATIBLE_VERSION,
        "revision": build.revision,
        "branch": "",
        "buildUser": format!("foreshock {}", build.version),
        "buildDate": "",
        "goVersion": "",
    }))))
}

/// `GET /api/v1/status/runtimeinfo`
pub(crate) async fn runtimeinfo(State(app): State<App>) -> Response {
    envelope(Ok(Data::from(json!({
        "startTime": number::rfc3339(app.started_ms()),
        "CWD": "",
        "hostname": "",
        "serverTime": number::rfc3339(app.now()),
        "reloadConfigSuccess": true,
        "lastConfigTime": number::rfc3339(app.started_ms()),
        "corruptionCount": 0,
        "goroutineCount": 0,
        "GOMAXPROCS": std::thread::available_parallelism().map_or(1, usize::from),
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": "",
    }))))
}

/// `GET /api/v1/status/flags`
pub(crate) async fn flags() -> Response {
    envelope(Ok(Data::from(json!({}))))
}

/// `GET /api/v1/status/config`
pub(crate) async fn config() -> Response {
    envelope(Ok(Data::from(json!({ "yaml": "" }))))
}

/// `GET /api/v1/status/tsdb`
pub(crate) async fn tsdb(State(app): State<App>, request: Request) -> Response {
    envelope(
        async {
            let Scope { store, params, .. } = Scope::read(&app, request).await?;
            let limit = params.limit("limit")?.unwrap_or(10).min(10_000);
            app.slots()
                .run(Length::Any, app.limits().query_timeout, move |_| {
                    let stats = store.stats();
                    let snapshot = store.snapshot();
                    let mut cardinality = Cardinality::default();
                    for id in snapshot.select(&[], TimeRange::ALL)? {
                        cardinality.add(id, &snapshot.labels(id));
                    }
                    // Of all samples, not of the head alone: clients take it for the time that there is.
                    let time = snapshot.time_range();
                    Ok(Data::from(json!({
                        "headStats": {
                            "numSeries": stats.series,
                            "numLabelPairs": cardinality.pairs(),
                            "minTime": time.map_or(0, |range| range.start.0),
                            "maxTime": time.map_or(0, |range| range.end.0),
                        },
                        "seriesCountByMetricName": cardinality.metrics(&snapshot, limit),
                        "labelValueCountByLabelName": cardinality.values(limit),
                        "memoryInBytesByLabelName": cardinality.bytes(limit),
                        "seriesCountByLabelValuePair": cardinality.largest(&snapshot, limit),
                    })))
                })
                .await
        }
        .await,
    )
}

/// `GET /api/v1/targets/metadata`, `GET /api/v1/notifications`
pub(crate) async fn none() -> Response {
    envelope(Ok(Data::from(json!([]))))
}

/// `GET /api/v1/features`
pub(crate) async fn features() -> Response {
    envelope(Ok(Data::from(json!({}))))
}

/// `GET /api/v1/alertmanagers`: receivers are called by the outbox itself.
pub(crate) async fn alertmanagers() -> Response {
    envelope(Ok(Data::from(
        json!({ "activeAlertmanagers": [], "droppedAlertmanagers": [] }),
    )))
}
