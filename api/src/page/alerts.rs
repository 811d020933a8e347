//! Alerts: what fires, what is about to, what has been resolved, who was told.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use maud::{Markup, html};
use serde_json::json;
use store::host_of;

use crate::app::App;
use crate::board::{ActiveAlert, AlertState};
use crate::notify::{Acknowledgement, DeadLetter, Delivery, HeldAlert, Outbox, Outcome, ReceiverStatus};
use crate::params::Scope;
use crate::problem::Problem;
use crate::silences::{Silence, SilenceBook};
use crate::work::blocking;

use super::layout::{Section, answer, empty, encoded, href};
use super::text::{ago, counted, moment, percent};

/// `GET /alerts`
pub(crate) async fn show(State(app): State<App>, request: Request) -> Response {
    answer(&app, request, Section::Alerts, "Alerts", async |scope| {
        body(&app, scope).await
    })
    .await
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
    let notifier = Arc::clone(app.notifier());
    let (held, silences, delivered, receivers, dead) = blocking(move || {
        let outbox = notifier.outbox(store.state())?;
        let mut held = outbox.alerts(store.state(), now)?;
        held.retain(|held| !held.alert.is_resolved());
        Ok((
            held,
            SilenceBook::open(store.state())?.current(now)?,
            Outbox::log(store.state(), 50)?,
            outbox.receivers_status(store.state())?,
            Outbox::dead_letters(store.state(), 20)?,
        ))
    })
    .await?;
    // Those of our own rules have no end of their own, and stand above.
    let (elsewhere, own): (Vec<_>, Vec<_>) = held.into_iter().partition(|held| held.alert.expires_ms.is_some());
    let own: BTreeMap<String, HeldAlert> = own
        .into_iter()
        .map(|held| (held.alert.fingerprint.clone(), held))
        .collect();
    let count = rules.rules().count();
    let broken: Vec<(&str, &str)> = rules
        .rules()
        .filter_map(|rule| Some((&*rule.name, rule.error.as_deref()?)))
        .collect();
    let view = View {
        own: &own,
        silences: &silences,
        tenant,
        now,
    };
    Ok(html! {
        div.head #alerts data-live="" {
            h1 { @match (firing + elsewhere.len(), active.len() - firing) {
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
        @if !elsewhere.is_empty() {
            div.card #elsewhere data-live="" {
                header { h2 { "From elsewhere" } p { "sent here by Prometheus servers and others" } }
                ul.events { @for held in elsewhere.iter().take(ELSEWHERE_MAX) { li data-key=(held.alert.fingerprint) { (view.elsewhere(held)) } } }
                @if elsewhere.len() > ELSEWHERE_MAX { p.muted { "and " (elsewhere.len() - ELSEWHERE_MAX) " more" } }
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
        div.card #receivers data-live="" {
            header { h2 { "Receivers" } p { "who is told, and whether they can be reached" } }
            @if receivers.is_empty() {
                (empty("Nobody is told", &html! { p { "Name a receiver in the configuration: " code { "[[receiver]]" } ", or " code { "--alertmanager-config" } "." } }))
            } @else {
                ul.events { @for receiver in &receivers { li data-key=(receiver.id) { (view.receiver(receiver)) } } }
            }
        }
        @if !dead.is_empty() {
            div.card #dead data-live="" {
                header { h2 { "Could not be delivered" } p { "given up, and kept until sent again" } }
                ul.events { @for letter in &dead { li data-key=(letter.id) { (view.dead(letter)) } } }
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

/// Alerts from elsewhere that are shown.
const ELSEWHERE_MAX: usize = 200;

struct View<'a> {
    /// Alerts of our own rules as they stand in the outbox, by fingerprint.
    own: &'a BTreeMap<String, HeldAlert>,
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
        let labels = alert
            .labels
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let held = self.own.get(&crate::rule::fingerprint(&labels.collect()));
        let held = held.filter(|_| alert.state == AlertState::Firing);
        html! {
            span.when { (moment(at)) br; (ago(self.now, at)) }
            div.what {
                span class=(class) { (word) } " "
                @if held.is_some_and(|held| held.acknowledged.is_some()) { span.chip { "acknowledged" } " " }
                @if silenced.is_some() { span.chip { "silenced" } " " }
                b { (name) }
                @if let Some(host) = host { " on " a href=(href(&format!("/hosts/{}", encoded(host)), self.tenant)) { (host) } }
                @if is_score { ", " (percent(alert.value)) }
                @if let Some(severity) = severity { span.muted { ", " (severity) } }
                @if let Some(text) = alert.annotations.get("summary") { p { (text) } }
                @if let Some(text) = alert.annotations.get("action") { p.muted { (text) } }
                @if let Some(one) = held.and_then(|held| held.acknowledged.as_ref()) { (self.in_hand(one)) }
                details {
                    summary { "More" }
                    @for name in ["description", "runbook"] { @if let Some(text) = alert.annotations.get(name) { p.muted { (text) } } }
                    div.labels { @for (label, value) in alert.labels.iter() { code { (label) "=" (value) } } }
                }
            }
            span.buttons {
                @if let Some(held) = held { (self.hand_button(held)) }
                @if alert.state != AlertState::Resolved && silenced.is_none() { (self.silence_buttons(alert, name)) }
            }
        }
    }

    fn elsewhere(&self, held: &HeldAlert) -> Markup {
        let alert = &held.alert;
        let label = |name: &str| alert.labels.get(name).map(String::as_str);
        html! {
            span.when { (moment(alert.starts_ms)) br; (ago(self.now, alert.starts_ms)) }
            div.what {
                span.chip.bad { "firing" } " "
                @if held.acknowledged.is_some() { span.chip { "acknowledged" } " " }
                @if !held.silenced_by.is_empty() { span.chip { "silenced" } " " }
                @if !held.inhibited_by.is_empty() { span.chip { "inhibited" } " " }
                @if !held.muted_by.is_empty() { span.chip { "muted" } " " }
                b { (label("alertname").unwrap_or("alert")) }
                @if let Some(host) = label("host").or_else(|| label("instance")) { " on " (host) }
                @if let Some(severity) = label("severity") { span.muted { ", " (severity) } }
                @if let Some(text) = alert.annotations.get("summary") { p { (text) } }
                @if let Some(one) = &held.acknowledged { (self.in_hand(one)) }
                details {
                    summary { "More" }
                    @if let Some(text) = alert.annotations.get("description") { p.muted { (text) } }
                    p.muted { "for " (held.receivers.join(", ")) }
                    div.labels { @for (name, value) in &alert.labels { code { (name) "=" (value) } } }
                }
            }
            span.buttons { (self.hand_button(held)) }
        }
    }

    fn in_hand(&self, one: &Acknowledgement) -> Markup {
        let who = if one.who.is_empty() { "Somebody" } else { &one.who };
        html! {
            p.muted { (who) " has it in hand, since " (moment(one.at_ms)) ", " (ago(self.now, one.at_ms)) @if !one.comment.is_empty() { ": " (one.comment) } }
        }
    }

    /// The button that takes an alert in hand, or lays it down again.
    fn hand_button(&self, held: &HeldAlert) -> Markup {
        let path = format!("/api/v1/alerts/{}/acknowledge", encoded(&held.alert.fingerprint));
        let url = href(&path, self.tenant);
        html! {
            span.feedback {
                @if held.acknowledged.is_some() {
                    button type="button" data-method="DELETE" data-url=(url) title="Repeat it again" { "Take back" }
                } @else {
                    button type="button" data-url=(url) data-body=(json!({ "by": "the page" }).to_string()) title="Neither repeated nor passed on until it ends" { "Acknowledge" }
                }
            }
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

    fn receiver(&self, receiver: &ReceiverStatus) -> Markup {
        let url = href(
            &format!("/api/v1/receivers/{}/test", encoded(&receiver.id)),
            self.tenant,
        );
        let (class, word) = match (receiver.broken, receiver.failures) {
            (true, _) => ("chip bad", "cannot be reached"),
            (false, 0) => ("chip good", "in order"),
            (false, _) => ("chip warn", "failing"),
        };
        html! {
            span.when { @if let Some(at) = receiver.delivered_ms { "took one " (ago(self.now, at)) } @else { "nothing taken yet" } }
            div.what {
                span class=(class) { (word) } " " b { (receiver.id) } " " span.muted { (receiver.kind) " at " (receiver.place) }
                @if receiver.waiting > 0 { p { (counted(receiver.waiting, "message waits", "messages wait")) @if let Some(until) = receiver.until_ms { @if until > self.now { ", tried again from " (moment(until)) " on" } } } }
                @if let Some(fallback) = &receiver.fallback { p.muted { @if receiver.broken { "Copies go to " } @else { "Fallback: " } (fallback) } }
            }
            span.feedback { button type="button" data-url=(url) { "Send a test" } }
        }
    }

    fn dead(&self, letter: &DeadLetter) -> Markup {
        let url = href(&format!("/api/v1/deliveries/dead/{}/retry", letter.id), self.tenant);
        html! {
            span.when { (moment(letter.died_ms)) br; (ago(self.now, letter.died_ms)) }
            div.what { b { (letter.what) } " to " (letter.receiver) p.muted { (counted(letter.attempts as usize, "attempt", "attempts")) ": " (letter.reason) } }
            span.feedback { button type="button" data-url=(url) { "Send again" } }
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
    let status = delivery.status.map(|status| format!(" {status}")).unwrap_or_default();
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
