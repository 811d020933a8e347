use std::collections::BTreeMap;
use std::sync::Arc;

use store::promql::{Engine, QueryOptions, Value};
use store::{LabelsBuf, State, Store, StoreOptions};

use super::template::Facts;
use super::*;

// ---- states

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

// ---- durations

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

// ---- templates

fn rendered(text: &str, value: f64) -> String {
    let facts = Facts {
        labels: vec![
            ("instance", "web-1.example.org:9100"),
            ("job", "node"),
            ("mountpoint", "/"),
        ],
        value,
        external_labels: vec![("cluster", "a")],
        external_url: "http://foreshock.example",
    };
    match Template::parse(text) {
        Ok(template) => template.render(&facts),
        Err(error) => format!("refused: {error}"),
    }
}

fn gives(text: &str, value: f64, expected: &str) {
    assert_eq!(rendered(text, value), expected, "{text} with {value}");
}

#[test]
fn labels_and_value_are_put_in() {
    gives("plain", 1.0, "plain");
    gives(
        "{{ $labels.job }} on {{$labels.instance}}",
        1.0,
        "node on web-1.example.org:9100",
    );
    gives(
        "{{ .Labels.job }} {{ .Value }} {{ $externalLabels.cluster }}",
        2.5,
        "node 2.5 a",
    );
    gives("[{{ $labels.missing }}]", 1.0, "[]");
    gives(
        "{{ index $labels \"job\" }} {{ externalURL }} {{ $externalURL }}",
        1.0,
        "node http://foreshock.example http://foreshock.example",
    );
    gives("a {{- /* said */ -}} b {{ \"c\" -}}   d", 1.0, "ab cd");
    gives("{{ `raw \"text\"` }}", 1.0, "raw \"text\"");
}

#[test]
fn numbers_look_as_in_go() {
    gives("{{ $value }}", 95.0, "95");
    gives("{{ $value }}", 0.1, "0.1");
    gives("{{ $value }}", 1_234_567.0, "1.234567e+06");
    gives("{{ $value }}", 100_000.0, "100000");
    gives("{{ $value }}", 0.000_012, "1.2e-05");
    gives("{{ $value }}", -0.5, "-0.5");
    gives("{{ $value }}", f64::NAN, "NaN");
    gives("{{ $value }}", f64::INFINITY, "+Inf");
}

#[test]
fn humanized_numbers_are_those_of_prometheus() {
    gives("{{ humanize $value }}", 0.0, "0");
    gives("{{ $value | humanize }}", 1_234_567.0, "1.235M");
    gives("{{ $value | humanize }}", 999.0, "999");
    gives("{{ $value | humanize }}", 0.000_5, "500u");
    gives("{{ $value | humanize }}", -0.25, "-250m");
    gives("{{ $value | humanize1024 }}", 1_073_741_824.0, "1Gi");
    gives("{{ $value | humanize1024 }}", 1500.0, "1.465ki");
    gives("{{ $value | humanizePercentage }}", 0.123_456, "12.35%");
    gives("{{ $value | humanizePercentage }}", 1.0, "100%");
    gives("{{ $value | humanizeDuration }}", 0.0, "0s");
    gives("{{ $value | humanizeDuration }}", 59.5, "59.5s");
    gives("{{ $value | humanizeDuration }}", 3661.0, "1h 1m 1s");
    gives("{{ $value | humanizeDuration }}", 90_061.0, "1d 1h 1m 1s");
    gives("{{ $value | humanizeDuration }}", -65.0, "-1m 5s");
    gives("{{ $value | humanizeDuration }}", 0.012, "12ms");
    gives(
        "{{ $value | humanizeTimestamp }}",
        1_435_065_584.128,
        "2015-06-23 13:19:44.128 +0000 UTC",
    );
    gives("{{ \"1h\" | parseDuration }}", 0.0, "3600");
    gives("{{ \"3.5\" | humanize }}", 0.0, "3.5");
}

#[test]
fn printf_knows_the_common_verbs() {
    gives("{{ printf \"%.2f%%\" $value }}", 12.345, "12.35%");
    gives("{{ $value | printf \"%.1f\" }}", 0.25, "0.2");
    gives("{{ printf \"%s is %v\" $labels.job $value }}", 3.0, "node is 3");
    gives(
        "{{ printf \"%5.1f|%-6s|%06.2f\" $value \"ab\" $value }}",
        1.5,
        "  1.5|ab    |001.50",
    );
    gives("{{ printf \"%d %t %q\" 5 true \"x\" }}", 0.0, "5 true \"x\"");
    gives(
        "{{ printf \"%.3g %e\" $value $value }}",
        1234.5,
        "1.23e+03 1.234500e+03",
    );
    gives("{{ printf \"%d\" $value }}", 1.5, "%!d(float64=1.5)");
    gives("{{ printf \"%s %s\" \"a\" }}", 0.0, "a %!s(MISSING)");
    gives("{{ printf \"%s\" \"a\" \"b\" }}", 0.0, "a%!(EXTRA string=b)");
    gives(
        "{{ printf \"%p\" $value }}",
        0.0,
        "refused: printf verb %p is not supported at \"{{ printf \\\"%p\\\" $value }}\"",
    );
}

#[test]
fn conditions_choose() {
    gives(
        "{{ if gt $value 5.0 }}high{{ else if gt $value 2.0 }}middle{{ else }}low{{ end }}",
        9.0,
        "high",
    );
    gives(
        "{{ if gt $value 5.0 }}high{{ else if gt $value 2.0 }}middle{{ else }}low{{ end }}",
        3.0,
        "middle",
    );
    gives(
        "{{ if gt $value 5.0 }}high{{ else if gt $value 2.0 }}middle{{ else }}low{{ end }}",
        1.0,
        "low",
    );
    gives("{{ if $labels.missing }}a{{ end }}b", 0.0, "b");
    gives(
        "{{ with $labels.job }}job {{ . }}{{ else }}none{{ end }}",
        0.0,
        "job node",
    );
    gives(
        "{{ with $x := $labels.missing }}{{ $x }}{{ else }}none{{ end }}",
        0.0,
        "none",
    );
    gives("{{ $x := $labels.job | toUpper }}{{ $x }}", 0.0, "NODE");
    gives(
        "{{ if and (eq $labels.job \"node\") (not (lt $value 1.0)) }}yes{{ end }}",
        1.0,
        "yes",
    );
    gives(
        "{{ if or (eq $labels.job \"a\" \"node\") false }}yes{{ end }}",
        1.0,
        "yes",
    );
    gives("{{ if match \"^web-[0-9]\" $labels.instance }}web{{ end }}", 1.0, "web");
}

#[test]
fn texts_are_changed_as_prometheus_does() {
    gives("{{ $labels.instance | stripPort }}", 0.0, "web-1.example.org");
    gives("{{ $labels.instance | stripDomain }}", 0.0, "web-1:9100");
    gives(
        "{{ stripPort \"[::1]:80\" }} {{ stripDomain \"10.0.0.1:80\" }}",
        0.0,
        "::1 10.0.0.1:80",
    );
    gives(
        "{{ reReplaceAll \"(.*):.*\" \"$1!\" $labels.instance }}",
        0.0,
        "web-1.example.org!",
    );
    gives(
        "{{ title \"one two\" }} {{ toLower \"ABC\" }} {{ len \"abc\" }}",
        0.0,
        "One Two abc 3",
    );
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    gives(
        "{{ nonsense $value }}",
        0.0,
        "refused: unknown function nonsense at \"{{ nonsense $value }}\"",
    );
    gives(
        "{{ $labels.job",
        0.0,
        "refused: an action does not end with }} at \"{{ $labels.job\"",
    );
    gives(
        "{{ $nobody }}",
        0.0,
        "refused: undefined variable $nobody at \"{{ $nobody }}\"",
    );
    gives(
        "{{ if $value }}x",
        0.0,
        "refused: a block does not end at \"{{ if $value }}\"",
    );
    gives("{{ end }}", 0.0, "refused: unexpected end at \"{{ end }}\"");
    gives(
        "{{ humanize }}",
        0.0,
        "refused: humanize takes 1 arguments, not 0 at \"{{ humanize }}\"",
    );
    for text in [
        "{{ query \"up\" | first | value }}",
        "{{ range $labels }}x{{ end }}",
        "{{ template \"x\" }}",
    ] {
        assert!(
            rendered(text, 0.0).contains("not supported"),
            "{text}: {}",
            rendered(text, 0.0)
        );
    }
    gives(
        "{{ $labels.job | humanize }}",
        0.0,
        "<error expanding template: humanize: \"node\" is no number>",
    );
}

// ---- files

fn refused(text: &str) -> String {
    load(text, "test.yml").expect_err("the file is wrong").to_string()
}

#[test]
fn a_rule_file_is_read_as_it_is() {
    let groups = load(
        r#"
groups:
  - name: example
    interval: 30s
    limit: 10
    labels: {team: a}
    rules:
      - record: job:up:sum
        expr: sum by (job) (up)
      - alert: Down
        expr: up == 0
        for: 5m
        keep_firing_for: 1m
        labels: {severity: page}
        annotations: {summary: "{{ $labels.instance }} is down"}
  - name: empty
"#,
        "test.yml",
    )
    .unwrap();
    assert_eq!(groups.len(), 2);
    assert_eq!(
        (groups[0].interval_ms, groups[0].limit, groups[1].interval_ms),
        (30_000, 10, 60_000)
    );
    let alert = &groups[0].rules[1];
    assert_eq!(
        alert.labels.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["severity", "team"]
    );
    let RuleKind::Alert { hold, annotations } = &alert.kind else {
        panic!("an alert was expected")
    };
    assert_eq!(
        *hold,
        Hold {
            for_ms: 300_000,
            keep_firing_ms: 60_000
        }
    );
    assert_eq!(annotations[0].1.source(), "{{ $labels.instance }} is down");
    assert!(load("", "empty.yml").unwrap().is_empty());
}

#[test]
fn errors_name_file_group_and_rule() {
    let rule = |text: &str| refused(&format!("groups: [{{name: g, rules: [{text}]}}]"));
    let at = "test.yml, group \"g\", rule 1 ";
    assert_eq!(rule("{expr: up}"), format!("{at}\"\": a rule needs alert or record"));
    assert_eq!(
        rule("{alert: A, record: b, expr: up}"),
        format!("{at}\"A\": a rule has alert or record, not both")
    );
    assert!(rule("{alert: A, expr: 'up ='}").starts_with(&format!("{at}\"A\": expr: ")));
    assert_eq!(
        rule("{alert: A, expr: up, for: soon}"),
        format!("{at}\"A\": for: \"soon\" is no duration like 30s or 5m")
    );
    assert_eq!(
        rule("{record: b, expr: up, for: 1m}"),
        format!("{at}\"b\": for, keep_firing_for and annotations belong to alerts")
    );
    assert_eq!(
        rule("{record: 'a b', expr: up}"),
        format!("{at}\"a b\": record: \"a b\" is no name of a metric")
    );
    assert_eq!(
        rule("{alert: A, expr: up, annotations: {s: '{{ huh }}'}}"),
        format!("{at}\"A\": annotation s: unknown function huh at \"{{{{ huh }}}}\"")
    );
    assert_eq!(
        rule("{alert: A, expr: up, labels: {'a-b': c}}"),
        format!("{at}\"A\": \"a-b\" is no valid name of a label")
    );
    assert_eq!(
        rule("{alert: A, expr: up, annotations: {s: '{{ $value.x }}'}}"),
        format!("{at}\"A\": annotation s: there is no field x here")
    );
    assert_eq!(
        refused("groups: [{name: g}, {name: g}]"),
        "test.yml, group \"g\": the name is taken by another group of this file"
    );
    assert_eq!(
        refused("groups: [{name: g, interval: x}]"),
        "test.yml, group \"g\": interval: \"x\" is no duration like 30s or 5m"
    );
    let error = load("groups: [{name: g, colour: red}]", "test.yml").unwrap_err();
    assert!(
        std::error::Error::source(&error)
            .unwrap()
            .to_string()
            .contains("unknown field `colour`")
    );
    assert!(error.hint().is_some());
}

#[test]
fn the_default_rules_are_sound_and_say_what_to_do() {
    let groups = default_groups();
    let rules: Vec<&Rule> = groups.iter().flat_map(|group| &group.rules).collect();
    assert!(rules.len() >= 40, "{}", rules.len());
    let labels = [
        "host",
        "host_name",
        "hw_id",
        "device",
        "horizon",
        "model",
        "gpu_slot",
        "xid",
    ];
    for rule in rules {
        let RuleKind::Alert { annotations, .. } = &rule.kind else {
            continue;
        };
        assert!(rule.labels.iter().any(|(name, _)| name == "severity"), "{}", rule.name);
        for wanted in ["summary", "description", "action", "runbook"] {
            let (_, text) = annotations
                .iter()
                .find(|(name, _)| name == wanted)
                .unwrap_or_else(|| panic!("{}: no {wanted}", rule.name));
            let facts = Facts {
                labels: labels.map(|name| (name, "79")).to_vec(),
                value: 0.5,
                ..Facts::default()
            };
            let text = text.render(&facts);
            assert!(!text.is_empty() && !text.contains("<error"), "{}: {text}", rule.name);
        }
    }
}

// ---- evaluation

struct Bench {
    directory: tempfile::TempDir,
    store: Arc<Store>,
    engine: Engine,
    evaluator: Evaluator,
    rules: String,
}

const START: i64 = 1_700_000_000_000;

impl Bench {
    fn new(rules: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        let evaluator = Evaluator::new(load(rules, "test.yml").unwrap(), store.state()).unwrap();
        Self {
            directory,
            store,
            engine: Engine::default(),
            evaluator,
            rules: rules.to_owned(),
        }
    }

    /// As after kill -9: all that is not on disk is lost.
    fn restart(mut self, rules: Option<&str>) -> Self {
        let rules = rules.map_or(self.rules, str::to_owned);
        drop(self.evaluator);
        self.store.close().unwrap();
        drop(self.store);
        self.store = Store::open(self.directory.path(), StoreOptions::default()).unwrap();
        self.evaluator = Evaluator::new(load(&rules, "test.yml").unwrap(), self.store.state()).unwrap();
        self.rules = rules;
        self
    }

    fn put(&self, series: &[(&str, &str)], at_s: i64, value: f64) {
        let mut batch = self.store.batch();
        let mut labels = LabelsBuf::default();
        for (name, text) in series {
            labels.push(name, text);
        }
        let id = batch.series(&mut labels).unwrap();
        batch.push(id, START + at_s * 1000, value);
        self.store.append(batch).unwrap();
    }

    /// Transitions of a tick, acknowledged, as `firing Name host`.
    fn tick(&mut self, at_s: i64) -> String {
        let transitions = self
            .evaluator
            .tick(&self.engine, &self.store, START + at_s * 1000)
            .unwrap();
        Evaluator::acknowledge(self.store.state(), &transitions).unwrap();
        said(&transitions)
    }

    /// Series of an expression as `{labels} value`.
    fn query(&self, expr: &str, at_s: i64) -> String {
        let at = START + at_s * 1000;
        let answer = self
            .engine
            .instant(&self.store.snapshot(), expr, at, &QueryOptions::default())
            .unwrap();
        let Value::Vector(points) = answer.value else {
            panic!("a vector was expected")
        };
        let mut lines: Vec<String> = points
            .iter()
            .map(|point| format!("{} {}", point.labels, point.v))
            .collect();
        lines.sort();
        lines.join("\n")
    }
}

fn said(transitions: &[Transition]) -> String {
    let one = |t: &Transition| {
        format!(
            "{} {} {}",
            t.kind.name(),
            t.alert.labels["alertname"],
            t.alert.labels["host"]
        )
    };
    transitions.iter().map(one).collect::<Vec<_>>().join(", ")
}

const HOT: &str = r#"
groups:
  - name: g
    interval: 10s
    rules:
      - record: hot
        expr: temperature > 80
      - alert: Hot
        expr: hot
        for: 20s
        keep_firing_for: 15s
        labels: {severity: page, note: "{{ $labels.__name__ }}"}
        annotations: {summary: "{{ $labels.host }} at {{ $value }}"}
"#;

#[test]
fn an_alert_lives_through_pending_and_firing_and_leaves_series() {
    let mut bench = Bench::new(HOT);
    for at in [0, 10, 20, 30, 40] {
        bench.put(&[("__name__", "temperature"), ("host", "a")], at, 85.0 + at as f64);
        let expected = if at == 20 { "firing Hot a" } else { "" };
        assert_eq!(bench.tick(at), expected, "at {at} s");
    }
    let alert = bench.evaluator.alerts().next().unwrap();
    assert_eq!(alert.annotations["summary"], "a at 125");
    assert_eq!(alert.labels["note"], "hot");
    assert_eq!(bench.query("hot", 40), "hot{host=\"a\"} 125");
    assert_eq!(
        bench.query("ALERTS", 10),
        "ALERTS{alertname=\"Hot\",alertstate=\"pending\",host=\"a\",note=\"hot\",severity=\"page\"} 1"
    );
    // The pending series ended when the alert began to fire.
    assert_eq!(
        bench.query("ALERTS", 20),
        "ALERTS{alertname=\"Hot\",alertstate=\"firing\",host=\"a\",note=\"hot\",severity=\"page\"} 1"
    );
    assert_eq!(
        bench.query("ALERTS_FOR_STATE - 1700000000", 40),
        "{alertname=\"Hot\",host=\"a\",note=\"hot\",severity=\"page\"} 0"
    );
    bench.put(&[("__name__", "temperature"), ("host", "a")], 50, 20.0);
    assert_eq!(bench.tick(50), "", "kept firing");
    assert_eq!(bench.query("hot", 50), "");
    assert_eq!(bench.tick(60), "");
    assert_eq!(bench.tick(70), "resolved Hot a");
    assert_eq!(bench.query("ALERTS", 70), "");
    assert_eq!(bench.evaluator.alerts().count(), 0);
    let resolved = |bench: &Bench| {
        bench
            .evaluator
            .book()
            .alerts()
            .iter()
            .map(|a| a.state.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(resolved(&bench), ["inactive"], "shown for a while");
    bench.tick(70 + 15 * 60);
    assert!(resolved(&bench).is_empty());
}

#[test]
fn a_group_is_evaluated_once_in_its_interval() {
    let mut bench = Bench::new(HOT);
    bench.tick(0);
    bench.tick(9);
    assert_eq!(bench.evaluator.book().groups[0].last_evaluation_ms, Some(START));
    bench.tick(11);
    assert_eq!(
        bench.evaluator.book().groups[0].last_evaluation_ms,
        Some(START + 11_000)
    );
    bench.tick(20);
    assert_eq!(
        bench.evaluator.book().groups[0].last_evaluation_ms,
        Some(START + 20_000)
    );
    assert_eq!(bench.evaluator.book().groups[0].rules[1].error, None);
}

#[test]
fn a_restart_neither_repeats_nor_forgets() {
    let mut bench = Bench::new(HOT);
    for at in [0, 10] {
        bench.put(&[("__name__", "temperature"), ("host", "a")], at, 85.0);
        assert_eq!(bench.tick(at), "");
    }
    let mut bench = bench.restart(None);
    bench.put(&[("__name__", "temperature"), ("host", "a")], 20, 85.0);
    assert_eq!(bench.tick(20), "firing Hot a", "the time before the restart counts");
    let mut bench = bench.restart(None);
    bench.put(&[("__name__", "temperature"), ("host", "a")], 30, 85.0);
    assert_eq!(bench.tick(30), "", "it fired already");
    let mut bench = bench.restart(None);
    assert_eq!(bench.evaluator.alerts().count(), 1);
    bench.put(&[("__name__", "temperature"), ("host", "a")], 40, 20.0);
    assert_eq!(bench.tick(40), "");
    let mut bench = bench.restart(None);
    assert_eq!(bench.tick(60), "resolved Hot a");
    assert_eq!(bench.query("ALERTS", 60), "");
    assert_eq!(bench.restart(None).tick(70), "");
}

#[test]
fn a_long_absence_does_not_fire_what_was_pending() {
    let mut bench = Bench::new(HOT);
    bench.put(&[("__name__", "temperature"), ("host", "a")], 0, 85.0);
    bench.tick(0);
    let mut bench = bench.restart(None);
    bench.put(&[("__name__", "temperature"), ("host", "a")], 3600, 85.0);
    assert_eq!(bench.tick(3600), "");
    bench.put(&[("__name__", "temperature"), ("host", "a")], 3610, 85.0);
    assert_eq!(bench.tick(3610), "firing Hot a");
}

#[test]
fn a_transition_is_handed_out_until_it_is_acknowledged() {
    let mut bench = Bench::new(&HOT.replace("for: 20s", "for: 0s"));
    bench.put(&[("__name__", "temperature"), ("host", "a")], 0, 85.0);
    let (engine, start) = (Engine::default(), START);
    let first = bench.evaluator.tick(&engine, &bench.store, start).unwrap();
    assert_eq!(said(&first), "firing Hot a");
    let mut bench = bench.restart(None);
    let again = bench.evaluator.tick(&engine, &bench.store, start + 1000).unwrap();
    assert_eq!(first, again);
    Evaluator::acknowledge(bench.store.state(), &again).unwrap();
    assert_eq!(bench.tick(2), "");
}

#[test]
fn alerts_of_a_rule_that_is_gone_end() {
    let mut bench = Bench::new(&HOT.replace("for: 20s", "for: 0s"));
    bench.put(&[("__name__", "temperature"), ("host", "a")], 0, 85.0);
    assert_eq!(bench.tick(0), "firing Hot a");
    let mut bench = bench.restart(Some("groups: [{name: other, rules: [{record: r, expr: '1'}]}]"));
    assert_eq!(bench.tick(10), "resolved Hot a");
    assert_eq!(bench.query("ALERTS", 10), "");
    assert_eq!(bench.query("r", 10), "r 1");
    assert_eq!(bench.tick(20), "");
}

#[test]
fn a_changed_expression_keeps_the_alert() {
    let mut bench = Bench::new(&HOT.replace("for: 20s", "for: 0s"));
    bench.put(&[("__name__", "temperature"), ("host", "a")], 0, 85.0);
    assert_eq!(bench.tick(0), "firing Hot a");
    let mut bench = bench.restart(Some(&HOT.replace("> 80", "> 70")));
    bench.put(&[("__name__", "temperature"), ("host", "a")], 10, 75.0);
    assert_eq!(bench.tick(10), "");
    assert_eq!(bench.evaluator.alerts().count(), 1);
}

#[test]
fn a_rule_that_fails_leaves_its_alerts_alone_and_says_why() {
    let rules = r"
groups:
  - name: g
    interval: 10s
    limit: 1
    rules: [{alert: Hot, expr: temperature > 80}]
";
    let mut bench = Bench::new(rules);
    bench.put(&[("__name__", "temperature"), ("host", "a")], 0, 85.0);
    assert_eq!(bench.tick(0), "firing Hot a");
    bench.put(&[("__name__", "temperature"), ("host", "b")], 10, 85.0);
    assert_eq!(bench.tick(10), "");
    let book = bench.evaluator.book();
    assert_eq!(
        book.groups[0].rules[0].error.as_deref(),
        Some("2 series, but the group's limit is 1")
    );
    assert_eq!(book.groups[0].rules[0].alerts.len(), 1);
}

#[test]
fn hysteresis_holds_between_two_thresholds() {
    let rules = DEFAULT_RULES
        .replace("keep_firing_for: 5m", "keep_firing_for: 0s")
        .replace("interval: 30s", "interval: 10s");
    let mut bench = Bench::new(&rules);
    let mut heard = Vec::new();
    for (step, probability) in [0.1, 0.45, 0.3, 0.25, 0.15, 0.3].into_iter().enumerate() {
        let at = step as i64 * 10;
        let score = [
            ("__name__", "foreshock_failure_probability"),
            ("host", "a"),
            ("horizon", "1h"),
            ("model", "m"),
        ];
        bench.put(&score, at, probability);
        bench.put(
            &[
                ("__name__", "foreshock_alert_threshold"),
                ("horizon", "1h"),
                ("model", "m"),
            ],
            at,
            0.4,
        );
        heard.push(bench.tick(at));
    }
    assert_eq!(
        heard,
        ["", "firing FailureLikely a", "", "", "resolved FailureLikely a", ""]
    );
}

#[test]
fn fingerprints_are_those_of_alertmanager() {
    // What Alertmanager's model.LabelSet{}.Fingerprint() gives for no labels, FNV-1a's offset.
    assert_eq!(super::evaluator::fingerprint(&BTreeMap::new()), "cbf29ce484222325");
    let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let one: BTreeMap<String, String> = labels(&[("alertname", "a")]);
    assert_ne!(
        super::evaluator::fingerprint(&one),
        super::evaluator::fingerprint(&labels(&[("alertnam", "ea")]))
    );
}

#[test]
fn the_state_is_read_by_sqlite_alone() {
    let directory = tempfile::tempdir().unwrap();
    let state = State::open(&directory.path().join("state.sqlite")).unwrap();
    assert_eq!(Evaluator::new(default_groups(), &state).unwrap().alerts().count(), 0);
}
