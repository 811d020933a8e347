//! Prometheus remote write 1.0.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use store::{LabelsBuf, METRIC_NAME, Metadata, MetricKind};
use wire::remote_write::read::{self, Item, Series};

use crate::body::Encoding;
use crate::intake::{Intake, Outcome, Stop, describe};
use crate::problem::Problem;
use crate::refusal::Reason;
use crate::state::IngestState;
use crate::telemetry::{self, Protocol};

/// Distinguishes the keys of these series from those of OTLP's.
const DOMAIN: &[u8] = b"remote write";

/// `POST /api/v1/write`
pub(crate) async fn write(State(state): State<Arc<IngestState>>, headers: HeaderMap, body: Body) -> Response {
    let started = Instant::now();
    let answer = match take(state, &headers, body).await {
        Ok(outcome) => answer(&outcome),
        Err(problem) => {
            tracing::debug!(reason = problem.reason, detail = problem.detail, "remote write refused");
            problem.response(false)
        }
    };
    telemetry::answered(Protocol::RemoteWrite, answer.status(), started.elapsed());
    answer
}

async fn take(state: Arc<IngestState>, headers: &HeaderMap, body: Body) -> Result<Outcome, Problem> {
    check_headers(headers)?;
    let max = state.limits().decoded_bytes_max;
    state
        .take(Protocol::RemoteWrite, headers, Encoding::SnappyBlock, max, body, decode)
        .await
}

/// By the protocol a request with any invalid sample gets a 400, though its valid samples are stored.
fn answer(outcome: &Outcome) -> Response {
    let Some(reason) = outcome.refusals.main() else {
        return StatusCode::NO_CONTENT.into_response();
    };
    let detail = format!("{}; {} samples stored", outcome.refusals.describe(), outcome.accepted);
    if outcome.refusals.iter().any(|(reason, _)| reason.is_temporary()) {
        return Problem::limit(detail, reason.hint()).response(false);
    }
    Problem::invalid(detail, reason.hint()).response(false)
}

fn check_headers(headers: &HeaderMap) -> Result<(), Problem> {
    const HINT: &str =
        "send prometheus.WriteRequest as application/x-protobuf, compressed with snappy (remote write 1.0)";
    let text = |name: &str| {
        headers
            .get(name)
            .map(|v| String::from_utf8_lossy(v.as_bytes()).to_ascii_lowercase())
    };
    if let Some(content_type) = text(CONTENT_TYPE.as_str()) {
        let mut parts = content_type.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let message = parts
            .find_map(|p| p.strip_prefix("proto="))
            .unwrap_or("prometheus.writerequest");
        if media != "application/x-protobuf" || message.trim_matches('"') != "prometheus.writerequest" {
            return Err(Problem::unsupported(
                format!("content type {content_type:?} is not taken here"),
                HINT,
            ));
        }
    }
    match Encoding::of(headers) {
        Ok(None | Some(Encoding::SnappyBlock)) => {}
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
    }
    if let Some(version) = text("x-prometheus-remote-write-version")
        && !(version.starts_with("0.1.") || version.starts_with("1.") || version == "0.1")
    {
        return Err(Problem::unsupported(
            format!("remote write version {version:?} is not taken here"),
            HINT,
        ));
    }
    Ok(())
}

fn decode(body: &[u8], intake: &mut Intake<'_>) -> Result<(), Stop> {
    let mut labels = LabelsBuf::default();
    let mut scratch = Vec::new();
    let mut exemplars = 0;
    for item in read::request(body) {
        match item? {
            Item::Series(series) => {
                exemplars += u64::from(series.exemplars);
                append(&series, intake, &mut labels, &mut scratch)?;
            }
            Item::Metadata(metadata) => describe_metric(&metadata, intake, &mut scratch),
        }
    }
    telemetry::skipped_exemplars(exemplars);
    Ok(())
}

fn append(
    series: &Series<'_>,
    intake: &mut Intake<'_>,
    labels: &mut LabelsBuf,
    scratch: &mut Vec<u8>,
) -> Result<(), Stop> {
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
    let histograms = u64::from(series.histograms);
    intake
        .refusals
        .add(Reason::NativeHistogram, histograms, || describe(labels));
    let mut samples = series.samples().peekable();
    if samples.peek().is_none() {
        return Ok(());
    }
    let id = match known {
        Some(id) => Some(id),
        None => {
            let n = series.samples().try_fold(0, |n, sample| sample.map(|_| n + 1))?;
            let count = series.raw_labels().count();
            if count > intake.limits().labels_max {
                intake.refusals.add(Reason::TooManyLabels, n, || {
                    format!("{count} labels: {}", describe(labels))
                });
                None
            } else {
                intake.resolve(key, labels, n)?
            }
        }
    };
    for sample in samples {
        let (at_ms, value) = sample?;
        if let Some(id) = id {
            intake.push(id, at_ms, value)?;
        }
    }
    Ok(())
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
