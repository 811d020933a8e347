//! Events on their way out as log records, each batch under an id that comes from the kernel's own numbers.
//!
//! ```text
//!  sent from here on          read up to here
//!       │ from                     │ next
//!  ─────┴──────── records ─────────┴────►   the batch is `from-next`
//! ```
//! Both places are written down before a batch is handed over, and `from` moves after it: an agent that was killed in
//! between reads the same records again and gives them the same id, so that the server counts them once.

use super::Line;
use super::events::Event;

/// Records of one second that are sent; a fault that goes on says the same over and over, and its counts go on as metrics.
const PER_SECOND_MAX: u32 = 20;

/// Records that wait for a round at most; `log_limited` tells of both bounds.
pub(super) const WAITING_MAX: usize = 2000;

/// An event with the line that told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) event: Event,
    pub(super) sequence: u64,
    /// When the kernel said it, nanoseconds since 1970 UTC.
    pub(super) unix_nanos: u64,
    /// syslog's: 0 is an emergency, 7 for debugging.
    pub(super) level: u8,
    pub(super) message: String,
}

/// What waits to be sent.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// The first sequence number that may not be in the spool yet.
    from: u64,
    /// An agent before this one read up to here and may have handed it over.
    handed: u64,
    waiting: Vec<Told>,
    /// What comes after the last event that was looked at: a log that is opened anew begins before it.
    looked: u64,
    /// The kernel's second of the last record, and how many of it were taken.
    second: (u64, u32),
}

impl Outgoing {
    /// What an earlier agent left: sent up to `from`, read up to `next`.
    pub(super) fn resumed(from: u64, next: u64) -> Self {
        Self {
            from: from.min(next),
            handed: next,
            ..Self::default()
        }
    }

    /// The first sequence number that may not be in the spool yet.
    pub(super) fn from(&self) -> u64 {
        self.from
    }

    /// Whether a record is to be looked at though it was counted before.
    pub(super) fn wants(&self, sequence: u64) -> bool {
        sequence >= self.from.max(self.looked)
    }

    /// Takes an event; false when a bound keeps it out.
    pub(super) fn push(&mut self, line: &Line<'_>, event: Event, unix_nanos: u64) -> bool {
        self.looked = line.sequence.saturating_add(1);
        let second = line.micros / 1_000_000;
        if self.second.0 != second {
            self.second = (second, 0);
        }
        if self.second.1 >= PER_SECOND_MAX || self.waiting.len() >= WAITING_MAX {
            return false;
        }
        self.second.1 += 1;
        self.waiting.push(Told {
            event,
            sequence: line.sequence,
            unix_nanos,
            level: (line.priority & 7) as u8,
            message: line.message.to_owned(),
        });
        true
    }

    /// The next batch: where its records end, and they. `next` is the sequence number that is read next.
    pub(super) fn batch(&self, next: u64) -> (u64, &[Told]) {
        // What an earlier agent may have handed over is a batch as it was then.
        let until = if self.handed > self.from { self.handed } else { next };
        let end = self.waiting.partition_point(|told| told.sequence < until);
        (until, &self.waiting[..end])
    }

    /// The batch that ends at `until` is in the spool, or had no records.
    pub(super) fn done(&mut self, until: u64) {
        self.from = self.from.max(until);
        let from = self.from;
        self.waiting.retain(|told| told.sequence >= from);
    }
}
