//! The kernel as a whole: entropy, time that runnable tasks waited, tasks in all, crash records left by an earlier boot.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use super::{Paths, Probe, ProbeError, Support, needs};
use crate::catalogue as metric;
use crate::reading::Readings;
use crate::source::Source;

/// Reads what has one number for the whole kernel.
#[derive(Debug)]
pub struct Kernel {
    loadavg: Source,
    entropy: Source,
    schedstat: Source,
    pids: Source,
    hung: Source,
    tainted: Source,
    pstore: PathBuf,
}

impl Kernel {
    /// A probe of `paths`.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        let kernel = paths.proc.join("sys/kernel");
        Self {
            loadavg: Source::new(paths.proc.join("loadavg")),
            entropy: Source::new(kernel.join("random/entropy_avail")),
            schedstat: Source::new(paths.proc.join("schedstat")),
            pids: Source::new(kernel.join("pid_max")),
            hung: Source::new(kernel.join("hung_task_detect_count")),
            tainted: Source::new(kernel.join("tainted")),
            pstore: paths.sys.join("fs/pstore"),
        }
    }
}

impl Probe for Kernel {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn is_supported(&mut self) -> Support {
        needs(&self.loadavg)
    }

    fn sample(&mut self, _deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        let tasks = parse_tasks(self.loadavg.read()?);
        if let Some(tasks) = tasks {
            out.single(&metric::TASKS, tasks as f64);
        }
        let number = |source: &mut Source| -> Option<u64> { source.read().ok()?.trim().parse().ok() };
        for (metric, source) in [
            (&metric::TASKS_LIMIT, &mut self.pids),
            (&metric::ENTROPY, &mut self.entropy),
            (&metric::HUNG_TASKS, &mut self.hung),
            (&metric::TAINTED, &mut self.tainted),
        ] {
            if let Some(value) = number(source) {
                out.single(metric, value as f64);
            }
        }
        let mut sums = [0; 2];
        if self.schedstat.each_line(|line| add_schedstat(&mut sums, line)).is_ok() {
            let [ran, waited] = sums;
            out.metric(&metric::SCHEDULER_TIME);
            out.point(&[("state", "running")], ran as f64 / 1e9);
            out.point(&[("state", "waiting")], waited as f64 / 1e9);
        }
        if let Ok(records) = fs::read_dir(&self.pstore) {
            out.single(&metric::CRASH_RECORDS, records.take(4096).count() as f64);
        }
        Ok(())
    }
}

/// `0.52 1.25 13.37 3/120 4711`: of 120 tasks, threads counted one by one, 3 are runnable.
fn parse_tasks(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

/// Adds a processor's line: nanoseconds that tasks ran, and that they waited to run (Documentation/scheduler/sched-stats.rst).
fn add_schedstat(sums: &mut [u64; 2], line: &str) {
    if !line.starts_with("cpu") {
        return;
    }
    let mut words = line
        .split_ascii_whitespace()
        .skip(7)
        .map(|word| word.parse().unwrap_or(0));
    for sum in sums {
        *sum = sum.saturating_add(words.next().unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing;

    #[test]
    fn what_the_kernel_has_is_sent_and_what_it_lacks_is_left_out() {
        let files = testing::files(&[("proc/loadavg", "0.52 1.25 13.37 3/120 4711\n")]);
        assert_eq!(
            testing::sample(&mut Kernel::new(&files.paths)),
            "system.linux.tasks 120 {task}\n"
        );
        files.write("proc/sys/kernel/random/entropy_avail", "256\n");
        files.write("proc/sys/kernel/hung_task_detect_count", "2\n");
        files.write(
            "proc/schedstat",
            "version 17\ntimestamp 4295\ncpu0 0 0 0 0 0 0 1500000000 250000000 77\ndomain0 MC 3 0 0\n\
             cpu1 0 0 0 0 0 0 500000000 250000000 7\n",
        );
        files.write("sys/fs/pstore/dmesg-efi-1", "Oops");
        let text = testing::sample(&mut Kernel::new(&files.paths));
        for line in [
            "system.linux.entropy 256 bit\n",
            "system.linux.hung_tasks 2 {task}\n",
            "system.linux.scheduler.time{state=waiting} 0.5 s\n",
            "system.linux.crash_records 1 {record}\n",
        ] {
            assert!(text.contains(line), "{line} not in {text}");
        }
    }
    #[test]
    fn the_statistics_of_512_cores_are_read_to_the_last() {
        // Five domains a core, each with a mask of 512 bits and 45 numbers: beyond what is kept of any other text.
        let mask = vec!["ffffffff"; 16].join(",");
        let domains: String = (0..5)
            .map(|n| format!("domain{n} MC {mask}{}\n", " 1234567".repeat(45)))
            .collect();
        let text: String = (0..512)
            .map(|n| format!("cpu{n} 0 0 0 0 0 0 1000000000 500000000 7\n{domains}"))
            .collect();
        assert!(text.len() > 1 << 20, "{}", text.len());
        let files = testing::files(&[
            ("proc/loadavg", "0.52 1.25 13.37 3/120 4711\n"),
            ("proc/schedstat", &text),
        ]);
        let text = testing::sample(&mut Kernel::new(&files.paths));
        assert!(
            text.contains("system.linux.scheduler.time{state=running} 512 s\n"),
            "{text}"
        );
        assert!(
            text.contains("system.linux.scheduler.time{state=waiting} 256 s\n"),
            "{text}"
        );
    }
}
