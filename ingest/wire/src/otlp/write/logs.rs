//! Writes OTLP logs requests: one resource, one scope, record by record.

use super::{attributes_len, put_attributes};
use crate::protobuf::{
    bytes_field_len, put_bytes_field, put_fixed64_field, put_message_key, put_varint_field, varint_len,
};

/// One record of a log, as it is sent. What is empty or 0 is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record<'a> {
    /// When it happened, nanoseconds since 1970 UTC.
    pub time_unix_nano: u64,
    /// When it was seen, nanoseconds since 1970 UTC.
    pub observed_time_unix_nano: u64,
    /// 1 (trace) to 24 (fatal).
    pub severity_number: u8,
    /// The severity as its source calls it.
    pub severity_text: &'a str,
    /// Name of the event.
    pub event_name: &'a str,
    /// What it says.
    pub body: &'a str,
    /// What is sent with it.
    pub attributes: &'a [(&'a str, &'a str)],
}

/// Builds the bytes of an `ExportLogsServiceRequest`. It may be used again after [`LogsWriter::finish`].
///
/// ```
/// use foreshock_wire::otlp::{read::logs, write::logs::{LogsWriter, Record}};
///
/// let mut writer = LogsWriter::new(&[("host.name", "gpu-17")], "kernel");
/// writer.record(&Record { time_unix_nano: 1, severity_number: 17, event_name: "gpu_xid", body: "Xid 79", ..Record::default() });
/// let body = writer.finish();
/// for resource in logs::request(&body) {
///     for scope in resource?.scopes() {
///         for record in scope?.records() {
///             assert_eq!(record?.event_name, "gpu_xid");
///         }
///     }
/// }
/// # Ok::<(), foreshock_wire::DecodeError>(())
/// ```
#[derive(Debug, Default)]
pub struct LogsWriter {
    resource: Vec<u8>,
    scope: Vec<u8>,
    records: Vec<u8>,
}

impl LogsWriter {
    /// A writer for a resource with these attributes. `scope` names what tells of the events.
    #[must_use]
    pub fn new(resource: &[(&str, &str)], scope: &str) -> Self {
        let mut writer = Self::default();
        put_attributes(&mut writer.resource, 1, resource);
        if !scope.is_empty() {
            put_bytes_field(&mut writer.scope, 1, scope.as_bytes());
        }
        writer
    }

    /// Adds a record.
    pub fn record(&mut self, record: &Record<'_>) -> &mut Self {
        let out = &mut self.records;
        put_message_key(out, 2, record_len(record));
        if record.time_unix_nano != 0 {
            put_fixed64_field(out, 1, record.time_unix_nano);
        }
        if record.severity_number != 0 {
            put_varint_field(out, 2, u64::from(record.severity_number));
        }
        if !record.severity_text.is_empty() {
            put_bytes_field(out, 3, record.severity_text.as_bytes());
        }
        if !record.body.is_empty() {
            put_message_key(out, 5, bytes_field_len(record.body.len()));
            put_bytes_field(out, 1, record.body.as_bytes());
        }
        put_attributes(out, 6, record.attributes);
        if record.observed_time_unix_nano != 0 {
            put_fixed64_field(out, 11, record.observed_time_unix_nano);
        }
        if !record.event_name.is_empty() {
            put_bytes_field(out, 12, record.event_name.as_bytes());
        }
        self
    }

    /// The request with all records so far; without any it has no bytes, which is a valid message.
    pub fn finish(&mut self) -> Vec<u8> {
        if self.records.is_empty() {
            return Vec::new();
        }
        let optional = |bytes: &[u8]| {
            if bytes.is_empty() {
                0
            } else {
                bytes_field_len(bytes.len())
            }
        };
        let scope_logs = optional(&self.scope) + self.records.len();
        let resource_logs = optional(&self.resource) + bytes_field_len(scope_logs);
        let mut out = Vec::with_capacity(bytes_field_len(resource_logs));
        put_message_key(&mut out, 1, resource_logs);
        if !self.resource.is_empty() {
            put_bytes_field(&mut out, 1, &self.resource);
        }
        put_message_key(&mut out, 2, scope_logs);
        if !self.scope.is_empty() {
            put_bytes_field(&mut out, 1, &self.scope);
        }
        out.append(&mut self.records);
        out
    }
}

fn record_len(record: &Record<'_>) -> usize {
    let fixed = |value: u64| if value == 0 { 0 } else { 9 };
    let text = |text: &str| {
        if text.is_empty() {
            0
        } else {
            bytes_field_len(text.len())
        }
    };
    let severity = match record.severity_number {
        0 => 0,
        number => 1 + varint_len(u64::from(number)),
    };
    let body = match record.body.len() {
        0 => 0,
        length => bytes_field_len(bytes_field_len(length)),
    };
    fixed(record.time_unix_nano)
        + fixed(record.observed_time_unix_nano)
        + severity
        + text(record.severity_text)
        + body
        + text(record.event_name)
        + attributes_len(record.attributes)
}

#[cfg(test)]
mod tests;
