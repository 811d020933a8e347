//! Alerts that rules raise, and what tells them apart.

use std::collections::BTreeMap;

use store::{Labels, METRIC_NAME};

use super::state::AlertState;

/// An alert that is pending or firing, or was until now.
#[derive(Debug, Clone, PartialEq)]
pub struct ActiveAlert {
    /// Which rule raised it: group and name.
    pub rule: String,
    /// Identity of its labels, 16 hexadecimal digits, computed as Alertmanager does.
    pub fingerprint: String,
    /// With `alertname`.
    pub labels: BTreeMap<String, String>,
    /// Texts for people.
    pub annotations: BTreeMap<String, String>,
    /// The expression's value when it was evaluated last.
    pub value: f64,
    /// Where it stands.
    pub state: AlertState,
}

/// An alert that began to fire or ended. Handed out until it is acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// For [`super::Evaluator::acknowledge`].
    pub id: i64,
    /// When it happened, milliseconds UTC.
    pub at_ms: i64,
    /// What happened.
    pub kind: TransitionKind,
    /// The alert, as it was then.
    pub alert: ActiveAlert,
}

/// Begin or end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransitionKind {
    /// The alert fires.
    Fired,
    /// It ended.
    Resolved,
}

impl TransitionKind {
    /// `firing` or `resolved`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fired => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// Alertmanager's identity of a label set: FNV-1a over names and values in order, each followed by a byte of no text.
#[must_use]
pub(crate) fn fingerprint(labels: &BTreeMap<String, String>) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    const SEPARATOR: [u8; 1] = [255];
    let parts = labels
        .iter()
        .flat_map(|(name, value)| [name.as_bytes(), &SEPARATOR, value.as_bytes(), &SEPARATOR]);
    let hash = parts
        .flatten()
        .fold(OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME));
    format!("{hash:016x}")
}

/// Prometheus' own series about an alert: `ALERTS`, and since when as `ALERTS_FOR_STATE`.
pub(super) fn alert_series(alert: &ActiveAlert) -> impl Iterator<Item = (Labels, f64)> + use<> {
    let pairs = || alert.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let since = alert.state.since_ms().unwrap_or(0) as f64 / 1000.0;
    let named = Labels::from_pairs(pairs().chain([(METRIC_NAME, "ALERTS"), ("alertstate", alert.state.name())]));
    let timed = Labels::from_pairs(pairs().chain([(METRIC_NAME, "ALERTS_FOR_STATE")]));
    [(named, 1.0), (timed, since.floor())].into_iter()
}
