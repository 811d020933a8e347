use std::io::{BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::host::Host;
use crate::probe::Paths;
use crate::retry::Verdict;
use crate::transport::{Client, Outcome, Server};

/// A server whose certificate an authority of its own vouches for, and the heads of the requests that it got.
pub(crate) struct Tls {
    pub(crate) url: String,
    pub(crate) pem: String,
    /// The fingerprint of that authority.
    pin: Pin,
    pub(crate) heads: mpsc::Receiver<String>,
}

pub(crate) fn tls() -> Tls {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("key");
    let authority = params.self_signed(&key).expect("authority");
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("key");
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).expect("params");
    let leaf = leaf.signed_by(&key, &issuer).expect("certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .expect("pair");
    let (send, heads) = mpsc::channel();
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let url = format!("https://{}", listener.local_addr().expect("address"));
    let (config, pem) = (Arc::new(config), authority.pem());
    let pin = Pin::of(&Certificate::from_der(authority.der()));
    let shown = pem.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(connection) = ServerConnection::new(Arc::clone(&config)) else {
                return;
            };
            let mut stream = BufReader::new(StreamOwned::new(connection, stream));
            while let Some(head) = head(&mut stream) {
                let body = if head.starts_with("get /-/ca.pem ") { &shown } else { "" };
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                if send.send(head).is_err() || stream.get_mut().write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        }
    });
    Tls { url, pem, pin, heads }
}

/// The next request's head, in small letters; its body is read over.
fn head(stream: &mut impl std::io::BufRead) -> Option<String> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        let line = line.to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        head.push_str(&line);
    }
    stream.read_exact(&mut vec![0; length]).ok()?;
    Some(head)
}

fn send(url: &str, trust: Trust) -> Outcome {
    let server = Server {
        url: url.to_owned(),
        token: Some("t0ken".to_owned()),
        trust,
        ..Server::default()
    };
    let client = Client::new(&server, &host(), Duration::from_secs(20)).expect("client");
    client.send(&zstd::bulk::compress(&[], 1).expect("zstd"))
}

fn pinned_to(pin: Pin) -> Trust {
    Trust {
        ca_file: None,
        pin: Some(pin),
    }
}

#[test]
fn the_pinned_authority_is_believed_and_the_token_goes_to_nobody_before() {
    let server = tls();
    let outcome = send(&server.url, pinned_to(server.pin));
    assert_eq!(outcome.verdict, Verdict::Accepted, "{outcome:?}");
    let [first, second] = [(); 2].map(|()| server.heads.recv().expect("a request"));
    assert!(
        first.starts_with("get /-/ca.pem ") && !first.contains("t0ken"),
        "{first}"
    );
    assert!(
        second.starts_with("post /v1/metrics ") && second.contains("bearer t0ken"),
        "{second}"
    );
}

#[test]
fn another_authority_gets_nothing() {
    let server = tls();
    let outcome = send(&server.url, pinned_to(Pin([7; 32])));
    assert_eq!((outcome.verdict, outcome.status), (Verdict::Later, 0));
    let problem = outcome.problem.expect("why");
    assert!(
        problem.contains(&server.pin.to_string()) && problem.contains("not the one that --pin gives"),
        "{problem}"
    );
    let head = server.heads.recv().expect("the question for the certificate");
    assert!(head.starts_with("get /-/ca.pem ") && !head.contains("t0ken"), "{head}");
    assert!(server.heads.try_recv().is_err(), "nothing more was sent");
}

#[test]
fn pins_are_read_as_the_server_and_openssl_write_them() {
    let digits = "ab".repeat(32);
    let colons = vec!["AB"; 32].join(":");
    assert_eq!(format!("sha256:{digits}").parse(), Ok(Pin([0xab; 32])));
    assert_eq!(format!("sha256:{colons}").parse(), Ok(Pin([0xab; 32])));
    for bad in [
        "",
        "sha256:",
        &digits,
        "sha256:xy",
        &format!("sha256:{digits}0"),
        &format!("sha256:{}", "é".repeat(32)),
        &format!("sha256:{}", "+a".repeat(32)),
    ] {
        assert!(bad.parse::<Pin>().is_err(), "{bad}");
    }
}

#[test]
fn a_file_of_certificates_is_believed_and_the_web_is_not_asked() {
    let server = tls();
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("ca.pem");
    fs::write(&path, &server.pem).expect("write");
    let trust = |path: &std::path::Path| Trust {
        ca_file: Some(path.to_owned()),
        pin: None,
    };
    assert_eq!(send(&server.url, trust(&path)).verdict, Verdict::Accepted);
    let head = server.heads.recv().expect("a request");
    assert!(
        head.starts_with("post /v1/metrics ") && head.contains("bearer t0ken"),
        "{head}"
    );
    // The web's authorities do not know this server.
    let stranger = send(&server.url, Trust::default());
    assert_eq!((stranger.verdict, stranger.status), (Verdict::Later, 0));
    fs::write(&path, "none").expect("write");
    assert!(matches!(trust(&path).roots(), Err(TrustError::NoCertificate { .. })));
    assert!(matches!(
        trust(&dir.path().join("absent")).roots(),
        Err(TrustError::File { .. })
    ));
}

#[test]
fn certificates_without_tls_are_a_mistake_that_is_told() {
    let server = Server {
        url: "http://h".to_owned(),
        trust: Trust {
            ca_file: Some("ca.pem".into()),
            pin: None,
        },
        ..Server::default()
    };
    let error = Client::new(&server, &host(), Duration::from_secs(1))
        .map(drop)
        .expect_err("no TLS");
    assert!(error.to_string().contains("is not https://"), "{error}");
}

#[test]
fn a_receiver_that_reads_no_zstd_gets_gzip_from_then_on() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    let (send, heads) = mpsc::channel();
    thread::spawn(move || {
        let mut stream = BufReader::new(listener.incoming().next().expect("one").expect("stream"));
        while let Some(head) = head(&mut stream) {
            let status = if head.contains("content-encoding: gzip") {
                "200 OK"
            } else {
                "415 No"
            };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            if send.send(head).is_err() || stream.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    let server = Server {
        url,
        ..Server::default()
    };
    let client = Client::new(&server, &host(), Duration::from_secs(20)).expect("client");
    let batch = zstd::bulk::compress(b"readings", 1).expect("zstd");
    for _ in 0..2 {
        assert_eq!(client.send(&batch).verdict, Verdict::Accepted);
    }
    drop(client);
    let kinds: Vec<bool> = heads.iter().map(|head| head.contains("encoding: gzip")).collect();
    assert_eq!(kinds, [false, true, true]);
}

fn host() -> Host {
    Host::read(&Paths::default(), Some("db-1"))
}
