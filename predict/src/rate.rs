//! Failure rates: events per exposure with an exact interval, and the probability that follows from a rate.

use crate::Probability;

/// Events per unit of exposure, with the exact 95 % interval of a Poisson count (Garwood 1936).
///
/// ```
/// use foreshock_predict::rate::FailureRate;
/// let rate = FailureRate::of(10, 1_000.0).expect("an exposure");
/// assert_eq!(rate.per_unit, 0.01);
/// // Ten failures in a thousand seconds are 45 % within a minute, not "1 %".
/// assert_eq!(format!("{:.0}", rate.within(60.0).get() * 100.0), "45");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FailureRate {
    /// Events that happened.
    pub events: u64,
    /// Exposure: host-seconds, host-days, without maintenance.
    pub exposure: f64,
    /// Events over exposure.
    pub per_unit: f64,
    /// Lower end of the interval; 0 without events.
    pub low: f64,
    /// Upper end of the interval; without events the 95 % upper bound, 3 over the exposure.
    pub high: f64,
}

impl FailureRate {
    /// The rate of `events` in `exposure`; nothing where there was no exposure.
    #[must_use]
    pub fn of(events: u64, exposure: f64) -> Option<Self> {
        if !(exposure.is_finite() && exposure > 0.0) {
            return None;
        }
        let (low, high) = match events {
            // One-sided: 1 - exp(-3) is 95 %.
            0 => (0.0, -(0.05_f64.ln())),
            n => (mean_with_tail(n - 1, 0.975), mean_with_tail(n, 0.025)),
        };
        Some(Self {
            events,
            exposure,
            per_unit: events as f64 / exposure,
            low: low / exposure,
            high: high / exposure,
        })
    }

    /// The rate pulled towards `prior` as if `weight` units of exposure at that rate had been seen too.
    #[must_use]
    pub fn shrunk(&self, prior: f64, weight: f64) -> f64 {
        (self.events as f64 + prior * weight) / (self.exposure + weight)
    }

    /// The probability of at least one event within `span`: `1 - exp(-rate · span)`, never the rate itself.
    #[must_use]
    pub fn within(&self, span: f64) -> Probability {
        Probability::clamped(-(-self.per_unit * span).exp_m1())
    }
}

/// The mean at which a Poisson count is at most `n` with probability `p`; by bisection.
fn mean_with_tail(n: u64, p: f64) -> f64 {
    let (mut low, mut high) = (0.0, 10.0 + 3.0 * n as f64);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if poisson_at_most(n, middle) > p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// `P(X <= n)` for a Poisson count of mean `mean`, summed from the largest term down so that nothing overflows.
fn poisson_at_most(n: u64, mean: f64) -> f64 {
    if mean <= 0.0 {
        return 1.0;
    }
    let mut log_term = -mean;
    let mut log_terms = Vec::with_capacity(n as usize + 1);
    log_terms.push(log_term);
    for k in 1..=n {
        log_term += mean.ln() - (k as f64).ln();
        log_terms.push(log_term);
    }
    let largest = log_terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (log_terms.iter().map(|t| (t - largest).exp()).sum::<f64>().ln() + largest)
        .exp()
        .min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events, exposure, and the interval to four digits.
    fn check(events: u64, exposure: f64, low: &str, high: &str) {
        let rate = FailureRate::of(events, exposure).expect("rate");
        assert_eq!(
            (
                format!("{:.4}", rate.low).as_str(),
                format!("{:.4}", rate.high).as_str()
            ),
            (low, high)
        );
    }

    #[test]
    fn intervals_are_the_exact_ones() {
        check(10, 1_000.0, "0.0048", "0.0184");
        check(1, 1.0, "0.0253", "5.5716");
        check(0, 1.0, "0.0000", "2.9957");
        check(100, 1.0, "81.3640", "121.6268");
    }

    #[test]
    fn a_rate_is_no_probability() {
        let rate = FailureRate::of(10, 1_000.0).expect("rate");
        assert!((rate.within(60.0).get() - 0.451_188).abs() < 1e-6);
        assert_eq!(rate.within(0.0).get(), 0.0);
        assert_eq!(FailureRate::of(3, 0.0), None);
    }

    #[test]
    fn few_events_are_pulled_towards_the_prior() {
        let rate = FailureRate::of(0, 10.0).expect("rate");
        assert!((rate.shrunk(0.1, 30.0) - 0.075).abs() < 1e-12);
    }
}
