use proptest::prelude::*;

use super::*;
use crate::probe::testing;

fn check(text: &str, value: Value, expected: Option<f64>) {
    assert_eq!(value.of(text), expected, "{text:?} {value:?}");
}

#[test]
fn texts_become_numbers_or_nothing() {
    check("45000\n", Value::Times(1e-3), Some(45.0));
    check("0x1f\n", Value::Times(1.0), Some(31.0));
    check("-5 C\n", Value::Times(1.0), Some(-5.0));
    check("-1\n", Value::Positive(125_000.0), None);
    check("1000\n", Value::Positive(125_000.0), Some(125_000_000.0));
    check("", Value::Times(1.0), None);
    check("N/A\n", Value::Times(1.0), None);
    check("nan\n", Value::Times(1.0), None);
    check("inf\n", Value::Times(1.0), None);
    check("write_errs 3\nread_errs 4\n", Value::After("read_errs", 1.0), Some(4.0));
    check("write_errs 3\n", Value::After("read_errs", 1.0), None);
    check(
        "6 1 0x01\nname type data\nsize 4 77\n",
        Value::Third("size"),
        Some(77.0),
    );
    check("live\n", Value::Is("live"), Some(1.0));
    check("dead\n", Value::Is("live"), Some(0.0));
    check("eth0 eth1\n", Value::Words, Some(2.0));
}

#[test]
fn sensors_memory_and_processors_are_listed_with_what_stays_the_same_at_the_next_boot() {
    let files = testing::files(&[
        ("sys/class/hwmon/hwmon3/name", "coretemp\n"),
        ("sys/class/hwmon/hwmon3/temp1_input", "45000\n"),
        ("sys/class/hwmon/hwmon3/temp1_label", "Package id 0\n"),
        ("sys/class/hwmon/hwmon3/temp1_crit", "100000\n"),
        ("sys/class/hwmon/hwmon3/temp1_crit_alarm", "0\n"),
        ("sys/class/hwmon/hwmon3/fan2_input", "1200\n"),
        ("sys/class/hwmon/hwmon3/in0_input", "12100\n"),
        ("sys/class/hwmon/hwmon3/power1_input", "250000000\n"),
        ("sys/class/thermal/thermal_zone0/type", "x86_pkg_temp\n"),
        ("sys/class/thermal/thermal_zone0/temp", "46000\n"),
        ("sys/devices/system/edac/mc/mc0/ce_count", "7\n"),
        ("sys/devices/system/edac/mc/mc0/ue_count", "0\n"),
        ("sys/devices/system/edac/mc/mc0/dimm1/dimm_label", "DIMM_A1\n"),
        ("sys/devices/system/edac/mc/mc0/dimm1/dimm_ce_count", "7\n"),
        ("sys/class/power_supply/AC/online", "1\n"),
        ("sys/class/powercap/intel-rapl:0/energy_uj", "5000000\n"),
        ("sys/class/powercap/intel-rapl:0/name", "package-0\n"),
        ("sys/class/watchdog/watchdog0/bootstatus", "32\n"),
    ]);
    let text = testing::sample(&mut hardware::probe(&files.paths));
    for line in [
        "hw.temperature{hw.id=coretemp,hw.sensor_location=coretemp Package id 0} 45 Cel\n",
        "hw.temperature.limit{hw.id=coretemp,hw.sensor_location=coretemp Package id 0,hw.limit_type=high.critical} 100 Cel\n",
        "hw.fan.speed{hw.id=coretemp,hw.sensor_location=coretemp fan2} 1200 rpm\n",
        "hw.voltage{hw.id=coretemp,hw.sensor_location=coretemp in0} 12.1 V\n",
        "hw.host.power{hw.id=coretemp,hw.sensor_location=coretemp power1} 250 W\n",
        "hw.temperature{hw.id=thermal_zone0,hw.sensor_location=thermal_zone0 x86_pkg_temp} 46 Cel\n",
        "hw.errors{hw.id=mc0,hw.type=memory,error.type=corrected} 7 {error}\n",
        "hw.errors{hw.id=mc0/DIMM_A1,hw.type=memory,error.type=corrected} 7 {error}\n",
        "hw.status{hw.id=AC,hw.type=power_supply,hw.state=online} 1 1\n",
        "hw.energy{hw.id=intel-rapl:0,hw.type=cpu,hw.name=package-0} 5 J\n",
        "system.linux.watchdog.reset{hw.id=watchdog0} 1 1\n",
    ] {
        assert!(text.contains(line), "{line} not in {text}");
    }
}

#[test]
fn processors_are_summed_up_and_packages_counted_once() {
    let files = testing::files(&[]);
    for cpu in 0..512 {
        let folder = format!("sys/devices/system/cpu/cpu{cpu}");
        files.write(
            &format!("{folder}/cpufreq/scaling_cur_freq"),
            &format!("{}\n", 2_000_000 + cpu),
        );
        files.write(
            &format!("{folder}/topology/physical_package_id"),
            &format!("{}\n", cpu / 256),
        );
        files.write(&format!("{folder}/thermal_throttle/core_throttle_count"), "2\n");
        files.write(&format!("{folder}/thermal_throttle/package_throttle_count"), "5\n");
    }
    let text = testing::sample(&mut hardware::probe(&files.paths));
    assert_eq!(
        text,
        "system.cpu.frequency{of=mean} 2000255500 Hz\nsystem.cpu.frequency{of=slowest} 2000000000 Hz\n\
         system.linux.cpu.throttles{level=core} 1024 {throttle}\nsystem.linux.cpu.throttles{level=package} 10 {throttle}\n"
    );
}

#[test]
fn a_gpu_of_amds_tells_what_its_driver_shows() {
    let files = testing::files(&[
        ("sys/class/drm/card1-DP-1/status", "connected\n"),
        ("sys/class/drm/card0/device/vendor", "0x1a03\n"),
        ("sys/class/drm/card0/device/gpu_busy_percent", "1\n"),
    ]);
    let card = "sys/class/drm/card1/device";
    for (name, text) in [
        ("vendor", "0x1002\n"),
        (
            "uevent",
            "DRIVER=amdgpu\nPCI_ID=1002:74A1\nPCI_SLOT_NAME=0000:c1:00.0\n",
        ),
        ("unique_id", "a1b2c3\n"),
        ("product_name", "AMD Instinct MI300X\n"),
        ("vbios_version", "113-M3\n"),
        ("driver/module/version", "6.12.12\n"),
        ("gpu_busy_percent", "97\n"),
        ("mem_info_vram_used", "50\n"),
        ("mem_info_vram_total", "200\n"),
        ("current_link_width", "8\n"),
        ("max_link_width", "16\n"),
        ("current_link_speed", "16.0 GT/s PCIe\n"),
        ("max_link_speed", "Unknown\n"),
        ("pp_dpm_sclk", "0: 132Mhz\n1: 2105Mhz *\n2: 2100Mhz\n"),
        ("pp_dpm_mclk", "0: 900Mhz\n"),
        ("pcie_replay_count", "4\n"),
        ("ras/umc_err_count", "ue: 1\nce: 3\n"),
        ("ras/gfx_err_count", "ue: 0\nce: 2\n"),
        ("ras/features", "feature mask: 0x7\n"),
    ] {
        files.write(&format!("{card}/{name}"), text);
    }
    let mut probe = amd::probe(&files.paths);
    assert_eq!(probe.is_supported(), Support::Yes);
    let gpu = "hw.id=GPU-a1b2c3,hw.type=gpu,gpu.slot=0000:c1:00.0";
    let expected = format!(
        "hw.errors{{{gpu},error.type=pcie_replay}} 4 {{error}}\n\
         hw.errors{{{gpu},error.type=ecc_corrected}} 5 {{error}}\n\
         hw.errors{{{gpu},error.type=ecc_uncorrected}} 1 {{error}}\n\
         hw.gpu.clock{{{gpu},domain=sm}} 2105 MHz\n\
         hw.gpu.memory.limit{{{gpu}}} 200 By\n\
         hw.gpu.memory.usage{{{gpu}}} 50 By\n\
         hw.gpu.memory.utilization{{{gpu}}} 0.25 1\n\
         hw.gpu.pcie.generation{{{gpu}}} 4 1\n\
         hw.gpu.pcie.limit{{{gpu},of=width}} 16 1\n\
         hw.gpu.pcie.width{{{gpu}}} 8 {{lane}}\n\
         hw.gpu.utilization{{{gpu}}} 0.97 1\n\
         hw.info{{{gpu},hw.vendor=AMD,hw.model=AMD Instinct MI300X,hw.firmware_version=113-M3,hw.driver_version=6.12.12}} 1 1\n\
         hw.status{{{gpu},hw.state=ok}} 1 1\n"
    );
    assert_eq!(testing::sample(&mut probe), expected);
    files.remove("sys/class/drm/card1");
    testing::sample(&mut probe);
    assert_eq!(
        testing::sample(&mut probe),
        format!("hw.status{{{gpu},hw.state=ok}} 0 1\n")
    );
    assert!(matches!(amd::probe(&files.paths).is_supported(), Support::No(_)));
}

#[test]
fn a_disk_that_vanishes_stays_known_as_gone_under_its_serial_number() {
    let files = testing::files(&[
        ("sys/block/sda/size", "1000\n"),
        ("sys/block/sda/device/wwid", "t10.ATA  DISK  123\n"),
        ("sys/block/sda/device/ioerr_cnt", "0x1f\n"),
        ("sys/block/sda/device/model", "ST4000\n"),
        ("sys/block/sda/device/rev", "CC54\n"),
        ("sys/block/sdc/size", "10\n"),
        ("sys/block/sdc/removable", "1\n"),
        ("sys/block/sda/device/state", "running\n"),
        ("sys/block/nvme0n1/size", "2000\n"),
        ("sys/block/nvme0n1/device/serial", "S4X\n"),
        ("sys/block/loop0/size", "8\n"),
        ("sys/block/sdb/size", "0\n"),
        ("sys/class/nvme/nvme0/serial", "S4X\n"),
        ("sys/class/nvme/nvme0/state", "live\n"),
    ]);
    let mut probe = storage::probe(&files.paths);
    let text = testing::sample(&mut probe);
    for line in [
        "hw.status{hw.id=t10.ATA_DISK_123,hw.type=physical_disk,hw.slot=sda,hw.state=ok} 1 1\n",
        "hw.errors{hw.id=t10.ATA_DISK_123,hw.type=physical_disk,hw.slot=sda,error.type=io} 31 {error}\n",
        "hw.info{hw.id=t10.ATA_DISK_123,hw.type=physical_disk,hw.slot=sda,hw.model=ST4000,hw.firmware_version=CC54} 1 1\n",
        "hw.status{hw.id=t10.ATA_DISK_123,hw.type=physical_disk,hw.slot=sda,hw.state=running} 1 1\n",
        "hw.status{hw.id=S4X,hw.type=disk_controller,hw.slot=nvme0,hw.state=live} 1 1\n",
        "system.disk.limit{system.device=nvme0n1} 1024000 By\n",
    ] {
        assert!(text.contains(line), "{line} not in {text}");
    }
    assert!(!text.contains("loop0") && !text.contains("sdb"), "{text}");
    assert!(
        text.contains("=sdc") && !text.contains("hw.id=sdc,hw.type=physical_disk,hw.slot=sdc,hw.state=ok"),
        "{text}"
    );
    files.write("sys/block/sda/device/state", "offline\n");
    files.remove("sys/block/nvme0n1");
    let text = testing::sample(&mut probe);
    assert!(text.contains("hw.slot=sda,hw.state=running} 0 1\n"), "{text}");
    // A file that cannot be read has the list made anew for the next round.
    let text = testing::sample(&mut probe);
    assert!(
        text.contains("hw.status{hw.id=S4X,hw.type=physical_disk,hw.slot=nvme0n1,hw.state=ok} 0 1\n"),
        "{text}"
    );
    // Back in another slot it is the same disk.
    files.write("sys/block/nvme1n1/size", "2000\n");
    files.write("sys/block/nvme1n1/device/serial", "S4X\n");
    probe.again.store(true, Ordering::Relaxed);
    let text = testing::sample(&mut probe);
    assert!(
        text.contains("hw.slot=nvme1n1,hw.state=ok} 1 1\n") && !text.contains("hw.slot=nvme0n1"),
        "{text}"
    );
}

#[test]
fn arrays_and_file_systems_tell_of_their_errors() {
    let files = testing::files(&[
        ("sys/block/md0/md/raid_disks", "2\n"),
        ("sys/block/md0/md/degraded", "1\n"),
        ("sys/block/md0/md/array_state", "clean\n"),
        ("sys/block/md0/md/dev-sda1/errors", "3\n"),
        ("sys/block/md0/md/dev-sdb1/errors", "4\n"),
        ("sys/fs/ext4/sda1/errors_count", "2\n"),
        (
            "sys/fs/btrfs/0a-1b/devinfo/1/error_stats",
            "write_errs 1\nread_errs 2\nflush_errs 0\ncorruption_errs 5\ngeneration_errs 0\n",
        ),
        ("sys/fs/xfs/dm-0/stats/stats", "extent_alloc 1 2 3 4\nlog 99 8 7 6 5\n"),
        ("proc/spl/kstat/zfs/tank/state", "DEGRADED\n"),
        ("proc/spl/kstat/zfs/arcstats", "6 1 0x01\nname type data\nsize 4 4096\n"),
        ("sys/class/fc_host/host1/port_state", "Online\n"),
        ("sys/class/fc_host/host1/statistics/invalid_crc_count", "0x2\n"),
    ]);
    let text = testing::sample(&mut storage::probe(&files.paths));
    for line in [
        "system.linux.raid.degraded{system.device=md0} 1 {disk}\n",
        "system.linux.raid.errors{system.device=md0} 7 {error}\n",
        "system.linux.raid.state{system.device=md0,state=clean} 1 1\n",
        "system.linux.raid.state{system.device=md0,state=broken} 0 1\n",
        "system.linux.filesystem.errors{system.device=sda1,system.filesystem.type=ext4,error.type=errors} 2 {error}\n",
        "system.linux.filesystem.errors{system.device=0a-1b/1,system.filesystem.type=btrfs,error.type=corruption} 5 {error}\n",
        "system.linux.filesystem.log_writes{system.device=dm-0} 99 {operation}\n",
        "hw.status{hw.id=tank,hw.type=logical_disk,hw.state=online} 0 1\n",
        "system.linux.zfs.arc.size 4096 By\n",
        "hw.errors{hw.id=host1,hw.type=network,hw.slot=host1,error.type=invalid_crc} 2 {error}\n",
    ] {
        assert!(text.contains(line), "{line} not in {text}");
    }
}

#[test]
fn links_bonds_and_infiniband_ports() {
    let files = testing::files(&[
        ("sys/class/net/eth0/carrier", "1\n"),
        ("sys/class/net/eth0/carrier_changes", "4\n"),
        ("sys/class/net/eth0/speed", "10000\n"),
        ("sys/class/net/eth0/bonding_slave/mii_status", "up\n"),
        ("sys/class/net/eth1/speed", "-1\n"),
        ("sys/class/net/lo/carrier", "1\n"),
        ("sys/class/net/bond0/bonding/slaves", "eth0 eth1\n"),
        ("sys/class/net/bonding_masters", "bond0\n"),
        ("sys/class/infiniband/mlx5_0/node_guid", "0c42:a103:0065:1a2b\n"),
        ("sys/class/infiniband/mlx5_0/ports/1/state", "4: ACTIVE\n"),
        ("sys/class/infiniband/mlx5_0/ports/1/counters/symbol_error", "12\n"),
        ("sys/class/infiniband/mlx5_0/ports/1/counters/link_downed", "3\n"),
        ("sys/class/infiniband/mlx5_0/ports/1/counters/port_rcv_data", "100\n"),
    ]);
    let text = testing::sample(&mut links::probe(&files.paths));
    for line in [
        "system.linux.network.carrier_changes{network.interface.name=eth0} 4 {change}\n",
        "system.linux.network.speed{network.interface.name=eth0} 1250000000 By/s\n",
        "system.linux.bond.slaves{network.interface.name=bond0} 2 {interface}\n",
        "system.linux.bond.slave_up{network.interface.name=bond0,network.interface.slave=eth0} 1 1\n",
        "hw.network.up{hw.id=0c42:a103:0065:1a2b/1,hw.type=network,hw.slot=mlx5_0/1} 1 1\n",
        "hw.errors{hw.id=0c42:a103:0065:1a2b/1,hw.type=network,hw.slot=mlx5_0/1,error.type=link_downed} 3 {error}\n",
        "network.io.direction=receive} 400 By\n",
    ] {
        assert!(text.contains(line), "{line} not in {text}");
    }
    assert!(!text.contains("=lo}") && !text.contains("=eth1}"), "{text}");
}

/// An interface with a card below it on the named bus, by this driver.
fn card(files: &testing::Files, name: &str, bus: &str, driver: &str, facts: &[(&str, &str)]) {
    use std::os::unix::fs::symlink;
    let folder = format!("sys/class/net/{name}");
    for (file, text) in [("type", "1\n"), ("mtu", "1500\n"), ("addr_assign_type", "0\n")] {
        files.write(&format!("{folder}/{file}"), text);
    }
    for (file, text) in facts {
        files.write(&format!("{folder}/{file}"), text);
    }
    let place = files.path(&format!("{folder}/device"));
    std::fs::create_dir_all(&place).expect("device");
    symlink(format!("../../bus/{bus}"), format!("{place}/subsystem")).expect("bus");
    symlink(format!("../../bus/{bus}/drivers/{driver}"), format!("{place}/driver")).expect("driver");
}

#[test]
fn a_card_that_vanishes_is_told_by_its_address_and_what_it_was() {
    let files = testing::files(&[
        ("sys/class/infiniband/mlx5_0/node_guid", "0c42:a103:0065:1a2b\n"),
        ("sys/class/infiniband/mlx5_0/fw_ver", "28.39.1002\n"),
        ("sys/class/infiniband/mlx5_0/ports/1/state", "4: ACTIVE\n"),
        ("sys/class/infiniband/mlx5_0/ports/1/rate", "100 Gb/sec (4X EDR)\n"),
    ]);
    let address = ("address", "0c:42:a1:65:1a:2b\n");
    let mellanox = [
        address,
        ("carrier", "1\n"),
        ("speed", "25000\n"),
        ("device/vendor", "0x15b3\n"),
        ("device/device", "0x1017\n"),
        ("device/infiniband/mlx5_1/fw_ver", "16.35.2000\n"),
    ];
    card(&files, "ens1", "pci", "mlx5_core", &mellanox);
    // In a bond it has the bond's address, and its own beside it.
    let slave = [
        address,
        ("addr_assign_type", "3\n"),
        ("bonding_slave/perm_hwaddr", "0c:42:a1:65:1a:2c\n"),
    ];
    card(&files, "ens2", "pci", "ice", &slave);
    // None of these is missed: lent out, loose, InfiniBand's own interface, and no card at all.
    card(&files, "ens3v0", "pci", "iavf", &[address, ("device/physfn/x", "")]);
    card(&files, "usb0", "usb", "cdc_ether", &[address]);
    card(&files, "ib0", "pci", "mlx5_core", &[("type", "32\n")]);
    files.write("sys/class/net/br0/address", "0c:42:a1:65:1a:2b\n");
    let mut probe = links::probe(&files.paths);
    let text = testing::sample(&mut probe);
    let ens1 = "hw.id=0c:42:a1:65:1a:2b,hw.type=network,hw.slot=ens1";
    let port = "hw.id=0c42:a103:0065:1a2b/1,hw.type=network,hw.slot=mlx5_0/1";
    for line in [
        format!("hw.status{{{ens1},hw.state=ok}} 1 1\n"),
        format!("hw.network.up{{{ens1}}} 1 1\n"),
        format!("hw.network.bandwidth.limit{{{ens1}}} 3125000000 By/s\n"),
        format!("hw.info{{{ens1},hw.model=15b3:1017,hw.firmware_version=16.35.2000,hw.driver=mlx5_core}} 1 1\n"),
        "hw.status{hw.id=0c:42:a1:65:1a:2c,hw.type=network,hw.slot=ens2,hw.state=ok} 1 1\n".to_owned(),
        format!("hw.status{{{port},hw.state=ok}} 1 1\n"),
        format!("hw.network.bandwidth.limit{{{port}}} 12500000000 By/s\n"),
    ] {
        assert!(text.contains(&line), "{line} not in {text}");
    }
    let told = |text: &str| text.matches("hw.state=ok}").count();
    assert_eq!(told(&text), 4, "{text}");
    files.remove("sys/class/net/ens1");
    files.remove("sys/class/infiniband/mlx5_0");
    // What cannot be read has the list made anew for the next round.
    testing::sample(&mut probe);
    let text = testing::sample(&mut probe);
    for gone in [ens1, port, "hw.id=0c42:a103:0065:1a2b,hw.type=network,hw.slot=mlx5_0"] {
        let line = format!("hw.status{{{gone},hw.state=ok}} 0 1\n");
        assert!(text.contains(&line), "{line} not in {text}");
    }
    assert!(
        text.contains("hw.slot=ens2,hw.state=ok} 1 1\n") && told(&text) == 4,
        "{text}"
    );
}

#[test]
fn a_card_without_an_address_of_its_own_is_known_by_its_place() {
    use std::os::unix::fs::symlink;
    let files = testing::files(&[
        ("sys/class/net/eth0/type", "1\n"),
        ("sys/class/net/eth0/mtu", "1500\n"),
        ("sys/class/net/eth0/addr_assign_type", "1\n"),
        ("sys/class/net/eth0/address", "fe:00:00:00:00:01\n"),
        ("sys/devices/vmbus/f8615163/vendor", "x\n"),
    ]);
    let device = files.path("sys/class/net/eth0/device");
    symlink(files.path("sys/devices/vmbus/f8615163"), device).expect("device");
    let text = testing::sample(&mut links::probe(&files.paths));
    assert!(
        text.contains("hw.status{hw.id=f8615163,hw.type=network,hw.slot=eth0,hw.state=ok} 1 1\n"),
        "{text}"
    );
}

#[test]
fn a_file_that_blocks_delays_nobody_and_is_told() {
    let files = testing::files(&[
        ("sys/class/hwmon/hwmon0/name", "drivetemp\n"),
        ("sys/block/sda/size", "1000\n"),
    ]);
    // Whoever opens it waits, as for a driver that no longer answers.
    let pipe = files.path("sys/class/hwmon/hwmon0/temp1_input");
    testing::pipe(Path::new(&pipe));
    let hands = Hands::new();
    let mut hangs = hardware::probe(&files.paths).read_by(&hands);
    let mut other = storage::probe(&files.paths).read_by(&hands);
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        assert_eq!(hangs.is_supported(), Support::Yes, "what does not answer is there");
        let mut sink = crate::reading::TextSink::default();
        hangs.begin();
        let mut out = Readings::new(&mut sink, 2, 1);
        assert!(hangs.sample(Instant::now(), &mut out).is_ok(), "not for so long yet");
        assert!(sink.text().is_empty() && !hangs.has_late(), "{}", sink.text());
        tell.send((testing::sample(&mut other), hangs)).expect("somebody waits");
    });
    let (text, mut hangs) = told.recv_timeout(Duration::from_secs(120)).expect("nobody is delayed");
    assert!(
        text.contains("system.disk.limit{system.device=sda} 512000 By\n"),
        "{text}"
    );
    // The driver answers, as often as it is asked; what it said is taken with the next round.
    testing::answer(Path::new(&pipe), "45000\n", || hangs.busy_for().is_some());
    assert!(hangs.has_late());
    fs::remove_file(&pipe).expect("remove");
    fs::write(&pipe, "46000\n").expect("write");
    let text = testing::sample(&mut hangs);
    for value in [45, 46] {
        let line = format!("hw.temperature{{hw.id=drivetemp,hw.sensor_location=drivetemp temp1}} {value} Cel\n");
        assert!(text.contains(&line), "{line} not in {text}");
    }
}

#[test]
fn a_container_without_any_of_it_says_so() {
    let files = testing::files(&[]);
    for mut probe in [
        hardware::probe(&files.paths),
        storage::probe(&files.paths),
        links::probe(&files.paths),
    ] {
        assert!(matches!(probe.is_supported(), Support::No(_)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_in_any_file_is_a_number_or_nothing(text in prop_oneof![
        "\\PC{0,40}", any::<f64>().prop_map(|n| n.to_string()), any::<u64>().prop_map(|n| format!("0x{n:x}")),
        Just("size 4 9e999\n".to_owned()), Just("log\n".to_owned()),
    ]) {
        for value in [
            Value::Times(1e300), Value::Positive(1.0), Value::After("log", 1.0), Value::Third("size"), Value::Is("x"), Value::Words,
        ] {
            prop_assert!(value.of(&text).is_none_or(f64::is_finite), "{text:?} {value:?}");
        }
    }
}
