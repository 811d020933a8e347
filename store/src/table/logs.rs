//! Builds rows of the table `logs`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Builder, MapBuilder, RecordBatch, StringBuilder, TimestampNanosecondBuilder};

use super::Table;
use super::definition::UTC;
use crate::error::StoreError;

/// One record of a log.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogRecord<'a> {
    /// When it happened, nanoseconds since 1970.
    pub timestamp_ns: i64,
    /// When the collector saw it.
    pub observed_ns: Option<i64>,
    /// The host that it is about.
    pub host: Option<&'a str>,
    /// The service that wrote it.
    pub service: Option<&'a str>,
    /// 1 (trace) to 24 (fatal), as OpenTelemetry's data model has it.
    pub severity: Option<i32>,
    /// The severity as its source calls it.
    pub level: Option<&'a str>,
    /// What kind of event it is, where it is one.
    pub event: Option<&'a str>,
    /// What it says; JSON where it is no text.
    pub body: Option<&'a str>,
    /// The library or receiver that it comes from.
    pub scope: Option<&'a str>,
    /// Trace and span that it belongs to, in hexadecimal.
    pub trace_id: Option<&'a str>,
    /// The span.
    pub span_id: Option<&'a str>,
}

/// Rows of `logs`, one after the other.
#[derive(Debug)]
pub struct LogRows {
    timestamp: TimestampNanosecondBuilder,
    observed: TimestampNanosecondBuilder,
    severity: Int32Builder,
    host: StringBuilder,
    service: StringBuilder,
    level: StringBuilder,
    event: StringBuilder,
    body: StringBuilder,
    scope: StringBuilder,
    trace_id: StringBuilder,
    span_id: StringBuilder,
    attributes: MapBuilder<StringBuilder, StringBuilder>,
    resource: MapBuilder<StringBuilder, StringBuilder>,
    rows: usize,
    bytes: usize,
}

impl Default for LogRows {
    fn default() -> Self {
        let map = || MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        Self {
            timestamp: TimestampNanosecondBuilder::new(),
            observed: TimestampNanosecondBuilder::new(),
            severity: Int32Builder::new(),
            host: StringBuilder::new(),
            service: StringBuilder::new(),
            level: StringBuilder::new(),
            event: StringBuilder::new(),
            body: StringBuilder::new(),
            scope: StringBuilder::new(),
            trace_id: StringBuilder::new(),
            span_id: StringBuilder::new(),
            attributes: map(),
            resource: map(),
            rows: 0,
            bytes: 0,
        }
    }
}

impl LogRows {
    /// Bytes that a record takes, about.
    #[must_use]
    pub fn bytes_of(record: &LogRecord<'_>, attributes: &[(&str, String)], resource: &[(String, String)]) -> usize {
        let texts = [
            record.host,
            record.service,
            record.level,
            record.event,
            record.body,
            record.scope,
        ];
        let texts: usize = texts.into_iter().flatten().map(str::len).sum();
        let attributes: usize = attributes
            .iter()
            .map(|(name, value)| name.len() + value.len() + 8)
            .sum();
        let resource: usize = resource.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
        // Times, offsets and identifiers take about as much in every record.
        160 + texts + attributes + resource
    }

    /// Adds a record with its attributes and those of its resource.
    ///
    /// # Errors
    /// None in practice: every key of the maps has its value.
    pub fn push(
        &mut self,
        record: &LogRecord<'_>,
        attributes: &[(&str, String)],
        resource: &[(String, String)],
    ) -> Result<(), StoreError> {
        for (name, value) in attributes {
            self.attributes.keys().append_value(name);
            self.attributes.values().append_value(value);
        }
        for (name, value) in resource {
            self.resource.keys().append_value(name);
            self.resource.values().append_value(value);
        }
        let ended = self.attributes.append(true).and_then(|()| self.resource.append(true));
        ended.map_err(refused)?;
        self.timestamp.append_value(record.timestamp_ns);
        self.observed.append_option(record.observed_ns);
        self.severity.append_option(record.severity);
        self.host.append_option(record.host);
        self.service.append_option(record.service);
        self.level.append_option(record.level);
        self.event.append_option(record.event);
        self.body.append_option(record.body);
        self.scope.append_option(record.scope);
        self.trace_id.append_option(record.trace_id);
        self.span_id.append_option(record.span_id);
        self.rows += 1;
        self.bytes += Self::bytes_of(record, attributes, resource);
        Ok(())
    }

    /// How many records were pushed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Bytes that they take, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether none was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The rows, for [`Store::append_rows`](crate::Store::append_rows).
    ///
    /// # Errors
    /// None in practice: all columns are of one length.
    pub fn finish(mut self) -> Result<RecordBatch, StoreError> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.timestamp.finish().with_timezone(UTC)),
            Arc::new(self.observed.finish().with_timezone(UTC)),
            Arc::new(self.host.finish()),
            Arc::new(self.service.finish()),
            Arc::new(self.severity.finish()),
            Arc::new(self.level.finish()),
            Arc::new(self.event.finish()),
            Arc::new(self.body.finish()),
            Arc::new(self.attributes.finish()),
            Arc::new(self.resource.finish()),
            Arc::new(self.scope.finish()),
            Arc::new(self.trace_id.finish()),
            Arc::new(self.span_id.finish()),
        ];
        RecordBatch::try_new(Table::Logs.schema(), columns).map_err(refused)
    }
}

fn refused(error: arrow::error::ArrowError) -> StoreError {
    StoreError::Rows {
        table: Table::Logs.name(),
        reason: error.to_string(),
    }
}
