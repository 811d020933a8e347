//! What there is to tell about one alert.

use std::collections::BTreeMap;

use predict::live::{Forecast, HostScore, Round, ScoreState};
use serde::{Deserialize, Serialize};

use crate::rule::{AlertState, Transition, Trend};

/// An alert that began to fire or ended, with what is known about it. It is kept as JSON in the outbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// Identity of the labels, 16 hexadecimal digits.
    pub fingerprint: String,
    /// With `alertname`.
    pub labels: BTreeMap<String, String>,
    /// Texts for people.
    pub annotations: BTreeMap<String, String>,
    /// When the alert began to fire, milliseconds UTC.
    pub starts_ms: i64,
    /// When it ended; `None` while it fires.
    pub ends_ms: Option<i64>,
    /// Value of the rule's expression; `None` where it is no number.
    pub value: Option<f64>,
    /// Where to look further.
    pub generator_url: String,
    /// What prediction has to say.
    pub outlook: Option<Outlook>,
    /// When an alert from outside ends unless it is said again, milliseconds UTC.
    #[serde(default)]
    pub expires_ms: Option<i64>,
    /// When it was last said or evaluated, milliseconds UTC.
    #[serde(default)]
    pub updated_ms: i64,
    /// Since when its condition had held when it began to fire, milliseconds UTC; where that is known.
    #[serde(default)]
    pub since_ms: Option<i64>,
    /// The hours before it began to fire.
    #[serde(default)]
    pub trend: Option<Trend>,
}

/// What prediction says about the alert's host.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Outlook {
    /// Probability of an incident within the horizon, 0 to 1.
    pub probability: Option<f64>,
    /// How far ahead that looks: `1h`.
    pub horizon: Option<String>,
    /// Seconds until a resource is used up, at its present rate.
    pub seconds_to_limit: Option<f64>,
    /// At most three signals that drove it, the strongest first.
    pub signals: Vec<Signal>,
    /// Since when the strongest of them has been unusual, milliseconds UTC.
    pub since_ms: Option<i64>,
    /// What to do.
    pub advice: String,
}

/// One signal, in numbers and in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// Its name.
    pub name: String,
    /// What it is now; `None` where it is no number.
    pub value: Option<f64>,
    /// In which unit.
    pub unit: String,
    /// What it usually is.
    pub usual: Option<f64>,
    /// A sentence with all of it.
    pub text: String,
    /// Since when it has been unusual, milliseconds UTC.
    pub since_ms: i64,
}

/// Signals in one message: more are not read on a phone.
const SIGNALS_MAX: usize = 3;

impl Notification {
    /// The notification of a transition, with what the newest scoring round says about its host.
    #[must_use]
    pub fn of(transition: &Transition, round: Option<&Round>) -> Self {
        let alert = &transition.alert;
        let (starts_ms, ends_ms) = match alert.state {
            AlertState::Resolved {
                fired_ms, resolved_ms, ..
            } => (fired_ms, Some(resolved_ms)),
            AlertState::Firing { fired_ms, .. } => (fired_ms, None),
            AlertState::Pending { .. } | AlertState::Quiet => (transition.at_ms, None),
        };
        Self {
            fingerprint: alert.fingerprint.clone(),
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            starts_ms,
            ends_ms,
            value: alert.value.is_finite().then_some(alert.value),
            generator_url: String::new(),
            outlook: round.and_then(|round| Outlook::of(round, &alert.labels)),
            expires_ms: None,
            updated_ms: transition.at_ms,
            since_ms: alert.state.since_ms(),
            trend: None,
        }
    }

    /// The same with the hours before it, where they are known.
    #[must_use]
    pub fn with_trend(self, trend: Option<Trend>) -> Self {
        Self { trend, ..self }
    }

    /// The same with a link to the page that shows more of it, on a server that is found at `base`.
    #[must_use]
    pub fn with_link(mut self, base: &str, tenant: &str) -> Self {
        let host = self.labels.get("host").or_else(|| self.labels.get("host_name"));
        let path = host.map_or_else(
            || "/alerts".to_owned(),
            |host| format!("/hosts/{}", crate::page::layout::encoded(host)),
        );
        let whose = if tenant == crate::DEFAULT_TENANT {
            String::new()
        } else {
            format!("?tenant={}", crate::page::layout::encoded(tenant))
        };
        self.generator_url = format!("{base}{path}{whose}");
        self
    }

    /// The same alert as it stands at `now_ms`: ended, where nobody said in time that it goes on.
    pub(super) fn at(mut self, now_ms: i64) -> Self {
        if self.ends_ms.is_none() {
            self.ends_ms = self.expires_ms.filter(|expires_ms| *expires_ms <= now_ms);
        }
        self
    }

    /// The alert that its sources speak of, as they stand at `now_ms`: it is over when none of them says that it goes on. Of those
    /// that do a rule of our own knows most; of those that are over the last one to end tells the end.
    pub(super) fn of_sources(words: Vec<Self>, now_ms: i64) -> Option<Self> {
        let weight = |word: &Self| {
            let end_ms = word.ends_ms.unwrap_or(i64::MAX);
            (end_ms, word.expires_ms.is_none(), word.updated_ms)
        };
        words.into_iter().map(|word| word.at(now_ms)).max_by_key(weight)
    }

    /// The alert once `newer` has been said about it too. What overlaps is one episode, with the earlier beginning.
    pub(super) fn merged(self, newer: Self) -> Self {
        let end = |alert: &Self| alert.ends_ms.or(alert.expires_ms).unwrap_or(i64::MAX);
        let overlaps = newer.starts_ms < end(&self) && self.starts_ms < end(&newer);
        if !overlaps {
            return newer;
        }
        Self {
            starts_ms: newer.starts_ms.min(self.starts_ms),
            ..newer
        }
    }

    /// True once the alert has ended.
    #[must_use]
    pub fn is_resolved(&self) -> bool {
        self.ends_ms.is_some()
    }

    /// A line for logs and lists: `firing FailureLikely host-1`.
    #[must_use]
    pub fn title(&self) -> String {
        let status = if self.is_resolved() { "resolved" } else { "firing" };
        let label = |name: &str| self.labels.get(name).map_or("", String::as_str);
        format!("{status} {} {}", label("alertname"), label("host"))
            .trim_end()
            .to_owned()
    }

    /// The alert with its beginning: another episode of the same alert is another one.
    pub(super) fn episode(&self) -> String {
        format!("{}@{}", self.fingerprint, self.starts_ms)
    }
}

impl Outlook {
    /// What a round says about the host, or the resource, that the labels name; `None` when it says nothing about it.
    #[must_use]
    pub fn of(round: &Round, labels: &BTreeMap<String, String>) -> Option<Self> {
        let label = |name: &str| labels.get(name).map(String::as_str);
        let host = label("host").or_else(|| label("host_name"))?;
        let scores = || round.scores.iter().filter(|score| score.host == host);
        let score = scores()
            .find(|score| score.device.as_deref() == label("device"))
            .or_else(|| scores().next());
        let mut outlook = score.map(Self::of_score);
        let forecast = round.forecasts.iter().find(|forecast| {
            forecast.host == host
                && label("resource").is_some_and(|resource| forecast.resource.name() == resource)
                && label("device").unwrap_or_default() == forecast.device
        });
        if let Some(forecast) = forecast {
            outlook.get_or_insert_default().add_forecast(forecast, round.at_ms);
        }
        outlook
    }

    fn of_score(score: &HostScore) -> Self {
        let signals: Vec<Signal> = score
            .signals
            .iter()
            .take(SIGNALS_MAX)
            .map(|signal| Signal {
                name: signal.name.clone(),
                value: signal.value.is_finite().then_some(signal.value),
                unit: signal.unit.to_owned(),
                usual: signal.usual.is_finite().then_some(signal.usual),
                text: signal.text.clone(),
                since_ms: signal.since_ms,
            })
            .collect();
        let probability = match &score.state {
            ScoreState::Scored(probability) => Some(probability.get()),
            ScoreState::Learning { .. } | ScoreState::Abstained { .. } => None,
        };
        Self {
            probability,
            horizon: probability.map(|_| score.horizon.to_string()),
            seconds_to_limit: None,
            since_ms: signals.first().map(|signal| signal.since_ms),
            signals,
            advice: score.advice.clone(),
        }
    }

    /// The resource that the alert is about comes first.
    fn add_forecast(&mut self, forecast: &Forecast, at_ms: i64) {
        self.seconds_to_limit = forecast.seconds_to_limit;
        let since_ms = self.since_ms.unwrap_or(at_ms);
        self.signals.insert(
            0,
            Signal {
                name: forecast.resource.name().to_owned(),
                value: forecast.now_value.is_finite().then_some(forecast.now_value),
                unit: String::new(),
                usual: None,
                text: forecast.text.clone(),
                since_ms,
            },
        );
        self.signals.truncate(SIGNALS_MAX);
    }
}
