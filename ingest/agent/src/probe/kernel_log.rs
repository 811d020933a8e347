//! The kernel's log as counted events: XIDs, machine checks, I/O and file system errors, OOM kills, hung tasks, link flaps.
//!
//! `/dev/kmsg` gives one record a read, with its sequence number. All that the ring holds is read at the start, so that
//! what happened before the agent did is counted; where the agent left off is kept in a file beside the spool, so that
//! nothing is counted twice when it starts again.

mod events;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{Cadence, Paths, Probe, ProbeError, Support};
use crate::catalogue as metric;
use crate::reading::Readings;
use events::{Event, classify, kinds};

/// Different events that are counted by device; what comes beyond counts for the device `other`.
const KEYS_MAX: usize = 256;

/// Records taken in one round; more wait in the kernel for the next one.
const RECORDS_MAX: usize = 16_384;

/// Longest record that the kernel gives (`PRINTK_MESSAGE_MAX`).
const RECORD_BYTES_MAX: usize = 8192;

/// Reads `/dev/kmsg`.
#[derive(Debug)]
pub struct KernelLog {
    device: PathBuf,
    drivers: PathBuf,
    log: Option<File>,
    counts: Counts,
    state: Option<PathBuf>,
    boot_id: String,
}

/// What was seen since the host booted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// The sequence number that comes next.
    next: u64,
    /// Records that the kernel overwrote before they were read.
    missed: u64,
    by_kind: BTreeMap<String, u64>,
    /// By kind, device (empty where none is named) and XID.
    by_device: BTreeMap<(String, String, Option<u32>), u64>,
}

impl KernelLog {
    /// A probe of `/dev/kmsg` that keeps its place in `state`, a file, for the boot with this id.
    #[must_use]
    pub fn new(paths: &Paths, state: Option<&Path>, boot_id: &str) -> Self {
        let counts = state.and_then(|path| fs::read_to_string(path).ok());
        Self {
            // Recorded files of another host say nothing about this one's log.
            device: if paths.proc == Paths::default().proc {
                PathBuf::from("/dev/kmsg")
            } else {
                paths.proc.join("kmsg-records")
            },
            drivers: paths.proc.join("driver/nvidia/gpus"),
            log: None,
            counts: counts
                .and_then(|text| Counts::parse(&text, boot_id))
                .unwrap_or_default(),
            state: state.map(Path::to_path_buf),
            boot_id: boot_id.to_owned(),
        }
    }

    fn open(&mut self) -> io::Result<&mut File> {
        let log = match self.log.take() {
            Some(log) => log,
            None => OpenOptions::new()
                .read(true)
                .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
                .open(&self.device)?,
        };
        Ok(self.log.insert(log))
    }

    /// Takes what is new. True when an event was among it.
    fn take(&mut self) -> io::Result<bool> {
        let before = self.counts.by_kind.values().sum::<u64>();
        let mut record = [0; RECORD_BYTES_MAX];
        for _ in 0..RECORDS_MAX {
            match self.open()?.read(&mut record) {
                Ok(0) => break,
                Ok(n) => self.counts.record(&record[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The kernel overwrote what was next; its sequence number tells how much is missing.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PIPE.raw_os_error()) => {}
                Err(error) => {
                    self.log = None;
                    return Err(error);
                }
            }
        }
        Ok(self.counts.by_kind.values().sum::<u64>() != before)
    }

    fn keep(&self) {
        let Some(path) = &self.state else { return };
        let new = path.with_extension("new");
        let written = fs::write(&new, self.counts.text(&self.boot_id)).and_then(|()| fs::rename(&new, path));
        if let Err(error) = written {
            // The next agent then counts anew from what the kernel still holds.
            tracing::debug!(%error, path = %path.display(), "cannot keep the place in the kernel's log");
        }
    }

    /// The GPU's UUID, as its driver shows it without NVML being asked.
    fn uuid(&self, slot: &str) -> Option<String> {
        let address = if slot.contains('.') {
            slot.to_owned()
        } else {
            format!("{slot}.0")
        };
        let text = fs::read_to_string(self.drivers.join(address).join("information")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("GPU UUID:"))?;
        Some(line.trim().to_owned())
    }
}

impl Probe for KernelLog {
    fn name(&self) -> &'static str {
        "kernel_log"
    }

    fn is_supported(&mut self) -> Support {
        match self.open() {
            Ok(_) => Support::Yes,
            Err(error) => Support::No(format!(
                "{} cannot be opened ({error}); it needs CAP_SYSLOG, or kernel.dmesg_restrict=0",
                self.device.display()
            )),
        }
    }

    fn cadence(&self) -> Cadence {
        Cadence::Urgent
    }

    fn sample(&mut self, _deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        let taken = self.take();
        if taken.as_ref().is_ok_and(|new| *new) {
            self.keep();
        }
        out.metric(&metric::KERNEL_EVENTS);
        for kind in kinds() {
            let count = self.counts.by_kind.get(kind).copied().unwrap_or(0);
            out.point(&[("event", kind)], count as f64);
        }
        out.metric(&metric::KERNEL_DEVICE_EVENTS);
        for ((kind, device, code), count) in &self.counts.by_device {
            if code.is_none() && !device.is_empty() {
                out.point(&[("event", kind), ("device", device)], *count as f64);
            }
        }
        for (metric, kind, key) in [
            (&metric::GPU_XID, "gpu_xid", "xid"),
            (&metric::GPU_SXID, "gpu_sxid", "sxid"),
        ] {
            out.metric(metric);
            for ((of, device, code), count) in &self.counts.by_device {
                let Some(code) = code.filter(|_| of == kind) else {
                    continue;
                };
                let id = self.uuid(device).unwrap_or_else(|| device.clone());
                let (slot, code) = (slot(device), code.to_string());
                let attributes = [
                    ("hw.id", id.as_str()),
                    ("hw.type", "gpu"),
                    ("gpu.slot", slot.as_str()),
                    (key, code.as_str()),
                ];
                out.point(&attributes, *count as f64);
            }
        }
        out.single(&metric::KERNEL_LOG_MISSED, self.counts.missed as f64);
        taken.map(|_| ()).map_err(|source| ProbeError::Read {
            path: self.device.clone(),
            source,
        })
    }
}

/// The address as NVML writes it: `0000:3b:00` becomes `00000000:3B:00.0`.
fn slot(device: &str) -> String {
    let (domain, rest) = device.split_once(':').unwrap_or(("", device));
    let function = if rest.contains('.') { "" } else { ".0" };
    format!("{domain:0>8}:{rest}{function}").to_uppercase()
}

impl Counts {
    /// Takes one record: `priority,sequence,microseconds,flags;message`, then lines of further keys that begin with a space.
    fn record(&mut self, record: &[u8]) {
        let text = String::from_utf8_lossy(record);
        let Some((head, rest)) = text.split_once(';') else {
            return;
        };
        let mut head = head.split(',');
        let (Some(Ok(priority)), Some(Ok(sequence))) =
            (head.next().map(str::parse::<u64>), head.next().map(str::parse::<u64>))
        else {
            return;
        };
        if sequence < self.next {
            return; // Counted before the agent started again.
        }
        if self.next > 0 {
            self.missed = self.missed.saturating_add(sequence - self.next);
        }
        self.next = sequence.saturating_add(1);
        // Programs may write to the log as well, under a facility of their own: only the kernel's word counts.
        if priority >> 3 != 0 {
            return;
        }
        if let Some(event) = rest.lines().next().and_then(classify) {
            self.count(event);
        }
    }

    fn count(&mut self, event: Event) {
        let sum = self.by_kind.entry(event.kind.to_owned()).or_default();
        *sum = sum.saturating_add(1);
        let mut key = (event.kind.to_owned(), event.device.unwrap_or_default(), event.code);
        if self.by_device.len() >= KEYS_MAX && !self.by_device.contains_key(&key) {
            key.1 = "other".to_owned();
            if self.by_device.len() >= 2 * KEYS_MAX && !self.by_device.contains_key(&key) {
                return; // Codes beyond any that there are; the sum by kind has it.
            }
        }
        let sum = self.by_device.entry(key).or_default();
        *sum = sum.saturating_add(1);
    }

    /// As kept beside the spool: a line for the boot and the place, one for each sum.
    fn text(&self, boot_id: &str) -> String {
        let mut text = format!("boot {boot_id} next {} missed {}\n", self.next, self.missed);
        for ((kind, device, code), count) in &self.by_device {
            let code = code.map_or("-".to_owned(), |code| code.to_string());
            let device = if device.is_empty() { "-" } else { device };
            text.push_str(&format!("{kind} {device} {code} {count}\n"));
        }
        text
    }

    /// `None` when the text is of another boot, whose sequence numbers were others, or no such text.
    fn parse(text: &str, boot_id: &str) -> Option<Self> {
        let mut lines = text.lines();
        let words: Vec<&str> = lines.next()?.split(' ').collect();
        let ["boot", of, "next", next, "missed", missed] = words.as_slice() else {
            return None;
        };
        if *of != boot_id || boot_id.is_empty() {
            return None;
        }
        let mut counts = Self {
            next: next.parse().ok()?,
            missed: missed.parse().ok()?,
            ..Self::default()
        };
        for line in lines.take(2 * KEYS_MAX) {
            let words: Vec<&str> = line.split(' ').collect();
            let [kind, device, code, count] = words.as_slice() else {
                return None;
            };
            let count: u64 = count.parse().ok()?;
            let device = if *device == "-" { "" } else { device };
            let code = if *code == "-" { None } else { Some(code.parse().ok()?) };
            let sum = counts.by_kind.entry((*kind).to_owned()).or_default();
            *sum = sum.saturating_add(count);
            counts
                .by_device
                .insert(((*kind).to_owned(), device.to_owned(), code), count);
        }
        Some(counts)
    }
}

#[cfg(test)]
mod tests;
