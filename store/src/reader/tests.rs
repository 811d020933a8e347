use crate::testing::{NOW, append, contents, open, shown};
use crate::{MatchOp, Matcher, Samples, SeriesId, TimeRange};

#[test]
fn a_snapshot_stays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut held = vec![(store.snapshot(), contents(&store.snapshot()))];
    for i in 0..400_i64 {
        // In order, late, overwriting, of a new series, sealing streams.
        append(
            &store,
            &[
                ("m", NOW + i * 10, i as f64),
                ("m", NOW + i * 10 - 15, -1.0),
                ("m", NOW, i as f64),
            ],
        );
        if i % 7 == 0 {
            append(&store, &[(format!("n s={i}").as_str(), NOW, 1.0)]);
        }
        if i % 100 == 50 {
            store.flush().unwrap();
        }
        if i == 250 {
            store.compact().unwrap();
        }
        if i % 3 == 0 {
            let snapshot = store.snapshot();
            let contents = contents(&snapshot);
            held.push((snapshot, contents));
        }
        if i % 5 == 0 {
            held.remove(held.len() / 2);
        }
    }
    for (snapshot, expected) in &held {
        assert_eq!(&contents(snapshot), expected);
        assert_eq!(&contents(&snapshot.clone()), expected);
    }
}

#[test]
fn a_range_has_both_its_ends() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let check = |start, end, expected: &str| {
        assert_eq!(shown(&store.snapshot(), "m", TimeRange::millis(start, end)), expected);
    };
    append(&store, &[("m", 10, 1.0), ("m", 20, 2.0)]);
    store.flush().unwrap();
    append(&store, &[("m", 30, 3.0), ("m", 40, 4.0), ("m", 35, 3.5)]);
    check(10, 30, "10=1 20=2 30=3");
    check(11, 29, "20=2");
    check(31, 39, "35=3.5");
    check(40, 40, "40=4");
    check(41, 100, "");
    check(30, 20, "");
    assert_eq!(store.snapshot().time_range(), Some(TimeRange::millis(10, 40)));
}

#[test]
fn reading_appends_to_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, &[("m", 10, 1.0)]);
    store.flush().unwrap();
    append(&store, &[("m", 20, 2.0), ("m", 15, 1.5), ("m", 10, 0.5)]);
    let snapshot = store.snapshot();
    let id = snapshot.select(&[], TimeRange::ALL).unwrap()[0];
    let mut out = Samples {
        timestamps: vec![99],
        values: vec![9.0],
    };
    snapshot.read(id, TimeRange::ALL, &mut out).unwrap();
    assert_eq!(
        (out.timestamps, out.values),
        (vec![99, 10, 15, 20], vec![9.0, 0.5, 1.5, 2.0])
    );
    let mut none = Samples::default();
    snapshot.read(SeriesId(1_000_000), TimeRange::ALL, &mut none).unwrap();
    assert!(none.is_empty() && snapshot.labels(SeriesId(1_000_000)).is_empty());
}

#[test]
fn series_come_in_the_order_of_their_labels() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let selected = || {
        let snapshot = store.snapshot();
        let ids = snapshot.select(&[], TimeRange::ALL).unwrap();
        ids.into_iter().map(|id| snapshot.labels(id)).collect::<Vec<_>>()
    };
    // Few are compared, many ranked; then come some that have no rank yet, then so many that all are ranked anew.
    for (count, total) in [(20, 20), (200, 220), (5, 225), (300, 525)] {
        for i in 0..count {
            append(
                &store,
                &[(
                    format!("m{} host={}", (i * 7919) % 13, (i * 31) % 101 + total).as_str(),
                    NOW,
                    1.0,
                )],
            );
        }
        let labels = selected();
        assert_eq!(labels.len(), total);
        assert!(labels.is_sorted(), "{labels:?}");
    }
}

#[test]
fn labels_are_listed_for_series_with_samples_in_range() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(
        &store,
        &[
            ("m host=a", 1000, 1.0),
            ("m host=b dc=x", 2000, 1.0),
            ("n host=c", 2000, 1.0),
        ],
    );
    // Registered, but without a sample.
    store
        .batch()
        .series(&mut crate::testing::labels("ghost host=d"))
        .unwrap();
    store.flush().unwrap();
    drop(store);
    let store = open(dir.path());
    append(&store, &[("late host=e", 9_000_000, 1.0)]);
    let snapshot = store.snapshot();
    let m = [Matcher::eq("__name__", "m")];
    let all = TimeRange::ALL;
    assert_eq!(snapshot.label_values("host", &[], all).unwrap(), ["a", "b", "c", "e"]);
    assert_eq!(snapshot.label_values("host", &m, all).unwrap(), ["a", "b"]);
    assert_eq!(
        snapshot
            .label_values("host", &[], TimeRange::millis(8_000_000, 9_999_999))
            .unwrap(),
        ["e"]
    );
    assert_eq!(snapshot.label_names(&m, all).unwrap(), ["__name__", "dc", "host"]);
    assert_eq!(snapshot.labels_at_most(None), 3);
    assert_eq!(
        [Some("host"), Some("no")].map(|name| snapshot.labels_at_most(name)),
        [4, 0]
    );
    assert_eq!(
        snapshot
            .label_names(&[], TimeRange::millis(8_000_000, 9_999_999))
            .unwrap(),
        ["__name__", "host"]
    );
    let pattern = [Matcher::new(MatchOp::Re, "host", "[ab]").unwrap()];
    assert_eq!(snapshot.select(&pattern, all).unwrap().len(), 2);
    assert_eq!(
        snapshot.select(&pattern, TimeRange::millis(5000, 6000)).unwrap().len(),
        0
    );
}

#[test]
fn the_effort_of_a_query_is_bounded_from_the_index() {
    use crate::promql::{Engine, QueryOptions};

    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(
        &store,
        &[
            ("m host=a", 1000, 1.0),
            ("m host=b", 1000, 1.0),
            ("n host=a", 1000, 1.0),
            ("n host=c", 1000, 1.0),
        ],
    );
    let snapshot = store.snapshot();
    assert_eq!(snapshot.series_at_most([]), 4);
    assert_eq!(snapshot.series_at_most([("__name__", "m")]), 2);
    assert_eq!(snapshot.series_at_most([("__name__", "m"), ("host", "c")]), 1);
    assert_eq!(snapshot.series_at_most([("host", "a"), ("host", "nobody")]), 0);
    // `host=""` is met by series without that label.
    assert_eq!(snapshot.series_at_most([("__name__", "n"), ("host", "")]), 2);
    let engine = Engine::default();
    let options = QueryOptions {
        reuse: true,
        ..QueryOptions::default()
    };
    let effort = |expr: &str, end_ms, step_ms| {
        let effort = engine.effort(&snapshot, expr, (0, end_ms, step_ms), &options);
        effort.unwrap()
    };
    assert_eq!(effort("1 + 1", 0, 0), 1);
    // Each time twice: the second time the text is known.
    for _ in 0..2 {
        assert_eq!(effort("m", 0, 0), 1 + 2 * 101);
        assert_eq!(effort(r#"{host=~"a|b"}"#, 0, 0), 1 + 4 * 101);
        let both = effort(r#"sum(rate(m{host!="a"}[5m])) / on() n"#, 600_000, 60_000);
        assert_eq!(both, 11 + 2 * (111 + 96) + 2 * (111 + 66));
        assert_eq!(effort("max_over_time(rate(m[5m])[1h:1m])", 0, 0), 1 + 2 * (101 + 390));
    }
    // A panel that was asked for before costs its new steps.
    engine.range(&snapshot, "sum(m)", 0, 600_000, 60_000, &options).unwrap();
    assert_eq!(effort("sum(m)", 660_000, 60_000), 1 + 2 * (101 + 6));
    assert!(effort("m", i64::MAX, 1) > u64::from(u32::MAX));
    assert!(engine.effort(&snapshot, "m{", (0, 0, 0), &options).is_err());
}
