use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::promql::{Engine, QueryOptions, Value};
use crate::testing::{Contents, NOW, append, contents, copy_dir, open, quiet, shown};
use crate::{Clock, Exemplar, Labels, Store, StoreOptions};

fn metric(name: &str) -> Vec<Vec<Matcher>> {
    vec![vec![Matcher::eq("__name__", name)]]
}

fn names(store: &Store) -> Vec<String> {
    let snapshot = store.snapshot();
    let names = snapshot.label_values("host", &[], TimeRange::ALL).unwrap();
    names.into_iter().map(str::to_owned).collect()
}

/// Whether these bytes stand in any file of parts or WAL.
fn is_on_disk(dir: &Path, text: &str) -> bool {
    let mut found = false;
    for folder in ["parts", "wal"] {
        for entry in fs::read_dir(dir.join(folder)).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            found |= bytes.windows(text.len()).any(|window| window == text.as_bytes());
        }
    }
    found
}

#[test]
fn what_is_deleted_is_gone_for_every_reader_at_once_and_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("a"));
    append(
        &store,
        &[("m host=secret", NOW - 20_000, 1.0), ("m host=b", NOW - 20_000, 2.0)],
    );
    store.flush().unwrap();
    append(&store, &[("m host=secret", NOW, 3.0), ("m host=b", NOW, 4.0)]);
    let before = store.snapshot();
    let secret = before.select(&[Matcher::eq("host", "secret")], TimeRange::ALL).unwrap()[0];
    let exemplar = Exemplar {
        labels: Labels::from_pairs([("trace_id", "x")]),
        at_ms: NOW,
        value: 1.0,
    };
    store.add_exemplars(vec![(secret, exemplar)]);
    let sets = vec![vec![Matcher::eq("host", "secret")], vec![Matcher::eq("host", "nobody")]];
    assert_eq!(store.delete(&sets, TimeRange::ALL).unwrap(), 1);
    assert_eq!(
        store.delete(&sets, TimeRange::ALL).unwrap(),
        0,
        "it is not there any more"
    );

    // A copy of the directory is what a SIGKILL leaves.
    copy_dir(&dir.path().join("a"), &dir.path().join("killed"));
    let killed = open(&dir.path().join("killed"));
    for store in [&store, &killed] {
        assert_eq!(
            shown(&store.snapshot(), "m", TimeRange::ALL),
            format!("{}=2 {NOW}=4", NOW - 20_000)
        );
        assert_eq!(names(store), ["b"]);
        let sum = Engine::default()
            .instant(&store.snapshot(), "sum(m)", NOW, &QueryOptions::default())
            .unwrap();
        let Value::Vector(points) = sum.value else {
            panic!("a vector")
        };
        assert_eq!(points[0].v, 4.0);
    }
    let mut samples = Samples::default();
    before.read(secret, TimeRange::ALL, &mut samples).unwrap();
    assert!(store.exemplars(&[secret], TimeRange::ALL).is_empty());
    assert_eq!(samples.values, [1.0, 3.0], "a snapshot that was taken before reads on");
    assert!(is_on_disk(&dir.path().join("killed"), "secret"));
    killed.clean_deleted().unwrap();
    assert!(!is_on_disk(&dir.path().join("killed"), "secret"));
    assert_eq!(names(&killed), ["b"]);
    assert!(
        killed.shared.manifest.lock().deletions.is_empty(),
        "it has done its work"
    );
    assert!(crate::verify(&dir.path().join("killed")).unwrap().is_clean());
}

#[test]
fn samples_that_are_written_after_a_deletion_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, &[("m host=a", NOW - 1, 1.0), ("m host=a", NOW, 2.0)]);
    store.delete(&metric("m"), TimeRange::ALL).unwrap();
    assert!(names(&store).is_empty());
    append(&store, &[("m host=a", NOW, 3.0)]);
    let expected = format!("{NOW}=3");
    assert_eq!(
        (shown(&store.snapshot(), "m", TimeRange::ALL), names(&store)),
        (expected.clone(), vec!["a".to_owned()])
    );
    store.flush().unwrap();
    assert_eq!(shown(&store.snapshot(), "m", TimeRange::ALL), expected, "as a part");
    store.compact().unwrap();
    assert_eq!(
        shown(&store.snapshot(), "m", TimeRange::ALL),
        expected,
        "merged with the part that holds the deleted ones"
    );
    drop(store);
    let store = open(dir.path());
    store.clean_deleted().unwrap();
    assert_eq!(shown(&store.snapshot(), "m", TimeRange::ALL), expected);
    assert!(store.shared.manifest.lock().deletions.is_empty());
}

#[test]
fn a_stretch_of_time_is_deleted_and_the_series_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(
        &store,
        &[
            ("m host=a", 1, 1.0),
            ("m host=a", 2, 2.0),
            ("m host=a", 3, 3.0),
            ("n host=b", 2, 4.0),
        ],
    );
    assert_eq!(store.delete(&[Vec::new()], TimeRange::millis(2, 2)).unwrap(), 2);
    for _ in 0..2 {
        assert_eq!(shown(&store.snapshot(), "m", TimeRange::ALL), "1=1 3=3");
        assert_eq!(shown(&store.snapshot(), "n", TimeRange::ALL), "");
        assert_eq!(names(&store), ["a"], "of n nothing is left");
        store.clean_deleted().unwrap();
    }
}

#[test]
fn a_part_of_which_nothing_is_left_goes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, &[("m host=a", NOW, 1.0)]);
    store.delete(&metric("m"), TimeRange::ALL).unwrap();
    assert_eq!(store.stats().parts, 1);
    store.clean_deleted().unwrap();
    assert_eq!(store.stats().parts, 0);
    assert_eq!(fs::read_dir(dir.path().join("parts")).unwrap().count(), 0);
    append(&store, &[("m host=a", NOW, 2.0)]);
    store.flush().unwrap();
    assert_eq!(shown(&store.snapshot(), "m", TimeRange::ALL), format!("{NOW}=2"));
}

#[test]
fn the_stores_thread_rewrites_parts_an_hour_later() {
    let dir = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicI64::new(NOW));
    let clock = Arc::clone(&now);
    let options = StoreOptions {
        clock: Clock::new(move || clock.load(Ordering::Relaxed)),
        ..quiet()
    };
    let store = Store::open(dir.path(), options).unwrap();
    append(&store, &[("m host=secret", NOW, 1.0), ("m host=b", NOW, 1.0)]);
    store
        .delete(&[vec![Matcher::eq("host", "secret")]], TimeRange::ALL)
        .unwrap();
    for (later, there) in [(GRACE_MS - 1, true), (GRACE_MS, false)] {
        now.store(NOW + later, Ordering::Relaxed);
        crate::background::work(&store.shared).unwrap();
        assert_eq!(is_on_disk(dir.path(), "secret"), there, "{later} ms later");
    }
}

#[test]
fn an_older_foreshock_refuses_a_manifest_with_deletions_and_reads_one_without() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let version = || {
        let text = fs::read_to_string(dir.path().join("manifest.json")).unwrap();
        (text.contains(r#"{"version":1,"#), text.contains(r#"{"version":2,"#))
    };
    append(&store, &[("m", NOW, 1.0), ("n", NOW, 1.0)]);
    store.flush().unwrap();
    assert_eq!(version(), (true, false));
    store.delete(&metric("m"), TimeRange::ALL).unwrap();
    assert_eq!(version(), (false, true));
    store.clean_deleted().unwrap();
    assert_eq!(version(), (true, false));
}

#[test]
fn more_series_than_can_be_kept_in_mind_are_refused() {
    let deletion = Deletion {
        before: 1,
        made_ms: 0,
        t_min: 0,
        t_max: 0,
        keys: vec![SeriesKey(1); KEYS_MAX],
    };
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, &[("m", NOW, 1.0)]);
    store.flush().unwrap();
    store.shared.manifest.lock().deletions.push(deletion);
    let error = store.delete(&metric("m"), TimeRange::ALL).unwrap_err();
    assert!(error.hint().unwrap().contains("clean_tombstones"), "{error}");
    assert_eq!(
        shown(&store.snapshot(), "m", TimeRange::ALL),
        format!("{NOW}=1"),
        "nothing is deleted"
    );
}

#[derive(Clone, Debug)]
enum Step {
    Append(u8, i64, i8),
    Delete(u8, i64, i64),
    Flush,
    Compact,
    Clean,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u8..3, 0_i64..40, any::<i8>()).prop_map(|(series, at, value)| Step::Append(series, at, value)),
        2 => (0_u8..4, 0_i64..40, 0_i64..40).prop_map(|(series, from, length)| Step::Delete(series, from, from + length)),
        1 => Just(Step::Flush),
        1 => Just(Step::Compact),
        1 => Just(Step::Clean),
        1 => Just(Step::Kill),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_store_holds_what_a_map_would(steps in proptest::collection::vec(step(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut place = dir.path().join("0");
        let mut store = open(&place);
        let mut expected = Contents::new();
        for (i, step) in steps.iter().enumerate() {
            match *step {
                Step::Append(series, at, value) => {
                    // A window each, so that there are several parts.
                    let at = at * 3_600_000;
                    let mut batch = store.batch();
                    batch.take_any_age();
                    let id = batch.series(&mut crate::testing::labels(&format!("m s={series}"))).unwrap();
                    batch.push(id, at, f64::from(value));
                    store.append(batch).unwrap();
                    expected.insert((format!("m{{s=\"{series}\"}}"), at), f64::from(value).to_bits());
                }
                Step::Delete(series, from, to) => {
                    let range = TimeRange::millis(from * 3_600_000, to * 3_600_000);
                    // The fourth one means all.
                    let set = if series == 3 { vec![] } else { vec![Matcher::eq("s", series.to_string())] };
                    store.delete(std::slice::from_ref(&set), range).unwrap();
                    expected.retain(|(name, at), _| {
                        !(range.contains(*at) && (set.is_empty() || name.contains(&format!("\"{series}\""))))
                    });
                }
                Step::Flush => store.flush().unwrap(),
                Step::Compact => store.compact().unwrap(),
                Step::Clean => store.clean_deleted().unwrap(),
                Step::Kill => {
                    let copy = dir.path().join(format!("{}", i + 1));
                    copy_dir(&place, &copy);
                    store = open(&copy);
                    place = copy;
                }
            }
            prop_assert_eq!(&contents(&store.snapshot()), &expected, "after step {}", i);
        }
        store.clean_deleted().unwrap();
        prop_assert!(store.shared.manifest.lock().deletions.is_empty());
        prop_assert_eq!(&contents(&store.snapshot()), &expected);
    }
}

/// Minutes at which a series has histograms.
fn minutes(store: &Store, metric: &str) -> Vec<i64> {
    let snapshot = store.snapshot();
    let mut histograms = Histograms::default();
    for id in snapshot
        .select(&[Matcher::eq("__name__", metric)], TimeRange::ALL)
        .unwrap()
    {
        snapshot.read_histograms(id, TimeRange::ALL, &mut histograms).unwrap();
    }
    histograms.timestamps.iter().map(|at| (at - NOW) / 60_000).collect()
}

fn append_histograms(store: &Store, series: &str, minutes: std::ops::Range<i64>) {
    let mut batch = store.batch();
    let id = batch.series(&mut crate::testing::labels(series)).unwrap();
    for minute in minutes {
        let histogram = crate::Histogram {
            count: minute as f64,
            zero_count: minute as f64,
            ..crate::Histogram::default()
        };
        batch.push_histogram(id, NOW + minute * 60_000, histogram).unwrap();
    }
    store.append(batch).unwrap();
}

#[test]
fn histograms_are_deleted_as_numbers_are() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append_histograms(&store, "latency host=secret", 0..5);
    append_histograms(&store, "kept host=b", 0..5);
    store.flush().unwrap();
    append_histograms(&store, "latency host=secret", 5..8);
    append(&store, &[("latency host=secret", NOW + 8 * 60_000, 1.0)]);
    let range = TimeRange::millis(NOW + 2 * 60_000, NOW + 6 * 60_000);
    assert_eq!(store.delete(&metric("latency"), range).unwrap(), 1);
    assert_eq!(minutes(&store, "latency"), [0, 1, 7]);
    append_histograms(&store, "latency host=secret", 8..10);
    drop(store);
    let store = open(dir.path());
    assert_eq!(minutes(&store, "latency"), [0, 1, 7, 8, 9]);
    store.clean_deleted().unwrap();
    assert_eq!(
        minutes(&store, "latency"),
        [0, 1, 7, 8, 9],
        "the same once the parts are rewritten"
    );
    assert_eq!(store.delete(&metric("latency"), TimeRange::ALL).unwrap(), 1);
    store.clean_deleted().unwrap();
    assert!(!is_on_disk(dir.path(), "secret"));
    assert_eq!(names(&store), ["b"]);
    drop(store);
    let store = open(dir.path());
    assert_eq!(minutes(&store, "latency"), [0_i64; 0]);
    assert_eq!(minutes(&store, "kept"), [0, 1, 2, 3, 4]);
    assert!(crate::verify(dir.path()).unwrap().is_clean());
}
