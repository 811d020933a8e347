//! `wide('metric', ...)`: samples with a column a label and a column a metric, made when a query asks for it.
//!
//! ```sql
//! SELECT * FROM wide('node_memory_%') WHERE host = 'db-1'
//! ```
//! Each argument names a metric, or several by `%`. A row is what was sampled at one time with the same labels: metrics that
//! share both stand side by side, which is what one scrape of one family gives.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::plan_err;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, col, lit, when};
use store::{METRIC_NAME, MatchOp, Matcher, Snapshot};

use crate::EVER;
use crate::columns::Column;
use crate::samples::SamplesTable;

/// Most columns of labels, and most of metrics.
const COLUMNS_MAX: usize = 256;

/// The table function.
#[derive(Debug)]
pub(crate) struct Wide {
    pub(crate) snapshot: Snapshot,
}

impl TableFunctionImpl for Wide {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let metrics = self.metrics(args.exprs())?;
        if metrics.is_empty() {
            return plan_err!("wide: there is no such metric; SELECT DISTINCT metric FROM series lists them");
        }
        let labels = self.labels(&metrics)?;
        for (what, n) in [("metrics", metrics.len()), ("labels", labels.len())] {
            if n > COLUMNS_MAX {
                return plan_err!(
                    "wide: {n} {what} would be as many columns, the limit is {COLUMNS_MAX}: name fewer metrics"
                );
            }
        }
        let names: Vec<Expr> = metrics.iter().map(lit).collect();
        let label = |name: &String| get_field(col(Column::Labels.name()), name.clone()).alias(column_of(name));
        let mut keys = vec![col("timestamp"), col("host"), col("device")];
        keys.extend(labels.iter().map(label));
        let values = metrics
            .iter()
            .map(|metric| {
                let value = when(col("metric").eq(lit(metric)), col("value")).end()?;
                Ok(max(value).alias(metric))
            })
            .collect::<Result<Vec<_>>>()?;
        let samples = Arc::new(SamplesTable::new(self.snapshot.clone()));
        let plan = LogicalPlanBuilder::scan("samples", provider_as_source(samples), None)?
            .filter(col("metric").in_list(names, false))?
            .aggregate(keys, values)?
            .build()?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}

impl Wide {
    /// The metrics that the arguments name, in the order of their names.
    fn metrics(&self, arguments: &[Expr]) -> Result<BTreeSet<String>> {
        let mut metrics = BTreeSet::new();
        for argument in arguments {
            let text = match argument {
                Expr::Literal(value, _) => value.try_as_str().flatten(),
                _ => None,
            };
            let Some(name) = text else {
                return plan_err!("wide takes names of metrics as text, for example wide('node_memory_%')");
            };
            let matcher = if name.contains('%') {
                Matcher::new(MatchOp::Re, METRIC_NAME, pattern(name)).map_err(external)?
            } else {
                Matcher::eq(METRIC_NAME, name)
            };
            let found = self.snapshot.label_values(METRIC_NAME, &[matcher], EVER);
            metrics.extend(found.map_err(external)?.into_iter().map(str::to_owned));
        }
        Ok(metrics)
    }

    /// The names of all labels that series of `metrics` have.
    fn labels(&self, metrics: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        let mut labels = BTreeSet::new();
        for metric in metrics {
            let matcher = Matcher::eq(METRIC_NAME, metric.as_str());
            labels.extend(self.snapshot.label_names(&[matcher], EVER).map_err(external)?);
        }
        labels.remove(METRIC_NAME);
        Ok(labels)
    }
}

/// The column of a label: its name, unless a column has that already.
fn column_of(label: &str) -> String {
    match Column::of_name(label) {
        Some(_) => format!("label_{label}"),
        None => label.to_owned(),
    }
}

/// `%` stands for any text, everything else for itself.
fn pattern(name: &str) -> String {
    let parts: Vec<String> = name.split('%').map(crate::filter::escape).collect();
    parts.join(".*")
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
