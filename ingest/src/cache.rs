//! Which series the bytes of a point mean, remembered by a hash over them.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use parking_lot::RwLock;
use store::SeriesId;

use crate::delta::DeltaSums;

/// Hash over everything that decides to which series a point belongs. It is 128 bits wide and seeded per process, so that
/// two different points do not meet by chance (at 10⁹ series once in 10²⁰ tries) nor by design.
pub(crate) type Key = u128;

/// The keys are hashes already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

pub(crate) type Build = BuildHasherDefault<AsItIs>;
pub(crate) type Known = HashMap<Key, SeriesId, Build>;

/// What the requests of one tenant have met so far.
#[derive(Debug, Default)]
pub(crate) struct SeriesCache {
    series: RwLock<Known>,
    described: RwLock<HashSet<Key, Build>>,
    pub(crate) deltas: DeltaSums,
}

impl SeriesCache {
    /// The series known by now. Held while a request is decoded; [`SeriesCache::learn`] waits for it.
    pub(crate) fn known(&self) -> parking_lot::RwLockReadGuard<'_, Known> {
        self.series.read()
    }

    /// Remembers series that the store holds durably. At `max` everything is forgotten, and learnt again as it is met.
    pub(crate) fn learn(&self, new: &Known, max: usize) {
        if new.is_empty() {
            return;
        }
        let mut series = self.series.write();
        if series.len() + new.len() > max {
            series.clear();
        }
        series.extend(new.iter().take(max));
    }

    /// Whether what a metric is was recorded already.
    pub(crate) fn is_described(&self, key: Key) -> bool {
        self.described.read().contains(&key)
    }

    /// Remembers that it was.
    pub(crate) fn described(&self, keys: impl IntoIterator<Item = Key>, max: usize) {
        let mut described = self.described.write();
        if described.len() > max {
            described.clear();
        }
        described.extend(keys);
    }
}
