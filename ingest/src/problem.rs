//! What a sender is told when its request is not taken: `application/problem+json` (RFC 9457) with a hint.

use std::borrow::Cow;

use axum::http::header::{ACCEPT, ALLOW, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use store::{ErrorKind, StoreError};
use wire::DecodeError;

use crate::otlp_grpc;

/// A request that was not taken.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// The reason in own telemetry: few values.
    pub(crate) reason: &'static str,
    pub(crate) detail: String,
    pub(crate) hint: Cow<'static, str>,
    retry_after_seconds: Option<u16>,
}

impl Problem {
    fn new(status: StatusCode, reason: &'static str, detail: impl Into<String>, hint: &'static str) -> Self {
        let retry_after_seconds =
            matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        Self {
            status,
            reason,
            detail: detail.into(),
            hint: hint.into(),
            retry_after_seconds,
        }
    }

    /// The bytes are not what the headers say.
    pub(crate) fn malformed(detail: impl Into<String>, hint: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail, hint)
    }

    /// The bytes decode, their content cannot be taken.
    pub(crate) fn invalid(detail: impl Into<String>, hint: impl Into<Cow<'static, str>>) -> Self {
        let mut problem = Self::new(StatusCode::BAD_REQUEST, "invalid", detail, "");
        problem.hint = hint.into();
        problem
    }

    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        let hint = "send smaller batches: fewer samples per request";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail, hint)
    }

    pub(crate) fn unsupported(detail: impl Into<String>, hint: &'static str) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported", detail, hint)
    }

    pub(crate) fn busy(detail: impl Into<String>) -> Self {
        let hint = "send the same request again after the time in Retry-After; sending a sample twice is harmless";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail, hint)
    }

    pub(crate) fn too_slow() -> Self {
        let hint = "send smaller batches, or compress them";
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "too_slow",
            "the body took too long to arrive",
            hint,
        )
    }

    pub(crate) fn limit(detail: impl Into<String>, hint: &'static str) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "limit", detail, hint)
    }

    pub(crate) fn panicked() -> Self {
        let hint = "this is a fault of the server: please report it with the server's log; other requests go on";
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the request could not be processed",
            hint,
        )
    }

    /// The answer in JSON. `grpc` adds the members of a `google.rpc.Status`, as OTLP wants it.
    pub(crate) fn response(&self, grpc: bool) -> Response {
        let mut body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "hint": self.hint,
        });
        if grpc {
            body["code"] = self.grpc_code().into();
            body["message"] = self.message().into();
        }
        self.finish("application/problem+json", body.to_string().into_bytes())
    }

    /// The answer that an OTLP client gets: a `google.rpc.Status` in the encoding of its request, as the specification wants
    /// it; problem+json with the same members where it takes JSON as well, as people's tools do, or sent neither encoding.
    pub(crate) fn otlp_response(&self, request: &HeaderMap) -> Response {
        let names = |header: &HeaderName, wanted: &[u8]| {
            let mut values = request
                .get_all(header)
                .iter()
                .flat_map(|v| v.as_bytes().split(|b| *b == b','));
            values.any(|value| value.trim_ascii().to_ascii_lowercase().starts_with(wanted))
        };
        let sent_protobuf =
            names(&CONTENT_TYPE, b"application/x-protobuf") || names(&CONTENT_TYPE, b"application/protobuf");
        if sent_protobuf && !names(&ACCEPT, b"application/json") && !names(&ACCEPT, b"*/*") {
            let body = wire::otlp::response::status(self.grpc_code(), &self.message(), self.retry_after_seconds);
            return self.finish("application/x-protobuf", body);
        }
        self.response(true)
    }

    /// Seconds after which the same request may be sent again; `None` where it never may.
    pub(crate) fn retry_after_seconds(&self) -> Option<u16> {
        self.retry_after_seconds
    }

    pub(crate) fn message(&self) -> String {
        format!("{}; {}", self.detail, self.hint)
    }

    /// gRPC's number of the status (google/rpc/code.proto).
    pub(crate) fn grpc_code(&self) -> u32 {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE => 8,
            StatusCode::SERVICE_UNAVAILABLE => 14,
            StatusCode::REQUEST_TIMEOUT => 4,
            StatusCode::INTERNAL_SERVER_ERROR => 13,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => 12,
            StatusCode::UNAUTHORIZED => 16,
            StatusCode::FORBIDDEN => 7,
            _ => 3,
        }
    }

    fn finish(&self, content_type: &'static str, body: Vec<u8>) -> Response {
        let mut response = (self.status, [(CONTENT_TYPE, content_type)], body).into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let (status, reason) = match error.kind() {
            ErrorKind::Invalid => (StatusCode::BAD_REQUEST, "invalid"),
            ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            ErrorKind::Conflict | ErrorKind::Corrupt | ErrorKind::Internal => {
                // 500 tells a Prometheus to retry; OTLP senders do not retry it, and nothing was acknowledged.
                (StatusCode::INTERNAL_SERVER_ERROR, "internal")
            }
        };
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = &error as &dyn std::error::Error, "a write could not be stored");
        }
        let hint = error.hint().unwrap_or("look for the cause in the server's log");
        let mut detail = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            detail += &format!(": {error}");
            cause = error.source();
        }
        Self::new(status, reason, detail, hint)
    }
}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Self {
        let hint = match error {
            DecodeError::Truncated { .. } => "send the whole message, and a Content-Length that fits it",
            DecodeError::TooDeep { .. } => "send attribute values that nest less",
            DecodeError::TooLarge { .. } => "send shorter attribute values",
            _ => "send protobuf bytes of the message that this endpoint takes, compressed as Content-Encoding says",
        };
        Self::malformed(error.to_string(), hint)
    }
}

/// How a request that may not pass is answered by an endpoint with a form of its own for errors: any call of gRPC, and OTLP.
/// `None` where another form will do. `status` is 401 or 403; `path` and `headers` are the request's.
pub fn denied(
    path: &str,
    headers: &HeaderMap,
    status: StatusCode,
    detail: &str,
    hint: &'static str,
) -> Option<Response> {
    let problem = || Problem::new(status, "denied", detail, hint);
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if content_type.starts_with(b"application/grpc") {
        return Some(otlp_grpc::failure(&problem()));
    }
    let is_otlp = path.starts_with("/v1/") || path.starts_with("/api/v1/otlp/");
    is_otlp.then(|| problem().otlp_response(headers))
}

/// What every method but POST gets.
pub(crate) async fn only_post() -> Response {
    let problem = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "this endpoint takes telemetry",
        "send it with POST; to read, use /api/v1/query",
    );
    let mut response = problem.response(false);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    response
}
