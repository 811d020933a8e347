//! Histograms one after another, as WAL records hold them.
//!
//! ```text
//! flags u8       bits 0 and 1: hint | 4: stale, nothing follows | 8: frame as of the one before | 16: integers | 32: count told
//! frame          unless it is that of the one before: schema i8, then zero threshold (f64), or for schema -53 how many bounds
//!                (varint) and the bounds (f64)
//! sum            f64
//! zero count     number; exponential schemas only
//! count          number, where flag 32 says so; else it is zero count plus all buckets in their order
//! buckets        positive, then negative (exponential schemas only): how many, varint; the first index, signed varint, the
//!                others as distance from the one before, less one, varint; each followed by its count, a number
//! number         with flag 16: difference to the number before in this histogram, signed varint (the first from 0); else f64
//! ```

use std::sync::Arc;

use super::{BUCKETS_MAX, Bucket, CUSTOM_SCHEMA, Histogram, ResetHint, same_bounds};
use crate::codec::bits::{put_varint, take_varint, unzigzag, zigzag};

const STALE: u8 = 4;
const SAME_FRAME: u8 = 8;
const INTEGERS: u8 = 16;
const COUNT: u8 = 32;

/// Integers below this are exact in an `f64`, and so are their differences.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What a histogram shares with its neighbours: how its buckets are cut.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frame {
    pub(crate) schema: i8,
    pub(crate) zero_threshold: f64,
    pub(crate) bounds: Option<Arc<[f64]>>,
}

impl Frame {
    pub(crate) fn of(histogram: &Histogram) -> Self {
        Self {
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold,
            bounds: histogram.bounds.clone(),
        }
    }

    pub(crate) fn fits(&self, histogram: &Histogram) -> bool {
        self.schema == histogram.schema
            && self.zero_threshold.to_bits() == histogram.zero_threshold.to_bits()
            && self.bounds.is_some() == histogram.bounds.is_some()
            && same_bounds(self.bounds.as_deref().unwrap_or(&[]), histogram.own_bounds())
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.push(self.schema.cast_unsigned());
        if self.schema == CUSTOM_SCHEMA {
            let bounds = self.bounds.as_deref().unwrap_or(&[]);
            put_varint(out, bounds.len() as u64);
            bounds.iter().for_each(|bound| put_float(out, *bound));
        } else {
            put_float(out, self.zero_threshold);
        }
    }

    pub(crate) fn take(rest: &mut &[u8]) -> Option<Self> {
        let (&schema, tail) = rest.split_first()?;
        *rest = tail;
        let schema = schema.cast_signed();
        if schema != CUSTOM_SCHEMA {
            return Some(Self {
                schema,
                zero_threshold: take_float(rest)?,
                bounds: None,
            });
        }
        let count = take_varint(rest)?;
        // Eight bytes each: what is not there needs no memory.
        if count > BUCKETS_MAX as u64 || rest.len() < count as usize * 8 {
            return None;
        }
        let bounds: Arc<[f64]> = (0..count).map_while(|_| take_float(rest)).collect();
        Some(Self {
            schema,
            zero_threshold: 0.0,
            bounds: Some(bounds),
        })
    }
}

/// Appends a histogram; `frame` is that of the one before and becomes its own.
pub(crate) fn put(out: &mut Vec<u8>, histogram: &Histogram, frame: &mut Frame) {
    let hint = histogram.reset.number();
    if histogram.is_stale() {
        out.push(hint | STALE);
        return;
    }
    let told = [histogram.zero_count, histogram.count];
    let buckets = || histogram.positive.iter().chain(&histogram.negative);
    let integers = told.into_iter().chain(buckets().map(|b| b.count)).all(is_integer);
    let same_frame = frame.fits(histogram);
    let count_told = sum_of_buckets(histogram).to_bits() != histogram.count.to_bits();
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.push(hint | flag(same_frame, SAME_FRAME) | flag(integers, INTEGERS) | flag(count_told, COUNT));
    if !same_frame {
        *frame = Frame::of(histogram);
        frame.put(out);
    }
    put_float(out, histogram.sum);
    let mut numbers = Numbers { integers, before: 0 };
    if !histogram.is_custom() {
        numbers.put(out, histogram.zero_count);
    }
    if count_told {
        numbers.put(out, histogram.count);
    }
    put_buckets(out, &histogram.positive, &mut numbers);
    if !histogram.is_custom() {
        put_buckets(out, &histogram.negative, &mut numbers);
    }
}

/// Takes a histogram off the front; `None` where the bytes are none.
pub(crate) fn take(rest: &mut &[u8], frame: &mut Frame) -> Option<Histogram> {
    let (&flags, tail) = rest.split_first()?;
    *rest = tail;
    let reset = ResetHint::of_number(flags & 3);
    if flags & STALE != 0 {
        return Some(Histogram {
            reset,
            ..Histogram::stale()
        });
    }
    if flags & SAME_FRAME == 0 {
        *frame = Frame::take(rest)?;
    }
    let custom = frame.schema == CUSTOM_SCHEMA;
    let mut histogram = Histogram {
        reset,
        schema: frame.schema,
        zero_threshold: frame.zero_threshold,
        bounds: frame.bounds.clone(),
        sum: take_float(rest)?,
        ..Histogram::default()
    };
    let mut numbers = Numbers {
        integers: flags & INTEGERS != 0,
        before: 0,
    };
    if !custom {
        histogram.zero_count = numbers.take(rest)?;
    }
    let count = if flags & COUNT != 0 {
        Some(numbers.take(rest)?)
    } else {
        None
    };
    histogram.positive = take_buckets(rest, &mut numbers)?;
    if !custom {
        histogram.negative = take_buckets(rest, &mut numbers)?;
    }
    histogram.count = count.unwrap_or_else(|| sum_of_buckets(&histogram));
    Some(histogram)
}

/// Zero count and all buckets, added up in their order.
pub(crate) fn sum_of_buckets(histogram: &Histogram) -> f64 {
    let buckets = histogram.positive.iter().chain(&histogram.negative);
    buckets.fold(histogram.zero_count, |sum, bucket| sum + bucket.count)
}

fn is_integer(number: f64) -> bool {
    (0.0..EXACT).contains(&number) && number.fract() == 0.0 && number.is_sign_positive()
}

/// Numbers of one histogram.
struct Numbers {
    integers: bool,
    before: i64,
}

impl Numbers {
    fn put(&mut self, out: &mut Vec<u8>, number: f64) {
        if self.integers {
            let integer = number as i64;
            put_varint(out, zigzag(integer - self.before));
            self.before = integer;
        } else {
            put_float(out, number);
        }
    }

    fn take(&mut self, rest: &mut &[u8]) -> Option<f64> {
        if !self.integers {
            return take_float(rest);
        }
        self.before = self.before.wrapping_add(unzigzag(take_varint(rest)?));
        Some(self.before as f64)
    }
}

/// Appends indexes without what stands between them: how many, the first one, distances.
pub(crate) fn put_index(out: &mut Vec<u8>, before: Option<i32>, index: i32) {
    match before {
        None => put_varint(out, zigzag(index.into())),
        Some(before) => put_varint(out, (i64::from(index) - i64::from(before) - 1).cast_unsigned()),
    }
}

/// Takes an index that [`put_index`] wrote.
pub(crate) fn take_index(rest: &mut &[u8], before: Option<i32>) -> Option<i32> {
    let number = take_varint(rest)?;
    match before {
        None => i32::try_from(unzigzag(number)).ok(),
        Some(before) => i32::try_from(i64::from(before).checked_add_unsigned(number)?.checked_add(1)?).ok(),
    }
}

fn put_buckets(out: &mut Vec<u8>, buckets: &[Bucket], numbers: &mut Numbers) {
    put_varint(out, buckets.len() as u64);
    let mut before = None;
    for bucket in buckets {
        put_index(out, before, bucket.index);
        numbers.put(out, bucket.count);
        before = Some(bucket.index);
    }
}

fn take_buckets(rest: &mut &[u8], numbers: &mut Numbers) -> Option<Vec<Bucket>> {
    let count = take_varint(rest)?;
    // Two bytes each at least: what is not there needs no memory.
    if count > BUCKETS_MAX as u64 || count as usize * 2 > rest.len() {
        return None;
    }
    let mut buckets = Vec::with_capacity(count as usize);
    let mut before = None;
    for _ in 0..count {
        let index = take_index(rest, before)?;
        before = Some(index);
        buckets.push(Bucket {
            index,
            count: numbers.take(rest)?,
        });
    }
    Some(buckets)
}

pub(crate) fn put_float(out: &mut Vec<u8>, number: f64) {
    out.extend_from_slice(&number.to_le_bytes());
}

pub(crate) fn take_float(rest: &mut &[u8]) -> Option<f64> {
    let (bytes, tail) = rest.split_first_chunk::<8>()?;
    *rest = tail;
    Some(f64::from_le_bytes(*bytes))
}
