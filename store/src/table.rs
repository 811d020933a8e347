//! Append-only tables: rows of logs and of the audit, through the same WAL as samples, into Parquet files of their own.
//!
//! ```text
//! Store::append_rows ─► WAL record, synced with everyone's ─► rows in memory ─► flush: a file per table and day
//!                                                               merge: few files a day ◄─┘   retention: whole files
//! ```
//! Rows are never changed or taken back. A batch may carry an id: sent again it changes nothing, as long as it is among the last
//! 262,144.

pub mod audit;
mod definition;
pub(crate) mod file;
pub mod logs;
mod memory;
mod plan;
mod seen;
mod segments;
#[cfg(test)]
pub(crate) mod tests;
mod write;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampNanosecondType;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use parking_lot::Mutex;

use crate::error::StoreError;
use crate::state::State;
pub use definition::Table;
pub use file::TableFile;
use file::TableFileMeta;
use memory::Memory;
use seen::{BatchId, Seen};
pub(crate) use segments::Segments;

/// Longest Arrow stream of one batch of rows; with its frame it stays below the longest record of the WAL.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// What became of a batch of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowsAppended {
    /// Rows that are durable and visible now; those of a duplicate are already.
    pub accepted: u64,
    /// Rows that were not taken: further ahead of the server's clock than `StoreOptions::max_future_ms`.
    pub too_far_ahead: u64,
    /// A batch with this id was there already; nothing was added.
    pub duplicate: bool,
}

/// The rows of a table at one instant.
#[derive(Clone, Debug)]
pub struct TableSnapshot {
    /// Which table.
    pub table: Table,
    /// Files, which stay as long as this does.
    pub files: Vec<Arc<TableFile>>,
    /// Rows that are in no file yet.
    pub rows: Vec<RecordBatch>,
}

/// A batch of rows on its way in.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) table: Table,
    id: Option<BatchId>,
    rows: RecordBatch,
    stream: Vec<u8>,
    /// Told when it turns out that the id is known.
    duplicate: Arc<AtomicBool>,
}

impl Pending {
    /// Checks rows and writes them as the WAL has them.
    pub(crate) fn new(table: Table, id: Option<&str>, rows: RecordBatch) -> Result<Self, StoreError> {
        let refused = |reason: String| StoreError::Rows {
            table: table.name(),
            reason,
        };
        if *rows.schema() != *table.schema() {
            return Err(refused("the columns are not those of the table".to_owned()));
        }
        let stream = encode(&rows).map_err(|error| refused(format!("they cannot be written: {error}")))?;
        if stream.len() > BATCH_BYTES_MAX {
            let bytes = stream.len();
            return Err(refused(format!(
                "{bytes} bytes in one batch, the limit is {BATCH_BYTES_MAX}"
            )));
        }
        Ok(Self {
            table,
            id: id.map(|id| BatchId::of(table, id)),
            rows,
            stream,
            duplicate: Arc::default(),
        })
    }

    /// Told, once it was committed, whether its id was known.
    pub(crate) fn is_duplicate(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.duplicate)
    }

    /// Name of the table, id, and rows as the WAL has them.
    pub(crate) fn record(&self) -> (&'static str, &[u8], &[u8]) {
        let id = self.id.as_ref().map_or(&[][..], |id| &id.0);
        (self.table.name(), id, &self.stream)
    }
}

/// Rows at or before `latest_ms`.
pub(crate) fn until(rows: RecordBatch, latest_ms: i64) -> Result<RecordBatch, ArrowError> {
    let Some(times) = rows
        .columns()
        .first()
        .and_then(|c| c.as_primitive_opt::<TimestampNanosecondType>())
    else {
        return Ok(rows);
    };
    let latest_ns = latest_ms.saturating_mul(1_000_000);
    if times.values().iter().all(|at| *at <= latest_ns) {
        return Ok(rows);
    }
    let keep: BooleanArray = times.values().iter().map(|at| Some(*at <= latest_ns)).collect();
    filter_record_batch(&rows, &keep)
}

fn encode(rows: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema())?;
    writer.write(rows)?;
    writer.into_inner()
}

fn decode(table: Table, stream: &[u8]) -> Result<Vec<RecordBatch>, ArrowError> {
    let reader = StreamReader::try_new(stream, None)?;
    if *reader.schema() != *table.schema() {
        return Err(ArrowError::SchemaError("not the columns of this version".to_owned()));
    }
    reader.collect()
}

/// How many rows a record of the WAL holds; none where they cannot be read.
pub(crate) fn rows_in(table: &str, stream: &[u8]) -> u64 {
    let batches = Table::of_name(table).and_then(|table| decode(table, stream).ok());
    batches.iter().flatten().map(|batch| batch.num_rows() as u64).sum()
}

/// The rows of all tables of a tenant.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    active: Stage,
    // Being flushed.
    frozen: Stage,
    files: Vec<Arc<TableFile>>,
    seen: Seen,
    // Ids that only the WAL of an earlier process knows, until the rows are in files. Such a batch may be there because its write failed
    // half-way, and then no sync can be relied on.
    unsure: HashSet<BatchId>,
}

/// Rows in memory, and the ids of their batches.
#[derive(Debug, Default)]
struct Stage {
    rows: BTreeMap<Table, Memory>,
    ids: Vec<BatchId>,
}

impl Stage {
    fn bytes(&self) -> u64 {
        self.rows.values().map(Memory::bytes).sum()
    }
}

/// Files that a commit takes in and out of the manifest.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableChange {
    pub(crate) gone: Vec<u64>,
    pub(crate) new: Vec<TableFileMeta>,
}

/// Ids of the batches that a replay found so far.
#[derive(Debug, Default)]
pub(crate) struct Replayed(HashSet<BatchId>);

impl Tables {
    /// The tables whose files are `files`, with the ids of batches that `state` remembers.
    pub(crate) fn open(state: &State, files: Vec<Arc<TableFile>>) -> Result<Self, StoreError> {
        Ok(Self {
            inner: Mutex::new(Inner {
                files,
                seen: Seen::load(state)?,
                ..Inner::default()
            }),
        })
    }

    /// Takes in what the WAL holds, and answers how many rows that are; rows that cannot be read are told to the caller.
    pub(crate) fn replay(
        &self,
        known: &mut Replayed,
        table: &str,
        id: &[u8],
        stream: &[u8],
    ) -> Result<u64, ArrowError> {
        let Some(table) = Table::of_name(table) else {
            return Err(ArrowError::SchemaError(format!(
                "there is no table {table} in this version"
            )));
        };
        let batches = decode(table, stream)?;
        let mut inner = self.inner.lock();
        if let Ok(id) = id.try_into().map(BatchId) {
            // One that could not be acknowledged may be there all the same, and then once more when its sender tried again. What the
            // state remembers says nothing: that was saved before the commit that lists the files.
            if !known.0.insert(id) {
                return Ok(0);
            }
            inner.seen.insert(id);
            inner.unsure.insert(id);
            inner.active.ids.push(id);
        }
        let memory = inner.active.rows.entry(table).or_default();
        let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        // Of one batch, so that all but the first count for nothing.
        let mut bytes = stream.len() as u64;
        for batch in batches {
            memory.push(batch, std::mem::take(&mut bytes));
        }
        Ok(rows)
    }

    /// Whether the id of a batch is one that cannot be acknowledged again before a flush.
    pub(crate) fn is_unsure(&self, pending: &Pending) -> bool {
        pending.id.is_some_and(|id| self.inner.lock().unsure.contains(&id))
    }

    /// Whether a batch is to be written: its id is new, and counts as seen from now on.
    pub(crate) fn admit(&self, pending: &Pending) -> bool {
        let is_new = pending.id.is_none_or(|id| self.inner.lock().seen.insert(id));
        if !is_new {
            pending.duplicate.store(true, Ordering::Release);
        }
        is_new
    }

    /// Takes back that a batch was admitted: it was not written.
    pub(crate) fn withdraw(&self, pending: &Pending) {
        if let Some(id) = &pending.id {
            self.inner.lock().seen.remove(id);
        }
    }

    /// Makes a batch visible, which is durable.
    pub(crate) fn apply(&self, pending: Pending) {
        let mut inner = self.inner.lock();
        inner.active.ids.extend(pending.id);
        let bytes = pending.stream.len() as u64;
        let memory = inner.active.rows.entry(pending.table).or_default();
        memory.push(pending.rows, bytes);
    }

    /// Bytes of rows that are in no file yet.
    pub(crate) fn bytes(&self) -> u64 {
        let inner = self.inner.lock();
        inner.active.bytes() + inner.frozen.bytes()
    }

    /// Whether rows wait for the next flush.
    pub(crate) fn has_rows(&self) -> bool {
        !self.inner.lock().active.rows.is_empty()
    }

    /// Rows in files and in memory, and the bytes of files.
    pub(crate) fn sizes(&self) -> (u64, u64) {
        let inner = self.inner.lock();
        let stages = inner.active.rows.values().chain(inner.frozen.rows.values());
        let rows = stages.map(Memory::rows).sum::<u64>() + inner.files.iter().map(|f| f.rows()).sum::<u64>();
        (rows, inner.files.iter().map(|f| f.bytes()).sum())
    }

    /// The rows of `table` now.
    pub(crate) fn snapshot(&self, table: Table) -> TableSnapshot {
        let inner = self.inner.lock();
        let files = inner.files.iter().filter(|file| file.table() == table);
        let stages = [&inner.frozen, &inner.active];
        let rows = stages.into_iter().filter_map(|stage| stage.rows.get(&table));
        TableSnapshot {
            table,
            files: files.map(Arc::clone).collect(),
            rows: rows.flat_map(|memory| memory.batches().iter().cloned()).collect(),
        }
    }

    /// Sets the rows of now apart, to be flushed. Call it at a border between two WAL segments, and once an earlier flush is done.
    pub(crate) fn freeze(&self) {
        let mut inner = self.inner.lock();
        inner.frozen = std::mem::take(&mut inner.active);
    }

    /// Writes the rows that were set apart, whose records are in `segments`. Files that are whole are in `change`, also after an error.
    pub(crate) fn write_frozen(
        &self,
        dir: &Path,
        state: &State,
        segments: &Segments,
        take_id: impl FnMut() -> u64,
        change: &mut TableChange,
    ) -> Result<(), StoreError> {
        let (sources, ids) = {
            let inner = self.inner.lock();
            let source = |(table, memory): (&Table, &Memory)| write::Source {
                table: *table,
                batches: memory.batches().to_vec(),
            };
            let sources: Vec<_> = inner.frozen.rows.iter().map(source).collect();
            (sources, inner.frozen.ids.clone())
        };
        // Before the manifest drops the segments that hold them: an id that is remembered twice costs nothing.
        Seen::save(state, &ids)?;
        write::flush(dir, &sources, segments, take_id, change)
    }

    /// Shows readers what a commit said. `flushed`: the rows that were set apart are in files now.
    pub(crate) fn publish(&self, dir: &Path, change: &TableChange, flushed: bool) {
        let mut inner = self.inner.lock();
        let gone = |file: &Arc<TableFile>| change.gone.contains(&file.meta().id);
        let retired: Vec<_> = inner.files.extract_if(.., |file| gone(file)).collect();
        retired.iter().for_each(|file| file.retire());
        let new = change.new.iter().filter_map(|meta| TableFile::new(dir, meta.clone()));
        inner.files.extend(new.map(Arc::new));
        inner.files.sort_by_key(|file| (file.meta().t_min_ns, file.meta().id));
        if flushed {
            inner.frozen = Stage::default();
            // What was replayed was in the first flush.
            inner.unsure = HashSet::new();
        }
        // Files are removed without the lock.
        drop(inner);
        drop(retired);
    }

    /// Merges files where that is due; `None` where it is not.
    pub(crate) fn merge(
        &self,
        dir: &Path,
        now_ms: i64,
        take_id: impl FnOnce() -> u64,
    ) -> Result<Option<TableChange>, StoreError> {
        let files = self.inner.lock().files.clone();
        let Some(inputs) = plan::plan(&files, now_ms.saturating_mul(1_000_000)) else {
            return Ok(None);
        };
        let mut change = TableChange {
            gone: inputs.iter().map(|file| file.meta().id).collect(),
            new: Vec::new(),
        };
        match write::merge(dir, &inputs, take_id(), &mut change) {
            Ok(()) => Ok(Some(change)),
            Err(error) => {
                file::remove(dir, &change.new);
                Err(error)
            }
        }
    }
}
