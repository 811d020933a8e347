//! Rows of a vector as series over time, one after the other.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::error::QueryError;
use super::grid::Grid;
use super::labels;
use super::vector::{Lazy, Table, Vector, histogram_at, is_absent, weight};
use super::{Answer, Line, Summary, Value};
use crate::{Histogram, Labels};

/// Lines of a range query as one answer, as long as a query may hold so many values.
pub(super) struct Gathered {
    lines: Vec<Line>,
    held: usize,
    max: usize,
}

impl Gathered {
    pub(super) fn new(max: usize) -> Self {
        Self {
            lines: Vec::new(),
            held: 0,
            max,
        }
    }

    pub(super) fn add(&mut self, line: Line) -> ControlFlow<()> {
        self.held += line.points.len() + line.histograms.iter().map(|(_, h)| weight(h)).sum::<usize>();
        if self.held > self.max {
            return ControlFlow::Break(());
        }
        self.lines.push(line);
        ControlFlow::Continue(())
    }

    pub(super) fn answer(self, summary: Summary) -> Result<Answer, QueryError> {
        if self.held > self.max {
            return Err(QueryError::TooManySamples { max: self.max });
        }
        let Summary {
            warnings,
            infos,
            mut stats,
        } = summary;
        stats.peak_values += self.held as u64;
        Ok(Answer {
            value: Value::Matrix(self.lines),
            warnings,
            infos,
            stats,
        })
    }
}

/// The rows of a table as lines, without missing values.
pub(super) fn lines(table: &mut Table, grid: Grid) -> Vec<Line> {
    table.settle_names();
    (0..table.rows())
        .filter_map(|row| line(table.labels[row].clone(), grid, table.row(row), table.cells(row)))
        .collect()
}

/// A row as a line; `None` where it has no value at any step.
fn line(labels: Labels, grid: Grid, row: &[f64], cells: &[(u32, Arc<Histogram>)]) -> Option<Line> {
    let (mut points, mut histograms) = (Vec::new(), Vec::new());
    for (step, (t, &v)) in grid.times().zip(row).enumerate() {
        match histogram_at(row, cells, step) {
            Some(histogram) => histograms.push((t, Arc::clone(histogram))),
            None if is_absent(v) => {}
            None => points.push((t, v)),
        }
    }
    (!points.is_empty() || !histograms.is_empty()).then_some(Line {
        labels,
        points,
        histograms,
    })
}

impl Vector<'_> {
    /// Hands the rows to `each` in label order, until it has enough. Rows that are computed as they are asked for are never
    /// all in memory at once.
    pub(super) fn each_line(self, grid: Grid, each: &mut dyn FnMut(Line) -> ControlFlow<()>) -> Result<(), QueryError> {
        match self {
            Vector::Ready(mut table) => {
                table.settle_names();
                for row in ascending(&table.labels) {
                    let found = line(table.labels[row].clone(), grid, table.row(row), table.cells(row));
                    if found.is_some_and(|line| each(line).is_break()) {
                        break;
                    }
                }
                Ok(())
            }
            Vector::Lazy(lazy) => lazy.sorted().each_line(grid, each),
        }
    }
}

impl Lazy<'_> {
    /// The same rows in the order of their labels as they are seen.
    fn sorted(mut self) -> Self {
        if self.shape.nameless {
            for seen in &mut self.labels {
                *seen = labels::without_name(seen);
            }
            self.shape.nameless = false;
            self.shape.one_name = true;
        }
        let order = ascending(&self.labels);
        if order.is_sorted() {
            return self;
        }
        self.labels = order.iter().map(|&row| self.labels[row].clone()).collect();
        let unsorted = self.fill;
        self.fill = Box::new(move |row, scratch, values, cells| unsorted(order[row], scratch, values, cells));
        self
    }

    fn each_line(&self, grid: Grid, each: &mut dyn FnMut(Line) -> ControlFlow<()>) -> Result<(), QueryError> {
        let mut enough = false;
        let streamed = self.stream(|row, values, cells| {
            enough = line(self.labels[row].clone(), grid, values, cells).is_some_and(|line| each(line).is_break());
            // The way to end a walk over rows is an error; this one goes no further than the next lines.
            if enough { Err(QueryError::Canceled) } else { Ok(()) }
        });
        if enough { Ok(()) } else { streamed }
    }
}

fn ascending(labels: &[Labels]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by(|&a, &b| labels[a].cmp(&labels[b]));
    order
}
