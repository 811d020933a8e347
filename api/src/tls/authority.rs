//! The authority that a server makes for itself, and the certificates that it signs.

use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{DAY_MS, TlsError, pem, read};
use crate::access::replace;

/// Days for which a certificate that it signs is good.
const LEAF_DAYS: i64 = 90;

/// Days for which its own is: agents hold its fingerprint, so that a new one means a visit to each.
const AUTHORITY_DAYS: i64 = 3650;

/// What it is called.
const NAME: &str = "Foreshock server's own authority";

/// The server's own authority: a key, and a certificate that vouches for itself.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub(super) pem: String,
    pub(super) der: Vec<u8>,
}

impl Authority {
    pub(super) fn load_or_make(dir: &Path, now_ms: i64) -> Result<Self, TlsError> {
        fs::create_dir_all(dir).map_err(|source| TlsError::File {
            path: dir.to_owned(),
            source,
        })?;
        let (certificate, key) = (dir.join("ca.pem"), dir.join("ca.key"));
        let params = authority_params(NAME, now_ms.div_euclid(DAY_MS));
        let has_key = key.exists();
        if certificate.exists() {
            // A new authority in its place would be one that no agent believes.
            if !has_key {
                return Err(TlsError::LostKey { key });
            }
            let text = read(&certificate)?;
            let der = CertificateDer::from_pem_slice(&text).map_err(|_| pem(&certificate, "certificate"))?;
            return Ok(Self {
                // What it signs with is its name and its key, both of which are as they were.
                issuer: Issuer::new(params, key_pair(&key)?),
                pem: String::from_utf8_lossy(&text).into_owned(),
                der: der.to_vec(),
            });
        }
        let failed = |source| TlsError::Make {
            names: Vec::new(),
            source,
        };
        let secret = if has_key {
            key_pair(&key)?
        } else {
            let secret = KeyPair::generate().map_err(failed)?;
            // The key first: a certificate whose key was lost would be believed and useless.
            write(&key, &secret.serialize_pem(), 0o600)?;
            secret
        };
        let own = params.self_signed(&secret).map_err(failed)?;
        write(&certificate, &own.pem(), 0o644)?;
        Ok(Self {
            pem: own.pem(),
            der: own.der().to_vec(),
            issuer: Issuer::new(params, secret),
        })
    }

    /// A certificate for these names, good from the day before `day` on.
    pub(super) fn leaf(&self, names: &[String], day: i64) -> Result<CertifiedKey, TlsError> {
        let failed = |source| TlsError::Make {
            names: names.to_vec(),
            source,
        };
        let secret = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new(names.to_vec()).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, "Foreshock");
        good_between(&mut params, day - 1, day + LEAF_DAYS);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(&secret, &self.issuer).map_err(failed)?;
        let chain = vec![leaf.der().clone(), CertificateDer::from(self.der.clone())];
        let secret = PrivateKeyDer::Pkcs8(secret.serialize_der().into());
        CertifiedKey::from_der(chain, secret, &default_provider()).map_err(TlsError::Setup)
    }
}

pub(super) fn key_pair(path: &Path) -> Result<KeyPair, TlsError> {
    let text = String::from_utf8(read(path)?).map_err(|_| pem(path, "private key"))?;
    KeyPair::from_pem(&text).map_err(|_| pem(path, "private key"))
}

pub(super) fn authority_params(name: &str, day: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    good_between(&mut params, day - 1, day + AUTHORITY_DAYS);
    params
}

/// Good from the beginning of one day until that of another, counted from 1970.
fn good_between(params: &mut CertificateParams, from: i64, to: i64) {
    let [(y1, m1, d1), (y2, m2, d2)] = [from, to].map(civil);
    params.not_before = date_time_ymd(y1, m1, d1);
    params.not_after = date_time_ymd(y2, m2, d2);
}

fn civil(day: i64) -> (i32, u8, u8) {
    // Beyond the calendar's end the last day there is has to do.
    let start = jiff::civil::date(1970, 1, 1);
    let date = start.saturating_add(jiff::SignedDuration::from_hours(day.saturating_mul(24)));
    (
        date.year().into(),
        date.month().unsigned_abs(),
        date.day().unsigned_abs(),
    )
}

pub(super) fn write(path: &Path, text: &str, mode: u32) -> Result<(), TlsError> {
    replace(path, text.as_bytes(), mode).map_err(|source| TlsError::File {
        path: path.to_owned(),
        source,
    })
}
