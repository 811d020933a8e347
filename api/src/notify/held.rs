//! What is held and how receivers fare, for pages and answers: nothing here changes anything.

use std::collections::BTreeMap;

use store::{Labels, State, StateError};

use super::acknowledgement::Acknowledgement;
use super::error::NotifyError;
use super::inhibit::inhibitors;
use super::ledger;
use super::notification::Notification;
use super::outbox::Outbox;
use super::receiver::Receiver;
use crate::silences::{Silence, SilenceBook};

/// An alert that is held for notification, with what keeps it back.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldAlert {
    /// The alert.
    pub alert: Notification,
    /// Numbers of the silences that cover it now.
    pub silenced_by: Vec<i64>,
    /// Fingerprints of the alerts that inhibit it now.
    pub inhibited_by: Vec<String>,
    /// Names of the times of quiet in which all its routes are now.
    pub muted_by: Vec<String>,
    /// Names of the receivers that its routes lead to.
    pub receivers: Vec<String>,
    /// Who has it in hand.
    pub acknowledged: Option<Acknowledgement>,
}

impl HeldAlert {
    /// Whether anything keeps messages about it back.
    #[must_use]
    pub fn is_kept_back(&self) -> bool {
        !(self.silenced_by.is_empty() && self.inhibited_by.is_empty() && self.muted_by.is_empty())
    }
}

/// Alerts that share messages.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldGroup {
    /// What they have in common.
    pub labels: BTreeMap<String, String>,
    /// Name of the receiver that their route leads to.
    pub receiver: String,
    /// Its alerts, with all their receivers.
    pub alerts: Vec<HeldAlert>,
}

/// How a receiver fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverStatus {
    /// What it is called in the outbox.
    pub id: String,
    /// Its name, as routes know it.
    pub name: String,
    /// `webhook`, `slack`.
    pub kind: &'static str,
    /// Scheme, host and port of its address.
    pub place: String,
    /// Who gets copies of what it cannot be told.
    pub fallback: Option<String>,
    /// Messages that wait for it.
    pub waiting: usize,
    /// Attempts that failed in a row.
    pub failures: u32,
    /// True once they are so many that it counts as broken.
    pub broken: bool,
    /// It is left alone until then, milliseconds UTC.
    pub until_ms: Option<i64>,
    /// When it last took a message, as far as the log goes back.
    pub delivered_ms: Option<i64>,
}

impl Outbox {
    /// Alerts that are held for notification, with what keeps them back and whom they go to.
    ///
    /// # Errors
    /// [`NotifyError::State`].
    pub fn alerts(&self, state: &State, now_ms: i64) -> Result<Vec<HeldAlert>, NotifyError> {
        let silences = SilenceBook::open(state)?.current(now_ms)?;
        let (alerts, acknowledged) = state.with(|connection| {
            let acknowledged = ledger::acknowledgements(connection)?;
            Ok((ledger::all_alerts(connection, now_ms)?, acknowledged))
        })?;
        let firing: Vec<Notification> = alerts.iter().filter(|alert| !alert.is_resolved()).cloned().collect();
        let held = |alert: Notification| self.held(alert, &silences, &firing, &acknowledged, now_ms);
        Ok(alerts.into_iter().map(held).collect())
    }

    pub(super) fn held(
        &self,
        alert: Notification,
        silences: &[Silence],
        firing: &[Notification],
        acknowledged: &BTreeMap<String, Acknowledgement>,
        now_ms: i64,
    ) -> HeldAlert {
        let routing = &self.settings.routing;
        let routes = routing.of(&alert.labels);
        let mut receivers: Vec<String> = Vec::new();
        for name in routes.iter().flat_map(|route| self.settings.names_of(route)) {
            if receivers.iter().all(|known| known != name) {
                receivers.push(name.to_owned());
            }
        }
        let muted: Option<Vec<String>> = routes.iter().map(|route| routing.muted_by(route, now_ms)).collect();
        HeldAlert {
            silenced_by: covering(silences, &alert, now_ms).map(|silence| silence.id).collect(),
            inhibited_by: inhibitors(&routing.inhibitions, &alert, firing),
            muted_by: muted.unwrap_or_default(),
            receivers,
            acknowledged: acknowledged
                .get(&alert.fingerprint)
                .filter(|one| one.is_of(&alert))
                .cloned(),
            alert,
        }
    }

    /// The groups of what is held, each with its receiver, in order.
    ///
    /// # Errors
    /// [`NotifyError::State`].
    pub fn groups(&self, state: &State, now_ms: i64) -> Result<Vec<HeldGroup>, NotifyError> {
        let held: BTreeMap<String, HeldAlert> = self
            .alerts(state, now_ms)?
            .into_iter()
            .map(|held| (held.alert.fingerprint.clone(), held))
            .collect();
        let groups = state.with(|connection| {
            let members = ledger::members(connection)?;
            Ok(ledger::groups(connection, i64::MAX)?
                .into_iter()
                .map(|group| {
                    let first = (group.key.clone(), String::new());
                    let of_group = members.range(first..).take_while(|(key, _)| *key == group.key);
                    let alerts: Vec<HeldAlert> = of_group
                        .filter_map(|(_, fingerprint)| held.get(fingerprint).cloned())
                        .collect();
                    (group, alerts)
                })
                .collect::<Vec<_>>())
        })?;
        let mut found = Vec::new();
        for (group, alerts) in groups {
            let Some(route) = self.settings.routing.by_id(&group.route) else {
                continue;
            };
            for name in self.settings.names_of(route) {
                found.push(HeldGroup {
                    labels: group.labels.clone(),
                    receiver: name.to_owned(),
                    alerts: alerts.clone(),
                });
            }
        }
        found.sort_by(|a, b| (&a.labels, &a.receiver).cmp(&(&b.labels, &b.receiver)));
        Ok(found)
    }

    /// How each receiver fares.
    ///
    /// # Errors
    /// [`NotifyError::State`].
    pub fn receivers_status(&self, state: &State) -> Result<Vec<ReceiverStatus>, NotifyError> {
        let status = |receiver: &Receiver, condition: ledger::Condition| ReceiverStatus {
            id: receiver.id().to_owned(),
            name: receiver.name().to_owned(),
            kind: receiver.kind(),
            place: receiver.place().to_owned(),
            fallback: receiver.fallback().map(str::to_owned),
            waiting: condition.waiting,
            failures: condition.failures,
            broken: condition.failures >= self.settings.failures_max,
            until_ms: condition.until_ms,
            delivered_ms: condition.delivered_ms,
        };
        let found = state.with(|connection| {
            self.settings
                .receivers
                .iter()
                .map(|receiver| Ok(status(receiver, ledger::condition(connection, receiver.id())?)))
                .collect()
        })?;
        Ok(found)
    }
}

pub(super) fn firing(state: &State, now_ms: i64) -> Result<Vec<Notification>, StateError> {
    let mut alerts = state.with(|connection| ledger::all_alerts(connection, now_ms))?;
    alerts.retain(|alert| !alert.is_resolved());
    Ok(alerts)
}

pub(super) fn covering<'a>(
    silences: &'a [Silence],
    alert: &Notification,
    now_ms: i64,
) -> impl Iterator<Item = &'a Silence> + use<'a> {
    let labels = Labels::from_pairs(alert.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    silences.iter().filter(move |silence| silence.covers(&labels, now_ms))
}
