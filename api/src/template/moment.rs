//! Times and spans of time as Go writes them: layouts are examples, made of pieces of `Mon Jan 2 15:04:05 MST 2006`.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

use super::value::Value;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The time at so many milliseconds after 1970, in UTC.
pub(super) fn at_ms(ms: i64) -> Option<Value> {
    let at = Timestamp::from_millisecond(ms).ok()?;
    Some(Value::Time(Box::new(at.to_zoned(TimeZone::UTC))))
}

/// Go's time zero, which stands for an alert that has not ended.
pub(super) fn zero() -> Value {
    /// 0001-01-01 00:00:00 UTC.
    const ZERO_SECONDS: i64 = -62_135_596_800;
    at_ms(ZERO_SECONDS * 1000).expect("the first year is within the calendar")
}

/// As Go prints a time that nobody gave a layout for.
pub(super) fn shown(time: &Zoned) -> String {
    format(time, "2006-01-02 15:04:05.999999999 -0700 MST")
}

/// In a time zone of the system's database.
pub(super) fn in_zone(time: &Zoned, name: &str) -> Result<Value, String> {
    let zone = match name {
        "" | "UTC" | "Local" => Ok(TimeZone::UTC),
        name => TimeZone::get(name),
    };
    let zone = zone.map_err(|_| format!("there is no time zone {name:?} in the system's database"))?;
    Ok(Value::Time(Box::new(time.with_time_zone(zone))))
}

/// Nanoseconds from `then` to `now`.
pub(super) fn between(then: &Zoned, now: &Zoned) -> Value {
    let passed = now.timestamp().duration_since(then.timestamp()).as_nanos();
    Value::Span(i64::try_from(passed).unwrap_or(if passed < 0 { i64::MIN } else { i64::MAX }))
}

/// A piece of a layout.
#[derive(Clone, Copy, PartialEq)]
enum Piece {
    Year,
    YearShort,
    Month,
    MonthShort,
    MonthNumber { zero: bool },
    Weekday,
    WeekdayShort,
    Day { pad: Option<char> },
    DayOfYear { pad: char },
    Hour,
    HourHalf { zero: bool },
    Minute { zero: bool },
    Second { zero: bool },
    Half { upper: bool },
    Zone,
    Offset { zulu: bool, colon: bool, parts: u8 },
    Fraction { digits: usize, whole: bool },
}

/// The first piece at the beginning of `layout`, and how long it is.
fn piece(layout: &str) -> Option<(Piece, usize)> {
    const FIXED: [(&str, Piece); 37] = [
        ("January", Piece::Month),
        ("Monday", Piece::Weekday),
        ("MST", Piece::Zone),
        ("002", Piece::DayOfYear { pad: '0' }),
        ("01", Piece::MonthNumber { zero: true }),
        ("02", Piece::Day { pad: Some('0') }),
        ("03", Piece::HourHalf { zero: true }),
        ("04", Piece::Minute { zero: true }),
        ("05", Piece::Second { zero: true }),
        ("06", Piece::YearShort),
        ("15", Piece::Hour),
        ("1", Piece::MonthNumber { zero: false }),
        ("2006", Piece::Year),
        ("2", Piece::Day { pad: None }),
        ("__2", Piece::DayOfYear { pad: ' ' }),
        ("_2", Piece::Day { pad: Some(' ') }),
        ("3", Piece::HourHalf { zero: false }),
        ("4", Piece::Minute { zero: false }),
        ("5", Piece::Second { zero: false }),
        ("PM", Piece::Half { upper: true }),
        ("pm", Piece::Half { upper: false }),
        ("-070000", offset(false, false, 3)),
        ("-07:00:00", offset(false, true, 3)),
        ("-0700", offset(false, false, 2)),
        ("-07:00", offset(false, true, 2)),
        ("-07", offset(false, false, 1)),
        ("Z070000", offset(true, false, 3)),
        ("Z07:00:00", offset(true, true, 3)),
        ("Z0700", offset(true, false, 2)),
        ("Z07:00", offset(true, true, 2)),
        ("Z07", offset(true, false, 1)),
        // Names of months and days in short, unless a longer word begins so.
        ("Jan", Piece::MonthShort),
        ("Mon", Piece::WeekdayShort),
        // Fractions of a second, of any length.
        (".0", Piece::Fraction { digits: 0, whole: true }),
        (",0", Piece::Fraction { digits: 0, whole: true }),
        (
            ".9",
            Piece::Fraction {
                digits: 0,
                whole: false,
            },
        ),
        (
            ",9",
            Piece::Fraction {
                digits: 0,
                whole: false,
            },
        ),
    ];
    if layout.starts_with("_2006") {
        // The underscore is one.
        return None;
    }
    let (text, found) = FIXED.iter().find(|(text, _)| layout.starts_with(text))?;
    let after = &layout[text.len()..];
    match found {
        Piece::MonthShort | Piece::WeekdayShort if after.starts_with(|c: char| c.is_ascii_lowercase()) => None,
        Piece::Fraction { whole, .. } => {
            let digit = if *whole { '0' } else { '9' };
            let digits = 1 + after.chars().take_while(|c| *c == digit).count();
            let ends = !layout[1 + digits..].starts_with(|c: char| c.is_ascii_digit());
            ends.then_some((Piece::Fraction { digits, whole: *whole }, 1 + digits))
        }
        found => Some((*found, text.len())),
    }
}

const fn offset(zulu: bool, colon: bool, parts: u8) -> Piece {
    Piece::Offset { zulu, colon, parts }
}

/// Go's `Time.Format`.
pub(super) fn format(time: &Zoned, layout: &str) -> String {
    let mut out = String::new();
    let mut rest = layout;
    while let Some(next) = rest.chars().next() {
        match piece(rest) {
            Some((found, length)) => {
                out.push_str(&written(time, found, &rest[..length]));
                rest = &rest[length..];
            }
            None => {
                out.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    out
}

fn written(time: &Zoned, piece: Piece, text: &str) -> String {
    let month = MONTHS[usize::try_from(time.month() - 1).unwrap_or(0) % 12];
    let half = |hour: i8| if hour % 12 == 0 { 12 } else { hour % 12 };
    let two = |number: i8, zero: bool| {
        if zero {
            format!("{number:02}")
        } else {
            number.to_string()
        }
    };
    match piece {
        Piece::Year => format!("{:04}", time.year()),
        Piece::YearShort => format!("{:02}", time.year().rem_euclid(100)),
        Piece::Month => month.to_owned(),
        Piece::MonthShort => month[..3].to_owned(),
        Piece::MonthNumber { zero } => two(time.month(), zero),
        Piece::Weekday => weekday(time).to_owned(),
        Piece::WeekdayShort => weekday(time)[..3].to_owned(),
        Piece::Day { pad: None } => time.day().to_string(),
        Piece::Day { pad: Some('0') } => format!("{:02}", time.day()),
        Piece::Day { .. } => format!("{:2}", time.day()),
        Piece::DayOfYear { pad: '0' } => format!("{:03}", time.day_of_year()),
        Piece::DayOfYear { .. } => format!("{:3}", time.day_of_year()),
        Piece::Hour => two(time.hour(), true),
        Piece::HourHalf { zero } => two(half(time.hour()), zero),
        Piece::Minute { zero } => two(time.minute(), zero),
        Piece::Second { zero } => two(time.second(), zero),
        Piece::Half { upper } => match (time.hour() >= 12, upper) {
            (true, true) => "PM",
            (false, true) => "AM",
            (true, false) => "pm",
            (false, false) => "am",
        }
        .to_owned(),
        Piece::Zone => zone_name(time),
        Piece::Offset { zulu, colon, parts } => {
            let seconds = time.offset().seconds();
            if zulu && seconds == 0 {
                return "Z".to_owned();
            }
            let sign = if seconds < 0 { '-' } else { '+' };
            let seconds = seconds.unsigned_abs();
            let numbers = [seconds / 3600, seconds / 60 % 60, seconds % 60];
            let numbers: Vec<String> = numbers[..usize::from(parts)]
                .iter()
                .map(|n| format!("{n:02}"))
                .collect();
            format!("{sign}{}", numbers.join(if colon { ":" } else { "" }))
        }
        Piece::Fraction { digits, whole } => {
            let nanos = format!("{:09}", time.subsec_nanosecond());
            let mut shown: String = nanos.chars().take(digits).collect();
            shown.extend(std::iter::repeat_n('0', digits.saturating_sub(9).min(90)));
            if !whole {
                shown.truncate(shown.trim_end_matches('0').len());
                if shown.is_empty() {
                    return shown;
                }
            }
            format!("{}{shown}", &text[..1])
        }
    }
}

fn weekday(time: &Zoned) -> &'static str {
    match time.weekday() {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

fn zone_name(time: &Zoned) -> String {
    if *time.time_zone() == TimeZone::UTC {
        return "UTC".to_owned();
    }
    time.time_zone()
        .to_offset_info(time.timestamp())
        .abbreviation()
        .to_owned()
}

/// Go's `Duration.String`: `1h2m3.5s`, or in a smaller unit below a second.
pub(super) fn span(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let size = nanos.unsigned_abs();
    let decimal = |of: u64| {
        let text = format!("{}.{:0width$}", size / of, size % of, width = of.ilog10() as usize);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match size {
        0..1_000 => return format!("{sign}{size}ns"),
        1_000..1_000_000 => return format!("{sign}{}µs", decimal(1_000)),
        1_000_000..1_000_000_000 => return format!("{sign}{}ms", decimal(1_000_000)),
        _ => {}
    }
    let (hours, minutes) = (size / 3_600_000_000_000, size / 60_000_000_000 % 60);
    let below = size % 60_000_000_000;
    let seconds = format!("{}.{:09}", below / 1_000_000_000, below % 1_000_000_000);
    let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// What a method of a time gives, where there is one of that name.
pub(super) fn of_time(time: &Zoned, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
    let number = |number: i64| Ok(Value::Whole(number));
    let other = || match arguments {
        [Value::Time(other)] => Ok(other),
        _ => Err("it takes a time".to_owned()),
    };
    let plain = |value: Result<Value, String>| {
        if arguments.is_empty() {
            value
        } else {
            Err("it takes nothing".to_owned())
        }
    };
    Some(match name {
        "Format" => match arguments {
            [Value::Text(layout)] => Ok(Value::Text(format(time, layout))),
            _ => Err("it takes a layout, as \"2006-01-02 15:04\"".to_owned()),
        },
        "Add" => match arguments {
            [span] => span
                .whole()
                .and_then(|nanos| time.checked_add(SignedDuration::from_nanos(nanos)).ok())
                .map(|time| Value::Time(Box::new(time)))
                .ok_or_else(|| "it takes a span of time in nanoseconds".to_owned()),
            _ => Err("it takes a span of time in nanoseconds".to_owned()),
        },
        "AddDate" => match arguments {
            [years, months, days] => added(time, [years, months, days]),
            _ => Err("it takes years, months and days".to_owned()),
        },
        "Sub" => other().map(|other| between(other, time)),
        "Before" => other().map(|other| Value::Bool(time.timestamp() < other.timestamp())),
        "After" => other().map(|other| Value::Bool(time.timestamp() > other.timestamp())),
        "Equal" => other().map(|other| Value::Bool(time.timestamp() == other.timestamp())),
        // Servers speak UTC: what time it is where somebody reads a message, `tz` says.
        "UTC" | "Local" => plain(in_zone(time, "UTC")),
        "IsZero" => plain(Ok(Value::Bool(zero() == Value::Time(Box::new(time.clone()))))),
        "Unix" => plain(number(time.timestamp().as_second())),
        "UnixMilli" => plain(number(time.timestamp().as_millisecond())),
        "UnixMicro" => plain(number(time.timestamp().as_microsecond())),
        "UnixNano" => plain(number(
            i64::try_from(time.timestamp().as_nanosecond()).unwrap_or(i64::MIN),
        )),
        "Year" => plain(number(i64::from(time.year()))),
        "Month" => plain(Ok(Value::text(written(time, Piece::Month, "")))),
        "Day" => plain(number(i64::from(time.day()))),
        "YearDay" => plain(number(i64::from(time.day_of_year()))),
        "Weekday" => plain(Ok(Value::text(weekday(time)))),
        "Hour" => plain(number(i64::from(time.hour()))),
        "Minute" => plain(number(i64::from(time.minute()))),
        "Second" => plain(number(i64::from(time.second()))),
        "Nanosecond" => plain(number(i64::from(time.subsec_nanosecond()))),
        "String" => plain(Ok(Value::Text(shown(time)))),
        _ => return None,
    })
}

/// A date that the month does not have runs over into the next one.
fn added(time: &Zoned, parts: [&Value; 3]) -> Result<Value, String> {
    let wrong = || "it takes years, months and days within the calendar".to_owned();
    let part = |value: &Value| {
        value
            .whole()
            .and_then(|number| i32::try_from(number).ok())
            .ok_or_else(wrong)
    };
    let [years, months, days] = [part(parts[0])?, part(parts[1])?, part(parts[2])?];
    let months = i64::from(time.month()) - 1 + i64::from(months) + i64::from(years) * 12;
    let year = i16::try_from(i64::from(time.year()) + months.div_euclid(12)).map_err(|_| wrong())?;
    let month = i8::try_from(months.rem_euclid(12) + 1).map_err(|_| wrong())?;
    let date = jiff::civil::Date::new(year, month, 1).map_err(|_| wrong())?;
    let days = jiff::Span::new()
        .try_days(i64::from(days) + i64::from(time.day()) - 1)
        .map_err(|_| wrong())?;
    let date = date.checked_add(days).map_err(|_| wrong())?;
    let moved = date.to_datetime(time.time()).to_zoned(time.time_zone().clone());
    moved.map(|time| Value::Time(Box::new(time))).map_err(|_| wrong())
}

/// What a method of a span gives, where there is one of that name.
pub(super) fn of_span(nanos: i64, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
    let in_units = |unit: f64| Value::Number(nanos as f64 / unit);
    let value = match name {
        "Hours" => in_units(3.6e12),
        "Minutes" => in_units(6e10),
        "Seconds" => in_units(1e9),
        "Milliseconds" => Value::Whole(nanos / 1_000_000),
        "Microseconds" => Value::Whole(nanos / 1_000),
        "Nanoseconds" => Value::Whole(nanos),
        "Abs" => Value::Span(nanos.saturating_abs()),
        "String" => Value::Text(span(nanos)),
        "Round" | "Truncate" => {
            let [unit] = arguments else {
                return Some(Err("it takes a span of time in nanoseconds".to_owned()));
            };
            let Some(unit) = unit.whole() else {
                return Some(Err("it takes a span of time in nanoseconds".to_owned()));
            };
            if unit <= 0 {
                return Some(Ok(Value::Span(nanos)));
            }
            let over = nanos % unit;
            let down = nanos - over;
            let is_nearer_above = name == "Round" && over.unsigned_abs() >= unit.unsigned_abs().div_ceil(2);
            return Some(Ok(Value::Span(match is_nearer_above {
                true if nanos < 0 => down.saturating_sub(unit),
                true => down.saturating_add(unit),
                false => down,
            })));
        }
        _ => return None,
    };
    Some(if arguments.is_empty() {
        Ok(value)
    } else {
        Err("it takes nothing".to_owned())
    })
}
