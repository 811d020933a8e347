//! Functions that change each value by itself: mathematics, bounds, dates.

use super::super::error::QueryError;
use super::super::evaluate::Env;
use super::super::grid::Grid;
use super::super::number::{go_max, go_min};
use super::super::plan::Call;
use super::super::scalar::Scalar;
use super::super::vector::{ABSENT, Cells, Vector, is_absent, single, take_histograms};
use crate::Labels;

/// A function of one value, and for some of further scalars.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Elementwise {
    Math(fn(f64) -> f64),
    Date(fn(Date) -> i64),
    Round,
    Clamp,
    ClampMin,
    ClampMax,
    Timestamp,
}

impl Elementwise {
    pub(in super::super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "abs" => Self::Math(f64::abs),
            "ceil" => Self::Math(f64::ceil),
            "floor" => Self::Math(f64::floor),
            "exp" => Self::Math(f64::exp),
            "sqrt" => Self::Math(f64::sqrt),
            "ln" => Self::Math(f64::ln),
            "log2" => Self::Math(f64::log2),
            "log10" => Self::Math(f64::log10),
            "sin" => Self::Math(f64::sin),
            "cos" => Self::Math(f64::cos),
            "tan" => Self::Math(f64::tan),
            "asin" => Self::Math(f64::asin),
            "acos" => Self::Math(f64::acos),
            "atan" => Self::Math(f64::atan),
            "sinh" => Self::Math(f64::sinh),
            "cosh" => Self::Math(f64::cosh),
            "tanh" => Self::Math(f64::tanh),
            "asinh" => Self::Math(f64::asinh),
            "acosh" => Self::Math(f64::acosh),
            "atanh" => Self::Math(f64::atanh),
            "rad" => Self::Math(|v| v * std::f64::consts::PI / 180.0),
            "deg" => Self::Math(|v| v * 180.0 / std::f64::consts::PI),
            "sgn" => Self::Math(|v| {
                if v < 0.0 {
                    -1.0
                } else if v > 0.0 {
                    1.0
                } else {
                    v
                }
            }),
            "minute" => Self::Date(|d| d.second_of_day / 60 % 60),
            "hour" => Self::Date(|d| d.second_of_day / 3600),
            "day_of_week" => Self::Date(|d| (d.days + 4).rem_euclid(7)),
            "day_of_month" => Self::Date(|d| d.day),
            "day_of_year" => Self::Date(|d| d.days - days_from_civil(d.year, 1, 1) + 1),
            "days_in_month" => Self::Date(|d| {
                let (year, month) = if d.month == 12 {
                    (d.year + 1, 1)
                } else {
                    (d.year, d.month + 1)
                };
                days_from_civil(year, month, 1) - days_from_civil(d.year, d.month, 1)
            }),
            "month" => Self::Date(|d| d.month),
            "year" => Self::Date(|d| d.year),
            "round" => Self::Round,
            "clamp" => Self::Clamp,
            "clamp_min" => Self::ClampMin,
            "clamp_max" => Self::ClampMax,
            "timestamp" => Self::Timestamp,
            _ => return None,
        })
    }

    /// Whether the value depends on the time of the step and not on the arguments alone.
    pub(in super::super) fn reads_the_clock(self, args: usize) -> bool {
        match self {
            Self::Timestamp => true,
            Self::Date(_) => args == 0,
            _ => false,
        }
    }
}

impl<'a> Env<'a> {
    pub(super) fn elementwise(
        &'a self,
        function: Elementwise,
        call: &'a Call,
        grid: Grid,
    ) -> Result<Vector<'a>, QueryError> {
        let Some(input) = call.args.first() else {
            let Elementwise::Date(part) = function else {
                return Err(QueryError::execution("expected an instant vector"));
            };
            let row = Scalar::of_times(&self.budget, grid, |t| part(Date::of((t / 1000) as f64)) as f64)?;
            return Ok(Vector::Ready(single(Labels::empty(), row)));
        };
        let vector = self.vector(input, grid)?;
        let mut scalars = Vec::with_capacity(call.args.len() - 1);
        for arg in &call.args[1..] {
            scalars.push(self.scalar(arg, grid)?);
        }
        match function {
            Elementwise::Math(math) => vector.map(true, false, move |row, cells| each(row, cells, |_, v| math(v))),
            Elementwise::Date(part) => vector.map(true, false, move |row, cells| {
                each(row, cells, |_, v| part(Date::of(v)) as f64);
            }),
            // The time of a histogram is a number as well.
            Elementwise::Timestamp => vector.map(true, false, move |row, cells| {
                cells.clear();
                each(row, cells, |step, _| grid.at(step) as f64 / 1000.0);
            }),
            Elementwise::Round => {
                let nearest = match scalars.pop() {
                    Some(nearest) => nearest,
                    None => Scalar::repeated(&self.budget, grid, 1.0)?,
                };
                vector.map(true, false, move |row, cells| {
                    each(row, cells, |step, v| {
                        let inverse = 1.0 / nearest[step];
                        (v * inverse + 0.5).floor() / inverse
                    });
                })
            }
            Elementwise::Clamp => vector.map(true, false, move |row, cells| {
                each(row, cells, |step, v| {
                    let (min, max) = (scalars[0][step], scalars[1][step]);
                    if max < min { ABSENT } else { go_max(min, go_min(max, v)) }
                });
            }),
            Elementwise::ClampMin => vector.map(true, false, move |row, cells| {
                each(row, cells, |step, v| go_max(scalars[0][step], v))
            }),
            Elementwise::ClampMax => vector.map(true, false, move |row, cells| {
                each(row, cells, |step, v| go_min(scalars[0][step], v))
            }),
        }
    }
}

/// Changes each number; histograms go.
fn each(row: &mut [f64], cells: &mut Cells, change: impl Fn(usize, f64) -> f64) {
    if !cells.is_empty() {
        let _ignored = take_histograms(row, cells);
    }
    for (step, value) in row.iter_mut().enumerate() {
        if !is_absent(*value) {
            *value = change(step, *value);
        }
    }
}

/// A UTC instant, taken apart.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Date {
    days: i64,
    second_of_day: i64,
    year: i64,
    month: i64,
    day: i64,
}

impl Date {
    /// The instant `seconds` after 1970, as Go has it: what fits no integer is the smallest one, and time wraps around.
    fn of(seconds: f64) -> Self {
        /// Seconds from Go's absolute zero, in the year -292277022399, to 1970.
        const ABSOLUTE: u64 = 9_223_372_028_715_321_600;
        let seconds = if seconds.abs() < 9.2e18 {
            seconds as i64
        } else {
            i64::MIN
        };
        let absolute = (seconds as u64).wrapping_add(ABSOLUTE);
        let days = (absolute / 86_400) as i64 - (ABSOLUTE / 86_400) as i64;
        let (year, month, day) = civil_from_days(days);
        Self {
            days,
            second_of_day: (absolute % 86_400) as i64,
            year,
            month,
            day,
        }
    }
}

/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}
