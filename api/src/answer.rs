//! The page behind the links in messages: one group of alerts, and what may be said about it by whoever got the message. Opening
//! it changes nothing, for programs that guard mail and chats open links too; only its buttons do.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::CACHE_CONTROL;
use axum::response::{Html, IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, html};
use predict::incident::{Incident, IncidentBook, Verdict};
use store::Store;

use crate::app::App;
use crate::audit::Done;
use crate::notify::{HeldAlert, Notification, NotifyError, Outbox};
use crate::outcome::incident_of;
use crate::page::layout::{head, href};
use crate::page::text::{ago, counted, moment};
use crate::params::Scope;
use crate::problem::{Kind, Problem};
use crate::silences::{Condition, Silence, SilenceBook};
use crate::work::blocking;

/// The page's path, which needs no token but that in the link.
pub(crate) const PATH: &str = "/answer";

/// What a button says and does.
const ANSWERS: [(&str, &str, &str, Deed); 7] = [
    ("acknowledge", "acknowledge", "I have it in hand", Deed::Acknowledge),
    ("silence", "silence-1h", "Silence for 1 h", Deed::Silence { hours: 1 }),
    ("silence", "silence-8h", "8 h", Deed::Silence { hours: 8 }),
    ("silence", "silence-24h", "24 h", Deed::Silence { hours: 24 }),
    ("verdict", "real", "Real", Deed::Judge(Verdict::Real)),
    ("verdict", "noise", "Noise", Deed::Judge(Verdict::Noise)),
    ("verdict", "mitigated", "Mitigated", Deed::Judge(Verdict::Mitigated)),
];

/// The groups of buttons, with what they are for.
const PLACES: [(&str, &str, &str); 3] = [
    (
        "acknowledge",
        "Acknowledge",
        "It is then neither repeated nor passed on to the next one, until it ends.",
    ),
    ("silence", "Silence", "Nobody is told about it for a while."),
    (
        "verdict",
        "What was it?",
        "What is said here is what the next training learns from. Mitigated: it would have failed, had nobody acted.",
    ),
];

#[derive(Debug, Clone, Copy)]
enum Deed {
    Acknowledge,
    Silence { hours: i64 },
    Judge(Verdict),
}

/// `GET /answer?t=`
pub(crate) async fn show(State(app): State<App>, request: Request) -> Response {
    match looked_up(&app, request).await {
        Ok(page) => page.shown(app.now(), None),
        Err(problem) => failure(&problem),
    }
}

/// `POST /answer`, a form with `t`, `do` and `who`.
pub(crate) async fn answer(State(app): State<App>, request: Request) -> Response {
    match answered(&app, request).await {
        Ok((page, done)) => {
            let mut response = page.shown(app.now(), Some(&done.said));
            response.extensions_mut().insert(done);
            response
        }
        Err(problem) => failure(&problem),
    }
}

async fn answered(app: &App, request: Request) -> Result<(Page, Done), Problem> {
    let page = looked_up(app, request).await?;
    let wanted = page.scope.params.get("do").unwrap_or_default();
    let answer = ANSWERS.iter().find(|(_, name, _, _)| *name == wanted);
    let (_, _, _, deed) = answer.ok_or_else(|| Problem::invalid(format!("there is no answer {wanted:?}")))?;
    let typed = page
        .scope
        .params
        .get("who")
        .map(str::trim)
        .filter(|who| !who.is_empty());
    let who = typed.map_or_else(|| format!("a link sent to {}", page.receiver), str::to_owned);
    let (store, now, deed) = (Arc::clone(&page.scope.store), app.now(), *deed);
    let notifier = Arc::clone(app.notifier());
    let alerts: Vec<Notification> = page.held.iter().map(|held| held.alert.clone()).collect();
    if alerts.is_empty() {
        return Err(Problem::new(Kind::Conflict, "none of these alerts fires any more"));
    }
    let (who, said) = blocking(move || {
        let outbox = notifier.outbox(store.state())?;
        let said = done(&outbox, &store, &alerts, deed, &who, now)?;
        Ok((who, said))
    })
    .await?;
    tracing::info!(receiver = page.receiver, said, "a message was answered");
    let done = Done {
        tenant: page.scope.tenant.clone(),
        actor: who,
        said,
    };
    app.notifier().ring();
    let page = page.again(app).await?;
    Ok((page, done))
}

/// Does it, and says what was done.
fn done(
    outbox: &Outbox,
    store: &Store,
    alerts: &[Notification],
    deed: Deed,
    who: &str,
    now: i64,
) -> Result<String, Problem> {
    let count = counted(alerts.len(), "alert", "alerts");
    match deed {
        Deed::Acknowledge => {
            let fingerprints: Vec<String> = alerts.iter().map(|alert| alert.fingerprint.clone()).collect();
            outbox.acknowledge(store.state(), now, &fingerprints, who, "")?;
            Ok(format!("{count} acknowledged by {who}."))
        }
        Deed::Silence { hours } => {
            let book = SilenceBook::open(store.state())?;
            for alert in alerts {
                let silence = silence(alert, who, now, hours);
                crate::silences::checked(&silence, now)?;
                book.add(&silence)?;
            }
            Ok(format!("{count} silenced for {hours} h by {who}."))
        }
        Deed::Judge(verdict) => {
            let incidents = alerts.iter().filter_map(incident_of).map(|incident| Incident {
                verdict,
                summary: format!("judged by {who}"),
                ..incident
            });
            let incidents: Vec<Incident> = incidents.collect();
            if incidents.is_empty() {
                return Err(Problem::new(
                    Kind::Conflict,
                    "these alerts name no host, so that nothing can be learnt from a verdict",
                ));
            }
            // What else is known about them stays.
            IncidentBook::open(store.state())?.declare_all(&incidents, |known| known.verdict = verdict)?;
            Ok(format!("{count} judged {verdict} by {who}."))
        }
    }
}

/// All labels of the alert, or more would be silenced than was shown.
fn silence(alert: &Notification, who: &str, now: i64, hours: i64) -> Silence {
    let condition = |(name, value): (&String, &String)| Condition {
        name: name.clone(),
        value: value.clone(),
        is_regex: false,
        is_equal: true,
    };
    Silence {
        id: 0,
        conditions: alert.labels.iter().map(condition).collect(),
        starts_ms: now,
        ends_ms: now + hours * 3_600_000,
        created_by: who.to_owned(),
        comment: "from a link in a message".to_owned(),
        updated_ms: now,
    }
}

struct Page {
    scope: Scope,
    token: String,
    receiver: String,
    until_ms: i64,
    held: Vec<HeldAlert>,
}

/// Whose link it is. Whoever has none learns nothing about which tenants there are.
pub(crate) async fn scope(app: &App, request: Request) -> Result<Scope, Problem> {
    Scope::read(app, request).await.map_err(|problem| match problem.kind() {
        Kind::NotFound => NotifyError::Link { is_old: false }.into(),
        _ => problem,
    })
}

async fn looked_up(app: &App, request: Request) -> Result<Page, Problem> {
    let scope = scope(app, request).await?;
    let token = scope.params.get("t").unwrap_or_default().to_owned();
    let page = Page {
        scope,
        token,
        receiver: String::new(),
        until_ms: 0,
        held: Vec::new(),
    };
    page.again(app).await
}

impl Page {
    /// The same as things stand now.
    async fn again(self, app: &App) -> Result<Self, Problem> {
        let (store, now, token) = (Arc::clone(&self.scope.store), app.now(), self.token.clone());
        let notifier = Arc::clone(app.notifier());
        let (grant, held) = blocking(move || {
            let outbox = notifier.outbox(store.state())?;
            let (grant, alerts) = outbox.granted(store.state(), now, &token)?;
            let mut held = outbox.alerts(store.state(), now)?;
            held.retain(|held| alerts.iter().any(|alert| alert.fingerprint == held.alert.fingerprint));
            Ok((grant, held))
        })
        .await?;
        Ok(Self {
            receiver: grant.receiver,
            until_ms: grant.until_ms,
            held,
            ..self
        })
    }

    fn shown(&self, now: i64, said: Option<&str>) -> Response {
        let main = html! {
            div.head { h1 { @if self.held.is_empty() { "Nothing of this fires any more" } @else { (counted(self.held.len(), "alert is firing", "alerts are firing")) } } }
            @if let Some(said) = said { div.card { div.body role="status" { p { b { (said) } } } } }
            @if !self.held.is_empty() {
                div.card { ul.events { @for held in self.held.iter().take(SHOWN_MAX) { li { (alert(held, now)) } } }
                    @if self.held.len() > SHOWN_MAX { p.muted { "and " (self.held.len() - SHOWN_MAX) " more" } }
                }
                form.answer method="post" action=(href(PATH, &self.scope.tenant)) {
                    input type="hidden" name="t" value=(self.token);
                    div.card { div.body { label { "Your name" input type="text" name="who" maxlength="100" autocomplete="name"; } } }
                    @for (place, title, what) in PLACES {
                        div.card id=(place) {
                            header { h2 { (title) } p { (what) } }
                            div.body.buttons { @for (_, name, words, _) in ANSWERS.iter().filter(|answer| answer.0 == place) {
                                button type="submit" name="do" value=(name) { (words) }
                            } }
                        }
                    }
                }
            }
            p.muted.small { "Whoever has this link can do this, until " (moment(self.until_ms)) ". It was sent to " (self.receiver) "." }
        };
        framed(&main)
    }
}

/// Alerts that are shown.
const SHOWN_MAX: usize = 100;

fn alert(held: &HeldAlert, now: i64) -> Markup {
    let alert = &held.alert;
    let label = |name: &str| alert.labels.get(name).map(String::as_str);
    html! {
        span.when { (moment(alert.starts_ms)) br; (ago(now, alert.starts_ms)) }
        div.what {
            span.chip.bad { "firing" } " "
            @if held.acknowledged.is_some() { span.chip { "acknowledged" } " " }
            @if !held.silenced_by.is_empty() { span.chip { "silenced" } " " }
            b { (label("alertname").unwrap_or("alert")) }
            @if let Some(host) = label("host").or_else(|| label("host_name")) { " on " (host) }
            @if let Some(text) = alert.annotations.get("summary") { p { (text) } }
            @if let Some(text) = alert.annotations.get("action") { p.muted { (text) } }
            @if let Some(one) = &held.acknowledged { p.muted { (one.who) " has it in hand, since " (moment(one.at_ms)) } }
        }
    }
}

/// The frame of the other pages leads to places that a link does not open, and names tenants.
fn framed(main: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { (head("Answer")) meta name="robots" content="noindex"; }
            body.alone { main #main { (main) } }
        }
    };
    ([(CACHE_CONTROL, "no-store")], Html(page.into_string())).into_response()
}

fn failure(problem: &Problem) -> Response {
    let mut response = framed(&html! {
        div.card { div.empty role="alert" {
            strong { (problem.detail()) }
            @if let Some(hint) = problem.hint_text() { p { (hint) } }
            p { a href="/alerts" { "All alerts" } }
        } }
    });
    *response.status_mut() = problem.kind().status();
    response
}
