//! The store's own metrics.

use std::sync::OnceLock;

use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};
use opentelemetry::{KeyValue, global};

/// Instruments of all stores of this process; a tenant is a label only where there are few.
#[derive(Debug)]
pub(crate) struct Telemetry {
    appended: Counter<u64>,
    refused: Counter<u64>,
    rows: Counter<u64>,
    metadata_left_out: Counter<u64>,
    wal_bytes: Counter<u64>,
    wal_sync: Histogram<f64>,
    part_bytes: Counter<u64>,
    dropped: Counter<u64>,
    head_samples: Gauge<u64>,
    head_bytes: Gauge<u64>,
    series: Gauge<u64>,
    series_max: Gauge<u64>,
    parts: Gauge<u64>,
    damaged_parts: Gauge<u64>,
    table_bytes: Gauge<u64>,
    rollup_bytes: Gauge<u64>,
    result_cache_bytes: Gauge<u64>,
    steps: Counter<u64>,
}

impl Telemetry {
    /// The instruments, made on first use: by then the process has set its meter provider.
    pub(crate) fn get() -> &'static Self {
        static TELEMETRY: OnceLock<Telemetry> = OnceLock::new();
        TELEMETRY.get_or_init(|| Self::new(&global::meter("foreshock_store")))
    }

    fn new(meter: &Meter) -> Self {
        Self {
            appended: meter
                .u64_counter("foreshock_store_appended_samples")
                .with_description("Samples that were made durable and acknowledged.")
                .build(),
            refused: meter
                .u64_counter("foreshock_store_refused_samples")
                .with_description("Samples that were not taken, by reason.")
                .build(),
            rows: meter
                .u64_counter("foreshock_store_appended_rows")
                .with_description("Rows of append-only tables that were made durable and acknowledged.")
                .build(),
            metadata_left_out: meter
                .u64_counter("foreshock_store_refused_metadata")
                .with_description("Metrics whose type, unit and help are not kept: there are too many.")
                .build(),
            wal_bytes: meter
                .u64_counter("foreshock_store_wal_written_bytes")
                .with_description("Bytes written to WAL segments.")
                .build(),
            wal_sync: meter
                .f64_histogram("foreshock_store_wal_sync_seconds")
                .with_description(
                    "Time that writing and syncing a group of batches took; appends wait for one or two of them.",
                )
                .with_boundaries(vec![
                    0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0,
                ])
                .build(),
            part_bytes: meter
                .u64_counter("foreshock_store_part_written_bytes")
                .with_description("Bytes written into parts, by flushes and by merges.")
                .build(),
            dropped: meter
                .u64_counter("foreshock_store_dropped_samples")
                .with_description(
                    "Samples that left the disk, by reason: too old (time), too much (size), a retention rule (rule), told by rollups \
                     from then on (rolled), deleted (deleted).",
                )
                .build(),
            head_samples: meter
                .u64_gauge("foreshock_store_head_samples")
                .with_description("Samples that are not in parts yet.")
                .build(),
            head_bytes: meter
                .u64_gauge("foreshock_store_head_bytes")
                .with_description("Memory of samples and rows that are not in parts or files of tables yet.")
                .build(),
            series: meter
                .u64_gauge("foreshock_store_series")
                .with_description("Series known, also those without recent samples.")
                .build(),
            series_max: meter
                .u64_gauge("foreshock_store_series_max")
                .with_description("Series that may be known: samples of further ones are refused.")
                .build(),
            parts: meter
                .u64_gauge("foreshock_store_parts")
                .with_description("Parts that the manifest lists.")
                .build(),
            damaged_parts: meter
                .u64_gauge("foreshock_store_damaged_parts")
                .with_description("Parts that a merge found damaged; they are left alone, and read as far as they can be.")
                .build(),
            table_bytes: meter
                .u64_gauge("foreshock_store_table_bytes")
                .with_description("Bytes of the files of append-only tables.")
                .build(),
            rollup_bytes: meter
                .u64_gauge("foreshock_store_rollup_bytes")
                .with_description("Bytes of the parts of rollups.")
                .build(),
            result_cache_bytes: meter
                .u64_gauge("foreshock_store_result_cache_bytes")
                .with_description("Memory of answers of range queries that are kept.")
                .build(),
            steps: meter
                .u64_counter("foreshock_query_range_steps")
                .with_description("Steps of range queries that may be kept, by origin: cache or evaluated.")
                .build(),
        }
    }

    pub(crate) fn appended(&self, tenant: &KeyValue, samples: u64) {
        self.appended.add(samples, std::slice::from_ref(tenant));
    }

    pub(crate) fn refused(&self, tenant: &KeyValue, reason: &'static str, samples: u64) {
        self.refused
            .add(samples, &[tenant.clone(), KeyValue::new("reason", reason)]);
    }

    pub(crate) fn appended_rows(&self, tenant: &KeyValue, table: &'static str, rows: u64) {
        self.rows.add(rows, &[tenant.clone(), KeyValue::new("table", table)]);
    }

    pub(crate) fn metadata_left_out(&self, tenant: &KeyValue) {
        self.metadata_left_out.add(1, std::slice::from_ref(tenant));
    }

    pub(crate) fn synced(&self, tenant: &KeyValue, seconds: f64, bytes: u64) {
        self.wal_sync.record(seconds, &[]);
        self.wal_bytes.add(bytes, std::slice::from_ref(tenant));
    }

    pub(crate) fn part_written(&self, tenant: &KeyValue, bytes: u64) {
        self.part_bytes.add(bytes, std::slice::from_ref(tenant));
    }

    pub(crate) fn dropped(&self, tenant: &KeyValue, reason: &'static str, samples: u64) {
        self.dropped
            .add(samples, &[tenant.clone(), KeyValue::new("reason", reason)]);
    }

    pub(crate) fn sizes(&self, tenant: &KeyValue, stats: &crate::StoreStats) {
        let tenant = std::slice::from_ref(tenant);
        self.head_samples.record(stats.head_samples, tenant);
        self.head_bytes.record(stats.head_bytes, tenant);
        self.series.record(stats.series, tenant);
        self.series_max.record(stats.series_max, tenant);
        self.parts.record(stats.parts, tenant);
        self.damaged_parts.record(stats.damaged_parts, tenant);
        self.table_bytes.record(stats.table_bytes, tenant);
        self.rollup_bytes.record(stats.rollup_bytes, tenant);
        self.result_cache_bytes.record(stats.result_cache_bytes, tenant);
    }

    pub(crate) fn steps(&self, reused: u64, evaluated: u64) {
        for (origin, steps) in [("cache", reused), ("evaluated", evaluated)] {
            self.steps.add(steps, &[KeyValue::new("origin", origin)]);
        }
    }
}
