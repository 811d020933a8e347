//! What every handler shares.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sql::SqlEngine;
use store::promql::Engine;
use store::{Clock, Store, Tenants};

use crate::access::Agents;
use crate::board::Board;
use crate::notify::Notifier;
use crate::params::DEFAULT_TENANT;
use crate::problem::{Kind, Problem};
use crate::rule::Group;
use crate::work::{Slots, blocking};

/// The parts that the composition root hands over.
pub struct AppParts {
    /// Every tenant's store.
    pub tenants: Arc<Tenants>,
    /// Evaluates PromQL.
    pub engine: Arc<Engine>,
    /// Evaluates SQL.
    pub sql: Arc<SqlEngine>,
    /// Where rounds and alerts are put up.
    pub board: Arc<Board>,
    /// The hosts that have joined.
    pub agents: Agents,
    /// Who is told about alerts.
    pub notifier: Arc<Notifier>,
    /// The rules of every tenant, from files: those that the API does not change.
    pub groups: Arc<[Group]>,
    /// Where the time comes from.
    pub clock: Clock,
    /// This process' own metrics in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Whether everything behind the routes has started; `Err` says what is still missing.
    pub ready: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// What is running.
    pub build: Build,
    /// A line that stands above every page, as `demo` wants it.
    pub banner: Option<String>,
    /// Bounds.
    pub limits: Limits,
    /// Origins whose pages may read and query from a browser, such as `https://grafana.example`.
    pub cors_origins: Vec<String>,
    /// What is scraped; nothing where there is no scraper.
    pub scraped: Arc<dyn Fn() -> Scraped + Send + Sync>,
}

/// What is scraped, as Prometheus' API lists it.
#[derive(Clone, Debug, Default)]
pub struct Scraped {
    /// The names of the jobs.
    pub jobs: Vec<String>,
    /// The targets that are scraped.
    pub targets: Vec<ScrapedTarget>,
    /// How many targets relabelling has dropped, by job.
    pub dropped: BTreeMap<String, u64>,
}

/// A target and its last scrape.
#[derive(Clone, Debug)]
pub struct ScrapedTarget {
    /// The job that it belongs to.
    pub job: String,
    /// Where it is scraped.
    pub url: String,
    /// The labels of its series.
    pub labels: Vec<(String, String)>,
    /// What it was before relabelling.
    pub discovered: Vec<(String, String)>,
    /// `up`, `down` or `unknown`.
    pub health: &'static str,
    /// Why the last scrape failed; empty where it did not.
    pub last_error: String,
    /// When it was scraped last, milliseconds since 1970; 0 before the first time.
    pub last_scrape_ms: i64,
    /// How long that took.
    pub last_duration: Duration,
    /// Between two scrapes.
    pub interval: Duration,
    /// How long a scrape may take.
    pub timeout: Duration,
}

impl fmt::Debug for AppParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppParts")
            .field("build", &self.build)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What is running.
#[derive(Clone, Debug)]
pub struct Build {
    /// The version of the package.
    pub version: String,
    /// The commit, or `unknown`.
    pub revision: String,
}

/// Bounds of what is answered.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Queries that run at once.
    pub queries_at_once: usize,
    /// How long a query waits for its turn before it is refused.
    pub query_wait: Duration,
    /// How long a query may take, also where it asks for more.
    pub query_timeout: Duration,
    /// Bytes of a request's body.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queries_at_once: 16,
            query_wait: Duration::from_secs(10),
            query_timeout: Duration::from_secs(120),
            body_bytes: 2 << 20,
        }
    }
}

/// What every handler shares; cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    parts: AppParts,
    slots: Slots,
    started_ms: i64,
}

impl App {
    /// The shared state over `parts`.
    #[must_use]
    pub fn new(parts: AppParts) -> Self {
        let slots = Slots::new(parts.limits.queries_at_once, parts.limits.query_wait);
        let started_ms = parts.clock.now_ms();
        Self(Arc::new(Shared {
            parts,
            slots,
            started_ms,
        }))
    }

    /// The time in milliseconds.
    pub(crate) fn now(&self) -> i64 {
        self.0.parts.clock.now_ms()
    }

    pub(crate) fn started_ms(&self) -> i64 {
        self.0.started_ms
    }

    pub(crate) fn build(&self) -> &Build {
        &self.0.parts.build
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.parts.limits
    }

    pub(crate) fn board(&self) -> &Board {
        &self.0.parts.board
    }

    pub(crate) fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.0.parts.engine)
    }

    pub(crate) fn agents(&self) -> &Agents {
        &self.0.parts.agents
    }

    pub(crate) fn notifier(&self) -> &Arc<Notifier> {
        &self.0.parts.notifier
    }

    pub(crate) fn groups(&self) -> Arc<[Group]> {
        Arc::clone(&self.0.parts.groups)
    }

    pub(crate) fn sql(&self) -> &SqlEngine {
        &self.0.parts.sql
    }

    pub(crate) fn sql_shared(&self) -> Arc<SqlEngine> {
        Arc::clone(&self.0.parts.sql)
    }

    pub(crate) fn tenants(&self) -> &Arc<Tenants> {
        &self.0.parts.tenants
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.0.slots
    }

    pub(crate) fn metrics(&self) -> String {
        (self.0.parts.metrics)()
    }

    pub(crate) fn ready(&self) -> Result<(), String> {
        (self.0.parts.ready)()
    }

    pub(crate) fn scraped(&self) -> Scraped {
        (self.0.parts.scraped)()
    }

    pub(crate) fn cors_origins(&self) -> &[String] {
        &self.0.parts.cors_origins
    }

    pub(crate) fn banner(&self) -> Option<&str> {
        self.0.parts.banner.as_deref()
    }

    /// The store of `tenant`. The default tenant exists as soon as it is asked for, any other once something was written.
    pub(crate) async fn store(&self, tenant: &str) -> Result<Arc<Store>, Problem> {
        if let Some(store) = self.tenants().get(tenant) {
            return Ok(store);
        }
        if tenant == DEFAULT_TENANT {
            let tenants = Arc::clone(self.tenants());
            return blocking(move || tenants.get_or_create(DEFAULT_TENANT).map_err(Problem::from)).await;
        }
        Err(Problem::new(Kind::NotFound, format!("there is no tenant {tenant:?}"))
            .hint("GET /api/v1/tenants lists them; a tenant comes into being with the first sample written to it"))
    }
}
