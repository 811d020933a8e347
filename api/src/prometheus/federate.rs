//! The latest samples in Prometheus' text format, for another Prometheus to scrape.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use store::promql::Deadline;
use store::{Labels, METRIC_NAME, Matcher, MetricKind, Samples, Store, TimeRange, is_stale};

use super::series::selector;
use crate::app::App;
use crate::params::Scope;
use crate::problem::{Kind, Problem};
use crate::work::Length;

/// Series between two looks at the deadline.
const SERIES_PER_CHECK: usize = 1024;

/// `GET /federate?match[]=...`
pub(crate) async fn federate(State(app): State<App>, request: Request) -> Response {
    match answer(&app, request).await {
        Ok(text) => {
            let mut response = Response::new(Body::from(text));
            response.headers_mut().insert(
                CONTENT_TYPE,
                HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
            );
            response
        }
        Err(problem) => problem.into_response(),
    }
}

async fn answer(app: &App, request: Request) -> Result<String, Problem> {
    let Scope { store, params, .. } = Scope::read(app, request).await?;
    let sets: Vec<Vec<Matcher>> = params.all("match[]").map(selector).collect::<Result<_, _>>()?;
    if sets.is_empty() {
        return Err(Problem::invalid("no match[] parameter provided")
            .hint("say which series are wanted, for example match[]={job=\"node\"}"));
    }
    let now_ms = app.now();
    let range = TimeRange::millis(now_ms - app.engine().options().lookback_ms + 1, now_ms);
    app.slots()
        .run(Length::Any, app.limits().query_timeout, move |deadline| {
            text(&store, &sets, range, deadline)
        })
        .await
}

fn text(store: &Store, sets: &[Vec<Matcher>], range: TimeRange, deadline: &Deadline) -> Result<String, Problem> {
    let snapshot = store.snapshot();
    // Ordered and without doubles, as one series can meet several of the selectors.
    let mut latest: BTreeMap<Labels, (i64, f64)> = BTreeMap::new();
    let mut samples = Samples::default();
    let mut read = 0;
    for matchers in sets {
        for id in snapshot.select(matchers, range)? {
            read += 1;
            if read % SERIES_PER_CHECK == 0 && deadline.is_over() {
                return Err(Problem::new(Kind::Timeout, "the series could not be read in time")
                    .hint("ask for fewer series by a narrower match[]"));
            }
            samples.clear();
            snapshot.read(id, range, &mut samples)?;
            if let Some(last) = samples.iter().last().filter(|(_, value)| !is_stale(*value)) {
                latest.insert(snapshot.labels(id), last);
            }
        }
    }
    let kinds = store.metadata();
    let mut by_metric: BTreeMap<&str, Vec<(&Labels, i64, f64)>> = BTreeMap::new();
    for (labels, (at_ms, value)) in &latest {
        by_metric
            .entry(labels.metric())
            .or_default()
            .push((labels, *at_ms, *value));
    }
    let mut out = String::new();
    for (metric, series) in by_metric {
        let kind = match kinds.get(metric).map(|about| about.kind) {
            Some(kind @ (MetricKind::Counter | MetricKind::Gauge)) => kind.as_str(),
            _ => "untyped",
        };
        let plain = is_plain_name(metric, true);
        out += "# TYPE ";
        put_name(&mut out, metric, plain);
        out.push(' ');
        out += kind;
        out.push('\n');
        for (labels, at_ms, value) in series {
            put_series(&mut out, labels, plain);
            // Writing into a string cannot fail.
            write!(out, " {} {at_ms}", Number(value)).unwrap_or_default();
            out.push('\n');
        }
    }
    Ok(out)
}

fn put_series(out: &mut String, labels: &Labels, plain: bool) {
    if plain {
        out.push_str(labels.metric());
        out.push('{');
    } else {
        out.push('{');
        put_name(out, labels.metric(), false);
        out.push(',');
    }
    // As Prometheus does: without it the scraper's own instance would take the place of none.
    let nameless = labels.get("instance").is_none().then_some(("instance", ""));
    let pairs = labels.iter().filter(|(name, _)| *name != METRIC_NAME).chain(nameless);
    let mut separator = "";
    for (name, value) in pairs {
        out.push_str(separator);
        put_name(out, name, is_plain_name(name, false));
        out.push_str("=\"");
        put_escaped(out, value);
        out.push('"');
        separator = ",";
    }
    out.push('}');
}

fn put_name(out: &mut String, name: &str, plain: bool) {
    if plain {
        out.push_str(name);
    } else {
        out.push('"');
        put_escaped(out, name);
        out.push('"');
    }
}

fn put_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// Whether a name can stand without quotes.
fn is_plain_name(name: &str, metric: bool) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || (metric && c == ':');
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(fits)
}

struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            v if v == f64::INFINITY => f.write_str("+Inf"),
            v if v == f64::NEG_INFINITY => f.write_str("-Inf"),
            v => write!(f, "{v}"),
        }
    }
}
