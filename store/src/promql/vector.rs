//! A vector over all steps: a table of series by steps, or the recipe for its rows.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::Deadline;
use super::error::QueryError;
use super::labels::{self, Keep};
use super::scalar::Scalar;
use crate::{Histogram, Histograms, Labels, STALE_NAN_BITS, Samples};

/// Stands where a series has no value at a step. It is the staleness marker: no selector lets one through, and arithmetic
/// yields quiet NaNs only.
pub(super) const ABSENT: f64 = f64::from_bits(STALE_NAN_BITS);

#[inline]
pub(super) fn is_absent(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// Stands in a row where a native histogram is, which lies in the row's [`Cells`]. Arithmetic yields it no more than [`ABSENT`].
pub(super) const HISTOGRAM: f64 = f64::from_bits(0x7ff0_0000_0000_0003);

#[inline]
pub(super) fn is_histogram(value: f64) -> bool {
    value.to_bits() == HISTOGRAM.to_bits()
}

/// The histograms of a row, by step. The row decides: one whose step does not say [`HISTOGRAM`] does not count.
pub(super) type Cells = Vec<(u32, Arc<Histogram>)>;

/// The histogram at a step of a row.
pub(super) fn histogram_at<'c>(
    row: &[f64],
    cells: &'c [(u32, Arc<Histogram>)],
    step: usize,
) -> Option<&'c Arc<Histogram>> {
    if !is_histogram(row[step]) {
        return None;
    }
    let at = cells.binary_search_by_key(&(step as u32), |cell| cell.0).ok()?;
    Some(&cells[at].1)
}

/// Takes all histograms out of a row, which then has nothing at their steps.
pub(super) fn take_histograms(row: &mut [f64], cells: &mut Cells) -> Cells {
    cells.retain(|(step, _)| is_histogram(row[*step as usize]));
    for (step, _) in cells.iter() {
        row[*step as usize] = ABSENT;
    }
    std::mem::take(cells)
}

/// What a histogram weighs in a [`Budget`]: as many values as it has numbers.
pub(super) fn weight(histogram: &Histogram) -> usize {
    8 + 2 * (histogram.positive.len() + histogram.negative.len())
}

/// One series' samples, as they are read: numbers and histograms, each by time.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) samples: Samples,
    pub(super) histograms: Histograms,
}

impl Scratch {
    pub(super) fn clear(&mut self) {
        self.samples.clear();
        self.histograms.clear();
    }
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
    /// By row, as far as there are any.
    cells: Vec<Cells>,
    held: Held,
}

/// Writes the values of one row, which comes filled with [`ABSENT`], and its histograms. The samples are scratch.
pub(super) type Fill<'a> =
    Box<dyn Fn(usize, &mut Scratch, &mut [f64], &mut Cells) -> Result<(), QueryError> + Send + Sync + 'a>;

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
            cells: Vec::new(),
            held: budget.hold(0)?,
        })
    }

    pub(super) fn push(&mut self, labels: Labels, row: &[f64]) -> Result<(), QueryError> {
        self.held.grow(row.len())?;
        self.labels.push(labels);
        self.values.extend_from_slice(row);
        Ok(())
    }

    /// Sets aside what a text of so many bytes in the labels of a row weighs.
    pub(super) fn hold_text(&mut self, bytes: usize) -> Result<(), QueryError> {
        self.held.grow(bytes / size_of::<f64>())
    }

    /// Adds a row with histograms.
    pub(super) fn push_with(
        &mut self,
        labels: Labels,
        row: &[f64],
        cells: &[(u32, Arc<Histogram>)],
    ) -> Result<(), QueryError> {
        self.push(labels, row)?;
        if !cells.is_empty() {
            self.set_cells(self.rows() - 1, cells.to_vec())?;
        }
        Ok(())
    }

    /// Replaces the histograms of a row.
    pub(super) fn set_cells(&mut self, row: usize, cells: Cells) -> Result<(), QueryError> {
        self.held.grow(cells.iter().map(|(_, h)| weight(h)).sum())?;
        if self.cells.len() <= row {
            self.cells.resize_with(row + 1, Cells::new);
        }
        self.cells[row] = cells;
        Ok(())
    }

    /// The histograms of a row.
    pub(super) fn cells(&self, row: usize) -> &[(u32, Arc<Histogram>)] {
        self.cells.get(row).map_or(&[], Vec::as_slice)
    }

    /// Whether any row has histograms.
    pub(super) fn has_histograms(&self) -> bool {
        self.cells.iter().any(|cells| !cells.is_empty())
    }

    /// The histogram of a row at a step.
    pub(super) fn histogram(&self, row: usize, step: usize) -> Option<&Arc<Histogram>> {
        histogram_at(self.row(row), self.cells(row), step)
    }

    /// Puts the histograms of rows into another order, as the caller does with all else.
    pub(super) fn reorder_cells(&mut self, order: &[usize]) {
        if self.has_histograms() {
            self.cells = order.iter().map(|&i| self.cells(i).to_vec()).collect();
        }
    }

    /// Leaves the numbers alone.
    pub(super) fn drop_histograms(&mut self) {
        for (row, mut cells) in std::mem::take(&mut self.cells).into_iter().enumerate() {
            let _dropped = take_histograms(self.row_mut(row), &mut cells);
        }
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
            if from < self.cells.len() && to != from {
                self.cells[to] = std::mem::take(&mut self.cells[from]);
            } else if to < self.cells.len() && from >= self.cells.len() {
                self.cells[to].clear();
            }
            self.values.copy_within(from * steps..(from + 1) * steps, to * steps);
            to += 1;
        }
        self.labels.truncate(to);
        self.cells.truncate(to);
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
            if row < self.cells.len() {
                let mut moved = std::mem::take(&mut self.cells[row]);
                moved.retain(|(step, _)| is_histogram(self.values[row * steps + *step as usize]));
                let kept = &mut self.cells[into];
                kept.retain(|(step, _)| is_histogram(self.values[into * steps + *step as usize]));
                kept.extend(moved);
                kept.sort_by_key(|(step, _)| *step);
            }
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
        mut sink: impl FnMut(usize, &[f64], &[(u32, Arc<Histogram>)]) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let steps = self.shape.steps;
        if steps == 0 {
            return Ok(());
        }
        let rows = self.labels.len();
        let block = (BLOCK_VALUES / steps).clamp(1, 4096).min(rows.max(1));
        // One row at a time costs more in hand-over than it gains.
        if rows <= 2 || rows * steps <= 256 {
            let _held = self.budget.hold(steps)?;
            let (mut scratch, mut cells) = (Scratch::default(), Cells::new());
            let mut row = vec![ABSENT; steps];
            for i in 0..rows {
                self.deadline.check()?;
                row.fill(ABSENT);
                cells.clear();
                (self.fill)(i, &mut scratch, &mut row, &mut cells)?;
                if !row.iter().all(|&v| is_absent(v)) {
                    sink(i, &row, &cells)?;
                }
            }
            return Ok(());
        }
        let block = block.max(4);
        let _held = self.budget.hold(block.min(rows) * steps)?;
        let mut buffer = vec![ABSENT; block.min(rows) * steps];
        let mut cells = vec![Cells::new(); block.min(rows)];
        for first in (0..rows).step_by(block) {
            self.deadline.check()?;
            let count = block.min(rows - first);
            let values = &mut buffer[..count * steps];
            values
                .par_chunks_mut(steps)
                .zip(&mut cells)
                .enumerate()
                .with_min_len((256 / steps).clamp(1, 64))
                .try_for_each_init(Scratch::default, |scratch, (i, (row, cells))| {
                    row.fill(ABSENT);
                    cells.clear();
                    if i % 64 == 63 {
                        self.deadline.check()?;
                    }
                    (self.fill)(first + i, scratch, row, cells)
                })?;
            for (i, row) in values.chunks(steps).enumerate() {
                if !row.iter().all(|&v| is_absent(v)) {
                    sink(first + i, row, &cells[i])?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn collect(self) -> Result<Table, QueryError> {
        let mut table = Table::new(&self.budget, self.shape)?;
        self.stream(|i, row, cells| table.push_with(self.labels[i].clone(), row, cells))?;
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
        mut sink: impl FnMut(usize, &[f64], &[(u32, Arc<Histogram>)]) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        match self {
            Self::Ready(table) => (0..table.rows()).try_for_each(|row| sink(row, table.row(row), table.cells(row))),
            Self::Lazy(lazy) => lazy.stream(sink),
        }
    }

    /// Changes each row in place. With `drop_name` the rows lose their metric name; rows that are the same without it are
    /// joined, or refused as `refuse` says: some operations refuse such series whatever their steps.
    pub(super) fn map(
        self,
        drop_name: bool,
        refuse: bool,
        change: impl Fn(&mut [f64], &mut Cells) + Send + Sync + 'a,
    ) -> Result<Self, QueryError> {
        let shape = self.shape();
        let distinct = !drop_name || shape.nameless || shape.one_name;
        match self {
            Self::Lazy(mut lazy) if distinct => {
                lazy.shape.nameless |= drop_name;
                let inner = lazy.fill;
                lazy.fill = Box::new(move |i, scratch, row, cells| {
                    inner(i, scratch, row, cells)?;
                    change(row, cells);
                    Ok(())
                });
                Ok(Self::Lazy(lazy))
            }
            other => {
                let mut table = other.collect()?;
                if shape.steps > 0 {
                    let mut none = Cells::new();
                    for (row, values) in table.values.chunks_mut(shape.steps).enumerate() {
                        match table.cells.get_mut(row) {
                            Some(cells) => change(values, cells),
                            None => change(values, &mut none),
                        }
                    }
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
pub(super) fn single(labels: Labels, row: Scalar) -> Table {
    let (values, held) = row.into_parts();
    Table {
        labels: vec![labels],
        shape: Shape {
            steps: values.len(),
            nameless: false,
            one_name: true,
        },
        values,
        cells: Vec::new(),
        held,
    }
}
