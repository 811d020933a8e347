//! Devices in `/sys`: one engine that lists devices, reads a number per file and remembers who was there.
//!
//! ```text
//! family (hardware, storage, links) ─ list, every few minutes ─► devices, each with items: metric, attributes, file, scale
//!                                                                   └ read, every round of the probe ─► points
//! ```
//! A device that was seen once and is no longer listed stays known as gone: absence is what many failures look like. A driver may not come
//! back from being asked, so that files are read in a thread that the families share, and that is replaced when it hangs.

pub mod amd;
pub mod hardware;
pub mod links;
pub mod storage;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::worker::{Hands, Timed, Worker};
use super::{Cadence, Paths, Probe, ProbeError, Support};
use crate::catalogue::{self as metric, Metric};
use crate::expected::{Device, Expected, Keep};
use crate::reading::Readings;

/// Time between two looks for devices that came or went.
const LIST_EVERY: Duration = Duration::from_secs(300);

/// How long a start waits for devices to tell whether there are any.
const PATIENCE: Duration = Duration::from_secs(2);

/// A reading that takes longer is reported as stalled.
const STALLED_AFTER: Duration = Duration::from_secs(10);

/// Items of one family; a host with more has them left out.
const ITEMS_MAX: usize = 1024;

/// Longest text that is read: the files hold a number each, statistics a few lines.
const BYTES_MAX: usize = 64 << 10;

/// A number in a file of a device, or one made of the numbers of several.
#[derive(Debug)]
pub(crate) struct Item {
    metric: &'static Metric,
    attributes: Vec<(&'static str, String)>,
    files: Vec<PathBuf>,
    value: Value,
    fold: Fold,
}

/// One number of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    Sum,
    Mean,
    Least,
    /// What the first is of the last.
    Share,
}

/// How a file's text becomes a number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    /// The first word, times this; `0x` begins a hexadecimal number.
    Times(f64),
    /// As [`Value::Times`], without numbers below zero, which say that there is none.
    Positive(f64),
    /// The text after this word on its line, times the factor.
    After(&'static str, f64),
    /// The third word of the line that begins with this one.
    Third(&'static str),
    /// 1 if the text, trimmed, is this word, else 0.
    Is(&'static str),
    /// The generation of PCIe that a link of this speed has: `16.0 GT/s PCIe`.
    Generation,
    /// The number, without its unit, in the line that a star marks: `1: 1750Mhz *`.
    Marked,
    /// The number of words.
    Words,
    /// Read when the device was listed.
    Known(f64),
}

impl Item {
    fn new(
        metric: &'static Metric,
        attributes: &[(&'static str, &str)],
        files: Vec<PathBuf>,
        value: Value,
        fold: Fold,
    ) -> Self {
        Self {
            metric,
            attributes: attributes
                .iter()
                .map(|(key, value)| (*key, (*value).to_owned()))
                .collect(),
            files,
            value,
            fold,
        }
    }

    /// `None` when no file gives a number.
    fn read(&self) -> Option<f64> {
        if let Value::Known(value) = self.value {
            return Some(value);
        }
        let (mut count, mut sum, mut least) = (0.0, 0.0, f64::INFINITY);
        let (mut first, mut last) = (0.0, 0.0);
        for value in self.files.iter().filter_map(|file| self.value.of(&text(file)?)) {
            if count == 0.0 {
                first = value;
            }
            last = value;
            count += 1.0;
            sum += value;
            least = value.min(least);
        }
        let value = match self.fold {
            Fold::Sum => sum,
            Fold::Mean => sum / count,
            Fold::Least => least,
            Fold::Share if count == 2.0 && last > 0.0 => first / last,
            Fold::Share => return None,
        };
        (count > 0.0).then_some(value)
    }
}

impl Value {
    fn of(self, text: &str) -> Option<f64> {
        let value = match self {
            Self::Times(factor) => number(text.split_ascii_whitespace().next()?)? * factor,
            Self::Positive(factor) => {
                number(text.split_ascii_whitespace().next()?).filter(|number| *number >= 0.0)? * factor
            }
            Self::After(word, factor) => number(line(text, word)?.split_ascii_whitespace().nth(1)?)? * factor,
            Self::Third(word) => number(line(text, word)?.split_ascii_whitespace().nth(2)?)?,
            Self::Is(word) => f64::from(u8::from(text.trim() == word)),
            Self::Generation => {
                let speed = number(text.split_ascii_whitespace().next()?)?;
                let place = SPEEDS.iter().position(|known| *known == speed)?;
                (place + 1) as f64
            }
            Self::Marked => {
                let line = text.lines().find(|line| line.trim_end().ends_with('*'))?;
                let word = line.split_ascii_whitespace().nth(1)?;
                number(word.trim_end_matches(|c: char| c.is_ascii_alphabetic()))?
            }
            Self::Words => text.split_ascii_whitespace().count() as f64,
            Self::Known(value) => value,
        };
        value.is_finite().then_some(value)
    }
}

/// Transfers of a PCIe lane by generation, from the first on, in thousand millions a second.
const SPEEDS: [f64; 6] = [2.5, 5.0, 8.0, 16.0, 32.0, 64.0];

/// The line whose first word is this.
fn line<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.lines()
        .find(|line| line.split_ascii_whitespace().next() == Some(word))
}

fn number(word: &str) -> Option<f64> {
    if let Some(digits) = word.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().map(|number| number as f64);
    }
    word.parse().ok().filter(|number: &f64| number.is_finite())
}

/// What a family found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) devices: Vec<Device>,
    pub(crate) items: Vec<Item>,
}

impl Found {
    /// Adds an item if its file is there and gives a number.
    pub(crate) fn item(
        &mut self,
        metric: &'static Metric,
        attributes: &[(&'static str, &str)],
        file: PathBuf,
        value: Value,
    ) {
        self.fold(metric, attributes, vec![file], value, Fold::Sum);
    }

    /// Tells what a device is, as far as that is known: maker, model, firmware and driver.
    pub(crate) fn info(&mut self, device: &[(&'static str, &str)], facts: &[(&'static str, Option<String>)]) {
        let known = facts.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?)));
        let attributes: Vec<(&'static str, &str)> = device.iter().copied().chain(known).collect();
        if attributes.len() > device.len() {
            self.fold(&metric::HW_INFO, &attributes, Vec::new(), Value::Known(1.0), Fold::Sum);
        }
    }

    /// Adds an item made of several files, if one of them gives a number.
    pub(crate) fn fold(
        &mut self,
        metric: &'static Metric,
        attributes: &[(&'static str, &str)],
        files: Vec<PathBuf>,
        value: Value,
        fold: Fold,
    ) {
        if self.items.len() < ITEMS_MAX {
            let item = Item::new(metric, attributes, files, value, fold);
            if item.read().is_some() {
                self.items.push(item);
            }
        }
    }
}

/// Lists the devices of a family below `/proc` and `/sys`.
type List = fn(&Paths) -> Found;

/// The devices of a family, looked at once.
#[derive(Debug)]
struct Look {
    items: Arc<Vec<Item>>,
    /// One for each item; `None` where no file gives a number any more.
    values: Vec<Option<f64>>,
    /// All devices, where they were listed anew.
    listed: Option<Vec<Device>>,
}

/// Looks at the devices of a family. It may hang.
#[derive(Debug)]
struct Looker {
    paths: Paths,
    list: List,
    /// Devices are to be listed anew.
    again: Arc<AtomicBool>,
    items: Arc<Vec<Item>>,
    listed: Option<Instant>,
}

impl Looker {
    fn look(&mut self) -> Look {
        let listed = self.list_anew();
        let values: Vec<Option<f64>> = self.items.iter().map(Item::read).collect();
        if values.contains(&None) {
            // Whatever went away is looked for in the next round and not in five minutes.
            self.listed = None;
        }
        Look {
            items: Arc::clone(&self.items),
            values,
            listed,
        }
    }

    fn list_anew(&mut self) -> Option<Vec<Device>> {
        let asked = self.again.swap(false, Ordering::Relaxed);
        if !asked && self.listed.is_some_and(|at| at.elapsed() < LIST_EVERY) {
            return None;
        }
        self.listed = Some(Instant::now());
        let mut found = (self.list)(&self.paths);
        // Points of one metric go together, as OTLP wants them.
        found.items.sort_by_key(|item| item.metric.def.name);
        self.items = Arc::new(found.items);
        Some(found.devices)
    }
}

/// The devices of one family.
#[derive(Debug)]
pub struct Devices {
    name: &'static str,
    nothing: &'static str,
    cadence: Cadence,
    hands: Hands,
    /// Goes to the worker with the first reading.
    looker: Option<Looker>,
    worker: Option<Worker<Look>>,
    /// Has them listed anew.
    again: Arc<AtomicBool>,
    /// Whether the last look found any.
    has_items: bool,
    /// Kind of the devices whose absence is told; none where it is empty.
    kind: &'static str,
    /// How they are told: `hw.type`, and the attribute of their slot.
    told: [&'static str; 2],
    expected: Expected,
}

impl Devices {
    pub(crate) fn new(name: &'static str, nothing: &'static str, paths: &Paths, list: List, cadence: Cadence) -> Self {
        let again = Arc::new(AtomicBool::new(false));
        let looker = Looker {
            paths: paths.clone(),
            list,
            again: Arc::clone(&again),
            items: Arc::default(),
            listed: None,
        };
        Self {
            name,
            nothing,
            cadence,
            hands: Hands::new(),
            looker: Some(looker),
            worker: None,
            again,
            has_items: false,
            kind: "",
            told: ["", "hw.slot"],
            expected: Expected::new(Keep::Nowhere),
        }
    }

    /// Tells of devices of this kind that are gone.
    pub(crate) fn of_kind(self, kind: &'static str) -> Self {
        let told = [kind, self.told[1]];
        Self { kind, told, ..self }
    }

    /// Tells of them under another `hw.type`, and the slot under another attribute.
    pub(crate) fn told_as(self, hw_type: &'static str, slot: &'static str) -> Self {
        let told = [hw_type, slot];
        Self { told, ..self }
    }

    /// The same, with the memory of this host's devices.
    pub(crate) fn expecting(self, expected: &Expected) -> Self {
        let expected = expected.clone();
        Self { expected, ..self }
    }

    /// The same, read by these hands, which other families share.
    pub(crate) fn read_by(self, hands: &Hands) -> Self {
        let hands = hands.clone();
        Self { hands, ..self }
    }

    /// The looks since this was last asked, the one under way included if it comes back until `deadline`.
    fn take(&mut self, deadline: Instant) -> Vec<Timed<Look>> {
        let looks = self
            .worker
            .as_ref()
            .map_or_else(Vec::new, |worker| worker.take(deadline));
        for timed in &looks {
            self.has_items = !timed.reading.items.is_empty();
            if let Some(devices) = timed.reading.listed.as_ref().filter(|_| !self.kind.is_empty()) {
                self.expected
                    .found(self.kind, devices, timed.unix_nanos / 1_000_000_000);
            }
        }
        looks
    }

    fn busy_for(&self) -> Option<Duration> {
        self.worker.as_ref().and_then(Worker::busy_for)
    }

    fn emit(&self, time: u64, look: &Look, out: &mut Readings<'_>) {
        let mut open = "";
        for (item, value) in look.items.iter().zip(&look.values) {
            let Some(value) = value else { continue };
            if open != item.metric.def.name {
                open = item.metric.def.name;
                out.metric(item.metric);
            }
            let attributes: Vec<(&str, &str)> = item
                .attributes
                .iter()
                .map(|(key, value)| (*key, value.as_str()))
                .collect();
            out.point_at(time, &attributes, *value);
        }
        let expected = self.expected.of(self.kind);
        if !expected.is_empty() {
            out.metric(&metric::HW_STATUS);
        }
        for (device, there) in &expected {
            let attributes = [
                ("hw.id", device.id.as_str()),
                ("hw.type", self.told[0]),
                (self.told[1], device.slot.as_str()),
                ("hw.state", "ok"),
            ];
            out.point_at(time, &attributes, f64::from(u8::from(*there)));
        }
    }
}

impl Probe for Devices {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_supported(&mut self) -> Support {
        self.again.store(true, Ordering::Relaxed);
        self.begin();
        self.take(Instant::now() + PATIENCE);
        // Devices that do not answer are there.
        if self.has_items || self.busy_for().is_some() || self.expected.has(self.kind) {
            Support::Yes
        } else {
            Support::No(self.nothing.to_owned())
        }
    }

    fn cadence(&self) -> Cadence {
        self.cadence
    }

    fn begin(&mut self) {
        if let Some(mut looker) = self.looker.take() {
            self.worker = Some(Worker::lent(&self.hands, move || looker.look()));
        }
        if let Some(worker) = &self.worker {
            worker.begin();
        }
    }

    fn has_late(&self) -> bool {
        self.worker.as_ref().is_some_and(Worker::has_readings)
    }

    fn sample(&mut self, deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        for timed in self.take(deadline) {
            // What was read in this round stands at its time, beside all else of it; what comes late at its own.
            self.emit(timed.unix_nanos.min(out.now), &timed.reading, out);
        }
        match self.busy_for() {
            Some(busy) if busy > STALLED_AFTER => Err(ProbeError::Stalled {
                what: "a file of a device in /sys",
                seconds: busy.as_secs(),
            }),
            _ => Ok(()),
        }
    }
}

/// Names in a folder, sorted, at most as many as there may be items.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .take(4 * ITEMS_MAX)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    names.truncate(ITEMS_MAX);
    names
}

/// A small file's text; what is no text, or cannot be read, is none.
fn text(file: &Path) -> Option<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(file)
        .ok()?
        .take(BYTES_MAX as u64)
        .read_to_end(&mut bytes)
        .ok()?;
    String::from_utf8(bytes).ok()
}

/// A small file's text without the white space around it; `None` when nothing is left.
fn word(file: &Path) -> Option<String> {
    let text = text(file)?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The last part of what a symbolic link points to: the name of a driver, a bus, a slot.
fn link(file: &Path) -> Option<String> {
    let target = fs::read_link(file).ok()?;
    target.file_name()?.to_str().map(str::to_owned)
}

#[cfg(test)]
mod tests;
