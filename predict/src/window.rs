//! Window, gap and horizon: which samples an example may see, and how far ahead it looks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How far ahead a score looks, in whole milliseconds.
///
/// ```
/// use foreshock_predict::Horizon;
/// let horizon: Horizon = "1h".parse().expect("a horizon");
/// assert_eq!(horizon.millis(), 3_600_000);
/// assert_eq!(horizon.to_string(), "1h");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Horizon(i64);

impl Horizon {
    /// One hour, where a score is most useful (facts: prediction, 2.4).
    pub const HOUR: Self = Self(3_600_000);

    /// A horizon of `millis`, at least a second and at most a year.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Option<Self> {
        if millis >= 1_000 && millis <= 366 * 86_400_000 {
            Some(Self(millis))
        } else {
            None
        }
    }

    /// The horizon in milliseconds.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Horizon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&short_duration(self.0))
    }
}

impl FromStr for Horizon {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let millis = parse_duration(text)?;
        Self::from_millis(millis).ok_or_else(|| DurationError { text: text.to_owned() })
    }
}

impl From<Horizon> for String {
    fn from(horizon: Horizon) -> Self {
        horizon.to_string()
    }
}

impl TryFrom<String> for Horizon {
    type Error = DurationError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// A text that is no duration.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text:?} is no duration: expected a number and one of ms, s, m, min, h, d")]
pub struct DurationError {
    /// What was given.
    pub text: String,
}

/// Milliseconds in a text like `90s`, `5m`, `5min`, `1h` or `7d`.
///
/// # Errors
/// [`DurationError`] on anything else.
pub fn parse_duration(text: &str) -> Result<i64, DurationError> {
    let wrong = || DurationError { text: text.to_owned() };
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let count: i64 = text[..split].parse().map_err(|_| wrong())?;
    let unit = match &text[split..] {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    count.checked_mul(unit).ok_or_else(wrong)
}

/// The shortest exact spelling in one unit: `1h`, `90s`, `7d`.
#[must_use]
pub fn short_duration(millis: i64) -> String {
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis >= size && millis % size == 0 {
            // A day is said as `24h`, as in the names of horizons.
            if unit == "d" && millis == size {
                return "24h".to_owned();
            }
            return format!("{}{unit}", millis / size);
        }
    }
    format!("{millis}ms")
}

/// A duration for people: `45 s`, `41 min`, `3 h 10 min`, `2 d 4 h`.
#[must_use]
pub fn spoken_duration(millis: i64) -> String {
    let seconds = (millis + 500) / 1_000;
    if seconds < 120 {
        return format!("{seconds} s");
    }
    let minutes = (seconds + 30) / 60;
    if minutes < 60 {
        return format!("{minutes} min");
    }
    if minutes < 48 * 60 {
        let (h, m) = (minutes / 60, minutes % 60);
        return if m == 0 {
            format!("{h} h")
        } else {
            format!("{h} h {m} min")
        };
    }
    let hours = (minutes + 30) / 60;
    let (d, h) = (hours / 24, hours % 24);
    if h == 0 {
        format!("{d} d")
    } else {
        format!("{d} d {h} h")
    }
}

/// The fixed grid of blocks on which features are computed.
///
/// Block `k` holds the samples with `k·step - step < t <= k·step`; it is complete at `k·step`. Blocks hang on the epoch and
/// not on the first sample, so that training, backtest and live see the same blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    /// Length of a block in milliseconds.
    pub step_ms: i64,
}

impl Grid {
    /// Blocks of one minute.
    pub const MINUTE: Self = Self { step_ms: 60_000 };

    /// The grid that fits samples `distance_ms` apart: blocks of a minute, or whole minutes that hold a sample each.
    #[must_use]
    pub const fn for_samples(distance_ms: i64) -> Self {
        let minutes = (distance_ms + 59_999) / 60_000;
        Self {
            step_ms: 60_000 * if minutes < 1 { 1 } else { minutes },
        }
    }

    /// The last block that is complete at `at_ms`.
    #[must_use]
    pub const fn last_complete(self, at_ms: i64) -> i64 {
        at_ms.div_euclid(self.step_ms)
    }

    /// The block that the sample at `at_ms` belongs to.
    #[must_use]
    pub const fn block_of(self, at_ms: i64) -> i64 {
        -(-at_ms).div_euclid(self.step_ms)
    }

    /// When block `block` is complete.
    #[must_use]
    pub const fn end_of(self, block: i64) -> i64 {
        block * self.step_ms
    }

    /// The windows that features use on this grid.
    ///
    /// Blocks of up to two minutes: 15 min, 2 h and 12 h; coarser ones: 30 min, 3 h and 24 h, as in the measured recipe
    /// (facts: prediction, 2.2).
    #[must_use]
    pub fn windows(self) -> Windows {
        let blocks = |minutes: i64, least: usize| ((minutes * 60_000 / self.step_ms) as usize).max(least);
        let (short, middle, long) = if self.step_ms <= 120_000 {
            (15, 120, 720)
        } else {
            (30, 180, 1_440)
        };
        let short = blocks(short, 4);
        // Middle, long and day are whole numbers of short windows, so that they can be made of aligned aggregates.
        let whole = |n: usize| n.div_ceil(short).max(2) * short;
        Windows {
            short,
            middle: whole(blocks(middle, 4)),
            long: whole(blocks(long, 8)),
            day: whole(blocks(1_440, 8)),
        }
    }
}

/// Lengths of the windows in blocks. The short one is also the size of the aligned aggregates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    /// What is happening now.
    pub short: usize,
    /// What has been happening; also the lag of the baseline.
    pub middle: usize,
    /// The baseline.
    pub long: usize,
    /// One day, for day-over-day.
    pub day: usize,
}

impl Windows {
    /// Blocks before the newest one that a feature may look at, the newest one included.
    #[must_use]
    pub const fn history(self) -> usize {
        let lagged = self.middle + self.long;
        let mut longest = if lagged > self.day { lagged } else { self.day };
        if longest < 4 * self.middle {
            longest = 4 * self.middle;
        }
        // Two aligned aggregates more, because the newest block can stand anywhere within its aggregate.
        longest + 2 * self.short
    }

    /// Blocks before the newest one that a feature may look at one by one, the newest one included. What is older counts
    /// through the aggregates alone.
    #[must_use]
    pub const fn recent(self) -> usize {
        4 * self.short
    }

    /// First block that a row at block `at` looks back to, the first one of an aggregate.
    #[must_use]
    pub const fn first_block(self, at: i64) -> i64 {
        let short = self.short as i64;
        (at - self.history() as i64).div_euclid(short) * short
    }
}

#[cfg(test)]
mod tests;
