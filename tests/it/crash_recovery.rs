//! SIGKILL in the middle of writing: every acknowledged sample and log record is there afterwards, once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use wire::metric::{Kind, MetricDef};
use wire::otlp::write::RequestWriter;

use crate::server::Server;

const METRIC: MetricDef = MetricDef {
    name: "crash.test",
    unit: "",
    kind: Kind::Gauge,
    help: "Written until killed",
};
const SERIES: usize = 40;
const WRITERS: i64 = 4;
const KILLS: usize = 3;
const ACKNOWLEDGED_BEFORE_KILL: usize = 60;
/// 2026-01-01; in-order samples of any age are accepted.
const EPOCH_MS: i64 = 1_767_225_600_000;

#[test]
fn every_acknowledged_sample_survives_sigkill_in_the_middle_of_writing() {
    let data = tempfile::tempdir().expect("a directory");
    // Which timestamps were sent, and which of them acknowledged.
    let acknowledged = Mutex::new(BTreeSet::new());
    let mut next = 0;
    for round in 0..KILLS {
        let server = Server::start(data.path());
        let enough = round * ACKNOWLEDGED_BEFORE_KILL + ACKNOWLEDGED_BEFORE_KILL;
        let over = AtomicBool::new(false);
        let last = Mutex::new(next);
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (server, acknowledged, last, over) = (&server, &acknowledged, &last, &over);
                scope.spawn(move || {
                    let mut at = next + writer;
                    while !over.load(Ordering::Relaxed) {
                        let sent = server.post(
                            "/v1/metrics",
                            &[("Content-Type", "application/x-protobuf")],
                            &request(writer, EPOCH_MS + at * 1_000),
                        );
                        let Some((status, body)) = sent else { return };
                        assert_eq!(status, 200, "{body}");
                        let mut acknowledged = acknowledged.lock().expect("no writer panics");
                        acknowledged.insert((writer, EPOCH_MS + at * 1_000));
                        if acknowledged.len() >= enough {
                            over.store(true, Ordering::Relaxed);
                        }
                        drop(acknowledged);
                        let mut last = last.lock().expect("no writer panics");
                        *last = (*last).max(at);
                        at += WRITERS;
                    }
                });
            }
            // The kill comes while other writers are on their way.
            while !over.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            rustix::process::kill_process(server.pid(), rustix::process::Signal::KILL)
                .expect("the server can be killed");
        });
        next = last.into_inner().expect("no writer panics") + 2 * WRITERS;
    }

    let server = Server::start(data.path());
    let rows = server.sql(
        "SELECT host, CAST(timestamp AS BIGINT) AS at, count(*) AS n FROM samples WHERE metric = 'crash_test' GROUP BY host, timestamp",
    );
    let found: BTreeMap<(String, i64), i64> = rows
        .iter()
        .map(|r| {
            (
                (
                    r["host"].as_str().unwrap_or("").to_owned(),
                    r["at"].as_i64().unwrap_or(0),
                ),
                r["n"].as_i64().unwrap_or(0),
            )
        })
        .collect();
    let acknowledged = acknowledged.into_inner().expect("no writer panics");
    assert!(acknowledged.len() >= KILLS * ACKNOWLEDGED_BEFORE_KILL);
    for (writer, at) in &acknowledged {
        let n = found.get(&(format!("writer-{writer}"), *at)).copied().unwrap_or(0);
        assert_eq!(n, SERIES as i64, "acknowledged samples of writer {writer} at {at}");
    }
    assert!(found.values().all(|&n| n <= SERIES as i64), "a sample is there twice");
    assert!(server.stop(), "the server ends well when asked to");
}

#[test]
fn every_acknowledged_log_record_is_there_once_though_requests_are_sent_again() {
    let data = tempfile::tempdir().expect("a directory");
    let mut acknowledged = BTreeSet::new();
    let mut next = 0_u64;
    for _ in 0..KILLS {
        let server = Server::start(data.path());
        let (over, told) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                // The first one may have been written before the last kill, unacknowledged: it is sent again under its id.
                for n in next.. {
                    let id = n.to_string();
                    let headers = [("Content-Type", "application/json"), ("Idempotency-Key", id.as_str())];
                    let Some((status, body)) = server.post("/v1/logs", &headers, log_record(n).as_bytes()) else {
                        return;
                    };
                    assert_eq!(status, 200, "{body}");
                    let mut told = told.lock().expect("no writer panics");
                    told.insert(n);
                    over.store(told.len() >= ACKNOWLEDGED_BEFORE_KILL, Ordering::Relaxed);
                }
            });
            while !over.load(Ordering::Relaxed) && !writer.is_finished() {
                std::thread::yield_now();
            }
            rustix::process::kill_process(server.pid(), rustix::process::Signal::KILL)
                .expect("the server can be killed");
        });
        acknowledged.append(&mut told.into_inner().expect("no writer panics"));
        next = acknowledged.last().expect("some were acknowledged") + 1;
    }

    let server = Server::start(data.path());
    let (status, body) = server.post("/api/v1/admin/store/flush", &[], b"").expect("an answer");
    assert_eq!(status, 204, "{body}");
    let rows = server.sql("SELECT body, count(*) AS n FROM logs GROUP BY body");
    let found: BTreeMap<&str, i64> = rows
        .iter()
        .map(|row| (row["body"].as_str().unwrap_or(""), row["n"].as_i64().unwrap_or(0)))
        .collect();
    for n in &acknowledged {
        assert_eq!(found.get(n.to_string().as_str()), Some(&1), "record {n}");
    }
    assert!(found.values().all(|n| *n == 1), "a record is there twice");
    assert!(server.stop(), "the server ends well when asked to");
}

fn log_record(n: u64) -> String {
    let at_ns = EPOCH_MS as u64 * 1_000_000 + n;
    serde_json::json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [
        { "timeUnixNano": at_ns.to_string(), "body": { "stringValue": n.to_string() } }
    ] }] }] })
    .to_string()
}

fn request(writer: i64, at_ms: i64) -> Vec<u8> {
    let host = format!("writer-{writer}");
    let mut body = RequestWriter::new(&[("host.name", host.as_str())], "crash-test");
    body.metric(&METRIC);
    for series in 0..SERIES {
        let name = series.to_string();
        let nanos = u64::try_from(at_ms).expect("after 1970") * 1_000_000;
        body.point(&[("series", name.as_str())], 0, nanos, at_ms as f64 + series as f64);
    }
    body.finish()
}
