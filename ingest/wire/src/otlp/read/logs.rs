//! Reads OTLP logs requests without copying them: `resource → scope → record → attribute`, each level when it is asked for.

use super::value::resource_of;
use super::{AnyValue, Attributes, Messages};
use crate::protobuf::{DecodeError, Fields};

/// The resources of an `ExportLogsServiceRequest`.
#[must_use]
pub fn request(body: &[u8]) -> Messages<'_, ResourceLogs<'_>> {
    Messages::new("ExportLogsServiceRequest", body, 1, ResourceLogs::read)
}

/// What one resource (a host, a process) logged.
#[derive(Clone, Copy, Debug)]
pub struct ResourceLogs<'a> {
    bytes: &'a [u8],
    /// Attributes of the resource, such as `host.name`.
    pub resource: Attributes<'a>,
}

impl<'a> ResourceLogs<'a> {
    const NAME: &'static str = "ResourceLogs";

    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let resource = resource_of(Self::NAME, bytes)?;
        Ok(Self { bytes, resource })
    }

    /// The instrumentation scopes of the resource.
    #[must_use]
    pub fn scopes(&self) -> Messages<'a, ScopeLogs<'a>> {
        Messages::new(Self::NAME, self.bytes, 2, ScopeLogs::read)
    }
}

/// What one instrumentation scope (a library, a receiver) logged.
#[derive(Clone, Copy, Debug)]
pub struct ScopeLogs<'a> {
    bytes: &'a [u8],
    /// Name of the scope, often empty.
    pub name: &'a str,
}

impl<'a> ScopeLogs<'a> {
    const NAME: &'static str = "ScopeLogs";

    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut name = "";
        for field in Fields::new(Self::NAME, bytes) {
            let field = field?;
            if field.number != 1 {
                continue;
            }
            for field in Fields::new("InstrumentationScope", field.bytes()?) {
                let field = field?;
                if field.number == 1 {
                    name = field.text()?;
                }
            }
        }
        Ok(Self { bytes, name })
    }

    /// The records of the scope.
    #[must_use]
    pub fn records(&self) -> Messages<'a, Record<'a>> {
        Messages::new(Self::NAME, self.bytes, 2, Record::read)
    }
}

/// One record of a log.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When it happened, nanoseconds since 1970; 0 where unknown.
    pub time_unix_nano: u64,
    /// When the collector saw it, nanoseconds since 1970; 0 where unknown.
    pub observed_time_unix_nano: u64,
    /// 1 (trace) to 24 (fatal); 0 where unknown.
    pub severity_number: i32,
    /// The severity as its source calls it, often empty.
    pub severity_text: &'a str,
    /// Name of the event, empty where it is none.
    pub event_name: &'a str,
    /// What it says.
    pub body: AnyValue<'a>,
    /// What was sent with it.
    pub attributes: Attributes<'a>,
    /// The trace that it belongs to: 16 bytes, or none.
    pub trace_id: &'a [u8],
    /// The span: 8 bytes, or none.
    pub span_id: &'a [u8],
}

impl<'a> Record<'a> {
    const NAME: &'static str = "LogRecord";

    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut record = Self {
            time_unix_nano: 0,
            observed_time_unix_nano: 0,
            severity_number: 0,
            severity_text: "",
            event_name: "",
            body: AnyValue::Empty,
            attributes: Attributes {
                message: Self::NAME,
                bytes,
                number: 6,
            },
            trace_id: &[],
            span_id: &[],
        };
        for field in Fields::new(Self::NAME, bytes) {
            let field = field?;
            match field.number {
                1 => record.time_unix_nano = field.fixed64()?,
                2 => record.severity_number = i32::try_from(field.varint()?).unwrap_or_default(),
                3 => record.severity_text = field.text()?,
                5 => record.body = AnyValue::read(field.bytes()?)?,
                9 => record.trace_id = field.bytes()?,
                10 => record.span_id = field.bytes()?,
                11 => record.observed_time_unix_nano = field.fixed64()?,
                12 => record.event_name = field.text()?,
                _ => {}
            }
        }
        Ok(record)
    }
}
