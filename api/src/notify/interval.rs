//! Stretches of time that come again, as Alertmanager describes them: weekends, nights, the first days of a month.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A named set of stretches.
#[derive(Debug, Clone)]
pub struct TimeInterval {
    pub(super) name: String,
    pub(super) spans: Vec<Span>,
}

/// One stretch. Every list that is not empty must hold; both ends of a range are inclusive, but the end of a time of day.
#[derive(Debug, Clone)]
pub(super) struct Span {
    /// Minutes of the day, the end exclusive.
    pub(super) times: Vec<(u16, u16)>,
    /// 0 is Sunday.
    pub(super) weekdays: Vec<(u8, u8)>,
    /// From 1; negative counts from the end of the month.
    pub(super) days: Vec<(i8, i8)>,
    /// From 1.
    pub(super) months: Vec<(u8, u8)>,
    pub(super) years: Vec<(i16, i16)>,
    pub(super) zone: TimeZone,
}

impl Span {
    pub(super) fn always() -> Self {
        Self {
            times: Vec::new(),
            weekdays: Vec::new(),
            days: Vec::new(),
            months: Vec::new(),
            years: Vec::new(),
            zone: TimeZone::UTC,
        }
    }
}

impl TimeInterval {
    /// Whether `now_ms` lies in one of the stretches.
    pub(super) fn contains(&self, now_ms: i64) -> bool {
        let Ok(now) = Timestamp::from_millisecond(now_ms) else {
            return false;
        };
        self.spans.iter().any(|span| {
            let local = now.to_zoned(span.zone.clone());
            let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).unwrap_or(0);
            let weekday = u8::try_from(local.weekday().to_sunday_zero_offset()).unwrap_or(0);
            let month = u8::try_from(local.month()).unwrap_or(0);
            let length = local.days_in_month();
            let day_in = |&(first, last): &(i8, i8)| {
                let from_start = |day: i8| if day < 0 { length + day + 1 } else { day };
                // A day that this month does not have is cut to its ends, as 31 is in February.
                let (first, last) = (from_start(first).max(1), from_start(last).min(length));
                (first..=last).contains(&local.day())
            };
            let within = |all_empty: bool, any: bool| all_empty || any;
            within(
                span.times.is_empty(),
                span.times.iter().any(|&(from, to)| (from..to).contains(&minute)),
            ) && within(
                span.weekdays.is_empty(),
                span.weekdays.iter().any(|&(a, b)| (a..=b).contains(&weekday)),
            ) && within(span.days.is_empty(), span.days.iter().any(day_in))
                && within(
                    span.months.is_empty(),
                    span.months.iter().any(|&(a, b)| (a..=b).contains(&month)),
                )
                && within(
                    span.years.is_empty(),
                    span.years.iter().any(|&(a, b)| (a..=b).contains(&local.year())),
                )
        })
    }
}

const WEEKDAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// `monday:friday` or `sunday`.
pub(super) fn weekdays(text: &str) -> Result<(u8, u8), String> {
    let one = |part: &str| {
        WEEKDAYS
            .iter()
            .position(|name| *name == part.to_lowercase())
            .and_then(|at| u8::try_from(at).ok())
            .ok_or_else(|| format!("{part:?} is no day of the week"))
    };
    ordered(text, one)
}

/// `1:5`, `-3:-1` or `15`.
pub(super) fn days(text: &str) -> Result<(i8, i8), String> {
    let one = |part: &str| {
        part.parse::<i8>()
            .ok()
            .filter(|day| (1..=31).contains(&day.unsigned_abs()))
            .ok_or_else(|| format!("{part:?} is no day of a month: 1 to 31, or -1 to -31 from its end"))
    };
    let (first, last) = ends(text);
    let (first, last) = (one(first)?, one(last)?);
    let backwards = (first > 0) == (last > 0) && first > last;
    if backwards || (first < 0 && last > 0) {
        return Err(format!("{text:?} ends before it begins"));
    }
    Ok((first, last))
}

/// `january:march`, `1:3` or `december`.
pub(super) fn months(text: &str) -> Result<(u8, u8), String> {
    let one = |part: &str| {
        let named = MONTHS
            .iter()
            .position(|name| *name == part.to_lowercase())
            .map(|at| at + 1);
        let number = named
            .or_else(|| part.parse().ok())
            .filter(|month| (1..=12).contains(month));
        number
            .and_then(|month| u8::try_from(month).ok())
            .ok_or_else(|| format!("{part:?} is no month"))
    };
    ordered(text, one)
}

/// `2026:2028` or `2026`.
pub(super) fn years(text: &str) -> Result<(i16, i16), String> {
    ordered(text, |part: &str| {
        part.parse::<i16>()
            .ok()
            .filter(|year| *year > 0)
            .ok_or_else(|| format!("{part:?} is no year"))
    })
}

/// `09:00`, up to `24:00`, in minutes.
pub(super) fn minute(text: &str) -> Result<u16, String> {
    let parse = || {
        let (hours, minutes) = text.split_once(':')?;
        let plain = |part: &str| (part.len() == 2).then(|| part.parse::<u16>().ok()).flatten();
        let (hours, minutes) = (plain(hours)?, plain(minutes)?);
        let total = hours * 60 + minutes;
        (minutes < 60 && total <= 24 * 60).then_some(total)
    };
    parse().ok_or_else(|| format!("{text:?} is no time of day between 00:00 and 24:00"))
}

fn ends(text: &str) -> (&str, &str) {
    text.split_once(':')
        .map_or((text.trim(), text.trim()), |(first, last)| (first.trim(), last.trim()))
}

fn ordered<T: PartialOrd>(text: &str, one: impl Fn(&str) -> Result<T, String>) -> Result<(T, T), String> {
    let (first, last) = ends(text);
    let (first, last) = (one(first)?, one(last)?);
    if first > last {
        return Err(format!("{text:?} ends before it begins"));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests;
