//! Records of histograms.
//!
//! ```text
//! count, then for each: distance of the series' number from the one before (signed, the first from 0) | distance of the timestamp
//! from the one before (signed, the first from 0) | row (`histogram::row`), whose frame is that of the row before in the record
//! ```

use super::{Decoder, Encoder, KIND_HISTOGRAMS, Sink, context, frame, put_signed, take_signed};
use crate::head::HistogramSample;
use crate::histogram::row::{self, Frame};
use crate::series::SeriesId;

/// A record ends once it is longer: far below what the reader takes.
const RECORD_BYTES: usize = 4 << 20;

impl Encoder {
    /// Appends records of histograms, and before them records of the series that the segment does not define yet.
    pub(crate) fn histograms<'l>(
        &mut self,
        samples: &[HistogramSample],
        labels_of: impl Fn(SeriesId) -> &'l [u8],
        out: &mut Vec<u8>,
    ) {
        let ids: Vec<SeriesId> = samples.iter().map(|s| s.id).collect();
        self.define(&ids, &labels_of, out);
        let mut rest = samples;
        while !rest.is_empty() {
            self.payload.clear();
            let (mut number, mut at, mut row_frame, mut count) = (0, 0, Frame::default(), 0);
            for sample in rest {
                let own = i64::from(context(&mut self.contexts, sample.id).number);
                put_signed(&mut self.payload, own - number);
                put_signed(&mut self.payload, sample.at_ms.wrapping_sub(at));
                row::put(&mut self.payload, &sample.value, &mut row_frame);
                (number, at) = (own, sample.at_ms);
                count += 1;
                if self.payload.len() > RECORD_BYTES {
                    break;
                }
            }
            frame(out, KIND_HISTOGRAMS, count as u64, &self.payload, &[]);
            rest = &rest[count..];
        }
    }
}

impl Decoder {
    pub(super) fn histograms(&mut self, count: u64, mut rest: &[u8], sink: &mut impl Sink) -> Option<()> {
        let (mut number, mut at, mut row_frame) = (0_i64, 0_i64, Frame::default());
        for _ in 0..count {
            number = number.checked_add(take_signed(&mut rest)?)?;
            at = at.wrapping_add(take_signed(&mut rest)?);
            let histogram = row::take(&mut rest, &mut row_frame)?;
            let series = self.series.get_mut(usize::try_from(number).ok()?)?;
            if series.id.is_none() {
                series.id = sink.series(&series.labels);
            }
            if let Some(id) = series.id {
                sink.histogram(id, at, histogram);
            }
        }
        if !rest.is_empty() {
            return None;
        }
        sink.end_of_batch();
        Some(())
    }
}
