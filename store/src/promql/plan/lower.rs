//! From the parsed expression to the plan.

use promql_parser::parser::value::ValueType;
use promql_parser::parser::{AtModifier, Expr, Offset, SubqueryExpr, VectorSelector};

use super::super::error::QueryError;
use super::super::stack;
use super::super::text::{Place, Places};
use super::matchers::matchers;
use super::{Kind, Node, Select, Window, WindowInput};

/// What lowering needs to know about the query around the expression.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Surroundings<'a> {
    pub(in super::super) start_ms: i64,
    pub(in super::super) end_ms: i64,
    pub(in super::super) step_ms: i64,
    pub(in super::super) experimental: bool,
    pub(in super::super) places: &'a Places,
}

/// The plan of a whole query.
pub(in super::super) fn plan(expr: &Expr, around: Surroundings<'_>) -> Result<(Node, Kind), QueryError> {
    let mut lower = Lower {
        around,
        next_call: 0,
        next_operation: 0,
        statistics: false,
        outermost: true,
    };
    let part = lower.expr(expr)?;
    Ok((part.settled(), part_kind(expr)))
}

pub(super) struct Lower<'a> {
    pub(super) around: Surroundings<'a>,
    pub(super) next_call: usize,
    pub(super) next_operation: usize,
    // Whether the innermost function of histograms around reads their counts and sums alone.
    pub(super) statistics: bool,
    // Nothing was lowered yet.
    outermost: bool,
}

/// A node, and whether it is the same at every step.
pub(super) struct Part {
    pub(super) node: Node,
    pub(super) constant: bool,
}

impl Part {
    pub(super) fn varying(node: Node) -> Self {
        Self { node, constant: false }
    }

    /// The node, wrapped where it is constant under a parent that is not.
    pub(super) fn settled(self) -> Node {
        match self.node {
            node @ (Node::Number(_) | Node::Text(_) | Node::Constant(_) | Node::Window(_)) => node,
            node if self.constant => Node::Constant(Box::new(node)),
            node => node,
        }
    }
}

pub(super) fn part_kind(expr: &Expr) -> Kind {
    match expr.value_type() {
        ValueType::Scalar => Kind::Scalar,
        ValueType::Vector => Kind::Vector,
        ValueType::Matrix => Kind::Matrix,
        ValueType::String => Kind::Text,
    }
}

impl Lower<'_> {
    pub(super) fn expr(&mut self, expr: &Expr) -> Result<Part, QueryError> {
        stack::deeper(|| self.level(expr))
    }

    fn level(&mut self, expr: &Expr) -> Result<Part, QueryError> {
        let outermost = std::mem::take(&mut self.outermost);
        match expr {
            Expr::Paren(inner) => self.expr(&inner.expr),
            Expr::NumberLiteral(number) => Ok(Part {
                node: Node::Number(number.val),
                constant: true,
            }),
            Expr::StringLiteral(text) => Ok(Part {
                node: Node::Text(text.val.clone()),
                constant: true,
            }),
            Expr::VectorSelector(selector) => {
                let select = self.select(selector)?;
                Ok(Part {
                    constant: select.at_ms.is_some(),
                    node: Node::Select(select),
                })
            }
            Expr::MatrixSelector(_) | Expr::Subquery(_) => {
                let window = self.window(expr)?;
                Ok(Part {
                    constant: window.at_ms.is_some(),
                    node: Node::Window(Box::new(window)),
                })
            }
            Expr::Unary(unary) => {
                let inner = self.expr(&unary.expr)?;
                Ok(Part {
                    constant: inner.constant,
                    node: Node::Negate(Box::new(inner.node)),
                })
            }
            Expr::Binary(binary) => self.binary(binary),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate),
            Expr::Call(call) => self.call(call, outermost),
            Expr::Extension(_) => Err(QueryError::Parse("unknown kind of expression".to_owned())),
        }
    }

    pub(super) fn select(&self, selector: &VectorSelector) -> Result<Select, QueryError> {
        Ok(Select {
            matchers: matchers(selector.name.as_deref(), &selector.matchers)?,
            at_ms: self.at(selector.at.as_ref()),
            offset_ms: offset_ms(selector.offset.as_ref()),
            statistics: self.statistics,
        })
    }

    fn at(&self, at: Option<&AtModifier>) -> Option<i64> {
        Some(match at? {
            AtModifier::Start => self.around.start_ms,
            AtModifier::End => self.around.end_ms,
            AtModifier::At(time) => match time.duration_since(std::time::UNIX_EPOCH) {
                Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
                Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
            },
        })
    }

    pub(super) fn window(&mut self, expr: &Expr) -> Result<Window, QueryError> {
        match expr {
            Expr::Paren(inner) => self.window(&inner.expr),
            Expr::MatrixSelector(matrix) => {
                let select = self.select(&matrix.vs)?;
                let (at_ms, offset_ms) = (select.at_ms, select.offset_ms);
                Ok(Window {
                    input: WindowInput::Samples(select),
                    range_ms: millis(matrix.range),
                    at_ms,
                    offset_ms,
                })
            }
            Expr::Subquery(SubqueryExpr {
                expr,
                offset,
                at,
                range,
                step,
            }) => {
                let inner = self.expr(expr)?.settled();
                Ok(Window {
                    input: WindowInput::Subquery {
                        node: inner,
                        step_ms: step.map(millis).filter(|&ms| ms > 0),
                    },
                    range_ms: millis(*range),
                    at_ms: self.at(at.as_ref()),
                    offset_ms: offset_ms(offset.as_ref()),
                })
            }
            _ => Err(QueryError::Parse("expected type range vector".to_owned())),
        }
    }

    pub(super) fn places(&mut self) -> Vec<Place> {
        let places = self
            .around
            .places
            .calls
            .get(self.next_call)
            .cloned()
            .unwrap_or_default();
        self.next_call += 1;
        places
    }
}

fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn offset_ms(offset: Option<&Offset>) -> i64 {
    match offset {
        None => 0,
        Some(Offset::Pos(by)) => millis(*by),
        Some(Offset::Neg(by)) => -millis(*by),
    }
}
