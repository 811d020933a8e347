//! Rows as bytes, a batch at a time: JSON, CSV, Arrow's stream format.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringBuilder};
use arrow::csv;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::writer::{EncoderOptions, JsonArray, make_encoder};
use arrow::json::{Writer, WriterBuilder};
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

use crate::number;
use crate::problem::Problem;
use crate::prometheus::list;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Csv,
    Arrow,
}

impl Format {
    /// The format that is named, else the first of ours that the caller accepts, JSON where he does not say.
    pub(super) fn of(named: Option<&str>, headers: &HeaderMap) -> Result<Self, Problem> {
        match named {
            Some("json") => return Ok(Self::Json),
            Some("csv") => return Ok(Self::Csv),
            Some("arrow") => return Ok(Self::Arrow),
            Some(other) => {
                return Err(
                    Problem::invalid(format!("parameter \"format\": {other:?} is none of ours"))
                        .hint("format=json, format=csv or format=arrow; without it the header Accept decides"),
                );
            }
            None => {}
        }
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
        let of_type = |accepted: &str| match accepted.split(';').next().unwrap_or("").trim() {
            "application/json" | "application/*" | "*/*" => Some(Self::Json),
            "text/csv" | "text/*" => Some(Self::Csv),
            "application/vnd.apache.arrow.stream" => Some(Self::Arrow),
            _ => None,
        };
        Ok(accept.split(',').find_map(of_type).unwrap_or(Self::Json))
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

/// Writes an answer piece by piece; [`Encoder::take`] gives what was written since the last call.
pub(super) struct Encoder {
    out: Out,
}

enum Out {
    /// `{"columns":[{"name","type"}],"rows":[{...}],"truncated":false}`; the list of columns keeps their order.
    Json {
        bytes: Vec<u8>,
        rows: bool,
    },
    Csv {
        bytes: Vec<u8>,
    },
    Arrow(Box<StreamWriter<Vec<u8>>>),
}

impl Encoder {
    /// Begins an answer of these columns.
    pub(super) fn new(format: Format, schema: &SchemaRef) -> Result<Self, ArrowError> {
        let out = match format {
            Format::Json => {
                let mut bytes = br#"{"columns":"#.to_vec();
                list(&mut bytes, schema.fields(), |out, field| {
                    out.extend_from_slice(br#"{"name":"#);
                    number::string(out, field.name());
                    out.extend_from_slice(br#","type":"#);
                    number::string(out, &field.data_type().to_string());
                    out.push(b'}');
                });
                bytes.extend_from_slice(br#","rows":["#);
                Out::Json { bytes, rows: false }
            }
            Format::Csv => {
                // Only this writes the names of the columns, also where there are no rows.
                let mut bytes = Vec::new();
                csv::WriterBuilder::new()
                    .with_header(true)
                    .build(&mut bytes)
                    .write(&flat(&RecordBatch::new_empty(Arc::clone(schema)))?)?;
                Out::Csv { bytes }
            }
            Format::Arrow => Out::Arrow(Box::new(StreamWriter::try_new(Vec::new(), schema)?)),
        };
        Ok(Self { out })
    }

    /// Writes rows.
    pub(super) fn batch(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        match &mut self.out {
            Out::Json { bytes, rows } => {
                if std::mem::replace(rows, true) {
                    bytes.push(b',');
                }
                let mut writer: Writer<_, JsonArray> = WriterBuilder::new().with_explicit_nulls(true).build(Vec::new());
                writer.write(batch)?;
                writer.finish()?;
                let list = writer.into_inner();
                // Without the brackets of its own.
                bytes.extend_from_slice(list.get(1..list.len() - 1).unwrap_or_default());
            }
            Out::Csv { bytes } => csv::WriterBuilder::new()
                .with_header(false)
                .build(bytes)
                .write(&flat(batch)?)?,
            Out::Arrow(writer) => writer.write(batch)?,
        }
        Ok(())
    }

    /// Writes the end; an answer without it is not whole.
    pub(super) fn end(&mut self, truncated: bool) -> Result<(), ArrowError> {
        match &mut self.out {
            Out::Json { bytes, .. } => bytes.extend_from_slice(if truncated {
                br#"],"truncated":true}"#
            } else {
                br#"],"truncated":false}"#
            }),
            Out::Csv { .. } => {}
            Out::Arrow(writer) => writer.finish()?,
        }
        Ok(())
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(match &mut self.out {
            Out::Json { bytes, .. } | Out::Csv { bytes } => bytes,
            Out::Arrow(writer) => writer.get_mut(),
        })
    }
}

/// `batch` with lists, maps and structs as JSON text, which is what fits into a field of CSV.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    if !schema.fields().iter().any(|field| field.data_type().is_nested()) {
        return Ok(batch.clone());
    }
    let (mut fields, mut columns): (Vec<FieldRef>, Vec<ArrayRef>) = Default::default();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() {
            fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
            columns.push(json_text(field, column)?);
        } else {
            fields.push(Arc::clone(field));
            columns.push(Arc::clone(column));
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn json_text(field: &FieldRef, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = EncoderOptions::default();
    let mut encoder = make_encoder(field, column.as_ref(), &options)?;
    let mut builder = StringBuilder::new();
    let mut text = Vec::new();
    for row in 0..column.len() {
        if encoder.is_null(row) {
            builder.append_null();
            continue;
        }
        text.clear();
        encoder.encode(row, &mut text);
        builder.append_value(String::from_utf8_lossy(&text));
    }
    Ok(Arc::new(builder.finish()))
}

#[cfg(test)]
mod tests;
