//! The rows of one query, as they come: a task of the engine's makes them, a short queue holds them, the caller takes them.
//!
//! ```text
//! task: plan ─► execute ─► queue of QUEUE batches ─► RowStream ─► JSON, CSV, Arrow, Flight
//!       (permit, memory pool)  waits while it is full
//! ```
//! So a slow reader slows the query down, and holds no more than the queue. A reader that goes away ends the query; so does
//! time, also while nobody reads.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ParamValues;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SQLOptions, SessionContext};
use futures::StreamExt;
use futures::future::{Either, select};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinHandle};

use crate::error::SqlError;
use crate::views::{self, View};

/// Batches that are made before the first is taken.
const QUEUE: usize = 2;

/// The rows of a query.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Names and types of the columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// Whether there were more rows than [`SqlOptions::rows_max`](crate::SqlOptions::rows_max).
    pub truncated: bool,
}

impl Answer {
    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// What is run.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    /// Values for its placeholders.
    pub(crate) parameters: Option<ParamValues>,
}

/// What is known of a query before it runs.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    pub(crate) schema: Schema,
    /// A field for each placeholder, in order.
    pub(crate) parameters: Schema,
}

impl Described {
    pub(crate) fn of(plan: &LogicalPlan) -> Result<Self, SqlError> {
        let mut parameters: Vec<_> = plan.get_parameter_types()?.into_iter().collect();
        // `$10` comes after `$9`.
        parameters.sort_by_key(|(name, _)| (name.len(), name.clone()));
        let fields: Vec<Field> = parameters
            .into_iter()
            .map(|(name, of)| Field::new(name, of.unwrap_or(DataType::Utf8), true))
            .collect();
        Ok(Self {
            schema: plan.schema().as_arrow().clone(),
            parameters: Schema::new(fields),
        })
    }
}

/// What one query may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) rows: usize,
    pub(crate) timeout: Duration,
}

/// From the task to the reader.
#[derive(Debug)]
enum Message {
    Planned(SchemaRef),
    Batch(RecordBatch),
    End { truncated: bool },
    Failed(SqlError),
}

/// The rows of a running query. Dropping it ends the query.
#[derive(Debug)]
pub struct RowStream {
    schema: SchemaRef,
    rows_max: usize,
    running: Running,
    // `Some` once there is nothing more to come.
    ended: Option<Ended>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Whole,
    Truncated,
    Failed,
}

/// The task, the clock beside it, and the end of the queue.
#[derive(Debug)]
struct Running {
    messages: mpsc::Receiver<Message>,
    task: JoinHandle<()>,
    // A task of its own: some operators compute for seconds before they look up, and the reader is not to wait for them.
    alarm: JoinHandle<()>,
    timeout: Duration,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
        self.alarm.abort();
    }
}

impl Running {
    async fn next(&mut self) -> Result<Message, SqlError> {
        let message = std::pin::pin!(self.messages.recv());
        let message = match select(message, &mut self.alarm).await {
            Either::Left((message, _)) => message,
            Either::Right(_) => return Err(SqlError::Timeout(self.timeout)),
        };
        if let Some(message) = message {
            return Ok(message);
        }
        // The task ended without a last word.
        Err(match (&mut self.task).await {
            Err(error) if error.is_panic() => SqlError::Internal {
                message: "the query could not be evaluated".to_owned(),
            },
            _ if self.alarm.is_finished() => SqlError::Timeout(self.timeout),
            _ => SqlError::Canceled,
        })
    }
}

impl RowStream {
    /// Names and types of the columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Most rows that it gives.
    #[must_use]
    pub fn rows_max(&self) -> usize {
        self.rows_max
    }

    /// The next rows, at least one; `None` after the last, and after an error.
    ///
    /// # Errors
    /// As [`SqlEngine::stream`](crate::SqlEngine::stream); what was read before is not the whole answer then.
    pub async fn next(&mut self) -> Option<Result<RecordBatch, SqlError>> {
        if self.ended.is_some() {
            return None;
        }
        let error = match self.running.next().await {
            Ok(Message::Batch(batch)) => return Some(Ok(batch)),
            Ok(Message::End { truncated }) => {
                self.ended = Some(if truncated { Ended::Truncated } else { Ended::Whole });
                return None;
            }
            Ok(Message::Failed(error)) | Err(error) => error,
            Ok(Message::Planned(_)) => SqlError::Internal {
                message: "the query was planned twice".to_owned(),
            },
        };
        self.ended = Some(Ended::Failed);
        Some(Err(error))
    }

    /// Whether rows were cut off; known once [`RowStream::next`] has given `None`.
    #[must_use]
    pub fn truncated(&self) -> bool {
        self.ended == Some(Ended::Truncated)
    }

    /// Gathers the rows that are left.
    ///
    /// # Errors
    /// As [`RowStream::next`]; [`SqlError::AnswerTooLarge`] when they take more than `bytes_max`.
    pub(crate) async fn collect(mut self, bytes_max: usize) -> Result<Answer, SqlError> {
        let (mut batches, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = self.next().await {
            let batch = batch?;
            bytes += batch.get_array_memory_size();
            if bytes > bytes_max {
                return Err(SqlError::AnswerTooLarge { limit: bytes_max });
            }
            batches.push(batch);
        }
        Ok(Answer {
            schema: Arc::clone(&self.schema),
            batches,
            truncated: self.truncated(),
        })
    }
}

/// Starts a query on `runtime`, and waits until it is planned and its turn has come.
pub(crate) async fn start(
    runtime: &Handle,
    context: SessionContext,
    turns: Arc<Semaphore>,
    views: Arc<[View]>,
    statement: Statement,
    bounds: Bounds,
) -> Result<RowStream, SqlError> {
    let (sender, messages) = mpsc::channel(QUEUE);
    let task = runtime.spawn(async move {
        // Held until the last row is in the queue.
        let Ok(_permit) = turns.acquire().await else { return };
        let last = match run(&context, &views, statement, bounds.rows, &sender).await {
            Ok(truncated) => Message::End { truncated },
            Err(error) => Message::Failed(error),
        };
        // The snapshot goes first: who has the last word may close the store.
        drop(context);
        // Nobody reads any more: then nobody is to be told.
        sender.send(last).await.ok();
    });
    let alarm = runtime.spawn(ring(bounds.timeout, task.abort_handle()));
    let mut running = Running {
        messages,
        task,
        alarm,
        timeout: bounds.timeout,
    };
    match running.next().await? {
        Message::Planned(schema) => Ok(RowStream {
            schema,
            rows_max: bounds.rows,
            running,
            ended: None,
        }),
        Message::Failed(error) => Err(error),
        Message::Batch(_) | Message::End { .. } => Err(SqlError::Internal {
            message: "the query gave rows before it was planned".to_owned(),
        }),
    }
}

async fn ring(after: Duration, task: AbortHandle) {
    tokio::time::sleep(after).await;
    task.abort();
}

/// What may be run: what only reads.
pub(crate) fn read_only() -> SQLOptions {
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
}

/// Puts the rows into the queue; answers whether some were cut off.
async fn run(
    context: &SessionContext,
    views: &[View],
    statement: Statement,
    rows_max: usize,
    queue: &mpsc::Sender<Message>,
) -> Result<bool, SqlError> {
    views::register(context, views, &statement.sql).await?;
    let mut frame = context.sql_with_options(&statement.sql, read_only()).await?;
    if let Some(parameters) = statement.parameters {
        frame = frame.with_param_values(parameters)?;
    }
    let mut stream: SendableRecordBatchStream = frame.execute_stream().await?;
    let planned = Message::Planned(stream.schema());
    queue.send(planned).await.map_err(|_| SqlError::Canceled)?;
    let mut left = rows_max;
    while let Some(batch) = stream.next().await {
        let mut batch = batch?;
        let truncated = batch.num_rows() > left;
        if truncated {
            batch = batch.slice(0, left);
        }
        left -= batch.num_rows();
        if batch.num_rows() > 0 {
            queue
                .send(Message::Batch(batch))
                .await
                .map_err(|_| SqlError::Canceled)?;
        }
        if truncated {
            return Ok(true);
        }
    }
    Ok(false)
}
