//! What to make of a clock that goes back.

use rusqlite::{OptionalExtension, Transaction, params};

/// How much a clock may go back before what is due is moved with it, and how often its time is noted.
const SLACK_MS: i64 = 60_000;

/// Every time that lies ahead, or that others are counted from.
const TIMES: [&str; 5] = [
    "UPDATE notify_group SET flush_ms = flush_ms - ?1",
    "UPDATE notify_told SET sent_ms = sent_ms - ?1",
    "UPDATE notify_outbox SET created_ms = created_ms - ?1, due_ms = due_ms - ?1",
    "UPDATE notify_hold SET until_ms = until_ms - ?1",
    "UPDATE notify_climb SET told_ms = told_ms - ?1, due_ms = due_ms - ?1",
];

/// Notes what time it is. Where the clock was set back since the last time, so is all that is due: it would wait for as long as the
/// clock was ahead otherwise. Answers by how many milliseconds, where it was.
pub(in crate::notify) fn keep_time(transaction: &Transaction<'_>, now_ms: i64) -> Result<Option<i64>, rusqlite::Error> {
    let seen_ms: Option<i64> = transaction
        .prepare_cached("SELECT seen_ms FROM notify_clock")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let back_ms = seen_ms.map(|seen_ms| seen_ms - now_ms);
    if back_ms.is_some_and(|back_ms| back_ms.abs() < SLACK_MS) {
        return Ok(None);
    }
    transaction
        .prepare_cached("INSERT OR REPLACE INTO notify_clock (one, seen_ms) VALUES (1, ?1)")?
        .execute([now_ms])?;
    let Some(back_ms) = back_ms.filter(|back_ms| *back_ms > 0) else {
        return Ok(None);
    };
    for statement in TIMES {
        transaction.execute(statement, params![back_ms])?;
    }
    Ok(Some(back_ms))
}
