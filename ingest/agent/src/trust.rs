//! Whom the agent believes that they are the server: the web's authorities, or those of a file.

use std::fs;
use std::io;
use std::path::PathBuf;

use thiserror::Error;
use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

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
    /// The file holds something else.
    #[error("{path} holds no certificate in PEM")]
    NoCertificate {
        /// The file.
        path: PathBuf,
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
            return Err(TrustError::NoCertificate { path: path.clone() });
        }
        Ok(Some(RootCerts::new_with_certs(&certificates)))
    }
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
mod tests;
