//! Which charts a host gets: those of a fixed list for which it has data. Names are those of OpenTelemetry's system and
//! hardware conventions as Foreshock's agent sends them, of node_exporter, and of dcgm-exporter.

use maud::{Markup, html};
use serde_json::json;
use store::{Snapshot, TimeRange};

use crate::problem::Problem;

use super::layout::{encoded, href};

/// One chart: `S` in an expression stands for the matchers of the host, `W` for the window of a rate.
pub(super) struct Chart {
    title: &'static str,
    unit: &'static str,
    /// Highest value that the axis shows in any case.
    top: Option<f64>,
    lines: &'static [Line],
}

/// A metric, or selector, of which the host must have series; the expression; the legend.
type Line = (&'static str, &'static str, &'static str);

const fn chart(title: &'static str, unit: &'static str, top: Option<f64>, lines: &'static [Line]) -> Chart {
    Chart {
        title,
        unit,
        top,
        lines,
    }
}

const CHARTS: [Chart; 20] = [
    chart(
        "CPU",
        "ratio",
        Some(1.0),
        &[
            (
                "system_cpu_utilization_ratio",
                r#"sum without (cpu_mode) (system_cpu_utilization_ratio{S,cpu_mode!="idle"})"#,
                "busy",
            ),
            (
                "system_cpu_time_seconds_total",
                r#"sum(rate(system_cpu_time_seconds_total{S,cpu_mode="iowait"}[W])) / sum(rate(system_cpu_time_seconds_total{S}[W]))"#,
                "waiting for I/O",
            ),
            (
                "node_cpu_seconds_total",
                r#"1 - avg(rate(node_cpu_seconds_total{S,mode="idle"}[W]))"#,
                "busy",
            ),
        ],
    ),
    chart(
        "Load",
        "",
        None,
        &[
            ("system_cpu_load_average_1m", "system_cpu_load_average_1m{S}", "1 min"),
            ("node_load1", "node_load1{S}", "1 min"),
        ],
    ),
    chart(
        "Memory",
        "ratio",
        Some(1.0),
        &[
            (
                "system_memory_utilization_ratio",
                r#"sum(system_memory_utilization_ratio{S,system_memory_state=~"|used"})"#,
                "used",
            ),
            (
                "system_paging_utilization_ratio",
                r#"sum(system_paging_utilization_ratio{S,system_paging_state=~"|used"})"#,
                "swap",
            ),
            (
                "node_memory_MemAvailable_bytes",
                "1 - node_memory_MemAvailable_bytes{S} / node_memory_MemTotal_bytes{S}",
                "used",
            ),
        ],
    ),
    chart(
        "Pressure: share of time stalled",
        "ratio",
        None,
        &[
            (
                "system_linux_pressure_stall_time_seconds_total",
                r#"rate(system_linux_pressure_stall_time_seconds_total{S,kind="some"}[W])"#,
                "{{resource}}",
            ),
            (
                "node_pressure_cpu_waiting_seconds_total",
                "rate(node_pressure_cpu_waiting_seconds_total{S}[W])",
                "cpu",
            ),
            (
                "node_pressure_memory_waiting_seconds_total",
                "rate(node_pressure_memory_waiting_seconds_total{S}[W])",
                "memory",
            ),
            (
                "node_pressure_io_waiting_seconds_total",
                "rate(node_pressure_io_waiting_seconds_total{S}[W])",
                "io",
            ),
        ],
    ),
    chart(
        "Disk space",
        "ratio",
        Some(1.0),
        &[
            (
                "system_filesystem_utilization_ratio",
                "max by (system_filesystem_mountpoint) (system_filesystem_utilization_ratio{S})",
                "{{system_filesystem_mountpoint}}",
            ),
            (
                "node_filesystem_avail_bytes",
                r#"1 - node_filesystem_avail_bytes{S,fstype!~"tmpfs|overlay|squashfs"} / node_filesystem_size_bytes"#,
                "{{mountpoint}}",
            ),
        ],
    ),
    chart(
        "Disk I/O",
        "bytes/s",
        None,
        &[
            (
                "system_disk_io_bytes_total",
                "sum by (disk_io_direction) (rate(system_disk_io_bytes_total{S}[W]))",
                "{{disk_io_direction}}",
            ),
            (
                "node_disk_read_bytes_total",
                "sum(rate(node_disk_read_bytes_total{S}[W]))",
                "read",
            ),
            (
                "node_disk_written_bytes_total",
                "sum(rate(node_disk_written_bytes_total{S}[W]))",
                "write",
            ),
        ],
    ),
    chart(
        "Disk busy",
        "ratio",
        None,
        &[
            (
                "system_disk_io_time_seconds_total",
                "rate(system_disk_io_time_seconds_total{S}[W])",
                "{{system_device}}",
            ),
            (
                "node_disk_io_time_seconds_total",
                "rate(node_disk_io_time_seconds_total{S}[W])",
                "{{device}}",
            ),
        ],
    ),
    chart(
        "Network",
        "bytes/s",
        None,
        &[
            (
                "system_network_io_bytes_total",
                r#"sum by (network_io_direction) (rate(system_network_io_bytes_total{S,network_interface_name!="lo"}[W]))"#,
                "{{network_io_direction}}",
            ),
            (
                "node_network_receive_bytes_total",
                r#"sum(rate(node_network_receive_bytes_total{S,device!="lo"}[W]))"#,
                "receive",
            ),
            (
                "node_network_transmit_bytes_total",
                r#"sum(rate(node_network_transmit_bytes_total{S,device!="lo"}[W]))"#,
                "transmit",
            ),
        ],
    ),
    chart(
        "Network errors per second",
        "",
        None,
        &[
            (
                "system_network_errors_total",
                "sum(rate(system_network_errors_total{S}[W]))",
                "errors",
            ),
            (
                "system_network_packet_dropped_total",
                "sum(rate(system_network_packet_dropped_total{S}[W]))",
                "dropped",
            ),
        ],
    ),
    chart(
        "Probes: latency",
        "seconds",
        None,
        &[(
            "probe_duration_seconds",
            "probe_duration_seconds{S}",
            "{{probe_target}}",
        )],
    ),
    chart(
        "Requests: latency",
        "seconds",
        None,
        &[
            (
                "app_request_duration_p50_seconds",
                "app_request_duration_p50_seconds{S}",
                "median",
            ),
            (
                "app_request_duration_p99_seconds",
                "app_request_duration_p99_seconds{S}",
                "99 of 100",
            ),
        ],
    ),
    chart(
        "Requests: share of errors",
        "ratio",
        None,
        &[("app_request_error_ratio", "app_request_error_ratio{S}", "errors")],
    ),
    chart(
        "Memory of control groups",
        "bytes",
        None,
        &[(
            "cgroup_memory_usage_bytes",
            "topk(6, cgroup_memory_usage_bytes{S})",
            "{{cgroup}}",
        )],
    ),
    chart(
        "GPU temperature",
        "celsius",
        None,
        &[
            (
                r#"hw_temperature_celsius{S,hw_sensor_location="gpu",hw_id!=""}"#,
                r#"hw_temperature_celsius{S,hw_sensor_location="gpu",hw_id!=""}"#,
                "GPU {{gpu_slot}}",
            ),
            ("DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_GPU_TEMP{S}", "GPU {{gpu}}"),
        ],
    ),
    chart(
        "GPU memory temperature",
        "celsius",
        None,
        &[
            (
                r#"hw_temperature_celsius{S,hw_sensor_location="memory",hw_id!=""}"#,
                r#"hw_temperature_celsius{S,hw_sensor_location="memory",hw_id!=""}"#,
                "GPU {{gpu_slot}}",
            ),
            ("DCGM_FI_DEV_MEMORY_TEMP", "DCGM_FI_DEV_MEMORY_TEMP{S}", "GPU {{gpu}}"),
        ],
    ),
    chart(
        "GPU utilization",
        "ratio",
        Some(1.0),
        &[
            (
                "hw_gpu_utilization_ratio",
                "hw_gpu_utilization_ratio{S}",
                "GPU {{gpu_slot}}",
            ),
            ("DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_GPU_UTIL{S} / 100", "GPU {{gpu}}"),
        ],
    ),
    chart(
        "GPU power",
        "watts",
        None,
        &[
            (
                r#"hw_power_watts{S,hw_id!=""}"#,
                r#"hw_power_watts{S,hw_id!=""}"#,
                "GPU {{gpu_slot}}",
            ),
            ("DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_POWER_USAGE{S}", "GPU {{gpu}}"),
        ],
    ),
    chart(
        "GPU errors in each window",
        "",
        None,
        &[
            (
                "hw_errors_total",
                "sum by (error_type) (increase(hw_errors_total{S}[W]))",
                "{{error_type}}",
            ),
            (
                "DCGM_FI_DEV_PCIE_REPLAY_COUNTER",
                "sum(increase(DCGM_FI_DEV_PCIE_REPLAY_COUNTER{S}[W]))",
                "PCIe replays",
            ),
        ],
    ),
    chart(
        "Inlet temperature",
        "celsius",
        None,
        &[(
            r#"hw_temperature_celsius{S,hw_sensor_location="inlet"}"#,
            r#"hw_temperature_celsius{S,hw_sensor_location="inlet"}"#,
            "inlet",
        )],
    ),
    chart("Fans", "", None, &[("hw_fan_speed_rpm", "hw_fan_speed_rpm{S}", "rpm")]),
];

/// The charts, and the lines in them, for which a host has series within `range`. `matchers` pick its series, as
/// `host_name="a"`.
pub(super) fn present(
    snapshot: &Snapshot,
    matchers: &str,
    range: TimeRange,
) -> Result<Vec<(&'static Chart, Vec<Line>)>, Problem> {
    let has = |needs: &str| -> Result<bool, Problem> {
        let selector = if needs.contains('{') {
            with_host(needs, matchers)
        } else {
            format!("{needs}{{{matchers}}}")
        };
        Ok(!snapshot
            .select(&store::promql::parse_selector(&selector)?, range)?
            .is_empty())
    };
    let mut found = Vec::new();
    for chart in &CHARTS {
        let mut lines = Vec::new();
        for line in chart.lines {
            if has(line.0)? {
                lines.push(*line);
            }
        }
        if !lines.is_empty() {
            found.push((chart, lines));
        }
    }
    Ok(found)
}

/// The charts of a host.
pub(super) fn charts(found: &[(&'static Chart, Vec<Line>)], matchers: &str, view: &View, tenant: &str) -> Markup {
    html! {
        @for (chart, lines) in found {
            @let queries: Vec<(String, &str)> =
                lines.iter().map(|(_, expression, legend)| (view.filled(expression, matchers), *legend)).collect();
            (figure(chart.title, chart.unit, chart.top, &queries, view, tenant))
        }
    }
}

fn with_host(expression: &str, matchers: &str) -> String {
    expression.replace("{S", &format!("{{{matchers}"))
}

/// One chart, which the script draws.
pub(super) fn figure(
    title: &str,
    unit: &str,
    top: Option<f64>,
    queries: &[(String, &str)],
    view: &View,
    tenant: &str,
) -> Markup {
    let spec: Vec<_> = queries
        .iter()
        .map(|(query, legend)| json!({ "q": query, "label": legend }))
        .collect();
    let first = queries.first().map_or("", |(query, _)| query.as_str());
    let show = href(
        &format!("/explore?q={}&range={}", encoded(first), view.range_name()),
        tenant,
    );
    html! {
        figure.card.chart data-key=(title) data-title=(title) data-unit=(unit) data-min=[chart_floor(unit)] data-max=[top]
            data-range=(view.range_s) data-end=[view.end_s] data-queries=(json!(spec).to_string()) {
            div.title { h3 { (title) } a href=(show) { "query" } }
        }
    }
}

// What cannot be negative starts at zero, so that heights compare; temperatures would be flattened by it.
fn chart_floor(unit: &str) -> Option<u8> {
    (unit != "celsius").then_some(0)
}

/// The stretch of time that a page shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) range_s: i64,
    /// Now where none is given, moving on.
    pub(super) end_s: Option<i64>,
}

/// The stretches to choose from.
pub(super) const RANGES: [(&str, i64); 5] = [
    ("15m", 900),
    ("1h", 3600),
    ("6h", 21_600),
    ("24h", 86_400),
    ("7d", 604_800),
];

impl View {
    pub(super) fn range_name(&self) -> String {
        RANGES
            .iter()
            .find(|(_, seconds)| *seconds == self.range_s)
            .map_or_else(|| format!("{}s", self.range_s), |(name, _)| (*name).to_owned())
    }

    fn filled(&self, expression: &str, matchers: &str) -> String {
        // At least a few samples of a sender that reports each minute, and never less than two points of the chart.
        let window = (self.range_s / 90).max(180);
        with_host(expression, matchers).replace("[W]", &format!("[{window}s]"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_expression_of_every_chart_parses() {
        let view = View {
            range_s: 3600,
            end_s: None,
        };
        for (_, expression, _) in CHARTS.iter().flat_map(|chart| chart.lines) {
            let filled = view.filled(expression, r#"host_name="a""#);
            assert!(!filled.contains("{S") && !filled.contains("[W]"), "{filled}");
            store::promql::parse(&filled).unwrap_or_else(|error| panic!("{filled}: {error}"));
        }
    }
}
