//! Models: what was learned, from what, and how it turns a row of features into a probability.

mod boosting;
mod forest;
mod isolation;
mod logistic;
mod tree;

use serde::{Deserialize, Serialize};

pub use boosting::{Boosting, BoostingError, BoostingParams, BoostingValidParams};
pub use forest::Forest;
pub use isolation::Isolation;
pub use logistic::Logistic;

pub(crate) use forest::ForestSize;
pub(crate) use logistic::Penalty;

use crate::Probability;
use crate::bits;
use crate::calibration::{Calibration, Combination, logit};
use crate::dataset::Scaler;
use crate::evaluate::Evaluation;
use crate::features::FeatureSet;
use crate::window::{Grid, Horizon};

/// The newest format of model files that this program writes and reads.
pub const FORMAT: u32 = 4;

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
    /// No incidents needed: how few cuts set the host apart from how hosts usually are.
    Isolation,
    /// Logistic regression on past incidents alone: which hosts are lemons, and what comes back at its hour.
    History,
    /// Histogram gradient boosting, ours.
    Boosting,
    /// The mean log odds of logistic regression and boosting.
    Blend,
    /// The mean log odds of history, logistic regression, boosting and, where they are grown, extremely randomised trees.
    Council,
}

impl Family {
    /// A short name, the first part of a model's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logistic => "logistic",
            Self::ExtraTrees => "extra-trees",
            Self::Unusual => "unusual",
            Self::Isolation => "isolation",
            Self::History => "history",
            Self::Boosting => "boosting",
            Self::Blend => "blend",
            Self::Council => "council",
        }
    }

    /// The families whose mean it is; none for those that are fitted.
    pub(crate) const fn members(self) -> &'static [Self] {
        match self {
            Self::Blend => &[Self::Logistic, Self::Boosting],
            Self::Council => &[Self::History, Self::Logistic, Self::Boosting, Self::ExtraTrees],
            _ => &[],
        }
    }

    /// Whether its output says how unusual a host is, and not how likely it fails.
    #[must_use]
    pub const fn is_unsupervised(self) -> bool {
        matches!(self, Self::Unusual | Self::Isolation)
    }
}

/// A row of features, as measured (NaN where nothing was) and standardised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    pub(crate) row: &'a [f32],
    pub(crate) standard: &'a [f64],
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
    /// Isolation forest.
    Isolation(Isolation),
    /// Logistic regression on past incidents alone; the other weights are 0.
    History(Logistic),
    /// Histogram gradient boosting.
    Boosting(Boosting),
    /// The mean of the log odds of several.
    Blend(Vec<Estimator>),
}

impl Estimator {
    /// Which family it is of.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::Logistic(_) => Family::Logistic,
            Self::ExtraTrees(_) => Family::ExtraTrees,
            Self::Unusual { .. } => Family::Unusual,
            Self::Isolation(_) => Family::Isolation,
            Self::History(_) => Family::History,
            Self::Boosting(_) => Family::Boosting,
            Self::Blend(members) if members.iter().any(|m| matches!(m, Self::History(_))) => Family::Council,
            Self::Blend(_) => Family::Blend,
        }
    }

    /// Log odds of a row; for unsupervised ones a number that grows with how unusual it is.
    pub(crate) fn raw(&self, x: Input<'_>) -> f64 {
        match self {
            Self::Logistic(m) | Self::History(m) => m.raw(x.standard),
            Self::ExtraTrees(m) => m.raw(x.standard),
            Self::Unusual { feature, .. } => x.standard[*feature],
            Self::Isolation(m) => m.raw(x.row),
            Self::Boosting(m) => m.log_odds(x.row),
            Self::Blend(members) => members.iter().map(|m| m.raw(x)).sum::<f64>() / members.len() as f64,
        }
    }

    /// What each feature adds, in the estimator's own scale.
    pub(crate) fn contributions(&self, x: Input<'_>, out: &mut Vec<f64>) {
        out.clear();
        out.resize(self.width(), 0.0);
        match self {
            Self::Logistic(m) | Self::History(m) => m.contributions(x.standard, out),
            Self::ExtraTrees(m) => m.contributions(x.standard, out),
            Self::Unusual { feature, .. } => out[*feature] = x.standard[*feature],
            Self::Isolation(m) => m.add_contributions(x.row, out),
            Self::Boosting(m) => m.add_contributions(x.row, out),
            Self::Blend(members) => {
                let mut of_one = Vec::new();
                for member in members {
                    member.contributions(x, &mut of_one);
                    for (sum, part) in out.iter_mut().zip(&of_one) {
                        *sum += part / members.len() as f64;
                    }
                }
            }
        }
    }

    /// Of how many it is the mean; 1 for those that are fitted.
    pub(crate) const fn members(&self) -> usize {
        match self {
            Self::Blend(members) => members.len(),
            _ => 1,
        }
    }

    fn width(&self) -> usize {
        match self {
            Self::Logistic(m) | Self::History(m) => m.width(),
            Self::ExtraTrees(m) => m.width(),
            Self::Unusual { width, .. } => *width,
            Self::Isolation(m) => m.width(),
            Self::Boosting(m) => m.width(),
            Self::Blend(members) => members.first().map_or(0, Self::width),
        }
    }

    fn is_sound(&self) -> bool {
        match self {
            Self::Logistic(_) | Self::History(_) => true,
            Self::ExtraTrees(m) => m.is_sound(),
            Self::Unusual { feature, width } => feature < width,
            Self::Isolation(m) => m.is_sound(),
            Self::Boosting(m) => m.is_sound(),
            // A blend of blends could be nested without end.
            Self::Blend(members) => {
                !members.is_empty()
                    && members
                        .iter()
                        .all(|m| !matches!(m, Self::Blend(_)) && m.width() == self.width() && m.is_sound())
            }
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
    fn probability(&self, x: Input<'_>) -> f64 {
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
    /// From the outputs of both heads to one; models from before it took the larger of their probabilities.
    #[serde(default)]
    pub(crate) combination: Option<Combination>,
    /// From that to the probability, fitted outside incidents.
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
        self.probability_of(Input { row, standard: &x })
    }

    pub(crate) fn probability_of(&self, x: Input<'_>) -> Probability {
        let one = match &self.combination {
            Some(combination) => {
                let under_way = self.under_way.as_ref().map_or(f64::NAN, |h| h.estimator.raw(x));
                combination.apply(self.soon.estimator.raw(x), under_way)
            }
            None => {
                let under_way = self.under_way.as_ref().map_or(0.0, |h| h.probability(x));
                logit(self.soon.probability(x).max(under_way))
            }
        };
        Probability::clamped(self.calibration.apply(one))
    }

    /// The head that speaks for this row: the one that makes it stand out more.
    pub(crate) fn speaking_head(&self, x: Input<'_>) -> &Head {
        let Some(head) = &self.under_way else { return &self.soon };
        let louder = match &self.combination {
            Some(combination) => combination.under_way_speaks(self.soon.estimator.raw(x), head.estimator.raw(x)),
            None => head.probability(x) > self.soon.probability(x),
        };
        if louder { head } else { &self.soon }
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
        let why = if self.features.grid.step_ms < Grid::MINUTE.step_ms {
            "its grid is finer than a minute"
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
