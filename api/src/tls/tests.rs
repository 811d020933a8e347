use std::net::SocketAddr;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use super::*;
use crate::serve::{Connections, Port};

const NOW_MS: i64 = 1_800_000_000_000;

/// The clock of clients.
#[derive(Debug)]
struct Then;

impl TimeProvider for Then {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(NOW_MS.unsigned_abs())))
    }
}

/// Starts a port with TLS that answers `hello`.
async fn start(tls: &Tls) -> (SocketAddr, watch::Sender<bool>) {
    let port = Port::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("port");
    let port = port.with_tls(Some(tls.clone()));
    let (stop, stopped) = watch::channel(false);
    let address = port.address();
    let router = tls.router().route("/", axum::routing::get(|| async { "hello" }));
    tokio::spawn(port.serve(router, Connections::default(), stopped));
    (address, stop)
}

/// What a client that believes `authority` gets for a path.
async fn ask(address: SocketAddr, authority: &str, path: &str) -> io::Result<String> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(authority.as_bytes()).expect("PEM");
    roots.add(certificate).expect("a certificate");
    let config = ClientConfig::builder_with_details(Arc::new(default_provider()), Arc::new(Then))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn own(dir: &Path) -> Tls {
    Tls::own(dir, &["localhost".to_owned(), "127.0.0.1".to_owned()], NOW_MS).expect("own")
}

#[tokio::test]
async fn a_server_that_is_its_own_authority_stays_the_same_one_over_restarts() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let first = own(dir.path());
    let authority = first.authority_pem().expect("its own").to_owned();
    let (address, _stop) = start(&first).await;
    let answer = ask(address, &authority, "/").await.expect("answer");
    assert!(answer.ends_with("hello"), "{answer}");
    let answer = ask(address, &authority, "/-/ca.pem").await.expect("answer");
    assert!(answer.contains(authority.trim()), "{answer}");
    let again = own(dir.path());
    assert_eq!(again.pin(), first.pin());
    let (address, _stop) = start(&again).await;
    assert!(ask(address, &authority, "/").await.is_ok());
    let key = fs::metadata(dir.path().join("ca.key")).expect("key");
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777,
        0o600
    );
    // Another server's authority is not believed.
    let other = tempfile::tempdir().expect("temporary directory");
    let other = own(other.path());
    let error = ask(address, other.authority_pem().expect("its own"), "/").await;
    assert!(error.is_err());
}

#[tokio::test]
async fn files_are_taken_anew_when_they_change_and_broken_ones_are_not() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (certificate, key) = (dir.path().join("server.pem"), dir.path().join("server.key"));
    let write_pair = || {
        let secret = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = Issuer::new(params.clone(), KeyPair::from_pem(&secret.serialize_pem()).expect("key"));
        let authority = params.self_signed(&secret).expect("authority");
        let leaf_key = KeyPair::generate().expect("key");
        let leaf = CertificateParams::new(["localhost".to_owned()]).expect("params");
        let leaf = leaf.signed_by(&leaf_key, &issuer).expect("leaf");
        fs::write(&certificate, leaf.pem()).expect("write");
        fs::write(&key, leaf_key.serialize_pem()).expect("write");
        authority.pem()
    };
    let before = write_pair();
    let tls = Tls::from_files(&certificate, &key).expect("files");
    assert_eq!((tls.pin(), tls.authority_pem()), (None, None));
    let (address, _stop) = start(&tls).await;
    assert!(ask(address, &before, "/").await.is_ok());
    assert!(!tls.renew(NOW_MS).expect("unchanged"));
    let after = write_pair();
    assert!(ask(address, &after, "/").await.is_err(), "not yet");
    assert!(tls.renew(NOW_MS).expect("changed"));
    assert!(ask(address, &after, "/").await.is_ok());
    fs::write(&key, "broken").expect("write");
    assert!(matches!(tls.renew(NOW_MS), Err(TlsError::Pem { .. })));
    assert!(ask(address, &after, "/").await.is_ok(), "the present one stays");
    fs::write(&key, KeyPair::generate().expect("key").serialize_pem()).expect("write");
    assert!(matches!(tls.renew(NOW_MS), Err(TlsError::Pair { .. })));
}

#[tokio::test]
async fn its_own_certificate_is_made_anew_before_it_ends() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let tls = own(dir.path());
    assert!(!tls.renew(NOW_MS + 59 * DAY_MS).expect("early"));
    assert!(tls.renew(NOW_MS + 60 * DAY_MS).expect("time"));
    assert!(!tls.renew(NOW_MS + 61 * DAY_MS).expect("done"));
}

#[tokio::test]
async fn a_client_that_speaks_no_tls_is_told_so() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (address, _stop) = start(&own(dir.path())).await;
    let mut stream = TcpStream::connect(address).await.expect("connected");
    // In two pieces, and longer than what is read of it: the answer comes all the same.
    for piece in [
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 20000\r\n\r\n",
        &"x".repeat(20_000),
    ] {
        stream.write_all(piece.as_bytes()).await.expect("sent");
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answer");
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("use https:// in its place\n"),
        "{answer}"
    );
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
}

#[test]
fn an_authority_whose_key_is_gone_is_not_replaced_in_silence() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let pin = own(dir.path()).pin();
    let key = dir.path().join("ca.key");
    let kept = fs::read(&key).expect("key");
    fs::remove_file(&key).expect("removed");
    let names = ["localhost".to_owned()];
    let error = Tls::own(dir.path(), &names, NOW_MS).expect_err("no key");
    assert!(matches!(error, TlsError::LostKey { .. }) && error.hint().is_some());
    fs::write(&key, kept).expect("write");
    assert_eq!(own(dir.path()).pin(), pin);
}

#[test]
fn names_that_are_none_are_refused_with_what_to_do() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let error = Tls::own(dir.path(), &["é".to_owned()], NOW_MS).expect_err("no name");
    assert!(error.hint().is_some_and(|hint| hint.contains("--tls-name")), "{error}");
    let absent = Tls::from_files(&dir.path().join("a"), &dir.path().join("b")).expect_err("absent");
    assert!(
        absent.hint().is_some_and(|hint| hint.contains("--tls-cert")),
        "{absent}"
    );
}
