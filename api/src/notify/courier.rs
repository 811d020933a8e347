//! The loops that send: one for each receiver that has something waiting, so that none waits for another.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use store::{Clock, State, Store};
use tokio::sync::{Notify, watch};
use tokio::task::{Id, JoinSet};

use super::ledger;
use super::outbox::{NotifyError, Outbox, Settings};
use super::receiver::Receiver;
use super::send::{Verdict, client, send};

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

/// How long a receiver is left alone when the outbox cannot be written.
const UNNOTED: Duration = Duration::from_secs(30);

/// Tenant and receiver.
type Address = (String, String);

/// Sends what is due, for all tenants, by a clock.
#[derive(Debug)]
pub struct Courier {
    notifier: Arc<Notifier>,
    clock: Clock,
    outboxes: HashMap<String, (Arc<Store>, Outbox)>,
    sending: JoinSet<()>,
    busy: HashSet<Address>,
    tasks: HashMap<Id, Address>,
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
        }
    }

    /// Delivers for the tenants that `tenants` answers each time it is asked, until `stopping` turns true.
    pub async fn run(
        mut self,
        tenants: impl Fn() -> Vec<(String, Arc<Store>)> + Send,
        mut stopping: watch::Receiver<bool>,
    ) {
        while !*stopping.borrow() {
            let pause = self.look(tenants());
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

    fn note_done(&mut self, done: &Result<(Id, ()), tokio::task::JoinError>) {
        let id = match done {
            Ok((id, ())) => *id,
            Err(error) => {
                tracing::error!(%error, "sending a notification broke off; it is sent again");
                error.id()
            }
        };
        if let Some(address) = self.tasks.remove(&id) {
            self.busy.remove(&address);
        }
    }

    /// Starts what is due, and answers how long there is nothing to do.
    fn look(&mut self, tenants: Vec<(String, Arc<Store>)>) -> Duration {
        self.outboxes
            .retain(|name, _| tenants.iter().any(|(tenant, _)| tenant == name));
        let mut next_ms = i64::MAX;
        for (tenant, store) in tenants {
            match self.look_at(&tenant, &store) {
                Ok(next) => next_ms = next_ms.min(next.unwrap_or(i64::MAX)),
                Err(error) => tracing::error!(tenant, %error, "notifications wait in the outbox"),
            }
        }
        let pause = u64::try_from(next_ms.saturating_sub(self.clock.now_ms())).unwrap_or(0);
        Duration::from_millis(pause).clamp(LOOK_LEAST, LOOK_MOST)
    }

    fn look_at(&mut self, tenant: &str, store: &Arc<Store>) -> Result<Option<i64>, NotifyError> {
        let outbox = match self.outboxes.get(tenant) {
            // A tenant that was deleted and written to again is another one.
            Some((known, outbox)) if Arc::ptr_eq(known, store) => outbox.clone(),
            _ => {
                let outbox = self.notifier.outbox(store.state())?;
                self.outboxes
                    .insert(tenant.to_owned(), (Arc::clone(store), outbox.clone()));
                outbox
            }
        };
        let now_ms = self.clock.now_ms();
        outbox.flush(store.state(), now_ms)?;
        outbox.divert_new(store.state(), now_ms)?;
        for receiver in outbox.receivers() {
            let address = (tenant.to_owned(), receiver.id().to_owned());
            if self.busy.contains(&address) || ledger::due_letter(store.state(), receiver.id(), now_ms)?.is_none() {
                continue;
            }
            let sending = Sending {
                outbox: outbox.clone(),
                store: Arc::clone(store),
                receiver: receiver.clone(),
                client: self.notifier.client().clone(),
                clock: self.clock.clone(),
            };
            let task = self.sending.spawn(sending.all());
            self.tasks.insert(task.id(), address.clone());
            self.busy.insert(address);
        }
        // What waits for a receiver that is being served is looked at when that ends.
        let idle = outbox.receivers().iter().map(Receiver::id);
        let idle = idle.filter(|id| !self.busy.contains(&(tenant.to_owned(), (*id).to_owned())));
        Ok(ledger::next_due_of(store.state(), idle)?)
    }
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
        let state = self.store.state();
        loop {
            let settled = match self.outbox.next(state, self.clock.now_ms(), &self.receiver) {
                Ok(None) => return,
                Ok(Some((letter, message))) => {
                    let at_ms = self.clock.now_ms();
                    let ended = send(&self.client, &self.receiver, &letter.key, &message, at_ms).await;
                    let settled = self
                        .outbox
                        .settle(state, self.clock.now_ms(), &self.receiver, &letter, &ended);
                    settled.map(|_| ended.verdict)
                }
                Err(error) => Err(error),
            };
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
}
