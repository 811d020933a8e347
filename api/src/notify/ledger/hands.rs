//! Who has which alert in hand, how far alerts climbed that nobody has, and the key of links.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::{json, parsed};
use crate::notify::acknowledgement::Acknowledgement;

/// An alert on its way up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::notify) struct Climb {
    pub(in crate::notify) fingerprint: String,
    pub(in crate::notify) starts_ms: i64,
    /// The name of its escalation.
    pub(in crate::notify) policy: String,
    /// When the first message about it was written.
    pub(in crate::notify) told_ms: i64,
    /// The step that is next.
    pub(in crate::notify) step: usize,
    /// When that is due; never, where it climbs no further.
    pub(in crate::notify) due_ms: Option<i64>,
    /// Ids of the receivers that were told on the way.
    pub(in crate::notify) told: Vec<String>,
}

const CLIMB: &str = "SELECT fingerprint, starts_ms, policy, told_ms, step, due_ms, told FROM notify_climb";

fn climb_of(row: &Row<'_>) -> Result<Climb, rusqlite::Error> {
    Ok(Climb {
        fingerprint: row.get(0)?,
        starts_ms: row.get(1)?,
        policy: row.get(2)?,
        told_ms: row.get(3)?,
        step: usize::try_from(row.get::<_, i64>(4)?).unwrap_or(usize::MAX),
        due_ms: row.get(5)?,
        told: parsed(row, 6)?,
    })
}

pub(in crate::notify) fn climb(connection: &Connection, fingerprint: &str) -> Result<Option<Climb>, rusqlite::Error> {
    connection
        .prepare_cached(&format!("{CLIMB} WHERE fingerprint = ?1"))?
        .query_row([fingerprint], climb_of)
        .optional()
}

/// Those whose next step is due, at most so many, the one that waits longest first.
pub(in crate::notify) fn climbs_due(
    connection: &Connection,
    now_ms: i64,
    most: usize,
) -> Result<Vec<Climb>, rusqlite::Error> {
    connection
        .prepare_cached(&format!(
            "{CLIMB} WHERE due_ms <= ?1 ORDER BY due_ms, fingerprint LIMIT ?2"
        ))?
        .query_map(params![now_ms, i64::try_from(most).unwrap_or(i64::MAX)], climb_of)?
        .collect()
}

pub(in crate::notify) fn put_climb(transaction: &Transaction<'_>, climb: &Climb) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO notify_climb (fingerprint, starts_ms, policy, told_ms, step, due_ms, told)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            climb.fingerprint,
            climb.starts_ms,
            climb.policy,
            climb.told_ms,
            i64::try_from(climb.step).unwrap_or(i64::MAX),
            climb.due_ms,
            json(&climb.told)
        ])?;
    Ok(())
}

/// It climbs no further; who was told on the way is kept, for they want to hear the end.
pub(in crate::notify) fn stop_climb(transaction: &Transaction<'_>, fingerprint: &str) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("UPDATE notify_climb SET due_ms = NULL WHERE fingerprint = ?1")?
        .execute([fingerprint])?;
    Ok(())
}

pub(in crate::notify) fn drop_climb(transaction: &Transaction<'_>, fingerprint: &str) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("DELETE FROM notify_climb WHERE fingerprint = ?1")?
        .execute([fingerprint])?;
    Ok(())
}

const ACKNOWLEDGED: &str = "SELECT fingerprint, starts_ms, at_ms, who, comment FROM notify_acknowledged";

fn acknowledgement_of(row: &Row<'_>) -> Result<Acknowledgement, rusqlite::Error> {
    Ok(Acknowledgement {
        fingerprint: row.get(0)?,
        starts_ms: row.get(1)?,
        at_ms: row.get(2)?,
        who: row.get(3)?,
        comment: row.get(4)?,
    })
}

pub(in crate::notify) fn acknowledgement(
    connection: &Connection,
    fingerprint: &str,
) -> Result<Option<Acknowledgement>, rusqlite::Error> {
    connection
        .prepare_cached(&format!("{ACKNOWLEDGED} WHERE fingerprint = ?1"))?
        .query_row([fingerprint], acknowledgement_of)
        .optional()
}

/// All of them, by fingerprint.
pub(in crate::notify) fn acknowledgements(
    connection: &Connection,
) -> Result<BTreeMap<String, Acknowledgement>, rusqlite::Error> {
    connection
        .prepare_cached(ACKNOWLEDGED)?
        .query_map([], |row| {
            let one = acknowledgement_of(row)?;
            Ok((one.fingerprint.clone(), one))
        })?
        .collect()
}

pub(in crate::notify) fn put_acknowledgement(
    transaction: &Transaction<'_>,
    one: &Acknowledgement,
) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO notify_acknowledged (fingerprint, starts_ms, at_ms, who, comment)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![one.fingerprint, one.starts_ms, one.at_ms, one.who, one.comment])?;
    Ok(())
}

pub(in crate::notify) fn drop_acknowledgement(
    transaction: &Transaction<'_>,
    fingerprint: &str,
) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("DELETE FROM notify_acknowledged WHERE fingerprint = ?1")?
        .execute([fingerprint])?;
    Ok(())
}

/// When somebody is to be told next because nobody acknowledged an alert.
pub(in crate::notify) fn next_climb_ms(connection: &Connection) -> Result<Option<i64>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT min(due_ms) FROM notify_climb")?
        .query_row([], |row| row.get(0))
}

/// What links are signed with.
pub(in crate::notify) fn key(connection: &Connection) -> Result<Option<Vec<u8>>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT key FROM notify_key")?
        .query_row([], |row| row.get(0))
        .optional()
}

/// Keeps a key unless there is one already, and answers the one that counts.
pub(in crate::notify) fn keep_key(transaction: &Transaction<'_>, key: &[u8]) -> Result<Vec<u8>, rusqlite::Error> {
    transaction.execute("INSERT OR IGNORE INTO notify_key (one, key) VALUES (1, ?1)", [key])?;
    transaction.query_row("SELECT key FROM notify_key", [], |row| row.get(0))
}
