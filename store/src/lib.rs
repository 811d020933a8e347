//! Samples in, samples and Arrow batches out.

mod append;
mod background;
mod chunk;
mod codec;
mod compaction;
mod error;
mod flush;
mod head;
mod identity;
mod index;
mod lock;
mod manifest;
mod metadata;
mod options;
mod part;
pub mod promql;
mod reader;
mod retention;
mod segmented;
mod series;
mod series_table;
mod state;
mod store;
mod stream;
mod telemetry;
mod tenants;
#[cfg(test)]
mod testing;
mod wal;

pub use append::{Appended, Batch, RefuseReason, Refused};
pub use error::{ErrorKind, StoreError};
pub use identity::{DEVICE_LABELS, HOST_LABELS, device_of, host_of};
pub use metadata::{Metadata, MetricKind};
pub use options::{Clock, StoreOptions};
pub use reader::Snapshot;
pub use series::*;
pub use state::{State, StateError};
pub use store::{OpenReport, Store, StoreStats};
pub use tenants::{Tenants, is_tenant_name};
