//! A target that the agent scrapes gives the series that it gives when the server scrapes it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use agent::{Agent, Config};

use crate::server::Server;

/// What a program's own client library shows besides.
const APPLICATION: &str = r#"# HELP http_request_duration_seconds Latency
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{path="/",le="0.005"} 3
http_request_duration_seconds_bucket{path="/",le="2.5"} 7
http_request_duration_seconds_bucket{path="/",le="+Inf"} 9
http_request_duration_seconds_sum{path="/"} 17.25
http_request_duration_seconds_count{path="/"} 9
# TYPE rpc_seconds summary
rpc_seconds{quantile="0.5"} 0.25
rpc_seconds{quantile="0.99"} NaN
rpc_seconds_sum 3.5
rpc_seconds_count 12
# TYPE half summary
half{quantile="0.5"} 1
# TYPE DCGM_FI_DEV_PCIE_REPLAY_COUNTER counter
DCGM_FI_DEV_PCIE_REPLAY_COUNTER{gpu="0",UUID="GPU-1",Hostname="db-1"} 4
# TYPE jobs_total counter
jobs_total{job="nightly",instance="7"} 5
"#;

/// Shows a text to whoever asks, for as long as the test runs.
fn exporter(text: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("address").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                text.len()
            );
            // Who has gone away again is asked by nobody.
            stream.read(&mut [0; 4096]).unwrap_or_default();
            stream.write_all(head.as_bytes()).unwrap_or_default();
            stream.write_all(text.as_bytes()).unwrap_or_default();
        }
    });
    port
}

/// Value by series of a job, without what is to differ: who the target is, and how long asking it took.
fn series(server: &Server, job: &str) -> BTreeMap<String, String> {
    let answer = server.get("/api/v1/query", &[("query", &format!("{{job={job:?}}}"))]);
    let found = answer["data"]["result"].as_array().expect("a vector");
    let mut out = BTreeMap::new();
    for one in found {
        let mut labels = one["metric"].as_object().expect("labels").clone();
        for label in ["job", "instance", "host_name"] {
            labels.remove(label);
        }
        let name = labels["__name__"].as_str().expect("a name");
        if !["scrape_duration_seconds", "scrape_series_added", "target_info"].contains(&name) {
            let value = one["value"][1].as_str().expect("a value").to_owned();
            out.insert(serde_json::Value::Object(labels).to_string(), value);
        }
    }
    out
}

#[test]
fn series_are_the_same_whoever_scrapes() {
    let dir = tempfile::tempdir().expect("a directory");
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dashboards/node_exporter_1.txt.zst");
    let recorded = zstd::decode_all(&*fs::read(recorded).expect("the fixture")).expect("zstd");
    let text = String::from_utf8(recorded).expect("text") + APPLICATION;
    let samples = text.lines().filter(|line| !line.starts_with('#')).count();
    let port = exporter(text);
    let scrape = dir.path().join("scrape.yml");
    let job =
        "scrape_configs: [{job_name: theirs, scrape_interval: 1s, static_configs: [{targets: ['127.0.0.1:PORT']}]}]";
    fs::write(&scrape, job.replace("PORT", &port.to_string())).expect("written");
    let scrape = scrape.display().to_string();
    let server = Server::start_with(&dir.path().join("data"), &["--scrape-config", &scrape]);
    let agent = Agent::new(Config {
        server: Some(agent::Server {
            url: server.url.clone(),
            ..agent::Server::default()
        }),
        interval: Duration::from_secs(1),
        host_name: Some("db-1".to_owned()),
        scrape: vec![format!("ours=http://localhost:{port}").parse().expect("a target")],
        ..Config::default()
    });
    let handle = agent.expect("an agent").start().expect("it starts");
    let (mut theirs, mut ours) = (BTreeMap::new(), BTreeMap::new());
    while theirs.is_empty() || ours.is_empty() {
        thread::yield_now();
        (theirs, ours) = (series(&server, "theirs"), series(&server, "ours"));
    }
    handle.stop();
    // With up, scrape_samples_scraped and scrape_samples_post_metric_relabeling.
    assert_eq!(theirs.len(), samples + 3);
    assert_eq!(ours, theirs);
    let up = server.get("/api/v1/query", &[("query", "up{job=\"ours\"}")]);
    let expected = serde_json::json!({
        "__name__": "up", "job": "ours", "instance": format!("db-1:{port}"), "host_name": "db-1",
    });
    assert_eq!(up["data"]["result"][0]["metric"], expected);
    let metadata = server.get("/api/v1/metadata", &[("metric", "http_request_duration_seconds")]);
    assert_eq!(
        metadata["data"]["http_request_duration_seconds"][0]["type"],
        "histogram"
    );
}
