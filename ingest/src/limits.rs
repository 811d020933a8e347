//! What is refused, and the bounds that a server's memory rests on.

use std::time::Duration;

/// The bounds of the write endpoints.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most bytes of a body as it arrives.
    pub body_bytes_max: usize,
    /// Most bytes of a body after decompression; OTLP recommends 64 MiB.
    pub decoded_bytes_max: usize,
    /// Most bytes of a JSON body after decompression: its tree takes many times its size.
    pub json_bytes_max: usize,
    /// Most bytes of all bodies in memory at once; beyond it requests are asked to come again.
    pub buffer_bytes_max: usize,
    /// Most requests at once, waiting or being served; beyond it they are asked to come again.
    pub requests_max: usize,
    /// Most requests decoded and appended at once; the others wait.
    pub appends_max: usize,
    /// Longest time that a body may take to arrive.
    pub body_time_max: Duration,
    /// Most samples of a request.
    pub samples_per_request_max: usize,
    /// Most exemplars of a request that are kept.
    pub exemplars_per_request_max: usize,
    /// Most series of a tenant whose delta points are summed up; a new one beyond it is refused.
    pub delta_series_max: usize,
    /// Most labels of a series, its name among them.
    pub labels_max: usize,
    /// Most bytes of a label's name.
    pub label_name_bytes_max: usize,
    /// Most bytes of a label's value, and so of a metric's name.
    pub label_value_bytes_max: usize,
    /// Most tenants; a request that would make another one is refused.
    pub tenants_max: usize,
    /// Most series that are remembered by a tenant's cache.
    pub cached_series_max: usize,
    /// Whether a series of remote write 2.0 gets a zero where its sender says that it began to count.
    pub zero_at_start: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 32 << 20,
            decoded_bytes_max: 64 << 20,
            json_bytes_max: 16 << 20,
            buffer_bytes_max: 192 << 20,
            requests_max: 512,
            appends_max: 64,
            body_time_max: Duration::from_secs(30),
            samples_per_request_max: 500_000,
            exemplars_per_request_max: 10_000,
            // A table of 2^20 slots of 25 bytes: 25 MiB.
            delta_series_max: 500_000,
            labels_max: 64,
            label_name_bytes_max: 1024,
            label_value_bytes_max: 4096,
            tenants_max: 1000,
            // 16 bytes a slot: 64 MiB at most.
            cached_series_max: 2_000_000,
            zero_at_start: false,
        }
    }
}
