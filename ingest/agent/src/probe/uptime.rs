//! Time since boot.

use std::time::Instant;

use super::{Paths, Probe, ProbeError, Support, needs};
use crate::catalogue as metric;
use crate::reading::Readings;
use crate::source::Source;

/// Reads `/proc/uptime`.
#[derive(Debug)]
pub struct Uptime {
    source: Source,
}

impl Uptime {
    /// A probe of `paths.proc`.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self {
            source: Source::new(paths.proc.join("uptime")),
        }
    }
}

impl Probe for Uptime {
    fn name(&self) -> &'static str {
        "uptime"
    }

    fn is_supported(&mut self) -> Support {
        needs(&self.source)
    }

    fn sample(&mut self, _deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        let seconds = parse(self.source.read()?);
        let Some(seconds) = seconds else {
            return Err(self.source.lacks("number of seconds"));
        };
        out.single(&metric::UPTIME, seconds);
        Ok(())
    }
}

/// Seconds since boot.
pub(crate) fn parse(text: &str) -> Option<f64> {
    text.split_ascii_whitespace()
        .next()?
        .parse()
        .ok()
        .filter(|seconds: &f64| seconds.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_is_the_uptime() {
        assert_eq!(parse("350735.47 234388.90\n"), Some(350_735.47));
        assert_eq!(parse(""), None);
        assert_eq!(parse("inf 1"), None);
    }
}
