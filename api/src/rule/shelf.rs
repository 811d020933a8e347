//! Groups that were written over the API. They lie in the tenant's state file, beside the alerts that they raise.

use rusqlite::{OptionalExtension, Transaction, params};
use serde_yaml_ng::{Mapping, Value};
use store::{State, StateError};

use super::file::{Group, LoadError, load};

const STEPS: &[&str] = &["CREATE TABLE rule_shelf (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    changed_ms INTEGER NOT NULL,
    PRIMARY KEY (namespace, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE rule_shelf_version (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL
) STRICT;
INSERT INTO rule_shelf_version (one, version) VALUES (1, 0);"];

/// Groups of one tenant that the API takes.
const GROUPS_MAX: i64 = 1_000;
/// Rules of one such group.
const RULES_MAX: usize = 1_000;

/// A group that cannot be put there, or is not there.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// It is no group, or one with a mistake.
    #[error(transparent)]
    Rules(#[from] LoadError),
    /// It is no group at all.
    #[error("{problem}")]
    Form {
        /// What it is instead.
        problem: String,
    },
    /// Another group has its name. Alerts are known by it, so that it has to stay the only one.
    #[error("group {name:?} is in {place} already")]
    Taken {
        /// The name.
        name: String,
        /// The file or the namespace.
        place: String,
    },
    /// It comes from a file.
    #[error("group {name:?} is loaded from {file} and can only be changed there")]
    ReadOnly {
        /// The name.
        name: String,
        /// The file.
        file: String,
    },
    /// There is no such group.
    #[error("there is no group {name:?} in namespace {namespace:?}")]
    Missing {
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
    },
    /// There are too many groups, or too many rules in one.
    #[error("{count} {what}; the most is {max}")]
    TooMany {
        /// How many there would be.
        count: i64,
        /// Of what.
        what: &'static str,
        /// The bound.
        max: i64,
    },
    /// The state file.
    #[error("the rules cannot be kept")]
    State(#[from] StateError),
}

impl ShelfError {
    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Rules(error) => error.hint(),
            Self::Form { .. } => Some("send one group as in a rule file: name, interval, rules"),
            Self::Taken { .. } => Some("choose another name, or delete the other group first"),
            Self::ReadOnly { .. } => Some("change the file and start the server again, or choose another name"),
            Self::Missing { .. } => Some("GET /config/v1/rules lists those that can be changed"),
            Self::TooMany { .. } => Some("write them into rule files, which have no such bound"),
            Self::State(error) => error.hint(),
        }
    }
}

/// A group as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Shelved {
    /// The namespace that it was put into.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// YAML of the group.
    pub body: String,
}

/// The editable groups in one tenant's state.
#[derive(Debug, Clone, Copy)]
pub struct Shelf<'a> {
    state: &'a State,
}

impl<'a> Shelf<'a> {
    /// The shelf in this state.
    ///
    /// # Errors
    /// [`StateError`] when its tables cannot be made.
    pub fn open(state: &'a State) -> Result<Self, StateError> {
        state.migrate("rule_shelf", STEPS)?;
        Ok(Self { state })
    }

    /// The shelf in a state in which it was opened before.
    #[must_use]
    pub fn opened(state: &'a State) -> Self {
        Self { state }
    }

    /// Counts up with each change.
    ///
    /// # Errors
    /// [`StateError`] when it cannot be read.
    pub fn version(&self) -> Result<i64, StateError> {
        self.state.with(|connection| {
            let mut select = connection.prepare_cached("SELECT version FROM rule_shelf_version")?;
            select.query_row([], |row| row.get(0))
        })
    }

    /// Every group, by namespace and name.
    ///
    /// # Errors
    /// [`StateError`] when they cannot be read.
    pub fn list(&self) -> Result<Vec<Shelved>, StateError> {
        self.state.with(|connection| {
            let mut select =
                connection.prepare_cached("SELECT namespace, name, body FROM rule_shelf ORDER BY namespace, name")?;
            let row = |row: &rusqlite::Row<'_>| {
                Ok(Shelved {
                    namespace: row.get(0)?,
                    name: row.get(1)?,
                    body: row.get(2)?,
                })
            };
            select.query_map([], row)?.collect()
        })
    }

    /// Every group, to be evaluated. One that this version does not understand any more is left out with a warning: it was
    /// understood when it was written.
    ///
    /// # Errors
    /// [`StateError`] when they cannot be read.
    pub fn groups(&self) -> Result<Vec<Group>, StateError> {
        let read = |shelved: Shelved| match parsed(&shelved.body, &shelved.namespace) {
            Ok((group, _)) => Some(group),
            Err(error) => {
                tracing::error!(group = shelved.name, %error, "a group of rules is not evaluated");
                None
            }
        };
        Ok(self.list()?.into_iter().filter_map(read).collect())
    }

    /// Puts a group into a namespace, in the place of one of the same name there. `fixed` are the groups of files.
    ///
    /// # Errors
    /// [`ShelfError`], and then nothing has changed.
    pub fn put(&self, namespace: &str, body: &str, fixed: &[Group], now_ms: i64) -> Result<Group, ShelfError> {
        if namespace.is_empty() || namespace.len() > 256 {
            return Err(ShelfError::Form {
                problem: "a namespace has 1 to 256 bytes".to_owned(),
            });
        }
        let (group, body) = parsed(body, namespace)?;
        let too_many = |count: i64, what, max| Err(ShelfError::TooMany { count, what, max });
        if group.rules.len() > RULES_MAX {
            return too_many(group.rules.len() as i64, "rules in the group", RULES_MAX as i64);
        }
        if let Some(file) = fixed.iter().find(|other| other.name == group.name) {
            return Err(ShelfError::ReadOnly {
                name: group.name,
                file: file.file.clone(),
            });
        }
        enum Outcome {
            Done,
            Taken(String),
            Full(i64),
        }
        let outcome = self.state.with(|connection| {
            let transaction = connection.transaction()?;
            let elsewhere: Option<String> = transaction
                .query_row(
                    "SELECT namespace FROM rule_shelf WHERE name = ?1 AND namespace <> ?2",
                    params![group.name, namespace],
                    |row| row.get(0),
                )
                .optional()?;
            if let Some(place) = elsewhere {
                return Ok(Outcome::Taken(place));
            }
            transaction.execute(
                "INSERT OR REPLACE INTO rule_shelf (namespace, name, body, changed_ms) VALUES (?1, ?2, ?3, ?4)",
                params![namespace, group.name, body, now_ms],
            )?;
            let count: i64 = transaction.query_row("SELECT count(*) FROM rule_shelf", [], |row| row.get(0))?;
            if count > GROUPS_MAX {
                return Ok(Outcome::Full(count));
            }
            count_up(&transaction)?;
            transaction.commit()?;
            Ok(Outcome::Done)
        })?;
        match outcome {
            Outcome::Done => Ok(group),
            Outcome::Taken(place) => Err(ShelfError::Taken {
                name: group.name,
                place: format!("namespace {place:?}"),
            }),
            Outcome::Full(count) => too_many(count, "groups", GROUPS_MAX),
        }
    }

    /// Takes a group away, or with no name every group of the namespace. Answers how many went.
    ///
    /// # Errors
    /// [`ShelfError::Missing`] where there is none; [`ShelfError::State`].
    pub fn remove(&self, namespace: &str, name: Option<&str>) -> Result<usize, ShelfError> {
        let removed = self.state.with(|connection| {
            let transaction = connection.transaction()?;
            let removed = transaction.execute(
                "DELETE FROM rule_shelf WHERE namespace = ?1 AND (?2 IS NULL OR name = ?2)",
                params![namespace, name],
            )?;
            if removed > 0 {
                count_up(&transaction)?;
            }
            transaction.commit()?;
            Ok(removed)
        })?;
        if removed == 0 {
            return Err(ShelfError::Missing {
                namespace: namespace.to_owned(),
                name: name.unwrap_or("*").to_owned(),
            });
        }
        Ok(removed)
    }
}

fn count_up(transaction: &Transaction<'_>) -> Result<(), rusqlite::Error> {
    transaction
        .execute("UPDATE rule_shelf_version SET version = version + 1", [])
        .map(drop)
}

/// The group, and its text as it is kept.
fn parsed(body: &str, namespace: &str) -> Result<(Group, String), ShelfError> {
    let form = |problem: String| ShelfError::Form { problem };
    let value: Value = serde_yaml_ng::from_str(body).map_err(|error| form(format!("this is no YAML: {error}")))?;
    let is_file = value.as_mapping().is_none_or(|mapping| mapping.contains_key("groups"));
    if is_file {
        return Err(form("this is no group".to_owned()));
    }
    let written = |value: &Value| serde_yaml_ng::to_string(value).map_err(|error| form(error.to_string()));
    let kept = written(&value)?;
    let file: Mapping = [(Value::from("groups"), Value::Sequence(vec![value]))]
        .into_iter()
        .collect();
    let group = load(&written(&Value::Mapping(file))?, namespace)?.into_iter().next();
    group
        .map(|group| (group, kept))
        .ok_or_else(|| form("this is no group".to_owned()))
}
