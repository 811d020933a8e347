//! Histogram gradient boosting for yes-or-no questions, as a linfa estimator.
//!
//! ```text
//! rows ─► bins (u8, one for missing values) ─► per round: gradients ─► histograms ─► best leaf split first ─► tree
//!                                                  ▲                                                         │
//!                                                  └───────────────── log odds ◄─────────────────────────────┘
//! ```
//! The method is Friedman's (2001) with second-order steps (Chen and Guestrin 2016), histograms and growth by the best leaf
//! (Ke et al. 2017). Gradients are rounded to whole numbers before they are summed, so that sums do not depend on the order
//! of additions: any number of threads gives the same trees, and a sibling's histogram is an exact difference.

mod bins;
mod grow;

use linfa::traits::{Fit, PredictInplace};
use linfa::{DatasetBase, Float, ParamGuard};
use ndarray::{Array1, ArrayBase, Data, Ix1, Ix2};
use serde::{Deserialize, Serialize};

use super::tree::Tree;
use crate::bits;
use crate::calibration::sigmoid;
use bins::Bins;
use grow::{Grower, Rng};

/// A boosted ensemble could not be fitted.
#[derive(Debug, thiserror::Error)]
pub enum BoostingError {
    /// A hyperparameter is out of range.
    #[error("{name} is {value}, expected {expected}")]
    Parameter {
        /// Which one.
        name: &'static str,
        /// What it was set to.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// There is nothing to learn from.
    #[error("there are {rows} rows of {features} features, at least two rows and one feature are needed")]
    Empty {
        /// How many rows there are.
        rows: usize,
        /// How many features they have.
        features: usize,
    },
    /// All rows have the same answer.
    #[error("all {rows} rows have the same answer")]
    OneAnswer {
        /// How many rows there are.
        rows: usize,
    },
    /// linfa refused the dataset.
    #[error("the dataset cannot be used")]
    Dataset(#[from] linfa::Error),
}

/// Hyperparameters, not yet checked.
///
/// ```
/// use foreshock_predict::model::Boosting;
/// use linfa::traits::{Fit, Predict};
/// use ndarray::{Array1, Array2};
///
/// let records = Array2::from_shape_fn((200, 2), |(i, j)| ((i * (j + 3)) % 20) as f32);
/// let answers: Array1<bool> = records.column(0).mapv(|v| v > 9.0);
/// let dataset = linfa::Dataset::new(records, answers);
/// let model = Boosting::params().rounds(20).leaf_rows_min(5.0).fit(&dataset).expect("a model");
/// let probability: Array1<f64> = model.predict(dataset.records());
/// assert!(probability[0] < 0.5 && probability[5] > 0.5);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BoostingParams(BoostingValidParams);

/// Hyperparameters, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct BoostingValidParams {
    rounds: usize,
    learning_rate: f64,
    leaves: usize,
    depth_max: usize,
    leaf_rows_min: f64,
    leaf_hessian_min: f64,
    l2: f64,
    bins: usize,
    rows_share: f64,
    features_share: f64,
    seed: u64,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty),+ $(,)?) => {
        impl BoostingParams {
            $($(#[$doc])* #[must_use] pub fn $name(mut self, $name: $type) -> Self { self.0.$name = $name; self })+
        }
    };
}
setters! {
    /// Trees at most; default 150.
    rounds: usize,
    /// Share of each tree's step that is taken, above 0 and up to 1; default 0.05.
    learning_rate: f64,
    /// Leaves of a tree at most; default 15.
    leaves: usize,
    /// Splits between root and leaf at most; default 12.
    depth_max: usize,
    /// Rows of a leaf at least, estimated from its share of the hessian; default 40.
    leaf_rows_min: f64,
    /// Summed hessian of a leaf at least; default 0.001.
    leaf_hessian_min: f64,
    /// L2 penalty of leaf values; default 10.
    l2: f64,
    /// Bins of a feature at most, 2 to 255, besides the one for missing values; default 63.
    bins: usize,
    /// Share of the rows that each tree sees, above 0 and up to 1; default 0.7.
    rows_share: f64,
    /// Share of the features that each tree sees, above 0 and up to 1; default 0.25.
    features_share: f64,
    /// Drives the choice of rows and features; default 1.
    seed: u64,
}

impl Default for BoostingParams {
    /// The settings of the measured baseline (facts: prediction, 2.2); nothing was tuned on held-out data.
    fn default() -> Self {
        Self(BoostingValidParams {
            rounds: 150,
            learning_rate: 0.05,
            leaves: 15,
            depth_max: 12,
            leaf_rows_min: 40.0,
            leaf_hessian_min: 1e-3,
            l2: 10.0,
            bins: 63,
            rows_share: 0.7,
            features_share: 0.25,
            seed: 1,
        })
    }
}

impl ParamGuard for BoostingParams {
    type Checked = BoostingValidParams;
    type Error = BoostingError;

    fn check_ref(&self) -> Result<&BoostingValidParams, BoostingError> {
        let p = &self.0;
        let share = |v: f64| v > 0.0 && v <= 1.0;
        let checks = [
            ("rounds", p.rounds as f64, p.rounds > 0, "at least 1"),
            (
                "learning_rate",
                p.learning_rate,
                share(p.learning_rate),
                "above 0 and at most 1",
            ),
            (
                "leaves",
                p.leaves as f64,
                (2..=65_536).contains(&p.leaves),
                "2 to 65536",
            ),
            ("depth_max", p.depth_max as f64, p.depth_max > 0, "at least 1"),
            ("leaf_rows_min", p.leaf_rows_min, p.leaf_rows_min >= 0.0, "0 or more"),
            (
                "leaf_hessian_min",
                p.leaf_hessian_min,
                p.leaf_hessian_min >= 0.0,
                "0 or more",
            ),
            ("l2", p.l2, p.l2 >= 0.0 && p.l2.is_finite(), "0 or more"),
            ("bins", p.bins as f64, (2..=255).contains(&p.bins), "2 to 255"),
            ("rows_share", p.rows_share, share(p.rows_share), "above 0 and at most 1"),
            (
                "features_share",
                p.features_share,
                share(p.features_share),
                "above 0 and at most 1",
            ),
        ];
        for (name, value, fine, expected) in checks {
            if !fine {
                return Err(BoostingError::Parameter { name, value, expected });
            }
        }
        Ok(p)
    }

    fn check(self) -> Result<BoostingValidParams, BoostingError> {
        self.check_ref()?;
        Ok(self.0)
    }
}

/// A fitted ensemble: the log odds of a row are `base` plus a leaf of each tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Boosting {
    trees: Vec<Tree>,
    width: usize,
    #[serde(with = "bits::one")]
    base: f64,
}

impl<F: Float, D: Data<Elem = F>, T: Data<Elem = bool>> Fit<ArrayBase<D, Ix2>, ArrayBase<T, Ix1>, BoostingError>
    for BoostingValidParams
{
    type Object = Boosting;

    /// `records` are `(rows, features)`, NaN where nothing was measured; `targets` is `true` for failures. Weights of the
    /// dataset count, where it has some.
    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, ArrayBase<T, Ix1>>) -> Result<Boosting, BoostingError> {
        self.fit_rounds(dataset, |_| true)
    }
}

impl BoostingValidParams {
    /// Fits and stops once the log loss on `later`, rows of a later time, has not fallen for `patience` rounds; keeps the
    /// rounds up to its lowest point.
    ///
    /// # Errors
    /// As `fit`; [`BoostingError::Dataset`] also when `later` has other features.
    pub fn fit_until<F: Float, D: Data<Elem = F>, T: Data<Elem = bool>>(
        &self,
        dataset: &DatasetBase<ArrayBase<D, Ix2>, ArrayBase<T, Ix1>>,
        later: &DatasetBase<ArrayBase<D, Ix2>, ArrayBase<T, Ix1>>,
        patience: usize,
    ) -> Result<Boosting, BoostingError> {
        let (width, watched) = (dataset.records.ncols(), later.records.ncols());
        if width != watched {
            return Err(linfa::Error::MismatchedShapes(width, watched).into());
        }
        let rows: Vec<Vec<f32>> = later.records.rows().into_iter().map(single).collect();
        let mut scores: Vec<f64> = Vec::new();
        let (mut best, mut best_loss) = (0, f64::INFINITY);
        let mut model = self.fit_rounds(dataset, |model| {
            if scores.is_empty() {
                scores = vec![model.base; rows.len()];
            }
            let mut loss = 0.0;
            for ((score, row), (i, answer)) in scores.iter_mut().zip(&rows).zip(later.targets.iter().enumerate()) {
                *score += model.trees.last().map_or(0.0, |t| t.value(row));
                let margin = if *answer { *score } else { -*score };
                loss += f64::from(later.weight_for(i)) * (-margin).exp().ln_1p();
            }
            if loss < best_loss {
                (best, best_loss) = (model.trees.len(), loss);
            }
            model.trees.len() < best + patience
        })?;
        model.trees.truncate(best.max(1));
        Ok(model)
    }

    /// Grows tree after tree while `go_on` says so.
    fn fit_rounds<F: Float, D: Data<Elem = F>, T: Data<Elem = bool>>(
        &self,
        dataset: &DatasetBase<ArrayBase<D, Ix2>, ArrayBase<T, Ix1>>,
        mut go_on: impl FnMut(&Boosting) -> bool,
    ) -> Result<Boosting, BoostingError> {
        let (rows, width) = (dataset.records.nrows(), dataset.records.ncols());
        if rows < 2 || width == 0 {
            return Err(BoostingError::Empty { rows, features: width });
        }
        if dataset.targets.len() != rows {
            return Err(linfa::Error::MismatchedShapes(rows, dataset.targets.len()).into());
        }
        let answers: Vec<bool> = dataset.targets.iter().copied().collect();
        let weights: Option<Vec<f32>> = dataset.weights().map(<[f32]>::to_vec);
        let (mut yes, mut all) = (0.0, 0.0);
        for (i, answer) in answers.iter().enumerate() {
            let weight = weights.as_ref().map_or(1.0, |w| f64::from(w[i]));
            all += weight;
            yes += if *answer { weight } else { 0.0 };
        }
        if yes <= 0.0 || yes >= all {
            return Err(BoostingError::OneAnswer { rows });
        }
        let bins = Bins::new(&dataset.records, self.bins);
        let base = (yes / (all - yes)).ln();
        let mut model = Boosting {
            trees: Vec::with_capacity(self.rounds),
            width,
            base,
        };
        let mut scores = vec![base; rows];
        let mut random = Rng::new(self.seed);
        let mut grower = Grower::new(self, &bins, &answers, weights.as_deref());
        for _ in 0..self.rounds {
            let tree = grower.tree(&mut scores, &mut random);
            model.trees.push(tree);
            if !go_on(&model) {
                break;
            }
        }
        Ok(model)
    }
}

fn single<F: Float, D: Data<Elem = F>>(row: ArrayBase<D, Ix1>) -> Vec<f32> {
    row.iter().map(|v| v.to_f32().unwrap_or(f32::NAN)).collect()
}

impl Boosting {
    /// Hyperparameters to start from.
    #[must_use]
    pub fn params() -> BoostingParams {
        BoostingParams::default()
    }

    /// How many trees there are.
    #[must_use]
    pub fn rounds(&self) -> usize {
        self.trees.len()
    }

    /// Log odds of a row, NaN where nothing was measured.
    #[must_use]
    pub fn log_odds(&self, row: &[f32]) -> f64 {
        self.trees.iter().fold(self.base, |sum, tree| sum + tree.value(row))
    }

    /// Adds to the log odds of every row, because learning saw another mixture than there is.
    pub(crate) fn shifted(mut self, log_odds: f64) -> Self {
        self.base += log_odds;
        self
    }

    /// Adds to `out` what each feature adds to the log odds: the change of the node's value at every split on it.
    pub(crate) fn add_contributions(&self, row: &[f32], out: &mut [f64]) {
        for tree in &self.trees {
            tree.add_contributions(row, out);
        }
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn is_sound(&self) -> bool {
        !self.trees.is_empty() && self.trees.iter().all(|t| t.is_sound(self.width))
    }
}

/// Rows that are scored together: their features and a tree's nodes stay in the cache.
const TOGETHER: usize = 64;

impl<F: Float, D: Data<Elem = F>> PredictInplace<ArrayBase<D, Ix2>, Array1<f64>> for Boosting {
    /// The probability of each row; `y` is `(rows,)`.
    fn predict_inplace<'a>(&'a self, x: &'a ArrayBase<D, Ix2>, y: &mut Array1<f64>) {
        assert_eq!(x.ncols(), self.width, "features of the rows and of the model");
        assert_eq!(x.nrows(), y.len(), "rows and places for their probabilities");
        let mut rows = vec![0.0_f32; TOGETHER * self.width];
        for start in (0..x.nrows()).step_by(TOGETHER) {
            let count = TOGETHER.min(x.nrows() - start);
            for (i, out) in rows.chunks_exact_mut(self.width).take(count).enumerate() {
                for (o, v) in out.iter_mut().zip(x.row(start + i)) {
                    *o = v.to_f32().unwrap_or(f32::NAN);
                }
            }
            let mut sums = [self.base; TOGETHER];
            for tree in &self.trees {
                for (sum, row) in sums[..count].iter_mut().zip(rows.chunks_exact(self.width)) {
                    *sum += tree.value(row);
                }
            }
            for (i, sum) in sums[..count].iter().enumerate() {
                y[start + i] = sigmoid(*sum);
            }
        }
    }

    fn default_target(&self, x: &ArrayBase<D, Ix2>) -> Array1<f64> {
        Array1::zeros(x.nrows())
    }
}

#[cfg(test)]
mod tests;
