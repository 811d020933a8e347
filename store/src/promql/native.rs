//! Quantiles, fractions and moments of native histograms (Prometheus 3.5, `promql/quantile.go`).

use std::fmt::Write as _;

use super::number::{self, Sum};
use crate::{Histogram, Span};

/// What has to be said about a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remark {
    /// NaN observations lie above the quantile, and make it NaN.
    NanResult,
    /// NaN observations count as the highest ones.
    NanSkew,
}

/// The quantile `q`. Within a bucket observations are taken to be spread evenly over the logarithm; in the bucket around zero and in
/// buckets with bounds of their own, evenly over the values.
pub(super) fn quantile(q: f64, histogram: &Histogram) -> (f64, Option<Remark>) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if histogram.count == 0.0 || q.is_nan() {
        return (f64::NAN, None);
    }
    // From the nearer end, where fewer counts have to be added up. NaN observations are in no bucket, so that with them there is
    // no way from above.
    let forward = histogram.sum.is_nan() || q < 0.5;
    let mut spans: Box<dyn Iterator<Item = Span> + '_> = if forward {
        Box::new(histogram.spans())
    } else {
        Box::new(histogram.spans().rev())
    };
    let share = if forward { q } else { 1.0 - q };
    let mut rank = share * histogram.count;
    let mut count = 0.0;
    let mut found = Span {
        lower: 0.0,
        upper: 0.0,
        closed: (false, false),
        count: 0.0,
    };
    for span in spans.by_ref() {
        found = span;
        count += span.count;
        if count >= rank {
            break;
        }
    }
    if histogram.is_custom() {
        if found.lower == f64::NEG_INFINITY {
            if found.upper <= 0.0 {
                return (found.upper, None);
            }
            found.lower = 0.0;
        } else if found.upper == f64::INFINITY {
            return (found.lower, None);
        }
    } else if found.lower < 0.0 && found.upper > 0.0 {
        one_sided(histogram, &mut found);
    }
    count = if count > histogram.count {
        histogram.count
    } else {
        count
    };
    if count < rank {
        return if histogram.sum.is_nan() {
            (f64::NAN, Some(Remark::NanResult))
        } else {
            (found.upper, None)
        };
    }
    rank = if forward {
        rank - (count - found.count)
    } else {
        count - rank
    };
    let mut remark = None;
    if histogram.sum.is_nan() {
        let mut all = count;
        for span in spans {
            // Prometheus 3.5 goes on with the last bucket that it counts here, and so do we.
            found = span;
            all += span.count;
        }
        remark = (all < histogram.count).then_some(Remark::NanSkew);
    }
    let share = rank / found.count;
    if histogram.is_custom() || (found.lower <= 0.0 && found.upper >= 0.0) {
        return (found.lower + (found.upper - found.lower) * share, remark);
    }
    let (lower, upper) = (found.lower.abs().log2(), found.upper.abs().log2());
    let value = if found.lower > 0.0 {
        (lower + (upper - lower) * share).exp2()
    } else {
        -(upper + (lower - upper) * (1.0 - share)).exp2()
    };
    (value, remark)
}

/// The share of observations between `lower` and `upper`; the flag says that NaN observations are in no such share.
pub(super) fn fraction(lower: f64, upper: f64, histogram: &Histogram) -> (f64, bool) {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, false);
    }
    if lower >= upper {
        return (0.0, false);
    }
    let (mut count, mut rank) = (0.0, 0.0);
    let (mut lower_rank, mut upper_rank) = (None, None);
    let mut spans = histogram.spans();
    for mut span in spans.by_ref() {
        count += span.count;
        let around_zero = span.lower <= 0.0 && span.upper >= 0.0;
        if around_zero {
            one_sided(histogram, &mut span);
        }
        let linear = histogram.is_custom() || around_zero;
        for (bound, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_none() {
                if span.lower >= bound {
                    *found = Some(rank);
                } else if span.upper > bound {
                    *found = Some(rank + span.count * share_below(&span, bound, linear));
                }
            }
        }
        if lower_rank.is_some() && upper_rank.is_some() {
            break;
        }
        rank += span.count;
    }
    let mut nan = false;
    if histogram.sum.is_nan() {
        count = spans.fold(count, |sum, span| sum + span.count);
        nan = count < histogram.count;
    } else {
        count = histogram.count;
    }
    let capped = |rank: Option<f64>| rank.filter(|r| r.is_nan() || *r <= count).unwrap_or(count);
    ((capped(upper_rank) - capped(lower_rank)) / histogram.count, nan)
}

/// The share of a bucket's observations below `value`, which lies within it.
fn share_below(span: &Span, value: f64, linear: bool) -> f64 {
    if linear {
        return (value - span.lower) / (span.upper - span.lower);
    }
    let (lower, upper, at) = (span.lower.abs().log2(), span.upper.abs().log2(), value.abs().log2());
    if value > 0.0 {
        (at - lower) / (upper - lower)
    } else {
        1.0 - (at - upper) / (lower - upper)
    }
}

/// A histogram without negative buckets has no negative observations around zero either, and the other way round.
fn one_sided(histogram: &Histogram, span: &mut Span) {
    if histogram.is_custom() {
        if !histogram.positive.is_empty() {
            span.lower = 0.0;
        }
        return;
    }
    match (histogram.negative.is_empty(), histogram.positive.is_empty()) {
        (true, false) => span.lower = 0.0,
        (false, true) => span.upper = 0.0,
        _ => {}
    }
}

/// The variance, each observation taken to lie in the middle of its bucket.
pub(super) fn variance(histogram: &Histogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut squares = Sum::default();
    for span in histogram.spans() {
        let middle = if histogram.is_custom() {
            (span.upper + span.lower) / 2.0
        } else if span.lower <= 0.0 && span.upper >= 0.0 {
            0.0
        } else {
            (span.upper * span.lower).sqrt().copysign(span.upper)
        };
        let distance = middle - mean;
        squares.add(span.count * distance * distance);
    }
    squares.value() / histogram.count
}

/// The histogram as Prometheus writes it into a label, for `count_values`.
pub(super) fn text(histogram: &Histogram) -> String {
    let general = number::general;
    let mut out = format!("{{count:{}, sum:{}", general(histogram.count), general(histogram.sum));
    for span in histogram.whole_spans() {
        let (open, close) = (
            if span.closed.0 { '[' } else { '(' },
            if span.closed.1 { ']' } else { ')' },
        );
        let (lower, upper, count) = (general(span.lower), general(span.upper), general(span.count));
        write!(out, ", {open}{lower},{upper}{close}:{count}").unwrap_or_default();
    }
    out.push('}');
    out
}
