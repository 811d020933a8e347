//! What became of each alert: when it was noticed, when somebody had it in hand, when it was over.

use std::collections::BTreeMap;

use store::{Labels, State, host_of};

use super::error::NotifyError;
use super::ledger;
use super::outbox::Outbox;

/// One alert from its beginning to its end. Times are milliseconds UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Episode {
    /// Its number.
    pub id: i64,
    /// The alert.
    pub fingerprint: String,
    /// Its name.
    pub alert: String,
    /// Its host, where it names one.
    pub host: Option<String>,
    /// Its label `service`, else `job`.
    pub service: Option<String>,
    /// Its label `severity`.
    pub severity: Option<String>,
    /// Since when its condition had held when it began to fire, where its rule is one of ours.
    pub since_ms: Option<i64>,
    /// When it began to fire.
    pub starts_ms: i64,
    /// When somebody first had it in hand.
    pub acknowledged_ms: Option<i64>,
    /// Who.
    pub acknowledged_by: Option<String>,
    /// When it ended; none while it fires.
    pub ends_ms: Option<i64>,
}

impl Episode {
    /// From the condition to the alert.
    #[must_use]
    pub fn detect_ms(&self) -> Option<i64> {
        self.since_ms.map(|since_ms| (self.starts_ms - since_ms).max(0))
    }

    /// From the alert to the first who had it in hand.
    #[must_use]
    pub fn acknowledge_ms(&self) -> Option<i64> {
        self.acknowledged_ms.map(|at_ms| (at_ms - self.starts_ms).max(0))
    }

    /// From the alert to its end.
    #[must_use]
    pub fn resolve_ms(&self) -> Option<i64> {
        self.ends_ms.map(|at_ms| (at_ms - self.starts_ms).max(0))
    }
}

/// A duration that came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// [`Episode::detect_ms`].
    Detect,
    /// [`Episode::acknowledge_ms`].
    Acknowledge,
    /// [`Episode::resolve_ms`].
    Resolve,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Detect, Self::Acknowledge, Self::Resolve];

    /// The series that it becomes.
    #[must_use]
    pub const fn metric(self) -> &'static str {
        match self {
            Self::Detect => "foreshock_alert_detect_seconds",
            Self::Acknowledge => "foreshock_alert_acknowledge_seconds",
            Self::Resolve => "foreshock_alert_resolve_seconds",
        }
    }

    /// Its value, once it is known.
    #[must_use]
    pub fn of(self, episode: &Episode) -> Option<f64> {
        let ms = match self {
            Self::Detect => episode.detect_ms(),
            Self::Acknowledge => episode.acknowledge_ms(),
            Self::Resolve => episode.resolve_ms(),
        };
        ms.map(|ms| ms as f64 / 1000.0)
    }

    pub(super) const fn bit(self) -> i64 {
        match self {
            Self::Detect => 1,
            Self::Acknowledge => 2,
            Self::Resolve => 4,
        }
    }
}

/// Host, service and severity of an alert.
pub(super) fn places(labels: &BTreeMap<String, String>) -> [Option<String>; 3] {
    let known = Labels::from_pairs(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let service = labels.get("service").or_else(|| labels.get("job"));
    [
        host_of(&known).map(str::to_owned),
        service.cloned(),
        labels.get("severity").cloned(),
    ]
}

impl Outbox {
    /// The newest episodes, newest first.
    ///
    /// # Errors
    /// [`NotifyError::State`].
    pub fn episodes(state: &State, limit: usize) -> Result<Vec<Episode>, NotifyError> {
        ledger::open(state)?;
        Ok(state.with(|connection| ledger::episodes(connection, limit))?)
    }

    /// Durations that came to be known and that nobody has taken over yet.
    ///
    /// # Errors
    /// [`NotifyError::State`].
    pub fn measured(state: &State) -> Result<Vec<(Episode, Measure)>, NotifyError> {
        Ok(state.with(|connection| ledger::measured(connection))?)
    }

    /// Forgets that those are to be taken over.
    ///
    /// # Errors
    /// [`NotifyError::State`]: they are handed out again then.
    pub fn take_over(state: &State, measured: &[(Episode, Measure)]) -> Result<(), NotifyError> {
        Ok(state.with(|connection| {
            let transaction = connection.transaction()?;
            for (episode, measure) in measured {
                ledger::mark_measured(&transaction, episode.id, measure.bit())?;
            }
            transaction.commit()
        })?)
    }
}
