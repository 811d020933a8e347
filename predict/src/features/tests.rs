use store::TimeRange;

use super::*;
use crate::incident::{Incident, Verdict};
use crate::telemetry::Memory;
use crate::testing::{Fleet, GRID, STEP_MS, fleet};

fn set_of(fleet: &Fleet) -> FeatureSet {
    let range = TimeRange::millis(fleet.from, fleet.to);
    let mut set = FeatureSet::discover(&fleet.telemetry, range, GRID).expect("set");
    set.typical = learn_typical(&fleet.telemetry, &set, range).expect("typical");
    set
}

fn bits(row: &[f32]) -> Vec<u32> {
    row.iter().map(|v| v.to_bits()).collect()
}

fn row_at(telemetry: &Memory, set: &FeatureSet, incidents: &[Incident], at: i64) -> Vec<u32> {
    let incidents = Incidents::new(incidents);
    bits(
        &features_at(telemetry, set, &incidents, Horizon::HOUR, "host-01", at)
            .expect("read")
            .expect("a row"),
    )
}

#[test]
fn every_feature_has_a_name_an_origin_and_a_value() {
    let fleet = fleet(2, 2, 1);
    let set = set_of(&fleet);
    let names = set.names();
    assert_eq!(names.len(), set.len());
    assert_eq!(set.origins().len(), set.len());
    assert_eq!(names[set.anomaly_index()], "all:z1_mean");
    assert_eq!(names[set.silence_index()], "structure:missing_middle");
    let mut unique = names.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), names.len(), "names are unique");
    for expected in [
        "memory:ttl",
        "memory:level",
        "gpu_temperature.peer:z1",
        "gpu_ecc_corrected.worst:count2",
        "queue_depth:z",
    ] {
        assert!(names.iter().any(|n| n == expected), "{expected} is missing");
    }
    assert!(
        !names.iter().any(|n| n == "queue_depth:level"),
        "plain values of unbounded metrics are no features"
    );
    let row = row_at(&fleet.telemetry, &set, &fleet.incidents, fleet.to - 3_600_000);
    let known = row.iter().filter(|b| !f32::from_bits(**b).is_nan()).count();
    assert!(known as f64 > 0.9 * row.len() as f64, "{known} of {}", row.len());
}

#[test]
fn a_set_from_before_lacks_what_kinds_of_failure_share_and_has_the_rest() {
    let fleet = fleet(2, 2, 1);
    let set = set_of(&fleet);
    let mut stored = serde_json::to_value(&set).expect("json");
    stored.as_object_mut().expect("an object").remove("pooled");
    let old: FeatureSet = serde_json::from_value(stored).expect("a set");
    let (pooled, together) = set.shared();
    assert_eq!(together.end, set.history_range().start);
    let rest = |i: &usize| !set.names()[*i].starts_with("pooled:");
    let kept: Vec<usize> = (0..set.len()).filter(rest).collect();
    assert_eq!(
        old.names(),
        kept.iter().map(|i| set.names()[*i].clone()).collect::<Vec<_>>()
    );
    assert!(old.shared().0.is_empty());
    assert_eq!(old.origins().len(), old.len());
    assert!(set.names()[pooled.start].starts_with("pooled:limit"));
    let at = fleet.to - 3_600_000;
    let row = row_at(&fleet.telemetry, &set, &fleet.incidents, at);
    let without: Vec<u32> = kept.iter().map(|i| row[*i]).collect();
    assert_eq!(without, row_at(&fleet.telemetry, &old, &fleet.incidents, at));
}

#[test]
fn nothing_after_t_is_read() {
    let fleet = fleet(2, 2, 3);
    let set = set_of(&fleet);
    // Between two ends of blocks, where a careless window would reach ahead.
    for at in [fleet.from + 30 * 3_600_000 + 61_000, fleet.from + 41 * 3_600_000] {
        let before = row_at(&fleet.telemetry, &set, &fleet.incidents, at);
        let changed = fleet
            .telemetry
            .map(|_, t, v| (t <= at).then_some(v).or(Some(v * 7.0 + 3.0)));
        let gone = fleet.telemetry.map(|_, t, v| (t <= at).then_some(v));
        let mut incidents: Vec<Incident> = fleet.incidents.iter().filter(|i| i.start <= at).cloned().collect();
        for incident in &mut incidents {
            if incident.end.is_some_and(|end| end > at) {
                incident.end = None;
            }
        }
        incidents.push(Incident {
            start: at + 1,
            end: None,
            verdict: Verdict::Real,
            ..fleet.incidents[0].clone()
        });
        assert_eq!(before, row_at(&changed, &set, &incidents, at), "changed samples");
        assert_eq!(before, row_at(&gone, &set, &incidents, at), "samples cut off");
        let past = fleet
            .telemetry
            .map(|_, t, v| Some(if t <= at - 10 * STEP_MS { v } else { v + 1.0 }));
        assert_ne!(before, row_at(&past, &set, &incidents, at), "the past does count");
    }
}

#[test]
fn one_row_alone_has_the_bits_of_the_same_row_in_a_long_run() {
    let fleet = fleet(3, 2, 5);
    let set = set_of(&fleet);
    let incidents = Incidents::new(&fleet.incidents);
    let times: Vec<i64> = (0..60).map(|i| fleet.from + 20 * 3_600_000 + i * 7 * 60_000).collect();
    let wanted: Vec<(String, Vec<i64>)> = (0..3).map(|h| (format!("host-{h:02}"), times.clone())).collect();
    let rows = features_over(&fleet.telemetry, &set, &incidents, Horizon::HOUR, &wanted).expect("rows");
    assert_eq!(rows.len(), 180);
    for i in (60..120).step_by(7) {
        let alone = row_at(&fleet.telemetry, &set, &fleet.incidents, rows.at[i]);
        assert_eq!(alone, bits(rows.row(i)), "row {i}");
    }
}

#[test]
fn a_leak_moves_the_features_of_memory() {
    let fleet = fleet(6, 3, 7);
    let set = set_of(&fleet);
    let names = set.names();
    let leak = fleet
        .incidents
        .iter()
        .find(|i| i.kind == "host_oom" && i.start > fleet.from + 30 * 3_600_000)
        .expect("a leak");
    let incidents = Incidents::new(&fleet.incidents);
    let row = features_at(
        &fleet.telemetry,
        &set,
        &incidents,
        Horizon::HOUR,
        &leak.host,
        leak.start - 1_200_000,
    )
    .expect("read")
    .expect("row");
    let value = |name: &str| f64::from(row[names.iter().position(|n| n == name).expect(name)]);
    assert!(value("memory:z1") > 5.0);
    assert!(value("memory:slope2") > 5.0);
    assert!(value("memory:ttl") < 60_f64.ln_1p());
    assert!(value("cpu:z1").abs() < 4.0);
    assert_eq!(
        value("pooled:limit_ttl"),
        value("memory:ttl"),
        "memory is what runs out"
    );
    assert!(value("pooled:limit_near") > 0.5, "within the horizon");
    assert!(value("pooled:worse_z1_max") > 6_f64.ln());
}

#[test]
fn silence_shows_in_structure_and_nowhere_else_as_a_storm() {
    let fleet = fleet(2, 2, 9);
    let set = set_of(&fleet);
    let at = fleet.from + 40 * 3_600_000;
    let silent = fleet.telemetry.map(|_, t, v| (t <= at - 20 * STEP_MS).then_some(v));
    let names = set.names();
    let row = row_at(&silent, &set, &[], at);
    let value = |name: &str| f32::from_bits(row[names.iter().position(|n| n == name).expect(name)]);
    assert_eq!(value("structure:missing_short"), 1.0);
    assert!((value("structure:missing_middle") - 20.0 / set.windows().middle as f32).abs() < 0.02);
    assert_eq!(value("structure:columns_gone"), 1.0);
    assert!(value("memory:z").is_nan());
}

#[test]
fn clock_jumps_and_wild_values_stay_bounded() {
    let fleet = fleet(2, 2, 11);
    let set = set_of(&fleet);
    let wild = fleet.telemetry.map(|_, t, v| {
        Some(match (t / STEP_MS) % 50 {
            0 => f64::NAN,
            1 => f64::INFINITY,
            2 => -1e300,
            3 => 1e300,
            _ => v,
        })
    });
    let row = row_at(&wild, &set, &fleet.incidents, fleet.to - 1_000_000);
    for (name, value) in set.names().iter().zip(row.iter().map(|b| f32::from_bits(*b))) {
        assert!(!value.is_infinite() || name.ends_with(":level"), "{name} is {value}");
    }
}

#[test]
fn an_unknown_host_has_no_row() {
    let fleet = fleet(1, 2, 13);
    let set = set_of(&fleet);
    let none = features_at(
        &fleet.telemetry,
        &set,
        &Incidents::default(),
        Horizon::HOUR,
        "nobody",
        fleet.to,
    )
    .expect("read");
    assert_eq!(none, None);
}
