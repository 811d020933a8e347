//! Who raised an alert, and what each of them last said about it.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{json, parsed};
use crate::notify::notification::Notification;

/// Who says that there is an alert. Several may: a copy of a rule beside the rule, a Prometheus that raises what a rule here does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::notify) enum Source<'a> {
    /// One of our own rules, by its id.
    Rule(&'a str),
    /// Whoever posts alerts. Two that post the same are one, as they are for Alertmanager.
    Outside,
}

impl Source<'_> {
    fn name(self) -> String {
        match self {
            Self::Rule(id) => format!("{RULE}{id}"),
            Self::Outside => "outside".to_owned(),
        }
    }
}

const RULE: &str = "rule ";

/// Keeps what a source says, in place of what it said before. Of alerts that are older than this table nobody knows which rule
/// raised them: the first rule that ends one ends that word as well.
pub(in crate::notify) fn put_word(
    transaction: &Transaction<'_>,
    source: Source<'_>,
    alert: &Notification,
) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO notify_source (fingerprint, source, body) VALUES (?1, ?2, ?3)")?
        .execute(params![alert.fingerprint, source.name(), json(alert)])?;
    if matches!(source, Source::Rule(_)) && alert.is_resolved() {
        transaction
            .prepare_cached("DELETE FROM notify_source WHERE fingerprint = ?1 AND source = ?2")?
            .execute([alert.fingerprint.as_str(), RULE])?;
    }
    Ok(())
}

/// Whether a source is known to have said anything about an alert that is held.
pub(in crate::notify) fn has_word(
    connection: &Connection,
    source: Source<'_>,
    fingerprint: &str,
) -> Result<bool, rusqlite::Error> {
    let found: Option<i64> = connection
        .prepare_cached("SELECT 1 FROM notify_source WHERE fingerprint = ?1 AND source = ?2")?
        .query_row([fingerprint, source.name().as_str()], |row| row.get(0))
        .optional()?;
    Ok(found.is_some())
}

/// What all sources last said about an alert.
pub(in crate::notify) fn words(
    connection: &Connection,
    fingerprint: &str,
) -> Result<Vec<Notification>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT body FROM notify_source WHERE fingerprint = ?1 ORDER BY source")?
        .query_map([fingerprint], |row| parsed(row, 0))?
        .collect()
}
