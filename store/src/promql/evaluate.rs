//! From a query to its answer: the one walk over the plan.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use promql_parser::parser::Expr;
use promql_parser::parser::value::ValueType;

use super::algebra;
use super::annotation::Notes;
use super::error::QueryError;
use super::grid::Grid;
use super::plan::{self, Kind, Node, Surroundings};
use super::scalar::Scalar;
use super::select::Yield;
use super::source::Source;
use super::stack;
use super::text::{self, Places};
use super::vector::{Budget, Cells, HISTOGRAM, Table, Vector, is_absent, take_histograms};
use super::{Answer, Deadline, EngineOptions, Line, Point, QueryOptions, Stats, Summary, Value};
use crate::{Coarseness, Labels};

/// What one query works with.
pub(super) struct Env<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) options: &'a EngineOptions,
    pub(super) lookback_ms: i64,
    pub(super) coarseness: Coarseness,
    pub(super) deadline: Deadline,
    pub(super) budget: Arc<Budget>,
    pub(super) notes: Notes,
    pub(super) series: AtomicU64,
    pub(super) samples: AtomicU64,
}

/// What a node yields at all steps.
pub(super) enum Data<'a> {
    Scalar(Scalar),
    Vector(Vector<'a>),
    Text(String),
}

/// A parsed text, and where its parts stand.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) expr: Expr,
    pub(super) places: Places,
}

pub(super) fn parse(options: &EngineOptions, query: &str) -> Result<Parsed, QueryError> {
    let checked = text::check(query, options.max_query_bytes, options.max_depth)?;
    let expr =
        promql_parser::parser::parse(&checked.text).map_err(|said| QueryError::Parse(said.replace('\'', "\"")))?;
    Ok(Parsed {
        expr,
        places: checked.places,
    })
}

/// The value of a query at one time.
pub(super) fn instant(
    options: &EngineOptions,
    source: &dyn Source,
    parsed: &Parsed,
    at_ms: i64,
    asked: &QueryOptions,
) -> Result<Answer, QueryError> {
    let grid = Grid::instant(at_ms);
    let times = Times {
        grid,
        end_ms: at_ms,
        step_ms: 0,
    };
    let (value, Summary { warnings, infos, stats }) =
        evaluated(options, source, parsed, times, asked, |env, node, kind| {
            env.instant(node, kind, at_ms)
        })?;
    Ok(Answer {
        value,
        warnings,
        infos,
        stats,
    })
}

/// Hands the values of a query at all steps to `each`, series by series in label order, until it has enough.
pub(super) fn range(
    options: &EngineOptions,
    source: &dyn Source,
    parsed: &Parsed,
    grid: Grid,
    end_ms: i64,
    asked: &QueryOptions,
    each: &mut dyn FnMut(Line) -> ControlFlow<()>,
) -> Result<Summary, QueryError> {
    let kind = parsed.expr.value_type();
    if !matches!(kind, ValueType::Scalar | ValueType::Vector) {
        let found = if kind == ValueType::Matrix {
            "range vector"
        } else {
            "string"
        };
        return Err(QueryError::Invalid(format!(
            "invalid expression type {found:?} for range query, must be Scalar or instant Vector"
        )));
    }
    let times = Times {
        grid,
        end_ms,
        step_ms: grid.step_ms,
    };
    let ((), summary) = evaluated(options, source, parsed, times, asked, |env, node, kind| {
        env.range(node, kind, grid, each)
    })?;
    Ok(summary)
}

/// When a query looks, and what it was asked for.
#[derive(Clone, Copy, Debug)]
struct Times {
    grid: Grid,
    end_ms: i64,
    step_ms: i64,
}

/// Plans the parsed query and lets `work` evaluate it.
fn evaluated<T>(
    options: &EngineOptions,
    source: &dyn Source,
    parsed: &Parsed,
    times: Times,
    asked: &QueryOptions,
    work: impl FnOnce(&Env<'_>, &Node, Kind) -> Result<T, QueryError>,
) -> Result<(T, Summary), QueryError> {
    let around = Surroundings {
        start_ms: times.grid.start_ms,
        end_ms: times.end_ms,
        step_ms: times.step_ms,
        experimental: options.experimental,
        places: &parsed.places,
    };
    let (node, kind) = plan::plan(&parsed.expr, around)?;
    let env = Env {
        source,
        options,
        coarseness: source.coarseness(),
        lookback_ms: asked.lookback_ms.filter(|&ms| ms > 0).unwrap_or(options.lookback_ms),
        deadline: asked.deadline.no_later_than(Instant::now() + options.timeout),
        budget: Budget::new(options.max_samples),
        notes: Notes::default(),
        series: AtomicU64::new(0),
        samples: AtomicU64::new(0),
    };
    let value = work(&env, &node, kind)?;
    let stats = Stats {
        series: env.series.load(Ordering::Relaxed),
        samples: env.samples.load(Ordering::Relaxed),
        peak_values: env.budget.peak(),
        steps: times.grid.count as u64,
        reused_steps: 0,
    };
    let (warnings, infos) = env.notes.into_texts();
    Ok((value, Summary { warnings, infos, stats }))
}

impl Env<'_> {
    fn instant(&self, node: &Node, kind: Kind, t: i64) -> Result<Value, QueryError> {
        if let Node::Window(window) = node {
            let mut lines = self.window_lines(window, t)?;
            lines.sort_by(|a, b| a.labels.cmp(&b.labels));
            return Ok(Value::Matrix(lines));
        }
        let grid = Grid::instant(t);
        Ok(match self.eval(node, grid)? {
            Data::Scalar(values) => Value::Scalar { t, v: values[0] },
            Data::Text(v) => Value::String { t, v },
            Data::Vector(vector) => {
                debug_assert_eq!(kind, Kind::Vector, "the plan knows the kind of its root");
                let mut table = vector.collect()?;
                table.settle_names();
                let points = (0..table.rows())
                    .filter(|row| !is_absent(table.values[*row]))
                    .map(|row| {
                        let histogram = table.histogram(row, 0).map(Arc::clone);
                        Point {
                            labels: table.labels[row].clone(),
                            t,
                            v: if histogram.is_some() {
                                f64::NAN
                            } else {
                                table.values[row]
                            },
                            histogram,
                        }
                    });
                Value::Vector(points.collect())
            }
        })
    }

    fn range(
        &self,
        node: &Node,
        kind: Kind,
        grid: Grid,
        each: &mut dyn FnMut(Line) -> ControlFlow<()>,
    ) -> Result<(), QueryError> {
        match self.eval(node, grid)? {
            Data::Scalar(values) => {
                let line = Line {
                    labels: Labels::empty(),
                    points: grid.times().zip(values.iter().copied()).collect(),
                    histograms: Vec::new(),
                };
                // There is nothing after it to be spared.
                let (ControlFlow::Continue(()) | ControlFlow::Break(())) = each(line);
                Ok(())
            }
            Data::Text(_) => Err(QueryError::execution("a string has no range")),
            Data::Vector(vector) => {
                debug_assert_eq!(kind, Kind::Vector, "the plan knows the kind of its root");
                vector.each_line(grid, each)
            }
        }
    }
}

impl<'a> Env<'a> {
    pub(super) fn eval(&'a self, node: &'a Node, grid: Grid) -> Result<Data<'a>, QueryError> {
        stack::deeper(|| self.level(node, grid))
    }

    fn level(&'a self, node: &'a Node, grid: Grid) -> Result<Data<'a>, QueryError> {
        self.deadline.check()?;
        Ok(match node {
            Node::Number(number) => Data::Scalar(Scalar::repeated(&self.budget, grid, *number)?),
            Node::Text(text) => Data::Text(text.clone()),
            Node::Time => Data::Scalar(Scalar::of_times(&self.budget, grid, |t| t as f64 / 1000.0)?),
            Node::Select(select) => Data::Vector(Vector::Lazy(self.select(select, grid, Yield::Value)?)),
            Node::Timestamp(select) => {
                let vector = Vector::Lazy(self.select(select, grid, Yield::Seconds)?);
                Data::Vector(vector.map(true, false, |_, _| {})?)
            }
            Node::Range(call) => Data::Vector(self.range_call(call, grid)?),
            Node::Negate(inner) => match self.eval(inner, grid)? {
                Data::Scalar(mut values) => {
                    values.iter_mut().for_each(|v| *v = -*v);
                    Data::Scalar(values)
                }
                Data::Vector(vector) => Data::Vector(vector.map(true, true, negate)?),
                Data::Text(_) => return Err(QueryError::execution("a string has no negative")),
            },
            Node::Binary(binary) => self.binary(binary, grid)?,
            Node::Aggregate(aggregate) => Data::Vector(Vector::Ready(self.aggregate(aggregate, grid)?)),
            Node::Call(call) => self.call(call, grid)?,
            Node::Constant(inner) => self.constant(inner, grid)?,
            Node::Window(_) => return Err(QueryError::execution("a range vector stands where a value is needed")),
        })
    }

    /// Evaluates once, and repeats the values at each step.
    fn constant(&'a self, node: &'a Node, grid: Grid) -> Result<Data<'a>, QueryError> {
        if grid.count <= 1 {
            return self.eval(node, grid);
        }
        Ok(match self.eval(node, Grid::instant(grid.start_ms))? {
            Data::Scalar(values) => Data::Scalar(Scalar::repeated(&self.budget, grid, values[0])?),
            Data::Text(text) => Data::Text(text),
            Data::Vector(vector) => {
                let once = vector.collect()?;
                let mut repeated = Table::new(
                    &self.budget,
                    super::vector::Shape {
                        steps: grid.count,
                        ..once.shape
                    },
                )?;
                for (row, labels) in once.labels.iter().enumerate() {
                    repeated.push_absent(labels.clone())?.fill(once.values[row]);
                    if let Some(histogram) = once.histogram(row, 0) {
                        let cells = (0..grid.count as u32).map(|step| (step, Arc::clone(histogram)));
                        repeated.set_cells(row, cells.collect())?;
                    }
                }
                Data::Vector(Vector::Ready(repeated))
            }
        })
    }

    pub(super) fn vector(&'a self, node: &'a Node, grid: Grid) -> Result<Vector<'a>, QueryError> {
        match self.eval(node, grid)? {
            Data::Vector(vector) => Ok(vector),
            _ => Err(QueryError::execution("expected an instant vector")),
        }
    }

    pub(super) fn table(&'a self, node: &'a Node, grid: Grid) -> Result<Table, QueryError> {
        self.vector(node, grid)?.collect()
    }
}

fn negate(row: &mut [f64], cells: &mut Cells) {
    let histograms = take_histograms(row, cells);
    for value in row.iter_mut().filter(|v| !is_absent(**v)) {
        *value = -*value;
    }
    for (step, mut histogram) in histograms {
        algebra::multiply(Arc::make_mut(&mut histogram), -1.0);
        row[step as usize] = HISTOGRAM;
        cells.push((step, histogram));
    }
}
