mod delivery;
mod groups;
mod hands;
mod receivers;
mod sources;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;
use store::State;

use super::*;

const START: i64 = 1_700_000_000_000;
/// The rule that raises what nobody else does.
const RULE: &str = "g/Hot";

/// An answer of the test's receiver: a status, or silence for longer than anyone waits, or a closed connection.
#[derive(Clone, Debug)]
enum Answer {
    Status(u16, Vec<(&'static str, String)>),
    Hang,
}

fn status(code: u16) -> Answer {
    Answer::Status(code, Vec::new())
}

/// A webhook on a loopback port that answers as it is told, then always with 200, and keeps what it accepted and refused.
#[derive(Clone)]
struct Sink {
    url: String,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    heard: Arc<Mutex<Vec<Heard>>>,
}

#[derive(Clone, Debug)]
struct Heard {
    key: String,
    authorization: Option<String>,
    body: Value,
    accepted: bool,
}

impl Sink {
    async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook/secret-key", listener.local_addr().unwrap());
        let hook = Self {
            url,
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            heard: Arc::default(),
        };
        let router = Router::new()
            .route("/hook/secret-key", post(answer))
            .with_state(hook.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        hook
    }

    fn keys(&self) -> Vec<String> {
        self.heard
            .lock()
            .unwrap()
            .iter()
            .map(|heard| heard.key.clone())
            .collect()
    }

    /// What was accepted, in words.
    fn accepted(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        let accepted = heard.iter().filter(|heard| heard.accepted);
        accepted
            .map(|heard| {
                let alerts = heard.body["alerts"].as_array().unwrap();
                let one = |alert: &Value| {
                    format!(
                        "{}:{}",
                        alert["labels"]["host"].as_str().unwrap(),
                        alert["status"].as_str().unwrap()
                    )
                };
                alerts.iter().map(one).collect::<Vec<_>>().join(" ")
            })
            .collect()
    }
}

async fn answer(Shared(hook): Shared<Sink>, headers: HeaderMap, body: Bytes) -> Response {
    let next = hook.answers.lock().unwrap().pop_front().unwrap_or(status(200));
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let accepted = matches!(next, Answer::Status(200..=299, _));
    hook.heard.lock().unwrap().push(Heard {
        key: text("idempotency-key").unwrap(),
        authorization: text("authorization"),
        // Null where there is more than words.
        body: serde_json::from_slice(&body).unwrap_or_default(),
        accepted,
    });
    match next {
        Answer::Status(code, headers) => {
            let mut response = (StatusCode::from_u16(code).unwrap(), "said").into_response();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        Answer::Hang => std::future::pending().await,
    }
}

struct Bench {
    directory: tempfile::TempDir,
    state: State,
    outbox: Outbox,
    client: reqwest::Client,
}

fn settings(hooks: &[&Sink]) -> Settings {
    grouped(hooks, |_| {})
}

fn grouped(hooks: &[&Sink], change: impl FnOnce(&mut Grouping)) -> Settings {
    let mut grouping = Grouping {
        wait_ms: 0,
        interval_ms: 10_000,
        repeat_ms: 3_600_000,
        ..Grouping::default()
    };
    change(&mut grouping);
    let receiver = |(n, hook): (usize, &&Sink)| {
        let name = if n == 0 { "hook".to_owned() } else { format!("hook{n}") };
        Receiver::webhook(&name, &hook.url)
            .unwrap()
            .with_timeout(Duration::from_millis(300))
    };
    Settings {
        receivers: hooks.iter().enumerate().map(receiver).collect(),
        routing: Routing::simple(grouping),
        ..Settings::default()
    }
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(&directory.path().join("state.sqlite")).unwrap();
        let outbox = Outbox::open(&state, settings).unwrap();
        Self {
            directory,
            state,
            outbox,
            client: client().unwrap(),
        }
    }

    /// As after kill -9: only the file is left.
    fn restart(self, settings: Settings) -> Self {
        drop(self.state);
        let state = State::open(&self.directory.path().join("state.sqlite")).unwrap();
        let outbox = Outbox::open(&state, settings).unwrap();
        Self {
            directory: self.directory,
            state,
            outbox,
            client: self.client,
        }
    }

    fn put(&self, at_s: i64, alert: &Notification) {
        self.put_by(RULE, at_s, alert);
    }

    fn put_by(&self, rule: &str, at_s: i64, alert: &Notification) {
        let at_ms = START + at_s * 1000;
        self.outbox.enqueue(&self.state, at_ms, rule, alert).unwrap();
    }

    fn post(&self, at_s: i64, alert: &Notification) {
        let at_ms = START + at_s * 1000;
        self.outbox
            .take_in(&self.state, at_ms, std::slice::from_ref(alert))
            .unwrap();
    }

    /// Outcomes of what was due at that second.
    async fn deliver(&self, at_s: i64) -> String {
        let deliveries = self
            .outbox
            .deliver_due(&self.state, START + at_s * 1000, &self.client)
            .await
            .unwrap();
        deliveries
            .iter()
            .map(|delivery| delivery.outcome.name())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn alert(name: &str, host: &str) -> Notification {
    let labels: BTreeMap<String, String> = [("alertname", name), ("host", host), ("severity", "page")]
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .into();
    Notification {
        fingerprint: crate::rule::fingerprint(&labels),
        labels,
        annotations: [("summary".to_owned(), format!("{host} is {name}"))].into(),
        starts_ms: START,
        ends_ms: None,
        value: Some(0.5),
        generator_url: String::new(),
        outlook: None,
        expires_ms: None,
        updated_ms: START,
        since_ms: None,
        trend: None,
    }
}

fn ended(alert: &Notification, at_s: i64) -> Notification {
    Notification {
        ends_ms: Some(START + at_s * 1000),
        ..alert.clone()
    }
}

#[tokio::test]
async fn the_payload_is_alertmanagers_with_ours_beside_it() {
    let hook = Sink::start([]).await;
    let mut settings = settings(&[&hook]);
    settings.external_url = "http://foreshock.example".to_owned();
    let authorized = Hook::at(&hook.url)
        .unwrap()
        .with_auth(Some(Auth::Bearer(Secret::new("t0ken"))));
    settings.receivers[0] = Receiver::new("hook", Channel::Webhook(authorized)).unwrap();
    let bench = Bench::new(settings);
    let mut likely = alert("FailureLikely", "a");
    likely
        .annotations
        .insert("action".to_owned(), "Drain the host.".to_owned());
    likely.outlook = Some(Outlook {
        probability: Some(0.42),
        horizon: Some("1h".to_owned()),
        signals: vec![Signal {
            name: "memory".to_owned(),
            value: Some(0.93),
            unit: "1".to_owned(),
            usual: Some(0.41),
            text: "memory 93 %, usually 41 %".to_owned(),
            since_ms: START - 600_000,
        }],
        since_ms: Some(START - 600_000),
        ..Outlook::default()
    });
    bench.put(0, &likely);
    assert_eq!(bench.deliver(0).await, "delivered");
    let mut heard = hook.heard.lock().unwrap()[0].clone();
    assert_eq!(heard.authorization.as_deref(), Some("Bearer t0ken"));
    // Signed with a key of its own in each state.
    let answer = heard.body["foreshock"].as_object_mut().unwrap().remove("answerUrl");
    let answer = answer.unwrap().as_str().unwrap().to_owned();
    assert!(answer.starts_with("http://foreshock.example/answer?t="), "{answer}");
    insta::assert_snapshot!(serde_json::to_string_pretty(&heard.body).unwrap());
}
