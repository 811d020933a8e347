//! Alerts that keep others back: whoever hears that a host is gone need not hear that its disks do not answer.

use std::collections::BTreeMap;

use store::Matcher;

use super::matcher::all_match;
use super::notification::Notification;

/// While an alert that `source` matches fires, alerts that `target` matches are not told, where both agree on `equal`.
#[derive(Debug, Clone)]
pub struct Inhibition {
    /// What the alert that keeps back must meet.
    pub source: Vec<Matcher>,
    /// What an alert that is kept back must meet.
    pub target: Vec<Matcher>,
    /// Labels whose values must be the same in both; missing in both is the same.
    pub equal: Vec<String>,
}

impl Inhibition {
    /// Fingerprints of those of `firing` that keep `alert` back.
    fn keeping_back<'a>(
        &'a self,
        alert: &'a Notification,
        firing: &'a [Notification],
    ) -> impl Iterator<Item = &'a str> + use<'a> {
        let concerned = all_match(&self.target, &alert.labels);
        // As Alertmanager: what is on both sides of a rule is not kept back by others of its kind, itself included.
        let both = concerned && all_match(&self.source, &alert.labels);
        let candidates = if concerned { firing } else { &[] };
        candidates
            .iter()
            .filter(move |source| {
                source.fingerprint != alert.fingerprint
                    && all_match(&self.source, &source.labels)
                    && !(both && all_match(&self.target, &source.labels))
                    && self.agrees(&source.labels, &alert.labels)
            })
            .map(|source| source.fingerprint.as_str())
    }

    fn agrees(&self, a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> bool {
        let value = |labels: &BTreeMap<String, String>, name: &str| labels.get(name).cloned().unwrap_or_default();
        self.equal.iter().all(|name| value(a, name) == value(b, name))
    }
}

/// Fingerprints of the alerts that keep `alert` back now; `firing` are all that fire.
pub(super) fn inhibitors(rules: &[Inhibition], alert: &Notification, firing: &[Notification]) -> Vec<String> {
    let mut found: Vec<String> = rules
        .iter()
        .flat_map(|rule| rule.keeping_back(alert, firing))
        .map(str::to_owned)
        .collect();
    found.sort();
    found.dedup();
    found
}
