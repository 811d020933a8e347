//! Reads OTLP metrics requests without copying them.
//!
//! [`request`] walks `resource → scope → metric → point → attribute`; each level is read when it is asked for, so a caller
//! that needs all or nothing goes through the whole body before it acts. Unknown fields are skipped. Where a message that may
//! stand once stands twice, the later one counts (protobuf would merge them; no sender writes that).

pub mod logs;

use std::fmt::Write as _;

use crate::otlp::{FLAG_NO_RECORDED_VALUE, Temporality};
use crate::protobuf::{DecodeError, Field, Fields, Value};

/// How deep arrays and maps may nest inside an attribute's value.
const VALUE_DEPTH: u8 = 16;

/// The resources of an `ExportMetricsServiceRequest`.
#[must_use]
pub fn request(body: &[u8]) -> Messages<'_, ResourceMetrics<'_>> {
    Messages::new("ExportMetricsServiceRequest", body, 1, ResourceMetrics::read)
}

/// The messages of one repeated field.
#[derive(Clone, Debug)]
pub struct Messages<'a, T> {
    fields: Fields<'a>,
    number: u32,
    read: fn(&'a [u8]) -> Result<T, DecodeError>,
}

impl<'a, T> Messages<'a, T> {
    fn new(message: &'static str, bytes: &'a [u8], number: u32, read: fn(&'a [u8]) -> Result<T, DecodeError>) -> Self {
        Self {
            fields: Fields::new(message, bytes),
            number,
            read,
        }
    }
}

impl<T> Iterator for Messages<'_, T> {
    type Item = Result<T, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.fields.next()? {
                Ok(field) if field.number != self.number => {}
                field => return Some(field.and_then(Field::bytes).and_then(self.read)),
            }
        }
    }
}

/// What one resource (a host, a process) sent.
#[derive(Clone, Copy, Debug)]
pub struct ResourceMetrics<'a> {
    bytes: &'a [u8],
    /// Attributes of the resource, such as `host.name`.
    pub resource: Attributes<'a>,
}

impl<'a> ResourceMetrics<'a> {
    const NAME: &'static str = "ResourceMetrics";

    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut resource = Attributes {
            message: "Resource",
            bytes: &[],
            number: 1,
        };
        for field in Fields::new(Self::NAME, bytes) {
            let field = field?;
            if field.number == 1 {
                resource.bytes = field.bytes()?;
            }
        }
        Ok(Self { bytes, resource })
    }

    /// The instrumentation scopes of the resource.
    #[must_use]
    pub fn scopes(&self) -> Messages<'a, ScopeMetrics<'a>> {
        Messages::new(Self::NAME, self.bytes, 2, ScopeMetrics::read)
    }
}

/// What one instrumentation scope (a library, a receiver) measured.
#[derive(Clone, Copy, Debug)]
pub struct ScopeMetrics<'a> {
    bytes: &'a [u8],
    /// Name of the scope, often empty.
    pub name: &'a str,
    /// Version of the scope, often empty.
    pub version: &'a str,
    /// URL of the schema that its names follow, often empty.
    pub schema_url: &'a str,
    /// Attributes of the scope.
    pub attributes: Attributes<'a>,
}

impl<'a> ScopeMetrics<'a> {
    const NAME: &'static str = "ScopeMetrics";

    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (mut scope, mut schema_url): (&[u8], &str) = (&[], "");
        for field in Fields::new(Self::NAME, bytes) {
            let field = field?;
            match field.number {
                1 => scope = field.bytes()?,
                3 => schema_url = field.text()?,
                _ => {}
            }
        }
        let (mut name, mut version) = ("", "");
        for field in Fields::new("InstrumentationScope", scope) {
            let field = field?;
            match field.number {
                1 => name = field.text()?,
                2 => version = field.text()?,
                _ => {}
            }
        }
        let attributes = Attributes {
            message: "InstrumentationScope",
            bytes: scope,
            number: 3,
        };
        Ok(Self {
            bytes,
            name,
            version,
            schema_url,
            attributes,
        })
    }

    /// The metrics of the scope.
    #[must_use]
    pub fn metrics(&self) -> Messages<'a, Metric<'a>> {
        Messages::new(Self::NAME, self.bytes, 2, Metric::read)
    }
}

/// One metric with its points.
#[derive(Clone, Copy, Debug)]
pub struct Metric<'a> {
    /// OpenTelemetry name.
    pub name: &'a str,
    /// What it tells.
    pub description: &'a str,
    /// UCUM unit.
    pub unit: &'a str,
    /// Its points; `None` where the sender gave none or a kind that is younger than this reader.
    pub data: Option<Data<'a>>,
}

/// The points of a metric, by kind.
#[derive(Clone, Copy, Debug)]
pub enum Data<'a> {
    /// Values that stand for themselves.
    Gauge(Points<'a>),
    /// Sums since a start or since the point before.
    Sum {
        /// The points.
        points: Points<'a>,
        /// Since when each point counts.
        temporality: Temporality,
        /// Whether the sum only grows.
        monotonic: bool,
    },
    /// Counts by bucket with explicit bounds.
    Histogram {
        /// The points.
        points: Points<'a>,
        /// Since when each point counts.
        temporality: Temporality,
    },
    /// Counts by bucket of exponentially growing width.
    ExponentialHistogram {
        /// The points.
        points: Points<'a>,
        /// Since when each point counts.
        temporality: Temporality,
    },
    /// Quantiles computed by the sender.
    Summary(Points<'a>),
}

/// The points of one metric, still encoded. Which iterator fits depends on the kind of [`Data`] that holds them.
#[derive(Clone, Copy, Debug)]
pub struct Points<'a> {
    message: &'static str,
    bytes: &'a [u8],
}

impl<'a> Points<'a> {
    /// Points of a gauge or a sum.
    #[must_use]
    pub fn numbers(&self) -> Messages<'a, NumberPoint<'a>> {
        Messages::new(self.message, self.bytes, 1, NumberPoint::read)
    }

    /// Points of an explicit histogram.
    #[must_use]
    pub fn histograms(&self) -> Messages<'a, HistogramPoint<'a>> {
        Messages::new(self.message, self.bytes, 1, HistogramPoint::read)
    }

    /// Points of an exponential histogram.
    #[must_use]
    pub fn exponential_histograms(&self) -> Messages<'a, ExponentialHistogramPoint<'a>> {
        Messages::new(self.message, self.bytes, 1, ExponentialHistogramPoint::read)
    }

    /// Points of a summary.
    #[must_use]
    pub fn summaries(&self) -> Messages<'a, SummaryPoint<'a>> {
        Messages::new(self.message, self.bytes, 1, SummaryPoint::read)
    }

    /// How many points there are, for a refusal that names their number.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes between them are no fields. The points themselves are not looked into.
    pub fn count(&self) -> Result<u64, DecodeError> {
        Fields::new(self.message, self.bytes).try_fold(0, |n, field| Ok(n + u64::from(field?.number == 1)))
    }
}

impl<'a> Metric<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut metric = Self {
            name: "",
            description: "",
            unit: "",
            data: None,
        };
        let mut data = None;
        for field in Fields::new("Metric", bytes) {
            let field = field?;
            match field.number {
                1 => metric.name = field.text()?,
                2 => metric.description = field.text()?,
                3 => metric.unit = field.text()?,
                5 | 7 | 9 | 10 | 11 => data = Some((field.number, field.bytes()?)),
                _ => {}
            }
        }
        metric.data = data.map(|(number, bytes)| Data::read(number, bytes)).transpose()?;
        Ok(metric)
    }
}

impl<'a> Data<'a> {
    fn read(number: u32, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let message = match number {
            5 => "Gauge",
            7 => "Sum",
            9 => "Histogram",
            10 => "ExponentialHistogram",
            _ => "Summary",
        };
        let points = Points { message, bytes };
        if matches!(number, 5 | 11) {
            return Ok(if number == 5 {
                Self::Gauge(points)
            } else {
                Self::Summary(points)
            });
        }
        let (mut temporality, mut monotonic) = (Temporality::Unspecified, false);
        for field in Fields::new(message, bytes) {
            let field = field?;
            match field.number {
                2 => {
                    temporality = match field.varint()? {
                        1 => Temporality::Delta,
                        2 => Temporality::Cumulative,
                        _ => Temporality::Unspecified,
                    }
                }
                3 if number == 7 => monotonic = field.varint()? != 0,
                _ => {}
            }
        }
        Ok(match number {
            7 => Self::Sum {
                points,
                temporality,
                monotonic,
            },
            9 => Self::Histogram { points, temporality },
            _ => Self::ExponentialHistogram { points, temporality },
        })
    }
}

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
    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
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
    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
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

    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
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

    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
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

    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
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

    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
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

/// The attributes of one message, still encoded.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    message: &'static str,
    bytes: &'a [u8],
    number: u32,
}

impl<'a> Attributes<'a> {
    /// Key and value of each, in the order of the bytes.
    #[must_use]
    pub fn iter(&self) -> Messages<'a, (&'a str, AnyValue<'a>)> {
        Messages::new(self.message, self.bytes, self.number, AnyValue::read_pair)
    }

    /// The encoded pairs, for a hash over them; nothing inside them is checked.
    pub fn raw(&self) -> impl Iterator<Item = Result<&'a [u8], DecodeError>> + use<'a> {
        Messages::new(self.message, self.bytes, self.number, Ok)
    }
}

impl<'a> IntoIterator for &Attributes<'a> {
    type Item = Result<(&'a str, AnyValue<'a>), DecodeError>;
    type IntoIter = Messages<'a, (&'a str, AnyValue<'a>)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The value of an attribute.
#[derive(Clone, Copy, Debug)]
pub enum AnyValue<'a> {
    /// No value at all.
    Empty,
    /// Text.
    Text(&'a str),
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A double.
    Double(f64),
    /// Several values.
    Array(Encoded<'a>),
    /// Keys with values.
    Map(Encoded<'a>),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// The bytes of an array or a map, not looked into yet.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a>(&'a [u8]);

impl<'a> AnyValue<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut value = Self::Empty;
        for field in Fields::new("AnyValue", bytes) {
            let field = field?;
            value = match field.number {
                1 => Self::Text(field.text()?),
                2 => Self::Bool(field.varint()? != 0),
                3 => Self::Int(field.varint()? as i64),
                4 => Self::Double(field.double()?),
                5 => Self::Array(Encoded(field.bytes()?)),
                6 => Self::Map(Encoded(field.bytes()?)),
                7 => Self::Bytes(field.bytes()?),
                _ => continue,
            };
        }
        Ok(value)
    }

    fn read_pair(bytes: &'a [u8]) -> Result<(&'a str, Self), DecodeError> {
        let (mut key, mut value) = ("", Self::Empty);
        for field in Fields::new("KeyValue", bytes) {
            let field = field?;
            match field.number {
                1 => key = field.text()?,
                2 => value = Self::read(field.bytes()?)?,
                _ => {}
            }
        }
        Ok((key, value))
    }

    /// The value as text: itself where it is text, else written into `scratch`, which is cleared before.
    ///
    /// Written as the OpenTelemetry Collector does (`pcommon.Value.AsString`): `true`, `-7`, `0.5`, `1e+21`, JSON for arrays
    /// and maps (keys sorted), Base64 for bytes, nothing for no value.
    ///
    /// # Errors
    /// [`DecodeError`] where an array or a map is malformed or nested more than 16 deep.
    pub fn text<'s>(&self, scratch: &'s mut String) -> Result<&'s str, DecodeError>
    where
        'a: 's,
    {
        scratch.clear();
        match *self {
            Self::Empty => {}
            Self::Text(text) => return Ok(text),
            Self::Bytes(bytes) => put_base64(scratch, bytes),
            _ => self.put_json(scratch, 0)?,
        }
        Ok(scratch)
    }

    fn put_json(&self, out: &mut String, depth: u8) -> Result<(), DecodeError> {
        if depth > VALUE_DEPTH {
            return Err(DecodeError::TooDeep {
                message: "AnyValue",
                limit: VALUE_DEPTH,
            });
        }
        match *self {
            Self::Empty => out.push_str("null"),
            Self::Text(text) => put_json_text(out, text),
            Self::Bool(value) => out.push_str(if value { "true" } else { "false" }),
            // Writing into a string cannot fail.
            Self::Int(value) => write!(out, "{value}").unwrap_or_default(),
            Self::Double(value) => put_double(out, value),
            Self::Bytes(bytes) => {
                out.push('"');
                put_base64(out, bytes);
                out.push('"');
            }
            Self::Array(Encoded(bytes)) => {
                let mut separator = '[';
                for value in Messages::new("ArrayValue", bytes, 1, Self::read) {
                    out.push(separator);
                    value?.put_json(out, depth + 1)?;
                    separator = ',';
                }
                out.push_str(if separator == '[' { "[]" } else { "]" });
            }
            Self::Map(Encoded(bytes)) => {
                let mut pairs =
                    Messages::new("KeyValueList", bytes, 1, Self::read_pair).collect::<Result<Vec<_>, _>>()?;
                pairs.sort_by_key(|(key, _)| *key);
                let mut separator = '{';
                for (key, value) in pairs {
                    out.push(separator);
                    put_json_text(out, key);
                    out.push(':');
                    value.put_json(out, depth + 1)?;
                    separator = ',';
                }
                out.push_str(if separator == '{' { "{}" } else { "}" });
            }
        }
        Ok(())
    }
}

/// As Go's `encoding/json` writes doubles: plain from 1e-6 up to 1e21, else with an exponent.
fn put_double(out: &mut String, value: f64) {
    let size = value.abs();
    let written = if !value.is_finite() {
        let name = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        };
        write!(out, "json: unsupported value: {name}")
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        match text.split_once('e') {
            Some((digits, power)) if !power.starts_with('-') => write!(out, "{digits}e+{power}"),
            _ => write!(out, "{text}"),
        }
    } else {
        write!(out, "{value}")
    };
    // Writing into a string cannot fail.
    written.unwrap_or_default();
}

fn put_json_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Writing into a string cannot fail.
            c if c < ' ' => write!(out, "\\u{:04x}", c as u32).unwrap_or_default(),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn put_base64(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for three in bytes.chunks(3) {
        let bits = three
            .iter()
            .enumerate()
            .fold(0_u32, |bits, (i, b)| bits | u32::from(*b) << (16 - 8 * i));
        for i in 0..4 {
            out.push(if i <= three.len() {
                char::from(DIGITS[(bits >> (18 - 6 * i)) as usize & 63])
            } else {
                '='
            });
        }
    }
}
