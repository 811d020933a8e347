//! Network links: whether they are up, how often they came and went, and what InfiniBand counts.

use std::path::Path;

use super::{Devices, Found, Value, names, word};
use crate::catalogue as metric;
use crate::expected::Device;
use crate::probe::network::is_passed_over;
use crate::probe::{Cadence, Paths};

/// Bytes in the unit of InfiniBand's data counters: four lanes of octets (IBA specification 1.3, 16.1.3.5).
const INFINIBAND_UNIT: f64 = 4.0;

const ADAPTER: &str = "network";

/// The probe of this family.
#[must_use]
pub fn probe(paths: &Paths) -> Devices {
    Devices::new(
        "link",
        "there are no network links in /sys",
        paths,
        list,
        Cadence::Usual,
    )
    .of_kind(ADAPTER)
}

fn list(paths: &Paths) -> Found {
    let mut found = Found::default();
    interfaces(&paths.sys, &mut found);
    infiniband(&paths.sys, &mut found);
    found
}

fn interfaces(sys: &Path, found: &mut Found) {
    let folder = sys.join("class/net");
    for name in names(&folder) {
        let device = folder.join(&name);
        if is_passed_over(&name) || !device.is_dir() {
            continue;
        }
        let attributes = [("network.interface.name", name.as_str())];
        for (metric, file, factor) in [
            (&metric::LINK_UP, "carrier", 1.0),
            (&metric::LINK_CHANGES, "carrier_changes", 1.0),
            // Megabits a second; -1 where there is no carrier.
            (&metric::LINK_SPEED, "speed", 125_000.0),
            (&metric::LINK_MTU, "mtu", 1.0),
        ] {
            found.item(metric, &attributes, device.join(file), Value::Positive(factor));
        }
        let bond = device.join("bonding");
        found.item(&metric::BOND_SLAVES, &attributes, bond.join("slaves"), Value::Words);
        for slave in word(&bond.join("slaves")).unwrap_or_default().split_ascii_whitespace() {
            let attributes = [attributes[0], ("network.interface.slave", slave)];
            let file = folder.join(slave).join("bonding_slave/mii_status");
            found.item(&metric::BOND_SLAVE_UP, &attributes, file, Value::Is("up"));
        }
    }
}

fn infiniband(sys: &Path, found: &mut Found) {
    let folder = sys.join("class/infiniband");
    for name in names(&folder) {
        let guid = word(&folder.join(&name).join("node_guid")).unwrap_or_else(|| name.clone());
        found.devices.push(Device {
            kind: ADAPTER.to_owned(),
            id: guid.clone(),
            slot: name.clone(),
        });
        let adapter = [
            ("hw.id", guid.as_str()),
            ("hw.type", ADAPTER),
            ("hw.slot", name.as_str()),
        ];
        let fact = |file: &str| word(&folder.join(&name).join(file));
        found.info(
            &adapter,
            &[
                ("hw.model", fact("hca_type").or_else(|| fact("board_id"))),
                ("hw.firmware_version", fact("fw_ver")),
                ("hw.driver_version", fact("device/driver/module/version")),
            ],
        );
        for port in names(&folder.join(&name).join("ports")) {
            let path = folder.join(&name).join("ports").join(&port);
            let (id, slot) = (format!("{guid}/{port}"), format!("{name}/{port}"));
            let attributes = [("hw.id", id.as_str()), ("hw.type", ADAPTER), ("hw.slot", slot.as_str())];
            let with = |more: (&'static str, &'static str)| [attributes[0], attributes[1], attributes[2], more];
            // `4: ACTIVE`
            found.item(
                &metric::NETWORK_UP,
                &attributes,
                path.join("state"),
                Value::Is("4: ACTIVE"),
            );
            let counters = path.join("counters");
            for (kind, file) in [
                ("symbol_error", "symbol_error"),
                ("link_downed", "link_downed"),
                ("link_error_recovery", "link_error_recovery"),
                ("receive", "port_rcv_errors"),
                ("receive_remote_physical", "port_rcv_remote_physical_errors"),
                ("receive_switch_relay", "port_rcv_switch_relay_errors"),
                ("transmit_discards", "port_xmit_discards"),
                ("local_link_integrity", "local_link_integrity_errors"),
                ("excessive_buffer_overrun", "excessive_buffer_overrun_errors"),
            ] {
                let attributes = with(("error.type", kind));
                found.item(&metric::HW_ERRORS, &attributes, counters.join(file), Value::Times(1.0));
            }
            for (direction, file) in [("receive", "port_rcv_data"), ("transmit", "port_xmit_data")] {
                let attributes = with(("network.io.direction", direction));
                found.item(
                    &metric::HW_NETWORK_IO,
                    &attributes,
                    counters.join(file),
                    Value::Times(INFINIBAND_UNIT),
                );
            }
            found.item(
                &metric::HW_NETWORK_WAIT,
                &attributes,
                counters.join("port_xmit_wait"),
                Value::Times(1.0),
            );
        }
    }
}
