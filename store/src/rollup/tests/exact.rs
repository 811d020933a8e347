//! What docs/store.md says of queries over rollups, held against the samples that they were made of.

use proptest::prelude::*;

use super::*;
use crate::disk::faults::Random;

/// A day of samples with gaps, markers of staleness and values that are no numbers, and of a counter with resets.
fn day(random: &mut Random) -> (Samples, Samples) {
    let every_ms = 5000 + random.below(400_000);
    let (resets, gaps) = (random.below(200), random.below(20));
    let (mut gauge, mut counter) = (Samples::default(), Samples::default());
    let (mut at, mut counted) = (NOW + 1, 0.0);
    loop {
        at += (every_ms / 2 + random.below(every_ms)) as i64;
        at += if random.chance(gaps) {
            random.below(4 * HOUR_MS as u64) as i64
        } else {
            0
        };
        if at > NOW + DAY_MS {
            return (gauge, counter);
        }
        let number = random.below(2000) as f64 / 10.0 - 50.0;
        gauge.push(
            at,
            match random.below(300) {
                0 => f64::NAN,
                1 => f64::INFINITY,
                2..6 => f64::from_bits(STALE_NAN_BITS),
                _ => number,
            },
        );
        counted = if random.chance(resets) {
            random.below(9) as f64
        } else {
            counted + random.below(50) as f64
        };
        let marker = random.chance(5);
        counter.push(
            at,
            if marker {
                f64::from_bits(STALE_NAN_BITS)
            } else {
                counted
            },
        );
    }
}

fn same(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(1.0),
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// The samples that a window looks at.
fn within(samples: &Samples, after: i64, until: i64) -> Samples {
    let mut found = Samples::default();
    let inside = |at: i64| after < at && at <= until;
    for (at, value) in samples.iter().filter(|(at, v)| inside(*at) && !is_stale(*v)) {
        found.push(at, value);
    }
    found
}

/// As docs/store.md has it: what was counted between the first and the last sample that was kept within the range, extended to the
/// range as Prometheus extends it, a bucket being the least distance of samples.
fn increase_by_kept(raw: &Samples, resolution_ms: i64, at: i64, asked_ms: i64) -> Option<f64> {
    let mut buckets = Buckets::default();
    roll_up(raw, resolution_ms, Behaviour::Counts, &mut buckets);
    let range_ms = asked_ms.max(2 * resolution_ms);
    let kept = within(&buckets.kept, at - range_ms, at);
    let ([first, .., last], n) = (kept.timestamps.as_slice(), kept.len()) else {
        return None;
    };
    let change = increase(&within(raw, first - 1, *last));
    let sampled = (last - first) as f64;
    let between = (sampled / (n - 1) as f64).max(resolution_ms as f64);
    let reach = |gap: i64| {
        let gap = gap as f64;
        if gap >= between * 1.1 { between / 2.0 } else { gap }
    };
    let mut to_start = reach(first - (at - range_ms));
    if change > 0.0 {
        to_start = to_start.min(sampled * kept.values[0] / change);
    }
    let extended = sampled + to_start + reach(at - last);
    Some(change * extended / sampled * (asked_ms as f64 / range_ms as f64))
}

/// The first five are told by buckets, the others by the samples that are kept.
const FUNCTIONS: [&str; 7] = ["sum", "count", "avg", "min", "max", "last", "present"];

/// One value each of every function, over ranges that begin and end at ends of buckets.
fn aligned(kept: &Kept, resolution_ms: i64, ends: &[i64]) -> Vec<(String, i64, Option<f64>)> {
    let mut found = Vec::new();
    for buckets in [1, 3, 12] {
        for function in FUNCTIONS {
            let expr = format!(
                "{function}_over_time(temperature_celsius[{}s])",
                buckets * resolution_ms / 1000
            );
            found.extend(ends.iter().map(|at| (expr.clone(), *at, kept.value(&expr, *at))));
        }
    }
    found
}

fn check(seed: u64) -> Result<(), TestCaseError> {
    let mut random = Random(seed);
    let (gauge, counter) = day(&mut random);
    let kept = Kept::new(StoreOptions {
        out_of_order_window_ms: i64::MAX,
        max_future_ms: 100 * DAY_MS,
        ..StoreOptions::default()
    });
    for (series, samples) in [
        ("temperature_celsius host=a", &gauge),
        ("requests_total host=a", &counter),
    ] {
        let samples: Vec<_> = samples.iter().map(|(at, value)| (series, at, value)).collect();
        append(&kept.store, &samples);
    }
    // A bucket that ends here, and an instant before the next one does.
    let mut places = |resolution_ms: i64| -> Vec<(i64, i64)> {
        let end = |random: &mut Random| 1 + random.below((DAY_MS / resolution_ms) as u64 - 1) as i64;
        let ends = (0..8)
            .map(|_| NOW + end(&mut random) * resolution_ms)
            .collect::<Vec<_>>();
        ends.into_iter()
            .map(|at| (at, at + random.below(resolution_ms as u64) as i64))
            .collect()
    };
    let asked = [FIVE_MINUTES_MS, HOUR_MS].map(|resolution_ms| {
        let places = places(resolution_ms);
        let ends: Vec<i64> = places.iter().map(|(end, _)| *end).collect();
        let told = aligned(&kept, resolution_ms, &ends);
        (resolution_ms, places, ends, told)
    });
    for ((resolution_ms, places, ends, before), days) in asked.iter().zip([4, 40]) {
        kept.days_later(days);
        let coarseness = kept.store.snapshot().coarseness();
        prop_assert_eq!(coarseness.resolution_at(NOW + DAY_MS), *resolution_ms);
        let now = aligned(&kept, *resolution_ms, ends);
        for ((expr, at, before), (_, _, now)) in before.iter().zip(now) {
            prop_assert!(same(*before, now), "{expr} at {at}: {before:?}, now {now:?}");
        }
        for (end, at) in places {
            // Any other range is that of the buckets that end within it, and never less than a bucket.
            let told = |expr: &str| FUNCTIONS[..5].iter().any(|function| expr.starts_with(function));
            for (expr, _, before) in before.iter().filter(|(expr, of, _)| of == end && told(expr)) {
                let now = kept.value(expr, *at);
                prop_assert!(same(*before, now), "{expr} at {at}: {before:?}, now {now:?}");
            }
            for function in &FUNCTIONS[..5] {
                let whole = format!("{function}_over_time(temperature_celsius[{}s])", resolution_ms / 1000);
                let (_, _, whole) = before.iter().find(|(expr, of, _)| *expr == whole && of == end).unwrap();
                let now = kept.value(&format!("{function}_over_time(temperature_celsius[60s])"), *at);
                let share = if matches!(*function, "sum" | "count") {
                    60_000.0 / *resolution_ms as f64
                } else {
                    1.0
                };
                let expected = whole.map(|value| value * share);
                prop_assert!(same(expected, now), "{function} at {at}: {expected:?}, now {now:?}");
            }
            for range_ms in [60_000, 2 * resolution_ms, 7 * resolution_ms] {
                let expr = format!("increase(requests_total[{}s])", range_ms / 1000);
                let expected = increase_by_kept(&counter, *resolution_ms, *end, range_ms);
                let now = kept.value(&expr, *end);
                prop_assert!(same(expected, now), "{expr} at {end}: {expected:?}, now {now:?}");
                let rate = kept.value(&expr.replace("increase", "rate"), *end);
                let expected = expected.map(|value| value / (range_ms as f64 / 1000.0));
                prop_assert!(same(expected, rate), "rate at {end}: {expected:?}, now {rate:?}");
            }
            // At the end of a bucket a selector shows what it showed.
            let last = gauge.iter().take_while(|(of, _)| of <= end).last();
            if let Some((_, value)) = last.filter(|(of, _)| *of > end - resolution_ms) {
                let now = kept.value("temperature_celsius", *end);
                prop_assert!(
                    same((!is_stale(value)).then_some(value), now),
                    "at {end}: {value}, now {now:?}"
                );
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn functions_over_rollups_tell_what_the_documentation_says(seed in any::<u64>()) {
        check(seed)?;
    }
}

#[test]
fn resets_are_counted_up_to_two_a_bucket() {
    let kept = Kept::new(StoreOptions {
        max_future_ms: 100 * DAY_MS,
        ..StoreOptions::default()
    });
    // Two resets in each bucket of five minutes, 24 in an hour.
    let samples: Vec<_> = (1..=720)
        .map(|minute| {
            let value = f64::from([1, 5, 2, 3, 4][minute as usize % 5]);
            ("requests_total", NOW + minute * MINUTE, value)
        })
        .collect();
    append(&kept.store, &samples);
    let at = NOW + 10 * HOUR_MS;
    let ask = |kept: &Kept| {
        ["resets(requests_total[2h])", "increase(requests_total[2h])"].map(|expr| kept.value(expr, at).unwrap())
    };
    let [resets, _] = ask(&kept);
    kept.days_later(4);
    let [now, counted] = ask(&kept);
    assert_eq!(now, resets);
    kept.days_later(40);
    let [now, still_counted] = ask(&kept);
    // Resets beyond two a bucket are not told, but what was counted is.
    assert!(now < resets, "{now}");
    assert!(
        (still_counted - counted).abs() < counted * 0.02,
        "{counted}, now {still_counted}"
    );
}

#[test]
fn every_function_says_that_rollups_tell() {
    let kept = filled(StoreOptions::default());
    kept.days_later(4);
    let asked = [
        "absent_over_time",
        "avg_over_time",
        "changes",
        "count_over_time",
        "delta",
        "deriv",
        "idelta",
        "increase",
        "irate",
        "last_over_time",
        "max_over_time",
        "min_over_time",
        "present_over_time",
        "rate",
        "resets",
        "stddev_over_time",
        "stdvar_over_time",
        "sum_over_time",
    ];
    let calls = asked.map(|function| format!("{function}(requests_total[1h])"));
    let others = [
        "predict_linear(requests_total[1h], 60)",
        "quantile_over_time(0.5, requests_total[1h])",
        "requests_total",
        "sum(rate(requests_total[5m]))",
        "max_over_time(requests_total[1h:5m])",
        "requests_total offset 2d",
        "requests_total @ 1795309200",
    ]
    .map(str::to_owned);
    let infos = |expr: &str, at| {
        let snapshot = kept.store.snapshot();
        let answer = Engine::default()
            .instant(&snapshot, expr, at, &QueryOptions::default())
            .unwrap();
        answer.infos.join(" ")
    };
    for expr in calls.iter().chain(&others) {
        let at = if expr.contains(" offset ") {
            NOW + 3 * DAY_MS
        } else {
            NOW + 12 * HOUR_MS
        };
        assert!(infos(expr, at).contains("rollups of 5 min"), "{expr}");
    }
    for expr in calls {
        assert!(
            !infos(&expr, NOW + 2 * DAY_MS + 2 * HOUR_MS).contains("rollups"),
            "{expr}"
        );
    }
}
