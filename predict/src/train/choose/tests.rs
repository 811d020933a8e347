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

#[test]
fn noise_and_fewer_warnings_do_not_take_the_lead() {
    let one = |wins: usize, warned: usize| {
        let areas = (0..DRAWS).map(|i| if i < wins { 2.0 } else { 0.0 }).collect();
        let compared = Compared {
            family: Family::Blend,
            pr_auc: 0.0,
            interval: (0.0, 0.0),
            warned,
            leads: false,
        };
        (areas, compared)
    };
    let simple = {
        let mut simple = one(0, 20);
        simple.0 = vec![1.0; DRAWS];
        simple
    };
    assert!(beats(&one(180, 20), &simple));
    assert!(!beats(&one(150, 20), &simple), "three of four draws are noise");
    assert!(
        beats(&one(180, 18), &simple),
        "one incident and a twentieth less are nothing"
    );
    assert!(!beats(&one(180, 17), &simple), "better rows, fewer incidents");
}
