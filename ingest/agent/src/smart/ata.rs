//! ATA's SMART attributes and their thresholds (ATA/ATAPI-7, 6.20 and 8.55; SCSI/ATA Translation 3, ATA PASS-THROUGH).
//!
//! What the attributes mean is each maker's own word; those kept here mean the same nearly everywhere, and are those that
//! Backblaze found to precede failures (5, 187, 188, 197, 198) and what wears out and breaks beside them.

use std::fs::File;
use std::io;

use super::command::{self, AtaCommand};
use super::report::Values;

/// Bytes of a page.
pub(super) const PAGE_BYTES: usize = 512;

const SMART: u8 = 0xb0;
const READ_DATA: u8 = 0xd0;
const READ_THRESHOLDS: u8 = 0xd1;
/// Without this in the address the command is none of SMART's.
const SMART_ADDRESS: [u8; 2] = [0x4f, 0xc2];

/// Attributes in a page, from its third byte on, twelve bytes each.
const ATTRIBUTES: usize = 30;

/// An attribute at its threshold with this flag says that the disk is about to fail; without, that it is old.
const PRE_FAILURE: u8 = 1;

/// Number, name, and how many of the raw value's six bytes count; makers keep other things in the rest.
const KNOWN: [(u8, &str, usize); 20] = [
    (5, "reallocated_sectors", 4),
    (9, "power_on_hours", 4),
    (10, "spin_retries", 4),
    (12, "power_cycles", 4),
    (171, "program_failures", 4),
    (172, "erase_failures", 4),
    (181, "program_failures_total", 4),
    (182, "erase_failures_total", 4),
    (183, "link_downshifts", 4),
    (184, "end_to_end_errors", 4),
    (187, "reported_uncorrectable", 4),
    (188, "command_timeouts", 2),
    (192, "unsafe_shutdowns", 4),
    (193, "load_cycles", 4),
    (196, "reallocation_events", 4),
    (197, "pending_sectors", 4),
    (198, "offline_uncorrectable", 4),
    (199, "interface_crc_errors", 4),
    (232, "available_reserve", 4),
    (241, "written", 6),
];

/// Attributes whose normalised value is the share of life that is left, in percent: SanDisk's, Samsung's, Micron's and Intel's.
const WEAR: [u8; 5] = [169, 177, 202, 231, 233];

/// Asks a disk.
pub(super) fn read(device: &File) -> io::Result<Values> {
    if command::sleeps(device)? {
        return Err(io::Error::other("it stands still, and is left asleep"));
    }
    let mut pages = [[0; PAGE_BYTES]; 2];
    for (page, feature) in pages.iter_mut().zip([READ_DATA, READ_THRESHOLDS]) {
        command::ata(
            device,
            AtaCommand {
                command: SMART,
                feature,
                address: SMART_ADDRESS,
            },
            page,
        )?;
    }
    let [data, thresholds] = &pages;
    parse(data, thresholds).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its answer has a wrong checksum"))
}

/// What the two pages say; `None` where a checksum is wrong.
pub(super) fn parse(data: &[u8; PAGE_BYTES], thresholds: &[u8; PAGE_BYTES]) -> Option<Values> {
    // All bytes of a page, the last one included, sum up to a multiple of 256.
    let whole = |page: &[u8; PAGE_BYTES]| page.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == 0;
    if !whole(data) || data.iter().all(|byte| *byte == 0) {
        return None;
    }
    // Disks that have no thresholds any more give zeros or rubbish; their attributes count all the same.
    let threshold = |id: u8| {
        let mut rows = rows(thresholds).filter(|_| whole(thresholds));
        rows.find(|row| row[0] == id).map_or(0, |row| row[1])
    };
    let mut values = Values::default();
    for row in rows(data).filter(|row| row[0] != 0) {
        let (id, flags, current) = (row[0], row[1], row[3]);
        let least = threshold(id);
        // 0 never fails, 254 and 255 are no thresholds.
        values.failing |=
            flags & PRE_FAILURE != 0 && (1..254).contains(&least) && (1..254).contains(&current) && current <= least;
        if WEAR.contains(&id) && (0..=100).contains(&current) && values.endurance_remaining.is_none() {
            values.endurance_remaining = Some(f64::from(current) / 100.0);
        }
        if let Some((_, name, bytes)) = KNOWN.iter().find(|(known, ..)| *known == id) {
            let raw = row[5..5 + bytes]
                .iter()
                .rev()
                .fold(0, |all, byte| all << 8 | u64::from(*byte));
            values.attributes.push(((*name).to_owned(), raw));
        }
    }
    Some(values)
}

fn rows(page: &[u8; PAGE_BYTES]) -> impl Iterator<Item = &[u8]> {
    page[2..2 + 12 * ATTRIBUTES].chunks_exact(12)
}
