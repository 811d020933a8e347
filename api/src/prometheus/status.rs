//! What clients of Prometheus ask about the server itself.

use std::collections::BTreeMap;

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};
use store::{METRIC_NAME, TimeRange};

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
                    let mut by_metric: BTreeMap<String, u64> = BTreeMap::new();
                    for id in snapshot.select(&[], TimeRange::ALL)? {
                        *by_metric
                            .entry(snapshot.labels(id).get(METRIC_NAME).unwrap_or("").to_owned())
                            .or_default() += 1;
                    }
                    let mut most: Vec<(String, u64)> = by_metric.into_iter().collect();
                    most.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
                    let named = |(name, value): &(String, u64)| json!({ "name": name, "value": value });
                    Ok(Data::from(json!({
                        "headStats": {
                            "numSeries": stats.series,
                            "numLabelPairs": 0,
                            "chunkCount": 0,
                            "minTime": 0,
                            "maxTime": 0,
                        },
                        "seriesCountByMetricName": most.iter().take(limit).map(named).collect::<Vec<Value>>(),
                        "labelValueCountByLabelName": [],
                        "memoryInBytesByLabelName": [],
                        "seriesCountByLabelValuePair": [],
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
