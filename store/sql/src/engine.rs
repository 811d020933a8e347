//! Plans and runs queries within bounds, on threads of its own.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::MemoryCatalogProviderList;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use futures::StreamExt;
use futures::future::Either;
use store::Store;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::error::SqlError;
use crate::samples::SamplesTable;
use crate::tables::{Definition, Rows, RowsTable, SeriesTable, metrics};

/// The bounds of queries.
#[derive(Clone, Debug)]
pub struct SqlOptions {
    /// Memory of all queries together; sorts, joins and aggregations spill beyond it.
    pub memory_bytes: usize,
    /// Where they spill; the system's directory for temporary files where it is not said.
    pub spill_dir: Option<PathBuf>,
    /// Most bytes spilled at once.
    pub spill_bytes_max: u64,
    /// Longest time of one query, waiting included.
    pub timeout: Duration,
    /// Most rows of an answer; what is beyond is cut off, and the answer says so.
    pub rows_max: usize,
    /// Most bytes of an answer.
    pub answer_bytes_max: usize,
    /// Most bytes of a query's text.
    pub query_bytes_max: usize,
    /// Threads that run queries.
    pub threads: usize,
    /// Most queries at once; the others wait.
    pub queries_max: usize,
}

impl Default for SqlOptions {
    fn default() -> Self {
        Self {
            memory_bytes: 512 << 20,
            spill_dir: None,
            spill_bytes_max: 10 << 30,
            timeout: Duration::from_secs(60),
            rows_max: 1_000_000,
            answer_bytes_max: 256 << 20,
            query_bytes_max: 64 << 10,
            threads: std::thread::available_parallelism()
                .map_or(2, NonZeroUsize::get)
                .clamp(1, 16),
            queries_max: 8,
        }
    }
}

/// The rows of a query.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Names and types of the columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// Whether there were more rows than [`SqlOptions::rows_max`].
    pub truncated: bool,
}

impl Answer {
    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// Runs SQL over the stores of all tenants.
pub struct SqlEngine {
    options: SqlOptions,
    // Functions, rules and the memory pool, made once; every query starts from it.
    base: SessionState,
    tables: Vec<Definition>,
    queries: Arc<Semaphore>,
    // Taken when dropped: a runtime must not be waited for from within another.
    runtime: Option<Runtime>,
}

impl fmt::Debug for SqlEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlEngine")
            .field("options", &self.options)
            .field("tables", &self.tables)
            .finish_non_exhaustive()
    }
}

impl Drop for SqlEngine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl SqlEngine {
    /// An engine with threads of its own.
    ///
    /// # Errors
    /// [`SqlError::Internal`] when the threads cannot be started or the spill directory cannot be used.
    pub fn new(options: SqlOptions) -> Result<Self, SqlError> {
        let pool = TrackConsumersPool::new(FairSpillPool::new(options.memory_bytes), NonZeroUsize::MIN);
        let mode = match &options.spill_dir {
            Some(dir) => DiskManagerMode::Directories(vec![dir.clone()]),
            None => DiskManagerMode::OsTmpDirectory,
        };
        let disk = DiskManagerBuilder::default()
            .with_mode(mode)
            .with_max_temp_directory_size(options.spill_bytes_max);
        let environment = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(pool))
            .with_disk_manager_builder(disk)
            .build_arc()?;
        let config = SessionConfig::new()
            .with_target_partitions(options.threads)
            .with_information_schema(true)
            .with_default_catalog_and_schema("foreshock", "public");
        let base = SessionStateBuilder::new()
            .with_default_features()
            .with_config(config)
            .with_runtime_env(environment)
            .build();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            // Two at least, so that a query that computes without a pause does not hold up the clock.
            .worker_threads(options.threads.max(2))
            // Plans nest as deep as a query does.
            .thread_stack_size(8 << 20)
            .thread_name("foreshock-sql")
            .enable_time()
            .build()
            .map_err(|error| SqlError::Internal {
                message: format!("cannot start threads for queries: {error}"),
            })?;
        let queries = Arc::new(Semaphore::new(options.queries_max.max(1)));
        Ok(Self {
            options,
            base,
            tables: vec![metrics()],
            queries,
            runtime: Some(runtime),
        })
    }

    /// Adds a table to those of every tenant, in place of one of the same name: `rows` is asked for all of its rows, of one
    /// tenant, whenever a query reads it.
    #[must_use]
    pub fn register(mut self, name: &str, schema: SchemaRef, rows: Arc<Rows>) -> Self {
        self.tables.retain(|table| table.name != name);
        self.tables.push(Definition {
            name: name.to_owned(),
            schema,
            rows,
        });
        self
    }

    /// The bounds of queries.
    #[must_use]
    pub fn options(&self) -> &SqlOptions {
        &self.options
    }

    /// Runs one query. Dropping the future stops it.
    ///
    /// # Errors
    /// [`SqlError`]; its [`kind`](SqlError::kind) and [`hint`](SqlError::hint) say what to do.
    pub async fn query(&self, store: &Arc<Store>, sql: &str) -> Result<Answer, SqlError> {
        let (bytes, limit) = (sql.len(), self.options.query_bytes_max);
        if bytes > limit {
            return Err(SqlError::TooLong { bytes, limit });
        }
        let Some(runtime) = &self.runtime else {
            return Err(SqlError::Canceled);
        };
        let context = self.context(store)?;
        let (sql, options, queries) = (sql.to_owned(), self.options.clone(), Arc::clone(&self.queries));
        let timeout = options.timeout;
        let mut task = runtime.spawn(async move {
            let _permit = queries.acquire().await.map_err(|_| SqlError::Canceled)?;
            run(&context, &sql, &options).await
        });
        // A task of its own: some operators compute for seconds before they look up, and the caller is not to wait for them.
        let mut alarm = runtime.spawn(async move { tokio::time::sleep(timeout).await });
        let _stop = [StopOnDrop(task.abort_handle()), StopOnDrop(alarm.abort_handle())];
        match futures::future::select(&mut task, &mut alarm).await {
            Either::Right(_) => Err(SqlError::Timeout(timeout)),
            Either::Left((Ok(answer), _)) => answer,
            Either::Left((Err(error), _)) if error.is_panic() => Err(SqlError::Internal {
                message: "the query could not be evaluated".to_owned(),
            }),
            Either::Left(_) => Err(SqlError::Canceled),
        }
    }

    /// As [`SqlEngine::query`], for threads that may block.
    ///
    /// # Errors
    /// As [`SqlEngine::query`].
    pub fn query_blocking(&self, store: &Arc<Store>, sql: &str) -> Result<Answer, SqlError> {
        futures::executor::block_on(self.query(store, sql))
    }

    /// A session that sees one snapshot of one tenant.
    fn context(&self, store: &Arc<Store>) -> Result<SessionContext, SqlError> {
        let state = SessionStateBuilder::new_from_existing(self.base.clone())
            .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
            .build();
        let context = SessionContext::new_with_state(state);
        let snapshot = store.snapshot();
        let catalog = datafusion::catalog::MemoryCatalogProvider::new();
        let tables = Arc::new(datafusion::catalog::MemorySchemaProvider::new());
        datafusion::catalog::CatalogProvider::register_schema(&catalog, "public", tables)?;
        context.register_catalog("foreshock", Arc::new(catalog));
        context.register_table("samples", Arc::new(SamplesTable::new(snapshot.clone())))?;
        context.register_table("series", Arc::new(SeriesTable { snapshot }))?;
        for definition in &self.tables {
            let table = RowsTable {
                definition: definition.clone(),
                store: Arc::clone(store),
            };
            context.register_table(definition.name.as_str(), Arc::new(table))?;
        }
        Ok(context)
    }
}

/// Stops a task whose caller has gone away.
struct StopOnDrop(tokio::task::AbortHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(context: &SessionContext, sql: &str, options: &SqlOptions) -> Result<Answer, SqlError> {
    let read_only = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    let frame = context.sql_with_options(sql, read_only).await?;
    let mut stream = frame.execute_stream().await?;
    let schema = stream.schema();
    let (mut batches, mut rows, mut bytes, mut truncated) = (Vec::new(), 0, 0, false);
    while let Some(batch) = stream.next().await {
        let mut batch = batch?;
        if batch.num_rows() == 0 {
            continue;
        }
        let left = options.rows_max - rows;
        if batch.num_rows() > left {
            truncated = true;
            batch = batch.slice(0, left);
        }
        rows += batch.num_rows();
        bytes += batch.get_array_memory_size();
        if bytes > options.answer_bytes_max {
            return Err(SqlError::AnswerTooLarge {
                limit: options.answer_bytes_max,
            });
        }
        if batch.num_rows() > 0 {
            batches.push(batch);
        }
        if truncated {
            break;
        }
    }
    Ok(Answer {
        schema,
        batches,
        truncated,
    })
}
