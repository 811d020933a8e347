//! What is stored, with what the rules of a replay would have written in the place of what was written.

use std::collections::HashMap;
use std::sync::Arc;

use store::promql::{Source, SourceError};
use store::{Histogram, Histograms, Labels, Matcher, Samples, SeriesId, TimeRange};

use crate::rule::made::Made;
use crate::rule::sheet::Sheet;

/// Series of the sheet have this bit; stored ones are numbered from 0 and never get that far.
const OF_SHEET: u32 = 1 << 31;

/// Stored series, and from the first evaluation on those of the replay instead of the stored ones of the same rules.
pub(super) struct History<'a> {
    stored: &'a dyn Source,
    sheet: Sheet,
    made: Made,
    /// Stored series that go before series of the sheet, by the sheet's number.
    before: HashMap<u32, SeriesId>,
    from_ms: i64,
    until_ms: i64,
    samples: usize,
}

impl<'a> History<'a> {
    pub(super) fn new(stored: &'a dyn Source, made: Made, from_ms: i64) -> Self {
        Self {
            stored,
            sheet: Sheet::default(),
            made,
            before: HashMap::new(),
            from_ms,
            until_ms: i64::MAX,
            samples: 0,
        }
    }

    /// Nothing after `until_ms` is seen, as nobody saw it then.
    pub(super) fn see_until(&mut self, until_ms: i64) {
        self.until_ms = until_ms;
        self.sheet.see_until(until_ms);
    }

    /// Samples that the replay has written.
    pub(super) fn written(&self) -> usize {
        self.samples
    }

    /// Writes what a rule yielded.
    ///
    /// # Errors
    /// What keeps the store from being read, or the sample from being taken.
    pub(super) fn add(
        &mut self,
        labels: &Labels,
        at_ms: i64,
        value: f64,
        histogram: Option<&Arc<Histogram>>,
    ) -> Result<(), String> {
        if self.sheet.number(labels).is_none() {
            let stored = self.stored_twin(labels).map_err(|error| error.to_string())?;
            let number = self.sheet.number_or_new(labels);
            self.before.extend(stored.map(|id| (number, id)));
        }
        self.samples += 1;
        self.sheet.add(labels, at_ms, value, histogram)
    }

    fn stored_twin(&self, labels: &Labels) -> Result<Option<SeriesId>, SourceError> {
        let matchers: Vec<Matcher> = labels.iter().map(|(name, value)| Matcher::eq(name, value)).collect();
        let found = self.stored.select(&matchers, TimeRange::ALL)?;
        Ok(found.into_iter().find(|id| self.stored.labels(*id) == *labels))
    }

    /// What is read of a stored series: of one that the replay writes itself, only what lies before it.
    fn stored_range(&self, range: TimeRange, is_made: bool) -> Option<TimeRange> {
        let end_ms = if is_made {
            self.until_ms.min(self.from_ms - 1)
        } else {
            self.until_ms
        };
        let end_ms = range.end.0.min(end_ms);
        (range.start.0 <= end_ms).then(|| TimeRange::millis(range.start.0, end_ms))
    }

    /// The stored part of a series and what is read of it, and its number in the sheet.
    fn parts(&self, id: SeriesId, range: TimeRange) -> (Option<(SeriesId, TimeRange)>, Option<SeriesId>) {
        if id.0 & OF_SHEET == 0 {
            let is_made = !self.made.is_empty();
            let is_made = is_made && self.made.has(&self.stored.labels(id));
            return (self.stored_range(range, is_made).map(|range| (id, range)), None);
        }
        let number = id.0 & !OF_SHEET;
        let stored = self.before.get(&number);
        let stored = stored.and_then(|id| Some((*id, self.stored_range(range, true)?)));
        (stored, Some(SeriesId(number)))
    }
}

impl Source for History<'_> {
    fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<SeriesId>, SourceError> {
        let mut found = self.stored.select(matchers, range)?;
        if !self.made.may_meet(matchers) {
            return Ok(found);
        }
        found.retain(|id| self.sheet.number(&self.stored.labels(*id)).is_none());
        let own = self.sheet.select(matchers, range)?;
        found.extend(own.into_iter().map(|id| SeriesId(id.0 | OF_SHEET)));
        found.sort_by_cached_key(|id| self.labels(*id));
        Ok(found)
    }

    fn labels(&self, id: SeriesId) -> Labels {
        if id.0 & OF_SHEET == 0 {
            self.stored.labels(id)
        } else {
            self.sheet.labels(SeriesId(id.0 & !OF_SHEET))
        }
    }

    fn read(&self, id: SeriesId, range: TimeRange, out: &mut Samples) -> Result<(), SourceError> {
        let (stored, own) = self.parts(id, range);
        if let Some((id, range)) = stored {
            self.stored.read(id, range, out)?;
        }
        own.map_or(Ok(()), |id| self.sheet.read(id, range, out))
    }

    fn has_histograms(&self, id: SeriesId) -> bool {
        let (stored, own) = self.parts(id, TimeRange::ALL);
        stored.is_some_and(|(id, _)| self.stored.has_histograms(id))
            || own.is_some_and(|id| self.sheet.has_histograms(id))
    }

    fn read_histograms(&self, id: SeriesId, range: TimeRange, out: &mut Histograms) -> Result<(), SourceError> {
        let (stored, own) = self.parts(id, range);
        if let Some((id, range)) = stored {
            self.stored.read_histograms(id, range, out)?;
        }
        // Those of the sheet begin where the stored ones end, so that they only have to be appended.
        own.map_or(Ok(()), |id| self.sheet.read_histograms(id, range, out))
    }
}
