//! A part of format version 1, as it was written when the version was made, must read for ever. See `fixtures/parts/README.md`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use super::*;
use crate::chunk::encode;
use crate::{METRIC_NAME, STALE_NAN_BITS, Samples, TimeRange};

fn fixture() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/parts/v1"))
}

/// 2023-11-15 00:00 UTC, milliseconds.
const START: i64 = 1_700_006_400_000;

/// What the fixture holds: every codec of values and of timestamps.
fn content() -> Vec<(Labels, Samples)> {
    let mut state = 1_u64;
    let mut noise = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let labels = |metric: &str, host: &str, more: &[(&str, &str)]| {
        Labels::from_pairs(
            [(METRIC_NAME, metric), ("host_name", host)]
                .into_iter()
                .chain(more.iter().copied()),
        )
    };
    let regular = |n: i64| (0..n).map(|i| START + i * 15_000).collect::<Vec<_>>();
    let jittered: Vec<i64> = (0..480).map(|i| START + i * 15_000 + noise(5) as i64).collect();
    let gaps: Vec<i64> = jittered.iter().zip(0_i64..).map(|(t, i)| t + i / 50 * 90_000).collect();
    let irregular: Vec<i64> = (0..40).map(|i| START + i * i * 1000 + i * i * i % 700).collect();
    let percent: Vec<f64> = (0..1500)
        .map(|i| (4000 + i % 90 + noise(7) as i64) as f64 / 100.0)
        .collect();
    // Mostly small, sometimes large: what packing is bad at.
    let mut bursts = || (if noise(20) == 0 { noise(100_000) } else { noise(8) }) as f64 / 10.0;
    let latency: Vec<f64> = (0..480).map(|_| bursts()).collect();
    let mut marked: Vec<f64> = (0..480).map(|_| bursts()).collect();
    (marked[0], marked[77], marked[479]) = (-0.0, f64::INFINITY, f64::from_bits(STALE_NAN_BITS));
    let waves: Vec<f64> = (0..480).map(|i| (f64::from(i) * 0.03).sin() * 1e-3).collect();
    let odd = vec![
        1.0 / 3.0,
        f64::NEG_INFINITY,
        -0.0,
        f64::from_bits(0x7ff8_dead_beef_0001),
        5e-324,
        f64::MAX,
    ];
    let mut content = vec![
        (labels("up", "a", &[]), regular(480), vec![1.0; 480]),
        (
            Labels::from_pairs([(METRIC_NAME, "up"), ("job", "no host")]),
            regular(1),
            vec![0.0],
        ),
        (
            labels("steady_seconds_total", "a", &[]),
            regular(480),
            (0..480).map(|i| f64::from(i) * 1.5).collect(),
        ),
        (labels("marked_steady", "a", &[]), regular(100), {
            let mut steady = vec![3.0; 100];
            steady[99] = f64::from_bits(STALE_NAN_BITS);
            steady
        }),
        (
            labels("memory_bytes", "a", &[]),
            jittered.clone(),
            (0..480).map(|_| (noise(16) * 4096) as f64).collect(),
        ),
        (labels("io_bytes_total", "b", &[("device", "nvme0n1")]), gaps.clone(), {
            let mut sum = 0.0;
            gaps.iter()
                .map(|_| {
                    sum += noise(1 << 20) as f64;
                    sum
                })
                .collect()
        }),
        (
            labels("cpu_ratio", "b", &[("text", "\u{e4}\u{4e2d} \"quoted\"\n")]),
            regular(1500),
            percent,
        ),
        (
            labels("temperature_celsius", "b", &[("hw_id", "GPU-1")]),
            jittered.clone(),
            marked,
        ),
        (labels("latency_seconds", "b", &[]), jittered.clone(), latency),
        (labels("wave", "b", &[]), regular(480), waves),
        (labels("odd", "c", &[]), irregular[..6].to_vec(), odd),
        (
            labels("events", "c", &[]),
            irregular.clone(),
            irregular.iter().map(|t| (t % 1000) as f64).collect(),
        ),
    ];
    content.sort_by(|a, b| series_order(&a.0, &b.0));
    content
        .into_iter()
        .map(|(labels, timestamps, values)| (labels, Samples { timestamps, values }))
        .collect()
}

/// One line a series, values as the bits of the float.
fn lines(content: &[(Labels, Samples)]) -> String {
    let mut text = String::new();
    for (labels, samples) in content {
        let labels: serde_json::Map<String, serde_json::Value> = labels
            .iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let values: Vec<String> = samples.values.iter().map(|v| format!("{:016x}", v.to_bits())).collect();
        let line = serde_json::json!({ "labels": labels, "timestamps": samples.timestamps, "values": values });
        writeln!(text, "{line}").unwrap();
    }
    text
}

#[test]
fn a_part_of_version_1_reads_as_it_was_written() {
    let meta = Part::read_meta(&fixture(), PartId(1)).unwrap();
    let part = Part::open(&fixture(), &meta).unwrap();
    assert!(part.verify().is_empty());
    let mut read = Vec::new();
    for series in part.series().unwrap() {
        let (row, _, labels) = series.unwrap();
        let mut samples = Samples::default();
        part.read(row, TimeRange::ALL, &mut samples).unwrap();
        read.push((labels, samples));
    }
    let text = lines(&read);
    assert_eq!(text, fs::read_to_string(fixture().join("samples.jsonl")).unwrap());
    assert_eq!(text, lines(&content()));
}

#[test]
fn the_part_of_version_1_holds_every_codec() {
    let mut codecs = BTreeSet::new();
    let mut timestamps = BTreeSet::new();
    for (_, samples) in content() {
        // Shorter than where pages begin, which are of version 3.
        for (ts, vs) in samples.timestamps.chunks(500).zip(samples.values.chunks(500)) {
            let chunk = encode(ts, vs);
            codecs.insert(chunk.codec);
            timestamps.insert(chunk.ts[0]);
        }
    }
    assert_eq!(codecs.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 0x82, 0x84]);
    assert_eq!(timestamps.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
}

/// Writes the fixture into an empty directory; what it writes today reads the same.
#[test]
fn the_writer_of_today_writes_what_the_fixture_holds() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = PartWriter::create(dir.path(), PartId(1), Level::Flushed, "default").unwrap();
    for (labels, samples) in content() {
        let row = writer.series(labels.key(), &labels).unwrap();
        writer.samples(row, &samples.timestamps, &samples.values).unwrap();
    }
    let written = writer.finish().unwrap();
    let meta = Part::read_meta(&fixture(), PartId(1)).unwrap();
    assert_eq!(
        (written.series, written.chunks, written.samples),
        (meta.series, meta.chunks, meta.samples)
    );
    assert_eq!((written.t_min, written.t_max), (meta.t_min, meta.t_max));
}
