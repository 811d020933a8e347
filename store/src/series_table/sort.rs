//! Series in the order of their labels, many at a time: eight characters of each at once, rather than whole labels two by two.
//!
//! To compare the labels of two series is to fetch both from memory, and most of what is fetched says the same: metrics of one
//! name differ late. Here those that are alike so far are a group; its members are sorted by the next eight characters after
//! what all of them share, which lie side by side while that is done.

use super::Labels;

/// A group of so few is sorted by comparing their labels.
const FEW: usize = 12;

/// Characters that a window holds.
const WINDOW: usize = 8;

/// One series: the characters that tell it from others of its group, and its number.
#[derive(Clone, Copy)]
struct Item {
    window: u64,
    id: u32,
}

/// How far the labels of a group are alike: up to byte `done` of the text whose length stands at byte `text`. All that stands
/// before is the same bytes in each of them.
#[derive(Clone, Copy, Default)]
struct Place {
    text: usize,
    done: usize,
}

impl Place {
    /// What is left of the text here; `None` where the labels end.
    fn rest(self, canonical: &[u8]) -> Option<&[u8]> {
        let (length, tail) = canonical.get(self.text..)?.split_first_chunk::<2>()?;
        tail.get(self.done..usize::from(u16::from_le_bytes(*length)))
    }

    fn next_text(self, rest: &[u8]) -> Self {
        Self {
            text: self.text + 2 + self.done + rest.len(),
            done: 0,
        }
    }

    /// The next characters as a number that sorts as they do, and the place after them. A byte is one more than it was, as no
    /// UTF-8 has the highest, so that zero is the end of a text, which comes before all that goes on, or of the labels.
    fn window(mut self, canonical: &[u8]) -> (u64, Self) {
        let (mut window, mut free) = (0_u64, WINDOW);
        while free > 0 {
            let Some(rest) = self.rest(canonical) else { break };
            let taken = rest.len().min(free);
            for byte in &rest[..taken] {
                window = window << 8 | (u64::from(*byte) + 1);
            }
            free -= taken;
            if free == 0 {
                self.done += taken;
                return (window, self);
            }
            window <<= 8;
            free -= 1;
            self = self.next_text(rest);
        }
        (window.checked_shl(8 * free as u32).unwrap_or(0), self)
    }

    /// The furthest place up to which `alike` bytes of these labels lie before it.
    fn advance(mut self, canonical: &[u8], alike: usize) -> Self {
        while let Some(rest) = self.rest(canonical) {
            let next = self.next_text(rest);
            if next.text > alike {
                self.done = self.done.max(alike.saturating_sub(self.text + 2));
                return self;
            }
            self = next;
        }
        self
    }
}

/// Sorts numbers of series by their labels, as [`Labels`] compare.
pub(super) fn by_labels<'l>(ids: &mut [u32], labels: impl Fn(u32) -> Option<&'l Labels>) {
    let canonical = |id: u32| labels(id).map_or(&[][..], Labels::as_bytes);
    let mut items: Vec<Item> = ids.iter().map(|&id| Item { window: 0, id }).collect();
    // Groups rather than calls, as labels may be alike for 65,535 characters.
    let mut groups = vec![(0..items.len(), Place::default())];
    while let Some((range, place)) = groups.pop() {
        let items = &mut items[range.clone()];
        if items.len() <= FEW {
            items.sort_unstable_by(|a, b| labels(a.id).cmp(&labels(b.id)));
            continue;
        }
        let first = canonical(items[0].id);
        let mut alike = first.len();
        for item in &items[1..] {
            let other = canonical(item.id);
            let compared = place.text.min(alike);
            let common = first[compared..alike]
                .iter()
                .zip(other.get(compared..).unwrap_or_default());
            alike = compared + common.take_while(|(a, b)| a == b).count();
        }
        let place = place.advance(first, alike);
        for item in &mut *items {
            item.window = place.window(canonical(item.id)).0;
        }
        items.sort_unstable_by_key(|item| item.window);
        let mut start = range.start;
        for group in items.chunk_by(|a, b| a.window == b.window) {
            let bytes = canonical(group[0].id);
            let (_, next) = place.window(bytes);
            let end = start + group.len();
            if group.len() > 1 && next.rest(bytes).is_some() {
                groups.push((start..end, next));
            }
            start = end;
        }
    }
    for (id, item) in ids.iter_mut().zip(items) {
        *id = item.id;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted_alike(labels: &[Labels]) {
        let labels_of = |id: u32| labels.get(id as usize);
        let mut ids: Vec<u32> = (0..labels.len() as u32).rev().collect();
        by_labels(&mut ids, labels_of);
        let mut expected: Vec<u32> = (0..labels.len() as u32).collect();
        expected.sort_by(|a, b| labels_of(*a).cmp(&labels_of(*b)));
        let texts = |ids: &[u32]| {
            ids.iter()
                .map(|id| labels[*id as usize].to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(texts(&ids), texts(&expected));
        let mut every = ids;
        every.sort_unstable();
        assert!(
            every.into_iter().eq(0..labels.len() as u32),
            "each number is there once"
        );
    }

    #[test]
    fn many_metrics_of_many_hosts() {
        let labels: Vec<Labels> = (0..5_000)
            .map(|i| {
                let (metric, host, pod) = (
                    format!("app_metric_{}", i % 37),
                    format!("h{}", i % 101),
                    format!("pod-{:06}", i * 7919 % 5_000),
                );
                Labels::from_pairs([("__name__", &*metric), ("host", &host), ("pod", &pod)])
            })
            .collect();
        sorted_alike(&labels);
    }

    proptest::proptest! {
        /// Few letters, so that texts are often alike, each the start of the other, or cut at a window's end.
        #[test]
        fn any_labels(
            texts in proptest::collection::vec(
                proptest::collection::btree_map("[a\u{1}\u{7f}ü]{1,10}", "[\0ab\u{10ffff}]{1,20}", 0..4),
                0..120,
            ),
        ) {
            let labels: Vec<Labels> = texts
                .iter()
                .map(|pairs| Labels::from_pairs(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))))
                .collect();
            sorted_alike(&labels);
        }
    }

    #[test]
    fn one_long_text_and_its_end() {
        let long = "x".repeat(65_535);
        let labels: Vec<Labels> = (0..40)
            .map(|i| Labels::from_pairs([("a", &long[i..]), ("b", &long[..(i * 3) % 17 + 1])]))
            .collect();
        sorted_alike(&labels);
    }
}
