//! What a metric is: its kind, unit and help, as its senders describe it.

use std::collections::{BTreeMap, BTreeSet};

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
    pub(crate) const ALL: [Self; 6] = [
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

/// Metrics of which so much is kept in memory: names that no series has cost a sender nothing.
const METRICS_MAX: usize = 100_000;

/// What is known of all metrics. News go to the WAL with the next batch, and to the state with the next flush.
#[derive(Debug, Default)]
pub(crate) struct MetadataBook {
    known: BTreeMap<String, Metadata>,
    unlogged: BTreeSet<String>,
    unsaved: BTreeSet<String>,
}

impl MetadataBook {
    pub(crate) fn new(known: BTreeMap<String, Metadata>) -> Self {
        Self {
            known,
            ..Self::default()
        }
    }

    /// Remembers; nothing happens when it is known already, as it nearly always is. `false` where there is no room for one more.
    pub(crate) fn set(&mut self, metric: &str, metadata: Metadata) -> bool {
        match self.known.get(metric) {
            Some(known) if *known == metadata => return true,
            None if self.known.len() >= METRICS_MAX => return false,
            _ => {}
        }
        self.known.insert(metric.to_owned(), metadata);
        self.unlogged.insert(metric.to_owned());
        self.unsaved.insert(metric.to_owned());
        true
    }

    /// As [`MetadataBook::set`], of what is in the WAL already.
    pub(crate) fn replay(&mut self, metric: String, metadata: Metadata) {
        self.unsaved.insert(metric.clone());
        self.known.insert(metric, metadata);
    }

    pub(crate) fn known(&self) -> &BTreeMap<String, Metadata> {
        &self.known
    }

    /// What the WAL does not hold yet.
    pub(crate) fn take_unlogged(&mut self) -> Vec<(String, Metadata)> {
        if self.unlogged.is_empty() {
            return Vec::new();
        }
        let names = std::mem::take(&mut self.unlogged);
        names
            .into_iter()
            .filter_map(|name| self.known.get(&name).cloned().map(|m| (name, m)))
            .collect()
    }

    /// The WAL did not take it.
    pub(crate) fn put_back(&mut self, described: Vec<(String, Metadata)>) {
        self.unlogged.extend(described.into_iter().map(|(name, _)| name));
    }

    /// What the state does not hold yet.
    pub(crate) fn unsaved(&self) -> BTreeMap<String, Metadata> {
        self.unsaved
            .iter()
            .filter_map(|name| self.known.get(name).cloned().map(|m| (name.clone(), m)))
            .collect()
    }

    /// The state holds `saved` now.
    pub(crate) fn saved(&mut self, saved: &BTreeMap<String, Metadata>) {
        self.unsaved.retain(|name| saved.get(name) != self.known.get(name));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_more_metrics_than_there_is_room_for() {
        let mut book = MetadataBook::default();
        let about = |help: &str| Metadata {
            help: help.to_owned(),
            ..Metadata::default()
        };
        for n in 0..METRICS_MAX {
            assert!(book.set(&format!("m{n}"), about("first")));
        }
        assert!(!book.set("one_more", about("first")));
        // What is known may be told anew.
        assert!(book.set("m7", about("second")));
        assert_eq!(book.known().len(), METRICS_MAX);
        assert_eq!(book.known()["m7"], about("second"));
    }
}
