//! Load averages.

use std::time::Instant;

use super::{Paths, Probe, ProbeError, Support, needs};
use crate::catalogue as metric;
use crate::reading::Readings;
use crate::source::Source;

/// Reads `/proc/loadavg`.
#[derive(Debug)]
pub struct Load {
    source: Source,
}

impl Load {
    /// A probe of `paths.proc`.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self {
            source: Source::new(paths.proc.join("loadavg")),
        }
    }
}

impl Probe for Load {
    fn name(&self) -> &'static str {
        "load"
    }

    fn is_supported(&mut self) -> Support {
        needs(&self.source)
    }

    fn sample(&mut self, _deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        let averages = parse(self.source.read()?);
        let Some(averages) = averages else {
            return Err(self.source.lacks("three load averages"));
        };
        for (metric, average) in [&metric::LOAD_1M, &metric::LOAD_5M, &metric::LOAD_15M]
            .into_iter()
            .zip(averages)
        {
            out.single(metric, average);
        }
        Ok(())
    }
}

fn parse(text: &str) -> Option<[f64; 3]> {
    let mut words = text
        .split_ascii_whitespace()
        .map(|word| word.parse().ok().filter(|load: &f64| load.is_finite()));
    Some([words.next()??, words.next()??, words.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing;

    #[test]
    fn three_averages_or_an_error_that_names_the_file() {
        let files = testing::files(&[("proc/loadavg", "0.52 1.25 13.37 3/120 4711\n")]);
        let mut probe = Load::new(&files.paths);
        let text = testing::sample(&mut probe);
        assert_eq!(
            text,
            "system.cpu.load_average.1m 0.52 {thread}\nsystem.cpu.load_average.5m 1.25 {thread}\n\
             system.cpu.load_average.15m 13.37 {thread}\n"
        );
        files.write("proc/loadavg", "0.52 nan\n");
        let text = testing::sample(&mut probe);
        assert!(
            text.starts_with("error: ") && text.contains("loadavg has no three load averages"),
            "{text}"
        );
    }
}
