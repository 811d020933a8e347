use store::Labels;

use super::*;
use crate::telemetry::Memory;

/// A small generator of noise between -0.5 and 0.5.
fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / (1_u64 << 31) as f64 - 0.5
    }
}

fn series(n: i64, step_ms: i64, value: impl FnMut(f64) -> f64) -> Vec<(i64, f64)> {
    let mut value = value;
    (0..n).map(|i| (i * step_ms, value(i as f64))).collect()
}

#[test]
fn a_leak_is_foreseen_within_ten_samples() {
    let mut e = noise(3);
    let leak = series(10, 1_000, |i| 0.2 + 0.02 * i + 0.004 * e());
    let f = time_to_limit(&leak, 1.0).expect("a leak");
    assert!((f.seconds - 31.0).abs() < 4.0, "{f:?}");
    assert!(f.low <= f.seconds && f.seconds <= f.high);
}

#[test]
fn a_slow_fill_is_foreseen_over_hours() {
    let mut e = noise(5);
    let fill = series(360, 60_000, |i| 0.5 + 0.0002 * i + 0.01 * e());
    let f = time_to_limit(&fill, 1.0).expect("a fill");
    let expected = (1.0 - 0.5 - 0.0002 * 360.0) / 0.0002 * 60.0;
    assert!((f.seconds / expected - 1.0).abs() < 0.3, "{f:?} instead of {expected}");
    assert!(f.low < expected && expected < f.high, "{f:?} instead of {expected}");
}

#[test]
fn flat_and_noisy_series_go_nowhere() {
    let mut alarms = 0;
    for seed in 0..400 {
        let mut e = noise(seed);
        let n = [10, 30, 60, 360][seed as usize % 4];
        alarms += usize::from(time_to_limit(&series(n, 60_000, |_| 0.6 + 0.05 * e()), 1.0).is_some());
    }
    assert!(alarms <= 2, "{alarms} of 400");
    assert_eq!(time_to_limit(&series(100, 1_000, |_| 0.7), 1.0), None);
}

#[test]
fn a_random_walk_seldom_alarms_and_never_soon() {
    let mut soon = 0;
    for seed in 0..200 {
        let (mut e, mut level) = (noise(seed + 1_000), 0.5);
        let walk = series(240, 60_000, |_| {
            level += 0.002 * e();
            level
        });
        soon += usize::from(time_to_limit(&walk, 1.0).is_some_and(|f| f.seconds < 3_600.0));
    }
    assert_eq!(soon, 0);
}

#[test]
fn a_step_is_no_slope() {
    assert_eq!(
        time_to_limit(&series(40, 60_000, |i| if i < 20.0 { 0.4 } else { 0.7 }), 1.0),
        None
    );
}

#[test]
fn a_saw_turns_where_it_turned_before() {
    for at in 60..240 {
        let saw = series(at, 60_000, |i| 0.3 + 0.4 * ((i % 50.0) / 50.0));
        let f = time_to_limit(&saw, 1.0);
        assert!(f.is_none(), "at {at}: {f:?}");
    }
}

#[test]
fn a_saw_that_passes_its_highest_turn_is_a_leak() {
    let saw = series(190, 60_000, |i| {
        if i < 100.0 {
            0.3 + 0.4 * ((i % 50.0) / 50.0)
        } else {
            0.3 + 0.008 * (i - 100.0) * 0.8
        }
    });
    assert!(time_to_limit(&saw, 1.0).is_some());
}

#[test]
fn growth_that_is_over_is_no_growth() {
    assert_eq!(
        time_to_limit(&series(60, 60_000, |i| 0.3 + 0.01 * i.min(40.0)), 1.0),
        None
    );
}

#[test]
fn what_is_full_is_full() {
    let f = time_to_limit(&series(20, 1_000, |_| 1.0), 1.0).expect("full");
    assert_eq!(f.seconds, 0.0);
}

/// Twenty samples, one a second.
fn push(memory: &mut Memory, pairs: &[(&str, &str)], value: &dyn Fn(i64) -> f64) {
    let mut samples = Samples::default();
    for i in 0..20 {
        samples.push(i * 1_000, value(i));
    }
    memory.push(Labels::from_pairs(pairs.iter().copied()), samples);
}

#[test]
fn a_cgroup_is_measured_against_its_own_limit() {
    let mut memory = Memory::default();
    let mib = 1_048_576.0;
    push(
        &mut memory,
        &[
            ("__name__", "cgroup_memory_usage_bytes"),
            ("host_name", "a"),
            ("cgroup", "/leak"),
        ],
        &|i| (10 + 2 * i) as f64 * mib,
    );
    push(
        &mut memory,
        &[
            ("__name__", "cgroup_memory_limit_bytes"),
            ("host_name", "a"),
            ("cgroup", "/leak"),
        ],
        &|_| 64.0 * mib,
    );
    let found = forecasts(&memory, ForecastOptions::default(), 19_500).expect("forecasts");
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].resource, found[0].device.as_str()),
        (Resource::CgroupMemory, "/leak")
    );
    assert!((found[0].seconds_to_limit.expect("a leak") - 8.0).abs() < 0.1);
    assert_eq!(found[0].text, "memory of cgroup /leak: 75 % used, at its limit in 8 s");
    assert!(
        forecasts(&memory, ForecastOptions::default(), 10_000_000)
            .expect("forecasts")
            .is_empty()
    );
}

#[test]
fn a_limit_is_found_by_host_and_cgroup_wherever_its_series_stands() {
    let mut memory = Memory::default();
    let series = |memory: &mut Memory, metric: &str, host: &str, cgroup: &str, value: f64| {
        let name = [("__name__", metric), ("host_name", host)];
        let cgroup = (!cgroup.is_empty()).then_some(("cgroup", cgroup));
        let pairs: Vec<_> = name.into_iter().chain(cgroup).collect();
        push(memory, &pairs, &|_| value);
    };
    let cgroups: Vec<String> = (0..2_000).map(|i| format!("/pod-{i}")).collect();
    for (usage, host) in [(1.0, "a"), (2.0, "b")] {
        for cgroup in ["", "/leak", "/unlimited"]
            .into_iter()
            .chain(cgroups.iter().map(String::as_str))
        {
            series(&mut memory, "cgroup_memory_usage_bytes", host, cgroup, usage);
        }
    }
    for (limit, host) in [(10.0, "a"), (20.0, "b")] {
        for (i, cgroup) in cgroups.iter().enumerate() {
            series(
                &mut memory,
                "cgroup_memory_limit_bytes",
                host,
                cgroup,
                limit + 100.0 * i as f64,
            );
        }
        series(&mut memory, "cgroup_memory_limit_bytes", host, "", limit + 1.0);
        series(&mut memory, "cgroup_memory_limit_bytes", host, "/leak", limit + 2.0);
    }
    let found = forecasts(&memory, ForecastOptions::default(), 19_500).expect("forecasts");
    assert_eq!(found.len(), 2 * (cgroups.len() + 2), "without the unlimited ones");
    let limit = |host: &str, cgroup: &str| {
        let of_cgroup = found.iter().find(|f| f.host == host && f.device == cgroup);
        of_cgroup.expect("a forecast").limit
    };
    assert_eq!((limit("a", ""), limit("b", "")), (11.0, 21.0));
    assert_eq!((limit("a", "/leak"), limit("b", "/leak")), (12.0, 22.0));
    assert_eq!(
        (limit("a", "/pod-1999"), limit("b", "/pod-1999")),
        (199_910.0, 199_920.0)
    );
}
