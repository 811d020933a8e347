//! Writes samples into a file, in any format but CSV.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;

use super::parquet::RowWriter;
use super::text::{Dialect, TextWriter};
use super::{ExchangeError, Format, Sink, jsonl};
use crate::Metadata;
use crate::series::LabelsBuf;

/// Samples of one JSON line: VictoriaMetrics reads lines of 10 MB.
const LINE_SAMPLES_MAX: usize = 100_000;

/// Writes samples in the order in which they come.
pub struct Writer<W: Write + Send> {
    kind: Kind<W>,
}

enum Kind<W: Write + Send> {
    Jsonl { out: W, line: Vec<u8> },
    Text { out: W, text: TextWriter },
    Parquet(Box<RowWriter<W>>),
}

impl<W: Write + Send> fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

impl<W: Write + Send> Writer<W> {
    /// Writes `format` into `out`, which is buffered already. `metadata` says what metrics are, for the formats that tell.
    ///
    /// # Errors
    /// [`ExchangeError::Unsupported`] for CSV; [`ExchangeError::Parquet`] when its beginning cannot be written.
    pub fn new(format: Format, out: W, metadata: BTreeMap<String, Metadata>) -> Result<Self, ExchangeError> {
        let text = |dialect| TextWriter::new(dialect, metadata);
        let kind = match format {
            Format::Jsonl => Kind::Jsonl { out, line: Vec::new() },
            Format::OpenMetrics => Kind::Text {
                out,
                text: text(Dialect::OpenMetrics),
            },
            Format::Prometheus => Kind::Text {
                out,
                text: text(Dialect::Prometheus),
            },
            Format::Parquet => Kind::Parquet(Box::new(RowWriter::new(out)?)),
            Format::Csv => {
                return Err(ExchangeError::Unsupported {
                    format,
                    what: "is read only; write Parquet, which every tool that reads CSV turns into it",
                });
            }
        };
        Ok(Self { kind })
    }

    /// Writes what is left, and the end. Answers the output, and how many staleness markers were left out because the format has
    /// no way to say them.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn finish(self) -> Result<(W, u64), ExchangeError> {
        let (mut out, left_out) = match self.kind {
            Kind::Jsonl { out, .. } => (out, 0),
            Kind::Text { mut out, text } => {
                text.finish(&mut out).map_err(ExchangeError::Write)?;
                (out, text.left_out)
            }
            Kind::Parquet(rows) => (rows.finish()?, 0),
        };
        out.flush().map_err(ExchangeError::Write)?;
        Ok((out, left_out))
    }
}

impl<W: Write + Send> Sink for Writer<W> {
    fn series(&mut self, labels: &mut LabelsBuf, timestamps: &[i64], values: &[f64]) -> Result<(), ExchangeError> {
        match &mut self.kind {
            Kind::Jsonl { out, line } => timestamps
                .chunks(LINE_SAMPLES_MAX)
                .zip(values.chunks(LINE_SAMPLES_MAX))
                .try_for_each(|(timestamps, values)| jsonl::write(out, labels, timestamps, values, line))
                .map_err(ExchangeError::Write),
            Kind::Text { out, text } => text
                .series(out, labels, timestamps, values)
                .map_err(ExchangeError::Write),
            Kind::Parquet(rows) => rows.series(labels, timestamps, values),
        }
    }

    fn metadata(&mut self, _metric: &str, _metadata: Metadata) -> Result<(), ExchangeError> {
        // Text says what a metric is before its series, from what the writer was given; the other formats cannot say it.
        Ok(())
    }
}
