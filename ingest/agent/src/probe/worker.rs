//! Readings that may hang, in a thread of their own, or in one that several share until one of them does hang.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::clock;

/// Readings that nobody has taken; older ones go first. The sampler takes each round, so two are plenty.
const READINGS_MAX: usize = 4;

/// Stack of a worker: TLS and NVML need some, a default of 8 MiB would only be address space but alarms people.
const STACK_BYTES: usize = 512 << 10;

/// A reading that takes longer keeps no other one waiting for a thread that is shared.
const HANGS_AFTER: Duration = Duration::from_secs(1);

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
    /// Who reads where that is no thread of the worker's own, and what is read.
    lent: Option<(Hands, Arc<Mutex<Read<T>>>)>,
}

type Read<T> = Box<dyn FnMut() -> T + Send>;

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

/// A thread that several workers share. One that hangs in a reading is replaced by another for the others' readings, and goes once it
/// comes back; so there are no more threads than readings that hang, and one.
#[derive(Clone)]
pub(crate) struct Hands(Arc<Owner>);

/// Ends the threads when the last worker is dropped.
struct Owner(Arc<Jobs>);

struct Jobs {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// Each worker has one reading in it at most.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Box<dyn FnOnce() + Send>>,
    /// Since when each thread has been reading; `None` for one that waits.
    threads: BTreeMap<u64, Option<Instant>>,
    started: u64,
    stop: bool,
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
        let shared = Arc::new(Shared::new());
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                while theirs.wait_for_wish() {
                    theirs.complete(read());
                }
            })?;
        Ok(Self { shared, lent: None })
    }

    /// One whose readings are made by these hands.
    pub(crate) fn lent(hands: &Hands, read: impl FnMut() -> T + Send + 'static) -> Self {
        Self {
            shared: Arc::new(Shared::new()),
            lent: Some((hands.clone(), Arc::new(Mutex::new(Box::new(read))))),
        }
    }

    /// Asks for a reading, unless one is under way.
    pub(crate) fn begin(&self) {
        let mut state = self.shared.lock();
        if state.since.is_some() || state.wanted {
            return;
        }
        state.since = Some(Instant::now());
        if let Some((hands, read)) = &self.lent {
            let (theirs, read) = (Arc::clone(&self.shared), Arc::clone(read));
            hands.give(Box::new(move || {
                // Nobody else has it, as one reading is asked for at a time.
                let reading = read.lock().unwrap_or_else(PoisonError::into_inner)();
                theirs.complete(reading);
            }));
        } else {
            state.wanted = true;
            self.shared.changed.notify_all();
        }
    }

    /// Waits until no reading is under way, at most until `deadline`; then takes what is complete.
    pub(crate) fn take(&self, deadline: Instant) -> Vec<Timed<T>> {
        let mut state = self.shared.lock();
        while state.since.is_some() {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Some((hands, _)) = &self.lent {
                hands.relieve();
            }
            if left.is_zero() {
                break;
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left.min(HANGS_AFTER))
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
    fn new() -> Self {
        Self {
            state: Mutex::new(State {
                wanted: false,
                since: None,
                stop: false,
                readings: VecDeque::new(),
            }),
            changed: Condvar::new(),
        }
    }

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

    fn complete(&self, reading: T) {
        let reading = Timed {
            unix_nanos: clock::unix_nanos(),
            reading,
        };
        let mut state = self.lock();
        state.since = None;
        if state.readings.len() == READINGS_MAX {
            state.readings.pop_front();
        }
        state.readings.push_back(reading);
        self.changed.notify_all();
    }
}

impl Hands {
    /// Hands that start their first thread with the first reading.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Owner(Arc::new(Jobs {
            queue: Mutex::default(),
            changed: Condvar::new(),
        }))))
    }

    fn give(&self, job: Box<dyn FnOnce() + Send>) {
        self.0.0.lock().waiting.push_back(job);
        self.0.0.changed.notify_one();
        self.relieve();
    }

    /// Starts a thread where something waits and every thread there is hangs.
    fn relieve(&self) {
        let mut queue = self.0.0.lock();
        let hangs = |since: &Option<Instant>| since.is_some_and(|since| since.elapsed() >= HANGS_AFTER);
        if queue.waiting.is_empty() || !queue.threads.values().all(hangs) {
            return;
        }
        queue.started += 1;
        let number = queue.started;
        let theirs = Arc::clone(&self.0.0);
        let spawned = thread::Builder::new()
            .name("devices".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || theirs.work(number));
        match spawned {
            Ok(_) => {
                queue.threads.insert(number, Some(Instant::now()));
            }
            // It is tried again when the next reading is asked for; whoever waits for this one says for how long.
            Err(error) => tracing::debug!(%error, "cannot start a thread that reads devices"),
        }
    }
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, number: u64) {
        while let Some(job) = self.next(number) {
            job();
        }
        self.lock().threads.remove(&number);
    }

    /// What to read next; `None` when this thread shall end, since another one waits.
    fn next(&self, number: u64) -> Option<Box<dyn FnOnce() + Send>> {
        let mut queue = self.lock();
        let another_waits = queue.threads.values().any(Option::is_none);
        loop {
            if queue.stop || (another_waits && queue.waiting.is_empty()) {
                return None;
            }
            if let Some(job) = queue.waiting.pop_front() {
                queue.threads.insert(number, Some(Instant::now()));
                return Some(job);
            }
            queue.threads.insert(number, None);
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().stop = true;
        self.0.changed.notify_all();
    }
}

impl std::fmt::Debug for Hands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hands").finish_non_exhaustive()
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
    fn of_readings_that_share_a_thread_one_that_hangs_keeps_no_other_waiting() {
        let hands = Hands::new();
        let (go, gate) = mpsc::channel::<u32>();
        let hangs = Worker::lent(&hands, move || gate.recv().unwrap_or(0));
        let others = [1, 2].map(|n| Worker::lent(&hands, move || n));
        let far = Instant::now() + Duration::from_secs(60);
        hangs.begin();
        for _ in 0..3 {
            for (n, other) in (1..).zip(&others) {
                other.begin();
                let readings = other.take(far);
                assert_eq!(readings.iter().map(|timed| timed.reading).collect::<Vec<u32>>(), [n]);
            }
        }
        assert_eq!(
            hands.0.0.lock().threads.len(),
            2,
            "the one that hangs, and one for the others"
        );
        assert!(hangs.busy_for().is_some() && hangs.take(Instant::now()).is_empty());
        go.send(7).expect("it still waits");
        assert_eq!(hangs.take(far).len(), 1);
        // One of the two is enough again.
        while hands.0.0.lock().threads.len() > 1 {
            thread::yield_now();
        }
        others[0].begin();
        assert_eq!(others[0].take(far).len(), 1);
        let jobs = Arc::clone(&hands.0.0);
        drop((hands, hangs, others));
        while !jobs.lock().threads.is_empty() {
            thread::yield_now();
        }
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
