//! What is known right now about each tenant's hosts and alerts: put here by whoever scores and evaluates, read by every
//! answer and page. Nothing here is history; history is series in the store.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use predict::live::Round;
use store::Labels;

/// The rules of a tenant after their newest evaluation.
#[derive(Clone, Debug, Default)]
pub struct RuleBook {
    /// The groups in the order of their files.
    pub groups: Vec<RuleGroup>,
}

impl RuleBook {
    /// Every alert: firing ones first, then pending, then resolved; of each the newest first.
    #[must_use]
    pub fn alerts(&self) -> Vec<&ActiveAlert> {
        let mut alerts: Vec<&ActiveAlert> = self.rules().flat_map(|rule| &rule.alerts).collect();
        alerts.sort_by_key(|alert| (alert.state, std::cmp::Reverse(alert.changed_at_ms())));
        alerts
    }

    /// Every rule in order.
    pub fn rules(&self) -> impl Iterator<Item = &RuleStatus> {
        self.groups.iter().flat_map(|group| &group.rules)
    }

    /// How many alerts fire.
    #[must_use]
    pub fn firing(&self) -> usize {
        self.rules()
            .flat_map(|rule| &rule.alerts)
            .filter(|alert| alert.state == AlertState::Firing)
            .count()
    }
}

/// One group of rules.
#[derive(Clone, Debug)]
pub struct RuleGroup {
    /// Its name.
    pub name: String,
    /// The file it stands in.
    pub file: String,
    /// Seconds between evaluations.
    pub interval_seconds: f64,
    /// When it was last evaluated, milliseconds.
    pub last_evaluation_ms: Option<i64>,
    /// How long that took.
    pub evaluation_seconds: f64,
    /// The rules in order.
    pub rules: Vec<RuleStatus>,
}

/// One rule and what became of it.
#[derive(Clone, Debug)]
pub struct RuleStatus {
    /// Name of the alert or of the recorded series.
    pub name: String,
    /// The expression.
    pub query: String,
    /// How long the expression must hold before the alert fires, in seconds; `None` for a recording rule.
    pub hold_seconds: Option<f64>,
    /// How long an alert goes on firing after the expression stopped holding, in seconds.
    pub keep_firing_seconds: f64,
    /// Labels that the rule adds.
    pub labels: BTreeMap<String, String>,
    /// Annotations as they stand in the file.
    pub annotations: BTreeMap<String, String>,
    /// Why the last evaluation failed, if it did.
    pub error: Option<String>,
    /// Alerts that came out of it: pending, firing, and lately resolved.
    pub alerts: Vec<ActiveAlert>,
}

/// Where an alert stands. The order is that of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertState {
    /// It holds, and has held long enough.
    Firing,
    /// It holds, not yet long enough.
    Pending,
    /// It fired, and holds no more.
    Resolved,
}

impl AlertState {
    /// The word for it in Prometheus' API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Pending => "pending",
            Self::Resolved => "inactive",
        }
    }
}

/// One alert.
#[derive(Clone, Debug)]
pub struct ActiveAlert {
    /// Its labels, with `alertname`.
    pub labels: Labels,
    /// Its annotations, filled in.
    pub annotations: BTreeMap<String, String>,
    /// Where it stands.
    pub state: AlertState,
    /// Since when the expression holds, milliseconds.
    pub active_at_ms: i64,
    /// Since when it fires.
    pub fired_at_ms: Option<i64>,
    /// When it stopped holding.
    pub resolved_at_ms: Option<i64>,
    /// The value of the expression at the last evaluation.
    pub value: f64,
}

impl ActiveAlert {
    /// Name of its rule.
    #[must_use]
    pub fn name(&self) -> &str {
        self.labels.get("alertname").unwrap_or("alert")
    }

    /// When it came to stand where it stands, milliseconds.
    #[must_use]
    pub fn changed_at_ms(&self) -> i64 {
        match self.state {
            AlertState::Firing => self.fired_at_ms,
            AlertState::Pending => None,
            AlertState::Resolved => self.resolved_at_ms,
        }
        .unwrap_or(self.active_at_ms)
    }
}

/// A round, and the hosts that it warns of.
#[derive(Debug)]
struct Scored {
    round: Arc<Round>,
    warned: HashSet<String>,
}

/// The newest of everything, a tenant each.
#[derive(Debug, Default)]
pub struct Board {
    rounds: RwLock<HashMap<String, Scored>>,
    rules: RwLock<HashMap<String, Arc<RuleBook>>>,
}

impl Board {
    /// Puts up a scoring round.
    pub fn publish_round(&self, tenant: &str, round: Round) {
        let warned = round.scores.iter().filter(|score| score.alert);
        let scored = Scored {
            warned: warned.map(|score| score.host.clone()).collect(),
            round: Arc::new(round),
        };
        self.rounds
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(tenant.to_owned(), scored);
    }

    /// Puts up the rules and alerts after an evaluation.
    pub fn publish_rules(&self, tenant: &str, rules: RuleBook) {
        self.rules
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(tenant.to_owned(), Arc::new(rules));
    }

    /// Takes down everything about a tenant.
    pub fn forget(&self, tenant: &str) {
        self.rounds
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(tenant);
        self.rules
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(tenant);
    }

    /// The newest scoring round.
    #[must_use]
    pub fn round(&self, tenant: &str) -> Option<Arc<Round>> {
        self.rounds
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(tenant)
            .map(|scored| Arc::clone(&scored.round))
    }

    /// Whether the newest round warns of a host or of a device of it.
    #[must_use]
    pub fn is_warned(&self, tenant: &str, host: &str) -> bool {
        self.rounds
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(tenant)
            .is_some_and(|scored| scored.warned.contains(host))
    }

    /// The rules and alerts, none before the first evaluation.
    #[must_use]
    pub fn rules(&self, tenant: &str) -> Arc<RuleBook> {
        self.rules
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(tenant)
            .map(Arc::clone)
            .unwrap_or_default()
    }
}
