use std::path::Path;

use super::*;
use crate::identity::Identity;
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
    let file = dir.path().join("identity.pem");
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
fn who_only_looks_does_not_join() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let looks = client(&server(dir.path())).expect("a client").looking();
    assert!(looks.settle().is_err_and(|why| why.contains("has not joined yet")));
    assert!(!dir.path().join("identity.pem").exists());
}
