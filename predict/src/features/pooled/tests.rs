use super::*;

/// Events over so many blocks.
fn over(count: f64, blocks: u32) -> Events {
    Events { count, blocks }
}

#[test]
fn the_nearest_limit_counts_and_a_horizon_away_is_half_as_near() {
    let mut pooled = Pooled::default();
    let nothing = pooled.clone().features(60.0);
    assert!(nothing.iter().all(|v| v.is_nan()), "nothing is known: {nothing:?}");
    pooled.limit(3, 600_f64.ln_1p());
    pooled.limit(5, f64::NAN);
    pooled.limit(7, 60_f64.ln_1p());
    pooled.limit(9, 10_000_f64.ln_1p());
    assert_eq!(pooled.nearest(), Some(7));
    let [ttl, near, ..] = pooled.features(60.0);
    assert!((ttl - 60_f64.ln_1p()).abs() < 1e-12);
    assert!((near - 0.5).abs() < 1e-12);
}

#[test]
fn events_are_more_where_a_short_time_holds_more_than_its_share_of_a_long_one() {
    let steady = over(10.0, 120).more_than(over(60.0, 720));
    assert!(steady.abs() < 1e-12, "{steady}");
    let rising = over(60.0, 120).more_than(over(60.0, 720));
    assert!((rising - (61_f64.ln() - 11_f64.ln())).abs() < 1e-12, "{rising}");
    assert!(over(0.0, 120).more_than(over(60.0, 720)) < 0.0);
    assert!(over(1.0, 0).more_than(over(60.0, 720)).is_nan());
    assert!(over(1.0, 120).more_than(over(0.0, 0)).is_nan());
}

#[test]
fn what_gets_better_is_not_worse_and_one_storm_weighs_as_a_logarithm() {
    let mut pooled = Pooled::default();
    // A fan that slows down, memory that is given back, a storm.
    pooled.deviation(&[-5.0, -4.0, -3.0, 0.0, -2.0, -6.0], &[0.0; 4], true);
    pooled.deviation(&[-9.0; 6], &[0.0; 4], false);
    pooled.deviation(&[1e9, f64::NAN, 0.0, 0.0, 0.0, 0.0], &[0.0; 4], false);
    let features = pooled.features(60.0);
    let value = |name: &str| features[NAMES.iter().position(|n| *n == name).expect(name)];
    assert!((value("worse_z_max") - CLIP.ln_1p()).abs() < 1e-12);
    assert!((value("worse_z_mean") - (CLIP.ln_1p() + 6_f64.ln()) / 3.0).abs() < 1e-12);
    assert!(
        (value("worse_z1_mean") - 5_f64.ln() / 2.0).abs() < 1e-12,
        "a missing value counts for nothing"
    );
    // The fan never rose above two spreads below its usual speed.
    assert!((value("worse_held_max") - 3_f64.ln()).abs() < 1e-12);
    assert_eq!(value("worse_slope2_max"), 0.0);
}
