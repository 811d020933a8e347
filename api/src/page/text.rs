//! Numbers, times and durations as people read them.

use maud::{Markup, html};

use crate::number::rfc3339;

/// A probability: `43 %`, `2.1 %`, `< 0.1 %`, `> 99 %`, never broken between number and sign.
pub(crate) fn percent(probability: f64) -> String {
    match probability {
        p if p < 0.001 => "<\u{a0}0.1\u{a0}%".to_owned(),
        p if p < 0.0995 => format!("{:.1}\u{a0}%", p * 100.0),
        p if p <= 0.99 => format!("{:.0}\u{a0}%", p * 100.0),
        _ => ">\u{a0}99\u{a0}%".to_owned(),
    }
}

/// A share that was counted: as a probability, but for none of them and all of them, which are certain.
pub(crate) fn share(counted: f64) -> String {
    match counted {
        0.0 => "0\u{a0}%".to_owned(),
        1.0 => "100\u{a0}%".to_owned(),
        some => percent(some),
    }
}

/// How urgent a probability looks: 3 at a half, 2 at a fifth, 1 at a twentieth.
pub(crate) fn risk_class(probability: f64) -> &'static str {
    match probability {
        p if p >= 0.5 => "r3",
        p if p >= 0.2 => "r2",
        p if p >= 0.05 => "r1",
        _ => "r0",
    }
}

/// How urgent a score looks: one that alerts is never shown as calm, however low the threshold is.
pub(crate) fn score_class(probability: f64, alerts: bool) -> &'static str {
    match risk_class(probability) {
        "r0" | "r1" if alerts => "r2",
        class => class,
    }
}

/// A duration in one unit, rounded: `45 s`, `12 min`, `5 h`, `3 d`.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds.max(0.0) {
        s if s < 119.5 => format!("{s:.0}\u{a0}s"),
        s if s < 119.5 * 60.0 => format!("{:.0}\u{a0}min", s / 60.0),
        s if s < 47.5 * 3600.0 => format!("{:.0}\u{a0}h", s / 3600.0),
        s if s < 365.0 * 86_400.0 => format!("{:.0}\u{a0}d", s / 86_400.0),
        _ => "more than a year".to_owned(),
    }
}

/// A horizon with its unit apart: `1 h`.
pub(crate) fn span(horizon: predict::Horizon) -> String {
    let text = horizon.to_string();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    format!("{}\u{a0}{}", &text[..digits], &text[digits..])
}

/// A number with at most four digits that say something.
pub(crate) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "unknown".to_owned();
    }
    let size = value.abs();
    let digits = match size {
        s if s >= 100.0 || s == 0.0 => 0,
        s if s >= 10.0 => 1,
        s if s >= 0.1 => 2,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    if digits > 0 {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A value with its unit (UCUM, as OpenTelemetry writes units).
pub(crate) fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "1" | "ratio" => format!("{}\u{a0}%", number(value * 100.0)),
        "By" | "bytes" => scaled(value, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"]),
        "By/s" | "bytes/s" => scaled(value, 1000.0, &["B/s", "kB/s", "MB/s", "GB/s", "TB/s"]),
        "s" | "seconds" if value.abs() < 1.0 => format!("{}\u{a0}ms", number(value * 1000.0)),
        "s" | "seconds" => format!("{}\u{a0}s", number(value)),
        "Cel" | "celsius" => format!("{}\u{a0}°C", number(value)),
        "W" | "watts" => format!("{}\u{a0}W", number(value)),
        // Annotations in braces name what is counted and are no unit.
        unit if unit.is_empty() || unit.starts_with('{') => number(value),
        unit => format!("{}\u{a0}{unit}", number(value)),
    }
}

fn scaled(value: f64, base: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut at = 0;
    while value.abs() >= base && at + 1 < units.len() {
        value /= base;
        at += 1;
    }
    format!("{}\u{a0}{}", number(value), units[at])
}

/// A moment: UTC from the server, the viewer's own zone once the script has run, UTC in the tooltip always.
pub(crate) fn moment(at_ms: i64) -> Markup {
    html! { time datetime=(rfc3339(at_ms)) title=(utc(at_ms)) { (utc_short(at_ms)) } }
}

/// A moment that stands beside another one: with its day even where that is today's.
pub(crate) fn dated(at_ms: i64) -> Markup {
    html! { time datetime=(rfc3339(at_ms)) title=(utc(at_ms)) data-kind="dated" { (utc_short(at_ms)) } }
}

/// How long ago a moment was.
pub(crate) fn ago(now_ms: i64, at_ms: i64) -> Markup {
    let text = match (now_ms - at_ms) as f64 / 1000.0 {
        s if s < -1.0 => format!("in {}", duration(-s)),
        s if s < 1.0 => "now".to_owned(),
        s => format!("{} ago", duration(s)),
    };
    html! { time datetime=(rfc3339(at_ms)) title=(utc(at_ms)) data-kind="ago" { (text) } }
}

fn utc(at_ms: i64) -> String {
    strftime(at_ms, "%Y-%m-%d %H:%M:%S UTC")
}

/// A moment of this year: `Nov 22, 15:21 UTC`.
pub(crate) fn utc_short(at_ms: i64) -> String {
    strftime(at_ms, "%b %-d, %H:%M UTC")
}

fn strftime(at_ms: i64, format: &str) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |at| at.strftime(format).to_string())
}

/// `1 host`, `2 hosts`.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests;
