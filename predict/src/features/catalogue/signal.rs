//! What a signal is: where it is read, how it becomes a column, how it is spoken of.

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

/// A gauge of the host; the largest of several series counts, and high is worse.
pub(super) fn signal(name: &str, metrics: &[&str], title: &str, area: Area, unit: Unit) -> SignalDef {
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
    pub(super) fn with(mut self, label: &str, values: &[&str]) -> Self {
        self.labels
            .push((label.to_owned(), values.iter().map(|v| (*v).to_owned()).collect()));
        self
    }
    pub(super) fn rate(mut self) -> Self {
        (self.kind, self.combine) = (Kind::Rate, Combine::Sum);
        self
    }
    pub(super) fn events(mut self) -> Self {
        (self.kind, self.combine, self.level) = (Kind::Events, Combine::Sum, true);
        self
    }
    pub(super) fn devices(mut self, reduce: Reduce) -> Self {
        self.reduce = reduce;
        self
    }
    pub(super) fn limit(mut self, limit: f64) -> Self {
        (self.limit, self.level) = (Some(limit), true);
        self
    }
    pub(super) fn level(mut self) -> Self {
        self.level = true;
        self
    }
    pub(super) fn floor(mut self, floor: f64) -> Self {
        self.floor = floor;
        self
    }
    pub(super) fn low_is_worse(mut self) -> Self {
        (self.worse, self.combine) = (Worse::Low, Combine::Min);
        self
    }
    pub(super) fn mean(mut self) -> Self {
        self.combine = Combine::Mean;
        self
    }
}
