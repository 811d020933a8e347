use super::*;
use crate::incident::{Incident, Source, Verdict};

fn examples() -> Examples {
    let times: Vec<i64> = (0..100).map(|i| i * 10).collect();
    let rows = Rows {
        hosts: vec!["a".into()],
        host: vec![0; 100],
        values: (0..200).map(|i| i as f32).collect(),
        at: times,
        width: 2,
    };
    let incident = Incident {
        id: "i".into(),
        host: "a".into(),
        device: None,
        start: 505,
        end: Some(555),
        kind: "crash".into(),
        source: Source::Declared,
        verdict: Verdict::Real,
        summary: String::new(),
    };
    let labelled = [Labelled::new("a".into(), 0, 1_000)];
    Examples::new(
        rows,
        &Incidents::new(&[incident]),
        &labelled,
        &[0.0, 0.25, 0.5, 0.75],
        0,
        60,
    )
}

#[test]
fn blocks_are_quarters_of_the_hosts_time() {
    let e = examples();
    for (i, block) in [(0, 0), (24, 0), (25, 1), (50, 2), (99, 3)] {
        assert_eq!(e.blocks[i], block, "row {i}");
    }
}

#[test]
fn a_host_that_came_late_or_went_early_has_the_blocks_of_its_fleet() {
    let there = |from, to| Labelled {
        blocks: 0..1_000,
        ..Labelled::new("a".into(), from, to)
    };
    let starts = |l: &Labelled| [0, 1, 2, 3, 4].map(|k| l.block_start(&[0.0, 0.25, 0.5, 0.75], k));
    assert_eq!(starts(&there(0, 1_000)), [0, 250, 500, 750, 1_000]);
    assert_eq!(starts(&there(600, 1_000)), [600, 600, 600, 750, 1_000]);
    assert_eq!(starts(&there(0, 300)), [0, 250, 300, 300, 300]);
    assert_eq!(
        starts(&Labelled::new("a".into(), 600, 1_000)),
        [600, 700, 800, 900, 1_000]
    );
}

/// Rows of host `a`, ten apart, over two stretches of time.
fn two_stretches() -> Examples {
    let rows = Rows {
        hosts: vec!["a".into(), "a".into()],
        host: [[0; 10], [1; 10]].concat(),
        at: (0..10).chain(50..60).map(|i| i * 10).collect(),
        values: vec![0.0; 20],
        width: 1,
    };
    let labelled = [Labelled::new("a".into(), 0, 100), Labelled::new("a".into(), 500, 600)];
    Examples::new(rows, &Incidents::default(), &labelled, &[0.0, 0.5], 0, 20)
}

#[test]
fn a_host_with_two_stretches_has_outcomes_and_blocks_of_each() {
    let e = two_stretches();
    let known = [[Outcome::Survived; 9].as_slice(), &[Outcome::Censored]].concat();
    assert_eq!(e.outcomes, [known.clone(), known].concat());
    let halves = [[0; 5], [1; 5]].concat();
    assert_eq!(e.blocks, [halves.clone(), halves].concat());
    assert!(e.known_before(13, 1) && !e.known_before(14, 1), "540 + 20 is after 550");
    let stretches = e.stretches();
    assert_eq!((stretches[&("a", 0)], stretches[&("a", 500)]), (0, 1));
}

#[test]
fn rows_whose_horizon_reaches_into_the_judged_block_teach_nothing() {
    let e = examples();
    assert!(e.known_before(19, 1), "190 + 60 ends at 250, where the block begins");
    assert!(!e.known_before(20, 1));
    assert!(!e.known_before(25, 1), "it lies within the block");
    assert!(e.known_before(99, 4), "the final fit learns from all");
    // No host and time teaches and is judged in the same fold.
    for fold in 1..4 {
        assert!((0..100).all(|i| !(e.known_before(i, fold) && e.blocks[i] == fold)));
    }
}

#[test]
fn heads_ask_different_questions() {
    let e = examples();
    let answers = |task: Task| e.outcomes.iter().filter_map(|o| task.answer(*o)).filter(|y| *y).count();
    assert_eq!(answers(Task::Soon), 6, "450 to 500");
    assert_eq!(answers(Task::UnderWay), 5, "510 to 550");
    assert_eq!(Task::UnderWay.answer(e.outcomes[48]), None, "just before is neither");
    assert_eq!(Task::Soon.answer(e.outcomes[97]), None, "censored by the end");
}

#[test]
fn a_sample_holds_all_positives_and_says_what_it_left_out() {
    let candidates: Vec<(usize, bool)> = (0..1_000).map(|i| (i, i % 50 == 0)).collect();
    let s = Sample::draw(&candidates, 120, 7);
    assert_eq!((s.positives(), s.picked.len()), (20, 120));
    assert!((s.log_odds_shift() - (1.0_f64 / 9.8).ln()).abs() < 1e-12);
    assert_eq!(s, Sample::draw(&candidates, 120, 7));
    assert_ne!(s, Sample::draw(&candidates, 120, 8));
}

#[test]
fn half_of_a_near_sample_are_the_negatives_that_look_like_failures() {
    let candidates: Vec<(usize, bool)> = (0..1_000).map(|i| (i, i % 50 == 0)).collect();
    // The higher the row, the more it looks like a failure; a positive's own score does not matter.
    let scores: Vec<f64> = (0..1_000).map(f64::from).collect();
    let s = Sample::draw_near(&candidates, &scores, 120, 7);
    assert_eq!((s.positives(), s.picked.len()), (20, 120));
    let highest: Vec<usize> = (0..1_000).rev().filter(|i| i % 50 != 0).take(50).collect();
    assert_eq!(s.picked[20..70], highest);
    assert!(
        s.picked[70..].iter().all(|i| *i < highest[49] && i % 50 != 0),
        "the others are drawn from the rest"
    );
    let unique: std::collections::BTreeSet<usize> = s.picked.iter().copied().collect();
    assert_eq!(unique.len(), 120);
    assert!((s.log_odds_shift() - (1.0_f64 / 9.8).ln()).abs() < 1e-12);
    assert_eq!(s, Sample::draw_near(&candidates, &scores, 120, 7));
}

#[test]
fn a_near_sample_of_few_rows_holds_them_all() {
    let candidates: Vec<(usize, bool)> = (0..50).map(|i| (i, i < 5)).collect();
    let mut s = Sample::draw_near(&candidates, &[0.5; 50], 100, 7);
    s.picked.sort_unstable();
    assert_eq!(s.picked, (0..50).collect::<Vec<_>>());
    assert_eq!(s.weights, [1.0, 1.0]);
}

#[test]
fn scaling_ignores_what_is_missing_and_what_never_changes() {
    let rows = Rows {
        hosts: vec!["a".into()],
        host: vec![0; 3],
        at: vec![1, 2, 3],
        values: vec![1.0, 5.0, f32::NAN, 5.0, 3.0, 5.0],
        width: 2,
    };
    let scaler = Scaler::fit(&rows, &[0, 1, 2]);
    let mut out = Vec::new();
    scaler.apply(&[3.0, 9.0], &mut out);
    assert_eq!(out, [1.0, 0.0]);
    scaler.apply(&[f32::NAN, f32::NAN], &mut out);
    assert_eq!(out, [0.0, 0.0]);
    scaler.apply(&[1e9, 0.0], &mut out);
    assert_eq!(out[0], STANDARD_CLIP);
}
