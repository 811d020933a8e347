//! PromQL with the semantics of Prometheus 3.5, evaluated series by series.
//!
//! ```text
//! text ► checked (text) ► parsed (promql-parser) ► plan ► evaluate ► answer
//!                                                         │ a selector: select once, read each series once
//!                                                         │ a range function: windows slide over one slice per series
//!                                                         └ an aggregation: rows stream into the groups' accumulators
//! ```
//! Every vector is a table of series by steps; a missing value is the staleness marker, which no operation yields. Series are
//! produced in parallel, always combined in order, so that an answer does not depend on the number of threads.
//!
//! ```
//! use foreshock_store::promql::{Engine, Memory, QueryOptions, Value};
//! use foreshock_store::{Labels, Samples};
//!
//! let mut memory = Memory::default();
//! let up = Labels::from_pairs([("__name__", "up"), ("host", "a")]);
//! memory.insert(up, Samples { timestamps: vec![0], values: vec![1.0] });
//! let answer = Engine::default().instant(&memory, "sum(up) + 1", 60_000, &QueryOptions::default())?;
//! let Value::Vector(points) = answer.value else { panic!("a vector was expected") };
//! assert_eq!(points[0].v, 2.0);
//! # Ok::<(), foreshock_store::promql::QueryError>(())
//! ```

mod aggregate;
mod algebra;
mod annotation;
mod binary;
mod effort;
mod error;
mod evaluate;
mod function;
mod grid;
mod labels;
mod line;
mod native;
mod number;
mod pattern;
mod plan;
mod reuse;
mod rolled;
mod scalar;
mod select;
mod source;
mod stack;
mod subquery;
mod text;
mod vector;

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use promql_parser::label::MatchOp as ParsedOp;
use promql_parser::parser::Expr;

pub use error::{QueryError, QueryErrorKind};
pub(crate) use number::sum;
pub use reuse::{ResultCache, Versioned};
pub use source::{Memory, Source, SourceError};

use crate::recent::Recent;
use crate::{Histogram, Labels};
use evaluate::Parsed;
use grid::Grid;

/// How queries are evaluated, and what one query may cost.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// How far back an instant selector looks for a sample: 5 minutes in Prometheus.
    pub lookback_ms: i64,
    /// Values that one query may hold at once.
    pub max_samples: usize,
    /// Steps of a range query.
    pub max_points: usize,
    /// Time for one query, unless its deadline is nearer.
    pub timeout: Duration,
    /// Whether functions that Prometheus calls experimental are known.
    pub experimental: bool,
    /// Length of a query.
    pub max_query_bytes: usize,
    /// Levels to which parentheses, calls and chained operators may nest.
    pub max_depth: usize,
    /// Step of subqueries that name none.
    pub subquery_step_ms: i64,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            lookback_ms: 5 * 60 * 1000,
            max_samples: 50_000_000,
            max_points: 11_000,
            timeout: Duration::from_secs(120),
            experimental: false,
            max_query_bytes: 256 << 10,
            max_depth: 1000,
            subquery_step_ms: 60 * 1000,
        }
    }
}

/// When a query has to end: at an instant, or when its caller gives up.
#[derive(Clone, Debug, Default)]
pub struct Deadline {
    at: Option<Instant>,
    canceled: Arc<AtomicBool>,
}

impl Deadline {
    /// A deadline at `at`.
    #[must_use]
    pub fn at(at: Instant) -> Self {
        Self {
            at: Some(at),
            canceled: Arc::default(),
        }
    }

    /// Ends the query at its next check; clones of this deadline share the wish.
    pub fn cancel(&self) {
        self.canceled.store(true, Ordering::Relaxed);
    }

    /// Whether the query has to end now.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.check().is_err()
    }

    fn no_later_than(&self, at: Instant) -> Self {
        Self {
            at: Some(self.at.map_or(at, |own| own.min(at))),
            canceled: Arc::clone(&self.canceled),
        }
    }

    pub(crate) fn check(&self) -> Result<(), QueryError> {
        if self.canceled.load(Ordering::Relaxed) {
            return Err(QueryError::Canceled);
        }
        match self.at {
            Some(at) if Instant::now() >= at => Err(QueryError::Timeout),
            _ => Ok(()),
        }
    }
}

/// What one query asks for beside its expression.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// Another lookback than the engine's.
    pub lookback_ms: Option<i64>,
    /// When the query has to end; the engine's timeout holds as well.
    pub deadline: Deadline,
    /// Whether a range query may take steps from an earlier answer where they are still true (see [`Versioned`]).
    pub reuse: bool,
}

/// What a query yields.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The value.
    pub value: Value,
    /// What is probably wrong with the query or its data.
    pub warnings: Vec<String>,
    /// What may be wrong with it.
    pub infos: Vec<String>,
    /// What it cost.
    pub stats: Stats,
}

/// What there is to say about a range query whose series were handed over one by one.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// What is probably wrong with the query or its data.
    pub warnings: Vec<String>,
    /// What may be wrong with it.
    pub infos: Vec<String>,
    /// What it cost.
    pub stats: Stats,
}

/// The value of a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number at a time.
    Scalar {
        /// Milliseconds since 1970-01-01 UTC.
        t: i64,
        /// The number.
        v: f64,
    },
    /// A string at a time.
    String {
        /// Milliseconds since 1970-01-01 UTC.
        t: i64,
        /// The string.
        v: String,
    },
    /// One value of each series, all at one time.
    Vector(Vec<Point>),
    /// Values of each series over time.
    Matrix(Vec<Line>),
}

/// One value of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The series.
    pub labels: Labels,
    /// Milliseconds since 1970-01-01 UTC.
    pub t: i64,
    /// The value; NaN where it is a histogram.
    pub v: f64,
    /// The value, where it is a native histogram.
    pub histogram: Option<Arc<Histogram>>,
}

/// Values of a series over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The series.
    pub labels: Labels,
    /// Milliseconds since 1970-01-01 UTC, ascending, with their values.
    pub points: Vec<(i64, f64)>,
    /// The same with native histograms; at a time there is one or the other.
    pub histograms: Vec<(i64, Arc<Histogram>)>,
}

/// What a query cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Series read from the source.
    pub series: u64,
    /// Samples read from the source.
    pub samples: u64,
    /// The most values held at once.
    pub peak_values: u64,
    /// Steps evaluated.
    pub steps: u64,
    /// Steps taken from an earlier answer.
    pub reused_steps: u64,
}

/// Evaluates PromQL over a [`Source`]; cheap to make, shared by all queries. Clones share the texts that were parsed lately.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    options: EngineOptions,
    parsed: Arc<ParsedTexts>,
}

impl Engine {
    /// An engine with these options.
    #[must_use]
    pub fn new(options: EngineOptions) -> Self {
        Self {
            options,
            parsed: Arc::default(),
        }
    }

    /// The options it was made with.
    #[must_use]
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// The value of `expr` at `t_ms`.
    ///
    /// # Errors
    /// [`QueryError`], whose [`QueryError::kind`] says whose fault it is.
    pub fn instant(
        &self,
        source: &dyn Source,
        expr: &str,
        t_ms: i64,
        options: &QueryOptions,
    ) -> Result<Answer, QueryError> {
        evaluate::instant(&self.options, source, &*self.parsed(expr)?, t_ms, options)
    }

    /// The values of `expr` at `start_ms`, `start_ms + step_ms` and so on, up to `end_ms`.
    ///
    /// # Errors
    /// [`QueryError`], whose [`QueryError::kind`] says whose fault it is.
    pub fn range(
        &self,
        source: &dyn Source,
        expr: &str,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
        options: &QueryOptions,
    ) -> Result<Answer, QueryError> {
        let mut gathered = line::Gathered::new(self.options.max_samples);
        let summary = self.range_lines(source, expr, start_ms, end_ms, step_ms, options, &mut |line| {
            gathered.add(line)
        })?;
        gathered.answer(summary)
    }

    /// As [`Engine::range`], series by series in label order, so that the answer need not be in memory whole: selectors and
    /// functions of them are evaluated while their series are handed to `each`, which says when it has enough. Where steps are
    /// taken from an earlier answer ([`QueryOptions::reuse`]), the new answer is put together first: it is as small as that one.
    ///
    /// # Errors
    /// [`QueryError`], whose [`QueryError::kind`] says whose fault it is; some series may have been handed over before.
    #[expect(clippy::too_many_arguments, reason = "as `range`, and what happens with the series")]
    pub fn range_lines(
        &self,
        source: &dyn Source,
        expr: &str,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
        options: &QueryOptions,
        each: &mut dyn FnMut(Line) -> ControlFlow<()>,
    ) -> Result<Summary, QueryError> {
        if step_ms <= 0 {
            return Err(QueryError::Invalid(
                "zero or negative query resolution step widths are not accepted. Try a positive integer".to_owned(),
            ));
        }
        if end_ms < start_ms {
            return Err(QueryError::Invalid(
                "end timestamp must not be before start time".to_owned(),
            ));
        }
        if end_ms.saturating_sub(start_ms) / step_ms > self.options.max_points as i64 {
            return Err(QueryError::TooManyPoints {
                max: self.options.max_points,
            });
        }
        let grid = Grid::range(start_ms, end_ms, step_ms);
        let parsed = self.parsed(expr)?;
        reuse::range(&self.options, source, (expr, &parsed), (grid, end_ms), options, each)
    }

    /// The parsed expression, checked against this engine's bounds and functions.
    ///
    /// # Errors
    /// [`QueryError::Parse`] and the bounds on text and depth.
    pub fn parse(&self, expr: &str) -> Result<Expr, QueryError> {
        let Parsed { expr, places } = evaluate::parse(&self.options, expr)?;
        let around = plan::Surroundings {
            start_ms: 0,
            end_ms: 0,
            step_ms: 0,
            experimental: self.options.experimental,
            places: &places,
        };
        plan::plan(&expr, around)?;
        Ok(expr)
    }

    /// About how many values `expr` looks at and yields from `start_ms` to `end_ms`, at most; 100 more for each series. Taken from the
    /// index and from what is kept of earlier answers, without a look at any sample. A `step_ms` of 0 stands for one point of time.
    ///
    /// # Errors
    /// As [`Engine::parse`], whose checks of types this leaves to the evaluation.
    pub fn effort(
        &self,
        snapshot: &crate::Snapshot,
        expr: &str,
        (start_ms, end_ms, step_ms): (i64, i64, i64),
        options: &QueryOptions,
    ) -> Result<u64, QueryError> {
        let parsed = self.parsed(expr)?;
        if step_ms <= 0 {
            return Ok(effort::effort(snapshot, &parsed.expr, (start_ms, start_ms), 0, 1));
        }
        let grid = Grid::range(start_ms, end_ms, step_ms);
        let kept = reuse::kept(&self.options, snapshot, expr, grid, options);
        let points = grid.count.saturating_sub(kept) as u64;
        let span_ms = points.saturating_mul(step_ms.unsigned_abs());
        Ok(effort::effort(
            snapshot,
            &parsed.expr,
            (start_ms, end_ms),
            span_ms,
            points,
        ))
    }

    fn parsed(&self, expr: &str) -> Result<Arc<Parsed>, QueryError> {
        let parse = || evaluate::parse(&self.options, expr);
        self.parsed
            .0
            .of(expr, parse, |parsed| worth_keeping(expr, &parsed.expr))
    }
}

/// What was parsed lately: dashboards and rules come with the same texts again and again.
#[derive(Debug)]
struct ParsedTexts(Recent<Parsed>);

impl Default for ParsedTexts {
    fn default() -> Self {
        Self(Recent::new(PARSED_MAX))
    }
}

/// Texts kept parsed; with the bounds on what of them, some tens of megabytes in the worst case and one in practice.
const PARSED_MAX: usize = 256;
const PARSED_BYTES_MAX: usize = 2048;
const PARSED_PATTERN_BYTES_MAX: usize = 128;

/// Whether a text takes little memory parsed. The parser compiles patterns, and repetitions and classes of Unicode make those large.
fn worth_keeping(text: &str, expr: &Expr) -> bool {
    let plain = |pattern: &str| !pattern.contains('{') && !pattern.replace("\\.", "").contains('\\');
    let (mut pattern_bytes, mut all_plain) = (0, true);
    plan::each_selector(expr, &mut |selector, _| {
        for matcher in &selector.matchers.matchers {
            if matches!(matcher.op, ParsedOp::Re(_) | ParsedOp::NotRe(_)) {
                pattern_bytes += matcher.value.len();
                all_plain &= plain(&matcher.value);
            }
        }
    });
    text.len() <= PARSED_BYTES_MAX && pattern_bytes <= PARSED_PATTERN_BYTES_MAX && all_plain
}

/// The parsed expression, checked as an engine with default options would.
///
/// # Errors
/// [`QueryError::Parse`] and the bounds on text and depth.
pub fn parse(expr: &str) -> Result<Expr, QueryError> {
    Engine::default().parse(expr)
}

/// The matchers of a selector such as `up{job="a"}`, as `match[]` parameters carry them.
///
/// # Errors
/// [`QueryError::Parse`] when the text is no instant selector.
pub fn parse_selector(selector: &str) -> Result<Vec<crate::Matcher>, QueryError> {
    match evaluate::parse(&EngineOptions::default(), selector)?.expr {
        Expr::VectorSelector(parsed) if parsed.offset.is_none() && parsed.at.is_none() => {
            plan::matchers(parsed.name.as_deref(), &parsed.matchers)
        }
        _ => Err(QueryError::Parse(format!("{selector:?} is no series selector"))),
    }
}

/// A matcher as a selector has it: regular expressions are read as PromQL reads them.
///
/// # Errors
/// [`QueryError::Parse`] when the value is no regular expression and has to be one.
pub fn matcher(op: crate::MatchOp, name: &str, value: &str) -> Result<crate::Matcher, QueryError> {
    plan::matcher(op, name, value)
}

/// The matchers of every selector in an expression, in the order of its text, those of subqueries and ranges among them.
///
/// # Errors
/// As [`parse`].
pub fn selectors(expr: &str) -> Result<Vec<Vec<crate::Matcher>>, QueryError> {
    let parsed = evaluate::parse(&EngineOptions::default(), expr)?;
    let mut found = Vec::new();
    plan::each_selector(&parsed.expr, &mut |selector, _| {
        found.push(plan::matchers(selector.name.as_deref(), &selector.matchers));
    });
    found.into_iter().collect()
}
