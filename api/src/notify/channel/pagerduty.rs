//! PagerDuty, Events API v2: <https://developer.pagerduty.com/docs/events-api-v2>. 202; 400 for what can never be taken; 429 and
//! 5xx to be tried again. One incident a group of alerts, known by the group's key.

use ring::digest;
use serde_json::{Value, json};

use crate::notify::message::{Message, action, cut, host};
use crate::number::rfc3339;

const SUMMARY_MAX: usize = 1024;
/// Bytes of details, well below the 512 KB that an event may have.
const ALERTS_MAX: usize = 50;

pub(super) fn body(message: &Message, routing_key: &str) -> Value {
    let dedup_key: String = digest::digest(&digest::SHA256, message.group_key.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let resolved = message.is_resolved();
    let mut body = json!({
        "routing_key": routing_key,
        "event_action": if resolved { "resolve" } else { "trigger" },
        "dedup_key": dedup_key,
    });
    if resolved {
        return body;
    }
    let severity = match message.severity() {
        "critical" | "page" => "critical",
        severity @ ("warning" | "info") => severity,
        _ => "error",
    };
    let common = message.common_labels();
    let first = message.alerts.iter().find(|alert| !alert.is_resolved());
    let source = first.and_then(host).map_or("foreshock", String::as_str);
    let alerts: Vec<String> = message
        .alerts
        .iter()
        .take(ALERTS_MAX)
        .map(|alert| cut(&crate::notify::message::alert_text(alert), 2000))
        .collect();
    body["payload"] = json!({
        "summary": cut(&message.title(), SUMMARY_MAX),
        "source": source,
        "severity": severity,
        "timestamp": first.map(|alert| rfc3339(alert.starts_ms)),
        "component": common.get("device"),
        "group": common.get("job"),
        "class": common.get("alertname"),
        "custom_details": {
            "alerts": alerts,
            "labels": common,
            "what to do": first.and_then(action),
        },
    });
    body["client"] = "Foreshock".into();
    body["client_url"] = message.link().into();
    let link = |(words, url): &(&str, String)| json!({ "href": url, "text": words });
    if let Some(url) = &message.chart_url {
        body["images"] = json!([{ "src": url, "href": message.link(), "alt": message.chart_words() }]);
    }
    body["links"] = message.doors().iter().map(link).collect();
    body
}
