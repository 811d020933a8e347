//! Samples in, samples and Arrow batches out.
//!
//! ```text
//!            batch ─► judge ─► WAL, synced ─► head ─┐
//! Store::append                                     ├─► Snapshot: select series, read samples ─► promql, sql, predict
//!                      flush: head ─► part ─► merge ┘
//! ```
//!
//! What holds at every point:
//! - Acknowledged means synced: [`Store::append`] returns after the batch survives a power cut, and a start gives back exactly
//!   what was acknowledged.
//! - A snapshot never changes, and writers never wait for one.
//! - Of two samples with one series and timestamp the one written last counts, wherever the other one is.
//! - A part never changes. The manifest alone says which parts count, and WAL segments go only after it lists the parts that
//!   hold their samples.
//! - Damaged bytes cost what they held and nothing else; they are reported, and the store opens.
//! - Nothing here reads a clock but through [`Clock`], which judges how far ahead a sample is, and ages parts.
//!
//! ```
//! use foreshock_store::{Clock, LabelsBuf, Matcher, Samples, Store, StoreOptions, TimeRange};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let options = StoreOptions { clock: Clock::fixed(60_000), ..StoreOptions::default() };
//! let store = Store::open(&dir.path().join("default"), options)?;
//!
//! let mut labels = LabelsBuf::default();
//! labels.push("__name__", "up");
//! labels.push("host", "db-1");
//! let mut batch = store.batch();
//! let id = batch.series(&mut labels)?;
//! batch.push(id, 15_000, 1.0);
//! batch.push(id, 30_000, 0.0);
//! assert_eq!(store.append(batch)?.accepted, 2); // On disk from here on.
//!
//! let snapshot = store.snapshot();
//! let mut samples = Samples::default();
//! for id in snapshot.select(&[Matcher::eq("host", "db-1")], TimeRange::millis(0, 20_000))? {
//!     snapshot.read(id, TimeRange::millis(0, 20_000), &mut samples)?;
//! }
//! assert_eq!((samples.timestamps, samples.values), (vec![15_000], vec![1.0]));
//! # Ok(())
//! # }
//! ```

mod append;
mod background;
mod backup;
#[cfg(feature = "bench")]
pub mod bench;
mod changes;
mod chunk;
mod codec;
mod compaction;
mod deletion;
mod disk;
mod error;
pub mod exchange;
mod exemplar;
mod flush;
mod head;
mod histogram;
mod identity;
mod index;
mod lock;
mod manifest;
mod metadata;
mod options;
mod part;
pub mod promql;
mod reader;
mod recent;
mod repair;
mod retention;
mod rollup;
mod segmented;
mod series;
mod series_table;
mod state;
mod store;
mod stream;
pub mod table;
mod telemetry;
mod tenants;
#[cfg(test)]
mod testing;
mod verify;
mod wal;

pub use append::{Appended, Batch, RefuseReason, Refused};
pub use backup::{Backup, restore};
pub use error::{ErrorKind, StoreError};
pub use exemplar::Exemplar;
pub use histogram::{
    BUCKETS_MAX, Bucket, CUSTOM_SCHEMA, Histogram, HistogramError, Histograms, ResetHint, SCHEMA_MAX, SCHEMA_MIN, Span,
};
pub use identity::{DEVICE_LABELS, HOST_LABELS, device_of, host_of};
pub use metadata::{Metadata, MetricKind};
pub use options::{Clock, StoreOptions, WalSync};
pub use reader::Snapshot;
pub use repair::{Repair, RepairedPart, RepairedTable, repair};
pub use retention::RetentionRule;
pub use rollup::RollupOptions;
pub use rollup::read::{Coarseness, Rolled, RolledColumn};
pub use series::*;
pub use state::{State, StateError};
pub use store::{OpenReport, Store, StoreStats};
pub use tenants::{Tenants, is_tenant_name};
pub use verify::{
    Inspection, LevelSummary, PartSummary, Problem, SegmentSummary, TableSummary, Verification, inspect, tenant_dirs,
    verify,
};
