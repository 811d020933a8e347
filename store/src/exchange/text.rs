//! Prometheus' text format and OpenMetrics, with a timestamp on every line.
//!
//! ```text
//! # TYPE http_requests counter
//! http_requests_total{code="200",host="a"} 1027 1795305600.123        OpenMetrics: seconds
//! http_requests_total{code="200",host="a"} 1027 1795305600123         Prometheus: milliseconds
//! {"disk.used",host="a"} 17 1795305600.123                            names that are no identifiers stand in quotes
//! # EOF                                                               OpenMetrics alone
//! ```

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use super::lines::{Line, Lines};
use super::{ExchangeError, Found, Sink};
use crate::series::{LabelsBuf, METRIC_NAME, is_stale};
use crate::{Metadata, MetricKind};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    OpenMetrics,
    Prometheus,
}

/// Consecutive lines of one series are handed on together, up to this.
const TOGETHER_MAX: usize = 4096;

pub(super) fn read(input: &mut dyn BufRead, dialect: Dialect, sink: &mut dyn Sink) -> Result<Found, ExchangeError> {
    let mut lines = Lines::new(input);
    let mut found = Found::default();
    let mut open = Open::default();
    let mut described: BTreeMap<String, Metadata> = BTreeMap::new();
    while let Some(line) = lines.next().map_err(ExchangeError::Read)? {
        found.lines += 1;
        let line = match line {
            Line::Text(line) => line.trim_ascii(),
            Line::TooLong => {
                found.bad(&"it is too long");
                continue;
            }
            Line::NotText => {
                found.bad(&"it is no UTF-8");
                continue;
            }
        };
        if line == "# EOF" && dialect == Dialect::OpenMetrics {
            break;
        }
        if let Some(comment) = line.strip_prefix('#') {
            describe(comment, &mut described);
            continue;
        }
        if line.is_empty() {
            continue;
        }
        match open.line(line, dialect) {
            Ok(Next::SameSeries) => {}
            Ok(Next::OtherSeries { at, value }) => {
                open.hand_on(&mut found, sink)?;
                if let Err(what) = open.begin(line) {
                    found.bad(&what);
                    continue;
                }
                open.timestamps.push(at);
                open.values.push(value);
            }
            Err(what) => found.bad(&what),
        }
        if open.values.len() >= TOGETHER_MAX {
            open.hand_on(&mut found, sink)?;
        }
    }
    open.hand_on(&mut found, sink)?;
    for (family, about) in described {
        // OpenMetrics names the family of a counter without what its samples end in.
        let metric = match (dialect, about.kind) {
            (Dialect::OpenMetrics, MetricKind::Counter) if !family.ends_with("_total") => format!("{family}_total"),
            _ => family,
        };
        sink.metadata(&metric, about)?;
    }
    Ok(found)
}

/// The series that the last line was about, and its samples that were not handed on yet.
#[derive(Default)]
struct Open {
    name: String,
    labels: LabelsBuf,
    timestamps: Vec<i64>,
    values: Vec<f64>,
}

enum Next {
    SameSeries,
    OtherSeries { at: i64, value: f64 },
}

impl Open {
    /// Takes a line of the open series, or says what a line of another one holds.
    fn line(&mut self, line: &str, dialect: Dialect) -> Result<Next, String> {
        let (name, rest) = split_series(line)?;
        let (at, value) = sample(rest, dialect)?;
        if name == self.name {
            self.timestamps.push(at);
            self.values.push(value);
            return Ok(Next::SameSeries);
        }
        Ok(Next::OtherSeries { at, value })
    }

    fn begin(&mut self, line: &str) -> Result<(), String> {
        self.name.clear();
        self.labels.clear();
        let (name, _) = split_series(line)?;
        labels(name, &mut self.labels)?;
        self.name.push_str(name);
        Ok(())
    }

    fn hand_on(&mut self, found: &mut Found, sink: &mut dyn Sink) -> Result<(), ExchangeError> {
        if !self.values.is_empty() {
            found.samples += self.values.len() as u64;
            sink.series(&mut self.labels, &self.timestamps, &self.values)?;
            self.timestamps.clear();
            self.values.clear();
        }
        Ok(())
    }
}

/// The name with its labels, and what follows.
fn split_series(line: &str) -> Result<(&str, &str), String> {
    let (mut quoted, mut escaped, mut braces) = (false, false, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if braces => quoted = !quoted,
            _ if quoted => {}
            b'{' if !braces => braces = true,
            b'}' if braces => return Ok(line.split_at(at + 1)),
            b' ' | b'\t' if !braces => {
                // A space may stand between a name and its labels.
                let rest = line[at..].trim_ascii_start();
                if !rest.starts_with('{') || at == 0 {
                    return Ok(line.split_at(at));
                }
            }
            _ => {}
        }
    }
    Err(match braces {
        true => "its labels do not end".to_owned(),
        false => "it has no value".to_owned(),
    })
}

/// Timestamp and value at the end of a line.
fn sample(rest: &str, dialect: Dialect) -> Result<(i64, f64), String> {
    let rest = rest.trim_ascii_start();
    if rest.starts_with('{') {
        return Err("native histograms are not read from text".to_owned());
    }
    let mut words = rest.split_ascii_whitespace();
    let value = words.next().ok_or("it has no value")?;
    let value: f64 = value.parse().map_err(|_| format!("{value:?} is no value"))?;
    let at = words
        .next()
        .filter(|word| *word != "#")
        .ok_or("it has no timestamp: this is one scrape, not an export")?;
    let wrong = || format!("{at:?} is no timestamp in {}", dialect.unit());
    let millis = match dialect {
        Dialect::Prometheus => at.parse().map_err(|_| wrong())?,
        Dialect::OpenMetrics => {
            let millis = (at.parse::<f64>().map_err(|_| wrong())? * 1000.0).round();
            // Beyond this a millisecond is no longer exact, and no clock shows such a time.
            if millis.is_nan() || millis.abs() >= 9.0e15 {
                return Err(wrong());
            }
            millis as i64
        }
    };
    match (dialect, words.next()) {
        (_, None) | (Dialect::OpenMetrics, Some("#")) => Ok((millis, value)),
        (_, Some(more)) => Err(format!("{more:?} follows its timestamp")),
    }
}

impl Dialect {
    const fn unit(self) -> &'static str {
        match self {
            Self::OpenMetrics => "seconds",
            Self::Prometheus => "milliseconds",
        }
    }
}

/// The labels of `name{a="b",...}`, the metric's name among them.
fn labels(series: &str, out: &mut LabelsBuf) -> Result<(), String> {
    let (name, mut rest) = series.split_at(series.find('{').unwrap_or(series.len()));
    let name = name.trim_ascii_end();
    if !name.is_empty() {
        out.push(METRIC_NAME, name);
    }
    let Some(inner) = rest.strip_prefix('{').and_then(|r| r.strip_suffix('}')) else {
        return Ok(());
    };
    rest = inner.trim_ascii();
    while !rest.is_empty() {
        let (label, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = rest.find(['=', ',']).unwrap_or(rest.len());
                (rest[..end].trim_ascii_end().to_owned(), &rest[end..])
            }
        };
        let after = after.trim_ascii_start();
        rest = match after.strip_prefix('=') {
            Some(value) => {
                let value = value.trim_ascii_start();
                let value = value
                    .strip_prefix('"')
                    .ok_or("the value of a label does not stand in quotes")?;
                let (value, after) = unquote(value)?;
                out.push(&label, &value);
                after
            }
            // A name alone in quotes is the metric's.
            None if rest.starts_with('"') => {
                out.push(METRIC_NAME, &label);
                after
            }
            None => return Err(format!("label {label:?} has no value")),
        };
        rest = rest.trim_ascii_start();
        rest = match rest.strip_prefix(',') {
            Some(next) => next.trim_ascii_start(),
            None if rest.is_empty() => rest,
            None => return Err("a comma lacks between two labels".to_owned()),
        };
    }
    Ok(())
}

/// The text up to the closing quote, and what follows it.
fn unquote(text: &str) -> Result<(String, &str), String> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((out, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, c @ ('\\' | '"'))) => out.push(c),
                // As Prometheus: other escapes stand for themselves.
                Some((_, c)) => out.extend(['\\', c]),
                None => break,
            },
            c => out.push(c),
        }
    }
    Err("a text in quotes does not end".to_owned())
}

/// Adds what `# TYPE`, `# HELP` or `# UNIT` says to what is known of a metric.
fn describe(comment: &str, known: &mut BTreeMap<String, Metadata>) {
    /// Metrics that one file may describe: what is known of them is held until its end.
    const DESCRIBED_MAX: usize = 100_000;
    let mut words = comment.trim_ascii_start().splitn(3, ' ');
    let (Some(what @ ("TYPE" | "HELP" | "UNIT")), Some(name)) = (words.next(), words.next()) else {
        return;
    };
    let name = name.trim_matches('"');
    if known.len() >= DESCRIBED_MAX && !known.contains_key(name) {
        return;
    }
    let text = words.next().unwrap_or("").trim_ascii();
    let about = known.entry(name.to_owned()).or_default();
    match what {
        "TYPE" => about.kind = MetricKind::of_str(text),
        "UNIT" => text.clone_into(&mut about.unit),
        _ => about.help = unescape(text),
    }
}

/// A help text without its escapes.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some(c) => out.push(c),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out
}

/// Writes text.
pub(super) struct TextWriter {
    dialect: Dialect,
    metadata: BTreeMap<String, Metadata>,
    line: Vec<u8>,
    /// Staleness markers that were left out.
    pub(super) left_out: u64,
}

impl TextWriter {
    pub(super) fn new(dialect: Dialect, metadata: BTreeMap<String, Metadata>) -> Self {
        Self {
            dialect,
            metadata,
            line: Vec::new(),
            left_out: 0,
        }
    }

    pub(super) fn series(
        &mut self,
        out: &mut dyn Write,
        labels: &LabelsBuf,
        timestamps: &[i64],
        values: &[f64],
    ) -> io::Result<()> {
        let metric = labels
            .iter()
            .find(|(name, _)| *name == METRIC_NAME)
            .map_or("", |(_, name)| name);
        self.header(out, metric)?;
        self.line.clear();
        name_and_labels(&mut self.line, metric, labels)?;
        let prefix = self.line.len();
        for (&at, &value) in timestamps.iter().zip(values) {
            if is_stale(value) {
                self.left_out += 1;
                continue;
            }
            self.line.truncate(prefix);
            self.line.push(b' ');
            number(&mut self.line, value)?;
            match self.dialect {
                Dialect::Prometheus => writeln!(self.line, " {at}")?,
                Dialect::OpenMetrics => {
                    let sign = if at < 0 { "-" } else { "" };
                    let at = at.unsigned_abs();
                    writeln!(self.line, " {sign}{}.{:03}", at / 1000, at % 1000)?;
                }
            }
            out.write_all(&self.line)?;
        }
        Ok(())
    }

    /// What the metric is, before its first series.
    fn header(&mut self, out: &mut dyn Write, metric: &str) -> io::Result<()> {
        let family = ["", "_bucket", "_count", "_sum"]
            .into_iter()
            .filter_map(|suffix| metric.strip_suffix(suffix))
            .find_map(|family| self.metadata.remove_entry(family));
        let Some((family, about)) = family.filter(|(family, _)| is_identifier(family, true)) else {
            return Ok(());
        };
        let open = self.dialect == Dialect::OpenMetrics;
        let (family, kind) = match (about.kind, family.strip_suffix("_total")) {
            (MetricKind::Counter, Some(family)) if open => (family, MetricKind::Counter),
            // A reader would look for a metric that ends in `_total`.
            (MetricKind::Counter, None) if open => (&*family, MetricKind::Unknown),
            (kind, _) => (&*family, kind),
        };
        let kind = match kind {
            MetricKind::Unknown if !open => "untyped",
            MetricKind::Info if !open => "gauge",
            kind => kind.as_str(),
        };
        if !about.help.is_empty() {
            let help = about.help.replace('\\', "\\\\").replace('\n', "\\n");
            writeln!(out, "# HELP {family} {help}")?;
        }
        // A unit is the end of the name, or no unit to a strict reader.
        if open && !about.unit.is_empty() && family.strip_suffix(&about.unit).is_some_and(|name| name.ends_with('_')) {
            writeln!(out, "# UNIT {family} {}", about.unit)?;
        }
        writeln!(out, "# TYPE {family} {kind}")
    }

    pub(super) fn finish(&self, out: &mut dyn Write) -> io::Result<()> {
        match self.dialect {
            Dialect::OpenMetrics => out.write_all(b"# EOF\n"),
            Dialect::Prometheus => Ok(()),
        }
    }
}

fn name_and_labels(line: &mut Vec<u8>, metric: &str, labels: &LabelsBuf) -> io::Result<()> {
    let plain = is_identifier(metric, true);
    if plain {
        line.extend_from_slice(metric.as_bytes());
    }
    let mut separator = b'{';
    let mut next = |line: &mut Vec<u8>| {
        line.push(separator);
        separator = b',';
    };
    if !plain && !metric.is_empty() {
        next(line);
        quoted(line, metric);
    }
    for (name, value) in labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
        next(line);
        if is_identifier(name, false) {
            line.extend_from_slice(name.as_bytes());
        } else {
            quoted(line, name);
        }
        line.push(b'=');
        quoted(line, value);
    }
    match separator {
        b'{' if plain => {}
        b'{' => line.extend_from_slice(b"{}"),
        _ => line.push(b'}'),
    }
    Ok(())
}

fn quoted(line: &mut Vec<u8>, text: &str) {
    line.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'\n' => line.extend_from_slice(b"\\n"),
            b'"' | b'\\' => line.extend_from_slice(&[b'\\', byte]),
            byte => line.push(byte),
        }
    }
    line.push(b'"');
}

/// Whether a name may stand without quotes; a metric's may have colons.
fn is_identifier(name: &str, metric: bool) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || (metric && b == b':');
    name.bytes().all(good) && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

/// A value as both dialects and JSON read it: the shortest text that gives the same number. NaN and infinities are words, which
/// JSON does not have.
pub(super) fn number(out: &mut Vec<u8>, value: f64) -> io::Result<()> {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else if value.abs() < 1e15 {
        write!(out, "{value}")?;
    } else {
        // With an exponent.
        write!(out, "{value:e}")?;
    }
    Ok(())
}
