//! A part of format version 4, which holds rollups, must read for ever. See `fixtures/parts/README.md`.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::golden_histograms::{bits, line};
use super::*;
use crate::codec::rollups::Wanted;
use crate::rollup::{Behaviour, Buckets, FIVE_MINUTES_MS, roll_up, thin_out};
use crate::{Histogram, Histograms, METRIC_NAME, STALE_NAN_BITS, Samples, TimeRange};

fn fixture() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/parts/v4"))
}

/// 2023-11-15 00:00 UTC, milliseconds.
const START: i64 = 1_700_006_400_000;

/// What the fixture holds: a counter that begins again, a gauge over more than one chunk, a series that is gone, one that was a number and
/// is a histogram.
fn content() -> Vec<(Labels, Buckets, Histograms)> {
    let at = |i: i64| START + i * 60_000;
    let rolled = |behaviour, samples: &mut dyn Iterator<Item = (i64, f64)>| {
        let (mut raw, mut buckets) = (Samples::default(), Buckets::default());
        samples.for_each(|(i, value)| raw.push(at(i), value));
        roll_up(&raw, FIVE_MINUTES_MS, behaviour, &mut buckets);
        buckets
    };
    let counter = (0..600).map(|i| (i, (i % 250 * 3) as f64 / 10.0));
    let gauge = (0..10_000).map(|i| (i, f64::from((i * 37 % 101) as i32) / 4.0 - 7.5));
    let odd = [
        (0, f64::NAN),
        (7, f64::INFINITY),
        (8, -0.0),
        (9, f64::from_bits(STALE_NAN_BITS)),
    ];
    let mut histograms = Histograms::default();
    for i in 100..130 {
        let count = (i - 99) as f64;
        histograms.push(
            at(i),
            Arc::new(Histogram {
                count,
                zero_count: count,
                sum: count / 2.0,
                ..Histogram::default()
            }),
        );
    }
    let labels = |metric| Labels::from_pairs([(METRIC_NAME, metric), ("host_name", "a")]);
    let mut content = vec![
        (
            labels("requests_total"),
            rolled(Behaviour::Counts, &mut counter.clone()),
            Histograms::default(),
        ),
        (
            labels("celsius"),
            rolled(Behaviour::Varies, &mut gauge.clone()),
            Histograms::default(),
        ),
        (
            labels("odd"),
            rolled(Behaviour::Unknown, &mut odd.into_iter()),
            Histograms::default(),
        ),
        (
            labels("latency"),
            rolled(Behaviour::Unknown, &mut (0..96).map(|i| (i, i as f64))),
            thin_out(&histograms, FIVE_MINUTES_MS),
        ),
    ];
    content.sort_by(|a, b| series_order(&a.0, &b.0));
    content
}

/// One line a series, floats as their bits: that of other versions for what was kept, and the buckets.
fn lines(content: &[(Labels, Buckets, Histograms)]) -> String {
    let mut text = String::new();
    for (labels, buckets, histograms) in content {
        let mut line = line(labels, &buckets.kept, histograms);
        let column = |values: &[f64]| values.iter().map(|v| bits(*v)).collect::<Vec<_>>();
        line["buckets"] = serde_json::json!({
            "ends": buckets.ends, "counts": column(&buckets.counts), "sums": column(&buckets.sums),
            "mins": column(&buckets.mins), "maxs": column(&buckets.maxs),
        });
        text += &format!("{line}\n");
    }
    text
}

fn write(dir: &Path, content: &[(Labels, Buckets, Histograms)]) -> PartMeta {
    let mut writer = PartWriter::create_rollup(dir, PartId(1), Level::Month, "default", FIVE_MINUTES_MS).unwrap();
    for (labels, buckets, histograms) in content {
        let row = writer.series(labels.key(), labels).unwrap();
        writer.rolled(row, buckets, histograms).unwrap();
    }
    writer.finish().unwrap()
}

fn read(dir: &Path) -> String {
    let meta = Part::read_rollup_meta(dir, PartId(1)).unwrap();
    assert_eq!(meta.resolution_ms, FIVE_MINUTES_MS);
    let part = Part::open(dir, &meta.part).unwrap();
    let problems = part.verify_rollups();
    assert!(problems.is_empty(), "{problems:?}");
    let mut found = Vec::new();
    for series in part.series().unwrap() {
        let (row, _, labels) = series.unwrap();
        let (mut buckets, mut histograms) = (Buckets::default(), Histograms::default());
        part.read_buckets(row, TimeRange::ALL, Wanted::All, &mut buckets)
            .unwrap();
        part.read_histograms(row, TimeRange::ALL, &mut histograms).unwrap();
        // Each half by itself as well.
        for (wanted, expected) in [
            (
                Wanted::Kept,
                Buckets {
                    ends: buckets.ends.clone(),
                    kept: buckets.kept.clone(),
                    ..Buckets::default()
                },
            ),
            (
                Wanted::Columns,
                Buckets {
                    kept: Samples::default(),
                    ..buckets.clone()
                },
            ),
        ] {
            let mut half = Buckets::default();
            part.read_buckets(row, TimeRange::ALL, wanted, &mut half).unwrap();
            assert_eq!(format!("{half:?}"), format!("{expected:?}"));
        }
        found.push((labels, buckets, histograms));
    }
    lines(&found)
}

#[test]
fn a_part_of_version_4_reads_as_it_was_written() {
    let text = read(&fixture());
    assert_eq!(text, fs::read_to_string(fixture().join("samples.jsonl")).unwrap());
    assert_eq!(text, lines(&content()));
}

#[test]
fn the_writer_of_today_writes_what_the_fixture_of_version_4_holds() {
    let dir = tempfile::tempdir().unwrap();
    let written = write(dir.path(), &content());
    assert_eq!(read(dir.path()), lines(&content()));
    let kept = Part::read_rollup_meta(&fixture(), PartId(1)).unwrap().part;
    assert_eq!(
        (
            written.series,
            written.chunks,
            written.samples,
            written.t_min,
            written.t_max
        ),
        (kept.series, kept.chunks, kept.samples, kept.t_min, kept.t_max)
    );
}

#[test]
fn any_buckets_read_as_they_were_written() {
    let part = Part::open(&fixture(), &Part::read_rollup_meta(&fixture(), PartId(1)).unwrap().part).unwrap();
    for (row, (_, all, _)) in (0..).zip(content()) {
        for from in (0..all.len()).step_by(61) {
            for length in [0, 1, 100, 1500] {
                let end = (from + length).min(all.len() - 1);
                let range = TimeRange::millis(all.ends[from] - 7, all.ends[end] + 7);
                let mut found = Buckets::default();
                part.read_buckets(row, range, Wanted::All, &mut found).unwrap();
                let expected = all.slice(from..end + 1, FIVE_MINUTES_MS);
                assert_eq!(format!("{found:?}"), format!("{expected:?}"));
            }
        }
    }
}

#[test]
fn damaged_chunks_of_rollups_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let meta = write(dir.path(), &content());
    let path = chunks_path(dir.path(), PartId(1));
    let whole = fs::read(&path).unwrap();
    let expected = lines(&content());
    for at in (4..whole.len() / 2).step_by(97) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        crate::disk::create(&path).unwrap().write_all(&bytes).unwrap();
        // In the header of a page there may be bits that nobody reads; what is read is right.
        let Ok(part) = Part::open(dir.path(), &meta) else {
            continue;
        };
        if part.verify_rollups().is_empty() {
            assert_eq!(read(dir.path()), expected, "byte {at}");
        }
    }
}

/// Writes the fixture where there is none: `cargo test -p foreshock-store --lib -- --ignored write_the_fixture_of_version_4`.
#[test]
#[ignore = "the fixture is kept as it was first written"]
fn write_the_fixture_of_version_4() {
    write(&fixture(), &content());
    let mut file = crate::disk::create(&fixture().join("samples.jsonl")).unwrap();
    file.write_all(lines(&content()).as_bytes()).unwrap();
}
