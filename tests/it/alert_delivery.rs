//! SIGKILL while alerts are on their way: each reaches its receiver, and what comes twice has the same key.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;

use crate::server::Server;

const ALERTS: usize = 12;
const KILLS: usize = 4;

/// Idempotency keys that arrived, by alert, and how many requests there were.
#[derive(Default)]
struct Heard {
    keys: BTreeMap<String, Vec<String>>,
    requests: usize,
}

type Shared = Arc<(Mutex<Heard>, std::sync::Condvar)>;

async fn hook(State(heard): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    let alert = body["alerts"][0]["labels"]["n"].as_str().expect("a label").to_owned();
    let key = headers["idempotency-key"].to_str().expect("ASCII").to_owned();
    let (lock, changed) = &*heard;
    let mut heard = lock.lock().expect("no handler panics");
    heard.requests += 1;
    heard.keys.entry(alert).or_default().push(key);
    changed.notify_all();
    // Every third is taken and answered as if it were not: the sender cannot know.
    if heard.requests.is_multiple_of(3) {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::OK
    }
}

#[test]
fn accepted_alerts_reach_their_receiver_across_sigkills_with_one_key_each() {
    let heard = Shared::default();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let router = Router::new().route("/hook", post(hook)).with_state(Arc::clone(&heard));
    runtime.spawn(async move { axum::serve(listener, router).await });

    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("alertmanager.yml");
    let text = format!(
        "route: {{receiver: hook, group_by: [n], group_wait: 10ms, group_interval: 1s, repeat_interval: 1h}}\n\
         receivers: [{{name: hook, webhook_configs: [{{url: '{url}'}}]}}]\n"
    );
    std::fs::write(&config, text).expect("written");
    let data = dir.path().join("data");
    let start = || Server::start_with(&data, &["--alertmanager-config", config.to_str().expect("UTF-8")]);
    let wait_for = |count: usize, of: &dyn Fn(&Heard) -> usize| {
        let (lock, changed) = &*heard;
        let guard = lock.lock().expect("no handler panics");
        drop(
            changed
                .wait_while(guard, |heard| of(heard) < count)
                .expect("no handler panics"),
        );
    };

    for round in 0..KILLS {
        let server = start();
        let alerts: Vec<serde_json::Value> = (0..ALERTS / KILLS)
            .map(|i| serde_json::json!({ "labels": { "alertname": "Drill", "n": format!("{round}-{i}") } }))
            .collect();
        let body = serde_json::to_vec(&alerts).expect("JSON");
        let answer = server.post("/api/v2/alerts", &[("Content-Type", "application/json")], &body);
        assert_eq!(answer.map(|(status, _)| status), Some(200));
        // At once in the first round, in the middle of sending later.
        wait_for(2 * round, &|heard| heard.requests);
        rustix::process::kill_process(server.pid(), rustix::process::Signal::KILL).expect("it can be killed");
    }
    let server = start();
    wait_for(ALERTS, &|heard| heard.keys.len());
    drop(server);
    let (lock, _) = &*heard;
    for (alert, keys) in &lock.lock().expect("no handler panics").keys {
        assert!(
            keys.iter().all(|key| *key == keys[0]),
            "alert {alert} came with the keys {keys:?}"
        );
    }
}
