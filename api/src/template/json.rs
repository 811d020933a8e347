//! Values as JSON, in the form that Go's `encoding/json` gives them.

use serde_json::{Map, Number, Value as Json};

use super::moment;
use super::value::{Safe, Value};

/// One line, with the characters that mean something in a page written as numbers.
pub(super) fn written(value: &Value) -> String {
    let mut out = String::new();
    for c in tree(value).to_string().chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out
}

fn tree(value: &Value) -> Json {
    match value {
        Value::Nothing => Json::Null,
        Value::Text(text) | Value::Safe(Safe::Html | Safe::Address, text) => text.as_str().into(),
        // Go writes whole floats without a point.
        Value::Number(number) if number.fract() == 0.0 && number.abs() < 1e15 => (*number as i64).into(),
        Value::Number(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
        Value::Whole(number) | Value::Span(number) => (*number).into(),
        Value::Bool(value) => (*value).into(),
        Value::Time(time) => moment::format(time, "2006-01-02T15:04:05.999999999Z07:00").into(),
        Value::Map(_, map) => map.iter().map(|(name, value)| (name.clone(), tree(value))).collect(),
        Value::List(_, items) => items.iter().map(tree).collect(),
        Value::Record(record) => {
            let named = record.fields.iter().filter(|(_, name, _)| !name.is_empty());
            let fields: Map<String, Json> = named
                .map(|(_, name, value)| ((*name).to_owned(), tree(value)))
                .collect();
            Json::Object(fields)
        }
    }
}
