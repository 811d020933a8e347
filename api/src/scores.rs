//! Scores of the newest round, with the signals that moved them. Their past is series: query
//! `foreshock_failure_probability`.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use predict::live::{Finding, Forecast, HostScore, ScoreState, Signal};
use serde_json::{Value, json};

use crate::app::App;
use crate::number::rfc3339;
use crate::params::Scope;
use crate::problem::Problem;

/// `GET /api/v1/scores?host=`
pub(crate) async fn list(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let Scope { tenant, params, .. } = Scope::read(&app, request).await?;
    let host = params.get("host");
    let Some(round) = app.board().round(&tenant) else {
        return Ok(axum::Json(json!({ "scored_at": null, "scores": [], "forecasts": [] })).into_response());
    };
    let wanted = |name: &str| host.is_none_or(|host| host == name);
    let scores: Vec<Value> = round
        .scores
        .iter()
        .filter(|score| wanted(&score.host))
        .map(score_json)
        .collect();
    let forecasts: Vec<Value> = round
        .forecasts
        .iter()
        .filter(|f| wanted(&f.host))
        .map(forecast_json)
        .collect();
    let body = json!({ "scored_at": rfc3339(round.at_ms), "scores": scores, "forecasts": forecasts });
    Ok(axum::Json(body).into_response())
}

/// A score as JSON: `state` says which of `probability`, `learning` and `why` is there.
pub(crate) fn score_json(score: &HostScore) -> Value {
    let (state, probability, learning, why) = match &score.state {
        ScoreState::Scored(probability) => ("scored", Some(probability.get()), None, None),
        ScoreState::Learning { have, need, what } => (
            "learning",
            None,
            Some(json!({ "have": have, "need": need, "what": what })),
            None,
        ),
        ScoreState::Abstained { why } => ("abstained", None, None, Some(why)),
    };
    json!({
        "host": score.host,
        "device": score.device,
        "horizon": score.horizon.to_string(),
        "model": score.model,
        "state": state,
        "probability": probability,
        "learning": learning,
        "why": why,
        "alert": score.alert,
        "anomaly": finite(score.anomaly),
        "findings": score.findings.iter().map(finding_json).collect::<Vec<_>>(),
        "signals": score.signals.iter().map(signal_json).collect::<Vec<_>>(),
        "advice": score.advice,
    })
}

fn signal_json(signal: &Signal) -> Value {
    json!({
        "name": signal.name,
        "text": signal.text,
        "value": finite(signal.value),
        "usual": finite(signal.usual),
        "peers": signal.peers.and_then(finite),
        "unit": signal.unit,
        "since": rfc3339(signal.since_ms),
        "contribution": finite(signal.contribution),
        "advice": signal.advice,
    })
}

fn finding_json(finding: &Finding) -> Value {
    json!({ "rule": finding.rule, "text": finding.text, "since": rfc3339(finding.since_ms), "advice": finding.advice })
}

/// A forecast as JSON.
pub(crate) fn forecast_json(forecast: &Forecast) -> Value {
    json!({
        "host": forecast.host,
        "device": forecast.device,
        "resource": forecast.resource.name(),
        "now": finite(forecast.now_value),
        "limit": finite(forecast.limit),
        "seconds_to_limit": forecast.seconds_to_limit.and_then(finite),
        "low": finite(forecast.low),
        "high": finite(forecast.high),
        "text": forecast.text,
    })
}

/// JSON has no infinities and no NaN.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}
