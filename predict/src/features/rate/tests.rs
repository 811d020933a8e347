use super::*;

/// `samples` as `seconds:value`, blocks of a minute from block 1; expected increases per block.
fn check(samples: &str, expected: &[f64]) {
    let mut input = Samples::default();
    for item in samples.split_whitespace() {
        let (t, v) = item.split_once(':').expect("t:v");
        input.push(t.parse::<i64>().expect("t") * 1_000, v.parse().expect("v"));
    }
    let (mut rates, mut events) = (Vec::new(), Vec::new());
    increases(Grid::MINUTE, 1, expected.len(), &input, &mut rates, &mut events);
    for (i, (got, want)) in events.iter().zip(expected).enumerate() {
        assert!(
            got == want || (got.is_nan() && want.is_nan()),
            "block {i}: {got} instead of {want} in {samples}"
        );
    }
}

#[test]
fn increases_run_from_the_sample_before() {
    check("0:5 60:8 120:8 180:11", &[3.0, 0.0, 3.0]);
    check("0:5 30:6 60:8 90:9", &[3.0, 1.0]);
}

#[test]
fn a_counter_that_falls_started_again() {
    check("0:100 60:4 120:6", &[4.0, 2.0]);
}

#[test]
fn a_gap_longer_than_the_lookback_gives_nothing() {
    check(
        "0:1 360:9",
        &[f64::NAN, f64::NAN, f64::NAN, f64::NAN, f64::NAN, f64::NAN],
    );
    check("0:1 300:9", &[f64::NAN, f64::NAN, f64::NAN, f64::NAN, 8.0]);
}

#[test]
fn the_first_sample_gives_nothing() {
    check("60:9 120:10", &[f64::NAN, 1.0]);
}
