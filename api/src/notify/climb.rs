//! Alerts that nobody acknowledges climb: from step to step, until somebody has them or they end.

use std::collections::BTreeMap;
use std::slice::Chunks;

use rusqlite::Transaction;
use store::State;

use super::channel::Channel;
use super::error::NotifyError;
use super::escalation::Step;
use super::group;
use super::held::firing;
use super::ledger::{self, Climb, Letter};
use super::link::alert_key;
use super::message::{Message, common};
use super::notification::Notification;
use super::outbox::{Outbox, idempotency_key, title};
use super::receiver::Receiver;
use crate::silences::SilenceBook;

/// Alerts that take a step at once; more do at the next look.
const CLIMBS_MAX: usize = 1000;
/// How soon it is looked again whether an alert that is kept back is still so.
const LOOK_MS: i64 = 30_000;

impl Outbox {
    /// Starts the clock for what a first message was written about.
    pub(super) fn begin_escalation(
        &self,
        transaction: &Transaction<'_>,
        firing: &[&Notification],
        now_ms: i64,
    ) -> Result<(), rusqlite::Error> {
        for alert in firing.iter().filter(|alert| !alert.is_resolved()) {
            let Some(policy) = self.settings.escalations.of(&alert.labels) else {
                continue;
            };
            let known = ledger::climb(transaction, &alert.fingerprint)?;
            let acknowledged = ledger::acknowledgement(transaction, &alert.fingerprint)?;
            if known.as_ref().is_some_and(|climb| climb.starts_ms >= alert.starts_ms)
                || acknowledged.is_some_and(|one| one.is_of(alert))
            {
                continue;
            }
            let climb = Climb {
                fingerprint: alert.fingerprint.clone(),
                starts_ms: alert.starts_ms,
                policy: policy.name.clone(),
                told_ms: now_ms,
                step: 0,
                due_ms: policy.steps.first().map(|step| now_ms + step.after_ms),
                // It ended and fired again before anybody was told of the end: they still have to hear of one.
                told: known.map(|climb| climb.told).unwrap_or_default(),
            };
            ledger::put_climb(transaction, &climb)?;
        }
        Ok(())
    }

    /// Takes the steps that are due; answers how many messages were written. Alerts of one group that go to the same receiver share a
    /// message there too. What is silenced, inhibited or muted waits.
    ///
    /// # Errors
    /// [`NotifyError::State`]: no step was taken then.
    pub fn escalate(&self, state: &State, now_ms: i64) -> Result<usize, NotifyError> {
        let due = state.with(|connection| ledger::climbs_due(connection, now_ms, CLIMBS_MAX))?;
        if due.is_empty() {
            return Ok(0);
        }
        let silences = SilenceBook::open(state)?.current(now_ms)?;
        let firing = firing(state, now_ms)?;
        let written = state.with(|connection| {
            let transaction = connection.transaction()?;
            let mut passed: BTreeMap<Passed, Vec<Notification>> = BTreeMap::new();
            for climb in &due {
                // Somebody may have acknowledged it a moment ago.
                let climb = ledger::climb(&transaction, &climb.fingerprint)?;
                let Some(mut climb) = climb.filter(|climb| climb.due_ms.is_some_and(|due_ms| due_ms <= now_ms)) else {
                    continue;
                };
                let alert = ledger::alert(&transaction, &climb.fingerprint)?.map(|alert| alert.at(now_ms));
                let acknowledged = ledger::acknowledgement(&transaction, &climb.fingerprint)?;
                let alert = alert.filter(|alert| {
                    !alert.is_resolved()
                        && climb.starts_ms >= alert.starts_ms
                        && !acknowledged.is_some_and(|one| one.is_of(alert))
                });
                let policy = self.settings.escalations.by_name(&climb.policy);
                let step = policy.and_then(|policy| policy.steps.get(climb.step));
                climb.due_ms = match (alert, policy, step) {
                    (Some(alert), Some(policy), Some(step)) => {
                        let held = self.held(alert, &silences, &firing, &BTreeMap::new(), now_ms);
                        if held.is_kept_back() {
                            Some(now_ms + LOOK_MS)
                        } else {
                            let step = self.taken(&transaction, &mut climb, step, now_ms)?;
                            passed.entry(step).or_default().push(held.alert);
                            let next = policy.steps.get(climb.step);
                            next.map(|next| (climb.told_ms + next.after_ms).max(now_ms))
                        }
                    }
                    // It ended, somebody has it, or the configuration knows no further step.
                    _ => None,
                };
                ledger::put_climb(&transaction, &climb)?;
            }
            let mut written = 0;
            for (step, alerts) in &passed {
                written += self.pass_on(&transaction, step, alerts, now_ms)?;
            }
            transaction.commit()?;
            Ok(written)
        })?;
        Ok(written)
    }

    /// Notes that an alert takes its next step.
    fn taken(
        &self,
        transaction: &Transaction<'_>,
        climb: &mut Climb,
        step: &Step,
        now_ms: i64,
    ) -> Result<Passed, rusqlite::Error> {
        let receiver = self.settings.escalations.receiver(&step.to, now_ms).to_owned();
        for told in self.settings.named(&receiver) {
            if !climb.told.contains(&told.id().to_owned()) {
                climb.told.push(told.id().to_owned());
            }
        }
        climb.step += 1;
        Ok(Passed {
            group: ledger::group_of(transaction, &climb.fingerprint)?,
            receiver,
            step: climb.step,
            after_ms: step.after_ms,
        })
    }

    fn pass_on(
        &self,
        transaction: &Transaction<'_>,
        step: &Passed,
        alerts: &[Notification],
        now_ms: i64,
    ) -> Result<usize, rusqlite::Error> {
        let note = format!(
            "Nobody acknowledged this within {:.0} min.",
            step.after_ms as f64 / 60_000.0
        );
        let mut written = 0;
        for receiver in self.settings.named(&step.receiver) {
            for alerts in shares(receiver, alerts) {
                let alerts: Vec<&Notification> = alerts.iter().collect();
                let suffix = format!("escalation{}", step.step);
                let said = (suffix.as_str(), Some(note.clone()));
                self.put_escalated(transaction, &alerts, receiver, step.group.as_deref(), said, now_ms)?;
                written += 1;
            }
        }
        let first = alerts.first().map(Notification::title).unwrap_or_default();
        tracing::warn!(
            first,
            alerts = alerts.len(),
            receiver = step.receiver,
            step = step.step,
            "nobody acknowledged alerts: the next one is told"
        );
        Ok(written)
    }

    /// Tells those to whom alerts of a group climbed that these are over.
    pub(super) fn end_escalations(
        &self,
        transaction: &Transaction<'_>,
        ended: &[&Notification],
        now_ms: i64,
    ) -> Result<usize, rusqlite::Error> {
        let mut over: BTreeMap<String, Vec<&Notification>> = BTreeMap::new();
        for alert in ended {
            if let Some(climb) = ledger::climb(transaction, &alert.fingerprint)? {
                ledger::drop_climb(transaction, &alert.fingerprint)?;
                for id in climb.told {
                    over.entry(id).or_default().push(alert);
                }
            }
        }
        let mut written = 0;
        for (id, alerts) in &over {
            let Some(receiver) = self.settings.receiver(id).filter(|receiver| receiver.send_resolved) else {
                continue;
            };
            for alerts in shares(receiver, alerts) {
                self.put_escalated(transaction, alerts, receiver, None, ("escalation", None), now_ms)?;
                written += 1;
            }
        }
        Ok(written)
    }

    fn put_escalated(
        &self,
        transaction: &Transaction<'_>,
        alerts: &[&Notification],
        receiver: &Receiver,
        group: Option<&str>,
        (suffix, note): (&str, Option<String>),
        now_ms: i64,
    ) -> Result<(), rusqlite::Error> {
        let labels = common(alerts.iter().map(|alert| &alert.labels));
        let about = match alerts {
            [alert] => Some(alert_key(&alert.fingerprint)),
            _ => group.map(str::to_owned),
        };
        let shown = &alerts[..alerts.len().min(receiver.alerts_max)];
        let message = Message {
            receiver: receiver.name().to_owned(),
            // A conversation of its own, also where the alert's group went to the same place before.
            group_key: group::key("{}/escalation", &labels),
            group_labels: labels,
            external_url: self.settings.external_url.clone(),
            alerts: shown.iter().map(|alert| (*alert).clone()).collect(),
            left_out: alerts.len() - shown.len(),
            reason: "escalation".to_owned(),
            instead_of: None,
            note,
            about,
            answer: None,
            chart_url: None,
        };
        let letter = Letter {
            id: 0,
            receiver: receiver.id().to_owned(),
            key: format!("{}-{suffix}", idempotency_key("", alerts, 0)),
            what: format!("escalated: {}", title(alerts)),
            body: ledger::json(&message),
            created_ms: now_ms,
            attempts: 0,
            instead_of: None,
            diverted: false,
        };
        self.put_letter(transaction, &letter)
    }
}

/// What alerts have in common that are passed on together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Passed {
    /// The key of one of their groups.
    group: Option<String>,
    /// Name of the receiver.
    receiver: String,
    /// From one on.
    step: usize,
    after_ms: i64,
}

/// The alerts of one message each: one alone, where an incident stands for one alert and has to end with it.
fn shares<'a, T>(receiver: &Receiver, alerts: &'a [T]) -> Chunks<'a, T> {
    if matches!(receiver.channel, Channel::PagerDuty { .. }) {
        alerts.chunks(1)
    } else {
        receiver.shares(alerts)
    }
}
