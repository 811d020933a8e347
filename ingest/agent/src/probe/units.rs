//! What systemd says of its services and mounts: which failed, and how often it started a service again.
//!
//! The system's bus is asked once a minute, in a thread of its own: a PID 1 that no longer answers is one of the failures that
//! this is about.

mod bus;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::worker::{Timed, Worker};
use super::{Cadence, Paths, Probe, ProbeError, Support};
use crate::catalogue as metric;
use crate::reading::Readings;
use bus::{Argument, Bus, BusError, Call, Reader};

/// Units that are told one by one, those that failed before others; all are in the sums.
const UNITS_MAX: usize = 256;

/// Time for one reading.
const PATIENCE: Duration = Duration::from_secs(10);

/// The states that a unit may be in (`org.freedesktop.systemd1(5)`, ActiveState).
const STATES: [&str; 6] = [
    "active",
    "activating",
    "deactivating",
    "failed",
    "inactive",
    "reloading",
];

/// Reads units over the system's bus.
pub struct Units {
    socket: PathBuf,
    worker: Option<Worker<Result<Reading, BusError>>>,
}

impl std::fmt::Debug for Units {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Units")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// What systemd said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Reading {
    /// Units by state, in the order of [`STATES`].
    by_state: [u64; STATES.len()],
    /// Units one by one, with how often each was started again where it is a service.
    told: Vec<(Unit, Option<u32>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Unit {
    name: String,
    state: String,
    /// State of its kind, such as `running` or `auto-restart` for a service.
    sub: String,
    path: String,
}

impl Unit {
    fn is_failed(&self) -> bool {
        self.state == "failed"
    }

    fn is_service(&self) -> bool {
        self.name.ends_with(".service")
    }

    /// Whether it is worth a series: what failed, and services that are there to run. What is made for one run
    /// (`run-r1f2...service`) has a name of its own each time.
    fn is_told(&self) -> bool {
        let runs = self.is_service() && ["running", "auto-restart", "start", "reload"].contains(&self.sub.as_str());
        self.is_failed() || (runs && !self.name.starts_with("run-"))
    }
}

impl Units {
    /// A probe of this host's systemd.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self {
            socket: paths.file("run/dbus/system_bus_socket", "system_bus_socket"),
            worker: None,
        }
    }

    fn missing(&self, what: &'static str) -> ProbeError {
        ProbeError::Missing {
            path: self.socket.clone(),
            what,
        }
    }
}

impl Probe for Units {
    fn name(&self) -> &'static str {
        "units"
    }

    fn is_supported(&mut self) -> Support {
        if self.socket.exists() {
            Support::Yes
        } else {
            Support::No(format!(
                "{} is not there: no systemd, or no D-Bus",
                self.socket.display()
            ))
        }
    }

    fn cadence(&self) -> Cadence {
        Cadence::Slow
    }

    fn begin(&mut self) {
        if self.worker.is_none() {
            let socket = self.socket.clone();
            self.worker = Worker::spawn("units", move || ask(&socket)).ok();
        }
        if let Some(worker) = &self.worker {
            worker.begin();
        }
    }

    fn sample(&mut self, deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        let Some(worker) = &self.worker else {
            return Err(self.missing("thread to ask it"));
        };
        for Timed { unix_nanos, reading } in worker.take(deadline) {
            match reading {
                Ok(reading) => write(&reading, unix_nanos, out),
                Err(BusError::Io(source)) => {
                    return Err(ProbeError::Read {
                        path: self.socket.clone(),
                        source,
                    });
                }
                Err(BusError::Refused) => return Err(self.missing("place for this user")),
                Err(BusError::Said(error)) => {
                    tracing::debug!(error, "systemd does not tell of its units");
                    return Err(self.missing("answer of systemd's but an error"));
                }
                Err(BusError::Garbled) => return Err(self.missing("messages of D-Bus")),
            }
        }
        match worker.busy_for() {
            Some(busy) if busy > PATIENCE => Err(ProbeError::Stalled {
                what: "the system's bus",
                seconds: busy.as_secs(),
            }),
            _ => Ok(()),
        }
    }
}

fn write(reading: &Reading, unix_nanos: u64, out: &mut Readings<'_>) {
    out.metric(&metric::UNITS);
    for (state, count) in STATES.iter().zip(reading.by_state) {
        out.point_at(unix_nanos, &[("state", state)], count as f64);
    }
    out.metric(&metric::UNIT_FAILED);
    for (unit, _) in &reading.told {
        let failed = f64::from(u8::from(unit.is_failed()));
        out.point_at(unix_nanos, &[("systemd.unit.name", &unit.name)], failed);
    }
    out.metric(&metric::UNIT_RESTARTS);
    for (unit, restarts) in &reading.told {
        if let Some(restarts) = restarts {
            out.point_at(unix_nanos, &[("systemd.unit.name", &unit.name)], f64::from(*restarts));
        }
    }
}

fn ask(socket: &Path) -> Result<Reading, BusError> {
    let mut bus = Bus::connect(socket, PATIENCE)?;
    let bodies = bus.call(&[Call {
        destination: "org.freedesktop.systemd1",
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        member: "ListUnitsByPatterns",
        arguments: &[Argument::Texts(&[]), Argument::Texts(&["*.service", "*.mount"])],
    }])?;
    let units = bodies.first().and_then(|body| units(body)).ok_or(BusError::Garbled)?;
    let mut reading = Reading::default();
    for unit in &units {
        if let Some(at) = STATES.iter().position(|state| *state == unit.state) {
            reading.by_state[at] += 1;
        }
    }
    let told = worth_telling(units);
    let services: Vec<&Unit> = told.iter().filter(|unit| unit.is_service()).collect();
    let calls: Vec<Call<'_>> = services
        .iter()
        .map(|unit| Call {
            destination: "org.freedesktop.systemd1",
            path: &unit.path,
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
            arguments: &[
                Argument::Text("org.freedesktop.systemd1.Service"),
                Argument::Text("NRestarts"),
            ],
        })
        .collect();
    // A unit that is unloaded between the two questions, or a systemd before 235, costs the restarts of this reading.
    let restarts = match bus.call(&calls) {
        Ok(bodies) => bodies,
        Err(BusError::Said(_)) => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut restarts = restarts.iter().map(|body| restarts_of(body));
    reading.told = told
        .into_iter()
        .map(|unit| {
            let times = if unit.is_service() {
                restarts.next().flatten()
            } else {
                None
            };
            (unit, times)
        })
        .collect();
    Ok(reading)
}

/// Those that get series of their own, within the bound.
fn worth_telling(units: Vec<Unit>) -> Vec<Unit> {
    let mut told: Vec<Unit> = units.into_iter().filter(Unit::is_told).collect();
    told.sort_by(|a, b| (!a.is_failed(), &a.name).cmp(&(!b.is_failed(), &b.name)));
    told.truncate(UNITS_MAX);
    told
}

/// The body of an answer to `ListUnitsByPatterns`: `a(ssssssouso)`, of which name, active state, sub state and path are kept.
fn units(body: &[u8]) -> Option<Vec<Unit>> {
    let mut rows = Reader::new(body).structures()?;
    let mut units = Vec::new();
    while !rows.is_empty() {
        rows.align(8)?;
        let [name, _description, _load, state, sub, _following, path] = [(); 7].map(|()| rows.text());
        rows.number()?;
        rows.text()?;
        rows.text()?;
        units.push(Unit {
            name: name?.to_owned(),
            state: state?.to_owned(),
            sub: sub?.to_owned(),
            path: path?.to_owned(),
        });
    }
    Some(units)
}

/// The body of an answer to `Get`: a variant, here with a number.
fn restarts_of(body: &[u8]) -> Option<u32> {
    let mut reader = Reader::new(body);
    if reader.signature()? != "u" {
        return None;
    }
    reader.number()
}

#[cfg(test)]
mod tests;
