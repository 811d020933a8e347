mod histograms;

use std::collections::BTreeMap;
use std::fs::OpenOptions;

use proptest::prelude::*;

use super::*;
use crate::testing::{Contents, NOW, append, contents, copy_dir, labels, open, quiet, shown, try_append};
use crate::{Clock, ErrorKind, MetricKind, TimeRange};

#[test]
fn what_was_appended_is_there_at_once_and_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(
        &store,
        &[
            ("up host=a", 1000, 1.0),
            ("up host=b", 1000, 0.0),
            ("up host=a", 2000, 0.5),
        ],
    );
    let before = contents(&store.snapshot());
    assert_eq!(before.len(), 3);
    drop(store);
    let store = open(dir.path());
    assert_eq!(contents(&store.snapshot()), before);
    assert_eq!(
        store.open_report(),
        &OpenReport {
            replayed_samples: 3,
            ..OpenReport::default()
        }
    );
}

#[test]
fn a_flush_moves_everything_into_parts_and_drops_the_wal() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // Five hours: three windows of two.
    for minute in 0..300 {
        append(&store, &[("up host=a", NOW - 60_000 * (300 - minute), minute as f64)]);
    }
    let before = contents(&store.snapshot());
    store.flush().unwrap();
    let stats = store.stats();
    assert_eq!(
        (stats.head_samples, stats.part_samples, stats.parts, stats.wal_segments),
        (0, 300, 3, 0)
    );
    assert_eq!(contents(&store.snapshot()), before);
    store.flush().unwrap();
    assert_eq!(store.stats().parts, 3, "an empty head makes no part");
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.open_report().replayed_samples, 0);
    assert_eq!(contents(&store.snapshot()), before);
    store.compact().unwrap();
    assert!(store.stats().parts < 3, "{:?}", store.stats());
    assert_eq!(contents(&store.snapshot()), before);
}

#[test]
fn the_last_write_wins_wherever_the_others_are() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let check = |expected: &str| assert_eq!(shown(&store.snapshot(), "m", TimeRange::ALL), expected);
    append(&store, &[("m", 10, 1.0), ("m", 20, 1.0)]);
    append(&store, &[("m", 10, 2.0), ("m", 20, 2.0)]);
    check("10=2 20=2");
    store.flush().unwrap();
    check("10=2 20=2");
    append(&store, &[("m", 20, 3.0), ("m", 15, 3.0)]);
    check("10=2 15=3 20=3");
    store.flush().unwrap();
    append(&store, &[("m", 5, 4.0), ("m", 10, 4.0)]);
    store.flush().unwrap();
    check("5=4 10=4 15=3 20=3");
    store.compact().unwrap();
    check("5=4 10=4 15=3 20=3");
    assert_eq!(store.stats().parts, 1);
}

#[test]
fn a_sample_sent_again_takes_no_space() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for _ in 0..100 {
        append(&store, &[("m", 10, 1.5)]);
    }
    assert_eq!(shown(&store.snapshot(), "m", TimeRange::ALL), "10=1.5");
    append(&store, &[("m", 20, 1.0), ("m", 20, f64::NAN), ("m", 20, 1.0)]);
    assert_eq!(shown(&store.snapshot(), "m", TimeRange::ALL), "10=1.5 20=1");
}

/// Windows of two hours, ten minutes ahead: what is taken.
fn check_limits(samples: &[(&str, i64)], expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut told = Vec::new();
    for (series, at) in samples {
        let appended = try_append(&store, &[(series, *at, 1.0)]).unwrap();
        let refused = appended
            .refused
            .iter()
            .map(|r| format!("{} {}", r.count, r.reason.as_str()));
        told.push(
            refused
                .chain((appended.accepted > 0).then(|| "taken".to_owned()))
                .collect::<Vec<_>>()
                .join(", "),
        );
    }
    assert_eq!(told.join("; "), expected);
}

#[test]
fn order_is_judged_against_the_series_own_samples() {
    const HOUR: i64 = 3_600_000;
    check_limits(&[("m", NOW), ("n", NOW - 9000 * HOUR)], "taken; taken");
    check_limits(
        &[("m", NOW), ("m", NOW - 2 * HOUR), ("m", NOW - 2 * HOUR - 1)],
        "taken; taken; 1 too_old",
    );
    check_limits(
        &[("m", NOW - 9 * HOUR), ("m", NOW), ("m", NOW - 9 * HOUR)],
        "taken; taken; 1 too_old",
    );
}

#[test]
fn samples_far_ahead_of_the_clock_are_refused() {
    check_limits(&[("m", NOW + 600_000), ("m", NOW + 600_001)], "taken; 1 too_far_ahead");
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let ahead = NOW + 3_600_000;
    let appended = try_append(&store, &[("m", ahead, 1.0), ("m host=a", ahead, 1.0), ("m", NOW, 2.0)]).unwrap();
    assert_eq!((appended.accepted, appended.refused[0].count), (1, 2));
    assert!(
        appended.refused[0].example.starts_with("m at 1795309200000 ms"),
        "{appended:?}"
    );
    // A refused sample poisons nothing.
    assert_eq!(shown(&store.snapshot(), "m", TimeRange::ALL), format!("{NOW}=2"));
    assert_eq!(store.stats().refused_samples, 2);
}

#[test]
fn the_limit_of_series_holds_and_known_series_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(
        dir.path(),
        StoreOptions {
            max_series: 2,
            ..quiet()
        },
    )
    .unwrap();
    append(&store, &[("a", 1, 1.0), ("b", 1, 1.0)]);
    let error = try_append(&store, &[("c", 1, 1.0)]).unwrap_err();
    assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Unavailable, true));
    append(&store, &[("a", 2, 1.0)]);
}

#[test]
fn a_full_head_refuses_until_it_is_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(
        dir.path(),
        StoreOptions {
            head_bytes_max: 0,
            ..quiet()
        },
    )
    .unwrap();
    append(&store, &[("a", 1, 1.0)]);
    assert!(matches!(
        try_append(&store, &[("a", 2, 1.0)]),
        Err(StoreError::HeadFull { .. })
    ));
    store.flush().unwrap();
    append(&store, &[("a", 2, 1.0)]);
}

#[test]
fn labels_that_name_no_series_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let error = store.batch().series(&mut labels("m host=a host=b")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn labels_name_the_same_series_in_any_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut batch = store.batch();
    let mut id = |text: &str| batch.series(&mut labels(text)).unwrap();
    let first = id("m a=1 b=2");
    for _ in 0..2 {
        assert_eq!(
            (id("m a=1 b=2"), id("m b=2 a=1"), id("m c= b=2 a=1")),
            (first, first, first)
        );
    }
    for other in ["m a=12 b=", "m a=1 b=2 c=3", "m a=2 b=1", "m ab=12", "n a=1 b=2"] {
        assert_ne!(id(other), first, "{other}");
    }
    assert!(batch.series(&mut labels("m a=1 a=1")).is_err());
    assert!(batch.series(&mut labels("m a=1 a=1")).is_err());
    for i in 0..1000 {
        assert_eq!(
            batch.series(&mut labels(&format!("m a=1 b=2 empty{i}="))).unwrap(),
            first
        );
    }
}

#[test]
fn a_batch_belongs_to_its_store() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, two) = (open(one.path()), open(two.path()));
    assert!(matches!(two.append(one.batch()), Err(StoreError::ForeignBatch)));
    let mut batch = one.batch();
    batch.push(SeriesId(7), 1, 1.0);
    assert!(matches!(one.append(batch), Err(StoreError::UnknownSeries(SeriesId(7)))));
}

#[test]
fn a_closed_store_refuses_appends_and_answers_queries() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, &[("m", 1, 1.0)]);
    store.close().unwrap();
    assert!(matches!(try_append(&store, &[("m", 2, 1.0)]), Err(StoreError::Closed)));
    assert_eq!(shown(&store.snapshot(), "m", TimeRange::ALL), "1=1");
}

#[test]
fn a_directory_has_one_store_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let error = Store::open(dir.path(), quiet()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.hint().is_some());
    let snapshot = store.snapshot();
    drop(store);
    // A snapshot that lives on holds nobody up.
    open(dir.path());
    drop(snapshot);
}

#[test]
fn metadata_survives_by_wal_and_by_state() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Metadata {
        kind: MetricKind::Gauge,
        unit: "seconds".into(),
        help: "How long.".into(),
    };
    let counter = Metadata {
        kind: MetricKind::Counter,
        ..gauge.clone()
    };
    let store = open(dir.path());
    store.set_metadata("m", gauge.clone());
    store.set_metadata("n", gauge.clone());
    append(&store, &[("m", 1, 1.0)]);
    drop(store);
    let store = open(dir.path());
    assert_eq!(
        store.metadata(),
        BTreeMap::from([("m".to_owned(), gauge.clone()), ("n".to_owned(), gauge.clone())])
    );
    store.set_metadata("m", counter.clone());
    append(&store, &[("m", 2, 1.0)]);
    store.flush().unwrap();
    assert_eq!(store.stats().wal_segments, 0);
    drop(store);
    assert_eq!(
        open(dir.path()).metadata(),
        BTreeMap::from([("m".to_owned(), counter), ("n".to_owned(), gauge)])
    );
}

#[test]
fn a_tail_cut_at_any_byte_costs_the_last_batch_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, &[("m host=a", 1000, 1.5), ("m host=b", 1000, 2.5)]);
    append(&store, &[("m host=a", 2000, 1.75), ("m host=b", 2000, 2.5)]);
    let (acknowledged, whole) = (contents(&store.snapshot()), store.stats().wal_bytes);
    append(
        &store,
        &[
            ("m host=a", 3000, 0.1),
            ("n host=a", 3000, 7.0),
            ("m host=b", 3000, f64::NAN),
        ],
    );
    let (all, end) = (contents(&store.snapshot()), store.stats().wal_bytes);
    drop(store);
    for cut in whole..=end {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(&dir.path().join("wal"), &copy.path().join("wal"));
        let segment = copy.path().join("wal/00000001.wal");
        OpenOptions::new()
            .write(true)
            .open(&segment)
            .unwrap()
            .set_len(cut)
            .unwrap();
        let store = open(copy.path());
        let torn = store.open_report().torn_tail.is_some();
        let expected = if cut == end { &all } else { &acknowledged };
        assert_eq!(&contents(&store.snapshot()), expected, "cut at {cut}");
        // The last batch is two records, of the new series and of the samples: between them nothing is torn.
        assert!(
            torn || cut == whole || cut == end || store.stats().wal_bytes == cut,
            "cut at {cut} goes unreported"
        );
        assert!(store.open_report().damaged_segments.is_empty());
        // It goes on, and starts again without complaint.
        append(&store, &[("m host=a", 4000, 4.0)]);
        let after = contents(&store.snapshot());
        drop(store);
        let store = open(copy.path());
        assert_eq!(store.open_report().torn_tail, None);
        assert_eq!(contents(&store.snapshot()), after);
    }
}

#[test]
fn damage_in_the_middle_costs_the_rest_of_its_segment_only() {
    let dir = tempfile::tempdir().unwrap();
    // Every batch begins a new segment.
    let store = Store::open(
        dir.path(),
        StoreOptions {
            wal_segment_bytes: 60,
            ..quiet()
        },
    )
    .unwrap();
    for i in 0..6 {
        append(&store, &[("m", i, 1.0), ("n", i, 1.0)]);
        append(&store, &[("m", i + 100, 1.0)]);
    }
    let all = contents(&store.snapshot());
    assert!(store.stats().wal_segments > 3, "{:?}", store.stats());
    drop(store);
    let path = dir.path().join("wal/00000002.wal");
    let bytes = std::fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(&dir.path().join("wal"), &copy.path().join("wal"));
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        std::fs::write(copy.path().join("wal/00000002.wal"), damaged).unwrap();
        let store = open(copy.path());
        assert_eq!(store.open_report().damaged_segments.len(), 1, "byte {at}");
        let left = contents(&store.snapshot());
        assert!(
            left.iter().all(|(key, bits)| all.get(key) == Some(bits)),
            "byte {at}: samples that nobody wrote"
        );
        assert!(
            left.len() >= all.len() - 3 && left.len() < all.len(),
            "byte {at}: {} of {}",
            left.len(),
            all.len()
        );
    }
}

#[test]
fn a_part_that_cannot_be_opened_is_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, &[("m", NOW - 10_000_000, 1.0), ("m", NOW, 2.0)]);
    store.flush().unwrap();
    assert_eq!(store.stats().parts, 2);
    drop(store);
    let mut files: Vec<_> = std::fs::read_dir(dir.path().join("parts"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    std::fs::write(&files[0], "no part").unwrap();
    for _ in 0..2 {
        let store = open(dir.path());
        assert_eq!(shown(&store.snapshot(), "m", TimeRange::ALL), format!("{NOW}=2"));
    }
}

#[test]
fn old_parts_are_dropped_by_retention_and_the_head_is_flushed_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let now = Arc::new(std::sync::atomic::AtomicI64::new(NOW));
    let clock = Arc::clone(&now);
    let options = StoreOptions {
        retention_ms: Some(86_400_000),
        clock: Clock::new(move || clock.load(Ordering::Relaxed)),
        ..quiet()
    };
    let store = Store::open(dir.path(), options).unwrap();
    append(&store, &[("m", NOW, 1.0)]);
    crate::background::work(&store.shared).unwrap();
    assert_eq!(store.stats().parts, 0, "too young");
    now.store(NOW + 2 * 3_600_000, Ordering::Relaxed);
    crate::background::work(&store.shared).unwrap();
    assert_eq!((store.stats().parts, store.stats().head_samples), (1, 0));
    let snapshot = store.snapshot();
    now.store(NOW + 86_400_001, Ordering::Relaxed);
    crate::background::work(&store.shared).unwrap();
    assert_eq!(store.stats().parts, 0);
    assert_eq!(contents(&store.snapshot()).len(), 0);
    assert_eq!(contents(&snapshot).len(), 1, "a snapshot keeps what it holds");
}

#[test]
fn the_background_thread_flushes_a_large_head() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(
        dir.path(),
        StoreOptions {
            flush_head_bytes: 1,
            background: true,
            ..quiet()
        },
    )
    .unwrap();
    append(&store, &[("m", NOW, 1.0)]);
    // Wakes the thread, which found nothing to do before.
    append(&store, &[("m", NOW + 1, 1.0)]);
    while store.stats().parts == 0 {
        std::thread::yield_now();
    }
    store.close().unwrap();
    assert_eq!(contents(&store.snapshot()).len(), 2);
}

#[test]
fn a_failed_write_fails_its_batch_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(
        dir.path(),
        StoreOptions {
            wal_segment_bytes: 1,
            ..quiet()
        },
    )
    .unwrap();
    let wal = dir.path().join("wal");
    append(&store, &[("m", 1, 1.0), ("n", 1, 1.0)]);
    store.flush().unwrap();
    std::fs::remove_dir(&wal).unwrap();
    for _ in 0..2 {
        assert_eq!(
            try_append(&store, &[("m", 2, 9.0), ("o", 2, 9.0)]).unwrap_err().kind(),
            ErrorKind::Internal
        );
    }
    assert_eq!(
        shown(&store.snapshot(), "m", TimeRange::ALL),
        "1=1",
        "what is not durable does not show"
    );
    std::fs::create_dir(&wal).unwrap();
    append(&store, &[("m", 3, 3.0), ("o", 3, 3.0)]);
    let expected = contents(&store.snapshot());
    drop(store);
    let store = open(dir.path());
    assert_eq!(contents(&store.snapshot()), expected);
    assert_eq!(shown(&store.snapshot(), "o", TimeRange::ALL), "3=3");
}

#[test]
fn a_failed_flush_loses_nothing_and_is_made_up_for() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let parts = dir.path().join("parts");
    append(&store, &[("m", 1, 1.0)]);
    store.flush().unwrap();
    append(&store, &[("m", 2, 2.0)]);
    // Where the folder of parts is a file, no part can be written.
    let aside = dir.path().join("aside");
    std::fs::rename(&parts, &aside).unwrap();
    std::fs::write(&parts, "").unwrap();
    for at in 3..5 {
        store.flush().unwrap_err();
        append(&store, &[("m", at, at as f64)]);
        assert_eq!(store.stats().parts, 1);
    }
    std::fs::remove_file(&parts).unwrap();
    std::fs::rename(&aside, &parts).unwrap();
    assert_eq!(shown(&store.snapshot(), "m", TimeRange::ALL), "1=1 2=2 3=3 4=4");
    store.flush().unwrap();
    assert_eq!((store.stats().head_samples, store.stats().wal_segments), (0, 0));
    assert_eq!(shown(&store.snapshot(), "m", TimeRange::ALL), "1=1 2=2 3=3 4=4");
    drop(store);
    assert_eq!(
        shown(&open(dir.path()).snapshot(), "m", TimeRange::ALL),
        "1=1 2=2 3=3 4=4"
    );
}

#[test]
fn a_start_knows_how_new_each_series_own_samples_are() {
    const HOUR: i64 = 3_600_000;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // In one part: a series that is up to date, and one whose sender was cut off for long.
    append(
        &store,
        &[
            ("new", NOW, 1.0),
            ("old", NOW - HOUR, 1.0),
            ("old", NOW - 2 * HOUR, 1.0),
        ],
    );
    store.flush().unwrap();
    store.compact().unwrap();
    drop(store);
    let store = open(dir.path());
    let late = NOW - 2 * HOUR - 1;
    assert_eq!(
        try_append(&store, &[("new", late, 2.0), ("old", late, 2.0)])
            .unwrap()
            .accepted,
        1
    );
    assert_eq!(
        try_append(&store, &[("old", NOW - 3 * HOUR - 1, 2.0)])
            .unwrap()
            .accepted,
        0
    );
    assert_eq!(shown(&store.snapshot(), "new", TimeRange::ALL), format!("{NOW}=1"));
}

/// What is done to a store.
#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(u8, i64, f64)>),
    Flush,
    Compact,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    // Few series and minutes, so that samples meet; windows of two hours, so that flushes make several parts.
    let value = prop_oneof![(-50_i32..50).prop_map(f64::from), any::<u64>().prop_map(f64::from_bits)];
    let sample = (0_u8..4, (0_i64..400).prop_map(|m| NOW - m * 60_000), value);
    prop_oneof![
        6 => prop::collection::vec(sample, 1..40).prop_map(Step::Append),
        2 => Just(Step::Flush),
        1 => Just(Step::Compact),
        2 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn replay_and_parts_give_exactly_what_was_acknowledged(steps in prop::collection::vec(step(), 1..16)) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        let mut oracle = Contents::new();
        let mut newest: BTreeMap<u8, i64> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Append(samples) => {
                    let names: Vec<String> = samples.iter().map(|(s, _, _)| format!("m s={s}")).collect();
                    let rows: Vec<_> = names.iter().zip(&samples).map(|(n, (_, at, v))| (n.as_str(), *at, *v)).collect();
                    let mut expected = 0;
                    for &(series, at, value) in &samples {
                        let newest = newest.entry(series).or_insert(at);
                        if at >= *newest - 7_200_000 {
                            *newest = at.max(*newest);
                            oracle.insert((format!("m{{s=\"{series}\"}}"), at), value.to_bits());
                            expected += 1;
                        }
                    }
                    prop_assert_eq!(try_append(&store, &rows).unwrap().accepted, expected);
                }
                Step::Flush => store.flush().unwrap(),
                Step::Compact => store.compact().unwrap(),
                Step::Crash => {
                    // Dropping writes nothing: what is on disk is what a kill would leave.
                    drop(store);
                    store = open(dir.path());
                    prop_assert_eq!(store.open_report().torn_tail.clone(), None);
                    prop_assert_eq!(&store.open_report().damaged_segments, &Vec::new());
                }
            }
            prop_assert_eq!(&contents(&store.snapshot()), &oracle);
        }
    }
}
