//! How many connections there may be at once, and which of them goes where another one wants in.

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// The connections of one port or of several, at most so many at once. Beyond them the one that has rested longest, between two
/// requests or before its first, makes room for the next; where all are busy that one waits.
#[derive(Clone, Debug)]
pub struct Seats(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    free: Arc<Semaphore>,
    resting: Mutex<Resting>,
    /// Rung when a connection begins to rest.
    rests: Notify,
    said: Mutex<Option<Instant>>,
}

/// Connections without a request, in the order in which they began to rest.
#[derive(Debug, Default)]
struct Resting {
    turn: u64,
    by_turn: BTreeMap<u64, Arc<Notify>>,
}

/// The log says so often that there are too many connections.
const SAY: Duration = Duration::from_secs(60);
/// How long one that was asked to close is waited for before the next one is asked.
const NEXT: Duration = Duration::from_millis(100);

impl Seats {
    /// So many, at least one.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self(Arc::new(Shared {
            most,
            free: Arc::new(Semaphore::new(most)),
            resting: Mutex::default(),
            rests: Notify::new(),
            said: Mutex::default(),
        }))
    }

    /// A seat for a connection, which begins to rest; when there is one.
    pub(super) async fn take(&self) -> Seat {
        let permit = match Arc::clone(&self.0.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.made_free().await,
        };
        let leave = Arc::new(Notify::new());
        let turn = self.rest(&leave);
        Seat {
            seats: self.clone(),
            leave,
            busy: Mutex::new(Busy { requests: 0, turn }),
            _permit: permit,
        }
    }

    async fn made_free(&self) -> OwnedSemaphorePermit {
        let mut permit = pin!(Arc::clone(&self.0.free).acquire_owned());
        let mut sent_away = self.send_one_away();
        if !sent_away {
            count("waited");
        }
        self.say(sent_away);
        loop {
            tokio::select! {
                permit = permit.as_mut() => return permit.expect("nobody closes the semaphore"),
                () = self.0.rests.notified(), if !sent_away => {}
                // Its next request may have come in the same moment, or its far end is gone.
                () = tokio::time::sleep(NEXT), if sent_away => {}
            }
            sent_away = self.send_one_away();
        }
    }

    /// Has the connection that rests longest close; false where none rests.
    pub(super) fn send_one_away(&self) -> bool {
        let longest = lock(&self.0.resting).by_turn.pop_first();
        let Some((_, leave)) = longest else {
            return false;
        };
        leave.notify_one();
        count("displaced");
        true
    }

    /// Waits until nobody is connected.
    pub(super) async fn empty(&self) {
        let all = u32::try_from(self.0.most).unwrap_or(u32::MAX);
        // Given back at once: other ports wait for the same.
        drop(self.0.free.acquire_many(all).await);
    }

    fn rest(&self, leave: &Arc<Notify>) -> u64 {
        let mut resting = lock(&self.0.resting);
        let turn = resting.turn;
        resting.turn += 1;
        resting.by_turn.insert(turn, Arc::clone(leave));
        drop(resting);
        self.0.rests.notify_one();
        turn
    }

    fn say(&self, sent_away: bool) {
        let mut said = lock(&self.0.said);
        if said.is_some_and(|said| said.elapsed() < SAY) {
            return;
        }
        *said = Some(Instant::now());
        let most = self.0.most;
        if sent_away {
            tracing::warn!(
                most,
                "as many connections as there may be: those without a request are closed for new ones; raise connections_max, and \
                 the limit of open files with it"
            );
        } else {
            tracing::warn!(
                most,
                "as many connections as there may be, and all of them busy: new ones wait; raise connections_max, and the limit of \
                 open files with it"
            );
        }
    }
}

/// One connection's place. It is free once this is dropped, with all that was asked through it.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Seats,
    leave: Arc<Notify>,
    busy: Mutex<Busy>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Busy {
    requests: usize,
    /// Its place among those that rest, where there are no requests.
    turn: u64,
}

impl Seat {
    /// Ends when this connection is to make room.
    pub(super) async fn asked_to_leave(&self) {
        self.leave.notified().await;
    }

    /// Whether nothing is being answered.
    pub(super) fn is_resting(&self) -> bool {
        lock(&self.busy).requests == 0
    }

    /// A request begins: the connection rests no more until what this answers is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Request {
        let mut busy = lock(&self.busy);
        if busy.requests == 0 {
            lock(&self.seats.0.resting).by_turn.remove(&busy.turn);
        }
        busy.requests += 1;
        drop(busy);
        Request(Arc::clone(self))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let turn = lock(&self.busy).turn;
        lock(&self.seats.0.resting).by_turn.remove(&turn);
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Request(Arc<Seat>);

impl Request {
    /// A body with which the request ends.
    pub(super) fn until_end_of(self, body: Body) -> Body {
        Body::new(Answer { body, _request: self })
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut busy = lock(&self.0.busy);
        busy.requests -= 1;
        if busy.requests == 0 {
            busy.turn = self.0.seats.rest(&self.0.leave);
        }
    }
}

struct Answer {
    body: Body,
    _request: Request,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn count(what: &'static str) {
    static FULL: OnceLock<Counter<u64>> = OnceLock::new();
    FULL.get_or_init(|| {
        opentelemetry::global::meter("foreshock_api")
            .u64_counter("foreshock_api_crowded_connections")
            .with_description(
                "Connections closed while they rested (displaced), and times when all were busy (waited), because there were \
                 as many as may be",
            )
            .build()
    })
    .add(1, &[KeyValue::new("outcome", what)]);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
