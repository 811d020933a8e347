//! Agents: which hosts have one, how each is doing, and what to do about those that are not doing well.
//!
//! What an agent says of itself are series like any other; what it was given when it joined stands in the server's own list. Here the
//! two come together.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{METRIC_NAME, Matcher, Samples, SeriesId, Snapshot, Store, TimeRange, host_of};

use crate::access::{Joined, ShownToken};
use crate::app::App;
use crate::hosts::SILENT_MS;
use crate::number::rfc3339;
use crate::params::{DEFAULT_TENANT, Scope, Told};
use crate::problem::Problem;
use crate::work::{Length, blocking};

/// Agents that sent nothing for longer than this are forgotten by the list.
const REMEMBERED_MS: i64 = 7 * 86_400_000;

/// Agents that are listed; what is left out needs nothing done before what is shown.
pub(crate) const LISTED_MAX: usize = 1000;

/// How far back drops are counted.
const DROPS_MS: i64 = 3_600_000;

/// Batches that wait before an agent counts as behind: five minutes of them at the usual interval.
const BEHIND_BATCHES: f64 = 30.0;

/// Seconds by which a clock may differ before it shows in what is compared across hosts.
const SKEW_SECONDS: f64 = 5.0;

/// How long before its end a certificate should have been made anew: it is due ten days before, of thirty.
const ENDS_SOON_MS: i64 = 5 * 86_400_000;

/// How an agent is doing, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Condition {
    /// Its certificate was taken back.
    Revoked,
    /// Its certificate has ended.
    Ended,
    /// It has joined and never sent anything.
    Unheard,
    /// It has sent nothing for a while.
    Silent,
    /// It had to throw readings away.
    Dropping,
    /// Its certificate ends soon and was not made anew.
    Ending,
    /// Its clock is off.
    Skewed,
    /// It sends what has waited.
    Behind,
    /// Nothing is to be done.
    Well,
}

impl Condition {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Ended => "ended",
            Self::Unheard => "unheard",
            Self::Silent => "silent",
            Self::Dropping => "dropping",
            Self::Ending => "ending",
            Self::Skewed => "skewed",
            Self::Behind => "behind",
            Self::Well => "well",
        }
    }

    /// What to do, in words.
    pub(crate) const fn advice(self) -> Option<&'static str> {
        match self {
            Self::Revoked => Some("Its certificate was revoked. To let it in again, join it with a new join token."),
            Self::Ended => Some("Its certificate has ended while it was away. Join it with a new join token."),
            Self::Unheard => Some(
                "It has joined and sent nothing since. On the host: systemctl status foreshock-agent, and journalctl -u foreshock-agent.",
            ),
            Self::Silent => Some(
                "Nothing comes from it. Is the host up? On it: systemctl status foreshock-agent; foreshock-agent check --server URL says \
                 what is in the way.",
            ),
            Self::Dropping => Some(
                "It threw readings away: the server was away, or refused them, for longer than its spool lasts (--spool-limit, --spool-hours).",
            ),
            Self::Ending => Some("Its certificate ends soon and was not made anew. The agent's log says why."),
            Self::Skewed => Some("Its clock is off: look at the host's time synchronisation."),
            Self::Behind => Some("It sends what waited while the server was away. Nothing to do unless it lasts."),
            Self::Well => None,
        }
    }

    /// Whether somebody should look.
    pub(crate) const fn needs_a_look(self) -> bool {
        !matches!(self, Self::Behind | Self::Well)
    }
}

/// What is known of an agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Agent {
    pub(crate) host: String,
    /// Of the agent's package.
    pub(crate) version: Option<String>,
    /// Kernel and architecture.
    pub(crate) platform: Option<String>,
    pub(crate) seen_ms: Option<i64>,
    pub(crate) interval_seconds: Option<f64>,
    /// By how much its clock is ahead of the server's.
    pub(crate) skew_seconds: Option<f64>,
    /// Batches and bytes that wait on the host.
    pub(crate) spool_batches: Option<f64>,
    pub(crate) spool_bytes: Option<f64>,
    /// Batches that it dropped within its last hour.
    pub(crate) dropped: f64,
    /// What it was given when it joined; none where it comes with a token.
    pub(crate) joined: Option<Joined>,
}

impl Agent {
    pub(crate) fn condition(&self, now_ms: i64) -> Condition {
        let joined = self.joined.as_ref();
        if joined.is_some_and(|joined| joined.revoked_ms.is_some()) {
            return Condition::Revoked;
        }
        if joined.is_some_and(|joined| joined.not_after_ms < now_ms) {
            return Condition::Ended;
        }
        let Some(seen) = self.seen_ms else {
            return Condition::Unheard;
        };
        // An agent that was told to read seldom is not silent in between.
        let usual = self.interval_seconds.map_or(0, |seconds| (seconds * 3000.0) as i64);
        if now_ms - seen > SILENT_MS.max(usual) {
            return Condition::Silent;
        }
        if self.dropped > 0.0 {
            return Condition::Dropping;
        }
        if joined.is_some_and(|joined| {
            let life = joined.not_after_ms - joined.renewed_ms.unwrap_or(joined.joined_ms);
            joined.not_after_ms - now_ms < ENDS_SOON_MS.min(life / 6)
        }) {
            return Condition::Ending;
        }
        if self.skew_seconds.is_some_and(|skew| skew.abs() > SKEW_SECONDS) {
            return Condition::Skewed;
        }
        if self.spool_batches.is_some_and(|batches| batches > BEHIND_BATCHES) {
            return Condition::Behind;
        }
        Condition::Well
    }
}

/// The agents of a tenant, those first about which something is to be done, and how many there are in all.
pub(crate) async fn overview(app: &App, tenant: &str, store: &Arc<Store>) -> Result<(Vec<Agent>, usize), Problem> {
    let (now, snapshot) = (app.now(), store.snapshot());
    let joined: Vec<Joined> = app
        .agents()
        .list()
        .into_iter()
        .filter(|joined| joined.tenant == tenant || joined.tenant.is_empty())
        .collect();
    let is_default = tenant == DEFAULT_TENANT;
    app.slots()
        .run(Length::Any, app.limits().query_timeout, move |_| {
            let mut agents = reporting(&snapshot, now)?;
            for joined in joined {
                // Who joined for any tenant is missing here only where it would write unless told.
                let is_elsewhere = joined.tenant.is_empty() && !is_default;
                if let Some(agent) = agents.get_mut(&joined.host) {
                    agent.joined = Some(joined);
                } else if !is_elsewhere {
                    let agent = Agent {
                        host: joined.host.clone(),
                        joined: Some(joined),
                        ..Agent::default()
                    };
                    agents.insert(agent.host.clone(), agent);
                }
            }
            let mut agents: Vec<Agent> = agents.into_values().collect();
            agents.sort_by_cached_key(|agent| (agent.condition(now), agent.host.clone()));
            let all = agents.len();
            agents.truncate(LISTED_MAX);
            Ok((agents, all))
        })
        .await
}

/// One of the things that an agent says of itself.
type Field = fn(&mut Agent) -> &mut Option<f64>;

/// What agents said of themselves, by host.
fn reporting(snapshot: &Snapshot, now: i64) -> Result<BTreeMap<String, Agent>, Problem> {
    let mut agents: BTreeMap<String, Agent> = BTreeMap::new();
    let remembered = TimeRange::millis(now - REMEMBERED_MS, now);
    for (host, id) in series(snapshot, "foreshock_agent_interval_seconds", remembered)? {
        let mut seen = None;
        for back in [2 * SILENT_MS, 86_400_000, REMEMBERED_MS] {
            seen = last(snapshot, id, TimeRange::millis(now - back, now))?;
            if seen.is_some() {
                break;
            }
        }
        let agent = agents.entry(host.clone()).or_default();
        agent.host = host;
        if let Some((at, interval)) = seen.filter(|(at, _)| agent.seen_ms.is_none_or(|before| before < *at)) {
            (agent.seen_ms, agent.interval_seconds) = (Some(at), Some(interval));
        }
    }
    let about: [(&str, Field); 3] = [
        ("foreshock_agent_clock_skew_seconds", |agent| &mut agent.skew_seconds),
        ("foreshock_agent_spool_batches", |agent| &mut agent.spool_batches),
        ("foreshock_agent_spool_bytes", |agent| &mut agent.spool_bytes),
    ];
    for (metric, field) in about {
        for (host, id) in series(snapshot, metric, remembered)? {
            let Some(agent) = agents.get_mut(&host) else { continue };
            let Some(seen) = agent.seen_ms else { continue };
            if let Some((_, value)) = last(snapshot, id, TimeRange::millis(seen - 2 * SILENT_MS, seen))? {
                *field(agent) = Some(value);
            }
        }
    }
    let mut samples = Samples::default();
    for (host, id) in series(snapshot, "foreshock_agent_dropped_batches_total", remembered)? {
        let Some(agent) = agents.get_mut(&host) else { continue };
        let Some(seen) = agent.seen_ms else { continue };
        samples.clear();
        snapshot.read(id, TimeRange::millis(seen - DROPS_MS, seen), &mut samples)?;
        agent.dropped += risen(&samples.values);
    }
    for (host, id) in series(snapshot, "target_info", remembered)? {
        let Some(agent) = agents.get_mut(&host) else { continue };
        let labels = snapshot.labels(id);
        if labels.get("job") != Some("foreshock-agent") {
            continue;
        }
        let platform = [labels.get("os_version"), labels.get("host_arch")];
        let platform = platform.into_iter().flatten().collect::<Vec<_>>().join(", ");
        // After an update there are two; the one that comes still is the one that counts.
        let seen = agent.seen_ms.unwrap_or(now);
        if last(snapshot, id, TimeRange::millis(seen - 2 * SILENT_MS, seen))?.is_some() || agent.version.is_none() {
            agent.version = labels.get("service_version").map(str::to_owned);
            agent.platform = Some(platform).filter(|platform| !platform.is_empty());
        }
    }
    Ok(agents)
}

/// The series of a metric by host.
fn series(snapshot: &Snapshot, metric: &str, range: TimeRange) -> Result<Vec<(String, SeriesId)>, Problem> {
    let ids = snapshot.select(&[Matcher::eq(METRIC_NAME, metric)], range)?;
    let named = ids.into_iter().filter_map(|id| {
        let labels = snapshot.labels(id);
        Some((host_of(&labels)?.to_owned(), id))
    });
    Ok(named.collect())
}

/// Time and value of the last sample that is no mark of an end.
fn last(snapshot: &Snapshot, id: SeriesId, range: TimeRange) -> Result<Option<(i64, f64)>, Problem> {
    let mut samples = Samples::default();
    snapshot.read(id, range, &mut samples)?;
    let found = samples.timestamps.iter().zip(&samples.values).rev();
    Ok(found
        .map(|(at, value)| (*at, *value))
        .find(|(_, value)| !value.is_nan()))
}

/// By how much a counter has risen, over starts anew.
fn risen(values: &[f64]) -> f64 {
    let steps = values.windows(2).map(|pair| match pair {
        [a, b] if b < a => *b,
        [a, b] => b - a,
        _ => 0.0,
    });
    steps.filter(|step| step.is_finite()).sum()
}

/// `GET /api/v1/agents`
pub(crate) async fn list(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let Scope { tenant, store, .. } = Scope::read(&app, request).await?;
    let (agents, all) = overview(&app, &tenant, &store).await?;
    let now = app.now();
    let agents: Vec<Value> = agents.iter().map(|agent| agent_json(agent, now)).collect();
    Ok(Json(json!({ "all": all, "agents": agents })).into_response())
}

fn agent_json(agent: &Agent, now: i64) -> Value {
    let condition = agent.condition(now);
    let joined = agent.joined.as_ref().map(|joined| {
        json!({
            "tenant": joined.tenant,
            "enrolment": joined.enrolment,
            "token": joined.token,
            "joined": rfc3339(joined.joined_ms),
            "renewed": joined.renewed_ms.map(rfc3339),
            "not_after": rfc3339(joined.not_after_ms),
            "revoked": joined.revoked_ms.map(rfc3339),
        })
    });
    json!({
        "host": agent.host,
        "condition": condition.name(),
        "advice": condition.advice(),
        "version": agent.version,
        "platform": agent.platform,
        "last_seen": agent.seen_ms.map(rfc3339),
        "interval_seconds": agent.interval_seconds,
        "clock_skew_seconds": agent.skew_seconds,
        "spool_batches": agent.spool_batches,
        "spool_bytes": agent.spool_bytes,
        "dropped_batches_in_an_hour": agent.dropped,
        "certificate": joined,
    })
}

/// Which host's certificate is to be taken back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revocation {
    host: String,
    /// The only tenant that is meant; any unless told.
    tenant: Option<String>,
}

/// `POST /api/v1/agents/revoke`
pub(crate) async fn revoke(
    State(app): State<App>,
    shown: Option<Extension<ShownToken>>,
    Told { body, .. }: Told<Revocation>,
) -> Result<Response, Problem> {
    let Revocation { host, tenant } = body;
    let (by, bound) = match shown {
        Some(Extension(ShownToken(token))) => (token.id, token.tenant),
        None => ("none".to_owned(), None),
    };
    // A token that is for one tenant takes back what is that tenant's.
    let tenant = bound.or(tenant);
    let now_ms = app.now();
    let revoked = blocking(move || {
        let found = app.agents().revoke(&host, tenant.as_deref(), now_ms)?;
        if found == 0 {
            return Err(Problem::not_found(format!("no host {host:?} has joined")).hint(
                "GET /api/v1/agents lists those that have; a host that comes with a token is kept out by revoking that",
            ));
        }
        tracing::info!(host, token = by, "a host's certificate was revoked");
        Ok(found)
    })
    .await?;
    Ok(Json(json!({ "revoked": revoked })).into_response())
}

#[cfg(test)]
mod tests;
