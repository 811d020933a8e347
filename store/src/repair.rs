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

use crate::codec::rollups::Wanted;
use crate::deletion::Deleted;
use crate::error::StoreError;
use crate::histogram::Histograms;
use crate::lock::DirLock;
use crate::manifest::{Found, Manifest, sweep};
use crate::part::{Part, PartError, PartMeta, PartWriter, quarantine, rollups_dir};
use crate::rollup::{Buckets, RollupMeta};
use crate::series::{Samples, SeriesKey, TimeRange};
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
        let (part, problem) = checked(dir, &meta, Part::verify)?;
        let Some(problem) = problem else { continue };
        let saved = match part {
            Some(part) => {
                let id = manifest.take_id();
                let create = || PartWriter::create_ranked(dir, id, meta.rank, meta.level, &tenant_of(dir));
                let read = |row, key| readable(&part, row, key, &deleted);
                save(&part, create, read, |writer, row, (samples, histograms)| {
                    writer.mixed(row, &samples, &histograms)
                })?
            }
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
    repair_rollups(dir, &mut manifest, &deleted, &mut done)?;
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

/// Moves parts of rollups with damage aside; what can be read of them goes into new ones.
fn repair_rollups(dir: &Path, manifest: &mut Manifest, deleted: &Deleted, done: &mut Repair) -> Result<(), StoreError> {
    let files = rollups_dir(dir);
    for meta in manifest.rollups.clone() {
        let (part, problem) = checked(&files, &meta.part, Part::verify_rollups)?;
        let Some(problem) = problem else { continue };
        let (resolution_ms, level) = (meta.resolution_ms, meta.part.level);
        let saved = match part {
            Some(part) => {
                let id = manifest.take_id();
                let create = || PartWriter::create_rollup(&files, id, level, &tenant_of(dir), resolution_ms);
                let read = |row, key| {
                    let (mut buckets, mut histograms) = (Buckets::default(), Histograms::default());
                    part.read_buckets(row, TimeRange::ALL, Wanted::All, &mut buckets)?;
                    part.read_histograms(row, TimeRange::ALL, &mut histograms)?;
                    deleted.take_out_buckets(key, meta.part.id, resolution_ms, &mut buckets);
                    deleted.take_out_histograms(key, meta.part.id, &mut histograms);
                    let times = [&buckets.ends, &buckets.kept.timestamps, &histograms.timestamps];
                    let whole = times.iter().all(|times| times.is_sorted_by(|a, b| a < b));
                    let empty = buckets.is_empty() && histograms.is_empty();
                    Ok((whole && !empty).then_some((buckets, histograms)))
                };
                save(&part, create, read, |writer, row, (buckets, histograms)| {
                    writer.rolled(row, &buckets, &histograms)
                })?
            }
            None => None,
        };
        let saved_buckets = saved.as_ref().map_or(0, |saved| saved.samples);
        manifest.rollups.retain(|known| known.part.id != meta.part.id);
        manifest
            .rollups
            .extend(saved.map(|part| RollupMeta { resolution_ms, part }));
        manifest.sort_rollups();
        manifest.commit(dir)?;
        done.parts.push(RepairedPart {
            files: quarantine(&files, meta.part.id)?,
            what: crate::verify::chain(&problem),
            samples: meta.part.samples,
            saved: saved_buckets,
        });
    }
    Ok(())
}

/// Opens and reads a part; what is wrong with it, where that is damage.
fn checked(
    dir: &Path,
    meta: &PartMeta,
    verify: impl Fn(&Part) -> Vec<PartError>,
) -> Result<(Option<Part>, Option<PartError>), StoreError> {
    let (part, problem) = match Part::open(dir, meta) {
        Ok(part) => {
            let problem = verify(&part).into_iter().next();
            (Some(part), problem)
        }
        Err(error) => (None, Some(error)),
    };
    match problem {
        Some(problem) if !problem.is_damage() => Err(problem.into()),
        problem => Ok((part, problem)),
    }
}

fn tenant_of(dir: &Path) -> String {
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_default()
}

/// Writes what `read` gives of a part's series into the part that `create` begins; `None` where that is nothing.
fn save<T>(
    part: &Part,
    create: impl Fn() -> Result<PartWriter, PartError>,
    mut read: impl FnMut(u32, SeriesKey) -> Result<Option<T>, PartError>,
    write: impl Fn(&mut PartWriter, u32, T) -> Result<(), PartError>,
) -> Result<Option<PartMeta>, StoreError> {
    let mut writer = None;
    let series = match part.series() {
        Ok(series) => series,
        Err(error) if error.is_damage() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    for series in series {
        // Without its labels or one of its chunks a series is lost; those around it are not.
        let readable = series.and_then(|(row, key, labels)| Ok(read(row, key)?.map(|found| (key, labels, found))));
        let (key, labels, found) = match readable {
            Ok(Some(readable)) => readable,
            Ok(None) => continue,
            Err(error) if error.is_damage() => continue,
            Err(error) => return Err(error.into()),
        };
        let writer = match &mut writer {
            Some(writer) => writer,
            None => writer.insert(create()?),
        };
        match writer.series(key, &labels) {
            Ok(row) => write(writer, row, found)?,
            // Damaged labels that look whole but stand in the wrong place.
            Err(PartError::Order { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(writer.map(PartWriter::finish).transpose()?)
}

/// What can be read of a series, where it is whole.
fn readable(
    part: &Part,
    row: u32,
    key: SeriesKey,
    deleted: &Deleted,
) -> Result<Option<(Samples, Histograms)>, PartError> {
    let (mut samples, mut histograms) = (Samples::default(), Histograms::default());
    part.read(row, TimeRange::ALL, &mut samples)?;
    part.read_histograms(row, TimeRange::ALL, &mut histograms)?;
    let ascends = |timestamps: &[i64]| timestamps.windows(2).all(|pair| pair[0] < pair[1]);
    if !ascends(&samples.timestamps) || !ascends(&histograms.timestamps) {
        return Ok(None);
    }
    deleted.take_out(key, part.meta().id, 0, &mut samples);
    deleted.take_out_histograms(key, part.meta().id, &mut histograms);
    Ok((!samples.is_empty() || !histograms.is_empty()).then_some((samples, histograms)))
}
