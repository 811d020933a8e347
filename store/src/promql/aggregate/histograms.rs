//! Native histograms in aggregations: added up, averaged and counted; all others leave them out and say so.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::algebra;
use super::super::annotation::Notes;
use super::super::evaluate::Env;
use super::super::grid::Grid;
use super::super::plan::{Aggregate, AggregateOp};
use super::super::text::Place;
use super::super::vector::{ABSENT, Cells, HISTOGRAM, Table, is_absent};
use crate::Histogram;

/// The histograms of all groups and steps, as far as there are any.
pub(super) struct Gathered<'a> {
    aggregate: &'a Aggregate,
    steps: usize,
    cells: HashMap<usize, Group>,
}

struct Group {
    value: Histogram,
    count: f64,
    // Their buckets cannot be put together.
    mismatched: bool,
}

impl<'a> Gathered<'a> {
    pub(super) fn of(aggregate: &'a Aggregate, _groups: usize, grid: Grid) -> Self {
        Self {
            aggregate,
            steps: grid.count,
            cells: HashMap::new(),
        }
    }

    /// Takes a histogram of a group at a step; answers whether it counts like any number.
    pub(super) fn add(&mut self, cell: usize, histogram: &Arc<Histogram>, metric: &str, notes: &Notes) -> bool {
        let op = self.aggregate.op;
        match op {
            AggregateOp::Count | AggregateOp::Group => return true,
            AggregateOp::Sum | AggregateOp::Avg => {}
            _ => {
                notes.ignored_in_aggregation(name_of(op), self.place());
                return false;
            }
        }
        let Some(group) = self.cells.get_mut(&cell) else {
            let group = Group {
                value: Histogram::clone(histogram),
                count: 1.0,
                mismatched: false,
            };
            self.cells.insert(cell, group);
            return false;
        };
        if group.mismatched {
            return false;
        }
        group.count += 1.0;
        let added = if op == AggregateOp::Sum {
            algebra::add(&mut group.value, histogram)
        } else {
            algebra::average(&mut group.value, histogram, group.count)
        };
        if let Err(mismatch) = added {
            group.mismatched = true;
            notes.mismatch(mismatch, metric, self.aggregate.place);
        }
        false
    }

    /// Writes the histograms of a group, whose cells begin at `first`, over its values; where it has both, neither stays.
    pub(super) fn finish(&mut self, first: usize, values: &mut [f64], notes: &Notes) -> Cells {
        let mut cells = Cells::new();
        if self.cells.is_empty() {
            return cells;
        }
        debug_assert_eq!(values.len(), self.steps, "a value for each step");
        for (step, value) in values.iter_mut().enumerate() {
            let Some(group) = self.cells.remove(&(first + step)) else {
                continue;
            };
            if !is_absent(*value) {
                notes.mixed_aggregation(self.place());
                *value = ABSENT;
            } else if !group.mismatched {
                *value = HISTOGRAM;
                cells.push((step as u32, Arc::new(group.value)));
            }
        }
        cells
    }

    fn place(&self) -> Option<Place> {
        self.aggregate.place
    }
}

impl Env<'_> {
    /// Drops the histograms of a vector before an aggregation that ranks numbers.
    pub(super) fn leave_numbers(&self, aggregate: &Aggregate, table: &mut Table) {
        if table.has_histograms() {
            let steps = table.shape.steps;
            let any = (0..table.rows()).any(|row| (0..steps).any(|step| table.histogram(row, step).is_some()));
            if any {
                self.notes
                    .ignored_in_aggregation(name_of(aggregate.op), aggregate.place);
            }
            table.drop_histograms();
        }
    }
}

fn name_of(op: AggregateOp) -> &'static str {
    match op {
        AggregateOp::Min => "min",
        AggregateOp::Max => "max",
        AggregateOp::Stddev => "stddev",
        AggregateOp::Stdvar => "stdvar",
        AggregateOp::Quantile => "quantile",
        AggregateOp::Topk => "topk",
        AggregateOp::Bottomk => "bottomk",
        AggregateOp::Sum => "sum",
        AggregateOp::Avg => "avg",
        AggregateOp::Count => "count",
        AggregateOp::Group => "group",
        AggregateOp::CountValues => "count_values",
        AggregateOp::Limitk => "limitk",
        AggregateOp::LimitRatio => "limit_ratio",
    }
}
