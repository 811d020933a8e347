//! Prometheus remote write 1.0 and 2.0.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use store::{LabelsBuf, METRIC_NAME, Metadata, MetricKind, SeriesId};
use wire::remote_write::histogram::Histogram as Encoded;
use wire::remote_write::read::{self, Item, Series};
use wire::remote_write::v2;

use crate::body::{Coding, Encoding};
use crate::cache::Key;
use crate::histogram;
use crate::intake::{Intake, Outcome, Stop, describe};
use crate::problem::Problem;
use crate::refusal::Reason;
use crate::state::IngestState;
use crate::telemetry::{self, Protocol};

/// Distinguishes the keys of these series from those of OTLP's.
const DOMAIN: &[u8] = b"remote write";
/// And those of 2.0, whose labels are hashed as text rather than as they are encoded.
const DOMAIN_2: &[u8] = b"remote write 2";

/// Which message a request brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// `prometheus.WriteRequest`
    One,
    /// `io.prometheus.write.v2.Request`
    Two,
}

/// `POST /api/v1/write`
pub(crate) async fn write(State(state): State<Arc<IngestState>>, headers: HeaderMap, body: Body) -> Response {
    let started = Instant::now();
    let (version, taken) = match agree(&headers) {
        Ok((version, encoding)) => (version, take(state, version, encoding, &headers, body).await),
        Err(problem) => (Version::One, Err(problem)),
    };
    let (mut answer, written) = match taken {
        Ok(outcome) => (answer(&outcome), outcome.written()),
        Err(problem) => {
            tracing::debug!(reason = problem.reason, detail = problem.detail, "remote write refused");
            (problem.response(false), [0; 3])
        }
    };
    if version == Version::Two {
        say_written(answer.headers_mut(), written);
    }
    telemetry::answered(version.protocol(), answer.status(), started.elapsed());
    answer
}

impl Version {
    const fn protocol(self) -> Protocol {
        match self {
            Self::One => Protocol::RemoteWrite,
            Self::Two => Protocol::RemoteWrite2,
        }
    }
}

/// 2.0 wants to be told what was written, of a request that failed as well: without these headers a sender takes the server for
/// one that does not know 2.0.
fn say_written(headers: &mut HeaderMap, [samples, histograms, exemplars]: [u64; 3]) {
    for (name, count) in [
        ("x-prometheus-remote-write-samples-written", samples),
        ("x-prometheus-remote-write-histograms-written", histograms),
        ("x-prometheus-remote-write-exemplars-written", exemplars),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(count));
    }
}

async fn take(
    state: Arc<IngestState>,
    version: Version,
    encoding: Encoding,
    headers: &HeaderMap,
    body: Body,
) -> Result<Outcome, Problem> {
    let coding = Coding {
        encoding,
        framed: false,
        bytes_max: state.limits().decoded_bytes_max,
    };
    match version {
        Version::One => state.take(version.protocol(), headers, coding, body, decode).await,
        Version::Two => state.take(version.protocol(), headers, coding, body, decode_2).await,
    }
}

/// By the protocol a request with any invalid sample gets a 400, though its valid samples are stored.
fn answer(outcome: &Outcome) -> Response {
    match outcome.problem() {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(problem) => problem.response(false),
    }
}

/// What the headers say of the body. Old senders leave out what goes without saying: 1.0, and snappy.
fn agree(headers: &HeaderMap) -> Result<(Version, Encoding), Problem> {
    const HINT: &str = "send prometheus.WriteRequest (remote write 1.0) or io.prometheus.write.v2.Request (2.0) as \
                        application/x-protobuf, compressed with snappy or zstd";
    let text = |name: &str| {
        headers
            .get(name)
            .map(|v| String::from_utf8_lossy(v.as_bytes()).to_ascii_lowercase())
    };
    let said = text("x-prometheus-remote-write-version");
    let mut version = None;
    if let Some(content_type) = text(CONTENT_TYPE.as_str()) {
        let mut parts = content_type.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let message = parts
            .find_map(|p| p.strip_prefix("proto="))
            .map(|p| p.trim_matches('"'));
        let known = match message {
            None | Some("prometheus.writerequest") => Some(Version::One),
            Some("io.prometheus.write.v2.request") => Some(Version::Two),
            Some(_) => None,
        };
        version = known.filter(|_| media == "application/x-protobuf");
        if version.is_none() {
            return Err(Problem::unsupported(
                format!("content type {content_type:?} is not taken here"),
                HINT,
            ));
        }
    }
    let version = version.unwrap_or(Version::One);
    let encoding = match Encoding::of(headers) {
        Ok(None | Some(Encoding::SnappyBlock)) => Encoding::SnappyBlock,
        Ok(Some(Encoding::Zstd)) => Encoding::Zstd,
        Ok(Some(other)) => {
            return Err(Problem::unsupported(
                format!("content encoding {other:?} is not taken here"),
                HINT,
            ));
        }
        Err(other) => {
            return Err(Problem::unsupported(
                format!("content encoding {other:?} is not known"),
                HINT,
            ));
        }
    };
    // The content type decides; the other header must not say otherwise.
    if let Some(said) = said {
        let fits = match version {
            Version::One => said == "0.1" || said.starts_with("0.1.") || said.starts_with("1."),
            Version::Two => said == "2" || said.starts_with("2."),
        };
        if !fits {
            return Err(Problem::unsupported(
                format!("remote write version {said:?} does not fit the content type"),
                HINT,
            ));
        }
    }
    Ok((version, encoding))
}

fn decode(body: &[u8], intake: &mut Intake<'_>) -> Result<(), Stop> {
    let mut labels = LabelsBuf::default();
    let mut scratch = Vec::new();
    for item in read::request(body) {
        match item? {
            Item::Series(series) => {
                let id = append(&series, intake, &mut labels, &mut scratch)?;
                if let Some(id) = id.filter(|_| series.exemplars > 0) {
                    for exemplar in series.exemplars() {
                        let exemplar = exemplar?;
                        intake.exemplar(id, exemplar.at_ms, exemplar.value, exemplar.labels())?;
                    }
                }
            }
            Item::Metadata(metadata) => describe_metric(&metadata, intake, &mut scratch),
        }
    }
    Ok(())
}

fn append(
    series: &Series<'_>,
    intake: &mut Intake<'_>,
    labels: &mut LabelsBuf,
    scratch: &mut Vec<u8>,
) -> Result<Option<SeriesId>, Stop> {
    let key = match series.encoded_labels() {
        Some(encoded) => intake.hash_encoded(encoded),
        None => {
            scratch.clear();
            scratch.extend_from_slice(DOMAIN);
            for raw in series.raw_labels() {
                let raw = raw?;
                scratch.extend_from_slice(&(raw.len() as u64).to_le_bytes());
                scratch.extend_from_slice(raw);
            }
            intake.hash(scratch)
        }
    };
    let known = intake.known(key);
    if known.is_none() || series.histograms > 0 {
        labels.clear();
        // One label too many is enough to refuse the rest.
        for label in series.labels().take(intake.limits().labels_max + 1) {
            let (name, value) = label?;
            labels.push(name, value);
        }
    }
    let mut samples = series.samples().peekable();
    if samples.peek().is_none() && series.exemplars == 0 && series.histograms == 0 {
        return Ok(None);
    }
    let id = match known {
        Some(id) => Some(id),
        None => {
            let samples = series.samples().try_fold(0, |n, sample| sample.map(|_| n + 1))?;
            let n = samples + u64::from(series.histograms);
            let count = series.raw_labels().count();
            resolve(intake, key, labels, count, n)?
        }
    };
    for sample in samples {
        let (at_ms, value) = sample?;
        if let Some(id) = id {
            intake.push(id, at_ms, value)?;
        }
    }
    if series.histograms > 0 {
        push_histograms(series.native_histograms(), id, intake, labels)?;
    }
    Ok(id)
}

/// Adds native histograms; they are read, and wrong ones counted, also where the series is refused.
fn push_histograms<'a>(
    histograms: impl Iterator<Item = Result<Encoded<'a>, wire::DecodeError>>,
    id: Option<SeriesId>,
    intake: &mut Intake<'_>,
    labels: &LabelsBuf,
) -> Result<(), Stop> {
    for encoded in histograms {
        let encoded = encoded?;
        let found = histogram::of_remote_write(&encoded)?;
        if let Some(id) = id {
            intake.push_histogram(id, encoded.at_ms, found, || describe(labels))?;
        }
    }
    Ok(())
}

/// The series with these labels, of which the sender gave `count`; refusals are counted for `samples`.
fn resolve(
    intake: &mut Intake<'_>,
    key: Key,
    labels: &mut LabelsBuf,
    count: usize,
    samples: u64,
) -> Result<Option<SeriesId>, Stop> {
    if count > intake.limits().labels_max {
        intake.refusals.add(Reason::TooManyLabels, samples, || {
            format!("{count} labels: {}", describe(labels))
        });
        return Ok(None);
    }
    intake.resolve(key, labels, samples)
}

fn decode_2(body: &[u8], intake: &mut Intake<'_>) -> Result<(), Stop> {
    let request = v2::Request::read(body)?;
    let mut labels = LabelsBuf::default();
    let mut scratch = Vec::new();
    for series in request.series() {
        append_2(&series?, intake, &mut labels, &mut scratch)?;
    }
    Ok(())
}

fn append_2(
    series: &v2::Series<'_>,
    intake: &mut Intake<'_>,
    labels: &mut LabelsBuf,
    scratch: &mut Vec<u8>,
) -> Result<(), Stop> {
    scratch.clear();
    scratch.extend_from_slice(DOMAIN_2);
    let mut count = 0;
    let mut metric = "";
    for label in series.labels() {
        let (name, value) = label?;
        for text in [name, value] {
            scratch.extend_from_slice(&(text.len() as u64).to_le_bytes());
            scratch.extend_from_slice(text.as_bytes());
        }
        if name == METRIC_NAME {
            metric = value;
        }
        count += 1;
    }
    let key = intake.hash(scratch);
    let known = intake.known(key);
    if known.is_none() || series.histograms > 0 {
        labels.clear();
        for label in series.labels().take(intake.limits().labels_max + 1) {
            let (name, value) = label?;
            labels.push(name, value);
        }
    }
    let mut samples = series.samples().peekable();
    if samples.peek().is_some() || series.exemplars > 0 || series.histograms > 0 {
        let id = match known {
            Some(id) => Some(id),
            None => {
                let samples = series.samples().try_fold(0, |n, sample| sample.map(|_| n + 1))?;
                resolve(intake, key, labels, count, samples + u64::from(series.histograms))?
            }
        };
        for sample in samples {
            let sample = sample?;
            if let Some(id) = id {
                intake.begins(id, sample.start_ms, sample.at_ms)?;
                intake.push(id, sample.at_ms, sample.value)?;
            }
        }
        if series.histograms > 0 {
            push_histograms(series.native_histograms(), id, intake, labels)?;
        }
        if let Some(id) = id {
            for exemplar in series.exemplars() {
                let exemplar = exemplar?;
                intake.exemplar(id, exemplar.at_ms, exemplar.value, exemplar.labels())?;
            }
        }
    }
    let mut metadata = series.metadata;
    if metadata != v2::NO_METADATA {
        // 2.0 describes series; what is kept is about the family, whose series share a name up to these endings.
        metadata.metric = match metadata.kind {
            "histogram" | "gaugehistogram" => family(metric, &["_bucket", "_sum", "_count"]),
            "summary" => family(metric, &["_sum", "_count"]),
            _ => metric,
        };
        describe_metric(&metadata, intake, scratch);
    }
    Ok(())
}

fn family<'a>(metric: &'a str, endings: &[&str]) -> &'a str {
    endings
        .iter()
        .find_map(|ending| metric.strip_suffix(ending))
        .unwrap_or(metric)
}

fn describe_metric(metadata: &read::Metadata<'_>, intake: &mut Intake<'_>, scratch: &mut Vec<u8>) {
    let limits = intake.limits();
    if metadata.metric.is_empty() || metadata.metric.len() > limits.label_value_bytes_max {
        return;
    }
    scratch.clear();
    scratch.extend_from_slice(METRIC_NAME.as_bytes());
    for text in [metadata.metric, metadata.kind, metadata.help, metadata.unit] {
        scratch.extend_from_slice(&(text.len() as u64).to_le_bytes());
        scratch.extend_from_slice(text.as_bytes());
    }
    let key = intake.hash(scratch);
    if !intake.is_described(key) {
        let shorten = |text: &str| text.chars().take(limits.label_name_bytes_max).collect();
        let known = Metadata {
            kind: MetricKind::of_str(metadata.kind),
            unit: shorten(metadata.unit),
            help: shorten(metadata.help),
        };
        intake.describe(key, metadata.metric.to_owned(), known);
    }
}
