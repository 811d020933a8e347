//! What paging budgets are worth on a fleet that fails as rarely as a real one: simulated, half of its time to learn from,
//! half to be judged by.
//!
//! ```text
//! budgets [SEED]...        (default: 101)
//! ```
//! 260 hosts over 40 days: 5,200 host-days and about 26 failures in each half, near misses as often against failures as in
//! the simulator's default. For each fleet and budget prints false alarms against the budget, precision, warnings against
//! chance and their lead, and, for scores of 10 % and more, how many came true against how many were foretold.

mod fleet;

use std::error::Error;
use std::time::Instant;

use fleet::{by_host, incidents, known, telemetry, tracks};
use foreshock_predict::evaluate::{Evaluation, Ledger, Protocol, Track, evaluate};
use foreshock_predict::train::predict;
use foreshock_predict::{Grid, Horizon, Incidents, TrainInput, train};
use simulate::{Fleet, FleetOptions};
use store::TimeRange;

const HOSTS: usize = 260;
const DAYS: f64 = 40.0;
/// Failures a host-day: in the middle of what real fleets see (facts: prediction, 3.1).
const FAILURE_RATE: f64 = 0.005;
/// Seconds between samples, and distance of scores.
const STEP_S: u32 = 300;
const STRIDE_MS: i64 = 600_000;
const BUDGETS: [f64; 2] = [0.003, 0.02];
/// Scores from here on are compared with what came true.
const SURE: f64 = 0.1;
/// A warning that comes later leaves no time to act.
const LEAD_MIN: f64 = 15.0;

fn options(seed: u64) -> FleetOptions {
    let usual = FleetOptions::default();
    FleetOptions {
        seed,
        hosts: HOSTS,
        gpus_per_host: 1,
        days: DAYS,
        step_s: STEP_S,
        failure_rate: FAILURE_RATE,
        near_miss_rate: usual.near_miss_rate * FAILURE_RATE / usual.failure_rate,
        ..usual
    }
}

/// Foretold and true among the scores of [`SURE`] and more.
fn sure(evaluated: &[Track<'_>], protocol: Protocol) -> (f64, usize, usize) {
    let (mut foretold, mut came, mut rows) = (0.0, 0, 0);
    for track in evaluated {
        for (at, p) in track.at.iter().zip(track.probability).filter(|(_, p)| **p >= SURE) {
            let spans = track.incidents.map_or(&[][..], |i| i.spans());
            let inside = spans.iter().any(|s| s.start <= *at && *at < s.end);
            if inside || at + protocol.horizon_ms > track.to {
                continue;
            }
            rows += 1;
            foretold += p;
            came += usize::from(
                spans
                    .iter()
                    .any(|s| *at < s.start && s.start <= at + protocol.horizon_ms),
            );
        }
    }
    (foretold, came, rows)
}

#[expect(clippy::print_stdout, reason = "the figures are what was asked for")]
fn report(seed: u64, done: &Evaluation, ledger: &Ledger) {
    let good = ledger.alarms.iter().filter(|a| a.good).count();
    let early = done.leads_minutes.iter().filter(|m| **m >= LEAD_MIN).count();
    println!(
        "| {seed} | {:.0} | {} | {} | {:.4} ({}) | {good} of {} | {} ({:.1}) | {early} of {} |",
        done.host_days,
        done.incidents,
        done.budget,
        done.false_alarm_rate(),
        done.false_alarms,
        done.alarms,
        done.warned,
        done.chance_warned,
        done.leads_minutes.len(),
    );
}

#[expect(clippy::print_stdout, reason = "the figures are what was asked for")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut seeds: Vec<u64> = std::env::args().skip(1).map(|a| a.parse()).collect::<Result<_, _>>()?;
    if seeds.is_empty() {
        seeds = vec![101];
    }
    println!(
        "| fleet | host-days | incidents | budget | false alarms a host-day | alarms that were right | warned (chance) | warned {LEAD_MIN:.0} min ahead |\n|---|---|---|---|---|---|---|---|"
    );
    let mut notes = Vec::new();
    for seed in seeds {
        let started = Instant::now();
        let fleet = Fleet::new(options(seed))?;
        let telemetry = telemetry(&fleet)?;
        let all = incidents(&fleet);
        let (from, to) = (*fleet.span().start(), *fleet.span().end());
        let half = from + (to - from) / 2 / STRIDE_MS * STRIDE_MS;
        let known = known(&all, half);
        let input = TrainInput {
            challenger: false,
            stride_ms: STRIDE_MS,
            grid: Grid::for_samples(i64::from(STEP_S) * 1_000),
            rows_max: 25_000,
            seed,
            ..TrainInput::new(&telemetry, &known, TimeRange::millis(from, half))
        };
        let trained = train(&input, &mut |_| ())?;
        let truth = Incidents::new(&all);
        let wanted: Vec<(String, Vec<i64>)> = fleet
            .hosts()
            .map(|host| (host.to_owned(), (half..to).step_by(STRIDE_MS as usize).collect()))
            .collect();
        let said = predict(&trained.model, &telemetry, &truth, &wanted)?;
        let protocol = Protocol {
            horizon_ms: Horizon::HOUR.millis(),
            gap_ms: 0,
            stride_ms: STRIDE_MS,
        };
        let (before, after) = (by_host(&trained.predictions), by_host(&said));
        let past = Incidents::new(&known);
        let (validation, judged) = (tracks(&before, &past, half), tracks(&after, &truth, to));
        for budget in BUDGETS {
            let done = evaluate(&judged, Some(&validation), None, protocol, budget, &truth.kinds, seed);
            let ledger = Ledger::new(&judged, done.threshold, protocol, &truth.kinds);
            report(seed, &done, &ledger);
            if budget == BUDGETS[0] {
                let (foretold, came, rows) = sure(&judged, protocol);
                notes.push(format!(
                    "fleet {seed}, {}: PR-AUC {:.3} (guessing {:.5}); of {rows} scores of 10 % and more {came} came true, {foretold:.0} were foretold: {:.2}; {:.0} s",
                    trained.model.name,
                    done.pr_auc,
                    done.base_rate,
                    came as f64 / foretold.max(1e-9),
                    started.elapsed().as_secs_f64()
                ));
            }
        }
    }
    println!("\n{}", notes.join("\n"));
    Ok(())
}
