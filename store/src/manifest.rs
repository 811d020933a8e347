//! Which parts are live: one small file, replaced atomically, the only commit point.
//!
//! ```text
//! {"crc32c":"8a9136aa","manifest":
//! {"version":1,"next_part":8,"wal_from_segment":3,"parts":[
//! {"id":7,"rank":7,"level":"2h",...}
//! ],"tables":[
//! {"id":8,"table":"logs",...}
//! ]}
//! }
//! ```
//! The checksum is of the bytes between the first line and the last one. A manifest that is missing or damaged is made again from
//! the footers of all parts: at worst parts come back that were merged already, and their samples are the same ones.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ErrorKind;
use crate::deletion::Deletion;
use crate::disk;
use crate::part::{Part, PartError, PartId, PartMeta, id_of_file, parts_dir, rollups_dir};
use crate::rollup::{DAY_MS, RollupMeta, end_of};
use crate::table::{self, file::TableFileMeta};
use crate::wal;

/// Newest version of the file's format. Without rollups version 3 is written, without tables 2, and without deletions 1, which says all
/// there is to say.
pub(crate) const MANIFEST_VERSION: u32 = 4;

const FILE: &str = "manifest.json";
const TEMPORARY: &str = "manifest.json.new";
const DAMAGED: &str = "manifest.json.damaged";

const HEAD: &str = r#"{"crc32c":""#;
const MIDDLE: &str = "\",\"manifest\":\n";
const TAIL: &str = "\n}\n";

/// The durable list of live parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Version of the file's format.
    pub(crate) version: u32,
    /// The number that the next part gets.
    pub(crate) next_part: u64,
    /// The first WAL segment whose samples are not all in parts.
    pub(crate) wal_from_segment: u64,
    /// Live parts by ascending rank: where two hold a sample of one series and timestamp, the later one in this list wins.
    pub(crate) parts: Vec<PartMeta>,
    /// What was deleted and may lie in parts still.
    #[serde(default)]
    pub(crate) deletions: Vec<Deletion>,
    /// Live files of append-only tables.
    #[serde(default)]
    pub(crate) tables: Vec<TableFileMeta>,
    /// Greater than `wal_from_segment` where the manifest was made again: rows in WAL segments before this one are in files of tables.
    #[serde(default)]
    pub(crate) rows_from_segment: u64,
    /// Live parts of rollups, by resolution, those of one by time.
    #[serde(default)]
    pub(crate) rollups: Vec<RollupMeta>,
    /// Up to this instant, the end of a day, rollups tell of time, and samples do not count any more.
    #[serde(default = "never")]
    pub(crate) rolled_until_ms: i64,
}

fn never() -> i64 {
    i64::MIN
}

/// Why the manifest could not be read or replaced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
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
    /// The manifest was written by a newer foreshock.
    #[error("{} has format version {version}, this foreshock reads up to {MANIFEST_VERSION}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

impl ManifestError {
    /// What a caller does about it.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. }
                if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                ErrorKind::Unavailable
            }
            Self::Io { .. } => ErrorKind::Internal,
            Self::Newer { .. } => ErrorKind::Invalid,
        }
    }

    /// What its reader can do.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Newer { .. } => Some("run the foreshock that wrote this data directory, or a newer one"),
            Self::Io { .. } if self.kind() == ErrorKind::Unavailable => {
                Some("free space on the data directory's file system, or shorten the retention; queries go on")
            }
            Self::Io { .. } => None,
        }
    }

    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            version: 1,
            next_part: 1,
            wal_from_segment: 0,
            parts: Vec::new(),
            deletions: Vec::new(),
            tables: Vec::new(),
            rows_from_segment: 0,
            rollups: Vec::new(),
            rolled_until_ms: never(),
        }
    }
}

/// What reading the manifest's file came to.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is whole.
    Whole(Manifest),
    /// There is none.
    Missing,
    /// It is there, but cut short or changed.
    Damaged,
}

impl Manifest {
    /// Reads the manifest of the store in `dir`. A new store gets an empty one. A damaged one is moved aside and made again from
    /// the parts, which is logged.
    ///
    /// # Errors
    /// [`ManifestError::Newer`], and [`ManifestError::Io`] where files exist but cannot be read.
    pub(crate) fn load(dir: &Path) -> Result<Self, ManifestError> {
        let path = dir.join(FILE);
        match Self::find(dir)? {
            Found::Whole(manifest) => return Ok(manifest),
            // A store that never committed may have a part all the same: it stopped in between.
            Found::Missing => {}
            Found::Damaged => {
                let aside = dir.join(DAMAGED);
                disk::rename(&path, &aside).map_err(|source| ManifestError::io("move aside", &path, source))?;
                tracing::error!(manifest = %path.display(), moved_to = %aside.display(), "the manifest is damaged");
            }
        }
        let manifest = Self::rebuild(dir)?;
        if !manifest.parts.is_empty() {
            tracing::warn!(manifest = %path.display(), parts = manifest.parts.len(), "the manifest was made again from part footers");
        }
        Ok(manifest)
    }

    /// Reads the manifest's file and changes nothing.
    ///
    /// # Errors
    /// As [`Manifest::load`].
    pub(crate) fn find(dir: &Path) -> Result<Found, ManifestError> {
        let path = dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(Found::Damaged),
            Err(source) => return Err(ManifestError::io("read", &path, source)),
        };
        let Some(body) = checked_body(&text) else {
            return Ok(Found::Damaged);
        };
        // The version alone first: the rest of a newer one may look otherwise.
        match serde_json::from_str::<Version>(body) {
            Ok(Version { version }) if version > MANIFEST_VERSION => {
                return Err(ManifestError::Newer { path, version });
            }
            _ => {}
        }
        Ok(serde_json::from_str(body).map_or(Found::Damaged, Found::Whole))
    }

    /// A manifest of all parts whose footers can be read. WAL segments that are still there are all replayed, which changes
    /// nothing where parts hold their samples already.
    fn rebuild(dir: &Path) -> Result<Self, ManifestError> {
        let mut manifest = Self::default();
        for id in part_files(dir)?
            .into_iter()
            .filter_map(|(_, id)| id)
            .collect::<BTreeSet<_>>()
        {
            manifest.next_part = manifest.next_part.max(id.0 + 1);
            match Part::read_meta(dir, id) {
                Ok(meta) => {
                    // A process that was killed may have left them whole and not synced. The next commit relies on them.
                    for path in [crate::part::chunks_path(dir, id), crate::part::series_path(dir, id)] {
                        disk::sync(&path).map_err(|source| ManifestError::io("sync", &path, source))?;
                    }
                    manifest.parts.push(meta);
                }
                Err(PartError::Newer { path, version }) => return Err(ManifestError::Newer { path, version }),
                // The sweep that follows must not take what may be all that is left of it.
                Err(error) => {
                    tracing::error!(part = id.0, error = %error, "a part is left out of the manifest and moved aside");
                    if let Err(error) = crate::part::quarantine(dir, id) {
                        tracing::error!(part = id.0, error = %error, "the part cannot be moved aside");
                    }
                }
            }
        }
        manifest.parts.sort_by_key(|part| (part.rank, part.id));
        manifest.rebuild_rollups(dir)?;
        if !manifest.parts.is_empty() {
            let parts = parts_dir(dir);
            disk::sync_dir(&parts).map_err(|source| ManifestError::io("sync", &parts, source))?;
        }
        let error = |source| ManifestError::io("read the tables of", dir, source);
        let found = table::file::find(dir, wal::first_segment(&dir.join("wal")).map_err(error)?).map_err(error)?;
        if let Some((path, version)) = found.newer {
            return Err(ManifestError::Newer { path, version });
        }
        manifest.next_part = manifest.next_part.max(found.next_id);
        manifest.tables = found.files;
        manifest.rows_from_segment = found.rows_from_segment;
        Ok(manifest)
    }

    /// Parts of rollups whose footers can be read; the border is the end of the day that they reach into.
    fn rebuild_rollups(&mut self, dir: &Path) -> Result<(), ManifestError> {
        let dir = rollups_dir(dir);
        let ids: BTreeSet<PartId> = part_files(&dir)?.into_iter().filter_map(|(_, id)| id).collect();
        for id in &ids {
            self.next_part = self.next_part.max(id.0 + 1);
            match Part::read_rollup_meta(&dir, *id) {
                Ok(meta) => {
                    for path in [crate::part::chunks_path(&dir, *id), crate::part::series_path(&dir, *id)] {
                        disk::sync(&path).map_err(|source| ManifestError::io("sync", &path, source))?;
                    }
                    self.rolled_until_ms = self.rolled_until_ms.max(end_of(meta.part.t_max, DAY_MS));
                    self.add_rebuilt(meta);
                }
                Err(PartError::Newer { path, version }) => return Err(ManifestError::Newer { path, version }),
                Err(error) => {
                    tracing::error!(part = id.0, error = %error, "a part of rollups is left out of the manifest and moved aside");
                    if let Err(error) = crate::part::quarantine(&dir, *id) {
                        tracing::error!(part = id.0, error = %error, "the part cannot be moved aside");
                    }
                }
            }
        }
        self.sort_rollups();
        if self.rollups.is_empty() {
            return Ok(());
        }
        let parts = parts_dir(&dir);
        disk::sync_dir(&parts).map_err(|source| ManifestError::io("sync", &parts, source))
    }

    /// Of two parts of rollups that tell of the same time, the later one was merged from the earlier one, and both would count twice.
    fn add_rebuilt(&mut self, meta: RollupMeta) {
        self.rollups.retain(|known| {
            known.resolution_ms != meta.resolution_ms
                || known.part.t_max < meta.part.t_min
                || meta.part.t_max < known.part.t_min
        });
        self.rollups.push(meta);
    }

    /// By resolution, the coarser first, then by time.
    pub(crate) fn sort_rollups(&mut self) {
        self.rollups
            .sort_by_key(|meta| (std::cmp::Reverse(meta.resolution_ms), meta.part.t_min, meta.part.id));
    }

    /// Replaces the manifest of the store in `dir`, atomically and durably. After an error the old one still holds.
    ///
    /// # Errors
    /// [`ManifestError::Io`].
    pub(crate) fn commit(&self, dir: &Path) -> Result<(), ManifestError> {
        let (path, temporary) = (dir.join(FILE), dir.join(TEMPORARY));
        let write = |temporary: &Path| {
            let mut file = disk::create(temporary)?;
            file.write_all(self.text().as_bytes())?;
            // Before the rename, or a crash could leave the name on an empty file.
            file.sync_all()
        };
        write(&temporary).map_err(|source| ManifestError::io("write", &temporary, source))?;
        disk::rename(&temporary, &path).map_err(|source| ManifestError::io("replace", &path, source))?;
        disk::sync_dir(dir).map_err(|source| ManifestError::io("sync", dir, source))
    }

    /// The first WAL segment whose rows of tables are not all in files.
    pub(crate) fn rows_from(&self) -> u64 {
        self.wal_from_segment.max(self.rows_from_segment)
    }

    /// Hands out the number of a new part. It counts once a commit follows.
    pub(crate) fn take_id(&mut self) -> PartId {
        let id = PartId(self.next_part);
        self.next_part += 1;
        id
    }

    /// Takes parts out and puts others in.
    pub(crate) fn replace(&mut self, gone: &[PartId], new: impl IntoIterator<Item = PartMeta>) {
        self.parts.retain(|part| !gone.contains(&part.id));
        self.parts.extend(new);
        self.parts.sort_by_key(|part| (part.rank, part.id));
    }

    fn text(&self) -> String {
        // Numbers, names, and no map with keys of its own: serialising cannot fail.
        let parts: Vec<String> = self
            .parts
            .iter()
            .map(|part| serde_json::to_string(part).unwrap_or_default())
            .collect();
        let (mut version, mut deletions) = (1, String::new());
        if !self.deletions.is_empty() {
            // A version that does not know of deletions must not show what was deleted.
            version = 2;
            deletions = serde_json::to_string(&self.deletions).unwrap_or_default();
            deletions = format!("\"deletions\":{deletions},");
        }
        if !self.tables.is_empty() || self.rows_from_segment > self.wal_from_segment {
            // One that does not know of tables must not forget their files.
            version = 3;
        }
        if !self.rollups.is_empty() || self.rolled_until_ms > never() {
            // One that does not know of rollups must not show samples again that they replaced.
            version = 4;
        }
        let mut body = format!(
            "{{\"version\":{version},\"next_part\":{},\"wal_from_segment\":{},{deletions}\"parts\":[\n{}\n]",
            self.next_part,
            self.wal_from_segment,
            parts.join(",\n")
        );
        if !self.tables.is_empty() {
            let tables: Vec<String> = self
                .tables
                .iter()
                .map(|file| serde_json::to_string(file).unwrap_or_default())
                .collect();
            body += &format!(",\"tables\":[\n{}\n]", tables.join(",\n"));
        }
        if self.rows_from_segment > self.wal_from_segment {
            body += &format!(",\"rows_from_segment\":{}", self.rows_from_segment);
        }
        if self.rolled_until_ms > never() {
            body += &format!(",\"rolled_until_ms\":{}", self.rolled_until_ms);
        }
        if !self.rollups.is_empty() {
            let rollups: Vec<String> = self
                .rollups
                .iter()
                .map(|meta| serde_json::to_string(meta).unwrap_or_default())
                .collect();
            body += &format!(",\"rollups\":[\n{}\n]", rollups.join(",\n"));
        }
        body.push('}');
        format!("{HEAD}{:08x}{MIDDLE}{body}{TAIL}", crc32c::crc32c(body.as_bytes()))
    }
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

fn checked_body(text: &str) -> Option<&str> {
    let (crc, rest) = text.strip_prefix(HEAD)?.split_at_checked(8)?;
    let body = rest.strip_prefix(MIDDLE)?.strip_suffix(TAIL)?;
    (crc == format!("{:08x}", crc32c::crc32c(body.as_bytes()))).then_some(body)
}

/// Removes what a crash left: part files that the manifest does not list, and a manifest that was not finished. Returns what was
/// removed. Call it when the store opens, before any part is being written; files of other names, quarantined ones too, stay.
///
/// # Errors
/// [`ManifestError::Io`].
pub(crate) fn sweep(dir: &Path, manifest: &Manifest) -> Result<Vec<PathBuf>, ManifestError> {
    let mut garbage: Vec<PathBuf> = part_files(dir)?
        .into_iter()
        .filter(|(_, id)| id.is_some_and(|id| manifest.parts.iter().all(|part| part.id != id)))
        .map(|(path, _)| path)
        .collect();
    let rollups = part_files(&rollups_dir(dir))?;
    garbage.extend(
        rollups
            .into_iter()
            .filter(|(_, id)| id.is_some_and(|id| manifest.rollups.iter().all(|meta| meta.part.id != id)))
            .map(|(path, _)| path),
    );
    garbage.push(dir.join(TEMPORARY));
    let mut removed = Vec::new();
    for path in garbage {
        match disk::remove_file(&path) {
            Ok(()) => removed.push(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(ManifestError::io("remove", &path, source)),
        }
    }
    Ok(removed)
}

/// Removes the files of parts after a commit took them out of the manifest; those who have them open read on.
///
/// # Errors
/// [`ManifestError::Io`]; what is left is swept when the store opens again.
pub(crate) fn remove_part_files(dir: &Path, ids: &[PartId]) -> Result<(), ManifestError> {
    for path in ids
        .iter()
        .flat_map(|&id| [crate::part::chunks_path(dir, id), crate::part::series_path(dir, id)])
    {
        match disk::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(ManifestError::io("remove", &path, source));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The files of the parts directory, and which part each belongs to, by its name.
pub(crate) fn part_files(dir: &Path) -> Result<Vec<(PathBuf, Option<PartId>)>, ManifestError> {
    let parts = parts_dir(dir);
    let entries = match fs::read_dir(&parts) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(ManifestError::io("list", &parts, source)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry
            .map_err(|source| ManifestError::io("list", &parts, source))?
            .path();
        let id = path.file_name().and_then(|name| id_of_file(name.to_str()?));
        files.push((path, id));
    }
    files.sort();
    Ok(files)
}
