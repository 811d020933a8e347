use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::routing::any;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::CertificateDer;
use tower::ServiceExt as _;

use super::*;
use crate::access::{Agents, BOUND_HOST_HEADER, JoinTerms, NewToken, Peer, Scope, Tokens, guarded};
use crate::params::TENANT_HEADER;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A server, what it signs with, and its clock.
struct Site {
    data: tempfile::TempDir,
    access: Access,
    authority: Arc<AgentAuthority>,
    now: Arc<AtomicI64>,
}

/// A host with a key.
struct Applicant {
    name: String,
    key: KeyPair,
}

fn site() -> Site {
    let data = tempfile::tempdir().expect("temporary directory");
    let now = Arc::new(AtomicI64::new(1_800_000_000_000));
    let authority = AgentAuthority::load_or_make(data.path(), now.load(Ordering::Relaxed)).expect("authority");
    Site {
        access: open(data.path(), &now),
        authority: Arc::new(authority),
        now,
        data,
    }
}

fn open(data: &Path, now: &Arc<AtomicI64>) -> Access {
    let now = Arc::clone(now);
    Access::open(data, Clock::new(move || now.load(Ordering::Relaxed))).expect("access")
}

fn host(name: &str) -> Applicant {
    Applicant {
        name: name.to_owned(),
        key: KeyPair::generate().expect("key"),
    }
}

impl Applicant {
    fn request(&self) -> String {
        self.request_as(&self.name)
    }

    fn request_as(&self, name: &str) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        let request = params.serialize_request(&self.key).expect("request");
        request.pem().expect("PEM")
    }
}

fn peer(pem: &str) -> Arc<Peer> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
    Arc::new(Peer::read(&der).expect("a certificate"))
}

impl Site {
    fn now(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }

    fn pass(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::Relaxed);
    }

    fn join_token(&self, tenant: Option<&str>, host: Option<&str>, uses_left: u32) -> String {
        let new = NewToken {
            name: "test",
            scope: Scope::Join,
            tenant,
            host,
            join: Some(JoinTerms {
                uses_left,
                until_ms: self.now() + HOUR_MS,
            }),
        };
        let token = Tokens::of(self.data.path()).create(&new, self.now()).expect("token");
        assert!(self.access.renew().expect("renewed"));
        token
    }

    async fn ask(&self, path: &str, token: Option<&str>, shown: Option<&Arc<Peer>>, body: String) -> (u16, String) {
        let now = Arc::clone(&self.now);
        let enrolment = Enrolment {
            access: self.access.clone(),
            authority: Some(Arc::clone(&self.authority)),
            lifetime: Duration::from_secs(30 * 86_400),
            clock: Clock::new(move || now.load(Ordering::Relaxed)),
        };
        let seen = any(async |headers: HeaderMap| {
            let seen = [TENANT_HEADER, BOUND_HOST_HEADER].map(|name| {
                let value = headers.get(name).and_then(|value| value.to_str().ok());
                value.unwrap_or("-").to_owned()
            });
            seen.join(" ")
        });
        let router = enrolment.router().fallback(seen);
        let router = guarded(router, self.access.clone(), |_, _, _| None);
        let mut request = Request::builder().method("POST").uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(shown) = shown {
            request = request.extension(Arc::clone(shown));
        }
        let answer = router.oneshot(request.body(Body::from(body)).expect("request")).await;
        let answer = answer.expect("answer");
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("body");
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    async fn join(&self, token: &str, host: &Applicant) -> (u16, String) {
        self.ask(JOIN_PATH, Some(token), None, host.request()).await
    }

    /// A host that has joined, and what it shows.
    async fn joined(&self, name: &str) -> (Applicant, Arc<Peer>) {
        let host = host(name);
        let (status, pem) = self.join(&self.join_token(None, None, 1), &host).await;
        assert_eq!(status, 201, "{pem}");
        (host, peer(&pem))
    }

    async fn writes(&self, shown: &Arc<Peer>) -> (u16, String) {
        self.ask("/v1/metrics", None, Some(shown), String::new()).await
    }
}

fn check(answer: &(u16, String), status: u16, words: &str) {
    assert!(
        answer.0 == status && answer.1.contains(words),
        "{status} {words}: {answer:?}"
    );
}

#[tokio::test]
async fn a_certificate_writes_for_its_host_and_tenant_and_opens_nothing_else() {
    let site = site();
    let db_1 = host("db-1");
    let token = site.join_token(Some("blue"), None, 1);
    let (status, pem) = site.join(&token, &db_1).await;
    assert_eq!(status, 201, "{pem}");
    let shown = peer(&pem);
    assert_eq!(site.writes(&shown).await, (200, "blue db-1".to_owned()));
    for path in ["/api/v1/silences", "/api/v2/alerts", "/api/v1/query", JOIN_PATH] {
        assert_eq!(site.ask(path, None, Some(&shown), String::new()).await.0, 403, "{path}");
    }
    // Who shows a token as well is who the token says.
    let answer = site.ask("/v1/metrics", Some(&token), Some(&shown), String::new()).await;
    check(&answer, 403, "has the scope join");
    let listed = site.access.agents().list();
    assert_eq!((listed.len(), listed[0].host.as_str()), (1, "db-1"));
    // Everything is there again after a restart.
    let again = Site {
        access: open(site.data.path(), &site.now),
        ..site
    };
    assert_eq!(again.writes(&shown).await.0, 200);
}

#[tokio::test]
async fn it_is_made_anew_with_another_key_and_for_no_other_host() {
    let site = site();
    let (_, first) = site.joined("db-1").await;
    site.pass(20 * DAY_MS);
    let anew = host("db-1");
    let (status, pem) = site.ask(RENEW_PATH, None, Some(&first), anew.request()).await;
    assert_eq!(status, 201, "{pem}");
    let second = peer(&pem);
    // The one before is good until its own end: the answer may have been lost on the way.
    assert_eq!((site.writes(&first).await.0, site.writes(&second).await.0), (200, 200));
    let other = site.ask(RENEW_PATH, None, Some(&second), anew.request_as("db-2")).await;
    check(&other, 403, "cannot become one of");
    site.pass(11 * DAY_MS);
    check(&site.writes(&first).await, 401, "ended at 2027-02-14T");
    assert_eq!(site.writes(&second).await.0, 200);
    check(
        &site.ask(RENEW_PATH, None, Some(&first), anew.request()).await,
        401,
        "ended at",
    );
    let write = NewToken {
        name: "writer",
        scope: Scope::Write,
        tenant: None,
        host: None,
        join: None,
    };
    let write = Tokens::of(site.data.path()).create(&write, site.now()).expect("token");
    site.access.renew().expect("renewed");
    let with_token = site.ask(RENEW_PATH, Some(&write), Some(&second), anew.request()).await;
    check(&with_token, 403, "none was shown");
}

#[tokio::test]
async fn what_was_revoked_is_refused_at_once_and_not_made_anew_and_stays_so() {
    let site = site();
    let before = site.join_token(None, None, 5);
    let (_, shown) = site.joined("db-1").await;
    site.pass(1000);
    assert_eq!(
        site.access
            .agents()
            .revoke("db-1", Some("blue"), site.now())
            .expect("none"),
        0
    );
    assert_eq!(
        site.access.agents().revoke("db-1", None, site.now()).expect("revoked"),
        1
    );
    check(&site.writes(&shown).await, 403, "was revoked at 2027-01-15T08:00:01Z");
    let again = site.ask(RENEW_PATH, None, Some(&shown), host("db-1").request()).await;
    check(&again, 403, "was revoked at");
    // What TLS let in before is asked again at each request, and so is the next process.
    let site = Site {
        access: open(site.data.path(), &site.now),
        ..site
    };
    check(&site.writes(&shown).await, 403, "was revoked at");
    check(
        &site.join(&before, &host("db-1")).await,
        403,
        "after this join token was made",
    );
    site.pass(1000);
    let (_, anew) = site.joined("db-1").await;
    assert_eq!(site.writes(&anew).await.0, 200);
    check(&site.writes(&shown).await, 401, "not in force any more");
}

#[tokio::test]
async fn a_revocation_by_another_process_is_seen() {
    let site = site();
    let (_, shown) = site.joined("db-1").await;
    let elsewhere = Agents::open(site.data.path()).expect("agents");
    assert_eq!(elsewhere.revoke("db-1", None, site.now()).expect("revoked"), 1);
    assert!(site.access.agents().renew().expect("renewed"));
    assert!(!site.access.agents().renew().expect("nothing new"));
    check(&site.writes(&shown).await, 403, "was revoked at");
}

#[tokio::test]
async fn join_tokens_end_are_used_up_and_count_a_host_that_asks_twice_once() {
    let site = site();
    let token = site.join_token(None, None, 2);
    let db_1 = host("db-1");
    let first = site.join(&token, &db_1).await;
    assert_eq!(first.0, 201, "{}", first.1);
    // It did not hear the answer.
    assert_eq!(site.join(&token, &db_1).await.0, 201);
    check(&site.join(&token, &host("db-1")).await, 409, "with another key");
    assert_eq!(site.join(&token, &host("db-2")).await.0, 201);
    check(&site.join(&token, &host("db-3")).await, 403, "is used up");
    let named = site.join_token(None, Some("db-1"), 1);
    check(&site.join(&named, &host("db-4")).await, 403, "is for host");
    assert_eq!(
        site.join(&named, &host("db-1")).await.0,
        201,
        "the host that was set up anew"
    );
    let late = site.join_token(None, None, 1);
    site.pass(HOUR_MS);
    check(
        &site.join(&late, &host("db-5")).await,
        403,
        "ended at 2027-01-15T09:00:00Z",
    );
    // Listed for a while, so that who shows it is told why, and then forgotten.
    site.pass(8 * DAY_MS);
    site.join_token(None, None, 1);
    let listed = Tokens::of(site.data.path()).list().expect("list").expect("tokens");
    assert_eq!(listed.len(), 1);
}

#[tokio::test]
async fn what_is_no_request_is_refused_with_what_to_send() {
    let site = site();
    let token = site.join_token(None, None, 9);
    let refused = async |body: String, words: &str| {
        let answer = site.ask(JOIN_PATH, Some(&token), None, body).await;
        check(&answer, 400, words);
        assert!(
            answer.1.contains("PKCS #10") || answer.1.contains("printable"),
            "{}",
            answer.1
        );
    };
    refused(String::new(), "no CERTIFICATE REQUEST").await;
    refused(
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n".to_owned(),
        "cannot be read",
    )
    .await;
    refused(host("a b").request(), "is no host's name").await;
    // A name that was changed after signing.
    let good = host("db-1").request();
    let der = CertificateSigningRequestDer::from_pem_slice(good.as_bytes()).expect("PEM");
    let mut der = der.to_vec();
    let at = der.windows(4).position(|window| window == b"db-1").expect("the name");
    der[at + 3] = b'2';
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &der);
    let forged = format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n");
    refused(forged, "signature is not that of its key").await;
    assert_eq!(site.ask(JOIN_PATH, Some(&token), None, "x".repeat(20_000)).await.0, 413);
    let listed = Tokens::of(site.data.path()).list().expect("list").expect("tokens");
    assert_eq!(
        listed[0].join.map(|terms| terms.uses_left),
        Some(9),
        "nothing was used up"
    );
}

#[tokio::test]
async fn admins_and_writers_join_nobody_and_a_server_without_tokens_neither() {
    let site = site();
    check(&site.join("fsj_1_2", &host("db-1")).await, 409, "without --join");
    for scope in [Scope::Admin, Scope::Write] {
        let new = NewToken {
            name: "other",
            scope,
            tenant: None,
            host: None,
            join: None,
        };
        let token = Tokens::of(site.data.path()).create(&new, 1).expect("token");
        site.access.renew().expect("renewed");
        check(&site.join(&token, &host("db-1")).await, 403, "--scope join");
    }
}
