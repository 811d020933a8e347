//! Which host and which device a series is about.

use crate::series::Labels;

#[cfg(test)]
mod tests;

/// Labels that name the host, the first present one wins; `instance` comes last and loses its port.
///
/// `host_name` is what OpenTelemetry's resource attribute `host.name` becomes, `Hostname` is dcgm-exporter's, `node`
/// Kubernetes', `nodename` node_exporter's.
pub const HOST_LABELS: [&str; 6] = ["host", "host_name", "Hostname", "node", "nodename", "instance"];

/// Labels that hold a hardware identity, the first present one wins: history follows the part and not the slot.
///
/// `hw_id` is OpenTelemetry's `hw.id`, `UUID` dcgm-exporter's; the others are what exporters of disks and network cards use.
pub const DEVICE_LABELS: [&str; 9] = [
    "hw_id",
    "UUID",
    "uuid",
    "gpu_uuid",
    "device_id",
    "serial_number",
    "serial",
    "wwn",
    "mac_address",
];

/// The host that a series is about.
///
/// ```
/// use foreshock_store::{Labels, host_of};
/// let labels = Labels::from_pairs([("instance", "db-1:9100"), ("job", "node")]);
/// assert_eq!(host_of(&labels), Some("db-1"));
/// ```
#[must_use]
pub fn host_of(labels: &Labels) -> Option<&str> {
    let (name, value) = first_of(labels, &HOST_LABELS)?;
    Some(if name == "instance" { without_port(value) } else { value })
}

/// The device that a series is about, `None` where it is about the whole host.
#[must_use]
pub fn device_of(labels: &Labels) -> Option<&str> {
    first_of(labels, &DEVICE_LABELS).map(|(_, value)| value)
}

/// One pass over the labels, whatever the number of candidates.
fn first_of<'a>(labels: &'a Labels, names: &[&str]) -> Option<(&'a str, &'a str)> {
    labels
        .iter()
        .filter_map(|(name, value)| Some((names.iter().position(|n| *n == name)?, (name, value))))
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, label)| label)
}

/// `host:port`, `[v6]:port` and `[v6]` without port and brackets; anything else, a bare IPv6 address too, as it is.
fn without_port(instance: &str) -> &str {
    if let Some((address, _)) = instance.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    match instance.split_once(':') {
        Some((host, port)) if !host.is_empty() && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => instance,
    }
}
