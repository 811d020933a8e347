//! Binary trees in flat arrays, over features as they were measured: missing values have a way of their own at each split.

use serde::{Deserialize, Serialize};

use crate::bits;

/// One node; a leaf's children are itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) feature: u32,
    /// Rows with a value up to here go left.
    pub(crate) split: f32,
    pub(crate) left: u32,
    pub(crate) right: u32,
    /// Where rows without a value go.
    pub(crate) missing_left: bool,
}

/// A tree with a value for each node: a leaf's is what it predicts, an inner node's what it would predict as a leaf.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    pub(crate) values: Vec<f64>,
}

impl Tree {
    /// Adds a leaf and answers its position.
    pub(crate) fn leaf(&mut self, value: f64) -> u32 {
        let here = self.nodes.len() as u32;
        self.nodes.push(Node {
            feature: 0,
            split: 0.0,
            left: here,
            right: here,
            missing_left: false,
        });
        self.values.push(value);
        here
    }

    /// The leaf of a row; `step` sees the feature of each split and the node that it leads to.
    pub(crate) fn path(&self, row: &[f32], mut step: impl FnMut(usize, usize)) -> usize {
        let mut here = 0;
        loop {
            let node = &self.nodes[here];
            let value = row[node.feature as usize];
            // A NaN compares false.
            let goes_left = value <= node.split || (node.missing_left && value.is_nan());
            let next = if goes_left { node.left } else { node.right } as usize;
            if next == here {
                return here;
            }
            step(node.feature as usize, next);
            here = next;
        }
    }

    /// What it predicts for a row.
    pub(crate) fn value(&self, row: &[f32]) -> f64 {
        self.values[self.path(row, |_, _| ())]
    }

    /// Adds to `out` what each split on the way changed (Saabas 2014).
    pub(crate) fn add_contributions(&self, row: &[f32], out: &mut [f64]) {
        let mut here = self.values[0];
        self.path(row, |feature, next| {
            out[feature] += self.values[next] - here;
            here = self.values[next];
        });
    }

    /// Whether every child exists and lies behind its parent, so that a path ends, and every feature exists.
    pub(crate) fn is_sound(&self, width: usize) -> bool {
        let n = self.nodes.len();
        n > 0
            && self.values.len() == n
            && self.nodes.iter().enumerate().all(|(i, node)| {
                let (left, right) = (node.left as usize, node.right as usize);
                let leaf = left == i && right == i;
                (node.feature as usize) < width && (leaf || (left > i && right > i && left < n && right < n))
            })
    }
}

/// The same, column by column, with every bit of its numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Saved {
    feature: Vec<u32>,
    #[serde(with = "bits")]
    split: Vec<f64>,
    left: Vec<u32>,
    right: Vec<u32>,
    missing_left: Vec<bool>,
    #[serde(with = "bits")]
    value: Vec<f64>,
}

impl From<Tree> for Saved {
    fn from(tree: Tree) -> Self {
        let nodes = &tree.nodes;
        Self {
            feature: nodes.iter().map(|n| n.feature).collect(),
            split: nodes.iter().map(|n| f64::from(n.split)).collect(),
            left: nodes.iter().map(|n| n.left).collect(),
            right: nodes.iter().map(|n| n.right).collect(),
            missing_left: nodes.iter().map(|n| n.missing_left).collect(),
            value: tree.values,
        }
    }
}

impl TryFrom<Saved> for Tree {
    type Error = &'static str;

    fn try_from(saved: Saved) -> Result<Self, Self::Error> {
        let n = saved.feature.len();
        let lengths = [
            saved.split.len(),
            saved.left.len(),
            saved.right.len(),
            saved.missing_left.len(),
            saved.value.len(),
        ];
        if lengths.iter().any(|l| *l != n) {
            return Err("the columns of a tree differ in length");
        }
        let nodes = (0..n)
            .map(|i| Node {
                feature: saved.feature[i],
                split: saved.split[i] as f32,
                left: saved.left[i],
                right: saved.right[i],
                missing_left: saved.missing_left[i],
            })
            .collect();
        Ok(Self {
            nodes,
            values: saved.value,
        })
    }
}
