//! Wrong bodies on the write endpoints: a 4xx with a JSON problem that says what to do, and the process lives.

use wire::metric::{Kind, MetricDef};
use wire::otlp::write::RequestWriter;

use crate::server::Server;

/// What it is, where it goes, with which headers, and the body.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [u8]);

const METRIC: MetricDef = MetricDef {
    name: "fine",
    unit: "",
    kind: Kind::Gauge,
    help: "Written well",
};
const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");

#[test]
fn wrong_bodies_get_a_problem_that_says_what_to_do() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    let good = {
        let mut body = RequestWriter::new(&[("host.name", "a")], "bad-input");
        body.metric(&METRIC).point(&[], 0, 1_767_225_600_000_000_000, 1.0);
        body.finish()
    };
    let truncated = &good[..good.len() - 3];
    let cases: &[Case<'_>] = &[
        ("truncated OTLP", "/v1/metrics", &[PROTOBUF], truncated),
        ("text as OTLP", "/v1/metrics", &[PROTOBUF], b"hello"),
        (
            "not gzip",
            "/v1/metrics",
            &[PROTOBUF, ("Content-Encoding", "gzip")],
            &good,
        ),
        (
            "unknown encoding",
            "/v1/metrics",
            &[PROTOBUF, ("Content-Encoding", "br")],
            &good,
        ),
        ("unknown type", "/v1/metrics", &[("Content-Type", "text/csv")], &good),
        (
            "not snappy",
            "/api/v1/write",
            &[PROTOBUF, ("Content-Encoding", "snappy")],
            b"\xff\xff\xff\xff\xffhello",
        ),
        (
            "no tenant of that name",
            "/v1/metrics",
            &[PROTOBUF, ("X-Scope-OrgID", "../etc")],
            &good,
        ),
    ];
    for (name, path, headers, body) in cases {
        // An OTLP sender that takes protobuf alone gets a google.rpc.Status instead.
        let mut headers = headers.to_vec();
        headers.push(("Accept", "*/*"));
        let (status, text) = server
            .post(path, &headers, body)
            .unwrap_or_else(|| panic!("{name}: no answer"));
        assert!((400..500).contains(&status), "{name}: {status} {text}");
        let problem: serde_json::Value =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e} in {text:?}"));
        assert_eq!(problem["status"], status, "{name}: {text}");
        assert!(
            problem["detail"].as_str().is_some_and(|d| !d.is_empty()),
            "{name}: {text}"
        );
        assert!(
            problem["hint"].as_str().is_some_and(|h| !h.is_empty()),
            "{name} has no hint: {text}"
        );
    }
    for end in 0..good.len() {
        let (status, text) = server
            .post("/v1/metrics", &[PROTOBUF], &good[..end])
            .expect("an answer");
        // Some prefixes are whole messages that hold less, the empty one above all.
        assert!(
            status == 200 || (400..500).contains(&status),
            "first {end} bytes: {status} {text}"
        );
    }
    let (status, text) = server.post("/v1/metrics", &[PROTOBUF], &good).expect("an answer");
    assert_eq!(status, 200, "{text}");
    assert!(server.stop());
}
