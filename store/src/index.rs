//! Which series have which label: value by value a set of numbers.

use std::collections::{BTreeSet, HashMap};

use roaring::RoaringBitmap;

use crate::series::{Labels, MatchOp, Matcher, SeriesId};

#[cfg(test)]
mod tests;

/// Label name to value to series.
#[derive(Debug, Default)]
pub(crate) struct Index {
    names: HashMap<Box<str>, HashMap<Box<str>, Ids>>,
}

/// A set of series numbers, which arrive in ascending order.
#[derive(Debug)]
enum Ids {
    /// Most values of most labels have a few series; a bitmap would cost ten times the memory.
    Few(Vec<u32>),
    Many(RoaringBitmap),
}

/// From how many numbers on a bitmap is smaller than a list.
const FEW: usize = 64;

impl Ids {
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

    fn len(&self) -> u64 {
        match self {
            Self::Few(ids) => ids.len() as u64,
            Self::Many(bitmap) => bitmap.len(),
        }
    }

    fn any(&self, wanted: impl Fn(SeriesId) -> bool) -> bool {
        match self {
            Self::Few(ids) => ids.iter().any(|id| wanted(SeriesId(*id))),
            Self::Many(bitmap) => bitmap.iter().any(|id| wanted(SeriesId(id))),
        }
    }

    fn add_to(&self, all: &mut RoaringBitmap) {
        match self {
            Self::Few(ids) => all.extend(ids.iter().copied()),
            Self::Many(bitmap) => *all |= bitmap,
        }
    }

    fn remove_from(&self, all: &mut RoaringBitmap) {
        match self {
            Self::Few(ids) => ids.iter().for_each(|id| {
                all.remove(*id);
            }),
            Self::Many(bitmap) => *all -= bitmap,
        }
    }

    fn retain_in(&self, all: &mut RoaringBitmap) {
        match self {
            Self::Few(ids) => *all = ids.iter().copied().filter(|id| all.contains(*id)).collect(),
            Self::Many(bitmap) => *all &= bitmap,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Few(ids) => ids.capacity() * 4,
            Self::Many(bitmap) => bitmap.serialized_size(),
        }
    }
}

impl Index {
    /// Adds a series whose number is higher than all before.
    pub(crate) fn insert(&mut self, id: SeriesId, labels: &Labels) {
        for (name, value) in labels {
            // Looked up first: an owned name and value are needed only once for many series.
            if !self.names.contains_key(name) {
                self.names.insert(name.into(), HashMap::new());
            }
            let Some(values) = self.names.get_mut(name) else {
                continue;
            };
            match values.get_mut(value) {
                Some(ids) => ids.push(id.0),
                None => {
                    values.insert(value.into(), Ids::Few(vec![id.0]));
                }
            }
        }
    }

    /// Series that meet all `matchers`; with none, all series below `len`.
    pub(crate) fn select<'l>(
        &self,
        matchers: &[Matcher],
        len: u32,
        labels_of: impl Fn(SeriesId) -> Option<&'l Labels>,
    ) -> RoaringBitmap {
        // A matcher that the empty value meets is met by all series without that label: it can only take away.
        let (subtract, mut require): (Vec<&Matcher>, Vec<&Matcher>) = matchers.iter().partition(|m| m.matches(""));
        // Equality is one look-up and leaves the fewest for the others to look at.
        require.sort_by_key(|m| match m.op {
            MatchOp::Eq => self.ids(&m.name, &m.value).map_or(0, Ids::len),
            _ => u64::MAX,
        });
        let mut found: Option<RoaringBitmap> = None;
        for matcher in require {
            let next = match found.take() {
                None => self.matching(matcher),
                Some(found) => self.narrow(found, matcher, &labels_of),
            };
            if next.is_empty() {
                return next;
            }
            found = Some(next);
        }
        let mut found = found.unwrap_or_else(|| (0..len).collect());
        for matcher in subtract {
            found = self.subtract(found, matcher, &labels_of);
        }
        found
    }

    fn ids(&self, name: &str, value: &str) -> Option<&Ids> {
        self.names.get(name)?.get(value)
    }

    /// Sets of the values that `wanted` picks.
    fn values_where<'a>(&'a self, name: &str, wanted: impl Fn(&str) -> bool + 'a) -> impl Iterator<Item = &'a Ids> {
        let values = self.names.get(name).into_iter().flatten();
        values.filter(move |(value, _)| wanted(value)).map(|(_, ids)| ids)
    }

    /// Series that have the label and meet the matcher.
    fn matching(&self, matcher: &Matcher) -> RoaringBitmap {
        let mut found = RoaringBitmap::new();
        match (matcher.op, alternatives(matcher)) {
            (MatchOp::Eq, _) => {
                if let Some(ids) = self.ids(&matcher.name, &matcher.value) {
                    ids.add_to(&mut found);
                }
            }
            (MatchOp::Re, Some(values)) => {
                values
                    .iter()
                    .filter_map(|v| self.ids(&matcher.name, v))
                    .for_each(|ids| ids.add_to(&mut found));
            }
            _ => {
                let matches = |value: &str| matcher.matches(value);
                self.values_where(&matcher.name, matches)
                    .for_each(|ids| ids.add_to(&mut found));
            }
        }
        found
    }

    fn narrow<'l>(
        &self,
        mut found: RoaringBitmap,
        matcher: &Matcher,
        labels_of: &impl Fn(SeriesId) -> Option<&'l Labels>,
    ) -> RoaringBitmap {
        if matcher.op == MatchOp::Eq {
            match self.ids(&matcher.name, &matcher.value) {
                Some(ids) => ids.retain_in(&mut found),
                None => found.clear(),
            }
            return found;
        }
        if self.cheaper_by_labels(&found, &matcher.name) {
            return by_labels(&found, matcher, labels_of);
        }
        found & self.matching(matcher)
    }

    fn subtract<'l>(
        &self,
        mut found: RoaringBitmap,
        matcher: &Matcher,
        labels_of: &impl Fn(SeriesId) -> Option<&'l Labels>,
    ) -> RoaringBitmap {
        if matcher.op == MatchOp::Ne {
            if let Some(ids) = self.ids(&matcher.name, &matcher.value) {
                ids.remove_from(&mut found);
            }
            return found;
        }
        if self.cheaper_by_labels(&found, &matcher.name) {
            return by_labels(&found, matcher, labels_of);
        }
        let misses = |value: &str| !matcher.matches(value);
        self.values_where(&matcher.name, misses)
            .for_each(|ids| ids.remove_from(&mut found));
        found
    }

    /// Whether the label has more values than there are series left to look at.
    fn cheaper_by_labels(&self, found: &RoaringBitmap, name: &str) -> bool {
        self.names
            .get(name)
            .is_some_and(|values| found.len() <= values.len() as u64)
    }

    /// Values of label `name` that a wanted series has, sorted.
    pub(crate) fn values(&self, name: &str, wanted: impl Fn(SeriesId) -> bool) -> Vec<String> {
        let values = self.names.get(name).into_iter().flatten();
        let values = values
            .filter(|(_, ids)| ids.any(&wanted))
            .map(|(value, _)| value.to_string());
        values.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Names of labels that a wanted series has, sorted.
    pub(crate) fn names(&self, wanted: impl Fn(SeriesId) -> bool) -> Vec<String> {
        let names = self
            .names
            .iter()
            .filter(|(_, values)| values.values().any(|ids| ids.any(&wanted)));
        names
            .map(|(name, _)| name.to_string())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Approximate bytes of memory.
    pub(crate) fn bytes(&self) -> u64 {
        /// Box, set and control byte of a slot of the map of values, at its usual load.
        const SLOT: usize = 64;
        let values = self.names.values().flatten();
        values
            .map(|(value, ids)| (SLOT + value.len() + ids.bytes()) as u64)
            .sum()
    }
}

fn by_labels<'l>(
    found: &RoaringBitmap,
    matcher: &Matcher,
    labels_of: &impl Fn(SeriesId) -> Option<&'l Labels>,
) -> RoaringBitmap {
    found
        .iter()
        .filter(|id| labels_of(SeriesId(*id)).is_some_and(|labels| matcher.matches_labels(labels)))
        .collect()
}

/// The values of a pattern that only lists some, as dashboards write them: `a|b|c`.
fn alternatives(matcher: &Matcher) -> Option<Vec<&str>> {
    let plain = |c: char| c == '|' || !regex_syntax_char(c);
    (matcher.op == MatchOp::Re && matcher.value.chars().all(plain)).then(|| {
        let mut values: Vec<&str> = matcher.value.split('|').collect();
        values.sort_unstable();
        values.dedup();
        values
    })
}

/// Characters with a meaning in a pattern outside of brackets.
fn regex_syntax_char(c: char) -> bool {
    matches!(
        c,
        '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$'
    )
}
