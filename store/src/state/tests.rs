use super::*;

fn check(runs: &[&[&str]], expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.sqlite");
    let mut seen = Vec::new();
    for steps in runs {
        // Opened anew each time: what a run left is on disk.
        let state = State::open(&path).unwrap();
        seen.push(match state.migrate("book", steps) {
            Ok(()) => "ok".to_owned(),
            Err(StateError::Migration { step, .. }) => format!("differs at {step}"),
            Err(StateError::Sqlite { .. }) => "failed".to_owned(),
        });
    }
    let state = State::open(&path).unwrap();
    let rows: i64 = state
        .with(|c| c.query_row("SELECT count(*) FROM t", [], |r| r.get(0)))
        .unwrap_or(-1);
    assert_eq!(format!("{}; {rows} rows", seen.join(", ")), expected);
}

const CREATE: &str = "CREATE TABLE t (x INTEGER)";
const INSERT: &str = "INSERT INTO t VALUES (1)";

#[test]
fn each_step_runs_once() {
    check(&[&[CREATE], &[CREATE, INSERT], &[CREATE, INSERT]], "ok, ok, ok; 1 rows");
}

#[test]
fn a_failed_step_undoes_the_ones_before_it() {
    check(&[&[CREATE, INSERT, "no sql"], &[CREATE, INSERT]], "failed, ok; 1 rows");
}

#[test]
fn changed_and_missing_steps_are_refused() {
    check(
        &[&[CREATE, INSERT], &[CREATE, "DELETE FROM t"], &[CREATE]],
        "ok, differs at 2, differs at 2; 1 rows",
    );
}

#[test]
fn components_do_not_share_steps() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(&dir.path().join("state.sqlite")).unwrap();
    state.migrate("a", &["CREATE TABLE a (x INTEGER)"]).unwrap();
    state.migrate("b", &["CREATE TABLE b (x INTEGER)"]).unwrap();
    assert_eq!(
        state
            .with(|c| c.query_row("SELECT count(*) FROM migration", [], |r| r.get::<_, i64>(0)))
            .unwrap(),
        2
    );
}

#[test]
fn it_is_synchronous_and_in_wal_mode() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(&dir.path().join("state.sqlite")).unwrap();
    let mode: String = state
        .with(|c| c.query_row("PRAGMA journal_mode", [], |r| r.get(0)))
        .unwrap();
    let synchronous: i64 = state
        .with(|c| c.query_row("PRAGMA synchronous", [], |r| r.get(0)))
        .unwrap();
    assert_eq!((mode.as_str(), synchronous), ("wal", 2));
}

#[test]
fn a_file_that_is_no_database_says_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.sqlite");
    std::fs::write(
        &path,
        "no database, but long enough to be looked at as one by SQLite".repeat(20),
    )
    .unwrap();
    let error = State::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.hint().is_some());
}
