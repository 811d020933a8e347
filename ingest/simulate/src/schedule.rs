//! What happens to one host, decided before the first sample: failures, scares, reboots, gaps, errors to report.

use crate::FleetOptions;
use crate::kind::{Failure, Scare};
use crate::random::{Purpose, Stream};

/// A failure or a scare with its place in time. Steps are counted from the fleet's start; signs may have begun before it.
#[derive(Debug, Clone)]
pub(crate) struct Episode {
    pub(crate) what: What,
    /// The GPU that it is about; of no meaning for an episode of the whole host.
    pub(crate) gpu: usize,
    /// Where the signs begin.
    pub(crate) sign: i64,
    /// Where the failure starts, or the scare ends.
    pub(crate) onset: i64,
    /// Where all is well again: after the outage of a failure, at the onset for a scare.
    pub(crate) healed: i64,
    /// How strongly and by which course, each in `[0, 1)`.
    pub(crate) traits: [f64; 6],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Fails { kind: Failure, foreseeable: bool },
    Scares(Scare),
}

/// Everything that is fixed about one host.
#[derive(Debug)]
pub(crate) struct HostPlan {
    pub(crate) number: usize,
    pub(crate) name: String,
    pub(crate) gpu_ids: Vec<String>,
    pub(crate) traits: HostTraits,
    pub(crate) episodes: Vec<Episode>,
    /// Steps in which nothing is heard from the host, in order, not overlapping.
    pub(crate) silences: Vec<Silence>,
    /// Errors that the driver reports: step, GPU, XID; in order of time.
    pub(crate) xids: Vec<(i64, usize, u16)>,
    /// Rows of GPU memory that are replaced: step, GPU; in order of time.
    pub(crate) remaps: Vec<(i64, usize)>,
}

#[derive(Debug, Clone)]
pub(crate) struct HostTraits {
    /// Runs warmer than its peers and is well.
    pub(crate) hot: bool,
    /// Answers requests all day instead of training.
    pub(crate) serving: bool,
    /// Per GPU: corrected errors, replays and CRC errors a minute when all is well.
    pub(crate) corrected: Vec<f64>,
    pub(crate) replays: Vec<f64>,
    pub(crate) crc: Vec<f64>,
    /// Per GPU: degrees above its peers, share of the nominal power that it draws.
    pub(crate) offset_c: Vec<f64>,
    pub(crate) draw: Vec<f64>,
    /// Seconds since boot when the fleet's time begins.
    pub(crate) uptime_s: f64,
    /// Fill levels of the root and the data file system.
    pub(crate) root_fill: f64,
    pub(crate) data_fill: f64,
    /// What logs add to the root file system in a day, and the days after which they are rotated.
    pub(crate) log_growth: f64,
    pub(crate) log_days: f64,
}

/// The host sends nothing in `[from, to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Silence {
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// The host was down, so its counters start again; otherwise only the agent was.
    pub(crate) boots: bool,
}

impl Episode {
    /// How far the signs have come at `step`: 0 before them, 1 at the onset, 0 after it.
    pub(crate) fn progress(&self, step: i64) -> f64 {
        if step < self.sign || step >= self.onset {
            return 0.0;
        }
        (step - self.sign + 1) as f64 / (self.onset - self.sign) as f64
    }

    /// True between the onset of a failure and its end.
    pub(crate) fn is_outage(&self, step: i64) -> bool {
        step >= self.onset && step < self.healed
    }

    pub(crate) fn failure(&self) -> Option<Failure> {
        match self.what {
            What::Fails { kind, .. } => Some(kind),
            What::Scares(_) => None,
        }
    }

    /// True when the machine itself is off at `step`, or off the network.
    fn host_is_off(&self, step: i64) -> bool {
        let Some(kind) = self.failure() else { return false };
        if !self.is_outage(step) {
            return false;
        }
        match kind {
            Failure::FanFailure | Failure::HostSudden => true,
            // Three in five GPU repairs end with a reboot of the node, in the last third of the outage.
            _ => kind.is_of_gpu() && self.traits[3] < 0.6 && step >= self.repair_from(),
        }
    }

    fn repair_from(&self) -> i64 {
        self.healed - ((self.healed - self.onset) / 3).max(1)
    }

    /// True when the GPU `gpu` cannot be read at `step`.
    pub(crate) fn gpu_is_away(&self, gpu: usize, step: i64) -> bool {
        let Some(kind) = self.failure() else { return false };
        if !kind.is_of_gpu() || gpu != self.gpu || !self.is_outage(step) {
            return false;
        }
        match kind {
            // The GPU still answers for a while after an uncorrectable error or a lost link, until it is reset.
            Failure::GpuEcc | Failure::Nvlink => step >= self.onset + (self.healed - self.onset).div_euclid(4).max(1),
            _ => true,
        }
    }

    /// The steps that the episode keeps free of others: with the hour after it, in which things settle.
    fn reserved(&self, steps_per_hour: f64) -> (i64, i64) {
        (self.sign, self.healed + steps_per_hour.ceil() as i64)
    }
}

/// A failure that the caller wants at a given time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forced {
    pub(crate) kind: Failure,
    pub(crate) onset: i64,
    pub(crate) sign: i64,
}

impl HostPlan {
    /// Draws the plan of host `number`. Depends on the seed, the number and the options of time and rate, on no other host.
    pub(crate) fn draw(options: &FleetOptions, number: usize, forced: &[Forced]) -> Self {
        let place = number as u64;
        let mut identity = Stream::new(options.seed, place, Purpose::Identity);
        let gpu_ids = (0..options.gpus_per_host).map(|_| gpu_id(&mut identity)).collect();
        let mut stream = Stream::new(options.seed, place, Purpose::Traits);
        let lemon = stream.chance(options.lemon_share);
        let traits = HostTraits::draw(&mut stream, options);

        let mut stream = Stream::new(options.seed, place, Purpose::Schedule);
        let mut episodes = draw_episodes(&mut stream, options, lemon);
        let background_xids = draw_background_xids(&mut stream, options);
        let planned_reboots = draw_moments(&mut stream, options, options.planned_reboot_rate);
        let gaps: Vec<Silence> = draw_moments(&mut stream, options, options.gap_rate)
            .into_iter()
            .map(|from| Silence {
                from,
                to: from + steps(options, stream.uniform(2.0, 40.0) / 60.0),
                boots: false,
            })
            .collect();

        for (n, wish) in forced.iter().enumerate() {
            let mut stream = Stream::new(options.seed, place << 16 | n as u64, Purpose::Forced);
            let wanted = failing(&mut stream, options, wish.kind, wish.onset, wish.sign, true);
            let (from, to) = wanted.reserved(steps_per_hour(options));
            episodes.retain(|other| {
                let (a, b) = other.reserved(steps_per_hour(options));
                b <= from || a >= to
            });
            episodes.push(wanted);
        }
        episodes.sort_by_key(|episode| episode.onset);

        let mut silences = gaps;
        silences.extend(host_outages(&episodes));
        let half_hour = steps(options, 0.5);
        for from in planned_reboots {
            let near_episode = episodes.iter().any(|episode| {
                let (a, b) = episode.reserved(steps_per_hour(options));
                from + half_hour > a && from - half_hour < b
            });
            if !near_episode {
                silences.push(Silence {
                    from,
                    to: from + steps(options, 0.2),
                    boots: true,
                });
            }
        }
        let mut xids = background_xids;
        xids.extend(episodes.iter().flat_map(reported_xids));
        xids.sort_unstable();
        let mut remaps: Vec<(i64, usize)> = episodes.iter().flat_map(remapped_rows).collect();
        remaps.sort_unstable();
        Self {
            number,
            name: format!("sim-{number:03}"),
            gpu_ids,
            traits,
            episodes,
            silences: merged(silences),
            xids,
            remaps,
        }
    }
}

impl HostTraits {
    fn draw(stream: &mut Stream, options: &FleetOptions) -> Self {
        let hot = stream.chance(options.hot_host_share);
        let serving = stream.chance(0.4);
        let mut drawn = Self {
            hot,
            serving,
            corrected: Vec::new(),
            replays: Vec::new(),
            crc: Vec::new(),
            offset_c: Vec::new(),
            draw: Vec::new(),
            uptime_s: stream.uniform(1.0, 90.0) * 86_400.0,
            root_fill: stream.uniform(0.28, 0.6),
            data_fill: stream.uniform(0.35, 0.7),
            log_growth: stream.uniform(0.006, 0.028),
            log_days: stream.uniform(2.5, 5.5),
        };
        for _ in 0..options.gpus_per_host {
            let noisy_link = stream.chance(options.noisy_link_share);
            let noise = if noisy_link { stream.unit() } else { 0.0 };
            drawn.corrected.push(if stream.chance(0.3) { 0.002 } else { 0.0 });
            drawn.replays.push(0.01 + 0.6 * noise);
            drawn.crc.push(0.004 + 0.15 * noise);
            drawn.offset_c.push(1.6 * stream.normal());
            drawn.draw.push(stream.uniform(0.94, 1.0));
        }
        drawn
    }
}

pub(crate) fn steps_per_hour(options: &FleetOptions) -> f64 {
    3600.0 / f64::from(options.step_s)
}

fn steps(options: &FleetOptions, hours: f64) -> i64 {
    ((hours * steps_per_hour(options)).round() as i64).max(1)
}

/// A version 4 UUID as `nvidia-smi -L` shows it.
fn gpu_id(stream: &mut Stream) -> String {
    let high = stream.bits() & !0xf000 | 0x4000;
    let low = stream.bits() & !(0b11 << 62) | 1 << 63;
    format!(
        "GPU-{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// Failures first, then scares in what is left: Poisson in number, uniform in time, never two at once on a host.
fn draw_episodes(stream: &mut Stream, options: &FleetOptions, lemon: bool) -> Vec<Episode> {
    const TRIES: usize = 60;
    let count = options.steps();
    let (first, last) = (steps(options, 6.0), count - steps(options, 1.0));
    let mut episodes: Vec<Episode> = Vec::new();
    if last <= first {
        return episodes;
    }
    // The fleet's mean stays what was asked for: the other hosts fail less often by what the lemons fail more.
    let others = (1.0 - options.lemon_share * options.lemon_factor) / (1.0 - options.lemon_share).max(1e-9);
    let factor = if lemon { options.lemon_factor } else { others.max(0.0) };
    // Rates are per day of the time in which episodes can fall.
    let days = (last - first) as f64 / steps_per_hour(options) / 24.0;
    let failures = stream.poisson(options.failure_rate * factor * count as f64 / steps_per_hour(options) / 24.0);
    let scares = stream.poisson(options.near_miss_rate * days);
    let kinds = (0..failures).map(|_| None).chain((0..scares).map(|_| Some(())));
    for scare in kinds {
        for _ in 0..TRIES {
            let onset = first + stream.below((last - first) as usize) as i64;
            let candidate = if scare.is_some() {
                let kind = drawn_scare(stream, options);
                let (low, high) = kind.hours();
                let sign = onset - steps(options, stream.log_uniform(low, high));
                let gpu = stream.below(options.gpus_per_host);
                Episode {
                    what: What::Scares(kind),
                    gpu,
                    sign,
                    onset,
                    healed: onset,
                    traits: [0.0; 6].map(|_| stream.unit()),
                }
            } else {
                let kind = drawn_failure(stream, options);
                let surprise = kind == Failure::GpuOffBus && stream.chance(options.silent_off_bus_share);
                let sign = match kind.lead_hours() {
                    Some((low, high)) if !surprise => onset - steps(options, stream.log_uniform(low, high)),
                    _ => onset,
                };
                failing(stream, options, kind, onset, sign, sign < onset)
            };
            let (from, to) = candidate.reserved(steps_per_hour(options));
            let free = episodes.iter().all(|other| {
                let (a, b) = other.reserved(steps_per_hour(options));
                b <= from || a >= to
            });
            if free {
                episodes.push(candidate);
                break;
            }
        }
    }
    episodes
}

/// A kind by its share; hosts without GPUs have no GPU failures.
fn drawn_failure(stream: &mut Stream, options: &FleetOptions) -> Failure {
    loop {
        let kind = stream.weighted(&Failure::SHARES);
        if options.gpus_per_host > 0 || !kind.is_of_gpu() {
            return kind;
        }
    }
}

fn drawn_scare(stream: &mut Stream, options: &FleetOptions) -> Scare {
    loop {
        let kind = stream.weighted(&Scare::SHARES);
        if options.gpus_per_host > 0 || !kind.is_of_gpu() {
            return kind;
        }
    }
}

fn failing(
    stream: &mut Stream,
    options: &FleetOptions,
    kind: Failure,
    onset: i64,
    sign: i64,
    foreseeable: bool,
) -> Episode {
    let outage = steps(options, stream.log_uniform(0.3, 5.0));
    Episode {
        what: What::Fails { kind, foreseeable },
        gpu: stream.below(options.gpus_per_host),
        sign,
        onset,
        healed: onset + outage,
        traits: [0.0; 6].map(|_| stream.unit()),
    }
}

/// Poisson moments at so many a day.
fn draw_moments(stream: &mut Stream, options: &FleetOptions, per_day: f64) -> Vec<i64> {
    let count = options.steps();
    let number = stream.poisson(per_day * count as f64 / steps_per_hour(options) / 24.0);
    (0..number).map(|_| stream.below(count as usize) as i64).collect()
}

/// Application errors that say nothing about the hardware.
fn draw_background_xids(stream: &mut Stream, options: &FleetOptions) -> Vec<(i64, usize, u16)> {
    const BENIGN: [(u16, f64); 4] = [(13, 1.0), (31, 1.0), (43, 1.0), (45, 1.0)];
    if options.gpus_per_host == 0 {
        return Vec::new();
    }
    let moments = draw_moments(stream, options, 0.25);
    moments
        .into_iter()
        .map(|at| (at, stream.below(options.gpus_per_host), stream.weighted(&BENIGN)))
        .collect()
}

/// What the driver logs when a GPU fails: NVIDIA's catalogue of XIDs.
fn reported_xids(episode: &Episode) -> Vec<(i64, usize, u16)> {
    let pick = |trait_: f64, a: u16, b: u16| if trait_ < 0.5 { a } else { b };
    let codes = match episode.failure() {
        Some(Failure::GpuThermal | Failure::GpuOffBus) => vec![79],
        Some(Failure::GpuEcc) => vec![48, pick(episode.traits[4], 63, 64), pick(episode.traits[5], 94, 95)],
        Some(Failure::Nvlink) => vec![74],
        Some(Failure::GpuSudden) => vec![pick(episode.traits[4], 79, 119)],
        _ => Vec::new(),
    };
    codes
        .into_iter()
        .map(|code| (episode.onset, episode.gpu, code))
        .collect()
}

fn remapped_rows(episode: &Episode) -> Vec<(i64, usize)> {
    let length = (episode.onset - episode.sign) as f64;
    match episode.what {
        What::Fails {
            kind: Failure::GpuEcc, ..
        } => {
            let number = 1 + (3.0 * episode.traits[2]) as usize;
            // Spread over the time of the signs, later ones closer together.
            (0..number)
                .map(|n| {
                    let share = ((n as f64 + 0.3 + 0.7 * episode.traits[3]) / number as f64)
                        .min(1.0)
                        .sqrt();
                    (episode.sign + (share * length) as i64, episode.gpu)
                })
                .collect()
        }
        What::Scares(Scare::SbeBurst) if episode.traits[3] < 0.4 => {
            vec![(episode.sign + (length / 2.0) as i64, episode.gpu)]
        }
        _ => Vec::new(),
    }
}

/// The stretches in which an episode takes the host off the network.
fn host_outages(episodes: &[Episode]) -> Vec<Silence> {
    let off = |episode: &Episode| {
        let from = (episode.onset..episode.healed).find(|&step| episode.host_is_off(step))?;
        Some(Silence {
            from,
            to: episode.healed,
            boots: true,
        })
    };
    episodes.iter().filter_map(off).collect()
}

/// The same silences in order, those that touch joined into one.
fn merged(mut silences: Vec<Silence>) -> Vec<Silence> {
    silences.sort_by_key(|silence| silence.from);
    let mut joined: Vec<Silence> = Vec::new();
    for next in silences {
        match joined.last_mut() {
            Some(last) if next.from <= last.to => {
                last.to = last.to.max(next.to);
                last.boots |= next.boots;
            }
            _ => joined.push(next),
        }
    }
    joined
}
