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
        if target.is_empty() {
            return Err(QueryError::execution(format!(
                "invalid destination label name in label_replace(): {target}"
            )));
        }
        let template = template(replacement);
        let mut table = self.table(vector, grid)?;
        table.settle_names();
        let mut text = String::new();
        for row in &mut table.labels {
            if let Some(captures) = regex.captures(row.get(source).unwrap_or("")) {
                text.clear();
                for piece in &template {
                    match piece {
                        Piece::Literal(literal) => text.push_str(literal),
                        Piece::Index(i) => text.push_str(captures.get(*i).map_or("", |m| m.as_str())),
                        Piece::Name(name) => text.push_str(captures.name(name).map_or("", |m| m.as_str())),
                    }
                }
                *row = labels::with(row, target, &text);
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
        if target.is_empty() {
            return Err(QueryError::execution(format!(
                "invalid destination label name in label_join(): {target}"
            )));
        }
        let mut table = self.table(vector, grid)?;
        table.settle_names();
        for row in &mut table.labels {
            let values: Vec<&str> = sources.iter().map(|source| row.get(source).unwrap_or("")).collect();
            *row = labels::with(row, target, &values.join(separator));
        }
        table.shape.one_name = false;
        table.refuse_same_labels()?;
        Ok(table)
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
