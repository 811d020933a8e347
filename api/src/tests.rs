//! Routes over a real store: shapes, errors, and what is escaped.

mod alertmanager;
mod answers;
mod audit;
mod foreshock;
mod page;
mod prometheus;
mod remote_read;
mod rules;
mod store_routes;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use sql::{SqlEngine, SqlOptions};
use store::promql::Engine;
use store::{Clock, LabelsBuf, Metadata, MetricKind, Store, StoreOptions, Tenants};
use tower::ServiceExt as _;

use crate::{App, AppParts, Board, Build, Limits, router};

/// 2026-01-01 00:00:00 UTC.
const NOW: i64 = 1_767_225_600_000;

/// What stands in a rule file.
const FIXED_RULES: &str = "groups: [{name: fixed, interval: 1m, rules: [{alert: Up, expr: 'up == 1', for: 2m}]}]";

/// A server without a socket, over a store in a directory of its own.
struct Server {
    router: Router,
    board: Arc<Board>,
    tenants: Arc<Tenants>,
    _dir: tempfile::TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }
}

impl Server {
    /// A server whose default tenant holds `up` and `requests_total` of hosts a and b, each minute of the last ten.
    fn new() -> Self {
        let server = Self::empty();
        let store = server.tenants.get_or_create("default").expect("a store");
        for host in ["a", "b"] {
            let step = if host == "a" { 60.0 } else { 120.0 };
            write(
                &store,
                &[("__name__", "up"), ("host_name", host), ("job", "agent")],
                |_| 1.0,
            );
            write(&store, &[("__name__", "requests_total"), ("host_name", host)], |i| {
                f64::from(i) * step
            });
        }
        let about = Metadata {
            kind: MetricKind::Gauge,
            unit: String::new(),
            help: "Whether it answers".to_owned(),
        };
        store.set_metadata("up", about);
        server
    }

    fn empty() -> Self {
        Self::telling(crate::notify::Settings::default())
    }

    /// A server that tells whom these settings name.
    fn telling(notify: crate::notify::Settings) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Clock::fixed(NOW);
        let options = StoreOptions {
            background: false,
            clock: clock.clone(),
            ..StoreOptions::default()
        };
        let tenants = Arc::new(Tenants::open(dir.path(), options).expect("tenants"));
        let board = Arc::new(Board::default());
        let sql = SqlEngine::new(SqlOptions {
            threads: 1,
            ..SqlOptions::default()
        })
        .expect("an engine");
        let app = App::new(AppParts {
            tenants: Arc::clone(&tenants),
            engine: Arc::new(Engine::default()),
            sql: Arc::new(crate::tables::register(sql).expect("tables")),
            board: Arc::clone(&board),
            agents: crate::access::Agents::open(dir.path()).expect("agents"),
            notifier: Arc::new(crate::notify::Notifier::new(notify).expect("a client")),
            groups: crate::rule::load(FIXED_RULES, "fixed.yml").expect("rules").into(),
            clock,
            metrics: Arc::new(|| "foreshock_test 1\n".to_owned()),
            ready: Arc::new(|| Ok(())),
            build: Build {
                version: "0.1.0".to_owned(),
                revision: "abc".to_owned(),
            },
            banner: Some("a <banner>".to_owned()),
            limits: Limits::default(),
            cors_origins: vec!["https://grafana.example".to_owned()],
            scraped: Arc::new(scraped),
        });
        Self {
            router: router(app),
            board,
            tenants,
            _dir: dir,
        }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 16 << 20).await.expect("a body");
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).expect("a request"))
            .await
    }

    async fn form(&self, path: &str, form: &str) -> Answer {
        let request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(form.to_owned())).expect("a request"))
            .await
    }

    async fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).expect("a request"))
            .await
    }
}

/// One target that is up, and one that was never asked.
fn scraped() -> crate::Scraped {
    let target = |host: &str, health: &'static str, last_scrape_ms| crate::ScrapedTarget {
        job: "node".to_owned(),
        url: format!("http://{host}:9100/metrics"),
        labels: vec![("instance".to_owned(), host.to_owned())],
        discovered: vec![("__address__".to_owned(), format!("{host}:9100"))],
        health,
        last_error: String::new(),
        last_scrape_ms,
        last_duration: std::time::Duration::from_millis(250),
        interval: std::time::Duration::from_secs(15),
        timeout: std::time::Duration::from_secs(10),
    };
    crate::Scraped {
        jobs: vec!["gpu".to_owned(), "node".to_owned()],
        targets: vec![target("a", "up", NOW), target("b", "unknown", 0)],
        dropped: [("node".to_owned(), 3)].into(),
    }
}

/// Ten samples, a minute apart, the last one now.
fn write(store: &Arc<Store>, labels: &[(&str, &str)], value: impl Fn(i32) -> f64) {
    let mut batch = store.batch();
    let mut scratch = LabelsBuf::default();
    for (name, value) in labels {
        scratch.push(name, value);
    }
    let id = batch.series(&mut scratch).expect("labels");
    for i in 0..10 {
        batch.push(id, NOW - i64::from(9 - i) * 60_000, value(i));
    }
    store.append(batch).expect("appended");
}

#[tokio::test]
async fn the_process_says_how_it_is() {
    let server = Server::empty();
    assert_eq!(server.get("/-/healthy").await.status, StatusCode::OK);
    assert_eq!(server.get("/-/ready").await.status, StatusCode::OK);
    assert_eq!(server.get("/metrics").await.body, "foreshock_test 1\n");
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems_with_a_hint() {
    let server = Server::empty();
    let answer = server.get("/api/v1/nothing").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (StatusCode::NOT_FOUND, "application/problem+json")
    );
    let problem = answer.json();
    assert_eq!(
        (&problem["status"], &problem["type"]),
        (&404.into(), &"about:blank".into())
    );
    assert!(
        problem["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("/api/v1/query")),
        "{problem}"
    );
    let answer = server.form("/api/v1/hosts", "").await;
    assert_eq!(
        (answer.status, answer.header("allow")),
        (StatusCode::METHOD_NOT_ALLOWED, "GET,HEAD")
    );
    assert_eq!(answer.header("content-type"), "application/problem+json");
}

#[tokio::test]
async fn pages_of_other_sites_may_read_nothing_and_change_nothing() {
    let server = Server::new();
    let request = Request::post("/api/v1/admin/store/flush").header("sec-fetch-site", "cross-site");
    let answer = server.send(request.body(Body::empty()).expect("a request")).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.header("access-control-allow-origin"), "");
    assert!(answer.header("content-security-policy").contains("default-src 'none'"));
}
