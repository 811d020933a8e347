//! What a line of the kernel's log means: a pure function of its text.
//!
//! The phrases are those that Linux and NVIDIA's driver print; each is looked for as it stands, since a rule that is too
//! clever counts what did not happen.

/// Something that the kernel told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: &'static str,
    /// The device that it is about, as the line names it.
    pub(crate) device: Option<String>,
    /// The number that the driver gave an XID or SXID.
    pub(crate) code: Option<u32>,
}

/// Where a line names the device.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// It names none, or too many different ones to count by.
    Nowhere,
    /// The word after this text.
    After(&'static str),
    /// The last word before the phrase.
    Before,
    /// The first word of the line.
    First,
    /// The first word that looks like an address on the PCI bus.
    Pci,
}

/// Every kind of event, in the order in which the phrases are looked for.
const PHRASES: [(&str, &str, Place); 51] = [
    (
        "gpu_fell_off_bus",
        "GPU has fallen off the bus",
        Place::After("GPU at PCI:"),
    ),
    ("gpu_reset", "GPU reset begin", Place::Pci),
    ("memory_uncorrected", " UE ", Place::After("EDAC ")),
    ("memory_corrected", " CE ", Place::After("EDAC ")),
    ("machine_check", "[Hardware Error]: Machine check", Place::Nowhere),
    ("machine_check", "Machine check events logged", Place::Nowhere),
    ("machine_check", "mce: [Hardware Error]", Place::Nowhere),
    ("hardware_error", "[Hardware Error]: event severity: ", Place::Nowhere),
    ("pcie_uncorrected", "PCIe Bus Error: severity=Uncorrect", Place::Pci),
    ("pcie_corrected", "PCIe Bus Error: severity=Correct", Place::Pci),
    (
        "medium_error",
        "critical medium error, dev ",
        Place::After("error, dev "),
    ),
    ("io_error", "I/O error, dev ", Place::After("error, dev ")),
    (
        "io_error",
        "Buffer I/O error on dev",
        Place::After("Buffer I/O error on dev "),
    ),
    ("io_error", "critical target error, dev ", Place::After("error, dev ")),
    ("disk_timeout", "timeout, aborting", Place::After("nvme ")),
    ("disk_timeout", "timeout, reset controller", Place::After("nvme ")),
    ("disk_timeout", "timeout, completion polled", Place::After("nvme ")),
    ("disk_reset", "controller is down; will reset", Place::After("nvme ")),
    ("disk_lost", "Removing after probe failure", Place::After("nvme ")),
    ("disk_lost", "Device not ready; aborting", Place::After("nvme ")),
    ("disk_lost", "rejecting I/O to offline device", Place::After("sd ")),
    ("disk_reset", ": hard resetting link", Place::First),
    ("disk_error", ": exception Emask", Place::First),
    ("disk_lost", ": SATA link down", Place::First),
    ("disk_error", "FAILED Result: ", Place::After("[")),
    ("raid_disk_failed", "Disk failure on ", Place::After("Disk failure on ")),
    ("filesystem_error", "EXT4-fs error (device ", Place::After("(device ")),
    ("filesystem_error", "BTRFS error (device ", Place::After("(device ")),
    ("filesystem_error", "BTRFS critical (device ", Place::After("(device ")),
    (
        "filesystem_read_only",
        "): Filesystem has been shut down",
        Place::After("XFS ("),
    ),
    ("filesystem_error", "): metadata I/O error", Place::After("XFS (")),
    ("filesystem_error", "): Corruption ", Place::After("XFS (")),
    ("filesystem_error", "): Internal error ", Place::After("XFS (")),
    (
        "filesystem_read_only",
        "): Remounting filesystem read-only",
        Place::After("EXT4-fs ("),
    ),
    ("filesystem_read_only", "forced readonly", Place::After("(device ")),
    ("oom_kill", "ut of memory: Killed process ", Place::Nowhere),
    (
        "allocation_failure",
        ": page allocation failure: order:",
        Place::Nowhere,
    ),
    ("hung_task", " blocked for more than ", Place::Nowhere),
    ("soft_lockup", "BUG: soft lockup", Place::Nowhere),
    ("hard_lockup", "hard LOCKUP on cpu", Place::Nowhere),
    ("rcu_stall", "self-detected stall on CPU", Place::Nowhere),
    ("rcu_stall", "detected stalls on CPUs", Place::Nowhere),
    ("oops", "BUG: unable to handle", Place::Nowhere),
    ("oops", "kernel BUG at ", Place::Nowhere),
    ("oops", "general protection fault, ", Place::Nowhere),
    ("thermal_critical", "critical temperature reached", Place::Nowhere),
    ("thermal_throttle", "emperature above threshold", Place::Nowhere),
    ("conntrack_full", "nf_conntrack: table full", Place::Nowhere),
    ("syn_flood", "Possible SYN flooding on port", Place::Nowhere),
    ("clock_unstable", "Marking clocksource", Place::Nowhere),
    ("segfault", ": segfault at ", Place::Nowhere),
];

/// Phrases of drivers that all say that a network link changed.
const LINK_DOWN: [&str; 5] = [
    "NIC Link is Down",
    "Link is Down",
    "Link is down",
    "link down",
    "Link down",
];
const LINK_UP: [&str; 5] = ["NIC Link is Up", "Link is Up", "Link is up", "link up", "Link up"];

/// The kinds that do not stand in [`PHRASES`].
const OTHERS: [&str; 4] = ["gpu_xid", "gpu_sxid", "link_down", "link_up"];

/// Every kind once, sorted.
pub(crate) fn kinds() -> Vec<&'static str> {
    let mut kinds: Vec<&'static str> = PHRASES.iter().map(|(kind, ..)| *kind).chain(OTHERS).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// Longest name of a device that is kept; more is not a name.
const DEVICE_BYTES_MAX: usize = 64;

/// The event that a message tells of, if it is one of ours.
pub(crate) fn classify(message: &str) -> Option<Event> {
    if let Some(event) = xid(message) {
        return Some(event);
    }
    let found = PHRASES
        .iter()
        .find_map(|(kind, phrase, place)| Some((*kind, message.find(phrase)?, *place)));
    let (kind, at, place) = match found {
        // ` UE ` and ` CE ` are words of the memory controllers' lines alone.
        Some((kind, ..)) if kind.starts_with("memory_") && !message.starts_with("EDAC ") => return None,
        Some(found) => found,
        None => link(message)?,
    };
    let device = match place {
        Place::Nowhere => None,
        Place::After(text) => message.split_once(text).and_then(|(_, rest)| first_word(rest)),
        Place::Before => message
            .get(..at)
            .and_then(|before| before.split_ascii_whitespace().last()),
        Place::First => first_word(message),
        Place::Pci => message.split_ascii_whitespace().find(|word| is_pci(name(word))),
    };
    Some(Event {
        kind,
        device: device.map(name).and_then(kept),
        code: None,
    })
}

/// `NVRM: Xid (PCI:0000:3b:00): 79, pid=...` and `nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 22013, ...`
fn xid(message: &str) -> Option<Event> {
    let (kind, rest) = if let Some((_, rest)) = message.split_once("SXid (PCI:") {
        ("gpu_sxid", rest)
    } else {
        ("gpu_xid", message.split_once("NVRM: Xid (PCI:")?.1)
    };
    let (device, rest) = rest.split_once("): ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some(Event {
        kind,
        device: kept(device),
        code: Some(rest[..digits].parse().ok()?),
    })
}

/// A driver's word about a link: `e1000e 0000:00:19.0 eth0: NIC Link is Down`.
fn link(message: &str) -> Option<(&'static str, usize, Place)> {
    let (kind, at) = [("link_down", LINK_DOWN), ("link_up", LINK_UP)]
        .into_iter()
        .find_map(|(kind, phrases)| {
            let at = phrases.iter().find_map(|phrase| message.find(phrase))?;
            Some((kind, at))
        })?;
    // Without an interface's name before it, it is about something else: a USB port, a serial line.
    let named = message
        .get(..at)?
        .split_ascii_whitespace()
        .last()
        .is_some_and(|word| word.ends_with(':'));
    named.then_some((kind, at, Place::Before))
}

fn first_word(text: &str) -> Option<&str> {
    text.split_ascii_whitespace().next()
}

/// A word without the punctuation around it: `[sda]`, `sda1):`, `md0,`, `ata1.00:`.
fn name(word: &str) -> &str {
    let word = word.split([',', ')', ']']).next().unwrap_or(word);
    word.trim_matches(|c: char| "[]():;.".contains(c))
}

fn is_pci(word: &str) -> bool {
    // Domain, bus, device and function: 0000:3b:00.0
    let bytes = word.as_bytes();
    bytes.len() == 12 && bytes[4] == b':' && bytes[7] == b':' && bytes[10] == b'.'
}

/// A name as it is kept: printable, and short enough to be one.
fn kept(device: &str) -> Option<String> {
    let fits = !device.is_empty() && device.len() <= DEVICE_BYTES_MAX && device.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| device.to_owned())
}
