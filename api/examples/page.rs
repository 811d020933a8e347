//! Throw-away: pages over made-up data.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "throw-away"
)]
use foreshock_api as api;
use predict::incident::{Incident, IncidentBook, Source, Verdict};
use std::sync::Arc;
use store::{Clock, Labels, LabelsBuf, Metadata, MetricKind, Store, StoreOptions, Tenants, TimeRange};

const MIN: i64 = 60_000;
fn rnd(seed: &mut u64) -> f64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    (*seed >> 11) as f64 / (1u64 << 53) as f64
}

struct W<'a> {
    store: &'a Arc<Store>,
    batch: Option<store::Batch>,
    n: usize,
}
impl W<'_> {
    fn put(&mut self, pairs: &[(&str, &str)], samples: &[(i64, f64)]) {
        let b = self.batch.get_or_insert_with(|| self.store.batch());
        let mut l = LabelsBuf::default();
        for (k, v) in pairs {
            l.push(k, v);
        }
        let id = b.series(&mut l).unwrap();
        for (t, v) in samples {
            b.push(id, *t, *v);
        }
        self.n += samples.len();
        if self.n > 200_000 {
            self.flush();
        }
    }
    fn flush(&mut self) {
        if let Some(b) = self.batch.take() {
            self.store.append(b).unwrap();
        }
        self.n = 0;
    }
}

fn host(w: &mut W<'_>, name: &str, from: i64, to: i64, step: i64, fails: &[i64], gpu: bool, seed: &mut u64) {
    let times: Vec<i64> = (0..).map(|i| from + i * step).take_while(|t| *t <= to).collect();
    // 0 before, ramps to 1 in the 90 minutes before a failure.
    let danger = |t: i64| {
        fails
            .iter()
            .map(|f| {
                if t <= *f && t > f - 90 * MIN {
                    1.0 - (f - t) as f64 / (90.0 * MIN as f64)
                } else {
                    0.0
                }
            })
            .fold(0.0, f64::max)
    };
    let phase = rnd(seed) * 6.0;
    let mut series = |labels: &[(&str, &str)], f: &mut dyn FnMut(i64, f64) -> f64| {
        let s: Vec<(i64, f64)> = times.iter().map(|t| (*t, f(*t, danger(*t)))).collect();
        let mut all = vec![("host_name", name), ("job", "foreshock-agent")];
        all.extend_from_slice(labels);
        w.put(&all, &s);
    };
    let day = |t: i64| ((t as f64 / 86_400_000.0) * std::f64::consts::TAU + phase).sin();
    series(&[("__name__", "system_uptime_seconds")], &mut |t, _| {
        (t - from) as f64 / 1000.0 + 9e5
    });
    series(&[("__name__", "system_cpu_utilization_ratio")], &mut |t, d| {
        (0.35 + 0.2 * day(t) + 0.06 * (rnd(seed) - 0.5) + 0.2 * d).clamp(0.01, 1.0)
    });
    series(&[("__name__", "system_cpu_load_average_1m")], &mut |t, d| {
        6.0 + 3.0 * day(t) + rnd(seed) + 9.0 * d
    });
    series(&[("__name__", "system_memory_utilization_ratio")], &mut |t, d| {
        (0.42 + 0.05 * day(t) + 0.01 * rnd(seed) + 0.5 * d * d).min(0.99)
    });
    let grow = 0.6 + rnd(seed) * 0.1;
    series(
        &[
            ("__name__", "system_filesystem_utilization_ratio"),
            ("system_filesystem_mountpoint", "/"),
        ],
        &mut |t, _| (grow + 0.02 * (t - from) as f64 / 86_400_000.0).min(0.999),
    );
    series(
        &[
            ("__name__", "system_filesystem_utilization_ratio"),
            ("system_filesystem_mountpoint", "/data"),
        ],
        &mut |t, _| 0.3 + 0.01 * (t - from) as f64 / 86_400_000.0,
    );
    for dir in ["read", "write"] {
        let mut c = 0.0;
        series(
            &[
                ("__name__", "system_disk_io_bytes_total"),
                ("disk_io_direction", dir),
                ("system_device", "nvme0n1"),
            ],
            &mut |_, d| {
                c += (2e6 + 4e6 * rnd(seed) + 6e7 * d) * step as f64 / 1000.0;
                c
            },
        );
    }
    for dir in ["receive", "transmit"] {
        let mut c = 0.0;
        series(
            &[
                ("__name__", "system_network_io_bytes_total"),
                ("network_io_direction", dir),
                ("network_interface_name", "eth0"),
            ],
            &mut |_, _| {
                c += (1e7 + 4e7 * rnd(seed)) * step as f64 / 1000.0;
                c
            },
        );
    }
    for r in ["cpu", "memory", "io"] {
        let mut c = 0.0;
        series(
            &[
                ("__name__", "system_linux_pressure_stall_time_seconds_total"),
                ("resource", r),
                ("kind", "some"),
            ],
            &mut |_, d| {
                c += (0.01 + 0.02 * rnd(seed) + if r == "memory" { 0.5 * d } else { 0.0 }) * step as f64 / 1000.0;
                c
            },
        );
    }
    series(&[("__name__", "app_request_duration_p50_seconds")], &mut |_, d| {
        0.02 + 0.004 * rnd(seed) + 0.02 * d
    });
    series(&[("__name__", "app_request_duration_p99_seconds")], &mut |_, d| {
        0.11 + 0.03 * rnd(seed) + 0.6 * d * d
    });
    if gpu {
        for slot in ["0", "1", "2", "3"] {
            let id = format!("GPU-{name}-{slot}");
            series(
                &[
                    ("__name__", "hw_temperature_celsius"),
                    ("hw_id", &id),
                    ("hw_type", "gpu"),
                    ("gpu_slot", slot),
                    ("hw_sensor_location", "gpu"),
                ],
                &mut |t, d| 58.0 + 6.0 * day(t) + 3.0 * rnd(seed) + if slot == "2" { 22.0 * d } else { 0.0 },
            );
            series(
                &[
                    ("__name__", "hw_gpu_utilization_ratio"),
                    ("hw_id", &id),
                    ("hw_type", "gpu"),
                    ("gpu_slot", slot),
                ],
                &mut |_, _| 0.7 + 0.25 * rnd(seed),
            );
            series(
                &[
                    ("__name__", "hw_power_watts"),
                    ("hw_id", &id),
                    ("hw_type", "gpu"),
                    ("gpu_slot", slot),
                ],
                &mut |_, d| 410.0 + 60.0 * rnd(seed) + 40.0 * d,
            );
            let mut c: f64 = 0.0;
            series(
                &[
                    ("__name__", "hw_errors_total"),
                    ("hw_id", &id),
                    ("hw_type", "gpu"),
                    ("gpu_slot", slot),
                    ("error_type", "ecc_corrected"),
                ],
                &mut |_, d| {
                    if rnd(seed) < 0.002 + if slot == "2" { 0.6 * d } else { 0.0 } {
                        c += 1.0;
                    }
                    c
                },
            );
        }
    }
}

fn main() {
    let rt = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let dir = std::path::PathBuf::from("/tmp/fsF/data");
    let _ = std::fs::remove_dir_all(&dir);
    let tenants = Arc::new(
        Tenants::open(
            &dir,
            StoreOptions {
                out_of_order_window_ms: 30 * 86_400_000,
                ..StoreOptions::default()
            },
        )
        .unwrap(),
    );
    let now = Clock::system().now_ms();
    let (fleet, own) = (
        tenants.get_or_create("fleet").unwrap(),
        tenants.get_or_create("default").unwrap(),
    );
    let mut seed = 42;
    let days = 3;
    let from = now - days * 86_400_000;
    let mut incidents = Vec::new();
    let begun = std::time::Instant::now();
    {
        let mut w = W {
            store: &fleet,
            batch: None,
            n: 0,
        };
        for i in 0..14 {
            let name = format!("gpu-{:02}", i + 1);
            let mut fails = Vec::new();
            if i % 2 == 0 {
                for k in 0..3 {
                    fails.push(from + 10 * 3_600_000 + k * 20 * 3_600_000 + i * 2_500_000);
                }
            }
            if i == 4 {
                fails.push(now + 25 * MIN);
            }
            if i == 8 {
                fails.push(now + 70 * MIN);
            }
            for f in fails.iter().filter(|f| **f < now) {
                incidents.push(Incident {
                    id: format!("{name}-{f}"),
                    host: name.clone(),
                    device: (i % 4 == 0).then(|| format!("GPU-{name}-2")),
                    start: *f,
                    end: Some(f + 20 * MIN),
                    kind: if i % 4 == 0 { "gpu_ecc" } else { "host_oom" }.into(),
                    source: Source::Simulated,
                    verdict: Verdict::Real,
                    summary: "the job died and the host was drained".into(),
                });
            }
            let to = if i == 11 { now - 40 * MIN } else { now };
            host(&mut w, &name, from, to, MIN, &fails, true, &mut seed);
        }
        w.flush();
        let mut w = W {
            store: &own,
            batch: None,
            n: 0,
        };
        host(&mut w, "build-7", now - 70 * MIN, now, 10_000, &[], false, &mut seed);
        w.flush();
    }
    fleet.set_metadata(
        "system_uptime_seconds",
        Metadata {
            kind: MetricKind::Gauge,
            unit: "seconds".into(),
            help: "Since boot".into(),
        },
    );
    eprintln!("written in {:?}", begun.elapsed());
    IncidentBook::open(fleet.state())
        .unwrap()
        .declare_all(&incidents)
        .unwrap();
    let snapshot = fleet.snapshot();
    let begun = std::time::Instant::now();
    let trained = predict::train(
        &predict::TrainInput::new(&snapshot, &incidents, TimeRange::millis(from, now)),
        &mut |_| {},
    );
    eprintln!("trained in {:?}", begun.elapsed());
    let mut model = None;
    match trained {
        Ok(t) => {
            println!("{}", t.evaluation);
            let registry = predict::Registry::open(fleet.state()).unwrap();
            let id = registry.save(&t.model, now).unwrap();
            if let Some((m, _)) = &t.challenger {
                registry.save(m, now).unwrap();
            }
            registry.promote(id, now).unwrap();
            model = Some(t.model);
        }
        Err(e) => eprintln!("{e}"),
    }
    let board = Arc::new(api::Board::default());
    let engine = Arc::new(store::promql::Engine::default());
    let mut scorers = [
        (
            "fleet",
            Arc::clone(&fleet),
            predict::Scorer::new(model, predict::Horizon::HOUR),
        ),
        (
            "default",
            Arc::clone(&own),
            predict::Scorer::new(None, predict::Horizon::HOUR),
        ),
    ];
    let mut write = |scorers: &mut [(&str, Arc<Store>, predict::Scorer)], at: i64, publish: bool| {
        for (tenant, store, scorer) in scorers.iter_mut() {
            let round = scorer.round(&store.snapshot(), at).unwrap();
            let mut b = store.batch();
            for s in &round.scores {
                if let predict::ScoreState::Scored(p) = s.state {
                    let mut l = LabelsBuf::default();
                    for (k, v) in [
                        ("__name__", "foreshock_failure_probability"),
                        ("host", &s.host),
                        ("horizon", "1h"),
                        ("model", &s.model),
                    ] {
                        l.push(k, v);
                    }
                    let id = b.series(&mut l).unwrap();
                    b.push(id, at, p.get());
                }
                let mut l = LabelsBuf::default();
                for (k, v) in [("__name__", "foreshock_anomaly_score"), ("host", s.host.as_str())] {
                    l.push(k, v);
                }
                let id = b.series(&mut l).unwrap();
                b.push(id, at, s.anomaly);
            }
            for f in &round.forecasts {
                if let Some(s) = f.seconds_to_limit {
                    let mut l = LabelsBuf::default();
                    for (k, v) in [
                        ("__name__", "foreshock_time_to_limit_seconds"),
                        ("host", &f.host),
                        ("resource", f.resource.name()),
                        ("device", &f.device),
                    ] {
                        l.push(k, v);
                    }
                    let id = b.series(&mut l).unwrap();
                    b.push(id, at, s);
                }
            }
            if let Some(m) = scorer.model() {
                let mut l = LabelsBuf::default();
                for (k, v) in [
                    ("__name__", "foreshock_alert_threshold"),
                    ("horizon", "1h"),
                    ("model", m.name.as_str()),
                ] {
                    l.push(k, v);
                }
                let id = b.series(&mut l).unwrap();
                b.push(id, at, m.threshold);
            }
            store.append(b).unwrap();
            if publish {
                board.publish_round(tenant, round);
            }
        }
    };
    let begun = std::time::Instant::now();
    for i in (0..72).rev() {
        write(&mut scorers, now - i * 5 * MIN, i == 0);
    }
    eprintln!("72 rounds in {:?}", begun.elapsed());
    let mut evaluators: Vec<_> = [("fleet", &fleet), ("default", &own)]
        .into_iter()
        .map(|(n, s)| {
            (
                n,
                Arc::clone(s),
                api::rule::Evaluator::new(api::rule::default_groups(), s.state()).unwrap(),
            )
        })
        .collect();
    for k in (0..8).rev() {
        for (name, store, ev) in &mut evaluators {
            let t = ev.tick(&engine, store, now - k * 30_000).unwrap();
            eprintln!("{name}: {} transitions", t.len());
            board.publish_rules(name, ev.book());
        }
    }
    let app = api::App::new(api::AppParts {
        tenants: Arc::clone(&tenants),
        engine: Arc::clone(&engine),
        sql: Arc::new(sql::SqlEngine::new(sql::SqlOptions::default()).unwrap()),
        board: Arc::clone(&board),
        clock: Clock::system(),
        metrics: Arc::new(|| "# HELP x y\n".into()),
        ready: Arc::new(|| Ok(())),
        build: api::Build {
            version: "0.1.0".into(),
            revision: "unknown".into(),
        },
        banner: Some("Demo: this host is live in tenant default, a simulated fleet is in tenant fleet.".into()),
        limits: api::Limits::default(),
    });
    let _ = Labels::empty();
    rt.block_on(async {
        let port = api::serve::Port::bind("127.0.0.1:9777".parse().unwrap()).await.unwrap();
        println!("on http://{}", port.address());
        let (_stop, stopped) = tokio::sync::watch::channel(false);
        port.serve(api::router(app), api::serve::Connections::default(), stopped)
            .await;
    });
}
