//! What the agent counts about itself.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// Counters shared by the agent's threads.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) rounds: AtomicU64,
    pub(crate) points: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) rejected_points: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) refused: AtomicU64,
    /// Batches of events at a receiver that takes no logs.
    pub(crate) unsupported: AtomicU64,
    pub(crate) dropped_full: AtomicU64,
    pub(crate) dropped_old: AtomicU64,
    /// Times in a row that the server said that it has too much to do; 0 once it has taken a batch.
    pub(crate) pushed_back: AtomicU64,
    pub(crate) send_micros: AtomicU64,
    /// Milliseconds by which this clock is ahead of the server's; `i64::MIN` while unknown.
    pub(crate) skew_millis: AtomicI64,
    /// When this host's certificate ends, seconds since 1970 UTC; 0 without one.
    pub(crate) certificate_ends: AtomicI64,
    /// The server's last answer asked to look closer.
    pub(crate) wants_closer: AtomicBool,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            rounds: AtomicU64::new(0),
            points: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            rejected_points: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unsupported: AtomicU64::new(0),
            dropped_full: AtomicU64::new(0),
            dropped_old: AtomicU64::new(0),
            pushed_back: AtomicU64::new(0),
            send_micros: AtomicU64::new(0),
            skew_millis: AtomicI64::new(i64::MIN),
            certificate_ends: AtomicI64::new(0),
            wants_closer: AtomicBool::new(false),
        }
    }
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
    /// Batches dropped because the spool was full, or they too old.
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
            dropped_batches: Self::get(&self.dropped_full) + Self::get(&self.dropped_old),
            waiting_batches,
            waiting_bytes,
        }
    }
}
