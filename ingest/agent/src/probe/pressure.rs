//! Pressure stall information: time in which tasks stood still for want of CPU, memory or I/O.

use std::time::Instant;

use super::{Paths, Probe, ProbeError, Support};
use crate::catalogue as metric;
use crate::reading::Readings;
use crate::source::Source;

/// What tasks can stand still for, as the files are named.
pub(crate) const RESOURCES: [&str; 3] = ["cpu", "memory", "io"];

/// Reads `/proc/pressure/*`. Totals are sent, not the kernel's averages: a rate over them loses nothing between readings.
#[derive(Debug)]
pub struct Pressure {
    sources: [Source; 3],
}

impl Pressure {
    /// A probe of `paths.proc`.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self {
            sources: RESOURCES.map(|resource| Source::new(paths.proc.join("pressure").join(resource))),
        }
    }
}

impl Probe for Pressure {
    fn name(&self) -> &'static str {
        "pressure"
    }

    fn is_supported(&mut self) -> Support {
        // The files exist without psi=1 on some distributions, but reading them then fails.
        match self.sources[0].read() {
            Ok(_) => Support::Yes,
            Err(_) => Support::No("the kernel gives no pressure stall information (start it with psi=1)".to_owned()),
        }
    }

    fn sample(&mut self, _deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        out.metric(&metric::PRESSURE_STALL_TIME);
        for (resource, source) in RESOURCES.into_iter().zip(&mut self.sources) {
            let totals = parse(source.read()?);
            for (kind, micros) in [("some", totals.some), ("full", totals.full)] {
                if let Some(micros) = micros {
                    out.point(&[("resource", resource), ("kind", kind)], micros as f64 / 1e6);
                }
            }
        }
        Ok(())
    }
}

/// Stall time in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) some: Option<u64>,
    pub(crate) full: Option<u64>,
}

pub(crate) fn parse(text: &str) -> Totals {
    let mut totals = Totals::default();
    for line in text.lines() {
        let Some((kind, rest)) = line.split_once(' ') else {
            continue;
        };
        let total = rest
            .split_ascii_whitespace()
            .find_map(|word| word.strip_prefix("total=")?.parse().ok());
        match kind {
            "some" => totals.some = total,
            "full" => totals.full = total,
            _ => {}
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing;

    #[test]
    fn totals_are_sent_in_seconds() {
        let text = "some avg10=1.00 avg60=0.50 avg300=0.10 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n";
        // Kernels before 5.13 have no full line for the CPU.
        let cpu = "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n";
        let files = testing::files(&[
            ("proc/pressure/cpu", cpu),
            ("proc/pressure/memory", text),
            ("proc/pressure/io", ""),
        ]);
        assert_eq!(
            testing::sample(&mut Pressure::new(&files.paths)),
            "system.linux.pressure.stall_time{resource=cpu,kind=some} 1 s\n\
             system.linux.pressure.stall_time{resource=memory,kind=some} 2.5 s\n\
             system.linux.pressure.stall_time{resource=memory,kind=full} 0.5 s\n"
        );
    }

    #[test]
    fn a_kernel_without_it_says_how_to_get_it() {
        let files = testing::files(&[]);
        let Support::No(why) = Pressure::new(&files.paths).is_supported() else {
            panic!("no files, no support")
        };
        assert!(why.contains("psi=1"), "{why}");
    }
}
