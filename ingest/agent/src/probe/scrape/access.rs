//! What a target wants of who asks it, and who vouches for it: files, each given for the targets of a name.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;
use ureq::http::HeaderValue;
use ureq::tls::TlsConfig;

use super::{ScrapeError, ScrapeTarget};
use crate::Trust;

/// Bytes of a token or password.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// A file for the targets of a name, as it is given: `NAME=FILE`, such as `node=/etc/foreshock-agent/node.token`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrapeFile {
    /// The name of the targets.
    pub job: String,
    /// The file.
    pub path: PathBuf,
}

impl FromStr for ScrapeFile {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        match given.split_once('=') {
            Some((job, path)) if !job.is_empty() && !path.is_empty() => Ok(Self {
                job: job.to_owned(),
                path: PathBuf::from(path),
            }),
            _ => Err("write the name of a --scrape and a file, such as node=/etc/node.token".to_owned()),
        }
    }
}

/// Files by which targets let the agent in, and by which it knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrapeAccess {
    /// Each holds a bearer token.
    pub tokens: Vec<ScrapeFile>,
    /// Each holds `user:password`.
    pub passwords: Vec<ScrapeFile>,
    /// Each holds the certificates (PEM) that alone may vouch for the targets.
    pub authorities: Vec<ScrapeFile>,
}

/// Files that fit no target.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScrapeAccessError {
    /// No target has the name.
    #[error("{file:?} is for targets named {job:?}, and there are none")]
    NoTarget {
        /// The name.
        job: String,
        /// The file.
        file: PathBuf,
    },
    /// Two files of which one would do.
    #[error("targets named {job:?} have more than one {what}")]
    Twice {
        /// The name.
        job: String,
        /// What they have twice.
        what: &'static str,
    },
    /// Certificates where there is no TLS.
    #[error("no target named {job:?} is asked by https://, so that nobody needs to vouch for it")]
    NoTls {
        /// The name.
        job: String,
    },
}

impl ScrapeAccess {
    /// Checks that each file is for a target, and each target has no more than one of a kind.
    pub(crate) fn check(&self, targets: &[ScrapeTarget]) -> Result<(), ScrapeAccessError> {
        let secrets = self.tokens.iter().chain(&self.passwords);
        let kinds: [(&str, Vec<&ScrapeFile>); 2] = [
            ("token or password", secrets.collect()),
            ("file of certificates", self.authorities.iter().collect()),
        ];
        for (what, files) in &kinds {
            for (i, ScrapeFile { job, path }) in files.iter().enumerate() {
                if !targets.iter().any(|target| target.job() == job) {
                    return Err(ScrapeAccessError::NoTarget {
                        job: job.clone(),
                        file: path.clone(),
                    });
                }
                if files[..i].iter().any(|other| other.job == *job) {
                    let job = job.clone();
                    return Err(ScrapeAccessError::Twice { job, what });
                }
            }
        }
        for ScrapeFile { job, .. } in &self.authorities {
            let is_safe = |target: &ScrapeTarget| target.job() == job && target.url.starts_with("https:");
            if !targets.iter().any(is_safe) {
                return Err(ScrapeAccessError::NoTls { job: job.clone() });
            }
        }
        Ok(())
    }

    /// What the targets of a name have of it.
    pub(crate) fn of(&self, job: &str) -> Access {
        let file = |files: &[ScrapeFile]| files.iter().find(|file| file.job == job).map(|file| file.path.clone());
        let token = file(&self.tokens).map(Secret::Token);
        Access {
            secret: token.or_else(|| file(&self.passwords).map(Secret::Password)),
            ca_file: file(&self.authorities),
        }
    }
}

/// The files of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Access {
    secret: Option<Secret>,
    ca_file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Secret {
    Token(PathBuf),
    Password(PathBuf),
}

impl Access {
    /// The header `Authorization`, from the file as it is now: who issues tokens that end writes them anew.
    pub(super) fn authorization(&self) -> Result<Option<HeaderValue>, ScrapeError> {
        let (path, text) = match &self.secret {
            None => return Ok(None),
            Some(Secret::Token(path)) => (path, format!("Bearer {}", held(path)?)),
            Some(Secret::Password(path)) => {
                let pair = held(path)?;
                if !pair.contains(':') {
                    return Err(refused(path, "it does not hold user:password"));
                }
                let mut text = "Basic ".to_owned();
                wire::base64::put(&mut text, pair.as_bytes());
                (path, text)
            }
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| refused(path, "it holds more than one line"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Whom to believe that they are the target: the web's authorities unless there is a file.
    pub(super) fn tls(&self) -> Result<TlsConfig, ScrapeError> {
        let trust = Trust {
            ca_file: self.ca_file.clone(),
            pin: None,
        };
        let path = self.ca_file.as_deref().unwrap_or(Path::new(""));
        let roots = trust.roots().map_err(|error| refused(path, &crate::chain(&error)))?;
        let mut tls = TlsConfig::builder();
        if let Some(roots) = roots {
            tls = tls.root_certs(roots);
        }
        Ok(tls.build())
    }
}

/// What a file holds, without the white space around it.
fn held(path: &Path) -> Result<String, ScrapeError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(SECRET_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| refused(path, &error.to_string()))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(refused(path, "it is empty"));
    }
    Ok(text.to_owned())
}

fn refused(path: &Path, why: &str) -> ScrapeError {
    ScrapeError::File {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}
