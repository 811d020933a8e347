//! Network interfaces and TCP.

use std::time::Instant;

use super::{Column, Paths, Probe, ProbeError, Support, needs, numbers};
use crate::catalogue as metric;
use crate::reading::Readings;
use crate::source::Source;

/// Interfaces beyond this many are left out.
const INTERFACES_MAX: usize = 32;

/// Interfaces made by the hundred for containers and virtual machines, and the loopback: their traffic is seen elsewhere.
const PASSED_OVER: [&str; 9] = ["lo", "veth", "cali", "lxc", "tap", "vnet", "cni", "dummy", "ifb"];

/// Reads `/proc/net/dev` and `/proc/net/snmp`.
#[derive(Debug)]
pub struct Network {
    dev: Source,
    snmp: Source,
    interfaces: Vec<Interface>,
}

impl Network {
    /// A probe of `paths.proc`.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        // Through process 1, so that an agent in a container with the host's /proc sees the host's network.
        let net = if paths.proc == Paths::default().proc {
            paths.proc.join("net")
        } else {
            paths.proc.join("1/net")
        };
        Self {
            dev: Source::new(net.join("dev")),
            snmp: Source::new(net.join("snmp")),
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
        let tcp = parse_tcp(self.snmp.read()?);
        if let Some(retransmits) = tcp.retransmits {
            out.single(&metric::TCP_RETRANSMITS, retransmits as f64);
        }
        if let Some(established) = tcp.established {
            out.single(&metric::TCP_ESTABLISHED, established as f64);
        }
        Ok(())
    }
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
    if PASSED_OVER
        .iter()
        .any(|prefix| name.starts_with(prefix) && (*prefix != "lo" || name == "lo"))
    {
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

/// What is used of `/proc/net/snmp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tcp {
    retransmits: Option<u64>,
    established: Option<u64>,
}

/// Names stand in one `Tcp:` line, their values in the next.
fn parse_tcp(text: &str) -> Tcp {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return Tcp::default();
    };
    let value = |wanted: &str| {
        let mut pairs = names.split_ascii_whitespace().zip(values.split_ascii_whitespace());
        pairs
            .find(|(name, _)| *name == wanted)
            .and_then(|(_, value)| value.parse().ok())
    };
    Tcp {
        retransmits: value("RetransSegs"),
        established: value("CurrEstab"),
    }
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
    const SNMP: &str = "Ip: Forwarding DefaultTTL\nIp: 1 64\nTcp: RtoAlgorithm MaxConn CurrEstab InSegs RetransSegs\nTcp: 1 -1 17 900 33\n";

    #[test]
    fn interfaces_and_tcp_are_sent_without_loopback_and_container_ends() {
        let files = testing::files(&[("proc/1/net/dev", DEV), ("proc/1/net/snmp", SNMP)]);
        assert_eq!(
            testing::sample(&mut Network::new(&files.paths)),
            "system.network.io{network.interface.name=eth0,network.io.direction=receive} 1215645 By\n\
             system.network.io{network.interface.name=eth0,network.io.direction=transmit} 1782404 By\n\
             system.network.packet.count{network.interface.name=eth0,network.io.direction=receive} 2751 {packet}\n\
             system.network.packet.count{network.interface.name=eth0,network.io.direction=transmit} 4324 {packet}\n\
             system.network.errors{network.interface.name=eth0,network.io.direction=receive} 1 {error}\n\
             system.network.errors{network.interface.name=eth0,network.io.direction=transmit} 3 {error}\n\
             system.network.packet.dropped{network.interface.name=eth0,network.io.direction=receive} 2 {packet}\n\
             system.network.packet.dropped{network.interface.name=eth0,network.io.direction=transmit} 4 {packet}\n\
             system.linux.tcp.retransmits 33 {segment}\nsystem.linux.tcp.established 17 {connection}\n"
        );
    }

    #[test]
    fn a_network_named_like_the_loopback_is_kept() {
        assert!(parse("lom1: 1 2 3 4 5 6 7 8 9 10 11 12 13").is_some());
        assert!(parse("  lo: 1 2 3 4 5 6 7 8 9 10 11 12 13").is_none());
        assert_eq!(parse_tcp("Tcp: A B\n"), Tcp::default());
    }
}
