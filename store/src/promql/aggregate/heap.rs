//! A binary heap with the exact moves of Go's `container/heap`: which of several equal values remains depends on them.

/// Elements, the one that goes first at the front.
#[derive(Debug)]
pub(super) struct Heap<T, F> {
    items: Vec<T>,
    less: F,
}

impl<T, F: Fn(&T, &T) -> bool> Heap<T, F> {
    pub(super) fn new(less: F) -> Self {
        Self {
            items: Vec::new(),
            less,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn first(&self) -> Option<&T> {
        self.items.first()
    }

    pub(super) fn push(&mut self, item: T) {
        self.items.push(item);
        let mut at = self.items.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if !(self.less)(&self.items[at], &self.items[parent]) {
                break;
            }
            self.items.swap(at, parent);
            at = parent;
        }
    }

    pub(super) fn replace_first(&mut self, item: T) {
        self.items[0] = item;
        let mut at = 0;
        loop {
            let left = 2 * at + 1;
            if left >= self.items.len() {
                break;
            }
            let right = left + 1;
            let child = if right < self.items.len() && (self.less)(&self.items[right], &self.items[left]) {
                right
            } else {
                left
            };
            if !(self.less)(&self.items[child], &self.items[at]) {
                break;
            }
            self.items.swap(at, child);
            at = child;
        }
    }

    /// The elements from last to first.
    pub(super) fn into_descending(mut self) -> Vec<T> {
        let less = self.less;
        self.items.sort_by(|a, b| match (less(b, a), less(a, b)) {
            (true, false) => std::cmp::Ordering::Less,
            (false, true) => std::cmp::Ordering::Greater,
            _ => std::cmp::Ordering::Equal,
        });
        self.items
    }
}
