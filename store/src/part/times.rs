//! Decoded timestamps, kept while they are wanted: the series of a host share them, and to decode them once for each series would be
//! half of the work of a query.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::TimeRange;

/// Bytes of decoded timestamps that the process holds, over all parts.
const HELD_BYTES_MAX: usize = 32 << 20;
const SHARDS: usize = 16;

/// The timestamps of a chunk: four bytes each, as distances from the first.
#[derive(Debug)]
pub(super) struct Times {
    first: i64,
    distances: Box<[u32]>,
}

impl Times {
    /// `None` where they do not ascend or span more than 49 days: such chunks exist, and are decoded each time.
    fn of(timestamps: &[i64]) -> Option<Self> {
        let first = *timestamps.first()?;
        if !timestamps.is_sorted() {
            return None;
        }
        let distances = timestamps
            .iter()
            .map(|t| u32::try_from(t.checked_sub(first)?).ok())
            .collect::<Option<_>>()?;
        Some(Self { first, distances })
    }

    /// First and last.
    pub(super) fn bounds(&self) -> (i64, i64) {
        let last = self.distances.last().copied().unwrap_or(0);
        (self.first, self.first + i64::from(last))
    }

    /// Which of them lie within a range.
    pub(super) fn within(&self, range: TimeRange) -> std::ops::Range<usize> {
        let at = |distance: &u32| self.first + i64::from(*distance);
        let from = self.distances.partition_point(|d| at(d) < range.start.0);
        let end = self.distances.partition_point(|d| at(d) <= range.end.0);
        from..end.max(from)
    }

    /// Some of them.
    pub(super) fn of_range(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = i64> + '_ {
        self.distances[range].iter().map(|d| self.first + i64::from(*d))
    }
}

/// Whose timestamps: number of the directory, place in it, number of samples.
pub(super) type Key = (u64, u32, u16);

/// What was asked for lately. At the bound the older half goes at once: nothing has to be kept in order.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Key, Arc<Times>>,
    old: HashMap<Key, Arc<Times>>,
    young_bytes: usize,
}

impl Generations {
    fn get(&mut self, key: Key) -> Option<Arc<Times>> {
        if let Some(times) = self.young.get(&key) {
            return Some(Arc::clone(times));
        }
        let times = self.old.remove(&key)?;
        self.put(key, Arc::clone(&times));
        Some(times)
    }

    fn put(&mut self, key: Key, times: Arc<Times>) {
        let bytes = size_of::<(Key, Arc<Times>)>() + size_of::<Times>() + times.distances.len() * size_of::<u32>();
        if self.young_bytes + bytes > HELD_BYTES_MAX / SHARDS / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
        self.young.insert(key, times);
    }
}

static HELD: [Mutex<Option<Generations>>; SHARDS] = [const { Mutex::new(None) }; SHARDS];

/// The timestamps with this key, decoded by `decode` where they are not held; `None` where it answers `false` or they cannot be
/// held.
pub(super) fn held(key: Key, decode: impl FnOnce(&mut Vec<i64>) -> bool) -> Option<Arc<Times>> {
    let shard = &HELD[key.1 as usize % SHARDS];
    if let Some(found) = shard.lock().get_or_insert_default().get(key) {
        return Some(found);
    }
    // Not under the lock: two threads may do it side by side, once.
    let mut timestamps = Vec::with_capacity(usize::from(key.2));
    if !decode(&mut timestamps) {
        return None;
    }
    let times = Arc::new(Times::of(&timestamps)?);
    shard.lock().get_or_insert_default().put(key, Arc::clone(&times));
    Some(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_come_back_and_are_found_by_time() {
        let all = [-5, 0, 7, 7_000_000];
        let times = Times::of(&all).unwrap();
        assert_eq!(times.bounds(), (-5, 7_000_000));
        assert_eq!(times.of_range(0..4).collect::<Vec<_>>(), all);
        assert_eq!(times.within(TimeRange::millis(0, 7)), 1..3);
        assert_eq!(times.within(TimeRange::millis(8, 9)), 3..3);
        assert_eq!(times.within(TimeRange::ALL), 0..4);
        assert!(Times::of(&[2, 1]).is_none());
        assert!(Times::of(&[0, 1 << 32]).is_none());
        assert!(Times::of(&[i64::MIN, i64::MAX]).is_none());
    }

    #[test]
    fn what_is_held_stays_within_its_bound_and_what_is_asked_for_stays() {
        let mut generations = Generations::default();
        let times = |first| Arc::new(Times::of(&(first..first + 1000).collect::<Vec<i64>>()).unwrap());
        generations.put((1, 0, 1000), times(0));
        for i in 1..5000_u32 {
            generations.put((1, i, 1000), times(i64::from(i)));
            assert_eq!(generations.get((1, 0, 1000)).unwrap().bounds(), (0, 999), "after {i}");
            let held = generations.young.len() + generations.old.len();
            assert!(held * 4000 <= HELD_BYTES_MAX / SHARDS, "{held} of them");
        }
        assert!(generations.get((1, 1, 1000)).is_none());
    }
}
