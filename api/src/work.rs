//! Queries under bounds: so many at once, each with a deadline, each stopped when its caller goes away.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use store::promql::Deadline;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::{Kind, Problem};

/// Ends the work when it is dropped, which also happens when the connection closes and axum drops the handler.
pub(crate) struct CancelOnDrop(pub(crate) Deadline);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// How long work is expected to take, as far as can be told before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Length {
    /// Less than waking another thread takes.
    Tiny,
    /// Less than handing it to another thread and back is worth; nobody can call it off.
    Brief,
    Any,
}

impl Length {
    /// By the cost of the work and the highest cost of what is tiny and of what is brief.
    pub(crate) fn of(cost: u64, tiny: u64, brief: u64) -> Self {
        match cost {
            _ if cost <= tiny => Self::Tiny,
            _ if cost <= brief => Self::Brief,
            _ => Self::Any,
        }
    }

    /// Whether the work is done on the thread that serves the connection.
    pub(crate) fn stays(self) -> bool {
        match self {
            Self::Tiny => true,
            // That thread hands its other connections on meanwhile, which a runtime of one thread cannot.
            Self::Brief => Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread,
            Self::Any => false,
        }
    }

    /// Does work that stays. Handing other connections on wakes a thread, which what is tiny is not worth.
    pub(crate) fn here<T>(self, work: impl FnOnce() -> T) -> T {
        if self == Self::Tiny {
            return work();
        }
        tokio::task::block_in_place(work)
    }
}

/// How many queries run at once, and how long one may wait for its turn and then take.
#[derive(Debug)]
pub(crate) struct Slots {
    free: Arc<Semaphore>,
    wait: Duration,
}

impl Slots {
    pub(crate) fn new(at_once: usize, wait: Duration) -> Self {
        Self {
            free: Arc::new(Semaphore::new(at_once)),
            wait,
        }
    }

    /// A slot, held until it is dropped.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] with `Retry-After` where none gets free in time.
    pub(crate) async fn take(&self) -> Result<OwnedSemaphorePermit, Problem> {
        match tokio::time::timeout(self.wait, Arc::clone(&self.free).acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) => Err(Problem::new(Kind::Unavailable, "too many queries are running")
                .hint("try again in a moment, or raise the number of concurrent queries in the server's configuration")
                .retry_after(1)),
        }
    }

    /// Runs `work` in a slot of its own, on a blocking thread unless it is tiny or brief. The slot is held until the work really ends, not
    /// only until its caller stops waiting, or callers that come and go could pile up work without bound.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        length: Length,
        timeout: Duration,
        work: impl FnOnce(&Deadline) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let slot = self.take().await?;
        let deadline = Deadline::at(Instant::now() + timeout);
        if length.stays() {
            return length.here(|| work(&deadline));
        }
        let _ended_when_dropped = CancelOnDrop(deadline.clone());
        let running = tokio::task::spawn_blocking(move || {
            let answer = work(&deadline);
            drop(slot);
            answer
        });
        match tokio::time::timeout(timeout, running).await {
            Ok(joined) => joined.unwrap_or_else(|failed| match failed.try_into_panic() {
                // Handed on to the one place that turns a panic into an answer.
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(Problem::new(Kind::Unavailable, "the server is stopping").retry_after(5)),
            }),
            Err(_) => Err(took_too_long(timeout)),
        }
    }
}

/// The answer to a query that was not done within `longest`.
pub(crate) fn took_too_long(longest: Duration) -> Problem {
    Problem::new(
        Kind::Timeout,
        format!("the query took more than {} s", longest.as_secs_f64()),
    )
    .hint("ask for less time or fewer series, or raise `timeout`")
}

/// Runs short work that may touch the disk (small state, writes) off the threads that serve sockets.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|failed| match failed.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(Problem::new(Kind::Unavailable, "the server is stopping").retry_after(5)),
        })
}

#[cfg(test)]
mod tests;
