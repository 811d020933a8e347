//! Queries over rows in files and in memory.

use std::path::Path as StdPath;

use datafusion::prelude::SessionContext;
use store::table::Table;
use store::table::logs::{LogRecord, LogRows};
use store::{Clock, Store, StoreOptions};

use super::*;
use crate::tests::text;
use crate::{SqlEngine, SqlOptions};

/// 2026-01-01T00:00:00Z
const START_NS: i64 = 1_767_225_600_000_000_000;
const HOUR_NS: i64 = 3_600_000_000_000;
const DAY_NS: i64 = 24 * HOUR_NS;

fn open(dir: &StdPath) -> Arc<Store> {
    let options = StoreOptions {
        clock: Clock::fixed((START_NS + 10 * DAY_NS) / 1_000_000),
        background: false,
        ..StoreOptions::default()
    };
    Store::open(dir, options).expect("the directory opens")
}

fn append(store: &Store, at_ns: i64, host: &str, severity: i32, body: &str, device: Option<&str>) {
    let mut rows = LogRows::default();
    let record = LogRecord {
        timestamp_ns: at_ns,
        host: Some(host),
        severity: Some(severity),
        body: Some(body),
        ..LogRecord::default()
    };
    let attributes: Vec<_> = device.iter().map(|id| ("hw.id", (*id).to_owned())).collect();
    rows.push(&record, &attributes, &[]).expect("pushes");
    let rows = rows.finish().expect("rows");
    assert_eq!(store.append_rows(Table::Logs, None, rows).expect("appends").accepted, 1);
}

/// Two days in files, the third in memory.
fn filled(dir: &StdPath) -> Arc<Store> {
    let store = open(dir);
    append(&store, START_NS, "a", 9, "boot", None);
    append(&store, START_NS + 5 * HOUR_NS, "a", 17, "Xid 79", Some("GPU-1"));
    store.flush().expect("flushes");
    append(&store, START_NS + DAY_NS, "b", 17, "Xid 31", Some("GPU-2"));
    append(&store, START_NS + DAY_NS + 1, "b", 13, "slow", None);
    store.flush().expect("flushes");
    append(&store, START_NS + 2 * DAY_NS, "a", 17, "Xid 79", Some("GPU-1"));
    store
}

fn engine() -> SqlEngine {
    SqlEngine::new(SqlOptions {
        threads: 2,
        ..SqlOptions::default()
    })
    .expect("an engine")
}

#[test]
fn rows_of_files_and_of_memory_are_one_table() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, engine) = (filled(dir.path()), engine());
    let check = |sql: &str, expected: &str| {
        let answer = engine.query_blocking(&store, sql);
        let answer = answer.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(text(&answer), expected, "{sql}");
    };
    check(
        "SELECT timestamp, host, body FROM logs ORDER BY timestamp",
        "2026-01-01T00:00:00Z|a|boot
2026-01-01T05:00:00Z|a|Xid 79
2026-01-02T00:00:00Z|b|Xid 31
2026-01-02T00:00:00.000000001Z|b|slow
2026-01-03T00:00:00Z|a|Xid 79",
    );
    check(
        "SELECT host, count(*) FROM logs WHERE severity >= 17 AND body LIKE 'Xid%' GROUP BY host ORDER BY host",
        "a|2\nb|1",
    );
    check("SELECT count(*) FROM logs WHERE attributes['hw.id'] = 'GPU-1'", "2");
    check(
        "SELECT l.body FROM logs l WHERE l.host = 'b' AND l.severity < 17",
        "slow",
    );
    check(
        "SELECT body FROM logs WHERE timestamp = TIMESTAMP '2026-01-02T00:00:00.000000001Z'",
        "slow",
    );
    check(
        "SELECT body FROM logs WHERE timestamp > TIMESTAMP '2026-01-02T00:00:00Z' AND timestamp < TIMESTAMP '2026-01-03T00:00:00Z'",
        "slow",
    );
    check(
        "SELECT count(*) FROM logs WHERE timestamp >= TIMESTAMP '2026-01-04T00:00:00Z'",
        "0",
    );
    check("SELECT attributes FROM logs WHERE body = 'Xid 31'", "{hw.id: GPU-2}");
    check("SELECT count(*) FROM (SELECT body FROM logs LIMIT 3)", "3");
}

#[test]
fn files_outside_of_the_time_asked_for_are_not_opened() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, engine) = (filled(dir.path()), engine());
    let files = |condition: &str| {
        let plan = engine.query_blocking(&store, &format!("EXPLAIN SELECT body FROM logs WHERE {condition}"));
        text(&plan.expect("a plan")).matches(".parquet").count()
    };
    assert_eq!(files("body = 'x'"), 2);
    assert_eq!(files("timestamp < TIMESTAMP '2026-01-01T12:00:00Z'"), 1);
    assert_eq!(
        files("timestamp BETWEEN TIMESTAMP '2026-01-02T00:00:00Z' AND TIMESTAMP '2026-01-02T01:00:00Z'"),
        1
    );
    assert_eq!(files("timestamp >= TIMESTAMP '2026-01-02T12:00:00Z'"), 0);
    assert_eq!(files("timestamp >= TIMESTAMP '2026-01-01T04:00:00Z' AND host = 'a'"), 2);
}

#[tokio::test]
async fn a_plan_reads_its_files_though_a_merge_replaced_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    for hour in 0..4 {
        append(&store, START_NS + hour * HOUR_NS, "a", 9, "x", None);
        store.flush().expect("flushes");
    }
    let (context, snapshot) = (SessionContext::new(), store.table(Table::Logs));
    let paths: Vec<_> = snapshot.files.iter().map(|file| file.path().to_owned()).collect();
    assert_eq!(paths.len(), 4);
    context
        .register_table("logs", Arc::new(AppendedTable { snapshot }))
        .expect("registers");
    let plan = context.sql("SELECT * FROM logs").await.expect("plans");
    let plan = plan.create_physical_plan().await.expect("plans");
    context.deregister_table("logs").expect("deregisters");
    store.compact().expect("merges");
    assert_eq!(store.table(Table::Logs).files.len(), 1);
    let batches = datafusion::physical_plan::collect(Arc::clone(&plan), context.task_ctx())
        .await
        .expect("reads");
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 4);
}

#[test]
fn a_query_that_has_ended_keeps_no_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, engine) = (open(dir.path()), engine());
    for hour in 0..4 {
        append(&store, START_NS + hour * HOUR_NS, "a", 9, "x", None);
        store.flush().expect("flushes");
    }
    let files = store.table(Table::Logs).files;
    let paths: Vec<_> = files.iter().map(|file| file.path().to_owned()).collect();
    drop(files);
    let answer = engine.query_blocking(&store, "SELECT count(*) FROM logs WHERE body = 'x'");
    assert_eq!(text(&answer.expect("an answer")), "4");
    store.compact().expect("merges");
    assert_eq!(store.table(Table::Logs).files.len(), 1);
    // The threads of the query may hold its plan a moment longer than its caller.
    let late = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while paths.iter().any(|path| path.exists()) {
        assert!(
            std::time::Instant::now() < late,
            "files that nobody reads are still there"
        );
        std::thread::yield_now();
    }
}
