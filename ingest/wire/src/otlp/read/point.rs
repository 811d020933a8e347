//! The points of metrics.

use super::{Attributes, Messages};
use crate::otlp::FLAG_NO_RECORDED_VALUE;
use crate::protobuf::{DecodeError, Field, Fields, Value};

/// One point of a gauge or a sum.
#[derive(Clone, Copy, Debug)]
pub struct NumberPoint<'a> {
    /// Since when a sum counts, nanoseconds since 1970; 0 where unknown.
    pub start_unix_nano: u64,
    /// When the value was read, nanoseconds since 1970.
    pub time_unix_nano: u64,
    /// The value; `None` where the point has none.
    pub value: Option<f64>,
    /// Whether the sender says that the series has gone ([`FLAG_NO_RECORDED_VALUE`]).
    pub gone: bool,
    /// Whether it has exemplars.
    pub has_exemplars: bool,
    /// What tells this point's series from the metric's others.
    pub attributes: Attributes<'a>,
}

impl<'a> NumberPoint<'a> {
    const NAME: &'static str = "NumberDataPoint";

    #[inline]
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let attributes = Attributes {
            message: Self::NAME,
            bytes,
            number: 7,
        };
        let mut point = Self {
            start_unix_nano: 0,
            time_unix_nano: 0,
            value: None,
            gone: false,
            has_exemplars: false,
            attributes,
        };
        for field in Fields::new(Self::NAME, bytes) {
            let field = field?;
            match field.number {
                2 => point.start_unix_nano = field.fixed64()?,
                3 => point.time_unix_nano = field.fixed64()?,
                4 => point.value = Some(field.double()?),
                5 => point.has_exemplars = true,
                6 => point.value = Some(field.fixed64()? as i64 as f64),
                8 => point.gone = is_gone(field)?,
                _ => {}
            }
        }
        Ok(point)
    }

    /// Single observations behind the value.
    #[must_use]
    pub fn exemplars(&self) -> Messages<'a, Exemplar<'a>> {
        Messages::new(Self::NAME, self.attributes.bytes, 5, Exemplar::read)
    }
}

/// One observation behind a point, with the trace that it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Exemplar<'a> {
    /// When it was observed, nanoseconds since 1970.
    pub time_unix_nano: u64,
    /// What was observed; `None` where the sender gives no value.
    pub value: Option<f64>,
    /// 16 bytes; empty where there is no trace.
    pub trace_id: &'a [u8],
    /// 8 bytes; empty where there is no trace.
    pub span_id: &'a [u8],
    /// Attributes of the observation that the point does not have.
    pub attributes: Attributes<'a>,
}

impl<'a> Exemplar<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let message = "Exemplar";
        let mut exemplar = Self {
            time_unix_nano: 0,
            value: None,
            trace_id: &[],
            span_id: &[],
            attributes: Attributes {
                message,
                bytes,
                number: 7,
            },
        };
        for field in Fields::new(message, bytes) {
            let field = field?;
            match field.number {
                2 => exemplar.time_unix_nano = field.fixed64()?,
                3 => exemplar.value = Some(field.double()?),
                4 => exemplar.span_id = field.bytes()?,
                5 => exemplar.trace_id = field.bytes()?,
                6 => exemplar.value = Some(field.fixed64()? as i64 as f64),
                _ => {}
            }
        }
        Ok(exemplar)
    }
}

fn is_gone(flags: Field<'_>) -> Result<bool, DecodeError> {
    Ok(flags.varint()? & u64::from(FLAG_NO_RECORDED_VALUE) != 0)
}

/// One point of an explicit histogram.
#[derive(Clone, Copy, Debug)]
pub struct HistogramPoint<'a> {
    bytes: &'a [u8],
    /// Since when it counts, nanoseconds since 1970; 0 where unknown.
    pub start_unix_nano: u64,
    /// When it was read, nanoseconds since 1970.
    pub time_unix_nano: u64,
    /// How many values were counted.
    pub count: u64,
    /// Their sum, where the sender gives it.
    pub sum: Option<f64>,
    /// Whether the sender says that the series has gone.
    pub gone: bool,
    /// Whether it has exemplars.
    pub has_exemplars: bool,
    /// What tells this point's series from the metric's others.
    pub attributes: Attributes<'a>,
}

impl<'a> HistogramPoint<'a> {
    const NAME: &'static str = "HistogramDataPoint";

    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let attributes = Attributes {
            message: Self::NAME,
            bytes,
            number: 9,
        };
        let mut point = Self {
            bytes,
            start_unix_nano: 0,
            time_unix_nano: 0,
            count: 0,
            sum: None,
            gone: false,
            has_exemplars: false,
            attributes,
        };
        for field in Fields::new(Self::NAME, bytes) {
            let field = field?;
            match field.number {
                2 => point.start_unix_nano = field.fixed64()?,
                3 => point.time_unix_nano = field.fixed64()?,
                4 => point.count = field.fixed64()?,
                5 => point.sum = Some(field.double()?),
                8 => point.has_exemplars = true,
                10 => point.gone = is_gone(field)?,
                _ => {}
            }
        }
        Ok(point)
    }

    /// Single observations behind the counts.
    #[must_use]
    pub fn exemplars(&self) -> Messages<'a, Exemplar<'a>> {
        Messages::new(Self::NAME, self.bytes, 8, Exemplar::read)
    }

    /// Counts by bucket, one more than there are bounds; not cumulative.
    #[must_use]
    pub fn bucket_counts(&self) -> Numbers<'a> {
        Numbers::new(Self::NAME, self.bytes, 6, false)
    }

    /// Upper bounds of all buckets but the last, as bits of doubles; see [`Numbers::doubles`].
    #[must_use]
    pub fn explicit_bounds(&self) -> Numbers<'a> {
        Numbers::new(Self::NAME, self.bytes, 7, false)
    }
}

/// One point of an exponential histogram.
#[derive(Clone, Copy, Debug)]
pub struct ExponentialHistogramPoint<'a> {
    /// Since when it counts, nanoseconds since 1970; 0 where unknown.
    pub start_unix_nano: u64,
    /// When it was read, nanoseconds since 1970.
    pub time_unix_nano: u64,
    /// How many values were counted.
    pub count: u64,
    /// Their sum, where the sender gives it.
    pub sum: Option<f64>,
    /// Bucket `i` ends at `2^(2^-scale · (i + 1))`.
    pub scale: i32,
    /// How many values were at most [`ExponentialHistogramPoint::zero_threshold`] from zero.
    pub zero_count: u64,
    /// Width of the bucket around zero.
    pub zero_threshold: f64,
    /// Buckets of positive values.
    pub positive: Buckets<'a>,
    /// Buckets of negative values.
    pub negative: Buckets<'a>,
    /// Whether the sender says that the series has gone.
    pub gone: bool,
    /// What tells this point's series from the metric's others.
    pub attributes: Attributes<'a>,
}

/// Buckets of one sign of an exponential histogram.
#[derive(Clone, Copy, Debug)]
pub struct Buckets<'a> {
    bytes: &'a [u8],
    /// Index of the first bucket.
    pub offset: i32,
}

impl<'a> Buckets<'a> {
    const NAME: &'static str = "Buckets";

    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut offset = 0;
        for field in Fields::new(Self::NAME, bytes) {
            let field = field?;
            if field.number == 1 {
                offset = field.sint32()?;
            }
        }
        Ok(Self { bytes, offset })
    }

    /// Counts of consecutive buckets from [`Buckets::offset`] on.
    #[must_use]
    pub fn counts(&self) -> Numbers<'a> {
        Numbers::new(Self::NAME, self.bytes, 2, true)
    }
}

impl<'a> ExponentialHistogramPoint<'a> {
    const NAME: &'static str = "ExponentialHistogramDataPoint";

    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let none = Buckets { bytes: &[], offset: 0 };
        let mut point = Self {
            start_unix_nano: 0,
            time_unix_nano: 0,
            count: 0,
            sum: None,
            scale: 0,
            zero_count: 0,
            zero_threshold: 0.0,
            positive: none,
            negative: none,
            gone: false,
            attributes: Attributes {
                message: Self::NAME,
                bytes,
                number: 1,
            },
        };
        for field in Fields::new(Self::NAME, bytes) {
            let field = field?;
            match field.number {
                2 => point.start_unix_nano = field.fixed64()?,
                3 => point.time_unix_nano = field.fixed64()?,
                4 => point.count = field.fixed64()?,
                5 => point.sum = Some(field.double()?),
                6 => point.scale = field.sint32()?,
                7 => point.zero_count = field.fixed64()?,
                8 => point.positive = Buckets::read(field.bytes()?)?,
                9 => point.negative = Buckets::read(field.bytes()?)?,
                10 => point.gone = is_gone(field)?,
                14 => point.zero_threshold = field.double()?,
                _ => {}
            }
        }
        Ok(point)
    }
}

/// One point of a summary.
#[derive(Clone, Copy, Debug)]
pub struct SummaryPoint<'a> {
    bytes: &'a [u8],
    /// Since when it counts, nanoseconds since 1970; 0 where unknown.
    pub start_unix_nano: u64,
    /// When it was read, nanoseconds since 1970.
    pub time_unix_nano: u64,
    /// How many values were counted.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Whether the sender says that the series has gone.
    pub gone: bool,
    /// What tells this point's series from the metric's others.
    pub attributes: Attributes<'a>,
}

impl<'a> SummaryPoint<'a> {
    const NAME: &'static str = "SummaryDataPoint";

    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let attributes = Attributes {
            message: Self::NAME,
            bytes,
            number: 7,
        };
        let mut point = Self {
            bytes,
            start_unix_nano: 0,
            time_unix_nano: 0,
            count: 0,
            sum: 0.0,
            gone: false,
            attributes,
        };
        for field in Fields::new(Self::NAME, bytes) {
            let field = field?;
            match field.number {
                2 => point.start_unix_nano = field.fixed64()?,
                3 => point.time_unix_nano = field.fixed64()?,
                4 => point.count = field.fixed64()?,
                5 => point.sum = field.double()?,
                8 => point.gone = is_gone(field)?,
                _ => {}
            }
        }
        Ok(point)
    }

    /// Quantile (0 to 1) and value of each.
    #[must_use]
    pub fn quantiles(&self) -> Messages<'a, (f64, f64)> {
        Messages::new(Self::NAME, self.bytes, 6, |bytes| {
            let (mut quantile, mut value) = (0.0, 0.0);
            for field in Fields::new("ValueAtQuantile", bytes) {
                let field = field?;
                match field.number {
                    1 => quantile = field.double()?,
                    2 => value = field.double()?,
                    _ => {}
                }
            }
            Ok((quantile, value))
        })
    }
}

/// A repeated field of numbers, packed or not: fixed64 as it stands, or varints.
#[derive(Clone, Debug)]
pub struct Numbers<'a> {
    fields: Fields<'a>,
    number: u32,
    varint: bool,
    packed: &'a [u8],
}

impl<'a> Numbers<'a> {
    pub(crate) fn new(message: &'static str, bytes: &'a [u8], number: u32, varint: bool) -> Self {
        Self {
            fields: Fields::new(message, bytes),
            number,
            varint,
            packed: &[],
        }
    }

    /// The same numbers as doubles.
    pub fn doubles(self) -> impl Iterator<Item = Result<f64, DecodeError>> + use<'a> {
        self.map(|bits| bits.map(f64::from_bits))
    }

    fn next_packed(&mut self) -> Result<u64, DecodeError> {
        let message = "packed numbers";
        if self.varint {
            let mut value = 0_u64;
            for (i, &byte) in self.packed.iter().take(10).enumerate() {
                value |= u64::from(byte & 0x7f) << (7 * i);
                if byte & 0x80 == 0 {
                    self.packed = &self.packed[i + 1..];
                    return Ok(value);
                }
            }
            return Err(DecodeError::Truncated { message });
        }
        let (head, tail) = self
            .packed
            .split_first_chunk::<8>()
            .ok_or(DecodeError::Truncated { message })?;
        self.packed = tail;
        Ok(u64::from_le_bytes(*head))
    }
}

impl Iterator for Numbers<'_> {
    type Item = Result<u64, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if !self.packed.is_empty() {
                let number = self.next_packed();
                if number.is_err() {
                    self.packed = &[];
                }
                return Some(number);
            }
            let field = match self.fields.next()? {
                Ok(field) => field,
                Err(error) => return Some(Err(error)),
            };
            if field.number != self.number {
                continue;
            }
            match field.value {
                Value::Bytes(bytes) => self.packed = bytes,
                _ if self.varint => return Some(field.varint()),
                _ => return Some(field.fixed64()),
            }
        }
    }
}
