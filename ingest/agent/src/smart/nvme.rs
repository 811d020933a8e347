//! NVMe's SMART / Health Information log (NVM Express Base Specification 2.0c, 5.16.1.3).

use std::fs::File;
use std::io;

use super::command::{self, NvmeCommand};
use super::report::Values;

/// Bytes of the log.
pub(super) const LOG_BYTES: usize = 512;

const GET_LOG_PAGE: u8 = 0x02;
const HEALTH_LOG: u32 = 0x02;
/// The controller as a whole.
const ALL_NAMESPACES: u32 = 0xffff_ffff;

/// Bits of the critical warning that say that the disk is about to be lost: spare blocks are used up, it is unreliable, it takes
/// no writes, the backup of its volatile memory failed. The second bit is heat, which passes.
const FAILING: u8 = 0b1_1101;

/// Counters and levels: name, first byte, bytes.
const FIELDS: [(&str, usize, usize); 13] = [
    ("critical_warning", 0, 1),
    ("available_spare", 3, 1),
    ("available_spare_threshold", 4, 1),
    ("percentage_used", 5, 1),
    ("data_units_read", 32, 16),
    ("data_units_written", 48, 16),
    ("power_cycles", 112, 16),
    ("power_on_hours", 128, 16),
    ("unsafe_shutdowns", 144, 16),
    ("media_errors", 160, 16),
    ("error_log_entries", 176, 16),
    ("warning_temperature_minutes", 192, 4),
    ("critical_temperature_minutes", 196, 4),
];

/// Asks a controller.
pub(super) fn read(device: &File) -> io::Result<Values> {
    let mut log = [0; LOG_BYTES];
    let dwords = (LOG_BYTES / 4 - 1) as u32;
    command::nvme(
        device,
        &NvmeCommand {
            opcode: GET_LOG_PAGE,
            namespace: ALL_NAMESPACES,
            // How many dwords less one, and which log.
            dword_10: dwords << 16 | HEALTH_LOG,
        },
        &mut log,
    )?;
    Ok(parse(&log))
}

/// What the log says.
pub(super) fn parse(log: &[u8; LOG_BYTES]) -> Values {
    let attributes = FIELDS
        .iter()
        .map(|(name, at, bytes)| {
            // Sixteen bytes hold more than any counter gets to; a number beyond 64 bits counts as the largest.
            let wide = log[*at..at + bytes]
                .iter()
                .rev()
                .fold(0u128, |all, byte| all << 8 | u128::from(*byte));
            ((*name).to_owned(), u64::try_from(wide).unwrap_or(u64::MAX))
        })
        .collect();
    // More than 100 percent are told up to 255: such a disk has outlived what its maker promised.
    let remaining = 1.0 - f64::from(log[5]) / 100.0;
    Values {
        failing: log[0] & FAILING != 0,
        endurance_remaining: Some(remaining.max(0.0)),
        attributes,
    }
}
