//! The values of one label, each with the series that have it.

use hashbrown::HashTable;
use roaring::RoaringBitmap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::series::SeriesId;

/// The values of one label. Their texts stand in the labels of the series and nowhere else: whoever asks brings a function from
/// a series to its value. A value of one series, as many labels of short-lived things have them, takes some 20 bytes.
#[derive(Debug, Default)]
pub(super) struct Values {
    // In order of appearance, so that looking at all of them goes through memory as it lies.
    slots: Vec<Slot>,
    by_text: HashTable<u32>,
    lists: Vec<List>,
    /// The slot of the series that came last: series of a part are sorted, and those of a host are sent one after the other.
    last: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    first: u32,
    /// Where the other series are among the lists; [`ALONE`] where there are none.
    list: u32,
}

const ALONE: u32 = u32::MAX;

/// The second and all further series of a value, ascending.
#[derive(Debug)]
enum List {
    /// Most values of most labels have a few series; a bitmap would cost ten times the memory.
    Few(Vec<u32>),
    Many(RoaringBitmap),
}

/// From how many numbers on a bitmap is smaller than a list.
const FEW: usize = 64;

/// The series of one value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids<'a> {
    first: u32,
    others: Option<&'a List>,
}

impl Values {
    /// Adds a series whose number is higher than all before.
    pub(super) fn insert<'t>(&mut self, id: u32, value: &str, seed: u64, text: impl Fn(u32) -> Option<&'t str>) {
        let hash = hash_of(value, seed);
        let last = Some(self.last as usize).filter(|last| self.is_at(*last, value, hash, &text));
        if let Some(place) = last.or_else(|| self.find(value, hash, &text)) {
            self.last = place as u32;
            let slot = &mut self.slots[place];
            if slot.list == ALONE {
                slot.list = self.lists.len() as u32;
                self.lists.push(List::Few(vec![id]));
            } else {
                self.lists[slot.list as usize].push(id);
            }
            return;
        }
        let place = self.slots.len() as u32;
        self.last = place;
        self.slots.push(Slot {
            hash,
            first: id,
            list: ALONE,
        });
        let slots = &self.slots;
        self.by_text
            .insert_unique(spread(hash), place, |place| spread(slots[*place as usize].hash));
    }

    fn is_at<'t>(&self, place: usize, value: &str, hash: u32, text: impl Fn(u32) -> Option<&'t str>) -> bool {
        let slot = self.slots.get(place);
        slot.is_some_and(|slot| slot.hash == hash && text(slot.first) == Some(value))
    }

    fn find<'t>(&self, value: &str, hash: u32, text: impl Fn(u32) -> Option<&'t str>) -> Option<usize> {
        let is = |place: &u32| self.is_at(*place as usize, value, hash, &text);
        self.by_text.find(spread(hash), is).map(|place| *place as usize)
    }

    /// The series that have this value.
    pub(super) fn ids<'t>(&self, value: &str, seed: u64, text: impl Fn(u32) -> Option<&'t str>) -> Option<Ids<'_>> {
        let place = self.find(value, hash_of(value, seed), text)?;
        Some(self.ids_of(self.slots[place]))
    }

    fn ids_of(&self, slot: Slot) -> Ids<'_> {
        Ids {
            first: slot.first,
            others: self.lists.get(slot.list as usize),
        }
    }

    /// All values and their series.
    pub(super) fn iter<'t>(&self, text: impl Fn(u32) -> Option<&'t str>) -> impl Iterator<Item = (&'t str, Ids<'_>)> {
        self.slots
            .iter()
            .filter_map(move |slot| Some((text(slot.first)?, self.ids_of(*slot))))
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether a wanted series has the label.
    pub(super) fn any(&self, wanted: impl Fn(SeriesId) -> bool) -> bool {
        self.slots.iter().any(|slot| self.ids_of(*slot).any(&wanted))
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let lists = self.lists.iter().map(|list| match list {
            List::Few(ids) => ids.capacity() * size_of::<u32>(),
            List::Many(bitmap) => bitmap.serialized_size(),
        });
        self.slots.capacity() * size_of::<Slot>()
            + self.by_text.allocation_size()
            + self.lists.capacity() * size_of::<List>()
            + lists.sum::<usize>()
    }
}

/// A part of the hash, which a slot has room for: values that share it are told apart by their texts.
fn hash_of(value: &str, seed: u64) -> u32 {
    xxh3_64_with_seed(value.as_bytes(), seed) as u32
}

/// All bits that the table looks at, the highest among them, from those that the slot keeps.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

impl List {
    fn push(&mut self, id: u32) {
        match self {
            Self::Few(ids) if ids.len() < FEW => {
                if ids.len() == ids.capacity() {
                    ids.reserve_exact((ids.len() / 2).max(1));
                }
                ids.push(id);
            }
            Self::Few(ids) => {
                let mut bitmap: RoaringBitmap = ids.iter().copied().collect();
                bitmap.insert(id);
                *self = Self::Many(bitmap);
            }
            Self::Many(bitmap) => {
                bitmap.insert(id);
            }
        }
    }
}

impl Ids<'_> {
    pub(super) fn len(self) -> u64 {
        1 + match self.others {
            None => 0,
            Some(List::Few(ids)) => ids.len() as u64,
            Some(List::Many(bitmap)) => bitmap.len(),
        }
    }

    pub(super) fn any(self, wanted: impl Fn(SeriesId) -> bool) -> bool {
        wanted(SeriesId(self.first))
            || match self.others {
                None => false,
                Some(List::Few(ids)) => ids.iter().any(|id| wanted(SeriesId(*id))),
                Some(List::Many(bitmap)) => bitmap.iter().any(|id| wanted(SeriesId(id))),
            }
    }

    pub(super) fn add_to(self, all: &mut RoaringBitmap) {
        all.insert(self.first);
        match self.others {
            None => {}
            Some(List::Few(ids)) => all.extend(ids.iter().copied()),
            Some(List::Many(bitmap)) => *all |= bitmap,
        }
    }

    pub(super) fn remove_from(self, all: &mut RoaringBitmap) {
        all.remove(self.first);
        match self.others {
            None => {}
            Some(List::Few(ids)) => ids.iter().for_each(|id| {
                all.remove(*id);
            }),
            Some(List::Many(bitmap)) => *all -= bitmap,
        }
    }

    pub(super) fn retain_in(self, all: &mut RoaringBitmap) {
        let first = all.contains(self.first).then_some(self.first);
        match self.others {
            None => *all = first.into_iter().collect(),
            Some(List::Few(ids)) => {
                let others = ids.iter().copied().filter(|id| all.contains(*id));
                *all = first.into_iter().chain(others).collect();
            }
            Some(List::Many(bitmap)) => {
                *all &= bitmap;
                all.extend(first);
            }
        }
    }
}
