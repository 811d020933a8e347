use std::sync::atomic::AtomicI64;

use super::*;
use crate::part::{Level, PartMeta};
use crate::table::Segments;
use crate::table::file::TableFileMeta;
use crate::testing::{NOW, append, shown};
use crate::{Clock, Store, StoreOptions};

const HOUR: i64 = 3_600_000;

#[test]
fn a_part_goes_once_its_newest_sample_is_too_old() {
    let part = |id, t_min, t_max| PartMeta {
        id: PartId(id),
        rank: id,
        level: Level::Flushed,
        t_min,
        t_max,
        series: 1,
        chunks: 1,
        samples: 1,
        bytes: 1,
    };
    let parts = vec![part(1, 0, 99), part(2, 0, 100), part(3, 50, 2000)];
    let manifest = Manifest {
        parts,
        ..Manifest::default()
    };
    assert_eq!(expired(&manifest, 1100, 1000).parts, [PartId(1)]);
    assert_eq!(expired(&manifest, 1101, 1000).parts, [PartId(1), PartId(2)]);
    assert_eq!(expired(&manifest, i64::MIN, 1000), Gone::default());
}

#[test]
fn the_oldest_parts_go_until_the_others_fit() {
    let check = |bytes_max: u64, expected: &[u64]| {
        let manifest = Manifest {
            parts: [(1, 30, 100), (2, 10, 100), (3, 20, 100)]
                .into_iter()
                .map(|(id, t_max, bytes)| PartMeta {
                    id: PartId(id),
                    rank: id,
                    level: Level::Day,
                    t_min: 0,
                    t_max,
                    series: 1,
                    chunks: 1,
                    samples: 1,
                    bytes,
                })
                .collect(),
            ..Manifest::default()
        };
        let gone: Vec<u64> = oversized(&manifest, bytes_max)
            .parts
            .into_iter()
            .map(|id| id.0)
            .collect();
        assert_eq!(gone, expected, "at most {bytes_max}");
    };
    check(300, &[]);
    check(299, &[2]);
    check(200, &[2]);
    check(199, &[2, 3]);
    // The one that ends last stays.
    check(0, &[2, 3]);
}

#[test]
fn files_of_tables_and_parts_go_in_one_order() {
    let file = |id, t_max_ms: i64| TableFileMeta {
        id,
        table: "logs".to_owned(),
        t_min_ns: 0,
        t_max_ns: t_max_ms * 1_000_000,
        rows: 1,
        bytes: 100,
        crc32c: 0,
        segments: Segments::default(),
    };
    let part = |id, t_max| PartMeta {
        id: PartId(id),
        rank: id,
        level: Level::Day,
        t_min: 0,
        t_max,
        series: 1,
        chunks: 1,
        samples: 1,
        bytes: 100,
    };
    let manifest = Manifest {
        parts: vec![part(1, 20), part(2, 40)],
        tables: vec![file(3, 10), file(4, 30)],
        ..Manifest::default()
    };
    let check = |gone: Gone, parts: &[u64], tables: &[u64]| {
        let ids: Vec<u64> = gone.parts.iter().map(|id| id.0).collect();
        assert_eq!((ids.as_slice(), gone.tables.as_slice()), (parts, tables));
    };
    check(oversized(&manifest, 300), &[], &[3]);
    check(oversized(&manifest, 200), &[1], &[3]);
    check(oversized(&manifest, 0), &[1], &[3, 4]);
    // To the millisecond a row may be newer than it looks.
    check(expired(&manifest, 1011, 1000), &[], &[]);
    check(expired(&manifest, 1012, 1000), &[], &[3]);
    check(expired(&manifest, 1032, 1000), &[1], &[3, 4]);
}

/// A store of which the clock is moved.
fn store(dir: &std::path::Path, options: StoreOptions) -> (Arc<Store>, Arc<AtomicI64>) {
    let now = Arc::new(AtomicI64::new(NOW));
    let clock = Arc::clone(&now);
    let options = StoreOptions {
        clock: Clock::new(move || clock.load(Ordering::Relaxed)),
        background: false,
        max_series: 1000,
        ..options
    };
    (Store::open(dir, options).unwrap(), now)
}

#[test]
fn a_store_over_its_size_drops_its_oldest_part() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        retention_bytes: Some(1),
        ..StoreOptions::default()
    };
    let (store, _) = store(dir.path(), options);
    append(
        &store,
        &[("m", NOW - 5 * HOUR, 1.0), ("m", NOW - 3 * HOUR, 2.0), ("m", NOW, 3.0)],
    );
    store.flush().unwrap();
    assert_eq!(store.stats().parts, 3);
    crate::background::work(&store.shared).unwrap();
    assert_eq!((store.stats().parts, store.stats().dropped_samples), (1, 2));
    assert_eq!(shown(&store.snapshot(), "m", TimeRange::ALL), format!("{NOW}=3"));
}

#[test]
fn a_rule_drops_its_series_earlier_than_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let matchers = |name: &str| vec![Matcher::new(crate::MatchOp::Re, "__name__", name).unwrap()];
    let rule = |name: &str, hours: i64| RetentionRule {
        matchers: matchers(name),
        keep_ms: hours * HOUR,
    };
    let options = StoreOptions {
        retention_rules: vec![rule("debug_.*", 48), rule("debug_short", 24)],
        ..StoreOptions::default()
    };
    let (store, now) = store(dir.path(), options.clone());
    append(
        &store,
        &[("debug_a", NOW, 1.0), ("debug_short", NOW, 2.0), ("kept", NOW, 3.0)],
    );
    store.flush().unwrap();
    let left = |store: &Store| -> Vec<String> {
        let snapshot = store.snapshot();
        let with_samples = |name: &&str| !shown(&snapshot, name, TimeRange::ALL).is_empty();
        ["debug_a", "debug_short", "kept"]
            .iter()
            .filter(|name| with_samples(name))
            .map(|name| (*name).to_owned())
            .collect()
    };
    for (hours, expected, dropped) in [
        (24, &["debug_a", "debug_short", "kept"][..], 0),
        (25, &["debug_a", "kept"], 1),
        (48, &["debug_a", "kept"], 1),
        (49, &["kept"], 2),
        (5000, &["kept"], 2),
    ] {
        now.store(NOW + hours * HOUR, Ordering::Relaxed);
        crate::background::work(&store.shared).unwrap();
        assert_eq!(left(&store), expected, "{hours} h later");
        assert_eq!(store.stats().dropped_samples, dropped, "{hours} h later");
    }
    // In a part of both old and young samples, a merge drops the old ones.
    append(&store, &[("debug_a", NOW + 5000 * HOUR, 1.0)]);
    store.flush().unwrap();
    assert_eq!(left(&store), ["debug_a", "kept"]);
}
