//! Sends a fleet by Prometheus remote write, as fast as it is taken, and says what that cost the server.
//!
//! ```text
//! load --url http://127.0.0.1:9750/api/v1/write --pid 1234 [--hosts 400] [--steps 240] [--connections 4]
//! ```
//! Any server that takes remote write 1.0 can be measured, so that two of them can be laid side by side. Requests are encoded and
//! compressed before the clock starts: 2,000 samples each, one a series, a host's series in order on one connection. The
//! processor's time, peak memory and written bytes are those that Linux counts for the process `--pid`.
#![expect(clippy::print_stdout, reason = "a command line tool says what it found")]

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use foreshock_bench::{START_MS, STEP_MS, Shape, labels};
use wire::remote_write::write::RequestWriter;

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
    let latencies = send(&asked, &requests)?;
    let seconds = started.elapsed().as_secs_f64();
    let samples = (groups * REQUEST_HOSTS * HOST_SERIES * asked.steps) as f64;
    println!("samples/s           {:>10.0}", samples / seconds);
    println!(
        "request p50, p99 ms {:>10.2} {:.2}",
        at(&latencies, 0.5),
        at(&latencies, 0.99)
    );
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
                _ => return Err(format!("unknown option {name}").into()),
            }
        }
        if asked.authority.is_empty() || asked.hosts == 0 || asked.steps == 0 || asked.connections == 0 {
            return Err(
                "usage: load --url http://HOST:PORT/api/v1/write [--pid N] [--hosts N] [--steps N] [--connections N]"
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

/// Sends everything, step after step; answers how many milliseconds each request took, ascending.
fn send(asked: &Asked, requests: &[Vec<Vec<u8>>]) -> Result<Vec<f64>> {
    let one = |connection: usize| -> Result<Vec<f64>> {
        let stream = TcpStream::connect(&asked.authority)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut answers = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        let mut latencies = Vec::new();
        for step in 0..asked.steps {
            for group in requests.iter().skip(connection).step_by(asked.connections) {
                let body = &group[step];
                let head = format!(
                    "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
                     X-Prometheus-Remote-Write-Version: 0.1.0\r\nContent-Length: {}\r\n\r\n",
                    asked.path,
                    asked.authority,
                    body.len()
                );
                let started = Instant::now();
                stream.write_all(head.as_bytes())?;
                stream.write_all(body)?;
                acknowledged(&mut answers)?;
                latencies.push(started.elapsed().as_secs_f64() * 1e3);
            }
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

/// Reads one answer, which has to be a good one.
fn acknowledged(answers: &mut impl BufRead) -> Result<()> {
    let mut line = String::new();
    answers.read_line(&mut line)?;
    let status = line.trim().to_owned();
    let mut length = 0;
    loop {
        line.clear();
        if answers.read_line(&mut line)? == 0 {
            return Err("the server closed the connection".into());
        }
        let header = line.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    answers.read_exact(&mut body)?;
    if status.split(' ').nth(1).is_some_and(|code| code.starts_with('2')) {
        return Ok(());
    }
    Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into())
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
