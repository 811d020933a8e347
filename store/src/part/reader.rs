//! Reads a part: one positioned read and one decoding for a chunk.

use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;

use super::directory::{Directory, Entry, Slot, read_schema};
use super::file::{PartFile, guarded};
use super::histograms::HistogramRows;
use super::table::Table;
use super::writer::{checksum, key};
use super::{FORMAT_VERSION, FORMAT_VERSION_OLDEST, PartError, PartId, PartMeta, chunks_path};
use crate::chunk::{ChunkError, decode_within};
use crate::codec::histograms::is_histogram;
use crate::codec::{timestamps, values};
use crate::histogram::Histograms;
use crate::{Labels, Samples, SeriesKey, TimeRange};

/// Chunks that lie next to each other are read at once, up to this.
const READ_BYTES_MAX: u64 = 1 << 20;

/// An open part. Footers and the keys of its series are held; where chunks lie is held while there is room.
#[derive(Debug)]
pub(crate) struct Part {
    meta: PartMeta,
    pub(super) path: PathBuf,
    pub(super) file: PartFile,
    metadata: ArrowReaderMetadata,
    pub(super) table: Table,
    pub(super) groups: Box<[Group]>,
    /// Which series have histograms; none of a part of version 1 has.
    pub(super) histograms: HistogramRows,
    /// Length of buckets, of a part of rollups.
    pub(super) resolution_ms: i64,
}

/// A row group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) first_row: u64,
    directory: Arc<Slot>,
}

impl Part {
    /// Opens the files of a part that the manifest lists.
    ///
    /// # Errors
    /// [`PartError`] where they are missing, damaged, newer, or others than the manifest says.
    pub(crate) fn open(dir: &Path, meta: &PartMeta) -> Result<Self, PartError> {
        let path = chunks_path(dir, meta.id);
        let (file, metadata) = open_chunks(&path)?;
        let table = Table::open(dir, meta.id)?;

        let mut groups = Vec::with_capacity(metadata.metadata().num_row_groups());
        let mut rows = 0;
        for group in metadata.metadata().row_groups() {
            groups.push(Group {
                first_row: rows,
                directory: Arc::default(),
            });
            rows += group.num_rows().cast_unsigned();
        }
        let histograms = HistogramRows::of(version(&metadata), footer_value(&metadata, key::CODECS));
        let resolution_ms = footer_value(&metadata, key::RESOLUTION).and_then(|text| text.parse().ok());
        let part = Self {
            resolution_ms: resolution_ms.unwrap_or(0),
            meta: meta.clone(),
            path,
            file,
            metadata,
            table,
            groups: groups.into(),
            histograms,
        };
        if part.table.first_chunk.last() != Some(&rows) || rows != meta.chunks {
            return Err(part.damaged(format!("it has {rows} chunks, the manifest says {}", meta.chunks)));
        }
        if part.table.keys.len() != meta.series as usize {
            return Err(part.damaged(format!(
                "it has {} series, the manifest says {}",
                part.table.keys.len(),
                meta.series
            )));
        }
        Ok(part)
    }

    /// What the manifest says about the part, from its own footer and the sizes of its files.
    ///
    /// # Errors
    /// [`PartError`] where its files are no part.
    pub(crate) fn read_meta(dir: &Path, id: PartId) -> Result<PartMeta, PartError> {
        let path = chunks_path(dir, id);
        let (file, metadata) = open_chunks(&path)?;
        let table = Table::open(dir, id)?;
        let text = footer_value(&metadata, key::PART);
        let meta = text
            .and_then(|text| serde_json::from_str::<PartMeta>(text).ok())
            .filter(|meta| meta.id == id);
        match meta {
            Some(meta) => Ok(PartMeta {
                bytes: file.len() + table.bytes(),
                ..meta
            }),
            None => Err(PartError::Damaged {
                path,
                what: "its footer does not describe it".to_owned(),
            }),
        }
    }

    /// What the manifest says about it.
    pub(crate) fn meta(&self) -> &PartMeta {
        &self.meta
    }

    /// Keys of its series, by row; nothing is read.
    pub(crate) fn keys(&self) -> &[SeriesKey] {
        &self.table.keys
    }

    /// Row, key and labels of each of its series, by row; labels are read, a few thousand at a time.
    ///
    /// # Errors
    /// [`PartError`] where the series table cannot be read; an item fails where its labels are damaged.
    pub(crate) fn series(
        &self,
    ) -> Result<impl Iterator<Item = Result<(u32, SeriesKey, Labels), PartError>> + '_, PartError> {
        self.table.series()
    }

    /// The row of a series.
    pub(crate) fn row_of(&self, key: SeriesKey) -> Option<u32> {
        self.table.row_of(key)
    }

    /// Appends the samples of series `row` within `range`, ascending.
    ///
    /// # Errors
    /// [`PartError`] where they cannot be read or are damaged; `out` then holds those before.
    pub(crate) fn read(&self, row: u32, range: TimeRange, out: &mut Samples) -> Result<(), PartError> {
        if !range.overlaps(self.meta.t_min, self.meta.t_max) {
            return Ok(());
        }
        self.read_chunks(self.chunks_of(row)?, range, out)
    }

    /// The newest timestamp of series `row`; nothing is decoded for it.
    ///
    /// # Errors
    /// [`PartError`] where the directory of its chunks cannot be read.
    pub(crate) fn newest_of(&self, row: u32) -> Result<Option<i64>, PartError> {
        let Some(last) = self.chunks_of(row)?.last() else {
            return Ok(None);
        };
        let number = self.groups.partition_point(|group| group.first_row <= last) - 1;
        let directory = self.directory(number)?;
        // Chunks of a series follow each other in time.
        let place = (last - self.groups[number].first_row) as usize;
        Ok(directory.entries.get(place).map(|entry| entry.t_max))
    }

    /// The first instant that it may tell of.
    pub(crate) fn begins_ms(&self) -> i64 {
        // A part of rollups is named by ends of buckets.
        self.meta.t_min.saturating_sub(self.resolution_ms)
    }

    /// The chunk rows of series `row`.
    pub(super) fn chunks_of(&self, row: u32) -> Result<Range<u64>, PartError> {
        let row = row as usize;
        match (self.table.first_chunk.get(row), self.table.first_chunk.get(row + 1)) {
            (Some(&first), Some(&end)) => Ok(first..end),
            _ => Err(self.damaged(format!("it has no series row {row}"))),
        }
    }

    fn read_chunks(&self, mut rows: Range<u64>, range: TimeRange, out: &mut Samples) -> Result<(), PartError> {
        while rows.start < rows.end {
            let number = self.groups.partition_point(|group| group.first_row <= rows.start) - 1;
            let group = &self.groups[number];
            let directory = self.directory(number)?;
            let from = (rows.start - group.first_row) as usize;
            let to = ((rows.end - group.first_row) as usize).min(directory.entries.len());
            let entries = &directory.entries[from..to];
            // Chunks of a series follow each other in time.
            let skipped = entries.partition_point(|e| e.t_max < range.start.0);
            let wanted = entries[skipped..].partition_point(|e| e.t_min <= range.end.0);
            let wanted_rows = rows.start + skipped as u64;
            let wanted = &entries[skipped..skipped + wanted];
            if self.histograms.are_none() {
                self.decode(&directory, wanted, wanted_rows, range, out)?;
            } else {
                let mut row = wanted_rows;
                for run in wanted.chunk_by(|a, b| is_histogram(a.codec) == is_histogram(b.codec)) {
                    if !is_histogram(run[0].codec) {
                        self.decode(&directory, run, row, range, out)?;
                    }
                    row += run.len() as u64;
                }
            }
            rows.start += entries.len() as u64;
        }
        Ok(())
    }

    fn decode(
        &self,
        directory: &Directory,
        entries: &[Entry],
        first_row: u64,
        range: TimeRange,
        out: &mut Samples,
    ) -> Result<(), PartError> {
        let mut at = 0;
        while at < entries.len() {
            let start = entries[at].offset;
            let run = entries[at..]
                .iter()
                .take_while(|e| e.offset + u64::from(e.size) - start <= READ_BYTES_MAX)
                .count();
            // A single chunk may be longer than the bound.
            let run = &entries[at..at + run.max(1)];
            let len = run.last().map_or(0, |last| last.offset + u64::from(last.size) - start);
            BYTES.with_borrow_mut(|bytes| {
                bytes.resize(bytes.len().max(len as usize), 0);
                let bytes = &mut bytes[..len as usize];
                self.file
                    .read_exact_at(bytes, start)
                    .map_err(|source| PartError::io("read", &self.path, source))?;
                for (entry, row) in run.iter().zip(first_row + at as u64..) {
                    let values = (entry.offset - start) as usize;
                    let values = &bytes[values..values + entry.size as usize];
                    self.decode_chunk(directory, entry, values, row, range, out)?;
                }
                Ok::<(), PartError>(())
            })?;
            at += run.len();
        }
        Ok(())
    }

    fn decode_chunk(
        &self,
        directory: &Directory,
        entry: &Entry,
        values: &[u8],
        row: u64,
        range: TimeRange,
        out: &mut Samples,
    ) -> Result<(), PartError> {
        let (ts, n) = (directory.timestamps_of(entry), u32::from(entry.n));
        self.check(entry, row, ts, values)?;
        let start = out.len();
        let decoded = match directory.times_of(entry, ts) {
            Some(times) => {
                let wanted = times.within(range);
                out.timestamps.extend(times.of_range(wanted.clone()));
                values::decode_some(entry.codec, values, n as usize, wanted, &mut out.values)
                    .map(|()| times.bounds())
                    .ok_or(ChunkError::Values { codec: entry.codec })
            }
            None => decode_within((ts, entry.codec, values), n, range, out),
        };
        let bounds = decoded.map_err(|source| {
            out.timestamps.truncate(start);
            out.values.truncate(start);
            self.unreadable(row, source)
        })?;
        if bounds != (entry.t_min, entry.t_max) {
            out.timestamps.truncate(start);
            out.values.truncate(start);
            return Err(self.damaged(format!("chunk row {row} and its timestamps differ")));
        }
        Ok(())
    }

    /// The timestamps of a chunk row whose values are `values`, once its checksum and its bounds are found to hold.
    pub(super) fn timestamps(&self, entry: &Entry, row: u64, ts: &[u8], values: &[u8]) -> Result<Vec<i64>, PartError> {
        self.check(entry, row, ts, values)?;
        let mut out = Vec::new();
        timestamps::decode(ts, usize::from(entry.n), &mut out)
            .ok_or_else(|| self.unreadable(row, ChunkError::Timestamps))?;
        if (out.first(), out.last()) != (Some(&entry.t_min), Some(&entry.t_max)) {
            return Err(self.damaged(format!("chunk row {row} and its timestamps differ")));
        }
        Ok(out)
    }

    fn check(&self, entry: &Entry, row: u64, ts: &[u8], values: &[u8]) -> Result<(), PartError> {
        if checksum(u32::from(entry.n), entry.codec, ts, values) != entry.crc {
            return Err(self.damaged(format!("the checksum of chunk row {row} does not hold")));
        }
        Ok(())
    }

    pub(super) fn unreadable(&self, row: u64, source: ChunkError) -> PartError {
        PartError::Chunk {
            path: self.path.clone(),
            row,
            source,
        }
    }

    pub(super) fn directory(&self, group: usize) -> Result<Arc<Directory>, PartError> {
        self.groups[group].directory.get(|| {
            guarded(|| Directory::read(&self.file, &self.metadata, group)).map_err(|source| PartError::Parquet {
                action: "read",
                path: self.path.clone(),
                source,
            })
        })
    }

    /// Reads all of the part; returns what is wrong with it, at most a hundred things.
    pub(crate) fn verify(&self) -> Vec<PartError> {
        let mut samples = Samples::default();
        self.verify_series(|row| {
            samples.clear();
            self.read(row, TimeRange::ALL, &mut samples)?;
            let mut histograms = Histograms::default();
            self.read_histograms(row, TimeRange::ALL, &mut histograms)?;
            let ascend = |timestamps: &[i64]| timestamps.windows(2).all(|pair| pair[0] < pair[1]);
            Ok((
                samples.len() + histograms.len(),
                ascend(&samples.timestamps) && ascend(&histograms.timestamps),
            ))
        })
    }

    /// As [`Part::verify`]; `read` reads all of a series and answers how many samples it has and whether they ascend.
    pub(super) fn verify_series(
        &self,
        mut read: impl FnMut(u32) -> Result<(usize, bool), PartError>,
    ) -> Vec<PartError> {
        const PROBLEMS_MAX: usize = 100;
        let mut problems = Vec::new();
        let mut count = 0;
        match self.series() {
            Err(error) => problems.push(error),
            Ok(series) => problems.extend(series.filter_map(Result::err).take(PROBLEMS_MAX)),
        }
        for row in 0..self.meta.series {
            if problems.len() >= PROBLEMS_MAX {
                return problems;
            }
            match read(row) {
                Ok((samples, ascends)) => {
                    count += samples as u64;
                    if !ascends {
                        problems.push(self.damaged(format!("timestamps of series row {row} do not ascend")));
                    }
                }
                Err(error) => problems.push(error),
            }
        }
        if problems.is_empty() && count != self.meta.samples {
            problems.push(self.damaged(format!(
                "it has {count} samples, the manifest says {}",
                self.meta.samples
            )));
        }
        problems
    }

    pub(super) fn damaged(&self, what: String) -> PartError {
        PartError::Damaged {
            path: self.path.clone(),
            what,
        }
    }
}

/// The version of a file's format; 0 where it has none, which `check_version` refuses.
fn version(metadata: &ArrowReaderMetadata) -> u32 {
    footer_value(metadata, key::FORMAT_VERSION)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// Refuses files of a newer format.
pub(super) fn check_version(path: &Path, metadata: &ArrowReaderMetadata) -> Result<(), PartError> {
    match footer_value(metadata, key::FORMAT_VERSION).and_then(|text| text.parse().ok()) {
        Some(FORMAT_VERSION_OLDEST..=FORMAT_VERSION) => {}
        Some(version) => {
            return Err(PartError::Newer {
                path: path.to_owned(),
                version,
            });
        }
        None => {
            return Err(PartError::Damaged {
                path: path.to_owned(),
                what: "its footer has no format version".to_owned(),
            });
        }
    }
    match footer_value(metadata, key::ENCRYPTION) {
        Some("none") => Ok(()),
        other => {
            let what = format!(
                "it is encrypted ({}), which this foreshock cannot read",
                other.unwrap_or("unknown")
            );
            Err(PartError::Damaged {
                path: path.to_owned(),
                what,
            })
        }
    }
}

pub(super) fn open_chunks(path: &Path) -> Result<(PartFile, ArrowReaderMetadata), PartError> {
    let file = PartFile::open(path).map_err(|source| PartError::io("open", path, source))?;
    let error = |source: ParquetError| PartError::Parquet {
        action: "open",
        path: path.to_owned(),
        source,
    };
    let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Required);
    let metadata = guarded(|| ArrowReaderMetadata::load(&file, options)).map_err(error)?;
    // Versions before columns: a newer one may have others.
    check_version(path, &metadata)?;
    let options = ArrowReaderOptions::new().with_schema(read_schema());
    let metadata = guarded(|| ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)).map_err(error)?;
    Ok((file, metadata))
}

pub(super) fn footer_value<'a>(metadata: &'a ArrowReaderMetadata, name: &str) -> Option<&'a str> {
    let pairs = metadata.metadata().file_metadata().key_value_metadata()?;
    pairs.iter().find(|pair| pair.key == name)?.value.as_deref()
}

thread_local! {
    static BYTES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
