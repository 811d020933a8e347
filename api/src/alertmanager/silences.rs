//! Silences, under ids in the form of UUIDs.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, filters};
use crate::app::App;
use crate::notify::matcher;
use crate::number::rfc3339;
use crate::params::{Scope, Told, parse_time};
use crate::problem::Problem;
use crate::silences::{Condition, Silence, SilenceBook, checked};
use crate::work::blocking;

/// Ended silences are shown so long.
const ENDED_SHOWN_MS: i64 = 5 * 86_400_000;

/// A silence as it is posted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Posted {
    #[serde(default)]
    id: String,
    matchers: Vec<Condition>,
    starts_at: String,
    ends_at: String,
    created_by: String,
    comment: String,
}

/// What these clients call silence `number`: a UUID of version 4 in form, with the number at its end.
pub(super) fn id_of(number: i64) -> String {
    format!("f0e5e0c4-0000-4000-8000-{number:012x}")
}

fn number_of(id: &str) -> Option<i64> {
    if let Ok(number) = id.parse() {
        return Some(number);
    }
    let digits = id.strip_prefix("f0e5e0c4-0000-4000-8000-")?;
    (digits.len() == 12)
        .then(|| i64::from_str_radix(digits, 16).ok())
        .flatten()
}

/// `GET /api/v2/silences`
pub(crate) async fn list(State(app): State<App>, request: Request) -> Answer {
    let Scope { store, params, .. } = Scope::read(&app, request).await?;
    let filters = filters(&params)?;
    let now = app.now();
    let mut found = blocking(move || Ok(SilenceBook::open(store.state())?.current(now - ENDED_SHOWN_MS)?)).await?;
    found.retain(|silence| {
        let conditions = silence.conditions.iter();
        let named = conditions.map(|c| (c.name.clone(), c.value.clone())).collect();
        matcher::all_match(&filters, &named)
    });
    // As Alertmanager: what is in force and ends first, then what is to come, then what ended last.
    found.sort_by_key(|silence| match state(silence, now) {
        "active" => (0, silence.ends_ms),
        "pending" => (1, silence.starts_ms),
        _ => (2, -silence.ends_ms),
    });
    let shown: Vec<Value> = found.iter().map(|silence| silence_json(silence, now)).collect();
    Ok(Json(shown).into_response())
}

/// `GET /api/v2/silence/{id}`
pub(crate) async fn one(State(app): State<App>, Path(id): Path<String>, request: Request) -> Answer {
    let store = Scope::read(&app, request).await?.store;
    let number = number_of(&id).ok_or_else(|| missing(&id))?;
    let found = blocking(move || Ok(SilenceBook::open(store.state())?.get(number)?)).await?;
    let silence = found.ok_or_else(|| missing(&id))?;
    Ok(Json(silence_json(&silence, app.now())).into_response())
}

/// `POST /api/v2/silences`: a new one, or a change to one that has not ended. A change to what it matches ends it and begins
/// another one, so that what was silenced when stays true.
pub(crate) async fn post(State(app): State<App>, told: Result<Told<Posted>, Problem>) -> Answer {
    let Told { store, body, .. } = told?;
    let now = app.now();
    let time = |name: &str, text: &str| {
        parse_time(text).ok_or_else(|| Problem::invalid(format!("{name} {text:?} is no time; use RFC 3339")))
    };
    let (starts_ms, ends_ms) = (time("startsAt", &body.starts_at)?, time("endsAt", &body.ends_at)?);
    if body.comment.is_empty() || body.created_by.is_empty() {
        return Err(Problem::invalid("createdBy and comment must say something").into());
    }
    let replaced = match body.id.as_str() {
        "" => None,
        id => Some(number_of(id).ok_or_else(|| missing(id))?),
    };
    let silence = Silence {
        id: 0,
        conditions: body.matchers,
        // What began before now began now, as far as this server goes; a silence that is changed keeps its beginning.
        starts_ms: if replaced.is_some() {
            starts_ms
        } else {
            starts_ms.max(now)
        },
        ends_ms,
        created_by: body.created_by,
        comment: body.comment,
        updated_ms: now,
    };
    checked(&silence, now)?;
    let number = blocking(move || {
        let book = SilenceBook::open(store.state())?;
        let Some(number) = replaced else {
            return Ok(book.add(&silence)?);
        };
        let known = book.get(number)?.ok_or_else(|| missing(&id_of(number)))?;
        if known.conditions == silence.conditions && known.ends_ms > now {
            book.change(number, &silence)?;
            return Ok(number);
        }
        book.end(number, now)?;
        let starts_ms = silence.starts_ms.max(now);
        Ok(book.add(&Silence { starts_ms, ..silence })?)
    })
    .await?;
    app.notifier().ring();
    Ok(Json(json!({ "silenceID": id_of(number) })).into_response())
}

/// `DELETE /api/v2/silence/{id}`
pub(crate) async fn delete(State(app): State<App>, Path(id): Path<String>, request: Request) -> Answer {
    let store = Scope::read(&app, request).await?.store;
    let number = number_of(&id).ok_or_else(|| missing(&id))?;
    let now = app.now();
    if blocking(move || Ok(SilenceBook::open(store.state())?.end(number, now)?)).await? {
        Ok(StatusCode::OK.into_response())
    } else {
        Err(missing(&id).into())
    }
}

fn state(silence: &Silence, now: i64) -> &'static str {
    if silence.ends_ms <= now {
        "expired"
    } else if silence.starts_ms > now {
        "pending"
    } else {
        "active"
    }
}

fn silence_json(silence: &Silence, now: i64) -> Value {
    json!({
        "id": id_of(silence.id),
        "matchers": silence.conditions,
        "startsAt": rfc3339(silence.starts_ms),
        "endsAt": rfc3339(silence.ends_ms),
        "updatedAt": rfc3339(silence.updated_ms),
        "createdBy": silence.created_by,
        "comment": silence.comment,
        "status": { "state": state(silence, now) },
    })
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!("there is no silence {id:?} that has not ended"))
}
