//! A disk that fails: for tests, under everything that goes through [`crate::disk`].
//!
//! Below a directory that is watched, operations really happen, so that reading needs no help, and are written down as well. What
//! is known of them decides what a power cut leaves:
//! - of a file, what it was at its last successful sync, and of later writes any set of 512-byte sectors;
//! - of a directory, its names at its last successful sync, and of later changes any first few;
//! - after a sync that failed, the writes before it are forgotten by the kernel: a later sync that succeeds says nothing of them
//!   (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

const SECTOR: usize = 512;

static WATCHED: Mutex<Vec<(PathBuf, Arc<Faults>)>> = Mutex::new(Vec::new());

/// The disk under one directory.
#[derive(Debug)]
pub(crate) struct Faults {
    root: PathBuf,
    disk: Mutex<Disk>,
}

/// How often an operation fails, in thousandths, and after how many the process is gone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Schedule {
    /// A write, a creation or a rename fails for want of space; some of the bytes may be written.
    pub(crate) full: u64,
    /// A write, a sync, a rename or a removal fails with an I/O error.
    pub(crate) io: u64,
    /// The operation at which the process dies; it and all later ones fail.
    pub(crate) dies_after: Option<u64>,
}

#[derive(Debug)]
struct Disk {
    random: Random,
    schedule: Schedule,
    dead: bool,
    operations: u64,
    failed: u64,
    files: Vec<Bytes>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    renamings: BTreeMap<PathBuf, Vec<Renaming>>,
}

/// The contents of a file, whatever its name.
#[derive(Clone, Debug, Default)]
struct Bytes {
    durable: Vec<u8>,
    since: Vec<Change>,
}

#[derive(Clone, Debug)]
struct Change {
    what: What,
    // A sync after it failed: no later one makes it durable.
    forgotten: bool,
}

#[derive(Clone, Debug)]
enum What {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug)]
enum Renaming {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

/// A file below a watched directory.
#[derive(Debug)]
pub(crate) struct Watched {
    disk: Arc<Faults>,
    file: usize,
}

/// splitmix64.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// Whether something of this chance, in thousandths, happens.
    pub(crate) fn chance(&mut self, thousandths: u64) -> bool {
        self.below(1000) < thousandths
    }
}

/// Watches all files below `root` that are made from now on, until the answer is dropped.
pub(crate) fn watch(root: &Path, seed: u64) -> Watching {
    let disk = Arc::new(Faults {
        root: root.to_owned(),
        disk: Mutex::new(Disk {
            random: Random(seed),
            schedule: Schedule::default(),
            dead: false,
            operations: 0,
            failed: 0,
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            renamings: BTreeMap::new(),
        }),
    });
    WATCHED.lock().push((root.to_owned(), Arc::clone(&disk)));
    Watching(disk)
}

/// The watch over a directory.
#[derive(Debug)]
pub(crate) struct Watching(Arc<Faults>);

impl Drop for Watching {
    fn drop(&mut self) {
        WATCHED.lock().retain(|(_, disk)| !Arc::ptr_eq(disk, &self.0));
    }
}

impl Watching {
    /// From now on operations fail as `schedule` says.
    pub(crate) fn schedule(&self, schedule: Schedule) {
        let mut disk = self.0.disk.lock();
        disk.schedule = schedule;
        disk.operations = 0;
        disk.dead = false;
    }

    /// Whether the process has died.
    pub(crate) fn died(&self) -> bool {
        self.0.disk.lock().dead
    }

    /// Operations that failed so far, those of the dead not counted.
    pub(crate) fn failed(&self) -> u64 {
        self.0.disk.lock().failed
    }

    /// Leaves of the files what a power cut may leave.
    pub(crate) fn cut_power(&self) {
        let mut disk = self.0.disk.lock();
        for path in disk.names.keys() {
            fs::remove_file(path).expect("a file that is there");
        }
        let kept = disk.after_power_cut();
        disk.files.clear();
        disk.renamings.clear();
        disk.names.clear();
        for (path, bytes) in kept {
            fs::write(&path, &bytes).expect("a file to write");
            disk.files.push(Bytes {
                durable: bytes,
                since: Vec::new(),
            });
            let file = disk.files.len() - 1;
            disk.names.insert(path, file);
        }
        disk.durable_names = disk.names.clone();
    }
}

impl Disk {
    /// Whether the next operation may happen.
    fn admit(&mut self, full: bool, io_error: bool) -> io::Result<()> {
        self.operations += 1;
        if self.dead || self.schedule.dies_after.is_some_and(|n| self.operations > n) {
            self.dead = true;
            return Err(io::Error::other("the process is dead"));
        }
        if full && self.random.chance(self.schedule.full) {
            self.failed += 1;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        if io_error && self.random.chance(self.schedule.io) {
            self.failed += 1;
            return Err(io::Error::other("input/output error"));
        }
        Ok(())
    }

    fn change(&mut self, file: usize, what: What) {
        self.files[file].since.push(Change { what, forgotten: false });
    }

    fn renamed(&mut self, path: &Path, renaming: Renaming) {
        let dir = path.parent().unwrap_or(path).to_owned();
        self.renamings.entry(dir).or_default().push(renaming);
    }

    fn after_power_cut(&mut self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut names = self.durable_names.clone();
        for renamings in self.renamings.values() {
            let kept = self.random.below(renamings.len() as u64 + 1) as usize;
            for renaming in &renamings[..kept] {
                renaming.apply(&mut names);
            }
        }
        // Sometimes nearly all was written, sometimes nothing.
        let chance = [0, 100, 500, 900, 1000][self.random.below(5) as usize];
        names
            .into_iter()
            .map(|(path, file)| (path, self.files[file].after_power_cut(&mut self.random, chance)))
            .collect()
    }
}

impl Renaming {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Create(path, file) => {
                names.insert(path.clone(), *file);
            }
            Self::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

impl Bytes {
    fn sync(&mut self, random: &mut Random) {
        // What a failed sync forgot may be there or not; what came after it is.
        let forgotten = self
            .since
            .iter()
            .rposition(|change| change.forgotten)
            .map_or(0, |last| last + 1);
        let later = self.since.split_off(forgotten);
        self.durable = self.after_power_cut(random, 500);
        self.since.clear();
        later
            .iter()
            .for_each(|change| change.apply(&mut self.durable, |_| true));
    }

    /// What was durable, and of the writes since then, sector by sector, the first few: a sector that the disk has written holds
    /// all that came before.
    fn after_power_cut(&self, random: &mut Random, chance: u64) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let mut written: BTreeMap<usize, usize> = BTreeMap::new();
        for (number, change) in self.since.iter().enumerate() {
            let all = random.chance(chance);
            change.apply(&mut bytes, |sector| {
                let upto = || {
                    if random.chance(chance) {
                        usize::MAX
                    } else {
                        random.below(number as u64 + 1) as usize
                    }
                };
                sector.map_or(all, |sector| number < *written.entry(sector).or_insert_with(upto))
            });
        }
        bytes
    }
}

impl Change {
    /// Applies those sectors of it that `happens` says, or its length, for which it is asked without a sector.
    fn apply(&self, to: &mut Vec<u8>, mut happens: impl FnMut(Option<usize>) -> bool) {
        match &self.what {
            What::Length(length) => {
                if happens(None) {
                    to.resize(*length, 0);
                }
            }
            What::Write { offset, bytes } => {
                let mut at = 0;
                while at < bytes.len() {
                    let sector = (offset + at) / SECTOR;
                    let end = ((sector + 1) * SECTOR - offset).min(bytes.len());
                    if happens(Some(sector)) {
                        if to.len() < offset + end {
                            to.resize(offset + end, 0);
                        }
                        to[offset + at..offset + end].copy_from_slice(&bytes[at..end]);
                    }
                    at = end;
                }
            }
        }
    }
}

impl Watched {
    pub(super) fn write(&self, to: &fs::File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk.disk.lock();
        let admitted = disk.admit(true, true);
        let done = match admitted {
            Ok(()) => bytes.len(),
            // Some of it may be there all the same.
            Err(_) => disk.random.below(bytes.len() as u64 + 1) as usize,
        };
        let was_dead =
            admitted.is_err() && disk.dead && disk.schedule.dies_after.is_none_or(|n| disk.operations > n + 1);
        if done > 0 && !was_dead {
            to.write_all_at(&bytes[..done], offset)?;
            let bytes = bytes[..done].to_vec();
            let offset = offset as usize;
            disk.change(self.file, What::Write { offset, bytes });
        }
        admitted
    }

    pub(super) fn set_len(&self, size: u64) -> io::Result<()> {
        let mut disk = self.disk.disk.lock();
        disk.admit(false, true)?;
        disk.change(self.file, What::Length(size as usize));
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk.disk.lock();
        let admitted = disk.admit(true, true);
        let Disk {
            files, random, dead, ..
        } = &mut *disk;
        let file = &mut files[self.file];
        match admitted {
            Ok(()) => file.sync(random),
            // The dead ask for nothing.
            Err(_) if *dead => {}
            Err(_) => file.since.iter_mut().for_each(|change| change.forgotten = true),
        }
        admitted
    }
}

fn disk_of(path: &Path) -> Option<Arc<Faults>> {
    let watched = WATCHED.lock();
    let found = watched.iter().find(|(_, disk)| path.starts_with(&disk.root));
    found.map(|(_, disk)| Arc::clone(disk))
}

pub(super) fn create(path: &Path) -> io::Result<Option<Watched>> {
    let Some(faults) = disk_of(path) else { return Ok(None) };
    let mut disk = faults.disk.lock();
    disk.admit(true, true)?;
    let file = match disk.names.get(path) {
        Some(&file) => {
            disk.change(file, What::Length(0));
            file
        }
        None => {
            disk.files.push(Bytes::default());
            let file = disk.files.len() - 1;
            disk.names.insert(path.to_owned(), file);
            disk.renamed(path, Renaming::Create(path.to_owned(), file));
            file
        }
    };
    drop(disk);
    Ok(Some(Watched { disk: faults, file }))
}

pub(super) fn open(path: &Path) -> Option<Watched> {
    let disk = disk_of(path)?;
    let file = *disk.disk.lock().names.get(path)?;
    Some(Watched { disk, file })
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let Some(faults) = disk_of(from) else { return Ok(()) };
    let mut disk = faults.disk.lock();
    disk.admit(true, true)?;
    let renaming = Renaming::Rename(from.to_owned(), to.to_owned());
    renaming.apply(&mut disk.names);
    disk.renamed(from, renaming);
    Ok(())
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    let Some(faults) = disk_of(path) else { return Ok(()) };
    let mut disk = faults.disk.lock();
    disk.admit(false, true)?;
    // One that is not there is for the real disk to refuse.
    if disk.names.contains_key(path) {
        let removal = Renaming::Remove(path.to_owned());
        removal.apply(&mut disk.names);
        disk.renamed(path, removal);
    }
    Ok(())
}

pub(super) fn sync_dir(dir: &Path) -> Option<io::Result<()>> {
    let faults = disk_of(dir)?;
    let mut disk = faults.disk.lock();
    if let Err(error) = disk.admit(true, true) {
        return Some(Err(error));
    }
    let Disk {
        renamings,
        durable_names,
        ..
    } = &mut *disk;
    for renaming in renamings.remove(dir).unwrap_or_default() {
        renaming.apply(durable_names);
    }
    Some(Ok(()))
}
