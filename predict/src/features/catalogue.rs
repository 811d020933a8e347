//! Which metrics become which signals, and how each signal is spoken of.
//!
//! Metric names are OpenTelemetry's as Prometheus spells them (`system.memory.utilization` is
//! `system_memory_utilization_ratio`), with the names of node_exporter and dcgm-exporter beside them where they say the same.
//! A metric that the catalogue does not know becomes a signal of its own by simple rules ([`SignalDef::unknown`]).

use serde::{Deserialize, Serialize};

/// How samples become the value of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The last sample within the block.
    Gauge,
    /// The increase per second, with resets.
    Rate,
    /// The increase within the block, with resets: for rare events such as errors.
    Events,
}

/// How several series of one host, or of one device, become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// Added up.
    Sum,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// The mean.
    Mean,
}

/// Which columns the devices of a host are reduced to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduce {
    /// One series a host: nothing to reduce.
    Host,
    /// The worst device.
    Worst,
    /// The worst device, and how far it stands from the median of its peers on the host.
    WorstAndPeer,
    /// The worst device, its distance from the median of its peers, and the mean over devices.
    WorstPeerMean,
    /// The mean over devices.
    Mean,
}

/// In which direction a signal turns bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Worse {
    /// High values are worse.
    High,
    /// Low values are worse.
    Low,
}

/// What a signal is measured in, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A share of 1, spoken as percent.
    Ratio,
    /// Already percent.
    Percent,
    /// Bytes.
    Bytes,
    /// Bytes per second.
    BytesPerSecond,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Degrees Celsius.
    Celsius,
    /// Watts.
    Watts,
    /// Megahertz.
    Megahertz,
    /// Revolutions per minute.
    Rpm,
    /// Events within a minute.
    PerMinute,
    /// Anything per second.
    PerSecond,
    /// A plain number.
    Count,
}

/// What part of a machine a signal is about: decides the advice that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    /// Processor time and run queue.
    Cpu,
    /// Main memory and swap.
    Memory,
    /// File systems filling.
    DiskSpace,
    /// Disk traffic and stalls.
    DiskIo,
    /// Network traffic and errors.
    Network,
    /// Response times.
    Latency,
    /// Failed requests.
    Errors,
    /// Temperature and throttling.
    Thermal,
    /// Fans.
    Fan,
    /// GPU memory errors.
    GpuMemory,
    /// PCIe and NVLink errors.
    GpuLink,
    /// Load on GPUs.
    GpuLoad,
    /// Gaps, late scrapes, vanished devices.
    Reporting,
    /// Incidents of the past.
    History,
    /// Anything else.
    Other,
}

impl Area {
    /// What an operator can do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Cpu => "find the process that took the processor (top, pidstat) and move or limit it",
            Self::Memory => {
                "find the process that grows (ps --sort=-rss, its cgroup) and restart or limit it before the kernel kills one"
            }
            Self::DiskSpace => {
                "free space or grow the volume: du -x on the mount, rotate logs, find files that are deleted but still open"
            }
            Self::DiskIo => {
                "look for the process that keeps the disk busy (iotop, pidstat -d) and check the disk's SMART data"
            }
            Self::Network => "check link, switch port and cable, and which peer the traffic goes to",
            Self::Latency => "take load off this host and look at what its slow requests wait for",
            Self::Errors => {
                "read the service's log since the time given, and take the host out of rotation if errors go on"
            }
            Self::Thermal => {
                "check fans, airflow and inlet temperature; lower the power limit or drain the host before it shuts down"
            }
            Self::Fan => "drain the host and replace the fan",
            Self::GpuMemory => "drain the host, reset the GPU, and have it inspected if rows keep being remapped",
            Self::GpuLink => "drain the host; reseat or replace the GPU, riser or NVLink bridge",
            Self::GpuLoad => "check which job runs on this GPU and whether it hangs",
            Self::Reporting => {
                "look at the host itself (console, BMC, kernel log): a driver or device that stops answering often precedes a crash"
            }
            Self::History => "this host has failed before: check whether the earlier cause was repaired",
            Self::Other => "look at the signals named above since the time given",
        }
    }
}

/// One signal: what it reads, how it becomes a column, how it is spoken of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignalDef {
    /// Short name, the first part of its features' names.
    pub name: String,
    /// Names of the metric; the first that a host has is taken.
    pub metrics: Vec<String>,
    /// Labels that a series must have, each with the values allowed.
    pub labels: Vec<(String, Vec<String>)>,
    /// How samples become the value of a block.
    pub kind: Kind,
    /// How several series of one host or device become one.
    pub combine: Combine,
    /// How the devices of a host become columns.
    pub reduce: Reduce,
    /// In which direction it turns bad.
    pub worse: Worse,
    /// Unit for people.
    pub unit: Unit,
    /// The value at which the resource is used up, for signals that have one.
    pub limit: Option<f64>,
    /// Whether the plain value is a feature: only where it is bounded, or a fleet's habits would be learned.
    pub level: bool,
    /// The smallest spread that counts as noise, in the signal's own unit.
    pub floor: f64,
    /// What it is called in a sentence.
    pub title: String,
    /// What part of the machine it is about.
    pub area: Area,
}

impl SignalDef {
    /// A signal for a metric that the catalogue does not know: `_total` is a rate, `_ratio` and percent are bounded,
    /// everything else is a gauge without known limits.
    #[must_use]
    pub fn unknown(metric: &str, has_devices: bool) -> Self {
        let lower = metric.to_ascii_lowercase();
        let ends = |suffixes: &[&str]| suffixes.iter().any(|s| lower.ends_with(s));
        let kind = if ends(&["_total", "_count", "_sum"]) {
            Kind::Rate
        } else {
            Kind::Gauge
        };
        let (unit, limit, level) = if ends(&["_ratio", "_util", "_utilization"]) && kind == Kind::Gauge {
            (Unit::Ratio, None, true)
        } else if ends(&["_pct", "_percent"]) {
            (Unit::Percent, None, true)
        } else if ends(&["_celsius", "_temp", "_temp_c"]) {
            (Unit::Celsius, None, true)
        } else if ends(&["_bytes"]) {
            (Unit::Bytes, None, false)
        } else if ends(&["_bytes_total"]) {
            (Unit::BytesPerSecond, None, false)
        } else if ends(&["_seconds"]) {
            (Unit::Seconds, None, false)
        } else if ends(&["_ms", "_milliseconds"]) {
            (Unit::Milliseconds, None, false)
        } else if ends(&["_watts"]) {
            (Unit::Watts, None, false)
        } else if kind == Kind::Rate {
            (Unit::PerSecond, None, false)
        } else {
            (Unit::Count, None, false)
        };
        Self {
            name: metric.to_owned(),
            metrics: vec![metric.to_owned()],
            labels: Vec::new(),
            kind,
            combine: if kind == Kind::Rate {
                Combine::Sum
            } else {
                Combine::Mean
            },
            reduce: if has_devices {
                Reduce::WorstAndPeer
            } else {
                Reduce::Host
            },
            worse: Worse::High,
            unit,
            limit,
            level,
            floor: 0.0,
            title: metric.trim_end_matches("_total").replace('_', " "),
            area: area_by_name(&lower),
        }
    }
}

fn area_by_name(metric: &str) -> Area {
    let table: [(&[&str], Area); 10] = [
        (&["latency", "duration", "response"], Area::Latency),
        (&["error", "fail", "drop"], Area::Errors),
        (&["temp", "thermal"], Area::Thermal),
        (&["mem", "swap", "heap"], Area::Memory),
        (&["filesystem", "disk_used", "inode"], Area::DiskSpace),
        (&["disk", "io_"], Area::DiskIo),
        (&["net", "tcp", "rx", "tx"], Area::Network),
        (&["fan"], Area::Fan),
        (&["scrape"], Area::Reporting),
        (&["cpu", "load"], Area::Cpu),
    ];
    table
        .iter()
        .find(|(words, _)| words.iter().any(|w| metric.contains(w)))
        .map_or(Area::Other, |(_, area)| *area)
}

fn signal(name: &str, metrics: &[&str], title: &str, area: Area, unit: Unit) -> SignalDef {
    SignalDef {
        name: name.to_owned(),
        metrics: metrics.iter().map(|m| (*m).to_owned()).collect(),
        labels: Vec::new(),
        kind: Kind::Gauge,
        combine: Combine::Max,
        reduce: Reduce::Host,
        worse: Worse::High,
        unit,
        limit: None,
        level: false,
        floor: 0.0,
        title: title.to_owned(),
        area,
    }
}

impl SignalDef {
    fn with(mut self, label: &str, values: &[&str]) -> Self {
        self.labels
            .push((label.to_owned(), values.iter().map(|v| (*v).to_owned()).collect()));
        self
    }
    fn rate(mut self) -> Self {
        (self.kind, self.combine) = (Kind::Rate, Combine::Sum);
        self
    }
    fn events(mut self) -> Self {
        (self.kind, self.combine, self.level) = (Kind::Events, Combine::Sum, true);
        self
    }
    fn devices(mut self, reduce: Reduce) -> Self {
        self.reduce = reduce;
        self
    }
    fn limit(mut self, limit: f64) -> Self {
        (self.limit, self.level) = (Some(limit), true);
        self
    }
    fn level(mut self) -> Self {
        self.level = true;
        self
    }
    fn floor(mut self, floor: f64) -> Self {
        self.floor = floor;
        self
    }
    fn low_is_worse(mut self) -> Self {
        (self.worse, self.combine) = (Worse::Low, Combine::Min);
        self
    }
    fn mean(mut self) -> Self {
        self.combine = Combine::Mean;
        self
    }
}

/// XIDs after which a GPU is not to be trusted: NVIDIA's catalogue asks for a reset, a restart or support, and gpud calls
/// them fatal (facts: `xid_actions.csv`).
pub const FATAL_XIDS: [&str; 15] = [
    "46", "48", "62", "64", "74", "79", "95", "110", "119", "120", "136", "140", "143", "155", "158",
];

/// The signals that are known by name.
///
/// Floors are about the resolution of the usual probes: half a percent of utilisation, half a degree, a few watts.
#[must_use]
pub fn known() -> Vec<SignalDef> {
    use Area as A;
    use Unit as U;
    let ratio = 0.005;
    vec![
        signal("cpu", &["system_cpu_utilization_ratio"], "CPU in use", A::Cpu, U::Ratio)
            .mean()
            .level()
            .floor(ratio),
        signal(
            "load",
            &["system_cpu_load_average_1m", "node_load1"],
            "run queue (load)",
            A::Cpu,
            U::Count,
        )
        .floor(0.1),
        signal(
            "memory",
            &["system_memory_utilization_ratio"],
            "memory in use",
            A::Memory,
            U::Ratio,
        )
        .limit(1.0)
        .floor(ratio),
        signal(
            "swap",
            &["system_paging_utilization_ratio"],
            "swap in use",
            A::Memory,
            U::Ratio,
        )
        .level()
        .floor(ratio),
        signal(
            "disk_used",
            &["system_filesystem_utilization_ratio"],
            "fullest file system",
            A::DiskSpace,
            U::Ratio,
        )
        .limit(1.0)
        .floor(0.001),
        signal(
            "disk_io",
            &["system_disk_io_bytes_total"],
            "disk traffic",
            A::DiskIo,
            U::BytesPerSecond,
        )
        .rate()
        .floor(1e5),
        signal(
            "disk_busy",
            &["system_disk_io_time_seconds_total"],
            "disk busy",
            A::DiskIo,
            U::Ratio,
        )
        .rate()
        .level()
        .floor(ratio),
        signal(
            "disk_busy_now",
            &["system_disk_utilization_ratio"],
            "disk busy",
            A::DiskIo,
            U::Ratio,
        )
        .level()
        .floor(ratio),
        signal(
            "network_in",
            &["system_network_io_bytes_total"],
            "network traffic in",
            A::Network,
            U::BytesPerSecond,
        )
        .with("network_io_direction", &["receive"])
        .rate()
        .floor(1e4),
        signal(
            "network_out",
            &["system_network_io_bytes_total"],
            "network traffic out",
            A::Network,
            U::BytesPerSecond,
        )
        .with("network_io_direction", &["transmit"])
        .rate()
        .floor(1e4),
        signal(
            "network_errors",
            &["system_network_errors_total"],
            "network errors",
            A::Network,
            U::PerMinute,
        )
        .events()
        .floor(0.5),
        signal(
            "network_drops",
            &["system_network_packet_dropped_total"],
            "packets dropped",
            A::Network,
            U::PerMinute,
        )
        .events()
        .floor(0.5),
        signal(
            "cpu_stall",
            &["system_linux_pressure_stall_time_seconds_total"],
            "waiting for CPU",
            A::Cpu,
            U::Ratio,
        )
        .with("resource", &["cpu"])
        .with("kind", &["some"])
        .rate()
        .level()
        .floor(ratio),
        signal(
            "memory_stall",
            &["system_linux_pressure_stall_time_seconds_total"],
            "waiting for memory",
            A::Memory,
            U::Ratio,
        )
        .with("resource", &["memory"])
        .with("kind", &["some"])
        .rate()
        .level()
        .floor(0.002),
        signal(
            "io_stall",
            &["system_linux_pressure_stall_time_seconds_total"],
            "waiting for disk",
            A::DiskIo,
            U::Ratio,
        )
        .with("resource", &["io"])
        .with("kind", &["some"])
        .rate()
        .level()
        .floor(ratio),
        signal(
            "oom_kills",
            &["system_linux_oom_kills_total", "node_vmstat_oom_kill"],
            "OOM kills",
            A::Memory,
            U::PerMinute,
        )
        .events()
        .floor(0.5),
        signal(
            "probe_latency",
            &["probe_duration_seconds"],
            "probe latency",
            A::Latency,
            U::Seconds,
        )
        .floor(0.001),
        signal(
            "probe_success",
            &["probe_success_ratio", "probe_success"],
            "probes answered",
            A::Errors,
            U::Ratio,
        )
        .low_is_worse()
        .level()
        .floor(0.05),
        signal(
            "latency_p50",
            &["app_request_duration_p50_seconds"],
            "median request time",
            A::Latency,
            U::Seconds,
        )
        .floor(0.0005),
        signal(
            "latency_p99",
            &["app_request_duration_p99_seconds"],
            "99th percentile of request time",
            A::Latency,
            U::Seconds,
        )
        .floor(0.001),
        signal(
            "error_ratio",
            &["app_request_error_ratio"],
            "requests that fail",
            A::Errors,
            U::Ratio,
        )
        .level()
        .floor(0.0005),
        signal("fan", &["hw_fan_speed_rpm"], "slowest fan", A::Fan, U::Rpm)
            .low_is_worse()
            .floor(40.0),
        signal(
            "inlet",
            &["hw_temperature_celsius"],
            "inlet temperature",
            A::Thermal,
            U::Celsius,
        )
        .with("hw_sensor_location", &["inlet"])
        .level()
        .floor(0.2),
        signal(
            "scrape",
            &["foreshock_agent_scrape_duration_seconds", "scrape_duration_seconds"],
            "time to read the probes",
            A::Reporting,
            U::Seconds,
        )
        .floor(0.0005),
        signal(
            "gpu_util",
            &["hw_gpu_utilization_ratio", "DCGM_FI_DEV_GPU_UTIL"],
            "GPU in use",
            A::GpuLoad,
            U::Ratio,
        )
        .devices(Reduce::WorstPeerMean)
        .floor(0.01),
        signal(
            "gpu_memory",
            &["hw_gpu_memory_utilization_ratio"],
            "GPU memory in use",
            A::GpuLoad,
            U::Ratio,
        )
        .devices(Reduce::Mean)
        .floor(0.01),
        signal(
            "gpu_temperature",
            &["hw_temperature_celsius", "DCGM_FI_DEV_GPU_TEMP"],
            "GPU temperature",
            A::Thermal,
            U::Celsius,
        )
        .with("hw_sensor_location", &["gpu", ""])
        .devices(Reduce::WorstPeerMean)
        // NVIDIA's data-centre parts slow down at about 87 to 90 °C.
        .limit(90.0)
        .floor(0.5),
        signal(
            "gpu_memory_temperature",
            &["hw_temperature_celsius", "DCGM_FI_DEV_MEMORY_TEMP"],
            "GPU memory temperature",
            A::Thermal,
            U::Celsius,
        )
        .with("hw_sensor_location", &["memory"])
        .devices(Reduce::WorstAndPeer)
        .level()
        .floor(0.5),
        signal(
            "gpu_power",
            &["hw_power_watts", "DCGM_FI_DEV_POWER_USAGE"],
            "GPU power",
            A::GpuLoad,
            U::Watts,
        )
        .devices(Reduce::Mean)
        .floor(5.0),
        signal(
            "gpu_clock",
            &[
                "hw_gpu_clock_MHz",
                "hw_gpu_clock_sm_MHz",
                "hw_gpu_clock",
                "DCGM_FI_DEV_SM_CLOCK",
            ],
            "slowest GPU clock",
            A::Thermal,
            U::Megahertz,
        )
        .low_is_worse()
        .devices(Reduce::WorstAndPeer)
        .floor(15.0),
        signal(
            "gpu_throttle",
            &["hw_gpu_throttle_ratio"],
            "GPU throttled",
            A::Thermal,
            U::Ratio,
        )
        .devices(Reduce::Worst)
        .level()
        .floor(0.01),
        signal(
            "gpu_ecc_corrected",
            &["hw_errors_total"],
            "ECC errors corrected",
            A::GpuMemory,
            U::PerMinute,
        )
        .with("error_type", &["ecc_corrected"])
        .events()
        .devices(Reduce::WorstAndPeer)
        .floor(0.1),
        signal(
            "gpu_ecc_uncorrected",
            &["hw_errors_total"],
            "ECC errors not corrected",
            A::GpuMemory,
            U::PerMinute,
        )
        .with("error_type", &["ecc_uncorrected"])
        .events()
        .devices(Reduce::Worst)
        .floor(0.1),
        signal(
            "gpu_remapped",
            &["hw_gpu_remapped_rows", "hw_gpu_remapped_rows_total"],
            "memory rows remapped",
            A::GpuMemory,
            U::Count,
        )
        .devices(Reduce::Worst)
        .floor(0.1),
        signal(
            "gpu_pcie",
            &["hw_errors_total"],
            "PCIe replays",
            A::GpuLink,
            U::PerMinute,
        )
        .with("error_type", &["pcie_replay"])
        .events()
        .devices(Reduce::WorstAndPeer)
        .floor(0.1),
        signal(
            "gpu_nvlink",
            &["hw_errors_total"],
            "NVLink CRC errors",
            A::GpuLink,
            U::PerMinute,
        )
        .with("error_type", &["nvlink_crc"])
        .events()
        .devices(Reduce::WorstAndPeer)
        .floor(0.1),
        signal(
            "gpu_xid_fatal",
            &["hw_gpu_xid_total"],
            "fatal XIDs",
            A::GpuMemory,
            U::PerMinute,
        )
        .with("xid", &FATAL_XIDS)
        .events()
        .devices(Reduce::Worst)
        .floor(0.5),
    ]
}

/// Metrics that are read by something else than a signal of their own, or say nothing about health by their value.
const IGNORED: [&str; 16] = [
    "system_cpu_time_seconds_total",
    "system_uptime_seconds",
    "system_memory_usage_bytes",
    "system_memory_limit_bytes",
    "system_filesystem_usage_bytes",
    "system_filesystem_limit_bytes",
    "system_linux_pressure_stall_time_seconds_total",
    "system_network_io_bytes_total",
    "cgroup_memory_usage_bytes",
    "cgroup_memory_limit_bytes",
    "cgroup_memory_oom_kills_total",
    "hw_temperature_celsius",
    "hw_errors_total",
    "hw_gpu_xid_total",
    "up",
    "scrape_samples_scraped",
];

/// Whether a metric needs a signal of its own although the catalogue does not know it.
pub(crate) fn is_unknown(metric: &str, known: &[SignalDef]) -> bool {
    !IGNORED.contains(&metric) && !known.iter().any(|s| s.metrics.iter().any(|m| m == metric))
}
