//! One tenant's samples and state.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::append::{Appended, Batch};
use crate::error::StoreError;
use crate::metadata::Metadata;
use crate::options::StoreOptions;
use crate::reader::Snapshot;
use crate::state::State;

/// One tenant's samples and state.
#[derive(Debug)]
pub struct Store {}

/// What opening a store found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Samples read back from the WAL.
    pub replayed_samples: u64,
    /// Where the last segment ended in the middle of a record: nothing acknowledged was lost, the tail was cut.
    pub torn_tail: Option<(PathBuf, u64)>,
    /// Places in the WAL whose bytes are damaged: what follows them in their segment is lost.
    pub damaged_segments: Vec<(PathBuf, u64)>,
    /// Parts that could not be opened and were moved aside.
    pub damaged_parts: Vec<PathBuf>,
}

/// Sizes of a store, all of them counted by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Series known, also those that have no recent samples.
    pub series: u64,
    /// Series with samples in the head.
    pub head_series: u64,
    /// Samples in the head.
    pub head_samples: u64,
    /// Bytes of samples in the head.
    pub head_bytes: u64,
    /// Parts.
    pub parts: u64,
    /// Samples in parts.
    pub part_samples: u64,
    /// Bytes of parts.
    pub part_bytes: u64,
    /// Bytes of WAL segments.
    pub wal_bytes: u64,
    /// WAL segments.
    pub wal_segments: u64,
    /// Samples accepted since the store was opened.
    pub appended_samples: u64,
    /// Samples refused since the store was opened.
    pub refused_samples: u64,
    /// Bytes written to the WAL since the store was opened.
    pub wal_written_bytes: u64,
    /// Bytes written into parts since the store was opened, by flushes and by merges.
    pub part_written_bytes: u64,
}

impl Store {
    /// Opens the store in `dir`, one tenant's directory, which is created where it does not exist.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process holds it; [`StoreError::Io`] when it cannot be read. Damaged bytes are no
    /// error: they are reported by [`Store::open_report`] and in the log.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<Arc<Self>, StoreError> {
        let _ = (dir, options);
        todo!()
    }

    /// What opening found.
    #[must_use]
    pub fn open_report(&self) -> &OpenReport {
        todo!()
    }

    /// The tenant: the name of the directory.
    #[must_use]
    pub fn tenant(&self) -> &str {
        todo!()
    }

    /// The tenant's small transactional state.
    #[must_use]
    pub fn state(&self) -> &State {
        todo!()
    }

    /// An empty batch.
    #[must_use]
    pub fn batch(&self) -> Batch {
        todo!()
    }

    /// Makes a batch durable, then visible. Blocks until the WAL is synced: call it on a thread that may block.
    ///
    /// # Errors
    /// Nothing of the batch was kept when this fails.
    pub fn append(&self, batch: Batch) -> Result<Appended, StoreError> {
        let _ = batch;
        todo!()
    }

    /// The store as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        todo!()
    }

    /// Remembers what a metric is. It is written with the next batch.
    pub fn set_metadata(&self, metric: &str, metadata: Metadata) {
        let _ = (metric, metadata);
        todo!()
    }

    /// What is known of every metric.
    #[must_use]
    pub fn metadata(&self) -> BTreeMap<String, Metadata> {
        todo!()
    }

    /// Writes all acknowledged samples into parts.
    ///
    /// # Errors
    /// When a part cannot be written; the samples stay in WAL and head.
    pub fn flush(&self) -> Result<(), StoreError> {
        todo!()
    }

    /// Merges parts until there is nothing left to merge.
    ///
    /// # Errors
    /// When a part cannot be read or written; the parts stay as they were.
    pub fn compact(&self) -> Result<(), StoreError> {
        todo!()
    }

    /// Stops the store's thread and refuses appends from then on. What was acknowledged is durable already.
    ///
    /// # Errors
    /// None at present.
    pub fn close(&self) -> Result<(), StoreError> {
        todo!()
    }

    /// Sizes.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        todo!()
    }
}
