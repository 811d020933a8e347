//! What was expected beside what there is.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use store::promql::{Engine, QueryOptions};
use store::{Histogram, Labels, ResetHint};

use super::file::{AlertTest, ExpectedSample, ExprTest};
use super::notation;
use crate::rule::evaluation::vector_of;
use crate::rule::sheet::Sheet;

/// Labels and annotations.
pub(super) type Alert = (BTreeMap<String, String>, BTreeMap<String, String>);

/// The difference between the alerts that fire and those that are expected, if there is one.
pub(super) fn alerts(check: &AlertTest, mut firing: Vec<Alert>) -> Option<String> {
    let mut expected: Vec<Alert> = check
        .exp_alerts
        .iter()
        .map(|alert| {
            let mut labels = alert.exp_labels.clone();
            labels.insert("alertname".to_owned(), check.alertname.clone());
            (labels, alert.exp_annotations.clone())
        })
        .collect();
    expected.sort();
    firing.sort();
    (expected != firing).then(|| {
        format!(
            "alert {} at {}:\n  expected: {}\n  fires:    {}",
            check.alertname,
            check.eval_time.text,
            told(&expected),
            told(&firing)
        )
    })
}

fn told(alerts: &[Alert]) -> String {
    let mut text = String::new();
    for (labels, annotations) in alerts {
        let labels = labels.iter().map(|(name, value)| format!("{name}={value:?}"));
        let labels = labels.collect::<Vec<_>>().join(", ");
        // Writing to a text cannot fail.
        write!(text, "\n    {{{labels}}}").ok();
        for (name, value) in annotations {
            write!(text, "\n      {name}: {value:?}").ok();
        }
    }
    if text.is_empty() { "nothing".to_owned() } else { text }
}

/// A sample as it is compared; the value of a histogram is 0.
type Compared = (Labels, f64, Option<Arc<Histogram>>);

/// The difference between the value of an expression and the samples that are expected, if there is one.
pub(super) fn samples(check: &ExprTest, engine: &Engine, sheet: &Sheet, fuzzy: bool) -> Option<String> {
    let place = format!("{:?} at {}", check.expr, check.eval_time.text);
    let answer = engine.instant(sheet, &check.expr, check.eval_time.ms, &QueryOptions::default());
    let value = answer
        .map_err(|error| error.to_string())
        .and_then(|answer| vector_of(answer.value));
    let (vector, histograms) = match value {
        Ok(vectors) => vectors,
        Err(problem) => return Some(format!("{place}: {problem}")),
    };
    let found = vector.into_iter().map(|(labels, value)| {
        let histogram = histograms.get(&labels).map(Arc::clone);
        (labels, value, histogram)
    });
    let mut found: Vec<Compared> = found.collect();
    let mut expected = Vec::new();
    for sample in &check.exp_samples {
        match expectation(sample) {
            Ok(sample) => expected.push(sample),
            Err(problem) => return Some(format!("{place}: labels {:?}: {problem}", sample.labels)),
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    let same = found.len() == expected.len() && found.iter().zip(&expected).all(|(a, b)| is_same(a, b, fuzzy));
    (!same).then(|| {
        format!(
            "{place}:\n  expected: {}\n  is:       {}",
            listed(&expected),
            listed(&found)
        )
    })
}

fn expectation(sample: &ExpectedSample) -> Result<Compared, String> {
    let labels = notation::labels(&sample.labels)?;
    let histogram = match sample.histogram.as_str() {
        "" => None,
        text => {
            let mut histogram = notation::histogram(text)?;
            // Queries here tell nobody that a counter went on: promtool's `not_reset` and `unknown` are the same.
            if histogram.reset == ResetHint::NotReset {
                Arc::make_mut(&mut histogram).reset = ResetHint::Unknown;
            }
            Some(histogram)
        }
    };
    Ok((labels, sample.value, histogram))
}

/// As promtool compares: NaN is nothing's equal, and neighbouring numbers are the same only where that was asked for.
fn is_same(a: &Compared, b: &Compared, fuzzy: bool) -> bool {
    let near = |a: f64, b: f64| fuzzy && (a.next_down() == b || a.next_up() == b);
    let histograms = match (&a.2, &b.2) {
        (None, None) => true,
        (Some(a), Some(b)) => told_histogram(a) == told_histogram(b),
        _ => false,
    };
    a.0 == b.0 && (a.1 == b.1 || near(a.1, b.1)) && histograms
}

fn listed(samples: &[Compared]) -> String {
    let one = |(labels, value, histogram): &Compared| match histogram {
        Some(histogram) => format!("\n    {labels} {}", told_histogram(histogram)),
        None => format!("\n    {labels} {value}"),
    };
    if samples.is_empty() {
        "nothing".to_owned()
    } else {
        samples.iter().map(one).collect()
    }
}

/// A histogram in the notation of series; what says the same is written the same.
fn told_histogram(histogram: &Histogram) -> String {
    let mut fields = Vec::new();
    if histogram.schema != 0 {
        fields.push(format!("schema:{}", histogram.schema));
    }
    let numbers = [
        ("count", histogram.count),
        ("sum", histogram.sum),
        ("z_bucket", histogram.zero_count),
        ("z_bucket_w", histogram.zero_threshold),
    ];
    fields.extend(
        numbers
            .iter()
            .filter(|(_, v)| *v != 0.0)
            .map(|(name, v)| format!("{name}:{v}")),
    );
    let joined = |numbers: &[f64]| numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(" ");
    if histogram.is_custom() {
        fields.push(format!("custom_values:[{}]", joined(histogram.own_bounds())));
    }
    let hint = ["", "reset", "not_reset", "gauge"][usize::from(histogram.reset.number())];
    if !hint.is_empty() {
        fields.push(format!("counter_reset_hint:{hint}"));
    }
    for (offset_name, name, buckets) in [
        ("offset", "buckets", &histogram.positive),
        ("n_offset", "n_buckets", &histogram.negative),
    ] {
        let (Some(first), Some(last)) = (buckets.first(), buckets.last()) else {
            continue;
        };
        if first.index != 0 {
            fields.push(format!("{offset_name}:{}", first.index));
        }
        let count = |index: i32| {
            buckets
                .iter()
                .find(|bucket| bucket.index == index)
                .map_or(0.0, |bucket| bucket.count)
        };
        let counts: Vec<f64> = (first.index..=last.index).map(count).collect();
        fields.push(format!("{name}:[{}]", joined(&counts)));
    }
    format!("{{{{{}}}}}", fields.join(" "))
}
