//! The endpoints over a real store in a temporary directory.

mod body;
mod grpc;
mod import;
mod logs;
mod otlp;
mod remote_write;
mod remote_write_2;
mod text;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use store::{Clock, Histograms, Matcher, Samples, Store, StoreOptions, Tenants, TimeRange};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::{
    IMPORT_PATH, IngestState, Limits, OTLP_GRPC_PATH, OTLP_METRICS_PATH, OtlpOptions, REMOTE_WRITE_PATH, router,
};

/// The server's clock stands at 2026-01-01T00:00:00Z.
const NOW_MS: i64 = 1_767_225_600_000;

struct Server {
    app: Router,
    tenants: Arc<Tenants>,
    _dir: TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn problem(&self) -> serde_json::Value {
        assert_eq!(
            self.headers["content-type"],
            "application/problem+json",
            "{}",
            self.text()
        );
        let problem: serde_json::Value = serde_json::from_slice(&self.body).expect("a problem is JSON");
        assert_eq!(problem["status"], self.status.as_u16());
        for member in ["type", "title", "detail", "hint"] {
            assert!(
                problem[member].as_str().is_some_and(|text| !text.is_empty()),
                "{member} in {problem}"
            );
        }
        problem
    }
}

impl Server {
    fn new() -> Self {
        Self::with(Limits::default(), StoreOptions::default())
    }

    fn with(limits: Limits, options: StoreOptions) -> Self {
        Self::translating(OtlpOptions::default(), limits, options)
    }

    fn translating(otlp: OtlpOptions, limits: Limits, options: StoreOptions) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let options = StoreOptions {
            clock: Clock::fixed(NOW_MS),
            background: false,
            ..options
        };
        let tenants = Arc::new(Tenants::open(dir.path(), options).expect("an empty directory opens"));
        let app = router(IngestState::new(Arc::clone(&tenants), limits).with_otlp(otlp));
        Self {
            app,
            tenants,
            _dir: dir,
        }
    }

    async fn send(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).expect("a valid request");
        let response = self
            .app
            .clone()
            .oneshot(request)
            .await
            .expect("the router always answers");
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.expect("a short answer").to_vec();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    async fn otlp(&self, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        // So that refusals come as text.
        let mut all = vec![
            ("content-type", "application/x-protobuf"),
            ("accept", "application/json"),
        ];
        all.extend_from_slice(headers);
        self.send(OTLP_METRICS_PATH, &all, body).await
    }

    async fn remote_write(&self, body: &[u8]) -> Answer {
        let body = snap::raw::Encoder::new().compress_vec(body).expect("compresses");
        let headers = [
            ("content-type", "application/x-protobuf"),
            ("content-encoding", "snappy"),
            ("x-prometheus-remote-write-version", "0.1.0"),
        ];
        self.send(REMOTE_WRITE_PATH, &headers, body).await
    }

    async fn remote_write_2(&self, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let body = snap::raw::Encoder::new().compress_vec(body).expect("compresses");
        let mut all = vec![
            (
                "content-type",
                "application/x-protobuf;proto=io.prometheus.write.v2.Request",
            ),
            ("content-encoding", "snappy"),
            ("x-prometheus-remote-write-version", "2.0.0"),
        ];
        all.extend_from_slice(headers);
        self.send(REMOTE_WRITE_PATH, &all, body).await
    }

    /// One message in a frame, compressed where `headers` say so and marked as such.
    async fn grpc(&self, headers: &[(&str, &str)], message: &[u8]) -> Answer {
        let compressed = headers
            .iter()
            .any(|(name, value)| *name == "grpc-encoding" && *value != "identity");
        let mut frame = vec![u8::from(compressed)];
        frame.extend_from_slice(&u32::try_from(message.len()).expect("short").to_be_bytes());
        frame.extend_from_slice(message);
        let mut all = vec![("content-type", "application/grpc+proto"), ("te", "trailers")];
        all.extend_from_slice(headers);
        self.send(OTLP_GRPC_PATH, &all, frame).await
    }

    /// The exemplars of all series of the default tenant, times relative to the clock.
    fn exemplars(&self) -> String {
        let store = self.store("default");
        let snapshot = store.snapshot();
        let ids = snapshot.select(&[], TimeRange::ALL).expect("selects");
        let mut out = String::new();
        for (id, exemplars) in store.exemplars(&ids, TimeRange::ALL) {
            out += &format!("{}:", snapshot.labels(id));
            for e in exemplars {
                out += &format!(" {}={}{}", e.at_ms - NOW_MS, e.value, e.labels);
            }
            out.push('\n');
        }
        out
    }

    fn store(&self, tenant: &str) -> Arc<Store> {
        self.tenants.get(tenant).expect("the tenant exists")
    }

    /// Everything that the default tenant holds, times relative to the clock.
    fn stored(&self) -> String {
        if self.tenants.get("default").is_none() {
            String::new()
        } else {
            self.stored_of("default")
        }
    }

    /// The native histograms of a metric of the default tenant.
    fn histograms(&self, metric: &str) -> Histograms {
        let snapshot = self.store("default").snapshot();
        let mut histograms = Histograms::default();
        for id in snapshot
            .select(&[Matcher::eq("__name__", metric)], TimeRange::ALL)
            .expect("selects")
        {
            snapshot
                .read_histograms(id, TimeRange::ALL, &mut histograms)
                .expect("reads");
        }
        histograms
    }

    fn stored_of(&self, tenant: &str) -> String {
        let snapshot = self.store(tenant).snapshot();
        let mut out = String::new();
        for id in snapshot.select(&[], TimeRange::ALL).expect("selects") {
            let mut samples = Samples::default();
            snapshot.read(id, TimeRange::ALL, &mut samples).expect("reads");
            if samples.is_empty() {
                // Registered by a request that was then refused.
                continue;
            }
            out += &format!("{}", snapshot.labels(id));
            for (at_ms, value) in samples.iter() {
                let value = if store::is_stale(value) {
                    "stale".to_owned()
                } else {
                    value.to_string()
                };
                out += &format!(" {}={value}", at_ms - NOW_MS);
            }
            out.push('\n');
        }
        out
    }
}

/// Nanoseconds of OTLP at `offset_ms` from the server's clock.
fn nanos(offset_ms: i64) -> u64 {
    u64::try_from((NOW_MS + offset_ms) * 1_000_000).expect("after 1970")
}

fn gzip(body: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}
