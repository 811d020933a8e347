//! `foreshock store` on a data directory and against a running server.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::server::Server;

/// 2026-01-01, milliseconds.
const AT: i64 = 1_767_225_600_000;

pub(crate) fn foreshock(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_foreshock"))
        .args(["--log", "warn"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary under test runs")
}

/// Standard output of a command that ends well.
pub(crate) fn ok(arguments: &[&str]) -> String {
    let done = foreshock(arguments);
    let (out, err) = (
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    assert!(done.status.success(), "{arguments:?}: {out} {err}");
    out.into_owned()
}

/// Standard error of a command that fails.
pub(crate) fn fails(arguments: &[&str]) -> String {
    let done = foreshock(arguments);
    assert!(!done.status.success(), "{arguments:?} ended well");
    String::from_utf8_lossy(&done.stderr).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn lines() -> String {
    let series = |host: &str, value: f64| {
        format!(
            "{{\"metric\":{{\"__name__\":\"up\",\"host\":\"{host}\"}},\"values\":[{value},null],\"timestamps\":[{AT},{}]}}\n",
            AT + 15_000
        )
    };
    series("a", 0.1) + &series("b", -1e-7)
}

#[test]
fn what_is_imported_is_exported_again_in_every_format() {
    let dir = tempfile::tempdir().expect("a directory");
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let input = dir.path().join("input.jsonl");
    std::fs::write(&input, lines()).expect("a file");
    assert_eq!(
        ok(&["store", "import", "--data", text(&first), text(&input)]),
        "4 of 4 samples imported\n"
    );
    // Once more changes nothing.
    ok(&["store", "import", "--data", text(&first), text(&input)]);
    for format in ["jsonl", "parquet"] {
        let out = dir.path().join(format!("out.{format}"));
        ok(&["store", "export", "--data", text(&first), "--out", text(&out)]);
        let tenant = format!("from-{format}");
        ok(&[
            "store",
            "import",
            "--data",
            text(&second),
            "--tenant",
            &tenant,
            text(&out),
        ]);
        let back = ok(&[
            "store",
            "export",
            "--data",
            text(&second),
            "--tenant",
            &tenant,
            "--out",
            "-",
            "--format",
            "jsonl",
        ]);
        assert_eq!(back, lines(), "{format}");
    }
    assert_eq!(
        ok(&[
            "store",
            "export",
            "--data",
            text(&first),
            "--out",
            "-",
            "--format",
            "openmetrics",
            "--match",
            "{host=~\"b|c\"}",
            "--from",
            "2026-01-01T00:00:00Z",
            "--to",
            "1767225600.5"
        ]),
        "up{host=\"b\"} -0.0000001 1767225600.000\n# EOF\n"
    );
    let error = fails(&["store", "export", "--data", text(&first), "--out", text(&input)]);
    assert!(error.contains("an export never overwrites"), "{error}");
    assert_eq!(std::fs::read_to_string(&input).expect("still there"), lines());
    let error = fails(&[
        "store",
        "export",
        "--data",
        text(&first),
        "--tenant",
        "nobody",
        "--out",
        "-",
        "--format",
        "jsonl",
    ]);
    assert!(error.contains("holds no tenant \"nobody\""), "{error}");
}

#[test]
fn what_cannot_be_imported_is_told_and_the_command_fails() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let input = dir.path().join("dump.txt");
    std::fs::write(&input, format!("up 1 {AT}\nnonsense\n")).expect("a file");
    let error = fails(&["store", "import", "--data", text(&data), text(&input)]);
    assert!(error.contains("say --format openmetrics"), "{error}");
    let error = fails(&[
        "store",
        "import",
        "--data",
        text(&data),
        "--format",
        "prometheus",
        text(&input),
    ]);
    assert!(
        error.contains("line 2: it has no value") && error.contains("1 lines could not be read"),
        "{error}"
    );
    // What could be read is there.
    let out = ok(&[
        "store",
        "export",
        "--data",
        text(&data),
        "--out",
        "-",
        "--format",
        "prometheus",
    ]);
    assert_eq!(out, format!("up 1 {AT}\n"));
}

#[test]
fn a_running_server_is_asked_and_its_directory_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let input = dir.path().join("input.jsonl");
    std::fs::write(&input, lines()).expect("a file");
    let server = Server::start(&data);
    let error = fails(&["store", "import", "--data", text(&data), text(&input)]);
    assert!(error.contains("--server http://"), "{error}");
    assert_eq!(
        ok(&["store", "import", "--server", &server.url, text(&input)]),
        "4 of 4 samples imported\n"
    );
    let back = ok(&[
        "store",
        "export",
        "--server",
        &server.url,
        "--match",
        "up",
        "--out",
        "-",
        "--format",
        "jsonl",
    ]);
    assert_eq!(back, lines());
    let out = dir.path().join("out.parquet");
    ok(&[
        "store",
        "export",
        "--server",
        &server.url,
        "--match",
        "up",
        "--out",
        text(&out),
    ]);
    assert!(server.stop(), "the server ends well");
    let other = dir.path().join("other");
    ok(&["store", "import", "--data", text(&other), text(&out)]);
    let back = ok(&[
        "store",
        "export",
        "--data",
        text(&other),
        "--out",
        "-",
        "--format",
        "jsonl",
    ]);
    assert_eq!(back, lines());
}

#[test]
fn a_running_server_is_backed_up_and_the_backup_restored() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let input = dir.path().join("input.jsonl");
    std::fs::write(&input, lines()).expect("a file");
    let server = Server::start(&data);
    ok(&["store", "import", "--server", &server.url, text(&input)]);
    let told = ok(&["store", "backup", "--server", &server.url]);
    let backup = told.split(": ").next().expect("a path");
    let (status, body) = server.post("/api/v1/admin/tsdb/snapshot", &[], b"").expect("an answer");
    // In the same second there is one of that name already.
    assert!(
        (status == 200 && body.contains("\"name\":\"2")) || (status == 409 && body.contains("exists already")),
        "{status} {body}"
    );
    drop(server);
    let to = dir.path().join("to");
    ok(&["store", "restore", "--from", backup, "--data", text(&to)]);
    let back = ok(&[
        "store",
        "export",
        "--data",
        text(&to),
        "--match",
        "up",
        "--out",
        "-",
        "--format",
        "jsonl",
    ]);
    assert_eq!(back, lines());
    let error = fails(&["store", "restore", "--from", backup, "--data", text(&to)]);
    assert!(error.contains("holds a tenant \"default\" already"), "{error}");
    // Without a server, into a directory that is named.
    let offline = dir.path().join("offline");
    ok(&["store", "backup", "--data", text(&to), "--out", text(&offline)]);
    let again = dir.path().join("again");
    ok(&[
        "store",
        "restore",
        "--from",
        text(&offline),
        "--data",
        text(&again),
        "--tenant",
        "default",
    ]);
    let back = ok(&[
        "store",
        "export",
        "--data",
        text(&again),
        "--match",
        "up",
        "--out",
        "-",
        "--format",
        "jsonl",
    ]);
    assert_eq!(back, lines());
}

#[test]
fn what_is_deleted_stays_deleted_after_sigkill() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let input = dir.path().join("input.jsonl");
    std::fs::write(&input, lines()).expect("a file");
    // Its samples are older than what is kept by default.
    let server = Server::start_with(&data, &["--retention-days", "0"]);
    ok(&["store", "import", "--server", &server.url, text(&input)]);
    ok(&["store", "delete", "--server", &server.url, "--match", "up{host=\"a\"}"]);
    let left = |server: &Server| {
        let count = server.sql("SELECT count(*) AS n FROM samples WHERE metric = 'up' AND host = 'a'")[0]["n"].as_i64();
        let (status, promql) = server
            .post("/api/v1/query?query=up%7Bhost%3D%22a%22%7D%5B10000d%5D", &[], b"")
            .expect("an answer");
        assert_eq!(status, 200, "{promql}");
        (count, promql.contains("\"result\":[]"))
    };
    assert_eq!(left(&server), (Some(0), true));
    rustix::process::kill_process(server.pid(), rustix::process::Signal::KILL).expect("the server can be killed");
    drop(server);
    let server = Server::start_with(&data, &["--retention-days", "0"]);
    assert_eq!(left(&server), (Some(0), true));
    assert!(server.stop(), "the server ends well");
    let told = ok(&[
        "store",
        "delete",
        "--data",
        text(&data),
        "--match",
        "{host=\"b\"}",
        "--to",
        "2026-01-01T00:00:00Z",
        "--clean",
    ]);
    assert_eq!(told, "deleted from 1 series\n");
    let back = ok(&[
        "store",
        "export",
        "--data",
        text(&data),
        "--match",
        "up",
        "--out",
        "-",
        "--format",
        "jsonl",
    ]);
    let line = format!(
        "{{\"metric\":{{\"__name__\":\"up\",\"host\":\"b\"}},\"values\":[null],\"timestamps\":[{}]}}\n",
        AT + 15_000
    );
    assert_eq!(back, line);
}

#[test]
fn what_is_too_old_is_rolled_up_where_the_configuration_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let (data, config) = (dir.path().join("data"), dir.path().join("foreshock.toml"));
    let input = dir.path().join("input.jsonl");
    std::fs::write(&input, lines()).expect("a file");
    ok(&["store", "import", "--data", text(&data), text(&input)]);

    let with = |keys: &str| {
        let text = format!("[store]\nretention_days = 30\n[store.rollups]\n{keys}\n");
        std::fs::write(&config, text).expect("a file");
    };
    for (keys, says) in [
        (
            "hour_days = 30",
            "store.rollups.hour_days must be more than retention_days (30)",
        ),
        (
            "hour_days = 100\nfive_minutes_days = 100",
            "store.rollups.hour_days must be more than five_minutes_days",
        ),
        ("hours = 100", "unknown field `hours`"),
    ] {
        with(keys);
        let said = fails(&["serve", "--config", text(&config), "--data", text(&data)]);
        assert!(said.contains(says), "{keys}: {said}");
    }

    with("hour_days = 36500");
    let server = Server::start_with(&data, &["--config", text(&config)]);
    let (status, said) = server.post("/api/v1/admin/store/compact", &[], b"").expect("an answer");
    assert_eq!(status, 204, "{said}");
    let rows = server.sql("SELECT host, count, min, resolution_seconds FROM rollups WHERE metric = 'up' ORDER BY host");
    let hours = |host: &str, value: f64| serde_json::json!({"host": host, "count": 1, "min": value, "resolution_seconds": 3600});
    assert_eq!(rows, [hours("a", 0.1), hours("b", -1e-7)]);
    let at = (AT / 1000).to_string();
    let answer = server.get(
        "/api/v1/query",
        &[("query", "count_over_time(up{host=\"a\"}[1h])"), ("time", &at)],
    );
    assert_eq!(answer["data"]["result"][0]["value"][1], "1", "{answer}");
    assert!(
        answer["infos"][0]
            .as_str()
            .expect("an info")
            .contains("rollups of 60 min"),
        "{answer}"
    );
    // What could count twice is refused, and the sender hears why.
    let (status, said) = server
        .post("/api/v1/import", &[], lines().as_bytes())
        .expect("an answer");
    assert!(said.contains("rolled up"), "{status}: {said}");
    assert!(server.stop(), "the server ends well");
    let said = ok(&["store", "verify", "--data", text(&data)]);
    assert!(said.contains("4 buckets in 1 parts of rollups"), "{said}");
    let said = ok(&["store", "inspect", "--data", text(&data)]);
    assert!(said.contains("rollups of 60 min: 1 parts, 4 buckets, "), "{said}");
}
