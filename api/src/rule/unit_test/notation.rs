//! Prometheus' notation of series in unit tests: `0+10x5 _ stale 3`, `{{count:2 sum:3 buckets:[1 1]}}x4`.

use std::collections::BTreeMap;
use std::sync::Arc;

use store::promql::{Engine, Memory, QueryOptions, Value, parse_selector};
use store::{Bucket, CUSTOM_SCHEMA, Histogram, Histograms, Labels, MatchOp, ResetHint, Samples};

/// Samples of one series that are taken; a test of a year with a sample a minute has half of it.
const SAMPLES_MAX: usize = 1_000_000;

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::rule) enum Sample {
    Number(f64),
    Histogram(Arc<Histogram>),
}

/// The labels of `up{job="a"}`, `{job="a"}` or of nothing at all.
pub(in crate::rule) fn labels(text: &str) -> Result<Labels, String> {
    let text = text.trim();
    let bare = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    if text.is_empty() || bare.is_some_and(|inside| inside.trim().is_empty()) {
        return Ok(Labels::empty());
    }
    let matchers = parse_selector(text).map_err(|error| error.to_string())?;
    if let Some(other) = matchers.iter().find(|matcher| matcher.op != MatchOp::Eq) {
        return Err(format!(
            "a series has labels with =, and {:?} has another operator",
            other.name
        ));
    }
    let pairs = matchers
        .iter()
        .map(|matcher| (matcher.name.as_str(), matcher.value.as_str()));
    Ok(Labels::from_pairs(pairs))
}

/// The samples, one after the other; `None` where one is left out.
pub(in crate::rule) fn values(text: &str) -> Result<Vec<Option<Sample>>, String> {
    let mut scanner = Scanner { rest: text.trim() };
    let mut found = Vec::new();
    while !scanner.rest.is_empty() {
        scanner.item(&mut found)?;
        let after = scanner.rest.trim_start();
        if !after.is_empty() && after.len() == scanner.rest.len() {
            return Err(format!("a space is missing before {:?}", beginning(after)));
        }
        scanner.rest = after;
    }
    Ok(found)
}

/// One histogram, as it is expected of an expression.
pub(super) fn histogram(text: &str) -> Result<Arc<Histogram>, String> {
    match values(text)?.as_slice() {
        [Some(Sample::Histogram(histogram))] => Ok(Arc::clone(histogram)),
        [_] => Err(format!("{text:?} is no histogram")),
        several => Err(format!(
            "one histogram is expected, and there are {} values",
            several.len()
        )),
    }
}

/// Samples at multiples of `interval_ms`, as Prometheus' storage would give them back.
pub(in crate::rule) fn placed(values: Vec<Option<Sample>>, interval_ms: i64) -> (Samples, Histograms) {
    let (mut samples, mut histograms) = (Samples::default(), Histograms::default());
    let mut before: Option<Arc<Histogram>> = None;
    for (at, value) in values.into_iter().enumerate() {
        let at_ms = interval_ms * at as i64;
        match value {
            None => {}
            Some(Sample::Number(number)) => samples.push(at_ms, number),
            Some(Sample::Histogram(histogram)) => {
                let hint = stored_hint(before.as_deref(), &histogram);
                let stored = Histogram {
                    reset: hint,
                    ..Histogram::clone(&histogram)
                };
                histograms.push(at_ms, Arc::new(stored));
                before = Some(histogram);
            }
        }
    }
    (samples, histograms)
}

/// Prometheus' chunks know of every histogram but their first that no counter was reset before it; a reset begins a chunk.
fn stored_hint(before: Option<&Histogram>, now: &Histogram) -> ResetHint {
    if now.reset == ResetHint::Gauge {
        return ResetHint::Gauge;
    }
    match before {
        Some(before) if before.reset != ResetHint::Gauge && goes_on(before, now) => ResetHint::NotReset,
        _ => ResetHint::Unknown,
    }
}

fn goes_on(before: &Histogram, now: &Histogram) -> bool {
    let side = |before: &[Bucket], now: &[Bucket]| {
        before.iter().all(|old| {
            let found = now.iter().find(|new| new.index == old.index);
            found.is_some_and(|new| new.count >= old.count)
        })
    };
    now.reset != ResetHint::Reset
        && now.schema == before.schema
        && now.zero_threshold.to_bits() == before.zero_threshold.to_bits()
        && now.own_bounds() == before.own_bounds()
        && now.count >= before.count
        && now.zero_count >= before.zero_count
        && side(&before.positive, &now.positive)
        && side(&before.negative, &now.negative)
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn item(&mut self, found: &mut Vec<Option<Sample>>) -> Result<(), String> {
        if self.takes("_") {
            let count = self.times()?.unwrap_or(1);
            return push(found, (0..count).map(|_| None));
        }
        if self.rest.starts_with("{{") {
            return self.histograms(found);
        }
        let first = self.number()?;
        if let Some(count) = self.times()? {
            // One more than is written: the first is that of time 0.
            return push(found, (0..=count).map(|_| Some(Sample::Number(first))));
        }
        if self.rest.starts_with(['+', '-']) {
            let step = self.number()?;
            let count = self
                .times()?
                .ok_or("a step is followed by x and how often it is taken, as in 0+10x5")?;
            // Added again and again, as Prometheus does: multiplying would round otherwise.
            let mut value = first;
            return push(
                found,
                (0..=count).map(|_| {
                    let now = value;
                    value += step;
                    Some(Sample::Number(now))
                }),
            );
        }
        push(found, [Some(Sample::Number(first))].into_iter())
    }

    fn histograms(&mut self, found: &mut Vec<Option<Sample>>) -> Result<(), String> {
        let first = self.histogram()?;
        if let Some(count) = self.times()? {
            return push(found, (0..=count).map(|_| Some(Sample::Histogram(Arc::clone(&first)))));
        }
        let sign = match self.rest.chars().next() {
            Some(sign @ ('+' | '-')) => sign,
            _ => return push(found, [Some(Sample::Histogram(first))].into_iter()),
        };
        self.rest = &self.rest[1..];
        let step = self.histogram()?;
        let count = self
            .times()?
            .ok_or("a step is followed by x and how often it is taken")?;
        if found.len().saturating_add(count) >= SAMPLES_MAX {
            return Err(too_many());
        }
        let mut value = first;
        for taken in 0..=count {
            found.push(Some(Sample::Histogram(Arc::clone(&value))));
            if taken < count {
                value = combined(&value, &step, sign)?;
            }
        }
        Ok(())
    }

    fn takes(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn while_of(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c: char| !belongs(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// `x5`, if that is what follows.
    fn times(&mut self) -> Result<Option<usize>, String> {
        if !self.takes("x") {
            return Ok(None);
        }
        let digits = self.while_of(|c| c.is_ascii_digit());
        match digits.parse::<usize>() {
            Ok(count) if count < SAMPLES_MAX => Ok(Some(count)),
            Ok(_) => Err(too_many()),
            Err(_) => Err(format!(
                "x is followed by a whole number, not by {:?}",
                beginning(self.rest)
            )),
        }
    }

    /// A number with or without sign, or `stale`.
    fn number(&mut self) -> Result<f64, String> {
        let place = self.rest;
        let signed = self.rest.starts_with(['+', '-']);
        let negative = self.rest.starts_with('-');
        if signed {
            self.rest = &self.rest[1..];
        }
        let size = if self.rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let word = self.while_of(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
            match word.to_ascii_lowercase().as_str() {
                "inf" => f64::INFINITY,
                "nan" => f64::NAN,
                _ if word == "stale" && !signed => return Ok(store::stale_nan()),
                _ => return Err(format!("{word:?} is neither a number nor stale")),
            }
        } else {
            number_of(self.digits()).ok_or_else(|| format!("a number is expected at {:?}", beginning(place)))?
        };
        Ok(if negative { -size } else { size })
    }

    /// What belongs to an unsigned decimal number.
    fn digits(&mut self) -> &'a str {
        let place = self.rest;
        self.while_of(|c| c.is_ascii_digit());
        if self.takes(".") {
            self.while_of(|c| c.is_ascii_digit());
        }
        if self.rest.starts_with(['e', 'E']) {
            self.rest = &self.rest[1..];
            if self.rest.starts_with(['+', '-']) {
                self.rest = &self.rest[1..];
            }
            self.while_of(|c| c.is_ascii_digit());
        }
        &place[..place.len() - self.rest.len()]
    }

    fn histogram(&mut self) -> Result<Arc<Histogram>, String> {
        let inside = self.rest.strip_prefix("{{").ok_or("a histogram begins with {{")?;
        let end = inside.find("}}").ok_or("a histogram ends with }}")?;
        self.rest = &inside[end + 2..];
        let described = description(&inside[..end])?;
        let histogram = described
            .checked()
            .map_err(|error| format!("{{{{{}}}}}: {error}", &inside[..end]))?;
        Ok(Arc::new(histogram))
    }
}

fn push(found: &mut Vec<Option<Sample>>, more: impl Iterator<Item = Option<Sample>>) -> Result<(), String> {
    found.extend(more.take(SAMPLES_MAX + 1 - found.len().min(SAMPLES_MAX)));
    if found.len() > SAMPLES_MAX {
        Err(too_many())
    } else {
        Ok(())
    }
}

fn too_many() -> String {
    format!("a series of more than {SAMPLES_MAX} samples")
}

fn beginning(text: &str) -> String {
    text.chars().take(20).collect()
}

/// As Go reads it: a whole number that begins with 0 is octal where it can be.
fn number_of(digits: &str) -> Option<f64> {
    let octal = digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|c| (b'0'..=b'7').contains(&c));
    if octal && let Ok(number) = i64::from_str_radix(digits, 8) {
        return Some(number as f64);
    }
    // Rust also reads "inf", which never comes here, and "" not at all.
    digits.parse().ok()
}

/// `first + step` or `first - step`, by the evaluator itself.
fn combined(first: &Arc<Histogram>, step: &Arc<Histogram>, sign: char) -> Result<Arc<Histogram>, String> {
    let mut memory = Memory::default();
    for (name, histogram) in [("first", first), ("step", step)] {
        let mut histograms = Histograms::default();
        histograms.push(0, Arc::clone(histogram));
        let labels = Labels::from_pairs([(store::METRIC_NAME, name)]);
        memory.insert_mixed(labels, Samples::default(), histograms);
    }
    let answer = Engine::default().instant(&memory, &format!("first {sign} step"), 0, &QueryOptions::default());
    match answer.map_err(|error| error.to_string())?.value {
        Value::Vector(points) => points.into_iter().next().and_then(|point| point.histogram),
        _ => None,
    }
    .map(|sum| {
        let reset = first.reset;
        Arc::new(Histogram {
            reset,
            ..Histogram::clone(&sum)
        })
    })
    .ok_or_else(|| "the two histograms cannot be combined: one has bounds of its own, the other has not".to_owned())
}

/// What stands between `{{` and `}}`.
fn description(text: &str) -> Result<Histogram, String> {
    let mut fields: BTreeMap<String, &str> = BTreeMap::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) = rest
            .split_once(':')
            .ok_or_else(|| format!("{:?} is no part of a histogram such as count:2", beginning(rest)))?;
        let end = if after.starts_with('[') {
            after.find(']').ok_or("[ is not closed")? + 1
        } else {
            after.find(char::is_whitespace).unwrap_or(after.len())
        };
        let (value, next) = after.split_at(end);
        if !next.is_empty() && !next.starts_with(char::is_whitespace) {
            return Err(format!("a space is missing before {:?}", beginning(next)));
        }
        if fields.insert(key.to_ascii_lowercase(), value).is_some() {
            return Err(format!("{key} stands twice"));
        }
        rest = next.trim_start();
    }
    described(fields)
}

fn described(mut fields: BTreeMap<String, &str>) -> Result<Histogram, String> {
    let mut number = |name: &str| fields.remove(name).map_or(Ok(0.0), |text| signed_number(text, name));
    let (sum, count) = (number("sum")?, number("count")?);
    let (zero_count, zero_threshold) = (number("z_bucket")?, number("z_bucket_w")?);
    let mut whole = |name: &str| match fields.remove(name) {
        None => Ok(0),
        Some(text) => text
            .parse::<i32>()
            .map_err(|_| format!("{name}: {text:?} is no whole number")),
    };
    let (schema, offset, n_offset) = (whole("schema")?, whole("offset")?, whole("n_offset")?);
    let mut list = |name: &str| fields.remove(name).map(|text| numbers(text, name)).transpose();
    let bounds = list("custom_values")?;
    let positive = buckets(&list("buckets")?.unwrap_or_default(), offset)?;
    let negative = buckets(&list("n_buckets")?.unwrap_or_default(), n_offset)?;
    let reset = match fields.remove("counter_reset_hint") {
        None | Some("unknown") => ResetHint::Unknown,
        Some("reset") => ResetHint::Reset,
        Some("not_reset") => ResetHint::NotReset,
        Some("gauge") => ResetHint::Gauge,
        Some(other) => {
            return Err(format!(
                "counter_reset_hint: {other:?} is not unknown, reset, not_reset or gauge"
            ));
        }
    };
    if let Some(name) = fields.keys().next() {
        return Err(format!("a histogram has no {name:?}"));
    }
    let schema = i8::try_from(schema).map_err(|_| format!("there is no schema {schema}"))?;
    Ok(Histogram {
        reset,
        schema,
        zero_threshold,
        zero_count,
        count,
        sum,
        positive,
        negative,
        bounds: (bounds.is_some() || schema == CUSTOM_SCHEMA).then(|| bounds.unwrap_or_default().into()),
    })
}

fn buckets(counts: &[f64], offset: i32) -> Result<Vec<Bucket>, String> {
    let bucket = |(at, count): (usize, &f64)| {
        let index = i32::try_from(at).ok().and_then(|at| at.checked_add(offset));
        let index = index.ok_or_else(|| format!("offset {offset} is out of range"))?;
        Ok(Bucket { index, count: *count })
    };
    counts.iter().enumerate().map(bucket).collect()
}

fn numbers(text: &str, name: &str) -> Result<Vec<f64>, String> {
    let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inside = inside.ok_or_else(|| format!("{name} is followed by [ and ]"))?;
    inside
        .split_whitespace()
        .map(|word| signed_number(word, name))
        .collect()
}

fn signed_number(text: &str, name: &str) -> Result<f64, String> {
    let mut scanner = Scanner { rest: text };
    match scanner.number() {
        Ok(number) if scanner.rest.is_empty() && !store::is_stale(number) => Ok(number),
        _ => Err(format!("{name}: {text:?} is no number")),
    }
}
