//! Batches that wait to be acknowledged: a bounded queue, on disk where a directory is given.
//!
//! ```text
//! sampler ─ push ─► [ oldest … newest ] ─ next ─► sender ─ done ─► gone
//!                     │ full or too old: the oldest go first, are counted, and leave a gap that is told
//! ```
//! Invariants: a batch is written once, when pushed, and survives the agent's death from then on, and the host's once
//! [`Spool::due`] has named its file for syncing, a second later at most; a torn tail is cut at open and never a reason
//! not to start; a full disk does not stop the agent, since batches then stay in memory; memory, disk and age are bounded.
//! No method reads a clock: times come in.

mod gap;
mod segment;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::batch;
pub(crate) use gap::Gap;
use gap::Gaps;
use segment::{Cursor, Segment};

/// Segments in a full spool: the oldest is dropped whole.
const SEGMENTS: u64 = 8;

/// An active segment beyond this is replaced once everything in it is acknowledged.
const SEGMENT_BYTES_IDLE: u64 = 1 << 20;

/// How long a lock is waited for: an agent that was killed a moment ago may still be on its way out.
const LOCK_PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 5 });
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// How long a written batch may stay without a sync: an acknowledgement within that time saves the sync.
pub(crate) const SYNC_AFTER: Duration = Duration::from_secs(1);

/// Largest batch that is taken.
pub(crate) const BATCH_BYTES_MAX: usize = 16 << 20;

/// Why a spool cannot be opened.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// The directory or a file in it cannot be used.
    #[error("cannot use spool directory {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another agent uses the directory.
    #[error("spool directory {path} is in use by another agent")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
}

/// How a spool keeps its batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolOptions {
    /// Where segments are written; in memory only without one.
    pub dir: Option<PathBuf>,
    /// Bytes on disk at most.
    pub disk_bytes_max: u64,
    /// Bytes in memory at most: all there is without a directory, what does not fit on a full disk with one.
    pub memory_bytes_max: u64,
    /// Batches older than this are dropped: what is sent so late helps nobody, and servers refuse it.
    pub age_max: Duration,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        // Six hours at 10 s are 2,160 batches of 5 to 12 kB. In memory, 4 MiB bridge an hour or two.
        Self {
            dir: None,
            disk_bytes_max: 64 << 20,
            memory_bytes_max: 4 << 20,
            age_max: Duration::from_secs(24 * 3600),
        }
    }
}

/// The queue. Not shared by itself: the agent holds it behind a lock, and reads and syncs files outside of that lock.
#[derive(Debug)]
pub(crate) struct Spool {
    options: SpoolOptions,
    disk: Option<Disk>,
    waiting: VecDeque<Waiting>,
    /// Number of the next batch; numbers order batches and are not reused by one process.
    next: u64,
    /// The newest batch that was handed to the sender.
    handed: Option<u64>,
    memory_bytes: u64,
    disk_bytes: u64,
    dropped: Dropped,
    gaps: Gaps,
    unsynced: Unsynced,
}

/// Batches dropped at a bound since the spool was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// To keep within the bounds on bytes.
    pub(crate) full: u64,
    /// To keep within the bound on age.
    pub(crate) old: u64,
}

/// Which batches a power cut could still cost.
#[derive(Clone, Copy, Debug, Default)]
struct Unsynced {
    /// The first of them.
    from: u64,
    /// When it was written; `None` when there are none.
    since: Option<Instant>,
}

/// What is to be synced, and when.
#[derive(Debug)]
pub(crate) enum Due {
    /// Nothing, until a batch is pushed.
    Nothing,
    /// Something, if it is not acknowledged by then.
    At(Instant),
    /// These files now, and then the directory when it holds new ones. The caller syncs without holding the queue.
    Now(Vec<Arc<File>>, Option<PathBuf>),
}

#[derive(Debug)]
struct Disk {
    dir: PathBuf,
    segments: VecDeque<Segment>,
    cursor: Cursor,
    /// Segments were created whose names a power cut could still cost.
    new_names: bool,
    // Held open: the lock on it ends with the process.
    _lock: File,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    unix_nanos: u64,
    /// It tells of events.
    events: bool,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Memory(Arc<[u8]>),
    Disk { segment: u64, offset: u64, len: u32 },
}

/// A batch for the sender; its bytes are read without holding up the queue.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) id: u64,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Memory(Arc<[u8]>),
    Disk { file: Arc<File>, offset: u64, len: u32 },
}

impl Batch {
    /// The batch as it was pushed; `None` when the disk gives back something else.
    pub(crate) fn read(&self) -> Option<Vec<u8>> {
        match &self.bytes {
            Bytes::Memory(bytes) => Some(bytes.to_vec()),
            Bytes::Disk { file, offset, len } => segment::read_record(file, *offset, *len),
        }
    }
}

impl Spool {
    /// Opens the spool, and with it what an earlier agent left in the directory.
    pub(crate) fn open(options: SpoolOptions) -> Result<Self, SpoolError> {
        let mut spool = Self {
            disk: None,
            waiting: VecDeque::new(),
            next: 0,
            handed: None,
            memory_bytes: 0,
            disk_bytes: 0,
            dropped: Dropped::default(),
            gaps: Gaps::default(),
            unsynced: Unsynced::default(),
            options,
        };
        if let Some(dir) = spool.options.dir.clone() {
            match spool.open_disk(&dir) {
                // The disk may be what is failing on this host: that is to be told, and no reason not to start.
                Err(SpoolError::Directory { source, .. }) if is_full(&source) => {
                    tracing::warn!(dir = %dir.display(), error = %source, "cannot write to the spool; batches stay in memory");
                }
                opened => opened?,
            }
        }
        Ok(spool)
    }

    fn open_disk(&mut self, dir: &Path) -> Result<(), SpoolError> {
        let failed = |source: io::Error| SpoolError::Directory {
            path: dir.to_path_buf(),
            source,
        };
        fs::create_dir_all(dir).map_err(failed)?;
        let lock = File::create(dir.join("lock")).map_err(failed)?;
        let patience = Instant::now() + LOCK_PATIENCE;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(fs::TryLockError::WouldBlock) if Instant::now() < patience => thread::sleep(LOCK_RETRY),
                Err(fs::TryLockError::WouldBlock) => {
                    return Err(SpoolError::InUse {
                        path: dir.to_path_buf(),
                    });
                }
                Err(fs::TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        let cursor = Cursor::open(dir).map_err(failed)?;
        let acknowledged = cursor.position();
        let mut segments = VecDeque::new();
        for id in segment::list(dir).map_err(failed)? {
            let (segment, records) = match Segment::open(dir, id) {
                Ok(opened) => opened,
                Err(error) => {
                    tracing::warn!(segment = id, %error, "cannot read a spool segment; it is left as it is");
                    continue;
                }
            };
            let waiting: Vec<_> = records
                .into_iter()
                .filter(|record| (id, record.offset) >= acknowledged)
                .collect();
            if waiting.is_empty() {
                segment.remove(dir);
                continue;
            }
            for record in waiting {
                self.disk_bytes += u64::from(record.len);
                let place = Place::Disk {
                    segment: id,
                    offset: record.offset,
                    len: record.len,
                };
                self.waiting.push_back(Waiting {
                    id: self.next,
                    unix_nanos: record.unix_nanos,
                    events: record.events,
                    place,
                });
                self.next += 1;
            }
            segments.push_back(segment);
        }
        // What is left from before is backlog: it is sent oldest first, after the first batch of this process.
        self.handed = self.next.checked_sub(1);
        self.disk = Some(Disk {
            dir: dir.to_path_buf(),
            segments,
            cursor,
            new_names: false,
            _lock: lock,
        });
        self.enforce_disk_bound();
        Ok(())
    }

    /// Adds the newest batch, taken at `unix_nanos`. Batches beyond the bound on a batch's size are dropped and counted.
    pub(crate) fn push(&mut self, unix_nanos: u64, now: Instant, bytes: Vec<u8>) {
        self.expire(unix_nanos);
        if bytes.len() > BATCH_BYTES_MAX {
            self.dropped.full += 1;
            self.gaps.lose(unix_nanos);
            return;
        }
        let id = self.next;
        self.next += 1;
        let events = batch::is_events(&bytes);
        let place = match self.write(unix_nanos, &bytes) {
            Some(place) => {
                if self.unsynced.since.is_none() {
                    self.unsynced = Unsynced {
                        from: id,
                        since: Some(now),
                    };
                }
                place
            }
            None => {
                self.memory_bytes += bytes.len() as u64;
                Place::Memory(bytes.into())
            }
        };
        self.gaps.carried_by(id);
        self.waiting.push_back(Waiting {
            id,
            unix_nanos,
            events,
            place,
        });
        self.enforce_disk_bound();
        self.enforce_memory_bound();
    }

    /// Drops what is older than the bound on age, seen from the newest batch's time.
    fn expire(&mut self, unix_nanos: u64) {
        let age = u64::try_from(self.options.age_max.as_nanos()).unwrap_or(u64::MAX);
        let oldest = unix_nanos.saturating_sub(age);
        let mut expired = false;
        while self.waiting.front().is_some_and(|waiting| waiting.unix_nanos < oldest) {
            let Some(gone) = self.waiting.pop_front() else { break };
            self.forget(&gone.place);
            self.dropped.old += 1;
            self.gaps.lose(gone.unix_nanos);
            expired = true;
        }
        if expired {
            self.release();
        }
    }

    /// `None` without a directory, and when the disk takes no more: the disk may be what is failing on this host.
    fn write(&mut self, unix_nanos: u64, bytes: &[u8]) -> Option<Place> {
        let segment_bytes = (self.options.disk_bytes_max / SEGMENTS).max(64 << 10);
        let disk = self.disk.as_mut()?;
        if disk.segments.back().is_none_or(|active| active.len() >= segment_bytes) {
            let id = disk.segments.back().map_or(disk.cursor.position().0, Segment::id) + 1;
            match Segment::create(&disk.dir, id) {
                Ok(segment) => {
                    disk.segments.push_back(segment);
                    disk.new_names = true;
                }
                Err(error) => return warn_once(&error),
            }
        }
        let active = disk.segments.back_mut()?;
        match active.append(unix_nanos, bytes) {
            Ok(offset) => {
                self.disk_bytes += bytes.len() as u64;
                Some(Place::Disk {
                    segment: active.id(),
                    offset,
                    len: bytes.len() as u32,
                })
            }
            Err(error) => warn_once(&error),
        }
    }

    /// The batch to send next: the newest when it has not been handed out yet, so that pages and alerts do not wait for a
    /// backlog; else the oldest that tells of events; else the oldest.
    pub(crate) fn next(&mut self) -> Option<Batch> {
        let newest = self.waiting.back()?;
        let oldest = || {
            let events = self.waiting.iter().find(|waiting| waiting.events);
            events.or_else(|| self.waiting.front())
        };
        let chosen = if self.is_fresh(newest) { newest } else { oldest()? };
        self.hand_out(chosen.id)
    }

    /// The same among the batches of readings alone, while those of events have to wait.
    pub(crate) fn next_readings(&mut self) -> Option<Batch> {
        let mut readings = self.waiting.iter().filter(|waiting| !waiting.events);
        let (oldest, newest) = (readings.next()?, readings.next_back());
        let chosen = newest.filter(|newest| self.is_fresh(newest)).unwrap_or(oldest);
        self.hand_out(chosen.id)
    }

    fn is_fresh(&self, waiting: &Waiting) -> bool {
        self.handed.is_none_or(|handed| waiting.id > handed)
    }

    fn hand_out(&mut self, id: u64) -> Option<Batch> {
        let index = self.waiting.binary_search_by_key(&id, |waiting| waiting.id).ok()?;
        let chosen = self.waiting.get(index)?;
        self.handed = self.handed.max(Some(chosen.id));
        let bytes = match &chosen.place {
            Place::Memory(bytes) => Bytes::Memory(Arc::clone(bytes)),
            Place::Disk { segment, offset, len } => {
                let file = self
                    .disk
                    .as_ref()?
                    .segments
                    .iter()
                    .find(|known| known.id() == *segment)?
                    .file();
                Bytes::Disk {
                    file,
                    offset: *offset,
                    len: *len,
                }
            }
        };
        Some(Batch { id: chosen.id, bytes })
    }

    /// Takes note that a batch could not be sent: unless a newer one comes, it stays the one to send first.
    pub(crate) fn failed(&mut self, id: u64) {
        if self.handed == Some(id) && self.waiting.back().is_some_and(|newest| newest.id == id) {
            self.handed = id.checked_sub(1);
        }
    }

    /// Forgets a batch that was acknowledged. One that was dropped meanwhile is no error.
    pub(crate) fn done(&mut self, id: u64) {
        self.gaps.acknowledged(id);
        self.remove(id);
    }

    /// Forgets a batch that is lost: refused for good, or damaged on the disk.
    pub(crate) fn lost(&mut self, id: u64) {
        if let Some(unix_nanos) = self.remove(id) {
            self.gaps.lose(unix_nanos);
        }
    }

    fn remove(&mut self, id: u64) -> Option<u64> {
        let index = self.waiting.binary_search_by_key(&id, |waiting| waiting.id).ok()?;
        let gone = self.waiting.remove(index)?;
        self.forget(&gone.place);
        self.release();
        if self.waiting.back().is_none_or(|newest| newest.id < self.unsynced.from) {
            // All that was not yet synced has arrived: there is nothing left that a sync would save.
            self.unsynced.since = None;
        }
        Some(gone.unix_nanos)
    }

    /// The stretch of dropped batches that no acknowledged batch has told of, to be told by the next batch pushed.
    pub(crate) fn gap(&mut self) -> Option<Gap> {
        self.gaps.tell()
    }

    fn forget(&mut self, place: &Place) {
        match place {
            Place::Memory(bytes) => self.memory_bytes -= bytes.len() as u64,
            Place::Disk { len, .. } => self.disk_bytes -= u64::from(*len),
        }
    }

    /// Moves the cursor to the oldest batch that waits and removes the segments before it.
    fn release(&mut self) {
        let Some(disk) = &mut self.disk else { return };
        let oldest = self.waiting.iter().find_map(|waiting| match waiting.place {
            Place::Disk { segment, offset, .. } => Some((segment, offset)),
            Place::Memory(_) => None,
        });
        let position = match (oldest, disk.segments.back()) {
            (Some(oldest), _) => oldest,
            (None, Some(active)) => (active.id(), active.len()),
            (None, None) => return,
        };
        disk.cursor.set(position);
        while disk.segments.front().is_some_and(|segment| segment.id() < position.0) {
            if let Some(segment) = disk.segments.pop_front() {
                segment.remove(&disk.dir);
            }
        }
        let idle = oldest.is_none()
            && disk
                .segments
                .back()
                .is_some_and(|active| active.len() > SEGMENT_BYTES_IDLE);
        if idle && let Some(segment) = disk.segments.pop_back() {
            disk.cursor.set((segment.id() + 1, 0));
            segment.remove(&disk.dir);
        }
    }

    fn enforce_disk_bound(&mut self) {
        while let Some(disk) = &mut self.disk {
            let bytes: u64 = disk.segments.iter().map(Segment::len).sum();
            if bytes <= self.options.disk_bytes_max || disk.segments.len() < 2 {
                return;
            }
            let Some(segment) = disk.segments.pop_front() else {
                return;
            };
            let id = segment.id();
            segment.remove(&disk.dir);
            let mut freed = 0;
            let (gaps, dropped) = (&mut self.gaps, &mut self.dropped);
            self.waiting.retain(|waiting| match waiting.place {
                Place::Disk { segment, len, .. } if segment == id => {
                    freed += u64::from(len);
                    dropped.full += 1;
                    gaps.lose(waiting.unix_nanos);
                    false
                }
                _ => true,
            });
            self.disk_bytes -= freed;
            self.release();
        }
    }

    fn enforce_memory_bound(&mut self) {
        while self.memory_bytes > self.options.memory_bytes_max {
            let Some(index) = self
                .waiting
                .iter()
                .position(|waiting| matches!(waiting.place, Place::Memory(_)))
            else {
                return;
            };
            let Some(gone) = self.waiting.remove(index) else { return };
            self.forget(&gone.place);
            self.dropped.full += 1;
            self.gaps.lose(gone.unix_nanos);
        }
    }

    /// What a power cut could cost, once it has waited long enough to be acknowledged.
    pub(crate) fn due(&mut self, now: Instant) -> Due {
        let Some(since) = self.unsynced.since else {
            return Due::Nothing;
        };
        let at = since + SYNC_AFTER;
        let Some(disk) = self.disk.as_mut().filter(|_| at <= now) else {
            return Due::At(at);
        };
        self.unsynced = Unsynced {
            from: self.next,
            since: None,
        };
        let files = disk.segments.iter_mut().filter_map(Segment::take_unsynced).collect();
        let dir = std::mem::take(&mut disk.new_names).then(|| disk.dir.clone());
        Due::Now(files, dir)
    }

    /// Batches that wait.
    pub(crate) fn batches(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// Bytes of the batches that wait.
    pub(crate) fn bytes(&self) -> u64 {
        self.memory_bytes + self.disk_bytes
    }

    /// Batches dropped at a bound since the spool was opened.
    pub(crate) fn dropped(&self) -> Dropped {
        self.dropped
    }
}

/// Errors of a disk that takes no more.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::QuotaExceeded
    )
}

/// The disk's error is told once a run: on a full disk it would be told every few seconds otherwise.
fn warn_once<T>(error: &io::Error) -> Option<T> {
    static TOLD: std::sync::Once = std::sync::Once::new();
    TOLD.call_once(
        || tracing::warn!(%error, "cannot write to the spool; batches stay in memory while the disk takes no more"),
    );
    None
}

#[cfg(test)]
mod tests;
