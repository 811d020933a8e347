//! The matchers of selectors.

use promql_parser::label::{MatchOp as ParsedOp, Matchers as ParsedMatchers};
use promql_parser::parser::{Expr, VectorSelector};

use super::super::error::QueryError;
use super::super::{pattern, stack};
use crate::{Labels, METRIC_NAME, MatchOp, Matcher};

pub(in super::super) fn matchers(name: Option<&str>, parsed: &ParsedMatchers) -> Result<Vec<Matcher>, QueryError> {
    if !parsed.or_matchers.is_empty() {
        return Err(QueryError::Parse(
            "unexpected \"or\" in label matching, expected \",\" or \"}\"".to_owned(),
        ));
    }
    let mut matchers: Vec<Matcher> = name.map(|name| Matcher::eq(METRIC_NAME, name)).into_iter().collect();
    for parsed in &parsed.matchers {
        let op = match parsed.op {
            ParsedOp::Equal => MatchOp::Eq,
            ParsedOp::NotEqual => MatchOp::Ne,
            ParsedOp::Re(_) => MatchOp::Re,
            ParsedOp::NotRe(_) => MatchOp::Nre,
        };
        matchers.push(matcher(op, &parsed.name, &parsed.value)?);
    }
    Ok(matchers)
}

/// A matcher whose regular expressions are those of Go.
pub(in super::super) fn matcher(op: MatchOp, name: &str, value: &str) -> Result<Matcher, QueryError> {
    let value = match op {
        MatchOp::Eq | MatchOp::Ne => value.to_owned(),
        MatchOp::Re | MatchOp::Nre => pattern::translate(value),
    };
    Matcher::new(op, name, value).map_err(|error| QueryError::Parse(format!("{error}: {}", error.source)))
}

/// The labels of an absent series: those that a single equality fixes.
pub(super) fn absent_labels(matchers: &[Matcher]) -> Labels {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in matchers.iter().filter(|m| m.name != METRIC_NAME) {
        if matcher.op == MatchOp::Eq && !seen.contains(&matcher.name.as_str()) {
            pairs.push((&matcher.name, &matcher.value));
            seen.push(&matcher.name);
        } else {
            pairs.retain(|(name, _)| *name != matcher.name);
        }
    }
    Labels::from_pairs(pairs)
}

/// Adds the matchers of every selector within `expr` to `found`.
pub(in super::super) fn selectors(expr: &Expr, found: &mut Vec<Vec<Matcher>>) -> Result<(), QueryError> {
    let mut of = |selector: &VectorSelector| -> Result<(), QueryError> {
        found.push(matchers(selector.name.as_deref(), &selector.matchers)?);
        Ok(())
    };
    match expr {
        Expr::VectorSelector(selector) => return of(selector),
        Expr::MatrixSelector(matrix) => return of(&matrix.vs),
        _ => {}
    }
    stack::deeper(|| match expr {
        Expr::Paren(inner) => selectors(&inner.expr, found),
        Expr::Unary(inner) => selectors(&inner.expr, found),
        Expr::Subquery(inner) => selectors(&inner.expr, found),
        Expr::Binary(binary) => {
            selectors(&binary.lhs, found)?;
            selectors(&binary.rhs, found)
        }
        Expr::Aggregate(aggregate) => {
            if let Some(param) = &aggregate.param {
                selectors(param, found)?;
            }
            selectors(&aggregate.expr, found)
        }
        Expr::Call(call) => call.args.args.iter().try_for_each(|arg| selectors(arg, found)),
        Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::Extension(_) => Ok(()),
    })
}
