//! Sending what waits, and writing down what came of it.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Instant;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use reqwest::Client;
use rusqlite::Transaction;
use store::State;
use tokio::task::JoinSet;

use super::error::NotifyError;
use super::group;
use super::ledger::{self, Delivery, Letter, Outcome};
use super::message::Message;
use super::notification::Notification;
use super::outbox::{Outbox, idempotency_key};
use super::receiver::Receiver;
use super::send::{Ended, Verdict, send};
use super::wording::Words;
use crate::rule::Trend;

/// A receiver that is to be left alone for longer has its messages copied to its fallback, however few attempts failed: our own
/// pauses between attempts grow to as much.
const HOLD_LONG_MS: i64 = 5 * 60_000;

impl Outbox {
    /// Flushes groups that are due and sends what is due, to all receivers at the same time and to each in order. Ends when
    /// nothing is due any more, so that it takes as long as the slowest receiver: where time is the wall clock's,
    /// [`super::Courier`] keeps receivers from waiting for each other.
    ///
    /// # Errors
    /// [`NotifyError::State`]: messages stay as they were and are sent again, with the same key.
    pub async fn deliver_due(&self, state: &State, now_ms: i64, client: &Client) -> Result<Vec<Delivery>, NotifyError> {
        self.flush(state, now_ms)?;
        self.escalate(state, now_ms)?;
        let started = Instant::now();
        let now = || now_ms + i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX / 2);
        let mut running = JoinSet::new();
        let mut busy = BTreeSet::new();
        let mut deliveries = Vec::new();
        loop {
            // All of them each time: what one receiver did not take may have gone to another.
            for receiver in self.receivers() {
                if busy.contains(receiver.id()) {
                    continue;
                }
                if let Some((letter, message)) = self.next(state, now(), receiver)? {
                    busy.insert(receiver.id().to_owned());
                    let (client, receiver, at_ms) = (client.clone(), receiver.clone(), now());
                    running.spawn(async move {
                        let ended = send(&client, &receiver, &letter.key, &message, at_ms).await;
                        (receiver, letter, ended)
                    });
                }
            }
            let Some(joined) = running.join_next().await else {
                return Ok(deliveries);
            };
            // A panic while sending is a failure of that attempt alone; the message is still in the outbox.
            let Ok((receiver, letter, ended)) = joined else {
                continue;
            };
            deliveries.push(self.settle(state, now(), &receiver, &letter, &ended)?);
            busy.remove(receiver.id());
        }
    }

    /// The first message that is due for a receiver. One that cannot be read any more is given up rather than left in the way.
    pub(super) fn next(
        &self,
        state: &State,
        now_ms: i64,
        receiver: &Receiver,
    ) -> Result<Option<(Letter, Message)>, NotifyError> {
        while let Some(letter) = ledger::due_letter(state, receiver.id(), now_ms)? {
            match serde_json::from_str::<Message>(&letter.body) {
                Ok(mut message) => {
                    message.answer = self.answer_url(state, receiver, &message, letter.created_ms)?;
                    message.chart_url = self.chart_url(state, receiver, &message, letter.created_ms)?;
                    return Ok(Some((letter, message)));
                }
                Err(error) => {
                    let reason = format!("it was kept in a form that this version does not read: {error}");
                    let delivery = state.with(|connection| {
                        let transaction = connection.transaction()?;
                        let mut delivery = delivery_of(&letter, now_ms, Outcome::Dead, &reason);
                        ledger::bury(&transaction, &letter, now_ms, &reason)?;
                        ledger::note(&transaction, &mut delivery)?;
                        transaction.commit()?;
                        Ok(delivery)
                    })?;
                    given_up(&delivery);
                    count(&delivery);
                }
            }
        }
        Ok(None)
    }

    /// Writes down what came of an attempt that ended now.
    pub(super) fn settle(
        &self,
        state: &State,
        now_ms: i64,
        receiver: &Receiver,
        letter: &Letter,
        ended: &Ended,
    ) -> Result<Delivery, NotifyError> {
        let delivery = state.with(|connection| {
            let transaction = connection.transaction()?;
            let outcome = self.outcome(&transaction, now_ms, letter, ended)?;
            let mut delivery = delivery_of(letter, now_ms, outcome, &ended.text);
            delivery.attempt = letter.attempts + 1;
            delivery.status = ended.status;
            delivery.seconds = ended.elapsed.as_secs_f64();
            if outcome == Outcome::Dead {
                let reason = if ended.text.is_empty() { "refused" } else { &ended.text };
                let letter = Letter {
                    attempts: delivery.attempt,
                    ..letter.clone()
                };
                self.divert_one(&transaction, receiver, &letter, now_ms)?;
                ledger::bury(&transaction, &letter, now_ms, reason)?;
            }
            ledger::note(&transaction, &mut delivery)?;
            self.keep_pace(&transaction, receiver, now_ms)?;
            self.divert_waiting(&transaction, receiver, now_ms)?;
            transaction.commit()?;
            Ok(delivery)
        })?;
        match delivery.outcome {
            Outcome::Delivered => tracing::debug!(
                receiver = delivery.receiver,
                what = delivery.what,
                "notification delivered"
            ),
            Outcome::Again { .. } => {
                tracing::warn!(
                    receiver = delivery.receiver,
                    what = delivery.what,
                    text = delivery.text,
                    "notification will be sent again"
                );
            }
            Outcome::Dead => given_up(&delivery),
        }
        count(&delivery);
        Ok(delivery)
    }

    fn outcome(
        &self,
        transaction: &Transaction<'_>,
        now_ms: i64,
        letter: &Letter,
        ended: &Ended,
    ) -> Result<Outcome, rusqlite::Error> {
        let attempt = letter.attempts + 1;
        match ended.verdict {
            Verdict::Delivered => {
                ledger::strike_out(transaction, letter.id)?;
                ledger::release(transaction, &letter.receiver)?;
                Ok(Outcome::Delivered)
            }
            Verdict::Refused if attempt >= self.settings.refusals_max => Ok(Outcome::Dead),
            Verdict::Refused => {
                let at_ms = now_ms + self.settings.backoff.pause_ms(attempt, &letter.key);
                ledger::postpone(transaction, letter.id, at_ms)?;
                Ok(Outcome::Again { at_ms })
            }
            Verdict::Later(pause) => {
                let failures = ledger::hold(transaction, &letter.receiver)?.map_or(0, |(_, failures)| failures) + 1;
                // Rounded up: a millisecond early is too early.
                let asked = pause.map_or(0, |pause| i64::try_from(pause.as_millis()).unwrap_or(i64::MAX / 2) + 1);
                let at_ms = now_ms + asked.max(self.settings.backoff.pause_ms(failures, &letter.receiver));
                ledger::set_hold(transaction, &letter.receiver, at_ms, failures)?;
                ledger::postpone(transaction, letter.id, at_ms)?;
                let too_old = now_ms - letter.created_ms >= self.settings.give_up_ms;
                Ok(if too_old {
                    Outcome::Dead
                } else {
                    Outcome::Again { at_ms }
                })
            }
        }
    }

    /// Leaves a receiver alone once it got as many messages as its platform takes in a stretch of time.
    fn keep_pace(
        &self,
        transaction: &Transaction<'_>,
        receiver: &Receiver,
        now_ms: i64,
    ) -> Result<(), rusqlite::Error> {
        let Some(pace) = receiver.pace else { return Ok(()) };
        let Some(first_ms) = ledger::attempt_before(transaction, receiver.id(), pace.messages)? else {
            return Ok(());
        };
        // The log is left as it was where the clock went back.
        let free_ms = first_ms.min(now_ms) + pace.within_ms;
        let (until_ms, failures) = ledger::hold(transaction, receiver.id())?.unwrap_or((0, 0));
        if free_ms > now_ms && free_ms > until_ms {
            ledger::set_hold(transaction, receiver.id(), free_ms, failures)?;
        }
        Ok(())
    }

    /// Gives the fallback of a receiver that is broken, or wants to be left alone for long, a copy of everything that waits for it.
    /// The originals go on waiting: the receiver gets them when it is back.
    fn divert_waiting(
        &self,
        transaction: &Transaction<'_>,
        receiver: &Receiver,
        now_ms: i64,
    ) -> Result<(), rusqlite::Error> {
        if receiver.fallback.is_none() {
            return Ok(());
        }
        let (until_ms, failures) = ledger::hold(transaction, receiver.id())?.unwrap_or((now_ms, 0));
        // The attempts that would make it broken come after what it asked for: a day of that is a day of silence.
        let is_away = failures > 0 && until_ms - now_ms > HOLD_LONG_MS;
        if failures < self.settings.failures_max && !is_away {
            return Ok(());
        }
        for letter in ledger::undiverted(transaction, receiver.id())? {
            self.divert_one(transaction, receiver, &letter, now_ms)?;
        }
        Ok(())
    }

    /// The same for all receivers, for messages that were written since their last attempts.
    pub(super) fn divert_new(&self, state: &State, now_ms: i64) -> Result<(), NotifyError> {
        let with_fallback = self.receivers().iter().filter(|receiver| receiver.fallback.is_some());
        for receiver in with_fallback {
            state.with(|connection| {
                let transaction = connection.transaction()?;
                self.divert_waiting(&transaction, receiver, now_ms)?;
                transaction.commit()
            })?;
        }
        Ok(())
    }

    fn divert_one(
        &self,
        transaction: &Transaction<'_>,
        receiver: &Receiver,
        letter: &Letter,
        now_ms: i64,
    ) -> Result<(), rusqlite::Error> {
        let Some(fallback) = &receiver.fallback else {
            return Ok(());
        };
        if letter.diverted || letter.instead_of.is_some() {
            return Ok(());
        }
        let Ok(mut message) = serde_json::from_str::<Message>(&letter.body) else {
            return Ok(());
        };
        message.instead_of = Some(receiver.id().to_owned());
        let copy = Letter {
            id: 0,
            receiver: fallback.clone(),
            body: ledger::json(&message),
            created_ms: now_ms,
            attempts: 0,
            instead_of: Some(receiver.id().to_owned()),
            diverted: false,
            ..letter.clone()
        };
        self.put_letter(transaction, &copy)?;
        ledger::mark_diverted(transaction, letter.id)?;
        tracing::warn!(
            receiver = receiver.id(),
            fallback,
            what = letter.what,
            "the fallback gets a copy of the notification"
        );
        Ok(())
    }

    /// Sends a test message to one receiver now, past outbox and holds, and answers what it said, and in which words of its own
    /// the message was. `name` is a receiver's name or its id.
    ///
    /// # Errors
    /// [`NotifyError::Receiver`] when there is none of that name; [`NotifyError::State`] when the log cannot be written.
    pub async fn test(&self, state: &State, now_ms: i64, client: &Client, name: &str) -> Result<Tested, NotifyError> {
        let receivers = self.receivers();
        let receiver = receivers
            .iter()
            .find(|receiver| receiver.id() == name)
            .or_else(|| receivers.iter().find(|receiver| receiver.name() == name))
            .ok_or_else(|| NotifyError::Receiver { name: name.to_owned() })?;
        let mut message = test_message(receiver.name(), &self.settings.external_url, now_ms);
        let letter = Letter {
            id: 0,
            receiver: receiver.id().to_owned(),
            key: idempotency_key(&message.group_key, &message.alerts.iter().collect::<Vec<_>>(), 0),
            what: "test".to_owned(),
            body: String::new(),
            created_ms: now_ms,
            attempts: 0,
            instead_of: None,
            diverted: false,
        };
        message.chart_url = self.chart_url(state, receiver, &message, now_ms)?;
        let ended = send(client, receiver, &letter.key, &message, now_ms).await;
        let outcome = if ended.verdict == Verdict::Delivered {
            Outcome::Delivered
        } else {
            Outcome::Dead
        };
        let mut delivery = delivery_of(&letter, now_ms, outcome, &ended.text);
        delivery.attempt = 1;
        delivery.status = ended.status;
        delivery.seconds = ended.elapsed.as_secs_f64();
        state.with(|connection| {
            let transaction = connection.transaction()?;
            ledger::note(&transaction, &mut delivery)?;
            transaction.commit()
        })?;
        let words = ended.words.as_ref().map(Words::listed).unwrap_or_default();
        Ok(Tested { delivery, words })
    }
}

/// What came of a test.
#[derive(Debug, Clone, PartialEq)]
pub struct Tested {
    /// What the receiver said.
    pub delivery: Delivery,
    /// The texts that its configuration made of the message, each with its key (`title`, `fields[0].value`); none where the message
    /// went out in our words.
    pub words: Vec<(String, String)>,
}

pub(super) fn delivery_of(letter: &Letter, at_ms: i64, outcome: Outcome, text: &str) -> Delivery {
    Delivery {
        id: 0,
        at_ms,
        receiver: letter.receiver.clone(),
        key: letter.key.clone(),
        what: letter.what.clone(),
        attempt: letter.attempts,
        outcome,
        status: None,
        text: text.to_owned(),
        seconds: 0.0,
    }
}

pub(super) fn given_up(delivery: &Delivery) {
    tracing::error!(
        receiver = delivery.receiver,
        what = delivery.what,
        text = delivery.text,
        "notification was given up"
    );
}

/// A message that is made up.
pub(super) fn test_message(receiver: &str, external_url: &str, now_ms: i64) -> Message {
    let alert = test_alert(now_ms);
    Message {
        receiver: receiver.to_owned(),
        group_key: group::key("{}", &alert.labels),
        group_labels: alert.labels.clone(),
        external_url: external_url.to_owned(),
        alerts: vec![alert],
        left_out: 0,
        reason: "test".to_owned(),
        instead_of: None,
        note: None,
        about: None,
        answer: None,
        chart_url: None,
    }
}

fn test_alert(now_ms: i64) -> Notification {
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let labels = [text("alertname", "ForeshockTest"), text("severity", "info")].into();
    Notification {
        fingerprint: crate::rule::fingerprint(&labels),
        labels,
        annotations: [
            text("summary", "This is a test: notifications of Foreshock arrive here"),
            text(
                "action",
                "Nothing is wrong, there is nothing to do. The chart is made up.",
            ),
        ]
        .into(),
        starts_ms: now_ms,
        ends_ms: None,
        value: None,
        generator_url: String::new(),
        outlook: None,
        expires_ms: None,
        updated_ms: now_ms,
        since_ms: None,
        trend: Some(test_trend(now_ms)),
    }
}

/// So that one sees whether pictures arrive.
fn test_trend(now_ms: i64) -> Trend {
    const STEPS: u8 = 48;
    let step_ms = 450_000;
    let value = |step: u8| Some((f64::from(step).powi(2) * 10.0 / f64::from(STEPS)).round() / 1000.0);
    Trend {
        start_ms: now_ms - i64::from(STEPS) * step_ms,
        step_ms,
        values: (0..=STEPS).map(value).collect(),
        threshold: Some(0.25),
        unit: "1".to_owned(),
    }
}

pub(super) fn count(delivery: &Delivery) {
    static ATTEMPTS: OnceLock<Counter<u64>> = OnceLock::new();
    let attempts = ATTEMPTS.get_or_init(|| {
        opentelemetry::global::meter("foreshock_api")
            .u64_counter("foreshock_api_notification_attempts")
            .with_description("Attempts to deliver notifications, by receiver and outcome")
            .build()
    });
    let labels = [
        KeyValue::new("receiver", delivery.receiver.clone()),
        KeyValue::new("outcome", delivery.outcome.name()),
    ];
    attempts.add(1, &labels);
}
