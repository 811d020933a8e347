//! What the agent counts about itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters shared by the agent's threads.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) rounds: AtomicU64,
    pub(crate) points: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) rejected_points: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) dropped_full: AtomicU64,
    pub(crate) send_micros: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

/// What the agent has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Rounds of readings.
    pub rounds: u64,
    /// Points read.
    pub points: u64,
    /// Batches that the server acknowledged.
    pub sent_batches: u64,
    /// Points of acknowledged batches that the server rejected.
    pub rejected_points: u64,
    /// Attempts to send that failed and were repeated.
    pub retries: u64,
    /// Batches that the server refused for good.
    pub refused_batches: u64,
    /// Batches dropped because the spool was full.
    pub dropped_batches: u64,
    /// Batches that wait to be acknowledged.
    pub waiting_batches: u64,
    /// Bytes that wait to be acknowledged.
    pub waiting_bytes: u64,
}

impl Counters {
    pub(crate) fn stats(&self, waiting_batches: u64, waiting_bytes: u64) -> Stats {
        Stats {
            rounds: Self::get(&self.rounds),
            points: Self::get(&self.points),
            sent_batches: Self::get(&self.sent),
            rejected_points: Self::get(&self.rejected_points),
            retries: Self::get(&self.retries),
            refused_batches: Self::get(&self.refused),
            dropped_batches: Self::get(&self.dropped_full),
            waiting_batches,
            waiting_bytes,
        }
    }
}
