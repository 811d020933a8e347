//! Telemetry in: OTLP and Prometheus remote write, decoded, checked, appended, acknowledged.
//!
//! ```text
//! POST /v1/metrics  ─► body ─► otlp, otlp_grpc ─► normalize ─┐
//! gRPC (gzip, zstd)             (or JSON)                     ├─► intake ─► store.append ─► 2xx
//! POST /v1/logs ─► body ─► logs (or JSON) ─────────────────────┤
//! POST /api/v1/write ─► body ─► remote_write (1.0, 2.0) ──────┤   (limits,   (WAL synced)
//! (snappy, zstd)                                              │    series cache, delta sums)
//! POST /api/v1/import ─► body ─► import (JSON lines) ─────────┤
//! POST /api/v1/import/prometheus ─► body ─► text ─────────────┤
//! scrape ─► GET of each target   ─────────► text ─────────────┘
//! ```
//!
//! Invariants:
//! - A 2xx means that every sample it speaks of is durable; what was refused is named in the answer and counted.
//! - A request is decoded as a whole before any of it is appended: a malformed one leaves nothing behind.
//! - Body size (before and after decompression), memory for all bodies, labels, samples, concurrent requests and tenants are
//!   bounded by [`Limits`].
//! - A repeated series costs a hash over its bytes: no name is translated and nothing is allocated for it.
//! - A panic while one request is decoded ends that request alone, with a 500.
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//! use foreshock_ingest::{IngestState, Limits, router};
//! use store::{StoreOptions, Tenants};
//!
//! let tenants = Arc::new(Tenants::open(Path::new("/var/lib/foreshock"), StoreOptions::default())?);
//! let app: axum::Router = router(IngestState::new(tenants, Limits::default()));
//! # Ok::<(), store::StoreError>(())
//! ```

mod body;
mod cache;
mod delta;
mod histogram;
mod import;
mod intake;
mod limits;
mod logs;
mod normalize;
mod otlp;
mod otlp_grpc;
mod otlp_json;
mod problem;
mod refusal;
mod remote_write;
pub mod scrape;
mod state;
mod telemetry;
mod text;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;

pub use limits::Limits;
pub use normalize::OtlpOptions;
pub use problem::denied;
pub use state::{BOUND_HOST_HEADER, IngestState, TENANT_HEADER};

/// Where OTLP metrics arrive.
pub const OTLP_METRICS_PATH: &str = "/v1/metrics";
/// Where OTLP metrics arrive over gRPC.
pub const OTLP_GRPC_PATH: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
/// The same call for logs.
pub const OTLP_GRPC_LOGS_PATH: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
/// Where Prometheus' text format is pushed.
pub const TEXT_PATH: &str = "/api/v1/import/prometheus";
/// Where OTLP logs arrive.
pub const OTLP_LOGS_PATH: &str = "/v1/logs";
/// Where Prometheus remote write arrives.
pub const REMOTE_WRITE_PATH: &str = "/api/v1/write";

/// Where history arrives as JSON lines.
pub const IMPORT_PATH: &str = "/api/v1/import";

/// The write endpoints. Prometheus' own path for OTLP is served as well.
pub fn router(state: impl Into<Arc<IngestState>>) -> Router {
    let otlp = || post(otlp::metrics).fallback(problem::only_post);
    Router::new()
        .route(OTLP_METRICS_PATH, otlp())
        .route("/api/v1/otlp/v1/metrics", otlp())
        .route(OTLP_GRPC_PATH, post(otlp_grpc::metrics).fallback(problem::only_post))
        .route(OTLP_GRPC_LOGS_PATH, post(otlp_grpc::logs).fallback(problem::only_post))
        .route(OTLP_LOGS_PATH, post(logs::logs).fallback(problem::only_post))
        .route(
            REMOTE_WRITE_PATH,
            post(remote_write::write).fallback(problem::only_post),
        )
        .route(IMPORT_PATH, post(import::import).fallback(problem::only_post))
        .route(TEXT_PATH, post(text::import).fallback(problem::only_post))
        .route(
            "/metrics/job/{*labels}",
            post(text::push).put(text::push).fallback(problem::only_post),
        )
        .with_state(state.into())
}

#[cfg(test)]
mod tests;
