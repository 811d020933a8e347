use std::os::unix::fs::PermissionsExt as _;

use axum::body::Body;
use axum::routing::any;
use tower::ServiceExt as _;

use super::*;

const NOW_MS: i64 = 1_800_000_000_000;

/// A data directory, and a router behind it that answers with the tenant and the host that a request is bound to.
struct Server {
    data: tempfile::TempDir,
    access: Access,
}

fn server() -> Server {
    let data = tempfile::tempdir().expect("temporary directory");
    let access = Access::open(data.path(), Clock::fixed(NOW_MS)).expect("no tokens yet");
    Server { data, access }
}

impl Server {
    fn tokens(&self) -> Tokens {
        Tokens::of(self.data.path())
    }

    fn token(&self, scope: Scope, tenant: Option<&str>, host: Option<&str>) -> String {
        let new = NewToken {
            name: "test",
            scope,
            tenant,
            host,
            join: None,
        };
        let token = self.tokens().create(&new, 1).expect("token");
        assert!(self.access.renew().expect("renewed"));
        token
    }

    /// Status and body of a request such as `GET /hosts`.
    async fn ask(&self, what: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let (method, path) = what.split_once(' ').expect("method and path");
        let seen = any(async |headers: HeaderMap| {
            let seen = [TENANT_HEADER, BOUND_HOST_HEADER, AUTHORIZATION.as_str()].map(|name| {
                let value = headers.get(name).and_then(|value| value.to_str().ok());
                value.unwrap_or("-").to_owned()
            });
            seen.join(" ")
        });
        let router = guarded(Router::new().fallback(seen), self.access.clone(), |_, _, _| None);
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("request");
        let answer = router.oneshot(request).await.expect("answer");
        let status = answer.status();
        assert_eq!(
            status == StatusCode::UNAUTHORIZED,
            answer.headers().contains_key(WWW_AUTHENTICATE)
        );
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("body");
        (status.as_u16(), String::from_utf8(body.to_vec()).expect("text"))
    }

    async fn status(&self, what: &str, token: &str) -> u16 {
        let value = format!("Bearer {token}");
        self.ask(what, &[("authorization", &value)]).await.0
    }
}

#[tokio::test]
async fn without_tokens_everybody_may_and_nobody_can_bind_a_request() {
    let server = server();
    assert!(!server.access.is_required());
    let headers = [(BOUND_HOST_HEADER, "db-1"), ("authorization", "Basic YTpi")];
    let answer = server.ask("POST /v1/metrics", &headers).await;
    assert_eq!(answer, (200, "- - -".to_owned()));
}

#[tokio::test]
async fn each_scope_opens_what_it_names() {
    let server = server();
    let read = server.token(Scope::Read, None, None);
    let write = server.token(Scope::Write, None, None);
    let admin = server.token(Scope::Admin, None, None);
    for (what, statuses) in [
        ("GET /", [200, 403, 200]),
        ("GET /hosts/a", [200, 403, 200]),
        ("GET /api/v1/query?query=up", [200, 403, 200]),
        ("POST /api/v1/query", [200, 403, 200]),
        ("POST /api/v1/export", [200, 403, 200]),
        ("POST /api/v1/sql", [200, 403, 200]),
        ("POST /api/v1/read", [200, 403, 200]),
        ("GET /metrics", [200, 403, 200]),
        ("GET /metrics/job/a", [200, 403, 200]),
        ("GET /v1/metrics", [200, 403, 200]),
        ("POST /arrow.flight.protocol.FlightService/DoGet", [200, 403, 200]),
        ("POST /v1/metrics", [403, 200, 200]),
        ("POST /v1/logs", [403, 200, 200]),
        ("POST /api/v1/write", [403, 200, 200]),
        ("POST /api/v1/import/prometheus", [403, 200, 200]),
        ("PUT /metrics/job/a", [403, 200, 200]),
        ("POST /api/v2/alerts", [403, 200, 200]),
        (
            "POST /opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            [403, 200, 200],
        ),
        ("POST /api/v1/silences", [403, 403, 200]),
        ("POST /api/v1/writers", [403, 403, 200]),
        ("POST /api/v1/incidents", [403, 403, 200]),
        ("POST /api/v1/models/rollback", [403, 403, 200]),
        ("POST /api/v1/alerts/0123456789abcdef/acknowledge", [403, 403, 200]),
        ("DELETE /answer", [403, 403, 200]),
        ("POST /answers", [403, 403, 200]),
        ("POST /chart.png", [403, 403, 200]),
        ("DELETE /api/v1/tenants/a", [403, 403, 200]),
        ("GET /api/v1/admin/anything", [403, 403, 200]),
        ("POST /api/v1/admin/store/flush", [403, 403, 200]),
        ("POST /api/v1/admin/tsdb/delete_series", [403, 403, 200]),
        ("POST /anything/new", [403, 403, 200]),
    ] {
        for (token, expected) in [&read, &write, &admin].into_iter().zip(statuses) {
            assert_eq!(server.status(what, token).await, expected, "{what} {token}");
        }
        assert_eq!(server.ask(what, &[]).await.0, 401, "{what}");
    }
    for open in [
        "GET /-/ready",
        "HEAD /-/healthy",
        "GET /-/ca.pem",
        "GET /install.sh",
        "GET /-/agent/x86_64",
        "GET /page.css",
        "GET /answer?t=anything",
        "POST /answer",
        "GET /chart.png?t=anything",
        "OPTIONS /api/v1/query",
    ] {
        assert_eq!(server.ask(open, &[]).await.0, 200, "{open}");
    }
}

#[tokio::test]
async fn the_answer_says_what_is_wanted_and_never_repeats_a_token() {
    let server = server();
    let token = server.token(Scope::Write, None, None);
    let (_, stranger) = server.ask("GET /", &[]).await;
    assert!(stranger.contains("foreshock token create") && stranger.contains("Authorization: Bearer"));
    let (status, wrong) = server
        .ask("GET /", &[("authorization", &format!("Bearer {token}0"))])
        .await;
    assert_eq!(status, 401);
    assert!(wrong.contains("or was revoked"), "{wrong}");
    let (status, denied) = server
        .ask("GET /", &[("authorization", &format!("Bearer {token}"))])
        .await;
    assert_eq!(status, 403);
    assert!(denied.contains("has the scope write, and this needs read"), "{denied}");
    let secret = token.rsplit('_').next().expect("a secret");
    for said in [stranger, wrong, denied] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[tokio::test]
async fn a_browser_sends_the_token_as_a_password() {
    let server = server();
    let token = server.token(Scope::Read, None, None);
    let basic = format!("basic {}", STANDARD.encode(format!("any:{token}")));
    assert_eq!(server.ask("GET /", &[("authorization", &basic)]).await.0, 200);
    let long = format!("Bearer {}", "x".repeat(HEADER_BYTES_MAX));
    for wrong in [
        "Basic !!!",
        "Basic",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "Basic YWI=",
        "Digest x",
        "Bearer fs_00000000_x",
        "Bearer fs_",
        &long,
    ] {
        assert_eq!(server.ask("GET /", &[("authorization", wrong)]).await.0, 401, "{wrong}");
    }
}

#[tokio::test]
async fn what_was_checked_does_not_travel_on_but_to_the_handshake() {
    let server = server();
    let token = server.token(Scope::Read, None, None);
    let bearer = format!("Bearer {token}");
    let auth = ("authorization", bearer.as_str());
    assert_eq!(server.ask("GET /", &[auth]).await.1, "- - -");
    let handshake = "POST /arrow.flight.protocol.FlightService/Handshake";
    assert_eq!(server.ask(handshake, &[auth]).await.1, format!("- - {bearer}"));
}

#[tokio::test]
async fn a_token_may_be_bound_to_a_tenant() {
    let server = server();
    let token = server.token(Scope::Admin, Some("fleet"), None);
    let bearer = format!("Bearer {token}");
    let auth = ("authorization", bearer.as_str());
    // Named or not, by parameter or not: it is that tenant's data.
    for what in [
        "POST /api/v1/query",
        "GET /?tenant=else",
        "GET /api/v1/status/buildinfo",
        "DELETE /api/v1/silences/1",
    ] {
        for headers in [&[auth][..], &[auth, ("x-scope-orgid", "fleet")]] {
            assert_eq!(server.ask(what, headers).await, (200, "fleet - -".to_owned()), "{what}");
        }
        assert_eq!(server.ask(what, &[auth, ("x-scope-orgid", "else")]).await.0, 403);
    }
    for all in [
        "GET /metrics",
        "GET /api/v1/tenants",
        "DELETE /api/v1/tenants/fleet",
        "GET /api/v1/targets",
        "POST /api/v1/admin/store/backup",
        "POST /api/v1/admin/tsdb/snapshot",
    ] {
        assert_eq!(server.ask(all, &[auth]).await.0, 403, "{all}");
    }
}

#[tokio::test]
async fn a_token_may_be_bound_to_a_host_and_then_sends_telemetry_alone() {
    let server = server();
    let token = server.token(Scope::Write, Some("fleet"), Some("db-1"));
    let bearer = format!("Bearer {token}");
    let auth = ("authorization", bearer.as_str());
    let forged = [auth, (BOUND_HOST_HEADER, "other")];
    let answer = server.ask("POST /v1/metrics", &forged).await;
    assert_eq!(answer, (200, "fleet db-1 -".to_owned()));
    assert_eq!(server.ask("POST /api/v2/alerts", &[auth]).await.0, 403);
    assert_eq!(server.ask("GET /", &[auth]).await.0, 403);
}

#[test]
fn what_cannot_be_a_token_is_refused_before_it_is_kept() {
    let server = server();
    let good = NewToken {
        name: "agents",
        scope: Scope::Write,
        tenant: Some("fleet"),
        host: Some("db-1"),
        join: None,
    };
    let check = |new: NewToken<'_>, expected: &str| {
        let refused = server.tokens().create(&new, 1).expect_err(expected);
        assert!(refused.to_string().contains(expected), "{refused}");
    };
    check(NewToken { name: "", ..good }, "a token's name");
    check(NewToken { name: "a\nb", ..good }, "a token's name");
    check(
        NewToken {
            tenant: Some("A b"),
            ..good
        },
        "is no tenant's name",
    );
    check(
        NewToken {
            host: Some("a\r\nx: y"),
            ..good
        },
        "is no host's name",
    );
    check(
        NewToken {
            scope: Scope::Read,
            ..good
        },
        "has the scope write or join, not read",
    );
    let join = |scope, uses_left, until_ms| NewToken {
        scope,
        join: Some(JoinTerms { uses_left, until_ms }),
        ..good
    };
    check(join(Scope::Write, 1, 2), "lets nobody join");
    check(join(Scope::Join, 0, 2), "one host and some time");
    check(join(Scope::Join, 1, 1), "one host and some time");
    check(
        NewToken {
            scope: Scope::Join,
            ..good
        },
        "say how many and how long",
    );
    assert!(server.tokens().list().expect("no file").is_none());
}

#[tokio::test]
async fn what_is_kept_is_a_hash_and_what_was_revoked_opens_nothing() {
    let server = server();
    let token = server.token(Scope::Admin, None, None);
    let tokens = server.tokens();
    let text = fs::read_to_string(tokens.path()).expect("file");
    let secret = token.rsplit('_').next().expect("secret");
    assert!(secret.len() == 64 && !text.contains(secret), "{text}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(tokens.path()).expect("metadata").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let id = tokens.list().expect("list").expect("a file")[0].id.clone();
    assert!(tokens.revoke(&id).expect("revoked"));
    assert!(!tokens.revoke(&id).expect("gone"));
    assert!(server.access.renew().expect("renewed"));
    // The last token is gone, and the door stays shut, for the next start of the server as well.
    assert_eq!(server.status("GET /", &token).await, 401);
    assert_eq!(server.ask("GET /", &[]).await.0, 401);
    assert!(!server.access.renew().expect("nothing new"));
    assert!(
        Access::open(server.data.path(), Clock::fixed(NOW_MS))
            .expect("opens")
            .is_required()
    );
    let next = server.token(Scope::Read, None, None);
    assert_eq!(server.status("GET /", &next).await, 200);
}

#[tokio::test]
async fn a_token_made_beside_a_running_server_is_good_at_once() {
    let server = server();
    server.token(Scope::Read, None, None);
    let new = NewToken {
        name: "made a moment ago",
        scope: Scope::Write,
        tenant: Some("fleet"),
        host: None,
        join: None,
    };
    let secret = server.tokens().create(&new, NOW_MS).expect("a token");
    let bearer = format!("Bearer {secret}");
    let auth = ("authorization", bearer.as_str());
    let answer = server.ask("POST /v1/metrics", &[auth]).await;
    assert_eq!(answer, (200, "fleet - -".to_owned()));
    assert!(!server.access.renew().expect("it was read on the way"));
    // A file that cannot be read any more takes nothing away, and lets nobody in.
    fs::write(server.tokens().path(), "[{]").expect("write");
    assert_eq!(server.ask("POST /v1/metrics", &[auth]).await.0, 200);
    assert_eq!(server.status("GET /", "fs_00000000_x").await, 401);
}

#[test]
fn a_broken_or_vanished_file_does_not_open_the_door() {
    let server = server();
    server.token(Scope::Read, None, None);
    let path = server.tokens().path().to_owned();
    fs::write(&path, "[{]").expect("write");
    assert!(matches!(server.access.renew(), Err(TokenError::Format { .. })));
    assert!(server.access.is_required());
    assert!(Access::open(server.data.path(), Clock::fixed(NOW_MS)).is_err());
    fs::remove_file(&path).expect("removed");
    assert!(matches!(server.access.renew(), Err(TokenError::Gone { .. })));
    assert!(server.access.is_required());
}

#[test]
fn tokens_made_at_once_are_all_kept() {
    let server = server();
    let tokens = server.tokens();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let new = NewToken {
                    name: "one of many",
                    scope: Scope::Read,
                    tenant: None,
                    host: None,
                    join: None,
                };
                tokens.create(&new, 1).expect("token")
            });
        }
    });
    assert_eq!(tokens.list().expect("list").expect("a file").len(), 8);
}

#[test]
fn what_a_crash_left_shows_nobody_the_next_key() {
    let data = tempfile::tempdir().expect("temporary directory");
    let key = data.path().join("agents.key");
    // Halfway through writing `agents.pem`, and through this key with the rights of another day; somebody reads along.
    let left = ["agents.new", "agents.pem.new", "agents.key.new"].map(|name| {
        let left = data.path().join(name);
        fs::write(&left, "half a certificate").expect("written");
        fs::set_permissions(&left, fs::Permissions::from_mode(0o644)).expect("readable by all");
        fs::File::open(left).expect("opened")
    });
    replace(&key, b"secret", 0o600).expect("replaced");
    assert_eq!(fs::read(&key).expect("there"), b"secret");
    let mode = fs::metadata(&key).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for left in left {
        assert_eq!(io::read_to_string(left).expect("read"), "half a certificate");
    }
    assert!(data.path().join("agents.pem.new").exists(), "another file's");
}

#[tokio::test]
async fn without_tokens_browsers_call_the_server_by_a_name_of_its_own() {
    let mut server = server();
    server.access = server.access.known_as(&["Foreshock.example".to_owned()]);
    let page = |host: &'static str| [("host", host), ("accept-language", "en")];
    for host in [
        "127.0.0.1:9750",
        "[::1]:9750",
        "10.1.2.3",
        "localhost:9750",
        "LOCALHOST.",
        "demo.localhost:9750",
        "db-1:9750",
        "foreshock.example",
        "FORESHOCK.example.:443",
    ] {
        assert_eq!(server.ask("GET /hosts", &page(host)).await.0, 200, "{host}");
    }
    for host in [
        "evil.example:9750",
        "foreshock.example.evil.example",
        "x@evil.example",
        "",
        "127.0.0.1.evil.example",
    ] {
        let (status, told) = server.ask("GET /hosts", &page(host)).await;
        assert_eq!(status, 403, "{host}");
        assert!(told.contains("external_url"), "{told}");
    }
    for sign in [
        ("origin", "http://evil.example:9750"),
        ("sec-fetch-site", "same-origin"),
    ] {
        let asked = server
            .ask("POST /v1/metrics", &[("host", "evil.example:9750"), sign])
            .await;
        assert_eq!(asked.0, 403, "{sign:?}");
    }
    // What is no browser, and what is called by HTTP/2 alone.
    assert_eq!(
        server.ask("GET /hosts", &[("host", "monitoring.corp.example")]).await.0,
        200
    );
    let called = [("accept-language", "en")];
    assert_eq!(server.ask("GET http://evil.example/hosts", &called).await.0, 403);
    // Where there are tokens they are what counts.
    let token = server.token(Scope::Read, None, None);
    let shown = format!("Bearer {token}");
    let asked = [
        ("host", "evil.example"),
        ("accept-language", "en"),
        ("authorization", shown.as_str()),
    ];
    assert_eq!(server.ask("GET /hosts", &asked).await.0, 200);
}
