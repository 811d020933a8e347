//! Windows over a time of which rollups tell.
//!
//! Functions that look at samples see those that were kept: one a bucket, and those around resets. Averages, sums, counts and extremes are
//! told by the buckets that end within the window. A window that is too short to see any of that is made as long as it has to be: to a
//! bucket, or to two where two samples are needed; sums, counts and increases are then given in proportion.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::algebra;
use super::error::QueryError;
use super::evaluate::Env;
use super::function::{RangeFunction, Slide};
use super::grid::Grid;
use super::plan::{RangeCall, Select};
use super::scalar::Scalar;
use super::select::drop_stale;
use super::vector::{ABSENT, Cells, HISTOGRAM, Scratch, is_absent};
use crate::{RolledColumn, SeriesId, TimeRange};

/// A series, and the time that its windows reach over.
pub(super) struct OfSeries<'a> {
    pub(super) select: &'a Select,
    pub(super) id: SeriesId,
    pub(super) metric: &'a str,
    pub(super) range: TimeRange,
}

impl RangeFunction {
    /// What is read of buckets, and by which function it is put together.
    fn of_buckets(self) -> Option<(RolledColumn, Self)> {
        match self {
            Self::Avg | Self::Sum => Some((RolledColumn::Sum, Self::Sum)),
            Self::Count => Some((RolledColumn::Count, Self::Sum)),
            Self::Min => Some((RolledColumn::Min, Self::Min)),
            Self::Max => Some((RolledColumn::Max, Self::Max)),
            _ => None,
        }
    }

    /// How many buckets a window has to reach over.
    fn buckets_min(self) -> i64 {
        match self {
            Self::Rate
            | Self::Increase
            | Self::Delta
            | Self::Irate
            | Self::Idelta
            | Self::Deriv
            | Self::PredictLinear
            | Self::Smooth => 2,
            _ => 1,
        }
    }

    /// Whether the result grows with the window.
    fn is_in_proportion(self) -> bool {
        matches!(self, Self::Increase | Self::Delta | Self::Sum | Self::Count)
    }
}

impl Env<'_> {
    /// How far back an instant selector looks from `reference`: where one sample a bucket is left, further by a bucket.
    #[inline]
    pub(super) fn lookback_at(&self, reference: i64) -> i64 {
        self.lookback_ms
            .saturating_add(self.coarseness.resolution_at(reference))
    }

    /// The time to read for windows over `range`, where they are made longer.
    pub(super) fn coarse_range(&self, range: TimeRange) -> TimeRange {
        let resolution_ms = self.coarseness.resolution_at(range.start.0);
        TimeRange::millis(range.start.0.saturating_sub(2 * resolution_ms), range.end.0)
    }

    /// The function of each window of one series, which is read into `scratch`.
    #[expect(
        clippy::too_many_arguments,
        reason = "a series, its windows, and where the result goes"
    )]
    pub(super) fn slid_over_rollups(
        &self,
        call: &RangeCall,
        series: OfSeries<'_>,
        scratch: &mut Scratch,
        grid: Grid,
        args: &[Scalar],
        out: &mut [f64],
        cells: &mut Cells,
    ) -> Result<(), QueryError> {
        let mut told = call.function.of_buckets();
        if told.is_none() || self.source.has_histograms(series.id) {
            self.read(series.select, series.id, series.range, scratch)?;
            drop_stale(scratch);
            // Histograms are thinned out and have no buckets of this kind.
            told = told.filter(|_| scratch.histograms.is_empty());
        }
        let function = told.map_or(call.function, |(_, function)| function);
        let mut counts = Vec::new();
        if let Some((column, _)) = told {
            scratch.clear();
            self.read_column(&series, column, scratch, &mut counts)?;
        }
        let mut step = 0;
        while step < grid.count {
            let resolution_ms = self.coarseness.resolution_at(call.window.reference(grid.at(step)));
            let same =
                |next: &usize| self.coarseness.resolution_at(call.window.reference(grid.at(*next))) == resolution_ms;
            let end = (step..grid.count)
                .take_while(same)
                .last()
                .map_or(step + 1, |last| last + 1);
            let some = Grid {
                start_ms: grid.at(step),
                count: end - step,
                ..grid
            };
            let asked_ms = call.window.range_ms;
            let range_ms = asked_ms.max(call.function.buckets_min().saturating_mul(resolution_ms));
            let slide = Slide {
                range_ms,
                coarseness: self.coarseness,
                first_step: step,
                ..self.slide(call, scratch, some, args)
            };
            let values = &mut out[step..end];
            function.apply(&slide, values)?;
            if told.is_some() && call.function == RangeFunction::Avg {
                let mut of_counts = vec![ABSENT; values.len()];
                let slide = Slide {
                    values: &counts,
                    ..slide
                };
                function.apply(&slide, &mut of_counts)?;
                let found = values.iter_mut().zip(of_counts);
                found
                    .filter(|(value, _)| !is_absent(**value))
                    .for_each(|(value, count)| *value /= count);
            }
            let before = cells.len();
            let mut own = Cells::default();
            if !scratch.histograms.is_empty() {
                let slide = Slide {
                    range_ms,
                    first_step: step,
                    ..self.slide(call, scratch, some, args)
                };
                call.function
                    .apply_mixed(&slide, &scratch.histograms, series.metric, values, &mut own);
            }
            cells.extend(own.into_iter().map(|(at, histogram)| (at + step as u32, histogram)));
            if range_ms > asked_ms && call.function.is_in_proportion() {
                let share = asked_ms as f64 / range_ms as f64;
                let is_number = |value: &&mut f64| !is_absent(**value) && value.to_bits() != HISTOGRAM.to_bits();
                values.iter_mut().filter(is_number).for_each(|value| *value *= share);
                for (_, histogram) in &mut cells[before..] {
                    algebra::multiply(Arc::make_mut(histogram), share);
                }
            }
            step = end;
        }
        Ok(())
    }

    fn read_column(
        &self,
        series: &OfSeries<'_>,
        column: RolledColumn,
        scratch: &mut Scratch,
        counts: &mut Vec<f64>,
    ) -> Result<(), QueryError> {
        let out = &mut scratch.samples;
        self.source
            .read_column(series.id, series.range, column, out, counts)
            .map_err(|source| QueryError::Read { source })?;
        self.samples.fetch_add(out.len() as u64, Ordering::Relaxed);
        if out.len() > self.options.max_samples {
            return Err(QueryError::TooManySamples {
                max: self.options.max_samples,
            });
        }
        Ok(())
    }
}
