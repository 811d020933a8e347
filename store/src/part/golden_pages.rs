//! A part of format version 3, whose values are in pages, must read for ever. See `fixtures/parts/README.md`.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::golden_histograms::{lines, read, write};
use super::*;
use crate::chunk::encode;
use crate::codec::values::{EXCEPTIONS, PCO_DECIMAL_PAGES, PCO_FLOAT_PAGES};
use crate::{Histogram, Histograms, METRIC_NAME, STALE_NAN_BITS, Samples, TimeRange};

fn fixture() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/parts/v3"))
}

/// 2023-11-15 00:00 UTC, milliseconds.
const START: i64 = 1_700_006_400_000;

/// What the fixture holds: both codecs with pages, the first also with exceptions in several of them, and a histogram.
fn content() -> Vec<(Labels, Samples, Histograms)> {
    let mut state = 1_u64;
    let mut noise = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    // Mostly small, sometimes large: what packing is bad at.
    let mut bursts = |n: usize| -> Vec<f64> {
        let values = (0..n).map(|_| (if noise(20) == 0 { noise(100_000) } else { noise(8) }) as f64 / 10.0);
        values.collect()
    };
    let latency = bursts(1440);
    let mut marked = bursts(1300);
    (marked[0], marked[511], marked[512]) = (-0.0, f64::INFINITY, f64::NEG_INFINITY);
    (marked[1024], marked[1299]) = (f64::NAN, f64::from_bits(STALE_NAN_BITS));
    let waves = (0..768).map(|i| (f64::from(i) * 0.03).sin() * 1e-3).collect();
    let short = bursts(100);
    let mut histograms = Histograms::default();
    histograms.push(
        START,
        Arc::new(Histogram {
            count: 2.0,
            zero_count: 2.0,
            ..Histogram::default()
        }),
    );
    let numbers = [
        ("latency_seconds", latency),
        ("marked", marked),
        ("short", short),
        ("wave", waves),
    ];
    let mut content: Vec<(Labels, Samples, Histograms)> = numbers
        .into_iter()
        .map(|(metric, values)| {
            let labels = Labels::from_pairs([(METRIC_NAME, metric), ("host_name", "a")]);
            let timestamps = (0..values.len() as i64).map(|i| START + i * 15_000).collect();
            (labels, Samples { timestamps, values }, Histograms::default())
        })
        .collect();
    let labels = Labels::from_pairs([(METRIC_NAME, "requests"), ("host_name", "a")]);
    content.push((labels, Samples::default(), histograms));
    content.sort_by(|a, b| series_order(&a.0, &b.0));
    content
}

#[test]
fn a_part_of_version_3_reads_as_it_was_written() {
    let (_, text) = read(&fixture());
    assert_eq!(text, fs::read_to_string(fixture().join("samples.jsonl")).unwrap());
    assert_eq!(text, lines(&content()));
}

#[test]
fn the_part_of_version_3_holds_every_codec_with_pages() {
    let codec = |(_, samples, _): &(Labels, Samples, Histograms)| {
        (!samples.is_empty()).then(|| encode(&samples.timestamps, &samples.values).codec)
    };
    let mut codecs: Vec<u8> = content().iter().filter_map(codec).collect();
    codecs.sort_unstable();
    for expected in [PCO_DECIMAL_PAGES, PCO_FLOAT_PAGES, PCO_DECIMAL_PAGES | EXCEPTIONS] {
        assert!(codecs.contains(&expected), "{expected} is not among {codecs:?}");
    }
}

#[test]
fn the_writer_of_today_writes_what_the_fixture_of_version_3_holds() {
    let dir = tempfile::tempdir().unwrap();
    let written = write(dir.path(), &content());
    let (_, text) = read(dir.path());
    assert_eq!(text, lines(&content()));
    let kept = Part::read_meta(&fixture(), PartId(1)).unwrap();
    assert_eq!(
        (written.series, written.chunks, written.samples),
        (kept.series, kept.chunks, kept.samples)
    );
}

#[test]
fn any_stretch_of_time_reads_as_it_was_written() {
    let meta = Part::read_meta(&fixture(), PartId(1)).unwrap();
    let part = Part::open(&fixture(), &meta).unwrap();
    for (row, (_, all, _)) in (0..).zip(content()) {
        for from in (0..all.len() as i64).step_by(97) {
            for length in [0, 1, 200, 512, 700, 2000] {
                let range = TimeRange::millis(START + from * 15_000 - 7, START + (from + length) * 15_000 + 7);
                let mut found = Samples::default();
                part.read(row, range, &mut found).unwrap();
                let end = (from + length + 1).min(all.len() as i64) as usize;
                assert_eq!(found.timestamps, all.timestamps[from as usize..end]);
                let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&found.values), bits(&all.values[from as usize..end]));
            }
        }
    }
}

/// Writes the fixture where there is none: `cargo test -p foreshock-store --lib -- --ignored write_the_fixture_of_version_3`.
#[test]
#[ignore = "the fixture is kept as it was first written"]
fn write_the_fixture_of_version_3() {
    write(&fixture(), &content());
    let mut file = crate::disk::create(&fixture().join("samples.jsonl")).unwrap();
    file.write_all(lines(&content()).as_bytes()).unwrap();
}
