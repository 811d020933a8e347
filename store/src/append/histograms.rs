//! Histograms on their way in: beside the samples that are plain numbers, in the same batch, record by record as durable.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Batch, Buffers, RefuseReason, Refused};
use crate::head::{Epochs, HistogramSample};
use crate::histogram::{Histogram, HistogramError};
use crate::series::SeriesId;
use crate::store::Shared;

impl Batch {
    /// Adds a histogram of a series that [`Batch::series`] gave out. A series may have numbers at some times and histograms at
    /// others; where it has both at one time, the histogram counts.
    ///
    /// # Errors
    /// [`HistogramError`] where it contradicts itself; the batch is then as it was.
    pub fn push_histogram(&mut self, id: SeriesId, t_ms: i64, value: Histogram) -> Result<(), HistogramError> {
        self.samples.push_histogram(id, t_ms, value.checked()?);
        Ok(())
    }
}

impl Buffers {
    pub(crate) fn push_histogram(&mut self, id: SeriesId, at_ms: i64, value: Histogram) {
        self.histograms.push(HistogramSample {
            id,
            at_ms,
            value: Arc::new(value),
        });
    }
}

impl Shared {
    /// Takes out the histograms that are refused, as `judge` does with numbers.
    pub(super) fn judge_histograms(&self, samples: &mut Vec<HistogramSample>, now: i64, refused: &mut Vec<Refused>) {
        let latest = now.saturating_add(self.options.max_future_ms);
        let window = self.options.out_of_order_window_ms;
        let border = self.taken_after_ms.load(Ordering::SeqCst);
        samples.retain(|sample| {
            let (id, at) = (sample.id, sample.at_ms);
            let Some(entry) = self.table.entry(id) else {
                return false;
            };
            let mut newest = entry.newest_at_most();
            if at < newest.saturating_sub(window) && entry.is_estimated() {
                entry.settle(self.newest_in_parts(id, entry));
                newest = entry.newest_at_most();
            }
            let (reason, beside) = if at > latest {
                (RefuseReason::TooFarAhead, format!("server's clock {now} ms"))
            } else if at <= border && border > i64::MIN {
                (
                    RefuseReason::RolledUp,
                    format!("samples up to {border} ms are rolled up"),
                )
            } else if at < newest.saturating_sub(window) {
                (RefuseReason::TooOld, format!("newest sample {newest} ms"))
            } else {
                entry.widen(at);
                return true;
            };
            match refused.iter_mut().find(|r| r.reason == reason) {
                Some(refused) => refused.count += 1,
                None => refused.push(Refused {
                    reason,
                    count: 1,
                    example: format!("{} at {at} ms, {beside}", entry.labels()),
                }),
            }
            false
        });
    }

    /// Makes histograms visible.
    pub(super) fn apply_histograms(&self, samples: &[HistogramSample]) {
        if samples.is_empty() {
            return;
        }
        let mut gate = self.gate.lock();
        gate.changed(samples.iter().map(|sample| sample.at_ms).min().unwrap_or(i64::MAX));
        let epochs: Epochs = self.epochs(&gate);
        gate.view.active.append_histograms(samples, &epochs);
    }
}
