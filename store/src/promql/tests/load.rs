//! Series as text: `load 15s` sets the interval, then a series a line, such as `up{host="a"} 1 _ 0+2x3 stale NaN`. A native
//! histogram is written `{{schema:0 sum:5 count:4 buckets:[1 2 1]}}`.

use std::sync::Arc;

use crate::promql::{Memory, algebra, parse_selector};
use crate::{Bucket, Histogram, Histograms, Labels, MatchOp, ResetHint, Samples, stale_nan};

pub(super) fn loaded(text: &str) -> Memory {
    let mut memory = Memory::default();
    let mut interval = 15_000;
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if let Some(step) = line.strip_prefix("load ") {
            interval = duration_ms(step);
            continue;
        }
        let named = line.split_once(' ').expect("a series has values");
        let (series, values) = if named.0.contains('{') {
            line.split_at(line.find('}').expect("labels end") + 1)
        } else {
            named
        };
        let (mut samples, mut histograms) = (Samples::default(), Histograms::default());
        let mut at = 0;
        for word in words(values) {
            if word.starts_with("{{") {
                for histogram in expanded_histograms(&word) {
                    histograms.push(at, Arc::new(histogram));
                    at += interval;
                }
                continue;
            }
            for value in expanded(&word) {
                if let Some(value) = value {
                    samples.push(at, value);
                }
                at += interval;
            }
        }
        memory.insert_mixed(labels(series), samples, histograms);
    }
    memory
}

fn labels(series: &str) -> Labels {
    let matchers = parse_selector(series).expect("a series is written as its selector");
    assert!(matchers.iter().all(|m| m.op == MatchOp::Eq), "labels have one value");
    Labels::from_pairs(matchers.iter().map(|m| (m.name.as_str(), m.value.as_str())))
}

/// Words between blanks; a histogram is one word.
fn words(values: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut depth = 0;
    for c in values.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if c.is_whitespace() && depth == 0 {
            words.push(String::new());
        } else {
            words.last_mut().expect("there is one").push(c);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The histograms of one word: `{{...}}`, `{{...}}x3`, `{{...}}+{{...}}x3`.
fn expanded_histograms(word: &str) -> Vec<Histogram> {
    let (all, times) = match word.rsplit_once("}}x") {
        Some((all, times)) => (format!("{all}}}}}"), times.parse().expect("a number of times")),
        None => (word.to_owned(), 0),
    };
    let (first, step) = match all.split_once("}}+{{") {
        Some((first, step)) => (histogram(first), Some(histogram(step))),
        None => (histogram(&all), None),
    };
    let mut out = vec![first];
    for _ in 0..times {
        let mut next = out[out.len() - 1].clone();
        if let Some(step) = &step {
            algebra::add(&mut next, step).expect("they fit");
        }
        out.push(next);
    }
    out
}

fn histogram(text: &str) -> Histogram {
    let text = text.trim_matches(['{', '}']);
    let mut histogram = Histogram::default();
    let (mut offset, mut n_offset) = (0, 0);
    let mut rest = text.trim();
    let number = |text: &str| text.parse::<f64>().expect("a number");
    let numbers = |text: &str| {
        text.trim_matches(['[', ']'])
            .split_whitespace()
            .map(number)
            .collect::<Vec<f64>>()
    };
    let (mut positive, mut negative) = (Vec::new(), Vec::new());
    while let Some((key, after)) = rest.split_once(':') {
        let end = if after.starts_with('[') {
            after.find(']').expect("a list ends") + 1
        } else {
            after.find(' ').unwrap_or(after.len())
        };
        let (value, tail) = after.split_at(end);
        rest = tail.trim_start();
        match key {
            "schema" => histogram.schema = value.parse().expect("a schema"),
            "sum" => histogram.sum = number(value),
            "count" => histogram.count = number(value),
            "z_bucket" => histogram.zero_count = number(value),
            "z_bucket_w" => histogram.zero_threshold = number(value),
            "custom_values" => histogram.bounds = Some(numbers(value).into()),
            "buckets" => positive = numbers(value),
            "offset" => offset = value.parse().expect("an index"),
            "n_buckets" => negative = numbers(value),
            "n_offset" => n_offset = value.parse().expect("an index"),
            "counter_reset_hint" => {
                histogram.reset = match value {
                    "gauge" => ResetHint::Gauge,
                    "reset" => ResetHint::Reset,
                    "not_reset" => ResetHint::NotReset,
                    _ => ResetHint::Unknown,
                }
            }
            key => panic!("no member of a histogram: {key}"),
        }
    }
    let buckets = |counts: Vec<f64>, offset| {
        counts
            .into_iter()
            .zip(offset..)
            .map(|(count, index)| Bucket { index, count })
    };
    histogram.positive = buckets(positive, offset).collect();
    histogram.negative = buckets(negative, n_offset).collect();
    histogram.checked().expect("a histogram")
}

/// The values of one word: `1`, `_`, `_x3`, `stale`, `1x3`, `0+2x3`.
fn expanded(word: &str) -> Vec<Option<f64>> {
    let (first, times) = word
        .rsplit_once('x')
        .map_or((word, None), |(first, n)| (first, n.parse::<usize>().ok()));
    match (first, times) {
        ("_", times) => vec![None; times.unwrap_or(1)],
        ("stale", _) => vec![Some(stale_nan())],
        (value, None) => vec![Some(value.parse().expect("a value is a number"))],
        (value, Some(times)) => {
            let sign = value[1..]
                .rfind(['+', '-'])
                .map(|at| at + 1)
                .filter(|&at| !value[..at].ends_with('e'));
            let (start, step) = sign.map_or((value, "0"), |at| value.split_at(at));
            let (start, step): (f64, f64) = (start.parse().expect("a start"), step.parse().expect("a step"));
            (0..=times).map(|i| Some(start + step * i as f64)).collect()
        }
    }
}

pub(super) fn duration_ms(text: &str) -> i64 {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '-')
        .unwrap_or(text.len());
    let number: i64 = text[..digits].parse().expect("a duration starts with a number");
    number
        * match &text[digits..] {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            unit => panic!("no unit: {unit}"),
        }
}

pub(super) fn written(value: f64) -> String {
    // Twelve digits: what summation leaves behind them is no part of the case.
    let rounded: f64 = format!("{value:.11e}").parse().unwrap_or(value);
    if rounded == 0.0 {
        "0".to_owned()
    } else {
        rounded.to_string()
    }
}
