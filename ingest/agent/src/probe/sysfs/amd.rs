//! AMD's GPUs, as their driver shows them without a library: Documentation/gpu/amdgpu/driver-misc.rst, thermal.rst and ras.rst.
//!
//! Temperatures, power and fans stand in `/sys/class/hwmon`, under the address that is the slot here.

use std::path::Path;

use super::{Devices, Fold, Found, Value, names, word};
use crate::catalogue as metric;
use crate::expected::Device;
use crate::probe::{Cadence, Paths};

/// PCI's number of the maker.
const VENDOR: &str = "0x1002";

/// Their kind in the memory of devices: NVIDIA's GPUs of the same host are found by another probe.
const KIND: &str = "gpu_amd";

/// The probe of this family.
#[must_use]
pub fn probe(paths: &Paths) -> Devices {
    let nothing = "there are no GPUs of AMD's with a driver in /sys/class/drm";
    Devices::new("gpu_amd", nothing, paths, list, Cadence::Usual)
        .of_kind(KIND)
        .told_as("gpu", "gpu.slot")
}

fn list(paths: &Paths) -> Found {
    let mut found = Found::default();
    let folder = paths.sys.join("class/drm");
    let cards = names(&folder).into_iter().filter(|name| {
        // card0 is a GPU, card0-DP-1 one of its outputs.
        name.strip_prefix("card")
            .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    });
    for name in cards {
        let device = folder.join(&name).join("device");
        if word(&device.join("vendor")).as_deref() == Some(VENDOR) && device.join("driver").exists() {
            gpu(&name, &device, &mut found);
        }
    }
    found
}

fn gpu(name: &str, device: &Path, found: &mut Found) {
    // `PCI_SLOT_NAME=0000:c1:00.0`
    let address = word(&device.join("uevent")).and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("PCI_SLOT_NAME="))?;
        Some(line.to_owned())
    });
    let slot = address.unwrap_or_else(|| name.to_owned());
    let id = word(&device.join("unique_id")).map_or_else(|| slot.clone(), |id| format!("GPU-{id}"));
    found.devices.push(Device {
        kind: KIND.to_owned(),
        id: id.clone(),
        slot: slot.clone(),
    });
    let gpu = [("hw.id", id.as_str()), ("hw.type", "gpu"), ("gpu.slot", slot.as_str())];
    let with = |more: (&'static str, &'static str)| [gpu[0], gpu[1], gpu[2], more];
    let model = word(&device.join("product_name")).or_else(|| word(&device.join("device")));
    found.info(
        &gpu,
        &[
            ("hw.vendor", Some("AMD".to_owned())),
            ("hw.model", model),
            ("hw.firmware_version", word(&device.join("vbios_version"))),
            ("hw.driver_version", word(&device.join("driver/module/version"))),
        ],
    );
    let file = |name: &str| device.join(name);
    for (metric, name, value) in [
        (&metric::GPU_UTILIZATION, "gpu_busy_percent", Value::Times(0.01)),
        (&metric::GPU_MEMORY_USAGE, "mem_info_vram_used", Value::Times(1.0)),
        (&metric::GPU_MEMORY_LIMIT, "mem_info_vram_total", Value::Times(1.0)),
        (&metric::GPU_PCIE_WIDTH, "current_link_width", Value::Times(1.0)),
        (&metric::GPU_PCIE_GENERATION, "current_link_speed", Value::Generation),
    ] {
        found.item(metric, &gpu, file(name), value);
    }
    let used = vec![file("mem_info_vram_used"), file("mem_info_vram_total")];
    found.fold(
        &metric::GPU_MEMORY_UTILIZATION,
        &gpu,
        used,
        Value::Times(1.0),
        Fold::Share,
    );
    for (metric, more, name, value) in [
        (
            &metric::GPU_PCIE_LIMIT,
            ("of", "width"),
            "max_link_width",
            Value::Times(1.0),
        ),
        (
            &metric::GPU_PCIE_LIMIT,
            ("of", "generation"),
            "max_link_speed",
            Value::Generation,
        ),
        (&metric::GPU_CLOCK, ("domain", "sm"), "pp_dpm_sclk", Value::Marked),
        (&metric::GPU_CLOCK, ("domain", "memory"), "pp_dpm_mclk", Value::Marked),
        (
            &metric::HW_ERRORS,
            ("error.type", "pcie_replay"),
            "pcie_replay_count",
            Value::Times(1.0),
        ),
    ] {
        found.item(metric, &with(more), file(name), value);
    }
    // A file for each block of the chip: `ue: 0` and `ce: 3`.
    let blocks = names(&file("ras"))
        .into_iter()
        .filter(|name| name.ends_with("_err_count"));
    let blocks: Vec<_> = blocks.map(|name| file("ras").join(name)).collect();
    for (kind, line) in [("ecc_corrected", "ce:"), ("ecc_uncorrected", "ue:")] {
        let value = Value::After(line, 1.0);
        found.fold(
            &metric::HW_ERRORS,
            &with(("error.type", kind)),
            blocks.clone(),
            value,
            Fold::Sum,
        );
    }
}
