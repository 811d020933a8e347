//! PagerDuty, Events API v2: <https://developer.pagerduty.com/docs/events-api-v2>. 202; 400 for what can never be taken; 429 and
//! 5xx to be tried again. One incident a group of alerts, known by the group's key.

use ring::digest;
use serde_json::{Value, json};

use crate::notify::message::{Message, action, cut, host, prefaced};
use crate::notify::wording::Words;
use crate::number::rfc3339;

const SUMMARY_MAX: usize = 1024;
/// Of 2,000 characters each: well below the 512 KB that an event may have.
const ALERTS_MAX: usize = 50;
const EVENT_BYTES_MAX: usize = 500_000;

pub(super) fn body(message: &Message, words: Option<&Words>, routing_key: &str) -> Value {
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
    let said = |key: &str| words.and_then(|words| words.said(key)).map(str::trim);
    let severity = match message.severity() {
        "critical" | "page" => "critical",
        severity @ ("warning" | "info") => severity,
        _ => "error",
    };
    // PagerDuty knows these four.
    let own_severity = said("severity").map(str::to_lowercase);
    let own_severity = own_severity.filter(|own| ["critical", "error", "warning", "info"].contains(&own.as_str()));
    let common = message.common_labels();
    let first = message.alerts.iter().find(|alert| !alert.is_resolved());
    let source = first.and_then(host).map_or("foreshock", String::as_str);
    let alerts: Vec<String> = message
        .alerts
        .iter()
        .take(ALERTS_MAX)
        .map(|alert| cut(&crate::notify::message::alert_text(alert), 2000))
        .collect();
    let label = |key: &str, name: &str| said(key).or_else(|| common.get(name).map(String::as_str));
    let summary = said("description").map_or_else(|| message.title(), |own| prefaced(message, own, str::to_owned));
    body["payload"] = json!({
        "summary": cut(&summary, SUMMARY_MAX),
        "source": cut(said("source").unwrap_or(source), SUMMARY_MAX),
        "severity": own_severity.as_deref().unwrap_or(severity),
        "timestamp": first.map(|alert| rfc3339(alert.starts_ms)),
        "component": label("component", "device"),
        "group": label("group", "job"),
        "class": label("class", "alertname"),
        "custom_details": {
            "alerts": alerts,
            "labels": common,
            "what to do": first.and_then(action),
        },
    });
    if let Some(Value::Object(details)) = words.and_then(|words| words.value("details")) {
        for (key, value) in details {
            body["payload"]["custom_details"][key] = value.clone();
        }
    }
    body["client"] = said("client").unwrap_or("Foreshock").into();
    body["client_url"] = said("client_url").map_or_else(|| message.link(), str::to_owned).into();
    let own = |key: &str| match words.map_or(Value::Null, |words| words.filled(key)) {
        Value::Array(own) => own,
        _ => Vec::new(),
    };
    let mut images = own("images");
    if let Some(url) = &message.chart_url {
        images.push(json!({ "src": url, "href": message.link(), "alt": message.chart_words() }));
    }
    // PagerDuty refuses an event with a picture or a link that leads nowhere.
    images.retain(|image| image["src"].is_string());
    if !images.is_empty() {
        body["images"] = images.into();
    }
    let mut links: Vec<Value> = message
        .doors()
        .iter()
        .map(|(words, url)| json!({ "href": url, "text": words }))
        .collect();
    links.extend(own("links"));
    links.retain(|link| link["href"].is_string());
    body["links"] = links.into();
    if body.to_string().len() > EVENT_BYTES_MAX {
        // What was added to the details is what nobody bounded.
        body["payload"]["custom_details"] = json!({ "alerts": alerts });
    }
    body
}
