//! What to do after an attempt to send: decided from values alone.

use std::time::Duration;

/// First pause after a failed attempt; each further one doubles it.
const FIRST: Duration = Duration::from_secs(1);

/// Longest pause of the agent's own choosing: short enough that pages and alerts see a host again soon after the server is back.
const LONGEST: Duration = Duration::from_secs(15);

/// Longest pause that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(600);

/// Attempts for one batch that the server answers with an error of its own (500 and its like, other than 502 to 504):
/// one batch that always makes the server stumble must not hold up all others.
pub(crate) const ATTEMPTS_AT_SERVER_ERROR: u32 = 8;

/// What an answer means for the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Acknowledged.
    Accepted,
    /// Refused for good: the batch itself is wrong.
    Refused,
    /// The server is busy or away, or does not let this agent in: the same batch later.
    Later,
    /// The server stumbled: the same batch later, but not for ever.
    Stumbled,
}

/// Reads an HTTP status.
///
/// OTLP lets clients repeat 429, 502, 503 and 504 only. Repeating more is safe here, since samples replace themselves: a
/// wrong token or path (401, 403, 404, 407) is set right by people while the spool waits, and a 500 may pass.
pub(crate) fn verdict(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Accepted,
        401 | 403 | 404 | 407 | 408 | 425 | 429 | 502 | 503 | 504 => Verdict::Later,
        300..=499 => Verdict::Refused,
        _ => Verdict::Stumbled,
    }
}

/// The pause before attempt number `attempt + 1`: exponential, between half and all of it by `random` (0 to 1), and never
/// less than the server asked for.
pub(crate) fn pause(attempt: u32, random: f64, asked: Option<Duration>) -> Duration {
    let full = FIRST.saturating_mul(1 << attempt.min(16)).min(LONGEST);
    let own = full.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0));
    // Agents told the same number of seconds must not all come back at once, hence the share on top.
    asked.map_or(own, |asked| {
        asked
            .min(LONGEST_ASKED)
            .mul_f64(1.0 + 0.2 * random.clamp(0.0, 1.0))
            .max(own)
    })
}

/// `Retry-After` in seconds; dates are not read, since they would need the server's clock to agree with ours.
pub(crate) fn retry_after(header: &str) -> Option<Duration> {
    header.trim().parse().ok().map(Duration::from_secs)
}

/// A small generator of numbers in `[0, 1)` for jitter.
#[derive(Clone, Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> f64 {
        // xorshift64*, whose upper bits are good enough for this.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_by_what_repeating_can_change() {
        for (status, expected) in [
            (200, Verdict::Accepted),
            (204, Verdict::Accepted),
            (400, Verdict::Refused),
            (401, Verdict::Later),
            (413, Verdict::Refused),
            (415, Verdict::Refused),
            (429, Verdict::Later),
            (500, Verdict::Stumbled),
            (503, Verdict::Later),
            (507, Verdict::Stumbled),
        ] {
            assert_eq!(verdict(status), expected, "{status}");
        }
    }

    #[test]
    fn pauses_double_to_a_bound_with_jitter_and_honour_the_server() {
        let check = |attempt, random, asked: Option<u64>, expected_ms: u64| {
            let pause = pause(attempt, random, asked.map(Duration::from_secs));
            assert_eq!(
                pause,
                Duration::from_millis(expected_ms),
                "{attempt} {random} {asked:?}"
            );
        };
        check(0, 0.0, None, 500);
        check(0, 1.0, None, 1000);
        check(3, 0.5, None, 6000);
        check(40, 1.0, None, 15_000);
        check(0, 0.0, Some(30), 30_000);
        check(0, 1.0, Some(30), 36_000);
        check(0, 0.0, Some(u64::MAX), 600_000);
        check(6, 1.0, Some(1), 15_000);
    }

    #[test]
    fn retry_after_reads_seconds_only() {
        assert_eq!(retry_after(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        assert_eq!(retry_after("-1"), None);
    }

    #[test]
    fn jitter_stays_in_its_range() {
        let mut jitter = Jitter::new(0);
        let numbers: Vec<f64> = (0..1000).map(|_| jitter.next()).collect();
        assert!(numbers.iter().all(|x| (0.0..1.0).contains(x)));
        let mean = numbers.iter().sum::<f64>() / 1000.0;
        assert!((0.4..0.6).contains(&mean), "{mean}");
    }
}
