//! Every metric that the agent can send: name, unit, kind, help and where the value comes from.
//!
//! Names follow the OpenTelemetry semantic conventions 1.44 (`system.*`, `hw.*`) wherever these have one. What they leave
//! out is named `system.linux.*` (pressure, allocation stalls), `cgroup.*`, `probe.*` or `foreshock.agent.*`.

use wire::metric::{Kind, MetricDef};

/// A metric and its source on the host.
#[derive(Debug)]
pub struct Metric {
    /// Name, unit, kind and help as they are sent.
    pub def: MetricDef,
    /// The file, call or agent's own counter that the value is read from.
    pub source: &'static str,
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $id:ident = $kind:ident $name:literal [$unit:literal] $help:literal from $source:literal;)*) => {
        $(
            $(#[$doc])*
            #[doc = concat!("`", $name, "`, ", $unit, ": ", $help)]
            pub static $id: Metric = Metric {
                def: MetricDef { name: $name, unit: $unit, kind: Kind::$kind, help: $help },
                source: $source,
            };
        )*
        /// All metrics of this module, in the order of their definition.
        pub static ALL: &[&Metric] = &[$(&$id),*];
    };
}

metrics! {
    CPU_TIME = Counter "system.cpu.time" ["s"] "Seconds that the logical CPUs spent in each mode, all together or (--cpu-per-core) each by its number." from "/proc/stat, cpu and cpuN";
    CPU_UTILIZATION = Gauge "system.cpu.utilization" ["1"] "Share of CPU time spent neither idle nor waiting for I/O since the last reading." from "/proc/stat, cpu";
    CPU_LOGICAL_COUNT = UpDownCounter "system.cpu.logical.count" ["{cpu}"] "Logical CPUs that are online." from "/proc/stat, cpuN";
    CPU_BUSIEST = Gauge "system.linux.cpu.busiest_utilization" ["1"] "Utilisation of the busiest logical CPU: one thread at its limit does not show in the mean of many." from "/proc/stat, cpuN";
    CPU_FREQUENCY = Gauge "system.cpu.frequency" ["Hz"] "Clock of the logical CPUs: their mean, and the slowest." from "/sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq";
    CPU_THROTTLES = Counter "system.linux.cpu.throttles" ["{throttle}"] "Times that heat held back cores and packages." from "/sys/devices/system/cpu/cpu*/thermal_throttle";
    INTERRUPTS = Counter "system.linux.interrupts" ["{interrupt}"] "Interrupts since boot." from "/proc/stat, intr";
    SOFTIRQS = Counter "system.linux.softirqs" ["{interrupt}"] "Software interrupts by type." from "/proc/stat, softirq";
    SCHEDULER_TIME = Counter "system.linux.scheduler.time" ["s"] "Time that tasks ran, and that they were ready to run and waited." from "/proc/schedstat";
    CONTEXT_SWITCHES = Counter "system.linux.context_switches" ["{switch}"] "Context switches since boot." from "/proc/stat, ctxt";
    PROCESS_CREATED = Counter "system.process.created" ["{process}"] "Processes and threads created since boot." from "/proc/stat, processes";
    PROCESS_COUNT = UpDownCounter "system.process.count" ["{process}"] "Tasks that are running or ready, and tasks blocked on I/O." from "/proc/stat, procs_running and procs_blocked";
    LOAD_1M = Gauge "system.cpu.load_average.1m" ["{thread}"] "Average number of tasks running, ready or blocked over one minute." from "/proc/loadavg";
    LOAD_5M = Gauge "system.cpu.load_average.5m" ["{thread}"] "Average number of tasks running, ready or blocked over five minutes." from "/proc/loadavg";
    LOAD_15M = Gauge "system.cpu.load_average.15m" ["{thread}"] "Average number of tasks running, ready or blocked over fifteen minutes." from "/proc/loadavg";
    TASKS = Gauge "system.linux.tasks" ["{task}"] "Tasks in all, each thread counted." from "/proc/loadavg";
    TASKS_LIMIT = Gauge "system.linux.tasks.limit" ["{task}"] "Tasks beyond which none can be created." from "/proc/sys/kernel/pid_max";
    PROCESS_STATES = Gauge "system.linux.processes" ["{process}"] "Processes by state; disk is uninterruptible sleep." from "/proc/<pid>/stat, once a minute";
    THREADS = Gauge "system.linux.threads" ["{thread}"] "Threads of all processes." from "/proc/<pid>/stat, once a minute";
    ENTROPY = Gauge "system.linux.entropy" ["bit"] "Randomness that the kernel holds; readers of /dev/random wait for it before 5.6." from "/proc/sys/kernel/random/entropy_avail";
    BOOT_TIME = Gauge "system.linux.boot_time" ["s"] "When the host booted, seconds since 1970 UTC: another value is a reboot." from "/proc/stat, btime";
    CRASH_RECORDS = Gauge "system.linux.crash_records" ["{record}"] "Records that an earlier kernel left when it died." from "/sys/fs/pstore";
    HUNG_TASKS = Counter "system.linux.hung_tasks" ["{task}"] "Tasks found to hang in uninterruptible sleep." from "/proc/sys/kernel/hung_task_detect_count (since 6.13)";
    TAINTED = Gauge "system.linux.tainted" ["1"] "Why the kernel counts as tainted, as bits: 16 is a machine check, 128 an oops, 16384 a soft lockup." from "/proc/sys/kernel/tainted";
    KERNEL_EVENTS = Counter "system.linux.kernel.events" ["{event}"] "Events that the kernel's log told of since boot, by kind; kinds that never happened are 0." from "/dev/kmsg";
    KERNEL_DEVICE_EVENTS = Counter "system.linux.kernel.device_events" ["{event}"] "The same by the device that the line names." from "/dev/kmsg";
    KERNEL_LOG_MISSED = Counter "system.linux.kernel.log_missed" ["{record}"] "Records that the kernel overwrote before they were read." from "/dev/kmsg, sequence numbers";
    KERNEL_LOG_LIMITED = Counter "system.linux.kernel.log_limited" ["{event}"] "Events that were counted and not sent as log records, since there were more than 20 in a second or 2000 in a round." from "/dev/kmsg";
    GPU_XID = Counter "hw.gpu.xid" ["{error}"] "XID errors that NVIDIA's driver told of, by number, every repeat counted." from "/dev/kmsg, NVRM: Xid";
    GPU_SXID = Counter "hw.gpu.sxid" ["{error}"] "Errors of NVSwitches that the driver told of, by number." from "/dev/kmsg, SXid";
    TIME_SYNCHRONIZED = Gauge "system.linux.time.synchronized" ["1"] "1 while something holds the clock to the world's time." from "adjtimex, STA_UNSYNC";
    TIME_OFFSET = Gauge "system.linux.time.offset" ["s"] "Difference that is being corrected." from "adjtimex, offset";
    TIME_ERROR = Gauge "system.linux.time.error" ["s"] "Largest error that the clock may have; absent when nobody told the kernel." from "adjtimex, maxerror";
    TIME_FREQUENCY = Gauge "system.linux.time.frequency" ["1"] "Correction of the clock's own pace." from "adjtimex, freq";
    CERTIFICATE_NOT_AFTER = Gauge "system.linux.certificate.not_after" ["s"] "When the first of the file's certificates ends, seconds since 1970 UTC." from "files and folders of --certificate, once a minute";
    UPTIME = Gauge "system.uptime" ["s"] "Seconds since boot; it falls when the host restarts." from "/proc/uptime";

    MEMORY_USAGE = UpDownCounter "system.memory.usage" ["By"] "Memory by state; used is what is neither free, cached nor in buffers." from "/proc/meminfo";
    MEMORY_LIMIT = UpDownCounter "system.memory.limit" ["By"] "Memory that the kernel manages." from "/proc/meminfo, MemTotal";
    MEMORY_UTILIZATION = Gauge "system.memory.utilization" ["1"] "Share of memory that new work cannot have without swapping: 1 - MemAvailable / MemTotal." from "/proc/meminfo";
    MEMORY_AVAILABLE = UpDownCounter "system.memory.linux.available" ["By"] "Memory that new work could have without swapping." from "/proc/meminfo, MemAvailable";
    MEMORY_COMMITTED = Gauge "system.linux.memory.committed" ["By"] "Memory promised to processes, touched or not." from "/proc/meminfo, Committed_AS";
    MEMORY_DIRTY = Gauge "system.linux.memory.dirty" ["By"] "Page cache that waits to be written to disk, by state." from "/proc/meminfo, Dirty and Writeback";
    MEMORY_DETAIL = Gauge "system.linux.memory.detail" ["By"] "What memory is used for; the kinds overlap." from "/proc/meminfo";
    MEMORY_COMMIT_LIMIT = Gauge "system.linux.memory.commit_limit" ["By"] "Memory that may be promised where overcommitment is off." from "/proc/meminfo, CommitLimit";
    MEMORY_HUGE_PAGES = Gauge "system.linux.memory.huge_pages" ["{page}"] "Reserved huge pages, used and free." from "/proc/meminfo, HugePages_Total and HugePages_Free";
    VM_EVENTS = Counter "system.linux.memory.events" ["{event}"] "What the memory manager had to do, by event." from "/proc/vmstat";
    MEMORY_SLAB = Gauge "system.linux.memory.slab" ["By"] "Kernel objects that can and that cannot be reclaimed." from "/proc/meminfo, SReclaimable and SUnreclaim";
    OOM_KILLS = Counter "system.linux.oom_kills" ["{kill}"] "Processes that the kernel killed for want of memory, on the whole host and in cgroups." from "/proc/vmstat, oom_kill";
    ALLOCATION_STALLS = Counter "system.linux.memory.allocation_stalls" ["{stall}"] "Allocations that had to wait for direct reclaim." from "/proc/vmstat, allocstall_*";
    RECLAIM_SCANNED = Counter "system.linux.memory.reclaim.scanned" ["{page}"] "Pages looked at by reclaim: by kswapd in the background, or directly by the allocating task." from "/proc/vmstat, pgscan_kswapd and pgscan_direct";
    REFAULTS = Counter "system.linux.memory.refaults" ["{page}"] "Pages read back soon after they were evicted: the working set no longer fits." from "/proc/vmstat, workingset_refault_*";

    PAGING_USAGE = UpDownCounter "system.paging.usage" ["By"] "Swap by state." from "/proc/meminfo, SwapTotal and SwapFree";
    PAGING_UTILIZATION = Gauge "system.paging.utilization" ["1"] "Share of swap in use; absent on hosts without swap." from "/proc/meminfo, SwapTotal and SwapFree";
    PAGING_FAULTS = Counter "system.paging.faults" ["{fault}"] "Page faults; major ones waited for a disk." from "/proc/vmstat, pgfault and pgmajfault";
    PAGING_OPERATIONS = Counter "system.paging.operations" ["{operation}"] "Pages swapped in and out." from "/proc/vmstat, pswpin and pswpout";

    PRESSURE_STALL_TIME = Counter "system.linux.pressure.stall_time" ["s"] "Time in which some or all tasks stood still for want of a resource." from "/proc/pressure/{cpu,memory,io}, total";

    FILESYSTEM_USAGE = UpDownCounter "system.filesystem.usage" ["By"] "Space by state; reserved is free but kept for root." from "statvfs";
    FILESYSTEM_LIMIT = UpDownCounter "system.filesystem.limit" ["By"] "Size of the file system." from "statvfs";
    FILESYSTEM_UTILIZATION = Gauge "system.filesystem.utilization" ["1"] "Share of the space open to ordinary users that is used, as df counts it." from "statvfs";
    FILESYSTEM_INODES = Gauge "system.linux.filesystem.inode_utilization" ["1"] "Share of inodes in use; absent where the file system has no fixed number." from "statvfs";
    FILESYSTEM_INODE_COUNT = Gauge "system.linux.filesystem.inodes" ["{inode}"] "Inodes by state; absent where the file system has no fixed number." from "statvfs";
    FILESYSTEM_ERRORS = Counter "system.linux.filesystem.errors" ["{error}"] "Errors that the file system itself counted, by type." from "/sys/fs/ext4/*/errors_count and warning_count, /sys/fs/btrfs/*/devinfo/*/error_stats";
    XFS_LOG_WRITES = Counter "system.linux.filesystem.log_writes" ["{operation}"] "Writes of an XFS log." from "/sys/fs/xfs/*/stats/stats, log";
    ZFS_ARC = Gauge "system.linux.zfs.arc.size" ["By"] "Memory in ZFS's cache, which shrinks on demand though it counts as used." from "/proc/spl/kstat/zfs/arcstats, size";
    FILESYSTEM_READ_ONLY = Gauge "system.linux.filesystem.read_only" ["1"] "1 while the file system as a whole is read-only, which Linux makes it after errors; a mount of it that is read-only says nothing." from "/proc/self/mountinfo, super options";

    DISK_IO = Counter "system.disk.io" ["By"] "Bytes read and written." from "/proc/diskstats, fields 6 and 10";
    DISK_OPERATIONS = Counter "system.disk.operations" ["{operation}"] "Reads and writes completed." from "/proc/diskstats, fields 4 and 8";
    DISK_OPERATION_TIME = Counter "system.disk.operation_time" ["s"] "Time that reads and writes took, each counted in full: its rate over that of operations is the latency." from "/proc/diskstats, fields 7 and 11";
    DISK_IO_TIME = Counter "system.disk.io_time" ["s"] "Time in which at least one request was under way: its rate is the utilisation." from "/proc/diskstats, field 13";
    DISK_WEIGHTED_TIME = Counter "system.linux.disk.weighted_io_time" ["s"] "Time under way summed over requests: its rate is the mean queue length." from "/proc/diskstats, field 14";
    DISK_IN_FLIGHT = Gauge "system.linux.disk.in_flight" ["{operation}"] "Requests under way." from "/proc/diskstats, field 12";

    DISK_MERGED = Counter "system.disk.merged" ["{operation}"] "Reads and writes that were merged with a neighbour." from "/proc/diskstats, fields 5 and 9";
    DISK_SIZE = UpDownCounter "system.disk.limit" ["By"] "Size of the disk." from "/sys/block/*/size";
    DISK_MAINTENANCE = Counter "system.linux.disk.maintenance" ["{operation}"] "Discards and flushes completed." from "/proc/diskstats, fields 15 and 19";
    DISK_MAINTENANCE_TIME = Counter "system.linux.disk.maintenance.time" ["s"] "Time that discards and flushes took." from "/proc/diskstats, fields 18 and 20";
    RAID_DISKS = Gauge "system.linux.raid.disks" ["{disk}"] "Disks that the array should have." from "/sys/block/md*/md/raid_disks";
    DISK_SMART = Gauge "hw.physical_disk.smart" ["1"] "What the disk counts of itself, by attribute: errors, spare blocks, hours." from "NVMe SMART / Health Information log, ATA SMART attributes, by foreshock-agent-smart.service";
    DISK_ENDURANCE = Gauge "hw.physical_disk.endurance_utilization" ["1"] "Share of the writes that a solid-state disk's maker promised that is left." from "NVMe Percentage Used, ATA attributes 169, 177, 202, 231 and 233, by foreshock-agent-smart.service";
    RAID_DEGRADED = Gauge "system.linux.raid.degraded" ["{disk}"] "Disks that the array lacks." from "/sys/block/md*/md/degraded";
    RAID_MISMATCHES = Gauge "system.linux.raid.mismatches" ["{sector}"] "Sectors found to differ between disks at the last check." from "/sys/block/md*/md/mismatch_cnt";
    RAID_ERRORS = Counter "system.linux.raid.errors" ["{error}"] "Read errors that the array corrected, all disks together." from "/sys/block/md*/md/dev-*/errors";
    RAID_STATE = Gauge "system.linux.raid.state" ["1"] "1 for the state that the array is in." from "/sys/block/md*/md/array_state";

    NETWORK_IO = Counter "system.network.io" ["By"] "Bytes received and sent." from "/proc/net/dev";
    NETWORK_PACKETS = Counter "system.network.packet.count" ["{packet}"] "Packets received and sent." from "/proc/net/dev";
    NETWORK_ERRORS = Counter "system.network.errors" ["{error}"] "Receive and send errors." from "/proc/net/dev";
    NETWORK_DROPPED = Counter "system.network.packet.dropped" ["{packet}"] "Packets dropped though they had no error." from "/proc/net/dev";
    TCP_RETRANSMITS = Counter "system.linux.tcp.retransmits" ["{segment}"] "TCP segments sent again." from "/proc/net/snmp, RetransSegs";
    TCP_ESTABLISHED = Gauge "system.linux.tcp.established" ["{connection}"] "TCP connections in state ESTABLISHED or CLOSE-WAIT." from "/proc/net/snmp, CurrEstab";

    TCP_SEGMENTS = Counter "system.linux.tcp.segments" ["{segment}"] "TCP segments received and sent: retransmits over those sent is the loss." from "/proc/net/snmp, InSegs and OutSegs";
    TCP_EVENTS = Counter "system.linux.tcp.events" ["{event}"] "What happened to TCP connections: opens, resets, time-outs, overflowing listeners, drops for want of memory." from "/proc/net/snmp and netstat";
    UDP_DATAGRAMS = Counter "system.linux.udp.datagrams" ["{packet}"] "UDP datagrams received and sent." from "/proc/net/snmp, InDatagrams and OutDatagrams";
    UDP_ERRORS = Counter "system.linux.udp.errors" ["{error}"] "UDP datagrams lost, by reason." from "/proc/net/snmp";
    IP_EVENTS = Counter "system.linux.ip.events" ["{event}"] "Packets that IP could not deliver, by reason." from "/proc/net/snmp";
    SOCKETS = Gauge "system.linux.sockets" ["{socket}"] "Sockets by state." from "/proc/net/sockstat";
    SOCKET_MEMORY = Gauge "system.linux.sockets.memory" ["By"] "Memory in socket buffers." from "/proc/net/sockstat, mem";
    SOFTNET_PACKETS = Counter "system.linux.network.backlog" ["{packet}"] "Received packets processed and dropped; squeezed counts the times that the budget ran out." from "/proc/net/softnet_stat";
    ARP_ENTRIES = Gauge "system.linux.arp.entries" ["{entry}"] "Neighbours in the ARP table." from "/proc/net/arp";
    CONNTRACK_ENTRIES = Gauge "system.linux.conntrack.entries" ["{entry}"] "Connections tracked; new ones are dropped at the limit." from "/proc/sys/net/netfilter/nf_conntrack_count";
    CONNTRACK_LIMIT = Gauge "system.linux.conntrack.limit" ["{entry}"] "Connections that can be tracked." from "/proc/sys/net/netfilter/nf_conntrack_max";
    CONNTRACK_EVENTS = Counter "system.linux.conntrack.events" ["{event}"] "Connections that could not be tracked, by reason." from "/proc/net/stat/nf_conntrack";
    LINK_UP = Gauge "system.linux.network.carrier" ["1"] "1 while the link is up." from "/sys/class/net/*/carrier";
    LINK_CHANGES = Counter "system.linux.network.carrier_changes" ["{change}"] "Times that the link came or went." from "/sys/class/net/*/carrier_changes";
    LINK_SPEED = Gauge "system.linux.network.speed" ["By/s"] "Speed that the link has negotiated; less than usual means a bad cable or port." from "/sys/class/net/*/speed";
    LINK_MTU = Gauge "system.linux.network.mtu" ["By"] "Largest packet that the interface sends." from "/sys/class/net/*/mtu";
    BOND_SLAVES = Gauge "system.linux.bond.slaves" ["{interface}"] "Interfaces of the bond." from "/sys/class/net/*/bonding/slaves";
    BOND_SLAVE_UP = Gauge "system.linux.bond.slave_up" ["1"] "1 while the bond counts on the interface." from "/sys/class/net/*/bonding_slave/mii_status";
    NETWORK_UP = UpDownCounter "hw.network.up" ["1"] "1 while the card or port is up." from "/sys/class/net/*/carrier, /sys/class/infiniband/*/ports/*/state, /sys/class/fc_host/*/port_state";
    NETWORK_LIMIT = UpDownCounter "hw.network.bandwidth.limit" ["By/s"] "Speed of the card's or port's link; less than usual means a bad cable or port." from "/sys/class/net/*/speed, /sys/class/infiniband/*/ports/*/rate, /sys/class/fc_host/*/speed";
    HW_NETWORK_IO = Counter "hw.network.io" ["By"] "Bytes received and sent by an InfiniBand port." from "/sys/class/infiniband/*/ports/*/counters/port_*_data";
    HW_NETWORK_WAIT = Counter "system.linux.infiniband.transmit_wait" ["{tick}"] "Ticks in which a port had data and no credit to send it." from "/sys/class/infiniband/*/ports/*/counters/port_xmit_wait";

    FILE_DESCRIPTORS = Gauge "system.linux.file_descriptors.usage" ["{file}"] "Open files of all processes." from "/proc/sys/fs/file-nr";
    FILE_DESCRIPTORS_LIMIT = Gauge "system.linux.file_descriptors.limit" ["{file}"] "Most files that may be open at once." from "/proc/sys/fs/file-nr";

    CGROUP_MEMORY_USAGE = UpDownCounter "cgroup.memory.usage" ["By"] "Memory charged to the cgroup, page cache included." from "memory.current (v2), memory.usage_in_bytes (v1)";
    CGROUP_MEMORY_WORKING_SET = UpDownCounter "cgroup.memory.working_set" ["By"] "Memory charged less inactive page cache: what cannot be dropped at once." from "memory.stat, inactive_file (v2) or total_inactive_file (v1)";
    CGROUP_MEMORY_LIMIT = UpDownCounter "cgroup.memory.limit" ["By"] "Memory at which the kernel starts killing in the cgroup; absent without a limit." from "memory.max (v2), memory.limit_in_bytes (v1)";
    CGROUP_CPU_TIME = Counter "cgroup.cpu.time" ["s"] "CPU time of the cgroup." from "cpu.stat, usage_usec (v2), cpuacct.usage (v1)";
    CGROUP_CPU_THROTTLED = Counter "cgroup.cpu.throttled_time" ["s"] "Time in which the cgroup was held back by its CPU limit." from "cpu.stat, throttled_usec (v2)";
    CGROUP_TASKS = UpDownCounter "cgroup.tasks" ["{task}"] "Tasks in the cgroup." from "pids.current";
    CGROUP_PRESSURE = Counter "cgroup.pressure.stall_time" ["s"] "Time in which some or all tasks of the cgroup stood still for want of a resource; all for want of CPU means held back by its limit." from "cpu.pressure, memory.pressure and io.pressure, total (v2)";
    CGROUP_OOM_KILLS = Counter "cgroup.memory.oom_kills" ["{kill}"] "Processes killed in the cgroup for want of memory." from "memory.events (v2), memory.oom_control (v1), oom_kill";

    PROCESS_MEMORY = UpDownCounter "process.memory.usage" ["By"] "Memory of a watched process that is resident." from "/proc/<pid>/status, VmRSS";
    PROCESS_VIRTUAL = UpDownCounter "process.memory.virtual" ["By"] "Address space of a watched process." from "/proc/<pid>/status, VmSize";
    PROCESS_LIMIT = UpDownCounter "process.memory.limit" ["By"] "Address space beyond which a watched process gets no more memory; absent without a limit." from "/proc/<pid>/limits, Max address space";

    PROCESS_GROUP_MEMORY = Gauge "process.group.memory.usage" ["By"] "Resident memory of all processes of a name, of the ten names that use most; shared pages count for each." from "/proc/<pid>/stat, once a minute";
    PROCESS_GROUP_CPU = Counter "process.group.cpu.time" ["s"] "CPU time of all processes of a name, since the name was first sent." from "/proc/<pid>/stat, once a minute";
    PROCESS_GROUP_COUNT = Gauge "process.group.count" ["{process}"] "Processes of a name." from "/proc/<pid>/stat, once a minute";

    UNITS = Gauge "system.linux.systemd.units" ["{unit}"] "Services and mounts by the state that systemd sees them in." from "systemd, ListUnitsByPatterns over D-Bus, once a minute";
    UNIT_FAILED = Gauge "system.linux.systemd.unit.failed" ["1"] "1 while systemd counts the service or mount as failed; 0 for services that run." from "systemd, ListUnitsByPatterns over D-Bus, once a minute";
    UNIT_RESTARTS = Counter "system.linux.systemd.unit.restarts" ["{restart}"] "Times that systemd started the service again after it had ended." from "systemd, NRestarts over D-Bus, once a minute";

    PROBE_DURATION = Gauge "probe.duration" ["s"] "Time until the target answered, or until the attempt was given up." from "the agent's HTTP GET, TCP connect or look-up of a name";
    PROBE_LATENCY = Histogram "probe.latency" ["s"] "How many attempts took how long since the agent began to ask, those that failed included." from "the agent's HTTP GET, TCP connect or look-up of a name";
    PROBE_SUCCESS = Gauge "probe.success" ["1"] "1 when the target answered in time, HTTP with a status below 400, a name with an address." from "the agent's HTTP GET, TCP connect or look-up of a name";

    GPU_UTILIZATION = Gauge "hw.gpu.utilization" ["1"] "Share of time in which a kernel ran." from "nvmlDeviceGetUtilizationRates, gpu; nvmlDeviceGetEncoderUtilization and Decoder; /sys/class/drm/card*/device/gpu_busy_percent";
    GPU_MEMORY_USAGE = UpDownCounter "hw.gpu.memory.usage" ["By"] "Device memory in use." from "nvmlDeviceGetMemoryInfo; /sys/class/drm/card*/device/mem_info_vram_used";
    GPU_MEMORY_LIMIT = UpDownCounter "hw.gpu.memory.limit" ["By"] "Device memory." from "nvmlDeviceGetMemoryInfo; /sys/class/drm/card*/device/mem_info_vram_total";
    GPU_MEMORY_UTILIZATION = Gauge "hw.gpu.memory.utilization" ["1"] "Share of device memory in use." from "nvmlDeviceGetMemoryInfo; /sys/class/drm/card*/device/mem_info_vram_used and _total";
    HW_TEMPERATURE = Gauge "hw.temperature" ["Cel"] "Temperature at the named place of the device." from "nvmlDeviceGetTemperature and nvmlDeviceGetFieldValues, memory temperature; /sys/class/hwmon/*/temp*_input; /sys/class/thermal/*/temp";
    HW_TEMPERATURE_LIMIT = Gauge "hw.temperature.limit" ["Cel"] "Temperature at which the device slows down, or that its maker gives as high or critical." from "nvmlDeviceGetTemperatureThreshold, slowdown; /sys/class/hwmon/*/temp*_max and temp*_crit";
    HW_FAN_SPEED = Gauge "hw.fan.speed" ["rpm"] "Speed of a fan." from "/sys/class/hwmon/*/fan*_input";
    HW_VOLTAGE = Gauge "hw.voltage" ["V"] "Voltage at the named place." from "/sys/class/hwmon/*/in*_input";
    HW_ALARM = Gauge "system.linux.hwmon.alarm" ["1"] "1 while the chip sees its own limit passed, or the sensor broken." from "/sys/class/hwmon/*/*_alarm, *_crit_alarm and *_fault";
    HOST_POWER = Gauge "hw.host.power" ["W"] "Power that the chip measures: the whole host's or a supply's." from "/sys/class/hwmon/*/power*_input";
    HW_ENERGY = Counter "hw.energy" ["J"] "Energy used: by a GPU since its driver was loaded, by a package of processors (for root alone)." from "nvmlDeviceGetFieldValues, total energy; /sys/class/powercap/*/energy_uj";
    COOLING_STATE = Gauge "system.linux.cooling.state" ["1"] "How hard a cooling device works, from 0 up; a processor's is how far it is held back." from "/sys/class/thermal/cooling_device*/cur_state";
    BATTERY_CHARGE = Gauge "hw.battery.charge" ["1"] "Charge of a battery, such as an uninterruptible supply's." from "/sys/class/power_supply/*/capacity";
    WATCHDOG_TIMELEFT = Gauge "system.linux.watchdog.time_left" ["s"] "Time until the watchdog resets the host." from "/sys/class/watchdog/*/timeleft";
    WATCHDOG_RESET = Gauge "system.linux.watchdog.reset" ["1"] "1 when the last reset was the watchdog's." from "/sys/class/watchdog/*/bootstatus";
    HW_POWER = Gauge "hw.power" ["W"] "Power drawn." from "nvmlDeviceGetPowerUsage";
    HW_POWER_LIMIT = Gauge "hw.power.limit" ["W"] "Power limit in force." from "nvmlDeviceGetEnforcedPowerLimit";
    GPU_CLOCK = Gauge "hw.gpu.clock" ["MHz"] "Clock of the named domain." from "nvmlDeviceGetClockInfo; /sys/class/drm/card*/device/pp_dpm_sclk and pp_dpm_mclk";
    GPU_THROTTLE = Gauge "hw.gpu.throttle" ["1"] "1 while clocks are held back for the named reason." from "nvmlDeviceGetCurrentClocksThrottleReasons";
    HW_ERRORS = Counter "hw.errors" ["{error}"] "Errors of the device by type." from "nvmlDeviceGetTotalEccErrors, nvmlDeviceGetPcieReplayCounter, nvmlDeviceGetNvLinkErrorCounter; EDAC; /sys/class/drm/card*/device/pcie_replay_count and ras; /sys/block/*/device/ioerr_cnt and iotmo_cnt; /sys/class/infiniband and fc_host, counters";
    GPU_REMAPPED_ROWS = Gauge "hw.gpu.remapped_rows" ["{row}"] "Memory rows replaced by spares, by cause; pending and failure are flags." from "nvmlDeviceGetRemappedRows";
    GPU_RETIRED_PAGES = Gauge "hw.gpu.retired_pages" ["{page}"] "Memory pages retired, by cause; pending is a flag." from "nvmlDeviceGetFieldValues, retired pages";
    GPU_THROTTLED_TIME = Counter "hw.gpu.throttled_time" ["s"] "Time for which clocks were held back, by reason." from "nvmlDeviceGetFieldValues, performance policies";
    GPU_PROCESSES = Gauge "hw.gpu.processes" ["{process}"] "Programs that compute on the GPU." from "nvmlDeviceGetComputeRunningProcesses";
    GPU_MIG = Gauge "hw.gpu.mig" ["1"] "1 while the GPU is divided into instances." from "nvmlDeviceGetMigMode";
    HW_TEMPERATURE_MARGIN = Gauge "hw.gpu.temperature.margin" ["Cel"] "Degrees left until the GPU slows down." from "nvmlDeviceGetTemperatureThreshold and nvmlDeviceGetTemperature";
    GPU_PCIE_LIMIT = Gauge "hw.gpu.pcie.limit" ["1"] "PCIe lanes and generation that GPU and slot could use." from "nvmlDeviceGetMaxPcieLinkWidth and nvmlDeviceGetMaxPcieLinkGeneration; /sys/class/drm/card*/device/max_link_width and max_link_speed";
    GPU_PCIE_WIDTH = Gauge "hw.gpu.pcie.width" ["{lane}"] "PCIe lanes in use; fewer than usual means a bad contact." from "nvmlDeviceGetCurrPcieLinkWidth; /sys/class/drm/card*/device/current_link_width";
    GPU_PCIE_GENERATION = Gauge "hw.gpu.pcie.generation" ["1"] "PCIe generation in use." from "nvmlDeviceGetCurrPcieLinkGeneration; /sys/class/drm/card*/device/current_link_speed";
    HW_STATUS = UpDownCounter "hw.status" ["1"] "1 while the device is in the named state; ok turns 0 when a device seen before is gone." from "presence in the driver's list, /sys/block, /sys/class/net and /sys/class/infiniband; device/state, nvme state, power_supply online, ZFS pool state";
    HW_INFO = UpDownCounter "hw.info" ["1"] "1, with what the device is as far as it says: maker, model, firmware and driver." from "nvmlDeviceGetName, nvmlDeviceGetVbiosVersion and nvmlSystemGetDriverVersion; /sys/block/*/device, model and firmware_rev or rev; /sys/class/net/*/device and /sys/class/infiniband/*, driver, module and fw_ver; /sys/class/drm/card*/device, vbios_version";
    GPU_COUNT = Gauge "foreshock.agent.gpu.count" ["{gpu}"] "GPUs that the driver lists: a smaller number means that one fell off the bus." from "nvmlDeviceGetCount";
    GPU_CALL_DURATION = Gauge "foreshock.agent.gpu.call.duration" ["s"] "Slowest NVML call of the last reading; while one hangs, the time since the reading began." from "the agent's clock";
    GPU_CALL_ERRORS = Counter "foreshock.agent.gpu.call.errors" ["{error}"] "NVML calls that failed, by error, other than for want of support." from "NVML return codes";

    SCRAPE_DURATION = Gauge "foreshock.agent.scrape.duration" ["s"] "Time that the last round of readings took, waiting for probes in threads of their own included." from "the agent's clock";
    COST = Gauge "foreshock.agent.probe.duration" ["s"] "Time that the probe's last reading took." from "the agent's clock";
    SCRAPE_ERRORS = Counter "foreshock.agent.scrape.errors" ["{error}"] "Readings that failed, by probe." from "the agent";
    SPOOL_BATCHES = Gauge "foreshock.agent.spool.batches" ["{batch}"] "Batches that wait to be acknowledged." from "the agent";
    SPOOL_BYTES = Gauge "foreshock.agent.spool.bytes" ["By"] "Bytes that wait to be acknowledged." from "the agent";
    DROPPED_BATCHES = Counter "foreshock.agent.dropped_batches" ["{batch}"] "Batches lost, by reason: full (no room in the spool), old (waited too long), refused (by the server), unsupported (events, at a receiver that takes no logs)." from "the agent";
    GAP_DURATION = Gauge "foreshock.agent.gap.duration" ["s"] "Length of a stretch whose batches were dropped before they could be sent: what is missing there is unknown, not zero. The point stands at its end." from "the agent";
    INTERVAL = Gauge "foreshock.agent.interval" ["s"] "Time between two full rounds of readings: shorter under pressure or while the server warns of the host, longer while the server has too much to do." from "the agent";
    CLOCK_SKEW = Gauge "foreshock.agent.clock.skew" ["s"] "How far this host's clock is ahead of the server's; 0 within the second that the server's answer leaves open." from "the agent's clock and the Date header of answers";
    DISK_HEALTH_AGE = Gauge "foreshock.agent.disk_health.age" ["s"] "Time since the helper asked the disks; beyond 45 minutes their health is unknown, and absent." from "the agent's clock";
    IDENTITY_ENDS = Gauge "foreshock.agent.certificate.not_after" ["s"] "When the certificate ends by which this host is known to the server, seconds since 1970 UTC; absent where it comes with a token." from "the agent";
    SENT_BATCHES = Counter "foreshock.agent.sent_batches" ["{batch}"] "Batches acknowledged by the server." from "the agent";
    SEND_RETRIES = Counter "foreshock.agent.send.retries" ["{attempt}"] "Attempts to send that failed and were repeated later." from "the agent";
    SEND_DURATION = Gauge "foreshock.agent.send.duration" ["s"] "Time until the last batch was acknowledged." from "the agent's clock";
}
