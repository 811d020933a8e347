use std::collections::BTreeMap;

use proptest::prelude::*;
use wire::otlp::read::{self, Data};

use super::*;

fn fleet(options: FleetOptions) -> Fleet {
    Fleet::new(options).unwrap()
}

fn small(seed: u64) -> FleetOptions {
    FleetOptions {
        seed,
        hosts: 4,
        days: 3.0,
        ..FleetOptions::default()
    }
}

/// Milliseconds, start in milliseconds, value.
type Points = Vec<(i64, i64, f64)>;

/// Series, written as `name{host key=value ...}`, with their points; counts what a request says about itself.
fn decoded(requests: impl Iterator<Item = Request>) -> BTreeMap<String, Points> {
    let mut series: BTreeMap<String, Points> = BTreeMap::new();
    let mut scratch = String::new();
    for request in requests {
        let (mut count, mut first, mut last) = (0, i64::MAX, i64::MIN);
        for resource in read::request(&request.body) {
            let resource = resource.unwrap();
            let mut host = String::new();
            for attribute in &resource.resource {
                let (name, value) = attribute.unwrap();
                if name == "host.name" {
                    host = value.text(&mut scratch).unwrap().to_owned();
                }
            }
            for metric in resource.scopes().flat_map(|scope| scope.unwrap().metrics()) {
                let metric = metric.unwrap();
                let (Data::Gauge(points) | Data::Sum { points, .. }) = metric.data.unwrap() else {
                    panic!("{} has points of another kind", metric.name)
                };
                for point in points.numbers() {
                    let point = point.unwrap();
                    let mut name = format!("{}{{{host}", metric.name);
                    for attribute in &point.attributes {
                        let (key, value) = attribute.unwrap();
                        name += &format!(" {key}={}", value.text(&mut scratch).unwrap());
                    }
                    name.push('}');
                    let at = (point.time_unix_nano / 1_000_000) as i64;
                    let start = (point.start_unix_nano / 1_000_000) as i64;
                    count += 1;
                    first = first.min(at);
                    last = last.max(at);
                    series.entry(name).or_default().push((at, start, point.value.unwrap()));
                }
            }
        }
        assert_eq!(
            (request.points, request.first_ms, request.last_ms),
            (count, first, last)
        );
    }
    series
}

fn all(fleet: &Fleet) -> BTreeMap<String, Points> {
    decoded(fleet.requests(fleet.span(), 10_000))
}

#[test]
fn the_same_options_give_the_same_bytes_and_another_seed_others() {
    let bodies = |seed| {
        fleet(small(seed))
            .requests(0..=i64::MAX, 10_000)
            .map(|r| r.body)
            .collect::<Vec<_>>()
    };
    let one = bodies(1);
    assert!(one == bodies(1));
    assert!(one != bodies(2));
    assert_eq!(fleet(small(1)).incidents(), fleet(small(1)).incidents());
}

#[test]
fn more_hosts_do_not_change_the_others() {
    let few = fleet(FleetOptions { hosts: 2, ..small(5) });
    let many = fleet(FleetOptions { hosts: 5, ..small(5) });
    let of_many = all(&many);
    for (name, points) in all(&few) {
        assert!(of_many[&name] == points, "{name}");
    }
    let known: Vec<&SimIncident> = many
        .incidents()
        .iter()
        .filter(|i| few.hosts().any(|host| host == i.host))
        .collect();
    assert_eq!(few.incidents().iter().collect::<Vec<_>>(), known);
}

#[test]
fn size_of_requests_and_part_of_the_time_change_no_sample() {
    let fleet = fleet(small(3));
    let whole = all(&fleet);
    assert!(
        decoded(fleet.requests(fleet.span(), 60)) == whole,
        "a request for each host"
    );
    let (start, end) = fleet.span().into_inner();
    let (from, to) = (start + 86_400_000 + 1, start + 2 * 86_400_000);
    let part = decoded(fleet.requests(from..=to, 7_000));
    for (name, points) in &whole {
        let wanted: Points = points
            .iter()
            .copied()
            .filter(|(at, ..)| (from..=to).contains(at))
            .collect();
        assert!(part.get(name).cloned().unwrap_or_default() == wanted, "{name}");
    }
    // Walked in steps of seven minutes.
    let mut requests = fleet.requests(fleet.span(), 10_000);
    let mut walked = Vec::new();
    let mut now = start;
    while now <= end {
        while let Some(request) = requests.next_until(now) {
            assert!(request.last_ms <= now);
            walked.push(request);
        }
        now += 7 * 60_000;
    }
    walked.extend(requests);
    assert!(decoded(walked.into_iter()) == whole);
}

#[test]
fn requests_are_in_order_of_time_and_of_the_size_asked_for() {
    let fleet = fleet(FleetOptions {
        hosts: 24,
        days: 1.0,
        ..FleetOptions::default()
    });
    let requests: Vec<Request> = fleet.requests(fleet.span(), 10_000).collect();
    for pair in requests.windows(2) {
        assert!(pair[0].last_ms < pair[1].first_ms);
    }
    for request in &requests[..requests.len() - 1] {
        assert!((5_000..=12_000).contains(&request.points), "{}", request.points);
    }
}

#[test]
fn the_default_fleet_stays_under_ten_million_points() {
    let fleet = fleet(FleetOptions {
        seed: 2,
        ..FleetOptions::default()
    });
    let mut points = 0;
    for request in fleet.requests(fleet.span(), 10_000) {
        points += request.points;
    }
    assert!((9_000_000..10_000_000).contains(&points), "{points}");
    let estimate = fleet.points_estimate();
    assert!(points.abs_diff(estimate) < estimate / 20, "{points} against {estimate}");
}

#[test]
fn rates_and_shares_are_near_those_asked_for() {
    for (failure_rate, near_miss_rate) in [(0.3, 0.45), (0.1, 0.2)] {
        let options = FleetOptions {
            hosts: 400,
            failure_rate,
            near_miss_rate,
            ..FleetOptions::default()
        };
        let host_days = options.hosts as f64 * options.days;
        let fleet = fleet(options);
        let failures = fleet.incidents().len() as f64 / host_days;
        let scares = fleet.near_misses().len() as f64 / host_days;
        assert!(
            (failures / failure_rate - 1.0).abs() < 0.15,
            "{failures} failures a host-day"
        );
        assert!(
            (scares / near_miss_rate - 1.0).abs() < 0.15,
            "{scares} near misses a host-day"
        );
        // 14 in 100 kinds are sudden, and 45 % of the 12 that fall off the bus: 19.4 in 100 cannot be foreseen.
        let foreseeable = fleet.incidents().iter().filter(|incident| incident.foreseeable).count() as f64;
        let share = foreseeable / fleet.incidents().len() as f64;
        assert!((0.75..0.86).contains(&share), "{share}");
        for kind in Failure::ALL {
            assert!(
                fleet.incidents().iter().any(|incident| incident.kind == kind),
                "no {kind}"
            );
        }
        for kind in Scare::ALL {
            assert!(fleet.near_misses().iter().any(|near| near.kind == kind), "no {kind}");
        }
    }
}

#[test]
fn incidents_of_a_host_do_not_overlap_and_say_what_they_are() {
    let fleet = fleet(FleetOptions {
        hosts: 50,
        ..FleetOptions::default()
    });
    for host in fleet.hosts() {
        let mut free_from = i64::MIN;
        for incident in fleet.incidents().iter().filter(|incident| incident.host == host) {
            assert!(incident.precursor_start_ms >= free_from);
            assert!(incident.precursor_start_ms <= incident.start_ms && incident.start_ms < incident.end_ms);
            assert_eq!(incident.foreseeable, incident.precursor_start_ms < incident.start_ms);
            assert_eq!(incident.device.is_some(), incident.kind.is_of_gpu());
            assert!(fleet.span().contains(&incident.start_ms));
            free_from = incident.end_ms;
        }
    }
}

#[test]
fn every_value_is_a_number_within_its_range() {
    for (name, points) in all(&fleet(small(9))) {
        for (at, start, value) in points {
            assert!(value.is_finite() && value >= 0.0, "{name} at {at}: {value}");
            assert!(start <= at, "{name} starts after its point");
            if name.contains("utilization") || name.contains("ratio") || name.contains("throttle") {
                assert!(value <= 1.0, "{name} at {at}: {value}");
            }
            if name.contains("temperature") {
                assert!((10.0..=110.0).contains(&value), "{name} at {at}: {value}");
            }
        }
    }
}

#[test]
fn counters_fall_only_where_their_start_moves() {
    let options = FleetOptions {
        planned_reboot_rate: 1.0,
        ..small(4)
    };
    let mut resets = 0;
    for (name, points) in all(&fleet(options)) {
        let counters = [
            "system.cpu.time",
            "system.disk",
            "system.network",
            "system.linux",
            "hw.errors",
            "hw.gpu.xid",
        ];
        if !counters.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        for pair in points.windows(2) {
            let ((_, start_a, a), (at, start_b, b)) = (pair[0], pair[1]);
            assert!(start_b >= start_a);
            if start_b == start_a {
                assert!(b >= a, "{name} falls from {a} to {b} at {at}");
            } else {
                resets += 1;
                // Small counts may be reached again at once.
                assert!(a < 1000.0 || b < a, "{name} goes on after a reboot at {at}");
            }
        }
    }
    assert!(resets > 100, "{resets}");
}

#[test]
fn signs_lead_to_each_kind_of_failure() {
    // Each kind alone on a host; what its sign reads a day before, and at the end.
    let check = |kind: Failure, metric: &str, rises: bool| {
        let options = FleetOptions {
            failure_rate: 0.0,
            near_miss_rate: 0.0,
            gap_rate: 0.0,
            planned_reboot_rate: 0.0,
            hosts: 1,
            days: 4.0,
            seed: 12,
            ..FleetOptions::default()
        };
        let onset = options.start_ms + 3 * 86_400_000;
        let fleet = fleet(options).with_incident(kind, 0, onset, 8 * 3_600_000).unwrap();
        let incident = &fleet.incidents()[0];
        assert_eq!(
            (incident.kind, incident.start_ms, incident.foreseeable),
            (kind, onset, true)
        );
        assert_eq!(incident.precursor_start_ms, onset - 8 * 3_600_000);
        let series = all(&fleet);
        let (_, points) = series
            .iter()
            .find(|(name, _)| name.contains(metric) && incident.device.as_ref().is_none_or(|id| name.contains(id)))
            .unwrap_or_else(|| panic!("no {metric}"));
        let mean = |from: i64, to: i64| {
            let inside: Vec<f64> = points
                .iter()
                .filter(|p| (from..to).contains(&p.0))
                .map(|p| p.2)
                .collect();
            inside.iter().sum::<f64>() / inside.len() as f64
        };
        let (before, at_end) = (
            mean(onset - 32 * 3_600_000, onset - 8 * 3_600_000),
            mean(onset - 1_800_000, onset),
        );
        assert_eq!(at_end > before, rises, "{kind}: {metric} from {before} to {at_end}");
        assert!(
            (at_end / before.max(1e-9) - 1.0).abs() > 0.15,
            "{kind}: {metric} from {before} to {at_end}"
        );
    };
    check(Failure::GpuThermal, "hw.sensor_location=gpu", true);
    check(Failure::GpuEcc, "ecc_corrected", true);
    check(Failure::GpuOffBus, "pcie_replay", true);
    check(Failure::Nvlink, "nvlink_crc", true);
    check(Failure::HostOom, "system.memory.utilization", true);
    check(Failure::FanFailure, "hw.fan_speed", false);
    check(Failure::LatencyCrash, "app.request.duration.p99", true);
}

#[test]
fn a_full_disk_stays_full_until_it_is_cleaned() {
    let options = FleetOptions {
        failure_rate: 0.0,
        near_miss_rate: 0.0,
        hosts: 1,
        days: 2.0,
        ..FleetOptions::default()
    };
    let onset = options.start_ms + 86_400_000;
    let fleet = fleet(options)
        .with_incident(Failure::DiskFull, 0, onset, 8 * 3_600_000)
        .unwrap();
    let end = fleet.incidents()[0].end_ms;
    let full = all(&fleet)
        .into_iter()
        .filter(|(name, _)| name.starts_with("system.filesystem.utilization"))
        .any(|(_, points)| {
            points
                .iter()
                .all(|(at, _, value)| (*value > 0.99) == (*at >= onset && *at < end) || (*at < onset && *value > 0.9))
        });
    assert!(full);
}

#[test]
fn a_failed_gpu_vanishes_and_a_failed_host_falls_silent() {
    let fleet = fleet(FleetOptions {
        hosts: 12,
        days: 4.0,
        failure_rate: 1.0,
        gap_rate: 0.0,
        ..FleetOptions::default()
    });
    let series = all(&fleet);
    let seen = |name: &str, from: i64, to: i64| {
        series
            .iter()
            .find(|(key, _)| key.starts_with(name))
            .unwrap()
            .1
            .iter()
            .filter(|p| (from..to).contains(&p.0))
            .count()
    };
    let mut checked = [0, 0];
    for incident in fleet.incidents() {
        let host = &incident.host;
        match (incident.kind, &incident.device) {
            (Failure::FanFailure | Failure::HostSudden, _) => {
                assert_eq!(
                    seen(&format!("system.uptime{{{host}"), incident.start_ms, incident.end_ms),
                    0
                );
                checked[0] += 1;
            }
            (Failure::GpuOffBus | Failure::GpuSudden | Failure::GpuThermal, Some(id)) => {
                let name = format!("hw.power{{{host} hw.id={id}");
                assert_eq!(seen(&name, incident.start_ms, incident.end_ms), 0);
                checked[1] += 1;
            }
            _ => {}
        }
    }
    assert!(checked.iter().all(|count| *count > 3), "{checked:?}");
}

#[test]
fn the_driver_reports_what_the_failure_was() {
    let fleet = fleet(FleetOptions {
        hosts: 12,
        days: 4.0,
        failure_rate: 1.0,
        gap_rate: 0.0,
        ..FleetOptions::default()
    });
    let series = all(&fleet);
    for incident in fleet.incidents() {
        let code = match incident.kind {
            Failure::GpuEcc => "48",
            Failure::GpuOffBus | Failure::GpuThermal => "79",
            Failure::Nvlink => "74",
            _ => continue,
        };
        let id = incident.device.as_ref().unwrap();
        let slice = series.iter().find(|(name, _)| {
            name.starts_with("hw.gpu.xid") && name.contains(id) && name.ends_with(&format!("xid={code}}}"))
        });
        let Some((_, points)) = slice else {
            panic!("no XID {code} for {incident:?}")
        };
        assert!(points.iter().any(|(at, ..)| *at == incident.start_ms), "{incident:?}");
    }
}

#[test]
fn a_wanted_incident_changes_its_host_alone() {
    let plain = fleet(small(6));
    let onset = *plain.span().end() - 3_600_000;
    let forced = plain
        .clone()
        .with_incident(Failure::HostOom, 2, onset, 4 * 3_600_000)
        .unwrap();
    let (before, after) = (all(&plain), all(&forced));
    for (name, points) in &before {
        if !name.contains("sim-002") {
            assert!(after[name] == *points, "{name}");
        }
    }
    assert!(before != after);
    assert_eq!(
        forced
            .incidents()
            .iter()
            .filter(|incident| incident.kind == Failure::HostOom && incident.start_ms / 120_000 == onset / 120_000)
            .count(),
        1
    );
}

#[test]
fn wrong_options_are_refused_by_name() {
    let check = |options: FleetOptions, name: &str| assert_eq!(Fleet::new(options).unwrap_err().option, name);
    let sound = FleetOptions::default;
    check(FleetOptions { hosts: 0, ..sound() }, "hosts");
    check(
        FleetOptions {
            days: f64::NAN,
            ..sound()
        },
        "days",
    );
    check(
        FleetOptions {
            days: 0.0001,
            ..sound()
        },
        "days",
    );
    check(FleetOptions { step_s: 0, ..sound() }, "step_s");
    check(
        FleetOptions {
            failure_rate: -0.1,
            ..sound()
        },
        "failure_rate",
    );
    check(
        FleetOptions {
            gap_rate: f64::INFINITY,
            ..sound()
        },
        "gap_rate",
    );
    check(
        FleetOptions {
            hot_host_share: 1.1,
            ..sound()
        },
        "hot_host_share",
    );
    check(
        FleetOptions {
            lemon_share: 0.5,
            ..sound()
        },
        "lemon_factor",
    );
    check(FleetOptions { start_ms: 0, ..sound() }, "start_ms");
    let fleet = fleet(FleetOptions {
        gpus_per_host: 0,
        ..small(1)
    });
    let (start, lead) = (*fleet.span().start() + 3_600_000, 600_000);
    assert!(fleet.clone().with_incident(Failure::GpuEcc, 0, start, lead).is_err());
    assert!(fleet.clone().with_incident(Failure::HostOom, 9, start, lead).is_err());
    assert!(
        fleet
            .clone()
            .with_incident(Failure::HostSudden, 0, start, lead)
            .is_err()
    );
    assert!(fleet.with_incident(Failure::HostOom, 0, start, lead).is_ok());
    assert_eq!(Failure::from_name("nvlink"), Some(Failure::Nvlink));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_sound_options_give_a_sound_fleet(
        seed in any::<u64>(),
        hosts in 1usize..5,
        gpus_per_host in 0usize..4,
        days in 0.05f64..1.5,
        step_s in 15u32..900,
        failure_rate in 0.0f64..5.0,
        near_miss_rate in 0.0f64..5.0,
        rate in 0.0f64..10.0,
        points_max in 1usize..20_000,
    ) {
        let options = FleetOptions {
            seed, hosts, gpus_per_host, days, step_s, failure_rate, near_miss_rate,
            gap_rate: rate, planned_reboot_rate: rate / 5.0, warm_spell_rate: rate,
            ..FleetOptions::default()
        };
        prop_assume!(days * 86_400.0 >= f64::from(step_s));
        let fleet = fleet(options);
        let mut last = BTreeMap::new();
        for (name, points) in decoded(fleet.requests(fleet.span(), points_max)) {
            for (at, start, value) in points {
                prop_assert!(value.is_finite() && value >= 0.0 && start <= at && fleet.span().contains(&at));
                prop_assert!(last.insert(name.clone(), at).is_none_or(|before| before < at), "{} twice at {}", name, at);
            }
        }
    }
}
