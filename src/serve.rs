//! The server's parts, built in the order of the line and stopped in that order too, each drained before the next.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use api::access::{Access, Enrolment, guarded};
use api::install::AgentBinaries;
use api::notify::Notifier;
use api::serve::{Connections, Port, Seats};
use api::tls::Tls;
use api::{App, AppParts, Board, Build};
use ingest::scrape::{ScrapeConfig, Scraper};
use predict::live::ForecastOptions;
use sql::{SqlEngine, SqlOptions};
use store::promql::Engine;
use store::{Clock, StoreOptions, Tenants};
use tokio::sync::watch;

use crate::alerting;
use crate::clock::now_ms;
use crate::config::{Config, Listen};
use crate::objectives;
use crate::own_metrics::OwnMetrics;
use crate::runtime::{Runtimes, Settings};
use crate::{process, security, targets};

/// How long requests in flight may take to finish when the server stops.
const DRAIN: Duration = Duration::from_secs(10);

/// Run the server.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Configuration file (TOML); every key is optional.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Page, API, Prometheus API, remote write and OTLP/HTTP; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<SocketAddr>,
    /// OTLP/HTTP on its customary port as well.
    #[arg(long, value_name = "HOST:PORT|off")]
    otlp_http: Option<Listen>,
    /// OTLP over gRPC on its customary port; it is taken at the other ports as well.
    #[arg(long, value_name = "HOST:PORT|off")]
    otlp_grpc: Option<Listen>,
    /// Arrow Flight SQL, for ADBC, JDBC and Grafana's Flight SQL plug-in.
    #[arg(long, value_name = "HOST:PORT|off")]
    flight_sql: Option<Listen>,
    /// Folder of the agents that /install.sh installs: foreshock-agent-x86_64, foreshock-agent-aarch64; that of this program
    /// unless told.
    #[arg(long, value_name = "DIR")]
    agent_dir: Option<PathBuf>,
    /// A Prometheus configuration whose `scrape_configs` are scraped: static targets and files of targets.
    #[arg(long, value_name = "FILE")]
    scrape_config: Option<PathBuf>,
    /// Prometheus rule files to load beside the built-in rules, for example '/etc/foreshock/rules/*.yml'.
    #[arg(long, value_name = "GLOB")]
    rules: Vec<String>,
    /// Routes and receivers as Alertmanager's configuration says them.
    #[arg(long, value_name = "FILE")]
    alertmanager_config: Option<PathBuf>,
    /// Listen beyond loopback although there are no tokens.
    #[arg(long)]
    insecure: bool,
    /// Chain of certificates (PEM); every port then speaks TLS. Taken anew when the file changes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Key of --tls-cert (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Make certificates by an authority of the server's own, kept in the data directory; agents are given its fingerprint.
    #[arg(long, conflicts_with = "tls_cert")]
    tls_self_signed: bool,
    /// Name or address that such a certificate is good for, besides those of this host. May be repeated.
    #[arg(long, value_name = "NAME")]
    tls_name: Vec<String>,
    /// Drop parts wholly older than this; 0 keeps everything.
    #[arg(long, value_name = "DAYS")]
    retention_days: Option<u32>,
    /// Drop a tenant's oldest parts while all of them take more than this; 0 sets no bound.
    #[arg(long, value_name = "BYTES")]
    retention_bytes: Option<u64>,
}

impl Arguments {
    fn config(&self) -> Result<Config> {
        let mut config = Config::read(self.config.as_deref())?;
        if let Some(data) = &self.data {
            config.data.clone_from(data);
        }
        config.listen = self.listen.unwrap_or(config.listen);
        config.otlp_http = self.otlp_http.unwrap_or(config.otlp_http);
        config.otlp_grpc = self.otlp_grpc.unwrap_or(config.otlp_grpc);
        if let Some(dir) = &self.agent_dir {
            config.agent_dir = Some(dir.clone());
        }
        if let Some(path) = &self.scrape_config {
            config.scrape_config = Some(path.clone());
        }
        config.flight_sql = self.flight_sql.unwrap_or(config.flight_sql);
        config.rules.extend(self.rules.iter().cloned());
        config.insecure |= self.insecure;
        if self.tls_cert.is_some() {
            config.tls_cert.clone_from(&self.tls_cert);
            config.tls_key.clone_from(&self.tls_key);
        }
        config.tls_self_signed |= self.tls_self_signed;
        config.tls_names.extend(self.tls_name.iter().cloned());
        config.store.retention_days = self.retention_days.unwrap_or(config.store.retention_days);
        config.store.retention_bytes = self.retention_bytes.unwrap_or(config.store.retention_bytes);
        if let Some(file) = &self.alertmanager_config {
            config.alertmanager_config = Some(file.clone());
        }
        config.check()?;
        Ok(config)
    }
}

#[expect(clippy::print_stdout, reason = "scripts read the address from the first line")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let config = arguments.config()?;
    let server = Server::start(&config)?;
    let pin = server
        .pin
        .as_ref()
        .map(|pin| format!("\nagents believe this server with --pin {pin}"));
    println!(
        "listening on {} (data in {}){}",
        server.url(),
        config.data.display(),
        pin.unwrap_or_default()
    );
    wait_for_stop(&server)?;
    server.stop()
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where page and API are.
    pub(crate) address: SocketAddr,
    pub(crate) tenants: Arc<Tenants>,
    pub(crate) runtimes: Arc<Runtimes>,
    /// Fingerprint of the server's own authority, where it has one.
    pub(crate) pin: Option<String>,
    scheme: &'static str,
    stop: watch::Sender<bool>,
    rounds: JoinHandle<()>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    tokio: tokio::runtime::Runtime,
}

impl Server {
    /// Opens the data directory and begins to listen.
    ///
    /// # Errors
    /// A data directory that is in use or cannot be written, an address that is taken, rules that are not valid.
    pub(crate) fn start(config: &Config) -> Result<Self> {
        let own = OwnMetrics::install();
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("foreshock-io")
            // Expressions may nest 1000 levels deep; room that is not used is not taken either.
            .thread_stack_size(8 << 20)
            .build()
            .context("cannot start the I/O threads")?;
        let (stop, stopping) = watch::channel(false);

        let tenants = Arc::new(
            Tenants::open(&config.data, store_options(config)?)
                .with_context(|| format!("cannot open data directory {}", config.data.display()))?,
        );
        let access = Access::open(&config.data, Clock::new(now_ms))?.known_as(&security::own_names(config));
        let (tls, agent_authority) = security::tls(config)?;
        security::warn_of_open_ports(config, &access, tls.as_ref());
        let engine = Arc::new(Engine::new(config.promql.options()));
        let board = Arc::new(Board::default());
        let notifier =
            Notifier::new(alerting::settings(config)?).context("cannot set up the delivery of notifications")?;
        let notifier = Arc::new(notifier);
        let runtimes = Arc::new(Runtimes::new(
            Arc::clone(&tenants),
            Arc::clone(&engine),
            Arc::clone(&board),
            own.clone(),
            settings(config)?,
            Arc::clone(&notifier),
        ));

        let limits = ingest::Limits {
            zero_at_start: config.remote_write.created_timestamp_zero_ingestion,
            ..ingest::Limits::default()
        };
        let intake = ingest::IngestState::new(Arc::clone(&tenants), limits);
        let intake = Arc::new(intake.with_otlp(config.otlp.options()?));
        let write = api::closer::asking(ingest::router(Arc::clone(&intake)), Arc::clone(&board));
        let scraper = match &config.scrape_config {
            None => None,
            Some(path) => {
                let scraped = ScrapeConfig::read(path)?;
                let client = api::notify::client().context("cannot set up scraping")?;
                Some(Arc::new(Scraper::new(intake, scraped, client)))
            }
        };
        let app = App::new(AppParts {
            tenants: Arc::clone(&tenants),
            engine,
            sql: Arc::new(sql_engine(config)?),
            board,
            agents: access.agents().clone(),
            notifier,
            groups: Arc::clone(&runtimes.settings().groups),
            clock: Clock::new(now_ms),
            metrics: Arc::new(move || own.text()),
            ready: Arc::new(|| Ok(())),
            build: Build {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                revision: "unknown".to_owned(),
            },
            banner: None,
            limits: api::Limits {
                queries_at_once: config.promql.queries_max as usize,
                query_timeout: config.promql.timeout(),
                ..api::Limits::default()
            },
            cors_origins: config.cors_origins.clone(),
            scraped: {
                let scraper = scraper.clone();
                Arc::new(move || scraper.as_deref().map(targets::scraped).unwrap_or_default())
            },
        });
        let enrolment = Enrolment {
            access: access.clone(),
            authority: agent_authority,
            lifetime: config.agents.lifetime()?,
            clock: Clock::new(now_ms),
        };
        // An agent may know the server by any of its ports.
        let authority = tls
            .as_ref()
            .map(Tls::router)
            .unwrap_or_default()
            .merge(enrolment.router());
        let flight = api::flight_router(&app);
        let router = api::router(app)
            .merge(write.clone())
            .merge(authority.clone())
            .merge(agent_binaries(config)?.router());
        let write = write.merge(authority);
        let mut tasks = Vec::new();
        let most = config.connections_max.map(|most| most.get() as usize);
        let connections = Connections {
            seats: Seats::new(most.unwrap_or_else(process::connections_max)),
            ..Connections::default()
        };
        let mut serve = |address, router| {
            let port = tokio.block_on(bind(address))?.with_tls(tls.clone());
            let address = port.address();
            let router = guarded(router, access.clone(), |denied, path, headers| {
                ingest::denied(path, headers, denied.status(), denied.detail(), denied.hint())
            });
            tasks.push(tokio.spawn(port.serve(router, connections.clone(), stopping.clone())));
            Ok::<_, anyhow::Error>(address)
        };
        let address = serve(config.listen, router)?;
        for otlp in [config.otlp_http, config.otlp_grpc]
            .into_iter()
            .filter_map(Listen::address)
        {
            serve(otlp, write.clone())?;
        }
        if let Some(address) = config.flight_sql.address() {
            serve(address, flight)?;
        }
        if let Some(scraper) = scraper {
            tasks.push(tokio.spawn(scraper.run(stopping.clone())));
        }
        let pin = tls.as_ref().and_then(Tls::pin);
        tasks.push(tokio.spawn(security::renew(access, tls, stopping.clone())));
        tasks.push(tokio.spawn(Arc::clone(&runtimes).deliver(stopping.clone())));
        let rounds = {
            let (runtimes, stopping) = (Arc::clone(&runtimes), stopping);
            std::thread::Builder::new()
                .name("foreshock-rounds".to_owned())
                .spawn(move || runtimes.run(&stopping))
                .context("cannot start the scoring thread")?
        };
        Ok(Self {
            address,
            tenants,
            runtimes,
            pin,
            scheme: config.scheme(),
            stop,
            rounds,
            tasks,
            tokio,
        })
    }

    /// Base URL of page and API.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Stops listening, finishes what is in flight, then closes the store.
    pub(crate) fn stop(self) -> Result<()> {
        self.stop.send_replace(true);
        self.tokio.block_on(async {
            for task in self.tasks {
                if let Err(error) = tokio::time::timeout(DRAIN, task).await {
                    tracing::warn!(%error, "a request was cut off");
                }
            }
        });
        if self.rounds.join().is_err() {
            tracing::error!("the scoring thread panicked");
        }
        self.tokio.shutdown_timeout(DRAIN);
        self.runtimes.close();
        self.tenants
            .close()
            .context("the store did not close cleanly; its write-ahead log is replayed at the next start")
    }

    /// Something to wait on that ends when the server does.
    pub(crate) fn running(&self) -> RunningServer {
        RunningServer {
            stopping: self.stop.subscribe(),
        }
    }

    /// Runs a future on the server's I/O threads.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.tokio.block_on(future)
    }
}

/// Whether a server is still running, for threads beside it.
#[derive(Clone, Debug)]
pub(crate) struct RunningServer {
    stopping: watch::Receiver<bool>,
}

impl RunningServer {
    /// Waits for `time`, or less where the server stops; answers whether it still runs.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let until = std::time::Instant::now() + time;
        while !*self.stopping.borrow() {
            let left = until.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(Duration::from_millis(200)));
        }
        false
    }
}

/// Waits for SIGTERM or Ctrl-C.
pub(crate) fn wait_for_stop(server: &Server) -> Result<()> {
    server
        .block_on(async {
            let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            tokio::select! {
                pressed = tokio::signal::ctrl_c() => pressed?,
                _ = terminate.recv() => {}
            }
            Ok::<(), std::io::Error>(())
        })
        .context("cannot wait for signals")
}

/// Where `/install.sh` finds what it installs.
fn agent_binaries(config: &Config) -> Result<AgentBinaries> {
    let beside = || {
        let program = std::env::current_exe().context("cannot tell where this program is; say --agent-dir")?;
        let dir = program
            .parent()
            .context("this program lies in no folder; say --agent-dir")?;
        Ok::<_, anyhow::Error>(dir.to_owned())
    };
    Ok(AgentBinaries {
        dir: config.agent_dir.clone().map_or_else(beside, Ok)?,
        own: std::env::consts::ARCH,
        scheme: config.scheme(),
        url: config.external_url.clone(),
    })
}

async fn bind(address: SocketAddr) -> Result<Port> {
    Port::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; is another foreshock or OpenTelemetry Collector there? (--listen, --otlp-http off, --otlp-grpc off, --flight-sql off)")
    })
}

/// SQL over samples, with the tables that lie in a tenant's state beside them.
fn sql_engine(config: &Config) -> Result<SqlEngine> {
    let bounds = &config.sql;
    let options = SqlOptions {
        memory_bytes: (bounds.memory_mib as usize) << 20,
        spill_dir: Some(config.data.join("spill")),
        spill_bytes_max: u64::from(bounds.spill_mib) << 20,
        timeout: Duration::from_secs(u64::from(bounds.timeout_seconds)),
        rows_max: bounds.rows_max as usize,
        queries_max: bounds.queries_max as usize,
        ..SqlOptions::default()
    };
    let engine = SqlEngine::new(options).context("cannot set up SQL")?;
    api::tables::register(engine).context("cannot set up the tables of SQL")
}

fn store_options(config: &Config) -> Result<StoreOptions> {
    let (days, bytes) = (i64::from(config.store.retention_days), config.store.retention_bytes);
    Ok(StoreOptions {
        max_series: config.store.max_series as usize,
        out_of_order_window_ms: i64::from(config.store.out_of_order_minutes) * 60_000,
        retention_ms: (days > 0).then_some(days * 86_400_000),
        retention_bytes: (bytes > 0).then_some(bytes),
        retention_rules: config.store.rules()?,
        rollups: config.store.rollups()?,
        result_cache_bytes: (config.store.result_cache_mib as usize) << 20,
        wal_sync: config.store.wal_sync()?,
        clock: Clock::new(now_ms),
        ..StoreOptions::default()
    })
}

fn settings(config: &Config) -> Result<Settings> {
    let mut groups = api::rule::default_groups();
    if let Some(seconds) = config.notify.rule_interval_seconds {
        for group in &mut groups {
            group.interval_ms = i64::from(seconds) * 1_000;
        }
    }
    for pattern in &config.rules {
        for file in rule_files(pattern)? {
            groups.extend(api::rule::load_file(&file).with_context(|| format!("rule file {}", file.display()))?);
        }
    }
    groups.extend(objectives::groups(&config.objective)?);
    Ok(Settings {
        round_ms: i64::from(config.predict.round_seconds) * 1_000,
        budget_per_host_day: config.predict.budget_per_host_day,
        groups: groups.into(),
        forecast: ForecastOptions::default(),
    })
}

/// The files that `pattern` names; a `*` is understood in the file's name.
fn rule_files(pattern: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(pattern);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((before, after)) = name.split_once('*') else {
        return Ok(vec![path.to_owned()]);
    };
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut files = Vec::new();
    for entry in
        std::fs::read_dir(dir).with_context(|| format!("cannot list {} for --rules {pattern}", dir.display()))?
    {
        let entry = entry.with_context(|| format!("cannot list {}", dir.display()))?;
        let name = entry.file_name();
        let fits =
            |name: &str| name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after);
        if name.to_str().is_some_and(fits) {
            files.push(entry.path());
        }
    }
    if files.is_empty() {
        bail!("no rule file fits {pattern}");
    }
    files.sort();
    Ok(files)
}
