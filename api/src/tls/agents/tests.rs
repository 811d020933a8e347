use std::os::unix::fs::PermissionsExt as _;

use rustls::pki_types::UnixTime;

use super::*;

const NOW_S: u64 = 1_800_000_000;
const NOW_MS: i64 = NOW_S as i64 * 1000;
const SERIAL: [u8; 17] = [1; 17];

fn authority(dir: &Path) -> AgentAuthority {
    AgentAuthority::load_or_make(dir, NOW_MS).expect("an authority")
}

fn signed(authority: &AgentAuthority) -> CertificateDer<'static> {
    let key = KeyPair::generate().expect("key");
    let pem = authority.sign("db-1", key.public_key_raw(), &SERIAL, NOW_S, NOW_S + 3600);
    CertificateDer::from_pem_slice(pem.expect("signed").as_bytes()).expect("PEM")
}

/// Whether TLS lets in who shows this certificate, `after` seconds.
fn is_let_in(authority: &AgentAuthority, certificate: &CertificateDer<'_>, after: u64) -> bool {
    let at = UnixTime::since_unix_epoch(Duration::from_secs(NOW_S + after));
    let verifier = authority.verifier().expect("a verifier");
    assert!(!verifier.client_auth_mandatory(), "tokens go on working");
    verifier.verify_client_cert(certificate, &[], at).is_ok()
}

#[test]
fn what_it_signs_says_for_whom_and_how_long() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let certificate = signed(&authority(dir.path()));
    let found = x509::certificate(&certificate).expect("a certificate");
    assert_eq!(found.common_name, Some("db-1"));
    assert_eq!(found.serial, SERIAL);
    // A tenth of its time goes before, so that clocks may differ.
    assert_eq!((found.not_before, found.not_after), (1_799_999_640, 1_800_003_600));
    let mode = |name: &str| fs::metadata(dir.path().join(name)).expect("file").permissions().mode() & 0o777;
    assert_eq!((mode("agents.key"), mode("agents.pem")), (0o600, 0o644));
}

#[test]
fn who_was_signed_for_is_let_in_over_restarts_and_beyond_the_end_which_is_told_elsewhere() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let certificate = signed(&authority(dir.path()));
    let again = authority(dir.path());
    assert!(is_let_in(&again, &certificate, 0));
    assert!(is_let_in(&again, &certificate, 40 * 86_400));
    let other = tempfile::tempdir().expect("temporary directory");
    assert!(
        !is_let_in(&authority(other.path()), &certificate, 0),
        "another server's"
    );
    // The server's own authority vouches for servers alone.
    let own = crate::tls::Tls::own(dir.path(), &["localhost".to_owned()], NOW_MS).expect("own");
    let own = CertificateDer::from_pem_slice(own.authority_pem().expect("PEM").as_bytes()).expect("PEM");
    assert!(!is_let_in(&again, &own, 0));
}

#[test]
fn without_its_key_it_makes_another_and_what_the_old_one_signed_is_still_believed() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let before = signed(&authority(dir.path()));
    fs::remove_file(dir.path().join("agents.key")).expect("removed");
    let anew = authority(dir.path());
    let after = signed(&anew);
    assert!(is_let_in(&anew, &before, 0) && is_let_in(&anew, &after, 0));
    let again = authority(dir.path());
    assert!(is_let_in(&again, &before, 0) && is_let_in(&again, &after, 0));
    for file in ["agents.key", "agents.pem"] {
        fs::remove_file(dir.path().join(file)).expect("removed");
    }
    let alone = authority(dir.path());
    assert!(!is_let_in(&alone, &before, 0) && !is_let_in(&alone, &after, 0));
}

#[test]
fn it_is_made_anew_before_it_ends_and_after_a_crash_between_its_two_files() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let before = signed(&authority(dir.path()));
    let late = NOW_MS + (3650 - 399) * DAY_MS;
    let late = AgentAuthority::load_or_make(dir.path(), late).expect("an authority");
    assert_eq!(late.believed.len(), 2);
    assert!(is_let_in(&late, &before, 0));
    // A new key, and the certificate of the one before.
    let key = KeyPair::generate().expect("key");
    fs::write(dir.path().join("agents.key"), key.serialize_pem()).expect("write");
    let mended = authority(dir.path());
    assert!(is_let_in(&mended, &signed(&mended), 0));
    fs::write(dir.path().join("agents.key"), "broken").expect("write");
    assert!(matches!(
        AgentAuthority::load_or_make(dir.path(), NOW_MS),
        Err(TlsError::Pem { .. })
    ));
}
