//! Samples from and to files that others read and write: import and export.
//!
//! ```text
//! file ─► read(Format) ─► Sink: Importer (a store)          Snapshot ─► export ─► Sink: Writer (a file)
//! ```
//! Everything streams: memory is one line, one batch of rows, or a month of one series.
//!
//! | format | is | keeps |
//! |---|---|---|
//! | [`Format::Jsonl`] | a JSON object a line with labels, values, timestamps, as VictoriaMetrics exports and imports it | all but NaN payloads |
//! | [`Format::OpenMetrics`] | text, timestamps in seconds, as `promtool tsdb dump-openmetrics` prints it | no staleness markers |
//! | [`Format::Prometheus`] | text, timestamps in milliseconds, as `promtool tsdb dump` prints it | no staleness markers |
//! | [`Format::Csv`] | rows with a header line | reading only |
//! | [`Format::Parquet`] | long rows, the columns of the SQL table `samples` | every bit |
//!
//! Native histograms are in none of them: an export counts the series that have some.

use std::fmt;
use std::io::{self, BufRead};
use std::path::Path;

use crate::series::LabelsBuf;
use crate::{Metadata, StoreError};

mod csv;
mod export;
mod import;
mod jsonl;
mod lines;
mod parquet;
mod text;
mod write;

#[cfg(test)]
mod tests;

pub use export::{Exported, Selection, export};
pub use import::{Importer, Taken};
pub use parquet::read_parquet;
pub use write::Writer;

/// How samples stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// A JSON object a line: `{"metric":{"__name__":"up"},"values":[1],"timestamps":[1795305600000]}`.
    Jsonl,
    /// Text, timestamps in seconds.
    OpenMetrics,
    /// Text, timestamps in milliseconds.
    Prometheus,
    /// A header line, then rows.
    Csv,
    /// Long rows.
    Parquet,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 5] = [
        Self::Jsonl,
        Self::OpenMetrics,
        Self::Prometheus,
        Self::Csv,
        Self::Parquet,
    ];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::OpenMetrics => "openmetrics",
            Self::Prometheus => "prometheus",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }

    /// The format that the name of a file speaks of; a compression's ending is looked past. Text has no ending of its own.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name = name
            .strip_suffix(".gz")
            .or_else(|| name.strip_suffix(".zst"))
            .unwrap_or(&name);
        match name.rsplit_once('.')?.1 {
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "om" | "openmetrics" => Some(Self::OpenMetrics),
            "prom" => Some(Self::Prometheus),
            "csv" => Some(Self::Csv),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|format| format.as_str() == text)
            .ok_or_else(|| {
                format!(
                    "{text:?} is no format; there are {}",
                    Self::ALL.map(Self::as_str).join(", ")
                )
            })
    }
}

/// Where samples go, series by series.
pub trait Sink {
    /// Takes samples of one series; both slices have one length, and the timestamps any order. A series may come again.
    ///
    /// # Errors
    /// What keeps every later sample from being taken as well. Samples that are refused one by one are no error.
    fn series(&mut self, labels: &mut LabelsBuf, timestamps: &[i64], values: &[f64]) -> Result<(), ExchangeError>;

    /// Takes what a metric is.
    ///
    /// # Errors
    /// As [`Sink::series`].
    fn metadata(&mut self, metric: &str, metadata: Metadata) -> Result<(), ExchangeError>;
}

/// What a file held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Lines or rows.
    pub lines: u64,
    /// Samples that were handed on.
    pub samples: u64,
    /// Lines or rows that hold no sample that can be read.
    pub bad_lines: u64,
    /// The first few of them: where, and what is wrong.
    pub examples: Vec<String>,
}

/// So many bad lines are told one by one.
const EXAMPLES_MAX: usize = 5;

impl Found {
    fn bad(&mut self, what: &dyn fmt::Display) {
        self.bad_lines += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(format!("line {}: {what}", self.lines));
        }
    }
}

/// Samples cannot be read from a file or written to one.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The input cannot be read.
    #[error("the input cannot be read")]
    Read(#[source] io::Error),
    /// The output cannot be written.
    #[error("the output cannot be written")]
    Write(#[source] io::Error),
    /// The first line of a CSV file does not say what is needed.
    #[error("the header line must name {missing}")]
    Header {
        /// What is missing.
        missing: &'static str,
    },
    /// A Parquet file cannot be read or written.
    #[error("the Parquet file cannot be {action}")]
    Parquet {
        /// What was tried.
        action: &'static str,
        /// What the Parquet library says.
        source: ::parquet::errors::ParquetError,
    },
    /// A Parquet file does not have the columns that are needed.
    #[error("the Parquet file has no column {name:?} of a type that fits")]
    Column {
        /// The column.
        name: &'static str,
    },
    /// A format can be read or written, but not in this way.
    #[error("{format} {what}")]
    Unsupported {
        /// The format.
        format: Format,
        /// What cannot be done.
        what: &'static str,
    },
    /// The store cannot be read, or does not take anything.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// Whoever takes the samples failed.
    #[error("the samples were not taken")]
    Taker(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ExchangeError {
    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Header { .. } => Some(
                "a CSV file begins with a line such as `metric,timestamp,value,host,job`; timestamp is seconds or RFC 3339, \
                 timestamp_ms milliseconds, every other column a label",
            ),
            Self::Column { .. } => Some(
                "long rows are needed: metric (text), timestamp (timestamp, or int64 milliseconds), value (number), and labels \
                 (map) or a text column a label",
            ),
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }
}

/// Reads a text file of samples.
///
/// Lines that cannot be read are counted and left out.
///
/// # Errors
/// [`ExchangeError`] when the input breaks off, is of another format altogether, or the sink takes nothing any more;
/// [`ExchangeError::Unsupported`] for Parquet, which is read from a file by [`read_parquet`].
pub fn read(format: Format, input: &mut dyn BufRead, sink: &mut dyn Sink) -> Result<Found, ExchangeError> {
    match format {
        Format::Jsonl => jsonl::read(input, sink),
        Format::OpenMetrics => text::read(input, text::Dialect::OpenMetrics, sink),
        Format::Prometheus => text::read(input, text::Dialect::Prometheus, sink),
        Format::Csv => csv::read(input, sink),
        Format::Parquet => Err(ExchangeError::Unsupported {
            format,
            what: "is read from a file, not from a stream",
        }),
    }
}
