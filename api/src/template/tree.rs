//! What a template is once it is parsed.

use super::function::Function;
use super::value::Value;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Of its text, from one.
    pub(super) line: u32,
    pub(super) kind: NodeKind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum NodeKind {
    Text(String),
    Output(Pipe),
    /// Sets a variable; a new one where it declares.
    Set(Variable, Pipe),
    /// Conditions with their bodies, then what holds when none does. `with` also sets the point.
    If {
        with: bool,
        branches: Vec<Branch>,
        otherwise: Vec<Node>,
    },
    Range {
        key: Option<Variable>,
        value: Option<Variable>,
        over: Pipe,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    /// Another template, with what it is about.
    Template(String, Option<Pipe>),
    Break,
    Continue,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Branch {
    pub(super) line: u32,
    pub(super) variable: Option<Variable>,
    pub(super) condition: Pipe,
    pub(super) body: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Variable {
    pub(super) name: String,
    /// `:=` rather than `=`.
    pub(super) declares: bool,
}

/// Commands of which each takes the result of the one before as its last argument.
pub(super) type Pipe = Vec<Command>;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    /// A value, or a method of it with what it is given.
    Value(Operand, Vec<Operand>),
    Call(Function, Vec<Operand>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Literal(Value),
    Dot,
    Variable(String),
    Pipe(Pipe),
    Call(Function),
    /// Fields, one of the other.
    Fields(Box<Operand>, Vec<String>),
}

impl Node {
    /// Calls `found` with the name of every template that is asked for here or below.
    pub(super) fn asked_for<'a>(nodes: &'a [Self], found: &mut impl FnMut(&'a str)) {
        for node in nodes {
            match &node.kind {
                NodeKind::Template(name, _) => found(name),
                NodeKind::If {
                    branches, otherwise, ..
                } => {
                    for branch in branches {
                        Self::asked_for(&branch.body, found);
                    }
                    Self::asked_for(otherwise, found);
                }
                NodeKind::Range { body, otherwise, .. } => {
                    Self::asked_for(body, found);
                    Self::asked_for(otherwise, found);
                }
                NodeKind::Text(_) | NodeKind::Output(_) | NodeKind::Set(..) | NodeKind::Break | NodeKind::Continue => {}
            }
        }
    }
}
