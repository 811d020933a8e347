//! What the first model of a small fleet is worth: simulated fleets as those of `foreshock demo`, ten days to learn from,
//! the days after them to be judged by.
//!
//! ```text
//! fleets [--days DAYS] [SEED]...        (default: 10 days to learn from, seeds 201 to 206)
//! ```
//! For each fleet prints which family is in charge, how many incidents were warned of beside what chance would have warned of,
//! how many of those that had signs, how long before, false alarms, and how many of the incidents' first alarms came before
//! the failure; last the medians over the fleets. 24 hosts with two GPUs each, four days to be judged by, budget 0.5.

mod fleet;

use std::error::Error;

use fleet::{by_host, incidents, known, telemetry, tracks};
use foreshock_predict::evaluate::{IncidentEntry, Ledger, Protocol, evaluate};
use foreshock_predict::train::predict;
use foreshock_predict::{Horizon, Incidents, TrainInput, train};
use simulate::{Fleet, FleetOptions};
use store::TimeRange;

const DAY_MS: f64 = 86_400_000.0;
const STRIDE_MS: i64 = 300_000;
/// Days to be judged by.
const JUDGED_DAYS: f64 = 4.0;

#[expect(clippy::print_stdout, reason = "the figures are what was asked for")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut days = 10.0;
    let mut seeds: Vec<u64> = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--days" => days = arguments.next().ok_or("--days needs a number")?.parse()?,
            seed => seeds.push(seed.parse()?),
        }
    }
    if seeds.is_empty() {
        seeds = (201..=206).collect();
    }
    println!(
        "| fleet | in charge | learned from | warned (chance) | of those with signs | median lead, min | false alarms a host-day | first alarm before / during / never | PR-AUC (guessing) | Brier skill |\n|---|---|---|---|---|---|---|---|---|---|"
    );
    let mut columns: Vec<Vec<f64>> = vec![Vec::new(); 7];
    for seed in seeds {
        let fleet = Fleet::new(FleetOptions {
            seed,
            days: days + JUDGED_DAYS,
            ..FleetOptions::default()
        })?;
        let telemetry = telemetry(&fleet)?;
        let all = incidents(&fleet);
        let (from, to) = (*fleet.span().start(), *fleet.span().end());
        let now = from + (days * DAY_MS) as i64 / STRIDE_MS * STRIDE_MS;
        let known = known(&all, now);
        let input = TrainInput {
            seed,
            ..TrainInput::new(&telemetry, &known, TimeRange::millis(from, now))
        };
        let trained = train(&input, &mut |_| ())?;
        let truth = Incidents::new(&all);
        let wanted: Vec<(String, Vec<i64>)> = fleet
            .hosts()
            .map(|host| (host.to_owned(), (now..to).step_by(STRIDE_MS as usize).collect()))
            .collect();
        let said = predict(&trained.model, &telemetry, &truth, &wanted)?;
        let protocol = Protocol {
            horizon_ms: Horizon::HOUR.millis(),
            gap_ms: 0,
            stride_ms: STRIDE_MS,
        };
        let scores = by_host(&said);
        let judged = tracks(&scores, &truth, to);
        let threshold = Some(trained.model.threshold);
        let done = evaluate(&judged, None, threshold, protocol, input.budget, &truth.kinds, seed);
        let ledger = Ledger::new(&judged, done.threshold, protocol, &truth.kinds);
        let signs = |entry: &&IncidentEntry| {
            fleet
                .incidents()
                .iter()
                .any(|i| i.host == entry.host && i.start_ms == entry.start && i.foreseeable)
        };
        let with_signs: Vec<&IncidentEntry> = ledger.incidents.iter().filter(signs).collect();
        let seen_coming = with_signs.iter().filter(|entry| entry.lead_ms.is_some()).count();
        let lead = done.median_lead_minutes().unwrap_or(f64::NAN);
        println!(
            "| {seed} | {} | {} | {} of {} ({:.1}) | {seen_coming} of {} | {lead:.0} | {:.2} | {} / {} / {} | {:.3} ({:.3}) | {:.2} |",
            trained.model.family().name(),
            known.len(),
            done.warned,
            done.incidents,
            done.chance_warned,
            with_signs.len(),
            done.false_alarm_rate(),
            done.warned,
            done.detected_only,
            done.missed,
            done.pr_auc,
            done.base_rate,
            done.brier_skill,
        );
        let shares = [
            done.early_recall(),
            seen_coming as f64 / with_signs.len().max(1) as f64,
            lead,
            done.false_alarm_rate(),
            done.warned as f64 / (done.warned + done.detected_only).max(1) as f64,
            done.pr_auc,
            done.brier_skill,
        ];
        for (column, value) in columns.iter_mut().zip(shares) {
            column.push(value);
        }
    }
    let medians: Vec<String> = columns
        .into_iter()
        .map(|column| format!("{:.3}", median(column)))
        .collect();
    println!(
        "\nmedians: warned of {}, of those with signs {}, lead {} min, false alarms a host-day {}, first alarm before the failure {}, PR-AUC {}, Brier skill {}",
        medians[0], medians[1], medians[2], medians[3], medians[4], medians[5], medians[6]
    );
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.retain(|v| !v.is_nan());
    values.sort_by(f64::total_cmp);
    let n = values.len();
    if n == 0 {
        return f64::NAN;
    }
    (values[(n - 1) / 2] + values[n / 2]) / 2.0
}
