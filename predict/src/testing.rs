//! A small fleet for tests: hosts with load by the hour, leaks that end in an OOM kill, and failures without a sign.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use store::{Labels, METRIC_NAME, Samples};

use crate::incident::{Incident, Source};
use crate::telemetry::Memory;
use crate::window::Grid;

pub(crate) const STEP_MS: i64 = 120_000;
pub(crate) const GRID: Grid = Grid { step_ms: STEP_MS };
/// 2026-01-05T00:00:00Z.
pub(crate) const START: i64 = 1_767_571_200_000;
const HOUR: i64 = 3_600_000;

pub(crate) struct Fleet {
    pub(crate) telemetry: Memory,
    pub(crate) incidents: Vec<Incident>,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

/// A fleet of `hosts` over `days`; the same seed gives the same fleet.
pub(crate) fn fleet(hosts: usize, days: i64, seed: u64) -> Fleet {
    let steps = (days * 24 * HOUR / STEP_MS) as usize;
    let mut telemetry = Memory::default();
    let mut incidents = Vec::new();
    for host in 0..hosts {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed * 1_000 + host as u64);
        let name = format!("host-{host:02}");
        let mut memory_leak = vec![0.0; steps];
        let mut down = vec![false; steps];
        // One failure each 30 hours or so: two of three leak for four hours before, one comes without a sign.
        let mut at = 8 * HOUR / STEP_MS + random.random_range(0..600);
        while (at as usize) < steps - 90 {
            let start = at as usize;
            let silent = random.random_range(0..3) == 0;
            if !silent {
                for i in 0..120 {
                    memory_leak[start - i] += 0.5 * (1.0 - i as f64 / 120.0);
                }
            }
            down[start..start + 15].fill(true);
            let span = START + start as i64 * STEP_MS..START + (start as i64 + 15) * STEP_MS;
            let kind = if silent { "sudden" } else { "host_oom" };
            incidents.push(Incident::past(
                format!("{name}-{start}"),
                &name,
                kind,
                span,
                Source::Simulated,
            ));
            at += 700 + random.random_range(0..500);
        }
        let mut noise = |scale: f64| (random.random::<f64>() - 0.5) * scale;
        let mut columns: Vec<(Labels, Samples)> = [
            ("system_memory_utilization_ratio", &[][..]),
            ("system_cpu_utilization_ratio", &[]),
            (
                "system_filesystem_utilization_ratio",
                &[("system_filesystem_mountpoint", "/")],
            ),
            (
                "system_network_io_bytes_total",
                &[("network_io_direction", "receive"), ("network_interface_name", "eth0")],
            ),
            ("queue_depth", &[]),
            (
                "hw_temperature_celsius",
                &[("hw_id", "GPU-0"), ("hw_sensor_location", "gpu")],
            ),
            (
                "hw_temperature_celsius",
                &[("hw_id", "GPU-1"), ("hw_sensor_location", "gpu")],
            ),
            (
                "hw_errors_total",
                &[("hw_id", "GPU-0"), ("error_type", "ecc_corrected")],
            ),
        ]
        .into_iter()
        .map(|(metric, labels): (&str, &[(&str, &str)])| {
            let pairs = [(METRIC_NAME, metric), ("host_name", name.as_str())];
            (
                Labels::from_pairs(pairs.into_iter().chain(labels.iter().copied())),
                Samples::default(),
            )
        })
        .collect();
        let (mut received, mut errors) = (0.0, 0.0);
        for i in 0..steps {
            // A little after the step, as agents send.
            let t = START + i as i64 * STEP_MS - 1_500;
            let day = (i as f64 / 720.0 * std::f64::consts::TAU).sin();
            let cpu = 0.4 + 0.15 * day + noise(0.05);
            received += (1e6 * cpu).max(0.0);
            errors += f64::from(noise(1.0) > 0.495);
            if down[i] {
                continue;
            }
            let values = [
                (0.4 + 0.03 * day + memory_leak[i] + noise(0.02)).clamp(0.0, 1.0),
                cpu,
                0.5 + i as f64 * 2e-5,
                received,
                5.0 + noise(4.0),
                50.0 + 20.0 * cpu + noise(1.0),
                52.0 + 20.0 * cpu + noise(1.0),
                errors,
            ];
            for ((_, samples), value) in columns.iter_mut().zip(values) {
                samples.push(t, value);
            }
        }
        for (labels, samples) in columns {
            telemetry.push(labels, samples);
        }
    }
    Fleet {
        telemetry,
        incidents,
        from: START,
        to: START + steps as i64 * STEP_MS,
    }
}
