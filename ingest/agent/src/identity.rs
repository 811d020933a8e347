//! The certificate by which this host is known to its server: got for a join token, made anew before it ends.
//!
//! The key is made on this host and never leaves it. Key and certificate lie in one file, which is replaced as a whole, so that they
//! always go together, and only by another certificate; a file with a key alone is that of a host that asked and has not heard the answer.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DnType, KeyPair};
use thiserror::Error;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, parse_pem};
use wire::x509;

use crate::file;

/// Longest file that is read; a key and its certificate have 1 KiB.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// How join tokens begin; others begin with `fs_`.
const JOIN_PREFIX: &str = "fsj_";

/// By what this host is known to its server, other than a token.
#[derive(Clone, PartialEq)]
pub struct Identity {
    /// A join token, which becomes a certificate where there is none yet.
    pub join: Option<String>,
    /// The file in which key and certificate are kept, readable by the agent alone.
    pub file: Option<PathBuf>,
    /// Another file, which whoever installed the agent got for it; of two certificates that which ends later counts.
    pub given: Option<PathBuf>,
    /// Share of its time after which a certificate is made anew: two thirds.
    pub renew_at: f64,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            join: None,
            file: None,
            given: None,
            renew_at: 2.0 / 3.0,
        }
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token is a secret.
        f.debug_struct("Identity")
            .field("file", &self.file)
            .field("given", &self.given)
            .finish_non_exhaustive()
    }
}

/// Why a host cannot be known by a certificate.
#[derive(Debug, Error)]
pub(crate) enum IdentityError {
    /// The file.
    #[error("cannot {what} {path}")]
    File {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{path} holds no key with a certificate for {host:?}: {why}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Whose certificate it should be.
        host: String,
        /// What is wrong.
        why: &'static str,
    },
    /// No key.
    #[error("cannot make a key")]
    Key(#[source] rcgen::Error),
}

/// A key, and the certificate of this host for it where it has one.
pub(crate) struct Known {
    key: KeyPair,
    /// In PEM.
    certificate: Option<String>,
    /// From when and until when it is good, seconds since 1970 UTC.
    pub(crate) good: (i64, i64),
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known")
            .field("good", &self.good)
            .finish_non_exhaustive()
    }
}

/// Whether a token is one that lets hosts join, and good for nothing else.
#[must_use]
pub fn is_join_token(token: &str) -> bool {
    token.starts_with(JOIN_PREFIX)
}

impl Identity {
    /// Whether the host is to be known by a certificate.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.join.is_some() || self.files().any(Path::exists)
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.file, &self.given].into_iter().filter_map(|path| path.as_deref())
    }

    /// What is kept for `host`: the certificate that ends last, else a key that asked and heard no answer. What cannot be used is told
    /// and passed over, as a host that has joined once can join again.
    pub(crate) fn load(&self, host: &str) -> Option<Known> {
        let mut best: Option<Known> = None;
        for path in self.files() {
            match Known::read(path, host) {
                Ok(Some(known)) if best.as_ref().is_none_or(|best| known.good.1 > best.good.1) => best = Some(known),
                Ok(_) => {}
                Err(error) => tracing::warn!(error = %crate::chain(&error), "a certificate of this host is of no use"),
            }
        }
        best
    }
}

impl Known {
    /// A new key.
    pub(crate) fn new() -> Result<Self, IdentityError> {
        Ok(Self {
            key: KeyPair::generate().map_err(IdentityError::Key)?,
            certificate: None,
            good: (0, 0),
        })
    }

    /// `None` where there is no file.
    pub(crate) fn read(path: &Path, host: &str) -> Result<Option<Self>, IdentityError> {
        let text = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Ok(found) if found.len() > FILE_BYTES_MAX => {
                Err(io::Error::other("the file is larger than a key and a certificate are"))
            }
            Ok(_) => fs::read_to_string(path),
            Err(error) => Err(error),
        };
        let text = text.map_err(|source| IdentityError::File {
            what: "read",
            path: path.to_owned(),
            source,
        })?;
        let content = |why| IdentityError::Content {
            path: path.to_owned(),
            host: host.to_owned(),
            why,
        };
        let begins = text.find("-----BEGIN CERTIFICATE-----").unwrap_or(text.len());
        let (key, certificate) = text.split_at(begins);
        let key = KeyPair::from_pem(key).map_err(|_| content("there is no private key in PEM"))?;
        let known = Self {
            key,
            certificate: None,
            good: (0, 0),
        };
        if certificate.is_empty() {
            return Ok(Some(known));
        }
        known.with(certificate, host).map(Some).map_err(content)
    }

    /// The same key with a certificate for it, in PEM.
    pub(crate) fn with(self, certificate: &str, host: &str) -> Result<Self, &'static str> {
        let der = Certificate::from_pem(certificate.as_bytes()).map_err(|_| "there is no certificate in PEM")?;
        let found = x509::certificate(der.der()).ok_or("the certificate cannot be read")?;
        if found.public_key != Some(self.key.public_key_raw()) {
            return Err("the certificate is for another key");
        }
        if found.common_name != Some(host) {
            return Err("the certificate is for another host: join again under the new name");
        }
        Ok(Self {
            good: (found.not_before, found.not_after),
            certificate: Some(certificate.to_owned()),
            key: self.key,
        })
    }

    /// What is sent to be signed, in PEM.
    pub(crate) fn request(&self, host: &str) -> Result<String, IdentityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, host);
        params
            .serialize_request(&self.key)
            .and_then(|request| request.pem())
            .map_err(IdentityError::Key)
    }

    pub(crate) fn has_certificate(&self) -> bool {
        self.certificate.is_some()
    }

    /// What TLS shows; `None` without a certificate.
    pub(crate) fn client_cert(&self) -> Option<ClientCert> {
        let pem = self.certificate.as_ref()?;
        let chain: Vec<_> = parse_pem(pem.as_bytes())
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        let key = PrivateKey::from_pem(self.key.serialize_pem().as_bytes()).ok()?;
        Some(ClientCert::new_with_certs(&chain, key))
    }

    /// Whether this share of its time is over at `now`, seconds since 1970 UTC; `spread`, from 0 to 1, puts hosts that joined in the
    /// same minute up to a twentieth of that time apart.
    pub(crate) fn is_due(&self, now: i64, share: f64, spread: f64) -> bool {
        let (from, until) = self.good;
        let age = (now - from) as f64 / (until - from).max(1) as f64;
        self.has_certificate() && age >= share + spread / 20.0
    }

    /// Days for which it is good, from beginning to end.
    pub(crate) fn days(&self) -> f64 {
        (self.good.1 - self.good.0) as f64 / 86_400.0
    }

    /// Seconds between two attempts to make it anew: a hundredth of its time, from a second to ten minutes.
    pub(crate) fn retry_seconds(&self) -> u64 {
        ((self.good.1 - self.good.0) / 100).clamp(1, 600).unsigned_abs()
    }

    /// Writes key and certificate, as a file that appears whole or not at all and that nobody else can read.
    pub(crate) fn keep(&self, path: &Path) -> Result<(), IdentityError> {
        let text = self.key.serialize_pem() + self.certificate.as_deref().unwrap_or_default();
        file::place(path, text.as_bytes(), 0o600).map_err(|source| IdentityError::File {
            what: "write",
            path: path.to_owned(),
            source,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
