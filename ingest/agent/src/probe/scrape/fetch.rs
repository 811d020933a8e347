//! The text that a target shows, within bounds.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flate2::read::GzDecoder;
use ureq::config::RedirectAuthHeaders;
use ureq::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use wire::exposition::Format;

use super::{Access, ScrapeError};

/// Bytes of one text, as they come and decompressed. A node_exporter shows some 100 KB.
pub(super) const BODY_BYTES_MAX: usize = 4 << 20;

/// Bytes of all texts that are worked on at once; the unit has 64 MiB, and a text becomes a request and a batch.
pub(super) const BUDGET_BYTES_MAX: usize = 8 << 20;

/// Redirects that are followed.
const REDIRECTS_MAX: u32 = 3;

const CHUNK_BYTES: usize = 64 << 10;

/// As the server asks: exporters that can tell more in `OpenMetrics` do.
const FORMATS: &str = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// Bytes that the texts of all targets have at present.
#[derive(Debug, Default)]
pub(super) struct Budget(AtomicUsize);

/// A text's part of the budget, given back when it is dropped.
#[derive(Debug)]
struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Held {
    fn grow(&mut self, bytes: usize) -> Result<(), ScrapeError> {
        let before = self.budget.0.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if before + bytes > BUDGET_BYTES_MAX {
            return Err(ScrapeError::TooMuchAtOnce { max: BUDGET_BYTES_MAX });
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What a target showed.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) text: String,
    pub(super) format: Format,
    _held: Held,
}

impl Fetched {
    #[cfg(test)]
    pub(super) fn of(text: &str, format: Format) -> Self {
        let budget = Arc::default();
        Self {
            text: text.to_owned(),
            format,
            _held: Held { budget, bytes: 0 },
        }
    }
}

/// Asks one target, on a connection of its own each time: one that is kept would break when the exporter restarts, and look as if the
/// exporter had failed.
#[derive(Debug)]
pub(super) struct Fetcher {
    /// Made with the first question: the file of those who vouch for the target may come later than the agent.
    agent: Option<ureq::Agent>,
    url: String,
    access: Access,
    timeout: Duration,
    budget: Arc<Budget>,
}

impl Fetcher {
    pub(super) fn new(url: &str, access: Access, timeout: Duration, budget: Arc<Budget>) -> Self {
        Self {
            agent: None,
            url: url.to_owned(),
            access,
            timeout,
            budget,
        }
    }

    fn agent(&mut self) -> Result<&ureq::Agent, ScrapeError> {
        let agent = match self.agent.take() {
            Some(agent) => agent,
            None => ureq::Agent::config_builder()
                .timeout_global(Some(self.timeout))
                .http_status_as_error(false)
                .max_idle_connections(0)
                .max_redirects(REDIRECTS_MAX)
                // What lets the agent in at one host is not shown to another.
                .redirect_auth_headers(RedirectAuthHeaders::SameHost)
                .tls_config(self.access.tls()?)
                .proxy(None)
                .user_agent(concat!("foreshock-agent/", env!("CARGO_PKG_VERSION")))
                .build()
                .new_agent(),
        };
        Ok(self.agent.insert(agent))
    }

    pub(super) fn fetch(&mut self) -> Result<Fetched, ScrapeError> {
        let unreachable = |why: String| ScrapeError::Unreachable { why };
        let authorization = self.access.authorization()?;
        let timeout = self.timeout.as_secs_f64().to_string();
        let url = self.url.clone();
        let mut question = self
            .agent()?
            .get(url)
            .header("accept", FORMATS)
            .header("accept-encoding", "gzip")
            .header("x-prometheus-scrape-timeout-seconds", timeout);
        if let Some(authorization) = authorization {
            question = question.header(AUTHORIZATION, authorization);
        }
        let mut answer = question.call().map_err(|error| unreachable(error.to_string()))?;
        if !answer.status().is_success() {
            return Err(ScrapeError::Status {
                status: answer.status().as_u16(),
            });
        }
        let header = |name| {
            let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_ascii_lowercase()
        };
        let format = Format::of_content_type(&header(CONTENT_TYPE));
        let encoding = header(CONTENT_ENCODING);
        let mut held = Held {
            budget: Arc::clone(&self.budget),
            bytes: 0,
        };
        let reader = answer.body_mut().as_reader();
        let bytes = match encoding.as_str() {
            "" | "identity" => read(reader, &mut held),
            // What arrives is bounded by what it becomes: gzip makes nothing much larger.
            "gzip" => read(GzDecoder::new(reader.take(BODY_BYTES_MAX as u64 + 1)), &mut held),
            _ => return Err(ScrapeError::Encoding { encoding }),
        }?;
        let text = String::from_utf8(bytes).map_err(|_| ScrapeError::NotText)?;
        Ok(Fetched {
            text,
            format,
            _held: held,
        })
    }
}

fn read(mut from: impl Read, held: &mut Held) -> Result<Vec<u8>, ScrapeError> {
    let mut bytes = Vec::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(n) if bytes.len() + n > BODY_BYTES_MAX => return Err(ScrapeError::TooLarge { max: BODY_BYTES_MAX }),
            Ok(n) => {
                held.grow(n)?;
                bytes.extend_from_slice(&chunk[..n]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ScrapeError::Unreachable { why: error.to_string() }),
        }
    }
}
