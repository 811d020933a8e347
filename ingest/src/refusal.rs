//! Samples that are not taken although their request is well formed: why, how many, and one of them by name.

use store::{RefuseReason, Refused};

/// Why a sample is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    NoName,
    BadLabel,
    TooManyLabels,
    LabelTooLong,
    BadTimestamp,
    NoValue,
    BadHistogram,
    Temporality,
    LateDelta,
    DeltaLimit,
    DeltaExponential,
    BadNativeHistogram,
    UnknownKind,
    SeriesLimit,
    OtherHost,
    TooFarAhead,
    TooOld,
    RolledUp,
    BadLine,
    RecordTooLarge,
}

impl Reason {
    /// The reason as a label's value.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NoName => "no_name",
            Self::BadLabel => "bad_label",
            Self::TooManyLabels => "too_many_labels",
            Self::LabelTooLong => "label_too_long",
            Self::BadTimestamp => "bad_timestamp",
            Self::NoValue => "no_value",
            Self::BadHistogram => "bad_histogram",
            Self::Temporality => "temporality",
            Self::LateDelta => "late_delta",
            Self::DeltaLimit => "delta_limit",
            Self::DeltaExponential => "delta_exponential_histogram",
            Self::BadNativeHistogram => "bad_native_histogram",
            Self::UnknownKind => "unknown_kind",
            Self::SeriesLimit => "series_limit",
            Self::OtherHost => "other_host",
            Self::TooFarAhead => RefuseReason::TooFarAhead.as_str(),
            Self::TooOld => RefuseReason::TooOld.as_str(),
            Self::RolledUp => RefuseReason::RolledUp.as_str(),
            Self::BadLine => "bad_line",
            Self::RecordTooLarge => "record_too_large",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::NoName => "the metric has no name that Prometheus could use",
            Self::BadLabel => "a label's name is empty or given twice",
            Self::TooManyLabels => "too many labels",
            Self::LabelTooLong => "a label's name or value is too long",
            Self::BadTimestamp => "the timestamp is missing or lies outside the years 1970 to 9999",
            Self::NoValue => "the point has no value",
            Self::BadHistogram => "the histogram's counts do not fit its bounds",
            Self::Temporality => "the temporality is neither cumulative nor delta",
            Self::LateDelta => "the delta is no number, or not later than the one before it",
            Self::DeltaLimit => "as many delta series are summed up as may be",
            Self::DeltaExponential => "exponential histograms are taken with cumulative temporality alone",
            Self::BadNativeHistogram => "the exponential or native histogram contradicts itself",
            Self::UnknownKind => "the metric has no data of a known kind",
            Self::SeriesLimit => "the tenant has as many series as it may",
            Self::OtherHost => "the token is bound to another host",
            Self::TooFarAhead => "the timestamp is too far ahead of the server's clock",
            Self::TooOld => "the timestamp is too old for its series",
            Self::RolledUp => "samples of that time are kept as rollups alone",
            Self::BadLine => "a line is no series",
            Self::RecordTooLarge => "the record is too large",
        }
    }

    /// What the sender can do.
    pub(crate) const fn hint(self) -> &'static str {
        match self {
            Self::NoName => "name the metric with at least one letter or digit",
            Self::BadLabel => "give each label one name that is not empty",
            Self::TooManyLabels | Self::LabelTooLong => "drop or shorten labels at the sender",
            Self::BadTimestamp => "set the time of each point: nanoseconds in OTLP, milliseconds in remote write",
            Self::NoValue => "set as_double or as_int, or the flag for no recorded value",
            Self::BadHistogram => "send one count more than bounds, and bounds that rise",
            Self::Temporality => "set the aggregation temporality of sums and histograms",
            Self::LateDelta => "send the points of a series in the order of their time, from one sender",
            Self::DeltaLimit => {
                "set OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative at the sender, or drop attributes"
            }
            Self::DeltaExponential => {
                "set OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative at the sender, or let it aggregate into explicit buckets"
            }
            Self::BadNativeHistogram => {
                "send a scale of -4 or more, buckets that ascend, and counts of them that add up to the count of all"
            }
            Self::UnknownKind => "send a gauge, a sum, a histogram or a summary",
            Self::SeriesLimit => "drop labels with many values at the sender, or raise the tenant's limit of series",
            Self::OtherHost => "send with a token of this host, or with one that is bound to none",
            Self::TooFarAhead => "set the sender's clock (NTP); timestamps are milliseconds in remote write",
            Self::TooOld => "send older samples first, or raise the out-of-order window",
            Self::RolledUp => "send history before it is older than retention_days",
            Self::BadLine => {
                r#"write each line as {"metric":{"__name__":"up"},"values":[1],"timestamps":[1795305600000]}"#
            }
            Self::RecordTooLarge => "shorten the body and the attributes at the sender",
        }
    }

    /// Whether the same sample may be taken when it comes again later.
    pub(crate) const fn is_temporary(self) -> bool {
        matches!(self, Self::SeriesLimit | Self::DeltaLimit)
    }
}

/// All samples of one request that are not taken.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    // In the order in which they were met; there are few reasons, so a vector is searched.
    entries: Vec<(Reason, u64, String)>,
    /// Whether records of logs were sent, and no samples.
    pub(crate) of_records: bool,
}

impl Refusals {
    /// Counts refused samples; the first of each reason is described by `example`.
    pub(crate) fn add(&mut self, reason: Reason, count: u64, example: impl FnOnce() -> String) {
        if count == 0 {
            return;
        }
        if let Some((_, n, _)) = self.entries.iter_mut().find(|(r, ..)| *r == reason) {
            *n += count;
        } else {
            let example: String = example().chars().take(300).collect();
            self.entries.push((reason, count, example));
        }
    }

    pub(crate) fn add_stored(&mut self, refused: Vec<Refused>) {
        for Refused { reason, count, example } in refused {
            let reason = match reason {
                RefuseReason::TooFarAhead => Reason::TooFarAhead,
                RefuseReason::TooOld => Reason::TooOld,
                RefuseReason::RolledUp => Reason::RolledUp,
            };
            self.add(reason, count, || example);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Reason and number of each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Reason, u64)> {
        self.entries.iter().map(|(reason, count, _)| (*reason, *count))
    }

    pub(crate) fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }

    /// The reason that a hint should speak of: the one that met most samples.
    pub(crate) fn main(&self) -> Option<Reason> {
        self.iter().max_by_key(|(_, count)| *count).map(|(reason, _)| reason)
    }

    /// All of it in one line.
    pub(crate) fn describe(&self) -> String {
        let parts: Vec<_> = self
            .entries
            .iter()
            .map(|(reason, count, example)| match example.as_str() {
                "" => format!("{count} because {}", reason.words()),
                _ => format!("{count} because {} ({example})", reason.words()),
            })
            .collect();
        let things = if self.of_records { "records" } else { "samples" };
        format!("{things} refused: {}", parts.join("; "))
    }
}
