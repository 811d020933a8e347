//! Writes files of tables: rows from memory, and rows of several files merged. Neither holds more than a row group and a batch of each
//! source.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::TimestampNanosecondType;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::WriterProperties;

use super::file::{self, DAY_NS, Footer, KEY, TableFile, TableFileMeta, VERSION};
use super::segments::Segments;
use super::{Table, TableChange};
use crate::ErrorKind;
use crate::disk::{self, File};
use crate::error::StoreError;

/// Rows of a row group: what a reader with a time in mind skips or reads as one.
const GROUP_ROWS: usize = 1 << 17;
/// Bytes of a row group: the writer holds one in memory.
const GROUP_BYTES: usize = 32 << 20;
/// Rows of a page, which a reader skips by its times.
const PAGE_ROWS: usize = 4096;
/// Rows that are put in order at a time.
const STEP_ROWS: usize = 512;
/// Days that get files of their own in one flush, the newest ones; a sender with strange times must not make a thousand files.
const DAYS_MAX: usize = 32;

/// Rows of one table, on their way from memory into files.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) table: Table,
    pub(super) batches: Vec<RecordBatch>,
}

/// Writes the rows of `sources`, whose records are in `segments`, a file for each table and day. Those that are whole are in `change`,
/// also after an error.
pub(super) fn flush(
    dir: &Path,
    sources: &[Source],
    segments: &Segments,
    mut take_id: impl FnMut() -> u64,
    change: &mut TableChange,
) -> Result<(), StoreError> {
    let mut files = Vec::new();
    for source in sources {
        let order = order(&source.batches);
        let mut rest = order.as_slice();
        let mut days = Vec::new();
        while let Some((last, ..)) = rest.last() {
            let day = last.div_euclid(DAY_NS);
            let from = rest.partition_point(|(at, ..)| at.div_euclid(DAY_NS) < day);
            let from = if days.len() + 1 == DAYS_MAX { 0 } else { from };
            days.push(rest[from..].to_vec());
            rest = &rest[..from];
        }
        files.extend(days.into_iter().map(|rows| (source, rows)));
    }
    // The newest last: it says that all are there, and retention takes it last.
    files.sort_by_key(|(_, rows)| rows.last().map(|(at, ..)| *at));
    let count = files.len();
    for (n, (source, rows)) in files.into_iter().enumerate() {
        let mut writer = FileWriter::create(dir, source.table, take_id(), segments.clone(), n + 1 == count)?;
        let batches: Vec<&RecordBatch> = source.batches.iter().collect();
        for step in rows.chunks(STEP_ROWS) {
            let indices: Vec<(usize, usize)> = step.iter().map(|(_, batch, row)| (*batch, *row)).collect();
            writer.write_rows(&batches, &indices)?;
        }
        change.new.push(writer.finish()?);
        // Before the next one, which may say that this one is there.
        sync_names(dir)?;
    }
    Ok(())
}

/// Makes the names of files durable, and that of their folder, which may be new.
fn sync_names(dir: &Path) -> Result<(), StoreError> {
    for dir in [&file::tables_dir(dir), dir] {
        disk::sync_dir(dir).map_err(|error| StoreError::io("sync", dir, error))?;
    }
    Ok(())
}

/// Times of all rows with the batches and places where they are, ascending; rows of one time in the order in which they came.
fn order(batches: &[RecordBatch]) -> Vec<(i64, usize, usize)> {
    let mut order = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for (n, batch) in batches.iter().enumerate() {
        order.extend(times(batch).iter().enumerate().map(|(row, at)| (*at, n, row)));
    }
    order.sort_unstable();
    order
}

fn times(batch: &RecordBatch) -> &[i64] {
    // Checked when the batch came in, and by the schema of what was read.
    let column = batch.columns().first();
    column
        .and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>())
        .map_or(&[], |times| &times.values()[..])
}

/// Merges files of one table into one, with number `id`; it is in `change` once it is whole, also after an error.
pub(super) fn merge(
    dir: &Path,
    inputs: &[Arc<TableFile>],
    id: u64,
    change: &mut TableChange,
) -> Result<(), StoreError> {
    let Some(first) = inputs.first() else { return Ok(()) };
    let none = Segments::default();
    let segments = inputs.iter().fold(none, |all, file| all.union(&file.meta().segments));
    // Every flush that it is made of was committed, so that it is as good as the last of each.
    let mut writer = FileWriter::create(dir, first.table(), id, segments, true)?;
    let mut heads = Vec::new();
    for input in inputs {
        let mut rows = file::read(input.path())?;
        if let Some(batch) = rows.next_filled()? {
            heads.push(Head { batch, at: 0, rows });
        }
    }
    while !heads.is_empty() {
        // Rows are taken until a batch has no more; then what was taken is written, and the next batch is read.
        let mut indices = Vec::new();
        let ended = loop {
            let next = heads.iter().enumerate().min_by_key(|(_, head)| head.time());
            let Some(n) = next.map(|(n, _)| n) else { break None };
            indices.push((n, heads[n].at));
            heads[n].at += 1;
            if heads[n].at == heads[n].batch.num_rows() {
                break Some(n);
            }
        };
        let batches: Vec<&RecordBatch> = heads.iter().map(|head| &head.batch).collect();
        for step in indices.chunks(STEP_ROWS) {
            writer.write_rows(&batches, step)?;
        }
        if let Some(n) = ended {
            match heads[n].rows.next_filled()? {
                Some(batch) => (heads[n].batch, heads[n].at) = (batch, 0),
                None => drop(heads.remove(n)),
            }
        }
    }
    change.new.push(writer.finish()?);
    sync_names(dir)
}

/// Where a merge stands in one of its files.
struct Head {
    batch: RecordBatch,
    at: usize,
    rows: file::Rows,
}

impl Head {
    fn time(&self) -> i64 {
        times(&self.batch).get(self.at).copied().unwrap_or(i64::MAX)
    }
}

/// Writes one file, which gets its name once it is whole and synced: what has the name can be relied on, also without a manifest.
/// Dropped unfinished, it removes what there is.
struct FileWriter {
    /// Where it is to be.
    place: PathBuf,
    /// Where it is until then.
    path: PathBuf,
    writer: Option<ArrowWriter<Summed>>,
    footer: Footer,
    finished: bool,
}

impl FileWriter {
    fn create(dir: &Path, table: Table, id: u64, segments: Segments, last: bool) -> Result<Self, StoreError> {
        let tables = file::tables_dir(dir);
        disk::create_dir_all(&tables).map_err(|error| StoreError::io("create", &tables, error))?;
        let place = file::path_of(dir, table.name(), id);
        let path = place.with_extension(file::UNFINISHED);
        let out = disk::create_new(&path).map_err(|error| StoreError::io("create", &path, error))?;
        let mut unfinished = Self {
            place,
            path,
            writer: None,
            footer: Footer {
                version: VERSION,
                id,
                table: table.name().to_owned(),
                t_min_ns: i64::MAX,
                t_max_ns: i64::MIN,
                rows: 0,
                segments,
                last,
            },
            finished: false,
        };
        let level = ZstdLevel::try_new(3).map_err(|error| failed(&unfinished.path, error))?;
        let properties = WriterProperties::builder()
            .set_created_by(concat!("foreshock ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_data_page_row_count_limit(PAGE_ROWS)
            .set_sorting_columns(Some(vec![SortingColumn {
                column_idx: 0,
                descending: false,
                nulls_first: false,
            }]))
            .build();
        let sum = Summed {
            file: out,
            bytes: 0,
            crc32c: 0,
        };
        let writer = ArrowWriter::try_new(sum, table.schema(), Some(properties));
        unfinished.writer = Some(writer.map_err(|error| failed(&unfinished.path, error))?);
        Ok(unfinished)
    }

    /// Adds the rows of `batches` at `indices`, whose times ascend.
    fn write_rows(&mut self, batches: &[&RecordBatch], indices: &[(usize, usize)]) -> Result<(), StoreError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let mut write = || -> Result<(), ParquetError> {
            let rows = interleave_record_batch(batches, indices)?;
            if let (Some(first), Some(last)) = (times(&rows).first(), times(&rows).last()) {
                self.footer.t_min_ns = self.footer.t_min_ns.min(*first);
                self.footer.t_max_ns = self.footer.t_max_ns.max(*last);
            }
            self.footer.rows += rows.num_rows() as u64;
            writer.write(&rows)?;
            if writer.in_progress_size() > GROUP_BYTES {
                writer.flush()?;
            }
            Ok(())
        };
        write().map_err(|error| failed(&self.path, error))
    }

    /// Ends the file, makes its bytes durable and gives it its name; it counts once the manifest lists it.
    fn finish(mut self) -> Result<TableFileMeta, StoreError> {
        let Footer { id, rows, .. } = self.footer;
        let text = serde_json::to_string(&self.footer)
            .map_err(|error| failed(&self.path, ParquetError::External(Box::new(error))))?;
        let Some(mut writer) = self.writer.take() else {
            return Err(StoreError::Interrupted);
        };
        let path = &self.path;
        writer.append_key_value_metadata(KeyValue::new(KEY.to_owned(), text));
        let sum = writer.into_inner().map_err(|error| failed(path, error))?;
        sum.file
            .sync_all()
            .map_err(|error| StoreError::io("sync", path, error))?;
        // It must not replace what it was made of, nor the WAL, where it cannot be read.
        file::read(path)?;
        disk::rename(path, &self.place).map_err(|error| StoreError::io("rename", path, error))?;
        self.finished = true;
        Ok(TableFileMeta {
            id,
            table: self.footer.table.clone(),
            t_min_ns: self.footer.t_min_ns,
            t_max_ns: self.footer.t_max_ns,
            rows,
            bytes: sum.bytes,
            crc32c: sum.crc32c,
            segments: self.footer.segments.clone(),
        })
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = disk::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "an unfinished file of a table stays until the next start");
        }
    }
}

/// A file being written, and what was written of it.
struct Summed {
    file: File,
    bytes: u64,
    crc32c: u32,
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// An error of the Parquet library while writing; a full disk is told apart.
fn failed(path: &Path, error: ParquetError) -> StoreError {
    match error {
        ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(cause) => StoreError::io("write", path, *cause),
            Err(cause) => internal(path, ParquetError::External(cause)),
        },
        other => internal(path, other),
    }
}

fn internal(path: &Path, source: ParquetError) -> StoreError {
    StoreError::TableFile {
        action: "write",
        path: path.to_owned(),
        kind: ErrorKind::Internal,
        source,
    }
}
