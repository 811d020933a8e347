use super::*;
use crate::evaluate::{Protocol, Track, evaluate};
use crate::incident::{Incident, Incidents, Source, Verdict};

const MIN: i64 = 60_000;

/// Two hosts over a day: `a<b>` is warned of one incident and misses another, `b` raises a false alarm.
fn judged() -> (Evaluation, Ledger) {
    let incident = |id: &str, host: &str, start: i64, end: i64| Incident {
        id: id.into(),
        host: host.into(),
        device: None,
        start: start * MIN,
        end: Some(end * MIN),
        kind: "host_oom".into(),
        source: Source::Declared,
        verdict: Verdict::Real,
        summary: String::new(),
    };
    let incidents = Incidents::new(&[incident("1", "a<b>", 600, 660), incident("2", "a<b>", 1_000, 1_030)]);
    let at: Vec<i64> = (0..288).map(|i| i * 5 * MIN).collect();
    let scores = |alerts: &[i64]| -> Vec<f64> {
        let of = |t: &i64| if alerts.contains(&(t / MIN)) { 0.75 } else { 0.01 };
        at.iter().map(of).collect()
    };
    let (of_a, of_b) = (scores(&[570, 595]), scores(&[300]));
    let tracks: Vec<Track<'_>> = [("a<b>", &of_a), ("b", &of_b)]
        .into_iter()
        .map(|(host, probability)| Track {
            host,
            from: 0,
            to: 1_440 * MIN,
            incidents: incidents.of(host),
            at: &at,
            probability,
        })
        .collect();
    let protocol = Protocol {
        horizon_ms: 60 * MIN,
        gap_ms: 0,
        stride_ms: 5 * MIN,
    };
    let evaluation = evaluate(&tracks, None, Some(0.5), protocol, 0.5, &incidents.kinds, 1);
    let ledger = Ledger::new(&tracks, 0.5, protocol, &incidents.kinds);
    (evaluation, ledger)
}

#[test]
fn the_ledger_holds_what_the_evaluation_sums_up() {
    let (e, ledger) = judged();
    assert_eq!(ledger.alarms.len(), e.alarms);
    assert_eq!(ledger.alarms.iter().filter(|a| !a.good).count(), e.false_alarms);
    assert_eq!(ledger.incidents.len(), e.incidents);
    let leads: Vec<i64> = ledger.incidents.iter().filter_map(|i| i.lead_ms).collect();
    assert_eq!(leads, [30 * MIN]);
    assert_eq!(ledger.incidents.iter().filter(|i| !i.detected).count(), e.missed);
    let days: f64 = ledger.hosts.iter().map(|h| h.days).sum();
    assert!((days - e.host_days).abs() < 1e-9);
    let [a, b] = &ledger.hosts[..] else { panic!("two hosts") };
    assert_eq!((a.incidents, a.warned, a.detected, a.false_alarms), (2, 1, 1, 0));
    assert_eq!((b.incidents, b.alarms, b.false_alarms), (0, 1, 1));
    assert_eq!(ledger.alarms[1].probability, 0.75);
}

#[test]
fn a_page_says_what_was_missed_and_what_it_costs_and_needs_nothing_else() {
    let (evaluation, ledger) = judged();
    let report = Report {
        about: "a test's day",
        model: "logistic-1h-0",
        evaluation: &evaluation,
        ledger: &ledger,
        compared: &[],
        cost: Cost::default(),
    };
    let page = report.html();
    // Two crashes at 20 against one crash and two drains.
    for said in [
        "acting on every alarm would have saved 18, 45 %",
        "of kinds without a warning so far",
        "the warning stood",
        "Of 3 scores of 10 % and more 2 came true, 2 were foretold.",
        "50 % and more",
        "1970-01-01 16:40 UTC",
        "a&lt;b&gt;",
        "host oom",
    ] {
        assert!(page.contains(said), "{said:?} is missing");
    }
    for other in ["<script", "http://", "https://", "a<b>", "host_oom"] {
        assert!(!page.contains(other), "{other:?} is there");
    }
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());

    let silent = Evaluation::default();
    let nothing = Report {
        evaluation: &silent,
        ledger: &Ledger::default(),
        ..report
    };
    assert!(nothing.html().contains("nothing is proven"));
}
