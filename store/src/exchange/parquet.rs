//! Long Parquet: a row a sample, the columns of the SQL table `samples`.
//!
//! | column | type | is |
//! |---|---|---|
//! | `timestamp` | timestamp[ms, UTC] | |
//! | `value` | double | null for the staleness marker; every other value to the bit |
//! | `metric` | string | |
//! | `host`, `device` | string | which host and device the series is about, null where it says none |
//! | `labels` | map<string, string> | all labels but the metric's name |
//!
//! Rows of a series stand together and ascend in time. Read back, `host` and `device` are left aside, for `labels` say it already.
//! A file without `labels` may have a column a label instead.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Float64Builder, MapArray, MapBuilder, MapFieldNames, RecordBatch,
    StringArray, StringBuilder, TimestampMillisecondArray, TimestampMillisecondBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef, TimeUnit, TimestampMillisecondType};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::{ExchangeError, Found, Sink};
use crate::identity::{device_of, host_of};
use crate::series::{Labels, LabelsBuf, METRIC_NAME, is_stale, stale_nan};

/// Rows of a batch.
const BATCH_ROWS: usize = 16 << 10;
/// Rows of a row group: the writer holds one, encoded.
const ROW_GROUP_ROWS: usize = 1 << 20;

fn unreadable(source: ParquetError) -> ExchangeError {
    ExchangeError::Parquet { action: "read", source }
}

fn unwritable(source: ParquetError) -> ExchangeError {
    match source {
        ParquetError::External(error) => match error.downcast::<std::io::Error>() {
            Ok(error) => ExchangeError::Write(*error),
            Err(error) => ExchangeError::Parquet {
                action: "written",
                source: ParquetError::External(error),
            },
        },
        source => ExchangeError::Parquet {
            action: "written",
            source,
        },
    }
}

/// Writes rows.
pub(super) struct RowWriter<W: Write + Send> {
    out: ArrowWriter<W>,
    schema: SchemaRef,
    rows: Rows,
}

/// Rows that are not written yet.
struct Rows {
    n: usize,
    timestamp: TimestampMillisecondBuilder,
    value: Float64Builder,
    metric: StringBuilder,
    host: StringBuilder,
    device: StringBuilder,
    labels: MapBuilder<StringBuilder, StringBuilder>,
}

impl Rows {
    fn new() -> Self {
        // As the Parquet specification names them.
        let names = MapFieldNames {
            entry: "key_value".to_owned(),
            key: "key".to_owned(),
            value: "value".to_owned(),
        };
        Self {
            n: 0,
            timestamp: TimestampMillisecondBuilder::new().with_timezone("UTC"),
            value: Float64Builder::new(),
            metric: StringBuilder::new(),
            host: StringBuilder::new(),
            device: StringBuilder::new(),
            labels: MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new()),
        }
    }

    fn columns(&mut self) -> Vec<ArrayRef> {
        self.n = 0;
        vec![
            Arc::new(self.timestamp.finish()),
            Arc::new(self.value.finish()),
            Arc::new(self.metric.finish()),
            Arc::new(self.host.finish()),
            Arc::new(self.device.finish()),
            Arc::new(self.labels.finish()),
        ]
    }
}

impl<W: Write + Send> RowWriter<W> {
    pub(super) fn new(out: W) -> Result<Self, ExchangeError> {
        let mut rows = Rows::new();
        let names = ["timestamp", "value", "metric", "host", "device", "labels"];
        let nullable = ["value", "host", "device"];
        let fields: Vec<Field> = names
            .into_iter()
            .zip(rows.columns())
            .map(|(name, column)| Field::new(name, column.data_type().clone(), nullable.contains(&name)))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_created_by(concat!("foreshock ", env!("CARGO_PKG_VERSION")).to_owned())
            // Timestamps step evenly, and nearly every value is another one: dictionaries would only cost.
            .set_column_dictionary_enabled(ColumnPath::from("timestamp"), false)
            .set_column_encoding(ColumnPath::from("timestamp"), Encoding::DELTA_BINARY_PACKED)
            .set_column_dictionary_enabled(ColumnPath::from("value"), false)
            .build();
        let out = ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties)).map_err(unwritable)?;
        Ok(Self { out, schema, rows })
    }

    pub(super) fn series(
        &mut self,
        labels: &LabelsBuf,
        timestamps: &[i64],
        values: &[f64],
    ) -> Result<(), ExchangeError> {
        let about = Labels::from_pairs(labels.iter());
        let (metric, host, device) = (about.metric(), host_of(&about), device_of(&about));
        for (&at, &value) in timestamps.iter().zip(values) {
            let rows = &mut self.rows;
            rows.timestamp.append_value(at);
            rows.value.append_option((!is_stale(value)).then_some(value));
            rows.metric.append_value(metric);
            rows.host.append_option(host);
            rows.device.append_option(device);
            for (name, value) in about.iter().filter(|(name, _)| *name != METRIC_NAME) {
                rows.labels.keys().append_value(name);
                rows.labels.values().append_value(value);
            }
            rows.labels.append(true).map_err(|error| unwritable(error.into()))?;
            rows.n += 1;
            if rows.n >= BATCH_ROWS {
                self.write()?;
            }
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), ExchangeError> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), self.rows.columns());
        batch
            .map_err(ParquetError::from)
            .and_then(|batch| self.out.write(&batch))
            .map_err(unwritable)
    }

    pub(super) fn finish(mut self) -> Result<W, ExchangeError> {
        if self.rows.n > 0 {
            self.write()?;
        }
        self.out.into_inner().map_err(unwritable)
    }
}

/// Reads a Parquet file of long rows; `progress` hears how many of how many rows were read.
///
/// Needed are `metric` (or `__name__`), `timestamp` (a timestamp of any unit, or int64 milliseconds) and `value` (a number; null is
/// the staleness marker). Labels are those in the map `labels`, or without it the text columns beside these, absent where null or
/// empty.
///
/// # Errors
/// When the file is no Parquet, is compressed by what is not read here, or lacks a column; or the sink takes nothing any more.
pub fn read_parquet(
    file: File,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Found, ExchangeError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(unreadable)?;
    let all = u64::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0);
    let names = LabelColumns::of(reader.schema())?;
    let reader = reader.with_batch_size(BATCH_ROWS).build().map_err(unreadable)?;
    let mut found = Found::default();
    let mut run = Run::default();
    for batch in reader {
        let batch = batch.map_err(|error| unreadable(error.into()))?;
        let columns = Columns::of(&batch, &names)?;
        for row in 0..batch.num_rows() {
            found.lines += 1;
            if columns.timestamp.is_null(row) || columns.metric.is_null(row) {
                found.bad(&"it has no timestamp or no metric");
                continue;
            }
            columns.name_series(row, &mut run.next);
            if run.next != run.series {
                run.hand_on(&mut found, sink)?;
                std::mem::swap(&mut run.series, &mut run.next);
                columns.labels(row, &mut run.labels);
            }
            run.timestamps.push(columns.timestamp.value(row));
            let value = &columns.value;
            run.values.push(if value.is_null(row) {
                stale_nan()
            } else {
                value.value(row)
            });
        }
        run.hand_on(&mut found, sink)?;
        progress(found.lines, all);
    }
    Ok(found)
}

/// Rows of one series that follow each other.
#[derive(Default)]
struct Run {
    series: Vec<u8>,
    next: Vec<u8>,
    labels: LabelsBuf,
    timestamps: Vec<i64>,
    values: Vec<f64>,
}

impl Run {
    fn hand_on(&mut self, found: &mut Found, sink: &mut dyn Sink) -> Result<(), ExchangeError> {
        if !self.values.is_empty() {
            found.samples += self.values.len() as u64;
            sink.series(&mut self.labels, &self.timestamps, &self.values)?;
            self.timestamps.clear();
            self.values.clear();
        }
        Ok(())
    }
}

/// Where labels stand.
enum LabelColumns {
    Map,
    /// Their names.
    Columns(Vec<String>),
}

impl LabelColumns {
    fn of(schema: &Schema) -> Result<Self, ExchangeError> {
        if let Ok(labels) = schema.field_with_name("labels") {
            return match labels.data_type() {
                DataType::Map(..) => Ok(Self::Map),
                _ => Err(ExchangeError::Column { name: "labels" }),
            };
        }
        let is_text = |of: &DataType| match of {
            DataType::Dictionary(_, of) => matches!(**of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
            of => matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
        };
        let others = schema.fields().iter().filter(|field| {
            is_text(field.data_type())
                && !["metric", METRIC_NAME, "timestamp", "value"].contains(&field.name().as_str())
        });
        Ok(Self::Columns(others.map(|field| field.name().clone()).collect()))
    }
}

/// A batch's columns.
struct Columns<'a> {
    timestamp: TimestampMillisecondArray,
    value: Float64Array,
    metric: StringArray,
    labels: LabelArrays<'a>,
}

#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
enum LabelArrays<'a> {
    Map {
        map: MapArray,
        names: StringArray,
        values: StringArray,
    },
    Columns(Vec<(&'a str, StringArray)>),
}

impl<'a> Columns<'a> {
    fn of(batch: &RecordBatch, names: &'a LabelColumns) -> Result<Self, ExchangeError> {
        let column = |names: &[&'static str]| {
            names
                .iter()
                .find_map(|name| batch.column_by_name(name))
                .ok_or(ExchangeError::Column { name: names[0] })
        };
        let timestamp = column(&["timestamp"])?;
        let millis = DataType::Timestamp(TimeUnit::Millisecond, None);
        let timestamp = match timestamp.data_type() {
            DataType::Timestamp(..) | DataType::Int64 => to(timestamp, &millis, "timestamp")?,
            _ => return Err(ExchangeError::Column { name: "timestamp" }),
        };
        let value = column(&["value"])?;
        if !value.data_type().is_numeric() {
            return Err(ExchangeError::Column { name: "value" });
        }
        let labels = match names {
            LabelColumns::Map => {
                let map = column(&["labels"])?.as_map().clone();
                LabelArrays::Map {
                    names: text(map.keys(), "labels")?,
                    values: text(map.values(), "labels")?,
                    map,
                }
            }
            LabelColumns::Columns(names) => LabelArrays::Columns(
                names
                    .iter()
                    .filter_map(|name| Some((name.as_str(), batch.column_by_name(name)?)))
                    .map(|(name, column)| Ok((name, text(column, "labels")?)))
                    .collect::<Result<_, ExchangeError>>()?,
            ),
        };
        Ok(Self {
            timestamp: timestamp.as_primitive::<TimestampMillisecondType>().clone(),
            value: to(value, &DataType::Float64, "value")?
                .as_primitive::<Float64Type>()
                .clone(),
            metric: text(column(&["metric", METRIC_NAME])?, "metric")?,
            labels,
        })
    }

    /// Hands each label of a row to `take`.
    fn each_label(&self, row: usize, mut take: impl FnMut(&str, &str)) {
        match &self.labels {
            LabelArrays::Map { map, names, values } => {
                if map.is_null(row) {
                    return;
                }
                let offsets = map.value_offsets();
                for i in offsets[row] as usize..offsets[row + 1] as usize {
                    // The name of the metric is a column of its own.
                    if !values.is_null(i) && names.value(i) != METRIC_NAME {
                        take(names.value(i), values.value(i));
                    }
                }
            }
            LabelArrays::Columns(columns) => {
                for (name, column) in columns.iter().filter(|(_, column)| !column.is_null(row)) {
                    take(name, column.value(row));
                }
            }
        }
    }

    /// Bytes that tell the series of a row from others.
    fn name_series(&self, row: usize, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(self.metric.value(row).as_bytes());
        self.each_label(row, |name, value| {
            for text in [name, value] {
                // Occurs in no UTF-8.
                out.push(0xff);
                out.extend_from_slice(text.as_bytes());
            }
        });
    }

    fn labels(&self, row: usize, out: &mut LabelsBuf) {
        out.clear();
        out.push(METRIC_NAME, self.metric.value(row));
        self.each_label(row, |name, value| {
            if !value.is_empty() {
                out.push(name, value);
            }
        });
    }
}

fn to(column: &ArrayRef, of: &DataType, name: &'static str) -> Result<ArrayRef, ExchangeError> {
    // The zone is left out: milliseconds since 1970 are the same in all of them.
    cast(column, of).map_err(|_| ExchangeError::Column { name })
}

fn text(column: &ArrayRef, name: &'static str) -> Result<StringArray, ExchangeError> {
    Ok(to(column, &DataType::Utf8, name)?.as_string::<i32>().clone())
}
