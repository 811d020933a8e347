//! What a series is: its labels, its identity, its samples, and how series are picked.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::recent::Recent;

#[cfg(test)]
mod tests;

/// The label that holds the name of the metric.
pub const METRIC_NAME: &str = "__name__";

/// Bits of the NaN that marks a series as gone (Prometheus, `model/value/value.go`: `StaleNaN`).
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The value that marks a series as gone.
#[must_use]
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Whether `value` marks a series as gone. Other NaNs are ordinary values.
#[must_use]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// Milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The earliest timestamp.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest timestamp.
    pub const MAX: Self = Self(i64::MAX);

    /// Milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }
}

/// A stretch of time; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// First instant that belongs to the range.
    pub start: Timestamp,
    /// Last instant that belongs to the range.
    pub end: Timestamp,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self {
        start: Timestamp::MIN,
        end: Timestamp::MAX,
    };

    /// The range from `start_ms` to `end_ms`, both included.
    #[must_use]
    pub const fn millis(start_ms: i64, end_ms: i64) -> Self {
        Self {
            start: Timestamp(start_ms),
            end: Timestamp(end_ms),
        }
    }

    /// Whether `at_ms` lies within the range.
    #[must_use]
    pub const fn contains(&self, at_ms: i64) -> bool {
        self.start.0 <= at_ms && at_ms <= self.end.0
    }

    /// Whether any instant lies in both ranges.
    #[must_use]
    pub const fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        self.start.0 <= end_ms && start_ms <= self.end.0
    }
}

/// The dense number of a series within one running process. It is not stored; [`SeriesKey`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(pub u32);

/// The identity of a series on disk: 128-bit hash of its canonical label bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey(pub u128);

impl SeriesKey {
    /// The key of canonical label bytes ([`Labels::as_bytes`]).
    #[must_use]
    pub fn of(canonical: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_128(canonical))
    }
}

impl fmt::Debug for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeriesKey({:032x})", self.0)
    }
}

/// The labels of a series, sorted by name, without empty values; cheap to clone.
///
/// Canonical bytes: for each label in byte order of names, `u16` little-endian length and bytes of the name, then the same
/// of the value. Names and values are valid UTF-8 of at most 65,535 bytes.
///
/// ```
/// use foreshock_store::{Labels, METRIC_NAME};
/// let labels = Labels::from_pairs([("host", "a"), (METRIC_NAME, "up")]);
/// assert_eq!(labels.get("host"), Some("a"));
/// assert_eq!(labels.to_string(), r#"up{host="a"}"#);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<[u8]>);

impl Labels {
    /// No labels at all, as an aggregation over everything has.
    #[must_use]
    pub fn empty() -> Self {
        Self(Arc::from([]))
    }

    /// Labels from pairs in any order. Later pairs win over earlier ones of the same name; empty values are dropped. What is longer
    /// than 65,535 bytes is cut there, between two characters.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut buffer = LabelsBuf::default();
        for (name, value) in pairs {
            buffer.push(name, value);
        }
        buffer.labels()
    }

    /// Labels from canonical bytes, or `None` where they are not canonical.
    #[must_use]
    pub fn from_bytes(canonical: &[u8]) -> Option<Self> {
        let mut rest = canonical;
        let mut previous: Option<&str> = None;
        while !rest.is_empty() {
            let name = take(&mut rest)?;
            let value = take(&mut rest)?;
            if previous.is_some_and(|p| p >= name) || value.is_empty() {
                return None;
            }
            previous = Some(name);
        }
        Some(Self(Arc::from(canonical)))
    }

    /// The canonical bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key under which the series is stored.
    #[must_use]
    pub fn key(&self) -> SeriesKey {
        SeriesKey::of(&self.0)
    }

    /// Name and value of each label, by name.
    #[must_use]
    pub fn iter(&self) -> LabelsIter<'_> {
        LabelsIter { rest: &self.0 }
    }

    /// The value of label `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut rest: &[u8] = &self.0;
        while !rest.is_empty() {
            let (found, value) = (take_bytes(&mut rest)?, take_bytes(&mut rest)?);
            if found == name.as_bytes() {
                return std::str::from_utf8(value).ok();
            }
        }
        None
    }

    /// The name of the metric, empty where the labels have none.
    #[must_use]
    pub fn metric(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or("")
    }

    /// How many labels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are no labels.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same labels without those whose name `drop` picks.
    #[must_use]
    pub fn without(&self, drop: impl Fn(&str) -> bool) -> Self {
        Self::from_pairs(self.iter().filter(|(n, _)| !drop(n)))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = LabelsIter<'a>;

    fn into_iter(self) -> LabelsIter<'a> {
        self.iter()
    }
}

/// By names and values, as Prometheus orders series.
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // Byte order of UTF-8 is the order of its characters.
        let (mut a, mut b): (&[u8], &[u8]) = (&self.0, &other.0);
        loop {
            match (take_bytes(&mut a), take_bytes(&mut b)) {
                (None, None) => return std::cmp::Ordering::Equal,
                (left, right) if left != right => return left.cmp(&right),
                _ => {}
            }
        }
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.metric())?;
        let mut separator = "{";
        for (name, value) in self.iter().filter(|(n, _)| *n != METRIC_NAME) {
            write!(f, "{separator}{name}={value:?}")?;
            separator = ",";
        }
        match separator {
            "{" if self.is_empty() => f.write_str("{}"),
            "{" => Ok(()),
            _ => f.write_str("}"),
        }
    }
}

/// Iterator over name and value of each label.
#[derive(Clone, Debug)]
pub struct LabelsIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for LabelsIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some((take(&mut self.rest)?, take(&mut self.rest)?))
    }
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_bytes(rest)?).ok()
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first_chunk::<2>()?;
    let (text, tail) = tail.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    *rest = tail;
    Some(text)
}

/// A reusable scratch in which the labels of a series are gathered; nothing is allocated per label once it has grown.
#[derive(Debug, Default)]
pub struct LabelsBuf {
    // Names and values as they came, each followed by a byte that occurs in no UTF-8.
    text: Vec<u8>,
    // Start of name, end of name, end of value, all within `text`.
    pairs: Vec<(u32, u32, u32)>,
    canonical: Vec<u8>,
}

/// Ends a name or value in [`LabelsBuf`].
const END: u8 = 0xff;

impl LabelsBuf {
    /// Forgets all labels, keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.pairs.clear();
    }

    /// Adds a label, in any order.
    pub fn push(&mut self, name: &str, value: &str) {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(name.as_bytes());
        let middle = self.text.len() as u32;
        self.text.push(END);
        self.text.extend_from_slice(value.as_bytes());
        self.pairs.push((start, middle, self.text.len() as u32));
        self.text.push(END);
    }

    /// How many labels were added.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether no label was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Name and value of each label added so far, in their present order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|&pair| (self.name(pair), self.value(pair)))
    }

    /// The canonical bytes: sorted, without empty values.
    ///
    /// # Errors
    /// [`LabelError`] on a name that is empty, too long or given twice, and on a value that is too long.
    pub fn canonical(&mut self) -> Result<&[u8], LabelError> {
        self.sort();
        for (i, &pair) in self.pairs.iter().enumerate() {
            let name = self.name(pair);
            if name.is_empty() {
                return Err(LabelError::EmptyName);
            }
            if i > 0 && self.name(self.pairs[i - 1]) == name {
                return Err(LabelError::Duplicate { name: name.to_owned() });
            }
            if name.len() > usize::from(u16::MAX) || self.value(pair).len() > usize::from(u16::MAX) {
                return Err(LabelError::TooLong {
                    name: name.chars().take(80).collect(),
                });
            }
        }
        self.write();
        Ok(&self.canonical)
    }

    /// The labels; later ones win over earlier ones of the same name, and empty values are dropped.
    pub(crate) fn labels(&mut self) -> Labels {
        self.sort();
        // Sorted stably, so that of one name the last is the one that was added last.
        self.pairs.dedup_by(|later, earlier| {
            let name = |pair: &(u32, u32, u32)| &self.text[pair.0 as usize..pair.1 as usize];
            let same = name(later) == name(earlier);
            if same {
                *earlier = *later;
            }
            same
        });
        self.write();
        Labels(Arc::from(&*self.canonical))
    }

    fn sort(&mut self) {
        let text = &self.text;
        self.pairs
            .sort_by(|a, b| text[a.0 as usize..a.1 as usize].cmp(&text[b.0 as usize..b.1 as usize]));
    }

    fn write(&mut self) {
        self.canonical.clear();
        for &(start, middle, end) in &self.pairs {
            if middle + 1 == end {
                continue;
            }
            for text in [
                &self.text[start as usize..middle as usize],
                &self.text[middle as usize + 1..end as usize],
            ] {
                let mut length = u16::try_from(text.len()).unwrap_or(u16::MAX);
                // Cut between characters.
                while usize::from(length) < text.len() && text[usize::from(length)] & 0xc0 == 0x80 {
                    length -= 1;
                }
                self.canonical.extend_from_slice(&length.to_le_bytes());
                self.canonical.extend_from_slice(&text[..usize::from(length)]);
            }
        }
    }

    fn name(&self, pair: (u32, u32, u32)) -> &str {
        std::str::from_utf8(&self.text[pair.0 as usize..pair.1 as usize]).unwrap_or("")
    }

    fn value(&self, pair: (u32, u32, u32)) -> &str {
        std::str::from_utf8(&self.text[pair.1 as usize + 1..pair.2 as usize]).unwrap_or("")
    }
}

/// Labels that cannot name a series.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// A label without a name.
    #[error("a label has an empty name")]
    EmptyName,
    /// A name that stands twice.
    #[error("label {name:?} is given twice")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A name or value over 65,535 bytes.
    #[error("label {name:?} is longer than 65535 bytes")]
    TooLong {
        /// The start of the name.
        name: String,
    },
}

/// Timestamps in milliseconds, ascending, and what there is at each of them; both of one length.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline<V> {
    /// Milliseconds since 1970-01-01 UTC.
    pub timestamps: Vec<i64>,
    /// One value a timestamp.
    pub values: Vec<V>,
}

/// Numbers over time.
pub type Samples = Timeline<f64>;

impl<V> Default for Timeline<V> {
    fn default() -> Self {
        Self {
            timestamps: Vec::new(),
            values: Vec::new(),
        }
    }
}

impl<V> Timeline<V> {
    /// Adds one sample at the end.
    pub fn push(&mut self, at_ms: i64, value: V) {
        self.timestamps.push(at_ms);
        self.values.push(value);
    }

    /// How many samples there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// Forgets all samples, keeps the memory.
    pub fn clear(&mut self) {
        self.timestamps.clear();
        self.values.clear();
    }
}

impl Samples {
    /// Timestamp and value of each sample.
    pub fn iter(&self) -> impl Iterator<Item = (i64, f64)> + '_ {
        self.timestamps.iter().copied().zip(self.values.iter().copied())
    }
}

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Eq,
    /// `!=`
    Ne,
    /// `=~`, anchored at both ends
    Re,
    /// `!~`, anchored at both ends
    Nre,
}

/// One condition on a label; a missing label counts as the empty value, as in Prometheus.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// The label.
    pub name: String,
    /// How it is compared.
    pub op: MatchOp,
    /// The value or pattern.
    pub value: String,
    // Shared with other matchers of the same pattern, and with it what matching has learned.
    regex: Option<Arc<regex::Regex>>,
}

impl Matcher {
    /// A condition on label `name`.
    ///
    /// # Errors
    /// [`MatcherError`] when `value` is no regular expression and `op` needs one.
    pub fn new(op: MatchOp, name: impl Into<String>, value: impl Into<String>) -> Result<Self, MatcherError> {
        let (name, value) = (name.into(), value.into());
        let regex = match op {
            MatchOp::Eq | MatchOp::Ne => None,
            MatchOp::Re | MatchOp::Nre => Some(compiled(&value).map_err(|source| MatcherError {
                name: name.clone(),
                value: value.clone(),
                source: Box::new(source),
            })?),
        };
        Ok(Self { name, op, value, regex })
    }

    /// The condition `name = value`.
    #[must_use]
    pub fn eq(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            op: MatchOp::Eq,
            value: value.into(),
            regex: None,
        }
    }

    /// Whether a label with this value, empty for a missing one, meets the condition.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (MatchOp::Eq, _) => value == self.value,
            (MatchOp::Ne, _) => value != self.value,
            (MatchOp::Re, Some(regex)) => regex.is_match(value),
            (MatchOp::Nre, Some(regex)) => !regex.is_match(value),
            (MatchOp::Re | MatchOp::Nre, None) => false,
        }
    }

    /// Whether `labels` meet the condition.
    #[must_use]
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name).unwrap_or(""))
    }
}

/// Patterns kept compiled, and the longest of them. With what a search learns a pattern may take some hundred kilobytes.
const PATTERNS_MAX: usize = 64;
const PATTERN_BYTES_MAX: usize = 256;

/// As Prometheus 3: anchored, and `.` matches a line feed as well.
fn compiled(pattern: &str) -> Result<Arc<regex::Regex>, regex::Error> {
    static PATTERNS: Recent<regex::Regex> = Recent::new(PATTERNS_MAX);
    let compile = || {
        regex::RegexBuilder::new(&format!("^(?s:{pattern})$"))
            .size_limit(1 << 20)
            .build()
    };
    PATTERNS.of(pattern, compile, |_| pattern.len() <= PATTERN_BYTES_MAX)
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op: Cow<'_, str> = match self.op {
            MatchOp::Eq => "=".into(),
            MatchOp::Ne => "!=".into(),
            MatchOp::Re => "=~".into(),
            MatchOp::Nre => "!~".into(),
        };
        write!(f, "{}{op}{:?}", self.name, self.value)
    }
}

/// A matcher whose pattern is no regular expression.
#[derive(Debug, Clone, thiserror::Error)]
#[error("matcher on label {name:?} has no valid regular expression {value:?}")]
pub struct MatcherError {
    /// The label.
    pub name: String,
    /// The pattern.
    pub value: String,
    /// What is wrong with it.
    pub source: Box<regex::Error>,
}
