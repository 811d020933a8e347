use std::sync::atomic::{AtomicBool, Ordering};

use crate::testing::{NOW, append, contents, labels, open, quiet};
use crate::{Samples, Store, StoreOptions, TimeRange};

const THREADS: i64 = 4;
const BATCHES: i64 = 60;

/// Each thread writes two series of its own and one that all share, with timestamps of its own.
fn write(store: &Store, thread: i64) {
    for i in 0..BATCHES {
        let at = NOW - 1_000_000 + i * 1000;
        let mut batch = store.batch();
        for series in ["a", "b"] {
            let id = batch
                .series(&mut labels(&format!("own s={series} t={thread}")))
                .expect("a good label");
            batch.push(id, at, i as f64);
        }
        let id = batch.series(&mut labels("shared")).expect("a good label");
        batch.push(id, at + thread, thread as f64);
        assert_eq!(store.append(batch).expect("an append").accepted, 3);
    }
}

#[test]
fn appends_from_many_threads_during_flushes_are_neither_lost_nor_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(
        dir.path(),
        StoreOptions {
            wal_segment_bytes: 4000,
            ..quiet()
        },
    )
    .unwrap();
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn({
                    let store = &store;
                    move || write(store, thread)
                })
            })
            .collect();
        scope.spawn(|| {
            while running.load(Ordering::Relaxed) {
                store.flush().expect("a flush");
                store.compact().expect("a merge");
            }
        });
        scope.spawn(|| {
            // What a reader saw once never goes away again.
            let mut seen = 0;
            while running.load(Ordering::Relaxed) {
                let snapshot = store.snapshot();
                let now = contents(&snapshot).len();
                assert!(now >= seen, "{now} samples after {seen}");
                assert_eq!(contents(&snapshot).len(), now, "a snapshot changed");
                seen = now;
            }
        });
        for writer in writers {
            writer.join().expect("a writer");
        }
        running.store(false, Ordering::Relaxed);
    });
    let all = contents(&store.snapshot());
    assert_eq!(all.len() as i64, THREADS * BATCHES * 3);
    drop(store);
    assert_eq!(contents(&open(dir.path()).snapshot()), all);
}

#[test]
fn threads_that_append_the_same_sample_agree_with_a_replay() {
    for round in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let store = &store;
                scope.spawn(move || {
                    for i in 0..5 {
                        append(store, &[("m", NOW + i % 2, (thread * 100 + i + round) as f64)]);
                    }
                });
            }
        });
        let live = contents(&store.snapshot());
        drop(store);
        assert_eq!(
            contents(&open(dir.path()).snapshot()),
            live,
            "the last write is another one after a start"
        );
    }
}

#[test]
fn a_batch_becomes_visible_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..200 {
                append(&store, &[("a", NOW + i, 1.0), ("b", NOW + i, 1.0), ("c", NOW + i, 1.0)]);
            }
            running.store(false, Ordering::Relaxed);
        });
        while running.load(Ordering::Relaxed) {
            let snapshot = store.snapshot();
            let lengths: Vec<usize> = snapshot
                .select(&[], TimeRange::ALL)
                .unwrap()
                .into_iter()
                .map(|id| {
                    let mut samples = Samples::default();
                    snapshot.read(id, TimeRange::ALL, &mut samples).unwrap();
                    samples.len()
                })
                .collect();
            assert!(lengths.windows(2).all(|w| w[0] == w[1]), "{lengths:?}");
        }
    });
}
