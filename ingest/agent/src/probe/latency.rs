//! Latency of HTTP and TCP endpoints, as their users see it.

use std::fmt;
use std::io::Read as _;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::str::FromStr;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::worker::{Timed, Worker};
use super::{Column, Probe, ProbeError, Support, Watch};
use crate::catalogue as metric;
use crate::reading::Readings;

/// Targets of one agent.
pub(crate) const TARGETS_MAX: usize = 32;

/// Bytes of an answer that are read: enough to notice one that stalls half-way.
const BODY_BYTES_MAX: u64 = 64 << 10;

/// What is asked: an `http://` or `https://` URL, or `tcp://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    url: String,
    tcp: Option<String>,
}

/// A target that cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{given:?} is no target: write http://host/path, https://host/path or tcp://host:port")]
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
        let tcp = match scheme {
            "http" | "https" => None,
            "tcp" => {
                let port = rest.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
                Some(port.map(|_| rest.to_owned()).ok_or_else(error)?)
            }
            _ => return Err(error()),
        };
        Ok(Self {
            url: given.to_owned(),
            tcp,
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

/// Asks each target in a thread of its own, so that a slow one delays neither the others nor the sampler.
pub struct Latency {
    timeout: Duration,
    targets: Vec<(Target, Option<Worker<Attempt>>)>,
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let targets: Vec<_> = self.targets.iter().map(|(target, _)| target).collect();
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
        if self.targets.len() < TARGETS_MAX && self.targets.iter().all(|(known, _)| *known != target) {
            let timeout = self.timeout;
            let asked = target.clone();
            let worker = Worker::spawn("latency", move || attempt(&asked, timeout)).ok();
            self.targets.push((target, worker));
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
            .filter_map(|(_, worker)| worker.as_ref())
            .for_each(Worker::begin);
    }

    fn sample(&mut self, deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        let attempts: Vec<(&str, Vec<Timed<Attempt>>)> = self
            .targets
            .iter()
            .filter_map(|(target, worker)| Some((target.url.as_str(), worker.as_ref()?.take(deadline))))
            .collect();
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
        Ok(())
    }
}

/// One attempt, on a connection of its own as a new user would make: a full backlog shows.
fn attempt(target: &Target, timeout: Duration) -> Attempt {
    let began = Instant::now();
    let success = match &target.tcp {
        Some(address) => connects(address, timeout),
        None => answers(&target.url, timeout),
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
