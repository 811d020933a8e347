//! One tenant's samples and state, opened.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use arrow::array::RecordBatch;
use opentelemetry::KeyValue;
use parking_lot::Mutex;

use crate::append::{Appended, Batch, Buffers, GroupCommit};
use crate::background::Background;
use crate::changes::Changes;
use crate::deletion::Deleted;
use crate::disk;
use crate::error::StoreError;
use crate::exemplar::{Exemplar, Exemplars};
use crate::head::{Epochs, Memtable};
use crate::histogram::Histogram;
use crate::lock::DirLock;
use crate::manifest::{Manifest, sweep};
use crate::metadata::{self, Metadata, MetadataBook};
use crate::options::{StoreOptions, WalSync};
use crate::part::{Part, PartId, quarantine, rollups_dir};
use crate::promql::ResultCache;
use crate::reader::Snapshot;
use crate::rollup::read::RolledParts;
use crate::series::{Matcher, SeriesId, TimeRange};
use crate::series_table::SeriesTable;
use crate::state::State;
use crate::table::file::Opened;
use crate::table::{self, Pending, Replayed, RowsAppended, Table, TableSnapshot, Tables};
use crate::telemetry::Telemetry;
use crate::wal::{self, Wal};

#[cfg(test)]
mod tests;

/// One tenant's samples and state.
///
/// All calls may come from any thread. Those that write block until the disk has answered.
#[derive(Debug)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    background: Background,
    // Held until the store is dropped; snapshots that live longer read parts that never change.
    _lock: DirLock,
}

/// What store, batches, snapshots and the background thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) tenant: String,
    pub(crate) tenant_label: KeyValue,
    pub(crate) options: StoreOptions,
    pub(crate) table: SeriesTable,
    pub(crate) commit: GroupCommit,
    // Locks are taken in the order in which they stand here.
    pub(crate) compacting: Mutex<()>,
    pub(crate) flushing: Mutex<()>,
    pub(crate) wal: Mutex<Wal>,
    // (`commit.applying` comes here.)
    pub(crate) manifest: Mutex<Manifest>,
    pub(crate) gate: Mutex<Gate>,
    /// Living snapshots by number.
    pub(crate) living: Mutex<BTreeMap<u64, u32>>,
    pub(crate) metadata: Mutex<MetadataBook>,
    pub(crate) exemplars: Exemplars,
    /// Rows of append-only tables; its lock comes last.
    pub(crate) tables: Tables,
    pub(crate) pool: Mutex<Vec<Buffers>>,
    pub(crate) counters: Counters,
    /// Parts that a merge found damaged: left alone until the next start.
    pub(crate) unmergeable: Mutex<HashSet<PartId>>,
    /// Samples are taken after this instant: up to it there are rollups, or are about to be.
    pub(crate) taken_after_ms: AtomicI64,
    /// When retention's rules were applied last, by the clock.
    pub(crate) rules_applied_ms: AtomicI64,
    pub(crate) state: State,
    /// Answers of range queries.
    pub(crate) results: ResultCache,
    report: OpenReport,
}

/// What readers see. Held by the writer while samples become visible, and for a moment when a snapshot is taken.
#[derive(Debug)]
pub(crate) struct Gate {
    /// The number that the next snapshot gets, unless nothing was written since the last one.
    pub(crate) epoch: u64,
    /// Whether anything was written since the last snapshot.
    pub(crate) written: bool,
    pub(crate) view: Arc<View>,
    /// What was written and deleted since earlier snapshots.
    pub(crate) changes: Changes,
}

impl Gate {
    /// What readers see changed, at `oldest_ms` and maybe later: the next snapshot is another one than the last.
    pub(crate) fn changed(&mut self, oldest_ms: i64) {
        self.written = true;
        self.changes.add(self.epoch, oldest_ms);
    }
}

/// Where samples are.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// By rank: later ones win.
    pub(crate) parts: Vec<Arc<Part>>,
    /// What of them was deleted.
    pub(crate) deleted: Arc<Deleted>,
    /// What is told by rollups instead of by them.
    pub(crate) rolled: Arc<RolledParts>,
    /// Being flushed; wins over parts.
    pub(crate) frozen: Option<Frozen>,
    /// Being written; wins over all.
    pub(crate) active: Arc<Memtable>,
    /// When the active memtable was begun, by the clock.
    pub(crate) active_since_ms: i64,
}

/// A memtable that is no longer written.
#[derive(Clone, Debug)]
pub(crate) struct Frozen {
    pub(crate) memtable: Arc<Memtable>,
    /// WAL segments before this one hold nothing but what is in it or in parts.
    pub(crate) wal_from_segment: u64,
}

/// Counts since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    appended: AtomicU64,
    refused: AtomicU64,
    part_bytes: AtomicU64,
    dropped: AtomicU64,
}

impl Counters {
    pub(crate) fn appended(&self, samples: u64) {
        self.appended.fetch_add(samples, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, samples: u64) {
        self.refused.fetch_add(samples, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self, samples: u64) {
        self.dropped.fetch_add(samples, Ordering::Relaxed);
    }

    pub(crate) fn part_written(&self, bytes: u64) {
        self.part_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What opening a store found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Samples read back from the WAL.
    pub replayed_samples: u64,
    /// Rows of append-only tables read back from the WAL.
    pub replayed_rows: u64,
    /// Where the last segment ended in the middle of a record: nothing acknowledged was lost, the tail was cut.
    pub torn_tail: Option<(PathBuf, u64)>,
    /// Places in the WAL whose bytes are damaged: what follows them in their segment is lost.
    pub damaged_segments: Vec<(PathBuf, u64)>,
    /// Files of parts and of tables that could not be opened and were moved aside.
    pub damaged_parts: Vec<PathBuf>,
}

/// Sizes of a store, all of them counted by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Series known, also those that have no recent samples.
    pub series: u64,
    /// Series that may be known: `StoreOptions::max_series`.
    pub series_max: u64,
    /// Series with samples in the head.
    pub head_series: u64,
    /// Samples in the head.
    pub head_samples: u64,
    /// Bytes of samples in the head, and of rows that are in no file yet.
    pub head_bytes: u64,
    /// Approximate bytes of the index of label values.
    pub index_bytes: u64,
    /// Parts.
    pub parts: u64,
    /// Parts that a merge found damaged; they are read as far as they can be.
    pub damaged_parts: u64,
    /// Samples in parts.
    pub part_samples: u64,
    /// Bytes of parts.
    pub part_bytes: u64,
    /// Bytes of parts of rollups.
    pub rollup_bytes: u64,
    /// Memory of kept answers of range queries.
    pub result_cache_bytes: u64,
    /// Bytes of WAL segments.
    pub wal_bytes: u64,
    /// WAL segments.
    pub wal_segments: u64,
    /// Samples accepted since the store was opened.
    pub appended_samples: u64,
    /// Samples refused since the store was opened.
    pub refused_samples: u64,
    /// Bytes written to the WAL since the store was opened.
    pub wal_written_bytes: u64,
    /// Rows of append-only tables.
    pub rows: u64,
    /// Bytes of the files of append-only tables.
    pub table_bytes: u64,
    /// Bytes written into parts since the store was opened, by flushes and by merges.
    pub part_written_bytes: u64,
    /// Samples that retention dropped and deleted ones that left the disk since the store was opened.
    pub dropped_samples: u64,
}

impl Store {
    /// Opens the store in `dir`, one tenant's directory, which is created where it does not exist.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process holds it; [`StoreError::Io`] when it cannot be read. Damaged bytes in WAL and
    /// parts are no error: they are reported by [`Store::open_report`] and in the log.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<Arc<Self>, StoreError> {
        let wal_dir = dir.join("wal");
        disk::create_dir_all(&wal_dir).map_err(|e| StoreError::io("create", &wal_dir, e))?;
        let lock = DirLock::acquire(dir)?;
        // The directories' own names are durable before anything in them is acknowledged.
        let sync = |dir: &Path| disk::sync_dir(dir).map_err(|e| StoreError::io("sync", dir, e));
        sync(dir)?;
        if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
            sync(parent)?;
        }
        let state = State::open(&dir.join("state.sqlite"))?;
        let mut metadata = MetadataBook::new(metadata::load(&state)?);
        let mut report = OpenReport::default();
        let (mut manifest, parts) = open_parts(dir, &mut report)?;
        let rolled = open_rollups(dir, &mut manifest, &mut report)?;
        let opened = open_tables(dir, &mut manifest, &mut report)?;
        let tables = Tables::open(&state, opened.files)?;

        let table = SeriesTable::new(options.max_series);
        let all = || parts.iter().chain(rolled.parts.iter().map(|(_, part)| part));
        for part in all() {
            table.register_part(part)?;
        }
        Shared::forget_deleted(&table, &manifest.deletions, all);
        let active = Arc::new(Memtable::new(options.max_series));
        let mut replay = Replay {
            table: &table,
            memtable: &active,
            metadata: &mut metadata,
            tables: &tables,
            rows_from: manifest.rows_from(),
            segment: 0,
            batches: Replayed::default(),
            samples: Buffers::default(),
            replayed: 0,
            replayed_rows: 0,
            dropped: 0,
        };
        let replayed = wal::replay(&wal_dir, manifest.wal_from_segment, &mut replay)?;
        if replay.dropped > 0 {
            tracing::error!(
                series = replay.dropped,
                limit = options.max_series,
                "too many series, the WAL's others are lost"
            );
        }
        report.replayed_samples = replay.replayed;
        report.replayed_rows = replay.replayed_rows;
        report.torn_tail = replayed.torn_tail;
        report.damaged_segments = replayed.damaged;

        let tenant = dir
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let view = View {
            parts,
            deleted: Arc::new(Deleted::new(&manifest.deletions)),
            rolled: Arc::new(rolled),
            frozen: None,
            active,
            active_since_ms: options.clock.now_ms(),
        };
        // Beyond all that files of tables hold, or new rows would be taken for theirs.
        let from = manifest.rows_from();
        let wal = Wal::new(&wal_dir, options.wal_segment_bytes, replayed.segments, from);
        let wal = match options.wal_sync {
            WalSync::Commit => wal,
            WalSync::Interval(_) => wal.synced_apart(),
        };
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            tenant_label: KeyValue::new("tenant", tenant.clone()),
            tenant,
            table,
            commit: GroupCommit::default(),
            compacting: Mutex::new(()),
            flushing: Mutex::new(()),
            wal: Mutex::new(wal),
            taken_after_ms: AtomicI64::new(manifest.rolled_until_ms),
            manifest: Mutex::new(manifest),
            gate: Mutex::new(Gate {
                epoch: 1,
                written: true,
                view: Arc::new(view),
                changes: Changes::default(),
            }),
            living: Mutex::default(),
            metadata: Mutex::new(metadata),
            exemplars: Exemplars::new(options.max_exemplars),
            tables,
            pool: Mutex::default(),
            counters: Counters::default(),
            unmergeable: Mutex::default(),
            rules_applied_ms: AtomicI64::new(i64::MIN),
            state,
            results: ResultCache::new(options.result_cache_bytes),
            report,
            options,
        });
        let background = Background::start(&shared)?;
        Ok(Arc::new(Self {
            shared,
            background,
            _lock: lock,
        }))
    }

    /// What opening found.
    #[must_use]
    pub fn open_report(&self) -> &OpenReport {
        &self.shared.report
    }

    /// The tenant: the name of the directory.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.shared.tenant
    }

    /// The tenant's small transactional state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.shared.state
    }

    /// Now, by the clock that judges how far ahead a sample is.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.shared.options.clock.now_ms()
    }

    /// The last timestamp that is taken now; what is later is refused as [`RefuseReason::TooFarAhead`](crate::RefuseReason).
    #[must_use]
    pub fn latest_ms(&self) -> i64 {
        self.now_ms().saturating_add(self.shared.options.max_future_ms)
    }

    /// An empty batch.
    #[must_use]
    pub fn batch(&self) -> Batch {
        Batch {
            shared: Arc::clone(&self.shared),
            samples: self.shared.scratch(),
        }
    }

    /// Makes a batch durable, then visible. Blocks until the WAL is synced: call it on a thread that may block.
    ///
    /// Samples that are refused are told in the answer, and the others are taken. A sample with a timestamp that its series
    /// has already replaces it; sending a batch again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::StorageFull`] and [`StoreError::HeadFull`]: retry later, queries go on meanwhile;
    /// [`StoreError::Closed`]. Nothing of the batch counts then, though what was written before a power cut may come back.
    pub fn append(&self, batch: Batch) -> Result<Appended, StoreError> {
        if !Arc::ptr_eq(&batch.shared, &self.shared) {
            return Err(StoreError::ForeignBatch);
        }
        let ids = batch.samples.ids().iter().copied();
        let highest = ids.chain(batch.samples.histogram_ids()).max();
        if let Some(unknown) = highest.filter(|id| id.0 >= self.shared.table.len()) {
            return Err(StoreError::UnknownSeries(unknown));
        }
        self.with_room(|shared| shared.append(batch.samples, None))
    }

    /// Makes rows of a table durable, then visible. Blocks as [`Store::append`] does. `rows` has the columns of
    /// [`Table::schema`](crate::table::Table::schema). A batch with an `id` that was appended before is not appended again, and
    /// rows too far ahead of the clock are not taken: the answer says so.
    ///
    /// # Errors
    /// [`StoreError::Rows`] when the batch is too large or not of that schema; else as [`Store::append`].
    pub fn append_rows(&self, table: Table, id: Option<&str>, rows: RecordBatch) -> Result<RowsAppended, StoreError> {
        let sent = rows.num_rows() as u64;
        let rows = table::until(rows, self.latest_ms()).map_err(|error| StoreError::Rows {
            table: table.name(),
            reason: error.to_string(),
        })?;
        let accepted = rows.num_rows() as u64;
        let mut appended = RowsAppended {
            accepted,
            too_far_ahead: sent - accepted,
            duplicate: false,
        };
        if accepted > 0 {
            let pending = Pending::new(table, id, rows)?;
            let duplicate = pending.is_duplicate();
            if self.shared.tables.is_unsure(&pending) {
                // It is there, but nobody knows for how long: in a file it is safe.
                self.flush()?;
            }
            self.with_room(|shared| shared.append(shared.scratch(), Some(pending)))?;
            appended.duplicate = duplicate.load(Ordering::Acquire);
            if !appended.duplicate {
                Telemetry::get().appended_rows(&self.shared.tenant_label, table.name(), accepted);
            }
        }
        Ok(appended)
    }

    /// The rows of a table as they are now.
    #[must_use]
    pub fn table(&self, table: Table) -> TableSnapshot {
        self.shared.tables.snapshot(table)
    }

    /// Appends while there is room in memory, and has parts written when there is little left.
    fn with_room<T>(&self, append: impl FnOnce(&Shared) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let bytes = self.shared.head_bytes();
        let limit = self.shared.options.head_bytes_max;
        if bytes > limit {
            self.background.wake();
            return Err(StoreError::HeadFull { bytes, limit });
        }
        let appended = append(&self.shared)?;
        if bytes > self.shared.options.flush_head_bytes {
            self.background.wake();
        }
        Ok(appended)
    }

    /// The store as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(&self.shared)
    }

    /// No sample of a series that [`Batch::series`] gave out is newer than this; `None` where it has none.
    #[must_use]
    pub fn newest_at_most(&self, id: SeriesId) -> Option<i64> {
        let newest = self.shared.table.entry(id)?.newest_at_most();
        (newest > i64::MIN).then_some(newest)
    }

    /// Remembers what a metric is: durably with the next batch. Of more than 100,000 metrics that is left out, and counted.
    pub fn set_metadata(&self, metric: &str, metadata: Metadata) {
        if !self.shared.metadata.lock().set(metric, metadata) {
            Telemetry::get().metadata_left_out(&self.shared.tenant_label);
        }
    }

    /// What is known of every metric.
    #[must_use]
    pub fn metadata(&self) -> BTreeMap<String, Metadata> {
        self.shared.metadata.lock().known().clone()
    }

    /// Keeps exemplars of series that [`Batch::series`] gave out, in memory; answers how many of them are kept by now. Those
    /// older than the latest of their series are not.
    pub fn add_exemplars(&self, new: Vec<(SeriesId, Exemplar)>) -> u64 {
        self.shared.exemplars.add(new)
    }

    /// The exemplars of `ids` within `range`, in the order of `ids`; series without any are left out.
    #[must_use]
    pub fn exemplars(&self, ids: &[SeriesId], range: TimeRange) -> Vec<(SeriesId, Vec<Exemplar>)> {
        self.shared.exemplars.of(ids, range)
    }

    /// Writes all acknowledged samples into parts.
    ///
    /// # Errors
    /// When a part cannot be written; the samples stay in WAL and head.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.shared.flush()
    }

    /// As [`Store::flush`], where the head has grown to the size at which the store's own thread would.
    ///
    /// # Errors
    /// As [`Store::flush`].
    pub fn flush_if_large(&self) -> Result<(), StoreError> {
        if self.shared.head_bytes() > self.shared.options.flush_head_bytes {
            self.shared.flush()?;
        }
        Ok(())
    }

    /// Rolls up and drops what is due, then merges parts until there is nothing left to merge.
    ///
    /// # Errors
    /// When a part cannot be read or written; the parts stay as they were.
    pub fn compact(&self) -> Result<(), StoreError> {
        self.shared.compact()
    }

    /// Deletes the samples within `range` of all series that meet all matchers of any of `sets`; answers how many series those are.
    /// When it returns, no reader finds them any more, and no crash brings them back. They leave the disk when their parts are
    /// rewritten: by a merge, by the store's thread after an hour, or by [`Store::clean_deleted`]. Samples that are appended
    /// meanwhile or later are not meant.
    ///
    /// # Errors
    /// [`StoreError::TooManyDeleted`], and what keeps the head from being flushed or the manifest from being written; then nothing is
    /// deleted.
    pub fn delete(&self, sets: &[Vec<Matcher>], range: TimeRange) -> Result<u64, StoreError> {
        self.shared.delete(sets, range)
    }

    /// Rewrites all parts that hold deleted samples; when it returns, those are not on the disk any more.
    ///
    /// # Errors
    /// When a part cannot be read or written; what was rewritten before stays so.
    pub fn clean_deleted(&self) -> Result<(), StoreError> {
        self.shared.clean_deleted()
    }

    /// Drops what is too old and merges what is due, as the store's thread does by itself.
    #[cfg(test)]
    pub(crate) fn maintain_now(&self) -> Result<(), StoreError> {
        self.shared.maintain(self.shared.options.clock.now_ms())
    }

    /// Stops the store's thread and refuses appends from then on. What was acknowledged is durable already, so nothing is
    /// written.
    ///
    /// # Errors
    /// [`StoreError::Interrupted`] when the thread had panicked.
    pub fn close(&self) -> Result<(), StoreError> {
        self.shared.commit.queue.lock().closed = true;
        let stopped = self.background.stop();
        self.shared.wal.lock().sync().and(stopped)
    }

    /// Does something with the directory of a closed store while nothing in it is written, after which nothing ever is: who was
    /// waiting to append, flush or merge is told that the store is closed.
    pub(crate) fn while_idle<T>(&self, act: impl FnOnce() -> T) -> T {
        let _compacting = self.shared.compacting.lock();
        let _flushing = self.shared.flushing.lock();
        let mut wal = self.shared.wal.lock();
        wal.close();
        act()
    }

    /// What the store's thread would do now.
    #[cfg(test)]
    pub(crate) fn work(&self) -> Result<(), StoreError> {
        crate::background::work(&self.shared)
    }

    /// Sizes.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        self.shared.stats()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(
                tenant = self.shared.tenant,
                error = &error as &dyn std::error::Error,
                "store did not close"
            );
        }
    }
}

impl Shared {
    /// Which snapshots live, for the writer, which holds the gate.
    pub(crate) fn epochs(&self, gate: &Gate) -> Epochs {
        Epochs {
            current: gate.epoch,
            living: self.living.lock().keys().copied().collect(),
        }
    }

    /// What readers see now.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.gate.lock().view)
    }

    /// Bytes of samples that are not in parts, and of rows that are not in files.
    pub(crate) fn head_bytes(&self) -> u64 {
        let view = self.view();
        let frozen = view.frozen.as_ref().map_or(0, |frozen| frozen.memtable.bytes());
        view.active.bytes() + frozen + self.tables.bytes()
    }

    pub(crate) fn stats(&self) -> StoreStats {
        let view = self.view();
        let memtables = || view.frozen.iter().map(|f| &f.memtable).chain([&view.active]);
        let (wal_segments, wal_bytes, wal_written_bytes) = {
            let wal = self.wal.lock();
            let (segments, bytes) = wal.size();
            (segments, bytes, wal.written_bytes())
        };
        let (rows, table_bytes) = self.tables.sizes();
        StoreStats {
            series: u64::from(self.table.len()),
            series_max: self.options.max_series as u64,
            head_series: memtables().map(|m| m.series()).max().unwrap_or(0),
            head_samples: memtables().map(|m| m.samples()).sum(),
            head_bytes: self.head_bytes(),
            index_bytes: self.table.index_bytes(),
            parts: view.parts.len() as u64,
            damaged_parts: self.unmergeable.lock().len() as u64,
            part_samples: view.parts.iter().map(|p| p.meta().samples).sum(),
            part_bytes: view.parts.iter().map(|p| p.meta().bytes).sum(),
            rollup_bytes: view.rolled.parts.iter().map(|(_, part)| part.meta().bytes).sum(),
            result_cache_bytes: self.results.bytes() as u64,
            wal_bytes,
            wal_segments,
            appended_samples: self.counters.appended.load(Ordering::Relaxed),
            refused_samples: self.counters.refused.load(Ordering::Relaxed),
            wal_written_bytes,
            rows,
            table_bytes,
            part_written_bytes: self.counters.part_bytes.load(Ordering::Relaxed),
            dropped_samples: self.counters.dropped.load(Ordering::Relaxed),
        }
    }
}

/// Opens the parts that the manifest lists. One that cannot be opened is moved aside: the others still answer.
fn open_parts(dir: &Path, report: &mut OpenReport) -> Result<(Manifest, Vec<Arc<Part>>), StoreError> {
    let mut manifest = Manifest::load(dir)?;
    let swept = sweep(dir, &manifest)?;
    if !swept.is_empty() {
        tracing::info!(files = swept.len(), "removed files of parts that were never committed");
    }
    let (mut parts, mut damaged) = (Vec::new(), Vec::new());
    for meta in &manifest.parts {
        match Part::open(dir, meta) {
            Ok(part) => parts.push(Arc::new(part)),
            // A part that is healthy but cannot be read now (a newer format, no permission, no descriptors left) stays where
            // it is: moving it aside would lose it from the manifest.
            Err(error) if !error.is_damage() => return Err(error.into()),
            Err(error) => {
                tracing::error!(
                    part = meta.id.0,
                    error = &error as &dyn std::error::Error,
                    "part is damaged, moved aside"
                );
                report.damaged_parts.extend(quarantine(dir, meta.id)?);
                damaged.push(meta.id);
            }
        }
    }
    if !damaged.is_empty() {
        manifest.replace(&damaged, []);
        manifest.commit(dir)?;
    }
    Ok((manifest, parts))
}

/// Opens the parts of rollups that the manifest lists; what cannot be opened is taken out of it, the border stays.
fn open_rollups(dir: &Path, manifest: &mut Manifest, report: &mut OpenReport) -> Result<RolledParts, StoreError> {
    let files = rollups_dir(dir);
    let (mut parts, mut damaged) = (Vec::new(), Vec::new());
    for meta in &manifest.rollups {
        match Part::open(&files, &meta.part) {
            Ok(part) => parts.push((meta.resolution_ms, Arc::new(part))),
            Err(error) if !error.is_damage() => return Err(error.into()),
            Err(error) => {
                let id = meta.part.id;
                let error = &error as &dyn std::error::Error;
                tracing::error!(part = id.0, error, "part of rollups is damaged, moved aside");
                report.damaged_parts.extend(quarantine(&files, id)?);
                damaged.push(id);
            }
        }
    }
    if !damaged.is_empty() {
        manifest.rollups.retain(|meta| !damaged.contains(&meta.part.id));
        manifest.commit(dir)?;
    }
    Ok(RolledParts::new(manifest.rolled_until_ms, parts))
}

/// Opens the files of tables that the manifest lists; what cannot be opened is taken out of it.
fn open_tables(dir: &Path, manifest: &mut Manifest, report: &mut OpenReport) -> Result<Opened, StoreError> {
    let opened = table::file::open(dir, &manifest.tables);
    let opened = opened.map_err(|error| StoreError::io("open", &table::file::tables_dir(dir), error))?;
    if !opened.damaged.is_empty() {
        let damaged = |id: u64| opened.damaged.iter().any(|(other, _)| *other == id);
        manifest.tables.retain(|meta| !damaged(meta.id));
        manifest.commit(dir)?;
        let paths = opened.damaged.iter().map(|(_, path)| path.clone());
        report.damaged_parts.extend(paths);
    }
    Ok(opened)
}

/// Takes what the WAL holds into the head.
struct Replay<'a> {
    tables: &'a Tables,
    rows_from: u64,
    segment: u64,
    batches: Replayed,
    replayed_rows: u64,
    table: &'a SeriesTable,
    memtable: &'a Memtable,
    metadata: &'a mut MetadataBook,
    samples: Buffers,
    replayed: u64,
    dropped: u64,
}

impl wal::record::Sink for Replay<'_> {
    fn series(&mut self, canonical: &[u8]) -> Option<SeriesId> {
        match self.table.find_or_register(canonical) {
            Ok(id) => Some(id),
            Err(_) => {
                self.dropped += 1;
                None
            }
        }
    }

    fn sample(&mut self, id: SeriesId, at_ms: i64, value: f64) {
        if let Some(entry) = self.table.entry(id) {
            entry.widen(at_ms);
        }
        self.samples.push(id, at_ms, value);
    }

    fn histogram(&mut self, id: SeriesId, at_ms: i64, value: Histogram) {
        if let Some(entry) = self.table.entry(id) {
            entry.widen(at_ms);
        }
        self.samples.push_histogram(id, at_ms, value);
    }

    fn end_of_batch(&mut self) {
        self.replayed += self.samples.len() as u64;
        self.samples.append_to(self.memtable);
    }

    fn metadata(&mut self, metric: String, metadata: Metadata) {
        self.metadata.replay(metric, metadata);
    }

    fn segment(&mut self, number: u64) {
        self.segment = number;
    }

    fn rows(&mut self, table: &str, id: &[u8], stream: &[u8]) {
        // In files already: rows, unlike samples, would be there twice.
        if self.segment < self.rows_from {
            return;
        }
        match self.tables.replay(&mut self.batches, table, id, stream) {
            Ok(rows) => self.replayed_rows += rows,
            Err(error) => {
                tracing::error!(table, %error, segment = self.segment, "rows in the WAL cannot be read and are lost")
            }
        }
    }
}
