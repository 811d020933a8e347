use proptest::prelude::*;

use super::*;
use crate::probe::testing;
use crate::reading::TextSink;

/// A line and `kind`, or `kind device`, or `kind device code`, or nothing.
fn check(message: &str, expected: &str) {
    let text = classify(message).map_or(String::new(), |event| {
        let mut text = event.kind.to_owned();
        text.extend(event.device.map(|device| format!(" {device}")));
        text.extend(event.code.map(|code| format!(" {code}")));
        text
    });
    assert_eq!(text, expected, "{message}");
}

#[test]
fn lines_of_drivers_and_kernel_are_told_apart() {
    check(
        "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
        "gpu_xid 0000:3b:00 79",
    );
    check(
        "NVRM: Xid (PCI:0000:86:00): 145, RLW_REMAP Nonfatal XC0 i0 Link 13 (0x00000004 0x80000000)",
        "gpu_xid 0000:86:00 145",
    );
    check(
        "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 22013, Non-fatal, Link 61 Minion Link DLREQ interrupt",
        "gpu_sxid 0000:c1:00.0 22013",
    );
    check(
        "NVRM: GPU at PCI:0000:3b:00: GPU has fallen off the bus.",
        "gpu_fell_off_bus 0000:3b:00",
    );
    check(
        "amdgpu 0000:c1:00.0: amdgpu: GPU reset begin!",
        "gpu_reset 0000:c1:00.0",
    );
    check(
        "EDAC MC0: 1 CE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0",
        "memory_corrected MC0",
    );
    check(
        "EDAC MC1: 1 UE memory scrubbing error on DIMM_A1",
        "memory_uncorrected MC1",
    );
    check("a program said CE and UE once", "");
    check("mce: [Hardware Error]: Machine check events logged", "machine_check");
    check("{1}[Hardware Error]: event severity: corrected", "hardware_error");
    check(
        "pcieport 0000:00:1c.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)",
        "pcie_corrected 0000:00:1c.0",
    );
    check(
        "pcieport 0000:64:00.0: AER: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer",
        "pcie_uncorrected 0000:64:00.0",
    );
    check(
        "blk_update_request: I/O error, dev sdb, sector 1953525160 op 0x0:(READ) flags 0x80700",
        "io_error sdb",
    );
    check(
        "I/O error, dev nvme0n1, sector 0 op 0x0:(READ) flags 0x0",
        "io_error nvme0n1",
    );
    check("critical medium error, dev sda, sector 12345", "medium_error sda");
    check(
        "Buffer I/O error on dev dm-0, logical block 0, async page read",
        "io_error dm-0",
    );
    check("nvme nvme0: I/O 912 QID 3 timeout, aborting", "disk_timeout nvme0");
    check(
        "nvme nvme1: controller is down; will reset: CSTS=0x3, PCI_STATUS=0x10",
        "disk_reset nvme1",
    );
    check(
        "nvme nvme0: Removing after probe failure status: -19",
        "disk_lost nvme0",
    );
    check(
        "ata3.00: exception Emask 0x0 SAct 0x0 SErr 0x0 action 0x6 frozen",
        "disk_error ata3.00",
    );
    check("ata3: hard resetting link", "disk_reset ata3");
    check("ata3: SATA link down (SStatus 0 SControl 300)", "disk_lost ata3");
    check(
        "sd 0:0:0:0: [sda] tag#3 FAILED Result: hostbyte=DID_OK driverbyte=DRIVER_SENSE",
        "disk_error sda",
    );
    check(
        "md/raid1:md0: Disk failure on sdb1, disabling device.",
        "raid_disk_failed sdb1",
    );
    check(
        "EXT4-fs error (device sda1): ext4_lookup:1601: inode #2: comm ls: deleted inode referenced",
        "filesystem_error sda1",
    );
    check(
        "EXT4-fs (sda1): Remounting filesystem read-only",
        "filesystem_read_only sda1",
    );
    check(
        "XFS (dm-3): metadata I/O error in \"xfs_trans_read_buf\"",
        "filesystem_error dm-3",
    );
    check(
        "XFS (sdc1): Filesystem has been shut down due to log error (0x2).",
        "filesystem_read_only sdc1",
    );
    check(
        "BTRFS error (device nvme0n1p2): bdev errs: wr 1, rd 0",
        "filesystem_error nvme0n1p2",
    );
    check(
        "Memory cgroup out of memory: Killed process 25041 (foreshock) total-vm:360120kB",
        "oom_kill",
    );
    check("Out of memory: Killed process 42 (java) total-vm:1kB", "oom_kill");
    check(
        "kworker/0:1: page allocation failure: order:4, mode:0x40cc0",
        "allocation_failure",
    );
    check(
        "INFO: task jbd2/sda1-8:312 blocked for more than 120 seconds.",
        "hung_task",
    );
    check(
        "watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [java:1234]",
        "soft_lockup",
    );
    check("NMI watchdog: Watchdog detected hard LOCKUP on cpu 5", "hard_lockup");
    check("rcu: INFO: rcu_sched self-detected stall on CPU", "rcu_stall");
    check("BUG: unable to handle page fault for address: ffff8", "oops");
    check(
        "mce: CPU12: Core temperature above threshold, cpu clock throttled",
        "thermal_throttle",
    );
    check(
        "thermal thermal_zone0: acpitz: critical temperature reached, shutting down",
        "thermal_critical",
    );
    check(
        "nf_conntrack: nf_conntrack: table full, dropping packet",
        "conntrack_full",
    );
    check(
        "java[1234]: segfault at 0 ip 0000 sp 0000 error 4 in libc.so",
        "segfault",
    );
    check("e1000e 0000:00:19.0 eth0: NIC Link is Down", "link_down eth0");
    check(
        "igb 0000:01:00.0 enp1s0: igb: enp1s0: NIC Link is Up 1000 Mbps Full Duplex",
        "link_up enp1s0",
    );
    check("mlx5_core 0000:03:00.0 ens1f0np0: Link down", "link_down ens1f0np0");
    check("tg3 0000:02:00.0 eno1: Link is down", "link_down eno1");
    check("usb 1-1: new high-speed USB device number 2 using xhci_hcd", "");
    check("", "");
}

fn host(boot_id: &str) -> Host {
    Host {
        name: "gpu-17".to_owned(),
        id: "h17".to_owned(),
        boot_id: boot_id.to_owned(),
        kernel: String::new(),
        arch: String::new(),
    }
}

/// A probe that has read these records, without a file to keep its place in.
fn read(records: &[&str]) -> KernelLog {
    let files = testing::files(&[]);
    let mut probe = KernelLog::new(&files.paths, Bookmark::Nowhere, &host("boot-1"));
    let clock = Clock {
        booted: 0,
        earliest: 0,
        now: u64::MAX,
    };
    records.iter().for_each(|record| probe.record(record.as_bytes(), clock));
    probe
}

fn counts(records: &[&str]) -> Counts {
    read(records).counts
}

/// Batches of events that a probe gave: the id, then a line for each record.
#[derive(Default)]
struct Told(Vec<(String, Vec<String>)>);

impl crate::reading::Sink for Told {
    fn metric(&mut self, _metric: &'static wire::metric::MetricDef) {}

    fn point(&mut self, _attributes: &[(&str, &str)], _start: u64, _time: u64, _value: f64) {}

    fn histogram(&mut self, _: &[(&str, &str)], _: u64, _: &crate::reading::Histogram<'_>) {}

    fn batch(&mut self, _: Vec<u8>) {}

    fn events(&mut self, id: &str, records: &[Record<'_>]) {
        let line = |record: &Record<'_>| {
            let attributes: Vec<String> = record
                .attributes
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            format!(
                "{} {} {} {} {}: {}",
                record.time_unix_nano,
                record.severity_number,
                record.severity_text,
                record.event_name,
                attributes.join(" "),
                record.body
            )
        };
        self.0.push((id.to_owned(), records.iter().map(line).collect()));
    }
}

/// A round at `seconds` after boot, and what it told.
fn round(probe: &mut KernelLog, seconds: u64) -> Vec<(String, Vec<String>)> {
    let mut sink = Told::default();
    let mut out = Readings::new(&mut sink, seconds * 1_000_000_000, 0);
    probe.sample(Instant::now(), &mut out).expect("reading");
    sink.0
}

/// The ids alone.
fn ids(batches: Vec<(String, Vec<String>)>) -> Vec<String> {
    batches.into_iter().map(|(id, _)| id).collect()
}

const XID: &str = "3,100,5140900,-;NVRM: Xid (PCI:0000:3b:00): 48, pid=1\n SUBSYSTEM=pci\n DEVICE=+pci:0000:3b:00.0\n";

#[test]
fn repeats_are_counted_and_what_the_kernel_overwrote_is_told() {
    let again = XID.replace(",100,", ",101,");
    let later = XID.replace(",100,", ",105,");
    let counts = counts(&[XID, XID, &again, &later]);
    assert_eq!(counts.by_kind.get("gpu_xid"), Some(&3));
    assert_eq!((counts.next, counts.missed), (106, 3));
}

#[test]
fn only_the_kernels_own_word_counts() {
    // Facility 3, daemon: a program wrote it.
    let forged = XID.replace("3,100,", "27,100,");
    let mut probe = read(&[&forged, "no record", "x,y,z;NVRM: Xid (PCI:0000:3b:00): 48"]);
    assert!(probe.counts.by_kind.is_empty());
    assert!(probe.outgoing.batch(u64::MAX).1.is_empty());
    probe.spooled();
}

#[test]
fn an_agent_that_starts_again_goes_on_where_it_was_and_a_new_boot_begins_anew() {
    let mut before = read(&[XID, "6,101,1,-;ata3: hard resetting link\n"]);
    before.counts.limited = 3;
    let text = before.counts.text("boot-1", 102);
    let (counts, outgoing) = parse(&text, "boot-1").expect("the same boot");
    assert_eq!(counts, before.counts);
    assert!(!outgoing.wants(101) && outgoing.wants(102));
    let mut after = counts;
    assert!(!after.move_to(100), "counted before");
    assert_eq!(after, before.counts);
    assert!(parse(&text, "boot-2").is_none());
    for broken in [
        "",
        "boot boot-1",
        "boot boot-1 next x missed 0",
        &format!("{text}half a li"),
    ] {
        assert!(parse(broken, "boot-1").is_none(), "{broken}");
    }
    // An agent that only counted has sent nothing, and what it counted is not sent now.
    let (counts, outgoing) = parse("boot boot-1 next 7 missed 1\nio_error sda - 2\n", "boot-1").expect("an older text");
    assert_eq!((counts.next, counts.missed, counts.by_kind["io_error"]), (7, 1, 2));
    assert!(!outgoing.wants(6) && outgoing.wants(7));
}

#[test]
fn devices_are_bounded_and_sums_are_not() {
    let records: Vec<String> = (0..5000)
        .map(|n| format!("3,{n},1,-;I/O error, dev sd{n}, sector 0\n"))
        .collect();
    let counts = counts(&records.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(counts.by_kind.get("io_error"), Some(&5000));
    assert_eq!(counts.by_device.len(), KEYS_MAX + 1);
}

#[test]
fn points_carry_the_gpus_uuid_and_kinds_that_never_happened_are_zero() {
    let files = gpu_with(XID);
    let state = files.path("kernel-log");
    let mut probe = KernelLog::new(&files.paths, Bookmark::Kept(state.clone().into()), &host("boot-1"));
    assert_eq!(probe.is_supported(), Support::Yes);
    let mut sink = TextSink::default();
    let mut out = Readings::new(&mut sink, 2, 1);
    probe.sample(Instant::now(), &mut out).expect("reading");
    for line in [
        "system.linux.kernel.events{event=gpu_xid} 1 {event}\n",
        "system.linux.kernel.events{event=oom_kill} 0 {event}\n",
        "hw.gpu.xid{hw.id=GPU-0a1b,hw.type=gpu,gpu.slot=00000000:3B:00.0,xid=48} 1 {error}\n",
        "system.linux.kernel.log_missed 0 {record}\n",
        "system.linux.kernel.log_limited 0 {event}\n",
        "event gpu_xid{kernel.sequence=100,device=0000:3b:00,hw.id=GPU-0a1b,hw.type=gpu,gpu.slot=00000000:3B:00.0,xid=48} \
         NVRM: Xid (PCI:0000:3b:00): 48, pid=1\n",
    ] {
        assert!(sink.text().contains(line), "{line} not in {}", sink.text());
    }
    assert!(
        fs::read_to_string(&state)
            .expect("state")
            .starts_with("boot boot-1 next 101 ")
    );
}

/// A host with this kernel log and one GPU.
fn gpu_with(records: &str) -> testing::Files {
    testing::files(&[
        ("proc/kmsg-records", records),
        (
            "proc/driver/nvidia/gpus/0000:3b:00.0/information",
            "Model: \t NVIDIA H100\nGPU UUID: \t GPU-0a1b\n",
        ),
    ])
}

/// Gives the probe one more record: a file gives all that it holds at once, the kernel a record a read.
fn append(probe: &mut KernelLog, record: &str, seconds: u64) {
    let clock = Clock {
        booted: 0,
        earliest: probe.looked.unwrap_or(0),
        now: seconds * 1_000_000_000,
    };
    probe.record(record.as_bytes(), clock);
}

#[test]
fn an_event_is_told_once_with_its_time_and_its_severity() {
    let files = gpu_with(XID);
    let state = files.path("kernel-log");
    let mut probe = KernelLog::new(&files.paths, Bookmark::Kept(state.clone().into()), &host("boot-1"));
    assert_eq!(
        round(&mut probe, 10),
        [(
            "h17/boot-1/kernel/0-101".to_owned(),
            vec![
                "5140900000 17 err gpu_xid kernel.sequence=100 device=0000:3b:00 hw.id=GPU-0a1b hw.type=gpu \
                 gpu.slot=00000000:3B:00.0 xid=48: NVRM: Xid (PCI:0000:3b:00): 48, pid=1"
                    .to_owned()
            ]
        )]
    );
    probe.spooled();
    assert_eq!(round(&mut probe, 20), []);
    probe.spooled();
    // The kernel's clock is behind: what came since the last look did not come before it.
    append(
        &mut probe,
        "4,101,6000000,-;nvme nvme0: I/O 912 QID 3 timeout, aborting",
        30,
    );
    let told = round(&mut probe, 30);
    assert_eq!(
        told[0].1,
        [
            "20000000000 13 warning disk_timeout kernel.sequence=101 device=nvme0: nvme nvme0: I/O 912 QID 3 timeout, aborting"
        ]
    );
    assert_eq!(ids(told), ["h17/boot-1/kernel/101-102"]);
}

#[test]
fn an_agent_killed_before_it_noted_what_it_handed_over_gives_it_the_same_id_again() {
    let files = gpu_with(XID);
    let kept = || Bookmark::Kept(files.path("kernel-log").into());
    let start = || KernelLog::new(&files.paths, kept(), &host("boot-1"));
    let mut probe = start();
    let first = round(&mut probe, 10);
    drop(probe); // Killed: nobody said that the spool has it.
    let mut probe = start();
    // A file gives all at once: record by record, as the kernel does.
    files.write("proc/kmsg-records", "");
    append(&mut probe, XID, 20);
    append(&mut probe, "3,300,7000000,-;I/O error, dev sdb, sector 1", 20);
    let again = round(&mut probe, 20);
    assert_eq!(ids(again.clone()), ids(first));
    assert_eq!(again[0].1.len(), 1, "what came later is another batch");
    assert_eq!(probe.counts.by_kind["gpu_xid"], 1, "counted once");
    probe.spooled();
    let next = round(&mut probe, 30);
    assert!(next[0].1[0].starts_with("7000000000 17 err io_error "), "{next:?}");
    assert_eq!(ids(next), ["h17/boot-1/kernel/101-301"]);
    probe.spooled();
    drop(probe);
    assert_eq!(round(&mut start(), 40), [], "all of it was noted");
}

#[test]
fn without_a_place_to_keep_only_what_comes_later_is_told_and_who_only_looks_changes_nothing() {
    let files = gpu_with(XID);
    let mut probe = KernelLog::new(&files.paths, Bookmark::Nowhere, &host("boot-1"));
    assert_eq!(round(&mut probe, 10), []);
    assert_eq!(probe.counts.by_kind["gpu_xid"], 1);
    probe.spooled();
    append(&mut probe, "3,101,7000000,-;I/O error, dev sdb, sector 1", 20);
    assert_eq!(ids(round(&mut probe, 20)), ["h17/boot-1/kernel/101-102"]);

    // A kernel without a name for its boot is one whose place cannot be kept.
    let state = files.path("kernel-log");
    let mut nameless = KernelLog::new(&files.paths, Bookmark::Kept(state.clone().into()), &host(""));
    assert_eq!(round(&mut nameless, 10), []);

    let mut looks = KernelLog::new(&files.paths, Bookmark::ReadOnly(state.clone().into()), &host("boot-1"));
    assert_eq!(round(&mut looks, 10).len(), 1);
    assert!(!std::path::Path::new(&state).exists());
}

#[test]
fn a_fault_that_goes_on_is_told_twenty_times_a_second_and_counted_whole() {
    let record = |n: u64, micros: u64| format!("3,{n},{micros},-;I/O error, dev sda, sector {n}\n");
    let mut records: Vec<String> = (0..100).map(|n| record(n, 1_000_000 + n)).collect();
    records.extend((100..130).map(|n| record(n, 2_000_000 + n)));
    let mut probe = read(&records.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((probe.counts.by_kind["io_error"], probe.counts.limited), (130, 90));
    assert_eq!(probe.outgoing.batch(130).1.len(), 40);
    // A ring full of them is bounded as well.
    let records: Vec<String> = (200..5000).map(|n| record(n, n * 1_000_000)).collect();
    records.iter().for_each(|text| append(&mut probe, text, 10_000));
    assert_eq!(probe.outgoing.batch(5000).1.len(), outgoing::WAITING_MAX);
    assert_eq!(probe.counts.limited, 90 + 4800 - (outgoing::WAITING_MAX as u64 - 40));
}

#[test]
fn levels_are_those_of_the_data_model() {
    let all: Vec<u8> = (0..9).map(|level| severity(level).0).collect();
    assert_eq!(all, [21, 19, 18, 17, 13, 10, 9, 5, 5]);
}

#[test]
fn a_host_that_hides_its_log_says_what_is_needed() {
    let files = testing::files(&[]);
    let Support::No(why) = KernelLog::new(&files.paths, Bookmark::Nowhere, &host("")).is_supported() else {
        panic!("there is no log")
    };
    assert!(why.contains("CAP_SYSLOG"), "{why}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_record_is_too_odd(parts in proptest::collection::vec(prop_oneof![
        Just("NVRM: Xid (PCI:".to_owned()), Just("): ".to_owned()), Just("EDAC ".to_owned()), Just(" CE ".to_owned()),
        Just("Link is Down".to_owned()), Just("error, dev ".to_owned()), Just("I/O error, dev ".to_owned()),
        Just(";".to_owned()), Just(",".to_owned()), any::<u64>().prop_map(|n| n.to_string()), "\\PC{0,8}",
    ], 0..12)) {
        let text = parts.concat();
        classify(&text);
        let probe = read(&[&text]);
        probe.outgoing.batch(u64::MAX);
        prop_assert!(parse(&text, "b").is_none());
    }
}
