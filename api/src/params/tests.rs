use super::*;

#[test]
fn times_are_seconds_or_rfc_3339() {
    let check = |text: &str, expected: Option<i64>| assert_eq!(parse_time(text), expected, "{text}");
    check("0", Some(0));
    check("4", Some(4_000));
    check("1435781430.781", Some(1_435_781_430_781));
    check("1.5e3", Some(1_500_000));
    check("-1", Some(-1_000));
    check("2015-07-01T20:10:30.781Z", Some(1_435_781_430_781));
    check("2015-07-01T22:10:30.781+02:00", Some(1_435_781_430_781));
    check("", None);
    check("yesterday", None);
    check("NaN", None);
    check("1e300", None);
    check("-292273086-05-16T16:47:06Z", Some(i64::MIN / 2));
}

#[test]
fn durations_are_seconds_or_prometheus_text() {
    let check = |text: &str, expected: Option<i64>| assert_eq!(parse_duration(text), expected, "{text}");
    check("15", Some(15_000));
    check("0.5", Some(500));
    check("5m", Some(300_000));
    check("1h30m", Some(5_400_000));
    check("1d", Some(86_400_000));
    check("250ms", Some(250));
    check("30m1h", None);
    check("1h1h", None);
    check("5", Some(5_000));
    check("m", None);
    check("5 m", None);
    check("", None);
    check("99999999999999999999y", None);
}

#[test]
fn limits_are_whole_and_zero_means_none() {
    let check = |text: &str, expected: Result<Option<usize>, &str>| {
        let params = Params(vec![("limit".to_owned(), text.to_owned())]);
        match (params.limit("limit"), expected) {
            (Ok(limit), Ok(expected)) => assert_eq!(limit, expected),
            (Err(problem), Err(expected)) => assert!(problem.detail().contains(expected), "{}", problem.detail()),
            (got, expected) => panic!("{got:?} is not {expected:?}"),
        }
    };
    check("10", Ok(Some(10)));
    check("0", Ok(None));
    check("", Ok(None));
    check("-1", Err("non-negative"));
    check("ten", Err("cannot parse"));
}
