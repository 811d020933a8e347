//! What became of each alert.

use rusqlite::{Connection, Row, Transaction, params};

use crate::notify::acknowledgement::Acknowledgement;
use crate::notify::episode::{Episode, Measure, places};
use crate::notify::notification::Notification;

/// Episodes that are kept.
const EPISODES_MAX: i64 = 50_000;
/// Durations that are handed out at once.
const MEASURED_MAX: i64 = 1_000;

const EPISODE: &str = "SELECT id, fingerprint, alert, host, service, severity, since_ms, starts_ms, acknowledged_ms,
     acknowledged_by, ends_ms, measured FROM notify_episode";

fn episode_of(row: &Row<'_>) -> Result<Episode, rusqlite::Error> {
    Ok(Episode {
        id: row.get(0)?,
        fingerprint: row.get(1)?,
        alert: row.get(2)?,
        host: row.get(3)?,
        service: row.get(4)?,
        severity: row.get(5)?,
        since_ms: row.get(6)?,
        starts_ms: row.get(7)?,
        acknowledged_ms: row.get(8)?,
        acknowledged_by: row.get(9)?,
        ends_ms: row.get(10)?,
    })
}

/// What an alert says about its episode: that there is one, that it began earlier, or that it is over.
pub(in crate::notify) fn note_episode(
    transaction: &Transaction<'_>,
    alert: &Notification,
) -> Result<(), rusqlite::Error> {
    if let Some(ends_ms) = alert.ends_ms {
        return end_episode(transaction, &alert.fingerprint, ends_ms);
    }
    let goes_on = transaction
        .prepare_cached(
            "UPDATE notify_episode SET starts_ms = min(starts_ms, ?2) WHERE fingerprint = ?1 AND ends_ms IS NULL",
        )?
        .execute(params![alert.fingerprint, alert.starts_ms])?;
    if goes_on > 0 {
        return Ok(());
    }
    let [host, service, severity] = places(&alert.labels);
    let name = alert.labels.get("alertname").map_or("", String::as_str);
    // One that was told twice around a crash is the same one.
    transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO notify_episode (fingerprint, alert, host, service, severity, since_ms, starts_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            alert.fingerprint,
            name,
            host,
            service,
            severity,
            alert.since_ms,
            alert.starts_ms
        ])?;
    transaction
        .prepare_cached("DELETE FROM notify_episode WHERE id <= (SELECT max(id) FROM notify_episode) - ?1")?
        .execute([EPISODES_MAX])?;
    Ok(())
}

pub(in crate::notify) fn end_episode(
    transaction: &Transaction<'_>,
    fingerprint: &str,
    ends_ms: i64,
) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached(
            "UPDATE notify_episode SET ends_ms = max(starts_ms, ?2) WHERE fingerprint = ?1 AND ends_ms IS NULL",
        )?
        .execute(params![fingerprint, ends_ms])?;
    Ok(())
}

/// The first who has it in hand counts.
pub(in crate::notify) fn acknowledge_episode(
    transaction: &Transaction<'_>,
    one: &Acknowledgement,
) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached(
            "UPDATE notify_episode SET acknowledged_ms = ?2, acknowledged_by = ?3
             WHERE fingerprint = ?1 AND ends_ms IS NULL AND acknowledged_ms IS NULL",
        )?
        .execute(params![one.fingerprint, one.at_ms, one.who])?;
    Ok(())
}

/// The newest first.
pub(in crate::notify) fn episodes(connection: &Connection, limit: usize) -> Result<Vec<Episode>, rusqlite::Error> {
    connection
        .prepare_cached(&format!("{EPISODE} ORDER BY id DESC LIMIT ?1"))?
        .query_map([i64::try_from(limit).unwrap_or(i64::MAX)], episode_of)?
        .collect()
}

/// Durations that are known and not taken over, with their episodes.
pub(in crate::notify) fn measured(connection: &Connection) -> Result<Vec<(Episode, Measure)>, rusqlite::Error> {
    let known = "iif(since_ms IS NULL, 0, 1) + iif(acknowledged_ms IS NULL, 0, 2) + iif(ends_ms IS NULL, 0, 4)";
    let rows: Vec<(Episode, i64)> = connection
        .prepare_cached(&format!("{EPISODE} WHERE measured <> {known} ORDER BY id LIMIT ?1"))?
        .query_map([MEASURED_MAX], |row| Ok((episode_of(row)?, row.get(11)?)))?
        .collect::<Result<_, _>>()?;
    let fresh = |(episode, done): (Episode, i64)| {
        let known = move |measure: &Measure| measure.of(&episode).is_some() && done & measure.bit() == 0;
        Measure::ALL.into_iter().filter(known).collect::<Vec<_>>()
    };
    let pairs = rows.into_iter().flat_map(|row| {
        let episode = row.0.clone();
        fresh(row).into_iter().map(move |measure| (episode.clone(), measure))
    });
    Ok(pairs.collect())
}

pub(in crate::notify) fn mark_measured(
    transaction: &Transaction<'_>,
    id: i64,
    bit: i64,
) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("UPDATE notify_episode SET measured = measured | ?2 WHERE id = ?1")?
        .execute([id, bit])?;
    Ok(())
}
