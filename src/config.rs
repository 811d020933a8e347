//! One TOML file, read once; every key is optional. Flags win over the file.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ingest::OtlpOptions;
use serde::Deserialize;
use store::promql::{EngineOptions, parse_selector};
use store::{RetentionRule, RollupOptions, WalSync};
use wire::prometheus::Translation;

use crate::objectives::ObjectiveConfig;
use crate::security;

/// Everything that `foreshock serve` can be told.
///
/// ```toml
/// data = "/var/lib/foreshock"
/// tls_cert = "/etc/foreshock/server.pem"   # with tls_key; or tls_self_signed = true, with tls_names
/// tls_key = "/etc/foreshock/server.key"
/// listen = "127.0.0.1:9750"
/// otlp_http = "127.0.0.1:4318"        # or "off"
/// otlp_grpc = "127.0.0.1:4317"        # or "off"
/// cors_origins = ["https://grafana.example"]
/// flight_sql = "127.0.0.1:9751"       # or "off"
/// connections_max = 32768             # of all ports together; by default half of the files it may open, up to so many
/// rules = ["/etc/foreshock/rules/*.yml"]
/// scrape_config = "/etc/foreshock/prometheus.yml"
/// agent_dir = "/usr/lib/foreshock"    # foreshock-agent-x86_64 and -aarch64, for /install.sh
///
/// [store]
/// max_series = 5000000
/// retention_days = 90
/// retention_bytes = 500000000000      # a tenant; 0: no bound
/// result_cache_mib = 64               # a tenant; 0: every range query is evaluated whole
/// wal_sync = "commit"                 # or "interval": acknowledged first, synced up to wal_sync_milliseconds (1000) later
///
/// [[store.retention]]                 # series that are kept for a shorter time
/// match = '{__name__=~"debug_.*"}'
/// days = 7
///
/// [agents]
/// certificate_hours = 720             # agents that joined renew theirs at two thirds of it
///
/// [store.rollups]                     # what is kept of samples older than retention_days
/// five_minutes_days = 365
/// hour_days = 1825
///
/// [promql]
/// experimental_functions = false
/// max_samples = 50000000              # values that one query may hold at once
/// timeout_seconds = 120
///
/// [sql]
/// memory_mib = 512
/// timeout_seconds = 60
///
/// [predict]
/// budget_per_host_day = 0.02
/// round_seconds = 60
///
/// [remote_write]
/// created_timestamp_zero_ingestion = false
///
/// [otlp]
/// translation_strategy = "UnderscoreEscapingWithSuffixes"
/// promote_resource_attributes = ["k8s.namespace.name"]
///
/// [[receiver]]
/// name = "oncall"
/// webhook = "https://chat.example/hook"
///
/// [[objective]]
/// name = "shop"
/// target = 0.999
/// errors = 'http_requests_total{job="shop", code=~"5.."}'
/// total = 'http_requests_total{job="shop"}'
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Where everything is kept.
    pub(crate) data: PathBuf,
    /// Page, API, Prometheus API, remote write and OTLP/HTTP.
    pub(crate) listen: SocketAddr,
    /// OTLP/HTTP on its customary port as well, or `off`.
    pub(crate) otlp_http: Listen,
    /// OTLP over gRPC on its customary port, or `off`.
    pub(crate) otlp_grpc: Listen,
    /// Origins whose pages may read and query here from a browser; none by default.
    pub(crate) cors_origins: Vec<String>,
    /// Arrow Flight SQL, or `off`.
    pub(crate) flight_sql: Listen,
    /// Connections to all ports together. Beyond them those between two requests are closed for new ones.
    pub(crate) connections_max: Option<NonZeroU32>,
    /// Listen beyond loopback although there are no tokens.
    pub(crate) insecure: bool,
    /// Chain of certificates (PEM), and its key: every port then speaks TLS.
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    /// Make certificates by an authority of the server's own, kept in the data directory.
    pub(crate) tls_self_signed: bool,
    /// Names and addresses that such a certificate is good for, besides those of this host.
    pub(crate) tls_names: Vec<String>,
    /// Folder of the agents that `/install.sh` installs; that of this program unless told.
    pub(crate) agent_dir: Option<PathBuf>,
    /// A Prometheus configuration whose `scrape_configs` are scraped.
    pub(crate) scrape_config: Option<PathBuf>,
    /// Where people find this server, for links in messages; by default the address that it listens on.
    pub(crate) external_url: Option<String>,
    /// Routes and receivers in Alertmanager's form; without one, every receiver below gets everything.
    pub(crate) alertmanager_config: Option<PathBuf>,
    /// Prometheus rule files, as glob patterns; the built-in rules are always loaded.
    pub(crate) rules: Vec<String>,
    pub(crate) agents: AgentsConfig,
    pub(crate) remote_write: RemoteWriteConfig,
    pub(crate) otlp: OtlpConfig,
    pub(crate) store: StoreConfig,
    pub(crate) promql: PromqlConfig,
    pub(crate) sql: SqlConfig,
    pub(crate) predict: PredictConfig,
    pub(crate) notify: NotifyConfig,
    pub(crate) receiver: Vec<ReceiverConfig>,
    pub(crate) objective: Vec<ObjectiveConfig>,
    pub(crate) escalation: Vec<EscalationConfig>,
    pub(crate) schedule: Vec<ScheduleConfig>,
}

/// How remote write becomes series.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RemoteWriteConfig {
    /// Whether a series of remote write 2.0 gets a zero where its sender says that it began to count, as by Prometheus' feature of
    /// that name.
    pub(crate) created_timestamp_zero_ingestion: bool,
}

/// How OTLP becomes series; the keys are those of Prometheus' section `otlp`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OtlpConfig {
    /// `UnderscoreEscapingWithSuffixes` where it is not said.
    pub(crate) translation_strategy: Option<String>,
    /// Attributes of the resource that stand on each of its series.
    pub(crate) promote_resource_attributes: Vec<String>,
    /// Whether `target_info` repeats what `job` and `instance` are made of.
    pub(crate) keep_identifying_resource_attributes: bool,
    /// Whether the scope stands on each series.
    pub(crate) promote_scope_metadata: bool,
}

/// How alerts are gathered into messages.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NotifyConfig {
    /// How long a new group of alerts waits for company before its first message.
    pub(crate) group_wait_seconds: u32,
    /// Whether messages to platforms that fetch pictures say where the chart of an alert lies on this server.
    pub(crate) chart_links: bool,
    /// The receiver that gets copies of what receivers without a fallback of their own cannot be told.
    pub(crate) fallback: Option<String>,
    /// How often the built-in rules are evaluated, instead of what they say themselves.
    pub(crate) rule_interval_seconds: Option<u32>,
}

/// Bounds of the store.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StoreConfig {
    /// Series per tenant; a new one beyond is refused with 429.
    pub(crate) max_series: u32,
    /// Samples later than the newest of their own series by less than this are merged in, older ones refused.
    pub(crate) out_of_order_minutes: u32,
    /// Parts wholly older than this are dropped; 0 keeps everything.
    pub(crate) retention_days: u32,
    /// Bytes that a tenant's parts may take before its oldest ones are dropped; 0 sets no bound.
    pub(crate) retention_bytes: u64,
    /// Memory of a tenant for answers of range queries, in MiB; 0 keeps none.
    pub(crate) result_cache_mib: u32,
    /// When the WAL is synced.
    pub(crate) wal_sync: WalSyncConfig,
    /// By `wal_sync = "interval"`, how long after they were written samples are synced at the latest.
    pub(crate) wal_sync_milliseconds: u32,
    /// Series that are kept for a shorter time.
    pub(crate) retention: Vec<RetentionConfig>,
    /// What is kept of samples that are too old to be kept one by one.
    pub(crate) rollups: RollupConfig,
}

/// How long buckets of samples are kept; 0 makes none.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RollupConfig {
    /// Buckets of five minutes.
    pub(crate) five_minutes_days: u32,
    /// Buckets of an hour.
    pub(crate) hour_days: u32,
}

/// When what is acknowledged is on the disk.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WalSyncConfig {
    /// Before.
    Commit,
    /// After at most [`StoreConfig::wal_sync_milliseconds`]: a power cut takes what came since.
    Interval,
}

/// How long some series are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetentionConfig {
    /// A selector, such as `{__name__=~"debug_.*"}`.
    #[serde(rename = "match")]
    pub(crate) selector: String,
    pub(crate) days: u32,
}

impl StoreConfig {
    /// When the WAL is synced, checked.
    pub(crate) fn wal_sync(&self) -> Result<WalSync> {
        let milliseconds = self.wal_sync_milliseconds;
        if !(1..=60_000).contains(&milliseconds) {
            bail!("store.wal_sync_milliseconds must be from 1 to 60000");
        }
        Ok(match self.wal_sync {
            WalSyncConfig::Commit => WalSync::Commit,
            WalSyncConfig::Interval => WalSync::Interval(Duration::from_millis(milliseconds.into())),
        })
    }

    /// How long rollups are kept, checked.
    pub(crate) fn rollups(&self) -> Result<RollupOptions> {
        let RollupConfig {
            five_minutes_days,
            hour_days,
        } = self.rollups;
        let made = [("five_minutes_days", five_minutes_days), ("hour_days", hour_days)];
        for (key, days) in made.into_iter().filter(|(_, days)| *days > 0) {
            if self.retention_days == 0 {
                bail!(
                    "store.rollups.{key}: with retention_days = 0 samples are kept for ever, and nothing is rolled up"
                );
            }
            if days <= self.retention_days {
                bail!(
                    "store.rollups.{key} must be more than retention_days ({}): rollups tell of the time before",
                    self.retention_days
                );
            }
        }
        if hour_days > 0 && five_minutes_days >= hour_days {
            bail!("store.rollups.hour_days must be more than five_minutes_days: hours tell of the time before");
        }
        let keep = |days: u32| (days > 0).then_some(i64::from(days) * 86_400_000);
        Ok(RollupOptions {
            five_minutes_ms: keep(five_minutes_days),
            hour_ms: keep(hour_days),
        })
    }

    /// The rules of `retention`, checked.
    pub(crate) fn rules(&self) -> Result<Vec<RetentionRule>> {
        self.retention
            .iter()
            .map(|rule| {
                if rule.days == 0 {
                    bail!("store.retention: days must be at least 1 for {}", rule.selector);
                }
                Ok(RetentionRule {
                    matchers: parse_selector(&rule.selector)
                        .with_context(|| format!("store.retention: {:?} is no selector", rule.selector))?,
                    keep_ms: i64::from(rule.days) * 86_400_000,
                })
            })
            .collect()
    }
}

/// How PromQL is evaluated, and what one query may cost; errors at a bound name its key.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PromqlConfig {
    /// Whether queries may use what Prometheus has behind `--enable-feature=promql-experimental-functions`.
    pub(crate) experimental_functions: bool,
    /// Values that one query may hold at once.
    pub(crate) max_samples: usize,
    /// Steps of a range query.
    pub(crate) max_points: usize,
    /// Length of a query's text.
    pub(crate) max_query_bytes: usize,
    /// Levels to which it may nest.
    pub(crate) max_depth: usize,
    /// Seconds that one query may take, also where it asks for more.
    pub(crate) timeout_seconds: u32,
    /// Queries that run at once; the others wait, and are refused after ten seconds.
    pub(crate) queries_max: u32,
}

impl PromqlConfig {
    /// The options of the engine.
    pub(crate) fn options(&self) -> EngineOptions {
        EngineOptions {
            experimental: self.experimental_functions,
            max_samples: self.max_samples,
            max_points: self.max_points,
            max_query_bytes: self.max_query_bytes,
            max_depth: self.max_depth,
            timeout: self.timeout(),
            ..EngineOptions::default()
        }
    }

    /// How long a query may take.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.into())
    }

    fn check(&self) -> Result<()> {
        let least = [self.max_samples, self.max_points, self.max_query_bytes, self.max_depth]
            .into_iter()
            .min();
        if least == Some(0) || self.timeout_seconds == 0 || self.queries_max == 0 {
            bail!("promql: every bound must be at least 1");
        }
        // Each level takes some of the stack of the thread that parses.
        if self.max_depth > EngineOptions::default().max_depth {
            bail!("promql.max_depth may be at most {}", EngineOptions::default().max_depth);
        }
        Ok(())
    }
}

/// Agents that have joined.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AgentsConfig {
    /// Hours for which their certificates are good.
    pub(crate) certificate_hours: f64,
}

/// Bounds of SQL, over HTTP and Flight SQL alike.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SqlConfig {
    /// MiB that all queries together may hold; sorts, joins and aggregations spill to `<data>/spill` beyond it.
    pub(crate) memory_mib: u32,
    /// MiB that they may spill at once.
    pub(crate) spill_mib: u32,
    /// Seconds that one query may take.
    pub(crate) timeout_seconds: u32,
    /// Rows of one answer over HTTP; what is beyond is cut off, and the answer says so.
    pub(crate) rows_max: u32,
    /// Queries that run at once; the others wait.
    pub(crate) queries_max: u32,
}

/// How hosts are scored.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PredictConfig {
    /// False alarms that a host may raise a day; the alert threshold follows from it.
    pub(crate) budget_per_host_day: f64,
    /// Seconds between two scoring rounds.
    pub(crate) round_seconds: u32,
}

/// Somebody to tell: a name, one address, and what goes with it.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ReceiverConfig {
    pub(crate) name: String,
    /// Takes Alertmanager's webhook payload, version 4.
    pub(crate) webhook: Option<String>,
    /// An upstream Alertmanager: `http://host:9093`.
    pub(crate) alertmanager: Option<String>,
    pub(crate) slack: Option<String>,
    pub(crate) mattermost: Option<String>,
    pub(crate) discord: Option<String>,
    pub(crate) teams: Option<String>,
    pub(crate) google_chat: Option<String>,
    pub(crate) dingtalk: Option<String>,
    pub(crate) feishu: Option<String>,
    pub(crate) wecom: Option<String>,
    /// The token of a Telegram bot.
    pub(crate) telegram: Option<String>,
    /// The routing key of a PagerDuty integration, Events API v2.
    pub(crate) pagerduty: Option<String>,
    /// Addresses of mail, with commas between them.
    pub(crate) email: Option<String>,
    /// Mail: the sender.
    pub(crate) from: Option<String>,
    /// Mail: the server that takes it, `HOST:PORT`.
    pub(crate) smarthost: Option<String>,
    /// Mail: who logs in there.
    pub(crate) user: Option<String>,
    /// Mail: with what.
    pub(crate) password: Option<String>,
    /// Mail: a file with what.
    pub(crate) password_file: Option<PathBuf>,
    /// Mail: false allows it without TLS, to a server on this machine.
    pub(crate) require_tls: Option<bool>,
    /// Mail: a file with the authorities to believe instead of the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// Telegram: the chat's number or name.
    pub(crate) chat: Option<String>,
    /// Slack, Mattermost: another channel than the webhook's own.
    pub(crate) channel: Option<String>,
    /// DingTalk, Feishu: what requests are signed with.
    pub(crate) secret: Option<String>,
    /// Webhooks: sent as `Authorization: Bearer`.
    pub(crate) token: Option<String>,
    /// Whether the ends of alerts are sent too.
    pub(crate) send_resolved: Option<bool>,
    /// Whether it is told only what is passed on to it by an escalation.
    pub(crate) only_escalated: bool,
    /// Another receiver, which gets a copy of what this one cannot be told.
    pub(crate) fallback: Option<String>,
}

/// Whom else to tell where nobody acknowledges an alert.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EscalationConfig {
    pub(crate) name: String,
    /// Which alerts, as in a route; all where there is none.
    #[serde(default)]
    pub(crate) matchers: Vec<String>,
    pub(crate) steps: Vec<StepConfig>,
}

/// A step of an escalation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepConfig {
    /// Since the first message.
    pub(crate) after_minutes: f64,
    /// A receiver or a schedule.
    pub(crate) to: String,
}

/// Who is on duty when.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScheduleConfig {
    pub(crate) name: String,
    /// `Europe/Berlin`; UTC where nothing is said.
    pub(crate) time_zone: Option<String>,
    /// The first that holds counts.
    #[serde(default)]
    pub(crate) shifts: Vec<ShiftConfig>,
    /// The receiver outside of all shifts.
    pub(crate) otherwise: String,
}

/// A stretch of the week.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShiftConfig {
    /// `monday:friday`; every day where there is none.
    #[serde(default)]
    pub(crate) days: Vec<String>,
    /// `22:00`.
    pub(crate) from: Option<String>,
    /// `06:00`; before `from` it is that of the next day.
    pub(crate) to: Option<String>,
    pub(crate) receiver: String,
}

// Everything but the name may be a secret.
impl std::fmt::Debug for ReceiverConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ReceiverConfig")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// An address to listen on, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Listen {
    Off,
    On(SocketAddr),
}

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            address => address
                .parse()
                .map(Self::On)
                .map_err(|_| format!("{text:?} is neither HOST:PORT with a numeric host nor `off`")),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("foreshock-data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 9750)),
            otlp_http: Listen::On(SocketAddr::from(([127, 0, 0, 1], 4318))),
            otlp_grpc: Listen::On(SocketAddr::from(([127, 0, 0, 1], 4317))),
            cors_origins: Vec::new(),
            flight_sql: Listen::On(SocketAddr::from(([127, 0, 0, 1], 9751))),
            connections_max: None,
            insecure: false,
            tls_cert: None,
            tls_key: None,
            tls_self_signed: false,
            tls_names: Vec::new(),
            agent_dir: None,
            scrape_config: None,
            external_url: None,
            alertmanager_config: None,
            rules: Vec::new(),
            agents: AgentsConfig::default(),
            remote_write: RemoteWriteConfig::default(),
            otlp: OtlpConfig::default(),
            store: StoreConfig::default(),
            promql: PromqlConfig::default(),
            sql: SqlConfig::default(),
            predict: PredictConfig::default(),
            notify: NotifyConfig::default(),
            receiver: Vec::new(),
            objective: Vec::new(),
            escalation: Vec::new(),
            schedule: Vec::new(),
        }
    }
}

impl Default for AgentsConfig {
    fn default() -> Self {
        Self {
            certificate_hours: 720.0,
        }
    }
}

impl AgentsConfig {
    /// How long certificates are good, checked.
    pub(crate) fn lifetime(&self) -> Result<Duration> {
        // Beyond a year the authority might end first; below seconds nobody comes to renewing.
        if !(0.001..=8760.0).contains(&self.certificate_hours) {
            bail!(
                "agents.certificate_hours must be from 0.001 to 8760, not {}",
                self.certificate_hours
            );
        }
        Ok(Duration::from_secs_f64(self.certificate_hours * 3600.0))
    }
}

impl Default for NotifyConfig {
    fn default() -> Self {
        Self {
            group_wait_seconds: 10,
            chart_links: true,
            fallback: None,
            rule_interval_seconds: None,
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            max_series: 5_000_000,
            // A little over the age that an agent's spool bridges: after an outage agents send the newest batch first.
            out_of_order_minutes: 25 * 60,
            retention_days: 90,
            retention_bytes: 0,
            result_cache_mib: 64,
            wal_sync: WalSyncConfig::Commit,
            wal_sync_milliseconds: 1000,
            retention: Vec::new(),
            rollups: RollupConfig::default(),
        }
    }
}

impl Default for PromqlConfig {
    fn default() -> Self {
        let engine = EngineOptions::default();
        Self {
            experimental_functions: engine.experimental,
            max_samples: engine.max_samples,
            max_points: engine.max_points,
            max_query_bytes: engine.max_query_bytes,
            max_depth: engine.max_depth,
            timeout_seconds: u32::try_from(engine.timeout.as_secs()).unwrap_or(u32::MAX),
            queries_max: u32::try_from(api::Limits::default().queries_at_once).unwrap_or(u32::MAX),
        }
    }
}

impl Default for SqlConfig {
    fn default() -> Self {
        Self {
            memory_mib: 512,
            spill_mib: 10_240,
            timeout_seconds: 60,
            rows_max: 1_000_000,
            queries_max: 8,
        }
    }
}

impl Default for PredictConfig {
    fn default() -> Self {
        Self {
            budget_per_host_day: 0.02,
            round_seconds: 60,
        }
    }
}

impl Config {
    /// Reads `path`, or gives the defaults where there is none.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read configuration {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("configuration {} is not valid", path.display()))
    }

    /// Everything that is listened on.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let others = [self.otlp_http, self.otlp_grpc, self.flight_sql];
        std::iter::once(self.listen).chain(others.into_iter().filter_map(Listen::address))
    }

    /// What the addresses of the ports begin with.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls_cert.is_some() || self.tls_self_signed {
            "https"
        } else {
            "http"
        }
    }

    /// What no single key can say.
    pub(crate) fn check(&self) -> Result<()> {
        self.promql.check()?;
        self.otlp.options()?;
        self.agents.lifetime()?;
        security::check(self)?;
        if !(self.predict.budget_per_host_day > 0.0 && self.predict.budget_per_host_day <= 24.0) {
            bail!(
                "predict.budget_per_host_day must be over 0 and at most 24, not {}",
                self.predict.budget_per_host_day
            );
        }
        self.store.rules()?;
        self.store.rollups()?;
        let sql = &self.sql;
        if [sql.memory_mib, sql.timeout_seconds, sql.rows_max, sql.queries_max].contains(&0) {
            bail!("sql.memory_mib, sql.timeout_seconds, sql.rows_max and sql.queries_max must be at least 1");
        }
        if self.predict.round_seconds == 0 {
            bail!("predict.round_seconds must be at least 1");
        }
        if self.notify.rule_interval_seconds == Some(0) {
            bail!("notify.rule_interval_seconds must be at least 1");
        }
        Ok(())
    }
}

impl OtlpConfig {
    pub(crate) fn options(&self) -> Result<OtlpOptions> {
        let translation = match &self.translation_strategy {
            None => Translation::default(),
            Some(word) => Translation::of_str(word).with_context(|| {
                let words: Vec<&str> = Translation::words().collect();
                format!(
                    "otlp.translation_strategy {word:?} is not known; say one of {}",
                    words.join(", ")
                )
            })?,
        };
        Ok(OtlpOptions {
            translation,
            promote_resource_attributes: self.promote_resource_attributes.clone(),
            keep_identifying_resource_attributes: self.keep_identifying_resource_attributes,
            promote_scope_metadata: self.promote_scope_metadata,
        })
    }
}

impl Listen {
    pub(crate) fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::On(address) => Some(address),
        }
    }
}
