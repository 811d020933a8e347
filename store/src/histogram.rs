//! Native histograms: counts by buckets of exponentially growing width, or by buckets with bounds of their own.
//!
//! What Prometheus calls a float histogram. Senders count in integers; they become floats here, which hold integers up to 2^53
//! exactly, as they do in every PromQL query. Buckets without observations are not kept, so that two histograms which say the
//! same are the same.

use std::sync::Arc;

mod bound;
pub(crate) mod row;
#[cfg(test)]
mod tests;

pub(crate) use bound::exponential_bound;

use crate::series::{STALE_NAN_BITS, Timeline};

/// The schema of histograms whose buckets have bounds of their own.
pub const CUSTOM_SCHEMA: i8 = -53;
/// The coarsest exponential schema: each bucket is 65,536 times as wide as the one before.
pub const SCHEMA_MIN: i8 = -4;
/// The finest exponential schema: 256 buckets for each power of two.
pub const SCHEMA_MAX: i8 = 8;
/// Most populated buckets of one sign, and most bounds of its own, that a histogram may have. Senders default to 160.
pub const BUCKETS_MAX: usize = 4096;

/// Buckets of all finite numbers have indexes well below this: 1,074 powers of two, 256 buckets each.
const INDEX_MAX: i32 = 1 << 19;

/// What the sender says about the samples before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ResetHint {
    /// Nothing: whether a counter was reset is seen from the counts.
    #[default]
    Unknown,
    /// The counter was reset before this sample.
    Reset,
    /// It was not.
    NotReset,
    /// This is no counter.
    Gauge,
}

impl ResetHint {
    /// The number that protobuf and our files have for it.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Reset => 1,
            Self::NotReset => 2,
            Self::Gauge => 3,
        }
    }

    /// The hint with this number; unknown for all others.
    #[must_use]
    pub const fn of_number(number: u8) -> Self {
        match number {
            1 => Self::Reset,
            2 => Self::NotReset,
            3 => Self::Gauge,
            _ => Self::Unknown,
        }
    }
}

/// A populated bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Which one. Exponential: it ends, inclusively, at `2^(index / 2^schema)`. With bounds of its own: at `bounds[index]`, the
    /// last one at infinity.
    pub index: i32,
    /// How many observations fell into it.
    pub count: f64,
}

/// One sample of a native histogram.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// What the sender says about the samples before.
    pub reset: ResetHint,
    /// How fine the buckets are, [`SCHEMA_MIN`] to [`SCHEMA_MAX`], or [`CUSTOM_SCHEMA`].
    pub schema: i8,
    /// Observations at most this far from zero are in the bucket around zero.
    pub zero_threshold: f64,
    /// How many they are.
    pub zero_count: f64,
    /// How many observations there are in all; more than in all buckets where some were NaN.
    pub count: f64,
    /// Their sum. The staleness marker marks the series as gone.
    pub sum: f64,
    /// Populated buckets of positive observations, by index.
    pub positive: Vec<Bucket>,
    /// Populated buckets of negative observations, by index: away from zero.
    pub negative: Vec<Bucket>,
    /// Upper bounds of all buckets but the last, where the schema is [`CUSTOM_SCHEMA`].
    pub bounds: Option<Arc<[f64]>>,
}

/// To the bit, as all samples are compared: NaN equals itself, 0 and -0 differ.
impl PartialEq for Histogram {
    fn eq(&self, other: &Self) -> bool {
        let numbers = |h: &Self| [h.zero_threshold, h.zero_count, h.count, h.sum].map(f64::to_bits);
        self.reset == other.reset
            && self.schema == other.schema
            && numbers(self) == numbers(other)
            && same_buckets(&self.positive, &other.positive)
            && same_buckets(&self.negative, &other.negative)
            && same_bounds(self.own_bounds(), other.own_bounds())
    }
}

pub(crate) fn same_buckets(a: &[Bucket], b: &[Bucket]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| a.index == b.index && a.count.to_bits() == b.count.to_bits())
}

pub(crate) fn same_bounds(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// Why a histogram is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HistogramError {
    /// A schema that is neither exponential nor custom.
    #[error("schema {schema} is not one of {SCHEMA_MIN} to {SCHEMA_MAX} and {CUSTOM_SCHEMA}")]
    Schema {
        /// The schema.
        schema: i32,
    },
    /// A bucket that cannot be.
    #[error("a bucket has index {index}, which schema {schema} has no bucket for")]
    Index {
        /// The index.
        index: i64,
        /// The schema.
        schema: i8,
    },
    /// Buckets that do not ascend.
    #[error("the buckets do not ascend")]
    Order,
    /// A bucket that holds less than nothing.
    #[error("a bucket holds {count} observations")]
    NegativeCount {
        /// Its count.
        count: f64,
    },
    /// Bounds that do not ascend, or are not finite.
    #[error("bounds of its own must be finite and ascend")]
    Bounds,
    /// What only an exponential histogram has in a custom one, or the other way round.
    #[error("a histogram with schema {schema} has no {what}")]
    Misplaced {
        /// The schema.
        schema: i8,
        /// What it has.
        what: &'static str,
    },
    /// More buckets or bounds than are taken.
    #[error("it has more than {BUCKETS_MAX} buckets")]
    TooMany,
    /// Spans and counts that do not belong together.
    #[error("its spans name {spans} buckets, it has counts of {counts}")]
    Spans {
        /// Buckets by the spans.
        spans: u64,
        /// Counts.
        counts: u64,
    },
    /// Integer counts that contradict each other.
    #[error("it counts {count} observations, its buckets hold {buckets}")]
    Count {
        /// Of all.
        count: u64,
        /// In all buckets.
        buckets: u64,
    },
}

impl Histogram {
    /// The histogram that marks its series as gone.
    #[must_use]
    pub fn stale() -> Self {
        Self {
            sum: f64::from_bits(STALE_NAN_BITS),
            ..Self::default()
        }
    }

    /// Whether it marks its series as gone.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.sum.to_bits() == STALE_NAN_BITS
    }

    /// Whether its buckets have bounds of their own.
    #[must_use]
    pub fn is_custom(&self) -> bool {
        self.schema == CUSTOM_SCHEMA
    }

    /// Its own bounds, none where the schema is exponential.
    #[must_use]
    pub fn own_bounds(&self) -> &[f64] {
        self.bounds.as_deref().unwrap_or(&[])
    }

    /// The same histogram, if it is one: markers of staleness lose all that says nothing, empty buckets go.
    ///
    /// # Errors
    /// [`HistogramError`] where it contradicts itself.
    pub fn checked(mut self) -> Result<Self, HistogramError> {
        if self.is_stale() {
            return Ok(Self::stale());
        }
        self.check()?;
        self.drop_empty();
        Ok(self)
    }

    fn check(&self) -> Result<(), HistogramError> {
        let schema = self.schema;
        let exponential = (SCHEMA_MIN..=SCHEMA_MAX).contains(&schema);
        if !exponential && !self.is_custom() {
            return Err(HistogramError::Schema { schema: schema.into() });
        }
        let bounds = self.own_bounds();
        if self.positive.len().max(self.negative.len()).max(bounds.len()) > BUCKETS_MAX {
            return Err(HistogramError::TooMany);
        }
        let misplaced = |what| Err(HistogramError::Misplaced { schema, what });
        let (least, most) = if exponential {
            if self.bounds.is_some() {
                return misplaced("bounds of its own");
            }
            (-INDEX_MAX, INDEX_MAX)
        } else {
            if self.zero_count != 0.0 || self.zero_threshold != 0.0 {
                return misplaced("bucket around zero");
            }
            if !self.negative.is_empty() {
                return misplaced("negative buckets");
            }
            if bounds.iter().any(|b| !b.is_finite()) || bounds.windows(2).any(|pair| pair[0] >= pair[1]) {
                return Err(HistogramError::Bounds);
            }
            (0, bounds.len() as i32)
        };
        for buckets in [&self.positive, &self.negative] {
            if buckets.windows(2).any(|pair| pair[0].index >= pair[1].index) {
                return Err(HistogramError::Order);
            }
            for &Bucket { index, count } in buckets {
                if !(least..=most).contains(&index) {
                    return Err(HistogramError::Index {
                        index: index.into(),
                        schema,
                    });
                }
                if count < 0.0 {
                    return Err(HistogramError::NegativeCount { count });
                }
            }
        }
        Ok(())
    }

    /// Drops buckets without observations.
    pub(crate) fn drop_empty(&mut self) {
        self.positive.retain(|bucket| bucket.count != 0.0);
        self.negative.retain(|bucket| bucket.count != 0.0);
    }

    /// The upper end of positive bucket `index`; that of `index - 1` is its lower one.
    #[must_use]
    pub(crate) fn bound(&self, index: i32) -> f64 {
        if !self.is_custom() {
            return exponential_bound(index, self.schema);
        }
        match usize::try_from(index) {
            Ok(i) => self.own_bounds().get(i).copied().unwrap_or(f64::INFINITY),
            Err(_) => f64::NEG_INFINITY,
        }
    }

    /// Bytes of memory, about.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + (self.positive.capacity() + self.negative.capacity()) * size_of::<Bucket>()
    }

    /// All populated buckets with their ends, from the lowest to the highest.
    pub fn spans(&self) -> impl DoubleEndedIterator<Item = Span> + '_ {
        // Where the bucket around zero reaches into another one, that one begins after it.
        self.whole_spans().map(|mut span| {
            if span.upper < 0.0 && span.upper > -self.zero_threshold {
                span.upper = -self.zero_threshold;
            }
            if span.lower > 0.0 && span.lower < self.zero_threshold {
                span.lower = self.zero_threshold;
            }
            span
        })
    }

    /// The same, whatever the bucket around zero reaches into.
    pub(crate) fn whole_spans(&self) -> impl DoubleEndedIterator<Item = Span> + '_ {
        let negative = self.negative.iter().rev().map(|b| self.span(b, true));
        let zero = (self.zero_count > 0.0 && !self.is_custom()).then_some(Span {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            closed: (true, true),
            count: self.zero_count,
        });
        let positive = self.positive.iter().map(|b| self.span(b, false));
        negative.chain(zero).chain(positive)
    }

    fn span(&self, bucket: &Bucket, negative: bool) -> Span {
        let (far, near) = (self.bound(bucket.index), self.bound(bucket.index - 1));
        let (lower, upper) = if negative { (-far, -near) } else { (near, far) };
        let closed = if self.is_custom() {
            (bucket.index == 0, true)
        } else {
            (lower < 0.0, upper > 0.0)
        };
        Span {
            lower,
            upper,
            closed,
            count: bucket.count,
        }
    }
}

/// A populated bucket with its ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Whether the lower, and whether the upper end belongs to it.
    pub closed: (bool, bool),
    /// How many observations fell into it.
    pub count: f64,
}

/// Histograms over time.
pub type Histograms = Timeline<Arc<Histogram>>;

impl Histograms {
    /// Timestamp and histogram of each sample.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &Arc<Histogram>)> + '_ {
        self.timestamps.iter().copied().zip(&self.values)
    }

    /// Merges `newer`, ascending, into these; of equal timestamps the newer stays.
    pub(crate) fn overlay(&mut self, newer: Self) {
        if newer.is_empty() {
            return;
        }
        if self.timestamps.last() < newer.timestamps.first() {
            self.timestamps.extend(newer.timestamps);
            self.values.extend(newer.values);
            return;
        }
        let mut all: Vec<(i64, Arc<Histogram>)> = self.timestamps.drain(..).zip(self.values.drain(..)).collect();
        all.extend(newer.timestamps.into_iter().zip(newer.values));
        // Stable: of equal timestamps the newer one stays last, and wins.
        all.sort_by_key(|(at, _)| *at);
        for (at, value) in all {
            if self.timestamps.last() == Some(&at) {
                if let Some(last) = self.values.last_mut() {
                    *last = value;
                }
            } else {
                self.push(at, value);
            }
        }
    }

    /// Drops what lies within, both ends included.
    pub(crate) fn remove(&mut self, start_ms: i64, end_ms: i64) {
        let first = self.timestamps.partition_point(|t| *t < start_ms);
        let end = self.timestamps.partition_point(|t| *t <= end_ms).max(first);
        self.timestamps.drain(first..end);
        self.values.drain(first..end);
    }

    /// Drops what lies outside.
    pub(crate) fn keep(&mut self, start_ms: i64, end_ms: i64) {
        let end = self.timestamps.partition_point(|t| *t <= end_ms);
        self.timestamps.truncate(end);
        self.values.truncate(end);
        let start = self.timestamps.partition_point(|t| *t < start_ms);
        self.timestamps.drain(..start);
        self.values.drain(..start);
    }
}
