//! Silences: alerts that nobody is to be told about for a while. They go on being evaluated and shown.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rusqlite::{OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Labels, MatchOp, Matcher, State as TenantState, StateError};

use crate::app::App;
use crate::number::rfc3339;
use crate::params::{Scope, Told, parse_duration, parse_time};
use crate::problem::{Kind, Problem};
use crate::work::blocking;

const STEPS: [&str; 2] = [
    "CREATE TABLE silence (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    matchers TEXT NOT NULL,
    starts_ms INTEGER NOT NULL,
    ends_ms INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    comment TEXT NOT NULL
) STRICT",
    "ALTER TABLE silence ADD COLUMN updated_ms INTEGER NOT NULL DEFAULT 0;
UPDATE silence SET updated_ms = starts_ms;",
];

/// One condition of a silence, as Alertmanager writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Condition {
    /// The label.
    pub name: String,
    /// Its value or pattern.
    pub value: String,
    /// Whether `value` is a pattern.
    #[serde(default)]
    pub is_regex: bool,
    /// Whether it must match; otherwise it must not.
    #[serde(default = "yes")]
    pub is_equal: bool,
}

fn yes() -> bool {
    true
}

impl Condition {
    fn matcher(&self) -> Result<Matcher, Problem> {
        let op = match (self.is_regex, self.is_equal) {
            (false, true) => MatchOp::Eq,
            (false, false) => MatchOp::Ne,
            (true, true) => MatchOp::Re,
            (true, false) => MatchOp::Nre,
        };
        Matcher::new(op, &*self.name, &*self.value).map_err(|error| Problem::from_error(Kind::Invalid, &error))
    }
}

/// Alerts that nobody is to be told about between two times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Its number.
    pub id: i64,
    /// What an alert's labels must all meet.
    pub conditions: Vec<Condition>,
    /// From when on, milliseconds.
    pub starts_ms: i64,
    /// Until when.
    pub ends_ms: i64,
    /// Who wants it.
    pub created_by: String,
    /// Why.
    pub comment: String,
    /// When it was last changed.
    pub updated_ms: i64,
}

impl Silence {
    /// Whether it silences an alert with these labels at this time.
    #[must_use]
    pub fn covers(&self, labels: &Labels, now_ms: i64) -> bool {
        (self.starts_ms..self.ends_ms).contains(&now_ms)
            && self
                .conditions
                .iter()
                .all(|c| c.matcher().is_ok_and(|matcher| matcher.matches_labels(labels)))
    }
}

/// The silences of a tenant, kept in its state.
#[derive(Clone, Copy, Debug)]
pub struct SilenceBook<'a> {
    state: &'a TenantState,
}

impl<'a> SilenceBook<'a> {
    /// Opens the book; makes its table on first use.
    ///
    /// # Errors
    /// [`StateError`] when the state cannot be written.
    pub fn open(state: &'a TenantState) -> Result<Self, StateError> {
        state.migrate("silence", &STEPS)?;
        Ok(Self { state })
    }

    /// Adds a silence, whose `id` is not looked at; answers the id that it got.
    ///
    /// # Errors
    /// [`StateError`] when it cannot be written.
    pub fn add(&self, silence: &Silence) -> Result<i64, StateError> {
        let conditions = serde_json::to_string(&silence.conditions).unwrap_or_default();
        self.state.with(|connection| {
            connection.execute(
                "INSERT INTO silence (matchers, starts_ms, ends_ms, created_by, comment, updated_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    conditions,
                    silence.starts_ms,
                    silence.ends_ms,
                    silence.created_by,
                    silence.comment,
                    silence.updated_ms
                ],
            )?;
            Ok(connection.last_insert_rowid())
        })
    }

    /// Silences that have not ended at `now_ms`, the one that ends next first.
    ///
    /// # Errors
    /// [`StateError`] when they cannot be read.
    pub fn current(&self, now_ms: i64) -> Result<Vec<Silence>, StateError> {
        self.state.with(|connection| {
            let mut statement = connection.prepare(
                "SELECT id, matchers, starts_ms, ends_ms, created_by, comment, updated_ms FROM silence
                 WHERE ends_ms > ?1 ORDER BY ends_ms, id",
            )?;
            statement.query_map([now_ms], read)?.collect()
        })
    }

    /// The silence of that number, also where it has ended.
    ///
    /// # Errors
    /// [`StateError`] when it cannot be read.
    pub fn get(&self, id: i64) -> Result<Option<Silence>, StateError> {
        self.state.with(|connection| {
            connection
                .prepare(
                    "SELECT id, matchers, starts_ms, ends_ms, created_by, comment, updated_ms FROM silence WHERE id = ?1",
                )?
                .query_row([id], read)
                .optional()
        })
    }

    /// Gives a silence another end and comment; what it matches and when it began stays.
    ///
    /// # Errors
    /// [`StateError`] when it cannot be written.
    pub fn change(&self, id: i64, silence: &Silence) -> Result<(), StateError> {
        self.state.with(|connection| {
            connection.execute(
                "UPDATE silence SET ends_ms = ?2, created_by = ?3, comment = ?4, updated_ms = ?5 WHERE id = ?1",
                params![
                    id,
                    silence.ends_ms,
                    silence.created_by,
                    silence.comment,
                    silence.updated_ms
                ],
            )?;
            Ok(())
        })
    }

    /// Ends a silence; answers whether there was one that had not ended.
    ///
    /// # Errors
    /// [`StateError`] when it cannot be written.
    pub fn end(&self, id: i64, now_ms: i64) -> Result<bool, StateError> {
        self.state.with(|connection| {
            let ended = connection.execute(
                "UPDATE silence SET ends_ms = ?2, updated_ms = ?2 WHERE id = ?1 AND ends_ms > ?2",
                [id, now_ms],
            )?;
            Ok(ended > 0)
        })
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Silence> {
    let conditions: String = row.get(1)?;
    let conditions = serde_json::from_str(&conditions)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error)))?;
    Ok(Silence {
        id: row.get(0)?,
        conditions,
        starts_ms: row.get(2)?,
        ends_ms: row.get(3)?,
        created_by: row.get(4)?,
        comment: row.get(5)?,
        updated_ms: row.get(6)?,
    })
}

/// A silence as it is asked for: by conditions or by host, until a time or for a while.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Wish {
    #[serde(default)]
    matchers: Vec<Condition>,
    host: Option<String>,
    alertname: Option<String>,
    starts_at: Option<String>,
    ends_at: Option<String>,
    duration: Option<String>,
    #[serde(default)]
    created_by: String,
    #[serde(default)]
    comment: String,
}

/// `GET /api/v1/silences`
pub(crate) async fn list(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let store = Scope::read(&app, request).await?.store;
    let now = app.now();
    let found = blocking(move || Ok(SilenceBook::open(store.state())?.current(now)?)).await?;
    let silences: Vec<Value> = found.iter().map(|silence| silence_json(silence, now)).collect();
    Ok(axum::Json(json!({ "silences": silences })).into_response())
}

/// `GET /api/v1/silences/{id}`
pub(crate) async fn one(State(app): State<App>, Path(id): Path<i64>, request: Request) -> Result<Response, Problem> {
    let store = Scope::read(&app, request).await?.store;
    let now = app.now();
    let found = blocking(move || Ok(SilenceBook::open(store.state())?.current(now)?)).await?;
    let silence = found
        .iter()
        .find(|silence| silence.id == id)
        .ok_or_else(|| missing(id))?;
    Ok(axum::Json(silence_json(silence, now)).into_response())
}

/// `POST /api/v1/silences`
pub(crate) async fn create(State(app): State<App>, told: Told<Wish>) -> Result<Response, Problem> {
    let Told { store, body, .. } = told;
    let silence = wished(body, app.now())?;
    let id = blocking(move || Ok(SilenceBook::open(store.state())?.add(&silence)?)).await?;
    Ok((StatusCode::CREATED, axum::Json(json!({ "silenceID": id.to_string() }))).into_response())
}

/// `DELETE /api/v1/silences/{id}`
pub(crate) async fn delete(
    State(app): State<App>,
    Path(id): Path<i64>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let store = Scope::read(&app, request).await?.store;
    let now = app.now();
    if blocking(move || Ok(SilenceBook::open(store.state())?.end(id, now)?)).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(missing(id))
    }
}

fn wished(wish: Wish, now: i64) -> Result<Silence, Problem> {
    let time = |name: &str, text: &str| {
        parse_time(text).ok_or_else(|| Problem::invalid(format!("{name} {text:?} is no time")).hint("use RFC 3339"))
    };
    let mut conditions = wish.matchers;
    for (name, value) in [("host", wish.host), ("alertname", wish.alertname)] {
        let plain = |value| Condition {
            name: name.to_owned(),
            value,
            is_regex: false,
            is_equal: true,
        };
        conditions.extend(value.filter(|value| !value.is_empty()).map(plain));
    }
    let starts_ms = wish
        .starts_at
        .as_deref()
        .map_or(Ok(now), |text| time("startsAt", text))?;
    let ends_ms = match (wish.ends_at.as_deref(), wish.duration.as_deref()) {
        (Some(text), _) => time("endsAt", text)?,
        (None, Some(text)) => {
            let length =
                parse_duration(text).ok_or_else(|| Problem::invalid(format!("duration {text:?} is none, as 1h is")))?;
            starts_ms.saturating_add(length)
        }
        (None, None) => {
            return Err(Problem::invalid("the silence has no end").hint("give `duration`, as 1h, or `endsAt`"));
        }
    };
    let silence = Silence {
        id: 0,
        conditions,
        starts_ms,
        ends_ms,
        created_by: wish.created_by,
        comment: wish.comment,
        updated_ms: now,
    };
    checked(&silence, now)?;
    Ok(silence)
}

/// Refuses a silence that would match everything, or that has no time in which it holds.
pub(crate) fn checked(silence: &Silence, now: i64) -> Result<(), Problem> {
    for condition in &silence.conditions {
        condition.matcher()?;
    }
    // As Alertmanager: what matches everything would silence everything.
    let selects = |c: &Condition| !c.matcher().is_ok_and(|matcher| matcher.matches(""));
    if !silence.conditions.iter().any(selects) {
        return Err(Problem::invalid("the silence would match every alert")
            .hint("give `host`, `alertname` or `matchers` with at least one that does not match the empty value"));
    }
    if silence.ends_ms <= silence.starts_ms || silence.ends_ms <= now {
        return Err(Problem::invalid(
            "the silence ends before it starts, or has ended already",
        ));
    }
    Ok(())
}

fn silence_json(silence: &Silence, now: i64) -> Value {
    json!({
        "id": silence.id.to_string(),
        "matchers": silence.conditions,
        "startsAt": rfc3339(silence.starts_ms),
        "endsAt": rfc3339(silence.ends_ms),
        "createdBy": silence.created_by,
        "comment": silence.comment,
        "status": { "state": if silence.starts_ms > now { "pending" } else { "active" } },
    })
}

fn missing(id: i64) -> Problem {
    Problem::not_found(format!("there is no current silence {id}")).hint("GET /api/v1/silences lists them")
}

#[cfg(test)]
mod tests;
