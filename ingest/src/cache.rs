//! Which series the bytes of a point mean, remembered by a hash over them.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parking_lot::RwLock;
use store::SeriesId;

use crate::delta::DeltaSums;

/// Hash over everything that decides to which series a point belongs. It is 128 bits wide and seeded per process, so that
/// two different points do not meet by chance (at 10⁹ series once in 10²⁰ tries) nor by design.
pub(crate) type Key = u128;

/// The keys are hashes already, and numbers of series are dense: neither is worth another hash.
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

    fn write_u32(&mut self, number: u32) {
        // Times 2^64 over the golden ratio: the tables go by the lowest bits and by the highest ones.
        let spread = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ (spread >> 32);
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

pub(crate) type Build = BuildHasherDefault<AsItIs>;

/// Series that a request was the first to meet.
pub(crate) type Met = HashMap<Key, SeriesId, Build>;

/// Tables that grow one by one: while one table grows, it is there twice.
const TABLES: usize = 64;

/// Series by 96 bits of the keys of their points: 16 bytes a slot, where the whole key would take 32. Two of 10⁹ series meet
/// once in 10¹¹ tries.
#[derive(Debug)]
pub(crate) struct Known {
    tables: [HashTable<Slot>; TABLES],
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    low: [u32; 2],
    middle: u32,
    id: SeriesId,
}

impl Slot {
    fn new(key: Key, id: SeriesId) -> Self {
        Self {
            low: [key as u32, (key >> 32) as u32],
            middle: (key >> 64) as u32,
            id,
        }
    }

    /// What the table goes by.
    fn hash(&self) -> u64 {
        u64::from(self.low[0]) | u64::from(self.low[1]) << 32
    }

    /// Not of the bits that choose slot and tag.
    fn table(&self) -> usize {
        self.middle as usize % TABLES
    }

    fn is(&self, other: &Self) -> bool {
        (self.low, self.middle) == (other.low, other.middle)
    }
}

impl Default for Known {
    fn default() -> Self {
        Self {
            tables: std::array::from_fn(|_| HashTable::new()),
            len: 0,
        }
    }
}

impl Known {
    /// The series whose points have this key.
    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<SeriesId> {
        let sought = Slot::new(key, SeriesId(0));
        let found = self.tables[sought.table()].find(sought.hash(), |slot| slot.is(&sought));
        found.map(|slot| slot.id)
    }

    /// Remembers a series, in place of another one with this key.
    fn insert(&mut self, key: Key, id: SeriesId) {
        let slot = Slot::new(key, id);
        let place = self.tables[slot.table()].entry(slot.hash(), |other| other.is(&slot), Slot::hash);
        match place {
            Entry::Occupied(mut occupied) => *occupied.get_mut() = slot,
            Entry::Vacant(vacant) => {
                vacant.insert(slot);
                self.len += 1;
            }
        }
    }
}

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
    pub(crate) fn learn(&self, new: &Met, max: usize) {
        if new.is_empty() {
            return;
        }
        let mut series = self.series.write();
        if series.len + new.len() > max {
            *series = Known::default();
        }
        new.iter().take(max).for_each(|(key, id)| series.insert(*key, *id));
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
