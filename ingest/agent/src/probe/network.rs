//! Network interfaces.

use std::path::PathBuf;
use std::time::Instant;

use super::{Column, Paths, Probe, ProbeError, Support, needs, numbers};
use crate::catalogue as metric;
use crate::reading::Readings;
use crate::source::Source;

/// Interfaces beyond this many are left out.
const INTERFACES_MAX: usize = 32;

/// Interfaces made by the hundred for containers and virtual machines, and the loopback: their traffic is seen elsewhere.
const PASSED_OVER: [&str; 9] = ["lo", "veth", "cali", "lxc", "tap", "vnet", "cni", "dummy", "ifb"];

/// Reads `/proc/net/dev`.
#[derive(Debug)]
pub struct Network {
    dev: Source,
    interfaces: Vec<Interface>,
}

impl Network {
    /// A probe of `paths.proc`.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self {
            dev: Source::new(net(paths).join("dev")),
            interfaces: Vec::new(),
        }
    }
}

impl Probe for Network {
    fn name(&self) -> &'static str {
        "network"
    }

    fn is_supported(&mut self) -> Support {
        needs(&self.dev)
    }

    fn sample(&mut self, _deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        self.interfaces.clear();
        self.interfaces
            .extend(self.dev.read()?.lines().filter_map(parse).take(INTERFACES_MAX));
        let metrics: [Column<Interface, [u64; 2]>; 4] = [
            (&metric::NETWORK_IO, |interface| interface.bytes),
            (&metric::NETWORK_PACKETS, |interface| interface.packets),
            (&metric::NETWORK_ERRORS, |interface| interface.errors),
            (&metric::NETWORK_DROPPED, |interface| interface.dropped),
        ];
        for (metric, values) in metrics {
            out.metric(metric);
            for interface in &self.interfaces {
                for (direction, value) in ["receive", "transmit"].into_iter().zip(values(interface)) {
                    let attributes = [
                        ("network.interface.name", &*interface.name),
                        ("network.io.direction", direction),
                    ];
                    out.point(&attributes, value as f64);
                }
            }
        }
        Ok(())
    }
}

/// Whether an interface is one of those made for containers, or the loopback.
pub(crate) fn is_passed_over(name: &str) -> bool {
    PASSED_OVER
        .iter()
        .any(|prefix| name.starts_with(prefix) && (*prefix != "lo" || name == "lo"))
}

/// One line of `/proc/net/dev`; pairs are received and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Interface {
    name: String,
    bytes: [u64; 2],
    packets: [u64; 2],
    errors: [u64; 2],
    dropped: [u64; 2],
}

/// `None` for headings, interfaces that are passed over and lines that are too short.
fn parse(line: &str) -> Option<Interface> {
    // Names may hold a colon (aliases), so the last one ends the name; numbers hold none.
    let (name, rest) = line.rsplit_once(':')?;
    let name = name.trim();
    if is_passed_over(name) {
        return None;
    }
    let mut fields = [0; 12];
    let mut all = numbers(rest);
    for into in &mut fields {
        *into = all.next()?;
    }
    Some(Interface {
        name: name.to_owned(),
        bytes: [fields[0], fields[8]],
        packets: [fields[1], fields[9]],
        errors: [fields[2], fields[10]],
        dropped: [fields[3], fields[11]],
    })
}

/// The folder of the host's network.
pub(crate) fn net(paths: &Paths) -> PathBuf {
    paths.process().join("net")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing;

    const DEV: &str = "Inter-|   Receive                                                |  Transmit\n \
        face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
        lo: 2776770   11307    0    0    0     0          0         0  2776770   11307    0    0    0     0       0          0\n  \
        eth0:1215645    2751    1    2    0     0          0         0  1782404    4324    3    4    0   427       0          0\n\
        veth12: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n bond0: 7\n";

    #[test]
    fn interfaces_are_sent_without_loopback_and_container_ends() {
        let files = testing::files(&[("proc/1/net/dev", DEV)]);
        assert_eq!(
            testing::sample(&mut Network::new(&files.paths)),
            "system.network.io{network.interface.name=eth0,network.io.direction=receive} 1215645 By\n\
             system.network.io{network.interface.name=eth0,network.io.direction=transmit} 1782404 By\n\
             system.network.packet.count{network.interface.name=eth0,network.io.direction=receive} 2751 {packet}\n\
             system.network.packet.count{network.interface.name=eth0,network.io.direction=transmit} 4324 {packet}\n\
             system.network.errors{network.interface.name=eth0,network.io.direction=receive} 1 {error}\n\
             system.network.errors{network.interface.name=eth0,network.io.direction=transmit} 3 {error}\n\
             system.network.packet.dropped{network.interface.name=eth0,network.io.direction=receive} 2 {packet}\n\
             system.network.packet.dropped{network.interface.name=eth0,network.io.direction=transmit} 4 {packet}\n"
        );
    }

    #[test]
    fn a_network_named_like_the_loopback_is_kept() {
        assert!(parse("lom1: 1 2 3 4 5 6 7 8 9 10 11 12 13").is_some());
        assert!(parse("  lo: 1 2 3 4 5 6 7 8 9 10 11 12 13").is_none());
    }
}
