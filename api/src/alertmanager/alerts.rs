//! Alerts in and out, alone and in their groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};
use store::Matcher;

use super::silences::id_of;
use super::{Answer, filters, flag};
use crate::app::App;
use crate::notify::{HeldAlert, Notification, matcher};
use crate::number::rfc3339;
use crate::params::{Params, Scope, Told, parse_time};
use crate::problem::Problem;
use crate::work::blocking;

/// An alert as it is posted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Posted {
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    starts_at: Option<String>,
    ends_at: Option<String>,
    #[serde(rename = "generatorURL", default)]
    generator_url: String,
}

/// `POST /api/v2/alerts`: what is valid is taken in durably, also where something beside it is not.
pub(crate) async fn post(State(app): State<App>, told: Result<Told<Vec<Posted>>, Problem>) -> Answer {
    let Told { store, body, .. } = told?;
    let now = app.now();
    let resolve_after_ms = app.notifier().settings().routing.resolve_after_ms;
    let mut alerts = Vec::new();
    let mut problems = Vec::new();
    for (at, posted) in body.into_iter().enumerate() {
        match taken(posted, now, resolve_after_ms) {
            Ok(alert) => alerts.push(alert),
            Err(problem) => problems.push(format!("alert {}: {problem}", at + 1)),
        }
    }
    if !alerts.is_empty() {
        let notifier = Arc::clone(app.notifier());
        blocking(move || {
            let outbox = notifier.outbox(store.state())?;
            Ok(outbox.take_in(store.state(), now, &alerts)?)
        })
        .await?;
        app.notifier().ring();
    }
    if problems.is_empty() {
        Ok(StatusCode::OK.into_response())
    } else {
        Err(Problem::invalid(problems.join("; ")).into())
    }
}

fn taken(posted: Posted, now: i64, resolve_after_ms: i64) -> Result<Notification, String> {
    let mut labels = posted.labels;
    labels.retain(|_, value| !value.is_empty());
    if labels.is_empty() {
        return Err("it has no labels".to_owned());
    }
    if let Some(name) = labels
        .keys()
        .chain(posted.annotations.keys())
        .find(|name| name.trim().is_empty())
    {
        return Err(format!("{name:?} is no name of a label"));
    }
    let time = |name: &str, text: Option<String>| match text.as_deref() {
        // Go's zero time stands for none.
        None | Some("" | "0001-01-01T00:00:00Z" | "0001-01-01T00:00:00.000Z") => Ok(None),
        Some(text) => parse_time(text)
            .map(Some)
            .ok_or_else(|| format!("{name} {text:?} is no time; use RFC 3339")),
    };
    let ends = time("endsAt", posted.ends_at)?;
    let starts_ms = time("startsAt", posted.starts_at)?.unwrap_or_else(|| ends.map_or(now, |ends| ends.min(now)));
    if ends.is_some_and(|ends| ends < starts_ms) {
        return Err("it ends before it starts".to_owned());
    }
    Ok(Notification {
        fingerprint: crate::rule::fingerprint(&labels),
        labels,
        annotations: posted.annotations,
        starts_ms,
        ends_ms: ends.filter(|ends| *ends <= now),
        value: None,
        generator_url: posted.generator_url,
        outlook: None,
        expires_ms: Some(ends.unwrap_or(now + resolve_after_ms)),
        updated_ms: now,
        since_ms: None,
        trend: None,
    })
}

/// What of the alerts is wanted.
struct Wanted {
    matchers: Vec<Matcher>,
    receiver: Option<Regex>,
    active: bool,
    silenced: bool,
    inhibited: bool,
    muted: bool,
}

impl Wanted {
    fn read(params: &Params) -> Result<Self, Problem> {
        let receiver = params
            .get("receiver")
            .map(|text| Regex::new(&format!("^(?:{text})$")))
            .transpose()
            .map_err(|error| Problem::invalid(format!("receiver is no pattern: {error}")))?;
        Ok(Self {
            matchers: filters(params)?,
            receiver,
            active: flag(params, "active")?,
            silenced: flag(params, "silenced")?,
            inhibited: flag(params, "inhibited")?,
            muted: flag(params, "muted")?,
        })
    }

    fn fits(&self, held: &HeldAlert) -> bool {
        let kept_back = held.is_kept_back();
        !held.alert.is_resolved()
            && matcher::all_match(&self.matchers, &held.alert.labels)
            && (self.active || kept_back)
            && (self.silenced || held.silenced_by.is_empty())
            && (self.inhibited || held.inhibited_by.is_empty())
            && (self.muted || held.muted_by.is_empty())
    }

    fn fits_receiver(&self, name: &str) -> bool {
        self.receiver.as_ref().is_none_or(|pattern| pattern.is_match(name))
    }
}

/// `GET /api/v2/alerts`
pub(crate) async fn list(State(app): State<App>, request: Request) -> Answer {
    let Scope { store, params, .. } = Scope::read(&app, request).await?;
    let wanted = Wanted::read(&params)?;
    let now = app.now();
    let notifier = Arc::clone(app.notifier());
    let mut found = blocking(move || Ok(notifier.outbox(store.state())?.alerts(store.state(), now)?)).await?;
    found.retain(|held| wanted.fits(held) && held.receivers.iter().any(|name| wanted.fits_receiver(name)));
    found.sort_by(|a, b| a.alert.fingerprint.cmp(&b.alert.fingerprint));
    let shown: Vec<Value> = found.iter().map(|held| alert_json(&app, held)).collect();
    Ok(Json(shown).into_response())
}

/// `GET /api/v2/alerts/groups`
pub(crate) async fn groups(State(app): State<App>, request: Request) -> Answer {
    let Scope { store, params, .. } = Scope::read(&app, request).await?;
    let wanted = Wanted::read(&params)?;
    let now = app.now();
    let notifier = Arc::clone(app.notifier());
    let found = blocking(move || Ok(notifier.outbox(store.state())?.groups(store.state(), now)?)).await?;
    let mut shown: Vec<Value> = Vec::new();
    for group in found.iter().filter(|group| wanted.fits_receiver(&group.receiver)) {
        let alerts: Vec<Value> = group
            .alerts
            .iter()
            .filter(|held| wanted.fits(held))
            .map(|held| alert_json(&app, held))
            .collect();
        if !alerts.is_empty() {
            shown.push(json!({ "labels": group.labels, "receiver": { "name": group.receiver }, "alerts": alerts }));
        }
    }
    Ok(Json(shown).into_response())
}

fn alert_json(app: &App, held: &HeldAlert) -> Value {
    let alert = &held.alert;
    let ends_ms = alert.ends_ms.or(alert.expires_ms);
    // Our own rules end their alerts themselves; these clients want to see an end all the same.
    let ends_ms = ends_ms.unwrap_or_else(|| app.now() + app.notifier().settings().routing.resolve_after_ms);
    let receivers: Vec<Value> = held.receivers.iter().map(|name| json!({ "name": name })).collect();
    let mut shown = json!({
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": rfc3339(alert.starts_ms),
        "updatedAt": rfc3339(alert.updated_ms),
        "endsAt": rfc3339(ends_ms),
        "fingerprint": alert.fingerprint,
        "receivers": receivers,
        "status": {
            "state": if held.is_kept_back() { "suppressed" } else { "active" },
            "silencedBy": held.silenced_by.iter().copied().map(id_of).collect::<Vec<_>>(),
            "inhibitedBy": held.inhibited_by,
            "mutedBy": held.muted_by,
        },
    });
    // Clients take it for an address, which nothing is not.
    if !alert.generator_url.is_empty() {
        shown["generatorURL"] = alert.generator_url.as_str().into();
    }
    if let Some(one) = &held.acknowledged {
        shown["acknowledged"] = json!({ "by": one.who, "at": rfc3339(one.at_ms), "comment": one.comment });
    }
    shown
}
