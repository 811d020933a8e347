//! Real faults on this very host: bounded in size and time, cleaned up whatever happens to whoever asked for them.
//!
//! ```text
//! demo, `foreshock fault …` ── Fault::start ──► warden (a process of its own) ──► leaking child, endpoint, writers
//!        Running::poll ◄── events, a line each ──┘   ends and cleans up when its standard input closes:
//!                                                    after stop, a panic, Ctrl-C or kill -9 of whoever started it
//! ```

mod disk;
mod endpoint;
mod io;
mod latency;
mod memory;
mod record;
mod running;
mod warden;

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

pub(crate) use latency::Options as LatencyOptions;
pub(crate) use memory::Options as MemoryOptions;
pub(crate) use running::{FaultState, Running};

/// Cause a real, bounded fault on this host.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    #[command(flatten)]
    Fault(Fault),
    /// Cause a fault while an agent records this host, and write the recording with its incident.
    Record(record::Arguments),
    /// The process that causes a fault and cleans up after it; started by the others.
    #[command(hide = true)]
    Warden {
        #[command(subcommand)]
        fault: Fault,
    },
    /// The process that leaks; started by the warden.
    #[command(hide = true)]
    Leak(memory::Leak),
}

/// A fault that can be caused.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Fault {
    /// A child process leaks memory inside a memory cgroup of its own until the kernel kills it.
    Memory(memory::Options),
    /// An HTTP endpoint on loopback degrades, then fails.
    Latency(latency::Options),
    /// A small file system fills up until a write fails (needs root, to mount it).
    Disk(disk::Options),
    /// More and more writers take the disk's time until a service that writes misses its deadline.
    Io(io::Options),
}

impl Fault {
    /// A memory leak that ends in an OOM kill.
    pub(crate) fn memory(options: memory::Options) -> Self {
        Self::Memory(options)
    }

    /// An endpoint that degrades before it fails.
    pub(crate) fn latency(options: latency::Options) -> Self {
        Self::Latency(options)
    }

    /// Starts the fault and waits until it is under way.
    ///
    /// # Errors
    /// When this host cannot have the fault: the text says what is missing.
    pub(crate) fn start(&self) -> Result<Running> {
        Running::start(self)
    }

    /// What the incident at its end is called.
    pub(crate) fn incident_kind(&self) -> &'static str {
        match self {
            Self::Memory(_) => "cgroup_oom",
            Self::Latency(_) => "latency_crash",
            Self::Disk(_) => "disk_full",
            Self::Io(_) => "io_starvation",
        }
    }

    /// The arguments that make a warden cause this fault.
    fn arguments(&self) -> Vec<String> {
        let (name, options) = match self {
            Self::Memory(options) => ("memory", options.arguments()),
            Self::Latency(options) => ("latency", options.arguments()),
            Self::Disk(options) => ("disk", options.arguments()),
            Self::Io(options) => ("io", options.arguments()),
        };
        std::iter::once(name.to_owned()).chain(options).collect()
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.command {
        Command::Fault(fault) => watch(fault),
        Command::Record(arguments) => record::run(arguments),
        Command::Warden { fault } => warden::run(fault),
        Command::Leak(leak) => memory::leak(leak),
    }
}

/// Causes a fault and says what happens, until it is over.
fn watch(fault: &Fault) -> Result<()> {
    let mut running = fault.start()?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", running.ready().subject).context("cannot print")?;
    loop {
        std::thread::sleep(Duration::from_millis(100));
        match running.poll() {
            FaultState::Growing => {}
            FaultState::Failed { at_ms, how } => {
                let seconds = (at_ms - running.ready().began_ms) / 1000;
                return writeln!(out, "failed after {seconds} s: {how}").context("cannot print");
            }
            FaultState::Ended { why } => bail!("the fault ended without a failure: {why}"),
        }
    }
}

/// Options as arguments, `--name value` each.
fn flags(pairs: &[(&str, String)]) -> Vec<String> {
    pairs
        .iter()
        .flat_map(|(name, value)| [format!("--{name}"), value.clone()])
        .collect()
}

/// Small random numbers by seed, for noise that looks like life.
#[derive(Clone, Debug)]
struct Noise(u64);

impl Noise {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Uniform in `[0, 1)`.
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// About normal, mean 0 and deviation 1: twelve uniform numbers, centred.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

#[cfg(test)]
mod tests;
