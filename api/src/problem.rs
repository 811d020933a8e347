//! Error kind to status and problem+json: the one such place.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write as _;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use store::promql::{QueryError, QueryErrorKind};
use store::{ErrorKind, StateError, StoreError};

/// What went wrong, as far as a caller acts upon it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request cannot be understood or asks for something that cannot be: fix it.
    Invalid,
    /// Nobody knows who asks.
    Unauthorized,
    /// The request is understood and refused.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The route exists and does not answer this method.
    MethodNotAllowed,
    /// The thing is in a state that does not allow this.
    Conflict,
    /// The body is over its bound.
    TooLarge,
    /// The body is of a type that this route does not read.
    UnsupportedMedia,
    /// The expression is well formed and cannot be evaluated over these data.
    Execution,
    /// The caller went away.
    Canceled,
    /// It took longer than it may.
    Timeout,
    /// Not now: try again later.
    Unavailable,
    /// The disk is full.
    Full,
    /// Something stored cannot be read.
    Corrupt,
    /// A fault of ours.
    Internal,
}

impl Kind {
    /// The HTTP status of the kind.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Timeout | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Full => StatusCode::INSUFFICIENT_STORAGE,
            // 499 as nginx has it and Prometheus answers it: nobody reads it, the access log does.
            Self::Canceled => match StatusCode::from_u16(499) {
                Ok(status) => status,
                Err(_) => StatusCode::BAD_REQUEST,
            },
            Self::Corrupt | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the kind is called in the envelope of Prometheus' API (`web/api/v1/api.go`, `errorType`).
    #[must_use]
    pub const fn prometheus(self) -> &'static str {
        match self {
            Self::Invalid | Self::TooLarge | Self::UnsupportedMedia | Self::MethodNotAllowed | Self::Conflict => {
                "bad_data"
            }
            Self::NotFound => "not_found",
            Self::Execution => "execution",
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Unauthorized | Self::Forbidden | Self::Unavailable | Self::Full => "unavailable",
            Self::Corrupt | Self::Internal => "internal",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Invalid => "The request is not valid",
            Self::Unauthorized => "A token is wanted",
            Self::Forbidden => "The request is refused",
            Self::NotFound => "There is no such thing",
            Self::MethodNotAllowed => "This route does not answer this method",
            Self::Conflict => "The present state does not allow this",
            Self::TooLarge => "The body is too large",
            Self::UnsupportedMedia => "This type of body is not read here",
            Self::Execution => "The query cannot be evaluated",
            Self::Canceled => "The caller went away",
            Self::Timeout => "It took too long",
            Self::Unavailable => "Not available now",
            Self::Full => "The disk is full",
            Self::Corrupt => "Stored data cannot be read",
            Self::Internal => "Something failed here",
        }
    }
}

/// An error as people and programs get it: `application/problem+json` (RFC 9457) with one more member, `hint`.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Kind,
    detail: String,
    hint: Option<Cow<'static, str>>,
    retry_after_seconds: Option<u32>,
}

impl Problem {
    /// A problem of `kind`; `detail` says what happened.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            hint: None,
            retry_after_seconds: None,
        }
    }

    /// [`Kind::Invalid`].
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, detail)
    }

    /// [`Kind::NotFound`].
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, detail)
    }

    /// [`Kind::Internal`].
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(Kind::Internal, detail)
    }

    /// A problem of `kind` whose detail is the error with its causes.
    pub fn from_error(kind: Kind, error: &(dyn Error + 'static)) -> Self {
        Self::new(kind, chain(error))
    }

    /// Says what the reader can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn maybe_hint(self, hint: Option<&'static str>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What happened.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What the reader can do, where that is known.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The problem as Prometheus' API tells it.
    pub(crate) fn into_prometheus(self) -> Response {
        let error = match &self.hint {
            Some(hint) => format!("{} ({hint})", self.detail),
            None => self.detail.clone(),
        };
        let body = serde_json::json!({ "status": "error", "errorType": self.kind.prometheus(), "error": error });
        self.finish(body, "application/json")
    }

    /// The problem as Alertmanager's API tells it: a text.
    pub(crate) fn into_alertmanager(self) -> Response {
        let text = match &self.hint {
            Some(hint) => format!("{} ({hint})", self.detail),
            None => self.detail.clone(),
        };
        self.finish(text.into(), "application/json")
    }

    fn finish(self, body: serde_json::Value, content_type: &'static str) -> Response {
        self.log();
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.kind.status();
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    // The caller's own faults are his to read; ours are logged as well, because nobody else sees them.
    fn log(&self) {
        if matches!(self.kind, Kind::Corrupt | Kind::Internal) {
            tracing::error!(kind = ?self.kind, detail = %self.detail, "request failed");
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.kind.status();
        let mut body = serde_json::json!({
            "type": "about:blank",
            "title": self.kind.title(),
            "status": status.as_u16(),
            "detail": self.detail,
        });
        if let (Some(hint), Some(members)) = (&self.hint, body.as_object_mut()) {
            members.insert("hint".to_owned(), hint.as_ref().into());
        }
        self.finish(body, "application/problem+json")
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::StorageFull { .. } => Kind::Full,
            other => other.kind().into(),
        };
        Self::from_error(kind, &error).maybe_hint(error.hint())
    }
}

impl From<StateError> for Problem {
    fn from(error: StateError) -> Self {
        Self::from_error(error.kind().into(), &error).maybe_hint(error.hint())
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let kind = match error.kind() {
            QueryErrorKind::BadData => Kind::Invalid,
            QueryErrorKind::Execution => Kind::Execution,
            QueryErrorKind::Timeout => Kind::Timeout,
            QueryErrorKind::Canceled => Kind::Canceled,
            QueryErrorKind::Internal => Kind::Internal,
        };
        let problem = Self::from_error(kind, &error);
        match error.hint() {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }
}

impl From<ErrorKind> for Kind {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Invalid => Self::Invalid,
            ErrorKind::Unavailable => Self::Unavailable,
            ErrorKind::Conflict => Self::Conflict,
            ErrorKind::Corrupt => Self::Corrupt,
            ErrorKind::Internal => Self::Internal,
        }
    }
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.ends_with(&next_text) {
            write!(text, ": {next_text}").expect("writing to a String cannot fail");
        }
        cause = next.source();
    }
    text
}
