//! The table of a part's series: its Parquet file, written and read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, MapBuilder, MapFieldNames, StringBuilder, UInt32Builder,
    UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, UInt32Type};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::file::{PartFile, guarded};
use super::{PartError, PartId, series_path};
use crate::disk::{self, File};
use crate::{Labels, LabelsBuf, METRIC_NAME, SeriesKey, device_of, host_of};

/// Series a batch, while writing and while reading.
const BATCH: usize = 4096;

/// Series a row group: what a writer holds.
const ROW_GROUP: usize = 65_536;

fn schema() -> SchemaRef {
    let label = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Utf8, false),
    ]);
    let labels = DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(label), false)), true);
    Arc::new(Schema::new(vec![
        Field::new("series", DataType::UInt32, false),
        Field::new("key", DataType::FixedSizeBinary(16), false),
        Field::new("metric", DataType::Utf8, false),
        Field::new("host", DataType::Utf8, true),
        Field::new("device", DataType::Utf8, true),
        Field::new("labels", labels, false),
        Field::new("chunks", DataType::UInt32, false),
        Field::new("samples", DataType::UInt64, false),
    ]))
}

/// Writes the table, a series at a time.
pub(super) struct TableWriter {
    path: PathBuf,
    writer: ArrowWriter<File>,
    rows: Rows,
    count: u32,
}

/// Columns of series that are not yet a batch.
struct Rows {
    series: UInt32Builder,
    key: FixedSizeBinaryBuilder,
    metric: StringBuilder,
    host: StringBuilder,
    device: StringBuilder,
    labels: MapBuilder<StringBuilder, StringBuilder>,
    chunks: UInt32Builder,
    samples: UInt64Builder,
    len: usize,
}

impl TableWriter {
    pub(super) fn create(dir: &Path, id: PartId) -> Result<Self, PartError> {
        let path = series_path(dir, id);
        let file = disk::create_new(&path).map_err(|source| PartError::io("create", &path, source))?;
        let writer = ArrowWriter::try_new(file, schema(), Some(properties())).map_err(|source| PartError::Parquet {
            action: "start",
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            path,
            writer,
            rows: Rows::new(),
            count: 0,
        })
    }

    /// Adds a series whose chunks are all written.
    pub(super) fn push(&mut self, key: SeriesKey, labels: &Labels, chunks: u32, samples: u64) -> Result<(), PartError> {
        self.rows
            .push(self.count, key, labels, chunks, samples)
            .map_err(|source| self.error(source.into()))?;
        self.count += 1;
        if self.rows.len == BATCH {
            self.write_batch()?;
        }
        Ok(())
    }

    /// Ends the file, with `metadata` in its footer, and returns it, unsynced.
    pub(super) fn finish(mut self, metadata: &[KeyValue]) -> Result<(PathBuf, File), PartError> {
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

    fn error(&self, source: ParquetError) -> PartError {
        PartError::Parquet {
            action: "write",
            path: self.path.clone(),
            source,
        }
    }
}

impl std::fmt::Debug for TableWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableWriter")
            .field("path", &self.path)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl Rows {
    fn new() -> Self {
        let names = MapFieldNames {
            entry: "key_value".to_owned(),
            key: "key".to_owned(),
            value: "value".to_owned(),
        };
        Self {
            series: UInt32Builder::new(),
            key: FixedSizeBinaryBuilder::new(16),
            metric: StringBuilder::new(),
            host: StringBuilder::new(),
            device: StringBuilder::new(),
            labels: MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
                .with_values_field(Field::new("value", DataType::Utf8, false)),
            chunks: UInt32Builder::new(),
            samples: UInt64Builder::new(),
            len: 0,
        }
    }

    fn push(
        &mut self,
        row: u32,
        key: SeriesKey,
        labels: &Labels,
        chunks: u32,
        samples: u64,
    ) -> Result<(), arrow::error::ArrowError> {
        self.series.append_value(row);
        self.key.append_value(key.0.to_be_bytes())?;
        self.metric.append_value(labels.metric());
        self.host.append_option(host_of(labels));
        self.device.append_option(device_of(labels));
        for (name, value) in labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
            self.labels.keys().append_value(name);
            self.labels.values().append_value(value);
        }
        self.labels.append(true)?;
        self.chunks.append_value(chunks);
        self.samples.append_value(samples);
        self.len += 1;
        Ok(())
    }

    fn take(&mut self) -> Vec<ArrayRef> {
        self.len = 0;
        let labels = self.labels.finish();
        // The builder cannot say that maps are sorted by key; ours are, as labels are.
        let (field, offsets, entries, nulls, _) = labels.into_parts();
        let labels = arrow::array::MapArray::new(field, offsets, entries, nulls, true);
        vec![
            Arc::new(self.series.finish()),
            Arc::new(self.key.finish()),
            Arc::new(self.metric.finish()),
            Arc::new(self.host.finish()),
            Arc::new(self.device.finish()),
            Arc::new(labels),
            Arc::new(self.chunks.finish()),
            Arc::new(self.samples.finish()),
        ]
    }
}

fn properties() -> WriterProperties {
    let column = |name: &str| ColumnPath::from(name);
    WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(super::writer::CREATED_BY.to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).unwrap_or_default()))
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        // Hashes neither compress nor repeat.
        .set_column_compression(column("key"), Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled(column("key"), false)
        .set_column_statistics_enabled(column("key"), EnabledStatistics::None)
        .set_column_dictionary_enabled(column("series"), false)
        .set_column_encoding(column("series"), Encoding::DELTA_BINARY_PACKED)
        .build()
}

/// What is held of a series table: keys, and where the chunks of each series begin.
#[derive(Debug)]
pub(super) struct Table {
    path: PathBuf,
    file: PartFile,
    metadata: ArrowReaderMetadata,
    /// By row.
    pub(super) keys: Box<[SeriesKey]>,
    /// Rows by ascending key.
    by_key: Box<[u32]>,
    /// First chunk row of each series, and the number of all chunk rows at the end.
    pub(super) first_chunk: Box<[u64]>,
}

impl Table {
    pub(super) fn open(dir: &Path, id: PartId) -> Result<Self, PartError> {
        let path = series_path(dir, id);
        let file = PartFile::open(&path).map_err(|source| PartError::io("open", &path, source))?;
        let error = |source| PartError::Parquet {
            action: "open",
            path: path.clone(),
            source,
        };
        let metadata = guarded(|| ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())).map_err(error)?;
        super::reader::check_version(&path, &metadata)?;

        let rows = usize::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
        let damaged = |what: &str| PartError::Damaged {
            path: path.clone(),
            what: what.to_owned(),
        };
        let mut keys = Vec::new();
        let mut first_chunk = vec![0_u64];
        let mut chunk = 0_u64;
        for batch in batches(&file, &metadata, &["key", "chunks"]).map_err(error)? {
            let batch = batch.map_err(error)?;
            let column = batch.column_by_name("key").and_then(|c| c.as_fixed_size_binary_opt());
            let column = column
                .filter(|c| c.value_length() == 16)
                .ok_or_else(|| damaged("column `key` is missing"))?;
            let counts = batch
                .column_by_name("chunks")
                .and_then(|c| c.as_primitive_opt::<UInt32Type>());
            let counts = counts.ok_or_else(|| damaged("column `chunks` is missing"))?;
            if column.null_count() + counts.null_count() > 0 {
                return Err(damaged("a key or a count is null"));
            }
            keys.extend(
                column
                    .iter()
                    .flatten()
                    .filter_map(|k| Some(SeriesKey(u128::from_be_bytes(*k.first_chunk()?)))),
            );
            first_chunk.extend(counts.values().iter().map(|&count| {
                chunk += u64::from(count);
                chunk
            }));
        }
        if keys.len() != rows || first_chunk.len() != rows + 1 {
            return Err(damaged("it holds fewer series than its footer says"));
        }
        let mut by_key: Box<[u32]> = (0..keys.len() as u32).collect();
        by_key.sort_unstable_by_key(|&row| keys[row as usize]);
        Ok(Self {
            path,
            file,
            metadata,
            keys: keys.into(),
            by_key,
            first_chunk: first_chunk.into(),
        })
    }

    pub(super) fn row_of(&self, key: SeriesKey) -> Option<u32> {
        let at = self
            .by_key
            .binary_search_by_key(&key, |&row| self.keys[row as usize])
            .ok()?;
        Some(self.by_key[at])
    }

    pub(super) fn bytes(&self) -> u64 {
        self.file.len()
    }

    /// Row, key and labels of each series, a batch in memory at a time.
    pub(super) fn series(
        &self,
    ) -> Result<impl Iterator<Item = Result<(u32, SeriesKey, Labels), PartError>> + '_, PartError> {
        let error = |source| PartError::Parquet {
            action: "read",
            path: self.path.clone(),
            source,
        };
        let batches = batches(&self.file, &self.metadata, &["metric", "labels"]).map_err(error)?;
        let mut row = 0;
        Ok(batches.flat_map(move |batch| {
            let labels = batch.map_err(error).and_then(|batch| self.labels_of(&batch));
            let rows: Vec<Result<(u32, SeriesKey, Labels), PartError>> = match labels {
                Err(error) => vec![Err(error)],
                Ok(all) => all
                    .into_iter()
                    .map(|labels| {
                        let key = self.keys.get(row as usize).copied();
                        row += 1;
                        match key {
                            Some(key) if key == labels.key() => Ok((row - 1, key, labels)),
                            _ => Err(self.damaged(&format!("key and labels of series row {} differ", row - 1))),
                        }
                    })
                    .collect(),
            };
            rows
        }))
    }

    fn labels_of(&self, batch: &RecordBatch) -> Result<Vec<Labels>, PartError> {
        let metric = batch.column_by_name("metric").and_then(|c| c.as_string_opt::<i32>());
        let labels = batch.column_by_name("labels").and_then(|c| c.as_map_opt());
        let (Some(metric), Some(labels)) = (metric, labels) else {
            return Err(self.damaged("column `metric` or `labels` is missing"));
        };
        let (Some(names), Some(values)) = (
            labels.keys().as_string_opt::<i32>(),
            labels.values().as_string_opt::<i32>(),
        ) else {
            return Err(self.damaged("column `labels` holds no text"));
        };
        let mut buffer = LabelsBuf::default();
        Ok((0..batch.num_rows())
            .map(|row| {
                let (start, end) = (
                    labels.value_offsets()[row] as usize,
                    labels.value_offsets()[row + 1] as usize,
                );
                buffer.clear();
                (start..end).for_each(|i| buffer.push(names.value(i), values.value(i)));
                buffer.push(METRIC_NAME, metric.value(row));
                buffer.labels()
            })
            .collect())
    }

    fn damaged(&self, what: &str) -> PartError {
        PartError::Damaged {
            path: self.path.clone(),
            what: what.to_owned(),
        }
    }
}

fn batches(
    file: &PartFile,
    metadata: &ArrowReaderMetadata,
    columns: &[&str],
) -> Result<impl Iterator<Item = Result<RecordBatch, ParquetError>> + use<>, ParquetError> {
    let mask = ProjectionMask::columns(metadata.parquet_schema(), columns.iter().copied());
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), metadata.clone());
    let mut reader = guarded(|| builder.with_projection(mask).with_batch_size(BATCH).build())?;
    let mut failed = false;
    Ok(std::iter::from_fn(move || {
        // After an error, and more so after a panic, there is nothing to go on with.
        if failed {
            return None;
        }
        let batch = guarded(|| reader.next().transpose().map_err(ParquetError::from)).transpose();
        failed = matches!(batch, Some(Err(_)));
        batch
    }))
}
