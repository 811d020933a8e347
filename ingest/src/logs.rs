//! OTLP logs, protobuf and JSON, into the table `logs`.
//!
//! A sender that gives its batches an id (`Idempotency-Key`) may send one again after a broken connection: it counts once. Large
//! requests are cut into several batches of the WAL, each with the id and its number.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use store::table::logs::LogRecord;
use wire::DecodeError;
use wire::otlp::read::logs::{Record, request};
use wire::otlp::read::{AnyValue, Attributes};

use crate::intake::{Intake, LOG_RECORD_BYTES_MAX, Stop};
use crate::otlp::{self, Format, Signal};
use crate::otlp_json;
use crate::problem::Problem;
use crate::refusal::Reason;
use crate::state::IngestState;
use crate::telemetry::{self, Protocol};

/// The header that names a batch.
const BATCH_HEADER: &str = "idempotency-key";
/// Longest id of a batch.
const BATCH_ID_BYTES_MAX: usize = 256;

/// `POST /v1/logs`
pub(crate) async fn logs(State(state): State<Arc<IngestState>>, headers: HeaderMap, body: Body) -> Response {
    let started = Instant::now();
    let answer = match take(state, &headers, body).await {
        Ok((format, outcome)) => otlp::answer(Signal::Logs, format, &outcome, &headers),
        Err(problem) => {
            tracing::debug!(reason = problem.reason, detail = problem.detail, "OTLP logs refused");
            problem.otlp_response(&headers)
        }
    };
    telemetry::answered(Protocol::OtlpLogs, answer.status(), started.elapsed());
    answer
}

async fn take(
    state: Arc<IngestState>,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Format, crate::intake::Outcome), Problem> {
    let batch_id = batch_id(headers)?;
    let decode = move |format: Format, body: &[u8], intake: &mut Intake<'_>| {
        intake.batch_id = batch_id;
        match format {
            Format::Protobuf => records(body, intake),
            Format::Json => records(&otlp_json::logs_to_protobuf(body).map_err(Stop::Problem)?, intake),
        }
    };
    otlp::take(state, Signal::Logs, headers, body, decode).await
}

pub(crate) fn batch_id(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(BATCH_HEADER) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("");
    if text.is_empty() || text.len() > BATCH_ID_BYTES_MAX {
        let hint = "send an Idempotency-Key of 1 to 256 visible ASCII characters, or none at all";
        return Err(Problem::invalid("the Idempotency-Key cannot name a batch", hint));
    }
    Ok(Some(text.to_owned()))
}

/// Puts every record of the request into `intake`.
pub(crate) fn records(body: &[u8], intake: &mut Intake<'_>) -> Result<(), Stop> {
    intake.refusals.of_records = true;
    let mut scratch = String::new();
    let mut resource: Vec<(String, String)> = Vec::new();
    for from in request(body) {
        let from = from?;
        let too_large = match gather(&from.resource, &mut scratch, &mut resource) {
            Err(error @ DecodeError::TooLarge { .. }) => Some(error),
            gathered => {
                gathered?;
                None
            }
        };
        for scope in from.scopes() {
            let scope = scope?;
            for record in scope.records() {
                let record = record?;
                let pushed = match too_large {
                    Some(error) => Err(error.into()),
                    None => push(&record, scope.name, &resource, intake),
                };
                match pushed {
                    Err(Stop::Decode(error @ DecodeError::TooLarge { .. })) => {
                        intake.refusals.add(Reason::RecordTooLarge, 1, || error.to_string());
                    }
                    pushed => pushed?,
                }
            }
        }
    }
    Ok(())
}

/// Puts the attributes into `out`, in place of what it held: as many as a record may have, and none of what is too large for any.
fn gather<'a, Name: From<&'a str>>(
    attributes: &Attributes<'a>,
    scratch: &mut String,
    out: &mut Vec<(Name, String)>,
) -> Result<(), DecodeError> {
    out.clear();
    let mut bytes = 0;
    for attribute in attributes {
        let (name, value) = attribute?;
        let value = value.text(scratch)?;
        // As `LogRows::bytes_of` counts them.
        bytes += name.len() + value.len() + 8;
        if bytes > LOG_RECORD_BYTES_MAX {
            return Err(DecodeError::TooLarge {
                message: "a list of attributes",
                limit: LOG_RECORD_BYTES_MAX,
            });
        }
        out.push((Name::from(name), value.to_owned()));
    }
    Ok(())
}

fn push(record: &Record<'_>, scope: &str, resource: &[(String, String)], intake: &mut Intake<'_>) -> Result<(), Stop> {
    let time = |unix_nano: u64| i64::try_from(unix_nano).ok().filter(|at| *at > 0);
    let observed_ns = time(record.observed_time_unix_nano);
    // By the specification the time of observation stands in for that of the event where it is unknown.
    let Some(timestamp_ns) = time(record.time_unix_nano).or(observed_ns) else {
        intake
            .refusals
            .add(Reason::BadTimestamp, 1, || record.event_name.to_owned());
        return Ok(());
    };
    let (mut scratch, mut body) = (String::new(), String::new());
    let body = match record.body {
        AnyValue::Empty => None,
        value => Some(value.text(&mut body)?),
    };
    let (trace_id, span_id) = (hex(record.trace_id, 16), hex(record.span_id, 8));
    let mut attributes: Vec<(&str, String)> = Vec::new();
    gather(&record.attributes, &mut scratch, &mut attributes)?;
    let own_host = attributes.iter().find(|(name, _)| *name == "host.name");
    let of_resource = |wanted: &str| {
        resource
            .iter()
            .find(|(name, value)| name == wanted && !value.is_empty())
            .map(|(_, value)| value.as_str())
    };
    let row = LogRecord {
        timestamp_ns,
        observed_ns,
        host: of_resource("host.name").or(own_host.map(|(_, host)| host.as_str())),
        service: of_resource("service.name"),
        severity: Some(record.severity_number).filter(|severity| (1..=24).contains(severity)),
        level: given(record.severity_text),
        event: given(record.event_name),
        body,
        scope: given(scope),
        trace_id: given(&trace_id),
        span_id: given(&span_id),
    };
    intake.push_log(&row, &attributes, resource)
}

fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// An identifier of `length` bytes in hexadecimal; empty where it is none.
fn hex(bytes: &[u8], length: usize) -> String {
    let bytes = if bytes.len() == length { bytes } else { &[] };
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
