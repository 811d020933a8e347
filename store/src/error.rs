//! What can go wrong in the store, and what its reader can do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::manifest::ManifestError;
use crate::part::PartError;
use crate::series::{LabelError, SeriesId};
use crate::state::StateError;

/// What a caller does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The input is wrong: fix it, a retry will not help.
    Invalid,
    /// Cannot be done now: retry later.
    Unavailable,
    /// Somebody else holds what is asked for.
    Conflict,
    /// Bytes on disk are damaged: restore.
    Corrupt,
    /// Anything else: report it.
    Internal,
}

/// A failed operation of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// An operation on a file or directory failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as "write" or "list".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file system has no space, or no quota, left.
    #[error("no space left to {action} {}", path.display())]
    StorageFull {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Samples cannot be written into parts as fast as they arrive, or not at all.
    #[error("the head holds {bytes} bytes, its limit is {limit}")]
    HeadFull {
        /// Bytes held.
        bytes: u64,
        /// The limit, `StoreOptions::head_bytes_max`.
        limit: u64,
    },
    /// Another process, or another store of this process, holds the directory.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The tenant has as many series as it may.
    #[error("the limit of {limit} series is reached")]
    TooManySeries {
        /// The limit, `StoreOptions::max_series`.
        limit: usize,
    },
    /// Labels that cannot name a series.
    #[error("invalid labels")]
    Label(#[from] LabelError),
    /// Rows that a table does not take.
    #[error("rows of table {table} are refused: {reason}")]
    Rows {
        /// The table.
        table: &'static str,
        /// Why.
        reason: String,
    },
    /// A file of a table cannot be written or read.
    #[error("cannot {action} {}", path.display())]
    TableFile {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What a caller does about it.
        kind: ErrorKind,
        /// What the Parquet library says.
        source: parquet::errors::ParquetError,
    },
    /// A series number that this store never gave out.
    #[error("series {} does not exist in this store", .0.0)]
    UnknownSeries(SeriesId),
    /// A batch was handed to a store other than the one that made it.
    #[error("the batch belongs to another store")]
    ForeignBatch,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// A tenant that does not exist.
    #[error("{} holds no tenant {name:?}", root.display())]
    NoTenant {
        /// The name.
        name: String,
        /// The data directory.
        root: PathBuf,
    },
    /// A tenant that a backup would overwrite.
    #[error("{} holds a tenant {name:?} already", root.display())]
    TenantExists {
        /// The name.
        name: String,
        /// The data directory.
        root: PathBuf,
    },
    /// A backup that another one would overwrite.
    #[error("{} exists already", path.display())]
    BackupExists {
        /// Its directory.
        path: PathBuf,
    },
    /// A backup whose files are not those that were written.
    #[error("backup file {}: {what}", path.display())]
    BackupDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A deletion that names more series than can be kept in mind until parts are rewritten.
    #[error("{series} series are meant, all deletions together may name {limit} until parts are rewritten")]
    TooManyDeleted {
        /// Series that it means.
        series: usize,
        /// The limit.
        limit: usize,
    },
    /// A tenant's name that is not allowed.
    #[error("invalid tenant name {name:?}")]
    TenantName {
        /// The name.
        name: String,
    },
    /// The manifest or a part cannot be written or read.
    #[error("the store's parts failed")]
    Parts {
        /// What a caller does about it.
        kind: ErrorKind,
        /// What its reader can do.
        hint: Option<&'static str>,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Bytes in memory are not what was written there.
    #[error("series {} in the head is damaged", .0.0)]
    DamagedHead(SeriesId),
    /// A defect ended the thread that was writing; whether the batch was kept is not known.
    #[error("the write was interrupted by a defect")]
    Interrupted,
    /// The thread of the store cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The small transactional state failed.
    #[error("the tenant's state failed")]
    State(#[from] StateError),
}

impl StoreError {
    /// An error of the file system at `path`, told apart from a full one.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::StorageFull { action, path, source },
            _ => Self::Io { action, path, source },
        }
    }

    /// The same error once more: a failed sync fails every batch that waited for it.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::StorageFull { action, path, source } | Self::Io { action, path, source } => {
                let source = match source.raw_os_error() {
                    Some(code) => io::Error::from_raw_os_error(code),
                    None => io::Error::new(source.kind(), source.to_string()),
                };
                Self::io(action, path, source)
            }
            other => Self::Parts {
                kind: other.kind(),
                hint: other.hint(),
                source: other.to_string().into(),
            },
        }
    }

    /// What a caller does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::StorageFull { .. } | Self::HeadFull { .. } | Self::TooManySeries { .. } | Self::Closed => {
                ErrorKind::Unavailable
            }
            Self::Locked { .. } | Self::TenantExists { .. } | Self::BackupExists { .. } => ErrorKind::Conflict,
            Self::BackupDamaged { .. } => ErrorKind::Corrupt,
            Self::TooManyDeleted { .. }
            | Self::Label(_)
            | Self::TenantName { .. }
            | Self::NoTenant { .. }
            | Self::Rows { .. } => ErrorKind::Invalid,
            Self::State(error) => error.kind(),
            Self::Parts { kind, .. } | Self::TableFile { kind, .. } => *kind,
            Self::Io { .. }
            | Self::UnknownSeries(_)
            | Self::ForeignBatch
            | Self::DamagedHead(_)
            | Self::Interrupted
            | Self::Thread(_) => ErrorKind::Internal,
        }
    }

    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::StorageFull { .. } => {
                Some("free space on the data directory's file system, or shorten the retention; queries go on")
            }
            Self::HeadFull { .. } => {
                Some("the store flushes; send again in a while, and look for earlier errors in the log")
            }
            Self::Locked { .. } => {
                Some("stop the other foreshock that uses this data directory, or give this one another with --data")
            }
            Self::TooManySeries { .. } => {
                Some("drop labels with many values at the sender, or raise the tenant's limit of series")
            }
            Self::TooManyDeleted { .. } => Some(
                "clean first (POST /api/v1/admin/tsdb/clean_tombstones), then delete in several steps; or delete the tenant",
            ),
            Self::TenantExists { .. } => Some("nothing is overwritten: restore into another directory with --data"),
            Self::BackupExists { .. } => Some("nothing is overwritten: name another directory"),
            Self::BackupDamaged { .. } => {
                Some("restore from another backup; tenants that are whole can be restored with --tenant")
            }
            Self::NoTenant { .. } => Some("`foreshock store inspect` lists the tenants of a data directory"),
            Self::TenantName { .. } => Some("use 1 to 64 of the characters a-z, 0-9, '_' and '-'"),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("give the user that runs foreshock the right to write the data directory")
            }
            Self::State(error) => error.hint(),
            Self::Parts { hint, .. } => *hint,
            Self::TableFile {
                kind: ErrorKind::Corrupt,
                ..
            } => Some("`foreshock store verify --repair` moves damaged files aside; restore them from a backup"),
            _ => None,
        }
    }
}

impl From<PartError> for StoreError {
    fn from(error: PartError) -> Self {
        match full(&error) {
            Some(source) => Self::StorageFull {
                action: "write",
                path: "parts".into(),
                source,
            },
            None => Self::Parts {
                kind: error.kind(),
                hint: error.hint(),
                source: error.into(),
            },
        }
    }
}

impl From<ManifestError> for StoreError {
    fn from(error: ManifestError) -> Self {
        match full(&error) {
            Some(source) => Self::StorageFull {
                action: "write",
                path: "manifest.json".into(),
                source,
            },
            None => Self::Parts {
                kind: error.kind(),
                hint: error.hint(),
                source: error.into(),
            },
        }
    }
}

/// Whether the file system being full is at the bottom of `error`.
fn full(error: &(dyn std::error::Error + 'static)) -> Option<io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<io::Error>() {
            Some(io) if matches!(io.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                return Some(io::Error::from(io.kind()));
            }
            _ => next = error.source(),
        }
    }
    None
}
