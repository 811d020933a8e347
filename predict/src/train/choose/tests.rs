use rand::Rng as _;

use super::*;

#[test]
fn the_curve_with_whole_weights_is_average_precision() {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let rows: Vec<(f64, Option<u32>)> = (0..2_000)
        .map(|_| {
            // Coarse scores, so that many are equal.
            let cluster = (random.random_range(0..20) == 0).then(|| random.random_range(0..5_u32));
            let score = f64::from(random.random_range(0..50_u32)) + if cluster.is_some() { 10.0 } else { 0.0 };
            (score, cluster)
        })
        .collect();
    let (y, p): (Vec<bool>, Vec<f64>) = rows.iter().map(|r| (r.1.is_some(), r.0)).unzip();
    let curve = Curve::new(rows.clone());
    assert!((curve.area(&[1.0; 5]) - pr_auc(&y, &p)).abs() < 1e-12);

    // A cluster that counts twice is one whose rows are there twice; one that does not count is not there.
    let weights = [2.0, 0.0, 1.0, 1.0, 1.0];
    let (y, p): (Vec<bool>, Vec<f64>) = rows
        .iter()
        .flat_map(|r| {
            let times = r.1.map_or(1, |c| weights[c as usize] as usize);
            std::iter::repeat_n((r.1.is_some(), r.0), times)
        })
        .unzip();
    assert!((curve.area(&weights) - pr_auc(&y, &p)).abs() < 1e-12);
    assert_eq!(Curve::new(vec![(1.0, None)]).area(&[1.0]), 0.0);
}

/// A family that wins so many draws of ranking, and so many of warning, against one that has 1.0 in each.
fn winner(ranks: usize, warns: usize) -> Drawn {
    let of = |wins: usize| (0..DRAWS).map(|i| if i < wins { 2.0 } else { 0.0 }).collect();
    Drawn {
        areas: of(ranks),
        warned: of(warns),
    }
}

#[test]
fn the_lead_is_taken_by_one_measure_and_not_at_the_cost_of_the_other() {
    let leads = Drawn {
        areas: vec![1.0; DRAWS],
        warned: vec![1.0; DRAWS],
    };
    assert!(beats(&winner(180, 100), &leads), "ranks better, warns as well");
    assert!(beats(&winner(100, 180), &leads), "warns better, ranks as well");
    assert!(!beats(&winner(150, 150), &leads), "three of four draws are noise");
    assert!(!beats(&winner(200, 60), &leads), "better rows, fewer incidents");
    assert!(!beats(&winner(60, 200), &leads), "more incidents, worse rows");
    let tied = Drawn {
        areas: winner(180, 0).areas,
        warned: vec![1.0; DRAWS],
    };
    assert!(beats(&tied, &leads), "the same incidents are no fewer");
}

#[test]
fn onsets_close_to_each_other_are_one_event() {
    let clusters = Clusters::new(vec![500, 0, 50, 130, 50, 400], 100);
    let of: Vec<Option<u32>> = [0, 50, 130, 400, 500, 60].into_iter().map(|t| clusters.of(t)).collect();
    assert_eq!(of, [Some(0), Some(0), Some(0), Some(1), Some(1), None]);
    assert_eq!(clusters.count, 2);
    assert_eq!(Clusters::new(Vec::new(), 100).count, 1);
}
