use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::notation::{self, Sample};
use super::test_file;
use crate::rule::{RuleKind, default_groups};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/rules")
}

/// Values as text; `-` where one is left out.
fn check(values: &str, expected: &str) {
    let told = match notation::values(values) {
        Ok(values) => {
            let one = |value: &Option<Sample>| match value {
                None => "-".to_owned(),
                Some(Sample::Number(number)) if store::is_stale(*number) => "stale".to_owned(),
                Some(Sample::Number(number)) => number.to_string(),
                Some(Sample::Histogram(histogram)) => format!("{}:{}", histogram.count, histogram.sum),
            };
            values.iter().map(one).collect::<Vec<_>>().join(" ")
        }
        Err(problem) => format!("error: {problem}"),
    };
    assert_eq!(told, expected, "{values}");
}

#[test]
fn series_are_read_as_prometheus_writes_them() {
    check("", "");
    check("1 2.5 -3", "1 2.5 -3");
    check("0+10x3", "0 10 20 30");
    check("10-2.5x2", "10 7.5 5");
    check("-1-1x1", "-1 -2");
    check("7x2", "7 7 7");
    check("7x0", "7");
    check("1 _ _x2 2", "1 - - - 2");
    check("0 stale 1", "0 stale 1");
    check("010 08 0x1", "8 8 0 0");
    check(".5 5. 1e3 1E-2", "0.5 5 1000 0.01");
    check("Inf -inf NaN", "inf -inf NaN");
    check("  1 \n 2 ", "1 2");
    check("{{count:2 sum:3 buckets:[2]}}x1", "2:3 2:3");
    check(
        "{{count:2 sum:3 buckets:[2]}}+{{count:1 sum:0.5 buckets:[1]}}x2 4",
        "2:3 3:3.5 4:4 4",
    );
    check(
        "{{count:2 sum:3 buckets:[2]}}-{{count:1 sum:1 buckets:[1]}}x1",
        "2:3 1:2",
    );
    // Added up step by step, as Prometheus does, with what that rounds.
    check("0+0.1x3", "0 0.1 0.2 0.30000000000000004");
}

#[test]
fn what_is_no_series_is_refused_where_it_stands() {
    check("1,2", "error: a space is missing before \",2\"");
    check("x3", "error: \"x3\" is neither a number nor stale");
    check("stalex3", "error: \"stalex3\" is neither a number nor stale");
    check("1+x3", "error: \"x3\" is neither a number nor stale");
    check(
        "1+1",
        "error: a step is followed by x and how often it is taken, as in 0+10x5",
    );
    check("1x2.5", "error: a space is missing before \".5\"");
    check("1x", "error: x is followed by a whole number, not by \"\"");
    check("--1", "error: a number is expected at \"--1\"");
    check("1x99999999999", "error: a series of more than 1000000 samples");
    check("1x700000 1x700000", "error: a series of more than 1000000 samples");
    check("_x999999 _x999999", "error: a series of more than 1000000 samples");
    check("{{count:1", "error: a histogram ends with }}");
    check("{{colour:1}}", "error: a histogram has no \"colour\"");
    check("{{count:1 count:2}}", "error: count stands twice");
    check("{{schema:400}}", "error: there is no schema 400");
    check("{{count:x}}", "error: count: \"x\" is no number");
    check("{{buckets:[1 2}}", "error: [ is not closed");
    check(
        "{{count:1 buckets:[1]}}+{{schema:-53 count:1 custom_values:[1] buckets:[1]}}x1",
        "error: the two histograms cannot be combined: one has bounds of its own, the other has not",
    );
}

/// `pass` and `fail` files are told apart by promtool; `pass3` and `fail3` need what it learned with Prometheus 3.
#[test]
fn files_pass_and_fail_as_promtool_says() {
    let (mut passing, mut failing) = (0, 0);
    for entry in std::fs::read_dir(folder().join("promtool")).expect("tests/rules/promtool") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let result = test_file(&path);
        let passes = matches!(&result, Ok(report) if report.failures.is_empty());
        if name.starts_with("pass") {
            passing += 1;
            assert!(passes, "{name}: {result:#?}");
        } else if name.starts_with("fail") {
            failing += 1;
            assert!(!passes, "{name} passes");
        }
    }
    assert!(passing >= 13 && failing >= 40, "{passing} {failing}");
}

#[test]
fn a_failure_says_what_was_expected_and_what_is() {
    let report = |name: &str| test_file(&folder().join("promtool").join(name)).expect(name);
    let unexpected = report("fail_alert_unexpected.yml");
    assert_eq!((unexpected.tests, unexpected.checks), (1, 1));
    assert_eq!(
        unexpected.failures,
        ["test 1, alert Hot at 1m:\n  expected: nothing\n  fires:    \n    {alertname=\"Hot\", host=\"a\"}"]
    );
    assert_eq!(
        report("fail_value.yml").failures,
        ["test 1, \"x\" at 1m:\n  expected: \n    x 2\n  is:       \n    x 1"]
    );
    assert_eq!(
        report("fail3_histogram_bucket.yml").failures,
        [
            "test 1, \"x\" at 0:\n  expected: \n    x {{count:2 sum:3 offset:1 buckets:[2]}}\n  is:       \n    x {{count:2 sum:3 buckets:[2]}}"
        ]
    );
    assert_eq!(
        report("pass_no_such_file.yml").warnings,
        ["rule_files: \"nowhere/*.yml\" names no file"]
    );
}

#[test]
fn files_that_cannot_be_run_say_why() {
    let error = |name: &str| test_file(&folder().join("promtool").join(name)).expect_err(name);
    assert_eq!(
        error("fail_alertname.yml").to_string(),
        "test 1: an alert_rule_test at 1m has no alertname"
    );
    assert_eq!(
        error("fail_order_repeats.yml").to_string(),
        "group_eval_order names \"a\" twice"
    );
    assert!(error("fail_field.yml").hint().is_some());
    assert!(
        error("fail_rule_file.yml")
            .to_string()
            .contains("group \"broken\", rule 1 \"fine\"")
    );
    assert!(error("no_such_file.yml").to_string().ends_with("no_such_file.yml"));
}

#[test]
fn every_built_in_rule_fires_when_it_should_and_only_then() {
    let path = folder().join("default.yml");
    let report = test_file(&path).expect("default.yml");
    assert_eq!(report.failures, Vec::<String>::new());

    // Each has a moment at which it fires and one at which it does not, in a test with a host that is well.
    let text = std::fs::read_to_string(&path).expect("default.yml");
    let file: super::file::TestFile = serde_yaml_ng::from_str(&text).expect("YAML");
    let mut tested = BTreeSet::new();
    for test in &file.tests {
        let alert = format!("alertname=\"{}\"", test.name);
        let checks: Vec<_> = test
            .promql_expr_test
            .iter()
            .filter(|check| check.expr.contains(&alert))
            .collect();
        let fires = checks.iter().any(|check| !check.exp_samples.is_empty());
        let is_quiet = checks.iter().any(|check| check.exp_samples.is_empty());
        let is_well = test
            .input_series
            .iter()
            .any(|series| series.series.contains("=\"good\""));
        assert!(fires && is_quiet && is_well, "{}", test.name);
        tested.insert(test.name.clone());
    }
    for rule in default_groups().iter().flat_map(|group| &group.rules) {
        let is_alert = matches!(rule.kind, RuleKind::Alert { .. });
        assert!(
            !is_alert || tested.contains(&rule.name),
            "{} has no test in tests/rules/default.yml",
            rule.name
        );
    }
}
