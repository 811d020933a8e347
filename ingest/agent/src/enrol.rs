//! Whom the agent believes and as whom it is known, settled before anything is sent: the server's own authority is fetched and
//! compared, a join token becomes a certificate, and a certificate that ends soon is made anew.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use thiserror::Error;
use ureq::tls::{RootCerts, TlsConfig};

use crate::host::Host;
use crate::identity::{IdentityError, Known};
use crate::transport::{ANSWER_BYTES_MAX, Client, Server, ServerError, agent, now_seconds, origin, told};
use crate::trust::{AUTHORITY_PATH, Pin, pinned};

/// Where a join token becomes a certificate, and where that is made anew.
const JOIN_PATH: &str = "/api/v1/agents/join";
const RENEW_PATH: &str = "/api/v1/agents/renew";

/// Time for a host to join while somebody waits for it.
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest pause between two attempts to join by a host whose certificate has ended, seconds: nothing of it arrives meanwhile.
const ENDED_RETRY_SECONDS_MAX: u64 = 60;

/// What a connection stands on.
#[derive(Debug)]
pub(crate) struct Link {
    believed: Believed,
    /// The certificate of this host where it has one, with its key.
    known: Option<Known>,
    /// The server does not let in who shows the certificate, which has ended by its clock.
    ended: bool,
    /// What keeps the connection; none until the above is settled.
    agent: Option<ureq::Agent>,
    /// When the certificate may be made anew, after an attempt that failed.
    renew_after: Option<Instant>,
}

/// Whom to believe that they are the server.
#[derive(Debug)]
enum Believed {
    /// The authority with the pinned fingerprint, once it has been seen.
    Unseen,
    /// The web's authorities.
    Web,
    These(RootCerts),
}

impl Link {
    pub(crate) fn new(pin: Option<Pin>, roots: Option<RootCerts>, known: Option<Known>) -> Self {
        let believed = match (pin, roots) {
            (Some(_), _) => Believed::Unseen,
            (None, Some(roots)) => Believed::These(roots),
            (None, None) => Believed::Web,
        };
        Self {
            believed,
            known,
            ended: false,
            agent: None,
            renew_after: None,
        }
    }

    fn has_certificate(&self) -> bool {
        self.known.as_ref().is_some_and(Known::has_certificate)
    }
}

/// A host that is to join a server at once, while somebody waits for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Join {
    /// The server, with the join token and the file that the certificate is kept in.
    pub server: Server,
    /// The host.
    pub host: Host,
}

/// Why a host could not join.
#[derive(Debug, Error)]
pub enum JoinError {
    /// The server's address, or whom to believe.
    #[error("cannot ask the server for a certificate")]
    Server(#[from] ServerError),
    /// The server cannot be reached, or gave no certificate.
    #[error("{host} did not join: {answer}")]
    Refused {
        /// Who asked.
        host: String,
        /// What the server said, or what went wrong on the way.
        answer: String,
    },
}

impl Join {
    /// Joins, unless the file holds a certificate already; then the answer is false.
    ///
    /// # Errors
    /// When the server cannot be reached, or lets the host not join, or the file cannot be written.
    pub fn apply(&self) -> Result<bool, JoinError> {
        let client = Client::new(&self.server, &self.host, JOIN_TIMEOUT)?;
        if client.certificate_ends().is_some_and(|ends| ends > now_seconds()) {
            return Ok(false);
        }
        client.join_now().map(|()| true).map_err(|answer| JoinError::Refused {
            host: self.host.name.clone(),
            answer,
        })
    }
}

impl Client {
    /// The agent for what is sent, and whether the host is known by a certificate.
    pub(crate) fn settle(&self) -> Result<(ureq::Agent, bool), String> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        self.believe(&mut link)?;
        let token = self.identity.join.as_deref();
        if let Some(token) = token.filter(|_| !link.has_certificate()) {
            if self.looks {
                return Err("this host has not joined yet: `run` and `install` do that with the join token".to_owned());
            }
            self.join(&mut link, token)?;
        } else if !self.looks && link.renew_after.is_none_or(|after| Instant::now() >= after) {
            let now = self.server_seconds();
            let is_due =
                |known: &Known| now.is_some_and(|now| known.is_due(now, self.identity.renew_at, self.spread()));
            let token = token.filter(|_| link.ended);
            if token.is_some() || link.known.as_ref().is_some_and(is_due) {
                self.renew(&mut link, token);
            }
        }
        let has_certificate = link.has_certificate();
        if link.agent.is_none() {
            link.agent = Some(self.connecting(&link, has_certificate));
        }
        let agent = link.agent.clone().ok_or("there is nobody to send to")?;
        Ok((agent, has_certificate))
    }

    /// Sees the authority that is pinned, unless it has been seen.
    fn believe(&self, link: &mut Link) -> Result<(), String> {
        if matches!(link.believed, Believed::Unseen) {
            link.believed = Believed::These(self.authority()?);
        }
        Ok(())
    }

    /// Makes a certificate of the join token, whichever there is.
    fn join_now(&self) -> Result<(), String> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        self.believe(&mut link)?;
        let token = self.identity.join.as_deref().ok_or("there is no join token")?;
        self.join(&mut link, token)
    }

    /// Takes note how the server answered who showed the certificate, at this time of its own. One has ended when the server lets it
    /// in no more: this host's clock may be years off, and while a certificate is good the name is not given twice.
    pub(crate) fn showed_certificate(&self, status: u16, server_seconds: Option<i64>) {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let until = link.known.as_ref().map_or(i64::MAX, |known| known.good.1);
        link.ended = status == 401 && server_seconds.is_some_and(|now| until < now);
    }

    /// When this host's certificate ends, seconds since 1970 UTC; `None` without one.
    pub(crate) fn certificate_ends(&self) -> Option<i64> {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        link.known
            .as_ref()
            .filter(|known| known.has_certificate())
            .map(|known| known.good.1)
    }

    /// Where in the time for making certificates anew this host stands, from 0 to 1.
    fn spread(&self) -> f64 {
        (self.host.1 % 1024) as f64 / 1024.0
    }

    /// What connects, showing the host's certificate or not.
    fn connecting(&self, link: &Link, shows: bool) -> ureq::Agent {
        let mut tls = TlsConfig::builder();
        if let Believed::These(roots) = &link.believed {
            tls = tls.root_certs(roots.clone());
        }
        if shows {
            tls = tls.client_cert(link.known.as_ref().and_then(Known::client_cert));
        }
        agent(self.timeout, tls.build(), self.proxy.clone())
    }

    /// The certificate of the authority that is pinned.
    fn authority(&self) -> Result<RootCerts, String> {
        let Some(pin) = self.pin else {
            return Err("there is nobody to believe".to_owned());
        };
        // Whoever answers here is not believed: neither token nor telemetry go this way, only a certificate comes, and the
        // pin says whether it is the right one.
        let anybody = TlsConfig::builder().disable_verification(true).build();
        let stranger = agent(self.timeout, anybody, self.proxy.clone());
        let url = format!("{}{AUTHORITY_PATH}", origin(self.shown()));
        let mut answer = stranger.get(&url).call().map_err(|error| format!("{url}: {error}"))?;
        if answer.status() != 200 {
            return Err(format!(
                "{url} answered {}: --pin needs a server with --tls-self-signed; for another one say --ca-file",
                answer.status()
            ));
        }
        let pem = body(&url, &mut answer)?;
        pinned(pem.as_bytes(), pin).map_err(|error| error.to_string())
    }

    /// Makes a certificate of the join token. The key is kept before it is sent for, so that a host that never hears the answer asks
    /// again with the same one, which the server counts once; and beside the certificate, which stays until there is another.
    fn join(&self, link: &mut Link, token: &str) -> Result<(), String> {
        let (host, file) = (&self.host.0, self.identity.file.as_ref());
        let file = file.ok_or("there is nowhere to keep a certificate")?;
        let said = |error: IdentityError| format!("cannot join: {}", crate::chain(&error));
        let asking = match asked(file, host) {
            Some(asking) => asking,
            None => {
                // A key without a certificate is that of an agent which kept it in the certificate's place.
                let bare = if link.has_certificate() {
                    None
                } else {
                    link.known.take()
                };
                let new = bare.map_or_else(Known::new, Ok).map_err(said)?;
                new.keep(&asked_file(file)).map_err(said)?;
                new
            }
        };
        let request = asking.request(host).map_err(said)?;
        // Who joins shows nothing but the token: a certificate that has ended would say nothing.
        let stranger = self.connecting(link, false);
        let pem = self.signed(&stranger, JOIN_PATH, &request, Some(token))?;
        let known = asking.with(&pem, host).map_err(|why| format!("cannot join: {why}"))?;
        tracing::info!(host, certificate_days = known.days(), "this host has joined");
        link.agent = None;
        link.ended = false;
        // Where it cannot be kept it is good until this agent ends.
        link.known.insert(known).keep(file).map_err(said)?;
        if let Err(error) = fs::remove_file(asked_file(file)) {
            tracing::debug!(%error, "cannot remove the key that the certificate is for; it is asked with again");
        }
        Ok(())
    }

    /// Makes the certificate anew, with a new key; one that has ended by the join token. Until that works the present one stays.
    fn renew(&self, link: &mut Link, token: Option<&str>) {
        let mut pause = link.known.as_ref().map_or(1, Known::retry_seconds);
        let made = match token {
            None => self.renewed(link),
            Some(token) => {
                pause = pause.min(ENDED_RETRY_SECONDS_MAX);
                self.join(link, token)
            }
        };
        match made {
            Ok(()) => link.renew_after = None,
            Err(why) => {
                tracing::warn!(
                    why,
                    "this host's certificate was not made anew; the present one stays in use"
                );
                link.renew_after = Some(Instant::now() + Duration::from_secs(pause));
            }
        }
    }

    fn renewed(&self, link: &mut Link) -> Result<(), String> {
        let said = |error: IdentityError| crate::chain(&error);
        let new = Known::new().map_err(said)?;
        let request = new.request(&self.host.0).map_err(said)?;
        let shown = self.connecting(link, true);
        let pem = self.signed(&shown, RENEW_PATH, &request, None)?;
        let known = new.with(&pem, &self.host.0)?;
        if let Some(file) = &self.identity.file {
            known.keep(file).map_err(said)?;
        }
        tracing::info!(
            host = self.host.0,
            certificate_days = known.days(),
            "this host's certificate was made anew"
        );
        link.known = Some(known);
        link.agent = None;
        Ok(())
    }

    /// Sends a request to be signed; the answer is a certificate in PEM.
    fn signed(&self, agent: &ureq::Agent, path: &str, request: &str, token: Option<&str>) -> Result<String, String> {
        let url = format!("{}{path}", origin(self.shown()));
        let mut sent = agent.post(&url).header("content-type", "application/x-pem-file");
        if let Some(token) = token {
            sent = sent.header("authorization", format!("Bearer {token}"));
        }
        let mut answer = sent
            .send(request)
            .map_err(|error| format!("{url}: {}", told(&error, token.is_none())))?;
        let status = answer.status();
        let said = body(&url, &mut answer)?;
        if status == 201 {
            return Ok(said);
        }
        let said: String = said.chars().take(600).collect();
        Err(format!("{url} answered {status}: {}", said.trim()))
    }
}

/// Where the key is kept that a host joins with until there is a certificate for it, beside that certificate's file.
fn asked_file(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".asked");
    file.with_file_name(name)
}

/// The key with which this host asked before and heard no answer.
fn asked(file: &Path, host: &str) -> Option<Known> {
    Known::read(&asked_file(file), host).unwrap_or_else(|error| {
        tracing::warn!(error = %crate::chain(&error), "the key that this host asked with is of no use");
        None
    })
}

fn body(url: &str, answer: &mut ureq::http::Response<ureq::Body>) -> Result<String, String> {
    let mut text = String::new();
    answer
        .body_mut()
        .as_reader()
        .take(ANSWER_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| format!("{url}: {error}"))?;
    Ok(text)
}

#[cfg(test)]
mod tests;
