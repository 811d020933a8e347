//! Failures with start and end, and what became of an example.

mod book;
mod import;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use book::{IncidentBook, IncidentError};
pub use import::{ImportError, from_csv, from_json};

pub(crate) use import::{fields, parse_time};

/// A failure of a host, or of a device on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Stable name, unique within a tenant.
    pub id: String,
    /// The host that failed.
    pub host: String,
    /// The device that failed, where it was one.
    pub device: Option<String>,
    /// First instant of the failure, milliseconds UTC.
    pub start: i64,
    /// First instant after it; none while it lasts.
    pub end: Option<i64>,
    /// What kind of failure, in a word or two: `host_oom`, `disk_full`.
    pub kind: String,
    /// Who says so.
    pub source: Source,
    /// Whether it was real.
    pub verdict: Verdict,
    /// A sentence for people.
    pub summary: String,
}

impl Incident {
    /// A real failure of a host that is known from beginning to end, `span` in milliseconds UTC.
    #[must_use]
    pub fn past(id: String, host: &str, kind: &str, span: Range<i64>, source: Source) -> Self {
        Self {
            id,
            host: host.to_owned(),
            device: None,
            start: span.start,
            end: Some(span.end),
            kind: kind.to_owned(),
            source,
            verdict: Verdict::Real,
            summary: String::new(),
        }
    }
}

/// Who declared an incident.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A person, through page, chat or API.
    #[default]
    Declared,
    /// A file or another system.
    Imported,
    /// The hardware or the kernel: XID, ECC, OOM kill, thermal shutdown.
    Hardware,
    /// A rule that is marked as an outcome.
    Rule,
    /// The simulator.
    Simulated,
}

/// What people said about an incident afterwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was a failure.
    #[default]
    Real,
    /// It was none.
    Noise,
    /// It would have been one, had nobody acted: neither a failure nor a survival (UPLearning, FSE 2023).
    Mitigated,
}

macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }
        impl std::str::FromStr for $type {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { text: text.to_owned(), allowed: &[$($word),+] }),
                }
            }
        }
    };
}
words!(Source { Declared = "declared", Imported = "imported", Hardware = "hardware", Rule = "rule", Simulated = "simulated" });
words!(Verdict { Real = "real", Noise = "noise", Mitigated = "mitigated" });

/// A word that is not among those allowed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text:?} is none of {}", allowed.join(", "))]
pub struct UnknownWord {
    /// What was given.
    pub text: String,
    /// What may be given.
    pub allowed: &'static [&'static str],
}

/// One incident as examples see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First instant.
    pub start: i64,
    /// First instant after it, [`i64::MAX`] while it lasts.
    pub end: i64,
    /// Whether somebody acted before it could fail.
    pub mitigated: bool,
    /// Whether it began within another one: then it is no target of its own.
    pub nested: bool,
    /// Position in [`Incidents::kinds`].
    pub kind: u32,
}

/// The incidents of one host, by start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostIncidents {
    spans: Vec<Span>,
}

impl HostIncidents {
    /// All of them, by start.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// How many started within `(after, until]`.
    pub(crate) fn starts_between(&self, after: i64, until: i64) -> usize {
        let from = self.spans.partition_point(|s| s.start <= after);
        let to = self.spans.partition_point(|s| s.start <= until);
        to.saturating_sub(from)
    }

    /// When the latest one that had started by `at` started.
    pub(crate) fn last_start(&self, at: i64) -> Option<i64> {
        let n = self.spans.partition_point(|s| s.start <= at);
        n.checked_sub(1).map(|i| self.spans[i].start)
    }

    /// When the latest one that had ended by `at` ended.
    pub(crate) fn last_end(&self, at: i64) -> Option<i64> {
        self.spans.iter().map(|s| s.end).filter(|end| *end <= at).max()
    }

    /// The first that starts within `(after, until]`.
    fn first_within(&self, after: i64, until: i64) -> Option<usize> {
        let i = self.spans.partition_point(|s| s.start <= after);
        self.spans.get(i).filter(|s| s.start <= until).map(|_| i)
    }

    /// Whether `at` lies within one of them.
    pub(crate) fn inside(&self, at: i64) -> bool {
        let n = self.spans.partition_point(|s| s.start <= at);
        self.spans[..n].iter().any(|s| at < s.end && !s.mitigated)
    }

    /// What became of an example at `at` that looks `gap` to `horizon` ahead, where outcomes are known up to `known_until`.
    #[must_use]
    pub fn outcome(&self, at: i64, gap_ms: i64, horizon_ms: i64, known_until: i64) -> Outcome {
        if self.inside(at) {
            return Outcome::Inside;
        }
        match self.first_within(at + gap_ms, at + horizon_ms) {
            Some(i) if self.spans[i].mitigated => Outcome::Censored,
            _ if at + horizon_ms > known_until => Outcome::Censored,
            Some(i) => Outcome::Failed { incident: i },
            // An incident between now and the end of the gap is too near to be foreseen and too near to be survived.
            None if gap_ms > 0 && self.first_within(at, at + gap_ms).is_some() => Outcome::Censored,
            None => Outcome::Survived,
        }
    }
}

/// What became of an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An incident started within the horizon; which one, as a position among the host's.
    Failed {
        /// Position in [`HostIncidents::spans`].
        incident: usize,
    },
    /// None did.
    Survived,
    /// Nobody can know: history ends within the horizon, or somebody acted.
    Censored,
    /// The example lies within an incident and asks nothing about the future.
    Inside,
}

/// Incidents of a fleet, by host, without noise: what training, backtest and features read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Incidents {
    hosts: BTreeMap<String, HostIncidents>,
    /// All starts, ascending.
    starts: Vec<i64>,
    /// Kinds that occur.
    pub kinds: Vec<String>,
}

impl Incidents {
    /// Sorts by host and start; drops what was noise.
    #[must_use]
    pub fn new(incidents: &[Incident]) -> Self {
        let mut kinds: Vec<String> = incidents.iter().map(|i| i.kind.clone()).collect();
        kinds.sort();
        kinds.dedup();
        let mut hosts: BTreeMap<String, HostIncidents> = BTreeMap::new();
        for incident in incidents.iter().filter(|i| i.verdict != Verdict::Noise) {
            let kind = kinds.binary_search(&incident.kind).unwrap_or(0) as u32;
            hosts.entry(incident.host.clone()).or_default().spans.push(Span {
                start: incident.start,
                // An incident of no length would hide no example and be found by none.
                end: incident.end.map_or(i64::MAX, |end| end.max(incident.start + 1)),
                mitigated: incident.verdict == Verdict::Mitigated,
                nested: false,
                kind,
            });
        }
        for host in hosts.values_mut() {
            host.spans.sort_by_key(|s| (s.start, s.end, s.kind));
            let mut latest_end = i64::MIN;
            for span in &mut host.spans {
                span.nested = span.start < latest_end;
                latest_end = latest_end.max(span.end);
            }
        }
        let mut starts: Vec<i64> = hosts.values().flat_map(|h| &h.spans).map(|s| s.start).collect();
        starts.sort_unstable();
        Self { hosts, starts, kinds }
    }

    /// How many started within `(after, until]` on any host.
    pub(crate) fn starts_between(&self, after: i64, until: i64) -> usize {
        let from = self.starts.partition_point(|s| *s <= after);
        let to = self.starts.partition_point(|s| *s <= until);
        to.saturating_sub(from)
    }

    /// How many usually start on any host within `span`: as many a time as within the last `over`, counted from the first
    /// start in it, since nobody knows how long before it the record began.
    pub(crate) fn usual_starts(&self, at: i64, span: i64, over: i64) -> f64 {
        let first = self.starts.partition_point(|s| *s <= at - over);
        let n = self.starts_between(at - over, at);
        let since = self.starts.get(first).map_or(0, |first| at - first);
        n as f64 * span as f64 / since.max(span) as f64
    }

    /// Those of one host.
    #[must_use]
    pub fn of(&self, host: &str) -> Option<&HostIncidents> {
        self.hosts.get(host)
    }

    /// Host by host.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HostIncidents)> {
        self.hosts.iter().map(|(h, i)| (h.as_str(), i))
    }

    /// How many there are that count as targets.
    #[must_use]
    pub fn count(&self) -> usize {
        self.hosts
            .values()
            .flat_map(|h| &h.spans)
            .filter(|s| !s.nested && !s.mitigated)
            .count()
    }
}

#[cfg(test)]
mod tests;
