//! What to do after an attempt to send: decided from values alone.

use std::time::Duration;

/// First pause after a failed attempt; each further one doubles it.
const FIRST: Duration = Duration::from_secs(1);

/// Longest pause of the agent's own choosing after an answer, which cost the server something.
const LONGEST: Duration = Duration::from_secs(15);

/// Longest pause while nobody answers: an attempt costs a server that is away nothing, and pages and alerts should see a host
/// again soon after it is back.
const LONGEST_UNANSWERED: Duration = Duration::from_secs(5);

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
/// wrong token or path (401, 403, 404, 407) is set right by people while the spool waits, and so is somebody else who answers in the
/// server's place (a sign-in page that 3xx leads to, 405, 421, 451): that says nothing of the batch. A 500 may pass.
pub(crate) fn verdict(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Accepted,
        300..=399 | 401 | 403 | 404 | 405 | 407 | 408 | 421 | 425 | 429 | 451 | 502 | 503 | 504 => Verdict::Later,
        400..=499 => Verdict::Refused,
        _ => Verdict::Stumbled,
    }
}

/// The pause before attempt number `attempt + 1`: exponential, between half and all of it by `random` (0 to 1), and never
/// less than the server asked for.
pub(crate) fn pause(attempt: u32, random: f64, answered: bool, asked: Option<Duration>) -> Duration {
    let longest = if answered { LONGEST } else { LONGEST_UNANSWERED };
    let full = FIRST.saturating_mul(1 << attempt.min(16)).min(longest);
    let own = full.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0));
    // Agents told the same number of seconds must not all come back at once, hence the share on top.
    asked.map_or(own, |asked| {
        asked
            .min(LONGEST_ASKED)
            .mul_f64(1.0 + 0.2 * random.clamp(0.0, 1.0))
            .max(own)
    })
}

/// `Retry-After` in seconds, or as a date seen from the answer's own `Date`: the two clocks need not agree.
pub(crate) fn retry_after(header: &str, date: Option<&str>) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let seconds = http_date(header)?.saturating_sub(http_date(date?)?);
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// Seconds since 1970 of an HTTP date as RFC 9110, 5.6.7, wants it sent: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut words = text.trim().split_once(", ")?.1.split(' ');
    let day: i64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|known| *known == month)? as i64;
    let year: i64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut time = words.next()?.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    // Days from civil, Howard Hinnant: years begin in March, so that the leap day is the last.
    let shifted = if month < 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 10) % 12) + 2) / 5 + day - 1;
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
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
            (301, Verdict::Later),
            (302, Verdict::Later),
            (307, Verdict::Later),
            (308, Verdict::Later),
            (400, Verdict::Refused),
            (401, Verdict::Later),
            (405, Verdict::Later),
            (413, Verdict::Refused),
            (415, Verdict::Refused),
            (421, Verdict::Later),
            (422, Verdict::Refused),
            (429, Verdict::Later),
            (451, Verdict::Later),
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
            let pause = pause(attempt, random, true, asked.map(Duration::from_secs));
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
        assert_eq!(pause(40, 1.0, false, None), LONGEST_UNANSWERED);
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date_by_the_servers_clock() {
        let check = |header: &str, date: Option<&str>, expected: Option<u64>| {
            assert_eq!(retry_after(header, date), expected.map(Duration::from_secs), "{header}");
        };
        check(" 7 ", None, Some(7));
        check("-1", None, None);
        check("Fri, 31 Dec 1999 23:59:59 GMT", None, None);
        let now = Some("Fri, 31 Dec 1999 23:59:30 GMT");
        check("Fri, 31 Dec 1999 23:59:59 GMT", now, Some(29));
        check("Sat, 01 Jan 2000 00:01:00 GMT", now, Some(90));
        check("Fri, 31 Dec 1999 23:00:00 GMT", now, Some(0));
        check("soon", now, None);
        check("Fri, 99 Dec 1999 23:00:00 GMT", now, None);
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(http_date("Thu, 29 Feb 2024 12:00:00 GMT"), Some(1_709_208_000));
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
