//! What a query will cost, as far as the index knows.

use promql_parser::label::MatchOp as ParsedOp;
use promql_parser::parser::{Expr, VectorSelector};

use super::plan;
use crate::{METRIC_NAME, Snapshot};

/// Apart from its values, a series costs about as much as so many.
const SERIES: u64 = 100;

/// Taken for the distance of samples, which nobody knows before they are read.
const INTERVAL_MS: u64 = 10_000;

/// See [`Engine::effort`](super::Engine::effort).
pub(super) fn effort(snapshot: &Snapshot, expr: &Expr, span_ms: u64, points: u64) -> u64 {
    let mut sum = points;
    plan::each_selector(expr, &mut |selector, back| {
        let back_ms = u64::try_from(back.as_millis()).unwrap_or(u64::MAX);
        let samples = span_ms.saturating_add(back_ms) / INTERVAL_MS;
        let each = SERIES.saturating_add(points).saturating_add(samples);
        sum = sum.saturating_add(each.saturating_mul(series_at_most(snapshot, selector)));
    });
    sum
}

fn series_at_most(snapshot: &Snapshot, selector: &VectorSelector) -> u64 {
    if !selector.matchers.or_matchers.is_empty() {
        return u64::MAX;
    }
    let name = selector.name.as_deref().map(|name| (METRIC_NAME, name));
    let equal = selector
        .matchers
        .matchers
        .iter()
        .filter_map(|matcher| match matcher.op {
            ParsedOp::Equal => Some((matcher.name.as_str(), matcher.value.as_str())),
            _ => None,
        });
    snapshot.series_at_most(name.into_iter().chain(equal))
}
