//! Cgroups, version 1 and 2: what leaks in a container or unit is killed at that limit, not at the host's, and what a unit
//! uses of processors, memory and tasks says who is behind a host's trouble.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::pressure::{self, RESOURCES, Totals};
use super::{Column, Paths, Probe, ProbeError, Support, Watch};
use crate::catalogue as metric;
use crate::reading::Readings;
use crate::source::Source;

/// Cgroups with a limit that are found by the agent itself.
const FOUND_MAX: usize = 16;

/// Units and containers without a limit that are found by their use of memory.
const LARGEST_MAX: usize = 10;

/// Cgroups named by the operator.
pub(crate) const NAMED_MAX: usize = 64;

/// Folders looked at in a search, and how deep.
const FOLDERS_MAX: usize = 1024;
const DEPTH_MAX: usize = 8;

/// Time between searches for cgroups with a limit.
const SEARCH_EVERY: Duration = Duration::from_secs(60);

/// Version 1 writes "no limit" as the largest multiple of the page size that fits 63 bits.
const V1_UNLIMITED: u64 = 1 << 62;

/// Reads memory, limit, OOM kills, CPU time, tasks and pressure of the named cgroups, of those nearest to a limit, and of the
/// largest others.
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
        let mut large: Vec<(f64, String)> = Vec::new();
        for name in hierarchy.folders() {
            if self.named.iter().any(|cgroup| cgroup.name == name) {
                continue;
            }
            // One reading by path each minute; only those that are kept have open descriptors.
            let state = Cgroup::new(hierarchy, name.clone()).read();
            match state {
                Some(State {
                    usage,
                    limit: Some(limit),
                    ..
                }) => near.push((usage as f64 / limit.max(1) as f64, name)),
                // A slice is the sum of the units in it, which are listed themselves.
                Some(State { usage, .. }) if !name.ends_with(".slice") => large.push((usage as f64, name)),
                _ => {}
            }
        }
        for (list, most) in [(&mut near, FOUND_MAX), (&mut large, LARGEST_MAX)] {
            list.sort_by(|a, b| b.0.total_cmp(&a.0));
            list.truncate(most);
        }
        near.append(&mut large);
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
        let values: [Column<State, Option<u64>>; 5] = [
            (&metric::CGROUP_MEMORY_USAGE, |state| Some(state.usage)),
            (&metric::CGROUP_MEMORY_WORKING_SET, |state| state.working_set()),
            (&metric::CGROUP_MEMORY_LIMIT, |state| state.limit),
            (&metric::CGROUP_OOM_KILLS, |state| state.oom_kills),
            (&metric::CGROUP_TASKS, |state| state.tasks),
        ];
        for (metric, value) in values {
            out.metric(metric);
            for (name, state) in &states {
                if let Some(value) = value(state) {
                    out.point(&[("cgroup", name)], value as f64);
                }
            }
        }
        let times: [Column<State, Option<f64>>; 2] = [
            (&metric::CGROUP_CPU_TIME, |state| state.cpu_seconds),
            (&metric::CGROUP_CPU_THROTTLED, |state| state.throttled_seconds),
        ];
        for (metric, value) in times {
            out.metric(metric);
            for (name, state) in &states {
                if let Some(value) = value(state) {
                    out.point(&[("cgroup", name)], value);
                }
            }
        }
        out.metric(&metric::CGROUP_PRESSURE);
        for (name, state) in &states {
            for (resource, totals) in RESOURCES.into_iter().zip(state.stalled) {
                for (kind, micros) in [("some", totals.some), ("full", totals.full)] {
                    if let Some(micros) = micros {
                        let attributes = [("cgroup", *name), ("resource", resource), ("kind", kind)];
                        out.point(&attributes, micros as f64 / 1e6);
                    }
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

    /// The cgroup's folder in another controller's hierarchy of version 1.
    fn beside(&self, controller: &str, name: &str) -> PathBuf {
        let mounted = self.root.parent().unwrap_or(&self.root);
        mounted.join(controller).join(name.trim_start_matches('/'))
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
    cpu: Source,
    pids: Source,
    pressure: [Source; RESOURCES.len()],
}

impl Cgroup {
    fn new(hierarchy: &Hierarchy, name: String) -> Self {
        let folder = hierarchy.folder(&name);
        let (usage, limit, events) = match hierarchy.version {
            Version::V1 => ("memory.usage_in_bytes", "memory.limit_in_bytes", "memory.oom_control"),
            Version::V2 => ("memory.current", "memory.max", "memory.events"),
        };
        let (cpu, pids) = match hierarchy.version {
            // Each controller has a hierarchy of its own beside memory's; the paths in them are usually the same.
            Version::V1 => (
                hierarchy.beside("cpuacct", &name).join("cpuacct.usage"),
                hierarchy.beside("pids", &name).join("pids.current"),
            ),
            Version::V2 => (folder.join("cpu.stat"), folder.join("pids.current")),
        };
        Self {
            name,
            version: hierarchy.version,
            usage: Source::new(folder.join(usage)),
            limit: Source::new(folder.join(limit)),
            events: Source::new(folder.join(events)),
            stat: Source::new(folder.join("memory.stat")),
            cpu: Source::new(cpu),
            pids: Source::new(pids),
            pressure: RESOURCES.map(|resource| Source::new(folder.join(format!("{resource}.pressure")))),
        }
    }

    /// `None` when the cgroup does not exist.
    fn read(&mut self) -> Option<State> {
        let usage = self.usage.read().ok()?.trim().parse().ok()?;
        let inactive = match self.version {
            Version::V1 => "total_inactive_file",
            Version::V2 => "inactive_file",
        };
        let cpu = self.cpu.read().unwrap_or_default();
        let (cpu_seconds, throttled_seconds) = match self.version {
            Version::V1 => (cpu.trim().parse().ok().map(|nanos: u64| nanos as f64 / 1e9), None),
            Version::V2 => (
                parse_key(cpu, "usage_usec").map(|micros| micros as f64 / 1e6),
                parse_key(cpu, "throttled_usec").map(|micros| micros as f64 / 1e6),
            ),
        };
        // Without PSI the files are missing, or cannot be read.
        let mut stalled = [Totals::default(); RESOURCES.len()];
        for (totals, source) in stalled.iter_mut().zip(&mut self.pressure) {
            *totals = source.read().map(pressure::parse).unwrap_or_default();
        }
        Some(State {
            cpu_seconds,
            throttled_seconds,
            tasks: self.pids.read().ok().and_then(|text| text.trim().parse().ok()),
            stalled,
            usage,
            limit: self.limit.read().ok().and_then(parse_limit),
            oom_kills: self.events.read().ok().and_then(|text| parse_key(text, "oom_kill")),
            inactive_file: self.stat.read().ok().and_then(|text| parse_key(text, inactive)),
        })
    }
}

/// A cgroup's state: bytes, kills, seconds, tasks.
#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    cpu_seconds: Option<f64>,
    throttled_seconds: Option<f64>,
    tasks: Option<u64>,
    /// By resource, in the order of [`RESOURCES`].
    stalled: [Totals; RESOURCES.len()],
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
            ("sys/fs/cgroup/cpuacct/leak/cpuacct.usage", "2500000000\n"),
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
            "cgroup.memory.usage{cgroup=/leak} 64 By\ncgroup.memory.usage{cgroup=/free} 64 By\n\
             cgroup.memory.working_set{cgroup=/leak} 60 By\ncgroup.memory.limit{cgroup=/leak} 128 By\n\
             cgroup.memory.oom_kills{cgroup=/leak} 1 {kill}\ncgroup.cpu.time{cgroup=/leak} 2.5 s\n"
        );
    }

    #[test]
    fn the_largest_units_are_found_without_a_limit_and_slices_are_not() {
        let files = testing::files(&[("sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n")]);
        files.write("sys/fs/cgroup/system.slice/memory.current", "99999\n");
        for unit in 0..30 {
            let folder = format!("sys/fs/cgroup/system.slice/u{unit}.service");
            files.write(&format!("{folder}/memory.current"), &format!("{}\n", 1000 + unit));
            files.write(&format!("{folder}/memory.max"), "max\n");
        }
        let top = "sys/fs/cgroup/system.slice/u29.service";
        files.write(
            &format!("{top}/cpu.stat"),
            "usage_usec 1500000\nuser_usec 1\nthrottled_usec 250000\n",
        );
        files.write(&format!("{top}/pids.current"), "17\n");
        let text = testing::sample(&mut CgroupMemory::new(&files.paths, &[]));
        assert_eq!(text.matches("cgroup.memory.usage{").count(), LARGEST_MAX, "{text}");
        for line in [
            "cgroup.tasks{cgroup=/system.slice/u29.service} 17 {task}\n",
            "cgroup.cpu.time{cgroup=/system.slice/u29.service} 1.5 s\n",
            "cgroup.cpu.throttled_time{cgroup=/system.slice/u29.service} 0.25 s\n",
        ] {
            assert!(text.contains(line), "{line} not in {text}");
        }
        assert!(
            !text.contains("system.slice}") && !text.contains("u19.service"),
            "{text}"
        );
    }

    #[test]
    fn pressure_is_told_of_each_cgroup_as_far_as_its_kernel_tells() {
        let some = |total: u64| format!("some avg10=0.00 avg60=0.00 avg300=0.00 total={total}\n");
        let full = |total: u64| format!("full avg10=1.50 avg60=0.00 avg300=0.00 total={total}\n");
        let files = testing::files(&[("sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n")]);
        for cgroup in ["db", "web", "old", "off"] {
            files.write(&format!("sys/fs/cgroup/{cgroup}/memory.current"), "7\n");
        }
        for (file, text) in [
            // What the operator names, and what the agent finds itself, alike.
            ("db/cpu.pressure", some(1_500_000) + &full(250_000)),
            ("db/memory.pressure", some(5_000_000) + &full(2_000_000)),
            ("db/io.pressure", some(0) + &full(0)),
            ("web/io.pressure", some(750_000) + &full(500_000)),
            // Kernels before 5.13 have no full line for CPUs.
            ("old/cpu.pressure", some(3_000_000)),
            // Told off for this cgroup (cgroup.pressure), or a kernel without PSI that has the files all the same.
            ("off/cpu.pressure", String::new()),
            ("off/memory.pressure", "some\nfull avg10=0.00 total=x\n".to_owned()),
        ] {
            files.write(&format!("sys/fs/cgroup/{file}"), &text);
        }
        let text = testing::sample(&mut CgroupMemory::new(&files.paths, &["/db".to_owned()]));
        let told: Vec<&str> = text.lines().filter(|line| line.contains("pressure")).collect();
        let mut expected = Vec::new();
        for (cgroup, resource, kind, seconds) in [
            ("db", "cpu", "some", "1.5"),
            ("db", "cpu", "full", "0.25"),
            ("db", "memory", "some", "5"),
            ("db", "memory", "full", "2"),
            ("db", "io", "some", "0"),
            ("db", "io", "full", "0"),
            ("web", "io", "some", "0.75"),
            ("web", "io", "full", "0.5"),
            ("old", "cpu", "some", "3"),
        ] {
            let series = format!("cgroup.pressure.stall_time{{cgroup=/{cgroup},resource={resource},kind={kind}}}");
            expected.push(format!("{series} {seconds} s"));
        }
        assert_eq!(told.len(), expected.len(), "{text}");
        for line in expected {
            assert!(told.contains(&line.as_str()), "{line} not in {text}");
        }
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
