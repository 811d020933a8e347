//! The instants at which an expression is evaluated.

/// `count` instants from `start_ms`, `step_ms` apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) start_ms: i64,
    pub(super) step_ms: i64,
    pub(super) count: usize,
}

impl Grid {
    pub(super) fn instant(at_ms: i64) -> Self {
        Self {
            start_ms: at_ms,
            step_ms: 1,
            count: 1,
        }
    }

    /// From `start_ms` to at most `end_ms`; empty where the end comes first.
    pub(super) fn range(start_ms: i64, end_ms: i64, step_ms: i64) -> Self {
        let step_ms = step_ms.max(1);
        let count = if end_ms < start_ms {
            0
        } else {
            (end_ms.saturating_sub(start_ms) / step_ms) as usize + 1
        };
        Self {
            start_ms,
            step_ms,
            count,
        }
    }

    pub(super) fn at(&self, step: usize) -> i64 {
        self.start_ms + self.step_ms * step as i64
    }

    pub(super) fn end_ms(&self) -> i64 {
        self.at(self.count.saturating_sub(1))
    }

    /// Whether this is one instant, where the order of series is kept.
    pub(super) fn is_instant(&self) -> bool {
        self.count == 1
    }

    pub(super) fn times(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.count).map(|step| self.at(step))
    }
}
