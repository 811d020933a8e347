//! A file of a table: ordinary Parquet, sorted by time, mostly of one UTC day.
//!
//! ```text
//! <tenant>/tables/<table>-<number>.parquet     footer: key "foreshock.table_file", its value JSON: [`Footer`]
//! ```
//! Rows have no identity, so that a row which is in two places counts twice. Each file therefore says from which WAL segments its rows
//! come: of two files of one table and day that name the same segment, the later one holds all that the earlier one did. By this a
//! lost manifest is made again ([`find`]), and no row of the WAL that is in a file already is replayed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use serde::{Deserialize, Serialize};

use super::Table;
use super::segments::Segments;
use crate::ErrorKind;
use crate::disk;
use crate::error::StoreError;
use crate::part::guarded;

/// Version of the file's format.
pub(super) const VERSION: u32 = 1;
/// Where a file's footer keeps [`Footer`].
pub(super) const KEY: &str = "foreshock.table_file";
pub(super) const DAY_NS: i64 = 86_400 * 1_000_000_000;
/// Rows that are read at a time.
const READ_ROWS: usize = 1024;
/// Extension of a file that is being written.
pub(super) const UNFINISHED: &str = "parquet.new";
const QUARANTINED: &str = ".quarantined";

/// What the manifest says of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableFileMeta {
    /// Its number, unique among the parts and files of a tenant.
    pub(crate) id: u64,
    /// The table's name: one of a later version is kept, though nothing here reads it.
    pub(crate) table: String,
    /// Oldest and newest timestamp.
    pub(crate) t_min_ns: i64,
    pub(crate) t_max_ns: i64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Of all its bytes.
    pub(crate) crc32c: u32,
    /// WAL segments whose rows are in it, as far as they are of its table and time.
    pub(crate) segments: Segments,
}

impl TableFileMeta {
    /// The day that all rows are of, where they are of one.
    pub(super) fn day(&self) -> Option<i64> {
        let (first, last) = (self.t_min_ns.div_euclid(DAY_NS), self.t_max_ns.div_euclid(DAY_NS));
        (first == last).then_some(first)
    }

    /// Its newest row, in milliseconds, rounded up.
    pub(crate) fn t_max_ms(&self) -> i64 {
        self.t_max_ns.div_euclid(1_000_000).saturating_add(1)
    }
}

/// What the file says of itself, for a manifest that has to be made again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Footer {
    pub(super) version: u32,
    pub(super) id: u64,
    pub(super) table: String,
    pub(super) t_min_ns: i64,
    pub(super) t_max_ns: i64,
    pub(super) rows: u64,
    pub(super) segments: Segments,
    /// Whether all files with rows of its segments were written before this one.
    pub(super) last: bool,
}

/// A file of a table. It stays on disk as long as anybody holds this, also after it was merged or dropped.
#[derive(Debug)]
pub struct TableFile {
    table: Table,
    path: PathBuf,
    meta: TableFileMeta,
    retired: AtomicBool,
}

impl TableFile {
    /// The file that `meta` speaks of; `None` for a table that this version does not know.
    pub(super) fn new(dir: &Path, meta: TableFileMeta) -> Option<Self> {
        Some(Self {
            table: Table::of_name(&meta.table)?,
            path: path(dir, &meta),
            meta,
            retired: AtomicBool::new(false),
        })
    }

    /// Which table it belongs to.
    #[must_use]
    pub fn table(&self) -> Table {
        self.table
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.meta.bytes
    }

    /// Its rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.meta.rows
    }

    /// Oldest and newest timestamp, in nanoseconds.
    #[must_use]
    pub fn time_range_ns(&self) -> (i64, i64) {
        (self.meta.t_min_ns, self.meta.t_max_ns)
    }

    pub(crate) fn meta(&self) -> &TableFileMeta {
        &self.meta
    }

    /// No commit lists it any more: it goes when its last reader does.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }
}

impl Drop for TableFile {
    fn drop(&mut self) {
        if self.retired.load(Ordering::Acquire)
            && let Err(error) = disk::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "a file of a table stays until the next start");
        }
    }
}

/// Where the files of tables are, of the store in `dir`.
pub(crate) fn tables_dir(dir: &Path) -> PathBuf {
    dir.join("tables")
}

/// Where the file that `meta` speaks of is.
pub(crate) fn path(dir: &Path, meta: &TableFileMeta) -> PathBuf {
    path_of(dir, &meta.table, meta.id)
}

pub(super) fn path_of(dir: &Path, table: &str, id: u64) -> PathBuf {
    tables_dir(dir).join(format!("{table}-{id:010}.parquet"))
}

/// Reads a file batch by batch, in the order of time.
///
/// # Errors
/// Where it cannot be opened or its footer cannot be read.
pub(super) fn read(path: &Path) -> Result<Rows, StoreError> {
    let file = File::open(path).map_err(|error| StoreError::io("open", path, error))?;
    let reader = guarded(|| {
        ParquetRecordBatchReaderBuilder::try_new(file)?
            .with_batch_size(READ_ROWS)
            .build()
    });
    Ok(Rows {
        reader: reader.map_err(|error| damaged(path, error))?,
        path: path.to_owned(),
    })
}

/// The rows of a file.
pub(super) struct Rows {
    reader: ParquetRecordBatchReader,
    path: PathBuf,
}

impl Rows {
    /// The next batch that has rows.
    pub(super) fn next_filled(&mut self) -> Result<Option<RecordBatch>, StoreError> {
        self.find(|batch| batch.as_ref().map_or(true, |batch| batch.num_rows() > 0))
            .transpose()
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = guarded(|| self.reader.next().transpose().map_err(ParquetError::from));
        batch.map_err(|error| damaged(&self.path, error)).transpose()
    }
}

fn damaged(path: &Path, source: ParquetError) -> StoreError {
    StoreError::TableFile {
        action: "read",
        path: path.to_owned(),
        kind: ErrorKind::Corrupt,
        source,
    }
}

/// Why a file is not what the manifest says; `None` where it is. Reads all of it.
///
/// # Errors
/// Where it cannot be read for other reasons than damage.
pub(crate) fn verify(path: &Path, meta: &TableFileMeta) -> io::Result<Option<String>> {
    let (bytes, crc32c) = checksum(path)?;
    Ok(if bytes != meta.bytes {
        Some(format!("it has {bytes} bytes, and had {}", meta.bytes))
    } else if crc32c != meta.crc32c {
        Some(format!(
            "its checksum is {crc32c:08x}, and was {:08x} when it was written",
            meta.crc32c
        ))
    } else {
        None
    })
}

/// Length and CRC32C of a file.
fn checksum(path: &Path) -> io::Result<(u64, u32)> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 256 << 10];
    let (mut bytes, mut crc) = (0, 0);
    loop {
        match io::Read::read(&mut file, &mut buffer) {
            Ok(0) => return Ok((bytes, crc)),
            Ok(n) => {
                crc = crc32c::crc32c_append(crc, &buffer[..n]);
                bytes += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Removes files that no commit ever listed.
pub(crate) fn remove(dir: &Path, files: &[TableFileMeta]) {
    // The last one first, and nothing more once that fails: while it is there it says that all others are.
    for meta in files.iter().rev() {
        let path = path(dir, meta);
        match disk::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "files of a table stay until the next start");
                return;
            }
            _ => {}
        }
    }
}

/// What was found where the manifest had to be made again.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) files: Vec<TableFileMeta>,
    /// WAL segments before this one hold no rows that are not in these files.
    pub(crate) rows_from_segment: u64,
    pub(crate) next_id: u64,
    /// A file of a format that this version does not know, and its version.
    pub(crate) newer: Option<(PathBuf, u32)>,
}

/// The files of the store in `dir` by their footers; `first_segment` is the first WAL segment that is there still. A file whose rows
/// are in a later one, or in the WAL because its flush was not finished, is left out; one that cannot be read is moved aside.
///
/// # Errors
/// Where files cannot be listed, read, synced or moved.
pub(crate) fn find(dir: &Path, first_segment: Option<u64>) -> io::Result<Found> {
    let mut found = Found::default();
    let mut footers = Vec::new();
    for path in list(dir)? {
        match footer(&path) {
            Ok(Some(footer)) if footer.version > VERSION => {
                found.newer = Some((path, footer.version));
                return Ok(found);
            }
            Ok(Some(footer)) => footers.push((path, footer)),
            Ok(None) => drop(quarantine(&path)?),
            Err(error) => return Err(error),
        }
    }
    // Segments go after the commit that lists the files with their rows, so that what is before the first of them was committed.
    let newest = || footers.iter().map(|(_, footer)| footer.segments.end()).max();
    let whole = footers.iter().filter(|(_, footer)| footer.last);
    let whole = whole.map(|(_, footer)| footer.segments.end()).max();
    let gone = first_segment.or_else(newest).unwrap_or(0);
    found.rows_from_segment = whole.unwrap_or(0).max(gone);
    // Later ones first.
    footers.sort_by_key(|(_, footer)| std::cmp::Reverse(footer.id));
    for (path, footer) in footers {
        found.next_id = found.next_id.max(footer.id + 1);
        let mut meta = TableFileMeta {
            id: footer.id,
            table: footer.table,
            t_min_ns: footer.t_min_ns,
            t_max_ns: footer.t_max_ns,
            rows: footer.rows,
            bytes: 0,
            crc32c: 0,
            segments: footer.segments,
        };
        let again = |other: &TableFileMeta| {
            other.table == meta.table && other.day() == meta.day() && other.segments.overlap(&meta.segments)
        };
        if meta.segments.end() > found.rows_from_segment || found.files.iter().any(again) {
            continue;
        }
        (meta.bytes, meta.crc32c) = checksum(&path)?;
        // A process that was killed may have left it whole and not synced. The next commit relies on it.
        disk::sync(&path)?;
        found.files.push(meta);
    }
    found.files.sort_by_key(|meta| meta.id);
    if !found.files.is_empty() {
        disk::sync_dir(&tables_dir(dir))?;
    }
    Ok(found)
}

/// What a file says of itself; `None` where it is no whole file of a table.
fn footer(path: &Path) -> io::Result<Option<Footer>> {
    let file = File::open(path)?;
    let metadata = guarded(|| Ok(Arc::clone(ParquetRecordBatchReaderBuilder::try_new(file)?.metadata())));
    Ok(metadata.ok().and_then(|metadata| footer_of(&metadata)))
}

fn footer_of(metadata: &ParquetMetaData) -> Option<Footer> {
    let pairs = metadata.file_metadata().key_value_metadata()?;
    let text = pairs.iter().find(|pair| pair.key == KEY)?.value.as_ref()?;
    serde_json::from_str(text).ok()
}

/// Moves a file aside that is damaged: what it holds cannot be read, and is not thrown away either. Answers its new name.
pub(crate) fn quarantine(path: &Path) -> io::Result<PathBuf> {
    let mut aside = path.to_owned().into_os_string();
    aside.push(QUARANTINED);
    let aside = PathBuf::from(aside);
    disk::rename(path, &aside)?;
    if let Some(tables) = path.parent() {
        disk::sync_dir(tables)?;
    }
    tracing::error!(path = %path.display(), moved_to = %aside.display(), "a file of a table is damaged");
    Ok(aside)
}

/// What opening the files of tables came to.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    pub(crate) files: Vec<Arc<TableFile>>,
    /// Missing or damaged ones: their numbers, and where they are or should be.
    pub(crate) damaged: Vec<(u64, PathBuf)>,
}

/// Opens the files that the manifest lists, and removes those that it does not.
///
/// # Errors
/// Where files cannot be listed, looked at, moved or removed.
pub(crate) fn open(dir: &Path, listed: &[TableFileMeta]) -> io::Result<Opened> {
    let mut opened = Opened::default();
    // Those that were never finished, and then, as in [`remove`], the later ones first.
    let unfinished = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "new");
    let mut unlisted = list(dir)?;
    unlisted.sort_by_key(|path| std::cmp::Reverse(id_of(path)));
    unlisted.splice(..0, entries(dir)?.into_iter().filter(unfinished));
    for meta in listed {
        let path = path(dir, meta);
        unlisted.retain(|other| *other != path);
        let looked = fs::metadata(&path).and_then(|file| Ok((file.len(), footer(&path)?)));
        match looked {
            Ok((bytes, Some(_))) if bytes == meta.bytes => {
                opened.files.extend(TableFile::new(dir, meta.clone()).map(Arc::new));
            }
            Ok(_) => opened.damaged.push((meta.id, quarantine(&path)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::error!(path = %path.display(), "a file of a table is missing");
                opened.damaged.push((meta.id, path));
            }
            Err(error) => return Err(error),
        }
    }
    for path in unlisted {
        tracing::info!(path = %path.display(), "removed a file of a table that was never committed");
        disk::remove_file(&path)?;
    }
    opened.files.sort_by_key(|file| (file.meta.t_min_ns, file.meta.id));
    Ok(opened)
}

/// Files in the folder of tables that no manifest with these files lists: quarantined ones and what a crash left.
pub(crate) fn unused(dir: &Path, listed: &[TableFileMeta]) -> io::Result<Vec<PathBuf>> {
    let live: BTreeSet<PathBuf> = listed.iter().map(|meta| path(dir, meta)).collect();
    Ok(entries(dir)?.into_iter().filter(|path| !live.contains(path)).collect())
}

/// The number in the name of a file.
fn id_of(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.rsplit('-').next()?.parse().ok()
}

/// The files of tables by their names; quarantined and unfinished ones have another.
fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let is_file = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "parquet");
    Ok(entries(dir)?.into_iter().filter(is_file).collect())
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(tables_dir(dir)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
