//! Reads remote-write requests without copying them.

use crate::protobuf::{DecodeError, Fields};
use crate::remote_write::TYPES;
use crate::remote_write::histogram::Histogram;

/// The series and the metadata of a `WriteRequest`, in the order of the bytes.
#[must_use]
pub fn request(body: &[u8]) -> Items<'_> {
    Items {
        fields: Fields::new("WriteRequest", body),
    }
}

/// Iterator over a request.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    fields: Fields<'a>,
}

/// One element of a request.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// A series with samples.
    Series(Series<'a>),
    /// What a metric is.
    Metadata(Metadata<'a>),
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let field = match self.fields.next()? {
                Ok(field) => field,
                Err(error) => return Some(Err(error)),
            };
            match field.number {
                1 => return Some(field.bytes().and_then(Series::read).map(Item::Series)),
                3 => return Some(field.bytes().and_then(Metadata::read).map(Item::Metadata)),
                _ => {}
            }
        }
    }
}

/// A series: labels and samples, still encoded.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    bytes: &'a [u8],
    // How many bytes the labels at the start take, and whether there are others further on.
    labels_end: usize,
    scattered: bool,
    /// How many exemplars it carries.
    pub exemplars: u32,
    /// How many native histograms it carries.
    pub histograms: u32,
}

impl<'a> Series<'a> {
    const NAME: &'static str = "TimeSeries";

    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut series = Self {
            bytes,
            labels_end: 0,
            scattered: false,
            exemplars: 0,
            histograms: 0,
        };
        let mut fields = Fields::new(Self::NAME, bytes);
        let mut in_labels = true;
        while let Some(field) = fields.next() {
            let number = field?.number;
            in_labels &= number == 1;
            if in_labels {
                series.labels_end = bytes.len() - fields.left();
            }
            match number {
                1 => series.scattered |= !in_labels,
                3 => series.exemplars += 1,
                4 => series.histograms += 1,
                _ => {}
            }
        }
        Ok(series)
    }

    /// Name and value of each label, in the sender's order.
    pub fn labels(&self) -> impl Iterator<Item = Result<(&'a str, &'a str), DecodeError>> + use<'a> {
        submessages(Self::NAME, self.bytes, 1).map(|bytes| label(bytes?))
    }

    /// All labels as the sender encoded them, one after the other, for a hash over them; nothing inside them is checked. `None`
    /// where something else stands between them, which no sender does.
    #[must_use]
    pub fn encoded_labels(&self) -> Option<&'a [u8]> {
        (!self.scattered).then(|| &self.bytes[..self.labels_end])
    }

    /// The encoded labels one by one, as [`Series::encoded_labels`].
    pub fn raw_labels(&self) -> impl Iterator<Item = Result<&'a [u8], DecodeError>> + use<'a> {
        submessages(Self::NAME, self.bytes, 1)
    }

    /// Its native histograms, in the sender's order.
    pub fn native_histograms(&self) -> impl Iterator<Item = Result<Histogram<'a>, DecodeError>> + use<'a> {
        submessages(Self::NAME, self.bytes, 4).map(|bytes| Histogram::read(bytes?))
    }

    /// Timestamp in milliseconds and value of each sample, in the sender's order.
    pub fn samples(&self) -> impl Iterator<Item = Result<(i64, f64), DecodeError>> + use<'a> {
        submessages(Self::NAME, &self.bytes[self.labels_end..], 2).map(|bytes| {
            let (mut at_ms, mut value) = (0, 0.0);
            for field in Fields::new("Sample", bytes?) {
                let field = field?;
                match field.number {
                    1 => value = field.double()?,
                    2 => at_ms = field.varint()? as i64,
                    _ => {}
                }
            }
            Ok((at_ms, value))
        })
    }

    /// The exemplars, in the sender's order.
    pub fn exemplars(&self) -> impl Iterator<Item = Result<Exemplar<'a>, DecodeError>> + use<'a> {
        submessages(Self::NAME, self.bytes, 3).map(|bytes| {
            let bytes = bytes?;
            let mut exemplar = Exemplar {
                bytes,
                at_ms: 0,
                value: 0.0,
            };
            for field in Fields::new(Exemplar::NAME, bytes) {
                let field = field?;
                match field.number {
                    2 => exemplar.value = field.double()?,
                    3 => exemplar.at_ms = field.varint()? as i64,
                    _ => {}
                }
            }
            Ok(exemplar)
        })
    }
}

/// One observation behind a sample, with the trace that it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Exemplar<'a> {
    bytes: &'a [u8],
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// The observed value.
    pub value: f64,
}

impl<'a> Exemplar<'a> {
    const NAME: &'static str = "Exemplar";

    /// Name and value of each label of the exemplar itself.
    pub fn labels(&self) -> impl Iterator<Item = Result<(&'a str, &'a str), DecodeError>> + use<'a> {
        submessages(Self::NAME, self.bytes, 1).map(|bytes| label(bytes?))
    }
}

fn label(bytes: &[u8]) -> Result<(&str, &str), DecodeError> {
    let (mut name, mut value) = ("", "");
    for field in Fields::new("Label", bytes) {
        let field = field?;
        match field.number {
            1 => name = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok((name, value))
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// Name of the metric family.
    pub metric: &'a str,
    /// `counter`, `gauge`, `histogram`, `summary` and so on; `unknown` where the sender does not know.
    pub kind: &'static str,
    /// What it tells.
    pub help: &'a str,
    /// Its unit, often empty.
    pub unit: &'a str,
}

impl<'a> Metadata<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut metadata = Self {
            metric: "",
            kind: TYPES[0],
            help: "",
            unit: "",
        };
        for field in Fields::new("MetricMetadata", bytes) {
            let field = field?;
            match field.number {
                1 => {
                    let number = usize::try_from(field.varint()?).unwrap_or(0);
                    metadata.kind = TYPES.get(number).copied().unwrap_or(TYPES[0]);
                }
                2 => metadata.metric = field.text()?,
                4 => metadata.help = field.text()?,
                5 => metadata.unit = field.text()?,
                _ => {}
            }
        }
        Ok(metadata)
    }
}

pub(crate) fn submessages<'a>(
    message: &'static str,
    bytes: &'a [u8],
    number: u32,
) -> impl Iterator<Item = Result<&'a [u8], DecodeError>> + use<'a> {
    Fields::new(message, bytes).filter_map(move |field| match field {
        Ok(field) if field.number != number => None,
        field => Some(field.and_then(|f| f.bytes())),
    })
}
