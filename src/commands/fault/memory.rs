//! A memory leak in a child process, inside a memory cgroup of its own, until the kernel kills it.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Resource, Rlimit, Signal, getpid, getppid, set_parent_process_death_signal, setrlimit};

use super::running::{Event, Ready};
use super::warden::{Cleanup, Leash, tell};
use super::{Noise, flags};
use crate::clock;

/// Where the child's resident memory begins, as a share of the limit: a service that has work to do.
const BASE_SHARE: f64 = 0.25;

/// Time between two allocations.
const STEP: Duration = Duration::from_millis(50);

/// Names of our cgroups; the number is the warden's process id.
const PREFIX: &str = "foreshock-fault-";

/// A memory leak.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Memory at which the kernel kills, MiB.
    #[arg(long, default_value_t = 256, value_name = "MIB", value_parser = clap::value_parser!(u64).range(32..=4096))]
    pub(crate) limit: u64,
    /// Steady time before the leak begins.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub(crate) warm_up: u64,
    /// Time from the leak's begin to the limit.
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) fill: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limit: 256,
            warm_up: 60,
            fill: 120,
        }
    }
}

impl Options {
    pub(super) fn arguments(&self) -> Vec<String> {
        flags(&[
            ("limit", self.limit.to_string()),
            ("warm-up", self.warm_up.to_string()),
            ("fill", self.fill.to_string()),
        ])
    }

    fn limit_bytes(&self) -> u64 {
        self.limit << 20
    }

    /// Twice the time that it should take: then the child ends, leak or no leak.
    fn at_most(&self) -> Duration {
        Duration::from_secs(self.warm_up + 2 * self.fill + 30)
    }

    pub(super) fn cause(&self, leash: &Leash) -> Result<Cleanup> {
        let cgroup = Cgroup::create(self.limit_bytes());
        if let Err(error) = &cgroup {
            tracing::warn!(
                error = format!("{error:#}"),
                "no memory cgroup to be had; the child limits itself"
            );
        }
        let cgroup = cgroup.ok();
        let mut child = Leaking(self.spawn(cgroup.as_ref())?);
        let began_ms = clock::now_ms();
        let limit = self.limit;
        tell(&Event::Ready(Ready {
            began_ms,
            expected_ms: Some(began_ms + ((self.warm_up + self.fill) * 1000) as i64),
            subject: match &cgroup {
                Some(cgroup) => format!(
                    "process {} leaks memory in cgroup {} (limit {limit} MiB)",
                    child.0.id(),
                    cgroup.name
                ),
                None => format!(
                    "process {} leaks memory under a limit of its own ({limit} MiB)",
                    child.0.id()
                ),
            },
            pid: cgroup.is_none().then(|| child.0.id()),
            cgroup: cgroup.as_ref().map(|cgroup| cgroup.name.clone()),
            ..Ready::default()
        }));
        let deadline = Instant::now() + self.at_most();
        loop {
            if let Some(status) = child.0.try_wait().context("cannot wait for the leaking process")? {
                let kills = cgroup.as_ref().map_or(0, Cgroup::oom_kills);
                tell(&outcome(status, kills, limit));
                break;
            }
            if Instant::now() > deadline {
                tell(&Event::Ended {
                    why: "the leak did not reach its limit in time".to_owned(),
                });
                break;
            }
            if !leash.wait(Duration::from_millis(20)) {
                break;
            }
        }
        drop(child);
        Ok(Box::new(cgroup))
    }

    fn spawn(&self, cgroup: Option<&Cgroup>) -> Result<Child> {
        let leak = Leak {
            cgroup: cgroup.map(|cgroup| cgroup.folder.clone()),
            limit: self.limit,
            warm_up: self.warm_up,
            fill: self.fill,
        };
        Command::new(std::env::current_exe().context("cannot find this program's own file")?)
            .args(["--log", "warn", "fault", "leak"])
            .args(leak.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start the leaking process")
    }
}

/// How the child ended.
fn outcome(status: ExitStatus, kills: u64, limit: u64) -> Event {
    let at_ms = clock::now_ms();
    match status.signal() {
        Some(9) if kills > 0 => {
            let how =
                format!("the kernel killed the process: out of memory in its cgroup ({limit} MiB, oom_kill {kills})");
            Event::Failed { at_ms, how }
        }
        Some(6) => Event::Failed {
            at_ms,
            how: format!("the process aborted: no memory beyond its limit of {limit} MiB"),
        },
        Some(signal) => Event::Failed {
            at_ms,
            how: format!("the process was killed by signal {signal}"),
        },
        None => Event::Ended {
            why: format!("the leaking process ended by itself ({status})"),
        },
    }
}

/// The child, killed when this goes.
struct Leaking(Child);

impl Drop for Leaking {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        self.0.kill().unwrap_or_default();
        if let Err(error) = self.0.wait() {
            tracing::warn!(%error, "cannot wait for the leaking process");
        }
    }
}

/// A memory cgroup with a limit, removed when this goes.
#[derive(Debug)]
struct Cgroup {
    folder: PathBuf,
    name: String,
    events: &'static str,
}

impl Cgroup {
    /// In the first hierarchy that lets us: version 2 or 1, below its root or below our own cgroup.
    fn create(limit: u64) -> Result<Self> {
        let mounted = Path::new("/sys/fs/cgroup");
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mut last = None;
        for (root, own, version) in [
            (mounted.to_path_buf(), own_path(&own, ""), 2),
            (mounted.join("unified"), own_path(&own, ""), 2),
            (mounted.join("memory"), own_path(&own, "memory"), 1),
        ] {
            let below_own = own.map(|own| root.join(own.trim_start_matches('/')));
            for parent in std::iter::once(root.clone()).chain(below_own) {
                if !has_memory(&parent, version) {
                    continue;
                }
                remove_stale(&parent);
                match Self::create_in(&root, &parent, version, limit) {
                    Ok(cgroup) => return Ok(cgroup),
                    Err(error) => last = Some(error),
                }
            }
        }
        match last {
            Some(error) => Err(error),
            None => bail!("no cgroup hierarchy with the memory controller is mounted"),
        }
    }

    fn create_in(root: &Path, parent: &Path, version: u8, limit: u64) -> Result<Self> {
        let folder = parent.join(format!("{PREFIX}{}", getpid().as_raw_nonzero()));
        fs::create_dir(&folder).with_context(|| format!("cannot create cgroup {}", folder.display()))?;
        let name = folder
            .strip_prefix(root)
            .map_or_else(|_| folder.clone(), |inside| Path::new("/").join(inside));
        let events = if version == 1 {
            "memory.oom_control"
        } else {
            "memory.events"
        };
        // From here on the folder goes when this does.
        let cgroup = Self {
            name: name.display().to_string(),
            folder,
            events,
        };
        let set = |file: &str, value: String| {
            let file = cgroup.folder.join(file);
            fs::write(&file, value).with_context(|| format!("cannot set {}", file.display()))
        };
        set(
            if version == 1 {
                "memory.limit_in_bytes"
            } else {
                "memory.max"
            },
            limit.to_string(),
        )?;
        // Without these a host with swap would swap instead; kernels without swap accounting lack the files.
        let swap = if version == 1 {
            ("memory.memsw.limit_in_bytes", limit.to_string())
        } else {
            ("memory.swap.max", "0".to_owned())
        };
        if let Err(error) = set(swap.0, swap.1) {
            tracing::debug!(error = format!("{error:#}"), "swap stays unlimited");
        }
        Ok(cgroup)
    }

    fn oom_kills(&self) -> u64 {
        let text = fs::read_to_string(self.folder.join(self.events)).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
            .unwrap_or(0)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel needs a moment to empty a cgroup whose process has just died.
        for _ in 0..100 {
            match fs::remove_dir(&self.folder) {
                Ok(()) => return,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
        tracing::warn!(cgroup = %self.folder.display(), "cannot remove the fault's cgroup");
    }
}

/// Whether cgroups in this folder have memory files.
fn has_memory(parent: &Path, version: u8) -> bool {
    if version == 1 {
        return parent.join("memory.limit_in_bytes").exists();
    }
    let enabled = fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
    enabled
        .split_ascii_whitespace()
        .any(|controller| controller == "memory")
}

/// Removes cgroups of wardens that were killed so hard that they could not.
fn remove_stale(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX))
            .and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            fs::remove_dir(entry.path()).unwrap_or_default();
        }
    }
}

/// This process's cgroup in the hierarchy of a controller; `""` is version 2's.
fn own_path(text: &str, controller: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let controllers = parts.nth(1)?;
        let path = parts.next()?;
        controllers
            .split(',')
            .any(|known| known == controller)
            .then(|| path.to_owned())
    })
}

/// What the leaking child does.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Leak {
    /// Cgroup to enter first; without one the child limits itself.
    #[arg(long)]
    cgroup: Option<PathBuf>,
    #[arg(long)]
    limit: u64,
    #[arg(long)]
    warm_up: u64,
    #[arg(long)]
    fill: u64,
}

impl Leak {
    fn arguments(&self) -> Vec<String> {
        let mut all = flags(&[
            ("limit", self.limit.to_string()),
            ("warm-up", self.warm_up.to_string()),
            ("fill", self.fill.to_string()),
        ]);
        if let Some(cgroup) = &self.cgroup {
            all.extend(flags(&[("cgroup", cgroup.display().to_string())]));
        }
        all
    }
}

/// Leaks until killed. Ends by itself when its parent does, and after three times the time it should take.
pub(super) fn leak(leak: &Leak) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot tie this process to its parent")?;
    let parent = getppid();
    let limit = leak.limit << 20;
    match &leak.cgroup {
        Some(cgroup) => {
            let file = cgroup.join("cgroup.procs");
            fs::write(&file, getpid().as_raw_nonzero().to_string())
                .with_context(|| format!("cannot enter cgroup by {}", file.display()))?;
        }
        None => {
            // What is mapped already counts as well: libraries, stacks, this program.
            let mapped = mapped_bytes();
            let limit = Rlimit {
                current: Some(mapped + limit),
                maximum: Some(mapped + limit),
            };
            setrlimit(Resource::As, limit).context("cannot limit this process")?;
        }
    }
    let began = Instant::now();
    let fill = Duration::from_secs(leak.fill);
    let warm_up = Duration::from_secs(leak.warm_up);
    let at_most = warm_up + 3 * fill + Duration::from_secs(60);
    let base = (limit as f64 * BASE_SHARE) as usize;
    let mut held = vec![allocate(base)];
    let mut held_bytes = base as f64;
    let mut noise = Noise::new(leak.limit ^ leak.fill);
    while began.elapsed() < at_most && getppid() == parent {
        thread::sleep(STEP);
        let Some(leaking) = began.elapsed().checked_sub(warm_up) else {
            continue;
        };
        // The amount follows the clock, so that a busy host does not stretch the leak; life adds its noise.
        let share = leaking.as_secs_f64() / fill.as_secs_f64();
        let wanted = base as f64 + share * (limit as f64 * (1.0 - BASE_SHARE));
        let step = (wanted - held_bytes) * (1.0 + 0.3 * noise.normal()).clamp(0.0, 2.0);
        if step >= 4096.0 {
            held.push(allocate(step as usize));
            held_bytes += step;
        }
    }
    drop(held);
    Ok(())
}

/// Memory that is written to, so that it is really there.
fn allocate(bytes: usize) -> Vec<u8> {
    let mut memory = Vec::new();
    if memory.try_reserve_exact(bytes).is_err() {
        std::process::abort();
    }
    memory.resize(bytes, 0xa5);
    memory
}

/// Address space in use, from `/proc/self/status`.
fn mapped_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kibibytes = text.lines().find_map(|line| {
        line.strip_prefix("VmSize:")?
            .split_ascii_whitespace()
            .next()?
            .parse()
            .ok()
    });
    kibibytes.unwrap_or(0u64) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_is_found_in_both_versions() {
        let text = "9:name=systemd:/x\n4:cpu,memory:/jobs/a:b\n0::/user.slice\n";
        assert_eq!(own_path(text, "memory").as_deref(), Some("/jobs/a:b"));
        assert_eq!(own_path(text, "").as_deref(), Some("/user.slice"));
        assert_eq!(own_path(text, "io"), None);
    }

    #[test]
    fn how_it_ended_is_told_from_the_signal_and_the_kernels_count() {
        let how = |raw: i32, kills| match outcome(ExitStatus::from_raw(raw), kills, 256) {
            Event::Failed { how, .. } => how,
            event => format!("{event:?}"),
        };
        assert!(how(9, 1).contains("out of memory in its cgroup"));
        assert!(how(9, 0).contains("killed by signal 9"));
        assert!(how(6, 0).contains("aborted"));
        assert!(how(0, 0).contains("Ended"));
    }
}
