//! What templates work on: Go's kinds of values, as far as rules and messages have them, with their fields and methods.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Zoned;

use super::moment;
use super::number::general;

/// A value within a template. Cheap to copy but for texts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Nil, and what is not there.
    Nothing,
    Text(String),
    /// A text that pages take as it is.
    Safe(Safe, String),
    Number(f64),
    Whole(i64),
    Bool(bool),
    Time(Box<Zoned>),
    /// Nanoseconds.
    Span(i64),
    Map(MapKind, Arc<BTreeMap<String, Value>>),
    List(ListKind, Arc<[Value]>),
    Record(Arc<Record>),
}

/// As what a text is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Safe {
    Html,
    Address,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapKind {
    /// Labels of a rule's series: Go's `map[string]string`.
    Labels,
    /// Labels and annotations of messages, which have methods.
    Pairs,
    /// Anything, as `dict` makes it.
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListKind {
    Texts,
    /// What `SortedPairs` gives.
    Pairs,
    Alerts,
    Any,
}

/// A struct: its fields in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    /// Name, name in JSON (none is left out there), value.
    pub(crate) fields: Vec<(&'static str, &'static str, Value)>,
}

impl Record {
    fn field(&self, name: &str) -> Option<&Value> {
        let found = self.fields.iter().find(|(known, ..)| *known == name);
        found.map(|(_, _, value)| value)
    }
}

impl Value {
    /// A time, in UTC; milliseconds after 1970.
    pub(crate) fn time(ms: i64) -> Self {
        moment::at_ms(ms).unwrap_or(Self::Nothing)
    }

    /// Go's time zero, which stands for an alert that has not ended.
    pub(crate) fn time_zero() -> Self {
        moment::zero()
    }

    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Labels or annotations with their methods.
    pub(crate) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        let pairs = pairs.into_iter().map(|(name, value)| (name.clone(), Self::text(value)));
        Self::Map(MapKind::Pairs, Arc::new(pairs.collect()))
    }

    /// Labels as Go's `map[string]string`.
    pub(crate) fn labels(labels: &[(&str, &str)]) -> Self {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Self::text(*value)));
        Self::Map(MapKind::Labels, Arc::new(labels.collect()))
    }

    pub(crate) fn alerts(alerts: impl IntoIterator<Item = Self>) -> Self {
        Self::List(ListKind::Alerts, alerts.into_iter().collect())
    }

    pub(crate) fn record(fields: Vec<(&'static str, &'static str, Self)>) -> Self {
        Self::Record(Arc::new(Record { fields }))
    }

    pub(crate) fn texts(texts: impl IntoIterator<Item = String>) -> Self {
        Self::List(ListKind::Texts, texts.into_iter().map(Self::Text).collect())
    }

    /// Takes what this value holds from what is left: its texts' bytes, and 16 for each value; `None` where that is not enough, or
    /// where it holds others too deep within each other.
    pub(super) fn weigh(&self, left: &mut usize, depth: usize) -> Option<()> {
        /// Nobody nests further by hand, and what is printed or dropped calls itself as often.
        const DEPTH_MAX: usize = 20;
        let own = match self {
            Self::Text(text) | Self::Safe(_, text) => text.len(),
            _ => 0,
        };
        *left = left.checked_sub(own + 16).filter(|_| depth <= DEPTH_MAX)?;
        let mut each = |value: &Self| value.weigh(left, depth + 1);
        match self {
            Self::Map(_, map) => map.values().try_for_each(&mut each),
            Self::List(_, items) => items.iter().try_for_each(&mut each),
            Self::Record(record) => record.fields.iter().try_for_each(|(_, _, value)| each(value)),
            _ => Some(()),
        }
    }

    /// Go's `%v`.
    pub(crate) fn plain(&self) -> String {
        let mut out = String::new();
        self.print(&mut out, true);
        out
    }

    fn print(&self, out: &mut String, is_outermost: bool) {
        let spaced = |values: &mut dyn Iterator<Item = &Self>, out: &mut String| {
            for (at, value) in values.enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                value.print(out, false);
            }
        };
        match self {
            Self::Nothing => out.push_str(if is_outermost { "<no value>" } else { "<nil>" }),
            Self::Text(text) | Self::Safe(_, text) => out.push_str(text),
            Self::Number(number) => out.push_str(&general(*number, None)),
            Self::Whole(number) => out.push_str(&number.to_string()),
            Self::Bool(value) => out.push_str(&value.to_string()),
            Self::Time(time) => out.push_str(&moment::shown(time)),
            Self::Span(nanos) => out.push_str(&moment::span(*nanos)),
            Self::Map(MapKind::Pairs, _) => sorted(self).print(out, false),
            Self::Map(_, map) => {
                out.push_str("map[");
                for (at, (name, value)) in map.iter().enumerate() {
                    if at > 0 {
                        out.push(' ');
                    }
                    out.push_str(name);
                    out.push(':');
                    value.print(out, false);
                }
                out.push(']');
            }
            Self::List(ListKind::Pairs, items) => {
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push_str(", ");
                    }
                    let Self::Record(pair) = item else { continue };
                    let part = |name: &str| pair.field(name).map(Self::plain).unwrap_or_default();
                    out.push_str(&format!("{}={}", part("Name"), part("Value")));
                }
            }
            Self::List(_, items) => {
                out.push('[');
                spaced(&mut items.iter(), out);
                out.push(']');
            }
            Self::Record(record) => {
                out.push('{');
                spaced(&mut record.fields.iter().map(|(_, _, value)| value), out);
                out.push('}');
            }
        }
    }

    /// What `if` and `and` take for true: anything but zero and empty.
    pub(crate) fn truth(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Text(text) | Self::Safe(_, text) => !text.is_empty(),
            Self::Number(number) => *number != 0.0,
            Self::Whole(number) | Self::Span(number) => *number != 0,
            Self::Bool(value) => *value,
            Self::Map(_, map) => !map.is_empty(),
            Self::List(_, items) => !items.is_empty(),
            Self::Time(_) | Self::Record(_) => true,
        }
    }

    /// As a number, which humanize and its like also read from text.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Whole(number) => Some(*number as f64),
            Self::Span(nanos) => Some(*nanos as f64 / 1e9),
            Self::Text(text) | Self::Safe(_, text) => match text.as_str() {
                "+Inf" | "Inf" => Some(f64::INFINITY),
                "-Inf" => Some(f64::NEG_INFINITY),
                _ => text.parse().ok(),
            },
            _ => None,
        }
    }

    /// As a whole number: also one that is written as `5e9`.
    pub(super) fn whole(&self) -> Option<i64> {
        match self {
            Self::Whole(number) | Self::Span(number) => Some(*number),
            Self::Number(number) if number.fract() == 0.0 && number.abs() < 9.2e18 => Some(*number as i64),
            _ => None,
        }
    }

    /// As a text, where it is one.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Safe(_, text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Nothing => "<nil>",
            Self::Text(_) | Self::Safe(..) => "string",
            Self::Number(_) => "float64",
            Self::Whole(_) => "int",
            Self::Bool(_) => "bool",
            Self::Time(_) => "time.Time",
            Self::Span(_) => "time.Duration",
            Self::Map(MapKind::Labels, _) => "map[string]string",
            Self::Map(MapKind::Pairs, _) => "template.KV",
            Self::Map(MapKind::Any, _) => "map[string]interface {}",
            Self::List(ListKind::Texts, _) => "[]string",
            Self::List(ListKind::Pairs, _) => "template.Pairs",
            Self::List(ListKind::Alerts, _) => "template.Alerts",
            Self::List(ListKind::Any, _) => "[]interface {}",
            Self::Record(_) => "struct",
        }
    }

    /// The field or the entry of this name, or what the method of this name gives. A label that is not there is the empty text.
    pub(super) fn field(&self, name: &str, arguments: &[Self]) -> Result<Self, String> {
        if let Some(result) = method(self, name, arguments) {
            return result.map_err(|problem| format!("{name}: {problem}"));
        }
        if !arguments.is_empty() {
            return Err(format!("{name} is no method and takes nothing"));
        }
        match self {
            Self::Record(record) => record.field(name).cloned().ok_or_else(|| no_field(name, self)),
            Self::Map(..) => Ok(self.entry(name)),
            _ => Err(no_field(name, self)),
        }
    }

    /// The entry of a map; of one that has none of the name what Go takes for zero.
    pub(super) fn entry(&self, name: &str) -> Self {
        match self {
            Self::Map(kind, map) => map.get(name).cloned().unwrap_or(match kind {
                MapKind::Any => Self::Nothing,
                MapKind::Labels | MapKind::Pairs => Self::Text(String::new()),
            }),
            _ => Self::Nothing,
        }
    }
}

fn no_field(name: &str, value: &Value) -> String {
    format!("there is no field {name} here (in {})", value.type_name())
}

/// Labels as a list: `alertname` first, then by name.
fn sorted(pairs: &Value) -> Value {
    let Value::Map(_, map) = pairs else {
        return Value::List(ListKind::Pairs, Arc::default());
    };
    let pair = |(name, value): (&String, &Value)| {
        Value::record(vec![
            ("Name", "Name", Value::text(name)),
            ("Value", "Value", value.clone()),
        ])
    };
    let (first, rest): (Vec<_>, Vec<_>) = map.iter().partition(|(name, _)| *name == "alertname");
    Value::List(ListKind::Pairs, first.into_iter().chain(rest).map(pair).collect())
}

/// What the method gives, where there is one of that name.
fn method(value: &Value, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
    let wants = |count: usize, result: &dyn Fn() -> Result<Value, String>| {
        Some(if arguments.len() == count {
            result()
        } else {
            Err(format!("it takes {count} arguments, not {}", arguments.len()))
        })
    };
    match (value, name) {
        (Value::Map(MapKind::Pairs, _), "SortedPairs") => wants(0, &|| Ok(sorted(value))),
        (Value::Map(MapKind::Pairs, _), "Names" | "Values" | "String") => method(&sorted(value), name, arguments),
        (Value::Map(MapKind::Pairs, map), "Remove") => wants(1, &|| {
            let Value::List(_, names) = &arguments[0] else {
                return Err("it takes a list of names: stringSlice makes one".to_owned());
            };
            let is_named = |name: &String| names.iter().any(|other| other.as_text() == Some(name));
            let left = map.iter().filter(|(name, _)| !is_named(name));
            let left = left.map(|(name, value)| (name.clone(), value.clone()));
            Ok(Value::Map(MapKind::Pairs, Arc::new(left.collect())))
        }),
        (Value::List(ListKind::Pairs, items), "Names" | "Values") => wants(0, &|| {
            let part = &name[..name.len() - 1];
            let texts = items.iter().filter_map(|item| match item {
                Value::Record(pair) => pair.field(part).map(Value::plain),
                _ => None,
            });
            Ok(Value::texts(texts))
        }),
        (Value::List(ListKind::Pairs, _), "String") => wants(0, &|| Ok(Value::Text(value.plain()))),
        (Value::List(ListKind::Alerts, items), "Firing" | "Resolved") => wants(0, &|| {
            let wanted = name.to_lowercase();
            let is_wanted = |item: &&Value| match item {
                Value::Record(alert) => alert.field("Status").and_then(Value::as_text) == Some(&wanted),
                _ => false,
            };
            // A list like any other: those that fire are not asked again.
            Ok(Value::List(
                ListKind::Any,
                items.iter().filter(is_wanted).cloned().collect(),
            ))
        }),
        (Value::Time(time), _) => moment::of_time(time, name, arguments),
        (Value::Span(nanos), _) => moment::of_span(*nanos, name, arguments),
        _ => None,
    }
}
