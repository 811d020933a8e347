//! What disks, arrays, file systems and storage links say of their own health, as far as no privilege is needed.

use std::path::Path;

use super::{Devices, Fold, Found, Value, names, text, word};
use crate::catalogue as metric;
use crate::expected::Device;
use crate::probe::{Cadence, Paths};

const DISK: &str = "physical_disk";

/// The probe of this family.
#[must_use]
pub fn probe(paths: &Paths) -> Devices {
    Devices::new(
        "storage",
        "there are no disks, arrays or file systems in /sys",
        paths,
        list,
        Cadence::Slow,
    )
    .of_kind(DISK)
}

fn list(paths: &Paths) -> Found {
    let mut found = Found::default();
    disks(&paths.sys, &mut found);
    nvme(&paths.sys, &mut found);
    arrays(&paths.sys, &mut found);
    filesystems(&paths.sys, &mut found);
    fibre_channel(&paths.sys, &mut found);
    bcache(&paths.sys, &mut found);
    zfs(paths, &mut found);
    found
}

/// What identifies the part wherever it is plugged in: its serial number or world-wide name.
pub(crate) fn identity(device: &Path) -> Option<String> {
    ["serial", "device/serial", "wwid", "device/wwid"]
        .iter()
        .find_map(|file| word(&device.join(file)))
        .map(|id| id.split_ascii_whitespace().collect::<Vec<_>>().join("_"))
}

fn disks(sys: &Path, found: &mut Found) {
    let folder = sys.join("block");
    for name in names(&folder) {
        let device = folder.join(&name);
        let real = ["loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd"]
            .iter()
            .all(|prefix| !name.starts_with(prefix));
        // A disk of size 0 is an empty slot.
        let size = text(&device.join("size")).and_then(|text| text.trim().parse::<u64>().ok());
        if !real || size.unwrap_or(0) == 0 {
            continue;
        }
        let id = identity(&device).unwrap_or_else(|| name.clone());
        // What is made to be taken out is missed by nobody.
        if word(&device.join("removable")).as_deref() != Some("1") {
            found.devices.push(Device {
                kind: DISK.to_owned(),
                id: id.clone(),
                slot: name.clone(),
            });
        }
        let attributes = [("hw.id", id.as_str()), ("hw.type", DISK), ("hw.slot", &name)];
        let inner = |file: &str| word(&device.join("device").join(file));
        found.info(
            &attributes,
            &[
                ("hw.vendor", inner("vendor")),
                ("hw.model", inner("model")),
                ("hw.firmware_version", inner("firmware_rev").or_else(|| inner("rev"))),
            ],
        );
        found.item(
            &metric::DISK_SIZE,
            &[("system.device", &name)],
            device.join("size"),
            Value::Times(512.0),
        );
        // SCSI and SATA: requests that failed, and that ran into their time limit, since the disk was found.
        for (kind, file) in [("io", "device/ioerr_cnt"), ("timeout", "device/iotmo_cnt")] {
            let [hw_id, hw_type, slot] = attributes;
            let attributes = [hw_id, hw_type, slot, ("error.type", kind)];
            found.item(&metric::HW_ERRORS, &attributes, device.join(file), Value::Times(1.0));
        }
        let state = word(&device.join("device/state"));
        if state.is_some_and(|state| ["running", "offline", "blocked", "transport-offline"].contains(&state.as_str())) {
            let [hw_id, hw_type, slot] = attributes;
            let attributes = [hw_id, hw_type, slot, ("hw.state", "running")];
            found.item(
                &metric::HW_STATUS,
                &attributes,
                device.join("device/state"),
                Value::Is("running"),
            );
        }
    }
}

/// Controllers: `live` is well; resetting, connecting and dead are what precedes a vanished disk.
fn nvme(sys: &Path, found: &mut Found) {
    let folder = sys.join("class/nvme");
    for name in names(&folder) {
        let device = folder.join(&name);
        let id = word(&device.join("serial")).unwrap_or_else(|| name.clone());
        let attributes = [
            ("hw.id", id.as_str()),
            ("hw.type", "disk_controller"),
            ("hw.slot", name.as_str()),
            ("hw.state", "live"),
        ];
        found.item(&metric::HW_STATUS, &attributes, device.join("state"), Value::Is("live"));
    }
}

/// Documentation/admin-guide/md.rst.
fn arrays(sys: &Path, found: &mut Found) {
    let folder = sys.join("block");
    for name in names(&folder).iter().filter(|name| name.starts_with("md")) {
        let array = folder.join(name).join("md");
        let attributes = [("system.device", name.as_str())];
        for (metric, file, value) in [
            (&metric::RAID_DISKS, "raid_disks", Value::Times(1.0)),
            (&metric::RAID_DEGRADED, "degraded", Value::Times(1.0)),
            (&metric::RAID_MISMATCHES, "mismatch_cnt", Value::Times(1.0)),
        ] {
            found.item(metric, &attributes, array.join(file), value);
        }
        let states = [
            "clean",
            "active",
            "active-idle",
            "readonly",
            "read-auto",
            "write-pending",
        ];
        for state in ["inactive", "broken"].into_iter().chain(states) {
            // Only the state that the array is in, and the bad ones: a change shows as the former's 0.
            let now = word(&array.join("array_state"));
            if now.as_deref() == Some(state) || ["inactive", "broken"].contains(&state) {
                let attributes = [attributes[0], ("state", state)];
                found.item(
                    &metric::RAID_STATE,
                    &attributes,
                    array.join("array_state"),
                    Value::Is(state),
                );
            }
        }
        let disks = names(&array);
        let errors = disks
            .iter()
            .filter(|disk| disk.starts_with("dev-"))
            .map(|disk| array.join(disk).join("errors"))
            .collect();
        found.fold(&metric::RAID_ERRORS, &attributes, errors, Value::Times(1.0), Fold::Sum);
    }
}

/// Errors that file systems count themselves: ext4 in its superblock, btrfs by device.
fn filesystems(sys: &Path, found: &mut Found) {
    let folder = sys.join("fs/ext4");
    for name in names(&folder) {
        let attributes = [("system.device", name.as_str()), ("system.filesystem.type", "ext4")];
        for (kind, file) in [("errors", "errors_count"), ("warnings", "warning_count")] {
            let attributes = [attributes[0], attributes[1], ("error.type", kind)];
            found.item(
                &metric::FILESYSTEM_ERRORS,
                &attributes,
                folder.join(&name).join(file),
                Value::Times(1.0),
            );
        }
    }
    let folder = sys.join("fs/btrfs");
    for name in names(&folder) {
        let devices = folder.join(&name).join("devinfo");
        for device in names(&devices) {
            let place = format!("{name}/{device}");
            for kind in [
                "write_errs",
                "read_errs",
                "flush_errs",
                "corruption_errs",
                "generation_errs",
            ] {
                let attributes = [
                    ("system.device", place.as_str()),
                    ("system.filesystem.type", "btrfs"),
                    ("error.type", kind.trim_end_matches("_errs")),
                ];
                found.item(
                    &metric::FILESYSTEM_ERRORS,
                    &attributes,
                    devices.join(&device).join("error_stats"),
                    Value::After(kind, 1.0),
                );
            }
        }
    }
    let folder = sys.join("fs/xfs");
    for name in names(&folder).iter().filter(|name| *name != "stats") {
        // The fields of the line are drawn in fs/xfs/xfs_stats.c: log writes, and those that had to wait for room.
        found.item(
            &metric::XFS_LOG_WRITES,
            &[("system.device", name)],
            folder.join(name).join("stats/stats"),
            Value::After("log", 1.0),
        );
    }
}

fn fibre_channel(sys: &Path, found: &mut Found) {
    let folder = sys.join("class/fc_host");
    for name in names(&folder) {
        let device = folder.join(&name);
        let id = word(&device.join("port_name")).unwrap_or_else(|| name.clone());
        let attributes = [
            ("hw.id", id.as_str()),
            ("hw.type", "network"),
            ("hw.slot", name.as_str()),
        ];
        found.item(
            &metric::NETWORK_UP,
            &attributes,
            device.join("port_state"),
            Value::Is("Online"),
        );
        // `16 Gbit`
        found.item(
            &metric::NETWORK_LIMIT,
            &attributes,
            device.join("speed"),
            Value::Positive(125e6),
        );
        for kind in [
            "error_frames",
            "invalid_crc_count",
            "invalid_tx_word_count",
            "link_failure_count",
            "loss_of_signal_count",
            "loss_of_sync_count",
        ] {
            let [hw_id, hw_type, slot] = attributes;
            let attributes = [hw_id, hw_type, slot, ("error.type", kind.trim_end_matches("_count"))];
            found.item(
                &metric::HW_ERRORS,
                &attributes,
                device.join("statistics").join(kind),
                Value::Times(1.0),
            );
        }
    }
}

fn bcache(sys: &Path, found: &mut Found) {
    let folder = sys.join("fs/bcache");
    for name in names(&folder).iter().filter(|name| name.len() == 36) {
        for cache in names(&folder.join(name))
            .iter()
            .filter(|name| name.starts_with("cache"))
        {
            let attributes = [
                ("hw.id", name.as_str()),
                ("hw.type", "physical_disk"),
                ("error.type", "io"),
            ];
            found.item(
                &metric::HW_ERRORS,
                &attributes,
                folder.join(name).join(cache).join("io_errors"),
                Value::Times(1.0),
            );
        }
    }
}

/// Pools by state, and how large the cache is: it counts as used memory and yet shrinks on demand.
fn zfs(paths: &Paths, found: &mut Found) {
    let folder = paths.proc.join("spl/kstat/zfs");
    for name in names(&folder) {
        let attributes = [
            ("hw.id", name.as_str()),
            ("hw.type", "logical_disk"),
            ("hw.state", "online"),
        ];
        found.item(
            &metric::HW_STATUS,
            &attributes,
            folder.join(&name).join("state"),
            Value::Is("ONLINE"),
        );
    }
    // Lines of arcstats: name, type, value.
    found.item(&metric::ZFS_ARC, &[], folder.join("arcstats"), Value::Third("size"));
}
