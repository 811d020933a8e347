//! From a scoring round to series: what a round says is written back into the store, where rules, Grafana and SQL find it.

use predict::incident::Incident;
use predict::live::{HostScore, Round, ScoreState};
use predict::series::{ANOMALY, INCIDENT, PROBABILITY, SHADOW, THRESHOLD, TIME_TO_LIMIT};
use predict::{Horizon, Model};
use store::{LabelsBuf, METRIC_NAME, Store, StoreError};

/// Series gathered for one append.
pub(crate) struct Writer<'s> {
    store: &'s Store,
    batch: store::Batch,
    labels: LabelsBuf,
    at_ms: i64,
    // Samples without a place, for the limit of series.
    left_out: u64,
}

impl<'s> Writer<'s> {
    pub(crate) fn new(store: &'s Store, at_ms: i64) -> Self {
        Self {
            store,
            batch: store.batch(),
            labels: LabelsBuf::default(),
            at_ms,
            left_out: 0,
        }
    }

    /// One sample; labels with an empty value are left out. Where the store takes no more series it goes without those that are new.
    pub(crate) fn add(&mut self, metric: &str, labels: &[(&str, &str)], value: f64) -> Result<(), StoreError> {
        self.labels.clear();
        self.labels.push(METRIC_NAME, metric);
        for (name, text) in labels.iter().filter(|(_, text)| !text.is_empty()) {
            self.labels.push(name, text);
        }
        match self.batch.series(&mut self.labels) {
            Ok(id) => self.batch.push(id, self.at_ms, value),
            Err(StoreError::TooManySeries { .. }) => self.left_out += 1,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Returns once everything is durable.
    pub(crate) fn finish(self) -> Result<(), StoreError> {
        if self.left_out > 0 {
            tracing::warn!(
                tenant = self.store.tenant(),
                samples = self.left_out,
                "scores and own metrics are not kept: the limit of series (store.max_series) is reached"
            );
        }
        self.store.append(self.batch).map(drop)
    }
}

/// Writes a round of the champion, and what is open.
pub(crate) fn write_round(
    store: &Store,
    at_ms: i64,
    round: &Round,
    champion: Option<&Model>,
    open: &[&Incident],
) -> Result<(), StoreError> {
    let mut writer = Writer::new(store, at_ms);
    for score in &round.scores {
        write_probability(&mut writer, PROBABILITY, score)?;
        writer.add(ANOMALY, &[("host", &score.host)], score.anomaly)?;
    }
    for forecast in &round.forecasts {
        if let Some(seconds) = forecast.seconds_to_limit {
            let resource = forecast.resource.name();
            let labels = [
                ("host", forecast.host.as_str()),
                ("resource", resource),
                ("device", &forecast.device),
            ];
            writer.add(TIME_TO_LIMIT, &labels, seconds)?;
        }
    }
    // Without a threshold no rule pages: recall that does not beat chance is good for detection only.
    if let Some(model) = champion.filter(|model| model.evaluation.warns()) {
        let horizon = model.horizon.to_string();
        writer.add(
            THRESHOLD,
            &[("horizon", &horizon), ("model", &model.name)],
            model.threshold,
        )?;
    }
    for incident in open {
        let device = incident.device.as_deref().unwrap_or_default();
        writer.add(
            INCIDENT,
            &[("host", &incident.host), ("device", device), ("kind", &incident.kind)],
            1.0,
        )?;
    }
    writer.finish()
}

/// Writes what a challenger said.
pub(crate) fn write_shadow(store: &Store, at_ms: i64, round: &Round) -> Result<(), StoreError> {
    let mut writer = Writer::new(store, at_ms);
    for score in &round.scores {
        write_probability(&mut writer, SHADOW, score)?;
    }
    writer.finish()
}

fn write_probability(writer: &mut Writer<'_>, metric: &str, score: &HostScore) -> Result<(), StoreError> {
    let ScoreState::Scored(probability) = &score.state else {
        return Ok(());
    };
    let horizon = score.horizon.to_string();
    let device = score.device.as_deref().unwrap_or_default();
    let labels = [
        ("host", score.host.as_str()),
        ("device", device),
        ("horizon", &horizon),
        ("model", &score.model),
    ];
    writer.add(metric, &labels, probability.get())
}

/// The horizon that pages.
pub(crate) const HORIZON: Horizon = Horizon::HOUR;
