//! TLS on the server's ports: certificates from files, taken anew when those change, or made by the server for itself.
//!
//! A server that makes its own has an authority of its own: `ca.pem`, whose fingerprint it prints and whose certificate it
//! serves, so that agents can be told to believe that one and no other.

mod agents;
mod authority;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;

pub use self::agents::AgentAuthority;
use self::authority::Authority;
use crate::access::hex;

/// Where a server that is its own authority gives that authority's certificate.
pub const AUTHORITY_PATH: &str = "/-/ca.pem";

/// Why there is no TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is no PEM of what it should hold.
    #[error("{path} holds no {what} in PEM")]
    Pem {
        /// Which one.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// Certificate and key do not go together, or are of a kind that is not spoken.
    #[error("certificate {certificate} and key {key} cannot be used together")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// The certificate of the server's own authority lies there without its key.
    #[error("{key} is gone, and the authority that agents believe is of no use without it")]
    LostKey {
        /// Where the key was.
        key: PathBuf,
    },
    /// A certificate of the server's own could not be made.
    #[error("cannot make a certificate for {names:?}")]
    Make {
        /// For which names.
        names: Vec<String>,
        /// What is wrong.
        source: rcgen::Error,
    },
    /// The library refuses its own defaults.
    #[error("cannot set up TLS")]
    Setup(#[source] rustls::Error),
}

impl TlsError {
    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::File { .. } | Self::Pem { .. } => {
                Some("--tls-cert takes the chain and --tls-key its key, both PEM files that the server may read")
            }
            Self::Pair { .. } => {
                Some("the key must be that of the chain's first certificate (openssl x509 -noout -pubkey)")
            }
            Self::LostKey { .. } => {
                Some("bring the key back, or remove ca.pem too: agents then need the new pin that the server prints")
            }
            Self::Make { .. } => Some("names are host names or addresses, such as --tls-name foreshock.example"),
            Self::Setup(_) => None,
        }
    }
}

/// What a port answers TLS with. Clones share the certificate.
#[derive(Clone)]
pub struct Tls {
    source: Arc<Source>,
    present: Arc<Present>,
    config: Arc<ServerConfig>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Where certificates come from.
enum Source {
    Files {
        certificate: PathBuf,
        key: PathBuf,
    },
    Own {
        authority: Box<Authority>,
        names: Vec<String>,
    },
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files { certificate, .. } => f.debug_tuple("Files").field(certificate).finish(),
            Self::Own { names, .. } => f.debug_tuple("Own").field(names).finish(),
        }
    }
}

/// The certificate in force, and what it was made of.
struct Present {
    key: RwLock<Arc<CertifiedKey>>,
    /// The files' bytes, or the day on which the server made it.
    made_of: RwLock<MadeOf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum MadeOf {
    Bytes(Vec<u8>, Vec<u8>),
    Day(i64),
}

impl fmt::Debug for Present {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Present").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Present {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.key.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Days after which a certificate of the server's own is replaced.
const RENEW_AFTER_DAYS: i64 = 60;

const DAY_MS: i64 = 86_400_000;

impl Tls {
    /// The chain and key of these PEM files.
    ///
    /// # Errors
    /// When a file cannot be read, is no PEM, or the two do not go together.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let source = Source::Files {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        };
        Self::new(source, 0)
    }

    /// Certificates that the server makes for itself, good for `names`, by an authority kept in `dir` and made at the first
    /// call. `now_ms` is the time, milliseconds since 1970 UTC.
    ///
    /// # Errors
    /// When the folder cannot be written, holds something else, or a name is none.
    pub fn own(dir: &Path, names: &[String], now_ms: i64) -> Result<Self, TlsError> {
        let source = Source::Own {
            authority: Box::new(Authority::load_or_make(dir, now_ms)?),
            names: names.to_vec(),
        };
        Self::new(source, now_ms)
    }

    fn new(source: Source, now_ms: i64) -> Result<Self, TlsError> {
        let made_of = source.made_of(now_ms)?;
        let present = Arc::new(Present {
            key: RwLock::new(Arc::new(source.certified(&made_of)?)),
            made_of: RwLock::new(made_of),
        });
        Ok(Self {
            source: Arc::new(source),
            config: server_config(&present, None)?,
            present,
        })
    }

    /// The same, asking clients for a certificate of this authority; who has none is let in by a token.
    ///
    /// # Errors
    /// When the authority's certificates cannot be used.
    pub fn with_agents(self, authority: &AgentAuthority) -> Result<Self, TlsError> {
        Ok(Self {
            config: server_config(&self.present, Some(authority.verifier()?))?,
            ..self
        })
    }

    /// Takes the files anew if they changed, or makes the next certificate if it is time; true if so. After an error the
    /// present one stays in force.
    ///
    /// # Errors
    /// As [`Tls::from_files`].
    pub fn renew(&self, now_ms: i64) -> Result<bool, TlsError> {
        let made_of = self.source.made_of(now_ms)?;
        let is_due = match (
            &*self.present.made_of.read().unwrap_or_else(PoisonError::into_inner),
            &made_of,
        ) {
            (MadeOf::Day(before), MadeOf::Day(now)) => now - before >= RENEW_AFTER_DAYS,
            (before, now) => before != now,
        };
        if !is_due {
            return Ok(false);
        }
        let key = self.source.certified(&made_of)?;
        *self.present.key.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
        *self.present.made_of.write().unwrap_or_else(PoisonError::into_inner) = made_of;
        Ok(true)
    }

    /// The authority's certificate in PEM, where the server is its own.
    #[must_use]
    pub fn authority_pem(&self) -> Option<&str> {
        match &*self.source {
            Source::Own { authority, .. } => Some(&authority.pem),
            Source::Files { .. } => None,
        }
    }

    /// What agents are told to believe, `sha256:` and 64 hexadecimal digits over the authority's certificate.
    #[must_use]
    pub fn pin(&self) -> Option<String> {
        match &*self.source {
            Source::Own { authority, .. } => Some(fingerprint(&authority.der)),
            Source::Files { .. } => None,
        }
    }

    /// `/-/ca.pem`, for agents that hold the pin; no route where the certificate comes from files.
    pub fn router(&self) -> Router {
        let Some(pem) = self.authority_pem().map(str::to_owned) else {
            return Router::new();
        };
        let answer = move || {
            let pem = pem.clone();
            async move { ([(CONTENT_TYPE, "application/x-pem-file")], pem) }
        };
        Router::new().route(AUTHORITY_PATH, get(answer))
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

fn server_config(
    present: &Arc<Present>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::clone(present) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn fingerprint(der: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    format!("sha256:{}", hex(digest.as_ref()))
}

impl Source {
    fn made_of(&self, now_ms: i64) -> Result<MadeOf, TlsError> {
        match self {
            Self::Files { certificate, key } => Ok(MadeOf::Bytes(read(certificate)?, read(key)?)),
            Self::Own { .. } => Ok(MadeOf::Day(now_ms.div_euclid(DAY_MS))),
        }
    }

    fn certified(&self, made_of: &MadeOf) -> Result<CertifiedKey, TlsError> {
        match (self, made_of) {
            (Self::Files { certificate, key }, MadeOf::Bytes(chain, secret)) => {
                let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
                    .collect::<Result<_, _>>()
                    .map_err(|_| pem(certificate, "certificate"))?;
                if chain.is_empty() {
                    return Err(pem(certificate, "certificate"));
                }
                let secret = PrivateKeyDer::from_pem_slice(secret).map_err(|_| pem(key, "private key"))?;
                CertifiedKey::from_der(chain, secret, &default_provider()).map_err(|source| TlsError::Pair {
                    certificate: certificate.clone(),
                    key: key.clone(),
                    source,
                })
            }
            (Self::Own { authority, names }, MadeOf::Day(day)) => authority.leaf(names, *day),
            // Files give bytes and the server's own a day.
            _ => Err(TlsError::Setup(rustls::Error::General(
                "certificate of another kind".to_owned(),
            ))),
        }
    }
}

fn pem(path: &Path, what: &'static str) -> TlsError {
    TlsError::Pem {
        path: path.to_owned(),
        what,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::File {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
