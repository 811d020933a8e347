//! Delta points summed up, so that what is stored counts from a start, as PromQL's counters do.
//!
//! The sums live in memory: after a restart they begin at zero again, which `rate()` and `increase()` take for the restart of
//! a counter. A series that has been silent for [`FORGOTTEN_MS`] may be forgotten when room is needed, with the same effect.

use std::collections::HashMap;

use parking_lot::Mutex;
use store::SeriesId;

use crate::cache::Build;

#[cfg(test)]
mod tests;

/// A series without points for so long makes room for others.
const FORGOTTEN_MS: i64 = 15 * 60_000;
/// The silent ones are looked for once in so much time of the points, as that costs a walk over all of them.
const SWEEP_MS: i64 = 60_000;

/// The sums of one tenant, by the series that they are stored as: senders write one series with attributes in different orders, and
/// with others that are no label of it, and a sum for each of these would be as many counters in one series.
#[derive(Debug, Default)]
pub(crate) struct DeltaSums(Mutex<Sums>);

#[derive(Debug, Default)]
struct Sums {
    by_series: HashMap<SeriesId, Sum, Build>,
    latest_ms: i64,
    swept_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Sum {
    total: f64,
    at_ms: i64,
}

/// What became of a delta.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Added {
    /// The sum with it.
    Total(f64),
    /// It is not later than the one before it, or no number: its sum would be wrong from then on.
    Late,
    /// There is no room for another series.
    Full,
}

impl DeltaSums {
    /// The changes of one request, taken back unless they are kept in the end.
    pub(crate) fn changes(&self, max: usize) -> Changes<'_> {
        Changes {
            sums: self,
            max,
            log: Vec::new(),
        }
    }
}

/// What one request added. Dropped without [`Changes::keep`], it is subtracted again, so that a request that fails and comes
/// again counts once.
#[derive(Debug)]
pub(crate) struct Changes<'a> {
    sums: &'a DeltaSums,
    max: usize,
    log: Vec<(SeriesId, f64, Option<Sum>, Sum)>,
}

impl Changes<'_> {
    /// Adds to the sum of a series.
    pub(crate) fn add(&mut self, id: SeriesId, at_ms: i64, value: f64) -> Added {
        if !value.is_finite() {
            return Added::Late;
        }
        let mut sums = self.sums.0.lock();
        sums.latest_ms = sums.latest_ms.max(at_ms);
        let before = sums.by_series.get(&id).copied();
        if before.is_some_and(|sum| at_ms <= sum.at_ms) {
            return Added::Late;
        }
        if before.is_none() && sums.by_series.len() >= self.max && !sums.make_room(self.max) {
            return Added::Full;
        }
        let after = Sum {
            total: before.map_or(0.0, |sum| sum.total) + value,
            at_ms,
        };
        sums.by_series.insert(id, after);
        self.log.push((id, value, before, after));
        Added::Total(after.total)
    }

    /// The request is stored.
    pub(crate) fn keep(mut self) {
        self.log.clear();
    }
}

impl Drop for Changes<'_> {
    fn drop(&mut self) {
        if self.log.is_empty() {
            return;
        }
        let mut sums = self.sums.0.lock();
        for (id, value, before, after) in self.log.drain(..).rev() {
            let Some(now) = sums.by_series.get_mut(&id) else {
                continue;
            };
            match before {
                // Nobody has added to it since: to the bit what it was.
                Some(before) if *now == after => *now = before,
                None if *now == after => {
                    sums.by_series.remove(&id);
                }
                _ => now.total -= value,
            }
        }
    }
}

impl Sums {
    /// Forgets series that are silent; answers whether there is room now.
    fn make_room(&mut self, max: usize) -> bool {
        if self.latest_ms - self.swept_ms >= SWEEP_MS {
            self.swept_ms = self.latest_ms;
            let oldest = self.latest_ms - FORGOTTEN_MS;
            self.by_series.retain(|_, sum| sum.at_ms >= oldest);
        }
        self.by_series.len() < max
    }
}
