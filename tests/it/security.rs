//! Tokens and TLS from outside: an agent that is let in, and everybody else who is not, on every port.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use agent::{Agent, Config, Pin, Trust, check};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use wire::metric::{Kind, MetricDef};
use wire::otlp::write::RequestWriter;

use crate::server::Server;

const METRIC: MetricDef = MetricDef {
    name: "security.test",
    unit: "",
    kind: Kind::Gauge,
    help: "Sent by somebody with a token",
};

/// How long the server may take to see a file that changed, and an agent to send, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn an_agent_with_pin_and_token_is_let_in_and_strangers_are_told_why_not() {
    let data = tempfile::tempdir().expect("a directory");
    let write = token(data.path(), &["agents", "--scope", "write", "--host", "db-1"]);
    let read = token(data.path(), &["grafana", "--scope", "read"]);
    let server = Server::start_with(data.path(), &["--tls-self-signed"]);
    let pin = server.pin.clone().expect("the server prints its pin");

    let running = Agent::new(config(&server.url, &pin, &write, "db-1"))
        .expect("an agent")
        .start()
        .expect("it runs");
    let ca = data.path().join("tls/ca.pem");
    let query = || {
        let url = format!("{}/api/v1/query?query=system_uptime_seconds", server.url);
        let (status, text) = ask(&believing(&ca), &url, Some(&format!("Bearer {read}")));
        assert_eq!(status, 200, "{text}");
        text
    };
    let until = Instant::now() + PATIENCE;
    while !query().contains("db-1") {
        assert!(Instant::now() < until, "nothing of the agent arrived");
        std::thread::yield_now();
    }
    let stats = running.stop();
    assert_eq!(stats.rejected_points, 0, "a bound token takes all of its host's series");

    let told = |config: Config, expected: &[&str]| {
        let report = check::check(config).expect("a report").text;
        for words in expected {
            assert!(report.contains(words), "{words}: {report}");
        }
    };
    let other_pin = format!("sha256:{}", "07".repeat(32));
    told(
        config(&server.url, &other_pin, &write, "db-1"),
        &[&pin, "not the one that --pin gives"],
    );
    told(
        config(&server.url, &pin, "fs_00000000_0", "db-1"),
        &["401", "was revoked", "foreshock token create"],
    );
    told(
        config(&server.url, &pin, &read, "db-1"),
        &["403", "has the scope read, and this needs write"],
    );
    let plain = server.url.replace("https", "http");
    let mut to_plain = config(&plain, &pin, &write, "db-1");
    if let Some(server) = &mut to_plain.server {
        server.trust = Trust::default();
    }
    told(to_plain, &["400", "use https://"]);
    assert!(server.stop());
}

#[test]
fn grafana_and_browsers_come_in_by_header_and_the_probes_of_an_orchestrator_without() {
    let data = tempfile::tempdir().expect("a directory");
    let read = token(data.path(), &["grafana", "--scope", "read"]);
    let server = Server::start(data.path());
    let client = plain();
    for path in ["/-/healthy", "/-/ready"] {
        assert_eq!(ask(&client, &format!("{}{path}", server.url), None).0, 200, "{path}");
    }
    let query = format!("{}/api/v1/query?query=vector(1)", server.url);
    let (status, problem) = ask(&client, &query, None);
    let problem: serde_json::Value = serde_json::from_str(&problem).expect("a JSON problem");
    assert_eq!((status, &problem["status"]), (401, &serde_json::json!(401)));
    assert!(
        problem["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("Authorization: Bearer")),
        "{problem}"
    );
    // What Grafana sends for "custom headers", and for "basic auth".
    assert_eq!(ask(&client, &query, Some(&format!("Bearer {read}"))).0, 200);
    assert_eq!(ask(&client, &query, Some(&basic(&read))).0, 200);
    // Taken away while the server runs.
    let id = read.split('_').nth(1).expect("an id");
    let out = foreshock(data.path(), &["token", "revoke", id]);
    assert!(out.contains("is revoked"), "{out}");
    let until = Instant::now() + PATIENCE;
    while ask(&client, &query, Some(&format!("Bearer {read}"))).0 != 401 {
        assert!(Instant::now() < until, "a revoked token is still good");
        std::thread::yield_now();
    }
    assert!(server.stop());
}

#[test]
fn every_port_asks_for_a_token_in_its_own_words() {
    let data = tempfile::tempdir().expect("a directory");
    let read = token(data.path(), &["reader", "--scope", "read"]);
    let [otlp_http, otlp_grpc, flight] = [(); 3].map(|()| free_port().to_string());
    let ports = [
        "--otlp-http",
        &otlp_http,
        "--otlp-grpc",
        &otlp_grpc,
        "--flight-sql",
        &flight,
    ];
    let server = Server::start_with_ports(data.path(), &ports);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    // Making one of the server's clients chooses whose cryptography reqwest uses.
    drop(api::notify::client().expect("a client"));
    let h2 = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .expect("a client");
    let grpc = |url: String, token: Option<&str>| {
        runtime.block_on(async {
            let mut request = h2.post(url).header("content-type", "application/grpc");
            if let Some(token) = token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let answer = request.body(vec![0; 5]).send().await.expect("an answer");
            let header = |name: &str| {
                let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
                value.unwrap_or_default().to_owned()
            };
            (answer.status().as_u16(), header("grpc-status"), header("grpc-message"))
        })
    };
    let export = format!("http://{otlp_grpc}/opentelemetry.proto.collector.metrics.v1.MetricsService/Export");
    let (status, code, message) = grpc(export.clone(), None);
    assert_eq!((status, code.as_str()), (200, "16"), "UNAUTHENTICATED: {message}");
    assert!(message.contains("foreshock token create"), "{message}");
    let (_, code, message) = grpc(export, Some(&read));
    assert_eq!(code, "7", "PERMISSION_DENIED: {message}");
    let actions = format!("http://{flight}/arrow.flight.protocol.FlightService/ListActions");
    assert_eq!(grpc(actions.clone(), None).1, "16");
    assert_ne!(grpc(actions, Some(&read)).1, "16");
    // OTLP over HTTP: a status in protobuf for those who read nothing else, JSON for people.
    let metrics = format!("http://{otlp_http}/v1/metrics");
    let post = |accept: &str| {
        let mut answer = plain()
            .post(&metrics)
            .header("content-type", "application/x-protobuf")
            .header("accept", accept)
            .send(sample("db-1"))
            .expect("an answer");
        let kind = answer.headers()["content-type"].to_str().expect("text").to_owned();
        let body = answer.body_mut().read_to_vec().expect("a body");
        (
            answer.status().as_u16(),
            kind,
            String::from_utf8_lossy(&body).into_owned(),
        )
    };
    for (accept, expected) in [
        ("application/x-protobuf", "application/x-protobuf"),
        ("application/json", "application/problem+json"),
    ] {
        let (status, kind, body) = post(accept);
        assert_eq!((status, kind.as_str()), (401, expected));
        assert!(body.contains("this server wants a token"), "{body}");
    }
    assert!(server.stop());
}

#[test]
fn a_token_bound_to_a_host_writes_for_no_other() {
    let data = tempfile::tempdir().expect("a directory");
    let bound = token(data.path(), &["db-1", "--scope", "write", "--host", "db-1"]);
    let free = token(data.path(), &["all", "--scope", "write"]);
    let server = Server::start(data.path());
    let send = |token: &str, host: &str| {
        let authorization = format!("Bearer {token}");
        let headers = [
            ("Content-Type", "application/x-protobuf"),
            ("Accept", "application/json"),
            ("Authorization", authorization.as_str()),
        ];
        server.post("/v1/metrics", &headers, &sample(host)).expect("an answer")
    };
    // The other's series is known to the server before the bound token names it.
    assert_eq!(send(&free, "db-2").0, 200);
    assert_eq!(send(&bound, "db-1").0, 200);
    let (status, problem) = send(&bound, "db-2");
    assert_eq!(status, 400, "{problem}");
    assert!(problem.contains("the token is bound to another host"), "{problem}");
}

#[test]
fn beyond_loopback_nothing_starts_without_tokens_or_the_word() {
    let data = tempfile::tempdir().expect("a directory");
    let out = Command::new(env!("CARGO_BIN_EXE_foreshock"))
        .args(["serve", "--listen", "0.0.0.0:0", "--data"])
        .arg(data.path())
        .output()
        .expect("the binary under test runs");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success());
    assert!(
        said.contains("foreshock token create") && said.contains("--insecure"),
        "{said}"
    );
}

/// One sample of a host, as OTLP.
fn sample(host: &str) -> Vec<u8> {
    let mut body = RequestWriter::new(&[("host.name", host)], "security");
    body.metric(&METRIC).point(&[], 0, 1_767_225_600_000_000_000, 1.0);
    body.finish()
}

fn config(url: &str, pin: &str, token: &str, host: &str) -> Config {
    Config {
        server: Some(agent::Server {
            url: url.to_owned(),
            token: Some(token.to_owned()),
            trust: Trust {
                ca_file: None,
                pin: Some(pin.parse::<Pin>().expect("a pin")),
            },
            ..agent::Server::default()
        }),
        interval: Duration::from_secs(1),
        adaptive: false,
        host_name: Some(host.to_owned()),
        ..Config::default()
    }
}

/// What the binary prints.
pub(crate) fn foreshock(data: &Path, arguments: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_foreshock"))
        .args(arguments)
        .arg("--data")
        .arg(data)
        .output()
        .expect("the binary under test runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

pub(crate) fn token(data: &Path, arguments: &[&str]) -> String {
    foreshock(data, &[&["token", "create"], arguments].concat())
}

/// A port that nobody had a moment ago.
fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    listener.local_addr().expect("an address")
}

fn plain() -> ureq::Agent {
    agent_of(TlsConfig::default())
}

/// A client that believes the certificates of a file alone.
pub(crate) fn believing(ca: &Path) -> ureq::Agent {
    let pem = std::fs::read(ca).expect("the server's own authority");
    let roots: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    agent_of(
        TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .build(),
    )
}

fn agent_of(tls: TlsConfig) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(60)))
        .http_status_as_error(false)
        .tls_config(tls)
        .build()
        .into()
}

pub(crate) fn ask(client: &ureq::Agent, url: &str, authorization: Option<&str>) -> (u16, String) {
    let mut request = client.get(url);
    if let Some(authorization) = authorization {
        request = request.header("Authorization", authorization);
    }
    let mut answer = request.call().expect("an answer");
    let text = answer.body_mut().read_to_string().expect("a body");
    (answer.status().as_u16(), text)
}

/// Basic's header for a password; the digits are written out here so that they are not the server's own.
fn basic(password: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut pair = format!("grafana:{password}");
    // Three bytes are four digits; a longer name spares the padding.
    while !pair.len().is_multiple_of(3) {
        pair.insert(0, 'x');
    }
    let mut text = String::from("Basic ");
    for three in pair.as_bytes().chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        for place in 0..4 {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}
