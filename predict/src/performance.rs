//! How a service performs under load, and how work is shared out: the base formulas of the practice, with their limits said.

/// Response times of one load bin, mergeable: count, sum, sum of squares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoadBin {
    /// Requests.
    pub n: u64,
    /// Sum of their times.
    pub sum: f64,
    /// Sum of the squares of their times.
    pub sum_squares: f64,
}

impl LoadBin {
    /// A bin of these times.
    #[must_use]
    pub fn of(times: &[f64]) -> Self {
        Self {
            n: times.len() as u64,
            sum: times.iter().sum(),
            sum_squares: times.iter().map(|t| t * t).sum(),
        }
    }

    /// Two bins of the same load as one.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            n: self.n + other.n,
            sum: self.sum + other.sum,
            sum_squares: self.sum_squares + other.sum_squares,
        }
    }

    /// `T`: the mean time.
    #[must_use]
    pub fn mean(self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / self.n as f64)
    }

    /// `σ`: the standard deviation of the times.
    #[must_use]
    pub fn deviation(self) -> Option<f64> {
        let mean = self.mean()?;
        let variance = (self.sum_squares / self.n as f64 - mean * mean).max(0.0);
        // What is left of equal times after rounding is no spread.
        Some(if variance < 1e-12 * mean * mean {
            0.0
        } else {
            variance.sqrt()
        })
    }

    /// `P(L) = T / σ`, undefined where times do not spread.
    ///
    /// It rises when a service slows down at equal spread, so it is read beside `T` and `σ` and never decides alone.
    ///
    /// ```
    /// use foreshock_predict::performance::LoadBin;
    /// let bin = LoadBin::of(&[90.0, 100.0, 110.0]);
    /// assert!((bin.index().expect("they spread") - 12.247).abs() < 1e-3);
    /// assert_eq!(LoadBin::of(&[100.0, 100.0]).index(), None);
    /// ```
    #[must_use]
    pub fn index(self) -> Option<f64> {
        match (self.mean(), self.deviation()) {
            (Some(mean), Some(deviation)) if deviation > 0.0 => Some(mean / deviation),
            _ => None,
        }
    }
}

/// How weights follow from capacities and failure probabilities.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightRule {
    /// Exponent `k`: how strongly a probable failure takes work away.
    pub exponent: f64,
    /// Least share of its capacity that a host keeps.
    pub floor: f64,
}

/// `W_i = capacity · (1 - p_i)^k`, at least `floor · capacity`. The horizon of `p` is the caller's to state.
#[must_use]
pub fn weight(capacity: f64, p: crate::Probability, rule: WeightRule) -> f64 {
    capacity * (1.0 - p.get()).powf(rule.exponent).max(rule.floor)
}

/// `L_i = W_i / ΣW`; nothing where the weights add up to nothing.
#[must_use]
pub fn shares(weights: &[f64]) -> Option<Vec<f64>> {
    let sum: f64 = weights.iter().sum();
    (sum > 0.0 && sum.is_finite()).then(|| weights.iter().map(|w| w / sum).collect())
}

/// The largest of assigned work over weight, over the mean of it: 1 is balanced.
#[must_use]
pub fn imbalance(assigned: &[f64], weights: &[f64]) -> Option<f64> {
    let load: Vec<f64> = assigned
        .iter()
        .zip(weights)
        .filter(|(_, w)| **w > 0.0)
        .map(|(a, w)| a / w)
        .collect();
    let mean = load.iter().sum::<f64>() / load.len() as f64;
    (mean > 0.0).then(|| load.iter().copied().fold(0.0, f64::max) / mean)
}

/// When split work is done: the largest of assigned work over speed, plus what splitting costs.
///
/// Only for equal hosts is that the whole over their number.
#[must_use]
pub fn completion_time(assigned: &[f64], speeds: &[f64], overhead: f64) -> Option<f64> {
    if assigned.iter().zip(speeds).any(|(a, s)| *a > 0.0 && *s <= 0.0) {
        return None;
    }
    let slowest = assigned
        .iter()
        .zip(speeds)
        .filter(|(a, _)| **a > 0.0)
        .map(|(a, s)| a / s)
        .fold(0.0, f64::max);
    Some(slowest + overhead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Probability;

    #[test]
    fn capacities_of_100_to_500_share_out_in_fifteenths() {
        let shares = shares(&[100.0, 200.0, 300.0, 400.0, 500.0]).expect("shares");
        for (i, share) in shares.iter().enumerate() {
            assert!((share - (i as f64 + 1.0) / 15.0).abs() < 1e-12);
        }
        assert_eq!(super::shares(&[0.0, 0.0]), None);
    }

    #[test]
    fn bins_merge_from_their_sums() {
        let (a, b) = (LoadBin::of(&[1.0, 2.0]), LoadBin::of(&[3.0, 10.0]));
        assert_eq!(a.merge(b), LoadBin::of(&[1.0, 2.0, 3.0, 10.0]));
        let all = LoadBin::of(&[1.0, 2.0, 3.0, 10.0]);
        assert_eq!(all.mean(), Some(4.0));
        assert!((all.deviation().expect("spread") - 12.5_f64.sqrt()).abs() < 1e-12);
        assert_eq!(LoadBin::default().index(), None);
        assert_eq!(LoadBin::of(&[0.1, 0.1, 0.1]).index(), None);
    }

    #[test]
    fn a_probable_failure_takes_work_away_down_to_the_floor() {
        let rule = WeightRule {
            exponent: 2.0,
            floor: 0.1,
        };
        let p = |p| Probability::new(p).expect("probability");
        assert!((weight(100.0, p(0.5), rule) - 25.0).abs() < 1e-12);
        assert!((weight(100.0, p(0.99), rule) - 10.0).abs() < 1e-12);
        assert!((weight(100.0, p(0.0), rule) - 100.0).abs() < 1e-12);
    }

    #[test]
    fn the_slowest_host_decides_when_split_work_is_done() {
        assert_eq!(completion_time(&[10.0, 10.0], &[1.0, 5.0], 0.5), Some(10.5));
        assert_eq!(completion_time(&[10.0, 0.0], &[1.0, 0.0], 0.0), Some(10.0));
        assert_eq!(completion_time(&[1.0], &[0.0], 0.0), None);
        assert_eq!(imbalance(&[10.0, 10.0], &[1.0, 1.0]), Some(1.0));
        assert_eq!(imbalance(&[15.0, 5.0], &[1.0, 1.0]), Some(1.5));
    }
}
