//! Models: how good the probabilities are, in sentences and in one plot.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use maud::{Markup, html};
use predict::evaluate::Evaluation;
use predict::registry::Role;
use predict::report::reliability;

use crate::app::App;
use crate::models::{Facts, Judged, models, role_name};
use crate::params::{DEFAULT_TENANT, Scope};
use crate::problem::Problem;
use crate::work::blocking;

use super::layout::{Section, answer, empty, href};
use super::text::{ago, counted, dated, number, percent, share};

/// `GET /models`
pub(crate) async fn show(State(app): State<App>, request: Request) -> Response {
    answer(&app, request, Section::Models, "Models", async |scope| {
        body(&app, scope).await
    })
    .await
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
                p.small {
                    (judged.entry.name) ", trained " (ago(now, judged.entry.saved_ms))
                    // The threshold judged below was fitted without the newest history, so it is another one.
                    @if let Ok(facts) = &judged.model { ", in service alerts from " (percent(facts.threshold)) }
                }
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
            div.stack {
                div.card #evaluation data-live="" {
                    header { h2 { "On history that it had not seen" } p { (dated(e.from)) " to " (dated(e.to)) } }
                    div.body.prose { (sentences(e)) }
                    div.body { dl.summary {
                        div { dt { "Incidents" } dd { (e.incidents) } }
                        div { dt { "Warned" } dd { (e.warned) } }
                        div { dt { "By chance" } dd { (format!("{:.1}", e.chance_warned)) } }
                        div { dt { "Median lead" } dd { @match e.median_lead_minutes() { Some(m) => { (number(m.round())) " min" }, None => "none" } } }
                        div { dt { "Alarms that were right" } dd { (e.alarms.saturating_sub(e.false_alarms)) " of " (e.alarms) } }
                        div { dt { "False alarms" } dd { (e.false_alarms) } }
                        div { dt { "per host-day, of " (number(e.budget)) } dd { (number(e.false_alarm_rate())) } }
                    } }
                }
                @if !e.by_kind.is_empty() { (kinds(e)) }
            }
            div.card #reliability data-live="" {
                header { h2 { "Are the probabilities true?" } p { "on the diagonal they are" } }
                div.body { (reliability(e)) }
                @if !e.ranges.is_empty() { (ranges(e)) }
            }
        }
    }
}

/// What became of the incidents of each kind.
fn kinds(e: &Evaluation) -> Markup {
    html! {
        div.card #kinds data-live="" {
            header { h2 { "By kind of incident" } p { "what no warning came before is said" } }
            div.scroll { table.kinds {
                thead { tr {
                    th scope="col" { "Kind" } th.number scope="col" { "Incidents" } th.number scope="col" { "Warned" }
                    th.number scope="col" { "Only detected" } th.number scope="col" { "Missed" } th.number scope="col" { "Median lead" }
                } }
                tbody { @for kind in &e.by_kind {
                    @let missed = kind.incidents.saturating_sub(kind.detected.max(kind.warned));
                    tr {
                        td.what {
                            (kind.kind.replace('_', " "))
                            @if kind.unforeseeable {
                                " " span.chip title="alerts came before this kind no more often than by chance" { "no warning so far" }
                            }
                        }
                        td.number data-label="incidents" { (kind.incidents) }
                        td.number data-label="warned" { (kind.warned) }
                        td.number data-label="only detected" { (kind.detected.saturating_sub(kind.warned)) }
                        td.number data-label="missed" { (missed) }
                        td.number data-label="lead" { @if let Some(minutes) = kind.median_lead_minutes { (number(minutes.round())) " min" } }
                    }
                } }
            } }
        }
    }
}

/// Of the scores of each range, how many came true.
fn ranges(e: &Evaluation) -> Markup {
    html! {
        div.body.prose { p { (sentence(&e.kept_promises())) } }
        div.scroll { table {
            thead { tr {
                th scope="col" { "Said" } th.number scope="col" { "Scores" } th.number scope="col" { "Foretold" }
                th.number scope="col" { "Came true" } th.number scope="col" { "Share" }
            } }
            tbody { @for range in &e.ranges { tr {
                td { (range.words()) }
                td.number { (range.scores) }
                td.number { (number(range.foretold)) }
                td.number { (range.came_true) }
                td.number { (share(range.share())) }
            } } }
        } }
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
            td.small { (dated(entry.trained_from_ms)) " to " (dated(entry.trained_to_ms)) }
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
