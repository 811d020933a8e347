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

/// Logical CPUs that are told each by itself; what the others of a larger host spent is told as one, without a number.
const CORES_MAX: usize = 1024;

/// Reads `/proc/stat`.
#[derive(Debug)]
pub struct Cpu {
    source: Source,
    per_core: bool,
    before: Option<[u64; 8]>,
    cores_before: Vec<Core>,
}

impl Cpu {
    /// A probe of `paths.proc`.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self {
            source: Source::new(paths.proc.join("stat")),
            per_core: false,
            before: None,
            cores_before: Vec::new(),
        }
    }

    /// The same, with the time of each logical CPU by its number in the place of their sum, which would else count twice.
    #[must_use]
    pub fn per_core(self, per_core: bool) -> Self {
        Self { per_core, ..self }
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
        if self.per_core && !stat.cores.is_empty() {
            emit_cores(&stat.cores, out);
        } else {
            emit_modes(&[], &stat.ticks, out);
        }
        if let Some(utilization) = self
            .before
            .replace(stat.ticks)
            .and_then(|before| utilization(&before, &stat.ticks))
        {
            out.single(&metric::CPU_UTILIZATION, utilization);
        }
        // A core that came or went shifts the others' places, and some give no share for one round.
        let busiest = stat
            .cores
            .iter()
            .zip(&self.cores_before)
            .filter(|(now, before)| now.number == before.number)
            .filter_map(|(now, before)| utilization(&before.ticks, &now.ticks))
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

/// The modes' points of the open metric, with these attributes before the mode's.
fn emit_modes(number: &[(&str, &str)], ticks: &[u64; 8], out: &mut Readings<'_>) {
    for (mode, ticks) in MODES.iter().zip(ticks) {
        let mode = ("cpu.mode", *mode);
        let seconds = *ticks as f64 / TICKS_PER_SECOND;
        match number {
            [number] => out.point(&[*number, mode], seconds),
            _ => out.point(&[mode], seconds),
        }
    }
}

fn emit_cores(cores: &[Core], out: &mut Readings<'_>) {
    let (told, others) = cores.split_at(cores.len().min(CORES_MAX));
    for core in told {
        emit_modes(&[("cpu.logical_number", &core.number.to_string())], &core.ticks, out);
    }
    if !others.is_empty() {
        let sum = |mode: usize| {
            others
                .iter()
                .fold(0u64, |sum, core| sum.saturating_add(core.ticks[mode]))
        };
        emit_modes(&[], &std::array::from_fn(sum), out);
    }
}

/// A logical CPU and its time by mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Core {
    number: u32,
    ticks: [u64; 8],
}

/// What is used of `/proc/stat`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stat {
    ticks: [u64; 8],
    cores: Vec<Core>,
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
            _ => {
                if let Some(number) = key.strip_prefix("cpu").and_then(|number| number.parse().ok()) {
                    let ticks = fill(rest);
                    stat.cores.push(Core { number, ticks });
                }
            }
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
    fn each_core_is_told_by_its_number_in_the_place_of_the_sum() {
        // The second core is offline, and has no line.
        let files = testing::files(&[("proc/stat", &STAT.replace("cpu1 ", "cpu2 "))]);
        let mut probe = Cpu::new(&files.paths).per_core(true);
        let text = testing::sample(&mut probe);
        let times: Vec<&str> = text.lines().filter(|line| line.contains("cpu.time{")).collect();
        assert_eq!(times.len(), 16, "{text}");
        assert_eq!(times[0], "system.cpu.time{cpu.logical_number=0,cpu.mode=user} 5 s");
        assert_eq!(times[15], "system.cpu.time{cpu.logical_number=2,cpu.mode=steal} 0.04 s");
        // A kernel that tells of no core at all is told as a whole.
        files.write("proc/stat", "cpu 100 2 3 4\n");
        assert!(testing::sample(&mut probe).starts_with("system.cpu.time{cpu.mode=user} 1 s\n"));
    }

    /// `/proc/stat` of a host of so many cores, each with 1 s of user time.
    fn many(cores: usize) -> String {
        let line = |cpu: usize| format!("cpu{cpu} 100 0 0 0 0 0 0 0 0 0\n");
        format!("cpu {} 0 0 0\n", cores * 100) + &(0..cores).map(line).collect::<String>()
    }

    #[test]
    fn all_of_512_cores_are_told_and_beyond_the_bound_the_rest_as_one() {
        let files = testing::files(&[("proc/stat", &many(512))]);
        let mut probe = Cpu::new(&files.paths).per_core(true);
        let text = testing::sample(&mut probe);
        assert_eq!(text.matches("system.cpu.time{").count(), 512 * 8);
        assert!(text.contains("{cpu.logical_number=511,cpu.mode=user} 1 s\n"), "{text}");
        files.write("proc/stat", &many(CORES_MAX + 7));
        let text = testing::sample(&mut probe);
        assert_eq!(text.matches("system.cpu.time{").count(), (CORES_MAX + 1) * 8);
        assert!(text.contains("system.cpu.time{cpu.mode=user} 7 s\n"), "{text}");
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
