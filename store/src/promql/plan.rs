//! What the evaluator works on: the parsed expression with times in milliseconds, types decided, constant parts marked.
//!
//! `lower` makes it out of the parsed expression; operators and calls have files of their own.

mod call;
mod lower;
mod matchers;
mod operation;

use super::function::{Elementwise, RangeFunction};
use super::text::Place;
use crate::{Labels, METRIC_NAME, MatchOp, Matcher};

pub(super) use lower::{Surroundings, plan};
pub(super) use matchers::{each_selector, matcher, matchers};

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
    /// What stands in for a missing partner on the left and on the right side.
    pub(super) fill: [Option<f64>; 2],
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
