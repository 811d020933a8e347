//! Scoring rounds: every host of a tenant, as of now, with what is known about each and why.

mod peers;

use std::collections::BTreeMap;

use rayon::prelude::*;
use store::{SeriesId, TimeRange};

pub use crate::explain::Signal;
pub use crate::forecast::{Forecast, ForecastOptions, Resource};
pub use crate::rules::Finding;

use crate::Probability;
use crate::explain;
use crate::features::{FeatureSet, Inventory, Origin, Past, Prepared, build};
use crate::forecast::forecasts;
use crate::incident::Incidents;
use crate::instruments;
use crate::model::{Input, Model};
use crate::rules::findings;
use crate::telemetry::{SeriesRef, Telemetry, TelemetryError};
use crate::train::INCIDENTS_MIN;
use crate::window::{Grid, Horizon};
use peers::PeerValues;

/// Blocks that are read again in every round, because their samples may have come late.
const OVERLAP_BLOCKS: i64 = 10;
/// A host's columns are read from scratch after this many blocks, so that samples that came later still count in the end.
const REBUILD_BLOCKS: i64 = 240;
/// Above this share of silent columns a score would be about the silence.
const SILENT_SHARE_MAX: f64 = 0.5;

/// Whether a host has a score, and if not, why not.
#[derive(Clone, Debug, PartialEq)]
pub enum ScoreState {
    /// It has one.
    Scored(Probability),
    /// It has not earned one yet.
    Learning {
        /// How much there is.
        have: u32,
        /// How much is needed.
        need: u32,
        /// Of what: `minutes of history`, `incidents`.
        what: String,
    },
    /// A score would mean nothing now.
    Abstained {
        /// Why.
        why: String,
    },
}

/// What is known about a host at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct HostScore {
    /// The host.
    pub host: String,
    /// The device, for scores of a device.
    pub device: Option<String>,
    /// How far ahead the score looks.
    pub horizon: Horizon,
    /// Name of the model, empty without one.
    pub model: String,
    /// The score, or why there is none.
    pub state: ScoreState,
    /// Whether the score reaches the model's threshold.
    pub alert: bool,
    /// How unusual the host is as a whole: mean distance from its own past, in usual spreads. Around 1 is ordinary.
    pub anomaly: f64,
    /// Up to five signals that moved the score, or, without a score, that stand out.
    pub signals: Vec<Signal>,
    /// What rules say that need no training.
    pub findings: Vec<Finding>,
    /// What to do.
    pub advice: String,
}

/// One round over all hosts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// When: the end of the newest complete block.
    pub at_ms: i64,
    /// A score for each host, by name.
    pub scores: Vec<HostScore>,
    /// Forecasts of resources that run out.
    pub forecasts: Vec<Forecast>,
}

/// Scores the hosts of one tenant, round after round; keeps their columns in memory between rounds.
#[derive(Debug)]
pub struct Scorer {
    model: Option<Model>,
    horizon: Horizon,
    grid: Grid,
    incidents: Incidents,
    options: ForecastOptions,
    /// The features in use: the model's, or those found in the store while there is no model.
    set: Option<FeatureSet>,
    origins: Vec<Origin>,
    known: Vec<SeriesId>,
    inventory: Inventory,
    cache: BTreeMap<String, Cached>,
    /// The state of the telemetry that was read last.
    version: u64,
}

#[derive(Debug)]
struct Cached {
    past: Past,
    built_at: i64,
}

impl Scorer {
    /// A scorer with the champion of `horizon`, or without one yet.
    #[must_use]
    pub fn new(model: Option<Model>, horizon: Horizon) -> Self {
        let mut scorer = Self {
            model: None,
            horizon,
            grid: Grid::MINUTE,
            incidents: Incidents::default(),
            options: ForecastOptions::default(),
            set: None,
            origins: Vec::new(),
            known: Vec::new(),
            inventory: Inventory::default(),
            cache: BTreeMap::new(),
            version: 0,
        };
        scorer.set_model(model);
        scorer
    }

    /// Puts another champion in charge, from the next round on.
    pub fn set_model(&mut self, model: Option<Model>) {
        if let Some(model) = &model {
            self.horizon = model.horizon;
        }
        let set = model.as_ref().map(|m| m.features.clone());
        if set.is_none() || set != self.set {
            self.cache.clear();
            self.known.clear();
        }
        self.origins = set.as_ref().map(FeatureSet::origins).unwrap_or_default();
        self.set = set;
        self.model = model;
    }

    /// The grid on which hosts without a model are watched; a model brings its own.
    pub fn set_grid(&mut self, grid: Grid) {
        self.grid = grid;
    }

    /// Limits that no series carries.
    pub fn set_forecast_options(&mut self, options: ForecastOptions) {
        self.options = options;
    }

    /// The incidents known by now.
    pub fn set_incidents(&mut self, incidents: Incidents) {
        self.incidents = incidents;
    }

    /// The model in charge.
    #[must_use]
    pub const fn model(&self) -> Option<&Model> {
        self.model.as_ref()
    }

    /// Scores every host as of `now_ms`; nothing later is read.
    ///
    /// # Errors
    /// [`TelemetryError`] when samples cannot be read.
    pub fn round(&mut self, telemetry: &dyn Telemetry, now_ms: i64) -> Result<Round, TelemetryError> {
        let grid = self.model.as_ref().map_or(self.grid, |m| m.features.grid);
        let at = grid.last_complete(now_ms);
        let end = grid.end_of(at);
        let history = FeatureSet::new(grid, Vec::new()).history_ms();
        let series = telemetry.series(TimeRange::millis(end - history, end))?;
        if telemetry.deleted_since(std::mem::replace(&mut self.version, telemetry.version())) {
            self.cache.clear();
        }
        self.learn_series(&series, grid);
        drop(series);
        let Some(set) = self.set.take() else {
            return Ok(Round {
                at_ms: end,
                ..Round::default()
            });
        };
        let result = self.score_all(telemetry, &set, at);
        self.set = Some(set);
        let scores = result?;
        let round = Round {
            at_ms: end,
            scores,
            forecasts: forecasts(telemetry, self.options, now_ms)?,
        };
        instruments::count_round(&round);
        Ok(round)
    }

    /// Sorts the series by host again when there are others than last time.
    fn learn_series(&mut self, series: &[SeriesRef], grid: Grid) {
        let ids: Vec<SeriesId> = series.iter().map(|s| s.id).collect();
        if self.set.is_some() && ids == self.known {
            return;
        }
        if self.model.is_none() {
            let set = FeatureSet::among(series, grid);
            if self.set.as_ref() != Some(&set) {
                self.origins = set.origins();
                self.set = Some(set);
                self.cache.clear();
            }
        }
        if let Some(set) = &self.set {
            let before = std::mem::replace(&mut self.inventory, Inventory::new(&set.signals, series));
            // New series change sums over series, also in the past; hosts that have the same ones as before keep theirs.
            self.cache.retain(|host, _| {
                self.inventory
                    .get(host)
                    .is_some_and(|now| before.get(host) == Some(now))
            });
        }
        self.known = ids;
    }

    fn score_all(
        &mut self,
        telemetry: &dyn Telemetry,
        set: &FeatureSet,
        at: i64,
    ) -> Result<Vec<HostScore>, TelemetryError> {
        let hosts: Vec<String> = self.inventory.hosts().map(ToOwned::to_owned).collect();
        let mut cache = std::mem::take(&mut self.cache);
        let jobs: Vec<(String, Option<Cached>)> = hosts.into_iter().map(|h| (h.clone(), cache.remove(&h))).collect();
        let ready: Vec<(String, Cached)> = jobs
            .into_par_iter()
            .map(|(host, cached)| {
                let cached = self.refresh(telemetry, set, &host, cached, at)?;
                Ok((host, cached))
            })
            .collect::<Result<_, TelemetryError>>()?;
        let prepared: Vec<(&str, Prepared<'_>)> = ready
            .par_iter()
            .map(|(host, c)| (host.as_str(), Prepared::new(set, &c.past)))
            .collect();
        let peers = PeerValues::new(&prepared, set, at);
        let scores = prepared
            .par_iter()
            .enumerate()
            .map(|(i, (host, prepared))| self.score(host, prepared, at, &peers.medians_without(i)))
            .collect();
        drop(prepared);
        self.cache = ready.into_iter().collect();
        Ok(scores)
    }

    /// A host's past up to block `at`: the newest blocks read again and joined to what is known, or everything.
    fn refresh(
        &self,
        telemetry: &dyn Telemetry,
        set: &FeatureSet,
        host: &str,
        cached: Option<Cached>,
        at: i64,
    ) -> Result<Cached, TelemetryError> {
        let first = set.first_block(at);
        let fallback = Default::default();
        let series = self.inventory.get(host).unwrap_or(&fallback);
        let windows = set.windows();
        if let Some(mut cached) = cached
            && cached.past.last() <= at
            && at - cached.built_at < REBUILD_BLOCKS
        {
            let from = cached.past.last() - OVERLAP_BLOCKS + 1;
            if cached.past.reaches(from, first) {
                cached.past.extend(&build(telemetry, set, series, from, at)?, windows);
                return Ok(cached);
            }
        }
        let mut past = Past::new(build(telemetry, set, series, first, at)?, windows);
        past.forget(windows);
        Ok(Cached { past, built_at: at })
    }

    fn score(&self, host: &str, prepared: &Prepared<'_>, at: i64, peers: &[f64]) -> HostScore {
        let set = prepared.set;
        let mut row = Vec::with_capacity(set.len());
        prepared.row(at, &self.incidents, host, self.horizon, &mut row);
        let anomaly = f64::from(row[set.anomaly_index()]);
        let findings = findings(prepared, at);
        let mut score = HostScore {
            host: host.to_owned(),
            device: None,
            horizon: self.horizon,
            model: self.model.as_ref().map(|m| m.name.clone()).unwrap_or_default(),
            state: self.state(host, prepared, at, &row),
            alert: false,
            anomaly: if anomaly.is_nan() { 0.0 } else { anomaly },
            signals: Vec::new(),
            findings,
            advice: String::new(),
        };
        match (&self.model, &score.state) {
            (Some(model), ScoreState::Scored(_)) => {
                let mut x = Vec::with_capacity(row.len());
                model.scaler.apply(&row, &mut x);
                let x = Input {
                    row: &row,
                    standard: &x,
                };
                let p = model.probability_of(x);
                score.alert = p.get() >= model.threshold;
                score.state = ScoreState::Scored(p);
                score.signals = explain::of_model(model, prepared, at, x, &self.origins, peers);
            }
            _ => score.signals = explain::of_deviations(prepared, at, peers),
        }
        // A finding is certain, a signal only probable.
        score.advice = score
            .findings
            .first()
            .map(|f| f.advice)
            .or_else(|| score.signals.first().map(|s| s.advice))
            .unwrap_or_default()
            .to_owned();
        score
    }

    /// Whether the host may be scored. A score that may be given is a placeholder here, filled in by the caller.
    fn state(&self, host: &str, prepared: &Prepared<'_>, at: i64, row: &[f32]) -> ScoreState {
        let set = prepared.set;
        let w = set.windows();
        let minutes = |blocks: usize| (blocks as i64 * set.grid.step_ms / 60_000) as u32;
        let reported = prepared.reported(at);
        if reported[reported.len() - w.short..].iter().all(|r| !r) {
            let silent = reported.iter().rev().take_while(|r| !**r).count();
            let span = crate::window::spoken_duration(silent as i64 * set.grid.step_ms);
            return ScoreState::Abstained {
                why: format!("no samples for {span}"),
            };
        }
        // The lagged baseline needs one middle window to lag by and two short ones to stand on.
        let need = w.middle + 2 * w.short;
        let have = reported.iter().filter(|r| **r).count();
        if have < need {
            let what = "minutes of history".to_owned();
            return ScoreState::Learning {
                have: minutes(have),
                need: minutes(need),
                what,
            };
        }
        let Some(model) = &self.model else {
            let have = self.incidents.count().min(INCIDENTS_MIN) as u32;
            let (need, what) = (INCIDENTS_MIN as u32, "incidents to learn from".to_owned());
            return if have < need {
                ScoreState::Learning { have, need, what }
            } else {
                ScoreState::Abstained {
                    why: "no model has been trained yet: run `foreshock train`".to_owned(),
                }
            };
        };
        // A model says nothing about hosts that it has never seen.
        if !model.hosts.iter().any(|h| h == host) {
            let span = minutes(w.day) / 60;
            let hours = (minutes(have) / 60).min(span);
            let what = "hours of history before the next training can include this host".to_owned();
            return ScoreState::Learning {
                have: hours,
                need: span,
                what,
            };
        }
        let gone = f64::from(row[set.silence_index() + 1]);
        if gone > SILENT_SHARE_MAX {
            return ScoreState::Abstained {
                why: format!("{:.0} % of this host's signals fell silent", gone * 100.0),
            };
        }
        ScoreState::Scored(Probability::clamped(0.0))
    }
}

#[cfg(test)]
mod tests;
