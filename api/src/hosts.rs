//! Hosts by risk: what is known of each, in the order in which somebody should look at them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use predict::live::{Forecast, HostScore, ScoreState};
use predict::series::WRITTEN;
use serde_json::{Value, json};
use store::promql::{Deadline, QueryOptions, Value as Answered};
use store::{HOST_LABELS, METRIC_NAME, MatchOp, Matcher, Samples, Snapshot, Store, TimeRange, host_of};

use crate::app::App;
use crate::board::{ActiveAlert, AlertState};
use crate::number::rfc3339;
use crate::params::Scope;
use crate::problem::{Kind, Problem};
use crate::scores::{forecast_json, score_json};
use crate::work::Length;

/// Hosts that sent nothing for longer than this are forgotten by the list; their series are not.
const REMEMBERED_MS: i64 = 24 * 3_600_000;

/// A host that has been silent for longer than this is said to be.
pub(crate) const SILENT_MS: i64 = 3 * 60_000;

/// How far back the small curve beside each host goes, and in how many points.
const TREND_MS: i64 = 6 * 3_600_000;
const TREND_POINTS: i64 = 60;

/// Times in milliseconds and values.
type Trend = Vec<(i64, f64)>;

/// What is known of a host.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// Its name.
    pub(crate) name: String,
    /// What picks its series in PromQL, as `host_name="a"`.
    pub(crate) matchers: String,
    /// Scores of the newest round, of the host and of devices on it, the highest first.
    pub(crate) scores: Vec<HostScore>,
    /// Forecasts of the newest round, the soonest first.
    pub(crate) forecasts: Vec<Forecast>,
    /// Alerts that fire or are pending about it.
    pub(crate) alerts: Vec<ActiveAlert>,
    /// When it last sent anything.
    pub(crate) last_seen_ms: Option<i64>,
    /// Its probability over the last hours.
    pub(crate) trend: Trend,
}

impl Host {
    /// The score that says most: the highest probability, else why there is none.
    pub(crate) fn leading(&self) -> Option<&HostScore> {
        self.scores.first()
    }

    /// The highest probability.
    pub(crate) fn probability(&self) -> Option<f64> {
        self.leading().and_then(probability)
    }

    /// The highest anomaly score.
    pub(crate) fn anomaly(&self) -> Option<f64> {
        self.scores
            .iter()
            .map(|score| score.anomaly)
            .filter(|anomaly| anomaly.is_finite())
            .reduce(f64::max)
    }

    /// The limit that is reached first, if any is in sight.
    pub(crate) fn soonest(&self) -> Option<(&Forecast, f64)> {
        self.forecasts
            .iter()
            .find_map(|forecast| Some((forecast, forecast.seconds_to_limit?)))
    }

    /// Whether its score reaches what its model alerts at.
    pub(crate) fn is_over_threshold(&self) -> bool {
        self.leading().is_some_and(|score| score.alert)
    }

    /// How many alerts fire.
    pub(crate) fn firing(&self) -> usize {
        self.alerts
            .iter()
            .filter(|alert| alert.state == AlertState::Firing)
            .count()
    }

    /// Whether it has been silent for too long.
    pub(crate) fn is_silent(&self, now: i64) -> bool {
        self.last_seen_ms.is_some_and(|seen| now - seen > SILENT_MS)
    }

    // Firing alerts first, then by probability, then by how soon a limit is reached, then by how unusual it is.
    fn urgency(&self) -> impl Ord + use<> {
        let ordered = |value: f64| Reverse((value * 1e6) as i64);
        (
            Reverse(self.firing().min(1)),
            ordered(self.probability().unwrap_or(-1.0)),
            self.soonest().map_or(i64::MAX, |(_, seconds)| seconds as i64),
            ordered(self.anomaly().unwrap_or(0.0)),
            self.name.clone(),
        )
    }
}

/// The probability of a score, where it has one.
pub(crate) fn probability(score: &HostScore) -> Option<f64> {
    match &score.state {
        ScoreState::Scored(probability) => Some(probability.get()),
        ScoreState::Learning { .. } | ScoreState::Abstained { .. } => None,
    }
}

/// Every host of a tenant, the most urgent first.
pub(crate) async fn overview(app: &App, tenant: &str, store: &Arc<Store>) -> Result<Vec<Host>, Problem> {
    gather(app, tenant, store, None).await
}

/// One host.
pub(crate) async fn find(app: &App, tenant: &str, store: &Arc<Store>, name: &str) -> Result<Host, Problem> {
    gather(app, tenant, store, Some(name.to_owned()))
        .await?
        .into_iter()
        .next()
        .ok_or_else(|| {
            Problem::new(Kind::NotFound, format!("there is no host {name:?}"))
                .hint("GET /api/v1/hosts lists those that sent something in the last 24 hours")
        })
}

async fn gather(app: &App, tenant: &str, store: &Arc<Store>, only: Option<String>) -> Result<Vec<Host>, Problem> {
    let (now, engine, snapshot) = (app.now(), app.engine(), store.snapshot());
    let (round, rules) = (app.board().round(tenant), app.board().rules(tenant));
    app.slots()
        .run(Length::Any, app.limits().query_timeout, move |deadline| {
            let mut hosts = Hosts {
                only,
                found: BTreeMap::new(),
            };
            for (name, label) in names(&snapshot, now)? {
                let Some(host) = hosts.of(&name) else { continue };
                host.matchers = matchers(label, &name);
                host.last_seen_ms = last_seen(&snapshot, &host.matchers, now)?;
            }
            if let Some(round) = &round {
                for score in &round.scores {
                    if let Some(host) = hosts.of(&score.host) {
                        host.scores.push(score.clone());
                    }
                }
                for forecast in &round.forecasts {
                    if let Some(host) = hosts.of(&forecast.host) {
                        host.forecasts.push(forecast.clone());
                    }
                }
            }
            for alert in rules
                .alerts()
                .into_iter()
                .filter(|alert| alert.state != AlertState::Resolved)
            {
                // An alert about something that is no known host is on the page of alerts.
                if let Some(host) = host_of(&alert.labels).and_then(|name| hosts.found.get_mut(name)) {
                    host.alerts.push(alert.clone());
                }
            }
            for (name, trend) in trends(&engine, &snapshot, now, deadline)? {
                if let Some(host) = hosts.found.get_mut(&name) {
                    host.trend = trend;
                }
            }
            let mut hosts: Vec<Host> = hosts.found.into_values().collect();
            for host in &mut hosts {
                // Stable, so that the host's own score stays before those of its devices at the same probability.
                host.scores.sort_by(|a, b| {
                    probability(b)
                        .unwrap_or(-1.0)
                        .total_cmp(&probability(a).unwrap_or(-1.0))
                });
                let soon = |forecast: &Forecast| forecast.seconds_to_limit.unwrap_or(f64::INFINITY);
                host.forecasts.sort_by(|a, b| soon(a).total_cmp(&soon(b)));
            }
            hosts.sort_by_cached_key(Host::urgency);
            Ok(hosts)
        })
        .await
}

struct Hosts {
    only: Option<String>,
    found: BTreeMap<String, Host>,
}

impl Hosts {
    fn of(&mut self, name: &str) -> Option<&mut Host> {
        if self.only.as_ref().is_some_and(|only| only != name) {
            return None;
        }
        Some(self.found.entry(name.to_owned()).or_insert_with(|| Host {
            name: name.to_owned(),
            matchers: matchers("host_name", name),
            scores: Vec::new(),
            forecasts: Vec::new(),
            alerts: Vec::new(),
            last_seen_ms: None,
            trend: Vec::new(),
        }))
    }
}

/// Hosts that sent something lately, with the label that names them. What this system writes about hosts does not count.
fn names(snapshot: &Snapshot, now: i64) -> Result<BTreeMap<String, &'static str>, Problem> {
    let range = TimeRange::millis(now - REMEMBERED_MS, now);
    let mut names = BTreeMap::new();
    let mut matchers = vec![observed()?];
    for label in HOST_LABELS {
        for value in snapshot.label_values(label, &matchers, range)? {
            let labels = store::Labels::from_pairs([(label, value)]);
            if let Some(host) = host_of(&labels) {
                names.entry(host.to_owned()).or_insert(label);
            }
        }
        // A label counts only where none of those before it names the host.
        matchers.push(Matcher::eq(label, ""));
    }
    Ok(names)
}

/// Leaves out scores, alerts and descriptions: they go on for a while after a host has gone silent.
fn observed() -> Result<Matcher, Problem> {
    let names = format!("{}|ALERTS|ALERTS_FOR_STATE|target_info", WRITTEN.join("|"));
    Matcher::new(MatchOp::Nre, METRIC_NAME, &names).map_err(|error| Problem::from_error(Kind::Internal, &error))
}

/// What picks the series of a host that `label` names.
fn matchers(label: &str, host: &str) -> String {
    if label != "instance" {
        return format!("{label}={}", quoted(host));
    }
    // The port, and the brackets of an IPv6 address, are no part of the host's name.
    let literal: String = host
        .chars()
        .flat_map(|c| c.is_ascii_punctuation().then_some('\\').into_iter().chain([c]))
        .collect();
    format!("{label}=~{}", quoted(&format!("\\[?{literal}\\]?(:[0-9]+)?")))
}

/// `text` as a string of PromQL.
pub(crate) fn quoted(text: &str) -> String {
    format!(
        "\"{}\"",
        text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
    )
}

fn last_seen(snapshot: &Snapshot, matchers: &str, now: i64) -> Result<Option<i64>, Problem> {
    let mut matchers = store::promql::parse_selector(&format!("{{{matchers}}}"))?;
    matchers.push(observed()?);
    let mut samples = Samples::default();
    for back in [2 * SILENT_MS, REMEMBERED_MS] {
        let range = TimeRange::millis(now - back, now);
        let ids = snapshot.select(&matchers, range)?;
        let mut last = None;
        // A few series spread over all of them: one device or interface may be gone while the host is well.
        for at in [0, ids.len() / 3, ids.len() * 2 / 3, ids.len().saturating_sub(1)] {
            let Some(id) = ids.get(at) else { continue };
            samples.clear();
            snapshot.read(*id, range, &mut samples)?;
            last = last.max(samples.timestamps.last().copied());
        }
        if last.is_some() {
            return Ok(last);
        }
    }
    Ok(None)
}

fn trends(
    engine: &store::promql::Engine,
    snapshot: &Snapshot,
    now: i64,
    deadline: &Deadline,
) -> Result<Vec<(String, Trend)>, Problem> {
    let options = QueryOptions {
        deadline: deadline.clone(),
        reuse: true,
        ..QueryOptions::default()
    };
    let step = TREND_MS / TREND_POINTS;
    let end = now / step * step;
    // A maximum over each step, so that a short peak between two points is not lost.
    let query = format!(
        "max by (host) (max_over_time(foreshock_failure_probability[{}s]))",
        step / 1000
    );
    let answer = engine.range(snapshot, &query, end - TREND_MS, end, step, &options)?;
    let Answered::Matrix(lines) = answer.value else {
        return Ok(Vec::new());
    };
    Ok(lines
        .into_iter()
        .map(|line| (line.labels.get("host").unwrap_or("").to_owned(), line.points))
        .collect())
}

/// `GET /api/v1/hosts`
pub(crate) async fn list(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let Scope { tenant, store, .. } = Scope::read(&app, request).await?;
    let hosts = overview(&app, &tenant, &store).await?;
    let scored_at = app.board().round(&tenant).map(|round| rfc3339(round.at_ms));
    let hosts: Vec<Value> = hosts.iter().map(host_json).collect();
    Ok(axum::Json(json!({ "scored_at": scored_at, "hosts": hosts })).into_response())
}

/// `GET /api/v1/hosts/{host}`
pub(crate) async fn one(
    State(app): State<App>,
    Path(host): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let Scope { tenant, store, .. } = Scope::read(&app, request).await?;
    let host = find(&app, &tenant, &store, &host).await?;
    Ok(axum::Json(host_json(&host)).into_response())
}

fn host_json(host: &Host) -> Value {
    let alerts: Vec<Value> = host
        .alerts
        .iter()
        .map(|alert| {
            json!({
                "name": alert.name(),
                "state": alert.state.as_str(),
                "since": rfc3339(alert.active_at_ms),
                "annotations": alert.annotations,
            })
        })
        .collect();
    json!({
        "host": host.name,
        "probability": host.probability(),
        "anomaly": host.anomaly(),
        "last_seen": host.last_seen_ms.map(rfc3339),
        "scores": host.scores.iter().map(score_json).collect::<Vec<_>>(),
        "forecasts": host.forecasts.iter().map(forecast_json).collect::<Vec<_>>(),
        "alerts": alerts,
    })
}
