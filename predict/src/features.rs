//! Samples to features: one pure function for training, backtest and live.
//!
//! ```text
//! samples ─► columns (one value a block: gauge, rate, events; devices reduced to the host)
//!                 ─► lagged-baseline z, slopes, extremes, limits, levels      per column
//!                 ─► aggregates over columns, structure, incident history     per host
//! ```
//! A row at time `t` reads blocks that were complete at `t` and incidents that had started by `t`; every window is summed on
//! the grid, never carried along, so that one row computed alone and the same row within a long run have the same bits.

pub mod catalogue;

mod aggregate;
mod baseline;
mod columns;
mod history;
mod limit;
mod past;
mod peers;
mod pooled;
mod rate;
mod slope;
mod structure;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use store::TimeRange;

pub use columns::Inventory;
pub use history::History;

pub(crate) use baseline::{Aggregate, Baseline, View, aggregates};
pub(crate) use columns::build;
pub(crate) use past::{Past, Runs};
pub(crate) use peers::median_f64;
pub(crate) use pooled::Pooled;

use baseline::Recent;
use catalogue::{Kind, Reduce, SignalDef, Unit, Worse};

use crate::bits;
use crate::incident::Incidents;
use crate::telemetry::{SeriesRef, Telemetry, TelemetryError};
use crate::window::{Grid, Horizon, Windows};

/// Features are clipped at this many usual spreads.
pub(crate) const CLIP: f64 = 30.0;

/// Most signals of one feature set: what a machine learner can weigh and an operator can read.
const SIGNALS_MAX: usize = 160;

/// Which view of a signal a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The host's own value.
    Value,
    /// The worst device.
    Worst,
    /// How far the worst device stands from the median of its peers on the host.
    Peer,
    /// The mean over devices.
    Mean,
    /// How many devices report.
    Devices,
}

/// One column: a signal seen in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Position in [`FeatureSet::signals`].
    pub signal: usize,
    /// The view.
    pub part: Part,
}

/// What a feature is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// A column, by position.
    Column(usize),
    /// The column whose limit is nearest.
    Limits,
    /// The columns that count errors and other events.
    Events,
    /// All columns together.
    Together,
    /// Gaps, silent columns, vanished devices.
    Structure,
    /// Incidents of the past.
    History,
}

/// The features of one model, fixed when it is trained and stored with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureSet {
    /// The grid of blocks.
    pub grid: Grid,
    /// Signals, in order.
    pub signals: Vec<SignalDef>,
    /// Columns made of them, in order.
    pub columns: Vec<Column>,
    /// The usual spread of each column over the fleet, when the set was made; 0 where unknown.
    #[serde(with = "bits")]
    pub typical: Vec<f64>,
    /// Which features of past incidents it has.
    #[serde(default)]
    pub history: History,
    /// How long a history the set was made for, in milliseconds; 0 where none was learned from.
    #[serde(default)]
    pub taught_ms: i64,
    /// Whether it has what failures of different kinds have in common; models from before it have not.
    #[serde(default)]
    pub pooled: bool,
}

const PER_COLUMN: [&str; 10] = [
    "z", "z1", "z2", "vol1", "max1", "min1", "slope1", "slope2", "day", "ewma",
];

impl FeatureSet {
    /// The set for the signals that `telemetry` has within `range`: known ones, then one for each unknown metric.
    ///
    /// # Errors
    /// [`TelemetryError`] when series cannot be listed.
    pub fn discover(telemetry: &dyn Telemetry, range: TimeRange, grid: Grid) -> Result<Self, TelemetryError> {
        Ok(Self::among(&telemetry.series(range)?, grid))
    }

    /// The same of series that are at hand.
    pub(crate) fn among(series: &[SeriesRef], grid: Grid) -> Self {
        let known = catalogue::known();
        let mut unknown: std::collections::BTreeMap<&str, bool> = std::collections::BTreeMap::new();
        for s in series {
            let metric = s.labels.metric();
            if catalogue::is_unknown(metric, &known) {
                *unknown.entry(metric).or_default() |= store::device_of(&s.labels).is_some();
            }
        }
        let fed = Inventory::new(&known, series).fed(known.len());
        let mut signals: Vec<SignalDef> = known
            .into_iter()
            .zip(fed)
            .filter(|(_, fed)| *fed)
            .map(|(s, _)| s)
            .collect();
        signals.extend(
            unknown
                .iter()
                .map(|(metric, devices)| SignalDef::unknown(metric, *devices)),
        );
        signals.truncate(SIGNALS_MAX);
        Self::new(grid, signals)
    }

    /// The set of these signals, with the signals that are made of others.
    #[must_use]
    pub fn new(grid: Grid, mut signals: Vec<SignalDef>) -> Self {
        let has = |name: &str| signals.iter().any(|s| s.name == name);
        let mut made = Vec::new();
        if has("gpu_temperature") && has("gpu_power") {
            made.push(SignalDef {
                name: peers::THERMAL_RESISTANCE.to_owned(),
                title: "degrees above inlet per 100 W".to_owned(),
                reduce: Reduce::WorstAndPeer,
                area: catalogue::Area::Thermal,
                unit: Unit::Celsius,
                floor: 0.1,
                ..SignalDef::unknown("", true)
            });
        }
        let has_devices = signals.iter().any(|s| s.reduce != Reduce::Host);
        signals.append(&mut made);
        let mut columns = Vec::new();
        for (signal, def) in signals.iter().enumerate() {
            let parts: &[Part] = match def.reduce {
                Reduce::Host => &[Part::Value],
                Reduce::Worst => &[Part::Worst],
                Reduce::WorstAndPeer => &[Part::Worst, Part::Peer],
                Reduce::WorstPeerMean => &[Part::Worst, Part::Peer, Part::Mean],
                Reduce::Mean => &[Part::Mean],
            };
            columns.extend(parts.iter().map(|part| Column { signal, part: *part }));
        }
        if has_devices {
            signals.push(SignalDef {
                name: "devices".to_owned(),
                title: "devices reporting".to_owned(),
                worse: Worse::Low,
                area: catalogue::Area::Reporting,
                floor: 0.1,
                metrics: Vec::new(),
                ..SignalDef::unknown("", false)
            });
            columns.push(Column {
                signal: signals.len() - 1,
                part: Part::Devices,
            });
        }
        let typical = vec![0.0; columns.len()];
        Self {
            grid,
            signals,
            columns,
            typical,
            history: History::Relative,
            taught_ms: 0,
            pooled: true,
        }
    }

    /// The windows that its features use.
    #[must_use]
    pub fn windows(&self) -> Windows {
        self.grid.windows()
    }

    /// How long before a row its oldest sample can lie, in milliseconds.
    #[must_use]
    pub fn history_ms(&self) -> i64 {
        (self.windows().history() as i64 + columns::COUNTER_LOOKBACK + 1) * self.grid.step_ms
    }

    /// The signal of a column.
    #[must_use]
    pub fn signal_of(&self, column: usize) -> &SignalDef {
        &self.signals[self.columns[column].signal]
    }

    /// Name of a column, such as `gpu_temperature.peer`.
    #[must_use]
    pub fn column_name(&self, column: usize) -> String {
        let name = &self.signal_of(column).name;
        match self.columns[column].part {
            Part::Value | Part::Devices => name.clone(),
            Part::Worst => format!("{name}.worst"),
            Part::Peer => format!("{name}.peer"),
            Part::Mean => format!("{name}.mean"),
        }
    }

    fn extras(&self, column: usize) -> &'static [&'static str] {
        let def = self.signal_of(column);
        let plain = !matches!(self.columns[column].part, Part::Peer);
        match (def.kind, def.level && plain, def.limit.is_some() && plain) {
            (Kind::Events, _, _) if plain => &["count1", "count2", "count3"],
            (_, true, true) => &["level", "ttl"],
            (_, true, false) => &["level"],
            (_, false, true) => &["ttl"],
            (_, false, false) => &[],
        }
    }

    fn pooled_names(&self) -> &'static [&'static str] {
        if self.pooled { &pooled::NAMES } else { &[] }
    }

    /// Name of every feature, in the order of a row.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for column in 0..self.columns.len() {
            let base = self.column_name(column);
            for transform in PER_COLUMN.iter().chain(self.extras(column)) {
                names.push(format!("{base}:{transform}"));
            }
        }
        names.extend(self.pooled_names().iter().map(|n| format!("pooled:{n}")));
        names.extend(aggregate::NAMES.iter().map(|n| format!("all:{n}")));
        names.extend(structure::NAMES.iter().map(|n| format!("structure:{n}")));
        names.extend(self.history.names().iter().map(|n| format!("history:{n}")));
        names
    }

    /// What each feature is computed from, in the order of a row.
    #[must_use]
    pub fn origins(&self) -> Vec<Origin> {
        let mut origins = Vec::new();
        for column in 0..self.columns.len() {
            origins.extend(std::iter::repeat_n(
                Origin::Column(column),
                PER_COLUMN.len() + self.extras(column).len(),
            ));
        }
        origins.extend((0..self.pooled_names().len()).map(|i| match i {
            _ if i < pooled::LIMITS => Origin::Limits,
            _ if i < pooled::LIMITS + pooled::EVENTS => Origin::Events,
            _ => Origin::Together,
        }));
        origins.extend([Origin::Together; aggregate::NAMES.len()]);
        origins.extend([Origin::Structure; structure::NAMES.len()]);
        origins.extend(std::iter::repeat_n(Origin::History, self.history.names().len()));
        origins
    }

    /// Length of a row.
    #[must_use]
    pub fn len(&self) -> usize {
        let columns: usize = (0..self.columns.len())
            .map(|c| PER_COLUMN.len() + self.extras(c).len())
            .sum();
        columns
            + self.pooled_names().len()
            + aggregate::NAMES.len()
            + structure::NAMES.len()
            + self.history.names().len()
    }

    /// Whether a row would be empty; it never is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Position in a row of the mean absolute lagged z over columns: how unusual the host is as a whole.
    #[must_use]
    pub(crate) fn anomaly_index(&self) -> usize {
        self.history_range().start - structure::NAMES.len() - 2
    }

    /// Position in a row of the share of the middle window without any sample.
    #[must_use]
    pub(crate) fn silence_index(&self) -> usize {
        self.history_range().start - structure::NAMES.len() + 1
    }

    /// Positions in a row of the features of past incidents, the last ones.
    #[must_use]
    pub(crate) fn history_range(&self) -> std::ops::Range<usize> {
        let end = self.len();
        end - self.history.names().len()..end
    }

    /// Positions in a row of the nearest limit and of the events of all columns, and of whatever else columns are reduced to
    /// together, which many kinds of failure move.
    #[must_use]
    pub(crate) fn shared(&self) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let end = self.history_range().start;
        let pooled = end - structure::NAMES.len() - aggregate::NAMES.len() - self.pooled_names().len();
        let strong = (pooled::LIMITS + pooled::EVENTS).min(self.pooled_names().len());
        (pooled..pooled + strong, pooled + strong..end)
    }

    /// Positions of what sets unusual hosts apart: recent levels, volatility and slopes against the host's own past, and
    /// how many columns deviate (facts: prediction, 2.6).
    #[must_use]
    pub(crate) fn deviations(&self) -> Vec<usize> {
        let wanted =
            |name: &str| [":z1", ":vol1", ":slope1"].iter().any(|end| name.ends_with(end)) || name.starts_with("all:");
        let names = self.names();
        (0..names.len()).filter(|i| wanted(&names[*i])).collect()
    }

    /// First block that must be read for rows from block `at` on.
    pub(crate) fn first_block(&self, at: i64) -> i64 {
        self.windows().first_block(at)
    }
}

/// The past of one host, ready for rows.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    pub(crate) set: &'a FeatureSet,
    past: &'a Past,
    windows: Windows,
}

impl<'a> Prepared<'a> {
    pub(crate) fn new(set: &'a FeatureSet, past: &'a Past) -> Self {
        Self {
            set,
            past,
            windows: set.windows(),
        }
    }

    /// A column as it was at block `at`.
    pub(crate) fn view(&self, column: usize, at: i64) -> Option<View<'_>> {
        self.past.view(column, at, self.windows)
    }

    /// Whether any sample fell into each block up to `at`, a day of them and more.
    pub(crate) fn reported(&self, at: i64) -> &[bool] {
        self.past.reported(at)
    }

    pub(crate) fn baseline(&self, column: usize, at: i64) -> Option<Baseline> {
        let view = self.view(column, at)?;
        baseline::baseline(view, self.set.signal_of(column).floor, self.set.typical[column])
    }

    /// What the columns of the host have in common at block `at`.
    pub(crate) fn pooled(&self, at: i64) -> Pooled {
        let mut pooled = Pooled::default();
        for column in 0..self.set.columns.len() {
            if let Some(view) = self.view(column, at) {
                self.pool(column, view, baseline::recent(view), &mut pooled);
            }
        }
        pooled
    }

    fn pool(&self, column: usize, view: View<'_>, recent: Recent, pooled: &mut Pooled) {
        let def = self.set.signal_of(column);
        for extra in self.set.extras(column) {
            match *extra {
                "ttl" => pooled.limit(column, limit::log_time_to_limit(view, recent, def.limit.unwrap_or(1.0))),
                "count1" => pooled.events(column, view, recent),
                _ => {}
            }
        }
    }

    /// One row at block `at`; NaN where nothing is known.
    pub(crate) fn row(&self, at: i64, incidents: &Incidents, host: &str, horizon: Horizon, out: &mut Vec<f32>) {
        out.clear();
        let (mut z_all, mut z1_all) = (Vec::new(), Vec::new());
        let (mut with_baseline, mut gone) = (0_u32, 0_u32);
        let mut pooled = Pooled::default();
        let clip = |v: f64| v.clamp(-CLIP, CLIP) as f32;
        for column in 0..self.set.columns.len() {
            let def = self.set.signal_of(column);
            let Some(view) = self.view(column, at) else {
                out.extend(std::iter::repeat_n(
                    f32::NAN,
                    PER_COLUMN.len() + self.set.extras(column).len(),
                ));
                continue;
            };
            let base = baseline::baseline(view, def.floor, self.set.typical[column]);
            let recent = baseline::recent(view);
            if let Some(base) = base {
                let scores = baseline::scores(view, recent, base);
                let slopes = slope::slopes(view, recent, base);
                pooled.deviation(&scores, &slopes, def.worse == Worse::Low);
                with_baseline += 1;
                gone += u32::from(recent.short.n == 0);
                z_all.push(scores[0]);
                z1_all.push(scores[1]);
                // Volatility is a logarithm and needs no clipping.
                out.extend(scores.iter().chain(&slopes).map(|v| clip(*v)));
            } else {
                out.extend([f32::NAN; PER_COLUMN.len()]);
            }
            let w = view.windows;
            self.pool(column, view, recent, &mut pooled);
            for extra in self.set.extras(column) {
                out.push(match *extra {
                    "level" => view.last().map_or(f32::NAN, |v| v as f32),
                    "ttl" => limit::log_time_to_limit(view, recent, def.limit.unwrap_or(1.0)) as f32,
                    "count1" => count(recent.short),
                    "count2" => count(recent.middle),
                    "count3" => count(Aggregate::merge(view.runs(w.long, 0).iter())),
                    _ => f32::NAN,
                });
            }
        }
        if self.set.pooled {
            let horizon_blocks = horizon.millis() as f64 / self.set.grid.step_ms as f64;
            out.extend(pooled.features(horizon_blocks).iter().map(|v| *v as f32));
        }
        let all = aggregate::features(&mut z_all, &mut z1_all);
        out.extend(all.iter().map(|v| *v as f32));
        let columns_gone = if with_baseline == 0 {
            f64::NAN
        } else {
            f64::from(gone) / f64::from(with_baseline)
        };
        let devices = self
            .set
            .columns
            .iter()
            .position(|c| c.part == Part::Devices)
            .and_then(|c| self.view(c, at));
        let structure = structure::features(self.reported(at), columns_gone, devices, self.windows);
        out.extend(structure.iter().map(|v| *v as f32));
        self.set.history.features(
            incidents,
            host,
            self.set.grid.end_of(at),
            horizon.millis(),
            self.set.taught_ms,
            out,
        );
    }
}

/// Events in a run of blocks, as a logarithm so that a storm does not outweigh everything.
fn count(run: Aggregate) -> f32 {
    if run.n == 0 {
        f32::NAN
    } else {
        (run.mean * f64::from(run.n)).max(0.0).ln_1p() as f32
    }
}

/// Rows of features of several hosts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Names of the hosts.
    pub hosts: Vec<String>,
    /// Host of each row, as a position in `hosts`.
    pub host: Vec<u32>,
    /// Time of each row.
    pub at: Vec<i64>,
    /// `(rows, features)`, row by row.
    pub values: Vec<f32>,
    /// Features in a row.
    pub width: usize,
}

impl Rows {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// Adds the rows of other hosts.
    pub(crate) fn append(&mut self, other: Self) {
        let shift = self.hosts.len() as u32;
        self.hosts.extend(other.hosts);
        self.host.extend(other.host.into_iter().map(|h| h + shift));
        self.at.extend(other.at);
        self.values.extend(other.values);
    }

    /// One row.
    #[must_use]
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.width..(i + 1) * self.width]
    }
}

/// The features of one host at one time.
///
/// # Errors
/// [`TelemetryError`] when samples cannot be read.
pub fn features_at(
    telemetry: &dyn Telemetry,
    set: &FeatureSet,
    incidents: &Incidents,
    horizon: Horizon,
    host: &str,
    at_ms: i64,
) -> Result<Option<Vec<f32>>, TelemetryError> {
    let at = set.grid.last_complete(at_ms);
    let range = TimeRange::millis(set.grid.end_of(at) - set.history_ms(), set.grid.end_of(at));
    let inventory = Inventory::new(&set.signals, &telemetry.series(range)?);
    let Some(series) = inventory.get(host) else {
        return Ok(None);
    };
    let columns = build(telemetry, set, series, set.first_block(at), at)?;
    let past = Past::new(columns, set.windows());
    let mut row = Vec::with_capacity(set.len());
    Prepared::new(set, &past).row(at, incidents, host, horizon, &mut row);
    Ok(Some(row))
}

/// The features of several hosts, each at its own ascending times; hosts without series have no rows.
///
/// # Errors
/// [`TelemetryError`] when samples cannot be read.
pub fn features_over(
    telemetry: &dyn Telemetry,
    set: &FeatureSet,
    incidents: &Incidents,
    horizon: Horizon,
    wanted: &[(String, Vec<i64>)],
) -> Result<Rows, TelemetryError> {
    let bounds = wanted
        .iter()
        .filter_map(|(_, times)| Some((*times.first()?, *times.last()?)));
    let (Some(start), Some(end)) = (bounds.clone().map(|b| b.0).min(), bounds.map(|b| b.1).max()) else {
        return Ok(Rows {
            width: set.len(),
            ..Rows::default()
        });
    };
    let inventory = Inventory::new(
        &set.signals,
        &telemetry.series(TimeRange::millis(start - set.history_ms(), end))?,
    );
    let parts: Vec<Option<(Vec<i64>, Vec<f32>)>> = wanted
        .par_iter()
        .map(|(host, times)| {
            let (Some(first), Some(last)) = (times.first(), times.last()) else {
                return Ok(None);
            };
            let nothing = columns::HostSeries::default();
            // Without any column there is still the history of incidents.
            let series = match inventory.get(host) {
                Some(series) => series,
                None if set.columns.is_empty() => &nothing,
                None => return Ok(None),
            };
            let (first, last) = (set.grid.last_complete(*first), set.grid.last_complete(*last));
            let columns = build(telemetry, set, series, set.first_block(first), last)?;
            let past = Past::new(columns, set.windows());
            let prepared = Prepared::new(set, &past);
            let (mut values, mut row) = (Vec::with_capacity(times.len() * set.len()), Vec::new());
            for at in times {
                prepared.row(set.grid.last_complete(*at), incidents, host, horizon, &mut row);
                values.extend_from_slice(&row);
            }
            Ok(Some((times.clone(), values)))
        })
        .collect::<Result<_, TelemetryError>>()?;
    let mut rows = Rows {
        width: set.len(),
        ..Rows::default()
    };
    for ((host, _), part) in wanted.iter().zip(parts) {
        if let Some((times, values)) = part {
            let id = rows.hosts.len() as u32;
            rows.hosts.push(host.clone());
            rows.host.extend(std::iter::repeat_n(id, times.len()));
            rows.at.extend(times);
            rows.values.extend(values);
        }
    }
    Ok(rows)
}

/// Learns the usual spread of every column: the median over hosts and times of the lagged baseline's spread.
///
/// Takes it from `range` alone, so that a caller who passes the oldest part of the history leaks nothing of the rest.
///
/// # Errors
/// [`TelemetryError`] when samples cannot be read.
pub fn learn_typical(
    telemetry: &dyn Telemetry,
    set: &FeatureSet,
    range: TimeRange,
) -> Result<Vec<f64>, TelemetryError> {
    let inventory = Inventory::new(&set.signals, &telemetry.series(range)?);
    let w = set.windows();
    let (first, last) = (set.grid.block_of(range.start.0), set.grid.last_complete(range.end.0));
    let first = first.div_euclid(w.short as i64) * w.short as i64;
    if last <= first {
        return Ok(vec![0.0; set.columns.len()]);
    }
    let hosts: Vec<&str> = inventory.hosts().collect();
    let spreads: Vec<Vec<Vec<f64>>> = hosts
        .par_iter()
        .map(|host| {
            let Some(series) = inventory.get(host) else {
                return Ok(Vec::new());
            };
            let columns = build(telemetry, set, series, first, last)?;
            let per_long = w.long / w.short;
            Ok(columns
                .values
                .iter()
                .map(|values| {
                    aggregates(values, w.short)
                        .windows(per_long.min(values.len() / w.short).max(1))
                        .step_by((per_long / 4).max(1))
                        .map(|runs| Aggregate::merge(runs.iter().copied()))
                        .filter(|a| a.n as usize >= 2 * w.short)
                        .map(Aggregate::deviation)
                        .collect()
                })
                .collect())
        })
        .collect::<Result<_, TelemetryError>>()?;
    Ok((0..set.columns.len())
        .map(|c| {
            let mut all: Vec<f64> = spreads.iter().filter_map(|h| h.get(c)).flatten().copied().collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or(0.0)
        })
        .collect())
}

#[cfg(test)]
mod tests;
