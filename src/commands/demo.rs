//! `foreshock demo`: this host live, and a failure that is warned of before it happens: a simulated fleet's, or a real one here.

mod breaking;
mod fleet;
mod told;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use agent::Agent;
use anyhow::{Context, Result};
use api::sink::Sink;
use tokio::sync::watch;

use crate::commands::client::Client;
use crate::config::{Config, Listen, ReceiverConfig};
use crate::serve::{Server, wait_for_stop};
use told::Told;

/// Show all of it within minutes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Data directory; a later run in the same one begins the simulated fleet anew and keeps this host's history.
    #[arg(long, default_value = "foreshock-demo", value_name = "DIR")]
    data: PathBuf,
    /// Page and API; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:9750", value_name = "HOST:PORT")]
    listen: SocketAddr,
    /// Another seed, another fleet.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// End after the warning: success only if it was delivered before the failure began.
    #[arg(long)]
    once: bool,
    /// Where alerts are sent; by default a receiver of the demo's own prints what arrives.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// Instead of the simulated fleet, cause a real and bounded fault on this host.
    #[arg(long = "break", value_name = "FAULT")]
    fault: Option<Fault>,
}

/// A fault that the demo can cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Fault {
    /// A child process leaks memory inside a memory cgroup of its own until the kernel kills it.
    Memory,
    /// An HTTP endpoint on loopback degrades, then fails.
    Latency,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let stage = Stage::set(arguments)?;
    let played = match arguments.fault {
        None => fleet::play(&stage, arguments),
        Some(Fault::Memory) => breaking::memory(&stage),
        Some(Fault::Latency) => breaking::latency(&stage),
    };
    if played.is_ok() && !arguments.once {
        stage.how_to_go_on();
        wait_for_stop(&stage.server)?;
    }
    let stopped = stage.strike();
    played.and(stopped)
}

/// Server, this host's agent, and somebody to send alerts to.
#[derive(Debug)]
struct Stage {
    server: Server,
    agent: agent::Handle,
    host: String,
    /// The demo's own receiver, where no other was named.
    sink: Option<Sink>,
    close: watch::Sender<bool>,
    receiving: tokio::runtime::Runtime,
}

impl Stage {
    /// Starts everything that a user would start.
    fn set(arguments: &Arguments) -> Result<Self> {
        let receiving = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot start the demo's webhook receiver")?;
        let (close, closing) = watch::channel(false);
        let sink = match &arguments.webhook {
            Some(_) => None,
            None => Some(
                receiving
                    .block_on(Sink::start(SocketAddr::from(([127, 0, 0, 1], 0)), closing))
                    .context("cannot start the demo's webhook receiver")?,
            ),
        };
        let webhook = arguments
            .webhook
            .clone()
            .or_else(|| sink.as_ref().map(Sink::url))
            .unwrap_or_default();
        let mut config = Config {
            data: arguments.data.clone(),
            listen: arguments.listen,
            otlp_http: Listen::Off,
            otlp_grpc: Listen::Off,
            flight_sql: Listen::Off,
            receiver: vec![ReceiverConfig {
                name: "demo".to_owned(),
                webhook: Some(webhook),
                ..ReceiverConfig::default()
            }],
            ..Config::default()
        };
        // The simulated fleet fails fifty times as often as a real one; so does the budget that goes with it.
        config.predict.budget_per_host_day = 0.5;
        config.notify.group_wait_seconds = 0;
        if arguments.fault.is_some() {
            // Faults here take seconds, not hours.
            config.predict.round_seconds = 1;
            config.notify.rule_interval_seconds = Some(1);
        }
        config.check()?;
        let server = Server::start(&config)?;
        let agent = Agent::new(agent::Config {
            server: Some(agent::Server {
                url: server.url(),
                ..agent::Server::default()
            }),
            interval: Duration::from_secs(1),
            adaptive: false,
            ..agent::Config::default()
        })
        .context("cannot watch this host")?;
        let host = agent.host().name.clone();
        let agent = agent.start().context("cannot watch this host")?;
        Ok(Self {
            server,
            agent,
            host,
            sink,
            close,
            receiving,
        })
    }

    /// Stops in the order of the line.
    fn strike(self) -> Result<()> {
        self.agent.stop();
        self.server.stop()?;
        self.close.send_replace(true);
        self.receiving.shutdown_timeout(Duration::from_secs(2));
        Ok(())
    }

    /// What arrived at the demo's own receiver since the last look.
    fn told(&self) -> Vec<Told> {
        self.sink
            .iter()
            .flat_map(Sink::take)
            .flat_map(|received| Told::of(&received.body))
            .collect()
    }

    /// Whether the webhook that was named has taken an alert about `host`, by the delivery log.
    fn delivered_elsewhere(&self, tenant: &str, host: &str) -> Result<bool> {
        let log = Client::new(&self.server.url(), tenant).get("/api/v1/deliveries", &[])?;
        let entries = log["deliveries"]
            .as_array()
            .or_else(|| log.as_array())
            .cloned()
            .unwrap_or_default();
        Ok(entries
            .iter()
            .any(|entry| entry["outcome"] == "delivered" && entry.to_string().contains(host)))
    }

    #[expect(clippy::print_stdout, reason = "the demo talks to people")]
    fn how_to_go_on(&self) {
        let url = self.server.url();
        println!(
            "
How to go on (this demo runs until Ctrl-C; nothing of it is needed later):
  another host           foreshock-agent run --server {url} --interval 10s --spool ./spool
  a Prometheus           remote_write: [{{url: {url}/api/v1/write}}]
  an OTel Collector      exporters: {{otlphttp: {{metrics_endpoint: {url}/v1/metrics}}}}
  Grafana                add a data source of type Prometheus with the URL {url}
  a chat                 [[receiver]] name = \"oncall\", webhook = \"http://...\" in foreshock.toml (docs/connect.md)
  no more of this fleet  foreshock admin delete-tenant demo --server {url}
Page: {url}/ (this host)  {url}/?tenant=demo (the fleet)"
        );
    }
}
