//! The past of a host's columns: the values of the newest blocks, and what sums up each aligned run of blocks before them.
//!
//! Rows look at single blocks only within [`Windows::recent`], and at runs beyond. So a scorer keeps 60 to 74 values and
//! about a hundred runs of a column on a grid of minutes, about 1.2 kB, while a day of blocks would take 6 kB. A run is kept
//! as single-precision numbers wherever it is used, so that a row has the same bits over a day in memory and over what is left
//! of it.

use std::ops::Range;

use super::baseline::{Aggregate, View};
use super::columns::HostColumns;
use crate::window::Windows;

/// The past of all columns of one host.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Past {
    short: usize,
    /// Block of the first value, the first of a run.
    first: i64,
    values: Table<f32>,
    /// Run `r` sums up the blocks from `r * short` on.
    first_run: i64,
    runs: RunTable,
    /// Whether any sample of the host fell into the block, from the first block of the first run on.
    reported: Vec<bool>,
}

/// Complete runs, part by part.
#[derive(Clone, Debug, PartialEq)]
struct RunTable {
    n: Table<u8>,
    mean: Table<f32>,
    deviation: Table<f32>,
}

/// Consecutive runs of one column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runs<'a> {
    n: &'a [u8],
    mean: &'a [f32],
    deviation: &'a [f32],
}

impl<'a> Runs<'a> {
    pub(crate) fn len(self) -> usize {
        self.n.len()
    }

    pub(crate) fn slice(self, range: Range<usize>) -> Self {
        Self {
            n: &self.n[range.clone()],
            mean: &self.mean[range.clone()],
            deviation: &self.deviation[range],
        }
    }

    /// The runs, oldest first.
    pub(crate) fn iter(self) -> impl DoubleEndedIterator<Item = Aggregate> + ExactSizeIterator + Clone + 'a {
        (0..self.len()).map(move |i| {
            let (n, deviation) = (u32::from(self.n[i]), f64::from(self.deviation[i]));
            Aggregate {
                n,
                mean: f64::from(self.mean[i]),
                m2: deviation * deviation * f64::from(n),
            }
        })
    }
}

impl Past {
    /// Everything in `columns`, which must begin at an aligned run.
    pub(crate) fn new(columns: HostColumns, windows: Windows) -> Self {
        let short = windows.short;
        debug_assert_eq!(
            columns.first.rem_euclid(short as i64),
            0,
            "columns begin at an aligned run"
        );
        let blocks = columns.blocks();
        let mut values = Table::new(columns.values.len(), blocks);
        for (row, of_column) in columns.values.iter().enumerate() {
            values.row_mut(row).copy_from_slice(of_column);
        }
        let mut past = Self {
            short,
            first: columns.first,
            values,
            first_run: columns.first.div_euclid(short as i64),
            runs: RunTable::new(columns.values.len(), blocks / short),
            reported: columns.reported,
        };
        past.sum_up(0);
        past
    }

    /// The newest block.
    pub(crate) fn last(&self) -> i64 {
        self.first + self.values.len as i64 - 1
    }

    /// Whether `extend` can go on from block `block`, for rows that look back to `oldest`.
    pub(crate) fn reaches(&self, block: i64, oldest: i64) -> bool {
        self.first <= block && block <= self.last() + 1 && self.first_run * self.short as i64 <= oldest
    }

    /// Replaces the end by `newer` and forgets what no row at the new end or later looks at.
    pub(crate) fn extend(&mut self, newer: &HostColumns, windows: Windows) {
        let keep = (newer.first - self.first) as usize;
        self.values.keep(0..keep, self.values.width.max(keep + newer.blocks()));
        self.values.lengthen(newer.blocks());
        for (row, of_column) in newer.values.iter().enumerate() {
            self.values.row_mut(row)[keep..].copy_from_slice(of_column);
        }
        let start = self.first_run * self.short as i64;
        self.reported.truncate((newer.first - start) as usize);
        self.reported.extend(&newer.reported);
        // A run that had some of its blocks replaced is summed up again.
        let changed = (newer.first.div_euclid(self.short as i64) - self.first_run) as usize;
        let complete = ((self.last() + 1).div_euclid(self.short as i64) - self.first_run) as usize;
        self.runs.resize(changed.min(self.runs.n.len), complete);
        self.sum_up(changed);
        self.forget(windows);
    }

    /// Forgets what no row at the newest block or later looks at.
    pub(crate) fn forget(&mut self, windows: Windows) {
        let (short, end) = (self.short as i64, self.last() + 1);
        let first = (end - windows.recent() as i64).div_euclid(short) * short;
        if first > self.first {
            let drop = (first - self.first) as usize;
            // Room for as many blocks as come until a run is complete and its blocks leave.
            self.values.keep(drop..self.values.len, windows.recent() + self.short);
            self.first = first;
        }
        let first_run = windows.first_block(self.last()).div_euclid(short);
        if first_run > self.first_run {
            let drop = (first_run - self.first_run) as usize;
            self.runs
                .keep(drop..self.runs.n.len, windows.history() / self.short + 2);
            self.reported.drain(..drop * self.short);
            self.reported.shrink_to(windows.history() + 3 * self.short);
            self.first_run = first_run;
        }
    }

    /// Sums up the complete runs from `run` on, as far as their blocks are here.
    fn sum_up(&mut self, run: usize) {
        let skipped = (self.first.div_euclid(self.short as i64) - self.first_run) as usize;
        for column in 0..self.values.rows {
            let values = self.values.row(column);
            for r in run..self.runs.n.len {
                let from = (r - skipped) * self.short;
                let sum = Aggregate::of(&values[from..from + self.short]);
                self.runs.set(column, r, sum);
            }
        }
    }

    /// Whether any sample fell into each block up to `at`.
    pub(crate) fn reported(&self, at: i64) -> &[bool] {
        let start = self.first_run * self.short as i64;
        let end = usize::try_from(at + 1 - start).unwrap_or(0).min(self.reported.len());
        &self.reported[..end]
    }

    /// A column as it was at block `at`, nothing where that is not known.
    pub(crate) fn view(&self, column: usize, at: i64, windows: Windows) -> Option<View<'_>> {
        let index = usize::try_from(at - self.first).ok().filter(|i| *i < self.values.len)?;
        let complete = ((at + 1).div_euclid(self.short as i64) - self.first_run) as usize;
        let tail = (at + 1).rem_euclid(self.short as i64) as usize;
        Some(View::new(
            &self.values.row(column)[..=index],
            self.runs.row(column).slice(0..complete),
            tail,
            windows,
        ))
    }
}

impl RunTable {
    fn new(rows: usize, len: usize) -> Self {
        Self {
            n: Table::new(rows, len),
            mean: Table::new(rows, len),
            deviation: Table::new(rows, len),
        }
    }

    fn row(&self, row: usize) -> Runs<'_> {
        Runs {
            n: self.n.row(row),
            mean: self.mean.row(row),
            deviation: self.deviation.row(row),
        }
    }

    fn set(&mut self, row: usize, i: usize, sum: Aggregate) {
        self.n.row_mut(row)[i] = sum.n as u8;
        self.mean.row_mut(row)[i] = sum.mean as f32;
        // The deviation and not the sum of squares, which would leave single precision.
        self.deviation.row_mut(row)[i] = sum.deviation() as f32;
    }

    fn keep(&mut self, range: Range<usize>, width: usize) {
        self.n.keep(range.clone(), width);
        self.mean.keep(range.clone(), width);
        self.deviation.keep(range, width);
    }

    /// Keeps the first `keep` runs and makes room for `len` of them.
    fn resize(&mut self, keep: usize, len: usize) {
        self.keep(0..keep, self.n.width.max(len));
        self.n.lengthen(len - keep);
        self.mean.lengthen(len - keep);
        self.deviation.lengthen(len - keep);
    }
}

/// A row for each column, all of one length, in one piece of memory.
#[derive(Clone, Debug, PartialEq)]
struct Table<T> {
    rows: usize,
    len: usize,
    /// Room in each row.
    width: usize,
    cells: Vec<T>,
}

impl<T: Copy + Default> Table<T> {
    fn new(rows: usize, len: usize) -> Self {
        Self {
            rows,
            len,
            width: len,
            cells: vec![T::default(); rows * len],
        }
    }

    fn row(&self, row: usize) -> &[T] {
        let from = row * self.width;
        &self.cells[from..from + self.len]
    }

    fn row_mut(&mut self, row: usize) -> &mut [T] {
        let from = row * self.width;
        &mut self.cells[from..from + self.len]
    }

    /// Keeps `range` of each row, moved to its front, in rows with room for `width`.
    fn keep(&mut self, range: Range<usize>, width: usize) {
        let len = range.len();
        if width == self.width {
            if range.start > 0 {
                for row in 0..self.rows {
                    let from = row * width;
                    self.cells.copy_within(from + range.start..from + range.end, from);
                }
            }
        } else {
            let mut cells = vec![T::default(); self.rows * width];
            for row in 0..self.rows {
                cells[row * width..row * width + len].copy_from_slice(&self.row(row)[range.clone()]);
            }
            self.cells = cells;
            self.width = width;
        }
        self.len = len;
    }

    /// Adds `more` cells, of any value, to the end of each row; there must be room for them.
    fn lengthen(&mut self, more: usize) {
        debug_assert!(self.len + more <= self.width, "a row has room for what is added");
        self.len += more;
    }
}

#[cfg(test)]
mod tests;
