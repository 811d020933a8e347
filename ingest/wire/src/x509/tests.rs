use std::sync::OnceLock;

use proptest::proptest;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ED25519, SerialNumber, date_time_ymd};

use super::*;

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::OrganizationName, "before it");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2000, 2, 29);
    params.not_after = date_time_ymd(2060, 3, 1);
    params.serial_number = Some(SerialNumber::from_slice(&[1, 0xff, 7]));
    params
}

/// A certificate and a request as another library writes them.
fn written() -> &'static (Vec<u8>, Vec<u8>) {
    static WRITTEN: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let key = KeyPair::generate().expect("key");
        let certificate = params("db-1").self_signed(&key).expect("certificate");
        let mut asks = CertificateParams::default();
        asks.distinguished_name.push(DnType::CommonName, "db-1");
        let request = asks.serialize_request(&key).expect("request");
        (certificate.der().to_vec(), request.der().to_vec())
    })
}

#[test]
fn a_certificate_says_who_until_when_and_by_which_number() {
    let found = certificate(&written().0).expect("a certificate");
    // 2000-02-29 and 2060-03-01, 00:00 UTC, by `date -u -d DAY +%s`.
    let expected = Certificate {
        serial: &[1, 0xff, 7],
        common_name: Some("db-1"),
        not_before: 951_782_400,
        not_after: 2_845_324_800,
        public_key: Some(request(&written().1).expect("a request").public_key),
    };
    assert_eq!(found, expected);
    assert_eq!(certificate(&written().1), None, "a request is none");
}

#[test]
fn a_request_says_who_and_what_its_signature_is_over() {
    let der = &written().1;
    let found = request(der).expect("a request");
    assert_eq!(found.common_name, Some("db-1"));
    // An uncompressed point of two coordinates of 32 bytes.
    assert_eq!((found.public_key.len(), found.public_key[0]), (65, 4));
    assert_eq!(found.signed[0], SEQUENCE);
    assert!(found.signed.len() + found.signature.len() < der.len());
    let mut longer = der.clone();
    longer.push(0);
    assert_eq!(request(&longer), None, "something after it");
    let other = KeyPair::generate_for(&PKCS_ED25519).expect("key");
    let other = CertificateParams::default().serialize_request(&other).expect("request");
    assert_eq!(request(other.der()), None, "another kind of key");
}

#[test]
fn times_are_read_as_x509_writes_them() {
    let check = |tag: u8, text: &str, expected: Option<i64>| {
        assert_eq!(seconds(tag, text.as_bytes()), expected, "{text}");
    };
    check(0x17, "700101000000Z", Some(0));
    check(0x17, "491231235959Z", Some(2_524_607_999));
    check(0x17, "500101000000Z", Some(-631_152_000));
    check(0x18, "20240229120000Z", Some(1_709_208_000));
    check(0x18, "99991231235959Z", Some(253_402_300_799));
    check(0x17, "20240229120000Z", None);
    check(0x18, "20241329120000Z", None);
    check(0x17, "7001010000Z", None);
    check(0x17, "700101000000", None);
}

proptest! {
    #[test]
    fn no_bytes_make_it_stumble(mut der in proptest::collection::vec(0u8.., 0..200), real: bool, asks: bool, at: usize, byte: u8) {
        if real {
            der = if asks { written().1.clone() } else { written().0.clone() };
            let at = at % der.len();
            der[at] = byte;
        }
        if let Some(found) = certificate(&der) {
            assert!(found.serial.len() <= der.len());
        }
        if let Some(found) = request(&der) {
            assert!(found.signed.len() <= der.len());
        }
    }
}
