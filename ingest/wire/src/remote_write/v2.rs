//! Reads remote-write 2.0 requests without copying them: `io.prometheus.write.v2.Request`
//! (prometheus.io/docs/specs/prw/remote_write_spec_2_0, `prompb/io/prometheus/write/v2/types.proto`).
//!
//! Labels are references into a table of symbols. [`Request::read`] allocates that table, a slice per symbol; everything else
//! borrows. A reference that points outside the table, or a name without a value, is a [`DecodeError`].

use crate::otlp::read::Numbers;
use crate::protobuf::{DecodeError, Fields};
use crate::remote_write::TYPES;
use crate::remote_write::histogram::Histogram;
use crate::remote_write::read::{Metadata, submessages};

/// Symbols that a request may bring: 16 bytes of ours each, while an empty one takes two of the sender's.
const SYMBOLS_MAX: usize = 1 << 20;

/// The metadata of a series that brings none.
pub const NO_METADATA: Metadata<'static> = Metadata {
    metric: "",
    kind: TYPES[0],
    help: "",
    unit: "",
};

const REQUEST: &str = "Request";
const SERIES: &str = "TimeSeries";

/// A request whose symbols have been read.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    symbols: Vec<&'a str>,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    /// Reads the table of symbols; the series follow when they are asked for.
    ///
    /// # Errors
    /// [`DecodeError`] where the body is no message, a symbol is no UTF-8, or there are more than a million of them.
    pub fn read(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut symbols = Vec::new();
        for field in Fields::new(REQUEST, body) {
            let field = field?;
            if field.number == 4 {
                if symbols.len() >= SYMBOLS_MAX {
                    return Err(DecodeError::TooMany {
                        message: REQUEST,
                        what: "symbols",
                        limit: SYMBOLS_MAX,
                    });
                }
                symbols.push(field.text()?);
            }
        }
        Ok(Self { symbols, body })
    }

    /// The series, in the order of the bytes.
    pub fn series(&self) -> impl Iterator<Item = Result<Series<'_>, DecodeError>> {
        submessages(REQUEST, self.body, 5).map(|bytes| Series::read(&self.symbols, bytes?))
    }
}

/// A series: labels and samples, still encoded.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    symbols: &'a [&'a str],
    bytes: &'a [u8],
    /// How many exemplars it carries.
    pub exemplars: u32,
    /// How many native histograms it carries.
    pub histograms: u32,
    /// What its metric is.
    pub metadata: Metadata<'a>,
}

/// A sample, with what 2.0 adds to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// The value.
    pub value: f64,
    /// Since when a counter counts, milliseconds since 1970; 0 where the sender does not say.
    pub start_ms: i64,
}

impl<'a> Series<'a> {
    fn read(symbols: &'a [&'a str], bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut series = Self {
            symbols,
            bytes,
            exemplars: 0,
            histograms: 0,
            metadata: NO_METADATA,
        };
        for field in Fields::new(SERIES, bytes) {
            let field = field?;
            match field.number {
                3 => series.histograms += 1,
                4 => series.exemplars += 1,
                5 => {
                    for field in Fields::new("Metadata", field.bytes()?) {
                        let field = field?;
                        match field.number {
                            1 => {
                                let number = usize::try_from(field.varint()?).unwrap_or(0);
                                series.metadata.kind = TYPES.get(number).copied().unwrap_or(TYPES[0]);
                            }
                            3 => series.metadata.help = symbol(symbols, field.varint()?)?,
                            4 => series.metadata.unit = symbol(symbols, field.varint()?)?,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(series)
    }

    /// Name and value of each label, in the sender's order.
    #[must_use]
    pub fn labels(&self) -> LabelRefs<'a> {
        LabelRefs {
            symbols: self.symbols,
            refs: Numbers::new(SERIES, self.bytes, 1, true),
        }
    }

    /// The samples, in the sender's order.
    pub fn samples(&self) -> impl Iterator<Item = Result<Sample, DecodeError>> + use<'a> {
        submessages(SERIES, self.bytes, 2).map(|bytes| {
            let mut sample = Sample {
                at_ms: 0,
                value: 0.0,
                start_ms: 0,
            };
            for field in Fields::new("Sample", bytes?) {
                let field = field?;
                match field.number {
                    1 => sample.value = field.double()?,
                    2 => sample.at_ms = field.varint()? as i64,
                    3 => sample.start_ms = field.varint()? as i64,
                    _ => {}
                }
            }
            Ok(sample)
        })
    }

    /// The native histograms, in the sender's order.
    pub fn native_histograms(&self) -> impl Iterator<Item = Result<Histogram<'a>, DecodeError>> + use<'a> {
        submessages(SERIES, self.bytes, 3).map(|bytes| Histogram::read(bytes?))
    }

    /// The exemplars, in the sender's order.
    pub fn exemplars(&self) -> impl Iterator<Item = Result<Exemplar<'a>, DecodeError>> + use<'a> {
        let symbols = self.symbols;
        submessages(SERIES, self.bytes, 4).map(move |bytes| {
            let bytes = bytes?;
            let mut exemplar = Exemplar {
                symbols,
                bytes,
                at_ms: 0,
                value: 0.0,
            };
            for field in Fields::new("Exemplar", bytes) {
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
    symbols: &'a [&'a str],
    bytes: &'a [u8],
    /// Milliseconds since 1970; 0 where the sender gives none.
    pub at_ms: i64,
    /// The observed value.
    pub value: f64,
}

impl<'a> Exemplar<'a> {
    /// Name and value of each label of the exemplar itself.
    #[must_use]
    pub fn labels(&self) -> LabelRefs<'a> {
        LabelRefs {
            symbols: self.symbols,
            refs: Numbers::new("Exemplar", self.bytes, 1, true),
        }
    }
}

/// Labels by reference, looked up one after the other.
#[derive(Clone, Debug)]
pub struct LabelRefs<'a> {
    symbols: &'a [&'a str],
    refs: Numbers<'a>,
}

impl<'a> Iterator for LabelRefs<'a> {
    type Item = Result<(&'a str, &'a str), DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let name = self.refs.next()?;
        let value = self.refs.next();
        Some(name.and_then(|name| {
            let name = symbol(self.symbols, name)?;
            let value = value.unwrap_or(Err(DecodeError::Truncated { message: "labels_refs" }))?;
            Ok((name, symbol(self.symbols, value)?))
        }))
    }
}

fn symbol<'a>(symbols: &[&'a str], reference: u64) -> Result<&'a str, DecodeError> {
    usize::try_from(reference)
        .ok()
        .and_then(|at| symbols.get(at))
        .copied()
        .ok_or(DecodeError::Symbol {
            reference,
            symbols: symbols.len(),
        })
}

#[cfg(test)]
mod tests;
