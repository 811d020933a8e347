//! The small tables: series, metrics, and those that other parts register.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use store::{SeriesId, Snapshot, Store};

use crate::columns::{SERIES, series_batch};
use crate::filter::{Selection, support};

/// Rows of `series` in a batch.
const SERIES_ROWS: usize = 8192;

/// A table of one snapshot, read by one thread, some series at a time.
pub(crate) struct BySeries {
    snapshot: Snapshot,
    schema: SchemaRef,
    rows: fn(Snapshot, &Selection) -> Result<Arc<dyn PartitionStream>>,
}

impl BySeries {
    /// `rows` gives what is selected.
    pub(crate) fn new(
        snapshot: Snapshot,
        schema: &SchemaRef,
        rows: fn(Snapshot, &Selection) -> Result<Arc<dyn PartitionStream>>,
    ) -> Self {
        Self {
            snapshot,
            schema: Arc::clone(schema),
            rows,
        }
    }

    /// The table `series`.
    pub(crate) fn series(snapshot: Snapshot) -> Self {
        Self::new(snapshot, &SERIES, |snapshot, selection| {
            let ids = selection.series(&snapshot)?.into();
            Ok(Arc::new(SeriesRows { snapshot, ids }))
        })
    }
}

impl fmt::Debug for BySeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BySeries")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for BySeries {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
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
        let selection = Selection::new(state, filters)?;
        let scan = StreamingTableExec::try_new(
            Arc::clone(&self.schema),
            vec![(self.rows)(self.snapshot.clone(), &selection)?],
            projection,
            std::iter::empty(),
            false,
            limit,
        )?;
        Ok(Arc::new(scan))
    }
}

/// The rows of `series`, a batch at a time: a store may know millions.
#[derive(Debug)]
struct SeriesRows {
    snapshot: Snapshot,
    ids: Arc<[SeriesId]>,
}

impl PartitionStream for SeriesRows {
    fn schema(&self) -> &SchemaRef {
        &SERIES
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (snapshot, ids) = (self.snapshot.clone(), Arc::clone(&self.ids));
        let batches = (0..ids.len()).step_by(SERIES_ROWS).map(move |from| {
            let some = &ids[from..ids.len().min(from + SERIES_ROWS)];
            Ok(series_batch(&snapshot, some)?)
        });
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&SERIES),
            futures::stream::iter(batches),
        ))
    }
}

fn in_memory(schema: &SchemaRef, batches: Vec<RecordBatch>) -> Result<MemTable> {
    MemTable::try_new(Arc::clone(schema), vec![batches])
}

/// What keeps a table from giving its rows.
pub type RowsError = Box<dyn Error + Send + Sync>;

/// Gives all rows of a table for one tenant.
pub type Rows = dyn Fn(&Arc<Store>) -> std::result::Result<Vec<RecordBatch>, RowsError> + Send + Sync;

/// A table that another part of the program fills when it is read.
#[derive(Clone)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) schema: SchemaRef,
    pub(crate) rows: Arc<Rows>,
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A [`Definition`] for one tenant.
#[derive(Debug)]
pub(crate) struct RowsTable {
    pub(crate) definition: Definition,
    pub(crate) store: Arc<Store>,
}

#[async_trait]
impl TableProvider for RowsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.definition.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let batches = (self.definition.rows)(&self.store).map_err(DataFusionError::External)?;
        in_memory(&self.definition.schema, batches)?
            .scan(state, projection, filters, limit)
            .await
    }
}

/// `metrics`: what senders say of their metrics.
pub(crate) fn metrics() -> Definition {
    let columns = ["metric", "kind", "unit", "help"];
    let fields: Vec<_> = columns
        .iter()
        .map(|name| Field::new(*name, DataType::Utf8, false))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let of = Arc::clone(&schema);
    let rows = move |store: &Arc<Store>| -> std::result::Result<Vec<RecordBatch>, RowsError> {
        let known = store.metadata();
        let column =
            |text: fn(&store::Metadata) -> &str| Arc::new(StringArray::from_iter_values(known.values().map(text)));
        let batch = RecordBatch::try_new(
            Arc::clone(&of),
            vec![
                Arc::new(StringArray::from_iter_values(known.keys())),
                column(|m| m.kind.as_str()),
                column(|m| &m.unit),
                column(|m| &m.help),
            ],
        )?;
        Ok(vec![batch])
    };
    Definition {
        name: "metrics".to_owned(),
        schema,
        rows: Arc::new(rows),
    }
}
