//! What a query will cost, as far as the index knows.

use promql_parser::label::MatchOp as ParsedOp;
use promql_parser::parser::{Expr, VectorSelector};

use super::plan;
use crate::codec::rollups::CHUNK_BUCKETS;
use crate::rollup::FIVE_MINUTES_MS;
use crate::{Coarseness, METRIC_NAME, Snapshot};

/// Apart from its values, a series costs about as much as so many.
const SERIES: u64 = 100;

/// Taken for the distance of samples, which nobody knows before they are read.
const INTERVAL_MS: u64 = 10_000;

/// See [`Engine::effort`](super::Engine::effort). `span_ms` is what has to be evaluated of the time from `start_ms` to `end_ms`.
pub(super) fn effort(
    snapshot: &Snapshot,
    expr: &Expr,
    (start_ms, end_ms): (i64, i64),
    span_ms: u64,
    points: u64,
) -> u64 {
    let mut sum = points;
    plan::each_selector(expr, &mut |selector, back| {
        let back_ms = u64::try_from(back.as_millis()).unwrap_or(u64::MAX);
        let moved = selector.offset.is_some() || selector.at.is_some();
        let first_ms = if moved {
            i64::MIN
        } else {
            start_ms.saturating_sub_unsigned(back_ms)
        };
        let rolled = Rolled::of(snapshot.coarseness(), first_ms, if moved { i64::MAX } else { end_ms });
        let samples = span_ms.saturating_add(back_ms) / rolled.interval_ms + rolled.more;
        let each = SERIES.saturating_add(points).saturating_add(samples);
        sum = sum.saturating_add(each.saturating_mul(series_at_most(snapshot, selector)));
    });
    sum
}

/// What rollups change of an estimate.
struct Rolled {
    interval_ms: u64,
    /// Values of a series that are read beyond those within the window: buckets are decompressed by the chunk.
    more: u64,
}

impl Rolled {
    fn of(coarseness: Coarseness, first_ms: i64, end_ms: i64) -> Self {
        let told = |at_ms: i64| coarseness.until_ms().is_some_and(|until_ms| at_ms <= until_ms);
        Self {
            interval_ms: if told(end_ms) {
                FIVE_MINUTES_MS.unsigned_abs()
            } else {
                INTERVAL_MS
            },
            // Two columns, or times and values of the samples that are kept.
            more: if told(first_ms) { 2 * CHUNK_BUCKETS as u64 } else { 0 },
        }
    }
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
