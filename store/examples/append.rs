//! How fast one thread appends, and what it costs, by the clock and in CPU time: `cargo run --release -p foreshock-store --example append [SERIES] [ROUNDS]`.

use std::io::Write as _;
use std::time::Instant;

use foreshock_store::{Clock, LabelsBuf, Samples, Snapshot, Store, StoreError, StoreOptions, TimeRange};

/// Rounds without labels.
const KNOWN_ROUNDS: usize = 20;

/// What node_exporter-like series hold: constants, counters, percentages, byte counts.
fn value(series: usize, round: usize) -> f64 {
    match series % 4 {
        0 => 1.0,
        1 => (round * (series % 17)) as f64,
        2 => ((round * 37 + series * 11) % 10_000) as f64 / 100.0,
        _ => (1_000_000 + round * 4096 * (series % 101)) as f64,
    }
}

fn labels_of(series: usize, labels: &mut LabelsBuf) {
    labels.clear();
    labels.push("__name__", &format!("node_metric_{}_total", series % 250));
    labels.push("host_name", &format!("host-{:04}.example.org", series / 500));
    labels.push("job", "node");
    labels.push("device", &format!("nvme{}n1", series % 500 / 250));
    labels.push("os_type", "linux");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map_while(|a| a.parse::<usize>().ok());
    let (series, rounds) = (arguments.next().unwrap_or(50_000), arguments.next().unwrap_or(200));
    let dir = tempfile::tempdir()?;
    let options = StoreOptions {
        clock: Clock::fixed((rounds + 2 * KNOWN_ROUNDS) as i64 * 10_000),
        background: false,
        ..StoreOptions::default()
    };
    let path = dir.path().join("append");
    let store = Store::open(&path, options.clone())?;
    let mut out = std::io::stdout().lock();

    let mut labels = LabelsBuf::default();
    let append = |round: usize, labels: &mut LabelsBuf| -> Result<(), StoreError> {
        // An agent's push: all series of one host.
        for host in 0..series.div_ceil(500) {
            let mut batch = store.batch();
            for s in host * 500..series.min(host * 500 + 500) {
                labels_of(s, labels);
                let id = batch.series(labels)?;
                batch.push(id, round as i64 * 10_000, value(s, round));
            }
            store.append(batch)?;
        }
        Ok(())
    };
    let watch = Watch::start();
    append(0, &mut labels)?;
    writeln!(out, "register {series} series: {}", watch.rate(series as f64))?;
    let watch = Watch::start();
    for round in 1..rounds {
        append(round, &mut labels)?;
    }
    let samples = (rounds * series) as f64;
    writeln!(
        out,
        "append samples with their labels, each 500 synced: {}",
        watch.rate(samples - series as f64)
    )?;
    let mut ids = Vec::new();
    let mut batch = store.batch();
    for s in 0..series {
        labels_of(s, &mut labels);
        ids.push(batch.series(&mut labels)?);
    }
    let watch = Watch::start();
    for s in 0..series {
        labels_of(s, &mut labels);
    }
    writeln!(out, "(write labels alone: {})", watch.rate(series as f64))?;
    let watch = Watch::start();
    for s in 0..series {
        labels_of(s, &mut labels);
        batch.series(&mut labels)?;
    }
    writeln!(
        out,
        "(write labels and find their series: {})",
        watch.rate(series as f64)
    )?;
    let mut known = |what: &str, from: usize, size: usize| -> Result<(), Box<dyn std::error::Error>> {
        let watch = Watch::start();
        for round in from..from + KNOWN_ROUNDS {
            for ids in ids.chunks(size) {
                let mut batch = store.batch();
                for id in ids {
                    batch.push(*id, round as i64 * 10_000, value(id.0 as usize, round));
                }
                store.append(batch)?;
            }
        }
        let rate = watch.rate((KNOWN_ROUNDS * series) as f64);
        writeln!(out, "append samples of known series, {what}: {rate}")?;
        Ok(())
    };
    known("each 500 synced", rounds, 500)?;
    known("each 10,000 synced", rounds + KNOWN_ROUNDS, 10_000)?;
    let samples = samples + (2 * KNOWN_ROUNDS * series) as f64;
    let stats = store.stats();
    writeln!(
        out,
        "WAL: {:.2} bytes a sample",
        stats.wal_written_bytes as f64 / samples
    )?;
    let (head, index) = (
        stats.head_bytes as f64 / series as f64,
        stats.index_bytes as f64 / series as f64,
    );
    writeln!(
        out,
        "head: {head:.0} bytes a series, index {index:.0}; resident {}",
        resident()
    )?;

    let snapshot = store.snapshot();
    for time in ["first", "second"] {
        let watch = Watch::start();
        let ids = snapshot.select(&[], TimeRange::ALL)?;
        writeln!(
            out,
            "select all {} in the order of labels, {time} time: {}",
            ids.len(),
            watch.took()
        )?;
    }
    let read = |snapshot: &Snapshot| -> Result<String, StoreError> {
        let ids = snapshot.select(&[], TimeRange::ALL)?;
        let watch = Watch::start();
        let (mut samples, mut count) = (Samples::default(), 0);
        for id in ids {
            samples.clear();
            snapshot.read(id, TimeRange::ALL, &mut samples)?;
            count += samples.len();
        }
        Ok(watch.rate(count as f64))
    };
    writeln!(out, "read samples from the head: {}", read(&snapshot)?)?;
    drop((snapshot, store));

    let watch = Watch::start();
    let store = Store::open(&path, options.clone())?;
    writeln!(out, "replay samples: {}", watch.rate(samples))?;
    let watch = Watch::start();
    store.flush()?;
    writeln!(out, "flush samples: {}", watch.rate(samples))?;
    let stats = store.stats();
    let bytes = stats.part_bytes as f64 / stats.part_samples as f64;
    writeln!(
        out,
        "{} parts: {bytes:.2} bytes a sample; resident {}",
        stats.parts,
        resident()
    )?;
    writeln!(out, "read samples from parts: {}", read(&store.snapshot())?)?;
    drop(store);
    let watch = Watch::start();
    let _store = Store::open(&path, options)?;
    writeln!(out, "start without a WAL: {}", watch.took())?;
    Ok(())
}

/// A stretch of work.
struct Watch {
    begun: Instant,
    cpu: f64,
}

impl Watch {
    fn start() -> Self {
        Self {
            begun: Instant::now(),
            cpu: cpu_seconds(),
        }
    }

    /// Seconds by the clock, and of CPU, in words.
    fn took(&self) -> String {
        format!(
            "{:.3} s, {:.3} s CPU",
            self.begun.elapsed().as_secs_f64(),
            cpu_seconds() - self.cpu
        )
    }

    /// `count` a second by the clock, and a CPU second, in thousands, in words.
    fn rate(&self, count: f64) -> String {
        let (wall, cpu) = (self.begun.elapsed().as_secs_f64(), cpu_seconds() - self.cpu);
        format!("{:.0} k/s, {:.0} k/CPU s", count / wall / 1e3, count / cpu / 1e3)
    }
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .unwrap_or("unknown")
        .trim()
        .to_owned()
}
