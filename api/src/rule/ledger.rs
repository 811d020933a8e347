//! What outlives the process: alerts that are pending or firing, and transitions that nobody has taken over yet.

use std::collections::BTreeMap;

use rusqlite::{Row, params};
use store::{State, StateError};

use super::alert::{ActiveAlert, Transition, TransitionKind};
use super::state::AlertState;

const STEPS: &[&str] = &["CREATE TABLE rule_alert (
    rule TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    labels TEXT NOT NULL,
    annotations TEXT NOT NULL,
    value REAL,
    since_ms INTEGER NOT NULL,
    fired_ms INTEGER,
    gone_ms INTEGER,
    PRIMARY KEY (rule, fingerprint)
) STRICT, WITHOUT ROWID;
CREATE TABLE rule_group (
    name TEXT PRIMARY KEY,
    evaluated_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE rule_transition (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    rule TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    labels TEXT NOT NULL,
    annotations TEXT NOT NULL,
    value REAL,
    since_ms INTEGER NOT NULL,
    fired_ms INTEGER NOT NULL
) STRICT;"];

/// Changes of one evaluation of a group, committed at once.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) kept: Vec<ActiveAlert>,
    /// Rule and fingerprint.
    pub(super) dropped: Vec<(String, String)>,
    /// Alerts as they were when they fired or ended.
    pub(super) transitions: Vec<(TransitionKind, ActiveAlert)>,
}

pub(super) fn open(state: &State) -> Result<(), StateError> {
    state.migrate("rule", STEPS)
}

/// Every alert that was pending or firing, and when each group was evaluated last.
pub(super) fn read(state: &State) -> Result<(Vec<ActiveAlert>, BTreeMap<String, i64>), StateError> {
    state.with(|connection| {
        let mut select = connection.prepare(
            "SELECT rule, fingerprint, labels, annotations, value, since_ms, fired_ms, gone_ms FROM rule_alert",
        )?;
        let alert = |row: &Row<'_>| {
            let since_ms = row.get(5)?;
            let fired: Option<i64> = row.get(6)?;
            let alert_state = match fired {
                None => AlertState::Pending { since_ms },
                Some(fired_ms) => AlertState::Firing {
                    since_ms,
                    fired_ms,
                    gone_ms: row.get(7)?,
                },
            };
            alert_of(row, 0, alert_state)
        };
        let alerts = select.query_map([], alert)?.collect::<Result<_, _>>()?;
        let mut select = connection.prepare("SELECT name, evaluated_ms FROM rule_group")?;
        let groups = select
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        Ok((alerts, groups))
    })
}

/// Columns from `first` on: rule, fingerprint, labels, annotations, value.
fn alert_of(row: &Row<'_>, first: usize, state: AlertState) -> Result<ActiveAlert, rusqlite::Error> {
    Ok(ActiveAlert {
        rule: row.get(first)?,
        fingerprint: row.get(first + 1)?,
        labels: map_of(row, first + 2)?,
        annotations: map_of(row, first + 3)?,
        value: row.get::<_, Option<f64>>(first + 4)?.unwrap_or(f64::NAN),
        state,
    })
}

fn map_of(row: &Row<'_>, column: usize) -> Result<BTreeMap<String, String>, rusqlite::Error> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

fn json(map: &BTreeMap<String, String>) -> String {
    serde_json::to_string(map).expect("a map of texts is valid JSON")
}

/// SQLite has no NaN.
fn stored(value: f64) -> Option<f64> {
    (!value.is_nan()).then_some(value)
}

pub(super) fn write(state: &State, group: &str, now_ms: i64, changes: &Changes) -> Result<(), StateError> {
    state.with(|connection| {
        let transaction = connection.transaction()?;
        for (rule, fingerprint) in &changes.dropped {
            transaction
                .prepare_cached("DELETE FROM rule_alert WHERE rule = ?1 AND fingerprint = ?2")?
                .execute(params![rule, fingerprint])?;
        }
        for alert in &changes.kept {
            let (since_ms, fired_ms, gone_ms) = times(alert.state);
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO rule_alert
                         (rule, fingerprint, labels, annotations, value, since_ms, fired_ms, gone_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    alert.rule,
                    alert.fingerprint,
                    json(&alert.labels),
                    json(&alert.annotations),
                    stored(alert.value),
                    since_ms,
                    fired_ms,
                    gone_ms
                ])?;
        }
        for (kind, alert) in &changes.transitions {
            let (since_ms, fired_ms, _) = times(alert.state);
            transaction
                .prepare_cached(
                    "INSERT INTO rule_transition
                         (at_ms, kind, rule, fingerprint, labels, annotations, value, since_ms, fired_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?
                .execute(params![
                    now_ms,
                    kind.name(),
                    alert.rule,
                    alert.fingerprint,
                    json(&alert.labels),
                    json(&alert.annotations),
                    stored(alert.value),
                    since_ms,
                    fired_ms.unwrap_or(now_ms)
                ])?;
        }
        transaction
            .prepare_cached("INSERT OR REPLACE INTO rule_group (name, evaluated_ms) VALUES (?1, ?2)")?
            .execute(params![group, now_ms])?;
        transaction.commit()
    })
}

fn times(state: AlertState) -> (i64, Option<i64>, Option<i64>) {
    match state {
        AlertState::Quiet => (0, None, None),
        AlertState::Pending { since_ms } => (since_ms, None, None),
        AlertState::Firing {
            since_ms,
            fired_ms,
            gone_ms,
        } => (since_ms, Some(fired_ms), gone_ms),
        AlertState::Resolved { since_ms, fired_ms, .. } => (since_ms, Some(fired_ms), None),
    }
}

/// Transitions that were not acknowledged, in order.
pub(super) fn transitions(state: &State) -> Result<Vec<Transition>, StateError> {
    state.with(|connection| {
        let mut select = connection.prepare_cached(
            "SELECT id, at_ms, kind, since_ms, fired_ms, rule, fingerprint, labels, annotations, value
             FROM rule_transition ORDER BY id",
        )?;
        let transition = |row: &Row<'_>| {
            let (at_ms, kind): (i64, String) = (row.get(1)?, row.get(2)?);
            let (since_ms, fired_ms) = (row.get(3)?, row.get(4)?);
            let (kind, alert_state) = if kind == TransitionKind::Resolved.name() {
                (
                    TransitionKind::Resolved,
                    AlertState::Resolved {
                        since_ms,
                        fired_ms,
                        resolved_ms: at_ms,
                    },
                )
            } else {
                (
                    TransitionKind::Fired,
                    AlertState::Firing {
                        since_ms,
                        fired_ms,
                        gone_ms: None,
                    },
                )
            };
            Ok(Transition {
                id: row.get(0)?,
                at_ms,
                kind,
                alert: alert_of(row, 5, alert_state)?,
            })
        };
        select.query_map([], transition)?.collect()
    })
}

pub(super) fn acknowledge(state: &State, ids: &[i64]) -> Result<(), StateError> {
    if ids.is_empty() {
        return Ok(());
    }
    state.with(|connection| {
        let transaction = connection.transaction()?;
        for id in ids {
            transaction
                .prepare_cached("DELETE FROM rule_transition WHERE id = ?1")?
                .execute([id])?;
        }
        transaction.commit()
    })
}
