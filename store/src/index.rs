//! Which series have which label: value by value a set of numbers.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use roaring::RoaringBitmap;

use crate::series::{Labels, MatchOp, Matcher, SeriesId};

#[cfg(test)]
mod tests;
mod values;

use values::{Ids, Values};

/// Label name to value to series.
#[derive(Debug)]
pub(crate) struct Index {
    names: HashMap<Box<str>, Values>,
    // Of the hashes of values, so that nobody can send values that meet.
    seed: u64,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            names: HashMap::new(),
            seed: RandomState::new().hash_one(0),
        }
    }
}

impl Index {
    /// Adds a series whose number is higher than all before. `labels_of` answers for those.
    pub(crate) fn insert<'l>(
        &mut self,
        id: SeriesId,
        labels: &Labels,
        labels_of: impl Fn(SeriesId) -> Option<&'l Labels>,
    ) {
        for (name, value) in labels {
            let text = texts(name, &labels_of);
            // Looked up first: an owned name is needed only once for many series.
            match self.names.get_mut(name) {
                Some(values) => values.insert(id.0, value, self.seed, text),
                None => {
                    let values = self.names.entry(name.into()).or_default();
                    values.insert(id.0, value, self.seed, text);
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
            MatchOp::Eq => self.ids(&m.name, &m.value, &labels_of).map_or(0, Ids::len),
            _ => u64::MAX,
        });
        let mut found: Option<RoaringBitmap> = None;
        for matcher in require {
            let next = match found.take() {
                None => self.matching(matcher, &labels_of),
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

    /// How many series have this label.
    pub(crate) fn having<'l>(
        &self,
        name: &str,
        value: &str,
        labels_of: impl Fn(SeriesId) -> Option<&'l Labels>,
    ) -> u64 {
        self.ids(name, value, &labels_of).map_or(0, Ids::len)
    }

    fn ids<'l>(&self, name: &str, value: &str, labels_of: &impl Fn(SeriesId) -> Option<&'l Labels>) -> Option<Ids<'_>> {
        self.names.get(name)?.ids(value, self.seed, texts(name, labels_of))
    }

    /// Adds the sets of the values that `wanted` picks to `all`.
    fn add_where<'l>(
        &self,
        name: &str,
        wanted: impl Fn(&str) -> bool,
        labels_of: &impl Fn(SeriesId) -> Option<&'l Labels>,
        all: &mut RoaringBitmap,
    ) {
        if let Some(values) = self.names.get(name) {
            let wanted = values.iter(texts(name, labels_of)).filter(|(text, _)| wanted(text));
            wanted.for_each(|(_, ids)| ids.add_to(all));
        }
    }

    /// Series that have the label and meet the matcher.
    fn matching<'l>(&self, matcher: &Matcher, labels_of: &impl Fn(SeriesId) -> Option<&'l Labels>) -> RoaringBitmap {
        let mut found = RoaringBitmap::new();
        let name = &matcher.name;
        match (matcher.op, alternatives(matcher)) {
            (MatchOp::Eq, _) => {
                if let Some(ids) = self.ids(name, &matcher.value, labels_of) {
                    ids.add_to(&mut found);
                }
            }
            (MatchOp::Re, Some(values)) => {
                values
                    .iter()
                    .filter_map(|value| self.ids(name, value, labels_of))
                    .for_each(|ids| ids.add_to(&mut found));
            }
            _ => self.add_where(name, |value| matcher.matches(value), labels_of, &mut found),
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
            match self.ids(&matcher.name, &matcher.value, labels_of) {
                Some(ids) => ids.retain_in(&mut found),
                None => found.clear(),
            }
            return found;
        }
        if self.cheaper_by_labels(&found, &matcher.name) {
            return by_labels(&found, matcher, labels_of);
        }
        found & self.matching(matcher, labels_of)
    }

    fn subtract<'l>(
        &self,
        mut found: RoaringBitmap,
        matcher: &Matcher,
        labels_of: &impl Fn(SeriesId) -> Option<&'l Labels>,
    ) -> RoaringBitmap {
        if matcher.op == MatchOp::Ne {
            if let Some(ids) = self.ids(&matcher.name, &matcher.value, labels_of) {
                ids.remove_from(&mut found);
            }
            return found;
        }
        if self.cheaper_by_labels(&found, &matcher.name) {
            return by_labels(&found, matcher, labels_of);
        }
        let mut missed = RoaringBitmap::new();
        self.add_where(&matcher.name, |value| !matcher.matches(value), labels_of, &mut missed);
        found - missed
    }

    /// Whether the label has more values than there are series left to look at.
    fn cheaper_by_labels(&self, found: &RoaringBitmap, name: &str) -> bool {
        self.names
            .get(name)
            .is_some_and(|values| found.len() <= values.len() as u64)
    }

    /// Values of label `name` that a wanted series has, sorted.
    pub(crate) fn values<'l>(
        &self,
        name: &str,
        wanted: impl Fn(SeriesId) -> bool,
        labels_of: impl Fn(SeriesId) -> Option<&'l Labels>,
    ) -> Vec<&'l str> {
        let Some(values) = self.names.get(name) else {
            return Vec::new();
        };
        let values = values.iter(texts(name, &labels_of));
        let mut found: Vec<&str> = values
            .filter(|(_, ids)| ids.any(&wanted))
            .map(|(text, _)| text)
            .collect();
        found.sort_unstable();
        found
    }

    /// How many names of labels there are, or values of one.
    pub(crate) fn count(&self, name: Option<&str>) -> usize {
        match name {
            Some(name) => self.names.get(name).map_or(0, Values::len),
            None => self.names.len(),
        }
    }

    /// Names of labels that a wanted series has, sorted.
    pub(crate) fn names(&self, wanted: impl Fn(SeriesId) -> bool) -> Vec<String> {
        let names = self.names.iter().filter(|(_, values)| values.any(&wanted));
        let mut names: Vec<String> = names.map(|(name, _)| String::from(&**name)).collect();
        names.sort_unstable();
        names
    }

    /// Approximate bytes of memory.
    pub(crate) fn bytes(&self) -> u64 {
        self.names.values().map(|values| values.bytes() as u64).sum()
    }
}

/// The value that a series has of label `name`.
fn texts<'f, 'l>(
    name: &'f str,
    labels_of: &'f impl Fn(SeriesId) -> Option<&'l Labels>,
) -> impl Fn(u32) -> Option<&'l str> + Copy + 'f {
    move |id| labels_of(SeriesId(id))?.get(name)
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
