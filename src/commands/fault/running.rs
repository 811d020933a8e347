//! A fault under way, as seen by whoever started it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use agent::Watch;
use anyhow::{Context as _, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::Fault;

/// A fault is under way within this time or not at all.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A warden that was told to end has ended by then; what it could not undo in this time it goes on undoing alone.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// What a warden tells, a line of JSON each.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    /// The fault is under way.
    Ready(Ready),
    /// This host cannot have it.
    Unsupported { why: String },
    /// The failure has happened.
    Failed { at_ms: i64, how: String },
    /// The time is over, and nothing has failed.
    Ended { why: String },
}

/// A fault that is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Ready {
    /// When it began, milliseconds since 1970 UTC.
    pub(crate) began_ms: i64,
    /// When it is expected to fail, if that can be said.
    pub(crate) expected_ms: Option<i64>,
    /// What fails, in a sentence.
    pub(crate) subject: String,
    /// The cgroup that fills up, by its path in the hierarchy: the agent's label.
    pub(crate) cgroup: Option<String>,
    /// The process that leaks, where it has no cgroup of its own.
    pub(crate) pid: Option<u32>,
    /// The endpoint that fails.
    pub(crate) url: Option<String>,
    /// The file system that fills up.
    pub(crate) mountpoint: Option<String>,
}

impl Ready {
    /// What an agent should look at in order to see the fault coming.
    pub(crate) fn watch(&self) -> Vec<Watch> {
        let cgroup = self.cgroup.clone().map(Watch::Cgroup);
        let target = self.url.as_deref().and_then(|url| url.parse().ok()).map(Watch::Target);
        let process = self.pid.map(Watch::Process);
        cgroup.into_iter().chain(target).chain(process).collect()
    }
}

/// How far a fault has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FaultState {
    /// Nothing has failed yet.
    Growing,
    /// The failure has happened.
    Failed {
        /// When, milliseconds since 1970 UTC.
        at_ms: i64,
        /// What happened, in words.
        how: String,
    },
    /// The fault is over, and nothing has failed.
    Ended {
        /// Why.
        why: String,
    },
}

/// A fault under way. Dropping it ends the fault and cleans up.
#[derive(Debug)]
pub(crate) struct Running {
    warden: Child,
    /// The warden lives as long as this is open.
    leash: Option<ChildStdin>,
    events: Receiver<Event>,
    ready: Ready,
    state: FaultState,
}

impl Running {
    pub(super) fn start(fault: &Fault) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut warden = Command::new(program)
            .args(["--log", "warn", "fault", "warden"])
            .args(fault.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // In a group of its own, or Ctrl-C would end it before it can clean up.
            .process_group(0)
            .spawn()
            .context("cannot start the fault's process")?;
        let leash = warden.stdin.take();
        let events = warden
            .stdout
            .take()
            .map(listen)
            .context("the fault's process has no output")?;
        // From here on dropping ends the warden.
        let mut running = Self {
            warden,
            leash,
            events,
            ready: Ready::default(),
            state: FaultState::Growing,
        };
        let deadline = Instant::now() + START_TIMEOUT;
        match running
            .events
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            Ok(Event::Ready(ready)) => running.ready = ready,
            Ok(Event::Unsupported { why }) => bail!("this host cannot have the fault: {why}"),
            Ok(event) => bail!("the fault's process began with {event:?}"),
            Err(RecvTimeoutError::Timeout) => bail!("the fault was not under way within {START_TIMEOUT:?}"),
            Err(RecvTimeoutError::Disconnected) => return Err(anyhow!("the fault's process ended at once")),
        }
        Ok(running)
    }

    /// What is under way and what to look at.
    pub(crate) fn ready(&self) -> &Ready {
        &self.ready
    }

    /// How far it has come. It never waits.
    pub(crate) fn poll(&mut self) -> FaultState {
        while self.state == FaultState::Growing {
            self.state = match self.events.try_recv() {
                Ok(Event::Failed { at_ms, how }) => FaultState::Failed { at_ms, how },
                Ok(Event::Ended { why } | Event::Unsupported { why }) => FaultState::Ended { why },
                Ok(Event::Ready(_)) => continue,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => FaultState::Ended {
                    why: "its process ended".to_owned(),
                },
            };
        }
        self.state.clone()
    }

    /// Ends the fault and waits until what it left behind is gone.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.leash = None;
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            match self.warden.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(10)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        tracing::warn!(pid = self.warden.id(), "the fault's process is still cleaning up");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Reads events in a thread, which ends with the warden.
fn listen(output: ChildStdout) -> Receiver<Event> {
    let (send, events) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(event) => {
                    if send.send(event).is_err() {
                        return;
                    }
                }
                Err(error) => tracing::warn!(line, %error, "the fault's process wrote what nobody understands"),
            }
        }
    });
    events
}
