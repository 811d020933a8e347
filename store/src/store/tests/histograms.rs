//! Native histograms through WAL, head, parts and merges.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::testing::labels;
use crate::{Appended, Bucket, Histogram, Histograms, Matcher, Samples, Snapshot};

const START: i64 = NOW - 10 * 3_600_000;

/// A counter's sample at minute `i`; more buckets are populated as time goes.
fn sample(i: i64) -> Histogram {
    if i % 97 == 96 {
        return Histogram::stale();
    }
    let positive: Vec<Bucket> = (0..1 + i as i32 / 20)
        .map(|index| Bucket {
            index,
            count: (i + 1 - i64::from(index)).max(1) as f64,
        })
        .collect();
    Histogram {
        schema: if i < 200 { 3 } else { 2 },
        zero_threshold: 0.001,
        zero_count: i as f64,
        count: positive.iter().map(|b| b.count).sum::<f64>() + i as f64,
        sum: i as f64 / 3.0,
        positive,
        ..Histogram::default()
    }
}

fn append(store: &Store, series: &str, minutes: std::ops::Range<i64>) -> Appended {
    let mut batch = store.batch();
    let id = batch.series(&mut labels(series)).unwrap();
    for i in minutes {
        batch.push_histogram(id, START + i * 60_000, sample(i)).unwrap();
    }
    store.append(batch).unwrap()
}

fn read(snapshot: &Snapshot, metric: &str) -> (Samples, Histograms) {
    let (mut samples, mut histograms) = (Samples::default(), Histograms::default());
    for id in snapshot
        .select(&[Matcher::eq("__name__", metric)], TimeRange::ALL)
        .unwrap()
    {
        snapshot.read(id, TimeRange::ALL, &mut samples).unwrap();
        if snapshot.has_histograms(id) {
            snapshot.read_histograms(id, TimeRange::ALL, &mut histograms).unwrap();
        }
    }
    (samples, histograms)
}

fn expected(minutes: std::ops::Range<i64>) -> Histograms {
    let mut histograms = Histograms::default();
    minutes.for_each(|i| histograms.push(START + i * 60_000, Arc::new(sample(i))));
    histograms
}

fn is_clean(dir: &Path) -> bool {
    let found = crate::verify(dir).unwrap();
    assert!(found.is_clean(), "{found}");
    true
}

#[test]
fn histograms_survive_a_start_a_flush_and_a_merge_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for i in (0..500).step_by(50) {
        let appended = append(&store, "latency host=a", i..i + 50);
        assert_eq!((appended.accepted, appended.accepted_histograms), (50, 50));
    }
    crate::testing::append(&store, &[("up host=a", START, 1.0)]);
    let all = expected(0..500);
    assert_eq!(read(&store.snapshot(), "latency").1, all);
    drop(store);

    let store = open(dir.path());
    assert_eq!(store.open_report().replayed_samples, 501);
    assert_eq!(read(&store.snapshot(), "latency").1, all);
    assert!(is_clean(dir.path()));

    store.flush().unwrap();
    assert_eq!((store.stats().head_samples, store.stats().part_samples), (0, 501));
    assert_eq!(read(&store.snapshot(), "latency").1, all);
    let part = store.stats().parts;
    assert!(part > 1, "each window of two hours is a part");
    assert!(is_clean(dir.path()));

    store.compact().unwrap();
    assert!(store.stats().parts < part);
    assert_eq!(read(&store.snapshot(), "latency").1, all);
    let up = store
        .snapshot()
        .select(&[Matcher::eq("__name__", "up")], TimeRange::ALL)
        .unwrap();
    assert!(!store.snapshot().has_histograms(up[0]), "numbers are read as before");
    drop(store);
    assert!(is_clean(dir.path()));
    assert_eq!(read(&open(dir.path()).snapshot(), "latency").1, all);
}

#[test]
fn a_snapshot_does_not_see_later_histograms() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, "latency", 0..100);
    let before = store.snapshot();
    append(&store, "latency", 100..300);
    // A late one, and one that overwrites.
    append(&store, "latency", 250..251);
    let after = store.snapshot();
    append(&store, "latency", 300..301);
    assert_eq!(read(&before, "latency").1, expected(0..100));
    assert_eq!(read(&after, "latency").1, expected(0..300));
    store.flush().unwrap();
    assert_eq!(read(&before, "latency").1, expected(0..100));
    assert_eq!(read(&after, "latency").1, expected(0..300));
    assert_eq!(read(&store.snapshot(), "latency").1, expected(0..301));
}

#[test]
fn the_histogram_written_last_counts_and_late_ones_find_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, "latency", 50..60);
    append(&store, "latency", 40..45);
    store.flush().unwrap();
    let mut batch = store.batch();
    let id = batch.series(&mut labels("latency")).unwrap();
    let other = Histogram {
        count: 1.0,
        ..Histogram::default()
    };
    batch.push_histogram(id, START + 52 * 60_000, other.clone()).unwrap();
    store.append(batch).unwrap();
    for _ in 0..2 {
        let found = read(&store.snapshot(), "latency").1;
        assert_eq!(found.len(), 15);
        assert_eq!(*found.values[7], other);
        store.flush().unwrap();
        store.compact().unwrap();
    }
}

#[test]
fn numbers_and_histograms_of_one_series_stay_apart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let at = |i: i64| START + i * 60_000;
    for i in 0..30 {
        if i % 7 < 3 {
            append(&store, "both host=a", i..i + 1);
        } else {
            crate::testing::append(&store, &[("both host=a", at(i), i as f64)]);
        }
    }
    // At one time both: the histogram counts once they are in a part.
    crate::testing::append(&store, &[("both host=a", at(1), 5.0)]);
    let histograms = read(&store.snapshot(), "both").1;
    assert_eq!(histograms.len(), 14);
    for _ in 0..2 {
        store.flush().unwrap();
        store.compact().unwrap();
        let (samples, found) = read(&store.snapshot(), "both");
        assert_eq!(found, histograms);
        let numbers: Vec<i64> = (0..30).filter(|i| i % 7 >= 3).map(at).collect();
        assert_eq!(samples.timestamps, numbers);
        assert!(is_clean(dir.path()));
    }
}

#[test]
fn histograms_are_judged_like_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut batch = store.batch();
    let id = batch.series(&mut labels("latency")).unwrap();
    for at in [NOW, NOW - 30 * 86_400_000, NOW + 86_400_000] {
        batch.push_histogram(id, at, sample(1)).unwrap();
    }
    let negative = Histogram {
        positive: vec![Bucket { index: 0, count: -1.0 }],
        ..Histogram::default()
    };
    assert!(batch.push_histogram(id, NOW, negative).is_err());
    let appended = store.append(batch).unwrap();
    assert_eq!((appended.accepted, appended.accepted_histograms), (1, 1));
    let reasons: Vec<_> = appended.refused.iter().map(|r| (r.reason.as_str(), r.count)).collect();
    assert_eq!(reasons, [("too_old", 1), ("too_far_ahead", 1)]);
}
