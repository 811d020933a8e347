//! The table `rollups`: a row a bucket of the time that samples are too old for.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use store::{Rolled, SeriesId, Snapshot, TimeRange};

use crate::columns::{Column, Run, SeriesRow, batch, schema};
use crate::tables::BySeries;

/// A batch ends with the series that brings it to so many rows.
const ROWS: usize = 8192;

/// What rows have in common with samples: the end of the bucket, and the series.
const COMMON: [Column; 6] = [
    Column::Timestamp,
    Column::Metric,
    Column::Host,
    Column::Device,
    Column::Labels,
    Column::Series,
];

/// The schema of `rollups`.
pub(crate) static ROLLUPS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let common = schema(&COMMON);
    let own = [
        Field::new("resolution_seconds", DataType::Int64, false),
        Field::new("count", DataType::UInt64, false),
        Field::new("sum", DataType::Float64, false),
        Field::new("min", DataType::Float64, false),
        Field::new("max", DataType::Float64, false),
    ];
    let fields = common.fields().iter().map(Arc::clone);
    Arc::new(Schema::new(fields.chain(own.map(Arc::new)).collect::<Fields>()))
});

/// The table of one snapshot.
pub(crate) fn table(snapshot: Snapshot) -> BySeries {
    BySeries::new(snapshot, &ROLLUPS, |snapshot, selection| {
        let ids = match snapshot.coarseness().until_ms() {
            Some(until_ms) if selection.range.start.0 <= until_ms => selection.series(&snapshot)?,
            _ => Vec::new(),
        };
        Ok(Arc::new(RollupRows {
            snapshot,
            ids: ids.into(),
            range: selection.range,
        }))
    })
}

/// The rows of `rollups`, read series by series.
#[derive(Debug)]
struct RollupRows {
    snapshot: Snapshot,
    ids: Arc<[SeriesId]>,
    range: TimeRange,
}

impl PartitionStream for RollupRows {
    fn schema(&self) -> &SchemaRef {
        &ROLLUPS
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let reader = Reader {
            snapshot: self.snapshot.clone(),
            ids: Arc::clone(&self.ids),
            range: self.range,
            next: 0,
        };
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&ROLLUPS),
            futures::stream::iter(reader),
        ))
    }
}

/// Reads a batch of several short series, or of a long one, at a time.
struct Reader {
    snapshot: Snapshot,
    ids: Arc<[SeriesId]>,
    range: TimeRange,
    next: usize,
}

impl Reader {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let (mut runs, mut rolled): (Vec<Run>, Rolled) = Default::default();
        while rolled.len() < ROWS {
            let Some(&id) = self.ids.get(self.next) else { break };
            self.next += 1;
            let before = rolled.len();
            self.snapshot
                .read_buckets(id, self.range, &mut rolled)
                .map_err(|error| DataFusionError::External(Box::new(error)))?;
            if rolled.len() > before {
                runs.push(Run {
                    series: Arc::new(SeriesRow::new(&self.snapshot, id)),
                    rows: rolled.len() - before,
                });
            }
        }
        if rolled.is_empty() {
            return Ok(None);
        }
        let common = batch(&schema(&COMMON), &COMMON, &runs, &rolled.ends, &[])?;
        let seconds = rolled.resolution_ms.iter().map(|ms| ms / 1000);
        let numbers = |values: &[f64]| -> ArrayRef { Arc::new(Float64Array::from(values.to_vec())) };
        let own: [ArrayRef; 5] = [
            Arc::new(Int64Array::from_iter_values(seconds)),
            Arc::new(UInt64Array::from_iter_values(
                rolled.counts.iter().map(|count| *count as u64),
            )),
            numbers(&rolled.sums),
            numbers(&rolled.mins),
            numbers(&rolled.maxs),
        ];
        let columns = common.columns().iter().map(Arc::clone).chain(own).collect();
        Ok(Some(RecordBatch::try_new(Arc::clone(&ROLLUPS), columns)?))
    }
}

impl Iterator for Reader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.next_batch();
        if batch.is_err() {
            self.next = self.ids.len();
        }
        batch.transpose()
    }
}
