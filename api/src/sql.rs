//! SQL over a tenant's samples, as JSON rows, CSV or an Arrow stream, sent as they are found.
//!
//! What fails before the rows of the first two batches are there has a status of its own. What fails later cuts the answer off:
//! its body ends without its proper end, which every HTTP client reports.

mod encode;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use arrow::array::RecordBatch;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest as _, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use futures::Stream;
use futures::stream::try_unfold;
use serde::Deserialize;
use sql::{Query, RowStream, SqlError, SqlErrorKind};

use crate::app::App;
use crate::params::{Params, Scope, Told};
use crate::problem::{Kind, Problem};
use crate::work::blocking;
use encode::{Encoder, Format};

/// Most rows of the answer: one in CSV or Arrow that has as many may be cut off, and has no place to say so.
const ROWS_MAX: HeaderName = HeaderName::from_static("x-foreshock-rows-max");
/// Says so where it is known before the first row is sent.
const TRUNCATED: HeaderName = HeaderName::from_static("x-foreshock-truncated");
/// Batches that are looked at before the status is sent.
const AHEAD: usize = 2;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    query: String,
    #[serde(default)]
    format: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    timeout: Option<String>,
}

impl Asked {
    fn of(params: &Params) -> Result<Self, Problem> {
        let text = |name| params.get(name).map(str::to_owned);
        Ok(Self {
            query: text("query").unwrap_or_default(),
            format: text("format"),
            limit: params.limit("limit")?,
            timeout: text("timeout"),
        })
    }
}

/// `GET /api/v1/sql?query=`, `POST /api/v1/sql` with a form or `{"query": ...}`; `format`, `limit` and `timeout` besides.
pub(crate) async fn query(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let is_json = headers
        .get(CONTENT_TYPE)
        .is_some_and(|v| v.as_bytes().starts_with(b"application/json"));
    let (store, asked) = if is_json {
        let Told { store, body, .. } = Told::<Asked>::from_request(request, &app).await?;
        (store, body)
    } else {
        let Scope { store, params, .. } = Scope::read(&app, request).await?;
        (store, Asked::of(&params)?)
    };
    if asked.query.trim().is_empty() {
        return Err(Problem::invalid("parameter \"query\" is missing")
            .hint("GET /api/v1/sql?query=SELECT..., or POST {\"query\": \"SELECT ...\"}"));
    }
    let format = Format::of(asked.format.as_deref(), &headers)?;
    let query = Query {
        sql: &asked.query,
        rows_max: asked.limit.filter(|limit| *limit > 0),
        timeout: asked.timeout.as_deref().map(timeout).transpose()?,
    };
    // The engine bounds memory, rows, time and queries at once by itself, and stops when the stream is dropped.
    let mut rows = app.sql().stream(&store, query).await?;
    let mut ahead = VecDeque::new();
    let mut ended = false;
    while ahead.len() < AHEAD && !ended {
        match rows.next().await {
            Some(batch) => ahead.push_back(batch?),
            None => ended = true,
        }
    }
    let (truncated, rows_max) = (ended && rows.truncated(), rows.rows_max());
    let encoder = Encoder::new(format, rows.schema()).map_err(|error| Problem::from_error(Kind::Execution, &error))?;
    let answer = Sending {
        rows,
        ahead,
        encoder: Some(encoder),
    };
    let mut response = Response::new(Body::from_stream(answer.bytes()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(ROWS_MAX, HeaderValue::from(rows_max));
    if truncated {
        headers.insert(TRUNCATED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

fn timeout(text: &str) -> Result<Duration, Problem> {
    crate::params::parse_duration(text)
        .and_then(|millis| u64::try_from(millis).ok())
        .filter(|millis| *millis > 0)
        .map(Duration::from_millis)
        .ok_or_else(|| {
            Problem::invalid(format!("parameter \"timeout\": {text:?} is no duration")).hint("for example timeout=10s")
        })
}

/// An answer on its way out.
struct Sending {
    rows: RowStream,
    ahead: VecDeque<RecordBatch>,
    // Taken when the end was written.
    encoder: Option<Encoder>,
}

impl Sending {
    /// The pieces of the body, made when the connection can take them.
    fn bytes(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        try_unfold(self, |mut sending| async move {
            match sending.next_piece().await {
                Ok(piece) => Ok(piece.map(|piece| (piece, sending))),
                Err(problem) => {
                    tracing::warn!(detail = problem.detail(), "an answer of SQL was cut off");
                    Err(io::Error::other(problem.detail().to_owned()))
                }
            }
        })
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>, Problem> {
        let Some(mut encoder) = self.encoder.take() else {
            return Ok(None);
        };
        let batch = match self.ahead.pop_front() {
            Some(batch) => Some(batch),
            None => self.rows.next().await.transpose()?,
        };
        let truncated = self.rows.truncated();
        // Writing text takes its time, and the threads that serve sockets have none.
        let (encoder, piece) = blocking(move || {
            let written = match &batch {
                Some(batch) => encoder.batch(batch),
                None => encoder.end(truncated),
            };
            written.map_err(|error| Problem::from_error(Kind::Internal, &error))?;
            let piece = encoder.take();
            Ok((batch.is_some().then_some(encoder), piece))
        })
        .await?;
        self.encoder = encoder;
        Ok(Some(piece.into()))
    }
}

impl From<SqlError> for Problem {
    fn from(error: SqlError) -> Self {
        let kind = match error.kind() {
            SqlErrorKind::BadData => Kind::Invalid,
            SqlErrorKind::ReadOnly => Kind::Forbidden,
            SqlErrorKind::TooLarge | SqlErrorKind::Execution => Kind::Execution,
            SqlErrorKind::Timeout => Kind::Timeout,
            SqlErrorKind::Canceled => Kind::Canceled,
            SqlErrorKind::Internal => Kind::Internal,
        };
        Self::from_error(kind, &error).maybe_hint(error.hint())
    }
}
