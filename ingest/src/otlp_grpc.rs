//! OTLP over gRPC, the unary calls `MetricsService/Export` and `LogsService/Export`.
//!
//! A unary call is an HTTP/2 request with one frame of five bytes and a message, answered by a frame and trailers, so it takes
//! the same way as OTLP over HTTP: the same bounds on bodies, the same decoder over borrowed bytes, the same refusals.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body::{Frame, SizeHint};
use wire::otlp::response::{export_response, status};

use crate::body::{Coding, Encoding};
use crate::intake::{Intake, Outcome, Stop};
use crate::otlp::{Signal, Told};
use crate::problem::Problem;
use crate::state::IngestState;
use crate::telemetry::{self, Protocol};
use crate::{logs, normalize};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const ENCODINGS: HeaderValue = HeaderValue::from_static("identity,gzip,zstd");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// Longest message of an error: it travels in a header, and peers bound those to 8 KiB in all.
const MESSAGE_BYTES_MAX: usize = 1500;

/// `POST /opentelemetry.proto.collector.metrics.v1.MetricsService/Export`
pub(crate) async fn metrics(State(state): State<Arc<IngestState>>, headers: HeaderMap, body: Body) -> Response {
    let options = Arc::clone(state.otlp());
    let decode = move |body: &[u8], intake: &mut Intake<'_>| normalize::request(body, &options, intake);
    export(state, Signal::Metrics, &headers, body, decode).await
}

/// `POST /opentelemetry.proto.collector.logs.v1.LogsService/Export`
pub(crate) async fn logs(State(state): State<Arc<IngestState>>, headers: HeaderMap, body: Body) -> Response {
    let batch_id = logs::batch_id(&headers);
    let decode = move |body: &[u8], intake: &mut Intake<'_>| {
        intake.batch_id = batch_id.map_err(Stop::Problem)?;
        logs::records(body, intake)
    };
    export(state, Signal::Logs, &headers, body, decode).await
}

async fn export(
    state: Arc<IngestState>,
    signal: Signal,
    headers: &HeaderMap,
    body: Body,
    decode: impl FnOnce(&[u8], &mut Intake<'_>) -> Result<(), Stop> + Send + 'static,
) -> Response {
    let started = Instant::now();
    if !headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
    {
        let hint = match signal {
            Signal::Metrics => "send application/grpc here, or protobuf and JSON to /v1/metrics",
            Signal::Logs => "send application/grpc here, or protobuf and JSON to /v1/logs",
        };
        return Problem::unsupported("this path speaks gRPC", hint).response(false);
    }
    let protocol = match signal {
        Signal::Metrics => Protocol::OtlpGrpc,
        Signal::Logs => Protocol::OtlpLogsGrpc,
    };
    let told = match take(state, protocol, headers, body, decode).await {
        Ok(outcome) => Told::of(&outcome),
        Err(problem) => Told::Failure(problem),
    };
    let (answered, answer) = match told {
        // The answers to metrics and to logs have the same fields.
        Told::Success { rejected, message } => (StatusCode::OK, success(&export_response(rejected, &message))),
        Told::Failure(problem) => {
            tracing::debug!(reason = problem.reason, detail = problem.detail, "OTLP call refused");
            (problem.status, failure(&problem))
        }
    };
    telemetry::answered(protocol, answered, started.elapsed());
    answer
}

async fn take(
    state: Arc<IngestState>,
    protocol: Protocol,
    headers: &HeaderMap,
    body: Body,
    decode: impl FnOnce(&[u8], &mut Intake<'_>) -> Result<(), Stop> + Send + 'static,
) -> Result<Outcome, Problem> {
    let encoding = match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Encoding::Identity,
        Some(b"gzip") => Encoding::Gzip,
        Some(b"zstd") => Encoding::Zstd,
        Some(other) => {
            let name: String = String::from_utf8_lossy(other).chars().take(80).collect();
            let hint = "compress messages with gzip or zstd, or send them as they are";
            return Err(Problem::unsupported(
                format!("grpc-encoding {name:?} is not taken here"),
                hint,
            ));
        }
    };
    let coding = Coding {
        encoding,
        framed: true,
        bytes_max: state.limits().decoded_bytes_max,
    };
    state.take(protocol, headers, coding, body, decode).await
}

fn success(message: &[u8]) -> Response {
    let mut frame = Vec::with_capacity(message.len() + 5);
    frame.push(0);
    // The message is a count and a text of ours: far below 4 GiB.
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    let mut trailers = HeaderMap::new();
    trailers.insert(STATUS, HeaderValue::from_static("0"));
    let body = Unary {
        frame: Some(frame.into()),
        trailers: Some(trailers),
    };
    let headers = [
        (CONTENT_TYPE, GRPC),
        (HeaderName::from_static("grpc-accept-encoding"), ENCODINGS),
    ];
    (StatusCode::OK, headers, Body::new(body)).into_response()
}

/// An error is trailers alone: HTTP's status is 200 whatever gRPC's is.
pub(crate) fn failure(problem: &Problem) -> Response {
    let message = problem.message();
    let code = problem.grpc_code();
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, GRPC);
    headers.insert(HeaderName::from_static("grpc-accept-encoding"), ENCODINGS);
    headers.insert(STATUS, HeaderValue::from(code));
    let cut = message.floor_char_boundary(MESSAGE_BYTES_MAX);
    let message = &message[..cut];
    if let Ok(text) = HeaderValue::from_str(&percent(message)) {
        headers.insert(MESSAGE, text);
    }
    // Without a delay in the details, RESOURCE_EXHAUSTED would never be sent again.
    if let Some(seconds) = problem.retry_after_seconds()
        && let Ok(details) = HeaderValue::from_str(&base64(&status(code, message, Some(seconds))))
    {
        headers.insert(DETAILS, details);
    }
    response
}

/// Percent-encoding of gRPC's messages: printable ASCII but `%` stands for itself.
fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

/// Standard alphabet without padding, as binary headers of gRPC are sent.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three
            .iter()
            .enumerate()
            .fold(0_u32, |bits, (i, byte)| bits | u32::from(*byte) << (16 - 8 * i));
        for i in 0..=three.len() {
            out.push(char::from(DIGITS[(bits >> (18 - 6 * i)) as usize & 63]));
        }
    }
    out
}

/// A frame, then trailers.
struct Unary {
    frame: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl HttpBody for Unary {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let next = match self.frame.take() {
            Some(bytes) => Some(Frame::data(bytes)),
            None => self.trailers.take().map(Frame::trailers),
        };
        Poll::Ready(next.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.frame.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.frame.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
