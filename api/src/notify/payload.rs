//! Alertmanager's webhook payload, version 4, with what only Foreshock knows beside it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::notification::{Notification, Signal};
use crate::number::rfc3339;

/// The message about a group. `alerts` are in order; `left_out` says how many there are beyond them.
pub(super) struct Message<'a> {
    pub(super) receiver: &'a str,
    pub(super) group_key: &'a str,
    pub(super) group_labels: &'a BTreeMap<String, String>,
    pub(super) external_url: &'a str,
    pub(super) alerts: &'a [&'a Notification],
    pub(super) left_out: usize,
    /// Why it is sent: the first time, because something changed, or because it still holds.
    pub(super) reason: &'static str,
}

impl Message<'_> {
    pub(super) fn json(&self) -> Value {
        let resolved = self.alerts.iter().all(|alert| alert.is_resolved());
        json!({
            "version": "4",
            "groupKey": self.group_key,
            "truncatedAlerts": self.left_out,
            "status": status(resolved),
            "receiver": self.receiver,
            "groupLabels": self.group_labels,
            "commonLabels": common(self.alerts.iter().map(|alert| &alert.labels)),
            "commonAnnotations": common(self.alerts.iter().map(|alert| &alert.annotations)),
            "externalURL": self.external_url,
            "notification_reason": self.reason,
            "alerts": self.alerts.iter().map(|alert| alert_json(alert)).collect::<Vec<_>>(),
            "foreshock": {
                "version": 1,
                "text": text(self.alerts),
                "alerts": self.alerts.iter().map(|alert| extra_json(alert)).collect::<Vec<_>>(),
            },
        })
    }
}

fn status(resolved: bool) -> &'static str {
    if resolved { "resolved" } else { "firing" }
}

/// What all maps agree on.
fn common<'a>(mut maps: impl Iterator<Item = &'a BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let mut shared = maps.next().cloned().unwrap_or_default();
    for map in maps {
        shared.retain(|name, value| map.get(name) == Some(value));
    }
    shared
}

fn alert_json(alert: &Notification) -> Value {
    json!({
        "status": status(alert.is_resolved()),
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": rfc3339(alert.starts_ms),
        // Go's zero time stands for an alert that has not ended.
        "endsAt": alert.ends_ms.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), rfc3339),
        "generatorURL": alert.generator_url,
        "fingerprint": alert.fingerprint,
    })
}

fn extra_json(alert: &Notification) -> Value {
    let outlook = alert.outlook.clone().unwrap_or_default();
    let signal = |signal: &Signal| {
        json!({
            "name": signal.name,
            "value": signal.value,
            "unit": signal.unit,
            "usual": signal.usual,
            "text": signal.text,
            "since": rfc3339(signal.since_ms),
        })
    };
    json!({
        "fingerprint": alert.fingerprint,
        "status": status(alert.is_resolved()),
        "host": host(alert),
        "device": alert.labels.get("device"),
        "value": alert.value,
        "probability": outlook.probability,
        "horizon": outlook.horizon,
        "secondsToLimit": outlook.seconds_to_limit,
        "signals": outlook.signals.iter().map(signal).collect::<Vec<_>>(),
        "since": outlook.since_ms.map(rfc3339),
        "action": action(alert),
        "text": alert_text(alert),
    })
}

fn host(alert: &Notification) -> Option<&String> {
    alert.labels.get("host").or_else(|| alert.labels.get("host_name"))
}

/// The rule's own advice, else the model's.
fn action(alert: &Notification) -> Option<&str> {
    let of_rule = alert.annotations.get("action").map(String::as_str);
    let of_model = alert.outlook.as_ref().map(|outlook| outlook.advice.as_str());
    of_model.filter(|advice| !advice.is_empty()).or(of_rule)
}

/// The message in words, for receivers that show text: one paragraph an alert.
pub(super) fn text(alerts: &[&Notification]) -> String {
    alerts
        .iter()
        .map(|alert| alert_text(alert))
        .collect::<Vec<_>>()
        .join("\n\n")
}

/// What, which host, how likely by when, the signals, since when, what to do: a line each.
fn alert_text(alert: &Notification) -> String {
    let name = alert.labels.get("alertname").map_or("alert", String::as_str);
    let summary = alert.annotations.get("summary").map_or_else(
        || host(alert).map_or_else(|| name.to_owned(), |host| format!("{name} on {host}")),
        Clone::clone,
    );
    if let Some(ends_ms) = alert.ends_ms {
        return format!("Over: {summary}\nIt ended at {}.", rfc3339(ends_ms));
    }
    let mut lines = vec![summary];
    if let Some(outlook) = &alert.outlook {
        if let (Some(probability), Some(horizon)) = (outlook.probability, &outlook.horizon) {
            lines.push(format!("{:.0} % likely to fail within {horizon}.", probability * 100.0));
        }
        lines.extend(outlook.signals.iter().map(|signal| format!("- {}", signal.text)));
        if let Some(since_ms) = outlook.since_ms {
            lines.push(format!("Unusual since {}.", rfc3339(since_ms)));
        }
    }
    lines.push(format!("Firing since {}.", rfc3339(alert.starts_ms)));
    lines.extend(action(alert).map(|action| format!("What to do: {action}")));
    lines.join("\n")
}
