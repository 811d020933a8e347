//! From the tree and the facts to the text.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::call::{Around, call};
use super::function::Function;
use super::page::Page;
use super::tree::{Command, Node, NodeKind, Operand, Pipe, Variable};
use super::value::Value;
use super::{Definition, Failure, Form, Limits};

/// Templates within templates, and blocks within blocks, at once.
const DEPTH_MAX: usize = 100;
/// Steps that a pattern takes which is made while a template runs.
const PATTERN_STEPS: u64 = 200;
/// Steps that making a list takes.
const LIST_STEPS: u64 = 20;

pub(super) struct Run<'a> {
    pub(super) templates: &'a BTreeMap<String, Arc<Definition>>,
    pub(super) around: Around<'a>,
    pub(super) limits: Limits,
    pub(super) variables: Vec<(String, Value)>,
    /// What the point stands for.
    pub(super) dot: Value,
    pub(super) out: Out,
    pub(super) steps: u64,
    pub(super) depth: usize,
    /// Where what runs was written.
    pub(super) file: Arc<str>,
}

pub(super) enum Out {
    Plain(String),
    Page(Page),
}

impl Out {
    pub(super) fn of(form: Form) -> Self {
        match form {
            Form::Text => Self::Plain(String::new()),
            Form::Page => Self::Page(Page::default()),
        }
    }

    fn length(&self) -> usize {
        match self {
            Self::Plain(out) => out.len(),
            Self::Page(page) => page.out.len(),
        }
    }

    pub(super) fn into_text(self) -> String {
        match self {
            Self::Plain(out) => out,
            Self::Page(page) => page.out,
        }
    }
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Flow {
    On,
    Break,
    Continue,
}

impl Run<'_> {
    pub(super) fn nodes(&mut self, nodes: &[Node]) -> Result<Flow, Failure> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let line = nodes.first().map_or(0, |node| node.line);
            return Err(self.failure(line, format!("templates call each other more than {DEPTH_MAX} deep")));
        }
        for node in nodes {
            let flow = self.node(node)?;
            if flow != Flow::On {
                self.depth -= 1;
                return Ok(flow);
            }
            if self.out.length() > self.limits.bytes {
                let problem = format!("the text is longer than {} bytes", self.limits.bytes);
                return Err(self.failure(node.line, problem));
            }
        }
        self.depth -= 1;
        Ok(Flow::On)
    }

    fn failure(&self, line: u32, problem: String) -> Failure {
        Failure {
            file: Arc::clone(&self.file),
            line,
            problem,
        }
    }

    fn node(&mut self, node: &Node) -> Result<Flow, Failure> {
        let line = node.line;
        self.step(1).map_err(|problem| self.failure(line, problem))?;
        match &node.kind {
            NodeKind::Text(text) => match &mut self.out {
                Out::Plain(out) => out.push_str(text),
                Out::Page(page) => page.literal(text),
            },
            NodeKind::Output(pipe) => {
                let written = self.pipe(pipe).and_then(|value| match &mut self.out {
                    Out::Plain(out) => {
                        out.push_str(&value.plain());
                        Ok(())
                    }
                    Out::Page(page) => page.value(&value),
                });
                written.map_err(|problem| self.failure(line, problem))?;
            }
            NodeKind::Set(variable, pipe) => {
                let value = self.pipe(pipe).map_err(|problem| self.failure(line, problem))?;
                self.set(variable, value);
            }
            NodeKind::If {
                with,
                branches,
                otherwise,
            } => {
                let scope = self.variables.len();
                let mut chosen = otherwise;
                let mut dot = None;
                for branch in branches {
                    let value = self.pipe(&branch.condition);
                    let value = value.map_err(|problem| self.failure(branch.line, problem))?;
                    if let Some(variable) = &branch.variable {
                        self.set(variable, value.clone());
                    }
                    if value.truth() {
                        chosen = &branch.body;
                        dot = with.then_some(value);
                        break;
                    }
                }
                let outer = dot.map(|dot| std::mem::replace(&mut self.dot, dot));
                let flow = self.nodes(chosen)?;
                if let Some(outer) = outer {
                    self.dot = outer;
                }
                self.variables.truncate(scope);
                return Ok(flow);
            }
            NodeKind::Range {
                key,
                value,
                over,
                body,
                otherwise,
            } => return self.range(line, (key.as_ref(), value.as_ref()), over, body, otherwise),
            NodeKind::Template(name, about) => {
                let about = about.as_ref().map(|pipe| self.pipe(pipe)).transpose();
                let about = about.map_err(|problem| self.failure(line, problem))?;
                let Some(definition) = self.templates.get(name) else {
                    return Err(self.failure(line, format!("there is no template {name:?}")));
                };
                let definition = Arc::clone(definition);
                let dot = about.unwrap_or(Value::Nothing);
                let inner = vec![(String::new(), dot.clone())];
                let outer = (
                    std::mem::replace(&mut self.dot, dot),
                    std::mem::replace(&mut self.variables, inner),
                    std::mem::replace(&mut self.file, Arc::clone(&definition.file)),
                );
                self.nodes(&definition.nodes)?;
                (self.dot, self.variables, self.file) = outer;
            }
            NodeKind::Break => return Ok(Flow::Break),
            NodeKind::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn range(
        &mut self,
        line: u32,
        (key, value): (Option<&Variable>, Option<&Variable>),
        over: &Pipe,
        body: &[Node],
        otherwise: &[Node],
    ) -> Result<Flow, Failure> {
        let over = self.pipe(over).and_then(|over| items(&over, self.limits.steps));
        let over = over.map_err(|problem| self.failure(line, problem))?;
        let scope = self.variables.len();
        let outer = self.dot.clone();
        let is_empty = over.is_empty();
        for (at, item) in over {
            self.step(1).map_err(|problem| self.failure(line, problem))?;
            if let Some(variable) = value {
                if let Some(variable) = key {
                    self.set(variable, at);
                }
                self.set(variable, item.clone());
            }
            self.dot = item;
            let flow = self.nodes(body)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        self.dot = outer;
        if is_empty {
            return self.nodes(otherwise);
        }
        Ok(Flow::On)
    }

    fn set(&mut self, variable: &Variable, value: Value) {
        let known = self.variables.iter_mut().rev();
        match known.into_iter().find(|(name, _)| *name == variable.name) {
            Some((_, known)) if !variable.declares => *known = value,
            _ => self.variables.push((variable.name.clone(), value)),
        }
    }

    fn step(&mut self, count: u64) -> Result<(), String> {
        self.steps += count;
        if self.steps > self.limits.steps {
            return Err(format!("it takes more than {} steps", self.limits.steps));
        }
        Ok(())
    }

    fn pipe(&mut self, pipe: &Pipe) -> Result<Value, String> {
        let mut last = None;
        for command in pipe {
            last = Some(match command {
                Command::Value(operand, arguments) => {
                    let mut given = self.operands(arguments)?;
                    given.extend(last.take());
                    self.value(operand, &given)?
                }
                Command::Call(function @ (Function::And | Function::Or), operands) => {
                    self.decided(*function, operands, last.take())?
                }
                Command::Call(function, operands) => {
                    let mut given = self.operands(operands)?;
                    given.extend(last.take());
                    self.called(*function, &given)?
                }
            });
        }
        last.ok_or_else(|| "an empty action".to_owned())
    }

    fn operands(&mut self, operands: &[Operand]) -> Result<Vec<Value>, String> {
        operands.iter().map(|operand| self.value(operand, &[])).collect()
    }

    fn called(&mut self, function: Function, arguments: &[Value]) -> Result<Value, String> {
        self.step(match function {
            Function::Match | Function::ReReplaceAll => PATTERN_STEPS,
            // All that they hold is looked at.
            Function::List | Function::Append | Function::Dict => LIST_STEPS,
            _ => 1,
        })?;
        let value = call(function, arguments, &self.around)?;
        self.weigh(value)
    }

    /// The first operand whose truth decides, else the last; what comes behind it is not looked at.
    fn decided(&mut self, function: Function, operands: &[Operand], piped: Option<Value>) -> Result<Value, String> {
        let mut last = Value::Nothing;
        for operand in operands {
            last = self.value(operand, &[])?;
            if last.truth() == (function == Function::Or) {
                return Ok(last);
            }
        }
        Ok(piped.unwrap_or(last))
    }

    /// An operand; `arguments` are for the method that it names last.
    fn value(&mut self, operand: &Operand, arguments: &[Value]) -> Result<Value, String> {
        self.step(1)?;
        let value = match operand {
            Operand::Literal(value) => value.clone(),
            Operand::Dot => self.dot.clone(),
            Operand::Variable(name) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                let (_, value) = found.ok_or_else(|| format!("undefined variable ${name}"))?;
                value.clone()
            }
            Operand::Pipe(pipe) => self.pipe(pipe)?,
            Operand::Call(function) => self.called(*function, &[])?,
            Operand::Fields(of, path) => {
                let mut value = self.value(of, &[])?;
                for (at, name) in path.iter().enumerate() {
                    let is_last = at + 1 == path.len();
                    value = value.field(name, if is_last { arguments } else { &[] })?;
                }
                value
            }
        };
        self.weigh(value)
    }

    /// Long texts count for more than one step, and none is longer than what comes out may be.
    fn weigh(&mut self, value: Value) -> Result<Value, String> {
        let length = match &value {
            Value::Text(text) | Value::Safe(_, text) => text.len(),
            Value::List(_, items) => items.len(),
            Value::Map(_, map) => map.len(),
            _ => 0,
        };
        if length > self.limits.bytes {
            return Err(format!("a value is longer than {} bytes", self.limits.bytes));
        }
        self.step(length as u64 / 64)?;
        Ok(value)
    }
}

/// What a range goes over: keys or numbers, with what is there.
fn items(over: &Value, most: u64) -> Result<Vec<(Value, Value)>, String> {
    let numbered = |(at, item): (usize, Value)| (Value::Whole(at as i64), item);
    match over {
        Value::Nothing => Ok(Vec::new()),
        Value::List(_, items) => Ok(items.iter().cloned().enumerate().map(numbered).collect()),
        Value::Map(_, map) => {
            let entry = |(name, value): (&String, &Value)| (Value::text(name), value.clone());
            Ok(map.iter().map(entry).collect())
        }
        Value::Whole(count) if u64::try_from(*count).unwrap_or(0) > most => {
            Err(format!("it takes more than {most} steps"))
        }
        // Which Go does since 1.22.
        Value::Whole(count) => {
            let one = |at: i64| (Value::Whole(at), Value::Whole(at));
            Ok((0..*count).map(one).collect())
        }
        other => Err(format!("range: {:?} has no parts", other.plain())),
    }
}
