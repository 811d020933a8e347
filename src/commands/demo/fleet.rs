//! The simulated fleet: its history, what a model learns from it, and a failure that is warned of.

use std::collections::HashSet;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use simulate::{Failure, Fleet, FleetOptions, SimIncident};

use super::{Arguments, Stage};
use crate::clock::{now_ms, utc};
use crate::commands::client::Client;
use crate::commands::simulate::{Operator, Replay, progress};
use crate::scoring::HORIZON;
use crate::training::{self, Plan};

/// The tenant of the simulated fleet.
const TENANT: &str = "demo";
const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;
/// Seconds between two samples of a series.
const STEP_S: u32 = 120;
/// Days of history.
const DAYS: f64 = 10.0;
/// The newest part of the history is played step by step, with scores, rules and alerts.
const PLAYED_MS: i64 = 3 * HOUR_MS;
/// One failure with signs begins this long before now, and its signs so long before that.
const FAILS_BEFORE_NOW_MS: i64 = 10 * MINUTE_MS;
const SIGNS_MS: i64 = 2 * HOUR_MS + 20 * MINUTE_MS;
/// After the history the fleet goes on in real time for so long.
const GOES_ON_DAYS: f64 = 1.0;

/// Plays the fleet, and says whether its failure was warned of in time.
#[expect(clippy::print_stdout, reason = "the demo talks to people")]
pub(super) fn play(stage: &Stage, arguments: &Arguments) -> Result<()> {
    let server = &stage.server;
    let client = Client::new(&server.url(), TENANT);
    // Its time is told here, not by the wall clock, until the history has been played.
    server.runtimes.hold(TENANT);
    server
        .tenants
        .delete(TENANT)
        .context("the fleet of an earlier demo could not be deleted")?;
    server
        .tenants
        .get_or_create(TENANT)
        .context("cannot make a tenant for the simulated fleet")?;

    let step_ms = i64::from(STEP_S) * 1_000;
    let now = now_ms().div_euclid(step_ms) * step_ms;
    let (fleet, failure) = draw(arguments.seed, now)?;
    println!(
        "Foreshock demo, seed {}. Page: {}/?tenant={TENANT}\n",
        arguments.seed,
        server.url()
    );
    println!("1. This host, {}, live: its agent sends every second.", stage.host);

    let played_from = now - PLAYED_MS;
    println!(
        "2. A simulated fleet through the OTLP endpoint: {} hosts with {} GPUs each, {DAYS} days.",
        fleet.options().hosts,
        fleet.options().gpus_per_host
    );
    let begun = Instant::now();
    let mut replay = Replay::new(&fleet, client.clone());
    let share = (DAYS * 24.0 - PLAYED_MS as f64 / HOUR_MS as f64) / ((DAYS + GOES_ON_DAYS) * 24.0);
    let bar = progress((fleet.points_estimate() as f64 * share) as u64, "samples");
    replay.until(played_from, |points| bar.inc(points))?;
    bar.finish_and_clear();
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "   {} samples, each acknowledged when durable, in {seconds:.0} s.",
        grouped(replay.points)
    );

    let mut operator = Operator::new(fleet.incidents(), client);
    let mut past = 0;
    operator.until(played_from - 1, |_| past += 1)?;
    println!("3. Training on {past} incidents, and what it would have done in the newest quarter, unseen:");
    let begun = Instant::now();
    let bar = progress(0, "");
    let store = server.tenants.get(TENANT).context("the fleet's tenant is gone")?;
    let plan = Plan {
        horizon: HORIZON,
        budget: server.runtimes.settings().budget_per_host_day,
        until_ms: played_from,
        seed: arguments.seed,
    };
    let trained = training::train_on(&store, plan, &mut |step| {
        bar.set_message(step.stage);
        bar.set_length(step.total as u64);
        bar.set_position(step.done as u64);
    })?;
    training::keep(&store, &trained, played_from)?;
    drop(store);
    bar.finish_and_clear();
    for line in trained.evaluation.to_string().lines() {
        println!("   {line}");
    }
    println!(
        "   (trained in {:.0} s; challenger {} in its shadow)",
        begun.elapsed().as_secs_f64(),
        challenger(&trained)
    );

    println!(
        "4. The newest {} hours, played step by step: telemetry, scores, rules, webhook.",
        PLAYED_MS / HOUR_MS
    );
    let warned = rehearse(stage, &failure, &mut replay, &mut operator, now)?;
    server.runtimes.release(TENANT);
    println!(
        "5. This host, meanwhile: {}. No model of another fleet scores it.",
        own_state(stage)?
    );
    match warned {
        Some(at) if at < failure.start_ms => {
            let lead = (failure.start_ms - at) / MINUTE_MS;
            println!(
                "\n{} failed at {}; the warning was delivered {lead} min before.",
                failure.host,
                utc(failure.start_ms)
            );
        }
        Some(at) => bail!(
            "{} failed at {}; the alert came only at {}",
            failure.host,
            utc(failure.start_ms),
            utc(at)
        ),
        None => bail!(
            "{} failed at {} and no alert was delivered",
            failure.host,
            utc(failure.start_ms)
        ),
    }
    if !arguments.once {
        go_on(stage, replay, operator);
    }
    Ok(())
}

/// A fleet whose history ends at `now`, with one failure near the end that can be foreseen, on a host that is whole until then.
fn draw(seed: u64, now: i64) -> Result<(Fleet, SimIncident)> {
    let day_ms = 24.0 * HOUR_MS as f64;
    let options = FleetOptions {
        seed,
        start_ms: now - (DAYS * day_ms) as i64,
        days: DAYS + GOES_ON_DAYS,
        step_s: STEP_S,
        ..FleetOptions::default()
    };
    // Kinds that a forecast sees as well, so that the demo does not hang on what ten days of history taught the model.
    let kind = [Failure::HostOom, Failure::DiskFull][seed as usize % 2];
    let start_ms = now - FAILS_BEFORE_NOW_MS;
    let host = (seed as usize).wrapping_mul(7) % options.hosts;
    let fleet = Fleet::new(options)?.with_incident(kind, host, start_ms, SIGNS_MS)?;
    let failure = fleet
        .incidents()
        .iter()
        .find(|i| i.kind == kind && (i.start_ms - start_ms).abs() <= i64::from(STEP_S) * 1_000)
        .cloned()
        .context("the simulated fleet lacks the failure that it was asked for")?;
    Ok((fleet, failure))
}

/// Plays the rest of the history a step at a time; answers when the first alert about `failure` was delivered, in the fleet's time.
#[expect(clippy::print_stdout, reason = "the demo talks to people")]
fn rehearse(
    stage: &Stage,
    failure: &SimIncident,
    replay: &mut Replay,
    operator: &mut Operator,
    now: i64,
) -> Result<Option<i64>> {
    let step_ms = i64::from(STEP_S) * 1_000;
    let mut likely = HashSet::new();
    let mut warned = None;
    let mut at = now - PLAYED_MS;
    while at <= now {
        replay.until(at, |_| ())?;
        operator.until(at, |incident| {
            println!("   {}  {} fails: {}", clock(at), incident.host, incident.kind);
        })?;
        stage.server.runtimes.tick(TENANT, at)?;
        stage.server.block_on(stage.server.runtimes.deliver_due(TENANT, at))?;
        for told in stage.told().into_iter().filter(|told| told.firing) {
            let first = told.host == failure.host && told.is_warning() && warned.is_none();
            if first || (told.alert == "FailureLikely" && likely.insert(told.host.clone())) {
                println!(
                    "   {}  webhook, {}: {}",
                    clock(at),
                    told.alert,
                    told.whole("          ")
                );
            } else {
                println!("   {}  webhook, {}: {}", clock(at), told.alert, told.summary);
            }
            if first {
                warned = Some(at);
            }
        }
        if stage.sink.is_none() && warned.is_none() {
            warned = stage.delivered_elsewhere(TENANT, &failure.host)?.then_some(at);
        }
        at += step_ms;
    }
    Ok(warned)
}

/// The fleet goes on in real time beside the page, until the demo ends.
fn go_on(stage: &Stage, mut replay: Replay, mut operator: Operator) {
    let running = stage.server.running();
    let thread = std::thread::Builder::new()
        .name("demo-fleet".to_owned())
        .spawn(move || {
            while running.wait(std::time::Duration::from_secs(5)) {
                let now = now_ms();
                if let Err(error) = replay.until(now, |_| ()).and_then(|()| operator.until(now, |_| ())) {
                    tracing::warn!(error = format!("{error:#}"), "the simulated fleet fell silent");
                    return;
                }
            }
        });
    if let Err(error) = thread {
        tracing::warn!(%error, "the simulated fleet does not go on");
    }
}

/// What is said about this host so far.
fn own_state(stage: &Stage) -> Result<String> {
    let answer = Client::new(&stage.server.url(), "default").get("/api/v1/hosts", &[])?;
    let own = answer["hosts"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|host| host["host"] == stage.host.as_str());
    let Some(score) = own.and_then(|host| host["scores"].as_array()?.first()) else {
        return Ok("learning, its first round is to come".to_owned());
    };
    let learning = &score["learning"];
    Ok(match score["state"].as_str() {
        Some("learning") => {
            format!(
                "learning, {} of {} {}",
                learning["have"],
                learning["need"],
                learning["what"].as_str().unwrap_or_default()
            )
        }
        Some(state) => state.to_owned(),
        None => "unknown".to_owned(),
    })
}

fn challenger(trained: &predict::Trained) -> &str {
    trained
        .challenger
        .as_ref()
        .map_or("none", |(model, _)| model.name.as_str())
}

fn clock(at_ms: i64) -> String {
    utc(at_ms).get(11..16).unwrap_or_default().to_owned()
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
