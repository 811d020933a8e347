//! `foreshock simulate`: a simulated fleet, streamed to a server through its OTLP endpoint.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use simulate::{Fleet, FleetOptions, SimIncident};

use super::client::{Client, ServerArguments};
use crate::clock::{now_ms, rfc3339};

/// Points of one OTLP request.
const POINTS_PER_REQUEST: usize = 20_000;

/// Stream a simulated fleet to a running server: its history at once, then its present in real time.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Another seed, another fleet; the same seed, the same fate.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Hosts in the fleet.
    #[arg(long, default_value_t = 24)]
    hosts: usize,
    /// GPUs in each host.
    #[arg(long, default_value_t = 2)]
    gpus: usize,
    /// Days of history, ending now.
    #[arg(long, default_value_t = 10.0)]
    days: f64,
    /// Seconds between two samples of a series.
    #[arg(long, default_value_t = 120)]
    step: u32,
    /// Failures per host and day; real fleets see 0.002 to 0.02.
    #[arg(long, default_value_t = 0.30)]
    failure_rate: f64,
    /// After the history, go on in real time for so many hours.
    #[arg(long, default_value_t = 0.0, value_name = "HOURS")]
    go_on: f64,
    /// Declare the fleet's incidents to the server as they end, as an operator or a ticket system would.
    #[arg(long)]
    declare: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.server.tenant == "default" {
        bail!("a simulated fleet does not belong among real hosts; name a tenant of its own, as `--tenant simulated`");
    }
    let now = now_ms();
    let step_ms = i64::from(arguments.step) * 1_000;
    let options = FleetOptions {
        seed: arguments.seed,
        hosts: arguments.hosts,
        gpus_per_host: arguments.gpus,
        start_ms: (now - (arguments.days * 86_400_000.0) as i64).div_euclid(step_ms) * step_ms,
        days: arguments.days + arguments.go_on / 24.0,
        step_s: arguments.step,
        failure_rate: arguments.failure_rate,
        ..FleetOptions::default()
    };
    let fleet = Fleet::new(options)?;
    let client = arguments.server.client()?;
    let mut replay = Replay::new(&fleet, client.clone());
    let bar = progress(fleet.points_estimate(), "points");
    replay.until(now, |points| bar.inc(points))?;
    bar.finish();
    if arguments.declare {
        for incident in fleet.incidents().iter().filter(|i| i.start_ms <= now) {
            declare(&client, incident, now)?;
        }
    }
    let until = now + (arguments.go_on * 3_600_000.0) as i64;
    while now_ms() < until {
        std::thread::sleep(Duration::from_secs(u64::from(arguments.step)));
        replay.until(now_ms(), |_| ())?;
    }
    tracing::info!(
        points = replay.points,
        tenant = arguments.server.tenant,
        "the simulated fleet is written"
    );
    Ok(())
}

/// A fleet on its way through time, sent as it goes.
#[derive(Debug)]
pub(crate) struct Replay {
    requests: simulate::Requests,
    client: Client,
    /// Points that were acknowledged.
    pub(crate) points: u64,
}

impl Replay {
    pub(crate) fn new(fleet: &Fleet, client: Client) -> Self {
        Self {
            requests: fleet.requests(fleet.span(), POINTS_PER_REQUEST),
            client,
            points: 0,
        }
    }

    /// Sends everything up to `limit_ms`; `sent` hears of each acknowledged request.
    ///
    /// # Errors
    /// The first request that is not acknowledged.
    pub(crate) fn until(&mut self, limit_ms: i64, mut sent: impl FnMut(u64)) -> Result<()> {
        while let Some(request) = self.requests.next_until(limit_ms) {
            self.client
                .export(&request.body)
                .context("the simulated fleet's telemetry was not acknowledged")?;
            self.points += request.points;
            sent(request.points);
        }
        Ok(())
    }
}

/// Tells the server of an incident as it stands at `now`: closed if it is over by then, else open.
pub(crate) fn declare(client: &Client, incident: &SimIncident, now: i64) -> Result<()> {
    let mut body = json!({
        "host": incident.host,
        "kind": incident.kind.to_string(),
        "start": rfc3339(incident.start_ms),
        "summary": format!("simulated {}", incident.kind),
    });
    if let Some(device) = &incident.device {
        body["device"] = json!(device);
    }
    if incident.end_ms <= now {
        body["end"] = json!(rfc3339(incident.end_ms));
    }
    client
        .post("/api/v1/incidents", &body)
        .context("an incident was not taken")?;
    Ok(())
}

/// A progress bar on standard error, silent where that is no terminal.
pub(crate) fn progress(total: u64, unit: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let template = format!("  {{msg}} {{bar:32}} {{human_pos}}/{{human_len}} {unit} {{elapsed}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}
