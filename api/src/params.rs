//! What a request asks for: parameters of URL and form, times, durations, limits, and whose data.

use std::sync::Arc;

use axum::extract::{Form, FromRequest, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, Uri};
use serde::de::DeserializeOwned;
use serde_json::Value;
use store::Store;

use crate::app::App;
use crate::audit::Whose;
use crate::problem::{Kind, Problem};

/// The tenant of requests that name none.
pub const DEFAULT_TENANT: &str = "default";

/// The header that names the tenant, as Mimir, Cortex and Loki have it.
pub const TENANT_HEADER: &str = "x-scope-orgid";

/// The parameters of a request in order, those of a form body before those of the URL.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// The parameters of `request`, whose body is read where it is a form.
    pub(crate) async fn read(request: Request) -> Result<Self, Problem> {
        let unreadable = |what: &str, why: String| Problem::invalid(format!("cannot read the {what}: {why}"));
        let Query(in_url) = Query::<Vec<(String, String)>>::try_from_uri(request.uri())
            .map_err(|error| unreadable("parameters of the URL", error.body_text()))?;
        let is_form = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"));
        let mut all = Vec::new();
        if is_form && request.method() != Method::GET {
            let Form(in_body) = Form::<Vec<(String, String)>>::from_request(request, &())
                .await
                .map_err(|error| {
                    let kind = if error.status() == Kind::TooLarge.status() {
                        Kind::TooLarge
                    } else {
                        Kind::Invalid
                    };
                    Problem::new(kind, format!("cannot read the form: {}", error.body_text()))
                })?;
            all = in_body;
        }
        all.extend(in_url);
        Ok(Self(all))
    }

    /// The first value of `name`, unless it is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
            .filter(|v| !v.is_empty())
    }

    /// Every value of `name`.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The time `name`, or `otherwise` where it is missing.
    pub(crate) fn time(&self, name: &str, otherwise: i64) -> Result<i64, Problem> {
        self.get(name).map_or(Ok(otherwise), |text| required_time(name, text))
    }

    /// The time `name`, which must be there.
    pub(crate) fn need_time(&self, name: &str) -> Result<i64, Problem> {
        required_time(name, self.get(name).unwrap_or(""))
    }

    /// The duration `name` in milliseconds.
    pub(crate) fn duration(&self, name: &str) -> Result<Option<i64>, Problem> {
        self.get(name)
            .map(|text| {
                parse_duration(text)
                    .ok_or_else(|| parameter(name, &format!("cannot parse {text:?} to a valid duration")))
            })
            .transpose()
    }

    /// The bound `name`; zero and missing mean none.
    pub(crate) fn limit(&self, name: &str) -> Result<Option<usize>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse::<i64>() {
            Ok(0) => Ok(None),
            Ok(limit) => usize::try_from(limit)
                .map(Some)
                .map_err(|_| parameter(name, "limit must be non-negative")),
            Err(error) => Err(parameter(name, &format!("cannot parse {text:?} as a number: {error}"))),
        }
    }
}

/// The time `name` in JSON: RFC 3339, seconds since 1970, or `"now"`.
pub(crate) fn json_time(name: &str, value: &Value, now: i64) -> Result<i64, Problem> {
    let text = match value {
        Value::String(text) if text == "now" => return Ok(now),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    parse_time(&text).ok_or_else(|| {
        Problem::invalid(format!("{name} {text} is no time")).hint("use RFC 3339, seconds since 1970, or \"now\"")
    })
}

/// A request with its tenant's store.
#[derive(Debug)]
pub(crate) struct Scope {
    /// Whose data.
    pub(crate) tenant: String,
    /// His store.
    pub(crate) store: Arc<Store>,
    /// What is asked.
    pub(crate) params: Params,
}

impl Scope {
    /// The scope of `request`: `X-Scope-OrgID`, else parameter `tenant`, else [`DEFAULT_TENANT`].
    pub(crate) async fn read(app: &App, request: Request) -> Result<Self, Problem> {
        let named = tenant_of_header(request.headers())?;
        let recorded = Whose::of(&request);
        let params = Params::read(request).await?;
        let tenant = named
            .or_else(|| params.get("tenant").map(str::to_owned))
            .unwrap_or_else(|| DEFAULT_TENANT.to_owned());
        if let Some(recorded) = recorded {
            recorded.tell(&tenant);
        }
        let store = app.store(&tenant).await?;
        Ok(Self { tenant, store, params })
    }
}

impl FromRequest<App> for Scope {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        Self::read(app, request).await
    }
}

/// A request with a JSON body, and whose data it is about.
#[derive(Debug)]
pub(crate) struct Told<T> {
    /// His store.
    pub(crate) store: Arc<Store>,
    /// What the body says.
    pub(crate) body: T,
}

impl<T: DeserializeOwned + Send> FromRequest<App> for Told<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let tenant = tenant_of(&parts.headers, &parts.uri)?;
        // A form or plain text may come from any page that a browser shows; JSON may not without being asked for.
        let is_json = parts
            .headers
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
        if !is_json {
            return Err(Problem::new(Kind::UnsupportedMedia, "the body must be JSON")
                .hint("send Content-Type: application/json"));
        }
        let bound = app.limits().body_bytes;
        let bytes = axum::body::to_bytes(body, bound)
            .await
            .map_err(|_| Problem::new(Kind::TooLarge, format!("the body is cut off or over {bound} bytes")))?;
        let body = serde_json::from_slice(&bytes)
            .map_err(|error| Problem::invalid(format!("the body is not as expected: {error}")))?;
        Ok(Self {
            store: app.store(&tenant).await?,
            body,
        })
    }
}

/// A request with a text as its body, and whose data it is about.
#[derive(Debug)]
pub(crate) struct Text {
    /// Whose data.
    pub(crate) tenant: String,
    /// His store.
    pub(crate) store: Arc<Store>,
    /// The body.
    pub(crate) body: String,
}

impl FromRequest<App> for Text {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let tenant = tenant_of(&parts.headers, &parts.uri)?;
        // As for JSON: what a page of another site can send without being asked is refused.
        let kind = parts
            .headers
            .get(CONTENT_TYPE)
            .map_or(&b""[..], |value| value.as_bytes());
        let is_yaml = ["application/yaml", "application/x-yaml", "text/yaml"];
        if !is_yaml.iter().any(|name| kind.starts_with(name.as_bytes())) {
            return Err(Problem::new(Kind::UnsupportedMedia, "the body must be YAML")
                .hint("send Content-Type: application/yaml"));
        }
        let bound = app.limits().body_bytes;
        let bytes = axum::body::to_bytes(body, bound)
            .await
            .map_err(|_| Problem::new(Kind::TooLarge, format!("the body is cut off or over {bound} bytes")))?;
        let body = String::from_utf8(bytes.into()).map_err(|_| Problem::invalid("the body is no UTF-8"))?;
        let store = app.store(&tenant).await?;
        Ok(Self { tenant, store, body })
    }
}

/// The tenant that a request names by header or URL.
pub(crate) fn tenant_of(headers: &HeaderMap, uri: &Uri) -> Result<String, Problem> {
    if let Some(named) = tenant_of_header(headers)? {
        return Ok(named);
    }
    let in_url = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map(|Query(pairs)| pairs)
        .unwrap_or_default();
    Ok(Params(in_url).get("tenant").unwrap_or(DEFAULT_TENANT).to_owned())
}

fn tenant_of_header(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    headers
        .get(TENANT_HEADER)
        .map(|value| {
            value
                .to_str()
                .map(str::to_owned)
                .map_err(|_| Problem::invalid("header X-Scope-OrgID is not ASCII"))
        })
        .transpose()
}

fn required_time(name: &str, text: &str) -> Result<i64, Problem> {
    parse_time(text).ok_or_else(|| parameter(name, &format!("cannot parse {text:?} to a valid timestamp")))
}

/// The error about parameter `name`, in Prometheus' words.
pub(crate) fn parameter(name: &str, why: &str) -> Problem {
    Problem::invalid(format!("invalid parameter {name:?}: {why}"))
}

/// Milliseconds of a time as Prometheus takes it: seconds since 1970 with a fraction, or RFC 3339.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    // Go's reflection of "as early, as late as can be", which clients send to mean "everything".
    match text {
        "-292273086-05-16T16:47:06Z" => return Some(i64::MIN / 2),
        "292277025-08-18T07:12:54.999999999Z" => return Some(i64::MAX / 2),
        _ => {}
    }
    if let Ok(seconds) = text.parse::<f64>() {
        let millis = (seconds * 1000.0).round();
        // Beyond this range a millisecond is no longer exact, and no clock shows such a time.
        return (millis.is_finite() && millis.abs() < 9.0e15).then_some(millis as i64);
    }
    text.parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_millisecond)
}

/// Milliseconds of a duration as Prometheus takes it: seconds with a fraction, or `1h30m`.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        let millis = (seconds * 1000.0).round();
        return (millis.is_finite() && millis.abs() < 9.0e15).then_some(millis as i64);
    }
    // The order is that of Prometheus: each unit at most once, from large to small.
    const UNITS: [(&str, i64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let mut rest = text;
    let mut next_unit = 0;
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, tail) = tail.split_at(letters);
        let at = UNITS
            .iter()
            .position(|(name, _)| *name == unit)
            .filter(|&at| at >= next_unit)?;
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(UNITS[at].1)?)?;
        next_unit = at + 1;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests;
