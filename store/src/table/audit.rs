//! Builds rows of the table `audit`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, MapBuilder, RecordBatch, StringArray, StringBuilder, TimestampNanosecondArray,
};
use arrow::error::ArrowError;

use super::Table;
use super::definition::UTC;
use crate::error::StoreError;

/// Something that an operator did or tried to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditRecord<'a> {
    /// When it was asked for, nanoseconds since 1970.
    pub timestamp_ns: i64,
    /// Who asked for it, where that is known.
    pub actor: Option<&'a str>,
    /// What was asked for, such as `silence.create`.
    pub action: &'a str,
    /// Which one it was about: an id, a name.
    pub object: Option<&'a str>,
    /// `done`, `refused` or `failed`.
    pub outcome: &'a str,
    /// The status of the answer, as HTTP has it.
    pub status: u16,
    /// What else is known of it, by name.
    pub detail: &'a [(&'a str, String)],
}

impl AuditRecord<'_> {
    /// The record as a row, for [`Store::append_rows`](crate::Store::append_rows).
    ///
    /// # Errors
    /// None in practice: all columns are of one length.
    pub fn row(&self) -> Result<RecordBatch, StoreError> {
        self.columns().map_err(|error| StoreError::Rows {
            table: Table::Audit.name(),
            reason: error.to_string(),
        })
    }

    fn columns(&self) -> Result<RecordBatch, ArrowError> {
        let mut detail = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        for (name, value) in self.detail {
            detail.keys().append_value(name);
            detail.values().append_value(value);
        }
        detail.append(true)?;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampNanosecondArray::from(vec![self.timestamp_ns]).with_timezone(UTC)),
            Arc::new(StringArray::from(vec![self.actor])),
            Arc::new(StringArray::from(vec![self.action])),
            Arc::new(StringArray::from(vec![self.object])),
            Arc::new(StringArray::from(vec![self.outcome])),
            Arc::new(Int32Array::from(vec![i32::from(self.status)])),
            Arc::new(detail.finish()),
        ];
        RecordBatch::try_new(Table::Audit.schema(), columns)
    }
}
