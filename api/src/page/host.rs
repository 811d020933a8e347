//! One host: how likely it fails, why, since when, what to do, and what its metrics did.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use maud::{Markup, html};
use predict::Horizon;
use predict::incident::{Incident, IncidentBook, Verdict};
use predict::live::{HostScore, Resource, ScoreState, Signal};
use predict::registry::Registry;
use serde_json::{Value, json};
use store::TimeRange;

use crate::app::App;
use crate::board::{ActiveAlert, AlertState};
use crate::hosts::{Host, find, quoted};
use crate::number::rfc3339;
use crate::params::{Params, Scope, parse_duration};
use crate::problem::Problem;
use crate::work::blocking;

use super::charts::{RANGES, View, charts, figure, present};
use super::hosts::spoken;
use super::layout::{Section, answer, encoded, href};
use super::text::{ago, duration, moment, number, percent, quantity, score_class, span};

/// `GET /hosts/{host}`
pub(crate) async fn show(State(app): State<App>, Path(name): Path<String>, request: Request) -> Response {
    answer(&app, request, Section::Hosts, &name, async |scope| {
        body(&app, scope, &name).await
    })
    .await
}

async fn body(app: &App, scope: &Scope, name: &str) -> Result<Markup, Problem> {
    let host = find(app, &scope.tenant, &scope.store, name).await?;
    let now = app.now();
    let store = Arc::clone(&scope.store);
    let matchers = host.matchers.clone();
    let horizon = host.leading().map_or(Horizon::HOUR, |score| score.horizon);
    let (found, first_ms, incidents, threshold) = blocking(move || {
        let snapshot = store.snapshot();
        let found = present(&snapshot, &matchers, TimeRange::millis(now - 7 * 86_400_000, now))?;
        let incidents = IncidentBook::open(store.state())?.all()?;
        // A model that cannot be read has a page that says so; here only a line is missing.
        let champion = Registry::open(store.state())?.champion(horizon).ok().flatten();
        let threshold = champion.map(|(_, model)| model.threshold);
        Ok((
            found,
            snapshot.time_range().map(|range| range.start.millis()),
            incidents,
            threshold,
        ))
    })
    .await?;
    let incidents: Vec<Incident> = incidents
        .into_iter()
        .filter(|incident| incident.host == host.name)
        .collect();
    let view = view(&scope.params, now, first_ms)?;
    let page = Page {
        host: &host,
        incidents: &incidents,
        view,
        tenant: &scope.tenant,
        now,
        threshold,
    };
    Ok(page.markup(&charts(&found, &host.matchers, &view, &scope.tenant)))
}

fn view(params: &Params, now: i64, first_ms: Option<i64>) -> Result<View, Problem> {
    let chosen = params
        .get("range")
        .and_then(parse_duration)
        .map(|ms| ms / 1000)
        .filter(|s| (60..=90 * 86_400).contains(s));
    // A host that has just come would show an empty chart with a curve at its edge.
    let young = first_ms.is_none_or(|first| now - first < 2 * 3_600_000);
    let end_s = params
        .get("end")
        .map(|_| params.need_time("end"))
        .transpose()?
        .map(|ms| ms / 1000);
    Ok(View {
        range_s: chosen.unwrap_or(if young { 3600 } else { 21_600 }),
        end_s,
    })
}

struct Page<'a> {
    host: &'a Host,
    incidents: &'a [Incident],
    view: View,
    tenant: &'a str,
    now: i64,
    /// From where on the champion alerts.
    threshold: Option<f64>,
}

impl Page<'_> {
    fn markup(&self, charts: &Markup) -> Markup {
        let host = self.host;
        let own = format!("host={}", quoted(&host.name));
        html! {
            div.head #host data-live="" {
                div {
                    p.small { a href=(href("/", self.tenant)) { "Hosts" } " /" }
                    h1 { (host.name) }
                }
                p.small {
                    @if host.is_silent(self.now) { span.chip.warn { "silent" } " " }
                    @if let Some(at) = host.last_seen_ms { "last seen " (ago(self.now, at)) }
                }
            }
            div.cols data-bands=(self.bands()) data-marks=(self.marks()) {
                div.card {
                    div #probability data-live="" {
                        header { h2 { "Probability of a failure" } p { @if let Some(score) = host.leading() { "within " (span(score.horizon)) } } }
                        div.body { (leading(host)) }
                    }
                    // Before the first score there is nothing to draw.
                    @if host.probability().is_some() || !host.trend.is_empty() { (self.probability_chart()) }
                }
                div.card #why data-live="" {
                    header { h2 { "Why" } p { "what moved it, against this host's own past" } }
                    div.body { (why(host, self.now)) }
                }
            }
            @let alerting: Vec<_> = host.alerts.iter().filter(|alert| alert.state == AlertState::Firing).collect();
            @if !alerting.is_empty() {
                div.card #firing data-live="" {
                    header { h2 { "Firing" } p { "was the warning right? the next training learns from it" } }
                    ul.events { @for alert in alerting { li data-key=(alert.labels) { (self.firing(alert)) } } }
                }
            }
            @if !host.forecasts.is_empty() { div.card #forecasts data-live="" { (forecasts(host)) } }
            @if host.scores.len() > 1 { div.card #devices data-live="" { (devices(host)) } }
            div.head {
                h2 { "Metrics" }
                nav.ranges aria-label="Time shown" {
                    @for (name, seconds) in RANGES {
                        a href=(self.link(name)) aria-current=[(seconds == self.view.range_s).then_some("true")] { (name) }
                    }
                    @if self.view.end_s.is_some() { a href=(self.link(&self.view.range_name())) { "back to now" } }
                }
            }
            div.charts #charts data-live="" data-bands=(self.bands()) data-marks=(self.marks()) {
                (figure("Anomaly score", "", None, &[(format!("foreshock_anomaly_score{{{own}}}"), "anomaly")], &self.view, self.tenant))
                (charts)
            }
            div.card #events data-live="" { (self.events()) }
            (self.declare())
        }
    }

    fn link(&self, range: &str) -> String {
        href(
            &format!("/hosts/{}?range={range}", encoded(&self.host.name)),
            self.tenant,
        )
    }

    fn probability_chart(&self) -> Markup {
        let query = format!(
            "max by (device, horizon) (foreshock_failure_probability{{host={}}})",
            quoted(&self.host.name)
        );
        let spec = json!([{ "q": query, "label": "{{device}} {{horizon}}" }]).to_string();
        html! {
            div.body.fill {
                div.chart.tall data-title="Probability" data-unit="ratio" data-min="0" data-max="0.1" data-range=(self.view.range_s)
                    data-end=[self.view.end_s] data-threshold=[self.threshold] data-queries=(spec)
                    data-empty="No probability has been given in this time" {}
            }
        }
    }

    /// Incidents as the charts shade them.
    fn bands(&self) -> String {
        let bands = self
            .incidents
            .iter()
            .filter(|incident| incident.verdict != Verdict::Noise)
            .map(|incident| {
                json!({
                    "start": incident.start / 1000,
                    "end": incident.end.map(|end| end / 1000),
                    "label": format!("incident: {}", incident.kind),
                })
            });
        Value::from_iter(bands).to_string()
    }

    /// Alerts as the charts mark them.
    fn marks(&self) -> String {
        let marks = self.host.alerts.iter().filter_map(|alert| {
            Some(json!({ "start": alert.fired_at_ms? / 1000, "label": format!("{} fires", alert.name()) }))
        });
        Value::from_iter(marks).to_string()
    }

    /// An alert with buttons that turn it into an incident with a verdict.
    fn firing(&self, alert: &ActiveAlert) -> Markup {
        let (name, start) = (alert.name(), alert.changed_at_ms());
        let id = format!("{}-{name}-{}", self.host.name, start / 1000);
        // What a rule or somebody else declared of it stays; only the verdict is new.
        let known = self.incidents.iter().any(|incident| incident.id == id);
        let (method, url) = if known {
            (
                "PATCH",
                href(&format!("/api/v1/incidents/{}", encoded(&id)), self.tenant),
            )
        } else {
            ("POST", href("/api/v1/incidents", self.tenant))
        };
        html! {
            span.when { (moment(start)) br; (ago(self.now, start)) }
            div.what {
                span.chip.bad { "firing" } " " b { (name) }
                @if let Some(text) = alert.annotations.get("summary") { p { (text) } }
                @if let Some(text) = alert.annotations.get("action") { p.muted { (text) } }
            }
            span.feedback role="group" aria-label="Verdict" {
                @for (verdict, label, title) in VERDICTS {
                    @let body = if known {
                        json!({ "verdict": verdict.to_string() })
                    } else {
                        json!({
                            "id": id,
                            "host": self.host.name,
                            "device": alert.labels.get("device"),
                            "start": rfc3339(start),
                            "kind": name,
                            "verdict": verdict.to_string(),
                            "summary": "judged on the page",
                        })
                    };
                    button type="button" title=(title) data-method=(method) data-url=(url) data-body=(body.to_string()) { (label) }
                }
            }
        }
    }

    fn events(&self) -> Markup {
        let mut events: Vec<(i64, Markup)> = Vec::new();
        for incident in self.incidents.iter().rev().take(50) {
            events.push((incident.start, self.incident(incident)));
        }
        for alert in self
            .host
            .alerts
            .iter()
            .filter(|alert| alert.state != AlertState::Firing)
        {
            let state = if alert.state == AlertState::Firing {
                "chip bad"
            } else {
                "chip warn"
            };
            let word = alert.state.as_str();
            let at = alert.active_at_ms;
            let markup = html! {
                span.when { (moment(at)) }
                div.what { span class=(state) { (word) } " " (alert.name()) }
                span {}
            };
            events.push((at, markup));
        }
        events.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        html! {
            header { h2 { "Incidents and alerts" } p { "your verdicts are what the next training learns from" } }
            @if events.is_empty() {
                div.empty { "Nothing has happened here that anybody or any rule noticed." }
            } @else {
                ul.events { @for (_, event) in &events { li { (event) } } }
            }
        }
    }

    fn incident(&self, incident: &Incident) -> Markup {
        let url = href(&format!("/api/v1/incidents/{}", encoded(&incident.id)), self.tenant);
        let length = incident.end.map(|end| (end - incident.start) as f64 / 1000.0);
        let around = self.link(&format!("6h&end={}", incident.start / 1000 + 3600));
        html! {
            span.when { (moment(incident.start)) }
            div.what {
                span.chip.info { "incident" } " " a href=(around) { (incident.kind.replace('_', " ")) }
                @if let Some(device) = &incident.device { " on " (device) }
                @match length {
                    Some(seconds) => span.muted { ", lasted " (duration(seconds)) },
                    None => { " " span.chip.bad { "under way" } },
                }
                @if !incident.summary.is_empty() { p { (incident.summary) } }
            }
            span.feedback role="group" aria-label="Verdict" {
                @for (verdict, label, title) in VERDICTS {
                    button type="button" title=(title) aria-pressed=(incident.verdict == verdict) data-method="PATCH" data-url=(url)
                        data-body=(json!({ "verdict": verdict.to_string() }).to_string()) { (label) }
                }
                @if incident.end.is_none() {
                    button type="button" data-method="PATCH" data-url=(url) data-body=r#"{"end":"now"}"# { "It is over" }
                }
            }
        }
    }

    fn declare(&self) -> Markup {
        html! {
            details #declare data-keep="" {
                summary { "Declare an incident on this host" }
                form.inline data-url=(href("/api/v1/incidents", self.tenant)) data-body=(json!({ "host": self.host.name }).to_string()) {
                    label { "Kind" input name="kind" required placeholder="disk_full" maxlength="60"; }
                    label { "What happened" input name="summary" placeholder="In a sentence" maxlength="300"; }
                    button.primary type="submit" { "Declare, from now on" }
                }
            }
        }
    }
}

const VERDICTS: [(Verdict, &str, &str); 3] = [
    (Verdict::Real, "Real", "It failed, or was failing"),
    (Verdict::Noise, "Noise", "Nothing was wrong"),
    (
        Verdict::Mitigated,
        "Mitigated",
        "It would have failed, had nobody acted",
    ),
];

fn leading(host: &Host) -> Markup {
    let Some(score) = host.leading() else {
        return html! { p.muted { "No scoring round has seen this host yet." } };
    };
    html! {
        @match &score.state {
            ScoreState::Scored(probability) => {
                @let p = probability.get();
                div class={ "big " (score_class(p, host.is_over_threshold())) } {
                    b { (percent(p)) }
                    span.muted { "chance that it fails within " (span(score.horizon)) @if let Some(device) = &score.device { ", by " (device) } }
                }
                @if !score.model.is_empty() { p.small.muted { "model " (score.model) ", calibrated on this fleet's history" } }
            },
            ScoreState::Learning { have, need, what } => {
                div.big.learning { b { "learning, " (have) " of " (need) } }
                p.muted { (have) " of " (need) " " (what) ". No probability is given before it has been earned; anomalies and limits are watched meanwhile." }
            },
            ScoreState::Abstained { why } => {
                div.big.learning { b { "not scored" } }
                p.muted { (why) }
            },
        }
    }
}

fn why(host: &Host, now: i64) -> Markup {
    let Some(score) = host.leading() else {
        return html! { p.muted { "Nothing is known yet." } };
    };
    html! {
        @for finding in &score.findings {
            p.finding { span.chip.bad { "certain" } " " (finding.text) span.muted.small { ", since " (moment(finding.since_ms)) } }
        }
        @if score.signals.is_empty() {
            p.muted { "No signal stands out." }
        } @else {
            ul.signals { @for signal in &score.signals { (signal_item(signal, now)) } }
        }
        @if !score.advice.is_empty() {
            h3 { "What to do" }
            p.advice { (score.advice) }
        }
    }
}

fn signal_item(signal: &Signal, now: i64) -> Markup {
    html! {
        li data-key=(signal.name) {
            span { (signal.text) }
            span.number.small.muted title="share of what pushed the score up" {
                @if signal.contribution.is_finite() { (format!("{:.0} %", signal.contribution * 100.0)) }
            }
            span.facts { "since " (moment(signal.since_ms)) ", " (ago(now, signal.since_ms)) }
        }
    }
}

fn forecasts(host: &Host) -> Markup {
    html! {
        header { h2 { "Limits ahead" } p { "if it goes on as now" } }
        div.scroll { table {
            thead { tr {
                th scope="col" { "Resource" } th.number scope="col" { "Now" } th.number scope="col" { "Limit" }
                th.number scope="col" { "Reached in" } th.number scope="col" { "Between" }
            } }
            tbody { @for forecast in &host.forecasts {
                tr data-key={ (forecast.resource.name()) (forecast.device) } {
                    td title=(forecast.text) { (spoken(forecast.resource)) @if !forecast.device.is_empty() { " " code { (forecast.device) } } }
                    td.number { (amount(forecast.resource, forecast.now_value)) }
                    td.number { (amount(forecast.resource, forecast.limit)) }
                    td.number { @match forecast.seconds_to_limit {
                        Some(seconds) if seconds < 3600.0 => b { (duration(seconds)) },
                        Some(seconds) => (duration(seconds)),
                        None => span.muted { "not in sight" },
                    } }
                    td.number.muted { @if forecast.seconds_to_limit.is_some() { (duration(forecast.low)) " and " (duration(forecast.high)) } }
                }
            } }
        } }
    }
}

/// An amount of a resource in its unit.
fn amount(resource: Resource, value: f64) -> String {
    let unit = match resource {
        Resource::Memory | Resource::Disk => "1",
        Resource::CgroupMemory => "By",
        Resource::Latency => "s",
    };
    quantity(value, unit)
}

fn devices(host: &Host) -> Markup {
    let state = |score: &HostScore| match &score.state {
        ScoreState::Scored(p) => html! { b { (percent(p.get())) } },
        ScoreState::Learning { have, need, .. } => html! { span.muted { "learning, " (have) " of " (need) } },
        ScoreState::Abstained { why } => html! { span.muted title=(why) { "not scored" } },
    };
    html! {
        header { h2 { "Host and devices" } p { "history follows the part, not the slot" } }
        div.scroll { table {
            thead { tr { th scope="col" { "Part" } th scope="col" { "Failure" } th.number scope="col" { "Anomaly" } th scope="col" { "First signal" } } }
            tbody { @for score in &host.scores {
                @let part = score.device.as_deref().unwrap_or("host");
                tr data-key={ (part) (score.horizon) } {
                    td { code { (part) } }
                    td.nowrap { (state(score)) span.muted { " within " (span(score.horizon)) } }
                    td.number { (number(score.anomaly)) }
                    td.muted { @if let Some(signal) = score.signals.first() { (signal.text) } }
                }
            } }
        } }
    }
}
