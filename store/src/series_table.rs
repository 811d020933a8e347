//! All series of a store: by labels, by number, by label values.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, OnceLock};

use hashbrown::HashTable;
use parking_lot::{Mutex, RwLock};

use crate::error::StoreError;
use crate::index::Index;
use crate::part::Part;
use crate::segmented::Segmented;
use crate::series::{LabelError, Labels, LabelsBuf, Matcher, SeriesId, SeriesKey, TimeRange};

mod sort;

const SHARDS: usize = 64;
const CHUNK: usize = 2048;

/// From so many new series on, a part's labels are read by a thread of their own, ahead by at most so many batches.
const READ_AHEAD_MIN: usize = 4 * CHUNK;
const READ_AHEAD_BATCHES: usize = 4;

/// All series of a store. Numbers are dense, in order of registration, and never reused while the store is open.
#[derive(Debug)]
pub(crate) struct SeriesTable {
    // By the lower half of the key, which is made anew from the labels where a table grows: 4 bytes a slot, not 16.
    by_key: [RwLock<HashTable<SeriesId>>; SHARDS],
    entries: Segmented<OnceLock<Entry>>,
    len: AtomicU32,
    index: RwLock<Index>,
    order: Mutex<Order>,
    max: usize,
}

/// What is known of a series.
#[derive(Debug)]
pub(crate) struct Entry {
    labels: Labels,
    // Bounds of its timestamps in WAL and head, widened by the one writer; `t_min` also covers parts.
    t_min: AtomicI64,
    t_max: AtomicI64,
    // Nothing of it in parts is newer than this, though maybe all of it is older; `i64::MIN` once `t_max` covers parts, too.
    part_bound: AtomicI64,
}

impl Entry {
    fn new(labels: Labels) -> Self {
        // `i64::MAX..=i64::MIN`: no sample yet, so that no range overlaps.
        let (first, none) = (AtomicI64::new(i64::MAX), AtomicI64::new(i64::MIN));
        Self {
            labels,
            t_min: first,
            t_max: none,
            part_bound: AtomicI64::new(i64::MIN),
        }
    }

    pub(crate) fn labels(&self) -> &Labels {
        &self.labels
    }

    /// No sample is newer than this; `i64::MIN` where there is none.
    #[inline]
    pub(crate) fn newest_at_most(&self) -> i64 {
        self.t_max
            .load(Ordering::Relaxed)
            .max(self.part_bound.load(Ordering::Relaxed))
    }

    /// Whether [`Entry::newest_at_most`] is what the parts of the last start allow and not yet what they hold.
    pub(crate) fn is_estimated(&self) -> bool {
        self.part_bound.load(Ordering::Relaxed) > self.t_max.load(Ordering::Relaxed)
    }

    /// Takes note of a sample.
    #[inline]
    pub(crate) fn widen(&self, at: i64) {
        if at < self.t_min.load(Ordering::Relaxed) {
            self.t_min.store(at, Ordering::Relaxed);
        }
        if at > self.t_max.load(Ordering::Relaxed) {
            self.t_max.store(at, Ordering::Relaxed);
        }
    }

    /// Takes note of a part that holds the series.
    fn widen_by_part(&self, t_min: i64, t_max: i64) {
        self.t_min.fetch_min(t_min, Ordering::Relaxed);
        self.part_bound.fetch_max(t_max, Ordering::Relaxed);
    }

    /// Takes note of the newest sample in parts, `None` where they hold none after all.
    pub(crate) fn settle(&self, newest_in_parts: Option<i64>) {
        self.t_max
            .fetch_max(newest_in_parts.unwrap_or(i64::MIN), Ordering::Relaxed);
        self.part_bound.store(i64::MIN, Ordering::Relaxed);
    }

    /// Takes note that nothing within `range` is left, where that is all there is.
    pub(crate) fn forget_within(&self, range: TimeRange) {
        if range.start.0 <= self.t_min.load(Ordering::Relaxed) && self.newest_at_most() <= range.end.0 {
            self.t_min.store(i64::MAX, Ordering::Relaxed);
            self.t_max.store(i64::MIN, Ordering::Relaxed);
            self.part_bound.store(i64::MIN, Ordering::Relaxed);
        }
    }

    fn overlaps(&self, range: TimeRange) -> bool {
        let (t_min, t_max) = (self.t_min.load(Ordering::Relaxed), self.newest_at_most());
        // Without samples the bounds stand the wrong way round, and all of time would reach them.
        t_min <= t_max && range.overlaps(t_min, t_max)
    }
}

/// The rank of each series in the order of labels, for the series that there were when it was made.
#[derive(Debug, Default)]
struct Order {
    ranks: Arc<Vec<u32>>,
    // Series without a rank that had to be sorted since; at some point ranking all is cheaper.
    sorted_without: usize,
}

/// Sends the labels of a part's series, until nobody takes them any more.
fn read_labels(part: &Part, send: &SyncSender<Vec<Labels>>) -> Result<(), StoreError> {
    let mut series = part.series()?;
    loop {
        let batch = series.by_ref().take(CHUNK).map(|series| Ok(series?.2));
        let batch: Vec<Labels> = batch.collect::<Result<_, StoreError>>()?;
        if batch.is_empty() || send.send(batch).is_err() {
            return Ok(());
        }
    }
}

impl SeriesTable {
    /// An empty table for at most `max` series.
    pub(crate) fn new(max: usize) -> Self {
        let max = max.min(u32::MAX as usize);
        Self {
            by_key: std::array::from_fn(|_| RwLock::default()),
            entries: Segmented::new(max, CHUNK),
            len: AtomicU32::new(0),
            index: RwLock::default(),
            order: Mutex::default(),
            max,
        }
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> u32 {
        self.len.load(Ordering::Acquire)
    }

    /// The series whose key has this lower half and whose labels meet `is`.
    fn find(&self, half: u64, is: impl Fn(&Labels) -> bool) -> Option<SeriesId> {
        let meets = |id: &SeriesId| self.entry(*id).is_some_and(|entry| is(&entry.labels));
        self.shard(half).read().find(half, meets).copied()
    }

    /// The series with this key.
    pub(crate) fn find_by_key(&self, key: SeriesKey) -> Option<SeriesId> {
        self.find(low_half(key), |labels| labels.key() == key)
    }

    /// The series with these labels, registered where it is new.
    pub(crate) fn resolve(&self, labels: &mut LabelsBuf) -> Result<SeriesId, StoreError> {
        self.find_or_register(labels.canonical()?)
    }

    /// The series with these canonical label bytes, registered where it is new.
    pub(crate) fn find_or_register(&self, canonical: &[u8]) -> Result<SeriesId, StoreError> {
        let half = low_half(SeriesKey::of(canonical));
        match self.find(half, |labels| labels.as_bytes() == canonical) {
            Some(id) => Ok(id),
            None => self.register(half, Labels::from_bytes(canonical).ok_or(LabelError::EmptyName)?),
        }
    }

    /// The series with these labels, which is probably new; `half` is the lower half of their key.
    fn register(&self, half: u64, labels: Labels) -> Result<SeriesId, StoreError> {
        // One registration at a time: whoever holds the index gives out the next number.
        let mut index = self.index.write();
        if let Some(id) = self.find(half, |known| *known == labels) {
            return Ok(id);
        }
        let number = self.len.load(Ordering::Acquire);
        let full = || StoreError::TooManySeries { limit: self.max };
        let entry = self.entries.get_or_make(number as usize).ok_or_else(full)?;
        if number as usize >= self.max {
            return Err(full());
        }
        let id = SeriesId(number);
        index.insert(id, &labels, |id| self.labels(id));
        entry.get_or_init(|| Entry::new(labels));
        self.shard(half).write().insert_unique(half, id, |id| self.half_of(*id));
        self.len.store(number + 1, Ordering::Release);
        Ok(id)
    }

    fn half_of(&self, id: SeriesId) -> u64 {
        self.labels(id).map_or(0, |labels| low_half(labels.key()))
    }

    /// Makes the series of a part known.
    pub(crate) fn register_part(&self, part: &Part) -> Result<(), StoreError> {
        let (t_min, t_max) = (part.begins_ms(), part.meta().t_max);
        let mut unknown = 0;
        for &key in part.keys() {
            match self.find_by_key(key).and_then(|id| self.entry(id)) {
                Some(entry) => entry.widen_by_part(t_min, t_max),
                None => unknown += 1,
            }
        }
        if unknown == 0 {
            return Ok(());
        }
        // Room for all of them at once: a table that grows makes the keys of all that it holds anew.
        for shard in &self.by_key {
            shard.write().reserve(unknown / SHARDS, |id| self.half_of(*id));
        }
        let note = |labels: Labels| -> Result<(), StoreError> {
            let id = self.register(low_half(labels.key()), labels)?;
            if let Some(entry) = self.entry(id) {
                entry.widen_by_part(t_min, t_max);
            }
            Ok(())
        };
        // Labels are read only for a part that brings new series. To read them is as much work as to note them down.
        if unknown < READ_AHEAD_MIN {
            return part.series()?.try_for_each(|series| note(series?.2));
        }
        std::thread::scope(|scope| {
            let (send, batches) = std::sync::mpsc::sync_channel(READ_AHEAD_BATCHES);
            let reading = scope.spawn(move || read_labels(part, &send));
            for labels in batches {
                labels.into_iter().try_for_each(note)?;
            }
            reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// What is known of a series.
    #[inline]
    pub(crate) fn entry(&self, id: SeriesId) -> Option<&Entry> {
        self.entries.get(id.0 as usize)?.get()
    }

    fn labels(&self, id: SeriesId) -> Option<&Labels> {
        self.entry(id).map(Entry::labels)
    }

    /// Canonical label bytes of a series, none for an unknown one.
    pub(crate) fn canonical(&self, id: SeriesId) -> &[u8] {
        self.entry(id).map_or(&[], |entry| entry.labels.as_bytes())
    }

    /// Series below `bound` that meet all `matchers` and may have samples within `range`, in the order of their labels.
    pub(crate) fn select(&self, matchers: &[Matcher], range: TimeRange, bound: u32) -> Vec<SeriesId> {
        let found = self.index.read().select(matchers, bound, |id| self.labels(id));
        let mut ids: Vec<SeriesId> = found
            .iter()
            .map(SeriesId)
            .filter(|id| id.0 < bound && self.entry(*id).is_some_and(|entry| entry.overlaps(range)))
            .collect();
        self.sort(&mut ids);
        ids
    }

    /// As many series as have the rarest of these labels; an empty value, which is no label, says nothing.
    pub(crate) fn at_most<'a>(&self, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> u64 {
        let index = self.index.read();
        let said = labels.into_iter().filter(|(_, value)| !value.is_empty());
        said.map(|(name, value)| index.having(name, value, |id| self.labels(id)))
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Values of label `name` among the series below `bound` that may have samples within `range`, sorted.
    pub(crate) fn label_values(&self, name: &str, range: TimeRange, bound: u32) -> Vec<&str> {
        let wanted = |id: SeriesId| id.0 < bound && self.entry(id).is_some_and(|entry| entry.overlaps(range));
        self.index.read().values(name, wanted, |id| self.labels(id))
    }

    /// Names of labels among the series below `bound` that may have samples within `range`, sorted.
    pub(crate) fn label_names(&self, range: TimeRange, bound: u32) -> Vec<String> {
        self.index
            .read()
            .names(|id| id.0 < bound && self.entry(id).is_some_and(|entry| entry.overlaps(range)))
    }

    /// How many names of labels there are, or values of one.
    pub(crate) fn label_count(&self, name: Option<&str>) -> usize {
        self.index.read().count(name)
    }

    /// Approximate bytes of the index.
    pub(crate) fn index_bytes(&self) -> u64 {
        self.index.read().bytes()
    }

    /// Sorts by labels. Ranks are computed once for many sorts; series that came since are compared by their labels.
    fn sort(&self, ids: &mut [SeriesId]) {
        // Few series are cheaper to compare than all of them are to rank.
        const FEW: usize = 32;
        let labels = |id: SeriesId| self.labels(id);
        if ids.len() <= FEW {
            ids.sort_unstable_by(|a, b| labels(*a).cmp(&labels(*b)));
            return;
        }
        let newest = ids.iter().map(|id| id.0 as usize + 1).max().unwrap_or(0);
        let ranks = self.ranks(newest, |ranked| ids.iter().filter(|id| id.0 as usize >= ranked).count());
        ids.sort_unstable_by(|a, b| match (ranks.get(a.0 as usize), ranks.get(b.0 as usize)) {
            (Some(a), Some(b)) => a.cmp(b),
            _ => labels(*a).cmp(&labels(*b)),
        });
    }

    /// The present ranks, made anew once the series below `newest` that have none cost as much to sort as all to rank.
    fn ranks(&self, newest: usize, without: impl Fn(usize) -> usize) -> Arc<Vec<u32>> {
        /// Comparisons by labels that sorting one series costs, against one to rank it.
        const COMPARISONS: usize = 10;
        let mut order = self.order.lock();
        let ranked = order.ranks.len();
        if newest > ranked {
            order.sorted_without += without(ranked) * COMPARISONS;
        }
        let len = self.len() as usize;
        if order.sorted_without > ranked {
            let labels = |id: u32| self.labels(SeriesId(id));
            let mut sorted: Vec<u32> = vec![0; ranked];
            for (id, &rank) in (0_u32..).zip(order.ranks.iter()) {
                sorted[rank as usize] = id;
            }
            sorted.extend(ranked as u32..len as u32);
            sort::by_labels(&mut sorted[ranked..], labels);
            // Two runs, both sorted: the stable sort finds and merges them.
            sorted.sort_by(|a, b| labels(*a).cmp(&labels(*b)));
            let mut ranks = vec![0; len];
            for (rank, &id) in (0_u32..).zip(&sorted) {
                ranks[id as usize] = rank;
            }
            *order = Order {
                ranks: Arc::new(ranks),
                sorted_without: 0,
            };
        }
        Arc::clone(&order.ranks)
    }

    fn shard(&self, half: u64) -> &RwLock<HashTable<SeriesId>> {
        // Not by the highest bits, of which the table makes its tags, nor by the lowest, which choose its slot.
        &self.by_key[(half >> 40) as usize % SHARDS]
    }
}

fn low_half(key: SeriesKey) -> u64 {
    key.0 as u64
}
