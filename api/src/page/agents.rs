//! Agents: who reports, who does not, and what to do about those.

use axum::extract::{Request, State};
use axum::response::Response;
use maud::{Markup, html};

use crate::agents::{Agent, Condition, overview};
use crate::app::App;
use crate::params::Scope;
use crate::problem::Problem;

use super::layout::{Section, answer, empty, encoded, href};
use super::text::{ago, counted, duration, number, quantity};

/// `GET /agents`
pub(crate) async fn show(State(app): State<App>, request: Request) -> Response {
    answer(&app, request, Section::Agents, "Agents", async |scope| {
        body(&app, scope).await
    })
    .await
}

async fn body(app: &App, scope: &Scope) -> Result<Markup, Problem> {
    let (agents, all) = overview(app, &scope.tenant, &scope.store).await?;
    let now = app.now();
    let needy = agents
        .iter()
        .filter(|agent| agent.condition(now).needs_a_look())
        .count();
    let joined = agents.iter().filter(|agent| agent.joined.is_some()).count();
    let waiting: f64 = agents.iter().filter_map(|agent| agent.spool_batches).sum();
    Ok(html! {
        div.head #agents-head data-live="" {
            h1 { (headline(all, needy)) }
            @if all > 0 {
                p.small {
                    (joined) " known by certificate · " (number(waiting)) " batches waiting on hosts"
                    @if agents.len() < all { " · the " (agents.len()) " that come first are shown" }
                }
            }
        }
        div.card #agents data-live="" {
            @if agents.is_empty() {
                (empty("No agent has reported in the last seven days", &html! {
                    p { "On this server's machine make a join token, and give it to the agent on the host:" }
                    code { "foreshock token create --scope join --ttl 1h" }
                    code { "foreshock-agent install --server https://THIS-HOST:9750 --pin PIN --join TOKEN" }
                    p { "PIN is what a server with --tls-self-signed prints at its start." }
                }))
            } @else {
                (table(&agents, &scope.tenant, app.build().version.as_str(), now))
            }
        }
    })
}

fn headline(all: usize, needy: usize) -> String {
    match (all, needy) {
        (0, _) => "No agents yet".to_owned(),
        (1, 0) => "The agent is well".to_owned(),
        (all, 0) => format!("All {all} agents are well"),
        (all, needy) => {
            let need = if needy == 1 { "needs" } else { "need" };
            format!("{needy} of {} {need} a look", counted(all, "agent", "agents"))
        }
    }
}

fn table(agents: &[Agent], tenant: &str, server: &str, now: i64) -> Markup {
    html! {
        table.hosts {
            thead { tr {
                th scope="col" { "Host" }
                th scope="col" { "Condition" }
                th.number scope="col" { "Last seen" }
                th scope="col" { "Version" }
                th.number scope="col" { "Clock" }
                th.number scope="col" { "Waiting" }
                th.number scope="col" { "Dropped, 1 h" }
                th scope="col" { "Certificate" }
            } }
            tbody { @for agent in agents { (row(agent, tenant, server, now)) } }
        }
    }
}

fn row(agent: &Agent, tenant: &str, server: &str, now: i64) -> Markup {
    let condition = agent.condition(now);
    html! {
        tr data-key=(agent.host) {
            td.host {
                a href=(href(&format!("/hosts/{}", encoded(&agent.host)), tenant)) { (agent.host) }
                @if let Some(advice) = condition.advice() { span.why { (advice) } }
            }
            td.score { span class={ "chip " (class(condition)) } { (condition.name()) } }
            td.number.fact.nowrap data-label="Last seen" {
                @match agent.seen_ms {
                    Some(at) => (ago(now, at)),
                    None => span.muted { "never" },
                }
            }
            td.fact.none[agent.version.is_none()] data-label="Version" {
                @if let Some(version) = &agent.version {
                    @if version == server { (version) } @else {
                        span title={ "this server is " (server) } { (version) " " span.chip.info { "other" } }
                    }
                }
                @if let Some(platform) = &agent.platform { span.why { (platform) } }
            }
            td.number.fact.none[agent.skew_seconds.is_none()] data-label="Clock" {
                @if let Some(skew) = agent.skew_seconds { (clock(skew)) }
            }
            td.number.fact.none[agent.spool_batches.is_none()] data-label="Waiting" {
                @if let Some(batches) = agent.spool_batches {
                    (number(batches))
                    @if let Some(bytes) = agent.spool_bytes.filter(|bytes| *bytes > 0.0) {
                        " " span.muted { "(" (quantity(bytes, "By")) ")" }
                    }
                }
            }
            td.number.fact.none[agent.dropped <= 0.0] data-label="Dropped in its last hour" {
                @if agent.dropped > 0.0 { span.chip.warn { (number(agent.dropped)) } }
            }
            td.fact.none[agent.joined.is_none()] data-label="Certificate" {
                @match &agent.joined {
                    None => span.muted { "none, by token" },
                    Some(joined) => @match joined.revoked_ms {
                        Some(at) => { "revoked " (ago(now, at)) },
                        None if joined.not_after_ms < now => { "ended " (ago(now, joined.not_after_ms)) },
                        None => { "ends " (ago(now, joined.not_after_ms)) },
                    },
                }
            }
        }
    }
}

/// How a clock stands to the server's.
fn clock(skew_seconds: f64) -> String {
    match skew_seconds {
        s if s.abs() < 0.5 => "in time".to_owned(),
        s if s > 0.0 => format!("{} ahead", duration(s)),
        s => format!("{} behind", duration(-s)),
    }
}

const fn class(condition: Condition) -> &'static str {
    match condition {
        Condition::Revoked | Condition::Ended | Condition::Unheard | Condition::Silent => "bad",
        Condition::Dropping | Condition::Ending | Condition::Skewed => "warn",
        Condition::Behind => "info",
        Condition::Well => "good",
    }
}
