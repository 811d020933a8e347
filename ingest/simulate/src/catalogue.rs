//! Which series a simulated host sends, with the digits that real exporters give.

use wire::metric::{Kind, MetricDef};

use crate::host::{CGROUP_LIMIT_BYTES, GpuReading, HostReading, MEMORY_BYTES};

/// One series of each host.
#[derive(Debug)]
pub(crate) struct HostColumn {
    pub(crate) metric: &'static MetricDef,
    pub(crate) attributes: &'static [(&'static str, &'static str)],
    pub(crate) value: fn(&HostReading) -> f64,
}

/// One series of each GPU.
#[derive(Debug)]
pub(crate) struct GpuColumn {
    pub(crate) metric: &'static MetricDef,
    pub(crate) attribute: Option<(&'static str, &'static str)>,
    pub(crate) value: fn(&GpuReading) -> f64,
}

pub(crate) const CGROUP: &str = "/system.slice/workload.service";
pub(crate) const PROBE_TARGET: &str = "http://127.0.0.1:8000/health";

const fn gauge(name: &'static str, unit: &'static str, help: &'static str) -> MetricDef {
    MetricDef {
        name,
        unit,
        kind: Kind::Gauge,
        help,
    }
}

const fn up_down(name: &'static str, unit: &'static str, help: &'static str) -> MetricDef {
    MetricDef {
        name,
        unit,
        kind: Kind::UpDownCounter,
        help,
    }
}

const fn counter(name: &'static str, unit: &'static str, help: &'static str) -> MetricDef {
    MetricDef {
        name,
        unit,
        kind: Kind::Counter,
        help,
    }
}

static CPU_TIME: MetricDef = counter("system.cpu.time", "s", "Seconds the CPUs spent in each mode");
static CPU_UTILIZATION: MetricDef = gauge("system.cpu.utilization", "1", "Share of CPU time not idle");
static LOAD: MetricDef = gauge(
    "system.cpu.load_average.1m",
    "{thread}",
    "Runnable threads, averaged over a minute",
);
static MEMORY_USAGE: MetricDef = up_down("system.memory.usage", "By", "Memory by what it is used for");
static MEMORY_UTILIZATION: MetricDef = gauge("system.memory.utilization", "1", "Share of memory in use");
static MEMORY_LIMIT: MetricDef = up_down("system.memory.limit", "By", "Memory that the host has");
static PAGING: MetricDef = gauge("system.paging.utilization", "1", "Share of swap in use");
static CGROUP_USAGE: MetricDef = up_down("cgroup.memory.usage", "By", "Memory charged to the cgroup");
static CGROUP_LIMIT: MetricDef = up_down("cgroup.memory.limit", "By", "Memory that the cgroup may use");
static OOM_KILLS: MetricDef = counter(
    "system.linux.oom_kills",
    "{kill}",
    "Processes killed for want of memory",
);
static FILL: MetricDef = gauge("system.filesystem.utilization", "1", "Share of the file system in use");
static DISK_IO: MetricDef = counter("system.disk.io", "By", "Bytes read and written");
static DISK_TIME: MetricDef = counter("system.disk.io_time", "s", "Seconds in which the disk was busy");
static NETWORK: MetricDef = counter("system.network.io", "By", "Bytes received and sent");
static STALL: MetricDef = counter(
    "system.linux.pressure.stall_time",
    "s",
    "Seconds in which tasks waited for a resource",
);
static UPTIME: MetricDef = gauge("system.uptime", "s", "Seconds since boot");
static PROBE_DURATION: MetricDef = gauge("probe.duration", "s", "Seconds that the last probe took");
static PROBE_SUCCESS: MetricDef = gauge("probe.success", "1", "1 when the last probe was answered");
static SCRAPE: MetricDef = gauge(
    "foreshock.agent.scrape.duration",
    "s",
    "Seconds the agent took to read the host",
);
static P50: MetricDef = gauge(
    "app.request.duration.p50",
    "s",
    "Seconds within which half of the requests are answered",
);
static P99: MetricDef = gauge(
    "app.request.duration.p99",
    "s",
    "Seconds within which 99 in 100 requests are answered",
);
static ERRORS: MetricDef = gauge("app.request.error_ratio", "1", "Share of requests that fail");
static FAN: MetricDef = gauge("hw.fan_speed", "rpm", "Speed of the fans");
static TEMPERATURE: MetricDef = gauge("hw.temperature", "Cel", "Temperature by sensor");

static GPU_BUSY: MetricDef = gauge("hw.gpu.utilization", "1", "Share of time in which a kernel ran");
static GPU_MEMORY: MetricDef = gauge("hw.gpu.memory.utilization", "1", "Share of the GPU's memory in use");
static POWER: MetricDef = gauge("hw.power", "W", "Power drawn");
static CLOCK: MetricDef = gauge("hw.gpu.clock", "MHz", "Clock of the named domain");
static THROTTLE: MetricDef = gauge(
    "hw.gpu.throttle",
    "1",
    "1 while clocks are held back for the named reason",
);
static HARDWARE_ERRORS: MetricDef = counter("hw.errors", "{error}", "Errors by type since the counter's reset");
static REMAPPED: MetricDef = gauge(
    "hw.gpu.remapped_rows",
    "{row}",
    "Rows of memory replaced by spares, by cause",
);
/// One series per code, from its first occurrence on.
pub(crate) static XID: MetricDef = counter("hw.gpu.xid", "{error}", "Errors that the driver reported, by XID");

fn round(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (value * scale).round() / scale
}

/// Whole pages and blocks of 4 KiB.
fn pages(bytes: f64) -> f64 {
    (bytes / 4096.0).round() * 4096.0
}

/// Columns of one metric stand together, so that a request names each metric once.
pub(crate) static HOST_COLUMNS: &[HostColumn] = &[
    HostColumn {
        metric: &CPU_TIME,
        attributes: &[("cpu.mode", "user")],
        value: |r| round(r.cpu_user_s, 2),
    },
    HostColumn {
        metric: &CPU_TIME,
        attributes: &[("cpu.mode", "system")],
        value: |r| round(r.cpu_system_s, 2),
    },
    HostColumn {
        metric: &CPU_TIME,
        attributes: &[("cpu.mode", "idle")],
        value: |r| round(r.cpu_idle_s, 2),
    },
    HostColumn {
        metric: &CPU_UTILIZATION,
        attributes: &[],
        value: |r| round(r.cpu_busy, 4),
    },
    HostColumn {
        metric: &LOAD,
        attributes: &[],
        value: |r| round(r.load1, 2),
    },
    HostColumn {
        metric: &MEMORY_USAGE,
        attributes: &[("system.memory.state", "used")],
        value: |r| pages(r.memory_used * MEMORY_BYTES),
    },
    HostColumn {
        metric: &MEMORY_UTILIZATION,
        attributes: &[],
        value: |r| round(r.memory_used, 4),
    },
    HostColumn {
        metric: &MEMORY_LIMIT,
        attributes: &[],
        value: |_| MEMORY_BYTES,
    },
    HostColumn {
        metric: &PAGING,
        attributes: &[],
        value: |r| round(r.swap_used, 4),
    },
    HostColumn {
        metric: &CGROUP_USAGE,
        attributes: &[("cgroup", CGROUP)],
        value: |r| pages(r.cgroup_bytes),
    },
    HostColumn {
        metric: &CGROUP_LIMIT,
        attributes: &[("cgroup", CGROUP)],
        value: |_| pages(CGROUP_LIMIT_BYTES),
    },
    HostColumn {
        metric: &OOM_KILLS,
        attributes: &[],
        value: |r| r.oom_kills,
    },
    HostColumn {
        metric: &FILL,
        attributes: &[("system.filesystem.mountpoint", "/")],
        value: |r| round(r.root_fill, 4),
    },
    HostColumn {
        metric: &FILL,
        attributes: &[("system.filesystem.mountpoint", "/data")],
        value: |r| round(r.data_fill, 4),
    },
    HostColumn {
        metric: &DISK_IO,
        attributes: &[("system.device", "nvme0n1"), ("disk.io.direction", "read")],
        value: |r| pages(r.disk_read_bytes),
    },
    HostColumn {
        metric: &DISK_IO,
        attributes: &[("system.device", "nvme0n1"), ("disk.io.direction", "write")],
        value: |r| pages(r.disk_write_bytes),
    },
    HostColumn {
        metric: &DISK_TIME,
        attributes: &[("system.device", "nvme0n1")],
        value: |r| round(r.disk_busy_s, 3),
    },
    HostColumn {
        metric: &NETWORK,
        attributes: &[("network.interface.name", "eth0"), ("network.io.direction", "receive")],
        value: |r| r.net_in_bytes.round(),
    },
    HostColumn {
        metric: &NETWORK,
        attributes: &[("network.interface.name", "eth0"), ("network.io.direction", "transmit")],
        value: |r| r.net_out_bytes.round(),
    },
    HostColumn {
        metric: &STALL,
        attributes: &[("resource", "cpu"), ("kind", "some")],
        value: |r| round(r.cpu_stall_s, 6),
    },
    HostColumn {
        metric: &STALL,
        attributes: &[("resource", "memory"), ("kind", "some")],
        value: |r| round(r.memory_stall_s, 6),
    },
    HostColumn {
        metric: &STALL,
        attributes: &[("resource", "io"), ("kind", "some")],
        value: |r| round(r.io_stall_s, 6),
    },
    HostColumn {
        metric: &UPTIME,
        attributes: &[],
        value: |r| r.uptime_s,
    },
    HostColumn {
        metric: &PROBE_DURATION,
        attributes: &[("probe.target", PROBE_TARGET)],
        value: |r| round(r.probe_s, 5),
    },
    HostColumn {
        metric: &PROBE_SUCCESS,
        attributes: &[("probe.target", PROBE_TARGET)],
        value: |r| r.probe_ok,
    },
    HostColumn {
        metric: &SCRAPE,
        attributes: &[("probe", "gpu")],
        value: |r| round(r.scrape_s, 4),
    },
    HostColumn {
        metric: &P50,
        attributes: &[],
        value: |r| round(r.p50_s, 4),
    },
    HostColumn {
        metric: &P99,
        attributes: &[],
        value: |r| round(r.p99_s, 4),
    },
    HostColumn {
        metric: &ERRORS,
        attributes: &[],
        value: |r| round(r.error_ratio, 4),
    },
    HostColumn {
        metric: &FAN,
        attributes: &[],
        value: |r| round(r.fan_rpm, -1),
    },
    HostColumn {
        metric: &TEMPERATURE,
        attributes: &[("hw.sensor_location", "inlet")],
        value: |r| round(r.inlet_c, 1),
    },
];

pub(crate) static GPU_COLUMNS: &[GpuColumn] = &[
    GpuColumn {
        metric: &GPU_BUSY,
        attribute: None,
        value: |r| round(r.busy, 2),
    },
    GpuColumn {
        metric: &GPU_MEMORY,
        attribute: None,
        value: |r| round(r.memory, 4),
    },
    GpuColumn {
        metric: &TEMPERATURE,
        attribute: Some(("hw.sensor_location", "gpu")),
        value: |r| r.celsius.round(),
    },
    GpuColumn {
        metric: &TEMPERATURE,
        attribute: Some(("hw.sensor_location", "memory")),
        value: |r| r.memory_celsius.round(),
    },
    GpuColumn {
        metric: &POWER,
        attribute: None,
        value: |r| round(r.watts, 2),
    },
    // Clocks move in steps of 15 MHz.
    GpuColumn {
        metric: &CLOCK,
        attribute: Some(("domain", "sm")),
        value: |r| (r.clock_mhz / 15.0).round() * 15.0,
    },
    GpuColumn {
        metric: &THROTTLE,
        attribute: Some(("reason", "hardware_thermal")),
        value: |r| f64::from(u8::from(r.throttle > 0.0)),
    },
    GpuColumn {
        metric: &HARDWARE_ERRORS,
        attribute: Some(("error.type", "ecc_corrected")),
        value: |r| r.corrected,
    },
    GpuColumn {
        metric: &HARDWARE_ERRORS,
        attribute: Some(("error.type", "ecc_uncorrected")),
        value: |r| r.uncorrected,
    },
    GpuColumn {
        metric: &HARDWARE_ERRORS,
        attribute: Some(("error.type", "pcie_replay")),
        value: |r| r.replays,
    },
    GpuColumn {
        metric: &HARDWARE_ERRORS,
        attribute: Some(("error.type", "nvlink_crc")),
        value: |r| r.crc,
    },
    GpuColumn {
        metric: &REMAPPED,
        attribute: Some(("state", "corrected")),
        value: |r| r.remapped,
    },
];
