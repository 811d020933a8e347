use std::time::Duration;

use store::promql::{Deadline, Engine};
use store::{Histograms, Labels};

use super::super::load;
use super::super::sheet::Sheet;
use super::super::unit_test::notation;
use super::{Replay, ReplayReport, replay};

const MINUTE: i64 = 60_000;
const NEVER: i64 = i64::MAX;

/// Series, one a line, with a sample a minute from time 0 on.
fn stored(series: &str) -> Sheet {
    let mut sheet = Sheet::default();
    sheet.see_until(NEVER);
    for line in series.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (labels, values) = line.split_once(' ').expect("labels and values");
        let values = notation::values(values).expect("values");
        let (samples, _) = notation::placed(values, MINUTE);
        sheet.put(
            notation::labels(labels).expect("labels"),
            samples,
            Histograms::default(),
        );
    }
    sheet
}

fn run(rules: &str, series: &str, from: i64, to: i64) -> ReplayReport {
    let groups = load(
        &format!("groups: [{{name: g, interval: 1m, rules: [{rules}]}}]"),
        "test.yml",
    )
    .expect("rules");
    let asked = Replay {
        groups: &groups,
        from_ms: from * MINUTE,
        to_ms: to * MINUTE,
        time_max: Duration::MAX,
        deadline: Deadline::default(),
    };
    replay(&asked, &Engine::default(), &stored(series), "http://here").expect("a replay")
}

/// Rules that fired as `Name 2x 7m: host 3-6 host 9-`, in minutes.
fn check(rules: &str, series: &str, (from, to): (i64, i64), expected: &str) {
    let report = run(rules, series, from, to);
    let told = report.rules.iter().filter(|rule| rule.is_alert).map(|rule| {
        assert_eq!(rule.error, None, "{rules}");
        let episodes = rule.episodes.iter().map(|episode| {
            let host = episode.labels.get("host").map_or("", String::as_str);
            let end = episode
                .resolved_ms
                .map_or_else(String::new, |end| (end / MINUTE).to_string());
            format!(" {host} {}-{end}", episode.fired_ms / MINUTE)
        });
        format!(
            "{} {}x {}m:{}",
            rule.name,
            rule.fired,
            rule.firing_ms / MINUTE,
            episodes.collect::<String>()
        )
    });
    assert_eq!(told.collect::<Vec<_>>().join("; "), expected, "{rules}\n{series}");
}

const HOT: &str =
    "{alert: Hot, expr: 'temperature > 80', for: 2m, annotations: {summary: '{{ $labels.host }} at {{ $value }}'}}";

#[test]
fn it_says_how_often_and_how_long_a_rule_would_have_fired() {
    let series = r#"
        temperature{host="a"} 20x9 90x9 20x9 90x0 20x9 91x9 20x19
        temperature{host="b"} 20x79
    "#;
    // Held from minute 10 to 19 and from 41 to 50, and for one minute at 30, which is not long enough.
    check(HOT, series, (0, 70), "Hot 2x 16m: a 12-20 a 43-51");
    let report = run(HOT, series, 0, 70);
    assert_eq!((report.rules[0].passed, report.rules[0].series_most), (1, 1));
    assert_eq!(report.rules[0].episodes[0].annotations["summary"], "a at 90");
    assert_eq!(report.rules[0].episodes[0].since_ms, 10 * MINUTE);
    assert_eq!((report.stopped, report.to_ms), (None, 70 * MINUTE));
}

#[test]
fn what_fired_at_the_beginning_is_shown_and_not_counted_as_new() {
    let series = "temperature{host=\"a\"} 20x9 90x29 20x9";
    check(HOT, series, (20, 30), "Hot 0x 10m: a 18-");
    check(HOT, series, (11, 30), "Hot 1x 18m: a 12-");
    check(HOT, series, (45, 49), "Hot 0x 0m:");
}

#[test]
fn recording_rules_are_replayed_for_the_rules_that_read_them() {
    let rules = "{record: mean, expr: 'avg by (job) (temperature)'}, {alert: Warm, expr: 'mean > 50'}";
    let series = r#"
        temperature{job="j",host="a"} 20x9 90x9 20x9
        temperature{job="j",host="b"} 20x9 90x9 20x9
    "#;
    check(rules, series, (0, 29), "Warm 1x 10m:  10-20");
    // What was recorded then by another rule of that name is not what this one reads.
    let other = format!("{series}\nmean{{job=\"j\"}} 99x29");
    check(rules, &other, (0, 29), "Warm 1x 10m:  10-20");
    // Before the first evaluation it is all there is.
    let rules =
        "{record: mean, expr: 'avg by (job) (temperature)'}, {alert: Was, expr: 'max_over_time(mean[10m]) > 98'}";
    check(rules, &other, (12, 29), "Was 0x 7m:  10-19");
}

#[test]
fn an_alert_may_read_its_own_state() {
    let rules = r#"{alert: Hot, expr: 'temperature > 80 or (temperature > 60 and ignoring (alertname, alertstate) ALERTS{alertname="Hot", alertstate="firing"})'}"#;
    check(
        rules,
        "temperature{host=\"a\"} 70x9 90x1 70x7 50x4 70x9",
        (0, 30),
        "Hot 1x 10m: a 10-20",
    );
}

#[test]
fn in_step_and_at_once_give_the_same() {
    let rules = "{record: mean, expr: 'avg by (host) (avg_over_time(temperature[3m]))'}, \
                 {alert: Hot, expr: 'mean > 50', for: 3m, keep_firing_for: 2m}, \
                 {alert: Gone, expr: 'absent(temperature{host=\"a\"})'}";
    let series = r#"
        temperature{host="a"} 20x9 90x4 _x9 90 20 95 10 _x3 60x9 20x30
        temperature{host="b"} 55x3 _x3 80x9 30x9 stale _x3 80x30
    "#;
    let at_once = run(rules, series, 3, 60);
    // The same expressions, with something that has to be looked at moment by moment.
    let same = rules
        .replace("temperature[3m]", "temperature{x!=\"@\"}[3m]")
        .replace("mean > 50", "mean{x!=\"@\"} > 50")
        .replace("host=\"a\"", "host=\"a\",x!=\"@\"");
    let in_step = run(&same, series, 3, 60);
    assert_eq!(at_once.evaluations, in_step.evaluations);
    assert!(
        at_once
            .rules
            .iter()
            .filter(|rule| rule.is_alert)
            .all(|rule| rule.fired > 0),
        "{at_once:?}"
    );
    assert_eq!(at_once.rules, in_step.rules);
}

#[test]
fn what_was_not_there_yet_is_not_seen() {
    check(
        "{alert: Hot, expr: 'temperature offset -3m > 80'}",
        "temperature{host=\"a\"} 20x9 90x9",
        (0, 15),
        "Hot 1x 5m: a 10-",
    );
}

#[test]
fn a_rule_that_cannot_be_evaluated_says_so_and_the_others_go_on() {
    let rules = format!("{{record: both, expr: 'x * on (job) y'}}, {HOT}");
    let series = r#"
        x{job="a"} 1x20
        y{job="a",n="1"} 1x20
        y{job="a",n="2"} 1x20
        temperature{host="a"} 90x20
    "#;
    let report = run(&rules, series, 0, 20);
    assert_eq!(report.rules[0].failed, report.evaluations / 2);
    assert!(report.rules[0].error.as_ref().is_some(), "{report:?}");
    assert_eq!(report.rules[1].fired, 1);
}

#[test]
fn more_than_can_be_done_is_refused_or_stopped_and_said() {
    let groups = load(
        &format!("groups: [{{name: g, interval: 1s, rules: [{HOT}]}}]"),
        "test.yml",
    )
    .expect("rules");
    let mut asked = Replay {
        groups: &groups,
        from_ms: 0,
        to_ms: 400 * 86_400_000,
        time_max: Duration::MAX,
        deadline: Deadline::default(),
    };
    let none = stored("");
    let error = replay(&asked, &Engine::default(), &none, "").expect_err("too long");
    assert_eq!(error.to_string(), "34560123 evaluations; the most is 20000000");
    asked.to_ms = -1;
    assert_eq!(
        replay(&asked, &Engine::default(), &none, "")
            .expect_err("backwards")
            .to_string(),
        "the replay ends before it begins"
    );
    asked.to_ms = 86_400_000;
    asked.time_max = Duration::ZERO;
    let report = replay(&asked, &Engine::default(), &none, "").expect("a report");
    assert_eq!(report.stopped.as_deref(), Some("its time was over"));
    asked.time_max = Duration::MAX;
    asked.deadline.cancel();
    let report = replay(&asked, &Engine::default(), &none, "").expect("a report");
    assert_eq!(report.stopped.as_deref(), Some("its time was over"));
    assert_eq!(report.to_ms, 0);
}

#[test]
fn many_episodes_are_counted_and_the_first_listed() {
    let series = format!("temperature{{host=\"a\"}} {}", "90 20 ".repeat(3_000));
    let report = run("{alert: Hot, expr: 'temperature > 80'}", &series, 0, 5_999);
    let rule = &report.rules[0];
    assert_eq!((rule.fired, rule.episodes.len()), (3_000, 500));
    assert_eq!(rule.episodes[499].fired_ms, 998 * MINUTE);
    assert_eq!(
        Labels::from_pairs(rule.episodes[0].labels.iter().map(|(n, v)| (n.as_str(), v.as_str()))).to_string(),
        "{alertname=\"Hot\",host=\"a\"}"
    );
}
