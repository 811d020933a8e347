//! What a scoring round costs: a made-up fleet, a model that was trained on some of its hosts, and rounds a minute apart.
//!
//! ```text
//! round [HOSTS]...        (default: 1000 10000)
//! ```
//! Prints, for each size, CPU seconds of the first round, which reads a day of history, the median of the later ones, and the
//! memory that the scorer keeps for each series. Samples are computed when they are read, so they take no memory.

mod measure;

use std::error::Error;
use std::process::Command;

use foreshock_predict::incident::{Incident, Source, Verdict};
use foreshock_predict::telemetry::{SeriesRef, TelemetryError};
use foreshock_predict::{Horizon, Incidents, Model, ScoreState, Scorer, Telemetry, TrainInput, train};
use measure::cpu;
use store::{Labels, METRIC_NAME, Samples, SeriesId, TimeRange};

const MINUTE: i64 = 60_000;
const DAY: i64 = 1_440 * MINUTE;
/// Series of a host, every fourth one a counter.
const SERIES: u32 = 60;
/// Hosts and days that the model learns from.
const TAUGHT: (u32, i64) = (12, 4);
/// Rounds after the first.
const ROUNDS: i64 = 5;

/// A fleet whose samples are functions of series and time.
struct Fleet {
    series: Vec<SeriesRef>,
}

impl Fleet {
    fn new(hosts: u32) -> Self {
        let of_host = |host: u32| {
            (0..SERIES).map(move |k| {
                let metric = format!("m{k:02}{}", if counts(k) { "_total" } else { "" });
                SeriesRef {
                    id: SeriesId(host * SERIES + k),
                    labels: Labels::from_pairs([(METRIC_NAME, metric.as_str()), ("host", &name(host))]),
                }
            })
        };
        Self {
            series: (0..hosts).flat_map(of_host).collect(),
        }
    }
}

fn counts(series: u32) -> bool {
    series % 4 == 3
}

fn name(host: u32) -> String {
    format!("host-{host:05}")
}

/// Minutes until the host fails next: once a day, at an hour of its own.
fn minutes_left(host: u32, at: i64) -> i64 {
    let start = i64::from(host) * 97 % 1_440;
    (start - at / MINUTE).rem_euclid(1_440)
}

/// A number from 0 to 1 that looks random (the finaliser of SplitMix64).
fn noise(seed: u64) -> f64 {
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) as f64 / u64::MAX as f64
}

impl Telemetry for Fleet {
    fn series(&self, _range: TimeRange) -> Result<Vec<SeriesRef>, TelemetryError> {
        Ok(self.series.clone())
    }

    fn read(&self, id: SeriesId, range: TimeRange, out: &mut Samples) -> Result<(), TelemetryError> {
        let (host, series) = (id.0 / SERIES, id.0 % SERIES);
        let first = range.start.0 + (MINUTE - 1) - (range.start.0 + MINUTE - 1).rem_euclid(MINUTE);
        for t in (first..=range.end.0).step_by(MINUTE as usize) {
            let minute = (t / MINUTE) as f64;
            // A few series show over the last hour what is coming.
            let sign = if series < 4 {
                (60 - minutes_left(host, t).min(60)) as f64 / 10.0
            } else {
                0.0
            };
            let noise = noise((u64::from(id.0) << 32) ^ (t / MINUTE) as u64);
            out.push(
                t,
                if counts(series) {
                    minute * 50.0 + noise
                } else {
                    20.0 + noise + sign
                },
            );
        }
        Ok(())
    }
}

fn incidents(to: i64) -> Vec<Incident> {
    (0..TAUGHT.0)
        .flat_map(|host| (0..TAUGHT.1).map(move |day| (host, day)))
        .map(|(host, day)| {
            let start = to - (day + 1) * DAY;
            let start = start + minutes_left(host, start) * MINUTE;
            Incident {
                id: format!("{host}-{day}"),
                host: name(host),
                device: None,
                start,
                end: Some(start + 10 * MINUTE),
                kind: "made up".to_owned(),
                source: Source::Simulated,
                verdict: Verdict::Real,
                summary: String::new(),
            }
        })
        .collect()
}

fn taught(incidents: &[Incident], to: i64) -> Result<Model, Box<dyn Error>> {
    let fleet = Fleet::new(TAUGHT.0);
    let input = TrainInput {
        challenger: false,
        ..TrainInput::new(&fleet, incidents, TimeRange::millis(to - TAUGHT.1 * DAY, to))
    };
    Ok(train(&input, &mut |_| ())?.model)
}

/// Memory of this process that is in use, in bytes.
fn resident() -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kilobytes: f64 = line.unwrap_or("0").trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1_024.0)
}

/// Plays rounds over `hosts` hosts and prints a line of the table.
#[expect(clippy::print_stdout, reason = "the figures are what was asked for")]
fn play(mut model: Model, hosts: u32, now: i64) -> Result<(), Box<dyn Error>> {
    let fleet = Fleet::new(hosts);
    let before = resident()?;
    model.hosts = (0..hosts).map(name).collect();
    let mut scorer = Scorer::new(Some(model), Horizon::HOUR);
    scorer.set_incidents(Incidents::new(&incidents(now)));
    let mut costs = Vec::new();
    let mut scored = 0;
    for minute in 0..=ROUNDS {
        let started = cpu()?;
        let round = scorer.round(&fleet, now + minute * MINUTE)?;
        costs.push((cpu()? - started).as_secs_f64());
        scored = round
            .scores
            .iter()
            .filter(|s| matches!(s.state, ScoreState::Scored(_)))
            .count();
    }
    let kept = (resident()? - before) / f64::from(hosts * SERIES) / 1_000.0;
    let first = costs.remove(0);
    costs.sort_by(f64::total_cmp);
    println!(
        "| {hosts} | {first:.2} | {:.2} | {scored} | {kept:.2} |",
        costs[costs.len() / 2]
    );
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the figures are what was asked for")]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let now = 1_767_600_000_000;
    if let [flag, path, hosts] = arguments.as_slice()
        && flag == "--model"
    {
        return play(Model::from_json(&std::fs::read_to_string(path)?)?, hosts.parse()?, now);
    }
    let mut sizes: Vec<u32> = arguments.iter().map(|a| a.parse()).collect::<Result<_, _>>()?;
    if sizes.is_empty() {
        sizes = vec![1_000, 10_000];
    }
    let model = taught(&incidents(now), now)?;
    println!(
        "{}, {} features of {SERIES} series a host\n\n| hosts | first round, CPU s | round, CPU s | scored | kB a series |\n|---|---|---|---|---|",
        model.name,
        model.features.len()
    );
    // A process of its own for each size, or what training has left in this one would hide what a scorer keeps.
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), model.to_json()?)?;
    for hosts in sizes {
        let status = Command::new(std::env::current_exe()?)
            .arg("--model")
            .arg(file.path())
            .arg(hosts.to_string())
            .status()?;
        if !status.success() {
            return Err(format!("{hosts} hosts: {status}").into());
        }
    }
    Ok(())
}
