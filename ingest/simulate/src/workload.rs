//! Jobs that come and go on a host's GPUs.

use crate::FleetOptions;
use crate::random::{Purpose, Stream, Wander};
use crate::schedule::{HostTraits, steps_per_hour};

/// The work of one host at one step: per GPU the share of time busy and the share of memory taken.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    stream: Stream,
    demand: Wander,
    serving: bool,
    steps_per_hour: f64,
    /// The step at which the job ends, or the pause between two.
    until: i64,
    started: i64,
    busy: f64,
    memory: f64,
    /// Every so many steps the job writes a checkpoint and the GPUs wait.
    checkpoint_every: i64,
    checkpoint_busy: f64,
    chosen: Vec<bool>,
    /// The answer for the step last asked.
    pub(crate) gpu_busy: Vec<f64>,
    pub(crate) gpu_memory: Vec<f64>,
}

impl Workload {
    pub(crate) fn new(options: &FleetOptions, number: usize, traits: &HostTraits) -> Self {
        let gpus = options.gpus_per_host;
        Self {
            stream: Stream::new(options.seed, number as u64, Purpose::Workload),
            demand: Wander::new(3600.0, 0.06, f64::from(options.step_s)),
            serving: traits.serving,
            steps_per_hour: steps_per_hour(options),
            until: 0,
            started: 0,
            busy: 0.0,
            memory: 0.0,
            checkpoint_every: 1,
            checkpoint_busy: 1.0,
            chosen: vec![false; gpus],
            gpu_busy: vec![0.0; gpus],
            gpu_memory: vec![0.0; gpus],
        }
    }

    /// Moves on to `step`, which is the one after the last.
    pub(crate) fn step(&mut self, step: i64) {
        if step >= self.until {
            self.next_job(step);
        }
        let in_checkpoint = (step - self.started) % self.checkpoint_every < (self.steps_per_hour / 20.0).ceil() as i64;
        let busy = if in_checkpoint {
            self.busy * self.checkpoint_busy
        } else {
            self.busy
        };
        let demand = if self.serving {
            let day = step as f64 / self.steps_per_hour / 24.0;
            let wave = 0.5 + 0.35 * (std::f64::consts::TAU * (day - 0.3)).sin() + self.demand.step(&mut self.stream);
            Some(wave.clamp(0.05, 1.0))
        } else {
            None
        };
        for gpu in 0..self.chosen.len() {
            let noise = 0.03 * self.stream.normal();
            let works = self.chosen[gpu] && busy > 0.0;
            self.gpu_busy[gpu] = match (works, demand) {
                (true, Some(share)) => (busy * share + noise).clamp(0.0, 1.0),
                (true, None) => (busy + noise).clamp(0.0, 1.0),
                // A serving host keeps its model loaded and answers a few requests.
                (false, Some(_)) => (0.03 + noise).clamp(0.0, 1.0),
                (false, None) => 0.0,
            };
            self.gpu_memory[gpu] = if works { self.memory } else { 0.0 };
        }
    }

    fn next_job(&mut self, step: i64) {
        self.started = step;
        let hours = if self.stream.chance(0.16) {
            self.chosen.fill(false);
            self.busy = 0.0;
            self.memory = 0.0;
            self.stream.log_normal(1.0, 0.7).clamp(0.1, 8.0)
        } else {
            let gpus = self.chosen.len();
            let wanted = if self.stream.chance(0.7) {
                gpus
            } else {
                1 + self.stream.below(gpus)
            };
            self.chosen.fill(false);
            let first = self.stream.below(gpus);
            for offset in 0..wanted.min(gpus) {
                self.chosen[(first + offset) % gpus] = true;
            }
            self.busy = self.stream.uniform(0.55, 0.99);
            self.memory = self.stream.uniform(0.35, 0.96);
            self.stream.log_normal(7.0, 0.9).clamp(0.5, 60.0)
        };
        self.until = step + ((hours * self.steps_per_hour) as i64).max(1);
        self.checkpoint_every = ((self.stream.uniform(0.4, 1.2) * self.steps_per_hour) as i64).max(2);
        self.checkpoint_busy = self.stream.uniform(0.1, 0.5);
    }
}
