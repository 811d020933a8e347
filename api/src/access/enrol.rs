//! How agents come to certificates of their own: `POST /api/v1/agents/join` with a join token, `POST /api/v1/agents/renew` with the
//! certificate that ends soon. Both take a request in PEM (PKCS #10) and answer with the certificate in PEM.
//!
//! The key never leaves the host, and what is pasted on many hosts is good for a few of them and a while.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Extension, Router};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject as _;
use store::Clock;
use wire::x509;

use super::agents::{AgentsError, Joined, new_enrolment, serial};
use super::token::{TokenError, check_host, hex};
use super::{Access, JOIN_PATH, RENEW_PATH, Token};
use crate::number::rfc3339;
use crate::problem::{Kind, Problem};
use crate::tls::AgentAuthority;
use crate::work::blocking;

/// Bytes of a request; one for a key on P-256 has 500.
const BODY_BYTES_MAX: usize = 16 << 10;

/// What makes agents' certificates.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// Who may.
    pub access: Access,
    /// What signs; without one the server speaks no TLS, and would never see a certificate.
    pub authority: Option<Arc<AgentAuthority>>,
    /// How long a certificate is good.
    pub lifetime: Duration,
    /// Where the time comes from.
    pub clock: Clock,
}

/// The token that a request showed, for handlers that ask for more than its scope.
#[derive(Clone, Debug)]
pub(crate) struct ShownToken(pub(crate) Token);

/// The host whose certificate a request showed.
#[derive(Clone, Debug)]
pub(super) struct ShownHost(pub(super) Joined);

/// A request for a certificate whose signature was checked: who asks has the key.
struct Asked {
    host: String,
    public_key: Vec<u8>,
}

impl Enrolment {
    /// The two routes.
    pub fn router(self) -> Router {
        Router::new()
            .route(JOIN_PATH, post(join))
            .route(RENEW_PATH, post(renew))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(self)
    }

    fn authority(&self) -> Result<&AgentAuthority, Problem> {
        self.authority.as_deref().ok_or_else(|| {
            Problem::new(
                Kind::Conflict,
                "this server speaks no TLS, so that it would never see a certificate",
            )
            .hint(
                "start it with --tls-self-signed or --tls-cert; behind a proxy that ends TLS give each agent a token of its own \
                 (`foreshock token create NAME --scope write --host HOST`)",
            )
        })
    }

    fn join(&self, token: &Token, request: &str) -> Result<String, Problem> {
        let authority = self.authority()?;
        let asked = Asked::read(request)?;
        let now_ms = self.clock.now_ms();
        let joined = Joined {
            tenant: token.tenant.clone().unwrap_or_default(),
            enrolment: new_enrolment()?,
            key_sha256: asked.key_sha256(),
            token: token.id.clone(),
            joined_ms: now_ms,
            renewed_ms: None,
            not_after_ms: self.until(now_ms),
            revoked_ms: None,
            host: asked.host.clone(),
        };
        let agents = &self.access.agents;
        let named = token.host.as_ref() == Some(&joined.host);
        let again = agents.may_join(&joined, token.created_ms, named)?;
        self.access.tokens.join(&token.id, &joined.host, again, now_ms)?;
        let pem = sign(authority, &asked, &joined, now_ms)?;
        agents.keep(&joined, now_ms)?;
        tracing::info!(
            host = joined.host,
            tenant = joined.tenant,
            token = token.id,
            enrolment = joined.enrolment,
            until = rfc3339(joined.not_after_ms),
            "a host has joined"
        );
        Ok(pem)
    }

    fn renew(&self, before: &Joined, request: &str) -> Result<String, Problem> {
        let authority = self.authority()?;
        let asked = Asked::read(request)?;
        if asked.host != before.host {
            return Err(Problem::new(
                Kind::Forbidden,
                format!(
                    "the certificate of {:?} cannot become one of {:?}",
                    before.host, asked.host
                ),
            )
            .hint("a host that got another name joins anew, with a join token"));
        }
        let now_ms = self.clock.now_ms();
        let joined = Joined {
            key_sha256: asked.key_sha256(),
            renewed_ms: Some(now_ms),
            not_after_ms: self.until(now_ms),
            ..before.clone()
        };
        let pem = sign(authority, &asked, &joined, now_ms)?;
        if !self.access.agents.keep(&joined, now_ms)? {
            return Err(Problem::new(
                Kind::Forbidden,
                format!("the certificate of {:?} was revoked", before.host),
            ));
        }
        tracing::info!(
            host = joined.host,
            tenant = joined.tenant,
            enrolment = joined.enrolment,
            until = rfc3339(joined.not_after_ms),
            "a host's certificate was made anew"
        );
        Ok(pem)
    }

    fn until(&self, now_ms: i64) -> i64 {
        now_ms.saturating_add(i64::try_from(self.lifetime.as_millis()).unwrap_or(i64::MAX))
    }
}

fn sign(authority: &AgentAuthority, asked: &Asked, joined: &Joined, now_ms: i64) -> Result<String, Problem> {
    let [from, to] = [now_ms, joined.not_after_ms].map(|at| u64::try_from(at / 1000).unwrap_or(0));
    let serial = serial(&joined.enrolment)?;
    authority
        .sign(&asked.host, &asked.public_key, &serial, from, to)
        .map_err(|error| Problem::from_error(Kind::Internal, &error))
}

impl Asked {
    fn read(pem: &str) -> Result<Self, Problem> {
        let invalid = |detail: &str| {
            Problem::invalid(detail.to_owned()).hint(
                "send a PKCS #10 request in PEM, signed by an ECDSA key on P-256, whose common name is the host's name, as \
                 `foreshock-agent install --join` does",
            )
        };
        let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| invalid("the body is no CERTIFICATE REQUEST in PEM"))?;
        let request = x509::request(&der).ok_or_else(|| invalid("the request cannot be read"))?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, request.public_key)
            .verify(request.signed, request.signature)
            .map_err(|_| invalid("the request's signature is not that of its key"))?;
        let host = request
            .common_name
            .ok_or_else(|| invalid("the request has no common name"))?;
        check_host(host)?;
        Ok(Self {
            host: host.to_owned(),
            public_key: request.public_key.to_vec(),
        })
    }

    fn key_sha256(&self) -> String {
        hex(ring::digest::digest(&ring::digest::SHA256, &self.public_key).as_ref())
    }
}

async fn join(
    State(enrolment): State<Enrolment>,
    shown: Option<Extension<ShownToken>>,
    request: String,
) -> Result<impl IntoResponse + use<>, Problem> {
    let Some(Extension(ShownToken(token))) = shown else {
        return Err(Problem::new(
            Kind::Conflict,
            "this server asks nobody for a token, and so nobody can join it",
        )
        .hint("run the agent without --join, or make a token on the server's machine with `foreshock token create`"));
    };
    let answer = blocking(move || {
        enrolment.join(&token, &request).inspect_err(|problem| {
            tracing::warn!(token = token.id, why = problem.detail(), "a host was not let join");
        })
    });
    Ok(issued(answer.await?))
}

async fn renew(
    State(enrolment): State<Enrolment>,
    shown: Option<Extension<ShownHost>>,
    request: String,
) -> Result<impl IntoResponse + use<>, Problem> {
    let Some(Extension(ShownHost(host))) = shown else {
        return Err(Problem::new(
            Kind::Forbidden,
            "a certificate is made anew for who shows it, and none was shown",
        )
        .hint("agents show it over TLS; a proxy in between that ends TLS takes it away"));
    };
    let answer = blocking(move || {
        enrolment.renew(&host, &request).inspect_err(|problem| {
            tracing::warn!(
                host = host.host,
                why = problem.detail(),
                "a host's certificate was not made anew"
            );
        })
    });
    Ok(issued(answer.await?))
}

fn issued(pem: String) -> impl IntoResponse + use<> {
    let headers = [(CACHE_CONTROL, "no-store"), (CONTENT_TYPE, "application/x-pem-file")];
    (StatusCode::CREATED, headers, pem)
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        let kind = match &error {
            TokenError::Join(_) => Kind::Forbidden,
            TokenError::Invalid(_) => Kind::Invalid,
            TokenError::TooMany => Kind::Conflict,
            TokenError::File { .. } | TokenError::Random => Kind::Unavailable,
            TokenError::Format { .. } | TokenError::Gone { .. } => Kind::Corrupt,
        };
        Self::from_error(kind, &error).maybe_hint(error.hint())
    }
}

impl From<AgentsError> for Problem {
    fn from(error: AgentsError) -> Self {
        let hint = error.hint();
        match error {
            AgentsError::State(error) => error.into(),
            AgentsError::Token(error) => error.into(),
            AgentsError::Revoked { .. } => Self::from_error(Kind::Forbidden, &error).maybe_hint(hint),
            AgentsError::Taken { .. } | AgentsError::TooMany => {
                Self::from_error(Kind::Conflict, &error).maybe_hint(hint)
            }
        }
    }
}

#[cfg(test)]
mod tests;
