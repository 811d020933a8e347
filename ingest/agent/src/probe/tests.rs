//! Every parser takes any text without a panic, and what it reads of the recorded texts is finite.

use proptest::prelude::*;
use std::time::Duration;

use super::*;
use crate::reading::{Sink, TextSink};

/// A sink that fails the test on a value that no probe may send.
#[derive(Default)]
struct Strict(TextSink);

impl Sink for Strict {
    fn metric(&mut self, metric: &'static wire::metric::MetricDef) {
        self.0.metric(metric);
    }

    fn point(&mut self, attributes: &[(&str, &str)], start: u64, time: u64, value: f64) {
        assert!(value.is_finite(), "{} at {attributes:?}", self.0.text());
        assert!(time > 0);
        self.0.point(attributes, start, time, value);
    }

    fn histogram(&mut self, attributes: &[(&str, &str)], time: u64, since: &crate::reading::Histogram<'_>) {
        assert!(since.sum.is_finite() && time >= since.start_unix_nanos);
        self.0.histogram(attributes, time, since);
    }

    fn events(&mut self, id: &str, records: &[wire::otlp::write::logs::Record<'_>]) {
        assert!(!id.is_empty() && !records.is_empty());
        assert!(
            records
                .iter()
                .all(|record| record.time_unix_nano <= record.observed_time_unix_nano)
        );
        self.0.events(id, records);
    }

    fn batch(&mut self, batch: Vec<u8>) {
        self.0.batch(batch);
    }
}

/// Files that the probes of `/proc` and `/sys` read.
const FILES: [&str; 38] = [
    "proc/stat",
    "proc/meminfo",
    "proc/vmstat",
    "proc/loadavg",
    "proc/uptime",
    "proc/diskstats",
    "proc/1/net/dev",
    "proc/1/net/snmp",
    "proc/pressure/cpu",
    "proc/pressure/memory",
    "proc/pressure/io",
    "proc/sys/fs/file-nr",
    "proc/1/net/netstat",
    "proc/1/net/sockstat",
    "proc/1/net/softnet_stat",
    "proc/1/net/arp",
    "proc/1/net/stat/nf_conntrack",
    "proc/sys/net/netfilter/nf_conntrack_count",
    "proc/schedstat",
    "proc/sys/kernel/random/entropy_avail",
    "proc/1/mountinfo",
    "proc/1/stat",
    "proc/kmsg-records",
    "proc/spl/kstat/zfs/arcstats",
    "proc/disk-health",
    "sys/class/hwmon/hwmon0/temp1_input",
    "sys/class/hwmon/hwmon0/name",
    "sys/class/thermal/thermal_zone0/temp",
    "sys/devices/system/edac/mc/mc0/ce_count",
    "sys/block/sda/size",
    "sys/block/md0/md/array_state",
    "sys/fs/btrfs/a/devinfo/1/error_stats",
    "sys/class/net/eth0/speed",
    "sys/class/net/eth0/addr_assign_type",
    "sys/class/net/eth0/device/vendor",
    "sys/class/infiniband/mlx5_0/ports/1/rate",
    "sys/class/infiniband/mlx5_0/ports/1/counters/symbol_error",
    "sys/class/watchdog/watchdog0/bootstatus",
];

fn probes(paths: &Paths) -> Vec<Box<dyn Probe>> {
    vec![
        Box::new(cpu::Cpu::new(paths)),
        Box::new(memory::Memory::new(paths)),
        Box::new(vmstat::VmStat::new(paths)),
        Box::new(paging::Paging::new(paths)),
        Box::new(load::Load::new(paths)),
        Box::new(uptime::Uptime::new(paths)),
        Box::new(disk::Disk::new(paths)),
        Box::new(network::Network::new(paths)),
        Box::new(pressure::Pressure::new(paths)),
        Box::new(files::Files::new(paths)),
        Box::new(cgroup::CgroupMemory::new(paths, &["/x".to_owned()])),
        Box::new(sockets::Sockets::new(paths)),
        Box::new(kernel::Kernel::new(paths)),
        Box::new(kernel_log::KernelLog::new(
            paths,
            kernel_log::Bookmark::Nowhere,
            &crate::Host::read(paths, None),
        )),
        Box::new(tasks::Tasks::new(paths)),
        Box::new(filesystem::Filesystem::new(paths)),
        Box::new(sysfs::hardware::probe(paths)),
        Box::new(sysfs::storage::probe(paths)),
        Box::new(sysfs::links::probe(paths)),
        Box::new(timesync::TimeSync::new(paths)),
        Box::new(disk_health::Health::new(paths)),
        Box::new(units::Units::new(paths)),
    ]
}

/// Texts that resemble the real ones: their words and numbers in any order, at any length.
fn texts() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("cpu".to_owned()),
        Just("cpu0".to_owned()),
        Just("MemTotal:".to_owned()),
        Just("MemAvailable:".to_owned()),
        Just("SwapTotal:".to_owned()),
        Just("SwapFree:".to_owned()),
        Just("oom_kill".to_owned()),
        Just("allocstall_x".to_owned()),
        Just("some".to_owned()),
        Just("total=".to_owned()),
        Just("eth0:".to_owned()),
        Just("Tcp:".to_owned()),
        Just("vda".to_owned()),
        Just("kB".to_owned()),
        Just("\n".to_owned()),
        Just("nan".to_owned()),
        Just("foreshock disk health 1".to_owned()),
        Just("\ndisk sda 1 0.5 id\nvalue x".to_owned()),
        Just("-1".to_owned()),
        any::<u64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        "\\PC{0,12}",
    ];
    proptest::collection::vec(word, 0..60).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_is_an_error_or_a_finite_reading(before in texts(), after in texts()) {
        let files = testing::files(&[("sys/fs/cgroup/cgroup.controllers", "memory")]);
        for file in FILES {
            files.write(file, &before);
        }
        for file in [
            "memory.current",
            "memory.max",
            "memory.events",
            "memory.stat",
            "cpu.pressure",
            "memory.pressure",
            "io.pressure",
            "cpu.stat",
            "pids.current",
        ] {
            files.write(&format!("sys/fs/cgroup/x/{file}"), &before);
        }
        let mut probes = probes(&files.paths);
        for text in [&before, &after] {
            for file in FILES {
                files.write(file, text);
            }
            for probe in &mut probes {
                let mut sink = Strict::default();
                let mut out = Readings::new(&mut sink, 2, 1);
                probe.begin();
                // An error is as good an answer as a reading here; a panic is not.
                probe.sample(Instant::now() + Duration::from_secs(1), &mut out).unwrap_or_default();
            }
        }
    }
}

#[test]
fn an_empty_proc_is_an_error_that_names_the_file() {
    let files = testing::files(&[]);
    for mut probe in probes(&files.paths) {
        let supported = probe.is_supported();
        assert!(matches!(supported, Support::No(_)), "{}: {supported:?}", probe.name());
    }
}

#[test]
fn every_probe_of_this_host_gives_readings_or_says_why_not() {
    let paths = Paths::default();
    let mut count = 0;
    for mut probe in probes(&paths) {
        match probe.is_supported() {
            Support::Yes => {
                let text = testing::sample(probe.as_mut());
                assert!(!text.contains("error: "), "{}: {text}", probe.name());
                count += text.lines().count();
            }
            Support::No(why) => assert!(!why.is_empty(), "{}", probe.name()),
        }
    }
    assert!(count > 30, "{count} readings");
}
