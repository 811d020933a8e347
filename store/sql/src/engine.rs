//! Plans and runs queries within bounds, on threads of its own.

use std::fmt;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::MemoryCatalogProviderList;
use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use store::Store;
use store::table::Table;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;

use crate::appended::AppendedTable;
use crate::columns::{SAMPLES, SERIES};
use crate::error::SqlError;
use crate::rollups::{self, ROLLUPS};
use crate::rows::{self, Answer, Bounds, Described, RowStream, Statement, read_only};
use crate::samples::SamplesTable;
use crate::tables::{BySeries, Definition, Rows, RowsTable, metrics};
use crate::views::{self, View};
use crate::wide::Wide;

/// Where tables without a longer name are.
pub(crate) const CATALOG: &str = "foreshock";
pub(crate) const SCHEMA: &str = "public";

/// The bounds of queries.
#[derive(Clone, Debug)]
pub struct SqlOptions {
    /// Memory of all queries together; sorts, joins and aggregations spill beyond it.
    pub memory_bytes: usize,
    /// Where they spill: a directory for nothing else, emptied when the engine is made, since a crash may leave what it held.
    /// The system's directory for temporary files where it is not said.
    pub spill_dir: Option<PathBuf>,
    /// Most bytes spilled at once.
    pub spill_bytes_max: u64,
    /// Longest time of one query, from its arrival to its last row read.
    pub timeout: Duration,
    /// Most rows of an answer; what is beyond is cut off, and the answer says so.
    pub rows_max: usize,
    /// Most rows of an answer over Flight SQL, which cannot say that it was cut off: with more it ends in an error.
    pub flight_rows_max: usize,
    /// Most bytes of an answer that is collected in memory; a stream has no such bound.
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
            flight_rows_max: 100_000_000,
            answer_bytes_max: 256 << 20,
            query_bytes_max: 64 << 10,
            threads: std::thread::available_parallelism()
                .map_or(2, NonZeroUsize::get)
                .clamp(1, 16),
            queries_max: 8,
        }
    }
}

/// A query, and what of the bounds it gives up.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// Its text.
    pub sql: &'a str,
    /// Most rows; [`SqlOptions::rows_max`] holds as well.
    pub rows_max: Option<usize>,
    /// Longest time; [`SqlOptions::timeout`] holds as well.
    pub timeout: Option<Duration>,
}

impl<'a> Query<'a> {
    /// A query within the engine's own bounds.
    #[must_use]
    pub fn new(sql: &'a str) -> Self {
        Self {
            sql,
            rows_max: None,
            timeout: None,
        }
    }
}

/// Runs SQL over the stores of all tenants.
pub struct SqlEngine {
    options: SqlOptions,
    // The memory pool and where it spills.
    environment: Arc<RuntimeEnv>,
    // Functions and rules, made by the first query; every query starts from them. A server that nobody asks in SQL does not keep
    // DataFusion's pages in memory.
    base: OnceLock<SessionState>,
    tables: Vec<Definition>,
    views: Arc<[View]>,
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
            Some(dir) => {
                sweep(dir)?;
                DiskManagerMode::Directories(vec![dir.clone()])
            }
            None => DiskManagerMode::OsTmpDirectory,
        };
        let disk = DiskManagerBuilder::default()
            .with_mode(mode)
            .with_max_temp_directory_size(options.spill_bytes_max);
        let environment = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(pool))
            .with_disk_manager_builder(disk)
            .build_arc()?;
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
            environment,
            base: OnceLock::new(),
            tables: vec![metrics()],
            views: Arc::default(),
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

    /// Adds a table that is a query over those of the store and of [`SqlEngine::register`]. Whoever reads it is told what is
    /// wrong with `definition`.
    #[must_use]
    pub fn register_view(mut self, name: &str, definition: &str) -> Self {
        let view = View::new(name, definition);
        self.views = self.views.iter().cloned().chain([view]).collect();
        self
    }

    /// The bounds of queries.
    #[must_use]
    pub fn options(&self) -> &SqlOptions {
        &self.options
    }

    /// Runs one query and gives its rows as they come. Dropping the future or the stream stops it.
    ///
    /// # Errors
    /// [`SqlError`]; its [`kind`](SqlError::kind) and [`hint`](SqlError::hint) say what to do.
    pub async fn stream(&self, store: &Arc<Store>, query: Query<'_>) -> Result<RowStream, SqlError> {
        let bounds = Bounds {
            rows: query.rows_max.unwrap_or(usize::MAX).min(self.options.rows_max),
            timeout: query.timeout.unwrap_or(Duration::MAX).min(self.options.timeout),
        };
        let statement = Statement {
            sql: query.sql.to_owned(),
            parameters: None,
        };
        self.start(store, statement, bounds).await
    }

    /// As [`SqlEngine::stream`], within the bounds of Flight SQL and with the values of placeholders.
    pub(crate) async fn stream_statement(
        &self,
        store: &Arc<Store>,
        statement: Statement,
    ) -> Result<RowStream, SqlError> {
        let bounds = Bounds {
            rows: self.options.flight_rows_max,
            timeout: self.options.timeout,
        };
        self.start(store, statement, bounds).await
    }

    async fn start(&self, store: &Arc<Store>, statement: Statement, bounds: Bounds) -> Result<RowStream, SqlError> {
        self.check_length(&statement.sql)?;
        let runtime = self.runtime()?;
        let (context, queries) = (self.context(store)?, Arc::clone(&self.queries));
        rows::start(runtime, context, queries, Arc::clone(&self.views), statement, bounds).await
    }

    /// Plans a query and runs nothing.
    pub(crate) async fn describe(&self, store: &Arc<Store>, sql: &str) -> Result<Described, SqlError> {
        self.check_length(sql)?;
        let (context, views, sql) = (self.context(store)?, Arc::clone(&self.views), sql.to_owned());
        let planned = self.runtime()?.spawn(async move {
            views::register(&context, &views, &sql).await?;
            let plan = context.state().create_logical_plan(&sql).await?;
            read_only().verify_plan(&plan)?;
            Described::of(&plan)
        });
        planned.await.unwrap_or_else(|_| {
            Err(SqlError::Internal {
                message: "the query could not be planned".to_owned(),
            })
        })
    }

    /// Names and columns of the tables.
    pub(crate) fn tables(&self) -> Result<Vec<(String, SchemaRef)>, SqlError> {
        let mut tables = vec![
            ("samples".to_owned(), Arc::clone(&SAMPLES)),
            ("series".to_owned(), Arc::clone(&SERIES)),
            ("rollups".to_owned(), Arc::clone(&ROLLUPS)),
        ];
        tables.extend(Table::ALL.map(|table| (table.name().to_owned(), table.schema())));
        tables.extend(self.tables.iter().map(|t| (t.name.clone(), Arc::clone(&t.schema))));
        let context = self.session()?;
        for (name, schema) in &tables {
            context.register_table(name.as_str(), Arc::new(EmptyTable::new(Arc::clone(schema))))?;
        }
        for view in &*self.views {
            let schema = futures::executor::block_on(view.schema(&context))?;
            tables.push((view.name.clone(), schema));
        }
        Ok(tables)
    }

    fn runtime(&self) -> Result<&Handle, SqlError> {
        self.runtime.as_ref().map(Runtime::handle).ok_or(SqlError::Canceled)
    }

    /// Runs one query and gathers its rows. Dropping the future stops it.
    ///
    /// # Errors
    /// As [`SqlEngine::stream`], and [`SqlError::AnswerTooLarge`].
    pub async fn query(&self, store: &Arc<Store>, sql: &str) -> Result<Answer, SqlError> {
        self.stream(store, Query::new(sql))
            .await?
            .collect(self.options.answer_bytes_max)
            .await
    }

    /// As [`SqlEngine::query`], for threads that may block.
    ///
    /// # Errors
    /// As [`SqlEngine::query`].
    pub fn query_blocking(&self, store: &Arc<Store>, sql: &str) -> Result<Answer, SqlError> {
        futures::executor::block_on(self.query(store, sql))
    }

    fn check_length(&self, sql: &str) -> Result<(), SqlError> {
        let (bytes, limit) = (sql.len(), self.options.query_bytes_max);
        if bytes > limit {
            return Err(SqlError::TooLong { bytes, limit });
        }
        Ok(())
    }

    fn base(&self) -> &SessionState {
        self.base.get_or_init(|| {
            let config = SessionConfig::new()
                .with_target_partitions(self.options.threads)
                // What a sort has gathered when it must spill is sorted where it lies. Merging its batches would need as much again
                // for the keys, which the pool does not have any more.
                .with_sort_in_place_threshold_bytes(self.options.memory_bytes)
                .with_information_schema(true)
                .with_default_catalog_and_schema(CATALOG, SCHEMA);
            SessionStateBuilder::new()
                .with_default_features()
                .with_config(config)
                .with_runtime_env(Arc::clone(&self.environment))
                .build()
        })
    }

    /// A session without tables.
    fn session(&self) -> Result<SessionContext, SqlError> {
        let state = SessionStateBuilder::new_from_existing(self.base().clone())
            .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
            .build();
        let context = SessionContext::new_with_state(state);
        let catalog = datafusion::catalog::MemoryCatalogProvider::new();
        let tables = Arc::new(datafusion::catalog::MemorySchemaProvider::new());
        datafusion::catalog::CatalogProvider::register_schema(&catalog, SCHEMA, tables)?;
        context.register_catalog(CATALOG, Arc::new(catalog));
        Ok(context)
    }

    /// A session that sees one snapshot of one tenant.
    fn context(&self, store: &Arc<Store>) -> Result<SessionContext, SqlError> {
        let context = self.session()?;
        let snapshot = store.snapshot();
        context.register_udtf(
            "wide",
            Arc::new(Wide {
                snapshot: snapshot.clone(),
            }),
        );
        context.register_table("samples", Arc::new(SamplesTable::new(snapshot.clone())))?;
        context.register_table("rollups", Arc::new(rollups::table(snapshot.clone())))?;
        context.register_table("series", Arc::new(BySeries::series(snapshot)))?;
        for table in Table::ALL {
            let snapshot = store.table(table);
            context.register_table(table.name(), Arc::new(AppendedTable { snapshot }))?;
        }
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

/// Makes the spill directory where it is missing, and removes what an earlier process left in it.
fn sweep(dir: &Path) -> Result<(), SqlError> {
    let failed = |action: &str, path: &Path, error: std::io::Error| SqlError::Internal {
        message: format!("cannot {action} {} for spilled rows: {error}", path.display()),
    };
    fs::create_dir_all(dir).map_err(|error| failed("create", dir, error))?;
    for entry in fs::read_dir(dir).map_err(|error| failed("list", dir, error))? {
        let path = entry.map_err(|error| failed("list", dir, error))?.path();
        // The name that DataFusion gives its directories; anything else is not ours to remove.
        let ours = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with("datafusion-"));
        if ours {
            fs::remove_dir_all(&path).map_err(|error| failed("remove", &path, error))?;
        } else {
            tracing::warn!(path = %path.display(), "not a file of a query, left alone");
        }
    }
    Ok(())
}
