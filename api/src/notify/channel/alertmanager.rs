//! An upstream Alertmanager: `POST /api/v2/alerts`, as Prometheus does it.

use serde_json::{Value, json};

use crate::notify::message::Message;
use crate::number::rfc3339;

/// An Alertmanager forgets what is not said again.
pub(super) const REPEAT_MS: i64 = 5 * 60_000;
/// Four times as long, as Prometheus has it, so that three repetitions may be lost.
const HOLDS_MS: i64 = 4 * REPEAT_MS;

pub(super) fn body(message: &Message, now_ms: i64) -> Value {
    let alerts = message.alerts.iter().map(|alert| {
        json!({
            "labels": alert.labels,
            "annotations": alert.annotations,
            "startsAt": rfc3339(alert.starts_ms),
            "endsAt": rfc3339(alert.ends_ms.unwrap_or(now_ms + HOLDS_MS)),
            "generatorURL": if alert.generator_url.is_empty() { &message.external_url } else { &alert.generator_url },
        })
    });
    alerts.collect()
}
