//! The thread that sends what waits in the spool, and the one that syncs what waits longer than a second.
//!
//! They are two, since an attempt to send may hang for half a minute and a sync on a failing disk for longer, and neither
//! may hold up the other or the sampler.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::batch;
use crate::clock;
use crate::expected::Expected;
use crate::retry::{self, ATTEMPTS_AT_SERVER_ERROR, Jitter, Verdict};
use crate::spool::{Batch, Due, Gap, Spool};
use crate::stats::Counters;
use crate::transport::{Client, Outcome};

/// What the sampler and the sender share.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    changed: Condvar,
    pub(crate) counters: Counters,
}

#[derive(Debug)]
struct State {
    spool: Spool,
    /// When to end whatever is left.
    stop: Option<Instant>,
}

impl Outbox {
    pub(crate) fn new(spool: Spool) -> Self {
        Self {
            state: Mutex::new(State { spool, stop: None }),
            changed: Condvar::new(),
            counters: Counters::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a batch taken at `unix_nanos`; it never waits for the network.
    pub(crate) fn push(&self, unix_nanos: u64, batch: Vec<u8>) {
        let mut state = self.lock();
        state.spool.push(unix_nanos, Instant::now(), batch);
        let dropped = state.spool.dropped();
        self.counters.dropped_full.store(dropped.full, Ordering::Relaxed);
        self.counters.dropped_old.store(dropped.old, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// What was dropped and not told of yet.
    pub(crate) fn gap(&self) -> Option<Gap> {
        self.lock().spool.gap()
    }

    /// How far this host's clock is ahead of the server's, in seconds, as the last answer showed.
    pub(crate) fn clock_skew(&self) -> Option<f64> {
        let millis = self.counters.skew_millis.load(Ordering::Relaxed);
        (millis != i64::MIN).then(|| millis as f64 / 1e3)
    }

    /// Batches and bytes that wait.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        let state = self.lock();
        (state.spool.batches(), state.spool.bytes())
    }

    /// Ends the sender once nothing waits, or at `deadline`.
    pub(crate) fn stop(&self, deadline: Instant) {
        self.lock().stop = Some(deadline);
        self.changed.notify_all();
    }

    /// The next batch, of events only from `events_from` on; `None` when the sender shall end.
    fn next(&self, events_from: Option<Instant>) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if let Some(deadline) = state.stop
                && (now >= deadline || state.spool.batches() == 0)
            {
                return None;
            }
            // Who stops tries everything once more.
            let held = events_from.filter(|from| *from > now && state.stop.is_none());
            let next = match held {
                Some(_) => state.spool.next_readings(),
                None => state.spool.next(),
            };
            if next.is_some() {
                return next;
            }
            state = match held {
                Some(from) => {
                    let waited = self.changed.wait_timeout(state, from - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn done(&self, id: u64) {
        self.lock().spool.done(id);
    }

    fn lost(&self, id: u64) {
        self.lock().spool.lost(id);
    }

    fn failed(&self, id: u64) {
        self.lock().spool.failed(id);
    }

    fn stopping(&self) -> bool {
        self.lock().stop.is_some()
    }

    /// Pauses between attempts, until the pause is over or the agent stops.
    fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut state = self.lock();
        while state.stop.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// Syncs what has waited for [`crate::spool::SYNC_AFTER`], and keeps which devices there are, until the outbox is stopped and all is
/// synced.
pub(crate) fn keep_synced(outbox: &Outbox, expected: &Expected) {
    loop {
        expected.keep();
        let mut state = outbox.lock();
        // An agent that stops leaves nothing to chance: what is still there is synced at once.
        let now = if state.stop.is_some() {
            Instant::now() + crate::spool::SYNC_AFTER
        } else {
            Instant::now()
        };
        match state.spool.due(now) {
            Due::Now(files, dir) => {
                drop(state);
                files.iter().for_each(|file| sync(file));
                if let Some(dir) = dir {
                    sync_names(&dir);
                }
            }
            Due::At(_) | Due::Nothing if state.stop.is_some() => return,
            Due::At(at) => {
                let left = at.saturating_duration_since(Instant::now());
                drop(outbox.changed.wait_timeout(state, left));
            }
            Due::Nothing => drop(outbox.changed.wait(state)),
        }
    }
}

/// Sends until the outbox is stopped.
pub(crate) fn run(outbox: &Outbox, client: &Client, mut jitter: Jitter) {
    let mut away = Away::default();
    let mut stumbled: Option<(u64, u32)> = None;
    let mut takes_readings = false;
    let mut events_wait = Held::default();
    while let Some(batch) = outbox.next(events_wait.until) {
        let Some(bytes) = batch.read() else {
            tracing::warn!(batch = batch.id, "the spool gave back a damaged batch; it is dropped");
            Counters::add(&outbox.counters.refused, 1);
            outbox.lost(batch.id);
            continue;
        };
        let began = Instant::now();
        let outcome = client.send(&bytes);
        outbox
            .counters
            .certificate_ends
            .store(client.certificate_ends().unwrap_or(0), Ordering::Relaxed);
        if let Some(server) = outcome.server_seconds {
            let millis = skew_millis(clock::unix_nanos(), began.elapsed(), server);
            outbox.counters.skew_millis.store(millis, Ordering::Relaxed);
        }
        if outcome.wants_closer {
            outbox.counters.wants_closer.store(true, Ordering::Relaxed);
        }
        let events = batch::is_events(&bytes);
        if events && takes_readings && matches!(outcome.status, 404 | 405 | 501) {
            pass_over(outbox, &batch, client);
            continue;
        }
        if !events {
            takes_readings = outcome.verdict == Verdict::Accepted;
        }
        match outcome.verdict {
            Verdict::Accepted => {
                let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                outbox.counters.send_micros.store(micros, Ordering::Relaxed);
                outbox.counters.pushed_back.store(0, Ordering::Relaxed);
                Counters::add(&outbox.counters.sent, 1);
                Counters::add(&outbox.counters.rejected_points, outcome.rejected_points);
                outbox.done(batch.id);
                away.ended(client, &outcome);
                if events {
                    events_wait.ended();
                }
                continue;
            }
            Verdict::Refused => {
                refuse(outbox, &batch, &outcome);
                continue;
            }
            Verdict::Stumbled => {
                let times = stumbled.filter(|(id, _)| *id == batch.id).map_or(0, |(_, times)| times) + 1;
                if times >= ATTEMPTS_AT_SERVER_ERROR {
                    refuse(outbox, &batch, &outcome);
                    continue;
                }
                stumbled = Some((batch.id, times));
            }
            Verdict::Later => {}
        }
        outbox.failed(batch.id);
        if outcome.busy {
            Counters::add(&outbox.counters.pushed_back, 1);
        }
        Counters::add(&outbox.counters.retries, 1);
        if outbox.stopping() {
            return; // The rest stays in the spool; a caller that stops the agent is not held up by a server that is away.
        }
        let attempts = if events && takes_readings {
            events_wait.attempts
        } else {
            away.attempts
        };
        let pause = retry::pause(attempts, jitter.next(), outcome.answered, outcome.retry_after);
        if events && takes_readings {
            // Who is busy or away is left alone for the pause; the readings then have as long to themselves.
            if outcome.busy || !outcome.answered {
                outbox.pause(pause);
            }
            events_wait.failed(Instant::now() + pause, &outcome);
        } else {
            away.failed(client, &outcome);
            outbox.pause(pause);
        }
    }
}

/// How far this clock is ahead of the server's, milliseconds: the server's seconds were true half way through the exchange,
/// to within the second that a `Date` header leaves out. Less than that second counts as none.
fn skew_millis(unix_nanos: u64, exchange: Duration, server_seconds: i64) -> i64 {
    let ours = i64::try_from(unix_nanos / 1_000_000).unwrap_or(i64::MAX) - (exchange.as_millis() / 2) as i64;
    let earliest = server_seconds.saturating_mul(1000);
    if ours < earliest {
        ours - earliest
    } else {
        (ours - earliest - 1000).max(0)
    }
}

/// A receiver that takes readings and knows no logs keeps nothing else waiting.
fn pass_over(outbox: &Outbox, batch: &Batch, client: &Client) {
    if outbox.counters.unsupported.fetch_add(1, Ordering::Relaxed) == 0 {
        tracing::warn!(
            url = client.shown(),
            "the receiver takes no logs; the kernel's events reach it as counts alone"
        );
    }
    outbox.done(batch.id);
}

fn refuse(outbox: &Outbox, batch: &Batch, outcome: &Outcome) {
    let before = outbox.counters.refused.fetch_add(1, Ordering::Relaxed);
    // The first few are told in full; after that the count, sent as a metric, is enough.
    if before < 3 {
        tracing::error!(
            answer = outcome.problem.as_deref(),
            "the server refused a batch; its readings are lost"
        );
    }
    outbox.lost(batch.id);
}

/// Events that a receiver does not take at present, while it takes readings: these do not wait behind those.
#[derive(Debug, Default)]
struct Held {
    attempts: u32,
    until: Option<Instant>,
}

impl Held {
    fn failed(&mut self, until: Instant, outcome: &Outcome) {
        if self.attempts == 0 {
            tracing::warn!(
                problem = outcome.problem.as_deref(),
                "the receiver takes readings and does not take the kernel's events; these wait and are tried again"
            );
        }
        self.attempts = self.attempts.saturating_add(1);
        self.until = Some(until);
    }

    fn ended(&mut self) {
        if self.attempts > 0 {
            tracing::info!("the receiver takes the kernel's events again");
        }
        *self = Self::default();
    }
}

/// A run of failed attempts: told when it begins and when it ends, not at each attempt.
#[derive(Debug, Default)]
struct Away {
    attempts: u32,
    since: Option<Instant>,
}

impl Away {
    fn failed(&mut self, client: &Client, outcome: &Outcome) {
        if self.since.is_none() {
            tracing::warn!(
                url = client.shown(),
                problem = outcome.problem.as_deref(),
                "cannot send; batches wait and are sent later"
            );
            self.since = Some(Instant::now());
        }
        self.attempts = self.attempts.saturating_add(1);
    }

    fn ended(&mut self, client: &Client, outcome: &Outcome) {
        if let Some(since) = self.since.take() {
            tracing::info!(
                url = client.shown(),
                seconds = since.elapsed().as_secs(),
                "sending again"
            );
        } else if let Some(problem) = &outcome.problem {
            tracing::debug!(problem, "the server took a batch in part");
        }
        self.attempts = 0;
    }
}

fn sync(file: &File) {
    // Without the sync a power cut may cost the last seconds; the agent's own death costs nothing either way.
    if let Err(error) = file.sync_data() {
        tracing::debug!(%error, "cannot sync the spool");
    }
}

/// A new file survives a power cut once its name does, which is the directory's.
fn sync_names(dir: &Path) {
    if let Err(error) = File::open(dir).and_then(|dir| dir.sync_all()) {
        tracing::debug!(%error, "cannot sync the spool's directory");
    }
}
