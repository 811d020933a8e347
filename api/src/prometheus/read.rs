//! Remote read: samples for another Prometheus, as it asks for them (`storage/remote/read_handler.go` of Prometheus 3.5).

use std::io::Write as _;

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use store::promql::{Deadline, matcher};
use store::{Histogram, Histograms, MatchOp, Matcher, Samples, SeriesId, Snapshot, TimeRange};
use wire::protobuf::put_varint;
use wire::remote_read::chunk::{self, Chunk, SAMPLES_MAX};
use wire::remote_read::write::{FRAME_BYTES, ResultWriter, chunks};
use wire::remote_read::{self, Kind as Encoding};

use crate::app::App;
use crate::params::tenant_of;
use crate::problem::{Kind, Problem};
use crate::stream::Out;
use crate::work::Length;

/// Bytes of an answer that is in memory whole, before compression. Chunks are streamed and have no such bound.
const SAMPLES_BYTES_MAX: usize = 128 << 20;
/// Bytes of a request after decompression, for each byte that it may have before.
const EXPANSION_MAX: usize = 16;

/// `POST /api/v1/read`
pub(crate) async fn read(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let tenant = tenant_of(&parts.headers, &parts.uri)?;
    let bound = app.limits().body_bytes;
    let packed = to_bytes(body, bound)
        .await
        .map_err(|_| Problem::new(Kind::TooLarge, format!("the body is cut off or over {bound} bytes")))?;
    let (encoding, queries) = asked(&unpacked(&parts.headers, &packed, bound)?)?;
    let store = app.store(&tenant).await?;
    let longest = app.limits().query_timeout;
    match encoding {
        Encoding::Samples => {
            let samples_max = app.engine().options().max_samples;
            let body = app.slots().run(Length::Any, longest, move |deadline| {
                let response = samples(&store.snapshot(), &queries, samples_max, deadline)?;
                let packed = snap::raw::Encoder::new().compress_vec(&response);
                packed.map_err(|error| Problem::from_error(Kind::Internal, &error))
            });
            let mut response = body.await?.into_response();
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
            Ok(response)
        }
        Encoding::Chunks => {
            let answer = app
                .slots()
                .stream(Length::Any, Some(longest), None, move |deadline, out| {
                    stream(&store.snapshot(), &queries, deadline, out)
                });
            Ok(answer
                .await?
                .into_response("application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"))
        }
    }
}

/// The message of a body, which snappy has compressed.
fn unpacked(headers: &HeaderMap, packed: &[u8], bound: usize) -> Result<Vec<u8>, Problem> {
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "snappy") {
        return Err(Problem::new(
            Kind::UnsupportedMedia,
            "remote read takes bodies that snappy has compressed",
        )
        .hint("send Content-Encoding: snappy, and snappy's block format"));
    }
    let garbage = |error: &dyn std::fmt::Display| {
        Problem::invalid(format!("the body is no snappy data: {error}"))
            .hint("compress the body with snappy's block format (not the framed one)")
    };
    let length = snap::raw::decompress_len(packed).map_err(|error| garbage(&error))?;
    // Snappy's shortest element that copies makes 64 bytes out of 3.
    if length > packed.len().saturating_mul(32) {
        return Err(garbage(&"its length is more than its bytes can hold"));
    }
    if length > bound.saturating_mul(EXPANSION_MAX) {
        return Err(Problem::new(
            Kind::TooLarge,
            format!("the body says that it has {length} bytes after decompression"),
        ));
    }
    snap::raw::Decoder::new()
        .decompress_vec(packed)
        .map_err(|error| garbage(&error))
}

/// A query, as the store is asked.
struct Query {
    range: TimeRange,
    matchers: Vec<Matcher>,
}

fn asked(message: &[u8]) -> Result<(Encoding, Vec<Query>), Problem> {
    let request = remote_read::Request::read(message).map_err(|error| {
        Problem::invalid(format!("the body is no prometheus.ReadRequest: {error}"))
            .hint("send prometheus.ReadRequest, compressed with snappy's block format")
    })?;
    let encoding = request.kind.ok_or_else(|| {
        Problem::invalid("none of the accepted response types is known")
            .hint("accept SAMPLES (0) or STREAMED_XOR_CHUNKS (1)")
    })?;
    let queries = request.queries.iter().map(|query| {
        let matchers = query.matchers.iter().map(|asked| {
            let op = match asked.op {
                remote_read::MatchOp::Equal => MatchOp::Eq,
                remote_read::MatchOp::NotEqual => MatchOp::Ne,
                remote_read::MatchOp::Regex => MatchOp::Re,
                remote_read::MatchOp::NotRegex => MatchOp::Nre,
            };
            matcher(op, asked.name, asked.value).map_err(Problem::from)
        });
        Ok(Query {
            range: TimeRange::millis(query.start_ms, query.end_ms),
            matchers: matchers.collect::<Result<_, Problem>>()?,
        })
    });
    Ok((encoding, queries.collect::<Result<_, Problem>>()?))
}

/// The `ReadResponse` to all queries.
fn samples(
    snapshot: &Snapshot,
    queries: &[Query],
    samples_max: usize,
    deadline: &Deadline,
) -> Result<Vec<u8>, Problem> {
    let mut response = Vec::new();
    let mut series = Series::default();
    let mut count = 0;
    for query in queries {
        let mut result = ResultWriter::default();
        for id in snapshot.select(&query.matchers, query.range)? {
            in_time(deadline)?;
            if !series.read(snapshot, id, query.range)? {
                continue;
            }
            count += series.numbers.len() + series.histograms.len();
            result.series(&mut snapshot.labels(id).iter(), &series.numbers, &series.histograms);
            if count > samples_max || response.len() + result.len() > SAMPLES_BYTES_MAX {
                return Err(Problem::invalid(format!(
                    "the answer has more than {samples_max} samples or {SAMPLES_BYTES_MAX} bytes"
                ))
                .hint("ask for less time or fewer series, or accept STREAMED_XOR_CHUNKS, which have no such bound"));
            }
        }
        result.finish(&mut response);
    }
    Ok(response)
}

/// Writes a frame after the other: chunks of one series, and of a long one in more than one frame.
fn stream(snapshot: &Snapshot, queries: &[Query], deadline: &Deadline, out: &mut Out) -> Result<(), Problem> {
    let mut series = Series::default();
    for (i, query) in queries.iter().enumerate() {
        for id in snapshot.select(&query.matchers, query.range)? {
            in_time(deadline)?;
            if !series.read(snapshot, id, query.range)? {
                continue;
            }
            let labels = snapshot.labels(id);
            let mut made = series.chunks().peekable();
            while made.peek().is_some() {
                let mut bytes = 0;
                let mut frame = Vec::new();
                while let Some(chunk) = made.next_if(|_| bytes < FRAME_BYTES) {
                    bytes += chunk.bytes.len();
                    frame.push(chunk);
                }
                let message = chunks(i, &mut labels.iter(), frame);
                put_varint(out.buffer(), message.len() as u64);
                out.buffer().extend_from_slice(&crc32c::crc32c(&message).to_be_bytes());
                out.write_all(&message)
                    .map_err(|error| Problem::from_error(Kind::Canceled, &error))?;
            }
        }
    }
    Ok(())
}

fn in_time(deadline: &Deadline) -> Result<(), Problem> {
    if deadline.is_over() {
        return Err(Problem::new(Kind::Timeout, "the series could not be read in time")
            .hint("ask for less time or for fewer series"));
    }
    Ok(())
}

/// What is read of one series: numbers and histograms, each in time order, at no time both.
#[derive(Default)]
struct Series {
    samples: Samples,
    read: Histograms,
    numbers: Vec<(i64, f64)>,
    histograms: Vec<chunk::Histogram>,
}

impl Series {
    /// Reads one series; false where it has no sample in the range.
    fn read(&mut self, snapshot: &Snapshot, id: SeriesId, range: TimeRange) -> Result<bool, Problem> {
        self.samples.clear();
        self.read.clear();
        snapshot.read(id, range, &mut self.samples)?;
        if snapshot.has_histograms(id) {
            snapshot.read_histograms(id, range, &mut self.read)?;
        }
        let overlaid = |t: i64| self.read.timestamps.binary_search(&t).is_ok();
        self.numbers.clear();
        self.numbers.extend(self.samples.iter().filter(|(t, _)| !overlaid(*t)));
        self.histograms.clear();
        self.histograms
            .extend(self.read.iter().map(|(at_ms, h)| encoded(at_ms, h)));
        Ok(!self.numbers.is_empty() || !self.histograms.is_empty())
    }

    /// All samples in chunks, in time order.
    fn chunks(&self) -> impl Iterator<Item = Chunk> + '_ {
        let (mut numbers, mut histograms) = (self.numbers.as_slice(), self.histograms.as_slice());
        std::iter::from_fn(move || {
            let next_number = numbers.first().map_or(i64::MAX, |(t, _)| *t);
            let next_histogram = histograms.first().map_or(i64::MAX, |h| h.at_ms);
            if histograms.is_empty() || (next_number < next_histogram && !numbers.is_empty()) {
                let run = numbers.partition_point(|(t, _)| *t < next_histogram || histograms.is_empty());
                let (taken, left) = numbers.split_at(run.min(SAMPLES_MAX));
                numbers = left;
                chunk::of_numbers(taken)
            } else {
                let run = histograms.partition_point(|h| h.at_ms < next_number || numbers.is_empty());
                let (taken, left) = histograms.split_at(chunk::histograms_together(&histograms[..run]));
                histograms = left;
                chunk::of_histograms(taken)
            }
        })
    }
}

fn encoded(at_ms: i64, histogram: &Histogram) -> chunk::Histogram {
    let buckets = |buckets: &[store::Bucket]| buckets.iter().map(|b| (b.index, b.count)).collect();
    chunk::Histogram {
        at_ms,
        reset_hint: histogram.reset.number(),
        schema: histogram.schema.into(),
        zero_threshold: histogram.zero_threshold,
        zero_count: histogram.zero_count,
        count: histogram.count,
        sum: histogram.sum,
        positive: buckets(&histogram.positive),
        negative: buckets(&histogram.negative),
        bounds: histogram.own_bounds().to_vec(),
    }
}
