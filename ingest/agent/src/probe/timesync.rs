//! Whether the clock is held to the world's time, and how well: what the kernel knows from the daemon that disciplines it.

use std::time::Instant;

use super::{Paths, Probe, ProbeError, Support};
use crate::catalogue as metric;
use crate::reading::Readings;

/// `STA_UNSYNC` and `STA_NANO` of adjtimex(2): the clock is free-running; offsets are nanoseconds instead of microseconds.
const UNSYNCHRONIZED: i32 = 0x40;
const NANO: i32 = 0x2000;

/// A kernel's estimate that is no estimate: 16 seconds of error stand for "nobody has told".
const ERROR_UNKNOWN_MICROS: i64 = 16_000_000;

/// Asks adjtimex(2), which needs no privilege as long as nothing is set.
#[derive(Debug, Default)]
pub struct TimeSync {
    /// Recorded `/proc` and `/sys` are of another host than the system call.
    recorded: bool,
}

impl TimeSync {
    /// A probe of this kernel, unless `paths` are recorded ones.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self {
            recorded: paths.root.is_none(),
        }
    }
}

/// What is used of `struct timex`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    status: i32,
    offset: i64,
    max_error_micros: i64,
    /// 2^-16 parts per million.
    frequency: i64,
}

impl Probe for TimeSync {
    fn name(&self) -> &'static str {
        "timesync"
    }

    fn is_supported(&mut self) -> Support {
        match ask().filter(|_| !self.recorded) {
            Some(_) => Support::Yes,
            None => Support::No("the kernel does not answer adjtimex".to_owned()),
        }
    }

    fn sample(&mut self, _deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        if let Some(state) = ask() {
            emit(state, out);
        }
        Ok(())
    }
}

fn emit(state: State, out: &mut Readings<'_>) {
    let synchronized = state.status & UNSYNCHRONIZED == 0;
    out.single(&metric::TIME_SYNCHRONIZED, f64::from(u8::from(synchronized)));
    let unit = if state.status & NANO != 0 { 1e9 } else { 1e6 };
    out.single(&metric::TIME_OFFSET, state.offset as f64 / unit);
    if state.max_error_micros < ERROR_UNKNOWN_MICROS {
        out.single(&metric::TIME_ERROR, state.max_error_micros as f64 / 1e6);
    }
    out.single(&metric::TIME_FREQUENCY, state.frequency as f64 / 65_536e6);
}

#[expect(
    unsafe_code,
    reason = "no crate of ours wraps adjtimex; the call fills a structure of ours"
)]
fn ask() -> Option<State> {
    // SAFETY: `timex` is plain numbers, for which all zeros are a value; `modes` of 0 sets nothing; the kernel writes no
    // more than the structure that it is given, and keeps no pointer to it.
    let (answer, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    #[expect(clippy::useless_conversion, reason = "these numbers have 32 bits on some targets")]
    (answer >= 0).then(|| State {
        status: timex.status,
        offset: timex.offset.into(),
        max_error_micros: timex.maxerror.into(),
        frequency: timex.freq.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::TextSink;

    fn text(state: State) -> String {
        let mut sink = TextSink::default();
        emit(state, &mut Readings::new(&mut sink, 2, 1));
        sink.text().to_owned()
    }

    #[test]
    fn a_clock_that_is_disciplined_shows_its_offset_in_either_unit() {
        let state = State {
            status: NANO,
            offset: -1_500_000,
            max_error_micros: 2500,
            frequency: 65_536 * 20,
        };
        assert_eq!(
            text(state),
            "system.linux.time.synchronized 1 1\nsystem.linux.time.offset -0.0015 s\n\
             system.linux.time.error 0.0025 s\nsystem.linux.time.frequency 0.00002 1\n"
        );
        let micros = State { status: 0, ..state };
        assert!(text(micros).contains("offset -1.5 s\n"));
    }

    #[test]
    fn a_clock_that_nobody_disciplines_has_no_error_to_tell() {
        let state = State {
            status: UNSYNCHRONIZED,
            offset: 0,
            max_error_micros: 16_000_000,
            frequency: 0,
        };
        let text = text(state);
        assert!(text.contains("synchronized 0 1\n") && !text.contains("error"), "{text}");
    }

    #[test]
    fn this_kernel_answers() {
        assert!(ask().is_some());
    }
}
