//! Tables that are queries over the others.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::prelude::SessionContext;

use crate::error::SqlError;
use crate::rows::read_only;

/// A table that is a query.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) name: String,
    definition: String,
}

impl View {
    pub(crate) fn new(name: &str, definition: &str) -> Self {
        Self {
            name: name.to_owned(),
            definition: definition.to_owned(),
        }
    }

    /// Its columns, over the tables of `context`.
    pub(crate) async fn schema(&self, context: &SessionContext) -> Result<SchemaRef, SqlError> {
        let frame = context.sql_with_options(&self.definition, read_only()).await?;
        Ok(Arc::clone(frame.schema().inner()))
    }
}

/// Adds those of `views` to `context` that `sql` may speak of: planning them all for each query would be for nothing.
pub(crate) async fn register(context: &SessionContext, views: &[View], sql: &str) -> Result<(), SqlError> {
    let text = sql.to_ascii_lowercase();
    let lists_tables = text.contains("show") || text.contains("information_schema");
    for view in views.iter().filter(|view| lists_tables || text.contains(&view.name)) {
        let frame = context.sql_with_options(&view.definition, read_only()).await?;
        context.register_table(view.name.as_str(), frame.into_view())?;
    }
    Ok(())
}
