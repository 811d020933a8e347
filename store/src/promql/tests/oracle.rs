//! The evaluator against a slow one that fits on a page: for each step it filters all samples and applies the definition.

use proptest::prelude::*;

use super::super::{Engine, Memory, QueryOptions, Value};
use crate::{Labels, Samples, is_stale, stale_nan};

/// The samples in `(end - range, end]`.
fn window(samples: &Samples, end: i64, range: i64) -> Vec<(i64, f64)> {
    samples
        .iter()
        .filter(|&(t, v)| t > end - range && t <= end && !is_stale(v))
        .collect()
}

fn slow(function: &str, samples: &Samples, end: i64, range: i64) -> Option<f64> {
    let all = window(samples, end, range);
    let (first, last) = (*all.first()?, *all.last()?);
    let values: Vec<f64> = all.iter().map(|&(_, v)| v).collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let resets = all.windows(2).filter(|w| w[1].1 < w[0].1);
    Some(match function {
        "count_over_time" => n,
        "sum_over_time" => values.iter().sum(),
        "avg_over_time" => mean,
        "min_over_time" => values.iter().copied().fold(f64::INFINITY, f64::min),
        "max_over_time" => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        "last_over_time" => last.1,
        "stdvar_over_time" => values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n,
        "changes" => values.windows(2).filter(|w| w[0] != w[1]).count() as f64,
        "resets" => resets.count() as f64,
        _ if all.len() < 2 => return None,
        "idelta" => values[values.len() - 1] - values[values.len() - 2],
        _ => {
            let counter = function != "delta";
            let lost: f64 = if counter { resets.map(|w| w[0].1).sum() } else { 0.0 };
            let change = last.1 - first.1 + lost;
            let seconds = |ms: i64| ms as f64 / 1000.0;
            let sampled = seconds(last.0 - first.0);
            let between = sampled / (n - 1.0);
            let reach = |gap: f64| if gap >= between * 1.1 { between / 2.0 } else { gap };
            let mut before = reach(seconds(first.0 - (end - range)));
            if counter && change > 0.0 && first.1 >= 0.0 {
                before = before.min(sampled * first.1 / change);
            }
            let increase = change * (sampled + before + reach(seconds(end - last.0))) / sampled;
            if function == "rate" {
                increase / seconds(range)
            } else {
                increase
            }
        }
    })
}

const FUNCTIONS: [&str; 13] = [
    "count_over_time",
    "sum_over_time",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "last_over_time",
    "stdvar_over_time",
    "changes",
    "resets",
    "idelta",
    "delta",
    "increase",
    "rate",
];

fn samples() -> impl Strategy<Value = Samples> {
    let value = prop_oneof![8 => (0u32..1000).prop_map(|v| f64::from(v) / 4.0), 1 => Just(stale_nan())];
    prop::collection::vec((1i64..40_000, value), 0..60).prop_map(|steps| {
        let mut samples = Samples::default();
        let mut at = 0;
        for (gap, value) in steps {
            at += gap;
            samples.push(at, value);
        }
        samples
    })
}

fn close(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() <= 1e-9 * (a.abs() + b.abs()).max(1.0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn windows_equal_the_slow_evaluator(
        all in prop::collection::vec(samples(), 1..6),
        range in 1i64..200_000,
        start in -100_000i64..600_000,
        step in 1i64..90_000,
        offset in -50_000i64..50_000,
        count in 1usize..20,
        function in prop::sample::select(&FUNCTIONS[..]),
    ) {
        let mut memory = Memory::default();
        for (i, samples) in all.iter().enumerate() {
            let (host, zone) = (i.to_string(), (i % 2).to_string());
            memory.insert(Labels::from_pairs([("__name__", "x_total"), ("host", &host), ("zone", &zone)]), samples.clone());
        }
        let sign = if offset < 0 { "-" } else { "" };
        let selector = format!("x_total[{range}ms] offset {sign}{}ms", offset.abs());
        let end = start + step * (count as i64 - 1);
        for (aggregation, by_zone) in [("", false), ("sum by (zone)", true), ("max by (zone)", true), ("count by (zone)", true)] {
            let query = format!("{aggregation}({function}({selector}))");
            let answer = Engine::default().range(&memory, &query, start, end, step, &QueryOptions::default());
            let Value::Matrix(lines) = answer.expect("an answer").value else { panic!("a range query answers with a matrix") };
            let found = |label: &str, wanted: &str, t: i64| {
                let line = lines.iter().find(|line| line.labels.get(label) == Some(wanted))?;
                line.points.iter().find(|point| point.0 == t).map(|point| point.1)
            };
            for t in (0..count as i64).map(|i| start + i * step) {
                let values: Vec<Option<f64>> = all.iter().map(|s| slow(function, s, t - offset, range)).collect();
                if by_zone {
                    for zone in 0..2 {
                        let members: Vec<f64> = values.iter().skip(zone).step_by(2).copied().flatten().collect();
                        let expected = members.first().map(|_| match aggregation {
                            "sum by (zone)" => members.iter().sum(),
                            "max by (zone)" => members.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                            _ => members.len() as f64,
                        });
                        let found = found("zone", &zone.to_string(), t);
                        prop_assert!(
                            matches!((found, expected), (None, None)) || found.zip(expected).is_some_and(|(a, b)| close(a, b)),
                            "{query} at {t}: {found:?}, not {expected:?}"
                        );
                    }
                } else {
                    for (i, expected) in values.iter().enumerate() {
                        let found = found("host", &i.to_string(), t);
                        prop_assert!(
                            matches!((found, expected), (None, None)) || found.zip(*expected).is_some_and(|(a, b)| close(a, b)),
                            "{query} at {t}: {found:?}, not {expected:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn any_text_is_answered_or_refused(text in "[a-z0-9(){}\\[\\]\"`'=~!+*/^%<>@,.: \\\\#-]{0,60}") {
        // Only that nothing panics or hangs; what is right is decided elsewhere.
        let refused = Engine::default().instant(&Memory::default(), &text, 0, &QueryOptions::default()).is_err();
        prop_assert!(refused || !text.is_empty());
    }
}
