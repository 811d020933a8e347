use crate::rule::*;

/// Evaluations as `seconds:holds`, states after each as `quiet`, `pending`, `firing`, `kept` or `resolved`.
fn check(hold: &str, evaluations: &str, states: &str) {
    let (for_text, keep_text) = hold.split_once(' ').unwrap();
    let hold = Hold {
        for_ms: duration::parse(for_text).unwrap(),
        keep_firing_ms: duration::parse(keep_text).unwrap(),
    };
    let mut state = AlertState::Quiet;
    let mut seen = Vec::new();
    for evaluation in evaluations.split_whitespace() {
        let (at, holds) = evaluation.split_once(':').unwrap();
        state = hold.step(state, holds == "1", duration::parse(at).unwrap());
        seen.push(match state {
            AlertState::Quiet => "quiet",
            AlertState::Pending { .. } => "pending",
            AlertState::Firing { gone_ms: None, .. } => "firing",
            AlertState::Firing { gone_ms: Some(_), .. } => "kept",
            AlertState::Resolved { .. } => "resolved",
        });
    }
    assert_eq!(
        seen.join(" "),
        states,
        "for {for_text}, keep_firing_for {keep_text}: {evaluations}"
    );
}

#[test]
fn without_for_an_alert_fires_at_once() {
    check("0 0", "0s:1 15s:1 30s:0 45s:0", "firing firing resolved quiet");
}

#[test]
fn with_for_it_fires_when_the_time_is_full() {
    check("30s 0", "0s:1 15s:1 30s:1 45s:1", "pending pending firing firing");
}

#[test]
fn one_quiet_evaluation_starts_the_hold_again() {
    check(
        "30s 0",
        "0s:1 15s:0 30s:1 45s:1 60s:1",
        "pending quiet pending pending firing",
    );
}

#[test]
fn a_pending_alert_ends_without_resolution() {
    check("30s 0", "0s:1 15s:1 29s:0 30s:1", "pending pending quiet pending");
}

#[test]
fn keep_firing_for_outlives_the_expression_and_no_longer() {
    check(
        "0 1m",
        "0s:1 15s:0 45s:0 74s:0 75s:0 90s:0",
        "firing kept kept kept resolved quiet",
    );
}

#[test]
fn what_comes_back_while_kept_is_the_same_alert() {
    check(
        "30s 1m",
        "0s:1 30s:1 45s:0 60s:1 75s:0 134s:0 135s:0",
        "pending firing kept firing kept kept resolved",
    );
}

#[test]
fn after_its_end_an_alert_waits_anew() {
    check(
        "30s 0",
        "0s:1 30s:1 45s:0 46s:1 76s:1",
        "pending firing resolved pending firing",
    );
}

#[test]
fn a_pause_counts_neither_as_holding_nor_as_gone() {
    let hold = Hold {
        for_ms: 60_000,
        keep_firing_ms: 60_000,
    };
    let pending = AlertState::Pending { since_ms: 0 }.after_pause(600_000);
    assert_eq!(
        hold.step(pending, true, 630_000),
        AlertState::Pending { since_ms: 600_000 }
    );
    let kept = AlertState::Firing {
        since_ms: 0,
        fired_ms: 0,
        gone_ms: Some(10_000),
    }
    .after_pause(600_000);
    assert!(hold.step(kept, false, 630_000).is_active());
    assert!(!hold.step(kept, false, 670_000).is_active());
}

#[test]
fn durations_are_read_as_prometheus_does() {
    let check = |text: &str, ms: Option<i64>| assert_eq!(duration::parse(text), ms, "{text}");
    check("15s", Some(15_000));
    check("1h30m", Some(5_400_000));
    check("1w2d", Some(9 * 86_400_000));
    check("5m100ms", Some(300_100));
    check("0", Some(0));
    check("0s", Some(0));
    check("", None);
    check("15", None);
    check("30m1h", None);
    check("5m5m", None);
    check("-5m", None);
    check("1.5h", None);
    check("99999999999999999y", None);
}
