//! Open files of the whole host.

use std::time::Instant;

use super::{Paths, Probe, ProbeError, Support, needs, numbers};
use crate::catalogue as metric;
use crate::reading::Readings;
use crate::source::Source;

/// Reads `/proc/sys/fs/file-nr`.
#[derive(Debug)]
pub struct Files {
    source: Source,
}

impl Files {
    /// A probe of `paths.proc`.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self {
            source: Source::new(paths.proc.join("sys/fs/file-nr")),
        }
    }
}

impl Probe for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    fn is_supported(&mut self) -> Support {
        needs(&self.source)
    }

    fn sample(&mut self, _deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        let counts = parse(self.source.read()?);
        let Some((used, limit)) = counts else {
            return Err(self.source.lacks("three numbers"));
        };
        out.single(&metric::FILE_DESCRIPTORS, used as f64);
        // No limit is the largest 64-bit number; sent, it would only spoil charts.
        if limit < i64::MAX as u64 {
            out.single(&metric::FILE_DESCRIPTORS_LIMIT, limit as f64);
        }
        Ok(())
    }
}

/// Files in use and their limit.
fn parse(text: &str) -> Option<(u64, u64)> {
    let mut numbers = numbers(text);
    let (allocated, free, limit) = (numbers.next()?, numbers.next()?, numbers.next()?);
    Some((allocated.saturating_sub(free), limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_is_allocated_less_free() {
        assert_eq!(
            parse("1504\t4\t9223372036854775807\n"),
            Some((1500, 9_223_372_036_854_775_807))
        );
        assert_eq!(parse("1504"), None);
    }
}
