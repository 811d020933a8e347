//! OTLP points to samples of the store: names, labels and kinds as Prometheus' OTLP endpoint makes them.
//!
//! - Names and labels by [`wire::prometheus`]; attributes whose labels meet are joined with `;` in the order of their keys.
//! - `service.namespace/service.name` becomes `job`, `service.instance.id` becomes `instance`, `host.name` becomes `host_name`
//!   on every series that has no such label of its own; all other attributes of the resource stand on `target_info`.
//! - How names are translated, which attributes of the resource are copied to its series, and whether the scope is told, is
//!   chosen by [`OtlpOptions`].
//! - Delta points are summed up ([`crate::delta`]), so that what is stored is cumulative.
//! - An exponential histogram becomes a native one, scaled down to schema 8 where it is finer.
//! - An explicit histogram becomes `_bucket` with `le`, `_sum` and `_count`; a summary its quantiles, `_sum` and `_count`.
//! - "No recorded value" becomes the staleness marker.

use std::fmt::Write as _;

use store::{LabelsBuf, METRIC_NAME, Metadata, MetricKind, SeriesId, stale_nan};
use wire::DecodeError;
use wire::metric::Kind;
use wire::otlp::Temporality;
use wire::otlp::read::{
    self, Attributes, Data, Exemplar, ExponentialHistogramPoint, HistogramPoint, Metric, NumberPoint, Points,
    ResourceMetrics, ScopeMetrics, SummaryPoint,
};
use wire::prometheus::{Translation, unit_name};
use wire::protobuf::put_varint;

use crate::cache::Key;
use crate::histogram;
use crate::intake::{Intake, Stop};
use crate::refusal::Reason;

/// Prometheus repeats `target_info` at least twice within its lookback of five minutes.
const TARGET_INFO_STEP_MS: i64 = 150_000;
/// A request whose resource spans more steps than this (some 40 hours) gets `target_info` at its ends only.
const TARGET_INFO_STEPS_MAX: i64 = 1000;

/// What a resource says of itself.
const TARGET_INFO: &str = "target_info";

/// Longest help text that is kept.
const HELP_CHARS_MAX: usize = 1024;

/// How OTLP becomes series; the names are those of Prometheus' section `otlp`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtlpOptions {
    /// How names of metrics and labels are made.
    pub translation: Translation,
    /// Attributes of the resource that stand on each of its series, beside `host.name`, which always does as `host_name`.
    pub promote_resource_attributes: Vec<String>,
    /// Whether `target_info` repeats what `job` and `instance` are made of.
    pub keep_identifying_resource_attributes: bool,
    /// Whether the scope stands on each series, as `otel_scope_name` and so on.
    pub promote_scope_metadata: bool,
}

/// Reads a whole OTLP request into `intake`.
pub(crate) fn request(body: &[u8], options: &OtlpOptions, intake: &mut Intake<'_>) -> Result<(), Stop> {
    let mut normalizer = Normalizer::new(options);
    for resource in read::request(body) {
        normalizer.resource(&resource?, intake)?;
    }
    Ok(())
}

/// The part of a series that a point's attributes do not tell.
#[derive(Clone, Copy)]
enum Role {
    Value,
    Sum,
    Count,
    Bucket(f64),
    Quantile(f64),
}

impl Role {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Value | Self::Quantile(_) => "",
            Self::Sum => "_sum",
            Self::Count => "_count",
            Self::Bucket(_) => "_bucket",
        }
    }

    fn bytes(self) -> [u8; 9] {
        let (tag, bits) = match self {
            Self::Value => (0, 0),
            Self::Sum => (1, 0),
            Self::Count => (2, 0),
            Self::Bucket(bound) => (3, bound.to_bits()),
            Self::Quantile(quantile) => (4, quantile.to_bits()),
        };
        let mut out = [tag; 9];
        out[1..].copy_from_slice(&bits.to_le_bytes());
        out
    }

    fn label(self) -> Option<(&'static str, f64)> {
        match self {
            Self::Bucket(bound) => Some(("le", bound)),
            Self::Quantile(quantile) => Some(("quantile", quantile)),
            _ => None,
        }
    }
}

/// A resource as far as its series need it.
#[derive(Default)]
struct Resource {
    key: Key,
    job: String,
    instance: String,
    host: String,
    /// Labels of the attributes that are promoted.
    promoted: Vec<(String, String)>,
    /// Whether it has attributes that stand on `target_info` alone.
    describes: bool,
    first_ms: i64,
    last_ms: i64,
}

/// A metric as far as its series need it.
#[derive(Clone, Copy)]
struct Open<'a> {
    key: Key,
    name: &'a str,
    unit: &'a str,
    kind: Kind,
    /// Whether points count since the one before.
    delta: bool,
}

/// Memory that is used again from point to point.
struct Normalizer<'o> {
    options: &'o OtlpOptions,
    resource: Resource,
    /// The scope as bytes of a key and as labels; empty where it is not told.
    scope_bytes: Vec<u8>,
    scope: Vec<(String, String)>,
    labels: LabelsBuf,
    bytes: Vec<u8>,
    text: String,
    counts: Vec<u64>,
    bounds: Vec<f64>,
}

impl<'o> Normalizer<'o> {
    fn new(options: &'o OtlpOptions) -> Self {
        Self {
            options,
            resource: Resource::default(),
            scope_bytes: Vec::new(),
            scope: Vec::new(),
            labels: LabelsBuf::default(),
            bytes: Vec::new(),
            text: String::new(),
            counts: Vec::new(),
            bounds: Vec::new(),
        }
    }

    fn resource(&mut self, resource: &ResourceMetrics<'_>, intake: &mut Intake<'_>) -> Result<(), Stop> {
        self.read_resource(&resource.resource, intake)?;
        for scope in resource.scopes() {
            let scope = scope?;
            if self.options.promote_scope_metadata {
                self.read_scope(&scope, intake.limits().labels_max)?;
            }
            for metric in scope.metrics() {
                self.metric(&metric?, intake)?;
            }
        }
        self.target_info(&resource.resource, intake)
    }

    fn read_resource(&mut self, attributes: &Attributes<'_>, intake: &Intake<'_>) -> Result<(), Stop> {
        self.bytes.clear();
        put_attributes(&mut self.bytes, attributes)?;
        let (mut namespace, mut name) = (String::new(), None);
        let mut resource = Resource {
            key: intake.hash(&self.bytes),
            first_ms: i64::MAX,
            last_ms: i64::MIN,
            ..Resource::default()
        };
        for attribute in attributes {
            let (key, value) = attribute?;
            match key {
                "service.namespace" => value.text(&mut self.text)?.clone_into(&mut namespace),
                "service.name" => name = Some(value.text(&mut self.text)?.to_owned()),
                "service.instance.id" => value.text(&mut self.text)?.clone_into(&mut resource.instance),
                _ => {
                    resource.describes = true;
                    if key == "host.name" {
                        value.text(&mut self.text)?.clone_into(&mut resource.host);
                    }
                }
            }
            if self.options.promote_resource_attributes.iter().any(|name| name == key) {
                let mut label = String::new();
                if self.options.translation.write_label_name(key, &mut label) {
                    put_first(&mut resource.promoted, label, value.text(&mut self.text)?);
                }
            }
        }
        if let Some(name) = name {
            resource.job = if namespace.is_empty() {
                name
            } else {
                format!("{namespace}/{name}")
            };
        }
        self.resource = resource;
        Ok(())
    }

    fn read_scope(&mut self, scope: &ScopeMetrics<'_>, max: usize) -> Result<(), Stop> {
        self.scope_bytes.clear();
        self.scope.clear();
        for (label, text) in [
            ("otel_scope_name", scope.name),
            ("otel_scope_version", scope.version),
            ("otel_scope_schema_url", scope.schema_url),
        ] {
            self.scope_bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            self.scope_bytes.extend_from_slice(text.as_bytes());
            if !text.is_empty() {
                self.scope.push((label.to_owned(), text.to_owned()));
            }
        }
        put_attributes(&mut self.scope_bytes, &scope.attributes)?;
        for attribute in &scope.attributes {
            // One label too many is enough for each series to be refused.
            if self.scope.len() > max {
                break;
            }
            let (key, value) = attribute?;
            let mut label = String::new();
            if self
                .options
                .translation
                .write_label_name(&format!("otel_scope_{key}"), &mut label)
            {
                put_first(&mut self.scope, label, value.text(&mut self.text)?);
            }
        }
        Ok(())
    }

    fn metric(&mut self, metric: &Metric<'_>, intake: &mut Intake<'_>) -> Result<(), Stop> {
        let Some(data) = &metric.data else {
            intake.refusals.add(Reason::UnknownKind, 1, || metric.name.to_owned());
            return Ok(());
        };
        let (kind, described) = match data {
            Data::Gauge(_) => (Kind::Gauge, MetricKind::Gauge),
            Data::Sum { monotonic: true, .. } => (Kind::Counter, MetricKind::Counter),
            Data::Sum { .. } => (Kind::UpDownCounter, MetricKind::Gauge),
            Data::Histogram { .. } | Data::ExponentialHistogram { .. } => (Kind::Histogram, MetricKind::Histogram),
            Data::Summary(_) => (Kind::Histogram, MetricKind::Summary),
        };
        self.bytes.clear();
        self.bytes.extend_from_slice(&self.resource.key.to_le_bytes());
        self.bytes
            .extend_from_slice(&(self.scope_bytes.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(&self.scope_bytes);
        self.bytes.extend_from_slice(&[kind as u8, described as u8]);
        for text in [metric.name, metric.unit] {
            self.bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            self.bytes.extend_from_slice(text.as_bytes());
        }
        let open = Open {
            key: intake.hash(&self.bytes),
            name: metric.name,
            unit: metric.unit,
            kind,
            delta: matches!(
                data,
                Data::Sum {
                    temporality: Temporality::Delta,
                    ..
                } | Data::Histogram {
                    temporality: Temporality::Delta,
                    ..
                }
            ),
        };
        let refuse = |reason, points: &Points<'_>, intake: &mut Intake<'_>| -> Result<(), Stop> {
            let count = points.count()?;
            intake.refusals.add(reason, count, || metric.name.to_owned());
            Ok(())
        };
        match data {
            Data::Sum {
                points, temporality, ..
            }
            | Data::Histogram { points, temporality }
            | Data::ExponentialHistogram { points, temporality }
                if *temporality == Temporality::Unspecified =>
            {
                return refuse(Reason::Temporality, points, intake);
            }
            Data::Gauge(points) | Data::Sum { points, .. } => {
                for point in points.numbers() {
                    self.number(&open, &point?, intake)?;
                }
            }
            Data::Histogram { points, .. } => {
                for point in points.histograms() {
                    self.histogram(&open, &point?, intake)?;
                }
            }
            Data::ExponentialHistogram { points, temporality } => {
                if *temporality != Temporality::Cumulative {
                    return refuse(Reason::DeltaExponential, points, intake);
                }
                for point in points.exponential_histograms() {
                    self.exponential(&open, &point?, intake)?;
                }
            }
            Data::Summary(points) => {
                for point in points.summaries() {
                    self.summary(&open, &point?, intake)?;
                }
            }
        }
        self.describe(metric, &open, described, intake);
        Ok(())
    }

    #[inline]
    fn number(&mut self, metric: &Open<'_>, point: &NumberPoint<'_>, intake: &mut Intake<'_>) -> Result<(), Stop> {
        let value = match point.value {
            _ if point.gone => stale_nan(),
            Some(value) => value,
            None => {
                intake.refusals.add(Reason::NoValue, 1, || metric.name.to_owned());
                return Ok(());
            }
        };
        let Some(at_ms) = self.time(metric, point.time_unix_nano, intake) else {
            return Ok(());
        };
        let base = self.point_key(metric, &point.attributes, intake)?;
        let id = self.sample(metric, base, Role::Value, &point.attributes, at_ms, value, intake)?;
        if let Some(id) = id.filter(|_| point.has_exemplars) {
            for exemplar in point.exemplars() {
                self.exemplar(id, &exemplar?, intake)?;
            }
        }
        Ok(())
    }

    fn exemplar(&mut self, id: SeriesId, exemplar: &Exemplar<'_>, intake: &mut Intake<'_>) -> Result<(), Stop> {
        let Some(value) = exemplar.value.filter(|_| intake.wants_exemplar()) else {
            return Ok(());
        };
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut labels = vec![
            ("trace_id".to_owned(), hex(exemplar.trace_id)),
            ("span_id".to_owned(), hex(exemplar.span_id)),
        ];
        labels.retain(|(_, value)| !value.is_empty());
        // One attribute too many is enough to leave the exemplar out.
        for attribute in exemplar.attributes.iter().take(intake.limits().labels_max) {
            let (key, value) = attribute?;
            let mut label = String::new();
            if self.options.translation.write_label_name(key, &mut label) {
                labels.push((label, value.text(&mut self.text)?.to_owned()));
            }
        }
        let at_ms = (exemplar.time_unix_nano / 1_000_000) as i64;
        let labels = labels.iter().map(|(name, value)| Ok((name.as_str(), value.as_str())));
        intake.exemplar(id, at_ms, value, labels)
    }

    fn histogram(
        &mut self,
        metric: &Open<'_>,
        point: &HistogramPoint<'_>,
        intake: &mut Intake<'_>,
    ) -> Result<(), Stop> {
        let Some(at_ms) = self.time(metric, point.time_unix_nano, intake) else {
            return Ok(());
        };
        let (mut counts, mut bounds) = (std::mem::take(&mut self.counts), std::mem::take(&mut self.bounds));
        counts.clear();
        bounds.clear();
        for count in point.bucket_counts() {
            counts.push(count?);
        }
        for bound in point.explicit_bounds().doubles() {
            bounds.push(bound?);
        }
        let fits = counts.len() == bounds.len() + 1 || (counts.is_empty() && bounds.is_empty());
        if fits && bounds.is_sorted_by(|a, b| a < b) {
            let value = |value: f64| if point.gone { stale_nan() } else { value };
            let attributes = &point.attributes;
            let base = self.point_key(metric, attributes, intake)?;
            if let Some(sum) = point.sum {
                self.sample(metric, base, Role::Sum, attributes, at_ms, value(sum), intake)?;
            }
            let count = value(point.count as f64);
            self.sample(metric, base, Role::Count, attributes, at_ms, count, intake)?;
            let mut below = 0_u64;
            let mut buckets = Vec::new();
            for (bound, n) in bounds.iter().zip(&counts).filter(|(bound, _)| bound.is_finite()) {
                below = below.saturating_add(*n);
                let id = self.sample(
                    metric,
                    base,
                    Role::Bucket(*bound),
                    attributes,
                    at_ms,
                    value(below as f64),
                    intake,
                )?;
                if point.has_exemplars {
                    buckets.extend(id.map(|id| (*bound, id)));
                }
            }
            let id = self.sample(
                metric,
                base,
                Role::Bucket(f64::INFINITY),
                attributes,
                at_ms,
                count,
                intake,
            )?;
            buckets.extend(id.map(|id| (f64::INFINITY, id)));
            for exemplar in point.exemplars() {
                let exemplar = exemplar?;
                // The first whose bound is not below: both may be of some hundred thousands.
                let value = exemplar.value.unwrap_or(f64::NAN);
                let bucket = buckets.partition_point(|(bound, _)| value > *bound || value.is_nan());
                if let Some((_, id)) = buckets.get(bucket) {
                    self.exemplar(*id, &exemplar, intake)?;
                }
            }
        } else {
            intake.refusals.add(Reason::BadHistogram, 1, || {
                format!("{}: {} counts, {} bounds", metric.name, counts.len(), bounds.len())
            });
        }
        (self.counts, self.bounds) = (counts, bounds);
        Ok(())
    }

    fn exponential(
        &mut self,
        metric: &Open<'_>,
        point: &ExponentialHistogramPoint<'_>,
        intake: &mut Intake<'_>,
    ) -> Result<(), Stop> {
        let Some(at_ms) = self.time(metric, point.time_unix_nano, intake) else {
            return Ok(());
        };
        let found = histogram::of_otlp(point)?;
        let base = self.point_key(metric, &point.attributes, intake)?;
        if let Some(id) = self.series(metric, base, Role::Value, &point.attributes, intake)? {
            intake.push_histogram(id, at_ms, found, || metric.name.to_owned())?;
        }
        Ok(())
    }

    fn summary(&mut self, metric: &Open<'_>, point: &SummaryPoint<'_>, intake: &mut Intake<'_>) -> Result<(), Stop> {
        let Some(at_ms) = self.time(metric, point.time_unix_nano, intake) else {
            return Ok(());
        };
        let value = |value: f64| if point.gone { stale_nan() } else { value };
        let attributes = &point.attributes;
        let base = self.point_key(metric, attributes, intake)?;
        self.sample(metric, base, Role::Sum, attributes, at_ms, value(point.sum), intake)?;
        self.sample(
            metric,
            base,
            Role::Count,
            attributes,
            at_ms,
            value(point.count as f64),
            intake,
        )?;
        for quantile in point.quantiles() {
            let (quantile, v) = quantile?;
            self.sample(
                metric,
                base,
                Role::Quantile(quantile),
                attributes,
                at_ms,
                value(v),
                intake,
            )?;
        }
        Ok(())
    }

    /// A point's time in milliseconds; `None`, counted, where it has none.
    fn time(&mut self, metric: &Open<'_>, unix_nano: u64, intake: &mut Intake<'_>) -> Option<i64> {
        if unix_nano == 0 {
            intake.refusals.add(Reason::BadTimestamp, 1, || metric.name.to_owned());
            return None;
        }
        // Below 2^64 / 10^6, so it fits.
        let at_ms = (unix_nano / 1_000_000) as i64;
        self.resource.first_ms = self.resource.first_ms.min(at_ms);
        self.resource.last_ms = self.resource.last_ms.max(at_ms);
        Some(at_ms)
    }

    fn point_key(&mut self, metric: &Open<'_>, attributes: &Attributes<'_>, intake: &Intake<'_>) -> Result<Key, Stop> {
        self.bytes.clear();
        self.bytes.extend_from_slice(&metric.key.to_le_bytes());
        put_attributes(&mut self.bytes, attributes)?;
        Ok(intake.hash(&self.bytes))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one sample, from four callers")]
    #[inline]
    fn sample(
        &mut self,
        metric: &Open<'_>,
        base: Key,
        role: Role,
        attributes: &Attributes<'_>,
        at_ms: i64,
        value: f64,
        intake: &mut Intake<'_>,
    ) -> Result<Option<SeriesId>, Stop> {
        let Some(id) = self.series(metric, base, role, attributes, intake)? else {
            return Ok(None);
        };
        if metric.delta && !store::is_stale(value) {
            let Some(total) = intake.accumulate(id, at_ms, value) else {
                return Ok(None);
            };
            intake.push(id, at_ms, total)?;
        } else {
            intake.push(id, at_ms, value)?;
        }
        Ok(Some(id))
    }

    /// The series of a point; none, counted, where it is refused.
    #[inline]
    fn series(
        &mut self,
        metric: &Open<'_>,
        base: Key,
        role: Role,
        attributes: &Attributes<'_>,
        intake: &mut Intake<'_>,
    ) -> Result<Option<SeriesId>, Stop> {
        let mut bytes = [0; 25];
        bytes[..16].copy_from_slice(&base.to_le_bytes());
        bytes[16..].copy_from_slice(&role.bytes());
        let key = intake.hash(&bytes);
        match intake.known(key) {
            Some(id) => Ok(Some(id)),
            None => self.resolve(metric, key, role, attributes, intake),
        }
    }

    fn resolve(
        &mut self,
        metric: &Open<'_>,
        key: Key,
        role: Role,
        attributes: &Attributes<'_>,
        intake: &mut Intake<'_>,
    ) -> Result<Option<SeriesId>, Stop> {
        let mut name = String::new();
        let translation = self.options.translation;
        if !translation.write_metric_name(metric.name, metric.unit, metric.kind, &mut name) {
            intake.refusals.add(Reason::NoName, 1, || format!("{:?}", metric.name));
            return Ok(None);
        }
        name += role.suffix();
        let role_label = role.label().map(|(label, _)| label);
        if let Err(reason) = self.put_labels(&name, attributes, &[], role_label, intake.limits().labels_max)? {
            intake.refusals.add(reason, 1, || name);
            return Ok(None);
        }
        if let Some((label, number)) = role.label() {
            self.text.clear();
            let text = if number == f64::INFINITY {
                "+Inf".to_owned()
            } else {
                number.to_string()
            };
            self.text += &text;
            self.labels.push(label, &self.text);
        }
        intake.resolve(key, &mut self.labels, 1)
    }

    /// Fills `labels` with name, attributes and what the resource adds. `skipped` attributes are left out, and so is what would be
    /// named as `role_label`: that of a bucket or quantile, which wins over an attribute of its name, as in Prometheus.
    fn put_labels(
        &mut self,
        name: &str,
        attributes: &Attributes<'_>,
        skipped: &[&str],
        role_label: Option<&str>,
        max: usize,
    ) -> Result<Result<(), Reason>, Stop> {
        let Resource {
            job,
            instance,
            host,
            promoted,
            ..
        } = &self.resource;
        self.labels.clear();
        self.labels.push(METRIC_NAME, name);
        let mut pairs = Vec::new();
        for attribute in attributes {
            let (key, value) = attribute?;
            if pairs.len() >= max {
                return Ok(Err(Reason::TooManyLabels));
            }
            if !skipped.contains(&key) {
                pairs.push((key, value));
            }
        }
        pairs.sort_by_key(|(key, _)| *key);
        let mut labels: Vec<(String, String)> = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            let mut label = String::with_capacity(key.len() + 4);
            if !self.options.translation.write_label_name(key, &mut label) {
                return Ok(Err(Reason::BadLabel));
            }
            let value = match value.text(&mut self.text) {
                Err(DecodeError::TooLarge { .. }) => return Ok(Err(Reason::LabelTooLong)),
                value => value?,
            };
            match labels.iter_mut().find(|(name, _)| *name == label) {
                // Two keys that Prometheus cannot tell apart, such as `a.b` and `a_b`.
                Some((_, joined)) => write!(joined, ";{value}").unwrap_or_default(),
                None => labels.push((label, value.to_owned())),
            }
        }
        if name != TARGET_INFO {
            for (label, value) in promoted.iter().chain(&self.scope) {
                if !labels.iter().any(|(name, _)| name == label) {
                    labels.push((label.clone(), value.clone()));
                }
            }
        }
        if !host.is_empty() && !labels.iter().any(|(label, _)| label == "host_name") {
            self.labels.push("host_name", host);
        }
        // What the resource says of itself wins over attributes of the same name, as does the name of the metric.
        let own = [("job", job), ("instance", instance)];
        for (label, value) in own.iter().filter(|(_, value)| !value.is_empty()) {
            self.labels.push(label, value);
        }
        for (label, value) in &labels {
            let overwritten = own.iter().any(|(name, value)| name == label && !value.is_empty());
            if !overwritten && label != METRIC_NAME && Some(label.as_str()) != role_label {
                self.labels.push(label, value);
            }
        }
        Ok(Ok(()))
    }

    /// The resource's attributes as a series of their own, where it is told apart by `job` or `instance`.
    fn target_info(&mut self, attributes: &Attributes<'_>, intake: &mut Intake<'_>) -> Result<(), Stop> {
        const IDENTIFYING: [&str; 3] = ["service.namespace", "service.name", "service.instance.id"];
        let Resource {
            key,
            first_ms,
            last_ms,
            describes,
            ..
        } = self.resource;
        let skipped: &[&str] = if self.options.keep_identifying_resource_attributes {
            &[]
        } else {
            &IDENTIFYING
        };
        let identified = !(self.resource.job.is_empty() && self.resource.instance.is_empty());
        if !describes || !identified || first_ms > last_ms {
            return Ok(());
        }
        let mut bytes = [b't'; 17];
        bytes[..16].copy_from_slice(&key.to_le_bytes());
        let key = intake.hash(&bytes);
        let id = match intake.known(key) {
            Some(id) => Some(id),
            None => match self.put_labels(TARGET_INFO, attributes, skipped, None, intake.limits().labels_max)? {
                Ok(()) => intake.resolve(key, &mut self.labels, 1)?,
                Err(reason) => {
                    intake.refusals.add(reason, 1, || TARGET_INFO.to_owned());
                    None
                }
            },
        };
        let Some(id) = id else { return Ok(()) };
        if (last_ms - first_ms) / TARGET_INFO_STEP_MS <= TARGET_INFO_STEPS_MAX {
            let mut at_ms = first_ms;
            while at_ms < last_ms {
                intake.push(id, at_ms, 1.0)?;
                at_ms += TARGET_INFO_STEP_MS;
            }
        }
        intake.push(id, last_ms, 1.0)
    }

    fn describe(&mut self, metric: &Metric<'_>, open: &Open<'_>, kind: MetricKind, intake: &mut Intake<'_>) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&[b'm', open.kind as u8, kind as u8]);
        for text in [metric.name, metric.unit, metric.description] {
            self.bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            self.bytes.extend_from_slice(text.as_bytes());
        }
        let key = intake.hash(&self.bytes);
        if intake.is_described(key) {
            return;
        }
        let mut name = String::new();
        let translation = self.options.translation;
        if translation.write_metric_name(metric.name, metric.unit, open.kind, &mut name)
            && name.len() <= intake.limits().label_value_bytes_max
        {
            let help = metric.description.chars().take(HELP_CHARS_MAX).collect();
            let unit = unit_name(metric.unit).chars().take(HELP_CHARS_MAX).collect();
            intake.describe(key, name, Metadata { kind, unit, help });
        }
    }
}

/// Adds a label, unless there is one of its name.
fn put_first(labels: &mut Vec<(String, String)>, label: String, value: &str) {
    if !labels.iter().any(|(name, _)| *name == label) {
        labels.push((label, value.to_owned()));
    }
}

fn put_attributes(out: &mut Vec<u8>, attributes: &Attributes<'_>) -> Result<(), Stop> {
    for raw in attributes.raw() {
        let raw = raw?;
        // As a varint, so that it takes no more than in the message: a pair may be empty.
        put_varint(out, raw.len() as u64);
        out.extend_from_slice(raw);
    }
    Ok(())
}
