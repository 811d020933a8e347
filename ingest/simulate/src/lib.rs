//! A simulated GPU fleet with failures, near misses and surprises: something to train on before one's own fleet has failed
//! often enough.
//!
//! ```text
//! options ─► schedule: what happens to each host ─┐
//!            workload: jobs come and go ──────────┼─► host: step by step ─► request: OTLP bodies in order of time
//!            noise ───────────────────────────────┘
//! ```
//!
//! Ten kinds of failure ([`Failure`]): some grow over hours, some come without a sign, and some of the first kind come
//! without a sign too. Six kinds of near miss ([`Scare`]) begin like a failure and pass. Hosts differ: some run warm, some
//! have noisy links, some fail more often than their peers. Agents fall silent, hosts are rebooted on purpose, counters start
//! again at zero. The idea of the mixture is that of published failure statistics of GPU fleets; the rate of failures is far
//! above a real fleet's, so that ten days hold enough of them. **A probability learnt here says nothing about real hosts.**
//!
//! Invariants:
//! - The same options give the same bytes, whatever part of the time is asked for and in requests of whatever size.
//! - Each host has random streams of its own, derived from seed and host number: more hosts do not change the others.
//! - Nothing in the samples says what is about to happen but the signs themselves.
//!
//! 24 hosts with 2 GPUs over 10 days at a step of 120 s, the default, are 9.5 million points.
//!
//! ```
//! use foreshock_simulate::{Fleet, FleetOptions};
//!
//! let fleet = Fleet::new(FleetOptions { seed: 7, hosts: 3, days: 2.0, ..FleetOptions::default() })?;
//! let mut points = 0;
//! for request in fleet.requests(fleet.span(), 10_000) {
//!     assert!(request.first_ms <= request.last_ms);
//!     points += request.points; // POST request.body to /v1/metrics
//! }
//! assert!(points > 200_000);
//! # Ok::<(), foreshock_simulate::OptionsError>(())
//! ```

mod catalogue;
mod effect;
mod host;
mod kind;
mod random;
mod request;
mod schedule;
#[cfg(test)]
mod tests;
mod workload;

use std::ops::RangeInclusive;
use std::sync::Arc;

use host::HostSim;
use schedule::{Episode, Forced, HostPlan, What};

pub use kind::{Failure, Scare};
pub use request::{Request, Requests};

/// What kind of fleet, and for how long. Rates are per host and day.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetOptions {
    /// Another seed, another fleet.
    pub seed: u64,
    /// Number of hosts, named `sim-000` and on.
    pub hosts: usize,
    /// GPUs in each host.
    pub gpus_per_host: usize,
    /// Time of the first sample, milliseconds UTC.
    pub start_ms: i64,
    /// How much time to simulate.
    pub days: f64,
    /// Seconds from sample to sample.
    pub step_s: u32,
    /// Failures. Real fleets see 0.002 to 0.02; a fleet of that kind would need months to show anything.
    pub failure_rate: f64,
    /// Near misses.
    pub near_miss_rate: f64,
    /// Stretches of 2 to 40 minutes in which the agent sends nothing.
    pub gap_rate: f64,
    /// Reboots on purpose.
    pub planned_reboot_rate: f64,
    /// Warm spells of the whole machine hall, a day.
    pub warm_spell_rate: f64,
    /// Share of hosts that fail `lemon_factor` times as often as the mean.
    pub lemon_share: f64,
    /// See `lemon_share`.
    pub lemon_factor: f64,
    /// Share of hosts that run warm and are well.
    pub hot_host_share: f64,
    /// Share of GPUs whose links always show some errors.
    pub noisy_link_share: f64,
    /// Share of GPUs that fall off the bus without a sign.
    pub silent_off_bus_share: f64,
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            hosts: 24,
            gpus_per_host: 2,
            // 2026-01-05T00:00:00Z, a Monday.
            start_ms: 1_767_571_200_000,
            days: 10.0,
            step_s: 120,
            failure_rate: 0.30,
            near_miss_rate: 0.45,
            gap_rate: 0.25,
            planned_reboot_rate: 0.06,
            warm_spell_rate: 0.17,
            lemon_share: 0.15,
            lemon_factor: 3.5,
            hot_host_share: 0.12,
            noisy_link_share: 0.10,
            silent_off_bus_share: 0.45,
        }
    }
}

impl FleetOptions {
    /// Number of samples of a series that is never interrupted.
    pub(crate) fn steps(&self) -> i64 {
        (self.days * 86_400.0 / f64::from(self.step_s)) as i64
    }

    fn check(&self) -> Result<(), OptionsError> {
        let wrong = |option, text: &'static str| Err(OptionsError { option, text });
        if self.hosts == 0 || self.hosts > 1_000_000 {
            return wrong("hosts", "must be from 1 to 1,000,000");
        }
        if self.gpus_per_host > 64 {
            return wrong("gpus_per_host", "must be at most 64");
        }
        if !(1..=3600).contains(&self.step_s) {
            return wrong("step_s", "must be from 1 to 3600 seconds");
        }
        if !(self.days > 0.0 && self.days <= 1000.0) || self.steps() < 1 {
            return wrong("days", "must be at least one step and at most 1000 days");
        }
        // 100 days before 1970 counters would have started before time itself.
        if self.start_ms < 100 * 86_400_000 || self.start_ms > 7_258_118_400_000 {
            return wrong("start_ms", "must be milliseconds UTC of the years 1971 to 2199");
        }
        let rates = [
            ("failure_rate", self.failure_rate),
            ("near_miss_rate", self.near_miss_rate),
            ("gap_rate", self.gap_rate),
            ("planned_reboot_rate", self.planned_reboot_rate),
            ("warm_spell_rate", self.warm_spell_rate),
            ("lemon_factor", self.lemon_factor),
        ];
        for (option, rate) in rates {
            if !(0.0..=20.0).contains(&rate) {
                return wrong(option, "must be from 0 to 20");
            }
        }
        let shares = [
            ("lemon_share", self.lemon_share),
            ("hot_host_share", self.hot_host_share),
            ("noisy_link_share", self.noisy_link_share),
            ("silent_off_bus_share", self.silent_off_bus_share),
        ];
        for (option, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                return wrong(option, "must be from 0 to 1");
            }
        }
        if self.lemon_share * self.lemon_factor > 1.0 && self.lemon_share < 1.0 {
            return wrong(
                "lemon_factor",
                "times lemon_share must be at most 1, or the other hosts would have to heal",
            );
        }
        Ok(())
    }
}

/// An option outside of what can be simulated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option} of the simulated fleet {text}")]
pub struct OptionsError {
    /// Which one.
    pub option: &'static str,
    text: &'static str,
}

/// A failure that happens in the fleet: the truth against which predictions are judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimIncident {
    /// Name of the host.
    pub host: String,
    /// The GPU, by its hardware identity; `None` when the whole host fails.
    pub device: Option<String>,
    /// The onset, milliseconds UTC.
    pub start_ms: i64,
    /// When all was well again; may lie beyond the fleet's time.
    pub end_ms: i64,
    /// What happened.
    pub kind: Failure,
    /// True when there are signs before the onset. For judging predictions, never for making them.
    pub foreseeable: bool,
    /// When the signs begin, which may be before the fleet's time; `start_ms` when there are none.
    pub precursor_start_ms: i64,
}

/// A change that looks like a failure to come and passes. For judging predictions, never for making them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearMiss {
    /// Name of the host.
    pub host: String,
    /// The GPU; `None` when it is the host.
    pub device: Option<String>,
    /// When it begins, milliseconds UTC.
    pub start_ms: i64,
    /// When it is over.
    pub end_ms: i64,
    /// What it is.
    pub kind: Scare,
}

/// A fleet with its whole fate decided; samples are made when they are asked for.
#[derive(Debug, Clone)]
pub struct Fleet {
    options: FleetOptions,
    plans: Vec<Arc<HostPlan>>,
    warmth: Arc<[f64]>,
    forced: Vec<(usize, Forced)>,
    incidents: Vec<SimIncident>,
    near_misses: Vec<NearMiss>,
}

impl Fleet {
    /// Draws a fleet.
    ///
    /// # Errors
    /// [`OptionsError`] for an option out of its range.
    pub fn new(options: FleetOptions) -> Result<Self, OptionsError> {
        options.check()?;
        let plans = (0..options.hosts)
            .map(|number| Arc::new(HostPlan::draw(&options, number, &[])))
            .collect();
        let warmth = host::warm_spells(&options);
        let mut fleet = Self {
            options,
            plans,
            warmth,
            forced: Vec::new(),
            incidents: Vec::new(),
            near_misses: Vec::new(),
        };
        fleet.list();
        Ok(fleet)
    }

    /// The same fleet with one more failure, whose signs begin `lead_ms` before its onset at `start_ms` (rounded to steps).
    /// It is drawn like any other and takes the place of those that it would overlap.
    ///
    /// # Errors
    /// [`OptionsError`] when there is no such host, the onset lies outside the fleet's time, or the kind needs a GPU and there
    /// is none, or the kind has no signs.
    pub fn with_incident(
        mut self,
        kind: Failure,
        host: usize,
        start_ms: i64,
        lead_ms: i64,
    ) -> Result<Self, OptionsError> {
        let wrong = |option, text| Err(OptionsError { option, text });
        if host >= self.options.hosts {
            return wrong("with_incident.host", "must be the number of a host");
        }
        if !self.span().contains(&start_ms) {
            return wrong("with_incident.start_ms", "must lie within the fleet's time");
        }
        if kind.lead_hours().is_none() || lead_ms <= 0 {
            return wrong("with_incident.kind", "must be one with signs, and a lead above zero");
        }
        if kind.is_of_gpu() && self.options.gpus_per_host == 0 {
            return wrong("with_incident.kind", "is of a GPU, and the fleet has none");
        }
        let step_ms = self.step_ms();
        let onset = (start_ms - self.options.start_ms) / step_ms;
        let sign = onset - (lead_ms / step_ms).max(1);
        self.forced.push((host, Forced { kind, onset, sign }));
        let wishes: Vec<Forced> = self
            .forced
            .iter()
            .filter(|(of, _)| *of == host)
            .map(|(_, wish)| *wish)
            .collect();
        self.plans[host] = Arc::new(HostPlan::draw(&self.options, host, &wishes));
        self.list();
        Ok(self)
    }

    /// The options that the fleet was drawn with.
    #[must_use]
    pub fn options(&self) -> &FleetOptions {
        &self.options
    }

    /// Times of the first and the last sample, milliseconds UTC.
    #[must_use]
    pub fn span(&self) -> RangeInclusive<i64> {
        self.options.start_ms..=self.options.start_ms + (self.options.steps() - 1) * self.step_ms()
    }

    /// Names of the hosts, in order of their numbers.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.plans.iter().map(|plan| plan.name.as_str())
    }

    /// Every failure, in order of its start.
    #[must_use]
    pub fn incidents(&self) -> &[SimIncident] {
        &self.incidents
    }

    /// Every near miss, in order of its start.
    #[must_use]
    pub fn near_misses(&self) -> &[NearMiss] {
        &self.near_misses
    }

    /// How many points the fleet sends at most: silences, absent GPUs and XIDs, of which nobody knows before, not counted.
    #[must_use]
    pub fn points_estimate(&self) -> u64 {
        let per_host = catalogue::HOST_COLUMNS.len() + self.options.gpus_per_host * catalogue::GPU_COLUMNS.len();
        self.options.steps() as u64 * (self.options.hosts * per_host) as u64
    }

    /// The samples of `range` (both ends inclusive), in requests of about `points_max` points. Each request covers a slice of
    /// time of all hosts; where one step of all hosts is too much, it covers some of them.
    #[must_use]
    pub fn requests(&self, range: RangeInclusive<i64>, points_max: usize) -> Requests {
        let hosts = self
            .plans
            .iter()
            .map(|plan| HostSim::new(&self.options, Arc::clone(plan), Arc::clone(&self.warmth)))
            .collect();
        Requests::new(
            hosts,
            &range,
            self.options.start_ms,
            self.step_ms(),
            self.options.steps(),
            points_max,
        )
    }

    fn step_ms(&self) -> i64 {
        i64::from(self.options.step_s) * 1000
    }

    /// Lists what the plans hold.
    fn list(&mut self) {
        let at = |step: i64| self.options.start_ms + step * self.step_ms();
        let mut incidents = Vec::new();
        let mut near_misses = Vec::new();
        for plan in &self.plans {
            let device = |episode: &Episode, is_of_gpu: bool| is_of_gpu.then(|| plan.gpu_ids[episode.gpu].clone());
            for episode in &plan.episodes {
                match episode.what {
                    What::Fails { kind, foreseeable } => incidents.push(SimIncident {
                        host: plan.name.clone(),
                        device: device(episode, kind.is_of_gpu()),
                        start_ms: at(episode.onset),
                        end_ms: at(episode.healed),
                        kind,
                        foreseeable,
                        precursor_start_ms: at(episode.sign),
                    }),
                    What::Scares(kind) => near_misses.push(NearMiss {
                        host: plan.name.clone(),
                        device: device(episode, kind.is_of_gpu()),
                        start_ms: at(episode.sign),
                        end_ms: at(episode.onset),
                        kind,
                    }),
                }
            }
        }
        incidents.sort_by(|a: &SimIncident, b| (a.start_ms, &a.host).cmp(&(b.start_ms, &b.host)));
        near_misses.sort_by(|a: &NearMiss, b| (a.start_ms, &a.host).cmp(&(b.start_ms, &b.host)));
        self.incidents = incidents;
        self.near_misses = near_misses;
    }
}
