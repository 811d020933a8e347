//! Every route in one table.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};

use crate::app::App;
use crate::problem::{Kind, Problem};
use crate::{
    acknowledge, admin, agents, alertmanager, answer, audit, chart, compress, deliveries, guard, hosts, incidents,
    models, page, prometheus, rules, scores, silences, sql,
};

/// All routes over `app`. Whoever merges it with other routers leaves the fallback to this one.
pub fn router(app: App) -> Router {
    let body_bytes = app.limits().body_bytes;
    Router::new()
        // The process.
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/federate", get(prometheus::federate::federate))
        // Prometheus' API.
        .route(
            "/api/v1/query",
            get(prometheus::query::instant).post(prometheus::query::instant),
        )
        .route(
            "/api/v1/query_range",
            get(prometheus::query::range).post(prometheus::query::range),
        )
        .route(
            "/api/v1/query_exemplars",
            get(prometheus::query::exemplars).post(prometheus::query::exemplars),
        )
        .route(
            "/api/v1/format_query",
            get(prometheus::query::format).post(prometheus::query::format),
        )
        .route(
            "/api/v1/parse_query",
            get(prometheus::query::parse).post(prometheus::query::parse),
        )
        .route(
            "/api/v1/series",
            get(prometheus::series::series).post(prometheus::series::series),
        )
        .route(
            "/api/v1/labels",
            get(prometheus::series::names).post(prometheus::series::names),
        )
        .route("/api/v1/label/{name}/values", get(prometheus::series::values))
        .route(
            "/api/v1/export",
            get(prometheus::export::samples).post(prometheus::export::samples),
        )
        .route("/api/v1/read", post(prometheus::read::read))
        .route("/api/v1/metadata", get(prometheus::series::metadata))
        .route("/api/v1/rules", get(prometheus::rules::rules))
        .route("/api/v1/alerts", get(prometheus::rules::alerts))
        .route(
            "/api/v1/alerts/{fingerprint}/acknowledge",
            post(acknowledge::acknowledge).delete(acknowledge::take_back),
        )
        .route("/api/v1/rules/replay", post(rules::replayed))
        // Mimir's ruler, by which rules are edited.
        .route("/config/v1/rules", get(rules::list))
        .route(
            "/config/v1/rules/{namespace}",
            get(rules::namespace).post(rules::put).delete(rules::delete_namespace),
        )
        .route(
            "/config/v1/rules/{namespace}/{group}",
            get(rules::group).delete(rules::delete),
        )
        .route("/api/v1/targets", get(prometheus::targets::targets))
        .route("/api/v1/targets/metadata", get(prometheus::status::none))
        .route("/api/v1/scrape_pools", get(prometheus::targets::pools))
        .route("/api/v1/notifications", get(prometheus::status::none))
        .route("/api/v1/features", get(prometheus::status::features))
        .route("/api/v1/alertmanagers", get(prometheus::status::alertmanagers))
        .route("/api/v1/status/buildinfo", get(prometheus::status::buildinfo))
        .route("/api/v1/status/runtimeinfo", get(prometheus::status::runtimeinfo))
        .route("/api/v1/status/flags", get(prometheus::status::flags))
        .route("/api/v1/status/config", get(prometheus::status::config))
        .route("/api/v1/status/tsdb", get(prometheus::status::tsdb))
        // Foreshock's own API.
        .route("/api/v1/hosts", get(hosts::list))
        .route("/api/v1/hosts/{host}", get(hosts::one))
        .route("/api/v1/scores", get(scores::list))
        .route("/api/v1/incidents", get(incidents::list).post(incidents::declare))
        .route(
            "/api/v1/incidents/{id}",
            get(incidents::one).patch(incidents::change).delete(incidents::delete),
        )
        .route("/api/v1/models", get(models::list))
        .route("/api/v1/models/{id}/promote", post(models::promote))
        .route("/api/v1/models/rollback", post(models::rollback))
        .route("/api/v1/sql", get(sql::query).post(sql::query))
        .route("/api/v1/deliveries", get(deliveries::list))
        .route("/api/v1/deliveries/dead", get(deliveries::dead))
        .route("/api/v1/deliveries/dead/{id}/retry", post(deliveries::retry))
        .route("/api/v1/receivers", get(deliveries::receivers))
        .route("/api/v1/receivers/{id}/test", post(deliveries::test))
        .route("/api/v1/silences", get(silences::list).post(silences::create))
        .route("/api/v1/silences/{id}", get(silences::one).delete(silences::delete))
        // Alertmanager's API.
        .route("/api/v2/status", get(alertmanager::status::status))
        .route("/api/v2/receivers", get(alertmanager::status::receivers))
        .route(
            "/api/v2/alerts",
            get(alertmanager::alerts::list).post(alertmanager::alerts::post),
        )
        .route("/api/v2/alerts/groups", get(alertmanager::alerts::groups))
        .route(
            "/api/v2/silences",
            get(alertmanager::silences::list).post(alertmanager::silences::post),
        )
        .route(
            "/api/v2/silence/{id}",
            get(alertmanager::silences::one).delete(alertmanager::silences::delete),
        )
        .route("/api/v1/agents", get(agents::list))
        .route("/api/v1/agents/revoke", post(agents::revoke))
        .route("/api/v1/tenants", get(admin::tenants))
        .route("/api/v1/tenants/{name}", delete(admin::delete_tenant))
        .route("/api/v1/admin/store/flush", post(admin::flush))
        .route("/api/v1/admin/store/compact", post(admin::compact))
        .route("/api/v1/admin/store/backup", post(admin::backup))
        .route(
            "/api/v1/admin/tsdb/snapshot",
            post(admin::snapshot).put(admin::snapshot),
        )
        .route(
            "/api/v1/admin/tsdb/delete_series",
            post(prometheus::delete::series).put(prometheus::delete::series),
        )
        .route(
            "/api/v1/admin/tsdb/clean_tombstones",
            post(prometheus::delete::clean).put(prometheus::delete::clean),
        )
        // Pages.
        .route("/", get(page::hosts::show))
        .route("/hosts/{host}", get(page::host::show))
        .route("/alerts", get(page::alerts::show))
        .route(answer::PATH, get(answer::show).post(answer::answer))
        .route(chart::PATH, get(chart::show))
        .route("/models", get(page::models::show))
        .route("/agents", get(page::agents::show))
        .route("/explore", get(page::explore::show))
        .route("/page.css", get(page::asset::style))
        .route("/page.js", get(page::asset::script))
        .route("/favicon.svg", get(page::asset::icon))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(body_bytes))
        .layer(from_fn_with_state(app.clone(), audit::record))
        .layer(from_fn_with_state(app.clone(), guard::same_site))
        .layer(from_fn_with_state(app.clone(), guard::cors))
        .layer(from_fn(guard::headers))
        .layer(from_fn(compress::answer))
        .layer(from_fn(guard::catch_panic))
        .layer(from_fn(guard::count))
        .with_state(app)
}

/// Flight SQL over the same tenants and the same engine, for a port of its own: gRPC, so HTTP/2 without TLS.
pub fn flight_router(app: &App) -> Router {
    let service = ::sql::flight::server(app.sql_shared(), Arc::clone(app.tenants()));
    Router::new()
        .route_service(&format!("/{}/{{*method}}", ::sql::flight::SERVICE), service)
        .layer(from_fn(guard::catch_panic))
        .layer(from_fn(guard::count))
}

async fn healthy() -> &'static str {
    "Foreshock is healthy.\n"
}

async fn ready(State(app): State<App>) -> Response {
    match app.ready() {
        Ok(()) => "Foreshock is ready.\n".into_response(),
        Err(missing) => Problem::new(Kind::Unavailable, format!("not ready: {missing}"))
            .retry_after(1)
            .into_response(),
    }
}

async fn metrics(State(app): State<App>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        app.metrics(),
    )
}

async fn not_found(uri: Uri) -> Problem {
    let path = uri.path();
    let hint = if path.starts_with("/api/") || path.starts_with("/v1/") {
        "the API: /api/v1/query, query_range, series, labels, rules, alerts, hosts, scores, incidents, models, sql; \
         writing: POST /v1/metrics (OTLP) and POST /api/v1/write (remote write)"
    } else {
        "the pages: / (hosts), /alerts, /models, /agents, /explore; the API is under /api/v1/"
    };
    Problem::not_found(format!("there is no route {path}")).hint(hint)
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(
        Kind::MethodNotAllowed,
        format!("{} does not answer {method}", uri.path()),
    )
    .hint("the header Allow says which methods it answers")
}
