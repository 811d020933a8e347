//! From alerts to messages that wait on disk.

use std::collections::BTreeSet;
use std::sync::Arc;

use rusqlite::Transaction;
use store::State;

use super::delivery::{count, delivery_of, given_up};
use super::error::NotifyError;
use super::group;
use super::held::{covering, firing};
use super::inhibit::inhibitors;
use super::ledger::{self, DeadLetter, Delivery, Group, Letter, Outcome, Source};
use super::message::Message;
use super::notification::Notification;
use super::receiver::Receiver;
use super::route::Route;
use super::settings::Settings;
use crate::params::DEFAULT_TENANT;
use crate::silences::SilenceBook;

/// One tenant's outbox. It holds settings only; everything that matters lies in the tenant's state.
///
/// Except for the waiting on receivers all of it blocks on that file, for milliseconds: run it where this may be.
#[derive(Debug, Clone)]
pub struct Outbox {
    pub(super) settings: Arc<Settings>,
    /// Whose outbox it is, for links.
    pub(super) tenant: String,
}

impl Outbox {
    /// An outbox that goes on where the last one in this state stopped.
    ///
    /// # Errors
    /// [`NotifyError::State`] when the state cannot be written.
    pub fn open(state: &State, settings: impl Into<Arc<Settings>>) -> Result<Self, NotifyError> {
        ledger::open(state)?;
        SilenceBook::open(state)?;
        Ok(Self {
            settings: settings.into(),
            tenant: DEFAULT_TENANT.to_owned(),
        })
    }

    /// The same for this tenant, whom its links name.
    #[must_use]
    pub fn of_tenant(mut self, tenant: &str) -> Self {
        tenant.clone_into(&mut self.tenant);
        self
    }

    /// To whom it delivers.
    #[must_use]
    pub fn receivers(&self) -> &[Receiver] {
        &self.settings.receivers
    }

    /// Takes over what the rule with this id says about an alert, durably. To say the same twice does no harm. An alert that
    /// several sources raise is over when all of them say so.
    ///
    /// # Errors
    /// [`NotifyError::State`] when it cannot be written: the caller still has it then.
    pub fn enqueue(&self, state: &State, now_ms: i64, rule: &str, alert: &Notification) -> Result<(), NotifyError> {
        self.put_alerts(state, now_ms, std::slice::from_ref(alert), Source::Rule(rule))
    }

    /// Takes over alerts from outside, all or none of them. What overlaps with what is held is one episode, and ends no alert
    /// that a rule of our own raised as well.
    ///
    /// # Errors
    /// [`NotifyError::Full`] when more would be held than may be; [`NotifyError::State`].
    pub fn take_in(&self, state: &State, now_ms: i64, alerts: &[Notification]) -> Result<(), NotifyError> {
        self.put_alerts(state, now_ms, alerts, Source::Outside)
    }

    fn put_alerts(
        &self,
        state: &State,
        now_ms: i64,
        alerts: &[Notification],
        source: Source<'_>,
    ) -> Result<(), NotifyError> {
        let most = self.settings.alerts_max;
        let full = state.with(|connection| {
            let transaction = connection.transaction()?;
            for alert in alerts {
                // What ended before anyone here heard of it is no news.
                if source == Source::Outside
                    && alert.is_resolved()
                    && !ledger::has_word(&transaction, source, &alert.fingerprint)?
                {
                    continue;
                }
                ledger::put_word(&transaction, source, alert)?;
                let words = ledger::words(&transaction, &alert.fingerprint)?;
                let mut alert = Notification::of_sources(words, now_ms).unwrap_or_else(|| alert.clone());
                if let Some(known) = ledger::alert(&transaction, &alert.fingerprint)? {
                    let (before_ms, end_ms) = (known.starts_ms, known.ends_ms.or(known.expires_ms));
                    alert = known.merged(alert);
                    if alert.starts_ms > before_ms {
                        // Another episode, and nobody said that the last one was over.
                        let end_ms = end_ms.unwrap_or(alert.starts_ms).min(alert.starts_ms);
                        ledger::end_episode(&transaction, &alert.fingerprint, end_ms)?;
                    }
                }
                ledger::note_episode(&transaction, &alert)?;
                ledger::put_alert(&transaction, &alert, &self.groups_of(&alert, now_ms))?;
            }
            // Our own rules have their own bounds, and must not lose an alert because others send too many.
            if source == Source::Outside && ledger::count_alerts(&transaction)? > most {
                return Ok(true);
            }
            transaction.commit()?;
            Ok(false)
        })?;
        if full {
            Err(NotifyError::Full { count: most })
        } else {
            Ok(())
        }
    }

    /// The groups that an alert belongs to; a new one is first looked at once its wait is over.
    fn groups_of(&self, alert: &Notification, now_ms: i64) -> Vec<Group> {
        let group = |route: &Route| {
            let labels = route.grouping.labels(alert);
            Group {
                key: group::key(route.id(), &labels),
                route: route.id().to_owned(),
                labels,
                flush_ms: now_ms + route.grouping.wait_ms,
            }
        };
        self.settings.routing.of(&alert.labels).into_iter().map(group).collect()
    }

    /// Puts the alerts that are held where today's routes lead, after a start with other routes than before. Messages to receivers
    /// that there are no more are given up.
    ///
    /// # Errors
    /// [`NotifyError::State`]: they are where they were.
    pub fn reroute(&self, state: &State, now_ms: i64) -> Result<(), NotifyError> {
        let lost = state.with(|connection| {
            let transaction = connection.transaction()?;
            let mut stale = ledger::members(&transaction)?;
            for alert in ledger::all_alerts(&transaction, now_ms)? {
                for group in self.groups_of(&alert, now_ms) {
                    if !stale.remove(&(group.key.clone(), alert.fingerprint.clone())) {
                        ledger::put_member(&transaction, &group, &alert.fingerprint)?;
                    }
                }
            }
            for (group_key, fingerprint) in &stale {
                ledger::leave(&transaction, group_key, [fingerprint.as_str()])?;
            }
            let receivers: Vec<&str> = self.receivers().iter().map(Receiver::id).collect();
            let mut lost = Vec::new();
            for letter in ledger::stray(&transaction, &receivers)? {
                let mut delivery = delivery_of(&letter, now_ms, Outcome::Dead, NOBODY_THERE);
                ledger::bury(&transaction, &letter, now_ms, NOBODY_THERE)?;
                ledger::note(&transaction, &mut delivery)?;
                lost.push(delivery);
            }
            transaction.commit()?;
            Ok(lost)
        })?;
        for delivery in &lost {
            given_up(delivery);
            count(delivery);
        }
        Ok(())
    }

    /// Writes messages about all groups that are due into the outbox; answers how many. A clock that was set back takes along what
    /// is due.
    ///
    /// # Errors
    /// [`NotifyError::State`]; what was flushed before it stays.
    pub fn flush(&self, state: &State, now_ms: i64) -> Result<usize, NotifyError> {
        let back_ms = state.with(|connection| {
            let transaction = connection.transaction()?;
            let back_ms = ledger::keep_time(&transaction, now_ms)?;
            transaction.commit()?;
            Ok(back_ms)
        })?;
        if let Some(back_ms) = back_ms {
            let (tenant, seconds) = (&self.tenant, back_ms / 1000);
            tracing::warn!(
                tenant,
                seconds,
                "the clock was set back: notifications that wait are due so much earlier"
            );
        }
        let groups = state.with(|connection| ledger::groups(connection, now_ms))?;
        if groups.is_empty() {
            return Ok(0);
        }
        let silences = SilenceBook::open(state)?.current(now_ms)?;
        let rules = &self.settings.routing.inhibitions;
        let firing = if rules.is_empty() {
            Vec::new()
        } else {
            firing(state, now_ms)?
        };
        let acknowledged = state.with(|connection| ledger::acknowledgements(connection))?;
        let mut written = 0;
        for group in groups {
            let Some(route) = self.settings.routing.by_id(&group.route) else {
                // Its route is gone, and its alerts were not put elsewhere yet: see `reroute`.
                state.with(|connection| {
                    let transaction = connection.transaction()?;
                    ledger::look_again(&transaction, &group.key, now_ms + ORPHAN_LOOK_MS)?;
                    transaction.commit()
                })?;
                continue;
            };
            let muted = self.settings.routing.muted_by(route, now_ms).is_some();
            written += state.with(|connection| {
                let transaction = connection.transaction()?;
                let alerts = ledger::alerts_of(&transaction, &group.key, now_ms)?;
                let mut written = 0;
                if !muted {
                    let heard = |alert: &&Notification| {
                        covering(&silences, alert, now_ms).next().is_none()
                            && inhibitors(rules, alert, &firing).is_empty()
                    };
                    let told: Vec<&Notification> = alerts.iter().filter(heard).collect();
                    let mut firing = told.iter().filter(|alert| !alert.is_resolved());
                    let in_hand =
                        firing.all(|alert| acknowledged.get(&alert.fingerprint).is_some_and(|one| one.is_of(alert)));
                    for receiver in self.settings.of(route) {
                        written += self.message(&transaction, (&group, route), receiver, (&told, in_hand), now_ms)?;
                    }
                }
                ledger::look_again(&transaction, &group.key, now_ms + route.grouping.interval_ms)?;
                let ended: Vec<&Notification> = alerts.iter().filter(|alert| alert.is_resolved()).collect();
                for alert in &ended {
                    // Also where it ended by itself.
                    ledger::note_episode(&transaction, alert)?;
                }
                written += self.end_escalations(&transaction, &ended, now_ms)?;
                let ended = ended.iter().map(|alert| alert.fingerprint.as_str());
                ledger::leave(&transaction, &group.key, ended)?;
                transaction.commit()?;
                Ok(written)
            })?;
        }
        Ok(written)
    }

    /// Writes the message for one receiver, or the messages, if there is anything new to say, and answers how many: where somebody has
    /// all that fires in hand, that it goes on is nothing new.
    fn message(
        &self,
        transaction: &Transaction<'_>,
        (group, route): (&Group, &Route),
        receiver: &Receiver,
        (alerts, in_hand): (&[&Notification], bool),
        now_ms: i64,
    ) -> Result<usize, rusqlite::Error> {
        let (ended, firing): (Vec<&Notification>, Vec<&Notification>) =
            alerts.iter().copied().partition(|alert| alert.is_resolved());
        let episodes = |alerts: &[&Notification]| alerts.iter().map(|alert| alert.episode()).collect::<BTreeSet<_>>();
        let before = ledger::told(transaction, &group.key, receiver.id())?;
        let repeat_ms = if in_hand { i64::MAX } else { route.grouping.repeat_ms };
        let repeat_ms = receiver
            .channel
            .repeat_ms()
            .map_or(repeat_ms, |least| repeat_ms.min(least));
        let (firing_now, ended_now) = (episodes(&firing), episodes(&ended));
        let Some(told) = group::news(
            before.as_ref(),
            &firing_now,
            &ended_now,
            receiver.send_resolved,
            repeat_ms,
            now_ms,
        ) else {
            return Ok(0);
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
            ledger::tell(transaction, &group.key, receiver.id(), &told)?;
            return Ok(0);
        }
        let reason = match (&before, told.repeats) {
            (None, _) => "first_notification",
            (Some(_), 0) => "group_changed",
            (Some(_), _) => "repeat_interval",
        };
        self.begin_escalation(transaction, &included, now_ms)?;
        let mut written = 0;
        for about in receiver.shares(&included) {
            let shown = &about[..about.len().min(receiver.alerts_max)];
            let message = Message {
                receiver: receiver.name().to_owned(),
                group_key: group::key(route.key(), &group.labels),
                group_labels: group.labels.clone(),
                external_url: self.settings.external_url.clone(),
                alerts: shown.iter().map(|alert| (*alert).clone()).collect(),
                left_out: about.len() - shown.len(),
                reason: reason.to_owned(),
                instead_of: None,
                note: None,
                about: Some(group.key.clone()),
                answer: None,
                chart_url: None,
            };
            let letter = Letter {
                id: 0,
                receiver: receiver.id().to_owned(),
                key: idempotency_key(&group.key, about, told.repeats),
                what: title(about),
                body: ledger::json(&message),
                created_ms: now_ms,
                attempts: 0,
                instead_of: None,
                diverted: false,
            };
            self.put_letter(transaction, &letter)?;
            written += 1;
        }
        ledger::tell(transaction, &group.key, receiver.id(), &told)?;
        Ok(written)
    }

    /// Writes a message; what has to make room for it is given up, said and counted.
    pub(super) fn put_letter(&self, transaction: &Transaction<'_>, letter: &Letter) -> Result<(), rusqlite::Error> {
        let Some(lost) = ledger::put_letter(transaction, letter, self.settings.queue_max)? else {
            return Ok(());
        };
        let reason = "the queue is full: newer messages took its place";
        let mut delivery = delivery_of(&lost, letter.created_ms, Outcome::Dead, reason);
        ledger::note(transaction, &mut delivery)?;
        given_up(&delivery);
        count(&delivery);
        Ok(())
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
    /// [`NotifyError::Receiver`] when nobody is there any more who could get it; [`NotifyError::State`].
    pub fn revive(&self, state: &State, id: i64, now_ms: i64) -> Result<bool, NotifyError> {
        match ledger::receiver_of_dead(state, id)? {
            None => Ok(false),
            Some(name) if self.settings.receiver(&name).is_none() => Err(NotifyError::Receiver { name }),
            Some(_) => Ok(ledger::revive(state, id, now_ms)?),
        }
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

/// Why a message is given up whose receiver the configuration does not have.
const NOBODY_THERE: &str =
    "the configuration knows no receiver of this name any more: name one so again, and send it again from the page";
/// How often a group without a route is looked at.
const ORPHAN_LOOK_MS: i64 = 60_000;

/// The same for each attempt at the same news, another for other news: fingerprint, state and beginning of the alert; for
/// several alerts a hash of all of theirs.
pub(super) fn idempotency_key(group_key: &str, alerts: &[&Notification], repeats: u32) -> String {
    let one = |alert: &Notification| {
        let status = super::message::status(alert.is_resolved());
        format!("{}-{status}-{}", alert.fingerprint, alert.starts_ms)
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

pub(super) fn title(alerts: &[&Notification]) -> String {
    let first = alerts.first().map(|alert| alert.title()).unwrap_or_default();
    if alerts.len() > 1 {
        format!("{first} and {} more", alerts.len() - 1)
    } else {
        first
    }
}
