//! Series as text: `load 15s` sets the interval, then a series a line, such as `up{host="a"} 1 _ 0+2x3 stale NaN`.

use crate::promql::{Memory, parse_selector};
use crate::{Labels, MatchOp, Samples, stale_nan};

pub(super) fn loaded(text: &str) -> Memory {
    let mut memory = Memory::default();
    let mut interval = 15_000;
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if let Some(step) = line.strip_prefix("load ") {
            interval = duration_ms(step);
            continue;
        }
        let (series, values) = line.find('}').map_or_else(
            || line.split_once(' ').expect("a series has values"),
            |brace| line.split_at(brace + 1),
        );
        let mut samples = Samples::default();
        let mut at = 0;
        for value in values.split_whitespace().flat_map(expanded) {
            if let Some(value) = value {
                samples.push(at, value);
            }
            at += interval;
        }
        memory.insert(labels(series), samples);
    }
    memory
}

fn labels(series: &str) -> Labels {
    let matchers = parse_selector(series).expect("a series is written as its selector");
    assert!(matchers.iter().all(|m| m.op == MatchOp::Eq), "labels have one value");
    Labels::from_pairs(matchers.iter().map(|m| (m.name.as_str(), m.value.as_str())))
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
