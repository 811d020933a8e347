//! What surrounds every handler: its panics end it alone, strangers' pages may not write, and each answer is counted.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::OnceLock;
use std::task::Poll;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};

use crate::app::App;
use crate::problem::{Kind, Problem};

/// Turns a panic of a handler into a 500, so that it ends that request alone.
pub(crate) async fn catch_panic(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut handler = pin!(next.run(request));
    poll_fn(|context| {
        // The state behind a broken handler is only what requests share: locks that recover, and stores that check.
        catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(context))).unwrap_or_else(|panic| {
            tracing::error!(path, panic = said(&*panic), "a handler panicked");
            let problem = Problem::internal("the handler of this request panicked; the server goes on")
                .hint("the server's log says where; please report it");
            Poll::Ready(problem.into_response())
        })
    })
    .await
}

fn said(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it did not say why")
}

/// Refuses what changes something on behalf of another site's page. A browser sends such requests to loopback without a
/// question, and there is no password here that would stop them. Origins that are configured may ask queries by POST.
pub(crate) async fn same_site(State(app): State<App>, request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        || (QUERIES.contains(&request.uri().path()) && allowed_origin(&app, request.headers()).is_some());
    let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    if !reads && matches!(site, Some(b"cross-site" | b"same-site")) {
        return Problem::new(Kind::Forbidden, "a page of another site may not change anything here")
            .hint("use this server's own page, a client that is no browser, or name the origin in `cors_origins`")
            .into_response();
    }
    next.run(request).await
}

/// What Grafana asks by POST, which changes nothing.
const QUERIES: [&str; 7] = [
    "/api/v1/query",
    "/api/v1/query_range",
    "/api/v1/query_exemplars",
    "/api/v1/format_query",
    "/api/v1/parse_query",
    "/api/v1/series",
    "/api/v1/labels",
];

/// The origin of a request, where its pages may read here.
fn allowed_origin(app: &App, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    let allowed = app.cors_origins();
    (allowed.iter().any(|known| known.as_bytes() == origin.as_bytes())).then(|| origin.clone())
}

/// Lets pages of the configured origins read answers, and answers their preflights. Prometheus lets any page in; here any page
/// in a browser on this machine could then read every host's telemetry.
pub(crate) async fn cors(State(app): State<App>, request: Request, next: Next) -> Response {
    let Some(origin) = allowed_origin(&app, request.headers()) else {
        return next.run(request).await;
    };
    let preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(VARY, HeaderValue::from_static("origin"));
    if preflight {
        for (name, value) in [
            (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
            (
                ACCESS_CONTROL_ALLOW_HEADERS,
                "accept, authorization, content-type, origin, x-scope-orgid",
            ),
            (ACCESS_CONTROL_MAX_AGE, "600"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

/// Says what browsers may do with our answers: nothing from elsewhere is loaded, nothing inline runs.
pub(crate) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    const FIXED: [(&str, &str); 4] = [
        (
            "content-security-policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
    ];
    for (name, value) in FIXED {
        response
            .headers_mut()
            .insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

struct Instruments {
    requests: Counter<u64>,
    seconds: Histogram<f64>,
}

/// Counts requests and how long they took, by route and status.
pub(crate) async fn count(request: Request, next: Next) -> Response {
    static INSTRUMENTS: OnceLock<Instruments> = OnceLock::new();
    let instruments = INSTRUMENTS.get_or_init(|| {
        let meter = opentelemetry::global::meter("foreshock_api");
        Instruments {
            requests: meter
                .u64_counter("foreshock_api_requests")
                .with_description("Answered requests, by route and status")
                .build(),
            seconds: meter
                .f64_histogram("foreshock_api_request_duration_seconds")
                .with_description("From the headers of a request to those of its answer, by route")
                .with_boundaries(vec![
                    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
                ])
                .build(),
        }
    });
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let began = Instant::now();
    let response = next.run(request).await;
    let route = KeyValue::new("route", route);
    instruments
        .seconds
        .record(began.elapsed().as_secs_f64(), std::slice::from_ref(&route));
    instruments.requests.add(
        1,
        &[route, KeyValue::new("status", i64::from(response.status().as_u16()))],
    );
    response
}
