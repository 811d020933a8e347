//! A host's way from a join token to a certificate, to the next certificate, and to being refused once that is taken back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use agent::{Agent, Config, Host, Identity, Join, Paths, Pin, Trust, check};

use crate::security::{PATIENCE, ask, believing, foreshock, token};
use crate::server::Server;

struct Site {
    dir: tempfile::TempDir,
    server: Server,
    read: String,
    admin: String,
}

fn site() -> Site {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let read = token(&data, &["reader", "--scope", "read"]);
    let admin = token(&data, &["operator", "--scope", "admin"]);
    let server = Server::start_with(&data, &["--tls-self-signed"]);
    Site {
        dir,
        server,
        read,
        admin,
    }
}

impl Site {
    fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    fn join_token(&self, arguments: &[&str]) -> String {
        token(&self.data(), &[&["--scope", "join", "--ttl", "1h"], arguments].concat())
    }

    /// The agent of `host`, whose spool and certificate lie in a folder of its name.
    fn config(&self, host: &str, join: Option<&str>) -> Config {
        let spool = self.dir.path().join(host);
        Config {
            server: Some(self.agents_server(&spool, join)),
            interval: Duration::from_millis(500),
            adaptive: false,
            host_name: Some(host.to_owned()),
            spool: agent::SpoolOptions {
                dir: Some(spool),
                ..agent::SpoolOptions::default()
            },
            ..Config::default()
        }
    }

    fn agents_server(&self, dir: &Path, join: Option<&str>) -> agent::Server {
        let pin = self.server.pin.as_ref().expect("the server prints its pin");
        agent::Server {
            url: self.server.url.clone(),
            identity: Identity {
                join: join.map(str::to_owned),
                file: Some(dir.join("identity.pem")),
                ..Identity::default()
            },
            trust: Trust {
                ca_file: None,
                pin: Some(pin.parse::<Pin>().expect("a pin")),
            },
            ..agent::Server::default()
        }
    }

    /// What a host is told that joins at once.
    fn join(&self, host: &str, join: &str, dir: &Path) -> Result<bool, String> {
        let join = Join {
            server: self.agents_server(dir, Some(join)),
            host: Host::read(&Paths::default(), Some(host)),
        };
        join.apply().map_err(|error| error.to_string())
    }

    fn asks(&self, path: &str) -> (u16, String) {
        let ca = self.data().join("tls/ca.pem");
        let url = format!("{}{path}", self.server.url);
        ask(&believing(&ca), &url, Some(&format!("Bearer {}", self.read)))
    }

    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < until, "not so: {what}");
            std::thread::yield_now();
        }
    }

    fn revoke(&self, host: &str) -> (u16, String) {
        let answer = believing(&self.data().join("tls/ca.pem"))
            .post(format!("{}/api/v1/agents/revoke", self.server.url))
            .header("authorization", format!("Bearer {}", self.admin))
            .header("content-type", "application/json")
            .send(format!("{{\"host\": \"{host}\"}}"));
        let mut answer = answer.expect("an answer");
        let text = answer.body_mut().read_to_string().expect("a body");
        (answer.status().as_u16(), text)
    }
}

#[test]
fn a_host_joins_writes_under_its_certificate_renews_it_and_is_refused_once_it_is_revoked() {
    let site = site();
    let join = site.join_token(&[]);
    let mut config = site.config("db-1", Some(&join));
    if let Some(server) = &mut config.server {
        // Thirty days are too long to wait for: due as soon as the server has shown what time it is, whatever this host's place in
        // the spread.
        server.identity.renew_at = -1.0;
    }
    let running = Agent::new(config).expect("an agent").start().expect("it runs");
    site.until("the host's readings are there", || {
        site.asks("/api/v1/query?query=system_uptime_seconds")
            .1
            .contains("db-1")
    });
    let file = site.dir.path().join("db-1/identity.pem");
    let first = fs::read_to_string(&file).expect("key and certificate");
    assert!(first.contains("BEGIN PRIVATE KEY") && first.contains("BEGIN CERTIFICATE"));
    assert_eq!(fs::metadata(&file).expect("file").permissions().mode() & 0o777, 0o600);
    let key = fs::metadata(site.data().join("tls/agents.key")).expect("the authority's key");
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    // Made anew while it goes on sending, with another key, by itself.
    site.until("the certificate was made anew", || {
        let now = fs::read_to_string(&file).expect("key and certificate");
        now != first && now.contains("BEGIN CERTIFICATE")
    });
    let ends = "/api/v1/query?query=foreshock_agent_certificate_not_after_seconds";
    site.until("it says when it ends", || site.asks(ends).1.contains("db-1"));
    let listed: serde_json::Value = serde_json::from_str(&site.asks("/api/v1/agents").1).expect("JSON");
    let db_1 = &listed["agents"][0];
    assert_eq!(
        (&db_1["host"], &db_1["condition"]),
        (&"db-1".into(), &"well".into()),
        "{listed}"
    );
    assert!(db_1["certificate"]["renewed"].is_string(), "{listed}");
    assert_eq!(db_1["version"], env!("CARGO_PKG_VERSION"), "{listed}");

    assert_eq!(site.revoke("db-2").0, 404);
    let retries = running.stats().retries;
    let (status, said) = site.revoke("db-1");
    assert_eq!(status, 200, "{said}");
    // From this moment on, over the connection that is open as well.
    let told = check::check(site.config("db-1", None)).expect("a report").text;
    assert!(told.contains("403") && told.contains("was revoked at"), "{told}");
    site.until("the agent is told", || running.stats().retries > retries);
    let told = running.stats();
    site.until("it is told again", || running.stats().retries > told.retries);
    assert_eq!(running.stats().sent_batches, told.sent_batches);
    let stats = running.stop();
    assert!(stats.waiting_batches > 0, "what could not be sent waits: {stats:?}");

    // Over a restart it stays so.
    let data = site.data();
    assert!(site.server.stop());
    let again = Server::start_with(&data, &["--tls-self-signed"]);
    let site = Site { server: again, ..site };
    let told = check::check(site.config("db-1", None)).expect("a report").text;
    assert!(told.contains("403") && told.contains("was revoked at"), "{told}");
    let listed = foreshock(&data, &["agent", "list"]);
    assert!(listed.contains("db-1") && listed.contains("revoked 20"), "{listed}");
    // A token that was made before cannot bring it back, one that is made now can.
    let dir = site.dir.path().join("anew");
    let refused = site.join("db-1", &join, &dir).expect_err("revoked");
    assert!(
        refused.contains("403") && refused.contains("after this join token was made"),
        "{refused}"
    );
    let anew = site.join_token(&[]);
    assert_eq!(site.join("db-1", &anew, &dir), Ok(true));
    let old = check::check(site.config("db-1", None)).expect("a report").text;
    assert!(old.contains("401") && old.contains("not in force any more"), "{old}");
    assert!(site.server.stop());
}

#[test]
fn tokens_of_other_hosts_used_up_ones_and_taken_names_are_refused_in_words() {
    let site = site();
    let dir = |name: &str| site.dir.path().join(name);
    let refused = |host: &str, token: &str, folder: &str, expected: &[&str]| {
        let why = site.join(host, token, &dir(folder)).expect_err(folder);
        assert!(expected.iter().all(|words| why.contains(words)), "{expected:?}: {why}");
    };
    let two = site.join_token(&["--uses", "2"]);
    // Made a moment ago beside the running server, and good at once.
    assert_eq!(site.join("db-1", &two, &dir("a")), Ok(true));
    assert_eq!(site.join("db-1", &two, &dir("a")), Ok(false), "it has joined");
    refused(
        "db-1",
        &two,
        "b",
        &["409", "has joined at", "with another key", "foreshock agent revoke"],
    );
    assert_eq!(site.join("db-2", &two, &dir("c")), Ok(true));
    refused("db-3", &two, "d", &["403", "is used up"]);
    let named = site.join_token(&["--host", "db-1"]);
    refused("db-4", &named, "e", &["403", "is for host", "db-1"]);
    // The name stands in the token: whoever made it meant this host, set up anew.
    assert_eq!(site.join("db-1", &named, &dir("f")), Ok(true));
    let unknown = format!("fsj_00000000_{}", "0".repeat(64));
    refused("db-5", &unknown, "g", &["401", "not one of this server's"]);
    let write = token(&site.data(), &["w", "--scope", "write"]).replace("fs_", "fsj_");
    refused("db-5", &write, "h", &["401"]);
    // A certificate opens nothing but telemetry of its host.
    assert!(site.server.stop());
}

#[test]
fn where_no_certificate_would_be_seen_nobody_joins() {
    let dir = tempfile::tempdir().expect("a directory");
    let join = token(dir.path(), &["--scope", "join"]);
    let server = Server::start(dir.path());
    let authorization = format!("Bearer {join}");
    let headers = [("Authorization", authorization.as_str())];
    let (status, problem) = server.post("/api/v1/agents/join", &headers, b"x").expect("an answer");
    assert_eq!(status, 409, "{problem}");
    assert!(
        problem.contains("speaks no TLS") && problem.contains("--tls-self-signed"),
        "{problem}"
    );
    // Nor does the token open anything else.
    for path in ["/v1/metrics", "/api/v1/silences"] {
        assert_eq!(server.post(path, &headers, b"").expect("an answer").0, 403, "{path}");
    }
    assert!(server.stop());
}
