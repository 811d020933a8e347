//! Extremely randomised trees by smartcore, kept in a flat form of our own.
//!
//! smartcore grows the trees; its regressor on 0/1 answers gives the mean of leaves, which is a probability (its
//! classifiers give none). Predicting from flat arrays is many times faster than from its trees, is exact after a reload,
//! and lets a score be taken apart along its paths.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use smartcore::ensemble::extra_trees_regressor::{ExtraTreesRegressor, ExtraTreesRegressorParameters};
use smartcore::linalg::basic::matrix::DenseMatrix;

use crate::bits;
use crate::calibration::logit;

/// A forest can be certain; its log odds are kept within what a few thousand examples can tell.
const CERTAIN: f64 = 1e-4;

/// A fitted forest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forest {
    trees: Vec<Tree>,
    width: usize,
    #[serde(with = "bits::one")]
    log_odds_shift: f64,
}

/// Nodes in arrays; a node whose left child is itself is a leaf.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Tree {
    feature: Vec<u32>,
    #[serde(with = "bits")]
    split: Vec<f64>,
    left: Vec<u32>,
    right: Vec<u32>,
    #[serde(with = "bits")]
    value: Vec<f64>,
}

/// How large a forest may grow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForestSize {
    pub(crate) trees: usize,
    pub(crate) depth: u16,
    pub(crate) leaf: usize,
}

impl Forest {
    /// Grows a forest on standardised features, given column by column.
    pub(crate) fn fit(
        columns: &[f64],
        width: usize,
        answers: &[bool],
        size: ForestSize,
        log_odds_shift: f64,
        seed: u64,
    ) -> Result<Self, String> {
        let x = DenseMatrix::new(answers.len(), width, columns.to_vec(), true).map_err(|e| e.to_string())?;
        let y: Vec<f64> = answers.iter().map(|a| f64::from(u8::from(*a))).collect();
        let parameters = ExtraTreesRegressorParameters::default()
            .with_n_trees(size.trees)
            .with_max_depth(size.depth)
            .with_min_samples_leaf(size.leaf)
            .with_min_samples_split(2 * size.leaf)
            .with_m(((width as f64).sqrt() * 2.0) as usize)
            .with_seed(seed);
        let fitted = ExtraTreesRegressor::fit(&x, &y, parameters).map_err(|e| e.to_string())?;
        let value = serde_json::to_value(&fitted).map_err(|e| e.to_string())?;
        let trees = value["forest_regressor"]["trees"]
            .as_array()
            .ok_or("the forest has no trees")?;
        let trees = trees
            .iter()
            .map(Tree::read)
            .collect::<Option<Vec<_>>>()
            .ok_or("a tree has an unknown form")?;
        Ok(Self {
            trees,
            width,
            log_odds_shift,
        })
    }

    fn mean(&self, x: &[f64]) -> f64 {
        self.trees.iter().map(|t| t.value[t.path(x, |_, _| ())]).sum::<f64>() / self.trees.len() as f64
    }

    /// Log odds of a standardised row.
    pub(crate) fn raw(&self, x: &[f64]) -> f64 {
        self.log_odds(self.mean(x))
    }

    fn log_odds(&self, mean: f64) -> f64 {
        logit(mean.clamp(CERTAIN, 1.0 - CERTAIN)) + self.log_odds_shift
    }

    /// What each feature adds to the log odds: the change of the node's mean at every split on it (Saabas 2014), in proportion
    /// to how far the log odds of the mean have moved from those of the roots.
    pub(crate) fn contributions(&self, x: &[f64], out: &mut [f64]) {
        let roots = self.trees.iter().map(|t| t.value[0]).sum::<f64>() / self.trees.len() as f64;
        let moved = self.mean(x) - roots;
        // Where it has not moved at all, the parts cancel out, and the slope of the log odds there says what each is worth.
        let slope = if moved.abs() > 1e-9 {
            (self.log_odds(self.mean(x)) - self.log_odds(roots)) / moved
        } else {
            let p = roots.clamp(CERTAIN, 1.0 - CERTAIN);
            1.0 / (p * (1.0 - p))
        };
        for tree in &self.trees {
            let mut here = tree.value[0];
            tree.path(x, |feature, next| {
                out[feature] += slope * (tree.value[next] - here) / self.trees.len() as f64;
                here = tree.value[next];
            });
        }
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }
}

impl Tree {
    fn read(tree: &Value) -> Option<Self> {
        let mut out = Self::default();
        for (i, node) in tree["nodes"].as_array()?.iter().enumerate() {
            let child = |name: &str| node[name].as_u64().map_or(i as u32, |c| c as u32);
            out.feature.push(node["split_feature"].as_u64()? as u32);
            out.split.push(node["split_value"].as_f64().unwrap_or(f64::INFINITY));
            out.left.push(child("true_child"));
            out.right.push(child("false_child"));
            out.value.push(node["output"].as_f64()?);
        }
        (!out.feature.is_empty()).then_some(out)
    }

    /// The leaf of a row; `step` sees the feature of each split and the node that it leads to.
    fn path(&self, x: &[f64], mut step: impl FnMut(usize, usize)) -> usize {
        let mut node = 0;
        while self.left[node] as usize != node {
            let feature = self.feature[node] as usize;
            node = if x[feature] <= self.split[node] {
                self.left[node]
            } else {
                self.right[node]
            } as usize;
            step(feature, node);
        }
        node
    }

    /// Whether every child exists and lies behind its parent, so that a path ends.
    fn is_sound(&self, width: usize) -> bool {
        let n = self.feature.len();
        let same = [self.split.len(), self.left.len(), self.right.len(), self.value.len()]
            .iter()
            .all(|l| *l == n);
        same && n > 0
            && (0..n).all(|i| {
                let (left, right) = (self.left[i] as usize, self.right[i] as usize);
                let leaf = left == i;
                leaf || (left > i && right > i && left < n && right < n && (self.feature[i] as usize) < width)
            })
    }
}

impl Forest {
    pub(crate) fn is_sound(&self) -> bool {
        !self.trees.is_empty() && self.trees.iter().all(|t| t.is_sound(self.width))
    }
}

#[cfg(test)]
mod tests;
