use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::part::chunks_path;
use crate::testing::{NOW, append, contents, open, quiet};
use crate::{Clock, Store, StoreOptions};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Calls `again` on another thread for as long as `act` takes.
fn beside(again: impl Fn() + Sync, act: impl FnOnce()) {
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                again();
            }
        });
        // Also where `act` panics.
        let _done = Done(&done);
        act();
    });
}

#[test]
fn a_merge_beside_a_flush_takes_nothing_of_it_away() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    beside(
        || store.compact().unwrap(),
        || {
            for i in 0..150 {
                append(&store, &[("m host=a", NOW - HOUR_MS + i, i as f64)]);
                store.flush().unwrap();
                assert_eq!(contents(&store.snapshot()).len() as i64, i + 1);
            }
        },
    );
    drop(store);
    assert_eq!(contents(&open(dir.path()).snapshot()).len(), 150);
}

#[test]
fn history_that_is_brought_in_makes_few_parts() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // Every hour of 400 days; one sample of every window, the parts' borders among them.
    let hours: Vec<i64> = (0..400 * 24).map(|hour| NOW - hour * HOUR_MS).collect();
    let samples: Vec<_> = hours.iter().rev().map(|&at| ("m host=a", at, at as f64)).collect();
    append(&store, &samples);
    store.flush().unwrap();
    let before = contents(&store.snapshot());
    assert_eq!(before.len(), hours.len());
    let parts = store.stats().parts as usize;
    assert!((2 * WINDOWS_MAX..3 * WINDOWS_MAX).contains(&parts), "{parts}");
    let manifest = store.shared.manifest.lock().clone();
    let mut stretches: Vec<_> = manifest.parts.iter().map(|part| (part.t_min, part.t_max)).collect();
    stretches.sort_unstable();
    assert!(
        stretches.is_sorted_by(|a, b| a.1 < b.0),
        "no two parts tell of one time"
    );
    store.compact().unwrap();
    assert_eq!(contents(&store.snapshot()), before);
    drop(store);
    assert_eq!(contents(&open(dir.path()).snapshot()), before);
}

#[test]
fn few_windows_are_parts_of_their_own() {
    let windows: BTreeSet<i64> = [-1, 0, 5, 7].into();
    let expected = [-1, 0, 5, 7].map(|window| {
        let start = window * WINDOW_MS;
        (Level::Flushed, TimeRange::millis(start, start + WINDOW_MS - 1))
    });
    assert_eq!(spans(&windows), expected);
}

#[test]
fn a_damaged_part_holds_up_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let day = |n: i64| NOW - 10 * DAY_MS + n * DAY_MS;
    let names: Vec<String> = (0..20).map(|i| format!("m host=h{i:02}")).collect();
    // Two days of two parts each, values that take room.
    for (n, half) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let from = day(n) + half * 6 * HOUR_MS;
        for name in &names {
            let samples: Vec<_> = (0..200)
                .map(|i| (name.as_str(), from + i * 15_000, (i as f64).sin()))
                .collect();
            append(&store, &samples);
        }
        store.flush().unwrap();
    }
    let damaged = store.shared.manifest.lock().parts[0].clone();
    drop(store);
    let path = chunks_path(dir.path(), damaged.id);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();

    let options = || StoreOptions {
        retention_ms: Some(30 * DAY_MS),
        ..quiet()
    };
    let store = Store::open(dir.path(), options()).unwrap();
    store.maintain_now().unwrap();
    let levels: Vec<Level> = store
        .shared
        .manifest
        .lock()
        .parts
        .iter()
        .map(|part| part.level)
        .collect();
    assert_eq!(
        levels,
        [Level::Flushed, Level::Flushed, Level::Day],
        "the other day is merged"
    );
    assert_eq!(store.stats().damaged_parts, 1);
    // What is deleted of it stays hidden, and the part in its place, until it is too old.
    store
        .delete(&[Vec::new()], TimeRange::millis(damaged.t_min, damaged.t_max))
        .unwrap();
    store.clean_deleted().unwrap();
    assert_eq!(store.shared.manifest.lock().deletions.len(), 1);
    drop(store);
    let later = StoreOptions {
        clock: Clock::fixed(NOW + 25 * DAY_MS),
        ..options()
    };
    let store = Store::open(dir.path(), later).unwrap();
    store.maintain_now().unwrap();
    assert_eq!(store.stats().parts, 0, "{:?}", store.stats());
}
