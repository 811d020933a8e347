//! Models: how good the probabilities are, in sentences and in one plot.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use maud::{Markup, html};
use predict::evaluate::{Evaluation, ReliabilityBin};
use predict::registry::Role;

use crate::app::App;
use crate::models::{Facts, Judged, models, role_name};
use crate::params::{DEFAULT_TENANT, Scope};
use crate::problem::Problem;
use crate::work::blocking;

use super::layout::{Frame, Section, empty, href};
use super::text::{ago, counted, moment, number, percent};

/// `GET /models`
pub(crate) async fn show(State(app): State<App>, request: Request) -> Response {
    let frame = |tenant| Frame {
        app: &app,
        tenant,
        section: Section::Models,
        title: "Models".to_owned(),
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

// More models than this are history that nobody compares at one look; the API has them all.
const SHOWN: usize = 12;

async fn body(app: &App, scope: &Scope) -> Result<Markup, Problem> {
    let store = Arc::clone(&scope.store);
    let found = blocking(move || models(&store, SHOWN)).await?;
    let (tenant, now) = (scope.tenant.as_str(), app.now());
    let leading = found
        .iter()
        .find(|judged| judged.entry.role == Role::Champion)
        .or(found.first());
    Ok(html! {
        div.head #models data-live="" {
            h1 { @match leading { Some(judged) => (headline(judged)), None => "No model yet" } }
            @if let Some(judged) = leading {
                p.small { (judged.entry.name) ", trained " (ago(now, judged.entry.saved_ms)) }
            }
        }
        @match leading {
            None => div.card {
                (empty("No model has been trained yet", &html! {
                    p { "A model needs history and a few incidents of this tenant's own hosts. Until then hosts are watched for anomalies and limits." }
                    code { "foreshock train" @if tenant != DEFAULT_TENANT { " --tenant " (tenant) } }
                }))
            },
            Some(judged) => @match &judged.model {
                Ok(facts) => (evaluated(facts)),
                Err(why) => div.card { div.body.pad { p.error { "The model cannot be read: " (why) } } },
            },
        }
        @if !found.is_empty() { (list(&found, tenant)) }
    })
}

/// The one thing to know about the model in charge.
fn headline(judged: &Judged) -> String {
    let Ok(facts) = &judged.model else {
        return "The model in charge cannot be read".to_owned();
    };
    let e = &facts.evaluation;
    match (e.incidents, e.warns()) {
        (0, _) => "Nothing has failed yet, so nothing is proven".to_owned(),
        (_, false) => "This model detects; it does not warn".to_owned(),
        (all, true) => format!("Warned of {} of {}", e.warned, counted(all, "incident", "incidents")),
    }
}

fn evaluated(facts: &Facts) -> Markup {
    let e = &facts.evaluation;
    html! {
        div.cols {
            div.card #evaluation data-live="" {
                header { h2 { "On history that it had not seen" } p { (moment(e.from)) " to " (moment(e.to)) } }
                div.body.prose { (sentences(e)) }
                div.body { dl.summary {
                    div { dt { "Incidents" } dd { (e.incidents) } }
                    div { dt { "Warned" } dd { (e.warned) } }
                    div { dt { "By chance" } dd { (number(e.chance_warned)) } }
                    div { dt { "Median lead" } dd { @match e.median_lead_minutes() { Some(m) => { (number(m.round())) " min" }, None => "none" } } }
                    div { dt { "False alarms" } dd { (e.false_alarms) } }
                    div { dt { "per host-day" } dd { (number(e.false_alarm_rate())) } }
                    div { dt { "Alerts from" } dd { (percent(facts.threshold)) } }
                } }
            }
            div.card #reliability data-live="" {
                header { h2 { "Are the probabilities true?" } p { "on the diagonal they are" } }
                div.body { @if e.reliability.len() > 1 { (reliability(&e.reliability)) } @else { p.muted { "Too few rows to say." } } }
            }
        }
        @if !e.by_kind.is_empty() {
            div.card #kinds data-live="" {
                header { h2 { "By kind of incident" } p { "what cannot be foreseen is said to be" } }
                div.scroll { table {
                    thead { tr {
                        th scope="col" { "Kind" } th.number scope="col" { "Incidents" } th.number scope="col" { "Warned" }
                        th.number scope="col" { "Only detected" } th.number scope="col" { "Missed" } th.number scope="col" { "Median lead" } th scope="col" {}
                    } }
                    tbody { @for kind in &e.by_kind {
                        tr {
                            td { (kind.kind.replace('_', " ")) }
                            td.number { (kind.incidents) }
                            td.number { (kind.warned) }
                            td.number { (kind.detected.saturating_sub(kind.warned)) }
                            td.number { (kind.incidents.saturating_sub(kind.detected.max(kind.warned))) }
                            td.number { @if let Some(minutes) = kind.median_lead_minutes { (number(minutes.round())) " min" } }
                            td { @if kind.unforeseeable { span.chip title="alerts came before this kind no more often than by chance" { "not foreseeable" } } }
                        }
                    } }
                } }
            }
        }
    }
}

fn sentences(e: &Evaluation) -> Markup {
    let text = e.to_string();
    html! { @for line in text.lines() { p { (sentence(line)) } } }
}

/// With a capital and a full stop.
fn sentence(line: &str) -> String {
    let mut letters = line.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

fn list(found: &[Judged], tenant: &str) -> Markup {
    let can_roll_back = found
        .iter()
        .filter(|judged| judged.entry.role != Role::Challenger)
        .count()
        > 1;
    html! {
        div.card #list data-live="" {
            header {
                h2 { "Models" }
                @if can_roll_back {
                    button type="button" data-url=(href("/api/v1/models/rollback", tenant))
                        data-confirm="Put the earlier champion in charge again?" { "Roll back" }
                }
            }
            div.scroll { table {
                thead { tr {
                    th scope="col" { "Model" } th scope="col" { "Role" } th scope="col" { "Trained on" }
                    th.number scope="col" { "Warned" } th.number scope="col" { "False alarms" } th.number scope="col" { "PR-AUC" } th.number scope="col" { "Brier skill" } th {}
                } }
                tbody { @for judged in found { (line(judged, tenant)) } }
            } }
        }
    }
}

fn line(judged: &Judged, tenant: &str) -> Markup {
    let entry = &judged.entry;
    let class = match entry.role {
        Role::Champion => "chip good",
        Role::Challenger => "chip info",
        Role::Retired => "chip",
    };
    html! {
        tr data-key=(entry.id.0) {
            td { b { (entry.name) } div.muted.small { (entry.family) ", horizon " (entry.horizon) @if let Ok(f) = &judged.model { ", " (counted(f.hosts, "host", "hosts")) ", " (f.features) " features" } } }
            td { span class=(class) { (role_name(entry.role)) } }
            td.small { (moment(entry.trained_from_ms)) " to " (moment(entry.trained_to_ms)) }
            @match &judged.model {
                Ok(facts) => {
                    @let e = &facts.evaluation;
                    td.number { (e.warned) " of " (e.incidents) }
                    td.number { (e.false_alarms) }
                    td.number { (number(e.pr_auc)) }
                    td.number { (number(e.brier_skill)) }
                },
                Err(why) => td colspan="4" { span.error { (why) } },
            }
            td.number {
                @if entry.role != Role::Champion {
                    button type="button" data-url=(href(&format!("/api/v1/models/{}/promote", entry.id.0), tenant))
                        data-confirm={ "Put " (entry.name) " in charge?" } { "Promote" }
                }
            }
        }
    }
}

/// How often it happened against how probable it was said to be: on the diagonal, the probabilities are true.
fn reliability(bins: &[ReliabilityBin]) -> Markup {
    let highest = bins.iter().map(|bin| bin.mean.max(bin.observed)).fold(0.0, f64::max);
    // The finest even scale that holds everything: 5, 10, 20, 50 or 100 percent at the corner.
    let top = [0.05, 0.1, 0.2, 0.5]
        .into_iter()
        .find(|top| *top >= highest)
        .unwrap_or(1.0);
    let x = |p: f64| 60.0 + p / top * 300.0;
    let y = |p: f64| 250.0 - p / top * 238.0;
    let points: Vec<String> = bins
        .iter()
        .map(|bin| format!("{:.1},{:.1}", x(bin.mean), y(bin.observed)))
        .collect();
    html! {
        svg.reliability viewBox="0 0 380 292" role="img" aria-label="Reliability: observed share of failures against the probability given" {
            @for share in 0..=5 {
                @let tick = f64::from(share) / 5.0 * top;
                @let label = format!("{} %", number(tick * 100.0));
                line.gridline x1="60" x2="360" y1=(y(tick)) y2=(y(tick)) {}
                text x="54" y=(y(tick) + 4.0) text-anchor="end" { (label) }
                text x=(x(tick)) y="266" text-anchor="middle" { (label) }
            }
            line.axis x1="60" x2="360" y1="250" y2="250" {}
            line.ideal x1=(x(0.0)) y1=(y(0.0)) x2=(x(top)) y2=(y(top)) {}
            polyline points=(points.join(" ")) {}
            @for bin in bins {
                circle cx=(x(bin.mean)) cy=(y(bin.observed)) r=(radius(bin.rows)) {
                    title { "said " (percent(bin.mean)) ", happened " (percent(bin.observed)) ", " (bin.rows) " rows" }
                }
            }
            text x="210" y="286" text-anchor="middle" { "probability given" }
            text x="-131" y="11" text-anchor="middle" transform="rotate(-90)" { "share that failed" }
        }
    }
}

/// Grows with the number of rows, slowly.
fn radius(rows: usize) -> String {
    format!("{:.1}", (rows as f64).max(1.0).log10().clamp(1.0, 6.0) + 1.0)
}
