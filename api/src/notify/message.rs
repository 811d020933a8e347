//! A message about a group of alerts, as it waits in the outbox: what is to be said, before it is known in which form.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::chart;
use super::notification::Notification;
use crate::page::text::utc_short;
use crate::rule::Trend;

/// What one receiver is told about one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Message {
    /// Name of the receiver, as routes know it.
    pub(super) receiver: String,
    /// Alertmanager's `groupKey`.
    pub(super) group_key: String,
    pub(super) group_labels: BTreeMap<String, String>,
    /// Where this server is found.
    pub(super) external_url: String,
    /// In order, those that fire first.
    pub(super) alerts: Vec<Notification>,
    /// How many alerts there are beyond these.
    pub(super) left_out: usize,
    /// Why it is sent: the first time, because something changed, or because it still holds.
    pub(super) reason: String,
    /// The receiver that could not be reached, where this copy goes to its fallback.
    #[serde(default)]
    pub(super) instead_of: Option<String>,
    /// A sentence that stands before everything else.
    #[serde(default)]
    pub(super) note: Option<String>,
    /// The key of the group, or of the alert, that an answer is about.
    #[serde(default)]
    pub(super) about: Option<String>,
    /// Where it can be answered; made for each attempt.
    #[serde(skip)]
    pub(super) answer: Option<String>,
    /// Where the chart of its alert lies, for platforms that fetch pictures; made for each attempt.
    #[serde(skip)]
    pub(super) chart_url: Option<String>,
}

impl Message {
    /// True once every alert of it has ended.
    pub(super) fn is_resolved(&self) -> bool {
        self.alerts.iter().all(Notification::is_resolved)
    }

    /// `firing` or `resolved`.
    pub(super) fn status(&self) -> &'static str {
        status(self.is_resolved())
    }

    pub(super) fn common_labels(&self) -> BTreeMap<String, String> {
        common(self.alerts.iter().map(|alert| &alert.labels))
    }

    pub(super) fn common_annotations(&self) -> BTreeMap<String, String> {
        common(self.alerts.iter().map(|alert| &alert.annotations))
    }

    /// The message in a line: what is the matter, or how many alerts there are about what.
    pub(super) fn title(&self) -> String {
        if let [alert] = self.alerts.as_slice() {
            let over = if alert.is_resolved() { "Over: " } else { "" };
            return format!("{over}{}", summary(alert));
        }
        let ended = self.alerts.iter().filter(|alert| alert.is_resolved()).count();
        let firing = self.alerts.len() + self.left_out - ended;
        let counts = match (firing, ended) {
            (firing, 0) => format!("{firing} alerts"),
            (0, ended) => format!("Over: {ended} alerts"),
            (firing, ended) => format!("{firing} alerts, {ended} over"),
        };
        let common = self.common_labels();
        let about: Vec<&str> = ["alertname", "host", "host_name"]
            .iter()
            .filter_map(|name| common.get(*name).map(String::as_str))
            .collect();
        [counts, about.join(" on ")].join(" ").trim_end().to_owned()
    }

    /// What stands below the title: one paragraph an alert, for a single one without its first line.
    pub(super) fn details(&self) -> String {
        let text = self.text();
        match (self.alerts.as_slice(), self.prologue().next(), self.left_out) {
            ([_], None, 0) => text
                .split_once('\n')
                .map_or_else(String::new, |(_, rest)| rest.to_owned()),
            _ => text,
        }
    }

    /// Where there is more to see: the page of the alert, of its sender, or of all alerts.
    pub(super) fn link(&self) -> String {
        let first = self.alerts.first().map(|alert| alert.generator_url.as_str());
        first
            .filter(|url| !url.is_empty())
            .map_or_else(|| format!("{}/alerts", self.external_url), str::to_owned)
    }

    /// The most urgent severity among the alerts that fire.
    pub(super) fn severity(&self) -> &str {
        const ORDER: [&str; 5] = ["critical", "page", "error", "warning", "info"];
        let fires = |wanted: &str| {
            self.alerts.iter().any(|alert| {
                !alert.is_resolved() && alert.labels.get("severity").is_some_and(|severity| severity == wanted)
            })
        };
        ORDER.into_iter().find(|wanted| fires(wanted)).unwrap_or("error")
    }

    /// The message in words, for receivers that show text: one paragraph an alert.
    pub(super) fn text(&self) -> String {
        let mut paragraphs: Vec<String> = self.prologue().collect();
        paragraphs.extend(self.alerts.iter().map(alert_text));
        if self.left_out > 0 {
            paragraphs.push(format!("And {} more.", self.left_out));
        }
        paragraphs.join("\n\n")
    }
}

impl Message {
    /// What can be done about it from where it is read: words, and an address.
    pub(super) fn doors(&self) -> Vec<(&'static str, String)> {
        let mut doors = vec![("Open in Foreshock", self.link())];
        if let Some(answer) = &self.answer {
            let at = |place: &str| format!("{answer}#{place}");
            doors.push(("Acknowledge", at("acknowledge")));
            doors.push(("Silence", at("silence")));
            doors.push(("Real or noise?", at("verdict")));
        }
        doors
    }

    /// The same in a line, each in the form that the platform gives to links.
    pub(super) fn door_line(&self, form: impl Fn(&str, &str) -> String) -> String {
        let doors: Vec<String> = self.doors().iter().map(|(words, url)| form(words, url)).collect();
        doors.join(" · ")
    }

    /// The hours before its alert, where it is about a single one that fires: of several, none would know whose they are.
    pub(super) fn trend(&self) -> Option<&Trend> {
        match self.alerts.as_slice() {
            [alert] if self.left_out == 0 && !alert.is_resolved() => alert.trend.as_ref(),
            _ => None,
        }
    }

    /// What the chart shows, for those who do not see it.
    pub(super) fn chart_words(&self) -> String {
        let words = self.trend().and_then(chart::words);
        words.unwrap_or_else(|| "the hours before the alert".to_owned())
    }

    /// Why it came here: a sentence each.
    pub(super) fn prologue(&self) -> impl Iterator<Item = String> {
        let missed = self.instead_of.as_ref();
        let missed = missed.map(|missed| format!("Sent here because receiver {missed} cannot be reached."));
        self.note.iter().cloned().chain(missed)
    }
}

/// A text that is not ours, with why it came here before it, each sentence in the form that the platform gives to plain text.
pub(super) fn prefaced(message: &Message, text: &str, form: impl Fn(&str) -> String) -> String {
    let mut paragraphs: Vec<String> = message.prologue().map(|sentence| form(&sentence)).collect();
    paragraphs.push(text.trim().to_owned());
    paragraphs.join("\n\n").trim_end().to_owned()
}

/// The doors of a message in Markdown.
pub(super) fn markdown_doors(message: &Message) -> String {
    message.door_line(|words, url| format!("[{words}]({url})"))
}

/// A text of at most `most` characters, counted in UTF-16 as most platforms do; what had to go is told.
pub(super) fn cut(text: &str, most: usize) -> String {
    cut_by(text, most, char::len_utf16)
}

/// The same in bytes of UTF-8.
pub(super) fn cut_bytes(text: &str, most: usize) -> String {
    cut_by(text, most, char::len_utf8)
}

fn cut_by(text: &str, most: usize, size: fn(char) -> usize) -> String {
    const MARK: &str = "…";
    if text.chars().map(size).sum::<usize>() <= most {
        return text.to_owned();
    }
    let room = most.saturating_sub(MARK.chars().map(size).sum());
    let mut used = 0;
    let mut short: String = text
        .chars()
        .take_while(|c| {
            used += size(*c);
            used <= room
        })
        .collect();
    short.truncate(short.trim_end().len());
    short + MARK
}

/// `&`, `<` and `>` as entities, which Slack and HTML want.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

pub(super) fn status(resolved: bool) -> &'static str {
    if resolved { "resolved" } else { "firing" }
}

/// What all maps agree on.
pub(super) fn common<'a>(mut maps: impl Iterator<Item = &'a BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let mut shared = maps.next().cloned().unwrap_or_default();
    for map in maps {
        shared.retain(|name, value| map.get(name) == Some(value));
    }
    shared
}

pub(super) fn host(alert: &Notification) -> Option<&String> {
    alert.labels.get("host").or_else(|| alert.labels.get("host_name"))
}

/// The model's own advice, else the rule's.
pub(super) fn action(alert: &Notification) -> Option<&str> {
    let of_rule = alert.annotations.get("action").map(String::as_str);
    let of_model = alert.outlook.as_ref().map(|outlook| outlook.advice.as_str());
    of_model.filter(|advice| !advice.is_empty()).or(of_rule)
}

/// What is the matter, in a line.
pub(super) fn summary(alert: &Notification) -> String {
    let name = alert.labels.get("alertname").map_or("alert", String::as_str);
    alert
        .annotations
        .get("summary")
        .cloned()
        .unwrap_or_else(|| host(alert).map_or_else(|| name.to_owned(), |host| format!("{name} on {host}")))
}

/// What, which host, how likely by when, the signals, how it came so, since when, what to do: a line each.
pub(super) fn alert_text(alert: &Notification) -> String {
    let summary = summary(alert);
    if let Some(ends_ms) = alert.ends_ms {
        return format!("Over: {summary}\nIt ended at {}.", utc_short(ends_ms));
    }
    let mut lines = vec![summary];
    lines.extend(facts(alert));
    lines.extend(alert.trend.as_ref().and_then(chart::words));
    lines.push(format!("Firing since {}.", utc_short(alert.starts_ms)));
    lines.extend(action(alert).map(|action| format!("What to do: {action}")));
    lines.join("\n")
}

/// How likely by when, the signals, since when: a line each.
pub(super) fn facts(alert: &Notification) -> Vec<String> {
    let mut lines = Vec::new();
    let Some(outlook) = &alert.outlook else { return lines };
    if let (Some(probability), Some(horizon), false) =
        (outlook.probability, &outlook.horizon, says_the_probability(alert))
    {
        lines.push(format!("{:.0} % likely to fail within {horizon}.", probability * 100.0));
    }
    lines.extend(outlook.signals.iter().map(|signal| format!("- {}", signal.text)));
    lines.extend(
        outlook
            .since_ms
            .map(|since_ms| format!("Unusual since {}.", utc_short(since_ms))),
    );
    lines
}

/// Whether the summary is about the score already: a rule over scores keeps their label `horizon`, and its summary names the
/// value, which the same number once more would only make harder to read.
fn says_the_probability(alert: &Notification) -> bool {
    alert.labels.contains_key("horizon") && alert.annotations.get("summary").is_some_and(|text| text.contains('%'))
}
