//! What the webhook was told, in words.

use serde_json::Value;

/// One alert of a notification.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) alert: String,
    pub(super) host: String,
    pub(super) device: String,
    pub(super) firing: bool,
    pub(super) summary: String,
    pub(super) signals: Vec<String>,
    pub(super) advice: String,
}

impl Told {
    /// The alerts of a webhook payload of version 4.
    pub(super) fn of(body: &Value) -> Vec<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        body["alerts"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|alert| Self {
                alert: text(&alert["labels"]["alertname"]),
                host: text(&alert["labels"]["host"]),
                device: text(&alert["labels"]["device"]),
                firing: alert["status"] == "firing",
                summary: text(&alert["annotations"]["summary"]),
                signals: alert["foreshock"]["signals"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|signal| signal.as_str().map_or_else(|| text(&signal["text"]), str::to_owned))
                    .collect(),
                advice: text(&alert["foreshock"]["advice"]),
            })
            .collect()
    }

    /// Whether the alert is about this cgroup or target of this host.
    pub(super) fn is_about(&self, host: &str, subject: &str) -> bool {
        self.host == host
            && (subject.ends_with(&self.device) || self.device.ends_with(subject))
            && !self.device.is_empty()
    }

    /// As a person would read it on a phone.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.summary.clone()];
        lines.extend(self.signals.iter().take(3).map(|signal| format!("- {signal}")));
        if !self.advice.is_empty() {
            lines.push(format!("do: {}", self.advice));
        }
        lines
    }
}
