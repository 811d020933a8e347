use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::histogram::Histograms;
use crate::promql::{Engine, QueryOptions, Value};
use crate::testing::{NOW, append};
use crate::{Clock, Histogram, Matcher, Rolled, STALE_NAN_BITS, Store, StoreOptions};

const MINUTE: i64 = 60_000;

mod answers;
mod exact;
mod faults;
mod life;
mod size;

/// Buckets of five minutes of samples given as `minute=value`, as text: `end count sum min max | kept samples`, times in minutes.
fn check(samples: &str, behaviour: Behaviour, expected: &str) {
    let mut raw = Samples::default();
    for sample in samples.split_whitespace() {
        let (at, value) = sample.split_once('=').unwrap();
        let value = if value == "stale" {
            f64::from_bits(STALE_NAN_BITS)
        } else {
            value.parse().unwrap()
        };
        raw.push(at.parse::<i64>().unwrap() * MINUTE, value);
    }
    let mut found = Buckets::default();
    roll_up(&raw, FIVE_MINUTES_MS, behaviour, &mut found);
    let mut lines: Vec<String> = (0..found.len())
        .map(|i| {
            let numbers = [found.counts[i], found.sums[i], found.mins[i], found.maxs[i]].map(|v| v.to_string());
            format!("{} {}", found.ends[i] / MINUTE, numbers.join(" "))
        })
        .collect();
    let kept = found.kept.iter().map(|(at, v)| {
        let value = if is_stale(v) { "stale".to_owned() } else { v.to_string() };
        format!("{}={value}", at / MINUTE)
    });
    lines.push(kept.collect::<Vec<_>>().join(" "));
    assert_eq!(lines.join("\n"), expected.replace("; ", "\n"), "{samples}");
}

#[test]
fn a_bucket_ends_with_the_instant_that_names_it() {
    check(
        "0=1 1=2 5=3 6=4",
        Behaviour::Varies,
        "0 1 1 1 1; 5 2 5 2 3; 10 1 4 4 4; 0=1 5=3 6=4",
    );
    check("-6=1 -5=2 -4=3", Behaviour::Varies, "-5 2 3 1 2; 0 1 3 3 3; -5=2 -4=3");
}

/// Which histograms are kept of those given as `minute=count`, in buckets of five minutes.
fn check_thin(histograms: &str, expected: &str) {
    let mut all = Histograms::default();
    for sample in histograms.split_whitespace() {
        let (at, count) = sample.split_once('=').unwrap();
        let histogram = match count {
            "stale" => Histogram {
                sum: f64::from_bits(STALE_NAN_BITS),
                ..Histogram::default()
            },
            count => Histogram {
                count: count.parse().unwrap(),
                ..Histogram::default()
            },
        };
        all.push(at.parse::<i64>().unwrap() * MINUTE, Arc::new(histogram));
    }
    let thin = thin_out(&all, FIVE_MINUTES_MS);
    let kept: Vec<String> = thin.timestamps.iter().map(|at| (at / MINUTE).to_string()).collect();
    assert_eq!(kept.join(" "), expected, "{histograms}");
}

#[test]
fn of_histograms_the_last_live_one_of_a_bucket_is_kept_with_resets_and_the_marker_at_its_end() {
    check_thin("1=1 2=2 3=3 6=4 7=5", "1 3 7");
    check_thin("1=1 2=2 3=stale", "1 2 3");
    check_thin("1=1 2=2 3=stale 4=3 5=4", "1 5");
    // The counter began again while it was not seen.
    check_thin("1=9 2=10 3=stale 4=1 5=2", "1 2 4 5");
    check_thin("1=9 2=10 3=stale 7=1 8=2", "1 2 3 7 8");
    check_thin("3=stale 4=stale", "4");
    check_thin("1=1 2=5 3=1 4=5 5=1 6=5", "1 2 3 4 5 6");
}

#[test]
fn markers_of_staleness_end_a_bucket_and_count_for_nothing() {
    check("1=1 2=3 3=stale", Behaviour::Varies, "5 2 4 1 3; 2=3 3=stale");
    check("1=1 2=stale 3=3", Behaviour::Varies, "5 2 4 1 3; 3=3");
    check(
        "1=1 6=stale",
        Behaviour::Varies,
        "5 1 1 1 1; 10 0 0 NaN NaN; 1=1 6=stale",
    );
    check("1=NaN 2=5", Behaviour::Varies, "5 2 NaN 5 5; 2=5");
    check("1=NaN", Behaviour::Varies, "5 1 NaN NaN NaN; 1=NaN");
}

#[test]
fn of_a_counter_the_samples_around_resets_are_kept() {
    check("1=1 2=9 3=2 4=3", Behaviour::Counts, "5 4 15 1 9; 1=1 2=9 3=2 4=3");
    check(
        "1=1 2=5 3=7 4=9 6=10 7=11",
        Behaviour::Counts,
        "5 4 22 1 9; 10 2 21 10 11; 1=1 4=9 7=11",
    );
    // Between two buckets.
    check(
        "1=1 2=9 6=2 7=3 8=4",
        Behaviour::Counts,
        "5 2 10 1 9; 10 3 9 2 4; 1=1 2=9 6=2 8=4",
    );
    // Of nobody knows what, one fall may be a reset; of a gauge none is.
    check("1=1 2=9 3=2 4=3", Behaviour::Unknown, "5 4 15 1 9; 2=9 3=2 4=3");
    check("1=1 2=9 3=2 4=1 5=7", Behaviour::Unknown, "5 5 20 1 9; 5=7");
    check("1=1 2=9 3=2 4=3", Behaviour::Varies, "5 4 15 1 9; 4=3");
}

/// What `increase` adds up.
fn increase(samples: &Samples) -> f64 {
    let values = &samples.values;
    let pairs = values.windows(2);
    pairs
        .map(|pair| if pair[1] < pair[0] { pair[1] } else { pair[1] - pair[0] })
        .sum()
}

#[test]
fn kept_samples_of_a_counter_count_what_all_of_them_count() {
    let mut state = 7_u64;
    let mut below = |n: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    for run in 0..300 {
        // From counters that never begin again to those that do so every other sample.
        let (mut value, mut raw) = (0, Samples::default());
        let resets = below(600);
        for i in 0..200 {
            value = if below(1000) < resets {
                below(5)
            } else {
                value + below(20)
            };
            raw.push(i * 20_000 + below(19_000) as i64, value as f64);
        }
        let mut found = Buckets::default();
        roll_up(&raw, FIVE_MINUTES_MS, Behaviour::Counts, &mut found);
        assert!(found.kept.timestamps.is_sorted_by(|a, b| a < b), "run {run}");
        assert_eq!(increase(&found.kept), increase(&raw), "run {run}");
        // At the end of every bucket as well.
        for end in &found.ends {
            let until = |samples: &Samples| Samples {
                timestamps: samples.timestamps.iter().copied().filter(|t| t <= end).collect(),
                values: samples.values[..samples.timestamps.partition_point(|t| t <= end)].to_vec(),
            };
            assert_eq!(
                increase(&until(&found.kept)),
                increase(&until(&raw)),
                "run {run}, {end}"
            );
        }
    }
}

#[test]
fn what_behaves_how_is_told_by_senders_or_by_its_name() {
    let metadata = |kind| Metadata {
        kind,
        ..Metadata::default()
    };
    let known = BTreeMap::from([
        ("errors".to_owned(), metadata(MetricKind::Counter)),
        ("in_total".to_owned(), metadata(MetricKind::Gauge)),
    ]);
    for (metric, expected) in [
        ("errors", Behaviour::Counts),
        ("in_total", Behaviour::Varies),
        ("requests_total", Behaviour::Counts),
        ("latency_seconds_bucket", Behaviour::Counts),
        ("temperature", Behaviour::Unknown),
    ] {
        assert_eq!(Behaviour::of(metric, &known), expected, "{metric}");
    }
}

/// A store that keeps samples for two days, buckets of five minutes for ten and hours for a hundred, and whose clock is moved.
struct Kept {
    dir: tempfile::TempDir,
    store: Arc<Store>,
    now: Arc<AtomicI64>,
    options: StoreOptions,
}

impl Kept {
    fn new(options: StoreOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now = Arc::new(AtomicI64::new(NOW));
        let clock = Arc::clone(&now);
        let options = StoreOptions {
            clock: Clock::new(move || clock.load(Ordering::Relaxed)),
            background: false,
            max_series: 1000,
            retention_ms: Some(2 * DAY_MS),
            rollups: RollupOptions {
                five_minutes_ms: Some(10 * DAY_MS),
                hour_ms: Some(100 * DAY_MS),
            },
            ..options
        };
        let store = Store::open(dir.path(), options.clone()).unwrap();
        Self {
            dir,
            store,
            now,
            options,
        }
    }

    fn days_later(&self, days: i64) {
        self.now.store(NOW + days * DAY_MS, Ordering::Relaxed);
        self.store.maintain_now().unwrap();
    }

    fn open_again(self) -> Self {
        drop(self.store);
        Self {
            store: Store::open(self.dir.path(), self.options.clone()).unwrap(),
            ..self
        }
    }

    fn buckets(&self, metric: &str) -> Rolled {
        let snapshot = self.store.snapshot();
        let mut out = Rolled::default();
        for id in snapshot
            .select(&[Matcher::eq("__name__", metric)], TimeRange::ALL)
            .unwrap()
        {
            snapshot.read_buckets(id, TimeRange::ALL, &mut out).unwrap();
        }
        out
    }

    /// The one value of an instant query, `None` where there is none.
    fn value(&self, expr: &str, at: i64) -> Option<f64> {
        let answer = Engine::default()
            .instant(&self.store.snapshot(), expr, at, &QueryOptions::default())
            .unwrap();
        let Value::Vector(points) = answer.value else {
            panic!("{expr} is a vector")
        };
        assert!(points.len() <= 1, "{expr}");
        points.first().map(|point| point.v)
    }
}

/// Three days, a sample a minute: a counter that begins again now and then, and a gauge.
fn three_days() -> Vec<(&'static str, i64, f64)> {
    let mut samples = Vec::new();
    let mut counted = 0.0;
    for minute in 1..=3 * 24 * 60_i64 {
        counted = if minute % 701 == 0 {
            3.0
        } else {
            counted + (minute % 7) as f64
        };
        samples.push(("requests_total host=a", NOW + minute * MINUTE, counted));
        let celsius = ((minute * 37) % 101) as f64 / 4.0 - 10.0;
        samples.push(("temperature_celsius host=a", NOW + minute * MINUTE, celsius));
    }
    samples
}

fn filled(options: StoreOptions) -> Kept {
    let kept = Kept::new(StoreOptions {
        out_of_order_window_ms: i64::MAX,
        max_future_ms: 100 * DAY_MS,
        ..options
    });
    append(&kept.store, &three_days());
    let gauge = Metadata {
        kind: MetricKind::Gauge,
        ..Metadata::default()
    };
    kept.store.set_metadata("temperature_celsius", gauge);
    kept
}
