//! Warnings and infos that go with an answer, in Prometheus' words.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use super::text::Place;

/// Texts of one kind that an answer shows.
const SHOWN_MAX: usize = 10;

/// Texts of one query that are told apart; more would only be counted.
const DISTINCT_MAX: usize = 20_000;

#[derive(Debug, Default)]
pub(super) struct Notes {
    warnings: Mutex<BTreeSet<String>>,
    infos: Mutex<BTreeSet<String>>,
}

impl Notes {
    /// Warnings and infos, each cut off as Prometheus' API does.
    pub(super) fn into_texts(self) -> (Vec<String>, Vec<String>) {
        (
            shortened(self.warnings.into_inner(), "warning"),
            shortened(self.infos.into_inner(), "info"),
        )
    }

    pub(super) fn quantile(&self, q: f64, place: Option<Place>) {
        self.warn(
            format!(
                "quantile value should be between 0 and 1, got {}",
                super::number::general(q)
            ),
            place,
        );
    }

    pub(super) fn ratio(&self, ratio: f64, capped: f64, place: Option<Place>) {
        let (ratio, capped) = (super::number::general(ratio), super::number::general(capped));
        self.warn(
            format!("ratio value should be between -1 and 1, got {ratio}, capping to {capped}"),
            place,
        );
    }

    pub(super) fn bad_bucket(&self, metric: &str, le: &str, place: Option<Place>) {
        self.warn(
            format!("bucket label \"le\" is missing or has a malformed value of {le:?} for metric name {metric:?}"),
            place,
        );
    }

    pub(super) fn not_a_counter(&self, metric: &str, place: Option<Place>) {
        self.inform(
            format!("metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {metric:?}"),
            place,
        );
    }

    pub(super) fn forced_monotonic(&self, metric: &str, place: Option<Place>) {
        self.inform(
            format!(
                "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for metric name {metric:?}"
            ),
            place,
        );
    }

    fn warn(&self, text: String, place: Option<Place>) {
        insert(&self.warnings, written("PromQL warning", &text, place));
    }

    fn inform(&self, text: String, place: Option<Place>) {
        insert(&self.infos, written("PromQL info", &text, place));
    }
}

fn insert(texts: &Mutex<BTreeSet<String>>, text: String) {
    let mut texts = texts.lock();
    if texts.len() < DISTINCT_MAX {
        texts.insert(text);
    }
}

fn shortened(texts: BTreeSet<String>, kind: &str) -> Vec<String> {
    let more = texts.len().saturating_sub(SHOWN_MAX);
    let mut shown: Vec<String> = texts.into_iter().take(SHOWN_MAX).collect();
    if more > 0 {
        shown.push(format!("{more} more {kind} annotations omitted"));
    }
    shown
}

fn written(kind: &str, text: &str, place: Option<Place>) -> String {
    place.map_or_else(
        || format!("{kind}: {text}"),
        |place| format!("{kind}: {text} ({place})"),
    )
}
