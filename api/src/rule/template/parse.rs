//! From words to a tree, in which every function and variable is known.

use super::TemplateError;
use super::lex::{Piece, Word};
use crate::rule::go::{Value, check_format};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Output(Pipe),
    Assign(String, Pipe),
    /// Conditions with their bodies, then what holds when none does. `with` also sets the point.
    If {
        with: bool,
        branches: Vec<(Option<String>, Pipe, Vec<Node>)>,
        otherwise: Vec<Node>,
    },
}

/// Commands of which each takes the result of the one before as its last argument.
pub(super) type Pipe = Vec<Command>;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Value(Operand),
    Call(Function, Vec<Operand>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Literal(Value),
    Variable(String, Vec<String>),
    Dot(Vec<String>),
    Pipe(Pipe, Vec<String>),
    Call(Function),
}

macro_rules! functions {
    ($($variant:ident $name:literal $least:literal $most:expr;)*) => {
        /// A function with the numbers of arguments that it takes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Function { $($variant),* }

        impl Function {
            fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            const fn arguments(self) -> (usize, usize) {
                match self { $(Self::$variant => ($least, $most)),* }
            }
        }
    };
}

const MANY: usize = 16;

functions! {
    Humanize "humanize" 1 1;
    Humanize1024 "humanize1024" 1 1;
    HumanizeDuration "humanizeDuration" 1 1;
    HumanizePercentage "humanizePercentage" 1 1;
    HumanizeTimestamp "humanizeTimestamp" 1 1;
    ParseDuration "parseDuration" 1 1;
    Printf "printf" 1 MANY;
    Print "print" 0 MANY;
    Title "title" 1 1;
    ToUpper "toUpper" 1 1;
    ToLower "toLower" 1 1;
    StripPort "stripPort" 1 1;
    StripDomain "stripDomain" 1 1;
    Match "match" 2 2;
    ReReplaceAll "reReplaceAll" 3 3;
    Index "index" 2 2;
    Len "len" 1 1;
    Eq "eq" 2 MANY;
    Ne "ne" 2 2;
    Lt "lt" 2 2;
    Le "le" 2 2;
    Gt "gt" 2 2;
    Ge "ge" 2 2;
    And "and" 1 MANY;
    Or "or" 1 MANY;
    Not "not" 1 1;
    ExternalUrl "externalURL" 0 0;
}

/// Known to Prometheus and not here, with the reason.
const WITHOUT: [&str; 18] = [
    "query",
    "first",
    "value",
    "label",
    "strvalue",
    "sortByLabel",
    "tableLink",
    "graphLink",
    "args",
    "tmpl",
    "safeHtml",
    "pathPrefix",
    "toTime",
    "now",
    "slice",
    "html",
    "urlquery",
    "js",
];

/// Blocks nested deeper than this are refused.
const DEPTH_MAX: usize = 20;

pub(super) fn parse(pieces: &[Piece]) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser {
        pieces,
        at: 0,
        variables: ["labels", "value", "externalLabels", "externalURL", ""]
            .map(str::to_owned)
            .into(),
    };
    let (nodes, end) = parser.block(0)?;
    match end {
        None => Ok(nodes),
        Some((word, place)) => Err(TemplateError {
            problem: format!("unexpected {word}"),
            place,
        }),
    }
}

struct Parser<'a> {
    pieces: &'a [Piece],
    at: usize,
    variables: Vec<String>,
}

type BlockEnd = Option<(String, String)>;

impl Parser<'_> {
    /// Nodes up to `end` or `else`, which is returned with its action.
    fn block(&mut self, depth: usize) -> Result<(Vec<Node>, BlockEnd), TemplateError> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.get(self.at) {
            self.at += 1;
            let (words, source) = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text.clone()));
                    continue;
                }
                Piece::Action { words, source } => (words.as_slice(), source),
            };
            let failed = |problem: String| TemplateError {
                problem,
                place: source.clone(),
            };
            match words {
                [] => return Err(failed("an empty action".to_owned())),
                [Word::Name(name), ..] if name == "end" || name == "else" => {
                    if name == "end" && words.len() > 1 {
                        return Err(failed("end takes nothing".to_owned()));
                    }
                    return Ok((nodes, Some((name.clone(), source.clone()))));
                }
                [Word::Name(name), condition @ ..] if name == "if" || name == "with" => {
                    if depth == DEPTH_MAX {
                        return Err(failed(format!("blocks are nested more than {DEPTH_MAX} deep")));
                    }
                    nodes.push(self.branches(name == "with", condition, source, depth)?);
                }
                [Word::Name(name), ..]
                    if matches!(
                        name.as_str(),
                        "range" | "define" | "template" | "block" | "break" | "continue"
                    ) =>
                {
                    return Err(failed(format!(
                        "{name} is not supported: a rule's text has nothing to repeat or to include"
                    )));
                }
                [Word::Variable(name), Word::Assign, value @ ..] => {
                    let pipe = self.pipe(value).map_err(failed)?;
                    self.variables.push(name.clone());
                    nodes.push(Node::Assign(name.clone(), pipe));
                }
                _ => nodes.push(Node::Output(self.pipe(words).map_err(failed)?)),
            }
        }
        Ok((nodes, None))
    }

    fn branches(&mut self, with: bool, condition: &[Word], source: &str, depth: usize) -> Result<Node, TemplateError> {
        let mut branches = Vec::new();
        let mut condition = condition.to_vec();
        let mut place = source.to_owned();
        let scope = self.variables.len();
        loop {
            let failed = |problem: String| TemplateError {
                problem,
                place: place.clone(),
            };
            let (variable, words) = match condition.as_slice() {
                [Word::Variable(name), Word::Assign, words @ ..] => (Some(name.clone()), words),
                words => (None, words),
            };
            let pipe = self.pipe(words).map_err(failed)?;
            self.variables.extend(variable.clone());
            let (body, end) = self.block(depth + 1)?;
            branches.push((variable, pipe, body));
            let Some((word, at)) = end else {
                return Err(failed("a block does not end".to_owned()));
            };
            if word == "end" {
                self.variables.truncate(scope);
                return Ok(Node::If {
                    with,
                    branches,
                    otherwise: Vec::new(),
                });
            }
            place = at;
            // The piece before is the `else` that ended the block.
            let Some(Piece::Action { words, .. }) = self.pieces.get(self.at - 1) else {
                unreachable!("else is an action")
            };
            match &words[1..] {
                [] => {
                    let (otherwise, end) = self.block(depth + 1)?;
                    self.variables.truncate(scope);
                    return match end {
                        Some((word, _)) if word == "end" => Ok(Node::If {
                            with,
                            branches,
                            otherwise,
                        }),
                        _ => Err(TemplateError {
                            problem: "an else needs an end".to_owned(),
                            place,
                        }),
                    };
                }
                [Word::Name(name), next @ ..] if (name == "if" && !with) || (name == "with" && with) => {
                    condition = next.to_vec();
                }
                _ => {
                    return Err(TemplateError {
                        problem: "else takes nothing but an if".to_owned(),
                        place,
                    });
                }
            }
        }
    }

    fn pipe(&self, words: &[Word]) -> Result<Pipe, String> {
        let mut pipe = Vec::new();
        let mut rest = words;
        loop {
            let (operands, after) = self.operands(rest)?;
            let piped = usize::from(!pipe.is_empty());
            pipe.push(command(operands, piped)?);
            match after {
                [] => return Ok(pipe),
                [Word::Pipe, next @ ..] => rest = next,
                [other, ..] => return Err(format!("unexpected {other:?}")),
            }
        }
    }

    /// Operands up to a pipe, a closing parenthesis or the end.
    fn operands<'w>(&self, words: &'w [Word]) -> Result<(Vec<Operand>, &'w [Word]), String> {
        let mut operands = Vec::new();
        let mut rest = words;
        loop {
            let (first, after) = match rest {
                [] | [Word::Pipe | Word::Close, ..] => return Ok((operands, rest)),
                [first, after @ ..] => (first, after),
            };
            rest = after;
            let fields = |rest: &mut &'w [Word]| {
                let mut fields = Vec::new();
                while let [Word::Field(name, true), after @ ..] = *rest {
                    fields.push(name.clone());
                    *rest = after;
                }
                fields
            };
            operands.push(match first {
                Word::Text(text) => Operand::Literal(Value::Text(text.clone())),
                Word::Number(number) => Operand::Literal(Value::Number(*number)),
                Word::Whole(number) => Operand::Literal(Value::Whole(*number)),
                Word::Name(name) => match name.as_str() {
                    "true" | "false" => Operand::Literal(Value::Bool(name == "true")),
                    _ => Operand::Call(function(name)?),
                },
                Word::Variable(name) => {
                    if !self.variables.contains(name) {
                        return Err(format!("undefined variable ${name}"));
                    }
                    Operand::Variable(name.clone(), fields(&mut rest))
                }
                Word::Field(name, _) => {
                    let mut path = Vec::new();
                    if !name.is_empty() {
                        path.push(name.clone());
                    }
                    path.extend(fields(&mut rest));
                    Operand::Dot(path)
                }
                Word::Open => {
                    let mut depth = 1;
                    let end = rest.iter().position(|word| {
                        depth += match word {
                            Word::Open => 1,
                            Word::Close => -1,
                            _ => 0,
                        };
                        depth == 0
                    });
                    let end = end.ok_or("a parenthesis does not close")?;
                    let inner = self.pipe(&rest[..end])?;
                    rest = &rest[end + 1..];
                    Operand::Pipe(inner, fields(&mut rest))
                }
                Word::Assign => return Err("an assignment stands at the beginning of an action".to_owned()),
                Word::Pipe | Word::Close => unreachable!("handled above"),
            });
        }
    }
}

fn function(name: &str) -> Result<Function, String> {
    Function::from_name(name).ok_or_else(|| {
        if WITHOUT.contains(&name) {
            format!("function {name} is Prometheus' and not supported here: use the expression's own labels and value")
        } else {
            format!("unknown function {name}")
        }
    })
}

fn command(mut operands: Vec<Operand>, piped: usize) -> Result<Command, String> {
    if operands.is_empty() {
        return Err("a value is missing".to_owned());
    }
    let first = operands.remove(0);
    let Operand::Call(function) = first else {
        if !operands.is_empty() || piped > 0 {
            return Err("only a function takes arguments".to_owned());
        }
        return Ok(Command::Value(first));
    };
    let count = operands.len() + piped;
    let (least, most) = function.arguments();
    if count < least || count > most {
        let wanted = if least == most {
            least.to_string()
        } else {
            format!("at least {least}")
        };
        return Err(format!("{} takes {wanted} arguments, not {count}", function.name()));
    }
    for operand in &operands {
        if let Operand::Call(inner) = operand
            && inner.arguments().0 > 0
        {
            return Err(format!("{} needs arguments: put the call in parentheses", inner.name()));
        }
    }
    match (function, operands.first()) {
        (Function::Printf, Some(Operand::Literal(Value::Text(format)))) => check_format(format)?,
        (Function::ReReplaceAll | Function::Match, Some(Operand::Literal(Value::Text(pattern)))) => {
            regex::Regex::new(pattern).map_err(|error| error.to_string())?;
        }
        _ => {}
    }
    Ok(Command::Call(function, operands))
}
