//! A vector over all steps: a table of series by steps, or the recipe for its rows.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::error::QueryError;
use super::labels::{self, Keep};
use super::{Deadline, grid::Grid};
use crate::{Labels, STALE_NAN_BITS, Samples};

/// Stands where a series has no value at a step. It is the staleness marker: no selector lets one through, and arithmetic
/// yields quiet NaNs only.
pub(super) const ABSENT: f64 = f64::from_bits(STALE_NAN_BITS);

#[inline]
pub(super) fn is_absent(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// How many values a query holds, and may hold.
#[derive(Debug)]
pub(super) struct Budget {
    held: AtomicU64,
    peak: AtomicU64,
    max: usize,
}

impl Budget {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            max,
        })
    }

    pub(super) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Sets `values` aside until the answer is dropped.
    pub(super) fn hold(self: &Arc<Self>, values: usize) -> Result<Held, QueryError> {
        let mut held = Held {
            budget: Arc::clone(self),
            values: 0,
        };
        held.grow(values)?;
        Ok(held)
    }
}

/// A share of a [`Budget`].
#[derive(Debug)]
pub(super) struct Held {
    budget: Arc<Budget>,
    values: usize,
}

impl Held {
    pub(super) fn grow(&mut self, values: usize) -> Result<(), QueryError> {
        let now = self.budget.held.fetch_add(values as u64, Ordering::Relaxed) + values as u64;
        self.values += values;
        self.budget.peak.fetch_max(now, Ordering::Relaxed);
        if now > self.budget.max as u64 {
            Err(QueryError::TooManySamples { max: self.budget.max })
        } else {
            Ok(())
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.values as u64, Ordering::Relaxed);
    }
}

/// What all rows of a vector have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) steps: usize,
    /// The rows' labels are to be read as without metric name (and type and unit).
    pub(super) nameless: bool,
    /// All rows have one metric name or none, and no type or unit, so that they stay distinct without them.
    pub(super) one_name: bool,
}

/// Series with their values at each step, row by row.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) labels: Vec<Labels>,
    pub(super) values: Vec<f64>,
    pub(super) shape: Shape,
    held: Held,
}

/// Writes the values of one row, which comes filled with [`ABSENT`]. The samples are scratch.
pub(super) type Fill<'a> = Box<dyn Fn(usize, &mut Samples, &mut [f64]) -> Result<(), QueryError> + Send + Sync + 'a>;

/// Series whose values are computed when they are asked for.
pub(super) struct Lazy<'a> {
    pub(super) labels: Vec<Labels>,
    pub(super) shape: Shape,
    pub(super) fill: Fill<'a>,
    pub(super) budget: Arc<Budget>,
    pub(super) deadline: Deadline,
}

pub(super) enum Vector<'a> {
    Ready(Table),
    Lazy(Lazy<'a>),
}

impl Table {
    pub(super) fn new(budget: &Arc<Budget>, shape: Shape) -> Result<Self, QueryError> {
        Ok(Self {
            labels: Vec::new(),
            values: Vec::new(),
            shape,
            held: budget.hold(0)?,
        })
    }

    pub(super) fn push(&mut self, labels: Labels, row: &[f64]) -> Result<(), QueryError> {
        self.held.grow(row.len())?;
        self.labels.push(labels);
        self.values.extend_from_slice(row);
        Ok(())
    }

    /// Adds a row without values, and returns it.
    pub(super) fn push_absent(&mut self, labels: Labels) -> Result<&mut [f64], QueryError> {
        self.held.grow(self.shape.steps)?;
        self.labels.push(labels);
        let start = self.values.len();
        self.values.resize(start + self.shape.steps, ABSENT);
        Ok(&mut self.values[start..])
    }

    pub(super) fn rows(&self) -> usize {
        self.labels.len()
    }

    pub(super) fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.shape.steps..(row + 1) * self.shape.steps]
    }

    pub(super) fn row_mut(&mut self, row: usize) -> &mut [f64] {
        &mut self.values[row * self.shape.steps..(row + 1) * self.shape.steps]
    }

    /// The labels of a row as they are seen.
    pub(super) fn labels_of(&self, row: usize) -> Labels {
        if self.shape.nameless {
            labels::without_name(&self.labels[row])
        } else {
            self.labels[row].clone()
        }
    }

    /// Writes the dropped metric names off for good.
    pub(super) fn settle_names(&mut self) {
        if self.shape.nameless {
            for labels in &mut self.labels {
                *labels = labels::without_name(labels);
            }
            self.shape.nameless = false;
            self.shape.one_name = true;
        }
    }

    /// Rows with at least one value.
    fn occupied(&self) -> Vec<bool> {
        (0..self.rows())
            .map(|row| !self.row(row).iter().all(|&v| is_absent(v)))
            .collect()
    }

    /// Drops rows without values.
    pub(super) fn compact(&mut self) {
        let occupied = self.occupied();
        if occupied.iter().all(|&o| o) {
            return;
        }
        let steps = self.shape.steps;
        let mut to = 0;
        for (from, _) in occupied.iter().enumerate().filter(|(_, o)| **o) {
            self.labels.swap(to, from);
            self.values.copy_within(from * steps..(from + 1) * steps, to * steps);
            to += 1;
        }
        self.labels.truncate(to);
        self.values.truncate(to * steps);
    }

    /// Fails where two rows with values have the same labels, whatever their steps.
    pub(super) fn refuse_same_labels(&mut self) -> Result<(), QueryError> {
        self.compact();
        let mut seen = std::collections::HashSet::with_capacity(self.rows());
        let nameless = self.shape.nameless;
        let mut key = Vec::new();
        for labels in &self.labels {
            project_all(labels, nameless, &mut key);
            if !seen.insert(key.clone()) {
                return Err(QueryError::same_labelset());
            }
        }
        Ok(())
    }

    /// Joins rows of the same labels; fails where two of them have a value at the same step.
    pub(super) fn join_same_labels(&mut self) -> Result<(), QueryError> {
        self.join_same_labels_or(|_, _| QueryError::same_labelset())
    }

    /// As [`Self::join_same_labels`], with an error of the caller's for the two rows that collide.
    pub(super) fn join_same_labels_or(&mut self, error: impl Fn(usize, usize) -> QueryError) -> Result<(), QueryError> {
        let mut first: HashMap<Vec<u8>, usize> = HashMap::with_capacity(self.rows());
        let mut joined = false;
        let steps = self.shape.steps;
        let mut key = Vec::new();
        for row in 0..self.rows() {
            project_all(&self.labels[row], self.shape.nameless, &mut key);
            let Some(&into) = first.get(&key) else {
                first.insert(key.clone(), row);
                continue;
            };
            joined = true;
            let (head, tail) = self.values.split_at_mut(row * steps);
            for (to, from) in head[into * steps..(into + 1) * steps]
                .iter_mut()
                .zip(&mut tail[..steps])
            {
                if is_absent(*from) {
                    continue;
                }
                if !is_absent(*to) {
                    return Err(error(into, row));
                }
                *to = std::mem::replace(from, ABSENT);
            }
        }
        if joined {
            self.compact();
        }
        Ok(())
    }
}

fn project_all(labels: &Labels, nameless: bool, key: &mut Vec<u8>) {
    if nameless {
        Keep::Without(&[]).project(labels, true, key);
    } else {
        key.clear();
        key.extend_from_slice(labels.as_bytes());
    }
}

/// Values computed at once before they are handed on, so that the working set stays in the cache.
const BLOCK_VALUES: usize = 64 * 1024;

impl<'a> Lazy<'a> {
    /// Hands each row with values to `sink`, in order.
    pub(super) fn stream(
        &self,
        mut sink: impl FnMut(usize, &[f64]) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let steps = self.shape.steps;
        if steps == 0 {
            return Ok(());
        }
        let rows = self.labels.len();
        let block = (BLOCK_VALUES / steps).clamp(1, 4096).min(rows.max(1));
        // One row at a time costs more in hand-over than it gains.
        if rows <= 2 || rows * steps <= 256 {
            let mut scratch = Samples::default();
            let mut row = vec![ABSENT; steps];
            for i in 0..rows {
                self.deadline.check()?;
                row.fill(ABSENT);
                (self.fill)(i, &mut scratch, &mut row)?;
                if !row.iter().all(|&v| is_absent(v)) {
                    sink(i, &row)?;
                }
            }
            return Ok(());
        }
        let block = block.max(4);
        let _held = self.budget.hold(block.min(rows) * steps)?;
        let mut buffer = vec![ABSENT; block.min(rows) * steps];
        for first in (0..rows).step_by(block) {
            self.deadline.check()?;
            let count = block.min(rows - first);
            let values = &mut buffer[..count * steps];
            values
                .par_chunks_mut(steps)
                .enumerate()
                .with_min_len((256 / steps).clamp(1, 64))
                .try_for_each_init(Samples::default, |scratch, (i, row)| {
                    row.fill(ABSENT);
                    if i % 64 == 63 {
                        self.deadline.check()?;
                    }
                    (self.fill)(first + i, scratch, row)
                })?;
            for (i, row) in values.chunks(steps).enumerate() {
                if !row.iter().all(|&v| is_absent(v)) {
                    sink(first + i, row)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn collect(self) -> Result<Table, QueryError> {
        let mut table = Table::new(&self.budget, self.shape)?;
        self.stream(|i, row| table.push(self.labels[i].clone(), row))?;
        Ok(table)
    }
}

impl<'a> Vector<'a> {
    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::Ready(table) => table.shape,
            Self::Lazy(lazy) => lazy.shape,
        }
    }

    pub(super) fn labels(&self) -> &[Labels] {
        match self {
            Self::Ready(table) => &table.labels,
            Self::Lazy(lazy) => &lazy.labels,
        }
    }

    pub(super) fn collect(self) -> Result<Table, QueryError> {
        match self {
            Self::Ready(table) => Ok(table),
            Self::Lazy(lazy) => lazy.collect(),
        }
    }

    /// Hands each row to `sink`, in order; rows without values may be left out.
    pub(super) fn stream(
        &self,
        mut sink: impl FnMut(usize, &[f64]) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        match self {
            Self::Ready(table) => (0..table.rows()).try_for_each(|row| sink(row, table.row(row))),
            Self::Lazy(lazy) => lazy.stream(sink),
        }
    }

    /// Changes each row in place. With `drop_name` the rows lose their metric name; rows that are the same without it are
    /// joined, or refused as `refuse` says: some operations refuse such series whatever their steps.
    pub(super) fn map(
        self,
        drop_name: bool,
        refuse: bool,
        change: impl Fn(&mut [f64]) + Send + Sync + 'a,
    ) -> Result<Self, QueryError> {
        let shape = self.shape();
        let distinct = !drop_name || shape.nameless || shape.one_name;
        match self {
            Self::Lazy(mut lazy) if distinct => {
                lazy.shape.nameless |= drop_name;
                let inner = lazy.fill;
                lazy.fill = Box::new(move |i, scratch, row| {
                    inner(i, scratch, row)?;
                    change(row);
                    Ok(())
                });
                Ok(Self::Lazy(lazy))
            }
            other => {
                let mut table = other.collect()?;
                if shape.steps > 0 {
                    table.values.chunks_mut(shape.steps).for_each(change);
                }
                table.shape.nameless |= drop_name;
                if !distinct {
                    if refuse {
                        table.refuse_same_labels()?;
                    } else {
                        table.join_same_labels()?;
                    }
                }
                Ok(Self::Ready(table))
            }
        }
    }
}

/// A table with one row.
pub(super) fn single(budget: &Arc<Budget>, grid: Grid, labels: Labels, row: &[f64]) -> Result<Table, QueryError> {
    let mut table = Table::new(
        budget,
        Shape {
            steps: grid.count,
            nameless: false,
            one_name: true,
        },
    )?;
    table.push(labels, row)?;
    Ok(table)
}
