//! Reads the text that exporters show: Prometheus' text format 0.0.4 and 1.0.0, and OpenMetrics 1.0
//! (prometheus.io/docs/instrumenting/exposition_formats, github.com/prometheus/OpenMetrics).
//!
//! ```
//! use foreshock_wire::exposition::{Format, Line, lines};
//!
//! let text = "# TYPE up gauge\nup{job=\"node\"} 1 1700000000000\n";
//! let mut found = 0;
//! for line in lines(text, Format::Text) {
//!     if let Line::Sample(sample) = line? {
//!         assert_eq!((sample.value, sample.at_ms), (1.0, Some(1_700_000_000_000)));
//!         found += sample.labels().count();
//!     }
//! }
//! assert_eq!(found, 2); // The name is the first label.
//! # Ok::<(), foreshock_wire::exposition::ExpositionError>(())
//! ```
//!
//! Lines borrow from the text; a label's value is copied where it holds an escape.

use std::borrow::Cow;

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' own: timestamps are milliseconds.
    Text,
    /// OpenMetrics: timestamps are seconds, and `# EOF` ends the text.
    OpenMetrics,
}

impl Format {
    /// The format that a `Content-Type` names; Prometheus' own where it names no other.
    #[must_use]
    pub fn of_content_type(content_type: &str) -> Self {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        if media.eq_ignore_ascii_case("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ExpositionError {
    /// From 1.
    pub line: usize,
    /// What was expected there.
    pub what: &'static str,
}

/// One line that says something.
#[derive(Clone, Debug, PartialEq)]
pub enum Line<'a> {
    /// A sample of a series.
    Sample(Sample<'a>),
    /// What a metric is.
    About {
        /// Name of the metric family.
        metric: Cow<'a, str>,
        /// Which of its properties.
        property: Property,
        /// The property, unescaped where it is a help text.
        text: Cow<'a, str>,
    },
}

/// A property of a metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    /// What it tells.
    Help,
    /// `counter`, `gauge` and so on.
    Type,
    /// Its unit.
    Unit,
}

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Name and labels as they stand in the text, for a hash over them.
    pub series: &'a str,
    /// The value.
    pub value: f64,
    /// When it was read, milliseconds since 1970; `None` where the text leaves that to its reader.
    pub at_ms: Option<i64>,
    /// An observation behind the sample.
    pub exemplar: Option<Exemplar<'a>>,
}

/// One observation, with the trace that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar<'a> {
    braces: &'a str,
    /// What was observed.
    pub value: f64,
    /// When, milliseconds since 1970; `None` where the text does not say.
    pub at_ms: Option<i64>,
}

impl<'a> Sample<'a> {
    /// Name and value of each label, the metric's name first as `__name__`. They were checked when the line was read.
    #[must_use]
    pub fn labels(&self) -> Labels<'a> {
        let brace = self.series.find('{').unwrap_or(self.series.len());
        let (name, braces) = self.series.split_at(brace);
        Labels {
            name: Some(name.trim_end()).filter(|name| !name.is_empty()),
            rest: braces.strip_prefix('{').unwrap_or(""),
        }
    }
}

impl<'a> Exemplar<'a> {
    /// Name and value of each of its own labels.
    #[must_use]
    pub fn labels(&self) -> Labels<'a> {
        Labels {
            name: None,
            rest: self.braces,
        }
    }
}

/// Iterator over labels.
#[derive(Clone, Debug)]
pub struct Labels<'a> {
    name: Option<&'a str>,
    /// What follows the opening brace, up to the closing one or beyond.
    rest: &'a str,
}

const NAME: &str = "__name__";

impl<'a> Iterator for Labels<'a> {
    type Item = (Cow<'a, str>, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(name) = self.name.take() {
            return Some((NAME.into(), name.into()));
        }
        let mut cursor = Cursor { rest: self.rest };
        let label = cursor.label().ok().flatten();
        self.rest = cursor.rest;
        label
    }
}

/// The lines of a text that say something; the first that cannot be read ends it.
#[must_use]
pub fn lines(text: &str, format: Format) -> Lines<'_> {
    Lines {
        rest: text,
        format,
        line: 0,
        ended: false,
    }
}

/// Iterator over lines.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    rest: &'a str,
    format: Format,
    line: usize,
    ended: bool,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<Line<'a>, ExpositionError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            if self.rest.is_empty() {
                self.ended = true;
                // A text that was cut off must not pass for one in which the rest has gone.
                return (self.format == Format::OpenMetrics).then(|| {
                    Err(ExpositionError {
                        line: self.line + 1,
                        what: "the text ends without # EOF",
                    })
                });
            }
            let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
            self.rest = rest;
            self.line += 1;
            let line = line.strip_suffix('\r').unwrap_or(line);
            if self.format == Format::OpenMetrics && line == "# EOF" {
                self.ended = true;
                return None;
            }
            match read(line, self.format) {
                Ok(None) => {}
                Ok(Some(line)) => return Some(Ok(line)),
                Err(what) => {
                    self.ended = true;
                    return Some(Err(ExpositionError { line: self.line, what }));
                }
            }
        }
        None
    }
}

type Read<T> = Result<T, &'static str>;

fn read(line: &str, format: Format) -> Read<Option<Line<'_>>> {
    let mut cursor = Cursor { rest: line };
    cursor.blanks();
    if cursor.rest.is_empty() {
        return Ok(None);
    }
    match cursor.rest.strip_prefix('#') {
        Some(comment) => about(comment, format),
        None => sample(cursor, format).map(|sample| Some(Line::Sample(sample))),
    }
}

/// `# HELP metric text`, `# TYPE metric type`, `# UNIT metric unit`, or a comment.
fn about(comment: &str, format: Format) -> Read<Option<Line<'_>>> {
    let mut cursor = Cursor { rest: comment };
    cursor.blanks();
    let property = match cursor.word() {
        "HELP" => Property::Help,
        "TYPE" => Property::Type,
        "UNIT" => Property::Unit,
        _ => return Ok(None),
    };
    cursor.blanks();
    let metric = if cursor.rest.starts_with('"') {
        cursor.quoted()?
    } else {
        let word = cursor.word();
        if !is_metric_name(word) {
            return Err("the name of a metric is expected after HELP, TYPE or UNIT");
        }
        word.into()
    };
    cursor.blanks();
    let text = match property {
        Property::Help => unescape(cursor.rest, format == Format::OpenMetrics),
        Property::Type | Property::Unit => cursor.rest.trim_end().into(),
    };
    Ok(Some(Line::About { metric, property, text }))
}

fn sample(mut cursor: Cursor<'_>, format: Format) -> Read<Sample<'_>> {
    let start = cursor.rest;
    let name = cursor.name(|c| c == ':');
    cursor.blanks();
    let mut named = !name.is_empty();
    if let Some(rest) = cursor.rest.strip_prefix('{') {
        cursor.rest = rest;
        while let Some((name, value)) = cursor.label()? {
            if name == NAME {
                if named || value.is_empty() {
                    return Err("a series has one name");
                }
                named = true;
            }
        }
    }
    if !named {
        return Err("a series begins with the name of its metric");
    }
    let series = start[..start.len() - cursor.rest.len()].trim_end();
    cursor.blanks();
    let value = number(cursor.word()).ok_or("a number is expected after the series")?;
    cursor.blanks();
    let mut at_ms = None;
    if !cursor.rest.is_empty() && !cursor.rest.starts_with('#') {
        at_ms = Some(timestamp(cursor.word(), format)?);
        cursor.blanks();
    }
    let exemplar = match cursor.rest.strip_prefix('#') {
        Some(rest) if format == Format::OpenMetrics => Some(exemplar(rest)?),
        _ if cursor.rest.is_empty() => None,
        _ => return Err("nothing is expected after value and timestamp"),
    };
    Ok(Sample {
        series,
        value,
        at_ms,
        exemplar,
    })
}

/// `{trace_id="x"} 0.5 1700000000.5`
fn exemplar(text: &str) -> Read<Exemplar<'_>> {
    let mut cursor = Cursor { rest: text };
    cursor.blanks();
    let braces = cursor
        .rest
        .strip_prefix('{')
        .ok_or("an exemplar begins with its labels")?;
    cursor.rest = braces;
    while cursor.label()?.is_some() {}
    cursor.blanks();
    let value = number(cursor.word()).ok_or("an exemplar has a number after its labels")?;
    cursor.blanks();
    let at_ms = match cursor.word() {
        "" => None,
        word => Some(timestamp(word, Format::OpenMetrics)?),
    };
    cursor.blanks();
    if cursor.rest.is_empty() {
        Ok(Exemplar { braces, value, at_ms })
    } else {
        Err("nothing is expected after an exemplar")
    }
}

fn timestamp(word: &str, format: Format) -> Read<i64> {
    match format {
        Format::Text => word
            .parse()
            .map_err(|_| "a timestamp is a whole number of milliseconds"),
        Format::OpenMetrics => word
            .parse::<f64>()
            .ok()
            .filter(|seconds| seconds.abs() < 9.0e12)
            .map(|seconds| (seconds * 1000.0).round() as i64)
            .ok_or("a timestamp is a number of seconds"),
    }
}

fn number(word: &str) -> Option<f64> {
    // Rust's own words for the infinities are a superset of Prometheus'.
    word.parse().ok()
}

fn is_metric_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

fn unescape(text: &str, quotes: bool) -> Cow<'_, str> {
    if !text.contains('\\') {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('\\') => out.push('\\'),
            Some('"') if quotes => out.push('"'),
            // As Prometheus: an escape that is none stays as it is.
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out.into()
}

struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (head, tail) = self.rest.split_at(bytes);
        self.rest = tail;
        head
    }

    fn word(&mut self) -> &'a str {
        let end = self.rest.find([' ', '\t']).unwrap_or(self.rest.len());
        self.take(end)
    }

    /// Letters, digits and underscores, no digit first, and what else is `allowed`; may be empty.
    fn name(&mut self, allowed: impl Fn(char) -> bool) -> &'a str {
        let fits =
            |(i, c): (usize, char)| c.is_ascii_alphabetic() || c == '_' || allowed(c) || (i > 0 && c.is_ascii_digit());
        let end = self
            .rest
            .char_indices()
            .find(|at| !fits(*at))
            .map_or(self.rest.len(), |(at, _)| at);
        self.take(end)
    }

    /// Text in quotes.
    fn quoted(&mut self) -> Read<Cow<'a, str>> {
        let inner = self.rest.strip_prefix('"').ok_or("a quotation mark is expected")?;
        let mut escaped = false;
        let end = inner
            .bytes()
            .position(|byte| {
                let ends = byte == b'"' && !escaped;
                escaped = byte == b'\\' && !escaped;
                ends
            })
            .ok_or("a quoted text does not end")?;
        self.rest = &inner[end + 1..];
        Ok(unescape(&inner[..end], true))
    }

    /// The next label, `None` after the closing brace. A name alone in quotes is the metric's.
    fn label(&mut self) -> Read<Option<(Cow<'a, str>, Cow<'a, str>)>> {
        self.blanks();
        if let Some(rest) = self.rest.strip_prefix('}') {
            self.rest = rest;
            return Ok(None);
        }
        let name: Cow<'a, str> = if self.rest.starts_with('"') {
            self.quoted()?
        } else {
            self.name(|_| false).into()
        };
        if name.is_empty() {
            return Err("the name of a label is expected");
        }
        self.blanks();
        let label = match self.rest.strip_prefix('=') {
            Some(rest) => {
                self.rest = rest;
                self.blanks();
                (name, self.quoted()?)
            }
            None => (NAME.into(), name),
        };
        self.blanks();
        if let Some(rest) = self.rest.strip_prefix(',') {
            self.rest = rest;
        } else if !self.rest.starts_with('}') {
            return Err("a comma or a closing brace is expected after a label");
        }
        Ok(Some(label))
    }
}

#[cfg(test)]
mod tests;
