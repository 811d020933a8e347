//! Prometheus' text format and OpenMetrics into the store: pushed by a request, or scraped.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use store::{LabelsBuf, METRIC_NAME, Metadata, MetricKind};
use wire::exposition::{Format, Line, Property, lines};

use crate::body::{Coding, Encoding};
use crate::intake::{Intake, Outcome, Stop};
use crate::problem::Problem;
use crate::refusal::Reason;
use crate::state::IngestState;
use crate::telemetry::{self, Protocol};

/// Distinguishes the keys of these series from those of other protocols.
const DOMAIN: &[u8] = b"text";
/// Longest help text that is kept.
const HELP_CHARS_MAX: usize = 1024;

/// `POST /api/v1/import/prometheus`, as VictoriaMetrics has it: `extra_label=name=value` adds labels, `timestamp` (in
/// milliseconds) is that of samples without one.
pub(crate) async fn import(
    State(state): State<Arc<IngestState>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    respond(state, from_query(query.as_deref().unwrap_or("")), &headers, body).await
}

/// `POST, PUT /metrics/job/NAME{/LABEL/VALUE}`, as the Pushgateway has it. What is pushed is stored as of now; nothing is kept
/// to be scraped again later.
pub(crate) async fn push(
    State(state): State<Arc<IngestState>>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    respond(state, from_path(&path), &headers, body).await
}

/// What is pushed with the text.
#[derive(Debug, Default)]
struct Asked {
    extra: Vec<(String, String)>,
    at_ms: Option<i64>,
}

async fn respond(state: Arc<IngestState>, asked: Result<Asked, Problem>, headers: &HeaderMap, body: Body) -> Response {
    let started = Instant::now();
    let taken = match asked {
        Ok(asked) => take(state, asked, headers, body).await,
        Err(problem) => Err(problem),
    };
    let answer = match taken {
        Ok(outcome) => match outcome.problem() {
            None => StatusCode::NO_CONTENT.into_response(),
            Some(problem) => problem.response(false),
        },
        Err(problem) => problem.response(false),
    };
    telemetry::answered(Protocol::Text, answer.status(), started.elapsed());
    answer
}

async fn take(state: Arc<IngestState>, asked: Asked, headers: &HeaderMap, body: Body) -> Result<Outcome, Problem> {
    let encoding = match Encoding::of(headers) {
        Ok(encoding) => encoding.unwrap_or(Encoding::Identity),
        Err(name) => {
            let hint = "compress the body with gzip, zstd or snappy, or send it as it is";
            return Err(Problem::unsupported(
                format!("content encoding {name:?} is not taken here"),
                hint,
            ));
        }
    };
    let content_type = headers.get(CONTENT_TYPE).map(|v| String::from_utf8_lossy(v.as_bytes()));
    let content_type = content_type.as_deref().unwrap_or("").to_ascii_lowercase();
    if content_type.contains("protobuf") {
        let hint = "push the text format: Content-Type text/plain, or application/openmetrics-text";
        return Err(Problem::unsupported("protobuf is not taken here", hint));
    }
    let format = Format::of_content_type(&content_type);
    let coding = Coding {
        encoding,
        framed: false,
        bytes_max: state.limits().decoded_bytes_max,
    };
    state
        .take(
            Protocol::Text,
            headers,
            coding,
            body,
            move |body: &[u8], intake: &mut Intake<'_>| append(body, format, &asked, intake),
        )
        .await
}

fn from_query(query: &str) -> Result<Asked, Problem> {
    let mut asked = Asked::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(&value.replace('+', " "))
            .ok_or_else(|| Problem::invalid(format!("{name} is not percent-encoded UTF-8"), "encode the parameter"))?;
        match name {
            "extra_label" => match value.split_once('=') {
                Some((label, text)) if !label.is_empty() => asked.extra.push((label.to_owned(), text.to_owned())),
                _ => {
                    let hint = "write extra_label=name=value";
                    return Err(Problem::invalid(format!("extra_label {value:?} is no label"), hint));
                }
            },
            "timestamp" => {
                let at_ms = value.parse().map_err(|_| {
                    Problem::invalid(
                        format!("timestamp {value:?} is no number"),
                        "give milliseconds since 1970",
                    )
                })?;
                asked.at_ms = Some(at_ms);
            }
            _ => {}
        }
    }
    Ok(asked)
}

/// `NAME{/LABEL/VALUE}`; a label that ends in `@base64` has its value in URL-safe Base64.
fn from_path(path: &str) -> Result<Asked, Problem> {
    let hint = "push to /metrics/job/NAME{/LABEL/VALUE}";
    let mut asked = Asked::default();
    let path = path.strip_suffix('/').unwrap_or(path);
    let segments: Vec<&str> = std::iter::once("job").chain(path.split('/')).collect();
    for pair in segments.chunks(2) {
        let &[name, value] = pair else {
            return Err(Problem::invalid(format!("label {:?} has no value", pair[0]), hint));
        };
        let (name, value) = match name.strip_suffix("@base64") {
            None => (name, value.to_owned()),
            Some(name) => {
                let bytes = crate::otlp_json::base64(value).and_then(|bytes| String::from_utf8(bytes).ok());
                let text = bytes.ok_or_else(|| Problem::invalid(format!("{value:?} is not Base64 of a text"), hint))?;
                (name, text)
            }
        };
        if name.is_empty() || name == METRIC_NAME || (name == "job" && value.is_empty()) {
            return Err(Problem::invalid(format!("{name:?} cannot be set by the path"), hint));
        }
        asked.extra.push((name.to_owned(), value));
    }
    Ok(asked)
}

fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            out.push((digit()? * 16 + digit()?) as u8);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

fn append(body: &[u8], format: Format, asked: &Asked, intake: &mut Intake<'_>) -> Result<(), Stop> {
    let text = as_text(body).map_err(Stop::Problem)?;
    let now_ms = asked.at_ms.unwrap_or_else(|| intake.now_ms());
    let mut base = DOMAIN.to_vec();
    for text in asked.extra.iter().flat_map(|(name, value)| [name, value]) {
        base.extend_from_slice(&(text.len() as u64).to_le_bytes());
        base.extend_from_slice(text.as_bytes());
    }
    let base = intake.hash(&base);
    let mut labels = LabelsBuf::default();
    let mut bytes = Vec::new();
    let mut families = Families::default();
    for line in lines(text, format) {
        let sample = match line.map_err(|error| Stop::Problem(unreadable(&error)))? {
            Line::About { metric, property, text } => {
                families.learn(&metric, property, &text, intake);
                continue;
            }
            Line::Sample(sample) => sample,
        };
        bytes.clear();
        bytes.extend_from_slice(&base.to_le_bytes());
        bytes.extend_from_slice(sample.series.as_bytes());
        let key = intake.hash(&bytes);
        let id = match intake.known(key) {
            Some(id) => Some(id),
            None => {
                labels.clear();
                let mut count = 0;
                for (name, value) in sample.labels().take(intake.limits().labels_max + 1) {
                    // What is asked for with the push wins over what the text says.
                    if !asked.extra.iter().any(|(extra, _)| *extra == name) {
                        labels.push(&name, &value);
                        count += 1;
                    }
                }
                for (name, value) in &asked.extra {
                    labels.push(name, value);
                    count += 1;
                }
                if count > intake.limits().labels_max {
                    intake
                        .refusals
                        .add(Reason::TooManyLabels, 1, || sample.series.to_owned());
                    None
                } else {
                    intake.resolve(key, &mut labels, 1)?
                }
            }
        };
        let Some(id) = id else { continue };
        let at_ms = sample.at_ms.unwrap_or(now_ms);
        intake.push(id, at_ms, sample.value)?;
        if let Some(exemplar) = sample.exemplar {
            let pairs: Vec<_> = exemplar.labels().collect();
            let pairs = pairs.iter().map(|(name, value)| Ok((&**name, &**value)));
            intake.exemplar(id, exemplar.at_ms.unwrap_or(at_ms), exemplar.value, pairs)?;
        }
    }
    families.finish(intake);
    Ok(())
}

pub(crate) fn as_text(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|error| {
        Problem::malformed(
            format!("the text is not UTF-8 from byte {} on", error.valid_up_to()),
            "send Prometheus' text format, or OpenMetrics, in UTF-8",
        )
    })
}

pub(crate) fn unreadable(error: &wire::exposition::ExpositionError) -> Problem {
    Problem::malformed(
        error.to_string(),
        "send Prometheus' text format, or OpenMetrics with its content type",
    )
}

/// What the comments of a text say of its metrics, a family at a time.
#[derive(Debug, Default)]
pub(crate) struct Families {
    metric: String,
    about: Metadata,
}

impl Families {
    pub(crate) fn learn(&mut self, metric: &str, property: Property, text: &str, intake: &mut Intake<'_>) {
        if metric != self.metric {
            self.finish(intake);
            metric.clone_into(&mut self.metric);
        }
        match property {
            Property::Help => self.about.help = text.chars().take(HELP_CHARS_MAX).collect(),
            Property::Type => self.about.kind = MetricKind::of_str(text),
            Property::Unit => self.about.unit = text.chars().take(HELP_CHARS_MAX).collect(),
        }
    }

    pub(crate) fn finish(&mut self, intake: &mut Intake<'_>) {
        let about = std::mem::take(&mut self.about);
        let metric = std::mem::take(&mut self.metric);
        if metric.is_empty() || metric.len() > intake.limits().label_value_bytes_max {
            return;
        }
        let mut bytes = vec![b'f'];
        for text in [&metric, about.kind.as_str(), &about.help, &about.unit] {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        let key = intake.hash(&bytes);
        if !intake.is_described(key) {
            intake.describe(key, metric, about);
        }
    }
}
