//! The first page: does somebody have to do something, and where.

use axum::extract::{Request, State};
use axum::response::Response;
use maud::{Markup, html};
use predict::live::{Resource, ScoreState};

use crate::app::App;
use crate::hosts::{Host, overview};
use crate::params::Scope;
use crate::problem::Problem;

use super::layout::{Section, answer, empty, encoded, href};
use super::text::{ago, counted, duration, number, percent, score_class, span};

// With fewer hosts the table alone is seen at one look.
const TILES_FROM: usize = 9;

// What is further off than a day can wait until the morning.
const FAR_S: f64 = 86_400.0;

/// `GET /`
pub(crate) async fn show(State(app): State<App>, request: Request) -> Response {
    answer(&app, request, Section::Hosts, "Hosts", async |scope| {
        body(&app, scope).await
    })
    .await
}

async fn body(app: &App, scope: &Scope) -> Result<Markup, Problem> {
    let hosts = overview(app, &scope.tenant, &scope.store).await?;
    let now = app.now();
    let scored_at = app.board().round(&scope.tenant).map(|round| round.at_ms);
    let firing: usize = hosts.iter().map(Host::firing).sum();
    let silent = hosts.iter().filter(|host| host.is_silent(now)).count();
    Ok(html! {
        div #hosts data-live="" {
            div.head {
                h1 { (headline(&hosts)) }
                p.small {
                    (counted(hosts.len(), "host", "hosts"))
                    " · " (counted(firing, "alert", "alerts")) " firing"
                    @if silent > 0 { " · " (silent) " silent" }
                    @if let Some(at) = scored_at { " · scored " (ago(now, at)) }
                }
            }
        }
        div.card #fleet data-live="" {
            @if hosts.is_empty() {
                (empty("No host has sent anything in the last 24 hours", &html! {
                    p { "Install the agent on a host, or point a Prometheus or an OpenTelemetry Collector here." }
                    code { "foreshock-agent run --server http://THIS-HOST:9750" }
                }))
            } @else {
                @if hosts.len() >= TILES_FROM { (tiles(&hosts, &scope.tenant)) }
                (table(&hosts, &scope.tenant, now))
            }
        }
    })
}

fn headline(hosts: &[Host]) -> String {
    let likely = hosts
        .iter()
        .filter(|host| host.probability().is_some_and(|p| p >= 0.5))
        .count();
    let firing = hosts.iter().filter(|host| host.firing() > 0).count();
    let scored = hosts.iter().filter(|host| host.probability().is_some()).count();
    match (hosts.len(), likely, firing) {
        (0, ..) => "No hosts yet".to_owned(),
        (_, 0, 0) if scored == 0 => format!(
            "Learning {}",
            if hosts.len() == 1 { "this host" } else { "these hosts" }
        ),
        (_, 0, 0) => "No host needs attention".to_owned(),
        (_, 0, firing) => format!("{} an alert", counted(firing, "host has", "hosts have")),
        (all, likely, _) => {
            let is = if likely == 1 { "is" } else { "are" };
            format!(
                "{likely} of {} {is} likely to fail within {}",
                counted(all, "host", "hosts"),
                horizon(hosts)
            )
        }
    }
}

fn tiles(hosts: &[Host], tenant: &str) -> Markup {
    html! {
        header { h2 { "Fleet" } p { "Probability of a failure, the highest first" } }
        div.tiles {
            @for host in hosts {
                @let class = format!("tile {}", host.probability().map_or("", |p| score_class(p, host.is_over_threshold())));
                a class=(class) href=(link(host, tenant)) data-key=(host.name) {
                    b { (host.name) }
                    @match host.probability() {
                        Some(p) => span { (percent(p)) },
                        None => span.muted { (state_in_a_word(host)) },
                    }
                }
            }
        }
    }
}

fn table(hosts: &[Host], tenant: &str, now: i64) -> Markup {
    html! {
        table.hosts {
            thead { tr {
                th scope="col" { "Host" }
                th scope="col" { "Failure within " (horizon(hosts)) }
                th.trend scope="col" { "Last 6 h" }
                th.number scope="col" { "Anomaly" }
                th scope="col" { "Reaches a limit" }
                th scope="col" { "Alerts" }
                th.number scope="col" { "Last seen" }
            } }
            tbody { @for host in hosts { (row(host, tenant, now)) } }
        }
    }
}

fn row(host: &Host, tenant: &str, now: i64) -> Markup {
    let leading = host.leading();
    html! {
        tr data-key=(host.name) {
            td.host {
                a href=(link(host, tenant)) { (host.name) }
                @if let Some(why) = why(host) { span.why { (why) } }
            }
            td.score {
                @match leading.map(|score| &score.state) {
                    Some(ScoreState::Scored(probability)) => {
                        @let p = probability.get();
                        span class={ "risk " (score_class(p, host.is_over_threshold())) } { b { (percent(p)) } (bar(p)) }
                    },
                    Some(ScoreState::Learning { have, need, what }) => {
                        span.chip { "learning, " (have) " of " (need) } span.why { (what) }
                    },
                    Some(ScoreState::Abstained { .. }) => span.chip { "not scored" },
                    None => span.muted { "not scored yet" },
                }
            }
            td.trend { (spark(&host.trend)) }
            td.number.fact.none[host.anomaly().is_none()] data-label="Anomaly" { @if let Some(a) = host.anomaly() { (number(a)) } }
            @let soonest = host.soonest();
            td.fact.none[soonest.is_none()] data-label="Reaches a limit:" {
                @if let Some((forecast, seconds)) = soonest {
                    span.far[seconds > FAR_S] title=(forecast.text) { (spoken(forecast.resource)) " in " (duration(seconds)) }
                } @else { span.muted { "none in sight" } }
            }
            td.fact.none[host.alerts.is_empty()] data-label="Alerts:" {
                @if host.firing() > 0 { span.chip.bad { (host.firing()) " firing" } " " }
                @let pending = host.alerts.len() - host.firing();
                @if pending > 0 { span.chip.warn { (pending) " pending" } }
            }
            td.number.fact.nowrap data-label="Last seen" {
                @match host.last_seen_ms {
                    Some(at) if host.is_silent(now) => span.chip.warn { "silent, " (ago(now, at)) },
                    Some(at) => (ago(now, at)),
                    None => "over 24 h ago",
                }
            }
        }
    }
}

/// One line that says why a host stands where it stands.
fn why(host: &Host) -> Option<String> {
    let score = host.leading()?;
    let device = score
        .device
        .as_ref()
        .map(|device| format!("{device}: "))
        .unwrap_or_default();
    if let Some(finding) = score.findings.first() {
        return Some(format!("{device}{}", finding.text));
    }
    match &score.state {
        ScoreState::Scored(p) if p.get() >= 0.05 => {
            score.signals.first().map(|signal| format!("{device}{}", signal.text))
        }
        ScoreState::Abstained { why } => Some(why.clone()),
        ScoreState::Scored(_) | ScoreState::Learning { .. } => None,
    }
}

/// What runs out, as people say it.
pub(super) const fn spoken(resource: Resource) -> &'static str {
    match resource {
        Resource::Memory => "memory",
        Resource::Disk => "disk",
        Resource::CgroupMemory => "cgroup memory",
        Resource::Latency => "latency",
    }
}

fn state_in_a_word(host: &Host) -> &'static str {
    match host.leading().map(|score| &score.state) {
        Some(ScoreState::Learning { .. }) => "learning",
        _ => "not scored",
    }
}

/// The horizon of the scores, as far as they agree.
fn horizon(hosts: &[Host]) -> String {
    hosts
        .iter()
        .find_map(Host::leading)
        .map_or_else(|| "the horizon".to_owned(), |score| span(score.horizon))
}

fn link(host: &Host, tenant: &str) -> String {
    href(&format!("/hosts/{}", encoded(&host.name)), tenant)
}

fn bar(probability: f64) -> Markup {
    let width = format!("{:.0}%", (probability * 100.0).clamp(1.0, 100.0));
    html! { svg.bar aria-hidden="true" { rect width=(width) height="100%" {} } }
}

/// A small curve; its height is at least a tenth, so that noise about nothing stays flat.
fn spark(trend: &[(i64, f64)]) -> Markup {
    let (Some(first), Some(last)) = (trend.first(), trend.last()) else {
        return html! {};
    };
    let span = (last.0 - first.0).max(1) as f64;
    let top = trend.iter().map(|(_, p)| *p).fold(0.1, f64::max);
    let points: Vec<String> = trend
        .iter()
        .filter(|(_, p)| p.is_finite())
        .map(|(t, p)| {
            format!(
                "{:.1},{:.1}",
                (t - first.0) as f64 / span * 100.0,
                23.0 - p / top * 22.0
            )
        })
        .collect();
    html! {
        svg.spark viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true" {
            line x1="0" x2="100" y1="23" y2="23" {}
            polyline points=(points.join(" ")) {}
        }
    }
}
