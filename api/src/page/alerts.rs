//! Alerts: what fires, what is about to, what has been resolved, who was told.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use maud::{Markup, html};
use serde_json::json;
use store::host_of;

use crate::app::App;
use crate::board::{ActiveAlert, AlertState};
use crate::notify::{Delivery, Outbox, Outcome};
use crate::params::{DEFAULT_TENANT, Scope};
use crate::problem::Problem;
use crate::silences::{Silence, SilenceBook};
use crate::work::blocking;

use super::layout::{Frame, Section, empty, encoded, href};
use super::text::{ago, counted, moment, percent};

/// `GET /alerts`
pub(crate) async fn show(State(app): State<App>, request: Request) -> Response {
    let frame = |tenant| Frame {
        app: &app,
        tenant,
        section: Section::Alerts,
        title: "Alerts".to_owned(),
    };
    let scope = match Scope::read(&app, request).await {
        Ok(scope) => scope,
        Err(problem) => return frame(DEFAULT_TENANT).failure(&problem),
    };
    match body(&app, &scope).await {
        Ok(main) => frame(&scope.tenant).page(&main),
        Err(problem) => frame(&scope.tenant).failure(&problem),
    }
}

async fn body(app: &App, scope: &Scope) -> Result<Markup, Problem> {
    let (now, tenant) = (app.now(), scope.tenant.as_str());
    let rules = app.board().rules(tenant);
    let (resolved, active): (Vec<_>, Vec<_>) = rules
        .alerts()
        .into_iter()
        .partition(|a| a.state == AlertState::Resolved);
    let firing = rules.firing();
    let store = Arc::clone(&scope.store);
    let (silences, delivered) = blocking(move || {
        Ok((
            SilenceBook::open(store.state())?.current(now)?,
            Outbox::log(store.state(), 50)?,
        ))
    })
    .await?;
    let count = rules.rules().count();
    let broken: Vec<(&str, &str)> = rules
        .rules()
        .filter_map(|rule| Some((&*rule.name, rule.error.as_deref()?)))
        .collect();
    let view = View {
        silences: &silences,
        tenant,
        now,
    };
    Ok(html! {
        div.head #alerts data-live="" {
            h1 { @match (firing, active.len() - firing) {
                (0, 0) => "Nothing is firing",
                (0, pending) => (counted(pending, "alert is pending", "alerts are pending")),
                (firing, _) => (counted(firing, "alert is firing", "alerts are firing")),
            } }
            p.small { (counted(count, "rule", "rules")) " evaluated" @if !broken.is_empty() { ", " (broken.len()) " failing" } }
        }
        @if !broken.is_empty() {
            div.card #broken data-live="" {
                header { h2 { "Rules that cannot be evaluated" } }
                div.body { @for (name, error) in &broken { p.error { (name) ": " (error) } } }
            }
        }
        div.card #active data-live="" {
            header { h2 { "Firing and pending" } }
            @if active.is_empty() {
                (empty("All quiet", &html! { p { "Alerts come from rules over scores and metrics; " a href=(href("/api/v1/rules", tenant)) { "the rules" } "." } }))
            } @else {
                ul.events { @for alert in &active { li data-key=(alert.labels) { (view.alert(alert)) } } }
            }
        }
        @if !resolved.is_empty() {
            div.card #resolved data-live="" {
                header { h2 { "Recently resolved" } }
                ul.events { @for alert in &resolved { li { (view.alert(alert)) } } }
            }
        }
        div.card #silences data-live="" {
            header { h2 { "Silences" } p { "silenced alerts are shown, and nobody is told" } }
            @if silences.is_empty() {
                div.empty { "No silence is in force." }
            } @else {
                ul.events { @for silence in &silences { li data-key=(silence.id) { (view.silence(silence)) } } }
            }
        }
        div.card #deliveries data-live="" {
            header { h2 { "Deliveries" } p { "the newest first; what could not be delivered is tried again" } }
            @if delivered.is_empty() {
                (empty("Nothing has been sent yet", &html! { p { "Receivers get their messages from a durable outbox." } }))
            } @else {
                (deliveries_table(&delivered, now))
            }
        }
    })
}

struct View<'a> {
    silences: &'a [Silence],
    tenant: &'a str,
    now: i64,
}

impl View<'_> {
    fn alert(&self, alert: &ActiveAlert) -> Markup {
        let silenced = self
            .silences
            .iter()
            .find(|silence| silence.covers(&alert.labels, self.now));
        let (name, host, at) = (alert.name(), host_of(&alert.labels), alert.changed_at_ms());
        let (class, word) = match alert.state {
            AlertState::Firing => ("chip bad", "firing"),
            AlertState::Resolved => ("chip good", "resolved"),
            AlertState::Pending => ("chip warn", "pending"),
        };
        let is_score = alert.labels.get("horizon").is_some() && (0.0..=1.0).contains(&alert.value);
        let severity = alert.labels.get("severity");
        html! {
            span.when { (moment(at)) br; (ago(self.now, at)) }
            div.what {
                span class=(class) { (word) } " "
                @if silenced.is_some() { span.chip { "silenced" } " " }
                b { (name) }
                @if let Some(host) = host { " on " a href=(href(&format!("/hosts/{}", encoded(host)), self.tenant)) { (host) } }
                @if is_score { ", " (percent(alert.value)) }
                @if let Some(severity) = severity { span.muted { ", " (severity) } }
                @if let Some(text) = alert.annotations.get("summary") { p { (text) } }
                @if let Some(text) = alert.annotations.get("action") { p.muted { (text) } }
                details {
                    summary { "More" }
                    @for name in ["description", "runbook"] { @if let Some(text) = alert.annotations.get(name) { p.muted { (text) } } }
                    div.labels { @for (label, value) in alert.labels.iter() { code { (label) "=" (value) } } }
                }
            }
            @if alert.state != AlertState::Resolved && silenced.is_none() { (self.silence_buttons(alert, name)) }
        }
    }

    fn silence_buttons(&self, alert: &ActiveAlert, name: &str) -> Markup {
        // All labels of the alert, or silencing one host by another label than `host` would silence nothing or too much.
        let matchers: Vec<_> = alert
            .labels
            .iter()
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
        html! {
            span.feedback role="group" aria-label="Silence" {
                @for (label, length) in [("Silence 1 h", "1h"), ("8 h", "8h")] {
                    @let body = json!({ "matchers": matchers, "duration": length, "comment": format!("{name}, from the page") });
                    button type="button" data-url=(href("/api/v1/silences", self.tenant)) data-body=(body.to_string()) { (label) }
                }
            }
        }
    }

    fn silence(&self, silence: &Silence) -> Markup {
        let url = href(&format!("/api/v1/silences/{}", silence.id), self.tenant);
        html! {
            span.when { "until " (moment(silence.ends_ms)) }
            div.what {
                div.labels { @for c in &silence.conditions {
                    code { (c.name) (match (c.is_equal, c.is_regex) { (true, false) => "=", (true, true) => "=~", (false, false) => "!=", (false, true) => "!~" }) (c.value) }
                } }
                @if !silence.comment.is_empty() { p { (silence.comment) } }
            }
            span.feedback { button type="button" data-method="DELETE" data-url=(url) { "End now" } }
        }
    }
}

fn deliveries_table(delivered: &[Delivery], now: i64) -> Markup {
    html! {
        div.scroll { table {
            thead { tr { th scope="col" { "When" } th scope="col" { "Receiver" } th scope="col" { "What" } th scope="col" { "Outcome" } } }
            tbody { @for delivery in delivered {
                tr data-key=(delivery.id) {
                    td.nowrap { (moment(delivery.at_ms)) " " span.muted.small { (ago(now, delivery.at_ms)) } }
                    td { (delivery.receiver) }
                    td { (delivery.what) }
                    td { (outcome(delivery)) @if !delivery.text.is_empty() { " " span.muted.small { (delivery.text) } } }
                }
            } }
        } }
    }
}

fn outcome(delivery: &Delivery) -> Markup {
    let status = delivery
        .status
        .map(|status| format!(" HTTP {status}"))
        .unwrap_or_default();
    let took = if delivery.seconds > 0.0 {
        format!(", {:.0} ms", delivery.seconds * 1000.0)
    } else {
        String::new()
    };
    html! {
        @match delivery.outcome {
            Outcome::Delivered => { span.chip.good { "delivered" } span.muted.small { (status) (took) } },
            Outcome::Again { at_ms } => { span.chip.warn { "again" } span.muted.small { (status) ", from " (moment(at_ms)) " on" } },
            Outcome::Dead => { span.chip.bad { "given up" } span.muted.small { (status) ", attempt " (delivery.attempt) } },
        }
    }
}
