//! The thread that sends what waits in the spool.

use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::retry::{self, ATTEMPTS_AT_SERVER_ERROR, Jitter, Verdict};
use crate::spool::{Batch, Spool};
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

    /// Adds a batch; it never waits for the network.
    pub(crate) fn push(&self, batch: Vec<u8>) {
        let mut state = self.lock();
        state.spool.push(batch);
        self.counters
            .dropped_full
            .store(state.spool.dropped(), std::sync::atomic::Ordering::Relaxed);
        self.changed.notify_all();
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

    /// The next batch, and the file to sync first; `None` when the sender shall end.
    fn next(&self) -> Option<(Batch, Option<Arc<File>>)> {
        let mut state = self.lock();
        loop {
            if let Some(deadline) = state.stop
                && (Instant::now() >= deadline || state.spool.batches() == 0)
            {
                return None;
            }
            if let Some(batch) = state.spool.next() {
                let unsynced = state.spool.unsynced();
                return Some((batch, unsynced));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, id: u64) {
        self.lock().spool.done(id);
    }

    fn stopping(&self) -> bool {
        self.lock().stop.is_some()
    }

    /// Pauses between attempts, until the pause is over or the agent stops. Batches that arrive meanwhile are synced, so
    /// that an outage leaves no more at risk than the time between two of them.
    fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut state = self.lock();
        loop {
            if state.stop.is_some() {
                return;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            if let Some(file) = state.spool.unsynced() {
                drop(state);
                sync(&file);
                state = self.lock();
                continue;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// Sends until the outbox is stopped.
pub(crate) fn run(outbox: &Outbox, client: &Client, mut jitter: Jitter) {
    let mut away = Away::default();
    let mut stumbled: Option<(u64, u32)> = None;
    while let Some((batch, unsynced)) = outbox.next() {
        if let Some(file) = unsynced {
            sync(&file);
        }
        let Some(bytes) = batch.read() else {
            tracing::warn!(batch = batch.id, "the spool gave back a damaged batch; it is dropped");
            Counters::add(&outbox.counters.refused, 1);
            outbox.done(batch.id);
            continue;
        };
        let began = Instant::now();
        let outcome = client.send(&bytes);
        match outcome.verdict {
            Verdict::Accepted => {
                let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                outbox
                    .counters
                    .send_micros
                    .store(micros, std::sync::atomic::Ordering::Relaxed);
                Counters::add(&outbox.counters.sent, 1);
                Counters::add(&outbox.counters.rejected_points, outcome.rejected_points);
                outbox.done(batch.id);
                away.ended(client, &outcome);
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
        Counters::add(&outbox.counters.retries, 1);
        if outbox.stopping() {
            return; // The rest stays in the spool; a caller that stops the agent is not held up by a server that is away.
        }
        let pause = retry::pause(away.attempts, jitter.next(), outcome.retry_after);
        away.failed(client, &outcome);
        outbox.pause(pause);
    }
}

fn refuse(outbox: &Outbox, batch: &Batch, outcome: &Outcome) {
    let before = outbox
        .counters
        .refused
        .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    // The first few are told in full; after that the count, sent as a metric, is enough.
    if before < 3 {
        tracing::error!(
            answer = outcome.problem.as_deref(),
            "the server refused a batch; its readings are lost"
        );
    }
    outbox.done(batch.id);
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
                url = client.url(),
                problem = outcome.problem.as_deref(),
                "cannot send; batches wait and are sent later"
            );
            self.since = Some(Instant::now());
        }
        self.attempts = self.attempts.saturating_add(1);
    }

    fn ended(&mut self, client: &Client, outcome: &Outcome) {
        if let Some(since) = self.since.take() {
            tracing::info!(url = client.url(), seconds = since.elapsed().as_secs(), "sending again");
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
