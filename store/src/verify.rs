//! What lies in a store's directory, and whether it is whole: for people, and without opening the store.
//!
//! Both only read. They may run beside the server that uses the directory: a part that a merge replaces meanwhile is not missed.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::histogram::Histogram;
use crate::manifest::{Found, Manifest, part_files};
use crate::metadata::Metadata;
use crate::part::{Level, Part, PartError, PartMeta, chunks_path, rollups_dir};
use crate::rollup::RESOLUTIONS;
use crate::series::SeriesId;
use crate::table::{self, file::TableFileMeta};
use crate::tenants::is_tenant_name;
use crate::wal::record::{Decoder, Sink, unframe};

/// First bytes of a WAL segment, and where its records begin.
const WAL_MAGIC: &[u8] = b"FSWAL";
const WAL_HEADER_BYTES: usize = 16;

/// The directories of all tenants below a data directory, with their names, sorted.
///
/// # Errors
/// [`StoreError::Io`] where it cannot be listed.
pub fn tenant_dirs(root: &Path) -> Result<Vec<(String, PathBuf)>, StoreError> {
    let dir = root.join("tenants");
    let mut tenants: Vec<(String, PathBuf)> = list(&dir)?
        .into_iter()
        .filter(|path| path.is_dir())
        .filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)))
        .filter(|(name, _)| is_tenant_name(name))
        .collect();
    tenants.sort();
    Ok(tenants)
}

/// What lies in the directory of one store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inspection {
    /// The directory.
    pub dir: PathBuf,
    /// Live parts, in the order in which later ones win.
    pub parts: Vec<PartSummary>,
    /// Live parts of rollups, by the length of their buckets in milliseconds.
    pub rollups: Vec<(i64, PartSummary)>,
    /// Append-only tables that have files.
    pub tables: Vec<TableSummary>,
    /// WAL segments by number.
    pub segments: Vec<SegmentSummary>,
    /// Bytes of the SQLite state.
    pub state_bytes: u64,
    /// Files that no manifest lists and that are not used: quarantined parts, leftovers of a crash.
    pub unused: Vec<PathBuf>,
}

/// A live part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartSummary {
    /// Its number.
    pub id: u64,
    /// Its level: `2h`, `1d` or `30d`.
    pub level: &'static str,
    /// Timestamp of its first sample, milliseconds.
    pub t_min: i64,
    /// Timestamp of its last sample, milliseconds.
    pub t_max: i64,
    /// Series in it.
    pub series: u64,
    /// Chunks in it.
    pub chunks: u64,
    /// Samples in it.
    pub samples: u64,
    /// Bytes of both its files.
    pub bytes: u64,
}

/// The files of an append-only table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSummary {
    /// Its name.
    pub table: String,
    /// Number of files.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// A WAL segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Its file.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
}

/// All parts of one level together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelSummary {
    /// The level: `2h`, `1d` or `30d`.
    pub level: &'static str,
    /// Number of parts.
    pub parts: u64,
    /// Chunks in them.
    pub chunks: u64,
    /// Samples in them.
    pub samples: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

impl LevelSummary {
    /// Bytes on disk a sample, `None` where there are no samples.
    #[must_use]
    pub fn bytes_per_sample(&self) -> Option<f64> {
        ratio(self.bytes, self.samples)
    }
}

impl Inspection {
    /// Parts by level, the shortest level first; levels without parts are left out.
    #[must_use]
    pub fn levels(&self) -> Vec<LevelSummary> {
        let mut levels = Level::ALL.map(|level| LevelSummary {
            level: level.name(),
            ..LevelSummary::default()
        });
        for part in &self.parts {
            for level in levels.iter_mut().filter(|level| level.level == part.level) {
                level.parts += 1;
                level.chunks += part.chunks;
                level.samples += part.samples;
                level.bytes += part.bytes;
            }
        }
        levels.into_iter().filter(|level| level.parts > 0).collect()
    }

    /// Samples in parts; those in the WAL alone are not counted.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.parts.iter().map(|part| part.samples).sum()
    }

    /// Bytes of all parts.
    #[must_use]
    pub fn part_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// Bytes of all WAL segments.
    #[must_use]
    pub fn wal_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Bytes of parts a sample, `None` where there are no samples.
    #[must_use]
    pub fn bytes_per_sample(&self) -> Option<f64> {
        ratio(self.part_bytes(), self.samples())
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.dir.display())?;
        for level in self.levels() {
            let LevelSummary {
                level: name,
                parts,
                chunks,
                samples,
                bytes,
            } = level;
            let each = level.bytes_per_sample().unwrap_or_default();
            writeln!(
                f,
                "  level {name:>3}: {parts} parts, {samples} samples in {chunks} chunks, {bytes} bytes, {each:.2} a sample"
            )?;
        }
        let each = self
            .bytes_per_sample()
            .map_or(String::new(), |each| format!(", {each:.2} bytes a sample"));
        writeln!(
            f,
            "  in all: {} parts, {} samples, {} bytes{each}",
            self.parts.len(),
            self.samples(),
            self.part_bytes()
        )?;
        for resolution_ms in RESOLUTIONS {
            let parts = || {
                self.rollups
                    .iter()
                    .filter(|(of, _)| *of == resolution_ms)
                    .map(|(_, part)| part)
            };
            let (buckets, bytes) = parts().fold((0, 0), |all, part| (all.0 + part.samples, all.1 + part.bytes));
            if let Some(each) = ratio(bytes, buckets) {
                let (count, minutes) = (parts().count(), resolution_ms / 60_000);
                writeln!(
                    f,
                    "  rollups of {minutes} min: {count} parts, {buckets} buckets, {bytes} bytes, {each:.2} a bucket"
                )?;
            }
        }
        for TableSummary {
            table,
            files,
            rows,
            bytes,
        } in &self.tables
        {
            writeln!(f, "  table {table}: {files} files, {rows} rows, {bytes} bytes")?;
        }
        writeln!(
            f,
            "  WAL: {} segments, {} bytes; state: {} bytes",
            self.segments.len(),
            self.wal_bytes(),
            self.state_bytes
        )?;
        self.unused
            .iter()
            .try_for_each(|path| writeln!(f, "  unused: {}", path.display()))
    }
}

/// Reads the manifest and the names and sizes of files; nothing of what is in them.
///
/// # Errors
/// [`StoreError`] where the directory or its manifest cannot be read, or the manifest is of a newer version. A damaged manifest is
/// no error: the store makes it again when it opens, and here there are then no live parts.
pub fn inspect(dir: &Path) -> Result<Inspection, StoreError> {
    let manifest = match Manifest::find(dir)? {
        Found::Whole(manifest) => manifest,
        Found::Missing | Found::Damaged => Manifest::default(),
    };
    let live: BTreeSet<_> = manifest.parts.iter().map(|part| part.id).collect();
    let files = part_files(dir)?;
    let unused = files
        .into_iter()
        .filter(|(_, id)| id.is_none_or(|id| !live.contains(&id)))
        .map(|(path, _)| path);
    let live_rollups: BTreeSet<_> = manifest.rollups.iter().map(|meta| meta.part.id).collect();
    let unused_rollups = part_files(&rollups_dir(dir))?
        .into_iter()
        .filter(|(_, id)| id.is_none_or(|id| !live_rollups.contains(&id)))
        .map(|(path, _)| path);
    let unused_tables = table::file::unused(dir, &manifest.tables)
        .map_err(|error| StoreError::io("list", &table::file::tables_dir(dir), error))?;
    let mut tables: BTreeMap<&str, TableSummary> = BTreeMap::new();
    for meta in &manifest.tables {
        let summary = tables.entry(&meta.table).or_insert_with(|| TableSummary {
            table: meta.table.clone(),
            files: 0,
            rows: 0,
            bytes: 0,
        });
        summary.files += 1;
        summary.rows += meta.rows;
        summary.bytes += meta.bytes;
    }
    Ok(Inspection {
        dir: dir.to_owned(),
        unused: unused.chain(unused_rollups).chain(unused_tables).collect(),
        rollups: manifest
            .rollups
            .iter()
            .map(|meta| (meta.resolution_ms, summary(&meta.part)))
            .collect(),
        tables: tables.into_values().collect(),
        parts: manifest.parts.iter().map(summary).collect(),
        segments: segments(dir)?,
        state_bytes: fs::metadata(dir.join("state.sqlite")).map_or(0, |file| file.len()),
    })
}

/// What a check of one store's directory found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// The directory.
    pub dir: PathBuf,
    /// Parts that were read, whole ones and damaged ones.
    pub parts: u64,
    /// Samples in the whole ones.
    pub samples: u64,
    /// Parts of rollups that were read, whole ones and damaged ones.
    pub rollups: u64,
    /// Buckets in the whole ones.
    pub buckets: u64,
    /// Files of append-only tables that were read, whole ones and damaged ones.
    pub table_files: u64,
    /// Rows in the whole ones.
    pub rows: u64,
    /// WAL segments that were read.
    pub segments: u64,
    /// Samples in their records.
    pub wal_samples: u64,
    /// Rows in their records.
    pub wal_rows: u64,
    /// What is wrong; empty where all is well.
    pub problems: Vec<Problem>,
}

/// Something wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, with its cause.
    pub what: String,
    /// What can be done.
    pub hint: &'static str,
}

impl Verification {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            parts,
            samples,
            rollups,
            buckets,
            table_files,
            rows,
            segments,
            wal_samples,
            wal_rows,
            ..
        } = self;
        writeln!(f, "{}", self.dir.display())?;
        let rolled = if *rollups == 0 {
            String::new()
        } else {
            format!("{rollups} parts of rollups with {buckets} buckets, ")
        };
        writeln!(
            f,
            "  read {parts} parts with {samples} samples, {rolled}{table_files} files of tables with {rows} rows, {segments} WAL segments with \
             {wal_samples} samples and {wal_rows} rows"
        )?;
        if self.is_clean() {
            return writeln!(f, "  nothing is wrong");
        }
        for Problem { path, what, hint } in &self.problems {
            writeln!(f, "  {}: {what}\n    {hint}", path.display())?;
        }
        Ok(())
    }
}

/// Reads all of a store's parts and WAL segments, decodes every chunk and record, and compares every checksum.
///
/// # Errors
/// [`StoreError`] where the directory cannot be read at all; what is wrong within it is in the result.
pub fn verify(dir: &Path) -> Result<Verification, StoreError> {
    let mut found = Verification {
        dir: dir.to_owned(),
        ..Verification::default()
    };
    let manifest = match Manifest::find(dir)? {
        Found::Whole(manifest) => manifest,
        // A store that never flushed has none.
        Found::Missing => Manifest::default(),
        Found::Damaged => {
            found.problems.push(Problem {
                path: dir.join("manifest.json"),
                what: "it is damaged".to_owned(),
                hint: "start foreshock: it makes the manifest again from its parts",
            });
            Manifest::default()
        }
    };
    for meta in &manifest.parts {
        verify_part(dir, meta, &mut found)?;
    }
    for meta in &manifest.rollups {
        verify_rollups(dir, &meta.part, &mut found)?;
    }
    for meta in &manifest.tables {
        verify_table_file(dir, meta, &mut found)?;
    }
    for segment in segments(dir)? {
        verify_segment(&segment.path, &mut found)?;
    }
    for path in inspect(dir)?
        .unused
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "quarantined"))
    {
        found.problems.push(Problem {
            path,
            what: "it was damaged when the store opened, which goes on without it".to_owned(),
            hint: "restore it from a backup, or delete the file",
        });
    }
    Ok(found)
}

fn verify_part(dir: &Path, meta: &PartMeta, found: &mut Verification) -> Result<(), StoreError> {
    let problems = match Part::open(dir, meta) {
        Ok(part) => part.verify(),
        // A merge may have replaced it since the manifest was read.
        Err(PartError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && !is_live(dir, meta)? => {
            return Ok(());
        }
        Err(error) => vec![error],
    };
    found.parts += 1;
    if problems.is_empty() {
        found.samples += meta.samples;
    }
    tell(&problems, &chunks_path(dir, meta.id), found);
    Ok(())
}

fn verify_rollups(dir: &Path, meta: &PartMeta, found: &mut Verification) -> Result<(), StoreError> {
    let files = rollups_dir(dir);
    let problems = match Part::open(&files, meta) {
        Ok(part) => part.verify_rollups(),
        // A merge may have replaced it since the manifest was read.
        Err(PartError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && !is_live(dir, meta)? => {
            return Ok(());
        }
        Err(error) => vec![error],
    };
    found.rollups += 1;
    if problems.is_empty() {
        found.buckets += meta.samples;
    }
    tell(&problems, &chunks_path(&files, meta.id), found);
    Ok(())
}

/// Puts what is wrong with a part among the problems.
fn tell(problems: &[PartError], path: &Path, found: &mut Verification) {
    let hint = "restore the part from a backup; without one, the rest of it still answers";
    found.problems.extend(problems.iter().map(|error| {
        Problem {
            path: path.to_owned(),
            what: chain(error),
            hint: error
                .hint()
                .filter(|_| matches!(error, PartError::Newer { .. }))
                .unwrap_or(hint),
        }
    }));
}

fn verify_table_file(dir: &Path, meta: &TableFileMeta, found: &mut Verification) -> Result<(), StoreError> {
    let path = table::file::path(dir, meta);
    let what = match table::file::verify(&path, meta) {
        Ok(what) => what,
        // A merge may have replaced it since the manifest was read.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let live = match Manifest::find(dir)? {
                Found::Whole(manifest) => manifest.tables.iter().any(|file| file.id == meta.id),
                Found::Missing | Found::Damaged => true,
            };
            if !live {
                return Ok(());
            }
            Some("it is missing".to_owned())
        }
        Err(error) => return Err(StoreError::io("read", &path, error)),
    };
    found.table_files += 1;
    match what {
        None => found.rows += meta.rows,
        Some(what) => found.problems.push(Problem {
            path,
            what,
            hint: "restore the file from a backup; without one, `--repair` moves it aside and the others still answer",
        }),
    }
    Ok(())
}

fn is_live(dir: &Path, meta: &PartMeta) -> Result<bool, StoreError> {
    Ok(match Manifest::find(dir)? {
        Found::Whole(manifest) => {
            let rollups = manifest.rollups.iter().map(|rollup| &rollup.part);
            manifest.parts.iter().chain(rollups).any(|part| part.id == meta.id)
        }
        Found::Missing | Found::Damaged => true,
    })
}

fn verify_segment(path: &Path, found: &mut Verification) -> Result<(), StoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        // Its samples are in parts by now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StoreError::io("read", path, error)),
    };
    found.segments += 1;
    let mut count = Count::default();
    let mut problem = |what: String, hint| {
        found.problems.push(Problem {
            path: path.to_owned(),
            what,
            hint,
        })
    };
    let Some(mut rest) = bytes.get(WAL_HEADER_BYTES..).filter(|_| bytes.starts_with(WAL_MAGIC)) else {
        if !bytes.is_empty() {
            problem("it does not begin as a WAL segment does".to_owned(), LOST);
        }
        return Ok(());
    };
    let mut decoder = Decoder::default();
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        match unframe(rest) {
            Some((record, after)) if decoder.record(record, &mut count).is_some() => rest = after,
            Some(_) => {
                problem(
                    format!("its record at byte {at} makes no sense although the checksum holds"),
                    LOST,
                );
                break;
            }
            // Also what a server that is writing at this moment looks like.
            None => {
                problem(format!("it ends, or is damaged, within the record at byte {at}"), TORN);
                break;
            }
        }
    }
    found.wal_samples += count.samples;
    found.wal_rows += count.rows;
    Ok(())
}

const LOST: &str = "what follows in this segment is lost; where the sender still has it, send it again";
const TORN: &str = "at the end of the last segment this is what a crash leaves, of samples that were never acknowledged: foreshock cuts it \
                    off when it starts; elsewhere, what follows in this segment is lost";

/// Counts what records hold.
#[derive(Debug, Default)]
pub(crate) struct Count {
    series: u32,
    samples: u64,
    rows: u64,
}

impl Sink for Count {
    fn series(&mut self, _canonical: &[u8]) -> Option<SeriesId> {
        self.series += 1;
        Some(SeriesId(self.series - 1))
    }

    fn sample(&mut self, _id: SeriesId, _at_ms: i64, _value: f64) {
        self.samples += 1;
    }

    fn histogram(&mut self, _id: SeriesId, _at_ms: i64, _value: Histogram) {
        self.samples += 1;
    }

    fn end_of_batch(&mut self) {}

    fn metadata(&mut self, _metric: String, _metadata: Metadata) {}

    fn rows(&mut self, table: &str, _id: &[u8], stream: &[u8]) {
        self.rows += table::rows_in(table, stream);
    }
}

fn summary(part: &PartMeta) -> PartSummary {
    PartSummary {
        id: part.id.0,
        level: part.level.name(),
        t_min: part.t_min,
        t_max: part.t_max,
        series: part.series.into(),
        chunks: part.chunks,
        samples: part.samples,
        bytes: part.bytes,
    }
}

fn segments(dir: &Path) -> Result<Vec<SegmentSummary>, StoreError> {
    let mut segments = Vec::new();
    for path in list(&dir.join("wal"))? {
        // One that was dropped meanwhile is gone, and rightly so.
        if let Some(file) = fs::metadata(&path)
            .ok()
            .filter(|_| path.extension().is_some_and(|e| e == "wal"))
        {
            segments.push(SegmentSummary {
                path,
                bytes: file.len(),
            });
        }
    }
    segments.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(segments)
}

fn list(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    match fs::read_dir(dir) {
        Ok(entries) => entries
            .map(|entry| Ok(entry.map_err(|error| StoreError::io("list", dir, error))?.path()))
            .collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(StoreError::io("list", dir, error)),
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn ratio(bytes: u64, samples: u64) -> Option<f64> {
    (samples > 0).then(|| bytes as f64 / samples as f64)
}
