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
    /// Declare the fleet's incidents to the server as they begin and end, as an operator or a ticket system would.
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
    let told = if arguments.declare { fleet.incidents() } else { &[] };
    let mut operator = Operator::new(told, client);
    operator.until(now, |_| ())?;
    let until = now + (arguments.go_on * 3_600_000.0) as i64;
    while now_ms() < until {
        std::thread::sleep(Duration::from_secs(u64::from(arguments.step)));
        let now = now_ms();
        replay.until(now, |_| ())?;
        operator.until(now, |_| ())?;
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

/// Who tells a server of a fleet's incidents: of each when it begins, and again when it is over.
#[derive(Debug)]
pub(crate) struct Operator {
    client: Client,
    incidents: Vec<(SimIncident, Told)>,
}

/// What the server was told of an incident.
#[derive(Debug)]
enum Told {
    Nothing,
    /// Its beginning; the server's name for it.
    Begun(String),
    Ended,
}

impl Operator {
    pub(crate) fn new(incidents: &[SimIncident], client: Client) -> Self {
        let incidents = incidents.iter().map(|incident| (incident.clone(), Told::Nothing));
        Self {
            client,
            incidents: incidents.collect(),
        }
    }

    /// Tells what began or ended up to `now` and was not told before; `begun` hears of each incident that is new.
    ///
    /// # Errors
    /// The first incident that the server does not take; the next call tells it again. One whose end is not taken is only logged: it
    /// may have been deleted there.
    pub(crate) fn until(&mut self, now: i64, mut begun: impl FnMut(&SimIncident)) -> Result<()> {
        for (incident, told) in &mut self.incidents {
            match told {
                Told::Nothing if incident.start_ms <= now => {
                    let id = declare(&self.client, incident, now)?;
                    *told = if incident.end_ms <= now {
                        Told::Ended
                    } else {
                        Told::Begun(id)
                    };
                    begun(incident);
                }
                Told::Begun(id) if incident.end_ms <= now => {
                    // Only the end: what people have said of it meanwhile stays.
                    let end = json!({ "end": rfc3339(incident.end_ms) });
                    if let Err(error) = self.client.patch(&format!("/api/v1/incidents/{id}"), &end) {
                        tracing::warn!(
                            id,
                            error = format!("{error:#}"),
                            "the end of a simulated incident was not taken"
                        );
                    }
                    *told = Told::Ended;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Tells the server of an incident as it stands at `now`: closed if it is over by then, else open. Answers the server's name for it.
fn declare(client: &Client, incident: &SimIncident, now: i64) -> Result<String> {
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
    let taken = client
        .post("/api/v1/incidents", &body)
        .context("an incident was not taken")?;
    let id = taken["id"]
        .as_str()
        .context("the server names no incident that it took")?;
    Ok(id.to_owned())
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

#[cfg(test)]
mod tests;
