//! What each method and path needs.

use axum::http::Method;

use super::token::Scope;

/// What everybody may see: whether the process lives, what a browser draws the question for a token with, and what a host needs
/// before it has a token.
const OPEN: [&str; 7] = [
    "/-/healthy",
    "/-/ready",
    crate::tls::AUTHORITY_PATH,
    "/install.sh",
    "/page.css",
    "/page.js",
    "/favicon.svg",
];

/// The agents that the script fetches.
const AGENTS: &str = "/-/agent";

/// Where telemetry is sent to.
const TELEMETRY: [&str; 5] = ["/v1", "/api/v1/otlp", "/api/v1/write", "/api/v1/import", "/metrics/job"];

/// The calls of OTLP over gRPC, whatever their signal.
const OTLP_GRPC: &str = "/opentelemetry.proto.collector.";

/// Asked by POST because the expression may be long.
const QUERIES: [&str; 11] = [
    "/api/v1/query",
    "/api/v1/query_range",
    "/api/v1/query_exemplars",
    "/api/v1/format_query",
    "/api/v1/parse_query",
    "/api/v1/series",
    "/api/v1/labels",
    "/api/v1/export",
    "/api/v1/sql",
    "/api/v1/read",
    "/api/v1/rules/replay",
];

/// What is about the process or all tenants.
const ALL_TENANTS: [&str; 6] = [
    "/metrics",
    "/api/v1/tenants",
    "/api/v1/targets",
    "/api/v1/scrape_pools",
    "/api/v1/admin/store",
    "/api/v1/admin/tsdb/snapshot",
];

/// The calls of Flight SQL, which read only.
const FLIGHT: &str = "/arrow.flight.protocol.FlightService/";

/// Flight's way to log in with a user and a password.
pub(super) const FLIGHT_HANDSHAKE: &str = "/arrow.flight.protocol.FlightService/Handshake";

/// The scope that a request needs; `None` for what everybody may.
pub(super) fn needed(method: &Method, path: &str) -> Option<Scope> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    // A browser's question before the request carries no token, and its answer tells nothing.
    if *method == Method::OPTIONS || (reads && (OPEN.contains(&path) || is_below(path, AGENTS))) {
        return None;
    }
    // The link itself is what lets in.
    if (path == crate::answer::PATH && (reads || *method == Method::POST)) || (path == crate::chart::PATH && reads) {
        return None;
    }
    if path == super::JOIN_PATH {
        return Some(Scope::Join);
    }
    if !reads && (path == super::RENEW_PATH || is_telemetry(path) || path == "/api/v2/alerts") {
        return Some(Scope::Write);
    }
    let queries = QUERIES.contains(&path) || path.starts_with(FLIGHT);
    Some(if queries || (reads && !path.starts_with("/api/v1/admin/")) {
        Scope::Read
    } else {
        Scope::Admin
    })
}

/// Whether a path takes telemetry, which alone a token bound to a host may send.
pub(super) fn is_telemetry(path: &str) -> bool {
    path.starts_with(OTLP_GRPC) || TELEMETRY.iter().any(|folder| is_below(path, folder))
}

/// Whether what a path shows or changes is not one tenant's alone.
pub(super) fn is_of_all_tenants(path: &str) -> bool {
    !is_telemetry(path) && ALL_TENANTS.iter().any(|folder| is_below(path, folder))
}

pub(super) fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
