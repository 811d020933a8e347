//! A set of WAL segments.

use serde::{Deserialize, Serialize};

/// Numbers of WAL segments: ascending ranges, each from its first number to below its second, that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Segments(Vec<(u64, u64)>);

impl Segments {
    /// Those from `from` on and below `end`.
    pub(crate) fn range(from: u64, end: u64) -> Self {
        Self(vec![(from, end)])
    }

    /// The number after the last one.
    pub(super) fn end(&self) -> u64 {
        self.0.last().map_or(0, |(_, end)| *end)
    }

    /// Whether both have one in common.
    pub(super) fn overlap(&self, other: &Self) -> bool {
        let meet = |(from, end): &(u64, u64)| other.0.iter().any(|(f, e)| from < e && f < end);
        self.0.iter().any(meet)
    }

    /// Those of both.
    pub(super) fn union(&self, other: &Self) -> Self {
        let mut all = [self.0.as_slice(), &other.0].concat();
        all.sort_unstable();
        let mut union: Vec<(u64, u64)> = Vec::with_capacity(all.len());
        for (from, end) in all {
            match union.last_mut() {
                Some((_, last)) if from <= *last => *last = end.max(*last),
                _ => union.push((from, end)),
            }
        }
        Self(union)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one_and_gaps_stay() {
        let check = |a: &[(u64, u64)], b: &[(u64, u64)], union: &[(u64, u64)], overlap: bool| {
            let (a, b) = (Segments(a.to_vec()), Segments(b.to_vec()));
            assert_eq!(a.union(&b).0, union, "{a:?} and {b:?}");
            assert_eq!((a.overlap(&b), b.overlap(&a)), (overlap, overlap), "{a:?} and {b:?}");
        };
        check(&[(0, 5)], &[(5, 9)], &[(0, 9)], false);
        check(&[(0, 5)], &[(4, 9)], &[(0, 9)], true);
        check(&[(0, 5), (9, 12)], &[(5, 9)], &[(0, 12)], false);
        check(&[(0, 5)], &[(7, 9)], &[(0, 5), (7, 9)], false);
        check(&[(0, 9)], &[(2, 3)], &[(0, 9)], true);
        check(&[], &[(2, 3)], &[(2, 3)], false);
        assert_eq!((Segments::range(3, 7).end(), Segments::default().end()), (7, 0));
    }
}
