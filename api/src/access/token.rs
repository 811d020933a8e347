//! Tokens as they are kept: hashes, in one file beside the data of all tenants.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ring::rand::SecureRandom as _;
use serde::{Deserialize, Serialize};
use store::is_tenant_name;
use thiserror::Error;

use crate::number::rfc3339;

/// Tokens in one file.
const TOKENS_MAX: usize = 100_000;

/// Bytes of a token's name, and of the name of the host that it is bound to.
const NAME_BYTES_MAX: usize = 255;

/// How tokens begin.
pub(super) const PREFIX: &str = "fs_";
/// How join tokens begin, by which agents and people tell them from others.
pub(super) const JOIN_PREFIX: &str = "fsj_";

/// How long a join token that has ended is still listed.
const JOIN_KEPT_MS: i64 = 7 * 86_400_000;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Queries and pages.
    Read,
    /// Sending telemetry and alerts.
    Write,
    /// Everything, and changing what is kept.
    Admin,
    /// Getting certificates for hosts that are new, a few times and for a while.
    Join,
}

impl Scope {
    /// Whether a token of this scope may do what needs the other.
    pub(crate) fn allows(self, needed: Self) -> bool {
        self == needed || (self == Self::Admin && needed != Self::Join)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
            Self::Join => "join",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Read, Self::Write, Self::Admin, Self::Join]
            .into_iter()
            .find(|scope| scope.name() == text)
            .ok_or_else(|| format!("{text:?} is no scope: read, write, admin or join"))
    }
}

/// A token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Eight hexadecimal digits, by which people and the token itself name it.
    pub id: String,
    /// What it is for, in words.
    pub name: String,
    /// What it allows.
    pub scope: Scope,
    /// The only tenant that it is good for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The only host whose telemetry it may send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// How often and how long it lets hosts join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<JoinTerms>,
    /// When it was made, milliseconds since 1970 UTC.
    pub created_ms: i64,
    /// SHA-256 of the whole token, hexadecimal.
    pub(crate) sha256: String,
}

/// What a join token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinTerms {
    /// Hosts that may still join with it.
    pub uses_left: u32,
    /// Until when, milliseconds since 1970 UTC.
    pub until_ms: i64,
}

/// What a new token is to be.
#[derive(Clone, Copy, Debug)]
pub struct NewToken<'a> {
    /// What it is for, in words.
    pub name: &'a str,
    /// What it allows.
    pub scope: Scope,
    /// The only tenant that it is good for.
    pub tenant: Option<&'a str>,
    /// The only host whose telemetry it may send, or that may join with it.
    pub host: Option<&'a str>,
    /// For the scope join, and for it alone.
    pub join: Option<JoinTerms>,
}

/// Why tokens cannot be used.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The file cannot be read or written.
    #[error("cannot use the tokens in {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{path} holds no tokens")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The file was there and is not any more.
    #[error("the tokens in {path} are gone")]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// There are as many as may be.
    #[error("there are {TOKENS_MAX} tokens already, as many as may be")]
    TooMany,
    /// What was asked for cannot be.
    #[error("{0}")]
    Invalid(String),
    /// The token lets this host not join.
    #[error("{0}")]
    Join(String),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

impl TokenError {
    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::File { .. } => {
                Some("the server and `foreshock token` must run as the user that owns the data directory")
            }
            Self::Format { .. } => {
                Some("restore the file, or remove it and make the tokens anew with `foreshock token create`")
            }
            Self::Gone { .. } => {
                Some("the tokens read before stay in force; restart the server to run it without tokens")
            }
            Self::TooMany => Some("`foreshock token list` shows them, `foreshock token revoke ID` takes one away"),
            Self::Join(_) => {
                Some("`foreshock token create NAME --scope join --ttl 1h` on the server's machine makes another")
            }
            Self::Invalid(_) | Self::Random => None,
        }
    }
}

/// How a file lay there when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    bytes: u64,
    written: (i64, i64),
}

/// The file of tokens. Where it exists, requests need one of them, even if it lists none.
#[derive(Clone, Debug)]
pub struct Tokens {
    path: PathBuf,
}

impl Tokens {
    /// The tokens of the server whose data lie in `data`.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        Self {
            path: data.join("tokens.json"),
        }
    }

    /// Where they are kept.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What changes whenever the file is written; `None` where there is none.
    pub(crate) fn stamp(&self) -> Result<Option<Stamp>, TokenError> {
        match fs::metadata(&self.path) {
            Ok(found) => Ok(Some(Stamp {
                inode: found.ino(),
                bytes: found.len(),
                written: (found.mtime(), found.mtime_nsec()),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.file(source)),
        }
    }

    /// All tokens in the order in which they were made; `None` where there is no file.
    ///
    /// # Errors
    /// When the file cannot be read, or is no list of tokens: a broken file must not open the door.
    pub fn list(&self) -> Result<Option<Vec<Token>>, TokenError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.file(source)),
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|source| TokenError::Format {
                path: self.path.clone(),
                source,
            })
    }

    /// Makes a token and answers it; it is never shown again. `now_ms` is the time, milliseconds since 1970 UTC.
    ///
    /// # Errors
    /// As [`Tokens::list`], when the file cannot be written, and for what cannot be: a tenant's or host's name that is none,
    /// a token that is bound to a host and may more than write.
    pub fn create(&self, new: &NewToken<'_>, now_ms: i64) -> Result<String, TokenError> {
        check(new, now_ms)?;
        let _changing = self.lock()?;
        let mut tokens = self.list()?.unwrap_or_default();
        forget(&mut tokens, now_ms);
        if tokens.len() >= TOKENS_MAX {
            return Err(TokenError::TooMany);
        }
        let id = loop {
            let id = random::<4>()?;
            if tokens.iter().all(|token| token.id != id) {
                break id;
            }
        };
        let secret = random::<32>()?;
        let prefix = if new.scope == Scope::Join { JOIN_PREFIX } else { PREFIX };
        let token = format!("{prefix}{id}_{secret}");
        tokens.push(Token {
            sha256: sha256(&token),
            id,
            name: new.name.to_owned(),
            scope: new.scope,
            tenant: new.tenant.map(str::to_owned),
            host: new.host.map(str::to_owned),
            join: new.join,
            created_ms: now_ms,
        });
        self.write(&tokens)?;
        Ok(token)
    }

    /// Takes one of the uses of the join token of this id, for `host`. `again` says that the host has used it before and asks
    /// once more, having not heard the answer: that takes none.
    ///
    /// # Errors
    /// [`TokenError::Join`] when it is used up, over, for another host, or no join token; and as [`Tokens::create`].
    pub(crate) fn join(&self, id: &str, host: &str, again: bool, now_ms: i64) -> Result<(), TokenError> {
        let refused = |text: String| Err(TokenError::Join(text));
        let _changing = self.lock()?;
        let mut tokens = self.list()?.unwrap_or_default();
        let Some(shown) = tokens.iter_mut().find(|token| token.id == id) else {
            return refused(format!("join token {id} was revoked"));
        };
        let Some(terms) = &mut shown.join else {
            return refused(format!(
                "token {id} has the scope {}, and lets no host join",
                shown.scope
            ));
        };
        if now_ms >= terms.until_ms {
            return refused(format!("join token {id} ended at {}", rfc3339(terms.until_ms)));
        }
        if let Some(only) = shown.host.as_ref().filter(|only| *only != host) {
            return refused(format!("join token {id} is for host {only:?}, not for {host:?}"));
        }
        if again {
            return Ok(());
        }
        if terms.uses_left == 0 {
            return refused(format!(
                "join token {id} is used up: as many hosts as it is good for have joined with it"
            ));
        }
        terms.uses_left -= 1;
        forget(&mut tokens, now_ms);
        self.write(&tokens)
    }

    /// Takes a token away; false when there is none with this id.
    ///
    /// # Errors
    /// As [`Tokens::list`], and when the file cannot be written.
    pub fn revoke(&self, id: &str) -> Result<bool, TokenError> {
        if self.list()?.is_none() {
            return Ok(false);
        }
        let _changing = self.lock()?;
        let mut tokens = self.list()?.unwrap_or_default();
        let before = tokens.len();
        tokens.retain(|token| token.id != id);
        if tokens.len() == before {
            return Ok(false);
        }
        self.write(&tokens)?;
        Ok(true)
    }

    /// Held while the file is read, changed and written, so that two commands at once lose nothing.
    fn lock(&self) -> Result<File, TokenError> {
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir).map_err(|source| self.file(source))?;
        }
        let lock = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.path.with_extension("lock"))
            .map_err(|source| self.file(source))?;
        lock.lock().map_err(|source| self.file(source))?;
        Ok(lock)
    }

    fn write(&self, tokens: &[Token]) -> Result<(), TokenError> {
        let text = serde_json::to_string_pretty(tokens).map_err(|source| TokenError::Format {
            path: self.path.clone(),
            source,
        })?;
        super::replace(&self.path, text.as_bytes(), 0o600).map_err(|source| self.file(source))
    }

    fn file(&self, source: io::Error) -> TokenError {
        TokenError::File {
            path: self.path.clone(),
            source,
        }
    }
}

/// Takes away join tokens that ended a while ago; until then who shows one is told why it is good for nothing.
fn forget(tokens: &mut Vec<Token>, now_ms: i64) {
    tokens.retain(|token| {
        token
            .join
            .is_none_or(|terms| now_ms < terms.until_ms.saturating_add(JOIN_KEPT_MS))
    });
}

fn check(new: &NewToken<'_>, now_ms: i64) -> Result<(), TokenError> {
    let invalid = |text: String| Err(TokenError::Invalid(text));
    if new.name.is_empty() || new.name.len() > NAME_BYTES_MAX || new.name.contains(char::is_control) {
        return invalid(format!(
            "a token's name has 1 to {NAME_BYTES_MAX} bytes and stands on one line"
        ));
    }
    if let Some(tenant) = new.tenant.filter(|tenant| !is_tenant_name(tenant)) {
        return invalid(format!(
            "{tenant:?} is no tenant's name: 1 to 64 of the characters a-z, 0-9, '_' and '-'"
        ));
    }
    match new.join {
        None if new.scope == Scope::Join => {
            return invalid("a join token is good for some hosts and some time: say how many and how long".to_owned());
        }
        Some(_) if new.scope != Scope::Join => {
            return invalid(format!("a token of the scope {} lets nobody join", new.scope));
        }
        Some(terms) if terms.uses_left == 0 || terms.until_ms <= now_ms => {
            return invalid("a join token is good for one host and some time at least".to_owned());
        }
        _ => {}
    }
    let Some(host) = new.host else { return Ok(()) };
    check_host(host)?;
    if !matches!(new.scope, Scope::Write | Scope::Join) {
        return invalid(format!(
            "a token bound to a host has the scope write or join, not {}",
            new.scope
        ));
    }
    Ok(())
}

/// Whether this can be the name that a token or a certificate is bound to.
pub(crate) fn check_host(host: &str) -> Result<(), TokenError> {
    // It travels in a header from the check of the token to the endpoint.
    if host.is_empty() || host.len() > NAME_BYTES_MAX || !host.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::Invalid(format!(
            "{host:?} is no host's name: 1 to {NAME_BYTES_MAX} printable ASCII characters"
        )));
    }
    Ok(())
}

pub(super) fn random<const N: usize>() -> Result<String, TokenError> {
    let mut bytes = [0; N];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| TokenError::Random)?;
    Ok(hex(&bytes))
}

/// SHA-256 of a token in hexadecimal digits.
pub(crate) fn sha256(text: &str) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
