//! Logistic regression by linfa.

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

impl Logistic {
    /// Fits with an L2 penalty `alpha / 2 · |w|²` on the summed loss; `log_odds_shift` undoes the sampling of negatives.
    ///
    /// `features` says which of `width` features the columns of the dataset are; the others get no weight.
    pub(crate) fn fit(
        dataset: &Dataset<f64, bool, Ix1>,
        features: &[usize],
        width: usize,
        alpha: f64,
        log_odds_shift: f64,
    ) -> Result<Self, linfa_logistic::error::Error> {
        let fitted = LogisticRegression::default()
            .alpha(alpha)
            .max_iterations(30)
            .gradient_tolerance(1e-3)
            .fit(dataset)?;
        // linfa decides for itself which answer is its positive class; ours is `true`.
        let sign = if fitted.labels().pos.class { 1.0 } else { -1.0 };
        let mut weights = vec![0.0; width];
        for (feature, weight) in features.iter().zip(fitted.params()) {
            weights[*feature] = sign * weight;
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
