use std::fs;
use std::os::unix::fs::FileExt;

use proptest::prelude::*;

use super::*;
use crate::{METRIC_NAME, Samples, SeriesKey, TimeRange};

type Content = Vec<(Labels, Samples)>;

/// Writes `content`, which is put into order, as part 1.
fn write(dir: &Path, mut content: Content) -> (PartMeta, Content) {
    content.sort_by(|a, b| series_order(&a.0, &b.0));
    let mut writer = PartWriter::create(dir, PartId(1), Level::Flushed, "default").unwrap();
    for (labels, samples) in &content {
        let row = writer.series(labels.key(), labels).unwrap();
        // In two calls, as a merge of parts that follow each other does.
        let half = samples.len() / 3;
        writer
            .samples(row, &samples.timestamps[..half], &samples.values[..half])
            .unwrap();
        writer
            .samples(row, &samples.timestamps[half..], &samples.values[half..])
            .unwrap();
    }
    (writer.finish().unwrap(), content)
}

fn read(part: &Part, row: u32, range: TimeRange) -> Samples {
    let mut out = Samples::default();
    part.read(row, range, &mut out).unwrap();
    out
}

fn same(a: &Samples, b: &Samples) -> bool {
    a.timestamps == b.timestamps && a.values.iter().zip(&b.values).all(|(a, b)| a.to_bits() == b.to_bits())
}

fn within(samples: &Samples, range: TimeRange) -> Samples {
    let mut out = Samples::default();
    samples
        .iter()
        .filter(|(t, _)| range.contains(*t))
        .for_each(|(t, v)| out.push(t, v));
    out
}

/// A fleet: `hosts` hosts with some metrics each, `n` samples of a 15 s interval.
fn fleet(hosts: usize, n: i64) -> Content {
    let mut content = Vec::new();
    for host in 0..hosts {
        let name = format!("host-{host}");
        for (metric, device) in [
            ("up", None),
            ("temperature", Some("gpu-0")),
            ("temperature", Some("gpu-1")),
            ("bytes_total", None),
        ] {
            let device = device.map(|d| ("hw_id", d));
            let labels = Labels::from_pairs([(METRIC_NAME, metric), ("host_name", &name)].into_iter().chain(device));
            let mut samples = Samples::default();
            for i in 0..n {
                let value = match metric {
                    "up" => 1.0,
                    "bytes_total" => (i * i * 37 % 100_003 + i * 4096) as f64,
                    _ => ((i * 7919 + host as i64 * 31) % 400) as f64 / 10.0,
                };
                samples.push(1_700_000_000_000 + host as i64 * 137 + i * 15_000 + (i * i) % 3, value);
            }
            content.push((labels, samples));
        }
    }
    content
}

#[test]
fn what_was_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (meta, content) = write(dir.path(), fleet(20, 4000));
    assert_eq!((meta.series, meta.samples), (80, 320_000));
    assert_eq!(
        (meta.t_min, meta.t_max),
        (1_700_000_000_000, 1_700_000_000_000 + 19 * 137 + 3999 * 15_000)
    );
    let part = Part::open(dir.path(), &meta).unwrap();
    let series: Vec<_> = part.series().unwrap().map(Result::unwrap).collect();
    for ((row, (labels, samples)), (listed, key, listed_labels)) in (0..).zip(&content).zip(&series) {
        assert_eq!((row, labels), (*listed, listed_labels));
        assert_eq!(part.row_of(*key), Some(row));
        assert!(same(&read(&part, row, TimeRange::ALL), samples));
    }
    assert_eq!(part.keys().len(), 80);
    assert_eq!(part.row_of(SeriesKey(1)), None);
    assert_eq!(Part::read_meta(dir.path(), PartId(1)).unwrap(), meta);
    assert!(part.verify().is_empty());
}

#[test]
fn a_range_takes_both_its_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (meta, content) = write(dir.path(), fleet(1, 4000));
    let part = Part::open(dir.path(), &meta).unwrap();
    let samples = &content[0].1;
    let t = &samples.timestamps;
    for range in [
        TimeRange::millis(t[0], t[0]),
        TimeRange::millis(t[10], t[20]),
        TimeRange::millis(t[10] + 1, t[20] - 1),
        TimeRange::millis(t[1400], t[3000]),
        TimeRange::millis(t[3999], i64::MAX),
        TimeRange::millis(i64::MIN, t[0] - 1),
        TimeRange::millis(t[20], t[10]),
    ] {
        assert!(same(&read(&part, 0, range), &within(samples, range)), "{range:?}");
    }
    // What is there already stays.
    let mut out = Samples {
        timestamps: vec![1],
        values: vec![2.0],
    };
    part.read(0, TimeRange::millis(t[5], t[5]), &mut out).unwrap();
    assert_eq!(out.timestamps, [1, t[5]]);
}

#[test]
fn hosts_share_their_timestamps_on_disk() {
    // Jitter of a host costs two bits a sample, once for its hundred metrics.
    let mut content = Vec::new();
    let jitter = |i: i64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64) as u64 >> 62;
    for metric in 0..100 {
        let labels = Labels::from_pairs([(METRIC_NAME, format!("m{metric}").as_str()), ("host", "a")]);
        let timestamps: Vec<i64> = (0..1440)
            .map(|i| 1_699_999_200_000 + i * 15_000 + jitter(i) as i64)
            .collect();
        content.push((
            labels,
            Samples {
                values: vec![1.0; timestamps.len()],
                timestamps,
            },
        ));
    }
    let dir = tempfile::tempdir().unwrap();
    let (meta, _) = write(dir.path(), content);
    let chunks = fs::metadata(chunks_path(dir.path(), meta.id)).unwrap().len();
    assert!(chunks < 6_000, "{chunks} bytes");
}

#[test]
fn series_and_samples_out_of_order_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let labels = |host| Labels::from_pairs([(METRIC_NAME, "up"), ("host", host)]);
    let mut writer = PartWriter::create(dir.path(), PartId(1), Level::Flushed, "default").unwrap();
    let row = writer.series(labels("b").key(), &labels("b")).unwrap();
    writer.samples(row, &[10, 20], &[1.0, 2.0]).unwrap();
    let text = |error: PartError| error.to_string().split_once(": ").unwrap().1.to_owned();
    assert_eq!(
        text(writer.samples(row, &[20], &[1.0]).unwrap_err()),
        r#"sample at 20 ms of up{host="b"} comes after 20 ms"#
    );
    assert_eq!(
        text(writer.samples(row, &[40, 30], &[1.0, 1.0]).unwrap_err()),
        "timestamps do not ascend"
    );
    assert_eq!(
        text(writer.samples(row + 1, &[30], &[1.0]).unwrap_err()),
        "row 1 is not the series that was added last"
    );
    assert_eq!(
        text(writer.series(labels("a").key(), &labels("a")).unwrap_err()),
        r#"series up{host="a"} comes after up{host="b"}"#
    );
    drop(writer);
    assert_eq!(
        fs::read_dir(parts_dir(dir.path())).unwrap().count(),
        0,
        "an unfinished part removes its files"
    );
}

#[test]
fn a_changed_byte_is_an_error_and_not_a_wrong_number() {
    let dir = tempfile::tempdir().unwrap();
    let (meta, content) = write(dir.path(), fleet(2, 500));
    let path = chunks_path(dir.path(), meta.id);
    let whole = fs::read(&path).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let mut found = 0;
    for at in (0..whole.len()).step_by(11) {
        file.write_all_at(&[whole[at] ^ 0x10], at as u64).unwrap();
        if let Ok(part) = Part::open(dir.path(), &meta) {
            for (row, (_, samples)) in (0..).zip(&content) {
                let mut out = Samples::default();
                match part.read(row, TimeRange::ALL, &mut out) {
                    Ok(()) => assert!(same(&out, samples), "byte {at} changed series {row}"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
                }
            }
            found += usize::from(!part.verify().is_empty());
        } else {
            found += 1;
        }
        file.write_all_at(&[whole[at]], at as u64).unwrap();
    }
    // The rest are statistics and alike, which we do not read.
    assert!(found > whole.len() / 11 * 6 / 10, "{found} of {}", whole.len() / 11);
}

#[test]
fn cut_files_do_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let (meta, _) = write(dir.path(), fleet(2, 100));
    for path in [chunks_path(dir.path(), meta.id), series_path(dir.path(), meta.id)] {
        let whole = fs::read(&path).unwrap();
        for len in (0..whole.len()).step_by(97) {
            fs::write(&path, &whole[..len]).unwrap();
            let error = Part::open(dir.path(), &meta).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        }
        fs::write(&path, &whole).unwrap();
    }
    assert!(Part::open(dir.path(), &meta).is_ok());
    assert_eq!(quarantine(dir.path(), meta.id).unwrap().len(), 2);
    assert!(matches!(Part::open(dir.path(), &meta), Err(PartError::Io { .. })));
}

#[test]
fn cuts_lie_at_the_same_instants_whenever_a_series_began() {
    let cut = |timestamps: &[i64]| {
        let mut ends = Vec::new();
        cut::cuts(timestamps, &mut ends);
        ends.iter().map(|&end| timestamps[end - 1]).collect::<Vec<_>>()
    };
    // Three days of samples every 15 s, jittered, and the same from the second day on.
    let day = 86_400_000;
    let all: Vec<i64> = (0..3 * 5760).map(|i| 20_000 * day + i * 15_000 + i % 7).collect();
    assert_eq!(cut(&all).len(), 12);
    assert_eq!(cut(&all[6000..]), cut(&all)[4..]);
    // A day and a half of samples every minute.
    let slow: Vec<i64> = (0..2160).map(|i| 20_000 * day + i * 60_000).collect();
    assert_eq!(cut(&slow), [slow[1439], slow[2159]]);
    // Bursts.
    let bursts: Vec<i64> = (0..10_000).map(|i| 20_000 * day + i / 5000 * day + i % 5000).collect();
    let mut ends = Vec::new();
    cut::cuts(&bursts, &mut ends);
    assert!(
        ends.windows(2)
            .all(|pair| pair[1] - pair[0] <= crate::chunk::CHUNK_SAMPLES_MAX)
    );
    assert_eq!(ends.last(), Some(&10_000));
    // Hours apart: few chunks all the same.
    let sparse: Vec<i64> = (0..1000).map(|i| i * i * 3_600_000).collect();
    assert!(cut(&sparse).len() <= 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn cuts_cover_all_and_stay_within_bounds(steps in proptest::collection::vec(prop_oneof![1_i64..100, 10_000_i64..20_000, 1_i64..100_000_000], 1..6000)) {
        let timestamps: Vec<i64> = steps.iter().scan(0, |t, step| { *t += step; Some(*t) }).collect();
        let mut ends = Vec::new();
        cut::cuts(&timestamps, &mut ends);
        prop_assert_eq!(ends.last(), Some(&timestamps.len()));
        let mut start = 0;
        for end in ends {
            prop_assert!(end > start && end - start <= crate::chunk::CHUNK_SAMPLES_MAX);
            start = end;
        }
    }
}
