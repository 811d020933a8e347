use super::*;
use crate::incident::{HostIncidents, Incident, Incidents, Source, Verdict};

const MIN: i64 = 60_000;

fn incidents(spans: &[(i64, i64)]) -> Incidents {
    let list: Vec<Incident> = spans
        .iter()
        .enumerate()
        .map(|(i, (start, end))| Incident {
            id: format!("i{i}"),
            host: "a".into(),
            device: None,
            start: start * MIN,
            end: Some(end * MIN),
            kind: "crash".into(),
            source: Source::Declared,
            verdict: Verdict::Real,
            summary: String::new(),
        })
        .collect();
    Incidents::new(&list)
}

/// A day of rows each five minutes; `alerts` are minutes at which the score is 1.
fn judge(spans: &[(i64, i64)], alerts: &[i64]) -> Evaluation {
    let all = incidents(spans);
    let none = HostIncidents::default();
    let at: Vec<i64> = (0..288).map(|i| i * 5 * MIN).collect();
    let p: Vec<f64> = at
        .iter()
        .map(|t| if alerts.contains(&(t / MIN)) { 1.0 } else { 0.0 })
        .collect();
    let track = Track {
        host: "a",
        from: 0,
        to: 1_440 * MIN,
        incidents: Some(all.of("a").unwrap_or(&none)),
        at: &at,
        probability: &p,
    };
    let protocol = Protocol {
        horizon_ms: 60 * MIN,
        gap_ms: 0,
        stride_ms: 5 * MIN,
    };
    evaluate(&[track], None, Some(0.5), protocol, 0.5, &all.kinds, 1)
}

#[test]
fn an_alert_within_the_horizon_is_a_warning() {
    let e = judge(&[(600, 660)], &[570]);
    assert_eq!(
        (e.incidents, e.warned, e.detected_only, e.missed, e.false_alarms),
        (1, 1, 0, 0, 0)
    );
    assert_eq!(e.leads_minutes, [30.0]);
    // 288 rows less the twelve inside.
    assert!((e.host_days - 276.0 * 5.0 / 1_440.0).abs() < 1e-12);
}

#[test]
fn an_alert_after_the_start_is_a_detection() {
    let e = judge(&[(600, 660)], &[610, 615]);
    assert_eq!((e.warned, e.detected_only, e.missed, e.false_alarms), (0, 1, 0, 0));
    assert_eq!(e.delays_minutes, [10.0]);
}

#[test]
fn an_alert_too_early_is_a_false_alarm_and_a_miss() {
    let e = judge(&[(600, 660)], &[535]);
    assert_eq!((e.warned, e.missed, e.false_alarms), (0, 1, 1));
}

#[test]
fn alerts_that_hang_together_are_one_alarm_raised_again_each_horizon() {
    assert_eq!(judge(&[], &[100, 105, 110]).false_alarms, 1);
    assert_eq!(
        judge(&[], &[100, 160]).false_alarms,
        2,
        "an hour apart, the horizon has passed"
    );
    assert_eq!(judge(&[], &[100, 155]).false_alarms, 1);
    assert_eq!(judge(&[], &[100, 165]).false_alarms, 2);
    let standing: Vec<i64> = (0..288).map(|i| i * 5).collect();
    assert_eq!(judge(&[], &standing).false_alarms, 24);
}

#[test]
fn a_silent_model_misses_everything_and_costs_nothing() {
    let e = judge(&[(600, 660), (900, 930)], &[]);
    assert_eq!((e.incidents, e.missed, e.alarms), (2, 2, 0));
    assert!(!e.warns());
    assert!((e.pr_auc - e.base_rate).abs() < 1e-12);
}

#[test]
fn measures_are_those_worked_out_by_hand() {
    let y = [true, false, true, false, false];
    let p = [0.9, 0.8, 0.7, 0.2, 0.1];
    // Recall 1/2 at precision 1, the rest at 2/3.
    assert!((pr_auc(&y, &p) - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-12);
    // Rows of one score count together: 2 of 5 everywhere.
    assert!((pr_auc(&y, &[0.5; 5]) - 0.4).abs() < 1e-12);
    let brier = (0.01 + 0.64 + 0.09 + 0.04 + 0.01) / 5.0;
    assert!((brier_skill(&y, &p) - (1.0 - brier / 0.24)).abs() < 1e-12);
    let (ece, bins) = reliability(&[true, false, false, false], &[0.8, 0.8, 0.1, 0.1], 2);
    assert_eq!(bins.len(), 2);
    assert!((ece - (0.5 * 0.3 + 0.5 * 0.1)).abs() < 1e-12);
}

#[test]
fn quantiles_are_numpys() {
    let v = [1.0, 2.0, 4.0, 8.0];
    for (q, expected) in [(0.0, 1.0), (1.0, 8.0), (0.5, 3.0), (0.9, 6.8), (0.25, 1.75)] {
        assert!((quantile(&v, q) - expected).abs() < 1e-12, "{q}");
    }
    assert!(quantile(&[], 0.5).is_nan());
}

#[test]
fn the_sentences_name_misses_and_chance() {
    let e = judge(&[(600, 660), (1_000, 1_030)], &[570, 300]);
    let text = e.to_string();
    assert!(
        text.starts_with(
            "of 2 incidents 1 warned (lead 30 min median), 0 only detected, 1 missed; 1 false alarm in 1 host-days; chance would have warned"
        ),
        "{text}"
    );
}
