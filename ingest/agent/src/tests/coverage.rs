//! What node_exporter reads by default, with what of ours stands for it; names and units against their conventions.

use crate::catalogue::{ALL, Metric};
use wire::metric::Kind;

/// Collectors that node_exporter 1.9 enables by default (its README, "Enabled by default", Linux), and our metrics for the same
/// source. A collector that is left out says why.
const COLLECTORS: &[(&str, &[&str])] = &[
    ("arp", &["system.linux.arp.entries"]),
    ("bcache", &["hw.errors"]),
    ("bonding", &["system.linux.bond.slaves", "system.linux.bond.slave_up"]),
    ("btrfs", &["system.linux.filesystem.errors", "system.filesystem.usage"]),
    (
        "conntrack",
        &[
            "system.linux.conntrack.entries",
            "system.linux.conntrack.limit",
            "system.linux.conntrack.events",
        ],
    ),
    (
        "cpu",
        &[
            "system.cpu.time",
            "system.cpu.utilization",
            "system.linux.cpu.busiest_utilization",
            "system.linux.cpu.throttles",
        ],
    ),
    ("cpufreq", &["system.cpu.frequency"]),
    (
        "diskstats",
        &[
            "system.disk.io",
            "system.disk.operations",
            "system.disk.operation_time",
            "system.disk.merged",
            "system.disk.io_time",
            "system.linux.disk.weighted_io_time",
            "system.linux.disk.in_flight",
            "system.linux.disk.maintenance",
            "system.linux.disk.maintenance.time",
        ],
    ),
    ("edac", &["hw.errors"]),
    ("entropy", &["system.linux.entropy"]),
    ("fibrechannel", &["hw.errors", "hw.network.up"]),
    (
        "filefd",
        &[
            "system.linux.file_descriptors.usage",
            "system.linux.file_descriptors.limit",
        ],
    ),
    (
        "filesystem",
        &[
            "system.filesystem.usage",
            "system.filesystem.limit",
            "system.linux.filesystem.inodes",
            "system.linux.filesystem.read_only",
        ],
    ),
    (
        "hwmon",
        &[
            "hw.temperature",
            "hw.temperature.limit",
            "hw.fan.speed",
            "hw.voltage",
            "hw.host.power",
            "system.linux.hwmon.alarm",
        ],
    ),
    (
        "infiniband",
        &[
            "hw.errors",
            "hw.network.up",
            "hw.network.io",
            "system.linux.infiniband.transmit_wait",
        ],
    ),
    ("kernel_hung", &["system.linux.hung_tasks"]),
    (
        "loadavg",
        &[
            "system.cpu.load_average.1m",
            "system.cpu.load_average.5m",
            "system.cpu.load_average.15m",
        ],
    ),
    (
        "mdadm",
        &[
            "system.linux.raid.disks",
            "system.linux.raid.degraded",
            "system.linux.raid.state",
        ],
    ),
    (
        "meminfo",
        &[
            "system.memory.usage",
            "system.memory.limit",
            "system.memory.linux.available",
            "system.linux.memory.detail",
            "system.linux.memory.committed",
            "system.linux.memory.commit_limit",
            "system.linux.memory.dirty",
            "system.linux.memory.slab",
            "system.linux.memory.huge_pages",
            "system.paging.usage",
        ],
    ),
    (
        "netclass",
        &[
            "system.linux.network.carrier",
            "system.linux.network.carrier_changes",
            "system.linux.network.speed",
            "system.linux.network.mtu",
        ],
    ),
    (
        "netdev",
        &[
            "system.network.io",
            "system.network.packet.count",
            "system.network.errors",
            "system.network.packet.dropped",
        ],
    ),
    (
        "netstat",
        &[
            "system.linux.tcp.retransmits",
            "system.linux.tcp.established",
            "system.linux.tcp.segments",
            "system.linux.tcp.events",
            "system.linux.udp.datagrams",
            "system.linux.udp.errors",
            "system.linux.ip.events",
        ],
    ),
    ("nvme", &["hw.status"]),
    ("powersupplyclass", &["hw.status", "hw.battery.charge"]),
    ("pressure", &["system.linux.pressure.stall_time"]),
    ("rapl", &["hw.energy"]),
    ("schedstat", &["system.linux.scheduler.time"]),
    ("sockstat", &["system.linux.sockets", "system.linux.sockets.memory"]),
    ("softnet", &["system.linux.network.backlog"]),
    (
        "stat",
        &[
            "system.linux.context_switches",
            "system.linux.interrupts",
            "system.linux.softirqs",
            "system.process.created",
            "system.process.count",
            "system.linux.boot_time",
        ],
    ),
    ("thermal_zone", &["hw.temperature", "system.linux.cooling.state"]),
    ("time", &["foreshock.agent.clock.skew"]),
    (
        "timex",
        &[
            "system.linux.time.synchronized",
            "system.linux.time.offset",
            "system.linux.time.error",
            "system.linux.time.frequency",
        ],
    ),
    (
        "udp_queues",
        &["system.linux.sockets.memory", "system.linux.udp.errors"],
    ),
    (
        "vmstat",
        &[
            "system.paging.faults",
            "system.paging.operations",
            "system.linux.oom_kills",
            "system.linux.memory.events",
        ],
    ),
    (
        "watchdog",
        &["system.linux.watchdog.time_left", "system.linux.watchdog.reset"],
    ),
    ("xfs", &["system.linux.filesystem.log_writes"]),
    ("zfs", &["system.linux.zfs.arc.size", "hw.status"]),
];

/// Collectors without a metric of ours, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "dmi",
        "firmware strings: an inventory, which resource attributes are to hold",
    ),
    ("ipvs", "a load balancer's own counters"),
    (
        "nfs",
        "calls of the NFS client by procedure; its failures show in the kernel's log and in latency probes",
    ),
    ("nfsd", "calls of the NFS server by procedure"),
    (
        "os",
        "the release's name and version: the resource attribute os.version",
    ),
    ("selinux", "a setting"),
    ("tapestats", "tape drives"),
    ("textfile", "other programs' files; they can send OTLP themselves"),
    ("uname", "the resource attributes host.name, host.arch and os.version"),
];

/// Names, instruments and units of OpenTelemetry's semantic conventions 1.44: `model/system/metrics.yaml`,
/// `model/hardware/*-metrics.yaml` and `model/process/metrics.yaml` of open-telemetry/semantic-conventions.
const CONVENTIONS: &[(&str, Kind, &str)] = &[
    ("system.uptime", Kind::Gauge, "s"),
    ("system.cpu.logical.count", Kind::UpDownCounter, "{cpu}"),
    ("system.cpu.time", Kind::Counter, "s"),
    ("system.cpu.utilization", Kind::Gauge, "1"),
    ("system.cpu.frequency", Kind::Gauge, "Hz"),
    ("system.memory.usage", Kind::UpDownCounter, "By"),
    ("system.memory.limit", Kind::UpDownCounter, "By"),
    ("system.memory.utilization", Kind::Gauge, "1"),
    ("system.memory.linux.available", Kind::UpDownCounter, "By"),
    ("system.paging.usage", Kind::UpDownCounter, "By"),
    ("system.paging.utilization", Kind::Gauge, "1"),
    ("system.paging.faults", Kind::Counter, "{fault}"),
    ("system.paging.operations", Kind::Counter, "{operation}"),
    ("system.disk.io", Kind::Counter, "By"),
    ("system.disk.operations", Kind::Counter, "{operation}"),
    ("system.disk.io_time", Kind::Counter, "s"),
    ("system.disk.operation_time", Kind::Counter, "s"),
    ("system.disk.merged", Kind::Counter, "{operation}"),
    ("system.disk.limit", Kind::UpDownCounter, "By"),
    ("system.filesystem.usage", Kind::UpDownCounter, "By"),
    ("system.filesystem.utilization", Kind::Gauge, "1"),
    ("system.filesystem.limit", Kind::UpDownCounter, "By"),
    ("system.network.packet.dropped", Kind::Counter, "{packet}"),
    ("system.network.packet.count", Kind::Counter, "{packet}"),
    ("system.network.errors", Kind::Counter, "{error}"),
    ("system.network.io", Kind::Counter, "By"),
    ("system.process.count", Kind::UpDownCounter, "{process}"),
    ("system.process.created", Kind::Counter, "{process}"),
    ("process.memory.usage", Kind::UpDownCounter, "By"),
    ("process.memory.virtual", Kind::UpDownCounter, "By"),
    ("hw.energy", Kind::Counter, "J"),
    ("hw.errors", Kind::Counter, "{error}"),
    ("hw.power", Kind::Gauge, "W"),
    ("hw.status", Kind::UpDownCounter, "1"),
    ("hw.host.power", Kind::Gauge, "W"),
    ("hw.temperature", Kind::Gauge, "Cel"),
    ("hw.temperature.limit", Kind::Gauge, "Cel"),
    ("hw.fan.speed", Kind::Gauge, "rpm"),
    ("hw.voltage", Kind::Gauge, "V"),
    ("hw.battery.charge", Kind::Gauge, "1"),
    ("hw.physical_disk.smart", Kind::Gauge, "1"),
    ("hw.physical_disk.endurance_utilization", Kind::Gauge, "1"),
    ("hw.network.up", Kind::UpDownCounter, "1"),
    ("hw.network.io", Kind::Counter, "By"),
    ("hw.network.bandwidth.limit", Kind::UpDownCounter, "By/s"),
    ("hw.gpu.utilization", Kind::Gauge, "1"),
    ("hw.gpu.memory.usage", Kind::UpDownCounter, "By"),
    ("hw.gpu.memory.limit", Kind::UpDownCounter, "By"),
    ("hw.gpu.memory.utilization", Kind::Gauge, "1"),
];

/// Prefixes under which we name what the conventions leave out, and single names that others have set a custom for: the load
/// averages are those of the OpenTelemetry Collector's hostmetrics receiver.
const OURS: &[&str] = &[
    "system.linux.",
    "system.cpu.load_average.",
    "cgroup.",
    "probe.",
    "process.group.",
    "process.memory.limit",
    "foreshock.agent.",
    "hw.power.limit",
    "hw.gpu.clock",
    "hw.gpu.throttle",
    "hw.gpu.mig",
    "hw.info",
    "hw.gpu.processes",
    "hw.gpu.remapped_rows",
    "hw.gpu.retired_pages",
    "hw.gpu.temperature.margin",
    "hw.gpu.pcie.",
    "hw.gpu.xid",
    "hw.gpu.sxid",
];

#[test]
fn every_collector_that_node_exporter_enables_has_ours_beside_it_or_a_reason() {
    for (collector, ours) in COLLECTORS {
        assert!(!ours.is_empty(), "{collector}");
        for name in *ours {
            assert!(ALL.iter().any(|metric| metric.def.name == *name), "{collector}: {name}");
        }
    }
    let mut names: Vec<&str> = COLLECTORS
        .iter()
        .map(|(name, _)| *name)
        .chain(LEFT_OUT.iter().map(|(name, _)| *name))
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), count), (47, 47), "{names:?}");
    assert!(LEFT_OUT.iter().all(|(_, why)| !why.is_empty()));
}

#[test]
fn names_units_and_kinds_are_those_of_the_conventions_or_ours_by_prefix() {
    for metric in ALL {
        let def = &metric.def;
        match CONVENTIONS.iter().find(|(name, ..)| *name == def.name) {
            Some((_, kind, unit)) => assert_eq!((def.kind, def.unit), (*kind, *unit), "{}", def.name),
            None => assert!(
                OURS.iter().any(|prefix| def.name.starts_with(prefix)),
                "{} is neither a name of the conventions nor under a prefix of ours",
                def.name
            ),
        }
        // Units as UCUM writes them: annotations in braces, or one of these.
        let known = ["1", "s", "By", "By/s", "Cel", "W", "J", "V", "Hz", "MHz", "rpm", "bit"];
        let annotation = def.unit.starts_with('{') && def.unit.ends_with('}');
        assert!(annotation || known.contains(&def.unit), "{} in {}", def.name, def.unit);
    }
}

/// What the metrics of a family are worth watching for, by the beginning of their names; the first that fits counts.
const PREDICTS: &[(&str, &str)] = &[
    ("system.linux.certificate.", "what stops to be believed at a known time"),
    (
        "system.linux.time.",
        "certificates and quorums that fail with the clock; samples that arrive at the wrong time",
    ),
    (
        "foreshock.agent.clock",
        "certificates and quorums that fail with the clock; samples that arrive at the wrong time",
    ),
    ("foreshock.agent.gpu", "a GPU about to hang or fall off the bus"),
    ("foreshock.agent.", "blind spots: what the agent could not read or send"),
    ("system.cpu.", "saturation, and the latency that follows from it"),
    (
        "system.linux.cpu.",
        "one saturated thread; heat, and clocks held back by it",
    ),
    ("system.linux.scheduler", "latency: tasks that wait for a CPU"),
    ("system.linux.softirqs", "interrupt storms of a device or network"),
    ("system.linux.interrupts", "interrupt storms of a device or network"),
    ("system.linux.context_switches", "thrashing"),
    (
        "system.linux.kernel.",
        "the failure that the kernel names: hardware, file systems, memory, hung tasks",
    ),
    ("system.linux.crash_records", "a crash that comes again"),
    (
        "system.linux.tainted",
        "a crash: machine checks, oopses and lock-ups leave their bit",
    ),
    ("system.linux.boot_time", "a crash that comes again"),
    (
        "system.linux.hung_tasks",
        "a disk or a network file system that no longer answers",
    ),
    (
        "system.linux.processes",
        "disks that no longer answer (disk), parents that no longer wait (zombie)",
    ),
    ("system.linux.tasks", "a leak of threads that ends in failing forks"),
    ("system.linux.threads", "a leak of threads that ends in failing forks"),
    ("system.process.", "a leak of processes; tasks stuck on I/O"),
    ("system.linux.entropy", "services that wait for random numbers at start"),
    ("system.uptime", "a crash that comes again"),
    ("system.memory.", "the OOM killer"),
    ("system.linux.memory.", "the OOM killer, and the stalls before it"),
    ("system.linux.oom_kills", "the next kill"),
    ("system.paging.", "thrashing, and the OOM killer after it"),
    (
        "system.linux.pressure",
        "latency, thrashing and the OOM killer, before anything else shows them",
    ),
    ("system.filesystem.", "a full disk"),
    (
        "system.linux.filesystem.",
        "a full inode table; a file system that turns read-only",
    ),
    (
        "system.linux.zfs",
        "the OOM killer, where it is not the cache that grows",
    ),
    ("system.disk.", "a slow or failing disk"),
    ("system.linux.disk.", "a slow or failing disk"),
    ("system.linux.raid.", "an array one disk away from loss"),
    ("system.linux.infiniband", "jobs that wait for a congested fabric"),
    ("system.network.", "packet loss, a saturated link"),
    (
        "system.linux.network.",
        "a cable, port or driver that fails; packets dropped for want of CPU",
    ),
    ("system.linux.bond", "a bond one link away from being cut off"),
    ("system.linux.tcp.", "packet loss; services that no longer accept"),
    ("system.linux.udp.", "lost datagrams, such as DNS answers"),
    ("system.linux.ip.", "routes and peers that went away"),
    (
        "system.linux.sockets",
        "a leak of sockets; connections that are never closed",
    ),
    ("system.linux.arp", "a full neighbour table"),
    ("system.linux.conntrack", "new connections dropped at the limit"),
    (
        "system.linux.file_descriptors",
        "a leak of descriptors that ends in failing opens",
    ),
    (
        "system.linux.systemd",
        "the service that is down, or will be: one that is started again and again",
    ),
    ("system.linux.hwmon", "heat, a fan or a supply that fails"),
    ("system.linux.cooling", "heat"),
    ("system.linux.watchdog", "a host that hung"),
    (
        "cgroup.",
        "a container or unit that is killed or held back at its own limit",
    ),
    ("process.", "who leaks"),
    ("probe.", "the service that users see fail"),
    (
        "hw.gpu.xid",
        "the GPU: which number asks for what is NVIDIA's catalogue",
    ),
    ("hw.gpu.sxid", "the switch between GPUs"),
    ("hw.gpu.remapped", "GPU memory that runs out of spare rows"),
    ("hw.gpu.retired", "GPU memory that wears out"),
    ("hw.gpu.temperature", "heat, and work that slows down for it"),
    ("hw.gpu.pcie", "a bad contact or a GPU about to fall off the bus"),
    ("hw.gpu.throttle", "heat, power, and work that slows down for them"),
    ("hw.gpu.", "load, against which heat and power are read"),
    (
        "hw.errors",
        "memory, disks, links and GPUs that fail for good after they erred",
    ),
    ("hw.status", "absence: what was there and is not"),
    (
        "hw.info",
        "the devices whose model, firmware or driver fails more often than others",
    ),
    ("hw.temperature", "heat"),
    ("hw.fan", "heat"),
    ("hw.physical_disk.endurance", "a disk that wears out"),
    (
        "hw.physical_disk.",
        "the disk: pending and reallocated sectors, media errors and time-outs come before its end",
    ),
    ("hw.network", "a cable, port or fabric that fails"),
    ("hw.", "the power supply, heat"),
];

fn predicts(metric: &Metric) -> &'static str {
    PREDICTS
        .iter()
        .find(|(prefix, _)| metric.def.name.starts_with(prefix))
        .map_or("", |(_, what)| what)
}

/// The table of `docs/agent.md`, as it should be.
fn table() -> String {
    let mut text = "| metric | kind | unit | is | from | predicts |\n|---|---|---|---|---|---|\n".to_owned();
    for metric in ALL {
        let def = &metric.def;
        text.push_str(&format!(
            "| `{}` | {:?} | `{}` | {} | {} | {} |\n",
            def.name,
            def.kind,
            def.unit,
            def.help,
            metric.source,
            predicts(metric)
        ));
    }
    text
}

#[test]
fn the_documentation_lists_every_metric_with_unit_source_and_what_it_predicts() {
    assert!(ALL.iter().all(|metric| !predicts(metric).is_empty()));
    for (prefix, _) in PREDICTS {
        assert!(ALL.iter().any(|metric| metric.def.name.starts_with(prefix)), "{prefix}");
    }
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/agent.md");
    let docs = std::fs::read_to_string(docs).expect("docs/agent.md");
    for line in table().lines() {
        assert!(
            docs.contains(line),
            "docs/agent.md lacks this line; its whole table should be:\n{}",
            table()
        );
    }
    let rows = docs.lines().filter(|line| line.matches(" | ").count() == 5).count();
    assert_eq!(
        rows,
        ALL.len() + 1,
        "docs/agent.md has a row for a metric that is no more"
    );
}
