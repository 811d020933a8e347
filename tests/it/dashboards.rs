//! What Grafana's best-known dashboards ask, all of it, over a recorded node exporter and simulated GPUs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::server::Server;

/// When the second scrape was, seconds; the first was 15 s before.
const AT: i64 = 1_767_225_600;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/dashboards")
        .join(name)
}

/// The expressions of a dashboard with its variables set.
fn expressions(name: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let text = std::fs::read_to_string(fixture(name)).expect("the fixture is there");
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let set = |line: String, (name, value): &(&str, &str)| line.replace(name, value);
            variables.iter().fold(line.to_owned(), set)
        })
        .collect()
}

/// Asks as Grafana does; whether anything came back. Errors end the test.
fn ask(server: &Server, expression: &str) -> bool {
    if let Some(inside) = expression.strip_prefix("label_values(") {
        let (metric, label) = inside
            .trim_end_matches(')')
            .rsplit_once(", ")
            .expect("metric and label");
        let path = format!("/api/v1/label/{label}/values");
        let values = server.get(&path, &[("match[]", metric)]);
        return values["data"].as_array().is_some_and(|values| !values.is_empty());
    }
    let (start, end) = ((AT - 60).to_string(), AT.to_string());
    let range = server.get(
        "/api/v1/query_range",
        &[("query", expression), ("start", &start), ("end", &end), ("step", "15")],
    );
    assert_eq!(range["status"], "success", "{expression}: {range}");
    let instant = server.get("/api/v1/query", &[("query", expression), ("time", &end)]);
    assert_eq!(instant["status"], "success", "{expression}: {instant}");
    range["data"]["result"]
        .as_array()
        .is_some_and(|result| !result.is_empty())
}

fn check(server: &Server, expressions: &[String], without_data_max: usize) {
    let empty: Vec<&String> = expressions
        .iter()
        .filter(|expression| !ask(server, expression))
        .collect();
    assert!(
        empty.len() <= without_data_max,
        "{} of {} expressions have no data, among them {empty:#?}",
        empty.len(),
        expressions.len()
    );
}

#[test]
fn node_exporter_full_shows_a_recorded_host() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::start(dir.path());
    for (scrape, at) in [(1, AT - 15), (2, AT)] {
        let body = std::fs::read(fixture(&format!("node_exporter_{scrape}.txt.zst"))).expect("the recording is there");
        let path = format!(
            "/api/v1/import/prometheus?timestamp={}&extra_label=job=node&extra_label=instance=a:9100",
            at * 1000
        );
        let answer = server
            .post(&path, &[("content-encoding", "zstd")], &body)
            .expect("an answer");
        assert_eq!(answer.0, 204, "{}", answer.1);
    }
    let expressions = expressions(
        "node_exporter_full.promql",
        &[
            ("$__rate_interval", "1m0s"),
            ("$nodename", "recorded-host"),
            ("$node", "a:9100"),
            ("$job", "node"),
            ("$diskdevices", "[a-z]+|nvme[0-9]+n[0-9]+|mmcblk[0-9]+"),
        ],
    );
    assert!(expressions.len() > 220, "{}", expressions.len());
    // A virtual machine has no sensors, power supplies and systemd, and the exporter's own metrics were off.
    check(&server, &expressions, 55);
    assert!(server.stop());
}

#[test]
fn the_dcgm_dashboard_shows_simulated_gpus() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::start(dir.path());
    let mut text = String::new();
    for (metric, value) in [
        ("DCGM_FI_DEV_GPU_TEMP", 61.0),
        ("DCGM_FI_DEV_POWER_USAGE", 312.5),
        ("DCGM_FI_DEV_SM_CLOCK", 1980.0),
        ("DCGM_FI_DEV_GPU_UTIL", 97.0),
        ("DCGM_FI_DEV_FB_USED", 70_000.0),
        ("DCGM_FI_DEV_FB_FREE", 11_000.0),
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", 0.97),
        ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", 0.42),
    ] {
        writeln!(text, "# TYPE {metric} gauge").expect("memory takes it");
        for (host, gpu) in [("gpu-a", 0), ("gpu-a", 1), ("gpu-b", 0)] {
            let labels = format!(
                "gpu=\"{gpu}\",UUID=\"GPU-{host}-{gpu}\",device=\"nvidia{gpu}\",modelName=\"NVIDIA H200\",Hostname=\"{host}\""
            );
            writeln!(text, "{metric}{{{labels}}} {value} {}", AT * 1000).expect("memory takes it");
        }
    }
    let path = "/api/v1/import/prometheus?extra_label=job=dcgm&extra_label=instance=gpu:9400";
    let answer = server.post(path, &[], text.as_bytes()).expect("an answer");
    assert_eq!(answer.0, 204, "{}", answer.1);
    let variables = [("$Hostname", "gpu-a|gpu-b"), ("$instance", "gpu:9400"), ("$gpu", "0|1")];
    check(&server, &expressions("dcgm_exporter.promql", &variables), 0);
    let total = r#"sum(max(DCGM_FI_DEV_POWER_USAGE{Hostname=~"gpu-a|gpu-b", gpu=~"0|1"}) by (gpu))"#;
    let answer = server.get("/api/v1/query", &[("query", total), ("time", &AT.to_string())]);
    assert_eq!(answer["data"]["result"][0]["value"][1], "625", "{answer}");
    assert!(server.stop());
}
