//! Where samples come from: a store's snapshot, or series held in memory.
//!
//! Everything that predicts reads through [`Telemetry`], and reads no further than the time it was given.

use std::collections::{BTreeSet, HashMap};

use store::promql::Versioned;
use store::{Labels, METRIC_NAME, MatchOp, Matcher, Samples, SeriesId, Snapshot, TimeRange, host_of, is_stale};

/// One series that can be read.
#[derive(Clone, Debug)]
pub struct SeriesRef {
    /// What [`Telemetry::read`] wants to know.
    pub id: SeriesId,
    /// What the series is.
    pub labels: Labels,
}

/// A source of samples. Two exist: a store's [`Snapshot`], and [`Memory`] for tables and tests.
pub trait Telemetry: Sync {
    /// Series that may have samples in `range`, without those that this system writes about others (scores, alerts).
    ///
    /// # Errors
    /// [`TelemetryError`] when the index cannot be read.
    fn series(&self, range: TimeRange) -> Result<Vec<SeriesRef>, TelemetryError>;

    /// Appends the samples of a series within `range` to `out`, in order of time.
    ///
    /// # Errors
    /// [`TelemetryError`] when samples cannot be read.
    fn read(&self, id: SeriesId, range: TimeRange, out: &mut Samples) -> Result<(), TelemetryError>;

    /// A number of this unchanging state, for [`Telemetry::deleted_since`]; later states have no smaller ones.
    fn version(&self) -> u64 {
        0
    }

    /// Whether samples of any age may have been deleted since the state `version`: what was read of it counts no more.
    fn deleted_since(&self, version: u64) -> bool {
        let _ = version;
        false
    }
}

/// Samples could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The list of series could not be read.
    #[error("cannot list the series between {} and {} ms", range.start.0, range.end.0)]
    List {
        /// Which time was asked for.
        range: TimeRange,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// One series could not be read.
    #[error("cannot read the samples of {series}")]
    Read {
        /// Which series.
        series: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The usual distance of samples in milliseconds: the median over some series near the end of `range`.
///
/// # Errors
/// [`TelemetryError`] when samples cannot be read.
pub fn sample_distance(telemetry: &dyn Telemetry, range: TimeRange) -> Result<Option<i64>, TelemetryError> {
    /// Series looked at, spread over all of them.
    const SERIES: usize = 40;
    /// Enough for a hundred samples at the slowest pace that makes sense.
    const SPAN_MS: i64 = 100 * 600_000;
    let series = telemetry.series(range)?;
    let mut samples = Samples::default();
    let mut distances = Vec::new();
    for s in series.iter().step_by((series.len() / SERIES).max(1)) {
        samples.clear();
        telemetry.read(
            s.id,
            TimeRange::millis((range.end.0 - SPAN_MS).max(range.start.0), range.end.0),
            &mut samples,
        )?;
        let mut steps: Vec<i64> = samples.timestamps.windows(2).map(|w| w[1] - w[0]).collect();
        steps.sort_unstable();
        distances.extend(steps.get(steps.len() / 2));
    }
    distances.sort_unstable();
    Ok(distances.get(distances.len() / 2).copied())
}

/// Whether a metric describes the world; scores and alerts describe our opinion of it and are never learned from.
pub(crate) fn is_observation(metric: &str) -> bool {
    let ours = metric.starts_with("foreshock_") && !metric.starts_with("foreshock_agent_");
    !(ours
        || metric.is_empty()
        || metric.starts_with("ALERTS")
        || metric == "target_info"
        || metric.ends_with("_bucket"))
}

impl Telemetry for Snapshot {
    fn series(&self, range: TimeRange) -> Result<Vec<SeriesRef>, TelemetryError> {
        let list = |source| TelemetryError::List { range, source };
        let any = Matcher::new(MatchOp::Ne, METRIC_NAME, "").map_err(|e| list(e.into()))?;
        let ids = self.select(&[any], range).map_err(|e| list(e.into()))?;
        Ok(ids
            .into_iter()
            .map(|id| SeriesRef {
                id,
                labels: self.labels(id),
            })
            .filter(|s| is_observation(s.labels.metric()))
            .collect())
    }

    fn read(&self, id: SeriesId, range: TimeRange, out: &mut Samples) -> Result<(), TelemetryError> {
        Snapshot::read(self, id, range, out).map_err(|e| TelemetryError::Read {
            series: self.labels(id).to_string(),
            source: e.into(),
        })
    }

    fn version(&self) -> u64 {
        Versioned::version(self)
    }

    fn deleted_since(&self, version: u64) -> bool {
        // Samples that are only added are nowhere near the beginning of time.
        self.oldest_change_since(version) == i64::MIN
    }
}

/// Series held in memory, in order of time.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    series: Vec<(Labels, Samples)>,
}

impl Memory {
    /// Adds a series. Samples must ascend in time.
    pub fn push(&mut self, labels: Labels, samples: Samples) {
        debug_assert!(samples.timestamps.windows(2).all(|w| w[0] < w[1]), "samples ascend");
        self.series.push((labels, samples));
    }

    /// Adds the series of `other`; where one is known already, samples later than its own continue it.
    pub fn join(&mut self, other: Self) {
        let known: HashMap<Labels, usize> = self
            .series
            .iter()
            .enumerate()
            .map(|(i, (labels, _))| (labels.clone(), i))
            .collect();
        for (labels, samples) in other.series {
            let Some(i) = known.get(&labels) else {
                self.series.push((labels, samples));
                continue;
            };
            let mine = &mut self.series[*i].1;
            for (t, v) in samples.iter() {
                if mine.timestamps.last().is_none_or(|last| *last < t) {
                    mine.push(t, v);
                }
            }
        }
    }

    /// Hosts whose samples in `other` differ from those known for the same times more often than not.
    pub(crate) fn contradicted_by(&self, other: &Self) -> BTreeSet<String> {
        let known: HashMap<&Labels, &Samples> = self.series.iter().map(|(l, s)| (l, s)).collect();
        let mut differ: HashMap<&str, i64> = HashMap::new();
        for (labels, theirs) in &other.series {
            let (Some(host), Some(mine)) = (host_of(labels), known.get(labels)) else {
                continue;
            };
            let balance = differ.entry(host).or_default();
            let mut at = 0;
            for (t, v) in theirs.iter() {
                while mine.timestamps.get(at).is_some_and(|m| *m < t) {
                    at += 1;
                }
                match mine.timestamps.get(at) {
                    Some(m) if *m == t => {
                        *balance += if mine.values[at].to_bits() == v.to_bits() {
                            -1
                        } else {
                            1
                        }
                    }
                    Some(_) => {}
                    None => break,
                }
            }
        }
        differ
            .into_iter()
            .filter(|(_, balance)| *balance > 0)
            .map(|(host, _)| host.to_owned())
            .collect()
    }

    /// Drops the series of some hosts.
    pub(crate) fn forget(&mut self, hosts: &BTreeSet<String>) {
        self.series
            .retain(|(labels, _)| host_of(labels).is_none_or(|h| !hosts.contains(h)));
    }

    /// The same series on hosts whose names end in `suffix`.
    #[cfg(test)]
    pub(crate) fn renamed(&self, suffix: &str) -> Self {
        let rename = |labels: &Labels| {
            let name = format!("{}{suffix}", labels.get("host_name").unwrap_or(""));
            Labels::from_pairs(labels.iter().chain([("host_name", name.as_str())]))
        };
        Self {
            series: self
                .series
                .iter()
                .map(|(labels, samples)| (rename(labels), samples.clone()))
                .collect(),
        }
    }

    /// How many samples there are in all.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.series.iter().map(|(_, s)| s.len()).sum()
    }

    /// The same series with every sample changed by `change(t, value)`, or dropped where it answers `None`.
    #[must_use]
    pub fn map(&self, mut change: impl FnMut(&Labels, i64, f64) -> Option<f64>) -> Self {
        let mut out = Self::default();
        for (labels, samples) in &self.series {
            let mut kept = Samples::default();
            for (t, v) in samples.iter() {
                if let Some(v) = change(labels, t, v) {
                    kept.push(t, v);
                }
            }
            out.push(labels.clone(), kept);
        }
        out
    }
}

impl Telemetry for Memory {
    fn series(&self, range: TimeRange) -> Result<Vec<SeriesRef>, TelemetryError> {
        Ok(self
            .series
            .iter()
            .enumerate()
            .filter(|(_, (labels, samples))| {
                is_observation(labels.metric())
                    && samples.timestamps.first().is_some_and(|first| {
                        range.overlaps(*first, samples.timestamps.last().copied().unwrap_or(*first))
                    })
            })
            .map(|(i, (labels, _))| SeriesRef {
                id: SeriesId(i as u32),
                labels: labels.clone(),
            })
            .collect())
    }

    fn read(&self, id: SeriesId, range: TimeRange, out: &mut Samples) -> Result<(), TelemetryError> {
        let Some((_, samples)) = self.series.get(id.0 as usize) else {
            return Ok(());
        };
        let start = samples.timestamps.partition_point(|t| *t < range.start.0);
        let end = samples.timestamps.partition_point(|t| *t <= range.end.0).max(start);
        out.timestamps.extend_from_slice(&samples.timestamps[start..end]);
        out.values.extend_from_slice(&samples.values[start..end]);
        Ok(())
    }
}

/// Whether a value can be computed with: finite, and no marker of staleness.
pub(crate) fn is_usable(value: f64) -> bool {
    value.is_finite() && !is_stale(value)
}
