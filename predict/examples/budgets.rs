//! What paging budgets are worth on a fleet that fails as rarely as a real one: simulated, half of its time to learn from,
//! half to be judged by.
//!
//! ```text
//! budgets [SEED]...        (default: 101)
//! ```
//! 260 hosts over 40 days: 5,200 host-days and about 26 failures in each half, near misses as often against failures as in
//! the simulator's default. For each fleet and budget prints false alarms against the budget, precision, warnings against
//! chance and their lead, and, for scores of 10 % and more, how many came true against how many were foretold.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::time::Instant;

use foreshock_predict::evaluate::{Evaluation, Ledger, Protocol, Track, evaluate};
use foreshock_predict::incident::{Incident, Source, Verdict};
use foreshock_predict::telemetry::Memory;
use foreshock_predict::train::{Predictions, predict};
use foreshock_predict::{Grid, Horizon, Incidents, TrainInput, train};
use simulate::{Fleet, FleetOptions};
use store::{Labels, METRIC_NAME, Samples, TimeRange};
use wire::metric::Kind;
use wire::otlp::read::{Data, request};
use wire::prometheus_name;

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

/// The fleet's requests as the endpoint would store them.
fn telemetry(fleet: &Fleet) -> Result<Memory, Box<dyn Error>> {
    let mut series: Vec<(Labels, Samples)> = Vec::new();
    let mut known: HashMap<Vec<u8>, usize> = HashMap::new();
    // Points of one series stand together, so most of them need no look-up.
    let (mut here, mut last, mut at) = (Vec::new(), Vec::new(), 0);
    let mut scratch = String::new();
    for one in fleet.requests(fleet.span(), 1_000_000) {
        for resource in request(&one.body) {
            let resource = resource?;
            let mut host = String::new();
            for attribute in &resource.resource {
                let (key, value) = attribute?;
                if key == "host.name" {
                    value.text(&mut scratch)?.clone_into(&mut host);
                }
            }
            for scope in resource.scopes() {
                for metric in scope?.metrics() {
                    let metric = metric?;
                    let (points, kind) = match metric.data {
                        Some(Data::Gauge(points)) => (points, Kind::Gauge),
                        Some(Data::Sum {
                            points,
                            monotonic: true,
                            ..
                        }) => (points, Kind::Counter),
                        Some(Data::Sum { points, .. }) => (points, Kind::UpDownCounter),
                        _ => continue,
                    };
                    for point in points.numbers() {
                        let point = point?;
                        here.clear();
                        for part in [host.as_bytes(), metric.name.as_bytes()] {
                            here.extend_from_slice(part);
                            here.push(0);
                        }
                        for raw in point.attributes.raw() {
                            here.extend_from_slice(raw?);
                        }
                        if here != last {
                            at = match known.get(&here) {
                                Some(known) => *known,
                                None => {
                                    let name = prometheus_name(metric.name, metric.unit, kind);
                                    let mut pairs =
                                        vec![(METRIC_NAME.to_owned(), name), ("host_name".to_owned(), host.clone())];
                                    for attribute in &point.attributes {
                                        let (key, value) = attribute?;
                                        pairs.push((key.replace('.', "_"), value.text(&mut scratch)?.to_owned()));
                                    }
                                    let labels =
                                        Labels::from_pairs(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())));
                                    series.push((labels, Samples::default()));
                                    known.insert(here.clone(), series.len() - 1);
                                    series.len() - 1
                                }
                            };
                            last.clone_from(&here);
                        }
                        if let Some(value) = point.value {
                            series[at].1.push((point.time_unix_nano / 1_000_000) as i64, value);
                        }
                    }
                }
            }
        }
    }
    let mut memory = Memory::default();
    for (labels, samples) in series {
        memory.push(labels, samples);
    }
    Ok(memory)
}

fn incidents(fleet: &Fleet) -> Vec<Incident> {
    let one = |(i, incident): (usize, &simulate::SimIncident)| Incident {
        id: i.to_string(),
        host: incident.host.clone(),
        device: incident.device.clone(),
        start: incident.start_ms,
        end: Some(incident.end_ms),
        kind: incident.kind.to_string(),
        source: Source::Simulated,
        verdict: Verdict::Real,
        summary: String::new(),
    };
    fleet.incidents().iter().enumerate().map(one).collect()
}

/// Scores by host, in order of time.
fn by_host(predictions: &Predictions) -> BTreeMap<&str, (Vec<i64>, Vec<f64>)> {
    let mut scores: BTreeMap<&str, (Vec<i64>, Vec<f64>)> = BTreeMap::new();
    for ((host, at), p) in predictions
        .host
        .iter()
        .zip(&predictions.at)
        .zip(&predictions.probability)
    {
        let (times, ps) = scores.entry(host).or_default();
        times.push(*at);
        ps.push(*p);
    }
    scores
}

fn tracks<'a>(
    scores: &'a BTreeMap<&'a str, (Vec<i64>, Vec<f64>)>,
    incidents: &'a Incidents,
    to: i64,
) -> Vec<Track<'a>> {
    let track = |(host, (at, probability)): (&&'a str, &'a (Vec<i64>, Vec<f64>))| Track {
        host,
        from: at.first().copied().unwrap_or(to),
        to,
        incidents: incidents.of(host),
        at,
        probability,
    };
    scores.iter().map(track).collect()
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
        // What began later is not known yet, and what lasts longer has no end yet.
        let mut known: Vec<Incident> = all.iter().filter(|i| i.start < half).cloned().collect();
        for incident in &mut known {
            incident.end = incident.end.filter(|end| *end <= half);
        }
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
