//! Selectors: series picked once, their samples read once and laid on the steps.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Line;
use super::error::QueryError;
use super::evaluate::Env;
use super::grid::Grid;
use super::labels;
use super::plan::{Select, Window};
use super::vector::{Lazy, Shape};
use crate::{Labels, Samples, SeriesId, TimeRange, is_stale};

/// Series of one selector, and the stretch of time it needs of them.
pub(super) struct Picked {
    pub(super) ids: Vec<SeriesId>,
    pub(super) labels: Vec<Labels>,
    pub(super) range: TimeRange,
    /// See [`Shape::one_name`].
    pub(super) one_name: bool,
}

/// Whether a selector yields the sample's value or its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Yield {
    Value,
    Seconds,
}

impl<'a> Env<'a> {
    pub(super) fn pick(&self, select: &Select, range: TimeRange) -> Result<Picked, QueryError> {
        self.deadline.check()?;
        let ids = self
            .source
            .select(&select.matchers, range)
            .map_err(|source| QueryError::Read { source })?;
        self.series.fetch_add(ids.len() as u64, Ordering::Relaxed);
        let labels: Vec<Labels> = ids.iter().map(|&id| self.source.labels(id)).collect();
        let one_name = select.one_name() && !labels.iter().any(labels::typed);
        Ok(Picked {
            ids,
            labels,
            range,
            one_name,
        })
    }

    /// Reads one series into `scratch`.
    pub(super) fn read(&self, id: SeriesId, range: TimeRange, scratch: &mut Samples) -> Result<(), QueryError> {
        scratch.clear();
        self.source
            .read(id, range, scratch)
            .map_err(|source| QueryError::Read { source })?;
        self.samples.fetch_add(scratch.len() as u64, Ordering::Relaxed);
        if scratch.len() > self.options.max_samples {
            return Err(QueryError::TooManySamples {
                max: self.options.max_samples,
            });
        }
        Ok(())
    }

    /// An instant selector: at each step the last sample not older than the lookback.
    pub(super) fn select(&'a self, select: &'a Select, grid: Grid, what: Yield) -> Result<Lazy<'a>, QueryError> {
        let lookback = self.lookback_ms;
        let first = select
            .reference(grid.start_ms)
            .saturating_sub(lookback)
            .saturating_add(1);
        let range = TimeRange::millis(first, select.reference(grid.end_ms()));
        let Picked {
            ids,
            labels,
            range,
            one_name,
        } = self.pick(select, range)?;
        let shape = Shape {
            steps: grid.count,
            nameless: false,
            one_name,
        };
        let fill = Box::new(move |row: usize, scratch: &mut Samples, out: &mut [f64]| {
            self.read(ids[row], range, scratch)?;
            let (times, values) = (scratch.timestamps.as_slice(), scratch.values.as_slice());
            let mut next = 0;
            for (step, out) in out.iter_mut().enumerate() {
                let reference = select.reference(grid.at(step));
                while next < times.len() && times[next] <= reference {
                    next += 1;
                }
                if next == 0 || times[next - 1] <= reference.saturating_sub(lookback) {
                    continue;
                }
                // A staleness marker is what stands for a missing value, so it needs no test of its own.
                *out = match what {
                    Yield::Value => values[next - 1],
                    Yield::Seconds if is_stale(values[next - 1]) => continue,
                    Yield::Seconds => times[next - 1] as f64 / 1000.0,
                };
            }
            Ok(())
        });
        Ok(Lazy {
            labels,
            shape,
            fill,
            budget: Arc::clone(&self.budget),
            deadline: self.deadline.clone(),
        })
    }

    /// The stretch of time that the windows of all steps cover.
    pub(super) fn window_range(&self, window: &Window, grid: Grid) -> TimeRange {
        let first = window
            .reference(grid.start_ms)
            .saturating_sub(window.range_ms)
            .saturating_add(1);
        TimeRange::millis(first, window.reference(grid.end_ms()))
    }

    /// The samples in a window themselves, as an instant query may ask for.
    pub(super) fn raw(&self, select: &Select, window: &Window, at_ms: i64) -> Result<Vec<Line>, QueryError> {
        let picked = self.pick(select, self.window_range(window, Grid::instant(at_ms)))?;
        let mut lines = Vec::new();
        let mut held = self.budget.hold(0)?;
        let mut scratch = Samples::default();
        for (id, labels) in picked.ids.iter().zip(picked.labels) {
            self.read(*id, picked.range, &mut scratch)?;
            held.grow(scratch.len())?;
            let points: Vec<(i64, f64)> = scratch.iter().filter(|(_, v)| !is_stale(*v)).collect();
            if !points.is_empty() {
                lines.push(Line { labels, points });
            }
        }
        Ok(lines)
    }
}

/// Removes staleness markers, which ranges do not see.
pub(super) fn drop_stale(samples: &mut Samples) {
    let Some(first) = samples.values.iter().position(|&v| is_stale(v)) else {
        return;
    };
    let mut to = first;
    for from in first..samples.len() {
        if !is_stale(samples.values[from]) {
            samples.values[to] = samples.values[from];
            samples.timestamps[to] = samples.timestamps[from];
            to += 1;
        }
    }
    samples.values.truncate(to);
    samples.timestamps.truncate(to);
}
