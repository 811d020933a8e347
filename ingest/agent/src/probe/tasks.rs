//! All processes, by state and by name: zombies and tasks that wait for a disk, threads, and who uses most.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use super::{Cadence, Paths, Probe, ProbeError, Support};
use crate::catalogue as metric;
use crate::reading::Readings;

/// Processes looked at in one round; a host with more is told by their number, and the rest is left out.
const PROCESSES_MAX: usize = 8192;

/// Names sent, of those that use most memory and of those that used most CPU time since the last round.
const NAMES_MAX: usize = 10;

/// Names that stay once sent, so that a counter does not come and go with its place in the list.
const KEPT_MAX: usize = 40;

const TICKS_PER_SECOND: f64 = 100.0;
const PAGE_BYTES: f64 = 4096.0;

/// States as `stat` has them (proc_pid_stat(5)), and as they are sent.
const STATES: [(char, &str); 6] = [
    ('R', "running"),
    ('S', "sleeping"),
    ('D', "disk"),
    ('Z', "zombie"),
    ('T', "stopped"),
    ('I', "idle"),
];

/// Reads `/proc/<pid>/stat` of every process, once a minute.
#[derive(Debug)]
pub struct Tasks {
    proc: PathBuf,
    /// CPU ticks by process at the last round, with the process's start, since numbers are used again.
    before: HashMap<u32, (u64, u64)>,
    /// CPU ticks by name, summed over processes that came and went.
    used: BTreeMap<String, u64>,
    /// Names sent so far.
    sent: Vec<String>,
}

impl Tasks {
    /// A probe of `paths.proc`.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self {
            proc: paths.proc.clone(),
            before: HashMap::new(),
            used: BTreeMap::new(),
            sent: Vec::new(),
        }
    }
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    state: char,
    ticks: u64,
    threads: u64,
    started: u64,
    resident_pages: u64,
}

/// What processes of one name use together.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    resident_pages: u64,
    count: u64,
    /// Since the last round.
    ticks: u64,
}

impl Probe for Tasks {
    fn name(&self) -> &'static str {
        "tasks"
    }

    fn is_supported(&mut self) -> Support {
        if self.proc.join("1/stat").exists() {
            Support::Yes
        } else {
            Support::No(format!("{} shows no processes", self.proc.display()))
        }
    }

    fn cadence(&self) -> Cadence {
        Cadence::Slow
    }

    fn sample(&mut self, _deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        let entries = fs::read_dir(&self.proc).map_err(|source| ProbeError::Read {
            path: self.proc.clone(),
            source,
        })?;
        let pids = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let mut states = [0u64; STATES.len()];
        let mut threads = 0u64;
        let mut now = HashMap::new();
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        let mut text = Vec::new();
        for pid in pids.take(PROCESSES_MAX) {
            // A process that ended meanwhile has no file any more.
            let Some(stat) = read(&self.proc.join(pid.to_string()).join("stat"), &mut text) else {
                continue;
            };
            if let Some(place) = STATES.iter().position(|(state, _)| *state == stat.state) {
                states[place] += 1;
            }
            threads = threads.saturating_add(stat.threads);
            let before = self.before.get(&pid).filter(|(started, _)| *started == stat.started);
            let ticks = stat.ticks.saturating_sub(before.map_or(0, |(_, ticks)| *ticks));
            now.insert(pid, (stat.started, stat.ticks));
            let group = groups.entry(stat.name).or_default();
            group.count += 1;
            group.resident_pages = group.resident_pages.saturating_add(stat.resident_pages);
            group.ticks = group.ticks.saturating_add(ticks);
        }
        self.before = now;
        out.metric(&metric::PROCESS_STATES);
        for ((_, name), count) in STATES.iter().zip(states) {
            out.point(&[("process.state", name)], count as f64);
        }
        out.single(&metric::THREADS, threads as f64);
        self.emit(&groups, out);
        Ok(())
    }
}

impl Tasks {
    fn emit(&mut self, groups: &BTreeMap<String, Group>, out: &mut Readings<'_>) {
        let top = |key: fn(&Group) -> u64| {
            let mut names: Vec<(&String, &Group)> = groups.iter().filter(|(_, group)| key(group) > 0).collect();
            names.sort_by_key(|(_, group)| std::cmp::Reverse(key(group)));
            names.truncate(NAMES_MAX);
            names
        };
        for (name, _) in top(|group| group.resident_pages)
            .into_iter()
            .chain(top(|group| group.ticks))
        {
            if !self.sent.contains(name) {
                self.sent.push(name.clone());
            }
        }
        // The longest unused go first, and with them their sums: a name that comes back begins at zero.
        while self.sent.len() > KEPT_MAX {
            let place = self
                .sent
                .iter()
                .position(|name| !groups.contains_key(name))
                .unwrap_or(0);
            let gone = self.sent.remove(place);
            self.used.remove(&gone);
        }
        for name in &self.sent {
            let used = self.used.entry(name.clone()).or_default();
            *used = used.saturating_add(groups.get(name).map_or(0, |group| group.ticks));
        }
        out.metric(&metric::PROCESS_GROUP_CPU);
        for name in &self.sent {
            let ticks = self.used.get(name).copied().unwrap_or(0);
            out.point(&[("process.name", name)], ticks as f64 / TICKS_PER_SECOND);
        }
        out.metric(&metric::PROCESS_GROUP_MEMORY);
        for (name, group) in self.sent.iter().filter_map(|name| groups.get_key_value(name)) {
            out.point(&[("process.name", name)], group.resident_pages as f64 * PAGE_BYTES);
        }
        out.metric(&metric::PROCESS_GROUP_COUNT);
        for (name, group) in self.sent.iter().filter_map(|name| groups.get_key_value(name)) {
            out.point(&[("process.name", name)], group.count as f64);
        }
    }
}

fn read(file: &std::path::Path, text: &mut Vec<u8>) -> Option<Stat> {
    use std::io::Read as _;
    text.clear();
    fs::File::open(file).ok()?.take(4096).read_to_end(text).ok()?;
    parse(&String::from_utf8_lossy(text))
}

/// `pid (name) state ppid ...`; the name may hold anything, a closing bracket too, so the last one ends it.
fn parse(text: &str) -> Option<Stat> {
    let (before, rest) = text.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    // Threads of the kernel are named by what they serve: `kworker/3:1H`, of which the part before the slash is the kind.
    let name = name.split('/').next().unwrap_or(name);
    let mut words = rest.split_ascii_whitespace();
    let state = words.next()?.chars().next()?;
    let mut number = |skip: usize| words.nth(skip)?.parse::<u64>().ok();
    // Fields 14 and 15 are user and system time, 20 threads, 22 the start, 24 resident pages; field 4 comes next.
    let (user, system) = (number(10)?, number(0)?);
    let (threads, started, resident_pages) = (number(4)?, number(1)?, number(1)?);
    let name: String = name
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .take(32)
        .collect();
    Some(Stat {
        name,
        state,
        ticks: user.saturating_add(system),
        threads,
        started,
        resident_pages,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing;

    fn stat(pid: u32, name: &str, state: char, ticks: u64, pages: u64) -> String {
        format!(
            "{pid} ({name}) {state} 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 2 0 77 1000 {pages} 18446744073709551615 0\n"
        )
    }

    #[test]
    fn processes_are_summed_by_name_and_counted_by_state() {
        let files = testing::files(&[
            ("proc/1/stat", &stat(1, "init", 'S', 100, 10)),
            ("proc/7/stat", &stat(7, "java) x", 'D', 500, 1000)),
            ("proc/8/stat", &stat(8, "java) x", 'S', 300, 1000)),
            ("proc/9/stat", &stat(9, "gone", 'Z', 0, 0)),
            ("proc/self/stat", "not a number"),
        ]);
        let mut probe = Tasks::new(&files.paths);
        let text = testing::sample(&mut probe);
        for line in [
            "system.linux.processes{process.state=zombie} 1 {process}\n",
            "system.linux.processes{process.state=disk} 1 {process}\n",
            "system.linux.threads 8 {thread}\n",
            "process.group.memory.usage{process.name=java) x} 8192000 By\n",
            "process.group.cpu.time{process.name=java) x} 8 s\n",
            "process.group.count{process.name=java) x} 2 {process}\n",
        ] {
            assert!(text.contains(line), "{line} not in {text}");
        }
        // One ends, the other goes on: the sum does not step back.
        files.remove("proc/8");
        files.write("proc/7/stat", &stat(7, "java) x", 'S', 700, 1000));
        let text = testing::sample(&mut probe);
        assert!(
            text.contains("process.group.cpu.time{process.name=java) x} 10 s\n"),
            "{text}"
        );
    }

    #[test]
    fn names_are_bounded_and_kernel_threads_share_one() {
        let files = testing::files(&[]);
        for pid in 1..300 {
            files.write(
                &format!("proc/{pid}/stat"),
                &stat(pid, &format!("p{pid}"), 'S', u64::from(pid), 1),
            );
        }
        let mut probe = Tasks::new(&files.paths);
        for round in 0..20 {
            for pid in 1..300 {
                let ticks = u64::from(pid * 31 % 97) * (round + 1);
                files.write(
                    &format!("proc/{pid}/stat"),
                    &stat(pid, &format!("p{pid}"), 'S', ticks, ticks),
                );
            }
            testing::sample(&mut probe);
        }
        assert!(
            probe.sent.len() <= KEPT_MAX && probe.used.len() <= KEPT_MAX,
            "{}",
            probe.sent.len()
        );
        assert_eq!(
            parse(&stat(3, "kworker/3:1H", 'I', 1, 0))
                .map(|stat| stat.name)
                .as_deref(),
            Some("kworker")
        );
    }

    #[test]
    fn lines_cut_short_are_no_process() {
        for text in ["", "1", "1 (a", "1 (a)", "1 (a) S", "1 (a) S 1 1 1 0 -1 0 0 0 0 0 5"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
