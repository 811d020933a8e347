//! Disks: bytes, operations, latency, utilisation and queue.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{Column, Paths, Probe, ProbeError, Support, needs};
use crate::catalogue as metric;
use crate::reading::Readings;
use crate::source::Source;

/// Disks beyond this many are left out: a host with more has multipath or snapshots that nobody reads one by one.
const DISKS_MAX: usize = 64;

/// A sector of `/proc/diskstats`, whatever the disk's own.
const SECTOR_BYTES: f64 = 512.0;

/// Reads `/proc/diskstats`: whole disks that have been used, no partitions, loops and RAM disks.
#[derive(Debug)]
pub struct Disk {
    source: Source,
    block: PathBuf,
    /// Whether a name is a whole disk; asked of `/sys/block` once.
    whole: HashMap<String, bool>,
    disks: Vec<Counters>,
}

impl Disk {
    /// A probe of `paths`.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self {
            source: Source::new(paths.proc.join("diskstats")),
            block: paths.sys.join("block"),
            whole: HashMap::new(),
            disks: Vec::new(),
        }
    }
}

impl Probe for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn is_supported(&mut self) -> Support {
        needs(&self.source)
    }

    fn sample(&mut self, _deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        self.disks.clear();
        for counters in self.source.read()?.lines().filter_map(parse) {
            if self.disks.len() < DISKS_MAX && counters.used() && is_whole(&mut self.whole, &self.block, &counters.name)
            {
                self.disks.push(counters);
            }
        }
        // A hot-plugged zoo of names must not stay in memory.
        if self.whole.len() > 8 * DISKS_MAX {
            self.whole.clear();
        }
        self.emit(out);
        Ok(())
    }
}

impl Disk {
    fn emit(&self, out: &mut Readings<'_>) {
        let by_direction: [Column<Counters, [f64; 2]>; 4] = [
            (&metric::DISK_IO, |disk| {
                disk.sectors.map(|sectors| sectors as f64 * SECTOR_BYTES)
            }),
            (&metric::DISK_OPERATIONS, |disk| {
                disk.operations.map(|operations| operations as f64)
            }),
            (&metric::DISK_OPERATION_TIME, |disk| disk.millis.map(seconds)),
            (&metric::DISK_MERGED, |disk| disk.merged.map(|merged| merged as f64)),
        ];
        for (metric, values) in by_direction {
            out.metric(metric);
            for disk in &self.disks {
                for (direction, value) in ["read", "write"].into_iter().zip(values(disk)) {
                    out.point(
                        &[("system.device", &disk.name), ("disk.io.direction", direction)],
                        value,
                    );
                }
            }
        }
        let by_disk: [Column<Counters, f64>; 3] = [
            (&metric::DISK_IO_TIME, |disk| seconds(disk.busy_millis)),
            (&metric::DISK_WEIGHTED_TIME, |disk| seconds(disk.weighted_millis)),
            (&metric::DISK_IN_FLIGHT, |disk| disk.in_flight as f64),
        ];
        for (metric, value) in by_disk {
            out.metric(metric);
            for disk in &self.disks {
                out.point(&[("system.device", &disk.name)], value(disk));
            }
        }
        let maintenance: [Column<Counters, [Option<f64>; 2]>; 2] = [
            (&metric::DISK_MAINTENANCE, |disk| {
                [disk.discards, disk.flushes].map(|both| both.map(|(count, _)| count as f64))
            }),
            (&metric::DISK_MAINTENANCE_TIME, |disk| {
                [disk.discards, disk.flushes].map(|both| both.map(|(_, millis)| seconds(millis)))
            }),
        ];
        for (metric, values) in maintenance {
            out.metric(metric);
            for disk in &self.disks {
                for (kind, value) in ["discard", "flush"].into_iter().zip(values(disk)) {
                    if let Some(value) = value {
                        out.point(&[("system.device", &disk.name), ("operation", kind)], value);
                    }
                }
            }
        }
    }
}

fn seconds(millis: u64) -> f64 {
    millis as f64 / 1e3
}

/// One line of `/proc/diskstats`; pairs are reads and writes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Counters {
    name: String,
    operations: [u64; 2],
    merged: [u64; 2],
    sectors: [u64; 2],
    millis: [u64; 2],
    in_flight: u64,
    busy_millis: u64,
    weighted_millis: u64,
    /// Discards and flushes, and the time they took; kernels before 4.18 and 5.5 do not count them.
    discards: Option<(u64, u64)>,
    flushes: Option<(u64, u64)>,
}

impl Counters {
    fn used(&self) -> bool {
        self.operations != [0, 0]
    }
}

/// `None` for lines that are too short or name no device.
fn parse(line: &str) -> Option<Counters> {
    let mut words = line.split_ascii_whitespace();
    let name = words.nth(2)?;
    let mut fields = [0; 11];
    for into in &mut fields {
        *into = words.next()?.parse().unwrap_or(0);
    }
    let [
        reads,
        reads_merged,
        read_sectors,
        read_millis,
        writes,
        writes_merged,
        write_sectors,
        write_millis,
        in_flight,
        busy,
        weighted,
    ] = fields;
    let mut more = words.map(|word| word.parse::<u64>().unwrap_or(0));
    let discards = match (more.next(), more.next(), more.next(), more.next()) {
        (Some(count), Some(_), Some(_), Some(millis)) => Some((count, millis)),
        _ => None,
    };
    let flushes = more.next().zip(more.next());
    Some(Counters {
        name: name.to_owned(),
        discards,
        flushes,
        merged: [reads_merged, writes_merged],
        operations: [reads, writes],
        sectors: [read_sectors, write_sectors],
        millis: [read_millis, write_millis],
        in_flight,
        busy_millis: busy,
        weighted_millis: weighted,
    })
}

fn is_whole(known: &mut HashMap<String, bool>, block: &Path, name: &str) -> bool {
    if let Some(whole) = known.get(name) {
        return *whole;
    }
    let passed_over = ["loop", "ram", "zram", "fd", "sr"].iter().any(|prefix| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    });
    // `/sys/block` names devices with `!` where `/proc` has `/` (`cciss/c0d0`). A partition is not in it.
    let whole = !passed_over && (!block.exists() || block.join(name.replace('/', "!")).exists());
    known.insert(name.to_owned(), whole);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing;

    const DISKSTATS: &str = "   7       0 loop0 5 0 5 5 5 5 5 5 5 5 5\n 254       0 vda 91170 11554 5915842 168201 9849 38074 4148352 14595 2 12992 183597 4783 24 411248 742 560 57\n\
         254       1 vda1 91170 11554 5915842 168201 9849 38074 4148352 14595 2 12992 183597\n 253       0 zram0 9 9 9 9 9 9 9 9 9 9 9\n\
           8       0 sda 0 0 0 0 0 0 0 0 0 0 0\n  8 16 sdb 1 2 3\n";

    #[test]
    fn whole_disks_in_use_are_sent_and_nothing_else() {
        let files = testing::files(&[
            ("proc/diskstats", DISKSTATS),
            ("sys/block/vda/size", "1"),
            ("sys/block/sda/size", "1"),
        ]);
        let text = testing::sample(&mut Disk::new(&files.paths));
        assert_eq!(text.lines().count(), 15, "{text}");
        for line in [
            "system.disk.io{system.device=vda,disk.io.direction=read} 3028911104 By\n",
            "system.disk.operations{system.device=vda,disk.io.direction=write} 9849 {operation}\n",
            "system.disk.operation_time{system.device=vda,disk.io.direction=read} 168.201 s\n",
            "system.disk.io_time{system.device=vda} 12.992 s\n",
            "system.linux.disk.in_flight{system.device=vda} 2 {operation}\n",
            "system.disk.merged{system.device=vda,disk.io.direction=read} 11554 {operation}\n",
            "system.linux.disk.maintenance.time{system.device=vda,operation=flush} 0.057 s\n",
        ] {
            assert!(text.contains(line), "{line} not in {text}");
        }
    }

    #[test]
    fn a_name_that_is_also_a_number_is_no_trap() {
        assert_eq!(
            parse("8 0 8 1 2 3 4 5 6 7 8 9 10 11").map(|disk| (disk.name, disk.in_flight)),
            Some(("8".to_owned(), 9))
        );
    }
}
