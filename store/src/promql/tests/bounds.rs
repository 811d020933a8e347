//! What one query may cost, and what is said when it costs more.

use super::{Deadline, Engine, EngineOptions, QueryError, QueryErrorKind, QueryOptions, check, check_with, evaluate};
use crate::promql::{Memory, parse};

const LOAD: &str = "load 15s\nup{host=\"a\"} 1x100\nup{host=\"b\"} 2x100";

fn refused(query: &str) -> QueryError {
    parse(query).expect_err("the query is refused")
}

#[test]
fn a_long_query_is_refused_with_a_hint() {
    let error = refused(&"u".repeat(1 << 20));
    assert_eq!(error.kind(), QueryErrorKind::BadData);
    assert!(
        error.hint().is_some_and(|hint| hint.contains("max_query_bytes")),
        "{error}"
    );
}

#[test]
fn a_deep_query_is_refused_with_a_hint() {
    for query in [
        "(".repeat(100_000),
        "-".repeat(100_000),
        "up+".repeat(80_000),
        "sum(".repeat(60_000),
        format!("up{}", "[1m:]".repeat(50_000)),
    ] {
        let error = refused(&query);
        assert!(matches!(error, QueryError::TooDeep { .. }), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("max_depth")), "{error}");
    }
}

#[test]
fn the_deepest_queries_that_are_allowed_run() {
    let depth = EngineOptions::default().max_depth;
    check(LOAD, &format!("0| {}1", "1+".repeat(depth)), &(depth + 1).to_string());
    check(LOAD, &format!("0| {}1{}", "(".repeat(depth), ")".repeat(depth)), "1");
    let sums = depth / 2;
    check(
        LOAD,
        &format!("0| {}up{}", "-sum(".repeat(sums), ")".repeat(sums)),
        if sums % 2 == 0 { "{} 3" } else { "{} -3" },
    );
}

#[test]
fn arguments_of_one_call_do_not_add_up() {
    let names = r#", "a""#.repeat(2000);
    check(LOAD, &format!("0| count(label_join(up, \"x\", \"\"{names}))"), "{} 2");
}

#[test]
fn too_many_values_are_refused_with_a_hint() {
    let few = EngineOptions {
        max_samples: 150,
        ..EngineOptions::default()
    };
    for query in [
        "0..10m/15s| up or up",
        "0..10m/1s| up",
        "30m| up[1h]",
        "10m| sum_over_time(vector(1)[1h:1s])",
        "10m| sum_over_time(vector(time() + time())[100s:1s])",
        "10m| sum_over_time(vector(scalar(vector(time())) - 1)[100s:1s])",
    ] {
        let error = evaluate(&Engine::new(few.clone()), LOAD, query).expect_err("the bound holds");
        assert!(matches!(error, QueryError::TooManySamples { .. }), "{query}: {error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("max_samples")), "{error}");
    }
    check_with(few.clone(), LOAD, "0..10m/30s| sum(up) > 100", "");
    check_with(few, LOAD, "10m| count_over_time(vector(time())[100s:1s])", "{} 100");
}

#[test]
fn a_label_that_grows_too_long_is_refused() {
    let load = format!("load 15s\nup{{long=\"{}é\"}} 1x100", "x".repeat(999));
    let (fits, over) = ("$1".repeat(65), "$1".repeat(66));
    check(
        &load,
        &format!("0| count(label_replace(up, \"b\", \"{fits}\", \"long\", \"(.*)\"))"),
        "{} 1",
    );
    check(
        &load,
        &format!("0| label_replace(up, \"b\", \"{over}\", \"long\", \"(.*)\")"),
        "error: the value of label \"b\" in label_replace() is longer than 65535 bytes: shorten what it is made of",
    );
    check(
        &load,
        &format!(
            "0| label_join(up, \"b\", \"{}\", \"long\", \"long\")",
            "-".repeat(64_000)
        ),
        "error: the value of label \"b\" in label_join() is longer than 65535 bytes: shorten what it is made of",
    );
    let few = EngineOptions {
        max_samples: 150,
        ..EngineOptions::default()
    };
    let query = format!("0| label_replace(up, \"b\", \"{}\", \"\", \"\")", "y".repeat(1200));
    check_with(
        few,
        &load,
        &query,
        "error: query processing would load too many samples into memory in query execution",
    );
}

#[test]
fn too_many_steps_are_refused() {
    check(
        LOAD,
        "0..4h/1s| up",
        "error: exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
    );
}

#[test]
fn a_query_ends_at_its_deadline_and_when_its_caller_gives_up() {
    let engine = Engine::default();
    let past = Deadline::at(std::time::Instant::now());
    let options = QueryOptions {
        deadline: past,
        ..QueryOptions::default()
    };
    for query in ["up", "1 + time()"] {
        let error = engine
            .instant(&Memory::default(), query, 0, &options)
            .expect_err("the deadline is past");
        assert_eq!(error.kind(), QueryErrorKind::Timeout, "{query}");
    }
    let options = QueryOptions::default();
    options.deadline.cancel();
    let error = engine
        .instant(&Memory::default(), "up", 0, &options)
        .expect_err("the caller gave up");
    assert_eq!(error.kind(), QueryErrorKind::Canceled);
}

#[test]
fn durations_that_the_parser_cannot_hold_are_refused() {
    for query in [
        "up[99999999999y]",
        "up[1e300]",
        "up offset inf",
        "up offset -NaN",
        "up[0s]",
        "up[5x]",
        "up offset 1e20",
    ] {
        assert_eq!(refused(query).kind(), QueryErrorKind::BadData, "{query}");
    }
}

#[test]
fn what_is_no_promql_is_refused() {
    for query in [
        "",
        "sum(",
        "up{a=~\"(\"}",
        "1 and 2",
        "rate(up)",
        "foo(up)",
        "exp(Inf)",
        "up{a=\"b\" or c=\"d\"}",
        "{}",
        "`",
        "\"\\x\"",
    ] {
        assert_eq!(refused(query).kind(), QueryErrorKind::BadData, "{query}");
    }
}

#[test]
fn experimental_functions_are_known_only_when_wanted() {
    check_with(
        EngineOptions::default(),
        "",
        "0| mad_over_time(up[5m])",
        "error: parse error: function \"mad_over_time\" is not enabled",
    );
    check_with(
        EngineOptions::default(),
        "",
        "0| start()",
        "error: parse error: unknown function with name \"start\"",
    );
    check("", "0| start()", "0");
}

#[test]
fn the_answer_says_what_it_cost() {
    let answer = evaluate(&Engine::default(), LOAD, "0..10m/1m| sum(up)").expect("an answer");
    assert_eq!((answer.stats.series, answer.stats.steps), (2, 11));
    assert_eq!(answer.stats.samples, 82);
}
