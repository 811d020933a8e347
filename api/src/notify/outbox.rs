//! From alerts to messages that wait on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rusqlite::Transaction;
use store::{Labels, State, StateError};

use super::acknowledgement::Acknowledgement;
use super::backoff::Backoff;
use super::delivery::{count, delivery_of, given_up};
use super::escalation::Escalations;
use super::group;
use super::inhibit::inhibitors;
use super::ledger::{self, DeadLetter, Delivery, Group, Letter, Outcome};
use super::message::Message;
use super::notification::Notification;
use super::receiver::Receiver;
use super::route::{Route, Routing};
use crate::params::DEFAULT_TENANT;
use crate::silences::{Silence, SilenceBook};

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
    /// No such alert, or none that fires.
    #[error("no alert {fingerprint:?} fires")]
    Alert {
        /// What it was asked for by.
        fingerprint: String,
    },
    /// A link that is not one of ours, or was.
    #[error("{}", if *is_old { "this link is too old" } else { "this link is none of this server's" })]
    Link {
        /// It was good once.
        is_old: bool,
    },
    /// No key can be made for links.
    #[error("the system gives no random numbers")]
    Random,
    /// A text that is too long to be kept.
    #[error("the {what} is longer than {most} bytes")]
    Text {
        /// Which.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// More alerts than may be held.
    #[error("with these more than {count} alerts would be held, which is the most")]
    Full {
        /// How many may be.
        count: usize,
    },
}

impl NotifyError {
    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::State(error) => error.hint(),
            Self::Receiver { .. } => Some("receivers are named in the configuration; GET /api/v1/receivers lists them"),
            Self::Alert { .. } => Some("GET /api/v2/alerts lists those that do, with their fingerprints"),
            Self::Link { .. } => Some("the page of alerts shows what fires now"),
            Self::Random => None,
            Self::Text { .. } => Some("say it shorter"),
            Self::Full { .. } => Some("let alerts end, or aggregate them in their rules"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Rule,
    Outside,
}

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

    /// Takes over an alert's news, durably. To say the same twice does no harm.
    ///
    /// # Errors
    /// [`NotifyError::State`] when it cannot be written: the caller still has it then.
    pub fn enqueue(&self, state: &State, now_ms: i64, alert: &Notification) -> Result<(), NotifyError> {
        self.put_alerts(state, now_ms, std::slice::from_ref(alert), Origin::Rule)
    }

    /// Takes over alerts from outside, all or none of them. What overlaps with what is held is one episode.
    ///
    /// # Errors
    /// [`NotifyError::Full`] when more would be held than may be; [`NotifyError::State`].
    pub fn take_in(&self, state: &State, now_ms: i64, alerts: &[Notification]) -> Result<(), NotifyError> {
        self.put_alerts(state, now_ms, alerts, Origin::Outside)
    }

    fn put_alerts(
        &self,
        state: &State,
        now_ms: i64,
        alerts: &[Notification],
        origin: Origin,
    ) -> Result<(), NotifyError> {
        let most = self.settings.alerts_max;
        let full = state.with(|connection| {
            let transaction = connection.transaction()?;
            for alert in alerts {
                let known = ledger::alert(&transaction, &alert.fingerprint)?;
                // What ended before anyone here heard of it is no news.
                if known.is_none() && alert.is_resolved() && origin == Origin::Outside {
                    continue;
                }
                let alert = match known {
                    Some(known) => {
                        let (before_ms, end_ms) = (known.starts_ms, known.ends_ms.or(known.expires_ms));
                        let merged = known.merged(alert.clone());
                        if merged.starts_ms > before_ms {
                            // Another episode, and nobody said that the last one was over.
                            let end_ms = end_ms.unwrap_or(merged.starts_ms).min(merged.starts_ms);
                            ledger::end_episode(&transaction, &merged.fingerprint, end_ms)?;
                        }
                        merged
                    }
                    None => alert.clone(),
                };
                ledger::note_episode(&transaction, &alert)?;
                ledger::put_alert(&transaction, &alert, &self.groups_of(&alert, now_ms))?;
            }
            // Our own rules have their own bounds, and must not lose an alert because others send too many.
            if origin == Origin::Outside && ledger::count_alerts(&transaction)? > most {
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

    /// Puts the alerts that are held where today's routes lead, after a start with other routes than before.
    ///
    /// # Errors
    /// [`NotifyError::State`]: they are where they were.
    pub fn reroute(&self, state: &State, now_ms: i64) -> Result<(), NotifyError> {
        state.with(|connection| {
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
            transaction.commit()
        })?;
        Ok(())
    }

    /// Writes messages about all groups that are due into the outbox; answers how many.
    ///
    /// # Errors
    /// [`NotifyError::State`]; what was flushed before it stays.
    pub fn flush(&self, state: &State, now_ms: i64) -> Result<usize, NotifyError> {
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
                        let said = self.message(&transaction, (&group, route), receiver, (&told, in_hand), now_ms)?;
                        written += usize::from(said);
                    }
                }
                ledger::look_again(&transaction, &group.key, now_ms + route.grouping.interval_ms)?;
                let ended = alerts.iter().filter(|alert| alert.is_resolved());
                for alert in ended.clone() {
                    // Also where it ended by itself.
                    ledger::note_episode(&transaction, alert)?;
                    written += self.end_escalation(&transaction, alert, now_ms)?;
                }
                ledger::leave(&transaction, &group.key, ended.map(|alert| alert.fingerprint.as_str()))?;
                transaction.commit()?;
                Ok(written)
            })?;
        }
        Ok(written)
    }

    /// Writes the message for one receiver, if there is anything new to say: where somebody has all that fires in hand, that it
    /// goes on is nothing new.
    fn message(
        &self,
        transaction: &Transaction<'_>,
        (group, route): (&Group, &Route),
        receiver: &Receiver,
        (alerts, in_hand): (&[&Notification], bool),
        now_ms: i64,
    ) -> Result<bool, rusqlite::Error> {
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
            ledger::tell(transaction, &group.key, receiver.id(), &told)?;
            return Ok(false);
        }
        let shown = &included[..included.len().min(receiver.alerts_max)];
        let message = Message {
            receiver: receiver.name().to_owned(),
            group_key: group::key(route.key(), &group.labels),
            group_labels: group.labels.clone(),
            external_url: self.settings.external_url.clone(),
            alerts: shown.iter().map(|alert| (*alert).clone()).collect(),
            left_out: included.len() - shown.len(),
            reason: match (&before, told.repeats) {
                (None, _) => "first_notification",
                (Some(_), 0) => "group_changed",
                (Some(_), _) => "repeat_interval",
            }
            .to_owned(),
            instead_of: None,
            note: None,
            about: Some(group.key.clone()),
            answer: None,
        };
        self.begin_escalation(transaction, &included, now_ms)?;
        let letter = Letter {
            id: 0,
            receiver: receiver.id().to_owned(),
            key: idempotency_key(&group.key, &included, told.repeats),
            what: title(&included),
            body: ledger::json(&message),
            created_ms: now_ms,
            attempts: 0,
            instead_of: None,
            diverted: false,
        };
        self.put_letter(transaction, &letter)?;
        ledger::tell(transaction, &group.key, receiver.id(), &told)?;
        Ok(true)
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

/// How often a group without a route is looked at.
const ORPHAN_LOOK_MS: i64 = 60_000;

pub(super) fn firing(state: &State, now_ms: i64) -> Result<Vec<Notification>, StateError> {
    let mut alerts = state.with(|connection| ledger::all_alerts(connection, now_ms))?;
    alerts.retain(|alert| !alert.is_resolved());
    Ok(alerts)
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

fn title(alerts: &[&Notification]) -> String {
    let first = alerts.first().map(|alert| alert.title()).unwrap_or_default();
    if alerts.len() > 1 {
        format!("{first} and {} more", alerts.len() - 1)
    } else {
        first
    }
}
