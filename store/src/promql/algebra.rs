//! Arithmetic of native histograms, with the semantics of Prometheus 3.5 (`model/histogram/float_histogram.go`).
//!
//! Histograms here have no empty buckets: what becomes empty goes.

use crate::histogram::{same_bounds, same_buckets};
use crate::{Bucket, Histogram, ResetHint};

/// Why two histograms cannot be combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// One has exponential buckets, the other bounds of its own.
    Schemas,
    /// Both have bounds of their own, and others.
    Bounds,
}

/// Adds `other` to `into`. They are brought to the coarser of both schemas, and to a bucket around zero that holds both of theirs.
pub(super) fn add(into: &mut Histogram, other: &Histogram) -> Result<(), Mismatch> {
    check(into, other)?;
    // What was no counter stays none; where one sample does not know, the sum does not either.
    into.reset = match (into.reset, other.reset) {
        (a, b) if a == b => a,
        (ResetHint::Gauge, _) | (_, ResetHint::Gauge) => ResetHint::Gauge,
        _ => ResetHint::Unknown,
    };
    combine(into, other, 1.0);
    Ok(())
}

/// Takes `other` off `from`.
pub(super) fn subtract(from: &mut Histogram, other: &Histogram) -> Result<(), Mismatch> {
    check(from, other)?;
    combine(from, other, -1.0);
    Ok(())
}

/// Multiplies all counts, and the sum.
pub(super) fn multiply(histogram: &mut Histogram, factor: f64) {
    change(histogram, |number| number * factor);
    histogram.drop_empty();
}

/// Divides all counts, and the sum; nothing is left of buckets that are divided by zero.
pub(super) fn divide(histogram: &mut Histogram, by: f64) {
    change(histogram, |number| number / by);
    if by == 0.0 {
        histogram.positive.clear();
        histogram.negative.clear();
    }
    histogram.drop_empty();
}

/// Brings a running mean of `count - 1` histograms to that of `count`.
pub(super) fn average(mean: &mut Histogram, next: &Histogram, count: f64) -> Result<(), Mismatch> {
    let (mut step, mut share) = (next.clone(), mean.clone());
    divide(&mut step, count);
    divide(&mut share, count);
    subtract(&mut step, &share)?;
    add(mean, &step)
}

/// Whether both say the same, whatever they say about the samples before.
pub(super) fn equal(a: &Histogram, b: &Histogram) -> bool {
    a.schema == b.schema
        && a.count.to_bits() == b.count.to_bits()
        && a.sum.to_bits() == b.sum.to_bits()
        && a.zero_threshold == b.zero_threshold
        && a.zero_count.to_bits() == b.zero_count.to_bits()
        && same_bounds(a.own_bounds(), b.own_bounds())
        && same_buckets(&a.positive, &b.positive)
        && same_buckets(&a.negative, &b.negative)
}

/// Whether a counter was reset between two samples: something is less than before, or cut finer than before.
pub(super) fn was_reset(now: &Histogram, before: &Histogram) -> bool {
    match now.reset {
        ResetHint::Reset => return true,
        ResetHint::NotReset => return false,
        ResetHint::Unknown | ResetHint::Gauge => {}
    }
    if now.count < before.count
        || check(now, before).is_err()
        || now.schema > before.schema
        || now.zero_threshold < before.zero_threshold
    {
        return true;
    }
    let (zero_count, zero_threshold) = widened_zero(before, now.zero_threshold);
    if zero_threshold != now.zero_threshold || now.zero_count < zero_count {
        return true;
    }
    let fell = |now_side: &[Bucket], before_side: &[Bucket]| {
        let mut rest = now_side.iter().peekable();
        reduced(before_side, before.schema, now.schema).iter().any(|bucket| {
            if swallowed(now, bucket.index) {
                return false;
            }
            while rest.next_if(|b| b.index < bucket.index).is_some() {}
            let count = rest.peek().filter(|b| b.index == bucket.index).map_or(0.0, |b| b.count);
            count < bucket.count || (bucket.count.is_nan() && count == 0.0)
        })
    };
    fell(&now.positive, &before.positive) || fell(&now.negative, &before.negative)
}

/// The same observations in buckets of a coarser schema; the schema itself is returned as it is.
pub(super) fn to_schema(histogram: &Histogram, schema: i8) -> Histogram {
    let mut coarser = histogram.clone();
    reduce(&mut coarser, schema);
    coarser
}

/// What remains where the buckets of a histogram are not looked at; `before` is the sample before it.
pub(super) fn statistics(histogram: &Histogram, before: Option<&Histogram>) -> Histogram {
    let reset = match (histogram.reset, before) {
        (ResetHint::Unknown, Some(before)) if was_reset(histogram, before) => ResetHint::Reset,
        (ResetHint::Unknown, Some(_)) => ResetHint::NotReset,
        (told, _) => told,
    };
    Histogram {
        reset,
        count: histogram.count,
        sum: histogram.sum,
        ..Histogram::default()
    }
}

fn check(a: &Histogram, b: &Histogram) -> Result<(), Mismatch> {
    if a.is_custom() != b.is_custom() {
        Err(Mismatch::Schemas)
    } else if a.is_custom() && !same_bounds(a.own_bounds(), b.own_bounds()) {
        Err(Mismatch::Bounds)
    } else {
        Ok(())
    }
}

fn change(histogram: &mut Histogram, change: impl Fn(f64) -> f64) {
    let Histogram {
        zero_count,
        count,
        sum,
        positive,
        negative,
        ..
    } = histogram;
    for number in [zero_count, count, sum] {
        *number = change(*number);
    }
    for bucket in positive.iter_mut().chain(negative) {
        bucket.count = change(bucket.count);
    }
}

fn combine(into: &mut Histogram, other: &Histogram, sign: f64) {
    if !into.is_custom() {
        into.zero_count += sign * common_zero(into, other);
    }
    into.count += sign * other.count;
    into.sum += sign * other.sum;
    let schema = into.schema.min(other.schema);
    reduce(into, schema);
    for (side, theirs) in [(true, &other.positive), (false, &other.negative)] {
        let theirs: Vec<Bucket> = reduced(theirs, other.schema, schema)
            .into_iter()
            .filter(|bucket| !swallowed(into, bucket.index))
            .map(|bucket| Bucket {
                count: sign * bucket.count,
                ..bucket
            })
            .collect();
        let ours = if side { &mut into.positive } else { &mut into.negative };
        merge(ours, &theirs);
    }
}

/// Adds buckets to buckets, both by index.
fn merge(ours: &mut Vec<Bucket>, theirs: &[Bucket]) {
    if theirs.is_empty() {
        return;
    }
    let mut merged = Vec::with_capacity(ours.len() + theirs.len());
    let mut left = ours.iter().copied().peekable();
    for bucket in theirs {
        while let Some(own) = left.next_if(|own| own.index < bucket.index) {
            merged.push(own);
        }
        let own = left
            .next_if(|own| own.index == bucket.index)
            .map_or(0.0, |own| own.count);
        merged.push(Bucket {
            index: bucket.index,
            count: own + bucket.count,
        });
    }
    merged.extend(left);
    merged.retain(|bucket| bucket.count != 0.0);
    *ours = merged;
}

/// Whether an exponential bucket lies within the bucket around zero.
fn swallowed(histogram: &Histogram, index: i32) -> bool {
    !histogram.is_custom() && histogram.zero_threshold != 0.0 && histogram.bound(index) <= histogram.zero_threshold
}

fn reduce(histogram: &mut Histogram, schema: i8) {
    if schema < histogram.schema && !histogram.is_custom() {
        histogram.positive = reduced(&histogram.positive, histogram.schema, schema);
        histogram.negative = reduced(&histogram.negative, histogram.schema, schema);
        histogram.schema = schema;
    }
}

/// Buckets of schema `from` put together to those of `to`, which is no finer.
fn reduced(buckets: &[Bucket], from: i8, to: i8) -> Vec<Bucket> {
    if to >= from {
        return buckets.to_vec();
    }
    let mut out: Vec<Bucket> = Vec::with_capacity(buckets.len());
    for bucket in buckets {
        let index = ((bucket.index - 1) >> (from - to)) + 1;
        match out.last_mut() {
            Some(last) if last.index == index => last.count += bucket.count,
            _ => out.push(Bucket {
                index,
                count: bucket.count,
            }),
        }
    }
    out
}

/// Widens the bucket around zero of `histogram` until that of `other`, widened alike, is no wider and ends between buckets of both;
/// returns how many observations that of `other` then holds.
fn common_zero(histogram: &mut Histogram, other: &Histogram) -> f64 {
    let (mut count, mut threshold) = (other.zero_count, other.zero_threshold);
    while threshold != histogram.zero_threshold {
        if histogram.zero_threshold > threshold {
            (count, threshold) = widened_zero(other, histogram.zero_threshold);
        }
        if threshold > histogram.zero_threshold {
            (histogram.zero_count, histogram.zero_threshold) = widened_zero(histogram, threshold);
            drop_swallowed(histogram);
        }
        // NaN is neither more nor less.
        if threshold.is_nan() || histogram.zero_threshold.is_nan() {
            break;
        }
    }
    count
}

fn drop_swallowed(histogram: &mut Histogram) {
    let threshold = histogram.zero_threshold;
    let first_left = |buckets: &[Bucket]| buckets.partition_point(|b| histogram.bound(b.index - 1) < threshold);
    let (positive, negative) = (first_left(&histogram.positive), first_left(&histogram.negative));
    histogram.positive.drain(..positive);
    histogram.negative.drain(..negative);
}

/// How many observations the bucket around zero would hold if it reached to `threshold`, or to the end of the populated bucket that
/// `threshold` lies in; and where it then ends.
fn widened_zero(histogram: &Histogram, mut threshold: f64) -> (f64, f64) {
    if threshold == histogram.zero_threshold {
        return (histogram.zero_count, threshold);
    }
    loop {
        let mut count = histogram.zero_count;
        for bucket in &histogram.positive {
            if histogram.bound(bucket.index - 1) >= threshold {
                break;
            }
            count += bucket.count;
            let upper = histogram.bound(bucket.index);
            if upper > threshold {
                threshold = upper;
                break;
            }
        }
        let mut wider = None;
        for bucket in &histogram.negative {
            if histogram.bound(bucket.index - 1) >= threshold {
                break;
            }
            count += bucket.count;
            let far = histogram.bound(bucket.index);
            if far > threshold {
                wider = Some(far);
                break;
            }
        }
        match wider {
            // The positive buckets have to be looked at again.
            Some(wider) => threshold = wider,
            None => return (count, threshold),
        }
    }
}
