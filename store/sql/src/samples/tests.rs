use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, TimestampMillisecondType};
use store::{Clock, LabelsBuf, Store, StoreOptions};

use super::*;
use crate::filter::Selection;

const DAY_MS: i64 = 86_400_000;

/// A store with series of these samples.
fn store(dir: &std::path::Path, series: &[Vec<(i64, f64)>]) -> Arc<Store> {
    let last = series.iter().flatten().map(|(t, _)| *t).max();
    let options = StoreOptions {
        clock: Clock::fixed(last.unwrap_or(0)),
        background: false,
        ..StoreOptions::default()
    };
    let store = Store::open(dir, options).expect("the directory opens");
    let mut batch = store.batch();
    let mut labels = LabelsBuf::default();
    for (i, samples) in series.iter().enumerate() {
        labels.clear();
        labels.push("__name__", "up");
        labels.push("host_name", &i.to_string());
        let id = batch.series(&mut labels).expect("valid labels");
        for (t, value) in samples {
            batch.push(id, *t, *value);
        }
    }
    store.append(batch).expect("appends");
    store
}

/// All rows of a scan of a list of series in one partition; after each batch, no more than `held` samples are held.
fn read(store: &Store, range: TimeRange, limit: Option<usize>, held: usize) -> Vec<(i64, f64)> {
    let snapshot = store.snapshot();
    let state = datafusion::prelude::SessionContext::new().state();
    let mut selection = Selection::new(&state, &[]).expect("a selection");
    selection.range = range;
    let series = selection.series(&snapshot).expect("series");
    let all = 0..series.len();
    let columns = vec![Column::Timestamp, Column::Value];
    let mut reader = Reader::new(
        SamplesExec::new(&snapshot, columns, selection, series, 1, limit),
        all,
        8_192,
    );
    let mut rows = Vec::new();
    while let Some(batch) = reader.next() {
        let batch = batch.expect("a batch");
        let timestamps = batch.column(0).as_primitive::<TimestampMillisecondType>().values();
        let values = batch.column(1).as_primitive::<Float64Type>().values();
        rows.extend(timestamps.iter().copied().zip(values.iter().copied()));
        let holds = reader.samples.timestamps.capacity();
        assert!(holds <= held, "{holds} samples are held");
    }
    rows
}

#[test]
fn a_long_series_is_read_a_stretch_at_a_time_and_in_order() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    // Four days a second apart; a series that is silent for long between two samples; one of a single sample.
    let dense: Vec<(i64, f64)> = (0..4 * 86_400).map(|i| (i * 1_000, i as f64)).collect();
    let silent = vec![(10, 1.0), (400 * DAY_MS, 2.0), (400 * DAY_MS + 1, 3.0)];
    let series = [dense, silent, vec![(200 * DAY_MS, 4.0)]];
    let store = store(dir.path(), &series);
    let all: Vec<(i64, f64)> = series.concat();
    // A day at first, whatever is in it, and by the samples of that then.
    assert!(
        read(&store, EVER, None, 2 * 86_400) == all,
        "every sample once, in order"
    );
    let some = TimeRange::millis(86_399_999, 200 * DAY_MS);
    let within = |(t, _): &&(i64, f64)| (some.start.0..=some.end.0).contains(t);
    let expected: Vec<(i64, f64)> = all.iter().filter(within).copied().collect();
    assert!(
        read(&store, some, None, 2 * 86_400) == expected,
        "ends belong to the range"
    );
    assert_eq!(read(&store, EVER, Some(3), 2 * 86_400), all[..3]);
    assert_eq!(read(&store, TimeRange::millis(500 * DAY_MS, 600 * DAY_MS), None, 0), []);
}

#[test]
fn stretches_follow_the_distance_of_samples() {
    let mut current = Current {
        id: SeriesId(0),
        row: None,
        rest: Some(TimeRange::millis(0, i64::MAX)),
        stretch_ms: STRETCH_MS,
    };
    let mut check = |samples: usize, days: f64| {
        assert!(current.next_stretch().is_some());
        current.saw(samples);
        let is = current.stretch_ms as f64 / DAY_MS as f64;
        assert!((is - days).abs() < 0.01, "{is} days after {samples} samples");
    };
    // One a second; ten a second from here on; one in a quarter of a minute; silence.
    check(86_400, 0.758);
    check(655_360, 0.076);
    check(437, 11.38);
    check(0, 30.0);
}
