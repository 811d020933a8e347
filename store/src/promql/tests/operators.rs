//! Operators, matching of vectors, aggregations.

use super::{EngineOptions, check, check_with};

const LOAD: &str = r#"
    load 1m
    errors{host="a",code="500"} 1 2
    errors{host="a",code="404"} 3 4
    errors{host="b",code="500"} 5 6
    requests{host="a"} 10 20
    requests{host="b"} 30 40
    requests{host="c"} 50 60
"#;

#[test]
fn scalars_follow_the_precedence_of_operators() {
    check("", "0| 1 + 2 * 3 ^ 2 ^ 0", "7");
    check("", "0| -1 ^ 2", "-1");
    check("", "0| 7 % 4 - 10 / 4", "0.5");
    check("", "0| 1 > bool 2", "0");
    check("", "0| 1 atan2 0", "1.57079632679");
    check("", "0| 1 / 0", "inf");
}

#[test]
fn arithmetic_drops_the_name_and_comparison_keeps_it() {
    check(
        LOAD,
        "0| requests * 2",
        r#"{host="a"} 20
        {host="b"} 60
        {host="c"} 100"#,
    );
    check(
        LOAD,
        "0| requests > 20",
        r#"requests{host="b"} 30
        requests{host="c"} 50"#,
    );
    check(LOAD, "0| 40 < requests", r#"requests{host="c"} 50"#);
    check(
        LOAD,
        "0| requests > bool 40",
        r#"{host="a"} 0
        {host="b"} 0
        {host="c"} 1"#,
    );
    check(LOAD, "0| -requests{host=\"a\"}", r#"{host="a"} -10"#);
}

#[test]
fn vectors_match_on_labels() {
    check(
        LOAD,
        r#"0| errors{code="500"} / ignoring(code) requests"#,
        r#"{host="a"} 0.1
        {host="b"} 0.166666666667"#,
    );
    check(
        LOAD,
        r#"0| errors / on(host) group_left requests"#,
        r#"{code="404",host="a"} 0.3
        {code="500",host="a"} 0.1
        {code="500",host="b"} 0.166666666667"#,
    );
    check(
        LOAD,
        r#"0| requests * on(host) group_right(zone) label_replace(errors{code="404"}, "zone", "z", "", "")"#,
        r#"{code="404",host="a"} 30"#,
    );
    check(
        LOAD,
        r#"0| errors{code="404"} * on(host) group_left(zone) label_replace(requests, "zone", "z", "", "")"#,
        r#"{code="404",host="a",zone="z"} 30"#,
    );
}

#[test]
fn fill_modifiers_stand_in_for_missing_partners() {
    let load = r#"
        load 1m
        sent{host="a"} 1 2 _
        sent{host="b"} 10 _ 30
        failed{host="a"} _ 100 200
        failed{host="c"} 1000 _ _
        fill{host="a"} 7 7 7
    "#;
    check(
        load,
        "0..2m/1m| sent + fill(0) failed",
        // What was seen a minute ago still counts.
        r#"{host="a"} 1@0 102@60 202@120
        {host="b"} 10@0 10@60 30@120
        {host="c"} 1000@0 1000@60 1000@120"#,
    );
    check(
        load,
        "0| sent + fill_left(5) fill_right(-Inf) failed",
        r#"{host="a"} -inf
        {host="b"} -inf
        {host="c"} 1005"#,
    );
    check(load, "0| sent + fill_left(0.5) failed", r#"{host="c"} 1000.5"#);
    check(load, "0| sent > fill(5) failed", r#"sent{host="b"} 10"#);
    check(
        load,
        "0| sent > bool fill(5) failed",
        r#"{host="a"} 0
        {host="b"} 1
        {host="c"} 0"#,
    );
    // A metric may be called as the modifier is.
    check(load, "0| fill + fill(1) fill{host=\"x\"}", r#"{host="a"} 8"#);
    check_with(
        EngineOptions::default(),
        load,
        "0| sent + fill(0) failed",
        "error: parse error: binop fill modifiers are experimental and not enabled",
    );
}

#[test]
fn fill_modifiers_fill_either_side_of_a_group() {
    // On the side of many one series stands for the whole match group, with its labels alone.
    check(
        LOAD,
        "0| errors + on(host) group_left fill(0) requests",
        r#"{code="404",host="a"} 13
        {code="500",host="a"} 11
        {code="500",host="b"} 35
        {host="c"} 50"#,
    );
    check(
        LOAD,
        r#"0| requests{host="a"} * on(host) group_right fill_left(2) errors"#,
        r#"{code="404",host="a"} 30
        {code="500",host="a"} 10
        {code="500",host="b"} 10"#,
    );
    // A label that is taken from the side of one cannot be filled in.
    check(
        LOAD,
        r#"0| errors{code="500"} + on(host) group_left(zone) fill_right(0) label_replace(requests{host="a"}, "zone", "z", "", "")"#,
        r#"{code="500",host="a",zone="z"} 11
        {code="500",host="b"} 5"#,
    );
}

#[test]
fn ambiguous_matches_are_refused_in_prometheus_words() {
    check(
        LOAD,
        "0| requests / on(host) errors",
        r#"error: found duplicate series for the match group {host="a"} on the right hand-side of the operation: [{__name__="errors", code="500", host="a"}, {__name__="errors", code="404", host="a"}];many-to-many matching not allowed: matching labels must be unique on one side"#,
    );
    check(
        LOAD,
        "0| errors / on(host) requests",
        "error: multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
    );
    check(
        LOAD,
        r#"0| {__name__=~"errors|requests",host="a",code!="404"} + 1"#,
        r#"{code="500",host="a"} 2
        {host="a"} 11"#,
    );
    check(
        "load 1m\na{x=\"1\"} 1\nb{x=\"1\"} 2",
        r#"0| {__name__=~"a|b"} + 1"#,
        "error: vector cannot contain metrics with the same labelset",
    );
}

#[test]
fn series_that_take_turns_share_a_label_set() {
    // Without their names both are {}, yet never at one step.
    check(
        "load 5m\na 1 stale\nb _ 2",
        r#"0..5m/5m| {__name__=~"a|b"} + 0"#,
        "{} 1@0 2@300",
    );
    check(
        "load 5m\na 1 1\nb _ 2",
        r#"0..5m/5m| {__name__=~"a|b"} + 0"#,
        "error: vector cannot contain metrics with the same labelset",
    );
}

#[test]
fn set_operators_decide_at_each_step() {
    check(
        LOAD,
        r#"0| requests and on(host) errors{code="404"}"#,
        r#"requests{host="a"} 10"#,
    );
    check(LOAD, "0| requests unless on(host) errors", r#"requests{host="c"} 50"#);
    check(
        LOAD,
        r#"0| errors{code="404"} or on(host) requests"#,
        r#"errors{code="404",host="a"} 3
        requests{host="b"} 30
        requests{host="c"} 50"#,
    );
    check(
        "load 5m\na{x=\"1\"} 1 stale 3\nb 4 5 6",
        "0..10m/5m| a or b",
        "a{x=\"1\"} 1@0 3@600\nb 4@0 5@300 6@600",
    );
    check(
        "load 5m\na 1 stale 3\nb 4 5 6",
        "0..10m/5m| a or on() b",
        "a 1@0 3@600\nb 5@300",
    );
    check("load 5m\na 1 stale 3\nb 4 5 6", "0..10m/5m| b unless on() a", "b 5@300");
}

#[test]
fn aggregations_group_by_labels() {
    check(LOAD, "0| sum(errors)", "{} 9");
    check(LOAD, "0| sum by (host) (errors)", "{host=\"a\"} 4\n{host=\"b\"} 5");
    check(LOAD, "0| max without (code) (errors)", "{host=\"a\"} 3\n{host=\"b\"} 5");
    check(LOAD, "0| avg(requests)", "{} 30");
    check(
        LOAD,
        "0| count by (code, nothing) (errors)",
        "{code=\"404\"} 1\n{code=\"500\"} 2",
    );
    check(LOAD, "0| group(errors)", "{} 1");
    check(LOAD, "0| stdvar(requests)", "{} 266.666666667");
    check(LOAD, "0| min by (__name__) ({host=\"a\"})", "errors 1\nrequests 10");
    check(LOAD, "0| sum(nothing)", "");
}

#[test]
fn sums_are_compensated() {
    check(
        "load 1m\nx{a=\"1\"} 1e100\nx{a=\"2\"} 1\nx{a=\"3\"} -1e100",
        "0| sum(x)",
        "{} 1",
    );
    check("load 1m\nx 1e100 1 -1e100", "2m| sum_over_time(x[5m])", "{} 1");
    check(
        "load 1m\nx{a=\"1\"} 1.7e308\nx{a=\"2\"} 1.7e308",
        "0| avg(x) / 1e308",
        "{} 1.7",
    );
}

#[test]
fn ranked_aggregations_keep_whole_series() {
    check(
        LOAD,
        "0| topk(2, requests)",
        "requests{host=\"c\"} 50\nrequests{host=\"b\"} 30",
    );
    check(
        LOAD,
        "0| bottomk by (code) (1, errors)",
        "errors{code=\"404\",host=\"a\"} 3\nerrors{code=\"500\",host=\"a\"} 1",
    );
    check(LOAD, "0..1m/1m| topk(1, requests)", "requests{host=\"c\"} 50@0 60@60");
    check(LOAD, "0| topk(0, requests)", "");
    check(
        LOAD,
        "0| topk(NaN, requests)",
        "error: Scalar value NaN overflows int64",
    );
    check(LOAD, "0| topk(NaN, nothing)", "");
    check(LOAD, "0| limitk(1, requests)", "requests{host=\"a\"} 10");
    check(LOAD, "0| quantile(0.5, requests)", "{} 30");
    check(
        LOAD,
        "0| quantile(2, requests)",
        "{} inf\nPromQL warning: quantile value should be between 0 and 1, got 2 (1:10)",
    );
    check(
        LOAD,
        r#"0| count_values("v", requests > bool 20)"#,
        "{v=\"0\"} 1\n{v=\"1\"} 2",
    );
}
