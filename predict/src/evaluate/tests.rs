use rand::{Rng as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;
use crate::incident::{HostIncidents, Incident, Incidents, Source, Verdict};

const MIN: i64 = 60_000;

fn incidents(spans: &[(i64, i64)]) -> Incidents {
    judged_incidents(
        &spans
            .iter()
            .map(|(start, end)| (*start, *end, Verdict::Real))
            .collect::<Vec<_>>(),
    )
}

fn judged_incidents(spans: &[(i64, i64, Verdict)]) -> Incidents {
    let list: Vec<Incident> = spans
        .iter()
        .enumerate()
        .map(|(i, (start, end, verdict))| Incident {
            id: format!("i{i}"),
            host: "a".into(),
            device: None,
            start: start * MIN,
            end: Some(end * MIN),
            kind: "crash".into(),
            source: Source::Declared,
            verdict: *verdict,
            summary: String::new(),
        })
        .collect();
    Incidents::new(&list)
}

/// A day of rows each five minutes; `alerts` are minutes at which the score is 1.
fn judge(spans: &[(i64, i64)], alerts: &[i64]) -> Evaluation {
    judge_all(&incidents(spans), alerts)
}

fn judge_all(all: &Incidents, alerts: &[i64]) -> Evaluation {
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

/// Scores each half hour without any incident: some hosts are restless, and so are some days of the whole fleet, each by a
/// seed. From day `restless_from` on they are all higher by `more`.
fn quiet_fleet(hosts: u64, days: u64, restless_from: i64, more: f64) -> Windows {
    // An exponential distribution: few are high.
    let few = |random: &mut Xoshiro256PlusPlus| -0.06 * (1.0 - random.random::<f64>()).ln();
    let (mut of_hosts, mut random) = (
        Xoshiro256PlusPlus::seed_from_u64(hosts),
        Xoshiro256PlusPlus::seed_from_u64(1_000 + days),
    );
    let (days, rows) = (20_i64, 48);
    let of_day: Vec<f64> = (0..days).map(|_| few(&mut random)).collect();
    let scores: Vec<Vec<f64>> = (0..12)
        .map(|_| {
            let of_host = few(&mut of_hosts);
            (0..days * rows)
                .map(|i| {
                    let shift = if i >= restless_from * rows { more } else { 0.0 };
                    of_host + of_day[(i / rows) as usize] + few(&mut random) + shift
                })
                .collect()
        })
        .collect();
    let at: Vec<i64> = (0..days * rows).map(|i| i * 30 * MIN).collect();
    let tracks: Vec<Track<'_>> = scores
        .iter()
        .map(|probability| Track {
            host: "a",
            from: 0,
            to: days * 1_440 * MIN,
            incidents: None,
            at: &at,
            probability,
        })
        .collect();
    let protocol = Protocol {
        horizon_ms: 60 * MIN,
        gap_ms: 0,
        stride_ms: 30 * MIN,
    };
    Windows::new(&tracks, protocol)
}

fn false_alarms_a_day(windows: &Windows, threshold: f64) -> f64 {
    let alert: Vec<bool> = windows.p.iter().map(|p| *p >= threshold).collect();
    windows.alarms(&alert).iter().filter(|a| !a.good).count() as f64 / windows.host_days
}

#[test]
fn a_threshold_keeps_the_budget_on_later_days_although_alarms_come_in_clusters() {
    let (mut within, mut just, mut sum) = (0, 0, 0.0);
    for seed in 0..40 {
        let (seen, later) = (quiet_fleet(seed, seed, 20, 0.0), quiet_fleet(seed, 100 + seed, 20, 0.0));
        let actual = false_alarms_a_day(&later, seen.threshold_within(0.5));
        within += u32::from(actual <= 0.6);
        just += u32::from(false_alarms_a_day(&later, seen.threshold_for(0.5)) <= 0.6);
        sum += actual;
    }
    assert!(within >= 30, "{within} of 40");
    assert!(
        just < within,
        "without the bound {just} of 40 keep it as well: the fleet is too calm to show anything"
    );
    assert!(sum / 40.0 > 0.1, "it keeps the budget by silence: {}", sum / 40.0);
}

#[test]
fn alarms_that_have_become_more_count_by_themselves() {
    let windows = quiet_fleet(1, 1, 10, 0.1);
    let (calm, now) = (windows.threshold_for(0.5), windows.threshold_within(0.5));
    let newer = quiet_fleet(1, 1, 0, 0.1);
    assert!(
        false_alarms_a_day(&newer, calm) > 0.6,
        "the mean over both halves hides it"
    );
    assert!(now > calm);
    assert!(
        false_alarms_a_day(&windows, now) < 0.4,
        "half the time, and the newer half within 0.5"
    );
}

#[test]
fn a_threshold_over_everything_seen_is_the_most_that_a_short_history_supports() {
    // 240 host-days at a budget of one in 1,000: no false alarm can be allowed.
    let windows = quiet_fleet(2, 2, 20, 0.0);
    let threshold = windows.threshold_within(0.001);
    let alert: Vec<bool> = windows.p.iter().map(|p| *p >= threshold).collect();
    assert!(windows.alarms(&alert).is_empty());
    assert!(threshold <= windows.p.iter().copied().fold(0.0, f64::max).next_up());
}

#[test]
fn one_warning_of_many_is_a_coincidence_and_two_of_three_are_none() {
    let by_chance = |incidents, warned, share| Tally { incidents, warned }.is_by_chance(share);
    assert!(by_chance(0, 0, 0.1), "nothing was shown");
    assert!(by_chance(12, 0, 0.1));
    assert!(
        by_chance(12, 1, 0.1),
        "chance warns of one or more in 72 of 100 histories"
    );
    assert!(!by_chance(3, 2, 0.1), "and of two of three in three of 100");
    assert!(!by_chance(12, 1, 0.0), "without alerts there is no coincidence");
    assert!(
        by_chance(12, 12, 1.0),
        "an alarm that always stands warns of everything"
    );
}

#[test]
fn scores_are_counted_by_what_they_said() {
    let scores = [0.001, 0.009, 0.01, 0.15, 0.1, 0.5, 1.0];
    let outcomes = [false, false, false, true, false, true, true];
    let found = ranges::ranges(&outcomes, &scores);
    let lines: Vec<(String, usize, usize)> = found.iter().map(|r| (r.words(), r.scores, r.came_true)).collect();
    let expected = [
        ("under 1 %", 2, 0),
        ("1 to 2 %", 1, 0),
        ("10 to 20 %", 2, 1),
        ("50 % and more", 2, 2),
    ];
    assert_eq!(
        lines,
        expected.map(|(words, scores, came)| (words.to_owned(), scores, came))
    );
    assert!((found[2].said() - 0.125).abs() < 1e-12 && found[2].share() == 0.5);

    let said = ranges::kept_promises;
    assert_eq!(
        said(&found),
        "of 4 scores of 10 % and more 3 came true, 2 were foretold"
    );
    assert_eq!(said(&found[..2]), "no score was of 10 % and more");
    assert_eq!(
        said(&ranges::ranges(&[true], &[0.4])),
        "one score was of 10 % and more, and 1 came true"
    );
}

#[test]
fn finding_more_than_chance_finds_is_detecting() {
    // Four incidents of an hour, each alerted on in the middle: by chance an alert falls into few of them.
    let spans = [(100, 160), (400, 460), (700, 760), (1_000, 1_060)];
    let e = judge(&spans, &[130, 430, 730, 1_030]);
    assert_eq!((e.warned, e.found()), (0, 4));
    assert!(e.detects() && !e.warns(), "{e}");

    // Alerts all day long find everything, as would any others.
    let always: Vec<i64> = (0..288).map(|i| i * 5).collect();
    let e = judge(&spans, &always);
    assert_eq!(e.found(), 4);
    assert!(!e.detects(), "{e}");
    assert!(!judge(&spans, &[]).detects(), "nothing is found");
}

#[test]
fn where_nothing_failed_no_quality_is_claimed() {
    let text = judge(&[], &[100]).to_string();
    assert!(text.starts_with("no incident began in 1.0 host-days"), "{text}");
    assert!(text.contains("alert at 50.0 % for a budget of 0.5"), "{text}");
    assert!(!text.contains("PR-AUC") && !text.contains("NaN"), "{text}");
}

#[test]
fn what_was_mitigated_is_neither_right_nor_wrong_about_probabilities_and_no_false_alarm() {
    let mitigated = (600, 660, Verdict::Mitigated);
    let alerts = [570, 1_170];
    let with = |spans: &[(i64, i64, Verdict)]| judge_all(&judged_incidents(spans), &alerts);
    let real = (1_200, 1_260, Verdict::Real);
    let (with, without) = (with(&[mitigated, real]), with(&[real]));
    // Of a day of rows without the hour that is cut off, twelve are before what was mitigated and twelve inside of it.
    assert_eq!((without.rows, with.rows), (288 - 11 - 12, 288 - 11 - 12 - 24));
    let share = |e: &Evaluation, rows: f64| (e.base_rate * rows).round();
    assert_eq!(
        (share(&with, 241.0), share(&without, 265.0)),
        (12.0, 12.0),
        "rows that an incident followed"
    );
    let came_true = |e: &Evaluation| e.ranges.iter().map(|r| (r.scores, r.came_true)).collect::<Vec<_>>();
    assert_eq!(came_true(&with), [(240, 11), (1, 1)]);
    assert_eq!(came_true(&without), [(263, 11), (2, 1)]);
    assert_eq!((with.alarms, with.false_alarms, without.false_alarms), (2, 0, 1));
    assert_eq!((with.incidents, with.warned), (1, 1));
}

#[test]
fn of_two_incidents_within_the_horizon_the_first_says_what_became_of_a_row() {
    let judged = |first, then| {
        let all = judged_incidents(&[(600, 610, first), (640, 660, then)]);
        judge_all(&all, &[]).base_rate
    };
    let rows = |unknown: f64| 288.0 - 11.0 - 2.0 - 4.0 - unknown;
    // 545 to 595 are before the first; 580 to 635 before the second, of which 600 and 605 lie within the first.
    let (real, mitigated) = (Verdict::Real, Verdict::Mitigated);
    assert!((judged(real, real) - 18.0 / rows(0.0)).abs() < 1e-12);
    assert!((judged(real, mitigated) - 12.0 / rows(6.0)).abs() < 1e-12);
    assert!((judged(mitigated, real) - 6.0 / rows(12.0)).abs() < 1e-12);
}
