//! Samples to columns: one value a block for every column of a host.

use std::collections::BTreeMap;

use store::{Labels, Samples, SeriesId, TimeRange, device_of, host_of};

use super::catalogue::{Combine, Kind, Reduce, SignalDef, Worse};
use super::peers;
use super::rate;
use super::{Column, FeatureSet, Part};
use crate::telemetry::{SeriesRef, Telemetry, TelemetryError, is_usable};
use crate::window::Grid;

/// A counter's increase is measured from the sample before; older than this many blocks, it says nothing about the block.
pub(crate) const COUNTER_LOOKBACK: i64 = 5;

/// Which series feed which signals, by host.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    hosts: BTreeMap<String, HostSeries>,
}

/// The series of one host that feed a signal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostSeries {
    /// Hardware identities, in order.
    pub(crate) devices: Vec<String>,
    /// Series with the signals they feed and the device they belong to.
    series: Vec<(SeriesId, Vec<Target>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Target {
    signal: usize,
    /// Position in `HostSeries::devices`, none for signals of the host.
    device: Option<usize>,
}

impl Inventory {
    /// Sorts `series` by host and finds the signals that each one feeds.
    #[must_use]
    pub fn new(signals: &[SignalDef], series: &[SeriesRef]) -> Self {
        let mut by_metric: BTreeMap<&str, Vec<(usize, usize)>> = BTreeMap::new();
        for (i, signal) in signals.iter().enumerate() {
            for (rank, metric) in signal.metrics.iter().enumerate() {
                by_metric.entry(metric).or_default().push((i, rank));
            }
        }
        // Sorted by labels, so that sums over series add up in the same order wherever the series come from.
        let wanted = |s: &&SeriesRef| by_metric.contains_key(s.labels.metric());
        let mut ordered: Vec<&SeriesRef> = series.iter().filter(wanted).collect();
        ordered.sort_by(|a, b| a.labels.cmp(&b.labels));

        let mut hosts: BTreeMap<String, HostSeries> = BTreeMap::new();
        let mut best_rank: BTreeMap<(&str, usize), usize> = BTreeMap::new();
        let matches = |s: &'_ SeriesRef| -> Vec<(usize, usize)> {
            by_metric
                .get(s.labels.metric())
                .into_iter()
                .flatten()
                .copied()
                .filter(|(i, _)| feeds(&signals[*i], &s.labels))
                .collect()
        };
        for s in &ordered {
            let Some(host) = host_of(&s.labels) else { continue };
            for (signal, rank) in matches(s) {
                let best = best_rank.entry((host, signal)).or_insert(rank);
                *best = rank.min(*best);
            }
        }
        for s in &ordered {
            let Some(host) = host_of(&s.labels) else { continue };
            let targets: Vec<(usize, usize)> = matches(s)
                .into_iter()
                .filter(|(i, rank)| best_rank.get(&(host, *i)) == Some(rank))
                .collect();
            if targets.is_empty() {
                continue;
            }
            let entry = hosts.entry(host.to_owned()).or_default();
            let targets = targets
                .into_iter()
                .map(|(signal, _)| {
                    let device = (signals[signal].reduce != Reduce::Host).then(|| {
                        let name = device_of(&s.labels).unwrap_or("");
                        entry.devices.iter().position(|d| d == name).unwrap_or_else(|| {
                            entry.devices.push(name.to_owned());
                            entry.devices.len() - 1
                        })
                    });
                    Target { signal, device }
                })
                .collect();
            entry.series.push((s.id, targets));
        }
        Self { hosts }
    }

    /// Names of the hosts, in order.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, host: &str) -> Option<&HostSeries> {
        self.hosts.get(host)
    }

    /// Which of the signals have a series somewhere.
    pub(crate) fn fed(&self, signals: usize) -> Vec<bool> {
        let mut fed = vec![false; signals];
        for target in self.hosts.values().flat_map(|h| h.series.iter().flat_map(|(_, t)| t)) {
            fed[target.signal] = true;
        }
        fed
    }
}

fn feeds(signal: &SignalDef, labels: &Labels) -> bool {
    signal.labels.iter().all(|(name, allowed)| {
        let value = labels.get(name).unwrap_or("");
        allowed.iter().any(|a| a == value)
    })
}

/// The columns of one host over a stretch of blocks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HostColumns {
    /// Block of the first value of each column.
    pub(crate) first: i64,
    /// One column for each of [`FeatureSet::columns`], NaN where nothing is known.
    pub(crate) values: Vec<Vec<f32>>,
    /// Whether any sample of the host fell into the block.
    pub(crate) reported: Vec<bool>,
}

impl HostColumns {
    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> usize {
        self.reported.len()
    }
}

/// Sums, counts or extremes over the series of one signal and device.
struct Accumulator {
    values: Vec<f64>,
    counts: Vec<u32>,
}

impl Accumulator {
    fn new(blocks: usize) -> Self {
        Self {
            values: vec![0.0; blocks],
            counts: vec![0; blocks],
        }
    }

    fn add(&mut self, combine: Combine, block: usize, value: f64) {
        let (old, count) = (self.values[block], &mut self.counts[block]);
        self.values[block] = match combine {
            _ if *count == 0 => value,
            Combine::Sum | Combine::Mean => old + value,
            Combine::Max => old.max(value),
            Combine::Min => old.min(value),
        };
        *count += 1;
    }

    fn finish(self, combine: Combine) -> Vec<f32> {
        self.values
            .into_iter()
            .zip(self.counts)
            .map(|(value, count)| match (count, combine) {
                (0, _) => f32::NAN,
                (n, Combine::Mean) => (value / f64::from(n)) as f32,
                _ => value as f32,
            })
            .collect()
    }
}

/// Reads the series of a host and makes its columns for the blocks `first..=last`.
///
/// A block's values depend on samples up to its end and at most [`COUNTER_LOOKBACK`] blocks before it, and not on where
/// the reading began: that is why live, backtest and training see the same bits.
///
/// # Errors
/// [`TelemetryError`] when samples cannot be read.
pub(crate) fn build(
    telemetry: &dyn Telemetry,
    set: &FeatureSet,
    host: &HostSeries,
    first: i64,
    last: i64,
) -> Result<HostColumns, TelemetryError> {
    let blocks = usize::try_from(last - first + 1).unwrap_or(0);
    let grid = set.grid;
    let mut reported = vec![false; blocks];
    let mut accumulators: BTreeMap<(usize, Option<usize>), Accumulator> = BTreeMap::new();
    let mut seen = vec![vec![false; blocks]; host.devices.len()];
    let mut samples = Samples::default();
    let (mut gauge, mut rates, mut events) = (Vec::new(), Vec::new(), Vec::new());
    for (id, targets) in &host.series {
        samples.clear();
        let counts = targets.iter().any(|t| set.signals[t.signal].kind != Kind::Gauge);
        let lookback = if counts { COUNTER_LOOKBACK * grid.step_ms } else { 0 };
        let range = TimeRange::millis(grid.end_of(first - 1) + 1 - lookback, grid.end_of(last));
        telemetry.read(*id, range, &mut samples)?;
        gauges(grid, first, blocks, &samples, &mut gauge);
        if counts {
            rate::increases(grid, first, blocks, &samples, &mut rates, &mut events);
        }
        for (block, value) in gauge.iter().enumerate() {
            reported[block] |= !value.is_nan();
        }
        for target in targets {
            let signal = &set.signals[target.signal];
            let values = match signal.kind {
                Kind::Gauge => &gauge,
                Kind::Rate => &rates,
                Kind::Events => &events,
            };
            let accumulator = accumulators
                .entry((target.signal, target.device))
                .or_insert_with(|| Accumulator::new(blocks));
            for (block, value) in values.iter().enumerate() {
                if !value.is_nan() {
                    accumulator.add(signal.combine, block, *value);
                }
            }
            if let Some(device) = target.device {
                for (block, value) in gauge.iter().enumerate() {
                    seen[device][block] |= !value.is_nan();
                }
            }
        }
    }

    let mut of_host: Vec<Option<Vec<f32>>> = vec![None; set.signals.len()];
    let mut of_devices: Vec<Vec<(usize, Vec<f32>)>> = vec![Vec::new(); set.signals.len()];
    for ((signal, device), accumulator) in accumulators {
        let values = accumulator.finish(set.signals[signal].combine);
        match device {
            Some(device) => of_devices[signal].push((device, values)),
            None => of_host[signal] = Some(values),
        }
    }
    peers::thermal_resistance(set, &of_host, &mut of_devices, blocks);
    let mut values = Vec::with_capacity(set.columns.len());
    for Column { signal, part } in &set.columns {
        let def = &set.signals[*signal];
        values.push(match part {
            Part::Value => of_host[*signal].take().unwrap_or_else(|| vec![f32::NAN; blocks]),
            Part::Devices => peers::devices_reporting(&seen, blocks),
            Part::Worst => peers::worst(&of_devices[*signal], blocks, def.worse == Worse::Low),
            Part::Peer => peers::worst_minus_median(&of_devices[*signal], blocks, def.worse == Worse::Low),
            Part::Mean => peers::mean(&of_devices[*signal], blocks),
        });
    }
    Ok(HostColumns {
        first,
        values,
        reported,
    })
}

/// The last usable sample of each block.
fn gauges(grid: Grid, first: i64, blocks: usize, samples: &Samples, out: &mut Vec<f64>) {
    out.clear();
    out.resize(blocks, f64::NAN);
    for (t, v) in samples.iter() {
        if let Ok(block) = usize::try_from(grid.block_of(t) - first)
            && block < blocks
            && is_usable(v)
        {
            out[block] = v;
        }
    }
}
