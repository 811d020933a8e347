//! The threads of a store: one flushes, merges and drops parts by itself, one syncs the WAL where that is done at intervals.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::StoreError;
use crate::options::WalSync;
use crate::store::Shared;
use crate::telemetry::Telemetry;

/// How often the thread looks what is due.
const PERIOD: Duration = Duration::from_secs(5);
/// Pause after a failure: a full disk stays full for a while.
const PAUSE: Duration = Duration::from_secs(30);
/// Samples stay in the head no longer than this, by the store's clock.
const HEAD_AGE_MAX_MS: i64 = 2 * 60 * 60 * 1000;
/// The head is flushed when the WAL has grown to this, so that a start replays no more.
const WAL_BYTES_MAX: u64 = 1 << 30;

/// The threads, and how to reach them.
#[derive(Debug)]
pub(crate) struct Background {
    calls: Arc<Calls>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Calls {
    state: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    stop: bool,
    look: bool,
}

impl Background {
    /// Starts the threads, unless the options say that there are none.
    pub(crate) fn start(shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let calls = Arc::new(Calls::default());
        let background = Self {
            calls,
            threads: Mutex::default(),
        };
        if shared.options.background {
            background.spawn("store", shared, run)?;
            if let WalSync::Interval(interval) = shared.options.wal_sync {
                background.spawn("wal", shared, move |shared, calls| sync(shared, calls, interval))?;
            }
        }
        Ok(background)
    }

    fn spawn(
        &self,
        what: &str,
        shared: &Arc<Shared>,
        run: impl FnOnce(&Shared, &Calls) + Send + 'static,
    ) -> Result<(), StoreError> {
        let (shared, calls) = (Arc::clone(shared), Arc::clone(&self.calls));
        let thread = std::thread::Builder::new()
            .name(format!("{what}-{}", shared.tenant))
            .spawn(move || run(&shared, &calls))
            .map_err(StoreError::Thread)?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// Asks the thread to look now.
    pub(crate) fn wake(&self) {
        self.calls.state.lock().look = true;
        self.calls.changed.notify_all();
    }

    /// Ends the threads after what they are doing.
    pub(crate) fn stop(&self) -> Result<(), StoreError> {
        self.calls.state.lock().stop = true;
        self.calls.changed.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock());
        let ended = threads.into_iter().map(JoinHandle::join);
        // All of them are waited for.
        let failed = ended.filter(Result::is_err).count();
        if failed == 0 {
            Ok(())
        } else {
            Err(StoreError::Interrupted)
        }
    }
}

/// Syncs the WAL again and again. Where that fails, what is in doubt is written into parts at once.
fn sync(shared: &Shared, calls: &Calls, interval: Duration) {
    let mut pause = interval;
    loop {
        {
            let mut wanted = calls.state.lock();
            if !wanted.stop {
                calls.changed.wait_for(&mut wanted, pause);
            }
            // Closing syncs as well.
            if wanted.stop {
                return;
            }
        }
        let synced = shared.wal.lock().sync();
        let safe = synced.or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::error!(
                tenant = shared.tenant,
                error,
                "cannot sync the WAL, will write parts instead"
            );
            shared.flush()
        });
        pause = if safe.is_ok() { interval } else { PAUSE.max(interval) };
        if let Err(error) = safe {
            let error = &error as &dyn std::error::Error;
            tracing::error!(
                tenant = shared.tenant,
                error,
                "cannot write parts either: a power cut may take what was acknowledged since"
            );
        }
    }
}

fn run(shared: &Shared, calls: &Calls) {
    let mut pause = PERIOD;
    loop {
        {
            let mut wanted = calls.state.lock();
            // After a failure nobody hurries the thread.
            let hurried = |wanted: &Wanted| wanted.look && pause == PERIOD;
            if !wanted.stop && !hurried(&wanted) {
                calls.changed.wait_for(&mut wanted, pause);
            }
            if wanted.stop {
                return;
            }
            wanted.look = false;
        }
        pause = match work(shared) {
            Ok(()) => PERIOD,
            Err(StoreError::Closed) => return,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(tenant = shared.tenant, error, "cannot write parts, will try again");
                PAUSE
            }
        };
    }
}

/// Does what is due.
pub(crate) fn work(shared: &Shared) -> Result<(), StoreError> {
    let now_ms = shared.options.clock.now_ms();
    let view = shared.view();
    let stats = shared.stats();
    Telemetry::get().sizes(&shared.tenant_label, &stats);
    let holds = view.active.samples() > 0 || shared.tables.has_rows();
    let old = now_ms.saturating_sub(view.active_since_ms) >= HEAD_AGE_MAX_MS && holds;
    let large = shared.head_bytes() > shared.options.flush_head_bytes || stats.wal_bytes > WAL_BYTES_MAX;
    // Nothing of the old view is needed while parts are written: it would keep memory.
    let unfinished = view.frozen.is_some();
    drop(view);
    if old || large || unfinished {
        shared.flush()?;
    }
    shared.maintain(now_ms)
}
