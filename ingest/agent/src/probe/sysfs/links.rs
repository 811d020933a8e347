//! Network links: whether they are up, how often they came and went, which cards there are, and what InfiniBand counts.

use std::path::Path;

use super::{Devices, Found, Value, link, names, word};
use crate::catalogue as metric;
use crate::expected::Device;
use crate::probe::network::is_passed_over;
use crate::probe::{Cadence, Paths};

/// Bytes a second in a megabit a second.
const MEGABIT: f64 = 125_000.0;

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
            (&metric::LINK_SPEED, "speed", MEGABIT),
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
        card(&device, &name, found);
    }
}

/// The card behind an interface, where there is one that should stay.
fn card(device: &Path, name: &str, found: &mut Found) {
    let bus = device.join("device");
    // A function that a card lends out goes to a container or a virtual machine and comes back; what hangs on USB is made to be taken
    // out; and an InfiniBand adapter is told under its GUID. `1` is Ethernet (ARPHRD_ETHER, include/uapi/linux/if_arp.h).
    let is_lent = bus.join("physfn").exists();
    let is_loose = link(&bus.join("subsystem")).as_deref() == Some("usb");
    if !bus.exists() || is_lent || is_loose || word(&device.join("type")).as_deref() != Some("1") {
        return;
    }
    let id = hardware_address(device)
        .or_else(|| link(&bus))
        .unwrap_or_else(|| name.to_owned());
    found.devices.push(Device {
        kind: ADAPTER.to_owned(),
        id: id.clone(),
        slot: name.to_owned(),
    });
    let attributes = [("hw.id", id.as_str()), ("hw.type", ADAPTER), ("hw.slot", name)];
    found.item(
        &metric::NETWORK_UP,
        &attributes,
        device.join("carrier"),
        Value::Positive(1.0),
    );
    found.item(
        &metric::NETWORK_LIMIT,
        &attributes,
        device.join("speed"),
        Value::Positive(MEGABIT),
    );
    let number = |file: &str| Some(word(&bus.join(file))?.trim_start_matches("0x").to_owned());
    let model = number("vendor").zip(number("device"));
    // Those that do InfiniBand's verbs show their firmware there; of others only a call to the driver tells it.
    let verbs = bus.join("infiniband");
    let firmware = names(&verbs)
        .iter()
        .find_map(|adapter| word(&verbs.join(adapter).join("fw_ver")));
    found.info(
        &attributes,
        &[
            ("hw.model", model.map(|(vendor, device)| format!("{vendor}:{device}"))),
            ("hw.firmware_version", firmware),
            ("hw.driver", link(&bus.join("driver"))),
            ("hw.driver_version", word(&bus.join("driver/module/version"))),
        ],
    );
}

/// The address that was burnt into a card, as far as it is known: that in use may be a bond's, or have been made up.
fn hardware_address(device: &Path) -> Option<String> {
    let burnt = word(&device.join("bonding_slave/perm_hwaddr"));
    // `0` is permanent (NET_ADDR_PERM, include/uapi/linux/netdevice.h).
    let own = || {
        let permanent = word(&device.join("addr_assign_type")).as_deref() == Some("0");
        permanent.then(|| word(&device.join("address"))).flatten()
    };
    burnt.or_else(own)
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
                ("hw.driver", link(&folder.join(&name).join("device/driver"))),
                ("hw.driver_version", fact("device/driver/module/version")),
            ],
        );
        for port in names(&folder.join(&name).join("ports")) {
            let path = folder.join(&name).join("ports").join(&port);
            let (id, slot) = (format!("{guid}/{port}"), format!("{name}/{port}"));
            found.devices.push(Device {
                kind: ADAPTER.to_owned(),
                id: id.clone(),
                slot: slot.clone(),
            });
            let attributes = [("hw.id", id.as_str()), ("hw.type", ADAPTER), ("hw.slot", slot.as_str())];
            let with = |more: (&'static str, &'static str)| [attributes[0], attributes[1], attributes[2], more];
            // `4: ACTIVE`
            found.item(
                &metric::NETWORK_UP,
                &attributes,
                path.join("state"),
                Value::Is("4: ACTIVE"),
            );
            // `100 Gb/sec (4X EDR)`
            found.item(
                &metric::NETWORK_LIMIT,
                &attributes,
                path.join("rate"),
                Value::Positive(1000.0 * MEGABIT),
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
