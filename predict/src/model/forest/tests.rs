use smartcore::ensemble::extra_trees_regressor::{ExtraTreesRegressor, ExtraTreesRegressorParameters};
use smartcore::linalg::basic::matrix::DenseMatrix;

use super::*;

fn columns(rows: &[f64]) -> Vec<f64> {
    (0..5).flat_map(|j| rows.chunks(5).map(move |r| r[j])).collect()
}

fn table() -> (Vec<f64>, Vec<bool>) {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as f64 / (1_u64 << 31) as f64 - 0.5
    };
    let rows: Vec<f64> = (0..400 * 5).map(|_| next()).collect();
    let answers = rows.chunks(5).map(|r| r[0] + 0.3 * r[3] > 0.2).collect();
    (rows, answers)
}

#[test]
fn the_flat_forest_predicts_what_smartcore_predicts() {
    let (rows, answers) = table();
    let size = ForestSize {
        trees: 12,
        depth: 6,
        leaf: 5,
    };
    let ours = Forest::fit(&columns(&rows), 5, &answers, size, 0.0, 7).expect("forest");
    let x = DenseMatrix::new(400, 5, columns(&rows), true).expect("matrix");
    let y: Vec<f64> = answers.iter().map(|a| f64::from(u8::from(*a))).collect();
    let parameters = ExtraTreesRegressorParameters::default()
        .with_n_trees(12)
        .with_max_depth(6)
        .with_min_samples_leaf(5)
        .with_min_samples_split(10)
        .with_m(4)
        .with_seed(7);
    let theirs = ExtraTreesRegressor::fit(&x, &y, parameters)
        .expect("fit")
        .predict(&x)
        .expect("predict");
    for (row, expected) in rows.chunks(5).zip(theirs) {
        assert!((ours.mean(row) - expected).abs() < 1e-12);
    }
    assert!(ours.is_sound());
}

#[test]
fn contributions_add_up_to_the_log_odds() {
    let (rows, answers) = table();
    let forest = Forest::fit(
        &columns(&rows),
        5,
        &answers,
        ForestSize {
            trees: 9,
            depth: 5,
            leaf: 5,
        },
        0.0,
        1,
    )
    .expect("forest");
    let root: f64 = forest.trees.iter().map(|t| t.value[0]).sum::<f64>() / 9.0;
    for row in rows.chunks(5) {
        let mut parts = vec![0.0; 5];
        forest.contributions(row, &mut parts);
        let said = forest.raw(row);
        assert!(
            (forest.log_odds(root) + parts.iter().sum::<f64>() - said).abs() < 1e-9 * (1.0 + said.abs()),
            "{said}"
        );
    }
}

#[test]
fn a_tree_that_runs_in_circles_is_refused() {
    let (rows, answers) = table();
    let mut forest = Forest::fit(
        &columns(&rows),
        5,
        &answers,
        ForestSize {
            trees: 2,
            depth: 5,
            leaf: 5,
        },
        0.0,
        1,
    )
    .expect("forest");
    forest.trees[0].left[1] = 0;
    assert!(!forest.is_sound() || forest.trees[0].left[1] as usize == 1);
}
