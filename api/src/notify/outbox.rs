//! From alerts to delivered messages.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Instant;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use reqwest::Client;
use store::{Labels, State, StateError};
use tokio::task::JoinSet;

use super::backoff::Backoff;
use super::group::{self, Grouping};
use super::ledger::{self, DeadLetter, Delivery, Letter, Outcome};
use super::notification::Notification;
use super::payload::Message;
use super::receiver::Receiver;
use super::send::{Ended, Verdict, send};
use crate::silences::{Silence, SilenceBook};

/// What an operator may choose about notifications.
#[derive(Debug, Clone)]
pub struct Settings {
    /// To whom. Each gets every message.
    pub receivers: Vec<Receiver>,
    /// Which alerts share a message, and how often.
    pub grouping: Grouping,
    /// Pauses between attempts.
    pub backoff: Backoff,
    /// A message that its receiver refuses (4xx other than 408, 425, 429, or a redirect) is given up after so many attempts.
    pub refusals_max: u32,
    /// A message that was not delivered within this time is given up.
    pub give_up_ms: i64,
    /// Messages that may wait for one receiver; beyond them the oldest is given up.
    pub queue_max: usize,
    /// Where this server is found, for links.
    pub external_url: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            receivers: Vec::new(),
            grouping: Grouping::default(),
            backoff: Backoff::default(),
            refusals_max: 5,
            give_up_ms: 3 * 86_400_000,
            queue_max: 1000,
            external_url: String::new(),
        }
    }
}

/// An alert that is held for notification, with the silences that keep it back.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldAlert {
    /// The alert.
    pub alert: Notification,
    /// Numbers of the silences that cover it now.
    pub silenced_by: Vec<i64>,
}

/// Notifications that cannot be kept or sent at all.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The outbox cannot be read or written.
    #[error("the outbox cannot be kept")]
    State(#[from] StateError),
    /// No such receiver.
    #[error("there is no receiver {name:?}")]
    Receiver {
        /// The name.
        name: String,
    },
}

impl NotifyError {
    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::State(error) => error.hint(),
            Self::Receiver { .. } => Some("receivers are named in the configuration"),
        }
    }
}

/// One tenant's outbox. It holds settings only; everything that matters lies in the tenant's state.
///
/// Except for the waiting on receivers all of it blocks on that file, for milliseconds: run it where this may be.
#[derive(Debug, Clone)]
pub struct Outbox {
    settings: Settings,
}

impl Outbox {
    /// An outbox that goes on where the last one in this state stopped.
    ///
    /// # Errors
    /// [`NotifyError::State`] when the state cannot be written.
    pub fn open(state: &State, settings: Settings) -> Result<Self, NotifyError> {
        ledger::open(state)?;
        SilenceBook::open(state)?;
        Ok(Self { settings })
    }

    /// To whom it delivers.
    #[must_use]
    pub fn receivers(&self) -> &[Receiver] {
        &self.settings.receivers
    }

    /// Takes over an alert's news, durably. To say the same twice does no harm.
    ///
    /// # Errors
    /// [`NotifyError::State`] when it cannot be written: the caller still has it then.
    pub fn enqueue(&self, state: &State, now_ms: i64, alert: &Notification) -> Result<(), NotifyError> {
        let labels = self.settings.grouping.labels(alert);
        let key = Grouping::key(&labels);
        let flush_ms = now_ms + self.settings.grouping.wait_ms;
        state.with(|connection| {
            let transaction = connection.transaction()?;
            ledger::put_alert(&transaction, alert, &key, &labels, flush_ms)?;
            transaction.commit()
        })?;
        Ok(())
    }

    /// Writes messages about all groups that are due into the outbox; answers how many.
    ///
    /// # Errors
    /// [`NotifyError::State`]; what was flushed before it stays.
    pub fn flush(&self, state: &State, now_ms: i64) -> Result<usize, NotifyError> {
        let groups = state.with(|connection| ledger::due_groups(connection, now_ms))?;
        if groups.is_empty() {
            return Ok(0);
        }
        let silences = SilenceBook::open(state)?.current(now_ms)?;
        let mut count = 0;
        for (key, labels) in groups {
            count += state.with(|connection| {
                let transaction = connection.transaction()?;
                let alerts = ledger::alerts_of(&transaction, Some(&key))?;
                let told: Vec<&Notification> = alerts
                    .iter()
                    .filter(|alert| covering(&silences, alert, now_ms).next().is_none())
                    .collect();
                let mut written = 0;
                for receiver in &self.settings.receivers {
                    written += usize::from(self.message(&transaction, &key, &labels, receiver, &told, now_ms)?);
                }
                let ended: Vec<&str> = alerts
                    .iter()
                    .filter(|alert| alert.is_resolved())
                    .map(|alert| alert.fingerprint.as_str())
                    .collect();
                ledger::after_flush(&transaction, &key, &ended, now_ms + self.settings.grouping.interval_ms)?;
                transaction.commit()?;
                Ok(written)
            })?;
        }
        Ok(count)
    }

    /// Writes the message for one receiver, if there is anything new to say.
    fn message(
        &self,
        transaction: &rusqlite::Transaction<'_>,
        key: &str,
        labels: &std::collections::BTreeMap<String, String>,
        receiver: &Receiver,
        alerts: &[&Notification],
        now_ms: i64,
    ) -> Result<bool, rusqlite::Error> {
        let (ended, firing): (Vec<&Notification>, Vec<&Notification>) =
            alerts.iter().copied().partition(|alert| alert.is_resolved());
        let episodes = |alerts: &[&Notification]| alerts.iter().map(|alert| alert.episode()).collect::<BTreeSet<_>>();
        let before = ledger::told(transaction, key, &receiver.name)?;
        let repeat_ms = self.settings.grouping.repeat_ms;
        let (firing_now, ended_now) = (episodes(&firing), episodes(&ended));
        let Some(told) = group::news(
            before.as_ref(),
            &firing_now,
            &ended_now,
            receiver.send_resolved,
            repeat_ms,
            now_ms,
        ) else {
            return Ok(false);
        };
        let mut included = firing;
        if receiver.send_resolved {
            // Only ends of what this receiver has heard of, or hears of now.
            let heard = |alert: &&Notification| {
                before
                    .as_ref()
                    .is_some_and(|before| before.firing.contains(&alert.episode()))
            };
            included.extend(ended.into_iter().filter(heard));
        }
        if included.is_empty() {
            ledger::tell(transaction, key, &receiver.name, &told)?;
            return Ok(false);
        }
        let shown = &included[..included.len().min(receiver.alerts_max)];
        let message = Message {
            receiver: &receiver.name,
            group_key: key,
            group_labels: labels,
            external_url: &self.settings.external_url,
            alerts: shown,
            left_out: included.len() - shown.len(),
            reason: match (&before, told.repeats) {
                (None, _) => "first_notification",
                (Some(_), 0) => "group_changed",
                (Some(_), _) => "repeat_interval",
            },
        };
        let letter = Letter {
            id: 0,
            receiver: receiver.name.clone(),
            key: idempotency_key(key, &included, told.repeats),
            what: title(&included),
            body: message.json().to_string(),
            created_ms: now_ms,
            attempts: 0,
        };
        if let Some(lost) = ledger::put_letter(transaction, &letter, self.settings.queue_max)? {
            tracing::error!(
                receiver = lost.receiver,
                what = lost.what,
                "outbox is full, a message was given up"
            );
            let mut delivery = delivery_of(
                &lost,
                now_ms,
                Outcome::Dead,
                "the queue is full: newer messages took its place",
            );
            ledger::note(transaction, &mut delivery)?;
            count(&delivery);
        }
        ledger::tell(transaction, key, &receiver.name, &told)?;
        Ok(true)
    }

    /// Flushes groups that are due and sends what is due, to all receivers at the same time and to each in order. Ends when
    /// nothing is due any more; a receiver that does not answer is waited for no longer than its timeout.
    ///
    /// # Errors
    /// [`NotifyError::State`]: messages stay as they were and are sent again, with the same key.
    pub async fn deliver_due(&self, state: &State, now_ms: i64, client: &Client) -> Result<Vec<Delivery>, NotifyError> {
        self.flush(state, now_ms)?;
        let started = Instant::now();
        let now = || now_ms + i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX / 2);
        let mut running = JoinSet::new();
        for receiver in &self.settings.receivers {
            self.start_next(state, now(), client, receiver, &mut running)?;
        }
        let mut deliveries = Vec::new();
        while let Some(ended) = running.join_next().await {
            // A panic while sending is a failure of that attempt alone; the message is still in the outbox.
            let Ok((receiver, letter, ended)) = ended else { continue };
            let verdict = ended.verdict;
            deliveries.push(self.settle(state, now(), &letter, &ended)?);
            if !matches!(verdict, Verdict::Later(_)) {
                self.start_next(state, now(), client, &receiver, &mut running)?;
            }
        }
        Ok(deliveries)
    }

    fn start_next(
        &self,
        state: &State,
        now_ms: i64,
        client: &Client,
        receiver: &Receiver,
        running: &mut JoinSet<(Receiver, Letter, Ended)>,
    ) -> Result<(), NotifyError> {
        if let Some(letter) = ledger::due_letter(state, &receiver.name, now_ms)? {
            let (client, receiver) = (client.clone(), receiver.clone());
            running.spawn(async move {
                let ended = send(&client, &receiver, &letter.key, letter.body.clone()).await;
                (receiver, letter, ended)
            });
        }
        Ok(())
    }

    /// Writes down what came of an attempt that ended now.
    fn settle(&self, state: &State, now_ms: i64, letter: &Letter, ended: &Ended) -> Result<Delivery, NotifyError> {
        let attempt = letter.attempts + 1;
        let too_old = now_ms - letter.created_ms >= self.settings.give_up_ms;
        let delivery = state.with(|connection| {
            let transaction = connection.transaction()?;
            let outcome = match ended.verdict {
                Verdict::Delivered => {
                    ledger::strike_out(&transaction, letter.id)?;
                    ledger::release(&transaction, &letter.receiver)?;
                    Outcome::Delivered
                }
                Verdict::Refused if attempt >= self.settings.refusals_max => Outcome::Dead,
                Verdict::Refused => {
                    let at_ms = now_ms + self.settings.backoff.pause_ms(attempt, &letter.key);
                    ledger::postpone(&transaction, letter.id, at_ms)?;
                    Outcome::Again { at_ms }
                }
                Verdict::Later(pause) => {
                    let failures =
                        ledger::hold(&transaction, &letter.receiver)?.map_or(0, |(_, failures)| failures) + 1;
                    // Rounded up: a millisecond early is too early.
                    let asked = pause.map_or(0, |pause| i64::try_from(pause.as_millis()).unwrap_or(i64::MAX / 2) + 1);
                    let at_ms = now_ms + asked.max(self.settings.backoff.pause_ms(failures, &letter.receiver));
                    ledger::set_hold(&transaction, &letter.receiver, at_ms, failures)?;
                    ledger::postpone(&transaction, letter.id, at_ms)?;
                    if too_old {
                        Outcome::Dead
                    } else {
                        Outcome::Again { at_ms }
                    }
                }
            };
            let mut delivery = delivery_of(letter, now_ms, outcome, &ended.text);
            delivery.attempt = attempt;
            delivery.status = ended.status;
            delivery.seconds = ended.elapsed.as_secs_f64();
            if outcome == Outcome::Dead {
                let reason = if ended.text.is_empty() { "refused" } else { &ended.text };
                ledger::bury(
                    &transaction,
                    &Letter {
                        attempts: attempt,
                        ..letter.clone()
                    },
                    now_ms,
                    reason,
                )?;
            }
            ledger::note(&transaction, &mut delivery)?;
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
            Outcome::Dead => {
                tracing::error!(
                    receiver = delivery.receiver,
                    what = delivery.what,
                    text = delivery.text,
                    "notification was given up"
                );
            }
        }
        count(&delivery);
        Ok(delivery)
    }

    /// Sends a test message to one receiver now, past outbox and holds, and answers what it said.
    ///
    /// # Errors
    /// [`NotifyError::Receiver`] when there is none of that name; [`NotifyError::State`] when the log cannot be written.
    pub async fn test(&self, state: &State, now_ms: i64, client: &Client, name: &str) -> Result<Delivery, NotifyError> {
        let receiver = self.settings.receivers.iter().find(|receiver| receiver.name == name);
        let receiver = receiver.ok_or_else(|| NotifyError::Receiver { name: name.to_owned() })?;
        let alert = test_alert(now_ms);
        let labels = self.settings.grouping.labels(&alert);
        let key = Grouping::key(&labels);
        let message = Message {
            receiver: name,
            group_key: &key,
            group_labels: &labels,
            external_url: &self.settings.external_url,
            alerts: &[&alert],
            left_out: 0,
            reason: "test",
        };
        let letter = Letter {
            id: 0,
            receiver: name.to_owned(),
            key: idempotency_key(&key, &[&alert], 0),
            what: "test".to_owned(),
            body: message.json().to_string(),
            created_ms: now_ms,
            attempts: 0,
        };
        let ended = send(client, receiver, &letter.key, letter.body.clone()).await;
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
        Ok(delivery)
    }

    /// Alerts that are held for notification, with the silences that cover them.
    ///
    /// # Errors
    /// [`NotifyError::State`].
    pub fn alerts(state: &State, now_ms: i64) -> Result<Vec<HeldAlert>, NotifyError> {
        ledger::open(state)?;
        let silences = SilenceBook::open(state)?.current(now_ms)?;
        let alerts = state.with(|connection| ledger::alerts_of(connection, None))?;
        let held = |alert: Notification| HeldAlert {
            silenced_by: covering(&silences, &alert, now_ms).map(|silence| silence.id).collect(),
            alert,
        };
        Ok(alerts.into_iter().map(held).collect())
    }

    /// The newest attempts, newest first.
    ///
    /// # Errors
    /// [`NotifyError::State`].
    pub fn log(state: &State, limit: usize) -> Result<Vec<Delivery>, NotifyError> {
        ledger::open(state)?;
        Ok(ledger::log(state, limit)?)
    }

    /// Messages that were given up, newest first.
    ///
    /// # Errors
    /// [`NotifyError::State`].
    pub fn dead_letters(state: &State, limit: usize) -> Result<Vec<DeadLetter>, NotifyError> {
        ledger::open(state)?;
        Ok(ledger::dead(state, limit)?)
    }

    /// Puts a dead letter back into the outbox; false when there is none of that number.
    ///
    /// # Errors
    /// [`NotifyError::State`].
    pub fn revive(state: &State, id: i64, now_ms: i64) -> Result<bool, NotifyError> {
        ledger::open(state)?;
        Ok(ledger::revive(state, id, now_ms)?)
    }

    /// How many messages wait.
    ///
    /// # Errors
    /// [`NotifyError::State`].
    pub fn waiting(state: &State) -> Result<usize, NotifyError> {
        ledger::open(state)?;
        Ok(ledger::waiting(state)?)
    }

    /// When something is due next, so that a loop can sleep until then; `None` when nothing is.
    ///
    /// # Errors
    /// [`NotifyError::State`].
    pub fn next_due_ms(state: &State) -> Result<Option<i64>, NotifyError> {
        ledger::open(state)?;
        Ok(ledger::next_due(state)?)
    }
}

fn covering<'a>(
    silences: &'a [Silence],
    alert: &Notification,
    now_ms: i64,
) -> impl Iterator<Item = &'a Silence> + use<'a> {
    let labels = Labels::from_pairs(alert.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    silences.iter().filter(move |silence| silence.covers(&labels, now_ms))
}

/// The same for each attempt at the same news, another for other news: fingerprint, state and beginning of the alert; for
/// several alerts a hash of all of theirs.
fn idempotency_key(group_key: &str, alerts: &[&Notification], repeats: u32) -> String {
    let one = |alert: &Notification| {
        format!(
            "{}-{}-{}",
            alert.fingerprint,
            if alert.is_resolved() { "resolved" } else { "firing" },
            alert.starts_ms
        )
    };
    let key = match alerts {
        [alert] => one(alert),
        _ => {
            let parts = alerts.iter().map(|alert| one(alert)).collect::<BTreeSet<_>>();
            let map = parts.into_iter().map(|part| (part, group_key.to_owned())).collect();
            format!("group-{}", crate::rule::fingerprint(&map))
        }
    };
    if repeats == 0 {
        key
    } else {
        format!("{key}-repeat{repeats}")
    }
}

fn title(alerts: &[&Notification]) -> String {
    let first = alerts.first().map(|alert| alert.title()).unwrap_or_default();
    if alerts.len() > 1 {
        format!("{first} and {} more", alerts.len() - 1)
    } else {
        first
    }
}

fn delivery_of(letter: &Letter, at_ms: i64, outcome: Outcome, text: &str) -> Delivery {
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

fn test_alert(now_ms: i64) -> Notification {
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let labels = [text("alertname", "ForeshockTest"), text("severity", "info")].into();
    Notification {
        fingerprint: crate::rule::fingerprint(&labels),
        labels,
        annotations: [
            text("summary", "This is a test: notifications of Foreshock arrive here"),
            text("action", "Nothing is wrong, there is nothing to do."),
        ]
        .into(),
        starts_ms: now_ms,
        ends_ms: None,
        value: None,
        generator_url: String::new(),
        outlook: None,
    }
}

fn count(delivery: &Delivery) {
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
