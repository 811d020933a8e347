//! Native histograms: worked out by hand from the rules of Prometheus 3.5.

use super::check;

/// Two hosts, one of them restarted after the third sample; a gauge; one with bounds of its own; one that changes its kind.
const SERIES: &str = "
    load 1m
    h{host=\"a\"} {{schema:0 sum:4 count:4 buckets:[1 2 1]}}+{{schema:0 sum:2 count:4 buckets:[1 2 1]}}x5
    h{host=\"b\"} {{schema:1 sum:10 count:9 z_bucket:1 z_bucket_w:0.001 buckets:[2 2 2 2]}}+{{schema:1 sum:10 count:8 buckets:[2 2 2 2]}}x2 {{schema:1 sum:5 count:4 buckets:[1 1 1 1]}}x2
    g {{schema:0 sum:4 count:4 buckets:[1 2 1] counter_reset_hint:gauge}} {{schema:0 sum:1 count:1 buckets:[1] counter_reset_hint:gauge}}
    c {{schema:-53 sum:10 count:4 custom_values:[2 4 8] buckets:[1 2 0 1]}}x5
    d {{schema:-53 sum:10 count:4 custom_values:[2 5 8] buckets:[1 2 0 1]}}x5
    mixed_total 1 2 {{schema:0 sum:4 count:4 buckets:[1 2 1]}}x2 5
    classic_bucket{le=\"1\"} 1x5
    classic_bucket{le=\"+Inf\"} 4x5
    classic_bucket {{schema:0 sum:4 count:4 buckets:[1 2 1]}}x5
";

#[test]
fn a_histogram_is_an_answer_like_any_other() {
    check(
        SERIES,
        "1m| h{host=\"a\"}",
        r#"h{host="a"} {count:8, sum:6, (0.5,1]:2, (1,2]:4, (2,4]:2}"#,
    );
    check(
        SERIES,
        "0..1m/1m| g",
        "g {count:4, sum:4, (0.5,1]:1, (1,2]:2, (2,4]:1}@0 {count:1, sum:1, (0.5,1]:1}@60",
    );
    check(SERIES, "0| c", "c {count:4, sum:10, [-Inf,2]:1, (2,4]:2, (8,+Inf]:1}");
    check(
        SERIES,
        "0| h{host=\"b\"}",
        "h{host=\"b\"} {count:9, sum:10, [-0.001,0.001]:1, (0.7071067811865475,1]:2, (1,1.414213562373095]:2, \
         (1.414213562373095,2]:2, (2,2.82842712474619]:2}",
    );
}

#[test]
fn counts_sums_and_moments_are_read_off() {
    check(SERIES, "1m| histogram_count(h)", "{host=\"a\"} 8\n{host=\"b\"} 17");
    check(SERIES, "1m| histogram_sum(h)", "{host=\"a\"} 6\n{host=\"b\"} 20");
    check(SERIES, "1m| histogram_avg(h{host=\"a\"})", "{host=\"a\"} 0.75");
    check(SERIES, "0| histogram_stdvar(c)", "{} inf");
    check(SERIES, "1m| histogram_count(mixed_total)", "");
}

#[test]
fn quantiles_are_spread_over_the_logarithm_and_over_bounds_of_their_own() {
    // Rank 1 of 4 is the end of the first bucket, rank 2 the middle of the second: 2^0.5.
    check(SERIES, "0| histogram_quantile(0.25, h{host=\"a\"})", "{host=\"a\"} 1");
    check(
        SERIES,
        "0| histogram_quantile(0.5, h{host=\"a\"})",
        "{host=\"a\"} 1.41421356237",
    );
    check(SERIES, "0| histogram_quantile(0.5, c)", "{} 3");
    check(SERIES, "0| histogram_quantile(1, c)", "{} 8");
    check(
        SERIES,
        "0| histogram_fraction(0, 1, h{host=\"a\"})",
        "{host=\"a\"} 0.25",
    );
    check(SERIES, "0| histogram_fraction(-Inf, +Inf, c)", "{} 1");
    check(
        SERIES,
        "0| histogram_quantile(1.5, h{host=\"a\"})",
        "{host=\"a\"} inf\nPromQL warning: quantile value should be between 0 and 1, got 1.5 (1:20)",
    );
}

#[test]
fn a_classic_and_a_native_histogram_of_one_name_exclude_each_other() {
    check(
        SERIES,
        "0| histogram_quantile(0.5, classic_bucket)",
        "PromQL warning: vector contains a mix of classic and native histograms for metric name \"classic_bucket\" (1:25)",
    );
}

#[test]
fn rates_see_resets() {
    check(
        SERIES,
        "5m| increase(h{host=\"a\"}[2m])",
        "{host=\"a\"} {count:8, sum:4, (0.5,1]:2, (1,2]:4, (2,4]:2}",
    );
    // 25 at 2 min, then 4 since a restart: all of these 4 are new.
    check(
        SERIES,
        "3m| histogram_count(irate(h{host=\"b\"}[90s]))",
        "{host=\"b\"} 0.0666666666667",
    );
    check(SERIES, "5m| resets(h[6m])", "{host=\"a\"} 0\n{host=\"b\"} 1");
    check(SERIES, "5m| changes(h[6m])", "{host=\"a\"} 5\n{host=\"b\"} 3");
    check(SERIES, "1m| idelta(g[2m])", "{} {count:-3, sum:-3, (1,2]:-2, (2,4]:-1}");
    check(
        SERIES,
        "1m| rate(g[2m])",
        "{} {count:0.016666666666666666, sum:0.016666666666666666, (0.5,1]:0.016666666666666666}\n\
         PromQL warning: this native histogram metric is not a counter: \"g\" (1:6)",
    );
}

#[test]
fn numbers_and_histograms_do_not_add_up() {
    check(
        SERIES,
        "4m| rate(mixed_total[5m])",
        "PromQL warning: encountered a mix of histograms and floats for metric name \"mixed_total\" (1:6)",
    );
    check(SERIES, "4m| count_over_time(mixed_total[5m])", "{} 5");
    check(
        SERIES,
        "3m| last_over_time(mixed_total[5m])",
        "mixed_total {count:4, sum:4, (0.5,1]:1, (1,2]:2, (2,4]:1}",
    );
    check(
        SERIES,
        "4m| max_over_time(mixed_total[5m])",
        "{} 2\nPromQL info: ignored histograms in a range containing both floats and histograms for metric name \"mixed_total\" (1:15)",
    );
    check(
        SERIES,
        "0| sum({__name__=~\"g|mixed_total\"})",
        "PromQL warning: encountered a mix of histograms and floats for aggregation (1:5)",
    );
    check(
        SERIES,
        "0| h{host=\"a\"} + 1",
        "PromQL info: incompatible sample types encountered for binary operator \"+\": histogram + float (1:1)",
    );
}

#[test]
fn histograms_add_up_at_the_coarser_schema() {
    check(
        SERIES,
        "0| sum(h)",
        "{} {count:13, sum:14, [-0.001,0.001]:1, (0.5,1]:3, (1,2]:6, (2,4]:3}",
    );
    check(
        SERIES,
        "0| avg(h)",
        "{} {count:6.5, sum:7, [-0.001,0.001]:0.5, (0.5,1]:1.5, (1,2]:3, (2,4]:1.5}",
    );
    check(SERIES, "0| count(h)", "{} 2");
    check(
        SERIES,
        "0| max(h)",
        "PromQL info: ignored histogram in max aggregation (1:5)",
    );
    check(
        SERIES,
        "0| sum({__name__=~\"c|g\"})",
        "PromQL warning: vector contains a mix of histograms with exponential and custom buckets schemas for metric name \"g\" (1:5)",
    );
    check(
        SERIES,
        "0| sum({__name__=~\"c|d\"})",
        "PromQL warning: vector contains histograms with incompatible custom buckets for metric name \"d\" (1:5)",
    );
    check(
        SERIES,
        "0| count_values(\"v\", g)",
        "{v=\"{count:4, sum:4, (0.5,1]:1, (1,2]:2, (2,4]:1}\"} 1",
    );
    check(
        SERIES,
        "0| topk(1, g)",
        "PromQL info: ignored histogram in topk aggregation (1:1)",
    );
}

#[test]
fn histograms_have_some_operators() {
    check(SERIES, "0| g * 2", "{} {count:8, sum:8, (0.5,1]:2, (1,2]:4, (2,4]:2}");
    check(
        SERIES,
        "0| -g / 2",
        "{} {count:-2, sum:-2, (0.5,1]:-0.5, (1,2]:-1, (2,4]:-0.5}",
    );
    check(SERIES, "0| g - g", "{} {count:0, sum:0}");
    check(SERIES, "0| g == g", "g {count:4, sum:4, (0.5,1]:1, (1,2]:2, (2,4]:1}");
    check(SERIES, "0| g != bool g", "{} 0");
    check(
        SERIES,
        "0| g < g",
        "PromQL info: incompatible sample types encountered for binary operator \"<\": histogram < histogram (1:1)",
    );
    check(
        SERIES,
        "0| c + d",
        "PromQL warning: incompatible bucket layout encountered for binary operator + (1:1)",
    );
    check(SERIES, "0| abs(g)", "");
    check(SERIES, "0| timestamp(g)", "{} 0");
    check(SERIES, "0| scalar(g)", "NaN");
    check(SERIES, "0| absent(g)", "");
    check(
        SERIES,
        "0| g and h{host=\"z\"} or g",
        "g {count:4, sum:4, (0.5,1]:1, (1,2]:2, (2,4]:1}",
    );
}
