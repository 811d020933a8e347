//! What a host's kernel tells, from its log to SQL: once, whatever happens to the agent in between.

use std::fs;
use std::path::Path;
use std::time::Duration;

use agent::{Agent, Config, Paths, SpoolOptions};

use crate::server::Server;

const XID: &str = "3,41,5140900,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus.";

#[test]
fn what_the_kernel_tells_is_a_row_once_also_when_the_agent_was_killed_in_between() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::start(&dir.path().join("data"));
    let proc = dir.path().join("proc");
    fs::create_dir_all(proc.join("sys/kernel/random")).expect("a folder");
    fs::write(proc.join("sys/kernel/random/boot_id"), "boot-1\n").expect("write");
    fs::write(proc.join("kmsg-records"), XID).expect("write");
    let kept = dir.path().join("spool/kernel-log");

    run_agent(&server, dir.path());
    let after = fs::read_to_string(&kept).expect("where the agent left off");
    assert!(after.starts_with("boot boot-1 next 42 missed 0 sent 42 "), "{after}");
    // As an agent leaves it that was killed between handing the batch over and noting it.
    fs::write(&kept, after.replace("sent 42", "sent 0")).expect("write");
    run_agent(&server, dir.path());
    assert_eq!(fs::read_to_string(&kept).expect("kept"), after);

    let rows = server.sql(
        "SELECT host, event, severity, attributes['xid'] AS xid, attributes['gpu.slot'] AS slot, body, scope, count(*) AS n \
         FROM logs GROUP BY ALL",
    );
    let expected = serde_json::json!({
        "host": "gpu-17", "event": "gpu_xid", "severity": 17, "xid": "79", "slot": "00000000:3B:00.0",
        "body": "NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus.",
        "scope": "foreshock.agent", "n": 1,
    });
    assert_eq!(rows, [expected]);
    // A record that is no event.
    let plain = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[
        {"timeUnixNano":"1767225600000000000","body":{"stringValue":"hello"}}]}]}]}"#;
    let headers = [("Content-Type", "application/json")];
    assert_eq!(
        server
            .post("/v1/logs", &headers, plain.as_bytes())
            .expect("an answer")
            .0,
        200
    );
    let events = server.sql("SELECT host, event, severity, attributes['xid'] AS xid FROM events");
    let expected = serde_json::json!({ "host": "gpu-17", "event": "gpu_xid", "severity": 17, "xid": "79" });
    assert_eq!(events, [expected]);
    assert_eq!(server.sql("SELECT body FROM logs").len(), 2);
}

/// Runs an agent on the host whose `/proc` lies in `dir`, until all that it read has been acknowledged.
fn run_agent(server: &Server, dir: &Path) {
    let agent = Agent::new(Config {
        server: Some(agent::Server {
            url: server.url.clone(),
            ..agent::Server::default()
        }),
        interval: Duration::from_secs(3600),
        adaptive: false,
        host_name: Some("gpu-17".to_owned()),
        spool: SpoolOptions {
            dir: Some(dir.join("spool")),
            ..SpoolOptions::default()
        },
        paths: Paths {
            root: None,
            proc: dir.join("proc"),
            sys: dir.join("sys"),
        },
        ..Config::default()
    });
    let handle = agent.and_then(Agent::start).expect("an agent");
    // One batch of readings and one of events.
    while handle.stats().sent_batches < 2 {
        std::thread::yield_now();
    }
    let stats = handle.stop();
    assert_eq!((stats.waiting_batches, stats.refused_batches), (0, 0), "{stats:?}");
}
