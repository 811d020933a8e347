//! Batches of samples: gathered, judged, made durable, and only then visible.
//!
//! Group commit without a timer: of all threads that wait in [`Store::append`](crate::Store::append) one leads. It takes every
//! batch that is waiting, writes them as one, syncs, and hands the lead on before it makes them visible, so that the next group
//! syncs meanwhile. While one sync runs, arrivals gather. Groups become visible in the order in which they are in the WAL: a
//! replay sees the same last write as readers did.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::error::StoreError;
use crate::head::{Epochs, HistogramSample, Memtable};
use crate::part::Part;
use crate::series::{LabelsBuf, SeriesId};
use crate::series_table::Entry;
use crate::store::Shared;
use crate::table::Pending;
use crate::telemetry::Telemetry;
use crate::wal::record::Columns;

mod histograms;
#[cfg(test)]
mod tests;

/// Samples on their way in; made by [`Store::batch`](crate::Store::batch), taken by [`Store::append`](crate::Store::append).
#[derive(Debug)]
pub struct Batch {
    pub(crate) shared: Arc<Shared>,
    pub(crate) samples: Buffers,
}

/// The samples of a batch, column by column; kept for their memory.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    ids: Vec<SeriesId>,
    timestamps: Vec<i64>,
    values: Vec<f64>,
    histograms: Vec<HistogramSample>,
    // Whether samples are taken however old they are.
    any_age: bool,
}

impl Batch {
    /// The series with these labels; it is registered where it is new. May sort `labels`.
    ///
    /// # Errors
    /// [`StoreError::Label`] and [`StoreError::TooManySeries`].
    pub fn series(&mut self, labels: &mut LabelsBuf) -> Result<SeriesId, StoreError> {
        self.shared.table.resolve(labels)
    }

    /// Adds a sample of a series that [`Batch::series`] gave out.
    #[inline]
    pub fn push(&mut self, id: SeriesId, t_ms: i64, value: f64) {
        self.samples.push(id, t_ms, value);
    }

    /// Takes samples however much older they are than the newest of their series: for history that is brought in later.
    pub fn take_any_age(&mut self) {
        self.samples.any_age = true;
    }

    /// How many samples were pushed, histograms among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether no sample was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.len() == 0
    }
}

impl Buffers {
    fn columns(&self) -> Columns<'_> {
        Columns {
            ids: &self.ids,
            timestamps: &self.timestamps,
            values: &self.values,
        }
    }

    pub(crate) fn ids(&self) -> &[SeriesId] {
        &self.ids
    }

    /// Numbers and histograms.
    pub(crate) fn len(&self) -> usize {
        self.ids.len() + self.histograms.len()
    }

    /// Series of histograms.
    pub(crate) fn histogram_ids(&self) -> impl Iterator<Item = SeriesId> {
        self.histograms.iter().map(|sample| sample.id)
    }

    #[inline]
    pub(crate) fn push(&mut self, id: SeriesId, at_ms: i64, value: f64) {
        self.ids.push(id);
        self.timestamps.push(at_ms);
        self.values.push(value);
    }

    /// Moves all samples into `memtable`, which no snapshot has seen yet.
    pub(crate) fn append_to(&mut self, memtable: &Memtable) {
        memtable.append(&self.ids, &self.timestamps, &self.values, &Epochs::default());
        memtable.append_histograms(&self.histograms, &Epochs::default());
        self.clear();
    }

    fn clear(&mut self) {
        self.any_age = false;
        self.ids.clear();
        self.timestamps.clear();
        self.values.clear();
        self.histograms.clear();
    }
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Samples that are durable and visible now, histograms among them.
    pub accepted: u64,
    /// Histograms among them.
    pub accepted_histograms: u64,
    /// Samples that were not taken, by reason.
    pub refused: Vec<Refused>,
}

/// Samples that were not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: RefuseReason,
    /// How many.
    pub count: u64,
    /// The first of them in words.
    pub example: String,
}

/// Why a sample was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefuseReason {
    /// Further ahead of the server's clock than `StoreOptions::max_future_ms`.
    TooFarAhead,
    /// Older than the newest sample of its series by more than `StoreOptions::out_of_order_window_ms`.
    TooOld,
    /// Of a time that rollups tell of.
    RolledUp,
}

impl RefuseReason {
    /// The reason as a label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooFarAhead => "too_far_ahead",
            Self::TooOld => "too_old",
            Self::RolledUp => "rolled_up",
        }
    }
}

/// Batches that wait for their sync.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Vec<Waiting>,
    done: HashMap<u64, Result<Appended, StoreError>>,
    next_ticket: u64,
    // Whether a thread has taken batches that are not synced yet.
    led: bool,
    pub(crate) closed: bool,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    samples: Buffers,
    rows: Option<Pending>,
}

/// Where appending threads wait for each other.
#[derive(Debug, Default)]
pub(crate) struct GroupCommit {
    pub(crate) queue: Mutex<Queue>,
    pub(crate) turn: Condvar,
    /// Held while batches become visible, in the order of the WAL.
    pub(crate) applying: Mutex<()>,
}

/// Most samples that become visible between two chances for a snapshot: well under a millisecond of work.
const APPLY_SAMPLES: usize = 4096;
/// Scratches kept for later batches.
const POOLED: usize = 32;
/// A scratch that grew larger is not kept.
const POOLED_SAMPLES_MAX: usize = 1 << 17;

impl Shared {
    pub(crate) fn scratch(&self) -> Buffers {
        self.pool.lock().pop().unwrap_or_default()
    }

    fn recycle(&self, mut samples: Buffers) {
        samples.clear();
        let mut pool = self.pool.lock();
        if pool.len() < POOLED && samples.ids.capacity() <= POOLED_SAMPLES_MAX {
            pool.push(samples);
        }
    }

    /// Waits until the samples are durable and visible.
    pub(crate) fn append(&self, samples: Buffers, rows: Option<Pending>) -> Result<Appended, StoreError> {
        let commit = &self.commit;
        let mut queue = commit.queue.lock();
        if queue.closed {
            return Err(StoreError::Closed);
        }
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        queue.waiting.push(Waiting { ticket, samples, rows });
        loop {
            if let Some(result) = queue.done.remove(&ticket) {
                return result;
            }
            if queue.led || queue.waiting.is_empty() {
                commit.turn.wait(&mut queue);
                continue;
            }
            queue.led = true;
            let group = std::mem::take(&mut queue.waiting);
            MutexGuard::unlocked(&mut queue, || self.lead(group));
        }
    }

    /// Makes a group of batches durable, hands the lead on, makes them visible.
    fn lead(&self, group: Vec<Waiting>) {
        // Should anything below panic, the others must not wait for ever.
        let mut lead = Lead {
            commit: &self.commit,
            tickets: group.iter().map(|w| w.ticket).collect(),
            held: true,
        };
        let mut wal = self.wal.lock();
        wal.begin();
        let now = self.options.clock.now_ms();
        let mut group: Vec<(Waiting, Appended)> = group
            .into_iter()
            .map(|mut waiting| {
                let mut refused = self.judge(&mut waiting.samples, now);
                self.judge_histograms(&mut waiting.samples.histograms, now, &mut refused);
                let columns = waiting.samples.columns();
                wal.samples(columns, |id| self.table.canonical(id));
                waiting.rows = waiting.rows.take().filter(|rows| self.tables.admit(rows));
                if let Some(rows) = &waiting.rows {
                    wal.rows(rows.record());
                }
                let histograms = &waiting.samples.histograms;
                wal.histograms(histograms, |id| self.table.canonical(id));
                let appended = Appended {
                    accepted: (columns.ids.len() + histograms.len()) as u64,
                    accepted_histograms: histograms.len() as u64,
                    refused,
                };
                (waiting, appended)
            })
            .collect();
        let described = self.metadata.lock().take_unlogged();
        for (metric, metadata) in &described {
            wal.metadata(metric, metadata);
        }
        let written = wal.written_bytes();
        let started = Instant::now();
        let committed = wal.commit();
        let written = wal.written_bytes() - written;
        if written > 0 {
            Telemetry::get().synced(&self.tenant_label, started.elapsed().as_secs_f64(), written);
        }
        if let Err(error) = committed {
            self.metadata.lock().put_back(described);
            for rows in group.iter().filter_map(|(waiting, _)| waiting.rows.as_ref()) {
                self.tables.withdraw(rows);
            }
            drop(wal);
            for (waiting, _) in group {
                lead.done(waiting.ticket, Err(error.again()));
                self.recycle(waiting.samples);
            }
            return;
        }
        // Taken before the WAL is let go: whoever writes next becomes visible next.
        let applying = self.commit.applying.lock();
        drop(wal);
        lead.hand_on();
        for (waiting, _) in &mut group {
            self.apply(waiting.samples.columns());
            self.apply_histograms(&waiting.samples.histograms);
            if let Some(rows) = waiting.rows.take() {
                self.tables.apply(rows);
            }
        }
        drop(applying);
        for (waiting, appended) in group.drain(..) {
            self.count(&appended);
            lead.done(waiting.ticket, Ok(appended));
            self.recycle(waiting.samples);
        }
    }

    /// Takes out the samples that are refused, and widens the bounds of the series of all others.
    fn judge(&self, samples: &mut Buffers, now: i64) -> Vec<Refused> {
        let latest = now.saturating_add(self.options.max_future_ms);
        let window = if samples.any_age {
            i64::MAX
        } else {
            self.options.out_of_order_window_ms
        };
        let border = self.taken_after_ms.load(Ordering::SeqCst);
        let mut refused: Vec<Refused> = Vec::new();
        let mut kept = 0;
        for i in 0..samples.ids.len() {
            let (id, at) = (samples.ids[i], samples.timestamps[i]);
            let Some(entry) = self.table.entry(id) else { continue };
            let mut newest = entry.newest_at_most();
            if at < newest.saturating_sub(window) && entry.is_estimated() {
                // After a start only the parts' own bounds are known. Before a sample is refused for being old, it is looked up
                // how new the series' own samples are.
                entry.settle(self.newest_in_parts(id, entry));
                newest = entry.newest_at_most();
            }
            let reason = if at > latest {
                Some(RefuseReason::TooFarAhead)
            } else if at <= border && border > i64::MIN {
                Some(RefuseReason::RolledUp)
            } else if at < newest.saturating_sub(window) {
                Some(RefuseReason::TooOld)
            } else {
                None
            };
            if let Some(reason) = reason {
                match refused.iter_mut().find(|r| r.reason == reason) {
                    Some(refused) => refused.count += 1,
                    None => {
                        let example = match reason {
                            RefuseReason::TooFarAhead => {
                                format!("{} at {at} ms, server's clock {now} ms", entry.labels())
                            }
                            RefuseReason::RolledUp => {
                                format!("{} at {at} ms, samples up to {border} ms are rolled up", entry.labels())
                            }
                            RefuseReason::TooOld => format!("{} at {at} ms, newest sample {newest} ms", entry.labels()),
                        };
                        refused.push(Refused {
                            reason,
                            count: 1,
                            example,
                        });
                    }
                }
                continue;
            }
            entry.widen(at);
            if kept != i {
                samples.ids[kept] = id;
                samples.timestamps[kept] = at;
                samples.values[kept] = samples.values[i];
            }
            kept += 1;
        }
        samples.ids.truncate(kept);
        samples.timestamps.truncate(kept);
        samples.values.truncate(kept);
        refused
    }

    /// The newest timestamp of a series in all parts.
    fn newest_in_parts(&self, id: SeriesId, entry: &Entry) -> Option<i64> {
        let key = entry.labels().key();
        let view = self.view();
        let mut parts: Vec<&Arc<Part>> = view.parts.iter().filter(|part| part.row_of(key).is_some()).collect();
        parts.sort_by_key(|part| std::cmp::Reverse(part.meta().t_max));
        let mut newest = None;
        for part in parts {
            if newest >= Some(part.meta().t_max) {
                break;
            }
            match part.row_of(key).map_or(Ok(None), |row| part.newest_of(row)) {
                Ok(found) => newest = newest.max(found),
                Err(error) => {
                    // Then its samples cannot be told from late ones, and taking them is better than losing them.
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(series = id.0, error, "cannot tell how old a series is");
                }
            }
        }
        newest
    }

    /// Makes samples visible.
    fn apply(&self, samples: Columns<'_>) {
        let mut gate = self.gate.lock();
        for start in (0..samples.ids.len()).step_by(APPLY_SAMPLES) {
            if start > 0 {
                MutexGuard::bump(&mut gate);
            }
            let range = start..samples.ids.len().min(start + APPLY_SAMPLES);
            let Columns {
                ids,
                timestamps,
                values,
            } = samples;
            gate.changed(timestamps[range.clone()].iter().copied().min().unwrap_or(i64::MAX));
            let epochs = self.epochs(&gate);
            gate.view
                .active
                .append(&ids[range.clone()], &timestamps[range.clone()], &values[range], &epochs);
        }
    }

    fn count(&self, appended: &Appended) {
        self.counters.appended(appended.accepted);
        Telemetry::get().appended(&self.tenant_label, appended.accepted);
        for refused in &appended.refused {
            self.counters.refused(refused.count);
            Telemetry::get().refused(&self.tenant_label, refused.reason.as_str(), refused.count);
        }
    }
}

/// The lead of a group; ends when dropped, and nobody is left waiting.
struct Lead<'a> {
    commit: &'a GroupCommit,
    tickets: Vec<u64>,
    held: bool,
}

impl Lead<'_> {
    /// Lets another thread lead the next group.
    fn hand_on(&mut self) {
        self.held = false;
        self.commit.queue.lock().led = false;
        self.commit.turn.notify_all();
    }

    fn done(&mut self, ticket: u64, result: Result<Appended, StoreError>) {
        self.tickets.retain(|t| *t != ticket);
        self.commit.queue.lock().done.insert(ticket, result);
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut queue = self.commit.queue.lock();
        if self.held {
            queue.led = false;
        }
        for ticket in self.tickets.drain(..) {
            queue.done.insert(ticket, Err(StoreError::Interrupted));
        }
        drop(queue);
        self.commit.turn.notify_all();
    }
}
