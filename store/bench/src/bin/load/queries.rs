//! What dashboards and rules ask while samples come in.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use foreshock_bench::{Random, START_MS, STEP_MS};

use crate::connection::Connection;
use crate::{Asked, Progress, Result};

/// Steps that have to be there before the first query.
const STEPS_MIN: usize = 4;

/// Expressions, and the seconds that a panel of them shows; none for an instant query. `$host` is a host, `$metric` a metric.
const MIX: [(&str, Option<i64>); 8] = [
    (r#"$metric{host="$host"}"#, None),
    (r#"$metric{host="$host"}"#, Some(3600)),
    (r#"sum by (job) (rate($metric{host=~"host-000.*"}[5m]))"#, Some(3600)),
    ("sum by (datacenter) ($metric)", None),
    ("topk(10, rate($metric[5m]))", None),
    ("avg by (datacenter) (rate($metric[5m]))", Some(3600)),
    ("max_over_time($metric[10m]) > 1e9", None),
    (r#"count({host=~"host-000.1"})"#, None),
];
/// Seconds between the points of a panel.
const PANEL_STEP_S: i64 = 60;

/// Asks one query after the other until the load has ended; answers how many milliseconds each took.
pub(crate) fn ask(asked: &Asked, client: usize, progress: &Progress) -> Result<Vec<f64>> {
    let mut connection = Connection::open(&asked.authority)?;
    let mut random = Random(client as u64);
    let mut latencies = Vec::new();
    for turn in client.. {
        let Some(steps) = progress.steps() else { break };
        if steps < STEPS_MIN {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        }
        let end_s = (START_MS + (steps as i64 - 1) * STEP_MS) / 1000;
        let (text, range_s) = MIX[turn % MIX.len()];
        let text = text
            .replace("$host", &format!("host-{:05}", random.next() as usize % asked.hosts))
            .replace("$metric", &format!("node_metric_{:02}_total", random.next() % 50));
        let path = match range_s {
            None => format!("/api/v1/query?query={}&time={end_s}", encoded(&text)),
            Some(range_s) => format!(
                "/api/v1/query_range?query={}&start={}&end={end_s}&step={PANEL_STEP_S}",
                encoded(&text),
                (end_s - range_s).max(START_MS / 1000)
            ),
        };
        let started = Instant::now();
        connection.get(&path)?;
        latencies.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(latencies)
}

fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").unwrap_or_default();
        }
    }
    out
}
