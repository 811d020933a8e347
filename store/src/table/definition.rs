//! Which tables there are, and their columns.

use std::sync::{Arc, LazyLock};

use arrow::array::{MapBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// UTC as an offset: names of time zones need a database that Arrow does not carry here.
pub(super) const UTC: &str = "+00:00";

/// A table that rows are appended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Records of logs, as OpenTelemetry's data model has them.
    Logs,
    /// What operators did or tried to do.
    Audit,
}

/// `timestamp` (nanoseconds, UTC), `observed`, `host`, `service`, `severity` (1 to 24: OpenTelemetry's data model), `level`,
/// `event`, `body`, `attributes`, `resource`, `scope`, `trace_id`, `span_id` (hexadecimal).
static LOGS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        Field::new("timestamp", time(), false),
        Field::new("observed", time(), true),
        text("host"),
        text("service"),
        Field::new("severity", DataType::Int32, true),
        text("level"),
        text("event"),
        text("body"),
        Field::new("attributes", map(), false),
        Field::new("resource", map(), false),
        text("scope"),
        text("trace_id"),
        text("span_id"),
    ]))
});

/// `timestamp` (nanoseconds, UTC), `actor`, `action`, `object`, `outcome`, `status`, `detail`.
static AUDIT: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        Field::new("timestamp", time(), false),
        text("actor", true),
        text("action", false),
        text("object", true),
        text("outcome", false),
        Field::new("status", DataType::Int32, false),
        Field::new("detail", map(), false),
    ]))
});

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into()))
}

/// The type that [`MapBuilder`] gives its maps.
fn map() -> DataType {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    arrow::array::Array::data_type(&builder.finish()).clone()
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Logs, Self::Audit];

    /// What it is called in SQL, in the WAL and in the names of files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Audit => "audit",
        }
    }

    /// The table that is called `name`.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// Its columns; the first is `timestamp`, in nanoseconds, and is never NULL.
    #[must_use]
    pub fn schema(self) -> SchemaRef {
        match self {
            Self::Logs => Arc::clone(&LOGS),
            Self::Audit => Arc::clone(&AUDIT),
        }
    }
}
