//! A real fault on this host, seen by the agent, and warned of before it ends in a failure.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;

use super::Stage;
use crate::clock::{now_ms, rfc3339, utc};
use crate::commands::client::Client;
use crate::commands::fault::{Fault, FaultState, LatencyOptions, MemoryOptions};

/// Whatever happens, the fault is over by then.
const PATIENCE: Duration = Duration::from_secs(150);
/// How often telemetry, forecasts and the webhook are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// A child process leaks memory in a cgroup of its own until the kernel kills it.
pub(super) fn memory(stage: &Stage) -> Result<()> {
    play(
        stage,
        &Fault::memory(MemoryOptions {
            limit: 192,
            warm_up: 10,
            fill: 45,
        }),
    )
}

/// An HTTP endpoint slows down until it fails.
pub(super) fn latency(stage: &Stage) -> Result<()> {
    play(
        stage,
        &Fault::latency(LatencyOptions {
            warm_up: 15,
            decline: 60,
            seed: 1,
        }),
    )
}

#[expect(clippy::print_stdout, reason = "the demo talks to people")]
fn play(stage: &Stage, fault: &Fault) -> Result<()> {
    println!(
        "Foreshock demo, a real fault on this host, {}. Page: {}/\n",
        stage.host,
        stage.server.url()
    );
    let begun = Instant::now();
    let mut running = fault.start()?;
    println!(
        "  {:>5.1} s  {}",
        begun.elapsed().as_secs_f64(),
        running.ready().subject
    );
    for watch in running.ready().watch() {
        stage.agent.watch(watch);
    }
    // What the alert must name: a host may have troubles of its own.
    let ready = running.ready();
    let subject = [
        ready.cgroup.clone(),
        ready.url.clone(),
        ready.pid.map(|pid| pid.to_string()),
    ]
    .into_iter()
    .flatten()
    .next();
    let mut warned: Option<i64> = None;
    let ended = loop {
        if begun.elapsed() > PATIENCE {
            running.stop();
            bail!("nothing failed within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(LOOK);
        for told in stage.told().into_iter().filter(|told| told.firing) {
            println!(
                "  {:>5.1} s  webhook, {}: {}",
                begun.elapsed().as_secs_f64(),
                told.alert,
                told.whole("           ")
            );
            if warned.is_none()
                && subject
                    .as_deref()
                    .is_some_and(|subject| told.is_warning() && told.is_about(&stage.host, subject))
            {
                warned = Some(now_ms());
            }
        }
        if stage.sink.is_none() && warned.is_none() && stage.delivered_elsewhere("default", &stage.host)? {
            warned = Some(now_ms());
        }
        match running.poll() {
            FaultState::Growing => {}
            FaultState::Failed { at_ms, how } => break Ok((at_ms, how)),
            FaultState::Ended { why } => break Err(why),
        }
    };
    let began_ms = running.ready().began_ms;
    running.stop();
    let (failed, how) = match ended {
        Ok(failure) => failure,
        Err(why) => bail!("the fault ended without a failure: {why}"),
    };
    println!("  {:>5.1} s  {how}", (failed - began_ms) as f64 / 1_000.0);
    let incident = json!({
        "host": stage.host,
        "kind": fault.incident_kind(),
        "start": rfc3339(failed),
        "end": rfc3339(now_ms()),
        "summary": how,
    });
    Client::new(&stage.server.url(), "default").post("/api/v1/incidents", &incident)?;
    match warned {
        Some(at) if at < failed => {
            println!(
                "\nIt failed at {}; the warning was delivered {:.1} s before.",
                utc(failed),
                (failed - at) as f64 / 1_000.0
            );
            Ok(())
        }
        Some(at) => bail!(
            "it failed at {}; the alert came only {:.1} s later",
            utc(failed),
            (at - failed) as f64 / 1_000.0
        ),
        None => bail!("it failed at {} and no alert was delivered", utc(failed)),
    }
}
