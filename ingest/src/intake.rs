//! One request's way into the store: series resolved, samples gathered, all of it appended at once.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLockReadGuard;
use store::table::Table;
use store::table::logs::{LogRecord, LogRows};
use store::{
    Batch, ErrorKind, Exemplar, Histogram, HistogramError, Labels, LabelsBuf, METRIC_NAME, Metadata, SeriesId, Store,
    StoreError, host_of,
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use crate::cache::{Key, Known, Met, SeriesCache};
use crate::delta::{Added, Changes};
use crate::limits::Limits;
use crate::problem::Problem;
use crate::refusal::{Reason, Refusals};

/// Logs are appended in batches of about so many bytes; a batch of the store may have four times as many.
const LOG_BATCH_BYTES: usize = 4 << 20;
/// Most bytes of one record with the attributes of its resource.
pub(crate) const LOG_RECORD_BYTES_MAX: usize = 1 << 20;
/// Most bytes of all records of a request: each has the attributes of its resource, which are sent once.
const LOG_REQUEST_BYTES_MAX: usize = 64 << 20;
/// A counter that began longer than this before its first sample gets no zero there: the head of a store is no older.
const START_AGE_MAX_MS: i64 = 3_600_000;
/// The last millisecond of the year 9999.
const LATEST_MS: i64 = 253_402_300_799_999;

/// Characters that the labels of an exemplar may have together, as OpenMetrics bounds them.
const EXEMPLAR_CHARS_MAX: usize = 128;

/// Metrics that a request may describe before the store, which has a bound for all, is told: more than that is no usual sender's.
const METADATA_GATHERED_MAX: usize = 10_000;

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) accepted: u64,
    /// Native histograms among them.
    pub(crate) histograms: u64,
    /// Exemplars that are kept.
    pub(crate) exemplars: u64,
    /// Exemplars that are not: too long, too many, or older than what their series has.
    pub(crate) exemplars_skipped: u64,
    pub(crate) refusals: Refusals,
}

impl Outcome {
    /// What a sender of samples is told where some were refused, though the others are stored: to come again where one of those may be
    /// taken later, else what to change.
    pub(crate) fn problem(&self) -> Option<Problem> {
        let hint = self.refusals.main()?.hint();
        let detail = format!("{}; {} samples stored", self.refusals.describe(), self.accepted);
        Some(if self.refusals.iter().any(|(reason, _)| reason.is_temporary()) {
            Problem::limit(detail, hint)
        } else {
            Problem::invalid(detail, hint)
        })
    }

    /// Numbers, native histograms and exemplars that are kept.
    pub(crate) fn written(&self) -> [u64; 3] {
        [self.accepted - self.histograms, self.histograms, self.exemplars]
    }
}

/// Why a request ends early, with nothing of it kept.
#[derive(Debug)]
pub(crate) enum Stop {
    Decode(wire::DecodeError),
    Problem(Problem),
}

impl From<wire::DecodeError> for Stop {
    fn from(error: wire::DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl From<Stop> for Problem {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Decode(error) => error.into(),
            Stop::Problem(problem) => problem,
        }
    }
}

/// A request being decoded.
pub(crate) struct Intake<'a> {
    store: &'a Arc<Store>,
    limits: &'a Limits,
    cache: &'a SeriesCache,
    seed: u64,
    known: RwLockReadGuard<'a, Known>,
    new: Met,
    batch: Batch,
    metadata: Vec<(Key, String, Metadata)>,
    exemplars: Vec<(SeriesId, Exemplar)>,
    exemplars_seen: u64,
    deltas: Changes<'a>,
    // What is later is no sample yet, and must not move what is summed up.
    latest_ms: i64,
    // Where series that this request gave a zero began to count.
    begun: HashMap<SeriesId, i64>,
    logs: LogRows,
    // Batches of logs that are large enough.
    full: Vec<LogRows>,
    logs_len: usize,
    logs_bytes: usize,
    /// What the sender calls this request, so that it counts once.
    pub(crate) batch_id: Option<String>,
    /// The only host that this request may write for.
    host: Option<String>,
    pub(crate) refusals: Refusals,
}

impl<'a> Intake<'a> {
    /// A request that may write for `host` alone, where one is given.
    pub(crate) fn new(
        store: &'a Arc<Store>,
        limits: &'a Limits,
        cache: &'a SeriesCache,
        seed: u64,
        host: Option<String>,
    ) -> Self {
        Self {
            store,
            limits,
            cache,
            // Series that others met are strangers to a bound writer, so that each is checked when it first sends it.
            seed: host.as_ref().map_or(seed, |host| seed ^ xxh3_64(host.as_bytes())),
            host,
            known: cache.known(),
            new: Met::default(),
            batch: store.batch(),
            metadata: Vec::new(),
            exemplars: Vec::new(),
            exemplars_seen: 0,
            deltas: cache.deltas.changes(limits.delta_series_max),
            latest_ms: store.latest_ms(),
            begun: HashMap::new(),
            logs: LogRows::default(),
            full: Vec::new(),
            logs_len: 0,
            logs_bytes: 0,
            batch_id: None,
            refusals: Refusals::default(),
        }
    }

    pub(crate) fn limits(&self) -> &'a Limits {
        self.limits
    }

    /// Now, by the clock of the store.
    pub(crate) fn now_ms(&self) -> i64 {
        self.store.now_ms()
    }

    pub(crate) fn hash(&self, bytes: &[u8]) -> Key {
        xxh3_128_with_seed(bytes, self.seed)
    }

    /// As [`Intake::hash`], of remote write's labels as they came: never the key of anything else.
    #[inline]
    pub(crate) fn hash_encoded(&self, labels: &[u8]) -> Key {
        const ENCODED: u64 = 0x7265_6d6f_7465_7772;
        xxh3_128_with_seed(labels, self.seed ^ ENCODED)
    }

    /// The series whose points have this key, if one was met before.
    #[inline]
    pub(crate) fn known(&self, key: Key) -> Option<SeriesId> {
        self.known.get(key).or_else(|| self.new.get(&key).copied())
    }

    /// The series with these labels; `None` where it is refused, which is counted for `samples` samples.
    pub(crate) fn resolve(&mut self, key: Key, labels: &mut LabelsBuf, samples: u64) -> Result<Option<SeriesId>, Stop> {
        if let Some(reason) = check_labels(labels, self.limits) {
            self.refusals.add(reason, samples, || describe(labels));
            return Ok(None);
        }
        if let Some(host) = &self.host
            && host_of(&Labels::from_pairs(labels.iter())) != Some(host.as_str())
        {
            self.refusals.add(Reason::OtherHost, samples, || describe(labels));
            return Ok(None);
        }
        match self.batch.series(labels) {
            Ok(id) => {
                self.new.insert(key, id);
                Ok(Some(id))
            }
            Err(StoreError::TooManySeries { limit }) => {
                self.refusals.add(Reason::SeriesLimit, samples, || {
                    format!("the limit is {limit}, the series {}", describe(labels))
                });
                Ok(None)
            }
            Err(error) if error.kind() == ErrorKind::Invalid => {
                self.refusals.add(Reason::BadLabel, samples, || describe(labels));
                Ok(None)
            }
            Err(error) => Err(Stop::Problem(error.into())),
        }
    }

    /// Takes samples of any age: history that is brought in later.
    pub(crate) fn take_any_age(&mut self) {
        self.batch.take_any_age();
    }

    /// Adds a sample, unless its timestamp is out of all bounds.
    #[inline]
    pub(crate) fn push(&mut self, id: SeriesId, at_ms: i64, value: f64) -> Result<(), Stop> {
        if !(0..=LATEST_MS).contains(&at_ms) {
            self.refusals.add(Reason::BadTimestamp, 1, || format!("{at_ms} ms"));
            return Ok(());
        }
        let max = self.limits.samples_per_request_max;
        if self.batch.len() >= max {
            return Err(Stop::Problem(Problem::too_large(format!(
                "the request holds more than {max} samples"
            ))));
        }
        self.batch.push(id, at_ms, value);
        Ok(())
    }

    /// Takes note that a counter, whose next sample is of `at_ms`, began to count at `start_ms`: where that is wanted it gets a
    /// zero there, so that its first increase is seen, unless it has samples as new already. As Prometheus'
    /// `created-timestamp-zero-ingestion`.
    pub(crate) fn begins(&mut self, id: SeriesId, start_ms: i64, at_ms: i64) -> Result<(), Stop> {
        let near = (at_ms.saturating_sub(START_AGE_MAX_MS)..at_ms).contains(&start_ms);
        if !self.limits.zero_at_start || start_ms <= 0 || !near {
            return Ok(());
        }
        let newest = self.begun.get(&id).copied().max(self.store.newest_at_most(id));
        if newest.is_none_or(|newest| newest < start_ms) {
            self.begun.insert(id, start_ms);
            self.push(id, start_ms, 0.0)?;
        }
        Ok(())
    }

    /// The sum that a series has come to with `value` added at `at_ms`; `None`, counted, where it cannot be added.
    pub(crate) fn accumulate(&mut self, id: SeriesId, at_ms: i64, value: f64) -> Option<f64> {
        let reason = if at_ms > self.latest_ms {
            // The store would refuse the sum, and every later point of the series would be late.
            Reason::TooFarAhead
        } else {
            match self.deltas.add(id, at_ms, value) {
                Added::Total(total) => return Some(total),
                Added::Late => Reason::LateDelta,
                Added::Full => Reason::DeltaLimit,
            }
        };
        self.refusals.add(reason, 1, || format!("{at_ms} ms"));
        None
    }

    /// Whether the request may bring another exemplar; one that is not wanted is counted.
    pub(crate) fn wants_exemplar(&mut self) -> bool {
        let wanted = self.exemplars.len() < self.limits.exemplars_per_request_max;
        self.exemplars_seen += u64::from(!wanted);
        wanted
    }

    /// Adds an exemplar, unless its labels are too long or the request has too many. Exemplars are extras: what is wrong with
    /// one is counted and does not speak against the request.
    pub(crate) fn exemplar<'l>(
        &mut self,
        id: SeriesId,
        at_ms: i64,
        value: f64,
        labels: impl IntoIterator<Item = Result<(&'l str, &'l str), wire::DecodeError>>,
    ) -> Result<(), Stop> {
        self.exemplars_seen += 1;
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        let mut chars = 0;
        for label in labels {
            let (name, value) = label?;
            chars += name.chars().count() + value.chars().count();
            if chars > EXEMPLAR_CHARS_MAX || name.is_empty() || pairs.iter().any(|(n, _)| *n == name) {
                return Ok(());
            }
            pairs.push((name, value));
        }
        let wanted = self.exemplars.len() < self.limits.exemplars_per_request_max;
        if wanted && (0..=LATEST_MS).contains(&at_ms) {
            let labels = Labels::from_pairs(pairs);
            self.exemplars.push((id, Exemplar { labels, at_ms, value }));
        }
        Ok(())
    }

    /// Adds a native histogram, unless it or its timestamp cannot be.
    pub(crate) fn push_histogram(
        &mut self,
        id: SeriesId,
        at_ms: i64,
        histogram: Result<Histogram, HistogramError>,
        describe: impl Fn() -> String,
    ) -> Result<(), Stop> {
        if !(0..=LATEST_MS).contains(&at_ms) {
            self.refusals.add(Reason::BadTimestamp, 1, || format!("{at_ms} ms"));
            return Ok(());
        }
        let max = self.limits.samples_per_request_max;
        if self.batch.len() >= max {
            return Err(Stop::Problem(Problem::too_large(format!(
                "the request holds more than {max} samples"
            ))));
        }
        if let Err(error) = histogram.and_then(|histogram| self.batch.push_histogram(id, at_ms, histogram)) {
            self.refusals
                .add(Reason::BadNativeHistogram, 1, || format!("{}: {error}", describe()));
        }
        Ok(())
    }

    /// Adds a record of a log, unless it is too large.
    pub(crate) fn push_log(
        &mut self,
        record: &LogRecord<'_>,
        attributes: &[(&str, String)],
        resource: &[(String, String)],
    ) -> Result<(), Stop> {
        if let Some(host) = &self.host
            && record.host != Some(host.as_str())
        {
            let example = || format!("a record of host {:?}", record.host.unwrap_or_default());
            self.refusals.add(Reason::OtherHost, 1, example);
            return Ok(());
        }
        let bytes = LogRows::bytes_of(record, attributes, resource);
        if bytes > LOG_RECORD_BYTES_MAX {
            let example = || format!("{bytes} bytes, the limit is {LOG_RECORD_BYTES_MAX}");
            self.refusals.add(Reason::RecordTooLarge, 1, example);
            return Ok(());
        }
        let max = self.limits.samples_per_request_max;
        if self.logs_len >= max {
            return Err(Stop::Problem(Problem::too_large(format!(
                "the request holds more than {max} records"
            ))));
        }
        self.logs_len += 1;
        self.logs_bytes += bytes;
        if self.logs_bytes > LOG_REQUEST_BYTES_MAX {
            return Err(Stop::Problem(Problem::too_large(format!(
                "the records of the request, each with the attributes of its resource, take more than {LOG_REQUEST_BYTES_MAX} bytes"
            ))));
        }
        let refused = |error: StoreError| Stop::Problem(error.into());
        self.logs.push(record, attributes, resource).map_err(refused)?;
        if self.logs.bytes() >= LOG_BATCH_BYTES {
            self.full.push(std::mem::take(&mut self.logs));
        }
        Ok(())
    }

    /// Whether [`Intake::describe`] was called with this key in a request that was stored.
    pub(crate) fn is_described(&self, key: Key) -> bool {
        self.cache.is_described(key)
    }

    /// Records what a metric is, when the request is stored.
    pub(crate) fn describe(&mut self, key: Key, metric: String, metadata: Metadata) {
        self.metadata.push((key, metric, metadata));
        if self.metadata.len() >= METADATA_GATHERED_MAX {
            self.hand_on_metadata();
        }
    }

    fn hand_on_metadata(&mut self) {
        for (_, metric, metadata) in self.metadata.drain(..) {
            self.store.set_metadata(&metric, metadata);
        }
    }

    /// Appends everything; returns when it is durable.
    pub(crate) fn finish(self) -> Result<Outcome, Problem> {
        let Self {
            store,
            limits,
            cache,
            known,
            new,
            batch,
            metadata,
            exemplars,
            exemplars_seen,
            deltas,
            logs,
            mut full,
            batch_id,
            mut refusals,
            ..
        } = self;
        // A writer of the cache must not wait for this request's disk write.
        drop(known);
        for (_, metric, metadata) in &metadata {
            store.set_metadata(metric, metadata.clone());
        }
        let (mut accepted, mut histograms) = (0, 0);
        if !batch.is_empty() {
            let appended = store.append(batch)?;
            accepted = appended.accepted;
            histograms = appended.accepted_histograms;
            refusals.add_stored(appended.refused);
        }
        deltas.keep();
        let exemplars = store.add_exemplars(exemplars);
        full.push(logs);
        for (n, rows) in full.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            // A request that is cut short by an error and comes again adds what is missing.
            let id = batch_id.as_ref().map(|id| format!("{id}/{n}"));
            let appended = store.append_rows(Table::Logs, id.as_deref(), rows.finish()?)?;
            accepted += appended.accepted;
            refusals.add(Reason::TooFarAhead, appended.too_far_ahead, String::new);
        }
        // Only now: a series whose registration was not synced must be registered again.
        cache.learn(&new, limits.cached_series_max);
        if !metadata.is_empty() {
            cache.described(metadata.iter().map(|(key, ..)| *key), limits.cached_series_max);
        }
        Ok(Outcome {
            accepted,
            histograms,
            exemplars,
            exemplars_skipped: exemplars_seen - exemplars,
            refusals,
        })
    }
}

fn check_labels(labels: &LabelsBuf, limits: &Limits) -> Option<Reason> {
    if labels.len() > limits.labels_max {
        return Some(Reason::TooManyLabels);
    }
    let mut named = false;
    for (name, value) in labels.iter() {
        if name.is_empty() {
            return Some(Reason::BadLabel);
        }
        if name.len() > limits.label_name_bytes_max || value.len() > limits.label_value_bytes_max {
            return Some(Reason::LabelTooLong);
        }
        named |= name == METRIC_NAME && !value.is_empty();
    }
    (!named).then_some(Reason::NoName)
}

/// The labels in PromQL's notation, for an example.
pub(crate) fn describe(labels: &LabelsBuf) -> String {
    let metric = labels
        .iter()
        .find(|(name, _)| *name == METRIC_NAME)
        .map_or("", |(_, value)| value);
    let mut out: String = metric.chars().take(80).collect();
    let mut separator = '{';
    for (name, value) in labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
        if out.len() > 240 {
            out.push_str(",…");
            break;
        }
        let (name, value): (String, String) = (name.chars().take(40).collect(), value.chars().take(40).collect());
        out += &format!("{separator}{name}={value:?}");
        separator = ',';
    }
    if separator == ',' {
        out.push('}');
    }
    out
}
