//! Signals of hosts: processors, memory, disks, network, services, and how they report.

use super::signal::{Area as A, SignalDef, Unit as U, signal};

pub(super) fn signals() -> Vec<SignalDef> {
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
    ]
}
