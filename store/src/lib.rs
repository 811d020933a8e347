//! Samples in, samples and Arrow batches out.

mod chunk;
mod codec;
mod compaction;
mod error;
mod head;
mod identity;
mod index;
mod manifest;
mod part;
pub mod promql;
mod reader;
mod retention;
mod series;
mod state;
mod tenants;
mod wal;

pub use series::*;
