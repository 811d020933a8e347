//! A part: one immutable Parquet file of chunk rows, and the table of its series in a second one beside it.
//!
//! ```text
//! <dir>/parts/0000000007.parquet          a row a chunk, sorted by (metric, host, labels, start); values uncompressed, so that
//!                                         a chunk is one positioned read
//! <dir>/parts/0000000007.series.parquet   a row a series, in the same order, with the number of its chunks
//! ```
//! `dir` is the directory of the store, here and in the manifest and in compaction. Both files are synced before the manifest
//! lists the part; neither changes afterwards. Every byte is drawn in `FORMAT.md`.

mod cut;
mod directory;
mod file;
mod histograms;
mod reader;
mod rollups;
mod table;
mod times;
mod writer;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod golden_histograms;
#[cfg(test)]
mod golden_pages;
#[cfg(test)]
mod golden_rollups;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::chunk::ChunkError;
use crate::disk;
use crate::{ErrorKind, Labels, host_of};

pub(crate) use file::guarded;
pub(crate) use reader::Part;
pub(crate) use rollups::rollups_dir;
pub(crate) use writer::PartWriter;

/// Version of the format of both files: 4 of rollups. A part has the oldest version that knows all of its codecs, so
/// that older readers know as many parts as they can.
pub(crate) const FORMAT_VERSION: u32 = 4;
/// The first version with values in pages.
pub(crate) const FORMAT_VERSION_PAGES: u32 = 3;
/// The first version with histograms.
pub(crate) const FORMAT_VERSION_HISTOGRAMS: u32 = 2;
/// The version without either.
pub(crate) const FORMAT_VERSION_OLDEST: u32 = 1;

/// The number of a part within its store; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct PartId(pub(crate) u64);

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.0)
    }
}

/// How much time a part is meant to cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Level {
    /// As flushed from the head: about two hours.
    #[serde(rename = "2h")]
    Flushed,
    /// One day, UTC.
    #[serde(rename = "1d")]
    Day,
    /// Thirty days, counted from 1970-01-01 UTC.
    #[serde(rename = "30d")]
    Month,
}

impl Level {
    /// All levels, the shortest first.
    pub(crate) const ALL: [Self; 3] = [Self::Flushed, Self::Day, Self::Month];

    /// Length of the level's window in milliseconds.
    pub(crate) const fn window_ms(self) -> i64 {
        const HOUR_MS: i64 = 3_600_000;
        match self {
            Self::Flushed => 2 * HOUR_MS,
            Self::Day => 24 * HOUR_MS,
            Self::Month => 30 * 24 * HOUR_MS,
        }
    }

    /// As files and reports name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Flushed => "2h",
            Self::Day => "1d",
            Self::Month => "30d",
        }
    }
}

/// What the manifest knows of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartMeta {
    /// Its number.
    pub(crate) id: PartId,
    /// Which part wins where two hold a sample of one series and timestamp: the higher rank. A flushed part ranks by its own id,
    /// a merged one as the highest of those that it was made of. The manifest lists parts by ascending rank, so that a reader
    /// that goes through them in order lets later ones win.
    pub(crate) rank: u64,
    /// How much time it is meant to cover.
    pub(crate) level: Level,
    /// Timestamp of its first sample, milliseconds.
    pub(crate) t_min: i64,
    /// Timestamp of its last sample, milliseconds.
    pub(crate) t_max: i64,
    /// Series in it.
    pub(crate) series: u32,
    /// Chunks in it.
    pub(crate) chunks: u64,
    /// Samples in it.
    pub(crate) samples: u64,
    /// Bytes of both files.
    pub(crate) bytes: u64,
}

/// Why a part could not be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartError {
    /// The file system failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file is no Parquet, or not of the shape of a part.
    #[error("cannot {action} part file {}", path.display())]
    Parquet {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the Parquet library says.
        source: parquet::errors::ParquetError,
    },
    /// The file says something that no writer writes.
    #[error("part file {} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A chunk cannot be decoded although its checksum holds.
    #[error("part file {}, chunk row {row}", path.display())]
    Chunk {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
        /// What is wrong.
        source: ChunkError,
    },
    /// The file was written by a newer foreshock.
    #[error("part file {} has format version {version}, this foreshock reads up to {FORMAT_VERSION}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The caller hands over series or samples that a part cannot take.
    #[error("cannot write part file {}: {what}", path.display())]
    Order {
        /// The file.
        path: PathBuf,
        /// What is out of order.
        what: String,
    },
}

impl PartError {
    /// What a caller does about it.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } if is_full(source) => ErrorKind::Unavailable,
            Self::Io { .. } | Self::Order { .. } => ErrorKind::Internal,
            Self::Parquet { .. } | Self::Damaged { .. } | Self::Chunk { .. } => ErrorKind::Corrupt,
            Self::Newer { .. } => ErrorKind::Invalid,
        }
    }

    /// Whether the file itself is damaged or gone, so that no later attempt can read it.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
            || self.kind() == ErrorKind::Corrupt
    }

    /// Which part it is about, by the name of its file.
    pub(crate) fn part(&self) -> Option<PartId> {
        let (Self::Io { path, .. }
        | Self::Parquet { path, .. }
        | Self::Damaged { path, .. }
        | Self::Chunk { path, .. }
        | Self::Newer { path, .. }
        | Self::Order { path, .. }) = self;
        id_of_file(path.file_name()?.to_str()?)
    }

    /// What its reader can do.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Io { source, .. } if is_full(source) => {
                Some("free space on the data directory's file system, or shorten the retention; queries go on")
            }
            Self::Newer { .. } => Some("run the foreshock that wrote this data directory, or a newer one"),
            Self::Parquet { .. } | Self::Damaged { .. } | Self::Chunk { .. } => {
                Some("run `foreshock store verify` to see what is damaged, then restore the part from a backup")
            }
            Self::Io { .. } | Self::Order { .. } => None,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// Where the part files of the store in `dir` lie.
pub(crate) fn parts_dir(dir: &Path) -> PathBuf {
    dir.join("parts")
}

/// The file of chunk rows.
pub(crate) fn chunks_path(dir: &Path, id: PartId) -> PathBuf {
    parts_dir(dir).join(format!("{id}.parquet"))
}

/// The file of series.
pub(crate) fn series_path(dir: &Path, id: PartId) -> PathBuf {
    parts_dir(dir).join(format!("{id}.series.parquet"))
}

/// The part that a file in the parts directory belongs to, by its name.
pub(crate) fn id_of_file(name: &str) -> Option<PartId> {
    let number = name
        .strip_suffix(".series.parquet")
        .or_else(|| name.strip_suffix(".parquet"))?;
    number
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| number.parse().ok().map(PartId))?
}

/// The order of series in a part: by (metric, host, labels).
pub(crate) fn series_order(a: &Labels, b: &Labels) -> std::cmp::Ordering {
    a.metric()
        .cmp(b.metric())
        .then_with(|| host_of(a).cmp(&host_of(b)))
        .then_with(|| a.cmp(b))
}

/// Moves the files of a part that cannot be opened aside, as `*.quarantined`, so that the store opens without it; returns their
/// new names. Take the part out of the manifest afterwards.
///
/// # Errors
/// [`PartError::Io`] where a file that exists cannot be renamed.
pub(crate) fn quarantine(dir: &Path, id: PartId) -> Result<Vec<PathBuf>, PartError> {
    let mut moved = Vec::new();
    for path in [chunks_path(dir, id), series_path(dir, id)] {
        let mut name = path.clone().into_os_string();
        name.push(".quarantined");
        let aside = PathBuf::from(name);
        match disk::rename(&path, &aside) {
            Ok(()) => moved.push(aside),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(PartError::io("move aside", &path, source)),
        }
    }
    disk::sync_dir(&parts_dir(dir)).map_err(|source| PartError::io("sync", &parts_dir(dir), source))?;
    Ok(moved)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
