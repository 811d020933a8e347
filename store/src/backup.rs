//! Backups: a consistent copy of every tenant, taken while the store is written, and the way back.
//!
//! ```text
//! <backup>/backup.json                         every file below with its length and CRC32C; written last
//! <backup>/tenants/<tenant>/manifest.json      parts/  rollups/  tables/  wal/  state.sqlite: a data directory like any other
//! ```
//! All samples and rows that were acknowledged before the backup began are in it: parts and files of tables by the manifest, the others by WAL segments, of which
//! the present one is ended first. Neither changes any more, so they are linked where the file system can, and a backup beside the
//! data costs no space until merges replace the parts. Merging and flushing wait while links are made, writers do not.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk;
use crate::error::StoreError;
use crate::lock::DirLock;
use crate::part::{chunks_path, rollups_dir, series_path};
use crate::store::Shared;
use crate::table;
use crate::tenants::{Tenants, is_tenant_name};

const LISTING: &str = "backup.json";
const LISTING_VERSION: u32 = 1;
/// Ending of a backup that is being made.
const UNFINISHED: &str = ".unfinished";
/// Prefix of a tenant that is being restored; no tenant can have such a name.
const RESTORING: &str = ".restoring-";
/// Bytes that are copied and checked at a time.
const COPY_BYTES: usize = 1 << 20;

/// A backup that was made or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Its directory.
    pub path: PathBuf,
    /// When it was made, milliseconds.
    pub created_ms: i64,
    /// The tenants in it.
    pub tenants: Vec<String>,
    /// Its files.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Listing {
    version: u32,
    created_ms: i64,
    files: Vec<Listed>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    /// Relative to the backup, with slashes.
    path: String,
    bytes: u64,
    crc32c: u32,
}

impl Tenants {
    /// Makes a backup of all tenants, or of those that are named, in the new directory `to`. `progress` hears of bytes that were
    /// checked, of all there are.
    ///
    /// # Errors
    /// [`StoreError::BackupExists`] where `to` is there already; [`StoreError::NoTenant`]; and whatever keeps files from being
    /// copied: what was made so far is then removed.
    pub fn backup(
        &self,
        to: &Path,
        only: &[String],
        now_ms: i64,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Backup, StoreError> {
        if to.symlink_metadata().is_ok() {
            return Err(StoreError::BackupExists { path: to.to_owned() });
        }
        let stores = self.stores();
        if let Some(name) = only
            .iter()
            .find(|name| stores.iter().all(|store| store.tenant() != *name))
        {
            return Err(StoreError::NoTenant {
                name: name.clone(),
                root: self.root().to_owned(),
            });
        }
        let mut name = to.as_os_str().to_owned();
        name.push(UNFINISHED);
        let unfinished = Unfinished(PathBuf::from(name));
        // Left by a crash.
        unfinished.remove()?;
        for store in stores
            .iter()
            .filter(|store| only.is_empty() || only.iter().any(|name| name == store.tenant()))
        {
            store
                .shared
                .copy_to(&unfinished.0.join("tenants").join(store.tenant()))?;
        }
        fs::create_dir_all(unfinished.0.join("tenants")).map_err(|e| StoreError::io("create", &unfinished.0, e))?;
        let listing = list(&unfinished.0, now_ms, progress)?;
        write_listing(&unfinished.0, &listing)?;
        fs::rename(&unfinished.0, to).map_err(|e| StoreError::io("rename", &unfinished.0, e))?;
        if let Some(parent) = to.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_dir(parent)?;
        }
        Ok(listing.describe(to))
    }

    /// Where backups lie that a running server makes.
    #[must_use]
    pub fn backups_dir(&self) -> PathBuf {
        self.root().join("backups")
    }
}

/// Removes backups below `root` that a crash left unfinished.
pub(crate) fn sweep(root: &Path) -> Result<(), StoreError> {
    let dir = root.join("backups");
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StoreError::io("list", &dir, error)),
    };
    for entry in entries {
        let path = entry.map_err(|e| StoreError::io("list", &dir, e))?.path();
        if path.to_string_lossy().ends_with(UNFINISHED) {
            tracing::info!(path = %path.display(), "removed a backup that was not finished");
            fs::remove_dir_all(&path).map_err(|e| StoreError::io("remove", &path, e))?;
        }
    }
    Ok(())
}

/// A directory that is removed unless it was renamed.
struct Unfinished(PathBuf);

impl Unfinished {
    fn remove(&self) -> Result<(), StoreError> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", &self.0, error)),
            _ => Ok(()),
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "what was copied before the failure stays");
        }
    }
}

impl Shared {
    /// Copies all that a start of this tenant needs into the new directory `to`, as of now.
    fn copy_to(&self, to: &Path) -> Result<(), StoreError> {
        let rollups = rollups_dir(&self.dir);
        for dir in ["parts", "rollups/parts", "tables", "wal"] {
            let dir = to.join(dir);
            fs::create_dir_all(&dir).map_err(|e| StoreError::io("create", &dir, e))?;
        }
        {
            // No part and no segment goes while these are held.
            let _compacting = self.compacting.lock();
            let _flushing = self.flushing.lock();
            // What is acknowledged from here on is in later segments, and may be missing.
            let end = self.wal.lock().cut();
            let manifest = self.manifest.lock().clone();
            let parts = manifest
                .parts
                .iter()
                .flat_map(|part| [chunks_path(&self.dir, part.id), series_path(&self.dir, part.id)]);
            let rolled = manifest
                .rollups
                .iter()
                .flat_map(|meta| [chunks_path(&rollups, meta.part.id), series_path(&rollups, meta.part.id)]);
            let segments = crate::wal::segment_paths(&self.dir.join("wal"), manifest.wal_from_segment, end)?;
            let tables = manifest.tables.iter().map(|meta| table::file::path(&self.dir, meta));
            for path in parts.chain(rolled).chain(tables).chain(segments) {
                let target = to.join(path.strip_prefix(&self.dir).unwrap_or(&path));
                link_or_copy(&path, &target)?;
            }
            manifest.commit(to)?;
        }
        let state = to.join("state.sqlite");
        self.state.copy_to(&state)?;
        File::open(&state)
            .and_then(|file| file.sync_all())
            .map_err(|e| StoreError::io("sync", &state, e))?;
        for dir in ["parts", "rollups/parts", "rollups", "tables", "wal", ""] {
            sync_dir(&to.join(dir))?;
        }
        Ok(())
    }
}

/// A file that never changes needs no second copy on the same file system.
fn link_or_copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let copy = || {
        fs::copy(from, to)?;
        File::open(to)?.sync_all()
    };
    copy().map_err(|e| StoreError::io("copy", from, e))
}

/// Lengths and checksums of all files below `root`.
fn list(root: &Path, created_ms: i64, progress: &mut dyn FnMut(u64, u64)) -> Result<Listing, StoreError> {
    let mut paths = Vec::new();
    files_below(root, &mut paths)?;
    paths.sort();
    let length = |path: &PathBuf| fs::metadata(path).map_or(0, |file| file.len());
    let all = paths.iter().map(length).sum();
    let mut done = 0;
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let (bytes, crc32c) = copy(&path, &mut io::sink(), &mut |n| {
            done += n;
            progress(done, all);
        })
        .map_err(|e| StoreError::io("read", &path, e))?;
        let relative = path.strip_prefix(root).unwrap_or(&path);
        files.push(Listed {
            path: relative.to_string_lossy().into_owned(),
            bytes,
            crc32c,
        });
    }
    Ok(Listing {
        version: LISTING_VERSION,
        created_ms,
        files,
    })
}

fn files_below(dir: &Path, out: &mut Vec<PathBuf>) -> Result<(), StoreError> {
    for entry in fs::read_dir(dir).map_err(|e| StoreError::io("list", dir, e))? {
        let path = entry.map_err(|e| StoreError::io("list", dir, e))?.path();
        if path.is_dir() {
            files_below(&path, out)?;
        } else {
            out.push(path);
        }
    }
    Ok(())
}

/// Copies a file; answers its length and its CRC32C. `progress` hears of each piece.
fn copy(from: &Path, to: &mut dyn Write, progress: &mut dyn FnMut(u64)) -> io::Result<(u64, u32)> {
    let mut file = File::open(from)?;
    let mut buffer = vec![0; COPY_BYTES];
    let (mut bytes, mut crc) = (0, 0);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((bytes, crc)),
            Ok(n) => {
                to.write_all(&buffer[..n])?;
                crc = crc32c::crc32c_append(crc, &buffer[..n]);
                bytes += n as u64;
                progress(n as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The listing as JSON, and its own checksum in a second line.
fn write_listing(root: &Path, listing: &Listing) -> Result<(), StoreError> {
    let path = root.join(LISTING);
    let write = || {
        let text = serde_json::to_string(listing)?;
        let mut file = File::create_new(&path)?;
        writeln!(file, "{text}\n{:08x}", crc32c::crc32c(text.as_bytes()))?;
        file.sync_all()
    };
    write().map_err(|e: io::Error| StoreError::io("write", &path, e))?;
    sync_dir(root)
}

impl Listing {
    fn read(root: &Path) -> Result<Self, StoreError> {
        let path = root.join(LISTING);
        let damaged = |what: &str| StoreError::BackupDamaged {
            path: path.clone(),
            what: what.to_owned(),
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(
                    "it is missing: this is no backup, or one that was not finished",
                ));
            }
            Err(error) => return Err(StoreError::io("read", &path, error)),
        };
        let (body, crc) = text
            .trim_end()
            .rsplit_once('\n')
            .ok_or_else(|| damaged("it ends early"))?;
        if crc != format!("{:08x}", crc32c::crc32c(body.as_bytes())) {
            return Err(damaged("its checksum does not hold"));
        }
        let listing: Self =
            serde_json::from_str(body).map_err(|_| damaged("it is no listing that this foreshock knows"))?;
        if listing.version != LISTING_VERSION {
            return Err(damaged("it was made by a newer foreshock"));
        }
        for file in &listing.files {
            let safe = Path::new(&file.path)
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
            if !safe || listing.tenant_of(&file.path).is_none() {
                return Err(damaged("it names a file outside of the backup"));
            }
        }
        Ok(listing)
    }

    fn tenant_of<'a>(&self, path: &'a str) -> Option<(&'a str, &'a str)> {
        path.strip_prefix("tenants/")?
            .split_once('/')
            .filter(|(tenant, _)| is_tenant_name(tenant))
    }

    fn tenants(&self) -> BTreeSet<&str> {
        self.files
            .iter()
            .filter_map(|file| Some(self.tenant_of(&file.path)?.0))
            .collect()
    }

    fn describe(&self, path: &Path) -> Backup {
        Backup {
            path: path.to_owned(),
            created_ms: self.created_ms,
            tenants: self.tenants().into_iter().map(str::to_owned).collect(),
            files: self.files.len() as u64,
            bytes: self.files.iter().map(|file| file.bytes).sum(),
        }
    }
}

/// Copies the tenants of a backup, or those of them that are named, into the data directory `root`, and compares every byte with
/// the checksums. A tenant counts once all its files are there. `progress` hears of bytes that were copied, of all there are.
///
/// # Errors
/// [`StoreError::BackupDamaged`] when a file is missing or differs; [`StoreError::TenantExists`] where a tenant is there already:
/// nothing is ever overwritten; [`StoreError::NoTenant`]; [`StoreError::Locked`] while a server runs on `root`. Tenants restored
/// before the failure stay.
pub fn restore(
    backup: &Path,
    root: &Path,
    only: &[String],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Backup, StoreError> {
    let mut listing = Listing::read(backup)?;
    if let Some(name) = only.iter().find(|name| !listing.tenants().contains(name.as_str())) {
        return Err(StoreError::NoTenant {
            name: name.clone(),
            root: backup.to_owned(),
        });
    }
    let wanted: Vec<String> = listing
        .tenants()
        .into_iter()
        .filter(|tenant| only.is_empty() || only.iter().any(|name| name == tenant))
        .map(str::to_owned)
        .collect();
    listing.files.retain(|file| {
        let tenant = file
            .path
            .strip_prefix("tenants/")
            .and_then(|path| path.split('/').next());
        tenant.is_some_and(|tenant| wanted.iter().any(|name| name == tenant))
    });
    let tenants = root.join("tenants");
    fs::create_dir_all(&tenants).map_err(|e| StoreError::io("create", &tenants, e))?;
    let _lock = DirLock::acquire(root)?;
    for name in &wanted {
        if tenants.join(name).symlink_metadata().is_ok() {
            return Err(StoreError::TenantExists {
                name: name.clone(),
                root: root.to_owned(),
            });
        }
    }
    let all = listing.files.iter().map(|file| file.bytes).sum();
    let mut done = 0;
    for name in &wanted {
        let unfinished = Unfinished(tenants.join(format!("{RESTORING}{name}")));
        unfinished.remove()?;
        let mut dirs = BTreeSet::from([unfinished.0.clone()]);
        fs::create_dir_all(&unfinished.0).map_err(|e| StoreError::io("create", &unfinished.0, e))?;
        for file in &listing.files {
            let Some((_, path)) = listing.tenant_of(&file.path).filter(|(tenant, _)| tenant == name) else {
                continue;
            };
            let target = unfinished.0.join(path);
            if let Some(dir) = target.parent() {
                fs::create_dir_all(dir).map_err(|e| StoreError::io("create", dir, e))?;
                dirs.insert(dir.to_owned());
            }
            restore_file(&backup.join(&file.path), &target, file, &mut |n| {
                done += n;
                progress(done, all);
            })?;
        }
        for dir in &dirs {
            sync_dir(dir)?;
        }
        let place = tenants.join(name);
        fs::rename(&unfinished.0, &place).map_err(|e| StoreError::io("rename", &unfinished.0, e))?;
        sync_dir(&tenants)?;
    }
    sync_dir(root)?;
    Ok(listing.describe(backup))
}

fn restore_file(from: &Path, to: &Path, listed: &Listed, progress: &mut dyn FnMut(u64)) -> Result<(), StoreError> {
    let damaged = |what: String| StoreError::BackupDamaged {
        path: from.to_owned(),
        what,
    };
    let mut out = File::create_new(to).map_err(|e| StoreError::io("create", to, e))?;
    let (bytes, crc32c) = match copy(from, &mut out, progress) {
        Ok(copied) => copied,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged("it is missing".to_owned())),
        Err(error) => return Err(StoreError::io("copy", from, error)),
    };
    if (bytes, crc32c) != (listed.bytes, listed.crc32c) {
        return Err(damaged(format!(
            "it has {bytes} bytes with checksum {crc32c:08x}, and had {} with {:08x}",
            listed.bytes, listed.crc32c
        )));
    }
    out.sync_all().map_err(|e| StoreError::io("sync", to, e))
}

fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    disk::sync_dir(dir).map_err(|e| StoreError::io("sync", dir, e))
}
