//! Writes a part, series after series, chunk after chunk.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, TimestampMillisecondBuilder, UInt8Builder, UInt32Builder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::cut::cuts;
use super::table::TableWriter;
use super::{
    FORMAT_VERSION, FORMAT_VERSION_HISTOGRAMS, FORMAT_VERSION_OLDEST, FORMAT_VERSION_PAGES, Level, PartError, PartId,
    PartMeta, chunks_path, parts_dir, series_order, series_path,
};
use crate::chunk::{Chunk, encode_with};
use crate::codec::{histograms, timestamps, values};
use crate::disk::{self, File};
use crate::histogram::{Histogram, Histograms};
use crate::{Labels, Samples, SeriesKey};

pub(super) const CREATED_BY: &str = concat!("foreshock ", env!("CARGO_PKG_VERSION"));

/// Chunk rows a batch.
const BATCH: usize = 1024;

/// Chunk rows a row group: hosts share timestamps within one, so that larger is smaller on disk.
const ROW_GROUP_ROWS: usize = 131_072;

/// Bytes a row group: the writer holds one in memory.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// About 64 chunk rows; other readers skip by page, ours reads single values by their position.
const VALUES_PAGE_BYTES: usize = 32 << 10;

/// Distinct timestamps of one row group stay in its dictionary up to this size.
const TIMESTAMPS_DICTIONARY_BYTES: usize = 64 << 20;

/// Samples of one series that are held back, to be cut together; a longer series is cut as it comes.
const PENDING_SAMPLES_MAX: usize = 64 << 10;

/// Timestamps that are remembered with their bytes, over all series.
const KNOWN_TIMESTAMPS_MAX: usize = 1 << 20;

/// The columns of chunk rows.
pub(super) fn schema() -> SchemaRef {
    let instant = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("series", DataType::UInt32, false),
        Field::new("t_min", instant.clone(), false),
        Field::new("t_max", instant, false),
        Field::new("n", DataType::UInt32, false),
        Field::new("ts", DataType::Binary, false),
        Field::new("codec", DataType::UInt8, false),
        Field::new("size", DataType::UInt32, false),
        Field::new("crc", DataType::UInt32, false),
        Field::new("values", DataType::Binary, false),
    ]))
}

/// CRC32C of all that a chunk decodes from: number of samples (4 bytes, little-endian), codec, timestamps, values.
pub(super) fn checksum(n: u32, codec: u8, ts: &[u8], values: &[u8]) -> u32 {
    let [a, b, c, d] = n.to_le_bytes();
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&[a, b, c, d, codec]), ts), values)
}

/// Writes a part. Dropped unfinished, it removes its files.
#[derive(Debug)]
pub(crate) struct PartWriter {
    dir: PathBuf,
    chunks: ChunkWriter,
    table: TableWriter,
    files: Unfinished,
    tenant: String,
    meta: PartMeta,
    series: Option<OpenSeries>,
    /// Samples of the open series that are not in chunks yet.
    pending: Samples,
    ends: Vec<usize>,
    pub(super) known: KnownTimestamps,
    /// Whether any chunk holds histograms.
    histograms: bool,
    // Whether any chunk has its values in pages.
    pages: bool,
    /// Length of buckets, of a part of rollups.
    pub(super) resolution_ms: Option<i64>,
}

/// The series that was added last.
#[derive(Debug)]
struct OpenSeries {
    row: u32,
    key: SeriesKey,
    labels: Labels,
    chunks: u32,
    samples: u64,
    last: Option<i64>,
}

impl PartWriter {
    /// Starts a part whose samples are newer than those of all parts before it. Its files count only once the manifest lists them.
    ///
    /// # Errors
    /// [`PartError::Io`] also where part `id` exists already.
    pub(crate) fn create(dir: &Path, id: PartId, level: Level, tenant: &str) -> Result<Self, PartError> {
        Self::create_ranked(dir, id, id.0, level, tenant)
    }

    /// Starts a part of a given rank ([`PartMeta::rank`]).
    pub(crate) fn create_ranked(
        dir: &Path,
        id: PartId,
        rank: u64,
        level: Level,
        tenant: &str,
    ) -> Result<Self, PartError> {
        let parts = parts_dir(dir);
        disk::create_dir_all(&parts).map_err(|source| PartError::io("create", &parts, source))?;
        let chunks = ChunkWriter::create(chunks_path(dir, id))?;
        let mut files = Unfinished(vec![chunks_path(dir, id)]);
        let table = TableWriter::create(dir, id)?;
        files.0.push(series_path(dir, id));
        let meta = PartMeta {
            id,
            rank,
            level,
            t_min: i64::MAX,
            t_max: i64::MIN,
            series: 0,
            chunks: 0,
            samples: 0,
            bytes: 0,
        };
        Ok(Self {
            dir: dir.to_owned(),
            chunks,
            table,
            files,
            tenant: tenant.to_owned(),
            meta,
            series: None,
            pending: Samples::default(),
            ends: Vec::new(),
            known: KnownTimestamps::default(),
            histograms: false,
            pages: false,
            resolution_ms: None,
        })
    }

    /// Adds the next series, in the order of [`series_order`], and returns its row.
    ///
    /// # Errors
    /// [`PartError::Order`] where it does not come after the one before.
    pub(crate) fn series(&mut self, key: SeriesKey, labels: &Labels) -> Result<u32, PartError> {
        self.end_series()?;
        if let Some(before) = &self.series
            && series_order(&before.labels, labels).is_ge()
        {
            return Err(self.order(format!("series {labels} comes after {}", before.labels)));
        }
        let row = self.meta.series;
        self.meta.series += 1;
        self.series = Some(OpenSeries {
            row,
            key,
            labels: labels.clone(),
            chunks: 0,
            samples: 0,
            last: None,
        });
        Ok(row)
    }

    /// Adds samples of the series that was added last and cuts them into chunks as reading likes them. Timestamps ascend
    /// strictly, over calls too.
    ///
    /// # Errors
    /// [`PartError::Order`] where they do not.
    pub(crate) fn samples(&mut self, row: u32, ts: &[i64], vs: &[f64]) -> Result<(), PartError> {
        let (Some(&first), Some(&last)) = (ts.first(), ts.last()) else {
            return Ok(());
        };
        self.check_order(row, first)?;
        if ts.len() != vs.len() || ts.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(self.order("timestamps do not ascend".to_owned()));
        }
        self.pending.timestamps.extend_from_slice(ts);
        self.pending.values.extend_from_slice(vs);
        if let Some(series) = &mut self.series {
            series.last = Some(last);
        }
        if self.pending.len() > PENDING_SAMPLES_MAX {
            self.cut_pending(false)?;
        }
        Ok(())
    }

    /// Adds histograms of the series that was added last, which come after all its samples so far.
    ///
    /// # Errors
    /// [`PartError::Order`] where timestamps do not ascend.
    pub(crate) fn histograms(&mut self, row: u32, ts: &[i64], hs: &[Arc<Histogram>]) -> Result<(), PartError> {
        let (Some(&first), Some(&last)) = (ts.first(), ts.last()) else {
            return Ok(());
        };
        self.check_order(row, first)?;
        if ts.len() != hs.len() || ts.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(self.order("timestamps do not ascend".to_owned()));
        }
        self.cut_pending(true)?;
        let mut start = 0;
        for end in histograms::cuts(hs) {
            let (codec, values) = histograms::encode(&hs[start..end]);
            let ts = &ts[start..end];
            let chunk = Chunk {
                t_min: ts.first().copied().unwrap_or_default(),
                t_max: ts.last().copied().unwrap_or_default(),
                n: ts.len() as u32,
                ts: self.known.encode(ts),
                codec,
                values,
            };
            self.write_chunk(&chunk)?;
            start = end;
        }
        self.histograms = true;
        if let Some(series) = &mut self.series {
            series.last = Some(last);
        }
        Ok(())
    }

    /// Adds all samples of the series that was added last, numbers and histograms in the order of time; at a time that has both
    /// the histogram counts.
    ///
    /// # Errors
    /// As [`PartWriter::samples`].
    pub(crate) fn mixed(&mut self, row: u32, samples: &Samples, histograms: &Histograms) -> Result<(), PartError> {
        let (ts, vs) = (&samples.timestamps, &samples.values);
        let (mut number, mut histogram) = (0, 0);
        while histogram < histograms.len() {
            // Numbers up to the next histogram, then histograms up to the next number.
            let before = ts.partition_point(|t| *t < histograms.timestamps[histogram]);
            if before > number {
                self.samples(row, &ts[number..before], &vs[number..before])?;
                number = before;
            }
            if ts.get(number) == histograms.timestamps.get(histogram) {
                number += 1;
            }
            let next = ts.get(number).copied().unwrap_or(i64::MAX);
            let end = histogram + histograms.timestamps[histogram..].partition_point(|t| *t < next).max(1);
            self.histograms(
                row,
                &histograms.timestamps[histogram..end],
                &histograms.values[histogram..end],
            )?;
            histogram = end;
        }
        self.samples(row, &ts[number..], &vs[number..])
    }

    /// Writes what is left and syncs both files and their directory; commit the manifest after it.
    ///
    /// # Errors
    /// [`PartError`] where the part is not durable; its files are gone then.
    pub(crate) fn finish(mut self) -> Result<PartMeta, PartError> {
        self.end_series()?;
        if self.meta.samples == 0 {
            return Err(self.order("it has no samples".to_owned()));
        }
        let metadata = footer(
            &self.meta,
            &self.tenant,
            self.pages,
            self.histograms,
            self.resolution_ms,
        );
        // Synced before the manifest commit, or a crash could list a part whose bytes are not there.
        for (path, file) in [self.chunks.finish(&metadata)?, self.table.finish(&metadata)?] {
            file.sync_all().map_err(|source| PartError::io("sync", &path, source))?;
            self.meta.bytes += file.len().map_err(|source| PartError::io("inspect", &path, source))?;
        }
        let parts = parts_dir(&self.dir);
        disk::sync_dir(&parts).map_err(|source| PartError::io("sync", &parts, source))?;
        if self.resolution_ms.is_some() {
            // The directory of parts may be new in the one of rollups, whose own name the commit makes durable.
            disk::sync_dir(&self.dir).map_err(|source| PartError::io("sync", &self.dir, source))?;
        }
        self.files.0.clear();
        Ok(self.meta)
    }

    fn end_series(&mut self) -> Result<(), PartError> {
        self.cut_pending(true)?;
        match &self.series {
            Some(series) => self
                .table
                .push(series.key, &series.labels, series.chunks, series.samples),
            None => Ok(()),
        }
    }

    pub(super) fn check_order(&self, row: u32, first: i64) -> Result<(), PartError> {
        match &self.series {
            Some(series) if series.row == row => match series.last {
                Some(last) if last >= first => Err(self.order(format!(
                    "sample at {first} ms of {} comes after {last} ms",
                    series.labels
                ))),
                _ => Ok(()),
            },
            _ => Err(self.order(format!("row {row} is not the series that was added last"))),
        }
    }

    /// Cuts the samples that are held back into chunks; all of them, or all but the last chunk, which more samples may fill.
    fn cut_pending(&mut self, all: bool) -> Result<(), PartError> {
        let mut ends = std::mem::take(&mut self.ends);
        ends.clear();
        cuts(&self.pending.timestamps, &mut ends);
        if !all {
            ends.pop();
        }
        let pending = std::mem::take(&mut self.pending);
        let mut start = 0;
        for &end in &ends {
            let (ts, vs) = (&pending.timestamps[start..end], &pending.values[start..end]);
            let chunk = encode_with(ts, vs, self.known.encode(ts));
            self.write_chunk(&chunk)?;
            start = end;
        }
        self.pending = pending;
        self.pending.timestamps.drain(..start);
        self.pending.values.drain(..start);
        self.ends = ends;
        Ok(())
    }

    pub(super) fn write_chunk(&mut self, chunk: &Chunk) -> Result<(), PartError> {
        let Some(series) = &mut self.series else { return Ok(()) };
        self.chunks.push(series.row, chunk)?;
        self.pages |= values::is_in_pages(chunk.codec);
        series.chunks += 1;
        series.samples += u64::from(chunk.n);
        series.last = series.last.max(Some(chunk.t_max));
        self.meta.chunks += 1;
        self.meta.samples += u64::from(chunk.n);
        self.meta.t_min = self.meta.t_min.min(chunk.t_min);
        self.meta.t_max = self.meta.t_max.max(chunk.t_max);
        Ok(())
    }

    pub(super) fn order(&self, what: String) -> PartError {
        PartError::Order {
            path: self.chunks.path.clone(),
            what,
        }
    }
}

/// What the footer says of codecs beyond those of version 1.
pub(super) const PAGE_CODECS: &str = ",pco_decimal_pages=6,pco_float_pages=7";
pub(super) const HISTOGRAM_CODECS: &str = ",histogram_columns=64,histogram_rows=65";
const ROLLUP_CODECS: &str = ",rollup=80";

/// Names in the footers of both files.
pub(super) mod key {
    pub(in crate::part) const FORMAT_VERSION: &str = "foreshock.format_version";
    pub(in crate::part) const TENANT: &str = "foreshock.tenant";
    pub(in crate::part) const ENCRYPTION: &str = "foreshock.encryption";
    pub(in crate::part) const CODECS: &str = "foreshock.codecs";
    pub(in crate::part) const PART: &str = "foreshock.part";
    pub(in crate::part) const RESOLUTION: &str = "foreshock.resolution_ms";
}

/// All of the manifest's entry but the bytes stands in the footer too, so that a lost manifest can be made again.
fn footer(meta: &PartMeta, tenant: &str, pages: bool, histograms: bool, resolution_ms: Option<i64>) -> Vec<KeyValue> {
    let version = match (pages, histograms) {
        _ if resolution_ms.is_some() => FORMAT_VERSION,
        (true, _) => FORMAT_VERSION_PAGES,
        (false, true) => FORMAT_VERSION_HISTOGRAMS,
        (false, false) => FORMAT_VERSION_OLDEST,
    };
    let pages = if pages || resolution_ms.is_some() {
        PAGE_CODECS
    } else {
        ""
    };
    let rollups = resolution_ms.map_or("", |_| ROLLUP_CODECS);
    let histograms = if histograms {
        HISTOGRAM_CODECS
    } else {
        ",histogram=64..79"
    };
    let codecs = format!(
        "raw=0,constant=1,linear=2,packed=3,pco_decimal=4,pco_float=5{pages},exceptions=128{histograms}{rollups}"
    );
    let pair = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
    let resolution = resolution_ms.map(|ms| pair(key::RESOLUTION, ms.to_string()));
    let mut pairs = vec![
        pair(key::FORMAT_VERSION, version.to_string()),
        pair(key::TENANT, tenant.to_owned()),
        pair(key::ENCRYPTION, "none".to_owned()),
        pair(key::CODECS, codecs),
        // Numbers, a name and no map with keys of its own: serialising cannot fail.
        pair(key::PART, serde_json::to_string(meta).unwrap_or_default()),
    ];
    pairs.extend(resolution);
    pairs
}

/// The file of chunk rows.
struct ChunkWriter {
    path: PathBuf,
    writer: ArrowWriter<File>,
    rows: ChunkRows,
    group_rows: usize,
    group_bytes: usize,
}

#[derive(Default)]
struct ChunkRows {
    series: UInt32Builder,
    t_min: TimestampMillisecondBuilder,
    t_max: TimestampMillisecondBuilder,
    n: UInt32Builder,
    ts: BinaryBuilder,
    codec: UInt8Builder,
    size: UInt32Builder,
    crc: UInt32Builder,
    values: BinaryBuilder,
    len: usize,
}

impl ChunkWriter {
    fn create(path: PathBuf) -> Result<Self, PartError> {
        let file = disk::create_new(&path).map_err(|source| PartError::io("create", &path, source))?;
        match ArrowWriter::try_new(file, schema(), Some(properties())) {
            Ok(writer) => Ok(Self {
                path,
                writer,
                rows: ChunkRows::default(),
                group_rows: 0,
                group_bytes: 0,
            }),
            Err(source) => Err(PartError::Parquet {
                action: "start",
                path,
                source,
            }),
        }
    }

    fn push(&mut self, series: u32, chunk: &Chunk) -> Result<(), PartError> {
        let rows = &mut self.rows;
        rows.series.append_value(series);
        rows.t_min.append_value(chunk.t_min);
        rows.t_max.append_value(chunk.t_max);
        rows.n.append_value(chunk.n);
        rows.ts.append_value(&chunk.ts);
        rows.codec.append_value(chunk.codec);
        rows.size.append_value(chunk.values.len() as u32);
        rows.crc
            .append_value(checksum(chunk.n, chunk.codec, &chunk.ts, &chunk.values));
        rows.values.append_value(&chunk.values);
        rows.len += 1;
        self.group_rows += 1;
        self.group_bytes += chunk.values.len() + 4;
        let full = self.group_rows >= ROW_GROUP_ROWS || self.group_bytes >= ROW_GROUP_BYTES;
        if full || self.rows.len == BATCH {
            self.write_batch()?;
        }
        if full {
            self.writer.flush().map_err(|source| self.error(source))?;
            (self.group_rows, self.group_bytes) = (0, 0);
        }
        Ok(())
    }

    fn write_batch(&mut self) -> Result<(), PartError> {
        if self.rows.len == 0 {
            return Ok(());
        }
        let columns = self.rows.take();
        RecordBatch::try_new(schema(), columns)
            .map_err(ParquetError::from)
            .and_then(|batch| self.writer.write(&batch))
            .map_err(|source| self.error(source))
    }

    fn finish(mut self, metadata: &[KeyValue]) -> Result<(PathBuf, File), PartError> {
        self.write_batch()?;
        for pair in metadata {
            self.writer.append_key_value_metadata(pair.clone());
        }
        let path = self.path;
        match self.writer.into_inner() {
            Ok(file) => Ok((path, file)),
            Err(source) => Err(PartError::Parquet {
                action: "write",
                path,
                source,
            }),
        }
    }

    fn error(&self, source: ParquetError) -> PartError {
        PartError::Parquet {
            action: "write",
            path: self.path.clone(),
            source,
        }
    }
}

impl std::fmt::Debug for ChunkWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkWriter")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl ChunkRows {
    fn take(&mut self) -> Vec<ArrayRef> {
        self.len = 0;
        vec![
            Arc::new(self.series.finish()),
            Arc::new(self.t_min.finish().with_timezone("UTC")),
            Arc::new(self.t_max.finish().with_timezone("UTC")),
            Arc::new(self.n.finish()),
            Arc::new(self.ts.finish()),
            Arc::new(self.codec.finish()),
            Arc::new(self.size.finish()),
            Arc::new(self.crc.finish()),
            Arc::new(self.values.finish()),
        ]
    }
}

fn properties() -> WriterProperties {
    let column = |name: &str| ColumnPath::from(name);
    let sorted = |column_idx| SortingColumn {
        column_idx,
        descending: false,
        nulls_first: false,
    };
    WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(Compression::UNCOMPRESSED)
        // Row groups end where `ChunkWriter::push` says.
        .set_max_row_group_row_count(None)
        .set_sorting_columns(Some(vec![sorted(0), sorted(1)]))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_dictionary_enabled(true)
        .set_column_dictionary_enabled(column("series"), false)
        .set_column_encoding(column("series"), Encoding::DELTA_BINARY_PACKED)
        .set_column_statistics_enabled(column("ts"), EnabledStatistics::None)
        .set_column_dictionary_page_size_limit(column("ts"), TIMESTAMPS_DICTIONARY_BYTES)
        .set_column_dictionary_enabled(column("size"), false)
        .set_column_encoding(column("size"), Encoding::DELTA_BINARY_PACKED)
        .set_column_statistics_enabled(column("size"), EnabledStatistics::None)
        .set_column_dictionary_enabled(column("crc"), false)
        .set_column_encoding(column("crc"), Encoding::PLAIN)
        .set_column_statistics_enabled(column("crc"), EnabledStatistics::None)
        // Plain and uncompressed, without statistics: a value lies in the file as it is, four bytes of length before it.
        .set_column_dictionary_enabled(column("values"), false)
        .set_column_encoding(column("values"), Encoding::PLAIN)
        .set_column_statistics_enabled(column("values"), EnabledStatistics::None)
        .set_column_data_page_size_limit(column("values"), VALUES_PAGE_BYTES)
        .build()
}

/// Bytes of timestamps seen before: the series of a host share them, and encoding is the slower half of finding that out.
#[derive(Debug, Default)]
pub(super) struct KnownTimestamps {
    by_ends: HashMap<(i64, i64, usize), Vec<Known>>,
    held: usize,
}

#[derive(Debug)]
struct Known {
    timestamps: Box<[i64]>,
    bytes: Vec<u8>,
}

impl KnownTimestamps {
    pub(super) fn encode(&mut self, ts: &[i64]) -> Vec<u8> {
        let (Some(&first), Some(&last)) = (ts.first(), ts.last()) else {
            return timestamps::encode(ts);
        };
        if self.held + ts.len() > KNOWN_TIMESTAMPS_MAX {
            self.by_ends.clear();
            self.held = 0;
        }
        let known = self.by_ends.entry((first, last, ts.len())).or_default();
        if let Some(known) = known.iter().find(|known| *known.timestamps == *ts) {
            return known.bytes.clone();
        }
        let bytes = timestamps::encode(ts);
        // A few variants share their ends; a search through many would cost more than it saves.
        if known.len() < 8 {
            known.push(Known {
                timestamps: ts.into(),
                bytes: bytes.clone(),
            });
            self.held += ts.len();
        }
        bytes
    }
}

/// Files of a part that is not finished.
#[derive(Debug)]
struct Unfinished(Vec<PathBuf>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        for path in &self.0 {
            if let Err(error) = disk::remove_file(path) {
                tracing::debug!(path = %path.display(), %error, "an unfinished part file stays until the store opens again");
            }
        }
    }
}
