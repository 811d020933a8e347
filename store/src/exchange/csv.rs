//! CSV with a header line.
//!
//! ```text
//! metric,timestamp,value,host,job
//! up,2026-11-22T00:00:00Z,1,a,node
//! up,1795305615.5,0,a,node
//! ```
//! `metric` (or `__name__`), `value` and `timestamp` (seconds since 1970, or RFC 3339) or `timestamp_ms` (milliseconds) are needed,
//! in any order. Every other column is a label, absent where it is empty.

use std::io::BufRead;

use ::csv::{ErrorKind, ReaderBuilder, StringRecord};

use super::{ExchangeError, Found, Sink};
use crate::series::{LabelsBuf, METRIC_NAME};

/// Consecutive rows of one series are handed on together, up to this.
const TOGETHER_MAX: usize = 4096;

struct Columns {
    metric: usize,
    value: usize,
    at: usize,
    /// Whether the timestamp is in milliseconds.
    millis: bool,
    labels: Vec<(usize, String)>,
}

impl Columns {
    fn of(header: &StringRecord) -> Result<Self, ExchangeError> {
        // Two of a kind are refused: the other one would be a label, and with a time as a label each row its own series.
        let one = |wanted: &[&str], missing| {
            let mut found = (0..header.len()).filter(|i| wanted.contains(&header[*i].trim()));
            match (found.next(), found.next()) {
                (Some(at), None) => Ok(at),
                _ => Err(ExchangeError::Header { missing }),
            }
        };
        let metric = one(&["metric", METRIC_NAME], "exactly one column `metric` or `__name__`")?;
        let value = one(&["value"], "exactly one column `value`")?;
        let at = one(
            &["timestamp", "timestamp_ms"],
            "exactly one column `timestamp` or `timestamp_ms`",
        )?;
        let labels = header
            .iter()
            .enumerate()
            .filter(|(i, _)| ![metric, value, at].contains(i))
            .map(|(i, name)| (i, name.trim().to_owned()))
            .collect();
        Ok(Self {
            metric,
            value,
            at,
            millis: header[at].trim() == "timestamp_ms",
            labels,
        })
    }

    fn sample(&self, row: &StringRecord) -> Result<(i64, f64), String> {
        let (at, value) = (row[self.at].trim(), row[self.value].trim());
        let value = value.parse().map_err(|_| format!("{value:?} is no value"))?;
        let millis = if self.millis { at.parse().ok() } else { time(at) };
        let millis = millis.ok_or_else(|| format!("{at:?} is no timestamp"))?;
        Ok((millis, value))
    }

    fn is_same_series(&self, a: &StringRecord, b: &StringRecord) -> bool {
        a[self.metric] == b[self.metric] && self.labels.iter().all(|(i, _)| a[*i] == b[*i])
    }

    fn labels(&self, row: &StringRecord, out: &mut LabelsBuf) {
        out.clear();
        out.push(METRIC_NAME, &row[self.metric]);
        for (i, name) in &self.labels {
            if !row[*i].is_empty() {
                out.push(name, &row[*i]);
            }
        }
    }
}

/// Milliseconds of seconds since 1970 or of RFC 3339.
fn time(text: &str) -> Option<i64> {
    match text.parse::<f64>() {
        Ok(seconds) => {
            let millis = (seconds * 1000.0).round();
            (millis.abs() < 9.0e15).then_some(millis as i64)
        }
        Err(_) => text.parse().ok().map(jiff::Timestamp::as_millisecond),
    }
}

pub(super) fn read(input: &mut dyn BufRead, sink: &mut dyn Sink) -> Result<Found, ExchangeError> {
    let mut reader = ReaderBuilder::new().from_reader(input);
    let columns = Columns::of(reader.headers().map_err(broken)?)?;
    let mut found = Found {
        lines: 1,
        ..Found::default()
    };
    let (mut row, mut first) = (StringRecord::new(), StringRecord::new());
    let (mut labels, mut timestamps, mut values) = (LabelsBuf::default(), Vec::new(), Vec::new());
    loop {
        let more = match reader.read_record(&mut row) {
            Ok(more) => more,
            Err(error) if matches!(error.kind(), ErrorKind::Io(_)) => return Err(broken(error)),
            // A row of another length, or one that is no UTF-8; the next one is read all the same.
            Err(error) => {
                found.lines += 1;
                found.bad(&error);
                continue;
            }
        };
        let same = more && !values.is_empty() && columns.is_same_series(&row, &first) && values.len() < TOGETHER_MAX;
        if !same && !values.is_empty() {
            columns.labels(&first, &mut labels);
            found.samples += values.len() as u64;
            sink.series(&mut labels, &timestamps, &values)?;
            timestamps.clear();
            values.clear();
        }
        if !more {
            return Ok(found);
        }
        found.lines += 1;
        match columns.sample(&row) {
            Ok((at, value)) => {
                if values.is_empty() {
                    std::mem::swap(&mut first, &mut row);
                }
                timestamps.push(at);
                values.push(value);
            }
            Err(what) => found.bad(&what),
        }
    }
}

fn broken(error: ::csv::Error) -> ExchangeError {
    match error.into_kind() {
        ErrorKind::Io(error) => ExchangeError::Read(error),
        other => ExchangeError::Read(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            format!("the header line is no CSV: {other:?}"),
        )),
    }
}
