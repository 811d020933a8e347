//! Native histograms of remote write and exponential ones of OTLP, as the store has them.

use std::sync::Arc;

use store::{BUCKETS_MAX, Bucket, CUSTOM_SCHEMA, Histogram, HistogramError, ResetHint, SCHEMA_MAX, SCHEMA_MIN};
use wire::DecodeError;
use wire::otlp::read::{Buckets, ExponentialHistogramPoint};
use wire::remote_write::histogram::{Count, Histogram as Encoded, Side};

/// How far the bucket around zero reaches where the sender does not say: as Prometheus' OTLP endpoint has it.
const ZERO_THRESHOLD: f64 = 1e-128;

/// A histogram of remote write; within, why it is none, although it can be decoded.
pub(crate) fn of_remote_write(encoded: &Encoded<'_>) -> Result<Result<Histogram, HistogramError>, DecodeError> {
    let integers = matches!(encoded.count, Count::Integer(_));
    let mut observed = Observed::default();
    let mut sides = [Vec::new(), Vec::new()];
    for (side, buckets) in [Side::Positive, Side::Negative].into_iter().zip(&mut sides) {
        let mut spans = Spans::default();
        let read = if integers {
            let mut count = 0_i64;
            let counts = encoded.deltas(side).map(|delta| {
                delta.map(|delta| {
                    count = count.wrapping_add(delta);
                    observed.add(count);
                    count as f64
                })
            });
            spans.read(encoded.spans(side), counts, buckets)?
        } else {
            spans.read(encoded.spans(side), encoded.counts(side), buckets)?
        };
        if let Err(error) = read {
            return Ok(Err(error));
        }
    }
    let bounds = encoded
        .bounds()
        .take(BUCKETS_MAX + 1)
        .collect::<Result<Vec<f64>, _>>()?;
    let Ok(schema) = i8::try_from(encoded.schema) else {
        return Ok(Err(HistogramError::Schema { schema: encoded.schema }));
    };
    let [positive, negative] = sides;
    let number = |count: Count| match count {
        Count::Integer(count) => count as f64,
        Count::Float(count) => count,
    };
    let histogram = Histogram {
        reset: ResetHint::of_number(encoded.reset_hint),
        schema,
        zero_threshold: encoded.zero_threshold,
        zero_count: number(encoded.zero_count),
        count: number(encoded.count),
        sum: encoded.sum,
        positive,
        negative,
        bounds: (schema == CUSTOM_SCHEMA || !bounds.is_empty()).then(|| Arc::from(bounds)),
    };
    if histogram.is_stale() {
        return Ok(Ok(Histogram::stale()));
    }
    if let (Count::Integer(count), Count::Integer(zero)) = (encoded.count, encoded.zero_count) {
        observed.add(zero.cast_signed());
        return Ok(observed.fit(count, histogram.sum).map(|()| histogram));
    }
    Ok(Ok(histogram))
}

/// An exponential histogram of OTLP; within, why it is none, although it can be decoded.
pub(crate) fn of_otlp(point: &ExponentialHistogramPoint<'_>) -> Result<Result<Histogram, HistogramError>, DecodeError> {
    if point.gone {
        return Ok(Ok(Histogram::stale()));
    }
    if point.scale < SCHEMA_MIN.into() {
        return Ok(Err(HistogramError::Schema { schema: point.scale }));
    }
    // Finer buckets are put together until they are as fine as Prometheus has them.
    let scale_down = (point.scale - i32::from(SCHEMA_MAX)).max(0);
    let mut observed = Observed::default();
    observed.add(point.zero_count.cast_signed());
    let mut side = |buckets: &Buckets<'_>| merged(buckets, scale_down.min(31), &mut observed);
    let (positive, negative) = (side(&point.positive)?, side(&point.negative)?);
    let (positive, negative) = match (positive, negative) {
        (Ok(positive), Ok(negative)) => (positive, negative),
        (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
    };
    let sum = point.sum.unwrap_or(0.0);
    let histogram = Histogram {
        schema: (point.scale - scale_down) as i8,
        zero_threshold: if point.zero_threshold > 0.0 {
            point.zero_threshold
        } else {
            ZERO_THRESHOLD
        },
        zero_count: point.zero_count as f64,
        count: point.count as f64,
        sum,
        positive,
        negative,
        ..Histogram::default()
    };
    Ok(observed.fit(point.count, sum).map(|()| histogram))
}

/// Buckets of OTLP, whose bucket 0 begins at 1, as buckets of Prometheus, whose bucket 0 ends there.
fn merged(
    buckets: &Buckets<'_>,
    scale_down: i32,
    observed: &mut Observed,
) -> Result<Result<Vec<Bucket>, HistogramError>, DecodeError> {
    let mut out: Vec<Bucket> = Vec::new();
    for (i, count) in buckets.counts().enumerate() {
        let count = count?;
        if count == 0 {
            continue;
        }
        observed.add(count.cast_signed());
        let index = ((i64::from(buckets.offset) + i as i64) >> scale_down) + 1;
        let Ok(index) = i32::try_from(index) else {
            return Ok(Err(HistogramError::Index {
                index,
                schema: SCHEMA_MAX,
            }));
        };
        let full = out.len() >= BUCKETS_MAX;
        match out.last_mut() {
            Some(last) if last.index == index => last.count += count as f64,
            _ if full => return Ok(Err(HistogramError::TooMany)),
            _ => out.push(Bucket {
                index,
                count: count as f64,
            }),
        }
    }
    Ok(Ok(out))
}

/// Integer observations in buckets.
#[derive(Default)]
struct Observed {
    sum: u64,
    negative: Option<i64>,
}

impl Observed {
    fn add(&mut self, count: i64) {
        if count < 0 {
            self.negative = Some(count);
        }
        self.sum = self.sum.saturating_add_signed(count);
    }

    /// Whether buckets hold all `count` observations; all but NaN ones, whose sum is NaN.
    fn fit(&self, count: u64, sum: f64) -> Result<(), HistogramError> {
        if let Some(count) = self.negative {
            return Err(HistogramError::NegativeCount { count: count as f64 });
        }
        if self.sum == count || (sum.is_nan() && self.sum < count) {
            return Ok(());
        }
        Err(HistogramError::Count {
            count,
            buckets: self.sum,
        })
    }
}

/// Buckets by runs of consecutive ones.
#[derive(Default)]
struct Spans {
    named: u64,
    counted: u64,
}

impl Spans {
    /// Gathers populated buckets.
    fn read(
        &mut self,
        spans: impl Iterator<Item = Result<(i32, u32), DecodeError>>,
        counts: impl Iterator<Item = Result<f64, DecodeError>>,
        out: &mut Vec<Bucket>,
    ) -> Result<Result<(), HistogramError>, DecodeError> {
        let mut counts = counts.fuse();
        let mut index = 0_i64;
        for (i, span) in spans.enumerate() {
            let (offset, length) = span?;
            if i > 0 && offset < 0 {
                return Ok(Err(HistogramError::Order));
            }
            index += i64::from(offset);
            self.named += u64::from(length);
            for _ in 0..length {
                // No further than there are counts, whatever length a span claims.
                let Some(count) = counts.next() else { break };
                let count = count?;
                self.counted += 1;
                if count != 0.0 {
                    if out.len() >= BUCKETS_MAX {
                        return Ok(Err(HistogramError::TooMany));
                    }
                    let Ok(own) = i32::try_from(index) else {
                        return Ok(Err(HistogramError::Index { index, schema: 0 }));
                    };
                    out.push(Bucket { index: own, count });
                }
                index += 1;
            }
        }
        for count in counts {
            count?;
            self.counted += 1;
        }
        if self.named != self.counted {
            return Ok(Err(HistogramError::Spans {
                spans: self.named,
                counts: self.counted,
            }));
        }
        Ok(Ok(()))
    }
}
