use proptest::prelude::*;

use super::*;
use crate::promql::Engine;
use crate::testing::{NOW, append, open, quiet, try_append};
use crate::{Matcher, Store, StoreOptions, TimeRange};

const STEP_MS: i64 = 60_000;

fn asked(reuse: bool) -> QueryOptions {
    QueryOptions {
        reuse,
        ..QueryOptions::default()
    }
}

fn ask(store: &Store, query: &str, from_step: i64, to_step: i64, reuse: bool) -> Answer {
    let (start, end) = (at(from_step), at(to_step));
    Engine::default()
        .range(&store.snapshot(), query, start, end, STEP_MS, &asked(reuse))
        .expect("a good query")
}

/// The time of a step; step 100 is now.
fn at(step: i64) -> i64 {
    NOW - (100 - step) * STEP_MS
}

fn minutely(store: &Store, from_step: i64, to_step: i64) {
    for step in from_step..to_step {
        append(
            store,
            &[
                ("up host=a", at(step), step as f64),
                ("requests_total host=a", at(step), (step * step) as f64),
            ],
        );
    }
}

#[test]
fn a_panel_that_moves_on_evaluates_the_new_steps_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    minutely(&store, 0, 80);
    let first = ask(&store, "rate(requests_total[5m])", 10, 70, true);
    assert_eq!((first.stats.steps, first.stats.reused_steps), (61, 0));
    let again = ask(&store, "rate(requests_total[5m])", 10, 70, true);
    assert_eq!((again.stats.steps, again.stats.reused_steps), (0, 61));
    assert_eq!(again.value, first.value);
    minutely(&store, 80, 90);
    let later = ask(&store, "rate(requests_total[5m])", 12, 75, true);
    assert_eq!((later.stats.steps, later.stats.reused_steps), (5, 59));
    assert_eq!(
        later.value,
        ask(&store, "rate(requests_total[5m])", 12, 75, false).value
    );
    let earlier = ask(&store, "rate(requests_total[5m])", 6, 75, true);
    assert_eq!((earlier.stats.steps, earlier.stats.reused_steps), (6, 64));
    assert_eq!(
        earlier.value,
        ask(&store, "rate(requests_total[5m])", 6, 75, false).value
    );
}

#[test]
fn a_late_sample_shows_in_the_next_answer() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    minutely(&store, 0, 80);
    ask(&store, "sum(up)", 10, 70, true);
    append(&store, &[("up host=b", at(50), 1000.0)]);
    let after = ask(&store, "sum(up)", 10, 70, true);
    assert_eq!(after.stats.reused_steps, 40, "the steps 10 to 49");
    assert_eq!(after.value, ask(&store, "sum(up)", 10, 70, false).value);
    store
        .delete(&[vec![Matcher::eq("host", "b")]], TimeRange::ALL)
        .expect("a deletion");
    let after = ask(&store, "sum(up)", 10, 70, true);
    assert_eq!(after.stats.reused_steps, 0);
    assert_eq!(after.value, ask(&store, "sum(up)", 10, 70, false).value);
}

#[test]
fn what_looks_ahead_or_elsewhere_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    minutely(&store, 0, 80);
    for query in [
        "up offset -5m",
        "up @ end()",
        "up @ 1000",
        "sum(max_over_time(up[5m] offset -1m))",
        "max_over_time(rate(requests_total[5m])[10m:1m] @ start())",
    ] {
        for _ in 0..2 {
            assert_eq!(ask(&store, query, 10, 70, true).stats.reused_steps, 0, "{query}");
        }
    }
    assert_eq!(store.stats().result_cache_bytes, 0);
    ask(&store, "up offset 5m", 10, 70, true);
    assert!(store.stats().result_cache_bytes > 0);
}

#[test]
fn it_stays_within_its_memory() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        result_cache_bytes: 20_000,
        ..quiet()
    };
    let store = Store::open(dir.path(), options).unwrap();
    minutely(&store, 0, 80);
    for n in 0..200 {
        ask(&store, &format!("up + {n}"), 10, 70, true);
        assert!(store.stats().result_cache_bytes <= 20_000);
    }
    assert_eq!(ask(&store, "up + 199", 10, 70, true).stats.reused_steps, 61);
    assert_eq!(ask(&store, "up + 0", 10, 70, true).stats.reused_steps, 0);
    let before = store.stats().result_cache_bytes;
    for series in 0..10 {
        let name = format!("wide n={series}");
        for step in 0..80 {
            append(&store, &[(name.as_str(), at(step), 1.0)]);
        }
    }
    ask(&store, "wide", 10, 70, true);
    assert_eq!(
        store.stats().result_cache_bytes,
        before,
        "an answer as large as the cache is not kept"
    );
}

/// What can happen between two looks at a panel.
#[derive(Clone, Debug)]
enum Event {
    /// A sample of one of four series at one of the steps, or a little before it.
    Sample {
        series: u8,
        step: i64,
        before_ms: i64,
        value: i8,
    },
    Flush,
    Compact,
    Delete {
        series: u8,
        from: i64,
        to: i64,
    },
    Ask {
        query: usize,
        from: i64,
        steps: i64,
    },
}

const SERIES: [&str; 4] = ["up host=a", "up host=b", "up host=c", "busy_total host=a"];
const QUERIES: [&str; 6] = [
    "up",
    "sum by (host) (up)",
    "rate(busy_total[7m])",
    "avg_over_time(up[10m]) > 0",
    "topk(2, up)",
    "up or on() max_over_time(sum(busy_total)[10m:2m])",
];

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..4_u8, 0..100_i64, 0..STEP_MS, -5..50_i8)
            .prop_map(|(series, step, before_ms, value)| Event::Sample { series, step, before_ms, value }),
        1 => Just(Event::Flush),
        1 => Just(Event::Compact),
        1 => (0..4_u8, 0..100_i64, 0..100_i64).prop_map(|(series, from, to)| Event::Delete { series, from, to }),
        5 => (0..QUERIES.len(), 0..60_i64, 1..60_i64).prop_map(|(query, from, steps)| Event::Ask { query, from, steps }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_is_the_same_with_and_without_what_is_kept(events in prop::collection::vec(event(), 1..120)) {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            out_of_order_window_ms: i64::MAX / 4,
            ..quiet()
        };
        let store = Store::open(dir.path(), options).unwrap();
        for event in events {
            match event {
                Event::Sample { series, step, before_ms, value } => {
                    try_append(&store, &[(SERIES[series as usize], at(step) - before_ms, f64::from(value))]).unwrap();
                }
                Event::Flush => store.flush().unwrap(),
                Event::Compact => store.compact().unwrap(),
                Event::Delete { series, from, to } => {
                    let (metric, host) = SERIES[series as usize].split_once(" host=").unwrap();
                    let matchers = vec![Matcher::eq(crate::METRIC_NAME, metric), Matcher::eq("host", host)];
                    store.delete(&[matchers], TimeRange::millis(at(from), at(to))).unwrap();
                }
                Event::Ask { query, from, steps } => {
                    let kept = ask(&store, QUERIES[query], from, from + steps, true);
                    let anew = ask(&store, QUERIES[query], from, from + steps, false);
                    prop_assert_eq!(kept.value, anew.value, "{}", QUERIES[query]);
                }
            }
        }
    }
}
