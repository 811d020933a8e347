//! Append-only tables as DataFusion sees them: the files of a table that the time of a query leaves, and rows that are in none yet.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchema;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::object_store::path::Path;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;
use store::TimeRange;
use store::table::{TableFile, TableSnapshot};

use crate::EVER;
use crate::filter::{intersect, time_bounds, unqualified};

/// A table of one snapshot.
#[derive(Debug)]
pub(crate) struct AppendedTable {
    pub(crate) snapshot: TableSnapshot,
}

impl AppendedTable {
    /// Files that may hold rows within `range`. Rows have nanoseconds, and conditions were rounded to milliseconds.
    fn files(&self, range: TimeRange) -> Vec<&Arc<TableFile>> {
        const MILLI: i64 = 1_000_000;
        let from = range.start.0.saturating_sub(1).saturating_mul(MILLI);
        let to = range.end.0.saturating_add(2).saturating_mul(MILLI);
        let overlaps = |file: &&Arc<TableFile>| {
            let (t_min, t_max) = file.time_range_ns();
            t_min <= to && t_max >= from
        };
        self.snapshot.files.iter().filter(overlaps).collect()
    }
}

#[async_trait]
impl TableProvider for AppendedTable {
    fn schema(&self) -> SchemaRef {
        self.snapshot.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Files, row groups and pages are left out by them; rows are decided above.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.schema();
        let range = filters
            .iter()
            .filter_map(time_bounds)
            .fold(EVER, |range, (bounds, _)| intersect(range, bounds));
        let in_memory = MemorySourceConfig::try_new_exec(
            std::slice::from_ref(&self.snapshot.rows),
            Arc::clone(&schema),
            projection.cloned(),
        )?;
        let files = self.files(range);
        if files.is_empty() {
            return Ok(in_memory);
        }
        let mut source = ParquetSource::new(Arc::clone(&schema))
            .with_pushdown_filters(true)
            .with_reorder_filters(true);
        let conditions = filters.iter().map(unqualified).collect::<Result<Vec<_>>>()?;
        if let Some(condition) = conjunction(conditions) {
            let columns = DFSchema::try_from(Arc::clone(&schema))?;
            source = source.with_predicate(state.create_physical_expr(condition, &columns)?);
        }
        let partitions = state.config().target_partitions().clamp(1, files.len());
        let mut groups: Vec<Vec<PartitionedFile>> = vec![Vec::new(); partitions];
        for (i, file) in files.into_iter().enumerate() {
            // Held by the plan, so that a merge does not take the file away from under it.
            let mut read = PartitionedFile::new("", file.bytes()).with_extension(Held(Arc::clone(file)));
            read.object_meta.location = Path::from_absolute_path(std::path::absolute(file.path())?)?;
            groups[i % partitions].push(read);
        }
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        UnionExec::try_new(vec![in_memory, DataSourceExec::from_data_source(config)])
    }
}

/// Keeps a file as long as a plan that reads it.
#[derive(Debug)]
struct Held(#[expect(dead_code, reason = "it is dropped with the plan, and not before")] Arc<TableFile>);

#[cfg(test)]
mod tests;
