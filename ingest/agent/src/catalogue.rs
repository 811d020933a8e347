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
    CPU_TIME = Counter "system.cpu.time" ["s"] "Seconds that all logical CPUs together spent in each mode." from "/proc/stat, cpu";
    CPU_UTILIZATION = Gauge "system.cpu.utilization" ["1"] "Share of CPU time spent neither idle nor waiting for I/O since the last reading." from "/proc/stat, cpu";
    CPU_LOGICAL_COUNT = UpDownCounter "system.cpu.logical.count" ["{cpu}"] "Logical CPUs that are online." from "/proc/stat, cpuN";
    CONTEXT_SWITCHES = Counter "system.linux.context_switches" ["{switch}"] "Context switches since boot." from "/proc/stat, ctxt";
    PROCESS_CREATED = Counter "system.process.created" ["{process}"] "Processes and threads created since boot." from "/proc/stat, processes";
    PROCESS_COUNT = UpDownCounter "system.process.count" ["{process}"] "Tasks that are running or ready, and tasks blocked on I/O." from "/proc/stat, procs_running and procs_blocked";
    LOAD_1M = Gauge "system.cpu.load_average.1m" ["{thread}"] "Average number of tasks running, ready or blocked over one minute." from "/proc/loadavg";
    LOAD_5M = Gauge "system.cpu.load_average.5m" ["{thread}"] "Average number of tasks running, ready or blocked over five minutes." from "/proc/loadavg";
    LOAD_15M = Gauge "system.cpu.load_average.15m" ["{thread}"] "Average number of tasks running, ready or blocked over fifteen minutes." from "/proc/loadavg";
    UPTIME = Gauge "system.uptime" ["s"] "Seconds since boot; it falls when the host restarts." from "/proc/uptime";

    MEMORY_USAGE = UpDownCounter "system.memory.usage" ["By"] "Memory by state; used is what is neither free, cached nor in buffers." from "/proc/meminfo";
    MEMORY_LIMIT = UpDownCounter "system.memory.limit" ["By"] "Memory that the kernel manages." from "/proc/meminfo, MemTotal";
    MEMORY_UTILIZATION = Gauge "system.memory.utilization" ["1"] "Share of memory that new work cannot have without swapping: 1 - MemAvailable / MemTotal." from "/proc/meminfo";
    MEMORY_AVAILABLE = UpDownCounter "system.memory.linux.available" ["By"] "Memory that new work could have without swapping." from "/proc/meminfo, MemAvailable";
    MEMORY_COMMITTED = Gauge "system.linux.memory.committed" ["By"] "Memory promised to processes, touched or not." from "/proc/meminfo, Committed_AS";
    MEMORY_DIRTY = Gauge "system.linux.memory.dirty" ["By"] "Page cache that waits to be written to disk, by state." from "/proc/meminfo, Dirty and Writeback";
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
    FILESYSTEM_READ_ONLY = Gauge "system.linux.filesystem.read_only" ["1"] "1 while mounted read-only: file systems turn read-only after errors." from "statvfs, f_flag";

    DISK_IO = Counter "system.disk.io" ["By"] "Bytes read and written." from "/proc/diskstats, fields 6 and 10";
    DISK_OPERATIONS = Counter "system.disk.operations" ["{operation}"] "Reads and writes completed." from "/proc/diskstats, fields 4 and 8";
    DISK_OPERATION_TIME = Counter "system.disk.operation_time" ["s"] "Time that reads and writes took, each counted in full: its rate over that of operations is the latency." from "/proc/diskstats, fields 7 and 11";
    DISK_IO_TIME = Counter "system.disk.io_time" ["s"] "Time in which at least one request was under way: its rate is the utilisation." from "/proc/diskstats, field 13";
    DISK_WEIGHTED_TIME = Counter "system.linux.disk.weighted_io_time" ["s"] "Time under way summed over requests: its rate is the mean queue length." from "/proc/diskstats, field 14";
    DISK_IN_FLIGHT = Gauge "system.linux.disk.in_flight" ["{operation}"] "Requests under way." from "/proc/diskstats, field 12";

    NETWORK_IO = Counter "system.network.io" ["By"] "Bytes received and sent." from "/proc/net/dev";
    NETWORK_PACKETS = Counter "system.network.packet.count" ["{packet}"] "Packets received and sent." from "/proc/net/dev";
    NETWORK_ERRORS = Counter "system.network.errors" ["{error}"] "Receive and send errors." from "/proc/net/dev";
    NETWORK_DROPPED = Counter "system.network.packet.dropped" ["{packet}"] "Packets dropped though they had no error." from "/proc/net/dev";
    TCP_RETRANSMITS = Counter "system.linux.tcp.retransmits" ["{segment}"] "TCP segments sent again." from "/proc/net/snmp, RetransSegs";
    TCP_ESTABLISHED = Gauge "system.linux.tcp.established" ["{connection}"] "TCP connections in state ESTABLISHED or CLOSE-WAIT." from "/proc/net/snmp, CurrEstab";

    FILE_DESCRIPTORS = Gauge "system.linux.file_descriptors.usage" ["{file}"] "Open files of all processes." from "/proc/sys/fs/file-nr";
    FILE_DESCRIPTORS_LIMIT = Gauge "system.linux.file_descriptors.limit" ["{file}"] "Most files that may be open at once." from "/proc/sys/fs/file-nr";

    CGROUP_MEMORY_USAGE = UpDownCounter "cgroup.memory.usage" ["By"] "Memory charged to the cgroup, page cache included." from "memory.current (v2), memory.usage_in_bytes (v1)";
    CGROUP_MEMORY_WORKING_SET = UpDownCounter "cgroup.memory.working_set" ["By"] "Memory charged less inactive page cache: what cannot be dropped at once." from "memory.stat, inactive_file (v2) or total_inactive_file (v1)";
    CGROUP_MEMORY_LIMIT = UpDownCounter "cgroup.memory.limit" ["By"] "Memory at which the kernel starts killing in the cgroup; absent without a limit." from "memory.max (v2), memory.limit_in_bytes (v1)";
    CGROUP_OOM_KILLS = Counter "cgroup.memory.oom_kills" ["{kill}"] "Processes killed in the cgroup for want of memory." from "memory.events (v2), memory.oom_control (v1), oom_kill";

    PROCESS_MEMORY = UpDownCounter "process.memory.usage" ["By"] "Memory of a watched process that is resident." from "/proc/<pid>/status, VmRSS";
    PROCESS_VIRTUAL = UpDownCounter "process.memory.virtual" ["By"] "Address space of a watched process." from "/proc/<pid>/status, VmSize";
    PROCESS_LIMIT = UpDownCounter "process.memory.limit" ["By"] "Address space beyond which a watched process gets no more memory; absent without a limit." from "/proc/<pid>/limits, Max address space";

    PROBE_DURATION = Gauge "probe.duration" ["s"] "Time until the target answered, or until the attempt was given up." from "the agent's HTTP GET or TCP connect";
    PROBE_SUCCESS = Gauge "probe.success" ["1"] "1 when the target answered in time, HTTP with a status below 400." from "the agent's HTTP GET or TCP connect";

    GPU_UTILIZATION = Gauge "hw.gpu.utilization" ["1"] "Share of time in which a kernel ran." from "nvmlDeviceGetUtilizationRates, gpu";
    GPU_MEMORY_USAGE = UpDownCounter "hw.gpu.memory.usage" ["By"] "Device memory in use." from "nvmlDeviceGetMemoryInfo";
    GPU_MEMORY_LIMIT = UpDownCounter "hw.gpu.memory.limit" ["By"] "Device memory." from "nvmlDeviceGetMemoryInfo";
    GPU_MEMORY_UTILIZATION = Gauge "hw.gpu.memory.utilization" ["1"] "Share of device memory in use." from "nvmlDeviceGetMemoryInfo";
    HW_TEMPERATURE = Gauge "hw.temperature" ["Cel"] "Temperature at the named place of the device." from "nvmlDeviceGetTemperature and nvmlDeviceGetFieldValues, memory temperature";
    HW_TEMPERATURE_LIMIT = Gauge "hw.temperature.limit" ["Cel"] "Temperature at which the device slows down." from "nvmlDeviceGetTemperatureThreshold, slowdown";
    HW_POWER = Gauge "hw.power" ["W"] "Power drawn." from "nvmlDeviceGetPowerUsage";
    HW_POWER_LIMIT = Gauge "hw.power.limit" ["W"] "Power limit in force." from "nvmlDeviceGetEnforcedPowerLimit";
    GPU_CLOCK = Gauge "hw.gpu.clock" ["MHz"] "Clock of the named domain." from "nvmlDeviceGetClockInfo";
    GPU_THROTTLE = Gauge "hw.gpu.throttle" ["1"] "1 while clocks are held back for the named reason." from "nvmlDeviceGetCurrentClocksThrottleReasons";
    HW_ERRORS = Counter "hw.errors" ["{error}"] "Errors of the device by type." from "nvmlDeviceGetTotalEccErrors, nvmlDeviceGetPcieReplayCounter, nvmlDeviceGetNvLinkErrorCounter";
    GPU_REMAPPED_ROWS = Gauge "hw.gpu.remapped_rows" ["{row}"] "Memory rows replaced by spares, by cause; pending and failure are flags." from "nvmlDeviceGetRemappedRows";
    GPU_PCIE_WIDTH = Gauge "hw.gpu.pcie.width" ["{lane}"] "PCIe lanes in use; fewer than usual means a bad contact." from "nvmlDeviceGetCurrPcieLinkWidth";
    GPU_PCIE_GENERATION = Gauge "hw.gpu.pcie.generation" ["1"] "PCIe generation in use." from "nvmlDeviceGetCurrPcieLinkGeneration";
    HW_STATUS = UpDownCounter "hw.status" ["1"] "1 while the device is in the named state; ok turns 0 when a device seen before is gone." from "presence in the driver's list";
    GPU_COUNT = Gauge "foreshock.agent.gpu.count" ["{gpu}"] "GPUs that the driver lists: a smaller number means that one fell off the bus." from "nvmlDeviceGetCount";
    GPU_CALL_DURATION = Gauge "foreshock.agent.gpu.call.duration" ["s"] "Slowest NVML call of the last reading; while one hangs, the time since the reading began." from "the agent's clock";
    GPU_CALL_ERRORS = Counter "foreshock.agent.gpu.call.errors" ["{error}"] "NVML calls that failed, by error, other than for want of support." from "NVML return codes";

    SCRAPE_DURATION = Gauge "foreshock.agent.scrape.duration" ["s"] "Time that the last round of readings took, waiting for probes in threads of their own included." from "the agent's clock";
    COST = Gauge "foreshock.agent.probe.duration" ["s"] "Time that the probe's last reading took." from "the agent's clock";
    SCRAPE_ERRORS = Counter "foreshock.agent.scrape.errors" ["{error}"] "Readings that failed, by probe." from "the agent";
    SPOOL_BATCHES = Gauge "foreshock.agent.spool.batches" ["{batch}"] "Batches that wait to be acknowledged." from "the agent";
    SPOOL_BYTES = Gauge "foreshock.agent.spool.bytes" ["By"] "Bytes that wait to be acknowledged." from "the agent";
    DROPPED_BATCHES = Counter "foreshock.agent.dropped_batches" ["{batch}"] "Batches lost, by reason: spool full, refused by the server, no room on disk." from "the agent";
    SENT_BATCHES = Counter "foreshock.agent.sent_batches" ["{batch}"] "Batches acknowledged by the server." from "the agent";
    SEND_RETRIES = Counter "foreshock.agent.send.retries" ["{attempt}"] "Attempts to send that failed and were repeated later." from "the agent";
    SEND_DURATION = Gauge "foreshock.agent.send.duration" ["s"] "Time until the last batch was acknowledged." from "the agent's clock";
}
