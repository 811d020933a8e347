//! Records this host with its own agent while a fault runs its course.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use agent::{Agent, Config, Host};
use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use super::{Fault, FaultState};
use crate::clock;

/// What to record.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    fault: Fault,
    /// Folder for `recording.otlp.zst` and `incidents.json`; it is made if need be.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Name under which the host is recorded.
    #[arg(long, default_value = "recorded-host")]
    host_name: String,
    /// Time between readings, milliseconds.
    #[arg(long, default_value_t = 1000, value_name = "MILLISECONDS")]
    interval: u64,
    /// Time to go on recording after the failure, seconds.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    after: u64,
}

/// The incident of a recording, as `incidents.json` holds it. Times are milliseconds since 1970 UTC.
#[derive(Debug, Serialize)]
struct Incident {
    host: String,
    kind: &'static str,
    /// When it failed, and when recording went on no longer.
    start: i64,
    end: i64,
    /// When the fault was started; its warm-up is a steady state.
    fault_began: i64,
    subject: String,
    how: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    fs::create_dir_all(&arguments.out).with_context(|| format!("cannot create {}", arguments.out.display()))?;
    let path = arguments.out.join("recording.otlp.zst");
    let config = Config {
        interval: Duration::from_millis(arguments.interval),
        adaptive: false,
        record: Some(path.clone()),
        ..Config::default()
    };
    // A recording that is given away tells what happened, and not on which machine.
    let host = Host {
        name: arguments.host_name.clone(),
        id: String::new(),
        boot_id: String::new(),
        ..Agent::new(Config::default())?.host().clone()
    };
    let agent = Agent::new(config)?
        .named(host)
        .start()
        .context("cannot start the agent")?;
    let mut running = arguments.fault.start()?;
    let ready = running.ready().clone();
    ready.watch().into_iter().for_each(|what| agent.watch(what));
    tracing::info!(subject = ready.subject, "recording");
    let (start, how) = loop {
        thread::sleep(Duration::from_millis(50));
        match running.poll() {
            FaultState::Growing => {}
            FaultState::Failed { at_ms, how } => break (at_ms, how),
            FaultState::Ended { why } => bail!("the fault ended without a failure: {why}"),
        }
    };
    tracing::info!(how, "failed");
    thread::sleep(Duration::from_secs(arguments.after));
    let end = clock::now_ms();
    agent.stop();
    running.stop();
    let incident = Incident {
        host: arguments.host_name.clone(),
        kind: arguments.fault.incident_kind(),
        start,
        end,
        fault_began: ready.began_ms,
        subject: ready.subject,
        how,
    };
    let text = serde_json::to_string_pretty(&[incident]).context("cannot write the incident")?;
    fs::write(arguments.out.join("incidents.json"), text + "\n").context("cannot write incidents.json")?;
    let bytes = fs::metadata(&path)
        .with_context(|| format!("cannot look at {}", path.display()))?
        .len();
    writeln!(std::io::stdout(), "{}: {bytes} bytes", path.display()).context("cannot print")
}
