//! The part of Prometheus' configuration that says what is scraped.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::Error as _;

use super::relabel::{Rule, RuleText};

/// What is scraped.
#[derive(Clone, Debug, Default)]
pub struct ScrapeConfig {
    pub(super) jobs: Vec<Job>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no YAML, or has keys that are not known.
    #[error("{path} is no scrape configuration")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_yaml_ng::Error,
    },
    /// A job says what cannot be.
    #[error("job {job:?}: {why}")]
    Job {
        /// Its name.
        job: String,
        /// What is wrong.
        why: String,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) text: JobText,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) relabel: Vec<Rule>,
    pub(super) metric_relabel: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
struct File {
    #[serde(default)]
    global: Global,
    #[serde(default)]
    scrape_configs: Vec<JobText>,
    /// Rules, remote write and whatever else stands in a Prometheus' own file.
    #[serde(flatten)]
    rest: BTreeMap<String, serde_yaml_ng::Value>,
}

#[derive(Debug, Default, Deserialize)]
struct Global {
    scrape_interval: Option<Span>,
    scrape_timeout: Option<Span>,
}

/// A job as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobText {
    pub(super) job_name: String,
    scrape_interval: Option<Span>,
    scrape_timeout: Option<Span>,
    #[serde(default = "metrics_path")]
    pub(super) metrics_path: String,
    #[serde(default)]
    pub(super) scheme: Scheme,
    #[serde(default)]
    pub(super) params: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(super) honor_labels: bool,
    #[serde(default = "yes")]
    pub(super) honor_timestamps: bool,
    /// Most samples of a scrape; 0 means the server's own bound.
    #[serde(default)]
    pub(super) sample_limit: usize,
    pub(super) basic_auth: Option<BasicAuth>,
    pub(super) authorization: Option<Authorization>,
    #[serde(default)]
    pub(super) static_configs: Vec<Group>,
    #[serde(default)]
    pub(super) file_sd_configs: Vec<FileDiscovery>,
    #[serde(default)]
    relabel_configs: Vec<RuleText>,
    #[serde(default)]
    metric_relabel_configs: Vec<RuleText>,
}

fn metrics_path() -> String {
    "/metrics".to_owned()
}

fn yes() -> bool {
    true
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Scheme {
    #[default]
    Http,
    Https,
}

impl Scheme {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Targets that have labels in common.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    #[serde(default)]
    pub(super) targets: Vec<String>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileDiscovery {
    /// Paths; a `*` is understood in the last part.
    pub(super) files: Vec<String>,
    /// Read and not needed: files are looked at every few seconds.
    #[serde(default, rename = "refresh_interval")]
    _refresh_interval: Option<Span>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BasicAuth {
    pub(super) username: String,
    #[serde(default)]
    pub(super) password: String,
    pub(super) password_file: Option<PathBuf>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Authorization {
    #[serde(default = "bearer", rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) credentials: String,
    pub(super) credentials_file: Option<PathBuf>,
}

fn bearer() -> String {
    "Bearer".to_owned()
}

// Secrets stay out of logs.
impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicAuth")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// A duration as Prometheus writes it, such as `1m30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        span(&text)
            .map(Self)
            .ok_or_else(|| D::Error::custom(format!("{text:?} is no duration; write it as 15s or 1m30s")))
    }
}

fn span(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 7] = [
        ("ms", 1),
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
    ];
    let (mut rest, mut millis) = (text, 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        let (unit, each) = UNITS.into_iter().find(|(unit, _)| rest[digits..].starts_with(unit))?;
        millis = millis.checked_add(count.checked_mul(each)?)?;
        rest = &rest[digits + unit.len()..];
    }
    (millis > 0).then(|| Duration::from_millis(millis))
}

impl ScrapeConfig {
    /// Reads the jobs of a Prometheus configuration. Sections that are not about scraping are left alone.
    ///
    /// # Errors
    /// [`ScrapeConfigError`], which names the key or the job.
    pub fn read(path: &Path) -> Result<Self, ScrapeConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ScrapeConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(path, &text)
    }

    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, ScrapeConfigError> {
        let file: File = serde_yaml_ng::from_str(text).map_err(|source| ScrapeConfigError::Parse {
            path: path.to_owned(),
            source,
        })?;
        if !file.rest.is_empty() {
            let sections: Vec<&str> = file.rest.keys().map(String::as_str).collect();
            tracing::info!(path = %path.display(), ?sections, "sections that are not about scraping are left alone");
        }
        let mut jobs: Vec<Job> = Vec::new();
        for text in file.scrape_configs {
            let refuse = |why: String| ScrapeConfigError::Job {
                job: text.job_name.clone(),
                why,
            };
            if text.job_name.is_empty() || jobs.iter().any(|job| job.text.job_name == text.job_name) {
                return Err(refuse("every job needs a name of its own".to_owned()));
            }
            let interval = text
                .scrape_interval
                .or(file.global.scrape_interval)
                .map_or(Duration::from_secs(60), |span| span.0);
            let timeout = match text.scrape_timeout {
                Some(span) if span.0 > interval => {
                    return Err(refuse("scrape_timeout is longer than scrape_interval".to_owned()));
                }
                Some(span) => span.0,
                None => file
                    .global
                    .scrape_timeout
                    .map_or(Duration::from_secs(10), |span| span.0)
                    .min(interval),
            };
            let rules = |texts: &[RuleText]| texts.iter().map(Rule::new).collect::<Result<Vec<_>, _>>();
            let relabel = rules(&text.relabel_configs).map_err(refuse)?;
            let metric_relabel = rules(&text.metric_relabel_configs).map_err(refuse)?;
            jobs.push(Job {
                text,
                interval,
                timeout,
                relabel,
                metric_relabel,
            });
        }
        Ok(Self { jobs })
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = &str> {
        self.jobs.iter().map(|job| job.text.job_name.as_str())
    }
}
