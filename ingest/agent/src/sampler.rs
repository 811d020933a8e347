//! The thread that reads the probes on a grid of time and hands each round to the spool.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::Every;
use crate::adaptive::{self, Pace};
use crate::batch;
use crate::catalogue as metric;
use crate::clock;
use crate::host::{self, Host};
use crate::probe::{Cadence, Paths, Probe, ProbeError, Support, Watch};
use crate::reading::{Readings, Requests, Sink};
use crate::recording::Recorder;
use crate::sender::Outbox;
use crate::spool::BATCH_BYTES_MAX;
use crate::stats::Counters;

/// Longest wait for probes that read in threads of their own; what comes later is sent with the next round.
const GRACE: Duration = Duration::from_millis(100);

/// Time between two looks whether the host has meanwhile got what a probe needs: swap, a driver, a target.
const LOOK_AGAIN_EVERY: Duration = Duration::from_secs(300);

/// Time between two readings of probes that are worth no more.
const SLOW: Duration = Duration::from_secs(60);

/// What the agent says to its sampler.
#[derive(Debug)]
pub(crate) struct Control {
    wake: OwnedFd,
    orders: Mutex<Orders>,
}

#[derive(Debug, Default)]
struct Orders {
    stop: bool,
    watch: Vec<Watch>,
}

impl Control {
    pub(crate) fn new() -> std::io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            wake,
            orders: Mutex::new(Orders::default()),
        })
    }

    pub(crate) fn stop(&self) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.wake();
    }

    pub(crate) fn watch(&self, what: Watch) {
        self.orders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .watch
            .push(what);
        self.wake();
    }

    fn wake(&self) {
        // The counter of an eventfd is full only when a wake-up is pending anyway.
        rustix::io::write(&self.wake, &1u64.to_ne_bytes()).unwrap_or_default();
    }

    fn take(&self) -> Orders {
        let mut counter = [0; 8];
        rustix::io::read(&self.wake, &mut counter).unwrap_or_default();
        std::mem::take(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A probe and what is known of its readings.
struct Slot {
    probe: Box<dyn Probe>,
    supported: bool,
    /// Time between two readings, where it was given.
    every: Option<Duration>,
    /// When it was read last.
    read: Option<Instant>,
    errors: u64,
    seconds: f64,
}

impl Slot {
    /// Whether it is read at `now`, in a round of which only the urgent probes are wanted when `urgent` is set.
    fn is_due(&self, now: Instant, urgent: bool, interval: Duration) -> bool {
        let cadence = self.probe.cadence();
        let every = self.every.or((cadence == Cadence::Slow).then_some(SLOW));
        // A reading a little early is better than one a whole interval late.
        let has_rested = |every| {
            self.read
                .is_none_or(|at| now.duration_since(at) + interval / 2 >= every)
        };
        self.supported && (!urgent || cadence == Cadence::Urgent) && every.is_none_or(has_rested)
    }
}

/// Which probes a round reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// All, whenever they were read last.
    All,
    /// Those that are due after this interval.
    Due(Duration),
    /// Those alone that tell of events: the server has too much to do at present.
    Urgent(Duration),
}

/// The probes of this host, read together.
pub(crate) struct Probes {
    slots: Vec<Slot>,
    looked: Instant,
    /// Starts of the kernel's counters and of the agent's own.
    booted: u64,
    started: u64,
    seconds: f64,
}

impl Probes {
    /// Asks each probe whether the host has its source, and says once which have none.
    pub(crate) fn new(probes: Vec<Box<dyn Probe>>, every: &[Every], paths: &Paths) -> Self {
        let slots = probes
            .into_iter()
            .map(|mut probe| {
                let support = probe.is_supported();
                if let Support::No(why) = &support {
                    tracing::info!(probe = probe.name(), why, "no readings");
                }
                let given = every.iter().rev().find(|every| every.probe == probe.name());
                Slot {
                    every: given.map(|every| every.time),
                    probe,
                    supported: support == Support::Yes,
                    read: None,
                    errors: 0,
                    seconds: 0.0,
                }
            })
            .collect();
        Self {
            slots,
            looked: Instant::now(),
            booted: host::booted(paths),
            started: clock::unix_nanos(),
            seconds: 0.0,
        }
    }

    pub(crate) fn watch(&mut self, what: &Watch) {
        for slot in &mut self.slots {
            slot.probe.watch(what);
            slot.supported = slot.supported || slot.probe.is_supported() == Support::Yes;
        }
    }

    fn look_again(&mut self, now: Instant) {
        if now.duration_since(self.looked) < LOOK_AGAIN_EVERY {
            return;
        }
        self.looked = now;
        for slot in self.slots.iter_mut().filter(|slot| !slot.supported) {
            slot.supported = slot.probe.is_supported() == Support::Yes;
        }
    }

    /// Reads the probes of a round, which began at `unix_nanos`, and returns the number of points.
    pub(crate) fn read(&mut self, sink: &mut dyn Sink, round: Round, unix_nanos: u64) -> usize {
        let began = Instant::now();
        self.look_again(began);
        let (interval, urgent) = match round {
            Round::All => (SLOW, false),
            Round::Due(interval) => (interval, false),
            Round::Urgent(interval) => (interval, true),
        };
        let deadline = began + GRACE.min(interval / 4);
        let mut out = Readings::new(&mut *sink, unix_nanos, self.booted);
        let due: Vec<bool> = self
            .slots
            .iter()
            .map(|slot| slot.is_due(began, urgent, interval) || (round == Round::All && slot.supported))
            .collect();
        for (slot, _) in self.slots.iter_mut().zip(&due).filter(|(_, due)| **due) {
            slot.probe.begin();
        }
        for (slot, due) in self.slots.iter_mut().zip(&due) {
            if *due {
                slot.read = Some(began);
            } else if urgent || !slot.probe.has_late() {
                continue;
            }
            let began = Instant::now();
            if let Err(error) = slot.probe.sample(deadline, &mut out) {
                slot.errors += 1;
                // The first failure of a probe is told; the count goes on as a metric.
                if slot.errors == 1 && !matches!(error, ProbeError::Scrape { .. }) {
                    tracing::warn!(probe = slot.probe.name(), error = %crate::chain(&error), "a reading failed");
                }
            }
            slot.seconds = began.elapsed().as_secs_f64();
        }
        let points = out.points();
        if urgent {
            return points;
        }
        let mut out = Readings::new(sink, unix_nanos, self.started);
        self.own(&mut out);
        self.seconds = began.elapsed().as_secs_f64();
        points + out.points()
    }

    /// What the probes gave is where it is to be kept.
    fn spooled(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.probe.spooled());
    }

    /// The cost of this round's readings, and of the whole round before.
    fn own(&self, out: &mut Readings<'_>) {
        if self.seconds > 0.0 {
            out.single(&metric::SCRAPE_DURATION, self.seconds);
        }
        out.metric(&metric::COST);
        for slot in self.slots.iter().filter(|slot| slot.supported) {
            out.point(&[("probe", slot.probe.name())], slot.seconds);
        }
        out.metric(&metric::SCRAPE_ERRORS);
        for slot in self.slots.iter().filter(|slot| slot.supported) {
            out.point(&[("probe", slot.probe.name())], slot.errors as f64);
        }
    }

    /// Names of the probes, with why the host has no source for them.
    pub(crate) fn support(&mut self) -> Vec<(String, Support)> {
        self.slots
            .iter_mut()
            .map(|slot| (slot.probe.name().to_owned(), slot.probe.is_supported()))
            .collect()
    }
}

/// What the sampling thread owns.
pub(crate) struct Sampler {
    pub(crate) control: Arc<Control>,
    pub(crate) probes: Probes,
    pub(crate) host: Host,
    pub(crate) interval: Duration,
    /// Whether to read each second while that matters.
    pub(crate) adaptive: bool,
    pub(crate) triggers: Vec<File>,
    pub(crate) outbox: Option<Arc<Outbox>>,
    pub(crate) recorder: Option<Recorder>,
    /// Rounds so far.
    pub(crate) rounds: u64,
}

/// Why the sampler woke.
enum Woken {
    Tick,
    Order,
    Pressure,
    Signal,
}

impl Sampler {
    /// Reads until stopped: at once, then on the grid.
    pub(crate) fn run(mut self) {
        let mut requests = Requests::new(&self.host);
        let mut pace = Pace::new(self.interval);
        let seed = self.host.seed();
        self.round(&mut requests, self.interval);
        loop {
            if self.wants_closer() && pace.sign(Instant::now()) {
                tracing::info!("the server warns of this host: sampling faster");
            }
            let interval = pace.interval(Instant::now());
            let phase = Duration::from_nanos(seed % u64::try_from(interval.as_nanos()).unwrap_or(1).max(1));
            match self.wait(clock::until_next_tick(clock::unix_nanos(), interval, phase)) {
                Woken::Tick => self.round(&mut requests, interval),
                Woken::Pressure => {
                    if pace.sign(Instant::now()) {
                        tracing::info!("tasks wait for memory or disks: sampling faster");
                        self.round(&mut requests, interval);
                    }
                }
                // The next look at the clock decides.
                Woken::Signal => {}
                Woken::Order => {
                    let orders = self.control.take();
                    orders.watch.iter().for_each(|what| self.probes.watch(what));
                    if orders.stop {
                        break;
                    }
                }
            }
        }
        if let Some(recorder) = self.recorder.take()
            && let Err(error) = recorder.finish()
        {
            tracing::error!(error = %crate::chain(&error), "the recording is incomplete");
        }
    }

    /// Whether an answer since this was last asked said that the server warns of this host.
    fn wants_closer(&self) -> bool {
        let outbox = self.outbox.as_ref().filter(|_| self.adaptive);
        outbox.is_some_and(|outbox| outbox.counters.wants_closer.swap(false, Ordering::Relaxed))
    }

    fn round(&mut self, requests: &mut Requests, interval: Duration) {
        let now = clock::unix_nanos();
        let widened = self.outbox.as_ref().map_or(1, |outbox| {
            adaptive::widened(Counters::get(&outbox.counters.pushed_back))
        });
        let round = if self.rounds.is_multiple_of(widened) {
            Round::Due(interval)
        } else {
            Round::Urgent(interval)
        };
        self.rounds += 1;
        let points = self.probes.read(requests, round, now);
        // Before the readings: what was pushed last is sent first, and a page without its newest samples looks dead.
        for (id, body) in requests.events() {
            self.push(now, batch::events(&id, &body));
        }
        for scraped in requests.batches() {
            if self.recorder.is_some() {
                match zstd::bulk::decompress(&scraped, BATCH_BYTES_MAX) {
                    Ok(body) => self.record(&body),
                    Err(error) => tracing::error!(%error, "what a target showed is not recorded"),
                }
            }
            self.push(now, Ok(scraped));
        }
        self.probes.spooled();
        if let Some(outbox) = &self.outbox {
            if let Round::Due(_) = round {
                let mut out = Readings::new(requests, now, self.probes.started);
                out.single(&metric::INTERVAL, interval.as_secs_f64() * widened as f64);
                own_metrics(outbox, &mut out);
            }
            if let Some(gap) = outbox.gap() {
                let mut out = Readings::new(requests, now, self.probes.started);
                out.metric(&metric::GAP_DURATION);
                out.point_at(gap.to, &[], gap.to.saturating_sub(gap.from) as f64 / 1e9);
            }
            Counters::add(&outbox.counters.rounds, 1);
            Counters::add(&outbox.counters.points, points as u64);
        }
        let body = requests.readings();
        self.record(&body);
        self.push(now, batch::readings(&body));
    }

    fn record(&mut self, body: &[u8]) {
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = recorder.write(body)
        {
            tracing::error!(error = %crate::chain(&error), "recording ends here");
            self.recorder = None;
        }
    }

    fn push(&self, now: u64, batch: std::io::Result<Vec<u8>>) {
        let Some(outbox) = &self.outbox else { return };
        match batch {
            Ok(batch) => outbox.push(now, batch),
            Err(error) => tracing::error!(%error, "cannot compress a batch; what it told is lost"),
        }
    }

    fn wait(&mut self, time: Duration) -> Woken {
        let timeout = Timespec {
            tv_sec: time.as_secs() as i64,
            tv_nsec: i64::from(time.subsec_nanos()),
        };
        let mut fds = vec![PollFd::from_borrowed_fd(self.control.wake.as_fd(), PollFlags::IN)];
        fds.extend(
            self.triggers
                .iter()
                .map(|file| PollFd::from_borrowed_fd(file.as_fd(), PollFlags::PRI)),
        );
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Woken::Tick,
            Ok(_) => {}
            Err(_) => return Woken::Signal,
        }
        if fds[0].revents().contains(PollFlags::IN) {
            return Woken::Order;
        }
        if fds[1..].iter().any(|fd| fd.revents().contains(PollFlags::PRI)) {
            return Woken::Pressure;
        }
        // A trigger that has become an error would wake the thread for ever.
        drop(fds);
        self.triggers.clear();
        Woken::Signal
    }
}

/// The agent's own state, as metrics like any other.
fn own_metrics(outbox: &Outbox, out: &mut Readings<'_>) {
    let counters = &outbox.counters;
    let (batches, bytes) = outbox.waiting();
    out.single(&metric::SPOOL_BATCHES, batches as f64);
    out.single(&metric::SPOOL_BYTES, bytes as f64);
    out.metric(&metric::DROPPED_BATCHES);
    out.point(&[("reason", "full")], Counters::get(&counters.dropped_full) as f64);
    out.point(&[("reason", "old")], Counters::get(&counters.dropped_old) as f64);
    out.point(&[("reason", "refused")], Counters::get(&counters.refused) as f64);
    out.point(
        &[("reason", "unsupported")],
        Counters::get(&counters.unsupported) as f64,
    );
    out.single(&metric::SENT_BATCHES, Counters::get(&counters.sent) as f64);
    out.single(&metric::SEND_RETRIES, Counters::get(&counters.retries) as f64);
    let micros = Counters::get(&counters.send_micros);
    if micros > 0 {
        out.single(&metric::SEND_DURATION, micros as f64 / 1e6);
    }
    if let Some(seconds) = outbox.clock_skew() {
        out.single(&metric::CLOCK_SKEW, seconds);
    }
    let ends = counters.certificate_ends.load(Ordering::Relaxed);
    if ends > 0 {
        out.single(&metric::IDENTITY_ENDS, ends as f64);
    }
}

/// Opens the pressure triggers if the agent shall adapt; a host without them is sampled at its usual pace.
pub(crate) fn triggers(adaptive: bool, paths: &Paths) -> Vec<File> {
    if adaptive {
        adaptive::triggers(&paths.proc)
    } else {
        Vec::new()
    }
}

#[cfg(test)]
mod tests;
