//! One tree: gradients, histograms, and splits where they gain most.

use rand::seq::SliceRandom;
use rand::{RngCore, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;

use super::BoostingValidParams;
use super::bins::Bins;
use crate::calibration::sigmoid;
use crate::model::tree::{Node, Tree};

pub(crate) struct Rng(Xoshiro256PlusPlus);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// A share of `0..n`, ascending; at least one.
    fn some(&mut self, n: usize, share: f64) -> Vec<u32> {
        let count = ((n as f64 * share).round() as usize).clamp(1, n);
        let mut all: Vec<u32> = (0..n as u32).collect();
        if count == n {
            return all;
        }
        // What was drawn does not stand in front: only the slice that comes back says where it is.
        let (drawn, _) = all.partial_shuffle(&mut self.0, count);
        let mut drawn = drawn.to_vec();
        drawn.sort_unstable();
        drawn
    }

    /// Marks a share of `n` rows.
    fn mark(&mut self, n: usize, share: f64) -> Vec<bool> {
        let limit = (share * u64::MAX as f64) as u64;
        (0..n).map(|_| share >= 1.0 || self.0.next_u64() <= limit).collect()
    }
}

/// Gradient and hessian of a row or of many, as whole numbers: the gradient in the upper half, the hessian in the lower.
///
/// Sums of up to [`SUM_MAX`] in each half never reach into the other one, so one addition adds both.
type Pair = i64;

const SUM_MAX: f64 = (1_u64 << 31) as f64 - 1.0;
/// Finer steps than these change no split.
const STEPS_MAX: f64 = 65_535.0;

fn pack(gradient: f64, hessian: f64) -> Pair {
    ((gradient.round() as i64) << 32) + hessian.round() as i64
}

fn gradient(pair: Pair) -> f64 {
    (pair >> 32) as f64
}

fn hessian(pair: Pair) -> f64 {
    (pair & 0xFFFF_FFFF) as f64
}

/// What a split would bring.
#[derive(Clone, Copy, Debug)]
struct Split {
    gain: f64,
    /// Position among the features of this tree.
    slot: usize,
    /// Bins up to here go left.
    bin: usize,
    missing_left: bool,
}

impl Split {
    /// The better one; of equals the one with the smaller position, whatever thread found it.
    fn better(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(x), Some(y)) if y.gain > x.gain || (y.gain == x.gain && y.slot < x.slot) => b,
            (None, _) => b,
            _ => a,
        }
    }
}

/// A leaf that may be split: its node, its rows, and its histograms.
struct Leaf {
    node: u32,
    depth: usize,
    /// Where its rows lie: those that the tree learns from, and those that it only predicts.
    seen: std::ops::Range<usize>,
    unseen: std::ops::Range<usize>,
    sum: Pair,
    histograms: Vec<Pair>,
    split: Option<Split>,
}

/// Below this many additions a histogram is summed by one thread: waking another costs more.
const PARALLEL_MIN: usize = 1 << 16;

pub(crate) struct Grower<'a> {
    params: &'a BoostingValidParams,
    bins: &'a Bins,
    answers: &'a [bool],
    weights: Option<&'a [f32]>,
    /// Histograms that no leaf needs any more.
    spare: Vec<Vec<Pair>>,
    pairs: Vec<Pair>,
    exact: Vec<(f64, f64)>,
}

impl<'a> Grower<'a> {
    pub(crate) fn new(
        params: &'a BoostingValidParams,
        bins: &'a Bins,
        answers: &'a [bool],
        weights: Option<&'a [f32]>,
    ) -> Self {
        Self {
            params,
            bins,
            answers,
            weights,
            spare: Vec::new(),
            pairs: vec![0; bins.rows],
            exact: vec![(0.0, 0.0); bins.rows],
        }
    }

    /// Grows the next tree and adds what it predicts to `scores`, the log odds of every row.
    pub(crate) fn tree(&mut self, scores: &mut [f64], random: &mut Rng) -> Tree {
        let (unit_g, unit_h) = self.gradients(scores);
        let marked = random.mark(self.bins.rows, self.params.rows_share);
        let features = random.some(self.bins.features(), self.params.features_share);
        let (mut seen, mut unseen): (Vec<u32>, Vec<u32>) =
            (0..self.bins.rows as u32).partition(|i| marked[*i as usize]);
        let mut tree = Tree::default();
        let value = |pair: Pair| {
            -self.params.learning_rate * gradient(pair) * unit_g / (hessian(pair) * unit_h + self.params.l2)
        };

        let sum = seen.iter().map(|i| self.pairs[*i as usize]).sum();
        let mut root = Leaf {
            node: tree.leaf(value(sum)),
            depth: 0,
            seen: 0..seen.len(),
            unseen: 0..unseen.len(),
            sum,
            histograms: self.histograms(features.len()),
            split: None,
        };
        let search = Search {
            params: self.params,
            bins: self.bins,
            features: &features,
            unit_g,
            unit_h,
        };
        root.split = search
            .fill(&mut root.histograms, None, &seen, &self.pairs, sum, (seen.len(), 0))
            .0;
        let mut leaves = vec![root];
        while leaves.len() < self.params.leaves {
            // The best leaf next; of equals the older one.
            let Some((at, split)) = leaves
                .iter()
                .enumerate()
                .filter_map(|(i, l)| l.split.map(|s| (i, s)))
                .reduce(|a, b| if b.1.gain > a.1.gain { b } else { a })
            else {
                break;
            };
            let parent = leaves.remove(at);
            let feature = features[split.slot] as usize;
            let column = self.bins.column(feature);
            let missing = self.bins.missing();
            let left = |i: u32| {
                let bin = column[i as usize];
                if bin == missing {
                    split.missing_left
                } else {
                    usize::from(bin) <= split.bin
                }
            };
            let mid = parent.seen.start + partition(&mut seen[parent.seen.clone()], left);
            let mid_unseen = parent.unseen.start + partition(&mut unseen[parent.unseen.clone()], left);
            let (rows_left, rows_right) = (parent.seen.start..mid, mid..parent.seen.end);
            let left_is_small = rows_left.len() <= rows_right.len();
            let small = if left_is_small {
                rows_left.clone()
            } else {
                rows_right.clone()
            };
            let small_sum: Pair = seen[small.clone()].iter().map(|i| self.pairs[*i as usize]).sum();
            let large_sum = parent.sum - small_sum;

            let mut small_histograms = self.histograms(features.len());
            let mut large_histograms = parent.histograms;
            let depth = parent.depth + 1;
            let last = leaves.len() + 2 >= self.params.leaves || depth >= self.params.depth_max;
            let (small_split, large_split) = if last && leaves.len() + 2 >= self.params.leaves {
                // No leaf will be split any more.
                (None, None)
            } else {
                let rows_of_large = parent.seen.len() - small.len();
                search.fill(
                    &mut small_histograms,
                    Some((&mut large_histograms, large_sum)),
                    &seen[small.clone()],
                    &self.pairs,
                    small_sum,
                    (small.len(), rows_of_large),
                )
            };
            let deeper = depth < self.params.depth_max;
            let node = parent.node as usize;
            let (sum_left, sum_right) = if left_is_small {
                (small_sum, large_sum)
            } else {
                (large_sum, small_sum)
            };
            let (node_left, node_right) = (tree.leaf(value(sum_left)), tree.leaf(value(sum_right)));
            tree.nodes[node] = Node {
                feature: feature as u32,
                split: self.bins.edges[feature][split.bin],
                left: node_left,
                right: node_right,
                missing_left: split.missing_left,
            };
            let (h_left, h_right, s_left, s_right) = if left_is_small {
                (small_histograms, large_histograms, small_split, large_split)
            } else {
                (large_histograms, small_histograms, large_split, small_split)
            };
            leaves.push(Leaf {
                node: node_left,
                depth,
                seen: rows_left,
                unseen: parent.unseen.start..mid_unseen,
                sum: sum_left,
                histograms: h_left,
                split: s_left.filter(|_| deeper),
            });
            leaves.push(Leaf {
                node: node_right,
                depth,
                seen: rows_right,
                unseen: mid_unseen..parent.unseen.end,
                sum: sum_right,
                histograms: h_right,
                split: s_right.filter(|_| deeper),
            });
        }
        for leaf in leaves {
            // What a leaf predicts comes from the gradients as they are; rounding has only chosen the splits.
            let (mut g, mut h) = (0.0, 0.0);
            for i in &seen[leaf.seen.clone()] {
                let (gi, hi) = self.exact[*i as usize];
                g += gi;
                h += hi;
            }
            let value = -self.params.learning_rate * g / (h + self.params.l2).max(1e-12);
            tree.values[leaf.node as usize] = value;
            for i in seen[leaf.seen].iter().chain(&unseen[leaf.unseen]) {
                scores[*i as usize] += value;
            }
            self.spare.push(leaf.histograms);
        }
        tree
    }

    /// Gradients and hessians of the log loss at `scores`; answers what one whole number stands for in each.
    fn gradients(&mut self, scores: &[f64]) -> (f64, f64) {
        let (mut most_g, mut most_h) = (1e-12_f64, 1e-12_f64);
        for (i, (exact, score)) in self.exact.iter_mut().zip(scores).enumerate() {
            let weight = self.weights.map_or(1.0, |w| f64::from(w[i]));
            let p = sigmoid(*score);
            let g = weight * (p - f64::from(u8::from(self.answers[i])));
            let h = weight * p * (1.0 - p);
            *exact = (g, h);
            most_g = most_g.max(g.abs());
            most_h = most_h.max(h);
        }
        let steps = STEPS_MAX.min((SUM_MAX / scores.len() as f64).floor()).max(1.0);
        let (unit_g, unit_h) = (most_g / steps, most_h / steps);
        for (pair, (g, h)) in self.pairs.iter_mut().zip(&self.exact) {
            *pair = pack(g / unit_g, h / unit_h);
        }
        (unit_g, unit_h)
    }

    fn histograms(&mut self, features: usize) -> Vec<Pair> {
        let mut histograms = self.spare.pop().unwrap_or_default();
        histograms.clear();
        histograms.resize(features * self.bins.width, 0);
        histograms
    }
}

/// Brings the rows that go left to the front, both sides in their order; answers how many those are.
fn partition(rows: &mut [u32], goes_left: impl Fn(u32) -> bool) -> usize {
    let mut right = Vec::with_capacity(rows.len());
    let mut left = 0;
    for i in 0..rows.len() {
        let row = rows[i];
        if goes_left(row) {
            rows[left] = row;
            left += 1;
        } else {
            right.push(row);
        }
    }
    rows[left..].copy_from_slice(&right);
    left
}

/// Finds splits in histograms.
struct Search<'a> {
    params: &'a BoostingValidParams,
    bins: &'a Bins,
    features: &'a [u32],
    unit_g: f64,
    unit_h: f64,
}

impl Search<'_> {
    /// Sums the histograms of `rows`, takes them from those of the leaf that they were a part of (`sibling`, with the sum
    /// that remains), and answers the best split of both. `counts` are the rows of both.
    fn fill(
        &self,
        histograms: &mut [Pair],
        sibling: Option<(&mut [Pair], Pair)>,
        rows: &[u32],
        pairs: &[Pair],
        sum: Pair,
        counts: (usize, usize),
    ) -> (Option<Split>, Option<Split>) {
        let width = self.bins.width;
        // In the order of rows, so that each feature reads them one after the other.
        let ordered: Vec<Pair> = rows.iter().map(|i| pairs[*i as usize]).collect();
        let whole = rows.len() == self.bins.rows;
        let one = |slot: usize, own: &mut [Pair], other: Option<(&mut [Pair], Pair)>| {
            let column = self.bins.column(self.features[slot] as usize);
            if whole {
                for (bin, pair) in column.iter().zip(&ordered) {
                    own[usize::from(*bin)] += pair;
                }
            } else {
                for (i, pair) in rows.iter().zip(&ordered) {
                    own[usize::from(column[*i as usize])] += pair;
                }
            }
            let found = self.best(slot, own, sum, counts.0);
            let found_other = other.and_then(|(other, other_sum)| {
                for (o, v) in other.iter_mut().zip(own.iter()) {
                    *o -= v;
                }
                self.best(slot, other, other_sum, counts.1)
            });
            (found, found_other)
        };
        let pick = |a: (Option<Split>, Option<Split>), b: (Option<Split>, Option<Split>)| {
            (Split::better(a.0, b.0), Split::better(a.1, b.1))
        };
        let parallel = rows.len() * self.features.len() >= PARALLEL_MIN;
        match sibling {
            Some((other, other_sum)) if parallel => histograms
                .par_chunks_mut(width)
                .zip(other.par_chunks_mut(width))
                .enumerate()
                .map(|(slot, (own, other))| one(slot, own, Some((other, other_sum))))
                .reduce(|| (None, None), pick),
            Some((other, other_sum)) => histograms
                .chunks_mut(width)
                .zip(other.chunks_mut(width))
                .enumerate()
                .map(|(slot, (own, other))| one(slot, own, Some((other, other_sum))))
                .fold((None, None), pick),
            None if parallel => histograms
                .par_chunks_mut(width)
                .enumerate()
                .map(|(slot, own)| one(slot, own, None))
                .reduce(|| (None, None), pick),
            None => histograms
                .chunks_mut(width)
                .enumerate()
                .map(|(slot, own)| one(slot, own, None))
                .fold((None, None), pick),
        }
    }

    /// The best split of one feature within a leaf.
    fn best(&self, slot: usize, histogram: &[Pair], sum: Pair, rows: usize) -> Option<Split> {
        let p = self.params;
        let edges = self.bins.edges[self.features[slot] as usize].len();
        let missing = histogram[self.bins.width - 1];
        if edges <= 1 && missing == 0 {
            return None;
        }
        let term = |pair: Pair| {
            let (g, h) = (gradient(pair) * self.unit_g, hessian(pair) * self.unit_h);
            g * g / (h + p.l2).max(1e-12)
        };
        let all = hessian(sum);
        // Rows are not counted bin by bin: a side's share of the hessian stands for its share of the rows.
        let least = (p.leaf_rows_min * all / rows.max(1) as f64).max(p.leaf_hessian_min / self.unit_h);
        let before = term(sum);
        let mut best: Option<Split> = None;
        let mut left: Pair = 0;
        for (bin, here) in histogram[..edges].iter().enumerate() {
            left += here;
            if *here == 0 && bin > 0 && missing == 0 {
                continue;
            }
            // Missing values go to each side in turn; without any, to the larger one.
            let sides: &[bool] = if missing == 0 { &[false] } else { &[false, true] };
            for missing_left in sides {
                let l = if *missing_left { left + missing } else { left };
                let r = sum - l;
                let (h_left, h_right) = (hessian(l), hessian(r));
                if h_left < least || h_right < least {
                    continue;
                }
                let gain = term(l) + term(r) - before;
                if gain > best.map_or(1e-9, |b| b.gain) {
                    let missing_left = if missing == 0 { h_left >= h_right } else { *missing_left };
                    best = Some(Split {
                        gain,
                        slot,
                        bin,
                        missing_left,
                    });
                }
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn every_feature_has_its_turn() {
        let mut random = Rng::new(1);
        let mut times = [0; 40];
        for _ in 0..400 {
            let drawn = random.some(40, 0.25);
            assert_eq!(drawn.len(), 10);
            assert!(drawn.windows(2).all(|w| w[0] < w[1]));
            drawn.iter().for_each(|i| times[*i as usize] += 1);
        }
        // 100 expected, deviation 8.7.
        assert!(times.iter().all(|t| (60..140).contains(t)), "{times:?}");
        assert_eq!(random.some(3, 1.0), [0, 1, 2]);
    }
}
