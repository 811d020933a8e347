//! What the evaluator works on: the parsed expression with times in milliseconds, types decided, constant parts marked.

use promql_parser::label::{MatchOp as ParsedOp, Matchers as ParsedMatchers};
use promql_parser::parser::token as t;
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{
    AggregateExpr, AtModifier, BinaryExpr, Call as ParsedCall, Expr, LabelModifier, Offset, SubqueryExpr,
    VectorMatchCardinality, VectorSelector,
};

use super::error::QueryError;
use super::function::{Elementwise, RangeFunction};
use super::text::{Place, Places};
use super::{pattern, stack};
use crate::{Labels, METRIC_NAME, MatchOp, Matcher};

/// One step of the evaluation.
#[derive(Debug)]
pub(super) enum Node {
    Number(f64),
    Text(String),
    /// `time()`
    Time,
    Select(Select),
    /// `timestamp()` of a selector: the time of the sample, not of the step.
    Timestamp(Select),
    /// A range of samples that is itself the answer of an instant query.
    Window(Box<Window>),
    Range(Box<RangeCall>),
    Negate(Box<Self>),
    Binary(Box<Binary>),
    Aggregate(Box<Aggregate>),
    Call(Box<Call>),
    /// The same at every step, so evaluated once.
    Constant(Box<Self>),
}

/// What an expression yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Scalar,
    Vector,
    Matrix,
    Text,
}

/// Series, and the time at which they are looked at.
#[derive(Debug)]
pub(super) struct Select {
    pub(super) matchers: Vec<Matcher>,
    /// A fixed instant instead of each step.
    pub(super) at_ms: Option<i64>,
    pub(super) offset_ms: i64,
    /// Whether only counts and sums of native histograms are looked at.
    pub(super) statistics: bool,
}

impl Select {
    /// Whether all selected series have the same metric name.
    pub(super) fn one_name(&self) -> bool {
        self.matchers
            .iter()
            .any(|m| m.name == METRIC_NAME && m.op == MatchOp::Eq)
    }

    /// The instant looked at for a step.
    pub(super) fn reference(&self, step_ms: i64) -> i64 {
        self.at_ms.unwrap_or(step_ms).saturating_sub(self.offset_ms)
    }
}

/// A range of samples before each step.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) input: WindowInput,
    pub(super) range_ms: i64,
    pub(super) at_ms: Option<i64>,
    pub(super) offset_ms: i64,
}

#[derive(Debug)]
pub(super) enum WindowInput {
    Samples(Select),
    Subquery { node: Node, step_ms: Option<i64> },
}

impl Window {
    pub(super) fn reference(&self, step_ms: i64) -> i64 {
        self.at_ms.unwrap_or(step_ms).saturating_sub(self.offset_ms)
    }
}

#[derive(Debug)]
pub(super) struct RangeCall {
    pub(super) function: RangeFunction,
    pub(super) window: Window,
    /// Scalar arguments, without the window.
    pub(super) args: Vec<Node>,
    /// Where the window, and where the first scalar argument stands.
    pub(super) place: Option<Place>,
    pub(super) arg_place: Option<Place>,
    /// What `absent_over_time` answers with.
    pub(super) absent: Labels,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Eq,
    Ne,
    Gt,
    Lt,
    Ge,
    Le,
    And,
    Or,
    Unless,
}

#[derive(Debug)]
pub(super) struct Binary {
    pub(super) op: BinaryOp,
    pub(super) lhs: Node,
    pub(super) rhs: Node,
    pub(super) lhs_kind: Kind,
    pub(super) rhs_kind: Kind,
    pub(super) return_bool: bool,
    pub(super) matching: Matching,
    /// Where the operation begins.
    pub(super) place: Option<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cardinality {
    OneToOne,
    ManyToOne,
    OneToMany,
}

/// Which series of two vectors belong together.
#[derive(Debug)]
pub(super) struct Matching {
    pub(super) on: bool,
    pub(super) labels: Vec<String>,
    pub(super) cardinality: Cardinality,
    pub(super) include: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AggregateOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    Quantile,
    CountValues,
    Limitk,
    LimitRatio,
}

#[derive(Debug)]
pub(super) struct Aggregate {
    pub(super) op: AggregateOp,
    pub(super) node: Node,
    pub(super) param: Option<Node>,
    pub(super) without: bool,
    pub(super) labels: Vec<String>,
    /// Where the aggregated expression, and where the parameter stands.
    pub(super) place: Option<Place>,
    pub(super) param_place: Option<Place>,
}

/// What a function reads off a native histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OfHistogram {
    Count,
    Sum,
    Average,
    Deviation,
    Variance,
}

/// A function of vectors, scalars and strings.
#[derive(Clone, Copy, Debug)]
pub(super) enum Function {
    Elementwise(Elementwise),
    Scalar,
    Vector,
    Absent,
    Sort,
    SortDesc,
    SortByLabel,
    SortByLabelDesc,
    LabelReplace,
    LabelJoin,
    HistogramQuantile,
    HistogramFraction,
    /// Of native histograms only: nothing for floats.
    OfHistogram(OfHistogram),
    Info,
    MaxOf,
    MinOf,
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) function: Function,
    pub(super) args: Vec<Node>,
    pub(super) places: Vec<Place>,
    pub(super) absent: Labels,
}

/// What lowering needs to know about the query around the expression.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    pub(super) step_ms: i64,
    pub(super) experimental: bool,
    pub(super) places: &'a Places,
}

/// The plan of a whole query.
pub(super) fn plan(expr: &Expr, around: Surroundings<'_>) -> Result<(Node, Kind), QueryError> {
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

struct Lower<'a> {
    around: Surroundings<'a>,
    next_call: usize,
    next_operation: usize,
    // Whether the innermost function of histograms around reads their counts and sums alone.
    statistics: bool,
    // Nothing was lowered yet.
    outermost: bool,
}

/// A node, and whether it is the same at every step.
struct Part {
    node: Node,
    constant: bool,
}

impl Part {
    fn varying(node: Node) -> Self {
        Self { node, constant: false }
    }

    /// The node, wrapped where it is constant under a parent that is not.
    fn settled(self) -> Node {
        match self.node {
            node @ (Node::Number(_) | Node::Text(_) | Node::Constant(_) | Node::Window(_)) => node,
            node if self.constant => Node::Constant(Box::new(node)),
            node => node,
        }
    }
}

fn part_kind(expr: &Expr) -> Kind {
    match expr.value_type() {
        ValueType::Scalar => Kind::Scalar,
        ValueType::Vector => Kind::Vector,
        ValueType::Matrix => Kind::Matrix,
        ValueType::String => Kind::Text,
    }
}

impl Lower<'_> {
    fn expr(&mut self, expr: &Expr) -> Result<Part, QueryError> {
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

    fn select(&self, selector: &VectorSelector) -> Result<Select, QueryError> {
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

    fn window(&mut self, expr: &Expr) -> Result<Window, QueryError> {
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

    fn binary(&mut self, binary: &BinaryExpr) -> Result<Part, QueryError> {
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
            if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() {
                return Err(QueryError::Parse("fill modifiers are not supported".to_owned()));
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

    fn aggregate(&mut self, aggregate: &AggregateExpr) -> Result<Part, QueryError> {
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

    fn call(&mut self, call: &ParsedCall, outermost: bool) -> Result<Part, QueryError> {
        let around = self.statistics;
        self.statistics = match call.func.name {
            // As Prometheus 3.5 does it, which looks at calls within others alone.
            "histogram_count" | "histogram_sum" | "histogram_avg" => !outermost,
            "histogram_quantile" | "histogram_fraction" => false,
            _ => around,
        };
        let part = self.call_within(call);
        self.statistics = around;
        part
    }

    fn call_within(&mut self, call: &ParsedCall) -> Result<Part, QueryError> {
        let name = call.func.name;
        let places = self.places();
        let known = known_in_3_5(name);
        if !known && !self.around.experimental {
            return Err(QueryError::Parse(format!("unknown function with name {name:?}")));
        }
        if call.func.experimental && !self.around.experimental {
            return Err(QueryError::Parse(format!("function {name:?} is not enabled")));
        }
        // The parser lets some scalars pass as arguments of `exp` and logarithms.
        for (i, arg) in call.args.args.iter().enumerate() {
            let expected = call.func.arg_types.get(i).or(call.func.arg_types.last());
            if expected.is_some_and(|&e| e != arg.value_type()) {
                return Err(QueryError::Parse(format!(
                    "expected type {} in call to function {name:?}, got {}",
                    expected.map_or_else(String::new, |&e| long_type_name(e)),
                    long_type_name(arg.value_type())
                )));
            }
        }
        let parsed: Vec<&Expr> = call.args.args.iter().map(|arg| unwrapped(arg)).collect();
        if let Some(function) = RangeFunction::named(name) {
            return self.range_call(function, &parsed, &places);
        }
        match (name, parsed.as_slice()) {
            ("time", _) => return Ok(Part::varying(Node::Time)),
            ("pi", _) => {
                return Ok(Part {
                    node: Node::Number(std::f64::consts::PI),
                    constant: true,
                });
            }
            ("start", _) => {
                return Ok(Part {
                    node: Node::Number(self.around.start_ms as f64 / 1e3),
                    constant: true,
                });
            }
            ("end", _) => {
                return Ok(Part {
                    node: Node::Number(self.around.end_ms as f64 / 1e3),
                    constant: true,
                });
            }
            ("step", _) => {
                return Ok(Part {
                    node: Node::Number(self.around.step_ms as f64 / 1e3),
                    constant: true,
                });
            }
            ("range", _) => {
                let range = self.around.end_ms.saturating_sub(self.around.start_ms);
                return Ok(Part {
                    node: Node::Number(range as f64 / 1e3),
                    constant: true,
                });
            }
            ("timestamp", [Expr::VectorSelector(selector)]) => {
                return Ok(Part::varying(Node::Timestamp(self.select(selector)?)));
            }
            _ => {}
        }
        let function = match name {
            "scalar" => Function::Scalar,
            "vector" => Function::Vector,
            "absent" => Function::Absent,
            "sort" => Function::Sort,
            "sort_desc" => Function::SortDesc,
            "sort_by_label" => Function::SortByLabel,
            "sort_by_label_desc" => Function::SortByLabelDesc,
            "label_replace" => Function::LabelReplace,
            "label_join" => Function::LabelJoin,
            "histogram_quantile" => Function::HistogramQuantile,
            "histogram_fraction" => Function::HistogramFraction,
            "histogram_count" => Function::OfHistogram(OfHistogram::Count),
            "histogram_sum" => Function::OfHistogram(OfHistogram::Sum),
            "histogram_avg" => Function::OfHistogram(OfHistogram::Average),
            "histogram_stddev" => Function::OfHistogram(OfHistogram::Deviation),
            "histogram_stdvar" => Function::OfHistogram(OfHistogram::Variance),
            "info" => Function::Info,
            "max_of" => Function::MaxOf,
            "min_of" => Function::MinOf,
            _ => match Elementwise::named(name) {
                Some(function) => Function::Elementwise(function),
                None => return Err(QueryError::Parse(format!("function {name:?} is not supported"))),
            },
        };
        let absent = match (function, parsed.as_slice()) {
            (Function::Absent, [Expr::VectorSelector(selector), ..]) => absent_labels(&self.select(selector)?.matchers),
            _ => Labels::empty(),
        };
        let mut parts = Vec::with_capacity(parsed.len());
        for arg in &parsed {
            parts.push(self.expr(arg)?);
        }
        // Functions of the evaluation time change with the step whatever their arguments.
        let constant = parts.iter().all(|p| p.constant)
            && !matches!(function, Function::Elementwise(f) if f.reads_the_clock(parts.len()));
        let args = parts
            .into_iter()
            .map(|p| if constant { p.node } else { p.settled() })
            .collect();
        Ok(Part {
            node: Node::Call(Box::new(Call {
                function,
                args,
                places,
                absent,
            })),
            constant,
        })
    }

    fn range_call(&mut self, function: RangeFunction, parsed: &[&Expr], places: &[Place]) -> Result<Part, QueryError> {
        let mut window = None;
        let mut window_at = 0;
        let mut parts = Vec::new();
        for (i, arg) in parsed.iter().enumerate() {
            if window.is_none() && matches!(arg, Expr::MatrixSelector(_) | Expr::Subquery(_)) {
                window = Some(self.window(arg)?);
                window_at = i;
            } else {
                parts.push(self.expr(arg)?);
            }
        }
        let Some(window) = window else {
            return Err(QueryError::Parse("expected type range vector".to_owned()));
        };
        let absent = match (&window.input, function) {
            (WindowInput::Samples(select), RangeFunction::Absent) => absent_labels(&select.matchers),
            _ => Labels::empty(),
        };
        let subquery = matches!(window.input, WindowInput::Subquery { .. });
        let constant =
            window.at_ms.is_some() && parts.iter().all(|p| p.constant) && function != RangeFunction::PredictLinear;
        let args = parts
            .into_iter()
            .map(|p| if constant { p.node } else { p.settled() })
            .collect();
        let node = Node::Range(Box::new(RangeCall {
            function,
            window,
            args,
            place: if subquery {
                // What Prometheus puts in place of a subquery has lost where it stood.
                Some(Place::START)
            } else {
                places.get(window_at).copied()
            },
            arg_place: places.get(usize::from(window_at == 0)).copied(),
            absent,
        }));
        Ok(Part { node, constant })
    }

    fn places(&mut self) -> Vec<Place> {
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

fn unwrapped(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(inner) => unwrapped(&inner.expr),
        other => other,
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

pub(super) fn matchers(name: Option<&str>, parsed: &ParsedMatchers) -> Result<Vec<Matcher>, QueryError> {
    if !parsed.or_matchers.is_empty() {
        return Err(QueryError::Parse(
            "unexpected \"or\" in label matching, expected \",\" or \"}\"".to_owned(),
        ));
    }
    let mut matchers: Vec<Matcher> = name.map(|name| Matcher::eq(METRIC_NAME, name)).into_iter().collect();
    for matcher in &parsed.matchers {
        let (op, value) = match matcher.op {
            ParsedOp::Equal => (MatchOp::Eq, matcher.value.clone()),
            ParsedOp::NotEqual => (MatchOp::Ne, matcher.value.clone()),
            ParsedOp::Re(_) => (MatchOp::Re, pattern::translate(&matcher.value)),
            ParsedOp::NotRe(_) => (MatchOp::Nre, pattern::translate(&matcher.value)),
        };
        let matcher = Matcher::new(op, matcher.name.clone(), value)
            .map_err(|error| QueryError::Parse(format!("{error}: {}", error.source)))?;
        matchers.push(matcher);
    }
    Ok(matchers)
}

/// The labels of an absent series: those that a single equality fixes.
fn absent_labels(matchers: &[Matcher]) -> Labels {
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

fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Scalar => "scalar",
        Kind::Vector => "instant vector",
        Kind::Matrix => "range vector",
        Kind::Text => "string",
    }
}

fn long_type_name(kind: ValueType) -> String {
    match kind {
        ValueType::Scalar => "scalar",
        ValueType::Vector => "instant vector",
        ValueType::Matrix => "range vector",
        ValueType::String => "string",
    }
    .to_owned()
}

/// Whether Prometheus 3.5 has the function; the parser also knows later ones.
fn known_in_3_5(name: &str) -> bool {
    !matches!(
        name,
        "start"
            | "end"
            | "step"
            | "range"
            | "first_over_time"
            | "histogram_quantiles"
            | "integral"
            | "max_of"
            | "min_of"
            | "start_timestamp"
            | "ts_of_first_over_time"
    )
}

/// Adds the matchers of every selector within `expr` to `found`.
pub(super) fn selectors(expr: &Expr, found: &mut Vec<Vec<Matcher>>) -> Result<(), QueryError> {
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
