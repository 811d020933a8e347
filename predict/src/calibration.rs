//! Raw output to probability: isotonic or Platt, fitted on predictions that the model made before it saw the outcome.
//!
//! Isotonic regression by pool adjacent violators (Ayer et al. 1955; Zadrozny and Elkan 2002), linear between the centres
//! of its pools so that order survives within them; Platt (1999) where failures are too few for that. Both are shrunk to
//! the base rate, because neighbouring rows of one incident are hardly more than one observation.

mod combination;

use serde::{Deserialize, Serialize};

pub(crate) use combination::{Combination, STANDS_BACK};

use crate::bits;

/// Share of the base rate mixed into every probability (facts: prediction, 2.2).
const BASE_SHARE: f64 = 0.03;
/// Rows of the base rate that every pool is mixed with.
const POOL_PRIOR: f64 = 10.0;
/// Fewer failures than this are fitted with Platt's two parameters.
const ISOTONIC_FAILURES_MIN: usize = 30;
/// Keeps rows in order where the fit is flat.
const TIE: f64 = 1e-4;
/// Raw outputs beyond this many logits say no more.
const LOGIT_MAX: f64 = 30.0;

/// A monotone function from a raw output in logits to a probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Share of failures among the rows that it was fitted on.
    #[serde(with = "bits::one")]
    pub base_rate: f64,
    curve: Curve,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Curve {
    /// Nothing was learned: the base rate.
    Constant,
    /// Linear between knots, flat beyond them.
    Isotonic {
        #[serde(with = "bits")]
        x: Vec<f64>,
        #[serde(with = "bits")]
        p: Vec<f64>,
    },
    /// `1 / (1 + exp(-(slope·x + shift)))`.
    Platt {
        #[serde(with = "bits::one")]
        slope: f64,
        #[serde(with = "bits::one")]
        shift: f64,
    },
}

impl Calibration {
    /// Fits to raw outputs in logits and their outcomes; rows with a raw output of NaN are ignored.
    #[must_use]
    pub fn fit(raw: &[f64], outcomes: &[bool]) -> Self {
        let mut rows: Vec<(f64, bool)> = raw
            .iter()
            .zip(outcomes)
            .filter(|(x, _)| !x.is_nan())
            .map(|(x, y)| (x.clamp(-LOGIT_MAX, LOGIT_MAX), *y))
            .collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        let failures = rows.iter().filter(|(_, y)| *y).count();
        let base_rate = failures as f64 / rows.len().max(1) as f64;
        let curve = if failures == 0 || failures == rows.len() {
            Curve::Constant
        } else if failures < ISOTONIC_FAILURES_MIN {
            platt(&rows, failures)
        } else {
            isotonic(&rows, base_rate)
        };
        Self { base_rate, curve }
    }

    /// The probability of a raw output.
    #[must_use]
    pub fn apply(&self, raw: f64) -> f64 {
        let x = raw.clamp(-LOGIT_MAX, LOGIT_MAX);
        let p = match &self.curve {
            Curve::Constant => self.base_rate,
            Curve::Isotonic { x: knots, p } => interpolate(knots, p, x),
            Curve::Platt { slope, shift } => sigmoid(slope * x + shift),
        };
        let tie = if matches!(self.curve, Curve::Constant) {
            0.0
        } else {
            TIE * sigmoid(x)
        };
        ((1.0 - BASE_SHARE) * p + BASE_SHARE * self.base_rate + tie).clamp(0.0, 1.0)
    }
}

/// `1 / (1 + exp(-x))`.
pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The inverse of [`sigmoid`], bounded.
pub(crate) fn logit(p: f64) -> f64 {
    let p = p.clamp(1e-12, 1.0 - 1e-12);
    (p / (1.0 - p)).ln()
}

fn interpolate(x: &[f64], p: &[f64], at: f64) -> f64 {
    let i = x.partition_point(|k| *k <= at);
    match (i.checked_sub(1), x.get(i)) {
        (None, _) => p.first().copied().unwrap_or(0.0),
        (Some(last), None) => p[last],
        (Some(below), Some(next)) => {
            let share = (at - x[below]) / (next - x[below]);
            p[below] + share * (p[i] - p[below])
        }
    }
}

#[derive(Clone, Copy)]
struct Pool {
    x_sum: f64,
    failures: f64,
    n: f64,
}

impl Pool {
    fn rate(self) -> f64 {
        self.failures / self.n
    }
    fn join(self, other: Self) -> Self {
        Self {
            x_sum: self.x_sum + other.x_sum,
            failures: self.failures + other.failures,
            n: self.n + other.n,
        }
    }
}

/// Pools of ascending rates; `pools` in order of x.
fn adjacent_violators(pools: impl Iterator<Item = Pool>) -> Vec<Pool> {
    let mut stack: Vec<Pool> = Vec::new();
    for pool in pools {
        let mut pool = pool;
        while let Some(below) = stack.pop_if(|below| below.rate() >= pool.rate()) {
            pool = below.join(pool);
        }
        stack.push(pool);
    }
    stack
}

fn isotonic(rows: &[(f64, bool)], base_rate: f64) -> Curve {
    // Rows of one raw output are one pool from the start, or their order in the input would matter.
    let mut single: Vec<Pool> = Vec::new();
    let mut previous = f64::NAN;
    for (x, y) in rows {
        let pool = Pool {
            x_sum: *x,
            failures: f64::from(u8::from(*y)),
            n: 1.0,
        };
        match single.last_mut() {
            Some(last) if *x == previous => *last = last.join(pool),
            _ => single.push(pool),
        }
        previous = *x;
    }
    let pools = adjacent_violators(single.into_iter());
    // Pools too small to mean anything join the one below; from the top down, where they are smallest and matter most.
    let least = (rows.len() as f64 / 500.0).clamp(5.0, 50.0);
    let mut wide: Vec<Pool> = Vec::new();
    for pool in pools.into_iter().rev() {
        match wide.last_mut() {
            Some(last) if last.n < least => *last = last.join(pool),
            _ => wide.push(pool),
        }
    }
    wide.reverse();
    let shrunk = wide.into_iter().map(|p| Pool {
        x_sum: p.x_sum * (p.n + POOL_PRIOR) / p.n,
        failures: p.failures + POOL_PRIOR * base_rate,
        n: p.n + POOL_PRIOR,
    });
    let knots = adjacent_violators(shrunk);
    Curve::Isotonic {
        x: knots.iter().map(|p| p.x_sum / p.n).collect(),
        p: knots.iter().map(|p| p.rate()).collect(),
    }
}

/// Newton's method on Platt's two parameters with his smoothed targets (Lin, Lin, Weng 2007).
fn platt(rows: &[(f64, bool)], failures: usize) -> Curve {
    let survivals = rows.len() - failures;
    let (high, low) = (
        (failures as f64 + 1.0) / (failures as f64 + 2.0),
        1.0 / (survivals as f64 + 2.0),
    );
    let (mut slope, mut shift) = (0.0, ((failures as f64 + 1.0) / (survivals as f64 + 1.0)).ln());
    for _ in 0..100 {
        // The ridge keeps the slope finite where rows are separable.
        let (mut g_a, mut g_b, mut h_aa, mut h_ab, mut h_bb) = (1e-3 * slope, 0.0, 1e-3, 0.0, 1e-9);
        for (x, y) in rows {
            let p = sigmoid(slope * x + shift);
            let d = p - if *y { high } else { low };
            let w = p * (1.0 - p);
            g_a += d * x;
            g_b += d;
            h_aa += w * x * x;
            h_ab += w * x;
            h_bb += w;
        }
        let det = h_aa * h_bb - h_ab * h_ab;
        if det.abs() < 1e-18 {
            break;
        }
        let (step_a, step_b) = ((h_bb * g_a - h_ab * g_b) / det, (h_aa * g_b - h_ab * g_a) / det);
        // Steps are bounded, since Newton overshoots far from the optimum.
        slope -= step_a.clamp(-2.0, 2.0);
        shift -= step_b.clamp(-5.0, 5.0);
        if step_a.abs() + step_b.abs() < 1e-10 {
            break;
        }
    }
    // A model that ranks backwards is worth no more than the base rate.
    if slope.is_finite() && shift.is_finite() && slope > 0.0 {
        Curve::Platt { slope, shift }
    } else {
        Curve::Constant
    }
}

#[cfg(test)]
mod tests;
