//! Attributes and their values.

use std::fmt::Write as _;

use super::Messages;
use crate::base64;
use crate::protobuf::{DecodeError, Fields};

/// How deep arrays and maps may nest inside an attribute's value.
const VALUE_DEPTH: u8 = 16;
/// Most bytes of the text that an array, a map or bytes are written as: labels and records of logs may have no more. An empty pair takes
/// two bytes of a message and many more in memory.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// A pair takes no less as text: `"":0` and a separator.
const PAIR_BYTES_MIN: usize = 5;

/// The attributes of the resource that `message` describes, which stands in its first field.
pub(super) fn resource_of<'a>(message: &'static str, bytes: &'a [u8]) -> Result<Attributes<'a>, DecodeError> {
    let mut resource = Attributes {
        message: "Resource",
        bytes: &[],
        number: 1,
    };
    for field in Fields::new(message, bytes) {
        let field = field?;
        if field.number == 1 {
            resource.bytes = field.bytes()?;
        }
    }
    Ok(resource)
}

/// The attributes of one message, still encoded.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    pub(super) message: &'static str,
    pub(super) bytes: &'a [u8],
    pub(super) number: u32,
}

impl<'a> Attributes<'a> {
    /// Key and value of each, in the order of the bytes.
    #[must_use]
    pub fn iter(&self) -> Messages<'a, (&'a str, AnyValue<'a>)> {
        Messages::new(self.message, self.bytes, self.number, AnyValue::read_pair)
    }

    /// The encoded pairs, for a hash over them; nothing inside them is checked.
    pub fn raw(&self) -> impl Iterator<Item = Result<&'a [u8], DecodeError>> + use<'a> {
        Messages::new(self.message, self.bytes, self.number, Ok)
    }
}

impl<'a> IntoIterator for &Attributes<'a> {
    type Item = Result<(&'a str, AnyValue<'a>), DecodeError>;
    type IntoIter = Messages<'a, (&'a str, AnyValue<'a>)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The value of an attribute.
#[derive(Clone, Copy, Debug)]
pub enum AnyValue<'a> {
    /// No value at all.
    Empty,
    /// Text.
    Text(&'a str),
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A double.
    Double(f64),
    /// Several values.
    Array(Encoded<'a>),
    /// Keys with values.
    Map(Encoded<'a>),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// The bytes of an array or a map, not looked into yet.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a>(&'a [u8]);

impl<'a> AnyValue<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut value = Self::Empty;
        for field in Fields::new("AnyValue", bytes) {
            let field = field?;
            value = match field.number {
                1 => Self::Text(field.text()?),
                2 => Self::Bool(field.varint()? != 0),
                3 => Self::Int(field.varint()? as i64),
                4 => Self::Double(field.double()?),
                5 => Self::Array(Encoded(field.bytes()?)),
                6 => Self::Map(Encoded(field.bytes()?)),
                7 => Self::Bytes(field.bytes()?),
                _ => continue,
            };
        }
        Ok(value)
    }

    pub(super) fn read_pair(bytes: &'a [u8]) -> Result<(&'a str, Self), DecodeError> {
        let (mut key, mut value) = ("", Self::Empty);
        for field in Fields::new("KeyValue", bytes) {
            let field = field?;
            match field.number {
                1 => key = field.text()?,
                2 => value = Self::read(field.bytes()?)?,
                _ => {}
            }
        }
        Ok((key, value))
    }

    /// The value as text: itself where it is text, else written into `scratch`, which is cleared before.
    ///
    /// Written as the OpenTelemetry Collector does (`pcommon.Value.AsString`): `true`, `-7`, `0.5`, `1e+21`, JSON for arrays
    /// and maps (keys sorted), Base64 for bytes, nothing for no value.
    ///
    /// # Errors
    /// [`DecodeError`] where an array or a map is malformed or nested more than 16 deep; [`DecodeError::TooLarge`] where what has to be
    /// written for an array, a map or bytes takes more than 1 MiB.
    pub fn text<'s>(&self, scratch: &'s mut String) -> Result<&'s str, DecodeError>
    where
        'a: 's,
    {
        scratch.clear();
        match *self {
            Self::Empty => {}
            Self::Text(text) => return Ok(text),
            Self::Bytes(bytes) => {
                fits(bytes.len())?;
                base64::put(scratch, bytes);
            }
            _ => self.put_json(scratch, 0, 0)?,
        }
        fits(scratch.len())?;
        Ok(scratch)
    }

    /// Appends the value to `out`, which takes at least `later` more bytes after it.
    fn put_json(&self, out: &mut String, depth: u8, later: usize) -> Result<(), DecodeError> {
        if depth > VALUE_DEPTH {
            return Err(DecodeError::TooDeep {
                message: "AnyValue",
                limit: VALUE_DEPTH,
            });
        }
        match *self {
            Self::Empty => out.push_str("null"),
            Self::Text(text) => put_json_text(out, text, later)?,
            Self::Bool(value) => out.push_str(if value { "true" } else { "false" }),
            // Writing into a string cannot fail.
            Self::Int(value) => write!(out, "{value}").unwrap_or_default(),
            Self::Double(value) => put_double(out, value),
            Self::Bytes(bytes) => {
                fits(out.len() + bytes.len() + later)?;
                out.push('"');
                base64::put(out, bytes);
                out.push('"');
            }
            Self::Array(Encoded(bytes)) => {
                let mut separator = '[';
                for value in Messages::new("ArrayValue", bytes, 1, Self::read) {
                    out.push(separator);
                    value?.put_json(out, depth + 1, later)?;
                    separator = ',';
                }
                out.push_str(if separator == '[' { "[]" } else { "]" });
            }
            Self::Map(Encoded(bytes)) => {
                let mut pairs = Vec::new();
                for pair in Messages::new("KeyValueList", bytes, 1, Self::read_pair) {
                    pairs.push(pair?);
                    fits(out.len() + pairs.len() * PAIR_BYTES_MIN + later)?;
                }
                pairs.sort_by_key(|(key, _)| *key);
                let mut later = later + pairs.len() * PAIR_BYTES_MIN;
                let mut separator = '{';
                for (key, value) in pairs {
                    later -= PAIR_BYTES_MIN;
                    out.push(separator);
                    put_json_text(out, key, later)?;
                    out.push(':');
                    value.put_json(out, depth + 1, later)?;
                    separator = ',';
                }
                out.push_str(if separator == '{' { "{}" } else { "}" });
            }
        }
        fits(out.len() + later)
    }
}

/// Whether a value may be written as text of so many bytes.
fn fits(bytes: usize) -> Result<(), DecodeError> {
    if bytes > TEXT_BYTES_MAX {
        return Err(DecodeError::TooLarge {
            message: "AnyValue",
            limit: TEXT_BYTES_MAX,
        });
    }
    Ok(())
}

/// As Go's `encoding/json` writes doubles: plain from 1e-6 up to 1e21, else with an exponent.
fn put_double(out: &mut String, value: f64) {
    let size = value.abs();
    let written = if !value.is_finite() {
        let name = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        };
        write!(out, "json: unsupported value: {name}")
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        match text.split_once('e') {
            Some((digits, power)) if !power.starts_with('-') => write!(out, "{digits}e+{power}"),
            _ => write!(out, "{text}"),
        }
    } else {
        write!(out, "{value}")
    };
    // Writing into a string cannot fail.
    written.unwrap_or_default();
}

fn put_json_text(out: &mut String, text: &str, later: usize) -> Result<(), DecodeError> {
    fits(out.len() + text.len() + later)?;
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Writing into a string cannot fail.
            c if c < ' ' => write!(out, "\\u{:04x}", c as u32).unwrap_or_default(),
            c => out.push(c),
        }
    }
    out.push('"');
    Ok(())
}
