//! Why a query has no answer.

use std::error::Error;

/// What kind of failure it is; the HTTP API turns it into `errorType` and status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueryErrorKind {
    /// The expression or its parameters are wrong.
    BadData,
    /// The expression is right, its data cannot be combined so, or a bound was reached.
    Execution,
    /// It took too long.
    Timeout,
    /// The caller gave up.
    Canceled,
    /// The store could not be read.
    Internal,
}

/// Why a query has no answer. Texts are those of Prometheus 3.5 where it knows the case.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The text is no PromQL.
    #[error("parse error: {0}")]
    Parse(String),
    /// The parameters do not fit the expression.
    #[error("{0}")]
    Invalid(String),
    /// The text is longer than the engine takes.
    #[error("query of {bytes} bytes exceeds the bound of {max} bytes")]
    TooLong {
        /// Length of the text.
        bytes: usize,
        /// [`super::EngineOptions::max_query_bytes`].
        max: usize,
    },
    /// Parentheses, calls or chained operators nest deeper than the engine takes.
    #[error("query nests deeper than {max} levels")]
    TooDeep {
        /// [`super::EngineOptions::max_depth`].
        max: usize,
    },
    /// The step is too small for the range.
    #[error("exceeded maximum resolution of {} points per timeseries. Try decreasing the query resolution (?step=XX)", thousands(*.max))]
    TooManyPoints {
        /// [`super::EngineOptions::max_points`].
        max: usize,
    },
    /// More values than fit into the memory set aside for one query.
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples {
        /// [`super::EngineOptions::max_samples`].
        max: usize,
    },
    /// The deadline passed.
    #[error("query timed out in expression evaluation")]
    Timeout,
    /// The caller gave up.
    #[error("query was canceled in expression evaluation")]
    Canceled,
    /// The data cannot be combined as the expression asks.
    #[error("{0}")]
    Execution(String),
    /// The store could not be read.
    #[error("cannot read series for the query")]
    Read {
        /// What the store says.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl QueryError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> QueryErrorKind {
        match self {
            Self::Parse(_)
            | Self::Invalid(_)
            | Self::TooLong { .. }
            | Self::TooDeep { .. }
            | Self::TooManyPoints { .. } => QueryErrorKind::BadData,
            Self::TooManySamples { .. } | Self::Execution(_) => QueryErrorKind::Execution,
            Self::Timeout => QueryErrorKind::Timeout,
            Self::Canceled => QueryErrorKind::Canceled,
            Self::Read { .. } => QueryErrorKind::Internal,
        }
    }

    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::TooLong { .. } => Some("split the query, or raise `max_query_bytes` of the query engine".to_owned()),
            Self::TooDeep { .. } => Some(
                "write chained operators as one regular expression or aggregation, record parts of it by a rule, \
                 or raise `max_depth` of the query engine"
                    .to_owned(),
            ),
            Self::TooManyPoints { .. } => {
                Some("take a larger `step` or a shorter range, or raise `max_points` of the query engine".to_owned())
            }
            Self::TooManySamples { max } => Some(format!(
                "the query holds more than {max} values at once: select fewer series, take a larger step or a shorter \
                 range, or raise `max_samples` of the query engine"
            )),
            Self::Timeout => Some(
                "select fewer series or a shorter range, or raise `timeout` of the request and of the query engine"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    pub(super) fn execution(text: impl Into<String>) -> Self {
        Self::Execution(text.into())
    }

    pub(super) fn same_labelset() -> Self {
        Self::Execution("vector cannot contain metrics with the same labelset".to_owned())
    }
}

fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
