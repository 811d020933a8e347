//! Warnings and infos that go with an answer, in Prometheus' words.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

use super::algebra::Mismatch;
use super::text::Place;

/// Texts of one kind that an answer shows.
const SHOWN_MAX: usize = 10;

/// Texts of one query that are told apart; more would only be counted.
const DISTINCT_MAX: usize = 20_000;

#[derive(Debug, Default)]
pub(super) struct Notes {
    // As in Prometheus one text is told once, of the last place that has cause for it.
    warnings: Mutex<BTreeMap<String, Option<Place>>>,
    infos: Mutex<BTreeMap<String, Option<Place>>>,
}

impl Notes {
    /// Warnings and infos, each cut off as Prometheus' API does.
    pub(super) fn into_texts(self) -> (Vec<String>, Vec<String>) {
        (
            shortened(written(self.warnings.into_inner(), "PromQL warning"), "warning"),
            shortened(written(self.infos.into_inner(), "PromQL info"), "info"),
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

    pub(super) fn rolled_up(&self, resolution_ms: i64) {
        let minutes = resolution_ms / 60_000;
        self.inform(
            format!("samples of a part of this time are gone, rollups of {minutes} min tell of it"),
            None,
        );
    }

    pub(super) fn mixed_samples(&self, metric: &str, place: Option<Place>) {
        self.warn(
            format!("encountered a mix of histograms and floats for metric name {metric:?}"),
            place,
        );
    }

    pub(super) fn mixed_aggregation(&self, place: Option<Place>) {
        self.warn(
            "encountered a mix of histograms and floats for aggregation".to_owned(),
            place,
        );
    }

    pub(super) fn mixed_classic(&self, metric: &str, place: Option<Place>) {
        self.warn(
            format!("vector contains a mix of classic and native histograms for metric name {metric:?}"),
            place,
        );
    }

    pub(super) fn histogram_no_counter(&self, metric: &str, place: Option<Place>) {
        self.warn(
            format!("this native histogram metric is not a counter: {metric:?}"),
            place,
        );
    }

    pub(super) fn histogram_no_gauge(&self, metric: &str, place: Option<Place>) {
        self.warn(
            format!("this native histogram metric is not a gauge: {metric:?}"),
            place,
        );
    }

    pub(super) fn mismatch(&self, mismatch: Mismatch, metric: &str, place: Option<Place>) {
        let what = match mismatch {
            Mismatch::Schemas => "a mix of histograms with exponential and custom buckets schemas",
            Mismatch::Bounds => "histograms with incompatible custom buckets",
        };
        self.warn(format!("vector contains {what} for metric name {metric:?}"), place);
    }

    pub(super) fn incompatible_layout(&self, operator: &str, place: Option<Place>) {
        self.warn(
            format!("incompatible bucket layout encountered for binary operator {operator}"),
            place,
        );
    }

    pub(super) fn incompatible_types(&self, left: &str, operator: &str, right: &str, place: Option<Place>) {
        self.inform(
            format!(
                "incompatible sample types encountered for binary operator {operator:?}: {left} {operator} {right}"
            ),
            place,
        );
    }

    pub(super) fn ignored_in_aggregation(&self, aggregation: &str, place: Option<Place>) {
        self.inform(format!("ignored histogram in {aggregation} aggregation"), place);
    }

    pub(super) fn ignored_in_range(&self, metric: &str, place: Option<Place>) {
        self.inform(
            format!("ignored histograms in a range containing both floats and histograms for metric name {metric:?}"),
            place,
        );
    }

    pub(super) fn nan_observations(&self, what: &str, metric: &str, place: Option<Place>) {
        self.inform(format!("input to {what} for metric name {metric:?}"), place);
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
        insert(&self.warnings, text, place);
    }

    fn inform(&self, text: String, place: Option<Place>) {
        insert(&self.infos, text, place);
    }
}

fn insert(texts: &Mutex<BTreeMap<String, Option<Place>>>, text: String, place: Option<Place>) {
    let mut texts = texts.lock();
    if let Some(told) = texts.get_mut(&text) {
        *told = (*told).max(place);
    } else if texts.len() < DISTINCT_MAX {
        texts.insert(text, place);
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

fn written(texts: BTreeMap<String, Option<Place>>, kind: &str) -> BTreeSet<String> {
    let written = texts.into_iter().map(|(text, place)| match place {
        Some(place) => format!("{kind}: {text} ({place})"),
        None => format!("{kind}: {text}"),
    });
    written.collect()
}
