//! The tidy tables that data sets come in: wide Parquet by host and time, incidents and scoring intervals as CSV.
//!
//! A table `series.parquet` has a column a metric; `host.parquet` and `gpu.parquet` hold the metrics of hosts and of the
//! devices on them. Names that are known are read as the metric that the agent would send, so that the catalogue applies.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use store::{Labels, METRIC_NAME, Samples};

use crate::dataset::Labelled;
use crate::incident::{ImportError, Incident, from_csv};
use crate::telemetry::Memory;

/// A data set could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TidyError {
    /// A file could not be opened or read.
    #[error("cannot read {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no Parquet table of the expected form.
    #[error("cannot read the table {path}: {why}")]
    Table {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The incidents are not readable.
    #[error("cannot read the incidents in {path}")]
    Incidents {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: ImportError,
    },
}

impl TidyError {
    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } => "give a folder with incidents.csv, scoring.csv and series.parquet or host.parquet",
            Self::Table { .. } => "tables need the columns host and timestamp, and a number in every other one",
            Self::Incidents { source, .. } => source.hint(),
        }
    }
}

/// Host and device, times, and for each metric one value a time.
type DeviceRows = ((String, String), Vec<i64>, Vec<Vec<f64>>);

/// A data set in memory.
#[derive(Clone, Debug, Default)]
pub struct Tidy {
    /// All series.
    pub telemetry: Memory,
    /// All incidents.
    pub incidents: Vec<Incident>,
    /// When outcomes are known, and the role of each host.
    pub labelled: Vec<Labelled>,
    /// Hosts that are said to be new (role `unseen`): one of the same name elsewhere is another machine.
    pub unseen: BTreeSet<String>,
    /// The most common distance of samples, in milliseconds.
    pub step_ms: i64,
}

/// A column: its name, the metric that it is, the factor to the metric's unit, and a label that the metric wants.
type Known = (&'static str, &'static str, f64, Option<(&'static str, &'static str)>);

/// Columns of the synthetic fleet and of common exporters: metric, factor, label.
const KNOWN: [Known; 24] = [
    ("cpu_util", "system_cpu_utilization_ratio", 0.01, None),
    ("load1", "system_cpu_load_average_1m", 1.0, None),
    ("mem_used_pct", "system_memory_utilization_ratio", 0.01, None),
    ("swap_used_pct", "system_paging_utilization_ratio", 0.01, None),
    ("disk_used_pct", "system_filesystem_utilization_ratio", 0.01, None),
    ("disk_io_util", "system_disk_utilization_ratio", 0.01, None),
    ("req_latency_p50_ms", "app_request_duration_p50_seconds", 0.001, None),
    ("req_latency_p99_ms", "app_request_duration_p99_seconds", 0.001, None),
    ("error_rate_pct", "app_request_error_ratio", 0.01, None),
    ("fan_rpm", "hw_fan_speed_rpm", 1.0, None),
    (
        "inlet_c",
        "hw_temperature_celsius",
        1.0,
        Some(("hw_sensor_location", "inlet")),
    ),
    ("scrape_ms", "foreshock_agent_scrape_duration_seconds", 0.001, None),
    ("gpu:util", "hw_gpu_utilization_ratio", 0.01, None),
    ("gpu:mem_used_pct", "hw_gpu_memory_utilization_ratio", 0.01, None),
    (
        "gpu:temp_c",
        "hw_temperature_celsius",
        1.0,
        Some(("hw_sensor_location", "gpu")),
    ),
    (
        "gpu:mem_temp_c",
        "hw_temperature_celsius",
        1.0,
        Some(("hw_sensor_location", "memory")),
    ),
    ("gpu:power_w", "hw_power_watts", 1.0, None),
    ("gpu:sm_clock_mhz", "hw_gpu_clock_MHz", 1.0, None),
    ("gpu:throttle_pct", "hw_gpu_throttle_ratio", 0.01, None),
    (
        "gpu:ecc_sbe_total",
        "hw_errors_total",
        1.0,
        Some(("error_type", "ecc_corrected")),
    ),
    (
        "gpu:ecc_dbe_total",
        "hw_errors_total",
        1.0,
        Some(("error_type", "ecc_uncorrected")),
    ),
    ("gpu:remapped_rows", "hw_gpu_remapped_rows", 1.0, None),
    (
        "gpu:pcie_replay_total",
        "hw_errors_total",
        1.0,
        Some(("error_type", "pcie_replay")),
    ),
    (
        "gpu:nvlink_crc_total",
        "hw_errors_total",
        1.0,
        Some(("error_type", "nvlink_crc")),
    ),
];

impl Tidy {
    /// Reads a folder; one without series has incidents and scoring intervals only.
    ///
    /// # Errors
    /// [`TidyError`] names the file.
    pub fn read(dir: &Path) -> Result<Self, TidyError> {
        let text = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path).map_err(|source| TidyError::Io { path, source })
        };
        let incidents = from_csv(&text("incidents.csv")?).map_err(|source| TidyError::Incidents {
            path: dir.join("incidents.csv"),
            source,
        })?;
        let (labelled, unseen) = scoring(&text("scoring.csv")?).map_err(|why| TidyError::Table {
            path: dir.join("scoring.csv"),
            why,
        })?;
        let mut tidy = Self {
            incidents,
            labelled,
            unseen,
            step_ms: 60_000,
            ..Self::default()
        };
        for (file, device) in [
            ("series.parquet", None),
            ("host.parquet", None),
            ("gpu.parquet", Some("gpu")),
        ] {
            let path = dir.join(file);
            if path.exists() {
                tidy.read_table(&path, device)?;
            }
        }
        Ok(tidy)
    }

    /// Adds the series of another part of the same set: hosts that are known there continue.
    ///
    /// A host continues where its role does not call it new and its samples do not contradict those known for the same
    /// times; otherwise it is another machine of the same name, and what was known of its namesake is forgotten.
    pub fn join(&mut self, other: Self) {
        let mut others = self.telemetry.contradicted_by(&other.telemetry);
        others.extend(other.unseen);
        self.telemetry.forget(&others);
        self.incidents.retain(|i| !others.contains(&i.host));
        self.telemetry.join(other.telemetry);
        // The part that was scored earlier may hold an incident that was still open; the later part knows its end.
        let known: BTreeSet<(String, i64)> = other.incidents.iter().map(|i| (i.host.clone(), i.start)).collect();
        self.incidents.retain(|i| !known.contains(&(i.host.clone(), i.start)));
        self.incidents.extend(other.incidents);
    }

    fn read_table(&mut self, path: &Path, device: Option<&str>) -> Result<(), TidyError> {
        let wrong = |why: String| TidyError::Table {
            path: path.to_owned(),
            why,
        };
        let file = File::open(path).map_err(|source| TidyError::Io {
            path: path.to_owned(),
            source,
        })?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| wrong(e.to_string()))?;
        let schema = std::sync::Arc::clone(builder.schema());
        let special = |name: &str| name == "host" || name == "timestamp" || Some(name) == device;
        let metrics: Vec<usize> = (0..schema.fields().len())
            .filter(|i| !special(schema.field(*i).name()))
            .collect();
        // Rows of one host and device by column, in the order in which hosts appear.
        let mut rows: Vec<DeviceRows> = Vec::new();
        let mut index = std::collections::HashMap::new();
        for batch in builder
            .with_batch_size(65_536)
            .build()
            .map_err(|e| wrong(e.to_string()))?
        {
            let batch = batch.map_err(|e| wrong(e.to_string()))?;
            let hosts = column(&batch, "host", &DataType::Utf8).map_err(wrong)?;
            let times =
                column(&batch, "timestamp", &DataType::Timestamp(TimeUnit::Millisecond, None)).map_err(wrong)?;
            let times = cast(&times, &DataType::Int64).map_err(|e| wrong(e.to_string()))?;
            let devices = device
                .map(|d| column(&batch, d, &DataType::Utf8))
                .transpose()
                .map_err(wrong)?;
            let values: Vec<ArrayRef> = metrics
                .iter()
                .map(|i| cast(batch.column(*i), &DataType::Float64).map_err(|e| wrong(e.to_string())))
                .collect::<Result<_, _>>()?;
            let (hosts, times) = (hosts.as_string::<i32>(), times.as_primitive::<Int64Type>());
            for row in 0..batch.num_rows() {
                let key = (
                    hosts.value(row).to_owned(),
                    devices
                        .as_ref()
                        .map_or_else(String::new, |d| d.as_string::<i32>().value(row).to_owned()),
                );
                let at = *index.entry(key.clone()).or_insert_with(|| {
                    rows.push((key, Vec::new(), vec![Vec::new(); metrics.len()]));
                    rows.len() - 1
                });
                let (_, timestamps, columns) = &mut rows[at];
                timestamps.push(times.value(row));
                for (out, values) in columns.iter_mut().zip(&values) {
                    let value = if values.is_null(row) {
                        f64::NAN
                    } else {
                        values.as_primitive::<Float64Type>().value(row)
                    };
                    out.push(value);
                }
            }
        }
        if let Some((_, timestamps, _)) = rows.first()
            && device.is_none()
        {
            let mut steps: Vec<i64> = timestamps.windows(2).map(|w| w[1] - w[0]).filter(|s| *s > 0).collect();
            steps.sort_unstable();
            self.step_ms = steps.get(steps.len() / 2).copied().unwrap_or(60_000);
        }
        for ((host, name), timestamps, columns) in rows {
            for (i, values) in metrics.iter().zip(columns) {
                let field = schema.field(*i).name();
                let known_as = if device.is_some() {
                    format!("gpu:{field}")
                } else {
                    field.clone()
                };
                let known = KNOWN.iter().find(|k| k.0 == known_as);
                let (metric, factor, label) = known.map_or((field.as_str(), 1.0, None), |k| (k.1, k.2, k.3));
                let id = format!("{host}/{name}");
                let mut pairs = vec![(METRIC_NAME, metric), ("host", host.as_str())];
                pairs.extend(label);
                if device.is_some() {
                    pairs.push(("hw_id", &id));
                }
                let mut samples = Samples::default();
                for (t, v) in timestamps.iter().zip(&values) {
                    if !v.is_nan() && samples.timestamps.last().is_none_or(|last| last < t) {
                        samples.push(*t, v * factor);
                    }
                }
                self.telemetry.push(Labels::from_pairs(pairs), samples);
            }
        }
        Ok(())
    }
}

fn column(batch: &RecordBatch, name: &str, kind: &DataType) -> Result<ArrayRef, String> {
    let column = batch
        .column_by_name(name)
        .ok_or_else(|| format!("there is no column {name:?}"))?;
    cast(column, kind).map_err(|e| e.to_string())
}

/// Times in which outcomes are known, and the hosts whose role is `unseen`.
fn scoring(text: &str) -> Result<(Vec<Labelled>, BTreeSet<String>), String> {
    let mut lines = text.lines().filter(|l| !l.trim().is_empty());
    let header: Vec<String> = crate::incident::fields(lines.next().unwrap_or(""));
    let position = |name: &str| header.iter().position(|h| h == name);
    let at = |name: &str| position(name).ok_or_else(|| format!("there is no column {name:?}"));
    let (host, from, to) = (at("host")?, at("from")?, at("to")?);
    let role = position("role");
    let (mut labelled, mut unseen) = (Vec::new(), BTreeSet::new());
    for line in lines {
        let cells = crate::incident::fields(line);
        let cell = |i: usize| cells.get(i).map_or("", String::as_str);
        let time = |i: usize| crate::incident::parse_time(cell(i)).ok_or_else(|| format!("{:?} is no time", cell(i)));
        if role.is_some_and(|role| cell(role) == "unseen") {
            unseen.insert(cell(host).to_owned());
        }
        labelled.push(Labelled::new(cell(host).to_owned(), time(from)?, time(to)?));
    }
    Ok((labelled, unseen))
}
