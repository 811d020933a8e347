//! History as JSON lines, of any age: what VictoriaMetrics' `/api/v1/export` writes and its `/api/v1/import` takes.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use store::exchange::{ExchangeError, Format, Sink, read};
use store::{LabelsBuf, Metadata};

use crate::body::{Coding, Encoding};
use crate::intake::{Intake, Outcome, Stop};
use crate::problem::Problem;
use crate::refusal::Reason;
use crate::state::IngestState;
use crate::telemetry::{self, Protocol};

/// Distinguishes the keys of these series from those of other protocols.
const DOMAIN: &[u8] = b"import";

/// `POST /api/v1/import`
pub(crate) async fn import(State(state): State<Arc<IngestState>>, headers: HeaderMap, body: Body) -> Response {
    let started = Instant::now();
    let answer = match take(state, &headers, body).await {
        Ok(outcome) => answer(&outcome),
        Err(problem) => {
            tracing::debug!(reason = problem.reason, detail = problem.detail, "import refused");
            problem.response(false)
        }
    };
    telemetry::answered(Protocol::Import, answer.status(), started.elapsed());
    answer
}

async fn take(state: Arc<IngestState>, headers: &HeaderMap, body: Body) -> Result<Outcome, Problem> {
    const HINT: &str = "send JSON lines as they are, or compressed with gzip or zstd";
    let encoding = match Encoding::of(headers) {
        Ok(None) => Encoding::Identity,
        Ok(Some(Encoding::SnappyBlock)) => {
            return Err(Problem::unsupported("content encoding snappy is not taken here", HINT));
        }
        Ok(Some(encoding)) => encoding,
        Err(other) => {
            return Err(Problem::unsupported(
                format!("content encoding {other:?} is not known"),
                HINT,
            ));
        }
    };
    let coding = Coding {
        encoding,
        framed: false,
        bytes_max: state.limits().decoded_bytes_max,
    };
    state.take(Protocol::Import, headers, coding, body, decode).await
}

/// `{"accepted":n,"refused":m,"detail":"why"}`; a problem where nothing was taken.
fn answer(outcome: &Outcome) -> Response {
    let detail = match (outcome.refusals.main(), outcome.problem()) {
        (_, Some(problem)) if outcome.accepted == 0 => return problem.response(false),
        (None, _) => String::new(),
        (Some(reason), _) => format!("{}; {}", outcome.refusals.describe(), reason.hint()),
    };
    let body = serde_json::json!({
        "accepted": outcome.accepted,
        "refused": outcome.refusals.total(),
        "detail": detail,
    });
    (StatusCode::OK, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn decode(body: &[u8], intake: &mut Intake<'_>) -> Result<(), Stop> {
    intake.take_any_age();
    let mut sink = Taking {
        intake,
        key: Vec::new(),
        stopped: None,
    };
    let mut rest = body;
    let found = read(Format::Jsonl, &mut rest, &mut sink);
    let Taking { intake, stopped, .. } = sink;
    if let Some(stop) = stopped {
        return Err(stop);
    }
    let found = found.map_err(|error| {
        Stop::Problem(Problem::malformed(
            error.to_string(),
            "send JSON lines, one series a line",
        ))
    })?;
    intake.refusals.add(Reason::BadLine, found.bad_lines, || {
        found.examples.first().cloned().unwrap_or_default()
    });
    Ok(())
}

struct Taking<'a, 'b> {
    intake: &'a mut Intake<'b>,
    key: Vec<u8>,
    stopped: Option<Stop>,
}

impl Taking<'_, '_> {
    fn take(&mut self, labels: &mut LabelsBuf, timestamps: &[i64], values: &[f64]) -> Result<(), Stop> {
        self.key.clear();
        self.key.extend_from_slice(DOMAIN);
        for (name, value) in labels.iter() {
            for text in [name, value] {
                self.key.extend_from_slice(&(text.len() as u64).to_le_bytes());
                self.key.extend_from_slice(text.as_bytes());
            }
        }
        let key = self.intake.hash(&self.key);
        let id = match self.intake.known(key) {
            Some(id) => Some(id),
            None => self.intake.resolve(key, labels, values.len() as u64)?,
        };
        let Some(id) = id else { return Ok(()) };
        timestamps
            .iter()
            .zip(values)
            .try_for_each(|(&at, &value)| self.intake.push(id, at, value))
    }
}

impl Sink for Taking<'_, '_> {
    fn series(&mut self, labels: &mut LabelsBuf, timestamps: &[i64], values: &[f64]) -> Result<(), ExchangeError> {
        self.take(labels, timestamps, values).map_err(|stop| {
            self.stopped = Some(stop);
            ExchangeError::Taker("the request ends here".into())
        })
    }

    fn metadata(&mut self, _metric: &str, _metadata: Metadata) -> Result<(), ExchangeError> {
        // JSON lines have none.
        Ok(())
    }
}
