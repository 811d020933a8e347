use super::*;

/// Two features that go together, and one that is noise; the last row breaks the habit of each.
fn rows() -> Vec<Vec<f32>> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut rows: Vec<Vec<f32>> = (0..1_000)
        .map(|_| {
            let load = random.random::<f32>();
            vec![load, load * 2.0, random.random::<f32>()]
        })
        .collect();
    rows.push(vec![4.0, -3.0, 0.5]);
    rows
}

fn forest(seed: u64) -> (Isolation, Vec<Vec<f32>>) {
    let rows = rows();
    let views: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    (Isolation::fit(&views, &[0, 1, 2], seed).expect("a forest"), rows)
}

#[test]
fn what_stands_apart_is_isolated_by_few_cuts() {
    let (forest, rows) = forest(7);
    let scores: Vec<f64> = rows.iter().map(|r| forest.raw(r)).collect();
    let odd = scores[1_000];
    assert!(scores[..1_000].iter().all(|s| *s < odd));
    assert!(forest.is_sound());
}

#[test]
fn contributions_name_what_stands_apart_and_add_up() {
    let (forest, rows) = forest(7);
    let mut parts = vec![0.0; 3];
    forest.add_contributions(&rows[1_000], &mut parts);
    assert!(parts[0] + parts[1] > 5.0 * parts[2].abs(), "{parts:?}");
    let roots: f64 = forest.trees.iter().map(|t| t.values[0]).sum::<f64>() / TREES as f64;
    assert!((parts.iter().sum::<f64>() - roots - forest.raw(&rows[1_000])).abs() < 1e-9);
}

#[test]
fn the_same_seed_gives_the_same_forest_and_reloading_changes_no_bit() {
    let (a, rows) = forest(3);
    assert_eq!(a, forest(3).0);
    assert_ne!(a, forest(4).0);
    let again: Isolation = serde_json::from_str(&serde_json::to_string(&a).expect("json")).expect("a forest");
    for row in &rows {
        assert_eq!(a.raw(row).to_bits(), again.raw(row).to_bits());
    }
}

#[test]
fn a_missing_value_counts_as_an_ordinary_one() {
    let rows = rows();
    let views: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    let forest = Isolation::fit(&views, &[0, 1, 2], 1).expect("a forest");
    assert_eq!(
        forest.raw(&[f32::NAN, 0.4, 0.3]).to_bits(),
        forest.raw(&[0.0, 0.4, 0.3]).to_bits()
    );
}

#[test]
fn features_that_never_change_end_in_a_leaf() {
    let row = [1.0_f32, 1.0];
    let rows: Vec<&[f32]> = vec![&row; 600];
    let forest = Isolation::fit(&rows, &[0, 1], 1).expect("a forest");
    assert!(forest.trees.iter().all(|t| t.nodes.len() == 1));
    assert!(Isolation::fit(&rows, &[], 1).is_err());
}
