use std::path::Path;
use std::sync::atomic::Ordering;

use super::*;
use crate::identity::Identity;
use crate::identity::tests::with_certificate;
use crate::probe::Paths;

fn server(dir: &Path) -> Server {
    Server {
        // Nobody listens there.
        url: "https://127.0.0.1:1".to_owned(),
        identity: Identity {
            join: Some("fsj_1_2".to_owned()),
            file: Some(dir.join("identity.pem")),
            ..Identity::default()
        },
        ..Server::default()
    }
}

fn client(server: &Server) -> Result<Client, ServerError> {
    let host = Host::read(&Paths::default(), Some("db-1"));
    Client::new(server, &host, Duration::from_secs(5))
}

#[test]
fn what_cannot_be_joined_with_is_refused_before_anything_is_sent() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let check = |change: &dyn Fn(&mut Server), expected: ServerError| {
        let mut server = server(dir.path());
        change(&mut server);
        assert_eq!(client(&server).expect_err("it cannot be"), expected);
    };
    check(
        &|server| server.identity.join = Some("fs_1_2".to_owned()),
        ServerError::NoJoinToken,
    );
    check(
        &|server| server.identity.join = Some("fsj_1\r\n".to_owned()),
        ServerError::NoJoinToken,
    );
    check(
        &|server| server.token = Some("fsj_1_2".to_owned()),
        ServerError::JoinToken,
    );
    check(&|server| server.identity.file = None, ServerError::NowhereToKeep);
    let plain = "http://127.0.0.1:1";
    check(
        &|server| server.url = plain.to_owned(),
        ServerError::NoTls {
            given: plain.to_owned(),
        },
    );
}

#[test]
fn a_host_that_cannot_reach_its_server_keeps_its_key_and_asks_again_with_it() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let server = server(dir.path());
    let file = dir.path().join("identity.pem.asked");
    let first = client(&server).expect("a client");
    assert!(first.settle().is_err_and(|why| why.contains("/api/v1/agents/join")));
    let key = std::fs::read(&file).expect("the key");
    assert!(first.settle().is_err());
    // Started again, as after a crash.
    assert!(client(&server).expect("a client").settle().is_err());
    assert_eq!(std::fs::read(&file).expect("the key"), key);
    assert_eq!(first.certificate_ends(), None);
}

#[test]
fn a_key_that_an_earlier_agent_asked_with_is_asked_with_again() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("identity.pem");
    Known::new().expect("key").keep(&file).expect("kept");
    let client = client(&server(dir.path())).expect("a client");
    assert!(client.settle().is_err());
    let asked = dir.path().join("identity.pem.asked");
    assert_eq!(
        std::fs::read(asked).expect("asked with"),
        std::fs::read(&file).expect("kept")
    );
}

#[test]
fn a_certificate_stays_until_there_is_another_whatever_the_clock_and_the_server_say() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("identity.pem");
    with_certificate("db-1", 2027).keep(&file).expect("kept");
    let kept = || std::fs::read_to_string(&file).expect("key and certificate");
    let before = kept();
    let client = client(&server(dir.path())).expect("a client");
    let ends = client.certificate_ends().expect("it has one");
    let asked = dir.path().join("identity.pem.asked");
    // This clock stands a year after its end, by what the last answer showed.
    client.ahead.store(now_seconds() - ends - 31_536_000, Ordering::Relaxed);
    assert!(client.settle().is_ok_and(|(_, has_certificate)| has_certificate));
    assert!(
        !asked.exists() && kept() == before,
        "who is let in has nothing to join for"
    );
    // The server says that there is no such host, at a time when the certificate is good.
    client.showed_certificate(401, Some(ends));
    client.showed_certificate(401, None);
    client.link.lock().expect("lock").renew_after = None;
    assert!(client.settle().is_ok() && !asked.exists());
    // And that it has ended, by its own clock: then the token is tried, with a key that lies beside the certificate.
    client.showed_certificate(401, Some(ends + 1));
    client.link.lock().expect("lock").renew_after = None;
    assert!(client.settle().is_ok_and(|(_, has_certificate)| has_certificate));
    assert!(asked.exists() && kept() == before);
    assert_eq!(client.certificate_ends(), Some(ends));
    // Its clock was wrong, and is right again.
    client.showed_certificate(200, Some(ends - 1));
    assert!(!client.link.lock().expect("lock").ended);
}

#[test]
fn who_installs_is_told_that_a_certificate_that_has_ended_was_not_made_anew() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let ended = with_certificate("db-1", 2000);
    ended.keep(&dir.path().join("identity.pem")).expect("kept");
    let join = Join {
        server: server(dir.path()),
        host: Host::read(&Paths::default(), Some("db-1")),
    };
    let refused = join.apply().expect_err("nobody listens").to_string();
    assert!(refused.contains("/api/v1/agents/join"), "{refused}");
}

#[test]
fn who_only_looks_does_not_join() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let looks = client(&server(dir.path())).expect("a client").looking();
    assert!(looks.settle().is_err_and(|why| why.contains("has not joined yet")));
    assert!(!dir.path().join("identity.pem").exists());
}
