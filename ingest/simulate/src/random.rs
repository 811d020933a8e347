//! Random streams that depend on a seed and a place, never on the order of calls elsewhere.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// What a stream is for, so that more draws in one part do not move another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Fleet = 1,
    Schedule = 2,
    Traits = 3,
    Workload = 4,
    Noise = 5,
    Forced = 6,
    Identity = 7,
}

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    rng: Xoshiro256PlusPlus,
    /// The Box-Muller transform makes two normal numbers at once; this is the second.
    spare: Option<f64>,
}

/// `SplitMix64`'s finaliser: every bit of the input moves every bit of the output.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Stream {
    /// The stream of one `purpose` at one `place` (a host's number, or any number for the fleet).
    pub(crate) fn new(seed: u64, place: u64, purpose: Purpose) -> Self {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let a = mix(seed.wrapping_add(GOLDEN));
        let b = mix(a ^ place.wrapping_add(1).wrapping_mul(GOLDEN));
        let c = mix(b.wrapping_add((purpose as u64).wrapping_mul(GOLDEN)));
        Self {
            rng: Xoshiro256PlusPlus::seed_from_u64(c),
            spare: None,
        }
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        self.rng.random()
    }

    /// Uniform in `[low, high)`.
    pub(crate) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in `[low, high)` of the logarithm: short spans as likely as long ones.
    pub(crate) fn log_uniform(&mut self, low: f64, high: f64) -> f64 {
        self.uniform(low.ln(), high.ln()).exp()
    }

    /// A whole number in `[0, bound)`; 0 when `bound` is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { self.rng.random_range(0..bound) }
    }

    /// True with the given probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// All 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.rng.random()
    }

    /// Standard normal, by Box and Muller (1958).
    pub(crate) fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.unit()).sin_cos();
        self.spare = Some(radius * sin);
        radius * cos
    }

    /// Log-normal with the given median and spread of the logarithm.
    pub(crate) fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }

    /// Poisson with the given mean: Knuth's product for small means, a rounded normal for large ones.
    pub(crate) fn poisson(&mut self, mean: f64) -> u64 {
        if mean <= 0.0 {
            return 0;
        }
        if mean > 60.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0) as u64;
        }
        let floor = (-mean).exp();
        let mut product = self.unit();
        let mut count = 0;
        while product > floor {
            product *= self.unit();
            count += 1;
        }
        count
    }

    /// One of `choices`, drawn by its weight.
    pub(crate) fn weighted<T: Copy>(&mut self, choices: &[(T, f64)]) -> T {
        let total: f64 = choices.iter().map(|(_, weight)| weight).sum();
        let mut left = self.unit() * total;
        for (choice, weight) in choices {
            left -= weight;
            if left < 0.0 {
                return *choice;
            }
        }
        choices[choices.len() - 1].0
    }
}

/// A value that wanders about zero and returns: an autoregressive process of order one, given by how long it remembers and
/// how far it strays, so that the same fleet looks alike at every step length.
#[derive(Debug, Clone)]
pub(crate) struct Wander {
    keep: f64,
    kick: f64,
    value: f64,
}

impl Wander {
    pub(crate) fn new(memory_s: f64, deviation: f64, step_s: f64) -> Self {
        let keep = (-step_s / memory_s).exp();
        Self {
            keep,
            kick: deviation * (1.0 - keep * keep).sqrt(),
            value: 0.0,
        }
    }

    pub(crate) fn step(&mut self, stream: &mut Stream) -> f64 {
        self.value = self.keep * self.value + self.kick * stream.normal();
        self.value
    }
}
