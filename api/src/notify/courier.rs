//! The loops that send: one for each receiver that has something waiting, so that none waits for another.

use std::collections::{HashMap, HashSet};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use store::{Clock, State, Store};
use tokio::sync::{Notify, watch};
use tokio::task::{Id, JoinError, JoinSet};

use super::error::NotifyError;
use super::ledger;
use super::outbox::Outbox;
use super::receiver::Receiver;
use super::send::{Verdict, client, send};
use super::settings::Settings;

/// What everyone needs who takes in alerts or sends messages: settings, a client, and a bell to ring when there is news.
#[derive(Debug)]
pub struct Notifier {
    settings: Arc<Settings>,
    client: Client,
    bell: Notify,
}

impl Notifier {
    /// A notifier with these settings.
    ///
    /// # Errors
    /// When there is no TLS to be had.
    pub fn new(settings: Settings) -> Result<Self, reqwest::Error> {
        Ok(Self {
            settings: Arc::new(settings),
            client: client()?,
            bell: Notify::new(),
        })
    }

    /// What was chosen.
    #[must_use]
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// What sends.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The outbox in this state.
    ///
    /// # Errors
    /// [`NotifyError::State`] when the state cannot be written.
    pub fn outbox(&self, state: &State) -> Result<Outbox, NotifyError> {
        Outbox::open(state, Arc::clone(&self.settings))
    }

    /// Says that something new may be due now.
    pub fn ring(&self) {
        self.bell.notify_one();
    }
}

/// Between two looks at what is due, at most and at least.
const LOOK_MOST: Duration = Duration::from_secs(1);
const LOOK_LEAST: Duration = Duration::from_millis(10);
/// How long messages on their way are waited for at the end. What is cut off is sent again, with the same key.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a receiver is left alone when the outbox cannot be written, or when sending to it broke off in the middle.
const UNNOTED: Duration = Duration::from_secs(30);

/// Tenant and receiver.
type Address = (String, String);

/// Sends what is due, for all tenants, by a clock. What touches the disk runs on blocking threads, so that a slow disk holds up
/// nobody's socket.
#[derive(Debug)]
pub struct Courier {
    notifier: Arc<Notifier>,
    clock: Clock,
    outboxes: HashMap<String, (Arc<Store>, Outbox)>,
    sending: JoinSet<()>,
    busy: HashSet<Address>,
    tasks: HashMap<Id, Address>,
    /// Receivers that are left alone for a while, milliseconds UTC.
    resting: HashMap<Address, i64>,
}

impl Courier {
    /// A courier with nothing under way.
    #[must_use]
    pub fn new(notifier: Arc<Notifier>, clock: Clock) -> Self {
        Self {
            notifier,
            clock,
            outboxes: HashMap::new(),
            sending: JoinSet::new(),
            busy: HashSet::new(),
            tasks: HashMap::new(),
            resting: HashMap::new(),
        }
    }

    /// Delivers for the tenants that `tenants` answers each time it is asked, until `stopping` turns true.
    pub async fn run(
        mut self,
        tenants: impl Fn() -> Vec<(String, Arc<Store>)> + Send,
        mut stopping: watch::Receiver<bool>,
    ) {
        while !*stopping.borrow() {
            let pause = self.look(tenants()).await;
            let notifier = Arc::clone(&self.notifier);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = notifier.bell.notified() => {}
                Some(done) = self.sending.join_next_with_id() => self.note_done(&done),
                _ = stopping.changed() => {}
            }
        }
        if tokio::time::timeout(FAREWELL, async { while self.sending.join_next().await.is_some() {} })
            .await
            .is_err()
        {
            tracing::info!("messages on their way were cut off; they are sent again after the next start");
        }
    }

    fn note_done(&mut self, done: &Result<(Id, ()), JoinError>) {
        let (id, broke_off) = match done {
            Ok((id, ())) => (*id, None),
            Err(error) => (error.id(), Some(error)),
        };
        let Some(address) = self.tasks.remove(&id) else {
            return;
        };
        self.busy.remove(&address);
        if let Some(error) = broke_off {
            // Nothing is noted about that attempt, and whatever broke it is likely to break the next one.
            let (tenant, receiver) = &address;
            tracing::error!(tenant, receiver, %error, "sending a notification broke off; it is sent again later");
            self.resting.insert(address, self.clock.now_ms() + millis(UNNOTED));
        }
    }

    /// Starts what is due, and answers how long there is nothing to do.
    async fn look(&mut self, tenants: Vec<(String, Arc<Store>)>) -> Duration {
        self.outboxes
            .retain(|name, _| tenants.iter().any(|(tenant, _)| tenant == name));
        let now_ms = self.clock.now_ms();
        // What lies further ahead was set by a clock that has gone back since.
        let rests = now_ms + 1..=now_ms + millis(UNNOTED);
        self.resting.retain(|_, until_ms| rests.contains(until_ms));
        let mut next_ms = i64::MAX;
        for (tenant, store) in tenants {
            match self.look_at(&tenant, &store).await {
                Ok(next) => next_ms = next_ms.min(next.unwrap_or(i64::MAX)),
                Err(error) => tracing::error!(tenant, %error, "notifications wait in the outbox"),
            }
        }
        let pause = u64::try_from(next_ms.saturating_sub(self.clock.now_ms())).unwrap_or(0);
        Duration::from_millis(pause).clamp(LOOK_LEAST, LOOK_MOST)
    }

    async fn look_at(&mut self, tenant: &str, store: &Arc<Store>) -> Result<Option<i64>, NotifyError> {
        let known = match self.outboxes.get(tenant) {
            // A tenant that was deleted and written to again is another one.
            Some((known, outbox)) if Arc::ptr_eq(known, store) => Some(outbox.clone()),
            _ => None,
        };
        let served = self.busy.iter().chain(self.resting.keys());
        let served = served
            .filter(|(of, _)| of == tenant)
            .map(|(_, id)| id.clone())
            .collect();
        let (notifier, their, now_ms) = (Arc::clone(&self.notifier), Arc::clone(store), self.clock.now_ms());
        let whose = tenant.to_owned();
        let glance = on_disk(move || glance(known, &notifier, (&whose, their.state()), &served, now_ms)).await;
        // The runtime ends: so does this loop.
        let Some(glance) = glance else { return Ok(None) };
        let Glance { outbox, due, next_ms } = glance?;
        for receiver in due {
            let address = (tenant.to_owned(), receiver.id().to_owned());
            let sending = Sending {
                outbox: outbox.clone(),
                store: Arc::clone(store),
                receiver,
                client: self.notifier.client().clone(),
                clock: self.clock.clone(),
            };
            let task = self.sending.spawn(sending.all());
            self.tasks.insert(task.id(), address.clone());
            self.busy.insert(address);
        }
        self.outboxes.insert(tenant.to_owned(), (Arc::clone(store), outbox));
        Ok(next_ms)
    }
}

/// What a tenant's outbox says about now.
#[derive(Debug)]
struct Glance {
    outbox: Outbox,
    /// Receivers for whom something is due, and whom nobody serves.
    due: Vec<Receiver>,
    /// When something else is due, as far as nobody is being served who would say so himself.
    next_ms: Option<i64>,
}

/// Writes messages that are due, and says who gets one. Blocks on the state file.
fn glance(
    known: Option<Outbox>,
    notifier: &Notifier,
    (tenant, state): (&str, &State),
    served: &HashSet<String>,
    now_ms: i64,
) -> Result<Glance, NotifyError> {
    let outbox = match known {
        Some(outbox) => outbox,
        None => notifier.outbox(state)?.of_tenant(tenant),
    };
    outbox.flush(state, now_ms)?;
    outbox.escalate(state, now_ms)?;
    outbox.divert_new(state, now_ms)?;
    let (mut due, mut idle) = (Vec::new(), Vec::new());
    for receiver in outbox
        .receivers()
        .iter()
        .filter(|receiver| !served.contains(receiver.id()))
    {
        if ledger::due_letter(state, receiver.id(), now_ms)?.is_some() {
            due.push(receiver.clone());
        } else {
            idle.push(receiver.id());
        }
    }
    let next_ms = ledger::next_due_of(state, idle)?;
    Ok(Glance { outbox, due, next_ms })
}

/// One receiver being served.
#[derive(Debug)]
struct Sending {
    outbox: Outbox,
    store: Arc<Store>,
    receiver: Receiver,
    client: Client,
    clock: Clock,
}

impl Sending {
    /// Sends what is due, in order, until nothing is or the receiver wants to be left alone.
    async fn all(self) {
        while let Some(settled) = self.one().await {
            match settled {
                Ok(Verdict::Later(_)) => return,
                Ok(Verdict::Delivered | Verdict::Refused) => {}
                Err(error) => {
                    // It is still in the outbox and is sent again, with the same key; not at once, for a full disk may stay full.
                    tracing::error!(receiver = self.receiver.id(), %error, "what came of a notification is not noted");
                    tokio::time::sleep(UNNOTED).await;
                    return;
                }
            }
        }
    }

    /// Sends the next message, and answers what came of it; `None` where nothing is due, or everything ends.
    async fn one(&self) -> Option<Result<Verdict, NotifyError>> {
        let now_ms = self.clock.now_ms();
        let next = self.noted(move |outbox, state, receiver| outbox.next(state, now_ms, receiver));
        let (letter, message) = match next.await? {
            Ok(next) => next?,
            Err(error) => return Some(Err(error)),
        };
        let ended = send(&self.client, &self.receiver, &letter.key, &message, self.clock.now_ms()).await;
        let (verdict, now_ms) = (ended.verdict, self.clock.now_ms());
        let settled =
            self.noted(move |outbox, state, receiver| outbox.settle(state, now_ms, receiver, &letter, &ended));
        Some(settled.await?.map(|_| verdict))
    }

    async fn noted<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Outbox, &State, &Receiver) -> T + Send + 'static,
    ) -> Option<T> {
        let (outbox, store, receiver) = (self.outbox.clone(), Arc::clone(&self.store), self.receiver.clone());
        on_disk(move || work(&outbox, store.state(), &receiver)).await
    }
}

/// Runs what waits for the disk on a thread that may wait; `None` where the runtime ends. A panic goes on where it was asked for.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Some(done),
        Err(failed) => failed.try_into_panic().map_or(None, |panic| resume_unwind(panic)),
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::Settings;

    async fn broken() {
        panic!("a message that cannot be rendered");
    }

    #[tokio::test]
    async fn a_receiver_at_whom_sending_breaks_off_is_left_alone_for_a_while() {
        let notifier = Arc::new(Notifier::new(Settings::default()).expect("a client"));
        let mut courier = Courier::new(notifier, Clock::fixed(1_000));
        let address = ("default".to_owned(), "oncall".to_owned());
        let task = courier.sending.spawn(broken());
        courier.tasks.insert(task.id(), address.clone());
        courier.busy.insert(address.clone());
        let done = courier.sending.join_next_with_id().await.expect("a task");
        courier.note_done(&done);
        assert!(courier.busy.is_empty() && courier.tasks.is_empty());
        assert_eq!(courier.resting.get(&address), Some(&31_000));
        courier.clock = Clock::fixed(31_000);
        courier.look(Vec::new()).await;
        assert!(courier.resting.is_empty());
        courier.resting.insert(address, 61_000);
        courier.look(Vec::new()).await;
        assert_eq!(courier.resting.len(), 1);
        // A clock that was set back makes it no longer.
        courier.clock = Clock::fixed(30_000);
        courier.look(Vec::new()).await;
        assert!(courier.resting.is_empty());
    }
}
