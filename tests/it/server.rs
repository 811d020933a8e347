//! A `foreshock serve` process of a test's own, on a port and in a directory of its own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    /// Fingerprint of the server's own authority, where it has one.
    pub(crate) pin: Option<String>,
}

impl Server {
    /// Starts the server on `data` and waits until it listens.
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    /// As [`Server::start`], with more arguments.
    pub(crate) fn start_with(data: &Path, more: &[&str]) -> Self {
        let one_port = ["--otlp-grpc", "off", "--otlp-http", "off", "--flight-sql", "off"];
        Self::start_with_ports(data, &[&one_port, more].concat())
    }

    /// Starts the server with arguments that say of every other port where it is.
    pub(crate) fn start_with_ports(data: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_foreshock"))
            .args(["--log", "warn", "serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary under test runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = || {
            let mut line = String::new();
            stdout.read_line(&mut line).expect("the server says where it listens");
            line
        };
        let first = line();
        let url = first
            .split_whitespace()
            .find(|w| w.starts_with("http://") || w.starts_with("https://"))
            .unwrap_or_else(|| panic!("got {first:?}"));
        let pin = arguments
            .contains(&"--tls-self-signed")
            .then(|| line().split_whitespace().last().expect("a pin").to_owned());
        Self {
            url: url.to_owned(),
            pin,
            child,
        }
    }

    /// The process, for signals.
    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// SIGTERM, and whether the server ended well.
    pub(crate) fn stop(mut self) -> bool {
        rustix::process::kill_process(self.pid(), rustix::process::Signal::TERM)
            .expect("the server can be told to stop");
        self.child.wait().expect("the server has ended").success()
    }

    /// Status and body of a POST.
    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<(u16, String)> {
        let mut request = client().post(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = request.send(body).ok()?;
        Some((answer.status().as_u16(), answer.body_mut().read_to_string().ok()?))
    }

    /// The JSON answer of a GET.
    pub(crate) fn get(&self, path: &str, query: &[(&str, &str)]) -> serde_json::Value {
        let mut request = client().get(format!("{}{path}", self.url));
        for (name, value) in query {
            request = request.query(*name, *value);
        }
        let mut answer = request.call().expect("the server answers");
        let text = answer.body_mut().read_to_string().expect("a whole body");
        assert!(answer.status().is_success(), "{path}: {} {text}", answer.status());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e} in {text}"))
    }

    /// The rows of a SQL query.
    pub(crate) fn sql(&self, query: &str) -> Vec<serde_json::Value> {
        self.get("/api/v1/sql", &[("query", query)])["rows"]
            .as_array()
            .cloned()
            .expect("rows")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail where the process has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn client() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(60)))
        .http_status_as_error(false)
        .build()
        .into()
}
