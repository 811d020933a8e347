use std::os::unix::fs::PermissionsExt as _;

use rcgen::{BasicConstraints, IsCa, Issuer, date_time_ymd};

use super::*;

/// A certificate for this key, as an authority would sign it.
fn signed(known: &Known, host: &str, year: i32) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, host);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(year, 1, 1);
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = Issuer::new(authority, KeyPair::generate().expect("key"));
    params.signed_by(&known.key, &issuer).expect("signed").pem()
}

/// A key with a certificate that is good from 2026 until this year.
pub(crate) fn with_certificate(host: &str, year: i32) -> Known {
    let known = Known::new().expect("key");
    let pem = signed(&known, host, year);
    known.with(&pem, host).expect("it is for this key")
}

fn identity(dir: &Path) -> Identity {
    Identity {
        join: None,
        file: Some(dir.join("own.pem")),
        given: Some(dir.join("given.pem")),
        ..Identity::default()
    }
}

#[test]
fn what_is_kept_is_found_again_and_nobody_else_can_read_it() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let identity = identity(dir.path());
    assert!(identity.load("db-1").is_none() && !identity.is_wanted());
    let own = dir.path().join("own.pem");
    fs::write(&own, "left behind").expect("write");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o644)).expect("mode");
    let known = with_certificate("db-1", 2027);
    known.keep(&own).expect("kept");
    assert_eq!(fs::metadata(&own).expect("file").permissions().mode() & 0o777, 0o600);
    let found = identity.load("db-1").expect("found");
    assert_eq!(found.good, known.good);
    assert!(found.client_cert().is_some() && identity.is_wanted());
    assert!(
        !format!("{found:?} {identity:?}").contains("PRIVATE"),
        "secrets stay out of logs"
    );
}

#[test]
fn of_two_certificates_that_which_ends_later_counts() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let identity = identity(dir.path());
    let (early, late) = (with_certificate("db-1", 2027), with_certificate("db-1", 2028));
    early.keep(&dir.path().join("own.pem")).expect("kept");
    late.keep(&dir.path().join("given.pem")).expect("kept");
    assert_eq!(identity.load("db-1").expect("found").good, late.good);
    late.keep(&dir.path().join("own.pem")).expect("kept");
    early.keep(&dir.path().join("given.pem")).expect("kept");
    assert_eq!(identity.load("db-1").expect("found").good, late.good);
}

#[test]
fn a_key_that_heard_no_answer_asks_again_as_the_same_one() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let known = Known::new().expect("key");
    known.keep(&dir.path().join("own.pem")).expect("kept");
    let found = identity(dir.path()).load("db-1").expect("found");
    assert!(!found.has_certificate() && found.client_cert().is_none());
    assert_eq!(found.key.public_key_raw(), known.key.public_key_raw());
    assert!(!found.is_due(i64::MAX / 2, 0.0, 0.0), "there is nothing to make anew");
}

#[test]
fn what_does_not_go_together_is_refused_with_why() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("own.pem");
    let known = with_certificate("db-1", 2027);
    known.keep(&path).expect("kept");
    let check = |host: &str, expected: &str| {
        let error = Known::read(&path, host).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("db-2", "join again under the new name");
    let other = signed(&Known::new().expect("key"), "db-1", 2027);
    fs::write(&path, known.key.serialize_pem() + &other).expect("write");
    check("db-1", "for another key");
    fs::write(&path, "none").expect("write");
    check("db-1", "no private key");
    fs::write(
        &path,
        known.key.serialize_pem() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .expect("write");
    check("db-1", "cannot be read");
    fs::write(&path, vec![b'x'; 70_000]).expect("write");
    assert!(Known::read(&path, "db-1").is_err());
    // The agent goes on without it: who has joined once can join again.
    assert!(identity(dir.path()).load("db-1").is_none());
}

#[test]
fn it_is_made_anew_when_two_thirds_of_its_time_are_over_and_hosts_are_spread() {
    let known = Known {
        good: (1000, 4000),
        ..with_certificate("db-1", 2027)
    };
    let share = Identity::default().renew_at;
    assert!(!known.is_due(2999, share, 0.0));
    assert!(known.is_due(3000, share, 0.0));
    assert!(!known.is_due(3149, share, 1.0));
    assert!(known.is_due(3150, share, 1.0));
    assert!(known.is_due(9000, share, 0.5), "after its end as well");
    assert_eq!(known.retry_seconds(), 30);
}
