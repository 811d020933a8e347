//! JSON lines as VictoriaMetrics' `/api/v1/export` writes and `/api/v1/import` reads them.
//!
//! ```text
//! {"metric":{"__name__":"up","job":"a"},"values":[1,null,"NaN","Infinity"],"timestamps":[15000,30000,45000,60000]}
//! ```
//! JSON has no words for numbers that are none. `null` is the staleness marker: it is what VictoriaMetrics makes of one. Other
//! NaNs and the infinities are texts, which both sides read.
//!
//! Numbers are read by the standard library, whose result is the nearest one: what is written here comes back to the bit.

use std::io::{BufRead, Write};

use super::lines::{Line, Lines};
use super::{ExchangeError, Found, Sink};
use crate::series::{LabelsBuf, is_stale, stale_nan};

/// Deepest nesting of a member that is not known and left out.
const DEPTH_MAX: usize = 64;

pub(super) fn read(input: &mut dyn BufRead, sink: &mut dyn Sink) -> Result<Found, ExchangeError> {
    let mut lines = Lines::new(input);
    let mut found = Found::default();
    let mut row = Row::default();
    while let Some(line) = lines.next().map_err(ExchangeError::Read)? {
        found.lines += 1;
        match line {
            Line::Text(line) if line.trim().is_empty() => {}
            Line::Text(line) => match row.parse(line) {
                Ok(()) => {
                    found.samples += row.values.len() as u64;
                    sink.series(&mut row.labels, &row.timestamps, &row.values)?;
                }
                Err(what) => found.bad(&what),
            },
            Line::TooLong => found.bad(&"it is too long"),
            Line::NotText => found.bad(&"it is no UTF-8"),
        }
    }
    Ok(found)
}

/// Writes one line.
pub(super) fn write(
    out: &mut dyn Write,
    labels: &LabelsBuf,
    timestamps: &[i64],
    values: &[f64],
    line: &mut Vec<u8>,
) -> std::io::Result<()> {
    line.clear();
    line.extend_from_slice(br#"{"metric":{"#);
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            line.push(b',');
        }
        string(line, name)?;
        line.push(b':');
        string(line, value)?;
    }
    line.extend_from_slice(br#"},"values":["#);
    for (i, &value) in values.iter().enumerate() {
        if i > 0 {
            line.push(b',');
        }
        match value {
            _ if is_stale(value) => line.extend_from_slice(b"null"),
            _ if value.is_nan() => line.extend_from_slice(br#""NaN""#),
            f64::INFINITY => line.extend_from_slice(br#""Infinity""#),
            f64::NEG_INFINITY => line.extend_from_slice(br#""-Infinity""#),
            _ => super::text::number(line, value)?,
        }
    }
    line.extend_from_slice(br#"],"timestamps":["#);
    for (i, at) in timestamps.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        write!(line, "{comma}{at}")?;
    }
    line.extend_from_slice(b"]}\n");
    out.write_all(line)
}

fn string(line: &mut Vec<u8>, text: &str) -> std::io::Result<()> {
    serde_json::to_writer(line, text).map_err(std::io::Error::from)
}

/// A line's series.
#[derive(Default)]
struct Row {
    labels: LabelsBuf,
    timestamps: Vec<i64>,
    values: Vec<f64>,
}

impl Row {
    fn parse(&mut self, line: &str) -> Result<(), String> {
        self.labels.clear();
        self.timestamps.clear();
        self.values.clear();
        let mut scan = Scan { text: line, at: 0 };
        let Self {
            labels,
            timestamps,
            values,
        } = self;
        scan.object(|scan, member| match member {
            "metric" => scan.object(|scan, name| {
                let value = scan.string()?;
                labels.push(name, &value);
                Ok(())
            }),
            "values" => scan.array(|scan| {
                values.push(scan.value()?);
                Ok(())
            }),
            "timestamps" => scan.array(|scan| {
                let number = scan.number()?;
                let at = number
                    .parse()
                    .map_err(|_| format!("{number:?} is no timestamp in milliseconds"))?;
                timestamps.push(at);
                Ok(())
            }),
            _ => scan.skip(0),
        })?;
        scan.space();
        if scan.at < line.len() {
            return Err(scan.wrong("the end of the line"));
        }
        if labels.is_empty() {
            return Err("it has no labels in `metric`".to_owned());
        }
        if timestamps.len() != values.len() {
            return Err(format!(
                "it has {} values and {} timestamps",
                values.len(),
                timestamps.len()
            ));
        }
        Ok(())
    }
}

/// Reads JSON of a known shape.
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn space(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest
            .iter()
            .take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r'))
            .count();
    }

    fn next(&mut self) -> Option<u8> {
        self.space();
        self.text.as_bytes().get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.next() != Some(byte) {
            return Err(self.wrong(&format!("{:?}", char::from(byte))));
        }
        self.at += 1;
        Ok(())
    }

    fn wrong(&self, wanted: &str) -> String {
        let found: String = self.text[self.at..].chars().take(20).collect();
        format!("at byte {}: {wanted} was expected, found {found:?}", self.at)
    }

    fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Result<(), String>) -> Result<(), String> {
        self.expect(b'{')?;
        self.items(b'}', |scan| {
            let name = scan.string()?;
            scan.expect(b':')?;
            member(scan, &name)
        })
    }

    fn array(&mut self, item: impl FnMut(&mut Self) -> Result<(), String>) -> Result<(), String> {
        self.expect(b'[')?;
        self.items(b']', item)
    }

    fn items(&mut self, end: u8, mut item: impl FnMut(&mut Self) -> Result<(), String>) -> Result<(), String> {
        if self.next() == Some(end) {
            self.at += 1;
            return Ok(());
        }
        loop {
            item(self)?;
            match self.next() {
                Some(b',') => self.at += 1,
                Some(byte) if byte == end => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.wrong(&format!("',' or {:?}", char::from(end)))),
            }
        }
    }

    fn string(&mut self) -> Result<std::borrow::Cow<'a, str>, String> {
        self.expect(b'"')?;
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut plain = true;
        loop {
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    plain = false;
                    self.at += 2;
                }
                Some(0..0x20) | None => {
                    self.at = self.at.min(self.text.len());
                    return Err(self.wrong("the end of a text"));
                }
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        if plain {
            return Ok(self.text[start..self.at - 1].into());
        }
        serde_json::from_str::<String>(&self.text[start - 1..self.at])
            .map(Into::into)
            .map_err(|error| error.to_string())
    }

    fn number(&mut self) -> Result<&'a str, String> {
        self.space();
        let rest = &self.text[self.at..];
        let length = rest
            .bytes()
            .take_while(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
            .count();
        if length == 0 {
            return Err(self.wrong("a number"));
        }
        self.at += length;
        Ok(&rest[..length])
    }

    fn value(&mut self) -> Result<f64, String> {
        match self.next() {
            Some(b'"') => {
                let text = self.string()?;
                match &*text.to_ascii_lowercase() {
                    "null" | "nan" => Ok(f64::NAN),
                    "inf" | "+inf" | "infinity" => Ok(f64::INFINITY),
                    "-inf" | "-infinity" => Ok(f64::NEG_INFINITY),
                    _ => Err(format!("{text:?} is no value")),
                }
            }
            Some(b'n') if self.text[self.at..].starts_with("null") => {
                self.at += 4;
                Ok(stale_nan())
            }
            _ => {
                let number = self.number()?;
                number.parse().map_err(|_| format!("{number:?} is no value"))
            }
        }
    }

    /// Passes over a value of any kind.
    fn skip(&mut self, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err("it is nested too deep".to_owned());
        }
        match self.next() {
            Some(b'{') => self.object(|scan, _| scan.skip(depth + 1)),
            Some(b'[') => self.array(|scan| scan.skip(depth + 1)),
            Some(b'"') => self.string().map(drop),
            Some(b'a'..=b'z') => {
                let rest = &self.text[self.at..];
                let word = ["true", "false", "null"]
                    .into_iter()
                    .find(|word| rest.starts_with(word));
                self.at += word.ok_or_else(|| self.wrong("a value"))?.len();
                Ok(())
            }
            _ => self.number().map(drop),
        }
    }
}
