//! Alerts and groups on disk, and what was told about them.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{json, parsed};
use crate::notify::group::Told;
use crate::notify::notification::Notification;

/// A group as it is known on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::notify) struct Group {
    pub(in crate::notify) key: String,
    /// The id of its route.
    pub(in crate::notify) route: String,
    pub(in crate::notify) labels: BTreeMap<String, String>,
    /// When it is looked at next.
    pub(in crate::notify) flush_ms: i64,
}

pub(in crate::notify) fn alert(
    connection: &Connection,
    fingerprint: &str,
) -> Result<Option<Notification>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT body FROM notify_alert WHERE fingerprint = ?1")?
        .query_row([fingerprint], |row| parsed(row, 0))
        .optional()
}

/// Keeps an alert and its places in groups. A group that exists is looked at when its time comes, no sooner.
pub(in crate::notify) fn put_alert(
    transaction: &Transaction<'_>,
    alert: &Notification,
    groups: &[Group],
) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO notify_alert (fingerprint, body) VALUES (?1, ?2)")?
        .execute(params![alert.fingerprint, json(alert)])?;
    for group in groups {
        put_member(transaction, group, &alert.fingerprint)?;
    }
    Ok(())
}

pub(in crate::notify) fn put_member(
    transaction: &Transaction<'_>,
    group: &Group,
    fingerprint: &str,
) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("INSERT OR IGNORE INTO notify_member (group_key, fingerprint) VALUES (?1, ?2)")?
        .execute([&group.key, fingerprint])?;
    transaction
        .prepare_cached("INSERT OR IGNORE INTO notify_group (key, labels, flush_ms, route) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![group.key, json(&group.labels), group.flush_ms, group.route])?;
    Ok(())
}

pub(in crate::notify) fn groups(connection: &Connection, due_ms: i64) -> Result<Vec<Group>, rusqlite::Error> {
    connection
        .prepare_cached(
            "SELECT key, route, labels, flush_ms FROM notify_group WHERE flush_ms <= ?1 ORDER BY flush_ms, key",
        )?
        .query_map([due_ms], |row| {
            Ok(Group {
                key: row.get(0)?,
                route: row.get(1)?,
                labels: parsed(row, 2)?,
                flush_ms: row.get(3)?,
            })
        })?
        .collect()
}

/// The alerts of a group as they stand at `now_ms`, those that fire longest first.
pub(in crate::notify) fn alerts_of(
    connection: &Connection,
    group_key: &str,
    now_ms: i64,
) -> Result<Vec<Notification>, rusqlite::Error> {
    let alerts = connection
        .prepare_cached("SELECT body FROM notify_alert JOIN notify_member USING (fingerprint) WHERE group_key = ?1")?
        .query_map([group_key], |row| parsed(row, 0))?
        .collect::<Result<Vec<Notification>, _>>()?;
    Ok(in_order(alerts, now_ms))
}

/// All alerts as they stand at `now_ms`.
pub(in crate::notify) fn all_alerts(
    connection: &Connection,
    now_ms: i64,
) -> Result<Vec<Notification>, rusqlite::Error> {
    let alerts = connection
        .prepare_cached("SELECT body FROM notify_alert")?
        .query_map([], |row| parsed(row, 0))?
        .collect::<Result<Vec<Notification>, _>>()?;
    Ok(in_order(alerts, now_ms))
}

pub(in crate::notify) fn count_alerts(connection: &Connection) -> Result<usize, rusqlite::Error> {
    let count: i64 = connection
        .prepare_cached("SELECT count(*) FROM notify_alert")?
        .query_row([], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

fn in_order(alerts: Vec<Notification>, now_ms: i64) -> Vec<Notification> {
    let mut alerts: Vec<Notification> = alerts.into_iter().map(|alert| alert.at(now_ms)).collect();
    alerts.sort_by(|a, b| {
        (a.is_resolved(), a.starts_ms, &a.fingerprint).cmp(&(b.is_resolved(), b.starts_ms, &b.fingerprint))
    });
    alerts
}

/// Group and fingerprint of every membership.
pub(in crate::notify) fn members(connection: &Connection) -> Result<BTreeSet<(String, String)>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT group_key, fingerprint FROM notify_member")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// The key of a group that an alert is in, of several always the same.
pub(in crate::notify) fn group_of(
    connection: &Connection,
    fingerprint: &str,
) -> Result<Option<String>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT min(group_key) FROM notify_member WHERE fingerprint = ?1")?
        .query_row([fingerprint], |row| row.get(0))
}

/// Takes alerts out of a group; the last group takes the alert with it, the last alert the group and what was told about it.
pub(in crate::notify) fn leave<'a>(
    transaction: &Transaction<'_>,
    group_key: &str,
    fingerprints: impl IntoIterator<Item = &'a str>,
) -> Result<(), rusqlite::Error> {
    for fingerprint in fingerprints {
        transaction
            .prepare_cached("DELETE FROM notify_member WHERE group_key = ?1 AND fingerprint = ?2")?
            .execute([group_key, fingerprint])?;
        transaction
            .prepare_cached(
                "DELETE FROM notify_alert WHERE fingerprint = ?1
                 AND NOT EXISTS (SELECT 1 FROM notify_member WHERE fingerprint = ?1)",
            )?
            .execute([fingerprint])?;
        for statement in [
            "DELETE FROM notify_source WHERE fingerprint = ?1
             AND NOT EXISTS (SELECT 1 FROM notify_alert WHERE fingerprint = ?1)",
            "DELETE FROM notify_acknowledged WHERE fingerprint = ?1
             AND NOT EXISTS (SELECT 1 FROM notify_alert WHERE fingerprint = ?1)",
            "DELETE FROM notify_climb WHERE fingerprint = ?1
             AND NOT EXISTS (SELECT 1 FROM notify_alert WHERE fingerprint = ?1)",
        ] {
            transaction.prepare_cached(statement)?.execute([fingerprint])?;
        }
    }
    for statement in [
        "DELETE FROM notify_told WHERE group_key = ?1
         AND NOT EXISTS (SELECT 1 FROM notify_member WHERE group_key = ?1)",
        "DELETE FROM notify_group WHERE key = ?1 AND NOT EXISTS (SELECT 1 FROM notify_member WHERE group_key = ?1)",
    ] {
        transaction.prepare_cached(statement)?.execute([group_key])?;
    }
    Ok(())
}

/// Sets when a group is looked at next.
pub(in crate::notify) fn look_again(
    transaction: &Transaction<'_>,
    group_key: &str,
    flush_ms: i64,
) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("UPDATE notify_group SET flush_ms = ?2 WHERE key = ?1")?
        .execute(params![group_key, flush_ms])?;
    Ok(())
}

pub(in crate::notify) fn told(
    connection: &Connection,
    group_key: &str,
    receiver: &str,
) -> Result<Option<Told>, rusqlite::Error> {
    connection
        .prepare_cached(
            "SELECT firing, resolved, sent_ms, repeats FROM notify_told WHERE group_key = ?1 AND receiver = ?2",
        )?
        .query_row([group_key, receiver], |row| {
            let (firing, resolved): (BTreeSet<String>, BTreeSet<String>) = (parsed(row, 0)?, parsed(row, 1)?);
            Ok(Told {
                firing,
                resolved,
                sent_ms: row.get(2)?,
                repeats: row.get(3)?,
            })
        })
        .optional()
}

pub(in crate::notify) fn tell(
    transaction: &Transaction<'_>,
    group_key: &str,
    receiver: &str,
    told: &Told,
) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO notify_told (group_key, receiver, firing, resolved, sent_ms, repeats)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            group_key,
            receiver,
            json(&told.firing),
            json(&told.resolved),
            told.sent_ms,
            told.repeats
        ])?;
    Ok(())
}
