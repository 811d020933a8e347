//! Metrics that programs on this host show to Prometheus: node_exporter, dcgm-exporter, applications.
//!
//! ```text
//! --scrape NAME=URL ► a thread per target: GET ► text ► OTLP under the target's own resource ► a batch of its own
//!                                            up, scrape_*, "gone" for series that vanished ─┘
//! ```
//! Series look as if the server had scraped the target itself: `job` is the name, `instance` the host's name and the port, and
//! what the target says of itself under these names is kept as `exported_job` and so on.

mod access;
mod fetch;
mod series;
mod translate;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;
use ureq::http::Uri;
use wire::exposition::ExpositionError;

use super::worker::Worker;
use super::{Probe, ProbeError, Support};
use crate::host::Host;
use crate::reading::Readings;
use crate::transport::is_loopback;
pub(crate) use access::Access;
pub use access::{ScrapeAccess, ScrapeAccessError, ScrapeFile};
use fetch::{Budget, Fetcher};
use series::{Scraped, Series};

/// Targets of one agent: with each at its bounds the agent stays within its unit's memory.
pub(crate) const TARGETS_MAX: usize = 16;

/// Longest name of a target.
const NAME_BYTES_MAX: usize = 64;

/// What a target's name begins with where probes are named.
pub(crate) const PROBE_PREFIX: &str = "scrape.";

/// A target as it is given: `NAME=URL`, such as `node=http://localhost:9100/metrics`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScrapeTarget {
    job: String,
    url: String,
    /// Host and port of the URL; the scheme's port where it names none.
    host: String,
    port: u16,
}

/// A target that cannot be scraped.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScrapeTargetError {
    /// No name, or one with other characters.
    #[error(
        "{given:?} has no name: write NAME=URL, such as node=http://localhost:9100/metrics, the name of at most 64 letters, digits, _, - and ."
    )]
    Name {
        /// As it was given.
        given: String,
    },
    /// Not the URL of a page.
    #[error("{given:?} is no page to scrape: write http://host:port/path or https://host:port/path, without a user")]
    Url {
        /// As it was given.
        given: String,
    },
}

impl FromStr for ScrapeTarget {
    type Err = ScrapeTargetError;

    fn from_str(given: &str) -> Result<Self, ScrapeTargetError> {
        let (job, url) = given.split_once('=').unwrap_or(("", given));
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if job.is_empty() || job.len() > NAME_BYTES_MAX || !job.chars().all(fits) {
            return Err(ScrapeTargetError::Name {
                given: given.to_owned(),
            });
        }
        let refused = || ScrapeTargetError::Url { given: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| refused())?;
        let usual_port = match uri.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return Err(refused()),
        };
        let authority = uri.authority().ok_or_else(refused)?;
        // A password in an argument can be read by everybody on the host.
        if authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(refused());
        }
        // As Prometheus: the page is /metrics unless told.
        let page = if uri.path() == "/" && !url.ends_with('/') && uri.query().is_none() {
            "/metrics"
        } else {
            ""
        };
        Ok(Self {
            job: job.to_owned(),
            url: format!("{url}{page}"),
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(usual_port),
        })
    }
}

impl fmt::Display for ScrapeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.job, self.url)
    }
}

impl ScrapeTarget {
    /// The label `instance`: host and port, this host's name where the URL says that it is this very host, since
    /// `localhost:9100` would be the same on each host of a fleet.
    #[must_use]
    pub(crate) fn instance(&self, own: &str) -> String {
        let host = if is_loopback(&self.url) { own } else { &self.host };
        format!("{host}:{}", self.port)
    }

    /// Whether two targets could not be told apart by their series.
    #[must_use]
    pub(crate) fn collides(&self, other: &Self, own: &str) -> bool {
        self.job == other.job && self.instance(own) == other.instance(own)
    }

    /// Its name, the label `job`.
    pub(crate) fn job(&self) -> &str {
        &self.job
    }

    /// The name of the probe that asks all targets of this name.
    #[must_use]
    pub(crate) fn probe(&self) -> String {
        format!("{PROBE_PREFIX}{}", self.job)
    }
}

/// Why a target gave no samples.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScrapeError {
    /// No answer in time, or none that is HTTP.
    #[error("no answer: {why}")]
    Unreachable {
        /// What went wrong on the way.
        why: String,
    },
    /// An answer that is no page of metrics.
    #[error("it answered with HTTP status {status}")]
    Status {
        /// Its status.
        status: u16,
    },
    /// A file by which the target lets in whom it knows, or by which it is known.
    #[error("cannot use {}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A compression that was not asked for.
    #[error("its content encoding {encoding:?} was not asked for")]
    Encoding {
        /// As the answer names it.
        encoding: String,
    },
    /// More text than is taken.
    #[error("its text has more than {max} bytes")]
    TooLarge {
        /// The bound.
        max: usize,
    },
    /// All targets together show more at once than is taken.
    #[error("the texts of all targets together have more than {max} bytes at once")]
    TooMuchAtOnce {
        /// The bound.
        max: usize,
    },
    /// More samples than are taken.
    #[error("it shows more than {max} samples")]
    TooManySamples {
        /// The bound.
        max: usize,
    },
    /// No text.
    #[error("what it shows is no UTF-8")]
    NotText,
    /// Text that is no exposition.
    #[error("what it shows cannot be read")]
    Unreadable(#[from] ExpositionError),
    /// What was read cannot be handed on.
    #[error("a batch cannot be compressed: {why}")]
    Compress {
        /// What went wrong.
        why: String,
    },
}

/// One probe for each name, in the order of their first targets. Threads start with the first reading.
pub(crate) fn probes(
    targets: &[ScrapeTarget],
    access: &ScrapeAccess,
    host: &Host,
    timeout: Duration,
) -> Vec<Box<dyn Probe>> {
    let budget = Arc::new(Budget::default());
    let mut jobs: Vec<Job> = Vec::new();
    for target in targets.iter().take(TARGETS_MAX) {
        let name = target.probe();
        let asked = Asked {
            target: target.clone(),
            worker: None,
            down: false,
        };
        match jobs.iter_mut().find(|job| job.name == name) {
            Some(job) => job.targets.push(asked),
            None => jobs.push(Job {
                name,
                host: host.clone(),
                access: access.of(target.job()),
                timeout,
                budget: Arc::clone(&budget),
                targets: vec![asked],
            }),
        }
    }
    jobs.into_iter().map(|job| Box::new(job) as Box<dyn Probe>).collect()
}

/// One attempt at each target, all at once, for somebody who looks: the number of samples.
pub(crate) fn attempts(
    targets: &[ScrapeTarget],
    access: &ScrapeAccess,
    host: &Host,
    timeout: Duration,
) -> Vec<(ScrapeTarget, Result<usize, ScrapeError>)> {
    thread::scope(|scope| {
        let ask = |target: &ScrapeTarget| {
            let (target, access) = (target.clone(), access.of(target.job()));
            move || attempt(&target, access, host, timeout)
        };
        let asked: Vec<_> = targets
            .iter()
            .map(|target| (target, scope.spawn(ask(target))))
            .collect();
        let why = || "asking it panicked".to_owned();
        asked
            .into_iter()
            .map(|(target, asked)| {
                let shown = asked
                    .join()
                    .unwrap_or_else(|_| Err(ScrapeError::Unreachable { why: why() }));
                (target.clone(), shown)
            })
            .collect()
    })
}

fn attempt(target: &ScrapeTarget, access: Access, host: &Host, timeout: Duration) -> Result<usize, ScrapeError> {
    let mut fetcher = Fetcher::new(&target.url, access, timeout, Arc::default());
    let scraped = Series::new(target, host).take(fetcher.fetch(), 1, 0.0);
    scraped.failure.map_or(Ok(scraped.samples), Err)
}

/// The targets of a name.
struct Job {
    name: String,
    host: Host,
    access: Access,
    timeout: Duration,
    budget: Arc<Budget>,
    targets: Vec<Asked>,
}

struct Asked {
    target: ScrapeTarget,
    worker: Option<Worker<Scraped>>,
    /// Whether its last scrape failed, which has been told.
    down: bool,
}

impl Asked {
    fn spawn(&self, host: &Host, access: &Access, timeout: Duration, budget: &Arc<Budget>) -> Option<Worker<Scraped>> {
        let mut fetcher = Fetcher::new(&self.target.url, access.clone(), timeout, Arc::clone(budget));
        let mut series = Series::new(&self.target, host);
        let scrape = move || {
            let at = crate::clock::unix_nanos();
            let began = Instant::now();
            let fetched = fetcher.fetch();
            series.take(fetched, at, began.elapsed().as_secs_f64())
        };
        Worker::spawn("scrape", scrape).ok()
    }

    /// Tells of a target when it goes down and when it is back.
    fn tell(&mut self, failure: Option<&ScrapeError>) {
        let (was, url) = (self.down, &self.target.url);
        self.down = failure.is_some();
        match failure {
            Some(error) if !was => tracing::warn!(url, error = %crate::chain(error), "a target cannot be scraped"),
            None if was => tracing::info!(url, "a target can be scraped again"),
            _ => {}
        }
    }
}

impl Probe for Job {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_supported(&mut self) -> Support {
        Support::Yes
    }

    fn begin(&mut self) {
        for asked in &mut self.targets {
            if asked.worker.is_none() {
                asked.worker = asked.spawn(&self.host, &self.access, self.timeout, &self.budget);
            }
            asked.worker.iter().for_each(Worker::begin);
        }
    }

    fn has_late(&self) -> bool {
        let mut workers = self.targets.iter().filter_map(|asked| asked.worker.as_ref());
        workers.any(Worker::has_readings)
    }

    fn sample(&mut self, deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        let mut failed = None;
        for asked in &mut self.targets {
            let Some(worker) = &asked.worker else {
                // It is tried again in the next round.
                let why = "the system gives no thread for it".to_owned();
                let source = ScrapeError::Unreachable { why };
                asked.tell(Some(&source));
                failed = Some(ProbeError::Scrape {
                    url: asked.target.url.clone(),
                    source,
                });
                continue;
            };
            for timed in worker.take(deadline) {
                let Scraped {
                    batch, points, failure, ..
                } = timed.reading;
                asked.tell(failure.as_ref());
                if let Some(batch) = batch {
                    out.batch(batch, points);
                }
                if let Some(source) = failure {
                    failed = Some(ProbeError::Scrape {
                        url: asked.target.url.clone(),
                        source,
                    });
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests;
