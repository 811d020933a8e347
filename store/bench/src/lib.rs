//! Telemetry for the benchmarks: a fleet by seed, always the same.
//!
//! `cargo bench -p foreshock-bench` measures; `cargo bench -p foreshock-bench -- codecs` only what has "codecs" in its name.

use std::sync::Arc;

use store::{Clock, Labels, LabelsBuf, METRIC_NAME, Samples, SeriesId, Store, StoreOptions};

/// The time between two samples of a series.
pub const STEP_MS: i64 = 15_000;
/// When the samples begin: 2026-11-01 00:00 UTC.
pub const START_MS: i64 = 1_793_491_200_000;

/// Small, fast and the same everywhere (splitmix64: Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// How values of a metric go.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Whole numbers that only grow: bytes, requests.
    Counter,
    /// Seconds with two decimals that only grow: processor time.
    Seconds,
    /// A temperature with one decimal.
    Decimal,
    /// Shares with all their bits.
    Raw,
    /// The same value all the time.
    Constant,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Counter, Self::Seconds, Self::Decimal, Self::Raw, Self::Constant];

    /// `n` values.
    #[must_use]
    pub fn values(self, n: usize, seed: u64) -> Vec<f64> {
        let mut random = Random(seed);
        let mut level = 1e6 * random.unit();
        let values = (0..n).map(|_| match self {
            Self::Counter => {
                level = (level + 4096.0 * random.unit()).floor();
                level
            }
            Self::Seconds => {
                level += 15.0 * random.unit();
                (level * 100.0).round() / 100.0
            }
            Self::Decimal => ((60.0 + 8.0 * random.unit()) * 10.0).round() / 10.0,
            Self::Raw => random.unit(),
            Self::Constant => 1.0,
        });
        values.collect()
    }
}

/// Labels of series `i` of a fleet of hosts with 50 series each.
#[must_use]
pub fn labels(i: usize) -> [(&'static str, String); 5] {
    let (host, metric) = (i / 50, i % 50);
    [
        (METRIC_NAME, format!("node_metric_{metric:02}_total")),
        ("datacenter", format!("dc-{}", host % 4)),
        ("host", format!("host-{host:05}")),
        ("instance", format!("host-{host:05}:9100")),
        ("job", "node".to_owned()),
    ]
}

/// The same as a series' own.
#[must_use]
pub fn series(i: usize) -> Labels {
    let labels = labels(i);
    Labels::from_pairs(labels.iter().map(|(name, value)| (*name, value.as_str())))
}

/// Samples one after the other, [`STEP_MS`] apart.
#[must_use]
pub fn samples(shape: Shape, n: usize, seed: u64) -> Samples {
    Samples {
        timestamps: (0..n as i64).map(|k| START_MS + k * STEP_MS).collect(),
        values: shape.values(n, seed),
    }
}

/// A store that does nothing by itself, with `n` series in it, and their numbers.
///
/// # Panics
/// Where the disk does not take it.
#[must_use]
#[expect(clippy::expect_used, reason = "a benchmark without a store measures nothing")]
pub fn store(dir: &std::path::Path, n: usize) -> (Arc<Store>, Vec<SeriesId>) {
    let options = StoreOptions {
        background: false,
        clock: Clock::fixed(START_MS + 365 * 86_400_000),
        ..StoreOptions::default()
    };
    let store = Store::open(dir, options).expect("a store opens");
    let mut batch = store.batch();
    let ids = (0..n).map(|i| {
        let mut buffer = LabelsBuf::default();
        for (name, value) in labels(i) {
            buffer.push(name, &value);
        }
        let id = batch.series(&mut buffer).expect("room for a series");
        batch.push(id, START_MS - STEP_MS, 0.0);
        id
    });
    let ids = ids.collect();
    store.append(batch).expect("a good disk");
    (store, ids)
}
