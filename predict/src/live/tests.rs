use std::sync::atomic::{AtomicUsize, Ordering};

use store::{Samples, TimeRange};

use super::*;
use crate::telemetry::Memory;
use crate::testing::{Fleet, GRID, STEP_MS, fleet};
use crate::train::{TrainInput, train};

fn trained(fleet: &Fleet) -> Model {
    let range = TimeRange::millis(fleet.from, fleet.from + (fleet.to - fleet.from) * 3 / 4);
    let input = TrainInput {
        grid: GRID,
        stride_ms: 600_000,
        rows_max: 2_000,
        challenger: false,
        ..TrainInput::new(&fleet.telemetry, &fleet.incidents, range)
    };
    train(&input, &mut |_| ()).expect("training").model
}

fn scorer(fleet: &Fleet, model: Model) -> Scorer {
    let mut scorer = Scorer::new(Some(model), Horizon::HOUR);
    scorer.set_incidents(Incidents::new(&fleet.incidents));
    scorer
}

fn score<'a>(round: &'a Round, host: &str) -> &'a HostScore {
    round.scores.iter().find(|s| s.host == host).expect(host)
}

#[test]
fn live_scores_have_the_bits_of_the_backtest_and_the_cache_changes_none() {
    let fleet = fleet(5, 4, 21);
    let model = trained(&fleet);
    let mut warm = scorer(&fleet, model.clone());
    let incidents = Incidents::new(&fleet.incidents);
    for i in 0..12 {
        let now = fleet.from + 75 * 3_600_000 + i * 3 * STEP_MS + 17_000;
        let round = warm.round(&fleet.telemetry, now).expect("round");
        let fresh = scorer(&fleet, model.clone())
            .round(&fleet.telemetry, now)
            .expect("round");
        assert_eq!(
            format!("{round:?}"),
            format!("{fresh:?}"),
            "a warm round equals a fresh one"
        );
        for s in &round.scores {
            let row = crate::features::features_at(
                &fleet.telemetry,
                &model.features,
                &incidents,
                Horizon::HOUR,
                &s.host,
                now,
            )
            .expect("read")
            .expect("row");
            if let ScoreState::Scored(p) = s.state {
                assert_eq!(p.get().to_bits(), model.probability(&row).get().to_bits());
            }
        }
    }
}

/// Telemetry without its samples within `range`.
struct Without<'a> {
    telemetry: &'a Memory,
    range: TimeRange,
    told: bool,
}

impl Telemetry for Without<'_> {
    fn series(&self, range: TimeRange) -> Result<Vec<SeriesRef>, TelemetryError> {
        self.telemetry.series(range)
    }

    fn read(&self, id: SeriesId, range: TimeRange, out: &mut Samples) -> Result<(), TelemetryError> {
        let mut all = Samples::default();
        self.telemetry.read(id, range, &mut all)?;
        for (at, value) in all.iter().filter(|(at, _)| !self.range.contains(*at)) {
            out.push(at, value);
        }
        Ok(())
    }

    fn deleted_since(&self, _: u64) -> bool {
        self.told
    }
}

#[test]
fn what_is_deleted_counts_no_more() {
    let fleet = fleet(5, 4, 21);
    let model = trained(&fleet);
    let now = fleet.from + 75 * 3_600_000;
    let without = |told| Without {
        telemetry: &fleet.telemetry,
        range: TimeRange::millis(now - 3 * 3_600_000, now - 2 * 3_600_000),
        told,
    };
    let after = |told| {
        let mut warm = scorer(&fleet, model.clone());
        warm.round(&fleet.telemetry, now).expect("round");
        format!("{:?}", warm.round(&without(told), now + STEP_MS).expect("round"))
    };
    let fresh = scorer(&fleet, model.clone()).round(&without(true), now + STEP_MS);
    let fresh = format!("{:?}", fresh.expect("round"));
    assert_eq!(after(true), fresh);
    assert_ne!(after(false), fresh, "else this would show nothing");
}

#[test]
fn a_series_that_appears_counts_at_once_and_disturbs_no_other_host() {
    let fleet = fleet(4, 4, 29);
    let model = trained(&fleet);
    let now = fleet.from + 80 * 3_600_000;
    let mut warm = scorer(&fleet, model.clone());
    warm.round(&fleet.telemetry, now).expect("round");
    let mut later = fleet.telemetry.clone();
    let labels = [
        (store::METRIC_NAME, "system_filesystem_utilization_ratio"),
        ("host_name", "host-01"),
        ("system_filesystem_mountpoint", "/data"),
    ];
    let mut full = store::Samples::default();
    for i in 0..900 {
        full.push(now - i64::from(900 - i) * STEP_MS, 0.9);
    }
    later.push(store::Labels::from_pairs(labels), full);
    let round = warm.round(&later, now + STEP_MS).expect("round");
    let fresh = scorer(&fleet, model).round(&later, now + STEP_MS).expect("round");
    assert_eq!(format!("{round:?}"), format!("{fresh:?}"));
    let built = |host: &str| warm.cache[host].built_at;
    assert!(built("host-01") > built("host-00"), "the others keep what they had");
    assert_eq!(built("host-00"), built("host-03"));
}

#[test]
fn a_round_reads_nothing_later() {
    let fleet = fleet(4, 4, 22);
    let model = trained(&fleet);
    let now = fleet.from + 80 * 3_600_000 + 30_000;
    let round = scorer(&fleet, model.clone())
        .round(&fleet.telemetry, now)
        .expect("round");
    let mut later = Fleet {
        telemetry: fleet.telemetry.map(|_, t, v| Some(if t <= now { v } else { -v })),
        ..fleet
    };
    for incident in &mut later.incidents {
        if incident.start > now {
            incident.start += 1_000_000;
        }
    }
    let other = scorer(&later, model).round(&later.telemetry, now).expect("round");
    assert_eq!(format!("{round:?}"), format!("{other:?}"));
}

#[test]
fn a_leak_is_explained_by_memory_in_words_and_numbers() {
    let fleet = fleet(8, 6, 23);
    let model = trained(&fleet);
    let leaks: Vec<_> = fleet
        .incidents
        .iter()
        .filter(|i| i.kind == "host_oom" && i.start > model.trained_to + 3_600_000)
        .collect();
    assert!(!leaks.is_empty());
    let mut explained = 0;
    for leak in &leaks {
        let round = scorer(&fleet, model.clone())
            .round(&fleet.telemetry, leak.start - 900_000)
            .expect("round");
        let s = score(&round, &leak.host);
        let ScoreState::Scored(p) = s.state else {
            panic!("{:?}", s.state)
        };
        let Some(first) = s.signals.first() else {
            panic!("no signals at {p}")
        };
        if first.name == "memory" && p.get() > 0.1 {
            explained += 1;
            assert!(first.text.starts_with("memory in use "), "{}", first.text);
            assert!(
                first.text.contains("usually") && first.text.contains("peers"),
                "{}",
                first.text
            );
            assert!(first.since_ms < leak.start - 900_000 && first.since_ms > leak.start - 6 * 3_600_000);
            assert!(s.advice.contains("process"), "{}", s.advice);
            assert!(s.signals.len() <= 5);
        }
    }
    assert!(explained * 3 >= leaks.len() * 2, "{explained} of {}", leaks.len());
}

#[test]
fn a_host_that_the_model_does_not_know_is_learning() {
    let fleet = fleet(4, 4, 24);
    let mut model = trained(&fleet);
    model.hosts.retain(|h| h != "host-03");
    let round = scorer(&fleet, model.clone())
        .round(&fleet.telemetry, fleet.to - 3_600_000)
        .expect("round");
    assert!(matches!(score(&round, "host-00").state, ScoreState::Scored(_)));
    let ScoreState::Learning { have, need, what } = &score(&round, "host-03").state else {
        panic!()
    };
    assert!(
        have <= need && what.contains("hours of history"),
        "{have} {need} {what}"
    );
}

#[test]
fn without_a_model_hosts_learn_and_anomalies_show() {
    let fleet = fleet(3, 2, 25);
    let mut scorer = Scorer::new(None, Horizon::HOUR);
    scorer.set_grid(GRID);
    let early = scorer.round(&fleet.telemetry, fleet.from + 1_800_000).expect("round");
    let ScoreState::Learning { have, need, what } = &score(&early, "host-00").state else {
        panic!()
    };
    // The sample just before the start makes a block of its own.
    assert_eq!((*have, what.as_str()), (32, "minutes of history"));
    assert!(*need > 120);
    let late = scorer
        .round(&fleet.telemetry, fleet.from + 40 * 3_600_000)
        .expect("round");
    let ScoreState::Learning { have, need, what } = &score(&late, "host-00").state else {
        panic!()
    };
    assert_eq!((*have, *need, what.as_str()), (0, 6, "incidents to learn from"));
    scorer.set_incidents(Incidents::new(&fleet.incidents));
    if fleet.incidents.len() >= 6 {
        let state = &scorer
            .round(&fleet.telemetry, fleet.from + 40 * 3_600_000)
            .expect("round")
            .scores[0]
            .state;
        assert!(matches!(state, ScoreState::Abstained { why } if why.contains("foreshock train")));
    }
    let leak = fleet
        .incidents
        .iter()
        .find(|i| i.kind == "host_oom" && i.start > fleet.from + 10 * 3_600_000);
    if let Some(leak) = leak {
        let round = scorer.round(&fleet.telemetry, leak.start - 300_000).expect("round");
        let s = score(&round, &leak.host);
        assert!(s.signals.iter().any(|s| s.name == "memory"), "{:?}", s.signals);
    }
}

#[test]
fn a_silent_host_is_not_scored() {
    let fleet = fleet(4, 4, 26);
    let model = trained(&fleet);
    let now = fleet.to - 3_600_000;
    let silent = fleet
        .telemetry
        .map(|labels, t, v| (labels.get("host_name") != Some("host-01") || t < now - 2 * 3_600_000).then_some(v));
    let round = scorer(&fleet, model).round(&silent, now).expect("round");
    let ScoreState::Abstained { why } = &score(&round, "host-01").state else {
        panic!()
    };
    assert!(why.starts_with("no samples for 2 h"), "{why}");
}

#[test]
fn rules_speak_without_a_model() {
    let fleet = fleet(2, 2, 27);
    let now = fleet.from + 40 * 3_600_000;
    let hot = fleet.telemetry.map(|labels, t, v| {
        let gpu = labels.get("hw_id") == Some("GPU-1") && t > now - 1_200_000;
        Some(if gpu && labels.metric() == "hw_temperature_celsius" {
            94.0
        } else {
            v
        })
    });
    let mut scorer = Scorer::new(None, Horizon::HOUR);
    scorer.set_grid(GRID);
    let round = scorer.round(&hot, now).expect("round");
    let finding = &score(&round, "host-00").findings[0];
    assert_eq!(
        (finding.rule, finding.text.as_str()),
        ("gpu_hot", "a GPU is at 94 °C and slows down")
    );
    assert!((now - finding.since_ms - 1_200_000).abs() <= 2 * STEP_MS);
    let gone = fleet
        .telemetry
        .map(|labels, t, v| (labels.get("hw_id") != Some("GPU-1") || t < now - 600_000).then_some(v));
    let round = scorer.round(&gone, now).expect("round");
    assert!(
        round.scores[0]
            .findings
            .iter()
            .any(|f| f.rule == "device_gone" && f.text.starts_with("1 device stopped"))
    );
}

#[test]
fn an_empty_store_has_an_empty_round() {
    let round = Scorer::new(None, Horizon::HOUR)
        .round(&Memory::default(), 1_767_571_200_000)
        .expect("round");
    assert!(round.scores.is_empty() && round.forecasts.is_empty());
}

/// Telemetry that counts the samples that are read.
struct Counting<'a> {
    telemetry: &'a Memory,
    samples: AtomicUsize,
}

impl Telemetry for Counting<'_> {
    fn series(&self, range: TimeRange) -> Result<Vec<SeriesRef>, TelemetryError> {
        self.telemetry.series(range)
    }

    fn read(&self, id: SeriesId, range: TimeRange, out: &mut Samples) -> Result<(), TelemetryError> {
        let before = out.len();
        self.telemetry.read(id, range, out)?;
        self.samples.fetch_add(out.len() - before, Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn a_round_reads_of_the_past_only_what_may_have_come_late() {
    let small = fleet(2, 2, 28);
    // A hundred hosts out of two, which costs no time to make.
    let mut telemetry = Memory::default();
    for copy in 0..50 {
        telemetry.join(small.telemetry.renamed(&format!("-{copy}")));
    }
    let telemetry = Counting {
        telemetry: &telemetry,
        samples: AtomicUsize::new(0),
    };
    let mut scorer = Scorer::new(None, Horizon::HOUR);
    scorer.set_grid(GRID);
    let now = small.from + 40 * 3_600_000;
    let mut round = |now| {
        assert_eq!(scorer.round(&telemetry, now).expect("round").scores.len(), 100);
        telemetry.samples.swap(0, Ordering::Relaxed)
    };
    let (first, warm) = (round(now), round(now + STEP_MS));
    // Of each of the eight series of a host, a sample a block: the newest one, those that may have come late, and what a counter's
    // first increase is measured from, five blocks. The forecasts of memory and of the file system look at the last six hours.
    let series = 8 * (1 + OVERLAP_BLOCKS + 5 + 1);
    let lines = 2 * (6 * 3_600_000 / STEP_MS + 1);
    let most = 100 * usize::try_from(series + lines).expect("a number of samples");
    assert!(warm > 0 && warm <= most, "{warm} samples, {most} at most");
    assert!(first > 5 * warm, "{first} samples at first, {warm} then");
}
