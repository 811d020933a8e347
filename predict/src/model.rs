//! Models: what was learned, from what, and how it turns a row of features into a probability.

mod forest;
mod logistic;

use linfa::Dataset;
use ndarray::Ix1;
use serde::{Deserialize, Serialize};

pub use forest::Forest;
pub use logistic::Logistic;

pub(crate) use forest::ForestSize;

use crate::Probability;
use crate::bits;
use crate::calibration::{Calibration, logit};
use crate::dataset::Scaler;
use crate::evaluate::Evaluation;
use crate::features::FeatureSet;
use crate::window::Horizon;

/// The newest format of model files that this program writes and reads.
pub const FORMAT: u32 = 1;

/// Which family of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Logistic regression by linfa.
    Logistic,
    /// Extremely randomised trees by smartcore.
    ExtraTrees,
    /// No learning: how unusual the host is as a whole, calibrated.
    Unusual,
}

impl Family {
    /// A short name, the first part of a model's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logistic => "logistic",
            Self::ExtraTrees => "extra-trees",
            Self::Unusual => "unusual",
        }
    }
}

/// A fitted model of one question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    /// Logistic regression.
    Logistic(Logistic),
    /// Extremely randomised trees.
    ExtraTrees(Forest),
    /// How unusual the host is as a whole: one standardised feature, taken as it is.
    Unusual {
        /// Its position.
        feature: usize,
        /// How many features there are.
        width: usize,
    },
}

impl Estimator {
    /// Fits one to a dataset of standardised rows.
    pub(crate) fn fit(
        family: Family,
        dataset: &Dataset<f64, bool, Ix1>,
        alpha: f64,
        log_odds_shift: f64,
        seed: u64,
    ) -> Result<Self, String> {
        match family {
            Family::Logistic => Logistic::fit(dataset, alpha, log_odds_shift)
                .map(Self::Logistic)
                .map_err(|e| e.to_string()),
            Family::ExtraTrees => {
                // Standard layout of the transposed is column by column of the original: no copy, and what trees scan.
                let columns = dataset.records().t();
                let columns = columns.as_standard_layout();
                let columns = columns.as_slice().ok_or("columns do not lie one behind the other")?;
                let size = ForestSize {
                    trees: 50,
                    depth: 12,
                    leaf: 5,
                };
                let answers = dataset.targets().to_vec();
                Forest::fit(columns, dataset.records().ncols(), &answers, size, log_odds_shift, seed)
                    .map(Self::ExtraTrees)
            }
            Family::Unusual => Err("how unusual a host is needs no fitting".to_owned()),
        }
    }

    /// Which family it is of.
    #[must_use]
    pub const fn family(&self) -> Family {
        match self {
            Self::Logistic(_) => Family::Logistic,
            Self::ExtraTrees(_) => Family::ExtraTrees,
            Self::Unusual { .. } => Family::Unusual,
        }
    }

    /// Log odds of a standardised row.
    pub(crate) fn raw(&self, x: &[f64]) -> f64 {
        match self {
            Self::Logistic(m) => m.raw(x),
            Self::ExtraTrees(m) => m.raw(x),
            Self::Unusual { feature, .. } => x[*feature],
        }
    }

    /// What each feature adds, in the estimator's own scale.
    pub(crate) fn contributions(&self, x: &[f64], out: &mut Vec<f64>) {
        match self {
            Self::Logistic(m) => m.contributions(x, out),
            Self::ExtraTrees(m) => m.contributions(x, out),
            Self::Unusual { feature, width } => {
                out.clear();
                out.resize(*width, 0.0);
                out[*feature] = x[*feature];
            }
        }
    }

    fn width(&self) -> usize {
        match self {
            Self::Logistic(m) => m.width(),
            Self::ExtraTrees(m) => m.width(),
            Self::Unusual { width, .. } => *width,
        }
    }

    fn is_sound(&self) -> bool {
        match self {
            Self::Logistic(_) => true,
            Self::ExtraTrees(m) => m.is_sound(),
            Self::Unusual { feature, width } => feature < width,
        }
    }
}

/// One question of a model: its estimator and what its output means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    pub(crate) estimator: Estimator,
    pub(crate) calibration: Calibration,
}

impl Head {
    fn probability(&self, x: &[f64]) -> f64 {
        self.calibration.apply(self.estimator.raw(x))
    }
}

/// A model with everything that is needed to score, to explain, and to know where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Format of the file.
    pub format: u32,
    /// A name that says family, horizon and end of its data: `logistic-1h-1767617280`.
    pub name: String,
    /// Version of the program that trained it.
    pub code: String,
    /// How far ahead it looks.
    pub horizon: Horizon,
    /// The pause before its horizon begins, in milliseconds.
    pub gap_ms: i64,
    /// First instant of the data that it was trained on.
    pub trained_from: i64,
    /// First instant after it.
    pub trained_to: i64,
    /// Hosts that it was trained on.
    pub hosts: Vec<String>,
    /// The seed that makes the same model again.
    pub seed: u64,
    /// Its features.
    pub features: FeatureSet,
    pub(crate) scaler: Scaler,
    pub(crate) soon: Head,
    pub(crate) under_way: Option<Head>,
    /// From the larger of the two heads to the probability, fitted outside incidents.
    pub(crate) calibration: Calibration,
    /// Scores from here on alert.
    #[serde(with = "bits::one")]
    pub threshold: f64,
    /// What it did on history that it had not seen.
    pub evaluation: Evaluation,
}

/// A model could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// It is no model, or it was damaged.
    #[error("the model cannot be read")]
    Corrupt {
        /// Where reading stopped.
        #[source]
        source: serde_json::Error,
    },
    /// Its parts contradict each other.
    #[error("the model {name:?} contradicts itself: {why}")]
    Unsound {
        /// Its name.
        name: String,
        /// How.
        why: &'static str,
    },
    /// A newer program wrote it.
    #[error("the model has format {found}, this program reads up to {newest}")]
    Future {
        /// Its format.
        found: u32,
        /// Ours.
        newest: u32,
    },
}

impl ModelError {
    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Corrupt { .. } | Self::Unsound { .. } => "train a new model, or go back to an earlier one",
            Self::Future { .. } => "use the version of foreshock that trained it, or train a new model",
        }
    }

    /// `corrupt` or `conflict`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Corrupt { .. } | Self::Unsound { .. } => "corrupt",
            Self::Future { .. } => "conflict",
        }
    }
}

impl Model {
    /// The probability of one row of features, missing ones as NaN.
    #[must_use]
    pub fn probability(&self, row: &[f32]) -> Probability {
        let mut x = Vec::with_capacity(row.len());
        self.scaler.apply(row, &mut x);
        self.probability_of_standardised(&x)
    }

    pub(crate) fn probability_of_standardised(&self, x: &[f64]) -> Probability {
        let soon = self.soon.probability(x);
        let under_way = self.under_way.as_ref().map_or(0.0, |h| h.probability(x));
        Probability::clamped(self.calibration.apply(logit(soon.max(under_way))))
    }

    /// The head that speaks for this row: the one with the larger probability.
    pub(crate) fn speaking_head(&self, x: &[f64]) -> &Head {
        match &self.under_way {
            Some(head) if head.probability(x) > self.soon.probability(x) => head,
            _ => &self.soon,
        }
    }

    /// Which family it is of.
    #[must_use]
    pub fn family(&self) -> Family {
        self.soon.estimator.family()
    }

    /// As JSON; floating point numbers that matter are written bit by bit.
    ///
    /// # Errors
    /// [`serde_json::Error`] never, in practice.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// From JSON.
    ///
    /// # Errors
    /// [`ModelError`] when it is damaged, contradicts itself, or comes from a newer program.
    pub fn from_json(text: &str) -> Result<Self, ModelError> {
        #[derive(Deserialize)]
        struct Header {
            format: u32,
        }
        // The format first, since a newer one need not have our fields.
        let header: Header = serde_json::from_str(text).map_err(|source| ModelError::Corrupt { source })?;
        if header.format > FORMAT {
            return Err(ModelError::Future {
                found: header.format,
                newest: FORMAT,
            });
        }
        let model: Self = serde_json::from_str(text).map_err(|source| ModelError::Corrupt { source })?;
        model.check()?;
        Ok(model)
    }

    fn check(&self) -> Result<(), ModelError> {
        let width = self.features.len();
        let heads = [Some(&self.soon), self.under_way.as_ref()];
        let why = if self.features.grid.step_ms <= 0 {
            "its grid has no step"
        } else if self
            .features
            .columns
            .iter()
            .any(|c| c.signal >= self.features.signals.len())
        {
            "a column has no signal"
        } else if self.features.typical.len() != self.features.columns.len() {
            "columns and their usual spreads differ in number"
        } else if self.scaler.width() != width || heads.iter().flatten().any(|h| h.estimator.width() != width) {
            "features and weights differ in number"
        } else if heads.iter().flatten().any(|h| !h.estimator.is_sound()) {
            "a tree does not end"
        } else {
            return Ok(());
        };
        Err(ModelError::Unsound {
            name: self.name.clone(),
            why,
        })
    }
}
