//! Functions of whole vectors: which evaluation answers which call.

use super::super::error::QueryError;
use super::super::evaluate::{Data, Env};
use super::super::grid::Grid;
use super::super::number::{go_max, go_min};
use super::super::plan::{Call, Function, Node};
use super::super::scalar::Scalar;
use super::super::vector::{ABSENT, Vector, histogram_at, is_absent, single};
use crate::Labels;

impl<'a> Env<'a> {
    pub(in super::super) fn call(&'a self, call: &'a Call, grid: Grid) -> Result<Data<'a>, QueryError> {
        let vector = match (call.function, call.args.as_slice()) {
            (Function::Elementwise(function), _) => self.elementwise(function, call, grid)?,
            (Function::Scalar, [vector]) => return Ok(Data::Scalar(self.only_value(vector, grid)?)),
            (Function::MaxOf, [a, b]) => return self.pairwise(a, b, grid, go_max),
            (Function::MinOf, [a, b]) => return self.pairwise(a, b, grid, go_min),
            (Function::Vector, [scalar]) => {
                let row = self.scalar(scalar, grid)?;
                Vector::Ready(single(Labels::empty(), row))
            }
            (Function::Absent, [vector]) => {
                let mut row = Scalar::repeated(&self.budget, grid, 1.0)?;
                self.vector(vector, grid)?.stream(|_, values, _| {
                    for (absent, value) in row.iter_mut().zip(values) {
                        if !is_absent(*value) {
                            *absent = ABSENT;
                        }
                    }
                    Ok(())
                })?;
                Vector::Ready(single(call.absent.clone(), row))
            }
            (Function::Sort, [vector]) => Vector::Ready(self.sorted(vector, grid, false)?),
            (Function::SortDesc, [vector]) => Vector::Ready(self.sorted(vector, grid, true)?),
            (Function::SortByLabel, [vector, names @ ..]) => {
                Vector::Ready(self.sorted_by_label(vector, names, grid, false)?)
            }
            (Function::SortByLabelDesc, [vector, names @ ..]) => {
                Vector::Ready(self.sorted_by_label(vector, names, grid, true)?)
            }
            (Function::LabelReplace, [vector, rest @ ..]) => Vector::Ready(self.label_replace(vector, rest, grid)?),
            (Function::LabelJoin, [vector, rest @ ..]) => Vector::Ready(self.label_join(vector, rest, grid)?),
            (Function::HistogramQuantile, [q, vector]) => {
                Vector::Ready(self.histogram_quantile(q, vector, &call.places, grid)?)
            }
            (Function::HistogramFraction, [lower, upper, vector]) => {
                Vector::Ready(self.histogram_fraction(lower, upper, vector, &call.places, grid)?)
            }
            (Function::OfHistogram(what), [vector]) => self.of_histogram(what, vector, grid)?,
            (Function::Info, [vector, rest @ ..]) => Vector::Ready(self.info(vector, rest.first(), grid)?),
            _ => return Err(QueryError::execution("wrong number of arguments")),
        };
        Ok(Data::Vector(vector))
    }

    /// `scalar()`: the value of the only series at each step, NaN where there is none or several.
    fn only_value(&'a self, node: &'a Node, grid: Grid) -> Result<Scalar, QueryError> {
        let mut values = Scalar::repeated(&self.budget, grid, ABSENT)?;
        let _held = self.budget.hold(grid.count / 8)?;
        let mut several = vec![false; grid.count];
        self.vector(node, grid)?.stream(|_, row, cells| {
            for (step, &value) in row.iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
                if histogram_at(row, cells, step).is_some() {
                    continue;
                }
                several[step] |= !is_absent(values[step]);
                values[step] = value;
            }
            Ok(())
        })?;
        for (value, several) in values.iter_mut().zip(several) {
            if several || is_absent(*value) {
                *value = f64::NAN;
            }
        }
        Ok(values)
    }

    fn pairwise(&'a self, a: &Node, b: &Node, grid: Grid, choose: fn(f64, f64) -> f64) -> Result<Data<'a>, QueryError> {
        let (mut a, b) = (self.scalar(a, grid)?, self.scalar(b, grid)?);
        a.iter_mut().zip(&*b).for_each(|(a, b)| *a = choose(*a, *b));
        Ok(Data::Scalar(a))
    }
}

/// The text of a string argument.
pub(super) fn text(node: Option<&Node>) -> Result<&str, QueryError> {
    match node {
        Some(Node::Text(text)) => Ok(text),
        _ => Err(QueryError::execution("expected a string")),
    }
}
