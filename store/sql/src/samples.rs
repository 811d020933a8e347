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
use crate::filter::{Selection, support};

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
        let reader = Reader {
            exec: self.clone(),
            next: from,
            to,
            samples: Samples::default(),
            read: 0,
            current: None,
            rows: context.session_config().batch_size(),
            left: self.limit.unwrap_or(usize::MAX),
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            futures::stream::iter(reader),
        )))
    }
}

/// The batches of one partition, a step at a time.
struct Reader {
    exec: SamplesExec,
    // The next series, and the end of them, as positions in the list.
    next: usize,
    to: usize,
    // Samples of the current series, and how many of them are in batches already.
    samples: Samples,
    read: usize,
    current: Option<Arc<SeriesRow>>,
    // Most rows of a batch, and of all batches to come.
    rows: usize,
    left: usize,
}

impl Reader {
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
            if self.next >= self.to {
                return Ok(None);
            }
            let id = self.exec.series[self.next];
            self.next += 1;
            self.samples.clear();
            self.read = 0;
            self.exec
                .snapshot
                .read(id, self.exec.range, &mut self.samples)
                .map_err(|error| DataFusionError::External(Box::new(error)))?;
            self.current = Some(Arc::new(SeriesRow::new(&self.exec.snapshot, id)));
        }
        Ok(self.current.as_ref().map(Arc::clone))
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
