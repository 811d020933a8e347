//! Reads OTLP metrics requests without copying them.
//!
//! [`request`] walks `resource → scope → metric → point → attribute`; each level is read when it is asked for, so a caller
//! that needs all or nothing goes through the whole body before it acts. Unknown fields are skipped. Where a message that may
//! stand once stands twice, the later one counts (protobuf would merge them; no sender writes that).

pub mod logs;
mod point;
mod value;

use crate::otlp::Temporality;
use crate::protobuf::{DecodeError, Field, Fields};

pub use point::{Buckets, Exemplar, ExponentialHistogramPoint, HistogramPoint, NumberPoint, Numbers, SummaryPoint};
pub use value::{AnyValue, Attributes, Encoded};

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
        let resource = value::resource_of(Self::NAME, bytes)?;
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
