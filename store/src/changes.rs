//! When which samples changed: what lets an answer be kept until something that it saw did.

use std::collections::VecDeque;

/// Writes that are told apart; older ones are taken for one, at the oldest of their timestamps.
const ENTRIES_MAX: usize = 4096;
/// Timestamps are rounded down to this: writers that push every few milliseconds make one entry a second.
const ROUNDED_MS: i64 = 1000;

/// The oldest timestamp of everything that was written since each of the last few thousand writes.
///
/// Of two writes the later one hides the earlier where its timestamp is no newer, so that what is left ascends in both.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    // Epoch of the write, and its oldest timestamp.
    entries: VecDeque<(u64, i64)>,
}

impl Changes {
    /// Something changed in `epoch`, at `oldest_ms` and maybe later.
    pub(crate) fn add(&mut self, epoch: u64, oldest_ms: i64) {
        let oldest_ms = oldest_ms.saturating_sub(oldest_ms.rem_euclid(ROUNDED_MS));
        while self.entries.back().is_some_and(|(_, ms)| *ms >= oldest_ms) {
            self.entries.pop_back();
        }
        if self.entries.back().is_some_and(|(last, _)| *last == epoch) {
            // The one of the same epoch is older, and hides this one.
            return;
        }
        self.entries.push_back((epoch, oldest_ms));
        if self.entries.len() > ENTRIES_MAX
            && let (Some((_, oldest_ms)), Some(next)) = (self.entries.pop_front(), self.entries.front_mut())
        {
            // Who asks since a time between the two hears of the older: too much is computed anew, never too little.
            next.1 = oldest_ms;
        }
    }

    /// The oldest timestamp of what was written in epochs after `epoch`; `i64::MAX` where nothing was.
    pub(crate) fn oldest_since(&self, epoch: u64) -> i64 {
        let next = self.entries.partition_point(|(at, _)| *at <= epoch);
        self.entries.get(next).map_or(i64::MAX, |(_, ms)| *ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_all_later_writes_counts() {
        let mut changes = Changes::default();
        assert_eq!(changes.oldest_since(0), i64::MAX);
        for (epoch, ms) in [(1, 10_000), (2, 30_500), (4, 20_999), (5, 40_000)] {
            changes.add(epoch, ms);
        }
        assert_eq!(changes.oldest_since(0), 10_000);
        assert_eq!(
            changes.oldest_since(1),
            20_000,
            "the late write of epoch 4 hides the one of epoch 2"
        );
        assert_eq!(changes.oldest_since(3), 20_000);
        assert_eq!(changes.oldest_since(4), 40_000);
        assert_eq!(changes.oldest_since(5), i64::MAX);
        changes.add(6, i64::MIN);
        assert_eq!(changes.oldest_since(0), i64::MIN);
    }

    #[test]
    fn two_writes_of_one_epoch_are_one() {
        let mut changes = Changes::default();
        changes.add(3, 5_000);
        changes.add(3, 9_000);
        assert_eq!(changes.oldest_since(2), 5_000);
        assert_eq!(changes.oldest_since(3), i64::MAX);
    }

    #[test]
    fn it_stays_small_and_forgets_to_the_safe_side() {
        let mut changes = Changes::default();
        let n = ENTRIES_MAX as u64 * 3;
        for epoch in 1..=n {
            changes.add(epoch, epoch as i64 * ROUNDED_MS);
        }
        assert_eq!(changes.entries.len(), ENTRIES_MAX);
        for epoch in 0..n {
            assert!(
                changes.oldest_since(epoch) <= (epoch as i64 + 1) * ROUNDED_MS,
                "since {epoch}"
            );
        }
        assert_eq!(changes.oldest_since(n - 1), n as i64 * ROUNDED_MS);
    }
}
