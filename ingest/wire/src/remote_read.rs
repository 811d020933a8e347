//! Prometheus remote read: `prometheus.ReadRequest` in, samples or chunks out, after and before their compression and framing
//! (`prompb/remote.proto` and `prompb/types.proto` of Prometheus 3.5).
//!
//! ```
//! use foreshock_wire::remote_read::write::ResultWriter;
//! use foreshock_wire::remote_read::{Kind, Request};
//!
//! let request = Request::read(&[])?;
//! assert_eq!((request.queries.len(), request.kind), (0, Some(Kind::Samples)));
//! let mut result = ResultWriter::default();
//! result.series(&mut [("__name__", "up")].into_iter(), &[(1_000, 1.0)], &[]);
//! assert!(!result.is_empty());
//! # Ok::<(), foreshock_wire::DecodeError>(())
//! ```

pub mod chunk;
pub mod write;

#[cfg(test)]
mod tests;

use crate::protobuf::{DecodeError, Field, Fields, Value};

/// Queries that one request may bring; Prometheus sends one.
pub const QUERIES_MAX: usize = 64;
/// Matchers of a query.
pub const MATCHERS_MAX: usize = 256;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The queries, each answered on its own.
    pub queries: Vec<Query<'a>>,
    /// The answer that the sender likes best of those there are; `None` where it takes none of them.
    pub kind: Option<Kind>,
}

/// How an answer is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `ReadResponse`: all samples of all series in one message.
    Samples,
    /// `ChunkedReadResponse`, in frames: compressed chunks, series by series.
    Chunks,
}

/// Which samples of which series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// First time, in milliseconds since 1970.
    pub start_ms: i64,
    /// Last time.
    pub end_ms: i64,
    /// What the series' labels have to meet, all of it.
    pub matchers: Vec<Matcher<'a>>,
}

/// A condition on a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matcher<'a> {
    /// How the value is compared.
    pub op: MatchOp,
    /// The label.
    pub name: &'a str,
    /// Its value, or the expression that it has to match whole.
    pub value: &'a str,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl<'a> Request<'a> {
    const NAME: &'static str = "ReadRequest";

    /// Reads a request. What it hints about the query that it is for is not looked at.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are none, and where they ask for too much at once.
    pub fn read(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut queries = Vec::new();
        let mut kind = None;
        let mut said = false;
        for field in Fields::new(Self::NAME, body) {
            let field = field?;
            match field.number {
                1 if queries.len() == QUERIES_MAX => return Err(too_many(Self::NAME, "queries", QUERIES_MAX)),
                1 => queries.push(Query::read(field.bytes()?)?),
                2 => {
                    said = true;
                    accepted(field, &mut kind)?;
                }
                _ => {}
            }
        }
        if !said {
            // Senders from before there were chunks.
            kind = Some(Kind::Samples);
        }
        Ok(Self { queries, kind })
    }
}

/// Response types come one by one, or packed; the first that is known counts.
fn accepted(field: Field<'_>, kind: &mut Option<Kind>) -> Result<(), DecodeError> {
    let mut take = |number| {
        let known = match number {
            0 => Some(Kind::Samples),
            1 => Some(Kind::Chunks),
            _ => None,
        };
        *kind = kind.or(known);
    };
    match field.value {
        Value::Bytes(mut packed) => {
            while let Some((&byte, rest)) = packed.split_first() {
                // The numbers that are known take one byte; the others are passed over.
                let next = packed.iter().position(|b| b & 0x80 == 0);
                let end = next.map_or(packed.len(), |last| last + 1);
                take(if end == 1 { byte } else { u8::MAX });
                packed = rest.get(end - 1..).unwrap_or_default();
            }
            Ok(())
        }
        _ => {
            take(u8::try_from(field.varint()?).unwrap_or(u8::MAX));
            Ok(())
        }
    }
}

impl<'a> Query<'a> {
    const NAME: &'static str = "Query";

    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut query = Self::default();
        for field in Fields::new(Self::NAME, bytes) {
            let field = field?;
            match field.number {
                1 => query.start_ms = field.varint()? as i64,
                2 => query.end_ms = field.varint()? as i64,
                3 if query.matchers.len() == MATCHERS_MAX => {
                    return Err(too_many(Self::NAME, "matchers", MATCHERS_MAX));
                }
                3 => query.matchers.push(Matcher::read(field.bytes()?)?),
                _ => {}
            }
        }
        Ok(query)
    }
}

impl<'a> Matcher<'a> {
    const NAME: &'static str = "LabelMatcher";

    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut matcher = Self {
            op: MatchOp::Equal,
            name: "",
            value: "",
        };
        for field in Fields::new(Self::NAME, bytes) {
            let field = field?;
            match field.number {
                1 => {
                    matcher.op = match field.varint()? {
                        0 => MatchOp::Equal,
                        1 => MatchOp::NotEqual,
                        2 => MatchOp::Regex,
                        3 => MatchOp::NotRegex,
                        _ => return Err(DecodeError::Malformed { message: Self::NAME }),
                    }
                }
                2 => matcher.name = field.text()?,
                3 => matcher.value = field.text()?,
                _ => {}
            }
        }
        Ok(matcher)
    }
}

fn too_many(message: &'static str, what: &'static str, limit: usize) -> DecodeError {
    DecodeError::TooMany { message, what, limit }
}
