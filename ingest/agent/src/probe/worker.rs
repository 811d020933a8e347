//! Readings that may hang, in a thread of their own.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::clock;

/// Readings that nobody has taken; older ones go first. The sampler takes each round, so two are plenty.
const READINGS_MAX: usize = 4;

/// Stack of a worker: TLS and NVML need some, a default of 8 MiB would only be address space but alarms people.
const STACK_BYTES: usize = 512 << 10;

/// A reading with the time at which it was complete.
#[derive(Clone, Debug)]
pub(crate) struct Timed<T> {
    pub(crate) unix_nanos: u64,
    pub(crate) reading: T,
}

/// A thread that makes one reading whenever it is asked, and a caller that never waits longer than it wants to.
///
/// A call that never returns costs this thread and nothing else: dropping the worker leaves such a thread behind.
pub(crate) struct Worker<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    wanted: bool,
    since: Option<Instant>,
    stop: bool,
    readings: VecDeque<Timed<T>>,
}

impl<T: Send + 'static> Worker<T> {
    /// Starts the thread; it reads for the first time when asked.
    pub(crate) fn spawn(name: &str, mut read: impl FnMut() -> T + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                wanted: false,
                since: None,
                stop: false,
                readings: VecDeque::new(),
            }),
            changed: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                while theirs.wait_for_wish() {
                    let reading = read();
                    theirs.complete(Timed {
                        unix_nanos: clock::unix_nanos(),
                        reading,
                    });
                }
            })?;
        Ok(Self { shared })
    }

    /// Asks for a reading, unless one is under way.
    pub(crate) fn begin(&self) {
        let mut state = self.shared.lock();
        if state.since.is_none() && !state.wanted {
            state.wanted = true;
            state.since = Some(Instant::now());
            self.shared.changed.notify_all();
        }
    }

    /// Waits until no reading is under way, at most until `deadline`; then takes what is complete.
    pub(crate) fn take(&self, deadline: Instant) -> Vec<Timed<T>> {
        let mut state = self.shared.lock();
        while state.since.is_some() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.readings.drain(..).collect()
    }

    /// Whether a reading waits to be taken.
    pub(crate) fn has_readings(&self) -> bool {
        !self.shared.lock().readings.is_empty()
    }

    /// For how long the reading under way has been asked for.
    pub(crate) fn busy_for(&self) -> Option<Duration> {
        self.shared.lock().since.map(|since| since.elapsed())
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False when the worker was dropped.
    fn wait_for_wish(&self) -> bool {
        let mut state = self.lock();
        while !state.wanted && !state.stop {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.wanted = false;
        !state.stop
    }

    fn complete(&self, reading: Timed<T>) {
        let mut state = self.lock();
        state.since = None;
        if state.readings.len() == READINGS_MAX {
            state.readings.pop_front();
        }
        state.readings.push_back(reading);
        self.changed.notify_all();
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
    }
}

impl<T> std::fmt::Debug for Worker<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_reading_that_hangs_delays_nobody_and_arrives_later() {
        let (go, gate) = mpsc::channel::<u32>();
        let worker = Worker::spawn("test", move || gate.recv().unwrap_or(0)).expect("thread");
        worker.begin();
        worker.begin();
        assert!(worker.take(Instant::now()).is_empty());
        assert!(worker.busy_for().is_some());
        go.send(7).expect("worker lives");
        let far = Instant::now() + Duration::from_secs(60);
        let readings = worker.take(far);
        assert_eq!(readings.iter().map(|timed| timed.reading).collect::<Vec<_>>(), [7]);
        assert!(worker.busy_for().is_none());
    }

    #[test]
    fn readings_that_nobody_takes_are_bounded() {
        let mut n = 0;
        let worker = Worker::spawn("test", move || {
            n += 1;
            n
        })
        .expect("thread");
        let far = Instant::now() + Duration::from_secs(60);
        for _ in 0..20 {
            worker.begin();
            while worker.busy_for().is_some() {
                thread::yield_now();
            }
        }
        assert_eq!(
            worker.take(far).iter().map(|timed| timed.reading).collect::<Vec<_>>(),
            [17, 18, 19, 20]
        );
    }
}
