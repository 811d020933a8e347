//! Selectors: series picked once, their samples read once and laid on the steps.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::QueryError;
use super::evaluate::Env;
use super::grid::Grid;
use super::labels;
use super::plan::{Select, Window};
use super::vector::{ABSENT, Cells, HISTOGRAM, Lazy, Scratch, Shape, weight};
use super::{Line, algebra};
use crate::{Histograms, Labels, ResetHint, Samples, SeriesId, TimeRange, is_stale};

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
        let resolution_ms = self.coarseness.resolution_at(range.start.0);
        if resolution_ms > 0 && !ids.is_empty() {
            self.notes.rolled_up(resolution_ms);
        }
        let one_name = select.one_name() && !labels.iter().any(labels::typed);
        Ok(Picked {
            ids,
            labels,
            range,
            one_name,
        })
    }

    /// Reads one series into `scratch`.
    pub(super) fn read(
        &self,
        select: &Select,
        id: SeriesId,
        range: TimeRange,
        scratch: &mut Scratch,
    ) -> Result<(), QueryError> {
        scratch.clear();
        let Scratch { samples, histograms } = scratch;
        self.source
            .read(id, range, samples)
            .map_err(|source| QueryError::Read { source })?;
        let mut held = samples.len();
        if self.source.has_histograms(id) {
            self.source
                .read_histograms(id, range, histograms)
                .map_err(|source| QueryError::Read { source })?;
            held += histograms.values.iter().map(|h| weight(h)).sum::<usize>();
            drop_overlaid(samples, histograms);
            prepare(histograms, select.statistics);
        }
        let read = samples.len() + histograms.len();
        self.samples.fetch_add(read as u64, Ordering::Relaxed);
        if held > self.options.max_samples {
            return Err(QueryError::TooManySamples {
                max: self.options.max_samples,
            });
        }
        Ok(())
    }

    /// An instant selector: at each step the last sample not older than the lookback.
    pub(super) fn select(&'a self, select: &'a Select, grid: Grid, what: Yield) -> Result<Lazy<'a>, QueryError> {
        let start = select.reference(grid.start_ms);
        let first = start.saturating_sub(self.lookback_at(start)).saturating_add(1);
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
        let fill = Box::new(
            move |row: usize, scratch: &mut Scratch, out: &mut [f64], cells: &mut Cells| {
                self.read(select, ids[row], range, scratch)?;
                let samples = &scratch.samples;
                let (times, values) = (samples.timestamps.as_slice(), samples.values.as_slice());
                let mut next = 0;
                for (step, out) in out.iter_mut().enumerate() {
                    let reference = select.reference(grid.at(step));
                    while next < times.len() && times[next] <= reference {
                        next += 1;
                    }
                    if next == 0 || times[next - 1] <= reference.saturating_sub(self.lookback_at(reference)) {
                        continue;
                    }
                    // A staleness marker is what stands for a missing value, so it needs no test of its own.
                    *out = match what {
                        Yield::Value => values[next - 1],
                        Yield::Seconds if is_stale(values[next - 1]) => continue,
                        Yield::Seconds => times[next - 1] as f64 / 1000.0,
                    };
                }
                if !scratch.histograms.is_empty() {
                    let earliest = |reference: i64| reference.saturating_sub(self.lookback_at(reference));
                    lay(select, grid, earliest, what, scratch, out, cells);
                }
                Ok(())
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
        let mut scratch = Scratch::default();
        for (id, labels) in picked.ids.iter().zip(picked.labels) {
            self.read(select, *id, picked.range, &mut scratch)?;
            drop_stale(&mut scratch);
            let Scratch { samples, histograms } = &mut scratch;
            held.grow(samples.len() + histograms.values.iter().map(|h| weight(h)).sum::<usize>())?;
            let histograms: Vec<_> = histograms
                .timestamps
                .drain(..)
                .zip(histograms.values.drain(..))
                .collect();
            let points: Vec<(i64, f64)> = samples.iter().collect();
            if !points.is_empty() || !histograms.is_empty() {
                lines.push(Line {
                    labels,
                    points,
                    histograms,
                });
            }
        }
        Ok(lines)
    }
}

/// At a time that has both a number and a histogram, the histogram counts.
fn drop_overlaid(samples: &mut Samples, histograms: &Histograms) {
    let overlaid = |t: &i64| histograms.timestamps.binary_search(t).is_ok();
    if samples.timestamps.iter().any(overlaid) {
        let mut kept = samples.timestamps.iter().map(|t| !overlaid(t));
        samples.values.retain(|_| kept.next().unwrap_or(true));
        samples.timestamps.retain(|t| !overlaid(t));
    }
}

/// What queries see of stored histograms: what a sender says about the sample before is told by the counts instead, as that sample
/// may be missing here. Where a query looks at counts and sums alone, the buckets go.
fn prepare(histograms: &mut Histograms, statistics: bool) {
    for value in &mut histograms.values {
        if value.reset == ResetHint::NotReset {
            Arc::make_mut(value).reset = ResetHint::Unknown;
        }
    }
    if statistics {
        let mut before = None;
        for value in &mut histograms.values {
            if !value.is_stale() {
                let reduced = algebra::statistics(value, before.as_deref());
                before = Some(std::mem::replace(value, Arc::new(reduced)));
            }
        }
    }
}

/// Lays the histograms of a series on the steps, over the numbers that lie there: of both the later one counts.
fn lay(
    select: &Select,
    grid: Grid,
    earliest: impl Fn(i64) -> i64,
    what: Yield,
    scratch: &Scratch,
    out: &mut [f64],
    cells: &mut Cells,
) {
    let (numbers, histograms) = (&scratch.samples, &scratch.histograms);
    let (mut next, mut next_number) = (0, 0);
    for (step, out) in out.iter_mut().enumerate() {
        let reference = select.reference(grid.at(step));
        next += histograms.timestamps[next..].partition_point(|t| *t <= reference);
        next_number += numbers.timestamps[next_number..].partition_point(|t| *t <= reference);
        let Some(at) = next.checked_sub(1).map(|i| histograms.timestamps[i]) else {
            continue;
        };
        let newer_number = next_number.checked_sub(1).is_some_and(|i| numbers.timestamps[i] > at);
        if newer_number || at <= earliest(reference) {
            continue;
        }
        let value = &histograms.values[next - 1];
        *out = match what {
            _ if value.is_stale() => ABSENT,
            Yield::Seconds => at as f64 / 1000.0,
            Yield::Value => {
                cells.push((step as u32, Arc::clone(value)));
                HISTOGRAM
            }
        };
    }
}

/// Removes staleness markers, which ranges do not see.
pub(super) fn drop_stale(scratch: &mut Scratch) {
    let Histograms { timestamps, values } = &mut scratch.histograms;
    if values.iter().any(|h| h.is_stale()) {
        let mut kept = values.iter().map(|h| !h.is_stale());
        timestamps.retain(|_| kept.next().unwrap_or(false));
        values.retain(|h| !h.is_stale());
    }
    let samples: &mut Samples = &mut scratch.samples;
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
