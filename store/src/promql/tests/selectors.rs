//! Which samples a selector sees, and when.

use super::check;

const UP: &str = r#"
    load 1m
    up{host="a",zone="x"} 0+1x20
    up{host="b",zone="y"} 100+1x20
    up{host="c"} 5 5 5 stale _ 7
"#;

#[test]
fn matchers_treat_a_missing_label_as_empty() {
    check(UP, r#"1m| up{zone=""}"#, r#"up{host="c"} 5"#);
    check(
        UP,
        r#"1m| up{zone!=""}"#,
        "up{host=\"a\",zone=\"x\"} 1\nup{host=\"b\",zone=\"y\"} 101",
    );
    check(
        UP,
        r#"1m| {__name__=~"u.", host!~"a|c"}"#,
        r#"up{host="b",zone="y"} 101"#,
    );
}

#[test]
fn matchers_in_backticks_keep_their_backslashes() {
    check(
        "load 1m\nup{host=\"a1\"} 1",
        r"0| up{host=~`\w\d`}",
        r#"up{host="a1"} 1"#,
    );
    check(
        "load 1m\nup{host=\"a1\"} 1",
        r#"0| up{host=~"[\\d\\w]{2}"}"#,
        r#"up{host="a1"} 1"#,
    );
}

#[test]
fn names_of_any_characters_are_quoted() {
    check(
        "load 1m\n{\"my.metric\",\"a.b\"=\"c\"} 3",
        r#"0| {"my.metric", "a.b"="c"}"#,
        r#"my.metric{a.b="c"} 3"#,
    );
    check("load 1m\nx{a=\"☺\"} 3", r#"0| x{a="\xe2\x98\xba"}"#, r#"x{a="☺"} 3"#);
}

#[test]
fn a_sample_as_old_as_the_lookback_is_not_seen() {
    check("load 1m\nup 1", "299s| up", "up 1");
    check("load 1m\nup 1", "5m| up", "");
}

#[test]
fn a_staleness_marker_ends_a_series_at_once() {
    check(UP, r#"2m| up{host="c"}"#, r#"up{host="c"} 5"#);
    check(UP, r#"3m| up{host="c"}"#, "");
    check(UP, r#"5m| up{host="c"}"#, r#"up{host="c"} 7"#);
    check(UP, r#"5m| count_over_time(up{host="c"}[10m])"#, r#"{host="c"} 4"#);
}

#[test]
fn ranges_are_open_on_the_left() {
    check(
        UP,
        r#"5m| count_over_time(up{host="a"}[2m])"#,
        r#"{host="a",zone="x"} 2"#,
    );
    check(UP, r#"2m| up{host="a"}[2m]"#, r#"up{host="a",zone="x"} 1@60 2@120"#);
}

#[test]
fn offsets_look_back_and_forth() {
    check(UP, r#"10m| up{host="a"} offset 3m"#, r#"up{host="a",zone="x"} 7"#);
    check(UP, r#"10m| up{host="a"} offset -3m"#, r#"up{host="a",zone="x"} 13"#);
    check(UP, r#"10m| up{host="a"} offset 0s"#, r#"up{host="a",zone="x"} 10"#);
}

#[test]
fn an_instant_may_be_fixed() {
    check(UP, r#"10m| up{host="a"} @ 120"#, r#"up{host="a",zone="x"} 2"#);
    check(UP, r#"10m| up{host="a"} @ 120 offset 1m"#, r#"up{host="a",zone="x"} 1"#);
    check(
        UP,
        r#"1m..3m/1m| up{host="a"} @ end()"#,
        r#"up{host="a",zone="x"} 3@60 3@120 3@180"#,
    );
    check(
        UP,
        r#"1m..3m/1m| sum(up{host="a"}) - sum(up{host="a"} @ start())"#,
        "{} 0@60 1@120 2@180",
    );
}

#[test]
fn subqueries_step_at_multiples_of_their_step() {
    check(
        UP,
        r#"10m| up{host="a"}[3m:1m]"#,
        r#"up{host="a",zone="x"} 8@480 9@540 10@600"#,
    );
    check(
        UP,
        r#"630s| up{host="a"}[3m:1m] offset 30s"#,
        r#"up{host="a",zone="x"} 8@480 9@540 10@600"#,
    );
    check(
        UP,
        r#"10m| max_over_time((up{host="a"} * 2)[5m:])"#,
        r#"{host="a",zone="x"} 20"#,
    );
    check(
        UP,
        r#"10m| sum_over_time(up{host="a"}[2m:1m] @ 180)"#,
        r#"{host="a",zone="x"} 5"#,
    );
}

#[test]
fn a_step_sees_the_last_sample_before_it() {
    check("load 40s\nup 1 2 3", "0..2m/30s| up", "up 1@0 1@30 2@60 3@90 3@120");
}
