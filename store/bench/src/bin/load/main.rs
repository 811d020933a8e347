//! Sends a fleet by Prometheus remote write, as fast as it is taken, and says what that cost the server.
//!
//! ```text
//! load --url http://127.0.0.1:9750/api/v1/write --pid 1234 [--hosts 400] [--steps 240] [--connections 4]
//!      [--rate 600000] [--clients 16]
//! ```
//! Any server that takes remote write 1.0 can be measured, so that two of them can be laid side by side. Requests are encoded and
//! compressed before the clock starts: 2,000 samples each, one a series, a host's series in order on one connection. The
//! processor's time, peak memory and written bytes are those that Linux counts for the process `--pid`. With `--rate` no more
//! samples are sent a second than that; with `--clients` so many clients ask queries meanwhile, one after the other, through the
//! Prometheus API of the same address.
#![expect(clippy::print_stdout, reason = "a command line tool says what it found")]

use std::error::Error;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use foreshock_bench::{START_MS, STEP_MS, Shape, labels};
use wire::remote_write::write::RequestWriter;

mod connection;
mod queries;

use connection::Connection;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Series of a host.
const HOST_SERIES: usize = 50;
/// Hosts whose samples of one step share a request.
const REQUEST_HOSTS: usize = 40;

struct Asked {
    authority: String,
    path: String,
    pid: Option<u32>,
    hosts: usize,
    steps: usize,
    connections: usize,
    rate: Option<f64>,
    clients: usize,
}

fn main() -> Result<()> {
    let asked = Asked::read(std::env::args().skip(1))?;
    let groups = asked.hosts.div_ceil(REQUEST_HOSTS);
    println!(
        "{} hosts, {} series, {} steps of {} s: {} samples",
        groups * REQUEST_HOSTS,
        groups * REQUEST_HOSTS * HOST_SERIES,
        asked.steps,
        STEP_MS / 1000,
        groups * REQUEST_HOSTS * HOST_SERIES * asked.steps
    );
    let requests = encode(groups, asked.steps)?;
    let before = asked.pid.map(Cost::of).transpose()?;
    let started = Instant::now();
    let progress = Progress::new(asked.connections);
    let mut answered = Vec::new();
    let latencies = std::thread::scope(|scope| -> Result<Vec<f64>> {
        let clients: Vec<_> = (0..asked.clients)
            .map(|client| {
                scope.spawn({
                    let (asked, progress) = (&asked, &progress);
                    move || queries::ask(asked, client, progress)
                })
            })
            .collect();
        let sent = send(&asked, &requests, &progress);
        progress.finish();
        for client in clients {
            answered.extend(client.join().map_err(|_| "a client's thread ended early")??);
        }
        sent
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let samples = (groups * REQUEST_HOSTS * HOST_SERIES * asked.steps) as f64;
    println!("samples/s           {:>10.0}", samples / seconds);
    println!(
        "request p50, p99 ms {:>10.2} {:.2}",
        at(&latencies, 0.5),
        at(&latencies, 0.99)
    );
    if asked.clients > 0 {
        answered.sort_by(f64::total_cmp);
        println!("queries             {:>10}", answered.len());
        println!(
            "query p50, p99 ms   {:>10.2} {:.2}",
            at(&answered, 0.5),
            at(&answered, 0.99)
        );
    }
    if let (Some(pid), Some(before)) = (asked.pid, before) {
        let after = Cost::of(pid)?;
        let million = samples / 1e6;
        println!("CPU s/M samples     {:>10.3}", (after.cpu_s - before.cpu_s) / million);
        println!(
            "written B/sample    {:>10.2}",
            (after.written - before.written) as f64 / samples
        );
        println!("peak memory MB      {:>10.1}", after.peak_bytes as f64 / 1e6);
    }
    Ok(())
}

impl Asked {
    fn read(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut asked = Self {
            authority: String::new(),
            path: String::new(),
            pid: None,
            hosts: 400,
            steps: 240,
            connections: 4,
            rate: None,
            clients: 0,
        };
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--url" => {
                    let rest = value.strip_prefix("http://").ok_or("--url has to begin with http://")?;
                    let (authority, path) = rest
                        .split_once('/')
                        .ok_or("--url needs a path, such as /api/v1/write")?;
                    (asked.authority, asked.path) = (authority.to_owned(), format!("/{path}"));
                }
                "--pid" => asked.pid = Some(value.parse()?),
                "--hosts" => asked.hosts = value.parse()?,
                "--steps" => asked.steps = value.parse()?,
                "--connections" => asked.connections = value.parse()?,
                "--rate" => asked.rate = Some(value.parse()?),
                "--clients" => asked.clients = value.parse()?,
                _ => return Err(format!("unknown option {name}").into()),
            }
        }
        if asked.authority.is_empty() || asked.hosts == 0 || asked.steps == 0 || asked.connections == 0 {
            return Err(
                "usage: load --url http://HOST:PORT/api/v1/write [--pid N] [--hosts N] [--steps N] [--connections N] [--rate N] \
                 [--clients N]"
                    .into(),
            );
        }
        Ok(asked)
    }
}

/// Bodies by group of hosts and step.
fn encode(groups: usize, steps: usize) -> Result<Vec<Vec<Vec<u8>>>> {
    let group = |group: usize| -> Result<Vec<Vec<u8>>> {
        let first = group * REQUEST_HOSTS * HOST_SERIES;
        let series: Vec<_> = (first..first + REQUEST_HOSTS * HOST_SERIES).map(labels).collect();
        let values: Vec<Vec<f64>> = (0..series.len())
            .map(|i| Shape::ALL[i % Shape::ALL.len()].values(steps, (first + i) as u64))
            .collect();
        let mut writer = RequestWriter::default();
        let mut compressor = snap::raw::Encoder::new();
        let bodies = (0..steps).map(|step| {
            for (labels, values) in series.iter().zip(&values) {
                let pairs: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
                writer.series(&pairs, &[(START_MS + step as i64 * STEP_MS, values[step])]);
            }
            Ok(compressor.compress_vec(&writer.finish())?)
        });
        bodies.collect()
    };
    (0..groups).map(group).collect()
}

/// How far the connections have come: by connection the number of steps that are acknowledged.
struct Progress(Vec<AtomicUsize>);

impl Progress {
    fn new(connections: usize) -> Self {
        Self((0..connections).map(|_| AtomicUsize::new(0)).collect())
    }

    /// Steps that every connection has sent; `None` at the end.
    fn steps(&self) -> Option<usize> {
        let steps = self.0.iter().map(|steps| steps.load(Ordering::Relaxed)).min();
        steps.filter(|steps| *steps < usize::MAX)
    }

    fn finish(&self) {
        self.0
            .iter()
            .for_each(|steps| steps.store(usize::MAX, Ordering::Relaxed));
    }
}

/// Sends everything, step after step; answers how many milliseconds each request took, ascending.
fn send(asked: &Asked, requests: &[Vec<Vec<u8>>], progress: &Progress) -> Result<Vec<f64>> {
    let begun = Instant::now();
    let one = |number: usize| -> Result<Vec<f64>> {
        let mut connection = Connection::open(&asked.authority)?;
        let mut latencies = Vec::new();
        for step in 0..asked.steps {
            if let Some(rate) = asked.rate {
                let due = (step * requests.len() * REQUEST_HOSTS * HOST_SERIES) as f64 / rate;
                std::thread::sleep(Duration::from_secs_f64(due).saturating_sub(begun.elapsed()));
            }
            for group in requests.iter().skip(number).step_by(asked.connections) {
                let started = Instant::now();
                connection.write(&asked.path, &group[step])?;
                latencies.push(started.elapsed().as_secs_f64() * 1e3);
            }
            progress.0[number].store(step + 1, Ordering::Relaxed);
        }
        Ok(latencies)
    };
    let mut all = Vec::new();
    std::thread::scope(|scope| -> Result<()> {
        let threads: Vec<_> = (0..asked.connections).map(|c| scope.spawn(move || one(c))).collect();
        for thread in threads {
            all.extend(thread.join().map_err(|_| "a connection's thread ended early")??);
        }
        Ok(())
    })?;
    all.sort_by(f64::total_cmp);
    Ok(all)
}

/// The value below which a share of sorted values lies.
fn at(sorted: &[f64], share: f64) -> f64 {
    let i = (sorted.len() as f64 * share) as usize;
    sorted
        .get(i.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

/// What a process has used so far (`proc(5)`).
struct Cost {
    cpu_s: f64,
    written: u64,
    peak_bytes: u64,
}

impl Cost {
    fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let after_name = stat.rsplit_once(") ").ok_or("/proc/PID/stat has no name in it")?.1;
        let fields: Vec<&str> = after_name.split(' ').collect();
        // Fields 14 and 15 of the line, in ticks of a hundredth of a second.
        let ticks = |i: usize| -> Result<f64> { Ok(fields.get(i).ok_or("/proc/PID/stat is short")?.parse::<f64>()?) };
        let number = |file: &str, name: &str| -> Result<u64> {
            let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let digits = line.and_then(|line| line.split_whitespace().next());
            Ok(digits
                .ok_or_else(|| format!("/proc/PID/{file} has no {name}"))?
                .parse()?)
        };
        Ok(Self {
            cpu_s: (ticks(11)? + ticks(12)?) / 100.0,
            written: number("io", "write_bytes:")?,
            peak_bytes: number("status", "VmHWM:")? * 1024,
        })
    }
}
