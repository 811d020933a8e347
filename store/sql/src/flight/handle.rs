//! What a ticket or the handle of a prepared statement says: the query, and the values of its parameters.
//!
//! ```text
//! version u8 (1) | length of the query u32, little-endian | query, UTF-8 | parameters: an Arrow stream of one row, or nothing
//! ```

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use datafusion::common::{ParamValues, ScalarValue};
use tonic::Status;

use crate::rows::Statement;

const VERSION: u8 = 1;
/// Most bytes of parameters; the handle travels with every call.
pub(super) const PARAMETER_BYTES_MAX: usize = 1 << 20;

/// A query and its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Handle {
    sql: String,
    parameters: Vec<u8>,
}

impl Handle {
    /// A query whose placeholders are `$1`, `$2` and so on, or `?` each.
    pub(super) fn new(sql: String) -> Self {
        Self {
            sql: numbered(&sql),
            parameters: Vec::new(),
        }
    }

    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    /// The same query with the values of `row`.
    pub(super) fn with_parameters(self, row: &RecordBatch) -> Result<Self, Status> {
        let write = || {
            let mut writer = StreamWriter::try_new(Vec::new(), &row.schema())?;
            writer.write(row)?;
            writer.into_inner()
        };
        let parameters = write().map_err(|error: arrow::error::ArrowError| {
            Status::invalid_argument(format!("the parameters cannot be kept: {error}"))
        })?;
        if parameters.len() > PARAMETER_BYTES_MAX {
            return Err(Status::resource_exhausted(format!(
                "the parameters have {} bytes, their limit is {PARAMETER_BYTES_MAX}",
                parameters.len()
            )));
        }
        Ok(Self { parameters, ..self })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&u32::try_from(self.sql.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(self.sql.as_bytes());
        out.extend_from_slice(&self.parameters);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Status> {
        let parse = || {
            let (&[version, a, b, c, d], rest) = bytes.split_first_chunk()?;
            let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
            let (sql, parameters) = rest.split_at_checked(length)?;
            (version == VERSION && parameters.len() <= PARAMETER_BYTES_MAX).then_some(Self {
                sql: std::str::from_utf8(sql).ok()?.to_owned(),
                parameters: parameters.to_vec(),
            })
        };
        parse().ok_or_else(|| Status::invalid_argument("this ticket or statement handle is none of this server's"))
    }

    pub(super) fn into_statement(self) -> Result<Statement, Status> {
        let parameters = if self.parameters.is_empty() {
            None
        } else {
            let unreadable = |error: &dyn std::fmt::Display| {
                Status::invalid_argument(format!(
                    "the parameters of the statement handle cannot be read: {error}"
                ))
            };
            let mut reader = StreamReader::try_new(self.parameters.as_slice(), None).map_err(|e| unreadable(&e))?;
            let row = reader
                .next()
                .ok_or_else(|| unreadable(&"there are none"))?
                .map_err(|e| unreadable(&e))?;
            if row.num_rows() != 1 {
                return Err(unreadable(&"there is not one row of them"));
            }
            let values: Result<Vec<ScalarValue>, _> = row
                .columns()
                .iter()
                .map(|column| ScalarValue::try_from_array(column, 0))
                .collect();
            Some(ParamValues::from(values.map_err(|e| unreadable(&e))?))
        };
        Ok(Statement {
            sql: self.sql,
            parameters,
        })
    }
}

/// `sql` with `$1`, `$2` and so on for each `?` that stands outside of strings, quoted names and comments: JDBC and ADBC write
/// the one, the parser reads the other.
fn numbered(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len() + 8);
    let mut rest = sql;
    let mut parameters = 0;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '\'' | '"' => rest[1..].find(c).map_or(rest.len(), |end| end + 2),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest[2..].find("*/").map_or(rest.len(), |end| end + 4),
            '?' => {
                parameters += 1;
                out.push_str(&format!("${parameters}"));
                rest = &rest[1..];
                continue;
            }
            c => c.len_utf8(),
        };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_where_they_are_placeholders() {
        let check = |sql: &str, expected: &str| assert_eq!(numbered(sql), expected, "{sql}");
        check("SELECT 1", "SELECT 1");
        check("a = ? AND b > ?", "a = $1 AND b > $2");
        check("a = '?' AND b = ?", "a = '?' AND b = $1");
        check("a = 'it''s ?' AND b = ?", "a = 'it''s ?' AND b = $1");
        check("\"?\" = ? -- why?\n AND c = ?", "\"?\" = $1 -- why?\n AND c = $2");
        check("/* ? */ ? /* ?", "/* ? */ $1 /* ?");
        check("/*/ ? */ ?", "/*/ ? */ $1");
        check("ä = ? 'unfinished ?", "ä = $1 'unfinished ?");
        check("a = $1", "a = $1");
    }

    #[test]
    fn a_handle_reads_back_and_a_strangers_is_refused() {
        let handle = Handle::new("SELECT '€'".to_owned());
        assert_eq!(Handle::decode(&handle.encode()).expect("ours"), handle);
        for wrong in [
            &b""[..],
            b"\x01",
            b"\x01\xff\xff\xff\xff",
            b"\x02\x01\0\0\0a",
            b"\x01\x01\0\0\0\xff",
        ] {
            assert!(Handle::decode(wrong).is_err(), "{wrong:?}");
        }
    }
}
