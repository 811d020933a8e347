//! Memory of single processes that the agent was told to watch: those with a limit of their own and no cgroup.

use std::path::PathBuf;
use std::time::Instant;

use super::{Column, Paths, Probe, ProbeError, Support, Watch};
use crate::catalogue as metric;
use crate::reading::Readings;
use crate::source::Source;

/// Processes watched at once.
const PROCESSES_MAX: usize = 16;

/// Reads `/proc/<pid>/status` and `/proc/<pid>/limits`.
#[derive(Debug)]
pub struct Processes {
    proc: PathBuf,
    watched: Vec<Process>,
}

#[derive(Debug)]
struct Process {
    pid: String,
    status: Source,
    limits: Source,
}

impl Processes {
    /// A probe of `paths.proc` that watches nothing yet.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self {
            proc: paths.proc.clone(),
            watched: Vec::new(),
        }
    }
}

impl Probe for Processes {
    fn name(&self) -> &'static str {
        "process"
    }

    fn is_supported(&mut self) -> Support {
        if self.watched.is_empty() {
            Support::No("no process is watched".to_owned())
        } else {
            Support::Yes
        }
    }

    fn watch(&mut self, what: &Watch) {
        let Watch::Process(pid) = what else { return };
        let pid = pid.to_string();
        if self.watched.len() < PROCESSES_MAX && self.watched.iter().all(|process| process.pid != pid) {
            let folder = self.proc.join(&pid);
            let (status, limits) = (Source::new(folder.join("status")), Source::new(folder.join("limits")));
            self.watched.push(Process { pid, status, limits });
        }
    }

    fn sample(&mut self, _deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        // A process that has ended is not looked for again: its number may by then be another's.
        let mut states = Vec::new();
        self.watched.retain_mut(|process| {
            let state = process.read();
            states.extend(state.map(|state| (process.pid.clone(), state)));
            state.is_some()
        });
        let columns: [Column<State, Option<u64>>; 3] = [
            (&metric::PROCESS_MEMORY, |state| Some(state.resident)),
            (&metric::PROCESS_VIRTUAL, |state| Some(state.mapped)),
            (&metric::PROCESS_LIMIT, |state| state.limit),
        ];
        for (metric, value) in columns {
            out.metric(metric);
            for (pid, state) in &states {
                if let Some(value) = value(state) {
                    out.point(&[("process.pid", pid)], value as f64);
                }
            }
        }
        Ok(())
    }
}

/// A process's memory, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    resident: u64,
    mapped: u64,
    limit: Option<u64>,
}

impl Process {
    /// `None` once the process has ended; a process that nobody has waited for yet has no memory lines any more.
    fn read(&mut self) -> Option<State> {
        let status = self.status.read().ok()?;
        let (resident, mapped) = (parse_status(status, "VmRSS:")?, parse_status(status, "VmSize:")?);
        let limit = self.limits.read().ok().and_then(parse_limit);
        Some(State {
            resident,
            mapped,
            limit,
        })
    }
}

/// A line of `status` in kB, as bytes.
fn parse_status(text: &str, key: &str) -> Option<u64> {
    let kibibytes: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.split_ascii_whitespace().next()?.parse().ok())?;
    kibibytes.checked_mul(1024)
}

/// The soft limit on address space; `None` when it is unlimited.
fn parse_limit(text: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        line.strip_prefix("Max address space")?
            .split_ascii_whitespace()
            .next()?
            .parse()
            .ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing;

    const STATUS: &str = "Name:\tleak\nVmPeak:\t  400 kB\nVmSize:\t  300 kB\nVmRSS:\t  200 kB\n";
    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
        Max cpu time              unlimited            unlimited            seconds   \n\
        Max address space         1048576              2097152              bytes     \n";

    #[test]
    fn a_watched_process_is_read_until_it_ends() {
        let files = testing::files(&[("proc/42/status", STATUS), ("proc/42/limits", LIMITS)]);
        let mut probe = Processes::new(&files.paths);
        assert!(matches!(probe.is_supported(), Support::No(_)));
        probe.watch(&Watch::Process(42));
        probe.watch(&Watch::Process(42));
        assert_eq!(
            testing::sample(&mut probe),
            "process.memory.usage{process.pid=42} 204800 By\nprocess.memory.virtual{process.pid=42} 307200 By\n\
             process.memory.limit{process.pid=42} 1048576 By\n"
        );
        files.write("proc/42/status", "Name:\tleak\nState:\tZ (zombie)\n");
        assert_eq!(testing::sample(&mut probe), "");
        assert!(matches!(probe.is_supported(), Support::No(_)));
    }

    #[test]
    fn no_limit_is_no_number() {
        assert_eq!(
            parse_limit("Max address space         unlimited            unlimited            bytes"),
            None
        );
        assert_eq!(parse_limit(""), None);
    }
}
