//! File systems: space, inodes, and whether they turned read-only.

use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::statvfs;

use super::{Column, Paths, Probe, ProbeError, Support, needs};
use crate::catalogue as metric;
use crate::reading::Readings;
use crate::source::Source;

/// File systems beyond this many are left out.
const MOUNTS_MAX: usize = 64;

/// Types that hold data on this host. Network file systems are not asked: `statvfs` on one whose server is away hangs.
const TYPES: [&str; 14] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "reiserfs", "vfat", "tmpfs", "ntfs3",
    "overlay",
];

/// Where the system mounts small `tmpfs` and image layers of its own that never fill by themselves.
const PASSED_OVER: [&str; 8] = [
    "/dev",
    "/proc",
    "/sys",
    "/run/user",
    "/run/credentials",
    "/run/docker",
    "/var/lib/docker",
    "/var/lib/containers",
];

/// Reads the list of mounts and asks each file system for its state.
#[derive(Debug)]
pub struct Filesystem {
    source: Source,
    /// Where the host's `/` is, if that is not this process'.
    root: Option<PathBuf>,
    /// The list as last seen, and what was made of it: it seldom changes.
    seen: String,
    mounts: Vec<Mount>,
}

/// A file system, at the first place where it is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    point: String,
    /// The file system itself is, and not just this mount of it: a service's view of the host (`ProtectSystem`), or a container's, is
    /// mounted read-only in whole, and says nothing of the disk.
    read_only: bool,
}

impl Filesystem {
    /// A probe of `paths.proc`.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self {
            source: Source::new(paths.process().join("mountinfo")),
            root: paths.root.clone().filter(|root| root != Path::new("/")),
            seen: String::new(),
            mounts: Vec::new(),
        }
    }
}

impl Probe for Filesystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn is_supported(&mut self) -> Support {
        needs(&self.source)
    }

    fn sample(&mut self, _deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        let text = self.source.read()?;
        if text != self.seen {
            self.mounts = mounts(text);
            text.clone_into(&mut self.seen);
        }
        // A mount that cannot be asked, for want of permission or since it just went away, is left out of this round.
        let states: Vec<(&str, State)> = self
            .mounts
            .iter()
            .filter_map(|mount| Some((mount.point.as_str(), State::of(mount, self.root.as_deref())?)))
            .filter(|(_, state)| state.size > 0)
            .collect();
        emit(&states, out);
        Ok(())
    }
}

/// A path of the host's as this process has it.
fn below(root: Option<&Path>, mount: &str) -> PathBuf {
    root.map_or_else(|| PathBuf::from(mount), |root| root.join(mount.trim_start_matches('/')))
}

/// A file system's state; sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    size: u64,
    free: u64,
    available: u64,
    inodes: u64,
    inodes_free: u64,
    read_only: bool,
}

impl State {
    fn of(mount: &Mount, root: Option<&Path>) -> Option<Self> {
        let stat = statvfs(below(root, &mount.point)).ok()?;
        Some(Self {
            size: stat.f_blocks.saturating_mul(stat.f_frsize),
            free: stat.f_bfree.saturating_mul(stat.f_frsize),
            available: stat.f_bavail.saturating_mul(stat.f_frsize),
            inodes: stat.f_files,
            inodes_free: stat.f_ffree,
            read_only: mount.read_only,
        })
    }

    fn used(&self) -> u64 {
        self.size.saturating_sub(self.free)
    }

    /// As `df` counts: of the space that ordinary users can fill.
    fn utilization(&self) -> Option<f64> {
        let open = self.used().saturating_add(self.available);
        (open > 0).then(|| self.used() as f64 / open as f64)
    }
}

const MOUNTPOINT: &str = "system.filesystem.mountpoint";

fn emit(states: &[(&str, State)], out: &mut Readings<'_>) {
    out.metric(&metric::FILESYSTEM_USAGE);
    for (mount, state) in states {
        let parts = [
            ("used", state.used()),
            ("free", state.available),
            ("reserved", state.free.saturating_sub(state.available)),
        ];
        for (name, bytes) in parts {
            out.point(&[(MOUNTPOINT, mount), ("system.filesystem.state", name)], bytes as f64);
        }
    }
    out.metric(&metric::FILESYSTEM_INODE_COUNT);
    for (mount, state) in states.iter().filter(|(_, state)| state.inodes > 0) {
        let used = state.inodes.saturating_sub(state.inodes_free);
        for (name, count) in [("used", used), ("free", state.inodes_free)] {
            out.point(&[(MOUNTPOINT, mount), ("system.filesystem.state", name)], count as f64);
        }
    }
    let values: [Column<State, Option<f64>>; 4] = [
        (&metric::FILESYSTEM_LIMIT, |state| Some(state.size as f64)),
        (&metric::FILESYSTEM_UTILIZATION, State::utilization),
        (&metric::FILESYSTEM_INODES, |state| {
            (state.inodes > 0).then(|| state.inodes.saturating_sub(state.inodes_free) as f64 / state.inodes as f64)
        }),
        (&metric::FILESYSTEM_READ_ONLY, |state| {
            Some(f64::from(u8::from(state.read_only)))
        }),
    ];
    for (metric, value) in values {
        out.metric(metric);
        for (mount, state) in states {
            if let Some(value) = value(state) {
                out.point(&[(MOUNTPOINT, mount)], value);
            }
        }
    }
}

/// Mount points worth asking, from `mountinfo`; a file system that is mounted twice counts at its first place.
fn mounts(text: &str) -> Vec<Mount> {
    let mut devices: Vec<&str> = Vec::new();
    let mut mounts: Vec<Mount> = Vec::new();
    for line in text.lines() {
        // 36 35 98:0 /root /mount/point options optional-fields... - type source super-options
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let mut before = before.split(' ');
        let (Some(device), Some(point)) = (before.nth(2), before.nth(1)) else {
            continue;
        };
        let mut after = after.split(' ');
        let (Some(kind), Some(options)) = (after.next(), after.nth(1)) else {
            continue;
        };
        let point = unescape(point);
        let read_only = options.split(',').any(|option| option == "ro");
        // What is mounted over another mount hides it, and both answer for the upper one.
        if let Some(hidden) = mounts.iter_mut().find(|mount| mount.point == point) {
            hidden.read_only = read_only;
            continue;
        }
        let inside = |folder: &&str| point == **folder || point.starts_with(&format!("{folder}/"));
        // An overlay is a container's root; elsewhere it shows the space of the disk beneath it again.
        let wanted = TYPES.contains(&kind) && (kind != "overlay" || point == "/");
        let passed_over = point != "/dev/shm" && PASSED_OVER.iter().any(inside);
        if !wanted || passed_over || devices.contains(&device) {
            continue;
        }
        if mounts.len() == MOUNTS_MAX {
            break;
        }
        devices.push(device);
        mounts.push(Mount { point, read_only });
    }
    mounts
}

/// Mount points are written with `\040` for a space and so on.
fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let code = (bytes[i] == b'\\')
            .then(|| {
                text.get(i + 1..i + 4)
                    .and_then(|octal| u8::from_str_radix(octal, 8).ok())
            })
            .flatten();
        out.push(code.unwrap_or(bytes[i]));
        i += if code.is_some() { 4 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing;
    use crate::reading::TextSink;

    const MOUNTINFO: &str = "21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
        22 21 0:20 / /sys rw shared:2 - sysfs sysfs rw\n23 21 0:5 / /dev rw - devtmpfs dev rw\n24 23 0:21 / /dev/shm rw - tmpfs tmpfs rw\n\
        25 21 254:0 /srv /bind rw - ext4 /dev/vda rw\n26 21 0:40 / /mnt/with\\040space rw - xfs /dev/sdb rw\n\
        27 21 0:41 / /mnt/nfs rw - nfs4 far:/ rw\n28 21 0:42 / /run/user/1000 rw - tmpfs tmpfs rw\n\
        29 21 0:43 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw\n30 21 0:44 / /run rw - tmpfs tmpfs rw\n\
        31 24 0:45 / /dev/shm rw - tmpfs tmpfs rw\nbroken\n";

    #[test]
    fn local_data_is_kept_and_pseudo_network_and_bind_mounts_are_not() {
        let points: Vec<String> = mounts(MOUNTINFO).into_iter().map(|mount| mount.point).collect();
        assert_eq!(points, ["/", "/dev/shm", "/mnt/with space", "/run"]);
        let many: String = (0..200)
            .map(|i| format!("{i} 1 9:{i} / /m{i} rw - ext4 /dev/x rw\n"))
            .collect();
        assert_eq!(mounts(&many).len(), MOUNTS_MAX);
    }

    #[test]
    fn reserved_space_counts_as_df_counts_it() {
        let state = State {
            size: 1000,
            free: 300,
            available: 200,
            inodes: 100,
            inodes_free: 25,
            read_only: true,
        };
        let mut sink = TextSink::default();
        emit(&[("/data", state)], &mut Readings::new(&mut sink, 2, 1));
        assert_eq!(
            sink.text(),
            "system.filesystem.usage{system.filesystem.mountpoint=/data,system.filesystem.state=used} 700 By\n\
             system.filesystem.usage{system.filesystem.mountpoint=/data,system.filesystem.state=free} 200 By\n\
             system.filesystem.usage{system.filesystem.mountpoint=/data,system.filesystem.state=reserved} 100 By\n\
             system.linux.filesystem.inodes{system.filesystem.mountpoint=/data,system.filesystem.state=used} 75 {inode}\n\
             system.linux.filesystem.inodes{system.filesystem.mountpoint=/data,system.filesystem.state=free} 25 {inode}\n\
             system.filesystem.limit{system.filesystem.mountpoint=/data} 1000 By\n\
             system.filesystem.utilization{system.filesystem.mountpoint=/data} 0.7777777777777778 1\n\
             system.linux.filesystem.inode_utilization{system.filesystem.mountpoint=/data} 0.75 1\n\
             system.linux.filesystem.read_only{system.filesystem.mountpoint=/data} 1 1\n"
        );
    }

    #[test]
    fn this_hosts_root_can_be_asked() {
        let files = testing::files(&[("proc/1/mountinfo", "21 1 254:0 / / rw - ext4 /dev/vda rw\n")]);
        let text = testing::sample(&mut Filesystem::new(&files.paths));
        assert!(
            text.contains("system.filesystem.limit{system.filesystem.mountpoint=/} "),
            "{text}"
        );
    }

    #[test]
    fn a_container_asks_for_its_hosts_mounts_where_it_has_them() {
        let mounts = "21 1 254:0 / / rw - ext4 /dev/vda rw\n30 21 0:44 / /data rw - xfs /dev/sdb rw\n31 21 0:45 / /away rw - xfs /dev/sdc rw\n";
        let files = testing::files(&[
            ("proc/1/mountinfo", mounts),
            ("proc/self/mountinfo", ""),
            ("data/x", ""),
        ]);
        let root = files.paths.proc.parent().expect("a folder");
        let text = testing::sample(&mut Filesystem::new(&Paths::below(root)));
        for (mount, told) in [("/", true), ("/data", true), ("/away", false)] {
            let line = format!("system.filesystem.limit{{system.filesystem.mountpoint={mount}}} ");
            assert_eq!(text.contains(&line), told, "{line} {text}");
        }
    }

    #[test]
    fn a_file_system_is_read_only_by_its_own_options_and_not_by_the_mounts() {
        // The root of whoever runs this can be written to or not; what is told is what the text says of the file system.
        let check = |mountinfo: &str, expected: u8| {
            let files = testing::files(&[("proc/1/mountinfo", mountinfo)]);
            let text = testing::sample(&mut Filesystem::new(&files.paths));
            let told = format!("system.linux.filesystem.read_only{{system.filesystem.mountpoint=/}} {expected} 1\n");
            assert!(text.ends_with(&told), "{mountinfo}{text}");
        };
        check("21 1 254:0 / / ro,relatime - ext4 /dev/vda rw,errors=remount-ro\n", 0);
        check("21 1 254:0 / / rw,relatime - ext4 /dev/vda ro,errors=remount-ro\n", 1);
        check("21 1 254:0 / / ro - overlay overlay rw,lowerdir=/ro\n", 0);
        check(
            "21 1 254:0 / / rw - ext4 /dev/vda rw\n22 21 254:1 / / rw - xfs /dev/vdb ro\n",
            1,
        );
        check("21 1 254:0 / / rw - tmpfs  ro\n", 1);
    }

    #[test]
    fn escapes_are_undone_and_broken_ones_left() {
        assert_eq!(unescape("/a\\040b\\134c"), "/a b\\c");
        assert_eq!(unescape("/a\\04"), "/a\\04");
        assert_eq!(unescape("/é\\9"), "/é\\9");
    }
}
