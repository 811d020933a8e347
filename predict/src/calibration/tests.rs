use super::*;

#[test]
fn pools_are_those_of_a_worked_example() {
    // Ayer et al.'s algorithm by hand: 0 1 | 0 1 0 | 1 1 pool to 0, 1/2, 1/2, ... ascending.
    let y = [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0];
    let pools = adjacent_violators(y.iter().enumerate().map(|(i, y)| Pool {
        x_sum: i as f64,
        failures: *y,
        n: 1.0,
    }));
    let rates: Vec<(f64, f64)> = pools.iter().map(|p| (p.n, p.rate())).collect();
    assert_eq!(rates, [(1.0, 0.0), (4.0, 0.5), (2.0, 1.0)]);
}

fn rows(n: usize, rate: impl Fn(f64) -> f64) -> (Vec<f64>, Vec<bool>) {
    let mut state = 9_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as f64 / (1_u64 << 31) as f64
    };
    (0..n)
        .map(|_| {
            let x = next() * 8.0 - 4.0;
            (x, next() < rate(x))
        })
        .unzip()
}

#[test]
fn probabilities_come_true() {
    let truth = |x: f64| 0.5 * sigmoid(2.0 * x - 3.0);
    let (x, y) = rows(20_000, truth);
    let fit = Calibration::fit(&x, &y);
    for at in [-3.0, 0.0, 1.0, 2.0, 3.5] {
        assert!(
            (fit.apply(at) - truth(at)).abs() < 0.03,
            "{at}: {} instead of {}",
            fit.apply(at),
            truth(at)
        );
    }
}

#[test]
fn order_survives_everywhere() {
    for n in [60, 500, 5_000] {
        let (x, y) = rows(n, |x| 0.3 * sigmoid(x));
        let fit = Calibration::fit(&x, &y);
        let p: Vec<f64> = (-80..=80).map(|i| fit.apply(f64::from(i) / 20.0)).collect();
        assert!(p.windows(2).all(|w| w[0] < w[1]), "{n} rows");
        assert!(p.iter().all(|p| (0.0..=1.0).contains(p)));
    }
}

#[test]
fn nothing_learned_is_the_base_rate() {
    let never = Calibration::fit(&[1.0, 2.0, 3.0], &[false; 3]);
    assert_eq!(never.apply(5.0), 0.0);
    let backwards = Calibration::fit(&[3.0, 2.0, 1.0, 0.0], &[false, false, true, true]);
    assert_eq!(backwards.apply(9.0), backwards.base_rate);
    assert_eq!(Calibration::fit(&[], &[]).apply(1.0), 0.0);
    assert_eq!(Calibration::fit(&[f64::NAN], &[true]).base_rate, 0.0);
}

#[test]
fn few_failures_are_fitted_by_two_parameters() {
    let (x, y) = rows(400, |x| 0.1 * sigmoid(x));
    assert!(y.iter().filter(|y| **y).count() < ISOTONIC_FAILURES_MIN);
    let fit = Calibration::fit(&x, &y);
    assert!(matches!(fit.curve, Curve::Platt { slope, .. } if slope > 0.0));
}

#[test]
fn a_reloaded_calibration_has_the_same_bits() {
    let (x, y) = rows(3_000, |x| 0.3 * sigmoid(x));
    let fit = Calibration::fit(&x, &y);
    let again: Calibration = serde_json::from_str(&serde_json::to_string(&fit).expect("write")).expect("read");
    assert_eq!(fit, again);
    assert_eq!(fit.apply(0.123).to_bits(), again.apply(0.123).to_bits());
}
