//! Sampling faster while the host is short of memory or waits for its disks, or the server warns of it.
//!
//! The kernel tells when: a pressure trigger (Documentation/accounting/psi.rst) wakes a `poll` when tasks stood still for
//! more than a share of a window. Nothing is read in between, so a quiet host costs nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// 150 ms of stall within 2 s; windows must be multiples of 2 s for agents that are not root.
const TRIGGER: &[u8] = b"some 150000 2000000\0";

/// CPU pressure is left out: busy CPUs are many hosts' normal state.
const RESOURCES: [&str; 2] = ["memory", "io"];

/// Interval while it matters.
pub(crate) const FAST: Duration = Duration::from_secs(1);

/// How long it matters after the last sign.
const LASTS: Duration = Duration::from_secs(60);

/// How many intervals lie between two full rounds while the server says that it has too much to do: 10 s become 30 s and
/// then 60 s. What tells of events is read at its usual pace all the same.
pub(crate) fn widened(times_pushed_back: u64) -> u64 {
    match times_pushed_back {
        0 => 1,
        1 => 3,
        _ => 6,
    }
}

/// Open pressure triggers.
pub(crate) fn triggers(proc: &Path) -> Vec<File> {
    RESOURCES
        .iter()
        .filter_map(|resource| open(&proc.join("pressure").join(resource)).ok())
        .collect()
}

fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    file.write_all(TRIGGER)?;
    Ok(file)
}

/// Decides the interval from the signs seen.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    usual: Duration,
    fast_until: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(usual: Duration) -> Self {
        Self {
            usual,
            fast_until: None,
        }
    }

    /// A trigger fired, or the server asked. True when this begins a fast stretch.
    pub(crate) fn sign(&mut self, now: Instant) -> bool {
        let begins = self.fast_until.is_none_or(|until| until <= now);
        self.fast_until = Some(now + LASTS);
        begins && self.usual > FAST
    }

    pub(crate) fn interval(&self, now: Instant) -> Duration {
        match self.fast_until {
            Some(until) if until > now => self.usual.min(FAST),
            _ => self.usual,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_speeds_up_for_a_minute_and_each_further_one_prolongs_it() {
        let at = |seconds| Duration::from_secs(seconds);
        let start = Instant::now();
        let mut pace = Pace::new(at(10));
        assert_eq!(pace.interval(start), at(10));
        assert!(pace.sign(start));
        assert_eq!(pace.interval(start + at(59)), at(1));
        assert!(!pace.sign(start + at(59)));
        assert_eq!(pace.interval(start + at(118)), at(1));
        assert_eq!(pace.interval(start + at(119)), at(10));
    }

    #[test]
    fn an_agent_that_is_fast_already_stays_as_it_is() {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::from_millis(200));
        assert!(!pace.sign(start));
        assert_eq!(pace.interval(start), Duration::from_millis(200));
    }
}
