//! Columns of the tables, and batches of them.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, Float64Builder, MapBuilder, RecordBatch, RecordBatchOptions, StringBuilder,
    TimestampMillisecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use store::{Labels, SeriesId, SeriesKey, Snapshot, device_of, host_of, is_stale};

/// UTC as an offset: names of time zones need a database that Arrow does not carry here.
const UTC: &str = "+00:00";

/// A column of `samples`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Timestamp,
    Value,
    Metric,
    Host,
    Device,
    Labels,
    Series,
}

impl Column {
    /// In the order of the table.
    pub(crate) const SAMPLES: [Self; 7] = [
        Self::Timestamp,
        Self::Value,
        Self::Metric,
        Self::Host,
        Self::Device,
        Self::Labels,
        Self::Series,
    ];
    /// What all samples of a series have in common.
    pub(crate) const SERIES: [Self; 5] = [Self::Series, Self::Metric, Self::Host, Self::Device, Self::Labels];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Timestamp => "timestamp",
            Self::Value => "value",
            Self::Metric => "metric",
            Self::Host => "host",
            Self::Device => "device",
            Self::Labels => "labels",
            Self::Series => "series",
        }
    }

    /// The column of `samples` with this name.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::SAMPLES.into_iter().find(|column| column.name() == name)
    }

    /// Whether all samples of a series share its value.
    pub(crate) fn is_of_series(self) -> bool {
        Self::SERIES.contains(&self)
    }

    fn field(self) -> Field {
        let (of, nullable) = match self {
            Self::Timestamp => (DataType::Timestamp(TimeUnit::Millisecond, Some(UTC.into())), false),
            Self::Value => (DataType::Float64, true),
            Self::Metric => (DataType::Utf8, false),
            Self::Host | Self::Device => (DataType::Utf8, true),
            Self::Labels => (LABELS.clone(), false),
            Self::Series => (DataType::UInt64, false),
        };
        Field::new(self.name(), of, nullable)
    }
}

/// The type that [`MapBuilder`] gives its maps.
static LABELS: LazyLock<DataType> = LazyLock::new(|| labels_builder().finish().data_type().clone());

fn labels_builder() -> MapBuilder<StringBuilder, StringBuilder> {
    MapBuilder::new(None, StringBuilder::new(), StringBuilder::new())
}

/// The schema of `samples`.
pub(crate) static SAMPLES: LazyLock<SchemaRef> = LazyLock::new(|| schema(&Column::SAMPLES));
/// The schema of `series`.
pub(crate) static SERIES: LazyLock<SchemaRef> = LazyLock::new(|| schema(&Column::SERIES));

pub(crate) fn schema(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(
        columns.iter().map(|column| column.field()).collect::<Fields>(),
    ))
}

/// Consecutive rows of one series.
pub(crate) struct Run {
    pub(crate) series: Arc<SeriesRow>,
    pub(crate) rows: usize,
}

/// What all samples of a series have in common.
pub(crate) struct SeriesRow {
    key: SeriesKey,
    labels: Labels,
}

impl SeriesRow {
    pub(crate) fn new(snapshot: &Snapshot, id: SeriesId) -> Self {
        Self {
            key: snapshot.key(id),
            labels: snapshot.labels(id),
        }
    }

    fn text(&self, column: Column) -> Option<&str> {
        match column {
            Column::Metric => Some(self.labels.metric()),
            Column::Host => host_of(&self.labels),
            _ => device_of(&self.labels),
        }
    }

    /// The upper half of the key: the same in every process, and short enough to join on.
    fn number(&self) -> u64 {
        (self.key.0 >> 64) as u64
    }
}

/// A batch of `schema`, whose columns are `columns`: samples by run.
pub(crate) fn batch(
    schema: &SchemaRef,
    columns: &[Column],
    runs: &[Run],
    timestamps: &[i64],
    values: &[f64],
) -> Result<RecordBatch, ArrowError> {
    let rows = runs.iter().map(|run| run.rows).sum();
    let arrays = columns
        .iter()
        .map(|column| -> Result<ArrayRef, ArrowError> {
            Ok(match column {
                Column::Timestamp => {
                    Arc::new(TimestampMillisecondArray::from_iter_values(timestamps.iter().copied()).with_timezone(UTC))
                }
                Column::Value => {
                    let mut builder = Float64Builder::with_capacity(rows);
                    for value in values {
                        builder.append_option((!is_stale(*value)).then_some(*value));
                    }
                    Arc::new(builder.finish())
                }
                Column::Series => {
                    let numbers = runs
                        .iter()
                        .flat_map(|run| std::iter::repeat_n(run.series.number(), run.rows));
                    Arc::new(UInt64Array::from_iter_values(numbers))
                }
                Column::Labels => labels(runs)?,
                Column::Metric | Column::Host | Column::Device => text(*column, runs, rows),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new_with_options(
        Arc::clone(schema),
        arrays,
        &RecordBatchOptions::new().with_row_count(Some(rows)),
    )
}

fn text(column: Column, runs: &[Run], rows: usize) -> ArrayRef {
    let bytes = runs
        .iter()
        .map(|run| run.series.text(column).unwrap_or("").len() * run.rows)
        .sum();
    let mut builder = StringBuilder::with_capacity(rows, bytes);
    for run in runs {
        match run.series.text(column) {
            Some(text) => (0..run.rows).for_each(|_| builder.append_value(text)),
            None => builder.append_nulls(run.rows),
        }
    }
    Arc::new(builder.finish())
}

/// All labels but the name of the metric, which is a column of its own.
fn labels(runs: &[Run]) -> Result<ArrayRef, ArrowError> {
    let mut builder = labels_builder();
    for run in runs {
        for _ in 0..run.rows {
            for (name, value) in run.series.labels.iter().filter(|(name, _)| *name != store::METRIC_NAME) {
                builder.keys().append_value(name);
                builder.values().append_value(value);
            }
            builder.append(true)?;
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// One row for each of `ids`, in the columns [`Column::SERIES`].
pub(crate) fn series_batch(snapshot: &Snapshot, ids: &[SeriesId]) -> Result<RecordBatch, ArrowError> {
    let runs: Vec<_> = ids
        .iter()
        .map(|id| Run {
            series: Arc::new(SeriesRow::new(snapshot, *id)),
            rows: 1,
        })
        .collect();
    batch(&SERIES, &Column::SERIES, &runs, &[], &[])
}
