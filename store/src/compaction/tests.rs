use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::METRIC_NAME;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// What a reader must see: for each series, by timestamp, the bits of the value.
type Oracle = BTreeMap<Labels, BTreeMap<i64, u64>>;

fn labels(number: u8) -> Labels {
    let (metric, host) = (format!("m{}", number % 3), format!("h{}", number / 3));
    Labels::from_pairs([(METRIC_NAME, metric.as_str()), ("host", host.as_str())])
}

/// Writes a part of (series, timestamp, value) and opens it.
fn write(dir: &Path, id: u64, samples: &[(u8, i64, f64)]) -> Arc<Part> {
    let mut content: Oracle = BTreeMap::new();
    for &(series, at, value) in samples {
        content.entry(labels(series)).or_default().insert(at, value.to_bits());
    }
    let mut series: Vec<_> = content.into_iter().collect();
    series.sort_by(|a, b| series_order(&a.0, &b.0));
    let mut writer = PartWriter::create(dir, PartId(id), Level::Flushed, "default").unwrap();
    for (labels, samples) in series {
        let row = writer.series(labels.key(), &labels).unwrap();
        let (ts, vs): (Vec<i64>, Vec<f64>) = samples.into_iter().map(|(t, v)| (t, f64::from_bits(v))).unzip();
        writer.samples(row, &ts, &vs).unwrap();
    }
    Arc::new(Part::open(dir, &writer.finish().unwrap()).unwrap())
}

/// Reads parts by ascending rank, later ones over earlier ones, as the reader of the store does.
fn read(parts: &[Arc<Part>]) -> Oracle {
    let mut parts = parts.to_vec();
    parts.sort_by_key(|part| part.meta().rank);
    let mut all: Oracle = BTreeMap::new();
    for part in parts {
        for series in part.series().unwrap() {
            let (row, _, labels) = series.unwrap();
            let mut samples = Samples::default();
            part.read(row, TimeRange::ALL, &mut samples).unwrap();
            all.entry(labels)
                .or_default()
                .extend(samples.iter().map(|(t, v)| (t, v.to_bits())));
        }
    }
    all
}

fn meta(id: u64, level: Level, t_min: i64, t_max: i64, bytes: u64) -> PartMeta {
    PartMeta {
        id: PartId(id),
        rank: id,
        level,
        t_min,
        t_max,
        series: 10,
        chunks: 10,
        samples: 4800,
        bytes,
    }
}

fn check_plan(parts: &[PartMeta], now: i64, expected: Option<(&[u64], Level)>) {
    let mut manifest = Manifest::default();
    manifest.replace(&[], parts.iter().cloned());
    let expected = expected.map(|(inputs, level)| Plan {
        inputs: inputs.iter().copied().map(PartId).collect(),
        level,
    });
    assert_eq!(plan(&manifest, &HashSet::new(), now), expected);
}

#[test]
fn a_day_is_merged_once_it_is_over() {
    let flushes: Vec<PartMeta> = (0..12)
        .map(|i| {
            meta(
                i as u64 + 1,
                Level::Flushed,
                100 * DAY + i * 2 * HOUR,
                100 * DAY + (i + 1) * 2 * HOUR + 5000,
                100,
            )
        })
        .collect();
    check_plan(&flushes, 101 * DAY, None);
    check_plan(
        &flushes,
        101 * DAY + HOUR,
        Some((&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], Level::Day)),
    );
    check_plan(&flushes[..1], 200 * DAY, None);
}

#[test]
fn many_parts_of_today_do_not_wait() {
    let flushes: Vec<PartMeta> = (0..16)
        .map(|i| meta(i as u64 + 1, Level::Flushed, 100 * DAY + i, 100 * DAY + HOUR, 100))
        .collect();
    check_plan(&flushes[..15], 100 * DAY + 2 * HOUR, None);
    let mut manifest = Manifest {
        parts: flushes,
        ..Manifest::default()
    };
    assert_eq!(
        plan(&manifest, &HashSet::new(), 100 * DAY + 2 * HOUR)
            .unwrap()
            .inputs
            .len(),
        16
    );
    manifest.parts.truncate(2);
    assert_eq!(
        plan_settled(&manifest, &HashSet::new(), 100 * DAY)
            .unwrap()
            .inputs
            .len(),
        2
    );
}

#[test]
fn thirty_days_are_merged_once_they_are_over() {
    let month = 20;
    let start = month * 30 * DAY;
    let days: Vec<PartMeta> = (0..30)
        .map(|i| {
            meta(
                i as u64 + 1,
                Level::Day,
                start + i * DAY,
                start + (i + 1) * DAY - 1,
                1000,
            )
        })
        .collect();
    check_plan(&days, start + 30 * DAY, None);
    let ids: Vec<u64> = (1..=30).collect();
    check_plan(&days, start + 30 * DAY + HOUR, Some((&ids, Level::Month)));
}

#[test]
fn a_little_late_data_does_not_rewrite_a_day() {
    let day = meta(5, Level::Day, 100 * DAY, 101 * DAY - 1, 10_000);
    let late = |id, bytes| meta(id, Level::Flushed, 100 * DAY + HOUR, 100 * DAY + 2 * HOUR, bytes);
    check_plan(&[day.clone(), late(6, 100)], 120 * DAY, None);
    check_plan(
        &[day, late(6, 100), late(7, 3000)],
        120 * DAY,
        Some((&[5, 6, 7], Level::Day)),
    );
}

#[test]
fn a_part_of_short_chunks_is_rewritten_alone() {
    let mut part = meta(1, Level::Flushed, 100 * DAY, 101 * DAY - 1, 10_000);
    (part.samples, part.chunks) = (57_600, 480);
    check_plan(&[part.clone()], 120 * DAY, Some((&[1], Level::Day)));
    part.chunks = 60;
    check_plan(&[part], 120 * DAY, None);
}

#[test]
fn parts_are_not_merged_around_one_that_overwrote_them() {
    let flush = |id, t_min, t_max| meta(id, Level::Flushed, t_min, t_max, 100);
    let (d, e) = (100 * DAY, 101 * DAY);
    // Part 2 is of another window, overlaps 1 and ranks between 1 and 3.
    let long = flush(2, d + HOUR, d + 40 * DAY);
    check_plan(
        &[flush(1, d, d + 2 * HOUR), long.clone(), flush(3, d, d + 2 * HOUR)],
        e + HOUR,
        None,
    );
    check_plan(
        &[
            flush(1, d, d + 2 * HOUR),
            long.clone(),
            flush(3, d, d + 2 * HOUR),
            flush(4, d, d + HOUR),
        ],
        e + HOUR,
        Some((&[3, 4], Level::Day)),
    );
    // Of what it does not overlap, it is no obstacle.
    check_plan(
        &[flush(1, d, d + 30), long, flush(3, d, d + 2 * HOUR)],
        e + HOUR,
        Some((&[1, 3], Level::Day)),
    );
}

fn merge(dir: &Path, tenant: &str, level: Level, parts: &[Arc<Part>], id: PartId) -> Result<PartMeta, PartError> {
    let merged = super::merge(dir, tenant, level, parts, id, &Deleted::default(), i64::MIN)?;
    Ok(merged.part.expect("samples are left"))
}

#[test]
fn a_merge_of_merges_keeps_the_newest_value() {
    let dir = tempfile::tempdir().unwrap();
    let parts = [
        write(dir.path(), 1, &[(0, 10, 1.0), (0, 20, 1.0), (1, 10, 1.0)]),
        write(dir.path(), 2, &[(0, 20, 2.0), (0, 30, 2.0)]),
        write(dir.path(), 3, &[(0, 20, 3.0), (2, 5, 3.0)]),
    ];
    let before = read(&parts);
    // Part 4 is made of 1 and 2 and must stay below 3.
    let first = merge(
        dir.path(),
        "default",
        Level::Day,
        &[Arc::clone(&parts[1]), Arc::clone(&parts[0])],
        PartId(4),
    )
    .unwrap();
    assert_eq!(first.rank, 2);
    let first = Arc::new(Part::open(dir.path(), &first).unwrap());
    assert_eq!(read(&[Arc::clone(&first), Arc::clone(&parts[2])]), before);
    let all = merge(
        dir.path(),
        "default",
        Level::Month,
        &[first, Arc::clone(&parts[2])],
        PartId(5),
    )
    .unwrap();
    assert_eq!((all.rank, all.series, all.samples, all.level), (3, 3, 5, Level::Month));
    assert_eq!(read(&[Arc::new(Part::open(dir.path(), &all).unwrap())]), before);
}

#[test]
fn a_merge_makes_long_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let parts: Vec<Arc<Part>> = (0..12)
        .map(|i| {
            let samples: Vec<(u8, i64, f64)> = (0..480)
                .map(|k| (0, 100 * DAY + i * 2 * HOUR + k * 15_000, (k % 7) as f64))
                .collect();
            write(dir.path(), i as u64 + 1, &samples)
        })
        .collect();
    let merged = merge(dir.path(), "default", Level::Day, &parts, PartId(13)).unwrap();
    assert_eq!((merged.samples, merged.chunks), (5760, 4));
}

#[test]
fn a_merge_that_fails_leaves_no_files() {
    let dir = tempfile::tempdir().unwrap();
    let part = write(dir.path(), 1, &[(0, 10, 1.0)]);
    let other = write(dir.path(), 2, &[(0, 20, 1.0)]);
    // Cut to nothing under the open part: reading fails half-way.
    std::fs::File::create(crate::part::chunks_path(dir.path(), PartId(2))).unwrap();
    assert!(merge(dir.path(), "default", Level::Day, &[part, other], PartId(3)).is_err());
    assert!(!crate::part::chunks_path(dir.path(), PartId(3)).exists());
    assert!(!crate::part::series_path(dir.path(), PartId(3)).exists());
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        (0_u16..500).prop_map(|v| f64::from(v) / 10.0),
        Just(f64::from_bits(crate::STALE_NAN_BITS)),
        any::<u64>().prop_map(f64::from_bits)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn compaction_changes_no_answer(
        parts in proptest::collection::vec(
            proptest::collection::vec((0_u8..9, 0_i64..300, any_value()), 1..60), 2..7),
        split in any::<proptest::sample::Index>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let parts: Vec<Arc<Part>> = parts.iter().zip(1..).map(|(samples, id)| write(dir.path(), id, samples)).collect();
        let before = read(&parts);
        // Two merges, then a merge of both.
        let at = 1 + split.index(parts.len() - 1);
        let merge_open = |parts: &[Arc<Part>], id| {
            Arc::new(Part::open(dir.path(), &merge(dir.path(), "default", Level::Day, parts, PartId(id)).unwrap()).unwrap())
        };
        let halves = [merge_open(&parts[..at], 100), merge_open(&parts[at..], 101)];
        prop_assert_eq!(&read(&halves), &before);
        let whole = merge_open(&halves, 102);
        prop_assert_eq!(&read(&[Arc::clone(&whole)]), &before);
        prop_assert!(whole.verify().is_empty());
    }

    #[test]
    fn overlaying_is_what_a_map_does(
        older in proptest::collection::btree_map(0_i64..100, any::<i32>(), 0..60),
        newer in proptest::collection::btree_map(0_i64..100, any::<i32>(), 0..60),
    ) {
        let samples = |map: &BTreeMap<i64, i32>| Samples {
            timestamps: map.keys().copied().collect(),
            values: map.values().copied().map(f64::from).collect(),
        };
        let mut out = samples(&older);
        overlay(&mut out, &samples(&newer));
        let mut both = older;
        both.extend(newer);
        prop_assert_eq!(out, samples(&both));
    }
}
