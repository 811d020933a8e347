//! Which metrics become which signals, and how each signal is spoken of.
//!
//! Metric names are OpenTelemetry's as Prometheus spells them (`system.memory.utilization` is
//! `system_memory_utilization_ratio`), with the names of node_exporter and dcgm-exporter beside them where they say the same.
//! A metric that the catalogue does not know becomes a signal of its own by simple rules ([`SignalDef::unknown`]).

mod gpu;
mod host;
mod signal;

pub use gpu::FATAL_XIDS;
pub use signal::{Area, Combine, Kind, Reduce, SignalDef, Unit, Worse};

/// The signals that are known by name.
///
/// Floors are about the resolution of the usual probes: half a percent of utilisation, half a degree, a few watts.
#[must_use]
pub fn known() -> Vec<SignalDef> {
    let mut known = host::signals();
    known.extend(gpu::signals());
    known
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
