//! A number at each step, within the budget of its query.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::error::QueryError;
use super::grid::Grid;
use super::vector::{Budget, Held};

/// The values at the steps of a grid.
#[derive(Debug)]
pub(super) struct Scalar {
    values: Vec<f64>,
    held: Held,
}

impl Scalar {
    /// `value` at each step.
    pub(super) fn repeated(budget: &Arc<Budget>, grid: Grid, value: f64) -> Result<Self, QueryError> {
        let held = budget.hold(grid.count)?;
        let values = vec![value; grid.count];
        Ok(Self { values, held })
    }

    /// What `value` makes of the time of each step.
    pub(super) fn of_times(budget: &Arc<Budget>, grid: Grid, value: impl Fn(i64) -> f64) -> Result<Self, QueryError> {
        let held = budget.hold(grid.count)?;
        let values = grid.times().map(value).collect();
        Ok(Self { values, held })
    }

    /// The values, and what is held for them.
    pub(super) fn into_parts(self) -> (Vec<f64>, Held) {
        (self.values, self.held)
    }
}

impl Deref for Scalar {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.values
    }
}

impl DerefMut for Scalar {
    fn deref_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }
}
