//! The small transactional state of a tenant: one SQLite file, in which each component owns its tables.

use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::error::ErrorKind;

#[cfg(test)]
mod tests;

/// How long a statement waits for another process, `sqlite3` in an operator's hand, that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A tenant's SQLite file, in WAL mode and fully synchronous: a committed transaction survives a power cut.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl State {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// [`StateError`] when SQLite cannot open it or it is no database.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let open = || {
            let connection = Connection::open(path)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            // The pragma answers with the mode that it reached, hence a query.
            connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
            connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
            connection.execute_batch(
                "CREATE TABLE IF NOT EXISTS migration (
                     component TEXT NOT NULL, step INTEGER NOT NULL, sql TEXT NOT NULL, PRIMARY KEY (component, step)
                 ) STRICT, WITHOUT ROWID",
            )?;
            Ok(connection)
        };
        let connection = open().map_err(|source| StateError::Sqlite {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            connection: Mutex::new(connection),
        })
    }

    /// Runs `work` on the one connection; whoever needs several statements to be one opens a transaction in it.
    ///
    /// `work` must not call this again: there is one connection, so it would wait for itself.
    ///
    /// # Errors
    /// What `work` answers.
    pub fn with<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T, rusqlite::Error>) -> Result<T, StateError> {
        work(&mut self.connection.lock()).map_err(|source| StateError::Sqlite {
            path: self.path.clone(),
            source,
        })
    }

    /// Brings `component`'s tables to the last of `steps`: each step runs once, in order, all that are missing in one
    /// transaction. Steps are only ever added at the end.
    ///
    /// # Errors
    /// [`StateError::Migration`] when a step that ran earlier reads differently now, or when the file holds more steps
    /// than this version knows; [`StateError::Sqlite`] when a step fails: then none of them happened.
    pub fn migrate(&self, component: &str, steps: &[&str]) -> Result<(), StateError> {
        enum Outcome {
            Done,
            Changed(usize),
        }
        let outcome = self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let newest: Option<i64> = transaction.query_row(
                "SELECT max(step) FROM migration WHERE component = ?1",
                [component],
                |row| row.get(0),
            )?;
            let newest = usize::try_from(newest.unwrap_or(0)).unwrap_or(0);
            if newest > steps.len() {
                return Ok(Outcome::Changed(newest));
            }
            for (step, sql) in (1_usize..).zip(steps) {
                let applied: Option<String> = transaction
                    .query_row(
                        "SELECT sql FROM migration WHERE component = ?1 AND step = ?2",
                        (component, step as i64),
                        |row| row.get(0),
                    )
                    .optional()?;
                match applied {
                    Some(applied) if applied == *sql => {}
                    Some(_) => return Ok(Outcome::Changed(step)),
                    None => {
                        transaction.execute_batch(sql)?;
                        transaction.execute(
                            "INSERT INTO migration (component, step, sql) VALUES (?1, ?2, ?3)",
                            (component, step as i64, *sql),
                        )?;
                    }
                }
            }
            transaction.commit()?;
            Ok(Outcome::Done)
        })?;
        match outcome {
            Outcome::Done => Ok(()),
            Outcome::Changed(step) => Err(StateError::Migration {
                path: self.path.clone(),
                component: component.to_owned(),
                step,
            }),
        }
    }

    /// Writes a copy, as of now and consistent, into the new file `to`; the caller syncs it.
    ///
    /// # Errors
    /// [`StateError`] when it cannot be read or written.
    pub(crate) fn copy_to(&self, to: &Path) -> Result<(), StateError> {
        self.with(|connection| {
            let to = to.to_str().ok_or_else(|| rusqlite::Error::InvalidPath(to.to_owned()))?;
            // In one read transaction, as SQLite's backup interface does, and without holding up writers.
            connection.execute("VACUUM INTO ?1", [to]).map(drop)
        })
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The small state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// SQLite refused.
    #[error("{} failed", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file was made by another version of this component.
    #[error("step {step} of {component} in {} is not one that this version knows", path.display())]
    Migration {
        /// The file.
        path: PathBuf,
        /// Whose tables.
        component: String,
        /// The first step that differs.
        step: usize,
    },
}

impl StateError {
    /// What a caller does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        use rusqlite::ErrorCode as Code;
        match self {
            Self::Migration { .. } => ErrorKind::Conflict,
            Self::Sqlite { source, .. } => match source.sqlite_error_code() {
                Some(Code::DiskFull | Code::DatabaseBusy | Code::DatabaseLocked) => ErrorKind::Unavailable,
                Some(Code::DatabaseCorrupt | Code::NotADatabase) => ErrorKind::Corrupt,
                Some(Code::ConstraintViolation) => ErrorKind::Conflict,
                _ => ErrorKind::Internal,
            },
        }
    }

    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match (self, self.kind()) {
            (Self::Migration { .. }, _) => {
                Some("the file was written by a newer foreshock: run that one, or restore a backup")
            }
            (_, ErrorKind::Corrupt) => {
                Some("restore the file from a backup; `sqlite3 FILE .recover` saves what is readable")
            }
            (_, ErrorKind::Unavailable) => Some("free disk space, and close other programs that hold the file"),
            _ => None,
        }
    }
}
