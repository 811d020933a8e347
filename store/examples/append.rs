//! How fast one thread appends, and what it costs: `cargo run --release -p foreshock-store --example append [SERIES] [ROUNDS]`.

use std::io::Write as _;
use std::time::Instant;

use foreshock_store::{Clock, LabelsBuf, Samples, Store, StoreError, StoreOptions, TimeRange};

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
        clock: Clock::fixed(rounds as i64 * 10_000),
        background: false,
        ..StoreOptions::default()
    };
    let store = Store::open(&dir.path().join("append"), options.clone())?;
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
    let begun = Instant::now();
    append(0, &mut labels)?;
    let registered = begun.elapsed().as_secs_f64();
    writeln!(
        out,
        "registered {series} series: {:.0} series/s",
        series as f64 / registered
    )?;
    let begun = Instant::now();
    for round in 1..rounds {
        append(round, &mut labels)?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let stats = store.stats();
    let samples = stats.appended_samples as f64;
    writeln!(
        out,
        "appended with labels, synced each 500: {:.0} samples/s",
        (samples - series as f64) / seconds
    )?;
    writeln!(out, "WAL {:.2} bytes/sample", stats.wal_written_bytes as f64 / samples)?;
    let head = stats.head_bytes as f64 / series as f64;
    let index = stats.index_bytes as f64 / series as f64;
    writeln!(
        out,
        "head {head:.0} bytes/series, index {index:.0}; resident {}",
        resident()
    )?;

    let begun = Instant::now();
    let snapshot = store.snapshot();
    let ids = snapshot.select(&[], TimeRange::ALL)?;
    writeln!(
        out,
        "select all {} in label order: {:.1} ms",
        ids.len(),
        begun.elapsed().as_secs_f64() * 1e3
    )?;
    let read = |snapshot: &foreshock_store::Snapshot| -> Result<(usize, f64), StoreError> {
        let begun = Instant::now();
        let (mut samples, mut count) = (Samples::default(), 0);
        for id in &ids {
            samples.clear();
            snapshot.read(*id, TimeRange::ALL, &mut samples)?;
            count += samples.len();
        }
        Ok((count, begun.elapsed().as_secs_f64()))
    };
    let (count, seconds) = read(&snapshot)?;
    writeln!(out, "read the head: {:.1} M samples/s", count as f64 / seconds / 1e6)?;
    drop((snapshot, store));

    let begun = Instant::now();
    let store = Store::open(&dir.path().join("append"), options.clone())?;
    writeln!(out, "replayed in {:.2} s", begun.elapsed().as_secs_f64())?;
    let begun = Instant::now();
    store.flush()?;
    let stats = store.stats();
    writeln!(out, "flushed in {:.2} s", begun.elapsed().as_secs_f64())?;
    writeln!(
        out,
        "{} parts, {:.2} bytes/sample",
        stats.parts,
        stats.part_bytes as f64 / stats.part_samples as f64
    )?;
    let (count, seconds) = read(&store.snapshot())?;
    writeln!(out, "read the parts: {:.1} M samples/s", count as f64 / seconds / 1e6)?;
    drop(store);
    let begun = Instant::now();
    let _store = Store::open(&dir.path().join("append"), options)?;
    writeln!(out, "started without WAL in {:.2} s", begun.elapsed().as_secs_f64())?;
    Ok(())
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
