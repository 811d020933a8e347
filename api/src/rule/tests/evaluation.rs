use std::collections::BTreeMap;
use std::sync::Arc;

use store::promql::{Engine, QueryOptions, Value};
use store::{LabelsBuf, State, Store, StoreOptions};

use crate::rule::*;

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
        Self::of(rules, StoreOptions::default().max_series)
    }

    fn of(rules: &str, max_series: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            max_series,
            ..StoreOptions::default()
        };
        let store = Store::open(directory.path(), options).unwrap();
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
        if let Some(rules) = rules {
            rules.clone_into(&mut self.rules);
        }
        let mut bench = self.reopen();
        bench.evaluator = Evaluator::new(load(&bench.rules, "test.yml").unwrap(), bench.store.state()).unwrap();
        bench
    }

    fn reopen(mut self) -> Self {
        self.store.close().unwrap();
        drop(self.store);
        self.store = Store::open(self.directory.path(), StoreOptions::default()).unwrap();
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

    /// What a rule says of its last evaluation, and when that was, seconds.
    fn health(&self, group: usize, rule: usize) -> (String, i64) {
        let group = &self.evaluator.book().groups[group];
        let at_s = (group.last_evaluation_ms.unwrap() - START) / 1000;
        (group.rules[rule].error.clone().unwrap_or_default(), at_s)
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

const COPIED: &str = r"
groups:
  - {name: copies, interval: 10s, rules: [{record: copy, expr: temperature}, {record: half, expr: temperature / 2}]}
  - {name: alerts, interval: 10s, rules: [{alert: Hot, expr: temperature > 80}]}
";

#[test]
fn a_recording_rule_that_cannot_write_holds_up_nothing_else() {
    let mut bench = Bench::of(COPIED, 4);
    for host in ["a", "b"] {
        bench.put(&[("__name__", "temperature"), ("host", host)], 0, 75.0);
    }
    bench.tick(0);
    assert_eq!(bench.query("copy", 0).lines().count(), 2, "there was room for that");
    let full = "2 of its series cannot be written: the limit of 4 series is reached; \
                drop labels with many values at the sender, or raise the tenant's limit of series";
    assert_eq!(bench.health(0, 0), (String::new(), 0));
    assert_eq!(bench.health(0, 1), (full.to_owned(), 0));
    bench.put(&[("__name__", "temperature"), ("host", "a")], 11, 85.0);
    assert_eq!(bench.tick(11), "firing Hot a");
    assert_eq!(bench.health(0, 1), (full.to_owned(), 11), "once in its interval");
    assert_eq!(
        bench.health(1, 0),
        (full.to_owned(), 11),
        "of ALERTS and ALERTS_FOR_STATE"
    );
    assert_eq!(bench.query("copy{host='a'}", 11), "copy{host=\"a\"} 85");
    let mut bench = bench.restart(None);
    bench.put(&[("__name__", "temperature"), ("host", "a")], 20, 85.0);
    assert_eq!(bench.tick(20), "", "it fired already");
    assert_eq!((bench.health(0, 1).0, bench.health(1, 0).0), Default::default());
    assert_eq!(bench.query("half{host='a'}", 20), "half{host=\"a\"} 42.5");
}

#[test]
fn alerts_are_handed_out_when_nothing_can_be_written() {
    let mut bench = Bench::new(COPIED);
    bench.put(&[("__name__", "temperature"), ("host", "a")], 0, 85.0);
    bench.store.close().unwrap();
    assert_eq!(bench.tick(0), "firing Hot a");
    let closed = "1 of its series cannot be written: the store is closed";
    assert_eq!(bench.health(0, 0), (closed.to_owned(), 0));
}

#[test]
fn a_mark_of_an_end_that_was_not_written_is_written_later() {
    let mut bench = Bench::new(&COPIED.replace("expr: temperature}", "expr: temperature > 80}"));
    bench.put(&[("__name__", "temperature"), ("host", "a")], 0, 85.0);
    bench.tick(0);
    bench.put(&[("__name__", "temperature"), ("host", "a")], 10, 20.0);
    bench.store.close().unwrap();
    bench.tick(10);
    let mut bench = bench.reopen();
    assert_eq!(bench.query("copy", 10), "copy{host=\"a\"} 85");
    bench.tick(20);
    assert_eq!(bench.query("copy", 20), "");
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
    assert_eq!(fingerprint(&BTreeMap::new()), "cbf29ce484222325");
    let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let one: BTreeMap<String, String> = labels(&[("alertname", "a")]);
    assert_ne!(fingerprint(&one), fingerprint(&labels(&[("alertnam", "ea")])));
}

#[test]
fn the_state_is_read_by_sqlite_alone() {
    let directory = tempfile::tempdir().unwrap();
    let state = State::open(&directory.path().join("state.sqlite")).unwrap();
    assert_eq!(Evaluator::new(default_groups(), &state).unwrap().alerts().count(), 0);
}
