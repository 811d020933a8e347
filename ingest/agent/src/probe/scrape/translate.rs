//! A target's text as OTLP points that become the target's own series again.
//!
//! Names come out of the translation as they went in: a counter is sent as one where `_total` ends its name, and as a gauge
//! otherwise, and units are not told. Buckets of a histogram and quantiles of a summary become one point; where they do not
//! fit together (no whole numbers, buckets that shrink, parts that are missing) each is sent by itself, as a gauge.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::mem;

use wire::exposition::{Format, Line, Property, Sample, lines};
use wire::metric::Kind;
use wire::otlp::write::{Distribution, RequestWriter};
use wire::prometheus_name;

use super::ScrapeError;

/// Samples of one target.
pub(super) const SAMPLES_MAX: usize = 20_000;

/// What the server takes of a series, less what it adds: name, `job`, `instance` and `host_name` of 64 labels.
const LABELS_MAX: usize = 60;
const LABEL_NAME_BYTES_MAX: usize = 1024;
const LABEL_VALUE_BYTES_MAX: usize = 4096;

/// Longest help text that is passed on, as the server keeps it.
const HELP_CHARS_MAX: usize = 1024;

/// Labels that the target does not have to give: those of its resource, and what would say that its series are another host's.
const OWN: [&str; 4] = ["job", "instance", "host_name", "host"];

/// Whole numbers up to this are exact (2^53).
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// What a text came to.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Samples in it, and those of them that were written.
    pub(super) samples: usize,
    pub(super) kept: usize,
    /// Hashes of the series that were written, sorted.
    pub(super) keys: Vec<u64>,
}

/// Writes a text's samples. With `now` those alone that are not in it, as gone, but for those that bring their own time.
pub(super) fn translate(
    text: &str,
    format: Format,
    at_nanos: u64,
    now: Option<&[u64]>,
    out: &mut RequestWriter,
) -> Result<Told, ScrapeError> {
    let mut translator = Translator {
        at_nanos,
        now,
        told: Told::default(),
        family: Family::default(),
        open: None,
        out,
    };
    for line in lines(text, format) {
        match line? {
            Line::About { metric, property, text } => translator.learn(metric, property, &text),
            Line::Sample(sample) => translator.sample(&sample)?,
        }
    }
    translator.end_family();
    let mut told = translator.told;
    told.keys.sort_unstable();
    Ok(told)
}

type Attributes<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Shape {
    #[default]
    Value,
    Counter,
    Histogram,
    Summary,
}

/// A metric family while its lines are read.
#[derive(Debug, Default)]
struct Family<'a> {
    name: Cow<'a, str>,
    help: String,
    shape: Shape,
    /// Its histograms or summaries, and where each is by its labels.
    groups: Vec<Group<'a>>,
    by_labels: HashMap<Attributes<'a>, usize>,
}

/// What a sample of a histogram or summary is.
enum Part {
    Mark,
    Sum,
    Count,
}

/// One histogram or summary.
#[derive(Debug, Default)]
struct Group<'a> {
    attributes: Attributes<'a>,
    /// The time that its samples bring; all of them the same one, or it cannot be one point.
    at_ms: Option<i64>,
    broken: bool,
    /// Buckets or quantiles: the label as it stands there, as a number, and the value.
    marks: Vec<(Cow<'a, str>, f64, f64)>,
    sum: Option<f64>,
    count: Option<f64>,
}

struct Translator<'a, 'w> {
    at_nanos: u64,
    now: Option<&'w [u64]>,
    told: Told,
    family: Family<'a>,
    /// Name and kind of the metric that is open in the writer.
    open: Option<(String, Kind)>,
    out: &'w mut RequestWriter,
}

impl<'a> Translator<'a, '_> {
    fn learn(&mut self, metric: Cow<'a, str>, property: Property, text: &str) {
        if metric != self.family.name {
            self.end_family();
            self.family.name = metric;
        }
        match property {
            Property::Help => self.family.help = text.chars().take(HELP_CHARS_MAX).collect(),
            Property::Type => {
                self.family.shape = match text {
                    "counter" => Shape::Counter,
                    "histogram" => Shape::Histogram,
                    "summary" => Shape::Summary,
                    _ => Shape::Value,
                };
            }
            Property::Unit => {}
        }
    }

    fn sample(&mut self, sample: &Sample<'a>) -> Result<(), ScrapeError> {
        self.told.samples += 1;
        if self.told.samples > SAMPLES_MAX {
            return Err(ScrapeError::TooManySamples { max: SAMPLES_MAX });
        }
        let Some((name, attributes)) = named(sample) else {
            return Ok(());
        };
        match self.family.part(&name, &attributes) {
            Some((part, label)) => self.family.gather(part, label, attributes, sample),
            None => {
                let counts = self.family.shape == Shape::Counter
                    && name
                        .strip_prefix(&*self.family.name)
                        .is_some_and(|rest| matches!(rest, "" | "_total"));
                self.number(&name, counts, &attributes, sample.at_ms, sample.value);
            }
        }
        Ok(())
    }

    /// Writes a sample as a point of its own.
    fn number(&mut self, name: &str, counts: bool, attributes: &Attributes<'a>, at_ms: Option<i64>, value: f64) {
        let is_open = |open: &(String, Kind)| open.0 == name && (open.1 == Kind::Counter) == counts;
        let kind = match self.open.as_ref().filter(|open| is_open(open)) {
            Some((_, kind)) => *kind,
            None if counts && prometheus_name(name, "", Kind::Counter) == name => Kind::Counter,
            None => Kind::Gauge,
        };
        let Some(gone) = self.wants(name, attributes, at_ms, 1) else {
            return;
        };
        if self.open.as_ref().is_none_or(|(open, of)| open != name || *of != kind) {
            let help = if name.starts_with(&*self.family.name) {
                self.family.help.as_str()
            } else {
                ""
            };
            self.out.metric_named(name, "", kind, help);
            self.open = Some((name.to_owned(), kind));
        }
        let value = if gone { STALE } else { value };
        let time = self.time(at_ms);
        self.out.point(&borrowed(attributes), 0, time, value);
    }

    /// Notes a series of `samples` samples; whether it is to be written as gone, and `None` where it is not to be written.
    fn wants(&mut self, name: &str, attributes: &Attributes<'_>, at_ms: Option<i64>, samples: usize) -> Option<bool> {
        let key = hashed(name, attributes);
        if let Some(now) = self.now {
            // Who sets the time itself also decides how long a sample stands.
            return (at_ms.is_none() && now.binary_search(&key).is_err()).then_some(true);
        }
        let fits = |(name, value): &(Cow<'_, str>, Cow<'_, str>)| {
            name.len() <= LABEL_NAME_BYTES_MAX && value.len() <= LABEL_VALUE_BYTES_MAX
        };
        if attributes.len() > LABELS_MAX || name.len() > LABEL_VALUE_BYTES_MAX || !attributes.iter().all(fits) {
            return None;
        }
        self.told.kept += samples;
        self.told.keys.push(key);
        Some(false)
    }

    fn time(&self, at_ms: Option<i64>) -> u64 {
        let own = at_ms.and_then(|at_ms| u64::try_from(at_ms).ok());
        own.map_or(self.at_nanos, |at_ms| at_ms.saturating_mul(1_000_000))
    }

    /// Writes what was gathered of the family and forgets it.
    fn end_family(&mut self) {
        let mut family = mem::take(&mut self.family);
        let groups = mem::take(&mut family.groups);
        self.open = None;
        let (whole, broken): (Vec<_>, Vec<_>) = groups.into_iter().partition(|group| group.is_whole(family.shape));
        if !whole.is_empty() {
            match family.shape {
                Shape::Summary => self.out.summary_named(&family.name, "", &family.help),
                _ => self.out.metric_named(&family.name, "", Kind::Histogram, &family.help),
            };
        }
        for group in &whole {
            self.whole(&family, group);
        }
        self.family = family;
        for group in &broken {
            self.apart(group);
        }
        self.family = Family::default();
        self.open = None;
    }

    /// Writes a histogram or summary as one point.
    fn whole(&mut self, family: &Family<'a>, group: &Group<'a>) {
        let samples = group.marks.len() + usize::from(group.sum.is_some()) + usize::from(group.count.is_some());
        let Some(gone) = self.wants(&family.name, &group.attributes, group.at_ms, samples) else {
            return;
        };
        let point = Distribution {
            start_unix_nano: 0,
            time_unix_nano: self.time(group.at_ms),
            sum: group.sum,
            gone,
        };
        let attributes = borrowed(&group.attributes);
        if family.shape == Shape::Summary {
            let quantiles: Vec<(f64, f64)> = group.marks.iter().map(|(_, at, value)| (*at, *value)).collect();
            self.out
                .summary_point(&attributes, &point, group.total() as u64, &quantiles);
            return;
        }
        let (mut bounds, mut counts, mut below) = (Vec::new(), Vec::new(), 0);
        for (_, bound, value) in group.marks.iter().filter(|(_, bound, _)| bound.is_finite()) {
            bounds.push(*bound);
            counts.push(*value as u64 - below);
            below = *value as u64;
        }
        counts.push(group.total() as u64 - below);
        self.out.histogram_of(&attributes, &point, &bounds, &counts);
    }

    /// Writes what cannot be one point sample by sample.
    fn apart(&mut self, group: &Group<'a>) {
        let family = self.family.name.clone();
        let (name, label) = match self.family.shape {
            Shape::Summary => (family.to_string(), "quantile"),
            _ => (format!("{family}_bucket"), "le"),
        };
        for (text, _, value) in &group.marks {
            let mut attributes = group.attributes.clone();
            attributes.push((label.into(), text.clone()));
            self.number(&name, false, &attributes, group.at_ms, *value);
        }
        for (suffix, value) in [("_sum", group.sum), ("_count", group.count)] {
            if let Some(value) = value {
                let name = format!("{family}{suffix}");
                self.number(&name, false, &group.attributes, group.at_ms, value);
            }
        }
    }
}

impl<'a> Family<'a> {
    /// What a sample is of the family's histograms or summaries, with the label that says which bucket or quantile.
    fn part(&self, name: &str, attributes: &Attributes<'a>) -> Option<(Part, &'static str)> {
        let (mark, label) = match self.shape {
            Shape::Histogram => ("_bucket", "le"),
            Shape::Summary => ("", "quantile"),
            Shape::Value | Shape::Counter => return None,
        };
        let rest = name.strip_prefix(&*self.name)?;
        let number = |value: &str| value.parse::<f64>().is_ok();
        let marks = || attributes.iter().any(|(name, value)| name == label && number(value));
        match rest {
            _ if rest == mark => marks().then_some((Part::Mark, label)),
            "_sum" => Some((Part::Sum, label)),
            "_count" => Some((Part::Count, label)),
            _ => None,
        }
    }

    fn gather(&mut self, part: Part, label: &str, mut attributes: Attributes<'a>, sample: &Sample<'a>) {
        let mark = match part {
            Part::Mark => attributes.iter().position(|(name, _)| name == label),
            Part::Sum | Part::Count => None,
        };
        let mark = mark.map(|at| attributes.remove(at).1);
        let at = match self.by_labels.get(&attributes) {
            Some(at) => *at,
            None => {
                self.groups.push(Group {
                    attributes: attributes.clone(),
                    at_ms: sample.at_ms,
                    ..Group::default()
                });
                self.by_labels.insert(attributes, self.groups.len() - 1);
                self.groups.len() - 1
            }
        };
        let group = &mut self.groups[at];
        group.broken |= group.at_ms != sample.at_ms;
        let given = match (part, mark) {
            (Part::Mark, Some(text)) => {
                let number = text.parse().unwrap_or(f64::NAN);
                group.marks.push((text, number, sample.value));
                None
            }
            (Part::Count, _) => group.count.replace(sample.value),
            _ => group.sum.replace(sample.value),
        };
        group.broken |= given.is_some();
    }
}

impl Group<'_> {
    /// How many values in all: the count, or the last bucket.
    fn total(&self) -> f64 {
        let last = self.marks.last().map_or(0.0, |(_, _, value)| *value);
        self.count.unwrap_or(last)
    }

    /// Whether it can be one point from which the same samples come again.
    fn is_whole(&self, shape: Shape) -> bool {
        let whole = |value: f64| (0.0..=WHOLE_MAX).contains(&value) && value.fract() == 0.0;
        if self.broken || !whole(self.total()) {
            return false;
        }
        if shape == Shape::Summary {
            return self.sum.is_some() && self.count.is_some();
        }
        let rises = |pair: &[(Cow<'_, str>, f64, f64)]| pair[0].1 < pair[1].1 && pair[0].2 <= pair[1].2;
        let Some((_, last, all)) = self.marks.last() else {
            return false;
        };
        self.marks.windows(2).all(rises)
            && self
                .marks
                .iter()
                .all(|(_, bound, value)| *bound > f64::NEG_INFINITY && whole(*value))
            && *last == f64::INFINITY
            && *all == self.total()
    }
}

/// Prometheus' staleness marker, which the writer sends as "no recorded value".
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// A sample's name, and its labels sorted, those renamed that it does not have to give.
fn named<'a>(sample: &Sample<'a>) -> Option<(Cow<'a, str>, Attributes<'a>)> {
    let mut name = None;
    let mut attributes: Attributes<'a> = Vec::new();
    for (label, value) in sample.labels() {
        if label == "__name__" {
            name = Some(value);
        } else if !value.is_empty() {
            attributes.push((label, value));
        }
    }
    for i in 0..attributes.len() {
        if OWN.contains(&&*attributes[i].0) {
            let mut label = format!("exported_{}", attributes[i].0);
            while attributes.iter().any(|(taken, _)| *taken == label) {
                label.insert_str(0, "exported_");
            }
            attributes[i].0 = label.into();
        }
    }
    attributes.sort_unstable();
    Some((name?, attributes))
}

fn borrowed<'b>(attributes: &'b Attributes<'_>) -> Vec<(&'b str, &'b str)> {
    attributes.iter().map(|(name, value)| (&**name, &**value)).collect()
}

fn hashed(name: &str, attributes: &Attributes<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (name, attributes).hash(&mut hasher);
    hasher.finish()
}
