//! What becomes of rollups: starts, retention, deletions, backups, damage.

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::*;
use crate::exchange::{self, ExchangeError, Selection, Sink};
use crate::part::Level;
use crate::testing::{labels, shown, try_append};
use crate::{Histogram, LabelsBuf, RefuseReason, RetentionRule, Tenants};

#[test]
fn a_start_finds_rollups_and_the_border_again_and_takes_nothing_before_it() {
    let kept = filled(StoreOptions::default());
    kept.days_later(4);
    let (before, text) = (
        kept.buckets("requests_total"),
        shown(&kept.store.snapshot(), "requests_total", TimeRange::ALL),
    );
    assert_eq!(before.len(), 2 * 288);
    for with_manifest in [true, false] {
        let dir = kept.dir.path().to_owned();
        if !with_manifest {
            // The order of drops: a store that is open rewrites nothing.
            std::fs::remove_file(dir.join("manifest.json")).unwrap();
        }
        let copy = tempfile::tempdir().unwrap();
        crate::testing::copy_dir(&dir, copy.path());
        let again = Store::open(copy.path(), kept.options.clone()).unwrap();
        assert_eq!(again.snapshot().coarseness(), kept.store.snapshot().coarseness());
        assert_eq!(
            shown(&again.snapshot(), "requests_total", TimeRange::ALL),
            text,
            "with manifest: {with_manifest}"
        );
        let border = NOW + 2 * DAY_MS;
        let taken = try_append(&again, &[("late", border, 1.0), ("late", border + 1, 2.0)]).unwrap();
        assert_eq!((taken.accepted, taken.refused[0].reason), (1, RefuseReason::RolledUp));
        assert!(taken.refused[0].example.contains("rolled up"), "{:?}", taken.refused);
        assert_eq!(
            shown(&again.snapshot(), "late", TimeRange::ALL),
            format!("{}=2", border + 1)
        );
    }
}

/// Versions that stand in the footers of all files of parts below `dir`.
fn versions(dir: &std::path::Path) -> std::collections::BTreeSet<char> {
    const KEY: &[u8] = b"foreshock.format_version";
    let files = crate::manifest::part_files(dir).unwrap();
    let version = |(path, _): &(std::path::PathBuf, _)| {
        let bytes = std::fs::read(path).unwrap();
        let at = bytes.windows(KEY.len()).rposition(|window| window == KEY).unwrap();
        // Thrift: the next field is a text of one byte.
        assert_eq!(bytes[at + KEY.len()..][..2], [0x18, 1]);
        char::from(bytes[at + KEY.len() + 2])
    };
    files.iter().map(version).collect()
}

#[test]
fn until_something_is_rolled_up_older_readers_can_read_all() {
    let kept = filled(StoreOptions::default());
    let dir = kept.dir.path().to_owned();
    let manifest = || std::fs::read_to_string(dir.join("manifest.json")).unwrap();
    kept.store.flush().unwrap();
    kept.days_later(2);
    assert!(manifest().contains(r#"{"version":1,"#), "{}", manifest());
    assert!(versions(&dir).iter().all(|version| ('1'..='3').contains(version)));
    kept.days_later(4);
    assert!(manifest().contains(r#"{"version":4,"#), "{}", manifest());
    assert!(versions(&dir).iter().all(|version| ('1'..='3').contains(version)));
    assert_eq!(versions(&crate::part::rollups_dir(&dir)), ['4'].into());
}

#[test]
fn what_waits_in_the_head_is_rolled_up_with_the_rest() {
    let kept = filled(StoreOptions::default());
    assert_eq!(kept.store.stats().parts, 0);
    kept.days_later(6);
    let buckets = kept.buckets("temperature_celsius");
    assert_eq!(buckets.counts.iter().sum::<f64>(), 3.0 * 1440.0);
    let kept = kept.open_again();
    assert_eq!(kept.buckets("temperature_celsius"), buckets);
}

#[test]
fn what_is_acknowledged_while_days_are_rolled_up_is_in_them() {
    let kept = filled(StoreOptions::default());
    kept.now.store(NOW + 4 * DAY_MS, Ordering::Relaxed);
    let (begun, begins) = std::sync::mpsc::channel();
    let accepted = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut accepted = 0;
            // Until the border is past it.
            while try_append(&kept.store, &[("late", NOW + 1 + accepted, 1.0)])
                .unwrap()
                .accepted
                > 0
            {
                accepted += 1;
                begun.send(()).unwrap();
            }
            accepted
        });
        begins.recv().unwrap();
        kept.store.maintain_now().unwrap();
        writer.join().unwrap()
    });
    assert_eq!(kept.buckets("late").counts.iter().sum::<f64>(), accepted as f64);
}

#[test]
fn each_resolution_is_kept_as_long_as_it_is_to_be() {
    let kept = filled(StoreOptions::default());
    let lengths = |kept: &Kept| {
        let manifest = kept.store.shared.manifest.lock();
        let of = |ms| manifest.rollups.iter().filter(|meta| meta.resolution_ms == ms).count();
        (of(FIVE_MINUTES_MS) > 0, of(HOUR_MS) > 0)
    };
    for (days, expected) in [
        (2, (false, false)),
        (3, (true, true)),
        (12, (true, true)),
        (40, (false, true)),
        (200, (false, false)),
    ] {
        kept.days_later(days);
        assert_eq!(lengths(&kept), expected, "{days} days later");
    }
    assert_eq!(kept.value("temperature_celsius", NOW + HOUR_MS), None);
    assert_eq!(kept.store.stats().rollup_bytes, 0);
}

#[test]
fn days_become_months_and_say_the_same() {
    let kept = Kept::new(StoreOptions {
        out_of_order_window_ms: i64::MAX,
        max_future_ms: 100 * DAY_MS,
        ..StoreOptions::default()
    });
    for day in 0..20 {
        let samples: Vec<_> = (0..48)
            .map(|i| {
                (
                    "m host=a",
                    NOW + day * DAY_MS + MINUTE + i * 30 * MINUTE,
                    (day * 48 + i) as f64,
                )
            })
            .collect();
        append(&kept.store, &samples);
        kept.days_later(day + 3);
    }
    let manifest = kept.store.shared.manifest.lock().clone();
    // The window of thirty days ended after eleven of them.
    let hours = manifest.rollups.iter().filter(|meta| meta.resolution_ms == HOUR_MS);
    let levels: Vec<(Level, u64)> = hours.map(|meta| (meta.part.level, meta.part.samples)).collect();
    assert_eq!(levels[0], (Level::Month, 11 * 24));
    assert_eq!(levels[1..], [(Level::Day, 24); 9]);
    let all = kept.buckets("m");
    assert_eq!(all.counts.iter().sum::<f64>(), 20.0 * 48.0);
    assert!(all.ends.is_sorted_by(|a, b| a < b));
    assert_eq!(
        shown(&kept.store.snapshot(), "m", TimeRange::ALL).split(' ').count(),
        all.len()
    );
}

#[test]
fn what_is_deleted_is_deleted_in_rollups() {
    let kept = filled(StoreOptions::default());
    kept.days_later(6);
    let from = NOW + 10 * HOUR_MS + MINUTE;
    let selector = vec![vec![Matcher::eq("__name__", "temperature_celsius")]];
    assert_eq!(
        kept.store
            .delete(&selector, TimeRange::millis(from, from + HOUR_MS))
            .unwrap(),
        1
    );
    let check = |kept: &Kept, when: &str| {
        let buckets = kept.buckets("temperature_celsius");
        // Every bucket that reaches into it goes as a whole.
        let gone = |end: i64| end >= from && end - FIVE_MINUTES_MS < from + HOUR_MS;
        assert!(buckets.ends.iter().all(|end| !gone(*end)), "{when}");
        assert_eq!(buckets.len(), 3 * 288 - 13, "{when}");
        assert_eq!(kept.buckets("requests_total").len(), 3 * 288, "{when}");
        let mut samples = Samples::default();
        let snapshot = kept.store.snapshot();
        let id = snapshot.select(&selector[0], TimeRange::ALL).unwrap()[0];
        snapshot
            .read(id, TimeRange::millis(from, from + HOUR_MS), &mut samples)
            .unwrap();
        assert!(samples.is_empty(), "{when}");
    };
    check(&kept, "at once");
    let kept = kept.open_again();
    check(&kept, "after a start");
    kept.store.clean_deleted().unwrap();
    assert!(kept.store.shared.manifest.lock().deletions.is_empty());
    check(&kept, "after a rewrite");
    assert_eq!(kept.store.delete(&selector, TimeRange::ALL).unwrap(), 1);
    let left = || kept.store.snapshot().select(&selector[0], TimeRange::ALL).unwrap();
    assert!(left().is_empty(), "a series of which nothing is left shows in no list");
}

#[test]
fn a_rule_drops_its_series_from_rollups_too() {
    let rule = |days| RetentionRule {
        matchers: vec![Matcher::eq("__name__", "temperature_celsius")],
        keep_ms: days * DAY_MS,
    };
    // Before they would be rolled up.
    let kept = filled(StoreOptions {
        retention_rules: vec![rule(1)],
        ..StoreOptions::default()
    });
    kept.days_later(6);
    assert_eq!(
        (
            kept.buckets("temperature_celsius").len(),
            kept.buckets("requests_total").len()
        ),
        (0, 3 * 288)
    );
    // After.
    let kept = filled(StoreOptions {
        retention_rules: vec![rule(8)],
        ..StoreOptions::default()
    });
    kept.days_later(6);
    assert_eq!(kept.buckets("temperature_celsius").len(), 3 * 288);
    kept.days_later(12);
    assert_eq!(
        (
            kept.buckets("temperature_celsius").len(),
            kept.buckets("requests_total").len()
        ),
        (0, 3 * 288)
    );
}

#[test]
fn a_store_over_its_size_rolls_up_what_it_drops() {
    let kept = filled(StoreOptions {
        retention_bytes: Some(40_000),
        ..StoreOptions::default()
    });
    kept.now.store(NOW + 3 * DAY_MS, Ordering::Relaxed);
    kept.store.flush().unwrap();
    kept.store.compact().unwrap();
    kept.store.maintain_now().unwrap();
    let stats = kept.store.stats();
    assert!(
        stats.part_bytes + stats.rollup_bytes <= 40_000 || stats.parts == 1,
        "{stats:?}"
    );
    assert!(stats.rollup_bytes <= 10_000, "{stats:?}");
    let coarseness = kept.store.snapshot().coarseness();
    assert!(coarseness.until_ms() > Some(NOW), "{coarseness:?}");
    // The present day is never rolled up, or what comes next would be refused.
    assert!(coarseness.until_ms() <= Some(NOW + 3 * DAY_MS), "{coarseness:?}");
}

#[test]
fn what_is_dropped_for_its_size_leaves_no_gap() {
    let mut kept = filled(StoreOptions::default());
    kept.store.flush().unwrap();
    // Of parts of two hours the first one has to go.
    kept.options.retention_bytes = Some(kept.store.stats().part_bytes - 1);
    kept.options.retention_ms = None;
    let kept = kept.open_again();
    kept.days_later(3);
    assert_eq!(kept.store.snapshot().coarseness().until_ms(), Some(NOW + DAY_MS));
    let border = kept.store.snapshot().coarseness().until_ms().unwrap();
    let rolled: f64 = kept.buckets("temperature_celsius").counts.iter().sum();
    assert_eq!(rolled, ((border - NOW) / MINUTE) as f64);
    let mut samples = Samples::default();
    let snapshot = kept.store.snapshot();
    let id = snapshot
        .select(&[Matcher::eq("__name__", "temperature_celsius")], TimeRange::ALL)
        .unwrap()[0];
    let later = TimeRange::millis(border + 1, i64::MAX);
    snapshot.read(id, later, &mut samples).unwrap();
    assert_eq!(samples.len() as i64, (NOW + 3 * DAY_MS - border) / MINUTE);
}

#[test]
fn an_export_has_the_samples_that_are_kept() {
    struct Lines(Vec<(i64, f64)>);
    impl Sink for Lines {
        fn series(&mut self, _: &mut LabelsBuf, times: &[i64], values: &[f64]) -> Result<(), ExchangeError> {
            self.0.extend(times.iter().copied().zip(values.iter().copied()));
            Ok(())
        }

        fn metadata(&mut self, _: &str, _: Metadata) -> Result<(), ExchangeError> {
            Ok(())
        }
    }
    let kept = filled(StoreOptions::default());
    kept.days_later(6);
    let selection = Selection {
        sets: vec![vec![Matcher::eq("__name__", "temperature_celsius")]],
        range: TimeRange::ALL,
    };
    let mut found = Lines(Vec::new());
    exchange::export(&kept.store.snapshot(), &selection, &mut found, &mut |_, _| true).unwrap();
    let all = three_days();
    let of_gauge = all.iter().filter(|(series, _, _)| series.starts_with("temperature"));
    let last: Vec<(i64, f64)> = of_gauge
        .filter(|(_, at, _)| at % FIVE_MINUTES_MS == 0)
        .map(|(_, at, value)| (*at, *value))
        .collect();
    assert_eq!(found.0, last);
}

#[test]
fn a_part_that_reaches_over_the_border_is_read_after_it_alone() {
    let kept = filled(StoreOptions::default());
    kept.store.flush().unwrap();
    // One part of three days.
    let ids: Vec<_> = kept
        .store
        .shared
        .manifest
        .lock()
        .parts
        .iter()
        .map(|part| part.id)
        .collect();
    let plan = crate::compaction::Plan {
        inputs: ids,
        level: Level::Month,
    };
    kept.store.shared.merge(&plan).unwrap();
    kept.days_later(4);
    assert_eq!(kept.store.stats().parts, 1);
    let border = NOW + 2 * DAY_MS;
    assert_eq!(
        kept.value("count_over_time(temperature_celsius[3d])", NOW + 3 * DAY_MS),
        Some(3.0 * 1440.0)
    );
    let mut samples = Samples::default();
    let snapshot = kept.store.snapshot();
    let id = snapshot
        .select(&[Matcher::eq("__name__", "temperature_celsius")], TimeRange::ALL)
        .unwrap()[0];
    snapshot.read(id, TimeRange::ALL, &mut samples).unwrap();
    assert!(samples.timestamps.is_sorted_by(|a, b| a < b));
    assert_eq!(samples.timestamps.iter().filter(|at| **at > border).count(), 1440);
    assert_eq!(samples.timestamps.iter().filter(|at| **at <= border).count(), 2 * 288);
    // A merge leaves out what rollups tell.
    let id = kept.store.shared.manifest.lock().parts[0].id;
    kept.store
        .shared
        .merge(&crate::compaction::Plan {
            inputs: vec![id],
            level: Level::Month,
        })
        .unwrap();
    assert_eq!(kept.store.stats().part_samples, 2 * 1440);
}

#[test]
fn of_histograms_one_a_bucket_is_kept_and_those_around_resets() {
    let kept = Kept::new(StoreOptions {
        max_future_ms: 100 * DAY_MS,
        ..StoreOptions::default()
    });
    let mut batch = kept.store.batch();
    let id = batch.series(&mut labels("latency host=a")).unwrap();
    let mut count = 0.0;
    for minute in 1..=120_i64 {
        count = if minute == 63 { 1.0 } else { count + 2.0 };
        let histogram = Histogram {
            count,
            zero_count: count,
            sum: count,
            ..Histogram::default()
        };
        batch.push_histogram(id, NOW + minute * MINUTE, histogram).unwrap();
    }
    // At first it was a number.
    batch.push(id, NOW - 10 * MINUTE, 7.0);
    kept.store.append(batch).unwrap();
    kept.days_later(4);
    let snapshot = kept.store.snapshot();
    let mut found = Histograms::default();
    snapshot.read_histograms(id, TimeRange::ALL, &mut found).unwrap();
    let minutes: Vec<i64> = found.timestamps.iter().map(|at| (at - NOW) / MINUTE).collect();
    let mut expected: Vec<i64> = (1..=24).map(|i| i * 5).chain([1, 62, 63]).collect();
    expected.sort_unstable();
    assert_eq!(minutes, expected);
    assert_eq!(
        shown(&snapshot, "latency", TimeRange::ALL),
        format!("{}=7", NOW - 10 * MINUTE)
    );
    let counted = kept
        .value("histogram_count(increase(latency[1h]))", NOW + 2 * HOUR_MS)
        .unwrap();
    assert!((counted - 119.0).abs() < 4.0, "{counted}");
}

#[test]
fn a_restored_backup_has_its_rollups() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    std::fs::create_dir_all(from.join("tenants")).unwrap();
    faults::write(&from.join("tenants/a"));
    let tenants = Tenants::open(&from, faults::options(4)).unwrap();
    let store = tenants.get("a").unwrap();
    store.maintain_now().unwrap();
    let (backup, expected) = (dir.path().join("backup"), faults::all(&store));
    assert!(
        expected.1.iter().all(|buckets| buckets.len() == 2 * 96),
        "two of three days"
    );
    tenants.backup(&backup, &[], NOW, &mut |_, _| {}).unwrap();
    crate::restore(&backup, &to, &[], &mut |_, _| {}).unwrap();
    let restored = Tenants::open(&to, faults::options(4)).unwrap();
    assert!(faults::all(&restored.get("a").unwrap()) == expected);
}

/// Where the last value of a part's first row group ends.
fn last_byte_of_values(path: &std::path::Path) -> usize {
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let group = reader.metadata().row_group(0);
    let values = group.columns().iter().find(|c| c.column_path().string() == "values");
    let (start, length) = values.unwrap().byte_range();
    (start + length) as usize - 1
}

#[test]
fn verify_reads_rollups_and_repair_saves_what_is_whole() {
    let kept = filled(StoreOptions::default());
    kept.days_later(6);
    let found = crate::verify(kept.dir.path()).unwrap();
    assert!(found.is_clean(), "{found}");
    assert_eq!((found.rollups, found.buckets), (2, 2 * (3 * 288 + 3 * 24)));
    let inspection = crate::inspect(kept.dir.path()).unwrap().to_string();
    assert!(
        inspection.contains("rollups of 5 min: 1 parts, 1728 buckets"),
        "{inspection}"
    );

    let id = kept.store.shared.manifest.lock().rollups[1].part.id;
    let dir = kept.dir.path().to_owned();
    let before = kept.buckets("requests_total");
    drop(kept.store);
    // A damaged chunk costs its series; the others are saved.
    let path = crate::part::chunks_path(&crate::part::rollups_dir(&dir), id);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = last_byte_of_values(&path);
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(!crate::verify(&dir).unwrap().is_clean());
    let repaired = crate::repair(&dir).unwrap();
    assert_eq!((repaired.parts.len(), repaired.parts[0].saved), (1, 3 * 288));
    assert!(
        crate::verify(&dir)
            .unwrap()
            .problems
            .iter()
            .all(|problem| problem.path.extension().unwrap() == "quarantined")
    );
    let store = Store::open(&dir, kept.options.clone()).unwrap();
    let again = Kept {
        dir: kept.dir,
        store,
        now: kept.now,
        options: kept.options,
    };
    let left = [again.buckets("requests_total"), again.buckets("temperature_celsius")];
    assert!(left.iter().any(|buckets| buckets.len() == 3 * 288), "{}", left[0].len());
    assert!(left[0].is_empty() || left[0] == before);
}
