//! Isolation forest (Liu, Ting, Zhou 2008): how few random cuts set a row apart from the others. Needs no incidents.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use super::tree::{Node, Tree};

/// Trees: more change scores by less than the samples do.
const TREES: usize = 150;
/// Rows that each tree sees.
const SAMPLE: usize = 512;
/// Cuts until a row counts as ordinary: the average depth of a search tree of [`SAMPLE`] rows.
const DEPTH_MAX: usize = 9;

/// A fitted forest over some of the features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Isolation {
    trees: Vec<Tree>,
    width: usize,
}

impl Isolation {
    /// Grows a forest on `rows`, each with its features, cut only at those named in `features`; missing values count as
    /// ordinary ones, 0.
    ///
    /// # Errors
    /// Says what is missing.
    pub(crate) fn fit(rows: &[&[f32]], features: &[usize], seed: u64) -> Result<Self, String> {
        let width = rows.first().map_or(0, |r| r.len());
        if features.is_empty() || rows.len() < 2 {
            return Err(format!(
                "{} rows of {} features are too few",
                rows.len(),
                features.len()
            ));
        }
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut order: Vec<usize> = (0..rows.len()).collect();
        let trees = (0..TREES)
            .map(|_| {
                let (picked, _) = order.partial_shuffle(&mut random, SAMPLE);
                let mut tree = Tree::default();
                grow(&mut tree, rows, picked, features, 0, &mut random);
                tree
            })
            .collect();
        Ok(Self { trees, width })
    }

    /// The mean number of cuts until a row stands alone, negative: higher is more unusual.
    pub(crate) fn raw(&self, row: &[f32]) -> f64 {
        -self.trees.iter().map(|t| t.value(row)).sum::<f64>() / self.trees.len() as f64
    }

    /// What each feature adds to [`Self::raw`].
    pub(crate) fn add_contributions(&self, row: &[f32], out: &mut [f64]) {
        let mut sums = vec![0.0; out.len()];
        for tree in &self.trees {
            tree.add_contributions(row, &mut sums);
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out -= sum / self.trees.len() as f64;
        }
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn is_sound(&self) -> bool {
        !self.trees.is_empty() && self.trees.iter().all(|t| t.is_sound(self.width))
    }
}

/// Cuts `picked` at random until every row stands alone; answers the node.
fn grow(
    tree: &mut Tree,
    rows: &[&[f32]],
    picked: &mut [usize],
    features: &[usize],
    depth: usize,
    random: &mut Xoshiro256PlusPlus,
) -> u32 {
    let here = tree.leaf(depth as f64 + rest(picked.len()));
    if picked.len() <= 1 || depth >= DEPTH_MAX {
        return here;
    }
    let value = |row: usize, feature: usize| {
        if rows[row][feature].is_nan() {
            0.0
        } else {
            rows[row][feature]
        }
    };
    // A feature that is the same in all of them cuts nothing off; a few tries find another one.
    let cut = (0..8).find_map(|_| {
        let feature = features[random.random_range(0..features.len())];
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        for row in picked.iter() {
            low = low.min(value(*row, feature));
            high = high.max(value(*row, feature));
        }
        (high > low && high.is_finite() && low.is_finite()).then(|| {
            let split = low + (high - low) * random.random::<f32>();
            // Rounding up to the largest would leave the right side empty.
            (feature, if split < high { split } else { low })
        })
    });
    let Some((feature, split)) = cut else { return here };
    let (mut left, mut right): (Vec<usize>, Vec<usize>) = picked.iter().partition(|row| value(**row, feature) <= split);
    let node_left = grow(tree, rows, &mut left, features, depth + 1, random);
    let node_right = grow(tree, rows, &mut right, features, depth + 1, random);
    tree.nodes[here as usize] = Node {
        feature: feature as u32,
        split,
        left: node_left,
        right: node_right,
        missing_left: split >= 0.0,
    };
    here
}

/// Average number of cuts that `n` rows would still need: the depth of an unsuccessful search in a binary tree of them.
fn rest(n: usize) -> f64 {
    const EULER: f64 = 0.577_215_664_901_532_9;
    match n {
        0 | 1 => 0.0,
        2 => 1.0,
        n => {
            let n = n as f64;
            2.0 * ((n - 1.0).ln() + EULER) - 2.0 * (n - 1.0) / n
        }
    }
}

#[cfg(test)]
mod tests;
