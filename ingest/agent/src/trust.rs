//! Whom the agent believes that they are the server: the web's authorities, those of a file, or the one with a fingerprint.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use ring::digest;
use thiserror::Error;
use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

/// Where a server that is its own authority gives that authority's certificate.
pub(crate) const AUTHORITY_PATH: &str = "/-/ca.pem";

/// Why it cannot be told whom to believe.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file, or the server's answer, holds something else.
    #[error("{place} holds no certificate in PEM")]
    NoCertificate {
        /// Which file, or whose answer.
        place: String,
    },
    /// Whoever answered is not the server that is meant.
    #[error(
        "the server's own authority has the fingerprint {found}, and not the one that --pin gives: either the server was set up \
         anew, or somebody stands in between"
    )]
    OtherAuthority {
        /// The fingerprint of what answered.
        found: Pin,
    },
}

impl PartialEq for TrustError {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for TrustError {}

/// Whom to believe that they are the server; the web's authorities unless told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// A file of certificates (PEM) that alone may vouch for the server.
    pub ca_file: Option<PathBuf>,
    /// Fingerprint of the authority that a server made for itself: the server gives the certificate, the pin says whether it
    /// is the right one.
    pub pin: Option<Pin>,
}

/// SHA-256 of a certificate.
///
/// ```
/// use foreshock_agent::Pin;
/// let text = format!("sha256:{}", "0f".repeat(32));
/// assert_eq!(text.parse::<Pin>()?.to_string(), text);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin([u8; 32]);

impl Pin {
    fn of(certificate: &Certificate<'_>) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, certificate.der()).as_ref());
        Self(hash)
    }
}

impl FromStr for Pin {
    type Err = String;

    /// Reads `sha256:` and 64 hexadecimal digits, colons between them allowed as openssl writes them.
    fn from_str(text: &str) -> Result<Self, String> {
        let refused =
            || format!("{text:?} is no pin: write sha256: and the 64 digits that the server prints at its start");
        let digits = text.strip_prefix("sha256:").ok_or_else(refused)?.replace(':', "");
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(refused());
        }
        let mut hash = [0; 32];
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| refused())?;
        }
        Ok(Self(hash))
    }
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Trust {
    /// The certificates of the file; `None` without one.
    pub(crate) fn roots(&self) -> Result<Option<RootCerts>, TrustError> {
        let Some(path) = &self.ca_file else { return Ok(None) };
        let pem = fs::read(path).map_err(|source| TrustError::File {
            path: path.clone(),
            source,
        })?;
        let certificates = certificates(&pem);
        if certificates.is_empty() {
            return Err(TrustError::NoCertificate {
                place: path.display().to_string(),
            });
        }
        Ok(Some(RootCerts::new_with_certs(&certificates)))
    }
}

/// The certificate among those of `pem` that has the pin's fingerprint.
pub(crate) fn pinned(pem: &[u8], pin: Pin) -> Result<RootCerts, TrustError> {
    let certificates = certificates(pem);
    let found: Vec<Pin> = certificates.iter().map(Pin::of).collect();
    if let Some(at) = found.iter().position(|found| *found == pin) {
        return Ok(RootCerts::new_with_certs(&certificates[at..=at]));
    }
    Err(match found.first() {
        Some(found) => TrustError::OtherAuthority { found: *found },
        None => TrustError::NoCertificate {
            place: format!("the answer of {AUTHORITY_PATH}"),
        },
    })
}

fn certificates(pem: &[u8]) -> Vec<Certificate<'static>> {
    parse_pem(pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests;
