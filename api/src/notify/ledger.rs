//! The outbox on disk: alerts, groups, what was told, messages, dead letters, receivers on hold, and the log.

mod alerts;
mod episodes;
mod hands;
mod sources;
mod time;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use store::{State, StateError};

pub(super) use alerts::{
    Group, alert, alerts_of, all_alerts, count_alerts, group_of, groups, leave, look_again, members, put_alert,
    put_member, tell, told,
};
pub(super) use episodes::{acknowledge_episode, end_episode, episodes, mark_measured, measured, note_episode};
pub(super) use hands::{
    Climb, acknowledgement, acknowledgements, climb, climbs_due, drop_acknowledgement, drop_climb, keep_key, key,
    put_acknowledgement, put_climb, stop_climb,
};
pub(super) use sources::{Source, has_word, put_word, words};
pub(super) use time::keep_time;

const STEPS: &[&str] = &[
    "CREATE TABLE notify_alert (
    fingerprint TEXT PRIMARY KEY,
    group_key TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX notify_alert_group ON notify_alert (group_key);
CREATE TABLE notify_group (
    key TEXT PRIMARY KEY,
    labels TEXT NOT NULL,
    flush_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE notify_told (
    group_key TEXT NOT NULL,
    receiver TEXT NOT NULL,
    firing TEXT NOT NULL,
    resolved TEXT NOT NULL,
    sent_ms INTEGER NOT NULL,
    repeats INTEGER NOT NULL,
    PRIMARY KEY (group_key, receiver)
) STRICT, WITHOUT ROWID;
CREATE TABLE notify_outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    receiver TEXT NOT NULL,
    key TEXT NOT NULL,
    what TEXT NOT NULL,
    body TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX notify_outbox_receiver ON notify_outbox (receiver, id);
CREATE TABLE notify_dead (
    id INTEGER PRIMARY KEY,
    receiver TEXT NOT NULL,
    key TEXT NOT NULL,
    what TEXT NOT NULL,
    body TEXT NOT NULL,
    died_ms INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE TABLE notify_hold (
    receiver TEXT PRIMARY KEY,
    until_ms INTEGER NOT NULL,
    failures INTEGER NOT NULL
) STRICT;
CREATE TABLE notify_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    receiver TEXT NOT NULL,
    key TEXT NOT NULL,
    what TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    again_ms INTEGER,
    status INTEGER,
    text TEXT NOT NULL,
    seconds REAL NOT NULL
) STRICT;",
    "ALTER TABLE notify_outbox ADD COLUMN instead_of TEXT;
ALTER TABLE notify_outbox ADD COLUMN diverted INTEGER NOT NULL DEFAULT 0;
CREATE INDEX notify_log_receiver ON notify_log (receiver, id);
CREATE TABLE notify_member (
    group_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    PRIMARY KEY (group_key, fingerprint)
) STRICT, WITHOUT ROWID;
CREATE INDEX notify_member_alert ON notify_member (fingerprint);
INSERT INTO notify_member (group_key, fingerprint) SELECT group_key, fingerprint FROM notify_alert;
DROP INDEX notify_alert_group;
ALTER TABLE notify_alert DROP COLUMN group_key;
ALTER TABLE notify_group ADD COLUMN route TEXT NOT NULL DEFAULT '{}';",
    "CREATE TABLE notify_acknowledged (
    fingerprint TEXT PRIMARY KEY,
    starts_ms INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    who TEXT NOT NULL,
    comment TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE notify_climb (
    fingerprint TEXT PRIMARY KEY,
    starts_ms INTEGER NOT NULL,
    policy TEXT NOT NULL,
    told_ms INTEGER NOT NULL,
    step INTEGER NOT NULL,
    due_ms INTEGER,
    told TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE notify_episode (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL,
    alert TEXT NOT NULL,
    host TEXT,
    service TEXT,
    severity TEXT,
    since_ms INTEGER,
    starts_ms INTEGER NOT NULL,
    acknowledged_ms INTEGER,
    acknowledged_by TEXT,
    ends_ms INTEGER,
    measured INTEGER NOT NULL DEFAULT 0,
    UNIQUE (fingerprint, starts_ms)
) STRICT;
CREATE INDEX notify_episode_fresh ON notify_episode (id)
    WHERE measured <> iif(since_ms IS NULL, 0, 1) + iif(acknowledged_ms IS NULL, 0, 2) + iif(ends_ms IS NULL, 0, 4);
CREATE INDEX notify_episode_open ON notify_episode (fingerprint) WHERE ends_ms IS NULL;
CREATE TABLE notify_key (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    key BLOB NOT NULL
) STRICT;
CREATE INDEX notify_climb_due ON notify_climb (due_ms) WHERE due_ms IS NOT NULL;",
    // Only alerts from outside expire. Which rule raised the others was not kept.
    "CREATE TABLE notify_source (
    fingerprint TEXT NOT NULL,
    source TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (fingerprint, source)
) STRICT, WITHOUT ROWID;
INSERT INTO notify_source (fingerprint, source, body)
    SELECT fingerprint, iif(json_extract(body, '$.expires_ms') IS NULL, 'rule ', 'outside'), body FROM notify_alert;",
    "CREATE TABLE notify_clock (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seen_ms INTEGER NOT NULL
) STRICT;",
];

/// Rows of the log that are kept.
const LOG_MAX: i64 = 10_000;
/// Dead letters that are kept.
const DEAD_MAX: i64 = 1000;

/// One attempt to deliver a message, or the reason why there will be none.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Its place in the log.
    pub id: i64,
    /// When it ended, milliseconds UTC.
    pub at_ms: i64,
    /// To whom.
    pub receiver: String,
    /// The message's idempotency key: the same for each attempt.
    pub key: String,
    /// The message in a line: `firing FailureLikely host-1`.
    pub what: String,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// What came of it.
    pub outcome: Outcome,
    /// The status of the answer, where there was one.
    pub status: Option<u16>,
    /// What went wrong, and what to do about it; empty when it went well.
    pub text: String,
    /// How long it took.
    pub seconds: f64,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver said yes.
    Delivered,
    /// It will be tried again.
    Again {
        /// When, at the earliest.
        at_ms: i64,
    },
    /// It will not be tried again by itself.
    Dead,
}

impl Outcome {
    /// The outcome as a label value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Again { .. } => "again",
            Self::Dead => "dead",
        }
    }
}

/// A message that was given up.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Its number.
    pub id: i64,
    /// To whom it should have gone.
    pub receiver: String,
    /// Its idempotency key.
    pub key: String,
    /// The message in a line.
    pub what: String,
    /// The message as it was kept.
    pub body: String,
    /// When it was given up, milliseconds UTC.
    pub died_ms: i64,
    /// How often it was tried.
    pub attempts: u32,
    /// Why.
    pub reason: String,
}

/// A message that waits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Letter {
    pub(super) id: i64,
    pub(super) receiver: String,
    pub(super) key: String,
    pub(super) what: String,
    /// A [`super::message::Message`] as JSON.
    pub(super) body: String,
    pub(super) created_ms: i64,
    pub(super) attempts: u32,
    /// The receiver that this copy was written for first, where that one could not be reached.
    pub(super) instead_of: Option<String>,
    /// True once its receiver's fallback has a copy.
    pub(super) diverted: bool,
}

/// How a receiver fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Condition {
    /// Messages that wait for it.
    pub(super) waiting: usize,
    /// It is left alone until then, milliseconds UTC.
    pub(super) until_ms: Option<i64>,
    /// Attempts that failed in a row because it could not be reached or did not want to be.
    pub(super) failures: u32,
    /// When it last took a message, as far as the log goes back.
    pub(super) delivered_ms: Option<i64>,
}

pub(super) fn open(state: &State) -> Result<(), StateError> {
    state.migrate("notify", STEPS)
}

pub(super) fn parsed<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T, rusqlite::Error> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

pub(super) fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("maps of texts and plain records are valid JSON")
}

// ---- messages

/// Adds a message. Beyond `queue_max` for its receiver the oldest is given up, and answered.
pub(super) fn put_letter(
    transaction: &Transaction<'_>,
    letter: &Letter,
    queue_max: usize,
) -> Result<Option<Letter>, rusqlite::Error> {
    transaction
        .prepare_cached(
            "INSERT INTO notify_outbox (receiver, key, what, body, created_ms, due_ms, instead_of)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6)",
        )?
        .execute(params![
            letter.receiver,
            letter.key,
            letter.what,
            letter.body,
            letter.created_ms,
            letter.instead_of
        ])?;
    let waiting: i64 = transaction
        .prepare_cached("SELECT count(*) FROM notify_outbox WHERE receiver = ?1")?
        .query_row([&letter.receiver], |row| row.get(0))?;
    if waiting <= i64::try_from(queue_max).unwrap_or(i64::MAX) {
        return Ok(None);
    }
    let oldest = transaction
        .prepare_cached(
            "SELECT id, receiver, key, what, body, created_ms, attempts, instead_of, diverted FROM notify_outbox
             WHERE receiver = ?1 ORDER BY id LIMIT 1",
        )?
        .query_row([&letter.receiver], letter_of)?;
    bury(
        transaction,
        &oldest,
        letter.created_ms,
        "the queue is full: newer messages took its place",
    )?;
    Ok(Some(oldest))
}

fn letter_of(row: &Row<'_>) -> Result<Letter, rusqlite::Error> {
    Ok(Letter {
        id: row.get(0)?,
        receiver: row.get(1)?,
        key: row.get(2)?,
        what: row.get(3)?,
        body: row.get(4)?,
        created_ms: row.get(5)?,
        attempts: row.get(6)?,
        instead_of: row.get(7)?,
        diverted: row.get(8)?,
    })
}

/// The first message that is due for a receiver which is not on hold.
pub(super) fn due_letter(state: &State, receiver: &str, now_ms: i64) -> Result<Option<Letter>, StateError> {
    state.with(|connection| {
        if hold(connection, receiver)?.is_some_and(|(until_ms, _)| until_ms > now_ms) {
            return Ok(None);
        }
        connection
            .prepare_cached(
                "SELECT id, receiver, key, what, body, created_ms, attempts, instead_of, diverted FROM notify_outbox
                 WHERE receiver = ?1 AND due_ms <= ?2 ORDER BY id LIMIT 1",
            )?
            .query_row(params![receiver, now_ms], letter_of)
            .optional()
    })
}

/// Messages for a receiver of which its fallback has no copy yet, the oldest first. Copies are not copied again, or two
/// receivers that stand in for each other would never be done.
pub(super) fn undiverted(connection: &Connection, receiver: &str) -> Result<Vec<Letter>, rusqlite::Error> {
    connection
        .prepare_cached(
            "SELECT id, receiver, key, what, body, created_ms, attempts, instead_of, diverted FROM notify_outbox
             WHERE receiver = ?1 AND diverted = 0 AND instead_of IS NULL ORDER BY id",
        )?
        .query_map([receiver], letter_of)?
        .collect()
}

/// Messages for receivers other than these, the oldest first.
pub(super) fn stray(connection: &Connection, receivers: &[&str]) -> Result<Vec<Letter>, rusqlite::Error> {
    connection
        .prepare_cached(
            "SELECT id, receiver, key, what, body, created_ms, attempts, instead_of, diverted FROM notify_outbox
             WHERE receiver NOT IN (SELECT value FROM json_each(?1)) ORDER BY id",
        )?
        .query_map([json(&receivers)], letter_of)?
        .collect()
}

pub(super) fn mark_diverted(transaction: &Transaction<'_>, id: i64) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("UPDATE notify_outbox SET diverted = 1 WHERE id = ?1")?
        .execute([id])?;
    Ok(())
}

/// When the `count`-th newest attempt at a receiver ended, if there were so many.
pub(super) fn attempt_before(
    connection: &Connection,
    receiver: &str,
    count: u32,
) -> Result<Option<i64>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT at_ms FROM notify_log WHERE receiver = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2")?
        .query_row(params![receiver, count.saturating_sub(1)], |row| row.get(0))
        .optional()
}

/// How a receiver fares.
pub(super) fn condition(connection: &Connection, receiver: &str) -> Result<Condition, rusqlite::Error> {
    let waiting: i64 = connection
        .prepare_cached("SELECT count(*) FROM notify_outbox WHERE receiver = ?1")?
        .query_row([receiver], |row| row.get(0))?;
    let held = hold(connection, receiver)?;
    let delivered_ms = connection
        .prepare_cached("SELECT max(at_ms) FROM notify_log WHERE receiver = ?1 AND outcome = 'delivered'")?
        .query_row([receiver], |row| row.get(0))?;
    Ok(Condition {
        waiting: usize::try_from(waiting).unwrap_or(0),
        until_ms: held.map(|(until_ms, _)| until_ms),
        failures: held.map_or(0, |(_, failures)| failures),
        delivered_ms,
    })
}

/// Until when a receiver is left alone, and how often it failed in a row.
pub(super) fn hold(connection: &Connection, receiver: &str) -> Result<Option<(i64, u32)>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT until_ms, failures FROM notify_hold WHERE receiver = ?1")?
        .query_row([receiver], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

pub(super) fn set_hold(
    transaction: &Transaction<'_>,
    receiver: &str,
    until_ms: i64,
    failures: u32,
) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO notify_hold (receiver, until_ms, failures) VALUES (?1, ?2, ?3)")?
        .execute(params![receiver, until_ms, failures])?;
    Ok(())
}

pub(super) fn release(transaction: &Transaction<'_>, receiver: &str) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("DELETE FROM notify_hold WHERE receiver = ?1")?
        .execute([receiver])?;
    Ok(())
}

pub(super) fn strike_out(transaction: &Transaction<'_>, id: i64) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("DELETE FROM notify_outbox WHERE id = ?1")?
        .execute([id])?;
    Ok(())
}

pub(super) fn postpone(transaction: &Transaction<'_>, id: i64, due_ms: i64) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("UPDATE notify_outbox SET attempts = attempts + 1, due_ms = max(due_ms, ?2) WHERE id = ?1")?
        .execute([id, due_ms])?;
    Ok(())
}

pub(super) fn bury(
    transaction: &Transaction<'_>,
    letter: &Letter,
    now_ms: i64,
    reason: &str,
) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO notify_dead (id, receiver, key, what, body, died_ms, attempts, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            letter.id,
            letter.receiver,
            letter.key,
            letter.what,
            letter.body,
            now_ms,
            letter.attempts,
            reason
        ])?;
    transaction
        .prepare_cached(
            "DELETE FROM notify_dead WHERE id NOT IN (SELECT id FROM notify_dead ORDER BY id DESC LIMIT ?1)",
        )?
        .execute([DEAD_MAX])?;
    strike_out(transaction, letter.id)
}

pub(super) fn note(transaction: &Transaction<'_>, delivery: &mut Delivery) -> Result<(), rusqlite::Error> {
    let again_ms = match delivery.outcome {
        Outcome::Again { at_ms } => Some(at_ms),
        Outcome::Delivered | Outcome::Dead => None,
    };
    transaction
        .prepare_cached(
            "INSERT INTO notify_log (at_ms, receiver, key, what, attempt, outcome, again_ms, status, text, seconds)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            delivery.at_ms,
            delivery.receiver,
            delivery.key,
            delivery.what,
            delivery.attempt,
            delivery.outcome.name(),
            again_ms,
            delivery.status,
            delivery.text,
            delivery.seconds
        ])?;
    delivery.id = transaction.last_insert_rowid();
    transaction
        .prepare_cached("DELETE FROM notify_log WHERE id <= ?1")?
        .execute([delivery.id - LOG_MAX])?;
    Ok(())
}

// ---- reading

/// The newest attempts, newest first.
pub(super) fn log(state: &State, limit: usize) -> Result<Vec<Delivery>, StateError> {
    state.with(|connection| {
        connection
            .prepare_cached(
                "SELECT id, at_ms, receiver, key, what, attempt, outcome, again_ms, status, text, seconds
                 FROM notify_log ORDER BY id DESC LIMIT ?1",
            )?
            .query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
                let (outcome, again_ms): (String, Option<i64>) = (row.get(6)?, row.get(7)?);
                Ok(Delivery {
                    id: row.get(0)?,
                    at_ms: row.get(1)?,
                    receiver: row.get(2)?,
                    key: row.get(3)?,
                    what: row.get(4)?,
                    attempt: row.get(5)?,
                    outcome: match (outcome.as_str(), again_ms) {
                        ("delivered", _) => Outcome::Delivered,
                        ("again", Some(at_ms)) => Outcome::Again { at_ms },
                        _ => Outcome::Dead,
                    },
                    status: row.get(8)?,
                    text: row.get(9)?,
                    seconds: row.get(10)?,
                })
            })?
            .collect()
    })
}

/// Dead letters, newest first.
pub(super) fn dead(state: &State, limit: usize) -> Result<Vec<DeadLetter>, StateError> {
    state.with(|connection| {
        connection
            .prepare_cached(
                "SELECT id, receiver, key, what, body, died_ms, attempts, reason FROM notify_dead ORDER BY id DESC LIMIT ?1",
            )?
            .query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
                Ok(DeadLetter {
                    id: row.get(0)?,
                    receiver: row.get(1)?,
                    key: row.get(2)?,
                    what: row.get(3)?,
                    body: row.get(4)?,
                    died_ms: row.get(5)?,
                    attempts: row.get(6)?,
                    reason: row.get(7)?,
                })
            })?
            .collect()
    })
}

/// To whom a dead letter should have gone.
pub(super) fn receiver_of_dead(state: &State, id: i64) -> Result<Option<String>, StateError> {
    state.with(|connection| {
        connection
            .prepare_cached("SELECT receiver FROM notify_dead WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()
    })
}

/// Puts a dead letter back into the outbox; false when there is none of that number.
pub(super) fn revive(state: &State, id: i64, now_ms: i64) -> Result<bool, StateError> {
    state.with(|connection| {
        let transaction = connection.transaction()?;
        let moved = transaction.execute(
            // Its fallback, if it has one, was given a copy when it died.
            "INSERT INTO notify_outbox (receiver, key, what, body, created_ms, due_ms, diverted)
             SELECT receiver, key, what, body, ?2, ?2, 1 FROM notify_dead WHERE id = ?1",
            [id, now_ms],
        )?;
        transaction.execute("DELETE FROM notify_dead WHERE id = ?1", [id])?;
        transaction.commit()?;
        Ok(moved > 0)
    })
}

/// Messages that wait, for one receiver or for all.
pub(super) fn waiting(state: &State) -> Result<usize, StateError> {
    let count = |row: &Row<'_>| row.get::<_, i64>(0);
    let waiting = state.with(|connection| connection.query_row("SELECT count(*) FROM notify_outbox", [], count))?;
    Ok(usize::try_from(waiting).unwrap_or(0))
}

/// When a group is due next, or a message for one of `receivers`; holds are respected.
pub(super) fn next_due_of<'a>(
    state: &State,
    receivers: impl IntoIterator<Item = &'a str>,
) -> Result<Option<i64>, StateError> {
    state.with(|connection| {
        let mut next: Option<i64> =
            connection.query_row("SELECT min(flush_ms) FROM notify_group", [], |row| row.get(0))?;
        next = [next, hands::next_climb_ms(connection)?].into_iter().flatten().min();
        for receiver in receivers {
            let due: Option<i64> = connection
                .prepare_cached("SELECT min(due_ms) FROM notify_outbox WHERE receiver = ?1")?
                .query_row([receiver], |row| row.get(0))?;
            let held = hold(connection, receiver)?.map_or(i64::MIN, |(until_ms, _)| until_ms);
            next = [next, due.map(|due| due.max(held))].into_iter().flatten().min();
        }
        Ok(next)
    })
}

/// The earliest time at which a group or a message is due; holds of receivers are respected.
pub(super) fn next_due(state: &State) -> Result<Option<i64>, StateError> {
    state.with(|connection| {
        connection.query_row(
            "SELECT min(due) FROM (
                 SELECT min(flush_ms) AS due FROM notify_group
                 UNION ALL
                 SELECT min(due_ms) FROM notify_climb
                 UNION ALL
                 SELECT min(max(due_ms, coalesce(until_ms, due_ms)))
                 FROM notify_outbox LEFT JOIN notify_hold USING (receiver)
             )",
            [],
            |row| row.get(0),
        )
    })
}
