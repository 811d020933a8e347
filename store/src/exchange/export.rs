//! Samples of a store, out of it.

use std::collections::HashSet;

use super::{ExchangeError, Sink};
use crate::reader::Snapshot;
use crate::series::{LabelsBuf, Matcher, Samples, SeriesId, TimeRange};

/// A series is read and handed on so much time at a time, so that years of it need not fit into memory.
const STRETCH_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// Which samples are exported.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Series that meet all matchers of any of these; without any, all series.
    pub sets: Vec<Vec<Matcher>>,
    /// Which of their samples.
    pub range: TimeRange,
}

/// How much was exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Series that have samples in the range.
    pub series: u64,
    /// Their samples.
    pub samples: u64,
    /// Series whose native histograms were left out: no format here holds any.
    pub histogram_series: u64,
}

/// Hands the samples of a snapshot to `sink`, series by series in the order of their labels, each ascending in time.
///
/// `progress` hears of the series that were done and of all there are, and ends the export by answering `false`.
///
/// # Errors
/// When a part cannot be read or the sink fails.
pub fn export(
    snapshot: &Snapshot,
    selection: &Selection,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Exported, ExchangeError> {
    let mut exported = Exported::default();
    let Some(range) = snapshot.time_range().and_then(|all| intersection(all, selection.range)) else {
        return Ok(exported);
    };
    let ids = select(snapshot, &selection.sets, range)?;
    let mut labels = LabelsBuf::default();
    let mut samples = Samples::default();
    for (done, &id) in (1_u64..).zip(&ids) {
        labels.clear();
        for (name, value) in &snapshot.labels(id) {
            labels.push(name, value);
        }
        let before = exported.samples;
        let mut start = range.start.0;
        loop {
            let end = range.end.0.min(start.saturating_add(STRETCH_MS - 1));
            samples.clear();
            snapshot.read(id, TimeRange::millis(start, end), &mut samples)?;
            if !samples.is_empty() {
                sink.series(&mut labels, &samples.timestamps, &samples.values)?;
                exported.samples += samples.len() as u64;
            }
            if end >= range.end.0 {
                break;
            }
            start = end + 1;
        }
        exported.series += u64::from(exported.samples > before);
        exported.histogram_series += u64::from(snapshot.has_histograms(id));
        if !progress(done, ids.len() as u64) {
            break;
        }
    }
    Ok(exported)
}

fn intersection(a: TimeRange, b: TimeRange) -> Option<TimeRange> {
    let (start, end) = (a.start.max(b.start), a.end.min(b.end));
    (start <= end).then_some(TimeRange { start, end })
}

/// The series of all sets, each once.
fn select(snapshot: &Snapshot, sets: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<SeriesId>, ExchangeError> {
    match sets {
        [] => Ok(snapshot.select(&[], range)?),
        [one] => Ok(snapshot.select(one, range)?),
        several => {
            let mut wanted = HashSet::new();
            for set in several {
                wanted.extend(snapshot.select(set, range)?);
            }
            let all = snapshot.select(&[], range)?;
            Ok(all.into_iter().filter(|id| wanted.contains(id)).collect())
        }
    }
}
