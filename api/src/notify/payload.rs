//! Alertmanager's webhook payload, version 4, with what only Foreshock knows beside it.

use serde_json::{Value, json};

use super::message::{Message, action, alert_text, host, status};
use super::notification::{Notification, Signal};
use crate::number::rfc3339;
use crate::rule::Trend;

/// The body that a webhook gets.
pub(super) fn json(message: &Message) -> Value {
    let mut body = json!({
        "version": "4",
        "groupKey": message.group_key,
        "truncatedAlerts": message.left_out,
        "status": message.status(),
        "receiver": message.receiver,
        "groupLabels": message.group_labels,
        "commonLabels": message.common_labels(),
        "commonAnnotations": message.common_annotations(),
        "externalURL": message.external_url,
        "notification_reason": message.reason,
        "alerts": message.alerts.iter().map(alert_json).collect::<Vec<_>>(),
        "foreshock": {
            "version": 1,
            "text": message.text(),
            "alerts": message.alerts.iter().map(extra_json).collect::<Vec<_>>(),
        },
    });
    if let Some(answer) = &message.answer {
        body["foreshock"]["answerUrl"] = answer.as_str().into();
    }
    if let Some(missed) = &message.instead_of {
        body["foreshock"]["insteadOf"] = missed.as_str().into();
    }
    body
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

fn trend_json(trend: &Trend) -> Value {
    json!({
        "start": rfc3339(trend.start_ms),
        "stepSeconds": trend.step_ms as f64 / 1000.0,
        "values": trend.values,
        "threshold": trend.threshold,
        "unit": trend.unit,
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
        "trend": alert.trend.as_ref().map(trend_json),
        "text": alert_text(alert),
    })
}
