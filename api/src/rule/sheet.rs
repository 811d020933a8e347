//! Series that grow while rules run over them: of a unit test, or what a replay would have recorded.

use std::collections::HashMap;
use std::sync::Arc;

use store::promql::{Source, SourceError};
use store::{Histogram, Histograms, Labels, Matcher, Samples, SeriesId, TimeRange};

/// Series in memory, seen up to a time that moves on.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    places: HashMap<Labels, u32>,
    series: Vec<Line>,
    until_ms: i64,
}

#[derive(Debug)]
struct Line {
    labels: Labels,
    samples: Samples,
    histograms: Histograms,
}

impl Sheet {
    /// What lies after `until_ms` is not seen.
    pub(super) fn see_until(&mut self, until_ms: i64) {
        self.until_ms = until_ms;
    }

    /// Sets a whole series; one of the same labels is replaced.
    pub(super) fn put(&mut self, labels: Labels, samples: Samples, histograms: Histograms) {
        let line = self.line(&labels);
        (line.samples, line.histograms) = (samples, histograms);
    }

    /// Adds what a rule yielded at `at_ms`.
    ///
    /// # Errors
    /// As in Prometheus' storage, another sample of that time that is there already, or one that is newer and can be seen.
    pub(super) fn add(
        &mut self,
        labels: &Labels,
        at_ms: i64,
        value: f64,
        histogram: Option<&Arc<Histogram>>,
    ) -> Result<(), String> {
        let until_ms = self.until_ms;
        let line = self.line(labels);
        let place_of = |timestamps: &[i64]| {
            let place = timestamps.partition_point(|t| *t < at_ms);
            let there = timestamps.get(place).filter(|t| **t <= until_ms.max(at_ms)).copied();
            (place, there)
        };
        let (place, number_there) = place_of(&line.samples.timestamps);
        let (histogram_place, histogram_there) = place_of(&line.histograms.timestamps);
        if let Some(there) = number_there.into_iter().chain(histogram_there).min() {
            let same_number = || number_there == Some(there) && line.samples.values[place].to_bits() == value.to_bits();
            let same_histogram = |own: &Arc<Histogram>| {
                histogram_there == Some(there) && line.histograms.values[histogram_place] == *own
            };
            let same = there == at_ms && histogram.map_or_else(same_number, same_histogram);
            return if same || (histogram.is_none() && store::is_stale(value)) {
                Ok(())
            } else {
                Err(format!(
                    "{labels} has another sample of the same time or of a later one"
                ))
            };
        }
        match histogram {
            Some(histogram) => {
                line.histograms.timestamps.insert(histogram_place, at_ms);
                line.histograms.values.insert(histogram_place, Arc::clone(histogram));
            }
            // A histogram that ends is marked by a histogram.
            None if store::is_stale(value) && !line.histograms.is_empty() && line.samples.timestamps.is_empty() => {
                line.histograms.timestamps.insert(histogram_place, at_ms);
                line.histograms
                    .values
                    .insert(histogram_place, Arc::new(Histogram::stale()));
            }
            None => {
                line.samples.timestamps.insert(place, at_ms);
                line.samples.values.insert(place, value);
            }
        }
        Ok(())
    }

    /// Which series has these labels.
    pub(super) fn number(&self, labels: &Labels) -> Option<u32> {
        self.places.get(labels).copied()
    }

    /// The same, and where there is none a new, empty one.
    pub(super) fn number_or_new(&mut self, labels: &Labels) -> u32 {
        match self.places.get(labels) {
            Some(place) => *place,
            None => {
                let place =
                    u32::try_from(self.series.len()).expect("four thousand million series do not fit into memory");
                self.places.insert(labels.clone(), place);
                self.series.push(Line {
                    labels: labels.clone(),
                    samples: Samples::default(),
                    histograms: Histograms::default(),
                });
                place
            }
        }
    }

    fn line(&mut self, labels: &Labels) -> &mut Line {
        let place = self.number_or_new(labels);
        &mut self.series[place as usize]
    }

    fn at(&self, id: SeriesId) -> &Line {
        &self.series[id.0 as usize]
    }
}

impl Source for Sheet {
    fn select(&self, matchers: &[Matcher], _range: TimeRange) -> Result<Vec<SeriesId>, SourceError> {
        let ids = (0..self.series.len() as u32).map(SeriesId);
        let mut found: Vec<SeriesId> = ids
            .filter(|id| {
                matchers
                    .iter()
                    .all(|matcher| matcher.matches_labels(&self.at(*id).labels))
            })
            .collect();
        found.sort_by(|a, b| self.at(*a).labels.cmp(&self.at(*b).labels));
        Ok(found)
    }

    fn labels(&self, id: SeriesId) -> Labels {
        self.at(id).labels.clone()
    }

    fn read(&self, id: SeriesId, range: TimeRange, out: &mut Samples) -> Result<(), SourceError> {
        let samples = &self.at(id).samples;
        let end_ms = range.end.0.min(self.until_ms);
        let start = samples.timestamps.partition_point(|t| *t < range.start.0);
        let end = samples.timestamps.partition_point(|t| *t <= end_ms);
        if start < end {
            out.timestamps.extend_from_slice(&samples.timestamps[start..end]);
            out.values.extend_from_slice(&samples.values[start..end]);
        }
        Ok(())
    }

    fn has_histograms(&self, id: SeriesId) -> bool {
        !self.at(id).histograms.is_empty()
    }

    fn read_histograms(&self, id: SeriesId, range: TimeRange, out: &mut Histograms) -> Result<(), SourceError> {
        let histograms = &self.at(id).histograms;
        let end_ms = range.end.0.min(self.until_ms);
        for (at_ms, value) in histograms
            .iter()
            .filter(|(at, _)| (range.start.0..=end_ms).contains(at))
        {
            out.push(at_ms, Arc::clone(value));
        }
        Ok(())
    }
}
