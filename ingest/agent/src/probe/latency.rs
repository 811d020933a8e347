//! Latency of HTTP and TCP endpoints, and of looking up names, as their users see it.

use std::fmt;
use std::io::Read as _;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::str::FromStr;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::worker::{Timed, Worker};
use super::{Column, Probe, ProbeError, Support, Watch};
use crate::catalogue as metric;
use crate::reading::{Histogram, Readings};

/// Targets of one agent.
pub(crate) const TARGETS_MAX: usize = 32;

/// Bytes of an answer that are read: enough to notice one that stalls half-way.
const BODY_BYTES_MAX: u64 = 64 << 10;

/// Upper ends of the buckets of latency, seconds: those that the semantic conventions give for `http.client.request.duration`.
const BOUNDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// What is asked: an `http://` or `https://` URL, `tcp://host:port`, or `dns://name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    url: String,
    way: Way,
}

/// How it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Way {
    /// A GET.
    Http,
    /// A connection to this address.
    Tcp(String),
    /// Looking this name up, as programs on this host do: by `/etc/hosts`, `/etc/resolv.conf` and whatever else is configured.
    Dns(String),
}

/// A target that cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{given:?} is no target: write http://host/path, https://host/path, tcp://host:port or dns://name")]
pub struct TargetError {
    given: String,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(given: &str) -> Result<Self, TargetError> {
        let error = || TargetError {
            given: given.to_owned(),
        };
        let (scheme, rest) = given.split_once("://").ok_or_else(error)?;
        if rest.is_empty() || rest.starts_with('/') || given.contains(char::is_whitespace) {
            return Err(error());
        }
        let way = match scheme {
            "http" | "https" => Way::Http,
            "tcp" => {
                let port = rest.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
                Way::Tcp(port.map(|_| rest.to_owned()).ok_or_else(error)?)
            }
            "dns" if !rest.contains(['/', ':']) => Way::Dns(rest.to_owned()),
            _ => return Err(error()),
        };
        Ok(Self {
            url: given.to_owned(),
            way,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// How one attempt ended.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Attempt {
    seconds: f64,
    success: bool,
}

/// What is asked, by whom, and how that went so far.
struct Asked {
    target: Target,
    worker: Option<Worker<Attempt>>,
    /// Time of the first attempt, nanoseconds since 1970 UTC; then how many took how long, those that failed included.
    since: u64,
    /// Time of the last attempt that this round heard of.
    last: Option<u64>,
    sum: f64,
    counts: [u64; BOUNDS.len() + 1],
}

impl Asked {
    fn count(&mut self, attempt: &Timed<Attempt>) {
        if self.since == 0 {
            self.since = attempt.unix_nanos;
        }
        let seconds = attempt.reading.seconds;
        self.sum += seconds;
        self.counts[BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
    }
}

/// Asks each target in a thread of its own, so that a slow one delays neither the others nor the sampler.
pub struct Latency {
    timeout: Duration,
    targets: Vec<Asked>,
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let targets: Vec<_> = self.targets.iter().map(|asked| &asked.target).collect();
        f.debug_struct("Latency")
            .field("targets", &targets)
            .finish_non_exhaustive()
    }
}

impl Latency {
    /// A probe of these targets; an attempt is given up after `timeout`.
    #[must_use]
    pub fn new(targets: &[Target], timeout: Duration) -> Self {
        let mut probe = Self {
            timeout,
            targets: Vec::new(),
        };
        targets.iter().for_each(|target| probe.add(target.clone()));
        probe
    }

    /// Adds a target; at the bound, and when it is there already, nothing happens.
    fn add(&mut self, target: Target) {
        if self.targets.len() < TARGETS_MAX && self.targets.iter().all(|known| known.target != target) {
            let timeout = self.timeout;
            let asked = target.clone();
            let worker = Worker::spawn("latency", move || attempt(&asked, timeout)).ok();
            self.targets.push(Asked {
                target,
                worker,
                since: 0,
                last: None,
                sum: 0.0,
                counts: [0; BOUNDS.len() + 1],
            });
        }
    }
}

impl Probe for Latency {
    fn name(&self) -> &'static str {
        "latency"
    }

    fn is_supported(&mut self) -> Support {
        if self.targets.is_empty() {
            Support::No("no target is configured (--probe)".to_owned())
        } else {
            Support::Yes
        }
    }

    fn watch(&mut self, what: &Watch) {
        if let Watch::Target(target) = what {
            self.add(target.clone());
        }
    }

    fn begin(&mut self) {
        self.targets
            .iter()
            .filter_map(|asked| asked.worker.as_ref())
            .for_each(Worker::begin);
    }

    fn has_late(&self) -> bool {
        let mut workers = self.targets.iter().filter_map(|asked| asked.worker.as_ref());
        workers.any(Worker::has_readings)
    }

    fn sample(&mut self, deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        let mut attempts: Vec<(&str, Vec<Timed<Attempt>>)> = Vec::new();
        for asked in &mut self.targets {
            let Some(worker) = &asked.worker else { continue };
            let taken = worker.take(deadline);
            taken.iter().for_each(|attempt| asked.count(attempt));
            asked.last = taken.last().map(|last| last.unix_nanos);
            attempts.push((&asked.target.url, taken));
        }
        let values: [Column<Attempt, f64>; 2] = [
            (&metric::PROBE_DURATION, |attempt| attempt.seconds),
            (&metric::PROBE_SUCCESS, |attempt| f64::from(u8::from(attempt.success))),
        ];
        for (metric, value) in values {
            out.metric(metric);
            for (url, attempts) in &attempts {
                for timed in attempts {
                    out.point_at(timed.unix_nanos, &[("probe.target", url)], value(&timed.reading));
                }
            }
        }
        out.metric(&metric::PROBE_LATENCY);
        for asked in &self.targets {
            let Some(last) = asked.last else { continue };
            let since = Histogram {
                start_unix_nanos: asked.since,
                sum: asked.sum,
                bounds: &BOUNDS,
                counts: &asked.counts,
            };
            out.histogram_at(last, &[("probe.target", &asked.target.url)], &since);
        }
        Ok(())
    }
}

/// One attempt, on a connection of its own as a new user would make: a full backlog shows.
fn attempt(target: &Target, timeout: Duration) -> Attempt {
    let began = Instant::now();
    let success = match &target.way {
        Way::Tcp(address) => connects(address, timeout),
        Way::Dns(name) => is_found(name),
        Way::Http => answers(&target.url, timeout),
    };
    Attempt {
        seconds: began.elapsed().as_secs_f64(),
        success,
    }
}

fn connects(address: &str, timeout: Duration) -> bool {
    let Ok(addresses) = address.to_socket_addrs() else {
        return false;
    };
    addresses
        .into_iter()
        .take(2)
        .any(|address| TcpStream::connect_timeout(&address, timeout).is_ok())
}

/// The resolver's own patience bounds this: five seconds a server and attempt unless `/etc/resolv.conf` says otherwise.
fn is_found(name: &str) -> bool {
    (name, 0)
        .to_socket_addrs()
        .is_ok_and(|mut found| found.next().is_some())
}

fn answers(url: &str, timeout: Duration) -> bool {
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .max_idle_connections(0)
        .max_redirects(3)
        .proxy(None)
        .user_agent("foreshock-agent")
        .build()
        .new_agent();
    let Ok(mut answer) = agent.get(url).call() else {
        return false;
    };
    let mut body = Vec::new();
    let read = answer
        .body_mut()
        .as_reader()
        .take(BODY_BYTES_MAX)
        .read_to_end(&mut body)
        .is_ok();
    read && answer.status().as_u16() < 400
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing;
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::thread;

    /// Answers each connection in turn with a text; then closes.
    fn serve(answers: &'static [&'static str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("address").to_string();
        thread::spawn(move || {
            for answer in answers {
                let Ok((mut stream, _)) = listener.accept() else { return };
                let mut request = [0; 1024];
                if stream.read(&mut request).is_ok() {
                    stream.write_all(answer.as_bytes()).unwrap_or_default();
                }
            }
        });
        address
    }

    #[test]
    fn targets_are_checked_when_given() {
        for good in [
            "http://localhost:80/x",
            "https://a.example",
            "tcp://[::1]:22",
            "tcp://db:5432",
            "dns://db.example",
        ] {
            assert_eq!(
                good.parse::<Target>().map(|target| target.to_string()).as_deref(),
                Ok(good)
            );
        }
        for bad in [
            "",
            "localhost",
            "http://",
            "tcp://db",
            "tcp://db:99999",
            "ftp://x",
            "dns://",
            "dns://1.1.1.1/name",
            "dns://name:53",
            "http://a b/",
        ] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_good_answer_a_server_error_and_a_dead_port() {
        let address = serve(&[
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
        ]);
        let target: Target = format!("http://{address}/health").parse().expect("target");
        let mut probe = Latency::new(&[target], Duration::from_secs(20));
        let text = testing::sample(&mut probe);
        assert!(
            text.contains(&format!("probe.success{{probe.target=http://{address}/health}} 1 1\n")),
            "{text}"
        );
        let text = testing::sample(&mut probe);
        assert!(text.contains("} 0 1\n") && text.contains("probe.duration{"), "{text}");
        // The listener is gone by now, or goes with the next connection; either way nothing answers.
        let text = testing::sample(&mut probe);
        assert!(text.contains("} 0 1\n"), "{text}");
    }

    #[test]
    fn tcp_targets_need_only_a_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("address");
        let target: Target = format!("tcp://{address}").parse().expect("target");
        let text = testing::sample(&mut Latency::new(&[target], Duration::from_secs(20)));
        assert!(text.contains("} 1 1\n"), "{text}");
    }

    #[test]
    fn names_are_looked_up_as_programs_on_this_host_do() {
        // Neither needs a network: no part of a name may have more than 63 bytes.
        let long = format!("dns://{}", "x".repeat(64));
        let targets = ["dns://localhost", &long].map(|target| target.parse().expect("target"));
        let text = testing::sample(&mut Latency::new(&targets, Duration::from_secs(20)));
        assert!(
            text.contains("probe.success{probe.target=dns://localhost} 1 1\n"),
            "{text}"
        );
        assert!(
            text.contains(&format!("probe.success{{probe.target={long}}} 0 1\n")),
            "{text}"
        );
    }

    #[test]
    fn what_each_attempt_took_is_counted_from_the_first_on() {
        let mut asked = Asked {
            target: "dns://h".parse().expect("target"),
            worker: None,
            since: 0,
            last: None,
            sum: 0.0,
            counts: [0; BOUNDS.len() + 1],
        };
        for (unix_nanos, seconds) in [(5, 0.005), (6, 0.0051), (7, 11.0)] {
            let reading = Attempt {
                seconds,
                success: false,
            };
            asked.count(&Timed { unix_nanos, reading });
        }
        assert_eq!(
            (asked.since, asked.counts[0], asked.counts[1], asked.counts[14]),
            (5, 1, 1, 1)
        );
        assert!((asked.sum - 11.0101).abs() < 1e-9);
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let target: Target = format!("tcp://{}", listener.local_addr().expect("address"))
            .parse()
            .expect("target");
        let mut probe = Latency::new(&[target], Duration::from_secs(20));
        for count in 1..3 {
            let text = testing::sample(&mut probe);
            assert!(
                text.contains("probe.latency{") && text.contains(&format!("}} {count} of ")),
                "{text}"
            );
        }
    }

    #[test]
    fn targets_are_bounded() {
        let targets: Vec<Target> = (0..100)
            .map(|i| format!("tcp://127.0.0.1:{}", i + 1).parse().expect("target"))
            .collect();
        assert_eq!(
            Latency::new(&targets, Duration::from_secs(1)).targets.len(),
            TARGETS_MAX
        );
    }
}
