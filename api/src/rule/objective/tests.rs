use std::time::Duration;

use store::Histograms;
use store::promql::{Deadline, Engine};

use super::super::replay::{Replay, ReplayReport, replay};
use super::super::sheet::Sheet;
use super::super::unit_test::notation;
use super::{Indicator, Objective};

const MINUTE: i64 = 60_000;

fn objective(indicator: Indicator) -> Objective {
    Objective {
        name: "shop".to_owned(),
        target: 0.99,
        window: "30d".to_owned(),
        indicator,
        by: Vec::new(),
        outcome: false,
    }
}

fn errors() -> Indicator {
    Indicator::Errors {
        errors: r#"requests_total{code=~"5.."}"#.to_owned(),
        total: "requests_total".to_owned(),
    }
}

/// What the rules of an objective would have done over series with a sample a minute.
fn run(objective: &Objective, series: &[(&str, &str)], minutes: i64) -> ReplayReport {
    let mut sheet = Sheet::default();
    sheet.see_until(i64::MAX);
    for (labels, values) in series {
        let values = notation::values(values).expect("values");
        let (samples, _) = notation::placed(values, MINUTE);
        sheet.put(
            notation::labels(labels).expect("labels"),
            samples,
            Histograms::default(),
        );
    }
    let asked = Replay {
        groups: &objective.groups().expect("rules"),
        from_ms: 0,
        to_ms: minutes * MINUTE,
        time_max: Duration::MAX,
        deadline: Deadline::default(),
    };
    let report = replay(&asked, &Engine::default(), &sheet, "").expect("a replay");
    for rule in &report.rules {
        assert_eq!(rule.error, None, "{}", rule.name);
    }
    report
}

/// Alerts as `Name span from-to`, in minutes.
fn told(report: &ReplayReport) -> String {
    let alerts = report
        .rules
        .iter()
        .flat_map(|rule| rule.episodes.iter().map(move |episode| (rule, episode)));
    let one = alerts.map(|(rule, episode)| {
        let span = episode.labels.get("span").map_or("", String::as_str);
        let end = episode
            .resolved_ms
            .map_or_else(String::new, |end| (end / MINUTE).to_string());
        format!("{} {span} {}-{end}", rule.name, episode.fired_ms / MINUTE)
    });
    one.collect::<Vec<_>>().join(", ")
}

#[test]
fn a_short_outage_is_told_and_ends_when_it_ends() {
    // A thousand events a minute; from minute 120 on half of them fail, for ten minutes.
    let series = [
        (
            r#"requests_total{code="200"}"#,
            "0+1000x119 119500+500x9 125000+1000x200",
        ),
        (r#"requests_total{code="500"}"#, "0x119 500+500x9 5000x200"),
    ];
    let report = run(&objective(errors()), &series, 300);
    let told = told(&report);
    // There is history of two hours only. Of an hour's events 8% were bad, of all 4%: less than what burns the budget 14.4 times as
    // fast as it lasts, or six times, but more than three times.
    assert!(!told.contains("Burns 1h") && !told.contains("Burns 6h"), "{told}");
    assert!(told.contains("ErrorBudgetBurns 1d"), "{told}");
    assert!(
        report
            .rules
            .iter()
            .any(|rule| rule.name == "foreshock_objective_budget_remaining_ratio" && rule.series_most == 1)
    );
}

#[test]
fn a_long_outage_is_critical_and_spends_the_budget() {
    let series = [
        (r#"requests_total{code="200"}"#, "0+1000x119 119500+500x180"),
        (r#"requests_total{code="500"}"#, "0x119 500+500x180"),
    ];
    let report = run(&objective(errors()), &series, 299);
    let told = told(&report);
    for expected in ["ErrorBudgetBurns 1h", "ErrorBudgetBurns 6h", "ErrorBudgetSpent"] {
        assert!(told.contains(expected), "{told}");
    }
    let first = report
        .rules
        .iter()
        .flat_map(|rule| &rule.episodes)
        .find(|episode| episode.labels.contains_key("span"));
    let first = first.expect("an alert");
    assert_eq!(
        (first.labels["severity"].as_str(), first.labels["objective"].as_str()),
        ("critical", "shop")
    );
    assert!(
        first.annotations["description"].contains("2% of the budget of 30d (1% of all events)"),
        "{first:?}"
    );
}

#[test]
fn without_failures_and_without_events_nothing_is_told() {
    let quiet = [(r#"requests_total{code="200"}"#, "0+1000x300")];
    assert_eq!(told(&run(&objective(errors()), &quiet, 300)), "");
    let idle = [(r#"requests_total{code="200"}"#, "7x300")];
    assert_eq!(told(&run(&objective(errors()), &idle, 300)), "");
    assert_eq!(told(&run(&objective(errors()), &[], 300)), "");
}

#[test]
fn slow_answers_and_failed_probes_count_as_bad() {
    let slow = objective(Indicator::Latency {
        histogram: r#"seconds{path="/"}"#.to_owned(),
        under_seconds: 1.0,
    });
    let series = [
        (r#"seconds_bucket{path="/", le="1.0"}"#, "0+1x300"),
        (r#"seconds_bucket{path="/", le="+Inf"}"#, "0+2x300"),
        (r#"seconds_count{path="/"}"#, "0+2x300"),
        (r#"seconds_count{path="/other"}"#, "0+2x300"),
    ];
    assert!(told(&run(&slow, &series, 300)).contains("ErrorBudgetBurns 1h"));
    let mut down = objective(Indicator::Up { up: "up".to_owned() });
    down.by = vec!["host".to_owned()];
    let series = [
        (r#"up{host="a", job="j"}"#, "1x100 0x100"),
        (r#"up{host="b", job="j"}"#, "1x200"),
    ];
    let report = run(&down, &series, 190);
    let hosts = report
        .rules
        .iter()
        .flat_map(|rule| &rule.episodes)
        .map(|episode| episode.labels["host"].as_str());
    let hosts: Vec<&str> = hosts.collect();
    assert!(!hosts.is_empty() && hosts.iter().all(|host| *host == "a"), "{hosts:?}");
}

#[test]
fn the_rules_say_what_was_asked_for() {
    let mut short = objective(errors());
    (short.window, short.target) = ("7d".to_owned(), 0.5);
    let text = short.rule_file().expect("a rule file");
    // Over a week, a tenth of the budget in a day is slower than it lasts; and no threshold is out of reach.
    assert!(!text.contains("span=\"3d\"") && !text.contains("span: 3d"), "{text}");
    assert!(text.contains("> 9e-1 and ignoring (span)"), "{text}");
    assert!(
        text.contains("(sum (rate(requests_total{code=~\"5..\"}[5m])) or 0 * sum (rate(requests_total[5m])))"),
        "{text}"
    );
}

#[test]
fn what_is_no_objective_is_refused_by_name() {
    let check = |change: &dyn Fn(&mut Objective), expected: &str| {
        let mut wrong = objective(errors());
        change(&mut wrong);
        let error = wrong.groups().expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        &|o| o.target = 1.0,
        "objective \"shop\": target 1 is no share between 0 and 1",
    );
    check(&|o| o.target = f64::NAN, "target NaN");
    check(
        &|o| o.window = "1h".to_owned(),
        "window \"1h\" is not one of 1 to 90 days",
    );
    check(&|o| o.name = "{{ boom }}".to_owned(), "its name has 1 to 100 bytes");
    check(&|o| o.by = vec!["span".to_owned()], "by: \"span\" is no label");
    check(&|o| o.by = vec!["a b".to_owned()], "by: \"a b\" is no label");
    check(
        &|o| {
            o.indicator = Indicator::Up {
                up: "{job=\"a\"}".to_owned(),
            };
        },
        "names no metric",
    );
    check(
        &|o| {
            o.indicator = Indicator::Up {
                up: "up > 1".to_owned(),
            };
        },
        "is no selector",
    );
    check(
        &|o| {
            o.indicator = Indicator::Latency {
                histogram: "seconds".to_owned(),
                under_seconds: 0.0,
            };
        },
        "under_seconds 0 is no duration above 0",
    );
}
