//! Sensors, memory controllers, processors' throttling, power supplies, watchdogs.

use std::path::Path;

use super::{Devices, Fold, Found, Value, names, number, text, word};
use crate::catalogue as metric;
use crate::probe::{Cadence, Paths};

/// The probe of this family.
#[must_use]
pub fn probe(paths: &Paths) -> Devices {
    Devices::new(
        "hardware",
        "there are no sensors, memory controllers or power supplies in /sys",
        paths,
        list,
        Cadence::Slow,
    )
}

fn list(paths: &Paths) -> Found {
    let mut found = Found::default();
    hwmon(&paths.sys, &mut found);
    thermal(&paths.sys, &mut found);
    edac(&paths.sys, &mut found);
    processors(&paths.sys, &mut found);
    power(&paths.sys, &mut found);
    watchdogs(&paths.sys, &mut found);
    found
}

/// Documentation/hwmon/sysfs-interface.rst: `<kind><n>_input` in thousandths of the unit, power in millionths.
fn hwmon(sys: &Path, found: &mut Found) {
    for chip in names(&sys.join("class/hwmon")) {
        let folder = sys.join("class/hwmon").join(&chip);
        let name = word(&folder.join("name")).unwrap_or_else(|| chip.clone());
        // The chip's place on its bus stays, its number may change at each boot.
        let device = std::fs::read_link(folder.join("device"))
            .ok()
            .and_then(|target| Some(target.file_name()?.to_str()?.to_owned()));
        let id = device.map_or_else(|| name.clone(), |device| format!("{name}/{device}"));
        for file in names(&folder) {
            let Some((sensor, "input")) = file.rsplit_once('_') else {
                continue;
            };
            let kind = sensor.trim_end_matches(|c: char| c.is_ascii_digit());
            let label = word(&folder.join(format!("{sensor}_label"))).unwrap_or_else(|| sensor.to_owned());
            let place = format!("{name} {label}");
            let attributes = [("hw.id", id.as_str()), ("hw.sensor_location", place.as_str())];
            let read = |suffix: &str| folder.join(format!("{sensor}_{suffix}"));
            match kind {
                "temp" => {
                    found.item(&metric::HW_TEMPERATURE, &attributes, read("input"), Value::Times(1e-3));
                    for (suffix, limit) in [("max", "high.degraded"), ("crit", "high.critical")] {
                        let attributes = [attributes[0], attributes[1], ("hw.limit_type", limit)];
                        found.item(
                            &metric::HW_TEMPERATURE_LIMIT,
                            &attributes,
                            read(suffix),
                            Value::Times(1e-3),
                        );
                    }
                }
                "fan" => found.item(&metric::HW_FAN_SPEED, &attributes, read("input"), Value::Times(1.0)),
                "in" => found.item(&metric::HW_VOLTAGE, &attributes, read("input"), Value::Times(1e-3)),
                "power" => found.item(&metric::HOST_POWER, &attributes, read("input"), Value::Times(1e-6)),
                _ => {}
            }
            for alarm in ["alarm", "crit_alarm", "fault"] {
                let attributes = [attributes[0], attributes[1], ("alarm", alarm)];
                found.item(&metric::HW_ALARM, &attributes, read(alarm), Value::Times(1.0));
            }
        }
    }
}

fn thermal(sys: &Path, found: &mut Found) {
    let folder = sys.join("class/thermal");
    for name in names(&folder) {
        let device = folder.join(&name);
        if name.starts_with("thermal_zone") {
            let kind = word(&device.join("type")).unwrap_or_default();
            let place = format!("{name} {kind}");
            let attributes = [("hw.id", name.as_str()), ("hw.sensor_location", place.trim())];
            found.item(
                &metric::HW_TEMPERATURE,
                &attributes,
                device.join("temp"),
                Value::Times(1e-3),
            );
        } else if name.starts_with("cooling_device") {
            let kind = word(&device.join("type")).unwrap_or_default();
            let attributes = [("hw.id", name.as_str()), ("cooling.type", kind.as_str())];
            found.item(
                &metric::COOLING_STATE,
                &attributes,
                device.join("cur_state"),
                Value::Times(1.0),
            );
        }
    }
}

/// Documentation/admin-guide/ras.rst: counts by memory controller, and by DIMM where the driver knows them.
fn edac(sys: &Path, found: &mut Found) {
    let folder = sys.join("devices/system/edac/mc");
    for controller in names(&folder).iter().filter(|name| name.starts_with("mc")) {
        let mut places = vec![(controller.clone(), folder.join(controller), ["ce_count", "ue_count"])];
        for dimm in names(&folder.join(controller)) {
            if dimm.starts_with("dimm") || dimm.starts_with("rank") {
                let path = folder.join(controller).join(&dimm);
                let label = word(&path.join("dimm_label")).unwrap_or(dimm);
                places.push((
                    format!("{controller}/{label}"),
                    path,
                    ["dimm_ce_count", "dimm_ue_count"],
                ));
            }
        }
        for (id, path, files) in places {
            for (kind, file) in ["corrected", "uncorrected"].into_iter().zip(files) {
                let attributes = [("hw.id", id.as_str()), ("hw.type", "memory"), ("error.type", kind)];
                found.item(&metric::HW_ERRORS, &attributes, path.join(file), Value::Times(1.0));
            }
        }
    }
}

/// Clocks and throttling, summed up: a host with 512 processors must not become 1,024 series.
fn processors(sys: &Path, found: &mut Found) {
    let folder = sys.join("devices/system/cpu");
    let mut packages = std::collections::BTreeSet::new();
    let (mut cores, mut firsts) = (Vec::new(), Vec::new());
    for cpu in names(&folder) {
        let number = cpu.strip_prefix("cpu").and_then(|number| number.parse::<u32>().ok());
        if number.is_none() {
            continue;
        }
        let cpu = folder.join(cpu);
        if packages.insert(word(&cpu.join("topology/physical_package_id"))) {
            firsts.push(cpu.join("thermal_throttle/package_throttle_count"));
        }
        cores.push(cpu);
    }
    let each = |file: &str| cores.iter().map(|cpu| cpu.join(file)).collect::<Vec<_>>();
    for (of, fold) in [("mean", Fold::Mean), ("slowest", Fold::Least)] {
        found.fold(
            &metric::CPU_FREQUENCY,
            &[("of", of)],
            each("cpufreq/scaling_cur_freq"),
            Value::Times(1e3),
            fold,
        );
    }
    let throttles = [
        ("core", each("thermal_throttle/core_throttle_count")),
        ("package", firsts),
    ];
    for (level, files) in throttles {
        found.fold(
            &metric::CPU_THROTTLES,
            &[("level", level)],
            files,
            Value::Times(1.0),
            Fold::Sum,
        );
    }
}

fn power(sys: &Path, found: &mut Found) {
    let folder = sys.join("class/power_supply");
    for name in names(&folder) {
        let device = folder.join(&name);
        let attributes = [("hw.id", name.as_str()), ("hw.type", "power_supply")];
        let state = [attributes[0], attributes[1], ("hw.state", "online")];
        found.item(&metric::HW_STATUS, &state, device.join("online"), Value::Times(1.0));
        found.item(
            &metric::BATTERY_CHARGE,
            &[("hw.id", name.as_str())],
            device.join("capacity"),
            Value::Times(0.01),
        );
    }
    // Energy by package; only root may read it since it tells what is computed (CVE-2020-8694).
    let folder = sys.join("class/powercap");
    for zone in names(&folder).iter().filter(|zone| zone.matches(':').count() == 1) {
        let name = word(&folder.join(zone).join("name")).unwrap_or_default();
        let attributes = [("hw.id", zone.as_str()), ("hw.type", "cpu"), ("hw.name", name.as_str())];
        found.item(
            &metric::HW_ENERGY,
            &attributes,
            folder.join(zone).join("energy_uj"),
            Value::Times(1e-6),
        );
    }
}

fn watchdogs(sys: &Path, found: &mut Found) {
    let folder = sys.join("class/watchdog");
    for name in names(&folder) {
        let attributes = [("hw.id", name.as_str())];
        found.item(
            &metric::WATCHDOG_TIMELEFT,
            &attributes,
            folder.join(&name).join("timeleft"),
            Value::Times(1.0),
        );
        // Bit 5 of the boot status: the last reset was the watchdog's.
        if let Some(status) = text(&folder.join(&name).join("bootstatus")).and_then(|text| number(text.trim())) {
            let reset = f64::from(u8::from(status as u64 & 0x20 != 0));
            found.item(
                &metric::WATCHDOG_RESET,
                &attributes,
                folder.clone(),
                Value::Known(reset),
            );
        }
    }
}
