//! Swap space in use.

use std::time::Instant;

use super::{Paths, Probe, ProbeError, Support, memory, needs};
use crate::catalogue as metric;
use crate::reading::Readings;
use crate::source::Source;

/// Reads the swap lines of `/proc/meminfo`.
#[derive(Debug)]
pub struct Paging {
    source: Source,
}

impl Paging {
    /// A probe of `paths.proc`.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self {
            source: Source::new(paths.proc.join("meminfo")),
        }
    }
}

impl Probe for Paging {
    fn name(&self) -> &'static str {
        "paging"
    }

    fn is_supported(&mut self) -> Support {
        if needs(&self.source) != Support::Yes {
            return needs(&self.source);
        }
        match self.source.read().ok().and_then(memory::parse) {
            Some(info) if info.swap_total > 0 => Support::Yes,
            _ => Support::No("the host has no swap".to_owned()),
        }
    }

    fn sample(&mut self, _deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        let info = memory::parse(self.source.read()?);
        let Some(info) = info else {
            return Err(self.source.lacks("MemTotal"));
        };
        if info.swap_total == 0 {
            return Ok(()); // Swap may be switched off while the agent runs.
        }
        let used = info.swap_total.saturating_sub(info.swap_free);
        out.metric(&metric::PAGING_USAGE);
        out.point(&[("system.paging.state", "used")], used as f64);
        out.point(&[("system.paging.state", "free")], info.swap_free as f64);
        out.single(&metric::PAGING_UTILIZATION, used as f64 / info.swap_total as f64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing;

    #[test]
    fn a_host_without_swap_says_so_and_sends_nothing() {
        let files = testing::files(&[("proc/meminfo", "MemTotal: 8 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n")]);
        let mut probe = Paging::new(&files.paths);
        assert_eq!(probe.is_supported(), Support::No("the host has no swap".to_owned()));
        assert_eq!(testing::sample(&mut probe), "");
        files.write("proc/meminfo", "MemTotal: 8 kB\nSwapTotal: 4 kB\nSwapFree: 1 kB\n");
        assert_eq!(probe.is_supported(), Support::Yes);
        assert!(testing::sample(&mut probe).contains("system.paging.utilization 0.75 1\n"));
    }
}
