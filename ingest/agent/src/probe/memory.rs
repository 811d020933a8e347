//! Memory: how much there is, how much is used and how much could be had.

use std::time::Instant;

use super::{Paths, Probe, ProbeError, Support, needs};
use crate::catalogue as metric;
use crate::reading::Readings;
use crate::source::Source;

/// Reads `/proc/meminfo`.
#[derive(Debug)]
pub struct Memory {
    source: Source,
}

impl Memory {
    /// A probe of `paths.proc`.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self {
            source: Source::new(paths.proc.join("meminfo")),
        }
    }
}

impl Probe for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn is_supported(&mut self) -> Support {
        needs(&self.source)
    }

    fn sample(&mut self, _deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        let info = parse(self.source.read()?);
        let Some(info) = info else {
            return Err(self.source.lacks("MemTotal"));
        };
        let cached = info.cached.saturating_add(info.slab_reclaimable);
        let used = info
            .total
            .saturating_sub(info.free.saturating_add(cached).saturating_add(info.buffers));
        out.metric(&metric::MEMORY_USAGE);
        for (state, bytes) in [
            ("used", used),
            ("free", info.free),
            ("cached", cached),
            ("buffers", info.buffers),
        ] {
            out.point(&[("system.memory.state", state)], bytes as f64);
        }
        out.single(&metric::MEMORY_LIMIT, info.total as f64);
        // Kernels before 3.14 do not say what is available; free memory and caches are the best guess there.
        let available = info
            .available
            .unwrap_or(info.free.saturating_add(cached).saturating_add(info.buffers));
        let available = available.min(info.total);
        out.single(&metric::MEMORY_AVAILABLE, available as f64);
        out.single(&metric::MEMORY_UTILIZATION, 1.0 - available as f64 / info.total as f64);
        out.single(&metric::MEMORY_COMMITTED, info.committed as f64);
        out.metric(&metric::MEMORY_DIRTY);
        out.point(&[("state", "dirty")], info.dirty as f64);
        out.point(&[("state", "writeback")], info.writeback as f64);
        out.metric(&metric::MEMORY_DETAIL);
        for ((kind, _), bytes) in DETAILS.iter().zip(info.details) {
            if let Some(bytes) = bytes {
                out.point(&[("kind", kind)], bytes as f64);
            }
        }
        if info.commit_limit > 0 {
            out.single(&metric::MEMORY_COMMIT_LIMIT, info.commit_limit as f64);
        }
        if let (Some(total), Some(free)) = (info.huge_pages, info.huge_pages_free) {
            out.metric(&metric::MEMORY_HUGE_PAGES);
            out.point(&[("state", "used")], total.saturating_sub(free) as f64);
            out.point(&[("state", "free")], free as f64);
        }
        out.metric(&metric::MEMORY_SLAB);
        out.point(&[("state", "reclaimable")], info.slab_reclaimable as f64);
        out.point(&[("state", "unreclaimable")], info.slab_unreclaimable as f64);
        Ok(())
    }
}

/// What memory is used for, as attribute and as `/proc/meminfo` names it. These overlap, and do not add up to anything.
const DETAILS: [(&str, &str); 19] = [
    ("active_anon", "Active(anon)"),
    ("inactive_anon", "Inactive(anon)"),
    ("active_file", "Active(file)"),
    ("inactive_file", "Inactive(file)"),
    ("anon", "AnonPages"),
    ("anon_huge", "AnonHugePages"),
    ("mapped", "Mapped"),
    ("shmem", "Shmem"),
    ("unevictable", "Unevictable"),
    ("mlocked", "Mlocked"),
    ("kernel_stack", "KernelStack"),
    ("page_tables", "PageTables"),
    ("percpu", "Percpu"),
    ("vmalloc", "VmallocUsed"),
    ("bounce", "Bounce"),
    ("writeback_tmp", "WritebackTmp"),
    ("swap_cached", "SwapCached"),
    ("zswap", "Zswap"),
    ("hardware_corrupted", "HardwareCorrupted"),
];

/// What is used of `/proc/meminfo`, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemInfo {
    pub(crate) total: u64,
    pub(crate) free: u64,
    pub(crate) available: Option<u64>,
    pub(crate) buffers: u64,
    pub(crate) cached: u64,
    pub(crate) dirty: u64,
    pub(crate) writeback: u64,
    pub(crate) slab_reclaimable: u64,
    pub(crate) slab_unreclaimable: u64,
    pub(crate) committed: u64,
    pub(crate) swap_total: u64,
    pub(crate) swap_free: u64,
    pub(crate) commit_limit: u64,
    /// In the order of [`DETAILS`].
    details: [Option<u64>; DETAILS.len()],
    /// In pages of whatever size.
    huge_pages: Option<u64>,
    huge_pages_free: Option<u64>,
}

/// `None` without a total above zero.
pub(crate) fn parse(text: &str) -> Option<MemInfo> {
    let mut info = MemInfo::default();
    for line in text.lines() {
        let Some((key, rest)) = line.split_once(':') else {
            continue;
        };
        let Some(Ok(kibibytes)) = rest.split_ascii_whitespace().next().map(str::parse::<u64>) else {
            continue;
        };
        let bytes = kibibytes.saturating_mul(1024);
        match key {
            "MemTotal" => info.total = bytes,
            "MemFree" => info.free = bytes,
            "MemAvailable" => info.available = Some(bytes),
            "Buffers" => info.buffers = bytes,
            "Cached" => info.cached = bytes,
            "Dirty" => info.dirty = bytes,
            "Writeback" => info.writeback = bytes,
            "SReclaimable" => info.slab_reclaimable = bytes,
            "SUnreclaim" => info.slab_unreclaimable = bytes,
            "Committed_AS" => info.committed = bytes,
            "SwapTotal" => info.swap_total = bytes,
            "SwapFree" => info.swap_free = bytes,
            "CommitLimit" => info.commit_limit = bytes,
            // These two alone are counts of pages.
            "HugePages_Total" => info.huge_pages = Some(kibibytes),
            "HugePages_Free" => info.huge_pages_free = Some(kibibytes),
            key => {
                if let Some(place) = DETAILS.iter().position(|(_, name)| *name == key) {
                    info.details[place] = Some(bytes);
                }
            }
        }
    }
    (info.total > 0).then_some(info)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing;

    const MEMINFO: &str = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    400 kB\nBuffers:          50 kB\n\
        Cached:          200 kB\nSwapCached:        0 kB\nSwapTotal:      2048 kB\nSwapFree:       1024 kB\nDirty:             8 kB\n\
        Writeback:         0 kB\nSReclaimable:     50 kB\nSUnreclaim:       30 kB\nCommitted_AS:    900 kB\nHugePages_Total:       0\n";

    #[test]
    fn states_add_up_to_the_total_and_utilization_is_what_new_work_cannot_have() {
        let files = testing::files(&[("proc/meminfo", MEMINFO)]);
        let text = testing::sample(&mut Memory::new(&files.paths));
        assert!(
            text.contains("system.memory.usage{system.memory.state=used} 614400 By\n"),
            "{text}"
        );
        assert!(
            text.contains("system.memory.usage{system.memory.state=cached} 256000 By\n"),
            "{text}"
        );
        assert!(text.contains("system.memory.limit 1024000 By\n"), "{text}");
        assert!(text.contains("system.memory.utilization 0.6 1\n"), "{text}");
    }

    #[test]
    fn old_kernels_and_odd_containers_give_shares_between_0_and_1() {
        // A container's file system may report more available than there is in all.
        for text in [
            "MemTotal: 100 kB\nMemFree: 40 kB\nCached: 10 kB\n",
            "MemTotal: 100 kB\nMemAvailable: 900 kB\n",
        ] {
            let files = testing::files(&[("proc/meminfo", text)]);
            let text = testing::sample(&mut Memory::new(&files.paths));
            assert!(
                text.contains("utilization 0.5 1") || text.contains("utilization 0 1"),
                "{text}"
            );
        }
        assert_eq!(parse("MemTotal: 0 kB\n"), None);
    }
}
