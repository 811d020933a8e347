//! Mail, over SMTP: RFC 5321, with STARTTLS (RFC 3207) or TLS from the beginning (RFC 8314), and AUTH PLAIN or LOGIN (RFC 4954).
//!
//! ```text
//! MailDraft (as configured) ─► Mail ─► letter: headers, text and HTML ─► smtp: one conversation ─► what the server said
//! ```
//!
//! A server that is away, busy (4xx) or without the TLS that it should have is tried again later; what it refuses for good (5xx)
//! becomes a dead letter after a few tries. A connection that breaks after the letter was sent leaves open whether it arrived: it
//! is sent again under the same `Message-ID`, by which mailboxes know it.

mod address;
mod letter;
mod smtp;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use super::message::{Message, cut};
use super::receiver::Secret;
use super::send::{Ended, Verdict};
use address::Address;
use smtp::{Failure, Login, Security, Server, Taken};

/// What a configuration says about mail, not checked yet. The names are those of Alertmanager's `email_configs`.
#[derive(Debug, Clone)]
pub struct MailDraft {
    /// One address or several, with commas between them; each may have a name before it.
    pub to: String,
    /// The sender.
    pub from: String,
    /// `HOST:PORT`.
    pub smarthost: String,
    /// What this machine calls itself; `localhost` where nothing is said.
    pub hello: Option<String>,
    /// Who logs in.
    pub auth_username: Option<String>,
    /// With what.
    pub auth_password: Option<Secret>,
    /// For whom, where that is somebody else.
    pub auth_identity: Option<String>,
    /// False allows mail without TLS, to this machine only.
    pub require_tls: bool,
    /// TLS from the beginning; on port 465 where nothing is said.
    pub force_implicit_tls: Option<bool>,
    /// PEM certificates of authorities to believe instead of the system's.
    pub authorities: Option<Vec<u8>>,
    /// The name that the server's certificate has to bear; the smarthost's where nothing is said.
    pub server_name: Option<String>,
    /// Further headers. `Subject` replaces ours.
    pub headers: Vec<(String, String)>,
    /// Whether letters are pages as well as texts.
    pub html: bool,
}

impl Default for MailDraft {
    fn default() -> Self {
        Self {
            to: String::new(),
            from: String::new(),
            smarthost: String::new(),
            hello: None,
            auth_username: None,
            auth_password: None,
            auth_identity: None,
            require_tls: true,
            force_implicit_tls: None,
            authorities: None,
            server_name: None,
            headers: Vec::new(),
            html: true,
        }
    }
}

/// Mail that cannot be sent the way it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// Nobody, or no address.
    #[error("{key} must be an address like ops@example.net (a local part and a domain in ASCII), not {text:?}")]
    Address {
        /// `to` or `from`.
        key: &'static str,
        /// What stands there.
        text: String,
    },
    /// No host and port.
    #[error("smarthost must be HOST:PORT, like mail.example.net:587, not {text:?}")]
    Smarthost {
        /// What stands there.
        text: String,
    },
    /// No name to greet with.
    #[error("hello must be a host's name, not {text:?}")]
    Hello {
        /// What stands there.
        text: String,
    },
    /// Mail and password would go over the net as they are.
    #[error("require_tls: false is for a mail server on this machine; {host:?} is not (localhost, 127.0.0.0/8, ::1)")]
    Plain {
        /// The server.
        host: String,
    },
    /// Half of what is needed to log in.
    #[error("auth_username and auth_password must both be given, or neither")]
    Login,
    /// A header that is made by itself, or that no header can be.
    #[error("header {name:?} cannot be set: {problem}")]
    Header {
        /// Its name.
        name: String,
        /// Why.
        problem: &'static str,
    },
    /// No certificates where there should be some, or a name that none can bear.
    #[error("TLS for mail: {problem}")]
    Tls {
        /// What is wrong.
        problem: String,
    },
}

/// Somebody who gets mail, and the server that takes it for him.
#[derive(Debug, Clone)]
pub struct Mail {
    server: Server,
    place: String,
    from: Address,
    to: Vec<Address>,
    headers: Vec<(String, String)>,
    html: bool,
}

/// Recipients of one letter.
const TO_MAX: usize = 100;
/// The port of TLS from the beginning.
const IMPLICIT_PORT: u16 = 465;
/// Mail servers make those wait whom they do not know.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);

impl Mail {
    /// Checks what was configured. Reads the system's certificates where no others are given.
    ///
    /// # Errors
    /// [`MailError`], which says what to change.
    pub fn new(draft: MailDraft) -> Result<Self, MailError> {
        let (host, port) = smarthost(&draft.smarthost)?;
        let to = address::list(&draft.to).filter(|to| (1..=TO_MAX).contains(&to.len()));
        let wrong = |key, text: &str| MailError::Address {
            key,
            text: text.chars().take(200).collect(),
        };
        let to = to.ok_or_else(|| wrong("to", &draft.to))?;
        let from = Address::parse(&draft.from).ok_or_else(|| wrong("from", &draft.from))?;
        let hello = draft.hello.unwrap_or_else(|| "localhost".to_owned());
        if !address::is_domain(&hello) {
            return Err(MailError::Hello { text: hello });
        }
        let login = match (draft.auth_username, draft.auth_password) {
            (Some(user), Some(password)) => Some(Login {
                identity: draft.auth_identity.unwrap_or_default(),
                user,
                password,
            }),
            (None, None) => None,
            _ => return Err(MailError::Login),
        };
        letter::check(&draft.headers)?;
        let implicit = draft.force_implicit_tls.unwrap_or(port == IMPLICIT_PORT);
        let security = if !implicit && !draft.require_tls {
            if !is_this_machine(&host) {
                return Err(MailError::Plain { host });
            }
            Security::None
        } else {
            let name = draft.server_name.unwrap_or_else(|| host.clone());
            let name = ServerName::try_from(name).map_err(|error| MailError::Tls {
                problem: error.to_string(),
            })?;
            let config = tls(draft.authorities.as_deref())?;
            if implicit {
                Security::Implicit { config, name }
            } else {
                Security::StartTls { config, name }
            }
        };
        let scheme = if implicit { "smtps" } else { "smtp" };
        Ok(Self {
            place: if host.contains(':') {
                format!("{scheme}://[{host}]:{port}")
            } else {
                format!("{scheme}://{host}:{port}")
            },
            server: Server {
                host,
                port,
                hello,
                security,
                login,
            },
            from,
            to,
            headers: draft.headers,
            html: draft.html,
        })
    }

    /// Scheme, host and port of the server.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Sends one letter; it has to be taken within `timeout`.
    pub(super) async fn send(&self, message: &Message, key: &str, now_ms: i64, timeout: Duration) -> Ended {
        let started = Instant::now();
        let letter = letter::compose(self, message, key, now_ms);
        let conversation = smtp::deliver(&self.server, &self.from, &self.to, &letter);
        let (verdict, status, text) = match tokio::time::timeout(timeout, conversation).await {
            Ok(Ok(taken)) => (Verdict::Delivered, Some(250), self.some_refused(&taken)),
            Ok(Err(failure)) => self.judge(&failure),
            Err(_) => (
                Verdict::Later(None),
                None,
                format!("{} was not done within {} s", self.place, timeout.as_secs_f64()),
            ),
        };
        Ended {
            verdict,
            status,
            text,
            elapsed: started.elapsed(),
        }
    }

    /// Empty where everybody gets the letter.
    fn some_refused(&self, taken: &Taken) -> String {
        let refused: Vec<String> = taken
            .refused
            .iter()
            .map(|(to, reply)| format!("{to} ({reply})"))
            .collect();
        if refused.is_empty() {
            return String::new();
        }
        let text = format!("{} does not take mail for {}", self.place, refused.join(", "));
        tracing::warn!(text, "some do not get the notification");
        text
    }

    fn judge(&self, failure: &Failure) -> (Verdict, Option<u16>, String) {
        let place = &self.place;
        match failure {
            Failure::Connect(error) => (
                Verdict::Later(None),
                None,
                format!("cannot connect to {place}: {error}"),
            ),
            Failure::Broken { step, error } => (
                Verdict::Later(None),
                None,
                format!("{place} broke off after {step}: {error}"),
            ),
            Failure::NoSmtp { step } => (
                Verdict::Later(None),
                None,
                format!(
                    "{place} does not speak SMTP after {step}: check host and port, and whether TLS begins at once"
                ),
            ),
            Failure::NoTls => (
                Verdict::Later(None),
                None,
                format!("{place} does not offer STARTTLS, which require_tls asks for"),
            ),
            Failure::NoLogin => (
                Verdict::Refused,
                None,
                format!("{place} offers no way to log in that is understood (PLAIN, LOGIN)"),
            ),
            // What is said to a login may repeat it.
            Failure::Login { code } => (
                verdict(*code),
                Some(*code),
                format!("{place} answered {code} to the login: check auth_username and auth_password"),
            ),
            Failure::Said { step, reply } => (
                verdict(reply.code),
                Some(reply.code),
                format!("{place} answered {} to {step}", cut(&reply.to_string(), 200)),
            ),
        }
    }
}

/// RFC 5321, section 4.2.1: 4xx may be repeated, 5xx must not be as it is.
fn verdict(code: u16) -> Verdict {
    match code {
        500..=599 => Verdict::Refused,
        _ => Verdict::Later(None),
    }
}

fn smarthost(text: &str) -> Result<(String, u16), MailError> {
    let wrong = || MailError::Smarthost {
        text: text.chars().take(200).collect(),
    };
    let (host, port) = text.trim().rsplit_once(':').ok_or_else(wrong)?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
    if host.parse::<IpAddr>().is_err() && !address::is_domain(host) {
        return Err(wrong());
    }
    Ok((host.to_owned(), port))
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What a server's certificate is checked against: these authorities, or the system's.
fn tls(authorities: Option<&[u8]>) -> Result<Arc<ClientConfig>, MailError> {
    let wrong = |problem: String| MailError::Tls { problem };
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?;
    let Some(pem) = authorities else {
        let verifier = Verifier::new(provider).map_err(|error| wrong(error.to_string()))?;
        let config = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        return Ok(Arc::new(config));
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| wrong(format!("ca_file: {error}")))?;
        roots
            .add(certificate)
            .map_err(|error| wrong(format!("ca_file: {error}")))?;
    }
    if roots.is_empty() {
        return Err(wrong("ca_file holds no certificate in PEM form".to_owned()));
    }
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
