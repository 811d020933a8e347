use super::*;

#[test]
fn probabilities_are_never_shown_as_certain() {
    let check = |p: f64, expected: &str| assert_eq!(percent(p).replace('\u{a0}', " "), expected);
    check(0.0, "< 0.1 %");
    check(0.0213, "2.1 %");
    check(0.0996, "10 %");
    check(0.434, "43 %");
    check(0.99, "99 %");
    check(0.999, "> 99 %");
    check(1.0, "> 99 %");
}

#[test]
fn what_was_counted_may_be_none_or_all() {
    let check = |counted: f64, expected: &str| assert_eq!(share(counted).replace('\u{a0}', " "), expected);
    check(0.0 / 40.0, "0 %");
    check(1.0 / 4000.0, "< 0.1 %");
    check(1.0 / 40.0, "2.5 %");
    check(39.0 / 40.0, "98 %");
    check(40.0 / 40.0, "100 %");
}

#[test]
fn durations_have_one_unit() {
    let check = |seconds: f64, expected: &str| assert_eq!(duration(seconds).replace('\u{a0}', " "), expected);
    check(0.0, "0 s");
    check(90.0, "90 s");
    check(600.0, "10 min");
    check(3.0 * 3600.0, "3 h");
    check(5.0 * 86_400.0, "5 d");
    check(1e12, "more than a year");
}

#[test]
fn quantities_have_their_unit() {
    let check =
        |value: f64, unit: &str, expected: &str| assert_eq!(quantity(value, unit).replace('\u{a0}', " "), expected);
    check(0.873, "1", "87.3 %");
    check(3.5 * 1024.0 * 1024.0 * 1024.0, "By", "3.5 GiB");
    check(0.25, "s", "250 ms");
    check(81.0, "Cel", "81 °C");
    check(3.0, "{error}", "3");
    check(1234.0, "rpm", "1234 rpm");
    check(f64::NAN, "", "unknown");
}

#[test]
fn times_are_machine_readable_and_escaped() {
    assert_eq!(
        ago(61_000, 1_000).into_string(),
        "<time datetime=\"1970-01-01T00:00:01Z\" title=\"1970-01-01 00:00:01 UTC\" data-kind=\"ago\">60\u{a0}s ago</time>"
    );
}
