//! What a metric is: its kind, unit and help, as its senders describe it.

use std::collections::BTreeMap;

use crate::error::StoreError;
use crate::state::State;

/// What a metric is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// How its values behave.
    pub kind: MetricKind,
    /// Its unit, as "seconds" or "By"; empty where unknown.
    pub unit: String,
    /// What it says, in words.
    pub help: String,
}

/// How the values of a metric behave; Prometheus' types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetricKind {
    /// Only grows, but for restarts.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
    /// Quantiles that the sender computed.
    Summary,
    /// Text in labels.
    Info,
    /// Not said.
    #[default]
    Unknown,
}

impl MetricKind {
    const ALL: [Self; 6] = [
        Self::Counter,
        Self::Gauge,
        Self::Histogram,
        Self::Summary,
        Self::Info,
        Self::Unknown,
    ];

    /// Prometheus' word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::Unknown => "unknown",
        }
    }

    /// The kind that Prometheus calls `word`; [`MetricKind::Unknown`] for words it does not know.
    #[must_use]
    pub fn of_str(word: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .unwrap_or_default()
    }
}

const STEPS: [&str; 1] = ["CREATE TABLE metric_metadata (
    metric TEXT PRIMARY KEY, kind TEXT NOT NULL, unit TEXT NOT NULL, help TEXT NOT NULL
) STRICT, WITHOUT ROWID"];

/// All metadata that `state` holds.
pub(crate) fn load(state: &State) -> Result<BTreeMap<String, Metadata>, StoreError> {
    state.migrate("metadata", &STEPS)?;
    Ok(state.with(|connection| {
        let mut statement = connection.prepare("SELECT metric, kind, unit, help FROM metric_metadata")?;
        let rows = statement.query_map([], |row| {
            let kind = MetricKind::of_str(&row.get::<_, String>(1)?);
            Ok((
                row.get(0)?,
                Metadata {
                    kind,
                    unit: row.get(2)?,
                    help: row.get(3)?,
                },
            ))
        })?;
        rows.collect()
    })?)
}

/// Writes `changed` in one transaction.
pub(crate) fn save(state: &State, changed: &BTreeMap<String, Metadata>) -> Result<(), StoreError> {
    Ok(state.with(|connection| {
        let transaction = connection.transaction()?;
        {
            let mut statement = transaction.prepare(
                "INSERT INTO metric_metadata (metric, kind, unit, help) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (metric) DO UPDATE SET kind = excluded.kind, unit = excluded.unit, help = excluded.help",
            )?;
            for (metric, m) in changed {
                statement.execute((metric, m.kind.as_str(), &m.unit, &m.help))?;
            }
        }
        transaction.commit()
    })?)
}
