//! Makes a damaged store whole again, at the price of what was damaged.
//!
//! A start does most of it by itself: it cuts a torn WAL tail, makes a lost manifest again, and moves parts aside that cannot be opened.
//! Here every chunk is read as well. A part with damaged ones is moved aside, and what can be read of it goes into a new part in its
//! place.

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::deletion::Deleted;
use crate::error::StoreError;
use crate::histogram::Histograms;
use crate::lock::DirLock;
use crate::manifest::{Found, Manifest, sweep};
use crate::part::{Part, PartError, PartMeta, PartWriter, quarantine};
use crate::series::{Samples, TimeRange};
use crate::table;
use crate::verify::Count;
use crate::wal;

/// What a repair did; all empty where nothing was wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Whether the manifest was lost and made again from the parts.
    pub manifest_made_again: bool,
    /// Parts that were moved aside.
    pub parts: Vec<RepairedPart>,
    /// Files of append-only tables that were moved aside.
    pub tables: Vec<RepairedTable>,
    /// Where the last WAL segment was cut: what followed was never acknowledged.
    pub torn_tail: Option<(PathBuf, u64)>,
    /// Places in the WAL from which on a segment cannot be read; what follows there is lost.
    pub damaged_segments: Vec<(PathBuf, u64)>,
}

/// A part that was moved aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairedPart {
    /// Its files under their new names.
    pub files: Vec<PathBuf>,
    /// What is wrong with it.
    pub what: String,
    /// Samples that it had.
    pub samples: u64,
    /// Samples that are in a new part now.
    pub saved: u64,
}

/// A file of an append-only table that was moved aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairedTable {
    /// The file under its new name; `None` where it was missing.
    pub file: Option<PathBuf>,
    /// What is wrong with it.
    pub what: String,
    /// Rows that it had.
    pub rows: u64,
}

impl Repair {
    /// Whether nothing was wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

/// Repairs the store in `dir`, one tenant's directory.
///
/// # Errors
/// [`StoreError::Locked`] while a server runs on it; and where files cannot be read, written or moved for other reasons than damage.
pub fn repair(dir: &Path) -> Result<Repair, StoreError> {
    let _lock = DirLock::acquire(dir)?;
    let mut done = Repair {
        manifest_made_again: matches!(Manifest::find(dir)?, Found::Damaged),
        ..Repair::default()
    };
    let mut manifest = Manifest::load(dir)?;
    if done.manifest_made_again {
        manifest.commit(dir)?;
    }
    sweep(dir, &manifest)?;
    let deleted = Deleted::new(&manifest.deletions);
    for meta in manifest.parts.clone() {
        let (part, problem) = match Part::open(dir, &meta) {
            Ok(part) => {
                let problem = part.verify().into_iter().next();
                (Some(part), problem)
            }
            Err(error) if error.is_damage() => (None, Some(error)),
            Err(error) => return Err(error.into()),
        };
        let Some(problem) = problem else { continue };
        if !problem.is_damage() {
            return Err(problem.into());
        }
        let saved = match part {
            Some(part) => save(dir, &part, &mut manifest, &deleted)?,
            None => None,
        };
        let saved_samples = saved.as_ref().map_or(0, |saved| saved.samples);
        // The order of a merge: what replaces the part is there and named before the part goes.
        manifest.replace(&[meta.id], saved);
        manifest.commit(dir)?;
        done.parts.push(RepairedPart {
            files: quarantine(dir, meta.id)?,
            what: crate::verify::chain(&problem),
            samples: meta.samples,
            saved: saved_samples,
        });
    }
    repair_tables(dir, &mut manifest, &mut done)?;
    let wal_dir = dir.join("wal");
    if fs::exists(&wal_dir).map_err(|e| StoreError::io("read", &wal_dir, e))? {
        let replayed = wal::replay(&wal_dir, manifest.wal_from_segment, &mut Count::default())?;
        done.torn_tail = replayed.torn_tail;
        done.damaged_segments = replayed.damaged;
    }
    Ok(done)
}

/// Moves files of tables aside whose bytes are not those that were written.
fn repair_tables(dir: &Path, manifest: &mut Manifest, done: &mut Repair) -> Result<(), StoreError> {
    for meta in manifest.tables.clone() {
        let path = table::file::path(dir, &meta);
        let what = match table::file::verify(&path, &meta) {
            Ok(None) => continue,
            Ok(Some(what)) => what,
            Err(error) if error.kind() == io::ErrorKind::NotFound => "it is missing".to_owned(),
            Err(error) => return Err(StoreError::io("read", &path, error)),
        };
        manifest.tables.retain(|file| file.id != meta.id);
        manifest.commit(dir)?;
        let file = match table::file::quarantine(&path) {
            Ok(aside) => Some(aside),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(StoreError::io("move aside", &path, error)),
        };
        done.tables.push(RepairedTable {
            file,
            what: format!("{}: {what}", path.display()),
            rows: meta.rows,
        });
    }
    Ok(())
}

/// Writes what can be read of a part into a new one in its place; `None` where that is nothing.
fn save(dir: &Path, part: &Part, manifest: &mut Manifest, deleted: &Deleted) -> Result<Option<PartMeta>, StoreError> {
    let tenant = dir
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let meta = part.meta();
    let mut writer = None;
    let (mut samples, mut histograms) = (Samples::default(), Histograms::default());
    let series = match part.series() {
        Ok(series) => series,
        Err(error) if error.is_damage() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    for series in series {
        // Without its labels or one of its chunks a series is lost; those around it are not.
        let readable = series.and_then(|(row, key, labels)| {
            samples.clear();
            part.read(row, TimeRange::ALL, &mut samples)?;
            histograms.clear();
            part.read_histograms(row, TimeRange::ALL, &mut histograms)?;
            Ok((key, labels))
        });
        let (key, labels) = match readable {
            Ok(readable) => readable,
            Err(error) if error.is_damage() => continue,
            Err(error) => return Err(error.into()),
        };
        let ascends = |timestamps: &[i64]| timestamps.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascends(&samples.timestamps) || !ascends(&histograms.timestamps) {
            continue;
        }
        deleted.take_out(key, meta.id, 0, &mut samples);
        deleted.take_out_histograms(key, meta.id, &mut histograms);
        if samples.is_empty() && histograms.is_empty() {
            continue;
        }
        let writer = match &mut writer {
            Some(writer) => writer,
            None => {
                let id = manifest.take_id();
                writer.insert(PartWriter::create_ranked(dir, id, meta.rank, meta.level, &tenant)?)
            }
        };
        match writer.series(key, &labels) {
            Ok(row) => writer.mixed(row, &samples, &histograms)?,
            // Damaged labels that look whole but stand in the wrong place.
            Err(PartError::Order { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(writer.map(PartWriter::finish).transpose()?)
}
