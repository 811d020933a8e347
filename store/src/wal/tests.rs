use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::disk::faults;
use crate::{Histogram, Labels};

#[derive(Debug, Default, PartialEq)]
struct Collected {
    series: Vec<Vec<u8>>,
    samples: Vec<(u32, i64, u64)>,
    histograms: Vec<(u32, i64, Histogram)>,
    batches: usize,
    metadata: BTreeMap<String, Metadata>,
}

impl Sink for Collected {
    fn series(&mut self, canonical: &[u8]) -> Option<SeriesId> {
        let known = self.series.iter().position(|s| s == canonical);
        let id = known.unwrap_or_else(|| {
            self.series.push(canonical.to_vec());
            self.series.len() - 1
        });
        Some(SeriesId(id as u32))
    }

    fn sample(&mut self, id: SeriesId, at_ms: i64, value: f64) {
        self.samples.push((id.0, at_ms, value.to_bits()));
    }

    fn histogram(&mut self, id: SeriesId, at_ms: i64, value: Histogram) {
        self.histograms.push((id.0, at_ms, value));
    }

    fn end_of_batch(&mut self) {
        self.batches += 1;
    }

    fn metadata(&mut self, metric: String, metadata: Metadata) {
        self.metadata.insert(metric, metadata);
    }
}

fn series(n: u32) -> Labels {
    let number = n.to_string();
    Labels::from_pairs([
        ("__name__", "some_metric"),
        ("host", "host-1.example.org"),
        ("cpu", number.as_str()),
    ])
}

/// Writes batches of (series, timestamp, value) and reads them back.
fn round_trip(batches: &[Vec<(u32, i64, f64)>], segment_bytes: u64) -> (Collected, u64) {
    let dir = tempfile::tempdir().unwrap();
    let labels: Vec<Labels> = (0..64).map(series).collect();
    let mut wal = Wal::new(dir.path(), segment_bytes, Vec::new(), 0);
    for batch in batches {
        let ids: Vec<SeriesId> = batch.iter().map(|(id, _, _)| SeriesId(*id)).collect();
        let timestamps: Vec<i64> = batch.iter().map(|(_, at, _)| *at).collect();
        let values: Vec<f64> = batch.iter().map(|(_, _, value)| *value).collect();
        wal.begin();
        let columns = Columns {
            ids: &ids,
            timestamps: &timestamps,
            values: &values,
        };
        wal.samples(columns, |id| labels[id.0 as usize].as_bytes());
        wal.commit().unwrap();
    }
    let mut collected = Collected::default();
    let replayed = replay(dir.path(), 0, &mut collected).unwrap();
    assert_eq!((replayed.torn_tail, replayed.damaged), (None, Vec::new()));
    assert_eq!(
        replayed.segments.iter().map(|(_, bytes)| bytes).sum::<u64>(),
        wal.size().1
    );
    // Back to the numbers of the writer.
    let numbers: Vec<u32> = collected
        .series
        .iter()
        .map(|s| labels.iter().position(|l| l.as_bytes() == s).unwrap() as u32)
        .collect();
    for sample in &mut collected.samples {
        sample.0 = numbers[sample.0 as usize];
    }
    (collected, wal.size().1)
}

#[test]
fn a_push_every_ten_seconds_takes_few_bytes() {
    let value = |series: u32, i: u32| match series % 4 {
        0 => 17.0,
        1 => f64::from(i * series),
        2 => f64::from((i * 37 + series) % 100) / 100.0,
        _ => f64::from(1_000_000 + i * 977 * series),
    };
    let batches: Vec<Vec<_>> = (0..200)
        .map(|i| {
            (0..60)
                .map(|s| (s, 1_700_000_000_000 + i64::from(i) * 10_000, value(s, i)))
                .collect()
        })
        .collect();
    let (collected, bytes) = round_trip(&batches, 1 << 30);
    assert_eq!(
        (collected.samples.len(), collected.batches, collected.series.len()),
        (12_000, 200, 60)
    );
    let bytes_a_sample = bytes as f64 / 12_000.0;
    assert!(bytes_a_sample < 1.6, "{bytes_a_sample} bytes a sample");
}

#[test]
fn a_backfill_of_long_stretches_takes_few_bytes() {
    let batch: Vec<_> = (0..60)
        .flat_map(|s| (0..500).map(move |i| (s, 1_700_000_000_000 + i * 15_000, (i * 3) as f64)))
        .collect();
    let (collected, bytes) = round_trip(&[batch], 1 << 30);
    assert_eq!(collected.samples.len(), 30_000);
    assert!(bytes < 36_000, "{bytes} bytes");
}

#[test]
fn metadata_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut wal = Wal::new(dir.path(), 1000, Vec::new(), 0);
    let described = Metadata {
        kind: crate::MetricKind::Counter,
        unit: "By".into(),
        help: "Bytes – all.".into(),
    };
    wal.begin();
    wal.metadata("m", &described);
    wal.metadata("n", &Metadata::default());
    wal.commit().unwrap();
    let mut collected = Collected::default();
    replay(dir.path(), 0, &mut collected).unwrap();
    assert_eq!(
        collected.metadata,
        BTreeMap::from([("m".into(), described), ("n".into(), Metadata::default())])
    );
}

#[test]
fn a_power_cut_takes_what_no_sync_followed_and_nothing_else() {
    let labels = series(0);
    let kept = |sync_after: &[i64]| {
        let dir = tempfile::tempdir().unwrap();
        let disk = faults::watch(dir.path(), 7);
        disk::sync_dir(dir.path()).unwrap();
        // Every other commit begins a new segment, which syncs the one before it.
        let mut wal = Wal::new(dir.path(), 60, Vec::new(), 0).synced_apart();
        for at in 0..5 {
            wal.begin();
            let columns = Columns {
                ids: &[SeriesId(0)],
                timestamps: &[at],
                values: &[0.5],
            };
            wal.samples(columns, |_| labels.as_bytes());
            wal.commit().unwrap();
            if sync_after.contains(&at) {
                wal.sync().unwrap();
            }
        }
        drop(wal);
        disk.cut_power();
        let mut collected = Collected::default();
        replay(dir.path(), 0, &mut collected).unwrap();
        collected.samples.iter().map(|(_, at, _)| *at).collect::<Vec<_>>()
    };
    assert_eq!(kept(&[4]), [0, 1, 2, 3, 4]);
    let without = kept(&[]);
    assert!(without.len() < 5, "{without:?}: the last one was never synced");
}

#[test]
fn a_sync_that_failed_is_told_until_parts_hold_what_it_was_about() {
    let labels = series(0);
    let dir = tempfile::tempdir().unwrap();
    let disk = faults::watch(dir.path(), 7);
    let mut wal = Wal::new(dir.path(), 1 << 20, Vec::new(), 0).synced_apart();
    let commit = |wal: &mut Wal| {
        wal.begin();
        let columns = Columns {
            ids: &[SeriesId(0)],
            timestamps: &[1],
            values: &[0.5],
        };
        wal.samples(columns, |_| labels.as_bytes());
        wal.commit()
    };
    commit(&mut wal).unwrap();
    wal.sync().unwrap();
    commit(&mut wal).unwrap();
    disk.schedule(faults::Schedule {
        io: 1000,
        ..faults::Schedule::default()
    });
    // A segment ends in the background of a flush that fails later, or because it is full.
    let number = wal.cut();
    disk.schedule(faults::Schedule::default());
    wal.sync().unwrap_err();
    commit(&mut wal).unwrap();
    wal.sync().unwrap_err();
    wal.release_before(number);
    wal.sync().unwrap();
}

#[test]
fn what_was_begun_and_never_committed_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let mut wal = Wal::new(dir.path(), 1 << 20, Vec::new(), 0);
    let labels: Vec<Labels> = (0..4).map(series).collect();
    let mut write = |ids: &[u32], value: f64, commit: bool| {
        let ids: Vec<SeriesId> = ids.iter().map(|id| SeriesId(*id)).collect();
        wal.begin();
        let (timestamps, values) = (vec![5; ids.len()], vec![value; ids.len()]);
        let columns = Columns {
            ids: &ids,
            timestamps: &timestamps,
            values: &values,
        };
        wal.samples(columns, |id| labels[id.0 as usize].as_bytes());
        if commit {
            wal.commit().unwrap();
        }
    };
    write(&[0, 1], 1.0, true);
    write(&[1, 2], 2.0, false);
    write(&[1, 2, 3], 3.0, true);
    let mut collected = Collected::default();
    assert_eq!(replay(dir.path(), 0, &mut collected).unwrap().damaged, []);
    let values: Vec<f64> = collected
        .samples
        .iter()
        .map(|(_, _, bits)| f64::from_bits(*bits))
        .collect();
    assert_eq!(values, [1.0, 1.0, 3.0, 3.0, 3.0]);
    assert_eq!(collected.series.len(), 4);
}

#[test]
fn segments_before_the_first_one_wanted_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut wal = Wal::new(dir.path(), 1, Vec::new(), 0);
    let labels = series(0);
    for at in 0..5 {
        wal.begin();
        let columns = Columns {
            ids: &[SeriesId(0)],
            timestamps: &[at],
            values: &[1.0],
        };
        wal.samples(columns, |_| labels.as_bytes());
        wal.commit().unwrap();
    }
    let mut collected = Collected::default();
    let replayed = replay(dir.path(), 4, &mut collected).unwrap();
    assert_eq!(replayed.segments.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(collected.samples.len(), 2);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    assert_eq!(wal.release_before(3).len(), 2);
    assert_eq!(Wal::new(dir.path(), 1, replayed.segments, 9).cut(), 9);
}

proptest! {
    #[test]
    fn any_batches_read_back(
        batches in prop::collection::vec(
            prop::collection::vec((0_u32..64, any::<i64>(), any::<u64>().prop_map(f64::from_bits)), 1..60), 1..12),
        segment_bytes in 1_u64..4000,
    ) {
        let (collected, _) = round_trip(&batches, segment_bytes);
        let written: Vec<_> = batches.iter().flatten().map(|(id, at, value)| (*id, *at, value.to_bits())).collect();
        prop_assert_eq!(collected.samples, written);
    }

    #[test]
    fn damaged_records_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = Decoder::default();
        let mut collected = Collected::default();
        // Any answer is fine, so long as there is one.
        if decoder.record(&bytes, &mut collected).is_none() {
            prop_assert!(collected.batches == 0);
        }
    }
}
