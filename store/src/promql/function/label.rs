//! Functions that change labels.

use super::super::error::QueryError;
use super::super::evaluate::Env;
use super::super::grid::Grid;
use super::super::plan::Node;
use super::super::vector::Table;
use super::super::{labels, pattern};
use super::call::text;

impl<'a> Env<'a> {
    pub(super) fn label_replace(&'a self, vector: &'a Node, args: &[Node], grid: Grid) -> Result<Table, QueryError> {
        let target = text(args.first())?;
        let replacement = text(args.get(1))?;
        let source = text(args.get(2))?;
        let wanted = text(args.get(3))?;
        let regex = pattern::anchored(wanted)
            .map_err(|_| QueryError::execution(format!("invalid regular expression in label_replace(): {wanted}")))?;
        let mut made = Made::new("label_replace", target)?;
        let template = template(replacement);
        let mut table = self.table(vector, grid)?;
        table.settle_names();
        for row in 0..table.rows() {
            if row % 256 == 255 {
                self.deadline.check()?;
            }
            let labels = table.labels[row].clone();
            if let Some(captures) = regex.captures(labels.get(source).unwrap_or("")) {
                made.text.clear();
                for piece in &template {
                    made.push(match piece {
                        Piece::Literal(literal) => literal,
                        Piece::Index(i) => captures.get(*i).map_or("", |m| m.as_str()),
                        Piece::Name(name) => captures.name(name).map_or("", |m| m.as_str()),
                    })?;
                }
                table.hold_text(made.text.len())?;
                table.labels[row] = labels::with(&labels, target, &made.text);
            }
        }
        table.shape.one_name = false;
        table.refuse_same_labels()?;
        Ok(table)
    }

    pub(super) fn label_join(&'a self, vector: &'a Node, args: &[Node], grid: Grid) -> Result<Table, QueryError> {
        let target = text(args.first())?;
        let separator = text(args.get(1))?;
        let mut sources = Vec::new();
        for arg in args.iter().skip(2) {
            let source = text(Some(arg))?;
            if source.is_empty() {
                return Err(QueryError::execution(format!(
                    "invalid source label name in label_join(): {source}"
                )));
            }
            sources.push(source);
        }
        let mut made = Made::new("label_join", target)?;
        let mut table = self.table(vector, grid)?;
        table.settle_names();
        for row in 0..table.rows() {
            if row % 256 == 255 {
                self.deadline.check()?;
            }
            made.text.clear();
            for (i, source) in sources.iter().enumerate() {
                if i > 0 {
                    made.push(separator)?;
                }
                made.push(table.labels[row].get(source).unwrap_or(""))?;
            }
            table.hold_text(made.text.len())?;
            table.labels[row] = labels::with(&table.labels[row], target, &made.text);
        }
        table.shape.one_name = false;
        table.refuse_same_labels()?;
        Ok(table)
    }
}

/// Most bytes of a label's name or value.
const LABEL_BYTES_MAX: usize = u16::MAX as usize;

/// The value of a label in the making.
struct Made<'q> {
    function: &'static str,
    target: &'q str,
    text: String,
}

impl<'q> Made<'q> {
    fn new(function: &'static str, target: &'q str) -> Result<Self, QueryError> {
        if target.is_empty() || target.len() > LABEL_BYTES_MAX {
            let shown: String = target.chars().take(80).collect();
            return Err(QueryError::execution(format!(
                "invalid destination label name in {function}(): {shown}"
            )));
        }
        Ok(Self {
            function,
            target,
            text: String::new(),
        })
    }

    /// Before it is longer than a label may be: of a capture of 64 KiB, a replacement of a few characters makes gigabytes.
    fn push(&mut self, piece: &str) -> Result<(), QueryError> {
        if self.text.len() + piece.len() > LABEL_BYTES_MAX {
            let shown: String = self.target.chars().take(80).collect();
            return Err(QueryError::execution(format!(
                "the value of label {shown:?} in {}() is longer than {LABEL_BYTES_MAX} bytes: shorten what it is made of",
                self.function
            )));
        }
        self.text.push_str(piece);
        Ok(())
    }
}

enum Piece {
    Literal(String),
    Index(usize),
    Name(String),
}

/// A replacement as Go's `Regexp.Expand` reads it: `$1`, `${1}`, `$name`, `${name}`, `$$`.
fn template(replacement: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = replacement;
    while let Some(dollar) = rest.find('$') {
        literal.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(tail) = rest.strip_prefix('$') {
            literal.push('$');
            rest = tail;
            continue;
        }
        let braced = rest.starts_with('{');
        let inner = if braced { &rest[1..] } else { rest };
        let length = inner
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(inner.len());
        let closed = !braced || inner[length..].starts_with('}');
        if length == 0 || !closed {
            // Malformed: Go keeps the dollar.
            literal.push('$');
            continue;
        }
        let name = &inner[..length];
        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        pieces.push(if name.bytes().all(|b| b.is_ascii_digit()) {
            Piece::Index(name.parse().unwrap_or(usize::MAX))
        } else {
            Piece::Name(name.to_owned())
        });
        rest = &inner[length + usize::from(braced)..];
    }
    literal.push_str(rest);
    pieces.push(Piece::Literal(literal));
    pieces
}
