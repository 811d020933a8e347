//! Decoding, appending, the write-ahead log, codecs, index, scan, PromQL and compaction.
#![expect(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot go on ends")]

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use foreshock_bench::{START_MS, STEP_MS, Shape, labels, samples, series, store};
use store::bench::{Chunk, Labelled, Log};
use store::promql::{Engine, QueryOptions};
use store::{METRIC_NAME, MatchOp, Matcher, Samples, SeriesId, TimeRange};
use wire::metric::Kind;

/// Series of one request, with one sample each, as Prometheus sends them.
const REQUEST_SERIES: usize = 2000;

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(REQUEST_SERIES as u64));
    let mut writer = wire::remote_write::write::RequestWriter::default();
    for i in 0..REQUEST_SERIES {
        let labels = labels(i);
        let pairs: Vec<(&str, &str)> = labels.iter().map(|(n, v)| (*n, v.as_str())).collect();
        writer.series(&pairs, &[(START_MS, i as f64)]);
    }
    let body = writer.finish();
    group.bench_function("remote write", |b| {
        b.iter(|| {
            let mut sum = 0.0;
            for item in wire::remote_write::read::request(black_box(&body)) {
                if let wire::remote_write::read::Item::Series(series) = item.unwrap() {
                    black_box(series.encoded_labels());
                    for sample in series.samples() {
                        sum += sample.unwrap().1;
                    }
                }
            }
            sum
        });
    });
    let mut writer = wire::otlp::write::RequestWriter::new(&[("host.name", "host-00001")], "bench");
    for i in 0..REQUEST_SERIES / 10 {
        writer.metric_named(&format!("system.metric.{i}"), "By", Kind::Gauge, "");
        for k in 0..10 {
            let device = format!("device-{k}");
            let point = [("device", device.as_str()), ("direction", "read")];
            writer.point(&point, 0, START_MS as u64 * 1_000_000, i as f64);
        }
    }
    let body = writer.finish();
    group.bench_function("OTLP", |b| {
        b.iter(|| {
            let mut points = 0;
            for resource in wire::otlp::read::request(black_box(&body)) {
                for scope in resource.unwrap().scopes() {
                    for metric in scope.unwrap().metrics() {
                        if let Some(wire::otlp::read::Data::Gauge(found)) = metric.unwrap().data {
                            points += found.numbers().map(|point| black_box(point.unwrap())).count();
                        }
                    }
                }
            }
            points
        });
    });
    group.finish();
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    group.throughput(Throughput::Elements(REQUEST_SERIES as u64));
    let dir = tempfile::tempdir().unwrap();
    let (store, ids) = store(dir.path(), 100_000);
    let (mut at, mut from) = (START_MS, 0);
    group.bench_function("one sample of 2,000 series, synced", |b| {
        b.iter(|| {
            let mut batch = store.batch();
            for &id in &ids[from..from + REQUEST_SERIES] {
                batch.push(id, at, (at % 1000) as f64);
            }
            from += REQUEST_SERIES;
            if from == ids.len() {
                (from, at) = (0, at + STEP_MS);
            }
            store.append(batch).unwrap()
        });
    });
    group.finish();
}

fn wal(c: &mut Criterion) {
    let mut group = c.benchmark_group("WAL records");
    let n = 10_000;
    let ids: Vec<SeriesId> = (0..n as u32).map(SeriesId).collect();
    let values: Vec<Vec<f64>> = (0..n).map(|i| Shape::ALL[i % 5].values(10, i as u64)).collect();
    let filled = || {
        let mut log = Log::new((0..n).map(series).collect());
        for round in 0..10 {
            let timestamps = vec![START_MS + round as i64 * STEP_MS; n];
            let values: Vec<f64> = values.iter().map(|of| of[round]).collect();
            for from in (0..n).step_by(REQUEST_SERIES) {
                let to = from + REQUEST_SERIES;
                log.encode(&ids[from..to], &timestamps[from..to], &values[from..to]);
            }
        }
        log
    };
    group.throughput(Throughput::Elements(10 * n as u64));
    group.bench_function("encode", |b| b.iter(|| black_box(filled())));
    let log = filled();
    assert_eq!(log.replay(), 10 * n as u64);
    group.bench_function("replay", |b| b.iter(|| log.replay()));
    group.finish();
}

fn codecs(c: &mut Criterion) {
    let mut group = c.benchmark_group("codecs");
    let n = 1000;
    group.throughput(Throughput::Elements(n as u64));
    for shape in Shape::ALL {
        let samples = samples(shape, n, 7);
        group.bench_with_input(
            BenchmarkId::new("encode", format!("{shape:?}")),
            &samples,
            |b, samples| {
                b.iter(|| Chunk::encode(black_box(samples)));
            },
        );
        let chunk = Chunk::encode(&samples);
        let mut out = Samples::default();
        group.bench_function(
            BenchmarkId::new("decode", format!("{shape:?}, {} bytes", chunk.bytes())),
            |b| {
                b.iter(|| {
                    out.clear();
                    assert!(chunk.decode(&mut out), "it was encoded just now");
                });
            },
        );
    }
    group.finish();
}

fn index(c: &mut Criterion) {
    let mut group = c.benchmark_group("index of 100,000 series");
    let mut index = Labelled::default();
    for i in 0..100_000 {
        index.insert(series(i));
    }
    let metric = Matcher::eq(METRIC_NAME, "node_metric_07_total");
    let of = |op, name: &str, value: &str| Matcher::new(op, name.to_owned(), value.to_owned()).unwrap();
    for (name, matchers, found) in [
        ("a metric", vec![metric.clone()], 2000),
        (
            "a metric of a host",
            vec![metric.clone(), Matcher::eq("host", "host-00042")],
            1,
        ),
        (
            "a metric, hosts by regex",
            vec![metric.clone(), of(MatchOp::Re, "host", "host-0.*[13579]")],
            1000,
        ),
        (
            "a metric, not a datacenter",
            vec![metric, of(MatchOp::Ne, "datacenter", "dc-1")],
            1500,
        ),
        (
            "metrics by regex",
            vec![of(MatchOp::Re, METRIC_NAME, "node_metric_1._total")],
            20_000,
        ),
    ] {
        assert_eq!(index.select(&matchers), found, "{name}");
        group.bench_function(name, |b| b.iter(|| index.select(black_box(&matchers))));
    }
    group.finish();
}

/// A store with a day of 1,000 series in twelve parts.
fn a_day(dir: &std::path::Path) -> (std::sync::Arc<store::Store>, Vec<SeriesId>) {
    let (store, ids) = store(dir, 1000);
    let n = 86_400_000 / STEP_MS as usize;
    let values: Vec<Vec<f64>> = (0..ids.len()).map(|i| Shape::ALL[i % 5].values(n, i as u64)).collect();
    for window in 0..12 {
        for k in (window * n / 12)..((window + 1) * n / 12) {
            let mut batch = store.batch();
            for (id, values) in ids.iter().zip(&values) {
                batch.push(*id, START_MS + k as i64 * STEP_MS, values[k]);
            }
            store.append(batch).unwrap();
        }
        store.flush().unwrap();
    }
    (store, ids)
}

fn parts(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let (store, ids) = a_day(dir.path());
    let samples_of_all = 1000 * 86_400_000 / STEP_MS as u64;
    drop(store);
    let mut group = c.benchmark_group("parts");
    group.sample_size(10);
    group.throughput(Throughput::Elements(samples_of_all));
    let open = |path: &std::path::Path| foreshock_bench::store(path, 0).0;
    let opened = open(dir.path());
    group.bench_function("scan a day of 1,000 series", |b| {
        b.iter(|| {
            let snapshot = opened.snapshot();
            let mut out = Samples::default();
            let mut read = 0;
            for id in snapshot.select(&[], TimeRange::ALL).unwrap() {
                out.clear();
                snapshot.read(id, TimeRange::ALL, &mut out).unwrap();
                read += out.len();
            }
            assert!(read as u64 >= samples_of_all, "{read} of {samples_of_all} samples");
        });
    });
    drop(opened);
    assert_eq!(ids.len(), 1000);
    group.bench_function("merge twelve parts of 1,000 series", |b| {
        b.iter_batched(
            || {
                let copy = tempfile::tempdir().unwrap();
                copy_dir(dir.path(), copy.path());
                (open(copy.path()), copy)
            },
            |(store, copy)| {
                store.compact().unwrap();
                (store, copy)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// PromQL over the same day, a step a minute; nothing is kept of earlier answers.
fn queries(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    drop(a_day(dir.path()));
    let (opened, _) = foreshock_bench::store(dir.path(), 0);
    let engine = Engine::default();
    let mut group = c.benchmark_group("PromQL over a day of 20 series");
    for expr in [
        "sum(node_metric_02_total)",
        "sum by (datacenter) (rate(node_metric_05_total[5m]))",
        "avg_over_time(node_metric_02_total[1h])",
        "quantile_over_time(0.9, node_metric_03_total[10m])",
    ] {
        group.bench_function(expr, |b| {
            b.iter(|| {
                let (start, end) = (START_MS, START_MS + 86_400_000);
                let options = QueryOptions::default();
                engine
                    .range(&opened.snapshot(), expr, start, end, 60_000, &options)
                    .unwrap()
            });
        });
    }
    group.finish();
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

criterion_group!(benches, decode, append, wal, codecs, index, parts, queries);
criterion_main!(benches);
