//! Exemplars: single observations behind a series, each with the trace that it belongs to. The latest are kept, in memory.

use std::collections::{HashMap, HashSet, VecDeque};

use parking_lot::Mutex;

use crate::series::{Labels, SeriesId, TimeRange};

#[cfg(test)]
mod tests;

/// How far back an exemplar is looked for that may have come before.
const REPEATS_MAX: usize = 256;

/// One observation behind a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Its own labels, such as `trace_id`.
    pub labels: Labels,
    /// Milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
    /// What was observed.
    pub value: f64,
}

/// The latest exemplars of a tenant: at `max`, the one that came first goes. They do not survive a restart, as in Prometheus.
#[derive(Debug)]
pub(crate) struct Exemplars {
    max: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    by_series: HashMap<SeriesId, VecDeque<Exemplar>>,
    /// The series of each exemplar in the order in which they came. Those of one series came in the order of its queue.
    order: VecDeque<SeriesId>,
}

impl Exemplars {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            kept: Mutex::default(),
        }
    }

    /// Keeps what is not older than the latest of its series; answers how many are kept by now, those known before among them.
    pub(crate) fn add(&self, new: Vec<(SeriesId, Exemplar)>) -> u64 {
        if new.is_empty() || self.max == 0 {
            return 0;
        }
        let mut kept = self.kept.lock();
        let mut taken = 0;
        for (id, exemplar) in new {
            let queue = kept.by_series.entry(id).or_default();
            // A batch that comes again has all of its exemplars among the latest.
            let mut not_older = queue
                .iter()
                .rev()
                .take_while(|known| known.at_ms >= exemplar.at_ms)
                .take(REPEATS_MAX);
            if not_older.any(|known| *known == exemplar) {
                taken += 1;
                continue;
            }
            if queue.back().is_some_and(|last| exemplar.at_ms < last.at_ms) {
                continue;
            }
            queue.push_back(exemplar);
            kept.order.push_back(id);
            taken += 1;
            if kept.order.len() > self.max {
                kept.drop_first();
            }
        }
        taken
    }

    /// Forgets those of `ids` within `range`.
    pub(crate) fn forget(&self, ids: &HashSet<SeriesId>, range: TimeRange) {
        let mut kept = self.kept.lock();
        let Kept { by_series, order } = &mut *kept;
        let mut places: HashMap<SeriesId, usize> = HashMap::new();
        order.retain(|id| {
            if !ids.contains(id) {
                return true;
            }
            let place = places.entry(*id).or_default();
            let exemplar = by_series.get(id).and_then(|queue| queue.get(*place));
            *place += 1;
            exemplar.is_some_and(|exemplar| !range.contains(exemplar.at_ms))
        });
        for id in ids {
            if let Some(queue) = by_series.get_mut(id) {
                queue.retain(|exemplar| !range.contains(exemplar.at_ms));
                if queue.is_empty() {
                    by_series.remove(id);
                }
            }
        }
    }

    /// Those of `ids` within `range`, series by series in the order of `ids`; series without any are left out.
    pub(crate) fn of(&self, ids: &[SeriesId], range: TimeRange) -> Vec<(SeriesId, Vec<Exemplar>)> {
        let kept = self.kept.lock();
        let found = ids.iter().filter_map(|id| {
            let within: Vec<Exemplar> = kept
                .by_series
                .get(id)?
                .iter()
                .filter(|e| range.contains(e.at_ms))
                .cloned()
                .collect();
            (!within.is_empty()).then_some((*id, within))
        });
        found.collect()
    }
}

impl Kept {
    fn drop_first(&mut self) {
        let Some(id) = self.order.pop_front() else { return };
        if let Some(queue) = self.by_series.get_mut(&id) {
            queue.pop_front();
            if queue.is_empty() {
                self.by_series.remove(&id);
            }
        }
    }
}
