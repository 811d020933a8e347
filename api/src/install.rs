//! The agent for hosts that have none yet: a script, and the binaries that it fetches and compares with their checksums.
//!
//! ```text
//! GET /install.sh        the script, with this server's address and the checksums of its binaries written in
//! GET /-/agent/x86_64    the binary
//! ```
//! Neither needs a token: they hold no secret, and a host has none before the agent is installed.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::io::AsyncReadExt as _;

use crate::problem::{Kind, Problem};
use crate::work::blocking;

const SCRIPT: &str = include_str!("install/install.sh");

/// Machines that agents are built for, as `uname -m` names them.
const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];

/// Bytes of a binary; the agent is a few MiB, and one with debugging symbols is nothing to hand to a fleet.
const BINARY_BYTES_MAX: u64 = 64 << 20;

/// Bytes of a binary that are read at once.
const PIECE_BYTES: usize = 64 << 10;

/// Bytes of the address that is written into the script.
const ADDRESS_BYTES_MAX: usize = 255;

/// Where the script's binaries lie, and where hosts find this server.
#[derive(Clone, Debug)]
pub struct AgentBinaries {
    /// Folder of `foreshock-agent-x86_64` and `foreshock-agent-aarch64`; `foreshock-agent` stands for this host's own kind.
    pub dir: PathBuf,
    /// This host's own kind of machine, as `uname -m` names it.
    pub own: &'static str,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Base URL of this server; the name by which the script was asked for, unless told.
    pub url: Option<String>,
}

#[derive(Debug)]
struct Shelf {
    binaries: AgentBinaries,
    /// Checksums by file, as long as it lies there as it was.
    sums: Mutex<HashMap<PathBuf, (Stamp, String)>>,
}

/// Inode, length and time of the last change, in nanoseconds.
type Stamp = (u64, u64, i64, i64);

impl AgentBinaries {
    /// The routes.
    pub fn router(self) -> Router {
        let shelf = Shelf {
            binaries: self,
            sums: Mutex::default(),
        };
        Router::new()
            .route("/install.sh", get(script))
            .route("/-/agent/{architecture}", get(binary))
            .with_state(Arc::new(shelf))
    }
}

/// `GET /install.sh`
async fn script(State(shelf): State<Arc<Shelf>>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let url = match &shelf.binaries.url {
        Some(url) => url.clone(),
        None => {
            let named = headers.get(HOST).and_then(|host| host.to_str().ok());
            let host = named.or_else(|| uri.authority().map(|authority| authority.as_str()));
            format!("{}://{}", shelf.binaries.scheme, host.unwrap_or_default())
        }
    };
    // It becomes part of a script that somebody runs as root.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/[]".contains(&byte);
    if url.len() > ADDRESS_BYTES_MAX || url.ends_with("://") || !url.bytes().all(is_plain) {
        return Err(
            Problem::invalid("the address of this server holds characters that no address has")
                .hint("ask by a plain host name or address, or set `external_url` to one"),
        );
    }
    let text = blocking(move || {
        let mut text = SCRIPT.replace("@SERVER@", url.trim_end_matches('/'));
        for architecture in ARCHITECTURES {
            let sum = shelf.sum(architecture)?.unwrap_or_default();
            text = text.replace(&format!("@SHA256_{architecture}@"), &sum);
        }
        Ok(text)
    })
    .await?;
    let headers = [
        (CONTENT_TYPE, "text/x-shellscript; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, text).into_response())
}

/// `GET /-/agent/{architecture}`
async fn binary(State(shelf): State<Arc<Shelf>>, Path(architecture): Path<String>) -> Result<Response, Problem> {
    let (path, bytes, file) = blocking(move || {
        let found = ARCHITECTURES.into_iter().find(|known| *known == architecture);
        let found = found.map(|known| shelf.find(known)).transpose()?.flatten();
        let Some((path, _)) = found else {
            return Err(
                Problem::not_found(format!("this server has no agent for {architecture:?}")).hint(
                    "put foreshock-agent-x86_64 or foreshock-agent-aarch64 into the folder of --agent-dir on the server",
                ),
            );
        };
        let opened = fs::File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (bytes, file) = opened.map_err(|error| unreadable(&path, &error))?;
        Ok((path, bytes, file))
    })
    .await?;
    tracing::info!(file = %path.display(), "an agent is fetched");
    // Piece by piece: whoever reads slowly holds a piece, not the whole.
    let pieces = futures::stream::try_unfold(tokio::fs::File::from_std(file), async |mut file| {
        let mut piece = vec![0; PIECE_BYTES];
        let read = file.read(&mut piece).await?;
        piece.truncate(read);
        Ok::<_, io::Error>((read > 0).then_some((piece, file)))
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (CONTENT_LENGTH, HeaderValue::from(bytes)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

impl Shelf {
    /// The binary for a kind of machine, and how it lies there.
    fn find(&self, architecture: &str) -> Result<Option<(PathBuf, Stamp)>, Problem> {
        let mut names = vec![format!("foreshock-agent-{architecture}")];
        if architecture == self.binaries.own {
            names.push("foreshock-agent".to_owned());
        }
        for path in names.iter().map(|name| self.binaries.dir.join(name)) {
            match fs::metadata(&path) {
                Ok(found) if found.is_file() && found.len() <= BINARY_BYTES_MAX => {
                    let stamp = (found.ino(), found.len(), found.mtime(), found.mtime_nsec());
                    return Ok(Some((path, stamp)));
                }
                Ok(found) if found.is_file() => {
                    return Err(Problem::new(
                        Kind::Unavailable,
                        format!("{} has {} bytes, over {BINARY_BYTES_MAX}", path.display(), found.len()),
                    )
                    .hint("build the agent with `cargo build -p foreshock-agent --profile agent`"));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(&path, &error)),
            }
        }
        Ok(None)
    }

    /// SHA-256 of the binary for a kind of machine, in hexadecimal digits.
    fn sum(&self, architecture: &str) -> Result<Option<String>, Problem> {
        let Some((path, stamp)) = self.find(architecture)? else {
            return Ok(None);
        };
        let known = |sums: &HashMap<PathBuf, (Stamp, String)>| {
            let (at, sum) = sums.get(&path)?;
            (*at == stamp).then(|| sum.clone())
        };
        // Held while the file is read, so that many who ask at once cost one reading.
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sum) = known(&sums) {
            return Ok(Some(sum));
        }
        let bytes = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
        let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
        let sum = crate::access::hex(digest.as_ref());
        sums.insert(path, (stamp, sum.clone()));
        Ok(Some(sum))
    }
}

fn unreadable(path: &std::path::Path, error: &io::Error) -> Problem {
    Problem::internal(format!("cannot read {}: {error}", path.display()))
        .hint("the server must be allowed to read the folder of --agent-dir")
}

#[cfg(test)]
mod tests;
