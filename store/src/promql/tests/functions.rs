//! Functions, family by family.

use super::check;

#[test]
fn rates_extend_to_the_edges_of_their_window() {
    let load = "load 15s\nhits_total 0+15x40";
    check(load, "10m| rate(hits_total[5m])", "{} 1");
    check(load, "10m| increase(hits_total[5m])", "{} 300");
    check(
        "load 15s\nhits_total 0 10 20 5 15",
        "1m| increase(hits_total[61s])",
        "{} 35",
    );
    check("load 15s\nhits_total 5", "1m| rate(hits_total[5m])", "");
    check("load 15s\ntemp 20 18 16", "30s| delta(temp[31s])", "{} -4.13333333333");
    check(
        "load 15s\nhits_total 0 10 4",
        "30s| irate(hits_total[1m])",
        "{} 0.266666666667",
    );
    check("load 15s\ntemp 0 10 4", "30s| idelta(temp[1m])", "{} -6");
    check(
        "load 15s\nhits_total 0 10 4",
        "30s| resets(hits_total[1m]) + changes(hits_total[1m])",
        "{} 3",
    );
}

#[test]
fn a_rate_of_what_is_no_counter_is_remarked() {
    check(
        "load 15s\ntemp 1 2 3",
        "30s| 1 +\n  rate(temp[31s])",
        "{} 1.06666666667\nPromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"temp\" (2:8)",
    );
}

#[test]
fn samples_over_time() {
    let load = "load 1m\nx 4 NaN 2 8 6";
    check(load, "4m| avg_over_time(x[150s])", "{} 5.33333333333");
    check(load, "4m| min_over_time(x[10m])", "{} 2");
    check(load, "4m| max_over_time(x[10m])", "{} 8");
    check(load, "4m| last_over_time(x[10m])", "x 6");
    check(load, "4m| first_over_time(x[10m])", "x 4");
    check(load, "4m| present_over_time(x[10m])", "{} 1");
    check(load, "4m| quantile_over_time(0.5, x[150s])", "{} 6");
    check(load, "4m| stddev_over_time(x[150s])", "{} 2.49443825785");
    check(load, "4m| mad_over_time(x[150s])", "{} 2");
    check(load, "4m| ts_of_max_over_time(x[10m])", "{} 180");
    check(load, "4m| deriv(x[150s])", "{} 0.0333333333333");
    check(load, "4m| predict_linear(x[150s], 60)", "{} 9.33333333333");
    check(
        "load 1m\nx 1 2 4 8",
        "3m| double_exponential_smoothing(x[5m], 0.5, 0.5)",
        "{} 6.375",
    );
    check(
        "load 1m\nx 1 2 4 8",
        "3m| double_exponential_smoothing(x[5m], 1, 0.5)",
        "error: invalid smoothing factor. Expected: 0 < sf < 1, got: 1.000000",
    );
}

#[test]
fn absence_is_a_series_with_the_labels_that_are_certain() {
    check("", r#"0| absent(up{host="a",zone=~"x.*"})"#, r#"{host="a"} 1"#);
    check("load 1m\nup 1", "0| absent(up)", "");
    check("load 5m\nup 1 stale", "0..10m/5m| absent(up)", "{} 1@300 1@600");
    check(
        "load 5m\nup 1 _ _ 1",
        "0..15m/5m| absent_over_time(up[4m])",
        "{} 1@300 1@600",
    );
}

#[test]
fn labels_are_written_by_pattern() {
    let load = "load 1m\nup{instance=\"a:90\",job=\"x\"} 1";
    check(
        load,
        r#"0| label_replace(up, "host", "$1-${job}", "instance", "(.*):(?P<job>.*)")"#,
        r#"up{host="a-90",instance="a:90",job="x"} 1"#,
    );
    check(
        load,
        r#"0| label_replace(up, "job", "", "", "")"#,
        r#"up{instance="a:90"} 1"#,
    );
    check(
        load,
        r#"0| label_replace(up, "job", "y", "instance", "b.*")"#,
        r#"up{instance="a:90",job="x"} 1"#,
    );
    check(
        load,
        r#"0| label_join(up, "id", "/", "job", "nothing", "instance")"#,
        r#"up{id="x//a:90",instance="a:90",job="x"} 1"#,
    );
    check(
        load,
        r#"0| label_replace(up, "a", "b", "c", "(")"#,
        "error: invalid regular expression in label_replace(): (",
    );
    check(
        load,
        r#"0| label_replace(up, "\xff", "b", "c", "")"#,
        "error: parse error: string \"\\xff\" is not valid UTF-8, as labels have to be",
    );
}

#[test]
fn values_are_bounded_and_rounded() {
    let load = "load 1m\nx 2.5";
    check(
        load,
        "0| round(x) + round(x, 0.2) + clamp(x, 0, 1) + clamp_min(x, 5) + clamp_max(x, 1)",
        "{} 12.6",
    );
    check(load, "0| clamp(x, 2, 1)", "");
    check(load, "0| sgn(x - 3)", "{} -1");
    check(
        load,
        "0| floor(x) + ceil(x) + abs(-x) + sqrt(x + 1.5) + exp(x - x) + deg(pi() * (x - 1.5))",
        "{} 190.5",
    );
}

#[test]
fn dates_are_utc() {
    check(
        "",
        "0| year(vector(951782400)) * 10000 + month(vector(951782400)) * 100 + day_of_month(vector(951782400))",
        "{} 20000229",
    );
    check(
        "",
        "0| days_in_month(vector(951782400)) + day_of_year(vector(951782400)) / 100",
        "{} 29.6",
    );
    check(
        "",
        "0| day_of_week(vector(951782400)) + hour(vector(3599)) + minute(vector(3599)) / 100",
        "{} 2.59",
    );
    check("", "0..2m/1m| minute() + time()", "{} 0@0 61@60 122@120");
    check("load 7s\nx 1 2", "10s| timestamp(x) + timestamp(x + 0)", "{} 17");
}

#[test]
fn vectors_become_scalars_and_back() {
    check("load 1m\nx 3", "0| scalar(x) + 1", "4");
    check("load 1m\nx{a=\"1\"} 3\nx{a=\"2\"} 4", "0| scalar(x)", "NaN");
    check("", "0| vector(time() + 5)", "{} 5");
    check("", r#"0| "text""#, "\"text\"");
}

#[test]
fn sorting_puts_nan_last() {
    let load = "load 1m\nx{a=\"1\"} 3\nx{a=\"2\"} NaN\nx{a=\"10\"} 1";
    check(load, "0| sort(x)", "x{a=\"10\"} 1\nx{a=\"1\"} 3\nx{a=\"2\"} NaN");
    check(load, "0| sort_desc(x)", "x{a=\"1\"} 3\nx{a=\"10\"} 1\nx{a=\"2\"} NaN");
    check(
        load,
        r#"0| sort_by_label(x, "a")"#,
        "x{a=\"1\"} 3\nx{a=\"2\"} NaN\nx{a=\"10\"} 1",
    );
}

#[test]
fn quantiles_of_buckets_are_interpolated() {
    let load = r#"
        load 1m
        lat_bucket{le="0.1"} 10
        lat_bucket{le="0.5"} 30
        lat_bucket{le="1"} 40
        lat_bucket{le="+Inf"} 40
    "#;
    check(load, "0| histogram_quantile(0.5, lat_bucket)", "{} 0.3");
    check(load, "0| histogram_quantile(0.1, lat_bucket)", "{} 0.04");
    check(load, "0| histogram_quantile(1, lat_bucket)", "{} 1");
    check(load, "0| histogram_fraction(-Inf, 0.3, lat_bucket)", "{} 0.5");
    check(load, "0| histogram_count(lat_bucket)", "");
    check(
        "load 1m\nlat_bucket{le=\"x\"} 1",
        "0| histogram_quantile(0.5, lat_bucket)",
        "PromQL warning: bucket label \"le\" is missing or has a malformed value of \"x\" for metric name \"lat_bucket\" (1:25)",
    );
}

#[test]
fn info_adds_the_labels_of_the_target() {
    let load = r#"
        load 1m
        up{instance="a",job="j"} 1
        target_info{instance="a",job="j",version="2"} 1
    "#;
    check(load, "0| info(up)", r#"up{instance="a",job="j",version="2"} 1"#);
    check(
        load,
        r#"0| info(up, {version=~".+"})"#,
        r#"up{instance="a",job="j",version="2"} 1"#,
    );
}
