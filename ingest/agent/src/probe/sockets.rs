//! What the network stack counts: TCP, UDP and IP, sockets, the backlog of received packets, connection tracking, neighbours.

use std::time::Instant;

use super::network::net;
use super::{Paths, Probe, ProbeError, Support, needs};
use crate::catalogue::{self as metric, Metric};
use crate::reading::Readings;
use crate::source::Source;

/// Pages of `TCP: mem` and `UDP: mem` in `/proc/net/sockstat`.
const PAGE_BYTES: f64 = 4096.0;

/// A column of `/proc/net/snmp` or `netstat`: the section, the name in it, and what it is sent as.
type Count = (&'static str, &'static str, &'static Metric, &'static str);

/// Of the two files' 300 columns those that precede trouble or measure load. The attribute is `event`, or none where empty.
const COUNTS: [Count; 30] = [
    ("Tcp", "RetransSegs", &metric::TCP_RETRANSMITS, ""),
    ("Tcp", "CurrEstab", &metric::TCP_ESTABLISHED, ""),
    ("Tcp", "InSegs", &metric::TCP_SEGMENTS, "receive"),
    ("Tcp", "OutSegs", &metric::TCP_SEGMENTS, "transmit"),
    ("Tcp", "ActiveOpens", &metric::TCP_EVENTS, "active_open"),
    ("Tcp", "PassiveOpens", &metric::TCP_EVENTS, "passive_open"),
    ("Tcp", "AttemptFails", &metric::TCP_EVENTS, "attempt_failed"),
    ("Tcp", "EstabResets", &metric::TCP_EVENTS, "established_reset"),
    ("Tcp", "InErrs", &metric::TCP_EVENTS, "receive_error"),
    ("Tcp", "OutRsts", &metric::TCP_EVENTS, "reset_sent"),
    ("TcpExt", "ListenOverflows", &metric::TCP_EVENTS, "listen_overflow"),
    ("TcpExt", "ListenDrops", &metric::TCP_EVENTS, "listen_drop"),
    ("TcpExt", "TCPTimeouts", &metric::TCP_EVENTS, "timeout"),
    ("TcpExt", "TCPSynRetrans", &metric::TCP_EVENTS, "syn_retransmit"),
    ("TcpExt", "TCPRcvQDrop", &metric::TCP_EVENTS, "receive_queue_drop"),
    ("TcpExt", "TCPBacklogDrop", &metric::TCP_EVENTS, "backlog_drop"),
    ("TcpExt", "TCPOFOQueue", &metric::TCP_EVENTS, "out_of_order"),
    ("TcpExt", "TCPAbortOnMemory", &metric::TCP_EVENTS, "abort_on_memory"),
    ("TcpExt", "TCPMemoryPressures", &metric::TCP_EVENTS, "memory_pressure"),
    ("TcpExt", "SyncookiesSent", &metric::TCP_EVENTS, "syn_cookie_sent"),
    ("TcpExt", "SyncookiesFailed", &metric::TCP_EVENTS, "syn_cookie_failed"),
    ("Udp", "InDatagrams", &metric::UDP_DATAGRAMS, "receive"),
    ("Udp", "OutDatagrams", &metric::UDP_DATAGRAMS, "transmit"),
    ("Udp", "InErrors", &metric::UDP_ERRORS, "receive"),
    ("Udp", "NoPorts", &metric::UDP_ERRORS, "no_port"),
    ("Udp", "RcvbufErrors", &metric::UDP_ERRORS, "receive_buffer"),
    ("Udp", "SndbufErrors", &metric::UDP_ERRORS, "send_buffer"),
    (
        "Icmp",
        "InDestUnreachs",
        &metric::IP_EVENTS,
        "icmp_destination_unreachable",
    ),
    ("Ip", "InDiscards", &metric::IP_EVENTS, "receive_discard"),
    ("Ip", "OutNoRoutes", &metric::IP_EVENTS, "no_route"),
];

/// Reads the protocol counters of `/proc/net`.
#[derive(Debug)]
pub struct Sockets {
    snmp: Source,
    netstat: Source,
    sockstat: Source,
    softnet: Source,
    arp: Source,
    tracked: [Source; 2],
    track_stat: Source,
}

impl Sockets {
    /// A probe of `paths.proc`.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        let net = net(paths);
        let tracked = ["nf_conntrack_count", "nf_conntrack_max"];
        Self {
            snmp: Source::new(net.join("snmp")),
            netstat: Source::new(net.join("netstat")),
            sockstat: Source::new(net.join("sockstat")),
            softnet: Source::new(net.join("softnet_stat")),
            arp: Source::new(net.join("arp")),
            tracked: tracked.map(|name| Source::new(paths.proc.join("sys/net/netfilter").join(name))),
            track_stat: Source::new(net.join("stat/nf_conntrack")),
        }
    }
}

impl Probe for Sockets {
    fn name(&self) -> &'static str {
        "sockets"
    }

    fn is_supported(&mut self) -> Support {
        needs(&self.snmp)
    }

    fn sample(&mut self, _deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        let mut values = [None; COUNTS.len()];
        columns(self.snmp.read()?, &mut values);
        // A container may hide the second file.
        if let Ok(text) = self.netstat.read() {
            columns(text, &mut values);
        }
        let mut open = "";
        for ((_, _, metric, event), value) in COUNTS.iter().zip(values) {
            let Some(value) = value else { continue };
            if open != metric.def.name {
                open = metric.def.name;
                out.metric(metric);
            }
            match *event {
                "" => out.point(&[], value),
                "receive" | "transmit" => out.point(&[("network.io.direction", event)], value),
                event => out.point(&[("event", event)], value),
            }
        }
        if let Ok(text) = self.sockstat.read() {
            sockets(text, out);
        }
        if let Ok(text) = self.softnet.read() {
            let backlog = softnet(text);
            out.metric(&metric::SOFTNET_PACKETS);
            for (state, count) in [
                ("processed", backlog[0]),
                ("dropped", backlog[1]),
                ("squeezed", backlog[2]),
            ] {
                out.point(&[("state", state)], count as f64);
            }
        }
        if let Ok(text) = self.arp.read() {
            out.single(&metric::ARP_ENTRIES, text.lines().skip(1).count() as f64);
        }
        self.tracking(out);
        Ok(())
    }
}

impl Sockets {
    /// Absent unless the kernel tracks connections.
    fn tracking(&mut self, out: &mut Readings<'_>) {
        for (source, metric) in self
            .tracked
            .iter_mut()
            .zip([&metric::CONNTRACK_ENTRIES, &metric::CONNTRACK_LIMIT])
        {
            if let Some(value) = source.read().ok().and_then(|text| text.trim().parse::<u64>().ok()) {
                out.single(metric, value as f64);
            }
        }
        let Ok(text) = self.track_stat.read() else { return };
        let drops = track_drops(text);
        out.metric(&metric::CONNTRACK_EVENTS);
        for (event, count) in ["drop", "early_drop", "insert_failed"].into_iter().zip(drops) {
            out.point(&[("event", event)], count as f64);
        }
    }
}

/// Names stand in one line of a section, their values in the next of the same section.
fn columns(text: &str, values: &mut [Option<f64>; COUNTS.len()]) {
    let mut names: Option<(&str, &str)> = None;
    for line in text.lines() {
        let Some((section, rest)) = line.split_once(':') else {
            continue;
        };
        let Some((_, heads)) = names.take().filter(|(known, _)| *known == section) else {
            names = Some((section, rest));
            continue;
        };
        if COUNTS.iter().all(|(of, ..)| *of != section) {
            continue;
        }
        for (name, value) in heads.split_ascii_whitespace().zip(rest.split_ascii_whitespace()) {
            let place = COUNTS
                .iter()
                .position(|(of, wanted, ..)| *of == section && *wanted == name);
            if let (Some(place), Ok(value)) = (place, value.parse::<i64>()) {
                values[place] = Some(value as f64);
            }
        }
    }
}

/// `TCP: inuse 3 orphan 0 tw 23 alloc 3 mem 0`
fn sockets(text: &str, out: &mut Readings<'_>) {
    let pairs = |protocol: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(protocol)?.strip_prefix(':'));
        let mut words = line.unwrap_or_default().split_ascii_whitespace();
        std::iter::from_fn(move || Some((words.next()?, words.next()?.parse::<u64>().ok()?)))
    };
    out.metric(&metric::SOCKETS);
    for (protocol, name) in [("sockets", "all"), ("TCP", "tcp"), ("UDP", "udp")] {
        for (state, count) in pairs(protocol).filter(|(state, _)| *state != "mem") {
            out.point(&[("network.transport", name), ("state", state)], count as f64);
        }
    }
    out.metric(&metric::SOCKET_MEMORY);
    for (protocol, name) in [("TCP", "tcp"), ("UDP", "udp")] {
        for (_, pages) in pairs(protocol).filter(|(state, _)| *state == "mem") {
            out.point(&[("network.transport", name)], pages as f64 * PAGE_BYTES);
        }
    }
}

/// Packets processed and dropped, and times that the budget ran out, of all processors; hexadecimal columns.
fn softnet(text: &str) -> [u64; 3] {
    let mut sums = [0u64; 3];
    for line in text.lines() {
        for (sum, word) in sums.iter_mut().zip(line.split_ascii_whitespace()) {
            *sum = sum.saturating_add(u64::from_str_radix(word, 16).unwrap_or(0));
        }
    }
    sums
}

/// Entries dropped, dropped early and not inserted, of all processors; the head line names the columns.
fn track_drops(text: &str) -> [u64; 3] {
    let mut lines = text.lines();
    let heads: Vec<&str> = lines.next().unwrap_or_default().split_ascii_whitespace().collect();
    let places = ["drop", "early_drop", "insert_failed"].map(|name| heads.iter().position(|head| *head == name));
    let mut sums = [0u64; 3];
    for line in lines {
        for (sum, place) in sums.iter_mut().zip(places) {
            let word = place.and_then(|place| line.split_ascii_whitespace().nth(place));
            *sum = sum.saturating_add(word.and_then(|word| u64::from_str_radix(word, 16).ok()).unwrap_or(0));
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing;

    const SNMP: &str = "Ip: Forwarding InDiscards OutNoRoutes\nIp: 1 2 3\nIcmpMsg: InType3\nIcmpMsg: 2\n\
        Tcp: RtoAlgorithm MaxConn CurrEstab InSegs OutSegs RetransSegs\nTcp: 1 -1 17 900 800 33\n\
        Udp: InDatagrams NoPorts RcvbufErrors\nUdp: 7 8 9\n";
    const NETSTAT: &str =
        "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 0 4 5\nIpExt: InOctets\nIpExt: 99\n";

    #[test]
    fn columns_are_found_by_name_whatever_their_order() {
        let files = testing::files(&[
            ("proc/1/net/snmp", SNMP),
            ("proc/1/net/netstat", NETSTAT),
            (
                "proc/1/net/sockstat",
                "sockets: used 23\nTCP: inuse 3 orphan 0 tw 23 alloc 3 mem 2\nUDP: inuse 1 mem 0\n",
            ),
            (
                "proc/1/net/softnet_stat",
                "0000000a 00000001 00000002 0\n00000010 00000000 00000001 0\n",
            ),
            ("proc/1/net/arp", "IP address HW type\n10.0.0.1 0x1 0x2 aa * eth0\n"),
            ("proc/sys/net/netfilter/nf_conntrack_count", "12\n"),
            ("proc/sys/net/netfilter/nf_conntrack_max", "65536\n"),
            (
                "proc/1/net/stat/nf_conntrack",
                "entries  searched drop early_drop insert_failed\n0000000c 00000000 0000000a 00000001 00000000\n\
                 0000000c 00000000 00000006 00000000 00000002\n",
            ),
        ]);
        let text = testing::sample(&mut Sockets::new(&files.paths));
        for line in [
            "system.linux.tcp.retransmits 33 {segment}\n",
            "system.linux.tcp.established 17 {connection}\n",
            "system.linux.tcp.segments{network.io.direction=transmit} 800 {segment}\n",
            "system.linux.tcp.events{event=listen_overflow} 4 {event}\n",
            "system.linux.udp.errors{event=receive_buffer} 9 {error}\n",
            "system.linux.sockets{network.transport=tcp,state=tw} 23 {socket}\n",
            "system.linux.sockets.memory{network.transport=tcp} 8192 By\n",
            "system.linux.network.backlog{state=processed} 26 {packet}\n",
            "system.linux.network.backlog{state=squeezed} 3 {packet}\n",
            "system.linux.arp.entries 1 {entry}\n",
            "system.linux.conntrack.limit 65536 {entry}\n",
            "system.linux.conntrack.events{event=drop} 16 {event}\n",
            "system.linux.conntrack.events{event=insert_failed} 2 {event}\n",
        ] {
            assert!(text.contains(line), "{line} not in {text}");
        }
    }

    #[test]
    fn a_container_without_the_second_file_keeps_the_first() {
        let files = testing::files(&[("proc/1/net/snmp", SNMP)]);
        let text = testing::sample(&mut Sockets::new(&files.paths));
        assert!(
            text.contains("retransmits 33") && !text.contains("listen_overflow"),
            "{text}"
        );
        assert!(!text.contains("error: "), "{text}");
    }

    #[test]
    fn two_headings_in_a_row_are_no_values() {
        let mut values = [None; COUNTS.len()];
        columns("Tcp: A\nUdp: NoPorts\nUdp: 3\nTcp:\n", &mut values);
        assert_eq!(values.iter().flatten().copied().collect::<Vec<_>>(), [3.0]);
    }
}
