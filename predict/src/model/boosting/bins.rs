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

/// Edges halfway between neighbours, so that values seen later fall where they belong.
///
/// A value that fills a bin has one of its own, and what is left of the bins is shared among the other values: a counter that
/// mostly stands still spends one bin on that and all others on what it does when it moves (as in Ke et al. 2017).
fn edges(mut values: Vec<f32>, most: usize) -> Vec<f32> {
    values.sort_unstable_by(f32::total_cmp);
    let mut distinct: Vec<(f32, usize)> = Vec::new();
    for value in &values {
        match distinct.last_mut() {
            Some((last, count)) if last == value => *count += 1,
            _ => distinct.push((*value, 1)),
        }
    }
    let between = |a: f32, b: f32| {
        let middle = a + (b - a) * 0.5;
        // Rounding can reach the upper one, which must stay above the edge; infinities have no middle.
        if middle < b && middle >= a { middle } else { a }
    };
    let fills = |count: usize| count * most >= values.len();
    let (full, in_full) = distinct
        .iter()
        .filter(|d| fills(d.1))
        .fold((0, 0), |(n, rows), d| (n + 1, rows + d.1));
    let mean = (values.len() - in_full) as f64 / (most - full).max(1) as f64;
    let mut edges = Vec::with_capacity(most);
    let mut here = 0;
    for pair in distinct.windows(2) {
        let ((value, count), (next, next_count)) = (pair[0], pair[1]);
        here += count;
        let ends = distinct.len() <= most
            || fills(count)
            || here as f64 >= mean
            || (fills(next_count) && here as f64 >= 0.5 * mean);
        if ends && edges.len() + 1 < most {
            edges.push(between(value, next));
            here = 0;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_fills_a_bin_leaves_the_others_to_the_rest() {
        let mut values = vec![0.0; 9_000];
        values.extend((0..1_000).map(|i| 1.0 + i as f32));
        let edges = edges(values, 63);
        assert!((58..=63).contains(&edges.len()), "{}", edges.len());
        assert_eq!(edges[0], 0.5);
        let within = edges[1..edges.len() - 1].windows(2).map(|w| w[1] - w[0]);
        assert!(within.clone().all(|w| (10.0..25.0).contains(&w)), "{edges:?}");
    }

    #[test]
    fn bins_are_found_as_by_counting() {
        for most in [2, 3, 63, 255] {
            let values: Vec<f32> = (0..3_000)
                .map(|i| ((i * 7_919) % 1_009) as f32 * 0.25 - 100.0)
                .collect();
            let edges = edges(values.clone(), most);
            assert!(
                edges.len() <= most && edges.windows(2).all(|w| w[0] < w[1]),
                "{edges:?}"
            );
            for value in values.iter().chain(&[f32::NEG_INFINITY, f32::INFINITY, 0.1]) {
                let counted = edges.iter().filter(|e| *e < value).count();
                assert_eq!(usize::from(bin_of(*value, &edges, most as u8)), counted);
            }
            assert_eq!(bin_of(f32::NAN, &edges, most as u8), most as u8);
        }
        assert_eq!(edges(vec![2.0, 1.0, 2.0], 63), [1.5, f32::INFINITY]);
        assert_eq!(edges(Vec::new(), 63), [f32::INFINITY]);
    }
}
