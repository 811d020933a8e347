//! Probes: each reads one source of the host. Parsers are pure functions of a text, so that recorded texts test them.

pub mod certificate;
pub mod cgroup;
pub mod cpu;
pub mod disk;
pub mod disk_health;
pub mod files;
pub mod filesystem;
pub mod gpu;
pub mod kernel;
pub mod kernel_log;
pub mod latency;
pub mod load;
pub mod memory;
pub mod network;
pub mod paging;
pub mod pressure;
pub mod process;
pub mod scrape;
pub mod sockets;
pub mod sysfs;
pub mod tasks;
pub mod timesync;
pub mod units;
pub mod uptime;
pub mod vmstat;
pub(crate) mod worker;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use thiserror::Error;

use crate::catalogue::Metric;
use crate::reading::Readings;
use crate::source::Source;

/// One source of telemetry.
pub trait Probe: Send {
    /// Short name, as in `foreshock.agent.probe.duration{probe}`.
    fn name(&self) -> &str;

    /// Whether this host has what the probe reads.
    fn is_supported(&mut self) -> Support;

    /// How often it is worth reading.
    fn cadence(&self) -> Cadence {
        Cadence::Usual
    }

    /// Adds something to look at, if it is of the probe's kind.
    fn watch(&mut self, _what: &Watch) {}

    /// Asks a probe that has a thread of its own to start a reading; others have nothing to do.
    fn begin(&mut self) {}

    /// Whether a reading has come since the last sample waited for it in vain, so that it need not wait for the next one.
    fn has_late(&self) -> bool {
        false
    }

    /// Writes one round of readings. A probe with a thread of its own waits no longer than until `deadline`.
    ///
    /// # Errors
    /// When the source cannot be read or does not look as expected; what was written before stays.
    fn sample(&mut self, deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError>;

    /// What the last sample told of events is in the spool: it need not be told again.
    fn spooled(&mut self) {}
}

/// How often a probe is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cadence {
    /// Every round, also while the server asks for less: it tells of events.
    Urgent,
    /// Every round.
    Usual,
    /// Once a minute: it changes slowly, or costs much.
    Slow,
}

/// Something that the agent can be told to look at while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watch {
    /// A cgroup, by its path in the hierarchy or in the file system.
    Cgroup(String),
    /// A latency target.
    Target(latency::Target),
    /// A process, by its number, until it ends.
    Process(u32),
}

/// Whether a host has what a probe reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// It has.
    Yes,
    /// It has not, and why.
    No(String),
}

/// Why a probe has no reading.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The source could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The source was read, but lacks what it always has.
    #[error("{path} has no {what}")]
    Missing {
        /// The file.
        path: PathBuf,
        /// The line or field looked for.
        what: &'static str,
    },
    /// A reading in a thread of its own has not come back.
    #[error("{what} has not answered for {seconds} s")]
    Stalled {
        /// What was asked.
        what: &'static str,
        /// For how long.
        seconds: u64,
    },
    /// A target shows nothing; told by itself when that begins and when it ends.
    #[error("cannot scrape {url}")]
    Scrape {
        /// The page.
        url: String,
        /// Why.
        source: scrape::ScrapeError,
    },
}

/// Where the host's files are; elsewhere than usual in containers that watch their host, and where files were recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// `/` of the host; none where there is no host but recorded files of one.
    pub root: Option<PathBuf>,
    /// `/proc`
    pub proc: PathBuf,
    /// `/sys`
    pub sys: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self::below(Path::new("/"))
    }
}

impl Paths {
    /// Those of a host whose `/` is mounted at `root`.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Self {
            root: Some(root.to_owned()),
            proc: root.join("proc"),
            sys: root.join("sys"),
        }
    }

    /// A file below the host's `/`. Recorded files of another host say nothing about this one's: then it is one beside them.
    fn file(&self, below_root: &str, recorded: &str) -> PathBuf {
        match &self.root {
            Some(root) => root.join(below_root),
            None => self.proc.join(recorded),
        }
    }

    /// The folder of process `self`, or of the host's first one where the host is watched from a container: that one sees the host's
    /// network and mounts, and not the container's.
    fn process(&self) -> PathBuf {
        let is_own = self.root.as_deref() == Some(Path::new("/"));
        self.proc.join(if is_own { "self" } else { "1" })
    }
}

/// A metric and where its value is in what a probe has read.
type Column<R, V> = (&'static Metric, fn(&R) -> V);

/// Supported when the file can be opened.
fn needs(source: &Source) -> Support {
    if source.exists() {
        Support::Yes
    } else {
        Support::No(format!("{} cannot be opened", source.path().display()))
    }
}

/// The whole numbers of a line, in order; what is no number counts as 0, as do numbers beyond 64 bits.
fn numbers(text: &str) -> impl Iterator<Item = u64> + '_ {
    text.split_ascii_whitespace().map(|word| word.parse().unwrap_or(0))
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
