//! What the functions give.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, PAD};
use jiff::Zoned;

use super::function::Function;
use super::value::{ListKind, MapKind, Safe, Value};
use super::{Vocabulary, escape, format, json, moment, number, words};
use crate::rule::parse_duration;

/// What functions can ask for.
#[derive(Debug)]
pub(super) struct Around<'a> {
    pub(super) vocabulary: Vocabulary,
    pub(super) external_url: &'a str,
    pub(super) now: Zoned,
    /// Of every value.
    pub(super) bytes_max: usize,
}

impl Around<'_> {
    fn too_long(&self) -> String {
        format!("a value is longer than {} bytes", self.bytes_max)
    }

    /// A value that holds others, unless all of it together is too much: what is said twice counts twice.
    fn held(&self, value: Value) -> Result<Value, String> {
        let mut left = self.bytes_max;
        value.weigh(&mut left, 0).ok_or_else(|| self.too_long())?;
        Ok(value)
    }
}

/// Bytes that a pattern may take once it is made.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// A regular expression of bounded size.
pub(super) fn pattern(text: &str) -> Result<regex::Regex, String> {
    regex::RegexBuilder::new(text)
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|error| error.to_string())
}

/// Base64 for addresses, padded, as Go's `base64.URLEncoding`.
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, PAD);

/// The result of a function. `and` and `or` are not among them: they look at no more than they have to.
pub(super) fn call(function: Function, arguments: &[Value], around: &Around<'_>) -> Result<Value, String> {
    let name = function.name();
    let number = |at: usize| {
        let found = arguments[at].number();
        found.ok_or_else(|| format!("{name}: {:?} is no number", arguments[at].plain()))
    };
    let text = |at: usize| {
        let found = arguments[at].as_text();
        found.ok_or_else(|| format!("{name}: {:?} is no text", arguments[at].plain()))
    };
    let time = |at: usize| match &arguments[at] {
        Value::Time(time) => Ok(time),
        other => Err(format!("{name}: {:?} is no time", other.plain())),
    };
    let pattern = |at: usize| pattern(text(at)?);
    let is_equal = |other: &Value| order(&arguments[0], other).map(|order| order.is_some_and(Ordering::is_eq));
    let compared = |is_so: fn(Ordering) -> bool| {
        order(&arguments[0], &arguments[1]).map(|order| Value::Bool(order.is_some_and(is_so)))
    };
    Ok(match function {
        Function::And | Function::Or => return Err(format!("{name} is decided before")),
        Function::Not => Value::Bool(!arguments[0].truth()),
        Function::Eq => {
            let mut any = false;
            for other in &arguments[1..] {
                any |= is_equal(other)?;
            }
            Value::Bool(any)
        }
        Function::Ne => Value::Bool(!is_equal(&arguments[1])?),
        Function::Lt => compared(Ordering::is_lt)?,
        Function::Le => compared(Ordering::is_le)?,
        Function::Gt => compared(Ordering::is_gt)?,
        Function::Ge => compared(Ordering::is_ge)?,
        Function::Index => {
            let mut found = arguments[0].clone();
            for at in &arguments[1..] {
                found = index(&found, at)?;
            }
            found
        }
        Function::Slice => slice(&arguments[0], &arguments[1..])?,
        Function::Len => Value::Whole(match &arguments[0] {
            Value::Text(text) | Value::Safe(_, text) => text.len() as i64,
            Value::Map(_, map) => map.len() as i64,
            Value::List(_, items) => items.len() as i64,
            other => return Err(format!("len: {:?} has no length", other.plain())),
        }),
        Function::Print => Value::Text(printed(arguments)),
        Function::Println => {
            let parts: Vec<String> = arguments.iter().map(shown).collect();
            Value::Text(parts.join(" ") + "\n")
        }
        Function::Printf => Value::Text(format::printf(text(0)?, &arguments[1..])),
        // Which is not made harmless once more.
        Function::Html => Value::Safe(Safe::Html, escape::html(&printed(arguments))),
        Function::Js => Value::Text(escape::script(&printed(arguments))),
        Function::Urlquery => Value::Text(escape::query(&printed(arguments))),
        Function::Title => Value::Text(match around.vocabulary {
            Vocabulary::Rules => words::title(text(0)?),
            Vocabulary::Messages => words::title_of_messages(text(0)?),
        }),
        Function::ToUpper => Value::Text(words::upper(text(0)?)),
        Function::ToLower => Value::Text(words::lower(text(0)?)),
        Function::TrimSpace => Value::text(text(0)?.trim()),
        Function::Match => Value::Bool(pattern(0)?.is_match(text(1)?)),
        Function::ReReplaceAll => {
            let (pattern, by, text) = (pattern(0)?, text(1)?, text(2)?);
            let (mut out, mut at) = (String::new(), 0);
            for found in pattern.captures_iter(text) {
                let whole = found.get_match();
                out.push_str(&text[at..whole.start()]);
                found.expand(by, &mut out);
                at = whole.end();
                if out.len() > around.bytes_max {
                    return Err(around.too_long());
                }
            }
            Value::Text(out + &text[at..])
        }
        Function::Humanize => Value::Text(number::humanize(number(0)?)),
        Function::Humanize1024 => Value::Text(number::humanize_1024(number(0)?)),
        Function::HumanizeDuration => Value::Text(number::humanize_duration(number(0)?)),
        Function::HumanizePercentage => Value::Text(format!("{}%", number::general(number(0)? * 100.0, Some(4)))),
        Function::HumanizeTimestamp => Value::Text(timestamp(number(0)?)?),
        Function::ParseDuration => {
            let ms = parse_duration(text(0)?).ok_or_else(|| format!("{:?} is no duration", arguments[0].plain()))?;
            Value::Number(ms as f64 / 1000.0)
        }
        Function::StripPort => Value::text(words::strip_port(text(0)?)),
        Function::StripDomain => Value::Text(words::strip_domain(text(0)?)),
        Function::ExternalUrl => Value::text(around.external_url),
        Function::SafeHtml => Value::Safe(Safe::Html, text(0)?.to_owned()),
        Function::SafeUrl => Value::Safe(Safe::Address, text(0)?.to_owned()),
        Function::UrlUnescape => Value::Text(escape::unescaped_query(text(0)?)?),
        Function::Base64Encode => Value::Text(BASE64.encode(text(0)?)),
        Function::Base64Decode => {
            let bytes = BASE64.decode(text(0)?).ok();
            let decoded = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            Value::Text(decoded.ok_or_else(|| format!("{name}: this is no text in base64 for addresses"))?)
        }
        Function::StringSlice => {
            let texts = (0..arguments.len()).map(|at| text(at).map(str::to_owned));
            Value::texts(texts.collect::<Result<Vec<_>, _>>()?)
        }
        Function::Join => {
            let Value::List(_, items) = &arguments[1] else {
                return Err(format!("join: {:?} is no list of texts", arguments[1].plain()));
            };
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_text).collect();
            let texts = texts.ok_or_else(|| "join: not everything in the list is a text".to_owned())?;
            let between = text(0)?;
            let length: usize = texts.iter().map(|text| text.len() + between.len()).sum();
            if length > around.bytes_max + between.len() {
                return Err(around.too_long());
            }
            Value::Text(texts.join(between))
        }
        Function::List => around.held(Value::List(ListKind::Any, arguments.into()))?,
        Function::Append => {
            let Value::List(kind, items) = &arguments[0] else {
                return Err(format!("append: {:?} is no list", arguments[0].plain()));
            };
            let items = items.iter().chain(&arguments[1..]).cloned().collect();
            around.held(Value::List(*kind, items))?
        }
        Function::Dict => {
            let mut map = BTreeMap::new();
            for pair in arguments.chunks(2) {
                let [key, value] = pair else {
                    return Err("dict takes keys and values in turn".to_owned());
                };
                let key = key.as_text().ok_or("dict: keys are texts")?;
                map.insert(key.to_owned(), value.clone());
            }
            around.held(Value::Map(MapKind::Any, Arc::new(map)))?
        }
        Function::Date => Value::Text(moment::format(time(1)?, text(0)?)),
        Function::Tz => moment::in_zone(time(1)?, text(0)?)?,
        Function::Now => Value::Time(Box::new(around.now.clone())),
        Function::Since => moment::between(time(0)?, &around.now),
        Function::ToJson => Value::Text(json::written(&arguments[0])),
    })
}

/// As Go prints an argument: nothing has a name of its own there.
fn shown(value: &Value) -> String {
    match value {
        Value::Nothing => "<nil>".to_owned(),
        other => other.plain(),
    }
}

/// Go's `fmt.Sprint`: spaces stand between two of which neither is a text.
pub(super) fn printed(arguments: &[Value]) -> String {
    let mut out = String::new();
    let mut before_is_text = true;
    for (at, argument) in arguments.iter().enumerate() {
        let is_text = argument.as_text().is_some();
        if at > 0 && !is_text && !before_is_text {
            out.push(' ');
        }
        out.push_str(&shown(argument));
        before_is_text = is_text;
    }
    out
}

fn index(value: &Value, at: &Value) -> Result<Value, String> {
    match value {
        Value::Map(..) => {
            let key = at.as_text();
            key.map(|key| value.entry(key))
                .ok_or_else(|| format!("index: {:?} is no key", at.plain()))
        }
        Value::List(_, items) => {
            let found = at.whole().and_then(|at| items.get(usize::try_from(at).ok()?));
            found
                .cloned()
                .ok_or_else(|| format!("index: there is nothing at {} of {}", at.plain(), items.len()))
        }
        Value::Text(text) | Value::Safe(_, text) => {
            let found = at.whole().and_then(|at| text.as_bytes().get(usize::try_from(at).ok()?));
            found
                .map(|byte| Value::Whole(i64::from(*byte)))
                .ok_or_else(|| format!("index: there is nothing at {} of {} bytes", at.plain(), text.len()))
        }
        other => Err(format!("index: {:?} has no parts", other.plain())),
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value, String> {
    let length = match value {
        Value::Text(text) | Value::Safe(_, text) => text.len(),
        Value::List(_, items) => items.len(),
        other => return Err(format!("slice: {:?} has no parts", other.plain())),
    };
    let bound = |at: usize, otherwise: usize| match bounds.get(at) {
        None => Ok(otherwise),
        Some(value) => value
            .whole()
            .and_then(|bound| usize::try_from(bound).ok())
            .filter(|bound| *bound <= length)
            .ok_or_else(|| format!("slice: {} is not within 0 to {length}", value.plain())),
    };
    let (from, to) = (bound(0, 0)?, bound(1, length)?);
    bound(2, length)?;
    if from > to {
        return Err(format!("slice: {from} is behind {to}"));
    }
    Ok(match value {
        Value::List(kind, items) => Value::List(*kind, items[from..to].into()),
        // Bytes: a character that is cut in two becomes a mark of that.
        _ => {
            Value::Text(String::from_utf8_lossy(&value.as_text().unwrap_or_default().as_bytes()[from..to]).into_owned())
        }
    })
}

/// Go compares values of one kind only; numbers may be whole or not here, since a literal `5` beside `$value` is meant so.
fn order(a: &Value, b: &Value) -> Result<Option<Ordering>, String> {
    match (a, b) {
        (Value::Text(a) | Value::Safe(_, a), Value::Text(b) | Value::Safe(_, b)) => Ok(Some(a.cmp(b))),
        (Value::Bool(a), Value::Bool(b)) => Ok(Some(a.cmp(b))),
        (Value::Nothing, Value::Nothing) => Ok(Some(Ordering::Equal)),
        (Value::Nothing, _) | (_, Value::Nothing) => Ok(None),
        (Value::Time(a), Value::Time(b)) => Ok(Some(a.timestamp().cmp(&b.timestamp()))),
        (Value::Span(a), Value::Span(b) | Value::Whole(b)) | (Value::Whole(a), Value::Span(b)) => Ok(Some(a.cmp(b))),
        (Value::Number(_) | Value::Whole(_), Value::Number(_) | Value::Whole(_)) => {
            Ok(a.number().zip(b.number()).and_then(|(a, b)| a.partial_cmp(&b)))
        }
        _ => Err(format!("{:?} and {:?} cannot be compared", a.plain(), b.plain())),
    }
}

/// As Go prints a time in UTC.
fn timestamp(seconds: f64) -> Result<String, String> {
    if !seconds.is_finite() {
        return Ok(number::general(seconds, Some(4)));
    }
    let moment = jiff::Timestamp::from_millisecond((seconds * 1000.0) as i64).map_err(|error| error.to_string())?;
    Ok(moment::shown(&moment.to_zoned(jiff::tz::TimeZone::UTC)))
}
