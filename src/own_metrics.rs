//! Foreshock's own telemetry: OpenTelemetry instruments of all crates, shown at `/metrics` and kept as series like any other.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};

/// How often own metrics are gathered into the store.
const INTERVAL: Duration = Duration::from_secs(10);

/// One value of an own metric, already under its Prometheus name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OwnSample {
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: f64,
}

/// The meter provider of this process and the last gathering of its values.
#[derive(Clone, Debug)]
pub(crate) struct OwnMetrics {
    provider: SdkMeterProvider,
    gathered: Arc<Mutex<Gathered>>,
}

#[derive(Debug, Default)]
struct Gathered {
    text: String,
    samples: Vec<OwnSample>,
}

impl OwnMetrics {
    /// Installs the process-wide meter provider.
    pub(crate) fn install() -> Self {
        let gathered = Arc::new(Mutex::new(Gathered::default()));
        let exporter = Keep {
            gathered: Arc::clone(&gathered),
        };
        let reader = PeriodicReader::builder(exporter).with_interval(INTERVAL).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        opentelemetry::global::set_meter_provider(provider.clone());
        Self { provider, gathered }
    }

    /// The present values in Prometheus' text format.
    pub(crate) fn text(&self) -> String {
        self.gather();
        self.gathered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .text
            .clone()
    }

    /// The present values.
    pub(crate) fn samples(&self) -> Vec<OwnSample> {
        self.gather();
        self.gathered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .samples
            .clone()
    }

    fn gather(&self) {
        if let Err(error) = self.provider.force_flush() {
            tracing::warn!(%error, "own metrics could not be gathered");
        }
    }
}

/// An exporter that keeps what it is given for whoever asks.
#[derive(Debug)]
struct Keep {
    gathered: Arc<Mutex<Gathered>>,
}

impl PushMetricExporter for Keep {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let next = render(metrics);
        *self.gathered.lock().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

fn render(metrics: &ResourceMetrics) -> Gathered {
    let mut out = Gathered::default();
    for metric in metrics
        .scope_metrics()
        .flat_map(opentelemetry_sdk::metrics::data::ScopeMetrics::metrics)
    {
        let mut family = Family {
            name: metric.name(),
            help: metric.description(),
            out: &mut out,
        };
        match metric.data() {
            AggregatedMetrics::F64(data) => family.add(data, |v| v),
            AggregatedMetrics::U64(data) => family.add(data, |v| v as f64),
            AggregatedMetrics::I64(data) => family.add(data, |v| v as f64),
        }
    }
    out
}

struct Family<'a> {
    name: &'a str,
    help: &'a str,
    out: &'a mut Gathered,
}

impl Family<'_> {
    fn add<T: Copy>(&mut self, data: &MetricData<T>, value: impl Fn(T) -> f64) {
        match data {
            MetricData::Gauge(gauge) => {
                self.head("gauge", "");
                for point in gauge.data_points() {
                    self.line("", point.attributes(), None, value(point.value()));
                }
            }
            MetricData::Sum(sum) => {
                let (kind, suffix) = if sum.is_monotonic() {
                    ("counter", "_total")
                } else {
                    ("gauge", "")
                };
                self.head(kind, suffix);
                for point in sum.data_points() {
                    self.line(suffix, point.attributes(), None, value(point.value()));
                }
            }
            MetricData::Histogram(histogram) => {
                self.head("histogram", "");
                for point in histogram.data_points() {
                    let mut below = 0;
                    let bounds = point.bounds().map(|b| b.to_string()).chain(["+Inf".to_owned()]);
                    for (bound, count) in bounds.zip(point.bucket_counts()) {
                        below += count;
                        self.line("_bucket", point.attributes(), Some(&bound), below as f64);
                    }
                    self.line("_sum", point.attributes(), None, value(point.sum()));
                    self.line("_count", point.attributes(), None, point.count() as f64);
                }
            }
            // No instrument of ours asks for this aggregation.
            MetricData::ExponentialHistogram(_) => {}
        }
    }

    fn head(&mut self, kind: &str, suffix: &str) {
        let (name, help) = (self.name, self.help.replace('\\', "\\\\").replace('\n', "\\n"));
        if !help.is_empty() {
            self.text(format_args!("# HELP {name}{suffix} {help}\n"));
        }
        self.text(format_args!("# TYPE {name}{suffix} {kind}\n"));
    }

    fn line<'k>(&mut self, suffix: &str, attributes: impl Iterator<Item = &'k KeyValue>, le: Option<&str>, value: f64) {
        let mut labels: Vec<(String, String)> = attributes
            .map(|kv| (kv.key.as_str().replace(['.', '-'], "_"), kv.value.to_string()))
            .collect();
        labels.extend(le.map(|bound| ("le".to_owned(), bound.to_owned())));
        let name = format!("{}{suffix}", self.name);
        let shown: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v:?}")).collect();
        let braces = if shown.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", shown.join(","))
        };
        self.text(format_args!("{name}{braces} {value}\n"));
        self.out.samples.push(OwnSample { name, labels, value });
    }

    fn text(&mut self, line: std::fmt::Arguments<'_>) {
        self.out.text.write_fmt(line).expect("writing to a String cannot fail");
    }
}
