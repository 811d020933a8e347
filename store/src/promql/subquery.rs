//! Windows before each step, over samples or over the answers of an inner expression, and the functions of them.

use super::Line;
use std::sync::Arc;

use super::error::QueryError;
use super::evaluate::Env;
use super::function::{RangeFunction, Slide};
use super::grid::Grid;
use super::labels::without_name;
use super::plan::{Node, RangeCall, Select, Window, WindowInput};
use super::rolled::OfSeries;
use super::scalar::Scalar;
use super::select::{Picked, drop_stale};
use super::text::Place;
use super::vector::{ABSENT, Cells, Lazy, Scratch, Shape, Table, Vector, is_absent, is_histogram, single};
use crate::{Coarseness, Labels, ResetHint};

impl<'a> Env<'a> {
    pub(super) fn range_call(&'a self, call: &'a RangeCall, grid: Grid) -> Result<Vector<'a>, QueryError> {
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            args.push(self.scalar(arg, grid)?);
        }
        let lazy = match &call.window.input {
            WindowInput::Samples(select) => self.over_samples(call, select, args, grid)?,
            WindowInput::Subquery { node, step_ms } => {
                let inner_grid = self.inner_grid(&call.window, *step_ms, grid)?;
                let inner = self.table(node, inner_grid)?;
                self.over_table(call, inner, inner_grid, args, grid)
            }
        };
        if call.function == RangeFunction::Absent {
            return self.absent_over_time(lazy, &call.absent, grid);
        }
        if matches!(call.function, RangeFunction::Rate | RangeFunction::Increase) {
            return self.note_gauges(lazy, call.place);
        }
        self.distinct(Vector::Lazy(lazy))
    }

    /// The vector, after a check that its series stay distinct where they lost their names.
    fn distinct(&self, vector: Vector<'a>) -> Result<Vector<'a>, QueryError> {
        let shape = vector.shape();
        if !shape.nameless || shape.one_name {
            return Ok(vector);
        }
        let mut table = vector.collect()?;
        table.refuse_same_labels()?;
        Ok(Vector::Ready(table))
    }

    /// Says which metrics, by their names, are no counters.
    fn note_gauges(&self, lazy: Lazy<'a>, place: Option<Place>) -> Result<Vector<'a>, QueryError> {
        let counts = |metric: &str| {
            metric.is_empty()
                || ["_total", "_sum", "_count", "_bucket"]
                    .iter()
                    .any(|suffix| metric.ends_with(suffix))
        };
        if lazy.labels.iter().all(|labels| counts(labels.metric())) {
            return self.distinct(Vector::Lazy(lazy));
        }
        let table = lazy.collect()?;
        for (row, labels) in table.labels.iter().enumerate() {
            let numbers = || table.row(row).iter().any(|v| !is_absent(*v) && !is_histogram(*v));
            if !counts(labels.metric()) && numbers() {
                self.notes.not_a_counter(labels.metric(), place);
            }
        }
        self.distinct(Vector::Ready(table))
    }

    pub(super) fn slide<'s>(
        &'s self,
        call: &'s RangeCall,
        scratch: &'s Scratch,
        grid: Grid,
        args: &'s [Scalar],
    ) -> Slide<'s> {
        Slide {
            times: &scratch.samples.timestamps,
            values: &scratch.samples.values,
            window: &call.window,
            range_ms: call.window.range_ms,
            coarseness: Coarseness::NONE,
            grid,
            args,
            first_step: 0,
            notes: &self.notes,
            place: call.place,
            arg_place: call.arg_place,
        }
    }

    fn shape_after(&self, function: RangeFunction, grid: Grid, one_name: bool, nameless: bool) -> Shape {
        Shape {
            steps: grid.count,
            nameless: nameless || !function.keeps_name(),
            one_name,
        }
    }

    fn over_samples(
        &'a self,
        call: &'a RangeCall,
        select: &'a Select,
        args: Vec<Scalar>,
        grid: Grid,
    ) -> Result<Lazy<'a>, QueryError> {
        let Picked {
            ids,
            labels,
            range,
            one_name,
        } = self.pick(select, self.coarse_range(self.window_range(&call.window, grid)))?;
        let shape = self.shape_after(call.function, grid, one_name, false);
        let names = labels.clone();
        let fill = Box::new(
            move |row: usize, scratch: &mut Scratch, out: &mut [f64], cells: &mut Cells| {
                if self.coarseness.resolution_at(range.start.0) > 0 {
                    let series = OfSeries {
                        select,
                        id: ids[row],
                        metric: names[row].metric(),
                        range,
                    };
                    return self.slid_over_rollups(call, series, scratch, grid, &args, out, cells);
                }
                self.read(select, ids[row], range, scratch)?;
                drop_stale(scratch);
                self.slid(call, scratch, grid, &args, names[row].metric(), out, cells)
            },
        );
        Ok(Lazy {
            labels,
            shape,
            fill,
            budget: Arc::clone(&self.budget),
            deadline: self.deadline.clone(),
        })
    }

    fn over_table(
        &'a self,
        call: &'a RangeCall,
        inner: Table,
        inner_grid: Grid,
        args: Vec<Scalar>,
        grid: Grid,
    ) -> Lazy<'a> {
        let shape = self.shape_after(call.function, grid, inner.shape.one_name, inner.shape.nameless);
        let labels = if inner.shape.nameless {
            inner.labels.iter().map(without_name).collect()
        } else {
            inner.labels.clone()
        };
        let fill = Box::new(
            move |row: usize, scratch: &mut Scratch, out: &mut [f64], cells: &mut Cells| {
                scratch.clear();
                for (step, &value) in inner.row(row).iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
                    if is_histogram(value)
                        && let Some(histogram) = inner.histogram(row, step)
                    {
                        let mut histogram = Arc::clone(histogram);
                        if matches!(histogram.reset, ResetHint::Reset | ResetHint::NotReset) {
                            // Told about the sample before, which the steps may have left out, or show twice.
                            Arc::make_mut(&mut histogram).reset = ResetHint::Unknown;
                        }
                        scratch.histograms.push(inner_grid.at(step), histogram);
                    } else {
                        scratch.samples.push(inner_grid.at(step), value);
                    }
                }
                let metric = if inner.shape.nameless {
                    ""
                } else {
                    inner.labels[row].metric()
                };
                self.slid(call, scratch, grid, &args, metric, out, cells)
            },
        );
        Lazy {
            labels,
            shape,
            fill,
            budget: Arc::clone(&self.budget),
            deadline: self.deadline.clone(),
        }
    }

    /// The function of each window of one series.
    #[expect(
        clippy::too_many_arguments,
        reason = "a series, its windows, and where the result goes"
    )]
    fn slid(
        &self,
        call: &RangeCall,
        scratch: &Scratch,
        grid: Grid,
        args: &[Scalar],
        metric: &str,
        out: &mut [f64],
        cells: &mut Cells,
    ) -> Result<(), QueryError> {
        let slide = self.slide(call, scratch, grid, args);
        call.function.apply(&slide, out)?;
        if !scratch.histograms.is_empty() {
            call.function
                .apply_mixed(&slide, &scratch.histograms, metric, out, cells);
        }
        Ok(())
    }

    /// The steps of a subquery: multiples of its own step within the windows of all outer steps, left edge excluded.
    fn inner_grid(&self, window: &Window, step_ms: Option<i64>, grid: Grid) -> Result<Grid, QueryError> {
        let step = step_ms.unwrap_or(self.options.subquery_step_ms).max(1);
        let edge = window.reference(grid.start_ms).saturating_sub(window.range_ms);
        let mut start = step.saturating_mul(edge / step);
        if start <= edge {
            start = start.saturating_add(step);
        }
        let inner = Grid::range(start, window.reference(grid.end_ms()), step);
        // A bound before anything is evaluated; what is allocated by step is held where that is.
        self.budget.hold(inner.count)?;
        Ok(inner)
    }

    /// One series of ones, at the steps at which no series has samples.
    fn absent_over_time(&self, lazy: Lazy<'a>, labels: &Labels, grid: Grid) -> Result<Vector<'a>, QueryError> {
        let mut row = Scalar::repeated(&self.budget, grid, 1.0)?;
        lazy.stream(|_, values, _| {
            for (absent, value) in row.iter_mut().zip(values) {
                if !is_absent(*value) {
                    *absent = ABSENT;
                }
            }
            Ok(())
        })?;
        Ok(Vector::Ready(single(labels.clone(), row)))
    }

    /// A range of samples as the answer itself.
    pub(super) fn window_lines(&self, window: &Window, at_ms: i64) -> Result<Vec<Line>, QueryError> {
        match &window.input {
            WindowInput::Samples(select) => self.raw(select, window, at_ms),
            WindowInput::Subquery { node, step_ms } => {
                let grid = self.inner_grid(window, *step_ms, Grid::instant(at_ms))?;
                Ok(super::line::lines(&mut self.table(node, grid)?, grid))
            }
        }
    }

    /// A scalar at each step.
    pub(super) fn scalar(&self, node: &Node, grid: Grid) -> Result<Scalar, QueryError> {
        match self.eval(node, grid)? {
            super::evaluate::Data::Scalar(values) => Ok(values),
            _ => Err(QueryError::execution("expected a scalar")),
        }
    }
}
