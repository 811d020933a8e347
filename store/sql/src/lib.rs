//! SQL over the store through DataFusion.
//!
//! ```text
//! SQL ─► parse, plan (read-only) ─► SamplesTable::scan ─► Snapshot::select ─► SamplesExec ─► batches ─► Answer
//!                                   (time, metric, host, device, labels pushed down)     (bounded)
//! ```
//!
//! Tables of a tenant:
//! - `samples(timestamp, value, metric, host, device, labels, series)`, a row a sample;
//! - `series(series, metric, host, device, labels)`, a row a series;
//! - `rollups(timestamp, resolution_seconds, count, sum, min, max, metric, host, device, labels, series)`, a row a bucket of the time of
//!   which samples are too old to be kept one by one;
//! - `logs(timestamp, host, level, body, attributes, ...)`, a row a record of a log (`store::table`);
//! - `audit(timestamp, actor, action, object, outcome, status, detail)`, a row a thing that an operator did;
//! - `metrics(metric, kind, unit, help)`, what senders say of their metrics;
//! - `wide('metric', ...)`, a column a label and a column a metric;
//! - whatever [`SqlEngine::register`] and [`SqlEngine::register_view`] add.
//!
//! Invariants:
//! - A query sees one snapshot, and every acknowledged sample that was not overwritten or dropped exactly once.
//! - Nothing can be written, set or read from files through SQL.
//! - Memory, spilled bytes, time and rows of a query are bounded by [`SqlOptions`]; a query that is dropped stops.
//! - A staleness marker is a row whose `value` is NULL.
//!
//! ```
//! use foreshock_sql::{SqlEngine, SqlOptions};
//! use store::{LabelsBuf, Store, StoreOptions};
//!
//! let dir = tempfile::tempdir()?;
//! let store = Store::open(dir.path(), StoreOptions::default())?;
//! let (mut batch, mut labels) = (store.batch(), LabelsBuf::default());
//! labels.push("__name__", "up");
//! labels.push("host", "a");
//! let up = batch.series(&mut labels)?;
//! batch.push(up, 1_000, 1.0);
//! store.append(batch)?;
//!
//! let engine = SqlEngine::new(SqlOptions::default())?;
//! let answer = engine.query_blocking(&store, "SELECT host, max(value) FROM samples WHERE metric = 'up' GROUP BY host")?;
//! assert_eq!(answer.rows(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod appended;
mod columns;
mod engine;
mod error;
mod filter;
pub mod flight;
mod rollups;
mod rows;
mod samples;
mod tables;
mod views;
mod wide;

pub use engine::{Query, SqlEngine, SqlOptions};
pub use error::{SqlError, SqlErrorKind};
pub use rows::{Answer, RowStream};
pub use tables::{Rows, RowsError};

/// All of time that holds samples: the store also knows series that have none yet, whose range lies outside of this.
const EVER: store::TimeRange = store::TimeRange::millis(i64::MIN + 1, i64::MAX);

#[cfg(test)]
mod tests;
