//! The figures of docs/store.md.

use super::*;
use crate::disk::faults::Random;
use crate::part::{Level, PartId, PartWriter, rollups_dir};
use crate::{Labels, METRIC_NAME};

/// Bytes of a bucket of five minutes and of an hour: twenty series over thirty days, a sample every 15 s.
fn bytes_of(metric: &str, behaviour: Behaviour, mut value: impl FnMut(&mut Random) -> f64) -> [f64; 2] {
    let mut random = Random(7);
    let days: i64 = 30;
    let series = (0..20).map(|host: i32| {
        let mut samples = Samples::default();
        for i in 1..=days * DAY_MS / 15_000 {
            samples.push(NOW + i * 15_000, value(&mut random));
        }
        let host = format!("h{host:02}");
        let labels = Labels::from_pairs([(METRIC_NAME, metric), ("host_name", host.as_str())]);
        (labels, samples)
    });
    let series: Vec<(Labels, Samples)> = series.collect();
    [FIVE_MINUTES_MS, HOUR_MS].map(|resolution_ms| {
        let dir = tempfile::tempdir().unwrap();
        let rollups = rollups_dir(dir.path());
        let mut writer = PartWriter::create_rollup(&rollups, PartId(1), Level::Month, "a", resolution_ms).unwrap();
        for (labels, samples) in &series {
            let row = writer.series(labels.key(), labels).unwrap();
            let mut buckets = Buckets::default();
            roll_up(samples, resolution_ms, behaviour, &mut buckets);
            writer.rolled(row, &buckets, &Histograms::default()).unwrap();
        }
        let part = writer.finish().unwrap();
        part.bytes as f64 / part.samples as f64
    })
}

#[test]
fn a_bucket_takes_as_many_bytes_as_the_documentation_says() {
    let mut celsius = 500_i64;
    let walk = |random: &mut Random| {
        celsius = (celsius + random.below(5) as i64 - 2).clamp(200, 900);
        celsius as f64 / 10.0
    };
    let noise = |random: &mut Random| random.below(10_000) as f64 / 100.0;
    let mut counted = 0.0;
    let count = |random: &mut Random| {
        counted += random.below(1000) as f64;
        counted
    };
    let found = [
        (
            "temperature_celsius",
            bytes_of("temperature_celsius", Behaviour::Varies, walk),
        ),
        ("usage_percent", bytes_of("usage_percent", Behaviour::Varies, noise)),
        ("requests_total", bytes_of("requests_total", Behaviour::Counts, count)),
        ("up", bytes_of("up", Behaviour::Varies, |_| 1.0)),
    ];
    let found = found.map(|(metric, [fine, coarse])| format!("{metric} {fine:.1} {coarse:.1}"));
    let said = [
        "temperature_celsius 3.4 5.1",
        "usage_percent 6.9 6.6",
        "requests_total 7.2 9.1",
        "up 0.1 0.5",
    ];
    assert_eq!(found, said);
}
