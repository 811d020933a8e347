//! How many series have which labels, and which of these are the most.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};

use serde_json::{Value, json};
use store::{Labels, METRIC_NAME, SeriesId, Snapshot};

/// Name by name, what values series have. A value is kept as its hash, seeded so that nobody can send values that meet, and as the
/// number of a series that has it: its text is looked up for the few that are told.
#[derive(Debug, Default)]
pub(super) struct Cardinality {
    names: BTreeMap<String, Values>,
    seed: RandomState,
}

#[derive(Debug, Default)]
struct Values {
    by_hash: HashMap<u64, Having>,
    bytes: u64,
}

/// The series that have one value.
#[derive(Clone, Copy, Debug)]
struct Having {
    series: u64,
    first: SeriesId,
}

impl Cardinality {
    pub(super) fn add(&mut self, id: SeriesId, labels: &Labels) {
        for (name, value) in labels {
            // Looked up first: an owned name is needed only once for many series.
            if !self.names.contains_key(name) {
                self.names.insert(name.to_owned(), Values::default());
            }
            let Some(values) = self.names.get_mut(name) else {
                continue;
            };
            let having = values.by_hash.entry(self.seed.hash_one(value)).or_insert_with(|| {
                values.bytes += value.len() as u64;
                Having { series: 0, first: id }
            });
            having.series += 1;
        }
    }

    /// Different pairs of name and value.
    pub(super) fn pairs(&self) -> usize {
        self.names.values().map(|values| values.by_hash.len()).sum()
    }

    /// The values of `__name__` that most series have.
    pub(super) fn metrics(&self, snapshot: &Snapshot, limit: usize) -> Value {
        let pairs = self.most(snapshot, limit, |name| name == METRIC_NAME);
        told(pairs.into_iter().map(|(_, value, series)| (value, series)))
    }

    /// The pairs of name and value that most series have.
    pub(super) fn largest(&self, snapshot: &Snapshot, limit: usize) -> Value {
        let pairs = self.most(snapshot, limit, |_| true);
        told(
            pairs
                .into_iter()
                .map(|(name, value, series)| (format!("{name}={value}"), series)),
        )
    }

    /// The names with most values.
    pub(super) fn values(&self, limit: usize) -> Value {
        self.by_name(limit, |values| values.by_hash.len() as u64)
    }

    /// The names whose values are longest together, each value counted once.
    pub(super) fn bytes(&self, limit: usize) -> Value {
        self.by_name(limit, |values| values.bytes)
    }

    fn by_name(&self, limit: usize, count: impl Fn(&Values) -> u64) -> Value {
        let mut names: Vec<(String, u64)> = self.names.iter().map(|(n, v)| (n.clone(), count(v))).collect();
        names.sort_by_key(|(_, count)| Reverse(*count));
        names.truncate(limit);
        told(names)
    }

    /// Name, value and number of series, of the most; in the order of the texts where they are as many.
    fn most<'a>(
        &'a self,
        snapshot: &Snapshot,
        limit: usize,
        is_meant: impl Fn(&str) -> bool,
    ) -> Vec<(&'a str, String, u64)> {
        let meant = self.names.iter().filter(|(name, _)| is_meant(name));
        let mut all: Vec<(&str, Having)> = meant
            .flat_map(|(name, values)| values.by_hash.values().map(move |having| (name.as_str(), *having)))
            .collect();
        let order = |(name, having): &(&'a str, Having)| (Reverse(having.series), *name, having.first);
        if limit < all.len() {
            // There may be millions, of which some are told: those are not sorted.
            all.select_nth_unstable_by_key(limit, order);
            all.truncate(limit);
        }
        let value = |name, having: Having| snapshot.labels(having.first).get(name).unwrap_or("").to_owned();
        let mut most: Vec<_> = all
            .into_iter()
            .map(|(name, having)| (name, value(name, having), having.series))
            .collect();
        most.sort_by(|a, b| (Reverse(a.2), a.0, &a.1).cmp(&(Reverse(b.2), b.0, &b.1)));
        most
    }
}

fn told(counts: impl IntoIterator<Item = (String, u64)>) -> Value {
    counts
        .into_iter()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect()
}
