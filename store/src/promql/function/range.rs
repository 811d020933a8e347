//! Functions of a range of samples. Each sees the slice of a series that lies in the window, never single rows.

use std::collections::VecDeque;

use super::super::annotation::Notes;
use super::super::error::QueryError;
use super::super::grid::Grid;
use super::super::number::{self, Mean, Sum};
use super::super::plan::Window;
use super::super::scalar::Scalar;
use super::super::text::Place;
use super::super::vector::ABSENT;
use crate::Coarseness;

/// A function of a range of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum RangeFunction {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Deriv,
    PredictLinear,
    Changes,
    Resets,
    Avg,
    Sum,
    Min,
    Max,
    Count,
    Last,
    First,
    Present,
    Absent,
    Stddev,
    Stdvar,
    Quantile,
    Mad,
    Smooth,
    TimeOfMin,
    TimeOfMax,
    TimeOfLast,
    TimeOfFirst,
}

impl RangeFunction {
    pub(in super::super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "rate" => Self::Rate,
            "increase" => Self::Increase,
            "delta" => Self::Delta,
            "irate" => Self::Irate,
            "idelta" => Self::Idelta,
            "deriv" => Self::Deriv,
            "predict_linear" => Self::PredictLinear,
            "changes" => Self::Changes,
            "resets" => Self::Resets,
            "avg_over_time" => Self::Avg,
            "sum_over_time" => Self::Sum,
            "min_over_time" => Self::Min,
            "max_over_time" => Self::Max,
            "count_over_time" => Self::Count,
            "last_over_time" => Self::Last,
            "first_over_time" => Self::First,
            "present_over_time" => Self::Present,
            "absent_over_time" => Self::Absent,
            "stddev_over_time" => Self::Stddev,
            "stdvar_over_time" => Self::Stdvar,
            "quantile_over_time" => Self::Quantile,
            "mad_over_time" => Self::Mad,
            "double_exponential_smoothing" => Self::Smooth,
            "ts_of_min_over_time" => Self::TimeOfMin,
            "ts_of_max_over_time" => Self::TimeOfMax,
            "ts_of_last_over_time" => Self::TimeOfLast,
            "ts_of_first_over_time" => Self::TimeOfFirst,
            _ => return None,
        })
    }

    /// Whether the result is still a sample of the metric.
    pub(in super::super) fn keeps_name(self) -> bool {
        matches!(self, Self::Last | Self::First)
    }

    /// Writes the value of each step's window.
    ///
    /// # Errors
    /// Smoothing factors out of bounds.
    pub(in super::super) fn apply(self, slide: &Slide<'_>, out: &mut [f64]) -> Result<(), QueryError> {
        match self {
            Self::Rate | Self::Increase | Self::Delta => extrapolated(slide, out, self),
            Self::Irate => slide.each(out, |view| instant(view, true)),
            Self::Idelta => slide.each(out, |view| instant(view, false)),
            Self::Deriv => slide.each(out, |view| match view.times {
                [first, _, ..] => regression(view, *first).0,
                _ => ABSENT,
            }),
            Self::PredictLinear => slide.each(out, |view| {
                if view.times.len() < 2 {
                    return ABSENT;
                }
                let (slope, intercept) = regression(view, view.at_ms);
                slope * slide.arg(0, view.step) + intercept
            }),
            Self::Changes => slide.each(out, |view| {
                let changed = |w: &&[f64]| w[1] != w[0] && !(w[0].is_nan() && w[1].is_nan());
                view.values.windows(2).filter(changed).count() as f64
            }),
            Self::Resets => slide.each(out, |view| {
                view.values.windows(2).filter(|w| w[1] < w[0]).count() as f64
            }),
            Self::Avg => slide.each(out, |view| {
                let mut mean = Mean::new(view.values[0]);
                view.values[1..].iter().for_each(|&v| mean.add(v));
                mean.value()
            }),
            Self::Sum => slide.each(out, |view| {
                let mut sum = Sum::default();
                view.values.iter().for_each(|&v| sum.add(v));
                sum.value()
            }),
            Self::Min => extreme(slide, out, |new, old| new < old),
            Self::Max => extreme(slide, out, |new, old| new > old),
            Self::Count => slide.each(out, |view| view.values.len() as f64),
            Self::Last => slide.each(out, |view| view.values[view.values.len() - 1]),
            Self::First => slide.each(out, |view| view.values[0]),
            Self::Present | Self::Absent => slide.each(out, |_| 1.0),
            Self::Stdvar => slide.each(out, variance),
            Self::Stddev => slide.each(out, |view| variance(view).sqrt()),
            Self::Quantile => {
                let mut sorted = Vec::new();
                let mut noted = 0.0;
                slide.each(out, |view| {
                    let q = slide.arg(0, view.step);
                    if !(0.0..=1.0).contains(&q) && q.to_bits() != f64::to_bits(noted) {
                        slide.notes.quantile(q, slide.arg_place);
                        noted = q;
                    }
                    sorted.clear();
                    sorted.extend_from_slice(view.values);
                    number::quantile(q, &mut sorted)
                });
            }
            Self::Mad => {
                let mut sorted = Vec::new();
                slide.each(out, |view| {
                    sorted.clear();
                    sorted.extend_from_slice(view.values);
                    let median = number::quantile(0.5, &mut sorted);
                    sorted.iter_mut().for_each(|v| *v = (*v - median).abs());
                    number::quantile(0.5, &mut sorted)
                });
            }
            Self::Smooth => {
                let mut refused = None;
                slide.each(out, |view| {
                    let (smoothing, trend) = (slide.arg(0, view.step), slide.arg(1, view.step));
                    refused = refused.or(outside("smoothing", smoothing)).or(outside("trend", trend));
                    smoothed(view, smoothing, trend)
                });
                if let Some((name, factor)) = refused {
                    let short = &name[..1];
                    return Err(QueryError::execution(format!(
                        "invalid {name} factor. Expected: 0 < {short}f < 1, got: {factor:.6}"
                    )));
                }
            }
            Self::TimeOfMin => slide.each(out, |view| time_of(view, |v, min| v <= min)),
            Self::TimeOfMax => slide.each(out, |view| time_of(view, |v, max| v >= max)),
            Self::TimeOfLast => slide.each(out, |view| view.times[view.times.len() - 1] as f64 / 1000.0),
            Self::TimeOfFirst => slide.each(out, |view| view.times[0] as f64 / 1000.0),
        }
        Ok(())
    }
}

/// Samples of one series, and the windows that slide over them.
pub(in super::super) struct Slide<'a> {
    pub(in super::super) times: &'a [i64],
    pub(in super::super) values: &'a [f64],
    pub(in super::super) window: &'a Window,
    /// How far windows reach back, which may be further than was asked for.
    pub(in super::super) range_ms: i64,
    /// Where there is one sample a bucket, and those around resets.
    pub(in super::super) coarseness: Coarseness,
    pub(in super::super) grid: Grid,
    /// Scalar arguments at each step.
    pub(in super::super) args: &'a [Scalar],
    /// Where the grid begins among those.
    pub(in super::super) first_step: usize,
    pub(in super::super) notes: &'a Notes,
    /// Where the window stands.
    pub(in super::super) place: Option<Place>,
    /// Where the first scalar argument stands.
    pub(in super::super) arg_place: Option<Place>,
}

/// What one step sees: at least one sample.
#[derive(Clone, Copy)]
struct View<'a> {
    times: &'a [i64],
    values: &'a [f64],
    step: usize,
    /// The time of the step.
    at_ms: i64,
    /// The last instant of the window.
    end_ms: i64,
    /// Position of the first sample in the whole slice.
    first: usize,
}

impl<'a> Slide<'a> {
    /// Seconds between samples near the first and near the last one of a window, by their mean: no less than buckets are long there, or
    /// the samples that are kept beside those of buckets would make it seem that others are missing.
    #[inline]
    pub(super) fn between(&self, mean: f64, first_ms: i64, last_ms: i64) -> (f64, f64) {
        let near = |at_ms: i64| mean.max(self.coarseness.resolution_at(at_ms) as f64 / 1000.0);
        (near(first_ms), near(last_ms))
    }

    /// The scalar argument `n` at a step of the grid.
    #[inline]
    fn arg(&self, n: usize, step: usize) -> f64 {
        self.args[n][self.first_step + step]
    }

    #[inline]
    fn each(&self, out: &mut [f64], mut value: impl FnMut(View<'a>) -> f64) {
        let (mut first, mut after) = (0, 0);
        for (step, out) in out.iter_mut().enumerate() {
            let at_ms = self.grid.at(step);
            let end_ms = self.window.reference(at_ms);
            while after < self.times.len() && self.times[after] <= end_ms {
                after += 1;
            }
            let start_ms = end_ms.saturating_sub(self.range_ms);
            while first < after && self.times[first] <= start_ms {
                first += 1;
            }
            if first < after {
                let (times, values) = (&self.times[first..after], &self.values[first..after]);
                *out = value(View {
                    times,
                    values,
                    step,
                    at_ms,
                    end_ms,
                    first,
                });
            }
        }
    }
}

/// Rate, increase and delta: the difference over the window, extended towards its edges.
///
/// Prometheus, `promql/functions.go`: `extrapolatedRate`.
fn extrapolated(slide: &Slide<'_>, out: &mut [f64], function: RangeFunction) {
    let counter = function != RangeFunction::Delta;
    // Resets are rare: found once for all windows instead of once in each.
    let resets: Vec<usize> = if counter {
        (1..slide.values.len())
            .filter(|&i| slide.values[i] < slide.values[i - 1])
            .collect()
    } else {
        Vec::new()
    };
    let range_seconds = slide.range_ms as f64 / 1000.0;
    slide.each(out, |view| {
        let [first, .., last] = view.values else { return ABSENT };
        let [first_ms, .., last_ms] = view.times else {
            return ABSENT;
        };
        let mut change = last - first;
        if !resets.is_empty() {
            let from = resets.partition_point(|&i| i <= view.first);
            for &i in resets[from..]
                .iter()
                .take_while(|&&i| i < view.first + view.values.len())
            {
                change += slide.values[i - 1];
            }
        }
        let start_ms = view.end_ms - slide.range_ms;
        let mut to_start = (first_ms - start_ms) as f64 / 1000.0;
        let mut to_end = (view.end_ms - last_ms) as f64 / 1000.0;
        let sampled = (last_ms - first_ms) as f64 / 1000.0;
        let between = sampled / (view.values.len() - 1) as f64;
        let (at_start, at_end) = slide.between(between, *first_ms, *last_ms);
        if to_start >= at_start * 1.1 {
            to_start = at_start / 2.0;
        }
        // A counter cannot have been below zero: its line is not extended past there.
        if counter && change > 0.0 && *first >= 0.0 {
            let to_zero = sampled * (first / change);
            if to_zero < to_start {
                to_start = to_zero;
            }
        }
        if to_end >= at_end * 1.1 {
            to_end = at_end / 2.0;
        }
        let mut factor = (sampled + to_start + to_end) / sampled;
        if function == RangeFunction::Rate {
            factor /= range_seconds;
        }
        change * factor
    });
}

/// Seconds between the first and the last of `count` samples, and seconds of the stretch that they stand for: as far as the window
/// reaches, unless samples are missing towards its edges.
pub(super) fn extended_to(
    slide: &Slide<'_>,
    (first_ms, last_ms): (i64, i64),
    count: usize,
    (start_ms, end_ms): (i64, i64),
) -> (f64, f64) {
    let sampled = (last_ms - first_ms) as f64 / 1000.0;
    let (at_start, at_end) = slide.between(sampled / (count - 1) as f64, first_ms, last_ms);
    let reach = |gap_ms: i64, between: f64| {
        let gap = gap_ms as f64 / 1000.0;
        if gap >= between * 1.1 { between / 2.0 } else { gap }
    };
    (
        sampled,
        sampled + reach(first_ms - start_ms, at_start) + reach(end_ms - last_ms, at_end),
    )
}

/// The value that no other one in the window beats; NaN only where there is nothing else.
fn extreme(slide: &Slide<'_>, out: &mut [f64], beats: impl Fn(f64, f64) -> bool) {
    // Positions that may still win, each beating the one after it: every sample enters and leaves once.
    let mut candidates = VecDeque::new();
    let mut entered = 0;
    slide.each(out, |view| {
        entered = entered.max(view.first);
        while entered < view.first + view.values.len() {
            let value = slide.values[entered];
            if !value.is_nan() {
                while candidates
                    .back()
                    .is_some_and(|&last: &usize| beats(value, slide.values[last]))
                {
                    candidates.pop_back();
                }
                candidates.push_back(entered);
            }
            entered += 1;
        }
        while candidates.front().is_some_and(|&first| first < view.first) {
            candidates.pop_front();
        }
        candidates.front().map_or(f64::NAN, |&first| slide.values[first])
    });
}

fn instant(view: View<'_>, rate: bool) -> f64 {
    let ([.., before, last], [.., before_ms, last_ms]) = (view.values, view.times) else {
        return ABSENT;
    };
    if before_ms == last_ms {
        return ABSENT;
    }
    let change = if rate && last < before { *last } else { last - before };
    if rate {
        change / ((last_ms - before_ms) as f64 / 1000.0)
    } else {
        change
    }
}

/// Slope a second and value at `origin_ms` of the least-squares line.
fn regression(view: View<'_>, origin_ms: i64) -> (f64, f64) {
    let first = view.values[0];
    let mut constant = true;
    let (mut sum_x, mut sum_y, mut sum_xy, mut sum_x2) =
        (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    for (&t, &y) in view.times.iter().zip(view.values) {
        constant &= y == first || t == view.times[0];
        let x = (t - origin_ms) as f64 / 1e3;
        sum_x.add(x);
        sum_y.add(y);
        sum_xy.add(x * y);
        sum_x2.add(x * x);
    }
    if constant {
        return if first.is_infinite() {
            (f64::NAN, f64::NAN)
        } else {
            (0.0, first)
        };
    }
    let n = view.values.len() as f64;
    let (sum_x, sum_y, sum_xy, sum_x2) = (sum_x.value(), sum_y.value(), sum_xy.value(), sum_x2.value());
    let slope = (sum_xy - sum_x * sum_y / n) / (sum_x2 - sum_x * sum_x / n);
    (slope, sum_y / n - slope * sum_x / n)
}

fn variance(view: View<'_>) -> f64 {
    let (mut mean, mut squares) = (Sum::default(), Sum::default());
    let mut count = 0.0;
    for &v in view.values {
        count += 1.0;
        let delta = v - mean.value();
        mean.add(delta / count);
        squares.add(delta * (v - mean.value()));
    }
    squares.value() / count
}

/// The factor, where it is not strictly between 0 and 1.
fn outside(name: &'static str, factor: f64) -> Option<(&'static str, f64)> {
    (factor <= 0.0 || factor >= 1.0).then_some((name, factor))
}

/// Double exponential smoothing (Holt's linear trend) of the window.
fn smoothed(view: View<'_>, smoothing: f64, trend: f64) -> f64 {
    let [first, second, ..] = view.values else {
        return ABSENT;
    };
    let (mut before, mut level) = (0.0, *first);
    let mut slope = second - first;
    for (i, &value) in view.values.iter().enumerate().skip(1) {
        if i > 1 {
            slope = trend * (level - before) + (1.0 - trend) * slope;
        }
        let next = smoothing * value + (1.0 - smoothing) * (level + slope);
        (before, level) = (level, next);
    }
    level
}

fn time_of(view: View<'_>, wins: impl Fn(f64, f64) -> bool) -> f64 {
    let (mut best, mut at) = (view.values[0], view.times[0]);
    for (&t, &v) in view.times.iter().zip(view.values) {
        if wins(v, best) || best.is_nan() {
            (best, at) = (v, t);
        }
    }
    at as f64 / 1000.0
}
