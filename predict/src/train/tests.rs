use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use store::TimeRange;

use super::*;
use crate::incident::Incidents;
use crate::testing::{Fleet, GRID, fleet};

fn input(fleet: &Fleet) -> TrainInput<'_> {
    TrainInput {
        grid: GRID,
        stride_ms: 600_000,
        rows_max: 2_000,
        challenger: false,
        ..TrainInput::new(
            &fleet.telemetry,
            &fleet.incidents,
            TimeRange::millis(fleet.from, fleet.to),
        )
    }
}

fn run(input: &TrainInput<'_>) -> Result<Trained, TrainError> {
    train(input, &mut |_| ())
}

#[test]
fn leaks_are_warned_of_and_sudden_failures_are_called_unforeseeable() {
    let fleet = fleet(8, 5, 1);
    let trained = run(&TrainInput {
        challenger: true,
        ..input(&fleet)
    })
    .expect("training");
    let e = &trained.evaluation;
    assert!(e.incidents >= 5, "{e}");
    assert!(e.pr_auc > 8.0 * e.base_rate, "{e}");
    let kind = |name: &str| e.by_kind.iter().find(|k| k.kind == name).expect(name);
    assert!(kind("host_oom").warned * 3 >= kind("host_oom").incidents * 2, "{e}");
    assert!(kind("sudden").unforeseeable, "{e}");
    assert!(e.warned as f64 > e.chance_warned + 1.0, "{e}");
    assert!(e.warns());
    let (challenger, judged) = trained.challenger.expect("a challenger");
    assert_ne!(challenger.family(), trained.model.family());
    assert!(judged.pr_auc > 3.0 * judged.base_rate, "{judged}");
}

#[test]
fn the_same_seed_gives_the_same_model_and_a_reloaded_model_the_same_bits() {
    let fleet = fleet(4, 4, 2);
    let input = TrainInput {
        challenger: true,
        ..input(&fleet)
    };
    let (a, b) = (run(&input).expect("training"), run(&input).expect("training"));
    assert!(
        a.model.to_json().expect("json") == b.model.to_json().expect("json"),
        "the same model"
    );
    let incidents = Incidents::new(&fleet.incidents);
    for model in [a.model, a.challenger.expect("challenger").0] {
        let again = Model::from_json(&model.to_json().expect("json")).expect("a model");
        for hour in [30, 50, 70] {
            let at = fleet.from + hour * 3_600_000;
            let row = crate::features::features_at(
                &fleet.telemetry,
                &model.features,
                &incidents,
                Horizon::HOUR,
                "host-00",
                at,
            )
            .expect("read")
            .expect("row");
            assert_eq!(
                model.probability(&row).get().to_bits(),
                again.probability(&row).get().to_bits()
            );
        }
    }
}

/// Thousands of rows, of which 200 may be learned from. Nothing fails in the oldest quarter as far as anybody knows, so that
/// failures count as rare.
fn draw_near(fleet: &mut Fleet) -> TrainInput<'_> {
    let known_from = fleet.from + 36 * 3_600_000;
    fleet.incidents.retain(|i| i.start >= known_from);
    TrainInput {
        rows_max: 200,
        ..input(fleet)
    }
}

#[test]
fn shuffled_outcomes_score_like_chance() {
    let mut worst: f64 = 0.0;
    for (seed, near) in [(0, false), (1, false), (1, true)] {
        let mut fleet = fleet(6, 4, 3);
        // The same incidents at times and hosts that have nothing to do with the samples.
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut hosts: Vec<String> = fleet.incidents.iter().map(|i| i.host.clone()).collect();
        hosts.shuffle(&mut random);
        let span = fleet.to - fleet.from;
        for (i, (incident, host)) in fleet.incidents.iter_mut().zip(hosts).enumerate() {
            let length = incident.end.map_or(0, |e| e - incident.start);
            // A step that has no common measure with days spreads them evenly.
            incident.start = fleet.from + (incident.start - fleet.from + (i as i64 + 1) * 97_000_013) % span;
            incident.end = Some(incident.start + length);
            incident.host = host;
        }
        let asked = if near { draw_near(&mut fleet) } else { input(&fleet) };
        let trained = run(&asked).expect("training");
        assert!(trained.model.under_way.is_none(), "nothing can be detected");
        let e = trained.evaluation;
        worst = worst.max(e.pr_auc / e.base_rate);
        assert!((e.warned as f64) <= e.chance_warned + 3.0, "{e}");
    }
    assert!(worst < 4.0, "PR-AUC of {worst} times the base rate out of nothing");
}

/// Hosts on which something goes wrong for hours, of which a short jump at its start is all that is to be seen.
fn sudden() -> Fleet {
    use store::{Labels, METRIC_NAME, Samples};
    const MINUTE: i64 = 60_000;
    const LENGTH: i64 = 480 * MINUTE;
    let mut fleet = Fleet {
        telemetry: crate::telemetry::Memory::default(),
        incidents: Vec::new(),
        ..fleet(1, 5, 1)
    };
    for host in 0..6 {
        let name = format!("host-{host:02}");
        let mut random = Xoshiro256PlusPlus::seed_from_u64(host);
        // Anywhere in each sixth of the time but the first, so that neither the clock nor the one before tells when.
        let part = (fleet.to - fleet.from) / 6;
        let starts: Vec<i64> = (1..6)
            .map(|k| fleet.from + k * part + random.random_range(0..part - LENGTH))
            .collect();
        for start in &starts {
            let (id, span) = (format!("{name}-{start}"), *start..start + LENGTH);
            let source = crate::incident::Source::Declared;
            let incident = crate::incident::Incident::past(id, &name, "stuck", span, source);
            fleet.incidents.push(incident);
        }
        for metric in ["system_memory_utilization_ratio", "system_cpu_utilization_ratio"] {
            let pairs = [(METRIC_NAME, metric), ("host_name", name.as_str())];
            let mut samples = Samples::default();
            for t in (fleet.from..fleet.to).step_by(crate::testing::STEP_MS as usize) {
                let jumps = starts.iter().any(|s| (*s..s + 14 * MINUTE).contains(&t));
                let usual = 0.4 + 0.05 * random.random::<f64>();
                samples.push(t - 1_500, if jumps { usual + 0.4 } else { usual });
            }
            fleet.telemetry.push(Labels::from_pairs(pairs), samples);
        }
    }
    fleet
}

#[test]
fn what_cannot_be_foreseen_is_detected() {
    let fleet = sudden();
    let trained = run(&input(&fleet)).expect("training");
    let e = &trained.evaluation;
    assert!(!e.warns(), "{e}");
    assert!(e.to_string().contains("use this model for detection only"), "{e}");
    assert!(e.detects(), "{e}");
    assert!(e.detected_only * 3 >= e.incidents * 2, "{e}");
}

#[test]
fn detection_never_repeats_what_was_declared() {
    let fleet = fleet(6, 4, 6);
    let model = run(&input(&fleet)).expect("training").model;
    let under_way = model.under_way.expect("a head");
    let history = model.features.history_range();
    let row = vec![0.0_f32; model.features.len()];
    let says = |value: f64| {
        let mut standard = vec![0.0; row.len()];
        standard[history.clone()].fill(value);
        let mut row = row.clone();
        row[history.clone()].fill(value as f32);
        under_way.estimator.raw(crate::model::Input {
            row: &row,
            standard: &standard,
        })
    };
    assert_eq!(says(0.0).to_bits(), says(3.0).to_bits());
}

#[test]
fn what_is_missing_is_said() {
    let fleet = fleet(3, 2, 4);
    let none = TrainInput {
        incidents: &[],
        ..input(&fleet)
    };
    let error = run(&none).expect_err("no incidents");
    assert_eq!(error.to_string(), "0 incidents are too few to learn from, 6 are needed");
    assert!(error.hint().contains("declare or import"));
    let short = TrainInput {
        range: TimeRange::millis(fleet.from, fleet.from + 3_600_000),
        ..input(&fleet)
    };
    assert!(matches!(run(&short), Err(TrainError::TooShort { .. })));
    let empty = crate::telemetry::Memory::default();
    let empty = TrainInput {
        telemetry: &empty,
        ..input(&fleet)
    };
    assert!(matches!(run(&empty), Err(TrainError::NoSamples { .. })));
}

#[test]
fn damaged_and_future_models_are_refused_in_words() {
    let fleet = fleet(4, 4, 5);
    let model = run(&input(&fleet)).expect("training").model;
    let json = model.to_json().expect("json");
    let future = json.replacen("\"format\":4", "\"format\":99", 1);
    let error = Model::from_json(&future).expect_err("future");
    assert_eq!(error.to_string(), "the model has format 99, this program reads up to 4");
    assert!(matches!(
        Model::from_json(&json[..json.len() / 2]),
        Err(crate::model::ModelError::Corrupt { .. })
    ));
    assert!(matches!(
        Model::from_json("{}"),
        Err(crate::model::ModelError::Corrupt { .. })
    ));
    let mut lost = model;
    lost.features.columns.pop();
    let error = Model::from_json(&lost.to_json().expect("json")).expect_err("unsound");
    assert!(matches!(error, crate::model::ModelError::Unsound { .. }), "{error}");
}

#[test]
fn a_host_counts_while_it_is_there() {
    let fleet = fleet(4, 4, 7);
    let day = 24 * 3_600_000;
    // One comes on the third day, one goes after the second, one reports nothing any more when it has failed.
    let (came, went) = (fleet.from + 2 * day, fleet.from + 2 * day);
    let of = |i: &&Incident| i.host == "host-02" && i.start > fleet.from + day;
    let failed = fleet.incidents.iter().find(of).expect("an incident").start;
    let changed = fleet.telemetry.map(|labels, t, value| {
        let is_there = match labels.get("host_name") {
            Some("host-00") => t >= came,
            Some("host-01") => t < went,
            Some("host-02") => t < failed,
            _ => true,
        };
        is_there.then_some(value)
    });
    // Nothing is told of a host that is gone.
    let of_gone = |i: &Incident| match i.host.as_str() {
        "host-01" => i.start >= went,
        "host-02" => i.start > failed,
        _ => false,
    };
    let told: Vec<Incident> = fleet.incidents.iter().filter(|i| !of_gone(i)).cloned().collect();
    let incidents = Incidents::new(&told);
    let input = TrainInput {
        telemetry: &changed,
        ..input(&fleet)
    };
    let set = FeatureSet::discover(input.telemetry, input.range, input.grid).expect("read");
    let labelled = label_all(&input, &set, &incidents).expect("labels");
    let [late, early, dead, always] = &labelled[..] else {
        panic!("{labelled:?}")
    };
    let hour = Horizon::HOUR.millis();
    assert_eq!(always.to, fleet.to);
    assert!(always.from > fleet.from && always.blocks == (always.from..always.to));
    let warm_up = always.from - fleet.from;
    assert!((late.from - came - warm_up).abs() <= input.stride_ms, "{late:?}");
    assert_eq!((late.to, &late.blocks), (fleet.to, &always.blocks));
    assert_eq!(early.from, always.from);
    assert!((went..=went + hour).contains(&early.to), "{early:?}");
    assert!(
        dead.to > failed && dead.to <= failed + hour,
        "what it failed of is judged: {dead:?}"
    );

    // A block of time is the same for all, and nobody is judged where he was not.
    let trained = run(&TrainInput {
        incidents: &told,
        ..input
    });
    let trained = trained.expect("training");
    let judged: Vec<&str> = trained.ledger.hosts.iter().map(|h| h.host.as_str()).collect();
    assert_eq!(judged, ["host-00", "host-03"]);
    assert!(trained.evaluation.from >= always.block_start(&SHARES, 3));
    let newest = (always.to - always.block_start(&SHARES, 3)) as f64 / day as f64;
    assert!(
        trained.evaluation.host_days <= 2.0 * newest + 0.1,
        "{}",
        trained.evaluation.host_days
    );
}

#[test]
fn hosts_that_never_stay_long_enough_are_too_short_a_history() {
    let fleet = fleet(3, 2, 8);
    let brief = fleet
        .telemetry
        .map(|_, t, value| (t > fleet.to - 3_600_000).then_some(value));
    let brief = TrainInput {
        telemetry: &brief,
        ..input(&fleet)
    };
    assert!(matches!(run(&brief), Err(TrainError::TooShort { have_hours, .. }) if have_hours <= 1.0));
}

#[test]
fn a_host_of_two_stretches_is_judged_on_both() {
    let fleet = fleet(8, 6, 1);
    let day = 24 * 3_600_000;
    let middle = fleet.from + 3 * day;
    let mut stretches = Vec::new();
    for host in 0..8 {
        let host = format!("host-{host:02}");
        stretches.push(Labelled::new(host.clone(), fleet.from + day / 2, middle));
        stretches.push(Labelled::new(host, middle, fleet.to));
    }
    let two = TrainInput {
        labelled: stretches,
        ..input(&fleet)
    };
    let ledger = run(&two).expect("training").ledger;
    let alarms = |is_later: bool| ledger.alarms.iter().filter(|a| (a.at >= middle) == is_later).count();
    assert!(alarms(false) > 0 && alarms(true) > 0, "{:?}", ledger.alarms);
}
