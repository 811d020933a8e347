use proptest::strategy::Strategy as _;

use super::*;
use crate::features::median_f64;

fn check(values: &[f64]) {
    let column = ColumnValues::new(values.to_vec());
    for host in 0..values.len() {
        let mut others: Vec<f64> = values.to_vec();
        others.remove(host);
        others.retain(|v| !v.is_nan());
        let expected = if others.len() < 2 {
            f64::NAN
        } else {
            median_f64(&mut others)
        };
        let found = column.median_without(host);
        assert_eq!(
            found.to_bits(),
            expected.to_bits(),
            "host {host} of {values:?}: {found} {expected}"
        );
    }
}

#[test]
fn the_median_of_the_others_leaves_out_the_own_value_once() {
    check(&[3.0, 1.0, 2.0]);
    check(&[3.0, 1.0, 2.0, 2.0]);
    check(&[2.0; 7]);
    check(&[-0.0, 0.0, 0.0, -0.0, 5.0]);
}

#[test]
fn who_shows_nothing_is_nobodys_peer() {
    check(&[f64::NAN, 1.0, 5.0]);
    check(&[f64::NAN, 1.0, f64::NAN]);
    check(&[1.0, 5.0]);
    check(&[f64::NAN]);
    check(&[7.0, f64::NAN, 9.0, 8.0, f64::NAN, 1.0]);
}

proptest::proptest! {
    #[test]
    fn it_is_the_plain_median_of_the_rest(values in proptest::collection::vec(
        proptest::prop_oneof![proptest::strategy::Just(f64::NAN), (-9..9_i32).prop_map(f64::from)], 1..40,
    )) {
        check(&values);
    }
}
