//! Telemetry of this host, over OpenTelemetry, to Foreshock or any OTLP receiver.
//!
//! ```text
//! /proc, /sys, NVML, HTTP ─► probes ─► batch ─► spool ══ OTLP/HTTP, zstd ══► server
//!   one thread on a grid of time ──────────────►│  bounded   │◄── one thread that sends, one that syncs
//! ```
//!
//! Invariants:
//! - The sampling thread waits for no server: batches go to a bounded spool, on disk where a directory is given.
//! - What may hang (drivers of GPUs, files of devices in `/sys`, latency targets) is read in threads of its own and delays nobody.
//! - A batch leaves the spool when the server has acknowledged it or refused it for good, or when the spool is full; the
//!   latter two are counted and sent as metrics.
//! - Killing the agent at any instant loses nothing that was in the spool's directory; it has no way to stop but that one
//!   needs to be afraid of.
//!
//! ```
//! use foreshock_agent::{Agent, Config};
//!
//! let agent = Agent::new(Config { host_name: Some("db-1".to_owned()), ..Config::default() })?;
//! let text = agent.read_once();
//! assert!(text.contains("system.cpu.load_average.1m "));
//! # Ok::<(), foreshock_agent::AgentError>(())
//! ```

mod adaptive;
mod batch;
pub mod catalogue;
pub mod check;
mod clock;
mod enrol;
pub mod expected;
mod file;
mod host;
mod identity;
pub mod install;
pub mod probe;
pub mod proxy;
pub mod reading;
pub mod recording;
mod retry;
mod sampler;
mod sender;
pub mod smart;
mod source;
mod spool;
mod stats;
mod transport;
mod trust;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use thiserror::Error;

pub use enrol::{Join, JoinError};
pub use host::Host;
pub use identity::{Identity, is_join_token};
pub use probe::latency::{Target, TargetError};
pub use probe::scrape::{ScrapeAccess, ScrapeAccessError, ScrapeFile, ScrapeTarget, ScrapeTargetError};
pub use probe::{Paths, Watch};
pub use recording::RecordingError;
pub use spool::{SpoolError, SpoolOptions};
pub use stats::Stats;
pub use transport::{Server, ServerError};
pub use trust::{Pin, Trust, TrustError};

use expected::{Expected, Keep};
use probe::Probe;
use probe::certificate::Certificates;
use probe::cgroup::CgroupMemory;
use probe::cpu::Cpu;
use probe::disk::Disk;
use probe::disk_health::Health;
use probe::files::Files;
use probe::filesystem::Filesystem;
use probe::gpu::Gpus;
use probe::kernel::Kernel;
use probe::kernel_log::{Bookmark, KernelLog};
use probe::latency::Latency;
use probe::load::Load;
use probe::memory::Memory;
use probe::network::Network;
use probe::paging::Paging;
use probe::pressure::Pressure;
use probe::process::Processes;
use probe::scrape;
use probe::sockets::Sockets;
use probe::sysfs::{amd, hardware, links, storage};
use probe::tasks::Tasks;
use probe::timesync::TimeSync;
use probe::units::Units;
use probe::uptime::Uptime;
use probe::vmstat::VmStat;
use probe::worker::Hands;
use reading::TextSink;
use recording::Recorder;
use retry::Jitter;
use sampler::{Control, Probes, Round, Sampler};
use sender::Outbox;
use spool::Spool;
use transport::Client;

/// Shortest interval that is taken: below, the agent itself would be what it measures.
pub const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Time for one attempt to send.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Time after which a target, of latency or to scrape, counts as failed.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long [`Handle::stop`] waits for the last batches to be acknowledged.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Stacks of the agent's threads; TLS handshakes need the most.
const SAMPLER_STACK_BYTES: usize = 512 << 10;
const SENDER_STACK_BYTES: usize = 1 << 20;
const SYNCER_STACK_BYTES: usize = 128 << 10;

/// What an agent does.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where batches go; nowhere without one (a recording, or readings for a test).
    pub server: Option<Server>,
    /// Time between two rounds of readings.
    pub interval: Duration,
    /// Probes that are read less often than each round, and how often.
    pub every: Vec<Every>,
    /// Whether to sample each second while tasks wait for memory or disks, or the server warns of this host.
    pub adaptive: bool,
    /// The host's name, instead of the kernel's.
    pub host_name: Option<String>,
    /// Endpoints whose latency is measured.
    pub targets: Vec<Target>,
    /// Targets whose metrics are passed on, as the server would scrape them.
    pub scrape: Vec<ScrapeTarget>,
    /// What they want of who asks them, and who vouches for them.
    pub scrape_access: ScrapeAccess,
    /// Whether CPU time is told of each logical CPU, in the place of all together.
    pub cpu_per_core: bool,
    /// Cgroups whose memory is measured, besides those nearest to their limit.
    pub cgroups: Vec<String>,
    /// Files of certificates, and folders of such files, whose end is told.
    pub certificates: Vec<PathBuf>,
    /// What happens to batches while the server is away.
    pub spool: SpoolOptions,
    /// A file to which every batch is written as well.
    pub record: Option<PathBuf>,
    /// Where `/proc` and `/sys` are.
    pub paths: Paths,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: None,
            interval: Duration::from_secs(10),
            every: Vec::new(),
            adaptive: true,
            host_name: None,
            targets: Vec::new(),
            scrape: Vec::new(),
            scrape_access: ScrapeAccess::default(),
            cpu_per_core: false,
            cgroups: Vec::new(),
            certificates: Vec::new(),
            spool: SpoolOptions::default(),
            record: None,
            paths: Paths::default(),
        }
    }
}

/// Longest time between two readings of a probe: what is older than a few minutes no longer counts as what is.
pub const EVERY_MAX: Duration = Duration::from_secs(3600);

/// How often a probe is read, where that is not each round. As text `NAME=TIME`, such as `cgroup=60s`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Every {
    /// The probe, as `foreshock.agent.probe.duration{probe}` names it.
    pub probe: String,
    /// Time between two readings of it.
    pub time: Duration,
}

/// Why an agent cannot start.
#[derive(Debug, Error)]
pub enum AgentError {
    /// The interval is too short.
    #[error("an interval of {given:?} is too short")]
    Interval {
        /// As it was given.
        given: Duration,
    },
    /// There is no probe of a name.
    #[error("there is no probe {given:?}; there are {}", known.join(", "))]
    Probe {
        /// As it was given.
        given: String,
        /// The probes that there are.
        known: Vec<String>,
    },
    /// A probe cannot be read so often, or so seldom.
    #[error("{probe} cannot be read every {given:?}, while the interval is {interval:?}")]
    Every {
        /// The probe.
        probe: String,
        /// As it was given.
        given: Duration,
        /// Time between two rounds.
        interval: Duration,
    },
    /// More targets to scrape than an agent takes.
    #[error("{given} targets to scrape are too many: an agent takes {}", scrape::TARGETS_MAX)]
    ScrapeTargets {
        /// How many were given.
        given: usize,
    },
    /// Two targets to scrape whose series would be the same.
    #[error("two targets to scrape are {job:?} at {instance}")]
    SameTarget {
        /// Their name.
        job: String,
        /// Host and port.
        instance: String,
    },
    /// Files for targets to scrape that fit none.
    #[error("cannot scrape as told")]
    ScrapeAccess(#[from] ScrapeAccessError),
    /// The server's address or a header for it.
    #[error("cannot send to the server")]
    Server(#[from] ServerError),
    /// The spool's directory.
    #[error("cannot open the spool")]
    Spool(#[from] SpoolError),
    /// The recording's file.
    #[error("cannot record")]
    Recording(#[from] RecordingError),
    /// The system gave no thread or descriptor.
    #[error("cannot start the agent's threads")]
    Start(#[source] io::Error),
}

impl AgentError {
    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Interval { .. } => Some("use 100 ms or more; 10s is usual, 1s where minutes matter"),
            Self::Every { .. } => Some(
                "give a time from --interval to 1h; to read one probe more often, lower --interval and give the others a time",
            ),
            Self::ScrapeTargets { .. } => Some(
                "let the server scrape the others (scrape_configs), or run a second agent with a --spool of its own",
            ),
            Self::ScrapeAccess(_) => Some(
                "give each --scrape NAME=URL at most one of --scrape-token, --scrape-password and one --scrape-ca, as NAME=FILE",
            ),
            Self::SameTarget { .. } => Some("give each page of a port a name of its own"),
            Self::Server(ServerError::Address { .. }) => Some("give --server as http://host:9750"),
            Self::Server(ServerError::NoTls { .. }) => {
                Some("give --server as https://host:9750, or leave out --ca-file, --pin and --join")
            }
            Self::Server(ServerError::ProxyKind { .. }) => {
                Some("give a proxy that speaks HTTP and CONNECT, as http://host:port or https://host:port")
            }
            Self::Server(ServerError::NowhereToKeep) => Some("give --spool DIR, a folder that outlives the agent"),
            Self::Server(ServerError::Trust(_)) => {
                Some("--ca-file takes certificates in PEM, such as the server's ca.pem")
            }
            Self::Spool(SpoolError::InUse { .. }) => Some("give each agent a --spool directory of its own"),
            Self::Spool(_) => Some("choose a --spool directory that the agent may write to"),
            _ => None,
        }
    }
}

/// An agent that is configured and not yet running.
pub struct Agent {
    config: Config,
    host: Host,
    client: Option<Client>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent")
            .field("config", &self.config)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Agent {
    /// Checks the configuration and reads the host's identity.
    ///
    /// # Errors
    /// When the interval is too short, the server's address or headers cannot be used, or a probe has no such name or time.
    pub fn new(config: Config) -> Result<Self, AgentError> {
        if config.interval < INTERVAL_MIN {
            return Err(AgentError::Interval { given: config.interval });
        }
        let host = Host::read(&config.paths, config.host_name.as_deref());
        let client = config
            .server
            .as_ref()
            .map(|server| Client::new(server, &host, SEND_TIMEOUT))
            .transpose()?;
        let agent = Self { config, host, client };
        agent.check_scrape()?;
        agent.check_every()?;
        Ok(agent)
    }

    fn check_scrape(&self) -> Result<(), AgentError> {
        let (targets, own) = (&self.config.scrape, self.host.name.as_str());
        if targets.len() > scrape::TARGETS_MAX {
            return Err(AgentError::ScrapeTargets { given: targets.len() });
        }
        for (i, target) in targets.iter().enumerate() {
            if targets[..i].iter().any(|other| other.collides(target, own)) {
                return Err(AgentError::SameTarget {
                    job: target.job().to_owned(),
                    instance: target.instance(own),
                });
            }
        }
        self.config.scrape_access.check(targets)?;
        Ok(())
    }

    fn check_every(&self) -> Result<(), AgentError> {
        let (every, interval) = (&self.config.every, self.config.interval);
        if every.is_empty() {
            return Ok(());
        }
        let known: Vec<String> = self
            .list(&Expected::new(Keep::Nowhere), false)
            .iter()
            .map(|probe| probe.name().to_owned())
            .collect();
        for Every { probe, time } in every {
            if !known.contains(probe) {
                return Err(AgentError::Probe {
                    given: probe.clone(),
                    known,
                });
            }
            if !(interval..=EVERY_MAX).contains(time) {
                return Err(AgentError::Every {
                    probe: probe.clone(),
                    given: *time,
                    interval,
                });
            }
        }
        Ok(())
    }

    /// The host as the agent names it.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The same agent under another identity, for recordings that are given away.
    #[must_use]
    pub fn named(mut self, host: Host) -> Self {
        self.host = host;
        self
    }

    /// Two rounds of readings, half a second apart so that shares of time have a value; the second as text.
    #[must_use]
    pub fn read_once(&self) -> String {
        let mut probes = self.probes(&self.expected(false), false);
        probes.read(&mut TextSink::default(), Round::All, clock::unix_nanos());
        thread::sleep(Duration::from_millis(500));
        let mut sink = TextSink::default();
        probes.read(&mut sink, Round::All, clock::unix_nanos());
        sink.text().to_owned()
    }

    /// The devices that this host is known to have; see [`Agent::probes`].
    fn expected(&self, keeps: bool) -> Expected {
        Expected::new(match &self.config.spool.dir {
            None => Keep::Nowhere,
            Some(dir) if keeps => Keep::In(dir.clone()),
            Some(dir) => Keep::ReadOnly(dir.clone()),
        })
    }

    /// `keeps` says that what the probes tell goes to the spool, and not just to somebody who looks.
    fn probes(&self, expected: &Expected, keeps: bool) -> Probes {
        // Who is short of memory must not be asked each second for a page of metrics by an agent that looks closer.
        let usual = self.config.scrape.iter().map(|target| Every {
            probe: target.probe(),
            time: self.config.interval,
        });
        let every: Vec<Every> = usual.chain(self.config.every.iter().cloned()).collect();
        Probes::new(self.list(expected, keeps), &every, &self.config.paths)
    }

    fn list(&self, expected: &Expected, keeps: bool) -> Vec<Box<dyn Probe>> {
        let paths = &self.config.paths;
        let timeout = self.answer_timeout();
        let hands = Hands::new();
        let mut probes: Vec<Box<dyn Probe>> = vec![
            Box::new(Cpu::new(paths).per_core(self.config.cpu_per_core)),
            Box::new(Load::new(paths)),
            Box::new(Memory::new(paths)),
            Box::new(VmStat::new(paths)),
            Box::new(Paging::new(paths)),
            Box::new(Pressure::new(paths)),
            Box::new(Disk::new(paths)),
            Box::new(Filesystem::new(paths)),
            Box::new(Network::new(paths)),
            Box::new(Sockets::new(paths)),
            Box::new(Health::new(paths)),
            Box::new(Files::new(paths)),
            Box::new(Kernel::new(paths)),
            Box::new(KernelLog::new(paths, self.kernel_log_bookmark(keeps), &self.host)),
            Box::new(TimeSync::new(paths)),
            Box::new(Tasks::new(paths)),
            Box::new(Uptime::new(paths)),
            Box::new(CgroupMemory::new(paths, &self.config.cgroups)),
            Box::new(Processes::new(paths)),
            Box::new(Certificates::new(&self.config.certificates)),
            Box::new(Units::new(paths)),
            // Last, so that their threads have the time that the others take.
            Box::new(Latency::new(&self.config.targets, timeout)),
            Box::new(links::probe(paths).expecting(expected).read_by(&hands)),
            Box::new(storage::probe(paths).expecting(expected).read_by(&hands)),
            Box::new(hardware::probe(paths).expecting(expected).read_by(&hands)),
            Box::new(amd::probe(paths).expecting(expected).read_by(&hands)),
            Box::new(Gpus::nvidia(paths).expecting(expected)),
        ];
        let Config {
            scrape, scrape_access, ..
        } = &self.config;
        probes.extend(scrape::probes(scrape, scrape_access, &self.host, timeout));
        probes
    }

    /// Time after which a target that has not answered counts as failed.
    fn answer_timeout(&self) -> Duration {
        PROBE_TIMEOUT.min(self.config.interval.max(Duration::from_secs(2)))
    }

    /// Where the agent keeps how far it has read the kernel's log, for when it starts again.
    fn kernel_log_bookmark(&self, keeps: bool) -> Bookmark {
        match &self.config.spool.dir {
            None => Bookmark::Nowhere,
            Some(dir) if keeps => Bookmark::Kept(dir.join("kernel-log")),
            Some(dir) => Bookmark::ReadOnly(dir.join("kernel-log")),
        }
    }

    /// Starts reading and sending.
    ///
    /// # Errors
    /// When the spool or the recording cannot be opened, or the system gives no threads.
    pub fn start(mut self) -> Result<Handle, AgentError> {
        let control = Arc::new(Control::new().map_err(AgentError::Start)?);
        let recorder = self.config.record.as_deref().map(Recorder::create).transpose()?;
        let client = self.client.take();
        let outbox = match &client {
            Some(_) => Some(Arc::new(Outbox::new(Spool::open(self.config.spool.clone())?))),
            None => None,
        };
        let expected = self.expected(client.is_some());
        let sampler = Sampler {
            control: Arc::clone(&control),
            probes: self.probes(&expected, client.is_some()),
            interval: self.config.interval,
            adaptive: self.config.adaptive,
            triggers: sampler::triggers(self.config.adaptive, &self.config.paths),
            outbox: outbox.clone(),
            recorder,
            rounds: 0,
            host: self.host.clone(),
        };
        let sampler = spawn("sampler", SAMPLER_STACK_BYTES, move || sampler.run())?;
        let mut senders = Vec::new();
        if let (Some(client), Some(outbox)) = (client, &outbox) {
            let (theirs, jitter) = (Arc::clone(outbox), Jitter::new(self.host.seed()));
            senders.push(spawn("sender", SENDER_STACK_BYTES, move || {
                sender::run(&theirs, &client, jitter)
            })?);
            if self.config.spool.dir.is_some() {
                let theirs = Arc::clone(outbox);
                senders.push(spawn("syncer", SYNCER_STACK_BYTES, move || {
                    sender::keep_synced(&theirs, &expected)
                })?);
            }
        }
        Ok(Handle {
            control,
            outbox,
            sampler: Some(sampler),
            senders,
        })
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn spawn(name: &str, stack: usize, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, AgentError> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(stack)
        .spawn(run)
        .map_err(AgentError::Start)
}

/// A running agent. Dropping it stops the agent as [`Handle::stop`] does.
#[derive(Debug)]
pub struct Handle {
    control: Arc<Control>,
    outbox: Option<Arc<Outbox>>,
    sampler: Option<JoinHandle<()>>,
    /// The thread that sends, and the one that syncs.
    senders: Vec<JoinHandle<()>>,
}

impl Handle {
    /// Looks at one more cgroup or latency target from now on. Those beyond the agent's bounds are passed over.
    pub fn watch(&self, what: Watch) {
        self.control.watch(what);
    }

    /// What the agent has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.outbox.as_ref().map_or_else(Stats::default, |outbox| {
            let (batches, bytes) = outbox.waiting();
            outbox.counters.stats(batches, bytes)
        })
    }

    /// Stops reading, gives the sender a few seconds for what waits, and returns the final state. What was not
    /// acknowledged by then stays in the spool's directory.
    pub fn stop(mut self) -> Stats {
        self.end();
        self.stats()
    }

    /// Waits until the agent ends, which it does when its threads cannot go on.
    pub fn wait(mut self) {
        if let Some(sampler) = self.sampler.take() {
            join(sampler);
        }
    }

    fn end(&mut self) {
        self.control.stop();
        if let Some(sampler) = self.sampler.take() {
            join(sampler);
        }
        if let Some(outbox) = &self.outbox {
            outbox.stop(Instant::now() + STOP_TIMEOUT);
        }
        // An attempt that hangs may outlast the deadline, and so may a disk; their threads must not hold up the caller.
        let deadline = Instant::now() + STOP_TIMEOUT + Duration::from_secs(1);
        for sender in self.senders.drain(..) {
            while !sender.is_finished() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(5));
            }
            if sender.is_finished() {
                join(sender);
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread of the agent panicked");
    }
}

#[cfg(test)]
mod tests;
