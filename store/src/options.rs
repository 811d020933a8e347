//! What an operator may choose about a store, and where it gets the time from.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::retention::RetentionRule;
use crate::rollup::RollupOptions;

/// The bounds of one tenant's store.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Most series; a batch that would register another one is refused.
    pub max_series: usize,
    /// Samples further ahead of the clock than this are refused: one bad clock must not poison a series.
    pub max_future_ms: i64,
    /// Samples older than the newest one of their own series by more than this are refused.
    pub out_of_order_window_ms: i64,
    /// The head is written into parts when it holds more than this.
    pub flush_head_bytes: u64,
    /// Appends are refused while the head holds more than this, which happens when parts cannot be written.
    pub head_bytes_max: u64,
    /// Size at which the next WAL segment begins.
    pub wal_segment_bytes: u64,
    /// When the WAL is synced.
    pub wal_sync: WalSync,
    /// Parts whose newest sample is older than this are dropped; `None` keeps everything.
    pub retention_ms: Option<i64>,
    /// Parts are dropped, those that end first, while all of them take more than this; `None` sets no bound.
    pub retention_bytes: Option<u64>,
    /// Series that are kept for a shorter time than the others; of several rules about a series the shortest counts.
    pub retention_rules: Vec<RetentionRule>,
    /// What is kept of samples that are older than `retention_ms`.
    pub rollups: RollupOptions,
    /// Exemplars that are kept, in memory; the one that came first goes when there are more.
    pub max_exemplars: usize,
    /// Memory for answers of range queries, which are taken from it as far as they are still true; 0 keeps none.
    pub result_cache_bytes: usize,
    /// Whether a thread of the store flushes, merges and drops parts by itself.
    pub background: bool,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            max_series: 5_000_000,
            max_future_ms: 10 * 60 * 1000,
            out_of_order_window_ms: 2 * 60 * 60 * 1000,
            flush_head_bytes: 256 << 20,
            head_bytes_max: 1 << 30,
            wal_segment_bytes: 64 << 20,
            wal_sync: WalSync::Commit,
            retention_ms: None,
            retention_bytes: None,
            retention_rules: Vec::new(),
            rollups: RollupOptions::default(),
            // As Prometheus; up to some 250 bytes each.
            max_exemplars: 100_000,
            result_cache_bytes: 64 << 20,
            background: true,
            clock: Clock::system(),
        }
    }
}

/// When what is written to the WAL is synced to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalSync {
    /// Before it is acknowledged: it then survives a power cut.
    Commit,
    /// This long after it was written, at the latest: it is acknowledged before, so that a power cut or a crash of the kernel may
    /// take what came since the last sync. The death of the process takes nothing.
    Interval(Duration),
}

/// The time, in milliseconds since 1970-01-01 UTC; tests and replays bring their own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|| {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
            now.tv_sec * 1000 + now.tv_nsec / 1_000_000
        })
    }

    /// A clock that answers what `now` answers.
    #[must_use]
    pub fn new(now: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// A clock that stands still.
    #[must_use]
    pub fn fixed(now_ms: i64) -> Self {
        Self::new(move || now_ms)
    }

    /// Now.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
