//! SQL over a tenant's samples, as JSON rows, CSV or an Arrow stream.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::csv;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::WriterBuilder;
use arrow::json::writer::JsonArray;
use axum::body::Body;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use serde::Deserialize;
use sql::{Answer, SqlError, SqlErrorKind};
use store::Store;

use crate::app::App;
use crate::number;
use crate::params::{Scope, Told};
use crate::problem::{Kind, Problem};
use crate::prometheus::list;
use crate::work::blocking;

/// Says in CSV and Arrow answers, which have no room for it, that rows were cut off.
const TRUNCATED: HeaderName = HeaderName::from_static("x-foreshock-truncated");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    query: String,
}

/// `GET /api/v1/sql?query=`, `POST /api/v1/sql` with a form or `{"query": ...}`
pub(crate) async fn query(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let format = Format::of(request.headers());
    let is_json = request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|v| v.as_bytes().starts_with(b"application/json"));
    let (store, query) = if is_json {
        let Told { store, body, .. } = Told::<Asked>::from_request(request, &app).await?;
        (store, body.query)
    } else {
        let Scope { store, params, .. } = Scope::read(&app, request).await?;
        (store, params.get("query").unwrap_or("").to_owned())
    };
    if query.trim().is_empty() {
        return Err(Problem::invalid("parameter \"query\" is missing")
            .hint("GET /api/v1/sql?query=SELECT..., or POST {\"query\": \"SELECT ...\"}"));
    }
    let answer = execute(&app, &store, &query).await?;
    let truncated = answer.truncated;
    let body = blocking(move || {
        format
            .write(&answer)
            .map_err(|error| Problem::from_error(Kind::Internal, &error))
    })
    .await?;
    let mut response = Response::new(Body::from(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    if truncated {
        response
            .headers_mut()
            .insert(TRUNCATED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

async fn execute(app: &App, store: &Arc<Store>, query: &str) -> Result<Answer, Problem> {
    // The engine bounds memory, rows, time and queries at once by itself, and stops when this is dropped.
    Ok(app.sql().query(store, query).await?)
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

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
    Arrow,
}

impl Format {
    /// The first of ours that the caller accepts, JSON where he does not say.
    fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
        let of_type = |accepted: &str| match accepted.split(';').next().unwrap_or("").trim() {
            "application/json" | "application/*" | "*/*" => Some(Self::Json),
            "text/csv" | "text/*" => Some(Self::Csv),
            "application/vnd.apache.arrow.stream" => Some(Self::Arrow),
            _ => None,
        };
        accept.split(',').find_map(of_type).unwrap_or(Self::Json)
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    fn write(self, rows: &Answer) -> Result<Vec<u8>, ArrowError> {
        match self {
            Self::Json => json(rows),
            Self::Csv => {
                let mut writer = csv::Writer::new(Vec::new());
                if rows.batches.is_empty() {
                    writer.write(&RecordBatch::new_empty(Arc::clone(&rows.schema)))?;
                }
                rows.batches.iter().try_for_each(|batch| writer.write(batch))?;
                Ok(writer.into_inner())
            }
            Self::Arrow => {
                let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema)?;
                rows.batches.iter().try_for_each(|batch| writer.write(batch))?;
                writer.into_inner()
            }
        }
    }
}

/// `{"columns":[{"name","type"}],"rows":[{...}],"truncated":false}`; the list of columns keeps their order.
fn json(rows: &Answer) -> Result<Vec<u8>, ArrowError> {
    let mut out = br#"{"columns":"#.to_vec();
    list(&mut out, rows.schema.fields(), |out, field| {
        out.extend_from_slice(br#"{"name":"#);
        number::string(out, field.name());
        out.extend_from_slice(br#","type":"#);
        number::string(out, &field.data_type().to_string());
        out.push(b'}');
    });
    out.extend_from_slice(br#","rows":"#);
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, JsonArray>(out);
    let batches: Vec<&RecordBatch> = rows.batches.iter().collect();
    writer.write_batches(&batches)?;
    writer.finish()?;
    let mut out = writer.into_inner();
    if batches.iter().all(|batch| batch.num_rows() == 0) && !out.ends_with(b"]") {
        out.extend_from_slice(b"[]");
    }
    out.extend_from_slice(if rows.truncated {
        br#","truncated":true}"#
    } else {
        br#","truncated":false}"#
    });
    Ok(out)
}

#[cfg(test)]
mod tests;
