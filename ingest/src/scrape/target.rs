//! One target: asked on its interval, its series remembered so that those that vanish are marked as gone.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use axum::http::HeaderValue;
use axum::http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use parking_lot::Mutex;
use store::{LabelsBuf, METRIC_NAME, SeriesId, Store, stale_nan};
use tokio::sync::{Semaphore, watch};
use wire::exposition::{Format, Line, Sample, lines};

use super::discovery::Made;
use super::relabel::{self, Pairs};
use crate::body::{self, Coding, Encoding};
use crate::cache::{Build, Key};
use crate::intake::{Intake, Stop};
use crate::problem::Problem;
use crate::refusal::Reason;
use crate::state::{IngestState, Writer};
use crate::telemetry::Protocol;
use crate::text::{Families, as_text, unreadable};

/// Distinguishes the keys of these series from those of other protocols.
const DOMAIN: &[u8] = b"scrape";
const FORMATS: &str = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
/// Series of a target that are remembered although they came in none of its last scrapes.
const FORGOTTEN_ROUNDS: u64 = 10;

/// How a target does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// It has not been asked yet.
    #[default]
    Unknown,
    /// Its last scrape went well.
    Up,
    /// Its last scrape failed.
    Down,
}

/// A target and its last scrape.
#[derive(Clone, Debug)]
pub struct TargetStatus {
    /// The job that it belongs to.
    pub job: String,
    /// Where it is scraped.
    pub url: String,
    /// The labels of its series, sorted.
    pub labels: Vec<(String, String)>,
    /// What it was before the rules.
    pub discovered: Vec<(String, String)>,
    /// How it does.
    pub health: Health,
    /// Why the last scrape failed; empty where it did not.
    pub last_error: String,
    /// When it was scraped last, milliseconds since 1970; 0 before the first time.
    pub last_scrape_ms: i64,
    /// How long that took.
    pub last_duration: Duration,
    /// Between two scrapes.
    pub interval: Duration,
    /// How long a scrape may take.
    pub timeout: Duration,
}

#[derive(Debug)]
pub(super) struct Target {
    made: Made,
    last: Mutex<Last>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Last {
    health: Health,
    error: String,
    at_ms: i64,
    duration: Duration,
}

/// The series of a target.
#[derive(Debug, Default)]
struct Memory {
    /// The store whose numbers are remembered: a tenant deleted and made anew numbers its series anew.
    store: Weak<Store>,
    round: u64,
    series: HashMap<Key, Known, Build>,
    up: Option<[SeriesId; 5]>,
}

/// A line of the target's text, by what it came to.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// `None` where rules drop it.
    id: Option<SeriesId>,
    /// The last scrape that had it.
    round: u64,
    /// Whether it gets a staleness marker when it vanishes: not where the target sets the time itself.
    tracked: bool,
    /// Whether the last scrape that was stored had it, so that it can vanish.
    live: bool,
}

/// What a line of the target's text comes to.
enum Met {
    Series(SeriesId),
    /// Rules drop it: it is the same line in the next scrape.
    Dropped,
    /// Counted, and not remembered, so that it is counted in each scrape and taken as soon as it can be.
    Refused,
}

/// What a target answered.
struct Fetched {
    body: Vec<u8>,
    format: Format,
}

impl Target {
    pub(super) fn new(made: Made) -> Self {
        Self {
            made,
            last: Mutex::default(),
            memory: Mutex::default(),
        }
    }

    pub(super) fn status(&self) -> TargetStatus {
        let last = self.last.lock();
        TargetStatus {
            job: self.made.job.clone(),
            url: self.made.url.clone(),
            labels: self.made.labels.clone(),
            discovered: self.made.discovered.clone(),
            health: last.health,
            last_error: last.error.clone(),
            last_scrape_ms: last.at_ms,
            last_duration: last.duration,
            interval: self.made.interval,
            timeout: self.made.timeout,
        }
    }

    /// Scrapes on the interval until `gone` turns true, then marks all series as gone.
    pub(super) async fn run(
        self: Arc<Self>,
        state: Arc<IngestState>,
        client: reqwest::Client,
        slots: Arc<Semaphore>,
        mut gone: watch::Receiver<bool>,
    ) {
        // Spread over the interval, so that a thousand targets are not asked in the same millisecond.
        let spread = RandomState::new().hash_one(&self.made.url) % self.made.interval.as_millis().max(1) as u64;
        let first = Duration::from_millis(spread).min(Duration::from_secs(15));
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + first, self.made.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = gone.changed() => break,
            }
            let Ok(_slot) = slots.acquire().await else { return };
            self.scrape(&state, &client).await;
        }
        let target = Arc::clone(&self);
        let ended = tokio::task::spawn_blocking(move || target.end(&state)).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::warn!(
                url = self.made.url,
                "the series of a target that has gone could not be marked as stale"
            );
        }
    }

    /// One scrape, with its samples stored.
    pub(super) async fn scrape(self: &Arc<Self>, state: &Arc<IngestState>, client: &reqwest::Client) {
        let started = Instant::now();
        let fetched = tokio::time::timeout(self.made.timeout, self.fetch(state, client))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", self.made.timeout.as_secs_f64())));
        let duration = started.elapsed();
        let (target, state) = (Arc::clone(self), Arc::clone(state));
        let stored = tokio::task::spawn_blocking(move || target.store(&state, fetched, duration)).await;
        if let Err(error) = stored {
            tracing::error!(%error, url = self.made.url, "a scrape panicked");
        }
    }

    async fn fetch(&self, state: &IngestState, client: &reqwest::Client) -> Result<Fetched, String> {
        let limits = state.limits();
        let mut request = client
            .get(&self.made.url)
            .header(ACCEPT, FORMATS)
            .header(ACCEPT_ENCODING, "gzip")
            .header(
                "X-Prometheus-Scrape-Timeout-Seconds",
                self.made.timeout.as_secs_f64().to_string(),
            );
        if let Some(auth) = &self.made.basic_auth {
            let password = secret(auth.password_file.as_deref(), &auth.password).await?;
            request = request.basic_auth(&auth.username, Some(password));
        }
        if let Some(auth) = &self.made.authorization {
            let credentials = secret(auth.credentials_file.as_deref(), &auth.credentials).await?;
            let value = HeaderValue::from_str(&format!("{} {credentials}", auth.kind))
                .map_err(|_| "the credentials cannot stand in a header".to_owned())?;
            request = request.header(AUTHORIZATION, value);
        }
        let mut answer = request.send().await.map_err(|error| chain(&error))?;
        if !answer.status().is_success() {
            return Err(format!("server returned HTTP status {}", answer.status()));
        }
        let header = |name| {
            let value = answer.headers().get(name).map(|v: &HeaderValue| v.as_bytes());
            String::from_utf8_lossy(value.unwrap_or_default()).to_ascii_lowercase()
        };
        let format = Format::of_content_type(&header(CONTENT_TYPE));
        let encoding = match header(CONTENT_ENCODING).as_str() {
            "" | "identity" => Encoding::Identity,
            "gzip" => Encoding::Gzip,
            other => return Err(format!("content encoding {other:?} was not asked for")),
        };
        let mut reservation = state.reservation();
        let mut raw = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| chain(&error))? {
            if raw.len() + chunk.len() > limits.body_bytes_max {
                return Err(format!("the body is larger than {} bytes", limits.body_bytes_max));
            }
            reservation.grow(chunk.len()).map_err(|problem| problem.detail)?;
            raw.extend_from_slice(&chunk);
        }
        let coding = Coding {
            encoding,
            framed: false,
            bytes_max: limits.decoded_bytes_max,
        };
        let body = body::decode(coding, raw, &mut reservation).map_err(|problem| problem.detail)?;
        Ok(Fetched { body, format })
    }

    fn store(&self, state: &IngestState, fetched: Result<Fetched, String>, duration: Duration) {
        let mut memory = self.memory.lock();
        let attempt = fetched.and_then(|fetched| self.take(state, &mut memory, Some(&fetched), duration));
        let error = match attempt {
            Ok(at_ms) => {
                *self.last.lock() = Last {
                    health: Health::Up,
                    error: String::new(),
                    at_ms,
                    duration,
                };
                return;
            }
            Err(error) => error,
        };
        tracing::debug!(url = self.made.url, error, "scrape failed");
        let at_ms = self.take(state, &mut memory, None, duration).unwrap_or_else(|why| {
            tracing::warn!(url = self.made.url, why, "the failure of a scrape could not be stored");
            0
        });
        *self.last.lock() = Last {
            health: Health::Down,
            error,
            at_ms,
            duration,
        };
    }

    /// Stores what was fetched, or that nothing was; the time of it.
    fn take(
        &self,
        state: &IngestState,
        memory: &mut Memory,
        fetched: Option<&Fetched>,
        duration: Duration,
    ) -> Result<i64, String> {
        let taken = state.intake(Protocol::Scrape, Writer::own(), |store, intake| {
            if memory.store.as_ptr() != Arc::as_ptr(store) {
                *memory = Memory {
                    store: Arc::downgrade(store),
                    ..Memory::default()
                };
            }
            memory.round += 1;
            let at_ms = intake.now_ms();
            let counts = match fetched {
                Some(fetched) => self.read(fetched, memory, at_ms, intake)?,
                None => Counts::default(),
            };
            memory.mark_vanished(at_ms, intake)?;
            let up = f64::from(u8::from(fetched.is_some()));
            self.report(
                memory,
                at_ms,
                [up, duration.as_secs_f64(), counts.scraped, counts.kept, counts.added],
                intake,
            )?;
            Ok(at_ms)
        });
        match taken {
            Ok((at_ms, outcome)) => {
                let series = memory.series.len();
                memory.forget();
                if !outcome.refusals.is_empty() {
                    tracing::warn!(
                        url = self.made.url,
                        series,
                        refused = outcome.refusals.describe(),
                        "samples of a target were refused"
                    );
                }
                Ok(at_ms)
            }
            Err(problem) => Err(problem.detail),
        }
    }

    fn read(
        &self,
        fetched: &Fetched,
        memory: &mut Memory,
        at_ms: i64,
        intake: &mut Intake<'_>,
    ) -> Result<Counts, Stop> {
        let text = as_text(&fetched.body).map_err(Stop::Problem)?;
        let max = intake.limits().samples_per_request_max;
        let mut counts = Counts::default();
        let mut families = Families::default();
        let mut labels = LabelsBuf::default();
        let mut bytes = Vec::new();
        let mut seen = 0_usize;
        for line in lines(text, fetched.format) {
            let sample = match line.map_err(|error| Stop::Problem(unreadable(&error)))? {
                Line::About { metric, property, text } => {
                    families.learn(&metric, property, &text, intake);
                    continue;
                }
                Line::Sample(sample) => sample,
            };
            seen += 1;
            if seen > max {
                return Err(Stop::Problem(Problem::too_large(format!(
                    "the target shows more than {max} samples"
                ))));
            }
            bytes.clear();
            bytes.extend_from_slice(DOMAIN);
            bytes.extend_from_slice(sample.series.as_bytes());
            let key = intake.hash(&bytes);
            let own_time = sample.at_ms.filter(|_| self.made.honor_timestamps);
            let known = match memory.series.get_mut(&key) {
                Some(known) => known,
                None => {
                    let id = match self.resolve(&sample, &mut labels, intake)? {
                        Met::Series(id) => Some(id),
                        Met::Dropped => None,
                        Met::Refused => {
                            // As in Prometheus: the rules kept it.
                            self.keep(&mut counts)?;
                            continue;
                        }
                    };
                    counts.added += f64::from(u8::from(id.is_some()));
                    memory.series.entry(key).or_insert(Known {
                        id,
                        round: 0,
                        tracked: false,
                        live: false,
                    })
                }
            };
            known.round = memory.round;
            known.tracked = own_time.is_none();
            let Some(id) = known.id else { continue };
            self.keep(&mut counts)?;
            let at_ms = own_time.unwrap_or(at_ms);
            intake.push(id, at_ms, sample.value)?;
            if let Some(exemplar) = sample.exemplar {
                let pairs: Vec<_> = exemplar.labels().collect();
                let pairs = pairs.iter().map(|(name, value)| Ok((&**name, &**value)));
                intake.exemplar(id, exemplar.at_ms.unwrap_or(at_ms), exemplar.value, pairs)?;
            }
        }
        families.finish(intake);
        counts.scraped = seen as f64;
        Ok(counts)
    }

    /// Counts a sample that the rules kept, unless the target has as many as it may: as in Prometheus, what they drop is not counted.
    fn keep(&self, counts: &mut Counts) -> Result<(), Stop> {
        let limit = self.made.sample_limit;
        counts.kept += 1.0;
        if limit > 0 && counts.kept > limit as f64 {
            return Err(Stop::Problem(Problem::too_large(format!(
                "the target shows more than {limit} samples after its rules (sample_limit)"
            ))));
        }
        Ok(())
    }

    /// The series that a line means, with the target's labels and after its rules.
    fn resolve(&self, sample: &Sample<'_>, labels: &mut LabelsBuf, intake: &mut Intake<'_>) -> Result<Met, Stop> {
        let own = &self.made.labels;
        let labels_max = intake.limits().labels_max;
        let shown = sample.labels().take(labels_max + 1);
        let mut pairs: Pairs = shown
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        // The target's labels win, and what it says itself is kept beside them.
        let taken = |pairs: &Pairs, name: &str| own.iter().chain(pairs).any(|(taken, _)| taken == name);
        for i in 0..pairs.len() {
            if !self.made.honor_labels && own.iter().any(|(name, _)| *name == pairs[i].0) {
                let mut name = pairs[i].0.clone();
                while taken(&pairs, &name) {
                    name.insert_str(0, "exported_");
                }
                pairs[i].0 = name;
            }
        }
        for (name, value) in own {
            if !pairs.iter().any(|(taken, _)| taken == name) {
                pairs.push((name.clone(), value.clone()));
            }
        }
        if !relabel::apply(&self.made.metric_relabel, &mut pairs) {
            return Ok(Met::Dropped);
        }
        if pairs.len() > labels_max {
            intake
                .refusals
                .add(Reason::TooManyLabels, 1, || sample.series.to_owned());
            return Ok(Met::Refused);
        }
        Ok(register(&pairs, labels, intake)?.map_or(Met::Refused, Met::Series))
    }

    /// `up` and what else Prometheus says of each scrape.
    fn report(&self, memory: &mut Memory, at_ms: i64, values: [f64; 5], intake: &mut Intake<'_>) -> Result<(), Stop> {
        const NAMES: [&str; 5] = [
            "up",
            "scrape_duration_seconds",
            "scrape_samples_scraped",
            "scrape_samples_post_metric_relabeling",
            "scrape_series_added",
        ];
        let ids = match memory.up {
            Some(ids) => ids,
            None => {
                let mut labels = LabelsBuf::default();
                let mut ids = Vec::new();
                for name in NAMES {
                    let mut pairs = self.made.labels.clone();
                    pairs.push((METRIC_NAME.to_owned(), name.to_owned()));
                    ids.extend(register(&pairs, &mut labels, intake)?);
                }
                // A refusal has been counted.
                let Ok(ids) = <[SeriesId; 5]>::try_from(ids) else {
                    return Ok(());
                };
                *memory.up.insert(ids)
            }
        };
        ids.into_iter()
            .zip(values)
            .try_for_each(|(id, value)| intake.push(id, at_ms, value))
    }

    /// Marks everything as gone.
    fn end(&self, state: &IngestState) -> Result<(), Problem> {
        let mut memory = self.memory.lock();
        state
            .intake(Protocol::Scrape, Writer::own(), |store, intake| {
                if memory.store.as_ptr() != Arc::as_ptr(store) {
                    return Ok(());
                }
                memory.round += 1;
                let at_ms = intake.now_ms();
                memory.mark_vanished(at_ms, intake)?;
                let mut ids = memory.up.into_iter().flatten();
                ids.try_for_each(|id| intake.push(id, at_ms, stale_nan()))
            })
            .map(drop)
    }
}

/// What a scrape counts, as samples are numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    scraped: f64,
    kept: f64,
    added: f64,
}

impl Memory {
    /// Staleness markers for the series that the last scrape had and this one has not.
    fn mark_vanished(&mut self, at_ms: i64, intake: &mut Intake<'_>) -> Result<(), Stop> {
        for known in self.series.values_mut() {
            if known.round == self.round {
                known.live = known.tracked;
            } else if std::mem::take(&mut known.live)
                && let Some(id) = known.id
            {
                intake.push(id, at_ms, stale_nan())?;
            }
        }
        Ok(())
    }

    /// Forgets series that have not come for a while; those that come again are looked up again.
    fn forget(&mut self) {
        let oldest = self.round.saturating_sub(FORGOTTEN_ROUNDS);
        self.series.retain(|_, known| known.round >= oldest);
    }
}

fn register(pairs: &Pairs, labels: &mut LabelsBuf, intake: &mut Intake<'_>) -> Result<Option<SeriesId>, Stop> {
    let mut bytes = DOMAIN.to_vec();
    labels.clear();
    for (name, value) in pairs {
        labels.push(name, value);
        for text in [name, value] {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    let key = intake.hash(&bytes);
    match intake.known(key) {
        Some(id) => Ok(Some(id)),
        None => intake.resolve(key, labels, 1),
    }
}

/// A secret as it stands in the configuration, or in its file, which is read each time so that it can be rotated.
async fn secret(file: Option<&std::path::Path>, given: &str) -> Result<String, String> {
    let Some(file) = file else { return Ok(given.to_owned()) };
    let text = tokio::fs::read_to_string(file)
        .await
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Ok(text.trim().to_owned())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        out += &format!(": {error}");
        cause = error.source();
    }
    out
}
