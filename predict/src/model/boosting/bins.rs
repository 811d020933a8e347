//! Features to bins: a byte for each value.

use linfa::Float;
use ndarray::{ArrayBase, Data, Ix2};
use rayon::prelude::*;

/// Rows that the edges are taken from; more change edges by less than a bin.
const SAMPLE: usize = 16_384;

/// Every feature cut into bins of about the same number of rows.
pub(crate) struct Bins {
    /// Bin of each row, feature by feature.
    columns: Vec<u8>,
    pub(crate) rows: usize,
    /// Upper edges of the bins of each feature, ascending; the last one is infinite, so that a split can tell what was
    /// measured from what was not.
    pub(crate) edges: Vec<Vec<f32>>,
    /// Bins of a histogram: one more than the largest number of a feature's, for missing values.
    pub(crate) width: usize,
}

impl Bins {
    pub(crate) fn new<F: Float, D: Data<Elem = F>>(records: &ArrayBase<D, Ix2>, most: usize) -> Self {
        let (rows, features) = records.dim();
        let step = rows.div_ceil(SAMPLE).max(1);
        // Columns of their own, whatever the layout of the records, a few features at a time.
        let view = records.view();
        let cut: Vec<(Vec<f32>, Vec<u8>)> = (0..features)
            .map(|f| {
                view.column(f)
                    .iter()
                    .map(|v| v.to_f32().unwrap_or(f32::NAN))
                    .collect::<Vec<f32>>()
            })
            .collect::<Vec<_>>()
            .into_par_iter()
            .map(|values| {
                let edges = edges(
                    values.iter().step_by(step).copied().filter(|v| !v.is_nan()).collect(),
                    most,
                );
                let column = values.iter().map(|v| bin_of(*v, &edges, most as u8)).collect();
                (edges, column)
            })
            .collect();
        let (edges, columns): (Vec<_>, Vec<_>) = cut.into_iter().unzip();
        Self {
            columns: columns.concat(),
            rows,
            edges,
            width: most + 1,
        }
    }

    /// The bins of one feature, a row each; the last one holds missing values.
    pub(crate) fn column(&self, feature: usize) -> &[u8] {
        &self.columns[feature * self.rows..(feature + 1) * self.rows]
    }

    pub(crate) fn features(&self) -> usize {
        self.edges.len()
    }

    /// The bin of missing values.
    pub(crate) fn missing(&self) -> u8 {
        (self.width - 1) as u8
    }
}

/// Halfway between neighbours, so that values seen later fall where they belong.
fn edges(mut values: Vec<f32>, most: usize) -> Vec<f32> {
    values.sort_unstable_by(f32::total_cmp);
    let mut distinct = values.clone();
    distinct.dedup();
    let between = |a: f32, b: f32| {
        let middle = a + (b - a) * 0.5;
        // Rounding can reach the upper one, which must stay above the edge; infinities have no middle.
        if middle < b && middle >= a { middle } else { a }
    };
    if distinct.len() <= most {
        return distinct
            .windows(2)
            .map(|w| between(w[0], w[1]))
            .chain([f32::INFINITY])
            .collect();
    }
    let mut edges = Vec::with_capacity(most);
    for k in 1..most {
        let at = k * values.len() / most;
        let above = values[at];
        let below = values[..at].partition_point(|v| *v < above);
        // Equal values never fall apart: the edge lies below the run that `above` belongs to.
        if let Some(below) = below.checked_sub(1).map(|i| values[i]) {
            let edge = between(below, above);
            if edges.last().is_none_or(|last| *last < edge) {
                edges.push(edge);
            }
        }
    }
    edges.push(f32::INFINITY);
    edges
}

fn bin_of(value: f32, edges: &[f32], missing: u8) -> u8 {
    if value.is_nan() {
        return missing;
    }
    // Without branches: a search that guesses wrong every other time costs more than the comparisons.
    let (mut base, mut size) = (0, edges.len());
    while size > 1 {
        let half = size / 2;
        base += usize::from(edges[base + half - 1] < value) * half;
        size -= half;
    }
    if size == 1 {
        base += usize::from(edges[base] < value);
    }
    base as u8
}
