use linfa::Dataset;
use linfa::traits::Predict;
use ndarray::Array2;
use rand::{Rng as _, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;
use crate::evaluate::pr_auc;

type Table = Dataset<f32, bool, Ix1>;

/// Rows of six features, some missing; the answer hangs on two of them together, and on whether a third was measured.
fn table(rows: usize, seed: u64) -> Table {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut records = Array2::from_shape_fn((rows, 6), |_| random.random::<f32>() * 4.0 - 2.0);
    let mut answers = Vec::with_capacity(rows);
    for mut row in records.rows_mut() {
        if random.random_range(0..4) == 0 {
            row[3] = f32::NAN;
        }
        let odds = f64::from(row[0] * row[1]) * 1.5 + if row[3].is_nan() { 1.5 } else { -1.5 };
        answers.push(random.random::<f64>() < sigmoid(odds));
    }
    Dataset::new(records, Array1::from(answers))
}

fn quality(model: &Boosting, table: &Table) -> f64 {
    let p: Array1<f64> = model.predict(table.records());
    pr_auc(&table.targets().to_vec(), &p.to_vec())
}

fn all_rows() -> BoostingParams {
    Boosting::params().rows_share(1.0).features_share(1.0)
}

#[test]
fn it_learns_what_no_single_feature_tells() {
    let (train, later) = (table(4_000, 1), table(4_000, 2));
    let model = all_rows().fit(&train).expect("a model");
    let base = later.targets().iter().filter(|y| **y).count() as f64 / 4_000.0;
    let best = {
        let odds: Vec<f64> = later
            .records()
            .rows()
            .into_iter()
            .map(|r| f64::from(r[0] * r[1]) * 1.5 + if r[3].is_nan() { 1.5 } else { -1.5 })
            .collect();
        pr_auc(&later.targets().to_vec(), &odds)
    };
    let got = quality(&model, &later);
    assert!(
        got > base + 0.85 * (best - base),
        "{got} of {best}, guessing gives {base}"
    );
}

#[test]
fn the_same_seed_gives_the_same_trees_whatever_the_threads_and_the_layout() {
    let train = table(3_000, 3);
    let params = Boosting::params().rounds(30).features_share(0.5);
    let one = params.fit(&train).expect("a model");
    let fit_with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("a pool");
        pool.install(|| params.fit(&train).expect("a model"))
    };
    assert_eq!(one, fit_with(1));
    assert_eq!(one, fit_with(3));
    let columns = Dataset::new(
        train.records().t().as_standard_layout().t().to_owned(),
        train.targets().clone(),
    );
    assert_eq!(one, params.fit(&columns).expect("a model"));
    assert_ne!(one, params.clone().seed(2).fit(&train).expect("a model"));
}

#[test]
fn a_reloaded_model_has_the_same_bits() {
    let train = table(1_000, 4);
    let model = Boosting::params().rounds(20).fit(&train).expect("a model");
    let json = serde_json::to_string(&model).expect("json");
    let again: Boosting = serde_json::from_str(&json).expect("a model");
    assert_eq!(model, again);
    let (a, b): (Array1<f64>, Array1<f64>) = (model.predict(train.records()), again.predict(train.records()));
    assert!(a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits()));
}

#[test]
fn contributions_add_up_to_the_log_odds() {
    let train = table(1_000, 5);
    let model = Boosting::params().rounds(25).fit(&train).expect("a model");
    let roots: f64 = model.trees.iter().map(|t| t.values[0]).sum();
    for row in train.records().rows() {
        let row = row.to_vec();
        let mut parts = vec![0.0; 6];
        model.add_contributions(&row, &mut parts);
        let sum = model.base + roots + parts.iter().sum::<f64>();
        assert!((sum - model.log_odds(&row)).abs() < 1e-9);
    }
}

#[test]
fn weights_count_as_rows_do() {
    let plain = table(1_500, 6);
    let mut twice = plain.records().clone();
    twice
        .append(ndarray::Axis(0), plain.records().view())
        .expect("the same columns");
    let answers: Array1<bool> = plain.targets().iter().chain(plain.targets()).copied().collect();
    let params = all_rows().rounds(10).leaf_rows_min(0.0);
    let doubled = params.fit(&Dataset::new(twice, answers)).expect("a model");
    let weighted = plain.clone().with_weights(Array1::from_elem(1_500, 2.0));
    let weighted = params.fit(&weighted).expect("a model");
    let (a, b): (Array1<f64>, Array1<f64>) = (doubled.predict(plain.records()), weighted.predict(plain.records()));
    let most = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(most < 1e-6, "{most}");
}

#[test]
fn it_stops_when_a_later_time_says_so() {
    let (train, later) = (table(400, 7), table(2_000, 8));
    let params = all_rows().rounds(400).learning_rate(0.3).l2(0.0).leaf_rows_min(1.0);
    let params = params.check().expect("sound");
    let stopped = params.fit_until(&train, &later, 20).expect("a model");
    assert!(stopped.rounds() < 380, "{} rounds", stopped.rounds());
    let full = params.fit(&train).expect("a model");
    assert_eq!(
        full.trees[..stopped.rounds()],
        stopped.trees[..],
        "the same trees, fewer of them"
    );
    let loss = |model: &Boosting| -> f64 {
        let p: Array1<f64> = model.predict(later.records());
        p.iter()
            .zip(later.targets())
            .map(|(p, y)| -(if *y { *p } else { 1.0 - p }).ln())
            .sum()
    };
    assert!(loss(&stopped) < loss(&full), "{} and {}", loss(&stopped), loss(&full));
}

#[test]
fn wrong_parameters_and_tables_are_refused_in_words() {
    let train = table(100, 9);
    let check = |params: BoostingParams, expected: &str| {
        assert_eq!(params.fit(&train).expect_err("wrong").to_string(), expected);
    };
    check(Boosting::params().bins(256), "bins is 256, expected 2 to 255");
    check(
        Boosting::params().learning_rate(0.0),
        "learning_rate is 0, expected above 0 and at most 1",
    );
    check(Boosting::params().l2(f64::NAN), "l2 is NaN, expected 0 or more");
    let one = Dataset::new(train.records().clone(), Array1::from_elem(100, true));
    let error = Boosting::params().fit(&one).expect_err("nothing to tell apart");
    assert_eq!(error.to_string(), "all 100 rows have the same answer");
    let none = Dataset::new(Array2::<f32>::zeros((0, 3)), Array1::from_elem(0, true));
    assert!(matches!(
        Boosting::params().fit(&none),
        Err(BoostingError::Empty { .. })
    ));
}

#[test]
fn constant_missing_and_infinite_features_do_no_harm() {
    let mut train = table(600, 10);
    train.records.column_mut(2).fill(1.0);
    train.records.column_mut(4).fill(f32::NAN);
    for (i, v) in train.records.column_mut(5).iter_mut().enumerate() {
        *v = if i % 3 == 0 { f32::INFINITY } else { f32::NEG_INFINITY };
    }
    let model = all_rows().rounds(30).fit(&train).expect("a model");
    assert!(model.is_sound());
    let p: Array1<f64> = model.predict(train.records());
    assert!(p.iter().all(|p| (0.0..=1.0).contains(p)));
}
