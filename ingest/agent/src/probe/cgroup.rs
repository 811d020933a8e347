//! Memory of cgroups, version 1 and 2: what leaks in a container or unit is killed at that limit, not at the host's.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Column, Paths, Probe, ProbeError, Support, Watch};
use crate::catalogue as metric;
use crate::reading::Readings;
use crate::source::Source;

/// Cgroups with a limit that are found by the agent itself.
const FOUND_MAX: usize = 16;

/// Cgroups named by the operator.
pub(crate) const NAMED_MAX: usize = 64;

/// Folders looked at in a search, and how deep.
const FOLDERS_MAX: usize = 1024;
const DEPTH_MAX: usize = 8;

/// Time between searches for cgroups with a limit.
const SEARCH_EVERY: Duration = Duration::from_secs(60);

/// Version 1 writes "no limit" as the largest multiple of the page size that fits 63 bits.
const V1_UNLIMITED: u64 = 1 << 62;

/// Reads memory use, limit and OOM kills of the named cgroups, and of those nearest to a limit.
#[derive(Debug)]
pub struct CgroupMemory {
    hierarchy: Option<Hierarchy>,
    named: Vec<Cgroup>,
    found: Vec<Cgroup>,
    searched: Option<Instant>,
}

impl CgroupMemory {
    /// A probe of `paths.sys`. A named cgroup is given by its path in the hierarchy (`/system.slice/db.service`) or in the
    /// file system; it need not exist yet.
    #[must_use]
    pub fn new(paths: &Paths, named: &[String]) -> Self {
        let mut probe = Self {
            hierarchy: Hierarchy::find(&paths.sys),
            named: Vec::new(),
            found: Vec::new(),
            searched: None,
        };
        named.iter().for_each(|name| probe.add(name));
        probe
    }

    /// Adds a named cgroup; at the bound, and when it is there already, nothing happens.
    fn add(&mut self, name: &str) {
        let Some(hierarchy) = &self.hierarchy else { return };
        let name = hierarchy.name_of(name);
        if self.named.len() < NAMED_MAX && self.named.iter().all(|cgroup| cgroup.name != name) {
            self.found.retain(|cgroup| cgroup.name != name);
            self.named.push(Cgroup::new(hierarchy, name));
        }
    }

    fn search(&mut self, now: Instant) {
        if self.searched.is_some_and(|at| now.duration_since(at) < SEARCH_EVERY) {
            return;
        }
        self.searched = Some(now);
        let Some(hierarchy) = &self.hierarchy else { return };
        let mut near: Vec<(f64, String)> = Vec::new();
        for name in hierarchy.folders() {
            if self.named.iter().any(|cgroup| cgroup.name == name) {
                continue;
            }
            // One reading by path each minute; only those that are kept have open descriptors.
            let state = Cgroup::new(hierarchy, name.clone()).read();
            if let Some(State {
                usage,
                limit: Some(limit),
                ..
            }) = state
            {
                near.push((usage as f64 / limit.max(1) as f64, name));
            }
        }
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        near.truncate(FOUND_MAX);
        self.found
            .retain(|cgroup| near.iter().any(|(_, name)| *name == cgroup.name));
        for (_, name) in near {
            if self.found.iter().all(|cgroup| cgroup.name != name) {
                self.found.push(Cgroup::new(hierarchy, name));
            }
        }
    }
}

impl Probe for CgroupMemory {
    fn name(&self) -> &'static str {
        "cgroup"
    }

    fn is_supported(&mut self) -> Support {
        match self.hierarchy {
            Some(_) => Support::Yes,
            None => Support::No("no cgroup hierarchy with the memory controller is mounted".to_owned()),
        }
    }

    fn watch(&mut self, what: &Watch) {
        if let Watch::Cgroup(name) = what {
            self.add(name);
        }
    }

    fn sample(&mut self, _deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        self.search(Instant::now());
        // A cgroup that does not exist, not yet or no longer, has no reading; that it is gone is told by its absence.
        let states: Vec<(&str, State)> = self
            .named
            .iter_mut()
            .chain(&mut self.found)
            .filter_map(|cgroup| cgroup.read().map(|state| (cgroup.name.as_str(), state)))
            .collect();
        let values: [Column<State, Option<u64>>; 4] = [
            (&metric::CGROUP_MEMORY_USAGE, |state| Some(state.usage)),
            (&metric::CGROUP_MEMORY_WORKING_SET, |state| state.working_set()),
            (&metric::CGROUP_MEMORY_LIMIT, |state| state.limit),
            (&metric::CGROUP_OOM_KILLS, |state| state.oom_kills),
        ];
        for (metric, value) in values {
            out.metric(metric);
            for (name, state) in &states {
                if let Some(value) = value(state) {
                    out.point(&[("cgroup", name)], value as f64);
                }
            }
        }
        Ok(())
    }
}

/// The mounted hierarchy that has the memory controller.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    root: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

impl Hierarchy {
    /// On hosts with both versions the memory controller is in one of them only.
    fn find(sys: &Path) -> Option<Self> {
        let mounted = sys.join("fs/cgroup");
        for root in [mounted.clone(), mounted.join("unified")] {
            let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
            if controllers
                .split_ascii_whitespace()
                .any(|controller| controller == "memory")
            {
                return Some(Self {
                    root,
                    version: Version::V2,
                });
            }
        }
        let root = mounted.join("memory");
        root.join("memory.usage_in_bytes").exists().then_some(Self {
            root,
            version: Version::V1,
        })
    }

    /// The path in the hierarchy, with a leading slash and without a trailing one.
    fn name_of(&self, given: &str) -> String {
        let inside = Path::new(given).strip_prefix(&self.root).map(Path::to_path_buf);
        let inside = inside.unwrap_or_else(|_| PathBuf::from(given));
        // Only plain components: a name can never lead out of the hierarchy.
        let mut name = String::new();
        for component in inside.components() {
            if let std::path::Component::Normal(part) = component {
                name.push('/');
                name.push_str(&part.to_string_lossy());
            }
        }
        name
    }

    /// Names of cgroups below the root, nearest first, within the bounds of a search.
    fn folders(&self) -> Vec<String> {
        let mut names = vec![String::new()];
        let mut next = 0;
        while next < names.len() {
            let name = names[next].clone();
            next += 1;
            if name.matches('/').count() >= DEPTH_MAX {
                continue;
            }
            let Ok(entries) = fs::read_dir(self.folder(&name)) else {
                continue;
            };
            for entry in entries.flatten() {
                if names.len() == FOLDERS_MAX {
                    break;
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    names.push(format!("{name}/{}", entry.file_name().to_string_lossy()));
                }
            }
        }
        names.remove(0);
        names
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name.trim_start_matches('/'))
    }
}

/// A cgroup with its files kept open.
#[derive(Debug)]
struct Cgroup {
    name: String,
    version: Version,
    usage: Source,
    limit: Source,
    events: Source,
    stat: Source,
}

impl Cgroup {
    fn new(hierarchy: &Hierarchy, name: String) -> Self {
        let folder = hierarchy.folder(&name);
        let (usage, limit, events) = match hierarchy.version {
            Version::V1 => ("memory.usage_in_bytes", "memory.limit_in_bytes", "memory.oom_control"),
            Version::V2 => ("memory.current", "memory.max", "memory.events"),
        };
        Self {
            name,
            version: hierarchy.version,
            usage: Source::new(folder.join(usage)),
            limit: Source::new(folder.join(limit)),
            events: Source::new(folder.join(events)),
            stat: Source::new(folder.join("memory.stat")),
        }
    }

    /// `None` when the cgroup does not exist.
    fn read(&mut self) -> Option<State> {
        let usage = self.usage.read().ok()?.trim().parse().ok()?;
        let inactive = match self.version {
            Version::V1 => "total_inactive_file",
            Version::V2 => "inactive_file",
        };
        Some(State {
            usage,
            limit: self.limit.read().ok().and_then(parse_limit),
            oom_kills: self.events.read().ok().and_then(|text| parse_key(text, "oom_kill")),
            inactive_file: self.stat.read().ok().and_then(|text| parse_key(text, inactive)),
        })
    }
}

/// A cgroup's memory, in bytes and kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    usage: u64,
    limit: Option<u64>,
    oom_kills: Option<u64>,
    inactive_file: Option<u64>,
}

impl State {
    fn working_set(&self) -> Option<u64> {
        self.inactive_file.map(|inactive| self.usage.saturating_sub(inactive))
    }
}

/// `None` for version 2's `max` and version 1's largest number.
fn parse_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < V1_UNLIMITED)
}

/// The number of the line that begins with `key`.
fn parse_key(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing;

    #[test]
    fn version_2_named_and_found_cgroups() {
        let files = testing::files(&[
            ("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n"),
            ("sys/fs/cgroup/system.slice/db.service/memory.current", "1000\n"),
            ("sys/fs/cgroup/system.slice/db.service/memory.max", "max\n"),
            (
                "sys/fs/cgroup/system.slice/db.service/memory.stat",
                "anon 5\ninactive_file 300\n",
            ),
            ("sys/fs/cgroup/job/memory.current", "90\n"),
            ("sys/fs/cgroup/job/memory.max", "100\n"),
            (
                "sys/fs/cgroup/job/memory.events",
                "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n",
            ),
        ]);
        let mut probe = CgroupMemory::new(
            &files.paths,
            &["system.slice/db.service".to_owned(), "/absent".to_owned()],
        );
        assert_eq!(probe.is_supported(), Support::Yes);
        assert_eq!(
            testing::sample(&mut probe),
            "cgroup.memory.usage{cgroup=/system.slice/db.service} 1000 By\ncgroup.memory.usage{cgroup=/job} 90 By\n\
             cgroup.memory.working_set{cgroup=/system.slice/db.service} 700 By\ncgroup.memory.limit{cgroup=/job} 100 By\n\
             cgroup.memory.oom_kills{cgroup=/job} 2 {kill}\n"
        );
        // What appears later is read then, what vanishes is left out.
        files.write("sys/fs/cgroup/absent/memory.current", "7\n");
        files.remove("sys/fs/cgroup/job");
        let text = testing::sample(&mut probe);
        assert!(text.contains("cgroup.memory.usage{cgroup=/absent} 7 By\n"), "{text}");
    }

    #[test]
    fn version_1_has_other_names_and_its_own_way_to_say_unlimited() {
        let files = testing::files(&[
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "5000\n"),
            ("sys/fs/cgroup/memory/leak/memory.usage_in_bytes", "64\n"),
            ("sys/fs/cgroup/memory/leak/memory.limit_in_bytes", "128\n"),
            (
                "sys/fs/cgroup/memory/leak/memory.oom_control",
                "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
            ),
            (
                "sys/fs/cgroup/memory/leak/memory.stat",
                "inactive_file 1\ntotal_inactive_file 4\n",
            ),
            ("sys/fs/cgroup/memory/free/memory.usage_in_bytes", "64\n"),
            (
                "sys/fs/cgroup/memory/free/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
        ]);
        let named = files.path("sys/fs/cgroup/memory/leak");
        let mut probe = CgroupMemory::new(&files.paths, &[named]);
        assert_eq!(
            testing::sample(&mut probe),
            "cgroup.memory.usage{cgroup=/leak} 64 By\ncgroup.memory.working_set{cgroup=/leak} 60 By\n\
             cgroup.memory.limit{cgroup=/leak} 128 By\ncgroup.memory.oom_kills{cgroup=/leak} 1 {kill}\n"
        );
    }

    #[test]
    fn a_name_cannot_lead_out_of_the_hierarchy_and_the_list_is_bounded() {
        let hierarchy = Hierarchy {
            root: PathBuf::from("/sys/fs/cgroup"),
            version: Version::V2,
        };
        assert_eq!(hierarchy.name_of("../../etc/passwd"), "/etc/passwd");
        assert_eq!(hierarchy.name_of("/sys/fs/cgroup/a/b/"), "/a/b");
        assert_eq!(hierarchy.folder("/a/b"), PathBuf::from("/sys/fs/cgroup/a/b"));
        let files = testing::files(&[("sys/fs/cgroup/cgroup.controllers", "memory\n")]);
        let names: Vec<String> = (0..1000).map(|i| format!("/c{i}")).collect();
        assert_eq!(CgroupMemory::new(&files.paths, &names).named.len(), NAMED_MAX);
    }

    #[test]
    fn without_the_controller_the_probe_says_so() {
        let files = testing::files(&[("sys/fs/cgroup/cgroup.controllers", "cpu\n")]);
        assert!(matches!(
            CgroupMemory::new(&files.paths, &[]).is_supported(),
            Support::No(_)
        ));
    }
}
