//! What SQL sees beside samples: incidents, models, deliveries and silences, read from the tenant's state at each query; scores,
//! alerts, hosts and events, which are queries over samples, series and logs.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray, UInt16Array, UInt32Array,
};
use arrow::error::ArrowError;
use predict::incident::{Incident, IncidentBook};
use predict::registry::{Entry, Registry};
use sql::{RowsError, SqlEngine, SqlError};
use store::{State, Store};

use crate::models::role_name;
use crate::notify::{Delivery, Episode, Measure, Outbox};
use crate::silences::{Silence, SilenceBook};

/// Rows of `deliveries` and of `episodes`; the outbox keeps no more.
const DELIVERIES_MAX: usize = 10_000;
const EPISODES_MAX: usize = 50_000;

/// Tables that are queries over others: name and definition.
const VIEWS: [(&str, &str); 4] = [
    (
        "scores",
        "SELECT timestamp, host, device, labels['horizon'] AS horizon, labels['model'] AS model, value AS probability
         FROM samples WHERE metric = 'foreshock_failure_probability' AND value IS NOT NULL",
    ),
    (
        "alerts",
        "SELECT timestamp, labels['alertname'] AS alert, labels['alertstate'] AS state, host, device, labels
         FROM samples WHERE metric = 'ALERTS' AND value IS NOT NULL",
    ),
    (
        "events",
        "SELECT timestamp, host, attributes['device'] AS device, event, severity, level, body, attributes
         FROM logs WHERE event IS NOT NULL",
    ),
    (
        "hosts",
        "SELECT host, count(*) AS series, count(DISTINCT metric) AS metrics, count(DISTINCT device) AS devices
         FROM series WHERE host IS NOT NULL GROUP BY host",
    ),
];

/// `engine` with the tables `incidents`, `models`, `deliveries`, `episodes`, `silences`, `scores`, `alerts`, `hosts` and `events`.
///
/// # Errors
/// None in practice: [`SqlError`] when a table's columns or a definition make no sense, which a test rules out.
pub fn register(engine: SqlEngine) -> Result<SqlEngine, SqlError> {
    let engine = add(engine, "incidents", incidents, |state| {
        Ok(IncidentBook::open(state)?.all()?)
    })?;
    let engine = add(engine, "models", models, |state| Ok(Registry::open(state)?.list()?))?;
    let engine = add(engine, "deliveries", deliveries, |state| {
        Ok(Outbox::log(state, DELIVERIES_MAX)?)
    })?;
    let engine = add(engine, "episodes", episodes, |state| {
        Ok(Outbox::episodes(state, EPISODES_MAX)?)
    })?;
    let engine = add(engine, "silences", silences, |state| {
        Ok(SilenceBook::open(state)?.current(i64::MIN)?)
    })?;
    Ok(VIEWS.into_iter().fold(engine, |engine, (name, definition)| {
        engine.register_view(name, definition)
    }))
}

fn add<T: 'static>(
    engine: SqlEngine,
    name: &str,
    batch: fn(&[T]) -> Result<RecordBatch, ArrowError>,
    read: fn(&State) -> Result<Vec<T>, RowsError>,
) -> Result<SqlEngine, SqlError> {
    let broken = |error: ArrowError| SqlError::Internal {
        message: format!("the columns of {name} contradict each other: {error}"),
    };
    let schema = batch(&[]).map_err(broken)?.schema();
    let rows =
        move |store: &Arc<Store>| -> Result<Vec<RecordBatch>, RowsError> { Ok(vec![batch(&read(store.state())?)?]) };
    Ok(engine.register(name, schema, Arc::new(rows)))
}

fn incidents(rows: &[Incident]) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_from_iter_with_nullable([
        ("id", text(rows, |i| i.id.clone()), false),
        ("host", text(rows, |i| i.host.clone()), false),
        ("device", optional_text(rows, |i| i.device.clone()), true),
        ("start", time(rows, |i| Some(i.start)), false),
        ("end", time(rows, |i| i.end), true),
        ("kind", text(rows, |i| i.kind.clone()), false),
        ("source", text(rows, |i| i.source.to_string()), false),
        ("verdict", text(rows, |i| i.verdict.to_string()), false),
        ("summary", text(rows, |i| i.summary.clone()), false),
    ])
}

fn models(rows: &[Entry]) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_from_iter_with_nullable([
        ("id", number(rows, |m| m.id.0), false),
        ("name", text(rows, |m| m.name.clone()), false),
        ("family", text(rows, |m| m.family.clone()), false),
        ("horizon", text(rows, |m| m.horizon.to_string()), false),
        ("role", text(rows, |m| role_name(m.role).to_owned()), false),
        ("saved", time(rows, |m| Some(m.saved_ms)), false),
        ("trained_from", time(rows, |m| Some(m.trained_from_ms)), false),
        ("trained_to", time(rows, |m| Some(m.trained_to_ms)), false),
    ])
}

fn deliveries(rows: &[Delivery]) -> Result<RecordBatch, ArrowError> {
    let attempts: ArrayRef = Arc::new(UInt32Array::from_iter_values(rows.iter().map(|d| d.attempt)));
    let status: ArrayRef = Arc::new(rows.iter().map(|d| d.status).collect::<UInt16Array>());
    let seconds: ArrayRef = Arc::new(Float64Array::from_iter_values(rows.iter().map(|d| d.seconds)));
    RecordBatch::try_from_iter_with_nullable([
        ("id", number(rows, |d| d.id), false),
        ("at", time(rows, |d| Some(d.at_ms)), false),
        ("receiver", text(rows, |d| d.receiver.clone()), false),
        ("what", text(rows, |d| d.what.clone()), false),
        ("attempt", attempts, false),
        ("outcome", text(rows, |d| d.outcome.name().to_owned()), false),
        ("status", status, true),
        ("text", text(rows, |d| d.text.clone()), false),
        ("seconds", seconds, false),
    ])
}

fn episodes(rows: &[Episode]) -> Result<RecordBatch, ArrowError> {
    let seconds =
        |measure: Measure| -> ArrayRef { Arc::new(rows.iter().map(|e| measure.of(e)).collect::<Float64Array>()) };
    RecordBatch::try_from_iter_with_nullable([
        ("id", number(rows, |e| e.id), false),
        ("fingerprint", text(rows, |e| e.fingerprint.clone()), false),
        ("alert", text(rows, |e| e.alert.clone()), false),
        ("host", optional_text(rows, |e| e.host.clone()), true),
        ("service", optional_text(rows, |e| e.service.clone()), true),
        ("severity", optional_text(rows, |e| e.severity.clone()), true),
        ("since", time(rows, |e| e.since_ms), true),
        ("start", time(rows, |e| Some(e.starts_ms)), false),
        ("acknowledged", time(rows, |e| e.acknowledged_ms), true),
        (
            "acknowledged_by",
            optional_text(rows, |e| e.acknowledged_by.clone()),
            true,
        ),
        ("end", time(rows, |e| e.ends_ms), true),
        ("detect_seconds", seconds(Measure::Detect), true),
        ("acknowledge_seconds", seconds(Measure::Acknowledge), true),
        ("resolve_seconds", seconds(Measure::Resolve), true),
    ])
}

fn silences(rows: &[Silence]) -> Result<RecordBatch, ArrowError> {
    let matchers = |s: &Silence| serde_json::to_string(&s.conditions).unwrap_or_default();
    RecordBatch::try_from_iter_with_nullable([
        ("id", number(rows, |s| s.id), false),
        ("matchers", text(rows, matchers), false),
        ("starts", time(rows, |s| Some(s.starts_ms)), false),
        ("ends", time(rows, |s| Some(s.ends_ms)), false),
        ("created_by", text(rows, |s| s.created_by.clone()), false),
        ("comment", text(rows, |s| s.comment.clone()), false),
    ])
}

fn text<T>(rows: &[T], of: impl Fn(&T) -> String) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(rows.iter().map(of)))
}

fn optional_text<T>(rows: &[T], of: impl Fn(&T) -> Option<String>) -> ArrayRef {
    Arc::new(rows.iter().map(of).collect::<StringArray>())
}

fn number<T>(rows: &[T], of: impl Fn(&T) -> i64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(rows.iter().map(of)))
}

/// UTC as an offset, as the table of samples has it, so that times compare.
fn time<T>(rows: &[T], of: impl Fn(&T) -> Option<i64>) -> ArrayRef {
    Arc::new(
        rows.iter()
            .map(of)
            .collect::<TimestampMillisecondArray>()
            .with_timezone("+00:00"),
    )
}
