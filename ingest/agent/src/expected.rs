//! Devices that this host is expected to have: those it once had, kept across restarts, so that absence is a signal.
//!
//! A GPU that fell off the bus is often noticed by nobody until the host has been restarted, and then nothing tells of it but the
//! memory that it was there. A device is no longer expected when
//! - another one of its kind, never seen before, is found in its slot: it was replaced;
//! - it has been gone for a week: somebody took it out, and the alert has long been told;
//! - the operator says so: `foreshock-agent devices --forget ID`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::clock;
use crate::file;

/// Where the devices stand in the agent's folder, and where those to be forgotten.
const FILE: &str = "devices";
const FORGET: &str = "forget-devices";

/// Devices in all; beyond it the one goes that has been gone for the longest.
const DEVICES_MAX: usize = 512;

/// Longest line of the file, and so longest identity and slot together.
const LINE_BYTES_MAX: usize = 512;
const FILE_BYTES_MAX: u64 = (DEVICES_MAX * LINE_BYTES_MAX) as u64;

/// How long a device that is gone stays expected.
const GONE_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long after its start the agent waits for a device that it knows from before: drivers may still be on their way.
const PATIENCE: Duration = Duration::from_secs(120);

/// A device, told as `hw.status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// `hw.type` of the semantic conventions.
    pub kind: String,
    /// What stays with the part when it is moved: a UUID, a serial number; else its name.
    pub id: String,
    /// Where it is now.
    pub slot: String,
}

/// Where devices are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Nowhere: they are expected for as long as the agent runs.
    #[default]
    Nowhere,
    /// In this folder, which is left as it is: somebody only looks.
    ReadOnly(PathBuf),
    /// In this folder.
    In(PathBuf),
}

/// The devices of this host, shared by the probes that find them.
///
/// Probes look and are told from memory alone; [`Expected::keep`] is for the thread that syncs, since the disk may be what fails.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    keep: Keep,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug)]
struct Memory {
    started: Instant,
    /// By kind and identity.
    known: BTreeMap<(String, String), State>,
    /// Somebody looked since this was last kept.
    looked: bool,
    /// What is known is not what is kept.
    changed: bool,
    /// Whether writing failed, which has been told.
    failed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    slot: String,
    /// Since when it has been gone, seconds since 1970 UTC; `None` while it is there.
    gone: Option<u64>,
    /// Whether it was found since the agent started.
    met: bool,
}

impl Expected {
    pub(crate) fn new(keep: Keep) -> Self {
        let known = match &keep {
            Keep::Nowhere => BTreeMap::new(),
            Keep::ReadOnly(folder) | Keep::In(folder) => read(folder).unwrap_or_else(|error| {
                tracing::warn!(error = %crate::chain(&error), "which devices were there before is not known");
                BTreeMap::new()
            }),
        };
        let memory = Memory {
            started: Instant::now(),
            known,
            looked: false,
            changed: false,
            failed: false,
        };
        Self {
            keep,
            memory: Arc::new(Mutex::new(memory)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of the devices of a kind that are there now, all of them, at `now_seconds` since 1970 UTC.
    pub(crate) fn found(&self, kind: &str, devices: &[Device], now_seconds: u64) {
        let mut memory = self.lock();
        let before = memory.known.clone();
        memory.found(kind, devices, now_seconds);
        memory.changed |= memory.known != before;
        memory.looked = true;
    }

    /// Keeps what was found since this was last called, and forgets what the operator says, unless it is there. It may hang for as long
    /// as the disk does, and holds nobody up that looks.
    pub(crate) fn keep(&self) {
        let Keep::In(folder) = &self.keep else { return };
        if !std::mem::take(&mut self.lock().looked) {
            return;
        }
        let asked = folder.join(FORGET);
        let forget = bounded(&asked).ok();
        let (text, failed_before) = {
            let mut memory = self.lock();
            memory.forget(forget.as_deref().unwrap_or_default());
            let changed = std::mem::take(&mut memory.changed);
            (changed.then(|| text(&memory.known)), memory.failed)
        };
        if let Some(text) = text {
            let written = file::replace(&folder.join(FILE), text.as_bytes(), 0o644);
            if let Err(error) = &written
                && !failed_before
            {
                tracing::warn!(%error, folder = %folder.display(), "cannot keep which devices are there: after a restart none is missed");
            }
            let mut memory = self.lock();
            memory.failed = written.is_err();
            memory.changed |= written.is_err();
        }
        if forget.is_some()
            && let Err(error) = fs::remove_file(&asked)
        {
            tracing::warn!(%error, path = %asked.display(), "cannot remove the list of devices to forget");
        }
    }

    /// The devices of a kind that are expected, in the order of their identities, and whether each is there. One that was not met
    /// since the agent started is left out until its driver has had time to come up.
    pub(crate) fn of(&self, kind: &str) -> Vec<(Device, bool)> {
        let memory = self.lock();
        let waits = memory.started.elapsed() < PATIENCE;
        let of_kind = memory.known.iter().filter(|((of, _), _)| of == kind);
        let told = of_kind.filter(|(_, state)| state.met || !waits);
        told.map(|((kind, id), state)| {
            let device = Device {
                kind: kind.clone(),
                id: id.clone(),
                slot: state.slot.clone(),
            };
            (device, state.gone.is_none())
        })
        .collect()
    }

    /// Whether any device of a kind is expected.
    pub(crate) fn has(&self, kind: &str) -> bool {
        let memory = self.lock();
        memory.known.keys().any(|(of, _)| of == kind)
    }

    #[cfg(test)]
    pub(crate) fn patience_is_over(&self) {
        let mut memory = self.lock();
        memory.started = memory
            .started
            .checked_sub(PATIENCE)
            .expect("a clock that has run for two minutes");
    }
}

impl Memory {
    fn found(&mut self, kind: &str, devices: &[Device], now_seconds: u64) {
        let is_there = |id: &str| devices.iter().any(|device| device.id == id);
        for ((of, id), state) in &mut self.known {
            if of == kind && !is_there(id) && (state.met || self.started.elapsed() >= PATIENCE) {
                state.gone.get_or_insert(now_seconds);
            }
        }
        for device in devices {
            let key = (device.kind.clone(), device.id.clone());
            if !self.known.contains_key(&key) {
                self.replace(device, &is_there);
                if self.known.len() >= DEVICES_MAX && !self.forget_longest_gone() {
                    continue;
                }
            }
            let state = State {
                slot: device.slot.clone(),
                gone: None,
                met: true,
            };
            self.known.insert(key, state);
        }
        let old = |state: &State| {
            let gone = state.gone.map_or(0, |since| now_seconds.saturating_sub(since));
            Duration::from_secs(gone) >= GONE_FOR
        };
        self.known.retain(|(kind, id), state| {
            let old = old(state);
            if old {
                tracing::info!(
                    kind,
                    id,
                    slot = state.slot,
                    "a device that has been gone for a week is no longer expected"
                );
            }
            !old
        });
    }

    /// A device that was never seen before stands for one of its kind that is gone from the same slot.
    fn replace(&mut self, device: &Device, is_there: &impl Fn(&str) -> bool) {
        self.known.retain(|(kind, id), state| {
            let same_slot = state.slot == device.slot && !device.slot.is_empty();
            let replaced = *kind == device.kind && same_slot && !is_there(id);
            if replaced {
                tracing::info!(
                    kind,
                    slot = state.slot,
                    old = id,
                    new = device.id,
                    "a device was replaced"
                );
            }
            !replaced
        });
    }

    fn forget_longest_gone(&mut self) -> bool {
        let gone = self
            .known
            .iter()
            .filter_map(|(key, state)| Some((state.gone?, key.clone())));
        let longest = gone.min();
        longest.is_some_and(|(_, key)| self.known.remove(&key).is_some())
    }

    /// Forgets the devices of these identities, a line each, that are gone.
    fn forget(&mut self, ids: &str) {
        for id in ids.lines() {
            let before = self.known.len();
            self.known.retain(|(kind, known), state| {
                let forgotten = known == id && state.gone.is_some();
                if forgotten {
                    tracing::info!(kind, id, slot = state.slot, "a device is forgotten, as was asked for");
                }
                !forgotten
            });
            self.changed |= self.known.len() != before;
        }
    }
}

/// Why devices cannot be shown or forgotten.
#[derive(Debug, Error)]
pub enum DevicesError {
    /// The folder's file cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no such device.
    #[error("no device {given:?} is known; see `foreshock-agent devices`")]
    Unknown {
        /// As it was given.
        given: String,
    },
    /// It is there.
    #[error("device {given:?} is there, and would be remembered again at once")]
    There {
        /// As it was given.
        given: String,
    },
}

/// What a host is expected to have, a line each, for people: kind, slot, identity, and whether it is there.
///
/// # Errors
/// When the folder's file cannot be read; a folder without one has no devices.
pub fn show(folder: &Path) -> Result<String, DevicesError> {
    let mut out = String::new();
    for ((kind, id), state) in read(folder)? {
        let is = match state.gone {
            None => "there".to_owned(),
            Some(since) => format!(
                "gone for {}",
                ago((clock::unix_nanos() / 1_000_000_000).saturating_sub(since))
            ),
        };
        out.push_str(&format!("{kind}\t{}\t{id}\t{is}\n", state.slot));
    }
    Ok(out)
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..3600 => format!("{} minutes", seconds / 60),
        3600..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Tells the agent of this folder to forget devices that are gone; it does so when it looks next, or starts.
///
/// # Errors
/// When one of them is not known or not gone, or the folder cannot be written to; then none is forgotten.
pub fn forget(folder: &Path, ids: &[String]) -> Result<(), DevicesError> {
    let known = read(folder)?;
    for given in ids {
        let mut states = known
            .iter()
            .filter(|((_, id), _)| id == given)
            .map(|(_, state)| state)
            .peekable();
        if states.peek().is_none() {
            return Err(DevicesError::Unknown { given: given.clone() });
        }
        if states.all(|state| state.gone.is_none()) {
            return Err(DevicesError::There { given: given.clone() });
        }
    }
    let path = folder.join(FORGET);
    // Those asked for a moment ago, which the agent has not seen yet, stay asked for.
    let mut text = bounded(&path).unwrap_or_default();
    for id in ids {
        text.push_str(id);
        text.push('\n');
    }
    file::replace(&path, text.as_bytes(), 0o644).map_err(|source| DevicesError::File { path, source })
}

fn read(folder: &Path) -> Result<BTreeMap<(String, String), State>, DevicesError> {
    let path = folder.join(FILE);
    match bounded(&path) {
        Ok(text) => Ok(text.lines().take(DEVICES_MAX).filter_map(line).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(source) => Err(DevicesError::File { path, source }),
    }
}

/// A small file's text; what is beyond the bound is left out.
fn bounded(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads `kind<TAB>id<TAB>slot<TAB>gone`, the last 0 while it is there.
fn line(text: &str) -> Option<((String, String), State)> {
    let mut words = text.split('\t');
    let mut word = || words.next().filter(|word| !word.is_empty());
    let (kind, id, slot, gone) = (word()?, word()?, words.next()?, words.next()?.parse().ok()?);
    let state = State {
        slot: slot.to_owned(),
        gone: Some(gone).filter(|since| *since > 0),
        met: false,
    };
    Some(((kind.to_owned(), id.to_owned()), state))
}

fn text(known: &BTreeMap<(String, String), State>) -> String {
    let mut out = String::new();
    for ((kind, id), state) in known {
        let line = format!("{kind}\t{id}\t{}\t{}\n", state.slot, state.gone.unwrap_or(0));
        // An identity that would break the file is expected for as long as the agent runs.
        if line.len() <= LINE_BYTES_MAX && line.matches(['\t', '\n', '\r']).count() == 4 {
            out.push_str(&line);
        }
    }
    out
}

#[cfg(test)]
mod tests;
