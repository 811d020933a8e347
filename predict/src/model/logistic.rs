//! Logistic regression by linfa.

use std::ops::Range;

use linfa::Dataset;
use linfa::traits::Fit;
use linfa_logistic::LogisticRegression;
use ndarray::Ix1;
use serde::{Deserialize, Serialize};

use crate::bits;

/// A fitted logistic regression: weights of standardised features, and the intercept for the mixture that really occurs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logistic {
    #[serde(with = "bits")]
    weights: Vec<f64>,
    #[serde(with = "bits::one")]
    intercept: f64,
}

/// An L2 penalty `alpha / 2 · |w|²` on the summed loss, lighter for some features: weighing a feature `n` times as high is
/// penalising it `n²` times less.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Penalty {
    pub(crate) alpha: f64,
    /// Positions of features, and how many times as high they weigh.
    pub(crate) easier: Vec<(Range<usize>, f64)>,
}

impl Penalty {
    /// The same for all features.
    pub(crate) const fn of(alpha: f64) -> Self {
        Self {
            alpha,
            easier: Vec::new(),
        }
    }

    fn times(&self, feature: usize) -> f64 {
        let found = self.easier.iter().find(|(features, _)| features.contains(&feature));
        found.map_or(1.0, |(_, times)| *times)
    }
}

impl Logistic {
    /// Fits under a penalty; `log_odds_shift` undoes the sampling of negatives.
    ///
    /// `features` says which of `width` features the columns of the dataset are; the others get no weight.
    pub(crate) fn fit(
        mut dataset: Dataset<f64, bool, Ix1>,
        features: &[usize],
        width: usize,
        penalty: &Penalty,
        log_odds_shift: f64,
    ) -> Result<Self, linfa_logistic::error::Error> {
        for (feature, mut column) in features.iter().zip(dataset.records.columns_mut()) {
            column *= penalty.times(*feature);
        }
        let fitted = LogisticRegression::default()
            .alpha(penalty.alpha)
            .max_iterations(30)
            .gradient_tolerance(1e-3)
            .fit(&dataset)?;
        // linfa decides for itself which answer is its positive class; ours is `true`.
        let sign = if fitted.labels().pos.class { 1.0 } else { -1.0 };
        let mut weights = vec![0.0; width];
        for (feature, weight) in features.iter().zip(fitted.params()) {
            weights[*feature] = sign * weight * penalty.times(*feature);
        }
        Ok(Self {
            weights,
            intercept: sign * fitted.intercept() + log_odds_shift,
        })
    }

    /// Log odds of a standardised row.
    pub(crate) fn raw(&self, x: &[f64]) -> f64 {
        let mut sum = self.intercept;
        for (w, v) in self.weights.iter().zip(x) {
            sum += w * v;
        }
        sum
    }

    /// What each feature adds to the log odds.
    pub(crate) fn contributions(&self, x: &[f64], out: &mut [f64]) {
        for (out, (w, v)) in out.iter_mut().zip(self.weights.iter().zip(x)) {
            *out += w * v;
        }
    }

    pub(crate) fn width(&self) -> usize {
        self.weights.len()
    }
}
