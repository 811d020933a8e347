//! From the tree and the facts to the text.

use super::Facts;
use super::parse::{Command, Function, Node, Operand, Pipe};
use crate::rule::duration;
use crate::rule::go::{self, Value};

/// Longest text of a label or an annotation.
const TEXT_MAX: usize = 64 << 10;

pub(super) fn render(nodes: &[Node], facts: &Facts<'_>) -> Result<String, String> {
    let pairs = |labels: &[(&str, &str)]| {
        Value::Labels(
            labels
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    };
    let labels = pairs(&facts.labels);
    let mut run = Run {
        dot: labels.clone(),
        variables: vec![
            ("labels".to_owned(), labels),
            ("value".to_owned(), Value::Number(facts.value)),
            ("externalLabels".to_owned(), pairs(&facts.external_labels)),
            ("externalURL".to_owned(), Value::Text(facts.external_url.to_owned())),
        ],
        facts,
        out: String::new(),
    };
    run.nodes(nodes)?;
    Ok(run.out)
}

struct Run<'a> {
    /// What the point stands for.
    dot: Value,
    variables: Vec<(String, Value)>,
    facts: &'a Facts<'a>,
    out: String,
}

impl Run<'_> {
    fn nodes(&mut self, nodes: &[Node]) -> Result<(), String> {
        for node in nodes {
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Output(pipe) => {
                    let value = self.pipe(pipe)?;
                    self.out.push_str(&value.plain());
                }
                Node::Assign(name, pipe) => {
                    let value = self.pipe(pipe)?;
                    self.variables.push((name.clone(), value));
                }
                Node::If {
                    with,
                    branches,
                    otherwise,
                } => self.branch(*with, branches, otherwise)?,
            }
            if self.out.len() > TEXT_MAX {
                return Err(format!("the text is longer than {TEXT_MAX} bytes"));
            }
        }
        Ok(())
    }

    fn branch(
        &mut self,
        with: bool,
        branches: &[(Option<String>, Pipe, Vec<Node>)],
        otherwise: &[Node],
    ) -> Result<(), String> {
        let scope = self.variables.len();
        let mut chosen = otherwise;
        let mut dot = None;
        for (variable, pipe, body) in branches {
            let value = self.pipe(pipe)?;
            if let Some(name) = variable {
                self.variables.push((name.clone(), value.clone()));
            }
            if value.truth() {
                chosen = body;
                dot = with.then_some(value);
                break;
            }
        }
        let outer = dot.map(|dot| std::mem::replace(&mut self.dot, dot));
        self.nodes(chosen)?;
        if let Some(outer) = outer {
            self.dot = outer;
        }
        self.variables.truncate(scope);
        Ok(())
    }

    fn pipe(&self, pipe: &Pipe) -> Result<Value, String> {
        let mut last = None;
        for command in pipe {
            last = Some(match command {
                Command::Value(operand) => self.operand(operand)?,
                Command::Call(function, operands) => {
                    let mut arguments = operands
                        .iter()
                        .map(|operand| self.operand(operand))
                        .collect::<Result<Vec<_>, _>>()?;
                    arguments.extend(last.take());
                    call(*function, &arguments, self.facts)?
                }
            });
        }
        last.ok_or_else(|| "an empty action".to_owned())
    }

    fn operand(&self, operand: &Operand) -> Result<Value, String> {
        match operand {
            Operand::Literal(value) => Ok(value.clone()),
            Operand::Variable(name, path) if name.is_empty() => self.named_fact(path, &Value::Text(String::new())),
            Operand::Variable(name, path) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                let (_, value) = found.ok_or_else(|| format!("undefined variable ${name}"))?;
                fields(value, path)
            }
            Operand::Dot(path) => self.named_fact(path, &self.dot),
            Operand::Pipe(pipe, path) => fields(&self.pipe(pipe)?, path),
            Operand::Call(function) => call(*function, &[], self.facts),
        }
    }

    /// `.Labels`, `.Value` and their like are other names of the variables; anything else is a field of the point.
    fn named_fact(&self, path: &[String], dot: &Value) -> Result<Value, String> {
        let variable = match path.first().map(String::as_str) {
            Some("Labels") => 0,
            Some("Value") => 1,
            Some("ExternalLabels") => 2,
            Some("ExternalURL") => 3,
            _ => return fields(dot, path),
        };
        fields(&self.variables[variable].1, &path[1..])
    }
}

/// A label that is not there is the empty text.
fn fields(value: &Value, path: &[String]) -> Result<Value, String> {
    match (value, path) {
        (_, []) => Ok(value.clone()),
        (Value::Labels(labels), [name]) => Ok(Value::Text(label(labels, name))),
        (_, [name, ..]) => Err(format!("there is no field {name} here")),
    }
}

fn label(labels: &[(String, String)], name: &str) -> String {
    labels
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.clone())
        .unwrap_or_default()
}

fn call(function: Function, arguments: &[Value], facts: &Facts<'_>) -> Result<Value, String> {
    let number = |at: usize| {
        arguments[at]
            .number()
            .ok_or_else(|| format!("{}: {:?} is no number", function.name(), arguments[at].plain()))
    };
    let text = |at: usize| match &arguments[at] {
        Value::Text(text) => Ok(text.as_str()),
        other => Err(format!("{}: {:?} is no text", function.name(), other.plain())),
    };
    let pattern = |at: usize| regex::Regex::new(text(at)?).map_err(|error| error.to_string());
    Ok(match function {
        Function::Humanize => Value::Text(go::humanize(number(0)?)),
        Function::Humanize1024 => Value::Text(go::humanize_1024(number(0)?)),
        Function::HumanizeDuration => Value::Text(go::humanize_duration(number(0)?)),
        Function::HumanizePercentage => Value::Text(format!("{}%", go::general(number(0)? * 100.0, Some(4)))),
        Function::HumanizeTimestamp => Value::Text(timestamp(number(0)?)?),
        Function::ParseDuration => {
            let ms = duration::parse(text(0)?).ok_or_else(|| format!("{:?} is no duration", arguments[0].plain()))?;
            Value::Number(ms as f64 / 1000.0)
        }
        Function::Printf => Value::Text(go::printf(text(0)?, &arguments[1..])),
        Function::Print => Value::Text(arguments.iter().map(Value::plain).collect()),
        Function::Title => Value::Text(title(text(0)?)),
        Function::ToUpper => Value::Text(text(0)?.to_uppercase()),
        Function::ToLower => Value::Text(text(0)?.to_lowercase()),
        Function::StripPort => Value::Text(strip_port(text(0)?).to_owned()),
        Function::StripDomain => Value::Text(strip_domain(text(0)?)),
        Function::Match => Value::Bool(pattern(0)?.is_match(text(1)?)),
        Function::ReReplaceAll => Value::Text(pattern(0)?.replace_all(text(2)?, text(1)?).into_owned()),
        Function::Index => match &arguments[0] {
            Value::Labels(labels) => Value::Text(label(labels, text(1)?)),
            other => return Err(format!("index: {:?} has no parts", other.plain())),
        },
        Function::Len => match &arguments[0] {
            Value::Text(text) => Value::Whole(text.len() as i64),
            Value::Labels(labels) => Value::Whole(labels.len() as i64),
            other => return Err(format!("len: {:?} has no length", other.plain())),
        },
        Function::Eq => {
            let mut any = false;
            for other in &arguments[1..] {
                any |= order(&arguments[0], other)?.is_some_and(std::cmp::Ordering::is_eq);
            }
            Value::Bool(any)
        }
        Function::Ne => Value::Bool(!order(&arguments[0], &arguments[1])?.is_some_and(std::cmp::Ordering::is_eq)),
        Function::Lt => Value::Bool(order(&arguments[0], &arguments[1])?.is_some_and(std::cmp::Ordering::is_lt)),
        Function::Le => Value::Bool(order(&arguments[0], &arguments[1])?.is_some_and(std::cmp::Ordering::is_le)),
        Function::Gt => Value::Bool(order(&arguments[0], &arguments[1])?.is_some_and(std::cmp::Ordering::is_gt)),
        Function::Ge => Value::Bool(order(&arguments[0], &arguments[1])?.is_some_and(std::cmp::Ordering::is_ge)),
        Function::And => picked(arguments, false),
        Function::Or => picked(arguments, true),
        Function::Not => Value::Bool(!arguments[0].truth()),
        Function::ExternalUrl => Value::Text(facts.external_url.to_owned()),
    })
}

/// The first argument whose truth is `wanted`, else the last.
fn picked(arguments: &[Value], wanted: bool) -> Value {
    let found = arguments
        .iter()
        .find(|value| value.truth() == wanted)
        .or(arguments.last());
    found.cloned().unwrap_or(Value::Bool(false))
}

/// Go compares values of one kind only; numbers may be whole or not here, since a literal `5` beside `$value` is meant so.
fn order(a: &Value, b: &Value) -> Result<Option<std::cmp::Ordering>, String> {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => Ok(Some(a.cmp(b))),
        (Value::Bool(a), Value::Bool(b)) => Ok(Some(a.cmp(b))),
        (Value::Number(_) | Value::Whole(_), Value::Number(_) | Value::Whole(_)) => {
            Ok(a.number().zip(b.number()).and_then(|(a, b)| a.partial_cmp(&b)))
        }
        _ => Err(format!("{:?} and {:?} cannot be compared", a.plain(), b.plain())),
    }
}

/// As Go prints a time in UTC.
fn timestamp(seconds: f64) -> Result<String, String> {
    if !seconds.is_finite() {
        return Ok(go::general(seconds, Some(4)));
    }
    let moment = jiff::Timestamp::from_millisecond((seconds * 1000.0) as i64).map_err(|error| error.to_string())?;
    let text = moment.to_string().replace('T', " ");
    Ok(format!("{} +0000 UTC", text.trim_end_matches('Z')))
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .flat_map(|c| {
            let upper = start && c.is_alphabetic();
            start = !(c.is_alphanumeric() || c == '\'');
            if upper {
                c.to_uppercase().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect()
}

fn strip_port(text: &str) -> &str {
    match text.rsplit_once(':') {
        // More than one colon and no brackets: an address of IPv6 without a port.
        Some((host, _)) if !host.contains(':') => host,
        Some((host, _)) if host.ends_with(']') => host.trim_start_matches('[').trim_end_matches(']'),
        _ => text,
    }
}

fn strip_domain(text: &str) -> String {
    let host = strip_port(text);
    if host.parse::<std::net::IpAddr>().is_ok() {
        return text.to_owned();
    }
    let port = text.strip_prefix(host).unwrap_or("");
    format!("{}{port}", host.split('.').next().unwrap_or(host))
}
