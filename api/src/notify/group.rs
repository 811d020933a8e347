//! Which alerts go into one message, and whether there is anything new to say.

use std::collections::{BTreeMap, BTreeSet};

use super::notification::Notification;

/// How alerts are gathered into messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grouping {
    /// Alerts with the same values of these labels share messages; `...` stands for all labels.
    pub by: Vec<String>,
    /// How long the first message of a group waits for company.
    pub wait_ms: i64,
    /// Time between two messages of a group, at least.
    pub interval_ms: i64,
    /// After this time a message about alerts that still fire is sent again.
    pub repeat_ms: i64,
}

impl Default for Grouping {
    fn default() -> Self {
        Self {
            by: vec!["alertname".to_owned(), "host".to_owned()],
            wait_ms: 5000,
            interval_ms: 60_000,
            repeat_ms: 4 * 3_600_000,
        }
    }
}

impl Grouping {
    /// The labels that an alert's group has in common.
    pub(super) fn labels(&self, alert: &Notification) -> BTreeMap<String, String> {
        if self.by.iter().any(|name| name == ALL_LABELS) {
            return alert.labels.clone();
        }
        let value = |name: &String| Some((name.clone(), alert.labels.get(name)?.clone()));
        self.by.iter().filter_map(value).collect()
    }
}

/// What `group_by` says when every alert is to have a message of its own.
const ALL_LABELS: &str = "...";

/// The group's name below a route, in the form of Alertmanager's `groupKey`.
pub(super) fn key(route: &str, labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{route}:{{{}}}", pairs.join(", "))
}

/// What a receiver was last told about a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) firing: BTreeSet<String>,
    pub(super) resolved: BTreeSet<String>,
    pub(super) sent_ms: i64,
    /// How often the same was said again.
    pub(super) repeats: u32,
}

/// What there is to say now, if anything: the same rules as Alertmanager's, but an alert that ended and fires again is new.
pub(super) fn news(
    told: Option<&Told>,
    firing: &BTreeSet<String>,
    resolved: &BTreeSet<String>,
    send_resolved: bool,
    repeat_ms: i64,
    now_ms: i64,
) -> Option<Told> {
    let fresh = Told {
        firing: firing.clone(),
        resolved: resolved.clone(),
        sent_ms: now_ms,
        repeats: 0,
    };
    let Some(told) = told else {
        // What began and ended before anyone heard of it is not worth a message.
        return (!firing.is_empty()).then_some(fresh);
    };
    if !firing.is_subset(&told.firing) {
        return Some(fresh);
    }
    if firing.is_empty() {
        return (send_resolved && !told.firing.is_empty()).then_some(fresh);
    }
    if send_resolved && !resolved.is_subset(&told.resolved) {
        return Some(fresh);
    }
    (now_ms - told.sent_ms >= repeat_ms).then(|| Told {
        repeats: told.repeats + 1,
        ..fresh
    })
}
