//! The table `samples`: a row a sample, read series by series.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties,
};
use store::{Samples, SeriesId, Snapshot, TimeRange};

use crate::EVER;
use crate::columns::{Column, Run, SAMPLES, SeriesRow, batch, schema};
use crate::filter::{Selection, intersect, support};

/// Fewer series than this are not worth another thread.
const SERIES_PER_PARTITION: usize = 16;

/// The samples of one snapshot as a table.
#[derive(Debug)]
pub(crate) struct SamplesTable {
    snapshot: Snapshot,
}

impl SamplesTable {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self { snapshot }
    }
}

#[async_trait]
impl TableProvider for SamplesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&SAMPLES)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters.iter().map(|filter| support(filter)).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns: Vec<Column> = match projection {
            Some(columns) => columns.iter().map(|i| Column::SAMPLES[*i]).collect(),
            None => Column::SAMPLES.to_vec(),
        };
        let selection = Selection::new(state, filters)?;
        let series = selection.series(&self.snapshot)?;
        let partitions = (series.len() / SERIES_PER_PARTITION).clamp(1, state.config().target_partitions());
        Ok(Arc::new(SamplesExec::new(
            &self.snapshot,
            columns,
            selection,
            series,
            partitions,
            limit,
        )))
    }
}

/// About so many samples of a series are read at a time, so that a long one need not fit into memory: 1 MiB a partition.
const STRETCH_SAMPLES: i64 = 1 << 16;

/// The first stretch of a series, of which nothing is known: a day.
const STRETCH_MS: i64 = 24 * 60 * 60 * 1000;

/// No stretch is longer, or samples that follow a long silence would all be read at once: 30 days.
const STRETCH_MS_MAX: i64 = 30 * STRETCH_MS;

/// Reads the samples of a list of series within a range of time.
#[derive(Clone)]
struct SamplesExec {
    snapshot: Snapshot,
    columns: Arc<[Column]>,
    schema: SchemaRef,
    range: TimeRange,
    shown: Vec<String>,
    series: Arc<[SeriesId]>,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl SamplesExec {
    fn new(
        snapshot: &Snapshot,
        columns: Vec<Column>,
        selection: Selection,
        series: Vec<SeriesId>,
        partitions: usize,
        limit: Option<usize>,
    ) -> Self {
        let schema = schema(&columns);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            snapshot: snapshot.clone(),
            columns: columns.into(),
            schema,
            range: selection.range,
            shown: selection.shown,
            series: series.into(),
            limit,
            properties: Arc::new(properties),
        }
    }
}

impl fmt::Debug for SamplesExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Verbose, f)
    }
}

impl DisplayAs for SamplesExec {
    fn fmt_as(&self, form: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<_> = self.columns.iter().map(|column| column.name()).collect();
        if matches!(form, DisplayFormatType::TreeRender) {
            return writeln!(f, "series={}", self.series.len());
        }
        write!(
            f,
            "SamplesExec: columns=[{}], series={}",
            columns.join(", "),
            self.series.len()
        )?;
        for condition in &self.shown {
            write!(f, ", {condition}")?;
        }
        if self.range.start > EVER.start {
            write!(f, ", from={}", self.range.start.0)?;
        }
        if self.range.end < EVER.end {
            write!(f, ", to={}", self.range.end.0)?;
        }
        if let Some(limit) = self.limit {
            write!(f, ", limit={limit}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for SamplesExec {
    fn name(&self) -> &'static str {
        "SamplesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let partitions = self.properties.partitioning.partition_count();
        let (from, to) = (
            self.series.len() * partition / partitions,
            self.series.len() * (partition + 1) / partitions,
        );
        let reader = Reader::new(self.clone(), from..to, context.session_config().batch_size());
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            futures::stream::iter(reader),
        )))
    }
}

/// The batches of one partition, a step at a time.
struct Reader {
    exec: SamplesExec,
    range: Option<TimeRange>,
    // The next series, and the end of them, as positions in the list.
    next: usize,
    to: usize,
    // A stretch of the current series, and how many of its samples are in batches already.
    samples: Samples,
    read: usize,
    current: Option<Current>,
    // Most rows of a batch, and of all batches to come.
    rows: usize,
    left: usize,
}

/// A series of which some has been read.
struct Current {
    id: SeriesId,
    // Made when there is a sample.
    row: Option<Arc<SeriesRow>>,
    // What is still to be read, and how much of it next.
    rest: Option<TimeRange>,
    stretch_ms: i64,
}

impl Reader {
    /// Reads the series at the positions `series` in batches of at most `rows`.
    fn new(exec: SamplesExec, series: std::ops::Range<usize>, rows: usize) -> Self {
        Self {
            next: series.start,
            to: series.end,
            samples: Samples::default(),
            read: 0,
            current: None,
            rows,
            left: exec.limit.unwrap_or(usize::MAX),
            // No stretch is read where nobody has samples.
            range: (exec.snapshot.time_range())
                .map(|all| intersect(all, exec.range))
                .filter(|range| range.start <= range.end),
            exec,
        }
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let wanted = self.rows.min(self.left);
        let wants = |column| self.exec.columns.contains(&column);
        let (wants_times, wants_values) = (wants(Column::Timestamp), wants(Column::Value));
        let (mut runs, mut timestamps, mut values): (Vec<Run>, Vec<i64>, Vec<f64>) = Default::default();
        let mut rows = 0;
        while rows < wanted {
            let Some(series) = self.series()? else { break };
            let n = (self.samples.len() - self.read).min(wanted - rows);
            let some = self.read..self.read + n;
            if wants_times {
                timestamps.extend_from_slice(&self.samples.timestamps[some.clone()]);
            }
            if wants_values {
                values.extend_from_slice(&self.samples.values[some]);
            }
            runs.push(Run { series, rows: n });
            self.read += n;
            rows += n;
        }
        if rows == 0 {
            return Ok(None);
        }
        self.left -= rows;
        Ok(Some(batch(
            &self.exec.schema,
            &self.exec.columns,
            &runs,
            &timestamps,
            &values,
        )?))
    }

    /// The series whose samples come next; it has at least one.
    fn series(&mut self) -> Result<Option<Arc<SeriesRow>>> {
        while self.read >= self.samples.len() {
            let current = match &mut self.current {
                Some(current) if current.rest.is_some() => current,
                _ if self.next >= self.to => return Ok(None),
                current => {
                    let id = self.exec.series[self.next];
                    self.next += 1;
                    current.insert(Current {
                        id,
                        row: None,
                        rest: self.range,
                        stretch_ms: STRETCH_MS,
                    })
                }
            };
            self.samples.clear();
            self.read = 0;
            let Some(stretch) = current.next_stretch() else {
                continue;
            };
            self.exec
                .snapshot
                .read(current.id, stretch, &mut self.samples)
                .map_err(|error| DataFusionError::External(Box::new(error)))?;
            current.saw(self.samples.len());
            if !self.samples.is_empty() && current.row.is_none() {
                current.row = Some(Arc::new(SeriesRow::new(&self.exec.snapshot, current.id)));
            }
        }
        Ok(self.current.as_ref().and_then(|current| current.row.clone()))
    }
}

impl Current {
    /// Takes the next stretch off the rest; none where nothing is left.
    fn next_stretch(&mut self) -> Option<TimeRange> {
        let rest = self.rest?;
        let end = rest.end.0.min(rest.start.0.saturating_add(self.stretch_ms - 1));
        self.rest = (end < rest.end.0).then(|| TimeRange::millis(end + 1, rest.end.0));
        Some(TimeRange::millis(rest.start.0, end))
    }

    /// Makes the next stretch as long as it has to be by the `samples` of this one.
    fn saw(&mut self, samples: usize) {
        let samples = (samples as i64).max(1);
        let wanted = self.stretch_ms.saturating_mul(STRETCH_SAMPLES) / samples;
        self.stretch_ms = wanted.clamp(1, STRETCH_MS_MAX);
    }
}

impl Iterator for Reader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.next_batch();
        if batch.is_err() {
            self.left = 0;
        }
        batch.transpose()
    }
}

#[cfg(test)]
mod tests;
