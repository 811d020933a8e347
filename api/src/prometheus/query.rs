//! Instant and range queries.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use store::promql::{Answer, Deadline, Engine, Line, QueryError, QueryOptions, Stats, Summary, Value};
use store::{Snapshot, TimeRange};

use super::series::TRUNCATED;
use super::{Data, close, envelope, labels, list};
use crate::app::App;
use crate::compress::{self, Coding};
use crate::number;
use crate::params::{Params, Scope, parameter};
use crate::problem::{Kind, Problem};
use crate::stream::Out;
use crate::work::Length;

/// `GET, POST /api/v1/query`
pub(crate) async fn instant(State(app): State<App>, request: Request) -> Response {
    envelope(async { evaluate_instant(&app, Scope::read(&app, request).await?).await }.await)
}

/// `GET, POST /api/v1/query_range`
pub(crate) async fn range(State(app): State<App>, request: Request) -> Response {
    let coding = compress::accepted(request.headers());
    let answer = async { evaluate_range(&app, Scope::read(&app, request).await?, coding).await };
    answer.await.unwrap_or_else(Problem::into_prometheus)
}

/// `GET, POST /api/v1/query_exemplars`
pub(crate) async fn exemplars(State(app): State<App>, request: Request) -> Response {
    envelope(async { find_exemplars(&app, Scope::read(&app, request).await?).await }.await)
}

/// `GET, POST /api/v1/format_query`
pub(crate) async fn format(State(app): State<App>, request: Request) -> Response {
    envelope(
        async {
            let scope = Scope::read(&app, request).await?;
            let expression = parsed(&app, &scope.params)?;
            Ok(Data::from(serde_json::Value::from(expression.prettify())))
        }
        .await,
    )
}

/// `GET, POST /api/v1/parse_query`
pub(crate) async fn parse(State(app): State<App>, request: Request) -> Response {
    envelope(
        async {
            let scope = Scope::read(&app, request).await?;
            let tree = serde_json::to_value(parsed(&app, &scope.params)?);
            Ok(Data::from(
                tree.map_err(|error| Problem::from_error(Kind::Internal, &error))?,
            ))
        }
        .await,
    )
}

async fn evaluate_instant(app: &App, scope: Scope) -> Result<Data, Problem> {
    let at_ms = scope.params.time("time", app.now())?;
    let asked = Asked::read(app, &scope.params)?;
    let (engine, snapshot) = (app.engine(), scope.store.snapshot());
    let length = length_of(&engine, &snapshot, &asked, (at_ms, at_ms, 0))?;
    app.slots()
        .run(length, asked.timeout, move |deadline| {
            let answer = engine.instant(&snapshot, &asked.query, at_ms, &asked.options(deadline));
            Ok(asked.data(answer.map_err(|error| Problem::from(error).of_query())?))
        })
        .await
}

/// Values up to which evaluating them takes a few hundred microseconds, and a millisecond or so.
const TINY: u64 = 30_000;
const BRIEF: u64 = 100_000;

fn length_of(engine: &Engine, snapshot: &Snapshot, asked: &Asked, times: (i64, i64, i64)) -> Result<Length, Problem> {
    let effort = engine.effort(snapshot, &asked.query, times, &asked.options(&Deadline::default()));
    let effort = effort.map_err(|error| Problem::from(error).of_query())?;
    Ok(Length::of(effort, TINY, BRIEF))
}

async fn find_exemplars(app: &App, scope: Scope) -> Result<Data, Problem> {
    let params = &scope.params;
    let (start_ms, end_ms) = (params.time("start", i64::MIN)?, params.time("end", i64::MAX)?);
    if end_ms < start_ms {
        return Err(parameter("end", "end timestamp must not be before start timestamp"));
    }
    let query = params.get("query").unwrap_or("");
    let selectors = store::promql::selectors(query).map_err(|error| Problem::from(error).of_query())?;
    let store = scope.store;
    app.slots()
        .run(Length::Any, app.limits().query_timeout, move |_| {
            let snapshot = store.snapshot();
            // Exemplars of series that have no samples in the range are wanted as well.
            let mut ids = BTreeSet::new();
            for matchers in &selectors {
                ids.extend(snapshot.select(matchers, TimeRange::ALL)?);
            }
            let ids: Vec<_> = ids.into_iter().collect();
            let mut found: Vec<_> = store
                .exemplars(&ids, TimeRange::millis(start_ms, end_ms))
                .into_iter()
                .map(|(id, exemplars)| (snapshot.labels(id), exemplars))
                .collect();
            found.sort_by(|(a, _), (b, _)| a.cmp(b));
            let mut data = Data::default();
            list(&mut data.json, found, |out, (series, exemplars)| {
                out.extend_from_slice(br#"{"seriesLabels":"#);
                labels(out, &series);
                out.extend_from_slice(br#","exemplars":"#);
                list(out, exemplars, |out, exemplar| {
                    out.extend_from_slice(br#"{"labels":"#);
                    labels(out, &exemplar.labels);
                    out.extend_from_slice(br#","value":""#);
                    number::sample(out, exemplar.value);
                    out.extend_from_slice(br#"","timestamp":"#);
                    number::seconds(out, exemplar.at_ms);
                    out.push(b'}');
                });
                out.push(b'}');
            });
            Ok(data)
        })
        .await
}

async fn evaluate_range(app: &App, scope: Scope, coding: Option<Coding>) -> Result<Response, Problem> {
    let params = &scope.params;
    let (start_ms, end_ms) = (params.need_time("start")?, params.need_time("end")?);
    if end_ms < start_ms {
        return Err(parameter("end", "end timestamp must not be before start time"));
    }
    let step_ms = params
        .duration("step")?
        .ok_or_else(|| parameter("step", "cannot parse \"\" to a valid duration"))?;
    if step_ms <= 0 {
        return Err(parameter(
            "step",
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    // Not the query is wrong here but what it is asked over, so that this comes before, and without its name.
    let max = app.engine().options().max_points;
    if (end_ms - start_ms) / step_ms > i64::try_from(max).unwrap_or(i64::MAX) {
        return Err(QueryError::TooManyPoints { max }.into());
    }
    let asked = Asked::read(app, params)?;
    let (engine, snapshot) = (app.engine(), scope.store.snapshot());
    let length = length_of(&engine, &snapshot, &asked, (start_ms, end_ms, step_ms))?;
    let answer = app
        .slots()
        .stream(length, Some(asked.timeout), coding, move |deadline, out| {
            let mut lines = Lines::new(&asked, out);
            let summary = engine.range_lines(
                &snapshot,
                &asked.query,
                start_ms,
                end_ms,
                step_ms,
                &asked.options(deadline),
                &mut |line| lines.add(&line),
            );
            lines.finish(summary.map_err(|error| Problem::from(error).of_query())?)
        });
    Ok(answer.await?.into_response("application/json"))
}

/// The series of a range query, written as they come.
struct Lines<'a> {
    asked: &'a Asked,
    out: &'a mut Out,
    count: usize,
    truncated: bool,
    failed: Option<Problem>,
}

impl<'a> Lines<'a> {
    fn new(asked: &'a Asked, out: &'a mut Out) -> Self {
        out.buffer()
            .extend_from_slice(br#"{"status":"success","data":{"resultType":"matrix","result":["#);
        Self {
            asked,
            out,
            count: 0,
            truncated: false,
            failed: None,
        }
    }

    fn add(&mut self, line: &Line) -> ControlFlow<()> {
        if self.asked.limit.is_some_and(|limit| self.count >= limit) {
            self.truncated = true;
            return ControlFlow::Break(());
        }
        if self.count > 0 {
            self.out.buffer().push(b',');
        }
        self.count += 1;
        write_line(self.out.buffer(), line);
        match self.out.settle() {
            Ok(()) => ControlFlow::Continue(()),
            Err(problem) => {
                self.failed = Some(problem);
                ControlFlow::Break(())
            }
        }
    }

    fn finish(self, summary: Summary) -> Result<(), Problem> {
        if let Some(problem) = self.failed {
            return Err(problem);
        }
        let Summary {
            mut warnings,
            infos,
            stats,
        } = summary;
        if self.truncated {
            warnings.push(TRUNCATED.to_owned());
        }
        let out = self.out.buffer();
        out.push(b']');
        if self.asked.stats {
            write_stats(out, stats);
        }
        out.push(b'}');
        close(out, &warnings, &infos);
        Ok(())
    }
}

impl Problem {
    /// As Prometheus says it: what cannot be parsed is a bad parameter.
    fn of_query(self) -> Self {
        match self.kind() {
            Kind::Invalid => {
                let named = parameter("query", self.detail());
                match self.hint_text() {
                    Some(hint) => named.hint(hint.to_owned()),
                    None => named,
                }
            }
            _ => self,
        }
    }
}

fn parsed(app: &App, params: &Params) -> Result<promql_parser::parser::Expr, Problem> {
    let parsed = app.engine().parse(params.get("query").unwrap_or(""));
    parsed.map_err(|error| Problem::from(error).of_query())
}

/// What instant and range queries are asked alike.
struct Asked {
    query: String,
    timeout: Duration,
    lookback_ms: Option<i64>,
    limit: Option<usize>,
    stats: bool,
    // Steps of an earlier answer may be taken where they are still true.
    reuse: bool,
}

impl Asked {
    fn read(app: &App, params: &Params) -> Result<Self, Problem> {
        let longest = app.limits().query_timeout;
        let timeout = match params.duration("timeout")? {
            Some(wanted) => Duration::from_millis(u64::try_from(wanted).unwrap_or(0)).min(longest),
            None => longest,
        };
        Ok(Self {
            query: params.get("query").unwrap_or("").to_owned(),
            timeout,
            lookback_ms: params.duration("lookback_delta")?.filter(|&delta| delta > 0),
            limit: params.limit("limit")?,
            stats: params.get("stats").is_some(),
            // As VictoriaMetrics calls it.
            reuse: !matches!(params.get("nocache"), Some("1" | "true")),
        })
    }

    fn options(&self, deadline: &Deadline) -> QueryOptions {
        QueryOptions {
            lookback_ms: self.lookback_ms,
            deadline: deadline.clone(),
            reuse: self.reuse,
        }
    }

    fn data(&self, answer: Answer) -> Data {
        let Answer {
            mut value,
            mut warnings,
            infos,
            stats,
        } = answer;
        let limit = self.limit.unwrap_or(usize::MAX);
        let before = size(&value);
        match &mut value {
            Value::Vector(points) => points.truncate(limit),
            Value::Matrix(lines) => lines.truncate(limit),
            _ => {}
        }
        if size(&value) < before {
            warnings.push(TRUNCATED.to_owned());
        }
        let mut json = Vec::with_capacity(256);
        write_value(&mut json, &value);
        if self.stats {
            // The value is a closed object; its last brace makes room for one more member.
            json.pop();
            write_stats(&mut json, stats);
            json.push(b'}');
        }
        Data { json, warnings, infos }
    }
}

/// Appends the member `stats` to an object that is not closed yet.
fn write_stats(out: &mut Vec<u8>, stats: Stats) {
    let stats = serde_json::json!({
        "timings": { "evalTotalTime": 0, "resultSortTime": 0, "queryPreparationTime": 0, "innerEvalTime": 0,
                     "execQueueTime": 0, "execTotalTime": 0 },
        "samples": { "totalQueryableSamples": stats.samples, "peakSamples": stats.peak_values, "series": stats.series },
        "steps": { "evaluated": stats.steps, "cache": stats.reused_steps },
    });
    out.extend_from_slice(br#","stats":"#);
    out.extend_from_slice(stats.to_string().as_bytes());
}

fn size(value: &Value) -> usize {
    match value {
        Value::Vector(points) => points.len(),
        Value::Matrix(lines) => lines.len(),
        _ => 0,
    }
}

/// Appends `[time, histogram]` (Prometheus, `util/jsonutil`: `MarshalHistogram`): each bucket as which of its ends belong to it (0 the
/// upper, 1 the lower, 2 none, 3 both), lower end, upper end, count.
fn write_histogram(out: &mut Vec<u8>, at_ms: i64, histogram: &store::Histogram) {
    let quoted = |out: &mut Vec<u8>, v: f64| {
        out.push(b'"');
        number::sample(out, v);
        out.push(b'"');
    };
    out.push(b'[');
    number::seconds(out, at_ms);
    out.extend_from_slice(br#",{"count":"#);
    quoted(out, histogram.count);
    out.extend_from_slice(br#","sum":"#);
    quoted(out, histogram.sum);
    let mut spans = histogram.spans().peekable();
    if spans.peek().is_some() {
        out.extend_from_slice(br#","buckets":"#);
        list(out, spans, |out, span| {
            let closed = match span.closed {
                (false, true) => b'0',
                (true, false) => b'1',
                (false, false) => b'2',
                (true, true) => b'3',
            };
            out.extend_from_slice(&[b'[', closed]);
            for number in [span.lower, span.upper, span.count] {
                out.push(b',');
                quoted(out, number);
            }
            out.push(b']');
        });
    }
    out.extend_from_slice(b"}]");
}

/// Appends `{"resultType":...,"result":...}`.
pub(crate) fn write_value(out: &mut Vec<u8>, value: &Value) {
    let quoted = |out: &mut Vec<u8>, v: f64| {
        out.push(b'"');
        number::sample(out, v);
        out.push(b'"');
    };
    match value {
        Value::Scalar { t, v } => {
            out.extend_from_slice(br#"{"resultType":"scalar","result":["#);
            number::seconds(out, *t);
            out.extend_from_slice(b",\"");
            number::plain(out, *v);
            out.extend_from_slice(b"\"]}");
        }
        Value::String { t, v } => {
            out.extend_from_slice(br#"{"resultType":"string","result":["#);
            number::seconds(out, *t);
            out.push(b',');
            number::string(out, v);
            out.extend_from_slice(b"]}");
        }
        Value::Vector(points) => {
            out.extend_from_slice(br#"{"resultType":"vector","result":"#);
            list(out, points, |out, point| {
                out.extend_from_slice(br#"{"metric":"#);
                labels(out, &point.labels);
                match &point.histogram {
                    Some(histogram) => {
                        out.extend_from_slice(br#","histogram":"#);
                        write_histogram(out, point.t, histogram);
                        out.push(b'}');
                    }
                    None => {
                        out.extend_from_slice(br#","value":["#);
                        number::seconds(out, point.t);
                        out.push(b',');
                        quoted(out, point.v);
                        out.extend_from_slice(b"]}");
                    }
                }
            });
            out.push(b'}');
        }
        Value::Matrix(lines) => {
            out.extend_from_slice(br#"{"resultType":"matrix","result":"#);
            list(out, lines, write_line);
            out.push(b'}');
        }
    }
}

/// Appends one series of a matrix.
fn write_line(out: &mut Vec<u8>, line: &Line) {
    out.extend_from_slice(br#"{"metric":"#);
    labels(out, &line.labels);
    if !line.points.is_empty() || line.histograms.is_empty() {
        out.extend_from_slice(br#","values":"#);
        list(out, &line.points, |out, &(t, v)| {
            out.push(b'[');
            number::seconds(out, t);
            out.extend_from_slice(b",\"");
            number::sample(out, v);
            out.extend_from_slice(b"\"]");
        });
    }
    if !line.histograms.is_empty() {
        out.extend_from_slice(br#","histograms":"#);
        list(out, &line.histograms, |out, (t, histogram)| {
            write_histogram(out, *t, histogram)
        });
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests;
