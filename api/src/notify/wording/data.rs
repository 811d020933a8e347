//! A message as templates see it: Alertmanager's data, under its names, and what only Foreshock knows under `.Foreshock`.

use crate::notify::message::{Message, alert_text, host, status};
use crate::notify::notification::Notification;
use crate::template::Value;

/// `.`
pub(super) fn of(message: &Message) -> Value {
    Value::record(vec![
        // Alertmanager writes names so that they can stand in a pattern.
        ("Receiver", "receiver", Value::Text(regex_quoted(&message.receiver))),
        ("Status", "status", Value::text(message.status())),
        ("Alerts", "alerts", Value::alerts(message.alerts.iter().map(alert))),
        (
            "NotificationReason",
            "notification_reason",
            Value::text(&message.reason),
        ),
        ("GroupLabels", "groupLabels", Value::pairs(&message.group_labels)),
        ("CommonLabels", "commonLabels", Value::pairs(&message.common_labels())),
        (
            "CommonAnnotations",
            "commonAnnotations",
            Value::pairs(&message.common_annotations()),
        ),
        ("ExternalURL", "externalURL", Value::text(&message.external_url)),
        ("GroupKey", "", Value::text(&message.group_key)),
        ("TruncatedAlerts", "", Value::Whole(message.left_out as i64)),
        (
            "Foreshock",
            "",
            Value::record(vec![
                ("Title", "title", Value::Text(message.title())),
                ("Details", "details", Value::Text(message.details())),
                ("Text", "text", Value::Text(message.text())),
                ("Link", "link", Value::Text(message.link())),
            ]),
        ),
    ])
}

/// One of `.Alerts`.
fn alert(alert: &Notification) -> Value {
    let outlook = alert.outlook.as_ref();
    let probability = outlook.and_then(|outlook| outlook.probability);
    let signals = outlook.map(|outlook| outlook.signals.as_slice()).unwrap_or_default();
    Value::record(vec![
        ("Status", "status", Value::text(status(alert.is_resolved()))),
        ("Labels", "labels", Value::pairs(&alert.labels)),
        ("Annotations", "annotations", Value::pairs(&alert.annotations)),
        ("StartsAt", "startsAt", Value::time(alert.starts_ms)),
        (
            "EndsAt",
            "endsAt",
            alert.ends_ms.map_or_else(Value::time_zero, Value::time),
        ),
        ("GeneratorURL", "generatorURL", Value::text(&alert.generator_url)),
        ("Fingerprint", "fingerprint", Value::text(&alert.fingerprint)),
        (
            "Foreshock",
            "",
            Value::record(vec![
                ("Text", "text", Value::Text(alert_text(alert))),
                ("Host", "host", host(alert).map_or(Value::Nothing, Value::text)),
                (
                    "Probability",
                    "probability",
                    probability.map_or(Value::Nothing, Value::Number),
                ),
                (
                    "Horizon",
                    "horizon",
                    outlook
                        .and_then(|outlook| outlook.horizon.as_ref())
                        .map_or(Value::Nothing, Value::text),
                ),
                (
                    "Signals",
                    "signals",
                    Value::texts(signals.iter().map(|signal| signal.text.clone())),
                ),
            ]),
        ),
    ])
}

fn regex_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(
            c,
            '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$'
        ) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
