//! A part of format version 2, which holds native histograms, must read for ever. See `fixtures/parts/README.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::codec::histograms::{COLUMNS, ROWS, cuts, encode};
use crate::{Bucket, CUSTOM_SCHEMA, Histogram, Histograms, METRIC_NAME, ResetHint, Samples, TimeRange};

fn fixture() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/parts/v2"))
}

/// 2023-11-15 00:00 UTC, milliseconds.
const START: i64 = 1_700_006_400_000;

/// What the fixture holds: both codecs of histograms, and numbers beside and between them.
fn content() -> Vec<(Labels, Samples, Histograms)> {
    let labels = |metric: &str| Labels::from_pairs([(METRIC_NAME, metric), ("host_name", "a")]);
    let bucket = |index, count| Bucket { index, count };
    let at = |i: i64| START + i * 15_000;
    // A counter whose values spread, that is cut coarser later, restarts, and goes away at last.
    let mut requests = Histograms::default();
    for i in 0..300_i64 {
        let since = if i < 200 { i } else { i - 200 };
        let positive: Vec<Bucket> = (0..=(since / 30) as i32)
            .map(|index| bucket(index - 3, (since + 1 - i64::from(index) * 30) as f64))
            .collect();
        let negative = if i > 100 { vec![bucket(2, 1.0)] } else { Vec::new() };
        let zero_count = (since / 7) as f64;
        let observed: f64 = positive.iter().chain(&negative).map(|b| b.count).sum::<f64>() + zero_count;
        let histogram = Histogram {
            reset: if i == 200 { ResetHint::Reset } else { ResetHint::Unknown },
            schema: if i < 150 { 3 } else { 2 },
            zero_threshold: 0.001,
            zero_count,
            count: observed,
            sum: observed * 0.1,
            positive,
            negative,
            bounds: None,
        };
        requests.push(at(i), Arc::new(if i == 299 { Histogram::stale() } else { histogram }));
    }
    // Bounds of its own, and fractions of observations; some were NaN.
    let mut rates = Histograms::default();
    for i in 0..40_i64 {
        rates.push(
            at(i),
            Arc::new(Histogram {
                reset: ResetHint::Gauge,
                schema: CUSTOM_SCHEMA,
                count: i as f64 / 3.0 + 2.0,
                sum: if i % 10 == 9 { f64::NAN } else { i as f64 / 7.0 },
                positive: vec![bucket(0, i as f64 / 3.0 + 0.5), bucket(3, 1.0 / 3.0)],
                bounds: Some(Arc::from([0.5, 1.0, f64::MAX])),
                ..Histogram::default()
            }),
        );
    }
    // What no column can hold: a bucket that is there and empty.
    let mut odd = Histograms::default();
    odd.push(
        at(1),
        Arc::new(Histogram {
            schema: -4,
            zero_threshold: 1e-128,
            count: 3.0,
            sum: -0.0,
            positive: vec![bucket(-7, 0.0), bucket(1, 3.0)],
            ..Histogram::default()
        }),
    );
    odd.push(at(2), Arc::new(Histogram::stale()));
    // One that was a number, then a histogram, then a number again.
    let mut turns = Histograms::default();
    (20..30).for_each(|i| turns.push(at(i), Arc::clone(&requests.values[i as usize])));
    let numbers = |times: &[i64]| Samples {
        timestamps: times.iter().map(|&i| at(i)).collect(),
        values: times.iter().map(|&i| i as f64 * 1.5).collect(),
    };
    let around: Vec<i64> = (0..20).chain(30..50).collect();
    let mut content = vec![
        (labels("requests_seconds"), Samples::default(), requests),
        (labels("rates"), Samples::default(), rates),
        (labels("odd"), Samples::default(), odd),
        (labels("turns"), numbers(&around), turns),
        (
            labels("up"),
            numbers(&(0..300).collect::<Vec<_>>()),
            Histograms::default(),
        ),
    ];
    content.sort_by(|a, b| series_order(&a.0, &b.0));
    content
}

/// One line a series, floats as their bits.
pub(super) fn lines(content: &[(Labels, Samples, Histograms)]) -> String {
    let mut text = String::new();
    for (labels, samples, histograms) in content {
        writeln!(text, "{}", line(labels, samples, histograms)).unwrap();
    }
    text
}

pub(super) fn bits(v: f64) -> String {
    format!("{:016x}", v.to_bits())
}

pub(super) fn line(labels: &Labels, samples: &Samples, histograms: &Histograms) -> serde_json::Value {
    let buckets = |all: &[Bucket]| all.iter().map(|b| (b.index, bits(b.count))).collect::<Vec<_>>();
    let labels: serde_json::Map<String, serde_json::Value> = labels
        .iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let histograms: Vec<serde_json::Value> = histograms
        .iter()
        .map(|(at, h)| {
            serde_json::json!({
                "timestamp": at, "hint": h.reset.number(), "schema": h.schema, "zero_threshold": bits(h.zero_threshold),
                "zero_count": bits(h.zero_count), "count": bits(h.count), "sum": bits(h.sum),
                "positive": buckets(&h.positive), "negative": buckets(&h.negative),
                "bounds": h.own_bounds().iter().map(|b| bits(*b)).collect::<Vec<_>>(),
            })
        })
        .collect();
    let values: Vec<String> = samples.values.iter().map(|v| bits(*v)).collect();
    serde_json::json!({
        "labels": labels, "timestamps": samples.timestamps, "values": values, "histograms": histograms,
    })
}

pub(super) fn write(dir: &Path, content: &[(Labels, Samples, Histograms)]) -> PartMeta {
    let mut writer = PartWriter::create(dir, PartId(1), Level::Flushed, "default").unwrap();
    for (labels, samples, histograms) in content {
        let row = writer.series(labels.key(), labels).unwrap();
        writer.mixed(row, samples, histograms).unwrap();
    }
    writer.finish().unwrap()
}

pub(super) fn read(dir: &Path) -> (PartMeta, String) {
    let meta = Part::read_meta(dir, PartId(1)).unwrap();
    let part = Part::open(dir, &meta).unwrap();
    let problems = part.verify();
    assert!(problems.is_empty(), "{problems:?}");
    let mut found = Vec::new();
    for series in part.series().unwrap() {
        let (row, _, labels) = series.unwrap();
        let (mut samples, mut histograms) = (Samples::default(), Histograms::default());
        part.read(row, TimeRange::ALL, &mut samples).unwrap();
        part.read_histograms(row, TimeRange::ALL, &mut histograms).unwrap();
        assert_eq!(part.has_histograms(row), !histograms.is_empty());
        found.push((labels, samples, histograms));
    }
    (meta, lines(&found))
}

#[test]
fn a_part_of_version_2_reads_as_it_was_written() {
    let (_, text) = read(&fixture());
    assert_eq!(text, fs::read_to_string(fixture().join("samples.jsonl")).unwrap());
    assert_eq!(text, lines(&content()));
}

#[test]
fn the_part_of_version_2_holds_both_codecs() {
    let mut codecs: Vec<u8> = Vec::new();
    for (_, _, histograms) in content() {
        let mut start = 0;
        for end in cuts(&histograms.values) {
            codecs.push(encode(&histograms.values[start..end]).0);
            start = end;
        }
    }
    codecs.sort_unstable();
    codecs.dedup();
    assert_eq!(codecs, [COLUMNS, ROWS]);
}

#[test]
fn the_writer_of_today_writes_what_the_fixture_of_version_2_holds() {
    let dir = tempfile::tempdir().unwrap();
    let written = write(dir.path(), &content());
    let (meta, text) = read(dir.path());
    assert_eq!(text, lines(&content()));
    let kept = Part::read_meta(&fixture(), PartId(1)).unwrap();
    assert_eq!(
        (written.series, written.chunks, written.samples),
        (kept.series, kept.chunks, kept.samples)
    );
    assert_eq!(meta.samples, kept.samples);
}
