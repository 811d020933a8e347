//! The authority that signs agents' certificates, and what TLS asks of those that show one.
//!
//! It is another one than the server's own: whoever believes that a server is a server need not believe anything about hosts.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PublicKeyData, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use wire::x509;

use super::authority::{authority_params, key_pair, write};
use super::{DAY_MS, TlsError, pem, read};

/// What it is called.
const NAME: &str = "Foreshock agents' authority";

/// Days before its end at which it makes itself anew: longer than any certificate that it signs is good.
const ANEW_DAYS: i64 = 400;

/// By how much clocks may differ at most, so that a certificate that was made a moment ago is good everywhere; of short ones a tenth.
const CLOCKS_DIFFER_S: u64 = 3600;

/// A key that signs agents' certificates, and whom it and its forerunners vouch for.
///
/// `agents.pem` holds the certificates of those that are believed, the newest first; `agents.key` the key of that one. Without the
/// key another one is made at the next start, and what the old one signed is believed until it ends.
pub struct AgentAuthority {
    issuer: Issuer<'static, KeyPair>,
    believed: Vec<CertificateDer<'static>>,
}

impl fmt::Debug for AgentAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentAuthority")
            .field("believed", &self.believed.len())
            .finish_non_exhaustive()
    }
}

/// The public key of a host that asks.
struct HostKey<'a>(&'a [u8]);

impl PublicKeyData for HostKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl AgentAuthority {
    /// The authority that is kept in `dir`, made where there is none. `now_ms` is the time, milliseconds since 1970 UTC.
    ///
    /// # Errors
    /// When the folder cannot be written, or holds something else.
    pub fn load_or_make(dir: &Path, now_ms: i64) -> Result<Self, TlsError> {
        fs::create_dir_all(dir).map_err(|source| TlsError::File {
            path: dir.to_owned(),
            source,
        })?;
        let (certificates, key) = (dir.join("agents.pem"), dir.join("agents.key"));
        let today = now_ms.div_euclid(DAY_MS);
        let ends = |der: &CertificateDer<'_>| x509::certificate(der).map_or(0, |found| found.not_after / 86_400);
        let mut believed = Vec::new();
        if certificates.exists() {
            let text = read(&certificates)?;
            for der in CertificateDer::pem_slice_iter(&text) {
                believed.push(der.map_err(|_| pem(&certificates, "certificate"))?);
            }
            believed.retain(|der| ends(der) > today);
        }
        let failed = |source| TlsError::Make {
            names: vec![NAME.to_owned()],
            source,
        };
        let lasts = believed.first().is_some_and(|der| ends(der) > today + ANEW_DAYS);
        let secret = if key.exists() && (lasts || believed.is_empty()) {
            key_pair(&key)?
        } else {
            let secret = KeyPair::generate().map_err(failed)?;
            write(&key, &secret.serialize_pem(), 0o600)?;
            secret
        };
        let params = authority_params(NAME, today);
        let is_its = |der: &CertificateDer<'_>| {
            x509::certificate(der).and_then(|found| found.public_key) == Some(secret.public_key_raw())
        };
        // Not so when the key is new, or a crash came between the two files.
        if !believed.first().is_some_and(is_its) {
            let own = params.self_signed(&secret).map_err(failed)?;
            let mut text = own.pem();
            believed.insert(0, own.der().clone());
            if certificates.exists() {
                text.push_str(&String::from_utf8_lossy(&read(&certificates)?));
            }
            write(&certificates, &text, 0o644)?;
        }
        Ok(Self {
            issuer: Issuer::new(params, secret),
            believed,
        })
    }

    /// A certificate in PEM by which `host` is known, for a key on P-256, good from a little before `from` until `to`, seconds since
    /// 1970 UTC.
    pub(crate) fn sign(
        &self,
        host: &str,
        public_key: &[u8],
        serial: &[u8],
        from: u64,
        to: u64,
    ) -> Result<String, TlsError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, host);
        params.serial_number = Some(SerialNumber::from_slice(serial));
        let start = date_time_ymd(1970, 1, 1);
        params.not_before =
            start + Duration::from_secs(from.saturating_sub(CLOCKS_DIFFER_S.min(to.saturating_sub(from) / 10)));
        params.not_after = start + Duration::from_secs(to);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let signed = params.signed_by(&HostKey(public_key), &self.issuer);
        let signed = signed.map_err(|source| TlsError::Make {
            names: vec![host.to_owned()],
            source,
        })?;
        Ok(signed.pem())
    }

    pub(super) fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let mut roots = RootCertStore::empty();
        for der in &self.believed {
            roots.add(der.clone()).map_err(TlsError::Setup)?;
        }
        let inner = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
            .allow_unauthenticated()
            .build()
            .map_err(|error| TlsError::Setup(Error::General(error.to_string())))?;
        Ok(Arc::new(SignedByUs(inner)))
    }
}

/// Verifies who signed and that the client has the key, and not how long: a host whose certificate has ended is told so by the
/// check of its requests, in words, where TLS could only hang up.
#[derive(Debug)]
struct SignedByUs(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for SignedByUs {
    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.0.verify_client_cert(certificate, others, now);
        let at = match &verified {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => *not_after,
            Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => *not_before,
            _ => return verified,
        };
        self.0.verify_client_cert(certificate, others, at)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;
