//! More and more writers that sync take the disk's time, until a service that writes misses its deadline.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::running::{Event, Ready};
use super::warden::{Cleanup, Leash, tell};
use super::{endpoint, flags};
use crate::clock;

/// What a writer overwrites and syncs each time.
const WRITE_BYTES: usize = 4 << 20;

/// Misses in a row after which the service has failed.
const MISSES: u64 = 3;

/// Time between two writes of the service's own.
const OWN_WORK_EVERY: Duration = Duration::from_millis(200);

/// How the disk is starved.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Quiet time before the first writer.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub(crate) warm_up: u64,
    /// Time over which the writers come, one after the other.
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) rise: u64,
    /// Writers at the end.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=256))]
    pub(crate) writers: u64,
    /// Longest time that the service may take for a write, milliseconds.
    #[arg(long, default_value_t = 1000, value_name = "MILLISECONDS")]
    pub(crate) deadline: u64,
    /// Folder on the disk to be starved; a new one in the temporary directory by default.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

impl Options {
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut all = flags(&[
            ("warm-up", self.warm_up.to_string()),
            ("rise", self.rise.to_string()),
            ("writers", self.writers.to_string()),
            ("deadline", self.deadline.to_string()),
        ]);
        if let Some(dir) = &self.dir {
            all.extend(flags(&[("dir", dir.display().to_string())]));
        }
        all
    }

    pub(super) fn cause(&self, leash: &Leash) -> Result<Cleanup> {
        let name = format!("foreshock-fault-{}", std::process::id());
        let folder = Folder::create(&self.dir.clone().unwrap_or_else(std::env::temp_dir).join(name))?;
        let service = Arc::new(Service::open(&folder.0, Duration::from_millis(self.deadline))?);
        let theirs = Arc::clone(&service);
        let url = endpoint::serve(move || theirs.write())?;
        let (began, began_ms) = (Instant::now(), clock::now_ms());
        tell(&Event::Ready(Ready {
            began_ms,
            expected_ms: None,
            subject: format!(
                "the disk under {} is kept busy; the service at {url} writes to it",
                folder.0.display()
            ),
            url: Some(url),
            ..Ready::default()
        }));
        let own = Arc::clone(&service);
        let leash_of_own = leash.clone();
        // The service has work of its own, so that it fails with and without an agent that asks.
        thread::spawn(move || {
            while leash_of_own.wait(OWN_WORK_EVERY) {
                own.write();
            }
        });
        let mut writers = Writers {
            stop: Arc::new(AtomicBool::new(false)),
            threads: Vec::new(),
        };
        let at_most = Duration::from_secs(self.warm_up + 2 * self.rise + 30);
        while leash.wait(Duration::from_millis(100)) {
            let age = began.elapsed();
            if let Some(at_ms) = service.failed() {
                let how = format!(
                    "the service missed its deadline of {} ms for a write {MISSES} times in a row",
                    self.deadline
                );
                tell(&Event::Failed { at_ms, how });
                break;
            }
            if age > at_most {
                tell(&Event::Ended {
                    why: "the disk was fast enough for all writers".to_owned(),
                });
                break;
            }
            let share = (age.as_secs_f64() - self.warm_up as f64) / self.rise as f64;
            let wanted = (share.clamp(0.0, 1.0) * self.writers as f64).ceil() as usize;
            if writers.threads.len() < wanted {
                writers.add(&folder.0)?;
            }
        }
        // The writers go on until the agent has seen the failure; they stop before their files are removed.
        Ok(Box::new((writers, folder)))
    }
}

/// The service under test: each request writes a page and syncs it.
#[derive(Debug)]
struct Service {
    file: Mutex<File>,
    deadline: Duration,
    misses: AtomicU64,
    failed_ms: AtomicU64,
}

impl Service {
    fn open(folder: &Path, deadline: Duration) -> Result<Self> {
        let path = folder.join("service");
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self {
            file: Mutex::new(file),
            deadline,
            misses: AtomicU64::new(0),
            failed_ms: AtomicU64::new(0),
        })
    }

    /// False when the write took longer than the deadline.
    fn write(&self) -> bool {
        let began = Instant::now();
        let written = {
            let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.write_all_at(&[0x5a; 4096], 0).and_then(|()| file.sync_all())
        };
        let good = written.is_ok() && began.elapsed() <= self.deadline;
        let misses = if good {
            0
        } else {
            self.misses.load(Ordering::Relaxed) + 1
        };
        self.misses.store(misses, Ordering::Relaxed);
        if misses == MISSES && self.failed_ms.load(Ordering::Relaxed) == 0 {
            self.failed_ms.store(clock::now_ms().unsigned_abs(), Ordering::Relaxed);
        }
        good
    }

    fn failed(&self) -> Option<i64> {
        match self.failed_ms.load(Ordering::Relaxed) {
            0 => None,
            at => i64::try_from(at).ok(),
        }
    }
}

/// Threads that write and sync, stopped when this goes.
#[derive(Debug)]
struct Writers {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Writers {
    fn add(&mut self, folder: &Path) -> Result<()> {
        let path = folder.join(format!("writer-{}", self.threads.len()));
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
        let file = file.with_context(|| format!("cannot create {}", path.display()))?;
        let stop = Arc::clone(&self.stop);
        let thread = thread::Builder::new().stack_size(64 << 10).spawn(move || {
            let bytes = vec![0xa5; WRITE_BYTES];
            while !stop.load(Ordering::Relaxed) {
                if file.write_all_at(&bytes, 0).and_then(|()| file.sync_all()).is_err() {
                    return; // A full disk is another fault.
                }
            }
        });
        self.threads.push(thread.context("cannot start a writer")?);
        Ok(())
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::warn!("a writer panicked");
            }
        }
    }
}

/// A folder of ours, removed with all that is in it when this goes.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn create(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path.to_path_buf()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "cannot remove the fault's folder");
        }
    }
}
