//! Rows in, rows out: through kills, flushes, merges and a lost manifest.

use std::fs;
use std::path::PathBuf;

use arrow::array::AsArray;

use super::logs::{LogRecord, LogRows};
use super::*;
use crate::{Clock, LabelsBuf, Store, StoreOptions};

/// 2026-01-01T00:00:00Z
const START_NS: i64 = 1_767_225_600_000_000_000;
const HOUR_NS: i64 = 3_600_000_000_000;
const DAY_MS: i64 = 86_400_000;

fn open_at(dir: &Path, now_ms: i64, retention_ms: Option<i64>) -> Arc<Store> {
    let options = StoreOptions {
        clock: Clock::fixed(now_ms),
        background: false,
        retention_ms,
        ..StoreOptions::default()
    };
    Store::open(dir, options).expect("opens")
}

fn open(dir: &Path) -> Arc<Store> {
    open_at(dir, START_NS / 1_000_000 + DAY_MS, None)
}

/// Records that say `texts`, an hour apart from `start_ns` on.
pub(crate) fn rows(start_ns: i64, texts: &[&str]) -> RecordBatch {
    let mut rows = LogRows::default();
    for (i, text) in texts.iter().enumerate() {
        let record = LogRecord {
            timestamp_ns: start_ns + i as i64 * HOUR_NS,
            body: Some(text),
            ..LogRecord::default()
        };
        let host = ("host.name".to_owned(), "a".to_owned());
        rows.push(&record, &[("n", i.to_string())], &[host]).expect("pushes");
    }
    rows.finish().expect("rows")
}

/// Whether the batch was a duplicate.
fn append(store: &Store, id: Option<&str>, rows: RecordBatch) -> bool {
    let rows_sent = rows.num_rows() as u64;
    let appended = store.append_rows(Table::Logs, id, rows).expect("appends");
    assert_eq!((appended.accepted, appended.too_far_ahead), (rows_sent, 0));
    appended.duplicate
}

/// The bodies of all records, in the order of time.
pub(crate) fn bodies(store: &Store) -> Vec<String> {
    let snapshot = store.table(Table::Logs);
    let mut batches = snapshot.rows.clone();
    for file in &snapshot.files {
        let rows = file::read(file.path()).expect("opens");
        batches.extend(rows.map(|batch| batch.expect("reads")));
    }
    let mut all: Vec<(i64, String)> = Vec::new();
    for batch in &batches {
        let times = batch
            .column(0)
            .as_primitive::<arrow::datatypes::TimestampNanosecondType>();
        let texts = batch.column_by_name("body").expect("a column").as_string::<i32>();
        all.extend((0..batch.num_rows()).map(|i| (times.value(i), texts.value(i).to_owned())));
    }
    all.sort();
    all.into_iter().map(|(_, text)| text).collect()
}

#[test]
fn acknowledged_rows_are_there_after_a_kill_a_flush_and_a_merge() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    append(&store, None, rows(START_NS, &["one", "three"]));
    append(&store, None, rows(START_NS + HOUR_NS / 2, &["two", "four"]));
    let all = ["one", "two", "three", "four"];
    assert_eq!(bodies(&store), all);
    // Nothing is closed in order, as after a kill.
    drop(store);
    let store = open(dir.path());
    assert_eq!(
        (bodies(&store), store.open_report().replayed_rows),
        (all.map(str::to_owned).to_vec(), 4)
    );
    store.flush().expect("flushes");
    assert_eq!(
        (bodies(&store), store.table(Table::Logs).files.len()),
        (all.map(str::to_owned).to_vec(), 1)
    );
    drop(store);
    let store = open(dir.path());
    assert_eq!(
        (bodies(&store), store.open_report().replayed_rows),
        (all.map(str::to_owned).to_vec(), 0)
    );
    for hour in 4..8 {
        append(&store, None, rows(START_NS + hour * HOUR_NS, &["later"]));
        store.flush().expect("flushes");
    }
    assert_eq!(store.table(Table::Logs).files.len(), 5);
    let before = store.table(Table::Logs);
    store.compact().expect("merges");
    assert_eq!((store.table(Table::Logs).files.len(), bodies(&store).len()), (1, 8));
    // Who reads the files that were merged reads on; then they go.
    assert!(before.files.iter().all(|file| file.path().exists()));
    let merged: Vec<_> = before.files.iter().map(|file| file.path().to_owned()).collect();
    drop(before);
    assert!(merged.iter().all(|path| !path.exists()));
}

#[test]
fn a_batch_that_comes_twice_counts_once_also_after_a_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let batch = || rows(START_NS, &["x"]);
    let store = open(dir.path());
    assert!(!append(&store, Some("agent-1/7"), batch()));
    assert!(append(&store, Some("agent-1/7"), batch()));
    assert!(!append(&store, Some("agent-1/8"), batch()));
    drop(store);
    let store = open(dir.path());
    // What only the WAL knows is not acknowledged again before it is in a file.
    assert_eq!(store.table(Table::Logs).files.len(), 0);
    assert!(append(&store, Some("agent-1/7"), batch()));
    assert_eq!(store.table(Table::Logs).files.len(), 1);
    drop(store);
    let store = open(dir.path());
    assert!(append(&store, Some("agent-1/8"), batch()));
    assert!(!append(&store, None, batch()));
    assert!(!append(&store, None, batch()));
    assert_eq!(bodies(&store).len(), 4);
}

#[test]
fn files_hold_a_day_each_and_go_when_they_are_old() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open_at(dir.path(), START_NS / 1_000_000 + 3 * DAY_MS, Some(2 * DAY_MS));
    append(
        &store,
        None,
        rows(START_NS + 23 * HOUR_NS, &["first day", "second day"]),
    );
    store.flush().expect("flushes");
    let days: Vec<_> = store
        .table(Table::Logs)
        .files
        .iter()
        .map(|f| f.time_range_ns())
        .collect();
    assert_eq!(
        days,
        [
            (START_NS + 23 * HOUR_NS, START_NS + 23 * HOUR_NS),
            (START_NS + 24 * HOUR_NS, START_NS + 24 * HOUR_NS)
        ]
    );
    store.maintain_now().expect("drops");
    assert_eq!(bodies(&store), ["second day"]);
    drop(store);
    assert_eq!(bodies(&open(dir.path())), ["second day"]);
}

#[test]
fn a_lost_manifest_costs_no_row_and_doubles_none() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    for hour in 0..4 {
        append(&store, None, rows(START_NS + hour * HOUR_NS, &["flushed"]));
        store.flush().expect("flushes");
    }
    store.compact().expect("merges");
    append(&store, None, rows(START_NS + 5 * HOUR_NS, &["in the WAL"]));
    drop(store);
    let manifest = dir.path().join("manifest.json");
    fs::remove_file(&manifest).expect("there is one");
    let store = open(dir.path());
    let four = ["flushed"; 4];
    assert_eq!(bodies(&store), [&four[..], &["in the WAL"]].concat());
    // What comes now is not taken for what the files hold, with or without a manifest.
    append(&store, None, rows(START_NS + 6 * HOUR_NS, &["later"]));
    let all = [&four[..], &["in the WAL", "later"]].concat();
    drop(store);
    let store = open(dir.path());
    assert_eq!(bodies(&store), all);
    store.flush().expect("flushes");
    drop(store);
    fs::remove_file(&manifest).expect("there is one");
    assert_eq!(bodies(&open(dir.path())), all);
}

#[test]
fn a_lost_manifest_after_every_segment_went_does_not_swallow_new_rows() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    append(&store, None, rows(START_NS, &["flushed"]));
    store.flush().expect("flushes");
    drop(store);
    fs::remove_file(dir.path().join("manifest.json")).expect("there is one");
    let store = open(dir.path());
    append(&store, None, rows(START_NS + HOUR_NS, &["later"]));
    drop(store);
    assert_eq!(bodies(&open(dir.path())), ["flushed", "later"]);
}

#[test]
fn of_a_flush_that_was_not_finished_the_wal_counts() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    append(
        &store,
        None,
        rows(START_NS + 23 * HOUR_NS, &["first day", "second day"]),
    );
    let wal = dir.path().join("wal");
    let segments: Vec<_> = fs::read_dir(&wal)
        .expect("a folder")
        .map(|e| e.expect("an entry").path())
        .collect();
    let kept: Vec<_> = segments
        .iter()
        .map(|path| (path, fs::read(path).expect("a segment")))
        .collect();
    store.flush().expect("flushes");
    let files: Vec<_> = store
        .table(Table::Logs)
        .files
        .iter()
        .map(|file| file.path().to_owned())
        .collect();
    assert_eq!(files.len(), 2);
    drop(store);
    // As if it had died between its files, before its commit.
    fs::remove_file(dir.path().join("manifest.json")).expect("there is one");
    fs::remove_file(&files[1]).expect("the second day");
    kept.iter()
        .for_each(|(path, bytes)| fs::write(path, bytes).expect("writes"));
    let store = open(dir.path());
    assert_eq!(bodies(&store), ["first day", "second day"]);
    assert!(!files[0].exists(), "what was not committed is swept");
}

#[test]
fn a_sender_with_strange_times_makes_no_thousand_files() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    for day in 0..50 {
        let text = day.to_string();
        append(&store, None, rows(START_NS - day * 24 * HOUR_NS, &[&text]));
    }
    store.flush().expect("flushes");
    assert_eq!(store.table(Table::Logs).files.len(), 32);
    let all: Vec<String> = (0..50).rev().map(|day| day.to_string()).collect();
    assert_eq!(bodies(&store), all);
    drop(store);
    fs::remove_file(dir.path().join("manifest.json")).expect("there is one");
    assert_eq!(bodies(&open(dir.path())), all);
}

#[test]
fn a_merge_keeps_the_order_of_time_over_many_batches() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut expected = Vec::new();
    for file in 0..5 {
        let mut batch = LogRows::default();
        for i in 0..3000 {
            // Interleaved, so that each file gives one row after the other.
            let at = i * 5 + file;
            let text = at.to_string();
            let record = LogRecord {
                timestamp_ns: START_NS + at,
                body: Some(&text),
                ..LogRecord::default()
            };
            batch.push(&record, &[], &[]).expect("pushes");
            expected.push((at, text));
        }
        append(&store, None, batch.finish().expect("rows"));
        store.flush().expect("flushes");
    }
    store.compact().expect("merges");
    let snapshot = store.table(Table::Logs);
    let [merged] = snapshot.files.as_slice() else {
        panic!("{snapshot:?}")
    };
    let mut times = Vec::new();
    for batch in file::read(merged.path()).expect("opens") {
        let batch = batch.expect("reads");
        let column = batch
            .column(0)
            .as_primitive::<arrow::datatypes::TimestampNanosecondType>();
        times.extend_from_slice(column.values());
    }
    assert!(times.is_sorted() && times.len() == 15_000);
    expected.sort();
    let expected: Vec<String> = expected.into_iter().map(|(_, text)| text).collect();
    assert_eq!(bodies(&store), expected);
}

#[test]
fn damage_costs_one_file_and_leftovers_are_swept() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    append(&store, None, rows(START_NS, &["lost"]));
    store.flush().expect("flushes");
    append(&store, None, rows(START_NS + HOUR_NS, &["kept"]));
    store.flush().expect("flushes");
    let damaged = store.table(Table::Logs).files[0].path().to_owned();
    drop(store);
    let half = fs::read(&damaged).expect("a file");
    fs::write(&damaged, &half[..half.len() / 2]).expect("writes");
    let stray = damaged.with_file_name("logs-99999999.parquet");
    fs::write(&stray, "left by a crash").expect("writes");
    let store = open(dir.path());
    assert_eq!(bodies(&store), ["kept"]);
    let aside = PathBuf::from(format!("{}.quarantined", damaged.display()));
    assert_eq!(store.open_report().damaged_parts, [aside]);
    assert!(!stray.exists());
}

#[test]
fn a_flipped_bit_is_found_and_repaired_and_the_others_stay() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    append(&store, None, rows(START_NS, &["lost", "lost"]));
    store.flush().expect("flushes");
    append(&store, None, rows(START_NS + HOUR_NS, &["kept"]));
    store.flush().expect("flushes");
    append(&store, None, rows(START_NS + 2 * HOUR_NS, &["in the WAL"]));
    let damaged = store.table(Table::Logs).files[0].path().to_owned();
    drop(store);
    let found = crate::verify(dir.path()).expect("reads");
    assert!(found.is_clean(), "{found}");
    assert_eq!((found.table_files, found.rows, found.wal_rows), (2, 3, 1));
    let [summary] = &crate::inspect(dir.path()).expect("reads").tables[..] else {
        panic!("one table")
    };
    assert_eq!((summary.table.as_str(), summary.files, summary.rows), ("logs", 2, 3));

    let mut bytes = fs::read(&damaged).expect("a file");
    bytes[100] ^= 1;
    fs::write(&damaged, bytes).expect("writes");
    let found = crate::verify(dir.path()).expect("reads");
    let [problem] = &found.problems[..] else {
        panic!("{found}")
    };
    assert_eq!((&problem.path, found.rows), (&damaged, 1));
    assert!(problem.what.contains("checksum"), "{found}");
    let done = crate::repair(dir.path()).expect("repairs");
    let [repaired] = &done.tables[..] else {
        panic!("{done:?}")
    };
    assert_eq!(repaired.rows, 2);
    assert_eq!(bodies(&open(dir.path())), ["kept", "in the WAL"]);
}

#[test]
fn a_backup_has_the_rows_of_files_and_of_the_wal() {
    let dir = tempfile::tempdir().expect("a directory");
    let tenants = crate::Tenants::open(
        &dir.path().join("data"),
        StoreOptions {
            clock: Clock::fixed(START_NS / 1_000_000 + DAY_MS),
            background: false,
            ..StoreOptions::default()
        },
    )
    .expect("opens");
    let store = tenants.get_or_create("default").expect("a tenant");
    append(&store, None, rows(START_NS, &["in a file"]));
    store.flush().expect("flushes");
    append(&store, Some("x"), rows(START_NS + HOUR_NS, &["in the WAL"]));
    let backup = dir.path().join("backup");
    tenants.backup(&backup, &[], 0, &mut |_, _| {}).expect("backs up");
    append(&store, None, rows(START_NS + HOUR_NS, &["later"]));
    let other = dir.path().join("other");
    crate::restore(&backup, &other, &[], &mut |_, _| {}).expect("restores");
    let restored = open(&other.join("tenants/default"));
    assert_eq!(bodies(&restored), ["in a file", "in the WAL"]);
    assert!(append(&restored, Some("x"), rows(START_NS + HOUR_NS, &["in the WAL"])));
}

#[test]
fn rows_and_samples_share_the_log_and_each_comes_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let (mut batch, mut labels) = (store.batch(), LabelsBuf::default());
    labels.push("__name__", "up");
    let up = batch.series(&mut labels).expect("labels");
    batch.push(up, START_NS / 1_000_000, 1.0);
    append(&store, None, rows(START_NS, &["between"]));
    store.append(batch).expect("appends");
    drop(store);
    let store = open(dir.path());
    assert_eq!(
        (store.open_report().replayed_samples, store.open_report().replayed_rows),
        (1, 1)
    );
    assert_eq!(store.stats().rows, 1);
}

#[test]
fn rows_of_other_columns_and_batches_without_bound_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let wrong = rows(START_NS, &["x"]).project(&[0]).expect("a column");
    let error = store
        .append_rows(Table::Logs, None, wrong)
        .expect_err("too few columns");
    assert_eq!(error.kind(), crate::ErrorKind::Invalid, "{error}");
    let huge = "x".repeat(BATCH_BYTES_MAX);
    let error = store
        .append_rows(Table::Logs, None, rows(START_NS, &[&huge]))
        .expect_err("too large");
    assert!(error.to_string().contains("the limit is"), "{error}");
    assert!(bodies(&store).is_empty());
}

#[test]
fn rows_far_ahead_of_the_clock_are_not_taken() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    // The clock stands at 24 hours after the start.
    let sent = rows(START_NS + 23 * HOUR_NS, &["past", "now", "ahead"]);
    let appended = store.append_rows(Table::Logs, Some("x"), sent).expect("appends");
    assert_eq!((appended.accepted, appended.too_far_ahead), (2, 1));
    assert_eq!(bodies(&store), ["past", "now"]);
}

#[test]
fn many_small_batches_become_few() {
    let mut memory = Memory::default();
    for _ in 0..10_000 {
        memory.push(rows(START_NS, &["x", "y"]), 10);
    }
    assert_eq!((memory.rows(), memory.bytes()), (20_000, 100_000));
    assert!(memory.batches().len() < 20, "{}", memory.batches().len());
    assert_eq!(
        memory.batches().iter().map(RecordBatch::num_rows).sum::<usize>(),
        20_000
    );
}
