//! OpenTelemetry's names as Prometheus writes them.
//!
//! The rules are those of Prometheus' OTLP endpoint in its default mode, `UnderscoreEscapingWithSuffixes`
//! (github.com/prometheus/otlptranslator, `metric_namer.go`, `label_namer.go`, with the units of Prometheus 3.5).
//!
//! ```
//! use foreshock_wire::{metric::Kind, prometheus_name};
//! assert_eq!(prometheus_name("system.cpu.time", "s", Kind::Counter), "system_cpu_time_seconds_total");
//! assert_eq!(prometheus_name("system.memory.utilization", "1", Kind::Gauge), "system_memory_utilization_ratio");
//! assert_eq!(prometheus_name("hw.errors", "{error}", Kind::Counter), "hw_errors_total");
//! ```

use crate::metric::Kind;

/// Name of a metric in Prometheus; empty where nothing of the name is left, as with `"@@"`.
///
/// A summary and an exponential histogram are named as [`Kind::Histogram`].
#[must_use]
pub fn prometheus_name(name: &str, unit: &str, kind: Kind) -> String {
    let mut out = String::with_capacity(name.len() + unit.len() + 16);
    write_metric_name(name, unit, kind, &mut out);
    out
}

/// As [`prometheus_name`], appended to `out`; false where nothing of the name is left and nothing was written.
pub fn write_metric_name(name: &str, unit: &str, kind: Kind, out: &mut String) -> bool {
    // `total` and `ratio` move to the end, wherever they stand.
    let last = match kind {
        Kind::Counter => Some("total"),
        Kind::Gauge if unit == "1" => Some("ratio"),
        _ => None,
    };
    let before = out.len();
    let mut push = |token: &str| {
        if out.len() > before {
            out.push('_');
        } else if token.starts_with(|c: char| c.is_ascii_digit()) {
            // A metric's name does not start with a digit.
            out.push('_');
        }
        out.push_str(token);
    };
    let tokens = || {
        name.split(|c: char| !c.is_ascii_alphanumeric() && c != ':')
            .filter(|t| !t.is_empty())
    };
    tokens().filter(|t| Some(*t) != last).for_each(&mut push);

    let (main, per) = unit_suffixes(unit);
    let mut main = clean(main.unwrap_or_default());
    let per = per
        .map(|per| clean(&format!("per_{per}")))
        .filter(|per| per != "per_")
        .unwrap_or_default();
    let per = per.strip_suffix('_').unwrap_or(&per);
    if !per.is_empty() && main.ends_with('_') {
        main.pop();
    }
    for suffix in [main.as_str(), per] {
        // A name that already tells its unit does not repeat it.
        if !suffix.is_empty() && Some(suffix) != last && !tokens().any(|t| t == suffix) {
            push(suffix);
        }
    }
    if let Some(last) = last {
        push(last);
    }
    out.len() > before
}

/// How OpenTelemetry's names become Prometheus'; the words are those of Prometheus' `otlp.translation_strategy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Translation {
    /// Other characters than Prometheus' own become underscores; units and `_total` are appended.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// Other characters become underscores; nothing is appended.
    UnderscoreEscapingWithoutSuffixes,
    /// Names keep their characters; units and `_total` are appended.
    NoUtf8EscapingWithSuffixes,
    /// Names stay as they are.
    NoTranslation,
}

impl Translation {
    /// All of them, by the word for it.
    const WORDS: [(&'static str, Self); 4] = [
        ("UnderscoreEscapingWithSuffixes", Self::UnderscoreEscapingWithSuffixes),
        (
            "UnderscoreEscapingWithoutSuffixes",
            Self::UnderscoreEscapingWithoutSuffixes,
        ),
        ("NoUTF8EscapingWithSuffixes", Self::NoUtf8EscapingWithSuffixes),
        ("NoTranslation", Self::NoTranslation),
    ];

    /// The translation that Prometheus calls `word`.
    #[must_use]
    pub fn of_str(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(name, _)| *name == word).map(|(_, t)| t)
    }

    /// The words that [`Translation::of_str`] knows.
    pub fn words() -> impl Iterator<Item = &'static str> {
        Self::WORDS.into_iter().map(|(word, _)| word)
    }

    /// Appends a metric's name; false where nothing of it is left and nothing was written.
    ///
    /// ```
    /// use foreshock_wire::{metric::Kind, prometheus::Translation};
    /// let mut out = String::new();
    /// assert!(Translation::NoUtf8EscapingWithSuffixes.write_metric_name("system.cpu.time", "s", Kind::Counter, &mut out));
    /// assert_eq!(out, "system.cpu.time_seconds_total");
    /// ```
    pub fn write_metric_name(self, name: &str, unit: &str, kind: Kind, out: &mut String) -> bool {
        match self {
            Self::UnderscoreEscapingWithSuffixes => write_metric_name(name, unit, kind, out),
            Self::UnderscoreEscapingWithoutSuffixes => {
                let before = out.len();
                let mut separator = "";
                let kept = |c: char| c.is_ascii_alphanumeric() || c == ':' || c == '_';
                for token in name.split(|c| !kept(c)).filter(|t| !t.is_empty()) {
                    if out.len() > before || token.starts_with(|c: char| c.is_ascii_digit()) {
                        // Between what was apart, and because a metric's name does not start with a digit.
                        separator = "_";
                    }
                    out.push_str(separator);
                    out.push_str(token);
                }
                let named = out[before..].bytes().any(|b| b != b'_');
                if !named {
                    out.truncate(before);
                }
                named
            }
            Self::NoUtf8EscapingWithSuffixes => {
                write_utf8_name(name, unit, kind, out);
                !name.is_empty()
            }
            Self::NoTranslation => {
                out.push_str(name);
                !name.is_empty()
            }
        }
    }

    /// Appends a label's name; false, with nothing written, where nothing of it is left.
    pub fn write_label_name(self, name: &str, out: &mut String) -> bool {
        match self {
            Self::UnderscoreEscapingWithSuffixes | Self::UnderscoreEscapingWithoutSuffixes => {
                write_label_name(name, out)
            }
            Self::NoUtf8EscapingWithSuffixes | Self::NoTranslation => {
                out.push_str(name);
                !name.is_empty()
            }
        }
    }
}

/// The name with its own characters and Prometheus' suffixes; one that it ends with already moves to its place.
fn write_utf8_name(name: &str, unit: &str, kind: Kind, out: &mut String) {
    let cut = |name: &mut &str, suffix: &str| {
        if name.len() > suffix.len() + 1
            && name.ends_with(suffix)
            && name.is_char_boundary(name.len() - suffix.len() - 1)
        {
            *name = &name[..name.len() - suffix.len() - 1];
        }
    };
    let mut name = name;
    let last = match kind {
        Kind::Counter => Some("total"),
        Kind::Gauge if unit == "1" => Some("ratio"),
        _ => None,
    };
    if let Some(last) = last {
        cut(&mut name, last);
    }
    let (main, per) = unit_suffixes(unit);
    let per = per.map(|per| format!("per_{per}"));
    if let Some(per) = &per {
        cut(&mut name, per);
    }
    out.push_str(name);
    let main = main.filter(|main| !main.is_empty() && !name.ends_with(main));
    for suffix in main.into_iter().chain(per.as_deref()).chain(last) {
        out.push('_');
        out.push_str(suffix);
    }
}

/// What Prometheus' metadata calls a unit: `seconds`, `bytes_per_second`; empty where there is nothing to call.
///
/// ```
/// assert_eq!(foreshock_wire::prometheus::unit_name("By/s"), "bytes_per_second");
/// ```
#[must_use]
pub fn unit_name(unit: &str) -> String {
    let (main, per) = unit_suffixes(unit);
    let main = clean(main.unwrap_or_default());
    let per = per.map(|per| clean(&format!("per_{per}"))).unwrap_or_default();
    let separator = if main.is_empty() || per.is_empty() { "" } else { "_" };
    format!("{main}{separator}{per}").trim_matches('_').to_owned()
}

/// Appends the name of a label in Prometheus; false, with nothing written, where nothing of the name is left.
///
/// ```
/// use foreshock_wire::prometheus::write_label_name;
/// let mut out = String::new();
/// assert!(write_label_name("host.name", &mut out));
/// assert_eq!(out, "host_name");
/// ```
pub fn write_label_name(name: &str, out: &mut String) -> bool {
    let before = out.len();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        out.push_str("key_");
    }
    let mut chars = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .peekable();
    if chars.peek() == Some(&'_') {
        chars.next();
        // Names that start with two underscores are reserved and kept as they are.
        out.push_str(if chars.peek() == Some(&'_') { "_" } else { "key_" });
    }
    out.extend(chars);
    let valid = out[before..].bytes().any(|b| b != b'_') || (out.len() > before && &out[before..] == name);
    if !valid {
        out.truncate(before);
    }
    valid
}

/// The names of the unit before the slash and of the one after it; annotations in braces have none.
fn unit_suffixes(unit: &str) -> (Option<&str>, Option<&str>) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let named = |text: &'_ str| !text.is_empty() && !text.contains(['{', '}']);
    let (main, per) = (main.trim(), per.trim());
    (named(main).then(|| main_unit(main)), named(per).then(|| per_unit(per)))
}

fn main_unit(unit: &str) -> &str {
    match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tibibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "1" => "",
        "%" => "percent",
        other => other,
    }
}

fn per_unit(unit: &str) -> &str {
    match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        other => other,
    }
}

/// Other characters become underscores, runs of them one, and none leads.
fn clean(unit: &str) -> String {
    let mut out = String::with_capacity(unit.len());
    for c in unit.chars() {
        if c.is_ascii_alphanumeric() || c == ':' {
            out.push(c);
        } else if !out.is_empty() && !out.ends_with('_') {
            out.push('_');
        }
    }
    out
}

#[cfg(test)]
mod tests;
