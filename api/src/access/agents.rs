//! The hosts that have joined: which certificates are good, until when, and which were taken back.
//!
//! A certificate names its enrolment in its serial number. Renewing keeps the enrolment, joining again makes another one, so that
//! what was made before is good for nothing from then on. What counts is what stands here at the time of a request: a connection
//! that was opened before a revocation gains nothing by being open.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rusqlite::Connection;
use store::{State, StateError};
use thiserror::Error;
use wire::x509;

use super::token::{self, TokenError};
use super::{Denied, Scope};
use crate::number::rfc3339;

/// Hosts that may have joined.
const AGENTS_MAX: usize = 100_000;

/// How long a host is remembered whose certificate has ended.
const FORGOTTEN_AFTER_MS: i64 = 90 * 86_400_000;

/// The first byte of serial numbers, so that they are positive whatever follows.
const SERIAL_START: u8 = 1;
/// Bytes of an enrolment, and of what makes each of its certificates another one.
const ENROLMENT_BYTES: usize = 8;
const SERIAL_BYTES: usize = 1 + 2 * ENROLMENT_BYTES;

const STEPS: &[&str] = &["CREATE TABLE agent (
         tenant TEXT NOT NULL, host TEXT NOT NULL, enrolment TEXT NOT NULL, key_sha256 TEXT NOT NULL, token TEXT NOT NULL,
         joined_ms INTEGER NOT NULL, renewed_ms INTEGER, not_after_ms INTEGER NOT NULL, revoked_ms INTEGER,
         PRIMARY KEY (tenant, host)
     ) STRICT, WITHOUT ROWID"];

/// A host that has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The only tenant that it may write to; empty for any.
    pub tenant: String,
    /// Its name, which its telemetry has to bear.
    pub host: String,
    /// What its certificates name in their serial numbers: 16 hexadecimal digits.
    pub enrolment: String,
    /// SHA-256 of the public key of its newest certificate.
    pub(crate) key_sha256: String,
    /// The join token that it came with.
    pub token: String,
    /// When it joined, milliseconds since 1970 UTC.
    pub joined_ms: i64,
    /// When its certificate was made anew last.
    pub renewed_ms: Option<i64>,
    /// When its newest certificate ends.
    pub not_after_ms: i64,
    /// When it was taken back.
    pub revoked_ms: Option<i64>,
}

/// Why the list of hosts that have joined cannot be used.
#[derive(Debug, Error)]
pub enum AgentsError {
    /// The file.
    #[error(transparent)]
    State(#[from] StateError),
    /// The token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The name is taken.
    #[error("{host:?} has joined at {since} already, with another key")]
    Taken {
        /// The name.
        host: String,
        /// When.
        since: String,
    },
    /// It was taken back after the token was made.
    #[error("{host:?} was revoked at {at}, after this join token was made")]
    Revoked {
        /// The name.
        host: String,
        /// When.
        at: String,
    },
    /// There are as many as may be.
    #[error("{AGENTS_MAX} hosts have joined already, as many as may")]
    TooMany,
}

impl AgentsError {
    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::State(error) => error.hint(),
            Self::Token(error) => error.hint(),
            Self::Taken { .. } => Some(
                "if that host was set up anew, run `foreshock agent revoke HOST` and join with a new token, or make the token \
                 for it alone: `foreshock token create NAME --scope join --host HOST`; if it is another host, give it another \
                 name (--host-name)",
            ),
            Self::Revoked { .. } => Some("make a new join token: `foreshock token create NAME --scope join --ttl 1h`"),
            Self::TooMany => Some("`foreshock agent list` shows them; those that ended are forgotten after 90 days"),
        }
    }
}

/// The hosts that have joined a server. Clones share them.
#[derive(Clone, Debug)]
pub struct Agents {
    path: PathBuf,
    /// Made when the first host joins: a server whose agents come with tokens has no such file.
    state: Arc<Mutex<Option<State>>>,
    known: Arc<RwLock<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    /// By enrolment.
    agents: HashMap<String, Joined>,
    /// SQLite's number of the changes that other connections made.
    version: Option<i64>,
}

impl Agents {
    /// Those of the server whose data lie in `data`.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn open(data: &Path) -> Result<Self, StateError> {
        let agents = Self {
            path: data.join("agents.sqlite"),
            state: Arc::default(),
            known: Arc::default(),
        };
        agents.renew()?;
        Ok(agents)
    }

    /// Takes the list anew if another process changed it; true if so.
    ///
    /// # Errors
    /// When it cannot be read; what was known before stays in force.
    pub fn renew(&self) -> Result<bool, StateError> {
        let mut state = self.state();
        if state.is_none() && !self.path.exists() {
            return Ok(false);
        }
        let state = opened(&mut state, &self.path)?;
        let version = Some(state.with(|connection| connection.query_row("PRAGMA data_version", [], |row| row.get(0)))?);
        if self.known().version == version {
            return Ok(false);
        }
        let agents = state.with(read)?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Known { agents, version };
        Ok(true)
    }

    /// All of them, by tenant and name.
    #[must_use]
    pub fn list(&self) -> Vec<Joined> {
        let mut all: Vec<Joined> = self.known().agents.values().cloned().collect();
        all.sort_by(|a, b| (&a.tenant, &a.host).cmp(&(&b.tenant, &b.host)));
        all
    }

    /// Takes back what the hosts of this name were given, in `tenant` or, without one, wherever they are; answers how many there
    /// were. It holds as soon as this returns, and after a power cut.
    ///
    /// # Errors
    /// When it cannot be written; then nothing was taken back.
    pub fn revoke(&self, host: &str, tenant: Option<&str>, now_ms: i64) -> Result<usize, StateError> {
        let mut state = self.state();
        if state.is_none() && !self.path.exists() {
            return Ok(0);
        }
        let state = opened(&mut state, &self.path)?;
        state.with(|connection| {
            connection.execute(
                "UPDATE agent SET revoked_ms = ?3 WHERE host = ?1 AND revoked_ms IS NULL AND (?2 IS NULL OR tenant = ?2)",
                (host, tenant, now_ms),
            )
        })?;
        let mut found = 0;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for agent in known.agents.values_mut() {
            if agent.host == host && tenant.is_none_or(|tenant| tenant == agent.tenant) {
                agent.revoked_ms.get_or_insert(now_ms);
                found += 1;
            }
        }
        Ok(found)
    }

    /// Whether a host with this key may join under this name, now, with a token that was made at `token_ms`; `named` says that the
    /// token is for this host alone. Answers whether it has joined with the same token and key before.
    pub(super) fn may_join(&self, new: &Joined, token_ms: i64, named: bool) -> Result<bool, AgentsError> {
        let known = self.known();
        let mut same = known
            .agents
            .values()
            .filter(|agent| agent.tenant == new.tenant && agent.host == new.host);
        let Some(before) = same.next() else {
            let kept_from = new.joined_ms.saturating_sub(FORGOTTEN_AFTER_MS);
            let kept = known.agents.values().filter(|agent| agent.not_after_ms >= kept_from);
            return if kept.count() >= AGENTS_MAX {
                Err(AgentsError::TooMany)
            } else {
                Ok(false)
            };
        };
        if let Some(at) = before.revoked_ms {
            return if token_ms > at {
                Ok(false)
            } else {
                Err(AgentsError::Revoked {
                    host: new.host.clone(),
                    at: rfc3339(at),
                })
            };
        }
        let same_key = before.key_sha256 == new.key_sha256;
        if !same_key && !named && before.not_after_ms > new.joined_ms {
            return Err(AgentsError::Taken {
                host: new.host.clone(),
                since: rfc3339(before.joined_ms),
            });
        }
        Ok(same_key && before.token == new.token)
    }

    /// Writes down a host that joins, or whose certificate is made anew; false where it was revoked in this very moment. What it was
    /// given under another enrolment is good for nothing any more.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep(&self, agent: &Joined, now_ms: i64) -> Result<bool, StateError> {
        let mut state = self.state();
        let state = opened(&mut state, &self.path)?;
        let before = now_ms.saturating_sub(FORGOTTEN_AFTER_MS);
        let changed = state.with(|connection| {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM agent WHERE not_after_ms < ?1", [before])?;
            // A revocation by another process in this very moment wins.
            let changed = transaction.execute(
                "INSERT INTO agent VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, NULL) ON CONFLICT (tenant, host) DO UPDATE SET
                     enrolment = ?3, key_sha256 = ?4, token = ?5, joined_ms = ?6, renewed_ms = ?7, not_after_ms = ?8,
                     revoked_ms = NULL
                 WHERE enrolment <> ?3 OR revoked_ms IS NULL",
                (
                    &agent.tenant,
                    &agent.host,
                    &agent.enrolment,
                    &agent.key_sha256,
                    &agent.token,
                    agent.joined_ms,
                    agent.renewed_ms,
                    agent.not_after_ms,
                ),
            )?;
            transaction.commit()?;
            Ok(changed)
        })?;
        if changed > 0 {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.agents.retain(|_, other| {
                other.not_after_ms >= before && (&other.tenant, &other.host) != (&agent.tenant, &agent.host)
            });
            known.agents.insert(agent.enrolment.clone(), agent.clone());
        }
        Ok(changed > 0)
    }

    /// The host that shows this certificate.
    pub(super) fn admit(&self, peer: &Peer, now_ms: i64) -> Result<Joined, Denied> {
        const JOIN_AGAIN: &str = "make a join token on the server's machine with `foreshock token create NAME --scope join`, and run \
                                  `foreshock-agent install --server URL --join TOKEN` on the host";
        let denied = |is_unknown, reason, detail| Denied {
            is_unknown,
            reason,
            detail,
            hint: JOIN_AGAIN,
        };
        let host = &peer.host;
        let known = self.known();
        let Some(agent) = peer
            .enrolment
            .as_ref()
            .and_then(|enrolment| known.agents.get(enrolment))
        else {
            let detail =
                format!("the certificate of {host:?} is not in force any more: it joined again, or was forgotten");
            return Err(denied(true, "unknown_certificate", detail));
        };
        if let Some(at) = agent.revoked_ms {
            let detail = format!("the certificate of {host:?} was revoked at {}", rfc3339(at));
            return Err(denied(false, "revoked_certificate", detail));
        }
        if now_ms > peer.not_after_ms {
            let detail = format!("the certificate of {host:?} ended at {}", rfc3339(peer.not_after_ms));
            return Err(denied(true, "ended_certificate", detail));
        }
        Ok(agent.clone())
    }

    fn state(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn opened<'a>(state: &'a mut Option<State>, path: &Path) -> Result<&'a State, StateError> {
    if state.is_none() {
        let opened = State::open(path)?;
        opened.migrate("agents", STEPS)?;
        *state = Some(opened);
    }
    Ok(state.as_ref().expect("it was opened just now"))
}

fn read(connection: &mut Connection) -> Result<HashMap<String, Joined>, rusqlite::Error> {
    let mut query = connection.prepare(
        "SELECT tenant, host, enrolment, key_sha256, token, joined_ms, renewed_ms, not_after_ms, revoked_ms FROM agent",
    )?;
    let rows = query.query_map([], |row| {
        Ok(Joined {
            tenant: row.get(0)?,
            host: row.get(1)?,
            enrolment: row.get(2)?,
            key_sha256: row.get(3)?,
            token: row.get(4)?,
            joined_ms: row.get(5)?,
            renewed_ms: row.get(6)?,
            not_after_ms: row.get(7)?,
            revoked_ms: row.get(8)?,
        })
    })?;
    rows.map(|agent| agent.map(|agent| (agent.enrolment.clone(), agent)))
        .collect()
}

impl Joined {
    /// What a request with its certificate may do.
    pub(super) fn grant(&self) -> super::Grant<'_> {
        super::Grant {
            who: format!("the certificate of {}", self.host),
            scope: Scope::Write,
            tenant: (!self.tenant.is_empty()).then_some(&*self.tenant),
            host: Some(&self.host),
        }
    }
}

/// Another enrolment: 16 hexadecimal digits.
pub(super) fn new_enrolment() -> Result<String, TokenError> {
    token::random::<ENROLMENT_BYTES>()
}

/// The serial number of a certificate of this enrolment: another one at each call.
pub(super) fn serial(enrolment: &str) -> Result<Vec<u8>, TokenError> {
    let digits = format!("{enrolment}{}", new_enrolment()?);
    let mut serial = vec![SERIAL_START];
    for at in (0..digits.len()).step_by(2) {
        let byte = digits
            .get(at..at + 2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        serial.push(byte.ok_or(TokenError::Random)?);
    }
    Ok(serial)
}

/// What a client's certificate says; that it was signed by the server's authority was verified by TLS, how long it is good was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// `None` where the serial number is none of ours.
    enrolment: Option<String>,
    host: String,
    not_after_ms: i64,
}

impl Peer {
    /// Reads a certificate in DER; `None` where it is none.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let found = x509::certificate(der)?;
        let is_ours = found.serial.len() == SERIAL_BYTES && found.serial[0] == SERIAL_START;
        Some(Self {
            enrolment: is_ours.then(|| token::hex(&found.serial[1..=ENROLMENT_BYTES])),
            host: found.common_name.unwrap_or_default().to_owned(),
            not_after_ms: found.not_after.saturating_mul(1000),
        })
    }
}
