//! The incidents of a tenant, kept in its state.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use store::{State, StateError};

use super::{Incident, Source, Verdict};

const STEPS: [&str; 1] = ["create table incidents (
    id text primary key not null,
    host text not null,
    device text,
    start_ms integer not null,
    end_ms integer,
    kind text not null,
    source text not null,
    verdict text not null,
    summary text not null
) strict;
create index incidents_by_start on incidents (start_ms);
create index incidents_by_host on incidents (host, start_ms);"];

/// An incident could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum IncidentError {
    /// The state failed.
    #[error("cannot read or write the incidents")]
    State(#[from] StateError),
    /// The incident contradicts itself.
    #[error("incident {id:?} is not valid: {why}")]
    Invalid {
        /// Which one.
        id: String,
        /// What is wrong.
        why: &'static str,
    },
    /// No such incident.
    #[error("there is no incident {id:?}")]
    Missing {
        /// Which one.
        id: String,
    },
}

impl IncidentError {
    /// What a caller can do about it: `invalid`, `missing` or `internal`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::State(_) => "internal",
            Self::Invalid { .. } => "invalid",
            Self::Missing { .. } => "missing",
        }
    }

    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::State(_) => None,
            Self::Invalid { .. } => Some("give a host, a kind, and an end after the start or none"),
            Self::Missing { .. } => Some("list the incidents to see their ids"),
        }
    }
}

/// The incidents of a tenant.
#[derive(Clone, Copy, Debug)]
pub struct IncidentBook<'a> {
    state: &'a State,
}

impl<'a> IncidentBook<'a> {
    /// Opens the book in the state of a tenant; makes its table on first use.
    ///
    /// # Errors
    /// [`IncidentError::State`] when the state cannot be written.
    pub fn open(state: &'a State) -> Result<Self, IncidentError> {
        state.migrate("incidents", &STEPS)?;
        Ok(Self { state })
    }

    /// Writes an incident. Where its id is known already, `known` changes what is known instead and the rest stays: a sender
    /// that tries again, or a repeated import, takes back nothing that people said since. Answers the incident as it stands then.
    ///
    /// # Errors
    /// [`IncidentError::Invalid`] when it would have no host or kind, or end before it starts.
    pub fn declare(&self, incident: &Incident, known: impl FnOnce(&mut Incident)) -> Result<Incident, IncidentError> {
        self.write(|transaction| put(transaction, incident, known))
    }

    /// Writes several incidents in one transaction, or none, each as [`IncidentBook::declare`] does.
    ///
    /// # Errors
    /// As [`IncidentBook::declare`].
    pub fn declare_all(
        &self,
        incidents: &[Incident],
        mut known: impl FnMut(&mut Incident),
    ) -> Result<Vec<Incident>, IncidentError> {
        self.write(|transaction| {
            let all = incidents.iter().map(|i| put(transaction, i, &mut known));
            all.collect()
        })
    }

    /// Changes all of an incident but its id; reads and writes it in one transaction, so that who changes something else at the
    /// same time loses nothing. Answers the incident as it stands then.
    ///
    /// # Errors
    /// [`IncidentError::Missing`] when there is none of this id, [`IncidentError::Invalid`] as [`IncidentBook::declare`].
    pub fn change(&self, id: &str, change: impl FnOnce(&mut Incident)) -> Result<Incident, IncidentError> {
        self.write(|transaction| {
            let known = find(transaction, id)?.ok_or_else(|| IncidentError::Missing { id: id.to_owned() })?;
            alter(transaction, known, change)
        })
    }

    /// Ends an incident.
    ///
    /// # Errors
    /// [`IncidentError::Missing`] when there is none of this id, [`IncidentError::Invalid`] when it starts later.
    pub fn close(&self, id: &str, end: i64) -> Result<(), IncidentError> {
        self.change(id, |incident| incident.end = Some(end)).map(drop)
    }

    /// Records what people found out about an incident.
    ///
    /// # Errors
    /// [`IncidentError::Missing`] when there is none of this id.
    pub fn judge(&self, id: &str, verdict: Verdict) -> Result<(), IncidentError> {
        self.change(id, |incident| incident.verdict = verdict).map(drop)
    }

    /// One incident.
    ///
    /// # Errors
    /// [`IncidentError::Missing`] when there is none of this id.
    pub fn get(&self, id: &str) -> Result<Incident, IncidentError> {
        let found = self.state.with(|conn| find(conn, id))?;
        found.ok_or_else(|| IncidentError::Missing { id: id.to_owned() })
    }

    /// Incidents that overlap `[from, to]`, by start.
    ///
    /// # Errors
    /// [`IncidentError::State`] when they cannot be read.
    pub fn list(&self, from: i64, to: i64) -> Result<Vec<Incident>, IncidentError> {
        Ok(self.state.with(|conn| {
            let mut statement = conn.prepare(&format!(
                "{SELECT} where start_ms <= ?2 and coalesce(end_ms, 9223372036854775807) >= ?1 order by start_ms, id"
            ))?;
            statement.query_map([from, to], read)?.collect()
        })?)
    }

    /// All incidents, by start.
    ///
    /// # Errors
    /// As [`IncidentBook::list`].
    pub fn all(&self) -> Result<Vec<Incident>, IncidentError> {
        self.list(i64::MIN, i64::MAX)
    }

    /// Forgets an incident; answers whether there was one.
    ///
    /// # Errors
    /// [`IncidentError::State`] when it cannot be written.
    pub fn delete(&self, id: &str) -> Result<bool, IncidentError> {
        Ok(self
            .state
            .with(|conn| conn.execute("delete from incidents where id = ?1", [id]))?
            > 0)
    }

    /// Runs `work` in one transaction, of which nothing stays when it fails.
    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>) -> Result<T, IncidentError> {
        self.state.with(|conn| {
            let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            match work(&transaction) {
                Ok(done) => transaction.commit().map(|()| Ok(done)),
                Err(Failure::Incident(error)) => Ok(Err(error)),
                Err(Failure::Sqlite(error)) => Err(error),
            }
        })?
    }
}

/// Why nothing was written.
enum Failure {
    Incident(IncidentError),
    Sqlite(rusqlite::Error),
}

impl From<IncidentError> for Failure {
    fn from(error: IncidentError) -> Self {
        Self::Incident(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Writes an incident, or what `known` makes of the one with its id.
fn put(conn: &Connection, incident: &Incident, known: impl FnOnce(&mut Incident)) -> Result<Incident, Failure> {
    if let Some(found) = find(conn, &incident.id)? {
        return alter(conn, found, known);
    }
    replace(conn, incident)?;
    Ok(incident.clone())
}

/// Writes what `change` makes of a known incident, under the same id; nothing where that is what is known.
fn alter(conn: &Connection, known: Incident, change: impl FnOnce(&mut Incident)) -> Result<Incident, Failure> {
    let mut changed = known.clone();
    change(&mut changed);
    changed.id.clone_from(&known.id);
    if changed != known {
        replace(conn, &changed)?;
    }
    Ok(changed)
}

fn replace(conn: &Connection, i: &Incident) -> Result<(), Failure> {
    check(i)?;
    conn.execute(
        "insert or replace into incidents (id, host, device, start_ms, end_ms, kind, source, verdict, summary)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            i.id,
            i.host,
            i.device,
            i.start,
            i.end,
            i.kind,
            i.source.to_string(),
            i.verdict.to_string(),
            i.summary
        ],
    )?;
    Ok(())
}

fn find(conn: &Connection, id: &str) -> rusqlite::Result<Option<Incident>> {
    conn.query_row(&format!("{SELECT} where id = ?1"), [id], read)
        .optional()
}

const SELECT: &str = "select id, host, device, start_ms, end_ms, kind, source, verdict, summary from incidents";

fn check(incident: &Incident) -> Result<(), IncidentError> {
    let why = if incident.id.is_empty() {
        "it has no id"
    } else if incident.host.is_empty() {
        "it has no host"
    } else if incident.kind.is_empty() {
        "it has no kind"
    } else if incident.end.is_some_and(|end| end < incident.start) {
        "it ends before it starts"
    } else {
        return Ok(());
    };
    Err(IncidentError::Invalid {
        id: incident.id.clone(),
        why,
    })
}

fn read(row: &Row<'_>) -> rusqlite::Result<Incident> {
    let word = |column: usize| -> rusqlite::Result<String> { row.get(column) };
    let bad = |column: usize, e: super::UnknownWord| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(e))
    };
    Ok(Incident {
        id: row.get(0)?,
        host: row.get(1)?,
        device: row.get(2)?,
        start: row.get(3)?,
        end: row.get(4)?,
        kind: row.get(5)?,
        source: word(6)?.parse::<Source>().map_err(|e| bad(6, e))?,
        verdict: word(7)?.parse::<Verdict>().map_err(|e| bad(7, e))?,
        summary: row.get(8)?,
    })
}

#[cfg(test)]
mod tests;
