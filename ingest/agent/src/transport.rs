//! One POST of an OTLP request, and what the answer means.

use std::borrow::Cow;
use std::io::{Read as _, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use thiserror::Error;
use ureq::Proxy;
use ureq::http::Uri;
use ureq::tls::TlsConfig;
use wire::otlp::response::read_export_response;

use crate::batch::{self, Content};
use crate::clock;
use crate::enrol::Link;
use crate::host::Host;
use crate::identity::{Identity, is_join_token};
use crate::proxy;
use crate::retry::{self, Verdict};
use crate::spool::BATCH_BYTES_MAX;
use crate::trust::{Pin, Trust, TrustError};

/// Bytes of an answer that are read.
pub(crate) const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// A server address that cannot be used.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum ServerError {
    /// Not a URL of a kind that the agent speaks.
    #[error("{given:?} is no server: write http://host:port or https://host:port")]
    Address {
        /// As it was given, without a password.
        given: String,
    },
    /// A header value with characters that HTTP does not allow.
    #[error("the {what} holds characters that HTTP does not allow")]
    Header {
        /// Which one.
        what: &'static str,
    },
    /// Certificates to believe.
    #[error("cannot tell whom to believe")]
    Trust(#[from] TrustError),
    /// Certificates without TLS.
    #[error("{given:?} is not https://, so that no certificate is ever seen")]
    NoTls {
        /// The server's address, without a password.
        given: String,
    },
    /// Two ways of telling the server's own authority.
    #[error("--ca-file and --pin both say whom to believe: give one of them")]
    TwoTrusts,
    /// A certificate, and no place for it.
    #[error("a host that joins is given a certificate, and there is nowhere to keep it")]
    NowhereToKeep,
    /// A join token that is none.
    #[error("what --join gives is no join token: those begin with fsj_")]
    NoJoinToken,
    /// A join token in the place of another.
    #[error("the token is one for joining: give it as --join, or its file as --join-file")]
    JoinToken,
    /// A proxy of another kind.
    #[error("proxy {given:?} is of a kind that is not spoken")]
    ProxyKind {
        /// As it was given, without a password.
        given: String,
    },
    /// Not the address of a proxy.
    #[error("{given:?} is no proxy: write http://host:port")]
    Proxy {
        /// As it was given, without a password.
        given: String,
    },
}

/// Where batches go and as whom.
#[derive(Clone, Default, PartialEq)]
pub struct Server {
    /// Base URL, such as `http://127.0.0.1:9750`, or the full URL of an OTLP/HTTP metrics endpoint.
    pub url: String,
    /// Bearer token; not sent by a host that is known by a certificate.
    pub token: Option<String>,
    /// The certificate by which the host is known instead.
    pub identity: Identity,
    /// Tenant, sent as `X-Scope-OrgID`.
    pub tenant: Option<String>,
    /// Whom to believe that they are the server.
    pub trust: Trust,
    /// Proxy, instead of the one that the environment names (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`).
    pub proxy: Option<String>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token is a secret, and so may be the URL's user part; neither belongs in a log.
        f.debug_struct("Server")
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    /// The HTTP status; 0 without an answer.
    pub(crate) status: u16,
    /// Somebody answered, if only to refuse.
    pub(crate) answered: bool,
    /// The server has too much to do at present.
    pub(crate) busy: bool,
    /// Pause that the server asked for.
    pub(crate) retry_after: Option<Duration>,
    /// The server's clock as its answer shows it, seconds since 1970 UTC.
    pub(crate) server_seconds: Option<i64>,
    /// The server warns of this host: each second counts.
    pub(crate) wants_closer: bool,
    /// Points of an accepted batch that the server did not take.
    pub(crate) rejected_points: u64,
    /// What went wrong, for the log.
    pub(crate) problem: Option<String>,
}

impl Outcome {
    /// Nobody answered.
    fn unsent(problem: String) -> Self {
        Self {
            verdict: Verdict::Later,
            status: 0,
            answered: false,
            busy: false,
            retry_after: None,
            server_seconds: None,
            wants_closer: false,
            rejected_points: 0,
            problem: Some(problem),
        }
    }
}

/// A client with one kept-open connection.
#[derive(Debug)]
pub(crate) struct Client {
    /// Whom to believe and what to show, settled before anything is sent.
    pub(crate) link: Mutex<Link>,
    pub(crate) pin: Option<Pin>,
    pub(crate) timeout: Duration,
    pub(crate) proxy: Option<Proxy>,
    url: String,
    /// The URL as it is told: without a user and password.
    shown: String,
    logs_url: String,
    token: Option<String>,
    tenant: Option<String>,
    /// Whether the server refused zstd.
    gzip: AtomicBool,
    pub(crate) identity: Identity,
    /// Whether nothing is to be changed.
    pub(crate) looks: bool,
    /// The host's name, and a number that tells hosts apart.
    pub(crate) host: (String, u64),
    /// Seconds by which this clock is ahead of the server's, as the last answer showed; `i64::MIN` before the first.
    pub(crate) ahead: AtomicI64,
}

impl Client {
    pub(crate) fn new(server: &Server, host: &Host, timeout: Duration) -> Result<Self, ServerError> {
        let url = endpoint(&server.url)?;
        if !server.token.iter().all(|token| header_ok(token)) {
            return Err(ServerError::Header { what: "token" });
        }
        if !server.tenant.iter().all(|tenant| header_ok(tenant)) {
            return Err(ServerError::Header { what: "tenant" });
        }
        let identity = &server.identity;
        if server.token.as_deref().is_some_and(is_join_token) {
            return Err(ServerError::JoinToken);
        }
        if identity
            .join
            .as_ref()
            .is_some_and(|token| !is_join_token(token) || !header_ok(token))
        {
            return Err(ServerError::NoJoinToken);
        }
        if identity.join.is_some() && identity.file.is_none() {
            return Err(ServerError::NowhereToKeep);
        }
        let wants_tls = server.trust != Trust::default() || identity.join.is_some();
        if wants_tls && !url.starts_with("https://") {
            return Err(ServerError::NoTls {
                given: proxy::hidden(&server.url),
            });
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "which proxy a host uses stands in its environment"
        )]
        let variable = |name: &str| std::env::var(name).ok();
        let proxy = proxy::choose(server.proxy.as_deref(), &url, variable)?;
        let roots = server.trust.roots()?;
        let pin = server.trust.pin;
        if pin.is_some() && roots.is_some() {
            return Err(ServerError::TwoTrusts);
        }
        let known = if url.starts_with("https://") {
            identity.load(&host.name)
        } else {
            None
        };
        Ok(Self {
            link: Mutex::new(Link::new(pin, roots, known)),
            pin,
            timeout,
            proxy,
            logs_url: logs_endpoint(&url),
            shown: without_user(&url),
            url,
            token: server.token.clone(),
            tenant: server.tenant.clone(),
            gzip: AtomicBool::new(false),
            identity: identity.clone(),
            looks: false,
            host: (host.name.clone(), host.seed()),
            ahead: AtomicI64::new(i64::MIN),
        })
    }

    /// The same, for somebody who looks: it does not join, and makes no certificate anew.
    pub(crate) fn looking(mut self) -> Self {
        self.looks = true;
        self
    }

    /// Where batches go, as it may stand in a log: without a user and password.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// The server's time, seconds since 1970 UTC; `None` until an answer showed it, since this clock may be years off.
    pub(crate) fn server_seconds(&self) -> Option<i64> {
        let ahead = self.ahead.load(Ordering::Relaxed);
        (ahead != i64::MIN).then(|| now_seconds() - ahead)
    }

    /// Sends a batch, which is compressed with zstd; a server that reads none of it gets gzip from then on.
    pub(crate) fn send(&self, batch: &[u8]) -> Outcome {
        let content = batch::read(batch);
        let outcome = self.send_once(content);
        if outcome.status == 415 && !self.gzip.swap(true, Ordering::Relaxed) {
            return self.send_once(content);
        }
        outcome
    }

    fn send_once(&self, content: Content<'_>) -> Outcome {
        let (url, id, zstd) = match content {
            Content::Readings(body) => (&self.url, None, body),
            Content::Events { id, body } => (&self.logs_url, Some(id), body),
        };
        let (encoding, body) = if self.gzip.load(Ordering::Relaxed) {
            match regzip(zstd) {
                Ok(body) => ("gzip", Cow::Owned(body)),
                Err(error) => return Outcome::unsent(format!("cannot compress a batch anew: {error}")),
            }
        } else {
            ("zstd", Cow::Borrowed(zstd))
        };
        let (agent, is_known) = match self.settle() {
            Ok(settled) => settled,
            Err(problem) => return Outcome::unsent(problem),
        };
        let mut request = agent
            .post(url)
            .header("content-type", "application/x-protobuf")
            // Refusals then come as text that the log can show.
            .header("accept", "application/x-protobuf, application/json")
            .header("content-encoding", encoding);
        if let Some(token) = self.token.as_ref().filter(|_| !is_known) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(tenant) = &self.tenant {
            request = request.header("x-scope-orgid", tenant);
        }
        match id {
            Some(id) => request = request.header("idempotency-key", id),
            // Asks to be told whether this host is one to look at closer.
            None if header_ok(&self.host.0) => request = request.header("x-foreshock-host", &self.host.0),
            None => {}
        }
        let mut answer = match request.send(&*body) {
            Ok(answer) => answer,
            Err(error) => return Outcome::unsent(told(&error, is_known)),
        };
        let status = answer.status();
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = header("retry-after").and_then(|after| retry::retry_after(after, header("date")));
        let server_seconds = header("date").and_then(retry::http_date);
        let wants_closer = header("x-foreshock-sampling") == Some("fast");
        // Where to is for people; what stands behind the host may be meant for nobody else.
        let elsewhere = header("location").filter(|_| status.is_redirection()).map(without_user);
        let elsewhere = elsewhere.map_or_else(String::new, |to| {
            format!(
                ", to {:?}, where nothing is sent: is --server the server's own address?",
                origin(&to)
            )
        });
        if let Some(theirs) = server_seconds {
            self.ahead.store(now_seconds() - theirs, Ordering::Relaxed);
        }
        if is_known {
            self.showed_certificate(status.as_u16(), server_seconds);
        }
        let mut body = Vec::new();
        // The whole body is read so that the connection can be used again; what it says beyond the status is a courtesy.
        answer
            .body_mut()
            .as_reader()
            .take(ANSWER_BYTES_MAX)
            .read_to_end(&mut body)
            .unwrap_or_default();
        let verdict = retry::verdict(status.as_u16());
        let (rejected_points, message) = match verdict {
            // An answer that is no OTLP is an acknowledgement all the same: the status says so.
            Verdict::Accepted => match read_export_response(&body) {
                Ok((rejected, message)) => (rejected, Some(message.to_owned())),
                Err(_) => (0, None),
            },
            _ => (
                0,
                Some(String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned()),
            ),
        };
        let problem = match (verdict, rejected_points, message) {
            (Verdict::Accepted, 0, _) => None,
            (Verdict::Accepted, n, message) => Some(format!(
                "{n} points or records rejected: {}",
                message.unwrap_or_default()
            )),
            (_, _, message) => Some(format!("HTTP {status}{elsewhere}: {}", message.unwrap_or_default())),
        };
        Outcome {
            verdict,
            status: status.as_u16(),
            answered: true,
            busy: matches!(status.as_u16(), 429 | 503),
            retry_after,
            server_seconds,
            wants_closer,
            rejected_points,
            problem,
        }
    }
}

/// Whether a text may be the value of a header.
fn header_ok(value: &str) -> bool {
    value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

/// The URL of the metrics endpoint.
pub(crate) fn endpoint(given: &str) -> Result<String, ServerError> {
    let error = || ServerError::Address {
        given: proxy::hidden(given),
    };
    let uri: Uri = given.parse().map_err(|_| error())?;
    let known = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty());
    if !known {
        return Err(error());
    }
    let base = given.trim_end_matches('/');
    Ok(if base.ends_with("/v1/metrics") {
        base.to_owned()
    } else {
        format!("{base}/v1/metrics")
    })
}

/// The URL of the logs endpoint beside that of the metrics.
fn logs_endpoint(metrics: &str) -> String {
    format!("{}/v1/logs", metrics.trim_end_matches("/v1/metrics"))
}

/// What went wrong on the way; of a host that is `known` by a certificate with what that may mean.
pub(crate) fn told(error: &ureq::Error, known: bool) -> String {
    let text = error.to_string();
    if known && text.contains("UnknownCA") {
        return format!(
            "{text}: the server does not know who signed this host's certificate; was it set up anew? join it again"
        );
    }
    text
}

pub(crate) fn now_seconds() -> i64 {
    i64::try_from(clock::unix_nanos() / 1_000_000_000).unwrap_or(i64::MAX)
}

/// Scheme, host and port of a URL.
pub(crate) fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find('/').map_or(url.len(), |at| host + at);
    &url[..end]
}

/// A URL without the user and password that it may hold, for whoever reads logs.
pub(crate) fn without_user(url: &str) -> String {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    match url[host..end].rfind('@') {
        Some(at) => format!("{}{}", &url[..host], &url[host + at + 1..]),
        None => url.to_owned(),
    }
}

/// What keeps the connection.
pub(crate) fn agent(timeout: Duration, tls: TlsConfig, proxy: Option<Proxy>) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .timeout_connect(Some(Duration::from_secs(5)))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_idle_connections(1)
        .max_idle_connections_per_host(1)
        .max_idle_age(Duration::from_secs(90))
        .tls_config(tls)
        .proxy(proxy)
        .user_agent(concat!("foreshock-agent/", env!("CARGO_PKG_VERSION")));
    config.build().new_agent()
}

fn regzip(zstd: &[u8]) -> std::io::Result<Vec<u8>> {
    let plain = zstd::bulk::decompress(zstd, BATCH_BYTES_MAX)?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&plain)?;
    encoder.finish()
}

pub(crate) fn is_loopback(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    let host = uri
        .as_ref()
        .and_then(Uri::host)
        .unwrap_or_default()
        .trim_matches(['[', ']']);
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_gets_the_path_and_a_full_one_is_kept() {
        let check = |given: &str, expected: Option<&str>| {
            let found = endpoint(given).ok();
            assert_eq!(found.as_deref(), expected, "{given}");
            let logs = expected.map(|url| url.replace("metrics", "logs"));
            assert_eq!(found.map(|url| logs_endpoint(&url)), logs, "{given}");
        };
        check("http://127.0.0.1:9750", Some("http://127.0.0.1:9750/v1/metrics"));
        check(
            "https://collector.example/otlp/",
            Some("https://collector.example/otlp/v1/metrics"),
        );
        check("http://h:4318/v1/metrics", Some("http://h:4318/v1/metrics"));
        check("127.0.0.1:9750", None);
        check("ftp://h", None);
        check("http://", None);
    }

    #[test]
    fn secrets_stay_out_of_debug_texts_and_headers_stay_one_line() {
        let server = Server {
            url: "http://user:hidden@h".to_owned(),
            token: Some("secret\r\nx: y".to_owned()),
            tenant: Some("a".to_owned()),
            ..Server::default()
        };
        let text = format!("{server:?}");
        assert!(!text.contains("secret") && !text.contains("hidden"), "{text}");
        let host = Host::read(&crate::probe::Paths::default(), Some("db-1"));
        let refused = Client::new(&server, &host, Duration::from_secs(1)).map(|client| client.url);
        assert_eq!(refused, Err(ServerError::Header { what: "token" }));
    }

    #[test]
    fn a_user_and_password_in_the_url_are_used_and_never_told() {
        let host = Host::read(&crate::probe::Paths::default(), Some("db-1"));
        let client = |url: &str, ca_file: Option<&str>| {
            let server = Server {
                url: url.to_owned(),
                trust: Trust {
                    ca_file: ca_file.map(Into::into),
                    pin: None,
                },
                ..Server::default()
            };
            Client::new(&server, &host, Duration::from_secs(1))
        };
        let at = client("https://user:hidd%40n@h:1/otlp", None).expect("a client");
        assert_eq!(at.shown(), "https://h:1/otlp/v1/metrics");
        assert_eq!(origin(at.shown()), "https://h:1");
        assert_eq!(at.url, "https://user:hidd%40n@h:1/otlp/v1/metrics");
        for (url, ca_file) in [("http://user:hidden@h", Some("/ca.pem")), ("ftp://user:hidden@h", None)] {
            let Err(told) = client(url, ca_file) else {
                panic!("{url} is taken")
            };
            let told = told.to_string();
            assert!(told.contains("...@h") && !told.contains("hid"), "{told}");
        }
        for (url, expected) in [
            ("https://u@p@h/a@b", "https://h/a@b"),
            ("https://h/a@b", "https://h/a@b"),
            ("https://[::1]:1?x@y", "https://[::1]:1?x@y"),
        ] {
            assert_eq!(without_user(url), expected);
        }
    }

    #[test]
    fn the_origin_of_a_url_is_what_stands_before_its_path() {
        assert_eq!(origin("https://h:4318/otlp/v1/metrics"), "https://h:4318");
        assert_eq!(origin("https://[::1]:1"), "https://[::1]:1");
    }

    #[test]
    fn loopback_goes_without_a_proxy() {
        for (url, expected) in [
            ("http://127.0.0.1:1/x", true),
            ("http://[::1]:1", true),
            ("http://localhost", true),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(url), expected, "{url}");
        }
    }
}
