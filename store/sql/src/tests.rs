//! Queries over a real store in a temporary directory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use store::{Clock, LabelsBuf, Metadata, MetricKind, Store, StoreOptions};

use crate::{Answer, Query, RowStream, SqlEngine, SqlError, SqlErrorKind, SqlOptions};

/// 2026-01-01T00:00:00Z
const START_MS: i64 = 1_767_225_600_000;

const ENDLESS: &str = "SELECT max(value % 7) FROM generate_series(1, 1000000000000000)";

fn open(dir: &Path) -> Arc<Store> {
    let options = StoreOptions {
        clock: Clock::fixed(START_MS + 86_400_000),
        background: false,
        ..StoreOptions::default()
    };
    Store::open(dir, options).expect("the directory opens")
}

/// Three hosts with a metric by cpu, one with a device; `minutes` samples each, one a minute.
fn fill(store: &Arc<Store>, minutes: i64) -> u64 {
    let mut batch = store.batch();
    let mut labels = LabelsBuf::default();
    for (host, name) in [("a", "host_name"), ("b", "host"), ("c", "instance")] {
        for cpu in ["0", "1"] {
            labels.clear();
            labels.push("__name__", "cpu_seconds_total");
            labels.push(name, if name == "instance" { "c:9100" } else { host });
            labels.push("cpu", cpu);
            let id = batch.series(&mut labels).expect("valid labels");
            for minute in 0..minutes {
                batch.push(id, START_MS + minute * 60_000, minute as f64);
            }
        }
    }
    labels.clear();
    labels.push("__name__", "hw_temperature_celsius");
    labels.push("host_name", "a");
    labels.push("hw_id", "GPU-1");
    let id = batch.series(&mut labels).expect("valid labels");
    batch.push(id, START_MS, 61.5);
    batch.push(id, START_MS + 60_000, store::stale_nan());
    store.append(batch).expect("appends").accepted
}

fn engine() -> SqlEngine {
    SqlEngine::new(SqlOptions {
        threads: 2,
        ..SqlOptions::default()
    })
    .expect("an engine")
}

struct Setup {
    engine: SqlEngine,
    store: Arc<Store>,
    _dir: tempfile::TempDir,
}

impl Setup {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = open(dir.path());
        fill(&store, 10);
        Self {
            engine: engine(),
            store,
            _dir: dir,
        }
    }

    fn query(&self, sql: &str) -> Answer {
        self.engine
            .query_blocking(&self.store, sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Rows as text, columns by `|`, rows by line.
    #[track_caller]
    fn check(&self, sql: &str, expected: &str) {
        assert_eq!(text(&self.query(sql)), expected.trim(), "{sql}");
    }

    /// The line of EXPLAIN that reads the samples.
    fn scan(&self, sql: &str) -> String {
        let plan = text(&self.query(&format!("EXPLAIN {sql}")));
        let line = plan.lines().find(|line| line.contains("SamplesExec")).unwrap_or(&plan);
        line.trim().to_owned()
    }
}

pub(crate) fn text(answer: &Answer) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let mut out = String::new();
    for batch in &answer.batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).expect("formats"))
            .collect();
        for row in 0..batch.num_rows() {
            let row: Vec<_> = columns.iter().map(|column| column.value(row).to_string()).collect();
            out += &row.join("|");
            out.push('\n');
        }
    }
    out.trim_end().to_owned()
}

#[test]
fn samples_have_time_value_and_what_they_are_about() {
    let setup = Setup::new();
    setup.check(
        "SELECT timestamp, value, metric, host, device, labels FROM samples WHERE device IS NOT NULL ORDER BY timestamp",
        "2026-01-01T00:00:00Z|61.5|hw_temperature_celsius|a|GPU-1|{host_name: a, hw_id: GPU-1}
2026-01-01T00:01:00Z|NULL|hw_temperature_celsius|a|GPU-1|{host_name: a, hw_id: GPU-1}",
    );
    setup.check(
        "SELECT host, labels['cpu'] AS cpu, count(*), max(value) FROM samples WHERE metric = 'cpu_seconds_total'
         GROUP BY host, cpu ORDER BY host, cpu",
        "a|0|10|9.0\na|1|10|9.0\nb|0|10|9.0\nb|1|10|9.0\nc|0|10|9.0\nc|1|10|9.0",
    );
    setup.check(
        "SELECT count(*), count(value), count(DISTINCT series) FROM samples",
        "62|61|7",
    );
    setup.check(
        "SELECT date_bin(INTERVAL '5 minutes', timestamp) AS t, sum(value) FROM samples WHERE host = 'b' GROUP BY t ORDER BY t",
        "2026-01-01T00:00:00Z|20.0\n2026-01-01T00:05:00Z|70.0",
    );
}

#[test]
fn a_count_is_what_was_acknowledged_before_and_after_the_store_is_opened_again() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let engine = engine();
    let store = open(dir.path());
    let acknowledged = fill(&store, 300);
    let count = |store: &Arc<Store>| {
        text(
            &engine
                .query_blocking(store, "SELECT count(*) FROM samples")
                .expect("counts"),
        )
    };
    assert_eq!(count(&store), acknowledged.to_string());
    // Nothing is closed in order, as after a kill: what counts is on disk already. DataFusion's own tasks may hold the last query's
    // snapshot for a moment more.
    let held = Arc::downgrade(&store);
    drop(store);
    let given_up = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while held.strong_count() > 0 && std::time::Instant::now() < given_up {
        std::thread::yield_now();
    }
    let store = open(dir.path());
    assert_eq!(count(&store), acknowledged.to_string());
    store.flush().expect("flushes");
    assert_eq!(count(&store), acknowledged.to_string());
    // The same samples once more: the last write wins, and each is there once.
    fill(&store, 300);
    assert_eq!(count(&store), acknowledged.to_string());
    store.compact().expect("compacts");
    assert_eq!(count(&store), acknowledged.to_string());
}

#[test]
fn conditions_are_decided_by_the_store() {
    let setup = Setup::new();
    let check = |condition: &str, expected: &str, rows: &str| {
        let scan = setup.scan(&format!("SELECT value FROM samples WHERE {condition}"));
        assert_eq!(scan, format!("SamplesExec: columns=[value], {expected}"), "{condition}");
        setup.check(&format!("SELECT count(*) FROM samples WHERE {condition}"), rows);
    };
    let minute = |n: i64| START_MS + n * 60_000;
    check(
        "metric = 'hw_temperature_celsius'",
        "series=1, metric = Utf8(\"hw_temperature_celsius\")",
        "2",
    );
    check("host = 'a'", "series=3, host = Utf8(\"a\")", "22");
    check("host = 'c'", "series=2, host = Utf8(\"c\")", "20");
    check("'GPU-1' = device", "series=1, device = Utf8(\"GPU-1\")", "2");
    check(
        "labels['cpu'] = '1'",
        "series=3, get_field(labels, Utf8(\"cpu\")) = Utf8(\"1\")",
        "30",
    );
    check(
        "metric LIKE 'cpu%' AND host <> 'a'",
        "series=4, host != Utf8(\"a\"), metric LIKE Utf8(\"cpu%\")",
        "40",
    );
    check("host = 'nobody'", "series=0, host = Utf8(\"nobody\")", "0");
    check(
        "timestamp >= '2026-01-01T00:08:00Z'",
        &format!("series=6, from={}", minute(8)),
        "12",
    );
    check(
        "timestamp > '2026-01-01T00:01:00Z' AND timestamp <= '2026-01-01T00:03:00Z' AND host = 'b'",
        &format!("series=2, host = Utf8(\"b\"), from={}, to={}", minute(1) + 1, minute(3)),
        "4",
    );
    check(
        "timestamp BETWEEN '2026-01-01T00:01:00Z' AND '2026-01-01T00:03:00Z' AND metric = 'cpu_seconds_total'",
        &format!(
            "series=6, metric = Utf8(\"cpu_seconds_total\"), from={}, to={}",
            minute(1),
            minute(3)
        ),
        "18",
    );
}

#[test]
fn what_the_store_cannot_decide_is_decided_after_it() {
    let setup = Setup::new();
    setup.check("SELECT count(*) FROM samples WHERE value > 7 AND host = 'a'", "5");
    setup.check("SELECT count(*) FROM samples WHERE host = 'b' OR value = 61.5", "21");
    setup.check("SELECT count(*) FROM samples WHERE device IS NULL", "60");
    setup.check("SELECT count(*) FROM samples WHERE labels['cpu'] <> '0'", "30");
    setup.check(
        "SELECT count(*) FROM samples WHERE host IN ('a', 'c') AND labels['cpu'] IN ('0')",
        "20",
    );
    setup.check(
        "SELECT count(*) FROM samples WHERE metric IN (SELECT metric FROM metrics)",
        "0",
    );
    setup.check(
        "SELECT count(*) FROM samples s JOIN series x USING (series) WHERE x.host = 'c' AND s.timestamp < '2026-01-01T00:01:00Z'",
        "2",
    );
}

#[test]
fn only_the_columns_that_are_asked_for_are_made() {
    let setup = Setup::new();
    assert_eq!(
        setup.scan("SELECT count(*) FROM samples"),
        "SamplesExec: columns=[], series=7"
    );
    assert_eq!(
        setup.scan("SELECT timestamp FROM samples LIMIT 3"),
        "SamplesExec: columns=[timestamp], series=7, limit=3"
    );
    setup.check("SELECT count(*) FROM (SELECT 1 FROM samples LIMIT 3)", "3");
    let scan = setup.scan("SELECT max(value) FROM samples WHERE host = 'a'");
    assert!(scan.starts_with("SamplesExec: columns=[value], series=3"), "{scan}");
}

#[test]
fn series_and_metrics_are_tables_too() {
    let setup = Setup::new();
    setup.check(
        "SELECT metric, host, device FROM series WHERE host = 'a' ORDER BY metric LIMIT 1",
        "cpu_seconds_total|a|NULL",
    );
    setup.check("SELECT count(DISTINCT series), count(*) FROM series", "7|7");
    let metadata = Metadata {
        kind: MetricKind::Counter,
        unit: "seconds".into(),
        help: "CPU time".into(),
    };
    setup.store.set_metadata("cpu_seconds_total", metadata);
    setup.check("SELECT * FROM metrics", "cpu_seconds_total|counter|seconds|CPU time");
    setup.check(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
        "audit\nlogs\nmetrics\nrollups\nsamples\nseries",
    );
}

#[test]
fn registered_tables_are_asked_for_their_rows_when_read() {
    let Setup { engine, store, _dir } = Setup::new();
    let schema = Arc::new(Schema::new(vec![
        Field::new("host", DataType::Utf8, false),
        Field::new("open", DataType::Int64, false),
    ]));
    let of = Arc::clone(&schema);
    let rows = move |store: &Arc<Store>| {
        let series = i64::try_from(store.stats().series)?;
        let columns: Vec<arrow::array::ArrayRef> = vec![
            Arc::new(StringArray::from(vec!["a", "b"])),
            Arc::new(Int64Array::from(vec![series, 0])),
        ];
        Ok(vec![RecordBatch::try_new(Arc::clone(&of), columns)?])
    };
    let engine = engine
        .register("incidents", Arc::clone(&schema), Arc::new(rows))
        .register(
            "broken",
            schema,
            Arc::new(|_: &Arc<Store>| Err("the table is being mended".into())),
        );
    let setup = Setup { engine, store, _dir };
    setup.check(
        "SELECT i.host, i.open, count(*) FROM incidents i JOIN samples s ON s.host = i.host GROUP BY 1, 2 ORDER BY 1",
        "a|7|22\nb|0|20",
    );
    let error = setup
        .engine
        .query_blocking(&setup.store, "SELECT * FROM broken")
        .expect_err("it is broken");
    assert_eq!(error.kind(), SqlErrorKind::Execution);
    assert!(error.to_string().contains("being mended"), "{error}");
}

#[test]
fn what_is_no_query_is_refused_with_a_hint() {
    let setup = Setup::new();
    for (sql, kind, part) in [
        ("SELEKT 1", SqlErrorKind::BadData, "SELEKT"),
        ("", SqlErrorKind::BadData, ""),
        ("SELECT 1; SELECT 2", SqlErrorKind::BadData, ""),
        ("SELECT nothing FROM samples", SqlErrorKind::BadData, "nothing"),
        ("SELECT * FROM nowhere", SqlErrorKind::BadData, "nowhere"),
        (
            "SELECT no_such_function(value) FROM samples",
            SqlErrorKind::BadData,
            "no_such_function",
        ),
        ("SELECT * FROM '/etc/passwd'", SqlErrorKind::BadData, ""),
        ("DROP TABLE samples", SqlErrorKind::ReadOnly, ""),
        ("CREATE TABLE t AS SELECT 1", SqlErrorKind::ReadOnly, ""),
        (
            "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '/etc'",
            SqlErrorKind::ReadOnly,
            "",
        ),
        ("INSERT INTO samples SELECT * FROM samples", SqlErrorKind::ReadOnly, ""),
        ("COPY (SELECT 1) TO '/tmp/x.parquet'", SqlErrorKind::ReadOnly, ""),
        ("SET datafusion.execution.batch_size = 1", SqlErrorKind::ReadOnly, ""),
        ("DELETE FROM samples", SqlErrorKind::ReadOnly, ""),
    ] {
        let error = setup.engine.query_blocking(&setup.store, sql).expect_err(sql);
        assert_eq!(error.kind(), kind, "{sql}: {error}");
        assert!(
            error.to_string().contains(part) && error.hint().is_some(),
            "{sql}: {error}"
        );
    }
}

#[test]
fn rows_memory_time_and_text_are_bounded() {
    let Setup { store, _dir, .. } = Setup::new();
    let with = |options| SqlEngine::new(SqlOptions { threads: 2, ..options }).expect("an engine");

    let few = with(SqlOptions {
        rows_max: 5,
        ..SqlOptions::default()
    });
    let answer = few.query_blocking(&store, "SELECT * FROM samples").expect("cut off");
    assert_eq!((answer.rows(), answer.truncated), (5, true));
    let answer = few
        .query_blocking(&store, "SELECT * FROM samples LIMIT 5")
        .expect("fits");
    assert_eq!((answer.rows(), answer.truncated), (5, false));

    let narrow = with(SqlOptions {
        memory_bytes: 1 << 20,
        spill_bytes_max: 1 << 20,
        ..SqlOptions::default()
    });
    let error = narrow
        .query_blocking(&store, "SELECT count(*) FROM generate_series(1, 3000000) a JOIN generate_series(1, 3000000) b ON a.value = b.value")
        .expect_err("more than a megabyte");
    assert_eq!(error.kind(), SqlErrorKind::TooLarge, "{error}");
    // The next query has the memory again.
    assert_eq!(narrow.query_blocking(&store, "SELECT 1").expect("fits").rows(), 1);

    let hasty = with(SqlOptions {
        timeout: Duration::from_millis(50),
        ..SqlOptions::default()
    });
    let error = hasty.query_blocking(&store, ENDLESS).expect_err("too slow");
    assert_eq!(error.kind(), SqlErrorKind::Timeout);

    let error = hasty
        .query_blocking(&store, &"x".repeat(100_000))
        .expect_err("too long");
    assert_eq!(error.kind(), SqlErrorKind::TooLarge);
}

#[test]
fn a_query_that_is_dropped_lets_the_next_one_run() {
    let Setup { store, _dir, .. } = Setup::new();
    let engine = SqlEngine::new(SqlOptions {
        threads: 1,
        queries_max: 1,
        ..SqlOptions::default()
    })
    .expect("an engine");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let query = engine.query(&store, ENDLESS);
        assert!(
            tokio::time::timeout(Duration::from_millis(20), query).await.is_err(),
            "it does not end by itself"
        );
        assert_eq!(
            engine
                .query(&store, "SELECT 1")
                .await
                .expect("the permit is free again")
                .rows(),
            1
        );
    });
}

#[test]
fn a_query_sees_one_snapshot() {
    let setup = Setup::new();
    // Both sides of the join read the same samples, whatever arrives meanwhile.
    let store = Arc::clone(&setup.store);
    let writer = std::thread::spawn(move || {
        for minutes in 11..40 {
            fill(&store, minutes);
        }
    });
    for _ in 0..5 {
        let answer = text(
            &setup.query("SELECT (SELECT count(*) FROM samples) - (SELECT count(*) FROM samples WHERE series >= 0)"),
        );
        assert_eq!(answer, "0");
    }
    writer.join().expect("writes");
}

fn first_batches(rows: &mut RowStream) -> (usize, bool) {
    futures::executor::block_on(async {
        let (mut n, mut batches) = (0, 0);
        while let Some(batch) = rows.next().await {
            n += batch.expect("a batch").num_rows();
            batches += 1;
        }
        (n, batches > 1)
    })
}

#[test]
fn rows_come_as_they_are_found_and_no_further_than_asked() {
    let Setup { engine, store, _dir } = Setup::new();
    let stream = |sql, rows_max| {
        let query = Query {
            rows_max,
            ..Query::new(sql)
        };
        futures::executor::block_on(engine.stream(&store, query)).expect("planned")
    };
    let many = "SELECT value FROM generate_series(1, 50000)";
    let mut rows = stream(many, None);
    assert_eq!(rows.schema().field(0).name(), "value");
    assert_eq!((first_batches(&mut rows), rows.truncated()), ((50_000, true), false));
    let mut rows = stream(many, Some(20_000));
    assert_eq!((first_batches(&mut rows), rows.truncated()), ((20_000, true), true));
    let mut rows = stream(many, Some(50_000));
    assert_eq!((first_batches(&mut rows), rows.truncated()), ((50_000, true), false));
    // Far more than fits into memory, and only the start of it is read.
    let mut rows = stream("SELECT value FROM generate_series(1, 1000000000000)", Some(usize::MAX));
    let first = futures::executor::block_on(rows.next())
        .expect("rows")
        .expect("a batch");
    assert!(first.num_rows() > 0 && rows.schema().field(0).name() == "value");
}

#[test]
fn time_runs_while_nobody_reads() {
    let Setup { store, _dir, .. } = Setup::new();
    let engine = SqlEngine::new(SqlOptions {
        threads: 1,
        queries_max: 1,
        timeout: Duration::from_millis(500),
        ..SqlOptions::default()
    })
    .expect("an engine");
    let endless = Query::new("SELECT value FROM generate_series(1, 1000000000000)");
    let mut rows = futures::executor::block_on(engine.stream(&store, endless)).expect("planned");
    // The next query gets its turn although this one was never read to its end.
    let quick = Query {
        timeout: Some(Duration::MAX),
        ..Query::new("SELECT 1")
    };
    let read = async || {
        let (mut rows, mut n) = (engine.stream(&store, quick).await?, 0);
        while let Some(batch) = rows.next().await {
            n += batch?.num_rows();
        }
        Ok::<_, SqlError>(n)
    };
    let n = loop {
        match futures::executor::block_on(read()) {
            Ok(n) => break n,
            // Waiting for the turn counts, and so does a machine that is busy with other things.
            Err(error) => assert_eq!(error.kind(), SqlErrorKind::Timeout, "{error}"),
        }
    };
    assert_eq!(n, 1);
    let error = futures::executor::block_on(async {
        loop {
            if let Err(error) = rows.next().await.expect("it does not end well") {
                break error;
            }
        }
    });
    assert_eq!(error.kind(), SqlErrorKind::Timeout, "{error}");
}

#[test]
fn what_does_not_fit_into_memory_is_sorted_on_disk_and_leaves_nothing_there() {
    let Setup { store, _dir, .. } = Setup::new();
    let spill = _dir.path().join("spill");
    let left_by_a_crash = spill.join("datafusion-abc");
    std::fs::create_dir_all(&left_by_a_crash).expect("a directory");
    std::fs::write(left_by_a_crash.join("x"), "rows").expect("a file");
    let engine = |spill_bytes_max| {
        SqlEngine::new(SqlOptions {
            threads: 1,
            memory_bytes: 24 << 20,
            spill_dir: Some(spill.clone()),
            spill_bytes_max,
            rows_max: usize::MAX,
            ..SqlOptions::default()
        })
        .expect("an engine")
    };
    let sorted = "SELECT a.value FROM generate_series(1, 2000000) a ORDER BY a.value % 1000, a.value DESC";
    let roomy = engine(1 << 30);
    assert!(!left_by_a_crash.exists(), "what a crash left is swept");
    let plan = text(
        &roomy
            .query_blocking(&store, &format!("EXPLAIN ANALYZE {sorted}"))
            .expect("sorts"),
    );
    assert!(
        plan.contains("spill_count=") && !plan.contains("spill_count=0"),
        "the sort was to spill: {plan}"
    );
    let answer = roomy.query_blocking(&store, sorted).expect("sorts");
    let all: Vec<i64> = answer
        .batches
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec())
        .collect();
    assert_eq!(
        (all.len(), all[0], all[1], all[1_999_999]),
        (2_000_000, 2_000_000, 1_999_000, 999)
    );
    assert!(
        all.windows(2)
            .all(|two| (two[0] % 1000, -two[0]) < (two[1] % 1000, -two[1]))
    );
    drop(roomy);
    let narrow = engine(1 << 20);
    let error = narrow.query_blocking(&store, sorted).expect_err("no room to spill");
    assert_eq!(error.kind(), SqlErrorKind::TooLarge, "{error}");
    let spilled: Vec<_> = walk(&spill);
    assert!(spilled.is_empty(), "spill files are gone with their query: {spilled:?}");
}

/// All files below `dir`.
fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a directory");
    entries
        .map(|entry| entry.expect("an entry").path())
        .flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] })
        .collect()
}

#[test]
fn a_wide_table_has_a_column_a_label_and_one_a_metric() {
    let setup = Setup::new();
    setup.check(
        "SELECT timestamp, cpu, cpu_seconds_total FROM wide('cpu_seconds_total') WHERE host = 'a' AND timestamp < '2026-01-01T00:02:00Z' ORDER BY 1, 2",
        "2026-01-01T00:00:00Z|0|0.0
2026-01-01T00:00:00Z|1|0.0
2026-01-01T00:01:00Z|0|1.0
2026-01-01T00:01:00Z|1|1.0",
    );
    setup.check(
        "SELECT count(*), count(cpu_seconds_total), count(hw_temperature_celsius), count(hw_id) FROM wide('cpu%', 'hw_temperature_celsius')",
        "62|60|1|2",
    );
    setup.check(
        "SELECT DISTINCT host, label_host FROM wide('cpu%') WHERE host = 'b'",
        "b|b",
    );
    for (sql, part) in [
        ("SELECT * FROM wide('nothing')", "no such metric"),
        ("SELECT * FROM wide(1)", "names of metrics as text"),
    ] {
        let error = setup.engine.query_blocking(&setup.store, sql).expect_err(sql);
        assert_eq!(error.kind(), SqlErrorKind::BadData, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_view_is_a_table_whose_conditions_reach_the_samples() {
    let Setup { engine, store, _dir } = Setup::new();
    let engine = engine.register_view(
        "warm",
        "SELECT timestamp, host, value AS celsius FROM samples WHERE metric = 'hw_temperature_celsius'",
    );
    let setup = Setup { engine, store, _dir };
    setup.check("SELECT host, max(celsius) FROM warm GROUP BY host", "a|61.5");
    let scan = setup.scan("SELECT celsius FROM warm WHERE host = 'b'");
    assert!(scan.contains("series=0"), "{scan}");
    setup.check(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
        "audit\nlogs\nmetrics\nrollups\nsamples\nseries\nwarm",
    );
    let error = SqlEngine::new(SqlOptions::default())
        .expect("an engine")
        .register_view("broken", "SELECT nothing FROM samples")
        .query_blocking(&setup.store, "SELECT * FROM broken")
        .expect_err("there is no such column");
    assert_eq!(error.kind(), SqlErrorKind::BadData);
}

#[test]
fn rollups_are_a_table_and_samples_shows_what_was_kept() {
    const DAY_MS: i64 = 86_400_000;
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    fill(&store, 60);
    store.flush().expect("flushes");
    drop(store);
    let options = StoreOptions {
        clock: Clock::fixed(START_MS + 4 * DAY_MS),
        background: false,
        retention_ms: Some(2 * DAY_MS),
        rollups: store::RollupOptions {
            five_minutes_ms: Some(30 * DAY_MS),
            hour_ms: None,
        },
        ..StoreOptions::default()
    };
    let store = Store::open(dir.path(), options).expect("the directory opens");
    store.compact().expect("rolls up");
    let check = |sql: &str, expected: &str| {
        let answer = engine().query_blocking(&store, sql).expect("rows");
        assert_eq!(text(&answer), expected, "{sql}");
    };
    check(
        "SELECT count(*), sum(count), min(min), max(max), min(resolution_seconds) FROM rollups WHERE host = 'a' AND metric = 'cpu_seconds_total'",
        "26|120|0.0|59.0|300",
    );
    check(
        "SELECT labels['cpu'], count, sum, min, max FROM rollups WHERE metric = 'cpu_seconds_total' AND host = 'b'
         AND timestamp > '2026-01-01T00:10:00Z' AND timestamp <= '2026-01-01T00:15:00Z' ORDER BY 1",
        "0|5|65.0|11.0|15.0\n1|5|65.0|11.0|15.0",
    );
    check(
        "SELECT count(*), max(value) FROM samples WHERE host = 'c' AND labels['cpu'] = '1'",
        "13|59.0",
    );
    check(
        "SELECT count(*) FROM rollups WHERE timestamp > '2026-01-03T00:00:00Z'",
        "0",
    );
}
