//! Mail, by lettre: SMTP (RFC 5321) with STARTTLS (RFC 3207) or TLS from the beginning (RFC 8314), and AUTH PLAIN or LOGIN (RFC 4954).
//!
//! ```text
//! MailDraft (as configured) ─► Mail ─► letter: headers, text and HTML ─► one conversation ─► what the server said
//! ```
//!
//! A server that is away, busy (4xx) or without the TLS that it should have is tried again later; what it refuses for good (5xx)
//! becomes a dead letter after a few tries. A connection that breaks after the letter was sent leaves open whether it arrived: it
//! is sent again under the same `Message-ID`, by which mailboxes know it.

mod conversation;
mod letter;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use lettre::Address;
use lettre::message::header::HeaderValue;
use lettre::message::{Mailbox, Mailboxes};
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

use super::message::{Message, cut};
use super::receiver::Secret;
use super::send::{Ended, Verdict};
use super::wording::Words;
use conversation::{CONNECTING, Failure, Login, Server, Taken};

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
    from: Mailbox,
    to: Vec<Mailbox>,
    headers: Vec<HeaderValue>,
    html: bool,
}

/// Recipients of one letter.
const TO_MAX: usize = 100;
/// The port of TLS from the beginning.
const IMPLICIT_PORT: u16 = 465;
/// Mail servers make those wait whom they do not know.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);
/// How long the end of a conversation is waited for, once the letter is taken.
const GOODBYE: Duration = Duration::from_secs(1);

impl Mail {
    /// Checks what was configured. Reads the system's certificates where no others are given.
    ///
    /// # Errors
    /// [`MailError`], which says what to change.
    pub fn new(draft: MailDraft) -> Result<Self, MailError> {
        let (host, port) = smarthost(&draft.smarthost)?;
        let to = recipients(&draft.to).filter(|to| (1..=TO_MAX).contains(&to.len()));
        let wrong = |key, text: &str| MailError::Address {
            key,
            text: text.chars().take(200).collect(),
        };
        let to = to.ok_or_else(|| wrong("to", &draft.to))?;
        let from = recipients(&draft.from).filter(|from| from.len() == 1);
        let from = from.and_then(|from| from.into_iter().next());
        let from = from.ok_or_else(|| wrong("from", &draft.from))?;
        let hello = draft.hello.unwrap_or_else(|| "localhost".to_owned());
        if !is_domain(&hello) {
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
        let headers = letter::headers(&draft.headers)?;
        let implicit = draft.force_implicit_tls.unwrap_or(port == IMPLICIT_PORT);
        let tls = if !implicit && !draft.require_tls {
            if !is_this_machine(&host) {
                return Err(MailError::Plain { host });
            }
            Tls::None
        } else {
            let name = draft.server_name.unwrap_or_else(|| host.clone());
            let parameters = trust(name, draft.authorities.as_deref())?;
            if implicit {
                Tls::Wrapper(parameters)
            } else {
                Tls::Required(parameters)
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
                hello: ClientId::Domain(hello),
                tls,
                login,
            },
            from,
            to,
            headers,
            html: draft.html,
        })
    }

    /// Whether a header of this name can be set.
    ///
    /// # Errors
    /// [`MailError::Header`], with why not.
    pub(super) fn check_header(name: &str) -> Result<(), MailError> {
        letter::headers(&[(name.to_owned(), String::new())]).map(|_| ())
    }

    /// Scheme, host and port of the server.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Sends one letter; it has to be taken within `timeout`.
    pub(super) async fn send(
        &self,
        message: &Message,
        words: Option<&Words>,
        key: &str,
        now_ms: i64,
        timeout: Duration,
    ) -> Ended {
        let started = Instant::now();
        let (mail, told, words, own_key) = (self.clone(), message.clone(), words.cloned(), key.to_owned());
        // Pictures are drawn for it, off the threads that serve sockets.
        let made = tokio::task::spawn_blocking(move || letter::compose(&mail, &told, words.as_ref(), &own_key, now_ms));
        let (verdict, status, text) = match made.await {
            Ok(Ok(letter)) => self.hand_over(&letter, timeout).await,
            Ok(Err(error)) => (Verdict::Refused, None, format!("no letter can be made of it: {error}")),
            Err(error) => (Verdict::Later(None), None, format!("the letter was not made: {error}")),
        };
        Ended {
            verdict,
            status,
            text,
            elapsed: started.elapsed(),
            words: None,
        }
    }

    async fn hand_over(&self, letter: &[u8], timeout: Duration) -> (Verdict, Option<u16>, String) {
        let to: Vec<Address> = self.to.iter().map(|mailbox| mailbox.email.clone()).collect();
        let conversation = conversation::deliver(&self.server, &self.from.email, &to, letter);
        match tokio::time::timeout(timeout, conversation).await {
            Ok(Ok(mut taken)) => {
                // It answers for the letter now, whatever becomes of the goodbye.
                let goodbye = tokio::time::timeout(GOODBYE, taken.connection.quit()).await;
                if !matches!(goodbye, Ok(Ok(_))) {
                    tracing::debug!(place = self.place, "a mail server did not say goodbye");
                }
                (Verdict::Delivered, Some(250), self.some_refused(&taken))
            }
            Ok(Err(failure)) => self.judge(failure),
            Err(_) => (
                Verdict::Later(None),
                None,
                format!("{} was not done within {} s", self.place, timeout.as_secs_f64()),
            ),
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

    fn judge(&self, failure: Failure) -> (Verdict, Option<u16>, String) {
        let place = &self.place;
        let later = |text| (Verdict::Later(None), None, text);
        match failure {
            Failure::Broken { step: CONNECTING, text } => later(format!("cannot connect to {place}: {text}")),
            Failure::Broken { step, text } => later(format!("{place} broke off after {step}: {text}")),
            Failure::NoSmtp { step: CONNECTING, text } => later(format!(
                "{place} does not speak SMTP ({text}): check host and port, and whether TLS begins at once"
            )),
            Failure::NoSmtp { step, text } => later(format!("{place} gave no whole answer to {step}: {text}")),
            Failure::NoTls => later(format!("{place} does not offer STARTTLS, which require_tls asks for")),
            Failure::NoLogin => (
                Verdict::Refused,
                None,
                format!("{place} offers no way to log in that is understood (PLAIN, LOGIN)"),
            ),
            Failure::Login { code } => (
                verdict(code),
                Some(code),
                format!("{place} answered {code} to the login: check auth_username and auth_password"),
            ),
            Failure::Said { step, code, text } => (
                verdict(code),
                Some(code),
                format!("{place} answered {} to {step}", cut(&format!("{code} {text}"), 200)),
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
    if host.parse::<IpAddr>().is_err() && !is_domain(host) {
        return Err(wrong());
    }
    Ok((host.to_owned(), port))
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// One address or several with commas between them, each with a name or without; `None` where one is none in ASCII. None comes twice.
fn recipients(text: &str) -> Option<Vec<Mailbox>> {
    // Nothing that could begin another line may stand in a name.
    if text.chars().any(char::is_control) {
        return None;
    }
    let mut found: Vec<Mailbox> = Vec::new();
    for mailbox in text.trim().parse::<Mailboxes>().ok()? {
        let address: &str = mailbox.email.as_ref();
        if !address.is_ascii() {
            return None;
        }
        if found.iter().all(|known| known.email != mailbox.email) {
            found.push(mailbox);
        }
    }
    Some(found)
}

/// Labels of letters, digits, `-` and `_`, with dots between them.
fn is_domain(text: &str) -> bool {
    /// RFC 5321, section 4.5.3.1.
    const DOMAIN_MAX: usize = 255;
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= DOMAIN_MAX && text.split('.').all(is_label)
}

/// What the certificate of the server called `name` is checked against: these authorities, or the system's.
fn trust(name: String, authorities: Option<&[u8]>) -> Result<TlsParameters, MailError> {
    let wrong = |problem: String| MailError::Tls { problem };
    ServerName::try_from(name.as_str()).map_err(|error| wrong(error.to_string()))?;
    let mut builder = TlsParameters::builder(name);
    if let Some(pem) = authorities {
        let count = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let count = count.map_err(|error| wrong(format!("ca_file: {error}")))?.len();
        if count == 0 {
            return Err(wrong("ca_file holds no certificate in PEM form".to_owned()));
        }
        let certificates = Certificate::from_pem(pem).map_err(|error| wrong(format!("ca_file: {error}")))?;
        // These instead of the system's, not beside them.
        builder = builder
            .certificate_store(CertificateStore::None)
            .add_root_certificate(certificates);
    }
    builder.build_rustls().map_err(|error| wrong(error.to_string()))
}
