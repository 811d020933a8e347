//! Every decoder and the query surface against broken input: seeds from `fixtures/fuzz`, bent by a seeded generator.
//!
//! A run takes a few seconds. For longer ones: `FORESHOCK_FUZZ_SECONDS=600 cargo test --test it fuzz -- --test-threads 1`;
//! a failure names the seed and writes the input beside the test's output.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use ingest::{
    IngestState, Limits, OTLP_GRPC_LOGS_PATH, OTLP_GRPC_PATH, OTLP_LOGS_PATH, OTLP_METRICS_PATH, REMOTE_WRITE_PATH,
    TEXT_PATH,
};
use store::promql::{Engine, EngineOptions, Memory, QueryOptions};
use store::{Clock, Labels, Samples, StoreOptions, Tenants};
use tower::ServiceExt as _;
use wire::exposition::{Format, Line, lines};
use wire::otlp::read::{self as otlp, Data};
use wire::remote_read;
use wire::remote_write::histogram::{Histogram, Side};
use wire::remote_write::read::{self as remote_write, Item};
use wire::remote_write::v2;

/// 2026-01-01T00:00:00Z, where the seeds' samples are.
const NOW_MS: i64 = 1_767_225_600_000;
/// Inputs of a target in a run of `cargo test`.
const INPUTS: u64 = 3000;
/// A few hundred bytes must not keep a decoder busy for longer than this.
const SLOW: Duration = Duration::from_secs(2);

/// splitmix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fuzz").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(dir)
        .expect("there are seeds")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a seed")).collect()
}

/// One to eight changes: bits, bytes, lengths, cut-offs, repetitions, and pieces of another seed.
fn bend(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    const ODD: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'{', b'('];
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(8) {
        let at = random.below(input.len());
        match random.below(8) {
            0 if !input.is_empty() => input[at] ^= 1 << random.below(8),
            1 if !input.is_empty() => input[at] = ODD[random.below(ODD.len())],
            2 => input.insert(at, random.next() as u8),
            3 => input.truncate(at),
            4 => {
                let end = (at + random.below(8)).min(input.len());
                input.drain(at..end);
            }
            5 => {
                let end = (at + random.below(40)).min(input.len());
                let piece = input[at..end].to_vec();
                for _ in 0..=random.below(20) {
                    input.splice(at..at, piece.iter().copied());
                }
            }
            6 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                let end = (from + random.below(60)).min(other.len());
                input.splice(at..at, other[from..end].iter().copied());
            }
            // The longest varint, which also is a length beyond every message.
            _ => {
                input.splice(at..at, [0xff; 9].into_iter().chain([1]));
            }
        }
        input.truncate(1 << 16);
    }
    input
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long to look is a matter of the run, not of a configuration"
)]
fn time_to_spend() -> Option<Duration> {
    let seconds = std::env::var("FORESHOCK_FUZZ_SECONDS").ok()?;
    Some(Duration::from_secs(
        seconds.parse().expect("FORESHOCK_FUZZ_SECONDS is a number"),
    ))
}

/// Feeds bent seeds of `target` to `feed`, which must neither panic nor dawdle. The seeds themselves must be taken.
fn fuzz<E: Debug>(target: &str, feed: impl Fn(&[u8]) -> Result<(), E>) {
    let seeds = seeds(target);
    for seed in &seeds {
        feed(seed).expect("a seed is valid");
    }
    let until = time_to_spend().map(|time| Instant::now() + time);
    let mut refused = 0;
    let mut n = 0;
    while until.map_or(n < INPUTS, |until| Instant::now() < until) {
        let input = bend(&seeds, &mut Random(n));
        let timed = || {
            let began = Instant::now();
            let fed = catch_unwind(AssertUnwindSafe(|| feed(&input)));
            (fed, began.elapsed())
        };
        let (mut fed, mut took) = timed();
        if fed.is_ok() && took >= SLOW {
            // What is slow is slow again; what had to wait for a busy machine is not.
            (fed, took) = timed();
        }
        if fed.is_err() || took >= SLOW {
            let path = std::env::temp_dir().join(format!("fuzz-{target}-{n}"));
            std::fs::write(&path, &input).expect("the input can be kept");
            panic!("{target}, seed {n}: took {took:?}; the input is in {}", path.display());
        }
        refused += u64::from(matches!(fed, Ok(Err(_))));
        n += 1;
    }
    assert!(refused > n / 20, "the inputs are too tame: {refused} of {n} refused");
}

fn histogram(histogram: &Histogram<'_>) -> Result<(), wire::DecodeError> {
    for side in [Side::Positive, Side::Negative] {
        histogram.spans(side).try_for_each(|span| span.map(drop))?;
        histogram.deltas(side).try_for_each(|delta| delta.map(drop))?;
        histogram.counts(side).try_for_each(|count| count.map(drop))?;
    }
    histogram.bounds().try_for_each(|bound| bound.map(drop))
}

#[test]
fn fuzz_remote_write() {
    fuzz("remote_write", |body| {
        for item in remote_write::request(body) {
            if let Item::Series(series) = item? {
                series.labels().try_for_each(|label| label.map(drop))?;
                series.raw_labels().try_for_each(|label| label.map(drop))?;
                series.samples().try_for_each(|sample| sample.map(drop))?;
                for found in series.native_histograms() {
                    histogram(&found?)?;
                }
                for exemplar in series.exemplars() {
                    exemplar?.labels().try_for_each(|label| label.map(drop))?;
                }
            }
        }
        Ok::<(), wire::DecodeError>(())
    });
}

#[test]
fn fuzz_remote_write_2() {
    fuzz("remote_write_2", |body| {
        for series in v2::Request::read(body)?.series() {
            let series = series?;
            series.labels().try_for_each(|label| label.map(drop))?;
            series.samples().try_for_each(|sample| sample.map(drop))?;
            for found in series.native_histograms() {
                histogram(&found?)?;
            }
            for exemplar in series.exemplars() {
                exemplar?.labels().try_for_each(|label| label.map(drop))?;
            }
        }
        Ok::<(), wire::DecodeError>(())
    });
}

#[test]
fn fuzz_remote_read() {
    fuzz("remote_read", |body| {
        let request = remote_read::Request::read(body)?;
        assert!(request.queries.len() <= remote_read::QUERIES_MAX);
        Ok::<(), wire::DecodeError>(())
    });
}

fn attributes(attributes: &otlp::Attributes<'_>) -> Result<(), wire::DecodeError> {
    let mut scratch = String::new();
    for attribute in attributes {
        attribute?.1.text(&mut scratch)?;
    }
    Ok(())
}

#[test]
fn fuzz_otlp() {
    fuzz("otlp", |body| {
        for resource in otlp::request(body) {
            let resource = resource?;
            attributes(&resource.resource)?;
            for scope in resource.scopes() {
                let scope = scope?;
                attributes(&scope.attributes)?;
                for metric in scope.metrics() {
                    match metric?.data {
                        None => {}
                        Some(Data::Gauge(points) | Data::Sum { points, .. }) => {
                            for point in points.numbers() {
                                let point = point?;
                                attributes(&point.attributes)?;
                                for exemplar in point.exemplars() {
                                    attributes(&exemplar?.attributes)?;
                                }
                            }
                        }
                        Some(Data::Histogram { points, .. }) => {
                            for point in points.histograms() {
                                let point = point?;
                                point.bucket_counts().try_for_each(|count| count.map(drop))?;
                                point
                                    .explicit_bounds()
                                    .doubles()
                                    .try_for_each(|bound| bound.map(drop))?;
                            }
                        }
                        Some(Data::ExponentialHistogram { points, .. }) => {
                            for point in points.exponential_histograms() {
                                let point = point?;
                                point.positive.counts().try_for_each(|count| count.map(drop))?;
                                point.negative.counts().try_for_each(|count| count.map(drop))?;
                            }
                        }
                        Some(Data::Summary(points)) => {
                            for point in points.summaries() {
                                point?.quantiles().try_for_each(|quantile| quantile.map(drop))?;
                            }
                        }
                    }
                }
            }
        }
        Ok::<(), wire::DecodeError>(())
    });
}

#[test]
fn fuzz_otlp_logs() {
    fuzz("otlp_logs", |body| {
        let mut scratch = String::new();
        for resource in otlp::logs::request(body) {
            let resource = resource?;
            attributes(&resource.resource)?;
            for scope in resource.scopes() {
                for record in scope?.records() {
                    let record = record?;
                    record.body.text(&mut scratch)?;
                    attributes(&record.attributes)?;
                }
            }
        }
        Ok::<(), wire::DecodeError>(())
    });
}

#[test]
fn fuzz_text() {
    fuzz("text", |body| {
        let text = String::from_utf8_lossy(body);
        let open = text.contains("# EOF");
        for line in lines(&text, if open { Format::OpenMetrics } else { Format::Text }) {
            if let Line::Sample(sample) = line? {
                sample.labels().for_each(drop);
                sample.exemplar.into_iter().flat_map(|e| e.labels()).for_each(drop);
            }
        }
        Ok::<(), wire::exposition::ExpositionError>(())
    });
}

#[test]
fn fuzz_promql() {
    let mut memory = Memory::default();
    for (name, value) in [("up", 1.0), ("x", 2.0), ("h_bucket", 3.0)] {
        let labels = Labels::from_pairs([("__name__", name), ("a", "1"), ("le", "+Inf")]);
        let timestamps: Vec<i64> = (0..20).map(|i| NOW_MS - i * 60_000).rev().collect();
        let values = timestamps.iter().map(|_| value).collect();
        memory.insert(labels, Samples { timestamps, values });
    }
    let histogram = Arc::new(store::Histogram {
        count: 3.0,
        sum: 4.5,
        positive: vec![store::Bucket { index: 1, count: 3.0 }],
        ..store::Histogram::default()
    });
    let timestamps: Vec<i64> = (0..20).map(|i| NOW_MS - i * 60_000).rev().collect();
    let values = timestamps.iter().map(|_| Arc::clone(&histogram)).collect();
    let labels = Labels::from_pairs([("__name__", "native"), ("a", "1")]);
    memory.insert_mixed(labels, Samples::default(), store::Histograms { timestamps, values });
    let engine = Engine::new(EngineOptions {
        experimental: true,
        // What subqueries of a few letters can ask for is refused long before it fills the memory.
        max_samples: 1 << 20,
        timeout: Duration::from_secs(1),
        ..EngineOptions::default()
    });
    fuzz("promql", |query| {
        let query = String::from_utf8_lossy(query);
        engine.parse(&query)?;
        // What is well formed and cannot be evaluated is no less welcome.
        let options = QueryOptions::default();
        engine
            .instant(&memory, &query, NOW_MS, &options)
            .map_or_else(drop, drop);
        let start = NOW_MS - 600_000;
        engine
            .range(&memory, &query, start, NOW_MS, 30_000, &options)
            .map_or_else(drop, drop);
        Ok::<(), store::promql::QueryError>(())
    });
}

/// Snappy's block format without any compression: the length, then literals of at most 64 KiB.
fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::protobuf::put_varint(&mut out, bytes.len() as u64);
    for literal in bytes.chunks(1 << 16) {
        out.push(61 << 2);
        out.extend_from_slice(&((literal.len() - 1) as u16).to_le_bytes());
        out.extend_from_slice(literal);
    }
    out
}

/// The endpoints themselves, compression and frames included: whatever comes, the answer is one of the protocol's.
#[test]
fn fuzz_endpoints() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    for (target, path, headers) in [
        ("remote_write", REMOTE_WRITE_PATH, &[("content-encoding", "snappy")][..]),
        (
            "remote_write_2",
            REMOTE_WRITE_PATH,
            &[
                ("content-encoding", "snappy"),
                (
                    "content-type",
                    "application/x-protobuf;proto=io.prometheus.write.v2.Request",
                ),
            ],
        ),
        ("otlp", OTLP_METRICS_PATH, &[("content-type", "application/x-protobuf")]),
        ("otlp_json", OTLP_METRICS_PATH, &[("content-type", "application/json")]),
        ("text", TEXT_PATH, &[]),
        ("otlp", OTLP_GRPC_PATH, &[("content-type", "application/grpc")]),
        (
            "otlp_logs",
            OTLP_LOGS_PATH,
            &[("content-type", "application/x-protobuf")],
        ),
        (
            "otlp_logs_json",
            OTLP_LOGS_PATH,
            &[("content-type", "application/json")],
        ),
        (
            "otlp_logs",
            OTLP_GRPC_LOGS_PATH,
            &[("content-type", "application/grpc")],
        ),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let options = StoreOptions {
            clock: Clock::fixed(NOW_MS),
            background: false,
            max_series: 2000,
            ..StoreOptions::default()
        };
        let tenants = Arc::new(Tenants::open(dir.path(), options).expect("an empty directory opens"));
        let app = ingest::router(IngestState::new(tenants, Limits::default()));
        let seeds = seeds(target);
        let until = time_to_spend().map(|time| Instant::now() + time / 6);
        let mut n = 0;
        while until.map_or(n < 300, |until| Instant::now() < until) {
            n += 1;
            let mut body = bend(&seeds, &mut Random(n));
            if path == REMOTE_WRITE_PATH {
                body = snappy(&body);
                if n % 4 == 0 {
                    // The compression itself, bent.
                    body = bend(&[body], &mut Random(n));
                }
            } else if path == OTLP_GRPC_PATH || path == OTLP_GRPC_LOGS_PATH {
                let mut frame = vec![0];
                frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
                frame.append(&mut body);
                body = frame;
            }
            let timed = || {
                let mut request = Request::post(path);
                for (name, value) in headers {
                    request = request.header(*name, *value);
                }
                let request = request.body(Body::from(body.clone())).expect("a request");
                let began = Instant::now();
                let answer = runtime.block_on(app.clone().oneshot(request)).expect("answers");
                (answer, began.elapsed())
            };
            let (mut answer, mut took) = timed();
            if took >= SLOW {
                (answer, took) = timed();
            }
            assert!(took < SLOW, "{path}, seed {n} of {target}: took {took:?}");
            let fine = answer.status() != StatusCode::INTERNAL_SERVER_ERROR
                && answer.headers().get("grpc-status").is_none_or(|status| status != "13");
            assert!(fine, "{path}, seed {n} of {target}: {}", answer.status());
        }
    }
}
