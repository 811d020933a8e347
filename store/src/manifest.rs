//! Which parts are live: one small file, replaced atomically, the only commit point.
use std::path::{Path, PathBuf};

use crate::part::{PartId, PartMeta};

/// The durable list of live parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Format version.
    pub(crate) version: u32,
    /// The id that the next part gets.
    pub(crate) next_part: u64,
    /// Live parts by ascending rank: where two hold one sample, the later one in this list wins.
    pub(crate) parts: Vec<PartMeta>,
    /// Number of the first WAL segment that is not yet in parts.
    pub(crate) wal_from_segment: u64,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("cannot {action} {path}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
}

impl Manifest {
    /// Reads `dir/manifest.json`; a store without one is new and gets an empty manifest.
    pub(crate) fn load(dir: &Path) -> Result<Self, ManifestError> {
        let _ = dir;
        unimplemented!("coming within minutes")
    }
    /// Replaces `dir/manifest.json` atomically and durably.
    pub(crate) fn commit(&self, dir: &Path) -> Result<(), ManifestError> {
        let _ = dir;
        unimplemented!("coming within minutes")
    }
    /// Hands out the id of a new part.
    pub(crate) fn take_id(&mut self) -> PartId {
        let id = PartId(self.next_part);
        self.next_part += 1;
        id
    }
    /// Takes `gone` out and puts `new` in, in order of rank.
    pub(crate) fn replace(&mut self, gone: &[PartId], new: impl IntoIterator<Item = PartMeta>) {
        self.parts.retain(|p| !gone.contains(&p.id));
        self.parts.extend(new);
        self.parts.sort_by_key(|p| (p.rank, p.id));
    }
}

/// Removes part files and temporary files that the manifest does not list; returns what was removed. Call at open only, before
/// any part is being written.
pub(crate) fn sweep(dir: &Path, manifest: &Manifest) -> Result<Vec<PathBuf>, ManifestError> {
    let _ = (dir, manifest);
    unimplemented!("coming within minutes")
}

/// Removes the files of parts that a commit took out of the manifest (open readers keep their file handles).
pub(crate) fn remove_part_files(dir: &Path, ids: &[PartId]) -> Result<(), ManifestError> {
    let _ = (dir, ids);
    unimplemented!("coming within minutes")
}
