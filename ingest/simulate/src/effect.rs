//! What an episode does to its host, as a function of how far it has come.

use crate::kind::{Failure, Scare};
use crate::schedule::{Episode, What};

/// Disturbances at one step. Rates are per minute.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Effects {
    /// Degrees added to the one GPU, and to all.
    pub(crate) heat_c: f64,
    pub(crate) heat_all_c: f64,
    /// Share of its speed that the fan keeps.
    pub(crate) fan: f64,
    pub(crate) corrected: f64,
    /// Replays come in bursts: this is the rate inside one.
    pub(crate) replays: f64,
    pub(crate) crc: f64,
    /// Seconds that a burst adds to reading the GPU.
    pub(crate) scrape_s: f64,
    /// Share of the free memory that is lost, and of the free disk.
    pub(crate) leak: f64,
    pub(crate) disk: f64,
    /// True when `disk` is about the data file system rather than the root.
    pub(crate) on_data: bool,
    /// Times by which requests take longer, beyond one.
    pub(crate) slowdown: f64,
    pub(crate) errors: f64,
    pub(crate) cpu: f64,
    /// The neighbour takes its share in most steps, not in all.
    pub(crate) cpu_flickers: bool,
    /// Nothing answers on the service's port.
    pub(crate) service_down: bool,
    /// No work is done.
    pub(crate) idle: bool,
}

impl Effects {
    pub(crate) const NONE: Self = Self {
        heat_c: 0.0,
        heat_all_c: 0.0,
        fan: 1.0,
        corrected: 0.0,
        replays: 0.0,
        crc: 0.0,
        scrape_s: 0.0,
        leak: 0.0,
        disk: 0.0,
        on_data: false,
        slowdown: 0.0,
        errors: 0.0,
        cpu: 0.0,
        cpu_flickers: false,
        service_down: false,
        idle: false,
    };

    pub(crate) fn of(episode: &Episode, step: i64) -> Self {
        let t = episode.progress(step);
        let z = &episode.traits;
        let mut effects = Self {
            on_data: z[4] < 0.5,
            ..Self::NONE
        };
        match episode.what {
            What::Fails { kind, .. } if episode.is_outage(step) => effects.outage(kind),
            What::Fails { kind, .. } if t > 0.0 => effects.before(kind, t, z),
            What::Scares(kind) if t > 0.0 => effects.scare(kind, t, z),
            _ => {}
        }
        effects
    }

    fn before(&mut self, kind: Failure, t: f64, z: &[f64; 6]) {
        let grown = course(z[0], t);
        match kind {
            Failure::GpuThermal => self.heat_c = grown * (18.0 + 14.0 * z[1]),
            Failure::FanFailure => {
                self.fan = 1.0 - grown * (0.45 + 0.35 * z[1]);
                self.heat_all_c = grown * (10.0 + 10.0 * z[2]);
            }
            Failure::GpuEcc => self.corrected = grown * (0.4 + 4.0 * z[1]),
            Failure::GpuOffBus => {
                self.replays = grown * (1.0 + 12.0 * z[1]);
                self.scrape_s = grown * 0.025 * z[2];
            }
            Failure::Nvlink => self.crc = grown * (0.5 + 6.0 * z[1]),
            Failure::HostOom => self.leak = course_of_filling(z[0], t),
            Failure::DiskFull => self.disk = course_of_filling(z[0], t),
            Failure::LatencyCrash => {
                self.slowdown = grown * (1.5 + 6.0 * z[1]);
                self.errors = grown * 0.03 * z[2];
                self.cpu = grown * 0.15 * z[3];
            }
            Failure::HostSudden | Failure::GpuSudden => {}
        }
    }

    fn outage(&mut self, kind: Failure) {
        self.idle = true;
        match kind {
            Failure::HostOom | Failure::LatencyCrash => {
                self.service_down = true;
                self.errors = 1.0;
            }
            // The file system stays full until someone makes room.
            Failure::DiskFull => {
                self.disk = 1.0;
                self.slowdown = 2.0;
                self.errors = 0.3;
            }
            _ => {}
        }
    }

    fn scare(&mut self, kind: Scare, t: f64, z: &[f64; 6]) {
        let swell = (std::f64::consts::PI * t).sin();
        match kind {
            Scare::LeakRestarted => self.leak = course_of_filling(z[0], t) * (0.55 + 0.35 * z[1]),
            Scare::DiskRotated => self.disk = course_of_filling(z[0], t) * (0.25 + 0.55 * z[1]),
            Scare::SbeBurst => self.corrected = (0.3 + 3.0 * z[1]) * (-3.0 * t).exp(),
            Scare::ReplayBurst => self.replays = swell * (1.0 + 7.0 * z[1]),
            Scare::NoisyNeighbour => {
                self.cpu = 0.25 + 0.35 * z[1];
                self.slowdown = 0.3 + 1.8 * z[2];
                self.cpu_flickers = true;
            }
            Scare::LatencyBump => {
                self.slowdown = swell * (0.8 + 3.2 * z[1]);
                self.errors = swell * 0.007 * z[2];
                self.cpu = swell * 0.15 * z[3];
            }
        }
    }
}

/// Steadily, late or early: from 0 to 1.
fn course(pick: f64, t: f64) -> f64 {
    match (pick * 3.0) as u32 {
        0 => t,
        1 => late(t),
        _ => (9.0 * t).ln_1p() / 10f64.ln(),
    }
}

/// Leaks and disks mostly fill steadily.
fn course_of_filling(pick: f64, t: f64) -> f64 {
    if pick < 0.65 { t } else { late(t) }
}

fn late(t: f64) -> f64 {
    (4.0 * t).exp_m1() / 4f64.exp_m1()
}
