//! From words to a tree, in which every function and variable is known.

use super::format::check_format;
use super::function::{Function, function};
use super::lex::{Piece, PieceKind, Word};
use super::tree::{Branch, Command, Node, NodeKind, Operand, Pipe, Variable};
use super::value::Value;
use super::{TemplateError, Vocabulary};

/// Blocks, and parentheses, nested deeper than this are refused.
const DEPTH_MAX: usize = 20;

/// What a text holds: its own nodes, and the templates that it defines, by name.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) nodes: Vec<Node>,
    pub(super) defined: Vec<(String, Vec<Node>)>,
}

pub(super) fn parse(pieces: &[Piece], vocabulary: Vocabulary) -> Result<Parsed, TemplateError> {
    let mut parser = Parser {
        pieces,
        at: 0,
        vocabulary,
        variables: vocabulary.variables(),
        loops: 0,
        defined: Vec::new(),
    };
    let (nodes, end) = parser.block(0)?;
    match end {
        None => Ok(Parsed {
            nodes,
            defined: parser.defined,
        }),
        Some(end) => Err(end.failed(format!("unexpected {}", end.word()))),
    }
}

struct Parser<'a> {
    pieces: &'a [Piece],
    at: usize,
    vocabulary: Vocabulary,
    variables: Vec<String>,
    /// How many `range` there are around.
    loops: usize,
    defined: Vec<(String, Vec<Node>)>,
}

/// An action, with where it stands.
#[derive(Clone, Copy)]
struct Action<'a> {
    words: &'a [Word],
    source: &'a str,
    line: u32,
}

impl Action<'_> {
    fn failed(&self, problem: impl Into<String>) -> TemplateError {
        TemplateError {
            problem: problem.into(),
            place: self.source.to_owned(),
            line: self.line,
        }
    }

    fn word(&self) -> &str {
        match self.words.first() {
            Some(Word::Name(name)) => name,
            _ => "",
        }
    }
}

impl<'a> Parser<'a> {
    /// Nodes up to `end` or `else`, which is returned.
    fn block(&mut self, depth: usize) -> Result<(Vec<Node>, Option<Action<'a>>), TemplateError> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.get(self.at) {
            self.at += 1;
            let line = piece.line;
            let action = match &piece.kind {
                PieceKind::Text(text) => {
                    let kind = NodeKind::Text(text.clone());
                    nodes.push(Node { line, kind });
                    continue;
                }
                PieceKind::Action { words, source } => Action { words, source, line },
            };
            let deeper = |what: &str| {
                if depth == DEPTH_MAX {
                    Err(action.failed(format!("blocks are nested more than {DEPTH_MAX} deep")))
                } else if depth > 0 && what == "define" {
                    Err(action.failed("define stands outside of all blocks"))
                } else {
                    Ok(())
                }
            };
            let kind = match action.words {
                [] => return Err(action.failed("an empty action")),
                [Word::Name(name), after @ ..] if name == "end" || name == "else" => {
                    if name == "end" && !after.is_empty() {
                        return Err(action.failed("end takes nothing"));
                    }
                    return Ok((nodes, Some(action)));
                }
                [Word::Name(name), condition @ ..] if name == "if" || name == "with" => {
                    deeper(name)?;
                    self.branches(name == "with", condition, action, depth)?
                }
                [Word::Name(name), over @ ..] if name == "range" => {
                    deeper(name)?;
                    self.range(over, action, depth)?
                }
                [Word::Name(name), after @ ..] if name == "define" => {
                    deeper(name)?;
                    let [Word::Text(defined)] = after else {
                        return Err(action.failed("define takes a name in double quotes"));
                    };
                    self.define(defined, action, depth)?;
                    continue;
                }
                [Word::Name(name), after @ ..] if name == "block" => {
                    deeper(name)?;
                    let [Word::Text(defined), about @ ..] = after else {
                        return Err(action.failed("block takes a name in double quotes, and what it is about"));
                    };
                    let about = self.pipe(about, 0).map_err(|problem| action.failed(problem))?;
                    self.define(defined, action, depth)?;
                    NodeKind::Template(defined.clone(), Some(about))
                }
                [Word::Name(name), after @ ..] if name == "template" => {
                    let [Word::Text(asked), about @ ..] = after else {
                        return Err(action.failed("template takes a name in double quotes"));
                    };
                    let about = match about {
                        [] => None,
                        about => Some(self.pipe(about, 0).map_err(|problem| action.failed(problem))?),
                    };
                    NodeKind::Template(asked.clone(), about)
                }
                [Word::Name(name)] if name == "break" || name == "continue" => {
                    if self.loops == 0 {
                        return Err(action.failed(format!("{name} stands within range")));
                    }
                    if name == "break" {
                        NodeKind::Break
                    } else {
                        NodeKind::Continue
                    }
                }
                [Word::Variable(name), sign @ (Word::Declare | Word::Assign), value @ ..] => {
                    let pipe = self.pipe(value, 0).map_err(|problem| action.failed(problem))?;
                    let variable = self.variable(name, sign).map_err(|problem| action.failed(problem))?;
                    NodeKind::Set(variable, pipe)
                }
                words => NodeKind::Output(self.pipe(words, 0).map_err(|problem| action.failed(problem))?),
            };
            nodes.push(Node { line, kind });
        }
        Ok((nodes, None))
    }

    /// Up to its own `end`, which no `else` may stand before.
    fn body(&mut self, action: Action<'a>, depth: usize) -> Result<Vec<Node>, TemplateError> {
        match self.block(depth + 1)? {
            (nodes, Some(end)) if end.word() == "end" => Ok(nodes),
            (_, Some(end)) => Err(end.failed("an else needs an end")),
            (_, None) => Err(action.failed("a block does not end")),
        }
    }

    /// The body of a template of its own, which knows none of the variables around it.
    fn define(&mut self, name: &str, action: Action<'a>, depth: usize) -> Result<(), TemplateError> {
        let outer = std::mem::replace(&mut self.variables, vec![String::new()]);
        let loops = std::mem::take(&mut self.loops);
        let nodes = self.body(action, depth)?;
        (self.variables, self.loops) = (outer, loops);
        self.defined.push((name.to_owned(), nodes));
        Ok(())
    }

    fn range(&mut self, words: &[Word], action: Action<'a>, depth: usize) -> Result<NodeKind, TemplateError> {
        let failed = |problem: String| action.failed(problem);
        let scope = self.variables.len();
        let (key, value, words) = match words {
            [
                Word::Variable(key),
                Word::Comma,
                Word::Variable(value),
                sign @ (Word::Declare | Word::Assign),
                words @ ..,
            ] => (Some((key, sign)), Some((value, sign)), words),
            [Word::Variable(value), sign @ (Word::Declare | Word::Assign), words @ ..] => {
                (None, Some((value, sign)), words)
            }
            words => (None, None, words),
        };
        let over = self.pipe(words, 0).map_err(failed)?;
        let mut known =
            |found: Option<(&String, &Word)>| found.map(|(name, sign)| self.variable(name, sign)).transpose();
        let (key, value) = (known(key).map_err(failed)?, known(value).map_err(failed)?);
        self.loops += 1;
        let (body, end) = self.block(depth + 1)?;
        self.loops -= 1;
        self.variables.truncate(scope);
        let otherwise = match end {
            None => return Err(action.failed("a block does not end")),
            Some(end) if end.word() == "end" => Vec::new(),
            Some(end) if end.words.len() == 1 => self.body(end, depth)?,
            Some(end) => return Err(end.failed("else takes nothing within range")),
        };
        self.variables.truncate(scope);
        Ok(NodeKind::Range {
            key,
            value,
            over,
            body,
            otherwise,
        })
    }

    fn branches(
        &mut self,
        with: bool,
        condition: &'a [Word],
        action: Action<'a>,
        depth: usize,
    ) -> Result<NodeKind, TemplateError> {
        let mut branches = Vec::new();
        let (mut condition, mut action) = (condition, action);
        let scope = self.variables.len();
        let otherwise = loop {
            let failed = |problem: String| action.failed(problem);
            let (named, words) = match condition {
                [Word::Variable(name), sign @ (Word::Declare | Word::Assign), words @ ..] => {
                    (Some((name, sign)), words)
                }
                words => (None, words),
            };
            let pipe = self.pipe(words, 0).map_err(failed)?;
            let variable = named.map(|(name, sign)| self.variable(name, sign)).transpose();
            let variable = variable.map_err(failed)?;
            let outer = self.variables.len();
            let (body, end) = self.block(depth + 1)?;
            self.variables.truncate(outer);
            branches.push(Branch {
                line: action.line,
                variable,
                condition: pipe,
                body,
            });
            let Some(end) = end else {
                return Err(action.failed("a block does not end"));
            };
            match end.words {
                [Word::Name(word)] if word == "end" => break Vec::new(),
                [_] => break self.body(end, depth)?,
                [_, Word::Name(name), next @ ..] if name == if with { "with" } else { "if" } => {
                    (condition, action) = (next, end);
                }
                _ => return Err(end.failed("else takes nothing but an if")),
            }
        };
        self.variables.truncate(scope);
        Ok(NodeKind::If {
            with,
            branches,
            otherwise,
        })
    }

    fn variable(&mut self, name: &str, sign: &Word) -> Result<Variable, String> {
        let declares = *sign == Word::Declare;
        if declares {
            self.variables.push(name.to_owned());
        } else if !self.variables.iter().any(|known| known == name) {
            return Err(format!("undefined variable ${name}"));
        }
        Ok(Variable {
            name: name.to_owned(),
            declares,
        })
    }

    fn pipe(&self, words: &[Word], depth: usize) -> Result<Pipe, String> {
        let mut pipe = Vec::new();
        let mut rest = words;
        loop {
            let (operands, after) = self.operands(rest, depth)?;
            let piped = usize::from(!pipe.is_empty());
            pipe.push(command(operands, piped)?);
            match after {
                [] => return Ok(pipe),
                [Word::Pipe, next @ ..] => rest = next,
                _ => return Err("a parenthesis closes that none opened".to_owned()),
            }
        }
    }

    /// Operands up to a pipe, a closing parenthesis or the end.
    fn operands<'w>(&self, words: &'w [Word], depth: usize) -> Result<(Vec<Operand>, &'w [Word]), String> {
        let mut operands = Vec::new();
        let mut rest = words;
        loop {
            let (first, after) = match rest {
                [] | [Word::Pipe | Word::Close, ..] => return Ok((operands, rest)),
                [first, after @ ..] => (first, after),
            };
            rest = after;
            let operand = match first {
                Word::Text(text) => Operand::Literal(Value::Text(text.clone())),
                Word::Number(number) => Operand::Literal(Value::Number(*number)),
                Word::Whole(number) => Operand::Literal(Value::Whole(*number)),
                Word::Name(name) => match name.as_str() {
                    "true" | "false" => Operand::Literal(Value::Bool(name == "true")),
                    "nil" => Operand::Literal(Value::Nothing),
                    _ => Operand::Call(function(name, self.vocabulary)?),
                },
                Word::Variable(name) => {
                    if !self.variables.contains(name) {
                        return Err(format!("undefined variable ${name}"));
                    }
                    Operand::Variable(name.clone())
                }
                Word::Field(name, _) if name.is_empty() => Operand::Dot,
                Word::Field(name, _) => Operand::Fields(Box::new(Operand::Dot), vec![name.clone()]),
                Word::Open => {
                    if depth == DEPTH_MAX {
                        return Err(format!("parentheses are nested more than {DEPTH_MAX} deep"));
                    }
                    let end = closing(rest).ok_or("a parenthesis does not close")?;
                    let inner = self.pipe(&rest[..end], depth + 1)?;
                    rest = &rest[end + 1..];
                    Operand::Pipe(inner)
                }
                Word::Declare | Word::Assign => {
                    return Err("an assignment stands at the beginning of an action".to_owned());
                }
                Word::Comma => return Err("a comma stands between the variables of a range".to_owned()),
                Word::Pipe => return Err("a pipe stands where a value should".to_owned()),
                Word::Close => return Err("a parenthesis closes that was not opened".to_owned()),
            };
            let mut path = Vec::new();
            while let [Word::Field(name, true), after @ ..] = rest {
                if name.is_empty() {
                    return Err("a field's name is missing".to_owned());
                }
                path.push(name.clone());
                rest = after;
            }
            operands.push(match operand {
                operand if path.is_empty() => operand,
                Operand::Fields(of, mut first) => {
                    first.extend(path);
                    Operand::Fields(of, first)
                }
                operand => Operand::Fields(Box::new(operand), path),
            });
        }
    }
}

/// Where the parenthesis closes that was opened just before.
fn closing(words: &[Word]) -> Option<usize> {
    let mut depth = 1;
    words.iter().position(|word| {
        depth += match word {
            Word::Open => 1,
            Word::Close => -1,
            _ => 0,
        };
        depth == 0
    })
}

fn command(mut operands: Vec<Operand>, piped: usize) -> Result<Command, String> {
    if operands.is_empty() {
        return Err("a value is missing".to_owned());
    }
    let first = operands.remove(0);
    for operand in &operands {
        if let Operand::Call(inner) = operand
            && inner.arguments().0 > 0
        {
            return Err(format!("{} needs arguments: put the call in parentheses", inner.name()));
        }
    }
    let function = match first {
        Operand::Call(function) => function,
        // Whether it is a method is known once it is known what it is a field of.
        Operand::Fields(..) => return Ok(Command::Value(first, operands)),
        Operand::Literal(Value::Nothing) => return Err("nil alone says nothing".to_owned()),
        _ if operands.is_empty() && piped == 0 => return Ok(Command::Value(first, operands)),
        _ => return Err("only a function takes arguments".to_owned()),
    };
    let count = operands.len() + piped;
    let (least, most) = function.arguments();
    if count < least || count > most {
        let wanted = if least == most {
            least.to_string()
        } else if count < least {
            format!("at least {least}")
        } else {
            format!("at most {most}")
        };
        return Err(format!("{} takes {wanted} arguments, not {count}", function.name()));
    }
    match (function, operands.first()) {
        (Function::Printf, Some(Operand::Literal(Value::Text(format)))) => check_format(format)?,
        (Function::ReReplaceAll | Function::Match, Some(Operand::Literal(Value::Text(pattern)))) => {
            super::call::pattern(pattern)?;
        }
        _ => {}
    }
    Ok(Command::Call(function, operands))
}
