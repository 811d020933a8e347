//! Reclaim, allocation stalls, refaults, page faults and OOM kills: how hard the kernel works for memory.

use std::time::Instant;

use super::{Paths, Probe, ProbeError, Support, needs};
use crate::catalogue as metric;
use crate::reading::Readings;
use crate::source::Source;

/// Reads `/proc/vmstat`.
#[derive(Debug)]
pub struct VmStat {
    source: Source,
}

impl VmStat {
    /// A probe of `paths.proc`.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self {
            source: Source::new(paths.proc.join("vmstat")),
        }
    }
}

impl Probe for VmStat {
    fn name(&self) -> &'static str {
        "vmstat"
    }

    fn is_supported(&mut self) -> Support {
        needs(&self.source)
    }

    fn sample(&mut self, _deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        let counts = parse(self.source.read()?);
        if let Some(kills) = counts.oom_kills {
            out.single(&metric::OOM_KILLS, kills as f64);
        }
        out.single(&metric::ALLOCATION_STALLS, counts.allocation_stalls as f64);
        out.single(&metric::REFAULTS, counts.refaults as f64);
        out.metric(&metric::RECLAIM_SCANNED);
        out.point(&[("by", "kswapd")], counts.scanned_kswapd as f64);
        out.point(&[("by", "direct")], counts.scanned_direct as f64);
        out.metric(&metric::VM_EVENTS);
        for ((event, _), count) in EVENTS.iter().zip(counts.events) {
            if let Some(count) = count {
                out.point(&[("event", event)], count as f64);
            }
        }
        out.metric(&metric::PAGING_FAULTS);
        out.point(
            &[("system.paging.fault.type", "minor")],
            counts.faults.saturating_sub(counts.major_faults) as f64,
        );
        out.point(&[("system.paging.fault.type", "major")], counts.major_faults as f64);
        out.metric(&metric::PAGING_OPERATIONS);
        out.point(&[("system.paging.direction", "in")], counts.swapped_in as f64);
        out.point(&[("system.paging.direction", "out")], counts.swapped_out as f64);
        Ok(())
    }
}

/// Events that tell how hard memory is to come by, as attribute and as `/proc/vmstat` names them.
const EVENTS: [(&str, &str); 17] = [
    ("paged_in_kb", "pgpgin"),
    ("paged_out_kb", "pgpgout"),
    ("stolen_kswapd", "pgsteal_kswapd"),
    ("stolen_direct", "pgsteal_direct"),
    ("direct_throttled", "pgscan_direct_throttle"),
    ("kswapd_woken", "pageoutrun"),
    ("compaction_stall", "compact_stall"),
    ("compaction_failure", "compact_fail"),
    ("huge_page_fallback", "thp_fault_fallback"),
    ("huge_page_collapsed", "thp_collapse_alloc"),
    ("numa_miss", "numa_miss"),
    ("numa_migrated", "numa_pages_migrated"),
    ("zone_reclaim_failed", "zone_reclaim_failed"),
    ("slabs_scanned", "slabs_scanned"),
    ("pages_dirtied", "nr_dirtied"),
    ("pages_written", "nr_written"),
    ("cache_dropped_by_hand", "drop_pagecache"),
];

/// What is used of `/proc/vmstat`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    oom_kills: Option<u64>,
    allocation_stalls: u64,
    refaults: u64,
    scanned_kswapd: u64,
    scanned_direct: u64,
    faults: u64,
    major_faults: u64,
    swapped_in: u64,
    swapped_out: u64,
    /// In the order of [`EVENTS`].
    events: [Option<u64>; EVENTS.len()],
}

fn parse(text: &str) -> Counts {
    let mut counts = Counts::default();
    for line in text.lines() {
        let Some((key, Ok(value))) = line
            .split_once(' ')
            .map(|(key, value)| (key, value.trim().parse::<u64>()))
        else {
            continue;
        };
        let add = |sum: &mut u64| *sum = sum.saturating_add(value);
        match key {
            "oom_kill" => counts.oom_kills = Some(value),
            "pgscan_kswapd" => counts.scanned_kswapd = value,
            "pgscan_direct" => counts.scanned_direct = value,
            "pgfault" => counts.faults = value,
            "pgmajfault" => counts.major_faults = value,
            "pswpin" => counts.swapped_in = value,
            "pswpout" => counts.swapped_out = value,
            // One line per zone since 4.10, one for all before.
            _ if key.starts_with("allocstall") => add(&mut counts.allocation_stalls),
            // One line for each of anonymous and file pages since 5.9.
            _ if key.starts_with("workingset_refault") => add(&mut counts.refaults),
            key => {
                if let Some(place) = EVENTS.iter().position(|(_, name)| *name == key) {
                    counts.events[place] = Some(value);
                }
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing;

    #[test]
    fn zones_are_added_up_and_unknown_lines_passed_over() {
        let text = "nr_free_pages 12\nallocstall_dma 1\nallocstall_normal 5\nallocstall_movable 4\npgscan_kswapd 70\n\
            pgscan_direct 9\npgscan_direct_throttle 0\npgfault 100\npgmajfault 7\nworkingset_refault_anon 2\n\
            workingset_refault_file 3\npswpin 1\npswpout 2\noom_kill 3\nbroken\nodd -5\n";
        let files = testing::files(&[("proc/vmstat", text)]);
        let text = testing::sample(&mut VmStat::new(&files.paths));
        for line in [
            "system.linux.oom_kills 3 {kill}\n",
            "system.linux.memory.allocation_stalls 10 {stall}\n",
            "system.linux.memory.refaults 5 {page}\n",
            "system.linux.memory.reclaim.scanned{by=direct} 9 {page}\n",
            "system.paging.faults{system.paging.fault.type=minor} 93 {fault}\n",
        ] {
            assert!(text.contains(line), "{line} not in {text}");
        }
    }

    #[test]
    fn kernels_before_4_13_have_no_oom_count_and_none_is_invented() {
        assert_eq!(
            parse("allocstall 4\n"),
            Counts {
                allocation_stalls: 4,
                ..Counts::default()
            }
        );
    }
}
