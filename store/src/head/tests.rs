use proptest::prelude::*;

use super::*;

fn samples(pairs: &[(i64, f64)]) -> Samples {
    Samples {
        timestamps: pairs.iter().map(|p| p.0).collect(),
        values: pairs.iter().map(|p| p.1).collect(),
    }
}

/// What is there, what comes, as `at` lists; the newer ones have value 2.
fn check(there: &[i64], newer: &[i64], expected: &str) {
    let mut out = samples(&there.iter().map(|t| (*t, 1.0)).collect::<Vec<_>>());
    merge(
        &mut out,
        0,
        &samples(&newer.iter().map(|t| (*t, 2.0)).collect::<Vec<_>>()),
    );
    let text: Vec<String> = out
        .iter()
        .map(|(t, v)| format!("{t}{}", if v == 2.0 { "n" } else { "" }))
        .collect();
    assert_eq!(text.join(" "), expected);
}

#[test]
fn merging_keeps_order_and_the_newer_sample() {
    check(&[], &[1, 2], "1n 2n");
    check(&[1, 2], &[], "1 2");
    check(&[1, 2], &[3], "1 2 3n");
    check(&[3, 4], &[1, 2], "1n 2n 3 4");
    check(&[1, 3, 5], &[2, 3, 4], "1 2n 3n 4n 5");
    check(&[1, 2], &[2, 3], "1 2n 3n");
    check(&[1, 5], &[0, 9], "0n 1 5 9n");
}

#[test]
fn merging_leaves_what_stands_before_the_base() {
    let mut out = samples(&[(100, 0.0), (1, 1.0), (3, 1.0)]);
    merge(&mut out, 1, &samples(&[(2, 2.0)]));
    assert_eq!(out.timestamps, [100, 1, 2, 3]);
    merge(&mut out, 1, &samples(&[(0, 2.0)]));
    assert_eq!(out.timestamps, [100, 0, 1, 2, 3]);
}

#[test]
fn without_snapshots_nothing_is_remembered() {
    let memtable = Memtable::new(10);
    for epoch in 1..100 {
        let epochs = Epochs {
            current: epoch,
            living: Vec::new(),
        };
        memtable.append(&[SeriesId(3)], &[epoch as i64], &[1.0], &epochs);
    }
    let block = memtable.blocks.get(0).map(|b| b.read()).expect("a block");
    assert_eq!(block[3].as_ref().map(|s| s.more.is_none()), Some(true));
}

#[test]
fn a_snapshot_that_lives_long_does_not_gather_every_change() {
    let memtable = Memtable::new(10);
    for epoch in 1..100_u64 {
        // Number 10 lives on and on, others only until the next one is taken.
        let living = [10, epoch - 1].into_iter().filter(|n| *n < epoch).collect();
        memtable.append(
            &[SeriesId(3)],
            &[epoch as i64],
            &[1.0],
            &Epochs { current: epoch, living },
        );
        if epoch > 10 {
            let read = |number| {
                let mut out = Samples::default();
                memtable
                    .read(SeriesId(3), TimeRange::ALL, number, 0, &mut out)
                    .expect("a good head");
                out.len() as u64
            };
            assert_eq!((read(10), read(epoch - 1), read(epoch)), (10, epoch - 1, epoch));
        }
    }
    let block = memtable.blocks.get(0).map(|b| b.read()).expect("a block");
    let series = block[3].as_ref().expect("it was written");
    let seen = 1 + series.more.as_ref().map_or(0, |more| more.seen.len());
    assert!(seen <= 2, "{seen} entries");
    assert_eq!(series.seen.upto, 98, "of the last snapshot");
}

#[test]
fn memory_of_a_series_with_two_hours_of_samples_stays_small() {
    let memtable = Memtable::new(1000);
    let ids: Vec<SeriesId> = (0..1000).map(SeriesId).collect();
    for i in 0..720_i64 {
        let values: Vec<f64> = (0..1000_i64)
            .map(|s| if s % 2 == 0 { 1.0 } else { (i * s) as f64 })
            .collect();
        memtable.append(&ids, &vec![i * 10_000; 1000], &values, &Epochs::default());
    }
    assert_eq!((memtable.series(), memtable.samples()), (1000, 720_000));
    let bytes = memtable.bytes() / 1000;
    assert!(bytes < 1500, "{bytes} bytes a series");
}

proptest! {
    #[test]
    fn merging_is_what_a_map_does(
        older in prop::collection::btree_map(0_i64..40, 0_i32..9, 0..30),
        newer in prop::collection::btree_map(0_i64..40, 10_i32..19, 0..30),
    ) {
        let list = |map: &std::collections::BTreeMap<i64, i32>| {
            samples(&map.iter().map(|(t, v)| (*t, f64::from(*v))).collect::<Vec<_>>())
        };
        let mut out = list(&older);
        merge(&mut out, 0, &list(&newer));
        let mut map = older;
        map.extend(newer);
        prop_assert_eq!(out, list(&map));
    }
}
