//! What can go wrong with a query, and what its author can do about it.

use std::time::Duration;

use datafusion::error::DataFusionError;
use store::StoreError;

/// What a caller does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SqlErrorKind {
    /// The query is not valid: fix it.
    BadData,
    /// The query would change something.
    ReadOnly,
    /// The query or its answer needs more than it may: ask for less.
    TooLarge,
    /// It took longer than it may.
    Timeout,
    /// Its caller went away, or the server stops.
    Canceled,
    /// It is valid and cannot be evaluated over these data.
    Execution,
    /// A fault of the server: look into its log.
    Internal,
}

/// A query without an answer.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The text is no query, or speaks of something that does not exist.
    #[error("{message}")]
    BadQuery {
        /// What is wrong.
        message: String,
    },
    /// The statement is none that only reads.
    #[error("only queries are taken, and this statement is none: {message}")]
    ReadOnly {
        /// What was refused.
        message: String,
    },
    /// The text is longer than it may be.
    #[error("the query has {bytes} bytes, its limit is {limit}")]
    TooLong {
        /// Its bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The memory or the spill space is used up.
    #[error("the query needs more memory than it may use: {message}")]
    Memory {
        /// Who asked for how much.
        message: String,
    },
    /// The answer is larger than it may be.
    #[error("the answer has more than {limit} bytes")]
    AnswerTooLarge {
        /// The limit.
        limit: usize,
    },
    /// The answer has more rows than may be given where nothing can say that it was cut off.
    #[error("the answer has more than {limit} rows")]
    TooManyRows {
        /// The limit.
        limit: usize,
    },
    /// It took too long.
    #[error("the query took longer than {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// It was stopped before it ended.
    #[error("the query was canceled")]
    Canceled,
    /// It failed while it ran.
    #[error("{message}")]
    Execution {
        /// What failed.
        message: String,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// Anything else.
    #[error("{message}")]
    Internal {
        /// What failed.
        message: String,
    },
}

impl SqlError {
    /// What a caller does about it.
    #[must_use]
    pub fn kind(&self) -> SqlErrorKind {
        match self {
            Self::BadQuery { .. } => SqlErrorKind::BadData,
            Self::ReadOnly { .. } => SqlErrorKind::ReadOnly,
            Self::TooLong { .. } | Self::Memory { .. } | Self::AnswerTooLarge { .. } | Self::TooManyRows { .. } => {
                SqlErrorKind::TooLarge
            }
            Self::Timeout(_) => SqlErrorKind::Timeout,
            Self::Canceled => SqlErrorKind::Canceled,
            Self::Execution { .. } => SqlErrorKind::Execution,
            Self::Store(_) | Self::Internal { .. } => SqlErrorKind::Internal,
        }
    }

    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::BadQuery { message } if message.contains("table") => {
                "SHOW TABLES lists the tables; samples, series and metrics are always there"
            }
            Self::BadQuery { message } if message.contains("No field named") => {
                "samples has timestamp, value, metric, host, device, labels and series; a label is labels['name']"
            }
            Self::BadQuery { .. } => {
                "for example: SELECT host, avg(value) FROM samples WHERE metric = 'up' AND timestamp > now() - INTERVAL '1 hour' GROUP BY host"
            }
            Self::ReadOnly { .. } => {
                "send SELECT, WITH, VALUES, SHOW, DESCRIBE or EXPLAIN; samples are written by OTLP or remote write"
            }
            Self::TooLong { .. } => "shorten lists of values, or use a join with VALUES",
            Self::Memory { .. } => "narrow timestamp, metric or host in WHERE, or aggregate before joining and sorting",
            Self::AnswerTooLarge { .. } | Self::TooManyRows { .. } => "select fewer columns or rows, or aggregate",
            Self::Timeout(_) => "narrow timestamp, metric or host in WHERE, or raise the limit of time",
            Self::Store(error) => return error.hint(),
            Self::Canceled | Self::Execution { .. } | Self::Internal { .. } => return None,
        })
    }
}

impl From<DataFusionError> for SqlError {
    fn from(error: DataFusionError) -> Self {
        // The first line says it; a backtrace may follow.
        let message = error.strip_backtrace();
        match error.find_root() {
            DataFusionError::SQL(..) | DataFusionError::SchemaError(..) | DataFusionError::NotImplemented(_) => {
                Self::BadQuery { message }
            }
            DataFusionError::Plan(text) => {
                if ["DDL not supported", "DML not supported", "Statement not supported"]
                    .iter()
                    .any(|t| text.starts_with(t))
                {
                    return Self::ReadOnly { message: text.clone() };
                }
                Self::BadQuery { message }
            }
            DataFusionError::ResourcesExhausted(_) => Self::Memory { message },
            DataFusionError::IoError(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                Self::Memory { message }
            }
            // The disk manager's own bound, which reaches us as the text of an I/O error inside an Arrow error.
            DataFusionError::ArrowError(..) if message.contains("max_temp_directory_size") => Self::Memory { message },
            DataFusionError::Execution(_) | DataFusionError::ArrowError(..) | DataFusionError::External(_) => {
                Self::Execution { message }
            }
            _ => Self::Internal { message },
        }
    }
}
