//! Functions of a range that holds native histograms, alone or beside numbers.
//!
//! Numbers were dealt with before, as if there were no histograms. What is here adds what histograms yield, takes out what must not
//! stand where both are, and says so.

use std::sync::Arc;

use super::super::algebra::{self, Mismatch};
use super::super::annotation::Notes;
use super::super::vector::{ABSENT, Cells, HISTOGRAM};
use super::range::{RangeFunction, Slide, extended_to};
use crate::{Histogram, Histograms, ResetHint};

/// What one step sees of a series.
struct View<'a> {
    numbers: &'a [f64],
    number_times: &'a [i64],
    histograms: &'a [Arc<Histogram>],
    times: &'a [i64],
    start_ms: i64,
    end_ms: i64,
}

/// What a function makes of a window.
enum Found {
    /// What the numbers alone came to stays.
    Numbers,
    Nothing,
    Number(f64),
    Histogram(Histogram),
    Shared(Arc<Histogram>),
}

impl RangeFunction {
    /// Completes the values of each step's window by what the histograms in it yield.
    pub(in super::super) fn apply_mixed(
        self,
        slide: &Slide<'_>,
        histograms: &Histograms,
        metric: &str,
        out: &mut [f64],
        cells: &mut Cells,
    ) {
        let times = histograms.timestamps.as_slice();
        for (step, out) in out.iter_mut().enumerate() {
            let end_ms = slide.window.reference(slide.grid.at(step));
            let start_ms = end_ms.saturating_sub(slide.range_ms);
            let within = |times: &[i64]| {
                let first = times.partition_point(|t| *t <= start_ms);
                first..times.partition_point(|t| *t <= end_ms).max(first)
            };
            let (own, numbers) = (within(times), within(slide.times));
            if own.is_empty() {
                continue;
            }
            let view = View {
                numbers: &slide.values[numbers.clone()],
                number_times: &slide.times[numbers],
                histograms: &histograms.values[own.clone()],
                times: &times[own],
                start_ms,
                end_ms,
            };
            let notes = Said {
                notes: slide.notes,
                metric,
                slide,
            };
            *out = match self.of_window(&view, &notes) {
                Found::Numbers => continue,
                Found::Nothing => ABSENT,
                Found::Number(number) => number,
                Found::Histogram(histogram) => {
                    cells.push((step as u32, Arc::new(histogram)));
                    HISTOGRAM
                }
                Found::Shared(histogram) => {
                    cells.push((step as u32, histogram));
                    HISTOGRAM
                }
            };
        }
    }

    fn of_window(self, view: &View<'_>, said: &Said<'_>) -> Found {
        let mixed = !view.numbers.is_empty();
        match self {
            Self::Rate | Self::Increase | Self::Delta | Self::Avg | Self::Sum if mixed => {
                said.mixed();
                Found::Nothing
            }
            Self::Rate | Self::Increase | Self::Delta => self.extrapolated(view, said),
            Self::Irate | Self::Idelta => self.last_two(view, said),
            Self::Sum => said.or_nothing(total(view.histograms)),
            Self::Avg => said.or_nothing(mean(view.histograms)),
            Self::Count => Found::Number((view.numbers.len() + view.histograms.len()) as f64),
            Self::Present | Self::Absent => Found::Number(1.0),
            Self::Last => match (view.number_times.last(), view.times.last(), view.histograms.last()) {
                (Some(number), Some(own), _) if number > own => Found::Numbers,
                (_, _, Some(histogram)) => Found::Shared(Arc::clone(histogram)),
                _ => Found::Numbers,
            },
            Self::First => match (view.number_times.first(), view.times.first(), view.histograms.first()) {
                (Some(number), Some(own), _) if number < own => Found::Numbers,
                (_, _, Some(histogram)) => Found::Shared(Arc::clone(histogram)),
                _ => Found::Numbers,
            },
            Self::TimeOfLast | Self::TimeOfFirst => {
                let ends = if self == Self::TimeOfLast {
                    view.times.last().max(view.number_times.last())
                } else {
                    let both = view.times.first().into_iter().chain(view.number_times.first());
                    both.min()
                };
                ends.map_or(Found::Nothing, |t| Found::Number(*t as f64 / 1000.0))
            }
            Self::Changes => Found::Number(transitions(
                view,
                |now, before| !algebra::equal(now, before),
                |now, before| now != before && !(now.is_nan() && before.is_nan()),
            )),
            Self::Resets => Found::Number(transitions(view, algebra::was_reset, |now, before| now < before)),
            // All others look at numbers alone.
            Self::Deriv
            | Self::PredictLinear
            | Self::Smooth
            | Self::Min
            | Self::Max
            | Self::Stddev
            | Self::Stdvar
            | Self::Quantile
            | Self::Mad
            | Self::TimeOfMin
            | Self::TimeOfMax => {
                if mixed {
                    said.ignored();
                }
                Found::Numbers
            }
        }
    }

    /// Rate, increase and delta (Prometheus, `promql/functions.go`: `histogramRate`).
    fn extrapolated(self, view: &View<'_>, said: &Said<'_>) -> Found {
        let [first_ms, .., last_ms] = view.times else {
            return Found::Nothing;
        };
        let counter = self != Self::Delta;
        let mut change = match difference(view.histograms, counter, said) {
            Ok(change) => change,
            Err(mismatch) => {
                said.mismatch(mismatch);
                return Found::Nothing;
            }
        };
        let (sampled, extended) = extended_to(
            said.slide,
            (*first_ms, *last_ms),
            view.times.len(),
            (view.start_ms, view.end_ms),
        );
        let mut factor = extended / sampled;
        if self == Self::Rate {
            factor /= said.slide.range_ms as f64 / 1000.0;
        }
        algebra::multiply(&mut change, factor);
        Found::Histogram(change)
    }

    /// The difference of the last two samples, for `irate` a second.
    fn last_two(self, view: &View<'_>, said: &Said<'_>) -> Found {
        let [before, now] = {
            // The last two of both kinds, in the order of time.
            let numbers = view.number_times.iter().zip(view.numbers).map(|(t, v)| (*t, None, *v));
            let own = view.times.iter().zip(view.histograms).map(|(t, h)| (*t, Some(h), 0.0));
            let mut last: Vec<_> = numbers.rev().take(2).chain(own.rev().take(2)).collect();
            last.sort_by_key(|(t, ..)| *t);
            match last.as_slice() {
                [.., a, b] => [*a, *b],
                _ => return Found::Nothing,
            }
        };
        let (Some(before_value), Some(now_value)) = (before.1, now.1) else {
            if before.1.is_none() && now.1.is_none() {
                return Found::Numbers;
            }
            said.mixed();
            return Found::Nothing;
        };
        let rate = self == Self::Irate;
        let gauges = [before_value, now_value].map(|h| h.reset == ResetHint::Gauge);
        if rate && gauges.contains(&true) {
            said.no_counter();
        }
        if !rate && gauges.contains(&false) {
            said.no_gauge();
        }
        let mut change = Histogram::clone(now_value);
        if (!rate || !algebra::was_reset(now_value, before_value))
            && let Err(mismatch) = algebra::subtract(&mut change, before_value)
        {
            said.mismatch(mismatch);
            return Found::Nothing;
        }
        change.reset = ResetHint::Gauge;
        if rate {
            algebra::divide(&mut change, (now.0 - before.0) as f64 / 1000.0);
        }
        Found::Histogram(change)
    }
}

/// How much a series of histograms rose or, if it is no counter, changed.
fn difference(histograms: &[Arc<Histogram>], counter: bool, said: &Said<'_>) -> Result<Histogram, Mismatch> {
    let [first, second @ .., last] = histograms else {
        return Err(Mismatch::Schemas);
    };
    let next = second.first().unwrap_or(last);
    // Nothing is known about what was before a reset, not even how its buckets were cut.
    let nothing = Histogram {
        schema: next.schema,
        bounds: next.bounds.clone(),
        ..Histogram::default()
    };
    let start: &Histogram = if counter && algebra::was_reset(next, first) {
        &nothing
    } else {
        first
    };
    let gauge = |h: &Histogram| h.reset == ResetHint::Gauge;
    if counter && (gauge(first) || gauge(last)) {
        said.no_counter();
    }
    if last.is_custom() != start.is_custom() {
        return Err(Mismatch::Schemas);
    }
    let mut schema = start.schema.min(last.schema);
    if counter {
        for between in second {
            if gauge(between) {
                said.no_counter();
            }
            if between.is_custom() != start.is_custom() {
                return Err(Mismatch::Schemas);
            }
            schema = schema.min(between.schema);
        }
    } else if !gauge(first) || !gauge(last) {
        said.no_gauge();
    }
    let mut change = algebra::to_schema(last, schema);
    algebra::subtract(&mut change, start)?;
    if counter {
        let mut before = start;
        for now in &histograms[1..] {
            if algebra::was_reset(now, before) {
                algebra::add(&mut change, before)?;
            }
            before = now;
        }
    }
    change.reset = ResetHint::Gauge;
    Ok(change)
}

fn total(histograms: &[Arc<Histogram>]) -> Result<Histogram, Mismatch> {
    let [first, rest @ ..] = histograms else {
        return Ok(Histogram::default());
    };
    let mut sum = Histogram::clone(first);
    rest.iter().try_for_each(|h| algebra::add(&mut sum, h))?;
    Ok(sum)
}

fn mean(histograms: &[Arc<Histogram>]) -> Result<Histogram, Mismatch> {
    let [first, rest @ ..] = histograms else {
        return Ok(Histogram::default());
    };
    let mut mean = Histogram::clone(first);
    for (i, histogram) in rest.iter().enumerate() {
        algebra::average(&mut mean, histogram, (i + 2) as f64)?;
    }
    Ok(mean)
}

/// How many samples differ, in the sense of the caller, from those before them; a histogram always differs from a number.
fn transitions(
    view: &View<'_>,
    histograms: impl Fn(&Histogram, &Histogram) -> bool,
    numbers: impl Fn(f64, f64) -> bool,
) -> f64 {
    let own = view.times.iter().zip(view.histograms).map(|(t, h)| (*t, Ok(h)));
    let others = view.number_times.iter().zip(view.numbers).map(|(t, v)| (*t, Err(*v)));
    let mut all: Vec<(i64, Result<&Arc<Histogram>, f64>)> = own.chain(others).collect();
    all.sort_by_key(|(t, _)| *t);
    let differs = |pair: &&[(i64, Result<&Arc<Histogram>, f64>)]| match (pair[0].1, pair[1].1) {
        (Ok(before), Ok(now)) => histograms(now, before),
        (Err(before), Err(now)) => numbers(now, before),
        _ => true,
    };
    all.windows(2).filter(differs).count() as f64
}

/// What is said about one series.
struct Said<'a> {
    notes: &'a Notes,
    metric: &'a str,
    slide: &'a Slide<'a>,
}

impl Said<'_> {
    fn mixed(&self) {
        self.notes.mixed_samples(self.metric, self.slide.place);
    }

    fn ignored(&self) {
        self.notes.ignored_in_range(self.metric, self.slide.place);
    }

    fn no_counter(&self) {
        self.notes.histogram_no_counter(self.metric, self.slide.place);
    }

    fn no_gauge(&self) {
        self.notes.histogram_no_gauge(self.metric, self.slide.place);
    }

    fn mismatch(&self, mismatch: Mismatch) {
        self.notes.mismatch(mismatch, self.metric, self.slide.place);
    }

    fn or_nothing(&self, result: Result<Histogram, Mismatch>) -> Found {
        match result {
            Ok(histogram) => Found::Histogram(histogram),
            Err(mismatch) => {
                self.mismatch(mismatch);
                Found::Nothing
            }
        }
    }
}
