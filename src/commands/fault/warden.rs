//! The process that causes a fault: it reports on its standard output and lives as long as its standard input is open.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::Fault;
use super::running::Event;

/// How long a warden stays after its fault is over if nobody ends it, so that an agent sees the end.
const LINGER: Duration = Duration::from_secs(300);

/// Whether whoever started the fault is still there.
#[derive(Clone, Debug)]
pub(super) struct Leash {
    cut: Arc<AtomicBool>,
}

impl Leash {
    /// A leash that is cut when standard input ends.
    fn stdin() -> Self {
        let cut = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&cut);
        thread::spawn(move || {
            let mut ignored = [0; 64];
            while std::io::stdin().read(&mut ignored).is_ok_and(|n| n > 0) {}
            theirs.store(true, Ordering::Relaxed);
        });
        Self { cut }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Waits; false when the leash was cut meanwhile.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !self.is_cut() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(Duration::from_millis(20)));
        }
        false
    }
}

/// Tells an event. Nobody to hear it is no error: the leash will be cut as well.
pub(super) fn tell(event: &Event) {
    if let Ok(line) = serde_json::to_string(event) {
        writeln!(std::io::stdout(), "{line}").unwrap_or_default();
    }
}

pub(super) fn run(fault: &Fault) -> Result<()> {
    let leash = Leash::stdin();
    let cleanup = match fault {
        Fault::Memory(options) => options.cause(&leash),
        Fault::Latency(options) => options.cause(&leash),
        Fault::Disk(options) => options.cause(&leash),
        Fault::Io(options) => options.cause(&leash),
    };
    match cleanup {
        Ok(cleanup) => {
            // What remains to be undone is kept until an agent had time to see how it ended.
            leash.wait(LINGER);
            drop(cleanup);
            Ok(())
        }
        Err(error) => {
            tell(&Event::Unsupported {
                why: format!("{error:#}"),
            });
            Err(error).context("the fault could not be caused")
        }
    }
}

/// What undoes a fault when it is dropped.
pub(super) type Cleanup = Box<dyn std::any::Any>;
