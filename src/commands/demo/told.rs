//! What the webhook was told, in words.

use serde_json::Value;

/// Alerts that speak of what is to come; the others say what is.
const FORESIGHT: [&str; 6] = [
    "FailureLikely",
    "FailureImminent",
    "MemoryRunsOut",
    "CgroupMemoryRunsOut",
    "DiskRunsFull",
    "LatencyRunsAway",
];

/// One alert of a notification.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) alert: String,
    pub(super) host: String,
    pub(super) device: String,
    pub(super) firing: bool,
    pub(super) summary: String,
    /// The whole message about this alert.
    text: String,
}

impl Told {
    /// The alerts of a webhook payload of version 4.
    pub(super) fn of(body: &Value) -> Vec<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let extras = body["foreshock"]["alerts"].as_array().cloned().unwrap_or_default();
        let alerts = body["alerts"].as_array().into_iter().flatten();
        alerts
            .map(|alert| {
                let extra = extras.iter().find(|extra| extra["fingerprint"] == alert["fingerprint"]);
                Self {
                    alert: text(&alert["labels"]["alertname"]),
                    host: extra.map(|extra| text(&extra["host"])).unwrap_or_default(),
                    device: text(&alert["labels"]["device"]),
                    firing: alert["status"] == "firing",
                    summary: text(&alert["annotations"]["summary"]),
                    text: extra.map(|extra| text(&extra["text"])).unwrap_or_default(),
                }
            })
            .collect()
    }

    /// Whether the alert warns of something that has not happened yet.
    pub(super) fn is_warning(&self) -> bool {
        self.firing && FORESIGHT.contains(&self.alert.as_str())
    }

    /// Whether the alert is about this cgroup or target of this host.
    pub(super) fn is_about(&self, host: &str, subject: &str) -> bool {
        self.host == host
            && (subject.ends_with(&self.device) || self.device.ends_with(subject))
            && !self.device.is_empty()
    }

    /// The whole message, as a person would read it on a phone, each line after the first behind `indent`.
    pub(super) fn whole(&self, indent: &str) -> String {
        let lines: Vec<&str> = self.text.lines().collect();
        lines.join(&format!("\n{indent}"))
    }
}
