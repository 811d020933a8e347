//! CPU time per mode, utilisation, and what else `/proc/stat` tells.

use std::time::Instant;

use super::{Paths, Probe, ProbeError, Support, needs, numbers};
use crate::catalogue as metric;
use crate::reading::Readings;
use crate::source::Source;

/// Ticks of `/proc/stat` in a second: `USER_HZ` is 100 on every architecture that Linux runs servers on.
const TICKS_PER_SECOND: f64 = 100.0;

/// The modes in the order of the `cpu` line; guest time is already part of user and nice.
const MODES: [&str; 8] = [
    "user",
    "nice",
    "system",
    "idle",
    "iowait",
    "interrupt",
    "softirq",
    "steal",
];
/// Software interrupts in the order of their line (include/linux/interrupt.h).
const SOFTIRQS: [&str; 10] = [
    "hi", "timer", "net_tx", "net_rx", "block", "irq_poll", "tasklet", "sched", "hrtimer", "rcu",
];
const IDLE: usize = 3;
const IOWAIT: usize = 4;

/// Reads `/proc/stat`.
#[derive(Debug)]
pub struct Cpu {
    source: Source,
    before: Option<[u64; 8]>,
    /// Of each logical CPU, by its place in the file.
    cores_before: Vec<[u64; 8]>,
}

impl Cpu {
    /// A probe of `paths.proc`.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self {
            source: Source::new(paths.proc.join("stat")),
            before: None,
            cores_before: Vec::new(),
        }
    }
}

impl Probe for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn is_supported(&mut self) -> Support {
        needs(&self.source)
    }

    fn sample(&mut self, _deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        let stat = parse(self.source.read()?);
        let Some(stat) = stat else {
            return Err(self.source.lacks("line that begins with cpu"));
        };
        out.metric(&metric::CPU_TIME);
        for (mode, ticks) in MODES.iter().zip(stat.ticks) {
            out.point(&[("cpu.mode", mode)], ticks as f64 / TICKS_PER_SECOND);
        }
        if let Some(utilization) = self
            .before
            .replace(stat.ticks)
            .and_then(|before| utilization(&before, &stat.ticks))
        {
            out.single(&metric::CPU_UTILIZATION, utilization);
        }
        // A core that came or went shifts the others' places, and gives no share for one round.
        let busiest = stat
            .cores
            .iter()
            .zip(&self.cores_before)
            .filter(|_| stat.cores.len() == self.cores_before.len())
            .filter_map(|(now, before)| utilization(before, now))
            .fold(None, |most: Option<f64>, share| {
                Some(most.map_or(share, |most| most.max(share)))
            });
        if let Some(busiest) = busiest {
            out.single(&metric::CPU_BUSIEST, busiest);
        }
        out.single(&metric::CPU_LOGICAL_COUNT, stat.cores.len() as f64);
        self.cores_before = stat.cores;
        if let Some(switches) = stat.context_switches {
            out.single(&metric::CONTEXT_SWITCHES, switches as f64);
        }
        if let Some(interrupts) = stat.interrupts {
            out.single(&metric::INTERRUPTS, interrupts as f64);
        }
        if let Some(softirqs) = stat.softirqs {
            out.metric(&metric::SOFTIRQS);
            for (kind, count) in SOFTIRQS.iter().zip(softirqs) {
                out.point(&[("type", kind)], count as f64);
            }
        }
        if let Some(booted) = stat.booted {
            out.single(&metric::BOOT_TIME, booted as f64);
        }
        if let Some(created) = stat.created {
            out.single(&metric::PROCESS_CREATED, created as f64);
        }
        out.metric(&metric::PROCESS_COUNT);
        for (state, count) in [("running", stat.running), ("blocked", stat.blocked)] {
            if let Some(count) = count {
                out.point(&[("process.state", state)], count as f64);
            }
        }
        Ok(())
    }
}

/// What is used of `/proc/stat`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stat {
    ticks: [u64; 8],
    cores: Vec<[u64; 8]>,
    interrupts: Option<u64>,
    softirqs: Option<[u64; SOFTIRQS.len()]>,
    booted: Option<u64>,
    context_switches: Option<u64>,
    created: Option<u64>,
    running: Option<u64>,
    blocked: Option<u64>,
}

/// `None` when there is no line of all CPUs together.
fn parse(text: &str) -> Option<Stat> {
    let mut stat = Stat::default();
    let mut found = false;
    for line in text.lines() {
        let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
        let first = || numbers(rest).next();
        match key {
            "cpu" => {
                found = true;
                stat.ticks = fill(rest);
            }
            "intr" => stat.interrupts = first(),
            // The first number is the total.
            "softirq" => stat.softirqs = Some(fill(rest.split_once(' ').map_or("", |(_, kinds)| kinds))),
            "btime" => stat.booted = first(),
            "ctxt" => stat.context_switches = first(),
            "processes" => stat.created = first(),
            "procs_running" => stat.running = first(),
            "procs_blocked" => stat.blocked = first(),
            _ if key.starts_with("cpu") => stat.cores.push(fill(rest)),
            _ => {}
        }
    }
    found.then_some(stat)
}

/// The first numbers of a line; those that are missing are 0.
fn fill<const N: usize>(text: &str) -> [u64; N] {
    let mut all = numbers(text);
    std::array::from_fn(|_| all.next().unwrap_or(0))
}

/// Share of the time between two readings that was neither idle nor waiting for I/O; `None` when no time has passed.
fn utilization(before: &[u64; 8], now: &[u64; 8]) -> Option<f64> {
    // Idle and iowait may step back by a tick; such a step counts as none.
    let gone: [u64; 8] = std::array::from_fn(|i| now[i].saturating_sub(before[i]));
    let total = gone.iter().fold(0u64, |sum, ticks| sum.saturating_add(*ticks));
    let quiet = gone[IDLE].saturating_add(gone[IOWAIT]);
    (total > 0).then(|| total.saturating_sub(quiet) as f64 / total as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing;

    const STAT: &str = "cpu  1000 20 300 8000 500 0 40 7 0 0\ncpu0 500 10 150 4000 250 0 20 3 0 0\ncpu1 500 10 150 4000 250 0 20 4 0 0\n\
        intr 123 0 0\nctxt 987654\nbtime 1700000000\nprocesses 4242\nprocs_running 3\nprocs_blocked 2\nsoftirq 9 1 2\n";

    #[test]
    fn modes_are_sent_in_seconds_and_utilization_from_the_second_reading_on() {
        let later = STAT.replace("cpu  1000 20 300 8000 500", "cpu  1060 20 310 8020 510");
        let files = testing::files(&[("proc/stat", STAT)]);
        let mut probe = Cpu::new(&files.paths);
        let first = testing::sample(&mut probe);
        assert!(first.contains("system.cpu.time{cpu.mode=user} 10 s\n"), "{first}");
        assert!(first.contains("system.cpu.logical.count 2 {cpu}\n"), "{first}");
        assert!(
            first.contains("system.process.count{process.state=blocked} 2 {process}\n"),
            "{first}"
        );
        assert!(!first.contains("utilization"), "{first}");
        files.write("proc/stat", &later);
        let second = testing::sample(&mut probe);
        assert!(second.contains("system.cpu.utilization 0.7 1\n"), "{second}");
    }

    #[test]
    fn a_step_back_of_idle_time_is_no_negative_share() {
        assert_eq!(
            utilization(&[5, 0, 0, 100, 0, 0, 0, 0], &[6, 0, 0, 99, 0, 0, 0, 0]),
            Some(1.0)
        );
        assert_eq!(utilization(&[5; 8], &[5; 8]), None);
        assert_eq!(utilization(&[u64::MAX; 8], &[0; 8]), None);
    }

    #[test]
    fn kernels_with_fewer_columns_and_512_cores_are_read() {
        let mut text = String::from("cpu 1 2 3 4\n");
        (0..512).for_each(|cpu| text.push_str(&format!("cpu{cpu} 1 2 3 4\n")));
        let stat = parse(&text).expect("cpu line");
        assert_eq!((stat.cores.len(), stat.ticks), (512, [1, 2, 3, 4, 0, 0, 0, 0]));
        assert_eq!(parse("intr 1\n"), None);
    }
}
