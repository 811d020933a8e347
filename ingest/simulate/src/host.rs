//! One host, step by step: workload and disturbances in, readings out.

use std::sync::Arc;

use crate::FleetOptions;
use crate::effect::Effects;
use crate::random::{Purpose, Stream, Wander};
use crate::schedule::{HostPlan, steps_per_hour};
use crate::workload::Workload;

pub(crate) const CORES: f64 = 64.0;
pub(crate) const MEMORY_BYTES: f64 = 512.0 * 1024.0 * 1024.0 * 1024.0;
/// What the workload's cgroup may use; the kernel's and the system's share is beyond it.
pub(crate) const CGROUP_LIMIT_BYTES: f64 = 0.92 * MEMORY_BYTES;
const SYSTEM_MEMORY: f64 = 0.06;

// An accelerator of the 700 W class.
const TDP_W: f64 = 700.0;
const IDLE_W: f64 = 75.0;
const BOOST_MHZ: f64 = 1980.0;
const DEGREES_PER_W: f64 = 0.052;
const THROTTLE_C: f64 = 87.0;
const SHUTDOWN_C: f64 = 93.0;
const AMBIENT_C: f64 = 23.0;

/// What an agent would read on the host at one instant, unrounded. Shares are within 0 and 1; `_s` are seconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostReading {
    pub(crate) at_ms: i64,
    /// When the host's counters were zero.
    pub(crate) boot_ms: i64,
    pub(crate) cpu_busy: f64,
    pub(crate) cpu_user_s: f64,
    pub(crate) cpu_system_s: f64,
    pub(crate) cpu_idle_s: f64,
    pub(crate) load1: f64,
    pub(crate) memory_used: f64,
    pub(crate) swap_used: f64,
    pub(crate) cgroup_bytes: f64,
    pub(crate) oom_kills: f64,
    pub(crate) root_fill: f64,
    pub(crate) data_fill: f64,
    pub(crate) disk_read_bytes: f64,
    pub(crate) disk_write_bytes: f64,
    pub(crate) disk_busy_s: f64,
    pub(crate) net_in_bytes: f64,
    pub(crate) net_out_bytes: f64,
    pub(crate) cpu_stall_s: f64,
    pub(crate) memory_stall_s: f64,
    pub(crate) io_stall_s: f64,
    pub(crate) uptime_s: f64,
    pub(crate) probe_s: f64,
    pub(crate) probe_ok: f64,
    pub(crate) scrape_s: f64,
    pub(crate) p50_s: f64,
    pub(crate) p99_s: f64,
    pub(crate) error_ratio: f64,
    pub(crate) fan_rpm: f64,
    pub(crate) inlet_c: f64,
    pub(crate) gpus: Vec<GpuReading>,
}

/// What an agent would read about one GPU.
#[derive(Debug, Clone, Default)]
pub(crate) struct GpuReading {
    /// False while the driver cannot see it; its errors are still in the kernel's log.
    pub(crate) present: bool,
    /// When the GPU's volatile counters were zero.
    pub(crate) reset_ms: i64,
    pub(crate) busy: f64,
    pub(crate) memory: f64,
    pub(crate) celsius: f64,
    pub(crate) memory_celsius: f64,
    pub(crate) watts: f64,
    pub(crate) clock_mhz: f64,
    pub(crate) throttle: f64,
    pub(crate) corrected: f64,
    pub(crate) uncorrected: f64,
    pub(crate) replays: f64,
    pub(crate) crc: f64,
    pub(crate) remapped: f64,
    /// Code and how often since boot.
    pub(crate) xids: Vec<(u16, u32)>,
}

/// A host in the middle of its simulated life.
#[derive(Debug, Clone)]
pub(crate) struct HostSim {
    pub(crate) plan: Arc<HostPlan>,
    warmth: Arc<[f64]>,
    start_ms: i64,
    step_ms: i64,
    next: i64,
    episode: usize,
    silence: usize,
    xid: usize,
    remap: usize,
    workload: Workload,
    noise: Stream,
    inlet: Wander,
    cpu: Wander,
    load: Wander,
    memory: Wander,
    disk: Wander,
    latency: Wander,
    away: Vec<bool>,
    state: HostReading,
}

impl HostSim {
    pub(crate) fn new(options: &FleetOptions, plan: Arc<HostPlan>, warmth: Arc<[f64]>) -> Self {
        let step_s = f64::from(options.step_s);
        let workload = Workload::new(options, plan.number, &plan.traits);
        let uptime_s = plan.traits.uptime_s.round();
        let gpu = |_| GpuReading {
            celsius: 45.0,
            reset_ms: options.start_ms - uptime_s as i64 * 1000,
            ..GpuReading::default()
        };
        // Counters begin at what such a host gathers in its uptime, roughly.
        let state = HostReading {
            boot_ms: options.start_ms - uptime_s as i64 * 1000,
            cpu_user_s: 0.21 * uptime_s * CORES,
            cpu_system_s: 0.04 * uptime_s * CORES,
            cpu_idle_s: 0.75 * uptime_s * CORES,
            disk_read_bytes: 9e6 * uptime_s,
            disk_write_bytes: 14e6 * uptime_s,
            disk_busy_s: 0.06 * uptime_s,
            net_in_bytes: 55e6 * uptime_s,
            net_out_bytes: 42e6 * uptime_s,
            cpu_stall_s: 0.002 * uptime_s,
            io_stall_s: 0.01 * uptime_s,
            gpus: (0..options.gpus_per_host).map(gpu).collect(),
            ..HostReading::default()
        };
        Self {
            noise: Stream::new(options.seed, plan.number as u64, Purpose::Noise),
            away: vec![false; options.gpus_per_host],
            plan,
            warmth,
            start_ms: options.start_ms,
            step_ms: i64::from(options.step_s) * 1000,
            next: 0,
            episode: 0,
            silence: 0,
            xid: 0,
            remap: 0,
            workload,
            inlet: Wander::new(6000.0, 0.2, step_s),
            cpu: Wander::new(570.0, 0.034, step_s),
            load: Wander::new(1170.0, 2.4, step_s),
            memory: Wander::new(12_000.0, 0.015, step_s),
            disk: Wander::new(170.0, 0.028, step_s),
            latency: Wander::new(270.0, 0.05, step_s),
            state,
        }
    }

    /// Lives through the next step; `None` when nothing is heard from the host in it.
    pub(crate) fn step(&mut self) -> Option<&HostReading> {
        let step = self.next;
        self.next += 1;
        let plan = Arc::clone(&self.plan);
        self.state.at_ms = self.start_ms + step * self.step_ms;
        while plan
            .silences
            .get(self.silence)
            .is_some_and(|silence| silence.to <= step)
        {
            if plan.silences[self.silence].boots {
                self.boot(plan.silences[self.silence].to);
            }
            self.silence += 1;
        }
        let silence = plan.silences.get(self.silence).filter(|silence| silence.from <= step);
        let off = silence.is_some_and(|silence| silence.boots);
        while plan
            .episodes
            .get(self.episode)
            .is_some_and(|episode| episode.healed.max(episode.onset + 1) <= step)
        {
            self.episode += 1;
        }
        let episode = plan.episodes.get(self.episode);
        let effects = episode.map_or(Effects::NONE, |episode| Effects::of(episode, step));

        self.workload.step(step);
        let (busy, memory) = self.live_gpus(step, &effects, off);
        self.live_host(step, &effects, busy, memory, off);
        if let Some(episode) = episode.filter(|episode| episode.onset == step) {
            self.count_onset(episode.failure(), episode.gpu);
        }
        silence.is_none().then_some(&self.state)
    }

    /// A reboot sets every counter of the host and its GPUs to zero, but for what the GPU keeps in its memory of rows.
    fn boot(&mut self, step: i64) {
        let boot_ms = self.start_ms + step * self.step_ms;
        let gpus = std::mem::take(&mut self.state.gpus);
        self.state = HostReading {
            at_ms: self.state.at_ms,
            boot_ms,
            gpus,
            ..HostReading::default()
        };
        for gpu in &mut self.state.gpus {
            gpu.reset(boot_ms);
            gpu.xids.clear();
        }
    }

    /// One step of all GPUs. Returns the mean share of time busy and of memory taken.
    fn live_gpus(&mut self, step: i64, effects: &Effects, off: bool) -> (f64, f64) {
        let plan = Arc::clone(&self.plan);
        let episode = plan.episodes.get(self.episode);
        let minutes = self.step_ms as f64 / 60_000.0;
        let day = step as f64 * self.step_ms as f64 / 86_400_000.0;
        self.state.inlet_c = AMBIENT_C
            + 1.5 * (std::f64::consts::TAU * (day - 0.4)).sin()
            + self.warmth[step as usize]
            + if plan.traits.hot { 1.8 } else { 0.0 }
            + self.inlet.step(&mut self.noise);
        // What is counted on a GPU depends on the burst that the bus is in, not on the GPU alone.
        let in_burst = self.noise.chance(0.25);
        let cooling = effects.fan.clamp(0.2, 1.0).powf(-0.25);
        let inertia = 1.0 - (-self.step_ms as f64 / 208_000.0).exp();
        let (mut busy_sum, mut memory_sum) = (0.0, 0.0);
        let count = self.away.len();
        for slot in 0..count {
            let own = episode.is_some_and(|episode| episode.gpu == slot);
            let pick = |value: f64| if own { value } else { 0.0 };
            let away = episode.is_some_and(|episode| episode.gpu_is_away(slot, step));
            if self.away[slot] && !away {
                self.state.gpus[slot].reset(self.state.at_ms);
            }
            self.away[slot] = away;
            let works = !effects.idle && !off;
            let busy = if works { self.workload.gpu_busy[slot] } else { 0.0 };
            let memory = if works { self.workload.gpu_memory[slot] } else { 0.0 };
            busy_sum += busy;
            memory_sum += memory;

            let load = if busy > 0.02 { 0.12 + 0.88 * busy } else { 0.0 };
            let wanted = (IDLE_W + (TDP_W - IDLE_W) * load) * plan.traits.draw[slot];
            let heat = effects.heat_all_c + pick(effects.heat_c);
            let settled = self.state.inlet_c
                + 4.0
                + plan.traits.offset_c[slot]
                + if plan.traits.hot { 7.0 } else { 0.0 }
                + DEGREES_PER_W * wanted * cooling
                + heat * (0.25 + 0.75 * wanted / TDP_W);
            let gpu = &mut self.state.gpus[slot];
            gpu.present = !away;
            gpu.celsius += inertia * (settled - gpu.celsius);
            let over = ((gpu.celsius - THROTTLE_C) / 4.0).clamp(0.0, 1.0);
            gpu.celsius = gpu.celsius.min(SHUTDOWN_C + 3.0 * self.noise.unit());
            gpu.memory_celsius = gpu.celsius + 6.0 + 5.0 * busy + 0.5 * self.noise.normal();
            gpu.watts = (wanted * (1.0 - 0.35 * over) + 4.0 * self.noise.normal()).max(0.6 * IDLE_W);
            gpu.clock_mhz =
                BOOST_MHZ - 60.0 * busy - 0.6 * (BOOST_MHZ - 900.0) * over - if busy < 0.02 { 900.0 } else { 0.0 };
            gpu.throttle = over;
            gpu.busy = busy;
            gpu.memory = memory;
            if off || away {
                continue;
            }
            let traits = &plan.traits;
            let burst = if in_burst { pick(effects.replays) } else { 0.0 };
            gpu.corrected +=
                self.noise
                    .poisson((traits.corrected[slot] + pick(effects.corrected)) * minutes) as f64;
            gpu.replays += self.noise.poisson((traits.replays[slot] + burst) * minutes) as f64;
            gpu.crc += self.noise.poisson((traits.crc[slot] + pick(effects.crc)) * minutes) as f64;
        }
        while let Some(&(_, slot)) = plan.remaps.get(self.remap).filter(|(at, _)| *at <= step) {
            self.state.gpus[slot].remapped += 1.0;
            self.remap += 1;
        }
        while let Some(&(_, slot, code)) = plan.xids.get(self.xid).filter(|(at, ..)| *at <= step) {
            self.state.gpus[slot].count_xid(code);
            self.xid += 1;
        }
        let scrape = if in_burst { effects.scrape_s } else { 0.0 };
        let waits = if self.away.contains(&true) { 0.06 } else { 0.0 };
        self.state.scrape_s = 0.009 + 0.002 * self.noise.normal().abs() + scrape + waits;
        let count = count.max(1) as f64;
        (busy_sum / count, memory_sum / count)
    }

    fn live_host(&mut self, step: i64, effects: &Effects, busy: f64, memory: f64, off: bool) {
        let plan = Arc::clone(&self.plan);
        let step_s = self.step_ms as f64 / 1000.0;
        let noise = &mut self.noise;
        let state = &mut self.state;

        let neighbour = if effects.cpu_flickers && !noise.chance(0.7) {
            0.0
        } else {
            1.0
        };
        let spike = if noise.chance(0.01) { 0.4 * noise.unit() } else { 0.0 };
        let cpu = 0.06 + 0.3 * busy + effects.cpu * neighbour + self.cpu.step(noise) + spike;
        state.cpu_busy = cpu.clamp(0.005, 1.0);
        state.load1 = (state.cpu_busy * CORES * 0.9 + self.load.step(noise)).max(0.0);

        let base = 0.22 + 0.26 * memory + self.memory.step(noise);
        state.memory_used = (base + effects.leak * (0.985 - base)).clamp(0.01, 0.995);
        state.swap_used = ((state.memory_used - 0.92) * 6.0).clamp(0.0, 1.0);
        state.cgroup_bytes = ((state.memory_used - SYSTEM_MEMORY).max(0.01) * MEMORY_BYTES).min(CGROUP_LIMIT_BYTES);

        let day = step as f64 * step_s / 86_400.0;
        let logs = plan.traits.log_growth * (day % plan.traits.log_days);
        let filled = |level: f64, mine: bool| {
            let extra = if mine { effects.disk } else { 0.0 };
            (level + extra * (0.9995 - level)).clamp(0.0, 1.0)
        };
        state.root_fill = filled(plan.traits.root_fill + logs, !effects.on_data);
        state.data_fill = filled(plan.traits.data_fill + 0.02 * memory, effects.on_data);

        let fullest = state.root_fill.max(state.data_fill);
        let reads = if noise.chance(0.3) { 0.2 * busy } else { 0.0 };
        let struggles = if fullest > 0.97 { 0.3 } else { 0.0 };
        let disk = 0.04 + reads + self.disk.step(noise).abs() + struggles + 0.5 * state.swap_used;
        let disk_busy = disk.clamp(0.0, 1.0);

        let crowding = (state.cpu_busy - 0.75).max(0.0) / 0.4;
        let slowdown = effects.slowdown * if effects.cpu_flickers { neighbour } else { 1.0 };
        let drift = self.latency.step(noise).exp();
        state.p50_s = 0.018
            * (1.0 + 0.4 * busy.max(0.02))
            * (1.0 + 0.35 * slowdown)
            * drift
            * (1.0 + crowding + state.swap_used / 0.6);
        state.p99_s = state.p50_s * (2.6 + 0.5 * noise.unit()) * (1.0 + 0.45 * slowdown);
        state.error_ratio = (0.0005 * noise.unit() + effects.errors * noise.uniform(0.5, 1.5)).clamp(0.0, 1.0);
        // One request a step stands for the prober; a closed port answers at once, and says no.
        let luck = noise.unit();
        let spread = 0.25 * noise.normal();
        state.probe_ok = if effects.service_down || luck < state.error_ratio {
            0.0
        } else {
            1.0
        };
        state.probe_s = if effects.service_down {
            0.0004
        } else {
            state.p50_s * spread.exp()
        };

        let hottest = state.gpus.iter().map(|gpu| gpu.celsius).fold(45.0, f64::max);
        let wanted_rpm = 5200.0 + 75.0 * (hottest - 45.0) + 40.0 * (state.inlet_c - 22.0);
        state.fan_rpm = (wanted_rpm * effects.fan.clamp(0.1, 1.0) + 60.0 * noise.normal()).max(0.0);
        state.scrape_s += 0.015 * (state.cpu_busy - 0.7).max(0.0);
        state.uptime_s = (state.at_ms - state.boot_ms) as f64 / 1000.0;

        let rates = [noise.uniform(0.7, 1.3), noise.uniform(0.7, 1.3)];
        if off {
            return;
        }
        let cpu_s = step_s * CORES;
        state.cpu_user_s += 0.84 * state.cpu_busy * cpu_s;
        state.cpu_system_s += 0.16 * state.cpu_busy * cpu_s;
        state.cpu_idle_s += (1.0 - state.cpu_busy) * cpu_s;
        state.disk_busy_s += disk_busy * step_s;
        state.disk_read_bytes += 450e6 * disk_busy * 0.4 * step_s;
        state.disk_write_bytes += 450e6 * disk_busy * 0.6 * step_s;
        state.net_in_bytes += (112e6 * busy * rates[0] + 2.5e6) * step_s;
        state.net_out_bytes += (87e6 * busy * rates[1] + 1.9e6) * step_s;
        // Stalls set in before a resource is used up: the kernel's PSI shows a share of time in which some task waits.
        state.cpu_stall_s += (0.002 + 0.8 * (state.cpu_busy - 0.6).max(0.0)) * step_s;
        state.memory_stall_s += (1.5 * (state.memory_used - 0.88).max(0.0)).min(0.6) * step_s;
        state.io_stall_s += (0.25 * disk_busy).min(1.0) * step_s;
    }

    fn count_onset(&mut self, kind: Option<crate::Failure>, gpu: usize) {
        match kind {
            Some(crate::Failure::HostOom) => self.state.oom_kills += 1.0,
            Some(crate::Failure::GpuEcc) => self.state.gpus[gpu].uncorrected += 1.0,
            _ => {}
        }
    }
}

impl GpuReading {
    fn reset(&mut self, reset_ms: i64) {
        self.reset_ms = reset_ms;
        self.corrected = 0.0;
        self.uncorrected = 0.0;
        self.replays = 0.0;
        self.crc = 0.0;
    }

    fn count_xid(&mut self, code: u16) {
        match self.xids.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => self.xids.push((code, 1)),
        }
    }
}

/// Degrees that the machine hall is warmer than usual, per step: spells of one to four hours that harm nobody.
pub(crate) fn warm_spells(options: &FleetOptions) -> Arc<[f64]> {
    let mut stream = Stream::new(options.seed, u64::MAX, Purpose::Fleet);
    let count = options.steps() as usize;
    let mut warmth = vec![0.0; count];
    for _ in 0..stream.poisson(options.warm_spell_rate * count as f64 / steps_per_hour(options) / 24.0) {
        let from = stream.below(count);
        let length = ((stream.uniform(1.0, 4.0) * steps_per_hour(options)) as usize).max(1);
        let top = stream.uniform(4.0, 7.0);
        for (offset, degrees) in warmth[from..].iter_mut().take(length).enumerate() {
            *degrees += top * (std::f64::consts::PI * offset as f64 / length as f64).sin();
        }
    }
    warmth.into()
}
