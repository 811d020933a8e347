//! The kernel's log as events, counted and sent as log records: XIDs, machine checks, I/O and file system errors, OOM kills,
//! hung tasks, link flaps.
//!
//! `/dev/kmsg` gives one record a read, with its sequence number. All that the ring holds is read at the start, so that
//! what happened before the agent did is counted; where the agent left off is kept in a file beside the spool, so that
//! nothing is counted or sent twice when it starts again. Without a spool's folder there is no such file: what the ring held
//! at the start is then counted and not sent.

mod events;
mod outgoing;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Instant;

use wire::otlp::write::logs::Record;

use super::{Cadence, Paths, Probe, ProbeError, Support};
use crate::catalogue as metric;
use crate::host::Host;
use crate::reading::Readings;
use events::{Event, classify, kinds};
use outgoing::{Outgoing, Told};

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
    outgoing: Outgoing,
    /// Where the batch of this round ends.
    handed: Option<u64>,
    bookmark: Bookmark,
    /// Whose log it is, for the ids of batches.
    host_id: String,
    boot_id: String,
    /// When the log was last read to its end, nanoseconds since 1970 UTC.
    looked: Option<u64>,
}

/// Where the probe keeps how far it has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bookmark {
    /// Nowhere: what the log holds at the start is counted and not sent.
    Nowhere,
    /// In this file, which is left as it is: somebody only looks.
    ReadOnly(PathBuf),
    /// In this file.
    Kept(PathBuf),
}

/// A record of the log.
#[derive(Clone, Copy, Debug)]
struct Line<'a> {
    /// Facility and level, as syslog has them.
    priority: u64,
    sequence: u64,
    /// The kernel's clock, microseconds since boot.
    micros: u64,
    message: &'a str,
}

impl<'a> Line<'a> {
    /// Reads `priority,sequence,microseconds,flags;message`; lines of further keys, which begin with a space, may follow.
    fn read(text: &'a str) -> Option<Self> {
        let (head, rest) = text.split_once(';')?;
        let mut head = head.split(',').map(str::parse::<u64>);
        let (Some(Ok(priority)), Some(Ok(sequence))) = (head.next(), head.next()) else {
            return None;
        };
        Some(Self {
            priority,
            sequence,
            micros: head.next().and_then(Result::ok).unwrap_or(0),
            message: rest.lines().next().unwrap_or(""),
        })
    }

    /// What it tells of. Programs may write to the log as well, under a facility of their own: only the kernel's word counts.
    fn event(&self) -> Option<Event> {
        if self.priority >> 3 == 0 {
            classify(self.message)
        } else {
            None
        }
    }
}

/// What was seen since the host booted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// The sequence number that comes next.
    next: u64,
    /// Records that the kernel overwrote before they were read.
    missed: u64,
    /// Events that were counted and not sent.
    limited: u64,
    by_kind: BTreeMap<String, u64>,
    /// By kind, device (empty where none is named) and XID.
    by_device: BTreeMap<(String, String, Option<u32>), u64>,
}

impl KernelLog {
    /// A probe of `/dev/kmsg` of this host, in its present boot.
    #[must_use]
    pub fn new(paths: &Paths, bookmark: Bookmark, host: &Host) -> Self {
        // Without a name for this boot what is kept could be another's.
        let bookmark = if host.boot_id.is_empty() {
            Bookmark::Nowhere
        } else {
            bookmark
        };
        let (counts, outgoing) = match &bookmark {
            Bookmark::Nowhere => None,
            Bookmark::ReadOnly(path) | Bookmark::Kept(path) => fs::read_to_string(path).ok(),
        }
        .and_then(|text| parse(&text, &host.boot_id))
        .unwrap_or_default();
        Self {
            device: paths.file("dev/kmsg", "kmsg-records"),
            drivers: paths.proc.join("driver/nvidia/gpus"),
            log: None,
            counts,
            outgoing,
            handed: None,
            bookmark,
            host_id: if host.id.is_empty() { &host.name } else { &host.id }.clone(),
            boot_id: host.boot_id.clone(),
            looked: None,
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
    fn take(&mut self, clock: Clock) -> io::Result<bool> {
        let before = self.counts.by_kind.values().sum::<u64>();
        let mut record = [0; RECORD_BYTES_MAX];
        for _ in 0..RECORDS_MAX {
            match self.open()?.read(&mut record) {
                Ok(0) => break,
                Ok(n) => self.record(&record[..n], clock),
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

    fn record(&mut self, record: &[u8], clock: Clock) {
        let text = String::from_utf8_lossy(record);
        let Some(line) = Line::read(&text) else { return };
        let is_new = self.counts.move_to(line.sequence);
        if !is_new && !self.outgoing.wants(line.sequence) {
            return;
        }
        let Some(event) = line.event() else { return };
        if is_new {
            self.counts.count(&event);
        }
        if !self.outgoing.push(&line, event, clock.time_of(line.micros)) && is_new {
            self.counts.limited = self.counts.limited.saturating_add(1);
        }
    }

    fn keep(&self) {
        let Bookmark::Kept(path) = &self.bookmark else { return };
        let new = path.with_extension("new");
        let text = self.counts.text(&self.boot_id, self.outgoing.from());
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, path));
        if let Err(error) = written {
            // The next agent then counts anew from what the kernel still holds.
            tracing::debug!(%error, path = %path.display(), "cannot keep the place in the kernel's log");
        }
    }

    /// Hands over what was not sent yet, as one batch.
    fn hand_over(&mut self, out: &mut Readings<'_>) {
        let (until, told) = self.outgoing.batch(self.counts.next);
        self.handed = Some(until);
        if told.is_empty() {
            return;
        }
        let attributes: Vec<_> = told.iter().map(|told| self.attributes(told)).collect();
        let attributes: Vec<Vec<(&str, &str)>> = attributes
            .iter()
            .map(|pairs| pairs.iter().map(|(key, value)| (*key, value.as_str())).collect())
            .collect();
        let records: Vec<Record<'_>> = told
            .iter()
            .zip(&attributes)
            .map(|(told, attributes)| {
                let (severity_number, severity_text) = severity(told.level);
                Record {
                    time_unix_nano: told.unix_nanos,
                    observed_time_unix_nano: out.now,
                    severity_number,
                    severity_text,
                    event_name: told.event.kind,
                    body: &told.message,
                    attributes,
                }
            })
            .collect();
        let id = format!(
            "{}/{}/kernel/{}-{until}",
            self.host_id,
            self.boot_id,
            self.outgoing.from()
        );
        out.events(&id, &records);
    }

    fn attributes(&self, told: &Told) -> Vec<(&'static str, String)> {
        let mut attributes = vec![("kernel.sequence", told.sequence.to_string())];
        let Some(device) = &told.event.device else {
            return attributes;
        };
        attributes.push(("device", device.clone()));
        if let Some(code) = told.event.code {
            attributes.push(("hw.id", self.uuid(device).unwrap_or_else(|| device.clone())));
            attributes.push(("hw.type", "gpu".to_owned()));
            attributes.push(("gpu.slot", slot(device)));
            let key = if told.event.kind == "gpu_sxid" { "sxid" } else { "xid" };
            attributes.push((key, code.to_string()));
        }
        attributes
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
        let looked = self.looked.replace(out.now);
        let taken = self.take(Clock {
            booted: out.booted,
            earliest: looked.unwrap_or(0).min(out.now),
            now: out.now,
        });
        if looked.is_none() && self.bookmark == Bookmark::Nowhere {
            // It would be sent anew at each start.
            self.outgoing.done(self.counts.next);
        }
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
        out.single(&metric::KERNEL_LOG_LIMITED, self.counts.limited as f64);
        self.hand_over(out);
        taken.map(|_| ()).map_err(|source| ProbeError::Read {
            path: self.device.clone(),
            source,
        })
    }

    fn spooled(&mut self) {
        let Some(until) = self.handed.take() else { return };
        let told = !self.outgoing.batch(until).1.is_empty();
        self.outgoing.done(until);
        if told {
            self.keep();
        }
    }
}

/// What the kernel's clock is read against; nanoseconds since 1970 UTC.
#[derive(Clone, Copy, Debug)]
struct Clock {
    booted: u64,
    /// The last look, which is no later than `now`.
    earliest: u64,
    now: u64,
}

impl Clock {
    /// When the kernel said something. Its clock drifts from the world's over months, so that what came since the last look
    /// came since then, and nothing comes from the future.
    fn time_of(self, micros: u64) -> u64 {
        let by_its_clock = self.booted.saturating_add(micros.saturating_mul(1000));
        by_its_clock.clamp(self.earliest, self.now)
    }
}

/// A level of syslog as OpenTelemetry's data model of logs maps it ("Appendix B: SeverityNumber example mappings").
fn severity(level: u8) -> (u8, &'static str) {
    match level {
        0 => (21, "emerg"),
        1 => (19, "alert"),
        2 => (18, "crit"),
        3 => (17, "err"),
        4 => (13, "warning"),
        5 => (10, "notice"),
        6 => (9, "info"),
        _ => (5, "debug"),
    }
}

/// The address as NVML writes it: `0000:3b:00` becomes `00000000:3B:00.0`.
fn slot(device: &str) -> String {
    let (domain, rest) = device.split_once(':').unwrap_or(("", device));
    let function = if rest.contains('.') { "" } else { ".0" };
    format!("{domain:0>8}:{rest}{function}").to_uppercase()
}

impl Counts {
    /// Moves on to a record; false when it was counted before the agent started again.
    fn move_to(&mut self, sequence: u64) -> bool {
        if sequence < self.next {
            return false;
        }
        if self.next > 0 {
            self.missed = self.missed.saturating_add(sequence - self.next);
        }
        self.next = sequence.saturating_add(1);
        true
    }

    fn count(&mut self, event: &Event) {
        let sum = self.by_kind.entry(event.kind.to_owned()).or_default();
        *sum = sum.saturating_add(1);
        let device = event.device.clone().unwrap_or_default();
        let mut key = (event.kind.to_owned(), device, event.code);
        if self.by_device.len() >= KEYS_MAX && !self.by_device.contains_key(&key) {
            key.1 = "other".to_owned();
            if self.by_device.len() >= 2 * KEYS_MAX && !self.by_device.contains_key(&key) {
                return; // Codes beyond any that there are; the sum by kind has it.
            }
        }
        let sum = self.by_device.entry(key).or_default();
        *sum = sum.saturating_add(1);
    }

    /// As kept beside the spool: a line for the boot and the places, one for each sum.
    fn text(&self, boot_id: &str, sent: u64) -> String {
        let mut text = format!(
            "boot {boot_id} next {} missed {} sent {sent} limited {}\n",
            self.next, self.missed, self.limited
        );
        for ((kind, device, code), count) in &self.by_device {
            let code = code.map_or("-".to_owned(), |code| code.to_string());
            let device = if device.is_empty() { "-" } else { device };
            text.push_str(&format!("{kind} {device} {code} {count}\n"));
        }
        text
    }
}

/// What an agent of this boot left beside the spool; `None` when the text is of another boot, whose sequence numbers were
/// others, or no such text.
fn parse(text: &str, boot_id: &str) -> Option<(Counts, Outgoing)> {
    let mut lines = text.lines();
    let words: Vec<&str> = lines.next()?.split(' ').collect();
    let (of, next, missed, sent, limited) = match words.as_slice() {
        [
            "boot",
            of,
            "next",
            next,
            "missed",
            missed,
            "sent",
            sent,
            "limited",
            limited,
        ] => (*of, *next, *missed, *sent, *limited),
        // As agents up to 0.1 wrote it, which only counted.
        ["boot", of, "next", next, "missed", missed] => (*of, *next, *missed, *next, "0"),
        _ => return None,
    };
    if of != boot_id || boot_id.is_empty() {
        return None;
    }
    let mut counts = Counts {
        next: next.parse().ok()?,
        missed: missed.parse().ok()?,
        limited: limited.parse().ok()?,
        ..Counts::default()
    };
    let outgoing = Outgoing::resumed(sent.parse().ok()?, counts.next);
    counts.read_sums(lines)?;
    Some((counts, outgoing))
}

impl Counts {
    fn read_sums<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> Option<()> {
        for line in lines.take(2 * KEYS_MAX) {
            let words: Vec<&str> = line.split(' ').collect();
            let [kind, device, code, count] = words.as_slice() else {
                return None;
            };
            let count: u64 = count.parse().ok()?;
            let device = if *device == "-" { "" } else { device };
            let code = if *code == "-" { None } else { Some(code.parse().ok()?) };
            let sum = self.by_kind.entry((*kind).to_owned()).or_default();
            *sum = sum.saturating_add(count);
            self.by_device
                .insert(((*kind).to_owned(), device.to_owned(), code), count);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
