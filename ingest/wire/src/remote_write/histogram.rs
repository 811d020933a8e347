//! Native histograms of remote write, whose message versions 1.0 and 2.0 share.

use crate::otlp::read::Numbers;
use crate::protobuf::{DecodeError, Fields};

/// A native histogram at one time: its buckets are still encoded.
#[derive(Clone, Copy, Debug)]
pub struct Histogram<'a> {
    bytes: &'a [u8],
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// Observations in all. Whether it is an integer says how buckets are encoded.
    pub count: Count,
    /// Observations around zero.
    pub zero_count: Count,
    /// Sum of observations; the staleness marker marks the series as gone.
    pub sum: f64,
    /// How fine the buckets are: -4 to 8, or -53 for bounds of its own.
    pub schema: i32,
    /// How far the bucket around zero reaches.
    pub zero_threshold: f64,
    /// 0 unknown, 1 counter reset, 2 no reset, 3 gauge.
    pub reset_hint: u8,
}

/// A number of observations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Count {
    /// Of an integer histogram.
    Integer(u64),
    /// Of a float histogram.
    Float(f64),
}

/// Which buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Of positive observations.
    Positive,
    /// Of negative observations.
    Negative,
}

impl Side {
    /// Fields of spans, of deltas and of counts.
    const fn fields(self) -> [u32; 3] {
        match self {
            Self::Negative => [8, 9, 10],
            Self::Positive => [11, 12, 13],
        }
    }
}

impl<'a> Histogram<'a> {
    const NAME: &'static str = "Histogram";

    /// Reads the message; buckets are read when they are asked for.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are none.
    pub fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut histogram = Self {
            bytes,
            at_ms: 0,
            count: Count::Integer(0),
            zero_count: Count::Integer(0),
            sum: 0.0,
            schema: 0,
            zero_threshold: 0.0,
            reset_hint: 0,
        };
        for field in Fields::new(Self::NAME, bytes) {
            let field = field?;
            match field.number {
                1 => histogram.count = Count::Integer(field.varint()?),
                2 => histogram.count = Count::Float(field.double()?),
                3 => histogram.sum = field.double()?,
                4 => histogram.schema = field.sint32()?,
                5 => histogram.zero_threshold = field.double()?,
                6 => histogram.zero_count = Count::Integer(field.varint()?),
                7 => histogram.zero_count = Count::Float(field.double()?),
                14 => histogram.reset_hint = u8::try_from(field.varint()?).unwrap_or(0),
                15 => histogram.at_ms = field.varint()? as i64,
                _ => {}
            }
        }
        Ok(histogram)
    }

    /// Offset and length of each run of consecutive buckets: the first offset is an index, the others are gaps.
    pub fn spans(&self, side: Side) -> impl Iterator<Item = Result<(i32, u32), DecodeError>> + use<'a> {
        let [number, ..] = side.fields();
        Fields::new(Self::NAME, self.bytes).filter_map(move |field| {
            let span = match field {
                Ok(field) if field.number != number => return None,
                field => field.and_then(|field| field.bytes()),
            };
            Some(span.and_then(|bytes| {
                let (mut offset, mut length) = (0, 0);
                for field in Fields::new("BucketSpan", bytes) {
                    let field = field?;
                    match field.number {
                        1 => offset = field.sint32()?,
                        2 => length = u32::try_from(field.varint()?).unwrap_or(u32::MAX),
                        _ => {}
                    }
                }
                Ok((offset, length))
            }))
        })
    }

    /// Differences of the counts of buckets of an integer histogram, the first one to zero.
    pub fn deltas(&self, side: Side) -> impl Iterator<Item = Result<i64, DecodeError>> + use<'a> {
        let [_, number, _] = side.fields();
        Numbers::new(Self::NAME, self.bytes, number, true).map(|raw| raw.map(|n| (n >> 1) as i64 ^ -((n & 1) as i64)))
    }

    /// Counts of buckets of a float histogram.
    pub fn counts(&self, side: Side) -> impl Iterator<Item = Result<f64, DecodeError>> + use<'a> {
        let [.., number] = side.fields();
        Numbers::new(Self::NAME, self.bytes, number, false).doubles()
    }

    /// Upper bounds of all buckets but the last, for schema -53.
    pub fn bounds(&self) -> impl Iterator<Item = Result<f64, DecodeError>> + use<'a> {
        Numbers::new(Self::NAME, self.bytes, 16, false).doubles()
    }
}
