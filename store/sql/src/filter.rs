//! What of a query's WHERE the store itself can decide: the range of time, and which series.

use arrow::array::{BooleanArray, RecordBatch};
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, ScalarValue, exec_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_plan::PhysicalExpr;
use std::sync::Arc;
use store::{DEVICE_LABELS, HOST_LABELS, METRIC_NAME, MatchOp, Matcher, SeriesId, Snapshot, TimeRange};

use crate::EVER;
use crate::columns::{Column, SERIES, series_batch};

/// Rows of `series` that are looked at together.
const SERIES_ROWS: usize = 4096;

/// How much of one condition [`Selection`] decides.
pub(crate) fn support(filter: &Expr) -> TableProviderFilterPushDown {
    if let Some((_, exact)) = time_bounds(filter) {
        return if exact {
            TableProviderFilterPushDown::Exact
        } else {
            TableProviderFilterPushDown::Inexact
        };
    }
    if is_of_series(filter) {
        TableProviderFilterPushDown::Exact
    } else {
        TableProviderFilterPushDown::Unsupported
    }
}

/// Whether a condition is the same for all samples of a series.
fn is_of_series(filter: &Expr) -> bool {
    let columns = filter.column_refs();
    !columns.is_empty()
        && columns
            .iter()
            .all(|column| Column::of_name(&column.name).is_some_and(Column::is_of_series))
        && !filter.is_volatile()
        && !has_subquery(filter)
}

fn has_subquery(filter: &Expr) -> bool {
    use datafusion::common::tree_node::TreeNode;
    filter
        .exists(|e| {
            Ok(matches!(
                e,
                Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::OuterReferenceColumn(..)
            ))
        })
        .unwrap_or(true)
}

/// The part of a table that a query reads.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    /// Samples outside of it are not read.
    pub(crate) range: TimeRange,
    /// Conditions that the index decides. `None`: no series can meet them.
    candidates: Vec<Candidates>,
    /// All conditions on series, decided row by row over the candidates.
    exact: Vec<Arc<dyn PhysicalExpr>>,
    /// What of it shows in EXPLAIN.
    pub(crate) shown: Vec<String>,
}

/// Series that the index finds: those that meet one of these lists of matchers.
type Candidates = Vec<Matcher>;

impl Selection {
    pub(crate) fn new(state: &dyn Session, filters: &[Expr]) -> Result<Self> {
        let schema = DFSchema::try_from(SERIES.as_ref().clone())?;
        let mut selection = Self {
            range: EVER,
            candidates: Vec::new(),
            exact: Vec::new(),
            shown: Vec::new(),
        };
        for filter in filters {
            if let Some((range, _)) = time_bounds(filter) {
                selection.range = intersect(selection.range, range);
            } else if is_of_series(filter) {
                let unqualified = unqualified(filter)?;
                selection.shown.push(unqualified.to_string());
                selection.exact.push(state.create_physical_expr(unqualified, &schema)?);
                selection.candidates.extend(candidates(filter));
            }
        }
        Ok(selection)
    }

    /// The series that meet all conditions.
    pub(crate) fn series(&self, snapshot: &Snapshot) -> Result<Vec<SeriesId>> {
        if self.range.start > self.range.end {
            return Ok(Vec::new());
        }
        let external = |error| DataFusionError::External(Box::new(error));
        // One list of alternatives goes to the index, the one that names the fewest: `metric = 'up'` before a host by any of
        // its six labels. What the index does not decide, the rows do.
        let mut alternatives = self.candidates.iter().collect::<Vec<_>>();
        alternatives.sort_by_key(|list| list.len());
        let mut common: Vec<Matcher> = Vec::new();
        let mut best: &[Matcher] = &[];
        for list in alternatives {
            match list.as_slice() {
                [one] => common.push(one.clone()),
                several if best.is_empty() => best = several,
                _ => {}
            }
        }
        let mut ids = if best.is_empty() {
            snapshot.select(&common, self.range).map_err(external)?
        } else {
            let mut ids = Vec::new();
            for alternative in best {
                common.push(alternative.clone());
                ids.extend(snapshot.select(&common, self.range).map_err(external)?);
                common.pop();
            }
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        if self.exact.is_empty() {
            return Ok(ids);
        }
        let mut kept = Vec::with_capacity(ids.len());
        for some in ids.chunks(SERIES_ROWS) {
            let rows = series_batch(snapshot, some)?;
            let mut keep = vec![true; some.len()];
            for condition in &self.exact {
                decide(condition.as_ref(), &rows, &mut keep)?;
            }
            kept.extend(some.iter().zip(keep).filter_map(|(id, keep)| keep.then_some(*id)));
        }
        ids = kept;
        Ok(ids)
    }
}

fn decide(condition: &dyn PhysicalExpr, rows: &RecordBatch, keep: &mut [bool]) -> Result<()> {
    let array = condition.evaluate(rows)?.into_array(rows.num_rows())?;
    let Some(decisions) = array.as_any().downcast_ref::<BooleanArray>() else {
        return exec_err!(
            "a condition of WHERE gives {} instead of true or false",
            array.data_type()
        );
    };
    for (keep, decision) in keep.iter_mut().zip(decisions) {
        // NULL is not true.
        *keep &= decision == Some(true);
    }
    Ok(())
}

/// The same condition with bare column names: the table may have an alias in the query.
pub(crate) fn unqualified(filter: &Expr) -> Result<Expr> {
    use datafusion::common::Column as Name;
    use datafusion::common::tree_node::{Transformed, TreeNode};
    Ok(filter
        .clone()
        .transform(|e| {
            Ok(match e {
                Expr::Column(name) if name.relation.is_some() => {
                    Transformed::yes(Expr::Column(Name::new_unqualified(name.name)))
                }
                other => Transformed::no(other),
            })
        })?
        .data)
}

/// Matchers of which every series that meets `filter` meets at least one; none where the index cannot help.
fn candidates(filter: &Expr) -> Vec<Candidates> {
    match filter {
        Expr::BinaryExpr(e) if e.op == Operator::And => {
            let mut all = candidates(&e.left);
            all.extend(candidates(&e.right));
            all
        }
        Expr::BinaryExpr(e) if e.op == Operator::Or => {
            // `host = 'a' OR host = 'b'`, as short IN lists are written by the optimizer.
            let (Some(mut left), Some(right)) = (single(&e.left), single(&e.right)) else {
                return Vec::new();
            };
            left.extend(right);
            vec![left]
        }
        _ => single(filter).into_iter().collect(),
    }
}

fn single(filter: &Expr) -> Option<Candidates> {
    match filter {
        Expr::BinaryExpr(e) if e.op == Operator::Eq => {
            let (subject, value) = match (text(&e.left), text(&e.right)) {
                (None, Some(value)) => (&e.left, value),
                (Some(value), None) => (&e.right, value),
                _ => return None,
            };
            equal(subject, value)
        }
        Expr::BinaryExpr(e) if e.op == Operator::Or => {
            let mut left = single(&e.left)?;
            left.extend(single(&e.right)?);
            Some(left)
        }
        Expr::InList(list) if !list.negated => {
            let mut all = Vec::new();
            for value in &list.list {
                all.extend(equal(&list.expr, text(value)?)?);
            }
            Some(all)
        }
        _ => None,
    }
}

/// Matchers for `subject = value`.
fn equal(subject: &Expr, value: &str) -> Option<Candidates> {
    if value.is_empty() {
        // An empty label is a missing one for the store, and NULL here.
        return None;
    }
    match subject {
        Expr::Column(column) => match Column::of_name(&column.name)? {
            Column::Metric => Some(vec![Matcher::eq(METRIC_NAME, value)]),
            Column::Host => {
                let mut any: Vec<_> = HOST_LABELS
                    .iter()
                    .filter(|l| **l != "instance")
                    .map(|l| Matcher::eq(*l, value))
                    .collect();
                // `instance` counts without its port, and without the brackets of an IPv6 address.
                let pattern = format!("\\[?{}\\]?(:[0-9]*)?", escape(value));
                any.push(Matcher::new(MatchOp::Re, "instance", pattern).ok()?);
                Some(any)
            }
            Column::Device => Some(DEVICE_LABELS.iter().map(|l| Matcher::eq(*l, value)).collect()),
            _ => None,
        },
        // `labels['name']`
        Expr::ScalarFunction(call) if call.name() == "get_field" => match call.args.as_slice() {
            [Expr::Column(column), name] if column.name == Column::Labels.name() => {
                Some(vec![Matcher::eq(text(name)?, value)])
            }
            _ => None,
        },
        Expr::Alias(alias) => equal(&alias.expr, value),
        Expr::Cast(cast) if cast.field.data_type().is_string() => equal(&cast.expr, value),
        _ => None,
    }
}

/// A pattern that matches `text` alone.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_ascii() && !c.is_ascii_alphanumeric() {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn text(value: &Expr) -> Option<&str> {
    if let Expr::Literal(value, _) = value {
        value.try_as_str().flatten()
    } else {
        None
    }
}

/// The range of time outside of which `filter` is not true, and whether it is true everywhere within.
pub(crate) fn time_bounds(filter: &Expr) -> Option<(TimeRange, bool)> {
    match filter {
        Expr::BinaryExpr(e) if e.op == Operator::And => {
            let ((left, a), (right, b)) = (time_bounds(&e.left)?, time_bounds(&e.right)?);
            Some((intersect(left, right), a && b))
        }
        Expr::BinaryExpr(e) => {
            let (value, op) = match (is_timestamp(&e.left), is_timestamp(&e.right)) {
                (true, false) => (instant(&e.right)?, e.op),
                (false, true) => (instant(&e.left)?, e.op.swap()?),
                _ => return None,
            };
            Some((bounds(op, value)?, true))
        }
        Expr::Between(between) if !between.negated && is_timestamp(&between.expr) => {
            let low = bounds(Operator::GtEq, instant(&between.low)?)?;
            let high = bounds(Operator::LtEq, instant(&between.high)?)?;
            Some((intersect(low, high), true))
        }
        _ => None,
    }
}

/// Whole milliseconds `t` with `t op value`; `value` in nanoseconds.
fn bounds(op: Operator, nanos: i128) -> Option<TimeRange> {
    const MILLI: i128 = 1_000_000;
    let clamp = |ms: i128| i64::try_from(ms.clamp(i128::from(i64::MIN + 1), i128::from(i64::MAX))).unwrap_or(i64::MAX);
    let floor = nanos.div_euclid(MILLI);
    let whole = nanos.rem_euclid(MILLI) == 0;
    Some(match op {
        Operator::Eq if whole => TimeRange::millis(clamp(floor), clamp(floor)),
        // Between two milliseconds: none of them, though rows with nanoseconds may be there.
        Operator::Eq => TimeRange::millis(clamp(floor + 1), clamp(floor)),
        Operator::Lt => TimeRange::millis(EVER.start.0, clamp(if whole { floor - 1 } else { floor })),
        Operator::LtEq => TimeRange::millis(EVER.start.0, clamp(floor)),
        Operator::Gt => TimeRange::millis(clamp(floor + 1), EVER.end.0),
        Operator::GtEq => TimeRange::millis(clamp(if whole { floor } else { floor + 1 }), EVER.end.0),
        _ => return None,
    })
}

/// The column itself, or a cast of it that keeps every millisecond.
fn is_timestamp(e: &Expr) -> bool {
    use arrow::datatypes::{DataType, TimeUnit};
    match e {
        Expr::Column(column) => column.name == Column::Timestamp.name(),
        Expr::Cast(cast) => {
            matches!(
                cast.field.data_type(),
                DataType::Timestamp(
                    TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond,
                    Some(_)
                )
            ) && is_timestamp(&cast.expr)
        }
        _ => false,
    }
}

/// Nanoseconds since 1970 of a literal.
fn instant(value: &Expr) -> Option<i128> {
    let Expr::Literal(value, _) = value else { return None };
    match value {
        ScalarValue::TimestampSecond(Some(v), Some(_)) => Some(i128::from(*v) * 1_000_000_000),
        ScalarValue::TimestampMillisecond(Some(v), Some(_)) => Some(i128::from(*v) * 1_000_000),
        ScalarValue::TimestampMicrosecond(Some(v), Some(_)) => Some(i128::from(*v) * 1000),
        ScalarValue::TimestampNanosecond(Some(v), Some(_)) => Some(i128::from(*v)),
        _ => None,
    }
}

pub(crate) fn intersect(a: TimeRange, b: TimeRange) -> TimeRange {
    TimeRange {
        start: a.start.max(b.start),
        end: a.end.min(b.end),
    }
}

#[cfg(test)]
mod tests;
