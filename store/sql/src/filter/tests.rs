use super::*;

/// Whole milliseconds around the instant that meet `t op instant`, the instant in nanoseconds.
fn check(op: Operator, nanos: i128, expected: &[i64]) {
    let range = bounds(op, nanos).expect("an operator that bounds");
    let met: Vec<i64> = (-2..=3).filter(|t| (range.start.0..=range.end.0).contains(t)).collect();
    assert_eq!(met, expected, "t {op} {nanos} ns");
}

#[test]
fn instants_between_milliseconds_bound_as_they_compare() {
    for (nanos, less, equal, greater) in [
        (1_000_000, &[-2, -1, 0][..], &[1][..], &[2, 3][..]),
        (1_000_001, &[-2, -1, 0, 1], &[], &[2, 3]),
        (1_999_999, &[-2, -1, 0, 1], &[], &[2, 3]),
        (0, &[-2, -1], &[0], &[1, 2, 3]),
        (-1, &[-2, -1], &[], &[0, 1, 2, 3]),
    ] {
        check(Operator::Lt, nanos, less);
        check(Operator::Gt, nanos, greater);
        check(Operator::Eq, nanos, equal);
        let mut at_most = [less, equal].concat();
        check(Operator::LtEq, nanos, &at_most);
        at_most = [equal, greater].concat();
        check(Operator::GtEq, nanos, &at_most);
    }
    assert_eq!(bounds(Operator::NotEq, 0), None);
    assert_eq!(
        bounds(Operator::GtEq, i128::MAX),
        Some(TimeRange::millis(i64::MAX, i64::MAX))
    );
}

#[test]
fn a_pattern_of_an_address_matches_it_alone() {
    assert_eq!(escape("10.0.0.1"), r"10\.0\.0\.1");
    let matcher =
        Matcher::new(MatchOp::Re, "instance", format!("\\[?{}\\]?(:[0-9]*)?", escape("::1"))).expect("a pattern");
    assert!(matcher.matches("[::1]:9100") && matcher.matches("::1") && !matcher.matches("::12"));
}
