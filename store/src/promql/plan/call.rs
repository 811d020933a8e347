//! Calls of functions.

use promql_parser::parser::value::ValueType;
use promql_parser::parser::{Call as ParsedCall, Expr};

use super::super::error::QueryError;
use super::super::function::{Elementwise, RangeFunction};
use super::super::text::Place;
use super::lower::{Lower, Part};
use super::matchers::absent_labels;
use super::{Call, Function, Node, OfHistogram, RangeCall, WindowInput};
use crate::Labels;

impl Lower<'_> {
    pub(super) fn call(&mut self, call: &ParsedCall, outermost: bool) -> Result<Part, QueryError> {
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
}

fn unwrapped(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(inner) => unwrapped(&inner.expr),
        other => other,
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
