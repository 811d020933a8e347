//! The matchers of selectors.

use std::time::Duration;

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

/// Hands every selector within `expr` to `each`, in the order of the text, and how far it looks back by windows around it.
pub(in super::super) fn each_selector(expr: &Expr, each: &mut dyn FnMut(&VectorSelector, Duration)) {
    walk(expr, Duration::ZERO, each);
}

fn walk(expr: &Expr, back: Duration, each: &mut dyn FnMut(&VectorSelector, Duration)) {
    match expr {
        Expr::VectorSelector(selector) => return each(selector, back),
        Expr::MatrixSelector(matrix) => return each(&matrix.vs, back.saturating_add(matrix.range)),
        _ => {}
    }
    stack::deeper(|| match expr {
        Expr::Paren(inner) => walk(&inner.expr, back, each),
        Expr::Unary(inner) => walk(&inner.expr, back, each),
        Expr::Subquery(inner) => walk(&inner.expr, back.saturating_add(inner.range), each),
        Expr::Binary(binary) => {
            walk(&binary.lhs, back, each);
            walk(&binary.rhs, back, each);
        }
        Expr::Aggregate(aggregate) => {
            if let Some(param) = &aggregate.param {
                walk(param, back, each);
            }
            walk(&aggregate.expr, back, each);
        }
        Expr::Call(call) => call.args.args.iter().for_each(|arg| walk(arg, back, each)),
        Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::Extension(_) => {}
    });
}
