//! What rules yielded, on its way into the store. What cannot be written fails the rule that it is of, and nothing else.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use store::{Histogram, Labels, LabelsBuf, Store, StoreError};

use super::evaluation::Outcome;
use crate::problem::chain;

/// Series of several rules of a group: an append waits for the disk, so that there is one for many rules.
#[derive(Default)]
pub(super) struct Results {
    /// With the place of the rule in its group.
    series: Vec<(usize, Labels, f64)>,
    histograms: HashMap<Labels, Arc<Histogram>>,
    lost: BTreeMap<usize, Lost>,
}

/// Series of a rule that could not be written.
#[derive(Debug, Default)]
pub(super) struct Lost {
    pub(super) series: HashSet<Labels>,
    why: String,
}

impl Lost {
    /// What the rule's health is to say, where anything was lost.
    pub(super) fn problem(&self) -> Option<String> {
        let series = self.series.len();
        (series > 0).then(|| format!("{series} of its series cannot be written: {}", self.why))
    }
}

impl Results {
    /// Adds what the rule at `place` yielded.
    pub(super) fn add(&mut self, place: usize, outcome: &Outcome) {
        let series = outcome.series.iter();
        self.series
            .extend(series.map(|(labels, value)| (place, labels.clone(), *value)));
        let histograms = outcome.histograms.iter();
        self.histograms
            .extend(histograms.map(|(labels, histogram)| (labels.clone(), Arc::clone(histogram))));
    }

    /// How many series wait to be written.
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    /// What the rule at `place` lost since it was last asked for.
    pub(super) fn lost(&mut self, place: usize) -> Lost {
        self.lost.remove(&place).unwrap_or_default()
    }

    /// Writes what waits. A series that the store does not take is lost alone; where it takes none, all of them are.
    pub(super) fn write(&mut self, store: &Store, at_ms: i64) {
        let series = std::mem::take(&mut self.series);
        let histograms = std::mem::take(&mut self.histograms);
        if series.is_empty() {
            return;
        }
        let mut batch = store.batch();
        let mut buffer = LabelsBuf::default();
        for (place, labels, value) in &series {
            buffer.clear();
            for (name, text) in labels {
                buffer.push(name, text);
            }
            let id = match batch.series(&mut buffer) {
                Ok(id) => id,
                // It was never written either, so that there is nothing to end.
                Err(_) if store::is_stale(*value) => continue,
                Err(error) => {
                    self.lose(*place, labels, &error);
                    continue;
                }
            };
            match histograms.get(labels) {
                Some(histogram) => {
                    if let Err(error) = batch.push_histogram(id, at_ms, Histogram::clone(histogram)) {
                        // Less than nothing in a bucket, as a difference of two histograms may have.
                        tracing::warn!(%labels, %error, "result of a rule cannot be stored");
                    }
                }
                None => batch.push(id, at_ms, *value),
            }
        }
        if batch.is_empty() {
            return;
        }
        match store.append(batch) {
            Ok(appended) => {
                for refused in &appended.refused {
                    tracing::warn!(reason = ?refused.reason, count = refused.count, example = refused.example, "results of rules refused");
                }
            }
            Err(error) => {
                for (place, labels, _) in &series {
                    self.lose(*place, labels, &error);
                }
            }
        }
    }

    fn lose(&mut self, place: usize, labels: &Labels, error: &StoreError) {
        let lost = self.lost.entry(place).or_default();
        if lost.series.is_empty() {
            lost.why = chain(error);
            if let Some(hint) = error.hint() {
                lost.why += "; ";
                lost.why += hint;
            }
        }
        lost.series.insert(labels.clone());
    }
}
