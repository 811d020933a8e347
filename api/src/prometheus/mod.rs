//! Prometheus' HTTP API, so that Grafana and every other client of it works unchanged: the same parameters, the same JSON,
//! the same errors (Prometheus 3, `web/api/v1/api.go`).

mod cardinality;
pub(crate) mod delete;
pub(crate) mod export;
pub(crate) mod federate;
pub(crate) mod query;
pub(crate) mod read;
pub(crate) mod rules;
pub(crate) mod series;
pub(crate) mod status;
pub(crate) mod targets;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use serde_json::Value;

use crate::number;
use crate::problem::Problem;

/// The payload of a successful answer.
#[derive(Debug, Default)]
pub(crate) struct Data {
    /// JSON.
    pub(crate) json: Vec<u8>,
    /// What may make the answer wrong.
    pub(crate) warnings: Vec<String>,
    /// What may make the question wrong.
    pub(crate) infos: Vec<String>,
}

impl From<Value> for Data {
    fn from(value: Value) -> Self {
        Self {
            json: value.to_string().into_bytes(),
            ..Self::default()
        }
    }
}

/// The envelope around data or error.
pub(crate) fn envelope(answer: Result<Data, Problem>) -> Response {
    let data = match answer {
        Ok(data) => data,
        Err(problem) => return problem.into_prometheus(),
    };
    let mut body = br#"{"status":"success","data":"#.to_vec();
    body.reserve(data.json.len() + 64);
    body.extend_from_slice(&data.json);
    close(&mut body, &data.warnings, &data.infos);
    let mut response = Response::new(Body::from(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Appends what follows the data in the envelope.
fn close(out: &mut Vec<u8>, warnings: &[String], infos: &[String]) {
    for (name, texts) in [("warnings", warnings), ("infos", infos)] {
        if texts.is_empty() {
            continue;
        }
        out.push(b',');
        number::string(out, name);
        out.push(b':');
        list(out, texts, |out, text| number::string(out, text));
    }
    out.push(b'}');
}

/// Appends a JSON list.
pub(crate) fn list<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    let mut first = true;
    for item in items {
        if !first {
            out.push(b',');
        }
        first = false;
        write(out, item);
    }
    out.push(b']');
}

/// Appends labels as a JSON object.
pub(crate) fn labels(out: &mut Vec<u8>, labels: &store::Labels) {
    out.push(b'{');
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        number::string(out, name);
        out.push(b':');
        number::string(out, value);
    }
    out.push(b'}');
}
