//! Operators and aggregations.

use promql_parser::parser::token as t;
use promql_parser::parser::{AggregateExpr, BinaryExpr, LabelModifier, VectorMatchCardinality};

use super::super::error::QueryError;
use super::lower::{Lower, Part, part_kind};
use super::{Aggregate, AggregateOp, Binary, BinaryOp, Cardinality, Kind, Matching, Node};

impl Lower<'_> {
    pub(super) fn binary(&mut self, binary: &BinaryExpr) -> Result<Part, QueryError> {
        let op = match binary.op.id() {
            t::T_ADD => BinaryOp::Add,
            t::T_SUB => BinaryOp::Sub,
            t::T_MUL => BinaryOp::Mul,
            t::T_DIV => BinaryOp::Div,
            t::T_MOD => BinaryOp::Mod,
            t::T_POW => BinaryOp::Pow,
            t::T_ATAN2 => BinaryOp::Atan2,
            t::T_EQLC => BinaryOp::Eq,
            t::T_NEQ => BinaryOp::Ne,
            t::T_GTR => BinaryOp::Gt,
            t::T_LSS => BinaryOp::Lt,
            t::T_GTE => BinaryOp::Ge,
            t::T_LTE => BinaryOp::Le,
            t::T_LAND => BinaryOp::And,
            t::T_LOR => BinaryOp::Or,
            t::T_LUNLESS => BinaryOp::Unless,
            _ => return Err(QueryError::Parse(format!("unknown operator {}", binary.op))),
        };
        let mut matching = Matching {
            on: false,
            labels: Vec::new(),
            cardinality: Cardinality::OneToOne,
            include: Vec::new(),
            fill: [None; 2],
        };
        let mut return_bool = false;
        if let Some(modifier) = &binary.modifier {
            return_bool = modifier.return_bool;
            match &modifier.matching {
                Some(LabelModifier::Include(labels)) => {
                    matching.on = true;
                    matching.labels.clone_from(&labels.labels);
                }
                Some(LabelModifier::Exclude(labels)) => matching.labels.clone_from(&labels.labels),
                None => {}
            }
            match &modifier.card {
                VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => {}
                VectorMatchCardinality::ManyToOne(include) => {
                    matching.cardinality = Cardinality::ManyToOne;
                    matching.include.clone_from(&include.labels);
                }
                VectorMatchCardinality::OneToMany(include) => {
                    matching.cardinality = Cardinality::OneToMany;
                    matching.include.clone_from(&include.labels);
                }
            }
            matching.fill = [modifier.fill_values.lhs, modifier.fill_values.rhs];
            if matching.fill.iter().any(Option::is_some) && !self.around.experimental {
                return Err(QueryError::Parse(
                    "binop fill modifiers are experimental and not enabled".to_owned(),
                ));
            }
        }
        let (lhs, rhs) = (self.expr(&binary.lhs)?, self.expr(&binary.rhs)?);
        let place = self.around.places.operations.get(self.next_operation).copied();
        self.next_operation += 1;
        let constant = lhs.constant && rhs.constant;
        let (lhs, rhs) = if constant {
            (lhs.node, rhs.node)
        } else {
            (lhs.settled(), rhs.settled())
        };
        let node = Node::Binary(Box::new(Binary {
            op,
            lhs,
            rhs,
            lhs_kind: part_kind(&binary.lhs),
            rhs_kind: part_kind(&binary.rhs),
            return_bool,
            matching,
            place,
        }));
        Ok(Part { node, constant })
    }

    pub(super) fn aggregate(&mut self, aggregate: &AggregateExpr) -> Result<Part, QueryError> {
        let start = self.around.places.starts.get(self.next_call).copied();
        let places = self.places();
        let (op, experimental) = match aggregate.op.id() {
            t::T_SUM => (AggregateOp::Sum, None),
            t::T_AVG => (AggregateOp::Avg, None),
            t::T_MIN => (AggregateOp::Min, None),
            t::T_MAX => (AggregateOp::Max, None),
            t::T_COUNT => (AggregateOp::Count, None),
            t::T_GROUP => (AggregateOp::Group, None),
            t::T_STDDEV => (AggregateOp::Stddev, None),
            t::T_STDVAR => (AggregateOp::Stdvar, None),
            t::T_TOPK => (AggregateOp::Topk, None),
            t::T_BOTTOMK => (AggregateOp::Bottomk, None),
            t::T_QUANTILE => (AggregateOp::Quantile, None),
            t::T_COUNT_VALUES => (AggregateOp::CountValues, None),
            t::T_LIMITK => (AggregateOp::Limitk, Some("limitk")),
            t::T_LIMIT_RATIO => (AggregateOp::LimitRatio, Some("limit_ratio")),
            _ => return Err(QueryError::Parse(format!("unknown aggregation {}", aggregate.op))),
        };
        if let Some(name) = experimental.filter(|_| !self.around.experimental) {
            return Err(QueryError::Parse(format!(
                "{name}() is experimental and must be enabled with --enable-feature=promql-experimental-functions"
            )));
        }
        let param = aggregate.param.as_ref().map(|param| {
            let expected = if op == AggregateOp::CountValues {
                Kind::Text
            } else {
                Kind::Scalar
            };
            if part_kind(param) == expected {
                self.expr(param)
            } else {
                Err(QueryError::Parse(format!(
                    "expected type {} in aggregation parameter, got {}",
                    if expected == Kind::Text { "string" } else { "scalar" },
                    type_name(part_kind(param))
                )))
            }
        });
        let param = param.transpose()?;
        let inner = self.expr(&aggregate.expr)?;
        let constant = inner.constant && param.as_ref().is_none_or(|p| p.constant);
        let (node, param) = if constant {
            (inner.node, param.map(|p| p.node))
        } else {
            (inner.settled(), param.map(Part::settled))
        };
        let (without, mut labels) = match &aggregate.modifier {
            Some(LabelModifier::Include(labels)) => (false, labels.labels.clone()),
            Some(LabelModifier::Exclude(labels)) => (true, labels.labels.clone()),
            None => (false, Vec::new()),
        };
        labels.sort_unstable();
        labels.dedup();
        let param_place = places.first().copied();
        let place = match op {
            // Prometheus says these of the aggregation, and all others of what is aggregated.
            AggregateOp::Topk | AggregateOp::Bottomk => start,
            _ => places.get(usize::from(param.is_some())).copied(),
        };
        Ok(Part {
            node: Node::Aggregate(Box::new(Aggregate {
                op,
                node,
                param,
                without,
                labels,
                place,
                param_place,
            })),
            constant,
        })
    }
}

fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Scalar => "scalar",
        Kind::Vector => "instant vector",
        Kind::Matrix => "range vector",
        Kind::Text => "string",
    }
}
