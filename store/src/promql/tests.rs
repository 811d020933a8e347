//! Cases are text: series in the notation of Prometheus' own scripts, an expression with its time, the answer.

mod bounds;
mod functions;
mod histograms;
mod load;
mod operators;
mod oracle;
mod selectors;

use super::{Answer, Deadline, Engine, EngineOptions, QueryError, QueryErrorKind, QueryOptions, Value};
use load::{duration_ms, loaded, written};

/// Loads `series`, evaluates `query`, and compares the answer's text with `expected`.
///
/// `query` is `10m| expr` for an instant, `0..10m/5m| expr` for a range.
#[track_caller]
fn check(series: &str, query: &str, expected: &str) {
    check_with(
        EngineOptions {
            experimental: true,
            ..EngineOptions::default()
        },
        series,
        query,
        expected,
    );
}

#[track_caller]
fn check_with(options: EngineOptions, series: &str, query: &str, expected: &str) {
    let answer = match evaluate(&Engine::new(options), series, query) {
        Ok(answer) => text(&answer),
        Err(error) => format!("error: {error}"),
    };
    let lines = |text: &str| {
        text.lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(lines(&answer), lines(expected), "of {query}");
}

fn evaluate(engine: &Engine, series: &str, query: &str) -> Result<Answer, QueryError> {
    let memory = loaded(series);
    let (time, expr) = query.split_once('|').expect("a query has a time");
    let options = QueryOptions::default();
    match time.split_once("..") {
        None => engine.instant(&memory, expr.trim(), duration_ms(time), &options),
        Some((start, rest)) => {
            let (end, step) = rest.split_once('/').expect("a range has a step");
            engine.range(
                &memory,
                expr.trim(),
                duration_ms(start),
                duration_ms(end),
                duration_ms(step),
                &options,
            )
        }
    }
}

fn text(answer: &Answer) -> String {
    let mut lines = Vec::new();
    match &answer.value {
        Value::Scalar { v, .. } => lines.push(written(*v)),
        Value::String { v, .. } => lines.push(format!("{v:?}")),
        Value::Vector(points) => lines.extend(points.iter().map(|p| match &p.histogram {
            Some(histogram) => format!("{} {}", p.labels, super::native::text(histogram)),
            None => format!("{} {}", p.labels, written(p.v)),
        })),
        Value::Matrix(all) => {
            for line in all {
                let points = line
                    .points
                    .iter()
                    .map(|(t, v)| format!(" {}@{}", written(*v), *t as f64 / 1000.0));
                let histograms = line
                    .histograms
                    .iter()
                    .map(|(t, h)| format!(" {}@{}", super::native::text(h), *t as f64 / 1000.0));
                lines.push(format!(
                    "{}{}",
                    line.labels,
                    points.chain(histograms).collect::<String>()
                ));
            }
        }
    }
    lines.extend(answer.warnings.iter().chain(&answer.infos).cloned());
    lines.join("\n")
}

#[test]
fn texts_that_are_large_once_parsed_are_parsed_each_time() {
    let engine = Engine::default();
    let kept = |expr: &str| {
        let again = (engine.parsed(expr).unwrap(), engine.parsed(expr).unwrap());
        std::sync::Arc::ptr_eq(&again.0, &again.1)
    };
    assert!(kept(r#"sum by (host) (rate(m{host=~"h.*1",dc!~"x|y\\.z"}[5m]))"#));
    assert!(!kept(r#"m{host=~"(a{9}){9}"}"#), "a repetition");
    assert!(!kept(r#"m{host=~"\\w+"}"#), "a class of Unicode");
    assert!(!kept(&format!("m{{host=~\"{}\"}}", "a|".repeat(100))), "a long pattern");
    assert!(!kept(&format!("m{{host=\"{}\"}}", "a".repeat(3000))), "a long text");
    assert!(kept(r#"m{host="{{w}}"}"#), "no pattern");
}
