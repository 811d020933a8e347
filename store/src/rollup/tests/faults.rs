//! Rolling up over a disk that fails: at every point either the samples are there or what becomes of them.

use super::*;
use crate::disk::faults::{self, Random, Schedule};
use crate::testing::{Contents, contents, quiet};

pub(super) fn options(days: i64) -> StoreOptions {
    StoreOptions {
        clock: Clock::fixed(NOW + days * DAY_MS),
        max_future_ms: 100 * DAY_MS,
        out_of_order_window_ms: i64::MAX,
        retention_ms: Some(2 * DAY_MS),
        rollups: RollupOptions {
            five_minutes_ms: Some(10 * DAY_MS),
            hour_ms: Some(100 * DAY_MS),
        },
        ..quiet()
    }
}

/// Three days of a counter and a gauge, some of them in parts.
pub(super) fn write(dir: &std::path::Path) {
    let store = Store::open(dir, options(0)).unwrap();
    let samples: Vec<_> = (1..=288)
        .map(|i| i * 15 * MINUTE)
        .map(|t| (t, (t / MINUTE % 977) as f64))
        .collect();
    for half in samples.chunks(150) {
        let counter: Vec<_> = half
            .iter()
            .map(|(t, v)| ("requests_total host=a", NOW + t, *v))
            .collect();
        append(&store, &counter);
        let gauge: Vec<_> = half.iter().map(|(t, v)| ("celsius host=b", NOW + t, v / 3.0)).collect();
        append(&store, &gauge);
        if half.len() == 150 {
            store.flush().unwrap();
        }
    }
}

/// What every reader sees: samples, and buckets.
pub(super) fn all(store: &Store) -> (Contents, Vec<Rolled>) {
    let snapshot = store.snapshot();
    let ids = snapshot.select(&[], TimeRange::ALL).unwrap();
    let buckets = ids.iter().map(|id| {
        let mut rolled = Rolled::default();
        snapshot.read_buckets(*id, TimeRange::ALL, &mut rolled).unwrap();
        rolled
    });
    (contents(&snapshot), buckets.collect())
}

/// What is to be seen once all that is due was done `days` later.
fn settled(dir: &std::path::Path, days: i64) -> (Contents, Vec<Rolled>) {
    let store = Store::open(dir, options(days)).expect("a good disk opens");
    store.maintain_now().unwrap();
    all(&store)
}

#[test]
fn rolling_up_is_done_whole_or_not_at_all_on_a_disk_that_fails() {
    let days = [3, 4, 5, 30];
    let reference = tempfile::tempdir().unwrap();
    write(reference.path());
    let raw = all(&Store::open(reference.path(), options(0)).unwrap());
    let expected = days.map(|days| settled(reference.path(), days));
    let (mut died, mut failed) = (0, 0);
    for seed in 0..80 {
        let dir = crate::disk::tests::folder();
        let tenant = dir.path().join("tenant");
        let disk = faults::watch(dir.path(), seed);
        let mut random = Random(seed);
        write(&tenant);
        for (i, days) in days.into_iter().enumerate() {
            let gentle = random.chance(300);
            disk.schedule(Schedule {
                full: if gentle { 0 } else { random.below(80) },
                io: if gentle { 0 } else { random.below(80) },
                dies_after: random.chance(700).then(|| random.below(90)),
            });
            if let Ok(store) = Store::open(&tenant, options(days)) {
                drop(store.maintain_now());
                died += u64::from(disk.died());
            }
            if random.chance(600) {
                disk.cut_power();
            }
            disk.schedule(Schedule::default());
            // The state before, or any on the way: what is told of each day is one of the two.
            let before = if i == 0 { &raw } else { &expected[i - 1] };
            let store = Store::open(&tenant, options(days)).expect("a good disk opens, whatever is on it");
            let found = all(&store);
            let report = store.open_report();
            assert!(report.damaged_parts.is_empty(), "schedule {seed}: {report:?}");
            let whole = [&before.0, &expected[i].0];
            for (at, value) in &found.0 {
                assert!(
                    whole.iter().any(|known| known.get(at) == Some(value)),
                    "schedule {seed}, day {days}: {at:?}"
                );
            }
            for at in before.0.keys().filter(|at| expected[i].0.contains_key(*at)) {
                assert!(found.0.contains_key(at), "schedule {seed}, day {days}: {at:?} is gone");
            }
            drop(store);
            assert!(
                settled(&tenant, days) == expected[i],
                "schedule {seed}, day {days}: it does not end as it has to"
            );
        }
        failed += disk.failed();
    }
    // Or the schedules would be testing a good disk.
    assert!(died > 30 && failed > 50, "{died} died, {failed} operations failed");
}
