//! The hours before an alert, small enough for a message: in a line of text, and as a picture.

mod glyph;
mod picture;

use crate::page::text::{duration, quantity};
use crate::rule::{Trend, humanize};

pub(super) use picture::{HEIGHT, WIDTH, picture};

/// Characters of the line: as many as a phone shows beside a few words.
const COLUMNS: usize = 24;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Where there is no value.
const GAP: char = '·';

/// `6 h before: ▁▁▁▁▂▃▅█ (lowest 2 %, highest 91 %, last 91 %)`; `None` where there is no value.
pub(super) fn words(trend: &Trend) -> Option<String> {
    let (least, most) = bounds(trend)?;
    let last = trend.values.iter().rev().flatten().next()?;
    let shown = |value: f64| number(value, &trend.unit);
    Some(format!(
        "{} before: {} (lowest {}, highest {}, last {})",
        span(trend),
        bars(trend, least, most),
        shown(least),
        shown(most),
        shown(*last)
    ))
}

/// A value with its unit, a few characters long whatever it is.
fn number(value: f64, unit: &str) -> String {
    match unit {
        _ if value.abs() >= 1e18 => humanize(value),
        "s" if value >= 1.0 => duration(value),
        "By" => quantity(value, unit),
        _ if value.abs() >= 1e6 => humanize(value),
        _ => quantity(value, unit),
    }
}

fn span(trend: &Trend) -> String {
    let steps = u32::try_from(trend.values.len().saturating_sub(1)).unwrap_or(u32::MAX);
    duration(f64::from(steps) * trend.step_ms as f64 / 1000.0)
}

/// The lowest and the highest value.
fn bounds(trend: &Trend) -> Option<(f64, f64)> {
    let known = || trend.values.iter().flatten().copied().filter(|value| value.is_finite());
    let least = known().reduce(f64::min)?;
    Some((least, known().reduce(f64::max)?))
}

/// A bar for each of up to [`COLUMNS`] stretches of time, as high as the last value in it.
fn bars(trend: &Trend, least: f64, most: f64) -> String {
    let count = trend.values.len();
    let columns = count.min(COLUMNS);
    let bar = |column: usize| {
        let stretch = &trend.values[column * count / columns..(column + 1) * count / columns];
        let Some(value) = stretch.iter().rev().flatten().next() else {
            return GAP;
        };
        let share = if most > least {
            (value - least) / (most - least)
        } else {
            0.0
        };
        // Between 0 and 7, whatever the value.
        let height = (share * (BARS.len() - 1) as f64)
            .round()
            .clamp(0.0, (BARS.len() - 1) as f64);
        BARS[height as usize]
    };
    (0..columns).map(bar).collect()
}

#[cfg(test)]
mod tests;
