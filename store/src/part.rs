//! A part: one immutable Parquet file of chunk rows, with the table of its series beside it.
//!
//! `dir` is the store's directory everywhere below; part files lie in `dir/parts/`.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::chunk::Chunk;
use crate::{Labels, Samples, SeriesKey, TimeRange};

/// The number of a part within its store; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub(crate) struct PartId(pub(crate) u64);

/// How much time a part is meant to cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub(crate) enum Level {
    /// As flushed from the head: about 2 h.
    #[serde(rename = "2h")]
    Flushed,
    /// One UTC day.
    #[serde(rename = "1d")]
    Day,
    /// 30 days.
    #[serde(rename = "30d")]
    Month,
}

/// What the manifest knows of a part.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct PartMeta {
    pub(crate) id: PartId,
    /// Which part wins where two hold a sample of one series and timestamp: the higher rank. A flushed part ranks by its own
    /// id, a merged one as the highest of those it was made of. `Manifest::parts` ascends by rank: read in that order, later wins.
    pub(crate) rank: u64,
    pub(crate) level: Level,
    pub(crate) t_min: i64,
    pub(crate) t_max: i64,
    pub(crate) series: u32,
    pub(crate) chunks: u64,
    pub(crate) samples: u64,
    /// Bytes of both files.
    pub(crate) bytes: u64,
}

/// Why a part could not be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartError {
    #[error("cannot {action} {path}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
}

#[derive(Debug)]
pub(crate) struct PartWriter {}

impl PartWriter {
    /// Starts a part. Its files count only once the manifest lists them.
    pub(crate) fn create(dir: &Path, id: PartId, level: Level, tenant: &str) -> Result<Self, PartError> {
        let _ = (dir, id, level, tenant);
        unimplemented!("coming within minutes")
    }
    /// Adds the next series, in order of (metric, host, labels), and returns its row.
    pub(crate) fn series(&mut self, key: SeriesKey, labels: &Labels) -> Result<u32, PartError> {
        let _ = (key, labels);
        unimplemented!("coming within minutes")
    }
    /// Adds a chunk of the series added last, in order of time.
    pub(crate) fn chunk(&mut self, row: u32, chunk: &Chunk) -> Result<(), PartError> {
        let _ = (row, chunk);
        unimplemented!("coming within minutes")
    }
    /// Adds samples of the series added last, cut into chunks as reading likes them (preferred over `chunk`: chunks of one host
    /// cut at the same instants share their timestamps on disk). Timestamps ascend strictly, also over calls.
    pub(crate) fn samples(&mut self, row: u32, timestamps: &[i64], values: &[f64]) -> Result<(), PartError> {
        let _ = (row, timestamps, values);
        unimplemented!("coming within minutes")
    }
    /// Writes what is left and syncs both files and their directory; commit the manifest after it.
    pub(crate) fn finish(self) -> Result<PartMeta, PartError> {
        unimplemented!("coming within minutes")
    }
}

/// The order in which series stand in a part: by (metric, host, labels).
pub(crate) fn series_order(a: &Labels, b: &Labels) -> std::cmp::Ordering {
    let _ = (a, b);
    unimplemented!("coming within minutes")
}

#[derive(Debug)]
pub(crate) struct Part {
    meta: PartMeta,
}

impl Part {
    pub(crate) fn open(dir: &Path, meta: &PartMeta) -> Result<Self, PartError> {
        let _ = (dir, meta);
        unimplemented!("coming within minutes")
    }
    pub(crate) fn meta(&self) -> &PartMeta {
        &self.meta
    }
    /// Keys by row; cheap, no labels are read.
    pub(crate) fn keys(&self) -> &[SeriesKey] {
        unimplemented!("coming within minutes")
    }
    /// Row, key and labels of every series, streamed.
    pub(crate) fn series(&self) -> Result<impl Iterator<Item = Result<(u32, SeriesKey, Labels), PartError>>, PartError> {
        Ok(std::iter::empty())
    }
    pub(crate) fn row_of(&self, key: SeriesKey) -> Option<u32> {
        let _ = key;
        unimplemented!("coming within minutes")
    }
    /// Appends the samples of `row` within `range`, ascending.
    pub(crate) fn read(&self, row: u32, range: TimeRange, out: &mut Samples) -> Result<(), PartError> {
        let _ = (row, range, out);
        unimplemented!("coming within minutes")
    }
}

/// Moves the files of a part that cannot be opened aside (`*.quarantined`), so that the store opens without it.
pub(crate) fn quarantine(dir: &Path, id: PartId) -> Result<Vec<PathBuf>, PartError> {
    let _ = (dir, id);
    unimplemented!("coming within minutes")
}

/// Shared by readers and compaction.
pub(crate) type SharedPart = Arc<Part>;
