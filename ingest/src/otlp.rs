//! OTLP/HTTP metrics: protobuf and JSON.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use wire::otlp::response::export_response;

use crate::body::{Coding, Encoding};
use crate::intake::{Intake, Outcome, Stop};
use crate::problem::Problem;
use crate::state::IngestState;
use crate::telemetry::{self, Protocol};
use crate::{normalize, otlp_json};

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Metrics,
    Logs,
}

impl Signal {
    const fn protocol(self) -> Protocol {
        match self {
            Self::Metrics => Protocol::Otlp,
            Self::Logs => Protocol::OtlpLogs,
        }
    }
}

/// How a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Protobuf,
    Json,
}

/// `POST /v1/metrics`
pub(crate) async fn metrics(State(state): State<Arc<IngestState>>, headers: HeaderMap, body: Body) -> Response {
    let started = Instant::now();
    let options = Arc::clone(state.otlp());
    let decode = move |format, body: &[u8], intake: &mut Intake<'_>| match format {
        Format::Protobuf => normalize::request(body, &options, intake),
        Format::Json => {
            let body = otlp_json::to_protobuf(body).map_err(Stop::Problem)?;
            normalize::request(&body, &options, intake)
        }
    };
    let answer = match take(state, Signal::Metrics, &headers, body, decode).await {
        Ok((format, outcome)) => answer(Signal::Metrics, format, &outcome, &headers),
        Err(problem) => {
            tracing::debug!(reason = problem.reason, detail = problem.detail, "OTLP request refused");
            problem.otlp_response(&headers)
        }
    };
    telemetry::answered(Protocol::Otlp, answer.status(), started.elapsed());
    answer
}

/// Takes one request in; `decode` sees its bytes and how they are written, on a thread that may block.
pub(crate) async fn take(
    state: Arc<IngestState>,
    signal: Signal,
    headers: &HeaderMap,
    body: Body,
    decode: impl FnOnce(Format, &[u8], &mut Intake<'_>) -> Result<(), Stop> + Send + 'static,
) -> Result<(Format, Outcome), Problem> {
    let format = format(signal, headers)?;
    let encoding = match Encoding::of(headers) {
        Ok(Some(encoding @ (Encoding::Identity | Encoding::Gzip | Encoding::Zstd))) => encoding,
        Ok(None) => Encoding::Identity,
        other => {
            let name = other.map_or_else(|name| name, |_| "snappy".to_owned());
            let hint = "compress the body with gzip or zstd, or send it as it is";
            return Err(Problem::unsupported(
                format!("content encoding {name:?} is not taken here"),
                hint,
            ));
        }
    };
    let limits = state.limits();
    let bytes_max = if format == Format::Json {
        limits.json_bytes_max
    } else {
        limits.decoded_bytes_max
    };
    let coding = Coding {
        encoding,
        framed: false,
        bytes_max,
    };
    let outcome = state
        .take(
            signal.protocol(),
            headers,
            coding,
            body,
            move |body: &[u8], intake: &mut Intake<'_>| decode(format, body, intake),
        )
        .await?;
    Ok((format, outcome))
}

fn format(signal: Signal, headers: &HeaderMap) -> Result<Format, Problem> {
    let hint = match signal {
        Signal::Metrics => "send ExportMetricsServiceRequest as application/x-protobuf, or as application/json",
        Signal::Logs => "send ExportLogsServiceRequest as application/x-protobuf, or as application/json",
    };
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Err(Problem::unsupported("the request has no Content-Type", hint));
    };
    let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    match text.split(';').next().unwrap_or_default().trim() {
        "application/x-protobuf" | "application/protobuf" => Ok(Format::Protobuf),
        "application/json" => Ok(Format::Json),
        "application/grpc" => {
            let hint =
                "set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf at the sender, or point it at the port of --otlp-grpc";
            Err(Problem::unsupported("gRPC is not taken at this path", hint))
        }
        other => {
            let other: String = other.chars().take(80).collect();
            Err(Problem::unsupported(
                format!("content type {other:?} is not taken here"),
                hint,
            ))
        }
    }
}

/// What a sender is told of a request that was processed.
pub(crate) enum Told {
    /// Stored, all of it or with so many points rejected for the reasons that the message names.
    Success { rejected: u64, message: String },
    /// Nothing was stored.
    Failure(Problem),
}

impl Told {
    /// A success where anything was stored, with what was not in the partial success; a failure where nothing was.
    pub(crate) fn of(outcome: &Outcome) -> Self {
        let refusals = &outcome.refusals;
        let Some(reason) = refusals.main() else {
            return Self::Success {
                rejected: 0,
                message: String::new(),
            };
        };
        let words = refusals.describe();
        if outcome.accepted > 0 {
            return Self::Success {
                rejected: refusals.total(),
                message: format!("{words}; {}", reason.hint()),
            };
        }
        Self::Failure(if refusals.iter().all(|(reason, _)| reason.is_temporary()) {
            Problem::limit(words, reason.hint())
        } else {
            Problem::invalid(words, reason.hint())
        })
    }
}

pub(crate) fn answer(signal: Signal, format: Format, outcome: &Outcome, headers: &HeaderMap) -> Response {
    let rejected_member = match signal {
        Signal::Metrics => "rejectedDataPoints",
        Signal::Logs => "rejectedLogRecords",
    };
    let (rejected, message) = match Told::of(outcome) {
        Told::Success { rejected, message } => (rejected, message),
        Told::Failure(problem) => return problem.otlp_response(headers),
    };
    match format {
        Format::Protobuf => {
            // The answers to metrics and to logs have the same fields.
            let body = export_response(rejected, &message);
            (StatusCode::OK, [(CONTENT_TYPE, "application/x-protobuf")], body).into_response()
        }
        Format::Json => {
            let body = if outcome.refusals.is_empty() {
                serde_json::json!({})
            } else {
                // 64-bit integers are text in protobuf's JSON.
                let partial = serde_json::json!({ rejected_member: rejected.to_string(), "errorMessage": message });
                serde_json::json!({ "partialSuccess": partial })
            };
            (StatusCode::OK, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
        }
    }
}
