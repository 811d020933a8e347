//! What an operator may choose about notifications.

use super::backoff::Backoff;
use super::escalation::Escalations;
use super::receiver::Receiver;
use super::route::{Route, Routing};

/// What an operator may choose about notifications.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whom there is to tell.
    pub receivers: Vec<Receiver>,
    /// Who is told what, and which alerts share a message.
    pub routing: Routing,
    /// Whom else to tell where nobody acknowledges an alert.
    pub escalations: Escalations,
    /// Pauses between attempts.
    pub backoff: Backoff,
    /// A message that its receiver refuses (4xx other than 408, 425, 429, or a redirect) is given up after so many attempts.
    pub refusals_max: u32,
    /// After so many attempts in a row without an answer that counts, the receiver's fallback gets copies of what waits.
    pub failures_max: u32,
    /// A message that was not delivered within this time is given up.
    pub give_up_ms: i64,
    /// Messages that may wait for one receiver; beyond them the oldest is given up.
    pub queue_max: usize,
    /// Alerts that are held at once; further ones from outside are refused.
    pub alerts_max: usize,
    /// Where this server is found, for links.
    pub external_url: String,
    /// Whether messages may say where a chart can be fetched; see [`Outbox::chart`](super::outbox::Outbox::chart).
    pub chart_links: bool,
    /// Names of receivers that send nothing anywhere.
    pub silent: Vec<String>,
    /// The configuration as it may be shown, in Alertmanager's form and without secrets; none where nothing of this form was read.
    pub configuration: Option<String>,
}

/// What Alertmanager's clients are told where there is no receiver; each of their alerts must have one.
pub(crate) const NOBODY: &str = "nobody";

impl Default for Settings {
    fn default() -> Self {
        Self {
            receivers: Vec::new(),
            routing: Routing::default(),
            escalations: Escalations::default(),
            backoff: Backoff::default(),
            refusals_max: 5,
            failures_max: 3,
            give_up_ms: 3 * 86_400_000,
            queue_max: 1000,
            alerts_max: 100_000,
            external_url: String::new(),
            chart_links: true,
            silent: Vec::new(),
            configuration: None,
        }
    }
}

impl Settings {
    /// The receiver with this id.
    #[must_use]
    pub fn receiver(&self, id: &str) -> Option<&Receiver> {
        self.receivers.iter().find(|receiver| receiver.id() == id)
    }

    /// The receivers of this name: one for each place that it stands for.
    pub(super) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Receiver> {
        self.receivers.iter().filter(move |receiver| receiver.name() == name)
    }

    /// Names of the receivers, as routes know them.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for name in self
            .receivers
            .iter()
            .map(Receiver::name)
            .chain(self.silent.iter().map(String::as_str))
        {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The configuration in Alertmanager's form, without secrets: as it was read, or as it would have to be written.
    #[must_use]
    pub fn shown(&self) -> String {
        if let Some(configuration) = &self.configuration {
            return configuration.clone();
        }
        let names = self.names();
        let quoted = |name: &str| serde_json::Value::from(name).to_string();
        let grouping = &self.routing.root().grouping;
        let by: Vec<String> = grouping.by.iter().map(|name| quoted(name)).collect();
        // Every receiver gets everything: one route each, all of which go on, below a root that nobody listens to.
        let mut lines = vec![
            "route:".to_owned(),
            format!("  receiver: {NOBODY}"),
            format!("  group_by: [{}]", by.join(", ")),
            format!("  group_wait: {}ms", grouping.wait_ms),
            format!("  group_interval: {}ms", grouping.interval_ms),
            format!("  repeat_interval: {}ms", grouping.repeat_ms),
        ];
        if !names.is_empty() {
            lines.push("  routes:".to_owned());
        }
        let everybody = self.names_of(self.routing.root());
        lines.extend(
            names
                .iter()
                .filter(|name| everybody.contains(name))
                .map(|name| format!("  - {{receiver: {}, continue: true}}", quoted(name))),
        );
        lines.push("receivers:".to_owned());
        lines.extend(
            std::iter::once(&NOBODY)
                .chain(&names)
                .map(|name| format!("- name: {}", quoted(name))),
        );
        lines.join("\n") + "\n"
    }

    /// The names of the receivers that a route leads to.
    pub(super) fn names_of<'a>(&'a self, route: &'a Route) -> Vec<&'a str> {
        match &route.receiver {
            Some(name) => vec![name.as_str()],
            None => {
                let mut names: Vec<&str> = Vec::new();
                let all = self.of(route).map(Receiver::name);
                for name in all.chain(self.silent.iter().map(String::as_str)) {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
                if names.is_empty() { vec![NOBODY] } else { names }
            }
        }
    }

    /// The receivers that a route speaks to.
    pub(super) fn of<'a>(&'a self, route: &'a Route) -> impl Iterator<Item = &'a Receiver> {
        let meant = move |receiver: &&Receiver| match route.receiver.as_deref() {
            Some(name) => name == receiver.name(),
            None => !receiver.only_escalated,
        };
        self.receivers.iter().filter(meant)
    }
}
