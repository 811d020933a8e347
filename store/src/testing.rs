//! What the tests of several modules share.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::{Appended, Clock, LabelsBuf, Matcher, Samples, Snapshot, Store, StoreError, StoreOptions, TimeRange};

/// What the clock of tests says: 2026-11-22 00:00 UTC.
pub(crate) const NOW: i64 = 1_795_305_600_000;

/// Options of a store that does nothing by itself.
pub(crate) fn quiet() -> StoreOptions {
    StoreOptions {
        background: false,
        clock: Clock::fixed(NOW),
        max_series: 10_000,
        ..StoreOptions::default()
    }
}

pub(crate) fn open(dir: &Path) -> Arc<Store> {
    Store::open(dir, quiet()).expect("a store opens")
}

/// Labels as text: `metric key=value key=value`.
pub(crate) fn labels(text: &str) -> LabelsBuf {
    let mut labels = LabelsBuf::default();
    for (i, word) in text.split_whitespace().enumerate() {
        match word.split_once('=') {
            Some((name, value)) => labels.push(name, value),
            None => {
                assert_eq!(i, 0, "only the first word is a metric: {text}");
                labels.push(crate::METRIC_NAME, word);
            }
        }
    }
    labels
}

pub(crate) fn try_append(store: &Store, samples: &[(&str, i64, f64)]) -> Result<Appended, StoreError> {
    let mut batch = store.batch();
    for (series, at, value) in samples {
        let id = batch.series(&mut labels(series))?;
        batch.push(id, *at, *value);
    }
    store.append(batch)
}

pub(crate) fn append(store: &Store, samples: &[(&str, i64, f64)]) {
    let appended = try_append(store, samples).expect("an append to a good disk");
    assert_eq!(
        appended,
        Appended {
            accepted: samples.len() as u64,
            ..Appended::default()
        }
    );
}

/// All samples by series and timestamp, values as bits.
pub(crate) type Contents = BTreeMap<(String, i64), u64>;

pub(crate) fn contents(snapshot: &Snapshot) -> Contents {
    let mut contents = Contents::new();
    for id in snapshot.select(&[], TimeRange::ALL).expect("a selection") {
        let mut samples = Samples::default();
        snapshot
            .read(id, TimeRange::ALL, &mut samples)
            .expect("a readable series");
        assert!(
            samples.timestamps.is_sorted_by(|a, b| a < b),
            "ascending, each timestamp once: {samples:?}"
        );
        let name = snapshot.labels(id).to_string();
        contents.extend(samples.iter().map(|(at, value)| ((name.clone(), at), value.to_bits())));
    }
    contents
}

/// Samples of one series as text: `at=value at=value`.
pub(crate) fn shown(snapshot: &Snapshot, metric: &str, range: TimeRange) -> String {
    let mut out = Samples::default();
    for id in snapshot
        .select(&[Matcher::eq(crate::METRIC_NAME, metric)], range)
        .expect("a selection")
    {
        snapshot.read(id, range, &mut out).expect("a readable series");
    }
    out.iter()
        .map(|(at, value)| format!("{at}={value}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Copies files and folders.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a new folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
