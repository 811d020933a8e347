use store::{LabelsBuf, StoreOptions};

use super::*;
use crate::rule::load;

fn check(expr: &str, expected: &str) {
    let watched = Watched::of(expr).expect("an expression");
    let compared = watched.compared_with.as_deref().unwrap_or("nothing");
    assert_eq!(
        format!("{} | {compared} | {}", watched.expr, watched.unit),
        expected,
        "{expr}"
    );
}

#[test]
fn what_is_compared_is_watched_with_its_unit() {
    check("load_ratio > 0.9", "load_ratio | 0.9 | 1");
    check("(4 * 3600 > bool x_bytes)", "4 * 3600 | x_bytes | ");
    check("3600 > x_bytes", "x_bytes | 3600 | By");
    check("x_seconds{a=\"b\"} < 4 * 3600", "x_seconds{a=\"b\"} | 4 * 3600 | s");
    check(
        "max_over_time(probe_success_ratio[2m]) == 0",
        "max_over_time(probe_success_ratio[2m]) | 0 | 1",
    );
    check("rate(x_seconds[5m]) > 0.1", "rate(x_seconds[5m]) | 0.1 | ");
    check(
        "foreshock_failure_probability > on (horizon, model) group_left () foreshock_alert_threshold or (b > 1 and c)",
        "foreshock_failure_probability | foreshock_alert_threshold | 1",
    );
    check("a_ratio == 1 and on (x) (b == 0)", "a_ratio | 1 | 1");
    check("absent(up)", "absent(up) | nothing | ");
    assert!(Watched::of("this is (none").is_none());
}

const MINUTE: i64 = 60_000;
/// 2023-11-14 22:13:20 UTC.
const START: i64 = 1_700_000_000_000;

struct Bench {
    _directory: tempfile::TempDir,
    store: std::sync::Arc<Store>,
    evaluator: Evaluator,
}

impl Bench {
    fn new(rules: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        let groups = load(&format!("groups: [{{name: g, rules: [{rules}]}}]"), "test.yml").unwrap();
        let evaluator = Evaluator::new(groups, store.state()).unwrap();
        Self {
            _directory: directory,
            store,
            evaluator,
        }
    }

    fn put(&self, labels: &[(&str, &str)], minute: i64, value: f64) {
        let mut batch = self.store.batch();
        let mut buffer = LabelsBuf::default();
        for (name, text) in labels {
            buffer.push(name, text);
        }
        let id = batch.series(&mut buffer).unwrap();
        batch.push(id, START + minute * MINUTE, value);
        self.store.append(batch).unwrap();
    }

    /// Trends of what fires at that minute, by host.
    fn trends(&mut self, minute: i64) -> BTreeMap<String, Trend> {
        let engine = Engine::default();
        let transitions = self
            .evaluator
            .tick(&engine, &self.store, START + minute * MINUTE)
            .unwrap();
        let trends = self.evaluator.trends(&engine, &self.store, &transitions);
        let of = |transition: &Transition| {
            let alert = &transition.alert;
            Some((alert.labels["host"].clone(), trends.get(&alert.fingerprint)?.clone()))
        };
        transitions.iter().filter_map(of).collect()
    }
}

#[test]
fn an_alert_comes_with_the_hours_before_it_of_its_own_series() {
    let mut bench = Bench::new(
        "{alert: Full, expr: 'used_ratio > on () group_left () limit_ratio', labels: {team: ops}}, {alert: Steady, expr: steady > 0}",
    );
    for minute in 0..=600 {
        let rising = f64::from(u16::try_from(minute).unwrap()) / 600.0;
        bench.put(
            &[("__name__", "used_ratio"), ("host", "a"), ("team", "db")],
            minute,
            rising,
        );
        bench.put(
            &[("__name__", "used_ratio"), ("host", "b"), ("team", "db")],
            minute,
            0.95,
        );
        bench.put(&[("__name__", "limit_ratio")], minute, 0.9);
        bench.put(&[("__name__", "steady"), ("host", "c")], minute, 1.0);
    }
    // That of a host which did not change shows nothing.
    assert_eq!(bench.trends(500).keys().collect::<Vec<_>>(), Vec::<&String>::new());
    let trends = bench.trends(600);
    assert_eq!(trends.keys().collect::<Vec<_>>(), ["a"]);
    let trend = &trends["a"];
    assert_eq!(
        (
            trend.start_ms,
            trend.step_ms,
            trend.values.len(),
            trend.threshold,
            trend.unit.as_str()
        ),
        (START + 240 * MINUTE, 450_000, 49, Some(0.9), "1")
    );
    assert_eq!(
        (trend.values[0], trend.values[24], trend.values[48]),
        (Some(0.4), Some(0.7), Some(1.0))
    );
}

#[test]
fn a_young_series_has_a_short_past_and_one_value_none() {
    let mut bench = Bench::new("{alert: High, expr: x > 10}");
    for minute in 0..=30 {
        bench.put(
            &[("__name__", "x"), ("host", "a")],
            minute,
            f64::from(u16::try_from(minute).unwrap()),
        );
    }
    bench.put(&[("__name__", "x"), ("host", "b")], 30, 20.0);
    let trends = bench.trends(30);
    assert_eq!(trends.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(
        trends["a"].values,
        [0.0, 7.0, 15.0, 22.0, 30.0].map(Some),
        "a value stands for at most five minutes after it"
    );
}
